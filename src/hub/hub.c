
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The hub of a worker: its handle of the zone, its clock, and how it reads the
 * log.
 */


#include "session/session.h"
#include "base/pattern.h"
#include "session/compress.h"
#include "hub/replay.h"
#include "hub/roster.h"


#define FANOUT_TICK     250                 /* ms */
#define FANOUT_SWEEP    4                   /* ms of it in a turn */
#define FANOUT_TURN     1024                /* entries drained in a turn */
#define FANOUT_ARENA    262144              /* and their bytes */


static ngx_int_t attach(fanout_hub_t *hub, ngx_cycle_t *cycle);
static void lists_init(fanout_hub_t *hub);
static void claim(fanout_hub_t *hub, ngx_cycle_t *cycle);
static void classes(fanout_hub_t *hub);
static void events_init(fanout_hub_t *hub, ngx_log_t *log);
static ngx_int_t wake_up_by(fanout_hub_t *hub, ngx_cycle_t *cycle);
static void close_sockets(fanout_hub_t *hub);
static void settle_slot(fanout_hub_t *hub);
static void give_slot_back(fanout_hub_t *hub);
static void wake_handler(ngx_event_t *ev);
static void drain_handler(ngx_event_t *ev);
static void tell_latency(fanout_hub_t *hub, fanout_arena_t *a);
static void read_log(fanout_hub_t *hub);
static void tick_handler(ngx_event_t *ev);
static void sweep_handler(ngx_event_t *ev);
static ngx_uint_t reap(fanout_hub_t *hub);
static void restore(fanout_hub_t *hub, ngx_uint_t members);
static void tell_counts(fanout_hub_t *hub);
static ngx_int_t arena_init(fanout_arena_t *a, ngx_uint_t entries,
    size_t bytes);
static int arena_grow(fanout_arena_t *a, size_t n);


ngx_int_t
fanout_hub_init(fanout_app_t *app, ngx_cycle_t *cycle)
{
    fanout_hub_t  *hub;

    hub = ngx_calloc(sizeof(fanout_hub_t), cycle->log);
    if (hub == NULL) {
        return NGX_ERROR;
    }

    hub->app = app;

    if (attach(hub, cycle) != NGX_OK) {
        ngx_free(hub);
        return NGX_ERROR;
    }

    if (arena_init(&hub->arena, FANOUT_TURN, FANOUT_ARENA)
        != NGX_OK
        || arena_init(&hub->pages, FANOUT_ZONE_ENTRIES, 65536)
           != NGX_OK
        || arena_init(&hub->letter, 1, 4096) != NGX_OK)
    {
        return NGX_ERROR;
    }

    lists_init(hub);
    claim(hub, cycle);

    hub->counters = fanout_slot_counters(&hub->zone);
    hub->incarnation = hub->zone.heap.incarnation;

    classes(hub);
    events_init(hub, cycle->log);

    ngx_add_timer(&hub->tick, FANOUT_TICK);

    if (wake_up_by(hub, cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    fanout_hub_vitals(hub);

    app->hub = hub;

    return NGX_OK;
}


static ngx_int_t
attach(fanout_hub_t *hub, ngx_cycle_t *cycle)
{
    size_t            size;
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) hub->app->shm_zone->shm.addr;
    size = shpool->end - (u_char *) shpool->data;

    if (fanout_zone_attach(&hub->zone, shpool->data, size)
        != FANOUT_ZONE_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "fanout zone \"%V\" has another layout",
                      &hub->app->name);
        return NGX_ERROR;
    }

    fanout_zone_configure(&hub->zone, hub->app->generation, &hub->app->conf);

    return NGX_OK;
}


