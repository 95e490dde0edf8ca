
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What is wrong with a zone now, for all formats of the status: failures of the
 * last minute, and bad states.
 */


#include "status/status.h"


#define FANOUT_HEALTH_FULL   90                 /* percent of the zone */
#define FANOUT_HEALTH_HELD   80                 /* percent of held= */
#define FANOUT_HEALTH_LAG    1000               /* ms, of deliveries */
#define FANOUT_HEALTH_WAIT   60000              /* ms, of events for a hook */


static void health_add(fanout_health_t *health, const char *name,
    ngx_uint_t level, uint64_t count);
static void add_states(fanout_health_t *health, fanout_hub_t *hub,
    fanout_zone_stat_t *st);
static void add_workers(fanout_health_t *health, fanout_hub_t *hub,
    fanout_zone_stat_t *st);


static const struct {
    const char  *name;
    ngx_uint_t   level;
} failures[] = {
#define FANOUT_FAILURE(name, level)                                           \
    { #name, FANOUT_HEALTH_##level },
#define FANOUT_LOSS(name, level, value)                                       \
    { #name, FANOUT_HEALTH_##level },
    FANOUT_FAILURES(FANOUT_FAILURE)
    FANOUT_LOSSES(FANOUT_LOSS)
#undef FANOUT_LOSS
#undef FANOUT_FAILURE
};

static const char *const  levels[] = { "note", "warning", "failure" };


void
fanout_health(fanout_hub_t *hub, fanout_zone_stat_t *st,
    fanout_health_t *health)
{
    uint64_t    grown[FANOUT_NFAILURES];
    ngx_uint_t  i, level;

    health->n = 0;
    health->level = FANOUT_HEALTH_NOTE;
    health->seconds = fanout_sample_recent(&hub->zone, grown);

    add_states(health, hub, st);
    add_workers(health, hub, st);

    for (i = 0; i < FANOUT_NFAILURES; i++) {

        if (grown[i] == 0) {
            continue;
        }

        level = failures[i].level;

        /* below that, channels have used up their share, as configured */

        if (i == FANOUT_F_zone_evicted
            && fanout_health_used(st) >= FANOUT_HEALTH_FULL)
        {
            level = FANOUT_HEALTH_WARNING;
        }

        health_add(health, failures[i].name, level, grown[i]);
    }
}


static void
health_add(fanout_health_t *health, const char *name, ngx_uint_t level,
           uint64_t count)
{
    fanout_problem_t  *p;

    p = &health->problems[health->n++];

    p->name = name;
    p->level = level;
    p->count = count;

    health->level = ngx_max(health->level, level);
}


ngx_uint_t
fanout_health_used(fanout_zone_stat_t *st)
{
    return st->blocks ? 100 - (uint64_t) st->free * 100 / st->blocks : 0;
}


static void
add_states(fanout_health_t *health, fanout_hub_t *hub, fanout_zone_stat_t *st)
{
    ngx_uint_t  used;

    used = fanout_health_used(st);

    if (st->overflows) {
        health_add(health, "journal_overflow", FANOUT_HEALTH_FAILURE,
                   st->overflows);
    }

    if (hub->zone.heap.slot < 0) {
        health_add(health, "no_slot", FANOUT_HEALTH_FAILURE, 1);

    } else if (st->live >= st->slots) {
        health_add(health, "slots_used", FANOUT_HEALTH_WARNING, st->slots);
    }

    if (used >= FANOUT_HEALTH_FULL) {
        health_add(health, "zone_full", FANOUT_HEALTH_WARNING, used);
    }

    if (st->held_max && (uint64_t) st->held * 100
                        > (uint64_t) st->held_max * FANOUT_HEALTH_HELD)
    {
        health_add(health, "worker_not_reading", FANOUT_HEALTH_WARNING,
                   st->held);
    }

    if (st->events_lag > FANOUT_HEALTH_WAIT) {
        health_add(health, "events_wait", FANOUT_HEALTH_WARNING,
                   st->events_lag);
    }

    if (hub->draining) {
        health_add(health, "draining", FANOUT_HEALTH_NOTE, 1);
    }
}


static void
add_workers(fanout_health_t *health, fanout_hub_t *hub,
    fanout_zone_stat_t *st)
{
    uint64_t              lag;
    ngx_uint_t            i, dead;
    fanout_zone_worker_t  worker;

    lag = 0;
    dead = 0;

    for (i = 0; i < st->slots; i++) {

        if (fanout_slot_get(&hub->zone, i, &worker)
            != FANOUT_ZONE_OK)
        {
            break;
        }

        if (worker.state == 0) {
            continue;
        }

        lag = ngx_max(lag, worker.vitals.lag);
        dead += (worker.state != 1);
    }

    if (dead) {
        health_add(health, "worker_dead", FANOUT_HEALTH_WARNING, dead);
    }

    if (lag > FANOUT_HEALTH_LAG) {
        health_add(health, "late", FANOUT_HEALTH_WARNING, lag);
    }
}


const char *
fanout_health_unfit(fanout_hub_t *hub, fanout_zone_stat_t *st)
{
    if (hub->draining || ngx_exiting || ngx_terminate) {
        return "this worker is shutting down";
    }

    if (hub->zone.heap.slot < 0) {
        return "this worker found no free slot in the zone";
    }

    return st->overflows ? "a transaction did not fit into the journal" : NULL;
}


u_char *
fanout_health_line(fanout_hub_t *hub, fanout_zone_stat_t *st, u_char *p,
    u_char *last)
{
    ngx_uint_t       i, n;
    fanout_health_t  health;

    fanout_health(hub, st, &health);

    p = ngx_slprintf(p, last, "ok");

    for (i = 0, n = 0; i < health.n; i++) {
        if (health.problems[i].level == FANOUT_HEALTH_FAILURE) {
            p = ngx_slprintf(p, last, "%s%s", n++ ? ", " : ", failing: ",
                             health.problems[i].name);
        }
    }

    return p;
}


void
fanout_health_json(fanout_writer_t *w)
{
    ngx_uint_t         i;
    fanout_health_t    health;
    fanout_problem_t  *p;

    fanout_health(w->hub, w->stat, &health);

    fanout_put(w, "{\"state\":\"%s\",\"seconds\":%uD,\"problems\":[",
               health.level == FANOUT_HEALTH_NOTE
               ? "ok" : levels[health.level], health.seconds);

    for (i = 0; i < health.n; i++) {
        p = &health.problems[i];

        fanout_put(w, "%s{\"name\":\"%s\",\"level\":\"%s\","
                   "\"count\":%uL}", i ? "," : "", p->name,
                   levels[p->level], p->count);
    }

    fanout_put_text(w, "]}");
}
