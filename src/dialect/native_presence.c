
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence in the native protocol: what a join says of it, the commands
 * "presence" and "members".
 */


#include "dialect/native.h"
#include "session/members.h"
#include "hub/roster.h"
#include "session/transport.h"


#define FANOUT_JOIN_WAIT   2000             /* ms, beyond the batch time */
#define FANOUT_TRIES       64               /* to merge; each time another one
                                               of the client has succeeded */


static ngx_uint_t want_options(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t *want);
static fanout_policy_t *policy_of(fanout_session_t *s, ngx_str_t *channel);
static ngx_uint_t presence_served(fanout_session_t *s, fanout_command_t *cmd);
static ngx_uint_t presence_data(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, fanout_zstr_t *data);
static ngx_uint_t presence_put(fanout_session_t *s, fanout_command_t *cmd,
    fanout_subscription_t *sub, fanout_member_t *m, ngx_uint_t what);
static void presence_leave(fanout_session_t *s, fanout_command_t *cmd,
    fanout_subscription_t *sub, fanout_zstr_t *key);
static ngx_uint_t presence_state(fanout_session_t *s, fanout_command_t *cmd,
    fanout_member_t *m, ngx_uint_t *what);
static void done(fanout_session_t *s, fanout_command_t *cmd);


static const struct {
    ngx_str_t   name;
    ngx_uint_t  bit;
} wants[] = {
    { ngx_string("messages"), FANOUT_WANT_MESSAGES },
    { ngx_string("signals"), FANOUT_WANT_SIGNALS },
    { ngx_string("presence"), FANOUT_WANT_PRESENCE },
    { ngx_null_string, 0 }
};


/* in a join */

ngx_uint_t
fanout_native_presence_options(fanout_session_t *s, fanout_command_t *cmd,
    fanout_presence_t *p)
{
    ngx_uint_t  may;

    p->want = FANOUT_WANT_ALL;
    p->anonymous = 0;
    p->member = 0;
    p->key.data = p->buf;
    p->data.data = p->buf;
    p->data.len = 0;

    may = fanout_access_check(s->access, FANOUT_MAY_PRESENCE, &cmd->name);

    if (!want_options(s, cmd, &p->want)
        || !fanout_native_label(s, cmd, &cmd->key, "key", p->buf, &p->key)
        || !fanout_native_flag(s, cmd, &cmd->anonymous, "anonymous",
                               &p->anonymous))
    {
        return 0;
    }

    p->member = cmd->presence.len
                && fanout_json_type(&cmd->presence)
                   != FANOUT_JSON_NULL;

    if (!may
        && (p->member
            || (cmd->want.len && (p->want & FANOUT_WANT_PRESENCE))))
    {
        return fanout_native_channel(s, cmd, FANOUT_MAY_PRESENCE);
    }

    if (!may) {
        p->want &= ~FANOUT_WANT_PRESENCE;
    }

    return !p->member
           || (presence_served(s, cmd)
               && presence_data(s, cmd, &cmd->presence, &p->data));
}


static ngx_uint_t
want_options(fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t *want)
{
    u_char              buf[32];
    ngx_uint_t          i;
    fanout_json_t       item, text;
    fanout_json_iter_t  it;

    if (cmd->want.len == 0) {
        return 1;
    }

    *want = 0;

    if (fanout_json_type(&cmd->want) != FANOUT_JSON_ARRAY
        || fanout_json_iter(&it, &cmd->want)
           != FANOUT_JSON_OK)
    {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"want\" is an array of strings");
        return 0;
    }

    while (fanout_json_next(&it, NULL, &item) == 1) {

        i = sizeof(wants) / sizeof(wants[0]) - 1;

        if (fanout_json_text(&item, buf, sizeof(buf), &text)
            == FANOUT_JSON_OK)
        {
            for (i = 0; wants[i].bit; i++) {
                if (wants[i].name.len == text.len
                    && ngx_memcmp(wants[i].name.data, text.data, text.len)
                       == 0)
                {
                    break;
                }
            }
        }

        if (wants[i].bit == 0) {
            fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
                   "\"want\" is of \"messages\", \"signals\" and "
                   "\"presence\"");
            return 0;
        }

        *want |= wants[i].bit;
    }

    return 1;
}


static fanout_policy_t *
policy_of(fanout_session_t *s, ngx_str_t *channel)
{
    fanout_channel_t  *ch;

    ch = fanout_hub_find(s->hub, channel);

    return ch ? ch->policy : fanout_policy(s->hub->app, channel);
}


ngx_uint_t
fanout_native_lists(fanout_session_t *s, ngx_str_t *channel)
{
    return policy_of(s, channel)->keep.presence == FANOUT_PRESENCE_ON;
}


