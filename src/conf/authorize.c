
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The directive fanout_authorize:
 *
 *   fanout_authorize URI OPERATION,... [timeout=TIME] [cache=TIME] [calls=N]
 *                                      [queue=N] [answers=N] [headers=SIZE];
 */


#include "conf/conf.h"
#include "dialect/dialect.h"
#include "transport/authorize.h"


static char *set_word(ngx_conf_t *cf, fanout_authorizer_t *a,
    ngx_str_t *arg);
static char *set_operations(ngx_conf_t *cf, fanout_authorizer_t *a,
    ngx_str_t *arg);
static char *set_operation(ngx_conf_t *cf, fanout_authorizer_t *a,
    ngx_str_t *arg);
static char *add(ngx_conf_t *cf, fanout_loc_conf_t *flcf,
    fanout_authorizer_t *a);


static const fanout_conf_range_t  time_range = {
    FANOUT_CONF_MSEC, 1, 3600000, "a time from 1ms to 1h"
};

static const fanout_conf_range_t  cache_range = {
    FANOUT_CONF_MSEC, 0, 86400000, "a time from 0 to 1d"
};

static const fanout_conf_range_t  calls_range = {
    FANOUT_CONF_NUMBER, 1, 1000, "a number from 1 to 1000"
};

static const fanout_conf_range_t  number_range = {
    FANOUT_CONF_NUMBER, 1, FANOUT_NUMBER, "a number from 1 to 1000000"
};

static const fanout_conf_range_t  size_range = {
    FANOUT_CONF_SIZE, 256, 65536, "a size from 256 to 64k"
};


#define a_field(member)  offsetof(fanout_authorizer_t, member)

static const struct {
    const char                 *name;
    const fanout_conf_range_t  *range;
    size_t                      offset;         /* of the size of ngx_int_t */
} parameters[] = {
    { "timeout", &time_range, a_field(callee.timeout) },
    { "cache", &cache_range, a_field(cache) },
    { "calls", &calls_range, a_field(calls) },
    { "queue", &number_range, a_field(grants.queue) },
    { "answers", &number_range, a_field(grants.max) },
    { "headers", &size_range, a_field(headers) },
    { NULL, NULL, 0 }
};


