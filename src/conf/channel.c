
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_channel: policies of channels.
 */


#include "conf/conf.h"
#include "hub/hub.h"
#include "base/pattern.h"
#include "zone/record.h"


#define FANOUT_LINGER  5                /* s */
#define FANOUT_BATCH   50               /* ms */
#define FANOUT_CHANGES (256 * 1024)


/* a word that a parameter may have */

typedef struct {
    ngx_str_t    name;
    ngx_uint_t   value;
} word_t;


/* a parameter of a channel's policy, and what it may be */

typedef enum {
    POLICY_HISTORY,
    POLICY_BYTES,
    POLICY_TTL,
    POLICY_PRESENCE,
    POLICY_MEMBERS,
    POLICY_KEYS,
    POLICY_LINGER,
    POLICY_BATCH,
    POLICY_CHANGES,
    POLICY_SEEN,
    POLICY_IDLE,
    POLICY_EXPIRE,
    POLICY_ALIVE,
    POLICY_PUBLISH,
    POLICY_HOOKS,
    POLICY_RECORDS,
    POLICY_RECORD,
    POLICY_FIELDS,
    POLICY_RECORDS_MAX,
    POLICY_RECORDS_TTL,
    POLICY_LOCKS,
    POLICY_LOCKS_MAX,
    POLICY_GUARD
} policy_e;

typedef struct {
    policy_e             id;
    const char          *name;
    const word_t        *words;     /* or NULL: in the range */
    fanout_conf_range_t  range;     /* without .max: words alone */
} parameter_t;


static char *channel_parameter(ngx_conf_t *cf, ngx_str_t *value,
    fanout_app_t *app, fanout_policy_t *policy);
static int64_t word_value(const word_t *word, ngx_str_t *s);
static void policy_set(fanout_policy_t *policy, policy_e id, int64_t n);
static void policy_set_state(fanout_zone_policy_t *keep, policy_e id,
    int64_t n);
static char *channel_pattern(ngx_conf_t *cf, fanout_app_t *app,
    ngx_str_t *pattern);
static ngx_uint_t has_variable(ngx_conf_t *cf, ngx_str_t *pattern);
static ngx_uint_t channel_is_variable(ngx_conf_t *cf, u_char *p, u_char *last);


/* parameters of channel policies that are not served yet */

static ngx_str_t  later[] = {
    ngx_string("dedupe"),
    ngx_null_string
};


static const word_t  presence_words[] = {
    { ngx_string("on"), FANOUT_PRESENCE_ON },
    { ngx_string("off"), FANOUT_PRESENCE_OFF },
    { ngx_string("summary"), FANOUT_PRESENCE_SUMMARY },
    { ngx_null_string, 0 }
};

static const word_t  alive_words[] = {
    { ngx_string("command"), 0 },
    { ngx_string("pong"), 1 },
    { ngx_null_string, 0 }
};

static const word_t  switch_words[] = {
    { ngx_string("off"), 0 },
    { ngx_string("on"), 1 },
    { ngx_null_string, 0 }
};

static const word_t  locks_words[] = {
    { ngx_string("off"), 0 },
    { ngx_null_string, 0 }
};

static const word_t  publish_words[] = {
    { ngx_string("any"), 0 },
    { ngx_string("members"), 1 },
    { ngx_null_string, 0 }
};


static const word_t  records_words[] = {
    { ngx_string("off"), 0 },
    { ngx_string("on"), FANOUT_RECORDS_ON },
    { ngx_string("old"), FANOUT_RECORDS_ON|FANOUT_RECORDS_OLD },
    { ngx_string("full"), FANOUT_RECORDS_ON|FANOUT_RECORDS_OLD
                          |FANOUT_RECORDS_WHOLE },
    { ngx_null_string, 0 }
};


