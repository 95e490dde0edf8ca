
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The command "auth" of the native protocol: the session gets a new token, and
 * what that says of its user and permissions, without a reconnect.
 */


#include "base/time.h"
#include "dialect/native.h"
#include "session/denial.h"
#include "session/forbid.h"
#include "session/transport.h"
#include "transport/bearer.h"
#include "transport/renew.h"
#include "transport/websocket.h"


/* a handshake is evaluated, and a signature verified */
#define FANOUT_COST_AUTH  (10 * FANOUT_COST)


typedef struct {
    fanout_native_ask_t    ask;
    fanout_renewal_t      *renewal;
} auth_job_t;


static fanout_error_e native_auth(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e auth_token(fanout_session_t *s, fanout_command_t *cmd,
    ngx_str_t *token);
static ngx_int_t auth_step(fanout_session_t *s);
static void auth_free(fanout_job_t *job);
static fanout_error_e auth_apply(fanout_session_t *s, fanout_command_t *cmd,
    fanout_renewal_t *renewal);
static fanout_error_e auth_prove(fanout_session_t *s, fanout_command_t *cmd,
    fanout_renewal_t *renewal);
static ngx_uint_t auth_resumes(fanout_session_t *s);
static fanout_error_e auth_refused(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc, const char *why);
static void auth_reply(fanout_session_t *s, fanout_json_t *id);


static const fanout_native_member_t  auth_members[] = {
    { fanout_native_field("token", fanout_native_read_raw,
                          fanout_command_t, u.token), .required = 1 }
};

const fanout_native_op_t  fanout_native_op_auth = {
    .name = ngx_string("auth"),
    .run = native_auth,
    .members = auth_members,
    .n = fanout_nelts(auth_members),
    .size = sizeof(fanout_json_t),
    .cost = FANOUT_COST_AUTH
};

static const fanout_job_ops_t  auth_ops = {
    auth_step,
    auth_free
};


static fanout_error_e
native_auth(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_str_t        token;
    auth_job_t      *job;
    fanout_error_e   rc;

    rc = auth_token(s, cmd, &token);

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    job = fanout_native_ask(s, cmd, &auth_ops, sizeof(auth_job_t));

    if (job == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    job->renewal = fanout_renew(s, &token);

    ngx_explicit_memzero(token.data, token.len);

    if (job->renewal == NULL) {
        ngx_free(job);
        return fanout_native_fail(cmd, FANOUT_E_UNAVAILABLE,
                                  "no request can be made now");
    }

    s->job = &job->ask.base;

    return FANOUT_E_NONE;
}


/* The token is in place of the string that was received. */

static fanout_error_e
auth_token(fanout_session_t *s, fanout_command_t *cmd, ngx_str_t *token)
{
    fanout_error_e  rc;

    if (s->transport->commands) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "a POST brings a token of its own; open the stream anew "
                   "with a new one, from its last position");
    }

    if (s->identity_ref == 0 && !s->awaited) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "the client has gone");
    }

    if (s->conf->jwt == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "no tokens are read here: \"fanout_jwt\"");
    }

    if (!s->renews) {
        return fanout_native_fail(cmd, FANOUT_E_TOO_LARGE,
                   "the handshake was not kept, as it was too large "
                   "(\"fanout_jwt handshake=\") or had a host in its request "
                   "line: connect again with the new token");
    }

    rc = fanout_native_token(s, cmd, &cmd->u.token, token);

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    /* it may go into a header */

    return fanout_bearer_plain(token)
           ? FANOUT_E_NONE
           : auth_refused(s, cmd, FANOUT_E_UNAUTHORIZED,
                          "the token has characters that no token has");
}


static void
auth_free(fanout_job_t *job)
{
    fanout_renew_release(((auth_job_t *) job)->renewal);
    ngx_free(job);
}


/* Replies, or returns AGAIN if there is no answer yet. */

