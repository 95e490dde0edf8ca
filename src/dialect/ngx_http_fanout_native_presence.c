
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence in the native protocol: what a join says of it, the commands
 * "presence" and "members".
 */


#include "ngx_http_fanout_native.h"
#include "ngx_http_fanout_roster.h"
#include "ngx_http_fanout_transport.h"


#define NGX_HTTP_FANOUT_JOIN_WAIT   2000    /* ms, beyond the batch time */
#define NGX_HTTP_FANOUT_TRIES       64      /* to merge; each time another one
                                               of the client has succeeded */


static ngx_uint_t want_options(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_uint_t *want);
static ngx_http_fanout_policy_t *policy_of(ngx_http_fanout_session_t *s,
    ngx_str_t *channel);
static ngx_uint_t presence_served(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd);
static ngx_uint_t presence_data(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_json_t *value,
    ngx_http_fanout_zstr_t *data);
static ngx_uint_t presence_put(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_member_t *m, ngx_uint_t what);
static void presence_leave(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_zstr_t *key);
static ngx_uint_t presence_state(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_member_t *m, ngx_uint_t *what);
static void done(ngx_http_fanout_session_t *s, fanout_command_t *cmd);


static const struct {
    ngx_str_t   name;
    ngx_uint_t  bit;
} wants[] = {
    { ngx_string("messages"), NGX_HTTP_FANOUT_WANT_MESSAGES },
    { ngx_string("signals"), NGX_HTTP_FANOUT_WANT_SIGNALS },
    { ngx_string("presence"), NGX_HTTP_FANOUT_WANT_PRESENCE },
    { ngx_null_string, 0 }
};


/* in a join */

ngx_uint_t
fanout_native_presence_options(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, fanout_presence_t *p)
{
    ngx_uint_t  may;

    p->want = NGX_HTTP_FANOUT_WANT_ALL;
    p->anonymous = 0;
    p->member = 0;
    p->key.data = p->buf;
    p->data.data = p->buf;
    p->data.len = 0;

    may = ngx_http_fanout_access_check(s->access,
                                       NGX_HTTP_FANOUT_MAY_PRESENCE,
                                       &cmd->name);

    if (!want_options(s, cmd, &p->want)
        || !fanout_native_label(s, cmd, &cmd->key, "key", p->buf, &p->key)
        || !fanout_native_flag(s, cmd, &cmd->anonymous, "anonymous",
                               &p->anonymous))
    {
        return 0;
    }

    p->member = cmd->presence.len
                && ngx_http_fanout_json_type(&cmd->presence)
                   != NGX_HTTP_FANOUT_JSON_NULL;

    if (!may
        && (p->member
            || (cmd->want.len && (p->want & NGX_HTTP_FANOUT_WANT_PRESENCE))))
    {
        return fanout_native_channel(s, cmd, NGX_HTTP_FANOUT_MAY_PRESENCE);
    }

    if (!may) {
        p->want &= ~NGX_HTTP_FANOUT_WANT_PRESENCE;
    }

    return !p->member
           || (presence_served(s, cmd)
               && presence_data(s, cmd, &cmd->presence, &p->data));
}


static ngx_uint_t
want_options(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t *want)
{
    u_char                       buf[32];
    ngx_uint_t                   i;
    ngx_http_fanout_json_t       item, text;
    ngx_http_fanout_json_iter_t  it;

    if (cmd->want.len == 0) {
        return 1;
    }

    *want = 0;

    if (ngx_http_fanout_json_type(&cmd->want) != NGX_HTTP_FANOUT_JSON_ARRAY
        || ngx_http_fanout_json_iter(&it, &cmd->want)
           != NGX_HTTP_FANOUT_JSON_OK)
    {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"want\" is an array of strings");
        return 0;
    }

    while (ngx_http_fanout_json_next(&it, NULL, &item) == 1) {

        i = sizeof(wants) / sizeof(wants[0]) - 1;

        if (ngx_http_fanout_json_text(&item, buf, sizeof(buf), &text)
            == NGX_HTTP_FANOUT_JSON_OK)
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
            fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                   "\"want\" is of \"messages\", \"signals\" and "
                   "\"presence\"");
            return 0;
        }

        *want |= wants[i].bit;
    }

    return 1;
}


