
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


#include "hub/record_json.h"
#include "hub/records.h"
#include "hub/roster.h"
#include "dialect/native.h"


static ngx_uint_t state_told(fanout_native_job_t *job);
static ngx_int_t state_read(fanout_session_t *s, fanout_native_job_t *job);
static ngx_int_t state_part(fanout_session_t *s, fanout_native_job_t *job);


ngx_int_t
fanout_native_records_part(fanout_session_t *s, fanout_native_job_t *job)
{
    if (!state_told(job) || job->recorded) {
        return NGX_OK;
    }

    if (state_read(s, job) != NGX_OK) {
        fanout_session_end(s, FANOUT_END_CUT);
        return NGX_ERROR;
    }

    if (job->recorded) {
        return NGX_OK;
    }

    if (s->transport->once) {
        /* the answer of a poll has no parts */
        return job->state->used <= s->conf->buffer ? NGX_AGAIN : NGX_DECLINED;
    }

    return job->state->used < FANOUT_PART ? NGX_AGAIN : state_part(s, job);
}


/* Who has missed nothing knows the records.  Whether that is so, is known when
 * the messages are read. */

static ngx_uint_t
state_told(fanout_native_job_t *job)
{
    return job->records && !job->recovered;
}


static ngx_int_t
state_read(fanout_session_t *s, fanout_native_job_t *job)
{
    fanout_zstr_t      all;
    fanout_records_t  *to;

    if (job->state == NULL) {
        job->state = fanout_outbuf_create(s->hub, 1024);

        if (job->state == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_memzero(&all, sizeof(fanout_zstr_t));

    fanout_records_list(s->hub, &job->channel, &all, &job->cursor,
                        FANOUT_ZONE_ENTRIES, &to);
    job->recorded = (job->cursor == 0);

    if (to->n && job->state->used
        && fanout_outbuf_literal(s->hub, job->state, ",") != NGX_OK)
    {
        return NGX_ERROR;
    }

    return fanout_records_json(s->hub, to, 0, job->state);
}


static ngx_int_t
state_part(fanout_session_t *s, fanout_native_job_t *job)
{
    fanout_reply_t          rp;
    fanout_native_batch_t  *b;

    b = fanout_native_part_open(&rp, s, job);
    fanout_native_literal(&rp, ",\"records\":{");
    fanout_native_shared(&rp, job->state->data, job->state->used);
    fanout_native_literal(&rp, "}}");
    fanout_native_part_end(&rp, b);

    job->state->used = 0;

    return s->state == FANOUT_OPEN ? NGX_AGAIN : NGX_ERROR;
}


void
fanout_native_records_reply(fanout_reply_t *rp, fanout_native_job_t *job)
{
    if (state_told(job)) {
        fanout_native_literal(rp, ",\"records\":{");
        fanout_native_text(rp, job->state->data, job->state->used);
        fanout_native_literal(rp, "}");
    }
}
