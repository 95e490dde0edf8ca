
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Server-sent events (HTML, section 9.2).
 *
 * Over HTTP/1.1 the session itself sends chunks, so that proxies and browsers
 * see where the response ends.  Sessions share the events; each write becomes a
 * chunk.  So the session can release the request, as a WebSocket does.  Over
 * HTTP/1.0 there are no chunks: the response ends with the connection.  Over
 * HTTP/2 the session stays attached to its stream.
 */


#include "session/dialect.h"
#include "http/http.h"
#include "session/position.h"
#include "session/socket.h"
#include "transport/transport.h"


#define FANOUT_CHUNK_HEAD  6                /* "ffff\r\n" */
#define FANOUT_CHUNK_TAIL  7                /* "\r\n0\r\n\r\n" */
#define FANOUT_CHUNKED     (FANOUT_CHUNK_HEAD                                 \
                            + FANOUT_CHUNK_TAIL)
#define FANOUT_CHUNK_MAX   65535            /* bytes of events */


static void sse_input(fanout_session_t *s, u_char *data, size_t len);
static void sse_close(fanout_session_t *s, ngx_uint_t code,
    const char *reason);
static ngx_int_t stream_answer(ngx_http_request_t *r, void *data);
static ngx_int_t send_header(ngx_http_request_t *r);
static ngx_uint_t own_body(ngx_http_request_t *r);
static void flush_header(ngx_http_request_t *r);
static void sse_start(fanout_session_t *s);
static void end_body(fanout_session_t *s);
static ssize_t chunked_send(fanout_session_t *s);
static size_t body_sent(fanout_session_t *s, size_t head);
static size_t chunk_head(u_char *p, uint32_t n);


static u_char  framed[FANOUT_CHUNK_MAX + FANOUT_CHUNKED];


/* HTTP/1.0: the body ends with the connection */

const fanout_transport_t  fanout_sse = {
    .name = ngx_string(FANOUT_SSE_NAME),
    .bit = FANOUT_SSE,
    .framing = &fanout_framing_events,
    .input = sse_input,
    .close = sse_close,
    .place = fanout_position_place
};


/* HTTP/1.1: in chunks */

static const fanout_transport_t  sse_chunked = {
    .name = ngx_string(FANOUT_SSE_NAME),
    .bit = FANOUT_SSE,
    .framing = &fanout_framing_events,
    .input = sse_input,
    .close = sse_close,
    .send = chunked_send,
    .place = fanout_position_place
};


/* through the filters of its request */

static const fanout_transport_t  sse_stream = {
    .name = ngx_string(FANOUT_SSE_NAME),
    .bit = FANOUT_SSE,
    .framing = &fanout_framing_events,
    .input = sse_input,
    .close = sse_close,
    .send = fanout_filtered_send,
    .place = fanout_position_place,
    .answer = stream_answer
};


ngx_int_t
fanout_sse_handler(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    ngx_uint_t          waits;
    fanout_session_t   *s;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    rc = fanout_attached_begin(r, conf->dialect->stream, &fanout_sse, &s);
    if (s == NULL) {
        return rc;
    }

    rc = send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        fanout_session_return_request(s);
        return rc;
    }

    if (!own_body(r)) {
        s->transport = &sse_stream;

    } else if (r->chunked) {
        s->transport = &sse_chunked;
    }

    /* answers to requests pipelined before may still be unsent */

    waits = (s->transport != &sse_stream
             && (r->out || r->connection->buffered));

    if (waits && fanout_await_header(r) != NGX_OK) {
        fanout_session_return_request(s);
        return NGX_ERROR;
    }

    fanout_session_keep_request(s);

    if (waits) {
        r->write_event_handler = flush_header;
        return NGX_DONE;
    }

    sse_start(s);

    return NGX_DONE;
}


