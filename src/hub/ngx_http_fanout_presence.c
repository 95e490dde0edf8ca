
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence: the seats and members of this worker's sessions, what others
 * order to be done to them, and when changes are told.
 */


#include "ngx_http_fanout_session.h"
#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_roster.h"
#include "ngx_http_fanout_transport.h"


#define NGX_HTTP_FANOUT_ORDERS  16


static ngx_http_fanout_error_e refused(ngx_http_fanout_hub_t *hub, int rc);
static ngx_http_fanout_error_e put_refused(ngx_http_fanout_hub_t *hub, int rc);
static void put_done(ngx_http_fanout_hub_t *hub, ngx_http_fanout_put_t *put);
static ngx_uint_t again(ngx_http_fanout_hub_t *hub, int rc);
static ngx_http_fanout_own_t *own_find(ngx_http_fanout_subscription_t *sub,
    const u_char *key, size_t len);
static ngx_int_t own_members(ngx_http_fanout_subscription_t *sub);
static ngx_uint_t same(ngx_http_fanout_own_t *own, const u_char *key,
    size_t len);
static void restore_member(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_own_t *own);
static void order_close(ngx_http_fanout_session_t *s, void *data);
static void order_part(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_order_t *order);
static void close_lost(ngx_http_fanout_session_t *s, ngx_uint_t op,
    ngx_uint_t code);
static void order_look(ngx_http_fanout_hub_t *hub);
static void look_seats(ngx_http_fanout_session_t *s);
static ngx_uint_t seat_lost(ngx_http_fanout_subscription_t *sub);
static void part(ngx_http_fanout_subscription_t *sub, ngx_uint_t reason,
    ngx_uint_t seat);


/* what is told, and when */

ngx_int_t
ngx_http_fanout_hub_want(ngx_http_fanout_subscription_t *sub, ngx_uint_t want)
{
    ngx_http_fanout_channel_t  *ch;

    ch = sub->channel;

    if (ch->policy->keep.presence == NGX_HTTP_FANOUT_PRESENCE_OFF) {
        want &= ~NGX_HTTP_FANOUT_WANT_PRESENCE;
    }

    if ((want & NGX_HTTP_FANOUT_WANT_PRESENCE) && ch->roster == NULL) {
        ch->roster = ngx_http_fanout_roster_create(sub->session->hub, ch);

        if (ch->roster == NULL) {
            return NGX_ERROR;
        }
    }

    ch->watchers[sub->format] -= !!(sub->want & NGX_HTTP_FANOUT_WANT_PRESENCE);
    ch->watchers[sub->format] += !!(want & NGX_HTTP_FANOUT_WANT_PRESENCE);

    sub->want = want;
    sub->no_messages = !(want & NGX_HTTP_FANOUT_WANT_MESSAGES);

    return NGX_OK;
}


void
ngx_http_fanout_hub_presence(ngx_http_fanout_hub_t *hub)
{
    /* once for all that is done in a turn */
    ngx_post_event(&hub->presence, &ngx_posted_events);
}


void
ngx_http_fanout_hub_presence_handler(ngx_event_t *ev)
{
    uint32_t                ms;
    ngx_http_fanout_hub_t  *hub;

    hub = ev->data;

    ms = ngx_http_fanout_presence_flush(&hub->zone);

    ngx_http_fanout_hub_kick(hub);

    if (ms == 0) {
        /* more is due: behind what clients want meanwhile */
        ngx_post_event(ev, &ngx_posted_next_events);

    } else if (ms != UINT32_MAX) {
        ngx_add_timer(ev, ms);
    }
}


/* seats and members */

