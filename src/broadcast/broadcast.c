
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The filters of broadcasts: which responses are published, where to, and
 * when they are complete.
 *
 * They stand right behind the copy filter: the body is the content handler's,
 * before SSI, sub_filter and gzip have changed it, and what was in a file has
 * been read by NGINX in the way that "aio" says.
 */


#include "broadcast/broadcast.h"
#include "base/id.h"
#include "http/filter.h"


/* the headers X-Accel-Fanout-… of a backend */

typedef struct {
    ngx_str_t    channels[FANOUT_BROADCAST_CHANNELS];
    ngx_uint_t   nchannels;
    ngx_str_t    event;
    ngx_str_t    key;
    ngx_str_t    exclude;
    ngx_str_t    record;
    ngx_str_t    base;
    unsigned     too_many:1;
} headers_t;


static ngx_int_t broadcast_init(ngx_conf_t *cf);
static ngx_int_t broadcast_header_filter(ngx_http_request_t *r);
static ngx_int_t broadcast_body_filter(ngx_http_request_t *r, ngx_chain_t *in);

static void take_headers(ngx_http_request_t *r, headers_t *h);
static void take_header(ngx_http_request_t *r, ngx_table_elt_t *header,
    headers_t *h);
static void take_range(fanout_broadcast_t *b, ngx_int_t rc);
static ngx_int_t broadcast_start(ngx_http_request_t *r, ngx_array_t *rules,
    headers_t *h);
static fanout_broadcast_t *create(ngx_http_request_t *r, size_t limit);
static ngx_uint_t matches(ngx_http_request_t *r,
    fanout_broadcast_rule_t *rule);
static ngx_int_t apply(fanout_broadcast_t *b, fanout_broadcast_rule_t *rule,
    headers_t *h);
static ngx_int_t apply_record(fanout_broadcast_t *b,
    fanout_broadcast_rule_t *rule, headers_t *h,
    fanout_broadcast_target_t *t);
static ngx_uint_t change_of(ngx_http_request_t *r,
    fanout_broadcast_rule_t *rule);
static ngx_int_t broadcast_add(fanout_broadcast_t *b,
    fanout_broadcast_target_t *target, ngx_str_t *channel);
static ngx_int_t value(fanout_broadcast_t *b, ngx_http_complex_value_t *cv,
    ngx_str_t *said, const char *what, size_t max, ngx_str_t *text);
static ngx_int_t client(fanout_broadcast_t *b, ngx_http_complex_value_t *cv,
    ngx_str_t *said, uint64_t *id);
static void broadcast_publish(fanout_broadcast_t *b);
static void broadcast_failed(ngx_http_request_t *r, fanout_app_t *app,
    const char *reason);
static void broken_off(void *data);


static ngx_http_output_header_filter_pt  next_header_filter;
static ngx_http_output_body_filter_pt    next_body_filter;


fanout_filter_module(ngx_http_fanout_broadcast_filter_module, broadcast_init);


static ngx_int_t
broadcast_init(ngx_conf_t *cf)
{
    fanout_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);

    if (mcf->broadcast) {
        fanout_filter_add(broadcast_header_filter, broadcast_body_filter,
                          &next_header_filter, &next_body_filter);
    }

    return NGX_OK;
}


/* Responses of the module itself and of subrequests are not published. */

static ngx_int_t
broadcast_header_filter(ngx_http_request_t *r)
{
    headers_t            h;
    ngx_int_t            rc;
    fanout_loc_conf_t   *conf;
    fanout_broadcast_t  *b;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    if (conf->broadcasts == NULL || conf->handler || r != r->main
        || ngx_http_get_module_ctx(r, ngx_http_fanout_broadcast_filter_module))
    {
        return next_header_filter(r);
    }

    take_headers(r, &h);

#if (NGX_HTTP_CACHE)

    /* published when the backend sent it */

    if (r->cached) {
        return next_header_filter(r);
    }

#endif

    if (broadcast_start(r, conf->broadcasts, &h) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "fanout_broadcast: out of memory");
        return next_header_filter(r);
    }

    b = ngx_http_get_module_ctx(r, ngx_http_fanout_broadcast_filter_module);

    if (b && fanout_broadcast_without_body(r)) {
        b->expected = 0;
        broadcast_publish(b);
    }

    rc = next_header_filter(r);

    if (b && !b->done) {
        take_range(b, rc);
    }

    return rc;
}


