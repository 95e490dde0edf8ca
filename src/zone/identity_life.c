
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The life of an identity: live, lingering, ended, and the lists it is in.
 *
 * The end of an identity takes several transactions, in an order that leaves
 * nothing behind: seats first, then the identity.  If a process dies in
 * between, a live identity remains in the slot of a dead worker, and the end is
 * repeated.
 */


#include "heap/wheel.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/seat.h"
#include "zone/share.h"
#include "zone/slot.h"


#define FANOUT_SEATS_STEP  16


static int end_step(fanout_zone_t *z, fanout_ref_t ref, uint32_t linger,
    uint32_t after, int heard, uint8_t reason, fanout_seats_walk_t *at);
static void disconnect(fanout_zone_t *z, fanout_ref_t ref, uint16_t code);
static int sweep_rank(fanout_zone_t *z, unsigned rank, uint32_t at,
    unsigned *n);
static int forget_step(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);
static void identity_forget(fanout_zone_t *z, fanout_ref_t ref);
static void link_lingering(fanout_zone_t *z, fanout_ref_t ref,
    uint32_t linger, int heard);
static void wheel_link(fanout_zone_t *z, fanout_ref_t ref);
static void wheel_unlink(fanout_zone_t *z, fanout_ref_t ref);
static fanout_ref_t *wheel_of(fanout_zone_t *z,
    const fanout_identity_block_t *e);


static const fanout_links_t  live_links = {
    .next = offsetof(fanout_identity_block_t, next),
    .prev = offsetof(fanout_identity_block_t, prev)
};

static const fanout_wheel_t  lingering_wheel = {
    .links.next = offsetof(fanout_identity_block_t, next),
    .links.prev = offsetof(fanout_identity_block_t, prev),
    .places = FANOUT_SEATS_WHEEL
};


void
fanout_identity_end(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, uint32_t linger, int heard, uint8_t reason)
{
    fanout_identity_disconnected(z, ref, id, linger, 0, heard, reason);
}


void
fanout_identity_disconnected(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, uint32_t linger, uint32_t after, int heard,
    uint8_t reason)
{
    int                  more;
    fanout_seats_walk_t  at;

    memset(&at, 0, sizeof(fanout_seats_walk_t));

    do {
        (void) fanout_enter(z);

        fanout_hook_event_room(z, 0);
        more = fanout_identity_own(z, ref, id)
               && end_step(z, ref, linger, after, heard, reason, &at);

        fanout_leave(z);

    } while (more);
}


/* Returns 1 if there is more. */

static int
end_step(fanout_zone_t *z, fanout_ref_t ref, uint32_t linger, uint32_t after,
    int heard, uint8_t reason, fanout_seats_walk_t *at)
{
    if (linger ? fanout_seats_linger(z, ref, FANOUT_SEATS_STEP, reason,
                                     (after + 999) / 1000, at)
               : fanout_seats_give_up(z, ref, FANOUT_SEATS_STEP, reason))
    {
        return 1;
    }

    fanout_identity_unlink_live(z, ref);
    fanout_hook_event_client(z, ref, FANOUT_EVENT_DISCONNECT, reason, 0);

    if (linger) {
        link_lingering(z, ref, linger + after, heard);

    } else {
        identity_forget(z, ref);
    }

    return 0;
}


void
fanout_identity_leave(fanout_zone_t *z, const fanout_identity_t *id,
    uint8_t reason)
{
    int           more;
    fanout_ref_t  ref;

    do {
        (void) fanout_enter(z);

        fanout_hook_event_room(z, 0);
        ref = fanout_identity_live(z, id);
        more = ref && fanout_lingers(fanout_identity(z, ref))
               && forget_step(z, ref, reason);

        fanout_leave(z);

    } while (more);
}


