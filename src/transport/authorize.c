
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Questions to the backend: see the header.
 *
 * A question is of one grant.  All that need the same grant wait for it, and it
 * is answered whether anybody still waits or not.
 */


#include "transport/authorize_connect.h"
#include "base/json.h"
#include "base/time.h"
#include "hub/entry_json.h"
#include "hub/permit_list.h"


#define FANOUT_AUTHORIZE_TTL  86400000          /* ms, at most */


typedef struct {
    ngx_queue_t             queue;              /* authorizer->waiting */
    fanout_authorizer_t    *authorizer;
    fanout_grant_t         *grant;              /* referenced */
    fanout_hub_t           *hub;
    fanout_handshake_t     *handshake;          /* its own */
    fanout_kept_address_t   address;
    ngx_str_t               body;               /* of ngx_alloc() */
    ngx_event_t             failed;
} question_t;

typedef struct {
    fanout_json_t           allow;
    fanout_json_t           message;
    fanout_json_t           ops;
    fanout_json_t           ttl;
    fanout_json_t           expires;
    fanout_json_t           presence;
    fanout_connect_answer_t  connect;
} answer_t;


static question_t *question_create(fanout_authorizer_t *a,
    fanout_grant_t *grant, const fanout_question_t *from);
static ngx_int_t question_compose(question_t *q,
    const fanout_question_t *from);
static ngx_int_t compose_member(fanout_hub_t *hub, fanout_outbuf_t *f,
    const char *name, ngx_str_t *value);
static void question_free(question_t *q);
static void question_ask(question_t *q);
static void question_failed(ngx_event_t *ev);
static ngx_int_t question_connect(ngx_connection_t *c, void *data);
static ngx_int_t question_request(ngx_http_request_t *r, void *data);
static ngx_uint_t ask_passes(ngx_str_t *name);
static void question_answered(void *data, ngx_uint_t status, ngx_str_t *body);
static void settle(question_t *q, ngx_msec_t ttl);
static const char *follow(fanout_grant_t *grant, ngx_uint_t status,
    ngx_str_t *body, ngx_msec_t *ttl);
static const char *follow_json(fanout_grant_t *grant, ngx_str_t *body,
    ngx_msec_t *ttl, ngx_uint_t denied);
static const char *follow_ops(fanout_grant_t *grant, fanout_json_t *array);
static const char *follow_presence(fanout_grant_t *grant,
    fanout_json_t *presence);
static void take_text(fanout_grant_t *grant, fanout_json_t *message);
static void log_failure(fanout_authorizer_t *a, ngx_uint_t status,
    const char *why);


static const fanout_json_field_t  answer_fields[] = {
    fanout_json_field("allow", answer_t, allow),
    fanout_json_field("message", answer_t, message),
    fanout_json_field("ops", answer_t, ops),
    fanout_json_field("ttl", answer_t, ttl),
    fanout_json_field("expires", answer_t, expires),
    fanout_json_field("presence", answer_t, presence),
    fanout_json_field("user", answer_t, connect.user),
    fanout_json_field("info", answer_t, connect.info),
    fanout_json_field("permit", answer_t, connect.permit),
    fanout_json_field("join", answer_t, connect.join)
};

static const fanout_caller_t  client = {
    question_connect,
    question_request,
    NULL
};


fanout_error_e
fanout_authorize(fanout_asker_t *asker, const fanout_question_t *from)
{
    question_t           *q;
    fanout_error_e        rc;
    fanout_grant_t       *grant;
    fanout_grants_t      *g;
    fanout_authorizer_t  *a;

    g = from->conf->asked[ffs(from->op) - 1];
    a = (fanout_authorizer_t *) g;

    grant = fanout_grants_find(g, &from->who, from->op,
                               (ngx_str_t *) &from->channel);

    if (grant == NULL) {

        if (fanout_calls_over()) {
            return FANOUT_E_UNAVAILABLE;
        }

        grant = fanout_grants_open(g, &from->who, from->op,
                                   (ngx_str_t *) &from->channel, &rc);
        if (grant == NULL) {
            return rc == FANOUT_E_INTERNAL ? rc : FANOUT_E_UNAVAILABLE;
        }

        grant->presence_max = from->conf->presence_size;
        q = question_create(a, grant, from);

        if (q == NULL) {
            grant->rc = FANOUT_E_INTERNAL;
            fanout_grant_close(grant, 0);
            fanout_grant_release(grant);
            return FANOUT_E_INTERNAL;
        }

        ngx_queue_insert_tail(&a->waiting, &q->queue);

        if (a->active < a->calls) {
            question_ask(q);
        }
    }

    asker->grant = grant;

    if (grant->answered) {
        ngx_queue_init(&asker->queue);

    } else {
        ngx_queue_insert_tail(&grant->askers, &asker->queue);
    }

    return FANOUT_E_NONE;
}


