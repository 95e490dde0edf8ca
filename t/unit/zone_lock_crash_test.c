/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_events.c */
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
 * ZONE_KILLS (60) says how many kills an operation gets, 0: one at every
 * point; ZONE_OP=name does one alone.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_lock.h"


#define SIZE     (2 * MB)
#define TEXT     (64 * 1024)
#define SERIES   1                      /* more than one transaction */
#define PERSONS  8                      /* of the survivor from 1 on, of the
                                           killed from 11 on */

typedef struct {
    const char  *name;
    void       (*setup)(void);          /* by the survivor */
    void       (*prepare)(void);        /* by the killed, before */
    int        (*run)(void);            /* by the killed */
    unsigned     flags;
} op_t;

typedef struct {
    volatile long      points;
    volatile int       acked;
    volatile int       rc;
    char               text[TEXT];      /* what the survivor found */
    char               error[512];
} shared_t;


static void           *mem, *image, *virgin;
static size_t          image_size;
static zone_t          survivor, own, *z;
static channel_t       ca, co, *c;      /* "table": survivor's, killed's */
static channel_t       na, no, *cn;     /* "new" */
static policy_t        policy;
static arena_t         arena;
static person_t        p[20];
static shared_t       *shared;
static char            before[TEXT], after[TEXT];
static unsigned        nkills;
static uint64_t        last;            /* token that was seen */
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
fail(const char *what, const char *why)
{
    (void) snprintf(shared->error, sizeof(shared->error), "%s: %s", what,
                    why);
    return -1;
}


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

    return n + snprintf(shared->text + n, TEXT - n, "locks: %s\n",
                        text ? text : "no channel");
}


static void
say_state(void)
{
    size_t         n;
    fanout_shm_t  *shm;

    shm = survivor.shm;
    n = snprintf(shared->text, TEXT, "told: %s\n",
                 lock_told(&survivor, &arena));
    n = say_channel(say_channel(n, &ca), &na);

    (void) snprintf(shared->text + n, TEXT - n, "%llu free, locks %u waiters "
                    "%u grants %llu expired %llu broken %llu\n",
                    (unsigned long long) free_blocks(&survivor),
                    (unsigned) shm->nlocks, (unsigned) shm->nwaiters,
                    (unsigned long long) shm->lock_grants,
                    (unsigned long long) shm->locks_expired,
                    (unsigned long long) shm->locks_broken);
}


static int
sound(const char *when)
{
    char    why[256];
    stat_t  st;

    if (fanout_zone_verify(&survivor, why, sizeof(why)) != 0) {
        return fail(when, why);
    }

    fanout_zone_stat(&survivor, &st);

    if (survivor.shm->token < last) {
        return fail(when, "the last token goes back");
    }

    last = survivor.shm->token;

    return st.overflows ? fail(when, "the journal is too short") : 0;
}


/* All ends when it is over, and a new lock has a higher token. */

static int
goes_on(void)
{
    int  rc;

    z = &survivor;
    c = &ca;
    rc = take(6, "late");

    if (rc != FULL && (rc != OK || lock_was.token <= last)) {
        return fail("later", "no lock can be taken");
    }

    if (rc == OK && drop(6, "late", lock_was.token) != OK) {
        return fail("later", "no lock can be dropped");
    }

    if (sound("later") != 0) {
        return -1;
    }

    fanout_test_seconds += 10000;

    if (sweep_all(z) < 0) {
        return fail("at last", "something never ends");
    }

    return survivor.shm->nlocks || survivor.shm->nwaiters
           || survivor.shm->heap.used[FANOUT_LOCKS]
           ? fail("at last", "locks are left") : sound("at last");
}


static int
survive(void)
{
    survivor.heap.wake = 0;
    shared->error[0] = '\0';

    if (sound("killed") != 0) {
        return -1;
    }

    (void) fanout_slot_reap(&survivor, 20000, NULL);

    if (survivor.heap.incarnation != survivor.shm->heap.incarnation) {
        return fail("reaped", "rebuilt");
    }

    if (sound("reaped") != 0) {
        return -1;
    }

    say_state();

    return goes_on();
}


/* one trial */

static void
hung(int sig)
{
    static const char  text[] = "Bail out! a survivor hangs\n";

    (void) !write(STDOUT_FILENO, text, sizeof(text) - 1);
    _exit(3);
}


static int
ended(pid_t pid, int killed)
{
    int  status;

    (void) waitpid(pid, &status, 0);

    return killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                  : WIFEXITED(status) && WEXITSTATUS(status) == 0;
}


