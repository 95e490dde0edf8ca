
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How a session joins channels, and leaves them.
 */


#include "session/session.h"
#include "session/join.h"
#include "session/grants.h"
#include "session/members.h"


static ngx_int_t join_log(fanout_session_t *s, fanout_channel_t *ch,
    fanout_subscription_t *sub, ngx_uint_t since, uint64_t epoch,
    uint64_t offset, ngx_uint_t history, fanout_zone_join_t *j);
static fanout_subscription_t *subscribe(
    fanout_session_t *s, fanout_channel_t *ch);
static void count_join(fanout_hub_t *hub, ngx_uint_t since,
    ngx_uint_t recovered);
static ngx_uint_t goes_on(fanout_subscription_t *sub, ngx_uint_t since,
    fanout_zone_join_t *j);


fanout_error_e
fanout_session_join(fanout_session_t *s, ngx_str_t *channel, ngx_uint_t since,
    uint64_t epoch, uint64_t offset, ngx_uint_t history,
    fanout_subscription_t **subp, fanout_zone_join_t *j)
{
    ngx_uint_t              again;
    fanout_hub_t           *hub;
    fanout_error_e          rc;
    fanout_channel_t       *ch;
    fanout_subscription_t  *sub;

    hub = s->hub;
    sub = fanout_session_sub(s, channel);
    again = (sub != NULL);

    if (sub == NULL && s->nsubs >= s->conf->channels) {
        return FANOUT_E_TOO_MANY;
    }

    ch = sub ? sub->channel : fanout_hub_find(hub, channel);

    if (ch == NULL) {
        rc = fanout_hub_open(hub, channel, s->meter.address, &ch);

        if (rc != FANOUT_E_NONE) {
            return rc;
        }
    }

    if (join_log(s, ch, sub, since, epoch, offset, history, j) != NGX_OK) {
        goto failed;
    }

    if (sub == NULL) {
        sub = subscribe(s, ch);
        if (sub == NULL) {
            goto failed;
        }

        sub->signal_seq = j->seq;
    }

    if (!again || !goes_on(sub, since, j)) {
        sub->sent = j->from;
        sub->seq = j->seq;
        sub->floor = j->offset;
        sub->reset = 0;
    }

    sub->state = FANOUT_SUB_LIVE;

    count_join(hub, since, j->recovered);

    if (!again) {
        fanout_spend(hub, FANOUT_WORK_CHANNEL);
        fanout_session_log_join(s, &ch->name);
    }

    *subp = sub;

    return FANOUT_E_NONE;

failed:

    if (ch->nsubs == 0) {
        fanout_hub_close(hub, ch);
    }

    return FANOUT_E_INTERNAL;
}


/* Joins at the offset that this worker has drained to, if possible. */

static ngx_int_t
join_log(fanout_session_t *s, fanout_channel_t *ch,
    fanout_subscription_t *sub, ngx_uint_t since, uint64_t epoch,
    uint64_t offset, ngx_uint_t history, fanout_zone_join_t *j)
{
    ngx_uint_t     tries;
    fanout_hub_t  *hub;

    hub = s->hub;

    for (tries = 0; tries < 16; tries++) {

        if (fanout_log_join(&hub->zone, &ch->zc, since, epoch,
                            offset, history, j)
            != FANOUT_ZONE_OK)
        {
            if (hub->zone.heap.incarnation != hub->incarnation) {
                hub->sink.rebuilt(hub);
                continue;
            }

            return NGX_ERROR;
        }

        if (j->epoch == ch->epoch
            && (sub == NULL || s->batched || j->offset == ch->offset))
        {
            break;
        }

        /* joined again: entries on their way come first, except for an array,
         * whose replies come first; and a reset comes before the join */
        (void) fanout_hub_drain(hub);
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }

    return NGX_OK;
}


