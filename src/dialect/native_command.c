
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The commands of the native protocol: how they are read, and the short ones.
 */


#include "base/id.h"
#include "base/time.h"
#include "hub/entry_json.h"
#include "session/join.h"
#include "session/members.h"
#include "dialect/native.h"
#include "session/transport.h"


/* bytes of a refusal beside its texts */
#define FANOUT_REFUSAL_FRAME  68


typedef struct {
    fanout_json_t  epoch;
    fanout_json_t  offset;
} position_t;


typedef struct {
    ngx_str_t    name;
    void       (*run)(fanout_session_t *s, fanout_command_t *cmd);
    ngx_uint_t   cost;          /* before it is known what it does */
    uint32_t   members;
} op_t;


static const op_t *op_named(fanout_json_t *text);
static ngx_uint_t valid_id(fanout_json_t *id);
static const char *too_deep(fanout_command_t *cmd);
static const char *not_of(fanout_command_t *cmd, uint32_t members);
static void op_leave(fanout_session_t *s, fanout_command_t *cmd);
static void op_ping(fanout_session_t *s, fanout_command_t *cmd);


static const fanout_json_field_t  fields[] = {
    fanout_json_field("id", fanout_command_t, id),
    fanout_json_field("op", fanout_command_t, op),
    fanout_json_field("channel", fanout_command_t, channel),
    fanout_json_field("since", fanout_command_t, since),
    fanout_json_field("history", fanout_command_t, history),
    fanout_json_field("want", fanout_command_t, want),
    fanout_json_field("events", fanout_command_t, events),
    fanout_json_field("echo", fanout_command_t, echo),
    fanout_json_field("event", fanout_command_t, event),
    fanout_json_field("data", fanout_command_t, data),
    fanout_json_field("messages", fanout_command_t, messages),
    fanout_json_field("key", fanout_command_t, key),
    fanout_json_field("to", fanout_command_t, to),
    fanout_json_field("store", fanout_command_t, store),
    fanout_json_field("if", fanout_command_t, condition),
    fanout_json_field("enc", fanout_command_t, enc),
    fanout_json_field("meta", fanout_command_t, meta),
    fanout_json_field("before", fanout_command_t, before),
    fanout_json_field("limit", fanout_command_t, limit),
    fanout_json_field("presence", fanout_command_t, presence),
    fanout_json_field("anonymous", fanout_command_t, anonymous),
    fanout_json_field("merge", fanout_command_t, merge),
    fanout_json_field("state", fanout_command_t, state),
    fanout_json_field("tag", fanout_command_t, tag),
    fanout_json_field("live", fanout_command_t, live),
    fanout_json_field("every", fanout_command_t, every)
};

static const fanout_json_field_t  position_fields[] = {
    fanout_json_field("epoch", position_t, epoch),
    fanout_json_field("offset", position_t, offset)
};


/* the members that each takes, by bits in the order of fields[] */

enum {
    ID = 0, OP, CHANNEL, SINCE, HISTORY, WANT, EVENTS, ECHO, EVENT, DATA,
    MESSAGES, KEY, TO, STORE, IF, ENC, META, BEFORE, LIMIT, PRESENCE,
    ANONYMOUS, MERGE, STATE, TAG, LIVE, EVERY
};

#define m(name)  ((uint32_t) 1 << name)

#define NEAR_ALL  (m(ID)|m(OP)|m(CHANNEL))


static const op_t  ops[] = {

    { ngx_string("publish"), fanout_native_publish, FANOUT_COST,
      NEAR_ALL|m(EVENT)|m(DATA)|m(MESSAGES)|m(KEY)|m(TO)|m(STORE)|m(IF)
      |m(ENC)|m(META)|m(LIVE)|m(ECHO) },

    { ngx_string("join"), fanout_native_join, FANOUT_COST,
      NEAR_ALL|m(SINCE)|m(HISTORY)|m(WANT)|m(EVENTS)|m(ECHO)|m(PRESENCE)
      |m(ANONYMOUS)|m(KEY)|m(EVERY) },

    { ngx_string("leave"), op_leave, FANOUT_COST, NEAR_ALL },

    { ngx_string("signal"), fanout_native_signal, FANOUT_COST_SIGNAL,
      NEAR_ALL|m(EVENT)|m(TAG)|m(DATA)|m(TO) },

    { ngx_string("history"), fanout_native_history, FANOUT_COST,
      NEAR_ALL|m(SINCE)|m(BEFORE)|m(LIMIT) },

    { ngx_string("presence"), fanout_native_presence, FANOUT_COST,
      NEAR_ALL|m(DATA)|m(MERGE)|m(STATE)|m(KEY)|m(ANONYMOUS) },

    { ngx_string("members"), fanout_native_members, FANOUT_COST,
      NEAR_ALL },

    { ngx_string("ping"), op_ping, FANOUT_COST, m(ID)|m(OP) },

    { ngx_null_string, NULL, 0, 0 }
};


