
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The handshake of WebSocket over HTTP/1.1 (RFC 6455, section 4.2).
 */


#include <ngx_sha1.h>

#include "session/connect.h"
#include "transport/websocket.h"
#include "session/dialect.h"
#include "http/headers.h"
#include "transport/bearer.h"
#include "transport/kept_handshake.h"
#include "transport/transport.h"


static const char *handshake_check_all(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, fanout_meter_t *meter,
    ngx_uint_t *status);
static const char *check_budgets(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, fanout_meter_t *meter,
    ngx_uint_t *status);
static const char *check_request(ngx_http_request_t *r, ngx_uint_t *status);
static const char *check_upgrade(ngx_http_request_t *r, ngx_uint_t *status);
static ngx_int_t handshake_add_header(ngx_http_request_t *r, const char *name,
    u_char *value, size_t len);
static ngx_int_t switch_protocols(ngx_http_request_t *r,
    ngx_str_t *extension);
static ngx_int_t accept_key(ngx_http_request_t *r, u_char *dst);
static void flush_handshake(ngx_http_request_t *r);


/* the handshake */

ngx_int_t
fanout_websocket_handler(ngx_http_request_t *r)
{
    return fanout_websocket_upgrade(r,
                 ngx_http_get_module_loc_conf(r, ngx_http_fanout_module));
}


