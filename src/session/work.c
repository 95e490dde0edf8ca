
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What waits for a turn of the worker: sessions with work or with output, and
 * tasks.
 */


#include "session/session.h"


/* in units of FANOUT_WORK_* */
#define FANOUT_WORK_STEP  65536

/* a session that needed less has not worked */
#define FANOUT_LITTLE     4096


static void awake(fanout_hub_t *hub);


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


ngx_uint_t
fanout_session_early(fanout_session_t *s)
{
    fanout_hub_t  *hub;

    hub = s->hub;

    return hub->spent >= hub->turn_end
           && hub->turns - s->worked < FANOUT_RESTED;
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


/* Puts it among those whose output goes at the end of the turn. */

void
fanout_outbox_queue(fanout_session_t *s)
{
    if (!s->queued && s->state != FANOUT_ENDED) {
        s->queued = 1;
        ngx_queue_insert_tail(&s->hub->flush, &s->flush);

        if (!s->hub->in_turn) {
            ngx_post_event(&s->hub->drain, &ngx_posted_events);
        }
    }
}
