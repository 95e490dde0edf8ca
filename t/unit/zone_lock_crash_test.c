/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/crash.c */
/* sources: t/unit/zone_events.c */
/* sources: t/unit/zone_presence.c t/unit/zone_lock.c t/unit/zone_record.c */
/* cflags: -DFANOUT_CRASH=1 -DFANOUT_TEST=1 */

/*
 * If this fails, a worker killed as a lock changes hands leaves it with two
 * holders, or with none while somebody waits, or leaves the zone broken for
 * all.
 *
 * A process is killed by SIGKILL at every crash point of an operation, before
 * and after each store, or at a sample of them.  A survivor then finds a sound
 * zone, with the locks, entries and blocks of before or of after; and goes on.
 *
 * ZONE_KILLS (60), ZONE_STEP and ZONE_OP are explained in crash.h.
 */


#include "tap.h"
#include "crash.h"
#include "zone_lock.h"


#define SIZE     (2 * MB)
#define PERSONS  8                      /* of the survivor from 1 on, of the
                                           killed from 11 on */


static channel_t       ca, co, *c;      /* "table": survivor's, killed's */
static channel_t       na, no, *cn;     /* "new" */
static policy_t        policy;
static person_t        p[20];
static uint64_t        last;            /* token that was seen */


/* operations */

#define take(i, n, ...)                                                       \
    lock_take(z, c, &(ask_t) { .who = i ? &p[i] : NULL, .name = n,            \
                               .address = 1 + (i) % 2, __VA_ARGS__ })
#define drop(i, n, t)  lock_drop(z, c, i ? &p[i] : NULL, n, t)

#define LONG                                                                  \
    "a text that is longer than a block is, so that there are two or more "  \
    "of them, as it does not end before that"


static void
sit(unsigned from)
{
    char      name[16];
    unsigned  i;

    for (i = from; i < from + PERSONS; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        (void) person_add(z, &p[i], i, name, "", 0);
        (void) person_sit(z, c, &p[i]);
    }
}


static void
setup_some(void)
{
    (void) take(1, "a", .user = "ann", .data = "{}");
    (void) take(2, "b", .user = LONG, .data = LONG);
}


static void
setup_line(void)
{
    setup_some();
    (void) take(3, "a", .wait = 60000, .data = LONG);
    (void) take(4, "a", .wait = 60000);
    (void) take(3, "b", .wait = 60000);
}


static void
setup_many(void)
{
    char      name[16];
    unsigned  i;

    for (i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        (void) take(1, name, .ttl = 1000 + i * 100);
        (void) take(2 + i % 4, name, .wait = 90000, .data = LONG);
    }
}


static void
setup_due(void)
{
    setup_many();
    (void) take(8, "far", .ttl = 9000000);
    fanout_test_seconds += 20;
}


static void
setup_over(void)
{
    setup_line();
    fanout_test_seconds += 40;
}


static void
setup_full(void)
{
    unsigned   i;
    result_t   r;
    channel_t  filler;

    static policy_t  much = { .history = 100000 };

    setup_line();
    filler = view(z, "filler", &much);

    for (i = 0; i < 5000 && free_blocks(z) > 20; i++) {
        (void) put(z, &filler, 1, 1000, 0, NULL, &r);
    }
}


static void
setup_record(void)
{
    (void) record_set(z, c, &(set_t) { .id = "r", .text = "a=1 b=2",
                                       .base = -1 });
    setup_line();
}


/* all that wait linger, and nobody holds the lock */

static void
setup_gone(void)
{
    setup_line();
    person_end(z, &p[3], 60000);
    person_end(z, &p[4], 60000);
    (void) drop(1, "a", 0);
    (void) drop(2, "b", 0);
}


static void
prepare_lock(void)
{
    (void) take(11, "x", .data = "1");
    (void) take(12, "x", .wait = 60000);
}


