/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * The last hour of the status.  If this fails, its plots are of another time,
 * have the wrong height, or show what a killed worker left half written.
 */


#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zone/layout.h"
#include "tap.h"


#define SIZE      (4 * 1024 * 1024)
#define INTERVAL  FANOUT_INTERVAL
#define KEPT      FANOUT_SAMPLES


uint32_t  fanout_test_seconds;
uint32_t  fanout_test_msec;
uint32_t  fanout_test_journal;
uint32_t  fanout_test_work;

static fanout_zone_t         zone;
static fanout_zone_sample_t  all[KEPT + 8];


static void
later(unsigned s)
{
    fanout_test_seconds += s;
    fanout_sample_take(&zone);
}


/* all that is kept, in sections; the number of the first */

static unsigned
read_all(uint64_t *first)
{
    uint64_t  next;
    unsigned  n, got;

    next = 0;
    n = 0;

    do {
        got = fanout_sample_read(&zone, &next, &all[n], KEPT + 8 - n);
        n += got;
    } while (got && n < KEPT + 8);

    *first = next - n;

    return n;
}


int
main(void)
{
    void                  *mem;
    pid_t                  pid;
    uint64_t               first, next, *counters;
    uint64_t               grown[FANOUT_NFAILURES];
    unsigned               i, n, torn;
    fanout_shm_t          *shm;
    fanout_zone_conf_t     conf;
    fanout_zone_vitals_t   vitals;

    memset(&conf, 0, sizeof(conf));
    memset(&vitals, 0, sizeof(vitals));

    mem = mmap(NULL, SIZE, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
               -1, 0);
    fanout_test_seconds = 1000;

    if (mem == MAP_FAILED
        || fanout_zone_create(mem, SIZE, &conf, NULL) != 0
        || fanout_zone_attach(&zone, mem, SIZE) != 0
        || fanout_slot_claim(&zone, 1) != 0)
    {
        printf("Bail out! no zone\n");
        return 1;
    }

    shm = zone.shm;
    counters = fanout_slot_counters(&zone);

    fanout_sample_take(&zone);
    ok(read_all(&first) == 0, "the first look only remembers");

    counters[FANOUT_N_delivered] += 1000;
    later(INTERVAL - 1);
    ok(read_all(&first) == 0, "it is not due");

    later(1);
    later(0);
    n = read_all(&first);
    ok(n == 1, "one is taken, once");
    ok(all[0].value[FANOUT_S_delivered] == 100, "a rate");
    ok(all[0].value[FANOUT_S_gaps] == 0, "another");

    vitals.memory = 4096;
    vitals.lag = 7;
    fanout_slot_vitals(&zone, &vitals);
    fanout_slot_sessions(&zone, 42);
    counters[FANOUT_N_delivered] += 600;
    later(3 * INTERVAL);
    (void) read_all(&first);
    ok(all[1].value[FANOUT_S_delivered] == 20,
       "a rate is over the time since the last one");
    ok(all[1].value[FANOUT_S_sessions] == 42
       && all[1].value[FANOUT_S_memory] == 4096
       && all[1].value[FANOUT_S_lag] == 7
       && all[1].value[FANOUT_S_used] == 0, "gauges");
    ok(all[1].time >= all[0].time, "in order");

    /* a worker that goes takes nothing with it */

    counters[FANOUT_N_delivered] += 50;
    fanout_slot_release(&zone);
    (void) fanout_slot_claim(&zone, 2);
    counters = fanout_slot_counters(&zone);
    later(INTERVAL);
    n = read_all(&first);
    ok(all[n - 1].value[FANOUT_S_delivered] == 5
       && all[n - 1].value[FANOUT_S_sessions] == 0,
       "what a worker counted stays, what it had does not");

    /* the ring turns: each sample's rate tells its number */

    for (i = n; i < KEPT + 100; i++) {
        counters[FANOUT_N_delivered] += i * INTERVAL;
        later(INTERVAL);
    }

    n = read_all(&first);
    ok(n == KEPT && first == 100, "the last hour is kept");

    torn = 0;

    for (i = 0; i < n; i++) {
        torn += (all[i].value[FANOUT_S_delivered] != first + i);
    }

    ok(torn == 0, "oldest first");

    next = first + n - 1;
    ok(fanout_sample_read(&zone, &next, all, 8) == 1
       && next == first + n, "the last one alone");
    ok(fanout_sample_read(&zone, &next, all, 8) == 0, "no more");

    /* who dies after the sample was written and before the commit: the count
     * is rolled back, the place is one that nobody reads */

    pid = fork();

    if (pid == 0) {
        (void) fanout_enter(&zone);
        memset(&shm->samples[shm->nsamples % (KEPT + 1)], 0xff,
               sizeof(fanout_zone_sample_t));
        fanout_set(&zone, shm->nsamples, shm->nsamples + 1);
        _exit(0);
    }

    ok(pid > 0 && waitpid(pid, NULL, 0) == pid, "one dies in the lock");

    n = read_all(&first);
    torn = 0;

    for (i = 0; i < n; i++) {
        torn += (all[i].value[FANOUT_S_delivered] != first + i);
    }

    ok(n == KEPT && first == 100 && torn == 0, "half a sample is never seen");

    counters[FANOUT_N_delivered] += (KEPT + 100) * INTERVAL;
    later(INTERVAL);
    n = read_all(&first);
    ok(first == 101 && all[n - 1].value[FANOUT_S_delivered]
                       == first + n - 1, "and the next one takes its place");

    /* failures of the last minute; a counter that was high before is no
     * failure now, and one is over after a minute */

    counters[FANOUT_N_gaps] += 1000;

    for (i = 0; i < 8; i++) {
        later(INTERVAL);
    }

    ok(fanout_sample_recent(&zone, grown) == 60
       && grown[FANOUT_F_gaps] == 0, "nothing fails any more");

    counters[FANOUT_N_gaps] += 3;
    shm->events_lost += 2;
    shm->refused[0] += 4;
    shm->refused[FANOUT_NSHARES - 1] += 5;

    ok(fanout_sample_recent(&zone, grown) == 60
       && grown[FANOUT_F_gaps] == 3
       && grown[FANOUT_F_events_lost] == 2
       && grown[FANOUT_F_share_refused] == 9
       && grown[FANOUT_F_lags] == 0, "it fails now");

    torn = 0;

    for (i = 0; i < 5; i++) {
        later(INTERVAL);
        torn += (fanout_sample_recent(&zone, grown) < 60
                 || grown[FANOUT_F_gaps] != 3);
    }

    fanout_test_seconds += INTERVAL - 1;
    torn += (fanout_sample_recent(&zone, grown) > 69
             || grown[FANOUT_F_gaps] != 3);

    ok(torn == 0, "and for a minute");

    later(1);
    later(INTERVAL);
    (void) fanout_sample_recent(&zone, grown);
    ok(grown[FANOUT_F_gaps] == 0
       && grown[FANOUT_F_share_refused] == 0, "then it is well");

    /* who dies with half a mark */

    counters[FANOUT_N_gaps] += 7;
    pid = fork();

    if (pid == 0) {
        (void) fanout_enter(&zone);
        memset(&shm->marks[shm->nmarks % FANOUT_MARKS], 0,
               sizeof(fanout_mark_t));
        fanout_set(&zone, shm->nmarks, shm->nmarks + 1);
        _exit(0);
    }

    ok(pid > 0 && waitpid(pid, NULL, 0) == pid, "one dies in the lock");
    (void) fanout_sample_recent(&zone, grown);
    ok(grown[FANOUT_F_gaps] == 7, "half a mark is never seen");

    /* nobody was there for long */

    fanout_test_seconds += 1000;
    ok(fanout_sample_recent(&zone, grown) >= 1000
       && grown[FANOUT_F_gaps] == 7, "the last mark there is");

    return done_testing();
}
