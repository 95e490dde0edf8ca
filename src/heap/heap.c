
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The life of a heap: creation, format, attachment.
 */


#include <sys/random.h>
#include <time.h>

#include "heap/heap.h"


int
fanout_heap_create(fanout_heap_shm_t *shm)
{
    if (getrandom(shm->seed, sizeof(shm->seed), 0) != sizeof(shm->seed)
        || getrandom(shm->random, sizeof(shm->random), 0)
           != sizeof(shm->random)
        || getrandom(&shm->incarnation, sizeof(shm->incarnation), 0)
           != sizeof(shm->incarnation)
        || fanout_mutex_init(&shm->lock) != 0)
    {
        return FANOUT_ZONE_ERROR;
    }

    /* unique, growing, and with room below 2^53 */
    shm->incarnation = (shm->incarnation & 0xffffffff) << 16;

    return FANOUT_ZONE_OK;
}


int
fanout_heap_place(fanout_heap_shm_t *shm, uint64_t at)
{
    at = (at + FANOUT_BLOCK - 1) & ~(FANOUT_BLOCK - 1ULL);
    shm->blocks = at;

    if (at + 1024 * FANOUT_BLOCK > shm->size
        || (shm->size - at) / FANOUT_BLOCK > UINT32_MAX)
    {
        return FANOUT_ZONE_SMALL;
    }

    shm->nblocks = (shm->size - at) / FANOUT_BLOCK;

    return FANOUT_ZONE_OK;
}


void
fanout_heap_format(fanout_heap_shm_t *shm)
{
    struct timespec  ts;

    shm->fresh = 1;
    shm->nfree = shm->nblocks - 1;
    shm->free = shm->limbo = shm->limbo_tail = shm->nlimbo = 0;
    memset(shm->used, 0, sizeof(shm->used));

    /* the clock continues over a rebuild */

    if (shm->start == 0) {
        clock_gettime(CLOCK_MONOTONIC, &ts);
        shm->start = ts.tv_sec - 1;
    }

    shm->njournal = 0;
    fanout_barrier();
    shm->incarnation++;
    shm->state = FANOUT_READY;
}


void
fanout_heap_attach(fanout_zone_t *z, fanout_heap_shm_t *shm,
    const fanout_owner_t *owner, fanout_process_t *processes, size_t size,
    unsigned n)
{
    fanout_heap_t  *h;

    h = fanout_heap(z);

    h->shm = shm;
    h->base = (uint8_t *) shm + shm->blocks;
    h->owner = owner;
    h->processes = (uint8_t *) processes;
    h->process_size = size;
    h->nprocesses = n;
    h->incarnation = shm->incarnation;
    h->slot = -1;
}


int
fanout_mutex_init(pthread_mutex_t *m)
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
