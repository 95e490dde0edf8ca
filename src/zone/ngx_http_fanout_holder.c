
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Holders: how much of the zone the clients of an address hold, so that those
 * of one can't keep all others out.  Budgets only limit how fast they get it.
 *
 * An address may have a part of what the others leave of a share: with a part
 * of a half it gets at most half of an empty one, two such addresses get a
 * third each, and there is always something left for one that holds little.
 * What is left counts as far as the class of the channel may have it, and as
 * far as the zone has it, for the maxima of all shares may be more than there
 * is: addresses alone fill neither a class nor the zone.  What lingers of
 * sessions is evicted when others need it, and is not counted.
 *
 * A channel in use counts for who brought it into use, until it is not in use
 * any more, whoever has joined it meanwhile.  An interest in it counts for who
 * was the first to join it at that worker.  Who holds all that it may can still
 * join what is in use, up to half of the rest: its clients may come back at
 * another worker, where there is no interest yet.
 *
 * Keys are also counted by who sends: the user, or the clients of an address
 * that have none.  So a user is bounded wherever he comes from, and does not
 * take what his address may have from the others behind it.
 *
 * Counts are in a table that is indexed by the hash of the address: addresses
 * share one now and then.  It is linked state, for it must be right for as long
 * as the zone is there.
 */


#include "ngx_http_fanout_share.h"


static int claim(ngx_http_fanout_zone_t *z, unsigned share, uint32_t class,
    unsigned holder, uint32_t part, uint32_t n);
static inline uint32_t least(uint32_t a, uint32_t b);
static int within(uint64_t own, uint64_t left, uint32_t part, uint32_t n);
static uint32_t *holder_blocks(ngx_http_fanout_zone_t *z, unsigned share,
    unsigned holder);


unsigned
fanout_holder(ngx_http_fanout_zone_t *z, uint64_t address)
{
    unsigned  n;

    n = address & z->shm->holder_mask;

    return address && n == 0 ? 1 : n;
}


void
fanout_holder_add(ngx_http_fanout_zone_t *z, unsigned share, unsigned holder,
    int32_t n)
{
    uint32_t  *blocks;

    blocks = holder_blocks(z, share, holder);

    fanout_set(z, *blocks, *blocks + n);

    if (share == NGX_HTTP_FANOUT_SHARE_sessions) {
        fanout_set(z, z->shm->holding, z->shm->holding + n);
    }
}


int
fanout_holder_claim(ngx_http_fanout_zone_t *z, unsigned share, uint32_t class,
    unsigned holder, uint32_t n)
{
    return claim(z, share, class, holder, z->shm->address_max, n);
}


int
fanout_holder_join(ngx_http_fanout_zone_t *z, uint32_t class,
    unsigned holder)
{
    uint32_t  part;

    part = z->shm->address_max;
    part += (NGX_HTTP_FANOUT_ZONE_WHOLE - part) / 2;

    return claim(z, NGX_HTTP_FANOUT_SHARE_channels, class, holder, part, 1);
}


/* with such a part of what the others leave */

static int
claim(ngx_http_fanout_zone_t *z, unsigned share, uint32_t class,
    unsigned holder, uint32_t part, uint32_t n)
{
    uint32_t       left;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (holder == 0) {
        return NGX_HTTP_FANOUT_ZONE_OK;
    }

    if (share != NGX_HTTP_FANOUT_SHARE_sessions) {
        left = fanout_share_left(shm, share, class);

    } else {
        left = shm->shares[share].max > shm->holding
               ? shm->shares[share].max - shm->holding : 0;
    }

    left = least(left, fanout_share_spare(shm, share));

    return within(*holder_blocks(z, share, holder), left, part, n)
           ? NGX_HTTP_FANOUT_ZONE_OK : NGX_HTTP_FANOUT_ZONE_MANY;
}


void
fanout_sender_add(ngx_http_fanout_zone_t *z, unsigned sender, int32_t n)
{
    fanout_sender_t  *s;

    s = fanout_sender(z, sender);

    fanout_set(z, s->keys, s->keys + n);
}


int
fanout_sender_claim(ngx_http_fanout_zone_t *z, uint32_t class,
    unsigned sender, uint32_t n)
{
    uint32_t       left;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (sender == 0) {
        return NGX_HTTP_FANOUT_ZONE_OK;
    }

    left = least(fanout_share_left(shm, NGX_HTTP_FANOUT_SHARE_keys, class),
                 fanout_share_spare(shm, NGX_HTTP_FANOUT_SHARE_keys));

    return within(fanout_sender(z, sender)->keys, left, shm->user_max, n)
           ? NGX_HTTP_FANOUT_ZONE_OK : NGX_HTTP_FANOUT_ZONE_MANY;
}


static inline uint32_t
least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}


/* Whether n more are within a part of what others leave: of its own, and what
 * is left for all. */

static int
within(uint64_t own, uint64_t left, uint32_t part, uint32_t n)
{
    return part >= NGX_HTTP_FANOUT_ZONE_WHOLE
           || own == 0 || n > left
           || (own + n) * NGX_HTTP_FANOUT_ZONE_WHOLE <= (own + left) * part;
}


static uint32_t *
holder_blocks(ngx_http_fanout_zone_t *z, unsigned share, unsigned holder)
{
    fanout_holder_t  *h;

    h = fanout_holder_at(z, holder);

    switch (share) {

    case NGX_HTTP_FANOUT_SHARE_channels:
        return &h->channels;

    case NGX_HTTP_FANOUT_SHARE_sessions:
        return &h->sessions;

    case NGX_HTTP_FANOUT_SHARE_members:
        return &h->members;

    default: /* NGX_HTTP_FANOUT_SHARE_keys */
        return &h->keys;
    }
}
