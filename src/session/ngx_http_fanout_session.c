
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Sessions: from the answered handshake to the end of the connection.
 */


#include "ngx_http_fanout_session.h"
#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_websocket.h"
#include "ngx_http_fanout_replay.h"

#include <netinet/tcp.h>


#define NGX_HTTP_FANOUT_INPUT      65536
#define NGX_HTTP_FANOUT_GATHER     65536
#define NGX_HTTP_FANOUT_TLS_RECORD 16384
#define NGX_HTTP_FANOUT_READS      8       /* a read event, at most */
#define NGX_HTTP_FANOUT_ROUNDS     16      /* of catching up in a turn */
#define NGX_HTTP_FANOUT_CLOSE_WAIT 2000    /* ms, for an answer to a close */
#define NGX_HTTP_FANOUT_NOTSENT    131072


typedef ngx_http_fanout_detach_t  detach_t;


static void attached_read(ngx_http_request_t *r);
static void attached_write(ngx_http_request_t *r);
static void attached_cleanup(void *data);
static void detach_handler(ngx_event_t *ev);
static ngx_uint_t detachable(ngx_http_request_t *r);
static void detach(ngx_http_fanout_session_t *s);
static void free_buffers(ngx_connection_t *c, ngx_http_connection_t *hc);
static void set_socket(ngx_http_fanout_session_t *s);
static void read_handler(ngx_event_t *rev);
static void write_handler(ngx_event_t *wev);
static void session_read(ngx_http_fanout_session_t *s);
static void take_input(ngx_http_fanout_session_t *s);
static void session_write(ngx_http_fanout_session_t *s);
static void shutdown_session(ngx_http_fanout_session_t *s);
static void timer_handler(ngx_http_fanout_session_t *s);
static void set_timer(ngx_http_fanout_session_t *s);
static ngx_int_t out_grow(ngx_http_fanout_session_t *s);
static void out_consume(ngx_http_fanout_session_t *s, size_t n);
static void out_clear(ngx_http_fanout_session_t *s);
static ssize_t out_send(ngx_http_fanout_session_t *s);
static void send_output(ngx_http_fanout_session_t *s);
static void wants_flush(ngx_http_fanout_session_t *s);
static void catch_up_sub(ngx_http_fanout_subscription_t *sub);
static ngx_uint_t tell_again(ngx_http_fanout_subscription_t *sub,
    uint64_t upto);
static ngx_int_t tell(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_entry_t *e, ngx_uint_t n);
static void forget_work(ngx_http_fanout_session_t *s);
static void close_connection(ngx_http_fanout_session_t *s);
static void session_free(ngx_http_fanout_session_t *s);
static void leave_handler(ngx_event_t *ev);


static u_char  scratch[NGX_HTTP_FANOUT_INPUT];
static u_char  gather[NGX_HTTP_FANOUT_GATHER];


ngx_http_fanout_session_t *
ngx_http_fanout_session_create(ngx_http_request_t *r,
    ngx_http_fanout_hub_t *hub, ngx_http_fanout_loc_conf_t *conf,
    ngx_str_t *user)
{
    ngx_http_cleanup_t         *cln;
    ngx_http_fanout_session_t  *s;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    s = ngx_calloc(sizeof(ngx_http_fanout_session_t) + user->len,
                   r->connection->log);
    if (s == NULL) {
        return NULL;
    }

    s->access = ngx_http_fanout_access_create(r, conf->permits);
    if (s->access == NULL) {
        ngx_free(s);
        return NULL;
    }

    s->connection = r->connection;
    s->request = r;
    s->hub = hub;
    s->conf = conf;
    s->dialect = conf->dialect;
    s->format = conf->dialect->format;
    s->out = s->few;
    s->nout_max = 2;
    s->received_at = ngx_current_msec;
    s->tokens_at = ngx_current_msec;
    s->tokens = conf->burst * 1000;

    s->user.data = (u_char *) (s + 1);
    s->user.len = user->len;

    if (user->len) {
        ngx_memcpy(s->user.data, user->data, user->len);
    }

    ngx_queue_init(&s->subs);
    ngx_queue_insert_tail(&hub->sessions, &s->queue);
    hub->nsessions++;

    cln->handler = attached_cleanup;
    cln->data = s;

    return s;
}


