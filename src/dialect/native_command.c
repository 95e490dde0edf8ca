
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How a command of the native protocol is run.
 */


#include "dialect/native.h"
#include "session/transport.h"


static fanout_error_e command_run(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *object);
static ngx_uint_t command_again(fanout_session_t *s, fanout_json_t *object,
    ngx_uint_t at, ngx_uint_t deep);
static ngx_uint_t command_may_wait(fanout_session_t *s);
static fanout_error_e command_copy(fanout_command_t *cmd,
    fanout_json_t *object);
static ngx_uint_t command_end(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc);
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
    cmd.deep = deep;

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
        rc = command_run(s, &cmd, object);
    }

    command_end(s, &cmd, rc);
}


/* Runs a command again that has waited.  Returns 1 if it has to wait again. */

static ngx_uint_t
command_again(fanout_session_t *s, fanout_json_t *object,
    ngx_uint_t at, ngx_uint_t deep)
{
    fanout_error_e    rc;
    fanout_command_t  cmd;

    fanout_native_blank(&cmd);
    cmd.at = at;
    cmd.deep = deep;

    fanout_spend(s->hub, FANOUT_WORK_COMMAND);

    rc = fanout_native_split(&cmd, object, NULL, deep);

    if (rc == FANOUT_E_NONE) {
        rc = command_run(s, &cmd, object);
    }

    return command_end(s, &cmd, rc);
}


/* Runs a command; one that has to wait is parked, with a copy of its text, as
 * decoding changes that. */

static fanout_error_e
command_run(fanout_session_t *s, fanout_command_t *cmd, fanout_json_t *object)
{
    fanout_error_e       rc;
    fanout_meter_mark_t  mark;

    rc = command_place(s, cmd);

    if (rc == FANOUT_E_NONE && command_may_wait(s)) {
        rc = command_copy(cmd, object);
    }

    if (rc != FANOUT_E_NONE || (rc = fanout_native_decode(s, cmd))) {
        return rc;
    }

    if (cmd->copy.data && fanout_native_behind(s, cmd)) {
        return fanout_native_park(s, cmd, command_again);
    }

    rc = cmd->def->prepare ? cmd->def->prepare(s, cmd) : FANOUT_E_NONE;

    if (rc == FANOUT_E_NONE) {
        rc = command_check(s, cmd);
    }

    if (rc == FANOUT_E_NONE) {
        fanout_meter_mark(s, &mark);
        rc = cmd->def->run(s, cmd);
        fanout_meter_account(s, &mark);
    }

    if (cmd->def->prepare) {
        fanout_native_ticket_end(s);
    }

    return rc == FANOUT_E_PARKED ? fanout_native_park(s, cmd, command_again)
                                 : rc;
}


/* Streams and polls have asked before they begin. */

static ngx_uint_t
command_may_wait(fanout_session_t *s)
{
    return s->conf->asks && (s->transport->two_way || s->transport->commands);
}


static fanout_error_e
command_copy(fanout_command_t *cmd, fanout_json_t *object)
{
    cmd->copy.data = ngx_alloc(object->len, ngx_cycle->log);

    if (cmd->copy.data == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    ngx_memcpy(cmd->copy.data, object->data, object->len);
    cmd->copy.len = object->len;

    return FANOUT_E_NONE;
}


/* Returns 1 if the command waits. */

static ngx_uint_t
command_end(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc)
{
    if (cmd->copy.data) {
        ngx_free(cmd->copy.data);
    }

    if (rc != FANOUT_E_NONE && rc != FANOUT_E_PARKED) {
        fanout_native_refuse(s, cmd, rc);
    }

    return rc == FANOUT_E_PARKED;
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
