
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_origin, fanout_api, fanout_status: of which origins pages may be, and
 * by which names of a host the HTTP API and the status are called.
 */


#include "conf/conf.h"


static char *add_origin(ngx_conf_t *cf, ngx_array_t **origins,
    ngx_str_t *value, ngx_str_t *text);
static char *origin_below(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *text,
    fanout_origin_t *o);
static const char *domain_mistake(ngx_str_t *domain);
static ngx_uint_t origin_is_repeated(ngx_array_t *origins);
static char *set_scheme(ngx_conf_t *cf, fanout_loc_conf_t *flcf,
    ngx_str_t *text);
static char *set_style(ngx_conf_t *cf, fanout_loc_conf_t *flcf,
    ngx_str_t *value, ngx_str_t *text);
static char *add_host(ngx_conf_t *cf, fanout_loc_conf_t *flcf,
    ngx_str_t *value, ngx_str_t *text);
static ngx_int_t server_names(ngx_conf_t *cf, fanout_loc_conf_t *conf);


char *
fanout_set_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    char        *rv;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (fanout_conf_parameter(&value[i], "scheme", &s)) {
            rv = set_scheme(cf, flcf, &s);

        } else {
            rv = add_origin(cf, &flcf->origins.origins, &value[i], &value[i]);
        }

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


static char *
add_origin(ngx_conf_t *cf, ngx_array_t **origins, ngx_str_t *value,
    ngx_str_t *text)
{
    fanout_origin_t  *o;

    if (*origins == NGX_CONF_UNSET_PTR) {
        *origins = ngx_array_create(cf->pool, 4, sizeof(fanout_origin_t));
        if (*origins == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    o = ngx_array_push(*origins);
    if (o == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(o, sizeof(fanout_origin_t));

    if (text->len == 1 && text->data[0] == '*') {
        o->kind = FANOUT_ORIGIN_ANY;

    } else if (text->len == 4 && ngx_strncmp(text->data, "same", 4) == 0) {
        o->kind = FANOUT_ORIGIN_SAME;

    } else if (ngx_strlchr(text->data, text->data + text->len, '*')) {

        if (origin_below(cf, value, text, o) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

    } else if (fanout_origin_parse(text, o) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid origin \"%V\": \"*\", \"same\", \"null\" "
                           "or \"scheme://host[:port]\" is needed", value);
        return NGX_CONF_ERROR;
    }

    if (origin_is_repeated(*origins)) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the origin \"%V\" is there twice", value);
    }

    return NGX_CONF_OK;
}


/* An origin with "*" in it. */

static char *
origin_below(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *text,
    fanout_origin_t *o)
{
    u_char      *star, *last, *p;
    ngx_str_t    rest;
    const char  *mistake;

    last = text->data + text->len;
    star = ngx_strlchr(text->data, last, '*');

    if (star - text->data < 4 || ngx_strncmp(star - 3, "://", 3) != 0) {
        mistake = "\"*\" may only be the first label of the host, as in "
                  "\"https://*.example.com\"";
        goto invalid;
    }

    if (star + 1 == last || star[1] == ':') {
        mistake = "\"*\" needs a domain behind it, as in "
                  "\"https://*.example.com\"";
        goto invalid;
    }

    if (star[1] != '.' || ngx_strlchr(star + 1, last, '*')) {
        mistake = "\"*\" stands for whole labels, once, as in "
                  "\"https://*.example.com\"";
        goto invalid;
    }

    rest.len = text->len - 1;
    rest.data = ngx_pnalloc(cf->pool, rest.len);
    if (rest.data == NULL) {
        return NGX_CONF_ERROR;
    }

    p = ngx_cpymem(rest.data, text->data, star - text->data);
    ngx_memcpy(p, star + 1, last - star - 1);

    if (fanout_origin_parse(&rest, o) != NGX_OK) {
        mistake = "\"scheme://*.domain[:port]\" is needed";
        goto invalid;
    }

    o->kind = FANOUT_ORIGIN_BELOW;

    mistake = domain_mistake(&o->host);

    if (mistake == NULL) {
        return NGX_CONF_OK;
    }

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid origin \"%V\": %s",
                       value, mistake);
    return NGX_CONF_ERROR;
}


/* The mistake in a domain with a dot before it, or NULL.  Strangers have hosts
 * below a domain of one label, except below "localhost". */

static const char *
domain_mistake(ngx_str_t *domain)
{
    u_char  *p, *last, *label;

    last = domain->data + domain->len;
    label = domain->data + 1;

    for (p = label; p <= last; p++) {

        if (p < last && *p != '.') {
            continue;
        }

        if (p == label) {
            return "the domain behind \"*\" has an empty label";
        }

        if (p < last) {
            label = p + 1;
        }
    }

    if (*label >= '0' && *label <= '9') {
        return "an address is not a domain";
    }

    if (label == domain->data + 1
        && !(last - label == 9
             && ngx_strncasecmp(label, (u_char *) "localhost", 9) == 0))
    {
        return "strangers have hosts below a domain of one label";
    }

    return NULL;
}


/* The last, among those before it. */

