
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Seats: which clients are on which channels.
 *
 *   LIVE ───────► LINGERS      the connection was cut
 *     ▲ ◄───────────┘ │        resumed
 *     │               │ due
 *     └──── GONE ◄────┘        given up: freed when the leaves of its members
 *    sat down again            were told, at once without any
 */


#include "heap/hash.h"
#include "heap/wheel.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"
#include "zone/slot.h"


typedef void (*walk_pt)(fanout_zone_t *z, fanout_ref_t ref);


static int seat_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t identity, const fanout_identity_t *id);
static fanout_ref_t sit(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t identity, uint64_t client);
static void id_move(fanout_zone_t *z, fanout_ref_t ref, int last);
static void revive_one(fanout_zone_t *z, fanout_ref_t ref);
static void mark_one(fanout_zone_t *z, fanout_ref_t ref);
static int seat_walk(fanout_zone_t *z, fanout_ref_t identity, walk_pt one,
    fanout_seats_walk_t *at);
static fanout_ref_t walk_from(fanout_zone_t *z, fanout_ref_t identity,
    const fanout_seats_walk_t *at);
static void go_live(fanout_zone_t *z, fanout_ref_t ref);
static void linger(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason,
    uint32_t after);
static void revive(fanout_zone_t *z, fanout_ref_t ref);
static void renewed(fanout_zone_t *z, fanout_ref_t ref);
static void due_link(fanout_zone_t *z, fanout_ref_t ref);
static void due_unlink(fanout_zone_t *z, fanout_ref_t ref);
static int seat_give_up(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);
static void members_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);
static int untold_free(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);
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

static const fanout_wheel_t  due_wheel = {
    .links.next = offsetof(fanout_seat_t, due_next),
    .links.prev = offsetof(fanout_seat_t, due_prev),
    .places = FANOUT_SEATS_WHEEL
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
        ref = sit(z, c->ref, identity, id->client);
    }

    s = fanout_seat(z, ref);

    if (s->state == FANOUT_SEAT_LINGERS) {
        revive(z, ref);

    } else if (s->state != FANOUT_SEAT_LIVE) {
        id_move(z, ref, 0);

        go_live(z, ref);
        fanout_set(z, fanout_presence(z, presence)->seats,
                   fanout_presence(z, presence)->seats + 1);
        fanout_hook_event_joined(z, ref);
    }

    if (fanout_presence_wanted(fanout_presence(z, presence))
        == FANOUT_PRESENCE_OFF)
    {
        while (untold_free(z, ref, FANOUT_LEFT_KICKED)) {
            fanout_commit(z);
        }

        members_leave(z, ref, FANOUT_LEFT_KICKED);
    }

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


/* Who has a seat needs no more, and one of a live client is not evicted.  What
 * was looked at before room was made is looked at again. */

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


/* a new one, which is GONE until it is made live */

static fanout_ref_t
sit(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t identity,
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


/* The seats of an identity: those that are gone come last, so that whoever
 * gives them up meets no others.  The first has the last as its id_prev. */

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
            more = ref && seat_give_up(z, ref, reason);
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

    if (seat_give_up(z, ref, reason)) {
        return FANOUT_ZONE_AGAIN;
    }

    if (local != UINT32_MAX) {
        fanout_order_send(z, slot, FANOUT_ORDER_REMOVE, client, local, 0,
                          reason);
    }

    return FANOUT_ZONE_OK;
}


/* what the worker of a slot knows the channel by */

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


/* all seats of an identity, in steps; whether there are more */

int
fanout_seats_linger(fanout_zone_t *z, fanout_ref_t identity, unsigned max,
    uint8_t reason, uint32_t after, fanout_seats_walk_t *at)
{
    unsigned        n, met;
    fanout_ref_t    ref, next;
    fanout_seat_t  *s;

    n = met = 0;

    for (ref = walk_from(z, identity, at); ref; ref = next) {
        s = fanout_seat(z, ref);
        next = s->id_next;

        if (s->state == FANOUT_SEAT_GONE) {
            break;
        }

        if (met++ && !fanout_section_room(z)) {
            return 1;
        }

        z->heap.work++;

        if (s->state == FANOUT_SEAT_LIVE
            && fanout_presence(z, fanout_presence_of(z, s->channel))->linger
               == 0)
        {
            if (n++ == max || seat_give_up(z, ref, reason)) {
                return 1;
            }

            continue;
        }

        if (s->state == FANOUT_SEAT_LIVE) {
            linger(z, ref, reason, after);
        }

        at->channel = s->channel;
        at->seat = ref;
    }

    return 0;
}


