
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Commands that are refused for a rate: how they are counted, logged and
 * answered.
 */


#include "session/session.h"
#include "http/http.h"


void
fanout_meter_refused(fanout_hub_t *hub, fanout_limited_t *limited)
{
    static const uint8_t  by_resource[] = {
        FANOUT_N_limited_commands,
        FANOUT_N_limited_bytes,
        FANOUT_N_limited_channels,
        FANOUT_N_limited_answers,
        FANOUT_N_limited_sessions,
        FANOUT_N_limited_publishes,
        FANOUT_N_limited_keys
    };
    static const uint8_t  by_scope[] = {
        FANOUT_N_limited_session,
        FANOUT_N_limited_user,
        FANOUT_N_limited_address
    };

    fanout_count(hub, rate_limited);
    hub->counters[by_resource[limited->resource]]++;
    hub->counters[by_scope[limited->scope]]++;
}


ngx_uint_t
fanout_meter_dry_run(fanout_loc_conf_t *conf, ngx_connection_t *c,
    fanout_limited_t *limited)
{
    const char    *text;
    fanout_hub_t  *hub;

    if (!conf->limit_dry_run) {
        return 0;
    }

    hub = conf->app->hub;
    text = fanout_meter_text(limited);
    fanout_count(hub, limited_dry_run);

    if (fanout_session_log_gather_error(NGX_LOG_NOTICE, &c->addr_text, text)) {
        ngx_log_error(NGX_LOG_NOTICE, c->log, 0,
                      "fanout would refuse, dry run: %s", text);
    }

    return 1;
}


/* Hints at the most common mistake: a proxy is taken for a client, and all its
 * clients share a budget. */

void
fanout_meter_refuse(fanout_session_t *s, fanout_limited_t *limited)
{
    const char  *text;

    fanout_meter_refused(s->hub, limited);

    if (limited->scope != FANOUT_SCOPE_ADDRESS) {
        return;
    }

    text = fanout_meter_text(limited);

    if (fanout_session_log_gather_error(NGX_LOG_WARN,
                                        &s->connection->addr_text, text))
    {
        ngx_log_error(NGX_LOG_WARN, s->connection->log, 0,
                      "fanout refused a command: %s%s", text,
                      s->meter.forwarded ? FANOUT_PROXY_HINT : "");
    }
}


void
fanout_meter_full(fanout_session_t *s)
{
    if (fanout_session_log_gather_error(NGX_LOG_WARN,
                                        &s->connection->addr_text,
                                        "fanout_zone address="))
    {
        ngx_log_error(NGX_LOG_WARN, s->connection->log, 0,
                      "the clients of this address hold all they may of zone "
                      "\"%V\": fanout_zone address=%s",
                      &s->conf->app->name,
                      s->meter.forwarded ? FANOUT_PROXY_HINT : "");
    }
}


const char *
fanout_meter_text(fanout_limited_t *limited)
{
    static const char *const  text[FANOUT_SCOPES]
                                  [FANOUT_LIMITED] = {
        { "too many commands: fanout_rate",
          "too many bytes of a session: fanout_budget session bytes=",
          "too many new channels of a session: fanout_budget session "
          "channels=",
          "too many bytes of answers to a session: fanout_budget session "
          "answers=",
          "", "", "" },
        { "too many commands of a user: fanout_budget user commands=",
          "too many bytes of a user: fanout_budget user bytes=",
          "too many new channels of a user: fanout_budget user channels=",
          "too many bytes of answers to a user: fanout_budget user answers=",
          "too many new sessions of a user: fanout_budget user sessions=",
          "too many publishes of a user wait for the backend: fanout_hook "
          "queue=",
          "a user holds all the idempotence keys it may: fanout_zone user=" },
        { "too many commands of an address: fanout_budget address commands=",
          "too many bytes of an address: fanout_budget address bytes=",
          "too many new channels of an address: fanout_budget address "
          "channels=",
          "too many bytes of answers to an address: fanout_budget address "
          "answers=",
          "too many new sessions of an address: fanout_budget address "
          "sessions=",
          "too many publishes of an address wait for the backend: fanout_hook "
          "queue=",
          "the clients of an address hold all the idempotence keys they may: "
          "fanout_zone address=" }
    };

    return text[limited->scope][limited->resource];
}


size_t
fanout_meter_data(fanout_limited_t *limited, u_char *buf)
{
    static const char *const  scope[] = { "session", "user", "address" };
    static const char *const  resource[] = {
        "commands", "bytes", "channels", "answers", "sessions",
        "publishes", "keys"
    };

    return ngx_sprintf(buf, "{\"retry_after\":%ui,\"limit\":\"%s\","
                       "\"of\":\"%s\"}", limited->wait,
                       resource[limited->resource], scope[limited->scope])
           - buf;
}


void
fanout_meter_refusal_sent(fanout_session_t *s, size_t bytes)
{
    int64_t          left;
    uint32_t         now;
    fanout_meter_t  *m;

    m = &s->meter;
    now = (uint32_t) ngx_current_msec;

    left = m->refusals
           + (int64_t) (now - m->refused_at) * FANOUT_REFUSALS_MS
           + (int64_t) m->received * FANOUT_REFUSALS_FOR / 2;

    left = ngx_min(left, FANOUT_REFUSALS_MAX) - (int64_t) bytes;

    m->refused_at = now;
    m->received = 0;
    m->refusals = ngx_max(left, -FANOUT_REFUSALS_MAX);
}
