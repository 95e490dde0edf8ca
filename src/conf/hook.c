
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The directive fanout_hook:
 *
 *   fanout_hook ZONE URI EVENT ... [batch=N] [queue=N] [timeout=TIME]
 *                                  [retry=TIME] [limit=SIZE] [fail=deny|pass];
 */


#include "hook/hook.h"
#include "conf/conf.h"


#define FANOUT_HOOK_EVENTS  0xff

/* bytes that an event takes of the zone, at most */
#define FANOUT_HOOK_LARGEST 640


static char *set_argument(ngx_conf_t *cf, fanout_hook_t *hook,
    ngx_str_t *arg);
static char *hook_set_event(ngx_conf_t *cf, fanout_hook_t *hook, ngx_str_t *arg,
    ngx_uint_t bit);
static char *set_pass(ngx_conf_t *cf, fanout_hook_t *hook, ngx_str_t *arg,
    ngx_str_t *s);
static char *check(ngx_conf_t *cf, fanout_app_t *app, fanout_hook_t *hook);


static const struct {
    ngx_str_t   name;
    ngx_uint_t  bit;
} events[] = {
    { ngx_string("connect"), FANOUT_EVENT_CONNECT },
    { ngx_string("disconnect"), FANOUT_EVENT_DISCONNECT },
    { ngx_string("join"), FANOUT_EVENT_JOIN },
    { ngx_string("leave"), FANOUT_EVENT_LEAVE },
    { ngx_string("first-in"), FANOUT_EVENT_FIRST_IN },
    { ngx_string("last-out"), FANOUT_EVENT_LAST_OUT },
    { ngx_string("occupied"), FANOUT_EVENT_OCCUPIED },
    { ngx_string("vacated"), FANOUT_EVENT_VACATED },
    { ngx_string("publish"), FANOUT_HOOK_PUBLISH },
    { ngx_null_string, 0 }
};

#define at(field)  offsetof(fanout_hook_t, field)

/* into fields of the size of ngx_int_t */

static const struct {
    const char           *name;
    size_t                offset;
    fanout_conf_range_t   range;
} parameters[] = {
    { "batch", at(batch),
      { FANOUT_CONF_NUMBER, 1, FANOUT_HOOK_BATCH, "a number from 1 to 64" } },
    { "calls", at(calls),
      { FANOUT_CONF_NUMBER, 1, FANOUT_HOOK_CALLS, "a number from 1 to 64" } },
    { "queue", at(queue),
      { FANOUT_CONF_NUMBER, 1, FANOUT_NUMBER, "a number from 1 to 1000000" } },
    { "timeout", at(callee.timeout),
      { FANOUT_CONF_MSEC, 1, 3600000, "a time from 1ms to 1h" } },
    { "retry", at(retry),
      { FANOUT_CONF_MSEC, 1, 3600000, "a time from 1ms to 1h" } },
    { "limit", at(callee.limit),
      { FANOUT_CONF_SIZE, 1, 64 * 1024 * 1024, "a size from 1 to 64m" } }
};


