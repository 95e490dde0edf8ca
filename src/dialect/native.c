
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The native protocol, version 1 (docs/protocol.md): text frames with a JSON
 * object or an array of them.
 */


#include "dialect/dialect.h"
#include "hub/entry_json.h"
#include "http/http.h"
#include "base/json.h"
#include "base/time.h"
#include "dialect/native.h"
#include "session/connect.h"
#include "session/forbid.h"
#include "base/random.h"
#include "session/resume_token.h"
#include "session/transport.h"


static const char *native_accept(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_uint_t *status);
static void native_open(fanout_session_t *s, ngx_http_request_t *r);
static void native_give_up(fanout_session_t *s, fanout_error_e error,
    const char *reason);
static void native_closing(fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);
static void native_heartbeat(fanout_session_t *s);
static void native_parted(fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t reason);
static void native_tell(fanout_session_t *s, ngx_str_t *channel,
    const char *fmt, ...);

static ngx_uint_t take_up(fanout_session_t *s, fanout_identity_t *id);
static void native_add(fanout_session_t *s);
static void identify(fanout_session_t *s, fanout_identity_t *id);
static ngx_int_t resume_later(fanout_session_t *s, fanout_identity_t *id);
static void native_proved(fanout_session_t *s);
static void greet(fanout_session_t *s, ngx_uint_t welcomed);
static void refuse_full(fanout_session_t *s, int rc);
static void welcome(fanout_session_t *s);
static void autojoin(fanout_session_t *s, ngx_http_request_t *r);
static void send_printf(fanout_session_t *s, const char *fmt, ...);


const fanout_dialect_t  fanout_native = {
    .name = ngx_string("native"),
    .format = FANOUT_NATIVE_WS,
    .names = 1,
    .part = sizeof(fanout_native_part_t),
    .accept = native_accept,
    .open = native_open,
    .receive = fanout_native_receive,
    .job_done = fanout_native_job_done,
    .match = fanout_native_match,
    .free = fanout_native_free,
    .flush = fanout_native_flush,
    .closing = native_closing,
    .heartbeat = native_heartbeat,
    .stream = &fanout_native_sse,
    .poll = &fanout_native_poll,
    .removed = native_parted,
    .granted = fanout_native_granted,
    .info = fanout_native_user_info,
    .proved = native_proved,
    .expiring = fanout_native_expiring
};


static const char *
native_accept(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status)
{
    ngx_str_t  info;

    switch (fanout_native_user_info(r, conf, &info)) {

    case NGX_OK:
        return NULL;

    case NGX_DECLINED:
        *status = NGX_HTTP_BAD_REQUEST;
        return "the profile has more than 4096 bytes: fanout_user_info";

    default:
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "the profile could not be made";
    }
}


/* opening */