ngx_int_t
fanout_websocket_upgrade(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    ngx_str_t          user, extension;
    ngx_uint_t         status, waits;
    const char        *why;
    fanout_meter_t     meter;
    fanout_session_t  *s;

    why = handshake_check_all(r, conf, &user, &meter, &status);

    if (why) {
        return fanout_websocket_refuse(r, conf, &user, status, why);
    }

    s = fanout_session_create(r, conf->app->hub, conf, conf->dialect,
                              &fanout_websocket, &user, &meter);
    if (s == NULL) {
        fanout_meter_undo(conf->app->hub, &meter);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, s, ngx_http_fanout_module);
    fanout_session_expire(s, fanout_connect_left(r, conf,
                                      fanout_bearer_left(r, conf)));

    if (fanout_subject(r, conf, &user, &s->who) != NGX_OK
        || fanout_keep_session(r, s) != NGX_OK)
    {
        fanout_session_return_request(s);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (fanout_bearer_awaited(r, conf)) {
        fanout_session_await(s, conf->jwt->wait);
    }

    if (fanout_websocket_extend(r, s, &extension) != NGX_OK) {
        fanout_session_return_request(s);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fanout_websocket_init(s);

    /* when the client sees the 101 it is subscribed */

    fanout_session_begin(s);

    if (s->state == FANOUT_ENDED) {
        fanout_session_return_request(s);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (switch_protocols(r, &extension) != NGX_OK) {
        fanout_session_return_request(s);
        return NGX_ERROR;
    }

    /* answers to requests pipelined before may still be unsent */

    waits = (r->out || r->connection->buffered);

    if (waits && fanout_await_header(r) != NGX_OK) {
        fanout_session_return_request(s);
        return NGX_ERROR;
    }

    fanout_session_keep_request(s);

    if (waits) {
        r->write_event_handler = flush_handshake;
        return NGX_DONE;
    }

    fanout_session_start(s);

    return NGX_DONE;
}


static const char *
handshake_check_all(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, fanout_meter_t *meter, ngx_uint_t *status)
{
    const char  *why;

    ngx_str_null(user);

    why = check_request(r, status);

    if (why == NULL) {
        why = check_upgrade(r, status);
    }

    if (why == NULL) {
        why = fanout_handshake_check(r, conf, user, status);

        if (why && (*status == NGX_HTTP_SERVICE_UNAVAILABLE
                    || *status == NGX_HTTP_TOO_MANY_REQUESTS))
        {
            (void) fanout_retry_after(r, conf->retry);
        }
    }

    if (why == NULL && fanout_bearer_awaited(r, conf)
        && !fanout_keeps(r, conf->jwt))
    {
        *status = NGX_HTTP_BAD_REQUEST;
        why = "the handshake is larger than \"fanout_jwt handshake=\", or has "
              "a host in its request line";
    }

    if (why == NULL) {
        why = check_budgets(r, conf, user, meter, status);
    }

    if (why) {
        return why;
    }

    why = conf->dialect->accept(r, conf, status);

    if (why) {
        fanout_meter_undo(conf->app->hub, meter);
    }

    return why;
}


static const char *
check_budgets(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_str_t *user,
    fanout_meter_t *meter, ngx_uint_t *status)
{
    fanout_refusal_t  refusal;

    if (fanout_admit(r, conf, FANOUT_WEBSOCKET, user, meter,
                     &refusal)
        == NGX_OK)
    {
        return NULL;
    }

    *status = refusal.status;

    if (fanout_retry_after(r, refusal.wait) != NGX_OK) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    return refusal.text;
}


static const char *
check_request(ngx_http_request_t *r, ngx_uint_t *status)
{
    if (r->method != NGX_HTTP_GET) {
        *status = NGX_HTTP_NOT_ALLOWED;
        return "only GET: this is a WebSocket endpoint";
    }

    if (r != r->main) {
        *status = NGX_HTTP_BAD_REQUEST;
        return "a subrequest can't be upgraded";
    }

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        *status = NGX_HTTP_BAD_REQUEST;
        return "a handshake has no body";
    }

    return NULL;
}


static const char *
check_upgrade(ngx_http_request_t *r, ngx_uint_t *status)
{
    ngx_str_t   value;
    ngx_uint_t  n;

    if (r->http_version < NGX_HTTP_VERSION_11
        || r->http_version >= NGX_HTTP_VERSION_20
        || !fanout_has_token(r, "upgrade", "websocket")
        || !fanout_has_token(r, "connection", "upgrade"))
    {
        if (r->http_version < NGX_HTTP_VERSION_20) {
            (void) handshake_add_header(r, "Upgrade", (u_char *) "websocket",
                                        9);
            (void) handshake_add_header(r, "Connection", (u_char *) "upgrade",
                                        7);
        }

        *status = 426;
        return "this is a WebSocket endpoint: upgrade over HTTP/1.1 "
               "is needed";
    }

    n = fanout_header(r, "sec-websocket-version", &value);

    if (n != 1
        || value.len != 2 || ngx_strncmp(value.data, "13", 2) != 0)
    {
        (void) handshake_add_header(r, "Sec-WebSocket-Version",
                                    (u_char *) "13", 2);

        *status = 426;
        return n == 2 ? "Sec-WebSocket-Version is there twice"
                      : "only version 13 of WebSocket is spoken";
    }

    n = fanout_header(r, "sec-websocket-key", &value);

    if (n != 1 || !fanout_ws_key_valid(value.data, value.len)) {
        *status = NGX_HTTP_BAD_REQUEST;
        return n == 2
               ? "Sec-WebSocket-Key is there twice"
               : "Sec-WebSocket-Key is missing or not 16 bytes in "
               "base64";
    }

    return NULL;
}


static ngx_int_t
handshake_add_header(ngx_http_request_t *r, const char *name, u_char *value,
    size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = value;
    h->value.len = len;

    return NGX_OK;
}


static ngx_int_t
switch_protocols(ngx_http_request_t *r, ngx_str_t *extension)
{
    u_char     *key;
    ngx_str_t   protocol;
    ngx_int_t   rc;

    key = ngx_pnalloc(r->pool, ngx_base64_encoded_length(20));
    if (key == NULL) {
        return NGX_ERROR;
    }

    if (handshake_add_header(r, "Upgrade", (u_char *) "websocket", 9) != NGX_OK
        || handshake_add_header(r, "Sec-WebSocket-Accept", key,
                                accept_key(r, key))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (fanout_subprotocol(r, &protocol)
        && handshake_add_header(r, "Sec-WebSocket-Protocol", protocol.data,
                                protocol.len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (extension->len
        && handshake_add_header(r, "Sec-WebSocket-Extensions", extension->data,
                                extension->len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* an error_page that led here must not change the status */

    r->err_status = 0;
    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");
    r->headers_out.content_length_n = -1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_send_special(r, NGX_HTTP_FLUSH);

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/* RFC 6455, section 4.2.2, 5.4; returns the length written */

static ngx_int_t
accept_key(ngx_http_request_t *r, u_char *dst)
{
    u_char      digest[20];
    ngx_str_t   key, src, to;
    ngx_sha1_t  sha1;

    static const char  guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    (void) fanout_header(r, "sec-websocket-key", &key);

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key.data, key.len);
    ngx_sha1_update(&sha1, guid, sizeof(guid) - 1);
    ngx_sha1_final(digest, &sha1);

    src.data = digest;
    src.len = sizeof(digest);
    to.data = dst;

    ngx_encode_base64(&to, &src);

    return to.len;
}


static void
flush_handshake(ngx_http_request_t *r)
{
    if (fanout_flush_header(r) == NGX_OK) {
        fanout_session_start(ngx_http_get_module_ctx(r,
                                                    ngx_http_fanout_module));
    }
}


/* The subprotocol to answer with: fanout.v1 if it was offered.  Subprotocols
 * that carry secrets are never echoed. */

ngx_uint_t
fanout_subprotocol(ngx_http_request_t *r, ngx_str_t *protocol)
{
    if (fanout_has_token(r, "sec-websocket-protocol", "fanout.v1")) {
        ngx_str_set(protocol, "fanout.v1");
        return 1;
    }

    return 0;
}
