
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The command "join" of the native protocol.
 */


#include "hub/roster.h"
#include "session/join.h"
#include "session/members.h"
#include "session/forbid.h"
#include "dialect/native.h"
#include "hub/locks.h"


#define FANOUT_JOIN_EVERY  10000            /* ms, most of "every" */


static fanout_error_e native_join(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e join_check(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e join_would(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t op);
static fanout_error_e join_enter(fanout_session_t *s,
    fanout_native_job_t *job, fanout_join_cmd_t *c);
static fanout_error_e join_put(fanout_subscription_t *sub,
    fanout_join_cmd_t *c);
static void join_place(fanout_native_job_t *job, const fanout_zone_join_t *j);
static fanout_error_e join_want(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);
static ngx_uint_t join_want_named(fanout_json_t *name);
static fanout_error_e join_every(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);
static fanout_error_e join_events(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);
static fanout_error_e join_filter(fanout_subscription_t *sub,
    fanout_join_cmd_t *c);


static const fanout_native_limit_t  history_max = {
    .name = "history",
    .directive = "fanout_history",
    .conf = offsetof(fanout_loc_conf_t, history)
};

static const fanout_native_member_t  join_members[] = {
    FANOUT_NATIVE_CHANNEL,

    { fanout_native_field("history", fanout_native_read_count,
                          fanout_command_t, u.join.history),
      .limit = &history_max,
      .absent = -1 },

    { fanout_native_field("since", fanout_native_read_position,
                          fanout_command_t, u.join.since) },

    { fanout_native_field("echo", fanout_native_read_flag,
                          fanout_command_t, u.join.echo),
      .absent = 1 },

    { fanout_native_field("every", join_every,
                          fanout_command_t, u.join.every) },

    { fanout_native_field("events", join_events,
                          fanout_command_t, u.join) },

    { fanout_native_field("want", join_want,
                          fanout_command_t, u.join.want),
      .absent = -1 },

    { fanout_native_field("key", fanout_native_read_label,
                          fanout_command_t, u.join.key) },

    { fanout_native_field("anonymous", fanout_native_read_flag,
                          fanout_command_t, u.join.anonymous) },

    { fanout_native_field("presence", fanout_native_read_presence,
                          fanout_command_t, u.join.presence) },

    { fanout_native_field("token", fanout_native_read_raw,
                          fanout_command_t, u.join.token) }
};

const fanout_native_op_t  fanout_native_op_join = {
    .name = ngx_string("join"),
    .run = native_join,
    .prepare = fanout_native_ticket,
    .members = join_members,
    .n = fanout_nelts(join_members),
    .size = offsetof(fanout_join_cmd_t, events),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_JOIN,
    .needs = FANOUT_NATIVE_STAYS|FANOUT_NATIVE_WRITES
};


static const struct {
    ngx_str_t   name;
    ngx_uint_t  bit;
} wants[] = {
    { ngx_string("messages"), FANOUT_WANT_MESSAGES },
    { ngx_string("signals"), FANOUT_WANT_SIGNALS },
    { ngx_string("presence"), FANOUT_WANT_PRESENCE },
    { ngx_string("records"), FANOUT_WANT_RECORDS },
    { ngx_string("locks"), FANOUT_WANT_LOCKS },
    { ngx_null_string, 0 }
};


static fanout_error_e
native_join(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_uint_t              history;
    fanout_error_e          rc;
    fanout_join_cmd_t      *c;
    fanout_zone_join_t      j;
    fanout_native_job_t    *job;
    fanout_subscription_t  *sub, *before;

    c = &cmd->u.join;
    history = ngx_max(c->history, 0);

    rc = join_check(s, cmd);

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    job = fanout_native_job(s, cmd);

    if (job == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    before = fanout_session_sub(s, &job->channel);

    rc = fanout_session_join(s, &job->channel, c->since.set, c->since.epoch,
                             c->since.offset, history, &sub, &j);

    if (rc != FANOUT_E_NONE) {
        ngx_free(job);
        return rc == FANOUT_E_TOO_MANY
               ? fanout_native_fail_limit(cmd, rc, "channels",
                                          s->conf->channels,
                                          "fanout_channels_per_session")
               : fanout_native_fail_member(s, cmd, rc);
    }

    job->base.sub = sub;
    job->since = c->since.set;
    job->since_epoch = c->since.epoch;
    job->since_offset = c->since.offset;
    job->history = history;
    job->again = (before != NULL);

    join_place(job, &j);

    rc = join_enter(s, job, c);

    if (rc != FANOUT_E_NONE) {
        ngx_free(job);

        if (before == NULL) {
            fanout_session_leave(sub, FANOUT_LEFT_INTENTIONAL);
        }

        return fanout_native_fail_member(s, cmd, rc);
    }

    sub->state = FANOUT_SUB_JOINING;
    fanout_session_granted(sub);
    fanout_native_ticket_end(s);

    fanout_native_run(s, job);

    return FANOUT_E_NONE;
}


/* Checks the permissions that the options of a join need. */

static fanout_error_e
join_check(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e      rc;
    fanout_join_cmd_t  *c;

    c = &cmd->u.join;
    rc = FANOUT_E_NONE;

    if (c->history > 0 && !c->since.set) {
        rc = fanout_native_may(s, cmd, FANOUT_MAY_HISTORY);
    }

    if (rc == FANOUT_E_NONE && c->want > 0
        && (c->want & FANOUT_WANT_RECORDS))
    {
        rc = fanout_native_recorded(s, cmd);
    }

    if (rc == FANOUT_E_NONE && c->want > 0 && (c->want & FANOUT_WANT_LOCKS)) {
        rc = fanout_native_lockable(s, cmd);
    }

    if (rc == FANOUT_E_NONE) {
        rc = fanout_native_join_presence(s, cmd);
    }

    if (rc == FANOUT_E_NONE && fanout_native_enters(c)) {
        rc = fanout_native_presence_data(s, cmd,
                                         fanout_session_sub(s, &cmd->channel),
                                         &c->presence.data);
    }

    if (rc == FANOUT_E_NONE
        && join_would(s, cmd, FANOUT_MAY_PROFILE) == FANOUT_E_PARKED)
    {
        /* without it, nobody has a name */
        return FANOUT_E_PARKED;
    }

    if (rc == FANOUT_E_NONE
        && (c->since.set || c->history > 0
            || (c->want & FANOUT_WANT_RECORDS
                && fanout_records_served(s->hub, &cmd->channel))
            || (c->want & FANOUT_WANT_LOCKS
                && fanout_locks_served(s->hub, &cmd->channel))
            || fanout_native_lists(s, &cmd->channel)))
    {
        rc = fanout_native_answers(s, cmd);
    }

    return rc;
}


fanout_error_e
fanout_native_join_presence(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_uint_t          named;
    fanout_error_e      rc;
    fanout_join_cmd_t  *c;

    c = &cmd->u.join;

    /* by default less than all is fine */

    named = fanout_native_enters(c)
            || (c->want > 0 && (c->want & FANOUT_WANT_PRESENCE));

    if (named) {
        rc = fanout_native_may(s, cmd, FANOUT_MAY_PRESENCE);

    } else {
        rc = join_would(s, cmd, FANOUT_MAY_PRESENCE);
    }

    if (rc == FANOUT_E_PARKED || (named && rc != FANOUT_E_NONE)) {
        return rc;
    }

    if (rc != FANOUT_E_NONE) {
        c->want &= ~FANOUT_WANT_PRESENCE;
    }

    c->want &= FANOUT_WANT_ALL;

    return named ? fanout_native_served(s, cmd) : FANOUT_E_NONE;
}


/* Whether the join may also do this.  If not, it is no error, and the client is
 * not told. */

static fanout_error_e
join_would(fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t op)
{
    fanout_error_e  rc;

    rc = fanout_native_wants(s, cmd, op);

    cmd->text.len = 0;
    cmd->data.len = 0;

    return rc;
}


/* What the job reads; mail only if all that was missed is recovered. */

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


/* The subscription gets its options and its seat, and its member is put; then
 * the job is to wait, if there is anything to wait for. */

static fanout_error_e
join_enter(fanout_session_t *s, fanout_native_job_t *job, fanout_join_cmd_t *c)
{
    fanout_error_e          rc;
    fanout_channel_t       *ch;
    fanout_subscription_t  *sub;

    sub = job->base.sub;
    ch = sub->channel;

    fanout_session_seat_again(sub);

    if ((rc = fanout_native_join_options(sub, c))
        || (rc = fanout_session_seat(sub)))
    {
        return rc;
    }

    sub->anonymous = c->anonymous;
    s->anonymous |= sub->anonymous;

    if (fanout_native_enters(c)) {
        rc = join_put(sub, c);
    }

    job->records = (sub->want & FANOUT_WANT_RECORDS) != 0;
    job->locks = (sub->want & FANOUT_WANT_LOCKS) != 0;

    if (rc != FANOUT_E_NONE || !(sub->want & FANOUT_WANT_PRESENCE)) {
        return rc;
    }

    job->who = 1;

    if (ch->roster == NULL) {
        ch->roster = fanout_roster_create(s->hub, ch);

        if (ch->roster == NULL) {
            return FANOUT_E_INTERNAL;
        }
    }

    job->base.waits = 1;
    job->deadline = ngx_current_msec + ch->policy->keep.batch
                    + FANOUT_NATIVE_WAIT;
    sub->offset = job->offset;

    return FANOUT_E_NONE;
}


static fanout_error_e
join_put(fanout_subscription_t *sub, fanout_join_cmd_t *c)
{
    fanout_put_t     put;
    fanout_error_e   rc;
    fanout_member_t  m;

    ngx_memzero(&m, sizeof(fanout_member_t));

    m.client = sub->session->identity.client;
    m.key = c->key;
    m.data = c->presence.data;
    m.anonymous = c->anonymous;

    rc = fanout_session_member_put(sub, &m, FANOUT_PUT_ENTER|FANOUT_PUT_DATA,
                                   0, &put);

    if (rc == FANOUT_E_NONE) {
        fanout_session_alive(sub->session);
    }

    return rc;
}


fanout_error_e
fanout_native_join_options(fanout_subscription_t *sub, fanout_join_cmd_t *c)
{
    fanout_error_e  rc;

    rc = join_filter(sub, c);

    if (rc == FANOUT_E_NONE) {
        sub->no_echo = !c->echo;
        sub->every = c->every;

        if (fanout_session_want(sub, c->want) != NGX_OK) {
            rc = FANOUT_E_INTERNAL;
        }
    }

    return rc;
}


/* Replaces the filter of events. */

static fanout_error_e
join_filter(fanout_subscription_t *sub, fanout_join_cmd_t *c)
{
    u_char           *p;
    ngx_uint_t        i;
    fanout_events_t  *events;

    events = NULL;

    if (c->filters) {
        events = ngx_alloc(sizeof(fanout_events_t)
                           + c->nevents * (sizeof(ngx_str_t) + FANOUT_KEY),
                           ngx_cycle->log);
        if (events == NULL) {
            return FANOUT_E_INTERNAL;
        }

        events->n = c->nevents;
        p = (u_char *) &events->names[c->nevents];

        for (i = 0; i < c->nevents; i++) {
            events->names[i].data = p;
            events->names[i].len = c->events[i].len;
            p = ngx_cpymem(p, c->events[i].data, c->events[i].len);
        }
    }

    if (sub->events) {
        ngx_free(sub->events);
    }

    sub->events = events;

    return FANOUT_E_NONE;
}


/* members */

static fanout_error_e
join_want(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    ngx_int_t          *want;
    ngx_uint_t          bit;
    fanout_json_t       item;
    fanout_json_iter_t  it;

    if (fanout_json_type(value) != FANOUT_JSON_ARRAY
        || fanout_json_iter(&it, value) != FANOUT_JSON_OK)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"want\" is an array of strings");
    }

    want = fanout_native_dst(base, m);
    bit = 1;

    while (bit && fanout_json_next(&it, NULL, &item) == 1) {
        bit = join_want_named(&item);
        *want |= bit;
    }

    return bit ? FANOUT_E_NONE
               : fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                     "\"want\" is of \"messages\", \"signals\", "
                     "\"presence\", \"records\" and \"locks\"");
}


