
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Directives of a location, sizes, times and numbers within their bounds, and
 * what the setters of all directives share.
 */


#include "conf/conf.h"
#include "dialect/dialect.h"


/* whether it is name=, and what comes behind that */

ngx_uint_t
fanout_conf_parameter(ngx_str_t *value, const char *name, ngx_str_t *s)
{
    size_t  len;

    len = ngx_strlen(name);

    if (value->len <= len || value->data[len] != '='
        || ngx_strncmp(value->data, name, len) != 0)
    {
        return 0;
    }

    s->data = value->data + len + 1;
    s->len = value->len - len - 1;

    return 1;
}


char *
fanout_conf_repeated(ngx_conf_t *cf, ngx_uint_t first)
{
    u_char      *p;
    size_t       len;
    ngx_str_t   *value;
    ngx_uint_t   i, k;

    value = cf->args->elts;

    for (i = first; i < cf->args->nelts; i++) {

        p = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

        if (p == NULL) {
            continue;
        }

        len = p + 1 - value[i].data;

        for (k = first; k < i; k++) {
            if (value[k].len >= len
                && ngx_memcmp(value[k].data, value[i].data, len) == 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate parameter \"%V\"", &value[i]);
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


void *
fanout_conf_push(ngx_conf_t *cf, ngx_array_t **a, size_t size)
{
    void  *p;

    if (*a == NGX_CONF_UNSET_PTR) {
        *a = ngx_array_create(cf->pool, 4, size);
        if (*a == NULL) {
            return NULL;
        }
    }

    p = ngx_array_push(*a);

    if (p) {
        ngx_memzero(p, size);
    }

    return p;
}


fanout_app_t *
fanout_conf_find(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t            i;
    fanout_app_t        **app;
    fanout_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);
    app = mcf->apps.elts;

    for (i = 0; i < mcf->apps.nelts; i++) {
        if (app[i]->name.len == name->len
            && ngx_strncmp(app[i]->name.data, name->data, name->len) == 0)
        {
            return app[i];
        }
    }

    return NULL;
}


/* fanout, fanout_api, fanout_status: a zone and a handler */

char *
fanout_set_fanout(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t         *flcf = conf;

    ngx_str_t                 *value;
    fanout_app_t             **app;
    ngx_http_core_loc_conf_t  *clcf;

    app = (fanout_app_t **) ((u_char *) conf + cmd->offset);

    if (*app) {
        return "is duplicate";
    }

    value = cf->args->elts;
    *app = fanout_conf_find(cf, &value[1]);

    if (*app == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown zone \"%V\": a \"fanout_zone\" of this "
                           "name must come first", &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "conflicts with another handler of this location";
    }

    clcf->handler = (ngx_http_handler_pt) cmd->post;
    flcf->handler = clcf->handler;

    return NGX_CONF_OK;
}


char *
fanout_set_dialect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    ngx_str_t  *value;

    if (flcf->dialect != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    flcf->dialect = fanout_dialect_named(&value[1]);

    if (flcf->dialect == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown dialect \"%V\": there are \"native\" and "
                           "\"raw\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
fanout_set_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    size_t      len;
    ngx_int_t   rate, burst;
    ngx_str_t  *value;

    if (flcf->rate != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 3 && ngx_strncmp(value[1].data, "off", 3) == 0) {
        if (cf->args->nelts == 3) {
            goto invalid;
        }

        flcf->rate = 0;
        flcf->burst = 0;
        return NGX_CONF_OK;
    }

    len = value[1].len;

    if (len < 4 || ngx_strncmp(value[1].data + len - 3, "r/s", 3) != 0) {
        goto invalid;
    }

    rate = ngx_atoi(value[1].data, len - 3);

    if (rate < 1 || rate > 1000000) {
        goto invalid;
    }

    burst = rate;

    if (cf->args->nelts == 3) {
        if (value[2].len < 7
            || ngx_strncmp(value[2].data, "burst=", 6) != 0)
        {
            goto invalid;
        }

        burst = ngx_atoi(value[2].data + 6, value[2].len - 6);

        if (burst < 1 || burst > 1000000) {
            goto invalid;
        }
    }

    flcf->rate = rate;
    flcf->burst = burst;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"fanout_rate\" with \"%V\": \"off\" or "
                       "\"Nr/s [burst=N]\" is needed, with N from 1 to "
                       "1000000", &value[cf->args->nelts - 1]);

    return NGX_CONF_ERROR;
}


char *
fanout_set_transports(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_conf_bitmask_t  *mask;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        mask = cmd->post;

        while (mask->name.len
               && (mask->name.len != value[i].len
                   || ngx_strcasecmp(mask->name.data, value[i].data) != 0))
        {
            mask++;
        }

        if (mask->name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown transport \"%V\": there are "
                               "\"websocket\", \"sse\", \"poll\" and "
                               "\"post\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return ngx_conf_set_bitmask_slot(cf, cmd, conf);
}


char *
fanout_set_range(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    int64_t                     n;
    ngx_int_t                  *field;
    ngx_str_t                  *value;
    const fanout_conf_range_t  *range;

    field = (ngx_int_t *) ((u_char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;
    range = cmd->post;
    n = fanout_conf_value(range, &value[1]);

    if (n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"%V\": %s is needed",
                           &value[1], &value[0], range->needed);
        return NGX_CONF_ERROR;
    }

    *field = n;

    return NGX_CONF_OK;
}


int64_t
fanout_conf_value(const fanout_conf_range_t *range, ngx_str_t *s)
{
    int64_t  n;

    switch (range->unit) {

    case FANOUT_CONF_WORD:
        return NGX_ERROR;

    case FANOUT_CONF_NUMBER:
        n = ngx_atoi(s->data, s->len);
        break;

    case FANOUT_CONF_SIZE:
        n = ngx_parse_size(s);
        break;

    case FANOUT_CONF_MSEC:
        n = ngx_parse_time(s, 0);
        break;

    default: /* FANOUT_CONF_SEC, FANOUT_CONF_MINUTE */
        n = ngx_parse_time(s, 1);
    }

    if (n < range->min || n > range->max
        || (range->unit == FANOUT_CONF_MINUTE && n % 60))
    {
        return NGX_ERROR;
    }

    return n;
}


int64_t
fanout_conf_ranged(ngx_conf_t *cf, const fanout_conf_range_t *range,
    ngx_str_t *parameter, ngx_str_t *s)
{
    int64_t  n;

    n = fanout_conf_value(range, s);

    if (n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": %s is needed", parameter,
                           range->needed);
    }

    return n;
}


fanout_app_t *
fanout_conf_zone(ngx_conf_t *cf, ngx_str_t *name)
{
    fanout_app_t  *app;

    app = fanout_conf_find(cf, name);

    if (app == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown zone \"%V\": a \"fanout_zone\" of this "
                           "name must come first", name);
    }

    return app;
}
