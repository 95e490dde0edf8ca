/* sources: src/heap/[a-z]*.c t/unit/heap_toy.c */
/* cflags: -DFANOUT_CRASH=1 */

/*
 * If this fails, a killed worker can leave a list, a hash table or a timer
 * wheel of the zone broken, whatever it has in it.
 *
 * A toy owner has records that are in any of these, and a model in private
 * memory knows what each of them holds:
 *  - random transactions, each compared with the model;
 *  - every operation on short lists, by a process that is killed at every crash
 *    point (before and after each store), and sometimes by a second one that is
 *    killed at a point of the rollback;
 *  - random transactions that are killed at a random point.
 *
 * ZONE_SEED replays what is random.
 */


#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "heap_toy.h"
#include "tap.h"


static fanout_zone_t           zone;
static model_t                 model;
static uint8_t                *image, *empty;
static uint64_t                seed;

static int                     armed;
static long                    points, crash_at;


void
fanout_crash_point(void)
{
    if (armed && ++points == crash_at) {
        (void) kill(getpid(), SIGKILL);
    }
}


static void
arm(long at)
{
    points = 0;
    crash_at = at;
    armed = 1;
}


static unsigned
rnd(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return (seed >> 16) % n;
}


/* the model does it */

static int
find(const uint8_t *ids, unsigned id)
{
    unsigned  i;

    for (i = 0; ids[i]; i++) {
        if (ids[i] == id + 1) {
            return i;
        }
    }

    return -1;
}


static void
model_do(model_t *m, const step_t *s)
{
    size_t     n;
    uint8_t   *ids;
    unsigned   i;

    ids = m->ids[s->list];
    n = strlen((char *) ids);

    switch (s->verb) {

    case PUSH:
        memmove(ids + 1, ids, n);
        ids[0] = s->id + 1;
        m->alive[s->id] = 1;
        break;

    case APPEND:
        ids[n] = s->id + 1;
        m->alive[s->id] = 1;
        break;

    case REMOVE:
        n = find(ids, s->id);
        memmove(ids + n, ids + n + 1, RECORDS - n);
        break;

    case CUT:
        n = find(ids, s->id);
        memmove(ids, ids + n, RECORDS + 1 - n);
        memset(ids + RECORDS + 1 - n, 0, n);
        break;

    case CLEAR:
        memset(ids, 0, RECORDS);
        break;

    case FREE:
        m->alive[s->id] = 0;
        break;

    case CHAIN:
        for (i = s->id; i < s->id + s->n; i++) {
            ids[n++] = i + 1;
            m->alive[i] = 1;
        }

        break;
    }
}


/* A record of the wheel is in one place, one of the table in one bucket. */

static int
linked(const model_t *m, unsigned list, unsigned id)
{
    unsigned  i, end;

    end = list + 1;

    if (list >= HASH) {
        list = HASH;
        end = LISTS;

    } else if (list >= WHEEL) {
        list = WHEEL;
        end = HASH;
    }

    for (i = list; i < end; i++) {
        if (find(m->ids[i], id) != -1) {
            return 1;
        }
    }

    return 0;
}


static int
possible(const model_t *m, const step_t *s)
{
    unsigned        i;
    const uint8_t  *ids;

    ids = m->ids[s->list];

    switch (s->verb) {

    case PUSH:
        return (s->list == STACK || s->list == SINGLE || s->list == DEQUE
                || s->list >= WHEEL)
               && !linked(m, s->list, s->id);

    case APPEND:
        return (s->list == LIST || s->list == QUEUE || s->list == DEQUE
                || s->list == CIRCLE)
               && !linked(m, s->list, s->id);

    case REMOVE:
        if (s->list == CIRCLE) {
            return ids[0] == s->id + 1;
        }

        return s->list != QUEUE && find(ids, s->id) != -1;

    case CUT:
        return s->list == QUEUE && find(ids, s->id) > 0;

    case CLEAR:
        return s->list == QUEUE && ids[0] && s->id == 0;

    case CHAIN:
        for (i = s->id; i < s->id + s->n; i++) {
            if (i == RECORDS || m->alive[i]) {
                return 0;
            }
        }

        return s->list == LIST || (s->list == RING && ids[0] == 0);
    }

    /* FREE: said of one list */

    if (s->list || !m->alive[s->id]) {
        return 0;
    }

    for (i = 0; i < LISTS; i++) {
        if (find(m->ids[i], s->id) != -1) {
            return 0;
        }
    }

    return 1;
}


