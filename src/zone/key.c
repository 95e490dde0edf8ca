
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Idempotence keys: the results of publishes with a key, as long as the zone
 * remembers them.  A key is stored as 128 bits of a keyed hash over the
 * channel's epoch, the scope and the key.  All keys live equally long, so the
 * list of all keys is in the order in which they expire, and the next of a
 * holder or a sender to expire is the first in its list.
 */


#include "heap/hash.h"
#include "zone/log.h"
#include "zone/share.h"


static fanout_ref_t key_find(fanout_zone_t *z, const uint64_t hash[2]);
static int held(fanout_zone_t *z, uint32_t account,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r);
static void key_count(fanout_zone_t *z, const fanout_key_t *key, int32_t n);


static const fanout_hash_t  key_table = {
    .links.next = offsetof(fanout_key_t, hash_next),
    .table = offsetof(fanout_shm_t, key_hash),
    .mask = offsetof(fanout_shm_t, key_mask)
};

static const fanout_links_t  key_links = {
    .next = offsetof(fanout_key_t, next)
};

static const fanout_links_t  holder_links = {
    .next = offsetof(fanout_key_t, own_next[FANOUT_BY_HOLDER])
};

static const fanout_links_t  sender_links = {
    .next = offsetof(fanout_key_t, own_next[FANOUT_BY_SENDER])
};


/* The same key on several channels, of several users, or of a message and a
 * record, is several keys. */

void
fanout_key_hash(fanout_zone_t *z, const fanout_channel_block_t *ch,
    const fanout_zone_publish_t *opts, uint64_t hash[2])
{
    fanout_hash(z, opts->scope.data, opts->scope.len, opts->key.data,
                opts->key.len, 4, hash);
    hash[0] ^= ch->epoch ^ (opts->scope.len ? ~0ULL : 0);
    hash[1] ^= ch->epoch ^ (opts->record ? ~0ULL : 0);
}


int
fanout_key_known(fanout_zone_t *z, const fanout_channel_block_t *ch,
    const fanout_zone_publish_t *opts, uint64_t hash[2],
    fanout_zone_result_t *r)
{
    fanout_key_t  *key;
    fanout_ref_t   ref;

    fanout_key_hash(z, ch, opts, hash);

    ref = key_find(z, hash);

    if (ref == 0) {
        return 0;
    }

    key = fanout_key(z, ref);

    r->epoch = ch->epoch;
    r->offset = key->offset;
    r->time = key->time;
    r->delivered = key->delivered;
    r->pending = key->pending;
    r->subscribers = ch->subscribers;
    r->duplicate = 1;

    return 1;
}


static fanout_ref_t
key_find(fanout_zone_t *z, const uint64_t hash[2])
{
    uint32_t       now;
    fanout_ref_t   ref;
    fanout_key_t  *key;

    now = fanout_seconds(z);
    ref = *fanout_hash_bucket(z, &key_table, hash[1]);

    for ( /* void */ ; ref; ref = key->hash_next) {
        key = fanout_key(z, ref);

        if (key->hash[0] == hash[0] && key->hash[1] == hash[1]
            && key->expires >= now)
        {
            return ref;
        }
    }

    return 0;
}


/* May commit. */

void
fanout_key_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts)
{
    fanout_zone_result_t  r;

    if (!held(z, c->policy ? c->policy->account : 0, opts, &r)) {
        fanout_share_room(z, FANOUT_SHARE_keys,
                          1 + fanout_channel_blocks(c->name.len));
    }
}


int
fanout_log_key(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r)
{
    int       rc;
    uint64_t  hash[2];

    r->duplicate = 0;

    (void) fanout_enter(z);

    fanout_key_room(z, c, opts);
    rc = fanout_key_claim(z, c, fanout_channel_find(z, c), opts, hash, r);

    fanout_leave(z);

    return rc;
}


/* A key also keeps its channel. */

int
fanout_key_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, const fanout_zone_publish_t *opts, uint64_t hash[2],
    fanout_zone_result_t *r)
{
    int                      rc;
    uint32_t                 account, blocks;
    fanout_channel_block_t  *ch;

    account = c->policy ? c->policy->account : 0;
    blocks = fanout_channel_blocks(c->name.len);

    if (channel) {
        ch = fanout_channel(z, channel);

        if (fanout_key_known(z, ch, opts, hash, r)) {
            return FANOUT_ZONE_OK;
        }

        account = ch->account;
        blocks = fanout_cold(z, ch)->wheel & FANOUT_IN_USE ? 0 : blocks;
    }

    if (held(z, account, opts, r)) {
        return FANOUT_ZONE_HELD;
    }

    if (blocks
        && fanout_holder_claim(z, FANOUT_SHARE_channels, account,
                               fanout_holder(z, opts->address), blocks)
           != FANOUT_ZONE_OK)
    {
        return FANOUT_ZONE_ADDRESS;
    }

    rc = fanout_share_claim(z, FANOUT_SHARE_keys, account, 1);

    if (rc == FANOUT_ZONE_OK && blocks) {
        rc = fanout_share_claim(z, FANOUT_SHARE_channels, account, blocks);
    }

    return rc;
}


