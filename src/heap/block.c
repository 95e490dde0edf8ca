
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Blocks: taking, freeing, reading and writing along a chain.
 */


#include "heap/heap.h"


fanout_ref_t
fanout_alloc(fanout_zone_t *z, uint32_t n, unsigned kind,
    fanout_ref_t *last)
{
    uint32_t            left;
    fanout_ref_t        first, prev, ref;
    fanout_heap_shm_t  *shm;

    shm = fanout_heap(z)->shm;
    first = ref = shm->free;
    prev = 0;
    left = n;
    fanout_heap(z)->work += n;

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

    fanout_heap(z)->taken += n;

    fanout_set(z, shm->nfree, shm->nfree - n);
    fanout_set(z, shm->used[kind], shm->used[kind] + n);

    if (last) {
        *last = prev;
    }

    return first;
}


fanout_ref_t
fanout_chain_last(fanout_zone_t *z, fanout_ref_t ref)
{
    while (fanout_block(z, ref)->next) {
        ref = fanout_block(z, ref)->next;
        fanout_heap(z)->work++;
    }

    return ref;
}


void
fanout_free(fanout_zone_t *z, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, unsigned kind)
{
    fanout_heap_shm_t  *shm;

    shm = fanout_heap(z)->shm;

    fanout_set(z, fanout_block(z, last)->next, shm->limbo);

    if (shm->limbo == 0) {
        fanout_set(z, shm->limbo_tail, last);
    }

    fanout_set(z, shm->limbo, first);
    fanout_set(z, shm->nlimbo, shm->nlimbo + n);
    fanout_set(z, shm->used[kind], shm->used[kind] - n);
}


void
fanout_write(fanout_chain_cursor_t *pen, const void *src, size_t n)
{
    size_t           part;
    const uint8_t   *p;
    fanout_block_t  *b;

    p = src;

    while (n) {
        if (pen->pos == FANOUT_BLOCK) {
            pen->ref = fanout_block(pen->z, pen->ref)->next;
            pen->pos = sizeof(fanout_ref_t);
            fanout_heap(pen->z)->work++;
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


/* Returns -1 if the chain is broken: only a reader without the lock, which lost
 * a race, can see this. */

int
fanout_copy(fanout_chain_cursor_t *pen, void *dst, size_t n)
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
            fanout_heap(pen->z)->work++;

            if (pen->left-- == 0) {
                return -1;
            }
        }

        if (pen->ref == 0 || pen->ref >= fanout_heap(pen->z)->shm->nblocks) {
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
