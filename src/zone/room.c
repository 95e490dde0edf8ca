
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Rooms: who is in a channel: their life, their policy, reading them.
 */


#include "zone/log.h"
#include "zone/member.h"
#include "zone/room.h"
#include "zone/share.h"


static void room_describe(const fanout_room_block_t *room,
    fanout_room_t *info);
static unsigned room_read_section(fanout_zone_t *z, fanout_room_block_t *room,
    uint32_t *slot, fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size);


/* life */

fanout_ref_t
fanout_room_of(fanout_zone_t *z, fanout_ref_t channel)
{
    return fanout_name(z, fanout_channel(z, channel))->room;
}


fanout_ref_t
fanout_room_make(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_policy_t *policy)
{
    fanout_ref_t          ref;
    fanout_name_t        *name;
    fanout_room_block_t  *room;

    name = fanout_name(z, fanout_channel(z, channel));

    if (name->room) {
        return name->room;
    }

    ref = fanout_alloc(z, FANOUT_ROOM_BLOCKS, FANOUT_ROOMS, NULL);
    room = fanout_room(z, ref);

    memset((uint8_t *) room + 4, 0, sizeof(fanout_room_block_t) - 4);
    fanout_set(z, room->nsignals, 0);
    fanout_set(z, room->seen, 0);

    room->channel = channel;
    room->class = fanout_channel(z, channel)->class;
    room->due = fanout_msec(z);

    fanout_part_add(z, FANOUT_SHARE_members,
                    room->class, FANOUT_ROOM_BLOCKS);
    fanout_set(z, name->room, ref);

    if (policy) {
        fanout_room_policy(z, ref, policy);

        if (name->generation != z->generation) {
            /* of another policy than the rest: a newer one is due */
            fanout_set(z, name->generation, z->generation);
        }
    }

    fanout_channel_settle(z, channel);

    return ref;
}


void
fanout_room_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy)
{
    uint8_t               flags;
    fanout_room_block_t  *room;

    room = fanout_room(z, ref);

    if (room->linger != policy->linger) {
        fanout_set(z, room->linger, policy->linger);
    }

    if (room->batch != policy->batch) {
        fanout_set(z, room->batch, policy->batch);
    }

    if (room->seen != policy->seen) {
        fanout_set(z, room->seen, policy->seen);
    }

    if (room->max != policy->members) {
        fanout_set(z, room->max, policy->members);
    }

    flags = (room->flags & (FANOUT_ROOM_COUNT|FANOUT_ROOM_LISTED))
            | (policy->hooks ? FANOUT_ROOM_HOOKS : 0)
            | policy->presence * FANOUT_ROOM_WANTED;

    if (room->flags != flags) {
        fanout_set(z, room->flags, flags);
    }

    fanout_room_mode(z, ref);
}


/* How many are there is not known of those who came before it was asked for:
 * the mode is that of the first, until all have left. */

void
fanout_room_mode(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_room_block_t  *room;

    room = fanout_room(z, ref);

    if (room->mode != fanout_room_wanted(room) && room->members == 0
        && room->root == 0)
    {
        fanout_set(z, room->mode, fanout_room_wanted(room));
    }
}


/* Frees a room that holds nothing. */

void
fanout_room_settle(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_ref_t          channel;
    fanout_room_block_t  *room;

    room = fanout_room(z, ref);

    if (room->seats || room->root || room->nsignals
        || (room->flags & FANOUT_ROOM_LISTED))
    {
        return;
    }

    channel = room->channel;

    fanout_set(z, fanout_name(z, fanout_channel(z, channel))->room, 0);
    fanout_part_add(z, FANOUT_SHARE_members,
                    room->class, -FANOUT_ROOM_BLOCKS);
    fanout_free(z, ref, ref, FANOUT_ROOM_BLOCKS, FANOUT_ROOMS);

    fanout_channel_settle(z, channel);
}


/* reading */

int
fanout_room_read(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t *slot,
    fanout_member_t *members, unsigned max, uint8_t *buf, size_t size,
    unsigned *n, fanout_room_t *info)
{
    int                      rc;
    fanout_ref_t             channel, ref;
    fanout_channel_block_t  *ch;

    *n = 0;
    memset(info, 0, sizeof(fanout_room_t));

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    rc = FANOUT_ZONE_NOTFOUND;

    if (channel) {
        rc = FANOUT_ZONE_OK;
        ch = fanout_channel(z, channel);
        info->epoch = ch->epoch;
        info->offset = ch->offset;
        ref = fanout_room_of(z, channel);

        if (ref) {
            room_describe(fanout_room(z, ref), info);
            *n = room_read_section(z, fanout_room(z, ref), slot, members, max,
                                   buf, size);

        } else {
            *slot = UINT32_MAX;
        }
    }

    fanout_leave(z);

    return rc;
}


static void
room_describe(const fanout_room_block_t *room, fanout_room_t *info)
{
    info->members = room->members;
    info->seats = room->seats;
    info->presence = room->mode;
}


static unsigned
room_read_section(fanout_zone_t *z, fanout_room_block_t *room, uint32_t *slot,
    fanout_member_t *members, unsigned max, uint8_t *buf, size_t size)
{
    size_t                  used;
    unsigned                n, looked;
    fanout_ref_t            ref;
    fanout_member_block_t  *m;

    n = 0;
    used = 0;

    for (looked = 0; /* void */ ; looked++) {
        ref = fanout_slot_next(z, room, slot);

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
