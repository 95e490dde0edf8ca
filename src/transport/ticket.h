
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Subscription tokens: a JSON Web Token that names a channel, for one user
 * (fanout_jwt channel=).  What it grants is a ticket.
 *
 * A WebSocket brings one with each join, see dialect/native_ticket.c.  Streams,
 * polls and POSTs bring theirs with the request, in a header or in arguments,
 * which are overwritten before any log has them.
 */


#ifndef FANOUT_TRANSPORT_TICKET_H
#define FANOUT_TRANSPORT_TICKET_H


#include "session/session.h"


/* most of a request */
#define FANOUT_TICKETS  32


/*
 * Verifies a token for a user (len 0: a client without one).  NULL, and the
 * ticket; or why it is refused, a static text, with the error, and whether a
 * signature was made up.  UNAUTHORIZED: it is not valid, or was revoked;
 * FORBIDDEN: it is of another user; TOO_LARGE; INTERNAL.
 */
const char *fanout_ticket_read(fanout_loc_conf_t *conf, ngx_str_t *token,
    ngx_str_t *user, fanout_ticket_t *ticket, fanout_error_e *rc,
    ngx_uint_t *forged);


/* of requests */

/* Takes the tokens from a request, so that no log has them: in the query they
 * are overwritten with "*".  NGX_ERROR on lack of memory. */
ngx_int_t fanout_tickets_take(ngx_http_request_t *r);

/* Verifies them, once, for the user of the request; whether they were revoked
 * is looked up each time.  NULL, or why the request is refused, a static text,
 * and the status. */
const char *fanout_tickets_check(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t *status);

/* The ops on a channel that those that were verified grant. */
ngx_uint_t fanout_tickets_ops(ngx_http_request_t *r, ngx_str_t *channel);

/* The session of the request has its tickets from here on, and is charged for
 * them; they are of the request. */
void fanout_tickets_give(ngx_http_request_t *r, fanout_session_t *s);


#endif /* FANOUT_TRANSPORT_TICKET_H */
