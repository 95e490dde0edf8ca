
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Who may call the HTTP API beside what NGINX says of addresses: not any page
 * that somebody opens who may.  A page sends a form or text/plain anywhere,
 * and names of a domain of its own can mean this host (DNS rebinding).
 */


#include "ngx_http_fanout_api.h"


ngx_http_fanout_error_e
ngx_http_fanout_api_guard(ngx_http_fanout_api_t *api)
{
    ngx_str_t            host;
    const char          *why;
    ngx_http_request_t  *r;

    r = api->request;

    if (!ngx_http_fanout_host_allowed(r, api->conf, &host)) {
        ngx_http_fanout_origin_log(r, "fanout_api", "host", &host);

        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_FORBIDDEN,
                                        "this host is not allowed: "
                                        "server_name, or \"host=\" of "
                                        "fanout_api");
    }

    why = ngx_http_fanout_origin_check(r, &api->conf->api_origins);

    return why ? ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_FORBIDDEN,
                                          "%s", why)
               : NGX_HTTP_FANOUT_E_NONE;
}
