
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Resumes: the secret of an identity, and the previous secret as long as the
 * client may not have received the newest.
 */


#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/seat.h"
#include "zone/share.h"
#include "zone/slot.h"


static void secret_next(fanout_zone_t *z, const fanout_identity_t *id,
    uint32_t tries, uint8_t *secret);
static void secret_set(fanout_zone_t *z, fanout_ref_t ref,
    const uint8_t *next, unsigned tries);
static void secret_confirm(fanout_zone_t *z, fanout_ref_t ref);
static fanout_ref_t known_before(fanout_zone_t *z,
    const fanout_identity_t *id);


int
fanout_identity_resume(fanout_zone_t *z, const fanout_identity_t *id,
    int keep, uint8_t *next, uint32_t *refp)
{
    int                       more;
    unsigned                  tries;
    fanout_ref_t              ref;
    fanout_identity_t         now;
    fanout_seats_walk_t       at;
    fanout_identity_block_t  *e;

    *refp = 0;

    if (z->heap.slot == -1) {
        z->full = FANOUT_FULL_ZONE;
        return FANOUT_ZONE_FULL;
    }

    (void) fanout_enter(z);

    fanout_hook_event_room(z, 1);
    fanout_order_room(z);
    tries = 0;
    ref = fanout_identity_live(z, id);

    if (ref == 0) {
        keep = 0;
        ref = known_before(z, id);
        tries = ref ? fanout_tries(fanout_identity(z, ref)) : 0;
    }

    if (ref == 0) {
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    e = fanout_identity(z, ref);

    if (e->state == FANOUT_ID_LIVE) {
        if (z->shm->slots[e->slot].process.state == FANOUT_SLOT_LIVE) {
            fanout_order_send(z, e->slot, FANOUT_ORDER_REPLACED,
                         e->client, 0, 0, 0);
        }

        fanout_identity_unlink_live(z, ref);
        fanout_hook_event_client(z, ref, FANOUT_EVENT_DISCONNECT,
                                 FANOUT_LEFT_REPLACED, 0);

    } else {
        fanout_identity_unlink_lingering(z, ref);
        fanout_set(z, e->expires, fanout_holder(z, id->address));
    }

    if (keep) {
        memmove(next, id->secret, sizeof(id->secret));
        secret_confirm(z, ref);

    } else {
        tries++;
        secret_next(z, id, tries, next);
        secret_set(z, ref, next, tries);
    }

    fanout_identity_link_live(z, ref, z->heap.slot);
    fanout_hook_event_client(z, ref, FANOUT_EVENT_CONNECT, 0,
                             FANOUT_EVENT_RESUMED);

    memset(&at, 0, sizeof(fanout_seats_walk_t));
    more = fanout_seats_revive(z, ref, &at);

    fanout_leave(z);

    /* a worker that takes the identity over meanwhile continues with the
     * seats */

    now = *id;
    memcpy(now.secret, next, sizeof(now.secret));

    while (more) {
        (void) fanout_enter(z);

        more = fanout_identity_own(z, ref, &now)
               && fanout_seats_revive(z, ref, &at);

        fanout_leave(z);
    }

    *refp = ref;

    return FANOUT_ZONE_OK;
}


/*
 * Derives the next secret from a secret.  It can't be guessed without the seed
 * of the zone.  Each try gives a different secret, so that a session that was
 * taken over is not mistaken for the one that has the identity.
 */

static void
secret_next(fanout_zone_t *z, const fanout_identity_t *id, uint32_t tries,
    uint8_t *secret)
{
    uint64_t  next[2];

    fanout_hash(z, id->secret, sizeof(id->secret), &tries, sizeof(tries),
                FANOUT_SALT_SECRET, next);
    memcpy(secret, next, sizeof(next));
}


static void
secret_set(fanout_zone_t *z, fanout_ref_t ref, const uint8_t *next,
    unsigned tries)
{
    uint64_t                  secret[2];
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);
    memcpy(secret, next, sizeof(secret));

    fanout_set(z, e->secret[0], secret[0]);
    fanout_set(z, e->secret[1], secret[1]);
    fanout_set(z, e->info_tries,
               e->info_tries % FANOUT_ID_TRY + tries * FANOUT_ID_TRY);
}


void
fanout_identity_confirm(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id)
{
    (void) fanout_enter(z);

    if (fanout_identity_own(z, ref, id)) {
        secret_confirm(z, ref);
    }

    fanout_leave(z);
}


static void
secret_confirm(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    if (fanout_tries(e)) {
        fanout_set(z, e->info_tries, e->info_tries % FANOUT_ID_TRY);
    }
}


int
fanout_identity_known(fanout_zone_t *z, const fanout_identity_t *id)
{
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    ref = fanout_identity_live(z, id);

    if (ref) {
        secret_confirm(z, ref);
    }

    fanout_leave(z);

    return ref != 0;
}


int
fanout_identity_stays(fanout_zone_t *z, const fanout_identity_t *id)
{
    int  known;

    (void) fanout_enter(z);
    known = fanout_identity_live(z, id) != 0;
    fanout_leave(z);

    return known;
}


/* The same for the previous secret, if the client may not have the newest
 * one. */

static fanout_ref_t
known_before(fanout_zone_t *z, const fanout_identity_t *id)
{
    uint8_t                   next[16];
    unsigned                  tries;
    fanout_ref_t              ref;
    fanout_identity_block_t  *e;

    ref = fanout_identity_candidate(z, id);

    if (ref == 0) {
        return 0;
    }

    e = fanout_identity(z, ref);
    tries = fanout_tries(e);
    secret_next(z, id, tries, next);

    if (fanout_secret_differs(e->secret,
                              next) || tries == 0 || tries == FANOUT_ID_TRIES) {
        return 0;
    }

    return ref;
}
