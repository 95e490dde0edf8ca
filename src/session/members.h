
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence: the seats of a session, and the members that it made.
 */


#ifndef FANOUT_SESSION_MEMBERS_H
#define FANOUT_SESSION_MEMBERS_H


#include "hub/hub.h"


/* Sets what a subscriber is told of; PRESENCE makes the channel's roster.
 * NGX_ERROR on lack of memory. */
ngx_int_t fanout_session_want(fanout_subscription_t *sub, ngx_uint_t want);

/* The subscriber takes its seat, or takes it again.  NONE, ZONE_FULL,
 * INTERNAL. */
fanout_error_e fanout_session_seat(
    fanout_subscription_t *sub);

/*
 * Puts what of a member of the subscriber's (FANOUT_PUT_*); data is
 * minified JSON, empty for none.  timed: the state is the clock's doing.
 *
 * NONE, CHANNEL_FULL, TOO_LARGE, NOT_FOUND (no such member, and not to enter),
 * ZONE_FULL, INTERNAL.
 */
fanout_error_e fanout_session_member_put(
    fanout_subscription_t *sub, fanout_member_t *m,
    ngx_uint_t what, ngx_uint_t timed, fanout_put_t *put);

/* The member leaves.  NONE, NOT_FOUND. */
fanout_error_e fanout_session_member_drop(
    fanout_subscription_t *sub, fanout_zstr_t *key,
    ngx_uint_t reason);

/* Notes a member that the subscriber has already, since it was resumed. */
ngx_int_t fanout_session_member_own(fanout_subscription_t *sub,
    const fanout_member_t *m);

/* Whether the channel, which has a roster, was told of all members that the
 * session has made; with late it is not asked again of these. */
ngx_uint_t fanout_session_members_listed(
    fanout_subscription_t *sub, ngx_uint_t late);

/*
 * The same for a session that has proved to be a client which is somewhere
 * else, maybe on another worker: its identity is known by the secret.  With m
 * NULL the member of that key leaves.  As above, and NOT_JOINED without a seat
 * on the channel.
 */
fanout_error_e fanout_session_member_as(
    fanout_session_t *s, ngx_str_t *channel,
    fanout_zstr_t *key, fanout_member_t *m,
    ngx_uint_t what);

/* It leaves the channel, its own worker is ordered to part it. */
fanout_error_e fanout_session_leave_as(
    fanout_session_t *s, ngx_str_t *channel);

/* Whether the policy lets this session publish there: 1 or 0. */
ngx_uint_t fanout_session_may_publish(fanout_session_t *s, ngx_str_t *channel);


/* A member of the channel was put, anywhere: what a client without a way back
 * has made of itself by a POST becomes its session's. */
void fanout_session_member_joined(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_member_t *m);


#endif /* FANOUT_SESSION_MEMBERS_H */
