
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The connection below a session: plain or TLS.  Nothing here depends on how
 * NGINX was configured when the module was built: a module that was built
 * --with-compat alone meets TLS connections as well.
 */


#ifndef FANOUT_SESSION_SOCKET_H
#define FANOUT_SESSION_SOCKET_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* bytes that are discarded from a connection that lingers */
#define FANOUT_LINGER_BYTES  (16 * 1024 * 1024)


/* Whether c->send() encrypts.  A write that returned NGX_AGAIN then has to be
 * repeated from the same address with the same length. */
ngx_uint_t fanout_socket_tls(ngx_connection_t *c);

/* Frees the output buffer of NGINX's TLS layer, 16 KB; it must be empty.  The
 * layer allocates it again if it is used. */
void fanout_socket_shrink(ngx_connection_t *c);

/* The bytes that the kernel has taken and the peer has not acknowledged, or
 * -1 where that is not known. */
ngx_int_t fanout_socket_unacked(ngx_connection_t *c);

/* Closes a connection that has left its request.  unfinished: a TLS write was
 * to be repeated, so that nothing can be said to the peer any more. */
void fanout_socket_close(ngx_connection_t *c, ngx_uint_t unfinished);

/*
 * Closes it so that the peer can read what it was sent, though it goes on
 * sending: the kernel resets a connection that is closed with input unread.
 * What comes is discarded until the peer closes, as lingering_close,
 * lingering_time and lingering_timeout of the location say, and up to
 * FANOUT_LINGER_BYTES.
 */
void fanout_socket_linger(ngx_connection_t *c,
    ngx_http_core_loc_conf_t *clcf);


#endif /* FANOUT_SESSION_SOCKET_H */
