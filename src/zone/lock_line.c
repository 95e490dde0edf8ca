
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The line of those who wait for a lock, in the order of their requests.
 */


#include "zone/lock_block.h"


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
