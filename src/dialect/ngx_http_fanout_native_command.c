
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The commands of the native protocol.
 */


#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_native.h"
#include "ngx_http_fanout_replay.h"
#include "ngx_http_fanout_utf8.h"


#define NGX_HTTP_FANOUT_PART  32768     /* bytes of messages in a part */


typedef ngx_http_fanout_json_t  json_t;


/* a command as it was sent; members that are not there have len 0 */

typedef struct {
    json_t      id;
    json_t      op;
    json_t      channel;
    json_t      since;
    json_t      history;
    json_t      want;
    json_t      events;
    json_t      echo;
    json_t      event;
    json_t      data;
    json_t      messages;
    json_t      key;
    json_t      to;
    json_t      store;
    json_t      condition;
    json_t      enc;
    json_t      meta;
    json_t      before;
    json_t      limit;

    ngx_uint_t  at;
    ngx_str_t   name;                   /* of the channel */
    u_char      buf[NGX_HTTP_FANOUT_NAME];
} command_t;


typedef struct {
    json_t  event;
    json_t  data;
    json_t  key;
    json_t  enc;
    json_t  meta;
} item_t;


typedef struct {
    json_t  epoch;
    json_t  offset;
} position_t;


/* what a publish decodes into, for all its messages */

typedef struct {
    ngx_http_fanout_zone_message_t  m[NGX_HTTP_FANOUT_ZONE_BATCH];
    u_char                         *pool;
    size_t                          used;
} draft_t;


/* a reply being written: into the batch or a frame of its own */

typedef struct {
    ngx_http_fanout_session_t       *s;
    ngx_http_fanout_native_batch_t  *batch;
    ngx_http_fanout_frame_t         *f;
    uint32_t                         start;
    ngx_int_t                        rc;
} reply_t;


static ngx_uint_t take_channel(ngx_http_fanout_session_t *s, command_t *cmd,
    ngx_uint_t op);
static ngx_uint_t take_count(ngx_http_fanout_session_t *s, command_t *cmd,
    json_t *value, const char *name, ngx_uint_t max, ngx_uint_t *n);
static ngx_uint_t take_flag(ngx_http_fanout_session_t *s, command_t *cmd,
    json_t *value, const char *name, int *flag);
static ngx_uint_t take_position(ngx_http_fanout_session_t *s, command_t *cmd,
    json_t *value, const char *name, uint64_t *epoch, uint64_t *offset);
static ngx_uint_t take_label(ngx_http_fanout_session_t *s, command_t *cmd,
    json_t *value, const char *name, u_char *buf,
    ngx_http_fanout_zstr_t *label);

static void op_join(ngx_http_fanout_session_t *s, command_t *cmd);
static ngx_uint_t join_options(ngx_http_fanout_session_t *s, command_t *cmd,
    ngx_http_fanout_subscription_t *sub);
static ngx_http_fanout_events_t *join_events(ngx_http_fanout_session_t *s,
    command_t *cmd);
static void op_leave(ngx_http_fanout_session_t *s, command_t *cmd);
static void op_publish(ngx_http_fanout_session_t *s, command_t *cmd);
static ngx_uint_t publish_messages(ngx_http_fanout_session_t *s,
    command_t *cmd, draft_t *d, ngx_uint_t *n);
static ngx_uint_t publish_item(ngx_http_fanout_session_t *s, command_t *cmd,
    item_t *item, draft_t *d, ngx_http_fanout_zone_message_t *m);
static ngx_uint_t publish_data(ngx_http_fanout_session_t *s, command_t *cmd,
    item_t *item, draft_t *d, ngx_http_fanout_zone_message_t *m);
static void published(ngx_http_fanout_session_t *s, command_t *cmd,
    ngx_uint_t n, ngx_http_fanout_zone_result_t *r);
static void op_history(ngx_http_fanout_session_t *s, command_t *cmd);
static void op_ping(ngx_http_fanout_session_t *s, command_t *cmd);

static ngx_http_fanout_job_t *job_create(ngx_http_fanout_session_t *s,
    command_t *cmd);
static ngx_int_t job_run(ngx_http_fanout_session_t *s);
static ngx_int_t job_read(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job);
static ngx_uint_t job_replay(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job);
static void job_remember(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job, uint64_t after, uint32_t start,
    ngx_http_fanout_arena_t *a);
static ngx_int_t job_add(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job, ngx_http_fanout_entry_t *e);
static ngx_int_t job_frame(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_job_t *job);
static ngx_int_t job_part(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job);
static void job_finish(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job);

static void reply_open(reply_t *rp, ngx_http_fanout_session_t *s, u_char *id,
    size_t len);
static void reply_text(reply_t *rp, const void *data, size_t len);
static void reply_printf(reply_t *rp, const char *fmt, ...);
static void reply_string(reply_t *rp, const void *data, size_t len);
static void reply_close(reply_t *rp);
static void refuse(ngx_http_fanout_session_t *s, command_t *cmd,
    ngx_http_fanout_error_e code, const char *fmt, ...);
static void refuse_limit(ngx_http_fanout_session_t *s, command_t *cmd,
    ngx_http_fanout_error_e code, const char *limit, ngx_uint_t max,
    const char *directive);

#define reply_literal(rp, text)  reply_text(rp, text, sizeof(text) - 1)


