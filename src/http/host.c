
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The host names by which the HTTP API and the status may be called.  A domain
 * of an attacker can resolve to this host, and pages of that domain would then
 * have the same origin (DNS rebinding).
 */


#include "http/http.h"
#include "http/origin.h"


static ngx_uint_t server_name(ngx_http_request_t *r, ngx_array_t *names,
    ngx_str_t *host);
static ngx_uint_t is_name(ngx_str_t *pattern, ngx_str_t *host);


ngx_uint_t
fanout_host_allowed(ngx_http_request_t *r, ngx_array_t *hosts,
    ngx_array_t *names, ngx_str_t *host)
{
    ngx_str_t   *name;
    ngx_uint_t   i, port;

    static ngx_str_t  locals[] = {
        ngx_string("localhost"),
        ngx_string("*.localhost")
    };

    port = 0;

    if (fanout_origin_host(r, host, &port) != NGX_OK) {
        ngx_str_null(host);
        return r->headers_in.host == NULL
               || r->headers_in.host->value.len == 0;
    }

    if (host->data[0] == '['
        || ngx_inet_addr(host->data, host->len) != INADDR_NONE)
    {
        return 1;
    }

    for (i = 0; i < 2; i++) {
        if (is_name(&locals[i], host)) {
            return 1;
        }
    }

    if (hosts) {
        name = hosts->elts;

        for (i = 0; i < hosts->nelts; i++) {
            if (is_name(&name[i], host)) {
                return 1;
            }
        }
    }

    return server_name(r, names, host);
}


static ngx_uint_t
server_name(ngx_http_request_t *r, ngx_array_t *names, ngx_str_t *host)
{
    size_t                   len;
    ngx_str_t                tail;
    ngx_uint_t               i;
    ngx_http_server_name_t  *name;

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {

#if (NGX_PCRE)
        if (name[i].regex) {
            if (ngx_http_regex_exec(r, name[i].regex, host) == NGX_OK) {
                return 1;
            }

            continue;
        }
#endif

        len = name[i].name.len;

        if (len && name[i].name.data[0] == '.') {

            /* the name itself, and those below it */

            tail.data = name[i].name.data + 1;
            tail.len = len - 1;

            if (is_name(&tail, host)
                || (host->len > len
                    && ngx_strncasecmp(host->data + host->len - len,
                                       name[i].name.data, len) == 0))
            {
                return 1;
            }

            continue;
        }

        if (len > 2 && name[i].name.data[len - 1] == '*') {

            if (host->len >= len
                && ngx_strncasecmp(host->data, name[i].name.data, len - 1)
                   == 0)
            {
                return 1;
            }

            continue;
        }

        if (is_name(&name[i].name, host)) {
            return 1;
        }
    }

    return 0;
}


/* a name, "*." and its end, or "*" */

static ngx_uint_t
is_name(ngx_str_t *pattern, ngx_str_t *host)
{
    size_t  len;

    if (pattern->len == 0 || pattern->data[0] != '*') {
        return pattern->len == host->len
               && ngx_strncasecmp(pattern->data, host->data, host->len) == 0;
    }

    len = pattern->len - 1;

    return host->len > len
           && ngx_strncasecmp(host->data + host->len - len,
                              pattern->data + 1, len)
              == 0;
}