char *
fanout_set_hook(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                *rv;
    ngx_str_t           *value;
    ngx_uint_t           i;
    fanout_app_t        *app;
    fanout_hook_t       *hook;
    fanout_main_conf_t  *mcf;

    value = cf->args->elts;

    app = fanout_conf_zone(cf, &value[1]);
    if (app == NULL) {
        return NGX_CONF_ERROR;
    }

    hook = ngx_pcalloc(cf->pool, sizeof(fanout_hook_t));
    if (hook == NULL) {
        return NGX_CONF_ERROR;
    }

    hook->callee.timeout = 30000;
    hook->callee.limit = 1024 * 1024;
    hook->batch = FANOUT_HOOK_BATCH;

    rv = fanout_conf_repeated(cf, 3);

    if (rv == NGX_CONF_OK) {
        rv = fanout_conf_callee(cf, "fanout_hook", &value[2], &hook->callee);
    }

    for (i = 3; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {
        rv = set_argument(cf, hook, &value[i]);
    }

    if (rv == NGX_CONF_OK) {
        rv = check(cf, app, hook);
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (hook->mask & FANOUT_HOOK_PUBLISH) {
        app->approve = hook;
    }

    if (hook->mask & FANOUT_HOOK_EVENTS) {
        app->events_hook = hook;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);
    mcf->calls = 1;

    return NGX_CONF_OK;
}


static char *
set_argument(ngx_conf_t *cf, fanout_hook_t *hook, ngx_str_t *arg)
{
    int64_t     n;
    ngx_str_t   s;
    ngx_uint_t  i;

    for (i = 0; events[i].bit; i++) {
        if (arg->len == events[i].name.len
            && ngx_strncmp(arg->data, events[i].name.data, arg->len) == 0)
        {
            return hook_set_event(cf, hook, arg, events[i].bit);
        }
    }

    if (fanout_conf_parameter(arg, "fail", &s)) {
        return set_pass(cf, hook, arg, &s);
    }

    for (i = 0; i < fanout_nelts(parameters); i++) {

        if (fanout_conf_parameter(arg, parameters[i].name, &s)) {
            n = fanout_conf_ranged(cf, &parameters[i].range, arg, &s);

            *(ngx_int_t *) ((u_char *) hook + parameters[i].offset) = n;

            return n == NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid event or parameter \"%V\" of a hook; there "
                       "are connect, disconnect, join, leave, first-in, "
                       "last-out, occupied, vacated, publish, batch=, "
                       "calls=, queue=, timeout=, retry=, limit= and fail=",
                       arg);

    return NGX_CONF_ERROR;
}


static char *
hook_set_event(ngx_conf_t *cf, fanout_hook_t *hook, ngx_str_t *arg,
    ngx_uint_t bit)
{
    if (hook->mask & bit) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate event \"%V\"",
                           arg);
        return NGX_CONF_ERROR;
    }

    hook->mask |= bit;

    return NGX_CONF_OK;
}


static char *
set_pass(ngx_conf_t *cf, fanout_hook_t *hook, ngx_str_t *arg, ngx_str_t *s)
{
    if (s->len == 4 && ngx_strncmp(s->data, "pass", 4) == 0) {
        hook->pass = 1;

    } else if (s->len != 4 || ngx_strncmp(s->data, "deny", 4) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": \"deny\" or \"pass\" is needed",
                           arg);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
check(ngx_conf_t *cf, fanout_app_t *app, fanout_hook_t *hook)
{
    fanout_hook_t  *other;

    if (hook->mask == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a hook needs at least one event: connect, "
                           "disconnect, join, leave, first-in, last-out, "
                           "occupied, vacated or publish");
        return NGX_CONF_ERROR;
    }

    if (hook->pass && !(hook->mask & FANOUT_HOOK_PUBLISH)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fail=\" is for \"publish\": events wait until "
                           "they are taken");
        return NGX_CONF_ERROR;
    }

    if (hook->retry && !(hook->mask & FANOUT_HOOK_EVENTS)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"retry=\" is for events: a publish is asked for "
                           "once");
        return NGX_CONF_ERROR;
    }

    if (hook->calls && !(hook->mask & FANOUT_HOOK_PUBLISH)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"calls=\" is for \"publish\": events are sent "
                           "by one call at a time");
        return NGX_CONF_ERROR;
    }

    if (hook->calls == 0) {
        hook->calls = 8;
    }

    other = (hook->mask & FANOUT_HOOK_PUBLISH) ? app->approve : NULL;

    if (other == NULL && (hook->mask & FANOUT_HOOK_EVENTS)) {
        other = app->events_hook;
    }

    if (other) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s of zone \"%V\" has a hook already, \"%V\": "
                           "all events go to one, and so do publishes",
                           other == app->approve ? "\"publish\"" : "an event",
                           &app->name, &other->callee.uri);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
fanout_hook_finish(ngx_conf_t *cf, fanout_app_t *app)
{
    size_t            size;
    ngx_uint_t        i, most;
    fanout_hook_t    *hook;
    fanout_policy_t  *policy;

    hook = app->events_hook;

    policy = app->policies.elts;

    for (i = 0; i < app->policies.nelts; i++) {
        policy[i].keep.hooks = hook && !policy[i].no_hooks;
    }

    app->none.keep.hooks = (hook != NULL);

    if (app->approve) {
        fanout_conf_check_hook(cf, app->approve->callee.ctx,
                               &app->approve->callee.what,
                               &app->approve->callee.uri);
    }

    if (hook && hook != app->approve) {
        fanout_conf_check_hook(cf, hook->callee.ctx, &hook->callee.what,
                               &hook->callee.uri);
    }

    if (hook == NULL) {
        return NGX_CONF_OK;
    }

    if (hook->retry == 0) {
        hook->retry = 10000;
    }

    size = app->shm_zone->shm.size;
    most = size / 4 / FANOUT_HOOK_LARGEST;

    hook->events = hook->queue ? hook->queue : ngx_min(10000, most);

    if (hook->queue > most) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"queue=%ui\" of %V is more than a quarter of "
                           "zone \"%V\" can hold: it is at most %ui",
                           hook->queue, &hook->callee.what, &app->name, most);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
