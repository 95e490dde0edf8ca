
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Entries that only the unread list of a channel holds, and the list of the
 * channels that have such entries.
 */


#include "heap/list.h"
#include "zone/log.h"


static const fanout_links_t  held_links = {
    .next = offsetof(fanout_cold_t, held_next),
    .prev = offsetof(fanout_cold_t, held_prev),
    .part = offsetof(fanout_channel_block_t, cold)
};


/* Removes an entry from the unread list or the history. */

void
fanout_entry_release(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t ref,
    uint8_t flag)
{
    uint32_t               blocks;
    fanout_entry_block_t  *e;

    e = fanout_entry(z, ref);

    if (flag == FANOUT_IN_HISTORY && (e->flags & FANOUT_IN_UNREAD)) {
        fanout_set(z, e->flags, e->flags & ~flag);
        fanout_held_add(z, channel, fanout_entry_blocks(z, e));
        return;
    }

    if (flag == FANOUT_IN_UNREAD) {
        if (e->flags & FANOUT_IN_HISTORY) {
            fanout_set(z, e->flags, e->flags & ~flag);
            return;
        }

        blocks = fanout_entry_blocks(z, e);
        fanout_held_add(z, channel, -(int) blocks);
    }

    fanout_entry_free(z, ref, FANOUT_MESSAGES);
}


/* Counts blocks that only the unread list keeps, and maintains the list of
 * channels with such blocks. */

void
fanout_held_add(fanout_zone_t *z, fanout_ref_t channel, int blocks)
{
    uint32_t           was;
    fanout_shm_t      *shm;
    fanout_cold_t     *cold;

    shm = z->shm;
    cold = fanout_cold(z, fanout_channel(z, channel));
    was = cold->held;

    fanout_set(z, cold->held, was + blocks);
    fanout_set(z, shm->held, shm->held + blocks);

    if (was == 0 && cold->held) {
        fanout_held_link(z, channel);

    } else if (was && cold->held == 0) {
        fanout_held_unlink(z, channel);
    }
}


void
fanout_held_link(fanout_zone_t *z, fanout_ref_t channel)
{
    fanout_list_append(z, &held_links, &z->shm->held_first,
                       &z->shm->held_last, channel, FANOUT_OLD_RECORD);
}


void
fanout_held_unlink(fanout_zone_t *z, fanout_ref_t channel)
{
    fanout_list_remove(z, &held_links, &z->shm->held_first,
                       &z->shm->held_last, channel);
}
