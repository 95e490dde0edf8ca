
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The lists that channels wait in to expire, and whether one is in use.
 *
 * A channel with history and a ttl is in the wheel, at the second when its
 * oldest entry is due (or at the farthest place).  A channel without history
 * that is not in use is in the idle list.
 */


#include "heap/wheel.h"
#include "zone/log.h"
#include "zone/presence.h"
#include "zone/share.h"


static void use(fanout_zone_t *z, fanout_ref_t ref, unsigned holder);
static uint64_t channel_due(fanout_zone_t *z, fanout_channel_block_t *ch);
static void wheel_add(fanout_zone_t *z, fanout_ref_t ref, uint32_t now);
static void idle_add(fanout_zone_t *z, fanout_ref_t ref);
static int wheel_turn(fanout_zone_t *z, uint32_t now, unsigned *n);


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
           || fanout_presence_of(z, ref) ? FANOUT_IN_USE : 0;

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
        wheel_add(z, ref, fanout_seconds(z));

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
    fanout_part_add(z, FANOUT_SHARE_channels, ch->class, n);
    fanout_holder_add(z, FANOUT_SHARE_channels, holder, n);
    fanout_class_add(z, ch->class, -n);
}


static uint64_t
channel_due(fanout_zone_t *z, fanout_channel_block_t *ch)
{
    fanout_index_t  *ix;

    ix = fanout_index(z, ch->index_first);

    return (uint64_t) fanout_entry(z, ix->refs[ch->skip])->mono
           + fanout_cold(z, ch)->policy_ttl;
}


static void
wheel_add(fanout_zone_t *z, fanout_ref_t ref, uint32_t now)
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

    fanout_list_append(z, &idle_links, &shm->idle_first[ch->class],
                       &shm->idle_last[ch->class], ref, FANOUT_OLD_RECORD);
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
        fanout_list_remove(z, &idle_links, &shm->idle_first[ch->class],
                           &shm->idle_last[ch->class], ref);

    } else {
        fanout_wheel_remove(z, &ttl_wheel, shm->wheel,
                            cold->wheel % FANOUT_WHEEL, ref);
    }

    fanout_set(z, cold->list, FANOUT_LIST_NONE);
}


int
fanout_channel_sweep(fanout_zone_t *z)
{
    uint32_t           i, now;
    unsigned           n;
    fanout_cold_t     *cold;
    fanout_ref_t       ref;

    now = fanout_seconds(z);
    n = 0;

    if (wheel_turn(z, now, &n)) {
        return FANOUT_ZONE_AGAIN;
    }

    for (i = 0; i < FANOUT_CLASSES; i++) {

        while ((ref = z->shm->idle_first[i]) != 0) {
            cold = fanout_cold(z, fanout_channel(z, ref));

            if (now - cold->touched < z->shm->idle) {
                break;
            }

            if (n && (n == FANOUT_STEP || !fanout_section_room(z))) {
                return FANOUT_ZONE_AGAIN;
            }

            n++;

            fanout_channel_free(z, ref);
        }
    }

    return FANOUT_ZONE_OK;
}


/* Expires some channels, and counts them in *n.  Returns 1 if there are
 * more. */

static int
wheel_turn(fanout_zone_t *z, uint32_t now, unsigned *n)
{
    uint32_t        empty;
    fanout_ref_t    ref;
    fanout_shm_t   *shm;

    shm = z->shm;
    empty = 0;

    if (now - shm->wheel_at > FANOUT_WHEEL && now > shm->wheel_at) {
        /* no sweep for a turn or more: each place once is enough */
        fanout_set(z, shm->wheel_at, now - FANOUT_WHEEL);
    }

    while (shm->wheel_at < now) {
        ref = shm->wheel[(shm->wheel_at + 1) % FANOUT_WHEEL];

        if (ref == 0) {
            fanout_set(z, shm->wheel_at, shm->wheel_at + 1);

            if (++empty == FANOUT_WHEEL) {
                break;
            }

            continue;
        }

        if (*n && (*n == FANOUT_STEP || !fanout_section_room(z))) {
            return 1;
        }

        (*n)++;

        if (fanout_history_expire(z, ref)) {
            return 1;
        }

        if (fanout_channel(z, ref)->history) {
            fanout_channel_unlist(z, ref);
            fanout_set(z, shm->wheel_at, shm->wheel_at + 1);
            wheel_add(z, ref, now);
            fanout_set(z, shm->wheel_at, shm->wheel_at - 1);

        } else {
            fanout_channel_free_unused(z, ref);
        }
    }

    return 0;
}


void
fanout_channel_evict_idle(fanout_zone_t *z, uint32_t class)
{
    fanout_channel_free(z, z->shm->idle_first[class]);
}
