
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Seats of clients whose connection was cut: they linger, and are revived when
 * the client resumes, or given up when they are due.
 */


#include "heap/wheel.h"
#include "zone/identity.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


static const fanout_wheel_t  due_wheel = {
    .links.next = offsetof(fanout_seat_t, due_next),
    .links.prev = offsetof(fanout_seat_t, due_prev),
    .places = FANOUT_SEATS_WHEEL
};


void
fanout_seat_go_live(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t            *s;
    fanout_identity_block_t  *e;

    s = fanout_seat(z, ref);
    e = fanout_identity(z, s->identity);

    fanout_set(z, s->due, e->state == FANOUT_ID_LIVE ? e->expires : 0);
    fanout_set(z, s->state, FANOUT_SEAT_LIVE);
    fanout_holder_add(z, FANOUT_SHARE_sessions, s->due, 1);
}


void
fanout_seat_linger(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason,
    uint32_t after)
{
    uint32_t                  now;
    uint64_t                  wall;
    fanout_ref_t              m;
    fanout_seat_t            *s;
    fanout_presence_block_t  *presence;

    s = fanout_seat(z, ref);
    presence = fanout_presence(z, fanout_presence_of(z, s->channel));

    if (reason == FANOUT_LEFT_INTENTIONAL) {
        fanout_set(z, s->flags, s->flags | FANOUT_SEAT_INTENT);
    }

    fanout_seat_renewed(z, ref);

    now = fanout_seconds(z);
    wall = fanout_wall(z);

    for (m = s->members; m; m = fanout_member(z, m)->next) {
        fanout_set(z, fanout_member(z, m)->seen, wall);
    }

    fanout_holder_add(z, FANOUT_SHARE_sessions, s->due, -1);

    /* the current second does not count */
    fanout_set(z, s->due, now + after + presence->linger + 1);
    fanout_set(z, s->state, FANOUT_SEAT_LINGERS);

    if (z->shm->nseats_lingering == 0) {
        fanout_set(z, z->shm->seats_at, now);
    }

    fanout_set(z, z->shm->nseats_lingering, z->shm->nseats_lingering + 1);
    fanout_seat_due_link(z, ref);
}


void
fanout_seat_revive(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    fanout_seat_due_unlink(z, ref);
    fanout_seat_go_live(z, ref);
    fanout_set(z, s->flags, s->flags & ~FANOUT_SEAT_INTENT);
    fanout_set(z, z->shm->nseats_lingering, z->shm->nseats_lingering - 1);
}


void
fanout_seat_renewed(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);

    if (s->flags & FANOUT_SEAT_RENEWED) {
        fanout_set(z, s->flags, s->flags & ~FANOUT_SEAT_RENEWED);
        fanout_members_renew(z, ref);
    }
}


void
fanout_seat_due_link(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t        place;
    fanout_seat_t  *s;

    s = fanout_seat(z, ref);
    place = fanout_wheel_place(&due_wheel, s->due, z->shm->seats_at);

    fanout_set(z, s->due_at, place);
    fanout_wheel_add(z, &due_wheel, z->shm->seats, place, ref,
                     FANOUT_OLD_RECORD);
}


void
fanout_seat_due_unlink(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_wheel_remove(z, &due_wheel, z->shm->seats,
                        fanout_seat(z, ref)->due_at, ref);
}
