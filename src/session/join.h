
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How a session joins channels, and leaves them.
 */


#ifndef FANOUT_SESSION_JOIN_H
#define FANOUT_SESSION_JOIN_H


#include "hub/hub.h"


/*
 * Subscribes a session: opens the channel if need be and registers at its
 * end; since is one of SINCE_* and says what epoch and offset are.  Entries
 * with a seq above the one in j are delivered from then on, if the state is
 * LIVE.  *subp is the existing one after a second join.  Owned by the session.
 *
 * NONE, TOO_MANY, ZONE_FULL, INTERNAL.
 */
fanout_error_e fanout_session_join(
    fanout_session_t *s, ngx_str_t *channel, ngx_uint_t since,
    uint64_t epoch, uint64_t offset, ngx_uint_t history,
    fanout_subscription_t **subp, fanout_zone_join_t *j);

/*
 * The join of a subscriber that is told who is there: registers it again, at
 * what this worker has delivered by now, so that all it is told is the state
 * at one offset.  One that was subscribed before and did not say since when
 * stays where it is.
 *
 * NGX_OK; NGX_AGAIN: a reset is on its way, or the zone was rebuilt; NGX_ERROR.
 */
ngx_int_t fanout_session_register(fanout_subscription_t *sub, ngx_uint_t again,
    ngx_uint_t since, uint64_t epoch, uint64_t offset, ngx_uint_t history,
    fanout_zone_join_t *j);

/* Ends a subscription; closes the channel with the last.  Its seat is given
 * up for the reason (FANOUT_LEFT_*), or with 0 stays as it is. */
void fanout_session_leave(fanout_subscription_t *sub, ngx_uint_t reason);


#endif /* FANOUT_SESSION_JOIN_H */
