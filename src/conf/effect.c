
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Checks of what a location says: directives that have no effect there, as
 * another one turns off what they are about, and sizes that the zone can't
 * hold.
 */


#include "conf/conf.h"
#include "broadcast/broadcast.h"
#include "dialect/dialect.h"


#define FANOUT_MESSAGE_SIZE  (64 * 1024)                /* by default */


/* A directive of a location: which transports it is for, and that is not the
 * raw dialect.  All fields are as wide as ngx_int_t, and -1 is unset. */

typedef struct {
    const char   *name;
    size_t        offset;
    ngx_uint_t    transports;           /* 0: all */
    const char   *needed;
    ngx_uint_t    native;
} effect_t;


static void check_transports(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    fanout_loc_conf_t *own, ngx_str_t *location);
static ngx_uint_t without_same(ngx_array_t *origins);
static fanout_permit_t *useless_permit(ngx_array_t *permits);
static void check_sizes(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_str_t *location);
static ngx_uint_t is_permitted(fanout_loc_conf_t *conf, ngx_str_t *pattern);
static ngx_uint_t overlap(ngx_str_t *one, ngx_str_t *other);
static void check_broadcasts(ngx_conf_t *cf, fanout_loc_conf_t *conf);
static void check_record(ngx_conf_t *cf, fanout_broadcast_rule_t *rule);


#define field(name)  offsetof(fanout_loc_conf_t, name)

#define LASTS  (FANOUT_WEBSOCKET|FANOUT_SSE)

static const effect_t  effects[] = {
    { "fanout_ping", field(ping), LASTS, "\"websocket\" or \"sse\"", 0 },
    { "fanout_timeout", field(timeout), LASTS, "\"websocket\" or \"sse\"", 0 },
    { "fanout_send_timeout", field(send_timeout), LASTS,
      "\"websocket\" or \"sse\"", 0 },
    { "fanout_poll_timeout", field(poll_timeout), FANOUT_POLL,
      "\"poll\"", 1 },
    { "fanout_deflate", field(deflate), FANOUT_WEBSOCKET,
      "\"websocket\"", 0 },
    { "fanout_batch", field(batch), 0, NULL, 1 },
    { "fanout_history", field(history), 0, NULL, 1 },
    { "fanout_resume", field(resume), 0, NULL, 1 },
    { "fanout_channels_per_session", field(channels), 0, NULL, 1 },
    { "fanout_presence_size", field(presence_size), 0, NULL, 1 },
    { "fanout_sessions_per_user", field(per_user), 0, NULL, 1 },
    { NULL, 0, 0, NULL, 0 }
};


void
fanout_conf_check_effect(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    fanout_loc_conf_t *own, ngx_str_t *location)
{
    fanout_permit_t  *permit;

    check_sizes(cf, conf, location);
    check_broadcasts(cf, conf);

    if (conf->app == NULL) {
        return;
    }

    check_transports(cf, conf, own, location);

    if (own->origins.scheme && without_same(conf->origins.origins)) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"scheme=\" of \"fanout_origin\" does nothing in "
                      "location \"%V\": it is for \"same\", which is not among "
                      "the origins", location);
    }

    permit = conf->dialect == &fanout_raw
             ? useless_permit(own->permits) : NULL;

    if (permit) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"fanout_permit\" of \"%V\" allows nothing in location "
                      "\"%V\": \"fanout_dialect\" is raw, which knows only "
                      "\"join\" and \"publish\"", &permit->text, location);
    }
}


static void
check_transports(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    fanout_loc_conf_t *own, ngx_str_t *location)
{
    ngx_int_t        value;
    ngx_uint_t       raw;
    const effect_t  *e;

    raw = (conf->dialect == &fanout_raw);

    for (e = effects; e->name; e++) {

        value = *(ngx_int_t *) ((u_char *) own + e->offset);

        if (value == NGX_CONF_UNSET
            || (e->offset == field(deflate) && value == 0))
        {
            continue;
        }

        if (raw && e->native) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"%s\" does nothing in location \"%V\": it is for "
                          "the native dialect, and \"fanout_dialect\" is raw",
                          e->name, location);
            continue;
        }

        if (!raw && e->transports && !(conf->transports & e->transports)) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"%s\" does nothing in location \"%V\": it is for "
                          "%s, which \"fanout_transports\" leaves out",
                          e->name, location, e->needed);
        }
    }

    if (own->deflate_ratio != NGX_CONF_UNSET_UINT && !conf->deflate) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"fanout_deflate_ratio\" does nothing in location "
                      "\"%V\", where \"fanout_deflate\" is off", location);
    }
}


static ngx_uint_t
without_same(ngx_array_t *origins)
{
    ngx_uint_t        i;
    fanout_origin_t  *o;

    if (origins == NULL) {
        return 0;
    }

    o = origins->elts;

    for (i = 0; i < origins->nelts; i++) {
        if (o[i].kind == FANOUT_ORIGIN_SAME) {
            return 0;
        }
    }

    return 1;
}


