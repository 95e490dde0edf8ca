
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "hub/signals.h"


static ngx_uint_t signal_same(fanout_entry_t *a, fanout_entry_t *b);
static u_char *signal_copy(fanout_zstr_t *s, u_char *p);
static void signal_drop(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_kept_t *sg);


void
fanout_signals_keep(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e)
{
    size_t          size;
    u_char         *p;
    ngx_queue_t    *q;
    fanout_kept_t  *sg;

    for (q = ngx_queue_head(&ch->signals);
         q != ngx_queue_sentinel(&ch->signals);
         q = ngx_queue_next(q))
    {
        sg = ngx_queue_data(q, fanout_kept_t, queue);

        if (signal_same(&sg->entry, e)) {
            fanout_count(hub, signals_conflated);
            signal_drop(hub, ch, sg);
            break;
        }
    }

    size = sizeof(fanout_kept_t) + e->event.len + e->key.len + e->user.len
           + e->data.len + e->to.len;

    while (!ngx_queue_empty(&ch->signals)) {
        sg = ngx_queue_data(ngx_queue_head(&ch->signals), fanout_kept_t, queue);

        if (ch->nsignals < FANOUT_SIGNALS_KEPT
            && ngx_current_msec - sg->at < FANOUT_KEPT
            && hub->kept + size <= hub->app->frames / 4)
        {
            break;
        }

        fanout_count(hub, signals_dropped);
        signal_drop(hub, ch, sg);
    }

    sg = hub->kept + size <= hub->app->frames / 4
         ? ngx_alloc(size, ngx_cycle->log) : NULL;

    if (sg == NULL) {
        fanout_count(hub, signals_dropped);
        return;
    }

    ngx_memzero(sg, sizeof(fanout_kept_t));

    sg->at = ngx_current_msec;
    sg->size = size;
    sg->entry = *e;

    p = (u_char *) (sg + 1);
    p = signal_copy(&sg->entry.event, p);
    p = signal_copy(&sg->entry.key, p);
    p = signal_copy(&sg->entry.user, p);
    p = signal_copy(&sg->entry.to, p);
    (void) signal_copy(&sg->entry.data, p);

    ngx_queue_insert_tail(&ch->signals, &sg->queue);
    ch->nsignals++;
    hub->kept += size;
}


static ngx_uint_t
signal_same(fanout_entry_t *a, fanout_entry_t *b)
{
    return a->client == b->client && a->to_client == b->to_client
           && a->to_user == b->to_user
           && a->event.len == b->event.len && a->key.len == b->key.len
           && ngx_memcmp(a->event.data, b->event.data, a->event.len) == 0
           && ngx_memcmp(a->key.data, b->key.data, a->key.len) == 0
           && (a->client
               || (a->user.len == b->user.len
                   && ngx_memcmp(a->user.data, b->user.data, a->user.len)
                      == 0));
}


static u_char *
signal_copy(fanout_zstr_t *s, u_char *p)
{
    if (s->len) {
        ngx_memcpy(p, s->data, s->len);
    }

    s->data = p;

    return p + s->len;
}


static void
signal_drop(fanout_hub_t *hub, fanout_channel_t *ch, fanout_kept_t *sg)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_FORMATS; i++) {
        if (sg->outbufs[i]) {
            fanout_outbuf_release(hub, sg->outbufs[i]);
        }
    }

    ngx_queue_remove(&sg->queue);
    ch->nsignals--;
    hub->kept -= sg->size;

    ngx_free(sg);
}


void
fanout_signals_clear(fanout_hub_t *hub, fanout_channel_t *ch)
{
    while (!ngx_queue_empty(&ch->signals)) {
        signal_drop(hub, ch, ngx_queue_data(ngx_queue_head(&ch->signals),
                                            fanout_kept_t, queue));
    }
}
