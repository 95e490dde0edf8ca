
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


static void draw(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t amount);
static tried_t *tried_of(uint64_t key);


void
fanout_meter_wrong(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t forged)
{
    draw(r, conf, forged ? FANOUT_FORGED_TOKEN : FANOUT_WRONG_TOKEN);
}


void
fanout_meter_worked(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    draw(r, conf, FANOUT_WRONG_TOKEN);
}


static void
draw(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_uint_t amount)
{
    tried_t              *t;
    uint64_t              amounts[FANOUT_BUDGETS];
    fanout_hub_t         *hub;
    fanout_meter_t        m;
    fanout_zone_drawn_t   drawn;
    fanout_zone_budget_t  b;

    hub = conf->app ? conf->app->hub : NULL;

    if (hub == NULL || !fanout_meter_budget(r, conf, &m, &b)) {
        return;
    }

    ngx_memzero(amounts, sizeof(amounts));
    amounts[FANOUT_BUDGET_SESSIONS] = amount;

    (void) fanout_budget_draw(&hub->zone, &b, 1, amounts, 0, &drawn);

    if (drawn.wait[FANOUT_BUDGET_SESSIONS]) {
        t = tried_of(b.key);
        t->key = b.key;
        t->until = ngx_current_msec + drawn.wait[FANOUT_BUDGET_SESSIONS];
    }
}


ngx_uint_t
fanout_meter_tried(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    tried_t               *t;
    fanout_meter_t         m;
    fanout_limited_t       limited;
    fanout_zone_budget_t   b;

    if (conf->app == NULL || conf->app->hub == NULL
        || !fanout_meter_budget(r, conf, &m, &b))
    {
        return 0;
    }

    t = tried_of(b.key);

    if (t->key != b.key
        || (ngx_msec_int_t) (t->until - ngx_current_msec) <= 0)
    {
        return 0;
    }

    limited.wait = t->until - ngx_current_msec;
    limited.resource = FANOUT_BUDGET_SESSIONS;
    limited.scope = FANOUT_SCOPE_ADDRESS;

    fanout_meter_refused(conf->app->hub, &limited);

    return 1;
}


static tried_t *
tried_of(uint64_t key)
{
    static tried_t  tried[FANOUT_TRIED];

    return &tried[key & (FANOUT_TRIED - 1)];
}
