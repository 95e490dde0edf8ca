
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The hub of a worker: its handle of the zone, and how it reads the log.
 */


#include "hub/hub.h"
#include "hub/clients.h"


#define FANOUT_TURN     1024                /* entries drained in a turn */
#define FANOUT_ARENA    262144              /* and their bytes */


static ngx_int_t hub_attach(fanout_hub_t *hub, ngx_log_t *log);
static void hub_lists(fanout_hub_t *hub);
static void hub_latency(fanout_hub_t *hub, fanout_arena_t *a);
static ngx_int_t arena_init(fanout_arena_t *a, ngx_uint_t entries,
    size_t bytes);
static int arena_grow(fanout_arena_t *a, size_t n);


fanout_hub_t *
fanout_hub_create(fanout_app_t *app, const fanout_sink_t *sink, ngx_log_t *log)
{
    fanout_hub_t  *hub;

    hub = ngx_calloc(sizeof(fanout_hub_t), log);
    if (hub == NULL) {
        return NULL;
    }

    hub->app = app;
    hub->sink = *sink;

    if (hub_attach(hub, log) != NGX_OK) {
        ngx_free(hub);
        return NULL;
    }

    /* if this fails, the worker exits */

    if (arena_init(&hub->arena, FANOUT_TURN, FANOUT_ARENA) != NGX_OK
        || arena_init(&hub->pages, FANOUT_ZONE_ENTRIES, 65536) != NGX_OK
        || arena_init(&hub->direct, 1, 4096) != NGX_OK)
    {
        return NULL;
    }

    hub_lists(hub);

    return hub;
}


static ngx_int_t
hub_attach(fanout_hub_t *hub, ngx_log_t *log)
{
    size_t            size;
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) hub->app->shm_zone->shm.addr;
    size = shpool->end - (u_char *) shpool->data;

    if (fanout_zone_attach(&hub->zone, shpool->data, size)
        != FANOUT_ZONE_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "fanout zone \"%V\" has another layout",
                      &hub->app->name);
        return NGX_ERROR;
    }

    fanout_zone_configure(&hub->zone, hub->app->generation, &hub->app->conf);
    hub->denials = fanout_denial_last(&hub->zone);

    return NGX_OK;
}


static void
hub_lists(fanout_hub_t *hub)
{
    ngx_rbtree_init(&hub->names, &hub->sentinel, ngx_str_rbtree_insert_value);
    ngx_queue_init(&hub->counted);
    ngx_queue_init(&hub->sessions);
    ngx_queue_init(&hub->flush);
    ngx_queue_init(&hub->ended);
    ngx_queue_init(&hub->rosters);
    ngx_queue_init(&hub->paged);
    ngx_queue_init(&hub->active);
    ngx_queue_init(&hub->every);
    ngx_queue_init(&hub->stuck);

    fanout_clients_init(hub);
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


void
fanout_hub_kick(fanout_hub_t *hub)
{
    if (hub->zone.heap.self_woken) {
        hub->zone.heap.self_woken = 0;
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }
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
        hub_latency(hub, a);
        hub->sink.deliver(hub, a->entries, a->n);
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


/* Records how old entries are when they are read.  Both times are cached ones,
 * of the publisher and of this worker. */

static void
hub_latency(fanout_hub_t *hub, fanout_arena_t *a)
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