void
ngx_http_fanout_session_start(ngx_http_fanout_session_t *s)
{
    detach_t            *d;
    ngx_http_request_t  *r;

    r = s->request;

    r->read_event_handler = attached_read;
    r->write_event_handler = attached_write;
    r->keepalive = 0;
    r->lingering_close = 0;

    ngx_http_fanout_count(s->hub, connects);

    set_socket(s);

    s->reading = 1;
    s->dialect->open(s, r);
    s->reading = 0;

    if (s->dead) {
        close_connection(s);
        session_free(s);
        return;
    }

    d = ngx_calloc(sizeof(detach_t), s->connection->log);

    if (d == NULL) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    d->event.handler = detach_handler;
    d->event.data = d;
    d->event.log = ngx_cycle->log;
    d->event.cancelable = 1;
    d->session = s;
    s->detach = d;

    ngx_post_event(&d->event, &ngx_posted_events);
    ngx_post_event(&s->hub->drain, &ngx_posted_events);

    if (s->connection->read->timer_set) {
        ngx_del_timer(s->connection->read);
    }

    set_timer(s);
}


/* The request ends while the session is attached to it. */

static void
attached_cleanup(void *data)
{
    ngx_http_fanout_session_t *s = data;

    if (s->detaching || s->request == NULL) {
        return;
    }

    s->request = NULL;
    s->connection = NULL;

    ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
}


static void
attached_read(ngx_http_request_t *r)
{
    ngx_http_fanout_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_fanout_module);

    if (r->connection->read->timedout) {
        r->connection->read->timedout = 0;
        timer_handler(s);
        return;
    }

    session_read(s);
}


static void
attached_write(ngx_http_request_t *r)
{
    ngx_http_fanout_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_fanout_module);

    session_write(s);
}


static void
detach_handler(ngx_event_t *ev)
{
    detach_t                   *d;
    ngx_http_fanout_session_t  *s;

    d = ev->data;
    s = d->session;

    if (!detachable(s->request)) {
        /* a subrequest in the background still needs it */
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


/* Lets the request go: logged, its memory freed; the session keeps the
 * connection. */

static void
detach(ngx_http_fanout_session_t *s)
{
    size_t                  len;
    ngx_buf_t              *b;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_log_ctx_t     *ctx;
    ngx_http_connection_t  *hc;

    r = s->request;
    c = r->connection;
    hc = r->http_connection;

    b = r->header_in;
    len = b->last - b->pos;

    if (len) {
        s->input = ngx_alloc(len, c->log);
        if (s->input == NULL) {
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
            return;
        }

        ngx_memcpy(s->input, b->pos, len);
        s->input_len = len;
    }

    s->detaching = 1;
    s->request = NULL;

    r->request_complete = 1;
    ngx_http_free_request(r, 0);

    s->detaching = 0;

    c->destroyed = 0;
    c->data = s;
    c->sent = 0;

    ctx = c->log->data;
    ctx->request = NULL;
    ctx->current_request = NULL;
    c->log->action = "serving a fanout session";

    free_buffers(c, hc);

    c->read->handler = read_handler;
    c->write->handler = write_handler;
    c->idle = 1;
    c->close = 0;

    if (ngx_exiting) {
        shutdown_session(s);
    }

    s->reading = 1;
    take_input(s);
    s->reading = 0;

    if (s->dead) {
        close_connection(s);
        session_free(s);
        return;
    }

    if (c->read->ready) {
        session_read(s);
        return;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
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
}


static void
set_socket(ngx_http_fanout_session_t *s)
{
    ngx_connection_t  *c;

    c = s->connection;

    if (c->tcp_nodelay == NGX_TCP_NODELAY_UNSET) {
        (void) ngx_tcp_nodelay(c);
    }

#ifdef TCP_NOTSENT_LOWAT
    {
    int  lowat = NGX_HTTP_FANOUT_NOTSENT;

    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat,
                      sizeof(int));
    }
#endif

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        SSL_set_mode(c->ssl->connection,
                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                     |SSL_MODE_ENABLE_PARTIAL_WRITE);
        c->ssl->no_wait_shutdown = 1;
    }
#endif
}


/* events */

static void
read_handler(ngx_event_t *rev)
{
    ngx_connection_t           *c;
    ngx_http_fanout_session_t  *s;

    c = rev->data;
    s = c->data;

    if (c->close) {
        c->close = 0;
        shutdown_session(s);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        timer_handler(s);
        return;
    }

    session_read(s);
}


static void
write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;
    session_write(c->data);
}


static void
shutdown_session(ngx_http_fanout_session_t *s)
{
    if (s->connection->error) {
        /* worker_shutdown_timeout is over */
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    ngx_http_fanout_session_drain(s->hub);

    if (!s->draining) {
        s->draining = 1;
        s->close_at = ngx_current_msec;
        set_timer(s);
    }
}


static void
session_read(ngx_http_fanout_session_t *s)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = s->connection;

    s->reading = 1;

    take_input(s);

    for (i = 0; i < NGX_HTTP_FANOUT_READS && !s->dead; i++) {

        if (ngx_http_fanout_session_busy(s) || s->input_len) {
            /* the rest waits in the socket */
            break;
        }

        n = c->recv(c, scratch, NGX_HTTP_FANOUT_INPUT);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
            break;
        }

        s->received_at = ngx_current_msec;
        s->pinged = 0;

        ngx_http_fanout_websocket_input(s, scratch, n);

        if (s->dead || !c->read->ready) {
            break;
        }
    }

    s->reading = 0;

    if (s->dead) {
        close_connection(s);
        session_free(s);
        return;
    }

    if (i == NGX_HTTP_FANOUT_READS && c->read->ready) {
        /* others first */
        ngx_post_event(c->read, &ngx_posted_next_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
    }
}