static void
lists_init(fanout_hub_t *hub)
{
    ngx_rbtree_init(&hub->names, &hub->sentinel, ngx_str_rbtree_insert_value);
    ngx_queue_init(&hub->counted);
    ngx_queue_init(&hub->sessions);
    ngx_queue_init(&hub->flush);
    ngx_queue_init(&hub->ended);
    ngx_queue_init(&hub->rosters);
    ngx_queue_init(&hub->active);
    ngx_queue_init(&hub->every);
    ngx_queue_init(&hub->stuck);
    ngx_rbtree_init(&hub->clients, &hub->sentinel, fanout_index_insert);
    ngx_rbtree_init(&hub->users, &hub->sentinel, fanout_index_insert);
}


static void
claim(fanout_hub_t *hub, ngx_cycle_t *cycle)
{
    if (fanout_slot_claim(&hub->zone, ngx_pid)
        == FANOUT_ZONE_OK)
    {
        return;
    }

    /* the slots of dead workers may not be cleaned up yet */

    (void) fanout_slot_reap(&hub->zone, hub->app->resume, NULL);

    if (fanout_slot_claim(&hub->zone, ngx_pid)
        != FANOUT_ZONE_OK)
    {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "no free worker slot in fanout zone \"%V\", "
                      "it serves no subscribers in this worker yet; "
                      "increase \"slots=\"", &hub->app->name);
    }
}


/* of channels, one for each policy, and what they may take */

static void
classes(fanout_hub_t *hub)
{
    ngx_uint_t             i;
    fanout_app_t          *app;
    fanout_policy_t       *policy;
    fanout_zone_shares_t   shares;

    app = hub->app;
    policy = app->policies.elts;

    for (i = 0; i < app->policies.nelts; i++) {
        policy[i].keep.class = fanout_zone_class(&hub->zone,
                                     policy[i].text.data, policy[i].text.len);
    }

    app->none.keep.class = fanout_zone_class(&hub->zone,
                                             (u_char *) "", 0);

    fanout_shares(app, &shares);
    fanout_zone_bound(&hub->zone, &shares);
}


static void
events_init(fanout_hub_t *hub, ngx_log_t *log)
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

    hub->presence.handler = fanout_hub_presence_handler;
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
wake_up_by(fanout_hub_t *hub, ngx_cycle_t *cycle)
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

    /* it is no client: left alone by a shutdown */
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


ngx_uint_t
fanout_hub_slot(fanout_hub_t *hub)
{
    if (hub->zone.heap.slot == -1) {

        if (fanout_slot_claim(&hub->zone, ngx_pid)
            != FANOUT_ZONE_OK)
        {
            return 0;
        }

        hub->counters = fanout_slot_counters(&hub->zone);
    }

    return 1;
}


/* A worker that is shutting down may live for as long as other traffic keeps
 * it: it gives its slot back once its last session is gone. */

static void
settle_slot(fanout_hub_t *hub)
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
        /* else it is tried again, four times a second */
        (void) wake_up_by(hub, (ngx_cycle_t *) ngx_cycle);
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


void
fanout_hub_exit(fanout_app_t *app)
{
    ngx_queue_t       *q;
    fanout_hub_t      *hub;
    fanout_session_t  *s;

    hub = app->hub;

    if (hub == NULL) {
        return;
    }

    /* a worker that is told to exit at once: its clients may come back */

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, fanout_session_t, queue);

        if (s->state == FANOUT_ENDED) {
            /* it leaves its channels */
            fanout_eventlog_close(s);
            continue;
        }

        fanout_eventlog_ended(s, 1006, "shutdown");
        fanout_eventlog_close(s);

        fanout_identity_end(&hub->zone, s->identity_ref, &s->identity,
                            s->conf->resume, s->heard || s->resumed,
                            FANOUT_LEFT_NETWORK);
    }

    while (fanout_presence_flush(&hub->zone) == 0) { /* void */ }

    fanout_slot_release(&hub->zone);

    close_sockets(hub);
}


/* NGINX logs an alert for each that is open when a worker that was shutting
 * down is told to exit at once. */

