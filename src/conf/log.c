
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The directive fanout_log.
 */


#include "conf/conf.h"
#include "session/log.h"


static void log_check_twice(ngx_conf_t *cf, ngx_array_t *logs);
static ngx_uint_t log_same_format(ngx_array_t *a, ngx_array_t *b);
static char *log_off(ngx_conf_t *cf, fanout_loc_conf_t *flcf);
static fanout_session_log_t *log_create(ngx_conf_t *cf,
    fanout_loc_conf_t *flcf);
static char *log_parameters(ngx_conf_t *cf, fanout_loc_conf_t *flcf,
    fanout_session_log_t *log);
static char *log_check_buffer(ngx_conf_t *cf, fanout_session_log_t *log,
    ssize_t size, ngx_msec_t flush);
static char *log_open(ngx_conf_t *cf, fanout_session_log_t *log,
    ngx_str_t *target);
static char *log_events(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *list,
    fanout_session_log_t *log);
static char *log_level(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *name,
    ngx_uint_t *severity);
static char *log_samples(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *list,
    fanout_session_log_t *log);
static char *log_check_samples(ngx_conf_t *cf, fanout_session_log_t *log);
static ngx_uint_t log_sample_one(u_char *p, u_char *last,
    fanout_session_log_t *log);
static ngx_uint_t log_is_special(ngx_str_t *path);
static ngx_uint_t log_format(ngx_conf_t *cf, fanout_session_log_t *log);
static ngx_uint_t log_is_parameter(ngx_str_t *value);
static char *log_parameter(ngx_conf_t *cf, ngx_str_t *value,
    fanout_session_log_t *log, ssize_t *size, ngx_msec_t *flush);
static ngx_uint_t log_prefix(ngx_str_t *value, const char *prefix,
    ngx_str_t *rest);


static const fanout_conf_range_t  buffer_range = {
    FANOUT_CONF_SIZE, 1, 64 * 1024 * 1024, "a size from 1 to 64m"
};

static const fanout_conf_range_t  flush_range = {
    FANOUT_CONF_MSEC, 1, 24 * 3600 * 1000, "a time from 1ms to 1d"
};


