
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Long polls: a stream of items that ends as soon as there is one, and is
 * answered as an array.  No position is kept between polls: the client sends
 * its own.
 */


#include "session/dialect.h"
#include "http/http.h"
#include "session/position.h"
#include "transport/transport.h"


/* the answer, sent after the session has ended; of the request's pool */

typedef struct {
    ngx_str_t                 body;
    ngx_str_t                 position;
    ngx_uint_t                large;        /* the answer would be too large */
} answer_t;


static void poll_input(fanout_session_t *s, u_char *data, size_t len);
static void poll_close(fanout_session_t *s, ngx_uint_t code,
    const char *reason);
static ssize_t poll_send(fanout_session_t *s);
static ngx_uint_t reads_on(fanout_session_t *s);
static ngx_int_t poll_answer(ngx_http_request_t *r, void *data);
static ngx_int_t poll_gather(fanout_session_t *s, answer_t *a);


const fanout_transport_t  fanout_poll = {
    .name = ngx_string(FANOUT_POLL_NAME),
    .bit = FANOUT_POLL,
    .once = 1,
    .framing = &fanout_framing_items,
    .input = poll_input,
    .close = poll_close,
    .send = poll_send,
    .answer = poll_answer
};


ngx_int_t
fanout_poll_handler(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    fanout_session_t   *s;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    rc = fanout_attached_begin(r, conf->dialect->poll, &fanout_poll, &s);
    if (s == NULL) {
        return rc;
    }

    if (ngx_exiting) {
        /* answered at once, with the items there are */
        fanout_session_drain(s->hub);
        s->draining = 1;
        s->close_at = ngx_current_msec;
    }

    fanout_session_keep_request(s);
    fanout_session_attach(s);

    return NGX_DONE;
}


static void
poll_input(fanout_session_t *s, u_char *data, size_t len)
{
    /* void */
}


static void
poll_close(fanout_session_t *s, ngx_uint_t code, const char *reason)
{
    (void) poll_send(s);
}


/* The first output is the last: it is gathered into the answer, and the session
 * ends. */

static ssize_t
poll_send(fanout_session_t *s)
{
    answer_t  *a;

    if (reads_on(s) || s->state == FANOUT_ENDED) {
        return NGX_DECLINED;
    }

    a = ngx_pcalloc(s->request->pool, sizeof(answer_t));
    if (a == NULL) {
        return NGX_ERROR;
    }

    if (s->job && s->state == FANOUT_OPEN && !s->draining) {

        if (s->job->waits || s->pending < s->conf->buffer / 2) {
            /* the session is queued when the members are there */
            return NGX_DECLINED;
        }

        a->large = 1;

    } else if (poll_gather(s, a) != NGX_OK) {
        return NGX_ERROR;
    }

    s->answer = a;
    s->finish = 1;

    fanout_session_log_ended(s, 1000, "answered");

    /* the client will poll again */

    fanout_session_end(s, FANOUT_END_CUT);

    return NGX_DECLINED;
}


/* Whether the log or members are still being read for the session, in steps. */

static ngx_uint_t
reads_on(fanout_session_t *s)
{
    if (s->state != FANOUT_OPEN || !(s->behind || s->job)) {
        return 0;
    }

    if (!s->draining) {

        if (s->hub->in_work) {
            return s->works;
        }

        if (s->nout) {
            fanout_session_work(s);
            return 1;
        }
    }

    /* the time of the poll or of the worker is over: answered with the output
     * of one step */

    fanout_step_begin(s);
    fanout_session_catch_up(s);

    return 0;
}


static ngx_int_t
poll_gather(fanout_session_t *s, answer_t *a)
{
    u_char              *p;
    ngx_http_request_t  *r;

    r = s->request;

    a->position.data = ngx_pnalloc(r->pool, FANOUT_POSITION_LEN);
    a->body.data = ngx_pnalloc(r->pool, s->pending + sizeof("[]\n"));

    if (a->position.data == NULL || a->body.data == NULL) {
        return NGX_ERROR;
    }

    p = fanout_position_write(s, a->position.data);
    a->position.len = p - a->position.data;

    p = a->body.data;
    *p++ = '[';

    if (s->pending) {
        /* overwrites the comma after the last item */
        p += fanout_outbox_copy(s, p, s->pending) - 1;
    }

    *p++ = ']';
    *p++ = '\n';
    a->body.len = p - a->body.data;

    fanout_add(s->hub, sent_bytes, a->body.len);
    fanout_count(s->hub, sends);
    fanout_session_log_add(s, bytes_out, a->body.len);

    return NGX_OK;
}


static ngx_int_t
poll_answer(ngx_http_request_t *r, void *data)
{
    answer_t  *a = data;

    if (a->large) {
        return fanout_refuse(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                             "the members are more than "
                             "fanout_buffer: ask for them by POST, "
                             "channel by channel");
    }

    if (ngx_exiting || ngx_terminate) {
        r->keepalive = 0;
    }

    if (fanout_answer_headers(r) != NGX_OK
        || fanout_http_add(r, "Fanout-Position", &a->position)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return fanout_http_send(r, NGX_HTTP_OK, &fanout_type_json, a->body.data,
                            a->body.len);
}
