
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Holders: how much of the zone the clients of an address hold, so that those
 * of one can't keep all others out.  Budgets only limit how fast they get it.
 *
 * An address may have a part of what the others leave of a share: with a part
 * of a half it gets at most half of an empty one, two such addresses get a
 * third each, and there is always something left for one that holds little.
 * What lingers of sessions is evicted when others need it, and is not counted.
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


static int within(uint64_t own, uint64_t others, uint64_t max, uint32_t part,
    uint32_t n);
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
fanout_holder_claim(ngx_http_fanout_zone_t *z, unsigned share,
    unsigned holder, uint32_t n)
{
    uint64_t       own, used;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (holder == 0) {
        return NGX_HTTP_FANOUT_ZONE_OK;
    }

    own = *holder_blocks(z, share, holder);
    used = share == NGX_HTTP_FANOUT_SHARE_sessions
           ? shm->holding : fanout_share_used(shm, share);

    return within(own, used - own, shm->shares[share].max, shm->address_max, n)
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
fanout_sender_claim(ngx_http_fanout_zone_t *z, unsigned sender, uint32_t n)
{
    uint64_t       own, used;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (sender == 0) {
        return NGX_HTTP_FANOUT_ZONE_OK;
    }

    own = fanout_sender(z, sender)->keys;
    used = fanout_share_used(shm, NGX_HTTP_FANOUT_SHARE_keys);

    return within(own, used - own,
                  shm->shares[NGX_HTTP_FANOUT_SHARE_keys].max, shm->user_max,
                  n)
           ? NGX_HTTP_FANOUT_ZONE_OK : NGX_HTTP_FANOUT_ZONE_MANY;
}


/* Whether n more are within a part of what others leave.  Who has none is not
 * who has too much: whether there is any is for the share to say. */

static int
within(uint64_t own, uint64_t others, uint64_t max, uint32_t part, uint32_t n)
{
    return part >= NGX_HTTP_FANOUT_ZONE_WHOLE
           || own == 0
           || (others < max
               && (own + n) * NGX_HTTP_FANOUT_ZONE_WHOLE
                  <= (max - others) * part);
}


static uint32_t *
holder_blocks(ngx_http_fanout_zone_t *z, unsigned share, unsigned holder)
{
    fanout_holder_t  *h;

    h = fanout_holder_at(z, holder);

    switch (share) {

    case NGX_HTTP_FANOUT_SHARE_sessions:
        return &h->sessions;

    case NGX_HTTP_FANOUT_SHARE_members:
        return &h->members;

    default: /* NGX_HTTP_FANOUT_SHARE_keys */
        return &h->keys;
    }
}
