
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The commands of the native protocol: how one is run, and the short ones.
 */


#include "base/time.h"
#include "session/join.h"
#include "session/members.h"
#include "dialect/native.h"
#include "session/transport.h"


/* bytes of a refusal beside its texts */
#define FANOUT_REFUSAL_FRAME  68


static fanout_error_e command_run(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e command_place(fanout_session_t *s,
    fanout_command_t *cmd);
static fanout_error_e command_check(fanout_session_t *s,
    fanout_command_t *cmd);
static ngx_uint_t command_id_valid(fanout_json_t *id);
static fanout_error_e op_leave(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e op_ping(fanout_session_t *s, fanout_command_t *cmd);


static const fanout_native_member_t  leave_members[] = {
    FANOUT_NATIVE_CHANNEL
};

static const fanout_native_op_t  leave = {
    .name = ngx_string("leave"),
    .run = op_leave,
    .members = leave_members,
    .n = fanout_nelts(leave_members),
    .cost = FANOUT_COST,
    .needs = FANOUT_NATIVE_PROVED
};

static const fanout_native_op_t  ping = {
    .name = ngx_string("ping"),
    .run = op_ping,
    .cost = FANOUT_COST
};

static const fanout_native_op_t  *const ops[] = {
    &fanout_native_op_publish,
    &fanout_native_op_join,
    &leave,
    &fanout_native_op_signal,
    &fanout_native_op_history,
    &fanout_native_op_presence,
    &fanout_native_op_members,
    &ping,
    NULL
};


void
fanout_native_command(fanout_session_t *s, fanout_json_t *object,
    ngx_uint_t at, ngx_uint_t deep)
{
    fanout_error_e    rc;
    fanout_command_t  cmd;
    fanout_limited_t  limited;

    fanout_native_blank(&cmd);
    cmd.at = at;

    fanout_spend(s->hub, FANOUT_WORK_COMMAND);

    if (!fanout_native_part(s)->autojoin) {
        fanout_session_active(s);
    }

    rc = fanout_native_split(&cmd, object, NULL, deep);

    if (!command_id_valid(&cmd.id)) {
        cmd.id.len = 0;
        rc = fanout_native_fail(&cmd, FANOUT_E_BAD_REQUEST,
                 "\"id\" is a number or a string of at most 128 bytes");
    }

    /* a wrong command costs the same */

    if (!fanout_native_part(s)->autojoin
        && !fanout_meter_take(s, cmd.def ? cmd.def->cost : FANOUT_COST,
                              &limited))
    {
        rc = fanout_native_limited(s, &cmd, &limited);

    } else if (rc == FANOUT_E_NONE) {
        rc = command_run(s, &cmd);
    }

    if (rc != FANOUT_E_NONE) {
        fanout_native_refuse(s, &cmd, rc);
    }
}


static fanout_error_e
command_run(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e       rc;
    fanout_meter_mark_t  mark;

    if ((rc = command_place(s, cmd))
        || (rc = fanout_native_decode(s, cmd))
        || (rc = command_check(s, cmd)))
    {
        return rc;
    }

    fanout_meter_mark(s, &mark);
    rc = cmd->def->run(s, cmd);
    fanout_meter_account(s, &mark);

    return rc;
}


/* Refuses commands that the transport can't do. */

static fanout_error_e
command_place(fanout_session_t *s, fanout_command_t *cmd)
{
    if (!s->transport->commands) {
        return FANOUT_E_NONE;
    }

    if (cmd->def->needs & FANOUT_NATIVE_STAYS) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "a POST can't join: the channels of a stream are in its "
                   "URL, with which it also comes back; open it anew, from "
                   "its last position");
    }

    if ((cmd->def->needs & FANOUT_NATIVE_PROVED) && !s->identity.client) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "this command needs the header Fanout-Resume, as it came "
                   "by POST");
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
command_check(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e             rc;
    fanout_limited_t           limited;
    const fanout_native_op_t  *def;

    def = cmd->def;
    rc = FANOUT_E_NONE;

    if (def->may) {
        rc = fanout_native_may(s, cmd, def->may);
    }

    if (rc == FANOUT_E_NONE && (def->needs & FANOUT_NATIVE_WRITES)
        && !fanout_native_part(s)->autojoin
        && !fanout_meter_writes(s, &cmd->channel, &limited))
    {
        rc = fanout_native_limited(s, cmd, &limited);
    }

    if (rc == FANOUT_E_NONE && (def->needs & FANOUT_NATIVE_ANSWERS)) {
        rc = fanout_native_answers(s, cmd);
    }

    return rc;
}


