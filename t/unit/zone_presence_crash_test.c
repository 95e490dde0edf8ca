/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* sources: t/unit/zone_presence_crash_setup.c */
/* sources: t/unit/zone_presence_crash_ops.c */
/* sources: t/unit/zone_presence_crash_chaos.c */
/* cflags: -DFANOUT_CRASH=1 -DFANOUT_TEST=1 */

/*
 * If this fails, a worker killed in the middle of a join, a leave or a cleanup
 * leaves a ghost among the members, loses one who is there, has a backend told
 * what did not happen or not told what did, or leaves the zone broken for all.
 *
 * A process is killed by SIGKILL at every crash point of an operation on seats
 * and members, before and after each store, or at a sample of them.  A
 * survivor then goes on, with a mirror of the members that it had from before:
 * the zone is sound, the mirror agrees with the presence set when all is told,
 * and when time has passed nobody is there whose session is not.  What a
 * witness knows by the events is what is.
 *
 * Then several processes do random things, and some of them die.
 *
 * ZONE_KILLS (80) says how many kills an operation gets, 0: one at every
 * point; ZONE_STEP=1 kills at every instruction of the short ones, too;
 * ZONE_OP=name does one alone, or "random", of which there are ZONE_HISTORIES
 * (40), replayed by ZONE_SEED.
 */


#include <limits.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence_crash.h"


void                 *mem;
static uint8_t       *virgin, *image;
static size_t         image_size;
zone_t                survivor, own, *z;  /* z: of this process */
channel_t             ca, co, *c;       /* "room" */
channel_t             sa, so, *cs;      /* "summary" */
channel_t             rooms[SEATS];     /* of the killed */
person_t              people[200], p;   /* people of the survivor */
mirror_t              mirror;
static witness_t      witness;
arena_t               arena;
shared_t             *shared;
char                  names[SEATS][8];
static char           before[TEXT], after[TEXT];
static unsigned       nkills;
volatile int          armed;
static volatile long  points, crash_at;

policy_t  presence = {
    .history = 10, .presence = FANOUT_PRESENCE_ON, .linger = 5,
    .batch = 100, .hooks = 1
};


void
fanout_crash_point(void)
{
    if (armed && ++points == crash_at) {
        (void) kill(getpid(), SIGKILL);
    }
}


void
arm(long at)
{
    points = 0;
    crash_at = at;
    armed = 1;
}


/* the survivor: all is told, and the mirror takes it */

static int
fail(const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    vsnprintf(shared->error, sizeof(shared->error), fmt, ap);
    va_end(ap);

    return -1;
}


int
drain(void)
{
    int       rc;
    uint32_t  i;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(&survivor, &arena);

        for (i = 0; i < arena.n; i++) {
            if (arena.entries[i].local == 7
                && mirror_entry(&mirror, &arena.entries[i]) != 0)
            {
                return fail("%s", mirror.error);
            }
        }

    } while (rc == AGAIN);

    return rc == OK ? 0 : fail("drain: %d", rc);
}


int
settle(void)
{
    int       n, rc;
    uint32_t  ms;
    mirror_t  now;

    for (n = 0; n < 10000; n++) {
        ms = fanout_presence_flush(&survivor);

        if (drain() != 0) {
            return -1;
        }

        if (ms == UINT32_MAX) {
            break;
        }

        fanout_test_msec += ms;
        fanout_test_seconds += fanout_test_msec / 1000;
        fanout_test_msec %= 1000;
    }

    if (n == 10000) {
        return fail("endless");
    }

    if (mirror.state == MIRROR_LOST
        && mirror_read(&mirror, &survivor, &ca) != 0)
    {
        return fail("%s", mirror.error);
    }

    mirror_init(&now);
    rc = mirror_read(&now, &survivor, &ca) == 0
         ? mirror_same(&mirror, &now, 1) : -1;
    mirror_done(&now);

    return rc ? fail("mirror: %s", mirror.error) : 0;
}


static int
sound(const char *when)
{
    char    why[256];
    stat_t  st;

    if (fanout_zone_verify(&survivor, why, sizeof(why)) != 0) {
        return fail("%s: %s", when, why);
    }

    fanout_zone_stat(&survivor, &st);

    return st.overflows ? fail("%s: the journal is too short", when) : 0;
}


/* all events are told, and are what is */

static int
heed(void)
{
    return w_read_all(&witness, &survivor) != 0
           || w_true(&witness, &survivor) != 0
           ? fail("events: %s", witness.error) : 0;
}


