
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A session begins attached to the request of its handshake, and releases it as
 * soon as nothing else needs it.
 */


#include "session/denial.h"
#include "session/session.h"
#include "session/dialect.h"
#include "session/socket.h"
#include "session/transport.h"

#include <netinet/tcp.h>


#define FANOUT_NOTSENT    131072


static ngx_int_t take_input(fanout_session_t *s, ngx_buf_t *b);
static void detach_attached_read(ngx_http_request_t *r);
static void detach_attached_write(ngx_http_request_t *r);
static void detach_handler(ngx_event_t *ev);
static ngx_uint_t detachable(ngx_http_request_t *r);
static void detach(fanout_session_t *s);
static void free_buffers(ngx_connection_t *c, ngx_http_connection_t *hc);
static void set_socket(fanout_session_t *s);


void
fanout_session_begin(fanout_session_t *s)
{
    fanout_meter_mark_t  mark;

    fanout_count(s->hub, connects);

    s->blocked = 1;

    fanout_meter_mark(s, &mark);

    if (ngx_exiting && s->transport->two_way) {
        fanout_session_turn_away(s);

    } else {
        s->dialect->open(s, s->request);
    }

    fanout_meter_account(s, &mark);
}


void
fanout_session_start(fanout_session_t *s)
{
    fanout_detach_t     *d;
    ngx_http_request_t  *r;

    r = s->request;

    r->read_event_handler = detach_attached_read;
    r->write_event_handler = detach_attached_write;
    r->keepalive = 0;
    r->lingering_close = 0;

    set_socket(s);

    s->blocked = 0;
    fanout_outbox_queue(s);

    if (!s->awaited) {
        fanout_session_log_connect(s);
    }

    d = ngx_calloc(sizeof(fanout_detach_t), s->connection->log);

    if (d == NULL || take_input(s, r->header_in) != NGX_OK) {
        if (d) {
            ngx_free(d);
        }

        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    d->event.handler = detach_handler;
    d->event.data = d;
    d->event.log = ngx_cycle->log;
    d->event.cancelable = 1;
    d->session = s;
    s->detach = d;
    s->started = 1;

    ngx_post_event(&d->event, &ngx_posted_events);
    ngx_post_event(&s->hub->drain, &ngx_posted_events);

    if (s->connection->read->timer_set) {
        ngx_del_timer(s->connection->read);
    }

    fanout_session_timer(s);
    fanout_denials_start(s);
}


/* Input that arrived with the handshake is processed before all later input,
 * also while the session is attached. */

static ngx_int_t
take_input(fanout_session_t *s, ngx_buf_t *b)
{
    size_t  len;

    len = b->last - b->pos;

    if (len == 0) {
        return NGX_OK;
    }

    s->input = ngx_alloc(len, s->connection->log);
    if (s->input == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(s->input, b->pos, len);
    s->input_len = len;
    b->pos = b->last;

    s->meter.received += len;
    fanout_session_log_add(s, bytes_in, len);

    return NGX_OK;
}


void
fanout_session_cleanup(void *data)
{
    fanout_session_t *s = data;

    fanout_session_release_request(s);
    fanout_session_end(s, FANOUT_END_CUT);
}


static void
detach_attached_read(ngx_http_request_t *r)
{
    fanout_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_fanout_module);

    if (r->connection->read->timedout) {
        r->connection->read->timedout = 0;
        fanout_session_tick(s);
        return;
    }

    fanout_session_read(s);
}


static void
detach_attached_write(ngx_http_request_t *r)
{
    fanout_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_fanout_module);

    fanout_session_write(s);
}


static void
detach_handler(ngx_event_t *ev)
{
    fanout_detach_t   *d;
    fanout_session_t  *s;

    d = ev->data;
    s = d->session;

    if (!detachable(s->request)) {
        /* a background subrequest still needs the request */
        ngx_add_timer(ev, 50);
        return;
    }

    s->detach = NULL;
    ngx_free(d);

    detach(s);
}


static ngx_uint_t
detachable(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    return r->main == r && r->count == 1 && !r->blocked && r->out == NULL
           && !c->buffered && r->postponed == NULL && c->data == r;
}


/* Releases the request: it is logged and freed; the session keeps the
 * connection. */

static void
detach(fanout_session_t *s)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_log_ctx_t     *ctx;
    ngx_http_connection_t  *hc;

    r = s->request;
    c = r->connection;
    hc = r->http_connection;

    /* the session gives it up, but it is logged with the session's context */

    s->cleanup->handler = NULL;
    s->cleanup = NULL;
    s->request = NULL;
    s->keeps_request = 0;

    r->request_complete = 1;
    ngx_http_free_request(r, 0);

    c->destroyed = 0;
    c->data = s;
    c->sent = 0;

    ctx = c->log->data;
    ctx->request = NULL;
    ctx->current_request = NULL;
    c->log->action = "serving a fanout session";

    free_buffers(c, hc);

    c->read->handler = fanout_session_read_handler;
    c->write->handler = fanout_session_write_handler;
    c->read->cancelable = 1;
    c->idle = 1;
    c->close = 0;

    if (ngx_exiting) {
        fanout_session_shutdown(s);
    }

    fanout_session_input(s);

    if (c->read->ready) {
        fanout_session_read(s);
        return;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        fanout_session_end(s, FANOUT_END_CUT);
    }
}


static void
free_buffers(ngx_connection_t *c, ngx_http_connection_t *hc)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for (cl = hc->free; cl; cl = cl->next) {
        if (cl->buf->start && ngx_pfree(c->pool, cl->buf->start) == NGX_OK) {
            cl->buf->start = NULL;
        }
    }

    for (cl = hc->busy; cl; cl = cl->next) {
        if (cl->buf->start && ngx_pfree(c->pool, cl->buf->start) == NGX_OK) {
            cl->buf->start = NULL;
        }
    }

    hc->free = NULL;
    hc->busy = NULL;
    hc->nbusy = 0;

    b = c->buffer;

    if (b && b->start && ngx_pfree(c->pool, b->start) == NGX_OK) {
        b->start = NULL;
        b->pos = NULL;
        b->last = NULL;
    }

    c->buffer = NULL;

    fanout_socket_shrink(c);
}


static void
set_socket(fanout_session_t *s)
{
    ngx_connection_t  *c;

    c = s->connection;

    if (c->tcp_nodelay == NGX_TCP_NODELAY_UNSET) {
        (void) ngx_tcp_nodelay(c);
    }

#ifdef TCP_USER_TIMEOUT
    if (s->transport->ping == NULL && s->conf->ping) {
        /* only the peer's kernel answers a heartbeat */
        unsigned  ms = s->conf->ping + s->conf->timeout;

        (void) setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms,
                          sizeof(unsigned));
    }
#endif

#ifdef TCP_NOTSENT_LOWAT
    {
    int  lowat = FANOUT_NOTSENT;

    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat,
                      sizeof(int));
    }
#endif
}
