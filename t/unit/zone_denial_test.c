/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* cflags: -DFANOUT_CRASH=1 -DFANOUT_TEST=1 */

/*
 * Denials.  If this fails, somebody who is shut out comes in again, or somebody
 * else is shut out; or a worker that is killed as it makes or ends a denial
 * leaves the zone broken.
 *
 * A process is killed by SIGKILL before and after each store of an operation.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone/denial_block.h"
#include "zone_util.h"


#define MANY   FANOUT_ZONE_MANY
#define SIZE   (2 * MB)
#define LONG                                                                  \
    "a name that is longer than a block, so that it takes two or more of "   \
    "them, as it does not end before that, or even earlier"

typedef fanout_denial_t   denial_t;
typedef fanout_subject_t  subject_t;


static zone_t          zone;
static void           *mem;
static volatile int    armed;
static volatile long   points, crash_at;


void
fanout_crash_point(void)
{
    if (armed && ++points == crash_at) {
        (void) kill(getpid(), SIGKILL);
    }
}


static int
deny(zone_t *z, unsigned kind, uint64_t key, const char *name, uint32_t left,
    uint32_t value)
{
    denial_t  d;

    memset(&d, 0, sizeof(d));
    d.kind = kind;
    d.key = key;
    d.name = zstr(name, strlen(name));
    d.left = left;
    d.value = value;

    return fanout_denial_put(z, &d);
}


static void
fresh(uint32_t max)
{
    conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.slots = 16;
    conf.denials = max;

    fanout_test_seconds = 100;
    (void) fanout_zone_create(mem, SIZE, &conf, NULL);
    (void) fanout_zone_attach(&zone, mem, SIZE);
    (void) fanout_slot_claim(&zone, 1);
}


static void
sound(const char *when)
{
    char  why[256];

    why[0] = '\0';
    ok(fanout_zone_verify(&zone, why, sizeof(why)) == 0,
       "the zone is sound %s%s", when, why);
}


/* the kind that denies the subject, -1: none does */

static int
denied(const subject_t *who)
{
    denial_t  d;

    return fanout_denial_check(&zone, who, &d) ? d.kind : -1;
}


static void
test_kinds(void)
{
    denial_t   d;
    subject_t  ann = { 1, 2, 3, 4, 0, 1000, 1 }, bob = { 5, 6, 7, 8, 0, 0, 0 };

    fresh(0);
    is_int(denied(&ann), -1, "nobody is denied");

    is_int(deny(&zone, FANOUT_DENY_ADDRESS, 2, "192.0.2.1", 60, 0), OK,
           "an address");
    is_int(denied(&ann), FANOUT_DENY_ADDRESS, "is denied");
    is_int(denied(&bob), -1, "and no other");
    is_int(fanout_denial_drop(&zone, FANOUT_DENY_USER, 2), NOTFOUND,
           "another kind is another denial");
    is_int(fanout_denial_drop(&zone, FANOUT_DENY_ADDRESS, 2), OK, "ended");
    is_int(denied(&ann), -1, "it is let in");

    (void) deny(&zone, FANOUT_DENY_USER, 1, "ann", 60, 0);
    is_int(denied(&ann), FANOUT_DENY_USER, "a user");
    (void) fanout_denial_drop(&zone, FANOUT_DENY_USER, 1);
    (void) deny(&zone, FANOUT_DENY_CLIENT, 4, "c_4", 60, 0);
    is_int(denied(&ann), FANOUT_DENY_CLIENT, "a client");
    (void) fanout_denial_drop(&zone, FANOUT_DENY_CLIENT, 4);
    (void) deny(&zone, FANOUT_DENY_TOKEN, 3, "t3", 60, 0);
    is_int(denied(&ann), FANOUT_DENY_TOKEN, "a token");
    (void) fanout_denial_drop(&zone, FANOUT_DENY_TOKEN, 3);

    (void) deny(&zone, FANOUT_DENY_ISSUED, 1, "ann", 60, 1000);
    is_int(denied(&ann), -1, "a token of the time itself is not older");
    (void) deny(&zone, FANOUT_DENY_ISSUED, 1, "ann", 60, 1001);
    is_int(denied(&ann), FANOUT_DENY_ISSUED, "an older token");
    (void) deny(&zone, FANOUT_DENY_ISSUED, 1, "ann", 60, 999);
    is_int(denied(&ann), FANOUT_DENY_ISSUED, "the later time stays");
    ann.issued = 0;
    is_int(denied(&ann), FANOUT_DENY_ISSUED, "a token that does not say");
    ann.tokened = 0;
    is_int(denied(&ann), -1, "a session without a token");

    (void) deny(&zone, FANOUT_DENY_RENEW, 1, "ann", 60, 500);
    is_int(denied(&ann), -1, "to have to renew is not to be denied");
    is_int(fanout_denial_stale(&zone, &ann, &d), 1, "it is told apart");
    is_int(d.value, 500, "with its time");
    ann.change = fanout_denial_last(&zone);
    is_int(fanout_denial_stale(&zone, &ann, &d), 0,
           "who was authorized after it need not");

    sound("with denials");
}