static ngx_http_fanout_policy_t *
policy_of(ngx_http_fanout_session_t *s, ngx_str_t *channel)
{
    ngx_http_fanout_channel_t  *ch;

    ch = ngx_http_fanout_hub_find(s->hub, channel);

    return ch ? ch->policy : ngx_http_fanout_policy(s->hub->app, channel);
}


ngx_uint_t
fanout_native_lists(ngx_http_fanout_session_t *s, ngx_str_t *channel)
{
    return policy_of(s, channel)->keep.presence == NGX_HTTP_FANOUT_PRESENCE_ON;
}


static ngx_uint_t
presence_served(ngx_http_fanout_session_t *s, fanout_command_t *cmd)
{
    if (policy_of(s, &cmd->name)->keep.presence
        != NGX_HTTP_FANOUT_PRESENCE_OFF)
    {
        return 1;
    }

    ngx_http_fanout_count(s->hub, forbidden);
    ngx_http_fanout_eventlog_forbidden(s, "presence", &cmd->name,
                                       "fanout_channel presence=off");
    fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_FORBIDDEN,
           "this channel has no presence: \"fanout_channel presence=on\"");

    return 0;
}


/* {} is no data; the value is minified where it lies */

static ngx_uint_t
presence_data(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_json_t *value, ngx_http_fanout_zstr_t *data)
{
    data->data = value->data;
    data->len = ngx_http_fanout_json_minify((u_char *) value->data,
                                            value->data, value->len);

    if (data->len == 2 && data->data[0] == '{') {
        data->len = 0;
    }

    if (data->len > s->conf->presence_size) {
        fanout_native_refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_LARGE,
                                   "presence", s->conf->presence_size,
                                   "fanout_presence_size");
        return 0;
    }

    return 1;
}


ngx_http_fanout_error_e
fanout_native_enter(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job,
    fanout_presence_t *p)
{
    ngx_http_fanout_put_t            put;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_member_t         m;
    ngx_http_fanout_channel_t       *ch;
    ngx_http_fanout_subscription_t  *sub;

    sub = job->sub;
    ch = sub->channel;

    if (ngx_http_fanout_hub_want(sub, p->want) != NGX_OK) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    rc = ngx_http_fanout_hub_seat(sub);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        return rc;
    }

    sub->anonymous = p->anonymous;

    if (p->member) {
        ngx_memzero(&m, sizeof(ngx_http_fanout_member_t));

        m.client = s->identity.client;
        m.key = p->key;
        m.data = p->data;
        m.anonymous = p->anonymous;

        rc = ngx_http_fanout_hub_member_put(sub, &m,
                                            NGX_HTTP_FANOUT_PUT_ENTER
                                            |NGX_HTTP_FANOUT_PUT_DATA, 0,
                                            &put);
        if (rc != NGX_HTTP_FANOUT_E_NONE) {
            return rc;
        }

        ngx_http_fanout_session_alive(s);
    }

    if (!(sub->want & NGX_HTTP_FANOUT_WANT_PRESENCE)) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    job->who = 1;

    if (ch->roster == NULL) {
        ch->roster = ngx_http_fanout_roster_create(s->hub, ch);

        if (ch->roster == NULL) {
            return NGX_HTTP_FANOUT_E_INTERNAL;
        }
    }

    job->waits = 1;
    job->deadline = ngx_current_msec + ch->policy->keep.batch
                    + NGX_HTTP_FANOUT_JOIN_WAIT;
    sub->offset = job->offset;

    return NGX_HTTP_FANOUT_E_NONE;
}


/* the command "presence" */

