
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * WebSocket over HTTP/1.1 (RFC 6455).
 */


#ifndef FANOUT_TRANSPORT_WEBSOCKET_H
#define FANOUT_TRANSPORT_WEBSOCKET_H


#include "session/session.h"


/* The content handler of a location with "fanout". */
ngx_int_t fanout_websocket_handler(ngx_http_request_t *r);

/* The same with another configuration than the location's own, which must
 * last as long as it. */
ngx_int_t fanout_websocket_upgrade(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* Refuses a handshake: a line of text says why.  Counts and logs it. */
ngx_int_t fanout_websocket_refuse(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t status,
    const char *why);

/* What all parsers of a location share; when its values are known. */
void fanout_websocket_configure(fanout_loc_conf_t *conf);

/* Prepares a session's parser. */
void fanout_websocket_init(fanout_session_t *s);

/* Agrees on permessage-deflate if the location and the client want it: what
 * to answer (len 0: nothing), of the request's pool, and the session's format.
 * NGX_ERROR on lack of memory. */
ngx_int_t fanout_websocket_extend(ngx_http_request_t *r, fanout_session_t *s,
    ngx_str_t *answer);

/* Reads frames out of received bytes, which are changed; stops when a job
 * begins and keeps the rest.  The session may be dead afterwards. */
void fanout_websocket_input(fanout_session_t *s, u_char *data, size_t len);

/* The subprotocol to answer with: 1, or 0 for none. */
ngx_uint_t fanout_subprotocol(ngx_http_request_t *r, ngx_str_t *protocol);


#endif /* FANOUT_TRANSPORT_WEBSOCKET_H */
