
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Replies with messages of a log or with members, sent in parts as the socket
 * takes them.
 */


#include "hub/entry_json.h"
#include "session/join.h"
#include "dialect/native.h"
#include "hub/replay.h"


#define FANOUT_BUSY  2000               /* ms until a retry, at least */

#define items_of(job)                                                         \
    (FANOUT_NATIVE_ITEMS + ((job)->unnamed ? FANOUT_UNNAMED : 0))


static void job_free(fanout_job_t *data);
static ngx_int_t job_step(fanout_session_t *s);
static ngx_uint_t much(fanout_session_t *s, fanout_native_job_t *job);
static ngx_int_t job_read(fanout_session_t *s, fanout_native_job_t *job);
static ngx_int_t job_take(fanout_session_t *s, fanout_native_job_t *job,
    fanout_arena_t *a, ngx_uint_t more, ngx_uint_t *parts);
static ngx_uint_t job_lost(fanout_native_job_t *job, uint64_t lost);
static ngx_int_t job_mail(fanout_session_t *s, fanout_native_job_t *job,
    uint64_t *upto);
static ngx_uint_t job_replay(fanout_session_t *s, fanout_native_job_t *job);
static void job_remember(fanout_session_t *s, fanout_native_job_t *job,
    uint64_t after, uint32_t start, fanout_arena_t *a);
static void job_finish(fanout_session_t *s, fanout_native_job_t *job);
static void job_refuse(fanout_session_t *s, fanout_native_job_t *job,
    fanout_error_e code, const char *text, ngx_str_t *data);
static void job_too_large(fanout_session_t *s, fanout_native_job_t *job);
static void job_busy(fanout_session_t *s, fanout_native_job_t *job);


static const fanout_job_ops_t  job_ops = {
    job_step,
    job_free
};


fanout_native_job_t *
fanout_native_job(fanout_session_t *s, fanout_command_t *cmd)
{
    u_char               *p;
    fanout_native_job_t  *job;

    job = ngx_calloc(sizeof(fanout_native_job_t) + cmd->id.len
                     + cmd->channel.len, ngx_cycle->log);
    if (job == NULL) {
        return NULL;
    }

    p = (u_char *) (job + 1);

    job->base.ops = &job_ops;
    job->base.session = s;
    job->id.data = p;
    job->id.len = cmd->id.len;

    if (cmd->id.len) {
        ngx_memcpy(p, cmd->id.data, cmd->id.len);
    }

    job->channel.data = p + cmd->id.len;
    job->channel.len = cmd->channel.len;
    ngx_memcpy(job->channel.data, cmd->channel.data, cmd->channel.len);
    job->unnamed = fanout_native_unnamed(s, &cmd->channel);

    return job;
}


static void
job_free(fanout_job_t *data)
{
    fanout_native_job_t  *job;

    job = (fanout_native_job_t *) data;

    if (job->messages) {
        fanout_outbuf_release(job->base.session->hub, job->messages);
    }

    if (job->state) {
        fanout_outbuf_release(job->base.session->hub, job->state);
    }

    if (job->held) {
        fanout_outbuf_release(job->base.session->hub, job->held);
    }

    ngx_free((void *) job->record.data);
    ngx_free(job);
}


void
fanout_native_run(fanout_session_t *s, fanout_native_job_t *job)
{
    s->job = &job->base;

    (void) job_step(s);
}


/* Returns AGAIN if the output limit is reached before the end. */

static ngx_int_t
job_step(fanout_session_t *s)
{
    ngx_int_t             rc;
    fanout_native_job_t  *job;

    job = (fanout_native_job_t *) s->job;

    if (job->base.removed) {
        job_refuse(s, job, FANOUT_E_NOT_JOINED,
                   "it was made to leave while it joined", NULL);
        return NGX_OK;
    }

    if (job->base.waits) {
        switch (fanout_native_ready(s, job)) {

        case NGX_AGAIN:
            return NGX_AGAIN;

        case NGX_OK:
            break;

        case NGX_BUSY:
            job_busy(s, job);
            return NGX_OK;

        default:
            job_refuse(s, job, FANOUT_E_INTERNAL,
                       "the members could not be read", NULL);
            return NGX_OK;
        }
    }

    do {
        if (s->pending && s->pending >= s->conf->buffer / 2
            && !fanout_native_members_fit(s, job))
        {
            return NGX_AGAIN;
        }

        if (much(s, job)) {
            fanout_session_work(s);
            return NGX_AGAIN;
        }

        rc = job->changes ? fanout_native_changes_part(s, job)
                          : job_read(s, job);

        if (rc == NGX_OK) {
            rc = fanout_native_records_part(s, job);
        }

        if (rc == NGX_DECLINED) {
            job_too_large(s, job);
            return NGX_OK;
        }

        if (rc != NGX_AGAIN) {
            rc = fanout_native_members_part(s, job);
        }

        if (rc == NGX_OK) {
            rc = fanout_native_locks_part(s, job);
        }

        if (rc == NGX_DECLINED) {
            job_too_large(s, job);
            return NGX_OK;
        }

        if (s->state != FANOUT_OPEN) {
            return NGX_OK;
        }

    } while (rc == NGX_AGAIN);

    job_finish(s, job);

    return NGX_OK;
}


