
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Configuration as the rooms see it.
 */


#ifndef FANOUT_MODULE_H
#define FANOUT_MODULE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/origin.h"
#include "zone/zone.h"
#include "wire/ws.h"


#define FANOUT_VERSION   "0.1.0"

/* names of channels, events, records: bytes of UTF-8 */
#define FANOUT_NAME      255
#define FANOUT_KEY       128
#define FANOUT_META      1024

/* bytes of a command around its data */
#define FANOUT_ENVELOPE  4096


typedef struct fanout_hub_s      fanout_hub_t;
typedef struct fanout_session_s  fanout_session_t;
typedef struct fanout_dialect_s  fanout_dialect_t;
typedef struct fanout_transport_s  fanout_transport_t;
typedef struct fanout_hook_s     fanout_hook_t;


/* fanout_channel: the policy of channels whose names match */

typedef struct {
    ngx_str_t              text;                /* the pattern as written */
    ngx_str_t              pattern;             /* compiled */
    fanout_zone_policy_t   keep;
    ngx_msec_t             idle;                /* of silence, 0: never */
    ngx_msec_t             expire;
    size_t                 changes;             /* of members: bytes that a
                                                   worker keeps of them */
    unsigned               pongs:1;             /* they break the silence */
    unsigned               members_publish:1;   /* only they may */
    unsigned               no_hooks:1;          /* its channels have none */
    unsigned               keys:1;              /* keys= is set */
    unsigned               keeps:1;             /* changes= is set */
    unsigned               lingers:1;           /* linger= is set */
    unsigned               batches:1;           /* batch= is set */
    unsigned               shares:1;            /* share= is set */
    fanout_zone_share_t    share;               /* percent */
} fanout_policy_t;


/* fanout_zone */

typedef struct {
    ngx_str_t              name;
    ngx_shm_zone_t        *shm_zone;
    fanout_zone_conf_t     conf;
    uint32_t               generation;          /* of this configuration, in
                                                   the zone */
    size_t                 frames;              /* bytes of output a worker
                                                   may hold */
    ngx_msec_t             resume;              /* the longest of the zone */
    ngx_array_t            policies;            /* policy_t, in order */
    fanout_policy_t        none;                /* for names none matches */
    fanout_zone_share_t    shares[FANOUT_NSHARES];
                                       /* percent */
    ngx_uint_t             history_min;         /* percent: guaranteed */
    ngx_uint_t             history_said;        /* of it by policies */
    ngx_uint_t             address_max;         /* percent of what others
                                                       leave */
    ngx_uint_t             user_max;            /* the same */
    unsigned               members_publish:1;   /* some policy says */
    unsigned               broadcast_warned:1;  /* of their size */
    fanout_hook_t         *tell;                /* of events, or NULL */
    fanout_hook_t         *ask;                 /* for publishes, or NULL */
    fanout_hub_t          *hub;                 /* in a worker, or NULL */
} fanout_app_t;


typedef struct {
    ngx_array_t                     apps;       /* fanout_app_t * */
    size_t                          deflate_min;
    ngx_int_t                       deflate_level;
    ngx_int_t                       deflate_window;     /* bits */
    unsigned                        broadcast:1;  /* somewhere */
    unsigned                        hooks:1;
} fanout_main_conf_t;


/* fanout_permit */

#define FANOUT_MAY_JOIN      0x01
#define FANOUT_MAY_PUBLISH   0x02
#define FANOUT_MAY_HISTORY   0x04
#define FANOUT_MAY_PRESENCE  0x08
#define FANOUT_MAY_SIGNAL    0x10
#define FANOUT_MAY_ALL       0x1f

typedef struct {
    ngx_uint_t                      ops;
    ngx_str_t                       text;       /* as written */
    ngx_array_t                    *parts;      /* fanout_part_t */
    unsigned                        separators:1;   /* may be in variables */
} fanout_permit_t;

typedef struct {
    ngx_str_t                       text;
    ngx_int_t                       variable;   /* index, or -1: text */
} fanout_part_t;


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


typedef struct {
    fanout_app_t               *app;            /* NULL: not enabled */
    fanout_app_t               *api;
    fanout_app_t               *status;
    ngx_http_handler_pt         handler;        /* of the one that is set */
    const fanout_dialect_t  *dialect;

    ngx_http_complex_value_t   *user;
    ngx_array_t             *permits;           /* permit_t, NULL: deny all */
    fanout_origins_t         origins;           /* of pages with sessions */
    fanout_origins_t         api_origins;
    ngx_array_t             *hosts;             /* names by which the API or
                                                   the status is called, NULL:
                                                   none more */
    ngx_array_t             *names;             /* those of the server */
    unsigned                 open:1;            /* it is meant to be */

    ngx_msec_t               ping;              /* 0: no pings */
    ngx_msec_t               timeout;           /* of an answer to one, and of
                                                   a partial frame */
    ngx_msec_t               send_timeout;
    ngx_msec_t               resume;
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
    fanout_ws_opts_t         ws;                /* of all parsers */
    ngx_array_t             *user_info;         /* profile_t, NULL: none */
    ngx_array_t             *autojoin;          /* permit_t, NULL: none */
    ngx_uint_t               per_user;          /* sessions, 0: any */
    ngx_uint_t               per_address;       /* sessions, 0: any */
    fanout_budget_conf_t     budgets[FANOUT_SCOPES];
    fanout_zone_limit_t      limits[FANOUT_SCOPES]
                                      [FANOUT_BUDGETS];
    uint64_t                 limits_id[FANOUT_SCOPES];
    size_t                   presence_size;

    ngx_uint_t               transports;        /* those that are served */
    ngx_msec_t               retry;             /* told to event streams */
    ngx_msec_t               poll_timeout;
    ngx_flag_t               deflate;
    ngx_uint_t               deflate_ratio;     /* 0: any */
    fanout_ws_opts_t         ws_deflate;        /* of those that agreed */
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


/* the policy of a channel: the first whose pattern matches, or none */
fanout_policy_t *fanout_policy(fanout_app_t *app, ngx_str_t *channel);


/* Shares of the zone as configured, when all policies have their classes. */
void fanout_shares(fanout_app_t *app, fanout_zone_shares_t *shares);


/* the hooks of the processes, see process.c; init_module is called in the
 * master and under "nginx -t" */
ngx_int_t fanout_init_module(ngx_cycle_t *cycle);
ngx_int_t fanout_init_process(ngx_cycle_t *cycle);
void fanout_exit_process(ngx_cycle_t *cycle);

/* before the configuration is read, see variables.c */
ngx_int_t fanout_add_variables(ngx_conf_t *cf);


#endif /* FANOUT_MODULE_H */
