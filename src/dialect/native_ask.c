
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Commands whose answer comes from elsewhere: a backend, or NGINX's own
 * variables.
 */


#include "dialect/native.h"


void *
fanout_native_ask(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_job_ops_t *ops, size_t size)
{
    fanout_native_ask_t  *ask;

    ask = ngx_calloc(size + cmd->id.len, ngx_cycle->log);

    if (ask == NULL) {
        return NULL;
    }

    ask->base.ops = ops;
    ask->base.session = s;
    ask->base.waits = 1;
    ask->at = cmd->at;
    ask->id.data = (u_char *) ask + size;
    ask->id.len = cmd->id.len;

    if (cmd->id.len) {
        ngx_memcpy(ask->id.data, cmd->id.data, cmd->id.len);
    }

    return ask;
}


void
fanout_native_asked(fanout_native_ask_t *ask, fanout_command_t *cmd,
    const char *op)
{
    fanout_native_blank(cmd);

    cmd->at = ask->at;
    cmd->id.data = ask->id.data;
    cmd->id.len = ask->id.len;
    cmd->op.data = (u_char *) op;
    cmd->op.len = ngx_strlen(op);
}


void
fanout_native_answered(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc)
{
    if (rc != FANOUT_E_NONE) {
        fanout_native_refuse(s, cmd, rc);
    }

    fanout_session_job_done(s);

    if (!s->batched) {
        fanout_session_settle(s);
    }
}