void
fanout_native_presence(ngx_http_fanout_session_t *s, fanout_command_t *cmd)
{
    int                              merges, anonymous, type;
    u_char                           key[NGX_HTTP_FANOUT_KEY];
    ngx_uint_t                       what;
    ngx_http_fanout_member_t         m;
    ngx_http_fanout_subscription_t  *sub;

    merges = 0;
    anonymous = 0;
    what = 0;

    ngx_memzero(&m, sizeof(ngx_http_fanout_member_t));

    if (!fanout_native_channel(s, cmd, NGX_HTTP_FANOUT_MAY_PRESENCE)
        || !fanout_native_writes(s, cmd)
        || !fanout_native_label(s, cmd, &cmd->key, "key", key, &m.key)
        || !fanout_native_flag(s, cmd, &cmd->merge, "merge", &merges)
        || !fanout_native_flag(s, cmd, &cmd->anonymous, "anonymous",
                               &anonymous)
        || !presence_state(s, cmd, &m, &what))
    {
        return;
    }

    sub = ngx_http_fanout_session_sub(s, &cmd->name);

    if (s->transport->commands) {
        if (!fanout_native_proved(s, cmd)) {
            return;
        }

    } else if (sub == NULL) {
        fanout_native_refuse_member(s, cmd, NGX_HTTP_FANOUT_E_NOT_JOINED);
        return;
    }

    if (!presence_served(s, cmd)) {
        return;
    }

    type = ngx_http_fanout_json_type(&cmd->data);

    if (type == NGX_HTTP_FANOUT_JSON_NULL) {
        presence_leave(s, cmd, sub, &m.key);
        return;
    }

    if (type == NGX_HTTP_FANOUT_JSON_NONE && what == 0) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"data\" or \"state\" is missing");
        return;
    }

    m.client = s->identity.client;

    if (cmd->anonymous.len) {
        m.anonymous = anonymous;

    } else {
        m.anonymous = sub && sub->anonymous;
        what |= NGX_HTTP_FANOUT_PUT_AS_IS;
    }

    if (type != NGX_HTTP_FANOUT_JSON_NONE) {

        if (!presence_data(s, cmd, &cmd->data, &m.data)) {
            return;
        }

        what |= NGX_HTTP_FANOUT_PUT_DATA|NGX_HTTP_FANOUT_PUT_ENTER;

        if (merges) {
            what |= NGX_HTTP_FANOUT_PUT_IF;
        }
    }

    if (presence_put(s, cmd, sub, &m, what)) {
        ngx_http_fanout_session_alive(s);
        done(s, cmd);
    }
}


/* What is merged is what was read before: others of the client may have been
 * faster, by POST. */

static ngx_uint_t
presence_put(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_subscription_t *sub, ngx_http_fanout_member_t *m,
    ngx_uint_t what)
{
    ngx_uint_t               tries;
    ngx_http_fanout_put_t    put;
    ngx_http_fanout_zstr_t   data;
    ngx_http_fanout_error_e  rc;

    data = m->data;
    rc = NGX_HTTP_FANOUT_E_CONFLICT;

    for (tries = 0;
         tries < NGX_HTTP_FANOUT_TRIES && rc == NGX_HTTP_FANOUT_E_CONFLICT;
         tries++)
    {
        m->data = data;

        if ((what & NGX_HTTP_FANOUT_PUT_IF)
            && !fanout_native_presence_merge(s, cmd, m))
        {
            return 0;
        }

        rc = sub ? ngx_http_fanout_hub_member_put(sub, m, what, 0, &put)
                 : ngx_http_fanout_hub_member_as(s, &cmd->name, &m->key, m,
                                                 what);
    }

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        fanout_native_refuse_member(s, cmd, rc);
        return 0;
    }

    return 1;
}


static void
presence_leave(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_subscription_t *sub, ngx_http_fanout_zstr_t *key)
{
    ngx_http_fanout_error_e  rc;

    rc = NGX_HTTP_FANOUT_E_NONE;

    if (sub) {
        (void) ngx_http_fanout_hub_member_drop(sub, key,
                                           NGX_HTTP_FANOUT_LEFT_INTENTIONAL);
    } else {
        rc = ngx_http_fanout_hub_member_as(s, &cmd->name, key, NULL, 0);
    }

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        fanout_native_refuse_member(s, cmd, rc);
        return;
    }

    done(s, cmd);
}


