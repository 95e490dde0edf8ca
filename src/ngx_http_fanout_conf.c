
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The setters of the directives.
 */


#include "ngx_http_fanout_conf.h"
#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_pattern.h"


#define NGX_HTTP_FANOUT_LINGER  5       /* s */
#define NGX_HTTP_FANOUT_BATCH   50      /* ms */


/* a word that a parameter may have */

typedef struct {
    ngx_str_t    name;
    ngx_uint_t   value;
} word_t;


static char *zone_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_app_t *app);
static ngx_uint_t parameter(ngx_str_t *value, const char *name, ngx_str_t *s);
static char *time_parameter(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    time_t *sec);
static ngx_http_fanout_app_t *find_app(ngx_conf_t *cf, ngx_str_t *name);
static char *channel_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_policy_t *policy);
static char *presence_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_policy_t *policy, ngx_uint_t *known);
static char *word_parameter(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    const word_t *words, const char *needed, ngx_uint_t *n);
static char *silence_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *s, ngx_msec_t *msec);
static char *check_policy(ngx_conf_t *cf, ngx_http_fanout_app_t *app,
    ngx_http_fanout_policy_t *policy);
static void channel_pattern(ngx_conf_t *cf, ngx_http_fanout_app_t *app,
    ngx_str_t *pattern);
static char *permit_operations(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t *ops);
static char *permit_pattern(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_permit_t *permit);
static ngx_uint_t profile_name(u_char *p, u_char *last);
static char *check_range(ngx_conf_t *cf, ngx_int_t n, ngx_int_t min,
    ngx_int_t max);
static ngx_uint_t is_origin(ngx_str_t *value);


/* parameters of channel policies that are not served yet */

static ngx_str_t  later[] = {
    ngx_string("records"), ngx_string("locks"), ngx_string("dedupe"),
    ngx_null_string
};


static const word_t  presence_words[] = {
    { ngx_string("on"), NGX_HTTP_FANOUT_PRESENCE_ON },
    { ngx_string("off"), NGX_HTTP_FANOUT_PRESENCE_OFF },
    { ngx_string("summary"), NGX_HTTP_FANOUT_PRESENCE_SUMMARY },
    { ngx_null_string, 0 }
};

static const word_t  alive_words[] = {
    { ngx_string("command"), 0 },
    { ngx_string("pong"), 1 },
    { ngx_null_string, 0 }
};

static const word_t  publish_words[] = {
    { ngx_string("any"), 0 },
    { ngx_string("members"), 1 },
    { ngx_null_string, 0 }
};


char *
ngx_http_fanout_set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_main_conf_t  *mcf = conf;

    ssize_t                  size;
    ngx_str_t               *value;
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
    app->none.keep.linger = NGX_HTTP_FANOUT_LINGER;
    app->none.keep.batch = NGX_HTTP_FANOUT_BATCH;

    if (ngx_array_init(&app->policies, cf->pool, 4,
                       sizeof(ngx_http_fanout_policy_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 3; i < cf->args->nelts; i++) {
        if (zone_parameter(cf, &value[i], app) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

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

    app->shm_zone->init = ngx_http_fanout_init_zone;
    app->shm_zone->data = app;

    appp = ngx_array_push(&mcf->apps);
    if (appp == NULL) {
        return NGX_CONF_ERROR;
    }

    *appp = app;

    return NGX_CONF_OK;
}


static char *
zone_parameter(ngx_conf_t *cf, ngx_str_t *value, ngx_http_fanout_app_t *app)
{
    time_t      sec;
    ssize_t     size;
    ngx_int_t   n;
    ngx_str_t   s;

    if (parameter(value, "slots", &s)) {
        n = ngx_atoi(s.data, s.len);

        if (n < 1 || n > NGX_HTTP_FANOUT_ZONE_SLOTS) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a number from 1 to %d is "
                               "needed", value, NGX_HTTP_FANOUT_ZONE_SLOTS);
            return NGX_CONF_ERROR;
        }

        app->conf.slots = n;
        return NGX_CONF_OK;
    }

    if (parameter(value, "held", &s)) {
        n = s.len && s.data[s.len - 1] == '%' ? ngx_atoi(s.data, s.len - 1)
                                              : NGX_ERROR;

        if (n < 1 || n > 90) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a percentage from 1%% to 90%% "
                               "is needed", value);
            return NGX_CONF_ERROR;
        }

        app->conf.held = n;
        return NGX_CONF_OK;
    }

    if (parameter(value, "frames", &s)) {
        size = ngx_parse_size(&s);

        if (size < 1024 * 1024) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a size of 1m or more is "
                               "needed", value);
            return NGX_CONF_ERROR;
        }

        app->frames = size;
        return NGX_CONF_OK;
    }

    if (parameter(value, "idle", &s)) {
        if (time_parameter(cf, value, &s, &sec) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        app->conf.idle = sec;
        return NGX_CONF_OK;
    }

    if (parameter(value, "dedupe", &s)) {
        if (time_parameter(cf, value, &s, &sec) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        app->conf.dedupe = sec;
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\": \"fanout_zone\" has "
                       "slots=, held=, idle=, dedupe= and frames=", value);

    return NGX_CONF_ERROR;
}


/* whether it is name=, and what comes behind that */

static ngx_uint_t
parameter(ngx_str_t *value, const char *name, ngx_str_t *s)
{
    size_t  len;

    len = ngx_strlen(name);

    if (value->len <= len || value->data[len] != '='
        || ngx_strncmp(value->data, name, len) != 0)
    {
        return 0;
    }

    s->data = value->data + len + 1;
    s->len = value->len - len - 1;

    return 1;
}


static char *
time_parameter(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s, time_t *sec)
{
    *sec = ngx_parse_time(s, 1);

    if (*sec == (time_t) NGX_ERROR || *sec < 1 || *sec > 365 * 24 * 3600) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a time from 1s to 365d is needed",
                           value);
        return NGX_CONF_ERROR;
    }

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


