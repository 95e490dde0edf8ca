
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence in the native protocol: members in a join and its reply, the
 * commands "presence" and "members".
 *
 * A join that is told who is there waits until the channel's roster is ready
 * and, if it makes a member, until that was told to all: then it is
 * registered where the worker is in the log, and the reply is the state
 * there.
 */


#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_native.h"
#include "ngx_http_fanout_roster.h"
#include "ngx_http_fanout_transport.h"


#define NGX_HTTP_FANOUT_JOIN_WAIT   2000    /* ms, beyond the batch time */
#define NGX_HTTP_FANOUT_JOIN_FAIL   10000
#define NGX_HTTP_FANOUT_DIRECT      16      /* sections a turn */
#define NGX_HTTP_FANOUT_COPIED      1024    /* members that are rather copied */
#define NGX_HTTP_FANOUT_KEYS        32      /* on a seat, as the zone has it */


static ngx_uint_t want_options(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_uint_t *want);
static ngx_http_fanout_policy_t *policy_of(ngx_http_fanout_session_t *s,
    ngx_str_t *channel);
static ngx_uint_t presence_served(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd);
static ngx_uint_t presence_data(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_json_t *value,
    ngx_http_fanout_zstr_t *data);
static ngx_uint_t presence_state(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_member_t *m, ngx_uint_t *what);
static ngx_uint_t presence_merge(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_member_t *m);
static size_t merge(u_char *dst, ngx_http_fanout_json_t *old,
    ngx_http_fanout_json_t *patch);
static u_char *merge_item(u_char *p, u_char *dst,
    ngx_http_fanout_json_t *key, ngx_http_fanout_json_t *value);
static ngx_uint_t find_key(ngx_http_fanout_json_t *object,
    ngx_http_fanout_json_t *key, ngx_http_fanout_json_t *value);
static ngx_uint_t same_key(ngx_http_fanout_json_t *one,
    ngx_http_fanout_json_t *two);
static void done(ngx_http_fanout_session_t *s, fanout_command_t *cmd);
static ngx_int_t ready_roster(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job, ngx_http_fanout_roster_t *r);
static ngx_int_t ready_join(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job, ngx_http_fanout_roster_t *r);
static void ready_members(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job, ngx_http_fanout_channel_t *ch);
static ngx_int_t own_members(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_roster_t *r);
static ngx_int_t read_direct(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job);
static void end_around(fanout_reply_t *rp, ngx_http_fanout_snapshot_t *sn,
    ngx_http_fanout_chunk_t *chunk);
static ngx_int_t read_section(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job);


