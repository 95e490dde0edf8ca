
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The slots of a presence set: a tree of tables; a member gets the smallest
 * free slot.
 */


#include "zone/presence.h"
#include "zone/share.h"


static fanout_ref_t table_make(fanout_zone_t *z,
    const fanout_presence_block_t *presence, fanout_ref_t first,
    unsigned full);
static uint32_t power14(unsigned n);


static uint32_t
power14(unsigned n)
{
    uint32_t  p;

    for (p = 1; n; n--) {
        p *= FANOUT_TABLE_REFS;
    }

    return p;
}


static fanout_ref_t
table_make(fanout_zone_t *z, const fanout_presence_block_t *presence,
    fanout_ref_t first, unsigned full)
{
    fanout_ref_t     ref;
    fanout_table_t  *t;

    ref = fanout_alloc(z, 1, FANOUT_PRESENCE_SET, NULL);
    t = fanout_table(z, ref);

    memset((uint8_t *) t + 4, 0, sizeof(fanout_table_t) - 4);
    fanout_set(z, t->refs[0], first);
    t->n = first ? 1 : 0;
    t->full = full;

    fanout_part_add(z, FANOUT_SHARE_members,
                    presence->class, 1);

    return ref;
}


/* Assigns the smallest free slot to a member; FANOUT_DEPTH + 1 blocks must be
 * ensured. */

uint32_t
fanout_slot_take(fanout_zone_t *z, fanout_ref_t ref, fanout_ref_t member)
{
    uint32_t                  slot;
    unsigned                  d, i;
    fanout_ref_t              path[FANOUT_DEPTH];
    fanout_table_t           *t;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);

    if (presence->root == 0) {
        fanout_set(z, presence->root, table_make(z, presence, 0, 0));
        fanout_set(z, presence->depth, 1);

    } else if (fanout_table(z, presence->root)->full == FANOUT_TABLE_FULL) {
        fanout_set(z, presence->root,
                   table_make(z, presence, presence->root, 1));
        fanout_set(z, presence->depth, presence->depth + 1);
    }

    path[0] = presence->root;
    slot = 0;

    for (d = 0; /* void */ ; d++) {
        t = fanout_table(z, path[d]);
        i = __builtin_ctz(~t->full);
        slot = slot * FANOUT_TABLE_REFS + i;

        if (d + 1 == presence->depth) {
            break;
        }

        if (t->refs[i] == 0) {
            fanout_set(z, t->refs[i], table_make(z, presence, 0, 0));
            fanout_set(z, t->n, t->n + 1);
        }

        path[d + 1] = t->refs[i];
    }

    fanout_set(z, t->refs[i], member);
    fanout_set(z, t->n, t->n + 1);
    fanout_set(z, t->full, t->full | 1 << i);

    for (i = slot; d && t->full == FANOUT_TABLE_FULL; d--) {
        i /= FANOUT_TABLE_REFS;
        t = fanout_table(z, path[d - 1]);
        fanout_set(z, t->full, t->full | 1 << i % FANOUT_TABLE_REFS);
    }

    return slot;
}


void
fanout_slot_return(fanout_zone_t *z, fanout_ref_t ref, uint32_t slot)
{
    unsigned                  d, i, tables;
    uint32_t                  left;
    fanout_ref_t              path[FANOUT_DEPTH], gone;
    fanout_table_t           *t;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);
    path[0] = presence->root;
    left = slot;

    for (d = 0; d + 1 < presence->depth; d++) {
        i = left / power14(presence->depth - d - 1);
        left %= power14(presence->depth - d - 1);
        path[d + 1] = fanout_table(z, path[d])->refs[i];
    }

    /* upwards: free empty tables, and clear the full bits */

    gone = 1;
    tables = 0;

    for (d = presence->depth; d; d--) {
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
            fanout_free(z, path[d - 1], path[d - 1], 1, FANOUT_PRESENCE_SET);
            tables++;
        }
    }

    if (tables) {
        fanout_part_add(z, FANOUT_SHARE_members,
                        presence->class, -(int32_t) tables);
    }

    if (gone) {
        fanout_set(z, presence->root, 0);
        fanout_set(z, presence->depth, 0);
    }
}


/* Finds the first member at or above *slot, and sets *slot to its slot; 0:
 * none. */

fanout_ref_t
fanout_slot_next(fanout_zone_t *z, const fanout_presence_block_t *presence,
    uint32_t *slot)
{
    unsigned         d, i;
    uint32_t         base, span;
    fanout_ref_t     ref;
    fanout_table_t  *t;

    base = *slot;

again:

    if (presence->root == 0 || base >= power14(presence->depth)) {
        return 0;
    }

    ref = presence->root;

    for (d = presence->depth; d; d--) {
        t = fanout_table(z, ref);
        span = power14(d - 1);
        i = base / span % FANOUT_TABLE_REFS;

        if (t->refs[i] == 0) {

            /* to the next ref in use, or up */

            for (base -= base % span; i < FANOUT_TABLE_REFS; i++) {
                if (t->refs[i]) {
                    break;
                }

                base += span;
            }

            if (i == FANOUT_TABLE_REFS) {
                goto again;
            }
        }

        ref = t->refs[i];
    }

    *slot = base;

    return ref;
}