char *
ngx_http_fanout_set_channel(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

    channel_pattern(cf, app, &value[2]);

    policy = ngx_array_push(&app->policies);
    if (policy == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(policy, sizeof(ngx_http_fanout_policy_t));

    policy->text = value[2];
    policy->keep.linger = NGX_HTTP_FANOUT_LINGER;
    policy->keep.batch = NGX_HTTP_FANOUT_BATCH;

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

    return check_policy(cf, app, policy);
}


/* The first that matches counts: what comes after the same, or after one for
 * all, is never asked. */

static void
channel_pattern(ngx_conf_t *cf, ngx_http_fanout_app_t *app,
    ngx_str_t *pattern)
{
    ngx_str_t                 *text;
    ngx_uint_t                 i;
    ngx_http_fanout_policy_t  *policy;

    policy = app->policies.elts;

    for (i = 0; i < app->policies.nelts; i++) {
        text = &policy[i].text;

        if ((text->len == 1 && text->data[0] == '*')
            || (text->len == pattern->len
                && ngx_strncmp(text->data, pattern->data, text->len) == 0))
        {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "the channel pattern \"%V\" is never reached: "
                               "\"%V\" comes first", pattern, text);
            return;
        }
    }
}


static char *
channel_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_policy_t *policy)
{
    char        *rv;
    time_t       sec;
    ssize_t      size;
    ngx_int_t    n;
    ngx_str_t    s, *name;
    ngx_uint_t   known;

    rv = presence_parameter(cf, value, policy, &known);

    if (known) {
        return rv;
    }

    if (parameter(value, "history", &s)) {
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

    if (parameter(value, "bytes", &s)) {
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

    if (parameter(value, "ttl", &s)) {
        if (time_parameter(cf, value, &s, &sec) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        policy->keep.ttl = sec;
        return NGX_CONF_OK;
    }

    for (name = later; name->len; name++) {
        if (parameter(value, (char *) name->data, &s)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the parameter \"%V\" of \"fanout_channel\" is "
                               "not served by this version", name);
            return NGX_CONF_ERROR;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\": \"fanout_channel\" has "
                       "history=, bytes=, ttl=, presence=, members=, linger=, "
                       "batch=, idle=, expire=, alive= and publish=", value);

    return NGX_CONF_ERROR;
}


static char *
presence_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_fanout_policy_t *policy, ngx_uint_t *known)
{
    time_t       sec;
    ngx_int_t    n;
    ngx_str_t    s;
    ngx_uint_t   word;

    *known = 1;

    if (parameter(value, "presence", &s)) {
        if (word_parameter(cf, value, &s, presence_words,
                           "\"on\", \"off\" or \"summary\"", &word)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        policy->keep.presence = word;
        return NGX_CONF_OK;
    }

    if (parameter(value, "alive", &s)) {
        if (word_parameter(cf, value, &s, alive_words,
                           "\"command\" or \"pong\"", &word)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        policy->pongs = word;
        return NGX_CONF_OK;
    }

    if (parameter(value, "publish", &s)) {
        if (word_parameter(cf, value, &s, publish_words,
                           "\"members\" or \"any\"", &word)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        policy->members_publish = word;
        return NGX_CONF_OK;
    }

    if (parameter(value, "members", &s)) {
        n = ngx_atoi(s.data, s.len);

        if (n < 1 || n > 10000000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a number from 1 to 10000000 "
                               "is needed", value);
            return NGX_CONF_ERROR;
        }

        policy->keep.members = n;
        return NGX_CONF_OK;
    }

    if (parameter(value, "linger", &s)) {
        sec = ngx_parse_time(&s, 1);

        if (sec == (time_t) NGX_ERROR || sec > 3600) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a time from 0 to 1h is "
                               "needed", value);
            return NGX_CONF_ERROR;
        }

        policy->keep.linger = sec;
        return NGX_CONF_OK;
    }

    if (parameter(value, "seen", &s)) {
        sec = ngx_parse_time(&s, 1);

        if (sec == (time_t) NGX_ERROR || sec < 60 || sec > 30 * 24 * 3600) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a time from 1m to 30d is "
                               "needed", value);
            return NGX_CONF_ERROR;
        }

        policy->keep.seen = (sec + 59) / 60;
        return NGX_CONF_OK;
    }

    if (parameter(value, "batch", &s)) {
        n = ngx_parse_time(&s, 0);

        if (n == NGX_ERROR || n > 10000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a time from 0 to 10s is "
                               "needed", value);
            return NGX_CONF_ERROR;
        }

        policy->keep.batch = n;
        return NGX_CONF_OK;
    }

    if (parameter(value, "idle", &s)) {
        return silence_parameter(cf, value, &s, &policy->idle);
    }

    if (parameter(value, "expire", &s)) {
        return silence_parameter(cf, value, &s, &policy->expire);
    }

    *known = 0;

    return NGX_CONF_OK;
}