/* what others can see, as text */

static size_t
say(size_t n, const char *fmt, ...)
{
    int      rc;
    va_list  ap;

    va_start(ap, fmt);
    rc = vsnprintf(shared->text + n, TEXT - n, fmt, ap);
    va_end(ap);

    return n + rc < TEXT ? n + rc : TEXT - 1;
}


static size_t
say_state(size_t n)
{
    face_t      *f;
    stat_t       st;
    order_t      o[64];
    presence_t   r;
    unsigned     i, k;
    uint32_t     slot;
    member_t     m[1];

    static uint8_t  buf[SECTION];

    for (i = 0; i < mirror.max && n < TEXT / 2; i++) {
        f = &mirror.faces[i];

        if (f->there) {
            n = say(n, "%u: %llu %x %x %x %x %u\n", i,
                    (unsigned long long) f->client, f->key, f->user, f->info,
                    f->data, f->idle);
        }
    }

    slot = 0;
    memset(&r, 0, sizeof(r));
    (void) fanout_presence_read(&survivor, &sa, &slot, m, 1, buf, SECTION, &k,
                                &r);

    fanout_zone_stat(&survivor, &st);
    n = say(n, "members %u counted %u identities %llu %llu users %llu seats "
            "%llu %llu members %llu evicted %llu gaps %u\n", mirror.n,
            r.members,
            (unsigned long long) st.nidentities,
            (unsigned long long) st.lingering,
            (unsigned long long) st.nusers, (unsigned long long) st.nseats,
            (unsigned long long) st.seats_lingering,
            (unsigned long long) st.nmembers,
            (unsigned long long) st.evicted, mirror.gaps);

    n = say(n, "events %llu of %llu sum %x, lost %llu, asked for %llu, leader "
            "%u\n", (unsigned long long) witness.read,
            (unsigned long long) survivor.shm->event_offset, witness.sum,
            (unsigned long long) st.events_lost,
            (unsigned long long) st.events_max, st.events_leader);

    while ((k = fanout_slot_orders(&survivor, o, 64)) != 0) {
        for (i = 0; i < k; i++) {
            n = say(n, "order %u %llu %u %u\n", o[i].op,
                    (unsigned long long) o[i].client, o[i].code,
                    o[i].reason);
        }
    }

    return n;
}


/* a member whose session is not this process's is one of nobody's */

static int
ghosts(void)
{
    uint32_t   i;
    stat_t     st;
    client_t   info;
    uint8_t    buf[255 + FANOUT_ZONE_INFO];

    for (i = 0; i < mirror.max; i++) {
        if (!mirror.faces[i].there) {
            continue;
        }

        if (fanout_client_get(&survivor, mirror.faces[i].client, &info,
                              buf) != OK || info.pid != 1)
        {
            return fail("a ghost: %llu in slot %u", (unsigned long long)
                        mirror.faces[i].client, i);
        }
    }

    fanout_zone_stat(&survivor, &st);

    if (st.lingering || st.seats_lingering || st.live != 1) {
        return fail("lingering: %llu, seats %llu, %u live",
                    (unsigned long long) st.lingering,
                    (unsigned long long) st.seats_lingering, st.live);
    }

    return 0;
}


static int
goes_on(void)
{
    int       rc;
    uint32_t  n;
    person_t  a;

    n = mirror.n;
    rc = person_add(&survivor, &a, 77777, "late", "", 0);

    if (rc == OK) {
        rc = person_sit(&survivor, &ca, &a);
    }

    if (rc == OK) {
        rc = person_put(&survivor, &ca, &a, "", "x", ENTER|DATA, NULL);
        n += rc == OK;
    }

    if ((rc != OK && rc != FULL) || settle() != 0 || mirror.n != n) {
        return fail("nobody can join any more: %d, %s", rc, shared->error);
    }

    person_end(&survivor, &a, 0);

    return settle() != 0 || mirror.n != n - (rc == OK)
           ? fail("nobody can leave any more: %s", shared->error) : 0;
}


