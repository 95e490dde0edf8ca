
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
#define FANOUT_WORK_STEP  65536

/* a session that needed less has not worked */
#define FANOUT_LITTLE     4096

/* turns without work after which a session is read at once again */
#define FANOUT_RESTED     4


/* ms, again and again: a timer keeps a worker that is shutting down */
#define FANOUT_KEEP       1000


static void turn_handler(ngx_event_t *ev);
static void awake(fanout_hub_t *hub);
static void run_session(fanout_hub_t *hub);
static void run_task(fanout_hub_t *hub);
static void step(fanout_session_t *s);


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
fanout_session_work(fanout_session_t *s)
{
    fanout_hub_t  *hub;

    if (s->state == FANOUT_ENDED || s->works) {
        return;
    }

    hub = s->hub;

    s->works = 1;
    ngx_queue_insert_tail(&hub->work, &s->work);

    awake(hub);
}


static void
awake(fanout_hub_t *hub)
{
    if (!hub->in_turn && !hub->in_work) {
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }
}


void
fanout_task_add(fanout_hub_t *hub, fanout_task_t *task)
{
    if (!task->queued) {
        task->queued = 1;
        ngx_queue_insert_tail(&hub->tasks, &task->queue);

        awake(hub);
    }
}


void
fanout_task_remove(fanout_task_t *task)
{
    if (task->queued) {
        task->queued = 0;
        ngx_queue_remove(&task->queue);
    }
}


void
fanout_session_rest(fanout_session_t *s)
{
    if (s->works) {
        s->works = 0;
        ngx_queue_remove(&s->work);
    }
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

    if (!s->blocked) {
        fanout_outbox_send(s);
    }

    fanout_step_end(s, before);
}


void
fanout_step_begin(fanout_session_t *s)
{
    fanout_step(s->hub);
}


void
fanout_step(fanout_hub_t *hub)
{
    hub->step_end = hub->spent + FANOUT_WORK_STEP;
}


void
fanout_step_end(fanout_session_t *s, uint64_t before)
{
    if (s->hub->spent - before >= FANOUT_LITTLE) {
        s->worked = s->hub->turns;
    }
}


ngx_uint_t
fanout_session_early(fanout_session_t *s)
{
    fanout_hub_t  *hub;

    hub = s->hub;

    return hub->spent >= hub->turn_end
           && hub->turns - s->worked < FANOUT_RESTED;
}
