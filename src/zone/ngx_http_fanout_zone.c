
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The life of a zone: format, lock, recovery, blocks.
 */


#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "ngx_http_fanout_heap.h"
#include "ngx_http_fanout_siphash.h"


static void format(fanout_shm_t *shm);
static int layout(fanout_shm_t *shm);
static uint32_t sizes(void);
static int mutex_init(pthread_mutex_t *m);
static void recover(ngx_http_fanout_zone_t *z);
static void rollback(fanout_shm_t *shm);
static int sound(fanout_shm_t *shm);
static void rebuild(ngx_http_fanout_zone_t *z);
static int make_room(ngx_http_fanout_zone_t *z);
static int evict_largest(ngx_http_fanout_zone_t *z);
static void wake(ngx_http_fanout_zone_t *z);
static uint32_t power(uint64_t n);


uint32_t
ngx_http_fanout_zone_slots(uint32_t configured)
{
    if (configured == 0) {
        return 32;
    }

    return configured < NGX_HTTP_FANOUT_ZONE_SLOTS
           ? configured : NGX_HTTP_FANOUT_ZONE_SLOTS;
}


int
ngx_http_fanout_zone_create(void *mem, size_t size,
    const ngx_http_fanout_zone_conf_t *conf, const int *efds)
{
    uint32_t       i;
    fanout_shm_t  *shm;

    if (size < NGX_HTTP_FANOUT_ZONE_MIN) {
        return NGX_HTTP_FANOUT_ZONE_SMALL;
    }

    shm = mem;
    memset(shm, 0, sizeof(fanout_shm_t));

    shm->size = size;
    shm->nslots = ngx_http_fanout_zone_slots(conf->slots);
    shm->idle = conf->idle ? conf->idle : 300;
    shm->dedupe = conf->dedupe ? conf->dedupe : 120;

    if (layout(shm) != NGX_HTTP_FANOUT_ZONE_OK) {
        return NGX_HTTP_FANOUT_ZONE_SMALL;
    }

    shm->held_max = (uint64_t) shm->nblocks * (conf->held ? conf->held : 12)
                    / 100;

    if (getrandom(shm->seed, sizeof(shm->seed), 0) != sizeof(shm->seed)
        || getrandom(shm->random, sizeof(shm->random), 0)
           != sizeof(shm->random)
        || getrandom(&shm->incarnation, sizeof(shm->incarnation), 0)
           != sizeof(shm->incarnation)
        || mutex_init(&shm->lock) != 0)
    {
        return NGX_HTTP_FANOUT_ZONE_ERROR;
    }

    /* unique, growing, and room below 2^53 */
    shm->incarnation = (shm->incarnation & 0xffffffff) << 16;

    for (i = 0; i < shm->nslots; i++) {
        shm->slots[i].efd = efds ? efds[i] : -1;

        if (mutex_init(&shm->slots[i].life) != 0) {
            return NGX_HTTP_FANOUT_ZONE_ERROR;
        }
    }

    format(shm);

    shm->layout = FANOUT_LAYOUT;
    shm->sizes = sizes();
    shm->magic = FANOUT_MAGIC;

    return NGX_HTTP_FANOUT_ZONE_OK;
}


/* places the regions behind the fixed part, by the size alone */

