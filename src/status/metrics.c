
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The status for Prometheus: its text format 0.0.4, or OpenMetrics 1.0, which
 * differ in how a counter is named before its samples, and in the end.
 */


#include "status/status.h"
#include "base/version.h"
#include "base/utf8.h"

#include <nginx.h>


#define put       fanout_put
#define put_text  fanout_put_text

#define PREFIX    "nginx_fanout_"

#define BYTES     0             /* blocks of the zone, written as bytes */
#define GAUGE     1
#define COUNTER   2
#define INFO      3
#define SECONDS   4             /* ms, written as seconds */


typedef struct {
    const char  *name;
    const char  *text;
    ngx_uint_t   type;
    size_t       offset;        /* in what the row is about */
} metric_t;


/* what is written, and the labels that all samples share */

typedef struct {
    fanout_writer_t       *w;
    ngx_uint_t             openmetrics;
    fanout_zone_worker_t   workers[FANOUT_ZONE_SLOTS];
    ngx_uint_t             nworkers;
} metrics_t;


static void read_workers(metrics_t *m);
static void metrics_write_zone(metrics_t *m);
static void metrics_write_counters(metrics_t *m);
static void metrics_write_workers(metrics_t *m);
static void metrics_write_latency(metrics_t *m);
static void write_latency_of(metrics_t *m, ngx_uint_t slot);
static void metrics_write_accounts(metrics_t *m);
static void write_shares(metrics_t *m);
static void family(metrics_t *m, const char *name, ngx_uint_t type,
    const char *text);
static void sample(metrics_t *m, const char *name, ngx_uint_t type,
    const char *label, const void *value, size_t len, uint64_t n);
static void label_value(fanout_writer_t *w, const u_char *data, size_t len);


static const metric_t  zone_metrics[] = {
#define FANOUT_NUMBER_OF(json, member, name, type, text)                      \
    { name, text, type, offsetof(fanout_zone_stat_t, member) },
    FANOUT_STATUS_NUMBERS(FANOUT_NUMBER_OF)
#undef FANOUT_NUMBER_OF
};

