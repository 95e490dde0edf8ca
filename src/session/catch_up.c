
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Falling behind and catching up: a session whose output is full reads from the
 * log when its socket has drained.
 */


#include "session/session.h"
#include "session/compress.h"
#include "session/dialect.h"
#include "session/position.h"
#include "hub/replay.h"
#include "hub/roster.h"
#include "session/transport.h"


#define FANOUT_MERGED  (2 * FANOUT_ZONE_ENTRIES)


static void release_subs(fanout_session_t *s);
static void catch_up_settle(fanout_subscription_t *sub);
static void catch_up_sub(fanout_subscription_t *sub);
static ngx_int_t catch_up_section(fanout_subscription_t *sub, uint64_t upto);
static ngx_int_t catch_up_mail(fanout_subscription_t *sub, uint64_t *upto);
static ngx_int_t catch_up_log(fanout_subscription_t *sub,
    uint64_t upto);
static ngx_int_t catch_up_reset(fanout_subscription_t *sub);
static ngx_uint_t watches(fanout_subscription_t *sub);
static ngx_int_t catch_up_lost(fanout_subscription_t *sub, uint64_t upto);
static ngx_int_t catch_up_locks(fanout_subscription_t *sub);
static ngx_int_t catch_up_gap(fanout_subscription_t *sub, uint64_t from,
    uint64_t upto, const char *of);
static ngx_int_t catch_up_merge(fanout_subscription_t *sub, fanout_arena_t *a,
    uint64_t upto, uint64_t *last);
static ngx_uint_t catch_up_replay(fanout_subscription_t *sub, uint64_t upto);
static void catch_up_charge(fanout_subscription_t *sub, size_t bytes);
static ngx_int_t catch_up_deliver(fanout_subscription_t *sub,
    fanout_entry_t *e, ngx_uint_t n);


void
fanout_session_defer(fanout_session_t *s)
{
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub->state == FANOUT_SUB_LIVE) {
            fanout_position_mark(sub);
            sub->offset = ngx_max(sub->channel->offset, sub->floor);
        }

        sub->state = FANOUT_SUB_JOINING;
    }
}


void
fanout_session_withhold(fanout_session_t *s)
{
    if (s->withheld == NULL) {
        s->withheld = ngx_calloc(sizeof(fanout_withheld_t), ngx_cycle->log);
        if (s->withheld == NULL) {
            fanout_session_defer(s);
            return;
        }
    }

    release_subs(s);
}


void
fanout_session_settle(fanout_session_t *s)
{
    fanout_outbox_join(s);
    release_subs(s);

    if (s->behind || s->waiting) {
        fanout_outbox_queue(s);
    }
}


static void
release_subs(fanout_session_t *s)
{
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        catch_up_settle(ngx_queue_data(q, fanout_subscription_t, in_session));
    }
}


ngx_int_t
fanout_session_go_on(fanout_session_t *s)
{
    if (fanout_session_job_step(s) == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    /* commands may have waited for it */
    ngx_post_event(s->connection->read, &ngx_posted_next_events);

    return NGX_OK;
}


void
fanout_session_answered(fanout_session_t *s)
{
    s->job->waits = 0;

    if (s->state != FANOUT_OPEN) {
        /* its request may be gone */
        return;
    }

    if (s->transport->resume) {
        s->transport->resume(s);
        return;
    }

    if (!s->batched) {
        /* the reply precedes what the drain brings: the publisher's own copy.
         * For an array of commands, entries are withheld. */

        (void) fanout_session_go_on(s);
    }

    fanout_outbox_queue(s);
    ngx_post_event(&s->hub->drain, &ngx_posted_events);
}


void
fanout_session_settle_one(fanout_subscription_t *sub)
{
    fanout_session_t  *s;

    s = sub->session;

    catch_up_settle(sub);

    if (s->behind || s->waiting) {
        fanout_outbox_queue(s);
    }
}


static void
catch_up_settle(fanout_subscription_t *sub)
{
    if (sub->state != FANOUT_SUB_JOINING) {
        return;
    }

    sub->state = FANOUT_SUB_LIVE;

    if (sub->reset
        || ngx_max(sub->channel->offset, sub->floor) > sub->offset)
    {
        sub->state = FANOUT_SUB_BEHIND;
        sub->session->behind = 1;
    }
}


void
fanout_session_catch_up(fanout_session_t *s)
{
    ngx_queue_t            *q, *next;
    fanout_subscription_t  *sub;

    if (s->state != FANOUT_OPEN) {
        return;
    }

    if (s->job && fanout_session_go_on(s) == NGX_AGAIN
        && (s->job == NULL || !s->job->waits
            || s->transport->once))
    {
        /* while the job waits, subscriptions may send */
        return;
    }

    s->behind = 0;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub->state == FANOUT_SUB_BEHIND) {
            catch_up_sub(sub);

            if (s->state != FANOUT_OPEN) {
                return;
            }

            if (sub->state == FANOUT_SUB_BEHIND) {
                s->behind = 1;
            }
        }
    }

    if (s->waiting) {
        fanout_signals_deliver(s);
    }
}


