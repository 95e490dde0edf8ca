
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Commands by POST, for clients that receive by event streams or polls: one
 * command, or an array, run by a session that lives as long as the request.
 */


#include "session/dialect.h"
#include "hub/entry_json.h"
#include "http/headers.h"
#include "http/http.h"
#include "session/resume_token.h"
#include "transport/kept_handshake.h"
#include "transport/ticket.h"
#include "transport/transport.h"


/* the replies so far, then the answer; of the request's pool */

typedef struct {
    fanout_hub_t     *hub;
    fanout_outbuf_t  *outbuf;               /* NULL: sent, or gone */
    ngx_uint_t        n;
    ngx_uint_t        status;
    ngx_uint_t        wait;                 /* ms until the client may try
                                               again; 0 */
    const char       *why;                  /* why the request is refused, or
                                               NULL */
} answer_t;


static void post_input(fanout_session_t *s, u_char *data, size_t len);
static void post_close(fanout_session_t *s, ngx_uint_t code,
    const char *reason);
static void post_resume(fanout_session_t *s);
static const char *check_body(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status);
static ngx_uint_t post_is_json(ngx_http_request_t *r);
static void post_body_handler(ngx_http_request_t *r);
static ngx_int_t post_run(ngx_http_request_t *r);
static fanout_session_t *post_session(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, fanout_meter_t *meter);
static ngx_uint_t author(fanout_session_t *s,
    ngx_http_request_t *r);
static answer_t *answer_create(fanout_session_t *s, ngx_http_request_t *r);
static void post_go_on(fanout_session_t *s);
static void post_finish(fanout_session_t *s, ngx_uint_t status,
    const char *why);
static ngx_int_t post_answer(ngx_http_request_t *r, void *data);
static ngx_int_t harvest(fanout_session_t *s, answer_t *a);
static ngx_int_t send_replies(ngx_http_request_t *r, answer_t *a);
static void answer_free(void *data);


const fanout_transport_t  fanout_post = {
    .name = ngx_string(FANOUT_POST_NAME),
    .bit = FANOUT_POST,
    .commands = 1,
    .framing = &fanout_framing_none,
    .input = post_input,
    .close = post_close,
    .resume = post_resume,
    .answer = post_answer
};


ngx_int_t
fanout_post_handler(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    ngx_str_t           user;
    ngx_uint_t          status;
    const char         *why;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    why = fanout_handshake_check(r, conf, &user, &status);

    if (why == NULL) {
        why = check_body(r, conf, &status);
    }

    if (why) {
        return fanout_refuse(r, status, why);
    }

    rc = ngx_http_read_client_request_body(r, post_body_handler);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* With other types, a form of any page could send commands. */

static const char *
check_body(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_uint_t *status)
{
    if (!post_is_json(r)) {
        *status = NGX_HTTP_UNSUPPORTED_MEDIA_TYPE;
        return "commands are sent as application/json";
    }

    if (r->headers_in.content_length_n
        > (off_t) (conf->message_size + FANOUT_ENVELOPE))
    {
        *status = NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
        return "the body is too large: fanout_message_size";
    }

    return NULL;
}


static ngx_uint_t
post_is_json(ngx_http_request_t *r)
{
    size_t     len;
    ngx_str_t  type;

    len = fanout_type_json.len;
    type = fanout_http_header(r, "content-type");

    return type.len >= len
           && ngx_strncasecmp(type.data, fanout_type_json.data, len)
              == 0
           && (type.len == len || type.data[len] == ';'
               || type.data[len] == ' ');
}


static void
post_body_handler(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, post_run(r));
}


