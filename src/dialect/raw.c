
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The raw dialect: one channel a connection, bare bodies both ways.  What it
 * can't say in a body it says with a close: 1013 after a gap, 1012 after a
 * reset.
 */


#include "dialect/dialect.h"
#include "session/connect.h"
#include "session/join.h"
#include "session/members.h"
#include "hub/entry_json.h"
#include "http/http.h"
#include "base/random.h"
#include "hook/hook.h"


/* raw's part of a session */

typedef struct {
    ngx_str_t      channel;
} raw_t;


/* a publish that a backend is asked about */

typedef struct {
    fanout_job_t        base;
    fanout_approval_t  *approval;
} approval_job_t;


static const char *raw_accept(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status);
static void raw_open(fanout_session_t *s, ngx_http_request_t *r);
static void raw_receive(fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len);
static ngx_uint_t raw_match(fanout_subscription_t *sub, fanout_entry_t *e);
static fanout_error_e raw_ask(fanout_session_t *s, fanout_zone_message_t *m,
    fanout_limited_t *limited);
static void raw_refuse(fanout_session_t *s,
    fanout_error_e rc);
static ngx_int_t raw_approval_step(fanout_session_t *s);
static void raw_approval_free(fanout_job_t *job);
static void raw_free(fanout_session_t *s);
static void raw_closing(fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);


const fanout_dialect_t  fanout_raw = {
    .name = ngx_string("raw"),
    .format = FANOUT_RAW_WS,
    .closes = 1,
    .part = sizeof(raw_t),
    .accept = raw_accept,
    .open = raw_open,
    .receive = raw_receive,
    .match = raw_match,
    .free = raw_free,
    .closing = raw_closing
};


static const fanout_job_ops_t  raw_approval_ops = {
    raw_approval_step,
    raw_approval_free
};


static const char *
raw_accept(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_uint_t *status)
{
    uint64_t               epoch, offset;
    ngx_str_t              channel, since;
    ngx_uint_t             permitted;
    fanout_permissions_t  *access;

    *status = NGX_HTTP_BAD_REQUEST;

    if (fanout_http_arg(r, "channel", &channel) != NGX_OK) {
        return "the argument \"channel\" is missing";
    }

    if (fanout_name_check(&channel) != NGX_OK) {
        return "the channel is not a name: 1 to 255 bytes of UTF-8 without "
               "control characters and \"*\"";
    }

    if (fanout_http_arg(r, "since", &since) == NGX_OK
        && fanout_position_parse(&since, &epoch, &offset) != NGX_OK)
    {
        return "the argument \"since\" is not epoch:offset";
    }

    access = fanout_connect_permissions(r, conf);

    if (access == NULL) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    permitted = fanout_permissions_match(access, FANOUT_MAY_JOIN, &channel);
    fanout_permissions_release(access);

    if (!permitted) {
        *status = NGX_HTTP_FORBIDDEN;
        return "no \"fanout_permit join\" allows this channel";
    }

    return NULL;
}


static void
raw_open(fanout_session_t *s, ngx_http_request_t *r)
{
    raw_t                  *raw;
    uint64_t                epoch, offset;
    ngx_str_t               channel, since;
    ngx_uint_t              has_since;
    fanout_error_e          rc;
    fanout_zone_join_t      j;
    fanout_subscription_t  *sub;

    raw = s->dialect_part;
    s->identity.client = fanout_random();

    if (fanout_http_arg(r, "channel", &channel) != NGX_OK) {
        fanout_session_end(s, FANOUT_END_CLEAN);
        return;
    }

    epoch = 0;
    offset = 0;
    has_since = fanout_http_arg(r, "since", &since) == NGX_OK
                && fanout_position_parse(&since, &epoch, &offset)
                   == NGX_OK;

    raw->channel.data = ngx_alloc(channel.len, ngx_cycle->log);

    if (raw->channel.data == NULL) {
        fanout_session_end(s, FANOUT_END_CLEAN);
        return;
    }

    ngx_memcpy(raw->channel.data, channel.data, channel.len);
    raw->channel.len = channel.len;

    rc = fanout_session_join(s, &raw->channel, has_since, epoch, offset, 0,
                             &sub, &j);

    if (rc != FANOUT_E_NONE) {
        fanout_session_close(s, 1013,
                         (char *) fanout_errors[rc].text.data);
        return;
    }

    if (has_since && !j.recovered) {
        fanout_session_close(s, 1013, "since is not kept any more");
        return;
    }

    if (j.missed) {
        sub->state = FANOUT_SUB_BEHIND;
        sub->offset = j.after;
        s->behind = 1;
        fanout_session_catch_up(s);
    }
}


