
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on channels.
 */


#include "hub/hub.h"
#include "hub/policy.h"


static fanout_error_e operation_error(fanout_hub_t *hub, int rc);


fanout_error_e
fanout_hub_publish(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_message_t *m, ngx_uint_t n, fanout_zone_publish_t *opts,
    fanout_zone_result_t *r)
{
    int                    rc;
    ngx_uint_t             i, tries;
    fanout_zone_channel_t  zc;

    ngx_memzero(r, sizeof(fanout_zone_result_t));

    fanout_hub_view(hub, channel, &zc);

    for (i = 0; i < n; i++) {
        fanout_spend(hub, FANOUT_WORK_MESSAGE
                          + m[i].data.len / 4);
    }

    rc = FANOUT_ZONE_STALE;

    for (tries = 0; tries < 3; tries++) {
        rc = fanout_log_publish(&hub->zone, &zc, m, n, opts, r);

        if (rc != FANOUT_ZONE_STALE) {
            break;
        }

        zc.ref = 0;
    }

    fanout_hub_kick(hub);

    return operation_error(hub, rc);
}


fanout_error_e
fanout_hub_key(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_publish_t *opts, fanout_zone_result_t *r)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    ngx_memzero(r, sizeof(fanout_zone_result_t));

    if (opts->key.len == 0) {
        return FANOUT_E_NONE;
    }

    fanout_hub_view(hub, channel, &zc);
    fanout_spend(hub, FANOUT_WORK_MESSAGE);

    rc = fanout_log_key(&hub->zone, &zc, opts, r);

    fanout_hub_kick(hub);

    return operation_error(hub, rc);
}


fanout_error_e
fanout_hub_signal(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_message_t *m)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    fanout_hub_view(hub, channel, &zc);

    rc = fanout_signal_put(&hub->zone, &zc, m);

    fanout_hub_kick(hub);

    if (rc == FANOUT_ZONE_OK) {
        fanout_count(hub, signals);
    }

    return operation_error(hub, rc);
}


/* For a direct message or signal, NOTFOUND means its recipient. */

static fanout_error_e
operation_error(fanout_hub_t *hub, int rc)
{
    if (rc == FANOUT_ZONE_NOTFOUND) {
        fanout_count(hub, direct_offline);
        return FANOUT_E_RECIPIENT_OFFLINE;
    }

    return fanout_error_of(hub, rc);
}