/* Steps of a transaction; m is what is before, and will be after. */

static unsigned
plan(model_t *m, step_t *steps, unsigned max)
{
    uint8_t   old[RECORDS];
    unsigned  i, n;

    memcpy(old, m->alive, sizeof(old));

    for (n = 0; n < max; /* void */ ) {
        steps[n].list = rnd(LISTS);
        steps[n].verb = rnd(VERBS);
        steps[n].id = rnd(RECORDS);
        steps[n].n = 1 + rnd(3);

        if (steps[n].verb == FREE) {
            steps[n].list = 0;
        }

        if (!possible(m, &steps[n])) {
            continue;
        }

        /* what is freed is free after the transaction */

        for (i = 0; i < RECORDS; i++) {
            old[i] &= m->alive[i];
        }

        steps[n].record = old[steps[n].id] || rnd(8) == 0 ? FANOUT_OLD_RECORD
                                                          : FANOUT_NEW_RECORD;
        model_do(m, &steps[n++]);
    }

    return n;
}


static void
transact(fanout_zone_t *z, const step_t *steps, unsigned n)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        toy_do(z, &steps[i]);
    }
}


static void
restore(fanout_zone_t *z, const void *from)
{
    memcpy(z->shm, from, SIZE);
    z->heap.incarnation = z->shm->heap.incarnation;
}


/* A process does it and is killed at a point.  Whether it was killed. */

static int
killed(fanout_zone_t *z, const step_t *steps, unsigned n, long at)
{
    int    status;
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        (void) alarm(10);

        if (n == 0) {
            arm(at);
        }

        (void) fanout_enter(z);

        arm(at);
        transact(z, steps, n);
        fanout_leave(z);

        _exit(0);
    }

    if (pid == -1 || waitpid(pid, &status, 0) != pid) {
        perror("fork");
        exit(2);
    }

    return WIFSIGNALED(status);
}


/* All points of a transaction on what is in the image.  The number of those
 * that are wrong. */

static unsigned
kill_all(fanout_zone_t *z, const model_t *before, const model_t *after,
    const step_t *steps, unsigned n, long *npoints)
{
    long      at;
    int       died, done;
    unsigned  bad;

    bad = 0;
    done = 0;
    died = 1;

    for (at = 1; died && !bad; at++) {
        restore(z, image);
        died = killed(z, steps, n, at);

        /* who finds it dies of the rollback */

        if (died && rnd(2)) {
            (void) killed(z, NULL, 0, 1 + rnd(12));
        }

        bad += fanout_enter(z) != FANOUT_ZONE_OK;
        fanout_leave(z);

        if (!done && died && toy_holds(z, before)) {
            continue;
        }

        /* it was committed, and stays so */
        done = 1;
        bad += !toy_holds(z, after);
    }

    *npoints += at - 2;

    return bad;
}


/* lists of up to three, and all that can be done to them */

static void
kill_list(fanout_zone_t *z, unsigned list, const char *name)
{
    long       npoints;
    step_t     s, fill;
    model_t    after;
    unsigned   n, bad, cases, record;

    npoints = 0;
    cases = bad = 0;

    for (n = 0; n <= 3; n++) {
        restore(z, empty);
        memset(&model, 0, sizeof(model));

        fill.list = list;
        fill.record = FANOUT_NEW_RECORD;
        fill.n = list == RING ? n : 1;

        for (fill.id = 0; fill.id < n; fill.id += fill.n) {
            for (fill.verb = 0; !possible(&model, &fill); fill.verb++) {
                /* void */
            }

            (void) fanout_enter(z);
            toy_do(z, &fill);
            fanout_leave(z);
            model_do(&model, &fill);
        }

        /* one more that is in no list */

        (void) fanout_enter(z);
        (void) toy_make(z, 3);
        fanout_leave(z);
        model.alive[3] = 1;

        bad += !toy_holds(z, &model);
        memcpy(image, z->shm, SIZE);

        s.list = list;
        s.n = 2;

        for (s.verb = 0; s.verb < VERBS; s.verb++) {
            for (s.id = 0; s.id < 6; s.id++) {
                if (!possible(&model, &s) || (s.id < 3 && s.id >= n)) {
                    continue;
                }

                record = model.alive[s.id] ? FANOUT_OLD_RECORD
                                           : FANOUT_NEW_RECORD;
                s.record = record;
                after = model;
                model_do(&after, &s);

                bad += kill_all(z, &model, &after, &s, 1, &npoints);
                cases++;
            }
        }
    }

    ok(bad == 0 && cases, "%s: %u operations killed at %ld points", name,
       cases, npoints);
}


