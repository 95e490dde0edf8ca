
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The end of a lock: the next in line gets it, in one transaction.
 */


#include "zone/lock_block.h"


void
fanout_lock_end(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    fanout_ref_t          next;
    fanout_shm_t         *shm;
    fanout_lock_block_t  *lock;

    shm = z->shm;
    lock = fanout_lock(z, ref);

    fanout_claim_free(z, lock->holder);
    fanout_set(z, lock->holder, 0);
    fanout_set(z, shm->nlocks, shm->nlocks - 1);

    if (reason == FANOUT_LOCK_EXPIRED) {
        fanout_set(z, shm->locks_expired, shm->locks_expired + 1);

    } else if (reason == FANOUT_LOCK_BROKEN) {
        fanout_set(z, shm->locks_broken, shm->locks_broken + 1);
    }

    next = fanout_lock_next(z, ref);

    if (next) {
        fanout_lock_give(z, ref, next);
    }

    fanout_lock_tell(z, ref, reason);
    fanout_lock_settle(z, ref);
}


/* Without a reader there is no entry, only its offset. */

void
fanout_lock_tell(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    uint8_t                buf[FANOUT_LOCK_ENTRY];
    fanout_ref_t           channel;
    fanout_zone_message_t  m;

    channel = fanout_lock_channel(z, ref);

    memset(&m, 0, sizeof(fanout_zone_message_t));
    m.kind = FANOUT_BINARY;
    m.flags = FANOUT_TRANSIENT;
    m.data.data = buf;
    m.data.len = fanout_lock_write(z, ref, reason, buf);

    if (fanout_channel(z, channel)->interests == 0
        || z->shm->heap.nfree < fanout_message_blocks(&m))
    {
        fanout_unread_lose(z, channel);

    } else {
        fanout_log_append(z, channel, &m, FANOUT_LOCK);
    }
}
