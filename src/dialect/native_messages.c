
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The messages of a reply, which are gathered and sent in parts.
 */


#include "hub/entry_json.h"
#include "dialect/native.h"


static void messages_hole(fanout_reply_t *rp, fanout_native_job_t *job);


ngx_int_t
fanout_native_messages_begin(fanout_hub_t *hub, fanout_native_job_t *job)
{
    if (job->messages == NULL) {
        job->messages = fanout_outbuf_create(hub, 4096);
    }

    return job->messages ? NGX_OK : NGX_ERROR;
}


ngx_int_t
fanout_native_messages_add(fanout_session_t *s, fanout_native_job_t *job,
    fanout_entry_t *e)
{
    fanout_hub_t     *hub;
    fanout_entry_t    hidden;
    fanout_outbuf_t  *f;

    hub = s->hub;

    if (job->base.sub && (!s->dialect->match(job->base.sub, e)
                     || (e->client && e->client == s->identity.client
                         && (job->base.sub->no_echo
                             || (e->flags & FANOUT_NOECHO)))))
    {
        return fanout_native_messages_begin(hub, job);
    }

    if (fanout_native_messages_begin(hub, job) != NGX_OK) {
        return NGX_ERROR;
    }

    f = job->messages;
    e = fanout_entry_told(e, job->unnamed, &hidden);

    if (f->used && fanout_outbuf_literal(hub, f, ",") != NGX_OK) {
        return NGX_ERROR;
    }

    if (fanout_outbuf_literal(hub, f, "{") != NGX_OK
        || fanout_entry_json(hub, e, f) != NGX_OK
        || fanout_outbuf_literal(hub, f, "}") != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
fanout_native_messages_full(fanout_session_t *s, fanout_native_job_t *job,
    ngx_uint_t more)
{
    if (job->messages == NULL || job->messages->used < FANOUT_PART || !more)
    {
        return NGX_OK;
    }

    return fanout_native_messages_part(s, job);
}


ngx_int_t
fanout_native_messages_part(fanout_session_t *s, fanout_native_job_t *job)
{
    fanout_reply_t          rp;
    fanout_native_batch_t  *b;

    b = fanout_native_part_open(&rp, s, job);
    fanout_native_literal(&rp, ",\"messages\":[");
    fanout_native_shared(&rp, job->messages->data, job->messages->used);
    fanout_native_literal(&rp, "]");
    messages_hole(&rp, job);
    fanout_native_literal(&rp, "}");
    fanout_native_part_end(&rp, b);

    job->messages->used = 0;
    job->sent = job->after;
    job->hole = 0;

    return NGX_OK;
}


void
fanout_native_messages_reply(fanout_reply_t *rp, fanout_native_job_t *job)
{
    fanout_native_literal(rp, ",\"messages\":[");

    if (job->messages) {
        fanout_native_shared(rp, job->messages->data, job->messages->used);
    }

    fanout_native_literal(rp, "]");
    messages_hole(rp, job);
}


/* Reports the hole between the part before and these messages. */

static void
messages_hole(fanout_reply_t *rp, fanout_native_job_t *job)
{
    if (job->hole) {
        fanout_native_printf(rp, ",\"gap\":{\"from\":%uL,\"to\":%uL}",
                             job->sent + 1, job->hole);
    }
}
