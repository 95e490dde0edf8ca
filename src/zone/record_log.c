
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Changes of records in the log, and their keys.
 */


#include "zone/lock_block.h"
#include "zone/pressure.h"
#include "zone/record_log.h"
#include "zone/share.h"



void
fanout_record_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts, uint32_t n)
{
    if (opts && opts->key.len) {
        fanout_key_room(z, c, opts);
    }

    fanout_share_room(z, FANOUT_SHARE_records, n);
}


/* In a key, the version is in the place of the time. */

int
fanout_record_key(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, const fanout_zone_publish_t *opts,
    fanout_zone_set_result_t *r)
{
    int       rc;
    uint64_t  hash[2];

    r->log.duplicate = 0;

    if (opts == NULL || opts->key.len == 0) {
        return FANOUT_ZONE_OK;
    }

    rc = fanout_key_claim(z, c, channel, opts, hash, &r->log);

    if (rc == FANOUT_ZONE_OK && r->log.duplicate) {
        r->version = r->log.time;
        r->partial = r->log.delivered;
        r->log.delivered = 0;
    }

    return rc;
}


void
fanout_record_keep_key(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_publish_t *opts, const fanout_zone_set_result_t *r)
{
    uint64_t              hash[2];
    fanout_zone_result_t  result;

    if (opts == NULL || opts->key.len == 0) {
        return;
    }

    fanout_key_hash(z, fanout_channel(z, channel), opts, hash);

    result = r->log;
    result.time = r->version;
    result.delivered = r->partial;

    fanout_key_add(z, channel, hash, opts, &result);
}


int
fanout_record_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_plan_t *plan)
{
    int  rc;

    rc = fanout_shelf_claim(z, c, plan->channel,
                            plan->set->opts ? plan->set->opts->address : 0,
                            plan->blocks);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    return fanout_shelf_own(z, c, plan->channel, plan->holder, plan->own);
}


int
fanout_record_ensure(fanout_zone_t *z, const fanout_zone_channel_t *c,
    uint32_t n)
{
    int       rc;
    uint32_t  account;

    account = fanout_shelf_account_of(z, c, fanout_channel_find(z, c));

    /* the channel, an index block of the history, a key */
    n += fanout_channel_blocks(c->name.len) + 2;

    if (fanout_history_fits(z, account, n)) {
        return FANOUT_ZONE_OK;
    }

    rc = fanout_ensure_history(z, account, n);

    return rc == FANOUT_ZONE_OK ? FANOUT_ZONE_AGAIN : rc;
}


void
fanout_record_append(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, fanout_draft_t *d,
    fanout_zone_set_result_t *r)
{
    if (fanout_channel(z, channel)->interests == 0) {
        fanout_channel_touch(z, channel, fanout_seconds(z));
        (void) fanout_unread_trim(z, channel);
    }

    if (d) {
        fanout_draft_append(z, channel, d, m, FANOUT_RECORD);

    } else {
        fanout_log_append(z, channel, m, FANOUT_RECORD);
    }

    fanout_history_limit(z, channel);
    fanout_record_position(z, channel, &r->log);
}


void
fanout_record_position(fanout_zone_t *z, fanout_ref_t channel,
    fanout_zone_result_t *r)
{
    fanout_channel_block_t  *ch;

    if (channel == 0) {
        r->epoch = fanout_absent(z);
        r->offset = 0;
        r->subscribers = 0;
        return;
    }

    ch = fanout_channel(z, channel);

    r->epoch = ch->epoch;
    r->offset = ch->offset;
    r->subscribers = ch->subscribers;
}
