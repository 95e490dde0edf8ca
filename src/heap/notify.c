
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Waking other processes: a bit for each, written to their eventfds after the
 * unlock.
 */


#include <unistd.h>

#include "heap/heap.h"


void
fanout_notify(fanout_zone_t *z, unsigned n)
{
    uint32_t  *notified;

    notified = &z->shm->slots[n].notified;

    if (__atomic_exchange_n(notified, 1, __ATOMIC_SEQ_CST) == 0) {
        z->wake |= 1ULL << n;
    }
}


void
fanout_notify_all(fanout_zone_t *z)
{
    unsigned  n;

    for (n = 0; n < z->shm->nslots; n++) {
        if (z->shm->slots[n].state == FANOUT_SLOT_LIVE) {
            z->shm->slots[n].notified = 1;
            z->wake |= 1ULL << n;
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
