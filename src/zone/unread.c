
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The unread list of a channel: entries that workers have not read yet.  An
 * entry leaves the list when every cursor has passed it.  Cursors are compared
 * by the zone's seq, which never goes back, while offsets do when a channel is
 * purged.
 */


#include "heap/list.h"
#include "zone/log.h"


static uint64_t unread_min(fanout_zone_t *z, fanout_channel_block_t *ch);


static const fanout_links_t  unread_links = {
    .next = offsetof(fanout_entry_block_t, next)
};


void
fanout_unread_push(fanout_zone_t *z, fanout_channel_block_t *ch,
    fanout_ref_t ref)
{
    unsigned            reset;
    fanout_ref_t        i;
    fanout_interest_t  *in;

    reset = (fanout_entry(z, ref)->type & 0x0f) == FANOUT_RESET;

    fanout_list_append(z, &unread_links, &ch->unread_head, &ch->unread_tail,
                       ref, FANOUT_NEW_RECORD);

    for (i = ch->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        if (in->cursor == 0) {
            fanout_set(z, in->cursor, ref);
        }

        if (reset) {
            fanout_set(z, in->resets, in->resets + 1);
        }

        if (!(in->flags & FANOUT_DIRTY)) {
            fanout_dirty(z, i);
        }
    }
}


/* the unread list */

static uint64_t
unread_min(fanout_zone_t *z, fanout_channel_block_t *ch)
{
    uint64_t            min;
    fanout_ref_t        i;
    fanout_interest_t  *in;

    min = UINT64_MAX;

    for (i = ch->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        if (in->cursor && in->seq < min) {
            min = in->seq;
        }
    }

    return min;
}


int
fanout_unread_trim(fanout_zone_t *z, fanout_ref_t channel)
{
    uint64_t                 min;
    unsigned                 n;
    fanout_ref_t             ref, next;
    fanout_cold_t           *cold;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);

    if (ch->unread_head == 0) {
        return 0;
    }

    min = unread_min(z, ch);
    ref = ch->unread_head;

    for (n = 0; ref && n < FANOUT_STEP; n++) {
        e = fanout_entry(z, ref);

        if (e->seq > min) {
            break;
        }

        next = e->next;
        fanout_entry_release(z, channel, ref, FANOUT_IN_UNREAD);
        ref = next;
    }

    if (n) {
        fanout_list_cut(z, &ch->unread_head, &ch->unread_tail, ref);

        if (ref == 0) {
            fanout_channel_free_unused(z, channel);
        }

        /* the list has moved: channels whose list has not come first when one
         * is dropped */

        cold = fanout_cold(z, ch);

        if (cold->held && cold->held_next) {
            fanout_held_unlink(z, channel);
            fanout_held_link(z, channel);
        }
    }

    return n == FANOUT_STEP && ref;
}


int
fanout_unread_drop(fanout_zone_t *z)
{
    uint64_t                 min;
    fanout_ref_t             i, head, channel, target;
    fanout_interest_t       *in;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    channel = z->shm->held_first;

    if (channel == 0) {
        return 0;
    }

    ch = fanout_channel(z, channel);
    head = ch->unread_head;

    (void) fanout_unread_trim(z, channel);

    if (head != ch->unread_head) {
        return 1;
    }

    min = unread_min(z, ch);
    target = 0;

    if (ch->history) {
        target = fanout_index(z, ch->index_first)->refs[ch->skip];
        e = fanout_entry(z, target);

        if (!(e->flags & FANOUT_IN_UNREAD) || e->seq <= min + 1) {
            target = 0;
        }
    }

    for (i = ch->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        if (in->cursor == 0 || in->seq != min) {
            continue;
        }

        if (target == in->cursor) {
            target = 0;
        }

        if (in->resets) {
            fanout_set(z, in->resets, 0);
            fanout_set(z, in->offset, 0);
        }

        fanout_set(z, in->cursor, target);
        fanout_set(z, in->flags, in->flags | FANOUT_LOST_BEFORE);
        fanout_set(z, in->seq, target ? fanout_entry(z, target)->seq - 1
                                      : z->shm->seq);

        if (!(in->flags & FANOUT_DIRTY)) {
            fanout_dirty(z, i);
        }
    }

    fanout_set(z, z->shm->dropped, z->shm->dropped + 1);
    (void) fanout_unread_trim(z, channel);

    return 1;
}


void
fanout_unread_lose(fanout_zone_t *z, fanout_ref_t channel)
{
    fanout_ref_t             i;
    fanout_interest_t       *in;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);

    fanout_set(z, ch->offset, ch->offset + 1);
    fanout_set(z, z->shm->seq, z->shm->seq + 1);

    for (i = ch->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        fanout_set(z, in->flags, in->flags | FANOUT_LOST_BEHIND);

        if (!(in->flags & FANOUT_DIRTY)) {
            fanout_dirty(z, i);
        }
    }
}


/* Stalled workers may hold up to held_max blocks, and a step more. */

int
fanout_held_cap(fanout_zone_t *z)
{
    return z->shm->held > z->shm->held_max && fanout_unread_drop(z);
}


void
fanout_held_trim(fanout_zone_t *z)
{
    int       more;
    unsigned  n;

    for (n = 0; n < 4; n++) {

        if (*(volatile uint32_t *) &z->shm->held <= z->shm->held_max) {
            return;
        }

        (void) fanout_enter(z);
        more = fanout_held_cap(z);
        fanout_leave(z);

        if (!more) {
            return;
        }
    }
}


/* Usually a worker trims an unread list when it has read it; this is for a list
 * whose last reader died. */

int
fanout_held_sweep(fanout_zone_t *z)
{
    int            more;
    unsigned       n;
    fanout_ref_t   channel, next;

    more = 0;
    channel = z->shm->held_first;

    for (n = 0; channel && n < 8 && fanout_section_room(z); n++) {
        next = fanout_cold(z, fanout_channel(z, channel))->held_next;
        more |= fanout_unread_trim(z, channel);
        channel = next;
    }

    return more;
}
