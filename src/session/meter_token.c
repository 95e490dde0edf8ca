
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Tokens that are not valid: to verify one costs much more than to make it up.
 */


#include "session/session.h"


/* sessions that one counts for, in 1/1000 */
#define FANOUT_FORGED_TOKEN  10000
#define FANOUT_WRONG_TOKEN   1000

/* budgets that a worker remembers, a power of two */
#define FANOUT_TRIED         256


typedef struct {
    uint64_t    key;                    /* of the budget */
    ngx_msec_t  until;
} tried_t;


static uint64_t token_address(ngx_http_request_t *r, fanout_loc_conf_t *conf);
static void token_draw(fanout_loc_conf_t *conf, uint64_t address,
    ngx_uint_t amount);
static ngx_uint_t token_budget(fanout_loc_conf_t *conf, uint64_t address,
    fanout_zone_budget_t *b);
static ngx_uint_t token_tried(fanout_loc_conf_t *conf, uint64_t address,
    fanout_limited_t *limited);
static tried_t *tried_of(uint64_t key);


void
fanout_meter_wrong(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t forged)
{
    token_draw(conf, token_address(r, conf), forged ? FANOUT_FORGED_TOKEN
                                                    : FANOUT_WRONG_TOKEN);
}


void
fanout_meter_worked(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    token_draw(conf, token_address(r, conf), FANOUT_WRONG_TOKEN);
}


void
fanout_meter_session_wrong(fanout_session_t *s, ngx_uint_t forged)
{
    token_draw(s->conf, s->meter.address, forged ? FANOUT_FORGED_TOKEN
                                                 : FANOUT_WRONG_TOKEN);
}


ngx_uint_t
fanout_meter_tried(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    fanout_limited_t  limited;

    if (!token_tried(conf, token_address(r, conf), &limited)) {
        return 0;
    }

    fanout_meter_refused(conf->app->hub, &limited);

    return 1;
}


ngx_uint_t
fanout_meter_session_tried(fanout_session_t *s, fanout_limited_t *limited)
{
    if (!token_tried(s->conf, s->meter.address, limited)) {
        return 0;
    }

    fanout_meter_refuse(s, limited);

    return 1;
}


/* 0: locations without "fanout" count nobody */

static uint64_t
token_address(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    return conf->app && conf->app->hub
           ? fanout_meter_address(r, conf->app->hub) : 0;
}


static void
token_draw(fanout_loc_conf_t *conf, uint64_t address, ngx_uint_t amount)
{
    tried_t              *t;
    uint64_t              amounts[FANOUT_BUDGETS];
    fanout_zone_drawn_t   drawn;
    fanout_zone_budget_t  b;

    if (!token_budget(conf, address, &b)) {
        return;
    }

    ngx_memzero(amounts, sizeof(amounts));
    amounts[FANOUT_BUDGET_SESSIONS] = amount;

    (void) fanout_budget_draw(&conf->app->hub->zone, &b, 1, amounts, 0,
                              &drawn);

    if (drawn.wait[FANOUT_BUDGET_SESSIONS]) {
        t = tried_of(b.key);
        t->key = b.key;
        t->until = ngx_current_msec + drawn.wait[FANOUT_BUDGET_SESSIONS];
    }
}


/* of the address alone */

static ngx_uint_t
token_budget(fanout_loc_conf_t *conf, uint64_t address,
    fanout_zone_budget_t *b)
{
    fanout_meter_t  m;

    if (address == 0) {
        return 0;
    }

    ngx_memzero(&m, sizeof(fanout_meter_t));
    m.address = address;

    return fanout_meter_budgets(conf, &m, b) != 0;
}


static ngx_uint_t
token_tried(fanout_loc_conf_t *conf, uint64_t address,
    fanout_limited_t *limited)
{
    tried_t               *t;
    fanout_zone_budget_t   b;

    if (!token_budget(conf, address, &b)) {
        return 0;
    }

    t = tried_of(b.key);

    if (t->key != b.key
        || (ngx_msec_int_t) (t->until - ngx_current_msec) <= 0)
    {
        return 0;
    }

    limited->wait = t->until - ngx_current_msec;
    limited->resource = FANOUT_BUDGET_SESSIONS;
    limited->scope = FANOUT_SCOPE_ADDRESS;

    return 1;
}


static tried_t *
tried_of(uint64_t key)
{
    static tried_t  tried[FANOUT_TRIED];

    return &tried[key & (FANOUT_TRIED - 1)];
}