static ngx_uint_t
presence_served(fanout_session_t *s, fanout_command_t *cmd)
{
    if (policy_of(s, &cmd->name)->keep.presence
        != FANOUT_PRESENCE_OFF)
    {
        return 1;
    }

    fanout_count(s->hub, forbidden);
    fanout_eventlog_forbidden(s, "presence", &cmd->name,
                              "fanout_channel presence=off");
    fanout_native_refuse(s, cmd, FANOUT_E_FORBIDDEN,
           "this channel has no presence: \"fanout_channel presence=on\"");

    return 0;
}


/* {} is no data; the value is minified where it lies */

static ngx_uint_t
presence_data(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, fanout_zstr_t *data)
{
    data->data = value->data;
    data->len = fanout_json_minify((u_char *) value->data, value->data,
                                   value->len);

    if (data->len == 2 && data->data[0] == '{') {
        data->len = 0;
    }

    if (data->len > s->conf->presence_size) {
        fanout_native_refuse_limit(s, cmd, FANOUT_E_TOO_LARGE,
                                   "presence", s->conf->presence_size,
                                   "fanout_presence_size");
        return 0;
    }

    return 1;
}


fanout_error_e
fanout_native_enter(fanout_session_t *s, fanout_native_job_t *job,
    fanout_presence_t *p)
{
    fanout_put_t            put;
    fanout_error_e          rc;
    fanout_member_t         m;
    fanout_channel_t       *ch;
    fanout_subscription_t  *sub;

    sub = job->base.sub;
    ch = sub->channel;

    if (fanout_session_want(sub, p->want) != NGX_OK) {
        return FANOUT_E_INTERNAL;
    }

    rc = fanout_session_seat(sub);

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    sub->anonymous = p->anonymous;

    if (p->member) {
        ngx_memzero(&m, sizeof(fanout_member_t));

        m.client = s->identity.client;
        m.key = p->key;
        m.data = p->data;
        m.anonymous = p->anonymous;

        rc = fanout_session_member_put(sub, &m,
                                       FANOUT_PUT_ENTER
                                       |FANOUT_PUT_DATA, 0,
                                       &put);
        if (rc != FANOUT_E_NONE) {
            return rc;
        }

        fanout_session_alive(s);
    }

    if (!(sub->want & FANOUT_WANT_PRESENCE)) {
        return FANOUT_E_NONE;
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
                    + FANOUT_JOIN_WAIT;
    sub->offset = job->offset;

    return FANOUT_E_NONE;
}


/* the command "presence" */

void
fanout_native_presence(fanout_session_t *s, fanout_command_t *cmd)
{
    int                     merges, anonymous, type;
    u_char                  key[FANOUT_KEY];
    ngx_uint_t              what;
    fanout_member_t         m;
    fanout_subscription_t  *sub;

    merges = 0;
    anonymous = 0;
    what = 0;

    ngx_memzero(&m, sizeof(fanout_member_t));

    if (!fanout_native_channel(s, cmd, FANOUT_MAY_PRESENCE)
        || !fanout_native_writes(s, cmd)
        || !fanout_native_label(s, cmd, &cmd->key, "key", key, &m.key)
        || !fanout_native_flag(s, cmd, &cmd->merge, "merge", &merges)
        || !fanout_native_flag(s, cmd, &cmd->anonymous, "anonymous",
                               &anonymous)
        || !presence_state(s, cmd, &m, &what))
    {
        return;
    }

    sub = fanout_session_sub(s, &cmd->name);

    if (s->transport->commands) {
        if (!fanout_native_proved(s, cmd)) {
            return;
        }

    } else if (sub == NULL) {
        fanout_native_refuse_member(s, cmd, FANOUT_E_NOT_JOINED);
        return;
    }

    if (!presence_served(s, cmd)) {
        return;
    }

    type = fanout_json_type(&cmd->data);

    if (type == FANOUT_JSON_NULL) {
        presence_leave(s, cmd, sub, &m.key);
        return;
    }

    if (type == FANOUT_JSON_NONE && what == 0) {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"data\" or \"state\" is missing");
        return;
    }

    m.client = s->identity.client;

    if (cmd->anonymous.len) {
        m.anonymous = anonymous;

    } else {
        m.anonymous = sub && sub->anonymous;
        what |= FANOUT_PUT_AS_IS;
    }

    if (type != FANOUT_JSON_NONE) {

        if (!presence_data(s, cmd, &cmd->data, &m.data)) {
            return;
        }

        what |= FANOUT_PUT_DATA|FANOUT_PUT_ENTER;

        if (merges) {
            what |= FANOUT_PUT_IF;
        }
    }

    if (presence_put(s, cmd, sub, &m, what)) {
        fanout_session_alive(s);
        done(s, cmd);
    }
}


/* What is merged is what was read before: others of the client may have been
 * faster, by POST. */

