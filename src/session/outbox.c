
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Output: segments of shared outbufs, sent once a turn.
 */


#include "session/session.h"
#include "session/socket.h"
#include "session/transport.h"


#define FANOUT_GATHER     65536


static void withhold(fanout_session_t *s,
    fanout_outbuf_t *f, uint32_t start, uint32_t end);
static ngx_int_t out_grow(fanout_session_t *s);
static void out_consume(fanout_session_t *s, size_t n);
static ngx_int_t send_output(fanout_session_t *s);
static ssize_t out_send(fanout_session_t *s);
static ssize_t tls_send(fanout_session_t *s);


static u_char  gather[FANOUT_GATHER];


void
fanout_session_push(fanout_session_t *s, fanout_outbuf_t *f, uint32_t start,
    uint32_t end)
{
    fanout_segment_t  *p;

    if (s->state == FANOUT_ENDED || s->sealed || start == end) {
        return;
    }

    s->pending += end - start;

    if (s->nout) {
        p = &s->out[(s->out_head + s->nout - 1) & (s->nout_max - 1)];

        if (p->outbuf == f && p->end == start) {
            p->end = end;
            goto queue;
        }
    }

    if (s->nout == s->nout_max && out_grow(s) != NGX_OK) {
        s->pending -= end - start;
        fanout_session_lag(s);
        return;
    }

    p = &s->out[(s->out_head + s->nout) & (s->nout_max - 1)];

    p->outbuf = f;
    p->start = start;
    p->end = end;
    f->refs++;
    s->nout++;

queue:

    fanout_outbox_queue(s);
}


void
fanout_session_enqueue(fanout_subscription_t *sub, fanout_outbuf_t *f,
    uint32_t start, uint32_t end)
{
    fanout_session_t  *s;

    s = sub->session;

    if (s->withheld) {
        withhold(s, f, start, end);
        return;
    }

    if (s->transport->place && s->nsubs > 1
        && (s->behind || !s->hub->ordered
            || sub->state != FANOUT_SUB_LIVE))
    {
        s->transport->place(sub, f, start, end);
        return;
    }

    fanout_session_push(s, f, start, end);
}


/* Only a WebSocket has arrays of commands, so place() is not needed. */

static void
withhold(fanout_session_t *s, fanout_outbuf_t *f, uint32_t start, uint32_t end)
{
    uint32_t            max;
    fanout_segment_t   *p;
    fanout_withheld_t  *w;

    w = s->withheld;

    if (w->n == w->max) {
        max = w->max ? w->max * 2 : 8;

        w = ngx_alloc(sizeof(fanout_withheld_t)
                      + max * sizeof(fanout_segment_t),
                      ngx_cycle->log);
        if (w == NULL) {
            fanout_session_lag(s);
            return;
        }

        ngx_memcpy(w, s->withheld,
                   sizeof(fanout_withheld_t)
                   + s->withheld->n * sizeof(fanout_segment_t));
        w->max = max;

        ngx_free(s->withheld);
        s->withheld = w;
    }

    p = &w->segments[w->n++];

    p->outbuf = f;
    p->start = start;
    p->end = end;
    f->refs++;

    w->bytes += end - start;
}


void
fanout_outbox_join(fanout_session_t *s)
{
    uint32_t            i;
    fanout_segment_t   *p;
    fanout_withheld_t  *w;

    w = s->withheld;

    if (w == NULL) {
        return;
    }

    s->withheld = NULL;

    for (i = 0; i < w->n; i++) {
        p = &w->segments[i];

        fanout_session_push(s, p->outbuf, p->start, p->end);
        fanout_outbuf_release(s->hub, p->outbuf);
    }

    ngx_free(w);
}


static ngx_int_t
out_grow(fanout_session_t *s)
{
    uint32_t           i, n;
    fanout_segment_t  *out;

    n = s->nout_max * 2;

    out = ngx_alloc(n * sizeof(fanout_segment_t), ngx_cycle->log);
    if (out == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < s->nout; i++) {
        out[i] = s->out[(s->out_head + i) & (s->nout_max - 1)];
    }

    if (s->out != s->few) {
        ngx_free(s->out);
    }

    s->out = out;
    s->out_head = 0;
    s->nout_max = n;

    return NGX_OK;
}


static void
out_consume(fanout_session_t *s, size_t n)
{
    size_t             left;
    fanout_segment_t  *p;

    s->pending -= n;

    if (s->owed) {
        s->owed -= ngx_min(s->owed, n);
    }

    while (n) {
        p = &s->out[s->out_head];
        left = p->end - p->start;

        if (n < left) {
            p->start += n;
            return;
        }

        n -= left;

        fanout_outbuf_release(s->hub, p->outbuf);
        s->out_head = (s->out_head + 1) & (s->nout_max - 1);
        s->nout--;
    }

    if (s->nout == 0 && s->out != s->few) {
        fanout_outbox_clear(s);
    }
}


void
fanout_outbox_clear(fanout_session_t *s)
{
    uint32_t  i;

    for (i = 0; i < s->nout; i++) {
        fanout_outbuf_release(s->hub,
                     s->out[(s->out_head + i) & (s->nout_max - 1)].outbuf);
    }

    if (s->out != s->few) {
        ngx_free(s->out);
    }

    s->out = s->few;
    s->nout_max = 2;
    s->out_head = 0;
    s->nout = 0;
    s->pending = 0;
}


