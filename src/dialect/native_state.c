
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The records in the reply of a join.
 *
 * They are read in sections, while changes go on: the subscriber is registered
 * before the first, and gets the entries after it.  An entry with a version
 * that is not above that of the record changes nothing, so what was read later
 * than the offset of the reply does no harm.
 */


#include "hub/record_page.h"
#include "dialect/native.h"
#include "session/format.h"


static ngx_uint_t state_told(fanout_native_job_t *job);
static ngx_int_t state_gather(fanout_session_t *s, fanout_native_job_t *job,
    fanout_outbuf_t *page);
static ngx_int_t state_part(fanout_session_t *s, fanout_native_job_t *job,
    fanout_outbuf_t *page);


ngx_int_t
fanout_native_records_part(fanout_session_t *s, fanout_native_job_t *job)
{
    ngx_int_t         rc;
    fanout_outbuf_t  *page;

    if (!state_told(job) || job->recorded) {
        return NGX_OK;
    }

    if (fanout_record_page(s->hub, &job->channel, &job->cursor, &page)
        != NGX_OK)
    {
        fanout_session_end(s, FANOUT_END_CUT);
        return NGX_ERROR;
    }

    job->recorded = (job->cursor == 0);

    if (job->recorded && job->state == NULL) {
        job->state = page;
        return NGX_OK;
    }

    rc = s->transport->once ? state_gather(s, job, page)
                            : state_part(s, job, page);

    fanout_outbuf_release(s->hub, page);

    return rc;
}


/* Who has missed nothing knows the records.  Whether that is so, is known when
 * the messages are read. */

static ngx_uint_t
state_told(fanout_native_job_t *job)
{
    return job->records && !job->recovered;
}


/* The answer of a poll has no parts. */

static ngx_int_t
state_gather(fanout_session_t *s, fanout_native_job_t *job,
    fanout_outbuf_t *page)
{
    if (job->state == NULL) {
        job->state = fanout_outbuf_create(s->hub, 2 * page->used + 1);
    }

    if (job->state == NULL
        || (page->used && job->state->used
            && fanout_outbuf_literal(s->hub, job->state, ",") != NGX_OK)
        || fanout_outbuf_append(s->hub, job->state, page->data, page->used)
           != NGX_OK)
    {
        fanout_session_end(s, FANOUT_END_CUT);
        return NGX_ERROR;
    }

    if (job->recorded) {
        return NGX_OK;
    }

    return job->state->used <= s->conf->buffer ? NGX_AGAIN : NGX_DECLINED;
}


/* The last records are in the reply, if it has none yet. */

static ngx_int_t
state_part(fanout_session_t *s, fanout_native_job_t *job,
    fanout_outbuf_t *page)
{
    uint32_t                split;
    fanout_reply_t          rp;
    fanout_native_batch_t  *b;

    if (page->used == 0) {
        return NGX_AGAIN;
    }

    b = fanout_native_part_open(&rp, s, job);
    fanout_native_literal(&rp, ",\"records\":{");

    if (rp.f && s->transport->two_way && !fanout_deflate_of(s->format)
        && page->used > FANOUT_COPIED)
    {
        split = rp.f->used;
        fanout_native_literal(&rp, "}}");
        fanout_native_end_around(&rp, page, 0, page->used, split);
        fanout_native_part(s)->batch = b;

    } else {
        fanout_native_shared(&rp, page->data, page->used);
        fanout_native_literal(&rp, "}}");
        fanout_native_part_end(&rp, b);
    }

    return s->state == FANOUT_OPEN ? NGX_AGAIN : NGX_ERROR;
}


void
fanout_native_records_reply(fanout_reply_t *rp, fanout_native_job_t *job)
{
    if (state_told(job)) {
        fanout_native_literal(rp, ",\"records\":{");

        if (job->state) {
            fanout_native_text(rp, job->state->data, job->state->used);
        }

        fanout_native_literal(rp, "}");
    }
}
