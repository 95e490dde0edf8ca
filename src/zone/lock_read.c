
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The locks of a channel are read.
 */


#include "zone/lock_block.h"
#include "zone/record_log.h"


static int lock_fits(const fanout_lock_block_t *lock, size_t left);


/* The cursor is the slot of the next lock. */

int
fanout_lock_list(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t *cursor,
    fanout_lock_t *locks, unsigned max, uint8_t *buf, size_t size,
    unsigned *n, fanout_zone_result_t *r)
{
    size_t           used;
    uint32_t         slot;
    fanout_ref_t     channel, shelf, ref;
    fanout_shelf_t  *s;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    shelf = channel ? fanout_shelf_of(z, channel) : 0;
    s = shelf && *cursor <= UINT32_MAX ? fanout_shelf(z, shelf) : NULL;
    used = 0;
    *n = 0;

    memset(r, 0, sizeof(fanout_zone_result_t));
    fanout_record_position(z, channel, r);

    for (slot = *cursor; s; slot++) {
        ref = fanout_tree_next(z, s->lock_root, s->lock_depth, &slot, NULL);

        if (ref == 0) {
            break;
        }

        if (*n == max || !lock_fits(fanout_lock(z, ref), size - used)
            || used >= FANOUT_ZONE_COPY || !fanout_section_room(z))
        {
            *cursor = slot;
            fanout_leave(z);
            return FANOUT_ZONE_OK;
        }

        z->heap.work += 2;

        if (fanout_lock(z, ref)->holder) {
            fanout_lock_fill(z, ref, &locks[*n], buf + used);
            used += locks[*n].name.len + locks[*n].user.len
                    + locks[*n].data.len;
            (*n)++;
        }
    }

    *cursor = 0;

    fanout_leave(z);

    return channel ? FANOUT_ZONE_OK : FANOUT_ZONE_NOTFOUND;
}


static int
lock_fits(const fanout_lock_block_t *lock, size_t left)
{
    return left >= FANOUT_ZONE_LOCK_BUF - 255u + lock->name_len;
}


void
fanout_lock_stat(fanout_zone_t *z, fanout_zone_stat_t *st)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    st->nlocks = shm->nlocks;
    st->nwaiters = shm->nwaiters;
    st->lock_grants = shm->lock_grants;
    st->lock_waits = shm->lock_waits;
    st->lock_timeouts = shm->lock_timeouts;
    st->lock_conflicts = shm->lock_conflicts;
    st->locks_expired = shm->locks_expired;
    st->locks_broken = shm->locks_broken;
}
