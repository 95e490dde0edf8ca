
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Headers of a request, and the elements of their lists.
 */


#ifndef FANOUT_HTTP_HEADERS_H
#define FANOUT_HTTP_HEADERS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* begins zeroed */

typedef struct {
    ngx_list_part_t  *part;
    ngx_uint_t        i;
} fanout_headers_t;

/* Finds the first header with a name.  Returns 1; 2 if there are more of them;
 * 0 if there is none. */
ngx_uint_t fanout_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* Finds the next header with a name.  Returns 1, or 0 if there is none. */
ngx_uint_t fanout_next_header(ngx_http_request_t *r, const char *name,
    fanout_headers_t *h, ngx_str_t *value);

/* Takes the next element from a list separated by commas.  Returns 1, or 0 at
 * the end. */
ngx_uint_t fanout_next_token(ngx_str_t *list, ngx_str_t *token);

/* Returns 1 if a header has an element, ignoring case, else 0. */
ngx_uint_t fanout_has_token(ngx_http_request_t *r, const char *name,
    const char *wanted);


#endif /* FANOUT_HTTP_HEADERS_H */
