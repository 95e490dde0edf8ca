
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
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


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


fanout_ref_t
fanout_seat_make(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t identity,
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


void
fanout_seat_move(fanout_zone_t *z, fanout_ref_t ref, int last)
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


unsigned
fanout_seat_holds(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t client)
{
    unsigned                holds;
    fanout_ref_t            channel, ref, m;
    fanout_member_block_t  *e;

    (void) fanout_enter(z);

    holds = 0;
    channel = fanout_channel_find(z, c);
    ref = channel ? fanout_seat_find(z, channel, client) : 0;

    if (ref && (fanout_seat(z, ref)->flags & FANOUT_SEAT_COUNTED)) {
        holds |= FANOUT_HOLDS_MEMBERS;
    }

    if (ref && fanout_seat(z, ref)->claims) {
        holds |= FANOUT_HOLDS_LOCKS;
    }

    for (m = ref ? fanout_seat(z, ref)->members : 0;
         m && !(holds & FANOUT_HOLDS_MEMBERS);
         m = e->next)
    {
        e = fanout_member(z, m);

        if (e->pending != FANOUT_PENDING_LEAVE) {
            holds |= FANOUT_HOLDS_MEMBERS;
        }
    }

    fanout_leave(z);

    return holds;
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
