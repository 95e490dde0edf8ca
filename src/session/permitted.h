
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a session may do.
 */


#ifndef FANOUT_SESSION_PERMITTED_H
#define FANOUT_SESSION_PERMITTED_H


#include "session/grants.h"
#include "session/session.h"


/* Whether a session may do one of these ops on a channel: by the rules of its
 * location, by a ticket that it brings, by what it joined with, or by what
 * the backend has answered. */
ngx_uint_t fanout_session_may(fanout_session_t *s, ngx_uint_t ops,
    ngx_str_t *channel);

/* The subject of the token of a channel that permits an op there, if no rule of
 * the location does: a denial may concern it.  0: there is none. */
ngx_uint_t fanout_session_ticket(fanout_session_t *s, ngx_uint_t op,
    ngx_str_t *channel, fanout_subject_t *who);

/* The data that the backend gives to the members of a session on a channel;
 * NULL: they have their own.  sub may be NULL. */
const ngx_str_t *fanout_session_presence(fanout_session_t *s,
    ngx_str_t *channel, fanout_subscription_t *sub);

/* Who a session is for grants; valid as long as the session. */
void fanout_session_grantee(fanout_session_t *s, fanout_grantee_t *who);


#endif /* FANOUT_SESSION_PERMITTED_H */
