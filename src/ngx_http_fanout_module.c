
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The front door: directives, their defaults and how they are inherited.
 */


#include "ngx_http_fanout_module.h"
#include "transport/websocket.h"
#include "dialect/dialect.h"
#include "base/pattern.h"
#include "conf/conf.h"
#include "session/log.h"
#include "api/api.h"
#include "status/status.h"
#include "transport/transport.h"
#include "session/compress.h"
#include "broadcast/broadcast.h"
#include "hook/hook.h"


static void *create_main_conf(ngx_conf_t *cf);
static char *init_main_conf(ngx_conf_t *cf, void *conf);
static void *create_loc_conf(ngx_conf_t *cf);
static char *merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
static ngx_int_t check_limits(ngx_conf_t *cf, fanout_loc_conf_t *conf);
static void merge_handler(ngx_conf_t *cf, fanout_loc_conf_t *prev,
    fanout_loc_conf_t *conf);


/* what the values of directives may be */

#define DAY  (24 * 3600 * 1000)
#define GB   (1024 * 1024 * 1024)

static fanout_conf_range_t  number_range = {
    FANOUT_CONF_NUMBER, 1, FANOUT_NUMBER, "a number from 1 to 1000000"
};

static fanout_conf_range_t  sessions_range = {
    FANOUT_CONF_NUMBER, 0, FANOUT_NUMBER, "a number from 0 to 1000000"
};

static fanout_conf_range_t  batch_range = {
    FANOUT_CONF_NUMBER, 1, FANOUT_ZONE_BATCH, "a number from 1 to 64"
};

static fanout_conf_range_t  ratio_range = {
    FANOUT_CONF_NUMBER, 0, 1032, "a number from 0 to 1032"  /* zlib's best */
};

static fanout_conf_range_t  level_range = {
    FANOUT_CONF_NUMBER, 1, 9, "a number from 1 to 9"
};

static fanout_conf_range_t  window_range = {
    FANOUT_CONF_NUMBER, 9, 15, "a number from 9 to 15"
};

static fanout_conf_range_t  size_range = {
    FANOUT_CONF_SIZE, 1, GB, "a size from 1 to 1024m"
};

static fanout_conf_range_t  data_range = {
    FANOUT_CONF_SIZE, 1, FANOUT_ZONE_DATA,
    "a size of at least 1 and less than 16m"
};

static fanout_conf_range_t  member_range = {
    FANOUT_CONF_SIZE, 1, FANOUT_ZONE_MEMBER, "a size from 1 to 8k"
};

static fanout_conf_range_t  time_range = {
    FANOUT_CONF_MSEC, 1, DAY, "a time from 1ms to 1d"
};

static fanout_conf_range_t  pause_range = {
    FANOUT_CONF_MSEC, 0, DAY, "a time from 0 to 1d"
};

static fanout_conf_range_t  resume_range = {
    FANOUT_CONF_MSEC, 0, 30 * (int64_t) DAY, "a time from 0 to 30d"
};


static ngx_conf_bitmask_t  transports[] = {
    { ngx_string("websocket"), FANOUT_WEBSOCKET },
    { ngx_string("sse"), FANOUT_SSE },
    { ngx_string("poll"), FANOUT_POLL },
    { ngx_string("post"), FANOUT_POST },
    { ngx_null_string, 0 }
};


