
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Handshakes that are kept: see the header.
 */


#include "transport/kept_handshake.h"
#include "hook/call.h"
#include "transport/bearer.h"


static ngx_uint_t keep_again(ngx_http_request_t *r);
static size_t keep_size(ngx_http_request_t *r, fanout_jwt_conf_t *jwt,
    ngx_str_t *header);
static size_t keep_header(ngx_table_elt_t *h, fanout_jwt_conf_t *jwt,
    ngx_str_t *header);
static ngx_uint_t keep_token(ngx_table_elt_t *h,
    fanout_bearer_place_t *place);
static ngx_uint_t keep_has(ngx_str_t *key, const char *name, size_t len);
static u_char *keep_text(u_char *p, ngx_str_t *text);
static ngx_int_t kept_sockaddr(ngx_connection_t *c, const ngx_sockaddr_t *from,
    socklen_t len, struct sockaddr **to, socklen_t *to_len);


ngx_int_t
fanout_keep_session(ngx_http_request_t *r, fanout_session_t *s)
{
    size_t      max;
    ngx_int_t   rc;

    max = s->conf->jwt ? s->conf->jwt->handshake : 0;
    max = ngx_max(max, s->conf->headers);

    if (max == 0) {
        return NGX_OK;
    }

    rc = fanout_keep(r, s->conf, max, &s->handshake);

    s->renews = rc == NGX_OK && s->conf->jwt && s->handshake->again
                && s->handshake->len <= s->conf->jwt->handshake;

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


ngx_int_t
fanout_keep(ngx_http_request_t *r, fanout_loc_conf_t *conf, size_t max,
    fanout_handshake_t **keptp)
{
    size_t                     size;
    u_char                    *p;
    ngx_str_t                  header;
    ngx_uint_t                 i;
    ngx_list_part_t           *part;
    ngx_table_elt_t           *h;
    fanout_handshake_t        *kept;
    ngx_http_core_srv_conf_t  *cscf;

    size = keep_size(r, conf->jwt, &header);

    if (size > max) {
        return NGX_DECLINED;
    }

    kept = ngx_alloc(offsetof(fanout_handshake_t, text) + size,
                     r->connection->log);
    if (kept == NULL) {
        return NGX_ERROR;
    }

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    kept->ctx = cscf->ctx;
    kept->address = r->http_connection->addr_conf;
    kept->header = header;
    kept->len = size;

    kept->again = keep_again(r);

    p = keep_text(kept->text, &r->unparsed_uri);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (keep_header(&h[i], conf->jwt, &header)) {
                p = keep_text(p, &h[i].key);
                p = keep_text(p, &h[i].value);
            }
        }
    }

    *keptp = kept;

    return NGX_OK;
}


ngx_uint_t
fanout_keeps(ngx_http_request_t *r, fanout_jwt_conf_t *jwt)
{
    ngx_str_t  header;

    return keep_again(r) && keep_size(r, jwt, &header) <= jwt->handshake;
}


/* A host in the request line counts instead of the header, and can't be said
 * again. */

static ngx_uint_t
keep_again(ngx_http_request_t *r)
{
    return r->host_start == NULL && r->unparsed_uri.len
           && r->unparsed_uri.data[0] == '/';
}


static size_t
keep_size(ngx_http_request_t *r, fanout_jwt_conf_t *jwt, ngx_str_t *header)
{
    size_t            size;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    size = r->unparsed_uri.len + 1;
    ngx_str_null(header);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            size += keep_header(&h[i], jwt, header);
        }
    }

    return size;
}


/* The bytes that a header takes, 0: it is left out, as it is of this connection
 * alone, or has a token. */

static size_t
keep_header(ngx_table_elt_t *h, fanout_jwt_conf_t *jwt, ngx_str_t *header)
{
    ngx_uint_t              i;
    fanout_bearer_place_t  *place;

    static const char  websocket[] = "sec-websocket-";

    if (h->hash == 0
        || keep_has(&h->key, websocket, sizeof(websocket) - 1)
        || keep_has(&h->key, "fanout-join-token", sizeof("fanout-join-token"))
        || keep_has(&h->key, "content-length", sizeof("content-length")))
    {
        return 0;
    }

    place = jwt ? jwt->places->elts : NULL;

    for (i = 0; jwt && i < jwt->places->nelts; i++) {
        if (place[i].from == FANOUT_BEARER_HEADER
            && keep_token(h, &place[i]))
        {
            *header = place[i].name;
            return 0;
        }
    }

    return h->key.len + 1 + h->value.len + 1;
}


