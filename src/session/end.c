
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How a session ends: it closes, is cut, drained or replaced. It gives up what
 * others reach it by; the reaper releases the rest at the end of the turn.
 */


#include "session/session.h"
#include "session/dialect.h"
#include "session/transport.h"


static void leave_zone(fanout_session_t *s, ngx_uint_t how);
static void detach_cancel(fanout_session_t *s);
static void mute(fanout_session_t *s);
static void to_reaper(fanout_session_t *s);
static void leave_handler(ngx_event_t *ev);


void
fanout_session_close(fanout_session_t *s, ngx_uint_t code, const char *reason)
{
    if (s->state == FANOUT_OPEN && s->dialect->flush && !s->denied) {
        s->dialect->flush(s);
    }

    if (s->state != FANOUT_OPEN) {
        return;
    }

    s->state = FANOUT_CLOSING;
    s->close_code = code;
    s->close_at = ngx_current_msec + FANOUT_CLOSE_WAIT;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, s->connection->log, 0,
                   "fanout close %ui: %s", code, reason);

    if (code == 4408) {
        s->reason = FANOUT_LEFT_TIMEOUT;
    }

    if (*reason && code != 1012) {
        ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                      "fanout session is closed with %ui: %s", code, reason);
    }

    fanout_session_log_ended(s, code, reason);

    s->behind = 0;

    to_reaper(s);

    s->transport->close(s, code, reason);

    fanout_session_timer(s);
}


void
fanout_session_closing(fanout_session_t *s)
{
    if (s->state != FANOUT_OPEN) {
        return;
    }

    s->state = FANOUT_CLOSING;
    s->close_at = ngx_current_msec + FANOUT_CLOSE_WAIT;
    s->behind = 0;

    to_reaper(s);

    fanout_session_timer(s);
}


/* For the zone the client is disconnected.  Commands that were received before
 * are processed like those of a POST: the client may be elsewhere by now. */

void
fanout_session_disconnected(fanout_session_t *s)
{
    fanout_session_unindex(s);

    fanout_identity_end(&s->hub->zone, s->identity_ref, &s->identity,
                        s->conf->resume, s->heard || s->resumed,
                        FANOUT_LEFT_NETWORK);
    fanout_hub_presence(s->hub);

    s->identity_ref = 0;
    s->transport = s->transport->away;
    s->alive = 0;

    /* its subscriptions */
    to_reaper(s);
}


/* The client says goodbye: whoever reads the answer finds it gone, in every
 * worker. */

void
fanout_session_goodbye(fanout_session_t *s)
{
    fanout_session_unindex(s);
    leave_zone(s, FANOUT_END_CLEAN);
}


void
fanout_session_leave_zone(fanout_session_t *s)
{
    fanout_session_unindex(s);
    leave_zone(s, FANOUT_END_REPLACED);
}


void
fanout_session_end(fanout_session_t *s, ngx_uint_t how)
{
    fanout_hub_t  *hub;

    if (s->state == FANOUT_ENDED) {
        return;
    }

    s->state = FANOUT_ENDED;
    s->alive = 0;
    s->behind = 0;

    hub = s->hub;
    hub->nsessions--;

    fanout_count(hub, disconnects);

    leave_zone(s, how);
    fanout_meter_end(s);

    fanout_session_unindex(s);

    if (s->queued) {
        ngx_queue_remove(&s->flush);
        s->queued = 0;
    }

    fanout_session_rest(s);
    fanout_session_unblocked(s);
    s->blocked = 1;

    detach_cancel(s);
    mute(s);
    to_reaper(s);
}


static void
leave_zone(fanout_session_t *s, ngx_uint_t how)
{
    uint8_t        reason;
    uint32_t       linger;
    fanout_hub_t  *hub;

    hub = s->hub;

    if (s->identity.client && s->identity_ref) {
        linger = how == FANOUT_END_CUT ? s->conf->resume : 0;
        reason = how == FANOUT_END_CLEAN
                 ? FANOUT_LEFT_INTENTIONAL
                 : s->reason ? s->reason : FANOUT_LEFT_NETWORK;

        fanout_identity_disconnected(&hub->zone, s->identity_ref,
                                     &s->identity, linger, s->back_in,
                                     s->heard || s->resumed, reason);
        fanout_hub_presence(hub);

    } else if (s->transport->gone && how == FANOUT_END_CLEAN) {
        fanout_identity_leave(&hub->zone, &s->identity,
                              FANOUT_LEFT_INTENTIONAL);
        fanout_hub_presence(hub);
    }

    s->identity_ref = 0;
}


