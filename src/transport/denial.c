
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Whether denials concern a request: its user, its client, its address and its
 * token.
 */


#include "session/denial.h"
#include "session/meter.h"
#include "session/resume_token.h"
#include "transport/bearer.h"
#include "transport/transport.h"


static const char  *blocked[FANOUT_DENY_ADDRESS + 1] = {
    "the user is blocked",
    "the client is blocked",
    "the address is blocked"
};

/* the last refusal, which is answered before there is another */

static ngx_uint_t  blocked_for;                 /* ms */


const char *
fanout_denied(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_str_t *user,
    ngx_uint_t *status)
{
    fanout_denial_t    d;
    fanout_subject_t   who;
    fanout_identity_t  id;

    if (fanout_subject(r, conf, user, &who) != NGX_OK) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    if (conf->resume && fanout_token_read(r, &id)) {
        who.client = id.client;
    }

    if (!fanout_denial_check(&conf->app->hub->zone, &who, &d)) {
        return NULL;
    }

    fanout_count(conf->app->hub, denied_handshakes);
    /* its token was verified first */
    fanout_meter_wrong(r, conf, 0);

    if (d.kind == FANOUT_DENY_TOKEN || d.kind == FANOUT_DENY_ISSUED) {
        *status = NGX_HTTP_UNAUTHORIZED;
        return "the token was revoked";
    }

    *status = NGX_HTTP_FORBIDDEN;
    blocked_for = d.left * 1000;

    return blocked[d.kind];
}


ngx_uint_t
fanout_denied_for(const char *why)
{
    ngx_uint_t  i;

    for (i = 0; i <= FANOUT_DENY_ADDRESS; i++) {
        if (why == blocked[i]) {
            return blocked_for;
        }
    }

    return 0;
}


ngx_int_t
fanout_subject(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, fanout_subject_t *who)
{
    ngx_int_t              ago;
    ngx_time_t            *now;
    fanout_hub_t          *hub;
    fanout_meter_t         m;
    fanout_zone_budget_t   b[FANOUT_SCOPES];

    hub = conf->app->hub;

    /* what was decided about it is as old as the request */

    now = ngx_timeofday();
    ago = (now->sec - r->main->start_sec) * 1000
          + (ngx_int_t) now->msec - (ngx_int_t) r->main->start_msec;

    ngx_memzero(who, sizeof(fanout_subject_t));
    who->change = fanout_denials_before(hub, ngx_max(ago, 0));

    (void) fanout_meter_budget(r, conf, &m, b);
    who->address = m.address;

    if (user->len) {
        who->user = fanout_zone_hash(&hub->zone, user->data, user->len);
    }

    return fanout_bearer_subject(r, conf, who);
}
