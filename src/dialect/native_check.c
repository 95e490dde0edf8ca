
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a command needs: permissions and budgets.
 */


#include "dialect/native.h"
#include "hub/locks.h"
#include "session/forbid.h"


/* bytes of a refusal beside its texts */
#define FANOUT_REFUSAL_FRAME  68


void
fanout_native_blank(fanout_command_t *cmd)
{
    ngx_memzero(cmd, offsetof(fanout_command_t, text_buf));
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
fanout_native_recorded(fanout_session_t *s, fanout_command_t *cmd)
{
    if (fanout_records_served(s->hub, &cmd->channel)) {
        return FANOUT_E_NONE;
    }

    fanout_count(s->hub, forbidden);
    fanout_session_log_forbidden(s, "record", &cmd->channel,
                                 "fanout_channel records=");

    return fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
               "this channel has no records: \"fanout_channel records=\"");
}


fanout_error_e
fanout_native_lockable(fanout_session_t *s, fanout_command_t *cmd)
{
    if (fanout_locks_served(s->hub, &cmd->channel)) {
        return FANOUT_E_NONE;
    }

    fanout_count(s->hub, forbidden);
    fanout_session_log_forbidden(s, "lock", &cmd->channel,
                                 "fanout_channel locks=");

    return fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
               "this channel has no locks: \"fanout_channel locks=\"");
}


fanout_error_e
fanout_native_wants(fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t op)
{
    fanout_grant_t    *grant;
    fanout_grantee_t   who;

    if (fanout_session_may(s, op, &cmd->channel)) {
        return FANOUT_E_NONE;
    }

    if ((op & s->conf->asks) == 0 || cmd->copy.data == NULL) {
        return FANOUT_E_FORBIDDEN;
    }

    /* one at a time */
    op &= s->conf->asks;
    op &= -op;

    fanout_session_grantee(s, &who);

    grant = fanout_grants_answered(s->conf->asked, &who, op, &cmd->channel);

    if (grant) {
        return fanout_native_grant_refused(cmd, grant);
    }

    cmd->ask = op;

    return FANOUT_E_PARKED;
}


/* The text of a backend is told as it is. */

fanout_error_e
fanout_native_grant_refused(fanout_command_t *cmd, fanout_grant_t *grant)
{
    if (grant->rc == FANOUT_E_UNAVAILABLE) {
        return fanout_native_unavailable(cmd, "the backend gives no valid "
                                              "answer");
    }

    if (grant->text.len == 0) {
        return fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
                                  "the backend does not permit it");
    }

    cmd->text.data = cmd->text_buf;
    cmd->text.len = ngx_min(grant->text.len, sizeof(cmd->text_buf));
    ngx_memcpy(cmd->text_buf, grant->text.data, cmd->text.len);

    return FANOUT_E_FORBIDDEN;
}


fanout_error_e
fanout_native_unavailable(fanout_command_t *cmd, const char *text)
{
    cmd->data.data = cmd->data_buf;
    cmd->data.len = ngx_sprintf(cmd->data_buf, "{\"retry_after\":%d}",
                                FANOUT_AUTHORIZE_RETRY)
                    - cmd->data_buf;

    return fanout_native_fail(cmd, FANOUT_E_UNAVAILABLE, "%s", text);
}


fanout_error_e
fanout_native_may(fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t op)
{
    const char      *verb;
    fanout_error_e   rc;

    rc = fanout_native_wants(s, cmd, op);

    if (rc != FANOUT_E_FORBIDDEN) {
        return rc;
    }

    verb = (op & FANOUT_MAY_JOIN) ? "join"
           : op == FANOUT_MAY_PUBLISH ? "publish"
           : op == FANOUT_MAY_PRESENCE ? "presence"
           : op == FANOUT_MAY_PROFILE ? "profile"
           : op == FANOUT_MAY_SIGNAL ? "signal"
           : op == FANOUT_MAY_RECORD ? "record"
           : op == FANOUT_MAY_LOCK ? "lock" : "history";

    fanout_count(s->hub, forbidden);
    fanout_session_log_forbidden(s, verb, &cmd->channel,
                                 cmd->text.len ? "fanout_authorize"
                                               : "forbidden");

    return cmd->text.len ? rc : fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
               "no \"fanout_permit %s\" allows this channel", verb);
}


ngx_uint_t
fanout_native_unnamed(fanout_session_t *s, ngx_str_t *channel)
{
    return !fanout_session_may(s, FANOUT_MAY_PROFILE, channel);
}
