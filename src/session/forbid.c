
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a session keeps when its permissions change, and how others end its
 * joins.
 */


#include "session/forbid.h"
#include "base/time.h"
#include "session/dialect.h"
#include "session/join.h"
#include "session/members.h"
#include "session/transport.h"


#define FANOUT_SEAT_NAMES  64                   /* names read at once */

/* what a backend may have granted to who has a seat */
#define FANOUT_PERMIT_ASKED                                                   \
    (FANOUT_MAY_JOIN|FANOUT_MAY_PRESENCE|FANOUT_MAY_LOCK)


static void granted_presence(fanout_subscription_t *sub,
    fanout_grant_t *grant);
static void granted_ticket(fanout_subscription_t *sub,
    const fanout_ticket_t *ticket);
static ngx_uint_t granted_next(fanout_subscription_t *sub);
static ngx_uint_t ticket_denied(fanout_session_t *s, const fanout_denial_t *d,
    const fanout_subject_t *who);
static void granted_end(fanout_subscription_t *sub);
static ngx_uint_t granted_keeps(fanout_subscription_t *sub);
static void granted_more(fanout_subscription_t *sub, fanout_grantee_t *who,
    ngx_uint_t op);
static ngx_uint_t keeps(fanout_session_t *s, ngx_str_t *name,
    fanout_zone_channel_t *c, ngx_uint_t want);
static ngx_uint_t permit_holds(fanout_session_t *s, ngx_str_t *name,
    fanout_zone_channel_t *c, ngx_uint_t unasked);
static ngx_uint_t permit_op(fanout_session_t *s, ngx_uint_t op,
    ngx_str_t *name, ngx_uint_t unasked);
static ngx_uint_t permit_doubts(fanout_session_t *s, ngx_str_t *name,
    fanout_zone_channel_t *c);


void
fanout_session_granted(fanout_subscription_t *sub)
{
    ngx_str_t              *name;
    fanout_grant_t         *grant;
    fanout_session_t       *s;
    fanout_grantee_t        who;
    const fanout_ticket_t  *ticket;

    s = sub->session;
    name = &sub->channel->name;

    if (s->conf->asks == 0 && !s->conf->tickets) {
        return;
    }

    fanout_session_grantee(s, &who);

    ticket = fanout_ticket_on(s->tickets, s->ntickets, name);
    grant = ticket || s->conf->asks == 0
            ? NULL : fanout_grants_answered(s->conf->asked, &who,
                                            FANOUT_MAY_JOIN, name);
    if (ticket) {
        granted_ticket(sub, ticket);

    } else if (grant && (fanout_grant_ops(grant) & FANOUT_MAY_JOIN)
               && !sub->ticket)
    {
        /* if the answer denies, or a ticket still holds, the grant stays as it
         * is, and so does its end */

        sub->granted &= FANOUT_MAY_PRESENCE|FANOUT_MAY_PROFILE;
        sub->granted |= fanout_grant_ops(grant);
        sub->granted_until = grant->expires;
        sub->granted_warn = 0;
        sub->ticket = 0;
        granted_presence(sub, grant);
    }

    granted_more(sub, &who, FANOUT_MAY_PRESENCE);
    granted_more(sub, &who, FANOUT_MAY_PROFILE);

    if (granted_next(sub) && s->started) {
        fanout_session_timer(s);
    }
}


static void
granted_presence(fanout_subscription_t *sub, fanout_grant_t *grant)
{
    if (sub->grant) {
        fanout_grant_release(sub->grant);
        sub->grant = NULL;
    }

    if (grant->presence.data) {
        sub->grant = grant;
        grant->refs++;
    }
}


/* Sets the next time at which a grant of the session needs work.  1: it is
 * earlier than before. */

static ngx_uint_t
granted_next(fanout_subscription_t *sub)
{
    uint64_t           at;
    fanout_session_t  *s;

    if (sub->granted_until == 0 && !sub->granted_check) {
        return 0;
    }

    s = sub->session;
    at = sub->granted_check ? 1 : sub->granted_until - sub->granted_warn;

    if (s->granted_at && s->granted_at <= at) {
        return 0;
    }

    s->granted_at = at;

    return 1;
}


/* A ticket replaces the grant before it.  What the ticket lacks is ended by the
 * timer, not while the join runs. */

static void
granted_ticket(fanout_subscription_t *sub, const fanout_ticket_t *ticket)
{
    uint64_t           now;
    fanout_session_t  *s;

    s = sub->session;
    now = fanout_time();

    sub->granted_check |= (sub->granted & ~ticket->ops) != 0;
    sub->granted = ticket->ops;
    sub->granted_until = ticket->until;
    sub->granted_warn = 0;
    sub->issued = ticket->issued;
    sub->token = ticket->token;
    sub->ticket = 1;
    s->ticketed = 1;

    if (sub->granted_until > now && s->dialect->expiring) {
        sub->granted_warn = ngx_min(s->conf->expiring,
                                    (sub->granted_until - now) / 2);
    }
}