/* what was received before and could not be read then */

static void
take_input(ngx_http_fanout_session_t *s)
{
    size_t   len;
    u_char  *data;

    while (s->input_len && !s->dead && !ngx_http_fanout_session_busy(s)) {
        data = s->input;
        len = s->input_len;
        s->input = NULL;
        s->input_len = 0;

        ngx_http_fanout_websocket_input(s, data, len);

        ngx_free(data);
    }
}


/* A client that does not read its replies is not read from either. */

ngx_uint_t
ngx_http_fanout_session_busy(ngx_http_fanout_session_t *s)
{
    if (s->pending >= s->conf->buffer) {
        s->held = 1;
        return 1;
    }

    return s->job != NULL;
}


static void
session_write(ngx_http_fanout_session_t *s)
{
    if (s->connection->write->timedout) {
        s->connection->write->timedout = 0;
    }

    s->blocked = 0;

    wants_flush(s);
    ngx_http_fanout_session_flush(s->hub);
}


/* One timer serves pings, deadlines and the wait for a close; it is set
 * anew only when it fires, so that traffic costs nothing. */

static void
timer_handler(ngx_http_fanout_session_t *s)
{
    u_char              buf[NGX_HTTP_FANOUT_WS_HEADER_MAX];
    size_t              n;
    ngx_msec_t          quiet, now;

    now = ngx_current_msec;

    if (s->state == NGX_HTTP_FANOUT_CLOSING) {
        if ((ngx_msec_int_t) (now - s->close_at) >= 0) {
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
            return;
        }

        set_timer(s);
        return;
    }

    if (s->draining && (ngx_msec_int_t) (now - s->close_at) >= 0) {
        s->dialect->closing(s, 1012, 0);
        ngx_http_fanout_session_close(s, 1012, "restart");
        ngx_http_fanout_session_flush(s->hub);
        return;
    }

    if (s->frame_at && now - s->frame_at >= s->conf->timeout) {
        ngx_http_fanout_count(s->hub, timeouts);
        ngx_http_fanout_session_close(s, 4408, "message not finished in time");
        ngx_http_fanout_session_flush(s->hub);
        return;
    }

    quiet = now - s->received_at;

    if (s->conf->ping) {

        if (s->pinged && quiet >= s->conf->ping + s->conf->timeout) {
            ngx_http_fanout_count(s->hub, timeouts);
            ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                          "fanout client does not answer pings");
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
            return;
        }

        if (!s->pinged && quiet >= s->conf->ping) {
            s->pinged = 1;

            if (s->pending == 0) {
                n = ngx_http_fanout_ws_header(buf, NGX_HTTP_FANOUT_WS_PING, 1,
                                              0);
                ngx_http_fanout_session_bytes(s, buf, n);

                if (s->dead) {
                    return;
                }
            }
        }
    }

    if (s->heartbeat && (ngx_msec_int_t) (now - s->beat_at) >= 0) {
        s->beat_at = now + s->conf->ping;

        if (s->pending == 0) {
            s->dialect->heartbeat(s);
        }
    }

    set_timer(s);
}


static void
set_timer(ngx_http_fanout_session_t *s)
{
    ngx_event_t  *rev;
    ngx_msec_t    now, at;

    rev = s->connection->read;
    now = ngx_current_msec;
    at = now + 3600 * 1000;

#define sooner(t)                                                             \
    if ((ngx_msec_int_t) ((t) - at) < 0) { at = (t); }

    if (s->state == NGX_HTTP_FANOUT_CLOSING || s->draining) {
        sooner(s->close_at);
    }

    if (s->state == NGX_HTTP_FANOUT_OPEN) {

        if (s->frame_at) {
            sooner(s->frame_at + s->conf->timeout);
        }

        if (s->conf->ping) {
            sooner(s->received_at + s->conf->ping
                   + (s->pinged ? s->conf->timeout : 0));

            if (s->heartbeat) {
                sooner(s->beat_at);
            }
        }
    }

#undef sooner

    rev->cancelable = 1;

    ngx_add_timer(rev, (ngx_msec_int_t) (at - now) > 0 ? at - now : 1);
}