static void
raw_receive(fanout_session_t *s, ngx_uint_t opcode, u_char *data, size_t len)
{
    raw_t                 *raw;
    fanout_error_e         rc;
    fanout_limited_t       limited;
    fanout_meter_mark_t    mark;
    fanout_zone_result_t   result;
    fanout_zone_message_t  m;

    raw = s->dialect_part;

    if (fanout_session_denied(s)) {
        return;
    }

    if (len > s->conf->message_size) {
        fanout_session_close(s, FANOUT_WS_TOO_BIG,
                             "message too big: fanout_message_size");
        return;
    }

    if (!fanout_meter_take(s, FANOUT_COST, &limited)
        || !fanout_meter_writes(s, &raw->channel, &limited))
    {
        fanout_session_close(s, 4429, fanout_meter_text(&limited));
        return;
    }

    if (!fanout_permissions_match(s->permissions, FANOUT_MAY_PUBLISH,
                                  &raw->channel))
    {
        fanout_count(s->hub, forbidden);
        fanout_session_log_forbidden(s, "publish", &raw->channel,
                                     "forbidden");
        fanout_session_close(s, 4403,
                             "fanout_permit publish");
        return;
    }

    if (!fanout_session_may_publish(s, &raw->channel)) {
        fanout_count(s->hub, forbidden);
        fanout_session_log_forbidden(s, "publish", &raw->channel,
                                     "fanout_channel publish=members");
        fanout_session_close(s, 4403,
                             "fanout_channel publish=members");
        return;
    }

    ngx_memzero(&m, sizeof(fanout_zone_message_t));

    m.client = s->identity.client;
    m.user.data = s->user.data;
    m.user.len = s->user.len;
    m.data.data = data;
    m.data.len = len;
    m.kind = opcode == FANOUT_WS_BINARY ? FANOUT_BINARY
                                        : FANOUT_TEXT;

    if (fanout_approval_needed(s->hub, &raw->channel)) {
        rc = raw_ask(s, &m, &limited);

        if (rc == FANOUT_E_RATE_LIMITED) {
            fanout_session_close(s, 4429,
                                         fanout_meter_text(&limited));
            return;
        }

    } else {
        fanout_meter_mark(s, &mark);
        rc = fanout_hub_publish(s->hub, &raw->channel, &m, 1, NULL, &result);
        fanout_meter_account(s, &mark);

        if (rc == FANOUT_E_NONE) {
            fanout_meter_audience(s, 1, result.subscribers);
            fanout_count(s->hub, published);
            fanout_session_log_done(s, "publish", &raw->channel, NULL,
                                    result.offset);
        }
    }

    if (rc != FANOUT_E_NONE) {
        raw_refuse(s, rc);
    }
}


/* Messages behind it wait for the answer. */

static fanout_error_e
raw_ask(fanout_session_t *s, fanout_zone_message_t *m,
    fanout_limited_t *limited)
{
    raw_t           *raw;
    approval_job_t  *job;
    fanout_error_e   rc;

    raw = s->dialect_part;

    job = ngx_calloc(sizeof(approval_job_t), ngx_cycle->log);
    if (job == NULL) {
        return FANOUT_E_INTERNAL;
    }

    job->base.ops = &raw_approval_ops;
    job->base.session = s;
    job->base.waits = 1;
    job->base.asks = 1;
    job->approval = fanout_approval_begin(s, &raw->channel, m, 1, NULL, NULL,
                                          limited, &rc);

    if (job->approval == NULL) {
        ngx_free(job);
        return rc;
    }

    s->job = &job->base;

    return FANOUT_E_NONE;
}


/* There are no replies: a publish that was not made ends the connection. */

static void
raw_refuse(fanout_session_t *s, fanout_error_e rc)
{
    ngx_uint_t  code;

    code = 1013;

    if (rc == FANOUT_E_REFUSED) {
        code = 4403;

    } else if (rc == FANOUT_E_ADDRESS_FULL) {
        code = 4429;
        fanout_meter_full(s);
    }

    fanout_count(s->hub, errors);
    fanout_session_close(s, code,
                              (char *) fanout_errors[rc].text.data);
}


static ngx_uint_t
raw_match(fanout_subscription_t *sub, fanout_entry_t *e)
{
    return 1;
}


ngx_int_t
fanout_raw_encode(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e,
    fanout_outbuf_t *f, ngx_uint_t *opcode)
{
    u_char       payload[FANOUT_WS_CONTROL_MAX];
    size_t       len;
    const char  *reason;

    if (e->type == FANOUT_MESSAGE) {

        if (e->kind == FANOUT_BINARY) {
            *opcode = FANOUT_WS_BINARY;
        }

        return fanout_outbuf_append(hub, f, e->data.data, e->data.len);
    }

    *opcode = FANOUT_WS_CLOSE;
    reason = e->type == FANOUT_GAP ? "gap" : "reset";

    len = fanout_ws_close_payload(payload,
                                  e->type == FANOUT_GAP ? 1013 : 1012,
                                  reason, ngx_strlen(reason));

    return fanout_outbuf_append(hub, f, payload, len);
}


static ngx_int_t
raw_approval_step(fanout_session_t *s)
{
    approval_job_t  *job;
    fanout_error_e   rc;

    if (s->job->waits) {
        return NGX_AGAIN;
    }

    job = (approval_job_t *) s->job;
    rc = job->approval->rc;

    if (rc == FANOUT_E_NONE) {
        fanout_session_log_done(s, "publish", &job->approval->channel, NULL,
                                job->approval->result.offset);
    }

    fanout_session_job_done(s);

    if (rc != FANOUT_E_NONE) {
        raw_refuse(s, rc);
    }

    return NGX_OK;
}


static void
raw_approval_free(fanout_job_t *job)
{
    fanout_approval_release(((approval_job_t *) job)->approval);
    ngx_free(job);
}


static void
raw_free(fanout_session_t *s)
{
    raw_t  *raw;

    raw = s->dialect_part;

    if (raw->channel.data) {
        ngx_free(raw->channel.data);
    }
}


static void
raw_closing(fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    /* void */
}
