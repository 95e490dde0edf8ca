
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What the native dialect takes from the request of a handshake: the profile
 * of the user, the channels that are joined.
 */


#include "dialect/native.h"


ngx_int_t
fanout_native_user_info(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *info)
{
    size_t             size;
    u_char            *p;
    ngx_str_t         *values;
    ngx_uint_t         i, n;
    fanout_profile_t  *profile;

    ngx_str_null(info);

    if (conf->user_info == NULL) {
        return NGX_OK;
    }

    profile = conf->user_info->elts;
    n = conf->user_info->nelts;
    size = sizeof("{}");

    values = ngx_palloc(r->pool, n * sizeof(ngx_str_t));
    if (values == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_complex_value(r, &profile[i].value, &values[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (values[i].len) {
            size += profile[i].name.len + sizeof("\"\":\"\",")
                    + fanout_json_escape_len(values[i].data, values[i].len);
        }
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    info->data = p;
    *p++ = '{';

    for (i = 0; i < n; i++) {
        if (values[i].len == 0) {
            continue;
        }

        if (p - info->data > 1) {
            *p++ = ',';
        }

        p = ngx_sprintf(p, "\"%V\":\"", &profile[i].name);
        p = fanout_json_escape(p, values[i].data, values[i].len);
        *p++ = '"';
    }

    *p++ = '}';
    info->len = p - info->data;

    if (info->len > FANOUT_ZONE_INFO) {
        return NGX_DECLINED;
    }

    if (info->len == 2) {
        /* not a word */
        info->len = 0;
    }

    return NGX_OK;
}


ngx_int_t
fanout_native_autojoin(fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *text)
{
    u_char           *p;
    size_t            size;
    ngx_str_t        *names;
    ngx_uint_t        i, n;
    fanout_permit_t  *channels;

    channels = s->conf->autojoin->elts;
    n = s->conf->autojoin->nelts;
    size = sizeof("[]");

    ngx_str_null(text);

    names = ngx_palloc(r->pool, n * sizeof(ngx_str_t));
    if (names == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (fanout_permissions_name(r, &channels[i], &names[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

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
