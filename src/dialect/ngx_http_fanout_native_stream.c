
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The native protocol as server-sent events, and as polls of these: the
 * objects are those of the WebSocket, each an event.  What is joined, and
 * from where, is in the query of the request.
 */


#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_native.h"
#include "ngx_http_fanout_position.h"
#include "ngx_http_fanout_transport.h"


static const char *stream_accept(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf, ngx_uint_t *status);
static void stream_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r);
static void poll_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r);
static void stream_receive(ngx_http_fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len);
static ngx_uint_t stream_match(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_entry_t *e);
static ngx_int_t stream_encode(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_entry_t *e,
    ngx_http_fanout_frame_t *f);
static ngx_int_t stream_work(ngx_http_fanout_session_t *s);
static void stream_close(ngx_http_fanout_session_t *s);
static void stream_closing(ngx_http_fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);
static void stream_heartbeat(ngx_http_fanout_session_t *s);
static void poll_closing(ngx_http_fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);
static void poll_heartbeat(ngx_http_fanout_session_t *s);

static ngx_int_t join(ngx_http_fanout_session_t *s,
    ngx_http_fanout_query_t *q);
static ngx_int_t join_one(ngx_http_fanout_session_t *s,
    ngx_http_fanout_query_t *q, ngx_str_t *channel,
    ngx_http_fanout_zone_join_t *j);
static ngx_int_t told(ngx_http_fanout_session_t *s,
    ngx_http_fanout_query_t *q, ngx_str_t *channel,
    ngx_http_fanout_zone_join_t *j);
static void where(ngx_http_fanout_session_t *s);
static ngx_msec_t retry(ngx_http_fanout_session_t *s);


const ngx_http_fanout_dialect_t  ngx_http_fanout_native_stream = {
    ngx_string("native"),
    NGX_HTTP_FANOUT_NATIVE_SSE,
    0,
    stream_accept,
    stream_open,
    stream_receive,
    stream_match,
    stream_encode,
    stream_work,
    stream_close,
    stream_closing,
    stream_heartbeat,
    NULL,
    NULL,
    NULL
};


const ngx_http_fanout_dialect_t  ngx_http_fanout_native_poll = {
    ngx_string("native"),
    NGX_HTTP_FANOUT_NATIVE_SSE,
    0,
    stream_accept,
    poll_open,
    stream_receive,
    stream_match,
    stream_encode,
    stream_work,
    stream_close,
    poll_closing,
    poll_heartbeat,
    NULL,
    NULL,
    NULL
};


static const char *
stream_accept(ngx_http_request_t *r, ngx_http_fanout_loc_conf_t *conf,
    ngx_uint_t *status)
{
    ngx_http_fanout_query_t  q;

    return ngx_http_fanout_query(r, conf, &q, status);
}


/* opening; what can't begin is told to who asked by s->refused */

static void
stream_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    u_char                   *p, buf[sizeof("retry: \n\n") + NGX_INT64_LEN];
    ngx_uint_t                status;
    ngx_http_fanout_query_t   q;

    if (ngx_http_fanout_query(r, s->conf, &q, &status) != NULL) {
        s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return;
    }

    p = ngx_sprintf(buf, "retry: %M\n\n", retry(s));
    ngx_http_fanout_session_bytes(s, buf, p - buf);

    if (s->dead) {
        return;
    }

    ngx_http_fanout_native.open(s, r);

    if (s->dead || s->state != NGX_HTTP_FANOUT_OPEN) {
        s->refused = NGX_HTTP_FANOUT_E_ZONE_FULL;
        return;
    }

    s->heartbeat = s->conf->ping != 0;
    s->beat_at = ngx_current_msec + s->conf->ping;

    if (join(s, &q) == NGX_OK) {
        where(s);
    }
}


/* Without a position, or when something can't be recovered, there is
 * something to tell at once. */

static void
poll_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_uint_t               status;
    ngx_http_fanout_query_t  q;

    if (ngx_http_fanout_query(r, s->conf, &q, &status) != NULL) {
        s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return;
    }

    s->heartbeat = 1;
    s->beat_at = ngx_current_msec
                 + (q.timed ? ngx_min(q.timeout * 1000, s->conf->poll_timeout)
                            : s->conf->poll_timeout);

    (void) join(s, &q);
}


static ngx_int_t
join(ngx_http_fanout_session_t *s, ngx_http_fanout_query_t *q)
{
    ngx_uint_t                    i;
    ngx_http_fanout_zone_join_t  *j;

    j = ngx_alloc(q->n * sizeof(ngx_http_fanout_zone_join_t),
                  ngx_cycle->log);
    if (j == NULL) {
        s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return NGX_ERROR;
    }

    /* all before any is told: where the session is depends on all */

    for (i = 0; i < q->n; i++) {
        if (join_one(s, q, &q->channels[i], &j[i]) != NGX_OK) {
            goto failed;
        }
    }

    for (i = 0; i < q->n; i++) {

        if (q->polls && q->position.len && j[i].recovered) {
            continue;
        }

        if (told(s, q, &q->channels[i], &j[i]) != NGX_OK) {
            s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
            goto failed;
        }
    }

    ngx_free(j);

    return NGX_OK;

failed:

    ngx_free(j);

    return NGX_ERROR;
}


/* What it has missed is read from the log, as by who has fallen behind. */

