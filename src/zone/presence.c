
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence sets: their life and their policy.
 */


#include "zone/log.h"
#include "zone/presence.h"
#include "zone/share.h"


fanout_ref_t
fanout_presence_make(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_policy_t *policy)
{
    fanout_ref_t              ref;
    fanout_name_t            *name;
    fanout_presence_block_t  *presence;

    name = fanout_name(z, fanout_channel(z, channel));

    if (name->presence) {
        return name->presence;
    }

    ref = fanout_alloc(z, FANOUT_PRESENCE_BLOCKS, FANOUT_PRESENCE_SET, NULL);
    presence = fanout_presence(z, ref);

    memset((uint8_t *) presence + 4, 0, sizeof(fanout_presence_block_t) - 4);
    fanout_set(z, presence->nsignals, 0);
    fanout_set(z, presence->seen, 0);

    presence->channel = channel;
    presence->account = fanout_channel(z, channel)->account;
    presence->due = fanout_msec(z);

    fanout_part_add(z, FANOUT_SHARE_members,
                    presence->account, FANOUT_PRESENCE_BLOCKS);
    fanout_set(z, name->presence, ref);

    if (policy) {
        fanout_presence_policy(z, ref, policy);

        if (name->generation != z->generation) {
            /* this part of the policy differs from the rest: the newer policy
             * is due */
            fanout_set(z, name->generation, z->generation);
        }
    }

    fanout_channel_free_unused(z, channel);

    return ref;
}


void
fanout_presence_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy)
{
    uint8_t                   flags;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);

    if (presence->linger != policy->linger) {
        fanout_set(z, presence->linger, policy->linger);
    }

    if (presence->batch != policy->batch) {
        fanout_set(z, presence->batch, policy->batch);
    }

    if (presence->seen != policy->seen) {
        fanout_set(z, presence->seen, policy->seen);
    }

    if (presence->max != policy->members) {
        fanout_set(z, presence->max, policy->members);
    }

    flags = (presence->flags & (FANOUT_PRESENCE_COUNT|FANOUT_PRESENCE_LISTED))
            | (policy->hooks ? FANOUT_PRESENCE_HOOKS : 0)
            | policy->presence * FANOUT_PRESENCE_WANTED;

    if (presence->flags != flags) {
        fanout_set(z, presence->flags, flags);
    }

    fanout_presence_mode(z, ref);
}


/* The members that joined before a mode was set are not known in that mode: the
 * mode changes only when the set is empty. */

void
fanout_presence_mode(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);

    if (presence->mode != fanout_presence_wanted(presence)
        && presence->members == 0 && presence->root == 0)
    {
        fanout_set(z, presence->mode, fanout_presence_wanted(presence));
    }
}


/* Frees a presence set that holds nothing. */

void
fanout_presence_settle(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_ref_t              channel;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);

    if (presence->seats || presence->root || presence->nsignals
        || (presence->flags & FANOUT_PRESENCE_LISTED))
    {
        return;
    }

    channel = presence->channel;

    fanout_set(z, fanout_name(z, fanout_channel(z, channel))->presence, 0);
    fanout_part_add(z, FANOUT_SHARE_members,
                    presence->account, -FANOUT_PRESENCE_BLOCKS);
    fanout_free(z, ref, ref, FANOUT_PRESENCE_BLOCKS, FANOUT_PRESENCE_SET);

    fanout_channel_free_unused(z, channel);
}
