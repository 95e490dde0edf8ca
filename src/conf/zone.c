
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_zone: zones.
 */


#include "conf/conf.h"
#include "zone/denial.h"


static char *zone_parameter(ngx_conf_t *cf, ngx_str_t *value,
    fanout_app_t *app);
static char *zone_number(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    ngx_int_t max, uint32_t *number);


char *
fanout_set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_main_conf_t  *mcf = conf;

    ssize_t         size;
    ngx_str_t      *value;
    ngx_uint_t      i;
    fanout_app_t   *app, **appp;

    value = cf->args->elts;

    if (fanout_conf_find(cf, &value[1])) {
        return "is duplicate: there is a zone of this name";
    }

    if (fanout_label_check(&value[1], FANOUT_NAME) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone name \"%V\": 1 to %d bytes of UTF-8 "
                           "without control characters are needed", &value[1],
                           FANOUT_NAME);
        return NGX_CONF_ERROR;
    }

    size = ngx_parse_size(&value[2]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (size < 2 * FANOUT_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small: a fanout zone needs "
                           "2m at least", &value[1]);
        return NGX_CONF_ERROR;
    }

    app = ngx_pcalloc(cf->pool, sizeof(fanout_app_t));
    if (app == NULL) {
        return NGX_CONF_ERROR;
    }

    app->name = value[1];
    app->frames = 64 * 1024 * 1024;
    fanout_conf_shares(app);
    fanout_conf_policy(&app->none);
    ngx_str_set(&app->none.text, "");

    if (ngx_array_init(&app->policies, cf->pool, 4,
                       sizeof(fanout_policy_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (fanout_conf_repeated(cf, 3) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 3; i < cf->args->nelts; i++) {
        if (zone_parameter(cf, &value[i], app) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (fanout_conf_zone_shares(cf, app) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    app->shm_zone = ngx_shared_memory_add(cf, &value[1], size,
                                          &ngx_http_fanout_module);
    if (app->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (app->shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate zone \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    app->shm_zone->init = fanout_init_zone;
    app->shm_zone->data = app;

    appp = ngx_array_push(&mcf->apps);
    if (appp == NULL) {
        return NGX_CONF_ERROR;
    }

    *appp = app;

    return NGX_CONF_OK;
}


static char *
zone_parameter(ngx_conf_t *cf, ngx_str_t *value, fanout_app_t *app)
{
    time_t      sec;
    ssize_t     size;
    ngx_int_t   n;
    ngx_str_t   s;

    if (fanout_conf_parameter(value, "slots", &s)) {
        return zone_number(cf, value, &s, FANOUT_ZONE_SLOTS,
                           &app->conf.slots);
    }

    if (fanout_conf_parameter(value, "denials", &s)) {
        return zone_number(cf, value, &s, FANOUT_ZONE_DENIALS_MAX,
                           &app->conf.denials);
    }

    if (fanout_conf_parameter(value, "held", &s)) {
        n = s.len && s.data[s.len - 1] == '%' ? ngx_atoi(s.data, s.len - 1)
                                              : NGX_ERROR;

        if (n < 1 || n > 90) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a percentage from 1%% to 90%% "
                               "is needed", value);
            return NGX_CONF_ERROR;
        }

        app->conf.held = n;
        return NGX_CONF_OK;
    }

    if (fanout_conf_parameter(value, "frames", &s)) {
        size = ngx_parse_size(&s);

        if (size < 1024 * 1024) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a size of 1m or more is "
                               "needed", value);
            return NGX_CONF_ERROR;
        }

        app->frames = size;
        return NGX_CONF_OK;
    }

    if (fanout_conf_parameter(value, "idle", &s)) {
        if (fanout_conf_time(cf, value, &s, &sec) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        app->conf.idle = sec;
        return NGX_CONF_OK;
    }

    if (fanout_conf_parameter(value, "dedupe", &s)) {
        if (fanout_conf_time(cf, value, &s, &sec) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        app->conf.dedupe = sec;
        return NGX_CONF_OK;
    }

    n = fanout_conf_zone_share(cf, value, app);

    if (n != NGX_DECLINED) {
        return n == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\": \"fanout_zone\" has "
                       "slots=, held=, idle=, dedupe=, denials=, frames=, "
                       "channels=, keys=, members=, records=, sessions=, "
                       "mail=, signals=, events=, history=, address= and user=",
                       value);

    return NGX_CONF_ERROR;
}


static char *
zone_number(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s, ngx_int_t max,
    uint32_t *number)
{
    ngx_int_t  n;

    n = ngx_atoi(s->data, s->len);

    if (n < 1 || n > max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a number from 1 to %i is needed",
                           value, max);
        return NGX_CONF_ERROR;
    }

    *number = n;

    return NGX_CONF_OK;
}
