
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * When locks and waits are over: a wheel of all claims, with a place for each
 * 128 ms.  A claim that is due beyond a turn is moved on once a turn.
 */


#include "heap/wheel.h"
#include "zone/lock_block.h"


static void claim_link(fanout_zone_t *z, fanout_ref_t ref);


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


void
fanout_claim_refile(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_wheel_remove(z, &claim_wheel, z->shm->locks_due,
                        fanout_claim(z, ref)->place - 1, ref);
    claim_link(z, ref);
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
    return fanout_claim_left(z, ref) == 0;
}


uint32_t
fanout_claim_left(fanout_zone_t *z, fanout_ref_t ref)
{
    int32_t  ms;

    ms = fanout_claim(z, ref)->due - fanout_msec(z);

    return ms > 0 ? ms : 0;
}


int
fanout_lock_over(fanout_zone_t *z, const fanout_lock_block_t *lock)
{
    return lock->holder && fanout_claim_over(z, lock->holder);
}
