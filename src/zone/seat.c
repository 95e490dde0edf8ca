
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Seats: which clients are on which channels.
 *
 *   LIVE ───────► LINGERS      the connection was cut
 *     ▲ ◄───────────┘ │        resumed
 *     │               │ due
 *     └──── GONE ◄────┘        given up: freed when the leaves of its members
 *    opened again              are reported; at once without members
 */


#include "heap/hash.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"
#include "zone/slot.h"


static int seat_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t identity, const fanout_identity_t *id);
static fanout_ref_t seat_make(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t identity, uint64_t client);
static void id_move(fanout_zone_t *z, fanout_ref_t ref, int last);
static void members_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);
static int unreported_free(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);
static int kick_step(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client, uint8_t reason);
static uint32_t local_of(fanout_zone_t *z, fanout_ref_t channel,
    unsigned slot);


static const fanout_hash_t  seat_table = {
    .links.next = offsetof(fanout_seat_t, hash_next),
    .table = offsetof(fanout_shm_t, seat_hash),
    .mask = offsetof(fanout_shm_t, seat_mask)
};

static const fanout_links_t  id_links = {
    .next = offsetof(fanout_seat_t, id_next),
    .prev = offsetof(fanout_seat_t, id_prev)
};


unsigned
fanout_seat_bucket(fanout_zone_t *z, fanout_ref_t channel, uint64_t client)
{
    uint64_t  h;

    h = (client ^ channel) * 0x9e3779b97f4a7c15ULL;

    return (h ^ h >> 32) & z->shm->seat_mask;
}


fanout_ref_t
fanout_seat_find(fanout_zone_t *z, fanout_ref_t channel, uint64_t client)
{
    fanout_ref_t    ref;
    fanout_seat_t  *s;

    ref = *fanout_hash_bucket(z, &seat_table,
                              fanout_seat_bucket(z, channel, client));

    for ( /* void */ ; ref; ref = s->hash_next) {
        s = fanout_seat(z, ref);

        if (s->client == client && s->channel == channel) {
            break;
        }
    }

    return ref;
}


int
fanout_seat_open(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id)
{
    int             rc;
    fanout_ref_t    ref, presence;
    fanout_seat_t  *s;

    (void) fanout_enter(z);

    rc = seat_room(z, c, identity, id);

    if (rc != FANOUT_ZONE_OK) {
        fanout_leave(z);
        return rc;
    }

    ref = fanout_seat_find(z, c->ref, id->client);
    presence = fanout_presence_make(z, c->ref, c->policy);

    if (fanout_newest(z) && c->policy) {
        fanout_presence_policy(z, presence, c->policy);

    } else {
        fanout_presence_mode(z, presence);
    }

    if (ref == 0) {
        ref = seat_make(z, c->ref, identity, id->client);
    }

    s = fanout_seat(z, ref);

    if (s->state == FANOUT_SEAT_LINGERS) {
        fanout_seat_revive(z, ref);

    } else if (s->state != FANOUT_SEAT_LIVE) {
        id_move(z, ref, 0);

        fanout_seat_go_live(z, ref);
        fanout_set(z, fanout_presence(z, presence)->seats,
                   fanout_presence(z, presence)->seats + 1);
        fanout_hook_event_joined(z, ref);
    }

    if (fanout_presence_wanted(fanout_presence(z, presence))
        == FANOUT_PRESENCE_OFF)
    {
        while (unreported_free(z, ref, FANOUT_LEFT_KICKED)) {
            fanout_commit(z);
        }

        members_leave(z, ref, FANOUT_LEFT_KICKED);
    }

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


/* A client that has a seat needs no more blocks, and the seat of a live client
 * is not evicted.  Checks again after making room, which may drop the lock. */

static int
seat_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t identity, const fanout_identity_t *id)
{
    int  rc;

    fanout_hook_event_room(z, 1 + FANOUT_PRESENCE_BLOCKS);
    fanout_share_room(z, FANOUT_SHARE_sessions, 1 + FANOUT_PRESENCE_BLOCKS);

    for ( ;; ) {
        if (!fanout_channel_opened(z, c)
            || !fanout_identity_own(z, identity, id))
        {
            return FANOUT_ZONE_STALE;
        }

        if (fanout_seat_find(z, c->ref, id->client)) {
            return FANOUT_ZONE_OK;
        }

        if (z->shm->heap.nfree >= 1 + FANOUT_PRESENCE_BLOCKS) {
            break;
        }

        rc = fanout_ensure(z, 1 + FANOUT_PRESENCE_BLOCKS);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }
    }

    rc = fanout_share_claim(z, FANOUT_SHARE_sessions, 0, 1);

    if (rc == FANOUT_ZONE_OK && fanout_presence_of(z, c->ref) == 0) {
        rc = fanout_share_claim(z, FANOUT_SHARE_members,
                                fanout_channel(z, c->ref)->class,
                                FANOUT_PRESENCE_BLOCKS);
    }

    if (rc == FANOUT_ZONE_OK) {
        rc = fanout_holder_claim(z, FANOUT_SHARE_sessions, 0,
                                 fanout_identity(z, identity)->expires, 1);
    }

    return rc;
}


