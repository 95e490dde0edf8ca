
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The last hour, for the status.
 *
 * Samples are in a ring with one place more than are read.  The next sample is
 * written to that place, which no process reads, and so without the journal;
 * then the count is journalled.  If the process dies in between, the count is
 * rolled back, and the place is written again.  All of this is under the lock,
 * so a sample is never seen in part.  The same holds for the marks, the counts
 * of failures of the last minute.
 */


#include "zone/share.h"
#include "zone/slot.h"


#define FANOUT_SAMPLE_RING   (FANOUT_SAMPLES + 1)
#define FANOUT_SECTION                                                        \
    (FANOUT_ZONE_COPY / sizeof(fanout_zone_sample_t))

#define fanout_slots_sum(shm, member)                                         \
    slots_add(shm, offsetof(fanout_slot_t, member))
#define fanout_slots_max(shm, member)                                         \
    slots_max(shm, offsetof(fanout_slot_t, member))


static void sample_take(fanout_zone_t *z, uint32_t elapsed);
static void count_rates(const fanout_shm_t *shm, uint64_t *counts);
static void sample_mark(fanout_zone_t *z, uint32_t now);
static void count_failures(const fanout_shm_t *shm, uint64_t *counts);
static uint64_t refused(const fanout_shm_t *shm);
static void gauges(const fanout_shm_t *shm, float *value);
static uint64_t counted(const fanout_shm_t *shm, unsigned n);
static uint64_t slots_add(const fanout_shm_t *shm, size_t offset);
static uint64_t slots_max(const fanout_shm_t *shm, size_t offset);


void
fanout_sample_take(fanout_zone_t *z)
{
    uint32_t  now, at;

    /* without the lock: enough to know that no sample is due */

    at = __atomic_load_n(&z->shm->sampled_at, __ATOMIC_RELAXED);
    now = fanout_seconds(z);

    if (at && now - at < FANOUT_INTERVAL) {
        return;
    }

    (void) fanout_enter(z);

    at = z->shm->sampled_at;
    now = fanout_seconds(z);

    if (at == 0 || now - at >= FANOUT_INTERVAL) {
        sample_take(z, at ? now - at : 0);
        sample_mark(z, now);
        fanout_set(z, z->shm->sampled_at, now);
    }

    fanout_leave(z);
}


/* The first call only stores the counters. */

static void
sample_take(fanout_zone_t *z, uint32_t elapsed)
{
    float                 *value;
    uint64_t               counts[FANOUT_NRATES];
    unsigned               i;
    fanout_shm_t          *shm;
    fanout_zone_sample_t  *s;

    shm = z->shm;
    s = &shm->samples[shm->nsamples % FANOUT_SAMPLE_RING];
    value = s->value;

    s->time = fanout_wall(z);

    count_rates(shm, counts);

    for (i = 0; i < FANOUT_NRATES; i++) {

        /* a counter may be read before the worker's last increment */

        if (elapsed) {
            value[i] = counts[i] > shm->sampled[i]
                       ? (float) (counts[i] - shm->sampled[i]) / elapsed : 0;
        }

        fanout_set(z, shm->sampled[i], counts[i]);
    }

    if (elapsed) {
        gauges(shm, value);
        fanout_barrier();
        fanout_set(z, shm->nsamples, shm->nsamples + 1);
    }
}


static void
count_rates(const fanout_shm_t *shm, uint64_t *counts)
{
#define FANOUT_RATE(name)                                                     \
    counts[FANOUT_S_##name] = counted(shm, FANOUT_N_##name);
#define FANOUT_ZONE_RATE(name, value)                                         \
    counts[FANOUT_S_##name] = (value);
    FANOUT_RATES(FANOUT_RATE)
    FANOUT_ZONE_RATES(FANOUT_ZONE_RATE)
#undef FANOUT_ZONE_RATE
#undef FANOUT_RATE
}


static void
sample_mark(fanout_zone_t *z, uint32_t now)
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
#define FANOUT_FAILURE(name, level)                                           \
    counts[FANOUT_F_##name] = counted(shm, FANOUT_N_##name);
#define FANOUT_LOSS(name, level, value)                                       \
    counts[FANOUT_F_##name] = (value);
    FANOUT_FAILURES(FANOUT_FAILURE)
    FANOUT_LOSSES(FANOUT_LOSS)
#undef FANOUT_LOSS
#undef FANOUT_FAILURE
}


/* of all shares */

static uint64_t
refused(const fanout_shm_t *shm)
{
    unsigned  i;
    uint64_t  sum;

    sum = 0;

    for (i = 0; i < FANOUT_NSHARES; i++) {
        sum += shm->refused[i];
    }

    return sum;
}


uint32_t
fanout_sample_recent(fanout_zone_t *z, uint64_t *grown)
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

    /* the oldest within a minute and an interval; if none was taken for so
     * long, the newest */

    for (n = shm->nmarks, i = 1; i < FANOUT_MARKS && i <= n; i++) {
        m = &shm->marks[(n - i) % FANOUT_MARKS];

        if (base && now - m->at > 60 + FANOUT_INTERVAL) {
            break;
        }

        base = m;
    }

    count_failures(shm, grown);

    for (i = 0; i < FANOUT_NFAILURES; i++) {
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
#define FANOUT_GAUGE(name, expression)                                        \
    value[FANOUT_S_##name] = (expression);
    FANOUT_GAUGES(FANOUT_GAUGE)
#undef FANOUT_GAUGE
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
fanout_sample_read(fanout_zone_t *z, uint64_t *next,
    fanout_zone_sample_t *samples, unsigned max)
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

    if (n > FANOUT_SAMPLES && *next < n - FANOUT_SAMPLES) {
        *next = n - FANOUT_SAMPLES;
    }

    for (i = 0; i < max && *next < n; i++) {
        samples[i] = shm->samples[(*next)++ % FANOUT_SAMPLE_RING];
    }

    fanout_leave(z);

    return i;
}