static void
test_since(void)
{
    int       i;
    uint64_t  from, last;
    denial_t  d[64];
    char      name[16];

    fresh(0);
    from = fanout_denial_last(&zone);

    for (i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        (void) deny(&zone, FANOUT_DENY_USER, 10 + i, name, 60, 0);
    }

    is_int(fanout_denial_since(&zone, from, d, 64, &last), 3, "three are new");
    is_int(last, fanout_denial_last(&zone), "up to the last");
    is_int(d[0].key, 12, "the newest first");
    is_int(fanout_denial_since(&zone, last, d, 64, &last), 0, "then none");

    (void) deny(&zone, FANOUT_DENY_USER, 10, "u0", 90, 0);
    is_int(fanout_denial_since(&zone, last, d, 64, &last), 1, "one is renewed");
    is_int(d[0].key, 10, "that one");
    is_int(d[0].left, 91, "for so long");

    (void) fanout_denial_drop(&zone, FANOUT_DENY_USER, 11);
    is_int(fanout_denial_since(&zone, last, d, 64, &last), 0,
           "an end is nothing to apply");

    for (i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        (void) deny(&zone, FANOUT_DENY_USER, 100 + i, name, 60, 0);
    }

    is_int(fanout_denial_since(&zone, last, d, 64, &last), -1,
           "too many to be told");
    sound("with many");
}


static void
test_time(void)
{
    int        i, n, mistakes;
    char       name[16];
    stat_t     st;
    uint64_t   before;
    subject_t  who = { 0 };

    fresh(1000);
    before = free_blocks(&zone);
    mistakes = 0;

    for (i = 1; i <= 1000; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        mistakes += deny(&zone, FANOUT_DENY_USER, i, name, i, 0) != OK;
    }

    is_int(mistakes, 0, "as many as there may be");
    is_int(deny(&zone, FANOUT_DENY_USER, 2000, "x", 9, 0), MANY, "no more");
    is_int(deny(&zone, FANOUT_DENY_USER, 1000, "u1000", 1000, 0), OK,
           "but one that is there is renewed");

    for (n = 0; n < 20; n++) {
        fanout_test_seconds += 50;
        (void) sweep_all(&zone);

        for (i = 1; i <= 1000; i++) {
            who.user = i;
            mistakes += (denied(&who) == FANOUT_DENY_USER)
                        != (i >= 50 * n + 50);
        }
    }

    is_int(mistakes, 0, "each ends in its time");
    fanout_test_seconds += 2;
    is_int(deny(&zone, FANOUT_DENY_USER, 2000, "x", 1, 0), OK,
           "there is room again");
    fanout_test_seconds += 700;
    (void) sweep_all(&zone);
    fanout_zone_stat(&zone, &st);
    is_int(st.ndenials, 0, "none is left");
    is_int(free_blocks(&zone), before, "nor a block of them");
    sound("after all have ended");
}


static void
test_list(void)
{
    int       i, n, pages;
    char      name[64];
    uint8_t   seen[400];
    uint64_t  cursor;
    denial_t  d[64];

    static uint8_t  buf[64 * 255];

    fresh(0);
    memset(seen, 0, sizeof(seen));

    for (i = 0; i < 400; i++) {
        snprintf(name, sizeof(name), "%d", i);
        (void) deny(&zone, i % 4, i + 1, name, 60, 0);
    }

    (void) deny(&zone, FANOUT_DENY_RENEW, 1, "not listed", 60, 0);

    cursor = 0;
    pages = 0;

    do {
        n = fanout_denial_list(&zone, &cursor, d, 64, buf);
        pages++;

        for (i = 0; i < n; i++) {
            memcpy(name, d[i].name.data, d[i].name.len);
            name[d[i].name.len] = '\0';
            seen[atoi(name)] += (d[i].key == (uint64_t) atoi(name) + 1);
        }

    } while (cursor);

    for (i = n = 0; i < 400; i++) {
        n += seen[i] == 1;
    }

    is_int(n, 400, "each is listed once");
    ok(pages >= 7, "in pages");

    (void) deny(&zone, FANOUT_DENY_USER, 9999, LONG, 60, 0);
    is_int(fanout_denial_get(&zone, FANOUT_DENY_USER, 9999, &d[0], buf), OK,
           "one is found");
    is_mem(d[0].name.data, d[0].name.len, LONG, strlen(LONG), "by its name");
    is_int(fanout_denial_get(&zone, FANOUT_DENY_TOKEN, 9999, &d[0], buf),
           NOTFOUND, "and no other");
}


