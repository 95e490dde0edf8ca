
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * When users were last seen on channels.  The lock must be held for all
 * functions.
 */


#ifndef FANOUT_ZONE_SEEN_H
#define FANOUT_ZONE_SEEN_H


#include "zone/layout.h"


/* When a user was last seen on a channel: a record in the list of all. */

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         next;
    fanout_ref_t         prev;
    uint32_t             expires;       /* s of the zone's clock */
    uint64_t             hash[2];       /* of the two names */
    uint64_t             time;          /* Unix ms */
    uint64_t             unused[3];
} fanout_seen_t;


#define fanout_seen(z, ref)  ((fanout_seen_t *) fanout_at(z, ref))


/* what is remembered: see zone/seen.c */

/* Records that a user has left a channel; kept for keep s, if there is plenty
 * of room. */
void fanout_seen_put(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t user, uint64_t time, uint32_t keep);
int fanout_seen_sweep(fanout_zone_t *z);
int fanout_seen_evict(fanout_zone_t *z);


#endif /* FANOUT_ZONE_SEEN_H */