/* Reads the log from the last entry sent to the subscriber, up to what this
 * worker has delivered; then the subscription is live again. */

static void
catch_up_sub(fanout_subscription_t *sub)
{
    uint64_t           upto;
    ngx_int_t          rc;
    fanout_session_t  *s;

    s = sub->session;

    if (sub->reset && catch_up_reset(sub) != NGX_OK) {
        return;
    }

    upto = ngx_max(sub->channel->offset, sub->floor);

    if ((watches(sub) && catch_up_lost(sub, upto) != NGX_OK)
        || catch_up_locks(sub) != NGX_OK)
    {
        return;
    }

    while (sub->offset < upto) {

        if (s->withheld
            || (s->pending && s->pending >= s->conf->buffer / 2))
        {
            return;
        }

        if (fanout_spent(s->hub)) {
            fanout_session_work(s);
            return;
        }

        rc = catch_up_section(sub, upto);

        if (rc == NGX_ERROR) {
            return;
        }

        if (rc != NGX_AGAIN) {
            break;
        }
    }

    sub->state = FANOUT_SUB_LIVE;
}


/* Sends what comes next: a direct message of the mailbox, or a section of the
 * log.  NGX_AGAIN if there may be more; NGX_OK, or NGX_DONE if the log was
 * purged, if there is not; NGX_ERROR if the session has ended. */