void
fanout_native_command(fanout_session_t *s, fanout_json_t *object,
    ngx_uint_t at, ngx_uint_t deep)
{
    int                  rc;
    u_char               reason[128];
    const op_t          *op;
    const char          *bad, *name;
    fanout_command_t     cmd;
    fanout_limited_t     limited;
    fanout_json_error_t  err;
    fanout_meter_mark_t  mark;

    cmd.at = at;
    bad = NULL;

    fanout_spend(s->hub, FANOUT_WORK_COMMAND);

    if (!s->autojoin) {
        fanout_session_active(s);
    }

    rc = fanout_native_parse(object, &cmd, &err);

    if (rc != FANOUT_JSON_OK
        && rc != FANOUT_JSON_UNKNOWN
        && rc != FANOUT_JSON_DUPLICATE)
    {
        ngx_memzero(&cmd.id, sizeof(fanout_json_t));
        ngx_memzero(&cmd.op, sizeof(fanout_json_t));
        bad = rc == FANOUT_JSON_TYPE ? "a command is an object"
                                     : err.reason;

    } else if (!valid_id(&cmd.id)) {
        cmd.id.len = 0;
        bad = "\"id\" is a number or a string of at most 128 bytes";
    }

    op = op_named(&cmd.op);

    if (bad == NULL && rc != FANOUT_JSON_OK) {
        bad = err.reason;

    } else if (bad == NULL && deep && (name = too_deep(&cmd))) {
        bad = (char *) reason;
        ngx_sprintf(reason, "\"%s\" nests more than %d arrays and objects%Z",
                    name, FANOUT_JSON_DEPTH);

    } else if (bad == NULL && op && (name = not_of(&cmd, op->members))) {
        bad = (char *) reason;
        ngx_sprintf(reason, "\"%s\" is not a member of \"%V\"%Z", name,
                    &op->name);
    }

    /* one that is wrong costs as much */

    if (!s->autojoin
        && !fanout_meter_take(s, op ? op->cost : FANOUT_COST,
                              &limited))
    {
        fanout_native_limited(s, &cmd, &limited);
        return;
    }

    if (bad) {
        fanout_native_refuse(s, &cmd, FANOUT_E_BAD_REQUEST, "%s",
                             bad);
        return;
    }

    if (op) {
        fanout_meter_mark(s, &mark);
        op->run(s, &cmd);
        fanout_meter_account(s, &mark);
        return;
    }

    fanout_native_refuse(s, &cmd, cmd.op.len ? FANOUT_E_UNKNOWN_OP
                               : FANOUT_E_BAD_REQUEST,
           cmd.op.len ? "there is no such op; there are publish, signal, join, "
                        "leave, history, presence, members and ping"
                      : "\"op\" is missing");
}


#define member(cmd, i)                                                        \
    ((fanout_json_t *) ((u_char *) (cmd) + fields[i].offset))


/* The name of a member that nests too deeply, or NULL.  The messages of a
 * publish are two levels below it. */

static const char *
too_deep(fanout_command_t *cmd)
{
    ngx_uint_t      i;
    fanout_json_t  *value;

    for (i = 0; i < fanout_nelts(fields); i++) {
        value = member(cmd, i);

        if (value->len
            && fanout_json_depth(value)
               > FANOUT_JSON_DEPTH + (i == MESSAGES ? 2 : 0))
        {
            return fields[i].name;
        }
    }

    return NULL;
}


/* The name of a member that is not among those, or NULL. */

static const char *
not_of(fanout_command_t *cmd, uint32_t members)
{
    ngx_uint_t  i;

    for (i = 0; i < fanout_nelts(fields); i++) {
        if (member(cmd, i)->len && !(members & m(i))) {
            return fields[i].name;
        }
    }

    return NULL;
}