static fanout_permit_t *
useless_permit(ngx_array_t *permits)
{
    ngx_uint_t        i;
    fanout_permit_t  *permit;

    if (permits == NGX_CONF_UNSET_PTR || permits == NULL) {
        return NULL;
    }

    permit = permits->elts;

    for (i = 0; i < permits->nelts; i++) {
        if (!(permit[i].ops & (FANOUT_MAY_JOIN
                               |FANOUT_MAY_PUBLISH)))
        {
            return &permit[i];
        }
    }

    return NULL;
}


/* A publish takes at most half of the zone.  The default is for any "bytes=":
 * it is no decision that messages of this size are meant. */

static void
check_sizes(ngx_conf_t *cf, fanout_loc_conf_t *conf, ngx_str_t *location)
{
    ngx_uint_t        i;
    fanout_app_t     *app;
    fanout_policy_t  *policy;

    app = conf->app ? conf->app : conf->api;

    if (app == NULL) {
        return;
    }

    if (conf->app && conf->buffer > app->frames) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"fanout_buffer\" of location \"%V\" is %uz bytes, but "
                      "\"frames=\" of zone \"%V\" lets a worker hold only %uz "
                      "for all sessions", location, conf->buffer, &app->name,
                      app->frames);
    }

    if (conf->message_size > app->shm_zone->shm.size / 2) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"fanout_message_size\" of location \"%V\" is %uz "
                      "bytes, but a message may take only half of zone "
                      "\"%V\", %uz", location, conf->message_size, &app->name,
                      app->shm_zone->shm.size / 2);
        return;
    }

    if (conf->message_size == FANOUT_MESSAGE_SIZE) {
        return;
    }

    policy = app->policies.elts;

    for (i = 0; i < app->policies.nelts; i++) {
        if (policy[i].keep.bytes && policy[i].keep.bytes < conf->message_size
            && is_permitted(conf, &policy[i].text))
        {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"fanout_message_size\" of location \"%V\" is %uz "
                          "bytes, but \"bytes=%uD\" of \"fanout_channel\" "
                          "\"%V\" keeps no message as long as that", location,
                          conf->message_size, policy[i].keep.bytes,
                          &policy[i].text);
            return;
        }
    }
}


/* Whether the location may have channels of this pattern. */

static ngx_uint_t
is_permitted(fanout_loc_conf_t *conf, ngx_str_t *pattern)
{
    ngx_uint_t        i;
    fanout_permit_t  *permit;

    if (conf->app == NULL) {
        return 1;
    }

    if (conf->permits == NULL) {
        return 0;
    }

    permit = conf->permits->elts;

    for (i = 0; i < conf->permits->nelts; i++) {
        if (overlap(&permit[i].text, pattern)) {
            return 1;
        }
    }

    return 0;
}


/* Whether two patterns are the same as far as both have no "*" and no
 * variable. */

static ngx_uint_t
overlap(ngx_str_t *one, ngx_str_t *other)
{
    size_t  i, len;

    len = ngx_min(one->len, other->len);

    for (i = 0; i < len; i++) {

        if (one->data[i] == '*' || one->data[i] == '$'
            || other->data[i] == '*')
        {
            return 1;
        }

        if (one->data[i] != other->data[i]) {
            return 0;
        }
    }

    return one->len == other->len
           || (one->len > len && (one->data[len] == '*'
                                  || one->data[len] == '$'))
           || (other->len > len && other->data[len] == '*');
}


/* Said once for each zone: most locations inherit both. */

static void
check_broadcasts(ngx_conf_t *cf, fanout_loc_conf_t *conf)
{
    ngx_uint_t                i;
    fanout_app_t             *app;
    fanout_broadcast_rule_t  *rule;

    if (conf->broadcasts == NULL) {
        return;
    }

    rule = conf->broadcasts->elts;

    for (i = 0; i < conf->broadcasts->nelts; i++) {
        app = rule[i].app;
        check_record(cf, &rule[i]);

        if (app->broadcast_warned
            || conf->broadcast_size <= app->shm_zone->shm.size / 2)
        {
            continue;
        }

        app->broadcast_warned = 1;

        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"fanout_broadcast_size\" is %uz bytes, but a message "
                      "may take only half of zone \"%V\", %uz",
                      conf->broadcast_size, &app->name,
                      app->shm_zone->shm.size / 2);
    }
}


/* Of a channel without variables the policy is known. */

static void
check_record(ngx_conf_t *cf, fanout_broadcast_rule_t *rule)
{
    if (rule->record == NULL || rule->channel == NULL || rule->warned
        || rule->channel->lengths
        || fanout_policy(rule->app, &rule->channel->value)->keep.records)
    {
        return;
    }

    rule->warned = 1;

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "\"record=\" of \"fanout_broadcast\" does nothing on channel "
                  "\"%V\" of zone \"%V\", which has no \"records=\"",
                  &rule->channel->value, &rule->app->name);
}