static const struct {
    ngx_str_t   name;
    ngx_uint_t  bit;
} wants[] = {
    { ngx_string("messages"), NGX_HTTP_FANOUT_WANT_MESSAGES },
    { ngx_string("signals"), NGX_HTTP_FANOUT_WANT_SIGNALS },
    { ngx_string("presence"), NGX_HTTP_FANOUT_WANT_PRESENCE },
    { ngx_string("records"), NGX_HTTP_FANOUT_WANT_RECORDS },
    { ngx_string("locks"), NGX_HTTP_FANOUT_WANT_LOCKS },
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

        if (ngx_http_fanout_json_text(&item, buf, sizeof(buf), &text)
            != NGX_HTTP_FANOUT_JSON_OK)
        {
            continue;
        }

        for (i = 0; wants[i].bit; i++) {
            if (wants[i].name.len == text.len
                && ngx_memcmp(wants[i].name.data, text.data, text.len) == 0)
            {
                *want |= wants[i].bit;
            }
        }
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


static ngx_uint_t
presence_served(ngx_http_fanout_session_t *s, fanout_command_t *cmd)
{
    if (policy_of(s, &cmd->name)->keep.presence
        != NGX_HTTP_FANOUT_PRESENCE_OFF)
    {
        return 1;
    }

    ngx_http_fanout_count(s->hub, forbidden);
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
    ngx_uint_t                       mode, on;
    ngx_http_fanout_put_t            put;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_member_t         m;
    ngx_http_fanout_channel_t       *ch;
    ngx_http_fanout_subscription_t  *sub;

    sub = job->sub;
    ch = sub->channel;
    mode = ch->policy->keep.presence;
    on = (mode == NGX_HTTP_FANOUT_PRESENCE_ON);

    if (ngx_http_fanout_hub_want(sub, p->want) != NGX_OK) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    rc = ngx_http_fanout_hub_seat(sub);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        return rc;
    }

    put.created = 0;
    job->version = ch->roster ? ch->roster->version : 0;

    if (p->member) {
        ngx_memzero(&m, sizeof(ngx_http_fanout_member_t));

        m.client = s->identity.client;
        m.key = p->key;
        m.data = p->data;
        m.anonymous = p->anonymous;

        rc = ngx_http_fanout_hub_member_put(sub, &m,
                                            NGX_HTTP_FANOUT_PUT_ENTER
                                            |NGX_HTTP_FANOUT_PUT_DATA
                                            |NGX_HTTP_FANOUT_PUT_STATE, 0,
                                            &put);
        if (rc != NGX_HTTP_FANOUT_E_NONE) {
            return rc;
        }

        ngx_http_fanout_session_alive(s);
    }

    job->resumed = (s->resumed && on);
    job->members = on && (sub->want & NGX_HTTP_FANOUT_WANT_PRESENCE);
    job->counts = !on && (sub->want & NGX_HTTP_FANOUT_WANT_PRESENCE);

    if (!job->members && !job->counts && !job->resumed) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    if (ch->roster == NULL) {
        ch->roster = ngx_http_fanout_roster_create(s->hub, ch);

        if (ch->roster == NULL) {
            return NGX_HTTP_FANOUT_E_INTERNAL;
        }
    }

    if (put.created && (job->members || job->counts)) {
        job->enters = 1;
        job->key.len = p->key.len;
        job->key.data = ngx_alloc(p->key.len + 1, ngx_cycle->log);

        if (job->key.data == NULL) {
            return NGX_HTTP_FANOUT_E_INTERNAL;
        }

        ngx_memcpy(job->key.data, p->key.data, p->key.len);
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
    ngx_http_fanout_put_t            put;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_member_t         m;
    ngx_http_fanout_subscription_t  *sub;

    merges = 0;
    anonymous = 0;
    what = 0;

    ngx_memzero(&m, sizeof(ngx_http_fanout_member_t));

    if (!fanout_native_channel(s, cmd, NGX_HTTP_FANOUT_MAY_PRESENCE)
        || !fanout_native_label(s, cmd, &cmd->key, "key", key, &m.key)
        || !fanout_native_flag(s, cmd, &cmd->merge, "merge", &merges)
        || !fanout_native_flag(s, cmd, &cmd->anonymous, "anonymous",
                               &anonymous)
        || !presence_state(s, cmd, &m, &what))
    {
        return;
    }

    sub = ngx_http_fanout_session_sub(s, &cmd->name);

    if (sub == NULL) {
        fanout_native_refuse_member(s, cmd, NGX_HTTP_FANOUT_E_NOT_JOINED);
        return;
    }

    if (!presence_served(s, cmd)) {
        return;
    }

    type = ngx_http_fanout_json_type(&cmd->data);

    if (type == NGX_HTTP_FANOUT_JSON_NULL) {
        (void) ngx_http_fanout_hub_member_drop(sub, &m.key,
                                           NGX_HTTP_FANOUT_LEFT_INTENTIONAL);
        done(s, cmd);
        return;
    }

    if (type == NGX_HTTP_FANOUT_JSON_NONE && what == 0) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"data\" or \"state\" is missing");
        return;
    }

    m.client = s->identity.client;
    m.anonymous = anonymous;

    if (type != NGX_HTTP_FANOUT_JSON_NONE) {

        if (!presence_data(s, cmd, &cmd->data, &m.data)
            || (merges && !presence_merge(s, cmd, sub, &m)))
        {
            return;
        }

        what |= NGX_HTTP_FANOUT_PUT_DATA|NGX_HTTP_FANOUT_PUT_ENTER;
    }

    rc = ngx_http_fanout_hub_member_put(sub, &m, what, 0, &put);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        fanout_native_refuse_member(s, cmd, rc);
        return;
    }

    ngx_http_fanout_session_alive(s);
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


/* The data that there is with single members of it replaced. */