static ngx_uint_t
presence_state(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_member_t *m, ngx_uint_t *what)
{
    u_char                  buf[8];
    ngx_http_fanout_json_t  text;

    if (cmd->state.len == 0) {
        return 1;
    }

    *what = NGX_HTTP_FANOUT_PUT_STATE;

    if (ngx_http_fanout_json_text(&cmd->state, buf, sizeof(buf), &text)
        == NGX_HTTP_FANOUT_JSON_OK)
    {
        if (text.len == 4 && ngx_memcmp(text.data, "idle", 4) == 0) {
            m->idle = 1;
            return 1;
        }

        if (text.len == 6 && ngx_memcmp(text.data, "active", 6) == 0) {
            return 1;
        }
    }

    fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
           "\"state\" is \"active\" or \"idle\"");

    return 0;
}


static void
done(ngx_http_fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_reply_t  rp;

    if (cmd->id.len) {
        fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        fanout_native_literal(&rp, "\"ok\":{}");
        fanout_native_end(&rp);
    }
}


void
fanout_native_refuse_member(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_error_e rc)
{
    switch (rc) {

    case NGX_HTTP_FANOUT_E_CHANNEL_FULL:
        fanout_native_refuse(s, cmd, rc, "the channel has all the members it "
                             "may: \"fanout_channel members=\"");
        return;

    case NGX_HTTP_FANOUT_E_NOT_FOUND:
        fanout_native_refuse(s, cmd, rc, "there is no member of yours here: "
                             "\"data\" makes one");
        return;

    case NGX_HTTP_FANOUT_E_CONFLICT:
        fanout_native_refuse(s, cmd, rc, "others change this member all the "
                             "time: try again");
        return;

    case NGX_HTTP_FANOUT_E_TOO_MANY:
        fanout_native_refuse_limit(s, cmd, rc, "keys",
                                   policy_of(s, &cmd->name)->keep.keys,
                                   "\"fanout_channel keys=\"");
        return;

    case NGX_HTTP_FANOUT_E_ADDRESS_FULL:
        ngx_http_fanout_meter_full(s);
        fanout_native_refuse_limit(s, cmd, rc, "address",
                                   s->conf->app->address_max,
                                   "percent of what others leave, "
                                   "\"fanout_zone address=\"");
        return;

    default:
        fanout_native_refuse(s, cmd, rc, "%V",
                             &ngx_http_fanout_errors[rc].text);
    }
}


/* the command "members" */

void
fanout_native_members(ngx_http_fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_uint_t                  mode;
    ngx_http_fanout_job_t      *job;
    ngx_http_fanout_channel_t  *ch;

    if (!fanout_native_channel(s, cmd, NGX_HTTP_FANOUT_MAY_PRESENCE)
        || !presence_served(s, cmd)
        || !fanout_native_answers(s, cmd))
    {
        return;
    }

    ch = ngx_http_fanout_hub_find(s->hub, &cmd->name);
    mode = policy_of(s, &cmd->name)->keep.presence;

    job = fanout_native_job(s, cmd);

    if (job == NULL
        || (ch && ch->roster == NULL
            && (ch->roster = ngx_http_fanout_roster_create(s->hub, ch))
               == NULL))
    {
        if (job) {
            ngx_free(job);
        }

        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_INTERNAL,
                             "out of memory");
        return;
    }

    job->who = 1;
    job->members = (mode == NGX_HTTP_FANOUT_PRESENCE_ON);
    job->counts = !job->members;
    job->waits = 1;
    job->deadline = ngx_current_msec + policy_of(s, &cmd->name)->keep.batch
                    + NGX_HTTP_FANOUT_JOIN_WAIT;
    s->job = job;

    (void) fanout_native_run(s);
}