static int
layout(fanout_shm_t *shm)
{
    uint64_t  at, n;

    n = shm->size / FANOUT_BLOCK;

    shm->channel_mask = power(n / 8) - 1;
    shm->key_mask = power(n / 16) - 1;
    shm->identity_mask = power(n / 32) - 1;

    at = (sizeof(fanout_shm_t) + FANOUT_BLOCK - 1) & ~(FANOUT_BLOCK - 1ULL);

    shm->journal = at;
    at += FANOUT_JOURNAL * sizeof(fanout_undo_t);

    shm->channel_hash = at;
    at += (shm->channel_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->key_hash = at;
    at += (shm->key_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->identity_hash = at;
    at += (shm->identity_mask + 1ULL) * sizeof(fanout_ref_t);

    at = (at + FANOUT_BLOCK - 1) & ~(FANOUT_BLOCK - 1ULL);
    shm->blocks = at;

    if (at + 1024 * FANOUT_BLOCK > shm->size
        || (shm->size - at) / FANOUT_BLOCK > UINT32_MAX)
    {
        return NGX_HTTP_FANOUT_ZONE_SMALL;
    }

    shm->nblocks = (shm->size - at) / FANOUT_BLOCK;

    return NGX_HTTP_FANOUT_ZONE_OK;
}


static uint32_t
power(uint64_t n)
{
    uint32_t  p;

    for (p = 1; p < n / 2 + 1 && p < 1U << 30; p <<= 1) { /* void */ }

    return p;
}


/* Makes the heap empty; may be killed and done again. */

static void
format(fanout_shm_t *shm)
{
    uint32_t          i;
    struct timespec   ts;

    memset((uint8_t *) shm + shm->channel_hash, 0,
           shm->blocks - shm->channel_hash);

    shm->fresh = 1;
    shm->nfree = shm->nblocks - 1;
    shm->free = shm->limbo = shm->limbo_tail = shm->nlimbo = 0;
    memset(shm->used, 0, sizeof(shm->used));

    shm->nchannels = shm->nkeys = shm->nidentities = shm->nlingering = 0;
    shm->held = 0;
    shm->held_first = shm->held_last = 0;
    shm->idle_first = shm->idle_last = 0;
    shm->key_first = shm->key_last = 0;
    shm->lingering_first = shm->lingering_last = 0;
    shm->doomed = 0;
    memset(shm->bucket, 0, sizeof(shm->bucket));
    memset(shm->wheel, 0, sizeof(shm->wheel));

    for (i = 0; i < NGX_HTTP_FANOUT_ZONE_CLASSES; i++) {
        shm->classes[i].channels = 0;
    }

    for (i = 0; i < shm->nslots; i++) {
        shm->slots[i].dirty_head = shm->slots[i].dirty_tail = 0;
        shm->slots[i].interests = shm->slots[i].ninterests = 0;
        shm->slots[i].identities = shm->slots[i].replaced = 0;
        shm->slots[i].nstaged = 0;
    }

    /* the clock of the zone goes on over a rebuild */

    if (shm->start == 0) {
        clock_gettime(CLOCK_MONOTONIC, &ts);
        shm->start = ts.tv_sec - 1;
    }

    shm->njournal = 0;
    fanout_barrier();
    shm->incarnation++;
    shm->state = FANOUT_READY;
}


static int
mutex_init(pthread_mutex_t *m)
{
    int                  rc;
    pthread_mutexattr_t  attr;

    rc = pthread_mutexattr_init(&attr);

    if (rc == 0) {
        rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    }

    if (rc == 0) {
        rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    }

    if (rc == 0) {
        rc = pthread_mutex_init(m, &attr);
    }

    errno = rc;

    return rc;
}


static uint32_t
sizes(void)
{
    uint32_t  h, i;

    const uint32_t  size[] = {
        sizeof(fanout_shm_t), sizeof(fanout_slot_t), sizeof(fanout_undo_t),
        sizeof(fanout_entry_t), sizeof(fanout_index_t),
        sizeof(fanout_channel_t), sizeof(fanout_cold_t),
        sizeof(fanout_name_t), sizeof(fanout_interest_t),
        sizeof(fanout_key_t), sizeof(fanout_identity_t),
        sizeof(pthread_mutex_t), NGX_HTTP_FANOUT_NCOUNTERS
    };

    h = 2166136261;

    for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        h = (h ^ size[i]) * 16777619;
    }

    return h;
}


int
ngx_http_fanout_zone_check_layout(const void *mem, size_t size)
{
    const fanout_shm_t  *shm;

    shm = mem;

    if (shm->magic != FANOUT_MAGIC || shm->layout != FANOUT_LAYOUT
        || shm->sizes != sizes() || shm->size != size)
    {
        return NGX_HTTP_FANOUT_ZONE_LAYOUT;
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


int
ngx_http_fanout_zone_attach(ngx_http_fanout_zone_t *z, void *mem, size_t size)
{
    if (ngx_http_fanout_zone_check_layout(mem, size)
        != NGX_HTTP_FANOUT_ZONE_OK)
    {
        return NGX_HTTP_FANOUT_ZONE_LAYOUT;
    }

    memset(z, 0, sizeof(ngx_http_fanout_zone_t));

    z->shm = mem;
    z->base = (uint8_t *) mem + z->shm->blocks;
    z->incarnation = z->shm->incarnation;
    z->told = z->incarnation;
    z->slot = -1;

    return NGX_HTTP_FANOUT_ZONE_OK;
}


int
ngx_http_fanout_zone_class(ngx_http_fanout_zone_t *z, const uint8_t *pattern,
    size_t len)
{
    uint32_t                       i;
    fanout_shm_t                  *shm;
    ngx_http_fanout_zone_class_t  *c;

    if (len > sizeof(c->pattern)) {
        len = sizeof(c->pattern);
    }

    (void) fanout_enter(z);

    shm = z->shm;

    for (i = 0; i < shm->nclasses; i++) {
        c = &shm->classes[i];

        if (c->len == len && memcmp(c->pattern, pattern, len) == 0) {
            goto done;
        }
    }

    if (i == NGX_HTTP_FANOUT_ZONE_CLASSES) {
        i--;
        goto done;
    }

    c = &shm->classes[i];
    memcpy(c->pattern, pattern, len);
    fanout_set(z, c->len, len);
    fanout_set(z, shm->nclasses, i + 1);

done:

    fanout_leave(z);

    return i;
}


int
ngx_http_fanout_zone_get_class(ngx_http_fanout_zone_t *z, unsigned n,
    ngx_http_fanout_zone_class_t *c)
{
    int  rc;

    (void) fanout_enter(z);

    rc = NGX_HTTP_FANOUT_ZONE_NOTFOUND;

    if (n < z->shm->nclasses) {
        *c = z->shm->classes[n];
        rc = NGX_HTTP_FANOUT_ZONE_OK;
    }

    fanout_leave(z);

    return rc;
}


/* the lock */

int
fanout_enter(ngx_http_fanout_zone_t *z)
{
    int  rc;

    rc = pthread_mutex_lock(&z->shm->lock);

    if (__builtin_expect(rc == EOWNERDEAD, 0)) {
        recover(z);
        (void) pthread_mutex_consistent(&z->shm->lock);
    }

    fanout_crash_point();

    fanout_commit(z);

    if (__builtin_expect(z->incarnation != z->shm->incarnation, 0)) {
        z->incarnation = z->shm->incarnation;
        return NGX_HTTP_FANOUT_ZONE_STALE;
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


void
fanout_leave(ngx_http_fanout_zone_t *z)
{
    fanout_barrier();
    fanout_crash_point();

    z->shm->njournal = 0;

    fanout_barrier();
    fanout_crash_point();

    (void) pthread_mutex_unlock(&z->shm->lock);

    if (z->wake) {
        wake(z);
    }
}


void
fanout_commit(ngx_http_fanout_zone_t *z)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    fanout_barrier();
    shm->njournal = 0;
    fanout_barrier();
    fanout_crash_point();

    if (shm->limbo == 0) {
        return;
    }

    fanout_set(z, fanout_block(z, shm->limbo_tail)->next, shm->free);
    fanout_set(z, shm->free, shm->limbo);
    fanout_set(z, shm->nfree, shm->nfree + shm->nlimbo);
    fanout_set(z, shm->limbo, 0);
    fanout_set(z, shm->nlimbo, 0);

    fanout_barrier();
    shm->njournal = 0;
    fanout_barrier();
}


void
fanout_abort(ngx_http_fanout_zone_t *z)
{
    rollback(z->shm);
}


static void
recover(ngx_http_fanout_zone_t *z)
{
    if (z->shm->state == FANOUT_READY) {
        rollback(z->shm);

        if (sound(z->shm)) {
            z->shm->rollbacks++;
            z->recoveries++;
            return;
        }
    }

    rebuild(z);
}


static void
rollback(fanout_shm_t *shm)
{
    uint8_t        *p;
    uint32_t        n;
    fanout_undo_t  *u;

    u = (fanout_undo_t *) ((uint8_t *) shm + shm->journal);

    if (shm->njournal > FANOUT_JOURNAL) {
        shm->state = 0;
        return;
    }

    for (n = shm->njournal; n > 0; n--) {
        p = (uint8_t *) shm + (u[n - 1].where >> 8);

        switch (u[n - 1].where & 0xff) {
        case 8:  *(uint64_t *) p = u[n - 1].old; break;
        case 4:  *(uint32_t *) p = u[n - 1].old; break;
        case 2:  *(uint16_t *) p = u[n - 1].old; break;
        default: *p = u[n - 1].old;
        }

        fanout_barrier();
        fanout_crash_point();
    }

    shm->njournal = 0;
    fanout_barrier();
}


/* What can be told without a walk: a process that wrote over the zone by
 * another bug would most likely show here. */

static int
sound(fanout_shm_t *shm)
{
    uint64_t  n;
    uint32_t  i;

    n = (uint64_t) shm->nfree + shm->nlimbo;

    for (i = 0; i < FANOUT_NKINDS; i++) {
        n += shm->used[i];
    }

    return shm->state == FANOUT_READY
           && shm->magic == FANOUT_MAGIC
           && n == shm->nblocks - 1
           && shm->fresh <= shm->nblocks
           && shm->free < shm->fresh
           && shm->limbo < shm->fresh;
}


static void
rebuild(ngx_http_fanout_zone_t *z)
{
    fanout_shm_t  *shm;

    shm = z->shm;
    shm->state = FANOUT_REBUILDING;
    fanout_barrier();

    if (layout(shm) == NGX_HTTP_FANOUT_ZONE_OK) {
        format(shm);
    }

    /* all have to open their channels again */
    fanout_notify_all(z);
}


static void
wake(ngx_http_fanout_zone_t *z)
{
    int       fd;
    unsigned  n;
    uint64_t  one, mask;

    one = 1;
    mask = z->wake;
    z->wake = 0;

    while (mask) {
        n = __builtin_ctzll(mask);
        mask &= mask - 1;

        if ((int) n == z->slot) {
            z->self_woken = 1;
            continue;
        }

        fd = z->shm->slots[n].efd;

        if (fd != -1) {
            /* EAGAIN means it has plenty to wake up for */
            (void) !write(fd, &one, sizeof(one));
        }
    }
}


/* clocks */

uint32_t
fanout_seconds(ngx_http_fanout_zone_t *z)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);

#if (NGX_HTTP_FANOUT_TEST)
    if (fanout_test_seconds) {
        return fanout_test_seconds;
    }
#endif

    return ts.tv_sec - z->shm->start;
}


uint64_t
fanout_wall(ngx_http_fanout_zone_t *z)
{
    uint64_t         ms;
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    ms = (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    if (ms > z->shm->wall) {
        fanout_set(z, z->shm->wall, ms);
    }

    return z->shm->wall;
}


uint64_t
fanout_random(ngx_http_fanout_zone_t *z)
{
    uint64_t  h[2];

    fanout_set(z, z->shm->random[0], z->shm->random[0] + 1);
    fanout_hash(z, z->shm->random, sizeof(z->shm->random), NULL, 0, 2, h);

    return h[0] ? h[0] : 1;
}


void
fanout_hash(ngx_http_fanout_zone_t *z, const void *a, size_t alen,
    const void *b, size_t blen, uint64_t salt, uint64_t out[2])
{
    unsigned          i;
    uint64_t          n;
    fanout_siphash_t  s;

    for (i = 0; i < 2; i++) {
        n = (salt << 1 | i) << 32 | alen;

        fanout_siphash_init(&s, z->shm->seed);
        fanout_siphash_update(&s, &n, sizeof(n));
        fanout_siphash_update(&s, a, alen);
        fanout_siphash_update(&s, b, blen);
        out[i] = fanout_siphash_final(&s);
    }
}


uint64_t
ngx_http_fanout_zone_hash(ngx_http_fanout_zone_t *z, const void *data,
    size_t len)
{
    fanout_siphash_t  s;

    fanout_siphash_init(&s, z->shm->seed);
    fanout_siphash_update(&s, data, len);

    return fanout_siphash_final(&s);
}


/* blocks */

int
fanout_ensure(ngx_http_fanout_zone_t *z, uint32_t n)
{
    while (z->shm->nfree < n) {
        if (!make_room(z)) {
            z->shm->full++;
            return NGX_HTTP_FANOUT_ZONE_FULL;
        }

        fanout_commit(z);
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


/* the order under pressure; one step, one transaction */

static int
make_room(ngx_http_fanout_zone_t *z)
{
    if (fanout_doomed_free(z)) {
        return 1;
    }

    if (fanout_channel_sweep(z) == NGX_HTTP_FANOUT_ZONE_AGAIN
        || z->shm->nlimbo)
    {
        return 1;
    }

    /* the turn of the wheel may have filled the journal */
    fanout_commit(z);

    if (fanout_key_sweep(z) == NGX_HTTP_FANOUT_ZONE_AGAIN
        || fanout_identity_sweep(z) == NGX_HTTP_FANOUT_ZONE_AGAIN
        || z->shm->nlimbo)
    {
        return 1;
    }

    if (z->shm->held > z->shm->held_max && fanout_stream_drop(z)) {
        return 1;
    }

    return evict_largest(z)
           || fanout_channel_evict_idle(z)
           || fanout_identity_evict(z)
           || fanout_stream_drop(z);
}


static int
evict_largest(ngx_http_fanout_zone_t *z)
{
    uint32_t           i, n;
    fanout_channel_t  *ch;

    for (i = FANOUT_BUCKETS; i > 0; i--) {
        if (z->shm->bucket[i - 1]) {
            ch = fanout_channel(z, z->shm->bucket[i - 1]);

            n = ch->history < FANOUT_STEP ? ch->history : FANOUT_STEP;
            fanout_set(z, z->shm->evicted, z->shm->evicted + n);
            fanout_history_drop(z, z->shm->bucket[i - 1], n);

            return 1;
        }
    }

    return 0;
}


fanout_ref_t
fanout_alloc(ngx_http_fanout_zone_t *z, uint32_t n, fanout_kind_e kind,
    fanout_ref_t *last)
{
    uint32_t       left;
    fanout_ref_t   first, prev, ref;
    fanout_shm_t  *shm;

    shm = z->shm;
    first = ref = shm->free;
    prev = 0;
    left = n;

    while (left && ref) {
        prev = ref;
        ref = fanout_block(z, ref)->next;
        left--;
    }

    if (prev) {
        fanout_set(z, shm->free, ref);
        fanout_set(z, fanout_block(z, prev)->next, left ? shm->fresh : 0);
    }

    if (left) {
        ref = shm->fresh;

        if (prev == 0) {
            first = ref;
        }

        fanout_set(z, shm->fresh, ref + left);

        /* never used before: no content worth a journal */

        for ( /* void */ ; left > 1; left--, ref++) {
            fanout_block(z, ref)->next = ref + 1;
        }

        fanout_block(z, ref)->next = 0;
        prev = ref;
    }

    fanout_set(z, shm->nfree, shm->nfree - n);
    fanout_set(z, shm->used[kind], shm->used[kind] + n);

    if (last) {
        *last = prev;
    }

    return first;
}


void
fanout_free(ngx_http_fanout_zone_t *z, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, fanout_kind_e kind)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    fanout_set(z, fanout_block(z, last)->next, shm->limbo);

    if (shm->limbo == 0) {
        fanout_set(z, shm->limbo_tail, last);
    }

    fanout_set(z, shm->limbo, first);
    fanout_set(z, shm->nlimbo, shm->nlimbo + n);
    fanout_set(z, shm->used[kind], shm->used[kind] - n);
}


void
fanout_write(fanout_pen_t *pen, const void *src, size_t n)
{
    size_t           part;
    const uint8_t   *p;
    fanout_block_t  *b;

    p = src;

    while (n) {
        if (pen->pos == FANOUT_BLOCK) {
            pen->ref = fanout_block(pen->z, pen->ref)->next;
            pen->pos = sizeof(fanout_ref_t);
        }

        b = fanout_block(pen->z, pen->ref);

        part = FANOUT_BLOCK - pen->pos;
        if (part > n) {
            part = n;
        }

        memcpy((uint8_t *) b + pen->pos, p, part);

        pen->pos += part;
        p += part;
        n -= part;
    }
}


/* -1 if the chain is not one: only without the lock, in a lost race */

int
fanout_copy(fanout_pen_t *pen, void *dst, size_t n)
{
    size_t           part;
    uint8_t         *p;
    fanout_block_t  *b;

    p = dst;

    while (n) {
        if (pen->pos == FANOUT_BLOCK) {
            pen->ref = *(volatile fanout_ref_t *)
                           &fanout_block(pen->z, pen->ref)->next;
            pen->pos = sizeof(fanout_ref_t);

            if (pen->left-- == 0) {
                return -1;
            }
        }

        if (pen->ref == 0 || pen->ref >= pen->z->shm->nblocks) {
            return -1;
        }

        b = fanout_block(pen->z, pen->ref);

        part = FANOUT_BLOCK - pen->pos;
        if (part > n) {
            part = n;
        }

        if (p) {
            memcpy(p, (uint8_t *) b + pen->pos, part);
            p += part;
        }

        pen->pos += part;
        n -= part;
    }

    return 0;
}


/* housekeeping */

int
ngx_http_fanout_zone_sweep(ngx_http_fanout_zone_t *z)
{
    int  more, rc;

    (void) fanout_enter(z);

    more = 0;

    if (z->shm->held > z->shm->held_max) {
        more = fanout_stream_drop(z);
        fanout_commit(z);
    }

    more |= fanout_held_sweep(z);
    fanout_commit(z);

    more |= fanout_doomed_free(z);
    fanout_commit(z);

    rc = fanout_channel_sweep(z);
    more |= (rc == NGX_HTTP_FANOUT_ZONE_AGAIN);
    fanout_commit(z);

    rc = fanout_key_sweep(z);
    more |= (rc == NGX_HTTP_FANOUT_ZONE_AGAIN);
    fanout_commit(z);

    rc = fanout_identity_sweep(z);
    more |= (rc == NGX_HTTP_FANOUT_ZONE_AGAIN);

    fanout_leave(z);

    return more ? NGX_HTTP_FANOUT_ZONE_AGAIN : NGX_HTTP_FANOUT_ZONE_OK;
}


void
ngx_http_fanout_zone_stat(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_stat_t *st)
{
    uint32_t       i;
    fanout_shm_t  *shm;

    (void) fanout_enter(z);

    shm = z->shm;
    memset(st, 0, sizeof(ngx_http_fanout_zone_stat_t));

    st->blocks = shm->nblocks - 1;
    st->free = (uint64_t) shm->nfree + shm->nlimbo;
    st->messages = shm->used[FANOUT_MESSAGES];
    st->index = shm->used[FANOUT_INDEX];
    st->channels = shm->used[FANOUT_CHANNELS];
    st->interests = shm->used[FANOUT_INTERESTS];
    st->keys = shm->used[FANOUT_KEYS];
    st->identities = shm->used[FANOUT_IDENTITIES];
    st->staged = shm->used[FANOUT_STAGED];
    st->held = shm->held;
    st->held_max = shm->held_max;
    st->nchannels = shm->nchannels;
    st->nkeys = shm->nkeys;
    st->nidentities = shm->nidentities;
    st->lingering = shm->nlingering;
    st->seq = shm->seq;
    st->incarnation = shm->incarnation;
    st->evicted = shm->evicted;
    st->expired = shm->expired;
    st->dropped = shm->dropped;
    st->full = shm->full;
    st->rollbacks = shm->rollbacks;
    st->reaped = shm->reaped;
    st->overflows = shm->overflows;
    st->slots = shm->nslots;
    st->block_size = FANOUT_BLOCK;
    memcpy(st->retired, shm->retired, sizeof(st->retired));

    for (i = 0; i < shm->nslots; i++) {
        st->live += (shm->slots[i].state == FANOUT_SLOT_LIVE);
    }

    fanout_leave(z);
}