static const metric_t  uses[] = {
#define FANOUT_USE(name)                                                      \
    { #name, "", BYTES, offsetof(fanout_zone_stat_t, name) },
    FANOUT_STATUS_USES(FANOUT_USE)
#undef FANOUT_USE
};

static const metric_t  worker_metrics[] = {

#define of(member)  offsetof(fanout_zone_worker_t, member)

    { "worker_pid", "Process of the worker in a slot", GAUGE, 0 },
    { "worker_generation", "Number of its configuration", GAUGE,
      of(generation) },
    { "worker_sessions", "Sessions of a worker", GAUGE, of(sessions) },
    { "worker_channels", "Channels a worker has subscribers on", GAUGE,
      of(interests) },
    { "worker_watchers", "Those who watch the status", GAUGE,
      of(vitals.watchers) },
    { "worker_memory_bytes", "Private resident memory of a worker", GAUGE,
      of(vitals.memory) },
    { "worker_memory_base_bytes", "The same when it began", GAUGE,
      of(vitals.base) },
    { "worker_lag_seconds",
      "Age of what a worker has read in the last second, at most", SECONDS,
      of(vitals.lag) }
};

static const metric_t  account_metrics[] = {

#define in(member)  offsetof(fanout_zone_account_t, member)

    { "class_channels", "Channels, by pattern of fanout_channel", GAUGE,
      in(channels) },
    { "class_messages", "Messages appended, by pattern", COUNTER,
      in(messages) },
    { "class_message_bytes", "Payload of messages appended, by pattern",
      COUNTER, in(bytes) },
    { "class_zone_bytes", "What of the zone histories and channels not in use "
      "take, by pattern", BYTES, in(blocks) },
    { "class_zone_min_bytes", "What of it is guaranteed, by pattern", BYTES,
      in(min) },
    { "class_zone_max_bytes", "What it may be at most, by pattern", BYTES,
      in(max) },
    { "class_evicted", "Entries let go of for lack of room, by pattern",
      COUNTER, in(evicted) }
};

static const metric_t  share_metrics[] = {

#define by(member)  offsetof(fanout_share_stat_t, member)

    { "share_bytes", "What of the zone is in use, by kind", BYTES, by(used) },
    { "share_min_bytes", "What of it is guaranteed, by kind", BYTES,
      by(min) },
    { "share_max_bytes", "What it may be at most, by kind", BYTES, by(max) },
    { "share_refused", "What was refused for the share of its kind", COUNTER,
      by(refused) }
};

#define of_array(a)   (sizeof(a) / sizeof((a)[0]))
#define number(p, o)  (*(const uint64_t *) ((const u_char *) (p) + (o)))


void
fanout_status_metrics(fanout_writer_t *w, ngx_uint_t openmetrics)
{
    metrics_t  *m;

    m = ngx_alloc(sizeof(metrics_t), ngx_cycle->log);

    if (m == NULL) {
        w->failed = 1;
        return;
    }

    m->w = w;
    m->openmetrics = openmetrics;

    read_workers(m);

    metrics_write_zone(m);
    metrics_write_counters(m);
    metrics_write_workers(m);
    metrics_write_latency(m);
    metrics_write_accounts(m);
    write_shares(m);

    if (openmetrics) {
        put_text(w, "# EOF\n");
    }

    ngx_free(m);
}


static void
read_workers(metrics_t *m)
{
    ngx_uint_t  i;

    for (i = 0; i < m->w->stat->slots; i++) {
        if (fanout_slot_get(&m->w->hub->zone, i, &m->workers[i])
            != FANOUT_ZONE_OK)
        {
            break;
        }
    }

    m->nworkers = i;
}


static void
metrics_write_zone(metrics_t *m)
{
    uint64_t             n;
    ngx_uint_t           i;
    const metric_t      *row;
    fanout_zone_stat_t  *st;

    st = m->w->stat;

    family(m, "info", INFO, "Versions of the module and of NGINX");
    put(m->w, PREFIX "info{zone=\"");
    label_value(m->w, m->w->hub->app->name.data, m->w->hub->app->name.len);
    put(m->w, "\",version=\"%s\",nginx=\"%s\"} 1\n",
        FANOUT_VERSION, NGINX_VERSION);

    family(m, "workers", GAUGE, "Workers that have a slot");
    sample(m, "workers", GAUGE, NULL, NULL, 0, st->live);

    family(m, "slots", GAUGE, "Slots for workers: slots=");
    sample(m, "slots", GAUGE, NULL, NULL, 0, st->slots);

    family(m, "zone_size_bytes", BYTES, "Memory for blocks in the zone");
    sample(m, "zone_size_bytes", BYTES, NULL, NULL, 0, st->blocks);

    family(m, "zone_free_bytes", BYTES, "What of it is free");
    sample(m, "zone_free_bytes", BYTES, NULL, NULL, 0, st->free);

    family(m, "zone_used_bytes", BYTES, "What of it is used for what");

    for (i = 0; i < of_array(uses); i++) {
        sample(m, "zone_used_bytes", BYTES, "kind", uses[i].name,
               ngx_strlen(uses[i].name), number(st, uses[i].offset));
    }

    for (i = 0; i < of_array(zone_metrics); i++) {
        row = &zone_metrics[i];

        if (row->name == NULL) {
            continue;
        }

        n = number(st, row->offset);

        family(m, row->name, row->type, row->text);
        sample(m, row->name, row->type, NULL, NULL, 0, n);
    }
}


/* of all workers, those that are gone included: these never go back */

static void
metrics_write_counters(metrics_t *m)
{
    uint64_t     n;
    ngx_uint_t   i, k;
    const char  *name;

    for (k = 0; k < FANOUT_NCOUNTERS; k++) {
        name = fanout_counter_names[k];
        n = m->w->stat->retired[k];

        for (i = 0; i < m->nworkers; i++) {
            n += m->workers[i].counters[k];
        }

        family(m, name, COUNTER, fanout_counter_texts[k]);
        sample(m, name, COUNTER, NULL, NULL, 0, n);
    }
}


/* By slot, so that labels don't grow with the number of reloads. */

static void
metrics_write_workers(metrics_t *m)
{
    u_char                 slot[NGX_INT_T_LEN];
    u_char                 name[128];
    size_t                 len;
    ngx_uint_t             i, k, type;
    const char            *text;
    const metric_t        *row;
    fanout_zone_worker_t  *worker;

    for (k = 0; k < of_array(worker_metrics) + FANOUT_NCOUNTERS;
         k++)
    {
        row = k < of_array(worker_metrics) ? &worker_metrics[k] : NULL;
        text = row ? row->text
               : fanout_counter_texts[k - of_array(worker_metrics)];

        *ngx_snprintf(name, sizeof(name) - 1, "%s%s", row ? "" : "worker_",
                      row ? row->name
                      : fanout_counter_names
                            [k - of_array(worker_metrics)]) = '\0';

        type = row ? row->type : COUNTER;

        family(m, (char *) name, type, text);

        for (i = 0; i < m->nworkers; i++) {
            worker = &m->workers[i];

            if (worker->state == 0) {
                continue;
            }

            len = ngx_sprintf(slot, "%ui", i) - slot;

            sample(m, (char *) name, type, "worker", slot, len,
                   row == NULL
                   ? worker->counters[k - of_array(worker_metrics)]
                   : row->offset ? number(worker, row->offset)
                   : worker->pid);
        }
    }
}


/* a histogram: its buckets are cumulative */

static void
metrics_write_latency(metrics_t *m)
{
    ngx_uint_t  i;

    put_text(m->w, "# HELP " PREFIX "worker_latency_seconds Age of entries "
                   "when a worker has read them for its subscribers\n"
                   "# TYPE " PREFIX "worker_latency_seconds histogram\n");

    for (i = 0; i < m->nworkers; i++) {
        if (m->workers[i].state) {
            write_latency_of(m, i);
        }
    }
}


static void
write_latency_of(metrics_t *m, ngx_uint_t slot)
{
    uint64_t               n;
    ngx_uint_t             i;
    fanout_zone_vitals_t  *v;

#define FANOUT_BOUND(ms)  ms,
    static const ngx_uint_t  bounds[] = {
        FANOUT_LATENCIES(FANOUT_BOUND)
    };
#undef FANOUT_BOUND

    v = &m->workers[slot].vitals;
    n = 0;

    for (i = 0; i <= FANOUT_NLATENCIES; i++) {
        n += v->latencies[i];

        put_text(m->w, PREFIX "worker_latency_seconds_bucket{zone=\"");
        label_value(m->w, m->w->hub->app->name.data,
                    m->w->hub->app->name.len);

        if (i < FANOUT_NLATENCIES) {
            put(m->w, "\",worker=\"%ui\",le=\"%ui.%03ui\"} %uL\n", slot,
                bounds[i] / 1000, bounds[i] % 1000, n);

        } else {
            put(m->w, "\",worker=\"%ui\",le=\"+Inf\"} %uL\n", slot, n);
        }
    }

    put_text(m->w, PREFIX "worker_latency_seconds_sum{zone=\"");
    label_value(m->w, m->w->hub->app->name.data, m->w->hub->app->name.len);
    put(m->w, "\",worker=\"%ui\"} %uL.%03uL\n", slot, v->latency / 1000,
        v->latency % 1000);

    put_text(m->w, PREFIX "worker_latency_seconds_count{zone=\"");
    label_value(m->w, m->w->hub->app->name.data, m->w->hub->app->name.len);
    put(m->w, "\",worker=\"%ui\"} %uL\n", slot, n);
}


static void
metrics_write_accounts(metrics_t *m)
{
    ngx_uint_t             i, k, n;
    const metric_t        *row;
    fanout_zone_account_t  accounts[FANOUT_ZONE_ACCOUNTS];

    for (n = 0; n < FANOUT_ZONE_ACCOUNTS; n++) {
        if (fanout_zone_get_account(&m->w->hub->zone, n, &accounts[n])
            != FANOUT_ZONE_OK)
        {
            break;
        }
    }

    for (k = 0; k < of_array(account_metrics); k++) {
        row = &account_metrics[k];

        family(m, row->name, row->type, row->text);

        for (i = 0; i < n; i++) {
            sample(m, row->name, row->type, "class", accounts[i].pattern,
                   accounts[i].len, number(&accounts[i], row->offset));
        }
    }
}


static void
write_shares(metrics_t *m)
{
    ngx_uint_t       i, k;
    const char      *name;
    const metric_t  *row;

    for (k = 0; k < of_array(share_metrics); k++) {
        row = &share_metrics[k];

        family(m, row->name, row->type, row->text);

        for (i = 0; i < FANOUT_NSHARES; i++) {
            name = fanout_share_names[i];
            sample(m, row->name, row->type, "kind", name, ngx_strlen(name),
                   number(&m->w->stat->shares[i], row->offset));
        }
    }
}


/* writes the lines before the samples of a name */

static void
family(metrics_t *m, const char *name, ngx_uint_t type, const char *text)
{
    const char  *suffix, *kind;

    /* OpenMetrics names the family, the older format the samples */

    suffix = "";
    kind = "gauge";

    if (type == COUNTER) {
        suffix = m->openmetrics ? "" : "_total";
        kind = "counter";
    }

    if (type == INFO && m->openmetrics) {
        kind = "info";
        put(m->w, "# HELP nginx_fanout %s\n# TYPE nginx_fanout %s\n", text,
            kind);
        return;
    }

    put(m->w, "# HELP " PREFIX "%s%s %s\n# TYPE " PREFIX "%s%s %s\n", name,
        suffix, text, name, suffix, kind);
}


static void
sample(metrics_t *m, const char *name, ngx_uint_t type, const char *label,
    const void *value, size_t len, uint64_t n)
{
    fanout_writer_t  *w;

    w = m->w;

    put(w, PREFIX "%s%s{zone=\"", name, type == COUNTER ? "_total" : "");
    label_value(w, w->hub->app->name.data, w->hub->app->name.len);

    if (label) {
        put(w, "\",%s=\"", label);
        label_value(w, value, len);
    }

    if (type == SECONDS) {
        put(w, "\"} %uL.%03uL\n", n / 1000, n % 1000);
        return;
    }

    put(w, "\"} %uL\n", type == BYTES ? n * w->stat->block_size : n);
}


/* UTF-8 with three characters escaped.  A pattern may be cut in the middle of
 * a character, or be no UTF-8 at all. */

static void
label_value(fanout_writer_t *w, const u_char *data, size_t len)
{
    size_t      i;
    ngx_uint_t  plain;

    plain = 0;

    while (len && fanout_utf8_check(data, len)
                  == FANOUT_UTF8_TRUNCATED)
    {
        len--;
    }

    if (fanout_utf8_check(data, len) != FANOUT_UTF8_OK) {
        plain = 1;
    }

    for (i = 0; i < len; i++) {
        switch (data[i]) {

        case '\\':
            put_text(w, "\\\\");
            break;

        case '"':
            put_text(w, "\\\"");
            break;

        case '\n':
            put_text(w, "\\n");
            break;

        default:
            if (plain && data[i] >= 0x80) {
                put_text(w, "?");
                break;
            }

            fanout_put_bytes(w, &data[i], 1);
        }
    }
}