static void
prepare_many(void)
{
    char      name[16];
    unsigned  i;

    for (i = 0; i < 16; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        (void) take(11, name);
        (void) take(12 + i % 3, name, .wait = 60000);
    }

    (void) take(11, "a", .wait = 60000);
    (void) take(11, "b", .wait = 60000);
}


static int
run_take(void)
{
    return take(11, "new", .user = "somebody", .data = "[]");
}


static int
run_take_long(void)
{
    return take(11, LONG, .user = LONG, .data = LONG);
}


static int
run_take_api(void)
{
    return lock_take(z, cn, &(ask_t) { .name = LONG, .user = LONG });
}


static int
run_refused(void)
{
    return take(11, "a") == LOCKED ? 0 : -1;
}


static int
run_join(void)
{
    return take(11, "a", .wait = 5000, .data = LONG);
}


static int
run_stay(void)
{
    return take(12, "x", .wait = 5000, .data = LONG);
}


static int
run_renew(void)
{
    return take(11, "x", .data = LONG);
}


static int
run_renew_only(void)
{
    return take(11, "x");
}


static int
run_drop(void)
{
    return drop(11, "x", 0);
}


static int
run_break(void)
{
    return drop(0, "a", 0);
}


static int
run_drop_last(void)
{
    return drop(0, "b", 0);
}


static int
run_give_up(void)
{
    return lock_wait(z, c, &p[12], "x", 1) == LOCKED ? 0 : -1;
}


static int
run_close(void)
{
    fanout_seat_close(z, c, p[11].ref, &p[11].id, FANOUT_LEFT_INTENTIONAL);

    return 0;
}


static int
run_kick(void)
{
    return fanout_seat_kick(z, c, 1, FANOUT_LEFT_KICKED);
}


static int
run_end(void)
{
    person_end(z, &p[11], 0);

    return 0;
}


static int
run_sweep(void)
{
    return sweep_all(z);
}


static int
run_resume(void)
{
    if (person_resume(z, &p[3]) != OK) {
        return -1;
    }

    return person_sit(z, c, &p[3]);
}


static int
run_set(void)
{
    return record_set(z, c, &(set_t) { .id = "r", .text = "a=2", .base = -1,
                                       .client = 1, .release = "a" });
}


static int
run_set_same(void)
{
    return record_set(z, c, &(set_t) { .id = "r", .text = "a=1", .base = -1,
                                       .client = 1, .release = "a" });
}


static int
run_clear(void)
{
    while (fanout_record_clear(z, c) == AGAIN) { /* void */ }

    return 0;
}


static const op_t  ops[] = {
    { "first", NULL, NULL, run_take, 0 },
    { "take", setup_some, NULL, run_take, 0 },
    { "take with long texts", setup_some, NULL, run_take_long, 0 },
    { "take in a new channel", setup_some, NULL, run_take_api, 0 },
    { "take what nobody has", setup_gone, NULL, run_join, 0 },
    { "take what is over", setup_over, NULL, run_join, SERIES },
    { "refused", setup_some, NULL, run_refused, 0 },
    { "join the line", setup_line, NULL, run_join, 0 },
    { "stay in line", setup_line, prepare_lock, run_stay, 0 },
    { "renew", setup_line, prepare_lock, run_renew, 0 },
    { "renew without data", setup_line, prepare_lock, run_renew_only, 0 },
    { "drop", setup_line, prepare_lock, run_drop, 0 },
    { "break", setup_line, NULL, run_break, 0 },
    { "drop the last", setup_some, NULL, run_drop_last, 0 },
    { "give up", setup_line, prepare_lock, run_give_up, 0 },
    { "close", setup_line, prepare_lock, run_close, SERIES },
    { "close with many", setup_line, prepare_many, run_close, SERIES },
    { "end with many", setup_line, prepare_many, run_end, SERIES },
    { "kick", setup_many, NULL, run_kick, SERIES },
    { "sweep", setup_due, NULL, run_sweep, SERIES },
    { "resume", setup_gone, NULL, run_resume, SERIES },
    { "set and release", setup_record, NULL, run_set, 0 },
    { "set nothing and release", setup_record, NULL, run_set_same, 0 },
    { "clear records", setup_record, NULL, run_clear, SERIES },
    { "full: break", setup_full, NULL, run_break, SERIES },
    { "full: kick", setup_full, NULL, run_kick, SERIES },
    { "full: take", setup_full, NULL, run_take_long, SERIES }
};