char *
fanout_set_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    ngx_str_t             *value;
    fanout_session_log_t  *log;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return log_off(cf, flcf);
    }

    if (flcf->logs == NULL) {
        return "is duplicate: it is off on this level";
    }

    if (log_is_special(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid log \"%V\": \"fanout_log\" writes to a "
                           "file, without variables, or to \"syslog:\", and a "
                           "format comes after it; \"stderr\" and \"memory:\" "
                           "are for \"error_log\", \"/dev/stderr\" is a file",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    log = log_create(cf, flcf);

    if (log == NULL || log_open(cf, log, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return log_parameters(cf, flcf, log);
}


static char *
log_off(ngx_conf_t *cf, fanout_loc_conf_t *flcf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (cf->args->nelts > 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\": \"off\" has none",
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    if (flcf->logs != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    flcf->logs = NULL;

    return NGX_CONF_OK;
}


static fanout_session_log_t *
log_create(ngx_conf_t *cf, fanout_loc_conf_t *flcf)
{
    fanout_session_log_t  *log;

    log = fanout_conf_push(cf, &flcf->logs, sizeof(fanout_session_log_t));

    if (log) {
        log->events = FANOUT_LOG_DEFAULT;
        log->severity = FANOUT_LOG_INFO;
    }

    return log;
}


/* the format, and what comes behind it */

static char *
log_parameters(ngx_conf_t *cf, fanout_loc_conf_t *flcf,
    fanout_session_log_t *log)
{
    ssize_t      size;
    ngx_str_t   *value;
    ngx_uint_t   i;
    ngx_msec_t   flush;

    value = cf->args->elts;
    size = 0;
    flush = 0;

    i = log_format(cf, log);

    if (i == 0 || fanout_conf_repeated(cf, i) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for ( /* void */ ; i < cf->args->nelts; i++) {
        if (log_parameter(cf, &value[i], log, &size, &flush) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (log_check_buffer(cf, log, size, flush) != NGX_CONF_OK
        || log_check_samples(cf, log) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    log_check_twice(cf, flcf->logs);

    return size ? fanout_session_log_buffer(cf, log, size, flush) : NGX_CONF_OK;
}


static char *
log_check_buffer(ngx_conf_t *cf, fanout_session_log_t *log, ssize_t size,
    ngx_msec_t flush)
{
    ngx_str_t  *value;

    if (size && log->syslog) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"buffer=\" of \"fanout_log\" is not for "
                           "\"syslog:\", which gets each line at once");
        return NGX_CONF_ERROR;
    }

    if (flush && size == 0) {
        value = cf->args->elts;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no buffer is defined for fanout_log \"%V\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
log_open(ngx_conf_t *cf, fanout_session_log_t *log, ngx_str_t *target)
{
    if (ngx_strncmp(target->data, "syslog:", 7) != 0) {
        log->file = ngx_conf_open_file(cf->cycle, target);
        return log->file ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    if (ngx_strstr(target->data, "severity=")) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"severity=\" in \"%V\" is not for "
                           "\"fanout_log\": each event has its own", target);
        return NGX_CONF_ERROR;
    }

    log->syslog = ngx_pcalloc(cf->pool, sizeof(ngx_syslog_peer_t));
    if (log->syslog == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_syslog_process_conf(cf, log->syslog);
}


/* Whether the last of them writes lines that another one writes. */

static void
log_check_twice(ngx_conf_t *cf, ngx_array_t *logs)
{
    ngx_uint_t             i;
    fanout_session_log_t  *log, *last;

    log = logs->elts;
    last = &log[logs->nelts - 1];

    for (i = 0; i < logs->nelts - 1; i++) {

        if (last->file == NULL || log[i].file != last->file
            || !(log[i].events & last->events)
            || !log_same_format(log[i].parts, last->parts))
        {
            continue;
        }

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "two \"fanout_log\" write the same lines to \"%V\": "
                           "each is there twice", &last->file->name);
        return;
    }
}


static ngx_uint_t
log_same_format(ngx_array_t *a, ngx_array_t *b)
{
    ngx_uint_t                  i;
    fanout_session_log_part_t  *p, *q;

    if (a == NULL || b == NULL || a->nelts != b->nelts) {
        return a == b;
    }

    p = a->elts;
    q = b->elts;

    for (i = 0; i < a->nelts; i++) {
        if (p[i].field != q[i].field
            || (p[i].field == -1
                && (p[i].text.len != q[i].text.len
                    || ngx_memcmp(p[i].text.data, q[i].text.data,
                                  p[i].text.len) != 0)))
        {
            return 0;
        }
    }

    return 1;
}


/* Targets that other logs of NGINX have and that are no file. */

static ngx_uint_t
log_is_special(ngx_str_t *path)
{
    return path->len == 0 || ngx_strchr(path->data, '$')
           || ngx_strcmp(path->data, "stderr") == 0
           || ngx_strcmp(path->data, "json") == 0
           || ngx_strncmp(path->data, "memory:", 7) == 0;
}


/* A format may be written in several pieces, as in log_format.  Returns the
 * index of what follows it, 0 on an error. */

static ngx_uint_t
log_format(ngx_conf_t *cf, fanout_session_log_t *log)
{
    u_char      *p;
    size_t       len;
    ngx_str_t   *value, text, part;
    ngx_uint_t   i, n;
    const char  *wrong;

    value = cf->args->elts;
    n = cf->args->nelts;

    if (n == 2 || log_is_parameter(&value[2])) {
        return 2;
    }

    if (ngx_strcmp(value[2].data, "json") == 0) {
        return 3;
    }

    if (ngx_strchr(value[2].data, '$') == NULL) {
        /* it is told as a parameter that is wrong */
        return 2;
    }

    len = 0;

    for (i = 2; i < n && !log_is_parameter(&value[i]); i++) {
        len += value[i].len;
    }

    n = i;

    text.data = ngx_pnalloc(cf->pool, len);
    if (text.data == NULL) {
        return 0;
    }

    for (i = 2, p = text.data; i < n; i++) {
        p = ngx_cpymem(p, value[i].data, value[i].len);
    }

    text.len = len;

    wrong = fanout_session_log_compile(cf, &text, log, &part);

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s of \"fanout_log\": \"%V\"", wrong, &part);
        return 0;
    }

    return n;
}


static ngx_uint_t
log_is_parameter(ngx_str_t *value)
{
    ngx_str_t  rest;

    return log_prefix(value, "events=", &rest)
           || log_prefix(value, "level=", &rest)
           || log_prefix(value, "sample=", &rest)
           || log_prefix(value, "buffer=", &rest)
           || log_prefix(value, "flush=", &rest);
}


static char *
log_parameter(ngx_conf_t *cf, ngx_str_t *value, fanout_session_log_t *log,
    ssize_t *size, ngx_msec_t *flush)
{
    ngx_str_t  s;

    if (log_prefix(value, "events=", &s)) {
        return log_events(cf, value, &s, log);
    }

    if (log_prefix(value, "level=", &s)) {
        return log_level(cf, value, &s, &log->severity);
    }

    if (log_prefix(value, "sample=", &s)) {
        return log_samples(cf, value, &s, log);
    }

    if (log_prefix(value, "buffer=", &s)) {
        *size = fanout_conf_ranged(cf, &buffer_range, value, &s);
        return *size == NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
    }

    if (log_prefix(value, "flush=", &s)) {
        *flush = fanout_conf_ranged(cf, &flush_range, value, &s);
        return *flush == (ngx_msec_t) NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\": \"fanout_log\" has \"json\" "
                       "or a format with $names, then events=, level=, "
                       "sample=, buffer= and flush=", value);

    return NGX_CONF_ERROR;
}


static char *
log_events(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *list,
    fanout_session_log_t *log)
{
    log->events = fanout_session_log_events(list);

    if (log->events) {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown event \"%V\" in \"%V\": there are connect, "
                       "deny, join, leave, auth, close, conflict, kick, "
                       "publish, change, block and revoke", list, value);

    return NGX_CONF_ERROR;
}


static ngx_uint_t
log_prefix(ngx_str_t *value, const char *prefix, ngx_str_t *rest)
{
    size_t  len;

    len = ngx_strlen(prefix);

    if (ngx_strncmp(value->data, prefix, len) != 0) {
        return 0;
    }

    rest->data = value->data + len;
    rest->len = value->len - len;

    return 1;
}


static char *
log_level(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *name,
    ngx_uint_t *severity)
{
    if (ngx_strcmp(name->data, "info") == 0) {
        *severity = FANOUT_LOG_INFO;

    } else if (ngx_strcmp(name->data, "notice") == 0) {
        *severity = FANOUT_LOG_NOTICE;

    } else if (ngx_strcmp(name->data, "warn") == 0) {
        *severity = FANOUT_LOG_WARN;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown level in \"%V\": there are info, notice "
                           "and warn", value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* EVENT:N,... */

static char *
log_samples(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *list,
    fanout_session_log_t *log)
{
    u_char  *p, *last, *comma;

    last = list->data + list->len;

    for (p = list->data; p <= last; p = comma + 1) {
        comma = ngx_strlchr(p, last, ',');

        if (comma == NULL) {
            comma = last;
        }

        if (!log_sample_one(p, comma, log)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": EVENT:N is needed, N from 1 "
                               "to 1000000; deny, auth and what else is for "
                               "an audit are not sampled", value);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
log_check_samples(ngx_conf_t *cf, fanout_session_log_t *log)
{
    ngx_uint_t        i;
    const ngx_str_t  *name;

    for (i = 0; i < FANOUT_LOG_EVENTS; i++) {

        if (log->every[i] == 0) {
            continue;
        }

        name = fanout_session_log_without(log, i);

        if (name) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"sample=\" of \"fanout_log\" has the event "
                               "\"%V\", which its \"events=\" and \"level=\" "
                               "leave out", name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
log_sample_one(u_char *p, u_char *last, fanout_session_log_t *log)
{
    u_char      *colon;
    ngx_int_t    n;
    ngx_str_t    name;
    ngx_uint_t   i;

    colon = ngx_strlchr(p, last, ':');

    if (colon == NULL) {
        return 0;
    }

    name.data = p;
    name.len = colon - p;
    i = fanout_session_log_named(&name);
    n = ngx_atoi(colon + 1, last - colon - 1);

    if (i == FANOUT_LOG_NFOUND || !fanout_session_log_sampled(i)
        || log->every[i] || n < 1 || n > 1000000)
    {
        return 0;
    }

    log->every[i] = n;

    return 1;
}