void
ngx_http_fanout_session_deadline(ngx_http_fanout_session_t *s)
{
    ngx_uint_t  within;

    within = ngx_http_fanout_ws_within_frame(&s->ws)
             || ngx_http_fanout_ws_within_message(&s->ws);

    if (within == (s->frame_at != 0)) {
        return;
    }

    s->frame_at = within ? (ngx_current_msec ? ngx_current_msec : 1) : 0;

    if (within) {
        set_timer(s);
    }
}


ngx_uint_t
ngx_http_fanout_session_rate(ngx_http_fanout_session_t *s, ngx_uint_t *wait)
{
    uint64_t                     tokens;
    ngx_http_fanout_loc_conf_t  *conf;

    conf = s->conf;

    if (conf->rate == 0) {
        return 1;
    }

    tokens = s->tokens + (uint64_t) (ngx_current_msec - s->tokens_at)
                         * conf->rate;
    s->tokens = ngx_min(tokens, (uint64_t) conf->burst * 1000);
    s->tokens_at = ngx_current_msec;

    if (s->tokens >= 1000) {
        s->tokens -= 1000;
        return 1;
    }

    if (wait) {
        *wait = (1000 - s->tokens + conf->rate - 1) / conf->rate;
    }

    return 0;
}


/* output */

void
ngx_http_fanout_session_push(ngx_http_fanout_session_t *s,
    ngx_http_fanout_frame_t *f, uint32_t start, uint32_t end)
{
    ngx_http_fanout_piece_t  *p;

    if (s->dead || start == end) {
        return;
    }

    s->pending += end - start;

    if (s->nout) {
        p = &s->out[(s->out_head + s->nout - 1) & (s->nout_max - 1)];

        if (p->frame == f && p->end == start) {
            p->end = end;
            goto queue;
        }
    }

    if (s->nout == s->nout_max && out_grow(s) != NGX_OK) {
        s->pending -= end - start;
        ngx_http_fanout_session_lag(s);
        return;
    }

    p = &s->out[(s->out_head + s->nout) & (s->nout_max - 1)];

    p->frame = f;
    p->start = start;
    p->end = end;
    f->refs++;
    s->nout++;

queue:

    wants_flush(s);
}


