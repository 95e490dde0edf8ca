
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks and waits that are over end.
 */


#include "zone/lock_block.h"


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
                fanout_lock_room(z, 1);
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
