
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence sets: their life, their policy, and reading their members.
 */


#include "zone/log.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/share.h"


static void presence_describe(const fanout_presence_block_t *presence,
    fanout_presence_info_t *info);
static unsigned presence_read_section(fanout_zone_t *z,
    fanout_presence_block_t *presence, uint32_t *slot,
    fanout_member_t *members, unsigned max, uint8_t *buf, size_t size);


/* life */

fanout_ref_t
fanout_presence_of(fanout_zone_t *z, fanout_ref_t channel)
{
    return fanout_name(z, fanout_channel(z, channel))->presence;
}


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
    presence->class = fanout_channel(z, channel)->class;
    presence->due = fanout_msec(z);

    fanout_part_add(z, FANOUT_SHARE_members,
                    presence->class, FANOUT_PRESENCE_BLOCKS);
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
                    presence->class, -FANOUT_PRESENCE_BLOCKS);
    fanout_free(z, ref, ref, FANOUT_PRESENCE_BLOCKS, FANOUT_PRESENCE_SET);

    fanout_channel_free_unused(z, channel);
}


/* reading */

int
fanout_presence_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t *slot, fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size, unsigned *n, fanout_presence_info_t *info)
{
    int                      rc;
    fanout_ref_t             channel, ref;
    fanout_channel_block_t  *ch;

    *n = 0;
    memset(info, 0, sizeof(fanout_presence_info_t));

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    rc = FANOUT_ZONE_NOTFOUND;

    if (channel) {
        rc = FANOUT_ZONE_OK;
        ch = fanout_channel(z, channel);
        info->epoch = ch->epoch;
        info->offset = ch->offset;
        ref = fanout_presence_of(z, channel);

        if (ref) {
            presence_describe(fanout_presence(z, ref), info);
            *n = presence_read_section(z, fanout_presence(z, ref), slot,
                                       members, max, buf, size);

        } else {
            *slot = UINT32_MAX;
        }
    }

    fanout_leave(z);

    return rc;
}


static void
presence_describe(const fanout_presence_block_t *presence,
    fanout_presence_info_t *info)
{
    info->members = presence->members;
    info->seats = presence->seats;
    info->presence = presence->mode;
}


static unsigned
presence_read_section(fanout_zone_t *z, fanout_presence_block_t *presence,
    uint32_t *slot, fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size)
{
    size_t                  used;
    unsigned                n, looked;
    fanout_ref_t            ref;
    fanout_member_block_t  *m;

    n = 0;
    used = 0;

    for (looked = 0; /* void */ ; looked++) {
        ref = fanout_slot_next(z, presence, slot);

        if (ref == 0) {
            *slot = UINT32_MAX;
            return n;
        }

        m = fanout_member(z, ref);

        if (looked == 4 * FANOUT_ZONE_ENTRIES) {
            return n;
        }

        if (m->pending != FANOUT_PENDING_JOIN) {

            if (n == max || n == FANOUT_ZONE_ENTRIES
                || size - used < FANOUT_ZONE_MEMBER_BUF
                || used > FANOUT_ZONE_COPY)
            {
                return n;
            }

            used += fanout_member_copy(z, ref, &members[n++], buf + used);
        }

        (*slot)++;
    }
}