static const ngx_http_fanout_json_field_t  fields[] = {
    ngx_http_fanout_json_field("id", command_t, id),
    ngx_http_fanout_json_field("op", command_t, op),
    ngx_http_fanout_json_field("channel", command_t, channel),
    ngx_http_fanout_json_field("since", command_t, since),
    ngx_http_fanout_json_field("history", command_t, history),
    ngx_http_fanout_json_field("want", command_t, want),
    ngx_http_fanout_json_field("events", command_t, events),
    ngx_http_fanout_json_field("echo", command_t, echo),
    ngx_http_fanout_json_field("event", command_t, event),
    ngx_http_fanout_json_field("data", command_t, data),
    ngx_http_fanout_json_field("messages", command_t, messages),
    ngx_http_fanout_json_field("key", command_t, key),
    ngx_http_fanout_json_field("to", command_t, to),
    ngx_http_fanout_json_field("store", command_t, store),
    ngx_http_fanout_json_field("if", command_t, condition),
    ngx_http_fanout_json_field("enc", command_t, enc),
    ngx_http_fanout_json_field("meta", command_t, meta),
    ngx_http_fanout_json_field("before", command_t, before),
    ngx_http_fanout_json_field("limit", command_t, limit)
};

static const ngx_http_fanout_json_field_t  item_fields[] = {
    ngx_http_fanout_json_field("event", item_t, event),
    ngx_http_fanout_json_field("data", item_t, data),
    ngx_http_fanout_json_field("key", item_t, key),
    ngx_http_fanout_json_field("enc", item_t, enc),
    ngx_http_fanout_json_field("meta", item_t, meta)
};

static const ngx_http_fanout_json_field_t  position_fields[] = {
    ngx_http_fanout_json_field("epoch", position_t, epoch),
    ngx_http_fanout_json_field("offset", position_t, offset)
};

#define count_of(a)  (sizeof(a) / sizeof((a)[0]))


typedef struct {
    ngx_str_t    name;
    void       (*run)(ngx_http_fanout_session_t *s, command_t *cmd);
} op_t;

static op_t  ops[] = {
    { ngx_string("publish"), op_publish },
    { ngx_string("join"), op_join },
    { ngx_string("leave"), op_leave },
    { ngx_string("history"), op_history },
    { ngx_string("ping"), op_ping },
    { ngx_null_string, NULL }
};


void
ngx_http_fanout_native_command(ngx_http_fanout_session_t *s,
    ngx_http_fanout_json_t *object, ngx_uint_t at)
{
    int                           rc, type;
    u_char                        buf[32];
    json_t                        name;
    ngx_uint_t                    i, wait;
    command_t                     cmd;
    ngx_http_fanout_json_error_t  err;

    cmd.at = at;

    rc = ngx_http_fanout_json_members(object, fields, count_of(fields), &cmd,
                                      &err);

    if (rc != NGX_HTTP_FANOUT_JSON_OK) {
        ngx_memzero(&cmd.id, sizeof(json_t));
        ngx_memzero(&cmd.op, sizeof(json_t));
        refuse(s, &cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "%s", rc == NGX_HTTP_FANOUT_JSON_TYPE
                     ? "a command is an object" : err.reason);
        return;
    }

    type = ngx_http_fanout_json_type(&cmd.id);

    if ((type != NGX_HTTP_FANOUT_JSON_NONE
         && type != NGX_HTTP_FANOUT_JSON_NUMBER
         && type != NGX_HTTP_FANOUT_JSON_STRING)
        || cmd.id.len > NGX_HTTP_FANOUT_KEY)
    {
        cmd.id.len = 0;
        refuse(s, &cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"id\" is a number or a string of at most 128 bytes");
        return;
    }

    if (!ngx_http_fanout_session_rate(s, &wait)) {
        ngx_http_fanout_count(s->hub, rate_limited);
        cmd.name.len = ngx_sprintf(cmd.buf, "{\"retry_after\":%ui}", wait)
                       - cmd.buf;
        cmd.name.data = cmd.buf;
        ngx_http_fanout_native_error(s, &cmd.id, &cmd.op, at,
                                     NGX_HTTP_FANOUT_E_RATE_LIMITED, NULL,
                                     &cmd.name);
        return;
    }

    if (ngx_http_fanout_json_text(&cmd.op, buf, sizeof(buf), &name)
        == NGX_HTTP_FANOUT_JSON_OK)
    {
        for (i = 0; ops[i].run; i++) {
            if (ops[i].name.len == name.len
                && ngx_memcmp(ops[i].name.data, name.data, name.len) == 0)
            {
                ops[i].run(s, &cmd);
                return;
            }
        }
    }

    refuse(s, &cmd, cmd.op.len ? NGX_HTTP_FANOUT_E_UNKNOWN_OP
                               : NGX_HTTP_FANOUT_E_BAD_REQUEST,
           cmd.op.len ? "there is no such op; there are publish, join, leave, "
                        "history and ping"
                      : "\"op\" is missing");
}


/* members; 0 after an error was replied */

static ngx_uint_t
take_channel(ngx_http_fanout_session_t *s, command_t *cmd, ngx_uint_t op)
{
    json_t       text;
    const char  *verb;

    if (ngx_http_fanout_json_text(&cmd->channel, cmd->buf, sizeof(cmd->buf),
                                  &text)
        != NGX_HTTP_FANOUT_JSON_OK)
    {
        goto invalid;
    }

    cmd->name.data = (u_char *) text.data;
    cmd->name.len = text.len;

    if (ngx_http_fanout_hub_name(&cmd->name) != NGX_OK) {
        goto invalid;
    }

    if (op && !ngx_http_fanout_access_check(s->access, op, &cmd->name)) {

        verb = op == NGX_HTTP_FANOUT_MAY_JOIN ? "join"
               : op == NGX_HTTP_FANOUT_MAY_PUBLISH ? "publish" : "history";

        ngx_http_fanout_count(s->hub, forbidden);
        refuse(s, cmd, NGX_HTTP_FANOUT_E_FORBIDDEN,
               "no \"fanout_permit %s\" allows this channel", verb);
        return 0;
    }

    return 1;

invalid:

    refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
           "\"channel\" is a name: a string of 1 to 255 bytes of UTF-8 "
           "without control characters and \"*\"");

    return 0;
}


