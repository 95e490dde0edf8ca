
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a session may do: each source of permission is asked in turn.
 */


#include "session/permitted.h"
#include "base/time.h"


ngx_uint_t
fanout_session_may(fanout_session_t *s, ngx_uint_t ops, ngx_str_t *channel)
{
    fanout_grantee_t        who;
    const fanout_ticket_t  *ticket;
    fanout_subscription_t  *sub;

    if (fanout_permissions_match(s->permissions, ops, channel)) {
        return 1;
    }

    if (s->conf->asks == 0 && !s->conf->tickets) {
        return 0;
    }

    ticket = fanout_ticket_on(s->tickets, s->ntickets, channel);

    /* a POST may have waited for a backend since its token was verified */

    if (ticket && (ticket->ops & ops)
        && !fanout_ticket_denied(s->hub, &s->user, ticket))
    {
        return 1;
    }

    sub = fanout_session_sub(s, channel);

    if (sub && (sub->granted & ops)
        && (sub->granted_until == 0 || sub->granted_until > fanout_time()))
    {
        return 1;
    }

    if (s->conf->asks == 0) {
        return 0;
    }

    fanout_session_grantee(s, &who);

    return fanout_grants_check(s->conf->asked, &who, ops, channel) != 0;
}


ngx_uint_t
fanout_session_ticket(fanout_session_t *s, ngx_uint_t op, ngx_str_t *channel,
    fanout_subject_t *who)
{
    const fanout_ticket_t  *ticket;
    fanout_subscription_t  *sub;

    if (!s->ticketed || fanout_permissions_match(s->permissions, op, channel)) {
        return 0;
    }

    ngx_memzero(who, sizeof(fanout_subject_t));

    who->user = s->who.user;
    who->change = s->who.change;
    who->tokened = 1;

    ticket = fanout_ticket_on(s->tickets, s->ntickets, channel);

    if (ticket && (ticket->ops & op)) {
        who->token = ticket->token;
        who->issued = ticket->issued;
        return 1;
    }

    sub = fanout_session_sub(s, channel);

    if (sub && sub->ticket && (sub->granted & op)) {
        who->token = sub->token;
        who->issued = sub->issued;
        return 1;
    }

    return 0;
}


const ngx_str_t *
fanout_session_presence(fanout_session_t *s, ngx_str_t *channel,
    fanout_subscription_t *sub)
{
    fanout_grant_t    *grant;
    fanout_grantee_t   who;

    if (s->conf->asks == 0) {
        return NULL;
    }

    fanout_session_grantee(s, &who);

    grant = fanout_grants_answered(s->conf->asked, &who, FANOUT_MAY_PRESENCE,
                                   channel);

    if (grant && grant->presence.data) {
        return &grant->presence;
    }

    grant = fanout_grants_answered(s->conf->asked, &who, FANOUT_MAY_JOIN,
                                   channel);

    if (grant && grant->presence.data) {
        return &grant->presence;
    }

    return sub && sub->grant ? &sub->grant->presence : NULL;
}


void
fanout_session_grantee(fanout_session_t *s, fanout_grantee_t *who)
{
    who->user = s->user;
    who->client = s->identity.client;
    who->place = s->conf->app;
    who->connection = s->connection;
    who->holder = s->meter.user ? s->meter.user
                  : s->meter.address ? s->meter.address : 1;
}
