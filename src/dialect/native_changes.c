
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The changes of a record in the reply of "history".
 */


#include "dialect/native.h"
#include "hub/records.h"


ngx_int_t
fanout_native_changes_part(fanout_session_t *s, fanout_native_job_t *job)
{
    int              rc;
    ngx_uint_t       i, look;
    fanout_arena_t  *a;

    a = &s->hub->pages;
    look = job->look;

    rc = fanout_records_history(s->hub, &job->channel, &job->record,
                                job->epoch, &job->next, job->left,
                                &job->look);

    fanout_meter_charge(s, (look - job->look) * FANOUT_COST
                           / FANOUT_COST_LOOKS);

    if (rc == FANOUT_ZONE_FULL) {
        /* no memory for a change: the client reconnects and asks again */
        fanout_session_end(s, FANOUT_END_CUT);
        return NGX_ERROR;
    }

    for (i = 0; i < a->n; i++) {
        if (fanout_native_messages_add(s, job, &a->entries[i]) != NGX_OK) {
            fanout_session_end(s, FANOUT_END_CUT);
            return NGX_ERROR;
        }

        if (fanout_native_messages_full(s, job, i + 1 < a->n
                                           || rc == FANOUT_ZONE_AGAIN)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    job->left -= a->n;

    if (rc != FANOUT_ZONE_AGAIN) {
        /* also if it was purged while it was being told */
        job->changes = 0;
        job->next = 0;

    } else if (job->left == 0 || job->look == 0) {
        job->changes = 0;
    }

    return job->changes ? NGX_AGAIN : NGX_OK;
}
