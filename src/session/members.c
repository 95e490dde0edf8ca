
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence: the seats and members of this worker's sessions.
 */


#include "session/session.h"
#include "session/members.h"
#include "session/dialect.h"
#include "hub/roster.h"
#include "session/transport.h"
#include "session/permitted.h"


static fanout_error_e members_refused(fanout_hub_t *hub, int rc);
static fanout_error_e put_refused(fanout_hub_t *hub, int rc);
static void put_done(fanout_hub_t *hub, fanout_put_t *put);
static ngx_uint_t members_again(fanout_hub_t *hub, int rc);
static fanout_own_member_t *own_find(fanout_subscription_t *sub,
    const u_char *key, size_t len);
static ngx_int_t own_members(fanout_subscription_t *sub);
static ngx_uint_t members_same(fanout_own_member_t *own, const u_char *key,
    size_t len);
static void member_joined(fanout_subscription_t *sub, void *data);


/* what subscribers want */

ngx_int_t
fanout_session_want(fanout_subscription_t *sub, ngx_uint_t want)
{
    fanout_channel_t  *ch;

    ch = sub->channel;

    if (ch->policy->keep.presence == FANOUT_PRESENCE_OFF) {
        want &= ~FANOUT_WANT_PRESENCE;
    }

    if (!ch->policy->keep.records) {
        want &= ~FANOUT_WANT_RECORDS;
    }

    if (!ch->policy->keep.locks) {
        want &= ~FANOUT_WANT_LOCKS;
    }

    if ((want & FANOUT_WANT_PRESENCE) && ch->roster == NULL) {
        ch->roster = fanout_roster_create(sub->session->hub, ch);

        if (ch->roster == NULL) {
            return NGX_ERROR;
        }
    }

    ch->watchers[sub->format] -= !!(sub->want & FANOUT_WANT_PRESENCE);
    ch->watchers[sub->format] += !!(want & FANOUT_WANT_PRESENCE);
    ch->keepers[sub->format] -= !!(sub->want & FANOUT_WANT_RECORDS);
    ch->keepers[sub->format] += !!(want & FANOUT_WANT_RECORDS);
    ch->lockers[sub->format] -= !!(sub->want & FANOUT_WANT_LOCKS);
    ch->lockers[sub->format] += !!(want & FANOUT_WANT_LOCKS);

    sub->want = want;
    sub->no_messages = !(want & FANOUT_WANT_MESSAGES);
    sub->no_records = ch->policy->keep.records
                      && !(want & FANOUT_WANT_RECORDS);

    return NGX_OK;
}


ngx_uint_t
fanout_session_format(fanout_session_t *s, fanout_channel_t *ch)
{
    return s->dialect->names
           && !fanout_session_may(s, FANOUT_MAY_PROFILE, &ch->name)
           ? s->format | FANOUT_UNNAMED : s->format;
}


void
fanout_session_reformat(fanout_subscription_t *sub)
{
    ngx_uint_t         format, want;
    fanout_channel_t  *ch;

    ch = sub->channel;
    format = fanout_session_format(sub->session, ch);

    if (sub->format == format) {
        return;
    }

    want = sub->want;
    (void) fanout_session_want(sub, 0);

    ch->formats[sub->format]--;
    sub->format = format;
    ch->formats[format]++;

    (void) fanout_session_want(sub, want);
}


ngx_uint_t
fanout_session_anonymous(fanout_session_t *s, ngx_str_t *channel)
{
    fanout_own_member_t    *own;
    fanout_zone_channel_t   zc;
    fanout_subscription_t  *sub;

    if (s->transport->commands) {
        /* of a client that is connected elsewhere */

        if (s->identity.client == 0) {
            return 0;
        }

        fanout_hub_view(s->hub, channel, &zc);

        return fanout_member_hidden(&s->hub->zone, &zc, &s->identity);
    }

    if (!s->anonymous) {
        return 0;
    }

    sub = fanout_session_sub(s, channel);

    if (sub == NULL || sub->own == NULL) {
        return sub && sub->anonymous;
    }

    for (own = sub->own; own && !own->anonymous; own = own->next) { /* void */ }

    return own != NULL;
}


/* seats and members */

fanout_error_e
fanout_session_seat(fanout_subscription_t *sub)
{
    int                rc;
    ngx_uint_t         tries;
    fanout_session_t  *s;

    s = sub->session;
    rc = FANOUT_ZONE_STALE;

    for (tries = 0; tries < 2; tries++) {
        rc = fanout_seat_open(&s->hub->zone, &sub->channel->zc,
                              s->identity_ref, &s->identity);

        if (!members_again(s->hub, rc)) {
            break;
        }
    }

    fanout_hub_presence(s->hub);

    if (rc != FANOUT_ZONE_OK) {
        return members_refused(s->hub, rc);
    }

    sub->seat = 1;

    if (s->resumed && own_members(sub) != NGX_OK) {
        return FANOUT_E_INTERNAL;
    }

    return FANOUT_E_NONE;
}


/* A client that came back has the members it had. */

