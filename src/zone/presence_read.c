
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Reads the members of a channel.
 */


#include "zone/log.h"
#include "zone/member.h"
#include "zone/presence.h"


static void presence_describe(const fanout_presence_block_t *presence,
    fanout_presence_info_t *info);
static unsigned presence_read_section(fanout_zone_t *z,
    fanout_presence_block_t *presence, uint32_t *slot,
    fanout_member_t *members, unsigned max, uint8_t *buf, size_t size);


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
