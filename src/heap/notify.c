
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Waking other processes: the handle has a bit for each slot to wake; after the
 * unlock, their eventfds are written.
 */


#include <unistd.h>

#include "heap/heap.h"


static inline fanout_process_t *
notify_process(fanout_zone_t *z, unsigned n)
{
    fanout_heap_t  *h;

    h = fanout_heap(z);

    return (fanout_process_t *) (h->processes + n * h->process_size);
}


void
fanout_notify(fanout_zone_t *z, unsigned n)
{
    uint32_t  *notified;

    notified = &notify_process(z, n)->notified;

    if (__atomic_exchange_n(notified, 1, __ATOMIC_SEQ_CST) == 0) {
        fanout_heap(z)->wake |= 1ULL << n;
    }
}


void
fanout_notify_all(fanout_zone_t *z)
{
    unsigned           n;
    fanout_process_t  *process;

    for (n = 0; n < fanout_heap(z)->nprocesses; n++) {
        process = notify_process(z, n);

        if (process->state == FANOUT_SLOT_LIVE) {
            process->notified = 1;
            fanout_heap(z)->wake |= 1ULL << n;
        }
    }
}


void
fanout_wake(fanout_zone_t *z)
{
    int       fd;
    unsigned  n;
    uint64_t  one, mask;

    one = 1;
    mask = fanout_heap(z)->wake;
    fanout_heap(z)->wake = 0;

    while (mask) {
        n = __builtin_ctzll(mask);
        mask &= mask - 1;

        if ((int) n == fanout_heap(z)->slot) {
            fanout_heap(z)->self_woken = 1;
            continue;
        }

        fd = notify_process(z, n)->efd;

        if (fd != -1) {
            /* EAGAIN: the counter of the eventfd is not 0, it wakes anyway */
            (void) !write(fd, &one, sizeof(one));
        }
    }
}