const char *
fanout_native_not_of_join(fanout_command_t *cmd)
{
    const char  *name;

    name = too_deep(cmd);

    return name ? name : not_of(cmd, ops[1].members);
}


static const op_t *
op_named(fanout_json_t *text)
{
    u_char         buf[32];
    ngx_uint_t     i;
    fanout_json_t  name;

    if (fanout_json_text(text, buf, sizeof(buf), &name)
        != FANOUT_JSON_OK)
    {
        return NULL;
    }

    for (i = 0; ops[i].run; i++) {
        if (ops[i].name.len == name.len
            && ngx_memcmp(ops[i].name.data, name.data, name.len) == 0)
        {
            return &ops[i];
        }
    }

    return NULL;
}


void
fanout_native_limited(fanout_session_t *s, fanout_command_t *cmd,
    fanout_limited_t *limited)
{
    u_char     buf[128];
    ngx_str_t  text, data;

    text.data = (u_char *) fanout_meter_text(limited);
    text.len = ngx_strlen(text.data);

    data.data = buf;
    data.len = fanout_meter_data(limited, buf);

    s->meter.wait = limited->wait;

    fanout_meter_told_refusal(s, FANOUT_REFUSAL_FRAME
                                 + cmd->id.len + text.len + data.len);

    fanout_native_error(s, &cmd->id, &cmd->op, cmd->at, FANOUT_E_RATE_LIMITED,
                        &text, &data);
}


ngx_uint_t
fanout_native_writes(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_limited_t  limited;

    if (s->autojoin
        || fanout_meter_writes(s, &cmd->name, &limited))
    {
        return 1;
    }

    fanout_native_limited(s, cmd, &limited);

    return 0;
}


ngx_uint_t
fanout_native_answers(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_limited_t  limited;

    if (s->autojoin || fanout_meter_answers(s, &limited)) {
        return 1;
    }

    fanout_native_limited(s, cmd, &limited);

    return 0;
}


int
fanout_native_parse(fanout_json_t *object, fanout_command_t *cmd,
    fanout_json_error_t *err)
{
    return fanout_json_members(object, fields, fanout_nelts(fields), cmd,
                               err);
}


static ngx_uint_t
valid_id(fanout_json_t *id)
{
    size_t  len;

    switch (fanout_json_type(id)) {

    case FANOUT_JSON_NONE:
        return 1;

    case FANOUT_JSON_NUMBER:
        return id->len <= FANOUT_KEY;

    case FANOUT_JSON_STRING:
        return fanout_json_string(id, NULL, FANOUT_KEY, &len)
               == FANOUT_JSON_OK;

    default:
        return 0;
    }
}


ngx_uint_t
fanout_native_stays(fanout_session_t *s, fanout_command_t *cmd)
{
    if (!s->transport->commands) {
        return 1;
    }

    fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
           "a POST can't join: the channels of a stream are in its URL, with "
           "which it also comes back; open it anew, from its last position");

    return 0;
}


ngx_uint_t
fanout_native_proved(fanout_session_t *s, fanout_command_t *cmd)
{
    if (!s->transport->commands) {
        return 0;
    }

    if (s->identity.client) {
        return 1;
    }

    fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
           "this command needs the header Fanout-Resume, as it came by POST");

    return 0;
}


/* members; 0 after an error was replied */

ngx_uint_t
fanout_native_channel(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t op)
{
    fanout_json_t  text;

    if (fanout_json_text(&cmd->channel, cmd->buf, sizeof(cmd->buf),
                         &text)
        != FANOUT_JSON_OK)
    {
        goto invalid;
    }

    cmd->name.data = (u_char *) text.data;
    cmd->name.len = text.len;

    if (fanout_name_check(&cmd->name) != NGX_OK) {
        goto invalid;
    }

    return op == 0 || fanout_native_may(s, cmd, op);

invalid:

    fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
           "\"channel\" is a name: a string of 1 to 255 bytes of UTF-8 "
           "without control characters and \"*\"");

    return 0;
}


