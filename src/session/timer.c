
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The timer of a session, set to the earliest of its deadlines.
 */


#include "base/time.h"
#include "session/session.h"
#include "session/dialect.h"
#include "session/transport.h"


static ngx_msec_t granted_left(fanout_session_t *s);


void
fanout_session_timer(fanout_session_t *s)
{
    ngx_event_t  *rev;
    ngx_msec_t    now, at;

    if (s->state == FANOUT_ENDED) {
        return;
    }

    rev = s->connection->read;
    now = ngx_current_msec;
    at = now + 3600 * 1000;

#define sooner(t)                                                             \
    if ((ngx_msec_int_t) ((t) - at) < 0) { at = (t); }

    if (s->state == FANOUT_CLOSING || s->draining) {
        sooner(s->close_at);
    }

    if (s->state == FANOUT_OPEN) {

        if (s->blocked && s->sent_at) {
            sooner(s->sent_at + s->conf->send_timeout);
        }

        if (s->frame_at) {
            sooner(s->frame_at + s->conf->timeout);
        }

        if (s->expires) {
            sooner(s->expire_at - (s->warned ? 0 : s->notice));
        }

        if (s->granted_at) {
            sooner(now + granted_left(s));
        }

        if (s->alive) {
            sooner(s->alive_at);
        }

        if (s->conf->ping && s->transport->ping) {
            sooner(s->received_at + s->conf->ping
                   + (s->pinged ? s->conf->timeout : 0));

            /* after an answer, the next ping is due earlier */
            sooner(now + s->conf->ping);
        }

        if (s->heartbeat) {
            sooner(s->beat_at);
        }
    }

#undef sooner

    /* an attached session is not an idle connection: only its timer notices
     * that the worker wants to exit, or keeps the worker */
    rev->cancelable = (s->request == NULL);

    ngx_add_timer(rev, (ngx_msec_int_t) (at - now) > 0 ? at - now : 1);
}


/* ms until something is to be done for a grant of a join */

static ngx_msec_t
granted_left(fanout_session_t *s)
{
    uint64_t  now;

    now = fanout_time();

    return s->granted_at > now
           ? ngx_min(s->granted_at - now, 3600 * 1000) : 0;
}


void
fanout_session_expire(fanout_session_t *s, ngx_msec_t ms)
{
    ngx_msec_t  now, left;

    now = ngx_current_msec;

    if (s->conf->session_max) {
        left = (ngx_msec_int_t) (s->end_at - now) > 0 ? s->end_at - now : 1;
        ms = ms ? ngx_min(ms, left) : left;
    }

    s->expires = (ms != 0);
    s->warned = (ms == 0 || s->conf->expiring == 0
                 || s->dialect->expiring == NULL);
    s->expire_at = now + ms;
    s->notice = ngx_min(s->conf->expiring, ms / 2);

    if (s->expires && s->started) {
        fanout_session_timer(s);
    }
}


void
fanout_session_await(fanout_session_t *s, ngx_msec_t ms)
{
    fanout_session_expire(s, ms);

    s->awaited = 1;
    s->warned = 1;
}


ngx_msec_t
fanout_session_left(fanout_session_t *s)
{
    ngx_msec_int_t  left;

    left = s->expire_at - ngx_current_msec;

    return left > 0 ? left : 0;
}


void
fanout_session_frame_deadline(fanout_session_t *s, ngx_uint_t within)
{
    if (within == (s->frame_at != 0)) {
        return;
    }

    s->frame_at = within ? (ngx_current_msec ? ngx_current_msec : 1) : 0;

    if (within) {
        fanout_session_timer(s);
    }
}
