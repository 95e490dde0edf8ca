
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on locks.
 *
 * The claimant is as in zone/lock.h: a client of this worker, by ref and id; a
 * client that was found by its secret, with ref 0; the HTTP API, with id NULL.
 */


#ifndef FANOUT_HUB_LOCKS_H
#define FANOUT_HUB_LOCKS_H


#include "hub/records.h"
#include "zone/client.h"
#include "zone/lock.h"


#define FANOUT_LOCK_TTL   30000         /* ms, if none is said */
#define FANOUT_LOCK_LIST  64            /* locks that are read at once */


/* a lock as an operation has found it */

typedef struct {
    fanout_lock_t             lock;         /* strings until the next call */
    unsigned                  limit;        /* TOO_MANY: FANOUT_LOCK_* */
    unsigned                  renewed;
    unsigned                  waits:1;      /* LOCKED: the client is in line */
} fanout_locked_t;

/* locks of a channel */

typedef struct {
    fanout_lock_t             locks[FANOUT_LOCK_LIST];
    unsigned                  n;
    uint64_t                  epoch;        /* of the channel, */
    uint64_t                  offset;       /* before which it is true */
    size_t                    bytes;        /* of the strings */
} fanout_lock_list_t;


/* The longest ttl on a channel by its policy, ms; 0: it has no locks. */
uint32_t fanout_locks_served(fanout_hub_t *hub, ngx_str_t *channel);

/* The ttl of a lock for which none is said. */
uint32_t fanout_locks_ttl(fanout_hub_t *hub, ngx_str_t *channel);

/*
 * Takes or renews a lock, see fanout_lock_take().  The policy of the channel
 * must have locks.
 *
 * NONE; LOCKED, with to->lock and to->waits; NOT_JOINED: a client without a
 * seat; TOO_MANY, see fanout_locks_limit(); ZONE_FULL, ADDRESS_FULL, TOO_LARGE,
 * INTERNAL.
 */
fanout_error_e fanout_locks_take(fanout_hub_t *hub, ngx_str_t *channel,
    uint32_t ref, const fanout_identity_t *id, const fanout_zone_lock_t *req,
    uint64_t token, fanout_locked_t *to);

/* What came of the wait of a client: NONE: it holds the lock; LOCKED: it is in
 * line, with to->waits, or has left it, with give_up; NOT_HOLDER: neither. */
fanout_error_e fanout_locks_wait(fanout_hub_t *hub, ngx_str_t *channel,
    uint32_t ref, const fanout_identity_t *id, const fanout_zstr_t *name,
    ngx_uint_t give_up, fanout_locked_t *to);

/* Ends a lock: NONE, NOT_HOLDER; for the API NOT_FOUND too.  token 0: whichever
 * it has. */
fanout_error_e fanout_locks_drop(fanout_hub_t *hub, ngx_str_t *channel,
    uint32_t ref, const fanout_identity_t *id, const fanout_zstr_t *name,
    uint64_t token);

/* Reads a section of the locks of a channel, at most max, from *cursor on,
 * which is 0 at the beginning and the end.  The result is valid until the next
 * call. */
fanout_lock_list_t *fanout_locks_list(fanout_hub_t *hub, ngx_str_t *channel,
    uint64_t *cursor, ngx_uint_t max);

/* The limit that a lock was refused for with TOO_MANY. */
void fanout_locks_limit(fanout_hub_t *hub, ngx_str_t *channel,
    unsigned limit, fanout_records_limit_t *to);


#endif /* FANOUT_HUB_LOCKS_H */
