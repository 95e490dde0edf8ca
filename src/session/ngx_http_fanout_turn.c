
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The turns of a worker: how the work of sessions interleaves.
 *
 * Reading the log for a session, composing and compressing what it asked for,
 * and commands that have to wait are work.  A session does it in steps, taken
 * in turn by all sessions that have some; a turn of the worker has room for
 * many steps, and then the sockets are looked at again.
 */


#include "ngx_http_fanout_session.h"
#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_transport.h"


/* in units of NGX_HTTP_FANOUT_WORK_*: a turn is some 2 ms */
#define NGX_HTTP_FANOUT_WORK_TURN  1048576
#define NGX_HTTP_FANOUT_WORK_STEP  65536

/* a session that needed less has not worked */
#define NGX_HTTP_FANOUT_LITTLE     4096

/* turns without work after which a session is read at once again */
#define NGX_HTTP_FANOUT_RESTED     4


static void turn_handler(ngx_event_t *ev);
static void step(ngx_http_fanout_session_t *s);


void
ngx_http_fanout_turn_init(ngx_http_fanout_hub_t *hub, ngx_log_t *log)
{
    ngx_queue_init(&hub->work);

    hub->turns = NGX_HTTP_FANOUT_RESTED;
    hub->turn_end = NGX_HTTP_FANOUT_WORK_TURN;

    hub->turn.handler = turn_handler;
    hub->turn.data = hub;
    hub->turn.log = log;
}


void
ngx_http_fanout_session_work(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_hub_t  *hub;

    if (s->state == NGX_HTTP_FANOUT_ENDED || s->works) {
        return;
    }

    hub = s->hub;

    s->works = 1;
    ngx_queue_insert_tail(&hub->work, &s->work);

    if (!hub->in_turn && !hub->in_work) {
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }
}


void
ngx_http_fanout_session_rest(ngx_http_fanout_session_t *s)
{
    if (s->works) {
        s->works = 0;
        ngx_queue_remove(&s->work);
    }
}


void
ngx_http_fanout_turn_run(ngx_http_fanout_hub_t *hub)
{
    ngx_queue_t                *q;
    ngx_http_fanout_session_t  *s;

    if (hub->in_work) {
        return;
    }

    hub->in_work = 1;

    while (!ngx_queue_empty(&hub->work) && hub->spent < hub->turn_end) {
        q = ngx_queue_head(&hub->work);
        s = ngx_queue_data(q, ngx_http_fanout_session_t, work);

        ngx_http_fanout_session_rest(s);
        step(s);
    }

    hub->in_work = 0;

    if (!ngx_queue_empty(&hub->work)) {
        ngx_post_event(&hub->turn, &ngx_posted_next_events);
    }
}


/* The sockets were looked at: there is time for work again. */

static void
turn_handler(ngx_event_t *ev)
{
    ngx_http_fanout_hub_t  *hub;

    hub = ev->data;

    hub->turns++;
    hub->turn_end = hub->spent + NGX_HTTP_FANOUT_WORK_TURN;

    hub->in_turn = 1;
    ngx_http_fanout_session_flush(hub);
    hub->in_turn = 0;
}


static void
step(ngx_http_fanout_session_t *s)
{
    uint64_t                before;
    ngx_http_fanout_hub_t  *hub;

    hub = s->hub;

    if (s->transport->resume) {
        ngx_http_fanout_step_begin(s);
        s->transport->resume(s);
        return;
    }

    before = hub->spent;
    ngx_http_fanout_step_begin(s);

    if (s->unread) {
        ngx_http_fanout_session_read_now(s);

    } else {
        ngx_http_fanout_session_input(s);
    }

    if (!s->blocked && s->state != NGX_HTTP_FANOUT_ENDED) {
        /* else it goes on with its socket */

        ngx_http_fanout_session_catch_up(s);
    }

    if (!s->blocked && s->state != NGX_HTTP_FANOUT_ENDED) {
        ngx_http_fanout_outbox_send(s);
    }

    ngx_http_fanout_step_end(s, before);
}


void
ngx_http_fanout_step_begin(ngx_http_fanout_session_t *s)
{
    s->hub->step_end = s->hub->spent + NGX_HTTP_FANOUT_WORK_STEP;
}


void
ngx_http_fanout_step_end(ngx_http_fanout_session_t *s, uint64_t before)
{
    if (s->hub->spent - before >= NGX_HTTP_FANOUT_LITTLE) {
        s->worked = s->hub->turns;
    }
}


ngx_uint_t
ngx_http_fanout_session_early(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_hub_t  *hub;

    hub = s->hub;

    return hub->spent >= hub->turn_end
           && hub->turns - s->worked < NGX_HTTP_FANOUT_RESTED;
}
