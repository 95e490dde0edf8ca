
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The transport that a request asks for.
 */


#include "http/headers.h"
#include "http/http.h"
#include "session/dialect.h"
#include "transport/transport.h"


ngx_uint_t
fanout_transport_of(ngx_http_request_t *r, fanout_loc_conf_t *conf)
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
    static const ngx_str_t  websocket = ngx_string(FANOUT_WEBSOCKET_NAME);
    static const ngx_str_t  sse = ngx_string(FANOUT_SSE_NAME);
    static const ngx_str_t  poll = ngx_string(FANOUT_POLL_NAME);
    static const ngx_str_t  post = ngx_string(FANOUT_POST_NAME);

    switch (fanout_transport_of(r, conf)) {

    case FANOUT_SSE:
        return &sse;

    case FANOUT_POLL:
        return &poll;

    case FANOUT_POST:
        return &post;

    default:
        return &websocket;
    }
}
