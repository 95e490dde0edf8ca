
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Blocks: taking, freeing, and making room when there are none left.
 */


#include "ngx_http_fanout_log.h"
#include "ngx_http_fanout_mail.h"


static int make_room(ngx_http_fanout_zone_t *z);
static int evict_largest(ngx_http_fanout_zone_t *z);


/* blocks */

int
fanout_ensure(ngx_http_fanout_zone_t *z, uint32_t n)
{
    while (z->shm->nfree < n) {
        if (!make_room(z)) {
            z->shm->full++;
            return NGX_HTTP_FANOUT_ZONE_FULL;
        }

        fanout_commit(z);
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


void
fanout_ensure_spare(ngx_http_fanout_zone_t *z, uint32_t n)
{
    if (z->shm->nfree < n && z->shm->nlimbo) {
        fanout_commit(z);
    }

    while (z->shm->nfree < n
           && (fanout_doomed_free(z) || fanout_seen_evict(z)
               || evict_largest(z)))
    {
        fanout_commit(z);
    }
}


/* the order under pressure; one step, one transaction */

static int
make_room(ngx_http_fanout_zone_t *z)
{
    if (fanout_doomed_free(z)) {
        return 1;
    }

    if (fanout_channel_sweep(z) == NGX_HTTP_FANOUT_ZONE_AGAIN
        || z->shm->nlimbo)
    {
        return 1;
    }

    /* the turn of the wheel may have filled the journal */
    fanout_commit(z);

    if (fanout_key_sweep(z) == NGX_HTTP_FANOUT_ZONE_AGAIN
        || fanout_identity_sweep(z) == NGX_HTTP_FANOUT_ZONE_AGAIN
        || z->shm->nlimbo)
    {
        return 1;
    }

    fanout_commit(z);

    if (fanout_mail_sweep(z) == NGX_HTTP_FANOUT_ZONE_AGAIN
        || fanout_signal_sweep(z) == NGX_HTTP_FANOUT_ZONE_AGAIN
        || z->shm->nlimbo || fanout_signal_evict(z))
    {
        return 1;
    }

    if (z->shm->held > z->shm->held_max && fanout_stream_drop(z)) {
        return 1;
    }

    return fanout_seen_evict(z)
           || evict_largest(z)
           || fanout_channel_evict_idle(z)
           || fanout_mail_evict(z)
           || fanout_identity_evict(z)
           || fanout_stream_drop(z);
}


static int
evict_largest(ngx_http_fanout_zone_t *z)
{
    uint32_t           i, n;
    fanout_channel_t  *ch;

    for (i = FANOUT_BUCKETS; i > 0; i--) {
        if (z->shm->bucket[i - 1]) {
            ch = fanout_channel(z, z->shm->bucket[i - 1]);

            n = ch->history < FANOUT_STEP ? ch->history : FANOUT_STEP;
            fanout_set(z, z->shm->evicted, z->shm->evicted + n);
            fanout_history_drop(z, z->shm->bucket[i - 1], n);

            return 1;
        }
    }

    return 0;
}


fanout_ref_t
fanout_alloc(ngx_http_fanout_zone_t *z, uint32_t n, fanout_kind_e kind,
    fanout_ref_t *last)
{
    uint32_t       left;
    fanout_ref_t   first, prev, ref;
    fanout_shm_t  *shm;

    shm = z->shm;
    first = ref = shm->free;
    prev = 0;
    left = n;
    z->work += n;

    while (left && ref) {
        prev = ref;
        ref = fanout_block(z, ref)->next;
        left--;
    }

    if (prev) {
        fanout_set(z, shm->free, ref);
        fanout_set(z, fanout_block(z, prev)->next, left ? shm->fresh : 0);
    }

    if (left) {
        ref = shm->fresh;

        if (prev == 0) {
            first = ref;
        }

        fanout_set(z, shm->fresh, ref + left);

        /* never used before: no content worth a journal */

        for ( /* void */ ; left > 1; left--, ref++) {
            fanout_block(z, ref)->next = ref + 1;
        }

        fanout_block(z, ref)->next = 0;
        prev = ref;
    }

    z->taken += n;

    fanout_set(z, shm->nfree, shm->nfree - n);
    fanout_set(z, shm->used[kind], shm->used[kind] + n);

    if (last) {
        *last = prev;
    }

    return first;
}


fanout_ref_t
fanout_chain_last(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    while (fanout_block(z, ref)->next) {
        ref = fanout_block(z, ref)->next;
        z->work++;
    }

    return ref;
}


void
fanout_free(ngx_http_fanout_zone_t *z, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, fanout_kind_e kind)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    fanout_set(z, fanout_block(z, last)->next, shm->limbo);

    if (shm->limbo == 0) {
        fanout_set(z, shm->limbo_tail, last);
    }

    fanout_set(z, shm->limbo, first);
    fanout_set(z, shm->nlimbo, shm->nlimbo + n);
    fanout_set(z, shm->used[kind], shm->used[kind] - n);
}


void
fanout_write(fanout_pen_t *pen, const void *src, size_t n)
{
    size_t           part;
    const uint8_t   *p;
    fanout_block_t  *b;

    p = src;

    while (n) {
        if (pen->pos == FANOUT_BLOCK) {
            pen->ref = fanout_block(pen->z, pen->ref)->next;
            pen->pos = sizeof(fanout_ref_t);
            pen->z->work++;
        }

        b = fanout_block(pen->z, pen->ref);

        part = FANOUT_BLOCK - pen->pos;
        if (part > n) {
            part = n;
        }

        memcpy((uint8_t *) b + pen->pos, p, part);

        pen->pos += part;
        p += part;
        n -= part;
    }
}


/* -1 if the chain is not one: only without the lock, in a lost race */

int
fanout_copy(fanout_pen_t *pen, void *dst, size_t n)
{
    size_t           part;
    uint8_t         *p;
    fanout_block_t  *b;

    p = dst;

    while (n) {
        if (pen->pos == FANOUT_BLOCK) {
            pen->ref = *(volatile fanout_ref_t *)
                           &fanout_block(pen->z, pen->ref)->next;
            pen->pos = sizeof(fanout_ref_t);
            pen->z->work++;

            if (pen->left-- == 0) {
                return -1;
            }
        }

        if (pen->ref == 0 || pen->ref >= pen->z->shm->nblocks) {
            return -1;
        }

        b = fanout_block(pen->z, pen->ref);

        part = FANOUT_BLOCK - pen->pos;
        if (part > n) {
            part = n;
        }

        if (p) {
            memcpy(p, (uint8_t *) b + pen->pos, part);
            p += part;
        }

        pen->pos += part;
        n -= part;
    }

    return 0;
}
