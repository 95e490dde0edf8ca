
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The directive fanout_log, and its files: opened, reopened and flushed with
 * NGINX's other logs.
 */


#include "session/log.h"
#include "conf/conf.h"


/* Begins as the buffer of an access log does: one that names the same file
 * and size takes this for its own, and may. */

typedef struct {
    u_char       *start;
    u_char       *pos;
    u_char       *last;
    ngx_event_t  *event;
    ngx_msec_t    flush;
    ngx_int_t     gzip;

    fanout_eventlog_t  *log;
} buffer_t;


static char *set_buffer(ngx_conf_t *cf, fanout_eventlog_t *log, size_t size,
    ngx_msec_t flush);
static void check_twice(ngx_conf_t *cf, ngx_array_t *logs);
static ngx_uint_t same_format(ngx_array_t *a, ngx_array_t *b);
static ngx_uint_t is_special(ngx_str_t *path);
static ngx_uint_t format(ngx_conf_t *cf, fanout_eventlog_t *log);
static ngx_uint_t is_parameter(ngx_str_t *value);
static char *parameter(ngx_conf_t *cf, ngx_str_t *value,
    fanout_eventlog_t *log, ssize_t *size, ngx_msec_t *flush);
static ngx_uint_t has_prefix(ngx_str_t *value, const char *prefix,
    ngx_str_t *rest);
static void flush_file(ngx_open_file_t *file, ngx_log_t *log);
static void flush_handler(ngx_event_t *ev);
static void write_file(fanout_eventlog_t *log, u_char *data, size_t len);


void
fanout_eventlog_write(fanout_eventlog_t *log, u_char *line, size_t len)
{
    buffer_t  *b;

    if (log->file->flush != flush_file) {
        write_file(log, line, len);
        return;
    }

    b = log->file->data;

    if (len > (size_t) (b->last - b->pos)) {
        flush_file(log->file, ngx_cycle->log);
    }

    if (len > (size_t) (b->last - b->pos)) {
        write_file(log, line, len);
        return;
    }

    if (b->event && b->pos == b->start) {
        ngx_add_timer(b->event, b->flush);
    }

    b->pos = ngx_cpymem(b->pos, line, len);
}


static void
flush_file(ngx_open_file_t *file, ngx_log_t *log)
{
    buffer_t  *b;

    b = file->data;

    if (b->pos > b->start) {
        write_file(b->log, b->start, b->pos - b->start);
        b->pos = b->start;
    }

    if (b->event && b->event->timer_set) {
        ngx_del_timer(b->event);
    }
}


/* NGINX flushes its files before modules like this one are told of the exit,
 * which may have had something to log. */

void
fanout_eventlog_flush(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_open_file_t  *file;

    for (part = &cycle->open_files.part; part; part = part->next) {
        file = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (file[i].flush == flush_file) {
                flush_file(&file[i], cycle->log);
            }
        }
    }
}


static void
flush_handler(ngx_event_t *ev)
{
    flush_file(ev->data, ev->log);
}


/* One call, so that lines of several workers don't mix.  What follows a line
 * that a full disk has cut begins a new one. */

static void
write_file(fanout_eventlog_t *log, u_char *data, size_t len)
{
    time_t     now;
    ssize_t    n;
    ngx_err_t  err;

    now = ngx_time();

    if (now == log->disk_full_time) {
        /* it may take long to be told so again */
        return;
    }

    if (log->torn && ngx_write_fd(log->file->fd, "\n", 1) == 1) {
        log->torn = 0;
    }

    n = ngx_write_fd(log->file->fd, data, len);

    if (n == (ssize_t) len) {
        return;
    }

    err = 0;

    if (n == -1) {
        err = ngx_errno;

        if (err == NGX_ENOSPC) {
            log->disk_full_time = now;
        }

    } else if (n > 0) {
        log->torn = 1;
    }

    if (now - log->error_log_time <= 59) {
        return;
    }

    log->error_log_time = now;

    if (n == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, err,
                      ngx_write_fd_n " to \"%s\" failed",
                      log->file->name.data);
        return;
    }

    ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                  ngx_write_fd_n " to \"%s\" was incomplete: %z of %uz",
                  log->file->name.data, n, len);
}


/* the directive */

