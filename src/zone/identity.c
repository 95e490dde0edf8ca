
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Identities: sessions that live or may come back.  A live one is in the
 * list of its worker's slot; when its connection is lost it lingers in a
 * wheel, until it is resumed or too old.
 *
 * What ends takes several transactions, in an order that leaves no ghost: seats
 * first, then the identity.  Who dies in between leaves a live identity in the
 * slot of a dead worker, and all of it is done again.
 */


#include "heap/hash.h"
#include "heap/wheel.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/seat.h"
#include "zone/share.h"
#include "zone/slot.h"


#define FANOUT_SEATS_STEP  16


static int identity_add(fanout_zone_t *z, const fanout_identity_t *id,
    const fanout_zstr_t *user, const fanout_zstr_t *info, uint32_t max,
    fanout_ref_t *refp);
static int too_many(fanout_zone_t *z, const fanout_identity_t *id,
    uint32_t max);
static void successor(fanout_zone_t *z, const fanout_identity_t *id,
    uint32_t tries, uint8_t *secret);
static fanout_ref_t known_again(fanout_zone_t *z,
    const fanout_identity_t *id);
static fanout_ref_t candidate(fanout_zone_t *z, const fanout_identity_t *id);
static unsigned unlike(const void *a, const void *b);
static void give_secret(fanout_zone_t *z, fanout_ref_t ref,
    const uint8_t *next, unsigned tries);
static void prove(fanout_zone_t *z, fanout_ref_t ref);
static void link_live(fanout_zone_t *z, fanout_ref_t ref, unsigned slot);
static void unlink_live(fanout_zone_t *z, fanout_ref_t ref);
static void link_lingering(fanout_zone_t *z, fanout_ref_t ref,
    uint32_t linger, int heard);
static void unlink_lingering(fanout_zone_t *z, fanout_ref_t ref);
static void wheel_link(fanout_zone_t *z, fanout_ref_t ref);
static fanout_ref_t *wheel_of(fanout_zone_t *z,
    const fanout_identity_block_t *e);
static void wheel_unlink(fanout_zone_t *z, fanout_ref_t ref);
static int sweep_rank(fanout_zone_t *z, unsigned rank, uint32_t at,
    unsigned *n);
static int end_step(fanout_zone_t *z, fanout_ref_t ref, uint32_t linger,
    uint32_t after, int heard, uint8_t reason, fanout_seats_walk_t *at);
static int forget_step(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);
static void identity_forget(fanout_zone_t *z, fanout_ref_t ref);
static void identity_free(fanout_zone_t *z, fanout_ref_t ref);
static void disconnect(fanout_zone_t *z, fanout_ref_t ref, uint16_t code);


static const fanout_hash_t  identity_table = {
    .links.next = offsetof(fanout_identity_block_t, hash_next),
    .table = offsetof(fanout_shm_t, identity_hash),
    .mask = offsetof(fanout_shm_t, identity_mask)
};

static const fanout_links_t  live_links = {
    .next = offsetof(fanout_identity_block_t, next),
    .prev = offsetof(fanout_identity_block_t, prev)
};

static const fanout_wheel_t  lingering_wheel = {
    .links.next = offsetof(fanout_identity_block_t, next),
    .links.prev = offsetof(fanout_identity_block_t, prev),
    .places = FANOUT_SEATS_WHEEL
};


int
fanout_identity_add(fanout_zone_t *z, const fanout_identity_t *id,
    const fanout_zstr_t *user, const fanout_zstr_t *info, uint32_t max,
    uint32_t *refp)
{
    int  rc;

    *refp = 0;

    if (z->heap.slot == -1) {
        z->full = FANOUT_FULL_ZONE;
        return FANOUT_ZONE_FULL;
    }

    if (user->len > 255 || info->len > FANOUT_ZONE_INFO) {
        return FANOUT_ZONE_LARGE;
    }

    (void) fanout_enter(z);
    rc = identity_add(z, id, user, info, max, refp);
    fanout_leave(z);

    return rc;
}