/* NGINX cuts ranges between this header filter and its body filter: what comes
 * is not the body that the header has announced, and may be longer.  A range
 * that can't be satisfied makes an error page of the response. */

static void
take_range(fanout_broadcast_t *b, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = b->request;

    if (rc <= NGX_OK && r->headers_out.status != NGX_HTTP_PARTIAL_CONTENT) {
        return;
    }

    b->copying = 0;
    b->bodies[FANOUT_BROADCAST_RESPONSE].omitted = "partial";

    if (rc > NGX_OK) {
        broadcast_publish(b);
        return;
    }

    b->status = r->headers_out.status;
    b->expected = r->headers_out.content_length_n;
}


static ngx_int_t
broadcast_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    fanout_broadcast_t  *b;

    b = ngx_http_get_module_ctx(r, ngx_http_fanout_broadcast_filter_module);

    if (b && !b->done && fanout_broadcast_collect(b, in)) {
        broadcast_publish(b);
    }

    return next_body_filter(r, in);
}


/* headers */

static void
take_headers(ngx_http_request_t *r, headers_t *h)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    static ngx_str_t  prefix = ngx_string("X-Accel-Fanout-");

    ngx_memzero(h, sizeof(headers_t));

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (header[i].hash == 0 || header[i].key.len < prefix.len
                || ngx_strncasecmp(header[i].key.data, prefix.data,
                                   prefix.len)
                   != 0)
            {
                continue;
            }

            take_header(r, &header[i], h);
            header[i].hash = 0;
        }
    }
}


static void
take_header(ngx_http_request_t *r, ngx_table_elt_t *header, headers_t *h)
{
    size_t   len;
    u_char  *name;

    name = header->key.data + sizeof("X-Accel-Fanout-") - 1;
    len = header->key.len - (sizeof("X-Accel-Fanout-") - 1);

#define is(s)  (len == sizeof(s) - 1                                          \
                && ngx_strncasecmp(name, (u_char *) s, len) == 0)

    if (is("Channel")) {

        if (h->nchannels < FANOUT_BROADCAST_CHANNELS) {
            h->channels[h->nchannels++] = header->value;
        } else {
            h->too_many = 1;
        }

    } else if (is("Event")) {
        h->event = header->value;

    } else if (is("Key")) {
        h->key = header->value;

    } else if (is("Exclude")) {
        h->exclude = header->value;

    } else if (is("Record")) {
        h->record = header->value;

    } else if (is("Base")) {
        h->base = header->value;

    } else {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "fanout_broadcast: unknown header \"%V\" of a response",
                      &header->key);
    }

#undef is
}


/* targets */

