
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Costs and limits of a session.
 */


#include "session/session.h"


/* costs are reported to the zone when they reach this: a session may have used
 * so much of a budget before other sessions see it */
#define FANOUT_REPORT_COMMANDS  (16 * FANOUT_COST)
#define FANOUT_REPORT_BYTES     16384


static ngx_uint_t meter_goes_on(fanout_session_t *s, fanout_limited_t *limited);
static void meter_refill(fanout_session_t *s);
static int64_t meter_grown(int64_t tokens, ngx_msec_t ms,
    const fanout_zone_limit_t *limit, uint64_t unit);
static ngx_uint_t meter_over(fanout_meter_t *m, ngx_uint_t resource,
    fanout_limited_t *limited);
static void meter_spend(fanout_session_t *s, ngx_uint_t resource, uint64_t n);
static void meter_report(fanout_session_t *s);
static void meter_draw(fanout_session_t *s);


/* who it is */

uint64_t
fanout_meter_address(ngx_http_request_t *r, fanout_hub_t *hub)
{
    return fanout_meter_hash(hub, r->connection->sockaddr);
}


uint64_t
fanout_meter_hash(fanout_hub_t *hub, struct sockaddr *sa)
{
    u_char               *p;
    size_t                len;
    uint64_t              address;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sa->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;
        p = sin6->sin6_addr.s6_addr;
        len = 8;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            p += 12;
            len = 4;
        }

        break;
#endif

    case AF_INET:
        p = (u_char *) &((struct sockaddr_in *) sa)->sin_addr;
        len = 4;
        break;

    default:
        return 0;
    }

    address = fanout_zone_hash(&hub->zone, p, len);

    return address ? address : 1;
}


ngx_uint_t
fanout_meter_budgets(fanout_loc_conf_t *conf, fanout_meter_t *m,
    fanout_zone_budget_t *b)
{
    uint64_t    who;
    ngx_uint_t  i, n;

    n = 0;

    for (i = FANOUT_SCOPE_USER; i < FANOUT_SCOPES; i++) {

        who = fanout_meter_who(conf, m, i);

        if (who) {
            b[n].key = who + conf->limits_id[i] * 0x9e3779b97f4a7c15ULL;
            b[n].limits = conf->limits[i];
            n++;
        }
    }

    return n;
}


ngx_uint_t
fanout_meter_budget(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_meter_t *m, fanout_zone_budget_t *b)
{
    ngx_memzero(m, sizeof(fanout_meter_t));
    m->address = fanout_meter_address(r, conf->app->hub);

    return fanout_meter_budgets(conf, m, b) != 0;
}


uint64_t
fanout_meter_who(fanout_loc_conf_t *conf, fanout_meter_t *m, ngx_uint_t scope)
{
    ngx_uint_t  k;

    for (k = 0; k < FANOUT_BUDGETS; k++) {
        if (conf->limits[scope][k].rate) {
            return scope == FANOUT_SCOPE_USER ? m->user : m->address;
        }
    }

    return 0;
}


void
fanout_meter_note(fanout_meter_t *m, fanout_zone_budget_t *b,
    fanout_zone_drawn_t *drawn, fanout_loc_conf_t *conf)
{
    ngx_uint_t  k;

    m->over = drawn->over;
    m->by_user = 0;

    for (k = 0; m->over && k < FANOUT_METERED; k++) {

        m->until[k] = (uint32_t) ngx_current_msec + drawn->wait[k];

        if (b[drawn->budget[k]].limits
            == conf->limits[FANOUT_SCOPE_USER])
        {
            m->by_user |= 1 << k;
        }
    }
}


void
fanout_meter_undo(fanout_hub_t *hub, fanout_meter_t *m)
{
    fanout_address_drop(&hub->zone, m->address, m->ref);
    m->ref = 0;
}


void
fanout_meter_end(fanout_session_t *s)
{
    meter_report(s);
    fanout_meter_undo(s->hub, &s->meter);
}


void
fanout_meter_restore(fanout_session_t *s)
{
    if (s->meter.ref) {
        (void) fanout_address_add(&s->hub->zone, s->meter.address, 0,
                                  &s->meter.ref);
    }
}


/* whether there is room */

