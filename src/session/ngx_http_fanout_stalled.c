
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Clients that do not take what they are sent: output pins frames, whatever
 * the client says meanwhile.
 */


#include "ngx_http_fanout_session.h"
#include "ngx_http_fanout_socket.h"


/* Any progress counts, so a client could take a byte at a time.  What is
 * pending at one moment has to be gone after so many times
 * fanout_send_timeout. */
#define NGX_HTTP_FANOUT_PATIENCE   16


static ngx_int_t unacked(ngx_http_fanout_session_t *s);


void
ngx_http_fanout_session_blocked(ngx_http_fanout_session_t *s, ngx_uint_t some)
{
    ngx_msec_t    now;
    ngx_event_t  *rev;

    s->blocked = 1;

    if (!s->sticks) {
        s->sticks = 1;
        ngx_queue_insert_tail(&s->hub->stuck, &s->stuck);
        s->hub->nstuck++;
    }

    now = ngx_current_msec ? ngx_current_msec : 1;

    if (s->owed == 0) {
        s->owed = s->pending;
        s->owed_at = now;
    }

    if (s->sent_at && !some) {
        return;
    }

    s->sent_at = now;
    s->unacked = unacked(s);

    /* the timer that runs may be for something later */

    rev = s->connection->read;

    if (!rev->timer_set
        || (ngx_msec_int_t) (rev->timer.key - now - s->conf->send_timeout) > 0)
    {
        ngx_add_timer(rev, s->conf->send_timeout);
    }
}


void
ngx_http_fanout_session_unblocked(ngx_http_fanout_session_t *s)
{
    s->blocked = 0;

    if (s->sticks) {
        s->sticks = 0;
        ngx_queue_remove(&s->stuck);
        s->hub->nstuck--;
    }
}


void
ngx_http_fanout_session_drained(ngx_http_fanout_session_t *s)
{
    s->sent_at = 0;
    s->owed = 0;
}


ngx_uint_t
ngx_http_fanout_session_stalled(ngx_http_fanout_session_t *s)
{
    ngx_int_t   n;
    ngx_msec_t  now;

    if (!s->blocked || s->sent_at == 0) {
        return 0;
    }

    now = ngx_current_msec ? ngx_current_msec : 1;
    n = unacked(s);

    if (n >= 0 && n < s->unacked) {
        /* it lives, though it may not come to answer a ping */
        s->unacked = n;
        s->sent_at = now;
        s->received_at = now;
        s->pinged = 0;
    }

    return now - s->sent_at >= s->conf->send_timeout
           || now - s->owed_at
              >= NGX_HTTP_FANOUT_PATIENCE * s->conf->send_timeout;
}


/* A stream has no socket of its own. */

static ngx_int_t
unacked(ngx_http_fanout_session_t *s)
{
    return s->request ? -1 : ngx_http_fanout_socket_unacked(s->connection);
}