/* a zone without room for more: nothing is lost */

static void
test_full(void)
{
    int        i, rc;
    char       name[16];
    stat_t     st;
    subject_t  who = { .user = 1 };

    fresh(1000000);

    for (i = 1, rc = OK; rc == OK && i < 100000; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        rc = deny(&zone, FANOUT_DENY_USER, i, name, 60, 0);
    }

    is_int(rc, FULL, "no block is left");
    fanout_zone_stat(&zone, &st);
    is_int(st.ndenials, i - 2, "all that were made are there");
    is_int(denied(&who), FANOUT_DENY_USER, "the first, too");
    sound("when it is full");
}


static void
test_rebuilt(void)
{
    uint64_t  last;

    fresh(0);
    (void) deny(&zone, FANOUT_DENY_USER, 1, "ann", 60, 0);
    last = fanout_denial_last(&zone);
    fanout_zone_format(zone.shm);
    is_int(fanout_denial_last(&zone), last, "a rebuild keeps the number");
    is_int(zone.shm->ndenials, 0, "and nothing else");
    sound("after a rebuild");
}


/* sections of the lock */

static void
test_sections(void)
{
    int        i;
    char       name[256];
    uint64_t   cursor, last;
    denial_t   d[64];
    subject_t  who = { 1, 2, 3, 4, 0, 0, 1 };

    static uint8_t  buf[64 * 255];

    fresh(20000);
    memset(name, 'n', sizeof(name));
    name[255] = '\0';

    for (i = 0; i < 5000; i++) {
        (void) deny(&zone, FANOUT_DENY_USER, i + 1, name, 5, 0);
    }

    fanout_test_work = 0;
    cursor = 0;

    do {
        (void) fanout_denial_list(&zone, &cursor, d, 64, buf);
    } while (cursor);

    (void) denied(&who);
    (void) fanout_denial_since(&zone, 0, d, 64, &last);
    (void) deny(&zone, FANOUT_DENY_USER, 1, name, 5, 0);
    fanout_test_seconds += 1000;
    (void) sweep_all(&zone);
    ok(fanout_test_work < 2 * FANOUT_WORK, "no section is long: %u",
       fanout_test_work);
    is_int(zone.shm->ndenials, 0, "all have ended");
}


/* killed at each store */

static int
run_put(zone_t *z)
{
    return deny(z, FANOUT_DENY_USER, 77, LONG, 60, 0);
}


static int
run_renew(zone_t *z)
{
    return deny(z, FANOUT_DENY_ISSUED, 4, "u4", 90, 5000);
}


static int
run_drop(zone_t *z)
{
    return fanout_denial_drop(z, FANOUT_DENY_ISSUED, 4);
}


static int
run_sweep(zone_t *z)
{
    fanout_test_seconds += 12;

    return fanout_zone_sweep(z);
}


static void
setup(void)
{
    int   i;
    char  name[16];

    for (i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        (void) deny(&zone, i % 5, i, name, i < 20 ? 5 : 5000, 7);
    }
}


static void
die(int (*run)(zone_t *z), long at)
{
    zone_t  own;

    (void) fanout_zone_attach(&own, mem, SIZE);
    (void) fanout_slot_claim(&own, 2);

    crash_at = at;
    armed = 1;
    (void) run(&own);
    _exit(0);
}


/* Whether it was killed; *wrong counts what it has broken. */

static int
trial(int (*run)(zone_t *z), long at, int *wrong)
{
    int       status;
    char      why[256];
    pid_t     pid;
    uint64_t  free;

    fresh(0);
    free = free_blocks(&zone);
    setup();
    pid = fork();

    if (pid == 0) {
        die(run, at);
    }

    (void) waitpid(pid, &status, 0);
    (void) fanout_slot_reap(&zone, 0, NULL);

    *wrong += fanout_zone_verify(&zone, why, sizeof(why)) != 0;
    *wrong += zone.heap.incarnation != zone.shm->heap.incarnation;

    fanout_test_seconds += 10000;
    (void) sweep_all(&zone);
    *wrong += zone.shm->ndenials || free_blocks(&zone) != free;

    return WIFSIGNALED(status);
}


static void
test_killed(const char *what, int (*run)(zone_t *z))
{
    int   wrong;
    long  at;

    wrong = 0;

    for (at = 1; trial(run, at, &wrong); at++) { /* void */ }

    ok(at > 10 && wrong == 0, "%s: killed at %ld places", what, at - 1);
}


int
main(void)
{
    mem = map(SIZE);

    test_kinds();
    test_since();
    test_time();
    test_list();
    test_full();
    test_rebuilt();
    test_sections();
    test_killed("make", run_put);
    test_killed("renew", run_renew);
    test_killed("end", run_drop);
    test_killed("sweep", run_sweep);

    return done_testing();
}
