/*
 * A worker that is killed in the middle of an operation.
 */


#include "zone_kill.h"


#define LINGER  20000                   /* ms, of the clients of the dead */

typedef struct {
    void      *mem;
    size_t     size;
    void     (*run)(zone_t *z, void *data);
    void      *data;
    unsigned   at;
    int        ended;
} kill_t;


static __thread unsigned  left;         /* crash points, 0: no death */


void
fanout_crash_point(void)
{
    if (left && --left == 0) {
        pthread_exit(NULL);
    }
}


static void *
worker(void *data)
{
    zone_t   z;
    kill_t  *k;

    k = data;
    memset(&z, 0, sizeof(zone_t));

    if (fanout_zone_attach(&z, k->mem, k->size) != OK
        || fanout_slot_claim(&z, 99) != OK)
    {
        abort();
    }

    left = k->at;
    k->run(&z, k->data);
    left = 0;

    k->ended = 1;
    fanout_slot_release(&z);

    return NULL;
}


int
killed_at(zone_t *z, void *mem, size_t size, unsigned at,
    void (*run)(zone_t *z, void *data), void *data)
{
    kill_t     k;
    pthread_t  thread;

    k.mem = mem;
    k.size = size;
    k.run = run;
    k.data = data;
    k.ended = 0;
    k.at = at;

    if (pthread_create(&thread, NULL, worker, &k) != 0) {
        abort();
    }

    (void) pthread_join(thread, NULL);

    if (!k.ended) {
        (void) fanout_slot_reap(z, LINGER, NULL);
    }

    return !k.ended;
}
