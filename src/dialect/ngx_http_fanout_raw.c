
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The raw dialect: one channel a connection, bare bodies both ways.  What it
 * can't say in a body it says with a close: 1013 after a gap, 1012 after a
 * reset.
 */


#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_http.h"
#include "ngx_http_fanout_random.h"
#include "ngx_http_fanout_hook.h"


static const char *raw_accept(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf, ngx_uint_t *status);
static void raw_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r);
static void raw_receive(ngx_http_fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len);
static ngx_uint_t raw_match(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_entry_t *e);
static ngx_int_t raw_encode(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_entry_t *e,
    ngx_http_fanout_frame_t *f);
static ngx_http_fanout_error_e ask(ngx_http_fanout_session_t *s,
    ngx_http_fanout_zone_message_t *m, ngx_http_fanout_limited_t *limited);
static void refuse(ngx_http_fanout_session_t *s,
    ngx_http_fanout_error_e rc);
static ngx_int_t raw_work(ngx_http_fanout_session_t *s);
static void raw_close(ngx_http_fanout_session_t *s);
static void raw_closing(ngx_http_fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);


const ngx_http_fanout_dialect_t  ngx_http_fanout_raw = {
    ngx_string("raw"),
    NGX_HTTP_FANOUT_RAW_WS,
    1,
    raw_accept,
    raw_open,
    raw_receive,
    raw_match,
    raw_encode,
    raw_work,
    raw_close,
    raw_closing,
    NULL,
    NULL,
    NULL,
    NULL
};


static const char *
raw_accept(ngx_http_request_t *r, ngx_http_fanout_loc_conf_t *conf,
    ngx_uint_t *status)
{
    uint64_t                   epoch, offset;
    ngx_str_t                  channel, since;
    ngx_uint_t                 permitted;
    ngx_http_fanout_access_t  *access;

    *status = NGX_HTTP_BAD_REQUEST;

    if (ngx_http_fanout_http_arg(r, "channel", &channel) != NGX_OK) {
        return "the argument \"channel\" is missing";
    }

    if (ngx_http_fanout_hub_name(&channel) != NGX_OK) {
        return "the channel is not a name: 1 to 255 bytes of UTF-8 without "
               "control characters and \"*\"";
    }

    if (ngx_http_fanout_http_arg(r, "since", &since) == NGX_OK
        && ngx_http_fanout_position_parse(&since, &epoch, &offset) != NGX_OK)
    {
        return "the argument \"since\" is not epoch:offset";
    }

    access = ngx_http_fanout_access_create(r, conf->permits);

    if (access == NULL) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    permitted = ngx_http_fanout_access_check(access, NGX_HTTP_FANOUT_MAY_JOIN,
                                             &channel);
    ngx_http_fanout_access_release(access);

    if (!permitted) {
        *status = NGX_HTTP_FORBIDDEN;
        return "no \"fanout_permit join\" allows this channel";
    }

    return NULL;
}


static void
raw_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    uint64_t                         epoch, offset;
    ngx_str_t                        channel, since;
    ngx_uint_t                       has_since;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_zone_join_t      j;
    ngx_http_fanout_subscription_t  *sub;

    s->identity.client = ngx_http_fanout_random();

    if (ngx_http_fanout_http_arg(r, "channel", &channel) != NGX_OK) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return;
    }

    epoch = 0;
    offset = 0;
    has_since = ngx_http_fanout_http_arg(r, "since", &since) == NGX_OK
                && ngx_http_fanout_position_parse(&since, &epoch, &offset)
                   == NGX_OK;

    s->channel.data = ngx_alloc(channel.len, ngx_cycle->log);

    if (s->channel.data == NULL) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return;
    }

    ngx_memcpy(s->channel.data, channel.data, channel.len);
    s->channel.len = channel.len;

    rc = ngx_http_fanout_hub_join(s, &s->channel, has_since, epoch, offset, 0,
                                  &sub, &j);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        ngx_http_fanout_session_close(s, 1013,
                         (char *) ngx_http_fanout_errors[rc].text.data);
        return;
    }

    if (has_since && !j.recovered) {
        ngx_http_fanout_session_close(s, 1013, "since is not kept any more");
        return;
    }

    if (j.missed) {
        sub->state = NGX_HTTP_FANOUT_SUB_BEHIND;
        sub->offset = j.after;
        s->behind = 1;
        ngx_http_fanout_session_catch_up(s);
    }
}


