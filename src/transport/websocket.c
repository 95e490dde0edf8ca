
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Turns received bytes into messages for the dialect (RFC 6455, sections 5 to
 * 7).
 */


#include "transport/websocket.h"
#include "transport/bearer.h"
#include "http/headers.h"
#include "session/compress.h"
#include "wire/deflate.h"
#include "session/dialect.h"
#include "http/http.h"
#include "transport/transport.h"


#define FANOUT_FRAGMENTS     4096
#define FANOUT_INFLATE_FREE  4096           /* bytes without a cost, whatever
                                               the ratio */
#define FANOUT_PINGS         100            /* answered in ten seconds */
#define FANOUT_PROOF         'r'            /* data of a ping */


/* a session's part */

typedef struct {
    fanout_ws_parser_t   parser;
    u_char              *message;           /* being received */
    uint32_t             len;
    uint32_t             size;
    uint32_t             pings_at;          /* low bits of ngx_current_msec */
    uint16_t             pings;             /* answered since */
} websocket_t;


static const fanout_ws_opts_t *websocket_opts(fanout_session_t *s);
static void websocket_free(fanout_session_t *s);
static ngx_int_t websocket_message(fanout_session_t *s, fanout_ws_event_t *ev);
static ngx_int_t complete(fanout_session_t *s, fanout_ws_event_t *ev,
    u_char *data, size_t len);
static ngx_int_t inflate_message(fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len);
static size_t inflate_free(fanout_session_t *s, size_t len);
static void charge_inflated(fanout_session_t *s, size_t len, size_t outlen);
static void receive(fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len);
static void pong(fanout_session_t *s, fanout_ws_event_t *ev);
static void closed(fanout_session_t *s, fanout_ws_event_t *ev);
static void say_close(fanout_session_t *s, ngx_uint_t code,
    const char *reason);
static void websocket_ping(fanout_session_t *s);
static void ponged(fanout_session_t *s, fanout_ws_event_t *ev);
static void own_first(fanout_session_t *s);
static void keep_rest(fanout_session_t *s, u_char *pos, u_char *last);


static const fanout_transport_t  websocket_away;


const fanout_transport_t  fanout_websocket = {
    .name = ngx_string(FANOUT_WEBSOCKET_NAME),
    .bit = FANOUT_WEBSOCKET,
    .two_way = 1,
    .part = sizeof(websocket_t),
    .framing = &fanout_framing_websocket,
    .away = &websocket_away,
    .free = websocket_free,
    .input = fanout_websocket_input,
    .close = say_close,
    .ping = websocket_ping
};


/* for a client that has gone: only input that was received is processed */

static const fanout_transport_t  websocket_away = {
    .name = ngx_string(FANOUT_WEBSOCKET_NAME),
    .bit = FANOUT_WEBSOCKET,
    .commands = 1,
    .gone = 1,
    .part = sizeof(websocket_t),
    .framing = &fanout_framing_websocket,
    .free = websocket_free,
    .input = fanout_websocket_input,
    .close = say_close,
    .ping = websocket_ping
};


void
fanout_websocket_init(fanout_session_t *s)
{
    websocket_t  *ws;

    ws = s->transport_part;

    fanout_ws_init(&ws->parser, websocket_opts(s));
}


void
fanout_websocket_proved(fanout_session_t *s)
{
    websocket_t  *ws;

    ws = s->transport_part;
    ws->parser.opts = websocket_opts(s);
}


static const fanout_ws_opts_t *
websocket_opts(fanout_session_t *s)
{
    return &s->conf->ws[s->awaited != 0][fanout_deflate_of(s->format) != 0];
}


static void
websocket_free(fanout_session_t *s)
{
    websocket_t  *ws;

    ws = s->transport_part;

    if (ws->message) {
        ngx_free(ws->message);
    }

    if (ws->parser.control) {
        ngx_free(ws->parser.control);
    }
}


void
fanout_websocket_configure(fanout_loc_conf_t *conf)
{
    size_t             token;
    ngx_uint_t         awaited, deflate;
    fanout_ws_opts_t  *opts;

    token = conf->jwt ? conf->jwt->size : 0;

    for (awaited = 0; awaited < 2; awaited++) {
        for (deflate = 0; deflate < 2; deflate++) {
            opts = &conf->ws[awaited][deflate];

            opts->size = awaited ? token : ngx_max(conf->message_size, token);
            opts->size += FANOUT_ENVELOPE;
            opts->frames = FANOUT_FRAGMENTS;
            opts->rsv1 = deflate;
        }
    }
}


