
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

/* The same with a configuration other than the location's, which must live as
 * long as the location. */
ngx_int_t fanout_websocket_upgrade(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* Refuses a handshake with a line of text.  Counts and logs the refusal. */
ngx_int_t fanout_websocket_refuse(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t status,
    const char *why);

/* Sets the options that all parsers of a location share, once its configuration
 * is complete. */
void fanout_websocket_configure(fanout_loc_conf_t *conf);

/* Prepares a session's parser.  While the token of the session is awaited, a
 * message may be as long as one with a token has to be. */
void fanout_websocket_init(fanout_session_t *s);

/* The token has come, in a message that was received as a whole. */
void fanout_websocket_proved(fanout_session_t *s);

/* Negotiates permessage-deflate if the location and the client want it: sets
 * the session's format, and the extension to answer with, of the request's pool
 * (len 0: none).  NGX_ERROR on lack of memory. */
ngx_int_t fanout_websocket_extend(ngx_http_request_t *r, fanout_session_t *s,
    ngx_str_t *answer);

/* Parses received bytes, which are changed, into messages for the dialect;
 * stops when a job begins, or the step is used up, and keeps the rest in
 * s->input.  The session may have ended afterwards. */
void fanout_websocket_input(fanout_session_t *s, u_char *data, size_t len);

/* The subprotocol to answer with: 1, or 0 for none. */
ngx_uint_t fanout_subprotocol(ngx_http_request_t *r, ngx_str_t *protocol);


#endif /* FANOUT_TRANSPORT_WEBSOCKET_H */
