
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Which transport a request asks for, and what those of plain HTTP share.
 */


#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_http.h"
#include "ngx_http_fanout_transport.h"
#include "ngx_http_fanout_websocket.h"


#define NGX_HTTP_FANOUT_AGAIN  192         /* bytes beside the message */


static ngx_uint_t transport(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf);
static ngx_int_t preflight(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf);
static ngx_int_t come_back(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf);
static ngx_int_t refuse_again(ngx_http_fanout_session_t *s,
    ngx_http_request_t *r, ngx_http_fanout_error_e error);
static ngx_int_t last_error(ngx_http_fanout_session_t *s,
    ngx_http_request_t *r, ngx_str_t *said);


ngx_int_t
ngx_http_fanout_handler(ngx_http_request_t *r)
{
    ngx_str_t                    value;
    ngx_uint_t                   t;
    ngx_http_fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    /* a page can't read what comes in the place of a 101 */

    if (!ngx_http_fanout_header(r, "upgrade", &value)
        && ngx_http_fanout_origin_cors(r, &conf->origins) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    t = transport(r, conf);

    if (r->method == NGX_HTTP_OPTIONS && t != NGX_HTTP_FANOUT_WEBSOCKET) {
        return preflight(r, conf);
    }

    if (!(conf->transports & t)) {
        return ngx_http_fanout_refuse(r, NGX_HTTP_FORBIDDEN,
                         t == NGX_HTTP_FANOUT_SSE
                         ? "event streams are not served here: "
                           "fanout_transports"
                         : t == NGX_HTTP_FANOUT_POLL
                           ? "polls are not served here: fanout_transports"
                           : t == NGX_HTTP_FANOUT_POST
                             ? "POST is not served here: fanout_transports"
                             : "WebSocket is not served here: "
                               "fanout_transports");
    }

    if (t & (NGX_HTTP_FANOUT_SSE|NGX_HTTP_FANOUT_POLL)
        && (r->headers_in.content_length_n > 0 || r->headers_in.chunked))
    {
        return ngx_http_fanout_refuse(r, NGX_HTTP_BAD_REQUEST,
                                      "a GET has no body here");
    }

    switch (t) {

    case NGX_HTTP_FANOUT_SSE:
        return ngx_http_fanout_sse_handler(r);

    case NGX_HTTP_FANOUT_POLL:
        return ngx_http_fanout_poll_handler(r);

    case NGX_HTTP_FANOUT_POST:
        return ngx_http_fanout_post_handler(r);

    default:
        return ngx_http_fanout_websocket_handler(r);
    }
}


/* A request that asks for an upgrade is of WebSocket, whatever its query. */

static ngx_uint_t
transport(ngx_http_request_t *r, ngx_http_fanout_loc_conf_t *conf)
{
    ngx_str_t  value;

    if (conf->dialect->stream == NULL || r != r->main
        || ngx_http_fanout_header(r, "upgrade", &value))
    {
        return NGX_HTTP_FANOUT_WEBSOCKET;
    }

    switch (r->method) {

    case NGX_HTTP_POST:
    case NGX_HTTP_OPTIONS:
        return NGX_HTTP_FANOUT_POST;

    case NGX_HTTP_GET:
        break;

    default:
        return NGX_HTTP_FANOUT_WEBSOCKET;
    }

    if (ngx_http_arg(r, (u_char *) "poll", 4, &value) == NGX_OK
        && (value.len != 1 || value.data[0] != '0'))
    {
        return NGX_HTTP_FANOUT_POLL;
    }

    if (ngx_http_arg(r, (u_char *) "channel", 7, &value) == NGX_OK
        || ngx_http_arg(r, (u_char *) "join", 4, &value) == NGX_OK)
    {
        return NGX_HTTP_FANOUT_SSE;
    }

    value = ngx_http_fanout_http_header(r, "accept");

    return value.len
           && ngx_strlcasestrn(value.data, value.data + value.len,
                               (u_char *) "text/event-stream",
                               sizeof("text/event-stream") - 2)
           ? NGX_HTTP_FANOUT_SSE : NGX_HTTP_FANOUT_WEBSOCKET;
}


const ngx_str_t *
ngx_http_fanout_transport_name(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf)
{
    switch (transport(r, conf)) {

    case NGX_HTTP_FANOUT_SSE:
        return &ngx_http_fanout_sse.name;

    case NGX_HTTP_FANOUT_POLL:
        return &ngx_http_fanout_poll.name;

    case NGX_HTTP_FANOUT_POST:
        return &ngx_http_fanout_post.name;

    default:
        return &ngx_http_fanout_websocket.name;
    }
}


/* What a browser asks before a page of another origin may send a POST. */

static ngx_int_t
preflight(ngx_http_request_t *r, ngx_http_fanout_loc_conf_t *conf)
{
    const char  *why;

    static ngx_str_t  methods = ngx_string("GET, POST");
    static ngx_str_t  headers = ngx_string("Content-Type, Fanout-Client, "
                                           "Fanout-Resume, Last-Event-ID, "
                                           "Authorization");

    why = ngx_http_fanout_origin_check(r, &conf->origins);

    if (why) {
        return ngx_http_fanout_refuse(r, NGX_HTTP_FORBIDDEN, why);
    }

    return ngx_http_fanout_origin_preflight(r, &methods, &headers);
}


/* what streams and polls begin with */

ngx_int_t
ngx_http_fanout_attached_begin(ngx_http_request_t *r,
    const ngx_http_fanout_dialect_t *dialect,
    const ngx_http_fanout_transport_t *transport,
    ngx_http_fanout_session_t **sp)
{
    ngx_str_t                    user;
    ngx_uint_t                   status;
    const char                  *why;
    ngx_http_fanout_meter_t      meter;
    ngx_http_fanout_refusal_t    refusal;
    ngx_http_fanout_session_t   *s;
    ngx_http_fanout_loc_conf_t  *conf;

    *sp = NULL;
    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    why = ngx_http_fanout_handshake_check(r, conf, &user, &status);

    if (why) {
        return ngx_http_fanout_refuse(r, status, why);
    }

    if (ngx_exiting && transport == &ngx_http_fanout_sse) {
        return come_back(r, conf);
    }

    if (ngx_exiting && !ngx_http_fanout_hub_slot(conf->app->hub)) {
        return ngx_http_fanout_refuse(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                             "this worker is shutting down, try again");
    }

    if (ngx_http_fanout_admit(r, conf, transport->bit, &user, &meter,
                              &refusal)
        != NGX_OK)
    {
        return ngx_http_fanout_refuse_admission(r, conf, &user, &refusal);
    }

    why = dialect->accept(r, conf, &status);

    if (why) {
        ngx_http_fanout_meter_undo(conf->app->hub, &meter);
        return ngx_http_fanout_refuse(r, status, why);
    }

    s = ngx_http_fanout_session_create(r, conf->app->hub, conf, &user, &meter);
    if (s == NULL) {
        ngx_http_fanout_meter_undo(conf->app->hub, &meter);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    s->dialect = dialect;
    s->format = dialect->format;
    s->transport = transport;

    ngx_http_set_ctx(r, s, ngx_http_fanout_module);

    if (ngx_http_fanout_session_begin(s) != NGX_OK
        || s->state != NGX_HTTP_FANOUT_OPEN)
    {
        return ngx_http_fanout_refuse_error(r, s->refused);
    }

    *sp = s;

    return NGX_OK;
}


/* A stream in a worker that is shutting down ends at once: an EventSource comes
 * back from an end, but not from an error. */

static ngx_int_t
come_back(ngx_http_request_t *r, ngx_http_fanout_loc_conf_t *conf)
{
    u_char  *p;
    size_t   len;

    static ngx_str_t  type = ngx_string("text/event-stream");

    p = ngx_pnalloc(r->pool, sizeof("retry: \n") + NGX_INT64_LEN);

    if (p == NULL || ngx_http_fanout_stream_headers(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = ngx_sprintf(p, "retry: %M\n", conf->retry) - p;
    r->keepalive = 0;

    return ngx_http_fanout_http_send(r, NGX_HTTP_OK, &type, p, len);
}


ngx_int_t
ngx_http_fanout_flush_header(ngx_http_request_t *r)
{
    ngx_event_t       *wev;
    ngx_connection_t  *c;

    c = r->connection;
    wev = c->write;

    if (wev->timedout) {
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return NGX_ERROR;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return NGX_ERROR;
    }

    if (r->out || c->buffered) {

        if (ngx_http_fanout_await_header(r) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return NGX_ERROR;
        }

        return NGX_AGAIN;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_fanout_await_header(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    r->read_event_handler = ngx_http_test_reading;

    ngx_add_timer(wev, clcf->send_timeout);

    return ngx_handle_write_event(wev, clcf->send_lowat);
}


/* answers */

ngx_int_t
ngx_http_fanout_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *text)
{
    ngx_str_t                    code, message, none, user, name, line;
    ngx_http_fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    ngx_str_null(&none);
    ngx_str_null(&user);

    if (conf->logs && conf->user) {
        /* who it is, or says to be, if that was not known before */
        (void) ngx_http_complex_value(r, conf->user, &user);
    }

    if (transport(r, conf) == NGX_HTTP_FANOUT_WEBSOCKET) {
        return ngx_http_fanout_websocket_refuse(r, conf, &user, status, text);
    }

    if (conf->app->hub) {
        ngx_http_fanout_count(conf->app->hub, rejects);
    }

    name = *ngx_http_fanout_transport_name(r, conf);

    ngx_http_fanout_eventlog_deny(r, conf, &name, &user, status, text);

    (void) ngx_http_discard_request_body(r);

    switch (status) {

    case NGX_HTTP_FORBIDDEN:
        ngx_str_set(&code, "forbidden");
        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        ngx_str_set(&code, "too_large");
        break;

    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        ngx_str_set(&code, "unsupported_media_type");
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

    if (status != NGX_HTTP_SERVICE_UNAVAILABLE) {
        return ngx_http_fanout_http_send_error(r, status, &code, &message,
                                               &none);
    }

    if (ngx_http_fanout_error_line(r, &code, &message, &none, &line)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_fanout_refuse_for(r, status, conf->retry, &line);
}


ngx_int_t
ngx_http_fanout_refuse_error(ngx_http_request_t *r,
    ngx_http_fanout_error_e error)
{
    ngx_str_t                   none, said;
    ngx_uint_t                  wait;
    ngx_http_fanout_error_t    *e;
    ngx_http_fanout_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_fanout_module);

    if (s && s->again) {
        return refuse_again(s, r, error);
    }

    if (error == NGX_HTTP_FANOUT_E_NONE) {
        error = NGX_HTTP_FANOUT_E_INTERNAL;
    }

    e = &ngx_http_fanout_errors[error];
    ngx_str_null(&none);
    ngx_str_null(&said);
    wait = 0;

    if (s) {
        ngx_http_fanout_count(s->hub, rejects);

        if (error == NGX_HTTP_FANOUT_E_RATE_LIMITED) {
            wait = s->meter.wait;

        } else if (error == NGX_HTTP_FANOUT_E_ADDRESS_FULL
                   || ngx_http_fanout_full(error))
        {
            wait = s->conf->retry;
        }

        if (last_error(s, r, &said) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_fanout_session_part(s);
    }

    if (wait && said.len == 0
        && ngx_http_fanout_error_line(r, &e->code, &e->text, &none, &said)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (wait) {
        return ngx_http_fanout_refuse_for(r, e->status, wait, &said);
    }

    if (said.len) {
        return ngx_http_fanout_http_send(r, e->status,
                                         &ngx_http_fanout_type_json,
                                         said.data, said.len);
    }

    return ngx_http_fanout_http_send_error(r, e->status, &e->code, &e->text,
                                           &none);
}


/*
 * There is no place for a session now.  EventSource gives up for good unless
 * it is a stream, so it gets one that ends with what WebSockets are told.
 */

static ngx_int_t
refuse_again(ngx_http_fanout_session_t *s, ngx_http_request_t *r,
    ngx_http_fanout_error_e error)
{
    u_char                   *p;
    ngx_int_t                 rc;
    ngx_str_t                 value, message, none;
    ngx_uint_t                status, streams;
    ngx_msec_t                ms;
    ngx_http_fanout_error_t  *e;

    static ngx_str_t  type = ngx_string("text/event-stream");

    e = &ngx_http_fanout_errors[error];
    message = e->text;
    ms = s->again;
    streams = s->transport == &ngx_http_fanout_sse;
    status = error == NGX_HTTP_FANOUT_E_TOO_MANY ? 429 : e->status;

    if (s->why) {
        message.data = (u_char *) s->why;
        message.len = ngx_strlen(s->why);
    }

    ngx_http_fanout_count(s->hub, rejects);
    ngx_http_fanout_session_part(s);

    p = ngx_pnalloc(r->pool, NGX_HTTP_FANOUT_AGAIN + message.len);

    rc = streams ? ngx_http_fanout_stream_headers(r)
                 : ngx_http_fanout_answer_headers(r);

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

        return ngx_http_fanout_http_send(r, NGX_HTTP_OK, &type, value.data,
                                         value.len);
    }

    value.len = ngx_sprintf(p, "%M", (ms + 999) / 1000) - p;
    ngx_str_null(&none);

    if (ngx_http_fanout_http_add(r, "Retry-After", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_fanout_http_send_error(r, status, &e->code, &message,
                                           &none);
}


/* An error that the dialect has put into the output says more. */

static ngx_int_t
last_error(ngx_http_fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *said)
{
    size_t                    len;
    u_char                   *p;
    ngx_http_fanout_piece_t  *piece;

    static const char  head[] = "data: {\"error\":";

    if (s->state == NGX_HTTP_FANOUT_ENDED || s->nout == 0) {
        return NGX_OK;
    }

    piece = &s->out[(s->out_head + s->nout - 1) & (s->nout_max - 1)];
    p = piece->frame->data + piece->start;
    len = piece->end - piece->start;

    if (len < sizeof(head) || ngx_strncmp(p, head, sizeof(head) - 1) != 0) {
        return NGX_OK;
    }

    /* between "data: " and the empty line, of which one line feed stays */

    said->len = len - 6 - 1;
    said->data = ngx_pnalloc(r->pool, said->len);

    if (said->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(said->data, p + 6, said->len);

    return NGX_OK;
}


ngx_int_t
ngx_http_fanout_answer_headers(ngx_http_request_t *r)
{
    static ngx_str_t  no_store = ngx_string("no-store");

    return ngx_http_fanout_http_add(r, "Cache-Control", &no_store);
}


ngx_int_t
ngx_http_fanout_stream_headers(ngx_http_request_t *r)
{
    static ngx_str_t  control = ngx_string("no-cache, no-transform");
    static ngx_str_t  no = ngx_string("no");

    if (ngx_http_fanout_http_add(r, "Cache-Control", &control) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_fanout_http_add(r, "X-Accel-Buffering", &no);
}
