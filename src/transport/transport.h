
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The transports: WebSocket, event streams, polls, POST.
 */


#ifndef FANOUT_TRANSPORT_TRANSPORT_H
#define FANOUT_TRANSPORT_TRANSPORT_H


#include "session/position.h"
#include "session/transport.h"
#include "zone/denial.h"


/* as logs name them */

#define FANOUT_WEBSOCKET_NAME  "websocket"
#define FANOUT_SSE_NAME        "sse"
#define FANOUT_POLL_NAME       "poll"
#define FANOUT_POST_NAME       "post"


extern const fanout_transport_t  fanout_websocket;
extern const fanout_transport_t  fanout_sse;
extern const fanout_transport_t  fanout_poll;
extern const fanout_transport_t  fanout_post;


/* The content handler of a location with "fanout": selects the transport of a
 * request. */
ngx_int_t fanout_handler(ngx_http_request_t *r);


/* content handlers of the transports */

ngx_int_t fanout_sse_handler(ngx_http_request_t *r);
ngx_int_t fanout_poll_handler(ngx_http_request_t *r);
ngx_int_t fanout_post_handler(ngx_http_request_t *r);


/* shared by the three transports over plain HTTP */

/* Checks the origin, the arguments, the worker and its limits, for all
 * transports.  NULL and the user; or why the request is refused, a static text,
 * and the status. */
const char *fanout_handshake_check(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t *status);

/* The same without the question whether it may connect; that alone, whose
 * answer has to be there (fanout_authorize connect). */
const char *fanout_handshake_first(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t *status);
const char *fanout_connect_check(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_uint_t *status);

/* The same for its token, and for its user alone. */
const char *fanout_credential_check(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t *status);

/* Whether somebody of a request is shut out: NULL, or why it is refused, a
 * static text, and the status. */
const char *fanout_denied(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t *status);

/* For how many ms the request is refused that was so for this reason; 0: it is
 * another reason, or for good.  Called before another request is checked. */
ngx_uint_t fanout_denied_for(const char *why);

/* Whom denials may concern in a request, whose user is known.  NGX_ERROR on
 * lack of memory.  A session that a request begins gets it in the same call as
 * the request was checked, so that no denial is missed. */
ngx_int_t fanout_subject(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, fanout_subject_t *who);

/* a refusal of a request that may be repeated */

typedef struct {
    fanout_error_e   error;
    ngx_uint_t       status;
    const char      *text;
    ngx_str_t        data;              /* JSON, in buf; len 0: none */
    ngx_uint_t       wait;              /* ms */
    unsigned         address:1;         /* refused by a limit of the address */
    u_char           buf[128];
} fanout_refusal_t;

/* Checks a request against the budgets and sessions of its user and its
 * address; t is the bit of the transport.  NGX_OK: meter is for the session to
 * be made.  NGX_DECLINED: refusal says why.  fanout_handshake_check() has
 * passed before. */
ngx_int_t fanout_admit(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t t, ngx_str_t *user, fanout_meter_t *meter,
    fanout_refusal_t *refusal);

/* Refuses a request that was not admitted, with a JSON error, or with an event
 * to an EventSource. */
ngx_int_t fanout_refuse_admission(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, fanout_refusal_t *refusal);

/* Makes an error, a line of JSON, in the request's pool.  NGX_ERROR on lack of
 * memory. */
ngx_int_t fanout_error_line(ngx_http_request_t *r, ngx_str_t *code,
    ngx_str_t *message, ngx_str_t *data, ngx_str_t *line);

/* Refuses a request with a line of JSON, or with an event to an EventSource:
 * the client may try again after "wait" ms. */
ngx_int_t fanout_refuse_for(ngx_http_request_t *r,
    ngx_uint_t status, ngx_uint_t wait, ngx_str_t *error);

/* Adds Retry-After, in seconds, rounded up.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_retry_after(ngx_http_request_t *r, ngx_uint_t ms);

/* The bit of the transport that a request selects.  With the header Upgrade it
 * is WebSocket, whatever the query. */
ngx_uint_t fanout_transport_of(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* The name of that transport. */
const ngx_str_t *fanout_transport_name(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* Begins the session of an event stream or a poll.  NGX_OK and *sp; or *sp is
 * NULL, the request was refused, and the content handler returns the result. */
ngx_int_t fanout_attached_begin(ngx_http_request_t *r,
    const fanout_dialect_t *dialect, const fanout_transport_t *transport,
    fanout_session_t **sp);

/* Waits until the client takes the rest of a header, up to the location's
 * send_timeout: r->write_event_handler is called.  NGX_ERROR. */
ngx_int_t fanout_await_header(ngx_http_request_t *r);

/* For write handlers: sends the rest of a header that the filters have.  NGX_OK
 * when all was sent; NGX_AGAIN; or NGX_ERROR, and the request was finalized. */
ngx_int_t fanout_flush_header(ngx_http_request_t *r);

/* Refuses a request with a JSON error, or a WebSocket with a line of text.
 * With 503 the client may try again, see fanout_refuse_for(). */
ngx_int_t fanout_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *text);

/* The same for an error of an operation. */
ngx_int_t fanout_refuse_error(ngx_http_request_t *r, fanout_error_e error);

/* Adds the headers of a response that must not be cached.  NGX_ERROR on lack of
 * memory. */
ngx_int_t fanout_answer_headers(ngx_http_request_t *r);

/* Adds the headers of an event stream: proxies must not cache, compress or
 * buffer it.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_stream_headers(ngx_http_request_t *r);


/* what the query of a stream or a poll asks for */

typedef struct {
    ngx_str_t   *channels;      /* decoded, each once */
    ngx_str_t   *joins;         /* for each channel its join, a JSON object; len
                                   0 for "channel=" */
    ngx_uint_t   n;
    ngx_uint_t   max;           /* size of both arrays */
    uint32_t    *places;        /* hash table by name: index + 1, or 0 */
    uint32_t     mask;          /* number of places - 1 */
    fanout_zone_t
                *zone;
    ngx_uint_t   history;
    ngx_str_t    since;         /* len 0: none */
    fanout_position_t
                *position;      /* .since parsed, or NULL */
    ngx_uint_t   timeout;       /* s, of a poll */
    unsigned     polls:1;
    unsigned     timed:1;       /* timeout was given */
    unsigned     session:1;     /* a poll with session=1 */
    unsigned     member:1;      /* a join makes a member */
} fanout_query_t;

/* Checks the arguments that the location's dialect defines, for all transports:
 * each occurs once, unless it is a list, and flags are 0 or 1.  NULL, or why
 * the request is refused with 400, a static text. */
const char *fanout_query_check(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* Reads the query, after fanout_query_check(), and checks the permissions.  Its
 * memory is of the request's pool.  NULL, or why the request is refused, a
 * static text, and the status. */
const char *fanout_query(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_query_t *q, ngx_uint_t *status);

/* The same without the permissions, and without the channels of
 * fanout_autojoin. */
const char *fanout_query_read(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_query_t *q, ngx_uint_t *status);


#endif /* FANOUT_TRANSPORT_TRANSPORT_H */
