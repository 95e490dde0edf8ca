
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The zone's clocks.
 */


#include <time.h>

#include "heap/heap.h"


uint32_t
fanout_seconds(fanout_zone_t *z)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);

#if (FANOUT_TEST)
    if (fanout_test_seconds) {
        return fanout_test_seconds;
    }
#endif

    return ts.tv_sec - fanout_heap(z)->shm->start;
}


uint32_t
fanout_msec(fanout_zone_t *z)
{
    struct timespec  ts;

#if (FANOUT_TEST)
    if (fanout_test_seconds) {
        return fanout_test_seconds * 1000 + fanout_test_msec;
    }
#endif

    (void) z;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);

    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


uint64_t
fanout_wall(fanout_zone_t *z)
{
    uint64_t         ms;
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    ms = (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    if (ms > fanout_heap(z)->shm->wall) {
        fanout_set(z, fanout_heap(z)->shm->wall, ms);
    }

    return fanout_heap(z)->shm->wall;
}
