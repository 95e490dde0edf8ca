
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Rosters: the members of a channel, as delivered to its subscribers in this
 * worker.
 *
 * A roster is a pure function of the channel's log.  It is read from the zone
 * in sections, and updated by each PRESENCE entry that this worker drains,
 * before the entry is delivered.  It is ready once the channel has delivered up
 * to the offset of the last section: from then on it is exactly the state at
 * the channel's offset.  After a gap it is read again; after a reset too, as
 * changes before the reset may be lost.
 *
 * Members are kept as the JSON that subscribers get, so that a snapshot is a
 * copy.  On a channel that only counts its members, the roster is the count.
 *
 * The roster also keeps the latest PRESENCE entries, for readers that are
 * behind: PRESENCE entries are never in the history.
 */


#ifndef FANOUT_HUB_ROSTER_H
#define FANOUT_HUB_ROSTER_H


#include "hub/hub.h"


/* how long the latest entries are kept; the policy limits their bytes */
#define FANOUT_RECENT_AGE  60000                /* ms */

/* bytes of members in a part of a reply, and in a chunk of it, at most, unless
 * one member alone is larger */
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
    uint32_t                         who_at;    /* user and profile, in the
                                                   JSON */
    uint32_t                         who_len;
    uint8_t                          key_len;
    unsigned                         idle:1;
    unsigned                         anonymous:1;
    u_char                           bytes[];   /* the key, the JSON */
} fanout_roster_member_t;

#define fanout_mirror_json(m)  ((m)->bytes + (m)->key_len)


/* all members as JSON, items without brackets; shared by its readers */

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


/* a PRESENCE entry that was delivered */

typedef struct {
    ngx_queue_t             queue;
    fanout_entry_t          entry;
    ngx_msec_t              at;
    u_char                  data[];
} fanout_presence_backlog_t;


/* Waits for a roster. wake() is called when the roster may be ready, and the
 * waiter stays queued; or when the roster is freed, and the waiter was removed
 * before. */

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
    size_t                  json;               /* bytes of JSON of all
                                                   members */
    size_t                  bytes;              /* of all nodes */

    uint64_t                version;            /* grows with each change */
    uint64_t                until;              /* ready from this offset on */
    uint32_t                slot;               /* the next slot to read */

    fanout_snapshot_t      *snapshot[2];        /* of this version, or NULL;
                                                   1: without users */
    ngx_msec_t              snapshot_at[2];
    ngx_queue_t             waiting;            /* waiters */

    ngx_queue_t             recent;             /* oldest first */
    size_t                  recent_bytes;
    uint64_t                lost;               /* entries up to it are gone */

    unsigned                summary:1;
    unsigned                reading:1;
    unsigned                ready:1;
    unsigned                queued:1;           /* in hub->active */
};


/* Makes the roster of a channel; it is read in the next turns.  NULL on lack of
 * memory. */
fanout_roster_t *fanout_roster_create(
    fanout_hub_t *hub, fanout_channel_t *ch);

void fanout_roster_free(fanout_hub_t *hub, fanout_roster_t *r);

/* Called for each member that has joined, once it is in the roster. */
typedef void (*fanout_joined_pt)(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_member_t *m);

/* Applies a PRESENCE entry to the roster, before the entry is delivered. */
void fanout_roster_apply(fanout_hub_t *hub, fanout_roster_t *r,
    fanout_entry_t *e, fanout_joined_pt joined);

/* To be called when the channel has delivered more: the roster may be ready. */
void fanout_roster_reached(fanout_hub_t *hub, fanout_roster_t *r);

/* Reads the roster again, as entries were lost or the zone was rebuilt.  Drops
 * the kept entries: those up to the offset "lost" are gone. */
void fanout_roster_restart(fanout_hub_t *hub, fanout_roster_t *r,
    uint64_t lost);

/* The member of a client with this key, or NULL. */
fanout_roster_member_t *fanout_roster_find(
    fanout_roster_t *r, uint64_t client, const u_char *key,
    size_t len);

/*
 * A snapshot of all members, with a reference for the caller; unnamed: without
 * users and profiles, 0 or 1.  NGX_AGAIN if the worker holds all the lists it
 * may: the caller tries again later; NGX_ERROR on lack of memory.
 */
ngx_int_t fanout_roster_snapshot(fanout_hub_t *hub, fanout_roster_t *r,
    ngx_uint_t unnamed, fanout_snapshot_t **sn);

/* Creates an empty snapshot with room for size bytes; NULL on lack of memory.
 * Adds a member to it; NGX_ERROR on lack of memory. */
fanout_snapshot_t *fanout_snapshot_create(
    fanout_hub_t *hub, size_t size);
ngx_int_t fanout_snapshot_add(fanout_hub_t *hub, fanout_snapshot_t *sn,
    const u_char *json, size_t len);

void fanout_snapshot_release(fanout_hub_t *hub, fanout_snapshot_t *sn);

/* Drops the snapshots of a roster that are older than age ms, 0: all. */
void fanout_snapshots_drop(fanout_hub_t *hub, fanout_roster_t *r,
    ngx_msec_t age);

/* The oldest kept entry after an offset, and the entry after that one; or
 * NULL. */
fanout_presence_backlog_t *fanout_roster_backlog(
    fanout_roster_t *r, uint64_t after);
fanout_presence_backlog_t *fanout_roster_later(
    fanout_roster_t *r, fanout_presence_backlog_t *e);

/* Adds a waiter, unless it waits already; removes it. */
void fanout_roster_wait(fanout_roster_t *r, fanout_waiter_t *w);
void fanout_waiter_cancel(fanout_waiter_t *w);

/* Reads sections of rosters, and wakes the waiters of those that are ready;
 * called once a turn. */
void fanout_roster_work(fanout_hub_t *hub);

/* Drops old entries and snapshots, and wakes all waiters; called every
 * second. */
void fanout_roster_expire(fanout_hub_t *hub);

/* The number of rosters, and their bytes. */
ngx_uint_t fanout_roster_sizes(fanout_hub_t *hub, size_t *bytes);

/* Queues a roster for fanout_roster_work() at the end of the turn. */
void fanout_roster_touch(fanout_hub_t *hub, fanout_roster_t *r);


#endif /* FANOUT_HUB_ROSTER_H */
