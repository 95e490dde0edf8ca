
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The profile of a session's user (fanout_user_info).
 */


#include "http/http.h"
#include "base/json.h"
#include "dialect/native.h"
#include "session/connect.h"


ngx_int_t
fanout_native_user_info(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *info)
{
    size_t             size;
    u_char            *p;
    ngx_str_t         *values;
    ngx_uint_t         i, n;
    fanout_connect_t  *connect;
    fanout_profile_t  *profile;

    ngx_str_null(info);

    connect = fanout_connect_of(r, conf);

    if (connect && connect->info.len) {
        *info = connect->info;
        return NGX_OK;
    }

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
fanout_native_take_info(fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_str_t  info;

    if (fanout_native_user_info(r, s->conf, &info) != NGX_OK) {
        return NGX_ERROR;
    }

    if (info.len == 0) {
        return NGX_OK;
    }

    s->info.data = ngx_alloc(info.len, ngx_cycle->log);
    if (s->info.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(s->info.data, info.data, info.len);
    s->info.len = info.len;

    return NGX_OK;
}


void
fanout_native_tell_info(fanout_session_t *s)
{
    fanout_zstr_t  info;

    info.data = s->info.data;
    info.len = s->info.len;

    if (fanout_identity_renew(&s->hub->zone, s->identity_ref,
                              &s->identity, &info)
        == FANOUT_ZONE_FULL)
    {
        (void) fanout_hub_full(s->hub);
        ngx_log_error(NGX_LOG_WARN, s->connection->log, 0,
                      "fanout_user_info of a session stays as it was: the "
                      "zone is full");
    }

    fanout_hub_presence(s->hub);
}


void
fanout_native_renew_info(fanout_session_t *s, ngx_str_t *info)
{
    if (info->len == s->info.len
        && (info->len == 0
            || ngx_memcmp(info->data, s->info.data, info->len) == 0))
    {
        return;
    }

    if (s->info.data) {
        ngx_free(s->info.data);
    }

    s->info = *info;
    ngx_str_null(info);

    fanout_native_tell_info(s);
}
