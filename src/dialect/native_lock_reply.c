
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Replies about locks: to "lock", and the list in the reply of a join and of
 * "get" with "locks".
 *
 * A list is read in sections, while changes go on.  A subscriber gets the
 * entries after the offset of the first section, and each is the whole state of
 * its lock: after them its list is exact.
 */


#include "hub/lock_json.h"
#include "hub/locks.h"
#include "hub/roster.h"
#include "dialect/native.h"


static ngx_int_t locks_read(fanout_session_t *s, fanout_native_job_t *job);
static void locks_known(fanout_session_t *s, fanout_native_job_t *job,
    uint64_t offset);
static ngx_int_t locks_part(fanout_session_t *s, fanout_native_job_t *job);


void
fanout_native_locked(fanout_session_t *s, fanout_json_t *id,
    fanout_locked_t *to)
{
    fanout_reply_t  rp;

    if (id->len) {
        fanout_native_open(&rp, s, (u_char *) id->data, id->len);
        fanout_native_printf(&rp, "\"ok\":{\"token\":%uL,\"expires\":%uL}",
                             to->lock.token, to->lock.expires);
        fanout_native_end(&rp);
    }
}


void
fanout_native_hide(fanout_session_t *s, ngx_str_t *channel,
    fanout_lock_t *lock)
{
    if (fanout_native_unnamed(s, channel)) {
        lock->user.len = 0;
    }
}


void
fanout_native_unlucky(fanout_session_t *s, fanout_json_t *id,
    fanout_json_t *op, ngx_uint_t at, fanout_locked_t *to)
{
    ngx_str_t         data;
    fanout_outbuf_t  *f;

    f = fanout_outbuf_create(s->hub, 256);

    if (f == NULL
        || fanout_outbuf_literal(s->hub, f, "{") != NGX_OK
        || fanout_lock_holder_json(s->hub, &to->lock, f) != NGX_OK
        || fanout_outbuf_literal(s->hub, f, "}") != NGX_OK)
    {
        fanout_session_end(s, FANOUT_END_CUT);

    } else {
        data.data = f->data;
        data.len = f->used;

        fanout_native_error(s, id, op, at, FANOUT_E_LOCKED, NULL, &data);
    }

    if (f) {
        fanout_outbuf_release(s->hub, f);
    }
}


/* lists */

ngx_int_t
fanout_native_locks_part(fanout_session_t *s, fanout_native_job_t *job)
{
    if (!job->locks || job->locked) {
        return NGX_OK;
    }

    if (locks_read(s, job) != NGX_OK) {
        fanout_session_end(s, FANOUT_END_CUT);
        return NGX_ERROR;
    }

    if (s->transport->once && job->held->used > s->conf->buffer) {
        /* the answer of a poll has no parts */
        return NGX_DECLINED;
    }

    if (job->locked) {
        return NGX_OK;
    }

    return s->transport->once || job->held->used < FANOUT_PART
           ? NGX_AGAIN : locks_part(s, job);
}


static ngx_int_t
locks_read(fanout_session_t *s, fanout_native_job_t *job)
{
    ngx_uint_t           i, first;
    fanout_lock_list_t  *list;

    first = (job->held == NULL);

    if (first) {
        job->held = fanout_outbuf_create(s->hub, 256);

        if (job->held == NULL) {
            return NGX_ERROR;
        }
    }

    list = fanout_locks_list(s->hub, &job->channel, &job->lock_cursor,
                             FANOUT_LOCK_LIST);
    job->locked = (job->lock_cursor == 0);

    if (first) {
        locks_known(s, job, list->offset);
    }

    for (i = 0; i < list->n; i++) {
        if (job->unnamed) {
            list->locks[i].user.len = 0;
        }

        if ((job->held->used
             && fanout_outbuf_literal(s->hub, job->held, ",") != NGX_OK)
            || fanout_lock_json(s->hub, &list->locks[i], s->identity.client,
                                job->held)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* What is read has all changes up to the offset. */

static void
locks_known(fanout_session_t *s, fanout_native_job_t *job, uint64_t offset)
{
    fanout_subscription_t  *sub;

    sub = job->base.sub ? job->base.sub
                        : fanout_session_sub(s, &job->channel);

    if (sub) {
        sub->lock_known = ngx_max(sub->lock_known, offset);
    }
}


static ngx_int_t
locks_part(fanout_session_t *s, fanout_native_job_t *job)
{
    fanout_reply_t          rp;
    fanout_native_batch_t  *b;

    b = fanout_native_part_open(&rp, s, job);
    fanout_native_literal(&rp, ",\"locks\":[");
    fanout_native_text(&rp, job->held->data, job->held->used);
    fanout_native_literal(&rp, "]}");
    fanout_native_part_end(&rp, b);

    job->held->used = 0;

    return s->state == FANOUT_OPEN ? NGX_AGAIN : NGX_ERROR;
}


void
fanout_native_locks_reply(fanout_reply_t *rp, fanout_native_job_t *job)
{
    if (job->locks) {
        fanout_native_literal(rp, ",\"locks\":[");
        fanout_native_text(rp, job->held->data, job->held->used);
        fanout_native_literal(rp, "]");
    }
}
