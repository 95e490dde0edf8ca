
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Publishes a response: its body as data, and as "meta"
 *
 *   {"method":"POST","path":"/api/items","status":201,"omitted":"large"}
 *
 * where "omitted" says why there is no body, if there should be one.
 */


#include "broadcast/broadcast.h"
#include "http/headers.h"
#include "session/log.h"
#include "base/json.h"
#include "session/meter.h"
#include "base/utf8.h"


/* bytes of a method and a path in "meta"; longer ones are left out */

#define FANOUT_BROADCAST_METHOD  32
#define FANOUT_BROADCAST_PATH    768


static fanout_error_e broadcast_append(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t, const char *omitted, ngx_uint_t *duplicate);
static ngx_int_t prepare_json(fanout_broadcast_t *b,
    fanout_broadcast_body_t *body);
static size_t write_meta(fanout_broadcast_t *b, u_char *meta,
    const char *omitted);


static ngx_str_t  null = ngx_string("null");


#define set_zstr(z, s)                                                        \
    (z)->data = (s)->data;                                                    \
    (z)->len = (s)->len


void
fanout_broadcast_message(fanout_broadcast_t *b, fanout_broadcast_target_t *t)
{
    ngx_log_t                *log;
    ngx_uint_t                duplicate;
    const char               *omitted;
    fanout_hub_t             *hub;
    fanout_error_e            error;
    fanout_broadcast_body_t  *body;

    hub = t->app->hub;
    log = b->request->connection->log;

    body = &b->bodies[t->body];
    fanout_broadcast_prepare(b, body);

    omitted = body->omitted;
    error = broadcast_append(b, t, omitted, &duplicate);

    if (error == FANOUT_E_TOO_LARGE && omitted == NULL) {
        omitted = "large";
        error = broadcast_append(b, t, omitted, &duplicate);
    }

    if (error != FANOUT_E_NONE) {
        fanout_count(hub, broadcast_failures);
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "fanout_broadcast to channel \"%V\" in zone \"%V\" "
                      "failed: %V", &t->channel, &t->app->name,
                      &fanout_errors[error].text);
        return;
    }

    if (duplicate) {
        fanout_count(hub, duplicates);
        return;
    }

    fanout_count(hub, broadcasts);

    if (omitted) {
        fanout_count(hub, broadcast_skipped);
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "fanout_broadcast to channel \"%V\" in zone \"%V\" is "
                      "without the body: %s", &t->channel, &t->app->name,
                      omitted);
    }
}


static fanout_error_e
broadcast_append(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    const char *omitted, ngx_uint_t *duplicate)
{
    u_char                    meta[FANOUT_META];
    ngx_str_t                *data;
    fanout_error_e            error;
    fanout_zone_result_t      result;
    fanout_zone_message_t     m;
    fanout_zone_publish_t     opts;
    fanout_broadcast_body_t  *body;

    ngx_memzero(&m, sizeof(fanout_zone_message_t));
    ngx_memzero(&opts, sizeof(fanout_zone_publish_t));

    body = &b->bodies[t->body];
    data = omitted ? &null : &body->data;

    set_zstr(&m.data, data);
    set_zstr(&m.event, &t->event);
    set_zstr(&m.user, &t->user);
    set_zstr(&m.key, &t->key);

    m.kind = omitted ? FANOUT_JSON : body->kind;
    m.client = t->client;
    m.flags = t->client ? FANOUT_NOECHO : 0;

    if (t->meta) {
        m.meta.data = meta;
        m.meta.len = write_meta(b, meta, omitted);
    }

    opts.key = m.key;
    opts.scope = m.user;
    fanout_meter_writer(b->request, t->app->hub, &t->user, &opts);

    error = fanout_hub_publish(t->app->hub, &t->channel, &m, 1, &opts,
                               &result);

    if (opts.key.len
        && fanout_broadcast_forgets(b, t, error, &result))
    {
        opts.key.len = 0;
        error = fanout_hub_publish(t->app->hub, &t->channel, &m, 1, &opts,
                                   &result);
    }

    *duplicate = result.duplicate;

    return error;
}


/* The write has happened: a duplicate is better than a loss. */

