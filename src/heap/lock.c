
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The lock, the undo journal and what follows a death: rollback or rebuild.
 */


#ifndef _GNU_SOURCE
#define _GNU_SOURCE     /* pthread_mutex_clocklock() */
#endif

#include <time.h>

#include "heap/heap.h"


#define FANOUT_LOCK_RETRY  100          /* ms */

/* With the wall clock, a wait becomes longer if the clock is set back. */

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


static void recover(fanout_zone_t *z);
static void rollback(fanout_heap_shm_t *shm);
static int sound(fanout_heap_shm_t *shm);
static void rebuild(fanout_zone_t *z);
#if (FANOUT_TEST)
static void lock_measure(fanout_zone_t *z);
#else
#define lock_measure(z)
#endif


/* the lock */

int
fanout_enter(fanout_zone_t *z)
{
    int             rc;
    fanout_heap_t  *h;

    h = fanout_heap(z);

    rc = fanout_take(&h->shm->lock);

    if (__builtin_expect(rc == EOWNERDEAD, 0)) {
        recover(z);
        (void) pthread_mutex_consistent(&h->shm->lock);
    }

    fanout_crash_point();

    h->work = 0;
    fanout_commit(z);

    if (__builtin_expect(h->incarnation != h->shm->incarnation, 0)) {
        h->incarnation = h->shm->incarnation;
        return FANOUT_ZONE_STALE;
    }

    return FANOUT_ZONE_OK;
}


/*
 * An unlock wakes one of the waiters.  If that waiter is killed before it runs,
 * and another process has taken the lock meanwhile, the mutex does not show
 * that more processes wait, and nothing wakes them: neither the C library's
 * mutex nor the kernel's list of robust futexes handles this.  So a waiter
 * tries again after 100 ms.
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
fanout_leave(fanout_zone_t *z)
{
    lock_measure(z);

    fanout_barrier();
    fanout_crash_point();

    fanout_heap(z)->shm->njournal = 0;

    fanout_barrier();
    fanout_crash_point();

    (void) pthread_mutex_unlock(&fanout_heap(z)->shm->lock);

    if (fanout_heap(z)->wake) {
        fanout_wake(z);
    }
}


void
fanout_commit(fanout_zone_t *z)
{
    fanout_heap_shm_t  *shm;

    shm = fanout_heap(z)->shm;

    lock_measure(z);
    fanout_heap(z)->work += shm->njournal;

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


#if (FANOUT_TEST)

static void
lock_measure(fanout_zone_t *z)
{
    uint32_t  n;

    n = fanout_heap(z)->shm->njournal;

    if (n > fanout_test_journal) {
        fanout_test_journal = n;
    }

    if (fanout_heap(z)->work + n > fanout_test_work) {
        fanout_test_work = fanout_heap(z)->work + n;
    }
}

#endif


static void
recover(fanout_zone_t *z)
{
    if (fanout_heap(z)->shm->state == FANOUT_READY) {
        rollback(fanout_heap(z)->shm);

        if (sound(fanout_heap(z)->shm)) {
            fanout_heap(z)->shm->rollbacks++;
            fanout_heap(z)->recoveries++;
            return;
        }
    }

    rebuild(z);
}


static void
rollback(fanout_heap_shm_t *shm)
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


/* Checks what can be checked without a walk: a bug that overwrote the zone
 * would most likely show here. */

static int
sound(fanout_heap_shm_t *shm)
{
    uint64_t  n;
    uint32_t  i;

    n = (uint64_t) shm->nfree + shm->nlimbo;

    for (i = 0; i < FANOUT_KINDS; i++) {
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
rebuild(fanout_zone_t *z)
{
    fanout_heap_shm_t  *shm;

    shm = fanout_heap(z)->shm;
    shm->state = FANOUT_REBUILDING;
    fanout_barrier();

    fanout_heap(z)->owner->format(z);

    /* all workers have to open their channels again */
    fanout_notify_all(z);
}
