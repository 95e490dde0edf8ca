
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_budget: what a session, a user and an address may have in a time.
 */


#include "conf/conf.h"


/* defaults; those of bytes depend on the size of the zone */

#define FANOUT_BURST        10000               /* ms of the rate */
#define FANOUT_ANSWER       4096                /* bytes for each command */
#define FANOUT_BYTES_MIN    65536               /* a second */
#define FANOUT_RATE_MAX     1000000000

/* The largest debt beyond the burst, ms of the rate.  A debt also hits other
 * clients of the address, and the size of a reply is often not up to the
 * client that asked for it. */
#define FANOUT_DEBT          60000
#define FANOUT_DEBT_ANSWERS  10000
#define FANOUT_DEBT_ADDRESS  5000


static ngx_uint_t budget_scope(ngx_str_t *name);
static char *budget_off(ngx_conf_t *cf, fanout_loc_conf_t *flcf);
static char *budget_parameter(ngx_conf_t *cf, ngx_uint_t scope,
    fanout_budget_conf_t *b, ngx_str_t *value);
static ngx_int_t budget_rate(ngx_str_t *s, ngx_uint_t bytes, uint64_t *rate);
static ngx_uint_t budget_given(fanout_budget_conf_t *b, ngx_uint_t resource);
static uint64_t budget_default(fanout_loc_conf_t *conf, ngx_uint_t scope,
    ngx_uint_t resource);
static void budget_debt(fanout_zone_limit_t *limit, ngx_uint_t scope,
    ngx_uint_t resource);
static void budget_limits(fanout_loc_conf_t *conf,
    ngx_uint_t scope);


static ngx_str_t  scopes[] = {
    ngx_string("session"),
    ngx_string("user"),
    ngx_string("address")
};

static const char  *resources[] = {
    "commands",
    "bytes",
    "channels",
    "answers",
    "sessions"
};


char *
fanout_set_budget(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    ngx_str_t             *value;
    ngx_uint_t             i, k, scope;
    fanout_budget_conf_t  *b;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return budget_off(cf, flcf);
    }

    scope = budget_scope(&value[1]);

    if (scope == FANOUT_SCOPES || cf->args->nelts == 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"fanout_budget\": \"off\", or "
                           "\"session\", \"user\" or \"address\" with "
                           "parameters, or with \"off\", is needed");
        return NGX_CONF_ERROR;
    }

    b = &flcf->budgets[scope];

    if (b->set) {
        return "is duplicate";
    }

    b->set = 1;

    for (k = 0; k < FANOUT_BUDGETS; k++) {
        b->rate[k] = FANOUT_BUDGET_UNSET;
    }

    if (cf->args->nelts == 3 && ngx_strcmp(value[2].data, "off") == 0) {
        ngx_memzero(b->rate, sizeof(b->rate));
        b->off = 1;
        return NGX_CONF_OK;
    }

    if (fanout_conf_repeated(cf, 2) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (budget_parameter(cf, scope, b, &value[i]) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
budget_scope(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_SCOPES; i++) {
        if (scopes[i].len == name->len
            && ngx_strncmp(scopes[i].data, name->data, name->len) == 0)
        {
            break;
        }
    }

    return i;
}


/* all of them */

static char *
budget_off(ngx_conf_t *cf, fanout_loc_conf_t *flcf)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_SCOPES; i++) {

        if (flcf->budgets[i].set) {
            return "is duplicate";
        }

        flcf->budgets[i].set = 1;
        flcf->budgets[i].off = 1;
    }

    return NGX_CONF_OK;
}


static char *
budget_parameter(ngx_conf_t *cf, ngx_uint_t scope, fanout_budget_conf_t *b,
    ngx_str_t *value)
{
    time_t       burst;
    ngx_str_t    s;
    ngx_uint_t   k, bytes;
    const char  *why;

    if (fanout_conf_parameter(value, "burst", &s)) {

        burst = ngx_parse_time(&s, 0);

        if (burst == (time_t) NGX_ERROR || burst < 1 || burst > 3600000) {
            why = "a time from 1ms to 1h is needed";
            goto invalid;
        }

        b->burst = burst;
        return NGX_CONF_OK;
    }

    for (k = 0; k < FANOUT_BUDGETS; k++) {
        if (fanout_conf_parameter(value, resources[k], &s)) {
            break;
        }
    }

    if (k == FANOUT_BUDGETS) {
        why = "there are \"commands=\", \"bytes=\", \"channels=\", "
              "\"answers=\", \"sessions=\" and \"burst=\"";
        goto invalid;
    }

    if (scope == FANOUT_SCOPE_SESSION
        && k == FANOUT_BUDGET_COMMANDS)
    {
        why = "commands of a session are limited by \"fanout_rate\"";
        goto invalid;
    }

    if (scope == FANOUT_SCOPE_SESSION
        && k == FANOUT_BUDGET_SESSIONS)
    {
        why = "a session is one";
        goto invalid;
    }

    bytes = (k == FANOUT_BUDGET_BYTES
             || k == FANOUT_BUDGET_ANSWERS);

    if (budget_rate(&s, bytes, &b->rate[k]) != NGX_OK) {
        why = bytes
              ? "\"off\", or a size a second as in \"64k/s\" is needed, from "
                "1k to 1000000000"
              : "\"off\", or a number a second as in \"10/s\" is needed, "
                "from 1 to 1000000";
        goto invalid;
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid \"%V\" in "
                       "\"fanout_budget %V\": %s", value, &scopes[scope],
                       why);

    return NGX_CONF_ERROR;
}


