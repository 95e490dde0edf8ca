
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Delivery: entries drained from the log go to the subscribers in the order
 * of the zone's seq.  Consecutive entries of a channel are a span: encoded
 * once for each format that has subscribers, one run of bytes which all
 * outboxes share.
 */


#include "session/session.h"
#include "session/members.h"
#include "session/dialect.h"
#include "hub/roster.h"
#include "session/encode.h"


#define is_direct(e)  ((e)->to_client || (e)->to_user)


static int by_seq(const void *one, const void *two);
static void span(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e,
    ngx_uint_t n);
static uint32_t *takers(fanout_channel_t *ch, ngx_uint_t type);
static void delivery_fetch(fanout_channel_t *ch, ngx_queue_t *next);
static void deliver_span(fanout_subscription_t *sub, fanout_run_t *run,
    fanout_entry_t *e, ngx_uint_t n);
static ngx_uint_t deliver_part(fanout_subscription_t *sub, fanout_run_t *run,
    uint32_t start, uint32_t end, fanout_entry_t *before);
static ngx_uint_t breaks(fanout_entry_t *e);
static ngx_uint_t delivery_check_lost(fanout_channel_t *ch, fanout_entry_t *e);
static void discontinue(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, ngx_uint_t lost);
static void delivery_passed(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e);


void
fanout_deliver(fanout_hub_t *hub, fanout_entry_t *entries, ngx_uint_t n)
{
    ngx_uint_t         i, j, k, lost;
    fanout_channel_t  *ch;

    fanout_hub_denials(hub);

    for (i = 1; i < n; i++) {
        if (entries[i].seq < entries[i - 1].seq) {
            ngx_qsort(entries, n, sizeof(fanout_entry_t), by_seq);
            break;
        }
    }

    hub->ordered = hub->whole && entries[0].seq > hub->high;

    for (i = 0; i < n; i = j) {
        j = i + 1;

        ch = entries[i].local < hub->nchannels
             ? hub->channels[entries[i].local] : NULL;

        if (ch == NULL) {
            continue;
        }

        if (entries[i].type == FANOUT_SIGNAL) {
            fanout_signal(hub, ch, &entries[i]);
            continue;
        }

        if (entries[i].seq <= ch->opened
            && entries[i].type != FANOUT_GAP)
        {
            /* appended while the channel was opened: all joined after it */
            continue;
        }

        if (is_direct(&entries[i])) {
            fanout_direct(hub, ch, &entries[i]);
            ch->offset = entries[i].offset;
            delivery_passed(hub, ch, &entries[i]);
            continue;
        }

        if (breaks(&entries[i])) {
            lost = delivery_check_lost(ch, &entries[i]);
            span(hub, ch, &entries[i], 1);
            discontinue(hub, ch, &entries[i], lost);
            delivery_passed(hub, ch, &entries[i]);
            continue;
        }

        while (j < n && j - i < FANOUT_SPAN
               && entries[j].local == entries[i].local
               && entries[j].type == entries[i].type
               && !is_direct(&entries[j]))
        {
            j++;
        }

        for (k = i; k < j && ch->roster
                    && entries[k].type == FANOUT_PRESENCE; k++)
        {
            fanout_roster_apply(hub, ch->roster, &entries[k],
                                fanout_session_member_joined);
        }

        span(hub, ch, &entries[i], j - i);

        if (entries[i].type == FANOUT_LOCK) {
            ch->locked = entries[j - 1].offset;
        }

        ch->offset = entries[j - 1].offset;
        delivery_passed(hub, ch, &entries[j - 1]);
    }

    hub->ordered = 0;

    if (hub->whole) {
        hub->safe = hub->high;
    }
}


/* how far the channel and the hub have come */

static void
delivery_passed(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e)
{
    if (e->seq == UINT64_MAX) {
        /* the zone was rebuilt */
        return;
    }

    ch->seq = e->seq;
    hub->high = ngx_max(hub->high, e->seq);

    if (ch->roster && !ch->roster->ready) {
        fanout_roster_reached(hub, ch->roster);
    }
}


static ngx_uint_t
breaks(fanout_entry_t *e)
{
    return e->type == FANOUT_GAP || e->type == FANOUT_RESET;
}


static int
by_seq(const void *one, const void *two)
{
    const fanout_entry_t  *a, *b;

    a = one;
    b = two;

    return a->seq < b->seq ? -1 : a->seq > b->seq;
}


/* Returns whether entries were lost: 1 for a gap.  A gap that contains a purge
 * becomes a reset. */

static ngx_uint_t
delivery_check_lost(fanout_channel_t *ch, fanout_entry_t *e)
{
    if (e->type != FANOUT_GAP) {
        return 0;
    }

    if (e->epoch != ch->epoch) {
        e->type = FANOUT_RESET;
        e->kind = FANOUT_TEXT;
        e->data.data = (u_char *) "purged";
        e->data.len = sizeof("purged") - 1;
    }

    return 1;
}


/* Called after a gap or a reset was sent to live subscribers.  Subscribers that
 * are behind, also since just now, detect a gap when they read on; a reset is
 * flagged for them here. */

