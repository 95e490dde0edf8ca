
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Making room when no block is free.  The owner of the heap says what may be
 * evicted, and in which order.
 */


#include "heap/heap.h"


#define FANOUT_ENSURE_STEPS   8         /* steps in a section of the lock */
#define FANOUT_ENSURE_TURNS   1024      /* sections, at most */


static int reclaim_lacks(fanout_zone_t *z, const fanout_need_t *need);
static int reclaim_step(fanout_zone_t *z, const fanout_need_t *need);
static int reclaim_table(fanout_zone_t *z, const fanout_need_t *need,
    int spare);
static int reclaim_full(fanout_zone_t *z, const fanout_need_t *need);
static int reclaim_yield(fanout_zone_t *z);


int
fanout_ensure(fanout_zone_t *z, uint32_t n)
{
    fanout_need_t  need;

    if (fanout_heap(z)->shm->nfree >= n) {
        return FANOUT_ZONE_OK;
    }

    need.n = n;
    need.account = FANOUT_NO_ACCOUNT;

    return fanout_ensure_need(z, &need);
}


int
fanout_ensure_need(fanout_zone_t *z, const fanout_need_t *need)
{
    int       rc;
    unsigned  step, turn;

    step = turn = 0;

    /* nothing is evicted if the need can't be met */

    if (!fanout_heap(z)->owner->attainable(z, need)) {
        return reclaim_full(z, need);
    }

    while (reclaim_lacks(z, need)) {

        if (!reclaim_step(z, need)) {
            return reclaim_full(z, need);
        }

        fanout_commit(z);

        if (++step < FANOUT_ENSURE_STEPS && fanout_section_room(z)) {
            continue;
        }

        step = 0;
        rc = ++turn == FANOUT_ENSURE_TURNS ? reclaim_full(z, need)
                                           : reclaim_yield(z);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }
    }

    return FANOUT_ZONE_OK;
}


static int
reclaim_lacks(fanout_zone_t *z, const fanout_need_t *need)
{
    return fanout_heap(z)->shm->nfree < need->n
           || fanout_heap(z)->owner->exceeds(z, need);
}


/* one transaction */

static int
reclaim_step(fanout_zone_t *z, const fanout_need_t *need)
{
    const fanout_owner_t  *owner;

    owner = fanout_heap(z)->owner;

    return owner->exceeds(z, need) ? owner->relieve(z, need)
                                   : reclaim_table(z, need, 0);
}


static int
reclaim_table(fanout_zone_t *z, const fanout_need_t *need, int spare)
{
    const fanout_reclaimer_t  *r;

    for (r = fanout_heap(z)->owner->reclaimers; r->name; r++) {

        if ((r->spare || !spare) && r->evict(z, need)) {
            return 1;
        }
    }

    return 0;
}


static int
reclaim_full(fanout_zone_t *z, const fanout_need_t *need)
{
    fanout_heap(z)->owner->full(z, need);

    return FANOUT_ZONE_FULL;
}


/* Lets other processes take the lock. */

static int
reclaim_yield(fanout_zone_t *z)
{
    fanout_leave(z);

    return fanout_enter(z);
}


int
fanout_ensure_spare(fanout_zone_t *z, uint32_t n)
{
    uint32_t            i;
    fanout_need_t       need;
    fanout_heap_shm_t  *shm;

    shm = fanout_heap(z)->shm;

    if (shm->nfree < n && shm->nlimbo) {
        fanout_commit(z);
    }

    need.n = n;
    need.account = FANOUT_NO_ACCOUNT;

    /* each step frees at least one block, or an object that keeps blocks in
     * use */

    for (i = 0; shm->nfree < n && i < n; i++) {

        if (!reclaim_table(z, &need, 1)) {
            break;
        }

        fanout_commit(z);
    }

    return shm->nfree >= n;
}