void
fanout_authorize_name(ngx_uint_t op, ngx_str_t *name)
{
    if (op == FANOUT_ASK_CONNECT) {
        ngx_str_set(name, "connect");
        return;
    }

    fanout_permission_name(op, name);
}


void
fanout_authorize_forget(fanout_asker_t *asker)
{
    if (asker->grant == NULL) {
        return;
    }

    ngx_queue_remove(&asker->queue);
    fanout_grant_release(asker->grant);
    asker->grant = NULL;
}


/* the question */

static question_t *
question_create(fanout_authorizer_t *a, fanout_grant_t *grant,
    const fanout_question_t *from)
{
    question_t  *q;

    q = ngx_calloc(sizeof(question_t), ngx_cycle->log);
    if (q == NULL) {
        return NULL;
    }

    q->authorizer = a;
    q->hub = from->conf->app->hub;
    q->handshake = fanout_kept_copy(from->handshake);

    if (q->handshake == NULL
        || fanout_kept_address(from->connection, &q->address) != NGX_OK
        || question_compose(q, from) != NGX_OK)
    {
        question_free(q);
        return NULL;
    }

    q->grant = grant;
    grant->refs++;

    return q;
}


static ngx_int_t
question_compose(question_t *q, const fanout_question_t *from)
{
    u_char            id[FANOUT_CLIENT_LEN];
    ngx_int_t         rc;
    ngx_str_t         name, client_id;
    fanout_hub_t     *hub;
    fanout_outbuf_t  *f;

    hub = q->hub;

    f = fanout_outbuf_create(hub, 1024);
    if (f == NULL) {
        return NGX_ERROR;
    }

    fanout_authorize_name(from->op, &name);
    ngx_str_null(&client_id);

    if (from->who.client) {
        (void) fanout_client_format(id, from->who.client);
        client_id.data = id;
        client_id.len = sizeof(id);
    }

    rc = NGX_ERROR;

    if (fanout_outbuf_literal(hub, f, "{\"zone\":") == NGX_OK
        && fanout_outbuf_string(hub, f, hub->app->name.data,
                                hub->app->name.len)
           == NGX_OK
        && compose_member(hub, f, "op", &name) == NGX_OK
        && compose_member(hub, f, "channel", (ngx_str_t *) &from->channel)
           == NGX_OK
        && compose_member(hub, f, "user", (ngx_str_t *) &from->who.user)
           == NGX_OK
        && compose_member(hub, f, "client", &client_id) == NGX_OK
        && compose_member(hub, f, "address", &from->connection->addr_text)
           == NGX_OK
        && compose_member(hub, f, "transport",
                          (ngx_str_t *) &from->transport)
           == NGX_OK
        && (from->info.len == 0
            || (fanout_outbuf_literal(hub, f, ",\"info\":") == NGX_OK
                && fanout_outbuf_append(hub, f, from->info.data,
                                        from->info.len)
                   == NGX_OK))
        && fanout_outbuf_literal(hub, f, "}") == NGX_OK)
    {
        q->body.data = ngx_alloc(f->used, ngx_cycle->log);

        if (q->body.data) {
            ngx_memcpy(q->body.data, f->data, f->used);
            q->body.len = f->used;
            rc = NGX_OK;
        }
    }

    fanout_outbuf_release(hub, f);

    return rc;
}


/* nothing if the value is empty */

static ngx_int_t
compose_member(fanout_hub_t *hub, fanout_outbuf_t *f, const char *name,
    ngx_str_t *value)
{
    if (value->len == 0) {
        return NGX_OK;
    }

    if (fanout_outbuf_printf(hub, f, 32, ",\"%s\":", name) != NGX_OK) {
        return NGX_ERROR;
    }

    return fanout_outbuf_string(hub, f, value->data, value->len);
}


static void
question_free(question_t *q)
{
    if (q->handshake) {
        ngx_free(q->handshake);
    }

    if (q->body.data) {
        ngx_free(q->body.data);
    }

    ngx_free(q);
}


/* asking */

static void
question_ask(question_t *q)
{
    ngx_str_t             body;
    fanout_authorizer_t  *a;

    a = q->authorizer;
    ngx_queue_remove(&q->queue);
    ngx_queue_init(&q->queue);

    a->active++;
    fanout_count(q->hub, authorize_calls);

    /* the call owns it */
    body = q->body;
    q->body.data = NULL;

    if (fanout_call_post_as(&a->callee, &body, &client, q, question_answered, q)
        == NULL)
    {
        q->failed.handler = question_failed;
        q->failed.data = q;
        q->failed.log = ngx_cycle->log;

        ngx_post_event(&q->failed, &ngx_posted_events);
    }
}