int
fanout_seats_revive(fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at)
{
    return seat_walk(z, identity, revive_one, at);
}


static void
revive_one(fanout_zone_t *z, fanout_ref_t ref)
{
    if (fanout_seat(z, ref)->state == FANOUT_SEAT_LINGERS) {
        revive(z, ref);
    }

    renewed(z, ref);
}


int
fanout_seats_mark(fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at)
{
    return seat_walk(z, identity, mark_one, at);
}


static void
mark_one(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    if (s->members && !(s->flags & FANOUT_SEAT_RENEWED)) {
        fanout_set(z, s->flags, s->flags | FANOUT_SEAT_RENEWED);
    }
}


/* a step of the seats that are not given up; whether there are more */

static int
seat_walk(fanout_zone_t *z, fanout_ref_t identity, walk_pt one,
    fanout_seats_walk_t *at)
{
    unsigned        met;
    fanout_ref_t    ref;
    fanout_seat_t  *s;

    met = 0;

    for (ref = walk_from(z, identity, at); ref; ref = s->id_next) {
        s = fanout_seat(z, ref);

        if (s->state == FANOUT_SEAT_GONE) {
            break;
        }

        if (met++ && !fanout_section_room(z)) {
            return 1;
        }

        z->heap.work++;

        one(z, ref);

        at->channel = s->channel;
        at->seat = ref;
    }

    return 0;
}


/* Behind the last seat that was met, if it is still there; else all of them
 * are met again. */

static fanout_ref_t
walk_from(fanout_zone_t *z, fanout_ref_t identity,
    const fanout_seats_walk_t *at)
{
    fanout_ref_t              ref;
    fanout_seat_t            *s;
    fanout_identity_block_t  *e;

    e = fanout_identity(z, identity);

    if (at->seat == 0) {
        return e->seats;
    }

    ref = fanout_seat_find(z, at->channel, e->client);

    if (ref == 0 || ref != at->seat) {
        return e->seats;
    }

    s = fanout_seat(z, ref);

    return s->identity == identity && s->state != FANOUT_SEAT_GONE
           ? s->id_next : e->seats;
}


int
fanout_seats_give_up(fanout_zone_t *z, fanout_ref_t identity, unsigned max,
    uint8_t reason)
{
    unsigned      n;
    fanout_ref_t  ref;

    for (n = 0; (ref = fanout_identity(z, identity)->seats) != 0; n++) {

        if (fanout_seat(z, ref)->state == FANOUT_SEAT_GONE) {
            break;
        }

        if (n == max || (n && !fanout_section_room(z))
            || seat_give_up(z, ref, reason))
        {
            return 1;
        }
    }

    return 0;
}


/* It counts for the holder that its identity counts for. */

static void
go_live(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t            *s;
    fanout_identity_block_t  *e;

    s = fanout_seat(z, ref);
    e = fanout_identity(z, s->identity);

    fanout_set(z, s->due, e->state == FANOUT_ID_LIVE ? e->expires : 0);
    fanout_set(z, s->state, FANOUT_SEAT_LIVE);
    fanout_holder_add(z, FANOUT_SHARE_sessions, s->due, 1);
}