char *
fanout_set_authorize(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                 *rv;
    ngx_str_t            *value;
    ngx_uint_t            i;
    fanout_authorizer_t  *a;

    a = ngx_pcalloc(cf->pool, sizeof(fanout_authorizer_t));
    if (a == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    a->callee.timeout = 5000;
    a->callee.limit = FANOUT_AUTHORIZE_ANSWER;
    a->cache = 10000;
    a->calls = 32;
    a->grants.queue = 1000;
    a->grants.max = 10000;
    a->headers = 8192;

    ngx_queue_init(&a->waiting);
    fanout_grants_init(&a->grants);

    rv = fanout_conf_repeated(cf, 2);

    if (rv == NGX_CONF_OK) {
        rv = fanout_conf_callee(cf, "fanout_authorize", &value[1], &a->callee);
    }

    for (i = 2; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {
        rv = set_word(cf, a, &value[i]);
    }

    return rv == NGX_CONF_OK ? add(cf, conf, a) : rv;
}


static char *
set_word(ngx_conf_t *cf, fanout_authorizer_t *a, ngx_str_t *arg)
{
    int64_t     value;
    ngx_str_t   s;
    ngx_uint_t  i;

    for (i = 0; parameters[i].name; i++) {

        if (!fanout_conf_parameter(arg, parameters[i].name, &s)) {
            continue;
        }

        value = fanout_conf_ranged(cf, parameters[i].range, arg, &s);

        if (value == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        *(ngx_int_t *) ((u_char *) a + parameters[i].offset) = value;

        return NGX_CONF_OK;
    }

    return set_operations(cf, a, arg);
}


/* With commas as in fanout_permit, or each a word of its own. */

static char *
set_operations(ngx_conf_t *cf, fanout_authorizer_t *a, ngx_str_t *arg)
{
    u_char     *p, *end, *last;
    ngx_str_t   name;

    last = arg->data + arg->len;

    for (p = arg->data; p <= last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');
        end = end ? end : last;

        name.data = p;
        name.len = end - p;

        if (set_operation(cf, a, &name) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
set_operation(ngx_conf_t *cf, fanout_authorizer_t *a, ngx_str_t *arg)
{
    ngx_uint_t  op;

    op = arg->len == sizeof("connect") - 1
         && ngx_strncmp(arg->data, "connect", arg->len) == 0
         ? FANOUT_ASK_CONNECT : fanout_permission(arg->data, arg->len);

    if (op == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown operation or parameter \"%V\" of "
                           "\"fanout_authorize\": there are connect, join, "
                           "publish, history, presence, signal, record, "
                           "lock, profile, all, timeout=, cache=, calls=, "
                           "queue=, answers= and "
                           "headers=", arg);
        return NGX_CONF_ERROR;
    }

    if (a->ops & op) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate operation \"%V\" in "
                           "\"fanout_authorize\"", arg);
        return NGX_CONF_ERROR;
    }

    a->ops |= op;

    return NGX_CONF_OK;
}


static char *
add(ngx_conf_t *cf, fanout_loc_conf_t *flcf, fanout_authorizer_t *a)
{
    ngx_str_t              name;
    ngx_uint_t             i, twice;
    fanout_main_conf_t    *mcf;
    fanout_authorizer_t  **other;

    if (a->ops == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fanout_authorize\" needs at least one operation: "
                           "connect, join, publish, history, presence, "
                           "signal, record, lock, profile or all");
        return NGX_CONF_ERROR;
    }

    if (flcf->authorizers == NGX_CONF_UNSET_PTR) {
        flcf->authorizers = ngx_array_create(cf->pool, 2,
                                             sizeof(fanout_authorizer_t *));
        if (flcf->authorizers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    other = flcf->authorizers->elts;

    for (i = 0; i < flcf->authorizers->nelts; i++) {
        twice = other[i]->ops & a->ops;

        if (twice) {
            fanout_authorize_name(twice & -twice, &name);
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is asked for by %V already", &name,
                               &other[i]->callee.what);
            return NGX_CONF_ERROR;
        }
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);
    mcf->calls = 1;

    other = ngx_array_push(&mcf->authorizers);
    if (other == NULL) {
        return NGX_CONF_ERROR;
    }

    *other = a;

    other = ngx_array_push(flcf->authorizers);
    if (other == NULL) {
        return NGX_CONF_ERROR;
    }

    *other = a;

    return NGX_CONF_OK;
}


void
fanout_merge_authorizers(fanout_loc_conf_t *conf, fanout_loc_conf_t *prev)
{
    ngx_uint_t             i, n;
    fanout_authorizer_t  **a;

    ngx_conf_merge_ptr_value(conf->authorizers, prev->authorizers, NULL);

    if (conf->authorizers == NULL) {
        return;
    }

    a = conf->authorizers->elts;

    for (i = 0; i < conf->authorizers->nelts; i++) {

        conf->asks |= a[i]->ops;
        conf->headers = ngx_max(conf->headers, a[i]->headers);

        for (n = 0; n < FANOUT_ASKS; n++) {
            if (a[i]->ops & ((ngx_uint_t) 1 << n)) {
                conf->asked[n] = &a[i]->grants;
            }
        }
    }
}


void
fanout_authorize_finish(ngx_conf_t *cf, fanout_main_conf_t *mcf)
{
    ngx_uint_t             i;
    fanout_authorizer_t  **a;

    a = mcf->authorizers.elts;

    for (i = 0; i < mcf->authorizers.nelts; i++) {
        fanout_conf_check_hook(cf, a[i]->callee.ctx, &a[i]->callee.what,
                               &a[i]->callee.uri);
    }
}