ngx_uint_t
fanout_meter_take(fanout_session_t *s, ngx_uint_t cost,
    fanout_limited_t *limited)
{
    fanout_meter_t             *m;
    const fanout_zone_limit_t  *limit;

    m = &s->meter;
    limit = &s->conf->limits[FANOUT_SCOPE_SESSION]
                            [FANOUT_BUDGET_COMMANDS];

    meter_refill(s);

    if (limit->rate && m->commands < (int64_t) cost) {

        limited->scope = FANOUT_SCOPE_SESSION;
        limited->resource = FANOUT_BUDGET_COMMANDS;
        limited->wait = (cost - m->commands + limit->rate - 1) / limit->rate;

        goto refused;
    }

    if (meter_over(m, FANOUT_BUDGET_COMMANDS, limited)) {
        goto refused;
    }

    fanout_meter_charge(s, cost);
    m->received += FANOUT_REFUSALS_DONE;

    return 1;

refused:

    if (fanout_meter_dry_run(s->conf, s->connection, limited)) {
        fanout_meter_charge(s, cost);
        return 1;
    }

    /* a refusal costs a little, but never makes a debt */

    if (m->commands > 0 && limited->scope == FANOUT_SCOPE_SESSION) {
        m->commands -= ngx_min(m->commands, FANOUT_COST_REFUSED);
    }

    meter_spend(s, FANOUT_BUDGET_COMMANDS, FANOUT_COST_REFUSED);
    fanout_meter_refuse(s, limited);

    return 0;
}


ngx_uint_t
fanout_meter_writes(fanout_session_t *s, ngx_str_t *channel,
    fanout_limited_t *limited)
{
    fanout_meter_t             *m;
    fanout_zone_info_t          info;
    fanout_zone_channel_t       zc;
    const fanout_zone_limit_t  *limit;

    m = &s->meter;
    limit = s->conf->limits[FANOUT_SCOPE_SESSION];

    limited->scope = FANOUT_SCOPE_SESSION;

    if (limit[FANOUT_BUDGET_BYTES].rate && m->bytes <= 0) {
        limited->resource = FANOUT_BUDGET_BYTES;
        limited->wait = 1 + -m->bytes * 1000
                            / limit[FANOUT_BUDGET_BYTES].rate;
        goto refused;
    }

    if (meter_over(m, FANOUT_BUDGET_BYTES, limited)) {
        goto refused;
    }

    if (limit[FANOUT_BUDGET_CHANNELS].rate && m->channels < 1000) {
        limited->resource = FANOUT_BUDGET_CHANNELS;
        limited->wait = 1 + (1000 - m->channels)
                            / limit[FANOUT_BUDGET_CHANNELS].rate;

    } else if (!meter_over(m, FANOUT_BUDGET_CHANNELS, limited)) {
        return 1;
    }

    /* an existing channel can be used all the same */

    fanout_hub_view(s->hub, channel, &zc);

    if (zc.ref
        || fanout_channel_info(&s->hub->zone, &zc, &info)
           == FANOUT_ZONE_OK)
    {
        return 1;
    }

refused:

    return meter_goes_on(s, limited);
}


ngx_uint_t
fanout_meter_answers(fanout_session_t *s, fanout_limited_t *limited)
{
    fanout_meter_t             *m;
    const fanout_zone_limit_t  *limit;

    m = &s->meter;
    limit = &s->conf->limits[FANOUT_SCOPE_SESSION]
                            [FANOUT_BUDGET_ANSWERS];

    if (limit->rate && m->answers <= 0) {
        limited->scope = FANOUT_SCOPE_SESSION;
        limited->resource = FANOUT_BUDGET_ANSWERS;
        limited->wait = 1 + -m->answers * 1000 / limit->rate;
        goto refused;
    }

    /* one answer may exceed the budget, so the costs of other sessions are
     * looked up now */

    meter_draw(s);

    if (!meter_over(m, FANOUT_BUDGET_ANSWERS, limited)) {
        return 1;
    }

refused:

    return meter_goes_on(s, limited);
}


ngx_uint_t
fanout_meter_broke(fanout_session_t *s)
{
    fanout_limited_t            limited;
    const fanout_zone_limit_t  *limit;

    limit = &s->conf->limits[FANOUT_SCOPE_SESSION]
                            [FANOUT_BUDGET_COMMANDS];

    meter_refill(s);

    /* a second below the limit, as the debt shrinks all the time */

    if (limit->rate == 0
        || s->meter.commands > (int64_t) (limit->rate * 1000)
                               - (int64_t) limit->debt)
    {
        return 0;
    }

    limited.scope = FANOUT_SCOPE_SESSION;
    limited.resource = FANOUT_BUDGET_COMMANDS;
    limited.wait = limit->debt / limit->rate;

    return !meter_goes_on(s, &limited);
}


