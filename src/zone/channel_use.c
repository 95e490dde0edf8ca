
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Whether a channel is in use, the list in which it waits to expire, and its
 * end.
 *
 * A channel with history and a ttl is in the wheel, in the slot of the second
 * when its oldest entry is due (or the farthest slot); an empty channel that is
 * not in use is in the idle list of its account.
 */


#include "heap/hash.h"
#include "heap/wheel.h"
#include "zone/log.h"
#include "zone/presence.h"
#include "zone/share.h"
#include "zone/shelf.h"


static void use(fanout_zone_t *z, fanout_ref_t ref, unsigned holder);
static uint64_t channel_due(fanout_zone_t *z, fanout_channel_block_t *ch);
static void idle_add(fanout_zone_t *z, fanout_ref_t ref);


static const fanout_links_t  idle_links = {
    .next = offsetof(fanout_name_t, list_next),
    .prev = offsetof(fanout_name_t, list_prev),
    .part = offsetof(fanout_channel_block_t, name)
};


static const fanout_wheel_t  ttl_wheel = {
    .links.next = offsetof(fanout_name_t, list_next),
    .links.prev = offsetof(fanout_name_t, list_prev),
    .links.part = offsetof(fanout_channel_block_t, name),
    .places = FANOUT_WHEEL
};


void
fanout_channel_free_unused(fanout_zone_t *z, fanout_ref_t ref)
{
    uint8_t                  want;
    uint16_t                 used;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    used = ch->interests || ch->unread_head || cold->keys
           || fanout_presence_of(z, ref) || fanout_shelf_of(z, ref)
           ? FANOUT_IN_USE : 0;

    if (used != (cold->wheel & FANOUT_IN_USE)) {
        use(z, ref, 0);
    }

    if (ch->history) {
        want = cold->policy_ttl ? FANOUT_LIST_WHEEL : FANOUT_LIST_NONE;

    } else {
        want = used ? FANOUT_LIST_NONE : FANOUT_LIST_IDLE;
    }

    if (want == cold->list) {
        return;
    }

    fanout_channel_unlist(z, ref);

    if (want == FANOUT_LIST_WHEEL) {
        fanout_channel_wheel_add(z, ref, fanout_seconds(z));

    } else if (want == FANOUT_LIST_IDLE) {
        idle_add(z, ref);
    }
}


void
fanout_channel_use(fanout_zone_t *z, fanout_ref_t ref, unsigned holder)
{
    fanout_cold_t  *cold;

    cold = fanout_cold(z, fanout_channel(z, ref));

    if ((cold->wheel & FANOUT_IN_USE) == 0) {
        use(z, ref, holder);
    }
}


/* Marks a channel as in use, or as no longer in use. */

static void
use(fanout_zone_t *z, fanout_ref_t ref, unsigned holder)
{
    int32_t                  n;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);
    n = fanout_channel_blocks(ch->name_len);

    if (cold->wheel & FANOUT_IN_USE) {
        n = -n;
        holder = cold->touched;

    } else {
        fanout_set(z, cold->touched, holder);
    }

    fanout_set(z, cold->wheel, cold->wheel ^ FANOUT_IN_USE);
    fanout_set(z, z->shm->in_use, z->shm->in_use + n);
    fanout_part_add(z, FANOUT_SHARE_channels, ch->account, n);
    fanout_holder_add(z, FANOUT_SHARE_channels, holder, n);
    fanout_account_add(z, ch->account, -n);
}


static uint64_t
channel_due(fanout_zone_t *z, fanout_channel_block_t *ch)
{
    fanout_index_t  *ix;

    ix = fanout_index(z, ch->index_first);

    return (uint64_t) fanout_entry(z, ix->refs[ch->skip])->mono
           + fanout_cold(z, ch)->policy_ttl;
}


void
fanout_channel_wheel_add(fanout_zone_t *z, fanout_ref_t ref, uint32_t now)
{
    uint64_t                 at;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    at = channel_due(z, ch) + 1;

    if (at < now + 1ULL) {
        at = now + 1ULL;
    }

    at = fanout_wheel_place(&ttl_wheel, at, z->shm->wheel_at);

    fanout_wheel_add(z, &ttl_wheel, z->shm->wheel, at, ref, FANOUT_OLD_RECORD);
    fanout_set(z, cold->wheel,
               (cold->wheel & (FANOUT_IN_USE|FANOUT_PURGED)) | at);
    fanout_set(z, cold->list, FANOUT_LIST_WHEEL);
}


static void
idle_add(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t            *shm;
    fanout_channel_block_t  *ch;

    shm = z->shm;
    ch = fanout_channel(z, ref);

    fanout_list_append(z, &idle_links, &shm->idle_first[ch->account],
                       &shm->idle_last[ch->account], ref, FANOUT_OLD_RECORD);
    fanout_set(z, fanout_cold(z, ch)->touched, fanout_seconds(z));
    fanout_set(z, fanout_cold(z, ch)->list, FANOUT_LIST_IDLE);
}


/* A publish to an empty channel takes it out of the idle list. */

void
fanout_channel_touch(fanout_zone_t *z, fanout_ref_t ref, uint32_t now)
{
    fanout_cold_t  *cold;

    cold = fanout_cold(z, fanout_channel(z, ref));

    if (cold->list == FANOUT_LIST_IDLE && cold->touched != now) {
        fanout_channel_unlist(z, ref);
    }
}


void
fanout_channel_unlist(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t            *shm;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    shm = z->shm;
    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    if (cold->list == FANOUT_LIST_NONE) {
        return;
    }

    if (cold->list == FANOUT_LIST_IDLE) {
        fanout_list_remove(z, &idle_links, &shm->idle_first[ch->account],
                           &shm->idle_last[ch->account], ref);

    } else {
        fanout_wheel_remove(z, &ttl_wheel, shm->wheel,
                            cold->wheel % FANOUT_WHEEL, ref);
    }

    fanout_set(z, cold->list, FANOUT_LIST_NONE);
}


/* the channel must not be in use, and must have no history */

void
fanout_channel_free(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t                 n;
    fanout_channel_block_t  *ch;

    fanout_channel_unlist(z, ref);

    ch = fanout_channel(z, ref);

    fanout_hash_remove(z, &fanout_channel_table, ch->hash, ref);

    if (fanout_name(z, ch)->lost_seq > z->shm->forgotten) {
        fanout_set(z, z->shm->forgotten, fanout_name(z, ch)->lost_seq);
    }

    fanout_set(z, z->shm->nchannels, z->shm->nchannels - 1);
    fanout_set(z, z->shm->accounts[ch->account].channels,
               z->shm->accounts[ch->account].channels - 1);

    n = fanout_channel_blocks(ch->name_len) - 2;
    fanout_account_add(z, ch->account, -(int32_t) (n + 2));

    fanout_free(z, ch->name, fanout_chain_last(z, ch->name), n,
                FANOUT_CHANNELS);
    fanout_free(z, ch->cold, ch->cold, 1, FANOUT_CHANNELS);
    fanout_free(z, ref, ref, 1, FANOUT_CHANNELS);
}