static ngx_int_t
post_run(ngx_http_request_t *r)
{
    off_t               size;
    u_char             *copy;
    ngx_str_t           user, body, value;
    ngx_uint_t          status;
    const char         *why;
    fanout_meter_t      meter;
    fanout_refusal_t    refusal;
    fanout_session_t   *s;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);
    size = fanout_http_body_size(r);

    if (size > (off_t) (conf->message_size + FANOUT_ENVELOPE)) {
        return fanout_refuse(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                  "the body is too large: "
                                  "fanout_message_size");
    }

    if (size == 0) {
        return fanout_refuse(r, NGX_HTTP_BAD_REQUEST,
                             "the body is empty");
    }

    /* reading the body may have taken long: checked again */

    why = fanout_handshake_check(r, conf, &user, &status);

    if (why) {
        return fanout_refuse(r, status, why);
    }

    if (fanout_http_body(r, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_exiting) {
        /* most commands need no slot */
        (void) fanout_hub_slot(conf->app->hub);
    }

    if (fanout_admit(r, conf, FANOUT_POST, &user, &meter,
                     &refusal)
        != NGX_OK)
    {
        return fanout_refuse_admission(r, conf, &user, &refusal);
    }

    s = post_session(r, conf, &user, &meter);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!author(s, r)) {
        fanout_session_return_request(s);
        return fanout_refuse(r, NGX_HTTP_FORBIDDEN,
                             fanout_header(r, "fanout-resume", &value) == 2
                             ? "Fanout-Resume is there twice"
                             : "Fanout-Resume is not a valid token of the "
                               "client, or does not match Fanout-Client");
    }

    /* a copy, as parsing changes it and others read the body */

    copy = ngx_pnalloc(r->pool, body.len);
    s->answer = answer_create(s, r);

    if (copy == NULL || s->answer == NULL) {
        fanout_session_return_request(s);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(copy, body.data, body.len);

    fanout_session_keep_request(s);

    fanout_step_begin(s);
    fanout_spend(s->hub, body.len * FANOUT_WORK_PARSE);

    s->dialect->receive(s, FANOUT_WS_TEXT, copy, body.len);

    post_go_on(s);

    return NGX_DONE;
}


static fanout_session_t *
post_session(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_str_t *user,
    fanout_meter_t *meter)
{
    fanout_session_t  *s;

    s = fanout_session_create(r, conf->app->hub, conf, conf->dialect,
                              &fanout_post, user, meter);
    if (s == NULL) {
        return NULL;
    }

    s->blocked = 1;

    ngx_http_set_ctx(r, s, ngx_http_fanout_module);
    fanout_count(s->hub, connects);

    if (fanout_subject(r, conf, user, &s->who) != NGX_OK
        || (conf->asks && fanout_keep_session(r, s) != NGX_OK))
    {
        fanout_session_return_request(s);
        return NULL;
    }

    fanout_tickets_give(r, s);

    return s;
}


static void
post_resume(fanout_session_t *s)
{
    if (s->job) {
        (void) fanout_session_job_step(s);
    }

    post_go_on(s);
}


/* A request with the token of a session sends commands as its client. */

static ngx_uint_t
author(fanout_session_t *s, ngx_http_request_t *r)
{
    uint64_t            client;
    ngx_str_t           value;
    fanout_identity_t   id;

    value = fanout_http_header(r, "fanout-client");

    if (!fanout_token_read(r, &id)) {
        return value.len == 0
               && fanout_http_header(r, "fanout-resume").len == 0;
    }

    id.user = s->user.len
              ? fanout_zone_hash(&s->hub->zone, s->user.data, s->user.len)
              : 0;

    if (value.len
        && (fanout_client_parse(&value, &client) != NGX_OK
            || client != id.client))
    {
        return 0;
    }

    if (!fanout_identity_known(&s->hub->zone, &id)) {
        return 0;
    }

    s->identity = id;

    return 1;
}


static answer_t *
answer_create(fanout_session_t *s, ngx_http_request_t *r)
{
    answer_t            *a;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(answer_t));
    if (cln == NULL) {
        return NULL;
    }

    a = cln->data;
    ngx_memzero(a, sizeof(answer_t));

    a->hub = s->hub;
    a->outbuf = fanout_outbuf_create(s->hub, 1024);

    cln->handler = answer_free;

    return a->outbuf ? a : NULL;
}


/* Gathers replies until all are there, or a backend has to answer first. */