static void
discontinue(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e,
    ngx_uint_t lost)
{
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    if (e->type == FANOUT_GAP) {
        ch->offset = e->offset;
        ch->locked = e->offset;

        if (ch->roster) {
            fanout_roster_restart(hub, ch->roster, e->offset);
        }

        return;
    }

    ch->epoch = e->epoch;
    ch->offset = lost ? e->offset : 0;
    ch->locked = ch->offset;

    if (ch->roster) {
        fanout_roster_restart(hub, ch->roster, ch->offset);
    }

    for (q = ngx_queue_head(&ch->subs);
         q != ngx_queue_sentinel(&ch->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_channel);

        if (e->seq <= sub->seq) {
            /* joined after it */
            continue;
        }

        sub->floor = 0;
        sub->known = 0;
        sub->lock_known = 0;

        if (sub->state != FANOUT_SUB_LIVE) {
            sub->reset = 1;
            sub->offset = 0;
        }
    }
}


/* the subscribers that get entries of a type, by format */

static uint32_t *
takers(fanout_channel_t *ch, ngx_uint_t type)
{
    return type == FANOUT_PRESENCE ? ch->watchers
           : type == FANOUT_RECORD ? ch->keepers
           : type == FANOUT_LOCK ? ch->lockers : ch->formats;
}


static void
span(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e, ngx_uint_t n)
{
    ngx_uint_t              i;
    ngx_queue_t            *q, *next;
    fanout_subscription_t  *sub;
    const uint32_t         *taken;

    static fanout_run_t  runs[FANOUT_FORMATS];  /* without outbufs between two
                                                   spans */

    taken = takers(ch, e->type);

    for (i = 0; i < FANOUT_FORMATS; i++) {
        if (taken[i]) {
            fanout_encode_run(hub, ch, e, n, i, runs);
        }
    }

    for (q = ngx_queue_head(&ch->subs);
         q != ngx_queue_sentinel(&ch->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_channel);

        delivery_fetch(ch, next);

        if (sub->state != FANOUT_SUB_LIVE
            || sub->session->state != FANOUT_OPEN)
        {
            continue;
        }

        if (fanout_sub_skips(sub, e->type)) {
            continue;
        }

        if (runs[sub->format].outbuf == NULL) {
            /* no memory: the subscriber reads it from the log */
            fanout_session_lag(sub->session);
            continue;
        }

        deliver_span(sub, &runs[sub->format], e, n);

        if (breaks(e) && e->seq > sub->seq
            && sub->state == FANOUT_SUB_LIVE
            && sub->session->dialect->closes)
        {
            fanout_session_log_broken(sub->session, e->type);
            fanout_session_closing(sub->session);
        }
    }

    for (i = 0; i < FANOUT_FORMATS; i++) {
        if (runs[i].outbuf) {
            fanout_outbuf_release(hub, runs[i].outbuf);
            runs[i].outbuf = NULL;
        }
    }
}


/* with thousands of subscribers the memory of the next one is cold */

static void
delivery_fetch(fanout_channel_t *ch, ngx_queue_t *next)
{
    fanout_subscription_t  *sub;

    if (next == ngx_queue_sentinel(&ch->subs)) {
        return;
    }

    sub = ngx_queue_data(next, fanout_subscription_t, in_channel);

    __builtin_prefetch(ngx_queue_next(next));
    __builtin_prefetch((u_char *) sub->session);
    __builtin_prefetch((u_char *) sub->session + 64);
    __builtin_prefetch((u_char *) sub->session + 128);
}


static void
deliver_span(fanout_subscription_t *sub, fanout_run_t *run, fanout_entry_t *e,
    ngx_uint_t n)
{
    uint32_t         start;
    ngx_uint_t       i, plain;
    fanout_entry_t  *before;

    plain = (e->type == FANOUT_PRESENCE || e->type == FANOUT_LOCK
             || (e->type == FANOUT_RECORD ? !sub->no_echo
                                          : fanout_sub_plain(sub)))
            && sub->seq < e[0].seq;

    for (i = 0; plain && i < n; i++) {
        plain = !(e[i].flags & FANOUT_NOECHO);
    }

    if (e->type == FANOUT_GAP) {
        fanout_count(sub->session->hub, gaps);

    } else if (e->type == FANOUT_RESET) {
        fanout_count(sub->session->hub, resets);
    }

    if (plain) {
        fanout_add(sub->session->hub, delivered, n);
        fanout_session_log_add(sub->session, messages_out, n);
        (void) deliver_part(sub, run, 0, run->ends[n - 1], NULL);
        return;
    }

    start = 0;
    before = NULL;

    for (i = 0; i < n; i++) {

        if (e[i].seq > sub->seq && fanout_wanted(sub, &e[i])) {
            fanout_count(sub->session->hub, delivered);
            fanout_session_log_add(sub->session, messages_out, 1);

            if (!deliver_part(sub, run, start, run->ends[i], before)) {
                return;
            }
        }

        start = run->ends[i];
        before = &e[i];
    }
}


/* 0 if the session has all the output it may hold: it falls behind, after the
 * entry "before" */

static ngx_uint_t
deliver_part(fanout_subscription_t *sub, fanout_run_t *run, uint32_t start,
    uint32_t end, fanout_entry_t *before)
{
    fanout_session_t  *s;

    s = sub->session;

    if (fanout_session_full(s, end - start)) {
        fanout_session_lag(s);

        if (before) {
            sub->offset = ngx_max(before->offset, sub->floor);
            sub->sent = ngx_max(before->seq, sub->seq);
        }

        return 0;
    }

    fanout_session_enqueue(sub, run->outbuf, start, end);

    return 1;
}
