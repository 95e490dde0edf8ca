/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * Budgets and sessions of addresses.  If this fails, a client can have more of
 * the zone than its budget, a quiet one has less, or sessions of a worker that
 * died are counted for ever.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_util.h"


#define MANY  FANOUT_ZONE_MANY
#define ALL   (~0U)     /* resources */

typedef fanout_zone_limit_t   limit_t;
typedef fanout_zone_budget_t  budget_t;
typedef fanout_zone_drawn_t   drawn_t;


static zone_t   zone;
static void    *mem;
static drawn_t  drawn;


static void
sound(const char *when)
{
    char  why[256];

    why[0] = '\0';
    ok(fanout_zone_verify(&zone, why, sizeof(why)) == 0,
       "the zone is sound %s%s", when, why);
}


/* n of one resource from one budget */

static int
draw(uint64_t key, const limit_t *limits, unsigned resource, uint64_t n,
    unsigned check)
{
    uint64_t  amounts[FANOUT_BUDGETS] = { 0 };
    budget_t  b;

    b.key = key;
    b.limits = limits;
    amounts[resource] = n * 1000;

    return fanout_budget_draw(&zone, &b, 1, amounts, check ? ALL : 0, &drawn);
}


static uint32_t
longest(void)
{
    unsigned  i;
    uint32_t  ms;

    for (i = 0, ms = 0; i < FANOUT_BUDGETS; i++) {
        ms = drawn.wait[i] > ms ? drawn.wait[i] : ms;
    }

    return ms;
}


static void
test_bucket(void)
{
    static const limit_t  limits[] = {
        { 10, 20000, 600000 }, { 0, 0, 0 }, { 2, 1000, 9000 }, { 1, 500, 9000 },
        { 0, 0, 0 }
    };

    fanout_test_msec = 5000;

    is_int(draw(1, limits, 0, 20, 1), OK, "all of the burst");
    is_int(draw(1, limits, 0, 1, 1), AGAIN, "and no more");
    is_int(longest(), 100, "for so many ms");
    is_int(drawn.over, 1, "because of commands");
    is_int(draw(2, limits, 0, 20, 1), OK, "another key has its own");
    is_int(draw(1, limits, 2, 1, 1), OK, "another resource is not concerned");
    is_int(draw(1, limits, 1, 1000000, 1), OK, "one without a limit is free");

    fanout_test_msec += 99;
    is_int(draw(1, limits, 0, 1, 1), AGAIN, "not yet");
    is_int(longest(), 1, "for 1 ms");
    fanout_test_msec += 1;
    is_int(draw(1, limits, 0, 1, 1), OK, "now");
    is_int(draw(1, limits, 0, 1, 1), AGAIN, "what was refused took nothing");
    is_int(longest(), 100, "the next one");

    fanout_test_msec += 1000000;
    is_int(draw(1, limits, 0, 20, 1), OK, "it is never more than the burst");
    is_int(draw(1, limits, 0, 1, 1), AGAIN, "however long it takes");

    /* larger than the burst: alone, when nothing is owed */

    is_int(draw(3, limits, 3, 1, 1), OK, "more than a burst");
    is_int(draw(3, limits, 3, 1, 1), AGAIN, "once");
    is_int(longest(), 1000, "until nothing is owed");
    is_int(drawn.wait[3], 1000, "which is named");
}


/* what has been done already is always taken, and owed */

static void
test_debt(void)
{
    static const limit_t  limits[] = {
        { 10, 20000, 600000 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 },
        { 0, 0, 0 }
    };

    is_int(draw(11, limits, 0, 20, 0), OK, "up to the burst");
    is_int(longest(), 0, "nothing is to be waited for");
    is_int(draw(11, limits, 0, 10, 0), OK, "beyond");
    is_int(longest(), 1000, "is to be");
    is_int(draw(11, limits, 0, 1000000000, 0), OK, "far beyond");
    is_int(longest(), 60000, "at most a minute");

    fanout_test_msec += 60000;
    is_int(draw(11, limits, 0, 0, 0), OK, "then");
    is_int(longest(), 0, "it is over");

    /* the ms of the zone's clock run over */

    fanout_test_msec = UINT32_MAX - 100;
    is_int(draw(12, limits, 0, 30, 0), OK, "before the clock runs over");
    fanout_test_msec += 500;
    is_int(draw(12, limits, 0, 0, 0), OK, "behind that");
    is_int(longest(), 500, "half is over");
}


/* an address and a user: both or none */