/* 0 for "off" */

static ngx_int_t
budget_rate(ngx_str_t *s, ngx_uint_t bytes, uint64_t *rate)
{
    off_t      n;
    ngx_str_t  number;

    if (s->len == 3 && ngx_strncmp(s->data, "off", 3) == 0) {
        *rate = 0;
        return NGX_OK;
    }

    if (s->len < 3 || ngx_strncmp(s->data + s->len - 2, "/s", 2) != 0) {
        return NGX_ERROR;
    }

    number.data = s->data;
    number.len = s->len - 2;

    n = bytes ? ngx_parse_offset(&number)
              : ngx_atoi(number.data, number.len);

    if (n < (bytes ? 1024 : 1)
        || n > (bytes ? FANOUT_RATE_MAX : FANOUT_NUMBER))
    {
        return NGX_ERROR;
    }

    *rate = n;

    return NGX_OK;
}


/* when all is inherited; conf->rate and burst are known */

void
fanout_merge_budgets(fanout_loc_conf_t *conf, fanout_loc_conf_t *prev)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_SCOPES; i++) {

        if (!conf->budgets[i].set) {
            conf->budgets[i] = prev->budgets[i];
        }

        if (conf->app) {
            budget_limits(conf, i);
        }
    }
}


static void
budget_limits(fanout_loc_conf_t *conf, ngx_uint_t scope)
{
    uint64_t               burst;
    ngx_uint_t             k;
    fanout_zone_limit_t   *limit;
    fanout_budget_conf_t  *b;

    b = &conf->budgets[scope];

    for (k = 0; k < FANOUT_BUDGETS; k++) {

        limit = &conf->limits[scope][k];
        burst = b->burst ? b->burst : FANOUT_BURST;

        if (scope == FANOUT_SCOPE_SESSION
            && k == FANOUT_BUDGET_COMMANDS)
        {
            limit->rate = conf->rate;
            limit->burst = (uint64_t) conf->burst * 1000;
            budget_debt(limit, scope, k);
            continue;
        }

        if (b->off) {
            continue;
        }

        limit->rate = budget_given(b, k) ? b->rate[k]
                                         : budget_default(conf, scope, k);

        if (k == FANOUT_BUDGET_COMMANDS && b->burst == 0
            && conf->rate)
        {
            /* as much more than the rate as that of a session */
            burst = conf->burst * 1000 / conf->rate;
        }

        /* of what there is one of, always one */

        limit->burst = ngx_max(limit->rate * burst, 1000);

        if (k == FANOUT_BUDGET_ANSWERS && !budget_given(b, k)) {
            limit->burst = conf->limits[scope]
                                       [FANOUT_BUDGET_COMMANDS].burst
                           * FANOUT_ANSWER;
        }

        budget_debt(limit, scope, k);
    }

    /* what makes a budget another one */

    conf->limits_id[scope] = ngx_murmur_hash2((u_char *) conf->limits[scope],
                                              sizeof(conf->limits[scope]))
                             + scope;
}


static ngx_uint_t
budget_given(fanout_budget_conf_t *b, ngx_uint_t resource)
{
    return b->set && b->rate[resource] != FANOUT_BUDGET_UNSET;
}


static void
budget_debt(fanout_zone_limit_t *limit, ngx_uint_t scope, ngx_uint_t resource)
{
    ngx_msec_t  ms;

    ms = resource == FANOUT_BUDGET_ANSWERS
         ? FANOUT_DEBT_ANSWERS : FANOUT_DEBT;

    if (scope == FANOUT_SCOPE_ADDRESS) {
        ms = FANOUT_DEBT_ADDRESS;
    }

    limit->debt = limit->rate * ms;
}


static uint64_t
budget_default(fanout_loc_conf_t *conf, ngx_uint_t scope, ngx_uint_t resource)
{
    uint64_t  bytes;

    static const struct {
        uint64_t  commands;     /* times fanout_rate */
        uint64_t  bytes;        /* this part of the zone a second */
        uint64_t  channels;
        uint64_t  sessions;
    } defaults[] = {
        { 1, 256, 20, 0 },
        { 4, 128, 40, 10 },
        { 20, 32, 200, 500 }
    };

    switch (resource) {

    case FANOUT_BUDGET_COMMANDS:
        return defaults[scope].commands * conf->rate;

    case FANOUT_BUDGET_BYTES:
        bytes = conf->app->shm_zone->shm.size / defaults[scope].bytes;
        return ngx_max(bytes, FANOUT_BYTES_MIN);

    case FANOUT_BUDGET_CHANNELS:
        return defaults[scope].channels;

    case FANOUT_BUDGET_ANSWERS:
        return conf->limits[scope][FANOUT_BUDGET_COMMANDS].rate
               * FANOUT_ANSWER;

    default:
        return defaults[scope].sessions;
    }
}


char *
fanout_set_per_address(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    ngx_str_t  *value;
    ngx_int_t   n;

    if (flcf->per_address != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        flcf->per_address = 0;
        return NGX_CONF_OK;
    }

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || n > FANOUT_NUMBER) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"%V\": \"off\" or a "
                           "number from 1 to %d is needed", &value[1],
                           &value[0], FANOUT_NUMBER);
        return NGX_CONF_ERROR;
    }

    flcf->per_address = n;

    return NGX_CONF_OK;
}