static char *
word_parameter(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    const word_t *words, const char *needed, ngx_uint_t *n)
{
    ngx_uint_t  i;

    for (i = 0; words[i].name.len; i++) {
        if (words[i].name.len == s->len
            && ngx_strncmp(words[i].name.data, s->data, s->len) == 0)
        {
            *n = words[i].value;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid \"%V\": %s is needed",
                       value, needed);

    return NGX_CONF_ERROR;
}


static char *
silence_parameter(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    ngx_msec_t *msec)
{
    ngx_int_t  n;

    n = ngx_parse_time(s, 0);

    if (n == NGX_ERROR || n < 100 || n > 24 * 3600 * 1000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a time from 100ms to 24h is "
                           "needed", value);
        return NGX_CONF_ERROR;
    }

    *msec = n;

    return NGX_CONF_OK;
}


/* what makes no sense together */

static char *
check_policy(ngx_conf_t *cf, ngx_http_fanout_app_t *app,
    ngx_http_fanout_policy_t *policy)
{
    const char  *name;

    if (policy->members_publish) {
        app->members_publish = 1;
    }

    name = NULL;

    if (policy->keep.presence == NGX_HTTP_FANOUT_PRESENCE_OFF) {
        name = policy->keep.members ? "members"
               : policy->expire ? "expire"
               : policy->idle ? "idle"
               : policy->pongs ? "alive"
               : policy->members_publish ? "publish=members" : NULL;
    }

    if (name) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" of \"fanout_channel\" needs "
                           "\"presence=on\" or \"presence=summary\"", name);
        return NGX_CONF_ERROR;
    }

    if (policy->keep.presence == NGX_HTTP_FANOUT_PRESENCE_SUMMARY
        && policy->idle)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"idle\" of \"fanout_channel\" needs "
                           "\"presence=on\": a summary has no states");
        return NGX_CONF_ERROR;
    }

    if (policy->idle && policy->expire && policy->idle >= policy->expire) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"idle\" of \"fanout_channel\" must be less than "
                           "\"expire\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* fanout, fanout_api, fanout_status: a zone and a handler */

char *
ngx_http_fanout_set_fanout(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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


char *
ngx_http_fanout_set_dialect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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


char *
ngx_http_fanout_set_permit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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
        { ngx_string("presence"), NGX_HTTP_FANOUT_MAY_PRESENCE },
        { ngx_string("signal"), NGX_HTTP_FANOUT_MAY_SIGNAL },
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
                               "join, publish, history, presence, signal and "
                               "all", &op, value);
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


