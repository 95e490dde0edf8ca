
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Configuration of a location, and of the whole.
 */


#ifndef FANOUT_SESSION_CONF_H
#define FANOUT_SESSION_CONF_H


#include "hub/app.h"
#include "http/origin.h"
#include "wire/ws.h"
#include "zone/limit.h"


/* bytes of a command around its data */
#define FANOUT_ENVELOPE  4096


typedef struct fanout_dialect_s    fanout_dialect_t;
typedef struct fanout_transport_s  fanout_transport_t;
typedef struct fanout_jwt_conf_s   fanout_jwt_conf_t;
typedef struct fanout_authorizer_s  fanout_authorizer_t;


typedef struct {
    ngx_array_t                     apps;       /* fanout_app_t * */
    ngx_array_t                     authorizers;
                                                /* fanout_authorizer_t * */
    size_t                          deflate_min;
    ngx_int_t                       deflate_level;
    ngx_int_t                       deflate_window;     /* bits */
    unsigned                        broadcast:1;  /* somewhere */
    unsigned                        calls:1;    /* so are locations that
                                                   are called */
} fanout_main_conf_t;


/* fanout_budget */

#define FANOUT_SCOPE_SESSION  0
#define FANOUT_SCOPE_USER     1
#define FANOUT_SCOPE_ADDRESS  2
#define FANOUT_SCOPES         3

#define FANOUT_BUDGET_UNSET   UINT64_MAX

typedef struct {
    uint64_t                        rate[FANOUT_BUDGETS];
                                                /* a second, 0: off */
    ngx_msec_t                      burst;      /* 0: unset */
    unsigned                        set:1;
    unsigned                        off:1;
} fanout_budget_conf_t;


/* fanout_user_info: a member of the profile */

typedef struct {
    ngx_str_t                       name;
    ngx_http_complex_value_t        value;
} fanout_profile_t;


/* fanout_authorize: beside FANOUT_MAY_*, whether a request may connect */

#define FANOUT_ASK_CONNECT_AT  FANOUT_MAY_N
#define FANOUT_ASK_CONNECT     (1 << FANOUT_ASK_CONNECT_AT)
#define FANOUT_ASKS            (FANOUT_MAY_N + 1)


typedef struct {
    fanout_app_t               *app;            /* NULL: not enabled */
    fanout_app_t               *api;
    fanout_app_t               *status;
    ngx_http_handler_pt         handler;        /* of the one that is set */
    const fanout_dialect_t  *dialect;

    ngx_http_complex_value_t   *user;
    fanout_jwt_conf_t       *jwt;               /* NULL: off */
    ngx_array_t             *permits;           /* permit_t, NULL: deny all */
    ngx_array_t             *authorizers;       /* fanout_authorizer_t *, NULL:
                                                   none */
    struct fanout_grants_s  *asked[FANOUT_ASKS];
                                                /* by the bit of an operation,
                                                   NULL: nobody is asked */
    ngx_uint_t               asks;              /* bits of these */
    ngx_uint_t               tickets;           /* whether tokens may be of
                                                   channels */
    size_t                   headers;           /* bytes of a request that are
                                                   kept for that, at most */
    fanout_origins_t         origins;           /* of pages with sessions */
    fanout_origins_t         api_origins;
    ngx_array_t             *hosts;             /* names by which the API or
                                                   the status is called, NULL:
                                                   none more */
    ngx_array_t             *names;             /* those of the server */
    unsigned                 public:1;          /* it needs no guard */
    unsigned                 sync:1;            /* style=sync of the API */

    ngx_msec_t               ping;              /* 0: no pings */
    ngx_msec_t               timeout;           /* of an answer to one, and of
                                                   a partial frame */
    ngx_msec_t               send_timeout;
    ngx_msec_t               resume;
    ngx_msec_t               session_max;       /* 0: any */
    ngx_msec_t               expiring;          /* before the end of a session,
                                                   0: it is not told */
    ngx_msec_t               drain;
    size_t                   buffer;
    size_t                   message_size;
    ngx_uint_t               channels;          /* per session */
    ngx_uint_t               sessions;          /* per worker, 0: any */
    ngx_uint_t               batch;             /* commands in a frame,
                                                   messages in a publish */
    ngx_uint_t               history;           /* most entries in a reply */
    ngx_uint_t               rate;              /* commands a second, 0: any */
    ngx_uint_t               burst;
    fanout_ws_opts_t         ws[2][2];          /* of all parsers: [1] while a
                                                   token is awaited, [][1] with
                                                   deflate */
    ngx_array_t             *user_info;         /* profile_t, NULL: none */
    ngx_array_t             *autojoin;          /* permit_t, NULL: none */
    ngx_uint_t               per_user;          /* sessions, 0: any */
    ngx_flag_t               limit_dry_run;     /* fanout_rate, budgets */
    ngx_uint_t               per_address;       /* sessions, 0: any */
    fanout_budget_conf_t     budgets[FANOUT_SCOPES];
    fanout_zone_limit_t      limits[FANOUT_SCOPES]
                                      [FANOUT_BUDGETS];
    uint64_t                 limits_id[FANOUT_SCOPES];
    size_t                   presence_size;

    ngx_uint_t               transports;        /* those that are served */
    ngx_msec_t               retry;             /* "retry" of event streams */
    ngx_msec_t               poll_timeout;
    ngx_flag_t               deflate;
    ngx_uint_t               deflate_ratio;     /* 0: any */
    ngx_array_t             *logs;              /* fanout_log, NULL: off */
    ngx_array_t             *broadcasts;        /* rules, NULL: none */
    size_t                   broadcast_size;
    void                    *watch;             /* loc_conf_t of those who
                                                   watch the status */
    ngx_http_core_loc_conf_t   *core;           /* of the same location */
} fanout_loc_conf_t;


/* fanout_transports */

#define FANOUT_WEBSOCKET     0x0002
#define FANOUT_SSE           0x0004
#define FANOUT_POLL          0x0008
#define FANOUT_POST          0x0010


extern ngx_module_t  ngx_http_fanout_module;


#endif /* FANOUT_SESSION_CONF_H */
