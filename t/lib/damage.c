/*
 * Preloaded by rebuild.t: the process whose number is in the first four bytes
 * of the file $FANOUT_TEST_DAMAGE damages the zone when it is about to release
 * the zone's lock, and dies with it.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/heap.h"


static volatile int32_t  *victim;


__attribute__((constructor)) static void
open_file(void)
{
    int          fd;
    void        *p;
    const char  *name;

    name = getenv("FANOUT_TEST_DAMAGE");
    fd = name ? open(name, O_RDWR|O_CLOEXEC) : -1;

    if (fd < 0) {
        return;
    }

    p = mmap(NULL, sizeof(int32_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);

    if (p != MAP_FAILED) {
        victim = p;
    }
}


/* a zone begins at a page, so what is before another mutex can be read */

static fanout_heap_shm_t *
zone_of(pthread_mutex_t *m)
{
    uint8_t            *p;
    fanout_heap_shm_t  *shm;

    p = (uint8_t *) m - offsetof(fanout_heap_shm_t, lock);
    shm = (fanout_heap_shm_t *) p;

    return (uintptr_t) p % 4096 == 0 && shm->magic == FANOUT_MAGIC
           ? shm : NULL;
}


int
pthread_mutex_unlock(pthread_mutex_t *m)
{
    fanout_heap_shm_t  *shm;

    static int  (*real)(pthread_mutex_t *m);

    if (real == NULL) {
        *(void **) &real = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    }

    shm = victim && *victim == getpid() ? zone_of(m) : NULL;

    if (shm) {
        *victim = 0;
        shm->nfree++;
        (void) kill(getpid(), SIGKILL);
    }

    return real(m);
}
