
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The native protocol as server-sent events, and as polls: the objects are
 * those of the WebSocket, each an event or an item.  The query of the request
 * names the channels to join, see native_query.c.
 */


#include "session/resume_token.h"
#include "dialect/native.h"


static const char *sse_accept(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status);
static void sse_open(fanout_session_t *s, ngx_http_request_t *r);
static void poll_open(fanout_session_t *s, ngx_http_request_t *r);
static void sse_receive(fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len);
static ngx_uint_t sse_match(fanout_subscription_t *sub, fanout_entry_t *e);
static void sse_parted(fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t reason);
static void sse_closing(fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);
static void sse_heartbeat(fanout_session_t *s);
static void poll_closing(fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);
static void poll_heartbeat(fanout_session_t *s);
static ngx_msec_t retry(fanout_session_t *s);


const fanout_dialect_t  fanout_native_sse = {
    .name = ngx_string("native"),
    .format = FANOUT_NATIVE_SSE,
    .names = 1,
    .part = sizeof(fanout_native_part_t),
    .accept = sse_accept,
    .open = sse_open,
    .receive = sse_receive,
    .job_done = fanout_native_job_done,
    .match = sse_match,
    .free = fanout_native_free,
    .flush = fanout_native_flush,
    .closing = sse_closing,
    .heartbeat = sse_heartbeat,
    .removed = sse_parted,
    .expiring = fanout_native_expiring
};


const fanout_dialect_t  fanout_native_poll = {
    .name = ngx_string("native"),
    .format = FANOUT_NATIVE_POLL,
    .names = 1,
    .part = sizeof(fanout_native_part_t),
    .accept = sse_accept,
    .open = poll_open,
    .receive = sse_receive,
    .job_done = fanout_native_job_done,
    .match = sse_match,
    .free = fanout_native_free,
    .flush = fanout_native_flush,
    .closing = poll_closing,
    .heartbeat = poll_heartbeat,
    .removed = sse_parted
};


static const char *
sse_accept(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_uint_t *status)
{
    const char      *why;
    fanout_query_t   q;

    why = fanout_query(r, conf, &q, status);

    return why ? why : fanout_native.accept(r, conf, status);
}


/* opening; s->refused and s->error have the reason if it fails */

static void
sse_open(fanout_session_t *s, ngx_http_request_t *r)
{
    u_char          *p, buf[sizeof("retry: \n") + NGX_INT64_LEN];
    ngx_uint_t       status;
    fanout_query_t   q;

    if (fanout_query(r, s->conf, &q, &status) != NULL) {
        s->refused = FANOUT_E_INTERNAL;
        fanout_session_end(s, FANOUT_END_CLEAN);
        return;
    }

    p = ngx_sprintf(buf, "retry: %M\n", retry(s));
    fanout_session_bytes(s, buf, p - buf);

    if (s->state != FANOUT_OPEN) {
        return;
    }

    fanout_native.open(s, r);

    if (s->state != FANOUT_OPEN) {
        return;
    }

    s->heartbeat = s->conf->ping != 0;
    s->beat_at = ngx_current_msec + s->conf->ping;

    fanout_native_query_join(s, &q);
}


/* A poll without a position, or with one that can't be recovered, is answered
 * at once. */

static void
poll_open(fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_uint_t         status;
    fanout_query_t     q;
    fanout_identity_t  id;

    if (fanout_query(r, s->conf, &q, &status) != NULL) {
        s->refused = FANOUT_E_INTERNAL;
        fanout_session_end(s, FANOUT_END_CLEAN);
        return;
    }

    if (q.session || fanout_token_read(r, &id)) {
        fanout_native.open(s, r);

        if (s->state != FANOUT_OPEN) {
            return;
        }
    }

    s->heartbeat = 1;
    s->beat_at = ngx_current_msec
                 + (q.timed ? ngx_min(q.timeout * 1000, s->conf->poll_timeout)
                            : s->conf->poll_timeout);

    fanout_native_query_join(s, &q);
}


/* Spreads reconnects of many clients. */

static ngx_msec_t
retry(fanout_session_t *s)
{
    ngx_msec_t  ms;

    ms = s->conf->retry;

    return ms + (ms > 1 ? (ngx_msec_t) ngx_random() % (ms / 2) : 0);
}


/* commands come by other requests */

static void
sse_receive(fanout_session_t *s, ngx_uint_t opcode, u_char *data, size_t len)
{
    /* void */
}


/* sending */

static ngx_uint_t
sse_match(fanout_subscription_t *sub, fanout_entry_t *e)
{
    return fanout_native.match(sub, e);
}


static void
sse_parted(fanout_session_t *s, ngx_str_t *channel, ngx_uint_t reason)
{
    fanout_native.removed(s, channel, reason);
}


static void
sse_closing(fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    u_char    *p, buf[sizeof("retry: \n") + NGX_INT64_LEN];
    uint32_t   ms;

    if (code != 1012) {
        fanout_native.closing(s, code, after);
        return;
    }

    ms = retry(s) + after;
    p = ngx_sprintf(buf, "retry: %uD\n", ms);

    fanout_session_bytes(s, buf, p - buf);
    fanout_native.closing(s, code, after);

    s->back_in = ms;
}


/* A comment: nothing that a page sees.  No blank line ends it: many parsers
 * make an event without data of one. */

static void
sse_heartbeat(fanout_session_t *s)
{
    static u_char  comment[] = ":\n";

    fanout_session_bytes(s, comment, sizeof(comment) - 1);
}


static void
poll_closing(fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    (void) s->transport->send(s);
}


/* The timeout of a poll: it is answered without items. */

static void
poll_heartbeat(fanout_session_t *s)
{
    (void) s->transport->send(s);
}
