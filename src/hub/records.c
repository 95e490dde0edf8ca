
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on records.
 */


#include "hub/records.h"


/* cost of a section that deletes all it may: 100 us */
#define RECORDS_CLEAR  50000

/* of an entry that is looked at */
#define RECORDS_LOOK   64


static void records_blank(void);


/* what was read last */

static u_char            bytes[2 * FANOUT_ZONE_RECORD_SIZE];
static fanout_records_t  records;


static void
records_blank(void)
{
    ngx_memzero(&records, sizeof(fanout_records_t));

    records.bytes = bytes;
    records.size = sizeof(bytes);
}


ngx_uint_t
fanout_records_served(fanout_hub_t *hub, ngx_str_t *channel)
{
    return fanout_policy(hub->app, channel)->keep.records != 0;
}


fanout_error_e
fanout_records_set(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_set_t *set, fanout_zone_set_result_t *r,
    fanout_records_t **conflicts)
{
    int                    rc;
    unsigned               i;
    fanout_zone_channel_t  zc;

    fanout_hub_view(hub, channel, &zc);

    fanout_spend(hub, FANOUT_WORK_MESSAGE);

    for (i = 0; i < set->n; i++) {
        fanout_spend(hub, FANOUT_WORK_ENTRY + set->changes[i].value.len / 4);
    }

    records_blank();
    *conflicts = &records;
    records.unnamed = 0;

    rc = fanout_record_set(&hub->zone, &zc, set, &records, r);

    fanout_hub_kick(hub);

    return fanout_error_of(hub, rc);
}


fanout_error_e
fanout_records_delete(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_set_t *set, fanout_zone_set_result_t *r)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    fanout_hub_view(hub, channel, &zc);
    fanout_spend(hub, FANOUT_WORK_MESSAGE);

    rc = fanout_record_delete(&hub->zone, &zc, set, r);

    fanout_hub_kick(hub);

    return fanout_error_of(hub, rc);
}


void
fanout_records_limit(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_error_e error, const fanout_zone_set_result_t *r,
    fanout_records_limit_t *limit)
{
    fanout_zone_policy_t  *policy;

    policy = &fanout_policy(hub->app, channel)->keep;

    if (error == FANOUT_E_TOO_LARGE) {
        limit->name = "record";
        limit->directive = "fanout_channel record=";
        limit->max = policy->record ? policy->record : FANOUT_ZONE_RECORD;

    } else if (r->limit == FANOUT_SET_FIELDS) {
        limit->name = "fields";
        limit->directive = "fanout_channel fields=";
        limit->max = policy->fields ? policy->fields : FANOUT_ZONE_FIELDS;

    } else {
        limit->name = "records";
        limit->directive = "fanout_channel records_max=";
        limit->max = policy->records_max;
    }
}


fanout_error_e
fanout_records_get(fanout_hub_t *hub, ngx_str_t *channel, fanout_zstr_t *id,
    fanout_records_t **to)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    fanout_hub_view(hub, channel, &zc);

    records_blank();
    *to = &records;

    rc = fanout_record_get(&hub->zone, &zc, id, &records);

    fanout_spend(hub, FANOUT_WORK_SECTION + records.used);

    return fanout_error_of(hub, rc);
}


void
fanout_records_list(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zstr_t *prefix, uint64_t *cursor, uint64_t last, ngx_uint_t max,
    fanout_records_t **to)
{
    fanout_zone_channel_t  zc;

    fanout_hub_view(hub, channel, &zc);

    records_blank();
    *to = &records;

    (void) fanout_record_list(&hub->zone, &zc, prefix, cursor, last, max,
                              &records);

    fanout_spend(hub, FANOUT_WORK_SECTION + records.used
                      + records.seen * FANOUT_WORK_ENTRY);
}


void
fanout_records_digest(fanout_hub_t *hub, ngx_str_t *channel, uint64_t first,
    uint64_t last, fanout_records_t **to)
{
    fanout_zone_channel_t  zc;

    fanout_hub_view(hub, channel, &zc);

    records_blank();
    *to = &records;

    fanout_record_digest(&hub->zone, &zc, first, last, &records);

    fanout_spend(hub, FANOUT_WORK_SECTION);
}


int
fanout_records_history(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zstr_t *id, uint64_t epoch, uint64_t *before, ngx_uint_t max,
    ngx_uint_t *left)
{
    int                     rc;
    uint32_t                seen;
    fanout_arena_t         *a;
    fanout_zone_channel_t   zc;

    a = &hub->pages;
    a->n = 0;
    a->used = 0;

    fanout_hub_view(hub, channel, &zc);

    rc = fanout_record_history(&hub->zone, &zc, id, epoch, before, max, a,
                               &seen);

    fanout_spend(hub, FANOUT_WORK_SECTION + a->used
                      + a->n * FANOUT_WORK_ENTRY + seen * RECORDS_LOOK);

    *left -= ngx_min(*left, seen);

    return rc;
}


int
fanout_records_clear(fanout_hub_t *hub, ngx_str_t *channel)
{
    fanout_zone_channel_t  zc;

    fanout_hub_view(hub, channel, &zc);

    fanout_spend(hub, RECORDS_CLEAR);

    return fanout_record_clear(&hub->zone, &zc);
}