static void
close_sockets(fanout_hub_t *hub)
{
    ngx_queue_t       *q;
    fanout_session_t  *s;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, fanout_session_t, queue);

        if (s->connection && s->connection->fd != (ngx_socket_t) -1
            && (s->request == NULL
                || s->request->http_version < NGX_HTTP_VERSION_20))
        {
            ngx_close_connection(s->connection);
        }
    }
}


void
fanout_hub_kick(fanout_hub_t *hub)
{
    if (hub->zone.heap.self_woken) {
        hub->zone.heap.self_woken = 0;
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }
}


/* reading */

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
    read_log(ev->data);
}


int
fanout_hub_drain(fanout_hub_t *hub)
{
    int              rc;
    uint32_t         n;
    fanout_arena_t  *a;

    a = &hub->arena;
    a->n = 0;
    a->used = 0;

    fanout_count(hub, turns);

    do {
        /* a large entry is read only when nothing was read before */
        n = a->n;
        rc = fanout_log_drain(&hub->zone, a);

    } while (rc == FANOUT_ZONE_AGAIN && a->n > n
             && a->n + FANOUT_ZONE_ENTRIES < a->max
             && a->used + 2 * FANOUT_ZONE_COPY < a->size
             && a->size <= FANOUT_ARENA);

    hub->zone.heap.self_woken = 0;
    hub->whole = (rc == FANOUT_ZONE_OK);

    if (a->n) {
        tell_latency(hub, a);
        fanout_deliver(hub, a->entries, a->n);
    }

    if (a->size > FANOUT_ARENA) {
        /* grown for one large entry */
        ngx_free(a->bytes);
        a->bytes = NULL;
        a->size = 0;
        (void) arena_grow(a, FANOUT_ARENA);
    }

    return rc;
}


/* How old entries are when they are read.  The times are those of the last look
 * at the clock by the publisher and by this worker. */

static void
tell_latency(fanout_hub_t *hub, fanout_arena_t *a)
{
    uint32_t     i;
    uint64_t     now, age;
    ngx_uint_t   k;
    ngx_time_t  *tp;

#define FANOUT_BOUND(ms)  ms,
    static const uint16_t  bounds[] = {
        FANOUT_LATENCIES(FANOUT_BOUND)
    };
#undef FANOUT_BOUND

    tp = ngx_timeofday();
    now = (uint64_t) tp->sec * 1000 + tp->msec;

    for (i = 0; i < a->n; i++) {

        if (a->entries[i].time == 0) {
            continue;
        }

        age = now > a->entries[i].time ? now - a->entries[i].time : 0;

        for (k = 0; k < FANOUT_NLATENCIES && age > bounds[k]; k++) {
            /* void */
        }

        hub->vitals.latencies[k]++;
        hub->vitals.latency += age;
        hub->lag = ngx_max(hub->lag, age);
    }
}