static ngx_int_t
send_header(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    static ngx_str_t  type = ngx_string("text/event-stream");

    if (fanout_stream_headers(r) != NGX_OK) {
        return NGX_ERROR;
    }

    r->err_status = 0;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = -1;
    r->headers_out.content_type = type;
    r->headers_out.content_type_len = type.len;
    r->headers_out.content_type_lowcase = NULL;

    ngx_http_clear_accept_ranges(r);

#if (NGX_HTTP_GZIP)
    r->gzip_tested = 1;
    r->gzip_ok = 0;
#endif

    if (r->http_version < NGX_HTTP_VERSION_20) {
        r->keepalive = 0;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    return ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR ? NGX_ERROR
                                                                 : NGX_OK;
}


/* whether the session may write the body, or chunks of it, to the connection
 * itself */

static ngx_uint_t
own_body(ngx_http_request_t *r)
{
    return r->http_version < NGX_HTTP_VERSION_20
           && r->headers_out.content_encoding == NULL && r == r->main;
}


static void
flush_header(ngx_http_request_t *r)
{
    if (fanout_flush_header(r) == NGX_OK) {
        sse_start(ngx_http_get_module_ctx(r, ngx_http_fanout_module));
    }
}


static void
sse_start(fanout_session_t *s)
{
    if (s->transport == &sse_stream) {
        fanout_session_attach(s);

    } else {
        fanout_session_start(s);
    }
}


/* The connection ends with the response: a client must not send another
 * request. */

static void
sse_input(fanout_session_t *s, u_char *data, size_t len)
{
    fanout_count(s->hub, protocol_errors);

    ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                  "fanout client sent data on an event stream");

    fanout_session_closing(s);

    s->lingers = 1;

    if (!s->close_after) {
        end_body(s);
    }
}


static void
sse_close(fanout_session_t *s, ngx_uint_t code, const char *reason)
{
    u_char  *p, buf[256];

    if (code != 1012) {
        /* a restart was announced before */
        p = ngx_slprintf(buf, buf + sizeof(buf),
                         "data: {\"closing\":{\"code\":\"%s\",\"status\":%ui,"
                         "\"reconnect\":%s}}\n\n", reason, code,
                         code == 4409 ? "false" : "true");

        fanout_session_bytes(s, buf, p - buf);
    }

    end_body(s);
}


/* The end of the body is sent with the chunk that empties the outbox.  If the
 * outbox is empty, or a chunk has begun, a comment makes another chunk. */

static void
end_body(fanout_session_t *s)
{
    static u_char  comment[] = ":\n";

    if (s->transport == &sse_chunked
        && (s->nout == 0 || s->chunk))
    {
        fanout_session_bytes(s, comment, sizeof(comment) - 1);
    }

    s->close_after = 1 + FANOUT_END_CUT;

    fanout_outbox_queue(s);
}


/* All was sent: ends the response as a complete one. */

static ngx_int_t
stream_answer(ngx_http_request_t *r, void *data)
{
    r->keepalive = 0;

    return ngx_http_send_special(r, NGX_HTTP_LAST);
}


/* chunks */

/*
 * Sends output as a chunk (RFC 9112, section 7.1).  If the socket takes only
 * some of it, the chunk is composed again for the rest, with the same size:
 * s->chunk is the size of its data, s->chunk_sent counts all bytes sent, with
 * their framing.  The last byte of the data stays in the outbox until the end
 * of the chunk was sent, too.
 */

static ssize_t
chunked_send(fanout_session_t *s)
{
    u_char    *p;
    size_t     head, before, now;
    ssize_t    n;
    uint32_t   max;

    if (s->chunk == 0) {
        max = fanout_socket_tls(s->connection)
              ? FANOUT_TLS_RECORD - FANOUT_CHUNKED
              : FANOUT_CHUNK_MAX;

        s->chunk = ngx_min(s->pending, max);
        s->chunk_sent = 0;
        s->chunk_last = (s->close_after && s->chunk == s->pending);
    }

    head = chunk_head(framed, s->chunk);
    before = body_sent(s, head);

    p = framed + head;
    p += fanout_outbox_copy(s, p, s->chunk - before);
    p = s->chunk_last ? ngx_cpymem(p, "\r\n0\r\n\r\n",
                                   FANOUT_CHUNK_TAIL)
                      : ngx_cpymem(p, "\r\n", 2);

    n = fanout_outbox_write(s, framed + s->chunk_sent - before,
                            p - framed - (s->chunk_sent - before));
    if (n < 0) {
        return n;
    }

    s->chunk_sent += n;

    if (framed + s->chunk_sent - before == p) {
        now = s->chunk;
        s->chunk = 0;

    } else {
        now = body_sent(s, head);
    }

    return now - before;
}


/* bytes of the chunk's data that have left the outbox */

static size_t
body_sent(fanout_session_t *s, size_t head)
{
    return s->chunk_sent > head
           ? ngx_min(s->chunk_sent - head, (size_t) s->chunk - 1) : 0;
}


static size_t
chunk_head(u_char *p, uint32_t n)
{
    u_char      *start;
    ngx_uint_t   bits;

    static const u_char  hex[] = "0123456789abcdef";

    start = p;

    for (bits = 12; bits && n >> bits == 0; bits -= 4) { /* void */ }

    for ( /* void */ ; bits; bits -= 4) {
        *p++ = hex[n >> bits & 0xf];
    }

    *p++ = hex[n & 0xf];
    *p++ = CR;
    *p++ = LF;

    return p - start;
}
