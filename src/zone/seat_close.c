
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A seat is given up: its client leaves, is removed, or does not come back.
 */


#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/lock_block.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"
#include "zone/slot.h"


static int kick_step(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client, uint8_t reason);


void
fanout_seat_close(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id, uint8_t reason)
{
    int           more;
    fanout_ref_t  ref, channel;

    do {
        (void) fanout_enter(z);

        fanout_hook_event_room(z, 0);
        channel = fanout_channel_find(z, c);
        more = 0;

        if (channel && fanout_identity_own(z, identity, id)) {
            ref = fanout_seat_find(z, channel, id->client);
            more = ref && fanout_seat_give_up(z, ref, reason);
        }

        fanout_leave(z);

    } while (more);
}


int
fanout_seat_kick(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t client,
    uint8_t reason)
{
    int  rc;

    do {
        (void) fanout_enter(z);

        fanout_hook_event_room(z, 1);
        fanout_order_room(z);
        rc = kick_step(z, c, client, reason);

        fanout_leave(z);

    } while (rc == FANOUT_ZONE_AGAIN);

    return rc;
}


static int
kick_step(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t client,
    uint8_t reason)
{
    uint32_t                  local;
    unsigned                  slot;
    fanout_ref_t              channel, ref;
    fanout_seat_t            *s;
    fanout_identity_block_t  *e;

    channel = fanout_channel_find(z, c);
    ref = channel ? fanout_seat_find(z, channel, client) : 0;
    s = ref ? fanout_seat(z, ref) : NULL;

    if (s == NULL || s->state == FANOUT_SEAT_GONE) {
        return FANOUT_ZONE_NOTFOUND;
    }

    e = fanout_identity(z, s->identity);
    slot = e->slot;
    local = e->state == FANOUT_ID_LIVE
            ? fanout_interest_local(z, channel, slot) : UINT32_MAX;

    if (fanout_seat_give_up(z, ref, reason)) {
        return FANOUT_ZONE_AGAIN;
    }

    if (local != UINT32_MAX) {
        fanout_order_send(z, slot, FANOUT_ORDER_REMOVE, client, local, 0,
                          reason);
    }

    return FANOUT_ZONE_OK;
}


int
fanout_seat_give_up(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    fanout_ref_t    presence;
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    if (s->state == FANOUT_SEAT_GONE) {
        return 0;
    }

    if (s->claims) {
        if (fanout_locks_leave(z, ref, reason == FANOUT_LEFT_KICKED
                                       || reason == FANOUT_LEFT_FORBIDDEN
                                       ? FANOUT_LOCK_KICKED
                                       : FANOUT_LOCK_LEFT))
        {
            return 1;
        }

        /* the entries may have taken what there was for events */
        fanout_hook_event_room(z, 1);
    }

    if (fanout_seat_unreported_free(z, ref, reason)) {
        return 1;
    }

    if (s->state == FANOUT_SEAT_LINGERS) {

        if (reason == FANOUT_LEFT_NETWORK
            && (s->flags & FANOUT_SEAT_INTENT))
        {
            /* the client had announced this, and did not come back */
            reason = FANOUT_LEFT_INTENTIONAL;
        }

        fanout_seat_revive(z, ref);
    }

    presence = fanout_presence_of(z, s->channel);

    fanout_holder_add(z, FANOUT_SHARE_sessions, s->due, -1);
    fanout_set(z, s->state, FANOUT_SEAT_GONE);
    fanout_set(z, fanout_presence(z, presence)->seats,
               fanout_presence(z, presence)->seats - 1);
    fanout_hook_event_left(z, ref, reason);

    fanout_mail_free(z, ref);
    fanout_seat_members_leave(z, ref, reason);

    if (s->members) {
        fanout_seat_move(z, ref, 1);

    } else {
        fanout_seat_free_unused(z, ref);
    }

    return 0;
}


void
fanout_seat_members_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    fanout_ref_t    m;
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    if (s->flags & FANOUT_SEAT_COUNTED) {
        fanout_set(z, s->flags, s->flags & ~FANOUT_SEAT_COUNTED);
        fanout_presence_count(z, fanout_presence_of(z, s->channel), -1);
    }

    for (m = s->members; m; m = fanout_member(z, m)->next) {
        fanout_member_leave(z, m, reason);
    }
}


int
fanout_seat_unreported_free(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    unsigned      n;
    fanout_ref_t  m, next;

    n = 0;

    for (m = fanout_seat(z, ref)->members; m; m = next) {
        next = fanout_member(z, m)->next;

        if (fanout_member(z, m)->pending != FANOUT_PENDING_JOIN) {
            continue;
        }

        if (n && !fanout_section_room(z)) {
            return 1;
        }

        fanout_member_leave(z, m, reason);
        n++;
    }

    return n && !fanout_section_room(z);
}
