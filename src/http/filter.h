
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Modules of NGINX that are filters, and nothing else: their directives are
 * those of ngx_http_fanout_module.  Each is a module of its own for its place
 * among the filters and its context of a request.
 */


#ifndef FANOUT_HTTP_FILTER_H
#define FANOUT_HTTP_FILTER_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Defines the module; init is called after the configuration was read. */

#define fanout_filter_module(name, init)                                      \
                                                                              \
    static ngx_http_module_t  name##_ctx = {                                  \
        .postconfiguration = init                                             \
    };                                                                        \
                                                                              \
    ngx_module_t  name = {                                                    \
        NGX_MODULE_V1,                                                        \
        .ctx = &name##_ctx,                                                   \
        .type = NGX_HTTP_MODULE                                               \
    }


/* Puts two filters before those that are there, which it returns in
 * next_header and next_body. */
static ngx_inline void
fanout_filter_add(ngx_http_output_header_filter_pt header,
    ngx_http_output_body_filter_pt body,
    ngx_http_output_header_filter_pt *next_header,
    ngx_http_output_body_filter_pt *next_body)
{
    *next_header = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header;

    *next_body = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body;
}


#endif /* FANOUT_HTTP_FILTER_H */
