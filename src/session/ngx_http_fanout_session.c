
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Sessions: how they begin and end.
 */


#include "ngx_http_fanout_session.h"
#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_roster.h"
#include "ngx_http_fanout_transport.h"
#include "ngx_http_fanout_hook.h"


#define NGX_HTTP_FANOUT_CLOSE_WAIT 2000    /* ms, for an answer to a close */


static void forget_work(ngx_http_fanout_session_t *s);
static void forget_subs(ngx_http_fanout_session_t *s);
static void close_connection(ngx_http_fanout_session_t *s);
static void session_free(ngx_http_fanout_session_t *s);
static void leave_handler(ngx_event_t *ev);


ngx_http_fanout_session_t *
ngx_http_fanout_session_create(ngx_http_request_t *r,
    ngx_http_fanout_hub_t *hub, ngx_http_fanout_loc_conf_t *conf,
    ngx_str_t *user)
{
    size_t                      log;
    ngx_http_cleanup_t         *cln;
    ngx_http_fanout_session_t  *s;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    log = ngx_http_fanout_eventlog_size(conf, r->connection);

    s = ngx_calloc(sizeof(ngx_http_fanout_session_t) + log + user->len,
                   r->connection->log);
    if (s == NULL) {
        return NULL;
    }

    s->access = ngx_http_fanout_access_create(r, conf->permits);
    if (s->access == NULL) {
        ngx_free(s);
        return NULL;
    }

    s->connection = r->connection;
    s->request = r;
    s->hub = hub;
    s->conf = conf;
    s->dialect = conf->dialect;
    s->transport = &ngx_http_fanout_websocket;
    s->format = conf->dialect->format;
    s->out = s->few;
    s->nout_max = 2;
    s->received_at = ngx_current_msec;
    s->tokens_at = ngx_current_msec;
    s->tokens = conf->burst * 1000;
    s->active_at = ngx_current_msec;

    s->user.data = (u_char *) (s + 1) + log;
    s->user.len = user->len;

    if (user->len) {
        ngx_memcpy(s->user.data, user->data, user->len);
    }

    ngx_http_fanout_eventlog_open(s, r->connection);

    ngx_queue_init(&s->subs);
    ngx_queue_insert_tail(&hub->sessions, &s->queue);
    hub->nsessions++;

    cln->handler = ngx_http_fanout_session_cleanup;
    cln->data = s;

    s->cleanup = cln;

    return s;
}


/* ends */

void
ngx_http_fanout_session_close(ngx_http_fanout_session_t *s, ngx_uint_t code,
    const char *reason)
{
    if (s->dead || s->state == NGX_HTTP_FANOUT_CLOSING) {
        return;
    }

    s->state = NGX_HTTP_FANOUT_CLOSING;
    s->close_code = code;
    s->close_at = ngx_current_msec + NGX_HTTP_FANOUT_CLOSE_WAIT;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, s->connection->log, 0,
                   "fanout close %ui: %s", code, reason);

    if (code == 4408) {
        s->reason = NGX_HTTP_FANOUT_LEFT_TIMEOUT;
    }

    if (*reason && code != 1012) {
        ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                      "fanout session is closed with %ui: %s", code, reason);
    }

    ngx_http_fanout_eventlog_ended(s, code, reason);

    forget_work(s);

    s->transport->close(s, code, reason);

    if (!s->dead) {
        ngx_http_fanout_session_timer(s);
    }
}


/* Its subscription is left to the end of the session: this may be called
 * while the subscribers of the channel are walked. */

void
ngx_http_fanout_session_closing(ngx_http_fanout_session_t *s)
{
    if (s->dead || s->state == NGX_HTTP_FANOUT_CLOSING) {
        return;
    }

    s->state = NGX_HTTP_FANOUT_CLOSING;
    s->close_at = ngx_current_msec + NGX_HTTP_FANOUT_CLOSE_WAIT;
    s->behind = 0;

    ngx_http_fanout_session_timer(s);
}


/* what it was subscribed to and had begun to answer */

static void
forget_work(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_session_job_done(s);
    forget_subs(s);
}


static void
forget_subs(ngx_http_fanout_session_t *s)
{
    while (!ngx_queue_empty(&s->subs)) {
        ngx_http_fanout_hub_leave(ngx_queue_data(ngx_queue_head(&s->subs),
                              ngx_http_fanout_subscription_t, in_session), 0);
    }

    s->alive = 0;
    s->behind = 0;
}


/* To the zone it is as cut; commands are those of a client elsewhere. */

void
ngx_http_fanout_session_away(ngx_http_fanout_session_t *s)
{
    forget_subs(s);
    ngx_http_fanout_session_unindex(s);

    ngx_http_fanout_identity_end(&s->hub->zone, s->identity_ref, &s->identity,
                                 s->conf->resume,
                                 NGX_HTTP_FANOUT_LEFT_NETWORK);
    ngx_http_fanout_hub_presence(s->hub);

    s->identity_ref = 0;
    s->transport = &ngx_http_fanout_websocket_away;
}


void
ngx_http_fanout_session_job_done(ngx_http_fanout_session_t *s)
{
    if (s->job == NULL) {
        return;
    }

    ngx_http_fanout_session_job_unqueue(s);

    if (s->job->messages) {
        ngx_http_fanout_frame_release(s->hub, s->job->messages);
    }

    if (s->job->key.data) {
        ngx_free(s->job->key.data);
    }

    if (s->job->ask) {
        ngx_http_fanout_ask_release(s->job->ask);
    }

    if (s->job->snapshot) {
        ngx_http_fanout_snapshot_release(s->hub, s->job->snapshot);
    }

    ngx_free(s->job);
    s->job = NULL;
}


