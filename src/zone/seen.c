
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * When a user was last seen on a channel.  A record is found by a hash of both
 * names, so it stores neither, and outlives the channel.
 */


#include "heap/hash.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/seen.h"
#include "zone/share.h"


#define FANOUT_SEEN_TURN   32           /* records checked in a sweep */
#define FANOUT_SEEN_SPARE  1024         /* free blocks left to other needs */


static void seen_hash_of(fanout_zone_t *z, const uint8_t *channel,
    size_t clen, const uint8_t *user, size_t ulen, uint64_t hash[2]);
static fanout_ref_t seen_find(fanout_zone_t *z, const uint64_t hash[2]);
static void seen_link(fanout_zone_t *z, fanout_ref_t ref);
static void seen_unlink(fanout_zone_t *z, fanout_ref_t ref);
static void seen_drop(fanout_zone_t *z, fanout_ref_t ref);


static const fanout_links_t  seen_links = {
    .next = offsetof(fanout_seen_t, next),
    .prev = offsetof(fanout_seen_t, prev)
};

static const fanout_hash_t  seen_table = {
    .links.next = offsetof(fanout_seen_t, hash_next),
    .table = offsetof(fanout_shm_t, seen_hash),
    .mask = offsetof(fanout_shm_t, seen_mask)
};


static void
seen_hash_of(fanout_zone_t *z, const uint8_t *channel, size_t clen,
    const uint8_t *user, size_t ulen, uint64_t hash[2])
{
    fanout_hash(z, channel, clen, user, ulen, 5, hash);
}


static fanout_ref_t
seen_find(fanout_zone_t *z, const uint64_t hash[2])
{
    fanout_ref_t    ref;
    fanout_seen_t  *e;

    ref = *fanout_hash_bucket(z, &seen_table, hash[1]);

    for ( /* void */ ; ref; ref = e->hash_next) {
        e = fanout_seen(z, ref);

        if (e->hash[0] == hash[0] && e->hash[1] == hash[1]) {
            break;
        }
    }

    return ref;
}


void
fanout_seen_put(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t user,
    uint64_t time, uint32_t keep)
{
    size_t           clen, ulen;
    uint8_t          cname[255], uname[255];
    uint64_t         hash[2];
    fanout_ref_t     ref;
    fanout_seen_t   *e;

    clen = fanout_channel_name(z, channel, cname);
    ulen = fanout_user_name(z, user, uname);
    seen_hash_of(z, cname, clen, uname, ulen, hash);

    ref = seen_find(z, hash);

    if (ref) {
        seen_unlink(z, ref);

    } else {
        if (z->shm->heap.nfree < FANOUT_SEEN_SPARE) {
            return;
        }

        ref = fanout_alloc(z, 1, FANOUT_SEEN, NULL);
        e = fanout_seen(z, ref);

        memset((uint8_t *) e + 4, 0, sizeof(fanout_seen_t) - 4);
        e->hash[0] = hash[0];
        e->hash[1] = hash[1];

        fanout_hash_add(z, &seen_table, hash[1], ref, FANOUT_NEW_RECORD);
        fanout_set(z, z->shm->nseen, z->shm->nseen + 1);
    }

    e = fanout_seen(z, ref);

    fanout_set(z, e->time, time);
    fanout_set(z, e->expires, fanout_seconds(z) + keep);
    seen_link(z, ref);
}


int
fanout_seen_get(fanout_zone_t *z, const fanout_zstr_t *channel,
    const fanout_zstr_t *user, uint64_t *time)
{
    int             rc;
    uint64_t        hash[2];
    fanout_ref_t    ref;

    (void) fanout_enter(z);

    seen_hash_of(z, channel->data, channel->len, user->data, user->len, hash);

    rc = FANOUT_ZONE_NOTFOUND;
    ref = seen_find(z, hash);

    if (ref && fanout_seen(z, ref)->expires >= fanout_seconds(z)) {
        *time = fanout_seen(z, ref)->time;
        rc = FANOUT_ZONE_OK;
    }

    fanout_leave(z);

    return rc;
}


/* Channels keep records for different times, so the list is not in the order of
 * expiry: each call rotates a few records, and more follow while some had
 * expired. */

int
fanout_seen_sweep(fanout_zone_t *z)
{
    uint32_t       now;
    unsigned       n, dropped;
    fanout_ref_t   ref;

    now = fanout_seconds(z);
    dropped = 0;

    for (n = 0; n < FANOUT_SEEN_TURN && n < z->shm->nseen + dropped; n++) {
        ref = z->shm->seen_first;

        if (fanout_seen(z, ref)->expires < now) {
            seen_drop(z, ref);
            dropped++;

        } else if (z->shm->seen_last != ref) {
            seen_unlink(z, ref);
            seen_link(z, ref);
        }
    }

    return dropped ? FANOUT_ZONE_AGAIN : FANOUT_ZONE_OK;
}


int
fanout_seen_evict(fanout_zone_t *z)
{
    unsigned  n;

    for (n = 0; z->shm->seen_first && n < FANOUT_SEEN_TURN; n++) {
        seen_drop(z, z->shm->seen_first);
    }

    return n != 0;
}


static void
seen_drop(fanout_zone_t *z, fanout_ref_t ref)
{
    seen_unlink(z, ref);
    fanout_hash_remove(z, &seen_table, fanout_seen(z, ref)->hash[1], ref);

    fanout_set(z, z->shm->nseen, z->shm->nseen - 1);
    fanout_free(z, ref, ref, 1, FANOUT_SEEN);
}


static void
seen_link(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_list_append(z, &seen_links, &z->shm->seen_first, &z->shm->seen_last,
                       ref, FANOUT_OLD_RECORD);
}


static void
seen_unlink(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_list_remove(z, &seen_links, &z->shm->seen_first, &z->shm->seen_last,
                       ref);
}
