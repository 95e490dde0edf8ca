
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Jobs: replies that are sent in several turns.
 */


#include "session/session.h"
#include "session/dialect.h"
#include "hub/roster.h"
#include "session/transport.h"


ngx_int_t
fanout_session_job_step(fanout_session_t *s)
{
    if (fanout_session_denied(s) || s->job->ops->step(s) == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (s->job == NULL && s->dialect->job_done) {
        s->dialect->job_done(s);
    }

    return s->job ? NGX_AGAIN : NGX_OK;
}


void
fanout_session_job_done(fanout_session_t *s)
{
    fanout_job_t  *job;

    job = s->job;

    if (job == NULL) {
        return;
    }

    fanout_waiter_cancel(&s->job->waiter);

    if (job->snapshot) {
        fanout_snapshot_release(s->hub, job->snapshot);
    }

    s->job = NULL;
    job->ops->free(job);
}