static const parameter_t  parameters[] = {

    { POLICY_HISTORY, "history", NULL,
      { FANOUT_CONF_NUMBER, 0, 10000000, "a number from 0 to 10000000" } },

    { POLICY_BYTES, "bytes", NULL,
      { FANOUT_CONF_SIZE, 1, 0xffffffff, "a size from 1 to 4095m" } },

    { POLICY_TTL, "ttl", NULL,
      { FANOUT_CONF_SEC, 1, 365 * 24 * 3600, "a time from 1s to 365d" } },

    { POLICY_PRESENCE, "presence", presence_words,
      { FANOUT_CONF_WORD, 0, 0, "\"on\", \"off\" or \"summary\"" } },

    { POLICY_MEMBERS, "members", NULL,
      { FANOUT_CONF_NUMBER, 1, 10000000, "a number from 1 to 10000000" } },

    { POLICY_KEYS, "keys", NULL,
      { FANOUT_CONF_NUMBER, 1, FANOUT_ZONE_KEYS_MAX,
        "a number from 1 to 128" } },

    { POLICY_LINGER, "linger", NULL,
      { FANOUT_CONF_SEC, 0, 3600, "a time of whole seconds from 0 to 1h" } },

    { POLICY_BATCH, "batch", NULL,
      { FANOUT_CONF_MSEC, 0, 10000, "a time from 0 to 10s" } },

    { POLICY_CHANGES, "changes", NULL,
      { FANOUT_CONF_SIZE, 0, 1024 * 1024 * 1024, "a size from 0 to 1024m" } },

    { POLICY_SEEN, "seen", NULL,
      { FANOUT_CONF_MINUTE, 60, 30 * 24 * 3600,
        "whole minutes from 1m to 30d" } },

    { POLICY_IDLE, "idle", NULL,
      { FANOUT_CONF_MSEC, 100, 24 * 3600 * 1000,
        "a time from 100ms to 24h" } },

    { POLICY_EXPIRE, "expire", NULL,
      { FANOUT_CONF_MSEC, 100, 24 * 3600 * 1000,
        "a time from 100ms to 24h" } },

    { POLICY_ALIVE, "alive", alive_words,
      { FANOUT_CONF_WORD, 0, 0, "\"command\" or \"pong\"" } },

    { POLICY_PUBLISH, "publish", publish_words,
      { FANOUT_CONF_WORD, 0, 0, "\"members\" or \"any\"" } },

    { POLICY_HOOKS, "hooks", switch_words,
      { FANOUT_CONF_WORD, 0, 0, "\"on\" or \"off\"" } },

    { POLICY_RECORDS, "records", records_words,
      { FANOUT_CONF_WORD, 0, 0, "\"on\", \"off\", \"old\" or \"full\"" } },

    { POLICY_RECORD, "record", NULL,
      { FANOUT_CONF_SIZE, 1, FANOUT_ZONE_RECORD, "a size from 1 to 64k" } },

    { POLICY_FIELDS, "fields", NULL,
      { FANOUT_CONF_NUMBER, 1, FANOUT_ZONE_FIELDS,
        "a number from 1 to 128" } },

    { POLICY_RECORDS_MAX, "records_max", NULL,
      { FANOUT_CONF_NUMBER, 1, 10000000, "a number from 1 to 10000000" } },

    { POLICY_RECORDS_TTL, "records_ttl", NULL,
      { FANOUT_CONF_SEC, 1, 365 * 24 * 3600, "a time from 1s to 365d" } },

    { POLICY_LOCKS, "locks", locks_words,
      { FANOUT_CONF_MSEC, 1000, 24 * 3600 * 1000,
        "\"off\" or a time from 1s to 24h" } },

    { POLICY_LOCKS_MAX, "locks_max", NULL,
      { FANOUT_CONF_NUMBER, 1, 1000000, "a number from 1 to 1000000" } },

    { POLICY_GUARD, "guard", switch_words,
      { FANOUT_CONF_WORD, 0, 0, "\"on\" or \"off\"" } },

    { 0, NULL, NULL, { 0, 0, 0, NULL } }
};


