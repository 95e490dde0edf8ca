
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_zone: zones.
 */


#include "conf/conf.h"
#include "zone/denial.h"


static ssize_t zone_size(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *value);
static fanout_app_t *zone_create(ngx_conf_t *cf, ngx_str_t *name);
static char *zone_share(ngx_conf_t *cf, fanout_app_t *app, size_t size);
static char *zone_parameter(ngx_conf_t *cf, ngx_str_t *value,
    fanout_app_t *app);
static char *set_held(ngx_conf_t *cf, fanout_app_t *app, ngx_str_t *value,
    ngx_str_t *s);
static char *set_frames(ngx_conf_t *cf, fanout_app_t *app, ngx_str_t *value,
    ngx_str_t *s);


#define at(field)  offsetof(fanout_app_t, conf.field)

/* into fields of 32 bits */

static const struct {
    const char           *name;
    size_t                offset;
    fanout_conf_range_t   range;
} parameters[] = {
    { "slots", at(slots),
      { FANOUT_CONF_NUMBER, 1, FANOUT_ZONE_SLOTS, "a number from 1 to 64" } },
    { "denials", at(denials),
      { FANOUT_CONF_NUMBER, 1, FANOUT_ZONE_DENIALS_MAX,
        "a number from 1 to 1000000" } },
    { "idle", at(idle),
      { FANOUT_CONF_SEC, 1, 365 * 24 * 3600, "a time from 1s to 365d" } },
    { "dedupe", at(dedupe),
      { FANOUT_CONF_SEC, 1, 365 * 24 * 3600, "a time from 1s to 365d" } }
};


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

    size = zone_size(cf, &value[1], &value[2]);
    app = size == NGX_ERROR ? NULL : zone_create(cf, &value[1]);

    if (app == NULL) {
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

    if (zone_share(cf, app, size) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    appp = ngx_array_push(&mcf->apps);
    if (appp == NULL) {
        return NGX_CONF_ERROR;
    }

    *appp = app;

    return NGX_CONF_OK;
}


/* checks the name as well */

static ssize_t
zone_size(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *value)
{
    ssize_t  size;

    if (fanout_label_check(name, FANOUT_NAME) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone name \"%V\": 1 to %d bytes of UTF-8 "
                           "without control characters are needed", name,
                           FANOUT_NAME);
        return NGX_ERROR;
    }

    size = ngx_parse_size(value);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", value);

    } else if (size < 2 * FANOUT_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small: a fanout zone needs "
                           "2m at least", name);
        return NGX_ERROR;
    }

    return size;
}


static fanout_app_t *
zone_create(ngx_conf_t *cf, ngx_str_t *name)
{
    fanout_app_t  *app;

    app = ngx_pcalloc(cf->pool, sizeof(fanout_app_t));

    if (app == NULL
        || ngx_array_init(&app->policies, cf->pool, 4,
                          sizeof(fanout_policy_t))
           != NGX_OK)
    {
        return NULL;
    }

    app->name = *name;
    app->frames = 64 * 1024 * 1024;
    fanout_conf_shares(app);
    fanout_conf_policy(&app->none);
    ngx_str_set(&app->none.text, "");

    return app;
}


static char *
zone_share(ngx_conf_t *cf, fanout_app_t *app, size_t size)
{
    app->shm_zone = ngx_shared_memory_add(cf, &app->name, size,
                                          &ngx_http_fanout_module);
    if (app->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (app->shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate zone \"%V\"", &app->name);
        return NGX_CONF_ERROR;
    }

    app->shm_zone->init = fanout_init_zone;
    app->shm_zone->data = app;

    return NGX_CONF_OK;
}


static char *
zone_parameter(ngx_conf_t *cf, ngx_str_t *value, fanout_app_t *app)
{
    int64_t     n;
    ngx_str_t   s;
    ngx_uint_t  i;

    for (i = 0; i < fanout_nelts(parameters); i++) {

        if (fanout_conf_parameter(value, parameters[i].name, &s)) {
            n = fanout_conf_ranged(cf, &parameters[i].range, value, &s);

            *(uint32_t *) ((u_char *) app + parameters[i].offset) = n;

            return n == NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
        }
    }

    if (fanout_conf_parameter(value, "held", &s)) {
        return set_held(cf, app, value, &s);
    }

    if (fanout_conf_parameter(value, "frames", &s)) {
        return set_frames(cf, app, value, &s);
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
set_held(ngx_conf_t *cf, fanout_app_t *app, ngx_str_t *value, ngx_str_t *s)
{
    ngx_int_t  n;

    n = s->len && s->data[s->len - 1] == '%' ? ngx_atoi(s->data, s->len - 1)
                                             : NGX_ERROR;

    if (n < 1 || n > 90) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a percentage from 1%% to 90%% is "
                           "needed", value);
        return NGX_CONF_ERROR;
    }

    app->conf.held = n;

    return NGX_CONF_OK;
}


static char *
set_frames(ngx_conf_t *cf, fanout_app_t *app, ngx_str_t *value, ngx_str_t *s)
{
    ssize_t  size;

    size = ngx_parse_size(s);

    if (size < 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a size of 1m or more is needed",
                           value);
        return NGX_CONF_ERROR;
    }

    app->frames = size;

    return NGX_CONF_OK;
}
