
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The lock, the undo journal and what follows a death: rollback or rebuild.
 */


#ifndef _GNU_SOURCE
#define _GNU_SOURCE     /* pthread_mutex_clocklock() */
#endif

#include <time.h>
#include <unistd.h>

#include "ngx_http_fanout_heap.h"
#include "ngx_http_fanout_siphash.h"


#define FANOUT_LOCK_RETRY  100          /* ms */

/* a wall clock that is set back makes a wait longer by as much */

#define FANOUT_LOCK_CLOCKS  0

#ifdef __GLIBC_PREREQ
#if (__GLIBC_PREREQ(2, 30))
#undef FANOUT_LOCK_CLOCKS
#define FANOUT_LOCK_CLOCKS  1
#endif
#endif

#if (FANOUT_LOCK_CLOCKS)
#define FANOUT_LOCK_CLOCK  CLOCK_MONOTONIC
#else
#define FANOUT_LOCK_CLOCK  CLOCK_REALTIME
#endif


static void recover(ngx_http_fanout_zone_t *z);
static void rollback(fanout_shm_t *shm);
static int sound(fanout_shm_t *shm);
static void rebuild(ngx_http_fanout_zone_t *z);
static void wake(ngx_http_fanout_zone_t *z);
#if (NGX_HTTP_FANOUT_TEST)
static void measure(ngx_http_fanout_zone_t *z);
#else
#define measure(z)
#endif


/* the lock */

int
fanout_enter(ngx_http_fanout_zone_t *z)
{
    int  rc;

    rc = fanout_take(&z->shm->lock);

    if (__builtin_expect(rc == EOWNERDEAD, 0)) {
        recover(z);
        (void) pthread_mutex_consistent(&z->shm->lock);
    }

    fanout_crash_point();

    z->work = 0;
    fanout_commit(z);

    if (__builtin_expect(z->incarnation != z->shm->incarnation, 0)) {
        z->incarnation = z->shm->incarnation;
        return NGX_HTTP_FANOUT_ZONE_STALE;
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


/*
 * An unlock wakes one of the waiters.  If that one is killed
 * before it runs and another process has taken the lock meanwhile, nothing says
 * that more wait, so nothing wakes them: neither the C library's mutex nor the
 * kernel's list of robust futexes covers this.  So a waiter looks again by
 * itself.
 */

int
fanout_take(pthread_mutex_t *lock)
{
    int              rc;
    struct timespec  until;

    rc = pthread_mutex_trylock(lock);

    while (rc == EBUSY || rc == ETIMEDOUT) {
        (void) clock_gettime(FANOUT_LOCK_CLOCK, &until);

        until.tv_nsec += FANOUT_LOCK_RETRY * 1000000;

        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }

#if (FANOUT_LOCK_CLOCKS)
        rc = pthread_mutex_clocklock(lock, FANOUT_LOCK_CLOCK, &until);
#else
        rc = pthread_mutex_timedlock(lock, &until);
#endif
    }

    return rc;
}


void
fanout_leave(ngx_http_fanout_zone_t *z)
{
    measure(z);

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

    measure(z);
    z->work += shm->njournal;

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


#if (NGX_HTTP_FANOUT_TEST)

static void
measure(ngx_http_fanout_zone_t *z)
{
    uint32_t  n;

    n = z->shm->njournal;

    if (n > fanout_test_journal) {
        fanout_test_journal = n;
    }

    if (z->work + n > fanout_test_work) {
        fanout_test_work = z->work + n;
    }
}

#endif


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

    if (fanout_layout(shm) == NGX_HTTP_FANOUT_ZONE_OK) {
        fanout_format(shm);
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


uint32_t
fanout_msec(ngx_http_fanout_zone_t *z)
{
    struct timespec  ts;

#if (NGX_HTTP_FANOUT_TEST)
    if (fanout_test_seconds) {
        return fanout_test_seconds * 1000 + fanout_test_msec;
    }
#endif

    (void) z;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);

    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
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
