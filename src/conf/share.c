
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Shares of a zone: the parameters of fanout_zone and fanout_channel that say
 * what each kind of what is in use, and each account of channels, may take.
 */


#include "conf/conf.h"


/* what is not said */

static const fanout_zone_share_t  defaults[FANOUT_NSHARES] = {
    [FANOUT_SHARE_channels] = { 5, 60 },
    [FANOUT_SHARE_keys]     = { 2, 10 },
    [FANOUT_SHARE_members]  = { 5, 60 },
    [FANOUT_SHARE_records]  = { 0, 50 },
    [FANOUT_SHARE_sessions] = { 10, 60 },
    [FANOUT_SHARE_mail]     = { 1, 25 },
    [FANOUT_SHARE_signals]  = { 1, 5 },
    [FANOUT_SHARE_events]   = { 1, 25 }
};

static const char  *names[] = {
#define FANOUT_SHARE(name, text)  #name,
    FANOUT_SHARES(FANOUT_SHARE)
#undef FANOUT_SHARE
};


static ngx_int_t percent(u_char *p, size_t len);
static ngx_int_t percent_of(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    ngx_int_t most);
static char *records_range(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    fanout_zone_share_t *share);
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
    char       *rc;
    ngx_int_t   n;
    ngx_str_t   s;
    ngx_uint_t  i, most, *part;

    for (i = 0; i < FANOUT_NSHARES; i++) {
        if (fanout_conf_parameter(value, names[i], &s)) {
            rc = i == FANOUT_SHARE_records
                 ? records_range(cf, value, &s, &app->shares[i])
                 : range(cf, value, &s, &app->shares[i]);

            return rc == NGX_CONF_OK ? NGX_OK : NGX_ERROR;
        }
    }

    most = 100;

    if (fanout_conf_parameter(value, "address", &s)) {
        part = &app->address_max;

    } else if (fanout_conf_parameter(value, "user", &s)) {
        part = &app->user_max;

    } else if (fanout_conf_parameter(value, "history", &s)) {
        part = &app->history_min;
        most = 90;

    } else {
        return NGX_DECLINED;
    }

    n = percent_of(cf, value, &s, most);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    *part = n;

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
                       "members=, records=, sessions=, mail=, signals=, "
                       "events= and history= may guarantee 100%% together",
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


/* MAX%, or a range: then there is a guarantee, too. */

static char *
records_range(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    fanout_zone_share_t *share)
{
    ngx_int_t  n;

    if (ngx_strlchr(s->data, s->data + s->len, '-')) {
        return range(cf, value, s, share);
    }

    n = percent_of(cf, value, s, 90);

    if (n == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    share->max = n;

    return NGX_CONF_OK;
}


/* from 1% to most */

static ngx_int_t
percent_of(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s, ngx_int_t most)
{
    ngx_int_t  n;

    n = percent(s->data, s->len);

    if (n >= 1 && n <= most) {
        return n;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\": a percentage from 1%% to %i%% is "
                       "needed", value, most);

    return NGX_ERROR;
}


/* MIN%-MAX% */

static char *
range(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    fanout_zone_share_t *share)
{
    u_char    *p, *last;
    ngx_int_t  min, max;

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