static int
identity_add(fanout_zone_t *z, const fanout_identity_t *id,
             const fanout_zstr_t *user, const fanout_zstr_t *info,
             uint32_t max, fanout_ref_t *refp)
{
    uint32_t                  n;
    unsigned                  holder;
    fanout_ref_t              ref;
    fanout_chain_cursor_t     pen;
    fanout_identity_block_t  *e;

    n = 1 + fanout_user_blocks(user->len) + fanout_info_blocks(info->len);

    fanout_hook_event_room(z, n);

    if (too_many(z, id, max)) {
        return FANOUT_ZONE_CONFLICT;
    }

    fanout_share_room(z, FANOUT_SHARE_sessions, n);

    if (fanout_ensure(z, n) != FANOUT_ZONE_OK
        || fanout_share_claim(z, FANOUT_SHARE_sessions, 0, n)
           != FANOUT_ZONE_OK)
    {
        return FANOUT_ZONE_FULL;
    }

    if (too_many(z, id, max)) {
        return FANOUT_ZONE_CONFLICT;
    }

    holder = fanout_holder(z, id->address);

    if (fanout_holder_claim(z, FANOUT_SHARE_sessions, 0, holder,
                            1 + fanout_info_blocks(info->len))
        != FANOUT_ZONE_OK)
    {
        return FANOUT_ZONE_MANY;
    }

    ref = fanout_alloc(z, 1, FANOUT_IDENTITIES, NULL);
    e = fanout_identity(z, ref);

    memset((uint8_t *) e + 4, 0, sizeof(fanout_identity_block_t) - 4);

    e->expires = holder;
    e->client = id->client;
    memcpy(e->secret, id->secret, sizeof(e->secret));

    if (info->len) {
        e->info_tries = info->len;
        e->info = fanout_alloc(z, fanout_info_blocks(info->len),
                               FANOUT_IDENTITIES, NULL);
        pen.z = z;
        pen.ref = e->info;
        pen.pos = sizeof(fanout_ref_t);
        fanout_write(&pen, info->data, info->len);
    }

    fanout_hash_add(z, &identity_table, id->client, ref, FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->nidentities, z->shm->nidentities + 1);

    if (user->len) {
        fanout_user_join(z, ref, id->user, user);
    }

    link_live(z, ref, z->heap.slot);
    fanout_hook_event_client(z, ref, FANOUT_EVENT_CONNECT, 0, 0);

    *refp = ref;

    return FANOUT_ZONE_OK;
}


/* whether its user has as many clients as he may */

static int
too_many(fanout_zone_t *z, const fanout_identity_t *id, uint32_t max)
{
    fanout_ref_t  ref;

    if (max == 0 || id->user == 0) {
        return 0;
    }

    ref = fanout_user_find(z, id->user);

    return ref && fanout_user_count(z, ref, id->client, max) == max;
}


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
        ref = known_again(z, id);
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

        unlink_live(z, ref);
        fanout_hook_event_client(z, ref, FANOUT_EVENT_DISCONNECT,
                                 FANOUT_LEFT_REPLACED, 0);

    } else {
        unlink_lingering(z, ref);
        fanout_set(z, e->expires, fanout_holder(z, id->address));
    }

    if (keep) {
        memmove(next, id->secret, sizeof(id->secret));
        prove(z, ref);

    } else {
        tries++;
        successor(z, id, tries, next);
        give_secret(z, ref, next, tries);
    }

    link_live(z, ref, z->heap.slot);
    fanout_hook_event_client(z, ref, FANOUT_EVENT_CONNECT, 0,
                             FANOUT_EVENT_RESUMED);

    memset(&at, 0, sizeof(fanout_seats_walk_t));
    more = fanout_seats_revive(z, ref, &at);

    fanout_leave(z);

    /* who takes it over meanwhile goes on with it */

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
 * What a resume gives for a secret.  Without the seed of the zone nobody can
 * tell it from the secret; each try gives another, so that a session that was
 * taken over is not taken for the one that has the identity.
 */

static void
successor(fanout_zone_t *z, const fanout_identity_t *id, uint32_t tries,
    uint8_t *secret)
{
    uint64_t  next[2];

    fanout_hash(z, id->secret, sizeof(id->secret), &tries, sizeof(tries),
                FANOUT_SALT_SECRET, next);
    memcpy(secret, next, sizeof(next));
}


static void
give_secret(fanout_zone_t *z, fanout_ref_t ref, const uint8_t *next,
    unsigned tries)
{
    uint64_t                  secret[2];
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);
    memcpy(secret, next, sizeof(secret));

    fanout_set(z, e->secret[0], secret[0]);
    fanout_set(z, e->secret[1], secret[1]);
    fanout_set(z, e->info_tries, fanout_info_len(e) + tries * FANOUT_ID_TRY);
}


