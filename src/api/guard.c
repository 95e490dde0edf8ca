
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Protects the HTTP API from web pages that a permitted user opens.  A page can
 * send a form or text/plain to any host, and a name of its own domain can
 * resolve to this host (DNS rebinding).
 */


#include "api/api.h"


fanout_error_e
fanout_api_guard(fanout_api_t *api)
{
    ngx_str_t            host;
    const char          *why;
    ngx_http_request_t  *r;

    r = api->request;

    if (!fanout_host_allowed(r, api->conf->hosts, api->conf->names, &host)) {
        fanout_origin_log(r, "fanout_api", "host", &host);

        return fanout_api_fail(api, FANOUT_E_FORBIDDEN,
                               "this host is not allowed: "
                               "server_name, or \"host=\" of "
                               "fanout_api");
    }

    why = fanout_origin_check(r, &api->conf->api_origins);

    return why ? fanout_api_fail(api, FANOUT_E_FORBIDDEN,
                                 "%s", why)
               : FANOUT_E_NONE;
}
