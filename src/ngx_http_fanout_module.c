
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The front door: directives, variables, the hooks of the processes.
 */


#include "ngx_http_fanout_module.h"
#include "ngx_http_fanout_websocket.h"
#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_pattern.h"
#include "ngx_http_fanout_http.h"

#include <sys/eventfd.h>


static void *create_main_conf(ngx_conf_t *cf);
static void *create_loc_conf(ngx_conf_t *cf);
static char *merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
static void merge_handler(ngx_conf_t *cf, ngx_http_fanout_loc_conf_t *prev,
    ngx_http_fanout_loc_conf_t *conf);
static ngx_int_t add_variables(ngx_conf_t *cf);
static ngx_int_t user_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t client_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t init_process(ngx_cycle_t *cycle);
static void exit_process(ngx_cycle_t *cycle);
static ngx_int_t init_zone(ngx_shm_zone_t *shm_zone, void *data);
static int *eventfds(ngx_str_t *name, ngx_uint_t n, ngx_log_t *log);

static char *set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *set_channel(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *channel_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_policy_t *policy);
static char *set_fanout(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *set_dialect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *set_permit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *permit_operations(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t *ops);
static char *permit_pattern(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_permit_t *permit);
static char *set_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *set_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_http_fanout_app_t *find_app(ngx_conf_t *cf, ngx_str_t *name);
static char *check_number(ngx_conf_t *cf, void *post, void *data);


static ngx_conf_num_bounds_t  number_bounds = {
    check_number, 1, 1000000
};


static ngx_conf_post_t  size_post = { check_number };


static ngx_command_t  commands[] = {

    { ngx_string("fanout_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2|NGX_CONF_TAKE3|NGX_CONF_TAKE4
                        |NGX_CONF_TAKE5|NGX_CONF_TAKE6|NGX_CONF_TAKE7,
      set_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_channel"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      set_channel,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      set_fanout,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, app),
      ngx_http_fanout_websocket_handler },

    { ngx_string("fanout_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      set_fanout,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, api),
      ngx_http_fanout_api_handler },

    { ngx_string("fanout_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      set_fanout,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, status),
      ngx_http_fanout_status_handler },

    { ngx_string("fanout_dialect"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      set_dialect,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_user"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, user),
      NULL },

    { ngx_string("fanout_permit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      set_permit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_origin"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      set_origin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fanout_ping"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, ping),
      NULL },

    { ngx_string("fanout_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, timeout),
      NULL },

    { ngx_string("fanout_resume"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, resume),
      NULL },

    { ngx_string("fanout_drain"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, drain),
      NULL },

    { ngx_string("fanout_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, buffer),
      &size_post },

    { ngx_string("fanout_message_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, message_size),
      &size_post },

    { ngx_string("fanout_channels_per_session"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, channels),
      &number_bounds },

    { ngx_string("fanout_sessions"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, sessions),
      NULL },

    { ngx_string("fanout_batch"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, batch),
      &number_bounds },

    { ngx_string("fanout_history"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fanout_loc_conf_t, history),
      &number_bounds },

    { ngx_string("fanout_rate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      set_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  module_ctx = {
    add_variables,                         /* preconfiguration */
    NULL,                                  /* postconfiguration */

    create_main_conf,                      /* create main configuration */
    NULL,                                  /* init main configuration */

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
    NULL,                                  /* init module */
    init_process,                          /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    exit_process,                          /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* parameters of channel policies that are not served yet */

static ngx_str_t  later[] = {
    ngx_string("presence"), ngx_string("linger"), ngx_string("idle"),
    ngx_string("expire"), ngx_string("alive"), ngx_string("members"),
    ngx_string("records"), ngx_string("locks"), ngx_string("dedupe"),
    ngx_string("batch"), ngx_string("publish"), ngx_string("seen"),
    ngx_null_string
};


/* processes */

static ngx_int_t
init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_http_fanout_app_t        **app;
    ngx_http_fanout_main_conf_t   *mcf;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_fanout_module);

    if (mcf == NULL) {
        return NGX_OK;
    }

    app = mcf->apps.elts;

    for (i = 0; i < mcf->apps.nelts; i++) {
        if (ngx_http_fanout_hub_init(app[i], cycle) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_http_fanout_app_t        **app;
    ngx_http_fanout_main_conf_t   *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_fanout_module);

    if (mcf == NULL) {
        return;
    }

    app = mcf->apps.elts;

    for (i = 0; i < mcf->apps.nelts; i++) {
        ngx_http_fanout_hub_exit(app[i]);
    }
}


/* In the master, or the single process.  A zone that is kept over a reload is
 * only read here: workers of the old cycle are at work in it. */

static ngx_int_t
init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    int                    *efds;
    u_char                 *mem;
    size_t                  size;
    ngx_slab_pool_t        *shpool;
    ngx_http_fanout_app_t  *app;

    app = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data) {
        mem = shpool->data;

        if (mem == NULL
            || ngx_http_fanout_zone_check_layout(mem, shpool->end - mem)
               != NGX_HTTP_FANOUT_ZONE_OK)
        {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "fanout zone \"%V\" was made by another build of "
                          "the module; restart NGINX to load this one",
                          &app->name);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    size = shpool->pfree << ngx_pagesize_shift;

    mem = ngx_slab_alloc(shpool, size);
    if (mem == NULL) {
        return NGX_ERROR;
    }

    efds = eventfds(&app->name,
                    ngx_http_fanout_zone_slots(app->conf.slots),
                    shm_zone->shm.log);
    if (efds == NULL) {
        return NGX_ERROR;
    }

    switch (ngx_http_fanout_zone_create(mem, shpool->end - mem, &app->conf,
                                        efds))
    {
    case NGX_HTTP_FANOUT_ZONE_OK:
        shpool->data = mem;
        return NGX_OK;

    case NGX_HTTP_FANOUT_ZONE_SMALL:
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "fanout zone \"%V\" is too small", &app->name);
        return NGX_ERROR;

    default:
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, ngx_errno,
                      "fanout zone \"%V\" could not be formatted",
                      &app->name);
        return NGX_ERROR;
    }
}


/* The eventfds of a zone's slots: made once a name, for the life of the
 * master, so that workers of all generations know them by the same numbers.
 * A zone that is dropped and made anew takes them over: at worst a worker is
 * woken for nothing. */

static int *
eventfds(ngx_str_t *name, ngx_uint_t n, ngx_log_t *log)
{
    typedef struct set_s  set_t;

    struct set_s {
        set_t       *next;
        ngx_str_t    name;
        ngx_uint_t   n;
        int          fds[NGX_HTTP_FANOUT_ZONE_SLOTS];
    };

    set_t          *set;
    static set_t   *sets;

    for (set = sets; set; set = set->next) {
        if (set->name.len == name->len
            && ngx_memcmp(set->name.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    if (set == NULL) {
        set = ngx_calloc(sizeof(set_t) + name->len, log);
        if (set == NULL) {
            return NULL;
        }

        set->name.len = name->len;
        set->name.data = (u_char *) (set + 1);
        ngx_memcpy(set->name.data, name->data, name->len);

        set->next = sets;
        sets = set;
    }

    while (set->n < n) {
        set->fds[set->n] = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (set->fds[set->n] == -1) {
            ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                          "eventfd() failed: a fanout zone needs a file "
                          "descriptor for each of its %ui slots", n);
            return NULL;
        }

        set->n++;
    }

    return set->fds;
}


/* configuration */

static void *
create_main_conf(ngx_conf_t *cf)
{
    ngx_http_fanout_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_fanout_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->apps, cf->pool, 2,
                       sizeof(ngx_http_fanout_app_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static void *
create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_fanout_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_fanout_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->dialect = NGX_CONF_UNSET_PTR;
    conf->permits = NGX_CONF_UNSET_PTR;
    conf->origins = NGX_CONF_UNSET_PTR;
    conf->ping = NGX_CONF_UNSET_MSEC;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->resume = NGX_CONF_UNSET_MSEC;
    conf->drain = NGX_CONF_UNSET_MSEC;
    conf->buffer = NGX_CONF_UNSET_SIZE;
    conf->message_size = NGX_CONF_UNSET_SIZE;
    conf->channels = NGX_CONF_UNSET_UINT;
    conf->sessions = NGX_CONF_UNSET_UINT;
    conf->batch = NGX_CONF_UNSET_UINT;
    conf->history = NGX_CONF_UNSET_UINT;
    conf->rate = NGX_CONF_UNSET_UINT;
    conf->burst = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_fanout_loc_conf_t  *prev = parent;
    ngx_http_fanout_loc_conf_t  *conf = child;

    merge_handler(cf, prev, conf);

    ngx_conf_merge_ptr_value(conf->dialect, prev->dialect,
                             &ngx_http_fanout_native);
    ngx_conf_merge_ptr_value(conf->permits, prev->permits, NULL);
    ngx_conf_merge_ptr_value(conf->origins, prev->origins, NULL);

    if (conf->user == NULL) {
        conf->user = prev->user;
    }

    ngx_conf_merge_msec_value(conf->ping, prev->ping, 25000);
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 20000);
    ngx_conf_merge_msec_value(conf->resume, prev->resume, 120000);
    ngx_conf_merge_msec_value(conf->drain, prev->drain, 5000);
    ngx_conf_merge_size_value(conf->buffer, prev->buffer, 256 * 1024);
    ngx_conf_merge_size_value(conf->message_size, prev->message_size,
                              64 * 1024);
    ngx_conf_merge_uint_value(conf->channels, prev->channels, 50);
    ngx_conf_merge_uint_value(conf->sessions, prev->sessions, 0);
    ngx_conf_merge_uint_value(conf->batch, prev->batch, 64);
    ngx_conf_merge_uint_value(conf->history, prev->history, 1000);
    ngx_conf_merge_uint_value(conf->rate, prev->rate, 0);
    ngx_conf_merge_uint_value(conf->burst, prev->burst, 0);

    if (conf->batch > NGX_HTTP_FANOUT_ZONE_BATCH) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fanout_batch\" must be %d at most",
                           NGX_HTTP_FANOUT_ZONE_BATCH);
        return NGX_CONF_ERROR;
    }

    if (conf->message_size > NGX_HTTP_FANOUT_ZONE_DATA) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fanout_message_size\" must be less than 16m");
        return NGX_CONF_ERROR;
    }

    if (conf->app && conf->app->resume < conf->resume) {
        conf->app->resume = conf->resume;
    }

    ngx_http_fanout_websocket_configure(conf);

    return NGX_CONF_OK;
}


/* "if" and "limit_except" are locations without a name: they do what the one
 * around them does, unless they have a handler of another kind. */

static void
merge_handler(ngx_conf_t *cf, ngx_http_fanout_loc_conf_t *prev,
    ngx_http_fanout_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (!clcf->noname || clcf->handler || prev->handler == NULL) {
        return;
    }

    conf->app = prev->app;
    conf->api = prev->api;
    conf->status = prev->status;
    conf->handler = prev->handler;

    clcf->handler = prev->handler;
}


static char *
check_number(ngx_conf_t *cf, void *post, void *data)
{
    if (post == &size_post) {
        if (*(size_t *) data == 0 || *(size_t *) data > 1024 * 1024 * 1024) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the size must be between 1 and 1024m");
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    return ngx_conf_check_num_bounds(cf, post, data);
}


static char *
set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_main_conf_t  *mcf = conf;

    ssize_t                  size;
    time_t                   sec;
    ngx_int_t                n;
    ngx_str_t               *value, s;
    ngx_uint_t               i;
    ngx_http_fanout_app_t   *app, **appp;

    value = cf->args->elts;

    if (find_app(cf, &value[1])) {
        return "is duplicate: there is a zone of this name";
    }

    size = ngx_parse_size(&value[2]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (size < 2 * NGX_HTTP_FANOUT_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small: a fanout zone needs "
                           "2m at least", &value[1]);
        return NGX_CONF_ERROR;
    }

    app = ngx_pcalloc(cf->pool, sizeof(ngx_http_fanout_app_t));
    if (app == NULL) {
        return NGX_CONF_ERROR;
    }

    app->name = value[1];
    app->frames = 64 * 1024 * 1024;
    ngx_str_set(&app->none.text, "");

    if (ngx_array_init(&app->policies, cf->pool, 4,
                       sizeof(ngx_http_fanout_policy_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 3; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "slots=", 6) == 0) {
            n = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (n < 1 || n > NGX_HTTP_FANOUT_ZONE_SLOTS) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": a number from 1 to %d is "
                                   "needed", &value[i],
                                   NGX_HTTP_FANOUT_ZONE_SLOTS);
                return NGX_CONF_ERROR;
            }

            app->conf.slots = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "held=", 5) == 0
            && value[i].data[value[i].len - 1] == '%')
        {
            n = ngx_atoi(value[i].data + 5, value[i].len - 6);

            if (n < 1 || n > 90) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": a percentage from 1%% to "
                                   "90%% is needed", &value[i]);
                return NGX_CONF_ERROR;
            }

            app->conf.held = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "frames=", 7) == 0) {
            s.data = value[i].data + 7;
            s.len = value[i].len - 7;

            size = ngx_parse_size(&s);

            if (size < 1024 * 1024) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": a size of 1m or more is "
                                   "needed", &value[i]);
                return NGX_CONF_ERROR;
            }

            app->frames = size;
            continue;
        }

        if (ngx_strncmp(value[i].data, "idle=", 5) == 0
            || ngx_strncmp(value[i].data, "dedupe=", 7) == 0)
        {
            s.data = (u_char *) ngx_strchr(value[i].data, '=') + 1;
            s.len = value[i].data + value[i].len - s.data;

            sec = ngx_parse_time(&s, 1);

            if (sec == (time_t) NGX_ERROR || sec < 1
                || sec > 365 * 24 * 3600)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": a time from 1s to 365d is "
                                   "needed", &value[i]);
                return NGX_CONF_ERROR;
            }

            if (value[i].data[0] == 'i') {
                app->conf.idle = sec;
            } else {
                app->conf.dedupe = sec;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\": \"fanout_zone\" has "
                           "slots=, held=, idle=, dedupe= and frames=",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    size = ngx_parse_size(&value[2]);

    app->shm_zone = ngx_shared_memory_add(cf, &value[1], size,
                                          &ngx_http_fanout_module);
    if (app->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (app->shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate zone \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    app->shm_zone->init = init_zone;
    app->shm_zone->data = app;

    appp = ngx_array_push(&mcf->apps);
    if (appp == NULL) {
        return NGX_CONF_ERROR;
    }

    *appp = app;

    return NGX_CONF_OK;
}


static ngx_http_fanout_app_t *
find_app(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                     i;
    ngx_http_fanout_app_t        **app;
    ngx_http_fanout_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);
    app = mcf->apps.elts;

    for (i = 0; i < mcf->apps.nelts; i++) {
        if (app[i]->name.len == name->len
            && ngx_strncmp(app[i]->name.data, name->data, name->len) == 0)
        {
            return app[i];
        }
    }

    return NULL;
}


static char *
set_channel(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                  *value;
    ngx_uint_t                  i;
    ngx_http_fanout_app_t      *app;
    ngx_http_fanout_policy_t   *policy;
    ngx_http_fanout_pattern_t   pattern;

    value = cf->args->elts;
    app = find_app(cf, &value[1]);

    if (app == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown zone \"%V\": a \"fanout_zone\" of this "
                           "name must come first", &value[1]);
        return NGX_CONF_ERROR;
    }

    policy = ngx_array_push(&app->policies);
    if (policy == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(policy, sizeof(ngx_http_fanout_policy_t));

    policy->text = value[2];

    pattern.size = value[2].len;
    pattern.len = 0;
    pattern.data = ngx_pnalloc(cf->pool, pattern.size + 1);
    if (pattern.data == NULL) {
        return NGX_CONF_ERROR;
    }

    if (value[2].len == 0
        || ngx_http_fanout_pattern_append_text(&pattern, value[2].data,
                                               value[2].len)
           != NGX_HTTP_FANOUT_PATTERN_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid channel pattern \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    policy->pattern.data = pattern.data;
    policy->pattern.len = pattern.len;

    for (i = 3; i < cf->args->nelts; i++) {
        if (channel_parameter(cf, &value[i], policy) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
channel_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_policy_t *policy)
{
    time_t       sec;
    ssize_t      size;
    ngx_int_t    n;
    ngx_str_t    s, *name;

    s.data = ngx_strlchr(value->data, value->data + value->len, '=');

    if (s.data == NULL) {
        goto invalid;
    }

    s.data++;
    s.len = value->data + value->len - s.data;

    if (ngx_strncmp(value->data, "history=", 8) == 0) {
        n = ngx_atoi(s.data, s.len);

        if (n == NGX_ERROR || n > 10000000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a number from 0 to 10000000 "
                               "is needed", value);
            return NGX_CONF_ERROR;
        }

        policy->keep.history = n;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "bytes=", 6) == 0) {
        size = ngx_parse_size(&s);

        if (size == NGX_ERROR || size > (ssize_t) 0xffffffff) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a size below 4096m is needed",
                               value);
            return NGX_CONF_ERROR;
        }

        policy->keep.bytes = size;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "ttl=", 4) == 0) {
        sec = ngx_parse_time(&s, 1);

        if (sec == (time_t) NGX_ERROR || sec < 1 || sec > 365 * 24 * 3600) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a time from 1s to 365d is "
                               "needed", value);
            return NGX_CONF_ERROR;
        }

        policy->keep.ttl = sec;
        return NGX_CONF_OK;
    }

    for (name = later; name->len; name++) {
        if ((size_t) (s.data - 1 - value->data) == name->len
            && ngx_strncmp(value->data, name->data, name->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the parameter \"%V\" of \"fanout_channel\" is "
                               "not served by this version", name);
            return NGX_CONF_ERROR;
        }
    }

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\": \"fanout_channel\" has "
                       "history=, bytes= and ttl=", value);

    return NGX_CONF_ERROR;
}