static ngx_int_t
out_grow(ngx_http_fanout_session_t *s)
{
    uint32_t                  i, n;
    ngx_http_fanout_piece_t  *out;

    n = s->nout_max * 2;

    out = ngx_alloc(n * sizeof(ngx_http_fanout_piece_t), ngx_cycle->log);
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
out_consume(ngx_http_fanout_session_t *s, size_t n)
{
    size_t                    left;
    ngx_http_fanout_piece_t  *p;

    s->pending -= n;

    while (n) {
        p = &s->out[s->out_head];
        left = p->end - p->start;

        if (n < left) {
            p->start += n;
            return;
        }

        n -= left;

        ngx_http_fanout_frame_release(s->hub, p->frame);
        s->out_head = (s->out_head + 1) & (s->nout_max - 1);
        s->nout--;
    }

    if (s->nout == 0 && s->out != s->few) {
        out_clear(s);
    }
}


static void
out_clear(ngx_http_fanout_session_t *s)
{
    uint32_t  i;

    for (i = 0; i < s->nout; i++) {
        ngx_http_fanout_frame_release(s->hub,
                     s->out[(s->out_head + i) & (s->nout_max - 1)].frame);
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
ngx_http_fanout_session_bytes(ngx_http_fanout_session_t *s, u_char *data,
    size_t len)
{
    ngx_http_fanout_frame_t  *f;

    f = ngx_http_fanout_frame_create(s->hub, len);

    if (f == NULL) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    ngx_memcpy(f->data, data, len);
    f->used = len;

    ngx_http_fanout_session_push(s, f, 0, len);
    ngx_http_fanout_frame_release(s->hub, f);
}


void
ngx_http_fanout_session_send(ngx_http_fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len)
{
    size_t                    n;
    ngx_http_fanout_frame_t  *f;

    if (s->state != NGX_HTTP_FANOUT_OPEN || s->dead) {
        return;
    }

    f = ngx_http_fanout_frame_create(s->hub,
                                     len + NGX_HTTP_FANOUT_WS_HEADER_MAX);
    if (f == NULL) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    n = ngx_http_fanout_ws_header(f->data, opcode, 1, len);
    ngx_memcpy(f->data + n, data, len);
    f->used = n + len;

    ngx_http_fanout_session_push(s, f, 0, f->used);
    ngx_http_fanout_frame_release(s->hub, f);
}


void
ngx_http_fanout_session_flush(ngx_http_fanout_hub_t *hub)
{
    ngx_queue_t                *q, now;
    ngx_http_fanout_session_t  *s;

    if (ngx_queue_empty(&hub->flush)) {
        return;
    }

    /* those that come back meanwhile wait for the next turn */

    ngx_queue_init(&now);
    ngx_queue_add(&now, &hub->flush);
    ngx_queue_init(&hub->flush);

    while (!ngx_queue_empty(&now)) {
        q = ngx_queue_head(&now);
        s = ngx_queue_data(q, ngx_http_fanout_session_t, flush);

        ngx_queue_remove(q);
        s->queued = 0;

        if (!s->blocked) {
            send_output(s);
        }
    }

    if (!ngx_queue_empty(&hub->flush)) {
        ngx_post_event(&hub->drain, &ngx_posted_next_events);
    }
}


static void
send_output(ngx_http_fanout_session_t *s)
{
    ssize_t            n;
    ngx_uint_t         rounds;
    ngx_connection_t  *c;

    c = s->connection;

    for (rounds = 0; /* void */ ; rounds++) {

        if (s->nout == 0) {

            if (!(s->behind || s->job)) {
                break;
            }

            if (rounds >= NGX_HTTP_FANOUT_ROUNDS) {
                /* a long way to catch up: others first */
                wants_flush(s);
                return;
            }

            ngx_http_fanout_session_catch_up(s);

            if (s->dead || s->nout == 0) {
                break;
            }
        }

        n = out_send(s);

        if (n == NGX_ERROR) {
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
            return;
        }

        if (n > 0) {
            ngx_http_fanout_add(s->hub, sent_bytes, n);
            out_consume(s, n);
        }

        if (s->nout && (n == NGX_AGAIN || n == 0 || !c->write->ready)) {
            s->blocked = 1;

            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
            }

            return;
        }
    }

    if (s->dead) {
        return;
    }

    if (s->close_after) {
        ngx_http_fanout_session_end(s, s->close_after - 1);
        return;
    }

    if (s->held) {
        s->held = 0;
        ngx_post_event(s->connection->read, &ngx_posted_next_events);
    }
}


/* Puts it among those whose output goes at the end of the turn. */

static void
wants_flush(ngx_http_fanout_session_t *s)
{
    if (!s->queued) {
        s->queued = 1;
        ngx_queue_insert_tail(&s->hub->flush, &s->flush);

        if (!s->hub->in_turn) {
            ngx_post_event(&s->hub->drain, &ngx_posted_events);
        }
    }
}


static ssize_t
out_send(ngx_http_fanout_session_t *s)
{
    size_t                    len, n, max;
    uint32_t                  i;
    ngx_connection_t         *c;
    ngx_http_fanout_piece_t  *p;

    c = s->connection;
    p = &s->out[s->out_head];

    ngx_http_fanout_count(s->hub, sends);

    max = NGX_HTTP_FANOUT_GATHER;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        /* one record; the same bytes come again if it has to be retried */
        max = NGX_HTTP_FANOUT_TLS_RECORD;
    }
#endif

    if (s->nout == 1) {
        len = p->end - p->start;

#if (NGX_HTTP_SSL)
        if (c->ssl) {
            len = ngx_min(len, max);
        }
#endif

        return c->send(c, p->frame->data + p->start, len);
    }

    len = 0;

    for (i = 0; i < s->nout && len < max; i++) {
        p = &s->out[(s->out_head + i) & (s->nout_max - 1)];

        n = ngx_min(p->end - p->start, max - len);
        ngx_memcpy(gather + len, p->frame->data + p->start, n);
        len += n;
    }

    return c->send(c, gather, len);
}


/* falling behind and catching up */

ngx_http_fanout_subscription_t *
ngx_http_fanout_session_sub(ngx_http_fanout_session_t *s, ngx_str_t *channel)
{
    ngx_queue_t                     *q;
    ngx_http_fanout_subscription_t  *sub;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_http_fanout_subscription_t, in_session);

        if (sub->channel->name.len == channel->len
            && ngx_memcmp(sub->channel->name.data, channel->data,
                          channel->len) == 0)
        {
            return sub;
        }
    }

    return NULL;
}


void
ngx_http_fanout_session_lag(ngx_http_fanout_session_t *s)
{
    ngx_queue_t                     *q;
    ngx_http_fanout_subscription_t  *sub;

    if (s->dead || s->state != NGX_HTTP_FANOUT_OPEN) {
        return;
    }

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_http_fanout_subscription_t, in_session);

        if (sub->state == NGX_HTTP_FANOUT_SUB_LIVE) {
            sub->state = NGX_HTTP_FANOUT_SUB_BEHIND;
            sub->offset = ngx_max(sub->channel->offset, sub->floor);
        }
    }

    if (!s->behind) {
        ngx_http_fanout_count(s->hub, lags);
    }

    s->behind = 1;

    wants_flush(s);
}


