
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Sessions that stay attached to their request: one that will be answered, or
 * a stream over HTTP/2, whose output goes through the filters of the request.
 */


#include "session/denial.h"
#include "session/session.h"
#include "session/transport.h"


#define FANOUT_STREAM  16384               /* bytes on their way, at most */


struct fanout_filtered_s {
    ngx_buf_t     buf;
    ngx_chain_t   out;
    u_char       *data;         /* NULL: nothing is on its way */
    u_char       *seen;         /* buf.pos, as it was last */
};


static void session_attached_read(ngx_http_request_t *r);
static void session_attached_write(ngx_http_request_t *r);
static fanout_filtered_t *stream_create(ngx_http_request_t *r);
static void stream_cleanup(void *data);
static void stream_settle(fanout_filtered_t *st);


void
fanout_session_attach(fanout_session_t *s)
{
    ngx_http_request_t  *r;

    r = s->request;

    r->read_event_handler = session_attached_read;
    r->write_event_handler = session_attached_write;

    s->blocked = 0;

    if (s->nout || s->behind || s->job || s->close_after) {
        fanout_outbox_queue(s);
    }

    ngx_post_event(&s->hub->drain, &ngx_posted_events);

    fanout_session_timer(s);
    fanout_denials_start(s);
}


void
fanout_session_keep_request(fanout_session_t *s)
{
    s->request->main->count++;
    s->keeps_request = 1;
}


void
fanout_session_return_request(fanout_session_t *s)
{
    fanout_session_release_request(s);

    /* a client that polls will do so again */

    fanout_session_end(s, s->transport->once ? FANOUT_END_CUT
                                             : FANOUT_END_CLEAN);
}


/* Input is not for the session; only the end of the connection is. */

static void
session_attached_read(ngx_http_request_t *r)
{
    ngx_event_t       *rev;
    fanout_session_t  *s;

    rev = r->connection->read;

    if (rev->timedout) {
        rev->timedout = 0;
        s = ngx_http_get_module_ctx(r, ngx_http_fanout_module);
        fanout_session_tick(s);
        return;
    }

    ngx_http_test_reading(r);
}


static void
session_attached_write(ngx_http_request_t *r)
{
    fanout_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_fanout_module);

    if (r->connection->write->error) {
        /* HTTP/3: the client has cancelled the stream (RFC 9000, section 3.5);
         * without output, nothing else shows it */
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    if (s->stream) {
        fanout_session_write(s);
    }
}


/* output through filters */

ssize_t
fanout_filtered_send(fanout_session_t *s)
{
    size_t               len;
    ngx_buf_t           *b;
    fanout_filtered_t   *st;
    ngx_http_request_t  *r;

    r = s->request;

    if (s->stream == NULL) {
        s->stream = stream_create(r);

        if (s->stream == NULL) {
            return NGX_ERROR;
        }
    }

    st = s->stream;

    if (st->data) {
        if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (st->buf.pos != st->seen) {
            st->seen = st->buf.pos;
            s->sent_at = s->sent_at ? ngx_current_msec : 0;
        }

        stream_settle(st);

        if (st->data) {
            return NGX_AGAIN;
        }
    }

    len = ngx_min(s->pending, FANOUT_STREAM);

    st->data = ngx_alloc(len, ngx_cycle->log);
    if (st->data == NULL) {
        return NGX_ERROR;
    }

    b = &st->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));

    b->start = st->data;
    b->pos = st->data;
    st->seen = st->data;
    b->last = st->data + fanout_outbox_copy(s, st->data, len);
    b->end = b->last;
    b->temporary = 1;
    b->flush = 1;
    b->tag = (ngx_buf_tag_t) &ngx_http_fanout_module;

    st->out.buf = b;
    st->out.next = NULL;

    if (ngx_http_output_filter(r, &st->out) == NGX_ERROR) {
        return NGX_ERROR;
    }

    stream_settle(st);

    return len;
}


/* The bytes may be in the filters for longer than the session lives. */

static fanout_filtered_t *
stream_create(ngx_http_request_t *r)
{
    fanout_filtered_t   *st;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(fanout_filtered_t));
    if (cln == NULL) {
        return NULL;
    }

    st = cln->data;
    ngx_memzero(st, sizeof(fanout_filtered_t));

    cln->handler = stream_cleanup;

    return st;
}


static void
stream_cleanup(void *data)
{
    fanout_filtered_t  *st = data;

    if (st->data) {
        ngx_free(st->data);
        st->data = NULL;
    }
}


static void
stream_settle(fanout_filtered_t *st)
{
    if (st->buf.pos == st->buf.last) {
        ngx_free(st->data);
        st->data = NULL;
    }
}