static void
detach_cancel(fanout_session_t *s)
{
    fanout_detach_t  *d;

    d = s->detach;

    if (d == NULL) {
        return;
    }

    if (d->event.timer_set) {
        ngx_del_timer(&d->event);
    }

    if (d->event.posted) {
        ngx_delete_posted_event(&d->event);
    }

    ngx_free(d);
    s->detach = NULL;
}


/* Events may still arrive until the session is released, which can take turns;
 * a timer would leave "timedout" set for the next request of the connection.  A
 * request that the session does not keep belongs to its content handler. */

static void
mute(fanout_session_t *s)
{
    if (s->connection == NULL || (s->request && !s->keeps_request)) {
        return;
    }

    if (s->connection->read->timer_set) {
        ngx_del_timer(s->connection->read);
    }

    if (s->request) {
        s->request->read_event_handler = ngx_http_block_reading;
        s->request->write_event_handler = ngx_http_request_empty_handler;

    } else {
        s->connection->read->handler = ngx_http_empty_handler;
        s->connection->write->handler = ngx_http_empty_handler;
    }
}


static void
to_reaper(fanout_session_t *s)
{
    if (!s->listed) {
        s->listed = 1;
        ngx_queue_insert_tail(&s->hub->ended, &s->ended);
    }

    ngx_post_event(&s->hub->reaper, &ngx_posted_events);
}


void
fanout_session_release_request(fanout_session_t *s)
{
    ngx_event_t         *rev;
    ngx_http_request_t  *r;

    r = s->request;
    rev = r->connection->read;

    if (rev->timer_set) {
        ngx_del_timer(rev);
    }

    rev->cancelable = 0;

    /* the request may be logged after the session is freed */
    ngx_http_set_ctx(r, NULL, ngx_http_fanout_module);

    s->cleanup->handler = NULL;
    s->cleanup = NULL;

    s->request = NULL;
    s->connection = NULL;
}


void
fanout_session_drain(fanout_hub_t *hub)
{
    ngx_msec_t         longest;
    ngx_queue_t       *q;
    fanout_session_t  *s;

    if (hub->draining) {
        return;
    }

    hub->draining = 1;
    hub->drain_at = ngx_current_msec;
    hub->return_in = hub->nsessions * FANOUT_RETURN;
    longest = 0;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, fanout_session_t, queue);

        if (s->state == FANOUT_ENDED) {
            continue;
        }

        s->draining = 1;

        if (s->state == FANOUT_OPEN) {
            s->close_at = ngx_current_msec
                          + (s->conf->drain
                             ? (ngx_msec_t) ngx_random() % s->conf->drain
                             : 0);
        }

        longest = ngx_max(longest, s->conf->drain);
        fanout_session_timer(s);
    }

    if (hub->nsessions) {
        fanout_session_stay(hub, longest);
    }
}


void
fanout_session_stay(fanout_hub_t *hub, ngx_msec_t time)
{
    /* the only timer that keeps the process */

    if (!hub->leave.timer_set) {
        hub->leave.handler = leave_handler;
        hub->leave.data = hub;
        ngx_add_timer(&hub->leave, time + 2 * FANOUT_CLOSE_WAIT);
    }
}


static void
leave_handler(ngx_event_t *ev)
{
    ngx_queue_t       *q;
    fanout_hub_t      *hub;
    fanout_session_t  *s;

    hub = ev->data;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, fanout_session_t, queue);

        fanout_session_log_ended(s, 1006, "shutdown");

        if (s->transport->commands && !s->transport->gone) {
            /* may answer */
            fanout_session_close(s, 1012, "restart");
        }

        fanout_session_end(s, FANOUT_END_CUT);
    }
}
