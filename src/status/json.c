
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The status as JSON; docs/status.md describes each member.
 */


#include "status/status.h"
#include "base/time.h"
#include "base/version.h"
#include "hub/roster.h"

#include <nginx.h>
#include "hook/hook.h"


#define put         fanout_put
#define put_text    fanout_put_text
#define put_string  fanout_put_string


static void json_write_zone(fanout_writer_t *w);
static void write_limits(fanout_writer_t *w);
static void json_write_workers(fanout_writer_t *w, uint64_t *sums);
static void json_write_latency(fanout_writer_t *w, fanout_zone_vitals_t *v);
static void json_write_counters(fanout_writer_t *w, uint64_t *counters);
static void json_write_accounts(fanout_writer_t *w);
static void write_account_limits(fanout_writer_t *w, ngx_uint_t account);
static void write_worker(fanout_writer_t *w);
static void write_history(fanout_writer_t *w, ngx_uint_t whole);
static ngx_uint_t read_samples(fanout_writer_t *w,
    fanout_zone_sample_t *samples, ngx_uint_t whole, uint64_t *number);
static void write_series(fanout_writer_t *w, fanout_zone_sample_t *samples,
    ngx_uint_t n);
static void put_number(fanout_writer_t *w, const char *name, uint64_t n);
static void put_value(fanout_writer_t *w, float value);


static const char *const  series_names[] = {
#define FANOUT_RATE(name)          #name,
#define FANOUT_GAUGE(name, value)  #name,
    FANOUT_RATES(FANOUT_RATE)
    FANOUT_ZONE_RATES(FANOUT_GAUGE)
    FANOUT_GAUGES(FANOUT_GAUGE)
#undef FANOUT_GAUGE
#undef FANOUT_RATE
};


void
fanout_status_json(fanout_writer_t *w, ngx_uint_t with)
{
    uint64_t  sums[FANOUT_NCOUNTERS];

    ngx_memcpy(sums, w->stat->retired, sizeof(sums));

    put(w, "{\"version\":\"%s\",\"nginx\":\"%s\",\"pid\":%P,\"time\":%uL",
        FANOUT_VERSION, NGINX_VERSION, ngx_pid, fanout_time());

    put_text(w, ",\"zone\":{\"name\":");
    put_string(w, w->hub->app->name.data, w->hub->app->name.len);
    put_number(w, "size", w->hub->app->shm_zone->shm.size);
    json_write_zone(w);
    write_limits(w);

    put_text(w, "},\"workers\":[");
    json_write_workers(w, sums);

    put_text(w, "],\"counters\":");
    json_write_counters(w, sums);

    put_text(w, ",\"classes\":[");
    json_write_accounts(w);

    put_text(w, "],\"worker\":");
    write_worker(w);

    put_text(w, ",\"health\":");
    fanout_health_json(w);

    put_text(w, ",\"history\":");
    write_history(w, with & FANOUT_STATUS_HISTORY);

    if (w->busiest && (with & FANOUT_STATUS_BUSIEST)) {
        put_text(w, ",\"busiest\":");
        fanout_busiest_json(w->busiest, w);
    }

    put_text(w, "}\n");
}