ngx_http_fanout_error_e
ngx_http_fanout_hub_seat(ngx_http_fanout_subscription_t *sub)
{
    int                         rc;
    ngx_uint_t                  tries;
    ngx_http_fanout_session_t  *s;

    s = sub->session;
    rc = NGX_HTTP_FANOUT_ZONE_STALE;

    for (tries = 0; tries < 2; tries++) {
        rc = ngx_http_fanout_seat_open(&s->hub->zone, &sub->channel->zc,
                                       s->identity_ref, &s->identity);

        if (!again(s->hub, rc)) {
            break;
        }
    }

    ngx_http_fanout_hub_presence(s->hub);

    if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
        return refused(s->hub, rc);
    }

    sub->seat = 1;

    if (s->resumed && own_members(sub) != NGX_OK) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    return NGX_HTTP_FANOUT_E_NONE;
}


/* A client that came back has the members it had. */

static ngx_int_t
own_members(ngx_http_fanout_subscription_t *sub)
{
    ngx_uint_t                  n;
    ngx_http_fanout_member_t    m;
    ngx_http_fanout_session_t  *s;

    static u_char  buf[NGX_HTTP_FANOUT_ZONE_MEMBER_BUF];

    s = sub->session;

    for (n = 0;
         ngx_http_fanout_member_nth(&s->hub->zone, &sub->channel->zc,
                                    s->identity_ref, &s->identity, n, &m,
                                    buf)
         == NGX_HTTP_FANOUT_ZONE_OK;
         n++)
    {
        if (ngx_http_fanout_hub_member_own(sub, &m) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (sub->own) {
        ngx_http_fanout_session_alive(s);
    }

    return NGX_OK;
}


ngx_http_fanout_error_e
ngx_http_fanout_hub_member_put(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_member_t *m, ngx_uint_t what, ngx_uint_t timed,
    ngx_http_fanout_put_t *put)
{
    int                         rc;
    ngx_uint_t                  tries;
    ngx_http_fanout_own_t      *own;
    ngx_http_fanout_hub_t      *hub;
    ngx_http_fanout_roster_t   *roster;
    ngx_http_fanout_session_t  *s;

    s = sub->session;
    hub = s->hub;

    ngx_memzero(put, sizeof(ngx_http_fanout_put_t));

    m->timed = timed && m->idle;

    own = own_find(sub, m->key.data, m->key.len);

    if (own == NULL && (what & NGX_HTTP_FANOUT_PUT_ENTER)
        && ngx_http_fanout_hub_member_own(sub, m) != NGX_OK)
    {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    rc = NGX_HTTP_FANOUT_ZONE_STALE;

    for (tries = 0; tries < 2; tries++) {
        rc = ngx_http_fanout_member_put(&hub->zone, &sub->channel->zc,
                                        s->identity_ref, &s->identity, m,
                                        what, put);

        if (!again(hub, rc)) {
            break;
        }
    }

    if (rc != NGX_HTTP_FANOUT_ZONE_OK) {

        if (own == NULL && sub->own && (what & NGX_HTTP_FANOUT_PUT_ENTER)) {
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
        own->anonymous = put->anonymous;

        if (own->timed) {
            s->idles = 1;
        }

        if (put->created) {
            roster = sub->channel->roster;

            own->untold = 1;
            own->version = roster ? roster->version : UINT64_MAX;
        }
    }

    put_done(hub, put);

    return NGX_HTTP_FANOUT_E_NONE;
}


static void
put_done(ngx_http_fanout_hub_t *hub, ngx_http_fanout_put_t *put)
{
    if (put->created) {
        ngx_http_fanout_count(hub, presence_joins);

    } else if (put->changed) {
        ngx_http_fanout_count(hub, presence_updates);
    }

    ngx_http_fanout_hub_presence(hub);
}


static ngx_http_fanout_error_e
put_refused(ngx_http_fanout_hub_t *hub, int rc)
{
    switch (rc) {

    case NGX_HTTP_FANOUT_ZONE_CONFLICT:
        return NGX_HTTP_FANOUT_E_CHANNEL_FULL;

    case NGX_HTTP_FANOUT_ZONE_LARGE:
        /* sizes are checked before */
        return NGX_HTTP_FANOUT_E_TOO_MANY;

    case NGX_HTTP_FANOUT_ZONE_AGAIN:
        return NGX_HTTP_FANOUT_E_CONFLICT;

    default:
        return refused(hub, rc);
    }
}


ngx_http_fanout_error_e
ngx_http_fanout_hub_member_drop(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_zstr_t *key, ngx_uint_t reason)
{
    int                          rc;
    ngx_http_fanout_own_t      **p, *own;
    ngx_http_fanout_session_t   *s;

    s = sub->session;

    for (p = &sub->own; *p; p = &(*p)->next) {
        own = *p;

        if (same(own, key->data, key->len)) {
            *p = own->next;
            ngx_free(own);
            break;
        }
    }

    rc = ngx_http_fanout_member_drop(&s->hub->zone, &sub->channel->zc,
                                     s->identity_ref, &s->identity, key,
                                     reason);

    ngx_http_fanout_hub_presence(s->hub);

    if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
        return NGX_HTTP_FANOUT_E_NOT_FOUND;
    }

    ngx_http_fanout_count(s->hub, presence_leaves);

    return NGX_HTTP_FANOUT_E_NONE;
}


/* Who has a member by this becomes its owner when it is told of it. */

ngx_http_fanout_error_e
ngx_http_fanout_hub_member_as(ngx_http_fanout_session_t *s,
    ngx_str_t *channel, ngx_http_fanout_zstr_t *key,
    ngx_http_fanout_member_t *m, ngx_uint_t what)
{
    int                             rc, member;
    ngx_http_fanout_put_t           put;
    ngx_http_fanout_hub_t          *hub;
    ngx_http_fanout_zone_channel_t  zc;

    hub = s->hub;

    ngx_http_fanout_hub_view(hub, channel, &zc);

    if (!ngx_http_fanout_member_any(&hub->zone, &zc, 0, &s->identity,
                                    &member))
    {
        return NGX_HTTP_FANOUT_E_NOT_JOINED;
    }

    if (m == NULL) {
        rc = ngx_http_fanout_member_drop(&hub->zone, &zc, 0, &s->identity,
                                         key,
                                         NGX_HTTP_FANOUT_LEFT_INTENTIONAL);

        if (rc == NGX_HTTP_FANOUT_ZONE_OK) {
            ngx_http_fanout_count(hub, presence_leaves);
        }

        ngx_http_fanout_hub_presence(hub);

        return NGX_HTTP_FANOUT_E_NONE;
    }

    rc = ngx_http_fanout_member_put(&hub->zone, &zc, 0, &s->identity, m, what,
                                    &put);

    if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
        return put_refused(hub, rc);
    }

    put_done(hub, &put);

    return NGX_HTTP_FANOUT_E_NONE;
}


ngx_http_fanout_error_e
ngx_http_fanout_hub_leave_as(ngx_http_fanout_session_t *s, ngx_str_t *channel)
{
    int                             rc, member;
    ngx_http_fanout_zone_channel_t  zc;

    ngx_http_fanout_hub_view(s->hub, channel, &zc);

    if (!ngx_http_fanout_member_any(&s->hub->zone, &zc, 0, &s->identity,
                                    &member))
    {
        return NGX_HTTP_FANOUT_E_NOT_JOINED;
    }

    rc = ngx_http_fanout_seat_kick(&s->hub->zone, &zc, s->identity.client,
                                   NGX_HTTP_FANOUT_LEFT_INTENTIONAL);

    ngx_http_fanout_hub_presence(s->hub);

    switch (rc) {

    case NGX_HTTP_FANOUT_ZONE_OK:
        return NGX_HTTP_FANOUT_E_NONE;

    case NGX_HTTP_FANOUT_ZONE_NOTFOUND:
        return NGX_HTTP_FANOUT_E_NOT_JOINED;

    default:
        return refused(s->hub, rc);
    }
}


ngx_int_t
ngx_http_fanout_hub_member_own(ngx_http_fanout_subscription_t *sub,
    const ngx_http_fanout_member_t *m)
{
    ngx_http_fanout_own_t  *own;

    if (own_find(sub, m->key.data, m->key.len)) {
        return NGX_OK;
    }

    own = ngx_alloc(sizeof(ngx_http_fanout_own_t) + m->key.len,
                    ngx_cycle->log);
    if (own == NULL) {
        return NGX_ERROR;
    }

    own->idle = m->idle;
    own->timed = m->timed;
    own->anonymous = m->anonymous;
    own->untold = 0;
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


/* A roster that only counts has no members to be found. */

ngx_uint_t
ngx_http_fanout_hub_member_told(ngx_http_fanout_subscription_t *sub,
    ngx_uint_t late)
{
    ngx_http_fanout_own_t     *own;
    ngx_http_fanout_roster_t  *r;

    r = sub->channel->roster;

    for (own = sub->own; own; own = own->next) {

        if (own->untold && !late
            && (r->summary ? r->version == own->version
                           : ngx_http_fanout_roster_find(r,
                                         sub->session->identity.client,
                                         own->key, own->len)
                             == NULL))
        {
            return 0;
        }

        own->untold = 0;
    }

    return 1;
}


static ngx_http_fanout_own_t *
own_find(ngx_http_fanout_subscription_t *sub, const u_char *key, size_t len)
{
    ngx_http_fanout_own_t  *own;

    for (own = sub->own; own; own = own->next) {
        if (same(own, key, len)) {
            break;
        }
    }

    return own;
}


/* the key may be none, of no length */

static ngx_uint_t
same(ngx_http_fanout_own_t *own, const u_char *key, size_t len)
{
    return own->len == len
           && (len == 0 || ngx_memcmp(own->key, key, len) == 0);
}


/* the zone may have been rebuilt since it was looked at last */

static ngx_uint_t
again(ngx_http_fanout_hub_t *hub, int rc)
{
    if (rc != NGX_HTTP_FANOUT_ZONE_STALE
        || hub->zone.incarnation == hub->incarnation)
    {
        return 0;
    }

    ngx_http_fanout_hub_rebuilt(hub);

    return 1;
}


static ngx_http_fanout_error_e
refused(ngx_http_fanout_hub_t *hub, int rc)
{
    switch (rc) {

    case NGX_HTTP_FANOUT_ZONE_FULL:
        return ngx_http_fanout_hub_full(hub);

    case NGX_HTTP_FANOUT_ZONE_MANY:
        ngx_http_fanout_count(hub, address_held);
        return NGX_HTTP_FANOUT_E_ADDRESS_FULL;

    case NGX_HTTP_FANOUT_ZONE_LARGE:
        return NGX_HTTP_FANOUT_E_TOO_LARGE;

    case NGX_HTTP_FANOUT_ZONE_NOTFOUND:
        return NGX_HTTP_FANOUT_E_NOT_FOUND;

    default:
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }
}


ngx_uint_t
ngx_http_fanout_hub_may_publish(ngx_http_fanout_session_t *s,
    ngx_str_t *channel)
{
    int                              member;
    ngx_http_fanout_policy_t        *policy;
    ngx_http_fanout_channel_t       *ch;
    ngx_http_fanout_zone_channel_t   zc;
    ngx_http_fanout_subscription_t  *sub;

    if (!s->hub->app->members_publish) {
        return 1;
    }

    ch = ngx_http_fanout_hub_find(s->hub, channel);
    policy = ch ? ch->policy : ngx_http_fanout_policy(s->hub->app, channel);

    if (!policy->members_publish) {
        return 1;
    }

    if (s->transport->commands) {
        /* of a client that is elsewhere */
        ngx_http_fanout_hub_view(s->hub, channel, &zc);

        return s->identity.client
               && ngx_http_fanout_member_any(&s->hub->zone, &zc, 0,
                                             &s->identity, &member)
               && member;
    }

    sub = ch ? ngx_http_fanout_session_sub(s, channel) : NULL;

    return sub && sub->own;
}


/* after the zone was rebuilt */

void
ngx_http_fanout_hub_restore(ngx_http_fanout_session_t *s, ngx_uint_t members)
{
    ngx_queue_t                     *q;
    ngx_http_fanout_own_t           *own;
    ngx_http_fanout_zstr_t           user, info;
    ngx_http_fanout_subscription_t  *sub;

    if (!members && s->state != NGX_HTTP_FANOUT_ENDED) {
        ngx_http_fanout_meter_restore(s);
    }

    if (s->identity_ref == 0 || s->identity.client == 0
        || s->state == NGX_HTTP_FANOUT_ENDED)
    {
        return;
    }

    if (!members) {
        user.data = s->user.data;
        user.len = s->user.len;
        info.data = s->info.data;
        info.len = s->info.len;

        (void) ngx_http_fanout_identity_add(&s->hub->zone, &s->identity,
                                            &user, &info, 0,
                                            &s->identity_ref);
        return;
    }

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_http_fanout_subscription_t, in_session);

        if (!sub->seat
            || ngx_http_fanout_seat_open(&s->hub->zone, &sub->channel->zc,
                                         s->identity_ref, &s->identity)
               != NGX_HTTP_FANOUT_ZONE_OK)
        {
            continue;
        }

        for (own = sub->own; own; own = own->next) {
            restore_member(sub, own);
        }
    }
}


/* the data is where all were told it */

static void
restore_member(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_own_t *own)
{
    ngx_http_fanout_put_t      put;
    ngx_http_fanout_mirror_t  *mirror;
    ngx_http_fanout_member_t   m;
    ngx_http_fanout_session_t *s;

    s = sub->session;

    ngx_memzero(&m, sizeof(ngx_http_fanout_member_t));

    m.client = s->identity.client;
    m.key.data = own->key;
    m.key.len = own->len;
    m.idle = own->idle;
    m.timed = own->timed;
    m.anonymous = own->anonymous;

    mirror = sub->channel->roster
             ? ngx_http_fanout_roster_find(sub->channel->roster, m.client,
                                           own->key, own->len)
             : NULL;

    if (mirror && mirror->data_len) {
        m.data.data = ngx_http_fanout_mirror_json(mirror) + mirror->data_at;
        m.data.len = mirror->data_len;
    }

    (void) ngx_http_fanout_member_put(&s->hub->zone, &sub->channel->zc,
                                      s->identity_ref, &s->identity, &m,
                                      NGX_HTTP_FANOUT_PUT_ENTER
                                      |NGX_HTTP_FANOUT_PUT_DATA
                                      |NGX_HTTP_FANOUT_PUT_STATE, &put);
}


/* orders */

void
ngx_http_fanout_hub_orders(ngx_http_fanout_hub_t *hub)
{
    ngx_uint_t               i, n;
    ngx_http_fanout_order_t  orders[NGX_HTTP_FANOUT_ORDERS];

    do {
        n = ngx_http_fanout_slot_orders(&hub->zone, orders,
                                        NGX_HTTP_FANOUT_ORDERS);

        for (i = 0; i < n; i++) {
            if (orders[i].op == NGX_HTTP_FANOUT_ORDER_PART) {
                order_part(hub, &orders[i]);

            } else if (orders[i].op == NGX_HTTP_FANOUT_ORDER_LOOK) {
                order_look(hub);

            } else {
                ngx_http_fanout_session_of(hub, orders[i].client, order_close,
                                           &orders[i]);
            }
        }

    } while (n == NGX_HTTP_FANOUT_ORDERS);
}


/* Its identity was taken over by another socket, or taken away. */

static void
order_close(ngx_http_fanout_session_t *s, void *data)
{
    ngx_http_fanout_order_t  *order = data;

    if (s->identity_ref && s->state == NGX_HTTP_FANOUT_OPEN
        && ngx_http_fanout_identity_lost(&s->hub->zone, s->identity_ref,
                                         &s->identity))
    {
        close_lost(s, order->op, order->code);
    }
}


static void
close_lost(ngx_http_fanout_session_t *s, ngx_uint_t op, ngx_uint_t code)
{
    ngx_http_fanout_session_unindex(s);
    s->identity.client = 0;

    if (op == NGX_HTTP_FANOUT_ORDER_REPLACED) {
        ngx_http_fanout_session_close(s, 4409, "replaced");

    } else {
        ngx_http_fanout_session_close(s, code ? code : 4403, "disconnected");
    }
}


/* The zone had no room for an order: what it would have been shows. */

static void
order_look(ngx_http_fanout_hub_t *hub)
{
    int                         op;
    ngx_queue_t                *q, *next;
    ngx_http_fanout_session_t  *s;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = next)
    {
        next = ngx_queue_next(q);
        s = ngx_queue_data(q, ngx_http_fanout_session_t, queue);

        if (s->identity.client == 0 || s->identity_ref == 0
            || s->state != NGX_HTTP_FANOUT_OPEN)
        {
            continue;
        }

        op = ngx_http_fanout_identity_lost(&hub->zone, s->identity_ref,
                                           &s->identity);
        if (op) {
            close_lost(s, op, 0);

        } else {
            look_seats(s);
        }
    }
}


