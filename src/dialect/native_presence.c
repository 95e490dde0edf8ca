
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence in the native protocol: the commands "presence" and "members".
 */


#include "dialect/native.h"
#include "session/permitted.h"
#include "session/members.h"
#include "hub/roster.h"
#include "session/transport.h"


#define FANOUT_TRIES       64               /* to merge; each time another one
                                               of the client has succeeded */


static fanout_error_e native_presence(fanout_session_t *s,
    fanout_command_t *cmd);
static fanout_error_e presence_put(fanout_session_t *s, fanout_command_t *cmd,
    fanout_subscription_t *sub, fanout_member_t *m, ngx_uint_t what);
static fanout_error_e presence_leave(fanout_session_t *s,
    fanout_command_t *cmd, fanout_subscription_t *sub);
static fanout_error_e presence_state(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);
static fanout_error_e native_members(fanout_session_t *s,
    fanout_command_t *cmd);
static fanout_policy_t *policy_of(fanout_session_t *s, ngx_str_t *channel);


static const fanout_native_member_t  presence_members[] = {
    FANOUT_NATIVE_CHANNEL,

    { fanout_native_field("key", fanout_native_read_label,
                          fanout_command_t, u.presence.key) },

    { fanout_native_field("merge", fanout_native_read_flag,
                          fanout_command_t, u.presence.merge) },

    { fanout_native_field("anonymous", fanout_native_read_flag,
                          fanout_command_t, u.presence.anonymous),
      .absent = -1 },

    { fanout_native_field("state", presence_state,
                          fanout_command_t, u.presence) },

    { fanout_native_field("data", fanout_native_read_presence,
                          fanout_command_t, u.presence.data) }
};

const fanout_native_op_t  fanout_native_op_presence = {
    .name = ngx_string("presence"),
    .run = native_presence,
    .members = presence_members,
    .n = fanout_nelts(presence_members),
    .size = sizeof(fanout_presence_cmd_t),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_PRESENCE,
    .needs = FANOUT_NATIVE_PROVED|FANOUT_NATIVE_WRITES
};


static const fanout_native_member_t  members_members[] = {
    FANOUT_NATIVE_CHANNEL
};

const fanout_native_op_t  fanout_native_op_members = {
    .name = ngx_string("members"),
    .run = native_members,
    .members = members_members,
    .n = fanout_nelts(members_members),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_PRESENCE,
    .needs = FANOUT_NATIVE_ANSWERS
};


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


fanout_error_e
fanout_native_served(fanout_session_t *s, fanout_command_t *cmd)
{
    if (policy_of(s, &cmd->channel)->keep.presence != FANOUT_PRESENCE_OFF) {
        return FANOUT_E_NONE;
    }

    fanout_count(s->hub, forbidden);
    fanout_session_log_forbidden(s, "presence", &cmd->channel,
                                 "fanout_channel presence=off");

    return fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
               "this channel has no presence: \"fanout_channel presence=on\"");
}


fanout_error_e
fanout_native_read_presence(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    fanout_native_data_t  *dst;

    dst = fanout_native_dst(base, m);
    dst->type = fanout_json_type(value);

    if (dst->type == FANOUT_JSON_NULL) {
        return FANOUT_E_NONE;
    }

    dst->data.data = value->data;
    dst->data.len = fanout_json_minify((u_char *) value->data, value->data,
                                       value->len);

    if (dst->data.len == 2 && dst->data.data[0] == '{') {
        dst->data.len = 0;
    }

    return fanout_native_within(s, cmd, &fanout_native_presence_size,
                                dst->data.len);
}


fanout_error_e
fanout_native_presence_data(fanout_session_t *s, fanout_command_t *cmd,
    fanout_subscription_t *sub, fanout_zstr_t *data)
{
    const ngx_str_t  *given;

    given = fanout_session_presence(s, &cmd->channel, sub);

    if (given == NULL) {
        return FANOUT_E_NONE;
    }

    data->data = given->data;
    data->len = given->len;

    return fanout_native_within(s, cmd, &fanout_native_presence_size,
                                data->len);
}


static fanout_error_e
presence_state(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    u_char                  buf[8];
    fanout_json_t           text;
    fanout_presence_cmd_t  *c;

    c = fanout_native_dst(base, m);
    c->state = FANOUT_PUT_STATE;

    (void) fanout_json_text(value, buf, sizeof(buf), &text);

    c->idle = text.len == 4 && ngx_memcmp(text.data, "idle", 4) == 0;

    return c->idle
           || (text.len == 6 && ngx_memcmp(text.data, "active", 6) == 0)
           ? FANOUT_E_NONE
           : fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                "\"state\" is \"active\" or \"idle\"");
}


/* the command "presence" */

