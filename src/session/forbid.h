
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a session keeps when its permissions change, and how others end its
 * joins.
 */


#ifndef FANOUT_SESSION_FORBID_H
#define FANOUT_SESSION_FORBID_H


#include "session/permitted.h"
#include "zone/denial.h"


/* A subscription was made: it keeps the grant that it needed, if any. */
void fanout_session_granted(fanout_subscription_t *sub);

/* Ends the joins whose grants are over. */
void fanout_session_grants_end(fanout_session_t *s);

/* Ends the joins whose grants are not renewed within so many ms, and tells the
 * client.  The caller sets the timer. */
void fanout_session_grants_renew(fanout_session_t *s, ngx_msec_t within);

/* A denial was made, or (NULL) many: ends the grants of tokens that it
 * concerns.  Returns how many. */
ngx_uint_t fanout_session_tickets_denied(fanout_session_t *s,
    const fanout_denial_t *d);

/* Ends a subscription for a reason (FANOUT_LEFT_*), and tells the client.  Its
 * seat is given up for the reason "seat", or is gone already if that is 0. */
void fanout_session_remove(fanout_subscription_t *sub, ngx_uint_t reason,
    ngx_uint_t seat);

/* The session has these permissions from now on, with the caller's reference to
 * them; joins that they don't allow end.  So do those with members or locks
 * that they don't allow. */
void fanout_session_permit(fanout_session_t *s,
    fanout_permissions_t *permissions);

/* A client that came back is about to join: a seat where it holds what it may
 * not hold any more is given up. */
void fanout_session_seat_again(fanout_subscription_t *sub);

/* The location of a resumed session may permit less than the one before: its
 * seats on channels that are not permitted are closed, as above.  Where a
 * backend or a token decides, they stay for a few times, until it joins. */
void fanout_session_leave_forbidden(fanout_session_t *s);


#endif /* FANOUT_SESSION_FORBID_H */