static ngx_int_t
catch_up_section(fanout_subscription_t *sub, uint64_t upto)
{
    uint64_t   stop;
    ngx_int_t  rc;

    stop = upto;

    if (sub->mail) {
        rc = catch_up_mail(sub, &stop);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (catch_up_replay(sub, stop)) {
        return NGX_AGAIN;
    }

    rc = catch_up_log(sub, stop);

    if (rc == NGX_OK && stop < upto) {
        /* now the mail */
        sub->offset = stop;
        return NGX_AGAIN;
    }

    return rc;
}


/* NGX_DECLINED if the log comes first, up to *upto; the mailbox follows. */

static ngx_int_t
catch_up_mail(fanout_subscription_t *sub, uint64_t *upto)
{
    fanout_entry_t    *message;
    fanout_channel_t  *ch;

    ch = sub->channel;
    message = fanout_mail_next(sub->session, &ch->name, ch->epoch,
                               sub->offset, *upto);

    if (message == NULL) {
        sub->mail = 0;
        return NGX_DECLINED;
    }

    if (message->offset > sub->offset + 1) {
        *upto = message->offset - 1;
        return NGX_DECLINED;
    }

    if (catch_up_deliver(sub, message, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    sub->offset = message->offset;
    sub->sent = ngx_max(sub->sent, message->seq);

    return NGX_AGAIN;
}


/* As catch_up_section(); NGX_OK when all up to upto was sent. */

static ngx_int_t
catch_up_log(fanout_subscription_t *sub, uint64_t upto)
{
    int                rc;
    uint64_t           lost, last, sent;
    fanout_hub_t      *hub;
    fanout_arena_t    *a;
    fanout_channel_t  *ch;

    hub = sub->session->hub;
    ch = sub->channel;
    a = &hub->pages;
    a->n = 0;
    a->used = 0;

    rc = fanout_log_read(&hub->zone, &ch->zc, ch->epoch,
                         sub->offset, upto, a, &lost);

    fanout_spend(hub, FANOUT_WORK_SECTION + a->used
                      + a->n * FANOUT_WORK_ENTRY);

    if (rc == FANOUT_ZONE_STALE
        || rc == FANOUT_ZONE_NOTFOUND)
    {
        /* purged: the reset is on its way */
        return NGX_DONE;
    }

    if (lost > sub->offset) {
        lost = ngx_min(lost, upto);

        if (catch_up_gap(sub, sub->offset, lost, "") != NGX_OK) {
            return NGX_ERROR;
        }

        sub->offset = lost;
    }

    if (watches(sub)) {
        last = rc == FANOUT_ZONE_AGAIN && a->n
               ? a->entries[a->n - 1].offset : upto;

        if (catch_up_merge(sub, a, last, &sent) != NGX_OK) {
            return NGX_ERROR;
        }

        sub->offset = sent;

        if (sent < last) {
            return NGX_AGAIN;
        }

    } else if (a->n) {
        if (catch_up_deliver(sub, a->entries, a->n) != NGX_OK) {
            return NGX_ERROR;
        }

        sub->offset = a->entries[a->n - 1].offset;
        sub->sent = a->entries[a->n - 1].seq;
    }

    if (rc == FANOUT_ZONE_FULL) {
        /* no memory for one large message */
        fanout_session_end(sub->session, FANOUT_END_CUT);
        return NGX_ERROR;
    }

    return rc == FANOUT_ZONE_OK ? NGX_OK : NGX_AGAIN;
}


static ngx_int_t
catch_up_reset(fanout_subscription_t *sub)
{
    fanout_entry_t  e;

    sub->reset = 0;
    sub->floor = 0;

    ngx_memzero(&e, sizeof(fanout_entry_t));

    e.type = FANOUT_RESET;
    e.kind = FANOUT_TEXT;
    e.epoch = sub->channel->epoch;
    e.data.data = (u_char *) "purged";
    e.data.len = sizeof("purged") - 1;

    return catch_up_deliver(sub, &e, 1);
}


/* Changes of members are not in the history: the roster keeps the latest. */

static ngx_uint_t
watches(fanout_subscription_t *sub)
{
    return (sub->want & FANOUT_WANT_PRESENCE)
           && sub->channel->roster != NULL;
}


static ngx_int_t
catch_up_lost(fanout_subscription_t *sub, uint64_t upto)
{
    uint64_t  after;

    after = ngx_max(sub->offset, sub->known);

    if (sub->channel->roster->lost <= after) {
        return NGX_OK;
    }

    sub->known = ngx_min(sub->channel->roster->lost, upto);

    return catch_up_gap(sub, after, sub->known, "presence");
}


/* Nothing keeps changes of locks: they are read again. */

static ngx_int_t
catch_up_locks(fanout_subscription_t *sub)
{
    uint64_t  after;

    after = ngx_max(sub->offset, sub->lock_known);

    if (!(sub->want & FANOUT_WANT_LOCKS) || sub->channel->locked <= after) {
        return NGX_OK;
    }

    sub->lock_known = sub->channel->locked;

    return catch_up_gap(sub, after, sub->lock_known, "locks");
}


/* sends a gap: lost changes of members or locks, or lost entries of the log */

static ngx_int_t
catch_up_gap(fanout_subscription_t *sub, uint64_t from, uint64_t upto,
    const char *of)
{
    fanout_entry_t  e;

    ngx_memzero(&e, sizeof(fanout_entry_t));

    e.type = FANOUT_GAP;
    e.epoch = sub->channel->epoch;
    e.from = from;
    e.offset = upto;

    e.event.data = (u_char *) of;
    e.event.len = ngx_strlen(of);

    return catch_up_deliver(sub, &e, 1);
}


/* Sends what was read from the log together with changes of members, up to an
 * offset; *last is the offset that was reached. */

static ngx_int_t
catch_up_merge(fanout_subscription_t *sub, fanout_arena_t *a, uint64_t upto,
    uint64_t *last)
{
    size_t                        size;
    ngx_uint_t                    i, n;
    fanout_roster_t              *r;
    fanout_presence_backlog_t    *recent;

    static fanout_entry_t         merged[FANOUT_MERGED];

    r = sub->channel->roster;
    recent = fanout_roster_backlog(r, ngx_max(sub->offset, sub->known));
    *last = upto;
    size = 0;
    i = 0;
    n = 0;

    for ( ;; ) {

        if (recent && recent->entry.offset > upto) {
            recent = NULL;
        }

        if (recent == NULL && i == a->n) {
            break;
        }

        if (n == FANOUT_MERGED
            || size > FANOUT_ZONE_COPY * 2)
        {
            *last = merged[n - 1].offset;
            break;
        }

        if (recent
            && (i == a->n || recent->entry.offset < a->entries[i].offset))
        {
            size += recent->entry.data.len;
            merged[n++] = recent->entry;
            recent = fanout_roster_later(r, recent);

        } else {
            merged[n++] = a->entries[i++];
        }
    }

    if (n == 0) {
        return NGX_OK;
    }

    sub->sent = merged[n - 1].seq;

    return catch_up_deliver(sub, merged, n);
}


/* sends a section that another subscriber got a moment ago */

static ngx_uint_t
catch_up_replay(fanout_subscription_t *sub, uint64_t upto)
{
    fanout_hub_t     *hub;
    fanout_replay_t  *r;

    if (!fanout_sub_plain(sub) || watches(sub)) {
        return 0;
    }

    hub = sub->session->hub;

    r = fanout_replay_find(hub, sub->channel, sub->format,
                           sub->channel->epoch, sub->offset, upto);
    if (r == NULL) {
        return 0;
    }

    catch_up_charge(sub, r->outbuf->used);
    fanout_spend(hub, FANOUT_WORK_SECTION);
    fanout_session_enqueue(sub, r->outbuf, 0, r->outbuf->used);
    fanout_add(hub, delivered, r->n);
    fanout_session_log_add(sub->session, messages_out, r->n);
    sub->offset = r->last;
    sub->sent = r->seq;

    return 1;
}


/* Entries of the time before a join were asked for, and are charged; those that
 * a slow subscriber reads of the time since then are not. */

static void
catch_up_charge(fanout_subscription_t *sub, size_t bytes)
{
    if (sub->offset < sub->floor) {
        fanout_meter_answered(sub->session, bytes);
    }
}


/* sends entries to one subscriber alone */

static ngx_int_t
catch_up_deliver(fanout_subscription_t *sub, fanout_entry_t *e, ngx_uint_t n)
{
    ngx_uint_t         i;
    fanout_hub_t      *hub;
    fanout_outbuf_t   *f;
    fanout_session_t  *s;

    s = sub->session;
    hub = s->hub;

    f = fanout_outbuf_create(hub, 1024 + (n > 1 ? hub->pages.used
                                                  + 256 * n : 0));
    if (f == NULL) {
        goto failed;
    }

    for (i = 0; i < n; i++) {

        if (fanout_sub_skips(sub, e[i].type) || !fanout_wanted(sub, &e[i])) {
            continue;
        }

        if (fanout_format_entry(sub->format, hub, sub->channel, &e[i], f)
            != NGX_OK)
        {
            fanout_outbuf_release(hub, f);
            goto failed;
        }

        if ((e[i].type == FANOUT_GAP
             || e[i].type == FANOUT_RESET)
            && s->dialect->closes)
        {
            fanout_session_push(s, f, 0, f->used);
            fanout_outbuf_release(hub, f);
            fanout_session_log_broken(s, e[i].type);
            fanout_session_closing(s);
            return NGX_ERROR;
        }

        if (e[i].type == FANOUT_GAP) {
            fanout_count(hub, gaps);

        } else if (e[i].type == FANOUT_RESET) {
            fanout_count(hub, resets);

        } else {
            fanout_count(hub, delivered);
            fanout_session_log_add(s, messages_out, 1);
        }
    }

    if ((e->type == FANOUT_MESSAGE || e->type == FANOUT_PRESENCE
         || e->type == FANOUT_RECORD)
        && !(e->to_client || e->to_user))
    {
        fanout_outbuf_entries(f, sub->channel, sub->offset, e->seq);
    }

    catch_up_charge(sub, f->used);
    fanout_compress_frame(hub, sub->format, &f);

    if (e->type == FANOUT_MESSAGE && fanout_sub_plain(sub)
        && !(e->to_client || e->to_user) && !watches(sub))
    {
        fanout_replay_add(hub, sub->channel, sub->format, e->epoch,
                          sub->offset, e, n, f);
    }

    fanout_session_enqueue(sub, f, 0, f->used);
    fanout_outbuf_release(hub, f);

    return NGX_OK;

failed:

    fanout_session_end(s, FANOUT_END_CUT);

    return NGX_ERROR;
}