static void
json_write_zone(fanout_writer_t *w)
{
    ngx_uint_t           n;
    fanout_zone_stat_t  *st;

    st = w->stat;
    n = 0;

    put_number(w, "block_size", st->block_size);
    put_number(w, "blocks", st->blocks);
    put_number(w, "free", st->free);

    put_text(w, ",\"used\":{");

#define FANOUT_USE(name)                                                      \
    put(w, "%s\"%s\":%uL", n++ ? "," : "", #name, (uint64_t) st->name);
    FANOUT_STATUS_USES(FANOUT_USE)
#undef FANOUT_USE

    put_text(w, "},\"shares\":{");

    for (n = 0; n < FANOUT_NSHARES; n++) {
        put(w, "%s\"%s\":{\"used\":%uL,\"min\":%uL,\"max\":%uL,"
            "\"refused\":%uL}", n ? "," : "",
            fanout_share_names[n], st->shares[n].used,
            st->shares[n].min, st->shares[n].max, st->shares[n].refused);
    }

    put_text(w, "}");

#define FANOUT_NUMBER_OF(name, member, metric, type, text)                    \
    put_number(w, #name, st->member);
    FANOUT_STATUS_NUMBERS(FANOUT_NUMBER_OF)
#undef FANOUT_NUMBER_OF
}


static void
write_limits(fanout_writer_t *w)
{
    put(w, ",\"limits\":{\"slots\":%uD,\"workers\":%uD,\"idle\":%uD,"
        "\"dedupe\":%uD,\"asks\":%ui,\"frames\":%uz}",
        w->stat->slots, w->stat->live, w->stat->idle, w->stat->dedupe,
        fanout_approvals_max(w->hub), w->hub->app->frames);
}


/* Adds the counters of the living to the sums. */

static void
json_write_workers(fanout_writer_t *w, uint64_t *sums)
{
    ngx_uint_t            i, k, n;
    fanout_zone_worker_t  worker;

    n = 0;

    for (i = 0; i < w->stat->slots; i++) {

        if (fanout_slot_get(&w->hub->zone, i, &worker)
            != FANOUT_ZONE_OK)
        {
            break;
        }

        if (worker.state == 0) {
            continue;
        }

        put(w, "%s{\"slot\":%ui,\"pid\":%uD,\"state\":\"%s\","
            "\"generation\":%uL,\"sessions\":%uL,\"channels\":%uL,"
            "\"memory\":%uL,\"memory_base\":%uL,\"lag\":%uL,"
            "\"watchers\":%uL,",
            n++ ? "," : "", i, worker.pid,
            worker.state == 1 ? "live" : "dead", worker.generation,
            worker.sessions, worker.interests, worker.vitals.memory,
            worker.vitals.base, worker.vitals.lag, worker.vitals.watchers);

        json_write_latency(w, &worker.vitals);

        put_text(w, "\"counters\":");
        json_write_counters(w, worker.counters);
        put_text(w, "}");

        for (k = 0; k < FANOUT_NCOUNTERS; k++) {
            sums[k] += worker.counters[k];
        }
    }
}


static void
json_write_latency(fanout_writer_t *w, fanout_zone_vitals_t *v)
{
    ngx_uint_t  i;

#define FANOUT_BOUND(ms)  "," #ms
    static const char  bounds[] =
        FANOUT_LATENCIES(FANOUT_BOUND);
#undef FANOUT_BOUND

    put(w, "\"latency\":{\"sum\":%uL,\"bounds\":[%s],\"counts\":",
        v->latency, &bounds[1]);

    for (i = 0; i <= FANOUT_NLATENCIES; i++) {
        put(w, "%s%uL", i ? "," : "[", v->latencies[i]);
    }

    put_text(w, "]},");
}


static void
json_write_counters(fanout_writer_t *w, uint64_t *counters)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_NCOUNTERS; i++) {
        put(w, "%s\"%s\":%uL", i ? "," : "{",
            fanout_counter_names[i], counters[i]);
    }

    put_text(w, "}");
}


static void
json_write_accounts(fanout_writer_t *w)
{
    ngx_uint_t             i;
    fanout_zone_account_t  account;

    for (i = 0; i < FANOUT_ZONE_ACCOUNTS; i++) {

        if (fanout_zone_get_account(&w->hub->zone, i, &account)
            != FANOUT_ZONE_OK)
        {
            break;
        }

        put(w, "%s{\"pattern\":", i ? "," : "");
        put_string(w, account.pattern, account.len);
        put_number(w, "channels", account.channels);
        put_number(w, "messages", account.messages);
        put_number(w, "bytes", account.bytes);
        put_number(w, "blocks", account.blocks);
        put_number(w, "min", account.min);
        put_number(w, "max", account.max);
        put_number(w, "evicted", account.evicted);
        write_account_limits(w, i);
        put_text(w, "}");
    }
}


/* As this configuration has them: null where there is no limit, nothing where
 * there are no members. */

