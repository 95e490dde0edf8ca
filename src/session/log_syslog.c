
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Lines of fanout_log for syslog, one a datagram.
 *
 * A server that is not there costs a system call now and then: after a failure
 * nothing is sent for a second, and after several in a row for longer, up to a
 * minute.  What is logged meanwhile is lost, and counted.
 */


#include "session/log.h"


#define FANOUT_SYSLOG_PAUSE  60             /* s, at most */


static void syslog_failed(fanout_session_log_t *log, ssize_t n);


void
fanout_session_log_send(fanout_session_log_t *log, ngx_uint_t severity,
    u_char *line, size_t len)
{
    u_char   *p;
    size_t    n;
    ssize_t   sent;

    static u_char  head[FANOUT_LOG_HEAD];

    if (ngx_time() < log->resume) {
        log->lost++;
        return;
    }

    log->syslog->severity = severity;

    n = ngx_syslog_add_header(log->syslog, head) - head;
    p = line - n;
    ngx_memcpy(p, head, n);

    sent = ngx_syslog_send(log->syslog, p, n + len);

    if (sent != (ssize_t) (n + len)) {
        log->lost++;
        syslog_failed(log, sent);
    }
}


static void
syslog_failed(fanout_session_log_t *log, ssize_t n)
{
    time_t  now;

    now = ngx_time();

    if (n != NGX_AGAIN) {
        /* a server that is down takes the first datagram after each pause */
        log->pause = log->pause && now - log->resume <= FANOUT_SYSLOG_PAUSE
                     ? ngx_min(log->pause * 2, FANOUT_SYSLOG_PAUSE) : 1;
        log->resume = now + log->pause;
    }

    if (now - log->error_log_time <= 59) {
        return;
    }

    log->error_log_time = now;

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "fanout_log can't send to syslog server \"%V\": "
                  "%ui lines were lost", &log->syslog->server.name,
                  log->lost);

    log->lost = 0;
}
