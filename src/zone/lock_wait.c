
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The line of those who wait for a lock, in the order of asking.
 */


#include "zone/lock_block.h"


static int wait_result(fanout_zone_t *z, const fanout_asker_t *a,
    int give_up);


static const fanout_links_t  line_links = {
    .next = offsetof(fanout_claim_t, next),
    .prev = offsetof(fanout_claim_t, prev)
};


void
fanout_line_join(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_lock_block_t  *lock;

    lock = fanout_lock(z, fanout_claim(z, ref)->lock);

    fanout_list_append(z, &line_links, &lock->first, &lock->last, ref,
                       FANOUT_OLD_RECORD);
    fanout_set(z, lock->waiting, lock->waiting + 1);
    fanout_set(z, z->shm->nwaiters, z->shm->nwaiters + 1);
    fanout_set(z, z->shm->lock_waits, z->shm->lock_waits + 1);
}


void
fanout_line_leave(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_lock_block_t  *lock;

    lock = fanout_lock(z, fanout_claim(z, ref)->lock);

    fanout_list_remove(z, &line_links, &lock->first, &lock->last, ref);
    fanout_set(z, lock->waiting, lock->waiting - 1);
    fanout_set(z, z->shm->nwaiters, z->shm->nwaiters - 1);
}


void
fanout_line_drop(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_ref_t  lock;

    lock = fanout_claim(z, ref)->lock;

    fanout_line_leave(z, ref);
    fanout_claim_free(z, ref);
    fanout_lock_settle(z, lock);
}


void
fanout_wait_over(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_line_drop(z, ref);
    fanout_set(z, z->shm->lock_timeouts, z->shm->lock_timeouts + 1);
}


int
fanout_lock_wait(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *name, int give_up,
    fanout_lock_t *lock, uint8_t *buf)
{
    int             rc;
    fanout_asker_t  a;

    memset(lock, 0, sizeof(fanout_lock_t));

    (void) fanout_enter(z);

    rc = fanout_lock_asker(z, c, ref, id, name, &a);

    if (rc == FANOUT_ZONE_OK && a.lock) {
        fanout_lock_fill(z, a.lock, lock, buf);
        rc = wait_result(z, &a, give_up);
        lock->token = rc == FANOUT_ZONE_OK ? lock->token : 0;

    } else {
        rc = FANOUT_ZONE_NOTFOUND;
    }

    fanout_leave(z);

    return rc;
}


static int
wait_result(fanout_zone_t *z, const fanout_asker_t *a, int give_up)
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