ngx_uint_t
fanout_broadcast_forgets(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    fanout_error_e error, fanout_zone_result_t *result)
{
    ngx_str_t          value;
    const char        *hint, *text, *reason;
    fanout_limited_t   limited;

    hint = "";

    switch (error) {

    case FANOUT_E_RATE_LIMITED:
        fanout_meter_keys_limited(result, &limited);
        fanout_meter_refused(t->app->hub, &limited);
        text = "keys of fanout_broadcast not remembered for a client";
        reason = fanout_meter_text(&limited);

        if (limited.scope == FANOUT_SCOPE_ADDRESS
            && fanout_header(b->request, "x-forwarded-for", &value))
        {
            hint = FANOUT_PROXY_HINT;
        }

        break;

    case FANOUT_E_ADDRESS_FULL:
        text = "keys of fanout_broadcast not remembered for an address";
        reason = (char *) fanout_errors[error].text.data;

        if (fanout_header(b->request, "x-forwarded-for", &value)) {
            hint = FANOUT_PROXY_HINT;
        }

        break;

    case FANOUT_E_FULL_keys:
    case FANOUT_E_FULL_channels:
        text = "keys of fanout_broadcast not remembered for want of room";
        reason = (char *) fanout_errors[error].text.data;
        break;

    default:
        return 0;
    }

    if (fanout_session_log_gather_error(NGX_LOG_WARN,
                                    &b->request->connection->addr_text, text))
    {
        ngx_log_error(NGX_LOG_WARN, b->request->connection->log, 0,
                      "fanout_broadcast to zone \"%V\" does not remember a "
                      "key: %s%s", &t->app->name, reason, hint);
    }

    return 1;
}


/* JSON if it is, else text if it may be, else bytes.  Only what says that it
 * is JSON or does not say what it is can be JSON. */

void
fanout_broadcast_prepare(fanout_broadcast_t *b, fanout_broadcast_body_t *body)
{
    ngx_uint_t  kind;

    if (body->ready) {
        return;
    }

    body->ready = 1;

    if (body->body.len == 0 || body->omitted) {
        body->data = null;
        body->kind = FANOUT_JSON;
        return;
    }

    kind = fanout_http_kind(&body->type);
    body->data = body->body;

    if (kind == FANOUT_BINARY) {
        body->kind = FANOUT_BINARY;
        return;
    }

    if (kind != FANOUT_TEXT && prepare_json(b, body) == NGX_OK) {
        body->kind = FANOUT_JSON;
        return;
    }

    body->kind = fanout_utf8_check(body->body.data, body->body.len)
                 == FANOUT_UTF8_OK
                 ? FANOUT_TEXT : FANOUT_BINARY;
}


static ngx_int_t
prepare_json(fanout_broadcast_t *b, fanout_broadcast_body_t *body)
{
    u_char         *p;
    size_t          len;
    const u_char   *text;
    fanout_json_t   json;

    text = body->body.data;
    len = body->body.len;

    fanout_json_skip_mark(&text, &len);

    if (fanout_json_check(text, len, FANOUT_JSON_DEPTH,
                          &json, NULL)
        < 0)
    {
        return NGX_DECLINED;
    }

    /* the request's body is not ours to change */

    p = ngx_pnalloc(b->request->pool, json.len);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    body->data.data = p;
    body->data.len = fanout_json_minify(p, json.data, json.len);

    return NGX_OK;
}


/* The path as the client knows it, without arguments: these may be secret. */

static size_t
write_meta(fanout_broadcast_t *b, u_char *meta, const char *omitted)
{
    u_char     *p, *q;
    ngx_str_t   path;

    p = meta;
    *p++ = '{';

    if (b->method.len && b->method.len <= FANOUT_BROADCAST_METHOD) {
        p = ngx_sprintf(p, "\"method\":\"%V\",", &b->method);
    }

    path = b->request->unparsed_uri;

    for (q = path.data; q < path.data + path.len; q++) {
        if (*q == '?' || *q == '#') {
            path.len = q - path.data;
            break;
        }
    }

    if (path.len
        && fanout_json_escape_len(path.data, path.len)
           <= FANOUT_BROADCAST_PATH)
    {
        p = ngx_cpymem(p, "\"path\":\"", sizeof("\"path\":\"") - 1);
        p = fanout_json_escape(p, path.data, path.len);
        *p++ = '"';
        *p++ = ',';
    }

    p = ngx_sprintf(p, "\"status\":%ui", b->status);

    if (omitted) {
        p = ngx_sprintf(p, ",\"omitted\":\"%s\"", omitted);
    }

    *p++ = '}';

    return p - meta;
}
