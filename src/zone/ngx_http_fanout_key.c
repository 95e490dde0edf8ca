
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Idempotence keys: what a publish with a key answered, for as long as the
 * zone remembers.  Keys are kept as 128 bits of a keyed hash over the
 * channel's epoch, the scope and the key.  All live equally long, so the
 * list of all is in the order in which they expire, and the first to go is
 * the first of its holder and of its sender.
 */


#include "ngx_http_fanout_log.h"


static fanout_ref_t find(ngx_http_fanout_zone_t *z, const uint64_t hash[2]);
static int held(ngx_http_fanout_zone_t *z, uint32_t class,
    const ngx_http_fanout_zone_publish_t *opts,
    ngx_http_fanout_zone_result_t *r);
static void count(ngx_http_fanout_zone_t *z, const fanout_key_t *key,
    int32_t n);
static void own_add(ngx_http_fanout_zone_t *z, unsigned by,
    fanout_ref_t *last, fanout_ref_t ref);
static void own_drop(ngx_http_fanout_zone_t *z, unsigned by,
    fanout_ref_t *last, fanout_ref_t ref);


/* One key on many channels, or of many users, is many keys. */

void
fanout_key_hash(ngx_http_fanout_zone_t *z, const fanout_channel_t *ch,
    const ngx_http_fanout_zone_publish_t *opts, uint64_t hash[2])
{
    fanout_hash(z, opts->scope.data, opts->scope.len, opts->key.data,
                opts->key.len, 4, hash);
    hash[0] ^= ch->epoch ^ (opts->scope.len ? ~0ULL : 0);
    hash[1] ^= ch->epoch;
}