void
fanout_session_bytes(fanout_session_t *s, u_char *data, size_t len)
{
    fanout_outbuf_t  *f;

    f = fanout_outbuf_create(s->hub, len);

    if (f == NULL) {
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    ngx_memcpy(f->data, data, len);
    f->used = len;

    fanout_session_push(s, f, 0, len);
    fanout_outbuf_release(s->hub, f);
}


void
fanout_session_send(fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    uint32_t          start;
    fanout_hub_t     *hub;
    fanout_outbuf_t  *f;

    if (s->state != FANOUT_OPEN) {
        return;
    }

    hub = s->hub;
    f = fanout_outbuf_create(hub, len + FANOUT_WS_HEADER_MAX);

    if (f == NULL
        || s->transport->framing->begin(hub, f, &start) != NGX_OK
        || fanout_outbuf_reserve(hub, f, len) != NGX_OK)
    {
        goto failed;
    }

    ngx_memcpy(f->data + f->used, data, len);
    f->used += len;

    if (s->transport->framing->end(hub, f, start, opcode) != NGX_OK) {
        goto failed;
    }

    fanout_session_push(s, f, 0, f->used);
    fanout_outbuf_release(hub, f);

    return;

failed:

    if (f) {
        fanout_outbuf_release(hub, f);
    }

    fanout_session_end(s, FANOUT_END_CUT);
}


void
fanout_outbox_send(fanout_session_t *s)
{
    ngx_uint_t         sent;
    ngx_connection_t  *c;

    c = s->connection;
    sent = (s->nout != 0);

    if (s->queued) {
        ngx_queue_remove(&s->flush);
        s->queued = 0;
    }

    if (send_output(s) != NGX_OK) {
        return;
    }

    if (s->sent_at) {
        fanout_session_drained(s);
    }

    if ((ngx_event_flags & NGX_USE_LEVEL_EVENT) && c->write->active
        && ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    if (s->close_after) {
        s->finish = 1;
        fanout_session_end(s, s->close_after - 1);
        return;
    }

    if (s->paused) {
        s->paused = 0;
        ngx_post_event(s->connection->read, &ngx_posted_next_events);
    }

    if (s->state == FANOUT_OPEN
        && (s->behind || s->job || s->waiting)
        && (sent || !s->hub->in_work))
    {
        /* without new output, other events continue the work */
        fanout_session_work(s);
    }
}


/* NGX_OK when the socket has taken all; otherwise the session may have
 * ended. */

static ngx_int_t
send_output(fanout_session_t *s)
{
    ssize_t            n;
    ngx_uint_t         some;
    ngx_connection_t  *c;

    c = s->connection;
    some = 0;

    if (s->deaf) {
        fanout_outbox_clear(s);
    }

    while (s->nout) {

        n = s->transport->send ? s->transport->send(s) : out_send(s);

        if (n == NGX_ERROR && s->transport->gone) {
            /* expected: the rest of its input is processed */
            s->deaf = 1;
            fanout_outbox_clear(s);
            return NGX_OK;
        }

        if (n == NGX_ERROR) {
            fanout_session_end(s, FANOUT_END_CUT);
            return NGX_DONE;
        }

        if (n == NGX_DECLINED) {
            return NGX_DONE;
        }

        if (n > 0) {
            fanout_add(s->hub, sent_bytes, n);
            fanout_session_log_add(s, bytes_out, n);
            out_consume(s, n);
            some = 1;
        }

        if (s->nout && (n == NGX_AGAIN || n == 0 || !c->write->ready)) {
            fanout_session_blocked(s, some);

            if (s->request && s->request->stream) {
                /* no socket of its own: HTTP/2 reports when it may send */
                return NGX_AGAIN;
            }

            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                fanout_session_end(s, FANOUT_END_CUT);
            }

            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


static ssize_t
out_send(fanout_session_t *s)
{
    size_t             len;
    fanout_segment_t  *p;

    if (fanout_socket_tls(s->connection)) {
        return tls_send(s);
    }

    p = &s->out[s->out_head];

    if (s->nout == 1) {
        return fanout_outbox_write(s, p->outbuf->data + p->start,
                                   p->end - p->start);
    }

    len = fanout_outbox_copy(s, gather, FANOUT_GATHER);

    return fanout_outbox_write(s, gather, len);
}


/* one record */

static ssize_t
tls_send(fanout_session_t *s)
{
    size_t  len;

    len = fanout_outbox_copy(s, gather,
                             s->retry ? s->retry
                                      : FANOUT_TLS_RECORD);

    return fanout_outbox_write(s, gather, len);
}


/* A TLS write that returned NGX_AGAIN is repeated: the same bytes, as many,
 * from the same address, although others use the buffer meanwhile. */

ssize_t
fanout_outbox_write(fanout_session_t *s, u_char *p, size_t len)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = s->connection;

    fanout_count(s->hub, sends);

    n = c->send(c, p, len);

    s->retry = (n == NGX_AGAIN && fanout_socket_tls(c)) ? len : 0;

    return n;
}


size_t
fanout_outbox_copy(fanout_session_t *s, u_char *p, size_t size)
{
    size_t             len, n;
    uint32_t           i;
    fanout_segment_t  *segment;

    len = 0;

    for (i = 0; i < s->nout && len < size; i++) {
        segment = &s->out[(s->out_head + i) & (s->nout_max - 1)];

        n = ngx_min(segment->end - segment->start, size - len);
        ngx_memcpy(p + len, segment->outbuf->data + segment->start, n);
        len += n;
    }

    return len;
}