/* Authorization may have something else, as of auth_basic. */

static ngx_uint_t
keep_token(ngx_table_elt_t *h, fanout_bearer_place_t *place)
{
    static const char  bearer[] = "Bearer ";

    return keep_has(&h->key, (char *) place->name.data, place->name.len + 1)
           && (ngx_strcmp(place->name.data, "authorization") != 0
               || (h->value.len >= sizeof(bearer) - 1
                   && ngx_strncasecmp(h->value.data, (u_char *) bearer,
                                      sizeof(bearer) - 1)
                      == 0));
}


/* Whether a name begins with that of len bytes; with its NUL, whether it is
 * that. */

static ngx_uint_t
keep_has(ngx_str_t *key, const char *name, size_t len)
{
    return key->len + 1 >= len
           && ngx_strncasecmp(key->data, (u_char *) name, len) == 0;
}


static u_char *
keep_text(u_char *p, ngx_str_t *text)
{
    p = ngx_cpymem(p, text->data, text->len);
    *p++ = '\0';

    return p;
}


fanout_handshake_t *
fanout_kept_copy(const fanout_handshake_t *kept)
{
    size_t               size;
    fanout_handshake_t  *copy;

    size = offsetof(fanout_handshake_t, text) + kept->len;

    copy = ngx_alloc(size, ngx_cycle->log);

    if (copy) {
        ngx_memcpy(copy, kept, size);
    }

    return copy;
}


ngx_uint_t
fanout_kept_next(const fanout_handshake_t *kept, u_char **p, ngx_str_t *name,
    ngx_str_t *value)
{
    u_char  *last;

    last = (u_char *) kept->text + kept->len;

    if (*p == kept->text) {
        /* the URI */
        *p += ngx_strlen(*p) + 1;
    }

    if (*p >= last) {
        return 0;
    }

    name->data = *p;
    name->len = ngx_strlen(name->data);

    value->data = name->data + name->len + 1;
    value->len = ngx_strlen(value->data);

    *p = value->data + value->len + 1;

    return 1;
}


ngx_int_t
fanout_kept_header(ngx_http_request_t *r, ngx_str_t *name, ngx_str_t *value)
{
    ngx_table_elt_t            *h;
    ngx_http_header_t          *hh;
    ngx_http_core_main_conf_t  *cmcf;

    h = fanout_call_header(r, name, value);
    if (h == NULL) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    hh = ngx_hash_find(&cmcf->headers_in_hash, h->hash, h->lowcase_key,
                       h->key.len);

    return hh && hh->handler(r, h, hh->offset) != NGX_OK ? NGX_DONE : NGX_OK;
}


/* addresses */

ngx_int_t
fanout_kept_address(ngx_connection_t *c, fanout_kept_address_t *address)
{
    if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK
        || (size_t) c->socklen > sizeof(ngx_sockaddr_t)
        || (size_t) c->local_socklen > sizeof(ngx_sockaddr_t)
        || c->addr_text.len > sizeof(address->text))
    {
        return NGX_ERROR;
    }

    address->peer_len = c->socklen;
    ngx_memcpy(&address->peer, c->sockaddr, c->socklen);

    address->local_len = c->local_socklen;
    ngx_memcpy(&address->local, c->local_sockaddr, c->local_socklen);

    address->text_len = c->addr_text.len;
    ngx_memcpy(address->text, c->addr_text.data, c->addr_text.len);

    return NGX_OK;
}


ngx_int_t
fanout_kept_connect(ngx_connection_t *c, const fanout_kept_address_t *address)
{
    u_char  *text;

    text = ngx_pnalloc(c->pool, address->text_len);

    if (text == NULL
        || kept_sockaddr(c, &address->peer, address->peer_len, &c->sockaddr,
                         &c->socklen)
           != NGX_OK
        || kept_sockaddr(c, &address->local, address->local_len,
                         &c->local_sockaddr, &c->local_socklen)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(text, address->text, address->text_len);
    c->addr_text.data = text;
    c->addr_text.len = address->text_len;

    return NGX_OK;
}


static ngx_int_t
kept_sockaddr(ngx_connection_t *c, const ngx_sockaddr_t *from, socklen_t len,
    struct sockaddr **to, socklen_t *to_len)
{
    *to = ngx_palloc(c->pool, len);
    if (*to == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(*to, from, len);
    *to_len = len;

    return NGX_OK;
}