static fanout_subscription_t *
subscribe(fanout_session_t *s, fanout_channel_t *ch)
{
    fanout_subscription_t  *sub;

    sub = ngx_calloc(sizeof(fanout_subscription_t), ngx_cycle->log);
    if (sub == NULL) {
        return NULL;
    }

    sub->channel = ch;
    sub->session = s;
    sub->format = fanout_session_format(s, ch);
    sub->want = FANOUT_WANT_MESSAGES;
    sub->no_records = ch->policy->keep.records != 0;

    ngx_queue_insert_tail(&ch->subs, &sub->in_channel);
    fanout_session_sub_add(sub);
    ch->nsubs++;
    ch->formats[sub->format]++;
    fanout_hub_counted(s->hub, ch);

    return sub;
}


static void
count_join(fanout_hub_t *hub, ngx_uint_t since,
    ngx_uint_t recovered)
{
    fanout_count(hub, joins);

    if (since == FANOUT_SINCE_NONE) {
        return;
    }

    if (recovered) {
        fanout_count(hub, recoveries);

    } else {
        fanout_count(hub, recovery_failures);
    }
}


/* All subscribers here have what was drained, so no lock is needed to join at
 * its offset. */

ngx_int_t
fanout_session_register(fanout_subscription_t *sub, ngx_uint_t again,
    ngx_uint_t since, uint64_t epoch, uint64_t offset, ngx_uint_t history,
    fanout_zone_join_t *j)
{
    int                rc;
    fanout_hub_t      *hub;
    fanout_channel_t  *ch;

    ch = sub->channel;
    hub = sub->session->hub;

    rc = fanout_log_join(&hub->zone, &ch->zc, since, epoch, offset, history,
                         j);

    if (rc != FANOUT_ZONE_OK) {
        return hub->zone.heap.incarnation != hub->incarnation ? NGX_AGAIN
                                                         : NGX_ERROR;
    }

    if (j->epoch != ch->epoch) {
        return NGX_AGAIN;
    }

    sub->known = ch->offset;

    if (again && !since && !sub->reset) {
        (void) goes_on(sub, since, j);
        return NGX_OK;
    }

    j->offset = ch->offset;
    j->after = ngx_min(j->after, ch->offset);

    sub->sent = ch->seq;
    sub->seq = ch->seq;
    sub->floor = ch->offset;
    sub->reset = 0;

    return NGX_OK;
}


/* Joined again without "since": entries that were not sent yet still come, so
 * the join is at the last offset sent. */

static ngx_uint_t
goes_on(fanout_subscription_t *sub, ngx_uint_t since, fanout_zone_join_t *j)
{
    uint64_t           sent;
    fanout_channel_t  *ch;

    ch = sub->channel;

    if (since || sub->reset || j->epoch != ch->epoch) {
        return 0;
    }

    sent = sub->state == FANOUT_SUB_LIVE
           ? ngx_max(ch->offset, sub->floor) : sub->offset;

    if (sent >= j->offset) {
        return 0;
    }

    j->offset = sent;
    j->after = ngx_min(j->after, sent);

    return 1;
}


void
fanout_session_leave(fanout_subscription_t *sub, ngx_uint_t reason)
{
    fanout_hub_t         *hub;
    fanout_channel_t     *ch;
    fanout_own_member_t  *own;

    ch = sub->channel;
    hub = sub->session->hub;

    if (sub->seat && reason) {
        fanout_seat_close(&hub->zone, &ch->zc, sub->session->identity_ref,
                          &sub->session->identity, reason);
        fanout_hub_presence(hub);
    }

    while (sub->own) {
        own = sub->own;
        sub->own = own->next;
        ngx_free(own);

        if (reason) {
            fanout_count(hub, presence_leaves);
        }
    }

    (void) fanout_session_want(sub, 0);
    fanout_session_log_leave(sub->session, &ch->name);

    ngx_queue_remove(&sub->in_channel);
    fanout_session_sub_remove(sub);

    ch->nsubs--;
    ch->formats[sub->format]--;

    fanout_signals_forget(sub);

    if (sub->grant) {
        fanout_grant_release(sub->grant);
    }

    if (sub->events) {
        ngx_free(sub->events);
    }

    ngx_free(sub);

    fanout_count(hub, leaves);
    fanout_spend(hub, FANOUT_WORK_CHANNEL);

    if (ch->nsubs == 0) {
        fanout_hub_close(hub, ch);

    } else {
        fanout_hub_counted(hub, ch);
    }
}