/* Whether a log or a list is left for another step.  An array of commands has
 * its own step, as its subscriptions are held. */

static ngx_uint_t
much(fanout_session_t *s, fanout_native_job_t *job)
{
    ngx_uint_t  spent;

    spent = s->batched ? s->hub->spent >= s->hub->step_end
                       : fanout_spent(s->hub);

    return spent
           && (job->mail || (job->after < job->upto && job->left)
               || job->changes
               || (job->records && !job->recovered && !job->recorded)
               || (job->locks && !job->locked)
               || job->base.snapshot != NULL);
}


/* Reads a section of the log.  Returns AGAIN if there may be more. */

static ngx_int_t
job_read(fanout_session_t *s, fanout_native_job_t *job)
{
    int                     rc;
    uint32_t                start;
    uint64_t                lost, after, upto;
    ngx_int_t               done;
    ngx_uint_t              more, parts, whole;
    fanout_arena_t         *a;
    fanout_zone_channel_t   zc;

    upto = job->upto;

    if (job->mail) {
        done = job_mail(s, job, &upto);

        if (done != NGX_DECLINED) {
            return done;
        }
    }

    if (job->after >= upto || job->left == 0) {
        return NGX_OK;
    }

    if (upto == job->upto && job_replay(s, job)) {
        return fanout_native_messages_full(s, job, job->after < job->upto)
               == NGX_OK ? NGX_AGAIN : NGX_ERROR;
    }

    a = &s->hub->pages;
    a->n = 0;
    a->used = 0;

    fanout_hub_view(s->hub, &job->channel, &zc);

    rc = fanout_log_read(&s->hub->zone, &zc, job->epoch, job->after, upto, a,
                         &lost);

    fanout_spend(s->hub, FANOUT_WORK_SECTION + a->used
                         + a->n * FANOUT_WORK_ENTRY);

    if (rc == FANOUT_ZONE_STALE || rc == FANOUT_ZONE_NOTFOUND)
    {
        /* purged while it was being told */
        job->recovered = 0;
        return NGX_OK;
    }

    if (rc == FANOUT_ZONE_FULL) {
        /* no memory for a message: the client reconnects and asks again */
        fanout_session_end(s, FANOUT_END_CUT);
        return NGX_ERROR;
    }

    whole = 1;

    if (lost > job->after) {

        if (!job_lost(job, ngx_min(lost, upto))) {
            return NGX_OK;
        }

        /* a section with a hole is not shared */
        whole = 0;
    }

    more = (rc == FANOUT_ZONE_AGAIN);
    after = job->after;
    start = job->messages ? job->messages->used : 0;

    done = job_take(s, job, a, more, &parts);

    if (done != NGX_OK) {
        return done == NGX_DONE ? NGX_OK : NGX_ERROR;
    }

    if (whole && !parts && a->n && job->messages->used > start) {
        job_remember(s, job, after, start, a);
    }

    if (more && job->left == 0) {
        job->next = job->after;
        return NGX_OK;
    }

    if (!more && upto < job->upto) {
        /* now a piece of mail */
        job->after = upto;
        return NGX_AGAIN;
    }

    return more ? NGX_AGAIN : NGX_OK;
}


/* Adds the entries to the messages, and sends these in parts.  Returns DONE
 * if no more are asked for. */