char *
fanout_set_channel(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t         *value;
    ngx_uint_t         i;
    fanout_app_t      *app;
    fanout_policy_t   *policy;
    fanout_pattern_t   pattern;

    value = cf->args->elts;
    app = fanout_conf_find(cf, &value[1]);

    if (app == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown zone \"%V\": a \"fanout_zone\" of this "
                           "name must come first", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (channel_pattern(cf, app, &value[2]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    policy = ngx_array_push(&app->policies);
    if (policy == NULL) {
        return NGX_CONF_ERROR;
    }

    fanout_conf_policy(policy);
    policy->text = value[2];

    pattern.size = value[2].len;
    pattern.len = 0;
    pattern.data = ngx_pnalloc(cf->pool, pattern.size + 1);
    if (pattern.data == NULL) {
        return NGX_CONF_ERROR;
    }

    if (value[2].len == 0
        || fanout_pattern_append_text(&pattern, value[2].data, value[2].len)
           != FANOUT_PATTERN_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid channel pattern \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    policy->pattern.data = pattern.data;
    policy->pattern.len = pattern.len;

    if (fanout_conf_repeated(cf, 3) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 3; i < cf->args->nelts; i++) {
        if (channel_parameter(cf, &value[i], app, policy) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return fanout_conf_check_policy(cf, app, policy);
}


void
fanout_conf_policy(fanout_policy_t *policy)
{
    ngx_memzero(policy, sizeof(fanout_policy_t));

    policy->keep.linger = FANOUT_LINGER;
    policy->keep.batch = FANOUT_BATCH;
    policy->keep.keys = FANOUT_ZONE_KEYS;
    policy->changes = FANOUT_CHANGES;
}


static char *
channel_pattern(ngx_conf_t *cf, fanout_app_t *app, ngx_str_t *pattern)
{
    ngx_str_t           s, *text;
    ngx_uint_t          i;
    fanout_policy_t    *policy;
    const parameter_t  *p;

    for (p = parameters; p->name; p++) {
        if (fanout_conf_parameter(pattern, p->name, &s)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"fanout_channel\" has no channel pattern "
                               "before \"%V\"", pattern);
            return NGX_CONF_ERROR;
        }
    }

    if (has_variable(cf, pattern)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the channel pattern \"%V\" has a variable: "
                           "\"fanout_channel\" takes none, \"*\" stands for "
                           "any characters", pattern);
        return NGX_CONF_ERROR;
    }

    fanout_conf_check_pattern(cf, pattern);

    /* The first that matches counts: what comes after one that matches all
     * that it does, its "*" taken for any character, is never asked. */

    policy = app->policies.elts;

    for (i = 0; i < app->policies.nelts; i++) {
        text = &policy[i].text;

        if (fanout_pattern_match(policy[i].pattern.data,
                                 policy[i].pattern.len, pattern->data,
                                 pattern->len))
        {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "the channel pattern \"%V\" is never reached: "
                               "\"%V\" comes first", pattern, text);
            break;
        }
    }

    return NGX_CONF_OK;
}


/* "$SYS" is the name of no variable, so it means itself. */

static ngx_uint_t
has_variable(ngx_conf_t *cf, ngx_str_t *pattern)
{
    u_char  *p, *last;

    last = pattern->data + pattern->len;

    for (p = pattern->data; p + 1 < last; p++) {
        if (*p == '$' && channel_is_variable(cf, p + 1 + (p[1] == '{'), last)) {
            return 1;
        }
    }

    return 0;
}


/* Those are known that NGINX has, and that were defined further up. */

static ngx_uint_t
channel_is_variable(ngx_conf_t *cf, u_char *p, u_char *last)
{
    size_t                      len;
    ngx_uint_t                  i;
    ngx_hash_key_t             *key;
    ngx_http_variable_t        *prefix;
    ngx_http_core_main_conf_t  *cmcf;

    for (len = 0; p + len < last && (isalnum(p[len]) || p[len] == '_'); len++) {
        /* void */
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    key = cmcf->variables_keys->keys.elts;

    for (i = 0; i < cmcf->variables_keys->keys.nelts; i++) {
        if (key[i].key.len == len
            && ngx_strncasecmp(key[i].key.data, p, len) == 0)
        {
            return 1;
        }
    }

    prefix = cmcf->prefix_variables.elts;

    for (i = 0; i < cmcf->prefix_variables.nelts; i++) {
        if (prefix[i].name.len < len
            && ngx_strncasecmp(prefix[i].name.data, p, prefix[i].name.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


static char *
channel_parameter(ngx_conf_t *cf, ngx_str_t *value, fanout_app_t *app,
    fanout_policy_t *policy)
{
    int64_t             n;
    ngx_str_t           s, *name;
    const parameter_t  *p;

    if (fanout_conf_parameter(value, "share", &s)) {
        return fanout_conf_channel_share(cf, value, &s, app, policy);
    }

    for (p = parameters; p->name; p++) {

        if (!fanout_conf_parameter(value, p->name, &s)) {
            continue;
        }

        n = p->words ? word_value(p->words, &s) : NGX_ERROR;

        if (n == NGX_ERROR) {
            n = fanout_conf_ranged(cf, &p->range, value, &s);
        }

        if (n == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        policy_set(policy, p->id, n);
        return NGX_CONF_OK;
    }

    for (name = later; name->len; name++) {
        if (fanout_conf_parameter(value, (char *) name->data, &s)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the parameter \"%V\" of \"fanout_channel\" is "
                               "not served by this version", name);
            return NGX_CONF_ERROR;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\": \"fanout_channel\" has "
                       "history=, bytes=, ttl=, presence=, members=, keys=, "
                       "linger=, batch=, changes=, seen=, idle=, expire=, "
                       "alive=, publish=, hooks=, records=, record=, fields=, "
                       "records_max=, records_ttl=, locks=, locks_max=, "
                       "guard= and share=", value);

    return NGX_CONF_ERROR;
}


/* NGX_ERROR if it is none */

static int64_t
word_value(const word_t *word, ngx_str_t *s)
{
    for ( /* void */ ; word->name.len; word++) {
        if (word->name.len == s->len
            && ngx_strncmp(word->name.data, s->data, s->len) == 0)
        {
            return word->value;
        }
    }

    return NGX_ERROR;
}


static void
policy_set(fanout_policy_t *policy, policy_e id, int64_t n)
{
    switch (id) {

    case POLICY_HISTORY:
        policy->keep.history = n;
        break;

    case POLICY_BYTES:
        policy->keep.bytes = n;
        break;

    case POLICY_TTL:
        policy->keep.ttl = n;
        break;

    case POLICY_PRESENCE:
        policy->keep.presence = n;
        break;

    case POLICY_MEMBERS:
        policy->keep.members = n;
        break;

    case POLICY_KEYS:
        policy->keep.keys = n;
        policy->keys = 1;
        break;

    case POLICY_LINGER:
        policy->keep.linger = n;
        policy->lingers = 1;
        break;

    case POLICY_BATCH:
        policy->keep.batch = n;
        policy->batches = 1;
        break;

    case POLICY_CHANGES:
        policy->changes = n;
        policy->keeps = 1;
        break;

    case POLICY_SEEN:
        policy->keep.seen = n / 60;
        break;

    case POLICY_IDLE:
        policy->idle = n;
        break;

    case POLICY_EXPIRE:
        policy->expire = n;
        break;

    case POLICY_ALIVE:
        policy->pongs = n;
        break;

    case POLICY_PUBLISH:
        policy->members_publish = n;
        break;

    case POLICY_HOOKS:
        policy->no_hooks = !n;
        break;

    default:
        policy_set_state(&policy->keep, id, n);
    }
}


/* records and locks */

static void
policy_set_state(fanout_zone_policy_t *keep, policy_e id, int64_t n)
{
    switch (id) {

    case POLICY_RECORDS:
        keep->records = n;
        break;

    case POLICY_RECORD:
        keep->record = n;
        break;

    case POLICY_FIELDS:
        keep->fields = n;
        break;

    case POLICY_RECORDS_MAX:
        keep->records_max = n;
        break;

    case POLICY_RECORDS_TTL:
        keep->records_ttl = n;
        break;

    case POLICY_LOCKS:
        keep->locks = n;
        break;

    case POLICY_LOCKS_MAX:
        keep->locks_max = n;
        break;

    case POLICY_GUARD:
        keep->guard = n;
        break;

    default:
        break;
    }
}