static void
test_two(void)
{
    uint64_t  amounts[FANOUT_BUDGETS] = { 1000 };
    budget_t  b[2];

    static const limit_t  wide[] = {
        { 10, 20000, 600000 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 },
        { 0, 0, 0 }
    };
    static const limit_t  narrow[] = {
        { 1, 1000, 5000 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 },
        { 0, 0, 0 }
    };

    b[0].key = 21;
    b[0].limits = wide;
    b[1].key = 22;
    b[1].limits = narrow;

    is_int(fanout_budget_draw(&zone, b, 2, amounts, ALL, &drawn), OK,
           "both have room");
    is_int(fanout_budget_draw(&zone, b, 2, amounts, ALL, &drawn), AGAIN,
           "one has none");
    is_int(drawn.budget[0], 1, "which is told");
    is_int(draw(21, wide, 0, 19, 1), OK, "nothing was taken from the other");
}


/* A user that owes much, and the address behind it, which others have, too. */

static void
test_behind(void)
{
    uint64_t  amounts[FANOUT_BUDGETS] = { 1000000 };
    budget_t  b[2];

    static const limit_t  user[] = {
        { 1, 10000, 60000 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 },
        { 0, 0, 0 }
    };
    static const limit_t  address[] = {
        { 10, 20000, 50000 }, { 0, 0, 0 }, { 0, 0, 0 }, { 10, 1000, 5000 },
        { 0, 0, 0 }
    };

    b[0].key = 41;
    b[0].limits = user;
    b[1].key = 42;
    b[1].limits = address;

    (void) fanout_budget_draw(&zone, b, 2, amounts, 0, &drawn);
    is_int(drawn.wait[0], 60000, "the user owes what it may");
    is_int(drawn.budget[0], 0, "and is who is told");

    (void) fanout_budget_draw(&zone, b, 2, amounts, 0, &drawn);
    is_int(draw(42, address, 0, 10, 1), OK,
           "the address was charged what the user had");
    is_int(draw(42, address, 0, 1, 1), AGAIN, "and no less");

    /* a resource that the user has no limit of, and that needs no room */

    amounts[0] = 0;
    amounts[3] = 1000000;
    (void) fanout_budget_draw(&zone, b, 2, amounts, 0, &drawn);
    is_int(drawn.wait[3], 500, "the debt of an address is its own");
    is_int(drawn.budget[3], 1, "which is told");

    b[0] = b[1];
    amounts[3] = 0;
    is_int(fanout_budget_draw(&zone, b, 1, amounts, ~(1U << 3),
                              &drawn),
           OK, "a resource that need not have room refuses nothing");
    is_int(drawn.wait[3], 500, "and is told all the same");
    is_int(drawn.over, 1 << 3, "it alone");
    is_int(fanout_budget_draw(&zone, b, 1, amounts, ALL, &drawn),
           AGAIN, "one that must have room does");
}


/* Those that owe most stay, whatever comes; two of a set are never one. */

static void
test_crowd(void)
{
    stat_t     st;
    uint64_t   i, amounts[FANOUT_BUDGETS] = { 1000 };
    budget_t   b[2];
    unsigned   lost, mixed;

    static const limit_t  limits[] = {
        { 10, 20000, 600000 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 },
        { 0, 0, 0 }
    };

    fanout_zone_stat(&zone, &st);
    lost = st.budgets_lost;

    is_int(draw(31, limits, 0, 100, 0), OK, "one owes much");

    for (i = 0; i < 4 * st.budgets_max; i++) {
        (void) draw(1000 + i, limits, 0, 1, 0);
        fanout_test_msec += (i % 64 == 0);
    }

    is_int(draw(31, limits, 0, 1, 1), AGAIN, "and still does after a crowd");

    fanout_zone_stat(&zone, &st);
    is_int(st.budgets, st.budgets_max, "all entries are in use");
    ok(st.budgets_lost > lost, "some were lost before they were full");

    mixed = 0;
    b[0].limits = b[1].limits = limits;

    for (i = 0; i < 1000; i++) {
        b[0].key = 1000000 + i;
        b[1].key = b[0].key + (1 << 20);
        (void) fanout_budget_draw(&zone, b, 2, amounts, 0, &drawn);
        amounts[0] = 20000;
        (void) fanout_budget_draw(&zone, b, 2, amounts, 0, &drawn);
        mixed += (longest() != 100);
        amounts[0] = 1000;
    }

    is_int(mixed, 0, "two of a set are kept apart");
    sound("after a crowd: ");
}


