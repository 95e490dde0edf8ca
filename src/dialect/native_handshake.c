
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What the native dialect takes from the request of a handshake: the channels
 * that are joined.
 */


#include "dialect/native.h"
#include "session/connect.h"


ngx_int_t
fanout_native_autojoin(fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *text)
{
    u_char      *p;
    size_t       size;
    ngx_str_t   *names;
    ngx_uint_t   i, n;

    size = sizeof("[]");

    ngx_str_null(text);

    if (fanout_connect_joins(r, s->conf, &names, &n) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        size += sizeof("{\"op\":\"join\",\"channel\":\"\"},")
                + (names[i].len
                   ? fanout_json_escape_len(names[i].data, names[i].len)
                   : 0);
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    *p++ = '[';

    for (i = 0; i < n; i++) {
        if (names[i].len == 0) {
            continue;
        }

        if (p - text->data > 1) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, "{\"op\":\"join\",\"channel\":\"",
                       sizeof("{\"op\":\"join\",\"channel\":\"") - 1);
        p = fanout_json_escape(p, names[i].data, names[i].len);
        *p++ = '"';
        *p++ = '}';
    }

    *p++ = ']';
    text->len = p - text->data > 2 ? p - text->data : 0;

    return NGX_OK;
}
