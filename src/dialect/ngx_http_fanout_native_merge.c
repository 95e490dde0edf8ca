
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The data of a member with single members of it replaced.
 */


#include "ngx_http_fanout_native.h"


static size_t merge(u_char *dst, ngx_http_fanout_json_t *old,
    ngx_http_fanout_json_t *patch);
static u_char *merge_item(u_char *p, u_char *dst,
    ngx_http_fanout_json_t *key, ngx_http_fanout_json_t *value);
static ngx_uint_t find_key(ngx_http_fanout_json_t *object,
    ngx_http_fanout_json_t *key, ngx_http_fanout_json_t *value);
static ngx_uint_t same_key(ngx_http_fanout_json_t *one,
    ngx_http_fanout_json_t *two);


/* The data that there is with single members of it replaced. */

ngx_uint_t
fanout_native_presence_merge(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_member_t *m)
{
    ngx_http_fanout_json_t          old, patch;
    ngx_http_fanout_member_t        now;
    ngx_http_fanout_zone_channel_t  zc;

    static u_char  buf[NGX_HTTP_FANOUT_ZONE_MEMBER_BUF];
    static u_char  merged[2 * NGX_HTTP_FANOUT_ZONE_MEMBER + 8];

    patch.data = m->data.data;
    patch.len = m->data.len;

    if (patch.len == 0) {
        patch.data = (u_char *) "{}";
        patch.len = 2;
    }

    if (ngx_http_fanout_json_type(&patch) != NGX_HTTP_FANOUT_JSON_OBJECT) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"data\" is an object where it is to merge");
        return 0;
    }

    old.data = (u_char *) "{}";
    old.len = 2;

    ngx_http_fanout_hub_view(s->hub, &cmd->name, &zc);

    if (ngx_http_fanout_member_get(&s->hub->zone, &zc, s->identity.client,
                                   &m->key, &now, buf)
        == NGX_HTTP_FANOUT_ZONE_OK
        && now.data.len && now.data.data[0] == '{')
    {
        old.data = now.data.data;
        old.len = now.data.len;
    }

    m->data.data = merged;
    m->data.len = merge(merged, &old, &patch);

    if (m->data.len == 2) {
        m->data.len = 0;
    }

    if (m->data.len > s->conf->presence_size) {
        fanout_native_refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_LARGE,
                                   "presence", s->conf->presence_size,
                                   "fanout_presence_size");
        return 0;
    }

    return 1;
}


/* Members keep their places, new ones follow; null removes. */

static size_t
merge(u_char *dst, ngx_http_fanout_json_t *old, ngx_http_fanout_json_t *patch)
{
    u_char                       *p;
    ngx_http_fanout_json_t        key, value, latest;
    ngx_http_fanout_json_iter_t   it;

    p = dst;
    *p++ = '{';

    (void) ngx_http_fanout_json_iter(&it, old);

    while (ngx_http_fanout_json_next(&it, &key, &value) == 1) {
        (void) find_key(patch, &key, &value);
        p = merge_item(p, dst, &key, &value);
    }

    (void) ngx_http_fanout_json_iter(&it, patch);

    while (ngx_http_fanout_json_next(&it, &key, &value) == 1) {

        /* of members of the same name the last one counts */

        if (!find_key(old, &key, &latest)
            && find_key(patch, &key, &latest) && latest.data == value.data)
        {
            p = merge_item(p, dst, &key, &value);
        }
    }

    *p++ = '}';

    return p - dst;
}


static u_char *
merge_item(u_char *p, u_char *dst, ngx_http_fanout_json_t *key,
    ngx_http_fanout_json_t *value)
{
    if (ngx_http_fanout_json_type(value) == NGX_HTTP_FANOUT_JSON_NULL) {
        return p;
    }

    if (p - dst > 1) {
        *p++ = ',';
    }

    p = ngx_cpymem(p, key->data, key->len);
    *p++ = ':';

    return ngx_cpymem(p, value->data, value->len);
}


/* the last one of the name; value is left as it is without one */

static ngx_uint_t
find_key(ngx_http_fanout_json_t *object, ngx_http_fanout_json_t *key,
    ngx_http_fanout_json_t *value)
{
    ngx_uint_t                   found;
    ngx_http_fanout_json_t       k, v;
    ngx_http_fanout_json_iter_t  it;

    found = 0;
    (void) ngx_http_fanout_json_iter(&it, object);

    while (ngx_http_fanout_json_next(&it, &k, &v) == 1) {
        if (same_key(&k, key)) {
            *value = v;
            found = 1;
        }
    }

    return found;
}


static ngx_uint_t
same_key(ngx_http_fanout_json_t *one, ngx_http_fanout_json_t *two)
{
    size_t         n, m;
    static u_char  a[NGX_HTTP_FANOUT_ZONE_MEMBER];
    static u_char  b[NGX_HTTP_FANOUT_ZONE_MEMBER];

    if (one->len == two->len
        && ngx_memcmp(one->data, two->data, one->len) == 0)
    {
        return 1;
    }

    if (ngx_strlchr((u_char *) one->data, (u_char *) one->data + one->len,
                    '\\')
        == NULL
        && ngx_strlchr((u_char *) two->data, (u_char *) two->data + two->len,
                       '\\')
           == NULL)
    {
        return 0;
    }

    return ngx_http_fanout_json_string(one, a, sizeof(a), &n)
           == NGX_HTTP_FANOUT_JSON_OK
           && ngx_http_fanout_json_string(two, b, sizeof(b), &m)
              == NGX_HTTP_FANOUT_JSON_OK
           && n == m && ngx_memcmp(a, b, n) == 0;
}