static void
die(const op_t *op, long at)
{
    (void) alarm(20);
    (void) fanout_zone_attach(&own, mem, SIZE);
    (void) fanout_slot_claim(&own, 2);
    z = &own;
    c = &co;
    cn = &no;
    (void) fanout_channel_open(z, c, 9);
    sit(11);

    if (op->prepare) {
        op->prepare();
    }

    if (at == 0) {
        (void) kill(getpid(), SIGKILL);
    }

    points = 0;
    crash_at = at;
    armed = 1;
    shared->rc = op->run();
    armed = 0;
    shared->points = points;
    shared->acked = 1;
    (void) kill(getpid(), SIGKILL);
}


/* at: 0: killed before, -1: after */

static int
trial(const op_t *op, long at)
{
    pid_t  pid;

    memcpy(mem, image, image_size);
    shared->acked = 0;
    pid = fork();

    if (pid == 0) {
        die(op, at);
    }

    if (!ended(pid, 1)) {
        return fail("killed", "not so");
    }

    pid = fork();

    if (pid == 0) {
        (void) alarm(20);
        _exit(survive() != 0);
    }

    return ended(pid, 0) ? 0 : -1;
}


static void
take_image(const op_t *op)
{
    fanout_shm_t  *shm;

    memcpy(mem, virgin, SIZE);
    fanout_test_seconds = 100;
    memset(&policy, 0, sizeof(policy_t));
    policy.linger = 20;
    policy.records = FANOUT_RECORDS_ON;
    policy.locks = 60000;
    z = &survivor;
    c = &ca;
    cn = &na;
    survivor.heap.wake = 0;
    sit(1);

    if (op->setup) {
        op->setup();
    }

    (void) lock_told(&survivor, &arena);

    shm = mem;
    last = shm->token;
    image_size = shm->heap.blocks + (uint64_t) shm->heap.fresh * FANOUT_BLOCK;
    memcpy(image, mem, image_size);
}


static int
lawful(const op_t *op)
{
    if (shared->acked) {
        return strcmp(shared->text, after) == 0;
    }

    return (op->flags & SERIES) || strcmp(shared->text, before) == 0
           || strcmp(shared->text, after) == 0;
}


static void
every_point(const op_t *op)
{
    int   rc;
    long  at, n, step, trials;

    take_image(op);

    if (trial(op, 0) != 0) {
        ok(0, "%s, before: %s", op->name, shared->error);
        return;
    }

    strcpy(before, shared->text);

    if (trial(op, -1) != 0) {
        ok(0, "%s, after: %s", op->name, shared->error);
        return;
    }

    strcpy(after, shared->text);
    n = shared->points;
    rc = shared->rc;
    step = nkills ? n / nkills + 1 : 1;
    trials = 0;

    for (at = 1; at <= n; at += step, trials++) {

        if (trial(op, at) != 0) {
            ok(0, "%s, killed at %ld of %ld: %s", op->name, at, n,
               shared->error);
            return;
        }

        if (!lawful(op)) {
            diag("before:\n%s\nafter:\n%s\nfound:\n%s", before, after,
                 shared->text);
            ok(0, "%s, killed at %ld of %ld%s: neither before nor after",
               op->name, at, n, shared->acked ? ", acknowledged" : "");
            return;
        }
    }

    if (getenv("ZONE_OP")) {
        diag("before:\n%s\nafter:\n%s", before, after);
    }

    ok(n > 0 && rc >= 0, "%s: %ld kills at %ld points, result %d", op->name,
       trials, n, rc);
}


int
main(void)
{
    char      *only, *s;
    unsigned   i;

    (void) signal(SIGALRM, hung);

    s = getenv("ZONE_KILLS");
    nkills = s ? atoi(s) : SLOW ? 10 : 60;
    only = getenv("ZONE_OP");

    shared = map(sizeof(shared_t));
    virgin = malloc(SIZE);
    image = malloc(SIZE);
    arena_init(&arena);

    fanout_test_seconds = 100;
    mem = zone_make(SIZE, 300, 120);
    (void) fanout_zone_attach(&survivor, mem, SIZE);
    (void) fanout_slot_claim(&survivor, 1);
    ca = view(&survivor, "table", &policy);
    na = view(&survivor, "new", &policy);
    co = ca;
    no = na;
    (void) fanout_channel_open(&survivor, &ca, 7);
    memcpy(virgin, mem, SIZE);

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (only == NULL || strcmp(only, ops[i].name) == 0) {
            every_point(&ops[i]);
        }
    }

    return done_testing();
}
