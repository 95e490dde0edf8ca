
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


#include "session/session.h"
#include "session/transport.h"


/* in units of FANOUT_WORK_*: a turn is some 2 ms */
#define FANOUT_WORK_TURN  1048576


/* ms, again and again: a timer keeps a worker that is shutting down */
#define FANOUT_KEEP       1000


static void turn_handler(ngx_event_t *ev);
static void run_session(fanout_hub_t *hub);
static void run_task(fanout_hub_t *hub);
static void step(fanout_session_t *s);
static void outbox_fetch(fanout_session_t *s);


void
fanout_turn_init(fanout_hub_t *hub, ngx_log_t *log)
{
    ngx_queue_init(&hub->work);
    ngx_queue_init(&hub->tasks);

    hub->turns = FANOUT_RESTED;
    hub->turn_end = FANOUT_WORK_TURN;

    hub->turn.handler = turn_handler;
    hub->turn.data = hub;
    hub->turn.log = log;
}


void
fanout_turn_run(fanout_hub_t *hub)
{
    ngx_uint_t  more;

    if (hub->in_work) {
        return;
    }

    hub->in_work = 1;

    for ( ;; ) {
        more = !(ngx_queue_empty(&hub->work) && ngx_queue_empty(&hub->tasks));

        if (!more || hub->spent >= hub->turn_end) {
            break;
        }

        run_session(hub);
        run_task(hub);
    }

    hub->in_work = 0;

    if (more) {
        ngx_post_event(&hub->turn, &ngx_posted_next_events);

        if (!hub->turn.timer_set) {
            ngx_add_timer(&hub->turn, FANOUT_KEEP);
        }

    } else if (hub->turn.timer_set) {
        ngx_del_timer(&hub->turn);
    }
}


static void
run_session(fanout_hub_t *hub)
{
    fanout_session_t  *s;

    if (ngx_queue_empty(&hub->work)) {
        return;
    }

    s = ngx_queue_data(ngx_queue_head(&hub->work), fanout_session_t, work);

    fanout_session_rest(s);
    step(s);
}


static void
run_task(fanout_hub_t *hub)
{
    fanout_task_t  *task;

    if (ngx_queue_empty(&hub->tasks)) {
        return;
    }

    task = ngx_queue_data(ngx_queue_head(&hub->tasks), fanout_task_t, queue);

    fanout_task_remove(task);
    fanout_step(hub);

    task->handler(task->data);
}


/* Sockets were polled: continues the work. */

static void
turn_handler(ngx_event_t *ev)
{
    fanout_hub_t  *hub;

    hub = ev->data;

    hub->turns++;
    hub->turn_end = hub->spent + FANOUT_WORK_TURN;

    hub->in_turn = 1;
    fanout_session_flush(hub);
    hub->in_turn = 0;
}


static void
step(fanout_session_t *s)
{
    uint64_t       before;
    fanout_hub_t  *hub;

    hub = s->hub;

    if (s->transport->resume) {
        fanout_step_begin(s);
        s->transport->resume(s);
        return;
    }

    before = hub->spent;
    fanout_step_begin(s);

    if (s->unread) {
        fanout_session_read_now(s);

    } else {
        fanout_session_input(s);
    }

    if (!s->blocked) {
        /* otherwise it continues with its socket */

        fanout_session_catch_up(s);
    }

    fanout_hub_denials(hub);

    if (!s->blocked) {
        fanout_outbox_send(s);
    }

    fanout_step_end(s, before);
}


void
fanout_session_flush(fanout_hub_t *hub)
{
    ngx_queue_t       *q, now;
    fanout_session_t  *s;

    if (ngx_queue_empty(&hub->flush)) {
        fanout_turn_run(hub);
        fanout_session_shed(hub);
        return;
    }

    /* sessions queued meanwhile wait for the next turn */

    ngx_queue_init(&now);
    ngx_queue_add(&now, &hub->flush);
    ngx_queue_init(&hub->flush);

    while (!ngx_queue_empty(&now)) {
        q = ngx_queue_head(&now);
        s = ngx_queue_data(q, fanout_session_t, flush);

        if (ngx_queue_next(q) != ngx_queue_sentinel(&now)) {
            outbox_fetch(ngx_queue_data(ngx_queue_next(q),
                                        fanout_session_t, flush));
        }

        ngx_queue_remove(q);
        s->queued = 0;

        fanout_hub_denials(hub);

        if (!s->blocked) {
            fanout_outbox_send(s);
        }
    }

    fanout_turn_run(hub);
    fanout_session_shed(hub);

    if (!ngx_queue_empty(&hub->flush)) {
        ngx_post_event(&hub->drain, &ngx_posted_next_events);
    }
}


/* prefetches what a send needs */

static void
outbox_fetch(fanout_session_t *s)
{
    __builtin_prefetch((u_char *) s->connection);
    __builtin_prefetch((u_char *) s->connection + 64);
    __builtin_prefetch(ngx_queue_next(&s->flush));
}