ngx_http_fanout_policy_t *
ngx_http_fanout_policy(ngx_http_fanout_app_t *app, ngx_str_t *channel)
{
    ngx_uint_t                 i;
    ngx_http_fanout_policy_t  *policy;

    policy = app->policies.elts;

    for (i = 0; i < app->policies.nelts; i++) {
        if (ngx_http_fanout_pattern_match(policy[i].pattern.data,
                                          policy[i].pattern.len,
                                          channel->data, channel->len))
        {
            return &policy[i];
        }
    }

    return &app->none;
}


/* fanout, fanout_api, fanout_status: a zone and a handler */

static char *
set_fanout(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_loc_conf_t  *flcf = conf;

    ngx_str_t                   *value;
    ngx_http_fanout_app_t      **app;
    ngx_http_core_loc_conf_t    *clcf;

    app = (ngx_http_fanout_app_t **) ((u_char *) conf + cmd->offset);

    if (*app) {
        return "is duplicate";
    }

    value = cf->args->elts;
    *app = find_app(cf, &value[1]);

    if (*app == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown zone \"%V\": a \"fanout_zone\" of this "
                           "name must come first", &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "conflicts with another handler of this location";
    }

    clcf->handler = (ngx_http_handler_pt) cmd->post;
    flcf->handler = clcf->handler;

    return NGX_CONF_OK;
}


