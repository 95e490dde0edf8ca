
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The command "history" of the native protocol.
 */


#include "dialect/native.h"
#include "hub/records.h"


static fanout_error_e native_history(fanout_session_t *s,
    fanout_command_t *cmd);
static fanout_error_e history_record(fanout_session_t *s,
    fanout_command_t *cmd, ngx_uint_t limit);


static const fanout_native_limit_t  limit_max = {
    .name = "limit",
    .directive = "fanout_history",
    .conf = offsetof(fanout_loc_conf_t, history)
};

static const fanout_native_member_t  history_members[] = {
    FANOUT_NATIVE_CHANNEL,

    { fanout_native_field("limit", fanout_native_read_count,
                          fanout_command_t, u.history.limit),
      .limit = &limit_max,
      .absent = -1 },

    { fanout_native_field("before", fanout_native_read_count,
                          fanout_command_t, u.history.before) },

    { fanout_native_field("since", fanout_native_read_position,
                          fanout_command_t, u.history.since) },

    { fanout_native_field("record", fanout_native_read_label,
                          fanout_command_t, u.history.record) }
};

const fanout_native_op_t  fanout_native_op_history = {
    .name = ngx_string("history"),
    .run = native_history,
    .members = history_members,
    .n = fanout_nelts(history_members),
    .size = sizeof(fanout_history_cmd_t),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_HISTORY,
    .needs = FANOUT_NATIVE_ANSWERS
};


/* After since, or the newest before an offset. */

static fanout_error_e
native_history(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_uint_t              limit;
    fanout_zone_join_t      j;
    fanout_native_job_t    *job;
    fanout_history_cmd_t   *c;
    fanout_zone_channel_t   zc;

    c = &cmd->u.history;
    limit = c->limit < 0 ? ngx_min(100, s->conf->history)
                         : (ngx_uint_t) c->limit;

    if (c->record.len) {
        return history_record(s, cmd, limit);
    }

    job = fanout_native_job(s, cmd);

    if (job == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    fanout_hub_view(s->hub, &job->channel, &zc);

    /* without a channel nobody has said anything yet */

    (void) fanout_log_seek(&s->hub->zone, &zc, c->before,
                           c->since.set ? 0 : limit, &j);

    job->epoch = j.epoch;
    job->offset = j.offset;
    job->after = j.after;
    job->upto = c->before ? c->before - 1 : j.offset;
    job->upto = ngx_min(job->upto, j.offset);
    job->left = limit;
    job->newest = 1;
    job->older = j.older;

    if (c->since.set) {
        job->since = 1;
        job->recovered = c->since.epoch
                         && fanout_log_holds(&s->hub->zone, &zc,
                                             c->since.epoch,
                                             c->since.offset);
        job->after = job->recovered ? c->since.offset : job->upto;
        job->newest = 0;
    }

    fanout_native_run(s, job);

    return FANOUT_E_NONE;
}


/* The changes of a record, newest first. */

static fanout_error_e
history_record(fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t limit)
{
    u_char                 *id;
    fanout_error_e          rc;
    fanout_zone_join_t      j;
    fanout_native_job_t    *job;
    fanout_history_cmd_t   *c;
    fanout_zone_channel_t   zc;

    c = &cmd->u.history;

    if ((rc = fanout_native_recorded(s, cmd))) {
        return rc;
    }

    if (c->since.set) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"record\" excludes \"since\"");
    }

    job = fanout_native_job(s, cmd);
    id = ngx_alloc(c->record.len, ngx_cycle->log);

    if (job == NULL || id == NULL) {
        ngx_free(id);
        ngx_free(job);
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    ngx_memcpy(id, c->record.data, c->record.len);
    job->record.data = id;
    job->record.len = c->record.len;

    fanout_hub_view(s->hub, &job->channel, &zc);
    (void) fanout_log_seek(&s->hub->zone, &zc, 0, 0, &j);

    job->epoch = j.epoch;
    job->offset = j.offset;
    job->left = limit;
    job->look = FANOUT_RECORDS_LOOK;

    if (limit) {
        job->changes = 1;
        job->next = c->before;
    }

    fanout_native_run(s, job);

    return FANOUT_E_NONE;
}
