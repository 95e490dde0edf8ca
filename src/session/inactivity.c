
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Silence: what the policies of channels do with members whose client sends
 * nothing.
 */


#include "session/session.h"
#include "base/time.h"
#include "session/members.h"


#define FANOUT_ALIVE_AGAIN  1000                /* ms, after a full zone */
#define FANOUT_JOIN_AGAIN   5000                /* ms, to join at the least */
#define FANOUT_PLACES       16                  /* looked at in a section */


static void look_around(fanout_session_t *s);
static ngx_uint_t look_for(fanout_session_t *s, ngx_str_t *name);
static void look_at(fanout_subscription_t *sub);
static ngx_uint_t set_state(fanout_subscription_t *sub, ngx_uint_t idle,
    ngx_msec_t quiet);
static void expire(fanout_subscription_t *sub);
static void sooner(fanout_session_t *s, ngx_msec_t at);


void
fanout_session_alive(fanout_session_t *s)
{
    ngx_queue_t  *q;

    s->alive = 0;
    s->idles = 0;

    if (s->returned) {
        look_around(s);
    }

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        look_at(ngx_queue_data(q, fanout_subscription_t, in_session));
    }

    if (s->alive && s->started) {
        fanout_session_timer(s);
    }
}


/* A client that came back has its seats again, and joins the channels that it
 * wants.  On the others it would remain a member to which no policy is
 * applied. */

static void
look_around(fanout_session_t *s)
{
    uint8_t         lens[FANOUT_PLACES];
    uint32_t        cursor;
    unsigned        i, n, left;
    ngx_str_t       name;
    fanout_hub_t   *hub;

    static uint8_t  names[FANOUT_PLACES][256];

    if (ngx_current_msec - s->returned_at < FANOUT_JOIN_AGAIN) {
        sooner(s, s->returned_at + FANOUT_JOIN_AGAIN);
        return;
    }

    hub = s->hub;
    s->returned = 0;
    cursor = 0;

    do {
        if (s->identity.client == 0
            || fanout_client_channels(&hub->zone, s->identity.client, &cursor,
                                      names, lens, FANOUT_PLACES, &n)
               != FANOUT_ZONE_OK)
        {
            break;
        }

        left = 0;

        for (i = 0; i < n; i++) {
            name.data = names[i];
            name.len = lens[i];
            left += look_for(s, &name);
        }

        /* the cursor does not count seats that are gone */
        cursor -= cursor ? left : 0;

    } while (cursor);

    fanout_hub_presence(hub);
}


/* Whether a seat was given up. */

static ngx_uint_t
look_for(fanout_session_t *s, ngx_str_t *name)
{
    ngx_msec_t             at;
    fanout_zone_channel_t  zc;

    if (fanout_session_sub(s, name)) {
        return 0;
    }

    at = s->returned_at
         + fanout_policy(s->hub->app, name)->keep.linger * 1000;

    if ((ngx_msec_int_t) (ngx_current_msec - at) < 0) {
        s->returned = 1;
        sooner(s, at);
        return 0;
    }

    fanout_hub_view(s->hub, name, &zc);

    switch (fanout_seat_kick(&s->hub->zone, &zc, s->identity.client,
                             FANOUT_LEFT_NETWORK))
    {
    case FANOUT_ZONE_OK:
        return 1;

    case FANOUT_ZONE_FULL:
        s->returned = 1;
        sooner(s, ngx_current_msec + FANOUT_ALIVE_AGAIN);
        return 0;

    default:
        return 0;
    }
}


void
fanout_session_active(fanout_session_t *s)
{
    s->active_at = ngx_current_msec;

    if (s->idles) {
        fanout_session_alive(s);
    }
}


static void
look_at(fanout_subscription_t *sub)
{
    ngx_msec_t         last, quiet;
    fanout_policy_t   *policy;
    fanout_session_t  *s;

    s = sub->session;
    policy = sub->channel->policy;

    if (sub->own == NULL || !(policy->idle || policy->expire)) {
        return;
    }

    last = s->active_at;

    if (policy->pongs && (ngx_msec_int_t) (s->received_at - last) > 0) {
        last = s->received_at;
    }

    quiet = ngx_current_msec - last;

    if (policy->expire && quiet >= policy->expire) {
        expire(sub);
        return;
    }

    if (policy->expire) {
        sooner(s, last + policy->expire);
    }

    if (policy->idle == 0) {
        return;
    }

    if (!set_state(sub, quiet >= policy->idle, quiet)) {
        sooner(s, ngx_current_msec + FANOUT_ALIVE_AGAIN);
    }

    if (quiet < policy->idle) {
        sooner(s, last + policy->idle);

    } else if (policy->pongs) {
        /* a pong counts, without a command */
        sooner(s, ngx_current_msec + policy->idle);
    }
}


static ngx_uint_t
set_state(fanout_subscription_t *sub, ngx_uint_t idle, ngx_msec_t quiet)
{
    fanout_put_t          put;
    fanout_member_t       m;
    fanout_own_member_t  *own;

    for (own = sub->own; own; own = own->next) {

        if (idle ? !own->idle : own->timed) {
            ngx_memzero(&m, sizeof(fanout_member_t));

            m.client = sub->session->identity.client;
            m.key.data = own->key;
            m.key.len = own->len;
            m.idle = idle;
            m.seen = idle ? fanout_time() - quiet : 0;

            if (fanout_session_member_put(sub, &m,
                                          FANOUT_PUT_STATE, 1,
                                          &put)
                != FANOUT_E_NONE)
            {
                return 0;
            }
        }

        if (own->timed) {
            sub->session->idles = 1;
        }
    }

    return 1;
}


/* The subscription stays: it may become a member again. */

static void
expire(fanout_subscription_t *sub)
{
    u_char         buf[255];
    fanout_zstr_t  key;

    while (sub->own) {
        key.data = buf;
        key.len = sub->own->len;
        ngx_memcpy(buf, sub->own->key, key.len);

        (void) fanout_session_member_drop(sub, &key, FANOUT_LEFT_TIMEOUT);
    }
}


static void
sooner(fanout_session_t *s, ngx_msec_t at)
{
    if (!s->alive || (ngx_msec_int_t) (at - s->alive_at) < 0) {
        s->alive_at = at;
    }

    s->alive = 1;
}