char *
ngx_http_fanout_set_autojoin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_loc_conf_t  *flcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_fanout_permit_t  *channel;

    if (flcf->autojoin == NGX_CONF_UNSET_PTR) {
        flcf->autojoin = ngx_array_create(cf->pool, 4,
                                          sizeof(ngx_http_fanout_permit_t));
        if (flcf->autojoin == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '*')) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid channel \"%V\": \"fanout_autojoin\" "
                               "takes no wildcards", &value[i]);
            return NGX_CONF_ERROR;
        }

        channel = ngx_array_push(flcf->autojoin);
        if (channel == NULL) {
            return NGX_CONF_ERROR;
        }

        channel->ops = 0;
        channel->text = value[i];

        if (permit_pattern(cf, &value[i], channel) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* NAME=VALUE...: the members of a user's profile */

char *
ngx_http_fanout_set_user_info(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fanout_loc_conf_t  *flcf = conf;

    u_char                            *p;
    ngx_str_t                         *value, s;
    ngx_uint_t                         i;
    ngx_http_fanout_profile_t         *profile;
    ngx_http_compile_complex_value_t   ccv;

    if (flcf->user_info == NGX_CONF_UNSET_PTR) {
        flcf->user_info = ngx_array_create(cf->pool, 4,
                                           sizeof(ngx_http_fanout_profile_t));
        if (flcf->user_info == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        p = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

        if (p == NULL || !profile_name(value[i].data, p)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": NAME=VALUE is needed, the name "
                               "of letters, digits and \"_\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        profile = ngx_array_push(flcf->user_info);
        if (profile == NULL) {
            return NGX_CONF_ERROR;
        }

        profile->name.data = value[i].data;
        profile->name.len = p - value[i].data;

        s.data = p + 1;
        s.len = value[i].data + value[i].len - s.data;

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &s;
        ccv.complex_value = &profile->value;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
profile_name(u_char *p, u_char *last)
{
    if (p == last) {
        return 0;
    }

    for ( /* void */ ; p < last; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
              || (*p >= '0' && *p <= '9') || *p == '_'))
        {
            return 0;
        }
    }

    return 1;
}


char *
ngx_http_fanout_set_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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
            && !is_origin(&value[i]))
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


/* as browsers send it: with a path, even "/", or a "*" it would never fit */

static ngx_uint_t
is_origin(ngx_str_t *value)
{
    char  *p;

    p = ngx_strstr(value->data, "://");

    return p && p > (char *) value->data && p[3] != '\0'
           && strpbrk(p + 3, "/*?#@$ ") == NULL;
}


char *
ngx_http_fanout_set_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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


char *
ngx_http_fanout_check_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t     *size = data;
    ngx_str_t  *value;

    if (*size == 0 || *size > 1024 * 1024 * 1024) {
        value = cf->args->elts;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the size of \"%V\" must be between 1 and 1024m",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_fanout_check_time(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t   *value;
    ngx_msec_t  *ms = data;

    if (*ms == 0 || *ms > 24 * 3600 * 1000) {
        value = cf->args->elts;
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must be between 1ms and 1d", &value[0]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_fanout_check_number(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t  *n = data;
    ngx_str_t  *value;

    if (*n < 1 || *n > NGX_HTTP_FANOUT_NUMBER) {
        value = cf->args->elts;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the number of \"%V\" must be between 1 and %d",
                           &value[0], NGX_HTTP_FANOUT_NUMBER);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_fanout_check_ratio(ngx_conf_t *cf, void *post, void *data)
{
    return check_range(cf, *(ngx_int_t *) data, 0, 1032);
}


char *
ngx_http_fanout_check_level(ngx_conf_t *cf, void *post, void *data)
{
    return check_range(cf, *(ngx_int_t *) data, 1, 9);
}


char *
ngx_http_fanout_check_window(ngx_conf_t *cf, void *post, void *data)
{
    return check_range(cf, *(ngx_int_t *) data, 9, 15);
}


static char *
check_range(ngx_conf_t *cf, ngx_int_t n, ngx_int_t min, ngx_int_t max)
{
    ngx_str_t  *value;

    if (n < min || n > max) {
        value = cf->args->elts;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the number of \"%V\" must be between %i and %i",
                           &value[0], min, max);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_http_fanout_app_t *
ngx_http_fanout_conf_zone(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_fanout_app_t  *app;

    app = find_app(cf, name);

    if (app == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown zone \"%V\": a \"fanout_zone\" of this "
                           "name must come first", name);
    }

    return app;
}
