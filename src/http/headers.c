
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "http/headers.h"


ngx_uint_t
fanout_header(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_str_t         other;
    fanout_headers_t  h;

    ngx_memzero(&h, sizeof(fanout_headers_t));

    if (!fanout_next_header(r, name, &h, value)) {
        return 0;
    }

    return 1 + fanout_next_header(r, name, &h, &other);
}


ngx_uint_t
fanout_next_header(ngx_http_request_t *r, const char *name,
    fanout_headers_t *h, ngx_str_t *value)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_table_elt_t  *elts;

    len = ngx_strlen(name);

    if (h->part == NULL) {
        h->part = &r->headers_in.headers.part;
        h->i = 0;
    }

    for ( ;; ) {

        if (h->i >= h->part->nelts) {
            if (h->part->next == NULL) {
                return 0;
            }

            h->part = h->part->next;
            h->i = 0;
            continue;
        }

        elts = h->part->elts;
        i = h->i++;

        if (elts[i].key.len == len
            && ngx_strncasecmp(elts[i].key.data, (u_char *) name, len) == 0)
        {
            *value = elts[i].value;
            return 1;
        }
    }
}


ngx_uint_t
fanout_next_token(ngx_str_t *list, ngx_str_t *token)
{
    u_char  *p, *last, *end;

    p = list->data;
    last = p + list->len;

    while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
        p++;
    }

    if (p == last) {
        return 0;
    }

    end = ngx_strlchr(p, last, ',');

    if (end == NULL) {
        end = last;
    }

    list->data = end;
    list->len = last - end;

    while (end > p && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }

    token->data = p;
    token->len = end - p;

    return 1;
}


ngx_uint_t
fanout_has_token(ngx_http_request_t *r, const char *name, const char *wanted)
{
    size_t            len;
    ngx_str_t         value, token;
    fanout_headers_t  h;

    len = ngx_strlen(wanted);
    ngx_memzero(&h, sizeof(fanout_headers_t));

    while (fanout_next_header(r, name, &h, &value)) {
        while (fanout_next_token(&value, &token)) {
            if (token.len == len
                && ngx_strncasecmp(token.data, (u_char *) wanted, len) == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}
