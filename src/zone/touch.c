
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Page faults outside of the lock.  A page of the shared memory is not mapped
 * in a process before its first access, and is not filled with zeros before the
 * first access of any process.  The kernel needs some us for each page; under
 * the lock, all workers would wait for that.
 */


#include "zone/layout.h"
#include "zone/slot.h"


#define FANOUT_PAGE        4096     /* a page, or a part of one */
#define FANOUT_TOUCH_STEP  1048576  /* bytes in a call */
#define FANOUT_TOUCH_AHEAD 1048576  /* bytes of the blocks used next */


static uint64_t touch_fresh(fanout_zone_t *z);
static void touch(fanout_zone_t *z, uint64_t from, uint64_t to);


/* offset of the first block that was never used */

static uint64_t
touch_fresh(fanout_zone_t *z)
{
    fanout_heap_shm_t  *heap;

    heap = &z->shm->heap;

    return heap->blocks
           + (uint64_t) *(volatile uint32_t *) &heap->fresh * FANOUT_BLOCK;
}


int
fanout_zone_touch(fanout_zone_t *z)
{
    uint64_t  used, to;

    used = touch_fresh(z) + FANOUT_TOUCH_AHEAD;
    used = used < z->shm->heap.size ? used : z->shm->heap.size;

    if (z->touched >= used) {
        /* or the zone was rebuilt with less in use */
        return FANOUT_ZONE_OK;
    }

    to = z->touched + FANOUT_TOUCH_STEP;
    to = to < used ? to : used;

    touch(z, z->touched, to);
    z->touched = to;

    return to < used ? FANOUT_ZONE_AGAIN : FANOUT_ZONE_OK;
}


void
fanout_touch_fresh(fanout_zone_t *z, uint32_t n)
{
    uint64_t  from, to;

    from = touch_fresh(z);
    to = from + (uint64_t) n * FANOUT_BLOCK;

    touch(z, from, to < z->shm->heap.size ? to : z->shm->heap.size);
}


/* A read is enough: the mapping is shared and writable. */

static void
touch(fanout_zone_t *z, uint64_t from, uint64_t to)
{
    volatile const uint8_t  *p;

    p = (const uint8_t *) z->shm;

    for (from -= from % FANOUT_PAGE; from < to; from += FANOUT_PAGE) {
        (void) p[from];
    }
}
