
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a session keeps when its permissions change, and how others end its
 * joins.
 */


#ifndef FANOUT_SESSION_PERMIT_H
#define FANOUT_SESSION_PERMIT_H


#include "session/may.h"
#include "zone/denial.h"


/* A subscription was made: it keeps the grant that it needed, if any. */
void fanout_session_granted(fanout_subscription_t *sub);

/* Ends the joins whose grants are over. */
void fanout_session_grants_end(fanout_session_t *s);

/* A denial was made, or (NULL) many: ends the grants of tokens that it
 * concerns. */
void fanout_session_tickets_denied(fanout_session_t *s,
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

/* The location of a resumed session may permit less than the one before: its
 * seats on channels that are not permitted are closed, as above. */
void fanout_session_leave_forbidden(fanout_session_t *s);


#endif /* FANOUT_SESSION_PERMIT_H */
