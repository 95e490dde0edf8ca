
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How a session joins channels, and leaves them.
 */


#ifndef FANOUT_SESSION_JOIN_H
#define FANOUT_SESSION_JOIN_H


#include "hub/hub.h"


/*
 * Subscribes a session: opens the channel if need be and registers at its end;
 * since is one of SINCE_* and says what epoch and offset are.  Entries with a
 * seq above the one in j are delivered from then on, if the state is LIVE.  If
 * the channel was joined before, *subp is the existing subscription.  Owned by
 * the session.
 *
 * NONE, TOO_MANY, ZONE_FULL, INTERNAL.
 */
fanout_error_e fanout_session_join(
    fanout_session_t *s, ngx_str_t *channel, ngx_uint_t since,
    uint64_t epoch, uint64_t offset, ngx_uint_t history,
    fanout_subscription_t **subp, fanout_zone_join_t *j);

/*
 * The join of a subscriber that gets the members: registers it again, at the
 * offset that this worker has delivered, so that the reply is the state at one
 * offset.  A subscriber that had joined before, without "since", stays at its
 * offset.
 *
 * NGX_OK; NGX_AGAIN: a reset is on its way, or the zone was rebuilt; NGX_ERROR.
 */
ngx_int_t fanout_session_register(fanout_subscription_t *sub, ngx_uint_t again,
    ngx_uint_t since, uint64_t epoch, uint64_t offset, ngx_uint_t history,
    fanout_zone_join_t *j);

/* Ends and frees a subscription; the last one of a channel closes it.  Its seat
 * is given up for the reason (FANOUT_LEFT_*), or remains if that is 0. */
void fanout_session_leave(fanout_subscription_t *sub, ngx_uint_t reason);


#endif /* FANOUT_SESSION_JOIN_H */