static void
question_failed(ngx_event_t *ev)
{
    ngx_str_t  body;

    ngx_str_set(&body, "out of memory or connections");
    question_answered(ev->data, 0, &body);
}


static ngx_int_t
question_connect(ngx_connection_t *c, void *data)
{
    question_t  *q = data;

    return fanout_kept_connect(c, &q->address);
}


static ngx_int_t
question_request(ngx_http_request_t *r, void *data)
{
    question_t  *q = data;

    u_char              *p;
    size_t               size;
    ngx_int_t            rc;
    ngx_str_t            name, value;
    fanout_handshake_t  *kept;

    /* the request may outlive the question */

    size = offsetof(fanout_handshake_t, text) + q->handshake->len;

    kept = ngx_palloc(r->pool, size);
    if (kept == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(kept, q->handshake, size);

    p = kept->text;

    while (fanout_kept_next(kept, &p, &name, &value)) {

        if (!ask_passes(&name)) {
            continue;
        }

        rc = fanout_kept_header(r, &name, &value);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* Headers of the handshake alone, and of a body that is not this one, say
 * nothing to the backend. */

static ngx_uint_t
ask_passes(ngx_str_t *name)
{
    ngx_uint_t  i;

    static const ngx_str_t  not[] = {
        ngx_string("connection"),
        ngx_string("upgrade"),
        ngx_string("keep-alive"),
        ngx_string("te"),
        ngx_string("trailer"),
        ngx_string("transfer-encoding"),
        ngx_string("expect"),
        ngx_string("range"),
        ngx_string("if-range"),
        ngx_string("if-match"),
        ngx_string("if-none-match"),
        ngx_string("if-modified-since"),
        ngx_string("if-unmodified-since"),
        ngx_string("content-type"),
        ngx_string("content-encoding"),
        ngx_string("accept"),
        ngx_string("accept-encoding"),
        ngx_string("user-agent"),
        ngx_null_string
    };

    for (i = 0; not[i].len; i++) {
        if (not[i].len == name->len
            && ngx_strncasecmp(not[i].data, name->data, name->len) == 0)
        {
            return 0;
        }
    }

    return 1;
}


/* the answer */

static void
question_answered(void *data, ngx_uint_t status, ngx_str_t *body)
{
    question_t  *q = data;

    ngx_msec_t            ttl;
    const char           *why;
    fanout_grant_t       *grant;
    fanout_authorizer_t  *a;

    grant = q->grant;
    a = q->authorizer;
    a->active--;

    /* who connects may have other headers each time */

    ttl = grant->op == FANOUT_ASK_CONNECT ? 0 : a->cache;
    why = follow(grant, status, body, &ttl);

    if (why) {
        fanout_count(q->hub, authorize_failures);
        log_failure(a, status, why);

        grant->rc = FANOUT_E_UNAVAILABLE;
        ttl = FANOUT_AUTHORIZE_RETRY;

    } else if (grant->rc != FANOUT_E_NONE) {
        fanout_count(q->hub, authorize_denied);
    }

    settle(q, ttl);

    while (a->active < a->calls && !ngx_queue_empty(&a->waiting)) {
        question_ask(ngx_queue_data(ngx_queue_head(&a->waiting), question_t,
                                    queue));
    }
}


/* Tells all who wait; these may ask again, and others may come. */

static void
settle(question_t *q, ngx_msec_t ttl)
{
    ngx_queue_t      all, *e;
    fanout_asker_t  *asker;
    fanout_grant_t  *grant;

    grant = q->grant;
    question_free(q);

    fanout_grant_close(grant, ttl);

    ngx_queue_init(&all);

    if (!ngx_queue_empty(&grant->askers)) {
        ngx_queue_add(&all, &grant->askers);
        ngx_queue_init(&grant->askers);
    }

    while (!ngx_queue_empty(&all)) {
        e = ngx_queue_head(&all);
        ngx_queue_remove(e);
        ngx_queue_init(e);

        asker = ngx_queue_data(e, fanout_asker_t, queue);
        asker->answered(asker);
    }

    fanout_grant_release(grant);
}


/* NULL, and the grant has what the backend says; or why that is no answer. */

static const char *
follow(fanout_grant_t *grant, ngx_uint_t status, ngx_str_t *body,
    ngx_msec_t *ttl)
{
    size_t          len;
    ngx_uint_t      denied;
    const uint8_t  *text;

    if (status == 0) {
        return (char *) body->data;
    }

    denied = (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN);

    if (!denied && (status < 200 || status >= 300)) {
        return "its status is neither of 2xx nor 401 or 403";
    }

    grant->rc = denied ? FANOUT_E_FORBIDDEN : FANOUT_E_NONE;
    grant->ops = grant->op;

    text = body->data;
    len = body->len;

    while (len && (*text == ' ' || *text == '\n' || *text == '\r')) {
        text++;
        len--;
    }

    return len == 0 || (denied && *text != '{')
           ? NULL : follow_json(grant, body, ttl, denied);
}


static const char *
follow_json(fanout_grant_t *grant, ngx_str_t *body, ngx_msec_t *ttl,
    ngx_uint_t denied)
{
    int             rc, allow;
    size_t          len;
    int64_t         n;
    answer_t        answer;
    const char     *wrong;
    const uint8_t  *text;

    static fanout_json_error_t  err;

    text = body->data;
    len = body->len;
    fanout_json_skip_mark(&text, &len);

    rc = fanout_json_object(text, len, FANOUT_JSON_DEPTH, answer_fields,
                            sizeof(answer_fields) / sizeof(answer_fields[0]),
                            &answer, &err);

    if (denied && rc != FANOUT_JSON_OK) {
        /* a page for people */
        return NULL;
    }

    if (rc == FANOUT_JSON_TYPE) {
        return "it is no JSON object";
    }

    if (rc != FANOUT_JSON_OK) {
        return err.reason;
    }

    allow = !denied;

    if (answer.allow.len
        && fanout_json_bool(&answer.allow, &allow) != FANOUT_JSON_OK)
    {
        return "\"allow\" is not true or false";
    }

    if (answer.ttl.len) {
        if (fanout_json_int(&answer.ttl, &n) != FANOUT_JSON_OK
            || n < 0 || n > FANOUT_AUTHORIZE_TTL)
        {
            return "\"ttl\" is not a number of ms of a day at most";
        }

        *ttl = n;
    }

    if (denied || !allow) {
        grant->rc = FANOUT_E_FORBIDDEN;
        take_text(grant, &answer.message);
        return NULL;
    }

    if (answer.message.len) {
        return "\"message\" needs \"allow\":false";
    }

    if (answer.expires.len) {
        if (fanout_json_int(&answer.expires, &n) != FANOUT_JSON_OK || n < 1) {
            return "\"expires\" is not a time in ms";
        }

        grant->expires = n;
    }

    wrong = answer.ops.len ? follow_ops(grant, &answer.ops)
                           : fanout_authorize_connect(grant, &answer.connect);

    if (wrong == NULL) {
        wrong = follow_presence(grant, &answer.presence);
    }

    if (wrong == NULL
        && (!(grant->ops & grant->op)
            || (grant->expires && grant->expires <= fanout_time())))
    {
        grant->rc = FANOUT_E_FORBIDDEN;
    }

    return wrong;
}


static const char *
follow_ops(fanout_grant_t *grant, fanout_json_t *array)
{
    ngx_int_t  ops;

    if (grant->op == FANOUT_ASK_CONNECT) {
        return "\"ops\" is of a channel: connect has \"permit\"";
    }

    ops = fanout_permit_ops(array);

    if (ops == NGX_ERROR) {
        return "\"ops\" is not an array of operations";
    }

    grant->ops = ops;

    return NULL;
}


static const char *
follow_presence(fanout_grant_t *grant, fanout_json_t *presence)
{
    u_char  *p;

    if (presence->len == 0) {
        return NULL;
    }

    if (!(grant->op & (FANOUT_MAY_JOIN|FANOUT_MAY_PRESENCE))) {
        return "\"presence\" is of join and presence";
    }

    if (fanout_json_type(presence) == FANOUT_JSON_NULL
        || presence->len > grant->presence_max)
    {
        return "\"presence\" is null, or larger than fanout_presence_size";
    }

    p = ngx_alloc(presence->len, ngx_cycle->log);
    if (p == NULL) {
        return "out of memory";
    }

    grant->presence.data = p;
    grant->presence.len = fanout_json_minify(p, presence->data, presence->len);

    if (grant->presence.len == 2 && p[0] == '{') {
        grant->presence.len = 0;
    }

    return NULL;
}


/* The text of a refusal; without one, the usual one is told. */

static void
take_text(fanout_grant_t *grant, fanout_json_t *message)
{
    size_t   len;
    u_char  *p;

    if (message->len == 0) {
        return;
    }

    p = ngx_alloc(FANOUT_GRANT_TEXT, ngx_cycle->log);
    if (p == NULL) {
        return;
    }

    if (fanout_json_string(message, p, FANOUT_GRANT_TEXT, &len)
        != FANOUT_JSON_OK)
    {
        ngx_free(p);
        return;
    }

    grant->text.data = p;
    grant->text.len = len;
}


/* A line a second: a client may ask for much. */

static void
log_failure(fanout_authorizer_t *a, ngx_uint_t status, const char *why)
{
    if (a->logged == ngx_time()) {
        return;
    }

    a->logged = ngx_time();

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "%V gave no valid answer, status %ui: %s", &a->callee.what,
                  status, why);
}
