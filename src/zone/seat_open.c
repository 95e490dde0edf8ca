
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A client takes a seat on a channel.
 */


#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/lock_block.h"
#include "zone/log.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


static int seat_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t identity, const fanout_identity_t *id);


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
        ref = fanout_seat_make(z, c->ref, identity, id->client);
    }

    s = fanout_seat(z, ref);

    if (s->flags & FANOUT_SEAT_DOUBTS) {
        fanout_set(z, s->flags, s->flags & ~FANOUT_SEAT_DOUBTS);
    }

    if (s->state == FANOUT_SEAT_LINGERS) {
        fanout_locks_revive(z, ref);

    } else if (s->state != FANOUT_SEAT_LIVE) {
        fanout_seat_move(z, ref, 0);

        fanout_seat_go_live(z, ref);
        fanout_set(z, fanout_presence(z, presence)->seats,
                   fanout_presence(z, presence)->seats + 1);
        fanout_hook_event_joined(z, ref);
    }

    if (fanout_presence_wanted(fanout_presence(z, presence))
        == FANOUT_PRESENCE_OFF)
    {
        while (fanout_seat_unreported_free(z, ref, FANOUT_LEFT_KICKED)) {
            fanout_commit(z);
        }

        fanout_seat_members_leave(z, ref, FANOUT_LEFT_KICKED);
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
                                fanout_channel(z, c->ref)->account,
                                FANOUT_PRESENCE_BLOCKS);
    }

    if (rc == FANOUT_ZONE_OK) {
        rc = fanout_holder_claim(z, FANOUT_SHARE_sessions, 0,
                                 fanout_identity(z, identity)->expires, 1);
    }

    return rc;
}


int
fanout_seat_doubt(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id)
{
    int             may;
    fanout_ref_t    channel, ref;
    fanout_seat_t  *s;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    ref = channel && fanout_identity_own(z, identity, id)
          ? fanout_seat_find(z, channel, id->client) : 0;
    may = 1;

    if (ref) {
        s = fanout_seat(z, ref);
        may = (s->flags & FANOUT_SEAT_DOUBTS) != FANOUT_SEAT_DOUBTS;

        if (may) {
            fanout_set(z, s->flags, s->flags + FANOUT_SEAT_DOUBT);
        }
    }

    fanout_leave(z);

    return may;
}
