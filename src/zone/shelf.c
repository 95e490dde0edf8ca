
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Shelves: the part of a channel for its records and locks.
 */


#include "zone/share.h"
#include "zone/shelf.h"


fanout_ref_t
fanout_shelf_make(fanout_zone_t *z, fanout_ref_t channel)
{
    fanout_ref_t             ref;
    fanout_shelf_t          *shelf;
    fanout_channel_block_t  *ch;

    ref = fanout_shelf_of(z, channel);

    if (ref) {
        return ref;
    }

    ch = fanout_channel(z, channel);

    ref = fanout_alloc(z, 1, FANOUT_RECORDS, NULL);
    shelf = fanout_shelf(z, ref);

    memset((uint8_t *) shelf + 4, 0, sizeof(fanout_shelf_t) - 4);

    shelf->channel = channel;
    shelf->account = ch->account;
    shelf->floor = z->shm->records_floor;

    fanout_set(z, fanout_name(z, ch)->shelf, ref);
    fanout_shelf_add(z, ref, 1);

    return ref;
}


/* The versions go on where they were, in whatever shelf. */

void
fanout_shelf_settle(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shelf_t  *shelf;

    shelf = fanout_shelf(z, ref);

    if (shelf->records || shelf->locks) {
        return;
    }

    if (shelf->floor > z->shm->records_floor) {
        fanout_set(z, z->shm->records_floor, shelf->floor);
    }

    fanout_set(z, fanout_name(z, fanout_channel(z, shelf->channel))->shelf, 0);
    fanout_part_add(z, FANOUT_SHARE_records, shelf->account, -1);
    fanout_free(z, ref, ref, 1, FANOUT_RECORDS);
}


void
fanout_shelf_add(fanout_zone_t *z, fanout_ref_t ref, int32_t n)
{
    fanout_shelf_t  *shelf;

    if (n == 0) {
        return;
    }

    shelf = fanout_shelf(z, ref);

    fanout_set(z, shelf->blocks, shelf->blocks + n);
    fanout_part_add(z, FANOUT_SHARE_records, shelf->account, n);
}


void
fanout_shelf_stamp(fanout_zone_t *z, fanout_ref_t ref, uint32_t slot,
    uint64_t offset)
{
    fanout_ref_t     leaf;
    fanout_shelf_t  *s;

    s = fanout_shelf(z, ref);
    leaf = fanout_tree_leaf(z, s->root, s->depth, slot);

    if (leaf) {
        fanout_set(z, fanout_table(z, leaf)->stamp, (uint32_t) offset);
    }
}


void
fanout_shelf_fetch(fanout_zone_t *z, fanout_ref_t ref, uint32_t slot)
{
    fanout_ref_t     leaf;
    fanout_shelf_t  *s;

    s = fanout_shelf(z, ref);
    leaf = fanout_tree_leaf(z, s->root, s->depth, slot);

    __builtin_prefetch(fanout_table(z, leaf));
}


void
fanout_shelf_account(fanout_zone_t *z, fanout_ref_t ref, uint32_t account)
{
    fanout_shelf_t  *shelf;

    shelf = fanout_shelf(z, ref);

    fanout_part_add(z, FANOUT_SHARE_records, shelf->account,
                    -(int32_t) shelf->blocks);
    fanout_part_add(z, FANOUT_SHARE_records, account, shelf->blocks);
    fanout_set(z, shelf->account, account);
}
