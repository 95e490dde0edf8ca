
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The slots of a room: a tree of tables, the smallest free one is taken.
 */


#include "zone/room.h"
#include "zone/share.h"


static fanout_ref_t table_make(fanout_zone_t *z,
    const fanout_room_block_t *room, fanout_ref_t first, unsigned full);
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
table_make(fanout_zone_t *z, const fanout_room_block_t *room,
    fanout_ref_t first, unsigned full)
{
    fanout_ref_t     ref;
    fanout_table_t  *t;

    ref = fanout_alloc(z, 1, FANOUT_ROOMS, NULL);
    t = fanout_table(z, ref);

    memset((uint8_t *) t + 4, 0, sizeof(fanout_table_t) - 4);
    fanout_set(z, t->refs[0], first);
    t->n = first ? 1 : 0;
    t->full = full;

    fanout_part_add(z, FANOUT_SHARE_members,
                    room->class, 1);

    return ref;
}


/* Puts a member into the smallest free slot; FANOUT_DEPTH + 1 blocks must be
 * ensured. */

uint32_t
fanout_slot_take(fanout_zone_t *z, fanout_ref_t ref, fanout_ref_t member)
{
    uint32_t              slot;
    unsigned              d, i;
    fanout_ref_t          path[FANOUT_DEPTH];
    fanout_table_t       *t;
    fanout_room_block_t  *room;

    room = fanout_room(z, ref);

    if (room->root == 0) {
        fanout_set(z, room->root, table_make(z, room, 0, 0));
        fanout_set(z, room->depth, 1);

    } else if (fanout_table(z, room->root)->full == FANOUT_TABLE_FULL) {
        fanout_set(z, room->root, table_make(z, room, room->root, 1));
        fanout_set(z, room->depth, room->depth + 1);
    }

    path[0] = room->root;
    slot = 0;

    for (d = 0; /* void */ ; d++) {
        t = fanout_table(z, path[d]);
        i = __builtin_ctz(~t->full);
        slot = slot * FANOUT_TABLE_REFS + i;

        if (d + 1 == room->depth) {
            break;
        }

        if (t->refs[i] == 0) {
            fanout_set(z, t->refs[i], table_make(z, room, 0, 0));
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
fanout_slot_give(fanout_zone_t *z, fanout_ref_t ref, uint32_t slot)
{
    unsigned              d, i, tables;
    uint32_t              left;
    fanout_ref_t          path[FANOUT_DEPTH], gone;
    fanout_table_t       *t;
    fanout_room_block_t  *room;

    room = fanout_room(z, ref);
    path[0] = room->root;
    left = slot;

    for (d = 0; d + 1 < room->depth; d++) {
        i = left / power14(room->depth - d - 1);
        left %= power14(room->depth - d - 1);
        path[d + 1] = fanout_table(z, path[d])->refs[i];
    }

    /* upwards: an empty table goes, nothing is full any more */

    gone = 1;
    tables = 0;

    for (d = room->depth; d; d--) {
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
            fanout_free(z, path[d - 1], path[d - 1], 1, FANOUT_ROOMS);
            tables++;
        }
    }

    if (tables) {
        fanout_part_add(z, FANOUT_SHARE_members,
                        room->class, -(int32_t) tables);
    }

    if (gone) {
        fanout_set(z, room->root, 0);
        fanout_set(z, room->depth, 0);
    }
}


/* The first member at or above a slot, which becomes its own; 0. */

fanout_ref_t
fanout_slot_next(fanout_zone_t *z, const fanout_room_block_t *room,
    uint32_t *slot)
{
    unsigned         d, i;
    uint32_t         base, span;
    fanout_ref_t     ref;
    fanout_table_t  *t;

    base = *slot;

again:

    if (room->root == 0 || base >= power14(room->depth)) {
        return 0;
    }

    ref = room->root;

    for (d = room->depth; d; d--) {
        t = fanout_table(z, ref);
        span = power14(d - 1);
        i = base / span % FANOUT_TABLE_REFS;

        if (t->refs[i] == 0) {

            /* on to the next that is there, or up */

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
