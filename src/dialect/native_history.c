
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The commands "join" and "history" of the native protocol.
 */


#include "hub/entry_json.h"
#include "session/join.h"
#include "dialect/native.h"


static void join_refuse(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc);
static void join_place(fanout_native_job_t *job, const fanout_zone_join_t *j);
static fanout_events_t *join_events(fanout_session_t *s,
    fanout_command_t *cmd);


/* join */

void
fanout_native_join(fanout_session_t *s, fanout_command_t *cmd)
{
    uint64_t                epoch, offset;
    ngx_uint_t              history, since;
    fanout_error_e          rc;
    fanout_presence_t       presence;
    fanout_zone_join_t      j;
    fanout_native_job_t    *job;
    fanout_subscription_t  *sub, *before;

    epoch = 0;
    offset = 0;
    history = 0;
    since = cmd->since.len != 0;

    if (!fanout_native_stays(s, cmd)
        || !fanout_native_channel(s, cmd, FANOUT_MAY_JOIN)
        || !fanout_native_writes(s, cmd)
        || !fanout_native_count(s, cmd, &cmd->history, "history",
                                s->conf->history, &history)
        || (since
            && !fanout_native_position(s, cmd, &cmd->since, "since", &epoch,
                                       &offset))) {
        return;
    }

    if (history && !since
        && !fanout_native_channel(s, cmd, FANOUT_MAY_HISTORY))
    {
        return;
    }

    if (!fanout_native_join_options(s, cmd, NULL)
        || !fanout_native_presence_options(s, cmd, &presence))
    {
        return;
    }

    if ((since || history || fanout_native_lists(s, &cmd->name))
        && !fanout_native_answers(s, cmd))
    {
        return;
    }

    job = fanout_native_job(s, cmd);

    if (job == NULL) {
        fanout_native_refuse(s, cmd, FANOUT_E_INTERNAL,
                             "out of memory");
        return;
    }

    before = fanout_session_sub(s, &job->channel);

    rc = fanout_session_join(s, &job->channel, since, epoch, offset, history,
                             &sub, &j);

    if (rc != FANOUT_E_NONE) {
        ngx_free(job);

        join_refuse(s, cmd, rc);
        return;
    }

    (void) fanout_native_join_options(s, cmd, sub);

    job->base.sub = sub;
    job->since = since;
    job->since_epoch = epoch;
    job->since_offset = offset;
    job->history = history;
    job->again = (before != NULL);

    join_place(job, &j);

    rc = fanout_native_enter(s, job, &presence);

    if (rc != FANOUT_E_NONE) {
        ngx_free(job);

        if (before == NULL) {
            fanout_session_leave(sub, FANOUT_LEFT_INTENTIONAL);
        }

        fanout_native_refuse_member(s, cmd, rc);
        return;
    }

    sub->state = FANOUT_SUB_JOINING;

    fanout_native_run(s, job);
}


static void
join_refuse(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc)
{
    if (rc == FANOUT_E_TOO_MANY) {
        fanout_native_refuse_limit(s, cmd, rc, "channels", s->conf->channels,
                                   "fanout_channels_per_session");
        return;
    }

    if (rc == FANOUT_E_ADDRESS_FULL) {
        fanout_native_refuse_member(s, cmd, rc);
        return;
    }

    fanout_native_refuse(s, cmd, rc, "%V", &fanout_errors[rc].text);
}


/* what is to be read for it: mail only for who comes back to all of it */

static void
join_place(fanout_native_job_t *job, const fanout_zone_join_t *j)
{
    job->epoch = j->epoch;
    job->offset = j->offset;
    job->after = j->after;
    job->upto = j->offset;
    job->missed = j->missed;
    job->left = j->missed;
    job->recovered = j->recovered;
    job->mail = job->since && j->recovered;
}


/* checks the options, or sets them on a subscription */

