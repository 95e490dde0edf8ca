
/*
 * Preloaded by clock.t: shifts the wall clock, and only that, by the number
 * of milliseconds in the first eight bytes of the file $FANOUT_TEST_CLOCK; with
 * $FANOUT_TEST_CLOCKS set, the monotonic clock as well.
 */

#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


static volatile int64_t  *shift;
static int                all;


__attribute__((constructor)) static void
open_file(void)
{
    int          fd;
    void        *p;
    const char  *name;

    name = getenv("FANOUT_TEST_CLOCK");
    all = getenv("FANOUT_TEST_CLOCKS") != NULL;
    fd = name ? open(name, O_RDONLY|O_CLOEXEC) : -1;

    if (fd < 0) {
        return;
    }

    p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);

    if (p != MAP_FAILED) {
        shift = p;
    }
}


int
clock_gettime(clockid_t id, struct timespec *ts)
{
    long     rc;
    int64_t  ns;

    rc = syscall(SYS_clock_gettime, id, ts);

    if (rc == 0 && shift
        && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE
            || (all && (id == CLOCK_MONOTONIC
                        || id == CLOCK_MONOTONIC_COARSE))))
    {
        ns = ts->tv_nsec + *shift % 1000 * 1000000;
        ts->tv_sec += *shift / 1000 + (ns >= 1000000000) - (ns < 0);
        ts->tv_nsec = (ns + 1000000000) % 1000000000;
    }

    return rc;
}


int
gettimeofday(struct timeval *tv, void *tz)
{
    struct timespec  ts;

    (void) tz;

    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}


time_t
time(time_t *t)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    if (t) {
        *t = ts.tv_sec;
    }

    return ts.tv_sec;
}
