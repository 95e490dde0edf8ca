
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Shares of a zone: the parameters of fanout_zone and fanout_channel that say
 * what each kind of what is in use, and each class of channels, may take.
 */


#include "conf/conf.h"


/* what is not said */

static const fanout_zone_share_t  defaults[] = {
    { 5, 60 },          /* channels */
    { 2, 10 },          /* keys */
    { 5, 60 },          /* members */
    { 10, 60 },         /* sessions */
    { 1, 25 },          /* mail */
    { 1, 5 },           /* signals */
    { 1, 25 }           /* events */
};

static const char  *names[] = {
#define FANOUT_SHARE(name, text)  #name,
    FANOUT_SHARES(FANOUT_SHARE)
#undef FANOUT_SHARE
};


static ngx_int_t percent(u_char *p, size_t len);
static char *range(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    fanout_zone_share_t *share);


void
fanout_conf_shares(fanout_app_t *app)
{
    ngx_memcpy(app->shares, defaults, sizeof(defaults));
    app->history_min = 25;
    app->address_max = 50;
    app->user_max = 25;
}


ngx_int_t
fanout_conf_zone_share(ngx_conf_t *cf, ngx_str_t *value, fanout_app_t *app)
{
    ngx_int_t    n;
    ngx_str_t    s;
    ngx_uint_t   i, *part;

    for (i = 0; i < FANOUT_NSHARES; i++) {
        if (fanout_conf_parameter(value, names[i], &s)) {
            return range(cf, value, &s, &app->shares[i]) == NGX_CONF_OK
                   ? NGX_OK : NGX_ERROR;
        }
    }

    part = fanout_conf_parameter(value, "address", &s) ? &app->address_max
           : fanout_conf_parameter(value, "user", &s) ? &app->user_max : NULL;

    if (part) {
        n = percent(s.data, s.len);

        if (n < 1 || n > 100) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a percentage from 1%% to "
                               "100%% is needed", value);
            return NGX_ERROR;
        }

        *part = n;

        return NGX_OK;
    }

    if (!fanout_conf_parameter(value, "history", &s)) {
        return NGX_DECLINED;
    }

    n = percent(s.data, s.len);

    if (n < 1 || n > 90) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a percentage from 1%% to 90%% is "
                           "needed", value);
        return NGX_ERROR;
    }

    app->history_min = n;

    return NGX_OK;
}


char *
fanout_conf_zone_shares(ngx_conf_t *cf, fanout_app_t *app)
{
    ngx_uint_t  i, sum;

    sum = app->history_min;

    for (i = 0; i < FANOUT_NSHARES; i++) {
        sum += app->shares[i].min;
    }

    if (sum <= 100) {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "the guaranteed shares of zone \"%V\" are %ui%% of it, "
                       "those by default included: channels=, keys=, "
                       "members=, sessions=, mail=, signals=, events= and "
                       "history= may guarantee 100%% together",
                       &app->name, sum);

    return NGX_CONF_ERROR;
}


char *
fanout_conf_channel_share(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    fanout_app_t *app, fanout_policy_t *policy)
{
    if (range(cf, value, s, &policy->share) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    policy->shares = 1;
    app->history_said += policy->share.min;

    if (app->history_said <= app->history_min) {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\": with it the channels of zone \"%V\" "
                       "are guaranteed %ui%%, while \"history=\" of "
                       "\"fanout_zone\" guarantees %ui%%", value, &app->name,
                       app->history_said, app->history_min);

    return NGX_CONF_ERROR;
}


/* MIN%-MAX% */

static char *
range(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    fanout_zone_share_t *share)
{
    u_char     *p, *last;
    ngx_int_t   min, max;

    last = s->data + s->len;
    p = ngx_strlchr(s->data, last, '-');

    min = p ? percent(s->data, p - s->data) : NGX_ERROR;
    max = p ? percent(p + 1, last - p - 1) : NGX_ERROR;

    if (min < 0 || max < 1 || max > 100 || min > max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a range of percentages such as "
                           "\"5%%-30%%\" is needed, within 0%% and 100%%, "
                           "the second at least 1%%", value);
        return NGX_CONF_ERROR;
    }

    share->min = min;
    share->max = max;

    return NGX_CONF_OK;
}


static ngx_int_t
percent(u_char *p, size_t len)
{
    return len > 1 && p[len - 1] == '%' ? ngx_atoi(p, len - 1) : NGX_ERROR;
}
