
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The main loop of a worker.  An eventfd wakes it, or a timer four times a
 * second: it reads the log and delivers, obeys orders of other workers, and
 * sends the output of all sessions.
 */


#include "worker/worker.h"
#include "session/session.h"
#include "session/compress.h"
#include "hub/replay.h"
#include "hub/record_pages.h"
#include "hub/roster.h"


#define FANOUT_TICK     250                 /* ms */
#define FANOUT_SWEEP    4                   /* ms of it in a turn */


static void loop_events(fanout_hub_t *hub, ngx_log_t *log);
static ngx_int_t loop_listen(fanout_hub_t *hub, ngx_cycle_t *cycle);
static void loop_slot(fanout_hub_t *hub);
static void give_slot_back(fanout_hub_t *hub);
static void wake_handler(ngx_event_t *ev);
static void drain_handler(ngx_event_t *ev);
static void tick_handler(ngx_event_t *ev);
static void sweep_handler(ngx_event_t *ev);
static void presence_handler(ngx_event_t *ev);
static void loop_turn(fanout_hub_t *hub);
static void loop_counts(fanout_hub_t *hub);
static ngx_uint_t loop_reap(fanout_hub_t *hub);


ngx_int_t
fanout_loop_init(fanout_hub_t *hub, ngx_cycle_t *cycle)
{
    loop_events(hub, cycle->log);

    ngx_add_timer(&hub->tick, FANOUT_TICK);

    return loop_listen(hub, cycle);
}


static void
loop_events(fanout_hub_t *hub, ngx_log_t *log)
{
    hub->drain.handler = drain_handler;
    hub->drain.data = hub;
    hub->drain.log = log;

    hub->reaper.handler = fanout_session_reap;
    hub->reaper.data = hub;
    hub->reaper.log = log;

    hub->tick.handler = tick_handler;
    hub->tick.data = hub;
    hub->tick.log = log;
    hub->tick.cancelable = 1;

    hub->sweep.handler = sweep_handler;
    hub->sweep.data = hub;
    hub->sweep.log = log;

    hub->presence.handler = presence_handler;
    hub->presence.data = hub;
    hub->presence.log = log;
    hub->presence.cancelable = 1;

    hub->leave.log = log;

    fanout_turn_init(hub, log);

    hub->pace.handler = fanout_signals_handler;
    hub->pace.data = hub;
    hub->pace.log = log;
    hub->pace.cancelable = 1;
}


static ngx_int_t
loop_listen(fanout_hub_t *hub, ngx_cycle_t *cycle)
{
    int                fd;
    ngx_int_t          flags;
    ngx_connection_t  *c;

    fd = fanout_slot_eventfd(&hub->zone);

    if (fd == -1 || hub->wake) {
        return NGX_OK;
    }

    c = ngx_get_connection(fd, cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = hub;
    c->read->handler = wake_handler;
    c->read->log = cycle->log;
    c->write->log = cycle->log;

    /* not a client: a shutdown does not close it */
    c->read->channel = 1;
    c->write->channel = 1;

    flags = (ngx_event_flags & NGX_USE_CLEAR_EVENT) ? NGX_CLEAR_EVENT
                                                    : NGX_LEVEL_EVENT;

    if (ngx_add_event(c->read, NGX_READ_EVENT, flags) != NGX_OK) {
        ngx_free_connection(c);
        return NGX_ERROR;
    }

    hub->wake = c;

    return NGX_OK;
}


/* A worker that is shutting down may live for as long as other traffic keeps
 * it: it gives its slot back once its last session is gone. */

static void
loop_slot(fanout_hub_t *hub)
{
    if (hub->draining && hub->nsessions == 0 && hub->calls == 0
        && ngx_queue_empty(&hub->ended))
    {
        give_slot_back(hub);
        return;
    }

    if (fanout_hub_slot(hub) && hub->wake == NULL
        && ngx_cycle->free_connection_n)
    {
        /* otherwise it is tried again, four times a second */
        (void) loop_listen(hub, (ngx_cycle_t *) ngx_cycle);
    }
}


static void
give_slot_back(fanout_hub_t *hub)
{
    ngx_connection_t  *c;

    if (hub->zone.heap.slot == -1) {
        return;
    }

    c = hub->wake;

    if (c) {
        /* the eventfd stays: it is the slot's */
        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);

        if (c->read->posted) {
            ngx_delete_posted_event(c->read);
        }

        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
        hub->wake = NULL;
    }

    fanout_slot_release(&hub->zone);
    hub->counters = fanout_slot_counters(&hub->zone);
}


