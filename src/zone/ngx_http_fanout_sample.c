
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The last hour, for the status.
 *
 * Samples are in a ring with one place more than are read.  The next goes to
 * that place, which nobody looks at, and so without the journal; then the
 * count is journalled.  Who dies in between leaves a count that is rolled
 * back and a place that is written again.  All under the lock: a sample is
 * never seen in part.  So it is with the marks, the counts of failures of the
 * last minute.
 */


#include "ngx_http_fanout_heap.h"


#define FANOUT_SAMPLES   (NGX_HTTP_FANOUT_SAMPLES + 1)
#define FANOUT_SECTION                                                        \
    (NGX_HTTP_FANOUT_ZONE_COPY / sizeof(ngx_http_fanout_zone_sample_t))

#define fanout_slots_sum(shm, member)                                         \
    slots_add(shm, offsetof(fanout_slot_t, member))
#define fanout_slots_max(shm, member)                                         \
    slots_max(shm, offsetof(fanout_slot_t, member))


static void take(ngx_http_fanout_zone_t *z, uint32_t elapsed);
static void mark(ngx_http_fanout_zone_t *z, uint32_t now);
static void count_failures(const fanout_shm_t *shm, uint64_t *counts);
static uint64_t refused(const fanout_shm_t *shm);
static void gauges(const fanout_shm_t *shm, float *value);
static uint64_t counted(const fanout_shm_t *shm, unsigned n);
static uint64_t slots_add(const fanout_shm_t *shm, size_t offset);
static uint64_t slots_max(const fanout_shm_t *shm, size_t offset);


static const uint8_t  rates[] = {
#define NGX_HTTP_FANOUT_RATE(name)  NGX_HTTP_FANOUT_N_##name,
    NGX_HTTP_FANOUT_RATES(NGX_HTTP_FANOUT_RATE)
#undef NGX_HTTP_FANOUT_RATE
};


void
ngx_http_fanout_sample_take(ngx_http_fanout_zone_t *z)
{
    uint32_t  now, at;

    /* a look without the lock is enough to know that it is not due */

    at = __atomic_load_n(&z->shm->sampled_at, __ATOMIC_RELAXED);
    now = fanout_seconds(z);

    if (at && now - at < NGX_HTTP_FANOUT_INTERVAL) {
        return;
    }

    (void) fanout_enter(z);

    at = z->shm->sampled_at;
    now = fanout_seconds(z);

    if (at == 0 || now - at >= NGX_HTTP_FANOUT_INTERVAL) {
        take(z, at ? now - at : 0);
        mark(z, now);
        fanout_set(z, z->shm->sampled_at, now);
    }

    fanout_leave(z);
}


/* The first only remembers the counters. */

static void
take(ngx_http_fanout_zone_t *z, uint32_t elapsed)
{
    float                          *value;
    uint64_t                        n;
    unsigned                        i;
    fanout_shm_t                   *shm;
    ngx_http_fanout_zone_sample_t  *s;

    shm = z->shm;
    s = &shm->samples[shm->nsamples % FANOUT_SAMPLES];
    value = s->value;

    s->time = fanout_wall(z);

    for (i = 0; i < NGX_HTTP_FANOUT_NRATES; i++) {
        n = counted(shm, rates[i]);

        /* a counter may be seen before the worker's last one was added */

        if (elapsed) {
            value[i] = n > shm->sampled[i]
                       ? (float) (n - shm->sampled[i]) / elapsed : 0;
        }

        fanout_set(z, shm->sampled[i], n);
    }

    if (elapsed) {
        gauges(shm, value);
        fanout_barrier();
        fanout_set(z, shm->nsamples, shm->nsamples + 1);
    }
}


static void
mark(ngx_http_fanout_zone_t *z, uint32_t now)
{
    fanout_shm_t   *shm;
    fanout_mark_t  *m;

    shm = z->shm;
    m = &shm->marks[shm->nmarks % FANOUT_MARKS];

    m->at = now;
    count_failures(shm, m->counts);

    fanout_barrier();
    fanout_set(z, shm->nmarks, shm->nmarks + 1);
}