static ngx_uint_t
presence_merge(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_subscription_t *sub, ngx_http_fanout_member_t *m)
{
    ngx_http_fanout_json_t    old, patch;
    ngx_http_fanout_member_t  now;

    static u_char  buf[NGX_HTTP_FANOUT_ZONE_MEMBER_BUF];
    static u_char  merged[2 * NGX_HTTP_FANOUT_ZONE_MEMBER + 8];

    patch.data = m->data.data;
    patch.len = m->data.len;

    if (patch.len == 0) {
        patch.data = (u_char *) "{}";
        patch.len = 2;
    }

    if (ngx_http_fanout_json_type(&patch) != NGX_HTTP_FANOUT_JSON_OBJECT) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"data\" is an object where it is to merge");
        return 0;
    }

    old.data = (u_char *) "{}";
    old.len = 2;

    if (ngx_http_fanout_member_get(&s->hub->zone, &sub->channel->zc,
                                   s->identity.client, &m->key, &now, buf)
        == NGX_HTTP_FANOUT_ZONE_OK
        && now.data.len && now.data.data[0] == '{')
    {
        old.data = now.data.data;
        old.len = now.data.len;
    }

    m->data.data = merged;
    m->data.len = merge(merged, &old, &patch);

    if (m->data.len == 2) {
        m->data.len = 0;
    }

    if (m->data.len > s->conf->presence_size) {
        fanout_native_refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_LARGE,
                                   "presence", s->conf->presence_size,
                                   "fanout_presence_size");
        return 0;
    }

    return 1;
}


/* Members keep their places, new ones follow; null removes. */

static size_t
merge(u_char *dst, ngx_http_fanout_json_t *old, ngx_http_fanout_json_t *patch)
{
    u_char                       *p;
    ngx_http_fanout_json_t        key, value, latest;
    ngx_http_fanout_json_iter_t   it;

    p = dst;
    *p++ = '{';

    (void) ngx_http_fanout_json_iter(&it, old);

    while (ngx_http_fanout_json_next(&it, &key, &value) == 1) {
        (void) find_key(patch, &key, &value);
        p = merge_item(p, dst, &key, &value);
    }

    (void) ngx_http_fanout_json_iter(&it, patch);

    while (ngx_http_fanout_json_next(&it, &key, &value) == 1) {

        /* of members of the same name the last one counts */

        if (!find_key(old, &key, &latest)
            && find_key(patch, &key, &latest) && latest.data == value.data)
        {
            p = merge_item(p, dst, &key, &value);
        }
    }

    *p++ = '}';

    return p - dst;
}


static u_char *
merge_item(u_char *p, u_char *dst, ngx_http_fanout_json_t *key,
    ngx_http_fanout_json_t *value)
{
    if (ngx_http_fanout_json_type(value) == NGX_HTTP_FANOUT_JSON_NULL) {
        return p;
    }

    if (p - dst > 1) {
        *p++ = ',';
    }

    p = ngx_cpymem(p, key->data, key->len);
    *p++ = ':';

    return ngx_cpymem(p, value->data, value->len);
}


/* the last one of the name; value is left as it is without one */

static ngx_uint_t
find_key(ngx_http_fanout_json_t *object, ngx_http_fanout_json_t *key,
    ngx_http_fanout_json_t *value)
{
    ngx_uint_t                   found;
    ngx_http_fanout_json_t       k, v;
    ngx_http_fanout_json_iter_t  it;

    found = 0;
    (void) ngx_http_fanout_json_iter(&it, object);

    while (ngx_http_fanout_json_next(&it, &k, &v) == 1) {
        if (same_key(&k, key)) {
            *value = v;
            found = 1;
        }
    }

    return found;
}


static ngx_uint_t
same_key(ngx_http_fanout_json_t *one, ngx_http_fanout_json_t *two)
{
    size_t         n, m;
    static u_char  a[NGX_HTTP_FANOUT_ZONE_MEMBER];
    static u_char  b[NGX_HTTP_FANOUT_ZONE_MEMBER];

    if (one->len == two->len
        && ngx_memcmp(one->data, two->data, one->len) == 0)
    {
        return 1;
    }

    if (ngx_strlchr((u_char *) one->data, (u_char *) one->data + one->len,
                    '\\')
        == NULL
        && ngx_strlchr((u_char *) two->data, (u_char *) two->data + two->len,
                       '\\')
           == NULL)
    {
        return 0;
    }

    return ngx_http_fanout_json_string(one, a, sizeof(a), &n)
           == NGX_HTTP_FANOUT_JSON_OK
           && ngx_http_fanout_json_string(two, b, sizeof(b), &m)
              == NGX_HTTP_FANOUT_JSON_OK
           && n == m && ngx_memcmp(a, b, n) == 0;
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

    case NGX_HTTP_FANOUT_E_TOO_MANY:
        fanout_native_refuse_limit(s, cmd, rc, "keys",
                                   NGX_HTTP_FANOUT_KEYS,
                                   "members of a client on a channel");
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
        || !presence_served(s, cmd))
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

    job->members = (mode == NGX_HTTP_FANOUT_PRESENCE_ON);
    job->counts = !job->members;
    job->waits = 1;
    job->deadline = ngx_current_msec;
    s->job = job;

    (void) fanout_native_run(s);
}