static ngx_uint_t
take_count(ngx_http_fanout_session_t *s, command_t *cmd, json_t *value,
    const char *name, ngx_uint_t max, ngx_uint_t *n)
{
    int64_t  i;

    if (value->len == 0) {
        return 1;
    }

    if (ngx_http_fanout_json_int(value, &i) != NGX_HTTP_FANOUT_JSON_OK
        || i < 0)
    {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"%s\" is a number from 0 on", name);
        return 0;
    }

    if ((uint64_t) i > max) {
        refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_MANY, name, max,
                     "fanout_history");
        return 0;
    }

    *n = i;

    return 1;
}


static ngx_uint_t
take_flag(ngx_http_fanout_session_t *s, command_t *cmd, json_t *value,
    const char *name, int *flag)
{
    if (value->len == 0) {
        return 1;
    }

    if (ngx_http_fanout_json_bool(value, flag) != NGX_HTTP_FANOUT_JSON_OK) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"%s\" is true or false", name);
        return 0;
    }

    return 1;
}


/* an epoch that is no epoch of ours is one that is not known any more */

static ngx_uint_t
take_position(ngx_http_fanout_session_t *s, command_t *cmd, json_t *value,
    const char *name, uint64_t *epoch, uint64_t *offset)
{
    u_char      buf[NGX_HTTP_FANOUT_KEY];
    json_t      text;
    int64_t     n;
    ngx_str_t   str;
    position_t  p;

    if (ngx_http_fanout_json_members(value, position_fields,
                                     count_of(position_fields), &p, NULL)
        != NGX_HTTP_FANOUT_JSON_OK
        || ngx_http_fanout_json_int(&p.offset, &n) != NGX_HTTP_FANOUT_JSON_OK
        || n < 0
        || ngx_http_fanout_json_text(&p.epoch, buf, sizeof(buf), &text)
           != NGX_HTTP_FANOUT_JSON_OK)
    {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"%s\" is {\"epoch\":string,\"offset\":number}", name);
        return 0;
    }

    str.data = (u_char *) text.data;
    str.len = text.len;

    if (ngx_http_fanout_epoch_parse(&str, epoch) != NGX_OK) {
        *epoch = 0;
    }

    *offset = n;

    return 1;
}


static ngx_uint_t
take_label(ngx_http_fanout_session_t *s, command_t *cmd, json_t *value,
    const char *name, u_char *buf, ngx_http_fanout_zstr_t *label)
{
    json_t     text;
    ngx_str_t  str;

    label->len = 0;

    if (value->len == 0) {
        return 1;
    }

    if (ngx_http_fanout_json_text(value, buf, NGX_HTTP_FANOUT_KEY, &text)
        == NGX_HTTP_FANOUT_JSON_OK)
    {
        str.data = (u_char *) text.data;
        str.len = text.len;

        if (ngx_http_fanout_hub_label(&str, NGX_HTTP_FANOUT_KEY) == NGX_OK) {
            label->data = text.data;
            label->len = text.len;
            return 1;
        }
    }

    refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
           "\"%s\" is a string of 1 to 128 bytes of UTF-8 without control "
           "characters", name);

    return 0;
}


/* join */

static void
op_join(ngx_http_fanout_session_t *s, command_t *cmd)
{
    uint64_t                         epoch, offset;
    ngx_uint_t                       history, since;
    ngx_http_fanout_job_t           *job;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_zone_join_t      j;
    ngx_http_fanout_subscription_t  *sub;

    epoch = 0;
    offset = 0;
    history = 0;
    since = cmd->since.len != 0;

    if (!take_channel(s, cmd, NGX_HTTP_FANOUT_MAY_JOIN)
        || !take_count(s, cmd, &cmd->history, "history", s->conf->history,
                       &history)
        || (since && !take_position(s, cmd, &cmd->since, "since", &epoch,
                                    &offset)))
    {
        return;
    }

    if (history && !since
        && !take_channel(s, cmd, NGX_HTTP_FANOUT_MAY_HISTORY))
    {
        return;
    }

    if (!join_options(s, cmd, NULL)) {
        return;
    }

    job = job_create(s, cmd);

    if (job == NULL) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_INTERNAL, "out of memory");
        return;
    }

    rc = ngx_http_fanout_hub_join(s, &job->channel, since, epoch, offset,
                                  history, &sub, &j);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        ngx_free(job);

        if (rc == NGX_HTTP_FANOUT_E_TOO_MANY) {
            refuse_limit(s, cmd, rc, "channels", s->conf->channels,
                         "fanout_channels_per_session");
            return;
        }

        refuse(s, cmd, rc, "%V", &ngx_http_fanout_errors[rc].text);
        return;
    }

    (void) join_options(s, cmd, sub);

    job->sub = sub;
    job->epoch = j.epoch;
    job->offset = j.offset;
    job->after = j.after;
    job->upto = j.offset;
    job->missed = j.missed;
    job->left = j.missed;
    job->since = since;
    job->recovered = j.recovered;

    sub->state = NGX_HTTP_FANOUT_SUB_JOINING;
    s->job = job;

    (void) job_run(s);
}


/* checks the options, or sets them on a subscription */

