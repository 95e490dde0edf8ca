/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_crash_state.c t/unit/zone_crash_ops.c */
/* sources: t/unit/zone_crash_publish.c t/unit/zone_crash_clients.c */
/* sources: t/unit/zone_crash_mail.c t/unit/zone_crash_lock.c */
/* sources: t/unit/zone_crash_chaos.c */
/* cflags: -DFANOUT_CRASH=1 -DFANOUT_TEST=1 -D_GNU_SOURCE */

/*
 * If this fails, a killed worker can lose a publish that was acknowledged,
 * leave half of one, leak memory of the zone, or stop all other workers.
 *
 * Real processes over one mapping are killed by SIGKILL:
 *  - at every crash point of every operation (before and after each store);
 *  - at points of the rollback of those, and while they reap;
 *  - at instructions of a publish and a drain, by single steps;
 *  - at random, while several run random operations.
 *
 * ZONE_SEED replays what is random, ZONE_CRASH_SECONDS (20) says how long that
 * part takes, ZONE_STEP=1 steps through every instruction, not a sample, and
 * ZONE_OP=name does one operation alone, or one of "instructions", "rebuild",
 * "stranded" and "random".
 */


#include <limits.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_crash.h"


char                 *before, *after, *state;
void                 *mem, *image, *virgin;
zone_t                parent;
channel_t             rooms[4];
arena_t               arena;
ack_t                *ack;
uint64_t              seed;
volatile int          armed;
static volatile long  points, crash_at;
identity_t            heard[12];        /* of direct messages */
policy_t              keep = { .history = 100, .ttl = 60, .linger = 60 };
policy_t              few = { .history = 10, .bytes = 0, .ttl = 0 };
policy_t              none = { .history = 0, .bytes = 0, .ttl = 0 };
policy_t              bytes = { .history = 1000, .bytes = 2000, .ttl = 0 };


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


/* one trial */

static void
hung(int sig)
{
    static const char  text[] = "Bail out! a survivor hangs\n";

    (void) !write(STDOUT_FILENO, text, sizeof(text) - 1);
    _exit(3);
}


static void
child(const op_t *op, long at)
{
    zone_t  own, *z;

    z = &own;

    if (op->flags & AS_PARENT) {
        z = &parent;

    } else {
        op->prepare(z);
    }

    if (at == 0) {
        (void) kill(getpid(), SIGKILL);
    }

    arm(at);
    ack->rc = op->run(z);
    armed = 0;

    ack->points = points;
    ack->acked = 1;

    (void) kill(getpid(), SIGKILL);
}


/* Runs and kills it; what a survivor then finds is told in text. */

static int
trial(const op_t *op, long at, long second, char *text)
{
    int     rc, status;
    char    why[256];
    pid_t   pid;
    zone_t  own, saved;

    memcpy(mem, image, SIZE);
    ack->acked = 0;
    saved = parent;

    pid = fork();

    if (pid == 0) {
        (void) alarm(20);
        child(op, at);
    }

    (void) waitpid(pid, &status, 0);

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        diag("%s: status %x at %ld", op->name, status, at);
        return -1;
    }

    if (second) {
        /* who recovers is killed as well */

        pid = fork();

        if (pid == 0) {
            (void) alarm(20);
            prepare_attached(&own);
            arm(second);
            (void) free_blocks(&own);
            (void) fanout_slot_reap(&own, 1000, NULL);
            armed = 0;
            ack->points = points;
            (void) kill(getpid(), SIGKILL);
        }

        (void) waitpid(pid, &status, 0);
    }

    (void) alarm(10);

    rc = fanout_zone_verify(&parent, why, sizeof(why));

    if (rc == 0) {
        (void) fanout_slot_reap(&parent, 1000, NULL);
        rc = fanout_zone_verify(&parent, why, sizeof(why));
    }

    if (rc) {
        diag("%s, killed at %ld/%ld: %s", op->name, at, second, why);

    } else if (parent.heap.incarnation != saved.heap.incarnation) {
        diag("%s, killed at %ld/%ld: rebuilt", op->name, at, second);
        rc = -1;

    } else {
        say_state(text, &parent);
        rc = fanout_zone_verify(&parent, why, sizeof(why));

        if (rc) {
            diag("%s, killed at %ld/%ld, then read: %s", op->name, at,
                 second, why);
        }

        if (strstr(text, "HALF")) {
            diag("%s, killed at %ld/%ld: half a message", op->name, at,
                 second);
            rc = -1;
        }
    }

    (void) alarm(0);

    saved.heap.recoveries = parent.heap.recoveries;
    parent = saved;

    return rc;
}


