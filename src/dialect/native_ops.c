
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The commands of the native protocol, and the short ones.
 */


#include "base/time.h"
#include "session/join.h"
#include "session/members.h"
#include "dialect/native.h"
#include "session/transport.h"


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
    &fanout_native_op_set,
    &fanout_native_op_delete,
    &fanout_native_op_get,
    &fanout_native_op_lock,
    &fanout_native_op_unlock,
    &fanout_native_op_auth,
    &ping,
    NULL
};


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
        fanout_native_waits_left(s, &cmd->channel);
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