ngx_int_t
fanout_websocket_extend(ngx_http_request_t *r, fanout_session_t *s,
    ngx_str_t *answer)
{
    u_char                  *p;
    unsigned                 bits;
    ngx_str_t                value;
    ngx_uint_t               how;
    fanout_headers_t         h;
    fanout_deflate_offer_t   offer;

    static const char  agreed[] = "permessage-deflate; "
                                  "server_no_context_takeover; "
                                  "client_no_context_takeover";

    ngx_str_null(answer);

    if (!s->conf->deflate) {
        return NGX_OK;
    }

    ngx_memzero(&h, sizeof(fanout_headers_t));

    do {
        if (!fanout_next_header(r, "sec-websocket-extensions", &h,
                                &value))
        {
            return NGX_OK;
        }
    } while (!fanout_deflate_offered(value.data, value.len, &offer));

    p = ngx_pnalloc(r->pool, sizeof(agreed)
                             + sizeof("; server_max_window_bits=15"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    how = fanout_deflate_choose(&offer, &bits);

    answer->data = p;
    p = ngx_sprintf(p, "%s", agreed);

    if (bits) {
        p = ngx_sprintf(p, "; server_max_window_bits=%ud", bits);
    }

    answer->len = p - answer->data;

    s->format += how * FANOUT_BASES;
    fanout_count(s->hub, deflate_connects);

    return NGX_OK;
}


/* from bytes to messages */

void
fanout_websocket_input(fanout_session_t *s, u_char *data, size_t len)
{
    int                 rc;
    u_char             *last;
    websocket_t        *ws;
    fanout_ws_event_t   ev;

    ws = s->transport_part;
    last = data + len;

    for ( ;; ) {
        rc = fanout_ws_parse(&ws->parser, &data, last, &ev);

        switch (rc) {

        case FANOUT_WS_EV_MORE:
            fanout_session_frame_deadline(s,
                                    fanout_ws_within_frame(&ws->parser)
                                    || fanout_ws_within_message(&ws->parser));
            return;

        case FANOUT_WS_EV_DATA:
            if (s->state != FANOUT_OPEN) {
                break;
            }

            if (websocket_message(s, &ev) != NGX_OK) {
                fanout_session_end(s, FANOUT_END_CUT);
                return;
            }

            break;

        case FANOUT_WS_EV_PING:
            pong(s, &ev);
            break;

        case FANOUT_WS_EV_PONG:
            ponged(s, &ev);
            break;

        case FANOUT_WS_EV_BUFFER:
            ws->parser.control = ngx_alloc(FANOUT_WS_CONTROL_MAX,
                                           ngx_cycle->log);
            if (ws->parser.control == NULL) {
                fanout_session_end(s, FANOUT_END_CUT);
                return;
            }

            continue;

        case FANOUT_WS_EV_CLOSE:
            closed(s, &ev);
            return;

        default: /* FANOUT_WS_EV_ERROR */

            if (s->state == FANOUT_OPEN) {
                fanout_count(s->hub, protocol_errors);
                own_first(s);
                fanout_session_close(s, ev.code, ev.text);
            }

            /* RFC 6455, section 7.1.7: no more input is read, not even an
             * answer */
            s->lingers = 1;
            s->close_after = 1 + FANOUT_END_CUT;
            fanout_outbox_queue(s);
            return;
        }

        if (ws->parser.control && rc != FANOUT_WS_EV_DATA) {
            ngx_free(ws->parser.control);
            ws->parser.control = NULL;
        }

        if (s->state == FANOUT_ENDED) {
            return;
        }

        if (data < last && (fanout_session_busy(s)
                            || fanout_spent(s->hub)))
        {
            keep_rest(s, data, last);
            return;
        }
    }
}


/* An unfragmented message is passed on in place, without a copy. */

static ngx_int_t
websocket_message(fanout_session_t *s, fanout_ws_event_t *ev)
{
    u_char       *p;
    size_t        size;
    ngx_int_t     rc;
    websocket_t  *ws;

    if (ev->first && ev->last) {
        return complete(s, ev, ev->data, ev->len);
    }

    ws = s->transport_part;

    if (ws->len + ev->len > ws->size) {
        size = ngx_max(ws->len + ev->len, ws->size * 2);
        size = ngx_max(ngx_min(size, (size_t) ev->size),
                       ws->len + ev->len);

        p = realloc(ws->message, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ws->message = p;
        ws->size = size;
    }

    if (ev->len) {
        ngx_memcpy(ws->message + ws->len, ev->data, ev->len);
        ws->len += ev->len;
    }

    if (!ev->last) {
        return NGX_OK;
    }

    p = ws->message;
    size = ws->len;
    ws->message = NULL;
    ws->len = 0;
    ws->size = 0;

    rc = complete(s, ev, p ? p : (u_char *) "", size);

    if (p) {
        ngx_free(p);
    }

    return rc;
}


static ngx_int_t
complete(fanout_session_t *s, fanout_ws_event_t *ev, u_char *data, size_t len)
{
    if (ev->rsv1) {
        return inflate_message(s, ev->opcode, data, len);
    }

    receive(s, ev->opcode, data, len);

    return NGX_OK;
}


static void
receive(fanout_session_t *s, ngx_uint_t opcode, u_char *data, size_t len)
{
    fanout_count(s->hub, received);
    fanout_add(s->hub, received_bytes, len);
    fanout_session_log_add(s, messages_in, 1);
    fanout_spend(s->hub, len * FANOUT_WORK_PARSE);

    s->dialect->receive(s, opcode, data, len);
}


/* Inflates a message once all of it was received, so one inflater serves all
 * sessions.  A session with a debt near the limit is closed before more is
 * inflated for it.  If the user or the address are above their budgets, only
 * what the ratio allows is inflated: a longer message closes the session, and
 * the commands of a shorter one are refused as any. */

static ngx_int_t
inflate_message(fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    u_char            *out;
    size_t             outlen, size, limit;
    ngx_uint_t         code, over;
    const char        *why;
    fanout_limited_t   limited;
    fanout_inflate_e   rc;

    if (s->conf->deflate_ratio && fanout_meter_broke(s)) {
        fanout_session_close(s, 4429,
                             "too many bytes inflated: fanout_rate, "
                             "fanout_deflate_ratio");
        return NGX_OK;
    }

    size = websocket_opts(s)->size;
    limit = size;
    over = s->conf->deflate_ratio && fanout_meter_over(s, &limited);

    if (over) {
        size = ngx_min(size, inflate_free(s, len));
        over = (size < limit);
    }

    rc = fanout_inflate(data, len, size,
                        opcode == FANOUT_WS_TEXT,
                        &out, &outlen);

    fanout_spend(s->hub, outlen * FANOUT_WORK_INFLATE);

    if (rc == FANOUT_INFLATE_OK) {
        fanout_count(s->hub, inflated);
        fanout_add(s->hub, inflated_in, len);
        fanout_add(s->hub, inflated_out, outlen);

        receive(s, opcode, out ? out : (u_char *) "", outlen);
        free(out);

        /* charged afterwards, as all costs: else a message above the burst
         * could never be sent */
        charge_inflated(s, len, outlen);

        return NGX_OK;
    }

    charge_inflated(s, len, outlen);

    switch (rc) {

    case FANOUT_INFLATE_BROKEN:
        code = FANOUT_WS_NOT_UTF8;
        why = "compressed message is broken";
        break;

    case FANOUT_INFLATE_NOT_UTF8:
        code = FANOUT_WS_NOT_UTF8;
        why = "text message is not UTF-8";
        break;

    case FANOUT_INFLATE_SIZE:

        if (over) {
            fanout_meter_refuse(s, &limited);
            fanout_session_close(s, 4429,
                                 "too many bytes inflated: "
                                 "fanout_budget, "
                                 "fanout_deflate_ratio");
            return NGX_OK;
        }

        code = FANOUT_WS_TOO_BIG;
        why = "message too big: fanout_message_size";
        break;

    default: /* FANOUT_INFLATE_MEMORY */
        return NGX_ERROR;
    }

    fanout_count(s->hub, inflate_errors);
    fanout_count(s->hub, protocol_errors);

    own_first(s);
    fanout_session_close(s, code, why);

    return NGX_OK;
}


/* The size to which a message of this length may grow without a cost. */

static size_t
inflate_free(fanout_session_t *s, size_t len)
{
    return ngx_max(len * s->conf->deflate_ratio, FANOUT_INFLATE_FREE);
}


/* The bytes beyond the ratio cost as much as a reply of that length. */

static void
charge_inflated(fanout_session_t *s, size_t len, size_t outlen)
{
    size_t  allowed;

    if (s->conf->deflate_ratio == 0) {
        return;
    }

    allowed = inflate_free(s, len);

    if (outlen > allowed) {
        fanout_add(s->hub, inflate_charged, outlen - allowed);
        fanout_meter_grown(s, outlen - allowed);
    }
}


static void
pong(fanout_session_t *s, fanout_ws_event_t *ev)
{
    u_char        buf[FANOUT_WS_HEADER_MAX
                      + FANOUT_WS_CONTROL_MAX];
    size_t        n;
    websocket_t  *ws;

    if (s->state != FANOUT_OPEN) {
        return;
    }

    ws = s->transport_part;

    if ((uint32_t) (ngx_current_msec - ws->pings_at) >= 10000) {
        ws->pings_at = ngx_current_msec;
        ws->pings = 0;
    }

    if (++ws->pings > FANOUT_PINGS) {
        fanout_count(s->hub, rate_limited);
        fanout_session_close(s, 4429, "too many pings");
        return;
    }

    n = fanout_ws_header(buf, FANOUT_WS_PONG, 1, ev->len);

    if (ev->len) {
        ngx_memcpy(buf + n, ev->data, ev->len);
    }

    fanout_session_bytes(s, buf, n + ev->len);
}


static void
say_close(fanout_session_t *s, ngx_uint_t code, const char *reason)
{
    u_char  buf[FANOUT_WS_HEADER_MAX
                + FANOUT_WS_CONTROL_MAX];
    u_char  payload[FANOUT_WS_CONTROL_MAX];
    size_t  n, len;

    len = fanout_ws_close_payload(payload, code, reason, ngx_strlen(reason));
    n = fanout_ws_header(buf, FANOUT_WS_CLOSE, 1, len);
    ngx_memcpy(buf + n, payload, len);

    fanout_session_bytes(s, buf, n + len);
}


static void
websocket_ping(fanout_session_t *s)
{
    u_char  buf[FANOUT_WS_HEADER_MAX + 1];
    size_t  n;

    n = fanout_ws_header(buf, FANOUT_WS_PING, 1, s->unconfirmed);

    if (s->unconfirmed) {
        buf[n++] = FANOUT_PROOF;
    }

    fanout_session_bytes(s, buf, n);
}


/* RFC 6455, section 5.5.3: a pong with the data of a ping answers it, so the
 * client has received what was sent before */

static void
ponged(fanout_session_t *s, fanout_ws_event_t *ev)
{
    if (s->unconfirmed && ev->len == 1 && ev->data[0] == FANOUT_PROOF) {
        s->unconfirmed = 0;
        fanout_identity_confirm(&s->hub->zone, s->identity_ref, &s->identity);
    }
}


/* RFC 6455, section 5.5.1: a close is answered with its code, then the server
 * closes the connection (7.1.1) */

static void
closed(fanout_session_t *s, fanout_ws_event_t *ev)
{
    ngx_uint_t  how;

    how = (ev->code == 1000 || ev->code == FANOUT_WS_NO_CODE)
          ? FANOUT_END_CLEAN : FANOUT_END_CUT;

    if (s->state == FANOUT_CLOSING) {
        /* the answer to the server's close: the first code counts */
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    if (ev->code == FANOUT_WS_GOING_AWAY) {
        /* the client leaves on purpose, but a page that is reloaded comes
         * back */
        s->reason = FANOUT_LEFT_INTENTIONAL;
    }

    fanout_session_log_left(s, ev->code, ev->data, ev->len);
    own_first(s);

    if (how == FANOUT_END_CLEAN && s->state == FANOUT_OPEN) {
        fanout_session_goodbye(s);
    }

    fanout_session_close(s, ev->code, "");
    s->close_after = 1 + how;
}


/* Delivers messages on their way through the zone, the client's own among them,
 * before a close. */

static void
own_first(fanout_session_t *s)
{
    if (s->hub->drain.posted) {
        (void) fanout_hub_drain(s->hub);
    }
}


static void
keep_rest(fanout_session_t *s, u_char *pos, u_char *last)
{
    s->input = ngx_alloc(last - pos, ngx_cycle->log);

    if (s->input == NULL) {
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    ngx_memcpy(s->input, pos, last - pos);
    s->input_len = last - pos;

    if (!fanout_session_busy(s)) {
        fanout_session_work(s);
    }
}
