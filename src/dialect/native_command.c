
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How a command of the native protocol is run.
 */


#include "dialect/native.h"
#include "session/transport.h"


static fanout_error_e command_run(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e command_place(fanout_session_t *s,
    fanout_command_t *cmd);
static fanout_error_e command_check(fanout_session_t *s,
    fanout_command_t *cmd);
static ngx_uint_t command_id_valid(fanout_json_t *id);


void
fanout_native_command(fanout_session_t *s, fanout_json_t *object,
    ngx_uint_t at, ngx_uint_t deep)
{
    fanout_error_e    rc;
    fanout_command_t  cmd;
    fanout_limited_t  limited;

    if (fanout_session_denied(s)) {
        return;
    }

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

    } else if (s->awaited && cmd.def != &fanout_native_op_auth) {
        rc = fanout_native_fail(&cmd, FANOUT_E_UNAUTHORIZED,
                                "the first command has to be \"auth\"");

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