static ngx_int_t
auth_step(fanout_session_t *s)
{
    auth_job_t        *job;
    fanout_error_e     rc;
    fanout_command_t   cmd;

    job = (auth_job_t *) s->job;

    if (!job->renewal->answered) {
        return NGX_AGAIN;
    }

    fanout_native_asked(&job->ask, &cmd, "\"auth\"");

    rc = auth_apply(s, &cmd, job->renewal);

    if (s->state != FANOUT_OPEN) {
        /* the session can't begin, and its close was sent */
        fanout_session_job_done(s);
        return NGX_OK;
    }

    if (rc == FANOUT_E_NONE) {
        auth_reply(s, &cmd.id);
    }

    fanout_native_answered(s, &cmd, rc);

    return NGX_OK;
}


/* A renewal that is refused changes nothing. */

static fanout_error_e
auth_apply(fanout_session_t *s, fanout_command_t *cmd,
    fanout_renewal_t *renewal)
{
    if (renewal->rc != FANOUT_E_NONE) {
        return auth_refused(s, cmd, renewal->rc, renewal->why);
    }

    if (s->awaited) {
        return auth_prove(s, cmd, renewal);
    }

    if (renewal->user.len != s->user.len
        || (s->user.len
            && ngx_memcmp(renewal->user.data, s->user.data, s->user.len) != 0))
    {
        return auth_refused(s, cmd, FANOUT_E_FORBIDDEN,
                            "the token is of another user: connect again");
    }

    fanout_session_permit(s, renewal->permissions);
    renewal->permissions = NULL;

    fanout_session_expire(s, renewal->left);
    fanout_session_authorized(s, &renewal->who);

    if (s->denied) {
        return FANOUT_E_NONE;
    }

    fanout_count(s->hub, tokens_renewed);
    fanout_native_renew_info(s, &renewal->info);
    fanout_session_log_auth(s);

    return FANOUT_E_NONE;
}


/* The session begins. */

static fanout_error_e
auth_prove(fanout_session_t *s, fanout_command_t *cmd,
    fanout_renewal_t *renewal)
{
    fanout_limited_t     limited;
    fanout_meter_mark_t  mark;

    if (s->owns_user) {
        ngx_free(s->user.data);
    }

    s->user = renewal->user;
    s->owns_user = (renewal->user.data != NULL);
    ngx_str_null(&renewal->user);

    if (!fanout_meter_prove(s, !auth_resumes(s), &limited)) {
        return fanout_native_limited(s, cmd, &limited);
    }

    s->awaited = 0;

    fanout_session_permit(s, renewal->permissions);
    renewal->permissions = NULL;

    s->info = renewal->info;
    ngx_str_null(&renewal->info);

    fanout_session_expire(s, renewal->left);
    fanout_websocket_proved(s);

    fanout_meter_mark(s, &mark);
    s->dialect->proved(s);
    fanout_meter_account(s, &mark);

    fanout_session_authorized(s, &renewal->who);

    fanout_session_log_connect(s);

    return FANOUT_E_NONE;
}


/* A client that brings the token of an identity begins no new session. */

static ngx_uint_t
auth_resumes(fanout_session_t *s)
{
    fanout_zone_t      *z;
    fanout_identity_t  *id;

    z = &s->hub->zone;
    id = fanout_native_part(s)->resumes;

    if (id == NULL) {
        return 0;
    }

    id->user = s->user.len
               ? fanout_zone_hash(z, s->user.data, s->user.len) : 0;

    return fanout_identity_known(z, id);
}


static fanout_error_e
auth_refused(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc,
    const char *why)
{
    if (why == NULL) {
        why = (char *) fanout_errors[rc].text.data;
    }

    fanout_count(s->hub, forbidden);
    fanout_session_log_unauthorized(s, fanout_errors[rc].status, why);

    return fanout_native_fail(cmd, rc, "%s", why);
}


static void
auth_reply(fanout_session_t *s, fanout_json_t *id)
{
    fanout_reply_t  rp;

    if (id->len == 0) {
        return;
    }

    fanout_native_open(&rp, s, (u_char *) id->data, id->len);
    fanout_native_literal(&rp, "\"ok\":{");

    if (s->user.len) {
        fanout_native_literal(&rp, "\"user\":");
        fanout_native_string(&rp, s->user.data, s->user.len);
    }

    if (s->expires) {
        fanout_native_printf(&rp, "%s\"expires\":%uL", s->user.len ? "," : "",
                             fanout_time() + fanout_session_left(s));
    }

    fanout_native_literal(&rp, "}");
    fanout_native_end(&rp);
}