static ngx_uint_t
origin_is_repeated(ngx_array_t *origins)
{
    ngx_uint_t        i;
    fanout_origin_t  *o, *last;

    o = origins->elts;
    last = &o[origins->nelts - 1];

    for (i = 0; i < origins->nelts - 1; i++) {
        if (o[i].kind == last->kind && o[i].port == last->port
            && o[i].scheme.len == last->scheme.len
            && o[i].host.len == last->host.len
            && ngx_strncasecmp(o[i].scheme.data, last->scheme.data,
                               last->scheme.len) == 0
            && ngx_strncasecmp(o[i].host.data, last->host.data,
                               last->host.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static char *
set_scheme(ngx_conf_t *cf, fanout_loc_conf_t *flcf, ngx_str_t *text)
{
    if (flcf->origins.scheme) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate parameter \"scheme=\"");
        return NGX_CONF_ERROR;
    }

    if (text->len == 0
        || (ngx_http_script_variables_count(text) == 0
            && ngx_strcmp(text->data, "http") != 0
            && ngx_strcmp(text->data, "https") != 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid scheme \"%V\": \"http\", \"https\" or a "
                           "variable is needed", text);
        return NGX_CONF_ERROR;
    }

    flcf->origins.scheme = ngx_palloc(cf->pool,
                                      sizeof(ngx_http_complex_value_t));
    if (flcf->origins.scheme == NULL) {
        return NGX_CONF_ERROR;
    }

    return fanout_conf_compile(cf, text, flcf->origins.scheme);
}


char *
fanout_set_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    char        *rv;
    ngx_str_t   *value, s;
    ngx_uint_t   i, api;

    rv = fanout_set_fanout(cf, cmd, conf);
    value = cf->args->elts;
    api = (cmd->offset == offsetof(fanout_loc_conf_t, api));

    for (i = 2; i < cf->args->nelts && rv == NGX_CONF_OK; i++) {

        if (api && fanout_conf_parameter(&value[i], "origin", &s)) {
            rv = add_origin(cf, &flcf->api_origins.origins, &value[i], &s);

        } else if (api && fanout_conf_parameter(&value[i], "style", &s)) {
            rv = set_style(cf, flcf, &value[i], &s);

        } else if (value[i].len == 6
                   && ngx_strncmp(value[i].data, "public", 6) == 0)
        {
            flcf->public = 1;

        } else if (fanout_conf_parameter(&value[i], "host", &s)) {
            rv = add_host(cf, flcf, &value[i], &s);

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\": \"%V\" has %s"
                               "\"host=\" and \"public\"", &value[i],
                               &value[0],
                               api ? "\"origin=\", \"style=\", " : "");
            return NGX_CONF_ERROR;
        }
    }

    return rv;
}


static char *
set_style(ngx_conf_t *cf, fanout_loc_conf_t *flcf, ngx_str_t *value,
    ngx_str_t *text)
{
    if (flcf->sync) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate parameter \"%V\"", value);
        return NGX_CONF_ERROR;
    }

    if (text->len != 4 || ngx_strncmp(text->data, "sync", 4) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": there is \"style=sync\"", value);
        return NGX_CONF_ERROR;
    }

    flcf->sync = 1;

    return NGX_CONF_OK;
}


static char *
add_host(ngx_conf_t *cf, fanout_loc_conf_t *flcf, ngx_str_t *value,
    ngx_str_t *text)
{
    u_char     *star;
    ngx_str_t  *host;

    star = ngx_strlchr(text->data, text->data + text->len, '*');

    if (text->len == 0
        || strpbrk((char *) text->data, "/:?#@$ ")
        || (star && text->len > 1
            && (star != text->data || text->data[1] != '.' || text->len < 3
                || ngx_strlchr(star + 1, text->data + text->len, '*'))))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a name without a port and without "
                           "variables, \"*.\" and a name, or \"*\" is needed",
                           value);
        return NGX_CONF_ERROR;
    }

    if (flcf->hosts == NULL) {
        flcf->hosts = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (flcf->hosts == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    host = ngx_array_push(flcf->hosts);
    if (host == NULL) {
        return NGX_CONF_ERROR;
    }

    *host = *text;

    return NGX_CONF_OK;
}


ngx_int_t
fanout_merge_origins(ngx_conf_t *cf, fanout_loc_conf_t *prev,
    fanout_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    ngx_conf_merge_ptr_value(conf->origins.origins, prev->origins.origins,
                             NULL);

    if (conf->origins.scheme == NULL) {
        conf->origins.scheme = prev->origins.scheme;
    }

    conf->origins.directive = "fanout_origin";
    conf->origins.refused = "this origin is not allowed: fanout_origin";

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname) {
        /* it is the location around it */
        conf->api_origins = prev->api_origins;
        conf->hosts = prev->hosts;
        conf->names = prev->names;
        return NGX_OK;
    }

    if (conf->api_origins.origins == NGX_CONF_UNSET_PTR) {
        conf->api_origins.origins = NULL;
    }

    conf->api_origins.scheme = conf->origins.scheme;
    conf->api_origins.directive = "fanout_api";
    conf->api_origins.refused = "this origin is not allowed: \"origin=\" of "
                                "fanout_api";

    return conf->api || conf->status ? server_names(cf, conf) : NGX_OK;
}


/* NGINX forgets them when it has read its configuration. */

static ngx_int_t
server_names(ngx_conf_t *cf, fanout_loc_conf_t *conf)
{
    ngx_uint_t                  i;
    ngx_http_server_name_t     *name, *copy;
    ngx_http_core_srv_conf_t   *cscf;

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    conf->names = ngx_array_create(cf->pool, cscf->server_names.nelts + 1,
                                       sizeof(ngx_http_server_name_t));
    if (conf->names == NULL) {
        return NGX_ERROR;
    }

    name = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {
        copy = ngx_array_push(conf->names);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = name[i];
    }

    return NGX_OK;
}
