
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Selects the transport of a request.
 */


#include "http/headers.h"
#include "transport/authorize.h"
#include "transport/renew.h"
#include "transport/transport.h"
#include "transport/websocket.h"


static ngx_int_t handler_renew(ngx_http_request_t *r);
static ngx_int_t preflight(ngx_http_request_t *r, fanout_loc_conf_t *conf);


ngx_int_t
fanout_handler(ngx_http_request_t *r)
{
    ngx_str_t             value;
    ngx_uint_t            t;
    fanout_renewal_t     *renewal;
    fanout_loc_conf_t    *conf;
    ngx_http_handler_pt   handler;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);
    renewal = fanout_renewal_of(r);

    if (renewal) {
        return conf->asks ? fanout_authorize_request(r, conf, handler_renew)
                          : handler_renew(r);
    }

    /* a page can't read a response that takes the place of a 101 */

    if (!fanout_header(r, "upgrade", &value)
        && fanout_origin_cors(r, &conf->origins) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    t = fanout_transport_of(r, conf);

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
        handler = fanout_sse_handler;
        break;

    case FANOUT_POLL:
        handler = fanout_poll_handler;
        break;

    case FANOUT_POST:
        handler = fanout_post_handler;
        break;

    default:
        handler = fanout_websocket_handler;
    }

    return conf->asks ? fanout_authorize_request(r, conf, handler)
                      : handler(r);
}


static ngx_int_t
handler_renew(ngx_http_request_t *r)
{
    return fanout_renew_handler(r, fanout_renewal_of(r));
}


/* Answers a browser's preflight: whether a page of another origin may send a
 * POST. */

static ngx_int_t
preflight(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    const char  *why;

    static ngx_str_t  methods = ngx_string("GET, POST");
    static ngx_str_t  headers = ngx_string("Content-Type, Fanout-Client, "
                                           "Fanout-Resume, Last-Event-ID, "
                                           "Fanout-Join-Token, "
                                           "Authorization");

    why = fanout_origin_check(r, &conf->origins);

    if (why) {
        return fanout_refuse(r, NGX_HTTP_FORBIDDEN, why);
    }

    return fanout_origin_preflight(r, &methods, &headers);
}
