
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Interests: a worker opens a channel to read it, and closes it.
 */


#include "heap/list.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/share.h"
#include "zone/slot.h"


static int channel_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, unsigned holder);
static void interest_add(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint32_t local, unsigned holder);


static const fanout_links_t  interest_links = {
    .next = offsetof(fanout_interest_t, next),
    .prev = offsetof(fanout_interest_t, prev)
};

static const fanout_links_t  slot_links = {
    .next = offsetof(fanout_interest_t, slot_next),
    .prev = offsetof(fanout_interest_t, slot_prev)
};


int
fanout_channel_open(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t local)
{
    int           rc;
    unsigned      holder, again;
    fanout_ref_t  channel, ref;

    channel = 0;

    if (z->heap.slot == -1) {
        z->full = FANOUT_FULL_ZONE;
        return FANOUT_ZONE_FULL;
    }

    if (c->name.len > 255) {
        return FANOUT_ZONE_LARGE;
    }

    (void) fanout_enter(z);

    if (fanout_channel_opened(z, c)) {
        fanout_channel_policy(z, c->ref, c);
        fanout_set(z, fanout_interest(z, c->interest)->local, local);
        fanout_leave(z);
        return FANOUT_ZONE_OK;
    }

    /* after a rebuild, the holder's limit does not apply to what it had */

    holder = fanout_holder(z, c->address);
    again = (c->ref != 0);
    c->ref = 0;

    fanout_share_room(z, FANOUT_SHARE_channels,
                      fanout_channel_blocks(c->name.len) + 1);

    do {
        rc = fanout_ensure(z, fanout_channel_blocks(c->name.len) + 1);
    } while (rc == FANOUT_ZONE_STALE);

    if (rc == FANOUT_ZONE_OK) {
        channel = fanout_channel_find(z, c);
        rc = channel_claim(z, c, channel, again ? 0 : holder);
    }

    if (rc != FANOUT_ZONE_OK) {
        fanout_leave(z);
        return rc;
    }

    if (channel == 0) {
        channel = fanout_channel_make(z, c);

    } else {
        fanout_channel_policy(z, channel, c);
    }

    fanout_channel_use(z, channel, holder);

    ref = fanout_alloc(z, 1, FANOUT_INTERESTS, NULL);
    interest_add(z, channel, ref, local, holder);
    fanout_channel_free_unused(z, channel);

    c->ref = channel;
    c->interest = ref;
    c->incarnation = z->heap.incarnation;

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


/* Checks the share for an interest, and for a channel that it brings into
 * use. */

static int
channel_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, unsigned holder)
{
    int             rc, in_use;
    uint32_t        n, account;
    fanout_cold_t  *cold;

    in_use = 0;
    n = 1 + fanout_channel_blocks(c->name.len);
    account = c->policy ? c->policy->account : 0;

    if (channel) {
        cold = fanout_cold(z, fanout_channel(z, channel));

        if (cold->wheel & FANOUT_IN_USE) {
            in_use = 1;
            n = 1;
        }
    }

    rc = fanout_share_claim(z, FANOUT_SHARE_channels, account, n);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    return in_use ? fanout_holder_join(z, account, holder)
                  : fanout_holder_claim(z, FANOUT_SHARE_channels, account,
                                        holder, n);
}


static void
interest_add(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t ref,
    uint32_t local, unsigned holder)
{
    fanout_slot_t           *slot;
    fanout_interest_t       *in;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    slot = &z->shm->slots[z->heap.slot];
    in = fanout_interest(z, ref);

    memset((uint8_t *) in + 4, 0, sizeof(fanout_interest_t) - 4);

    in->seq = z->shm->seq;
    in->offset = ch->offset;
    in->local = local;
    in->slot = z->heap.slot;
    in->holder = holder;

    fanout_set(z, in->channel, channel);

    fanout_part_add(z, FANOUT_SHARE_channels, ch->account, 1);
    fanout_holder_add(z, FANOUT_SHARE_channels, holder, 1);

    fanout_list_push(z, &interest_links, &ch->interests, ref,
                     FANOUT_NEW_RECORD);
    fanout_list_push(z, &slot_links, &slot->interests, ref,
                     FANOUT_NEW_RECORD);
    fanout_set(z, slot->ninterests, slot->ninterests + 1);
}


void
fanout_interest_drop(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_slot_t           *slot;
    fanout_interest_t       *in;
    fanout_channel_block_t  *ch;

    in = fanout_interest(z, ref);
    ch = fanout_channel(z, in->channel);
    slot = &z->shm->slots[in->slot];

    fanout_clean(z, ref);

    fanout_list_remove(z, &interest_links, &ch->interests, NULL, ref);
    fanout_list_remove(z, &slot_links, &slot->interests, NULL, ref);

    fanout_set(z, slot->ninterests, slot->ninterests - 1);
    fanout_set(z, ch->subscribers, ch->subscribers - in->subscribers);
    fanout_part_add(z, FANOUT_SHARE_channels, ch->account, -1);
    fanout_holder_add(z, FANOUT_SHARE_channels, in->holder, -1);

    (void) fanout_unread_trim(z, in->channel);
    fanout_signal_trim(z, in->channel);
    fanout_channel_free_unused(z, in->channel);

    fanout_free(z, ref, ref, 1, FANOUT_INTERESTS);
}


void
fanout_channel_close(fanout_zone_t *z, fanout_zone_channel_t *c)
{
    (void) fanout_enter(z);

    if (fanout_channel_opened(z, c)) {
        /* the sweep removes what is left of a long unread list */
        fanout_interest_drop(z, c->interest);
    }

    c->ref = 0;
    c->interest = 0;

    fanout_leave(z);
}


void
fanout_channel_subscribers(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t n)
{
    fanout_interest_t       *in;
    fanout_channel_block_t  *ch;

    (void) fanout_enter(z);

    if (fanout_channel_opened(z, c)) {
        ch = fanout_channel(z, c->ref);
        in = fanout_interest(z, c->interest);

        fanout_set(z, ch->subscribers,
                   ch->subscribers - in->subscribers + n);
        fanout_set(z, in->subscribers, n);
    }

    fanout_leave(z);
}