static ngx_command_t  commands[] = {

    { ngx_string("fanout_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      fanout_set_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_channel"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      fanout_set_channel,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_hook"),
      NGX_HTTP_SRV_CONF|NGX_CONF_2MORE,
      fanout_set_hook,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_fanout,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, app),
      fanout_handler },

    { ngx_string("fanout_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, api),
      fanout_api_handler },

    { ngx_string("fanout_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, status),
      fanout_status_handler },

    { ngx_string("fanout_dialect"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_dialect,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_user"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_user,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, user),
      NULL },

    { ngx_string("fanout_jwt"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_jwt,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_jwt_claim"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      fanout_set_jwt_claim,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_user_info"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_user_info,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_autojoin"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_autojoin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_sessions_per_user"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, per_user),
      &number_range },

    { ngx_string("fanout_limit_dry_run"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, limit_dry_run),
      NULL },

    { ngx_string("fanout_sessions_per_address"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_per_address,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_budget"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_budget,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_presence_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, presence_size),
      &member_range },

    { ngx_string("fanout_permit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      fanout_set_permit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_authorize"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      fanout_set_authorize,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_origin"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_origin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_ping"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, ping),
      &pause_range },

    { ngx_string("fanout_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, timeout),
      &time_range },

    { ngx_string("fanout_send_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, send_timeout),
      &time_range },

    { ngx_string("fanout_resume"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, resume),
      &resume_range },

    { ngx_string("fanout_session_max"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, session_max),
      &resume_range },

    { ngx_string("fanout_expiring"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, expiring),
      &pause_range },

    { ngx_string("fanout_drain"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, drain),
      &pause_range },

    { ngx_string("fanout_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, buffer),
      &size_range },

    { ngx_string("fanout_message_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, message_size),
      &data_range },

    { ngx_string("fanout_channels_per_session"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, channels),
      &number_range },

    { ngx_string("fanout_sessions"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, sessions),
      &sessions_range },

    { ngx_string("fanout_batch"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, batch),
      &batch_range },

    { ngx_string("fanout_history"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, history),
      &number_range },

    { ngx_string("fanout_rate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      fanout_set_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_transports"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_transports,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, transports),
      &transports },

    { ngx_string("fanout_retry"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, retry),
      &time_range },

    { ngx_string("fanout_poll_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, poll_timeout),
      &time_range },

    { ngx_string("fanout_deflate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, deflate),
      NULL },

    { ngx_string("fanout_deflate_ratio"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, deflate_ratio),
      &ratio_range },

    { ngx_string("fanout_deflate_min_length"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(fanout_main_conf_t, deflate_min),
      &size_range },

    { ngx_string("fanout_deflate_level"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(fanout_main_conf_t, deflate_level),
      &level_range },

    { ngx_string("fanout_deflate_window"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(fanout_main_conf_t, deflate_window),
      &window_range },

    { ngx_string("fanout_log"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_log,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_broadcast"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      fanout_set_broadcast,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_broadcast_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      fanout_set_range,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(fanout_loc_conf_t, broadcast_size),
      &data_range },

      ngx_null_command
};


static ngx_http_module_t  module_ctx = {
    fanout_add_variables,                  /* preconfiguration */
    fanout_jwt_init,                       /* postconfiguration */

    create_main_conf,                      /* create main configuration */
    init_main_conf,                        /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    create_loc_conf,                       /* create location configuration */
    merge_loc_conf                         /* merge location configuration */
};


ngx_module_t  ngx_http_fanout_module = {
    NGX_MODULE_V1,
    &module_ctx,                           /* module context */
    commands,                              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    fanout_init_module,                    /* init module */
    fanout_init_process,                   /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    fanout_exit_process,                   /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* configuration */

static void *
create_main_conf(ngx_conf_t *cf)
{
    fanout_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(fanout_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->apps, cf->pool, 2,
                       sizeof(fanout_app_t *))
        != NGX_OK
        || ngx_array_init(&mcf->authorizers, cf->pool, 2,
                          sizeof(fanout_authorizer_t *))
           != NGX_OK)
    {
        return NULL;
    }

    mcf->deflate_min = NGX_CONF_UNSET_SIZE;
    mcf->deflate_level = NGX_CONF_UNSET;
    mcf->deflate_window = NGX_CONF_UNSET;

    return mcf;
}


static char *
init_main_conf(ngx_conf_t *cf, void *conf)
{
    fanout_main_conf_t  *mcf = conf;

    ngx_uint_t      i;
    fanout_app_t  **app;

    ngx_conf_init_size_value(mcf->deflate_min, 256);
    ngx_conf_init_value(mcf->deflate_level, 1);
    ngx_conf_init_value(mcf->deflate_window, 15);

    app = mcf->apps.elts;

    for (i = 0; i < mcf->apps.nelts; i++) {
        if (fanout_hook_finish(cf, app[i]) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    fanout_authorize_finish(cf, mcf);

    return NGX_CONF_OK;
}


static void *
create_loc_conf(ngx_conf_t *cf)
{
    fanout_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(fanout_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->dialect = NGX_CONF_UNSET_PTR;
    conf->jwt = NGX_CONF_UNSET_PTR;
    conf->permits = NGX_CONF_UNSET_PTR;
    conf->authorizers = NGX_CONF_UNSET_PTR;
    conf->origins.origins = NGX_CONF_UNSET_PTR;
    conf->api_origins.origins = NGX_CONF_UNSET_PTR;
    conf->logs = NGX_CONF_UNSET_PTR;
    conf->ping = NGX_CONF_UNSET_MSEC;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->send_timeout = NGX_CONF_UNSET_MSEC;
    conf->resume = NGX_CONF_UNSET_MSEC;
    conf->session_max = NGX_CONF_UNSET_MSEC;
    conf->expiring = NGX_CONF_UNSET_MSEC;
    conf->drain = NGX_CONF_UNSET_MSEC;
    conf->buffer = NGX_CONF_UNSET_SIZE;
    conf->message_size = NGX_CONF_UNSET_SIZE;
    conf->channels = NGX_CONF_UNSET_UINT;
    conf->sessions = NGX_CONF_UNSET_UINT;
    conf->batch = NGX_CONF_UNSET_UINT;
    conf->history = NGX_CONF_UNSET_UINT;
    conf->rate = NGX_CONF_UNSET_UINT;
    conf->burst = NGX_CONF_UNSET_UINT;
    conf->user_info = NGX_CONF_UNSET_PTR;
    conf->autojoin = NGX_CONF_UNSET_PTR;
    conf->per_user = NGX_CONF_UNSET_UINT;
    conf->per_address = NGX_CONF_UNSET_UINT;
    conf->limit_dry_run = NGX_CONF_UNSET;
    conf->presence_size = NGX_CONF_UNSET_SIZE;
    conf->retry = NGX_CONF_UNSET_MSEC;
    conf->poll_timeout = NGX_CONF_UNSET_MSEC;
    conf->deflate = NGX_CONF_UNSET;
    conf->deflate_ratio = NGX_CONF_UNSET_UINT;
    conf->broadcasts = NGX_CONF_UNSET_PTR;
    conf->broadcast_size = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    fanout_loc_conf_t  *prev = parent;
    fanout_loc_conf_t  *conf = child;

    fanout_loc_conf_t  own;

    if (fanout_conf_check_location(cf, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    own = *conf;

    merge_handler(cf, prev, conf);

    /* that module's were merged before */
    conf->core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    ngx_conf_merge_ptr_value(conf->dialect, prev->dialect, &fanout_native);
    fanout_merge_jwt(conf, prev);
    ngx_conf_merge_ptr_value(conf->permits, prev->permits, NULL);
    fanout_merge_authorizers(conf, prev);

    if (fanout_merge_origins(cf, prev, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_conf_merge_ptr_value(conf->logs, prev->logs, NULL);

    if (conf->user == NULL) {
        conf->user = prev->user;
    }

    ngx_conf_merge_msec_value(conf->ping, prev->ping, 25000);
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 20000);
    ngx_conf_merge_msec_value(conf->send_timeout, prev->send_timeout, 60000);
    ngx_conf_merge_msec_value(conf->resume, prev->resume, 120000);
    ngx_conf_merge_msec_value(conf->session_max, prev->session_max, 0);
    ngx_conf_merge_msec_value(conf->expiring, prev->expiring, 30000);
    ngx_conf_merge_msec_value(conf->drain, prev->drain, 5000);
    ngx_conf_merge_size_value(conf->buffer, prev->buffer, 256 * 1024);
    ngx_conf_merge_size_value(conf->message_size, prev->message_size,
                              64 * 1024);
    ngx_conf_merge_uint_value(conf->channels, prev->channels, 50);
    ngx_conf_merge_uint_value(conf->sessions, prev->sessions, 0);
    ngx_conf_merge_uint_value(conf->batch, prev->batch, 64);
    ngx_conf_merge_uint_value(conf->history, prev->history, 1000);
    ngx_conf_merge_uint_value(conf->rate, prev->rate, 250);
    ngx_conf_merge_uint_value(conf->burst, prev->burst, 1000);
    ngx_conf_merge_ptr_value(conf->user_info, prev->user_info, NULL);
    ngx_conf_merge_ptr_value(conf->autojoin, prev->autojoin, NULL);
    ngx_conf_merge_uint_value(conf->per_user, prev->per_user, 0);
    ngx_conf_merge_value(conf->limit_dry_run, prev->limit_dry_run, 0);
    ngx_conf_merge_uint_value(conf->per_address, prev->per_address, 10000);
    fanout_merge_budgets(conf, prev);
    ngx_conf_merge_size_value(conf->presence_size, prev->presence_size, 4096);

    ngx_conf_merge_msec_value(conf->retry, prev->retry, 2000);
    ngx_conf_merge_msec_value(conf->poll_timeout, prev->poll_timeout, 25000);
    ngx_conf_merge_bitmask_value(conf->transports, prev->transports,
                                 (NGX_CONF_BITMASK_SET
                                  |FANOUT_WEBSOCKET
                                  |FANOUT_SSE
                                  |FANOUT_POLL
                                  |FANOUT_POST));
    ngx_conf_merge_value(conf->deflate, prev->deflate, 0);
    ngx_conf_merge_uint_value(conf->deflate_ratio, prev->deflate_ratio, 100);
    ngx_conf_merge_ptr_value(conf->broadcasts, prev->broadcasts, NULL);
    ngx_conf_merge_size_value(conf->broadcast_size, prev->broadcast_size,
                              64 * 1024);

    if (check_limits(cf, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->app && conf->app->resume < conf->resume) {
        conf->app->resume = conf->resume;
    }

    if (fanout_conf_check_merged(cf, conf, &own) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fanout_websocket_configure(conf);

    return conf->status ? fanout_watch_configure(cf, conf)
                        : NGX_CONF_OK;
}


/* what the zone can hold, or another directive allows */

static ngx_int_t
check_limits(ngx_conf_t *cf, fanout_loc_conf_t *conf)
{
    if (conf->autojoin && conf->autojoin->nelts > conf->channels) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fanout_autojoin\" has more channels than "
                           "\"fanout_channels_per_session\" allows");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* "if" and "limit_except" are locations without a name: they do what the one
 * around them does, unless they have a handler of another kind. */

static void
merge_handler(ngx_conf_t *cf, fanout_loc_conf_t *prev,
    fanout_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (!clcf->noname || clcf->handler || prev->handler == NULL) {
        return;
    }

    conf->app = prev->app;
    conf->api = prev->api;
    conf->sync = prev->sync;
    conf->status = prev->status;
    conf->handler = prev->handler;

    clcf->handler = prev->handler;
}
