
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks and waits whose time is over: a wheel of all claims, with a place for
 * each 128 ms.  A claim that is due beyond a turn is moved on once a turn.
 */


#include "heap/wheel.h"
#include "zone/lock_block.h"


#define FANOUT_LOCKS_TURN     64        /* sections in a turn of a worker */


static void claim_link(fanout_zone_t *z, fanout_ref_t ref);
static uint32_t locks_next(fanout_zone_t *z);


static const fanout_wheel_t  claim_wheel = {
    .links.next = offsetof(fanout_claim_t, due_next),
    .links.prev = offsetof(fanout_claim_t, due_prev),
    .places = FANOUT_LOCKS_WHEEL
};


void
fanout_claim_due(fanout_zone_t *z, fanout_ref_t ref, uint32_t ms)
{
    uint32_t         now;
    fanout_claim_t  *claim;

    now = fanout_msec(z);
    claim = fanout_claim(z, ref);

    fanout_claim_undue(z, ref);

    if (z->shm->nclaims == 0) {
        fanout_set(z, z->shm->locks_at, now - now % FANOUT_LOCKS_TICK);
    }

    fanout_set(z, claim->due, now + ms);
    fanout_set(z, z->shm->nclaims, z->shm->nclaims + 1);
    claim_link(z, ref);
}


void
fanout_claim_undue(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_claim_t  *claim;

    claim = fanout_claim(z, ref);

    if (claim->place == 0) {
        return;
    }

    fanout_wheel_remove(z, &claim_wheel, z->shm->locks_due, claim->place - 1,
                        ref);
    fanout_set(z, claim->place, 0);
    fanout_set(z, z->shm->nclaims, z->shm->nclaims - 1);
}


/* The number of ticks of the clock's range is a multiple of the places. */

static void
claim_link(fanout_zone_t *z, fanout_ref_t ref)
{
    int32_t          ahead;
    uint32_t         place;
    uint64_t         at;
    fanout_claim_t  *claim;

    claim = fanout_claim(z, ref);
    ahead = claim->due - z->shm->locks_at;
    at = z->shm->locks_at / FANOUT_LOCKS_TICK;

    place = fanout_wheel_place(&claim_wheel,
                               ahead > 0 ? at + ((uint32_t) ahead
                                                 + FANOUT_LOCKS_TICK - 1)
                                                / FANOUT_LOCKS_TICK
                                         : at,
                               at);

    fanout_set(z, claim->place, place + 1);
    fanout_wheel_add(z, &claim_wheel, z->shm->locks_due, place, ref,
                     FANOUT_OLD_RECORD);
}


int
fanout_claim_over(fanout_zone_t *z, fanout_ref_t ref)
{
    return (int32_t) (fanout_claim(z, ref)->due - fanout_msec(z)) <= 0;
}


int
fanout_lock_over(fanout_zone_t *z, const fanout_lock_block_t *lock)
{
    return lock->holder && fanout_claim_over(z, lock->holder);
}


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
                fanout_wheel_remove(z, &claim_wheel, shm->locks_due,
                                    claim->place - 1, ref);
                claim_link(z, ref);

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