static void
count_failures(const fanout_shm_t *shm, uint64_t *counts)
{
#define NGX_HTTP_FANOUT_FAILURE(name, level)                                  \
    counts[NGX_HTTP_FANOUT_F_##name] = counted(shm, NGX_HTTP_FANOUT_N_##name);
#define NGX_HTTP_FANOUT_LOSS(name, level, value)                              \
    counts[NGX_HTTP_FANOUT_F_##name] = (value);
    NGX_HTTP_FANOUT_FAILURES(NGX_HTTP_FANOUT_FAILURE)
    NGX_HTTP_FANOUT_LOSSES(NGX_HTTP_FANOUT_LOSS)
#undef NGX_HTTP_FANOUT_LOSS
#undef NGX_HTTP_FANOUT_FAILURE
}


/* by any share */

static uint64_t
refused(const fanout_shm_t *shm)
{
    unsigned  i;
    uint64_t  sum;

    sum = 0;

    for (i = 0; i < NGX_HTTP_FANOUT_NSHARES; i++) {
        sum += shm->refused[i];
    }

    return sum;
}


uint32_t
ngx_http_fanout_sample_recent(ngx_http_fanout_zone_t *z, uint64_t *grown)
{
    unsigned        i;
    uint32_t        now;
    uint64_t        n;
    fanout_shm_t   *shm;
    fanout_mark_t  *m, *base;

    (void) fanout_enter(z);

    shm = z->shm;
    now = fanout_seconds(z);
    base = NULL;

    /* the oldest within a minute and an interval; if nobody took one for so
     * long, the last */

    for (n = shm->nmarks, i = 1; i < FANOUT_MARKS && i <= n; i++) {
        m = &shm->marks[(n - i) % FANOUT_MARKS];

        if (base && now - m->at > 60 + NGX_HTTP_FANOUT_INTERVAL) {
            break;
        }

        base = m;
    }

    count_failures(shm, grown);

    for (i = 0; i < NGX_HTTP_FANOUT_NFAILURES; i++) {
        grown[i] = base && grown[i] > base->counts[i]
                   ? grown[i] - base->counts[i] : 0;
    }

    now = base ? now - base->at : 0;

    fanout_leave(z);

    return now;
}


static void
gauges(const fanout_shm_t *shm, float *value)
{
#define NGX_HTTP_FANOUT_GAUGE(name, expression)                               \
    value[NGX_HTTP_FANOUT_S_##name] = (expression);
    NGX_HTTP_FANOUT_GAUGES(NGX_HTTP_FANOUT_GAUGE)
#undef NGX_HTTP_FANOUT_GAUGE
}


static uint64_t
counted(const fanout_shm_t *shm, unsigned n)
{
    return shm->retired[n]
           + slots_add(shm, offsetof(fanout_slot_t, counters)
                            + n * sizeof(uint64_t));
}


static uint64_t
slots_add(const fanout_shm_t *shm, size_t offset)
{
    uint32_t  i;
    uint64_t  sum;

    sum = 0;

    for (i = 0; i < shm->nslots; i++) {
        sum += *(const uint64_t *) ((const uint8_t *) &shm->slots[i]
                                    + offset);
    }

    return sum;
}


static uint64_t
slots_max(const fanout_shm_t *shm, size_t offset)
{
    uint32_t  i;
    uint64_t  n, max;

    max = 0;

    for (i = 0; i < shm->nslots; i++) {
        n = *(const uint64_t *) ((const uint8_t *) &shm->slots[i] + offset);
        max = n > max ? n : max;
    }

    return max;
}


unsigned
ngx_http_fanout_sample_read(ngx_http_fanout_zone_t *z, uint64_t *next,
    ngx_http_fanout_zone_sample_t *samples, unsigned max)
{
    uint64_t       n;
    unsigned       i;
    fanout_shm_t  *shm;

    if (max > FANOUT_SECTION) {
        max = FANOUT_SECTION;
    }

    (void) fanout_enter(z);

    shm = z->shm;
    n = shm->nsamples;

    if (n > NGX_HTTP_FANOUT_SAMPLES && *next < n - NGX_HTTP_FANOUT_SAMPLES) {
        *next = n - NGX_HTTP_FANOUT_SAMPLES;
    }

    for (i = 0; i < max && *next < n; i++) {
        samples[i] = shm->samples[(*next)++ % FANOUT_SAMPLES];
    }

    fanout_leave(z);

    return i;
}
