
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The files of fanout_log: opened, reopened and flushed with NGINX's other
 * logs.
 */


#include "session/log.h"


/* Begins like the buffer of an access log, which shares it if it has the same
 * file and size. */

typedef struct {
    u_char       *start;
    u_char       *pos;
    u_char       *last;
    ngx_event_t  *event;
    ngx_msec_t    flush;
    ngx_int_t     gzip;

    fanout_session_log_t  *log;
} buffer_t;


static void flush_file(ngx_open_file_t *file, ngx_log_t *log);
static void flush_handler(ngx_event_t *ev);
static void write_file(fanout_session_log_t *log, u_char *data, size_t len);


void
fanout_session_log_write(fanout_session_log_t *log, u_char *line, size_t len)
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


/* NGINX flushes its files before it calls exit handlers of modules like this
 * one, which may log. */

void
fanout_session_log_flush(ngx_cycle_t *cycle)
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


/* One write, so that lines of several workers don't mix.  After a line that a
 * full disk has cut, a new line is begun. */

static void
write_file(fanout_session_log_t *log, u_char *data, size_t len)
{
    time_t     now;
    ssize_t    n;
    ngx_err_t  err;

    now = ngx_time();

    if (now == log->disk_full_time) {
        /* a write to a full disk may take long */
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


char *
fanout_session_log_buffer(ngx_conf_t *cf, fanout_session_log_t *log,
    size_t size, ngx_msec_t flush)
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

    b->log = ngx_palloc(cf->pool, sizeof(fanout_session_log_t));
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