void
ngx_http_fanout_session_hold(ngx_http_fanout_session_t *s)
{
    ngx_queue_t                     *q;
    ngx_http_fanout_subscription_t  *sub;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_http_fanout_subscription_t, in_session);

        if (sub->state == NGX_HTTP_FANOUT_SUB_LIVE) {
            sub->offset = ngx_max(sub->channel->offset, sub->floor);
        }

        sub->state = NGX_HTTP_FANOUT_SUB_JOINING;
    }
}


void
ngx_http_fanout_session_settle(ngx_http_fanout_session_t *s)
{
    ngx_queue_t                     *q;
    ngx_http_fanout_subscription_t  *sub;

    if (s->dead) {
        return;
    }

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_http_fanout_subscription_t, in_session);

        if (sub->state != NGX_HTTP_FANOUT_SUB_JOINING) {
            continue;
        }

        sub->state = NGX_HTTP_FANOUT_SUB_LIVE;

        if (sub->reset || sub->channel->offset > sub->offset) {
            sub->state = NGX_HTTP_FANOUT_SUB_BEHIND;
            s->behind = 1;
        }
    }

    if (s->behind) {
        wants_flush(s);
    }
}


void
ngx_http_fanout_session_catch_up(ngx_http_fanout_session_t *s)
{
    ngx_queue_t                     *q, *next;
    ngx_http_fanout_subscription_t  *sub;

    if (s->state != NGX_HTTP_FANOUT_OPEN || s->dead) {
        return;
    }

    if (s->job) {
        if (s->dialect->work(s) == NGX_AGAIN || s->dead) {
            return;
        }

        if (!s->reading) {
            /* commands may have waited for it */
            ngx_post_event(s->connection->read, &ngx_posted_next_events);
        }
    }

    s->behind = 0;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_http_fanout_subscription_t, in_session);

        if (sub->state == NGX_HTTP_FANOUT_SUB_BEHIND) {
            catch_up_sub(sub);

            if (s->dead) {
                return;
            }

            if (sub->state == NGX_HTTP_FANOUT_SUB_BEHIND) {
                s->behind = 1;
            }
        }
    }
}


/* Reads the log on from what the subscriber was sent last, up to what this
 * worker has delivered; from there it is live again. */

static void
catch_up_sub(ngx_http_fanout_subscription_t *sub)
{
    int                         rc;
    uint64_t                    lost, upto;
    ngx_http_fanout_hub_t      *hub;
    ngx_http_fanout_entry_t     e;
    ngx_http_fanout_arena_t    *a;
    ngx_http_fanout_session_t  *s;
    ngx_http_fanout_channel_t  *ch;

    s = sub->session;
    hub = s->hub;
    ch = sub->channel;
    a = &hub->pages;

    ngx_memzero(&e, sizeof(ngx_http_fanout_entry_t));

    if (sub->reset) {
        sub->reset = 0;
        sub->floor = 0;
        e.type = NGX_HTTP_FANOUT_RESET;
        e.kind = NGX_HTTP_FANOUT_TEXT;
        e.epoch = ch->epoch;
        e.data.data = (u_char *) "purged";
        e.data.len = sizeof("purged") - 1;

        if (tell(sub, &e, 1) != NGX_OK) {
            return;
        }
    }

    upto = ngx_max(ch->offset, sub->floor);

    while (sub->offset < upto) {

        if (s->pending && s->pending >= s->conf->buffer / 2) {
            return;
        }

        if (tell_again(sub, upto)) {
            continue;
        }

        a->n = 0;
        a->used = 0;

        rc = ngx_http_fanout_log_read(&hub->zone, &ch->zc, ch->epoch,
                                      sub->offset, upto, a, &lost);

        if (rc == NGX_HTTP_FANOUT_ZONE_STALE
            || rc == NGX_HTTP_FANOUT_ZONE_NOTFOUND)
        {
            /* purged: the reset is on its way */
            break;
        }

        if (lost > sub->offset) {
            lost = ngx_min(lost, upto);
            e.type = NGX_HTTP_FANOUT_GAP;
            e.epoch = ch->epoch;
            e.from = sub->offset;
            e.offset = lost;

            if (tell(sub, &e, 1) != NGX_OK) {
                return;
            }

            sub->offset = lost;
        }

        if (a->n) {
            if (tell(sub, a->entries, a->n) != NGX_OK) {
                return;
            }

            sub->offset = a->entries[a->n - 1].offset;
        }

        if (rc == NGX_HTTP_FANOUT_ZONE_OK) {
            break;
        }

        if (rc == NGX_HTTP_FANOUT_ZONE_FULL) {
            /* no memory for one large message */
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
            return;
        }
    }

    sub->state = NGX_HTTP_FANOUT_SUB_LIVE;
}