/* a new seat, which is GONE until it is made live */

static fanout_ref_t
seat_make(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t identity,
    uint64_t client)
{
    fanout_ref_t    ref;
    fanout_seat_t  *s;

    ref = fanout_alloc(z, 1, FANOUT_SEATS, NULL);
    s = fanout_seat(z, ref);

    memset((uint8_t *) s + 4, 0, sizeof(fanout_seat_t) - 4);

    s->channel = channel;
    s->client = client;
    s->identity = identity;
    s->state = FANOUT_SEAT_GONE;

    fanout_deque_append(z, &id_links, &fanout_identity(z, identity)->seats, ref,
                        FANOUT_NEW_RECORD);
    fanout_hash_add(z, &seat_table, fanout_seat_bucket(z, channel, client), ref,
                    FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->nseats, z->shm->nseats + 1);

    return ref;
}


/* Moves a seat in the list of its identity.  Seats that are GONE are last, so a
 * walk to give up the others meets no GONE ones before.  The id_prev of the
 * first seat is the last one. */

static void
id_move(fanout_zone_t *z, fanout_ref_t ref, int last)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, fanout_seat(z, ref)->identity);

    fanout_deque_remove(z, &id_links, &e->seats, ref);

    if (last) {
        fanout_deque_append(z, &id_links, &e->seats, ref, FANOUT_OLD_RECORD);

    } else {
        fanout_deque_push(z, &id_links, &e->seats, ref, FANOUT_OLD_RECORD);
    }
}


int
fanout_seat_lost(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id)
{
    int           lost;
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    lost = 0;

    if (fanout_channel_opened(z, c) && fanout_identity_own(z, identity, id)) {
        ref = fanout_seat_find(z, c->ref, id->client);
        lost = ref == 0 || fanout_seat(z, ref)->state == FANOUT_SEAT_GONE;
    }

    fanout_leave(z);

    return lost;
}


int
fanout_seat_peopled(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client)
{
    int                     peopled;
    fanout_ref_t            channel, ref, m;
    fanout_member_block_t  *e;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    ref = channel ? fanout_seat_find(z, channel, client) : 0;
    peopled = ref && (fanout_seat(z, ref)->flags & FANOUT_SEAT_COUNTED);

    for (m = ref ? fanout_seat(z, ref)->members : 0; m && !peopled;
         m = e->next)
    {
        e = fanout_member(z, m);
        peopled = (e->pending != FANOUT_PENDING_LEAVE);
    }

    fanout_leave(z);

    return peopled;
}


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
    local = e->state == FANOUT_ID_LIVE ? local_of(z, channel, slot)
                                       : UINT32_MAX;

    if (fanout_seat_give_up(z, ref, reason)) {
        return FANOUT_ZONE_AGAIN;
    }

    if (local != UINT32_MAX) {
        fanout_order_send(z, slot, FANOUT_ORDER_REMOVE, client, local, 0,
                          reason);
    }

    return FANOUT_ZONE_OK;
}


/* the worker's number for the channel */

static uint32_t
local_of(fanout_zone_t *z, fanout_ref_t channel, unsigned slot)
{
    fanout_ref_t        ref;
    fanout_interest_t  *in;

    for (ref = fanout_channel(z, channel)->interests; ref; ref = in->next) {
        in = fanout_interest(z, ref);

        if (in->slot == slot) {
            return in->local;
        }
    }

    return UINT32_MAX;
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

    if (unreported_free(z, ref, reason)) {
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
    members_leave(z, ref, reason);

    if (s->members) {
        id_move(z, ref, 1);

    } else {
        fanout_seat_free_unused(z, ref);
    }

    return 0;
}


/* All members of a seat leave; none of them has a pending join. */

static void
members_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
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


/* Frees members whose join was never reported.  There may be many, each with
 * tables and text of its own, so this takes several transactions, before the
 * one that gives up the seat.  Returns 1 if the section has no room for
 * more. */

static int
unreported_free(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
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


/* Frees a seat that is GONE, if no member's leave is pending. */

void
fanout_seat_free_unused(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_ref_t    presence, identity;
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    if (s->state != FANOUT_SEAT_GONE || s->members) {
        return;
    }

    presence = fanout_presence_of(z, s->channel);
    identity = s->identity;

    fanout_hash_remove(z, &seat_table,
                       fanout_seat_bucket(z, s->channel, s->client), ref);
    fanout_deque_remove(z, &id_links, &fanout_identity(z, identity)->seats,
                        ref);
    fanout_set(z, z->shm->nseats, z->shm->nseats - 1);

    fanout_free(z, ref, ref, 1, FANOUT_SEATS);

    fanout_identity_free_unused(z, identity);
    fanout_presence_settle(z, presence);
}
