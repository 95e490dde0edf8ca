
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Refusals, and the headers of answers.
 */


#include "http/headers.h"
#include "http/http.h"
#include "session/session.h"
#include "transport/transport.h"
#include "transport/websocket.h"


#define FANOUT_AGAIN  192                  /* bytes beside the message */


static ngx_int_t send_line(ngx_http_request_t *r, ngx_uint_t status,
    const char *text);
static ngx_int_t refuse_again(fanout_session_t *s, ngx_http_request_t *r,
    fanout_error_e error);
static ngx_int_t refuse_said(fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *said);
static ngx_uint_t by_event_source(ngx_http_request_t *r);
static ngx_int_t refuse_event(ngx_http_request_t *r, ngx_uint_t wait,
    ngx_str_t *error);


ngx_int_t
fanout_refuse(ngx_http_request_t *r, ngx_uint_t status, const char *text)
{
    u_char              buf[sizeof("{\"retry_after\":}") + NGX_INT_T_LEN];
    ngx_str_t           code, message, data, user, name, line;
    ngx_uint_t          wait;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    ngx_str_null(&data);
    ngx_str_null(&user);

    if (conf->logs && conf->user) {
        /* the user, for the log, where it was not evaluated before */
        (void) ngx_http_complex_value(r, conf->user, &user);
    }

    if (fanout_transport_of(r, conf) == FANOUT_WEBSOCKET) {
        return fanout_websocket_refuse(r, conf, &user, status, text);
    }

    if (conf->app->hub && status != NGX_HTTP_TOO_MANY_REQUESTS) {
        fanout_count(conf->app->hub, rejects);
    }

    name = *fanout_transport_name(r, conf);

    fanout_session_log_deny(r, conf, &name, &user, status, text);

    (void) ngx_http_discard_request_body(r);

    wait = fanout_denied_for(text);

    if (wait && fanout_retry_after(r, wait) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (status) {

    case NGX_HTTP_UNAUTHORIZED:
        ngx_str_set(&code, "unauthorized");
        break;

    case NGX_HTTP_FORBIDDEN:
        ngx_str_set(&code, "forbidden");

        if (wait) {
            ngx_str_set(&code, "blocked");
            data.data = buf;
            data.len = ngx_sprintf(buf, "{\"retry_after\":%ui}", wait) - buf;
        }

        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        ngx_str_set(&code, "too_large");
        break;

    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        ngx_str_set(&code, "unsupported_media_type");
        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        ngx_str_set(&code, "rate_limited");
        break;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        ngx_str_set(&code, "unavailable");
        break;

    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        ngx_str_set(&code, "internal");
        break;

    default:
        ngx_str_set(&code, "bad_request");
    }

    message.data = (u_char *) text;
    message.len = ngx_strlen(text);

    if (status != NGX_HTTP_SERVICE_UNAVAILABLE
        && status != NGX_HTTP_TOO_MANY_REQUESTS)
    {
        return fanout_http_send_error(r, status, &code, &message, &data);
    }

    if (fanout_error_line(r, &code, &message, &data, &line)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return fanout_refuse_for(r, status, conf->retry, &line);
}


ngx_int_t
fanout_websocket_refuse(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t status, const char *why)
{
    ngx_str_t   origin, transport;
    ngx_uint_t  wait;

    wait = fanout_denied_for(why);

    if (wait && fanout_retry_after(r, wait) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (conf->app->hub && status != NGX_HTTP_TOO_MANY_REQUESTS) {
        /* the others are counted as rate_limited */
        fanout_count(conf->app->hub, rejects);
    }

    ngx_str_set(&transport, FANOUT_WEBSOCKET_NAME);

    fanout_session_log_deny(r, conf, &transport, user, status, why);

    ngx_str_null(&origin);
    (void) fanout_header(r, "origin", &origin);

    if (fanout_session_log_gather_error(NGX_LOG_INFO,
                                          &r->connection->addr_text, why))
    {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "fanout refused a handshake with %ui: %s, "
                      "origin: \"%V\"", status, why, &origin);
    }

    return send_line(r, status, why);
}


static ngx_int_t
send_line(ngx_http_request_t *r, ngx_uint_t status, const char *text)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    (void) ngx_http_discard_request_body(r);

    b = ngx_create_temp_buf(r->pool, ngx_strlen(text) + 1);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_sprintf(b->last, "%s\n", text);
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;
    ngx_str_set(&r->headers_out.content_type, "text/plain");
    r->headers_out.content_type_len = sizeof("text/plain") - 1;

    if (status == 426) {
        ngx_str_set(&r->headers_out.status_line, "426 Upgrade Required");
    }

    ngx_http_clear_accept_ranges(r);

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
fanout_refuse_error(ngx_http_request_t *r, fanout_error_e error)
{
    ngx_str_t          none, said;
    ngx_uint_t         wait;
    fanout_error_t    *e;
    fanout_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_fanout_module);

    if (s && s->again) {
        return refuse_again(s, r, error);
    }

    if (error == FANOUT_E_NONE) {
        error = FANOUT_E_INTERNAL;
    }

    e = &fanout_errors[error];
    ngx_str_null(&none);
    ngx_str_null(&said);
    wait = 0;

    if (s) {

        if (error == FANOUT_E_RATE_LIMITED) {
            /* which is counted */
            wait = s->meter.wait;

        } else {
            fanout_count(s->hub, rejects);
        }

        if (error == FANOUT_E_ADDRESS_FULL || fanout_full(error)) {
            wait = s->conf->retry;
        }

        if (refuse_said(s, r, &said) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        fanout_session_return_request(s);
    }

    if (wait && said.len == 0
        && fanout_error_line(r, &e->code, &e->text, &none, &said)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (wait) {
        return fanout_refuse_for(r, e->status, wait, &said);
    }

    if (said.len) {
        return fanout_http_send(r, e->status, &fanout_type_json, said.data,
                                said.len);
    }

    return fanout_http_send_error(r, e->status, &e->code, &e->text, &none);
}


/*
 * There is no place for a session now.  An EventSource gives up for good unless
 * the response is an event stream, so it gets a stream that ends with the
 * "closing" that WebSockets get.
 */

static ngx_int_t
refuse_again(fanout_session_t *s, ngx_http_request_t *r, fanout_error_e error)
{
    u_char          *p;
    ngx_int_t        rc;
    ngx_str_t        value, message, none;
    ngx_uint_t       status, streams;
    ngx_msec_t       ms;
    fanout_error_t  *e;

    static ngx_str_t  type = ngx_string("text/event-stream");

    e = &fanout_errors[error];
    message = e->text;
    ms = s->again;
    streams = s->transport->bit == FANOUT_SSE;
    status = error == FANOUT_E_TOO_MANY ? 429 : e->status;

    if (s->why) {
        message.data = (u_char *) s->why;
        message.len = ngx_strlen(s->why);
    }

    fanout_count(s->hub, rejects);
    fanout_session_return_request(s);

    p = ngx_pnalloc(r->pool, FANOUT_AGAIN + message.len);

    rc = streams ? fanout_stream_headers(r)
                 : fanout_answer_headers(r);

    if (p == NULL || rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    value.data = p;

    if (streams) {
        value.len = ngx_sprintf(p, "retry: %M\ndata: {\"closing\":{\"code\":"
                                "\"%V\",\"message\":\"%V\",\"status\":%ui,"
                                "\"after\":%M,\"reconnect\":true}}\n\n", ms,
                                &e->code, &message,
                                (ngx_uint_t) (status == 429 ? 4429 : 1013),
                                ms)
                    - p;

        return fanout_http_send(r, NGX_HTTP_OK, &type, value.data, value.len);
    }

    value.len = ngx_sprintf(p, "%M", (ms + 999) / 1000) - p;
    ngx_str_null(&none);

    if (fanout_http_add(r, "Retry-After", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return fanout_http_send_error(r, status, &e->code, &message, &none);
}


/* The dialect's error, as a line. */

static ngx_int_t
refuse_said(fanout_session_t *s, ngx_http_request_t *r, ngx_str_t *said)
{
    u_char           *p;
    fanout_outbuf_t  *f;

    f = s->error;

    if (f == NULL) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, f->used + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    said->data = p;
    p = ngx_cpymem(p, f->data, f->used);
    *p++ = '\n';
    said->len = p - said->data;

    return NGX_OK;
}


ngx_int_t
fanout_retry_after(ngx_http_request_t *r, ngx_uint_t ms)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", (ms + 999) / 1000)
                - value.data;

    return fanout_http_add(r, "Retry-After", &value);
}


ngx_int_t
fanout_refuse_admission(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, fanout_refusal_t *refusal)
{
    ngx_str_t        message, name, error;
    fanout_error_t  *e;

    if (refusal->error != FANOUT_E_RATE_LIMITED) {
        /* that is counted */
        fanout_count(conf->app->hub, rejects);
    }

    name = *fanout_transport_name(r, conf);
    fanout_session_log_deny(r, conf, &name, user, refusal->status,
                            refusal->text);

    (void) ngx_http_discard_request_body(r);

    e = &fanout_errors[refusal->error];
    message.data = (u_char *) refusal->text;
    message.len = ngx_strlen(refusal->text);

    if (fanout_error_line(r, &e->code, &message, &refusal->data,
                          &error)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return fanout_refuse_for(r, refusal->status, refusal->wait, &error);
}


ngx_int_t
fanout_error_line(ngx_http_request_t *r, ngx_str_t *code, ngx_str_t *message,
    ngx_str_t *data, ngx_str_t *line)
{
    ngx_str_t  text;

    if (fanout_http_error_text(r, code, message, data, &text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    line->data = ngx_pnalloc(r->pool, text.len + sizeof("{\"error\":}\n") - 1);

    if (line->data == NULL) {
        return NGX_ERROR;
    }

    line->len = ngx_sprintf(line->data, "{\"error\":%V}\n", &text)
                - line->data;

    return NGX_OK;
}


ngx_int_t
fanout_refuse_for(ngx_http_request_t *r, ngx_uint_t status, ngx_uint_t wait,
    ngx_str_t *error)
{
    ngx_int_t   rc;
    ngx_uint_t  streams;

    /* the origin was accepted: the page may read the reason */

    streams = by_event_source(r);
    rc = streams ? fanout_stream_headers(r)
                 : fanout_answer_headers(r);

    if (rc != NGX_OK || fanout_retry_after(r, wait) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (streams) {
        return refuse_event(r, wait, error);
    }

    return fanout_http_send(r, status, &fanout_type_json, error->data,
                            error->len);
}


/* For an EventSource any status but 200 is final, and the page can't read
 * it. */

static ngx_uint_t
by_event_source(ngx_http_request_t *r)
{
    ngx_str_t  value;

    static ngx_str_t  type = ngx_string("text/event-stream");

    if (r->method != NGX_HTTP_GET) {
        return 0;
    }

    value = fanout_http_header(r, "accept");

    return value.len == type.len
           && ngx_strncasecmp(value.data, type.data, type.len) == 0;
}


/* Sends a stream that ends at once; the browser opens it again after
 * "retry". */

static ngx_int_t
refuse_event(ngx_http_request_t *r, ngx_uint_t wait, ngx_str_t *error)
{
    u_char  *p, *last;

    static ngx_str_t  type = ngx_string("text/event-stream");

    p = ngx_pnalloc(r->pool, sizeof("retry: \ndata: \n\n") + NGX_INT_T_LEN
                             + error->len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    wait += (ngx_uint_t) ngx_random() % (wait / 2 + 1);
    last = ngx_sprintf(p, "retry: %ui\ndata: %V\n", wait, error);

    return fanout_http_send(r, NGX_HTTP_OK, &type, p, last - p);
}


ngx_int_t
fanout_answer_headers(ngx_http_request_t *r)
{
    static ngx_str_t  no_store = ngx_string("no-store");

    return fanout_http_add(r, "Cache-Control", &no_store);
}


ngx_int_t
fanout_stream_headers(ngx_http_request_t *r)
{
    static ngx_str_t  control = ngx_string("no-cache, no-transform");
    static ngx_str_t  no = ngx_string("no");

    if (fanout_http_add(r, "Cache-Control", &control) != NGX_OK) {
        return NGX_ERROR;
    }

    return fanout_http_add(r, "X-Accel-Buffering", &no);
}
