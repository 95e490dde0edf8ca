
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The ways to a client: WebSocket, a stream of events, a poll, a POST.
 */


#ifndef FANOUT_TRANSPORT_TRANSPORT_H
#define FANOUT_TRANSPORT_TRANSPORT_H


#include "session/position.h"
#include "session/transport.h"


extern const fanout_transport_t  fanout_websocket;
extern const fanout_transport_t  fanout_sse;
extern const fanout_transport_t  fanout_poll;
extern const fanout_transport_t  fanout_post;


/* The content handler of a location with "fanout": finds the transport that a
 * request asks for. */
ngx_int_t fanout_handler(ngx_http_request_t *r);


/* content handlers of the transports */

ngx_int_t fanout_sse_handler(ngx_http_request_t *r);
ngx_int_t fanout_poll_handler(ngx_http_request_t *r);
ngx_int_t fanout_post_handler(ngx_http_request_t *r);


/* what the three of plain HTTP share */

/* Why a session can't begin, as text and status, or NULL and its user.  For
 * all transports: the origin, arguments, the worker, limits. */
const char *fanout_handshake_check(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t *status);

/* why a request is refused for a time */

typedef struct {
    fanout_error_e   error;
    ngx_uint_t       status;
    const char      *text;
    ngx_str_t        data;              /* JSON, in buf; len 0: none */
    ngx_uint_t       wait;              /* ms */
    unsigned         address:1;         /* by a limit of its address */
    u_char           buf[128];
} fanout_refusal_t;

/* Whether the budgets and sessions of a user and the address of a request allow
 * it, for a transport (its bit): NGX_OK and the meter of a session that is to
 * be made, NGX_DECLINED and why not.  The handshake was checked before. */
ngx_int_t fanout_admit(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t t, ngx_str_t *user, fanout_meter_t *meter,
    fanout_refusal_t *refusal);

/* Refuses it by a JSON error, or by an event to an EventSource. */
ngx_int_t fanout_refuse_admission(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, fanout_refusal_t *refusal);

/* An error as JSON, one line, of the request's pool.  NGX_ERROR. */
ngx_int_t fanout_error_line(ngx_http_request_t *r, ngx_str_t *code,
    ngx_str_t *message, ngx_str_t *data, ngx_str_t *line);

/* Refuses a request by an error as JSON, one line, or by an event: as it may
 * come again after so many ms. */
ngx_int_t fanout_refuse_for(ngx_http_request_t *r,
    ngx_uint_t status, ngx_uint_t wait, ngx_str_t *error);

/* Adds Retry-After, in s.  NGX_ERROR. */
ngx_int_t fanout_retry_after(ngx_http_request_t *r, ngx_uint_t ms);

/* The transport that a request asks for, its bit.  With an upgrade it is
 * WebSocket, whatever the query. */
ngx_uint_t fanout_transport_of(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* The name of it. */
const ngx_str_t *fanout_transport_name(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* Begins a session of one of them that is told things: *sp, or NULL, and then
 * what the content handler returns, as the request is refused. */
ngx_int_t fanout_attached_begin(ngx_http_request_t *r,
    const fanout_dialect_t *dialect, const fanout_transport_t *transport,
    fanout_session_t **sp);

/* Waits until the client takes a header that is not all sent, for the
 * location's send_timeout: r->write_event_handler is called.  NGX_ERROR. */
ngx_int_t fanout_await_header(ngx_http_request_t *r);

/* A write handler's part: sends what the filters still have of a header.  OK
 * when all of it has gone; AGAIN, or ERROR as the request is finalized. */
ngx_int_t fanout_flush_header(ngx_http_request_t *r);

/* Refuses a request by a JSON error, or a WebSocket by a line of text; with
 * 503 for a time, as refuse_for() does. */
ngx_int_t fanout_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *text);

/* The same for an error of an operation. */
ngx_int_t fanout_refuse_error(ngx_http_request_t *r, fanout_error_e error);

/* The headers of a response that is not to be cached.  NGX_ERROR. */
ngx_int_t fanout_answer_headers(ngx_http_request_t *r);

/* The headers of a stream of events: no proxy is to keep it, to compress it or
 * to hold it back.  NGX_ERROR. */
ngx_int_t fanout_stream_headers(ngx_http_request_t *r);


/* what the query of a stream or a poll asks for */

typedef struct {
    ngx_str_t   *channels;      /* decoded, each once */
    ngx_str_t   *joins;         /* of each: what its join says, an object of
                                   JSON, or len 0 for a mere "channel=" */
    ngx_uint_t   n;
    ngx_uint_t   max;           /* of these */
    uint32_t    *places;        /* by name: index and 1, or 0 */
    uint32_t     mask;          /* places, less one */
    fanout_zone_t
                *zone;
    ngx_uint_t   history;
    ngx_str_t    since;         /* len 0: none */
    fanout_position_t
                *position;      /* what it says; or NULL */
    ngx_uint_t   timeout;       /* s, of a poll */
    unsigned     polls:1;
    unsigned     timed:1;       /* timeout was given */
    unsigned     session:1;     /* of a poll: who asks is a client */
    unsigned     member:1;      /* a join makes one */
} fanout_query_t;

/* Whether the arguments that the location's dialect defines are well-formed,
 * for all transports: each once unless it is a list, and flags 0 or 1.  NULL,
 * or why the request is refused with 400. */
const char *fanout_query_check(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* Reads it, after the check, and checks the permissions.  NULL, or why it is
 * refused and the status.  From the request's pool. */
const char *fanout_query(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_query_t *q, ngx_uint_t *status);


#endif /* FANOUT_TRANSPORT_TRANSPORT_H */