/* sends what another subscriber was sent a moment ago */

static ngx_uint_t
tell_again(ngx_http_fanout_subscription_t *sub, uint64_t upto)
{
    ngx_http_fanout_hub_t     *hub;
    ngx_http_fanout_replay_t  *r;

    if (!ngx_http_fanout_sub_plain(sub)) {
        return 0;
    }

    hub = sub->session->hub;

    r = ngx_http_fanout_replay_find(hub, sub->channel, sub->format,
                                    sub->channel->epoch, sub->offset, upto);
    if (r == NULL) {
        return 0;
    }

    ngx_http_fanout_session_push(sub->session, r->frame, 0, r->frame->used);
    ngx_http_fanout_add(hub, delivered, r->n);
    sub->offset = r->last;

    return 1;
}


/* sends entries to one subscriber alone */

static ngx_int_t
tell(ngx_http_fanout_subscription_t *sub, ngx_http_fanout_entry_t *e,
    ngx_uint_t n)
{
    ngx_uint_t                  i;
    ngx_http_fanout_hub_t      *hub;
    ngx_http_fanout_frame_t    *f;
    ngx_http_fanout_session_t  *s;

    s = sub->session;
    hub = s->hub;

    f = ngx_http_fanout_frame_create(hub, 1024 + (n > 1 ? hub->pages.used
                                                          + 256 * n : 0));
    if (f == NULL) {
        goto failed;
    }

    for (i = 0; i < n; i++) {

        if (e[i].type == NGX_HTTP_FANOUT_MESSAGE
            && ((e[i].client && e[i].client == s->identity.client
                 && (sub->no_echo || (e[i].flags & NGX_HTTP_FANOUT_NOECHO)))
                || !s->dialect->match(sub, &e[i])))
        {
            continue;
        }

        if (s->dialect->encode(hub, sub->channel, &e[i], f) != NGX_OK) {
            ngx_http_fanout_frame_release(hub, f);
            goto failed;
        }

        if (e[i].type != NGX_HTTP_FANOUT_MESSAGE && s->dialect->closes) {
            ngx_http_fanout_session_push(s, f, 0, f->used);
            ngx_http_fanout_frame_release(hub, f);
            ngx_http_fanout_session_closing(s);
            return NGX_ERROR;
        }

        if (e[i].type == NGX_HTTP_FANOUT_GAP) {
            ngx_http_fanout_count(hub, gaps);

        } else if (e[i].type == NGX_HTTP_FANOUT_RESET) {
            ngx_http_fanout_count(hub, resets);

        } else {
            ngx_http_fanout_count(hub, delivered);
        }
    }

    if (e->type == NGX_HTTP_FANOUT_MESSAGE && ngx_http_fanout_sub_plain(sub)) {
        ngx_http_fanout_replay_add(hub, sub->channel, sub->format, e->epoch,
                                   sub->offset, e, n, f);
    }

    ngx_http_fanout_session_push(s, f, 0, f->used);
    ngx_http_fanout_frame_release(hub, f);

    return NGX_OK;

failed:

    ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);

    return NGX_ERROR;
}


/* ends */

void
ngx_http_fanout_session_close(ngx_http_fanout_session_t *s, ngx_uint_t code,
    const char *reason)
{
    u_char  buf[NGX_HTTP_FANOUT_WS_HEADER_MAX
                + NGX_HTTP_FANOUT_WS_CONTROL_MAX];
    u_char  payload[NGX_HTTP_FANOUT_WS_CONTROL_MAX];
    size_t  n, len;

    if (s->dead || s->state == NGX_HTTP_FANOUT_CLOSING) {
        return;
    }

    s->state = NGX_HTTP_FANOUT_CLOSING;
    s->close_code = code;
    s->close_at = ngx_current_msec + NGX_HTTP_FANOUT_CLOSE_WAIT;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, s->connection->log, 0,
                   "fanout close %ui: %s", code, reason);

    forget_work(s);

    len = ngx_http_fanout_ws_close_payload(payload, code, reason,
                                           ngx_strlen(reason));
    n = ngx_http_fanout_ws_header(buf, NGX_HTTP_FANOUT_WS_CLOSE, 1, len);
    ngx_memcpy(buf + n, payload, len);

    ngx_http_fanout_session_bytes(s, buf, n + len);

    if (!s->dead) {
        set_timer(s);
    }
}


/* Its subscription is left to the end of the session: this may be called
 * while the subscribers of the channel are walked. */

