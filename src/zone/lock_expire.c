
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks and waits that are over end.
 */


#include "zone/lock_block.h"


#define FANOUT_LOCKS_TURN     64        /* sections in a turn of a worker */


static uint32_t locks_next(fanout_zone_t *z);


int
fanout_lock_sweep(fanout_zone_t *z)
{
    uint32_t         now, at;
    unsigned         n;
    fanout_ref_t     ref;
    fanout_shm_t    *shm;
    fanout_claim_t  *claim;

    shm = z->shm;
    now = fanout_msec(z);
    n = 0;

    /* a turn meets all */

    at = FANOUT_LOCKS_WHEEL * FANOUT_LOCKS_TICK;

    if (shm->nclaims && (int32_t) (now - shm->locks_at - at) > 0) {
        fanout_set(z, shm->locks_at, now - now % FANOUT_LOCKS_TICK - at);
    }

    at = shm->locks_at;

    while (shm->nclaims && (int32_t) (now - at) >= FANOUT_LOCKS_TICK) {
        at += FANOUT_LOCKS_TICK;

        while ((ref = shm->locks_due[at / FANOUT_LOCKS_TICK
                                     % FANOUT_LOCKS_WHEEL]) != 0)
        {
            if (shm->locks_at != at - FANOUT_LOCKS_TICK) {
                fanout_set(z, shm->locks_at, at - FANOUT_LOCKS_TICK);
            }

            if (n && (!fanout_journal_room(z) || !fanout_section_room(z))) {
                return FANOUT_ZONE_AGAIN;
            }

            n++;

            claim = fanout_claim(z, ref);

            if ((int32_t) (claim->due - at) > 0) {
                fanout_claim_refile(z, ref);

            } else if (claim->held) {
                fanout_lock_room(z);
                fanout_lock_end(z, claim->lock, FANOUT_LOCK_EXPIRED);

            } else {
                fanout_wait_over(z, ref);
            }
        }
    }

    if (shm->locks_at != at) {
        fanout_set(z, shm->locks_at, at);
    }

    return FANOUT_ZONE_OK;
}


uint32_t
fanout_lock_expire(fanout_zone_t *z)
{
    int       rc;
    uint32_t  wait;
    uint64_t  taken;
    unsigned  n;

    /* the client of this process does not pay for entries about others */
    taken = z->heap.taken;
    wait = 0;

    for (n = 0; n < FANOUT_LOCKS_TURN; n++) {

        /* checked without the lock: a process that adds a claim looks again */

        if (*(volatile uint32_t *) &z->shm->nclaims == 0) {
            return UINT32_MAX;
        }

        (void) fanout_enter(z);
        rc = fanout_lock_sweep(z);
        wait = rc == FANOUT_ZONE_AGAIN ? 0 : locks_next(z);
        fanout_leave(z);

        z->heap.taken = taken;

        fanout_held_trim(z);

        if (rc != FANOUT_ZONE_AGAIN) {
            break;
        }
    }

    return wait;
}


/* Returns the ms until the next place in use is reached. */

static uint32_t
locks_next(fanout_zone_t *z)
{
    int32_t        wait;
    uint32_t       i, at;
    fanout_shm_t  *shm;

    shm = z->shm;

    for (i = 1; shm->nclaims && i <= FANOUT_LOCKS_WHEEL; i++) {
        at = shm->locks_at + i * FANOUT_LOCKS_TICK;

        if (shm->locks_due[at / FANOUT_LOCKS_TICK % FANOUT_LOCKS_WHEEL]) {
            wait = at - fanout_msec(z);

            return wait > 0 ? wait : 0;
        }
    }

    return UINT32_MAX;
}