void
ngx_http_fanout_session_job_unqueue(ngx_http_fanout_session_t *s)
{
    if (s->job->queued) {
        s->job->queued = 0;
        ngx_queue_remove(&s->job->waiting);
    }
}


void
ngx_http_fanout_session_end(ngx_http_fanout_session_t *s, ngx_uint_t how)
{
    uint8_t                 reason;
    uint32_t                linger;
    ngx_http_fanout_hub_t  *hub;

    if (s->dead) {
        return;
    }

    s->dead = 1;
    hub = s->hub;

    ngx_http_fanout_count(hub, disconnects);

    forget_work(s);

    ngx_http_fanout_eventlog_close(s);

    if (s->identity.client && s->identity_ref) {
        linger = how == NGX_HTTP_FANOUT_END_CUT ? s->conf->resume : 0;
        reason = how == NGX_HTTP_FANOUT_END_CLEAN
                 ? NGX_HTTP_FANOUT_LEFT_INTENTIONAL
                 : s->reason ? s->reason : NGX_HTTP_FANOUT_LEFT_NETWORK;

        ngx_http_fanout_identity_end(&hub->zone, s->identity_ref,
                                     &s->identity, linger, reason);
        ngx_http_fanout_hub_presence(hub);

    } else if (s->transport == &ngx_http_fanout_websocket_away
               && how == NGX_HTTP_FANOUT_END_CLEAN)
    {
        ngx_http_fanout_identity_leave(&hub->zone, &s->identity,
                                       NGX_HTTP_FANOUT_LEFT_INTENTIONAL);
        ngx_http_fanout_hub_presence(hub);
    }

    if (s->queued) {
        ngx_queue_remove(&s->flush);
        s->queued = 0;
    }

    ngx_http_fanout_session_unindex(s);
    ngx_queue_remove(&s->queue);
    hub->nsessions--;

    if (hub->nsessions == 0 && hub->leave.timer_set) {
        ngx_del_timer(&hub->leave);
    }

    ngx_http_fanout_outbox_clear(s);

    if (s->detach) {
        if (s->detach->event.timer_set) {
            ngx_del_timer(&s->detach->event);
        }

        if (s->detach->event.posted) {
            ngx_delete_posted_event(&s->detach->event);
        }

        ngx_free(s->detach);
        s->detach = NULL;
    }

    if (!s->reading) {
        (void) ngx_http_fanout_session_done(s);
    }
}


ngx_uint_t
ngx_http_fanout_session_done(ngx_http_fanout_session_t *s)
{
    s->reading = 0;

    if (!s->dead) {
        return 0;
    }

    close_connection(s);
    session_free(s);

    return 1;
}


static void
close_connection(ngx_http_fanout_session_t *s)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = s->connection;
    r = s->request;

    if (c == NULL) {
        return;
    }

    s->connection = NULL;
    s->request = NULL;

    if (r) {
        /* it may be logged when the session is no more */
        ngx_http_set_ctx(r, NULL, ngx_http_fanout_module);

        r->keepalive = 0;
        r->read_event_handler = ngx_http_block_reading;
        r->write_event_handler = ngx_http_request_empty_handler;

        if (s->finish && s->stream) {
            ngx_http_finalize_request(r,
                                 ngx_http_send_special(r, NGX_HTTP_LAST));
            ngx_http_run_posted_requests(c);
            return;
        }

        /* what ends the request may have to be run by an event of it */
        ngx_post_event(c->write, &ngx_posted_events);
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ngx_http_close_connection(c);
}


static void
session_free(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_access_release(s->access);
    ngx_http_fanout_eventlog_free(s);

    if (s->message) {
        ngx_free(s->message);
    }

    if (s->input) {
        ngx_free(s->input);
    }

    if (s->ws.control) {
        ngx_free(s->ws.control);
    }

    if (s->batch) {
        s->dialect->close(s);
    }

    if (s->channel.data) {
        ngx_free(s->channel.data);
    }

    if (s->info.data) {
        ngx_free(s->info.data);
    }

    ngx_free(s);
}


void
ngx_http_fanout_session_drain(ngx_http_fanout_hub_t *hub)
{
    ngx_msec_t                  longest;
    ngx_queue_t                *q;
    ngx_http_fanout_session_t  *s;

    if (hub->draining) {
        return;
    }

    hub->draining = 1;
    hub->drain_at = ngx_current_msec;
    hub->return_in = hub->nsessions * NGX_HTTP_FANOUT_RETURN;
    longest = 0;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_http_fanout_session_t, queue);

        if (s->connection == NULL || s->dead) {
            continue;
        }

        s->draining = 1;

        if (s->state == NGX_HTTP_FANOUT_OPEN) {
            s->close_at = ngx_current_msec
                          + (s->conf->drain
                             ? (ngx_msec_t) ngx_random() % s->conf->drain
                             : 0);
        }

        longest = ngx_max(longest, s->conf->drain);
        ngx_http_fanout_session_timer(s);
    }

    if (hub->nsessions) {
        /* the only timer that keeps the process */
        hub->leave.handler = leave_handler;
        hub->leave.data = hub;
        ngx_add_timer(&hub->leave,
                      longest + 2 * NGX_HTTP_FANOUT_CLOSE_WAIT);
    }
}


static void
leave_handler(ngx_event_t *ev)
{
    ngx_queue_t                *q, *next;
    ngx_http_fanout_hub_t      *hub;
    ngx_http_fanout_session_t  *s;

    hub = ev->data;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = next)
    {
        next = ngx_queue_next(q);
        s = ngx_queue_data(q, ngx_http_fanout_session_t, queue);

        ngx_http_fanout_eventlog_ended(s, 1006, "shutdown");
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
    }
}
