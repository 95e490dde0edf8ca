
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a channel may take for its shelf.
 */


#include "zone/share.h"
#include "zone/shelf.h"


uint32_t
fanout_shelf_account_of(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel)
{
    if (channel) {
        return fanout_channel(z, channel)->account;
    }

    return c->policy ? c->policy->account : 0;
}


int
fanout_shelf_own(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, unsigned holder, int32_t n)
{
    return n <= 0
           || fanout_holder_take(z, FANOUT_SHARE_records,
                                 fanout_shelf_account_of(z, c, channel),
                                 holder, n)
              == FANOUT_ZONE_OK
           ? FANOUT_ZONE_OK : FANOUT_ZONE_ADDRESS;
}


int
fanout_shelf_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, uint64_t address, uint32_t n)
{
    int       rc;
    uint32_t  account, blocks;

    account = fanout_shelf_account_of(z, c, channel);
    blocks = fanout_channel_blocks(c->name.len);

    if (channel
        && fanout_cold(z, fanout_channel(z, channel))->wheel & FANOUT_IN_USE)
    {
        blocks = 0;
    }

    if (blocks) {
        if (fanout_holder_claim(z, FANOUT_SHARE_channels, account,
                                fanout_holder(z, address), blocks)
            != FANOUT_ZONE_OK)
        {
            return FANOUT_ZONE_ADDRESS;
        }

        rc = fanout_share_claim(z, FANOUT_SHARE_channels, account, blocks);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }
    }

    return fanout_share_claim(z, FANOUT_SHARE_records, account, n);
}
