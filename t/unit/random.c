/*
 * Random numbers that a seed replays.
 */


#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "random.h"


uint64_t
rnd(uint64_t *s)
{
    uint64_t  z;

    z = (*s += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;

    return z ^ (z >> 31);
}


uint64_t
seed_of_run(void)
{
    char             *s;
    struct timespec   ts;

    s = getenv("ZONE_SEED");

    if (s) {
        return strtoull(s, NULL, 0);
    }

    clock_gettime(CLOCK_REALTIME, &ts);

    return (uint64_t) ts.tv_nsec << 20 ^ ts.tv_sec ^ getpid();
}