/* the survivor */

static size_t
say_channel(size_t n, channel_t *ch)
{
    unsigned     calls;
    const char  *text;

    text = lock_all(&survivor, ch, 64, &calls);

    return crash_say(n, "locks: %s\n", text ? text : "no channel");
}


static void
say_state(void)
{
    size_t         n;
    fanout_shm_t  *shm;

    shm = survivor.shm;
    n = crash_say(0, "told: %s\n", lock_told(&survivor, &arena));
    n = say_channel(say_channel(n, &ca), &na);

    (void) crash_say(n, "%llu free, locks %u waiters %u grants %llu expired "
                     "%llu broken %llu\n",
                     (unsigned long long) free_blocks(&survivor),
                     (unsigned) shm->nlocks, (unsigned) shm->nwaiters,
                     (unsigned long long) shm->lock_grants,
                     (unsigned long long) shm->locks_expired,
                     (unsigned long long) shm->locks_broken);
}


static int
sound(const char *when)
{
    if (crash_sound(when) != 0) {
        return -1;
    }

    if (survivor.shm->token < last) {
        return crash_fail("%s: the last token goes back", when);
    }

    last = survivor.shm->token;

    return 0;
}


/* All ends when it is over, and a new lock has a higher token. */

static int
goes_on(void)
{
    int  rc;

    c = &ca;
    rc = take(6, "late");

    if (rc != FULL && (rc != OK || lock_was.token <= last)) {
        return crash_fail("later: no lock can be taken");
    }

    if (rc == OK && drop(6, "late", lock_was.token) != OK) {
        return crash_fail("later: no lock can be dropped");
    }

    if (sound("later") != 0) {
        return -1;
    }

    fanout_test_seconds += 10000;

    if (sweep_all(z) < 0) {
        return crash_fail("at last: something never ends");
    }

    return survivor.shm->nlocks || survivor.shm->nwaiters
           || survivor.shm->heap.used[FANOUT_LOCKS]
           ? crash_fail("at last: locks are left") : sound("at last");
}


static int
survive(void)
{
    if (crash_recover() != 0 || sound("reaped") != 0) {
        return -1;
    }

    say_state();

    return goes_on();
}


static void
begin(const op_t *op)
{
    (void) fanout_zone_attach(&own, mem, SIZE);
    (void) fanout_slot_claim(&own, 2);
    c = &co;
    cn = &no;
    (void) fanout_channel_open(z, c, 9);
    sit(11);

    if (op->prepare) {
        op->prepare();
    }
}


static void
world(const op_t *op)
{
    memset(&policy, 0, sizeof(policy_t));
    policy.linger = 20;
    policy.records = FANOUT_RECORDS_ON;
    policy.locks = 60000;
    c = &ca;
    cn = &na;
    sit(1);

    if (op->setup) {
        op->setup();
    }

    (void) lock_told(&survivor, &arena);
    last = survivor.shm->token;
}


int
main(void)
{
    static const crash_t  test = { SIZE, 60, world, begin, survive, NULL };

    crash_init(&test, 300, 120);
    (void) fanout_zone_attach(&survivor, mem, SIZE);
    (void) fanout_slot_claim(&survivor, 1);
    ca = view(&survivor, "table", &policy);
    na = view(&survivor, "new", &policy);
    co = ca;
    no = na;
    (void) fanout_channel_open(&survivor, &ca, 7);
    crash_begin();

    crash_ops(ops, sizeof(ops) / sizeof(ops[0]));

    return done_testing();
}
