
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Handshakes that are kept for later: to be asked again with another token, see
 * renew.h, and for the headers of questions to a backend, see authorize.h.
 */


#ifndef FANOUT_TRANSPORT_KEPT_HANDSHAKE_H
#define FANOUT_TRANSPORT_KEPT_HANDSHAKE_H


#include "session/session.h"


/* the URI, then the name and the value of each header, all with NUL; one block
 * of ngx_alloc() */

struct fanout_handshake_s {
    ngx_http_conf_ctx_t     *ctx;           /* of its server */
    ngx_http_addr_conf_t    *address;       /* that it came to */
    ngx_str_t                header;        /* that had its token, len 0:
                                               none */
    ngx_uint_t               again;         /* it can be asked again */
    size_t                   len;
    u_char                   text[1];
};


/* addresses of a connection */

typedef struct {
    ngx_sockaddr_t           peer;
    ngx_sockaddr_t           local;
    socklen_t                peer_len;
    socklen_t                local_len;
    size_t                   text_len;
    u_char                   text[NGX_SOCKADDR_STRLEN];
} fanout_kept_address_t;


/* A copy of a request, without the headers of its connection alone, and without
 * the one that has a token.  NGX_OK; NGX_DECLINED: it has more than max bytes;
 * NGX_ERROR on lack of memory. */
ngx_int_t fanout_keep(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    size_t max, fanout_handshake_t **kept);

/* Gives a WebSocket the handshake that it needs later, if any; one that is
 * larger than it may be is not kept.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_keep_session(ngx_http_request_t *r, fanout_session_t *s);

/* Whether a handshake is kept so that it can be asked again: 1 or 0. */
ngx_uint_t fanout_keeps(ngx_http_request_t *r, fanout_jwt_conf_t *jwt);

/* A copy of it.  NULL on lack of memory. */
fanout_handshake_t *fanout_kept_copy(const fanout_handshake_t *kept);

/* The next header of a kept handshake, from *p on, which is .text at first.
 * Returns 0 at the end. */
ngx_uint_t fanout_kept_next(const fanout_handshake_t *kept, u_char **p,
    ngx_str_t *name, ngx_str_t *value);

/* Adds a header to the request of a call, as if it was received; name and value
 * outlive it.  NGX_OK; NGX_DONE: NGINX has ended the request; NGX_ERROR on lack
 * of memory. */
ngx_int_t fanout_kept_header(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *value);

/* Copies the addresses of a connection; gives them to that of a call.
 * NGX_ERROR. */
ngx_int_t fanout_kept_address(ngx_connection_t *c,
    fanout_kept_address_t *address);
ngx_int_t fanout_kept_connect(ngx_connection_t *c,
    const fanout_kept_address_t *address);


#endif /* FANOUT_TRANSPORT_KEPT_HANDSHAKE_H */