int
fanout_client_disconnect(fanout_zone_t *z, uint64_t client, uint16_t code)
{
    int                       rc;
    fanout_ref_t              ref;
    fanout_identity_block_t  *e;

    rc = FANOUT_ZONE_AGAIN;

    while (rc == FANOUT_ZONE_AGAIN) {
        (void) fanout_enter(z);

        fanout_hook_event_room(z, 1);
        fanout_order_room(z);
        ref = fanout_identity_find(z, client);
        e = ref ? fanout_identity(z, ref) : NULL;

        if (e == NULL || e->state == FANOUT_ID_ENDED) {
            rc = FANOUT_ZONE_NOTFOUND;

        } else if (fanout_seats_give_up(z, ref, FANOUT_SEATS_STEP,
                                        FANOUT_LEFT_KICKED)
                   == 0)
        {
            disconnect(z, ref, code);
            rc = FANOUT_ZONE_OK;
        }

        fanout_leave(z);
    }

    return rc;
}


/* The identity has no seats left.  If it is live, its worker gets an order. */

static void
disconnect(fanout_zone_t *z, fanout_ref_t ref, uint16_t code)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    if (fanout_lingers(e)) {
        fanout_identity_unlink_lingering(z, ref);

    } else {
        fanout_order_send(z, e->slot, FANOUT_ORDER_DISCONNECT, e->client, 0,
                          code, FANOUT_LEFT_KICKED);
        fanout_identity_unlink_live(z, ref);
        fanout_hook_event_client(z, ref, FANOUT_EVENT_DISCONNECT,
                                 FANOUT_LEFT_KICKED, 0);
    }

    identity_forget(z, ref);
}


int
fanout_identity_orphan(fanout_zone_t *z, unsigned n,
    uint32_t linger, fanout_seats_walk_t *at)
{
    unsigned        i;
    fanout_slot_t  *slot;

    slot = &z->shm->slots[n];

    if (slot->identities) {
        fanout_hook_event_room(z, 0);
    }

    for (i = 0; slot->identities
                && (i == 0 || (fanout_section_room(z) && fanout_event_fits(z)));
         i++)
    {
        /* the end that the worker had begun may have had other parameters:
         * these are lost */
        if (end_step(z, slot->identities, linger, 0, 1, FANOUT_LEFT_NETWORK,
                     at))
        {
            return 1;
        }

        memset(at, 0, sizeof(fanout_seats_walk_t));
    }

    return slot->identities != 0;
}


int
fanout_identity_sweep(fanout_zone_t *z)
{
    uint32_t       now, at;
    unsigned       n, rank;
    fanout_shm_t  *shm;

    shm = z->shm;
    now = fanout_seconds(z);
    n = 0;

    while (shm->nlingering && shm->lingering_at < now) {
        at = shm->lingering_at + 1;

        if (!fanout_journal_room(z)) {
            return FANOUT_ZONE_AGAIN;
        }

        for (rank = 0; rank < FANOUT_RANKS; rank++) {
            if (sweep_rank(z, rank, at, &n)) {
                return FANOUT_ZONE_AGAIN;
            }
        }

        fanout_set(z, shm->lingering_at, at);
    }

    return FANOUT_ZONE_OK;
}


/* Returns 1 if there are more in this second; *n have been handled before. */

static int
sweep_rank(fanout_zone_t *z, unsigned rank, uint32_t at,
    unsigned *n)
{
    fanout_ref_t  ref;

    while ((ref = z->shm->lingering[rank][at % FANOUT_SEATS_WHEEL]) != 0) {

        if (*n == 0) {
            fanout_hook_event_room(z, 0);

        } else if (!fanout_section_room(z) || !fanout_event_fits(z)) {
            return 1;
        }

        (*n)++;

        if (fanout_identity(z, ref)->expires < at) {
            (void) forget_step(z, ref, FANOUT_LEFT_NETWORK);
            continue;
        }

        wheel_unlink(z, ref);
        wheel_link(z, ref);
    }

    return 0;
}


