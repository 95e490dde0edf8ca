
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence: the seats of a session, and the members that it made.
 */


#ifndef FANOUT_SESSION_MEMBERS_H
#define FANOUT_SESSION_MEMBERS_H


#include "hub/hub.h"


/* Sets what a subscriber wants; PRESENCE makes the channel's roster.  NGX_ERROR
 * on lack of memory. */
ngx_int_t fanout_session_want(fanout_subscription_t *sub, ngx_uint_t want);

/* The format of a session's entries on a channel: without users, unless it has
 * the permission profile there. */
ngx_uint_t fanout_session_format(fanout_session_t *s, fanout_channel_t *ch);

/* The permissions of a subscriber's session have changed: it gets entries in
 * the format that they allow from now on. */
void fanout_session_reformat(fanout_subscription_t *sub);

/* Whether the session is anonymous on a channel: its member there is or, if it
 * has none, its join said so. */
ngx_uint_t fanout_session_anonymous(fanout_session_t *s, ngx_str_t *channel);

/* The subscriber takes a seat, or its seat again.  NONE, ZONE_FULL,
 * INTERNAL. */
fanout_error_e fanout_session_seat(
    fanout_subscription_t *sub);

/*
 * Puts what of a member of the subscriber's (FANOUT_PUT_*); data is minified
 * JSON, empty for none.  timed: the state was set by the clock.
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

/* Records a member that the subscriber has already, as after a resume.
 * NGX_ERROR on lack of memory. */
ngx_int_t fanout_session_member_own(fanout_subscription_t *sub,
    const fanout_member_t *m);

/* Whether the roster of the channel, which has one, lists all members that the
 * session has made; with "late" they count as listed. */
ngx_uint_t fanout_session_members_listed(
    fanout_subscription_t *sub, ngx_uint_t late);

/*
 * The same for a session whose client is connected elsewhere, maybe to another
 * worker: its identity was verified by the secret.  With m NULL the member of
 * that key leaves.  As above, and NOT_JOINED without a seat on the channel.
 */
fanout_error_e fanout_session_member_as(
    fanout_session_t *s, ngx_str_t *channel,
    fanout_zstr_t *key, fanout_member_t *m,
    ngx_uint_t what);

/* The client leaves the channel; the worker that has its session is ordered to
 * end the subscription. */
fanout_error_e fanout_session_leave_as(
    fanout_session_t *s, ngx_str_t *channel);

/* Whether the policy lets this session publish there: 1 or 0. */
ngx_uint_t fanout_session_may_publish(fanout_session_t *s, ngx_str_t *channel);


/* A member of the channel was made, by any worker: a member that a client of an
 * event stream or a poll has made by POST becomes one of its session. */
void fanout_session_member_joined(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_member_t *m);


#endif /* FANOUT_SESSION_MEMBERS_H */
