
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Expires what is due now.  The workers do that by themselves, a moment later.
 *
 *   cleanup  {"records","messages","locks","more"?}
 */


#include "api/api.h"


/* sweeps of a request: some ms */
#define CLEANUP_SWEEPS  16


fanout_error_e
fanout_api_cleanup_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    int                 rc;
    ngx_uint_t          i;
    fanout_zone_t      *z;
    fanout_zone_stat_t  before, after;

    z = &api->hub->zone;

    fanout_zone_stat(z, &before);

    rc = FANOUT_ZONE_AGAIN;

    for (i = 0; i < CLEANUP_SWEEPS && rc == FANOUT_ZONE_AGAIN; i++) {
        rc = fanout_zone_sweep(z);
    }

    fanout_zone_stat(z, &after);
    fanout_hub_kick(api->hub);

    return fanout_api_done(
               fanout_outbuf_printf(api->hub, api->out, 128,
                                    "{\"records\":%uL,\"messages\":%uL,"
                                    "\"locks\":%uL%s}",
                                    after.record_expired
                                    - before.record_expired,
                                    after.expired - before.expired,
                                    after.locks_expired
                                    - before.locks_expired,
                                    rc == FANOUT_ZONE_AGAIN
                                    ? ",\"more\":true" : ""));
}