static int
survive(void)
{
    size_t  n;

    z = &survivor;
    survivor.heap.wake = 0;
    shared->error[0] = '\0';

    if (sound("killed") != 0) {
        return -1;
    }

    (void) fanout_slot_reap(&survivor, 20000, NULL);

    if (survivor.heap.incarnation != survivor.shm->heap.incarnation) {
        return fail("rebuilt");
    }

    w_init(&witness, E_ALL, NULL);

    /* what was taken it was not told */

    witness.last = witness.done = witness.read = survivor.shm->event_done;
    witness.soft = witness.done != 0;

    if (sound("reaped") != 0 || settle() != 0 || heed() != 0
        || sound("told") != 0)
    {
        return -1;
    }

    n = say_state(0);

    fanout_test_seconds += 60;

    if (sweep_all(&survivor) == -1) {
        return fail("an endless sweep");
    }

    if (settle() != 0 || heed() != 0 || sound("swept") != 0 || ghosts() != 0
        || goes_on() != 0 || heed() != 0)
    {
        return -1;
    }

    (void) say_state(say(n, "later\n"));

    return 0;
}


/* one trial */

static void
hung(int sig)
{
    static const char  text[] = "Bail out! a survivor hangs\n";

    (void) !write(STDOUT_FILENO, text, sizeof(text) - 1);
    _exit(3);
}


static void
begin(const op_t *op)
{
    z = &own;
    c = &co;
    cs = &so;
    op->prepare();
}


static int
reaped(pid_t pid, int want)
{
    int  status;

    (void) waitpid(pid, &status, 0);

    return want ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                : WIFEXITED(status) && WEXITSTATUS(status) == 0;
}


static int
look(void)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        (void) alarm(20);
        _exit(survive() != 0);
    }

    return reaped(pid, 0) ? 0 : -1;
}


static int
trial(const op_t *op, long at, long second)
{
    pid_t  pid;

    memcpy(mem, image, image_size);
    shared->acked = 0;

    pid = fork();

    if (pid == 0) {
        (void) alarm(20);
        begin(op);

        if (at == 0) {
            (void) kill(getpid(), SIGKILL);
        }

        arm(at);
        shared->rc = op->run();
        armed = 0;
        shared->points = points;
        shared->acked = 1;
        (void) kill(getpid(), SIGKILL);
    }

    if (!reaped(pid, 1)) {
        return fail("not killed");
    }

    if (second) {
        pid = fork();

        if (pid == 0) {
            (void) alarm(20);
            (void) fanout_zone_attach(&own, mem, SIZE);
            arm(second);
            (void) fanout_slot_reap(&own, 20000, NULL);
            (void) fanout_presence_flush(&own);
            armed = 0;
            shared->points = points;
            (void) kill(getpid(), SIGKILL);
        }

        if (!reaped(pid, 1)) {
            return fail("not killed twice");
        }
    }

    return look();
}


static void
take_image(const op_t *op)
{
    fanout_shm_t  *shm;

    memcpy(mem, virgin, SIZE);
    fanout_test_seconds = 100;
    fanout_test_msec = 0;
    z = &survivor;
    c = &ca;
    cs = &sa;
    survivor.heap.wake = 0;

    (void) mirror_read(&mirror, &survivor, &ca);
    mirror.at_epoch = mirror.epoch;
    mirror.at = mirror.offset;
    mirror.follows = 1;

    if (op->setup) {
        op->setup();
    }

    /* what was never used needs no copy */

    shm = mem;
    image_size = shm->heap.blocks + (uint64_t) shm->heap.fresh * FANOUT_BLOCK;
    memcpy(image, mem, image_size);
}


static void
differs(const char *what, const char *a)
{
    size_t       i;
    const char  *b;

    b = shared->text;

    for (i = 0; a[i] && a[i] == b[i]; i++) { /* void */ }
    for ( /* void */ ; i && a[i - 1] != '\n'; i--) { /* void */ }

    diag("%s: %.*s", what, (int) strcspn(a + i, "\n"), a + i);
    diag("found: %.*s", (int) strcspn(b + i, "\n"), b + i);
}


/* an operation of one transaction leaves what was before, or after */

static int
lawful(const op_t *op)
{
    if (shared->acked) {
        return strcmp(shared->text, after) == 0;
    }

    return (op->flags & SERIES) || strcmp(shared->text, before) == 0
           || strcmp(shared->text, after) == 0;
}


static int
killed_twice(const op_t *op, long n, long *trials)
{
    long  at, second, k, of;

    of = nkills ? 2 : 12;

    for (at = n / 3 + 1; at <= n; at += n / of + 1) {
        shared->points = 0;

        if (trial(op, at, -1) != 0) {
            ok(0, "%s, killed at %ld: %s", op->name, at, shared->error);
            return -1;
        }

        k = shared->points;

        for (second = 1; second <= k; second += k / (of * 3) + 1) {
            if (trial(op, at, second) != 0) {
                ok(0, "%s, killed at %ld, then at %ld: %s", op->name, at,
                   second, shared->error);
                return -1;
            }

            (*trials)++;
        }
    }

    return 0;
}