ngx_uint_t
fanout_meter_over(fanout_session_t *s, fanout_limited_t *limited)
{
    return !s->conf->limit_dry_run
           && meter_over(&s->meter, FANOUT_BUDGET_COMMANDS, limited);
}


/* Counts a refusal: 0; or 1, it is a dry run. */

static ngx_uint_t
meter_goes_on(fanout_session_t *s, fanout_limited_t *limited)
{
    if (fanout_meter_dry_run(s->conf, s->connection, limited)) {
        return 1;
    }

    fanout_meter_refuse(s, limited);

    return 0;
}


/* All clients of a Unix socket without a user are one sender. */

void
fanout_meter_sender(fanout_session_t *s, fanout_zone_publish_t *opts)
{
    opts->address = s->meter.address;
    opts->sender = s->meter.user ? s->meter.user
                   : s->meter.address ? s->meter.address : 1;
}


void
fanout_meter_writer(ngx_http_request_t *r, fanout_hub_t *hub, ngx_str_t *user,
    fanout_zone_publish_t *opts)
{
    opts->address = fanout_meter_address(r, hub);
    opts->sender = user->len
                   ? fanout_zone_hash(&hub->zone, user->data, user->len)
                   : opts->address ? opts->address : 1;
}


void
fanout_meter_keys(fanout_session_t *s, const fanout_zone_result_t *r,
    fanout_limited_t *limited)
{
    fanout_meter_keys_limited(r, limited);
    fanout_meter_refuse(s, limited);
}


void
fanout_meter_keys_limited(const fanout_zone_result_t *r,
    fanout_limited_t *limited)
{
    limited->resource = FANOUT_LIMITED_KEYS;
    limited->scope = r->by_sender ? FANOUT_SCOPE_USER
                                  : FANOUT_SCOPE_ADDRESS;
    limited->wait = r->wait;
}


static ngx_uint_t
meter_over(fanout_meter_t *m, ngx_uint_t resource, fanout_limited_t *limited)
{
    int32_t  left;

    if (!(m->over & (1 << resource))) {
        return 0;
    }

    left = m->until[resource] - (uint32_t) ngx_current_msec;

    if (left <= 0) {
        m->over &= ~(1 << resource);
        return 0;
    }

    limited->wait = left;
    limited->resource = resource;
    limited->scope = m->by_user & (1 << resource)
                     ? FANOUT_SCOPE_USER
                     : FANOUT_SCOPE_ADDRESS;

    return 1;
}


static void
meter_refill(fanout_session_t *s)
{
    ngx_msec_t                  ms;
    fanout_meter_t             *m;
    const fanout_zone_limit_t  *limit;

    m = &s->meter;
    ms = ngx_current_msec - m->at;

    if (ms == 0) {
        return;
    }

    limit = s->conf->limits[FANOUT_SCOPE_SESSION];

    m->commands = meter_grown(m->commands, ms, &limit[FANOUT_BUDGET_COMMANDS],
                              1);
    m->channels = meter_grown(m->channels, ms, &limit[FANOUT_BUDGET_CHANNELS],
                              1);
    m->bytes = meter_grown(m->bytes, ms,
                           &limit[FANOUT_BUDGET_BYTES], 1000);
    m->answers = meter_grown(m->answers, ms, &limit[FANOUT_BUDGET_ANSWERS],
                             1000);
    m->at = ngx_current_msec;
}


/* unit: what a token of the meter is of the limit's */

static int64_t
meter_grown(int64_t tokens, ngx_msec_t ms, const fanout_zone_limit_t *limit,
    uint64_t unit)
{
    uint64_t  grown;

    /* a longer silence adds no more */
    ms = ngx_min(ms, 3600 * 1000);

    grown = ms * limit->rate / unit;
    tokens += grown;

    return ngx_min(tokens, (int64_t) (limit->burst / unit));
}


/* costs */

void
fanout_meter_charge(fanout_session_t *s, uint64_t cost)
{
    const fanout_zone_limit_t  *limit;

    limit = &s->conf->limits[FANOUT_SCOPE_SESSION]
                            [FANOUT_BUDGET_COMMANDS];

    if (limit->rate) {
        s->meter.commands = ngx_max(s->meter.commands - (int64_t) cost,
                                    -(int64_t) limit->debt);
    }

    meter_spend(s, FANOUT_BUDGET_COMMANDS, cost);
}


void
fanout_meter_grown(fanout_session_t *s, size_t bytes)
{
    fanout_meter_charge(s, (uint64_t) bytes * FANOUT_COST
                           / FANOUT_COST_BYTES);
}