static ngx_uint_t
presence_put(fanout_session_t *s, fanout_command_t *cmd,
    fanout_subscription_t *sub, fanout_member_t *m, ngx_uint_t what)
{
    ngx_uint_t      tries;
    fanout_put_t    put;
    fanout_zstr_t   data;
    fanout_error_e  rc;

    data = m->data;
    rc = FANOUT_E_CONFLICT;

    for (tries = 0;
         tries < FANOUT_TRIES && rc == FANOUT_E_CONFLICT;
         tries++)
    {
        m->data = data;

        if ((what & FANOUT_PUT_IF)
            && !fanout_native_presence_merge(s, cmd, m))
        {
            return 0;
        }

        rc = sub ? fanout_session_member_put(sub, m, what, 0, &put)
                 : fanout_session_member_as(s, &cmd->name, &m->key, m, what);
    }

    if (rc != FANOUT_E_NONE) {
        fanout_native_refuse_member(s, cmd, rc);
        return 0;
    }

    return 1;
}


static void
presence_leave(fanout_session_t *s, fanout_command_t *cmd,
    fanout_subscription_t *sub, fanout_zstr_t *key)
{
    fanout_error_e  rc;

    rc = FANOUT_E_NONE;

    if (sub) {
        (void) fanout_session_member_drop(sub, key,
                                           FANOUT_LEFT_INTENTIONAL);
    } else {
        rc = fanout_session_member_as(s, &cmd->name, key, NULL, 0);
    }

    if (rc != FANOUT_E_NONE) {
        fanout_native_refuse_member(s, cmd, rc);
        return;
    }

    done(s, cmd);
}


static ngx_uint_t
presence_state(fanout_session_t *s, fanout_command_t *cmd, fanout_member_t *m,
    ngx_uint_t *what)
{
    u_char         buf[8];
    fanout_json_t  text;

    if (cmd->state.len == 0) {
        return 1;
    }

    *what = FANOUT_PUT_STATE;

    if (fanout_json_text(&cmd->state, buf, sizeof(buf), &text)
        == FANOUT_JSON_OK)
    {
        if (text.len == 4 && ngx_memcmp(text.data, "idle", 4) == 0) {
            m->idle = 1;
            return 1;
        }

        if (text.len == 6 && ngx_memcmp(text.data, "active", 6) == 0) {
            return 1;
        }
    }

    fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
           "\"state\" is \"active\" or \"idle\"");

    return 0;
}


static void
done(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_reply_t  rp;

    if (cmd->id.len) {
        fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        fanout_native_literal(&rp, "\"ok\":{}");
        fanout_native_end(&rp);
    }
}


void
fanout_native_refuse_member(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc)
{
    switch (rc) {

    case FANOUT_E_CHANNEL_FULL:
        fanout_native_refuse(s, cmd, rc, "the channel has all the members it "
                             "may: \"fanout_channel members=\"");
        return;

    case FANOUT_E_NOT_FOUND:
        fanout_native_refuse(s, cmd, rc, "there is no member of yours here: "
                             "\"data\" makes one");
        return;

    case FANOUT_E_CONFLICT:
        fanout_native_refuse(s, cmd, rc, "others change this member all the "
                             "time: try again");
        return;

    case FANOUT_E_TOO_MANY:
        fanout_native_refuse_limit(s, cmd, rc, "keys",
                                   policy_of(s, &cmd->name)->keep.keys,
                                   "\"fanout_channel keys=\"");
        return;

    case FANOUT_E_ADDRESS_FULL:
        fanout_meter_full(s);
        fanout_native_refuse_limit(s, cmd, rc, "address",
                                   s->conf->app->address_max,
                                   "percent of what others leave, "
                                   "\"fanout_zone address=\"");
        return;

    default:
        fanout_native_refuse(s, cmd, rc, "%V",
                             &fanout_errors[rc].text);
    }
}


/* the command "members" */

void
fanout_native_members(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_uint_t            mode;
    fanout_channel_t     *ch;
    fanout_native_job_t  *job;

    if (!fanout_native_channel(s, cmd, FANOUT_MAY_PRESENCE)
        || !presence_served(s, cmd)
        || !fanout_native_answers(s, cmd))
    {
        return;
    }

    ch = fanout_hub_find(s->hub, &cmd->name);
    mode = policy_of(s, &cmd->name)->keep.presence;

    job = fanout_native_job(s, cmd);

    if (job == NULL
        || (ch && ch->roster == NULL
            && (ch->roster = fanout_roster_create(s->hub, ch))
               == NULL))
    {
        if (job) {
            ngx_free(job);
        }

        fanout_native_refuse(s, cmd, FANOUT_E_INTERNAL,
                             "out of memory");
        return;
    }

    job->who = 1;
    job->members = (mode == FANOUT_PRESENCE_ON);
    job->counts = !job->members;
    job->base.waits = 1;
    job->deadline = ngx_current_msec + policy_of(s, &cmd->name)->keep.batch
                    + FANOUT_JOIN_WAIT;

    fanout_native_run(s, job);
}