char *
fanout_set_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    ssize_t             size;
    ngx_str_t          *value;
    ngx_uint_t          i;
    ngx_msec_t          flush;
    fanout_eventlog_t  *log;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {

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

    if (flcf->logs == NULL) {
        return "is duplicate: it is off on this level";
    }

    if (is_special(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid log \"%V\": \"fanout_log\" writes to a "
                           "file, without variables, and a format comes "
                           "after it; \"stderr\", \"memory:\" and \"syslog:\" "
                           "are for \"error_log\", \"/dev/stderr\" is a file",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    if (flcf->logs == NGX_CONF_UNSET_PTR) {
        flcf->logs = ngx_array_create(cf->pool, 1, sizeof(fanout_eventlog_t));
        if (flcf->logs == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    log = ngx_array_push(flcf->logs);
    if (log == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(log, sizeof(fanout_eventlog_t));

    log->events = FANOUT_LOG_ALL;
    log->file = ngx_conf_open_file(cf->cycle, &value[1]);

    if (log->file == NULL) {
        return NGX_CONF_ERROR;
    }

    size = 0;
    flush = 0;

    i = format(cf, log);

    if (i == 0 || fanout_conf_repeated(cf, i) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for ( /* void */ ; i < cf->args->nelts; i++) {
        if (parameter(cf, &value[i], log, &size, &flush) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (flush && size == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no buffer is defined for fanout_log \"%V\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    check_twice(cf, flcf->logs);

    return size ? set_buffer(cf, log, size, flush) : NGX_CONF_OK;
}


/* Whether the last of them writes lines that another one writes. */

static void
check_twice(ngx_conf_t *cf, ngx_array_t *logs)
{
    ngx_uint_t          i;
    fanout_eventlog_t  *log, *last;

    log = logs->elts;
    last = &log[logs->nelts - 1];

    for (i = 0; i < logs->nelts - 1; i++) {

        if (log[i].file != last->file || !(log[i].events & last->events)
            || !same_format(log[i].parts, last->parts))
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
same_format(ngx_array_t *a, ngx_array_t *b)
{
    ngx_uint_t               i;
    fanout_eventlog_part_t  *p, *q;

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


/* What other logs of NGINX can be, and no file. */

static ngx_uint_t
is_special(ngx_str_t *path)
{
    return path->len == 0 || ngx_strchr(path->data, '$')
           || ngx_strcmp(path->data, "stderr") == 0
           || ngx_strcmp(path->data, "json") == 0
           || ngx_strncmp(path->data, "memory:", 7) == 0
           || ngx_strncmp(path->data, "syslog:", 7) == 0;
}


/* A format may be written in several pieces, as in log_format.  Returns the
 * index of what follows it, 0 on an error. */

static ngx_uint_t
format(ngx_conf_t *cf, fanout_eventlog_t *log)
{
    u_char      *p;
    size_t       len;
    ngx_str_t   *value, text, part;
    ngx_uint_t   i, n;
    const char  *wrong;

    value = cf->args->elts;
    n = cf->args->nelts;

    if (n == 2 || is_parameter(&value[2])) {
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

    for (i = 2; i < n && !is_parameter(&value[i]); i++) {
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

    wrong = fanout_eventlog_compile(cf, &text, log, &part);

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s of \"fanout_log\": \"%V\"", wrong, &part);
        return 0;
    }

    return n;
}


static ngx_uint_t
is_parameter(ngx_str_t *value)
{
    ngx_str_t  rest;

    return has_prefix(value, "events=", &rest)
           || has_prefix(value, "buffer=", &rest)
           || has_prefix(value, "flush=", &rest);
}


static char *
parameter(ngx_conf_t *cf, ngx_str_t *value, fanout_eventlog_t *log,
    ssize_t *size, ngx_msec_t *flush)
{
    ngx_str_t  s;

    if (has_prefix(value, "events=", &s)) {
        log->events = fanout_eventlog_events(&s);

        if (log->events == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown event \"%V\" in \"%V\": there are "
                               "connect, deny, join, leave and close",
                               &s, value);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (has_prefix(value, "buffer=", &s)) {
        *size = ngx_parse_size(&s);

        if (*size == NGX_ERROR || *size == 0 || *size > 64 * 1024 * 1024) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a size from 1 to 64m is needed",
                               value);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (has_prefix(value, "flush=", &s)) {
        *flush = ngx_parse_time(&s, 0);

        if (*flush == (ngx_msec_t) NGX_ERROR || *flush == 0
            || *flush > 24 * 3600 * 1000)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a time from 1ms to 1d is needed",
                               value);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\": \"fanout_log\" has \"json\" "
                       "or a format with $names, then events=, buffer= and "
                       "flush=", value);

    return NGX_CONF_ERROR;
}


static ngx_uint_t
has_prefix(ngx_str_t *value, const char *prefix, ngx_str_t *rest)
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
set_buffer(ngx_conf_t *cf, fanout_eventlog_t *log, size_t size,
    ngx_msec_t flush)
{
    buffer_t  *b;

    b = log->file->data;

    if (b) {
        if (log->file->flush != flush_file
            || (size_t) (b->last - b->start) != size || b->flush != flush)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "fanout_log \"%V\" already defined with "
                               "conflicting parameters", &log->file->name);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    b = ngx_pcalloc(cf->pool, sizeof(buffer_t));
    if (b == NULL) {
        return NGX_CONF_ERROR;
    }

    b->start = ngx_pnalloc(cf->pool, size);
    if (b->start == NULL) {
        return NGX_CONF_ERROR;
    }

    b->pos = b->start;
    b->last = b->start + size;

    /* an array of logs may be moved when it grows: this one stays */

    b->log = ngx_palloc(cf->pool, sizeof(fanout_eventlog_t));
    if (b->log == NULL) {
        return NGX_CONF_ERROR;
    }

    *b->log = *log;

    if (flush) {
        b->event = ngx_pcalloc(cf->pool, sizeof(ngx_event_t));
        if (b->event == NULL) {
            return NGX_CONF_ERROR;
        }

        b->event->data = log->file;
        b->event->handler = flush_handler;
        b->event->log = &cf->cycle->new_log;
        b->event->cancelable = 1;

        b->flush = flush;
    }

    log->file->flush = flush_file;
    log->file->data = b;

    return NGX_CONF_OK;
}