int
fanout_key_known(ngx_http_fanout_zone_t *z, const fanout_channel_t *ch,
    const ngx_http_fanout_zone_publish_t *opts, uint64_t hash[2],
    ngx_http_fanout_zone_result_t *r)
{
    fanout_key_t  *key;
    fanout_ref_t   ref;

    fanout_key_hash(z, ch, opts, hash);

    ref = find(z, hash);

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
find(ngx_http_fanout_zone_t *z, const uint64_t hash[2])
{
    uint32_t       now;
    fanout_ref_t   ref;
    fanout_key_t  *key;

    now = fanout_seconds(z);
    ref = fanout_hash_table(z, key_hash)[hash[1] & z->shm->key_mask];

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
fanout_key_room(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_publish_t *opts)
{
    ngx_http_fanout_zone_result_t  r;

    if (!held(z, c->policy ? c->policy->class : 0, opts, &r)) {
        fanout_share_room(z, NGX_HTTP_FANOUT_SHARE_keys,
                          1 + fanout_channel_blocks(c->name.len));
    }
}


int
ngx_http_fanout_log_key(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_publish_t *opts,
    ngx_http_fanout_zone_result_t *r)
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


/* A key keeps its channel as well. */

int
fanout_key_claim(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_zone_channel_t *c, fanout_ref_t channel,
    const ngx_http_fanout_zone_publish_t *opts, uint64_t hash[2],
    ngx_http_fanout_zone_result_t *r)
{
    int                rc;
    uint32_t           class, blocks;
    fanout_channel_t  *ch;

    class = c->policy ? c->policy->class : 0;
    blocks = fanout_channel_blocks(c->name.len);

    if (channel) {
        ch = fanout_channel(z, channel);

        if (fanout_key_known(z, ch, opts, hash, r)) {
            return NGX_HTTP_FANOUT_ZONE_OK;
        }

        class = ch->class;
        blocks = fanout_cold(z, ch)->wheel & FANOUT_IN_USE ? 0 : blocks;
    }

    if (held(z, class, opts, r)) {
        return NGX_HTTP_FANOUT_ZONE_HELD;
    }

    if (blocks
        && fanout_holder_claim(z, NGX_HTTP_FANOUT_SHARE_channels, class,
                               fanout_holder(z, opts->address), blocks)
           != NGX_HTTP_FANOUT_ZONE_OK)
    {
        return NGX_HTTP_FANOUT_ZONE_ADDRESS;
    }

    rc = fanout_share_claim(z, NGX_HTTP_FANOUT_SHARE_keys, class, 1);

    if (rc == NGX_HTTP_FANOUT_ZONE_OK && blocks) {
        rc = fanout_share_claim(z, NGX_HTTP_FANOUT_SHARE_channels, class,
                                blocks);
    }

    return rc;
}


/* Whether who publishes holds all the keys that he may: then r has wait and
 * by_sender. */

static int
held(ngx_http_fanout_zone_t *z, uint32_t class,
    const ngx_http_fanout_zone_publish_t *opts,
    ngx_http_fanout_zone_result_t *r)
{
    unsigned      holder, sender;
    fanout_ref_t  last;
    uint32_t      now, expires;

    holder = fanout_holder(z, opts->address);
    sender = fanout_holder(z, opts->sender);

    /* those of an address that have no user are limited as an address is */

    r->by_sender = opts->sender != opts->address
                   && fanout_sender_claim(z, class, sender, 1)
                      != NGX_HTTP_FANOUT_ZONE_OK;

    if (!r->by_sender
        && fanout_holder_claim(z, NGX_HTTP_FANOUT_SHARE_keys, class, holder, 1)
           == NGX_HTTP_FANOUT_ZONE_OK)
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
fanout_key_add(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    const uint64_t hash[2], const ngx_http_fanout_zone_publish_t *opts,
    const ngx_http_fanout_zone_result_t *r)
{
    fanout_ref_t       ref, *bucket;
    fanout_shm_t      *shm;
    fanout_key_t      *key;
    fanout_cold_t     *cold;
    fanout_channel_t  *ch;

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
        /* the time was made shorter: the list stays in order */
        key->expires = fanout_key(z, shm->key_last)->expires;
    }

    bucket = &fanout_hash_table(z, key_hash)[hash[1] & shm->key_mask];
    fanout_set(z, key->hash_next, *bucket);
    fanout_set(z, *bucket, ref);

    if (shm->key_last) {
        fanout_set(z, fanout_key(z, shm->key_last)->next, ref);

    } else {
        fanout_set(z, shm->key_first, ref);
    }

    fanout_set(z, shm->key_last, ref);
    fanout_set(z, shm->nkeys, shm->nkeys + 1);

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);
    fanout_channel_use(z, channel, key->holder);
    fanout_set(z, cold->keys, cold->keys + 1);
    fanout_part_add(z, NGX_HTTP_FANOUT_SHARE_keys, ch->class, 1);
    count(z, key, 1);

    own_add(z, FANOUT_BY_HOLDER,
            &fanout_holder_at(z, key->holder)->key_last, ref);
    own_add(z, FANOUT_BY_SENDER, &fanout_sender(z, key->sender)->key_last,
            ref);
}


/* for those whose it is */

static void
count(ngx_http_fanout_zone_t *z, const fanout_key_t *key, int32_t n)
{
    fanout_holder_add(z, NGX_HTTP_FANOUT_SHARE_keys, key->holder, n);
    fanout_sender_add(z, key->sender, n);
}


/* The ring of a holder or a sender gets a key, the last, or loses the first. */

static void
own_add(ngx_http_fanout_zone_t *z, unsigned by, fanout_ref_t *last,
    fanout_ref_t ref)
{
    fanout_ref_t  *next;

    next = &fanout_key(z, *last ? *last : ref)->own_next[by];

    fanout_set(z, fanout_key(z, ref)->own_next[by], *last ? *next : ref);
    fanout_set(z, *next, ref);
    fanout_set(z, *last, ref);
}


static void
own_drop(ngx_http_fanout_zone_t *z, unsigned by, fanout_ref_t *last,
    fanout_ref_t ref)
{
    if (*last == ref) {
        fanout_set(z, *last, 0);
        return;
    }

    fanout_set(z, fanout_key(z, *last)->own_next[by],
               fanout_key(z, ref)->own_next[by]);
}


int
fanout_key_sweep(ngx_http_fanout_zone_t *z)
{
    uint32_t           now;
    unsigned           n;
    fanout_ref_t       ref, *link;
    fanout_shm_t      *shm;
    fanout_key_t      *key;
    fanout_cold_t     *cold;
    fanout_channel_t  *ch;

    shm = z->shm;
    now = fanout_seconds(z);

    for (n = 0; (ref = shm->key_first) != 0; n++) {
        key = fanout_key(z, ref);

        if (key->expires >= now) {
            break;
        }

        if (n && (n == FANOUT_STEP || !fanout_section_room(z))) {
            return NGX_HTTP_FANOUT_ZONE_AGAIN;
        }

        link = &fanout_hash_table(z, key_hash)[key->hash[1] & shm->key_mask];

        while (*link != ref) {
            link = &fanout_key(z, *link)->hash_next;
        }

        fanout_set(z, *link, key->hash_next);
        fanout_set(z, shm->key_first, key->next);

        if (key->next == 0) {
            fanout_set(z, shm->key_last, 0);
        }

        fanout_set(z, shm->nkeys, shm->nkeys - 1);

        ch = fanout_channel(z, key->channel);
        cold = fanout_cold(z, ch);
        fanout_set(z, cold->keys, cold->keys - 1);
        fanout_part_add(z, NGX_HTTP_FANOUT_SHARE_keys, ch->class, -1);
        count(z, key, -1);

        own_drop(z, FANOUT_BY_HOLDER,
                 &fanout_holder_at(z, key->holder)->key_last, ref);
        own_drop(z, FANOUT_BY_SENDER, &fanout_sender(z, key->sender)->key_last,
                 ref);

        if (cold->keys == 0) {
            fanout_channel_settle(z, key->channel);
        }

        fanout_free(z, ref, ref, 1, FANOUT_KEYS);
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}
