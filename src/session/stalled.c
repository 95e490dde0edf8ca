
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Clients that do not take their output: it pins outbufs, whatever the clients
 * send meanwhile.
 */


#include "session/session.h"
#include "session/socket.h"


/* Any progress counts, so a client could take a byte at a time.  Output pending
 * at a moment must be sent within so many times fanout_send_timeout. */
#define FANOUT_PATIENCE   16


static ngx_int_t unacked(fanout_session_t *s);


void
fanout_session_blocked(fanout_session_t *s, ngx_uint_t some)
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
fanout_session_unblocked(fanout_session_t *s)
{
    s->blocked = 0;

    if (s->sticks) {
        s->sticks = 0;
        ngx_queue_remove(&s->stuck);
        s->hub->nstuck--;
    }
}


void
fanout_session_drained(fanout_session_t *s)
{
    s->sent_at = 0;
    s->owed = 0;
}


ngx_uint_t
fanout_session_stalled(fanout_session_t *s)
{
    ngx_int_t   n;
    ngx_msec_t  now;

    if (!s->blocked || s->sent_at == 0) {
        return 0;
    }

    now = ngx_current_msec ? ngx_current_msec : 1;
    n = unacked(s);

    if (n >= 0 && n < s->unacked) {
        /* the client is alive, though it may not get to answer a ping */
        s->unacked = n;
        s->sent_at = now;
        s->received_at = now;
        s->pinged = 0;
    }

    return now - s->sent_at >= s->conf->send_timeout
           || now - s->owed_at
              >= FANOUT_PATIENCE * s->conf->send_timeout;
}


/* A stream has no socket of its own. */

static ngx_int_t
unacked(fanout_session_t *s)
{
    return s->request ? -1 : fanout_socket_unacked(s->connection);
}
