
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * An entry of a log: its size, and freeing it when it is in no list.
 */


#include "zone/log.h"


uint32_t
fanout_entry_blocks(fanout_zone_t *z, const fanout_entry_block_t *e)
{
    uint32_t                 size;
    uint16_t                 meta;
    fanout_chain_cursor_t    pen;

    size = fanout_entry_size(e) + e->event + e->key + e->user;

    if (e->flags & FANOUT_HAS_CLIENT) {
        size += 8;
    }

    if (e->flags & FANOUT_HAS_META) {
        pen.z = z;
        pen.ref = ((const uint8_t *) e - z->heap.base) / FANOUT_BLOCK;
        pen.pos = FANOUT_ENTRY_HEAD;
        pen.left = 1;

        (void) fanout_copy(&pen, NULL,
                           (e->flags & FANOUT_LONG ? 4 : 0)
                           + (e->flags & FANOUT_HAS_CLIENT ? 8 : 0));
        (void) fanout_copy(&pen, &meta, 2);

        size += 2 + meta;
    }

    if (e->flags & FANOUT_HAS_RECIPIENT) {
        size += 16;
    }

    return fanout_size_blocks(size);
}


void
fanout_entry_free(fanout_zone_t *z, fanout_ref_t ref, fanout_kind_e kind)
{
    uint32_t               n;
    fanout_ref_t           last;
    fanout_entry_block_t  *e;
    fanout_chain_cursor_t  pen;

    e = fanout_entry(z, ref);
    n = fanout_entry_blocks(z, e);

    if (e->flags & FANOUT_LONG) {
        pen.z = z;
        pen.ref = ref;
        pen.pos = FANOUT_ENTRY_HEAD;
        pen.left = 1;
        (void) fanout_copy(&pen, &last, sizeof(fanout_ref_t));

    } else {
        for (last = ref;
             fanout_block(z, last)->next;
             last = fanout_block(z, last)->next) { /* void */ }
    }

    fanout_free(z, ref, last, n, kind);
}


/* the entry is too large to be copied under the lock */

int
fanout_entry_large(fanout_zone_t *z, fanout_entry_block_t *e)
{
    return fanout_entry_size(e) > FANOUT_ZONE_COPY
           || (e->flags & FANOUT_HAS_META
               && fanout_entry_blocks(z, e)
                  > FANOUT_ZONE_COPY / FANOUT_PAYLOAD);
}