/* What a join asks for besides ends it as well. */

static void
granted_more(fanout_subscription_t *sub, fanout_grantee_t *who, ngx_uint_t op)
{
    fanout_grant_t    *grant;
    fanout_session_t  *s;

    s = sub->session;
    grant = s->conf->asks ? fanout_grants_answered(s->conf->asked, who, op,
                                                   &sub->channel->name)
                          : NULL;

    if (grant == NULL || !(fanout_grant_ops(grant) & op)) {
        return;
    }

    sub->granted |= op;

    if (grant->expires
        && (sub->granted_until == 0 || grant->expires < sub->granted_until))
    {
        sub->granted_until = grant->expires;
        sub->granted_warn = 0;
    }
}


void
fanout_session_grants_end(fanout_session_t *s)
{
    uint64_t                now;
    ngx_queue_t            *q, *next;
    fanout_subscription_t  *sub;

    now = fanout_time();
    s->granted_at = 0;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub->granted_until && sub->granted_until <= now) {
            granted_end(sub);
            continue;
        }

        if (sub->granted_check) {
            sub->granted_check = 0;

            if (!granted_keeps(sub)) {
                continue;
            }
        }

        if (sub->granted_warn
            && sub->granted_until - sub->granted_warn <= now)
        {
            sub->granted_warn = 0;
            s->dialect->expiring(s, &sub->channel->name,
                                 sub->granted_until - now);
        }

        (void) granted_next(sub);
    }
}


ngx_uint_t
fanout_session_tickets_denied(fanout_session_t *s, const fanout_denial_t *d)
{
    ngx_uint_t              i, ended;
    ngx_queue_t            *q, *next;
    fanout_subject_t        who;
    fanout_subscription_t  *sub;

    ngx_memzero(&who, sizeof(fanout_subject_t));

    who.user = s->who.user;
    who.change = s->who.change;
    who.tokened = 1;
    ended = 0;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (!sub->ticket) {
            continue;
        }

        who.token = sub->token;
        who.issued = sub->issued;

        if (ticket_denied(s, d, &who)) {
            fanout_session_log_denied(s, FANOUT_LOG_REVOKE,
                                      &sub->channel->name);
            granted_end(sub);
            ended++;
        }
    }

    for (i = 0; i < s->ntickets && s->transport->commands; i++) {
        who.token = s->tickets[i].token;
        who.issued = s->tickets[i].issued;
        ended += ticket_denied(s, d, &who);
    }

    return ended;
}


/* by this denial, or (NULL) by any */

static ngx_uint_t
ticket_denied(fanout_session_t *s, const fanout_denial_t *d,
    const fanout_subject_t *who)
{
    fanout_denial_t  found;

    return d ? fanout_denial_concerns(d, who)
             : fanout_denial_check(&s->hub->zone, who, &found);
}


void
fanout_session_grants_renew(fanout_session_t *s, ngx_msec_t within)
{
    uint64_t                until;
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    until = fanout_time() + within;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub->granted == 0
            || (sub->granted_until && sub->granted_until <= until))
        {
            continue;
        }

        sub->granted_until = until;
        sub->granted_warn = s->dialect->expiring ? within : 0;

        (void) granted_next(sub);
    }
}


static void
granted_end(fanout_subscription_t *sub)
{
    sub->granted = 0;
    sub->granted_until = 0;
    sub->granted_warn = 0;
    sub->granted_check = 0;
    sub->ticket = 0;

    (void) granted_keeps(sub);
}


/* 0: the join has ended, as nothing permits it now. */

static ngx_uint_t
granted_keeps(fanout_subscription_t *sub)
{
    if (keeps(sub->session, &sub->channel->name, &sub->channel->zc,
              sub->want))
    {
        fanout_session_reformat(sub);
        return 1;
    }

    fanout_session_remove(sub, FANOUT_LEFT_FORBIDDEN, FANOUT_LEFT_FORBIDDEN);

    return 0;
}


void
fanout_session_remove(fanout_subscription_t *sub, ngx_uint_t reason,
    ngx_uint_t seat)
{
    u_char             buf[FANOUT_NAME];
    ngx_str_t          name;
    fanout_session_t  *s;

    s = sub->session;

    name.data = buf;
    name.len = sub->channel->name.len;
    ngx_memcpy(buf, sub->channel->name.data, name.len);

    if (reason == FANOUT_LEFT_KICKED) {
        fanout_session_log_kick(s, &name);
    }

    if (s->job && s->job->sub == sub) {
        /* the reply of the job becomes an error */
        fanout_waiter_cancel(&s->job->waiter);
        s->job->sub = NULL;
        s->job->removed = 1;
        fanout_outbox_queue(s);
    }

    fanout_session_leave(sub, seat);

    if (s->dialect->removed) {
        s->dialect->removed(s, &name, reason);
    }
}


