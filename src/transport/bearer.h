
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The token that a request brings (fanout_jwt), and its claims.
 */


#ifndef FANOUT_TRANSPORT_BEARER_H
#define FANOUT_TRANSPORT_BEARER_H


#include "session/conf.h"
#include "transport/key_source.h"
#include "auth/jwt.h"
#include "zone/denial.h"


typedef enum {
    FANOUT_BEARER_HEADER = 0,           /* without a name: Authorization */
    FANOUT_BEARER_QUERY,
    FANOUT_BEARER_COOKIE,
    FANOUT_BEARER_SUBPROTOCOL,          /* fanout.token.TOKEN */
    FANOUT_BEARER_COMMAND               /* the first of a WebSocket */
} fanout_bearer_e;

typedef struct {
    fanout_bearer_e      from;
    ngx_str_t            name;          /* of a header: in lower case, ends with
                                           NUL */
} fanout_bearer_place_t;

struct fanout_jwt_conf_s {
    fanout_sources_t     sources;
    fanout_jwt_rules_t   rules;
    size_t               size;          /* bytes of a token, at most */
    size_t               handshake;     /* bytes of one that is kept, at most;
                                           0: none is */
    ngx_array_t         *places;        /* fanout_bearer_place_t: the first
                                           that has a token counts */
    ngx_msec_t           wait;          /* for the first command */
    unsigned             command:1;     /* a place is the first command */
    unsigned             optional:1;    /* a request may bring none */
};

/* Takes the token from a request, so that no log has it: in the query it is
 * overwritten with "*".  NGX_ERROR on lack of memory. */
ngx_int_t fanout_bearer_take(ngx_http_request_t *r, fanout_jwt_conf_t *conf);

/* The next argument of this name from *pos on, which moves behind it: 1, or 0.
 * The characters of a token are not escaped in a query. */
ngx_uint_t fanout_bearer_argument(u_char **pos, u_char *last, ngx_str_t *name,
    ngx_str_t *token);

/* Overwrites all arguments of this name. */
void fanout_bearer_hide(ngx_http_request_t *r, ngx_str_t *name);

/* Counts a token that was looked at; locations without "fanout" have no
 * counters. */
void fanout_bearer_count(fanout_loc_conf_t *conf, fanout_jwt_e e);

/* Whether a token has only the characters of one (RFC 7515, section 3.1), so
 * that it may stand in a header: 1 or 0. */
ngx_uint_t fanout_bearer_plain(ngx_str_t *token);

/* The token of a request for a location, whatever the request has elsewhere;
 * copied.  NGX_ERROR on lack of memory, or if it is not plain. */
ngx_int_t fanout_bearer_give(ngx_http_request_t *r, fanout_jwt_conf_t *conf,
    ngx_str_t *token);

/* Whether a request may begin a session now, by its token, whose signature is
 * verified once.  NULL; or why not, a static text, and the status. */
const char *fanout_bearer_check(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_uint_t *status);

/* Whether the token of a request comes with its first command: 1 or 0. */
ngx_uint_t fanout_bearer_awaited(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* When the session of a request has to end, in ms from now, at least 1; 0: its
 * token does not say. */
ngx_msec_t fanout_bearer_left(ngx_http_request_t *r, fanout_loc_conf_t *conf);

/* The hash of the jti of a token that was verified; 0: it has none. */
uint64_t fanout_bearer_id(fanout_loc_conf_t *conf, const fanout_jwt_t *jwt);

/* What the token of a request says of itself, into who.  NGX_ERROR on lack of
 * memory. */
ngx_int_t fanout_bearer_subject(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_subject_t *who);

/*
 * The claim that n names lead to, from the outside in, as text: strings
 * without quotes, other values as JSON.  NGX_OK; NGX_DECLINED: there is no
 * valid token, or no such claim, or it has control characters, which could end
 * a header; NGX_ERROR on lack of memory.
 */
ngx_int_t fanout_bearer_claim(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    const fanout_json_t *names, ngx_uint_t n, ngx_str_t *value);


#endif /* FANOUT_TRANSPORT_BEARER_H */