static void
native_open(fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_str_t           value;
    ngx_uint_t          resumes;
    fanout_identity_t   id;

    resumes = s->conf->resume && fanout_token_read(r, &id);

    if (ngx_http_arg(r, (u_char *) "heartbeat", 9, &value) == NGX_OK
        && value.len == 1 && value.data[0] == '1' && s->conf->ping)
    {
        s->heartbeat = 1;
        s->beat_at = ngx_current_msec + s->conf->ping;
    }

    if (s->awaited) {
        if (resumes && resume_later(s, &id) != NGX_OK) {
            fanout_session_end(s, FANOUT_END_CUT);
        }

        return;
    }

    if (fanout_native_take_info(s, r) != NGX_OK) {
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    identify(s, resumes ? &id : NULL);

    /* a poll that goes on is answered when there is something */

    greet(s, s->transport->once && s->resumed && !s->unconfirmed
             && ngx_http_arg(r, (u_char *) "since", 5, &value) == NGX_OK);

    if (!s->resumed) {
        autojoin(s, r);
    }
}


static ngx_int_t
resume_later(fanout_session_t *s, fanout_identity_t *id)
{
    fanout_native_part_t  *part;

    part = fanout_native_part(s);

    part->resumes = ngx_alloc(sizeof(fanout_identity_t), ngx_cycle->log);
    if (part->resumes == NULL) {
        return NGX_ERROR;
    }

    *part->resumes = *id;

    return NGX_OK;
}


static void
native_proved(fanout_session_t *s)
{
    identify(s, fanout_native_part(s)->resumes);
    greet(s, 0);
}


static void
greet(fanout_session_t *s, ngx_uint_t welcomed)
{
    if (!welcomed) {
        welcome(s);
    }

    /* The answer tells that the welcome has come: frames do not, as they may
     * have been sent before. */

    if (s->unconfirmed && s->transport->ping) {
        s->transport->ping(s);
    }
}


/* Runs the commands of fanout_autojoin; their replies have no id. */

static void
autojoin(fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_str_t  text;

    if (fanout_connect_njoins(r, s->conf) == 0
        || !s->transport->two_way
        || s->state != FANOUT_OPEN)
    {
        return;
    }

    if (fanout_native_autojoin(s, r, &text) != NGX_OK) {
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    fanout_native_batch(s, &text);
}


/* As the client that it resumes, if that is known; else as a new one. */

static void
identify(fanout_session_t *s, fanout_identity_t *id)
{
    fanout_hub_t  *hub;

    hub = s->hub;

    s->identity.address = s->meter.address;
    s->identity.user = s->user.len
                       ? fanout_zone_hash(&hub->zone, s->user.data,
                                          s->user.len)
                       : 0;

    if (id == NULL || !take_up(s, id)) {
        native_add(s);
    }

    fanout_session_index(s);
}


/* Resumes the client of the token.  Returns 0 if the token has expired. */

static ngx_uint_t
take_up(fanout_session_t *s, fanout_identity_t *id)
{
    ngx_uint_t     keep;
    fanout_hub_t  *hub;

    hub = s->hub;
    id->user = s->identity.user;
    id->address = s->identity.address;
    keep = s->transport->once;

    if (keep && fanout_identity_known(&hub->zone, id)) {
        /* An answer may get lost, so the token stays; and a poll that still
         * waits must not end what goes on here. */
        fanout_session_replace(hub, id->client);
    }

    switch (fanout_identity_resume(&hub->zone, id, keep, s->identity.secret,
                                   &s->identity_ref))
    {
    case FANOUT_ZONE_OK:
        s->identity.client = id->client;
        s->resumed = 1;
        s->unconfirmed = ngx_memcmp(s->identity.secret, id->secret,
                                    sizeof(id->secret))
                         != 0;
        s->returned = 1;
        s->returned_at = ngx_current_msec;
        fanout_session_alive(s);

        fanout_count(hub, resumes);
        fanout_session_leave_forbidden(s);
        fanout_native_tell_info(s);
        fanout_hub_kick(hub);
        return 1;

    case FANOUT_ZONE_FULL:
        refuse_full(s, FANOUT_ZONE_FULL);
        return 1;

    default:
        fanout_count(hub, resume_failures);
        return 0;
    }
}


/* as a new client */

static void
native_add(fanout_session_t *s)
{
    int             rc;
    uint64_t        secret[2];
    fanout_hub_t   *hub;
    fanout_zstr_t   user, info;

    hub = s->hub;

    secret[0] = fanout_random();
    secret[1] = fanout_random();

    s->identity.client = fanout_random()
                         & ~FANOUT_CLIENT_FOREIGN;

    if (s->meter.foreign) {
        s->identity.client |= FANOUT_CLIENT_FOREIGN;
    }

    ngx_memcpy(s->identity.secret, secret, sizeof(secret));

    user.data = s->user.data;
    user.len = s->user.len;
    info.data = s->info.data;
    info.len = s->info.len;

    rc = fanout_identity_add(&hub->zone, &s->identity, &user, &info,
                             s->conf->per_user, &s->identity_ref);

    switch (rc) {

    case FANOUT_ZONE_OK:
        return;

    case FANOUT_ZONE_CONFLICT:

        if (fanout_session_log_gather_error(NGX_LOG_INFO,
                                            &s->connection->addr_text,
                                            "fanout_sessions_per_user"))
        {
            ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                          "limit of %ui sessions of a user is reached: "
                          "fanout_sessions_per_user", s->conf->per_user);
        }

        s->identity_ref = 0;
        native_give_up(s, FANOUT_E_TOO_MANY, "fanout_sessions_per_user");
        return;

    case FANOUT_ZONE_MANY:
        fanout_count(hub, address_held);
        fanout_meter_full(s);

        s->identity_ref = 0;
        native_give_up(s, FANOUT_E_TOO_MANY, "fanout_zone address=");
        return;

    default:
        refuse_full(s, rc);
    }
}


/* Refuses a session that has no place now.  It may retry, after a random
 * time. */

static void
native_give_up(fanout_session_t *s, fanout_error_e error, const char *reason)
{
    ngx_msec_t  ms;
    ngx_uint_t  code;

    ms = s->conf->retry;
    ms += (ngx_msec_t) ngx_random() % (ms / 2 + 1);

    s->again = ms;
    s->refused = error;
    code = 1013;

    if (error == FANOUT_E_TOO_MANY) {
        code = 4429;
        s->why = reason;
    }

    if (s->transport->two_way) {
        /* the others are counted with their answer */
        fanout_count(s->hub, rejects);
        native_closing(s, code, ms);
    }

    fanout_session_close(s, code, reason);
}


static void
refuse_full(fanout_session_t *s, int rc)
{
    fanout_error_e  error;

    if (rc != FANOUT_ZONE_FULL) {
        s->hub->zone.full = FANOUT_FULL_ZONE;
    }

    error = fanout_hub_full(s->hub);

    s->identity_ref = 0;
    native_give_up(s, error, (char *) fanout_errors[error].text.data);
}


static void
welcome(fanout_session_t *s)
{
    u_char              client[FANOUT_CLIENT_LEN];
    u_char              token[FANOUT_TOKEN_LEN];
    uint32_t            start;
    fanout_hub_t       *hub;
    fanout_outbuf_t    *f;
    fanout_loc_conf_t  *conf;

    hub = s->hub;
    conf = s->conf;

    if (s->state != FANOUT_OPEN) {
        return;
    }

    f = fanout_outbuf_create(hub, 512);
    if (f == NULL) {
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    (void) fanout_client_format(client, s->identity.client);
    (void) fanout_token_write(token, &s->identity);

    if (s->transport->framing->begin(hub, f, &start) != NGX_OK
        || fanout_outbuf_printf(hub, f, 256,
               "{\"welcome\":{\"client\":\"%*s\",\"resume\":\"%*s\","
               "\"resumed\":%s",
               sizeof(client), client, sizeof(token), token,
               s->resumed ? "true" : "false")
           != NGX_OK
        || (s->user.len
            && (fanout_outbuf_literal(hub, f, ",\"user\":") != NGX_OK
                || fanout_outbuf_string(hub, f, s->user.data, s->user.len)
                   != NGX_OK))
        || fanout_outbuf_printf(hub, f, 256,
               ",\"ping\":%M,\"time\":%uL,",
               conf->ping, fanout_time())
           != NGX_OK
        || (s->expires
            && fanout_outbuf_printf(hub, f, 64, "\"expires\":%uL,",
                                    fanout_time() + fanout_session_left(s))
               != NGX_OK)
        || fanout_outbuf_printf(hub, f, 256, "\"limits\":{\"message\":%uz,"
               "\"batch\":%ui,\"channels\":%ui,\"history\":%ui}}}",
               conf->message_size, conf->batch, conf->channels, conf->history)
           != NGX_OK
        || s->transport->framing->end(hub, f, start, FANOUT_WS_TEXT)
           != NGX_OK)
    {
        fanout_outbuf_release(hub, f);
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    fanout_session_push(s, f, 0, f->used);
    fanout_outbuf_release(hub, f);
}


/* sending */

static void
native_closing(fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    s->back_in = after;

    fanout_native_flush(s);

    send_printf(s, "{\"closing\":{\"code\":\"%s\",\"reconnect\":true,"
                   "\"after\":%M}}",
                code == 1012 ? "drain"
                : code == 4429 ? "too_many" : "zone_full", after);
}


void
fanout_native_expiring(fanout_session_t *s, ngx_str_t *channel,
    ngx_msec_t left)
{
    if (channel) {
        native_tell(s, channel, "\"expiring\":{\"in\":%M}", left);
        return;
    }

    send_printf(s, "{\"expiring\":{\"in\":%M}}", left);
}


static void
native_heartbeat(fanout_session_t *s)
{
    send_printf(s, "{\"ping\":%uL}", fanout_time());
}


static void
native_parted(fanout_session_t *s, ngx_str_t *channel, ngx_uint_t reason)
{
    fanout_native_waits_left(s, channel);
    native_tell(s, channel, "\"left\":{\"reason\":\"%s\"}",
                fanout_left_reason(reason));
}


/* A push, not a reply: it stays out of arrays of replies. */

static void
native_tell(fanout_session_t *s, ngx_str_t *channel, const char *fmt, ...)
{
    u_char                  buf[256], *p;
    va_list                 args;
    fanout_reply_t          rp;
    fanout_native_part_t   *part;
    fanout_native_batch_t  *b;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    part = fanout_native_part(s);
    b = part->batch;
    part->batch = NULL;

    fanout_native_open(&rp, s, NULL, 0);
    fanout_native_literal(&rp, "\"channel\":");
    fanout_native_string(&rp, channel->data, channel->len);
    fanout_native_printf(&rp, ",%*s", (size_t) (p - buf), buf);
    fanout_native_end(&rp);

    part->batch = b;
}


static void
send_printf(fanout_session_t *s, const char *fmt, ...)
{
    u_char   buf[256], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    fanout_session_send(s, FANOUT_WS_TEXT, buf, p - buf);
}