static void
prepare_image(const op_t *op)
{
    fanout_test_seconds = 100;

    memcpy(mem, virgin, SIZE);
    op->setup(&parent);
    memcpy(image, mem, SIZE);
}


/* Whether a state may be: from before to after, never back. */

static int
lawful(const op_t *op, long at)
{
    static char  last[STATE_MAX];

    if (ack->acked) {
        return strcmp(state, after) == 0;
    }

    if ((op->flags & SERIES) == 0) {
        return strcmp(state, before) == 0 || strcmp(state, after) == 0;
    }

    if (at == 1) {
        strcpy(last, before);
    }

    if (strcmp(state, last) == 0) {
        return 1;
    }

    if (strcmp(state, before) == 0 || strcmp(last, after) == 0) {
        return 0;
    }

    strcpy(last, state);

    return 1;
}


static void
show_difference(const char *what, const char *a)
{
    size_t       n, m;
    const char  *b;

    b = state;

    while (*a && *b) {
        n = strcspn(a, "\n");
        m = strcspn(b, "\n");

        if (n != m || memcmp(a, b, n) != 0) {
            break;
        }

        a += n + (a[n] == '\n');
        b += m + (b[m] == '\n');
    }

    diag("%s: %.*s", what, (int) strcspn(a, "\n"), a);
    diag("found: %.*s", (int) strcspn(b, "\n"), b);
}


static void
every_point(const op_t *op)
{
    long  at, n, trials, step, k, second;

    prepare_image(op);

    if (trial(op, 0, 0, before) || trial(op, -1, 0, after)) {
        ok(0, "%s: not killed", op->name);
        return;
    }

    n = ack->points;
    ok(n > 0 && ack->rc >= 0, "%s: %ld points, result %d", op->name, n,
       ack->rc);

    step = n / (SLOW ? 60 : 600) + 1;
    trials = 0;

    for (at = 1; at <= n; at += step) {
        if (trial(op, at, 0, state)) {
            ok(0, "%s", op->name);
            return;
        }

        trials++;

        if (!lawful(op, at)) {
            show_difference("before", before);
            show_difference("after", after);
            ok(0, "%s: killed at %ld of %ld%s: neither before nor after",
               op->name, at, n, ack->acked ? ", acknowledged" : "");
            return;
        }
    }

    /* who recovers is killed too */

    step = n / (SLOW ? 2 : 10) + 1;

    for (at = n / 20 + 1; at <= n; at += step) {
        ack->points = 0;

        if (trial(op, at, LONG_MAX, state)) {
            ok(0, "%s", op->name);
            return;
        }

        k = ack->points;

        for (second = 1; second <= k; second += k / (SLOW ? 4 : 12) + 1) {
            if (trial(op, at, second, state)) {
                ok(0, "%s, twice", op->name);
                return;
            }

            trials++;

            if ((op->flags & SERIES) == 0 && strcmp(state, before) != 0
                && strcmp(state, after) != 0)
            {
                show_difference("before", before);
                ok(0, "%s: killed at %ld, then at %ld", op->name, at,
                   second);
                return;
            }
        }
    }

    ok(1, "%s: %ld kills", op->name, trials);
}


static void
all_points(void)
{
    char     *only;
    unsigned  i;

    only = getenv("ZONE_OP");

    for (i = 0; i < nops; i++) {
        if (only == NULL || strcmp(only, ops[i].name) == 0) {
            every_point(&ops[i]);
        }
    }
}


/* by instructions */

static void
step_child(const op_t *op)
{
    zone_t  own, *z;

    z = &own;

    if (op->flags & AS_PARENT) {
        z = &parent;

    } else {
        op->prepare(z);
    }

    (void) ptrace(PTRACE_TRACEME, 0, 0, 0);
    (void) raise(SIGSTOP);

    ack->rc = op->run(z);
    ack->acked = 1;

    (void) kill(getpid(), SIGKILL);
}


/* Kills it after *n instructions, or fewer if it was done before; -1 if it
 * cannot be traced, -2 if the zone is broken. */

