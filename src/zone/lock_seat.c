
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The locks of a seat: when it ends, and when it is back.
 */


#include "zone/lock_block.h"


static int lock_vacant(fanout_zone_t *z, fanout_ref_t ref);


int
fanout_locks_leave(fanout_zone_t *z, fanout_ref_t seat, uint8_t reason)
{
    unsigned         n;
    fanout_ref_t     ref;
    fanout_claim_t  *claim;

    for (n = 0; (ref = fanout_seat(z, seat)->claims) != 0; n++) {

        if (n && !fanout_section_room(z)) {
            return 1;
        }

        claim = fanout_claim(z, ref);

        if (claim->held) {
            fanout_lock_room(z, 1);
            fanout_lock_end(z, claim->lock, reason);

        } else {
            fanout_line_drop(z, ref);
        }
    }

    return n && !fanout_section_room(z);
}


void
fanout_locks_revive(fanout_zone_t *z, fanout_ref_t seat)
{
    unsigned         n;
    fanout_ref_t     ref;
    fanout_claim_t  *claim;

    for (n = 0, ref = fanout_seat(z, seat)->claims; ref;
         ref = fanout_claim(z, ref)->seat_next)
    {
        z->heap.work++;
        n += lock_vacant(z, ref);
    }

    fanout_lock_room(z, n);

    fanout_seat_revive(z, seat);

    for (ref = n ? fanout_seat(z, seat)->claims : 0; ref;
         ref = claim->seat_next)
    {
        claim = fanout_claim(z, ref);

        if (lock_vacant(z, ref)) {
            fanout_lock_give(z, claim->lock, ref);
            fanout_lock_tell(z, claim->lock, 0);
        }
    }
}


/* Whether a claim in line is to a lock that nobody holds. */

static int
lock_vacant(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_claim_t  *claim;

    claim = fanout_claim(z, ref);

    return !claim->held && !fanout_claim_over(z, ref)
           && fanout_lock(z, claim->lock)->holder == 0;
}