static ngx_uint_t
join_options(ngx_http_fanout_session_t *s, command_t *cmd,
    ngx_http_fanout_subscription_t *sub)
{
    int                        echo, messages;
    u_char                     buf[32];
    json_t                     item, text;
    ngx_http_fanout_events_t  *events;
    ngx_http_fanout_json_iter_t  it;

    echo = 1;
    messages = 1;

    if (!take_flag(s, cmd, &cmd->echo, "echo", &echo)) {
        return 0;
    }

    if (cmd->want.len) {
        messages = 0;

        if (ngx_http_fanout_json_iter(&it, &cmd->want)
            != NGX_HTTP_FANOUT_JSON_OK
            || ngx_http_fanout_json_type(&cmd->want)
               != NGX_HTTP_FANOUT_JSON_ARRAY)
        {
            refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                   "\"want\" is an array of strings");
            return 0;
        }

        while (ngx_http_fanout_json_next(&it, NULL, &item) == 1) {
            if (ngx_http_fanout_json_text(&item, buf, sizeof(buf), &text)
                == NGX_HTTP_FANOUT_JSON_OK
                && text.len == 8 && ngx_memcmp(text.data, "messages", 8) == 0)
            {
                messages = 1;
            }
        }
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
        sub->no_messages = !messages;
    }

    return 1;
}


static ngx_http_fanout_events_t *
join_events(ngx_http_fanout_session_t *s, command_t *cmd)
{
    size_t                     i, n;
    u_char                    *p;
    json_t                     items[64];
    ngx_http_fanout_zstr_t     label;
    ngx_http_fanout_events_t  *events;

    if (ngx_http_fanout_json_array(&cmd->events, items, count_of(items), &n)
        != NGX_HTTP_FANOUT_JSON_OK)
    {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"events\" is an array of at most 64 names");
        return NULL;
    }

    events = ngx_alloc(sizeof(ngx_http_fanout_events_t)
                       + n * (sizeof(ngx_str_t) + NGX_HTTP_FANOUT_KEY),
                       ngx_cycle->log);
    if (events == NULL) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_INTERNAL, "out of memory");
        return NULL;
    }

    events->n = n;
    p = (u_char *) &events->names[n];

    for (i = 0; i < n; i++) {
        if (!take_label(s, cmd, &items[i], "events", p, &label)) {
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


static void
op_leave(ngx_http_fanout_session_t *s, command_t *cmd)
{
    reply_t                          rp;
    ngx_http_fanout_subscription_t  *sub;

    if (!take_channel(s, cmd, 0)) {
        return;
    }

    sub = ngx_http_fanout_session_sub(s, &cmd->name);

    if (sub == NULL) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_NOT_JOINED,
               "the channel is not joined");
        return;
    }

    ngx_http_fanout_hub_leave(sub);

    if (cmd->id.len) {
        reply_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        reply_literal(&rp, "\"ok\":{}");
        reply_close(&rp);
    }
}


/* publish */

static void
op_publish(ngx_http_fanout_session_t *s, command_t *cmd)
{
    int                              echo, store;
    u_char                           key[NGX_HTTP_FANOUT_KEY];
    u_char                           data[96], epoch[16];
    ngx_str_t                        text, more;
    ngx_uint_t                       i, n;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_zone_result_t    r;
    ngx_http_fanout_zone_publish_t   opts;
    static draft_t                   d;

    echo = 1;
    store = 1;
    ngx_memzero(&opts, sizeof(ngx_http_fanout_zone_publish_t));

    if (!take_channel(s, cmd, NGX_HTTP_FANOUT_MAY_PUBLISH)) {
        return;
    }

    if (cmd->to.len) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "direct messages (\"to\") are not served by this version");
        return;
    }

    if (!take_flag(s, cmd, &cmd->echo, "echo", &echo)
        || !take_flag(s, cmd, &cmd->store, "store", &store)
        || !take_label(s, cmd, &cmd->key, "key", key, &opts.key))
    {
        return;
    }

    if (cmd->condition.len) {
        opts.if_set = 1;

        if (!take_position(s, cmd, &cmd->condition, "if", &opts.if_epoch,
                           &opts.if_offset))
        {
            return;
        }

        if (opts.if_epoch == 0) {
            /* not one of ours: it can't be the channel's */
            opts.if_offset = UINT64_MAX;
        }
    }

    opts.scope.data = s->user.data;
    opts.scope.len = s->user.len;

    d.pool = NULL;

    if (!publish_messages(s, cmd, &d, &n)) {
        goto done;
    }

    for (i = 0; i < n; i++) {
        d.m[i].client = s->identity.client;
        d.m[i].user = opts.scope;
        d.m[i].flags = (echo ? 0 : NGX_HTTP_FANOUT_NOECHO)
                       | (store ? 0 : NGX_HTTP_FANOUT_TRANSIENT);
    }

    rc = ngx_http_fanout_hub_publish(s->hub, &cmd->name, d.m, n, &opts, &r);

    if (rc == NGX_HTTP_FANOUT_E_NONE) {
        published(s, cmd, n, &r);

    } else if (rc == NGX_HTTP_FANOUT_E_CONFLICT) {
        (void) ngx_http_fanout_epoch_format(epoch, r.epoch);

        ngx_str_set(&text, "the channel is not where \"if\" says");
        more.data = data;
        more.len = ngx_sprintf(data, "{\"epoch\":\"%*s\",\"offset\":%uL}",
                               sizeof(epoch), epoch, r.offset)
                   - data;

        ngx_http_fanout_native_error(s, &cmd->id, &cmd->op, cmd->at, rc,
                                     &text, &more);

    } else {
        refuse(s, cmd, rc, "%V", &ngx_http_fanout_errors[rc].text);
    }

done:

    if (d.pool) {
        ngx_free(d.pool);
    }
}


