
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The slots of a presence set: a member gets the smallest free one.
 */


#include "zone/presence.h"
#include "zone/share.h"


static fanout_tree_t members_of(fanout_presence_block_t *presence);


static fanout_tree_t
members_of(fanout_presence_block_t *presence)
{
    fanout_tree_t  t;

    t.root = &presence->root;
    t.depth = &presence->depth;
    t.kind = FANOUT_PRESENCE_SET;

    return t;
}


uint32_t
fanout_slot_take(fanout_zone_t *z, fanout_ref_t ref, fanout_ref_t member)
{
    uint32_t                  slot;
    unsigned                  made;
    fanout_tree_t             tree;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);
    tree = members_of(presence);

    slot = fanout_tree_take(z, &tree, member, &made);

    if (made) {
        fanout_part_add(z, FANOUT_SHARE_members, presence->account, made);
    }

    return slot;
}


void
fanout_slot_return(fanout_zone_t *z, fanout_ref_t ref, uint32_t slot)
{
    int32_t                   freed;
    fanout_tree_t             tree;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);
    tree = members_of(presence);

    freed = fanout_tree_return(z, &tree, slot);

    if (freed) {
        fanout_part_add(z, FANOUT_SHARE_members, presence->account, -freed);
    }
}


fanout_ref_t
fanout_slot_next(fanout_zone_t *z, const fanout_presence_block_t *presence,
    uint32_t *slot)
{
    return fanout_tree_next(z, presence->root, presence->depth, slot, NULL);
}