static void
read_log(fanout_hub_t *hub)
{
    hub->in_turn = 1;

    if (fanout_hub_drain(hub) == FANOUT_ZONE_AGAIN) {
        ngx_post_event(&hub->drain, &ngx_posted_next_events);
    }

    if (hub->zone.heap.incarnation != hub->incarnation) {
        fanout_hub_rebuilt(hub);
    }

    fanout_hub_orders(hub);
    fanout_roster_work(hub);
    fanout_session_flush(hub);
    tell_counts(hub);

    hub->in_turn = 0;

    if (hub->after) {
        ngx_post_event(hub->after, &ngx_posted_events);
    }

    if (!ngx_queue_empty(&hub->active)) {
        /* by what was sent and read on */
        ngx_post_event(&hub->drain, &ngx_posted_next_events);
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

    settle_slot(hub);

    if (++hub->ticks % 4 == 0) {
        hub->reap = 1;

        fanout_hub_vitals(hub);
        fanout_replay_expire(hub);
        fanout_compress_expire(hub, 0);
        fanout_eventlog_gathered(0);
        fanout_roster_expire(hub);
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

    fanout_hub_presence_handler(&hub->presence);

    read_log(hub);

    ngx_add_timer(&hub->tick, FANOUT_TICK);
}


/* What is due in the zone, for some ms; the rest in the next turns, behind
 * what clients want meanwhile. */

static void
sweep_handler(ngx_event_t *ev)
{
    ngx_uint_t       more;
    fanout_hub_t    *hub;
    struct timespec  start, now;

    hub = ev->data;
    clock_gettime(CLOCK_MONOTONIC, &start);

    do {
        more = reap(hub);

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
reap(fanout_hub_t *hub)
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


/* The zone lost everything: what lives here registers again, subscribers are
 * told. */

void
fanout_hub_rebuilt(fanout_hub_t *hub)
{
    ngx_uint_t          i;
    fanout_entry_t      e;
    fanout_channel_t   *ch;
    fanout_zone_join_t  j;

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                  "fanout zone \"%V\" was rebuilt empty after it was found "
                  "damaged", &hub->app->name);

    hub->incarnation = hub->zone.heap.incarnation;
    hub->whole = 0;

    restore(hub, 0);

    for (i = 0; i < hub->nchannels; i++) {
        ch = hub->channels[i];

        if (ch
            && fanout_channel_open(&hub->zone, &ch->zc, ch->local)
               == FANOUT_ZONE_OK)
        {
            fanout_hub_counted(hub, ch);
        }
    }

    /* members come back by the log, under the new epoch */

    restore(hub, 1);

    for (i = 0; i < hub->nchannels; i++) {
        ch = hub->channels[i];

        if (ch == NULL
            || fanout_log_join(&hub->zone, &ch->zc, 0, 0, 0, 0, &j)
               != FANOUT_ZONE_OK)
        {
            continue;
        }

        ngx_memzero(&e, sizeof(fanout_entry_t));

        e.type = FANOUT_RESET;
        e.kind = FANOUT_TEXT;
        e.epoch = j.epoch;
        e.local = ch->local;
        e.seq = UINT64_MAX;
        e.data.data = (u_char *) "rebuilt";
        e.data.len = sizeof("rebuilt") - 1;

        fanout_deliver(hub, &e, 1);

        ch->offset = j.offset;
        ch->seq = j.seq;
        ch->opened = j.seq;

        if (ch->roster) {
            fanout_roster_restart(hub, ch->roster, j.offset);
        }
    }

    fanout_hub_presence(hub);
}


static void
restore(fanout_hub_t *hub, ngx_uint_t members)
{
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        fanout_hub_restore(ngx_queue_data(q,
                                        fanout_session_t, queue),
                           members);
    }
}


static void
tell_counts(fanout_hub_t *hub)
{
    ngx_queue_t       *q;
    fanout_channel_t  *ch;

    while (!ngx_queue_empty(&hub->counted)) {
        q = ngx_queue_head(&hub->counted);
        ch = ngx_queue_data(q, fanout_channel_t, counted);

        ngx_queue_remove(q);
        ch->told = 1;

        fanout_channel_subscribers(&hub->zone, &ch->zc, ch->nsubs);
    }
}


static ngx_int_t
arena_init(fanout_arena_t *a, ngx_uint_t entries, size_t bytes)
{
    a->entries = ngx_alloc(entries * sizeof(fanout_entry_t), ngx_cycle->log);
    if (a->entries == NULL) {
        return NGX_ERROR;
    }

    a->max = entries;
    a->grow = arena_grow;

    return arena_grow(a, bytes) == 0 ? NGX_OK : NGX_ERROR;
}


static int
arena_grow(fanout_arena_t *a, size_t n)
{
    u_char  *p;

    p = ngx_alloc(n, ngx_cycle->log);
    if (p == NULL) {
        return -1;
    }

    if (a->bytes) {
        ngx_free(a->bytes);
    }

    a->bytes = p;
    a->size = n;

    return 0;
}