void
fanout_native_blank(fanout_command_t *cmd)
{
    ngx_memzero(cmd, offsetof(fanout_command_t, text_buf));
}


const fanout_native_op_t *
fanout_native_op(fanout_json_t *name)
{
    u_char                     buf[32];
    ngx_uint_t                 i;
    fanout_json_t              text;
    const fanout_native_op_t  *op;

    (void) fanout_json_text(name, buf, sizeof(buf), &text);

    for (i = 0; (op = ops[i]) != NULL; i++) {
        if (op->name.len == text.len
            && ngx_memcmp(op->name.data, text.data, text.len) == 0)
        {
            break;
        }
    }

    return op;
}


const fanout_native_op_t *
fanout_native_op_at(ngx_uint_t i)
{
    return ops[i];
}


static ngx_uint_t
command_id_valid(fanout_json_t *id)
{
    size_t  len;

    switch (fanout_json_type(id)) {

    case FANOUT_JSON_NONE:
        return 1;

    case FANOUT_JSON_NUMBER:
        return id->len <= FANOUT_KEY;

    default:
        return fanout_json_string(id, NULL, FANOUT_KEY, &len)
               == FANOUT_JSON_OK;
    }
}


fanout_error_e
fanout_native_limited(fanout_session_t *s, fanout_command_t *cmd,
    fanout_limited_t *limited)
{
    cmd->text.data = (u_char *) fanout_meter_text(limited);
    cmd->text.len = ngx_strlen(cmd->text.data);
    cmd->data.data = cmd->data_buf;
    cmd->data.len = fanout_meter_data(limited, cmd->data_buf);

    s->meter.wait = limited->wait;

    fanout_meter_refusal_sent(s, FANOUT_REFUSAL_FRAME + cmd->id.len
                                 + cmd->text.len + cmd->data.len);

    return FANOUT_E_RATE_LIMITED;
}


fanout_error_e
fanout_native_answers(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_limited_t  limited;

    return fanout_native_part(s)->autojoin || fanout_meter_answers(s, &limited)
           ? FANOUT_E_NONE : fanout_native_limited(s, cmd, &limited);
}


fanout_error_e
fanout_native_may(fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t op)
{
    const char  *verb;

    if (fanout_permissions_check(s->access, op, &cmd->channel)) {
        return FANOUT_E_NONE;
    }

    verb = (op & FANOUT_MAY_JOIN) ? "join"
           : op == FANOUT_MAY_PUBLISH ? "publish"
           : op == FANOUT_MAY_PRESENCE ? "presence"
           : op == FANOUT_MAY_SIGNAL ? "signal" : "history";

    fanout_count(s->hub, forbidden);
    fanout_session_log_forbidden(s, verb, &cmd->channel, "forbidden");

    return fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
               "no \"fanout_permit %s\" allows this channel", verb);
}


/* the short ones */

static fanout_error_e
op_leave(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e          rc;
    fanout_subscription_t  *sub;

    sub = NULL;

    if (s->transport->commands) {
        rc = fanout_session_leave_as(s, &cmd->channel);

    } else {
        sub = fanout_session_sub(s, &cmd->channel);
        rc = sub ? FANOUT_E_NONE : FANOUT_E_NOT_JOINED;
    }

    if (rc != FANOUT_E_NONE) {
        return fanout_native_fail(cmd, rc, "%s",
                                  rc == FANOUT_E_NOT_JOINED
                                  ? "the channel is not joined"
                                  : "it can't be left now");
    }

    if (sub) {
        fanout_session_leave(sub, FANOUT_LEFT_INTENTIONAL);
    }

    fanout_native_ok(s, cmd);

    return FANOUT_E_NONE;
}


static fanout_error_e
op_ping(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_reply_t  rp;

    if (cmd->id.len) {
        fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        fanout_native_printf(&rp, "\"ok\":{\"time\":%uL}", fanout_time());
        fanout_native_end(&rp);
    }

    return FANOUT_E_NONE;
}