ngx_uint_t
fanout_native_may(fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t op)
{
    const char  *verb;

    if (fanout_access_check(s->access, op, &cmd->name)) {
        return 1;
    }

    verb = (op & FANOUT_MAY_JOIN) ? "join"
           : op == FANOUT_MAY_PUBLISH ? "publish"
           : op == FANOUT_MAY_PRESENCE ? "presence"
           : op == FANOUT_MAY_SIGNAL ? "signal" : "history";

    fanout_count(s->hub, forbidden);
    fanout_eventlog_forbidden(s, verb, &cmd->name, "forbidden");
    fanout_native_refuse(s, cmd, FANOUT_E_FORBIDDEN,
           "no \"fanout_permit %s\" allows this channel", verb);

    return 0;
}


ngx_uint_t
fanout_native_count(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, const char *name, ngx_uint_t max, ngx_uint_t *n)
{
    int64_t  i;

    if (value->len == 0) {
        return 1;
    }

    if (fanout_json_int(value, &i) != FANOUT_JSON_OK
        || i < 0)
    {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"%s\" is a number from 0 on", name);
        return 0;
    }

    if ((uint64_t) i > max) {
        fanout_native_refuse_limit(s, cmd, FANOUT_E_TOO_MANY, name,
                                   max, "fanout_history");
        return 0;
    }

    *n = i;

    return 1;
}


ngx_uint_t
fanout_native_flag(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, const char *name, int *flag)
{
    if (value->len == 0) {
        return 1;
    }

    if (fanout_json_bool(value, flag) != FANOUT_JSON_OK) {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"%s\" is true or false", name);
        return 0;
    }

    return 1;
}


/* an epoch that is no epoch of ours is one that is not known any more */

ngx_uint_t
fanout_native_position(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, const char *name, uint64_t *epoch, uint64_t *offset)
{
    u_char      buf[FANOUT_KEY];
    fanout_json_t      text;
    int64_t     n;
    ngx_str_t   str;
    position_t  p;

    if (fanout_json_members(value, position_fields,
                            fanout_nelts(position_fields), &p, NULL)
        != FANOUT_JSON_OK
        || fanout_json_int(&p.offset, &n) != FANOUT_JSON_OK
        || n < 0
        || fanout_json_text(&p.epoch, buf, sizeof(buf), &text)
           != FANOUT_JSON_OK)
    {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"%s\" is {\"epoch\":string,\"offset\":number}", name);
        return 0;
    }

    str.data = (u_char *) text.data;
    str.len = text.len;

    if (fanout_epoch_parse(&str, epoch) != NGX_OK) {
        *epoch = 0;
    }

    *offset = n;

    return 1;
}


ngx_uint_t
fanout_native_label(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, const char *name, u_char *buf, fanout_zstr_t *label)
{
    fanout_json_t     text;
    ngx_str_t  str;

    label->len = 0;

    if (value->len == 0) {
        return 1;
    }

    if (fanout_json_text(value, buf, FANOUT_KEY, &text)
        == FANOUT_JSON_OK)
    {
        str.data = (u_char *) text.data;
        str.len = text.len;

        if (fanout_label_check(&str, FANOUT_KEY) == NGX_OK) {
            label->data = text.data;
            label->len = text.len;
            return 1;
        }
    }

    fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
           "\"%s\" is a string of 1 to 128 bytes of UTF-8 without control "
           "characters", name);

    return 0;
}


static void
op_leave(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_reply_t          rp;
    fanout_error_e          rc;
    fanout_subscription_t  *sub;

    if (!fanout_native_channel(s, cmd, 0)) {
        return;
    }

    sub = NULL;

    if (s->transport->commands) {
        if (!fanout_native_proved(s, cmd)) {
            return;
        }

        rc = fanout_session_leave_as(s, &cmd->name);

    } else {
        sub = fanout_session_sub(s, &cmd->name);
        rc = sub ? FANOUT_E_NONE : FANOUT_E_NOT_JOINED;
    }

    if (rc != FANOUT_E_NONE) {
        fanout_native_refuse(s, cmd, rc, "%s",
                             rc == FANOUT_E_NOT_JOINED
                             ? "the channel is not joined"
                             : "it can't be left now");
        return;
    }

    if (sub) {
        fanout_session_leave(sub, FANOUT_LEFT_INTENTIONAL);
    }

    if (cmd->id.len) {
        fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        fanout_native_literal(&rp, "\"ok\":{}");
        fanout_native_end(&rp);
    }
}


static void
op_ping(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_reply_t  rp;

    if (cmd->id.len) {
        fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        fanout_native_printf(&rp, "\"ok\":{\"time\":%uL}",
                     fanout_time());
        fanout_native_end(&rp);
    }
}