void
ngx_http_fanout_session_closing(ngx_http_fanout_session_t *s)
{
    if (s->dead || s->state == NGX_HTTP_FANOUT_CLOSING) {
        return;
    }

    s->state = NGX_HTTP_FANOUT_CLOSING;
    s->close_at = ngx_current_msec + NGX_HTTP_FANOUT_CLOSE_WAIT;
    s->behind = 0;

    set_timer(s);
}


/* what it was subscribed to and had begun to answer */

static void
forget_work(ngx_http_fanout_session_t *s)
{
    while (!ngx_queue_empty(&s->subs)) {
        ngx_http_fanout_hub_leave(ngx_queue_data(ngx_queue_head(&s->subs),
                              ngx_http_fanout_subscription_t, in_session));
    }

    ngx_http_fanout_session_job_done(s);

    s->behind = 0;
}


void
ngx_http_fanout_session_job_done(ngx_http_fanout_session_t *s)
{
    if (s->job == NULL) {
        return;
    }

    if (s->job->messages) {
        ngx_http_fanout_frame_release(s->hub, s->job->messages);
    }

    ngx_free(s->job);
    s->job = NULL;
}


void
ngx_http_fanout_session_end(ngx_http_fanout_session_t *s, ngx_uint_t how)
{
    uint32_t                linger;
    ngx_http_fanout_hub_t  *hub;

    if (s->dead) {
        return;
    }

    s->dead = 1;
    hub = s->hub;

    ngx_http_fanout_count(hub, disconnects);

    forget_work(s);

    if (s->identity.client) {
        linger = how == NGX_HTTP_FANOUT_END_CUT ? s->conf->resume : 0;
        ngx_http_fanout_identity_end(&hub->zone, s->identity_ref,
                                     &s->identity, linger);
    }

    if (s->queued) {
        ngx_queue_remove(&s->flush);
        s->queued = 0;
    }

    ngx_queue_remove(&s->queue);
    hub->nsessions--;

    if (hub->nsessions == 0 && hub->leave.timer_set) {
        ngx_del_timer(&hub->leave);
    }

    out_clear(s);

    if (s->detach) {
        if (s->detach->event.timer_set) {
            ngx_del_timer(&s->detach->event);
        }

        if (s->detach->event.posted) {
            ngx_delete_posted_event(&s->detach->event);
        }

        ngx_free(s->detach);
        s->detach = NULL;
    }

    if (!s->reading) {
        close_connection(s);
        session_free(s);
    }
}


static void
close_connection(ngx_http_fanout_session_t *s)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = s->connection;
    r = s->request;

    if (c == NULL) {
        return;
    }

    s->connection = NULL;
    s->request = NULL;

    if (r) {
        r->keepalive = 0;
        r->read_event_handler = ngx_http_block_reading;
        r->write_event_handler = ngx_http_request_empty_handler;
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ngx_http_close_connection(c);
}


static void
session_free(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_access_release(s->access);

    if (s->message) {
        ngx_free(s->message);
    }

    if (s->input) {
        ngx_free(s->input);
    }

    if (s->ws.control) {
        ngx_free(s->ws.control);
    }

    if (s->batch) {
        s->dialect->close(s);
    }

    if (s->channel.data) {
        ngx_free(s->channel.data);
    }

    ngx_free(s);
}


void
ngx_http_fanout_session_drain(ngx_http_fanout_hub_t *hub)
{
    ngx_msec_t                  longest;
    ngx_queue_t                *q;
    ngx_http_fanout_session_t  *s;

    if (hub->draining) {
        return;
    }

    hub->draining = 1;
    longest = 0;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_http_fanout_session_t, queue);

        if (s->connection == NULL || s->dead) {
            continue;
        }

        s->draining = 1;

        if (s->state == NGX_HTTP_FANOUT_OPEN) {
            s->close_at = ngx_current_msec
                          + (s->conf->drain
                             ? (ngx_msec_t) ngx_random() % s->conf->drain
                             : 0);
        }

        longest = ngx_max(longest, s->conf->drain);
        set_timer(s);
    }

    if (hub->nsessions) {
        /* the only timer that keeps the process */
        hub->leave.handler = leave_handler;
        hub->leave.data = hub;
        ngx_add_timer(&hub->leave,
                      longest + 2 * NGX_HTTP_FANOUT_CLOSE_WAIT);
    }
}


static void
leave_handler(ngx_event_t *ev)
{
    ngx_queue_t            *q, *next;
    ngx_http_fanout_hub_t  *hub;

    hub = ev->data;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = next)
    {
        next = ngx_queue_next(q);
        ngx_http_fanout_session_end(ngx_queue_data(q,
                                        ngx_http_fanout_session_t, queue),
                                    NGX_HTTP_FANOUT_END_CUT);
    }
}