static ngx_uint_t
publish_messages(ngx_http_fanout_session_t *s, command_t *cmd, draft_t *d,
    ngx_uint_t *n)
{
    size_t                         i, count, size;
    item_t                         item;
    json_t                         items[NGX_HTTP_FANOUT_ZONE_BATCH];
    ngx_http_fanout_json_error_t   err;

    if (cmd->messages.len == 0) {
        item.event = cmd->event;
        item.data = cmd->data;
        item.key = cmd->key;
        item.enc = cmd->enc;
        item.meta = cmd->meta;

        d->pool = ngx_alloc(item.data.len + item.meta.len
                            + 3 * NGX_HTTP_FANOUT_KEY, ngx_cycle->log);
        d->used = 0;
        *n = 1;

        return publish_item(s, cmd, &item, d, &d->m[0]);
    }

    switch (ngx_http_fanout_json_array(&cmd->messages, items, s->conf->batch,
                                       &count))
    {
    case NGX_HTTP_FANOUT_JSON_OK:
        break;

    case NGX_HTTP_FANOUT_JSON_TOO_MANY:
        refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_MANY, "batch",
                     s->conf->batch, "fanout_batch");
        return 0;

    default:
        count = 0;
    }

    if (count == 0 || cmd->data.len) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"messages\" is an array with at least one message, instead "
               "of \"data\"");
        return 0;
    }

    size = cmd->messages.len + count * 3 * NGX_HTTP_FANOUT_KEY;
    d->pool = ngx_alloc(size, ngx_cycle->log);
    d->used = 0;
    *n = count;

    for (i = 0; i < count; i++) {

        if (ngx_http_fanout_json_members(&items[i], item_fields,
                                         count_of(item_fields), &item, &err)
            != NGX_HTTP_FANOUT_JSON_OK)
        {
            refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                   "\"messages\" holds something that is no message");
            return 0;
        }

        if (!publish_item(s, cmd, &item, d, &d->m[i])) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
publish_item(ngx_http_fanout_session_t *s, command_t *cmd, item_t *item,
    draft_t *d, ngx_http_fanout_zone_message_t *m)
{
    ngx_memzero(m, sizeof(ngx_http_fanout_zone_message_t));

    if (d->pool == NULL) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_INTERNAL, "out of memory");
        return 0;
    }

    if (!take_label(s, cmd, &item->event, "event", d->pool + d->used,
                    &m->event)
        || !take_label(s, cmd, &item->key, "key",
                       d->pool + d->used + NGX_HTTP_FANOUT_KEY, &m->key))
    {
        return 0;
    }

    d->used += 2 * NGX_HTTP_FANOUT_KEY;

    if (item->meta.len) {
        if (item->meta.len > NGX_HTTP_FANOUT_META) {
            refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_LARGE, "meta",
                         NGX_HTTP_FANOUT_META, "1024 bytes");
            return 0;
        }

        m->meta.data = d->pool + d->used;
        m->meta.len = ngx_http_fanout_json_minify(d->pool + d->used,
                                                  item->meta.data,
                                                  item->meta.len);
        d->used += m->meta.len;
    }

    return publish_data(s, cmd, item, d, m);
}


static ngx_uint_t
publish_data(ngx_http_fanout_session_t *s, command_t *cmd, item_t *item,
    draft_t *d, ngx_http_fanout_zone_message_t *m)
{
    u_char     *p, buf[16];
    json_t      enc;
    ngx_str_t   src, dst;

    if (item->data.len == 0) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST, "\"data\" is missing");
        return 0;
    }

    p = d->pool + d->used;

    if (item->enc.len == 0) {
        m->kind = NGX_HTTP_FANOUT_JSON;
        m->data.data = p;
        m->data.len = ngx_http_fanout_json_minify(p, item->data.data,
                                                  item->data.len);

    } else {
        if (ngx_http_fanout_json_text(&item->enc, buf, sizeof(buf), &enc)
            != NGX_HTTP_FANOUT_JSON_OK
            || enc.len != 6 || ngx_memcmp(enc.data, "base64", 6) != 0)
        {
            refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                   "\"enc\" can be \"base64\" only");
            return 0;
        }

        src.data = p;

        if (ngx_http_fanout_json_string(&item->data, p, item->data.len,
                                        &src.len)
            != NGX_HTTP_FANOUT_JSON_OK)
        {
            goto invalid;
        }

        dst.data = p;

        if (ngx_decode_base64(&dst, &src) != NGX_OK) {
            goto invalid;
        }

        m->kind = NGX_HTTP_FANOUT_BINARY;
        m->data.data = p;
        m->data.len = dst.len;
    }

    if (m->data.len > s->conf->message_size) {
        refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_LARGE, "message",
                     s->conf->message_size, "fanout_message_size");
        return 0;
    }

    d->used += m->data.len;

    return 1;

invalid:

    refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
           "\"data\" is not a string of base64");

    return 0;
}


static void
published(ngx_http_fanout_session_t *s, command_t *cmd, ngx_uint_t n,
    ngx_http_fanout_zone_result_t *r)
{
    u_char   epoch[NGX_HTTP_FANOUT_EPOCH_LEN];
    reply_t  rp;

    if (r->duplicate) {
        ngx_http_fanout_count(s->hub, duplicates);
    } else {
        ngx_http_fanout_add(s->hub, published, n);
    }

    if (cmd->id.len == 0) {
        return;
    }

    (void) ngx_http_fanout_epoch_format(epoch, r->epoch);

    reply_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
    reply_printf(&rp, "\"ok\":{\"epoch\":\"%*s\",\"offset\":%uL,\"time\":%uL"
                 "%s}", sizeof(epoch), epoch, r->offset, r->time,
                 r->duplicate ? ",\"duplicate\":true" : "");
    reply_close(&rp);
}