void
fanout_identity_confirm(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id)
{
    (void) fanout_enter(z);

    if (fanout_identity_own(z, ref, id)) {
        prove(z, ref);
    }

    fanout_leave(z);
}


static void
prove(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    if (fanout_tries(e)) {
        fanout_set(z, e->info_tries, fanout_info_len(e));
    }
}


int
fanout_identity_known(fanout_zone_t *z, const fanout_identity_t *id)
{
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    ref = fanout_identity_live(z, id);

    if (ref) {
        prove(z, ref);
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


/* The identity that a secret and a user are those of, 0; in constant time. */

fanout_ref_t
fanout_identity_live(fanout_zone_t *z, const fanout_identity_t *id)
{
    fanout_ref_t  ref;

    ref = candidate(z, id);

    if (ref == 0 || unlike(fanout_identity(z, ref)->secret, id->secret)) {
        return 0;
    }

    return ref;
}


/* The same by the secret before, if its client may not have the last. */

static fanout_ref_t
known_again(fanout_zone_t *z, const fanout_identity_t *id)
{
    uint8_t                   next[16];
    unsigned                  tries;
    fanout_ref_t              ref;
    fanout_identity_block_t  *e;

    ref = candidate(z, id);

    if (ref == 0) {
        return 0;
    }

    e = fanout_identity(z, ref);
    tries = fanout_tries(e);
    successor(z, id, tries, next);

    if (unlike(e->secret, next) || tries == 0 || tries == FANOUT_ID_TRIES) {
        return 0;
    }

    return ref;
}


/* of that client and user, and not ended */

static fanout_ref_t
candidate(fanout_zone_t *z, const fanout_identity_t *id)
{
    uint64_t                  user;
    fanout_ref_t              ref;
    fanout_identity_block_t  *e;

    ref = fanout_identity_find(z, id->client);

    if (ref == 0) {
        return 0;
    }

    e = fanout_identity(z, ref);
    user = e->user ? fanout_user(z, e->user)->hash : 0;

    if (user != id->user || e->state == FANOUT_ID_ENDED
        || (fanout_lingers(e) && e->expires < fanout_seconds(z)))
    {
        return 0;
    }

    return ref;
}


/* of two secrets: 0, or something else */

static unsigned
unlike(const void *a, const void *b)
{
    unsigned        i, differ;
    const uint8_t  *p, *q;

    p = a;
    q = b;
    differ = 0;

    for (i = 0; i < sizeof(((fanout_identity_t *) 0)->secret); i++) {
        differ |= p[i] ^ q[i];
    }

    return differ;
}


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


/* whether there is more */

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

    unlink_live(z, ref);
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
fanout_identity_lost(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id)
{
    int  lost;

    (void) fanout_enter(z);
    lost = 0;

    if (!fanout_identity_own(z, ref, id)) {
        ref = fanout_identity_find(z, id->client);
        lost = ref && fanout_identity(z, ref)->state != FANOUT_ID_ENDED
               ? FANOUT_ORDER_REPLACED
               : FANOUT_ORDER_DISCONNECT;
    }

    fanout_leave(z);

    return lost;
}


/* not if it was taken over, or the zone rebuilt */

int
fanout_identity_own(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_identity_t *id)
{
    fanout_identity_block_t  *e;

    if (ref == 0 || fanout_identity_find(z, id->client) != ref) {
        return 0;
    }

    e = fanout_identity(z, ref);

    return e->state == FANOUT_ID_LIVE && (int) e->slot == z->heap.slot
           && memcmp(e->secret, id->secret, sizeof(e->secret)) == 0;
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
        /* of what it was told, nothing is known any more */
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


/* whether there is more in this second; *n were looked at before */

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

        /* of those that have the least time left */

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


/* a lingering one; whether there is more */

static int
forget_step(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    if (fanout_seats_give_up(z, ref, FANOUT_SEATS_STEP, reason)) {
        return 1;
    }

    unlink_lingering(z, ref);
    identity_forget(z, ref);

    return 0;
}


fanout_ref_t
fanout_identity_find(fanout_zone_t *z, uint64_t client)
{
    fanout_ref_t  ref;

    ref = *fanout_hash_bucket(z, &identity_table, client);

    while (ref && fanout_identity(z, ref)->client != client) {
        ref = fanout_identity(z, ref)->hash_next;
    }

    return ref;
}


/* It is in no list any more.  What its seats still have to tell keeps it. */

static void
identity_forget(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_set(z, fanout_identity(z, ref)->state, FANOUT_ID_ENDED);
    fanout_identity_free_unused(z, ref);
}


void
fanout_identity_free_unused(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    if (e->state == FANOUT_ID_ENDED && e->seats == 0) {
        identity_free(z, ref);
    }
}


static void
identity_free(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    fanout_user_leave(z, ref);

    if (e->info) {
        fanout_free(z, e->info, fanout_chain_last(z, e->info),
                    fanout_info_blocks(fanout_info_len(e)), FANOUT_IDENTITIES);
    }

    fanout_hash_remove(z, &identity_table, e->client, ref);
    fanout_set(z, z->shm->nidentities, z->shm->nidentities - 1);
    fanout_free(z, ref, ref, 1, FANOUT_IDENTITIES);
}


size_t
fanout_identity_info(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf)
{
    fanout_chain_cursor_t     pen;
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    if (e->info == 0) {
        return 0;
    }

    pen.z = z;
    pen.ref = e->info;
    pen.pos = sizeof(fanout_ref_t);
    pen.left = fanout_info_blocks(fanout_info_len(e));
    (void) fanout_copy(&pen, buf, fanout_info_len(e));

    return fanout_info_len(e);
}


static void
link_live(fanout_zone_t *z, fanout_ref_t ref, unsigned slot)
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


static void
unlink_live(fanout_zone_t *z, fanout_ref_t ref)
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


static void
unlink_lingering(fanout_zone_t *z, fanout_ref_t ref)
{
    wheel_unlink(z, ref);
    fanout_set(z, z->shm->nlingering, z->shm->nlingering - 1);
}


/* the wheel: what is too old only beyond its rim is met before, and goes on */

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


/* for who asks from outside */

int
fanout_client_get(fanout_zone_t *z, uint64_t client,
    fanout_zone_client_t *info, uint8_t *buf)
{
    fanout_ref_t              ref, seat;
    fanout_identity_block_t  *e;

    (void) fanout_enter(z);

    ref = fanout_identity_find(z, client);

    if (ref == 0 || fanout_identity(z, ref)->state == FANOUT_ID_ENDED) {
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    e = fanout_identity(z, ref);

    info->client = client;
    info->user.data = buf;
    info->user.len = fanout_user_name(z, e->user, buf);
    info->info.data = buf + info->user.len;
    info->info.len = fanout_identity_info(z, ref, buf + info->user.len);
    info->pid = e->state == FANOUT_ID_LIVE ? z->shm->slots[e->slot].pid : 0;
    info->seats = 0;

    for (seat = e->seats; seat; seat = fanout_seat(z, seat)->id_next) {
        info->seats += fanout_seat(z, seat)->state != FANOUT_SEAT_GONE;
    }

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


int
fanout_client_channels(fanout_zone_t *z, uint64_t client, uint32_t *cursor,
    uint8_t names[][256], uint8_t *lens, unsigned max, unsigned *n)
{
    uint32_t            i;
    fanout_ref_t        ref, seat;
    fanout_seat_t      *s;

    *n = 0;

    (void) fanout_enter(z);

    ref = fanout_identity_find(z, client);

    if (ref == 0 || fanout_identity(z, ref)->state == FANOUT_ID_ENDED) {
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    i = 0;

    for (seat = fanout_identity(z, ref)->seats; seat; seat = s->id_next) {
        s = fanout_seat(z, seat);

        if (s->state == FANOUT_SEAT_GONE || i++ < *cursor) {
            continue;
        }

        if (*n == max) {
            break;
        }

        lens[*n] = fanout_channel_name(z, s->channel, names[*n]);
        (*n)++;
    }

    *cursor = seat ? *cursor + *n : 0;

    fanout_leave(z);

    return FANOUT_ZONE_OK;
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


/* It has no seat any more; a worker that has it is told. */

static void
disconnect(fanout_zone_t *z, fanout_ref_t ref, uint16_t code)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    if (fanout_lingers(e)) {
        unlink_lingering(z, ref);

    } else {
        fanout_order_send(z, e->slot, FANOUT_ORDER_DISCONNECT, e->client, 0,
                          code, FANOUT_LEFT_KICKED);
        unlink_live(z, ref);
        fanout_hook_event_client(z, ref, FANOUT_EVENT_DISCONNECT,
                                 FANOUT_LEFT_KICKED, 0);
    }

    identity_forget(z, ref);
}