static void
write_account_limits(fanout_writer_t *w, ngx_uint_t account)
{
    ngx_uint_t             i;
    fanout_policy_t       *policy;
    fanout_zone_policy_t  *keep;

    policy = w->hub->app->policies.elts;

    for (i = 0; i < w->hub->app->policies.nelts; i++) {
        keep = &policy[i].keep;

        if (keep->account == account
            && keep->presence != FANOUT_PRESENCE_OFF)
        {
            put_text(w, ",\"limits\":{\"members\":");

            if (keep->members) {
                put(w, "%uD", keep->members);

            } else {
                put_text(w, "null");
            }

            put(w, ",\"keys\":%d,\"changes\":%uz}", keep->keys,
                policy[i].changes);
            return;
        }
    }
}


/* what only the worker that answers knows */

static void
write_worker(fanout_writer_t *w)
{
    size_t         bytes;
    ngx_uint_t     rosters;
    fanout_hub_t  *hub;

    hub = w->hub;
    rosters = fanout_roster_sizes(hub, &bytes);

    put(w, "{\"pid\":%P,\"slot\":%d,\"sessions\":%uL,\"channels\":%uD,"
        "\"frames\":%uz,\"lists\":%uz,\"rosters\":%ui,\"roster_bytes\":%uz,"
        "\"asks\":%ui,\"generation\":%uD,\"draining\":%s}",
        ngx_pid, hub->zone.heap.slot, hub->nsessions - hub->vitals.watchers,
        hub->used, hub->output_bytes - w->out->size, hub->lists, rosters, bytes,
        fanout_approvals_waiting(hub), hub->zone.generation,
        hub->draining ? "true" : "false");
}


/* the last hour, or its last sample */

static void
write_history(fanout_writer_t *w, ngx_uint_t whole)
{
    uint64_t               number;
    ngx_uint_t             n;
    fanout_zone_sample_t  *samples;

    samples = ngx_alloc(FANOUT_SAMPLES
                        * sizeof(fanout_zone_sample_t),
                        ngx_cycle->log);

    if (samples == NULL) {
        w->failed = 1;
        return;
    }

    n = read_samples(w, samples, whole, &number);

    put(w, "{\"interval\":%d,\"samples\":%uL,", FANOUT_INTERVAL,
        number);
    write_series(w, samples, n);
    put_text(w, "}");

    ngx_free(samples);
}


/* How many were read, and how many were ever taken. */

static ngx_uint_t
read_samples(fanout_writer_t *w, fanout_zone_sample_t *samples,
    ngx_uint_t whole, uint64_t *number)
{
    unsigned    got;
    ngx_uint_t  n;

    n = 0;
    *number = whole || w->stat->samples == 0 ? 0 : w->stat->samples - 1;

    do {
        got = fanout_sample_read(&w->hub->zone, number, &samples[n],
                                 FANOUT_SAMPLES - n);
        n += got;

    } while (got && n < FANOUT_SAMPLES);

    return n;
}


static void
write_series(fanout_writer_t *w, fanout_zone_sample_t *samples, ngx_uint_t n)
{
    ngx_uint_t  i, k;

    put_text(w, "\"time\":[");

    for (i = 0; i < n; i++) {
        put(w, "%s%uL", i ? "," : "", samples[i].time);
    }

    put_text(w, "],\"series\":{");

    for (k = 0; k < FANOUT_NSERIES; k++) {
        put(w, "%s\"%s\":[", k ? "," : "", series_names[k]);

        for (i = 0; i < n; i++) {
            if (i) {
                put_text(w, ",");
            }

            put_value(w, samples[i].value[k]);
        }

        put_text(w, "]");
    }

    put_text(w, "}");
}


static void
put_number(fanout_writer_t *w, const char *name, uint64_t n)
{
    put(w, ",\"%s\":%uL", name, n);
}


static void
put_value(fanout_writer_t *w, float value)
{
    if (value == (float) (uint64_t) value) {
        put(w, "%uL", (uint64_t) value);

    } else {
        put(w, "%.2f", (double) value);
    }
}