/* history: after since, or the newest before an offset */

static void
op_history(ngx_http_fanout_session_t *s, command_t *cmd)
{
    int                              rc;
    uint64_t                         epoch, offset;
    ngx_uint_t                       limit, before;
    ngx_http_fanout_job_t           *job;
    ngx_http_fanout_zone_join_t      j;
    ngx_http_fanout_zone_channel_t   zc;

    epoch = 0;
    offset = 0;
    before = 0;
    limit = ngx_min(100, s->conf->history);

    if (!take_channel(s, cmd, NGX_HTTP_FANOUT_MAY_HISTORY)
        || !take_count(s, cmd, &cmd->limit, "limit", s->conf->history, &limit)
        || !take_count(s, cmd, &cmd->before, "before", NGX_MAX_INT_T_VALUE,
                       &before)
        || (cmd->since.len
            && !take_position(s, cmd, &cmd->since, "since", &epoch, &offset)))
    {
        return;
    }

    job = job_create(s, cmd);

    if (job == NULL) {
        refuse(s, cmd, NGX_HTTP_FANOUT_E_INTERNAL, "out of memory");
        return;
    }

    ngx_http_fanout_hub_view(s->hub, &job->channel, &zc);

    rc = ngx_http_fanout_log_seek(&s->hub->zone, &zc, before,
                                  cmd->since.len ? 0 : limit, &j);

    if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
        /* nobody said anything here yet */
        ngx_memzero(&j, sizeof(ngx_http_fanout_zone_join_t));
    }

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
        job->recovered = (epoch == j.epoch);
        job->after = job->recovered ? offset : job->upto;
        job->newest = 0;
    }

    s->job = job;

    (void) job_run(s);
}


static void
op_ping(ngx_http_fanout_session_t *s, command_t *cmd)
{
    reply_t  rp;

    if (cmd->id.len) {
        reply_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        reply_printf(&rp, "\"ok\":{\"time\":%uL}",
                     ngx_http_fanout_native_time());
        reply_close(&rp);
    }
}


/* jobs */

static ngx_http_fanout_job_t *
job_create(ngx_http_fanout_session_t *s, command_t *cmd)
{
    u_char                 *p;
    ngx_http_fanout_job_t  *job;

    job = ngx_calloc(sizeof(ngx_http_fanout_job_t) + cmd->id.len
                     + cmd->name.len, ngx_cycle->log);
    if (job == NULL) {
        return NULL;
    }

    p = (u_char *) (job + 1);

    job->id.data = p;
    job->id.len = cmd->id.len;

    if (cmd->id.len) {
        ngx_memcpy(p, cmd->id.data, cmd->id.len);
    }

    job->channel.data = p + cmd->id.len;
    job->channel.len = cmd->name.len;
    ngx_memcpy(job->channel.data, cmd->name.data, cmd->name.len);

    return job;
}


/* Called when the socket has taken what was there.  Commands behind the job
 * in its array go on from here, never from within another command. */

ngx_int_t
ngx_http_fanout_native_work(ngx_http_fanout_session_t *s)
{
    if (job_run(s) == NGX_OK && !s->dead) {
        ngx_http_fanout_native_continue(s);
    }

    return s->job ? NGX_AGAIN : NGX_OK;
}


/* AGAIN when the output limit was reached before the end. */

static ngx_int_t
job_run(ngx_http_fanout_session_t *s)
{
    ngx_int_t               rc;
    ngx_http_fanout_job_t  *job;

    job = s->job;

    do {
        if (s->pending && s->pending >= s->conf->buffer / 2) {
            return NGX_AGAIN;
        }

        rc = job_read(s, job);

        if (s->dead) {
            return NGX_OK;
        }

    } while (rc == NGX_AGAIN);

    job_finish(s, job);

    return NGX_OK;
}


/* Reads a section of the log; AGAIN when there may be more. */

static ngx_int_t
job_read(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job)
{
    int                              rc;
    uint32_t                         start;
    uint64_t                         lost, after;
    ngx_uint_t                       i, whole;
    ngx_http_fanout_arena_t         *a;
    ngx_http_fanout_zone_channel_t   zc;

    if (job->after >= job->upto || job->left == 0) {
        return NGX_OK;
    }

    if (job_replay(s, job)) {
        return job->messages->used >= NGX_HTTP_FANOUT_PART
               && job->after < job->upto
               && job_part(s, job) != NGX_OK
               ? NGX_ERROR : NGX_AGAIN;
    }

    a = &s->hub->pages;
    a->n = 0;
    a->used = 0;

    ngx_http_fanout_hub_view(s->hub, &job->channel, &zc);

    rc = ngx_http_fanout_log_read(&s->hub->zone, &zc, job->epoch, job->after,
                                  job->upto, a, &lost);

    if (rc == NGX_HTTP_FANOUT_ZONE_STALE || rc == NGX_HTTP_FANOUT_ZONE_NOTFOUND
        || rc == NGX_HTTP_FANOUT_ZONE_FULL)
    {
        /* purged, or no memory for a message, while it was being told */
        job->recovered = 0;
        return NGX_OK;
    }

    if (lost > job->after) {
        job->recovered = 0;
    }

    after = job->after;
    start = job->messages ? job->messages->used : 0;
    whole = 1;

    for (i = 0; i < a->n; i++) {

        if (job->left == 0) {
            job->next = job->after;
            return NGX_OK;
        }

        if (job_add(s, job, &a->entries[i]) != NGX_OK) {
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
            return NGX_ERROR;
        }

        job->after = a->entries[i].offset;

        if (!job->first) {
            job->first = job->after;
        }

        job->left--;

        if (job->messages->used >= NGX_HTTP_FANOUT_PART
            && (i + 1 < a->n || rc == NGX_HTTP_FANOUT_ZONE_AGAIN))
        {
            whole = 0;

            if (job_part(s, job) != NGX_OK) {
                ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
                return NGX_ERROR;
            }
        }
    }

    if (whole && a->n && job->messages->used > start) {
        job_remember(s, job, after, start, a);
    }

    if (rc == NGX_HTTP_FANOUT_ZONE_AGAIN && job->left == 0) {
        job->next = job->after;
        return NGX_OK;
    }

    return rc == NGX_HTTP_FANOUT_ZONE_AGAIN ? NGX_AGAIN : NGX_OK;
}