static int
step_trial(const op_t *op, long *n, char *why, size_t len)
{
    int     rc, status;
    long    i;
    pid_t   pid;
    zone_t  saved;

    memcpy(mem, image, SIZE);
    ack->acked = 0;
    saved = parent;

    pid = fork();

    if (pid == 0) {
        step_child(op);
    }

    (void) waitpid(pid, &status, 0);

    if (!WIFSTOPPED(status)) {
        return -1;
    }

    for (i = 0; i < *n; i++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == -1) {
            break;
        }

        (void) waitpid(pid, &status, 0);

        if (!WIFSTOPPED(status)) {
            break;
        }
    }

    if (WIFSTOPPED(status)) {
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, &status, 0);
    }

    (void) alarm(10);
    rc = fanout_zone_verify(&parent, why, len);

    if (rc == 0) {
        (void) fanout_slot_reap(&parent, 1000, NULL);
        say_state(state, &parent);
        rc = fanout_zone_verify(&parent, why, len);
    }

    (void) alarm(0);
    saved.heap.recoveries = parent.heap.recoveries;
    parent = saved;

    *n = i;

    return rc ? -2 : 0;
}


static void
every_instruction(const op_t *op)
{
    int   rc;
    long  n, at, stride, total, trials;
    char  why[256];

    prepare_image(op);

    if (trial(op, 0, 0, before) || trial(op, -1, 0, after)) {
        ok(0, "%s", op->name);
        return;
    }

    /* all of it once, to know how many there are */

    n = LONG_MAX;
    rc = step_trial(op, &n, why, sizeof(why));

    if (rc == -1) {
        diag("this machine does not let processes be traced");
        ok(1, "%s by instructions # SKIP", op->name);
        return;
    }

    stride = getenv("ZONE_STEP") ? 1 : n / (SLOW ? 4 : 30) + 1;
    total = n;
    trials = 0;

    for (at = 1 + seed % stride; at <= total; at += stride) {
        n = at;
        rc = step_trial(op, &n, why, sizeof(why));

        if (rc == -2) {
            ok(0, "%s: killed after %ld instructions: %s", op->name, at,
               why);
            return;
        }

        if ((op->flags & SERIES) == 0
            && strcmp(state, before) != 0 && strcmp(state, after) != 0)
        {
            show_difference("before", before);
            show_difference("after", after);
            ok(0, "%s: killed after %ld instructions", op->name, at);
            return;
        }

        trials++;
    }

    ok(trials > 0, "%s: %ld kills between %ld instructions", op->name,
       trials, total);
}


static void
instructions(void)
{
    unsigned     i;
    const char  *name;

    for (i = 0; i < nops; i++) {
        name = ops[i].name;

        if (strcmp(name, "publish") == 0 || strcmp(name, "purge") == 0
            || strcmp(name, "drain a few") == 0
            || strcmp(name, "resume a live identity") == 0)
        {
            every_instruction(&ops[i]);
        }
    }
}


static int
part(const char *name)
{
    char  *only;

    only = getenv("ZONE_OP");

    return only == NULL || strcmp(only, name) == 0;
}


int
main(int argc, char **argv)
{
    unsigned  i;

    (void) signal(SIGALRM, hung);

    seed = seed_of_run();
    before = malloc(STATE_MAX);
    after = malloc(STATE_MAX);
    state = malloc(STATE_MAX);
    image = malloc(SIZE);
    virgin = malloc(SIZE);
    ack = map(4096);
    arena_init(&arena);

    fanout_test_seconds = 100;
    mem = zone_make(SIZE, 30, 20);
    prepare_slot(&parent);

    for (i = 0; i < 4; i++) {
        static const char  *names[] = { "a", "b", "c", "few" };

        rooms[i] = view(&parent, names[i], i == 2 ? &none : &keep);
        rooms[i].policy = i == 2 ? &bytes : i == 3 ? &few : &keep;

        if (i < 3) {
            (void) fanout_channel_open(&parent, &rooms[i], i);
        }
    }

    memcpy(virgin, mem, SIZE);

    all_points();

    if (part("instructions")) {
        instructions();
    }

    if (part("rebuild")) {
        rebuilt(0);
        rebuilt(1);
    }

    if (part("stranded")) {
        stranded();
    }

    if (part("random")) {
        chaos();
    }

    if (tap_failed) {
        diag("ZONE_SEED=%llu", (unsigned long long) seed);
    }

    return done_testing();
}