static ngx_int_t
broadcast_start(ngx_http_request_t *r, ngx_array_t *rules, headers_t *h)
{
    ngx_uint_t                i;
    fanout_loc_conf_t        *conf;
    ngx_http_cleanup_t       *cln;
    fanout_broadcast_t       *b;
    fanout_broadcast_rule_t  *rule;

    b = NULL;
    rule = rules->elts;
    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    for (i = 0; i < rules->nelts; i++) {

        if (!matches(r, &rule[i])) {
            continue;
        }

        if (b == NULL) {
            b = create(r, conf->broadcast_size);
            if (b == NULL) {
                return NGX_ERROR;
            }
        }

        if (apply(b, &rule[i], h) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (b == NULL || b->targets.nelts == 0) {
        return NGX_OK;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = broken_off;
    cln->data = b;

    ngx_http_set_ctx(r, b, ngx_http_fanout_broadcast_filter_module);

    fanout_broadcast_take_request(b);
    fanout_broadcast_expect_response(b);

    return NGX_OK;
}


static fanout_broadcast_t *
create(ngx_http_request_t *r, size_t limit)
{
    fanout_broadcast_t  *b;

    b = ngx_pcalloc(r->pool, sizeof(fanout_broadcast_t));
    if (b == NULL) {
        return NULL;
    }

    if (ngx_array_init(&b->targets, r->pool, 2,
                       sizeof(fanout_broadcast_target_t))
        != NGX_OK)
    {
        return NULL;
    }

    b->request = r;
    b->limit = limit;
    b->method = r->method_name;
    b->status = r->headers_out.status;

    return b;
}


static ngx_uint_t
matches(ngx_http_request_t *r, fanout_broadcast_rule_t *rule)
{
    ngx_uint_t          i, status;
    fanout_statuses_t  *range;

    if (rule->methods && !(rule->methods & r->method)) {
        return 0;
    }

    status = r->headers_out.status;

    /* a change of protocol has no end, and no body */

    if (status < 200) {
        return 0;
    }

    if (rule->statuses == NULL) {
        return 1;
    }

    range = rule->statuses->elts;

    for (i = 0; i < rule->statuses->nelts; i++) {
        if (range[i].first <= status && status <= range[i].last) {
            return 1;
        }
    }

    return 0;
}


/* The targets of a rule: its channel, and those that headers name. */

static ngx_int_t
apply(fanout_broadcast_t *b, fanout_broadcast_rule_t *rule, headers_t *h)
{
    ngx_int_t                  rc;
    ngx_str_t                  channel;
    ngx_uint_t                 i;
    fanout_broadcast_target_t  t;

    ngx_memzero(&t, sizeof(fanout_broadcast_target_t));

    t.app = rule->app;
    t.body = rule->body;
    t.meta = rule->meta;

    if (value(b, rule->event, &h->event, "event", FANOUT_KEY,
              &t.event)
        != NGX_OK
        || value(b, rule->key, &h->key, "key", FANOUT_KEY, &t.key)
           != NGX_OK
        || value(b, rule->user, NULL, "user", FANOUT_NAME, &t.user)
           != NGX_OK
        || client(b, rule->client, &h->exclude, &t.client) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (rule->record || (rule->headers && h->record.len)) {
        rc = apply_record(b, rule, h, &t);

        if (rc != NGX_OK) {
            return rc == NGX_DECLINED ? NGX_OK : rc;
        }
    }

    if (rule->channel) {
        if (ngx_http_complex_value(b->request, rule->channel, &channel)
            != NGX_OK
            || broadcast_add(b, &t, &channel) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (!rule->headers) {
        return NGX_OK;
    }

    for (i = 0; i < h->nchannels; i++) {
        if (broadcast_add(b, &t, &h->channels[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (h->too_many) {
        broadcast_failed(b->request, rule->app, "too many channels");
        h->too_many = 0;
    }

    return NGX_OK;
}


/* NGX_DECLINED if nothing is changed.  An invalid id is not left out: the one
 * in the body might be another record. */

static ngx_int_t
apply_record(fanout_broadcast_t *b, fanout_broadcast_rule_t *rule,
    headers_t *h, fanout_broadcast_target_t *t)
{
    if (b->status < 200 || b->status > 299) {
        return NGX_DECLINED;
    }

    t->change = change_of(b->request, rule);

    if (t->change == FANOUT_BROADCAST_DELETE) {
        t->body = FANOUT_BROADCAST_NONE;
    }

    if (rule->headers && h->record.len) {
        t->record = h->record;

    } else if (ngx_http_complex_value(b->request, rule->record, &t->record)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (t->record.len && fanout_label_check(&t->record, FANOUT_KEY) != NGX_OK)
    {
        broadcast_failed(b->request, rule->app,
                         "the id of the record is not valid");
        return NGX_DECLINED;
    }

    if (!rule->headers || h->base.len == 0) {
        return NGX_OK;
    }

    if (fanout_offset_parse(&h->base, &t->base) != NGX_OK) {
        broadcast_failed(b->request, rule->app,
                         "\"X-Accel-Fanout-Base\" is not a version");
        return NGX_DECLINED;
    }

    t->based = 1;

    return NGX_OK;
}


/* Only what a client sends can be a merge patch (RFC 7396): in a response null
 * is a value. */

static ngx_uint_t
change_of(ngx_http_request_t *r, fanout_broadcast_rule_t *rule)
{
    switch (r->method) {

    case NGX_HTTP_PUT:
        return FANOUT_BROADCAST_PUT;

    case NGX_HTTP_DELETE:
        return FANOUT_BROADCAST_DELETE;

    case NGX_HTTP_PATCH:
        return rule->body == FANOUT_BROADCAST_REQUEST
               ? FANOUT_BROADCAST_PATCH : FANOUT_BROADCAST_MERGE;

    default:
        return FANOUT_BROADCAST_MERGE;
    }
}


/* A channel gets a response once, and once as a change.  An empty name turns
 * the rule off. */

static ngx_int_t
broadcast_add(fanout_broadcast_t *b, fanout_broadcast_target_t *target,
              ngx_str_t *channel)
{
    ngx_uint_t                  i;
    fanout_broadcast_target_t  *t;

    if (channel->len == 0) {
        return NGX_OK;
    }

    if (fanout_name_check(channel) != NGX_OK) {
        broadcast_failed(b->request, target->app,
                         "the channel is not a valid name");
        return NGX_OK;
    }

    t = b->targets.elts;

    for (i = 0; i < b->targets.nelts; i++) {
        if (t[i].app == target->app && t[i].channel.len == channel->len
            && (t[i].change != 0) == (target->change != 0)
            && ngx_memcmp(t[i].channel.data, channel->data, channel->len)
               == 0)
        {
            return NGX_OK;
        }
    }

    if (b->targets.nelts == FANOUT_BROADCAST_CHANNELS) {
        broadcast_failed(b->request, target->app, "too many channels");
        return NGX_OK;
    }

    t = ngx_array_push(&b->targets);
    if (t == NULL) {
        return NGX_ERROR;
    }

    *t = *target;
    t->channel = *channel;

    b->bodies[t->body].wanted = 1;

    return NGX_OK;
}


/* Takes the value of the backend's header, or of the parameter.  An invalid
 * value is left out: it often comes from a client, and a client must not be
 * able to suppress the broadcast of its write. */

static ngx_int_t
value(fanout_broadcast_t *b, ngx_http_complex_value_t *cv, ngx_str_t *said,
    const char *what, size_t max, ngx_str_t *text)
{
    if (said && said->len) {
        *text = *said;

    } else if (cv == NULL) {
        return NGX_OK;

    } else if (ngx_http_complex_value(b->request, cv, text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text->len && fanout_label_check(text, max) != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, b->request->connection->log, 0,
                      "fanout_broadcast: an invalid %s is left out", what);
        text->len = 0;
    }

    return NGX_OK;
}


static ngx_int_t
client(fanout_broadcast_t *b, ngx_http_complex_value_t *cv, ngx_str_t *said,
    uint64_t *id)
{
    ngx_str_t  text;

    if (said->len) {
        text = *said;

    } else if (cv == NULL) {
        return NGX_OK;

    } else if (ngx_http_complex_value(b->request, cv, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text.len && fanout_client_parse(&text, id) != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, b->request->connection->log, 0,
                      "fanout_broadcast: an invalid client is left out");
        *id = 0;
    }

    return NGX_OK;
}


/* Publishes to all targets and is done. */

static void
broadcast_publish(fanout_broadcast_t *b)
{
    ngx_uint_t                  i;
    fanout_broadcast_target_t  *t;

    b->done = 1;
    b->copying = 0;

    t = b->targets.elts;

    for (i = 0; i < b->targets.nelts; i++) {

        if (t[i].app->hub == NULL) {
            broadcast_failed(b->request, t[i].app,
                             "this process has no zone");

        } else if (t[i].change) {
            fanout_broadcast_record(b, &t[i]);

        } else {
            fanout_broadcast_message(b, &t[i]);
        }
    }
}


/* The invalid value is not logged: it could forge a line of the log. */

static void
broadcast_failed(ngx_http_request_t *r, fanout_app_t *app, const char *reason)
{
    if (app->hub) {
        fanout_count(app->hub, broadcast_failures);
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "fanout_broadcast to zone \"%V\" failed: %s", &app->name,
                  reason);
}


/* The client or the backend closed before the response was complete:
 * subscribers should still learn of the write. */

static void
broken_off(void *data)
{
    fanout_broadcast_t  *b = data;

    if (b->done) {
        return;
    }

    b->bodies[FANOUT_BROADCAST_RESPONSE].omitted = "incomplete";

    broadcast_publish(b);
}