/* Takes a section from what another joiner was told a moment ago. */

static ngx_uint_t
job_replay(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job)
{
    ngx_http_fanout_hub_t     *hub;
    ngx_http_fanout_replay_t  *r;

    hub = s->hub;

    if (job->sub == NULL || !ngx_http_fanout_sub_plain(job->sub)) {
        return 0;
    }

    r = ngx_http_fanout_replay_find(hub, job->sub->channel,
                                    NGX_HTTP_FANOUT_NATIVE_ITEMS, job->epoch,
                                    job->after, job->upto);

    if (r == NULL || r->n > job->left || job_frame(hub, job) != NGX_OK
        || ngx_http_fanout_frame_reserve(hub, job->messages,
                                         r->frame->used + 1)
           != NGX_OK)
    {
        return 0;
    }

    if (job->messages->used) {
        (void) ngx_http_fanout_frame_literal(hub, job->messages, ",");
    }

    (void) ngx_http_fanout_frame_append(hub, job->messages, r->frame->data,
                                        r->frame->used);

    job->after = r->last;
    job->left -= r->n;

    return 1;
}


/* Keeps a section that lies whole in the messages from start on. */

static void
job_remember(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job,
    uint64_t after, uint32_t start, ngx_http_fanout_arena_t *a)
{
    u_char                   *p;
    ngx_http_fanout_frame_t  *f;

    if (job->sub == NULL || !ngx_http_fanout_sub_plain(job->sub)
        || job->after != a->entries[a->n - 1].offset)
    {
        return;
    }

    p = job->messages->data + start;
    start += (start && *p == ',');

    f = ngx_http_fanout_frame_create(s->hub, job->messages->used - start);
    if (f == NULL) {
        return;
    }

    (void) ngx_http_fanout_frame_append(s->hub, f,
                                        job->messages->data + start,
                                        job->messages->used - start);

    ngx_http_fanout_replay_add(s->hub, job->sub->channel,
                               NGX_HTTP_FANOUT_NATIVE_ITEMS, job->epoch,
                               after, a->entries, a->n, f);
    ngx_http_fanout_frame_release(s->hub, f);
}