static char *
set_dialect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_loc_conf_t  *flcf = conf;

    ngx_str_t  *value;

    if (flcf->dialect != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    flcf->dialect = ngx_http_fanout_dialect_named(&value[1]);

    if (flcf->dialect == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown dialect \"%V\": there are \"native\" and "
                           "\"raw\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
set_permit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_loc_conf_t  *flcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i, ops;
    ngx_http_fanout_permit_t  *permit;

    value = cf->args->elts;

    if (permit_operations(cf, &value[1], &ops) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (flcf->permits == NGX_CONF_UNSET_PTR) {
        flcf->permits = ngx_array_create(cf->pool, 4,
                                         sizeof(ngx_http_fanout_permit_t));
        if (flcf->permits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 2; i < cf->args->nelts; i++) {
        permit = ngx_array_push(flcf->permits);
        if (permit == NULL) {
            return NGX_CONF_ERROR;
        }

        permit->ops = ops;
        permit->text = value[i];

        if (permit_pattern(cf, &value[i], permit) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
permit_operations(ngx_conf_t *cf, ngx_str_t *value, ngx_uint_t *ops)
{
    u_char      *p, *last, *comma;
    ngx_str_t    op;
    ngx_uint_t   i;

    static struct {
        ngx_str_t   name;
        ngx_uint_t  op;
    } names[] = {
        { ngx_string("join"), NGX_HTTP_FANOUT_MAY_JOIN },
        { ngx_string("publish"), NGX_HTTP_FANOUT_MAY_PUBLISH },
        { ngx_string("history"), NGX_HTTP_FANOUT_MAY_HISTORY },
        { ngx_string("all"), NGX_HTTP_FANOUT_MAY_ALL },
        { ngx_null_string, 0 }
    };

    *ops = 0;
    last = value->data + value->len;

    for (p = value->data; p <= last; p = comma + 1) {
        comma = ngx_strlchr(p, last, ',');

        if (comma == NULL) {
            comma = last;
        }

        op.data = p;
        op.len = comma - p;

        for (i = 0; names[i].name.len; i++) {
            if (names[i].name.len == op.len
                && ngx_strncmp(names[i].name.data, op.data, op.len) == 0)
            {
                break;
            }
        }

        if (names[i].name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown operation \"%V\" in \"%V\": there are "
                               "join, publish, history and all", &op, value);
            return NGX_CONF_ERROR;
        }

        *ops |= names[i].op;
    }

    return NGX_CONF_OK;
}


/* splits "user:$fanout_user:*" into text and variables */

static char *
permit_pattern(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_permit_t *permit)
{
    u_char                  *p, *last, *start;
    ngx_str_t                name;
    ngx_uint_t               bracket;
    ngx_http_fanout_part_t  *part;

    permit->parts = ngx_array_create(cf->pool, 4,
                                     sizeof(ngx_http_fanout_part_t));
    if (permit->parts == NULL) {
        return NGX_CONF_ERROR;
    }

    last = value->data + value->len;

    for (p = value->data; p < last; /* void */ ) {

        part = ngx_array_push(permit->parts);
        if (part == NULL) {
            return NGX_CONF_ERROR;
        }

        part->variable = -1;
        start = p;

        if (*p != '$') {
            while (p < last && *p != '$') {
                p++;
            }

            part->text.data = start;
            part->text.len = p - start;
            continue;
        }

        p++;
        bracket = (p < last && *p == '{');
        p += bracket;
        name.data = p;

        while (p < last
               && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
                   || (*p >= '0' && *p <= '9') || *p == '_'))
        {
            p++;
        }

        name.len = p - name.data;

        if (name.len == 0 || (bracket && (p == last || *p != '}'))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid variable in channel pattern \"%V\"",
                               value);
            return NGX_CONF_ERROR;
        }

        p += bracket;

        part->variable = ngx_http_get_variable_index(cf, &name);

        if (part->variable == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }
    }

    if (permit->parts->nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "empty channel pattern");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
set_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_loc_conf_t  *flcf = conf;

    ngx_str_t   *value, *origin;
    ngx_uint_t   i;

    value = cf->args->elts;

    if (flcf->origins == NGX_CONF_UNSET_PTR) {
        flcf->origins = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (flcf->origins == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (!(value[i].len == 1 && value[i].data[0] == '*')
            && !(value[i].len == 4
                 && ngx_strncmp(value[i].data, "same", 4) == 0)
            && ngx_strstr(value[i].data, "://") == NULL)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid origin \"%V\": \"*\", \"same\" or "
                               "\"scheme://host[:port]\" is needed",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(flcf->origins);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}


static char *
set_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_loc_conf_t  *flcf = conf;

    size_t      len;
    ngx_int_t   rate, burst;
    ngx_str_t  *value;

    if (flcf->rate != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 3 && ngx_strncmp(value[1].data, "off", 3) == 0) {
        flcf->rate = 0;
        flcf->burst = 0;
        return NGX_CONF_OK;
    }

    len = value[1].len;

    if (len < 4 || ngx_strncmp(value[1].data + len - 3, "r/s", 3) != 0) {
        goto invalid;
    }

    rate = ngx_atoi(value[1].data, len - 3);

    if (rate < 1 || rate > 1000000) {
        goto invalid;
    }

    burst = rate;

    if (cf->args->nelts == 3) {
        if (value[2].len < 7
            || ngx_strncmp(value[2].data, "burst=", 6) != 0)
        {
            goto invalid;
        }

        burst = ngx_atoi(value[2].data + 6, value[2].len - 6);

        if (burst < 1 || burst > 1000000) {
            goto invalid;
        }
    }

    flcf->rate = rate;
    flcf->burst = burst;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"fanout_rate\": \"off\" or \"Nr/s "
                       "[burst=N]\" is needed, with N from 1 to 1000000");

    return NGX_CONF_ERROR;
}


/* variables */

static ngx_http_variable_t  variables[] = {

    { ngx_string("fanout_user"), NULL, user_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fanout_client"), NULL, client_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_int_t
add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* known once the handshake is accepted, so in the access log */

static ngx_int_t
client_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char                      *p;
    ngx_http_fanout_session_t   *s;
    ngx_http_fanout_loc_conf_t  *conf;

    /* the context of an API request is another */

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);
    s = conf->app ? ngx_http_get_module_ctx(r, ngx_http_fanout_module) : NULL;

    if (s == NULL || s->identity.client == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_HTTP_FANOUT_CLIENT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_http_fanout_client_format(p, s->identity.client);

    v->data = p;
    v->len = NGX_HTTP_FANOUT_CLIENT_LEN;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
user_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t                    user;
    ngx_http_fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    if (conf->user == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, conf->user, &user) != NGX_OK) {
        return NGX_ERROR;
    }

    v->data = user.data;
    v->len = user.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
