
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Whether a request may begin a session, and its user and address may have one
 * more, or one more poll or POST; and how it is refused: for a time.
 */


#include "http/headers.h"
#include "http/http.h"
#include "session/token.h"
#include "transport/transport.h"
#include "transport/websocket.h"


static const char *admit_hub(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status);
static const char *admit_user(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t *status);
static ngx_uint_t admit_what(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t t, ngx_str_t *user);
static void admit_log(ngx_http_request_t *r, fanout_refusal_t *refusal);
static ngx_uint_t by_event_source(ngx_http_request_t *r);
static ngx_int_t refuse_event(ngx_http_request_t *r, ngx_uint_t wait,
    ngx_str_t *error);


const char *
fanout_handshake_check(ngx_http_request_t *r, fanout_loc_conf_t *conf,
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

    return why ? why : admit_user(r, conf, user, status);
}


static const char *
admit_hub(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_uint_t *status)
{
    fanout_hub_t  *hub;

    hub = conf->app->hub;

    if (ngx_exiting && !ngx_terminate && hub) {
        /* on a connection from before: as each transport has it */
        return NULL;
    }

    if (hub == NULL || hub->zone.heap.slot == -1 || ngx_terminate) {
        *status = NGX_HTTP_SERVICE_UNAVAILABLE;
        return "this worker takes no sessions now, try again";
    }

    if (conf->sessions && hub->nsessions >= conf->sessions) {
        if (fanout_eventlog_gather_error(NGX_LOG_WARN,
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
        /* of a command it is 400 */
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


/* Who comes back with the token of an identity begins none. */

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


/* A proxy that is taken for a client is the mistake that is made most. */

static void
admit_log(ngx_http_request_t *r, fanout_refusal_t *refusal)
{
    ngx_str_t    value;
    const char  *hint;

    if (!fanout_eventlog_gather_error(NGX_LOG_WARN, &r->connection->addr_text,
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


ngx_int_t
fanout_retry_after(ngx_http_request_t *r, ngx_uint_t ms)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", (ms + 999) / 1000)
                - value.data;

    return fanout_http_add(r, "Retry-After", &value);
}


ngx_int_t
fanout_refuse_admission(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, fanout_refusal_t *refusal)
{
    ngx_str_t        message, name, error;
    fanout_error_t  *e;

    fanout_count(conf->app->hub, rejects);

    name = *fanout_transport_name(r, conf);
    fanout_eventlog_deny(r, conf, &name, user, refusal->status,
                         refusal->text);

    (void) ngx_http_discard_request_body(r);

    e = &fanout_errors[refusal->error];
    message.data = (u_char *) refusal->text;
    message.len = ngx_strlen(refusal->text);

    if (fanout_error_line(r, &e->code, &message, &refusal->data,
                          &error)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return fanout_refuse_for(r, refusal->status, refusal->wait, &error);
}


ngx_int_t
fanout_error_line(ngx_http_request_t *r, ngx_str_t *code, ngx_str_t *message,
    ngx_str_t *data, ngx_str_t *line)
{
    ngx_str_t  text;

    if (fanout_http_error_text(r, code, message, data, &text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    line->data = ngx_pnalloc(r->pool, text.len + sizeof("{\"error\":}\n") - 1);

    if (line->data == NULL) {
        return NGX_ERROR;
    }

    line->len = ngx_sprintf(line->data, "{\"error\":%V}\n", &text)
                - line->data;

    return NGX_OK;
}


ngx_int_t
fanout_refuse_for(ngx_http_request_t *r, ngx_uint_t status, ngx_uint_t wait,
    ngx_str_t *error)
{
    ngx_int_t   rc;
    ngx_uint_t  streams;

    /* the origin was let in: it may read why */

    streams = by_event_source(r);
    rc = streams ? fanout_stream_headers(r)
                 : fanout_answer_headers(r);

    if (rc != NGX_OK || fanout_retry_after(r, wait) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (streams) {
        return refuse_event(r, wait, error);
    }

    return fanout_http_send(r, status, &fanout_type_json, error->data,
                            error->len);
}


/* To an EventSource any status but 200 is final, and says nothing. */

static ngx_uint_t
by_event_source(ngx_http_request_t *r)
{
    ngx_str_t  value;

    static ngx_str_t  type = ngx_string("text/event-stream");

    if (r->method != NGX_HTTP_GET) {
        return 0;
    }

    value = fanout_http_header(r, "accept");

    return value.len == type.len
           && ngx_strncasecmp(value.data, type.data, type.len) == 0;
}


/* The stream ends, and the browser opens it again in time. */

static ngx_int_t
refuse_event(ngx_http_request_t *r, ngx_uint_t wait, ngx_str_t *error)
{
    u_char  *p, *last;

    static ngx_str_t  type = ngx_string("text/event-stream");

    p = ngx_pnalloc(r->pool, sizeof("retry: \ndata: \n\n") + NGX_INT_T_LEN
                             + error->len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    wait += (ngx_uint_t) ngx_random() % (wait / 2 + 1);
    last = ngx_sprintf(p, "retry: %ui\ndata: %V\n", wait, error);

    return fanout_http_send(r, NGX_HTTP_OK, &type, p, last - p);
}