static fanout_error_e
native_presence(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_uint_t              what;
    fanout_error_e          rc;
    fanout_member_t         m;
    fanout_presence_cmd_t  *c;
    fanout_subscription_t  *sub;

    c = &cmd->u.presence;
    what = c->state;
    sub = fanout_session_sub(s, &cmd->channel);

    if (sub == NULL && !s->transport->commands) {
        return FANOUT_E_NOT_JOINED;
    }

    rc = fanout_native_served(s, cmd);

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    if (c->data.type == FANOUT_JSON_NULL) {
        return presence_leave(s, cmd, sub);
    }

    if (c->data.type == FANOUT_JSON_NONE && what == 0) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"data\" or \"state\" is missing");
    }

    ngx_memzero(&m, sizeof(fanout_member_t));

    m.client = s->identity.client;
    m.key = c->key;
    m.data = c->data.data;
    m.idle = c->idle;

    if (c->anonymous >= 0) {
        m.anonymous = c->anonymous;

    } else {
        m.anonymous = sub && sub->anonymous;
        what |= FANOUT_PUT_AS_IS;
    }

    if (c->data.type != FANOUT_JSON_NONE) {
        what |= FANOUT_PUT_DATA|FANOUT_PUT_ENTER
                |(c->merge ? FANOUT_PUT_IF : 0);

        rc = fanout_native_presence_data(s, cmd, sub, &m.data);

        if (rc != FANOUT_E_NONE) {
            return rc;
        }

        if (m.data.data != c->data.data.data) {
            what &= ~FANOUT_PUT_IF;
        }
    }

    return presence_put(s, cmd, sub, &m, what);
}


/* The data that was read may have been changed by a POST of the client before
 * the merge is stored. */

static fanout_error_e
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

        if (what & FANOUT_PUT_IF) {
            rc = fanout_native_presence_merge(s, cmd, m);

            if (rc != FANOUT_E_NONE) {
                return rc;
            }
        }

        rc = sub ? fanout_session_member_put(sub, m, what, 0, &put)
                 : fanout_session_member_as(s, &cmd->channel, &m->key, m,
                                            what);
    }

    if (rc != FANOUT_E_NONE) {
        return fanout_native_fail_member(s, cmd, rc);
    }

    fanout_session_alive(s);
    fanout_native_ok(s, cmd);

    return FANOUT_E_NONE;
}


static fanout_error_e
presence_leave(fanout_session_t *s, fanout_command_t *cmd,
    fanout_subscription_t *sub)
{
    fanout_zstr_t   *key;
    fanout_error_e   rc;

    key = &cmd->u.presence.key;
    rc = FANOUT_E_NONE;

    if (sub) {
        (void) fanout_session_member_drop(sub, key, FANOUT_LEFT_INTENTIONAL);

    } else {
        rc = fanout_session_member_as(s, &cmd->channel, key, NULL, 0);
    }

    if (rc != FANOUT_E_NONE) {
        return fanout_native_fail_member(s, cmd, rc);
    }

    fanout_native_ok(s, cmd);

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_fail_member(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc)
{
    switch (rc) {

    case FANOUT_E_CHANNEL_FULL:
        return fanout_native_fail(cmd, rc, "the channel has all the members it "
                                  "may: \"fanout_channel members=\"");

    case FANOUT_E_NOT_FOUND:
        return fanout_native_fail(cmd, rc, "there is no member of yours here: "
                                  "\"data\" makes one");

    case FANOUT_E_CONFLICT:
        return fanout_native_fail(cmd, rc, "others change this member all the "
                                  "time: try again");

    case FANOUT_E_TOO_MANY:
        return fanout_native_fail_limit(cmd, rc, "keys",
                   policy_of(s, &cmd->channel)->keep.keys,
                   "\"fanout_channel keys=\"");

    case FANOUT_E_ADDRESS_FULL:
        fanout_meter_full(s);
        return fanout_native_fail_limit(cmd, rc, "address",
                                        s->conf->app->address_max,
                                        "percent of what others leave, "
                                        "\"fanout_zone address=\"");

    default:
        return rc;
    }
}


/* the command "members" */

static fanout_error_e
native_members(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e        rc;
    fanout_policy_t      *policy;
    fanout_channel_t     *ch;
    fanout_native_job_t  *job;

    rc = fanout_native_served(s, cmd);

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    ch = fanout_hub_find(s->hub, &cmd->channel);
    policy = policy_of(s, &cmd->channel);

    if (ch && ch->roster == NULL) {
        ch->roster = fanout_roster_create(s->hub, ch);
    }

    job = ch && ch->roster == NULL ? NULL : fanout_native_job(s, cmd);

    if (job == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    job->who = 1;
    job->members = (policy->keep.presence == FANOUT_PRESENCE_ON);
    job->counts = !job->members;
    job->base.waits = 1;
    job->deadline = ngx_current_msec + policy->keep.batch + FANOUT_NATIVE_WAIT;

    fanout_native_run(s, job);

    return FANOUT_E_NONE;
}
