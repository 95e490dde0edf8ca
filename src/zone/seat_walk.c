
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * All seats of an identity, in steps, and those that are due in the wheel.
 */


#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/lock_block.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


typedef void (*walk_pt)(fanout_zone_t *z, fanout_ref_t ref);


static void revive_one(fanout_zone_t *z, fanout_ref_t ref);
static void mark_one(fanout_zone_t *z, fanout_ref_t ref);
static int seat_walk(fanout_zone_t *z, fanout_ref_t identity, walk_pt one,
    fanout_seats_walk_t *at);
static fanout_ref_t walk_from(fanout_zone_t *z, fanout_ref_t identity,
    const fanout_seats_walk_t *at);


/* All seats of an identity, in steps; return 1 if there are more. */

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
            if (n++ == max || fanout_seat_give_up(z, ref, reason)) {
                return 1;
            }

            continue;
        }

        if (s->state == FANOUT_SEAT_LIVE) {
            fanout_seat_linger(z, ref, reason, after);
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
        fanout_locks_revive(z, ref);
    }

    fanout_seat_renewed(z, ref);
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


/* Walks a step of the seats that are not GONE.  Returns 1 if there are more. */

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


/* Returns the seat after the last one of the walk, if that still exists; else
 * the walk starts again. */

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
            || fanout_seat_give_up(z, ref, reason))
        {
            return 1;
        }
    }

    return 0;
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
                fanout_seat_due_unlink(z, ref);
                fanout_seat_due_link(z, ref);

            } else if (fanout_identity(z, s->identity)->state
                       == FANOUT_ID_LIVE)
            {
                /* the client is back, and the resume is about to revive this
                 * seat */
                fanout_locks_revive(z, ref);

            } else if (fanout_seat_give_up(z, ref, FANOUT_LEFT_NETWORK)) {
                return FANOUT_ZONE_AGAIN;
            }
        }

        fanout_set(z, shm->seats_at, at);
    }

    return FANOUT_ZONE_OK;
}