static ngx_int_t
join_one(ngx_http_fanout_session_t *s, ngx_http_fanout_query_t *q,
    ngx_str_t *channel, ngx_http_fanout_zone_join_t *j)
{
    uint64_t                         incarnation, seq;
    ngx_uint_t                       since;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_subscription_t  *sub;

    since = NGX_HTTP_FANOUT_SINCE_NONE;
    incarnation = 0;
    seq = 0;

    if (q->position.len) {
        since = NGX_HTTP_FANOUT_SINCE_SEQ;
        ngx_http_fanout_position_of(s->hub, &q->position, channel,
                                    &incarnation, &seq);
    }

    rc = ngx_http_fanout_hub_join(s, channel, since, incarnation, seq,
                                  q->history, &sub, j);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        s->refused = rc;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return NGX_ERROR;
    }

    if (!q->polls) {
        sub->want |= NGX_HTTP_FANOUT_WANT_SIGNALS;
    }

    if (s->identity_ref) {
        (void) ngx_http_fanout_seat_open(&s->hub->zone, &sub->channel->zc,
                                         s->identity_ref, &s->identity);
    }

    if (j->missed) {
        sub->mail = s->resumed && j->recovered;
        sub->state = NGX_HTTP_FANOUT_SUB_BEHIND;
        sub->offset = j->after;
        sub->sent = j->from;
        s->behind = 1;
    }

    return NGX_OK;
}


/* The reply of a join, as of one that was sent: entries after its offset come
 * as events of their own. */

static ngx_int_t
told(ngx_http_fanout_session_t *s, ngx_http_fanout_query_t *q,
    ngx_str_t *channel, ngx_http_fanout_zone_join_t *j)
{
    u_char                    epoch[NGX_HTTP_FANOUT_EPOCH_LEN];
    ngx_int_t                 rc;
    ngx_http_fanout_hub_t    *hub;
    ngx_http_fanout_frame_t  *f;

    hub = s->hub;

    f = ngx_http_fanout_frame_create(hub, 512);
    if (f == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_http_fanout_epoch_format(epoch, j->epoch);

    rc = ngx_http_fanout_frame_literal(hub, f, "data: {\"ok\":{\"channel\":");

    if (rc == NGX_OK) {
        rc = ngx_http_fanout_frame_string(hub, f, channel->data,
                                          channel->len);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_fanout_frame_printf(hub, f, 128,
                                          ",\"epoch\":\"%*s\",\"offset\":%uL",
                                          sizeof(epoch), epoch, j->after);
    }

    if (rc == NGX_OK && q->position.len) {
        rc = ngx_http_fanout_frame_printf(hub, f, 64,
                                      ",\"recovered\":%s,\"missed\":%uL",
                                      j->recovered ? "true" : "false",
                                      j->missed);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_fanout_frame_literal(hub, f, ",\"messages\":[]}}\n\n");
    }

    if (rc == NGX_OK) {
        ngx_http_fanout_session_push(s, f, 0, f->used);
    }

    ngx_http_fanout_frame_release(hub, f);

    return rc;
}


/* An id alone is no event, but where the client comes back to if it is cut
 * before there is one: once it was told what could not be recovered. */

static void
where(ngx_http_fanout_session_t *s)
{
    u_char  *p, buf[NGX_HTTP_FANOUT_POSITION_LEN + 16];

    p = ngx_cpymem(buf, "id: ", 4);
    p = ngx_http_fanout_position_write(s, p);
    *p++ = '\n';
    *p++ = '\n';

    ngx_http_fanout_session_bytes(s, buf, p - buf);
}


/* not all at the same moment */

static ngx_msec_t
retry(ngx_http_fanout_session_t *s)
{
    ngx_msec_t  ms;

    ms = s->conf->retry;

    return ms + (ms > 1 ? (ngx_msec_t) ngx_random() % (ms / 2) : 0);
}


/* commands come by other requests */

static void
stream_receive(ngx_http_fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    /* void */
}


/* sending */

static ngx_uint_t
stream_match(ngx_http_fanout_subscription_t *sub, ngx_http_fanout_entry_t *e)
{
    return ngx_http_fanout_native.match(sub, e);
}


static ngx_int_t
stream_encode(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch,
    ngx_http_fanout_entry_t *e, ngx_http_fanout_frame_t *f)
{
    /* a signal has no place in the order */

    if (e->seq && e->seq != UINT64_MAX && e->type != NGX_HTTP_FANOUT_SIGNAL
        && ngx_http_fanout_position_id(hub, e->seq, f) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_fanout_frame_literal(hub, f, "data: ") != NGX_OK
        || ngx_http_fanout_native_object(hub, ch, e, f) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_fanout_frame_literal(hub, f, "\n\n");
}


static ngx_int_t
stream_work(ngx_http_fanout_session_t *s)
{
    return NGX_OK;
}


static void
stream_close(ngx_http_fanout_session_t *s)
{
    /* void */
}


static void
stream_closing(ngx_http_fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after)
{
    u_char  *p, buf[sizeof("retry: \n\n") + NGX_INT64_LEN];

    ngx_http_fanout_native.closing(s, code, after);

    if (code == 1012 && !s->dead) {
        p = ngx_sprintf(buf, "retry: %M\n\n", retry(s));
        ngx_http_fanout_session_bytes(s, buf, p - buf);
    }
}


/* a comment: nothing that a page sees */

static void
stream_heartbeat(ngx_http_fanout_session_t *s)
{
    static u_char  comment[] = ":\n\n";

    ngx_http_fanout_session_bytes(s, comment, sizeof(comment) - 1);
}


static void
poll_closing(ngx_http_fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    (void) s->transport->send(s);
}


/* it is time: with what there is, which is nothing */

static void
poll_heartbeat(ngx_http_fanout_session_t *s)
{
    (void) s->transport->send(s);
}