void
fanout_meter_answered(fanout_session_t *s, size_t bytes)
{
    const fanout_zone_limit_t  *limit;

    limit = &s->conf->limits[FANOUT_SCOPE_SESSION]
                            [FANOUT_BUDGET_ANSWERS];

    if (limit->rate) {
        s->meter.answers = ngx_max(s->meter.answers - (int64_t) bytes,
                                   -(int64_t) (limit->debt / 1000));
    }

    meter_spend(s, FANOUT_BUDGET_ANSWERS, (uint64_t) bytes * 1000);
}


void
fanout_meter_reply(fanout_session_t *s, size_t bytes)
{
    if (bytes > FANOUT_COST_BYTES) {
        fanout_meter_answered(s, bytes - FANOUT_COST_BYTES);
    }
}


void
fanout_meter_audience(fanout_session_t *s, ngx_uint_t n, uint32_t subscribers)
{
    fanout_meter_charge(s, (n - 1) * FANOUT_COST
                           + (uint64_t) n * subscribers
                             * FANOUT_COST
                             / FANOUT_COST_AUDIENCE);
}


void
fanout_meter_mark(fanout_session_t *s, fanout_meter_mark_t *mark)
{
    mark->taken = s->hub->zone.heap.taken - s->hub->metered_taken;
    mark->made = s->hub->zone.made - s->hub->metered_made;
}


void
fanout_meter_account(fanout_session_t *s, fanout_meter_mark_t *mark)
{
    int64_t                     bytes;
    uint32_t                    made;
    fanout_hub_t               *hub;
    fanout_meter_t             *m;
    fanout_meter_mark_t         now;
    const fanout_zone_limit_t  *limit;

    hub = s->hub;
    m = &s->meter;
    limit = s->conf->limits[FANOUT_SCOPE_SESSION];

    fanout_meter_mark(s, &now);

    hub->metered_taken += now.taken - mark->taken;
    hub->metered_made += now.made - mark->made;

    bytes = (now.taken - mark->taken) * FANOUT_ZONE_BLOCK;
    made = (now.made - mark->made) * 1000;

    if (bytes) {
        m->bytes = ngx_max(m->bytes - bytes,
                           -(int64_t) (limit[FANOUT_BUDGET_BYTES].debt
                                       / 1000));
        meter_spend(s, FANOUT_BUDGET_BYTES, bytes * 1000);
    }

    if (made) {
        m->channels = ngx_max(m->channels - (int32_t) made, -100000);
        meter_spend(s, FANOUT_BUDGET_CHANNELS, made);
    }
}


/* Gathers costs for the budgets of the user and the address. */

static void
meter_spend(fanout_session_t *s, ngx_uint_t resource, uint64_t n)
{
    fanout_meter_t  *m;

    m = &s->meter;
    m->spent[resource] += n;

    if (m->spent[FANOUT_BUDGET_COMMANDS]
        >= FANOUT_REPORT_COMMANDS
        || m->spent[FANOUT_BUDGET_BYTES]
           >= FANOUT_REPORT_BYTES * 1000
        || m->spent[FANOUT_BUDGET_ANSWERS]
           >= FANOUT_REPORT_BYTES * 1000
        || m->spent[FANOUT_BUDGET_CHANNELS])
    {
        meter_report(s);
    }
}


static void
meter_report(fanout_session_t *s)
{
    ngx_uint_t  k;

    for (k = 0; k < FANOUT_METERED; k++) {
        if (s->meter.spent[k]) {
            meter_draw(s);
            return;
        }
    }
}


/* Reports gathered costs, if there are any, and learns which budgets are
 * exceeded. */

static void
meter_draw(fanout_session_t *s)
{
    uint64_t               amounts[FANOUT_BUDGETS];
    ngx_uint_t             n;
    fanout_meter_t        *m;
    fanout_zone_drawn_t    drawn;
    fanout_zone_budget_t   b[FANOUT_SCOPES];

    m = &s->meter;

    ngx_memcpy(amounts, m->spent, sizeof(m->spent));
    amounts[FANOUT_BUDGET_SESSIONS] = 0;

    ngx_memzero(m->spent, sizeof(m->spent));

    n = fanout_meter_budgets(s->conf, m, b);

    if (n == 0) {
        return;
    }

    (void) fanout_budget_draw(&s->hub->zone, b, n, amounts, 0, &drawn);

    fanout_meter_note(m, b, &drawn, s->conf);
}
