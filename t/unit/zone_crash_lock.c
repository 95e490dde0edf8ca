/*
 * A zone that cannot be repaired is made anew; a lock is not lost with who was
 * woken for it.
 */


#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_crash.h"


/* a zone that cannot be repaired is made anew */

static void
die_with_lock(int rebuilding)
{
    pid_t   pid;
    zone_t  own;

    pid = fork();

    if (pid == 0) {
        prepare_attached(&own);
        (void) fanout_enter(&own);

        if (rebuilding) {
            own.shm->heap.state = FANOUT_REBUILDING;
            own.shm->heap.nfree = 0;
            memset((uint8_t *) own.shm + own.shm->heap.blocks, 0xff, 65536);

        } else {
            own.shm->heap.used[FANOUT_MESSAGES] += 3;
        }

        (void) kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, NULL, 0);
}


void
rebuilt(int rebuilding)
{
    int        rc;
    char       why[256];
    zone_t     other;
    stat_t     st;
    uint64_t   was, seq, epoch;
    join_t     j;
    info_t     info;
    result_t   r;
    channel_t  c;

    memcpy(mem, virgin, SIZE);
    setup_drained(&parent);

    prepare_slot(&other);
    c = view(&other, "a", &keep);
    (void) fanout_channel_open(&other, &c, 0);
    (void) fanout_channel_info(&other, &c, &info);
    epoch = info.epoch;
    fanout_zone_stat(&parent, &st);
    was = st.incarnation;
    seq = st.seq;

    die_with_lock(rebuilding);

    (void) alarm(10);

    is_int(put(&parent, &rooms[0], 1, 20, 0, NULL, &r), OK,
           "a publish goes on over a rebuild");
    ok(r.epoch != epoch && r.offset == 1, "in a new epoch");

    fanout_zone_stat(&parent, &st);
    ok(st.incarnation == was + 1, "the incarnation grew by one");
    ok(st.seq > seq, "seq never goes back");
    ok(fanout_zone_verify(&parent, why, sizeof(why)) == 0,
       "the new zone is sound");

    fanout_zone_stat(&other, &st);
    is_int(fanout_log_join(&other, &c, 0, 0, 0, 1, &j), STALE,
           "a join in the old zone is told");
    arena_reset(&arena);
    is_int(fanout_log_drain(&other, &arena), STALE,
           "and so is a drain, whatever was called before it");
    is_int(fanout_log_drain(&other, &arena), OK, "once");
    is_int(fanout_log_drain(&parent, &arena), STALE,
           "who rebuilt it is told as well");

    is_int(fanout_channel_open(&other, &c, 0), OK, "opened again");
    is_int(put(&parent, &rooms[0], 2, 20, 0, NULL, &r), OK, "published");
    arena_reset(&arena);
    rc = fanout_log_drain(&other, &arena);
    ok(rc == OK && arena.n == 1 && arena.entries[0].offset == 2,
       "and read");

    fanout_slot_release(&other);
    ok(fanout_zone_verify(&parent, why, sizeof(why)) == 0,
       "and sound");
    (void) alarm(0);

    /* the parent's view is that of the virgin zone */
    parent.heap.incarnation = parent.drained = was;
}


/*
 * An unlock wakes the first of two that wait; it is killed before it runs, and
 * the lock has been taken again meanwhile.  All are on one processor and the
 * first runs only when that is idle, so it is killed in time.
 */

static int
sleeps(pid_t pid)
{
    int    n;
    char   name[64], state;
    FILE  *f;

    snprintf(name, sizeof(name), "/proc/%d/stat", (int) pid);
    f = fopen(name, "r");

    n = f ? fscanf(f, "%*d (%*[^)]) %c", &state) : 0;

    if (f) {
        fclose(f);
    }

    return n == 1 && state == 'S';
}


static pid_t
waiter(int policy)
{
    pid_t               pid;
    zone_t              own;
    struct sched_param  param = { 0 };

    ack->acked = 0;
    pid = fork();

    if (pid == 0) {
        own = parent;
        ack->acked = 1;
        (void) fanout_enter(&own);
        fanout_leave(&own);
        _exit(0);
    }

    while (!ack->acked || !sleeps(pid)) {
        (void) usleep(1000);
    }

    (void) sched_setscheduler(pid, policy, &param);

    return pid;
}


void
stranded(void)
{
    int        status;
    long       i, n;
    pid_t      first, second;
    cpu_set_t  all, one;

    memcpy(mem, virgin, SIZE);

    (void) sched_getaffinity(0, sizeof(all), &all);

    for (i = 0; !CPU_ISSET(i, &all); i++) { /* void */ }

    CPU_ZERO(&one);
    CPU_SET(i, &one);
    (void) sched_setaffinity(0, sizeof(one), &one);
    (void) alarm(60);

    for (i = n = 0; i < 5; i++) {
        (void) fanout_enter(&parent);

        first = waiter(SCHED_IDLE);
        second = waiter(SCHED_OTHER);

        fanout_leave(&parent);
        (void) fanout_enter(&parent);
        (void) kill(first, SIGKILL);
        (void) waitpid(first, &status, 0);
        fanout_leave(&parent);

        n += WIFSIGNALED(status);
        (void) waitpid(second, &status, 0);
    }

    (void) alarm(0);
    (void) sched_setaffinity(0, sizeof(all), &all);

    ok(n > 0, "%ld of 5 killed as they were woken: who waits with them"
       " gets the lock", n);
}
