
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Admission of requests: checks of the origin, the arguments and the worker,
 * and whether the user and the address may have one more session, poll or POST.
 */


#include "http/headers.h"
#include "http/http.h"
#include "session/connect.h"
#include "session/resume_token.h"
#include "transport/bearer.h"
#include "transport/ticket.h"
#include "transport/transport.h"


static const char *admit_hub(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status);
static const char *admit_user(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t *status);
static ngx_uint_t admit_what(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t t, ngx_str_t *user);
static void admit_log(ngx_http_request_t *r, fanout_refusal_t *refusal);


const char *
fanout_handshake_check(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t *status)
{
    const char  *why;

    why = fanout_handshake_first(r, conf, user, status);

    return why ? why : fanout_connect_check(r, conf, status);
}


/* Nobody connects without the answer that lets him. */

const char *
fanout_connect_check(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status)
{
    fanout_grant_t  *grant;

    if (!(conf->asks & FANOUT_ASK_CONNECT) || fanout_bearer_awaited(r, conf)) {
        return NULL;
    }

    grant = fanout_connect_grant(r, conf);

    if (grant && grant->rc == FANOUT_E_NONE) {
        return NULL;
    }

    *status = NGX_HTTP_FORBIDDEN;

    return "the backend was not asked: fanout_authorize";
}


const char *
fanout_handshake_first(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t *status)
{
    const char  *why;

    ngx_str_null(user);

    why = fanout_origin_check(r, &conf->origins);

    if (why) {
        /* RFC 6455, section 10.2 */
        *status = NGX_HTTP_FORBIDDEN;
        return why;
    }

    why = fanout_query_check(r, conf);

    if (why) {
        *status = NGX_HTTP_BAD_REQUEST;
        return why;
    }

    why = admit_hub(r, conf, status);

    if (why == NULL) {
        why = fanout_credential_check(r, conf, user, status);
    }

    if (why) {
        return why;
    }

    if ((conf->asks & FANOUT_ASK_CONNECT) && !fanout_bearer_awaited(r, conf)
        && fanout_connect_grant(r, conf) == NULL)
    {
        /* the backend's answer may name the user, so tokens are compared after
         * it; without an answer nobody connects */
        return NULL;
    }

    return fanout_tickets_check(r, conf, user, status);
}


const char *
fanout_credential_check(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t *status)
{
    const char  *why;

    ngx_str_null(user);

    why = fanout_bearer_check(r, conf, status);

    if (why == NULL) {
        why = admit_user(r, conf, user, status);
    }

    return why ? why : fanout_denied(r, conf, user, status);
}


static const char *
admit_hub(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_uint_t *status)
{
    fanout_hub_t  *hub;

    hub = conf->app->hub;

    if (ngx_exiting && !ngx_terminate && hub) {
        /* a request on an older connection: each transport decides */
        return NULL;
    }

    if (hub == NULL || hub->zone.heap.slot == -1 || ngx_terminate) {
        *status = NGX_HTTP_SERVICE_UNAVAILABLE;
        return "this worker takes no sessions now, try again";
    }

    if (conf->sessions && hub->nsessions >= conf->sessions) {
        if (fanout_session_log_gather_error(NGX_LOG_WARN,
                                            &r->connection->addr_text,
                                            "fanout_sessions"))
        {
            ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                          "limit of %ui sessions is reached in this worker: "
                          "fanout_sessions", conf->sessions);
        }

        *status = NGX_HTTP_SERVICE_UNAVAILABLE;
        return "too many sessions: fanout_sessions";
    }

    return NULL;
}


