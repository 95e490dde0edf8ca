
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Which transport a request asks for, and what those of plain HTTP share.
 */


#include "session/dialect.h"
#include "http/headers.h"
#include "http/http.h"
#include "transport/transport.h"
#include "transport/websocket.h"


#define FANOUT_AGAIN  192                  /* bytes beside the message */


static ngx_uint_t transport(ngx_http_request_t *r, fanout_loc_conf_t *conf);
static ngx_int_t preflight(ngx_http_request_t *r, fanout_loc_conf_t *conf);
static ngx_int_t come_back(ngx_http_request_t *r, fanout_loc_conf_t *conf);
static ngx_int_t refuse_again(fanout_session_t *s, ngx_http_request_t *r,
    fanout_error_e error);
static ngx_int_t last_error(fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *said);


ngx_int_t
fanout_handler(ngx_http_request_t *r)
{
    ngx_str_t           value;
    ngx_uint_t          t;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    /* a page can't read what comes in the place of a 101 */

    if (!fanout_header(r, "upgrade", &value)
        && fanout_origin_cors(r, &conf->origins) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    t = transport(r, conf);

    if (r->method == NGX_HTTP_OPTIONS && t != FANOUT_WEBSOCKET) {
        return preflight(r, conf);
    }

    if (!(conf->transports & t)) {
        return fanout_refuse(r, NGX_HTTP_FORBIDDEN,
                         t == FANOUT_SSE
                         ? "event streams are not served here: "
                           "fanout_transports"
                         : t == FANOUT_POLL
                           ? "polls are not served here: fanout_transports"
                           : t == FANOUT_POST
                             ? "POST is not served here: fanout_transports"
                             : "WebSocket is not served here: "
                               "fanout_transports");
    }

    if (t & (FANOUT_SSE|FANOUT_POLL)
        && (r->headers_in.content_length_n > 0 || r->headers_in.chunked))
    {
        return fanout_refuse(r, NGX_HTTP_BAD_REQUEST,
                             "a GET has no body here");
    }

    switch (t) {

    case FANOUT_SSE:
        return fanout_sse_handler(r);

    case FANOUT_POLL:
        return fanout_poll_handler(r);

    case FANOUT_POST:
        return fanout_post_handler(r);

    default:
        return fanout_websocket_handler(r);
    }
}


/* A request that asks for an upgrade is of WebSocket, whatever its query. */

static ngx_uint_t
transport(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    ngx_str_t  value;

    if (conf->dialect->stream == NULL || r != r->main
        || fanout_header(r, "upgrade", &value))
    {
        return FANOUT_WEBSOCKET;
    }

    switch (r->method) {

    case NGX_HTTP_POST:
    case NGX_HTTP_OPTIONS:
        return FANOUT_POST;

    case NGX_HTTP_GET:
        break;

    default:
        return FANOUT_WEBSOCKET;
    }

    if (ngx_http_arg(r, (u_char *) "poll", 4, &value) == NGX_OK
        && (value.len != 1 || value.data[0] != '0'))
    {
        return FANOUT_POLL;
    }

    if (ngx_http_arg(r, (u_char *) "channel", 7, &value) == NGX_OK
        || ngx_http_arg(r, (u_char *) "join", 4, &value) == NGX_OK)
    {
        return FANOUT_SSE;
    }

    value = fanout_http_header(r, "accept");

    return value.len
           && ngx_strlcasestrn(value.data, value.data + value.len,
                               (u_char *) "text/event-stream",
                               sizeof("text/event-stream") - 2)
           ? FANOUT_SSE : FANOUT_WEBSOCKET;
}


const ngx_str_t *
fanout_transport_name(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    switch (transport(r, conf)) {

    case FANOUT_SSE:
        return &fanout_sse.name;

    case FANOUT_POLL:
        return &fanout_poll.name;

    case FANOUT_POST:
        return &fanout_post.name;

    default:
        return &fanout_websocket.name;
    }
}


/* What a browser asks before a page of another origin may send a POST. */

static ngx_int_t
preflight(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    const char  *why;

    static ngx_str_t  methods = ngx_string("GET, POST");
    static ngx_str_t  headers = ngx_string("Content-Type, Fanout-Client, "
                                           "Fanout-Resume, Last-Event-ID, "
                                           "Authorization");

    why = fanout_origin_check(r, &conf->origins);

    if (why) {
        return fanout_refuse(r, NGX_HTTP_FORBIDDEN, why);
    }

    return fanout_origin_preflight(r, &methods, &headers);
}


/* what streams and polls begin with */

ngx_int_t
fanout_attached_begin(ngx_http_request_t *r, const fanout_dialect_t *dialect,
    const fanout_transport_t *transport, fanout_session_t **sp)
{
    ngx_str_t           user;
    ngx_uint_t          status;
    const char         *why;
    fanout_meter_t      meter;
    fanout_refusal_t    refusal;
    fanout_session_t   *s;
    fanout_loc_conf_t  *conf;

    *sp = NULL;
    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    why = fanout_handshake_check(r, conf, &user, &status);

    if (why) {
        return fanout_refuse(r, status, why);
    }

    if (ngx_exiting && transport == &fanout_sse) {
        return come_back(r, conf);
    }

    if (ngx_exiting && !fanout_hub_slot(conf->app->hub)) {
        return fanout_refuse(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                             "this worker is shutting down, try again");
    }

    if (fanout_admit(r, conf, transport->bit, &user, &meter,
                     &refusal)
        != NGX_OK)
    {
        return fanout_refuse_admission(r, conf, &user, &refusal);
    }

    why = dialect->accept(r, conf, &status);

    if (why) {
        fanout_meter_undo(conf->app->hub, &meter);
        return fanout_refuse(r, status, why);
    }

    s = fanout_session_create(r, conf->app->hub, conf, dialect, transport,
                              &user, &meter);
    if (s == NULL) {
        fanout_meter_undo(conf->app->hub, &meter);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, s, ngx_http_fanout_module);

    if (fanout_session_begin(s) != NGX_OK
        || s->state != FANOUT_OPEN)
    {
        return fanout_refuse_error(r, s->refused);
    }

    *sp = s;

    return NGX_OK;
}


/* A stream in a worker that is shutting down ends at once: an EventSource comes
 * back from an end, but not from an error. */

static ngx_int_t
come_back(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    u_char  *p;
    size_t   len;

    static ngx_str_t  type = ngx_string("text/event-stream");

    p = ngx_pnalloc(r->pool, sizeof("retry: \n") + NGX_INT64_LEN);

    if (p == NULL || fanout_stream_headers(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = ngx_sprintf(p, "retry: %M\n", conf->retry) - p;
    r->keepalive = 0;

    return fanout_http_send(r, NGX_HTTP_OK, &type, p, len);
}


ngx_int_t
fanout_flush_header(ngx_http_request_t *r)
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

        if (fanout_await_header(r) != NGX_OK) {
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
fanout_await_header(ngx_http_request_t *r)
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
fanout_refuse(ngx_http_request_t *r, ngx_uint_t status, const char *text)
{
    ngx_str_t           code, message, none, user, name, line;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    ngx_str_null(&none);
    ngx_str_null(&user);

    if (conf->logs && conf->user) {
        /* who it is, or says to be, if that was not known before */
        (void) ngx_http_complex_value(r, conf->user, &user);
    }

    if (transport(r, conf) == FANOUT_WEBSOCKET) {
        return fanout_websocket_refuse(r, conf, &user, status, text);
    }

    if (conf->app->hub) {
        fanout_count(conf->app->hub, rejects);
    }

    name = *fanout_transport_name(r, conf);

    fanout_eventlog_deny(r, conf, &name, &user, status, text);

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
        return fanout_http_send_error(r, status, &code, &message, &none);
    }

    if (fanout_error_line(r, &code, &message, &none, &line)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return fanout_refuse_for(r, status, conf->retry, &line);
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
        fanout_count(s->hub, rejects);

        if (error == FANOUT_E_RATE_LIMITED) {
            wait = s->meter.wait;

        } else if (error == FANOUT_E_ADDRESS_FULL
                   || fanout_full(error))
        {
            wait = s->conf->retry;
        }

        if (last_error(s, r, &said) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        fanout_session_part(s);
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
 * There is no place for a session now.  EventSource gives up for good unless
 * it is a stream, so it gets one that ends with what WebSockets are told.
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
    streams = s->transport == &fanout_sse;
    status = error == FANOUT_E_TOO_MANY ? 429 : e->status;

    if (s->why) {
        message.data = (u_char *) s->why;
        message.len = ngx_strlen(s->why);
    }

    fanout_count(s->hub, rejects);
    fanout_session_part(s);

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


/* An error that the dialect has put into the output says more. */

static ngx_int_t
last_error(fanout_session_t *s, ngx_http_request_t *r, ngx_str_t *said)
{
    size_t           len;
    u_char          *p;
    fanout_piece_t  *piece;

    static const char  head[] = "data: {\"error\":";

    if (s->state == FANOUT_ENDED || s->nout == 0) {
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
