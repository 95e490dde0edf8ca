
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Direct messages: to the sessions of their recipients, and from the mailboxes
 * of those that were disconnected or could not take more.
 */


#include "session/session.h"


typedef struct {
    fanout_hub_t      *hub;
    fanout_channel_t  *channel;
    fanout_entry_t    *entry;
    fanout_outbuf_t   *outbufs[FANOUT_FORMATS];
} direct_t;


static void replace(fanout_session_t *s, void *data);
static void deliver_direct(fanout_subscription_t *sub, void *data);
static ngx_uint_t hand_direct(fanout_subscription_t *sub, direct_t *d);


void
fanout_session_replace(fanout_hub_t *hub,
    uint64_t client)
{
    fanout_session_of(hub, client, replace, NULL);
}


static void
replace(fanout_session_t *s, void *data)
{
    fanout_session_unindex(s);
    s->identity.client = 0;

    fanout_session_close(s, 4409, "replaced");
}


/* direct messages */

void
fanout_direct(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e)
{
    direct_t    d;
    ngx_uint_t  i;

    ngx_memzero(&d, sizeof(direct_t));

    d.hub = hub;
    d.channel = ch;
    d.entry = e;

    fanout_addressed(hub, ch, e, deliver_direct, &d);

    for (i = 0; i < FANOUT_FORMATS; i++) {
        if (d.outbufs[i]) {
            fanout_outbuf_release(hub, d.outbufs[i]);
        }
    }
}


static void
deliver_direct(fanout_subscription_t *sub, void *data)
{
    direct_t  *d;

    d = data;

    if (d->entry->seq <= sub->seq || !fanout_wanted(sub, d->entry)) {
        return;
    }

    if (sub->state == FANOUT_SUB_LIVE && hand_direct(sub, d)) {
        fanout_count(d->hub, direct_delivered);
        fanout_count(d->hub, delivered);
        return;
    }

    /* the subscriber reads its mailbox when it catches up */
    sub->mail = 1;
}


/* 0 if the session has fallen behind now */

static ngx_uint_t
hand_direct(fanout_subscription_t *sub, direct_t *d)
{
    fanout_outbuf_t   *f;
    fanout_session_t  *s;

    s = sub->session;

    if (d->outbufs[sub->format] == NULL) {
        d->outbufs[sub->format] = fanout_encode(d->hub, d->channel,
                                                   d->entry, sub->format);
    }

    f = d->outbufs[sub->format];

    if (f == NULL || fanout_session_full(s, f->used)) {
        fanout_session_lag(s);
        return 0;
    }

    fanout_session_enqueue(sub, f, 0, f->used);

    return 1;
}


/* mail */

fanout_entry_t *
fanout_mail_next(fanout_session_t *s, ngx_str_t *channel, uint64_t epoch,
    uint64_t after, uint64_t upto)
{
    int                     rc;
    uint64_t                lost;
    ngx_uint_t              tries;
    fanout_entry_t         *e;
    fanout_arena_t         *a;
    fanout_zone_channel_t   zc;

    if (s->identity_ref == 0) {
        return NULL;
    }

    fanout_hub_view(s->hub, channel, &zc);

    a = &s->hub->direct;
    e = &a->entries[0];
    lost = 0;

    for (tries = 0; tries < 8; tries++) {
        a->n = 0;
        a->used = 0;

        rc = fanout_mail_read(&s->hub->zone, &zc, &s->identity, after, upto,
                              a, &lost);

        if (a->n || rc != FANOUT_ZONE_AGAIN) {
            break;
        }
    }

    if (a->n && e->epoch != epoch) {
        return NULL;
    }

    if (lost > after && lost <= upto && (a->n == 0 || lost < e->offset)) {
        ngx_memzero(e, sizeof(fanout_entry_t));
        e->type = FANOUT_GAP;
        e->epoch = epoch;
        e->from = lost - 1;
        e->offset = lost;
        return e;
    }

    if (a->n == 0) {
        return NULL;
    }

    e->to.data = s->user.data;
    e->to.len = s->user.len;

    return e;
}