static const char *
admit_user(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_str_t *user,
    ngx_uint_t *status)
{
    fanout_connect_t  *connect;

    connect = fanout_connect_of(r, conf);

    if (connect && connect->user.len) {
        *user = connect->user;
        return NULL;
    }

    if (conf->user == NULL) {
        return NULL;
    }

    if (ngx_http_complex_value(r, conf->user, user) != NGX_OK) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "the user could not be evaluated";
    }

    if (user->len
        && fanout_label_check(user, FANOUT_NAME) != NGX_OK)
    {
        *status = NGX_HTTP_BAD_REQUEST;
        return "the user is not a name: 1 to 255 bytes of UTF-8 without "
               "control characters";
    }

    return NULL;
}


ngx_int_t
fanout_admit(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_uint_t t, ngx_str_t *user,
    fanout_meter_t *meter, fanout_refusal_t *refusal)
{
    fanout_error_e    error;
    fanout_limited_t  limited;

    error = fanout_meter_admit(r, conf, user, admit_what(r, conf, t, user),
                               meter, &limited);

    if (error == FANOUT_E_NONE) {
        return NGX_OK;
    }

    refusal->error = error;
    refusal->status = fanout_errors[error].status;
    refusal->data.data = refusal->buf;
    refusal->address = 0;

    switch (error) {

    case FANOUT_E_RATE_LIMITED:
        refusal->wait = limited.wait;
        refusal->text = fanout_meter_text(&limited);
        refusal->address = limited.scope == FANOUT_SCOPE_ADDRESS;
        refusal->data.len = fanout_meter_data(&limited, refusal->buf);
        break;

    case FANOUT_E_TOO_MANY:
        /* for a command the status is 400 */
        refusal->status = NGX_HTTP_SERVICE_UNAVAILABLE;
        refusal->wait = conf->retry;
        refusal->text = "too many sessions of this address: "
                        "fanout_sessions_per_address";
        refusal->address = 1;
        refusal->data.len = ngx_sprintf(refusal->buf, "{\"retry_after\":%M,"
                                        "\"limit\":\"sessions\",\"max\":%ui}",
                                        conf->retry, conf->per_address)
                            - refusal->buf;
        break;

    default:
        refusal->wait = conf->retry;
        refusal->text = (char *) fanout_errors[error].text.data;
        refusal->data.len = 0;
    }

    admit_log(r, refusal);

    return NGX_DECLINED;
}


/* A client that brings the token of an identity begins no new session. */

static ngx_uint_t
admit_what(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_uint_t t,
    ngx_str_t *user)
{
    ngx_str_t          value;
    ngx_uint_t         what;
    fanout_identity_t  id;

    if (t == FANOUT_POST) {
        return 0;
    }

    what = FANOUT_ADMIT_STAYS;

    if (t & (FANOUT_SSE|FANOUT_POLL)) {
        what |= FANOUT_ADMIT_READS;

        if (user->len
            && !fanout_origin_proved(r, &conf->origins))
        {
            what |= FANOUT_ADMIT_FOREIGN;
        }
    }

    if (t == FANOUT_POLL
        && (ngx_http_arg(r, (u_char *) "session", 7, &value) != NGX_OK
            || value.len != 1 || value.data[0] != '1'))
    {
        return what;
    }

    if (conf->resume && fanout_token_read(r, &id)) {

        id.user = user->len
                  ? fanout_zone_hash(&conf->app->hub->zone, user->data,
                                     user->len)
                  : 0;

        if (fanout_identity_known(&conf->app->hub->zone, &id)) {
            return what;
        }
    }

    return what | FANOUT_ADMIT_SESSION;
}


/* Hints at the most common mistake: a proxy is taken for a client. */

static void
admit_log(ngx_http_request_t *r, fanout_refusal_t *refusal)
{
    ngx_str_t    value;
    const char  *hint;

    if (!fanout_session_log_gather_error(NGX_LOG_WARN,
                                         &r->connection->addr_text,
                                         refusal->text))
    {
        return;
    }

    hint = refusal->address
           && fanout_header(r, "x-forwarded-for", &value)
           ? FANOUT_PROXY_HINT : "";

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "fanout refused a request with %ui: %s%s", refusal->status,
                  refusal->text, hint);
}