/* waiting */

ngx_int_t
fanout_native_ready(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job)
{
    ngx_int_t                   rc;
    ngx_http_fanout_channel_t  *ch;

    ch = job->sub ? job->sub->channel
                  : ngx_http_fanout_hub_find(s->hub, &job->channel);

    if (job->direct || ch == NULL || ch->roster == NULL) {
        rc = read_direct(s, job);

    } else {
        rc = ready_roster(s, job, ch->roster);
    }

    if (rc == NGX_OK) {
        ngx_http_fanout_session_job_unqueue(s);
        job->waits = 0;
    }

    return rc;
}


static ngx_int_t
ready_roster(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job,
    ngx_http_fanout_roster_t *r)
{
    ngx_int_t       rc;
    ngx_msec_int_t  late;

    if (!job->queued) {
        job->queued = 1;
        ngx_queue_insert_tail(&r->waiting, &job->waiting);
    }

    late = ngx_current_msec - job->deadline;

    if (!r->ready) {
        return late > NGX_HTTP_FANOUT_JOIN_FAIL ? NGX_ERROR : NGX_AGAIN;
    }

    if (job->enters && late < 0
        && (r->summary ? r->version == job->version
                       : ngx_http_fanout_roster_find(r, s->identity.client,
                                             job->key.data, job->key.len)
                         == NULL))
    {
        return NGX_AGAIN;
    }

    if (job->members && job->snapshot == NULL) {
        rc = ngx_http_fanout_roster_snapshot(s->hub, r, &job->snapshot);

        if (rc != NGX_OK) {
            return rc == NGX_AGAIN && late > NGX_HTTP_FANOUT_JOIN_FAIL
                   ? NGX_ERROR : rc;
        }
    }

    job->count = r->count;

    if (job->sub == NULL) {
        ready_members(s, job, r->channel);
        return NGX_OK;
    }

    rc = ready_join(s, job, r);

    if (rc == NGX_AGAIN && job->snapshot) {
        /* it is to be that of the offset */
        ngx_http_fanout_snapshot_release(s->hub, job->snapshot);
        job->snapshot = NULL;
    }

    return rc;
}


