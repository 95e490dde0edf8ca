
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Whether a session may begin: what it draws on the budgets of its user and its
 * address, and how many sessions the address has.
 */


#include "session/session.h"
#include "http/headers.h"
#include "http/http.h"


/* changes the hash of a user into another one */
#define FANOUT_FOREIGN        0xc2b2ae3d27d4eb4fULL


static void meter_limited(fanout_limited_t *limited, fanout_zone_budget_t *b,
    fanout_zone_drawn_t *drawn, fanout_loc_conf_t *conf);
static fanout_error_e meter_count(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, fanout_meter_t *m);


fanout_error_e
fanout_meter_admit(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t what, fanout_meter_t *m,
    fanout_limited_t *limited)
{
    uint64_t                    amounts[FANOUT_BUDGETS];
    ngx_str_t                   value;
    ngx_uint_t                  n, check;
    fanout_hub_t               *hub;
    fanout_zone_drawn_t         drawn;
    fanout_zone_budget_t        b[FANOUT_SCOPES];
    const fanout_zone_limit_t  *limit;

    hub = conf->app->hub;
    limit = conf->limits[FANOUT_SCOPE_SESSION];

    ngx_memzero(m, sizeof(fanout_meter_t));
    ngx_memzero(limited, sizeof(fanout_limited_t));

    m->at = ngx_current_msec;
    m->refused_at = (uint32_t) ngx_current_msec;
    m->refusals = FANOUT_REFUSALS;
    m->commands = limit[FANOUT_BUDGET_COMMANDS].burst;
    m->bytes = limit[FANOUT_BUDGET_BYTES].burst / 1000;
    m->answers = limit[FANOUT_BUDGET_ANSWERS].burst / 1000;
    m->channels = ngx_min(limit[FANOUT_BUDGET_CHANNELS].burst, INT32_MAX);

    m->address = fanout_meter_address(r, hub);
    m->forwarded = fanout_header(r, "x-forwarded-for", &value) != 0;

    if (user->len) {
        m->user = fanout_zone_hash(&hub->zone, user->data, user->len);

        if (what & FANOUT_ADMIT_FOREIGN) {
            /* requests of any page have a budget of their own, so that they
             * can't use up the user's */
            m->user ^= FANOUT_FOREIGN;
            m->foreign = 1;
        }
    }

    n = fanout_meter_budgets(conf, m, b);

    if (n) {
        ngx_memzero(amounts, sizeof(amounts));
        amounts[FANOUT_BUDGET_COMMANDS] = FANOUT_COST;

        if (what & FANOUT_ADMIT_SESSION) {
            amounts[FANOUT_BUDGET_SESSIONS] = 1000;
        }

        /* commands of others are refused one by one */

        check = what & FANOUT_ADMIT_READS
                ? ~0U : ~(1U << FANOUT_BUDGET_ANSWERS);

        if (fanout_budget_draw(&hub->zone, b, n, amounts, check,
                               &drawn)
            == FANOUT_ZONE_AGAIN)
        {
            meter_limited(limited, b, &drawn, conf);

            if (!fanout_meter_dry_run(conf, r->connection, limited)) {
                fanout_meter_refused(hub, limited);
                return FANOUT_E_RATE_LIMITED;
            }

            (void) fanout_budget_draw(&hub->zone, b, n, amounts, 0, &drawn);
        }

        fanout_meter_note(m, b, &drawn, conf);
    }

    if ((what & FANOUT_ADMIT_STAYS) && m->address
        && conf->per_address)
    {
        return meter_count(r, conf, m);
    }

    return FANOUT_E_NONE;
}


ngx_uint_t
fanout_meter_prove(fanout_session_t *s, ngx_uint_t begins,
    fanout_limited_t *limited)
{
    uint64_t              amounts[FANOUT_BUDGETS], address;
    ngx_uint_t            n;
    fanout_meter_t       *m;
    fanout_zone_drawn_t   drawn;
    fanout_zone_budget_t  b[FANOUT_SCOPES];

    m = &s->meter;
    m->user = s->user.len ? fanout_zone_hash(&s->hub->zone, s->user.data,
                                             s->user.len)
                          : 0;

    /* its address was drawn on by the handshake */

    address = m->address;
    m->address = 0;
    n = fanout_meter_budgets(s->conf, m, b);
    m->address = address;

    if (n == 0) {
        return 1;
    }

    ngx_memzero(amounts, sizeof(amounts));
    amounts[FANOUT_BUDGET_COMMANDS] = FANOUT_COST;
    amounts[FANOUT_BUDGET_SESSIONS] = begins ? 1000 : 0;

    if (fanout_budget_draw(&s->hub->zone, b, n, amounts,
                           ~(1U << FANOUT_BUDGET_ANSWERS), &drawn)
        == FANOUT_ZONE_AGAIN)
    {
        meter_limited(limited, b, &drawn, s->conf);

        if (!fanout_meter_dry_run(s->conf, s->connection, limited)) {
            fanout_meter_refused(s->hub, limited);
            return 0;
        }

        (void) fanout_budget_draw(&s->hub->zone, b, n, amounts, 0, &drawn);
    }

    if (drawn.over) {
        fanout_meter_note(m, b, &drawn, s->conf);
    }

    return 1;
}


/* picks the limit with the longest wait */

static void
meter_limited(fanout_limited_t *limited, fanout_zone_budget_t *b,
    fanout_zone_drawn_t *drawn, fanout_loc_conf_t *conf)
{
    ngx_uint_t  i, k;

    for (i = 0, k = 1; k < FANOUT_BUDGETS; k++) {
        if (drawn->wait[k] > drawn->wait[i]) {
            i = k;
        }
    }

    limited->wait = drawn->wait[i];
    limited->resource = i;
    limited->scope = b[drawn->budget[i]].limits
                     == conf->limits[FANOUT_SCOPE_USER]
                     ? FANOUT_SCOPE_USER
                     : FANOUT_SCOPE_ADDRESS;
}


static fanout_error_e
meter_count(ngx_http_request_t *r, fanout_loc_conf_t *conf, fanout_meter_t *m)
{
    int            rc;
    fanout_hub_t  *hub;

    hub = conf->app->hub;

    if (ngx_exiting && hub->zone.heap.slot == -1) {
        /* the worker has no slot to count it by, and only asks it to
         * reconnect */
        m->ref = 0;
        return FANOUT_E_NONE;
    }

    rc = fanout_address_add(&hub->zone, m->address, conf->per_address,
                            &m->ref);

    if (rc == FANOUT_ZONE_MANY) {
        fanout_count(hub, address_full);
    }

    return fanout_error_of(hub, rc);
}
