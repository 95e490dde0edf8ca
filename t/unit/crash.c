/* Kills operations on a zone; see crash.h. */


#include <limits.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "tap.h"
#include "crash.h"


void                  *mem;
zone_t                 survivor, own, *z;
arena_t                arena;
shared_t              *shared;

static const crash_t  *test;
static uint8_t        *virgin, *image;
static size_t          image_size;
static char            before[CRASH_TEXT], after[CRASH_TEXT];
static unsigned        nkills;
static volatile int    armed;
static volatile long   points, crash_at;


void
fanout_crash_point(void)
{
    if (armed && ++points == crash_at) {
        (void) kill(getpid(), SIGKILL);
    }
}


void
crash_arm(long at)
{
    points = 0;
    crash_at = at;
    armed = 1;
}


void
crash_disarm(void)
{
    armed = 0;
    shared->points = points;
}


int
crash_fail(const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(shared->error, sizeof(shared->error), fmt, ap);
    va_end(ap);

    return -1;
}


size_t
crash_say(size_t n, const char *fmt, ...)
{
    int      rc;
    va_list  ap;

    va_start(ap, fmt);
    rc = vsnprintf(shared->text + n, CRASH_TEXT - n, fmt, ap);
    va_end(ap);

    return n + rc < CRASH_TEXT ? n + rc : CRASH_TEXT - 1;
}


int
crash_sound(const char *when)
{
    char    why[256];
    stat_t  st;

    if (fanout_zone_verify(&survivor, why, sizeof(why)) != 0) {
        return crash_fail("%s: %s", when, why);
    }

    fanout_zone_stat(&survivor, &st);

    return st.overflows ? crash_fail("%s: the journal is too short", when) : 0;
}


int
crash_recover(void)
{
    if (crash_sound("killed") != 0) {
        return -1;
    }

    (void) fanout_slot_reap(&survivor, 20000, NULL);

    return survivor.heap.incarnation == survivor.shm->heap.incarnation
           ? 0 : crash_fail("rebuilt");
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


static int
look(void)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        (void) alarm(20);
        z = &survivor;
        survivor.heap.wake = 0;
        shared->error[0] = '\0';
        _exit(test->survive() != 0);
    }

    return ended(pid, 0) ? 0 : -1;
}


static void
die(const op_t *op, long at)
{
    (void) alarm(20);
    z = &own;
    test->begin(op);

    if (at == 0) {
        (void) kill(getpid(), SIGKILL);
    }

    crash_arm(at);
    shared->rc = op->run();
    crash_disarm();
    shared->acked = 1;
    (void) kill(getpid(), SIGKILL);
}


static void
die_again(long at)
{
    (void) alarm(20);
    (void) fanout_zone_attach(&own, mem, test->size);
    crash_arm(at);
    (void) fanout_slot_reap(&own, 20000, NULL);

    if (test->recovered) {
        test->recovered();
    }

    crash_disarm();
    (void) kill(getpid(), SIGKILL);
}


/* at: 0: killed before, -1: after.  second: where who recovers is killed, 0:
 * nobody is, -1: when all is done */

static int
trial(const op_t *op, long at, long second)
{
    pid_t  pid;

    memcpy(mem, image, image_size);
    shared->acked = 0;
    pid = fork();

    if (pid == 0) {
        die(op, at);
    }

    if (!ended(pid, 1)) {
        return crash_fail("not killed");
    }

    if (second) {
        pid = fork();

        if (pid == 0) {
            die_again(second);
        }

        if (!ended(pid, 1)) {
            return crash_fail("not killed twice");
        }
    }

    return look();
}


static void
take_image(const op_t *op)
{
    fanout_shm_t  *shm;

    memcpy(mem, virgin, test->size);
    fanout_test_seconds = 100;
    fanout_test_msec = 0;
    z = &survivor;
    survivor.heap.wake = 0;
    test->world(op);

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
outcomes(const op_t *op)
{
    if (trial(op, 0, 0) != 0) {
        ok(0, "%s, before: %s", op->name, shared->error);
        return -1;
    }

    strcpy(before, shared->text);

    if (trial(op, -1, 0) != 0) {
        ok(0, "%s, after: %s", op->name, shared->error);
        return -1;
    }

    strcpy(after, shared->text);

    return 0;
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

    if (outcomes(op) != 0) {
        return;
    }

    n = shared->points;
    rc = shared->rc;
    step = nkills ? n / nkills + 1 : 1;
    trials = 0;

    for (at = 1; at <= n; at += step, trials++) {

        if (trial(op, at, 0) != 0) {
            ok(0, "%s, killed at %ld of %ld: %s", op->name, at, n,
               shared->error);
            return;
        }

        if (!lawful(op)) {
            differs("before", before);
            differs("after", after);
            ok(0, "%s, killed at %ld of %ld%s: neither before nor after",
               op->name, at, n, shared->acked ? ", acknowledged" : "");
            return;
        }
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
        z = &own;
        test->begin(op);
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
    long  n, at, total;

    total = LONG_MAX;
    rc = step_trial(op, &total);

    if (rc == -2) {
        ok(1, "%s by instructions # SKIP processes can't be traced here",
           op->name);
        return;
    }

    for (at = 1; at <= total; at++) {
        n = at;

        if (step_trial(op, &n) != 0 || !lawful(op)) {
            ok(0, "%s: killed after %ld instructions: %s", op->name, at,
               shared->error);
            return;
        }
    }

    ok(total > 0, "%s: %ld kills by instructions", op->name, total);
}


int
crash_wanted(const char *name)
{
    const char  *only;

    only = getenv("ZONE_OP");

    return only == NULL || strcmp(only, name) == 0;
}


void
crash_ops(const op_t *ops, unsigned n)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        if (!crash_wanted(ops[i].name)) {
            continue;
        }

        take_image(&ops[i]);
        every_point(&ops[i]);

        if (getenv("ZONE_STEP") && !(ops[i].flags & SERIES)) {
            every_instruction(&ops[i]);
        }
    }
}


void
crash_init(const crash_t *what, uint32_t idle, uint32_t dedupe)
{
    char  *s;

    test = what;
    (void) signal(SIGALRM, hung);

    s = getenv("ZONE_KILLS");
    nkills = s ? (unsigned) atoi(s) : SLOW ? 10 : test->kills;

    shared = map(sizeof(shared_t));
    virgin = malloc(test->size);
    image = malloc(test->size);
    arena_init(&arena);

    fanout_test_seconds = 100;
    mem = zone_make(test->size, idle, dedupe);
    z = &survivor;
}


void
crash_begin(void)
{
    memcpy(virgin, mem, test->size);
}
