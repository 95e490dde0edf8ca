
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The delivery of signals.  Subscribers that can take a signal get it at once.
 * For the others (the socket is full, they catch up, or asked for fewer
 * signals) the channel keeps the latest for each (client, event, tag): a few,
 * for a short while.  A subscriber records by seq which of them it has got.
 */


#include "session/session.h"
#include "hub/signals.h"
#include "session/dialect.h"


#define FANOUT_PACE            10           /* ms between looks at the time */


/* a signal in delivery */

typedef struct {
    fanout_hub_t      *hub;
    fanout_channel_t  *channel;
    fanout_entry_t    *entry;
    fanout_outbuf_t   *outbufs[FANOUT_FORMATS];
    ngx_uint_t         wait;                /* a subscriber has to wait */
} telling_t;


static void hear(fanout_subscription_t *sub, void *data);
static ngx_uint_t hears(fanout_subscription_t *sub, fanout_entry_t *e);
static ngx_uint_t able(fanout_subscription_t *sub);
static ngx_uint_t signals_due(fanout_subscription_t *sub, ngx_msec_int_t *left);
static void signals_wait_for(fanout_subscription_t *sub);
static void deliver_kept(fanout_subscription_t *sub);


/* from the log */

void
fanout_signal(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e)
{
    telling_t     t;
    ngx_uint_t    i;
    ngx_queue_t  *q;

    ngx_memzero(&t, sizeof(telling_t));

    t.hub = hub;
    t.channel = ch;
    t.entry = e;

    if (e->to_client || e->to_user) {
        fanout_addressed(hub, ch, e, hear, &t);

    } else {
        for (q = ngx_queue_head(&ch->subs);
             q != ngx_queue_sentinel(&ch->subs);
             q = ngx_queue_next(q))
        {
            hear(ngx_queue_data(q, fanout_subscription_t, in_channel), &t);
        }
    }

    for (i = 0; i < FANOUT_FORMATS; i++) {
        if (t.outbufs[i]) {
            fanout_outbuf_release(hub, t.outbufs[i]);
        }
    }

    if (t.wait) {
        fanout_signals_keep(hub, ch, e);
    }
}


static void
hear(fanout_subscription_t *sub, void *data)
{
    telling_t        *t;
    fanout_outbuf_t  *f;

    t = data;

    if (!hears(sub, t->entry)) {
        return;
    }

    if (sub->waiting || !able(sub) || !signals_due(sub, NULL)) {
        t->wait = 1;
        signals_wait_for(sub);

        if (able(sub) && !sub->timed) {
            /* the reason for which it waited is gone */
            fanout_outbox_queue(sub->session);
        }

        return;
    }

    if (t->outbufs[sub->format] == NULL) {
        t->outbufs[sub->format] = fanout_encode(t->hub, t->channel,
                                                   t->entry, sub->format);
    }

    f = t->outbufs[sub->format];

    if (f) {
        sub->signal_seq = t->entry->seq;
        sub->signal_at = ngx_current_msec;
        fanout_count(t->hub, signals_told);
        fanout_session_push(sub->session, f, 0, f->used);
    }
}


/* a sender does not get its own signals */

static ngx_uint_t
hears(fanout_subscription_t *sub, fanout_entry_t *e)
{
    fanout_session_t  *s;

    s = sub->session;

    if (!(sub->want & FANOUT_WANT_SIGNALS)
        || s->state != FANOUT_OPEN
        || e->seq <= sub->seq || e->seq <= sub->signal_seq
        || (e->client && e->client == s->identity.client)
        || (e->to_client && e->to_client != s->identity.client)
        || (e->to_user && e->to_user != s->identity.user))
    {
        return 0;
    }

    return s->dialect->match(sub, e);
}


/* Signals never make a session fall behind: they are kept instead. */

static ngx_uint_t
able(fanout_subscription_t *sub)
{
    fanout_session_t  *s;

    s = sub->session;

    return sub->state == FANOUT_SUB_LIVE && !s->blocked
           && !s->behind && s->job == NULL && !s->batched
           && s->pending < s->conf->buffer / 2
           && (!fanout_output_full(s->hub)
               || s->pending <= fanout_output_share(s->hub));
}


