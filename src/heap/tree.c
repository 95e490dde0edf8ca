
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Trees of tables: slots for records.
 */


#include "heap/tree.h"


static fanout_ref_t table_make(fanout_zone_t *z, unsigned kind,
    fanout_ref_t first, unsigned full);
static uint32_t slots_below(unsigned levels);


/* Returns the slots below a ref of a table with so many levels beneath. */

static uint32_t
slots_below(unsigned levels)
{
    uint32_t  n;

    for (n = 1; levels; levels--) {
        n *= FANOUT_TABLE_REFS;
    }

    return n;
}


static fanout_ref_t
table_make(fanout_zone_t *z, unsigned kind, fanout_ref_t first, unsigned full)
{
    fanout_ref_t     ref;
    fanout_table_t  *t;

    ref = fanout_alloc(z, 1, kind, NULL);
    t = fanout_table(z, ref);

    memset((uint8_t *) t + 4, 0, sizeof(fanout_table_t) - 4);
    fanout_set(z, t->refs[0], first);
    t->n = first ? 1 : 0;
    t->full = full;

    return ref;
}


uint32_t
fanout_tree_take(fanout_zone_t *z, const fanout_tree_t *tree,
    fanout_ref_t record, unsigned *made)
{
    uint32_t         slot;
    unsigned         d, i;
    fanout_ref_t     path[FANOUT_TREE_DEPTH];
    fanout_table_t  *t;

    *made = 0;

    if (*tree->root == 0) {
        fanout_set(z, *tree->root, table_make(z, tree->kind, 0, 0));
        fanout_set(z, *tree->depth, 1);
        (*made)++;

    } else if (fanout_table(z, *tree->root)->full == FANOUT_TABLE_FULL) {
        fanout_set(z, *tree->root, table_make(z, tree->kind, *tree->root, 1));
        fanout_set(z, *tree->depth, *tree->depth + 1);
        (*made)++;
    }

    path[0] = *tree->root;
    slot = 0;

    for (d = 0; /* void */ ; d++) {
        t = fanout_table(z, path[d]);
        i = __builtin_ctz(~t->full);
        slot = slot * FANOUT_TABLE_REFS + i;

        if (d + 1 == *tree->depth) {
            break;
        }

        if (t->refs[i] == 0) {
            fanout_set(z, t->refs[i], table_make(z, tree->kind, 0, 0));
            fanout_set(z, t->n, t->n + 1);
            (*made)++;
        }

        path[d + 1] = t->refs[i];
    }

    fanout_set(z, t->refs[i], record);
    fanout_set(z, t->n, t->n + 1);
    fanout_set(z, t->full, t->full | 1 << i);

    for (i = slot; d && t->full == FANOUT_TABLE_FULL; d--) {
        i /= FANOUT_TABLE_REFS;
        t = fanout_table(z, path[d - 1]);
        fanout_set(z, t->full, t->full | 1 << i % FANOUT_TABLE_REFS);
    }

    return slot;
}


unsigned
fanout_tree_return(fanout_zone_t *z, const fanout_tree_t *tree, uint32_t slot)
{
    unsigned         d, i, freed;
    uint32_t         left;
    fanout_ref_t     path[FANOUT_TREE_DEPTH], gone;
    fanout_table_t  *t;

    path[0] = *tree->root;
    left = slot;

    for (d = 0; d + 1 < *tree->depth; d++) {
        i = left / slots_below(*tree->depth - d - 1);
        left %= slots_below(*tree->depth - d - 1);
        path[d + 1] = fanout_table(z, path[d])->refs[i];
    }

    /* upwards: free empty tables, and clear the full bits */

    gone = 1;
    freed = 0;

    for (d = *tree->depth; d; d--) {
        t = fanout_table(z, path[d - 1]);
        i = slot % FANOUT_TABLE_REFS;
        slot /= FANOUT_TABLE_REFS;

        if (gone) {
            fanout_set(z, t->refs[i], 0);
            fanout_set(z, t->n, t->n - 1);
        }

        if (t->full & 1 << i) {
            fanout_set(z, t->full, t->full & ~(1 << i));
        }

        gone = (t->n == 0);

        if (gone) {
            fanout_free(z, path[d - 1], path[d - 1], 1, tree->kind);
            freed++;
        }
    }

    if (gone) {
        fanout_set(z, *tree->root, 0);
        fanout_set(z, *tree->depth, 0);
    }

    return freed;
}


fanout_ref_t
fanout_tree_leaf(fanout_zone_t *z, fanout_ref_t root, unsigned depth,
    uint32_t slot)
{
    uint8_t       path[FANOUT_TREE_DEPTH];
    unsigned      d;
    fanout_ref_t  ref;

    for (d = 0; d < depth; d++) {
        path[d] = slot % FANOUT_TABLE_REFS;
        slot /= FANOUT_TABLE_REFS;
    }

    ref = slot ? 0 : root;

    for (d = depth; d > 1 && ref; d--) {
        ref = fanout_table(z, ref)->refs[path[d - 1]];
    }

    return ref;
}


fanout_ref_t
fanout_tree_next(fanout_zone_t *z, fanout_ref_t root, unsigned depth,
    uint32_t *slot, fanout_ref_t *leaf)
{
    unsigned         d, i;
    uint32_t         base, below;
    fanout_ref_t     ref;
    fanout_table_t  *t;

    base = *slot;

again:

    if (root == 0 || base >= slots_below(depth)) {
        return 0;
    }

    ref = root;

    for (d = depth; d; d--) {
        t = fanout_table(z, ref);
        below = slots_below(d - 1);
        i = base / below % FANOUT_TABLE_REFS;

        if (t->refs[i] == 0) {

            /* to the next ref in use, or up */

            for (base -= base % below; i < FANOUT_TABLE_REFS; i++) {
                if (t->refs[i]) {
                    break;
                }

                base += below;
            }

            if (i == FANOUT_TABLE_REFS) {
                goto again;
            }
        }

        if (leaf) {
            *leaf = ref;
        }

        ref = t->refs[i];
    }

    *slot = base;

    return ref;
}
