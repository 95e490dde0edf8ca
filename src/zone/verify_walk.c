
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What all parts of the check share: a block is met once.
 */


#include <stdio.h>
#include <stdlib.h>

#include "heap/tree.h"
#include "zone/verify.h"


int
fanout_verify_meet(walk_t *w, fanout_ref_t ref, uint8_t as, fanout_ref_t owner)
{
    must_of(w, ref, ref != 0 && ref < w->shm->heap.fresh);
    must_of(w, ref, w->marks[ref].seen == 0);

    w->marks[ref].seen = as;
    w->marks[ref].owner = owner;

    return 0;
}


int
fanout_verify_met(walk_t *w, fanout_ref_t ref, uint8_t as)
{
    return ref != 0 && ref < w->shm->heap.fresh && w->marks[ref].seen == as;
}


/* a chain of n blocks from first to last, of which the first is met */

int
fanout_verify_meet_rest(walk_t *w, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, fanout_kind_e kind)
{
    uint32_t      i;
    fanout_ref_t  ref;

    ref = first;

    for (i = 1; i < n; i++) {
        ref = fanout_block(w->z, ref)->next;
        try (meet(w, ref, SEEN_REST, first));
    }

    must_of(w, first, last == 0 || ref == last);

    if (kind == FANOUT_MESSAGES || kind == FANOUT_STAGED || n > 1) {
        must_of(w, first, fanout_block(w->z, ref)->next == 0);
    }

    w->used[kind] += n;

    return 0;
}


int
fanout_verify_tree(walk_t *w, fanout_ref_t ref, unsigned depth, uint32_t base,
    fanout_kind_e kind, fanout_verify_slot_pt visit, void *data,
    uint32_t *tables)
{
    int              full;
    uint32_t         slot;
    unsigned         i, refs;
    fanout_table_t  *t;

    try (meet(w, ref, SEEN_TABLE, 0));
    w->used[kind]++;
    (*tables)++;

    t = fanout_table(w->z, ref);
    refs = 0;

    for (i = 0; i < FANOUT_TABLE_REFS; i++) {
        full = 0;
        slot = base * FANOUT_TABLE_REFS + i;

        if (t->refs[i]) {
            refs++;

            if (depth == 1) {
                try (visit(w, t->refs[i], slot, data));
                full = 1;

            } else {
                try (fanout_verify_tree(w, t->refs[i], depth - 1, slot, kind,
                                        visit, data, tables));
                full = fanout_table(w->z, t->refs[i])->full
                       == FANOUT_TABLE_FULL;
            }
        }

        must_of(w, ref, ((t->full >> i & 1) != 0) == full);
    }

    must_of(w, ref, refs && refs == t->n);

    return 0;
}


int
fanout_verify_broken(walk_t *w, int line, const char *text, fanout_ref_t ref)
{
    w->line = line;

    if (w->len) {
        snprintf(w->text, w->len, "line %d, block %u: %s", line, ref, text);
    }

    return line;
}
