
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "hub/hub.h"


fanout_error_t  fanout_errors[] = {
    { ngx_string(""), 200, ngx_string("") },
    { ngx_string("bad_request"), 400, ngx_string("the request is malformed") },
    { ngx_string("unknown_op"), 400, ngx_string("there is no such op") },
    { ngx_string("too_large"), 413, ngx_string("a limit is exceeded") },
    { ngx_string("too_many"), 400, ngx_string("a limit is exceeded") },
    { ngx_string("forbidden"), 403, ngx_string("not permitted") },
    { ngx_string("not_joined"), 409, ngx_string("the channel is not joined") },
    { ngx_string("not_found"), 404, ngx_string("there is no such channel") },
    { ngx_string("conflict"), 409, ngx_string("the condition does not hold") },
    { ngx_string("rate_limited"), 429, ngx_string("too many commands") },
    { ngx_string("zone_full"), 507, ngx_string("the zone is full") },
    { ngx_string("internal"), 500, ngx_string("internal error") },
    { ngx_string("channel_full"), 409,
      ngx_string("the channel has all members it may have") },
    { ngx_string("recipient_offline"), 404,
      ngx_string("no recipient is online") },
    { ngx_string("refused"), 403,
      ngx_string("the backend did not let it through") },
    { ngx_string("hook_failed"), 502,
      ngx_string("the backend gave no valid answer") },
    { ngx_string("busy"), 503,
      ngx_string("the worker holds all the output it may: try again later") },
    { ngx_string("locked"), 409, ngx_string("somebody else holds the lock") },
    { ngx_string("not_holder"), 409,
      ngx_string("the lock is not held, or by somebody else") },
    { ngx_string("unauthorized"), 401, ngx_string("a valid token is needed") },
    { ngx_string("unavailable"), 503,
      ngx_string("what decides gives no answer: try again later") },
    { ngx_string("too_many"), 429,
      ngx_string("the clients of this address hold all that they may: "
                 "\"fanout_zone address=\"") },

    /* without quotes: these texts go into JSON unescaped */

#define FANOUT_SHARE(name, text)                                              \
    { ngx_string("zone_full"), 507,                                           \
      ngx_string("the share of the zone for " #name " is full: "              \
                 "fanout_zone " #name "=") },
    FANOUT_SHARES(FANOUT_SHARE)
#undef FANOUT_SHARE

    { ngx_string("zone_full"), 507,
      ngx_string("larger than the share of these channels in the zone: "
                 "fanout_channel share=") }
};


fanout_error_e
fanout_hub_full(fanout_hub_t *hub)
{
    ngx_str_t      *text;
    fanout_error_e  error;

    error = hub->zone.full == FANOUT_FULL_ZONE
            ? FANOUT_E_ZONE_FULL
            : hub->zone.full == FANOUT_FULL_ACCOUNT
            ? FANOUT_E_FULL_ACCOUNT
            : FANOUT_E_FULL_channels + hub->zone.full;
    text = &fanout_errors[error].text;

    fanout_count(hub, zone_full);

    if (hub->sink.logs(hub, (char *) text->data)) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "fanout refused an operation on zone \"%V\": %V",
                      &hub->app->name, text);
    }

    return error;
}


fanout_error_e
fanout_error_of(fanout_hub_t *hub, int rc)
{
    switch (rc) {

    case FANOUT_ZONE_OK:
        return FANOUT_E_NONE;

    case FANOUT_ZONE_FULL:
        return fanout_hub_full(hub);

    case FANOUT_ZONE_NOTFOUND:
        return FANOUT_E_NOT_FOUND;

    case FANOUT_ZONE_CONFLICT:
        return FANOUT_E_CONFLICT;

    case FANOUT_ZONE_LOCKED:
        return FANOUT_E_LOCKED;

    case FANOUT_ZONE_NOTHOLDER:
        return FANOUT_E_NOT_HOLDER;

    case FANOUT_ZONE_LARGE:
        return FANOUT_E_TOO_LARGE;

    case FANOUT_ZONE_MANY:
        return FANOUT_E_TOO_MANY;

    case FANOUT_ZONE_HELD:
        return FANOUT_E_RATE_LIMITED;

    case FANOUT_ZONE_ADDRESS:
        fanout_count(hub, address_held);
        return FANOUT_E_ADDRESS_FULL;

    default:
        return FANOUT_E_INTERNAL;
    }
}
