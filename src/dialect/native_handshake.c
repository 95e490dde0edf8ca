
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What the native dialect takes from the request of a handshake: the channels
 * that are joined.
 */


#include "dialect/native.h"
#include "session/connect.h"


static size_t write_join(u_char *p, fanout_autojoin_t *join);


ngx_int_t
fanout_native_autojoin(fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *text)
{
    u_char             *p;
    size_t              size;
    ngx_uint_t          i, n;
    fanout_autojoin_t  *joins;

    size = sizeof("[]");

    ngx_str_null(text);

    if (fanout_connect_joins(r, s->conf, &joins, &n) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        size += write_join(NULL, &joins[i]);
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    *p++ = '[';

    for (i = 0; i < n; i++) {
        if (joins[i].channel.len) {
            p += write_join(p, &joins[i]);
        }
    }

    if (p - text->data > 1) {
        p[-1] = ']';
        text->len = p - text->data;
    }

    return NGX_OK;
}


/* Writes the command and a comma to p, unless it is NULL.  Returns the
 * length. */

static size_t
write_join(u_char *p, fanout_autojoin_t *join)
{
    size_t  len;

    static const ngx_str_t  open = ngx_string(
        "{\"op\":\"join\",\"channel\":\"");
    static const ngx_str_t  presence = ngx_string("\",\"presence\":");
    static const ngx_str_t  close = ngx_string("\"},");

    if (p == NULL) {
        len = open.len + presence.len + join->presence.len + close.len;

        return join->channel.len
               ? len + fanout_json_escape_len(join->channel.data,
                                              join->channel.len)
               : 0;
    }

    len = (size_t) p;
    p = ngx_cpymem(p, open.data, open.len);
    p = fanout_json_escape(p, join->channel.data, join->channel.len);

    if (join->presence.len) {
        p = ngx_cpymem(p, presence.data, presence.len);
        p = ngx_cpymem(p, join->presence.data, join->presence.len);
        p = ngx_cpymem(p, close.data + 1, close.len - 1);

    } else {
        p = ngx_cpymem(p, close.data, close.len);
    }

    return (size_t) p - len;
}