static void
linger(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason, uint32_t after)
{
    uint32_t                  now;
    uint64_t                  wall;
    fanout_seat_t            *s;
    fanout_ref_t              m;
    fanout_presence_block_t  *presence;

    s = fanout_seat(z, ref);
    presence = fanout_presence(z, fanout_presence_of(z, s->channel));

    if (reason == FANOUT_LEFT_INTENTIONAL) {
        fanout_set(z, s->flags, s->flags | FANOUT_SEAT_INTENT);
    }

    renewed(z, ref);

    now = fanout_seconds(z);
    wall = fanout_wall(z);

    for (m = s->members; m; m = fanout_member(z, m)->next) {
        fanout_set(z, fanout_member(z, m)->seen, wall);
    }

    fanout_holder_add(z, FANOUT_SHARE_sessions, s->due, -1);

    /* the second that has begun does not count */
    fanout_set(z, s->due, now + after + presence->linger + 1);
    fanout_set(z, s->state, FANOUT_SEAT_LINGERS);

    if (z->shm->nseats_lingering == 0) {
        fanout_set(z, z->shm->seats_at, now);
    }

    fanout_set(z, z->shm->nseats_lingering, z->shm->nseats_lingering + 1);
    due_link(z, ref);
}


static void
revive(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    due_unlink(z, ref);
    go_live(z, ref);
    fanout_set(z, s->flags, s->flags & ~FANOUT_SEAT_INTENT);
    fanout_set(z, z->shm->nseats_lingering, z->shm->nseats_lingering - 1);
}


static void
renewed(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    if (s->flags & FANOUT_SEAT_RENEWED) {
        fanout_set(z, s->flags, s->flags & ~FANOUT_SEAT_RENEWED);
        fanout_members_renew(z, ref);
    }
}


/* the wheel: a seat that is due beyond its rim is met before, and goes on */

static void
due_link(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t        place;
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);
    place = fanout_wheel_place(&due_wheel, s->due, z->shm->seats_at);

    fanout_set(z, s->due_at, place);
    fanout_wheel_add(z, &due_wheel, z->shm->seats, place, ref,
                     FANOUT_OLD_RECORD);
}


static void
due_unlink(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_wheel_remove(z, &due_wheel, z->shm->seats,
                        fanout_seat(z, ref)->due_at, ref);
}


int
fanout_seat_sweep(fanout_zone_t *z)
{
    uint32_t        now, at;
    unsigned        n;
    fanout_shm_t   *shm;
    fanout_ref_t    ref;
    fanout_seat_t  *s;

    shm = z->shm;
    now = fanout_seconds(z);
    n = 0;

    while (shm->nseats_lingering && shm->seats_at < now) {
        at = shm->seats_at + 1;

        if (!fanout_journal_room(z)) {
            return FANOUT_ZONE_AGAIN;
        }

        while ((ref = shm->seats[at % FANOUT_SEATS_WHEEL]) != 0) {

            if (n == 0) {
                fanout_hook_event_room(z, 0);

            } else if (!fanout_section_room(z) || !fanout_event_fits(z)) {
                return FANOUT_ZONE_AGAIN;
            }

            n++;

            s = fanout_seat(z, ref);

            if (s->due > at) {
                due_unlink(z, ref);
                due_link(z, ref);

            } else if (fanout_identity(z, s->identity)->state
                       == FANOUT_ID_LIVE)
            {
                /* it is back, and about to say so of this one */
                revive(z, ref);

            } else if (seat_give_up(z, ref, FANOUT_LEFT_NETWORK)) {
                return FANOUT_ZONE_AGAIN;
            }
        }

        fanout_set(z, shm->seats_at, at);
    }

    return FANOUT_ZONE_OK;
}


/* Whether there is more to do first, in another transaction. */

static int
seat_give_up(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    fanout_ref_t    presence;
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    if (s->state == FANOUT_SEAT_GONE) {
        return 0;
    }

    if (untold_free(z, ref, reason)) {
        return 1;
    }

    if (s->state == FANOUT_SEAT_LINGERS) {

        if (reason == FANOUT_LEFT_NETWORK
            && (s->flags & FANOUT_SEAT_INTENT))
        {
            /* it has said so when it went, and did not come back */
            reason = FANOUT_LEFT_INTENTIONAL;
        }

        revive(z, ref);
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


/* All members of a seat, of which none is untold. */

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


/* Members that nobody was told of go at once.  There may be many of them, each
 * with tables and text of its own, so this takes several transactions, before
 * the one in which the seat goes. */

static int
untold_free(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
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


/* Frees a seat that is gone, when no member waits to be told. */

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