/* Returns 1 if the publisher holds its maximum of keys: then r has wait and
 * by_sender. */

static int
held(fanout_zone_t *z, uint32_t account, const fanout_zone_publish_t *opts,
    fanout_zone_result_t *r)
{
    unsigned      holder, sender;
    uint32_t      now, expires;
    fanout_ref_t  last;

    holder = fanout_holder(z, opts->address);
    sender = fanout_holder(z, opts->sender);

    /* clients of an address without a user are limited like the address */

    r->by_sender = opts->sender != opts->address
                   && fanout_sender_claim(z, account, sender, 1)
                      != FANOUT_ZONE_OK;

    if (!r->by_sender
        && fanout_holder_claim(z, FANOUT_SHARE_keys, account, holder, 1)
           == FANOUT_ZONE_OK)
    {
        return 0;
    }

    last = r->by_sender ? fanout_sender(z, sender)->key_last
                        : fanout_holder_at(z, holder)->key_last;

    now = fanout_seconds(z);
    expires = fanout_key(z, fanout_key(z, last)->own_next[r->by_sender])
              ->expires;

    r->wait = 1000 + (expires > now ? (expires - now) * 1000 : 0);

    return 1;
}


void
fanout_key_add(fanout_zone_t *z, fanout_ref_t channel, const uint64_t hash[2],
    const fanout_zone_publish_t *opts, const fanout_zone_result_t *r)
{
    fanout_ref_t             ref;
    fanout_shm_t            *shm;
    fanout_key_t            *key;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    shm = z->shm;

    ref = fanout_alloc(z, 1, FANOUT_KEYS, NULL);
    key = fanout_key(z, ref);

    memset((uint8_t *) key + 4, 0, sizeof(fanout_key_t) - 4);

    key->channel = channel;
    key->expires = fanout_seconds(z) + shm->dedupe;
    key->hash[0] = hash[0];
    key->hash[1] = hash[1];
    key->offset = r->offset;
    key->time = r->time;
    key->delivered = r->delivered;
    key->pending = r->pending;
    key->holder = fanout_holder(z, opts->address);
    key->sender = fanout_holder(z, opts->sender);

    if (shm->key_last
        && key->expires < fanout_key(z, shm->key_last)->expires)
    {
        /* the dedupe time was shortened: the list stays in order */
        key->expires = fanout_key(z, shm->key_last)->expires;
    }

    fanout_hash_add(z, &key_table, hash[1], ref, FANOUT_NEW_RECORD);
    fanout_list_append(z, &key_links, &shm->key_first, &shm->key_last, ref,
                       FANOUT_NEW_RECORD);
    fanout_set(z, shm->nkeys, shm->nkeys + 1);

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);
    fanout_channel_use(z, channel, key->holder);
    fanout_set(z, cold->keys, cold->keys + 1);
    fanout_part_add(z, FANOUT_SHARE_keys, ch->account, 1);
    key_count(z, key, 1);

    fanout_circle_append(z, &holder_links,
                         &fanout_holder_at(z, key->holder)->key_last, ref,
                         FANOUT_NEW_RECORD);
    fanout_circle_append(z, &sender_links,
                         &fanout_sender(z, key->sender)->key_last, ref,
                         FANOUT_NEW_RECORD);
}


/* for its holder and its sender */

static void
key_count(fanout_zone_t *z, const fanout_key_t *key, int32_t n)
{
    fanout_holder_add(z, FANOUT_SHARE_keys, key->holder, n);
    fanout_sender_add(z, key->sender, n);
}


int
fanout_key_sweep(fanout_zone_t *z)
{
    uint32_t                 now;
    unsigned                 n;
    fanout_ref_t             ref;
    fanout_shm_t            *shm;
    fanout_key_t            *key;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    shm = z->shm;
    now = fanout_seconds(z);

    for (n = 0; (ref = shm->key_first) != 0; n++) {
        key = fanout_key(z, ref);

        if (key->expires >= now) {
            break;
        }

        if (n && (n == FANOUT_STEP || !fanout_section_room(z))) {
            return FANOUT_ZONE_AGAIN;
        }

        fanout_hash_remove(z, &key_table, key->hash[1], ref);
        fanout_list_cut(z, &shm->key_first, &shm->key_last, key->next);
        fanout_set(z, shm->nkeys, shm->nkeys - 1);

        ch = fanout_channel(z, key->channel);
        cold = fanout_cold(z, ch);
        fanout_set(z, cold->keys, cold->keys - 1);
        fanout_part_add(z, FANOUT_SHARE_keys, ch->account, -1);
        key_count(z, key, -1);

        fanout_circle_shift(z, &holder_links,
                            &fanout_holder_at(z, key->holder)->key_last);
        fanout_circle_shift(z, &sender_links,
                            &fanout_sender(z, key->sender)->key_last);

        if (cold->keys == 0) {
            fanout_channel_free_unused(z, key->channel);
        }

        fanout_free(z, ref, ref, 1, FANOUT_KEYS);
    }

    return FANOUT_ZONE_OK;
}