static ngx_int_t
own_members(fanout_subscription_t *sub)
{
    ngx_uint_t         n;
    fanout_member_t    m;
    fanout_session_t  *s;

    static u_char  buf[FANOUT_ZONE_MEMBER_BUF];

    s = sub->session;

    for (n = 0;
         fanout_member_nth(&s->hub->zone, &sub->channel->zc,
                           s->identity_ref, &s->identity, n, &m,
                           buf)
         == FANOUT_ZONE_OK;
         n++)
    {
        if (fanout_session_member_own(sub, &m) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (sub->own) {
        fanout_session_alive(s);
    }

    return NGX_OK;
}


fanout_error_e
fanout_session_member_put(fanout_subscription_t *sub, fanout_member_t *m,
    ngx_uint_t what, ngx_uint_t timed, fanout_put_t *put)
{
    int                   rc;
    ngx_uint_t            tries;
    fanout_hub_t         *hub;
    fanout_roster_t      *roster;
    fanout_session_t     *s;
    fanout_own_member_t  *own;

    s = sub->session;
    hub = s->hub;

    ngx_memzero(put, sizeof(fanout_put_t));

    m->timed = timed && m->idle;

    own = own_find(sub, m->key.data, m->key.len);

    if (own == NULL && (what & FANOUT_PUT_ENTER)
        && fanout_session_member_own(sub, m) != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    rc = FANOUT_ZONE_STALE;

    for (tries = 0; tries < 2; tries++) {
        rc = fanout_member_put(&hub->zone, &sub->channel->zc, s->identity_ref,
                               &s->identity, m, what, put);

        if (!members_again(hub, rc)) {
            break;
        }
    }

    if (rc != FANOUT_ZONE_OK) {

        if (own == NULL && sub->own && (what & FANOUT_PUT_ENTER)) {
            own = sub->own;
            sub->own = own->next;
            ngx_free(own);
        }

        return put_refused(hub, rc);
    }

    own = own_find(sub, m->key.data, m->key.len);

    if (own) {
        own->idle = put->idle;
        own->timed = put->timed;
        own->anonymous = put->anonymous || (sub->channel->policy->keep.presence
                         == FANOUT_PRESENCE_SUMMARY && m->anonymous);
        s->anonymous |= own->anonymous;

        if (own->timed) {
            s->idles = 1;
        }

        if (put->created) {
            roster = sub->channel->roster;

            own->unlisted = 1;
            own->version = roster ? roster->version : UINT64_MAX;
        }
    }

    put_done(hub, put);

    return FANOUT_E_NONE;
}


static void
put_done(fanout_hub_t *hub, fanout_put_t *put)
{
    if (put->created) {
        fanout_count(hub, presence_joins);

    } else if (put->changed) {
        fanout_count(hub, presence_updates);
    }

    fanout_hub_presence(hub);
}


static fanout_error_e
put_refused(fanout_hub_t *hub, int rc)
{
    switch (rc) {

    case FANOUT_ZONE_CONFLICT:
        return FANOUT_E_CHANNEL_FULL;

    case FANOUT_ZONE_LARGE:
        /* sizes are checked before */
        return FANOUT_E_TOO_MANY;

    case FANOUT_ZONE_AGAIN:
        return FANOUT_E_CONFLICT;

    default:
        return members_refused(hub, rc);
    }
}


fanout_error_e
fanout_session_member_drop(fanout_subscription_t *sub, fanout_zstr_t *key,
    ngx_uint_t reason)
{
    int                    rc;
    fanout_session_t      *s;
    fanout_own_member_t  **p, *own;

    s = sub->session;

    for (p = &sub->own; *p; p = &(*p)->next) {
        own = *p;

        if (members_same(own, key->data, key->len)) {
            *p = own->next;
            ngx_free(own);
            break;
        }
    }

    rc = fanout_member_drop(&s->hub->zone, &sub->channel->zc, s->identity_ref,
                            &s->identity, key, reason);

    fanout_hub_presence(s->hub);

    if (rc != FANOUT_ZONE_OK) {
        return FANOUT_E_NOT_FOUND;
    }

    fanout_count(s->hub, presence_leaves);

    return FANOUT_E_NONE;
}


/* The worker of the client's session tracks the member when the PRESENCE entry
 * reaches it. */

fanout_error_e
fanout_session_member_as(fanout_session_t *s, ngx_str_t *channel,
    fanout_zstr_t *key, fanout_member_t *m, ngx_uint_t what)
{
    int                    rc, member;
    fanout_put_t           put;
    fanout_hub_t          *hub;
    fanout_zone_channel_t  zc;

    hub = s->hub;

    fanout_hub_view(hub, channel, &zc);

    if (!fanout_member_any(&hub->zone, &zc, 0, &s->identity, &member))
    {
        return FANOUT_E_NOT_JOINED;
    }

    if (m == NULL) {
        rc = fanout_member_drop(&hub->zone, &zc, 0, &s->identity, key,
                                FANOUT_LEFT_INTENTIONAL);

        if (rc == FANOUT_ZONE_OK) {
            fanout_count(hub, presence_leaves);
        }

        fanout_hub_presence(hub);

        return FANOUT_E_NONE;
    }

    rc = fanout_member_put(&hub->zone, &zc, 0, &s->identity, m, what, &put);

    if (rc != FANOUT_ZONE_OK) {
        return put_refused(hub, rc);
    }

    put_done(hub, &put);

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_session_leave_as(fanout_session_t *s, ngx_str_t *channel)
{
    int                    rc, member;
    fanout_zone_channel_t  zc;

    fanout_hub_view(s->hub, channel, &zc);

    if (!fanout_member_any(&s->hub->zone, &zc, 0, &s->identity, &member))
    {
        return FANOUT_E_NOT_JOINED;
    }

    rc = fanout_seat_kick(&s->hub->zone, &zc, s->identity.client,
                          FANOUT_LEFT_INTENTIONAL);

    fanout_hub_presence(s->hub);

    if (rc == FANOUT_ZONE_NOTFOUND) {
        return FANOUT_E_NOT_JOINED;
    }

    return members_refused(s->hub, rc);
}


ngx_int_t
fanout_session_member_own(fanout_subscription_t *sub, const fanout_member_t *m)
{
    fanout_own_member_t  *own;

    if (own_find(sub, m->key.data, m->key.len)) {
        return NGX_OK;
    }

    own = ngx_alloc(sizeof(fanout_own_member_t) + m->key.len, ngx_cycle->log);
    if (own == NULL) {
        return NGX_ERROR;
    }

    own->idle = m->idle;
    own->timed = m->timed;
    own->anonymous = m->anonymous;
    sub->session->anonymous |= m->anonymous;
    own->unlisted = 0;
    own->len = m->key.len;

    if (own->len) {
        ngx_memcpy(own->key, m->key.data, own->len);
    }

    own->next = sub->own;
    sub->own = own;

    if (own->timed) {
        sub->session->idles = 1;
    }

    return NGX_OK;
}


/* A roster that only counts has no members to find: its version must have
 * changed. */

ngx_uint_t
fanout_session_members_listed(fanout_subscription_t *sub, ngx_uint_t late)
{
    fanout_roster_t      *r;
    fanout_own_member_t  *own;

    r = sub->channel->roster;

    for (own = sub->own; own; own = own->next) {

        if (own->unlisted && !late
            && (r->summary ? r->version == own->version
                           : fanout_roster_find(r,
                                         sub->session->identity.client,
                                         own->key, own->len)
                             == NULL))
        {
            return 0;
        }

        own->unlisted = 0;
    }

    return 1;
}


static fanout_own_member_t *
own_find(fanout_subscription_t *sub, const u_char *key, size_t len)
{
    fanout_own_member_t  *own;

    for (own = sub->own; own; own = own->next) {
        if (members_same(own, key, len)) {
            break;
        }
    }

    return own;
}


/* the key may be none, of no length */

static ngx_uint_t
members_same(fanout_own_member_t *own, const u_char *key, size_t len)
{
    return own->len == len
           && (len == 0 || ngx_memcmp(own->key, key, len) == 0);
}


/* the zone may have been rebuilt in the meantime */

static ngx_uint_t
members_again(fanout_hub_t *hub, int rc)
{
    if (rc != FANOUT_ZONE_STALE
        || hub->zone.heap.incarnation == hub->incarnation)
    {
        return 0;
    }

    hub->sink.rebuilt(hub);

    return 1;
}


static fanout_error_e
members_refused(fanout_hub_t *hub, int rc)
{
    return fanout_error_of(hub, rc == FANOUT_ZONE_MANY ? FANOUT_ZONE_ADDRESS
                                                       : rc);
}


ngx_uint_t
fanout_session_may_publish(fanout_session_t *s, ngx_str_t *channel)
{
    int                     member;
    fanout_policy_t        *policy;
    fanout_channel_t       *ch;
    fanout_zone_channel_t   zc;
    fanout_subscription_t  *sub;

    if (!s->hub->app->members_publish) {
        return 1;
    }

    ch = fanout_hub_find(s->hub, channel);
    policy = ch ? ch->policy : fanout_policy(s->hub->app, channel);

    if (!policy->members_publish) {
        return 1;
    }

    if (s->transport->commands) {
        /* of a client that is connected elsewhere */
        fanout_hub_view(s->hub, channel, &zc);

        return s->identity.client
               && fanout_member_any(&s->hub->zone, &zc, 0, &s->identity,
                                    &member)
               && member;
    }

    sub = ch ? fanout_session_sub(s, channel) : NULL;

    return sub && sub->own;
}


void
fanout_session_member_joined(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_member_t *m)
{
    fanout_entry_t  e;

    ngx_memzero(&e, sizeof(fanout_entry_t));
    e.to_client = m->client;

    fanout_addressed(hub, ch, &e, member_joined, m);
}


static void
member_joined(fanout_subscription_t *sub, void *data)
{
    fanout_member_t  *m = data;

    if (!sub->session->transport->two_way
        && fanout_session_member_own(sub, m) == NGX_OK)
    {
        fanout_session_alive(sub->session);
    }
}
