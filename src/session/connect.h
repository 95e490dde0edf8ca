
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a backend has said of a request that connects (fanout_authorize
 * connect).
 */


#ifndef FANOUT_SESSION_CONNECT_H
#define FANOUT_SESSION_CONNECT_H


#include "session/grants.h"
#include "session/session.h"


/* a channel that a session joins by itself */

typedef struct {
    ngx_str_t                channel;       /* len 0: a variable has no name */
    ngx_str_t                presence;      /* JSON, data of a member; len 0:
                                               there is none */
} fanout_autojoin_t;


/* a part of a grant, one block of ngx_alloc() */

struct fanout_connect_s {
    ngx_str_t                user;          /* len 0: as fanout_user says */
    ngx_str_t                info;          /* JSON; len 0: as fanout_user_info
                                               says */
    ngx_str_t                rules;         /* in addition to fanout_permit,
                                               packed */
    fanout_autojoin_t       *joins;         /* in addition to fanout_autojoin */
    ngx_uint_t               njoins;
};


/* The request has this grant, of its location, and keeps it as long as it
 * lives.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_connect_set(ngx_http_request_t *r, fanout_grant_t *grant);

/* The grant of a request, by the fanout_authorize of this location, or NULL. */
fanout_grant_t *fanout_connect_grant(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* What it says, or NULL. */
fanout_connect_t *fanout_connect_of(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* ms until the session of a request has to end, of its token's so many, 0: that
 * does not say. */
ngx_msec_t fanout_connect_left(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_msec_t left);

/* The permissions of a request, with a reference for the caller.  NULL on lack
 * of memory. */
fanout_permissions_t *fanout_connect_permissions(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);

/* The channels that a session joins by itself, of the request's pool; what they
 * point to lives as long as the request.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_connect_joins(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_autojoin_t **joins, ngx_uint_t *n);

/* How many these are. */
ngx_uint_t fanout_connect_njoins(ngx_http_request_t *r,
    fanout_loc_conf_t *conf);


#endif /* FANOUT_SESSION_CONNECT_H */
