
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


#ifndef _NGX_HTTP_FANOUT_ROSTER_H_INCLUDED_
#define _NGX_HTTP_FANOUT_ROSTER_H_INCLUDED_


#include "ngx_http_fanout_hub.h"


/* how long latest entries are kept; their bytes are in the policy */
#define NGX_HTTP_FANOUT_RECENT_AGE  60000       /* ms */

/* of the members of a snapshot, in bytes, unless one alone is more: a part of a
 * reply at most, and what it is made of */
#define NGX_HTTP_FANOUT_PART        32768
#define NGX_HTTP_FANOUT_CHUNK       1024


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
} ngx_http_fanout_mirror_t;

#define ngx_http_fanout_mirror_json(m)  ((m)->bytes + (m)->key_len)


/* all members as JSON, items without brackets; shared by who is told them */

typedef struct {
    uint32_t                         start;
    uint32_t                         end;
} ngx_http_fanout_chunk_t;

typedef struct ngx_http_fanout_snapshot_s {
    ngx_uint_t                       refs;
    ngx_http_fanout_frame_t         *frame;
    ngx_http_fanout_chunk_t         *chunks;    /* a comma in between */
    uint32_t                         nchunks;
    uint32_t                         max;
} ngx_http_fanout_snapshot_t;


/* a PRESENCE entry that was told */

typedef struct {
    ngx_queue_t                      queue;
    ngx_http_fanout_entry_t          entry;
    ngx_msec_t                       at;
    u_char                           data[];
} ngx_http_fanout_recent_t;


struct ngx_http_fanout_roster_s {
    ngx_http_fanout_channel_t       *channel;
    ngx_queue_t                      queue;     /* hub->rosters */
    ngx_queue_t                      active;    /* hub->active */

    ngx_rbtree_t                     members;
    ngx_rbtree_node_t                sentinel;
    ngx_rbtree_t                     places;
    ngx_rbtree_node_t                nowhere;
    uint32_t                         count;
    size_t                           json;      /* bytes of it */
    size_t                           bytes;     /* of all nodes */

    uint64_t                         version;   /* of what is told */
    uint64_t                         until;     /* ready from there on */
    uint32_t                         slot;      /* to be read next */

    ngx_http_fanout_snapshot_t      *snapshot;  /* of this version, or NULL */
    ngx_msec_t                       snapshot_at;
    ngx_queue_t                      waiting;   /* jobs, by .waiting */

    ngx_queue_t                      recent;    /* oldest first */
    size_t                           recent_bytes;
    uint64_t                         lost;      /* those up to it are gone */

    unsigned                         summary:1;
    unsigned                         reading:1;
    unsigned                         ready:1;
    unsigned                         queued:1;  /* in hub->active */
};


/* Makes the roster of a channel, to be read soon.  NULL on lack of memory. */
ngx_http_fanout_roster_t *ngx_http_fanout_roster_create(
    ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch);

void ngx_http_fanout_roster_free(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_roster_t *r);

/* Puts a PRESENCE entry upon the roster; before it is delivered. */
void ngx_http_fanout_roster_apply(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_roster_t *r, ngx_http_fanout_entry_t *e);

/* The channel has delivered more. */
void ngx_http_fanout_roster_reached(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_roster_t *r);

/* Entries were lost, or the zone was rebuilt: it is read anew.  What came up
 * to the offset is not kept any more. */
void ngx_http_fanout_roster_restart(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_roster_t *r, uint64_t lost);

/* The member of a client, NULL. */
ngx_http_fanout_mirror_t *ngx_http_fanout_roster_find(
    ngx_http_fanout_roster_t *r, uint64_t client, const u_char *key,
    size_t len);

/*
 * All members as they are now, for one more reader.  NGX_AGAIN if the worker
 * holds all the lists it may: to be asked again later; NGX_ERROR on lack of
 * memory.
 */
ngx_int_t ngx_http_fanout_roster_snapshot(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_roster_t *r, ngx_http_fanout_snapshot_t **sn);

/* An empty snapshot with room for size bytes, and one more member in it. */
ngx_http_fanout_snapshot_t *ngx_http_fanout_snapshot_create(
    ngx_http_fanout_hub_t *hub, size_t size);
ngx_int_t ngx_http_fanout_snapshot_add(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_snapshot_t *sn, const u_char *json, size_t len);

void ngx_http_fanout_snapshot_release(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_snapshot_t *sn);

/* The oldest entry kept after an offset; NULL.  And the one behind it. */
ngx_http_fanout_recent_t *ngx_http_fanout_roster_recent(
    ngx_http_fanout_roster_t *r, uint64_t after);
ngx_http_fanout_recent_t *ngx_http_fanout_roster_later(
    ngx_http_fanout_roster_t *r, ngx_http_fanout_recent_t *e);

/* Reads what is to be read and wakes the jobs that wait; once a turn. */
void ngx_http_fanout_roster_work(ngx_http_fanout_hub_t *hub);

/* Drops what is old, and lets all that wait look again; every second. */
void ngx_http_fanout_roster_expire(ngx_http_fanout_hub_t *hub);

/* How many there are, and the bytes of their members. */
ngx_uint_t ngx_http_fanout_roster_sizes(ngx_http_fanout_hub_t *hub,
    size_t *bytes);

/* There is something to do for a roster at the end of the turn. */
void ngx_http_fanout_roster_touch(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_roster_t *r);


#endif /* _NGX_HTTP_FANOUT_ROSTER_H_INCLUDED_ */