static void
test_addresses(void)
{
    int       rc;
    stat_t    st;
    uint32_t  ref[3], again;

    rc = fanout_address_add(&zone, 7, 2, &ref[0]);
    is_int(rc, OK, "a session of an address");
    rc = fanout_address_add(&zone, 7, 2, &ref[1]);
    is_int(rc, OK, "another one");
    is_int(ref[1], ref[0], "in the same block");
    rc = fanout_address_add(&zone, 7, 2, &again);
    is_int(rc, MANY, "one too many");
    rc = fanout_address_add(&zone, 8, 2, &ref[2]);
    is_int(rc, OK, "another address");

    fanout_zone_stat(&zone, &st);
    is_int(st.naddresses, 2, "two blocks");
    sound("with addresses: ");

    fanout_address_drop(&zone, 7, ref[0]);
    rc = fanout_address_add(&zone, 7, 2, &ref[0]);
    is_int(rc, OK, "where one has ended there is room");

    fanout_address_drop(&zone, 7, ref[0]);
    fanout_address_drop(&zone, 7, ref[0]);
    fanout_address_drop(&zone, 7, ref[0]);
    fanout_address_drop(&zone, 8, 0);
    fanout_address_drop(&zone, 8, ref[2]);

    fanout_zone_stat(&zone, &st);
    is_int(st.naddresses + st.addresses, 0, "none is left, nor below none");
    sound("after that: ");
}


/* more of them than a step of a reap takes, and one that others have, too */

static void
test_dead(void)
{
    int       rc, status;
    pid_t     pid;
    stat_t    st;
    zone_t    own;
    uint32_t  ref, mine;
    unsigned  i;

    is_int(fanout_address_add(&zone, 100, 0, &mine), OK,
           "one of the survivor");

    pid = fork();

    if (pid == 0) {
        (void) fanout_zone_attach(&own, mem, 2 * MB);
        (void) fanout_slot_claim(&own, getpid());

        for (i = 0; i < 500; i++) {
            (void) fanout_address_add(&own, i, 0, &ref);
        }

        (void) kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, &status, 0);

    fanout_zone_stat(&zone, &st);
    is_int(st.naddresses, 501, "those of a dead worker are still there");
    is_int(fanout_address_add(&zone, 100, 2, &ref), MANY,
           "and are counted");
    sound("before the reap: ");

    is_int(fanout_slot_reap(&zone, 1000, NULL), 1, "it is reaped");

    fanout_zone_stat(&zone, &st);
    is_int(st.naddresses, 1, "those of the survivor stay");
    sound("after the reap: ");

    rc = fanout_address_add(&zone, 100, 2, &ref);
    is_int(rc, OK, "there is room again");
    fanout_address_drop(&zone, 100, ref);
    fanout_address_drop(&zone, 100, mine);
}


/* what happens by chance, against counters */

static void
test_random(void)
{
    int        rc;
    unsigned   i, k, wrong;
    uint32_t   ref, refs[40], n[40];
    uint64_t   seed;

    seed = seed_of_run();
    wrong = 0;
    memset(n, 0, sizeof(n));

    for (i = 0; i < 200000; i++) {
        k = rnd(&seed) % 40;

        if (rnd(&seed) % 2) {
            rc = fanout_address_add(&zone, k * 1024, 6, &ref);
            wrong += rc != (n[k] < 6 ? OK : MANY);

            if (rc == OK) {
                refs[k] = ref;
                n[k]++;
            }

        } else if (n[k]) {
            fanout_address_drop(&zone, k * 1024, refs[k]);
            n[k]--;
        }
    }

    is_int(wrong, 0, "counted as they come and go");
    sound("after random ones: ");

    for (k = 0; k < 40; k++) {
        while (n[k]--) {
            fanout_address_drop(&zone, k * 1024, refs[k]);
        }
    }
}


/* What an operation takes of the zone can be told from the handle. */

static void
test_taken(void)
{
    uint64_t   taken, made;
    result_t   r;
    channel_t  c;

    static policy_t  keep = { .history = 10 };

    c = view(&zone, "a", &keep);
    taken = zone.heap.taken;
    made = zone.made;

    is_int(put(&zone, &c, 1, 2000, 0, NULL, &r), OK, "a message");
    is_int(zone.made - made, 1, "made a channel");
    ok((zone.heap.taken - taken) * 64 >= 2000 + 3 * 64,
       "and took blocks for both");

    made = zone.made;
    is_int(put(&zone, &c, 1, 10, 0, NULL, &r), OK, "another one");
    is_int(zone.made - made, 0, "made none");
}


int
main(void)
{
    uint64_t  before;

    fanout_test_seconds = 100;
    mem = zone_make(2 * MB, 60, 60);

    (void) fanout_zone_attach(&zone, mem, 2 * MB);
    (void) fanout_slot_claim(&zone, getpid());
    before = free_blocks(&zone);

    test_bucket();
    test_debt();
    test_two();
    test_behind();
    test_crowd();
    test_addresses();
    test_dead();
    test_random();

    is_int(free_blocks(&zone), before, "no block is lost");

    test_taken();
    sound("at the end: ");

    return done_testing();
}