void
fanout_session_permit(fanout_session_t *s, fanout_permissions_t *permissions)
{
    ngx_queue_t            *q, *next;
    fanout_channel_t       *ch;
    fanout_subscription_t  *sub;

    fanout_permissions_release(s->permissions);

    if (s->permissions == permissions) {
        /* equal ones are shared */
        return;
    }

    s->permissions = permissions;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);
        ch = sub->channel;

        if (!keeps(s, &ch->name, &ch->zc, sub->want)) {
            fanout_session_remove(sub, FANOUT_LEFT_FORBIDDEN,
                                  FANOUT_LEFT_FORBIDDEN);

        } else {
            fanout_session_reformat(sub);
        }
    }
}


static ngx_uint_t
keeps(fanout_session_t *s, ngx_str_t *name, fanout_zone_channel_t *c,
    ngx_uint_t want)
{
    unsigned    holds;
    ngx_uint_t  presence, lock;

    if (!fanout_session_may(s, FANOUT_MAY_JOIN, name)) {
        return 0;
    }

    presence = fanout_session_may(s, FANOUT_MAY_PRESENCE, name);
    lock = fanout_session_may(s, FANOUT_MAY_LOCK, name);

    if ((presence && lock) || s->identity.client == 0) {
        return 1;
    }

    if (!presence && (want & FANOUT_WANT_PRESENCE)) {
        return 0;
    }

    holds = fanout_seat_holds(&s->hub->zone, c, s->identity.client);

    return (presence || !(holds & FANOUT_HOLDS_MEMBERS))
           && (lock || !(holds & FANOUT_HOLDS_LOCKS));
}


void
fanout_session_leave_forbidden(fanout_session_t *s)
{
    uint32_t               cursor;
    unsigned               n, i, left, more;
    ngx_str_t              name;
    fanout_zone_t         *z;
    fanout_zone_channel_t  c;

    static uint8_t  lens[FANOUT_SEAT_NAMES];
    static uint8_t  names[FANOUT_SEAT_NAMES][256];

    z = &s->hub->zone;
    cursor = 0;

    do {
        if (fanout_client_channels(z, s->identity.client, &cursor,
                                   names, lens,
                                   FANOUT_SEAT_NAMES, &n)
            != FANOUT_ZONE_OK)
        {
            return;
        }

        left = 0;

        for (i = 0; i < n; i++) {
            name.data = names[i];
            name.len = lens[i];

            fanout_hub_view(s->hub, &name, &c);

            if (!permit_doubts(s, &name, &c)) {
                fanout_seat_close(z, &c, s->identity_ref, &s->identity,
                                  FANOUT_LEFT_FORBIDDEN);
                left++;
            }
        }

        more = (cursor != 0);

        if (more) {
            /* channels that were left are not counted any more */
            cursor -= left;
        }

    } while (more);
}


void
fanout_session_seat_again(fanout_subscription_t *sub)
{
    fanout_channel_t  *ch;
    fanout_session_t  *s;

    s = sub->session;
    ch = sub->channel;

    if (s->resumed && !sub->seat && (s->conf->asks || s->conf->tickets)
        && !permit_holds(s, &ch->name, &ch->zc, 1))
    {
        fanout_seat_close(&s->hub->zone, &ch->zc, s->identity_ref,
                          &s->identity, FANOUT_LEFT_FORBIDDEN);
        fanout_hub_presence(s->hub);
    }
}


/* Whether a seat stays for now.  If a backend or a token decides, it does so
 * when the client joins; who comes back again and again without a join must not
 * keep members and locks by that. */

static ngx_uint_t
permit_doubts(fanout_session_t *s, ngx_str_t *name, fanout_zone_channel_t *c)
{
    if (permit_holds(s, name, c, 0)) {
        return 1;
    }

    return ((s->conf->asks & FANOUT_PERMIT_ASKED) || s->conf->tickets)
           && fanout_seat_doubt(&s->hub->zone, c, s->identity_ref,
                                &s->identity);
}


/* Whether a client may have its seat, and what it holds there.  unasked: what a
 * backend would be asked for, and has not been, counts as permitted. */

static ngx_uint_t
permit_holds(fanout_session_t *s, ngx_str_t *name, fanout_zone_channel_t *c,
    ngx_uint_t unasked)
{
    ngx_uint_t  holds;

    holds = fanout_seat_holds(&s->hub->zone, c, s->identity.client);

    return permit_op(s, FANOUT_MAY_JOIN, name, 0)
           && (!(holds & FANOUT_HOLDS_MEMBERS)
               || permit_op(s, FANOUT_MAY_PRESENCE, name, unasked))
           && (!(holds & FANOUT_HOLDS_LOCKS)
               || permit_op(s, FANOUT_MAY_LOCK, name, unasked));
}


static ngx_uint_t
permit_op(fanout_session_t *s, ngx_uint_t op, ngx_str_t *name,
    ngx_uint_t unasked)
{
    fanout_grantee_t  who;

    if (fanout_session_may(s, op, name)) {
        return 1;
    }

    fanout_session_grantee(s, &who);

    return unasked && (s->conf->asks & op)
           && fanout_grants_answered(s->conf->asked, &who, op, name) == NULL;
}