static ngx_uint_t
join_want_named(fanout_json_t *name)
{
    u_char         buf[32];
    ngx_uint_t     i;
    fanout_json_t  text;

    (void) fanout_json_text(name, buf, sizeof(buf), &text);

    for (i = 0; wants[i].bit; i++) {
        if (wants[i].name.len == text.len
            && ngx_memcmp(wants[i].name.data, text.data, text.len) == 0)
        {
            break;
        }
    }

    return wants[i].bit;
}


/* ms between signals */

static fanout_error_e
join_every(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    int64_t  n;

    if (fanout_json_int(value, &n) != FANOUT_JSON_OK
        || n < 0 || n > FANOUT_JOIN_EVERY)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"every\" is a number of ms from 0 to 10000");
    }

    *(ngx_uint_t *) fanout_native_dst(base, m) = n;

    return FANOUT_E_NONE;
}


/* errors name the whole member */

static fanout_error_e
join_events(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    size_t              i, n;
    fanout_json_t       items[FANOUT_NATIVE_EVENTS];
    fanout_error_e      rc;
    fanout_join_cmd_t  *c;

    static const fanout_native_member_t  name = {
        .field = { .name = "events" },
        .read = fanout_native_read_label
    };

    if (fanout_json_array(value, items, FANOUT_NATIVE_EVENTS, &n)
        != FANOUT_JSON_OK)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"events\" is an array of at most 64 names");
    }

    c = fanout_native_dst(base, m);
    c->filters = 1;
    c->nevents = n;
    rc = FANOUT_E_NONE;

    for (i = 0; i < n && rc == FANOUT_E_NONE; i++) {
        rc = fanout_native_read_label(s, cmd, &name, &items[i],
                                      &c->events[i]);
    }

    return rc;
}
