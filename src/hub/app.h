
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A zone as configured, the policies of its channels, and permissions.
 */


#ifndef FANOUT_HUB_APP_H
#define FANOUT_HUB_APP_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "base/name.h"
#include "zone/zone.h"


/* bytes of a message's meta */
#define FANOUT_META      1024


typedef struct fanout_hub_s   fanout_hub_t;
typedef struct fanout_hook_s  fanout_hook_t;


/* fanout_channel: the policy of channels whose names match */

typedef struct {
    ngx_str_t              text;                /* the pattern as written */
    ngx_str_t              pattern;             /* compiled */
    fanout_zone_policy_t   keep;
    ngx_msec_t             idle;                /* of silence, 0: never */
    ngx_msec_t             expire;
    size_t                 changes;             /* bytes of changes of members
                                                   that a worker keeps for a
                                                   channel */
    unsigned               pongs:1;             /* pongs count as activity */
    unsigned               members_publish:1;   /* only members may publish */
    unsigned               no_hooks:1;          /* its channels have no hooks */
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
    ngx_array_t            policies;            /* fanout_fanout_policy_t, in
                                                   order */
    fanout_policy_t        none;                /* for names that no policy
                                                   matches */
    fanout_zone_share_t    shares[FANOUT_NSHARES];
                                       /* percent */
    ngx_uint_t             history_min;         /* percent: guaranteed */
    ngx_uint_t             history_said;        /* part of it that policies
                                                   set */
    ngx_uint_t             address_max;         /* percent of what other
                                                   addresses leave */
    ngx_uint_t             user_max;            /* percent of what other users
                                                   leave */
    unsigned               members_publish:1;   /* some policy has it */
    unsigned               broadcast_warned:1;  /* about the size of its
                                                   messages */
    fanout_hook_t         *events_hook;         /* receives events, or NULL */
    fanout_hook_t         *approve;             /* approves publishes, or
                                                   NULL */
    fanout_hub_t          *hub;                 /* in a worker, or NULL */
} fanout_app_t;


/* fanout_permit */

#define FANOUT_MAY_JOIN      0x01
#define FANOUT_MAY_PUBLISH   0x02
#define FANOUT_MAY_HISTORY   0x04
#define FANOUT_MAY_PRESENCE  0x08
#define FANOUT_MAY_SIGNAL    0x10
#define FANOUT_MAY_RECORD    0x20
#define FANOUT_MAY_LOCK      0x40
#define FANOUT_MAY_PROFILE   0x80
#define FANOUT_MAY_ALL       0xff

#define FANOUT_MAY_N         8              /* bits */

typedef struct {
    ngx_uint_t                      ops;
    ngx_str_t                       text;       /* as written */
    ngx_array_t                    *parts;      /* fanout_part_t */
    unsigned                        separators:1;   /* values may contain the
                                                       separator */
    unsigned                        list:1;         /* of patterns: its last
                                                       part is a variable */
} fanout_permit_t;

typedef struct {
    ngx_str_t                       text;
    ngx_int_t                       variable;   /* index, or -1: text */
} fanout_part_t;


#endif /* FANOUT_HUB_APP_H */