static ngx_int_t
job_take(fanout_session_t *s, fanout_native_job_t *job, fanout_arena_t *a,
    ngx_uint_t more, ngx_uint_t *parts)
{
    ngx_uint_t  i;

    *parts = 0;

    for (i = 0; i < a->n; i++) {

        if (job->left == 0) {
            job->next = job->after;
            return NGX_DONE;
        }

        if (fanout_native_messages_add(s, job, &a->entries[i]) != NGX_OK) {
            fanout_session_end(s, FANOUT_END_CUT);
            return NGX_ERROR;
        }

        job->after = a->entries[i].offset;

        if (!job->first) {
            job->first = job->after;
        }

        job->left--;

        if (job->messages->used >= FANOUT_PART
            && (i + 1 < a->n || more))
        {
            *parts = 1;

            if (fanout_native_messages_part(s, job) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* The log has lost the next entries.  Messages gathered before the hole are
 * dropped, so that a reply has no hole in it; after parts that were sent the
 * hole is reported.  Returns 0 if no more is read, since a client that asks
 * for what it has missed must read all anew. */

static ngx_uint_t
job_lost(fanout_native_job_t *job, uint64_t lost)
{
    job->recovered = 0;

    if (job->messages) {
        job->messages->used = 0;
    }

    if (job->base.sub && job->since) {
        job->missed = 0;
        job->after = job->upto;
        return 0;
    }

    if (job->sent) {
        job->hole = lost;

    } else {
        job->first = 0;
    }

    job->after = lost;
    job->older = 0;

    return 1;
}


/* Mail of the client stands between the messages of the log: *upto becomes the
 * last of these before the next piece.  DECLINED if there is no mail, or
 * messages come first. */

static ngx_int_t
job_mail(fanout_session_t *s, fanout_native_job_t *job, uint64_t *upto)
{
    fanout_entry_t  *e;

    e = fanout_mail_next(s, &job->channel, job->epoch, job->after, job->upto);

    if (e == NULL) {
        job->mail = 0;
        return NGX_DECLINED;
    }

    if (job->left && e->offset > job->after + 1) {
        *upto = e->offset - 1;
        return NGX_DECLINED;
    }

    if (e->type == FANOUT_GAP) {
        job->recovered = 0;

    } else {
        job->missed++;

        if (fanout_native_messages_add(s, job, e) != NGX_OK) {
            fanout_session_end(s, FANOUT_END_CUT);
            return NGX_ERROR;
        }
    }

    job->after = e->offset;

    return fanout_native_messages_full(s, job, job->after < job->upto)
           == NGX_OK ? NGX_AGAIN : NGX_ERROR;
}


/* Takes a section that another join has read a moment ago. */

static ngx_uint_t
job_replay(fanout_session_t *s, fanout_native_job_t *job)
{
    fanout_hub_t     *hub;
    fanout_replay_t  *r;

    hub = s->hub;

    if (job->base.sub == NULL || !fanout_sub_plain(job->base.sub)) {
        return 0;
    }

    r = fanout_replay_find(hub, job->base.sub->channel, items_of(job),
                           job->epoch, job->after, job->upto);

    if (r == NULL || r->n > job->left
        || fanout_native_messages_begin(hub, job) != NGX_OK
        || fanout_outbuf_reserve(hub, job->messages, r->outbuf->used + 1)
           != NGX_OK)
    {
        return 0;
    }

    if (job->messages->used) {
        (void) fanout_outbuf_literal(hub, job->messages, ",");
    }

    (void) fanout_outbuf_append(hub, job->messages, r->outbuf->data,
                                r->outbuf->used);

    fanout_spend(hub, FANOUT_WORK_SECTION + r->outbuf->used);

    job->after = r->last;
    job->left -= r->n;

    return 1;
}


/* Keeps a section, which is the messages from start on. */

static void
job_remember(fanout_session_t *s, fanout_native_job_t *job, uint64_t after,
    uint32_t start, fanout_arena_t *a)
{
    u_char           *p;
    fanout_outbuf_t  *f;

    if (job->base.sub == NULL || !fanout_sub_plain(job->base.sub)
        || job->after != a->entries[a->n - 1].offset)
    {
        return;
    }

    p = job->messages->data + start;
    start += (start && *p == ',');

    f = fanout_outbuf_create(s->hub, job->messages->used - start);
    if (f == NULL) {
        return;
    }

    (void) fanout_outbuf_append(s->hub, f, job->messages->data + start,
                                job->messages->used - start);

    fanout_replay_add(s->hub, job->base.sub->channel, items_of(job),
                      job->epoch, after, a->entries, a->n, f);
    fanout_outbuf_release(s->hub, f);
}


static void
job_finish(fanout_session_t *s, fanout_native_job_t *job)
{
    u_char                  epoch[FANOUT_EPOCH_LEN];
    fanout_reply_t          rp;
    fanout_native_batch_t  *b;
    fanout_subscription_t  *sub;

    b = fanout_native_part(s)->batch;

    if (b && b->outbuf && job->messages
        && b->outbuf->used + job->messages->used > FANOUT_PART
        && job->messages->used && fanout_native_messages_part(s, job) != NGX_OK)
    {
        /* replies of an array wait for its end, so they have to be small */
        return;
    }

    (void) fanout_epoch_format(epoch, job->epoch);

    fanout_native_open(&rp, s, job->id.data, job->id.len);
    fanout_native_literal(&rp, "\"ok\":{\"channel\":");
    fanout_native_string(&rp, job->channel.data, job->channel.len);
    fanout_native_printf(&rp, ",\"epoch\":\"%*s\",\"offset\":%uL",
                         sizeof(epoch), epoch, job->offset);

    if (job->base.sub && job->base.sub->granted_until) {
        fanout_native_printf(&rp, ",\"expires\":%uL",
                             job->base.sub->granted_until);
    }

    if (job->since) {
        fanout_native_printf(&rp, ",\"recovered\":%s",
                     job->recovered ? "true" : "false");

        if (job->base.sub) {
            fanout_native_printf(&rp, ",\"missed\":%uL", job->missed);
        }
    }

    if (job->base.sub || !(job->members || job->counts || job->records
                           || job->locks))
    {
        fanout_native_messages_reply(&rp, job);
    }

    if (job->base.sub == NULL
        && (job->newest ? job->older && job->first : job->next))
    {
        fanout_native_printf(&rp, ",\"next\":%uL",
                     job->newest ? job->first : job->next);
    }

    fanout_native_records_reply(&rp, job);
    fanout_native_locks_reply(&rp, job);
    fanout_native_members_reply(&rp, job);

    sub = job->base.sub;

    if (sub && !sub->reset) {
        sub->offset = job->upto;
    }

    fanout_session_job_done(s);

    if (s->batched) {
        return;
    }

    if (sub) {
        fanout_session_settle_one(sub);

    } else {
        fanout_session_settle(s);
    }
}


/* Replies with an error instead. */

static void
job_refuse(fanout_session_t *s, fanout_native_job_t *job, fanout_error_e code,
    const char *text, ngx_str_t *data)
{
    ngx_str_t      message;
    fanout_json_t  id;

    id.data = job->id.data;
    id.len = job->id.len;

    message.data = (u_char *) text;
    message.len = ngx_strlen(text);

    if (job->base.sub && !job->again) {
        fanout_session_leave(job->base.sub, FANOUT_LEFT_INTENTIONAL);
        job->base.sub = NULL;
    }

    fanout_native_error(s, &id, NULL, 0, code, &message, data);

    fanout_session_job_done(s);

    if (!s->batched) {
        fanout_session_settle(s);
    }
}


/* The records or locks don't fit into the one answer that there is. */

static void
job_too_large(fanout_session_t *s, fanout_native_job_t *job)
{
    u_char     buf[64];
    ngx_str_t  data;

    data.data = buf;
    data.len = ngx_sprintf(buf, "{\"limit\":\"buffer\",\"max\":%uz}",
                           s->conf->buffer)
               - buf;

    job_refuse(s, job, FANOUT_E_TOO_LARGE,
               job->records
               ? "the records are more than an answer may have: "
                 "fanout_buffer; read them in pages"
               : "the locks are more than an answer may have: fanout_buffer",
               &data);
}


/* The worker's output is held by clients that don't read it, until they do or
 * are cut. */

static void
job_busy(fanout_session_t *s, fanout_native_job_t *job)
{
    u_char      buf[64];
    ngx_str_t   data;
    ngx_msec_t  after;

    after = FANOUT_BUSY
            + (ngx_msec_t) ngx_random() % FANOUT_BUSY;

    data.data = buf;
    data.len = ngx_sprintf(buf, "{\"retry_after\":%M}", after) - buf;

    job_refuse(s, job, FANOUT_E_BUSY,
               "the worker holds all the output it may: \"fanout_zone "
               "frames=\"", &data);
}
