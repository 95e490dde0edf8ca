
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Reading about channels: one of them, or all.
 */


#include "zone/log.h"


static void channel_describe(fanout_zone_t *z, fanout_ref_t ref,
    fanout_zone_info_t *info);


int
fanout_channel_info(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_info_t *info)
{
    int           rc;
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_NOTFOUND;
    ref = fanout_channel_find(z, c);

    if (ref) {
        (void) fanout_history_expire(z, ref);
        channel_describe(z, ref, info);
        rc = FANOUT_ZONE_OK;
    }

    fanout_leave(z);

    return rc;
}


static void
channel_describe(fanout_zone_t *z, fanout_ref_t ref, fanout_zone_info_t *info)
{
    fanout_ref_t             in;
    fanout_cold_t           *cold;
    fanout_index_t          *ix;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    memset(info, 0, sizeof(fanout_zone_info_t));

    info->epoch = ch->epoch;
    info->offset = ch->offset;
    info->messages = ch->history;
    info->bytes = cold->bytes;
    info->blocks = cold->blocks;
    info->subscribers = ch->subscribers;
    info->account = ch->account;
    info->len = fanout_channel_name(z, ref, info->name);

    if (ch->history) {
        ix = fanout_index(z, ch->index_first);
        info->first = fanout_entry(z, ix->refs[ch->skip])->offset;
    }

    for (in = ch->interests; in; in = fanout_interest(z, in)->next) {
        info->workers++;
    }
}


/* The cursor is the next bucket.  A bucket is always listed whole; if it alone
 * has more than max channels, the rest of them is left out. */

int
fanout_channel_list(fanout_zone_t *z, uint64_t *cursor,
    fanout_zone_info_t *infos, unsigned max)
{
    unsigned      n, before, looked;
    uint64_t      i;
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    n = 0;
    i = *cursor;

    for (looked = 0; i <= z->shm->channel_mask && looked < 4096; looked++) {
        before = n;
        ref = fanout_hash_table(z, channel_hash)[i];

        for ( /* void */ ; ref; ref = fanout_channel(z, ref)->hash_next) {
            if (n == max) {
                break;
            }

            channel_describe(z, ref, &infos[n++]);
        }

        if (ref && before) {
            n = before;
            break;
        }

        i++;

        if (n == max) {
            break;
        }
    }

    *cursor = i > z->shm->channel_mask ? 0 : i;

    fanout_leave(z);

    return n;
}