ngx_uint_t
fanout_native_join_options(fanout_session_t *s, fanout_command_t *cmd,
    fanout_subscription_t *sub)
{
    int               echo;
    ngx_uint_t        every;
    fanout_events_t  *events;

    echo = 1;
    every = 0;

    if (!fanout_native_flag(s, cmd, &cmd->echo, "echo", &echo)
        || !fanout_native_every(s, cmd, &every))
    {
        return 0;
    }

    events = NULL;

    if (cmd->events.len) {
        events = join_events(s, cmd);

        if (events == NULL) {
            return 0;
        }

        if (sub == NULL) {
            ngx_free(events);
        }
    }

    if (sub) {
        if (sub->events) {
            ngx_free(sub->events);
        }

        sub->events = events;
        sub->no_echo = !echo;
        sub->every = every;
    }

    return 1;
}


static fanout_events_t *
join_events(fanout_session_t *s, fanout_command_t *cmd)
{
    size_t            i, n;
    u_char           *p;
    fanout_json_t                     items[64];
    fanout_zstr_t     label;
    fanout_events_t  *events;

    if (fanout_json_array(&cmd->events, items, fanout_nelts(items),
                          &n)
        != FANOUT_JSON_OK) {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"events\" is an array of at most 64 names");
        return NULL;
    }

    events = ngx_alloc(sizeof(fanout_events_t)
                       + n * (sizeof(ngx_str_t) + FANOUT_KEY),
                       ngx_cycle->log);
    if (events == NULL) {
        fanout_native_refuse(s, cmd, FANOUT_E_INTERNAL,
                             "out of memory");
        return NULL;
    }

    events->n = n;
    p = (u_char *) &events->names[n];

    for (i = 0; i < n; i++) {
        if (!fanout_native_label(s, cmd, &items[i], "events", p, &label)) {
            ngx_free(events);
            return NULL;
        }

        ngx_memmove(p, label.data, label.len);
        events->names[i].data = p;
        events->names[i].len = label.len;
        p += label.len;
    }

    return events;
}


/* history: after since, or the newest before an offset */

void
fanout_native_history(fanout_session_t *s, fanout_command_t *cmd)
{
    uint64_t                epoch, offset;
    ngx_uint_t              limit, before;
    fanout_zone_join_t      j;
    fanout_native_job_t    *job;
    fanout_zone_channel_t   zc;

    epoch = 0;
    offset = 0;
    before = 0;
    limit = ngx_min(100, s->conf->history);

    if (!fanout_native_channel(s, cmd, FANOUT_MAY_HISTORY)
        || !fanout_native_count(s, cmd, &cmd->limit, "limit", s->conf->history,
                                &limit)
        || !fanout_native_count(s, cmd, &cmd->before, "before",
                                NGX_MAX_INT_T_VALUE, &before)
        || (cmd->since.len
            && !fanout_native_position(s, cmd, &cmd->since, "since", &epoch,
                                       &offset))
        || !fanout_native_answers(s, cmd))
    {
        return;
    }

    job = fanout_native_job(s, cmd);

    if (job == NULL) {
        fanout_native_refuse(s, cmd, FANOUT_E_INTERNAL,
                             "out of memory");
        return;
    }

    fanout_hub_view(s->hub, &job->channel, &zc);

    /* without a channel nobody has said anything yet */

    (void) fanout_log_seek(&s->hub->zone, &zc, before,
                           cmd->since.len ? 0 : limit, &j);

    job->epoch = j.epoch;
    job->offset = j.offset;
    job->after = j.after;
    job->upto = before ? before - 1 : j.offset;
    job->upto = ngx_min(job->upto, j.offset);
    job->left = limit;
    job->newest = 1;
    job->older = j.older;

    if (cmd->since.len) {
        job->since = 1;
        job->recovered = epoch
                         && fanout_log_holds(&s->hub->zone, &zc, epoch,
                                             offset);
        job->after = job->recovered ? offset : job->upto;
        job->newest = 0;
    }

    fanout_native_run(s, job);
}