static ngx_int_t
ready_join(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job,
    ngx_http_fanout_roster_t *r)
{
    ngx_int_t                    rc;
    ngx_http_fanout_zone_join_t  j;

    rc = ngx_http_fanout_hub_register(job->sub, job->again, job->since,
                                      job->since_epoch, job->since_offset,
                                      job->history, &j);
    if (rc != NGX_OK) {
        return rc;
    }

    job->epoch = j.epoch;
    job->offset = j.offset;
    job->after = j.after;
    job->upto = j.offset;
    job->missed = j.missed;
    job->left = j.missed;
    job->recovered = j.recovered;
    job->mail = job->since && j.recovered;
    job->sub->offset = j.offset;

    if (job->resumed) {
        if (own_members(job->sub, r) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_fanout_session_alive(s);
    }

    return NGX_OK;
}


/* Entries of the channel don't come between the parts of its state, and it is
 * told no change that is in there. */

static void
ready_members(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job,
    ngx_http_fanout_channel_t *ch)
{
    ngx_http_fanout_subscription_t  *sub;

    job->epoch = ch->epoch;
    job->offset = ch->offset;

    sub = ngx_http_fanout_session_sub(s, &job->channel);

    if (sub == NULL) {
        return;
    }

    if (sub->state == NGX_HTTP_FANOUT_SUB_LIVE) {
        sub->offset = ngx_max(ch->offset, sub->floor);
        sub->state = NGX_HTTP_FANOUT_SUB_JOINING;
    }

    if (!sub->reset) {
        sub->known = ch->offset;
    }
}


/* A client that came back has the members it had. */

static ngx_int_t
own_members(ngx_http_fanout_subscription_t *sub, ngx_http_fanout_roster_t *r)
{
    ngx_http_fanout_mirror_t   *m;
    ngx_http_fanout_session_t  *s;

    s = sub->session;

    for (m = ngx_http_fanout_roster_next(r, s->identity.client, NULL);
         m;
         m = ngx_http_fanout_roster_next(r, s->identity.client, m))
    {
        if (ngx_http_fanout_hub_member_own(sub, m->bytes, m->key_len, m->idle,
                                           m->anonymous)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* Of a channel that this worker does not read: a copy of what the zone has,
 * at the offset of its first section if it changes meanwhile. */

static ngx_int_t
read_direct(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    job->direct = 1;

    if (s->hub->frames > s->hub->app->frames) {
        return NGX_ERROR;
    }

    if (job->snapshot == NULL) {
        job->snapshot = ngx_http_fanout_snapshot_create(s->hub, 1024);

        if (job->snapshot == NULL) {
            return NGX_ERROR;
        }
    }

    for (n = 0; n < NGX_HTTP_FANOUT_DIRECT; n++) {
        rc = read_section(s, job);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    ngx_http_fanout_outbox_queue(s);

    return NGX_AGAIN;
}


static ngx_int_t
read_section(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job)
{
    int                             rc;
    size_t                          at;
    unsigned                        i, n;
    ngx_uint_t                      failed;
    ngx_http_fanout_room_t          room;
    ngx_http_fanout_frame_t        *f;
    ngx_http_fanout_zone_channel_t  zc;

    static u_char                    buf[NGX_HTTP_FANOUT_ZONE_MEMBER_BUF
                                         + NGX_HTTP_FANOUT_ZONE_COPY];
    static ngx_http_fanout_member_t  members[NGX_HTTP_FANOUT_ZONE_ENTRIES];

    ngx_http_fanout_hub_view(s->hub, &job->channel, &zc);

    rc = ngx_http_fanout_room_read(&s->hub->zone, &zc, &job->slot, members,
                                   NGX_HTTP_FANOUT_ZONE_ENTRIES, buf,
                                   sizeof(buf), &n, &room);

    if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
        /* nobody is there */
        return NGX_OK;
    }

    if (job->epoch == 0) {
        job->epoch = room.epoch;
        job->offset = room.offset;
        job->count = room.members;
    }

    if (job->counts) {
        return NGX_OK;
    }

    f = ngx_http_fanout_frame_create(s->hub, 1024);
    if (f == NULL) {
        return NGX_ERROR;
    }

    failed = 0;

    for (i = 0; i < n && !failed; i++) {
        f->used = 0;
        failed = ngx_http_fanout_member_json(s->hub, &members[i], 0, f, &at)
                 != NGX_OK
                 || ngx_http_fanout_snapshot_add(s->hub, job->snapshot,
                                                 f->data, f->used)
                    != NGX_OK;
    }

    ngx_http_fanout_frame_release(s->hub, f);

    if (failed) {
        return NGX_ERROR;
    }

    return job->slot == UINT32_MAX ? NGX_OK : NGX_AGAIN;
}


/* members in a reply */

ngx_int_t
fanout_native_members_part(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job)
{
    void                            *batch;
    fanout_reply_t                   rp;
    ngx_http_fanout_chunk_t         *chunk;
    ngx_http_fanout_native_batch_t  *b;

    if (job->snapshot == NULL || job->chunk == job->snapshot->nchunks) {
        return NGX_OK;
    }

    b = s->batch;
    chunk = &job->snapshot->chunks[job->chunk];

    if (job->chunk + 1 == job->snapshot->nchunks
        && (b == NULL
            || (b->frame ? b->frame->used : 0) + chunk->end - chunk->start
               < NGX_HTTP_FANOUT_CHUNK))
    {
        /* the last one is part of the reply */
        return NGX_OK;
    }

    batch = s->batch;
    s->batch = NULL;

    fanout_native_open(&rp, s, job->id.data, job->id.len);
    fanout_native_literal(&rp, "\"part\":{\"channel\":");
    fanout_native_string(&rp, job->channel.data, job->channel.len);
    fanout_native_literal(&rp, ",\"members\":[");
    end_around(&rp, job->snapshot, chunk);

    s->batch = batch;

    if (s->dead) {
        /* and the job with it */
        return NGX_ERROR;
    }

    job->chunk++;

    return NGX_AGAIN;
}


void
fanout_native_members_reply(fanout_reply_t *rp, ngx_http_fanout_job_t *job)
{
    ngx_http_fanout_chunk_t     *chunk;
    ngx_http_fanout_snapshot_t  *sn;

    if (job->counts) {
        fanout_native_printf(rp, ",\"summary\":{\"members\":%uD}",
                             job->count);
    }

    if (!job->members) {
        fanout_native_literal(rp, "}");
        fanout_native_end(rp);
        return;
    }

    fanout_native_literal(rp, ",\"members\":[");

    sn = job->snapshot;
    chunk = sn && job->chunk < sn->nchunks ? &sn->chunks[job->chunk] : NULL;

    end_around(rp, sn, chunk);
}


/* Members are sent from where all have them, where a message is made of
 * pieces. */

static void
end_around(fanout_reply_t *rp, ngx_http_fanout_snapshot_t *sn,
    ngx_http_fanout_chunk_t *chunk)
{
    uint32_t  split;

    if (chunk && rp->batch == NULL && rp->f
        && rp->s->transport == &ngx_http_fanout_websocket
        && chunk->end - chunk->start > NGX_HTTP_FANOUT_COPIED)
    {
        split = rp->f->used;
        fanout_native_literal(rp, "]}");
        fanout_native_end_around(rp, sn->frame, chunk->start, chunk->end,
                                 split);
        return;
    }

    if (chunk) {
        fanout_native_text(rp, sn->frame->data + chunk->start,
                           chunk->end - chunk->start);
    }

    fanout_native_literal(rp, "]}");
    fanout_native_end(rp);
}


/* at the handshake */

ngx_int_t
fanout_native_user_info(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf, ngx_str_t *info)
{
    size_t                      size;
    u_char                     *p;
    ngx_str_t                  *values;
    ngx_uint_t                  i, n;
    ngx_http_fanout_profile_t  *profile;

    ngx_str_null(info);

    if (conf->user_info == NULL) {
        return NGX_OK;
    }

    profile = conf->user_info->elts;
    n = conf->user_info->nelts;
    size = sizeof("{}");

    values = ngx_palloc(r->pool, n * sizeof(ngx_str_t));
    if (values == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_complex_value(r, &profile[i].value, &values[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (values[i].len) {
            size += profile[i].name.len + sizeof("\"\":\"\",")
                    + ngx_http_fanout_json_escape_len(values[i].data,
                                                      values[i].len);
        }
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    info->data = p;
    *p++ = '{';

    for (i = 0; i < n; i++) {
        if (values[i].len == 0) {
            continue;
        }

        if (p - info->data > 1) {
            *p++ = ',';
        }

        p = ngx_sprintf(p, "\"%V\":\"", &profile[i].name);
        p = ngx_http_fanout_json_escape(p, values[i].data, values[i].len);
        *p++ = '"';
    }

    *p++ = '}';
    info->len = p - info->data;

    if (info->len > NGX_HTTP_FANOUT_ZONE_INFO) {
        return NGX_DECLINED;
    }

    if (info->len == 2) {
        /* not a word */
        info->len = 0;
    }

    return NGX_OK;
}


ngx_int_t
fanout_native_autojoin(ngx_http_fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *text)
{
    u_char                    *p;
    size_t                     size;
    ngx_str_t                 *names;
    ngx_uint_t                 i, n;
    ngx_http_fanout_permit_t  *channels;

    channels = s->conf->autojoin->elts;
    n = s->conf->autojoin->nelts;
    size = sizeof("[]");

    ngx_str_null(text);

    names = ngx_palloc(r->pool, n * sizeof(ngx_str_t));
    if (names == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_fanout_access_name(r, &channels[i], &names[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        size += sizeof("{\"op\":\"join\",\"channel\":\"\"},")
                + (names[i].len
                   ? ngx_http_fanout_json_escape_len(names[i].data,
                                                     names[i].len)
                   : 0);
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    *p++ = '[';

    for (i = 0; i < n; i++) {
        if (names[i].len == 0) {
            continue;
        }

        if (p - text->data > 1) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, "{\"op\":\"join\",\"channel\":\"",
                       sizeof("{\"op\":\"join\",\"channel\":\"") - 1);
        p = ngx_http_fanout_json_escape(p, names[i].data, names[i].len);
        *p++ = '"';
        *p++ = '}';
    }

    *p++ = ']';
    text->len = p - text->data > 2 ? p - text->data : 0;

    return NGX_OK;
}
