
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Orders of other workers, and of the API, to sessions of this one.
 */


#include "worker/worker.h"
#include "session/session.h"
#include "session/forbid.h"
#include "session/dialect.h"


#define FANOUT_ORDERS  16


static void order_close(fanout_session_t *s, void *data);
static void order_granted(fanout_session_t *s, void *data);
static void order_part(fanout_hub_t *hub, fanout_order_t *order);
static void close_lost(fanout_session_t *s, ngx_uint_t op, ngx_uint_t code);
static void order_look(fanout_hub_t *hub);
static void look_seats(fanout_session_t *s);
static ngx_uint_t seat_lost(fanout_subscription_t *sub);


void
fanout_worker_orders(fanout_hub_t *hub)
{
    ngx_uint_t      i, n;
    fanout_order_t  orders[FANOUT_ORDERS];

    do {
        n = fanout_slot_orders(&hub->zone, orders, FANOUT_ORDERS);

        for (i = 0; i < n; i++) {
            if (orders[i].op == FANOUT_ORDER_REMOVE) {
                order_part(hub, &orders[i]);

            } else if (orders[i].op == FANOUT_ORDER_LOOK) {
                order_look(hub);

            } else if (orders[i].op == FANOUT_ORDER_GRANTED) {
                fanout_session_of(hub, orders[i].client, order_granted, NULL);

            } else {
                fanout_session_of(hub, orders[i].client, order_close,
                                  &orders[i]);
            }
        }

    } while (n == FANOUT_ORDERS);
}


/* The identity was taken over by another connection, or taken away. */

static void
order_close(fanout_session_t *s, void *data)
{
    fanout_order_t  *order = data;

    if (s->identity_ref && s->state == FANOUT_OPEN
        && fanout_identity_lost(&s->hub->zone, s->identity_ref,
                                &s->identity))
    {
        close_lost(s, order->op, order->code);
    }
}


static void
order_granted(fanout_session_t *s, void *data)
{
    if (s->state == FANOUT_OPEN && s->dialect->granted) {
        s->dialect->granted(s);
    }
}


static void
close_lost(fanout_session_t *s, ngx_uint_t op, ngx_uint_t code)
{
    fanout_session_unindex(s);
    s->identity.client = 0;

    if (op == FANOUT_ORDER_REPLACED) {
        fanout_session_close(s, 4409, "replaced");

    } else {
        fanout_session_log_kick(s, NULL);
        fanout_session_close(s, code ? code : 4403, "disconnected");
    }
}


/* The zone had no room for an order: checks all sessions of the worker for what
 * was ordered. */

static void
order_look(fanout_hub_t *hub)
{
    int                op;
    ngx_queue_t       *q, *next;
    fanout_session_t  *s;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = next)
    {
        next = ngx_queue_next(q);
        s = ngx_queue_data(q, fanout_session_t, queue);

        if (s->identity.client == 0 || s->identity_ref == 0
            || s->state != FANOUT_OPEN)
        {
            continue;
        }

        op = fanout_identity_lost(&hub->zone, s->identity_ref, &s->identity);
        if (op) {
            close_lost(s, op, 0);

        } else {
            look_seats(s);
            order_granted(s, NULL);
        }
    }
}


static void
look_seats(fanout_session_t *s)
{
    ngx_queue_t            *q, *next;
    fanout_subscription_t  *sub;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub->seat && seat_lost(sub)) {
            fanout_session_remove(sub, FANOUT_LEFT_KICKED, 0);
        }
    }
}


static ngx_uint_t
seat_lost(fanout_subscription_t *sub)
{
    fanout_session_t  *s;

    s = sub->session;

    return fanout_seat_lost(&s->hub->zone, &sub->channel->zc, s->identity_ref,
                            &s->identity);
}


static void
order_part(fanout_hub_t *hub, fanout_order_t *order)
{
    ngx_queue_t            *q, *next;
    ngx_uint_t              last;
    fanout_channel_t       *ch;
    fanout_subscription_t  *sub;

    ch = order->local < hub->nchannels ? hub->channels[order->local] : NULL;

    if (ch == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ch->subs);
         q != ngx_queue_sentinel(&ch->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_channel);

        if (sub->session->state != FANOUT_OPEN) {
            /* the session ends at the end of the turn, its client may be
             * back */
            continue;
        }

        if (order->client == 0) {

            /* the last subscriber here closes the channel */

            last = (ch->nsubs == 1);
            fanout_session_remove(sub, order->reason, order->reason);

            if (last) {
                return;
            }

            continue;
        }

        if (sub->seat && sub->session->identity.client == order->client) {

            /* the client may have taken the seat again before the order
             * arrived */

            fanout_session_remove(sub, order->reason,
                                  seat_lost(sub) ? 0 : order->reason);
            return;
        }
    }
}