static void
every_point(const op_t *op)
{
    int   rc;
    long  at, n, step, trials;

    take_image(op);

    if (trial(op, 0, 0) != 0) {
        ok(0, "%s, before: %s", op->name, shared->error);
        return;
    }

    strcpy(before, shared->text);

    if (trial(op, -1, 0) != 0) {
        ok(0, "%s, after: %s", op->name, shared->error);
        return;
    }

    strcpy(after, shared->text);
    n = shared->points;
    rc = shared->rc;
    step = nkills ? n / nkills + 1 : 1;
    trials = 0;

    for (at = 1; at <= n; at += step) {
        if (trial(op, at, 0) != 0) {
            ok(0, "%s, killed at %ld of %ld: %s", op->name, at, n,
               shared->error);
            return;
        }

        trials++;

        if (!lawful(op)) {
            differs("before", before);
            differs("after", after);
            ok(0, "%s, killed at %ld of %ld%s: neither before nor after",
               op->name, at, n, shared->acked ? ", acknowledged" : "");
            return;
        }
    }

    if (getenv("ZONE_OP")) {
        diag("before:\n%s\nafter:\n%s", before, after);
    }

    if (killed_twice(op, n, &trials) == 0) {
        ok(n > 0 && rc >= 0, "%s: %ld kills at %ld points, result %d",
           op->name, trials, n, rc);
    }
}


/* by instructions */

static int
step_trial(const op_t *op, long *n)
{
    int    status;
    long   i;
    pid_t  pid;

    memcpy(mem, image, image_size);
    shared->acked = 0;
    pid = fork();

    if (pid == 0) {
        begin(op);
        (void) ptrace(PTRACE_TRACEME, 0, 0, 0);
        (void) raise(SIGSTOP);
        shared->rc = op->run();
        shared->acked = 1;
        (void) kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, &status, 0);

    if (!WIFSTOPPED(status)) {
        return -2;
    }

    for (i = 0; i < *n && WIFSTOPPED(status); i++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == -1) {
            break;
        }

        (void) waitpid(pid, &status, 0);
    }

    if (WIFSTOPPED(status)) {
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, &status, 0);
    }

    *n = i;

    return look();
}


static void
every_instruction(const op_t *op)
{
    int   rc;
    long  n, at, total, trials;

    take_image(op);

    if (trial(op, 0, 0) != 0) {
        ok(0, "%s: %s", op->name, shared->error);
        return;
    }

    strcpy(before, shared->text);
    (void) trial(op, -1, 0);
    strcpy(after, shared->text);

    total = LONG_MAX;
    rc = step_trial(op, &total);

    if (rc == -2) {
        ok(1, "%s by instructions # SKIP processes can't be traced here",
           op->name);
        return;
    }

    trials = 0;

    for (at = 1; at <= total; at++) {
        n = at;

        if (step_trial(op, &n) != 0 || !lawful(op)) {
            ok(0, "%s: killed after %ld instructions: %s", op->name, at,
               shared->error);
            return;
        }

        trials++;
    }

    ok(trials > 0, "%s: %ld kills by instructions", op->name, trials);
}


int
main(int argc, char **argv)
{
    char      *only, *s;
    unsigned   i;

    (void) signal(SIGALRM, hung);

    s = getenv("ZONE_KILLS");
    nkills = s ? atoi(s) : SLOW ? 10 : 80;
    only = getenv("ZONE_OP");

    shared = map(sizeof(shared_t));
    virgin = malloc(SIZE);
    image = malloc(SIZE);
    arena_init(&arena);
    mirror_init(&mirror);

    fanout_test_seconds = 100;
    mem = zone_make(SIZE, 30, 20);
    inhabit();
    memcpy(virgin, mem, SIZE);

    for (i = 0; i < nops; i++) {
        if (only == NULL || strcmp(only, ops[i].name) == 0) {
            every_point(&ops[i]);

            if (getenv("ZONE_STEP") && !(ops[i].flags & SERIES)) {
                every_instruction(&ops[i]);
            }
        }
    }

    if (only == NULL || strcmp(only, "random") == 0) {
        chaos();
    }

    return done_testing();
}