static ngx_uint_t
signals_due(fanout_subscription_t *sub, ngx_msec_int_t *left)
{
    ngx_msec_int_t  n;

    if (sub->every == 0) {
        return 1;
    }

    n = (ngx_msec_int_t) (sub->signal_at + sub->every - ngx_current_msec);

    if (n > 0 && n <= (ngx_msec_int_t) sub->every) {

        if (left) {
            *left = n;
        }

        return 0;
    }

    return 1;
}


/* makes it wait: for the socket, or also for its interval */

static void
signals_wait_for(fanout_subscription_t *sub)
{
    fanout_hub_t   *hub;
    ngx_msec_int_t  left;

    hub = sub->session->hub;

    if (!sub->waiting) {
        sub->waiting = 1;
        sub->channel->waiting++;
        sub->session->waiting++;
    }

    if (sub->timed || signals_due(sub, &left)) {
        return;
    }

    sub->timed = 1;
    ngx_queue_insert_tail(&hub->every, &sub->in_every);

    if (!hub->pace.timer_set) {
        ngx_add_timer(&hub->pace, ngx_max(left, FANOUT_PACE));
    }
}


void
fanout_signals_forget(fanout_subscription_t *sub)
{
    if (sub->timed) {
        sub->timed = 0;
        ngx_queue_remove(&sub->in_every);
    }

    if (sub->waiting) {
        sub->waiting = 0;
        sub->session->waiting--;

        if (--sub->channel->waiting == 0) {
            fanout_signals_clear(sub->session->hub, sub->channel);
        }
    }
}


void
fanout_signals_handler(ngx_event_t *ev)
{
    ngx_msec_int_t          left, next;
    ngx_queue_t            *q, *following;
    fanout_hub_t           *hub;
    fanout_subscription_t  *sub;

    hub = ev->data;
    next = 0;

    for (q = ngx_queue_head(&hub->every);
         q != ngx_queue_sentinel(&hub->every);
         q = following)
    {
        following = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_every);

        if (!signals_due(sub, &left)) {
            next = next ? ngx_min(next, left) : left;
            continue;
        }

        sub->timed = 0;
        ngx_queue_remove(q);

        /* delivered with the other output of the session */
        fanout_outbox_queue(sub->session);
    }

    if (next && !ngx_exiting) {
        ngx_add_timer(ev, ngx_max(next, FANOUT_PACE));
    }
}


/* delivering kept signals */

void
fanout_signals_deliver(fanout_session_t *s)
{
    ngx_queue_t            *q, *next;
    fanout_subscription_t  *sub;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs) && s->waiting;
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (!sub->waiting || !able(sub)) {
            continue;
        }

        if (!signals_due(sub, NULL)) {
            signals_wait_for(sub);
            continue;
        }

        deliver_kept(sub);
    }
}


static void
deliver_kept(fanout_subscription_t *sub)
{
    ngx_queue_t       *q;
    fanout_hub_t      *hub;
    fanout_kept_t     *sg;
    fanout_outbuf_t  **f;
    fanout_channel_t  *ch;

    ch = sub->channel;
    hub = sub->session->hub;

    for (q = ngx_queue_head(&ch->signals);
         q != ngx_queue_sentinel(&ch->signals);
         q = ngx_queue_next(q))
    {
        sg = ngx_queue_data(q, fanout_kept_t, queue);

        if (ngx_current_msec - sg->at >= FANOUT_KEPT
            || !hears(sub, &sg->entry))
        {
            continue;
        }

        if (!able(sub)) {
            /* enough for now: the rest when this has been sent */
            return;
        }

        f = &sg->outbufs[sub->format];

        if (*f == NULL) {
            *f = fanout_encode(hub, ch, &sg->entry, sub->format);
        }

        if (*f) {
            sub->signal_seq = sg->entry.seq;
            sub->signal_at = ngx_current_msec;
            fanout_count(hub, signals_told);
            fanout_session_push(sub->session, *f, 0, (*f)->used);
        }
    }

    fanout_signals_forget(sub);
}