static ngx_int_t
job_add(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job,
    ngx_http_fanout_entry_t *e)
{
    ngx_http_fanout_hub_t    *hub;
    ngx_http_fanout_frame_t  *f;

    hub = s->hub;

    if (job->sub && (!s->dialect->match(job->sub, e)
                     || (e->client && e->client == s->identity.client
                         && (job->sub->no_echo
                             || (e->flags & NGX_HTTP_FANOUT_NOECHO)))))
    {
        return job_frame(hub, job);
    }

    if (job_frame(hub, job) != NGX_OK) {
        return NGX_ERROR;
    }

    f = job->messages;

    if (f->used && ngx_http_fanout_frame_literal(hub, f, ",") != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_fanout_frame_literal(hub, f, "{") != NGX_OK
        || ngx_http_fanout_entry_json(hub, e, f) != NGX_OK
        || ngx_http_fanout_frame_literal(hub, f, "}") != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
job_frame(ngx_http_fanout_hub_t *hub, ngx_http_fanout_job_t *job)
{
    if (job->messages == NULL) {
        job->messages = ngx_http_fanout_frame_create(hub, 4096);
    }

    return job->messages ? NGX_OK : NGX_ERROR;
}


/* A part is always a message of its own, also of a command in an array. */

static ngx_int_t
job_part(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job)
{
    void     *batch;
    reply_t   rp;

    batch = s->batch;
    s->batch = NULL;

    reply_open(&rp, s, job->id.data, job->id.len);
    reply_literal(&rp, "\"part\":{\"channel\":");
    reply_string(&rp, job->channel.data, job->channel.len);
    reply_literal(&rp, ",\"messages\":[");
    reply_text(&rp, job->messages->data, job->messages->used);
    reply_literal(&rp, "]}");
    reply_close(&rp);

    s->batch = batch;
    job->messages->used = 0;

    return s->dead ? NGX_ERROR : NGX_OK;
}


static void
job_finish(ngx_http_fanout_session_t *s, ngx_http_fanout_job_t *job)
{
    u_char   epoch[NGX_HTTP_FANOUT_EPOCH_LEN];
    reply_t  rp;

    (void) ngx_http_fanout_epoch_format(epoch, job->epoch);

    reply_open(&rp, s, job->id.data, job->id.len);
    reply_literal(&rp, "\"ok\":{\"channel\":");
    reply_string(&rp, job->channel.data, job->channel.len);
    reply_printf(&rp, ",\"epoch\":\"%*s\",\"offset\":%uL", sizeof(epoch),
                 epoch, job->offset);

    if (job->since) {
        reply_printf(&rp, ",\"recovered\":%s",
                     job->recovered ? "true" : "false");

        if (job->sub) {
            reply_printf(&rp, ",\"missed\":%uL", job->missed);
        }
    }

    reply_literal(&rp, ",\"messages\":[");

    if (job->messages) {
        reply_text(&rp, job->messages->data, job->messages->used);
    }

    reply_literal(&rp, "]");

    if (job->sub == NULL && (job->newest ? job->older : job->next)) {
        reply_printf(&rp, ",\"next\":%uL",
                     job->newest ? job->first : job->next);
    }

    reply_literal(&rp, "}");
    reply_close(&rp);

    if (job->sub && !job->sub->reset) {
        job->sub->offset = job->upto;
    }

    ngx_http_fanout_session_job_done(s);

    if (s->batch == NULL) {
        ngx_http_fanout_session_settle(s);
    }
}


/* replies */

static void
reply_open(reply_t *rp, ngx_http_fanout_session_t *s, u_char *id, size_t len)
{
    rp->s = s;
    rp->batch = s->batch;
    rp->rc = NGX_OK;

    if (rp->batch && rp->batch->frame) {
        rp->f = rp->batch->frame;
        reply_literal(rp, ",{");

    } else {
        rp->f = ngx_http_fanout_frame_create(s->hub, 256);

        if (rp->f == NULL
            || ngx_http_fanout_frame_begin(s->hub, rp->f, &rp->start)
               != NGX_OK)
        {
            rp->rc = NGX_ERROR;
            return;
        }

        if (rp->batch) {
            rp->batch->frame = rp->f;
            rp->batch->start = rp->start;
            reply_literal(rp, "[");
        }

        reply_literal(rp, "{");
    }

    if (len) {
        reply_literal(rp, "\"id\":");
        reply_text(rp, id, len);
        reply_literal(rp, ",");
    }
}


static void
reply_text(reply_t *rp, const void *data, size_t len)
{
    if (rp->rc == NGX_OK) {
        rp->rc = ngx_http_fanout_frame_append(rp->s->hub, rp->f, data, len);
    }
}


static void
reply_printf(reply_t *rp, const char *fmt, ...)
{
    u_char   buf[256], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    reply_text(rp, buf, p - buf);
}


static void
reply_string(reply_t *rp, const void *data, size_t len)
{
    if (rp->rc == NGX_OK) {
        rp->rc = ngx_http_fanout_frame_string(rp->s->hub, rp->f, data, len);
    }
}


static void
reply_close(reply_t *rp)
{
    reply_literal(rp, "}");

    if (rp->batch == NULL) {

        if (rp->rc == NGX_OK) {
            rp->rc = ngx_http_fanout_frame_end(rp->s->hub, rp->f, rp->start,
                                               NGX_HTTP_FANOUT_WS_TEXT);
        }

        if (rp->rc == NGX_OK) {
            ngx_http_fanout_session_push(rp->s, rp->f, 0, rp->f->used);
        }

        if (rp->f) {
            ngx_http_fanout_frame_release(rp->s->hub, rp->f);
        }
    }

    if (rp->rc != NGX_OK) {
        /* an answer can't be left out */
        ngx_http_fanout_session_end(rp->s, NGX_HTTP_FANOUT_END_CUT);
    }
}


void
ngx_http_fanout_native_error(ngx_http_fanout_session_t *s,
    ngx_http_fanout_json_t *id, ngx_http_fanout_json_t *op, ngx_uint_t at,
    ngx_http_fanout_error_e code, ngx_str_t *text, ngx_str_t *data)
{
    reply_t                   rp;
    ngx_http_fanout_error_t  *e;

    e = &ngx_http_fanout_errors[code];

    if (text == NULL) {
        text = &e->text;
    }

    ngx_http_fanout_count(s->hub, errors);

    reply_open(&rp, s, id ? (u_char *) id->data : NULL, id ? id->len : 0);
    reply_literal(&rp, "\"error\":{\"code\":\"");
    reply_text(&rp, e->code.data, e->code.len);
    reply_literal(&rp, "\",\"message\":");
    reply_string(&rp, text->data, text->len);

    if (data) {
        reply_literal(&rp, ",\"data\":");
        reply_text(&rp, data->data, data->len);
    }

    reply_literal(&rp, "}");

    if (id == NULL || id->len == 0) {
        reply_printf(&rp, ",\"at\":%ui", at);

        if (op && op->len && op->len < 64) {
            reply_literal(&rp, ",\"op\":");
            reply_text(&rp, op->data, op->len);
        }
    }

    reply_close(&rp);
}


static void
refuse(ngx_http_fanout_session_t *s, command_t *cmd,
    ngx_http_fanout_error_e code, const char *fmt, ...)
{
    u_char     buf[256];
    va_list    args;
    ngx_str_t  text;

    va_start(args, fmt);
    text.data = buf;
    text.len = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args) - buf;
    va_end(args);

    ngx_http_fanout_native_error(s, &cmd->id, &cmd->op, cmd->at, code, &text,
                                 NULL);
}


static void
refuse_limit(ngx_http_fanout_session_t *s, command_t *cmd,
    ngx_http_fanout_error_e code, const char *limit, ngx_uint_t max,
    const char *directive)
{
    u_char     buf[128], more[96];
    ngx_str_t  text, data;

    text.data = buf;
    text.len = ngx_snprintf(buf, sizeof(buf), "the limit of \"%s\" is %ui: %s",
                            limit, max, directive)
               - buf;

    data.data = more;
    data.len = ngx_snprintf(more, sizeof(more),
                            "{\"limit\":\"%s\",\"max\":%ui}", limit, max)
               - more;

    ngx_http_fanout_native_error(s, &cmd->id, &cmd->op, cmd->at, code, &text,
                                 &data);
}