static void
post_go_on(fanout_session_t *s)
{
    answer_t    *a;
    ngx_uint_t   status;

    a = s->answer;

    for ( ;; ) {

        if (fanout_session_denied(s)) {
            return;
        }

        if (s->state != FANOUT_OPEN || harvest(s, a) != NGX_OK) {
            post_finish(s, NGX_HTTP_INTERNAL_SERVER_ERROR, NULL);
            return;
        }

        if (a->outbuf->used > s->conf->buffer) {
            post_finish(s, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                        "the reply is larger than fanout_buffer: ask for less "
                        "at once");
            return;
        }

        if (s->job == NULL && s->parked == 0) {
            break;
        }

        if (s->job == NULL) {
            /* a backend is asked */
            s->request->read_event_handler = ngx_http_test_reading;
            return;
        }

        if (s->works || (s->job->asks && s->job->waits)) {
            /* notices a client that goes away */
            s->request->read_event_handler = ngx_http_test_reading;
            return;
        }

        (void) fanout_session_job_step(s);
    }

    /* several replies can't have one status */

    status = NGX_HTTP_OK;

    if (a->n == 1 && a->outbuf->data[0] == '{' && s->refused) {
        status = fanout_errors[s->refused].status;

        if (s->refused == FANOUT_E_RATE_LIMITED) {
            a->wait = s->meter.wait;
        }
    }

    post_finish(s, status, NULL);
}


static void
post_finish(fanout_session_t *s, ngx_uint_t status, const char *why)
{
    answer_t  *a;

    a = s->answer;
    a->status = status;
    a->why = why;

    s->finish = 1;

    fanout_session_end(s, FANOUT_END_CLEAN);
}


static ngx_int_t
post_answer(ngx_http_request_t *r, void *data)
{
    answer_t  *a = data;

    if (a->why) {
        return fanout_refuse(r, a->status, a->why);
    }

    if (a->status == NGX_HTTP_INTERNAL_SERVER_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return send_replies(r, a);
}


static void
answer_free(void *data)
{
    answer_t  *a = data;

    if (a->outbuf) {
        fanout_outbuf_release(a->hub, a->outbuf);
    }
}


/* Appends the payloads that were pushed, each a segment, to the replies.
 * Arrays among several are flattened into them. */

static ngx_int_t
harvest(fanout_session_t *s, answer_t *a)
{
    size_t             len;
    u_char            *p;
    uint32_t           i;
    fanout_segment_t  *segment;

    for (i = 0; i < s->nout; i++) {
        segment = &s->out[(s->out_head + i) & (s->nout_max - 1)];

        p = segment->outbuf->data + segment->start;
        len = segment->end - segment->start;

        if (a->n == 1 && a->outbuf->data[0] == '[') {
            a->outbuf->used -= 2;
            ngx_memmove(a->outbuf->data, a->outbuf->data + 1, a->outbuf->used);
        }

        if (a->n && p[0] == '[') {
            p++;
            len -= 2;
        }

        if ((a->n
             && fanout_outbuf_literal(s->hub, a->outbuf, ",")
                != NGX_OK)
            || fanout_outbuf_append(s->hub, a->outbuf, p, len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        a->n++;
    }

    fanout_outbox_clear(s);

    return NGX_OK;
}


static ngx_int_t
send_replies(ngx_http_request_t *r, answer_t *a)
{
    fanout_outbuf_t  *f;

    f = a->outbuf;

    if (a->n > 1) {
        /* a reply in parts */

        if (fanout_outbuf_reserve(a->hub, f, 2) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memmove(f->data + 1, f->data, f->used);
        f->data[0] = '[';
        f->used++;
        f->data[f->used++] = ']';
    }

    if (fanout_answer_headers(r) != NGX_OK
        || (a->wait && fanout_retry_after(r, a->wait) != NGX_OK)
        || fanout_outbuf_literal(a->hub, f, "\n") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (a->n == 0) {
        /* none of the commands wanted a reply */
        r->headers_out.status = NGX_HTTP_NO_CONTENT;
        r->header_only = 1;
        return ngx_http_send_header(r);
    }

    a->outbuf = NULL;

    return fanout_http_send_outbuf(r, a->hub, a->status, &fanout_type_json, f);
}


static void
post_input(fanout_session_t *s, u_char *data, size_t len)
{
    /* void */
}


/* Without replies the request is cut: its commands may be done or not. */

static void
post_close(fanout_session_t *s, ngx_uint_t code, const char *reason)
{
    answer_t  *a;

    a = s->answer;

    if (s->denied) {
        post_finish(s, NGX_HTTP_FORBIDDEN, reason);
        return;
    }

    if (harvest(s, a) == NGX_OK && a->n && a->outbuf->used <= s->conf->buffer) {
        post_finish(s, NGX_HTTP_OK, NULL);
        return;
    }

    fanout_session_end(s, FANOUT_END_CLEAN);
}