static void
test_kill(fanout_zone_t *z)
{
    kill_list(z, STACK, "list with one end");
    kill_list(z, LIST, "list with two ends, links in another block");
    kill_list(z, QUEUE, "singly linked list with two ends");
    kill_list(z, SINGLE, "singly linked list with one end");
    kill_list(z, DEQUE, "deque");
    kill_list(z, RING, "ring");
    kill_list(z, CIRCLE, "circle");
    kill_list(z, WHEEL + 5, "wheel");
    kill_list(z, HASH + 2, "hash");
}


static void
test_random(fanout_zone_t *z)
{
    step_t    steps[8];
    unsigned  i, n, bad;

    restore(z, empty);
    memset(&model, 0, sizeof(model));
    bad = 0;

    for (i = 0; i < 200000 && !bad; i++) {
        n = plan(&model, steps, 1 + rnd(8));

        (void) fanout_enter(z);
        transact(z, steps, n);
        fanout_leave(z);

        bad += !toy_holds(z, &model);
    }

    ok(bad == 0, "%u random transactions", i);
}


static void
test_random_kills(fanout_zone_t *z)
{
    step_t    steps[8];
    model_t   after;
    unsigned  i, n, bad, deaths;

    restore(z, empty);
    memset(&model, 0, sizeof(model));
    bad = deaths = 0;

    for (i = 0; i < 4000 && !bad; i++) {
        after = model;
        n = plan(&after, steps, 1 + rnd(8));

        deaths += killed(z, steps, n, 1 + rnd(100));

        while (rnd(3) == 0) {
            (void) killed(z, NULL, 0, 1 + rnd(20));
        }

        bad += fanout_enter(z) != FANOUT_ZONE_OK;
        fanout_leave(z);

        if (toy_holds(z, &after)) {
            model = after;

        } else {
            bad += !toy_holds(z, &model);
        }
    }

    ok(bad == 0 && deaths > 400, "%u of %u random transactions killed",
       deaths, i);
}


static void
test_place(void)
{
    is_int(fanout_wheel_place(&toy_wheel, 21, 20), 5, "the next place");
    is_int(fanout_wheel_place(&toy_wheel, 20, 20), 5, "it is due now");
    is_int(fanout_wheel_place(&toy_wheel, 3, 20), 5, "it was due before");
    is_int(fanout_wheel_place(&toy_wheel, 27, 20), 3, "the farthest place");
    is_int(fanout_wheel_place(&toy_wheel, 28, 20), 3, "beyond a turn");
    is_int(fanout_wheel_place(&toy_wheel, 1ULL << 40, 20), 3, "in ages");
}


int
main(void)
{
    const char  *s;

    s = getenv("ZONE_SEED");
    seed = s ? strtoull(s, NULL, 0)
             : ((uint64_t) time(NULL) << 20 ^ (uint64_t) getpid()) | 1;
    diag("ZONE_SEED=%llu", (unsigned long long) seed);

    /* a broken list may have no end */
    (void) alarm(1200);

    toy_setup(&zone);

    image = malloc(SIZE);
    empty = malloc(SIZE);

    if (image == NULL || empty == NULL) {
        perror("malloc");
        return 2;
    }

    memcpy(empty, zone.shm, SIZE);

    test_place();
    test_random(&zone);
    test_kill(&zone);
    test_random_kills(&zone);

    is_int(zone.shm->heap.overflows, 0, "no journal was too short");

    return done_testing();
}