static void
wake_handler(ngx_event_t *ev)
{
    uint64_t           n;
    fanout_hub_t      *hub;
    ngx_connection_t  *c;

    c = ev->data;
    hub = c->data;

    if (!(ngx_event_flags & NGX_USE_CLEAR_EVENT)) {
        (void) !read(c->fd, &n, sizeof(uint64_t));
    }

    fanout_count(hub, wakes);
    ngx_post_event(&hub->drain, &ngx_posted_events);
}


static void
drain_handler(ngx_event_t *ev)
{
    loop_turn(ev->data);
}


static void
loop_turn(fanout_hub_t *hub)
{
    hub->in_turn = 1;
    fanout_hub_denials(hub);

    if (fanout_hub_drain(hub) == FANOUT_ZONE_AGAIN) {
        ngx_post_event(&hub->drain, &ngx_posted_next_events);
    }

    if (hub->zone.heap.incarnation != hub->incarnation) {
        fanout_worker_rebuilt(hub);
    }

    fanout_worker_orders(hub);
    fanout_roster_work(hub);
    fanout_session_flush(hub);
    loop_counts(hub);

    hub->in_turn = 0;

    if (hub->after) {
        ngx_post_event(hub->after, &ngx_posted_events);
    }

    if (!ngx_queue_empty(&hub->active)) {
        /* sending and reading on have queued rosters */
        ngx_post_event(&hub->drain, &ngx_posted_next_events);
    }
}


static void
loop_counts(fanout_hub_t *hub)
{
    ngx_queue_t       *q;
    fanout_channel_t  *ch;

    while (!ngx_queue_empty(&hub->counted)) {
        q = ngx_queue_head(&hub->counted);
        ch = ngx_queue_data(q, fanout_channel_t, counted);

        ngx_queue_remove(q);
        ch->reported = 1;

        fanout_channel_subscribers(&hub->zone, &ch->zc, ch->nsubs);
    }
}


static void
tick_handler(ngx_event_t *ev)
{
    fanout_hub_t  *hub;

    hub = ev->data;

    if (ngx_exiting && !hub->draining) {
        fanout_session_drain(hub);
    }

    loop_slot(hub);

    if (++hub->ticks % 4 == 0) {
        hub->reap = 1;

        fanout_hub_vitals(hub);
        fanout_replay_expire(hub);
        fanout_compress_expire(hub, 0);
        fanout_session_log_gathered(0);
        fanout_roster_expire(hub);
        fanout_record_pages_expire(hub);
    }

    if (hub->zone.heap.recoveries) {
        ngx_log_error(NGX_LOG_NOTICE, ev->log, 0,
                      "fanout zone \"%V\": rolled back an unfinished change of "
                      "a dead worker", &hub->app->name);
        hub->zone.heap.recoveries = 0;
    }

    if (!hub->sweep.posted) {
        sweep_handler(&hub->sweep);
    }

    presence_handler(&hub->presence);

    loop_turn(hub);

    ngx_add_timer(&hub->tick, FANOUT_TICK);
}


/* Handles what is due in the zone for some ms, and the rest in later turns:
 * clients are served between them. */

static void
sweep_handler(ngx_event_t *ev)
{
    ngx_uint_t       more;
    fanout_hub_t    *hub;
    struct timespec  start, now;

    hub = ev->data;
    clock_gettime(CLOCK_MONOTONIC, &start);

    do {
        more = loop_reap(hub);

        if (fanout_zone_touch(&hub->zone)
            == FANOUT_ZONE_AGAIN)
        {
            more = 1;
        }

        if (fanout_zone_sweep(&hub->zone)
            == FANOUT_ZONE_AGAIN)
        {
            more = 1;
        }

        clock_gettime(CLOCK_MONOTONIC, &now);

    } while (more
             && (now.tv_sec - start.tv_sec) * 1000
                + (now.tv_nsec - start.tv_nsec) / 1000000
                < FANOUT_SWEEP);

    fanout_hub_presence(hub);

    if (more) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


/* Cleans up after dead workers, if it is time to look; whether there is more
 * to do. */

static ngx_uint_t
loop_reap(fanout_hub_t *hub)
{
    int  more;

    if (!hub->reap) {
        return 0;
    }

    if (fanout_slot_reap(&hub->zone, hub->app->resume, &more)) {
        ngx_log_error(NGX_LOG_NOTICE, hub->sweep.log, 0,
                      "fanout zone \"%V\": cleaned up after a dead worker",
                      &hub->app->name);
    }

    hub->reap = more;

    return more;
}


static void
presence_handler(ngx_event_t *ev)
{
    uint32_t       ms;
    fanout_hub_t  *hub;

    hub = ev->data;

    ms = fanout_presence_flush(&hub->zone);

    fanout_hub_kick(hub);

    if (ms == 0) {
        /* more is due: continues after other events */
        ngx_post_event(ev, &ngx_posted_next_events);

    } else if (ms != UINT32_MAX) {
        ngx_add_timer(ev, ms);
    }
}