static void
look_seats(ngx_http_fanout_session_t *s)
{
    ngx_queue_t                     *q, *next;
    ngx_http_fanout_subscription_t  *sub;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_http_fanout_subscription_t, in_session);

        if (sub->seat && seat_lost(sub)) {
            part(sub, NGX_HTTP_FANOUT_LEFT_KICKED, 0);
        }
    }
}


static ngx_uint_t
seat_lost(ngx_http_fanout_subscription_t *sub)
{
    ngx_http_fanout_session_t  *s;

    s = sub->session;

    return ngx_http_fanout_seat_lost(&s->hub->zone, &sub->channel->zc,
                                     s->identity_ref, &s->identity);
}


static void
order_part(ngx_http_fanout_hub_t *hub, ngx_http_fanout_order_t *order)
{
    ngx_queue_t                     *q, *next;
    ngx_uint_t                       last;
    ngx_http_fanout_channel_t       *ch;
    ngx_http_fanout_subscription_t  *sub;

    ch = order->local < hub->nchannels ? hub->channels[order->local] : NULL;

    if (ch == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ch->subs);
         q != ngx_queue_sentinel(&ch->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_http_fanout_subscription_t, in_channel);

        if (sub->session->state != NGX_HTTP_FANOUT_OPEN) {
            /* it leaves at the end of the turn, its client may be back */
            continue;
        }

        if (order->client == 0) {

            /* the channel is closed, and with its last subscriber gone here */

            last = (ch->nsubs == 1);
            part(sub, order->reason, order->reason);

            if (last) {
                return;
            }

            continue;
        }

        if (sub->seat && sub->session->identity.client == order->client) {

            /* it may have sat down again before it was told */

            part(sub, order->reason, seat_lost(sub) ? 0 : order->reason);
            return;
        }
    }
}


/* Its seat is given up for seat, or with 0 is gone already. */

static void
part(ngx_http_fanout_subscription_t *sub, ngx_uint_t reason, ngx_uint_t seat)
{
    ngx_str_t                   name;
    u_char                      buf[NGX_HTTP_FANOUT_NAME];
    ngx_http_fanout_session_t  *s;

    s = sub->session;

    name.data = buf;
    name.len = sub->channel->name.len;
    ngx_memcpy(buf, sub->channel->name.data, name.len);

    if (s->job && s->job->sub == sub) {
        /* its reply becomes an error */
        ngx_http_fanout_session_job_unqueue(s);
        s->job->sub = NULL;
        s->job->parted = 1;
        ngx_http_fanout_outbox_queue(s);
    }

    ngx_http_fanout_hub_leave(sub, seat);

    if (s->state == NGX_HTTP_FANOUT_OPEN && s->dialect->parted) {
        s->dialect->parted(s, &name, reason);
    }
}
