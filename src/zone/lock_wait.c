
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What comes of waiting for a lock.
 */


#include "zone/lock_block.h"


static int wait_result(fanout_zone_t *z, const fanout_claimant_t *a,
    int give_up);


int
fanout_lock_wait(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *name, int give_up,
    fanout_lock_t *lock, uint8_t *buf)
{
    int                rc;
    fanout_claimant_t  a;

    memset(lock, 0, sizeof(fanout_lock_t));

    (void) fanout_enter(z);

    rc = fanout_lock_claimant(z, c, ref, id, name, &a);

    if (rc == FANOUT_ZONE_OK && a.lock) {
        fanout_lock_fill(z, a.lock, lock, buf);
        rc = wait_result(z, &a, give_up);
        lock->token = rc == FANOUT_ZONE_OK ? lock->token : 0;
        lock->waiting -= (rc == FANOUT_ZONE_LOCKED);

    } else {
        rc = FANOUT_ZONE_NOTFOUND;
    }

    fanout_leave(z);

    return rc;
}


static int
wait_result(fanout_zone_t *z, const fanout_claimant_t *a, int give_up)
{
    if (a->claim == 0) {
        return FANOUT_ZONE_NOTFOUND;
    }

    if (fanout_claim(z, a->claim)->held) {
        return FANOUT_ZONE_OK;
    }

    if (!give_up) {
        return FANOUT_ZONE_AGAIN;
    }

    fanout_wait_over(z, a->claim);

    return FANOUT_ZONE_LOCKED;
}
