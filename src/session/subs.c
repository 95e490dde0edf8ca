
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The subscriptions of a session, and how one is found by its channel: in the
 * list if they are few, else by a table.
 */


#include "session/session.h"
#include "session/transport.h"


#define FANOUT_SUBS_FEW  16                 /* without a table */
#define FANOUT_SUBS_MIN  64                 /* places of one */


/* Open addressing, linear probing; at most half of the places are taken.  The
 * worker assigns the numbers of channels, so clients can't cause collisions. */

struct fanout_subs_s {
    uint32_t                mask;               /* number of places - 1 */
    fanout_subscription_t  *places[];
};


#define home(t, channel)                                                      \
    (((channel)->local * 0x9e3779b1U >> 7) & (t)->mask)


static fanout_subscription_t *subs_walk(fanout_session_t *s,
    ngx_str_t *channel);
static void table_build(fanout_session_t *s);
static void table_insert(fanout_subs_t *t, fanout_subscription_t *sub);
static void table_remove(fanout_subs_t *t, fanout_subscription_t *sub);


fanout_subscription_t *
fanout_session_sub(fanout_session_t *s, ngx_str_t *channel)
{
    uint32_t                i;
    fanout_subs_t          *t;
    fanout_channel_t       *ch;
    fanout_subscription_t  *sub;

    t = s->table;

    if (s->transport->gone) {
        /* its subscriptions are being ended */
        return NULL;
    }

    if (t == NULL) {
        return subs_walk(s, channel);
    }

    ch = fanout_hub_find(s->hub, channel);

    if (ch == NULL) {
        return NULL;
    }

    for (i = home(t, ch); t->places[i]; i = (i + 1) & t->mask) {
        sub = t->places[i];

        if (sub->channel == ch) {
            return sub;
        }
    }

    return NULL;
}


static fanout_subscription_t *
subs_walk(fanout_session_t *s, ngx_str_t *channel)
{
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub->channel->name.len == channel->len
            && ngx_memcmp(sub->channel->name.data, channel->data,
                          channel->len) == 0)
        {
            return sub;
        }
    }

    return NULL;
}


void
fanout_session_sub_add(fanout_subscription_t *sub)
{
    fanout_session_t  *s;

    s = sub->session;

    ngx_queue_insert_tail(&s->subs, &sub->in_session);
    s->nsubs++;

    if (s->nsubs <= FANOUT_SUBS_FEW) {
        return;
    }

    if (s->table && s->nsubs * 2 <= s->table->mask + 1) {
        table_insert(s->table, sub);
        return;
    }

    table_build(s);
}


void
fanout_session_sub_remove(fanout_subscription_t *sub)
{
    fanout_session_t  *s;

    s = sub->session;

    ngx_queue_remove(&sub->in_session);
    s->nsubs--;

    if (s->table == NULL) {
        return;
    }

    if (s->nsubs > FANOUT_SUBS_FEW / 2) {
        table_remove(s->table, sub);
        return;
    }

    ngx_free(s->table);
    s->table = NULL;
}


/* On lack of memory the list is searched, until the next subscription is
 * added. */

static void
table_build(fanout_session_t *s)
{
    size_t          n;
    ngx_queue_t    *q;
    fanout_subs_t  *t;

    if (s->table) {
        ngx_free(s->table);
        s->table = NULL;
    }

    for (n = FANOUT_SUBS_MIN; n < 4 * (size_t) s->nsubs; n *= 2) {
        /* void */
    }

    t = ngx_calloc(sizeof(fanout_subs_t)
                   + n * sizeof(fanout_subscription_t *),
                   ngx_cycle->log);
    if (t == NULL) {
        return;
    }

    t->mask = n - 1;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        table_insert(t, ngx_queue_data(q, fanout_subscription_t, in_session));
    }

    s->table = t;
}


static void
table_insert(fanout_subs_t *t, fanout_subscription_t *sub)
{
    uint32_t  i;

    for (i = home(t, sub->channel); t->places[i]; i = (i + 1) & t->mask) {
        /* void */
    }

    t->places[i] = sub;
}


/* Subscriptions after the gap that would not be found past it move into it. */

static void
table_remove(fanout_subs_t *t, fanout_subscription_t *sub)
{
    uint32_t  i, gap;

    for (gap = home(t, sub->channel);
         t->places[gap] != sub;
         gap = (gap + 1) & t->mask)
    {
        /* void */
    }

    for (i = (gap + 1) & t->mask; t->places[i]; i = (i + 1) & t->mask) {

        if (((i - home(t, t->places[i]->channel)) & t->mask)
            >= ((i - gap) & t->mask))
        {
            t->places[gap] = t->places[i];
            gap = i;
        }
    }

    t->places[gap] = NULL;
}