static void
raw_receive(ngx_http_fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    ngx_http_fanout_error_e         rc;
    ngx_http_fanout_limited_t       limited;
    ngx_http_fanout_meter_mark_t    mark;
    ngx_http_fanout_zone_result_t   result;
    ngx_http_fanout_zone_message_t  m;

    if (len > s->conf->message_size) {
        ngx_http_fanout_session_close(s, NGX_HTTP_FANOUT_WS_TOO_BIG,
                                      "message too big: fanout_message_size");
        return;
    }

    if (!ngx_http_fanout_meter_take(s, NGX_HTTP_FANOUT_COST, &limited)
        || !ngx_http_fanout_meter_writes(s, &s->channel, &limited))
    {
        ngx_http_fanout_session_close(s, 4429,
                                      ngx_http_fanout_meter_text(&limited));
        return;
    }

    if (!ngx_http_fanout_access_check(s->access, NGX_HTTP_FANOUT_MAY_PUBLISH,
                                      &s->channel))
    {
        ngx_http_fanout_count(s->hub, forbidden);
        ngx_http_fanout_eventlog_forbidden(s, "publish", &s->channel,
                                           "forbidden");
        ngx_http_fanout_session_close(s, 4403,
                                      "fanout_permit publish");
        return;
    }

    if (!ngx_http_fanout_hub_may_publish(s, &s->channel)) {
        ngx_http_fanout_count(s->hub, forbidden);
        ngx_http_fanout_eventlog_forbidden(s, "publish", &s->channel,
                                           "fanout_channel publish=members");
        ngx_http_fanout_session_close(s, 4403,
                                      "fanout_channel publish=members");
        return;
    }

    ngx_memzero(&m, sizeof(ngx_http_fanout_zone_message_t));

    m.client = s->identity.client;
    m.user.data = s->user.data;
    m.user.len = s->user.len;
    m.data.data = data;
    m.data.len = len;
    m.kind = opcode == NGX_HTTP_FANOUT_WS_BINARY ? NGX_HTTP_FANOUT_BINARY
                                                 : NGX_HTTP_FANOUT_TEXT;

    if (ngx_http_fanout_asks(s->hub, &s->channel)) {
        rc = ask(s, &m, &limited);

        if (rc == NGX_HTTP_FANOUT_E_RATE_LIMITED) {
            ngx_http_fanout_session_close(s, 4429,
                                         ngx_http_fanout_meter_text(&limited));
            return;
        }

    } else {
        ngx_http_fanout_meter_mark(s, &mark);
        rc = ngx_http_fanout_hub_publish(s->hub, &s->channel, &m, 1, NULL,
                                         &result);
        ngx_http_fanout_meter_account(s, &mark);

        if (rc == NGX_HTTP_FANOUT_E_NONE) {
            ngx_http_fanout_meter_audience(s, 1, result.subscribers);
            ngx_http_fanout_count(s->hub, published);
        }
    }

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        refuse(s, rc);
    }
}


/* What comes after it waits for the answer. */

static ngx_http_fanout_error_e
ask(ngx_http_fanout_session_t *s, ngx_http_fanout_zone_message_t *m,
    ngx_http_fanout_limited_t *limited)
{
    ngx_http_fanout_job_t    *job;
    ngx_http_fanout_error_e   rc;

    job = ngx_calloc(sizeof(ngx_http_fanout_job_t), ngx_cycle->log);
    if (job == NULL) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    job->session = s;
    job->waits = 1;
    job->ask = ngx_http_fanout_ask(s, &s->channel, m, 1, NULL, NULL, limited,
                                   &rc);

    if (job->ask == NULL) {
        ngx_free(job);
        return rc;
    }

    s->job = job;

    return NGX_HTTP_FANOUT_E_NONE;
}


/* There are no replies: a publish that was not made ends the connection. */

static void
refuse(ngx_http_fanout_session_t *s, ngx_http_fanout_error_e rc)
{
    ngx_uint_t  code;

    code = 1013;

    if (rc == NGX_HTTP_FANOUT_E_REFUSED) {
        code = 4403;

    } else if (rc == NGX_HTTP_FANOUT_E_ADDRESS_FULL) {
        code = 4429;
        ngx_http_fanout_meter_full(s);
    }

    ngx_http_fanout_count(s->hub, errors);
    ngx_http_fanout_session_close(s, code,
                              (char *) ngx_http_fanout_errors[rc].text.data);
}


static ngx_uint_t
raw_match(ngx_http_fanout_subscription_t *sub, ngx_http_fanout_entry_t *e)
{
    return 1;
}


static ngx_int_t
raw_encode(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch,
    ngx_http_fanout_entry_t *e, ngx_http_fanout_frame_t *f)
{
    u_char       payload[NGX_HTTP_FANOUT_WS_CONTROL_MAX];
    size_t       len;
    uint32_t     start;
    ngx_uint_t   opcode;
    const char  *reason;

    if (ngx_http_fanout_frame_begin(hub, f, &start) != NGX_OK) {
        return NGX_ERROR;
    }

    if (e->type == NGX_HTTP_FANOUT_MESSAGE) {
        opcode = e->kind == NGX_HTTP_FANOUT_BINARY
                 ? NGX_HTTP_FANOUT_WS_BINARY : NGX_HTTP_FANOUT_WS_TEXT;

        if (ngx_http_fanout_frame_append(hub, f, e->data.data, e->data.len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else {
        opcode = NGX_HTTP_FANOUT_WS_CLOSE;
        reason = e->type == NGX_HTTP_FANOUT_GAP ? "gap" : "reset";

        len = ngx_http_fanout_ws_close_payload(payload,
                                e->type == NGX_HTTP_FANOUT_GAP ? 1013 : 1012,
                                reason, ngx_strlen(reason));

        if (ngx_http_fanout_frame_append(hub, f, payload, len) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_fanout_frame_end(hub, f, start, opcode);
}


static ngx_int_t
raw_work(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_error_e  rc;

    if (s->job->waits) {
        return NGX_AGAIN;
    }

    rc = s->job->ask->rc;
    ngx_http_fanout_session_job_done(s);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        refuse(s, rc);
    }

    return NGX_OK;
}


static void
raw_close(ngx_http_fanout_session_t *s)
{
    /* void */
}


static void
raw_closing(ngx_http_fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    /* void */
}
