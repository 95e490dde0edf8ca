
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Rosters: who is on a channel, as its subscribers of this worker were told.
 *
 * A roster is a pure function of the channel's log.  It is read from the zone
 * in sections, and kept by the PRESENCE entries that this worker drains, each
 * put upon it before it is delivered.  It is ready once the channel has
 * delivered up to the offset of the last section: from then on it is the
 * state at the channel's offset, exactly.  A gap makes it read anew, and so
 * does a reset, before which something may have been lost untold.
 *
 * Members are kept as the JSON that all are told, so that a snapshot is a
 * copy.  Of a channel that only counts, the roster is the count.
 *
 * The roster keeps the latest PRESENCE entries too, for readers that are
 * behind: these entries are never in the history.
 */


#ifndef FANOUT_HUB_ROSTER_H
#define FANOUT_HUB_ROSTER_H


#include "hub/hub.h"


/* how long latest entries are kept; their bytes are in the policy */
#define FANOUT_RECENT_AGE  60000                /* ms */

/* of the members of a snapshot, in bytes, unless one alone is more: a part of a
 * reply at most, and what it is made of */
#define FANOUT_PART        32768
#define FANOUT_CHUNK       1024


typedef struct {
    ngx_rbtree_node_t                node;      /* key: the client */
    ngx_rbtree_node_t                place;     /* key: the slot */
    uint64_t                         client;
    uint32_t                         slot;
    uint32_t                         json_len;
    uint32_t                         data_at;   /* in the JSON */
    uint32_t                         data_len;
    uint8_t                          key_len;
    unsigned                         idle:1;
    unsigned                         anonymous:1;
    u_char                           bytes[];   /* the key, the JSON */
} fanout_roster_member_t;

#define fanout_mirror_json(m)  ((m)->bytes + (m)->key_len)


/* all members as JSON, items without brackets; shared by who is told them */

typedef struct {
    uint32_t                         start;
    uint32_t                         end;
} fanout_chunk_t;

typedef struct fanout_snapshot_s {
    ngx_uint_t               refs;
    fanout_outbuf_t         *outbuf;
    fanout_chunk_t          *chunks;            /* a comma in between */
    uint32_t                 nchunks;
    uint32_t                 max;
} fanout_snapshot_t;


/* a PRESENCE entry that was told */

typedef struct {
    ngx_queue_t             queue;
    fanout_entry_t          entry;
    ngx_msec_t              at;
    u_char                  data[];
} fanout_presence_backlog_t;


/* Waits for a roster.  It is woken, and goes on waiting, when the roster may be
 * ready; or when the roster is no more, and it waits no longer. */

typedef struct fanout_waiter_s  fanout_waiter_t;

struct fanout_waiter_s {
    ngx_queue_t             queue;              /* roster->waiting */
    void                  (*wake)(fanout_waiter_t *w);
    unsigned                queued:1;
};


struct fanout_roster_s {
    fanout_channel_t       *channel;
    ngx_queue_t             queue;              /* hub->rosters */
    ngx_queue_t             active;             /* hub->active */

    ngx_rbtree_t            members;
    ngx_rbtree_node_t       sentinel;
    ngx_rbtree_t            places;
    ngx_rbtree_node_t       nowhere;
    uint32_t                count;
    size_t                  json;               /* bytes of it */
    size_t                  bytes;              /* of all nodes */

    uint64_t                version;            /* of what is told */
    uint64_t                until;              /* ready from there on */
    uint32_t                slot;               /* to be read next */

    fanout_snapshot_t      *snapshot;           /* of this version, or NULL */
    ngx_msec_t              snapshot_at;
    ngx_queue_t             waiting;            /* waiters */

    ngx_queue_t             recent;             /* oldest first */
    size_t                  recent_bytes;
    uint64_t                lost;               /* those up to it are gone */

    unsigned                summary:1;
    unsigned                reading:1;
    unsigned                ready:1;
    unsigned                queued:1;           /* in hub->active */
};


/* Makes the roster of a channel, to be read soon.  NULL on lack of memory. */
fanout_roster_t *fanout_roster_create(
    fanout_hub_t *hub, fanout_channel_t *ch);

void fanout_roster_free(fanout_hub_t *hub, fanout_roster_t *r);

/* Called for each member that has joined, once it is in the roster. */
typedef void (*fanout_joined_pt)(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_member_t *m);

/* Puts a PRESENCE entry upon the roster; before it is delivered. */
void fanout_roster_apply(fanout_hub_t *hub, fanout_roster_t *r,
    fanout_entry_t *e, fanout_joined_pt joined);

/* The channel has delivered more. */
void fanout_roster_reached(fanout_hub_t *hub, fanout_roster_t *r);

/* Entries were lost, or the zone was rebuilt: it is read anew.  What came up
 * to the offset is not kept any more. */
void fanout_roster_restart(fanout_hub_t *hub, fanout_roster_t *r,
    uint64_t lost);

/* The member of a client, NULL. */
fanout_roster_member_t *fanout_roster_find(
    fanout_roster_t *r, uint64_t client, const u_char *key,
    size_t len);

/*
 * All members as they are now, for one more reader.  NGX_AGAIN if the worker
 * holds all the lists it may: to be asked again later; NGX_ERROR on lack of
 * memory.
 */
ngx_int_t fanout_roster_snapshot(fanout_hub_t *hub, fanout_roster_t *r,
    fanout_snapshot_t **sn);

/* An empty snapshot with room for size bytes, and one more member in it. */
fanout_snapshot_t *fanout_snapshot_create(
    fanout_hub_t *hub, size_t size);
ngx_int_t fanout_snapshot_add(fanout_hub_t *hub, fanout_snapshot_t *sn,
    const u_char *json, size_t len);

void fanout_snapshot_release(fanout_hub_t *hub, fanout_snapshot_t *sn);

/* The oldest entry kept after an offset; NULL.  And the one behind it. */
fanout_presence_backlog_t *fanout_roster_backlog(
    fanout_roster_t *r, uint64_t after);
fanout_presence_backlog_t *fanout_roster_later(
    fanout_roster_t *r, fanout_presence_backlog_t *e);

/* Adds a waiter, unless it waits already; it waits no longer. */
void fanout_roster_wait(fanout_roster_t *r, fanout_waiter_t *w);
void fanout_waiter_cancel(fanout_waiter_t *w);

/* Reads what is to be read and wakes who waits; once a turn. */
void fanout_roster_work(fanout_hub_t *hub);

/* Drops what is old, and lets all that wait look again; every second. */
void fanout_roster_expire(fanout_hub_t *hub);

/* How many there are, and the bytes of their members. */
ngx_uint_t fanout_roster_sizes(fanout_hub_t *hub, size_t *bytes);

/* There is something to do for a roster at the end of the turn. */
void fanout_roster_touch(fanout_hub_t *hub, fanout_roster_t *r);


#endif /* FANOUT_HUB_ROSTER_H */