int
fanout_identity_evict(fanout_zone_t *z, unsigned ranks)
{
    uint32_t       at;
    unsigned       rank;
    fanout_ref_t   ref;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (shm->nlingering == 0) {
        return 0;
    }

    for (rank = 0; rank < ranks; rank++) {

        /* those with the least time left */

        for (at = shm->lingering_at + 1;
             at < shm->lingering_at + FANOUT_SEATS_WHEEL;
             at++)
        {
            ref = shm->lingering[rank][at % FANOUT_SEATS_WHEEL];

            if (ref) {
                (void) forget_step(z, ref, FANOUT_LEFT_NETWORK);
                return 1;
            }
        }
    }

    return 0;
}


/* for a lingering identity; returns 1 if there is more */

static int
forget_step(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    if (fanout_seats_give_up(z, ref, FANOUT_SEATS_STEP, reason)) {
        return 1;
    }

    fanout_identity_unlink_lingering(z, ref);
    identity_forget(z, ref);

    return 0;
}


/* The identity must be in no list.  Pending leaves of its members keep it. */

static void
identity_forget(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_set(z, fanout_identity(z, ref)->state, FANOUT_ID_ENDED);
    fanout_identity_free_unused(z, ref);
}


void
fanout_identity_link_live(fanout_zone_t *z, fanout_ref_t ref, unsigned slot)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    fanout_list_push(z, &live_links, &z->shm->slots[slot].identities, ref,
                     FANOUT_OLD_RECORD);
    fanout_set(z, e->slot, slot);
    fanout_set(z, e->state, FANOUT_ID_LIVE);

    fanout_holder_add(z, FANOUT_SHARE_sessions, e->expires,
                      1 + fanout_info_blocks(fanout_info_len(e)));
}


void
fanout_identity_unlink_live(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    fanout_list_remove(z, &live_links, &z->shm->slots[e->slot].identities, NULL,
                       ref);

    fanout_holder_add(z, FANOUT_SHARE_sessions, e->expires,
                      -(int32_t) (1 + fanout_info_blocks(fanout_info_len(e))));
}


static void
link_lingering(fanout_zone_t *z, fanout_ref_t ref, uint32_t linger, int heard)
{
    uint32_t                  now;
    unsigned                  rank;
    fanout_shm_t             *shm;
    fanout_identity_block_t  *e;

    shm = z->shm;
    e = fanout_identity(z, ref);
    now = fanout_seconds(z);

    if (shm->nlingering == 0) {
        fanout_set(z, shm->lingering_at, now);
    }

    fanout_set(z, shm->nlingering, shm->nlingering + 1);
    fanout_set(z, e->expires, now + (linger + 999) / 1000);

    rank = !heard ? FANOUT_RANK_UNHEARD
                  : e->user ? FANOUT_RANK_NAMED : FANOUT_RANK_NAMELESS;
    fanout_set(z, e->state, FANOUT_ID_LINGERS + rank);

    wheel_link(z, ref);
}


void
fanout_identity_unlink_lingering(fanout_zone_t *z, fanout_ref_t ref)
{
    wheel_unlink(z, ref);
    fanout_set(z, z->shm->nlingering, z->shm->nlingering - 1);
}


/* The wheel: deadlines beyond one turn are re-filed when reached. */

static void
wheel_link(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t                  place;
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);
    place = fanout_wheel_place(&lingering_wheel, e->expires + 1,
                               z->shm->lingering_at);

    fanout_set(z, e->slot, place);
    fanout_wheel_add(z, &lingering_wheel, wheel_of(z, e), place, ref,
                     FANOUT_OLD_RECORD);
}


static void
wheel_unlink(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    fanout_wheel_remove(z, &lingering_wheel, wheel_of(z, e), e->slot, ref);
}


static fanout_ref_t *
wheel_of(fanout_zone_t *z, const fanout_identity_block_t *e)
{
    return z->shm->lingering[e->state - FANOUT_ID_LINGERS];
}
