
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The renewal of a session's credential in place.
 *
 * Who a client is, and what it may do, is said by the variables of a request,
 * and by modules that let it pass.  So the handshake of a session is kept, and
 * asked again with another token, as a request of its own: rewrites, limits,
 * access rules, auth_request and what the location says of users and
 * permissions hold for it as they did for the handshake.
 */


#ifndef FANOUT_TRANSPORT_RENEW_H
#define FANOUT_TRANSPORT_RENEW_H


#include "hook/call.h"
#include "session/session.h"


typedef struct {
    fanout_callee_t         callee;
    fanout_session_t       *session;        /* NULL: gone */
    ngx_connection_t       *connection;     /* NULL: the request is gone */
    ngx_str_t               token;

    /* the result */
    unsigned                answered:1;
    unsigned                reached:1;      /* the location was asked */
    fanout_error_e          rc;
    const char             *why;            /* static, NULL: the usual text */
    fanout_permissions_t   *permissions;
    ngx_str_t               user;
    ngx_str_t               info;           /* of ngx_alloc() */
    fanout_subject_t        who;
    ngx_msec_t              left;           /* ms of the token, 0: it does not
                                               say */
} fanout_renewal_t;


/*
 * Asks the handshake of a session again, with a token, which is copied.  When
 * there is an answer the job of the session continues, which must wait.  The
 * session must release the renewal when its job ends.
 *
 * NULL on lack of memory, sockets or connections, or if the handshake was not
 * kept.
 */
fanout_renewal_t *fanout_renew(fanout_session_t *s, ngx_str_t *token);

/* The session no longer waits: frees a renewal that is answered; another one
 * ends by itself. */
void fanout_renew_release(fanout_renewal_t *renewal);

/* The renewal that a request is of, or NULL. */
fanout_renewal_t *fanout_renewal_of(ngx_http_request_t *r);

/* The content handler of a renewal: evaluates the request. */
ngx_int_t fanout_renew_handler(ngx_http_request_t *r,
    fanout_renewal_t *renewal);


#endif /* FANOUT_TRANSPORT_RENEW_H */
