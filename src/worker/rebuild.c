
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * After the zone was rebuilt empty, this worker registers its channels,
 * sessions and members again.
 */


#include "worker/worker.h"
#include "session/dialect.h"
#include "session/session.h"
#include "hub/roster.h"


static void restore_all(fanout_hub_t *hub, ngx_uint_t members);
static void restore_waits(fanout_hub_t *hub);
static void restore_session(fanout_session_t *s, ngx_uint_t members);
static void restore_member(fanout_subscription_t *sub,
    fanout_own_member_t *own);


void
fanout_worker_rebuilt(fanout_hub_t *hub)
{
    ngx_uint_t          i;
    fanout_entry_t      e;
    fanout_channel_t   *ch;
    fanout_zone_join_t  j;

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                  "fanout zone \"%V\" was rebuilt empty after it was found "
                  "damaged", &hub->app->name);

    hub->incarnation = hub->zone.heap.incarnation;
    hub->whole = 0;

    restore_all(hub, 0);

    for (i = 0; i < hub->nchannels; i++) {
        ch = hub->channels[i];

        if (ch
            && fanout_channel_open(&hub->zone, &ch->zc, ch->local)
               == FANOUT_ZONE_OK)
        {
            fanout_hub_counted(hub, ch);
        }
    }

    /* members are in the log again, under the new epoch */

    restore_all(hub, 1);

    for (i = 0; i < hub->nchannels; i++) {
        ch = hub->channels[i];

        if (ch == NULL
            || fanout_log_join(&hub->zone, &ch->zc, 0, 0, 0, 0, &j)
               != FANOUT_ZONE_OK)
        {
            continue;
        }

        ngx_memzero(&e, sizeof(fanout_entry_t));

        e.type = FANOUT_RESET;
        e.kind = FANOUT_TEXT;
        e.epoch = j.epoch;
        e.local = ch->local;
        e.seq = UINT64_MAX;
        e.data.data = (u_char *) "rebuilt";
        e.data.len = sizeof("rebuilt") - 1;

        fanout_deliver(hub, &e, 1);

        ch->offset = j.offset;
        ch->seq = j.seq;
        ch->opened = j.seq;

        if (ch->roster) {
            fanout_roster_restart(hub, ch->roster, j.offset);
        }
    }

    fanout_hub_presence(hub);
    restore_waits(hub);
}


/* The lines of clients that wait for locks are gone. */

static void
restore_waits(fanout_hub_t *hub)
{
    ngx_queue_t       *q;
    fanout_session_t  *s;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, fanout_session_t, queue);

        if (s->state == FANOUT_OPEN && s->dialect->granted) {
            s->dialect->granted(s);
        }
    }
}


static void
restore_all(fanout_hub_t *hub, ngx_uint_t members)
{
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        restore_session(ngx_queue_data(q, fanout_session_t, queue), members);
    }
}


/* With "members", registers seats and members: the channels are open again
 * then. */

static void
restore_session(fanout_session_t *s, ngx_uint_t members)
{
    ngx_queue_t            *q;
    fanout_zstr_t           user, info;
    fanout_own_member_t    *own;
    fanout_subscription_t  *sub;

    if (!members) {
        fanout_meter_restore(s);
    }

    if (s->identity_ref == 0 || s->identity.client == 0) {
        return;
    }

    if (!members) {
        user.data = s->user.data;
        user.len = s->user.len;
        info.data = s->info.data;
        info.len = s->info.len;

        (void) fanout_identity_add(&s->hub->zone, &s->identity, &user, &info,
                                   0, &s->identity_ref);
        return;
    }

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (!sub->seat
            || fanout_seat_open(&s->hub->zone, &sub->channel->zc,
                                s->identity_ref, &s->identity)
               != FANOUT_ZONE_OK)
        {
            continue;
        }

        for (own = sub->own; own; own = own->next) {
            restore_member(sub, own);
        }
    }
}


/* the data of members is in the roster */

static void
restore_member(fanout_subscription_t *sub, fanout_own_member_t *own)
{
    fanout_put_t             put;
    fanout_member_t          m;
    fanout_session_t        *s;
    fanout_roster_member_t  *mirror;

    s = sub->session;

    ngx_memzero(&m, sizeof(fanout_member_t));

    m.client = s->identity.client;
    m.key.data = own->key;
    m.key.len = own->len;
    m.idle = own->idle;
    m.timed = own->timed;
    m.anonymous = own->anonymous;

    mirror = sub->channel->roster
             ? fanout_roster_find(sub->channel->roster, m.client, own->key,
                                  own->len)
             : NULL;

    if (mirror && mirror->data_len) {
        m.data.data = fanout_mirror_json(mirror) + mirror->data_at;
        m.data.len = mirror->data_len;
    }

    (void) fanout_member_put(&s->hub->zone, &sub->channel->zc,
                             s->identity_ref, &s->identity, &m,
                             FANOUT_PUT_ENTER
                             |FANOUT_PUT_DATA
                             |FANOUT_PUT_STATE, &put);
}
