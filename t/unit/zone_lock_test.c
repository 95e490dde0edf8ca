/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_events.c */
/* sources: t/unit/zone_presence.c t/unit/zone_lock.c t/unit/zone_record.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, two clients hold a lock at a time, a lock outlives its time or
 * its holder, or one who waits is never served.
 */


#include <sys/wait.h>

#include "tap.h"
#include "zone_lock.h"
#include "zone_record.h"


#define SIZE  (4 * MB)
#define ANN   1
#define MOST  80


static void      *mem;
static zone_t     z;
static policy_t   policy;
static channel_t  c;
static arena_t    arena;
static person_t   p[MOST];


static void
start(unsigned n)
{
    char      name[16];
    unsigned  i;

    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    memset(&policy, 0, sizeof(policy_t));
    policy.history = 10;
    policy.linger = 20;
    policy.locks = 60000;
    mem = zone_make(SIZE, 300, 120);
    (void) fanout_zone_attach(&z, mem, SIZE);
    (void) fanout_slot_claim(&z, 1);
    c = view(&z, "table", &policy);
    arena_init(&arena);
    (void) fanout_channel_open(&z, &c, 7);

    for (i = 1; i <= n; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        (void) person_add(&z, &p[i], i, name, "", 0);
        (void) person_sit(&z, &c, &p[i]);
    }
}


static void
checked(const char *what)
{
    int   rc;
    char  text[256];

    rc = fanout_zone_verify(&z, text, sizeof(text));
    ok(rc == 0, "%s: %s", what, rc ? text : "all invariants hold");
}


static void
stop(const char *what)
{
    checked(what);
    fanout_slot_release(&z);
    (void) sweep_all(&z);
    checked("after the worker");
    arena_done(&arena);
    munmap(mem, SIZE);
}


#define take(i, n, ...)                                                       \
    lock_take(&z, &c, &(ask_t) { .who = i ? &p[i] : NULL, .name = n,          \
                                 __VA_ARGS__ })
#define drop(i, n, t)  lock_drop(&z, &c, i ? &p[i] : NULL, n, t)
#define told()         lock_told(&z, &arena)


static const char *
all(void)
{
    unsigned  calls;

    return lock_all(&z, &c, 64, &calls);
}


/* the clients with ORDER_GRANTED, as a number in decimal */

static int
granted(void)
{
    int             n;
    unsigned        i, got;
    fanout_order_t  orders[64];

    n = 0;
    got = fanout_slot_orders(&z, orders, 64);

    for (i = 0; i < got; i++) {
        if (orders[i].op == FANOUT_ORDER_GRANTED && orders[i].local == 7) {
            n = n * 100 + orders[i].client;
        }
    }

    return n;
}


static void
later(uint32_t ms)
{
    fanout_test_msec += ms;
    fanout_test_seconds += fanout_test_msec / 1000;
    fanout_test_msec %= 1000;
}


static void
test_life(void)
{
    uint64_t  token, expires;

    start(2);

    is_str(all(), "", "there is no lock at first");
    is_int(take(1, "doc", .user = "ann", .data = "{}"), OK, "ann takes one");
    ok(lock_was.held && lock_was.client == 1 && !lock_renewed,
       "it is hers");
    token = lock_was.token;
    ok(token != 0, "it has a token");
    is_str(told(), "doc=1:ann [{}]", "it is told");
    is_str(all(), "doc=1:ann [{}]", "and listed");
    checked("a lock");

    is_int(take(2, "doc", .user = "bob"), LOCKED, "bob does not get it");
    ok(lock_was.client == 1 && lock_was.token == 0,
       "he is told who has it, without the token");
    is_str(told(), "", "nothing is told about it");

    expires = lock_was.expires;
    is_int(take(1, "doc", .ttl = 50000), OK, "ann renews it");
    ok(lock_renewed && lock_was.token == token
       && lock_was.expires >= expires + 20000, "same token, later end");
    is_str(told(), "doc=1:ann [{}]", "its data stays");
    is_int(take(1, "doc", .data = "[1]"), OK, "she renews it with data");
    is_str(told(), "doc=1:ann [[1]]", "which are told");
    is_int(take(1, "doc", .data = ""), OK, "she renews it without any");
    is_str(told(), "doc=1:ann", "now there are none");

    is_int(drop(2, "doc", 0), CONFLICT, "bob can't unlock it");
    is_int(drop(1, "doc", token + 1), CONFLICT, "nor ann by another token");
    is_int(drop(1, "doc", token), OK, "ann unlocks it");
    is_str(told(), "doc=- (unlocked)", "which is told");
    is_int(drop(1, "doc", 0), CONFLICT, "not twice");
    is_str(all(), "", "there is none");

    is_int(take(2, "doc"), OK, "bob gets it now");
    ok(lock_was.token > token, "his token is above hers");
    is_int(take(1, "other"), OK, "ann gets another");

    stop("a life");
}


static void
test_text(void)
{
    char      name[300], data[1100];
    unsigned  n;

    start(1);

    memset(name, 'n', sizeof(name));
    memset(data, 'd', sizeof(data));

    for (n = 1; n <= 255; n += n < 100 ? 9 : 31) {
        name[n] = '\0';
        data[n * 4] = '\0';
        is_int(take(1, name, .user = name, .data = data), OK,
               "a name of %u bytes", n);
        is_int(lock_was.data.len, n * 4, "data of %u", n * 4);
        is_int(take(1, name, .data = "7"), OK, "other data");
        is_int(lock_was.user.len, n, "the same user");
        name[n] = 'n';
        data[n * 4] = 'd';
    }

    name[256] = '\0';
    is_int(take(1, name), LARGE, "256 bytes are too many");
    is_int(take(1, ""), LARGE, "none are too few");
    data[1025] = '\0';
    is_int(take(1, "x", .data = data), LARGE, "so are data of 1,025");
    data[1024] = '\0';
    name[255] = '\0';
    is_int(take(1, name, .user = name, .data = data), OK, "but not 1,024");
    is_int(take(1, "x", .ttl = FANOUT_ZONE_LOCK_TIME + 1), LARGE,
           "a day is the longest time");

    stop("texts");
}


static void
test_line(void)
{
    uint64_t  token;

    start(5);

    (void) take(1, "doc");
    token = lock_was.token;
    is_int(take(2, "doc", .wait = 5000, .data = "2"), AGAIN, "two waits");
    is_int(take(3, "doc", .wait = 5000), AGAIN, "three waits");
    is_int(take(2, "doc", .wait = 5000, .data = "22"), AGAIN,
           "two asks again");
    is_int(lock_was.waiting, 2, "two are in line");
    is_int(take(2, "doc"), LOCKED, "two asks without a wait");
    is_int(lock_wait(&z, &c, &p[2], "doc", 0), AGAIN, "he is in line still");
    is_int(lock_wait(&z, &c, &p[4], "doc", 0), NOTFOUND, "four is not");
    checked("a line");
    (void) told();

    is_int(drop(1, "doc", 0), OK, "one unlocks");
    is_str(told(), "doc=2: [22] (unlocked)",
           "one entry tells that two has it");
    is_int(granted(), 2, "two's worker has an order");
    is_int(lock_wait(&z, &c, &p[2], "doc", 0), OK, "two has it");
    ok(lock_was.token > token, "with a token above the last");
    is_int(lock_was.waiting, 1, "one waits");
    is_int(take(1, "doc", .wait = 5000), AGAIN, "one waits now");

    is_int(lock_wait(&z, &c, &p[3], "doc", 1), LOCKED, "three gives up");
    is_int(lock_wait(&z, &c, &p[3], "doc", 1), NOTFOUND, "once");
    is_int(drop(2, "doc", 0), OK, "two unlocks");
    is_int(granted(), 1, "one has it");

    is_int(take(0, "doc", .wait = 100), LOCKED, "the API does not wait");

    stop("a line");
}


static void
test_time(void)
{
    unsigned  i;

    start(4);

    (void) take(1, "doc", .ttl = 1000);
    (void) take(2, "doc", .wait = 300000);
    (void) take(3, "far", .ttl = 900000);
    (void) told();

    later(999);
    (void) sweep_all(&z);
    is_str(told(), "", "nothing ends too early");

    later(129);
    (void) sweep_all(&z);
    is_str(told(), "doc=2: (expired)", "then it ends, and the next has it");
    is_int(granted(), 2, "who gets an order");

    (void) take(1, "doc", .wait = 2000);
    later(2999);
    (void) sweep_all(&z);
    is_int(lock_wait(&z, &c, &p[1], "doc", 0), AGAIN, "a wait goes on");
    later(130);
    (void) sweep_all(&z);
    is_int(lock_wait(&z, &c, &p[1], "doc", 0), NOTFOUND,
           "a second after its time it is over");

    later(30000);
    is_int(take(1, "doc"), OK, "a lock that is over keeps nobody out");
    is_str(told(), "doc=- (expired), doc=1:", "its end is told first");
    is_int(take(2, "doc", .wait = 100000), AGAIN, "two waits");
    later(30000);
    is_int(take(3, "doc"), LOCKED, "but the line comes first");
    is_str(told(), "doc=2: (expired)", "two has it");
    is_int(take(3, "far", .ttl = 5), OK, "three renews");
    later(2000);
    is_int(take(3, "far", .ttl = 5), OK, "three asks when it is over");
    ok(!lock_renewed, "that is no renewal");

    later(800000);
    (void) sweep_all(&z);
    is_str(all(), "", "a sweep ends all, after a long time too");

    (void) take(3, "far", .ttl = 700000);
    for (i = 0; i < 6990; i++) {
        later(100);
        (void) sweep_all(&z);
    }
    is_str(all(), "far=3:", "a lock of many turns of the wheel");
    later(1200);
    (void) sweep_all(&z);
    is_str(all(), "", "ends in time");

    stop("time");
}


static void
test_seats(void)
{
    start(6);

    (void) take(1, "a");
    (void) take(1, "b");
    (void) take(2, "a", .wait = 9000);
    (void) take(1, "c");
    (void) take(3, "d");
    (void) take(1, "d", .wait = 9000);
    (void) told();

    fanout_seat_close(&z, &c, p[1].ref, &p[1].id, FANOUT_LEFT_INTENTIONAL);
    is_str(told(), "c=- (left), b=- (left), a=2: (left)",
           "locks end with the seat");
    checked("after a seat");
    (void) drop(3, "d", 0);
    is_str(told(), "d=- (unlocked)", "and so do waits");
    is_int(take(1, "a", .wait = 1000), NOTFOUND, "without a seat");

    is_int(fanout_seat_kick(&z, &c, 2, FANOUT_LEFT_KICKED), OK, "a kick");
    is_str(told(), "a=- (kicked)", "ends locks");

    (void) take(3, "a");
    (void) take(4, "a", .wait = 60000);
    (void) take(5, "a", .wait = 60000);
    person_end(&z, &p[3], 60000);
    person_end(&z, &p[4], 60000);
    (void) told();
    is_str(all(), "a=3:", "a seat that lingers keeps its lock");
    checked("lingering");

    fanout_test_seconds += 15;
    person_end(&z, &p[5], 60000);
    fanout_test_seconds += 7;
    (void) sweep_all(&z);
    is_str(told(), "a=- (left)", "then it is over, and nobody gets it");
    is_str(all(), "", "it is not listed");
    checked("a line of those who linger");

    is_int(take(6, "a", .ttl = 1000), OK, "somebody else takes it");
    (void) drop(6, "a", 0);
    (void) told();
    (void) granted();
    is_int(person_resume(&z, &p[5]), OK, "one is back");
    (void) person_sit(&z, &c, &p[5]);
    is_str(told(), "a=5:", "and has it");
    is_int(granted(), 5, "his worker has an order");

    stop("seats");
}


static void
test_over(void)
{
    start(3);

    /* passed over, but with a place */

    (void) take(1, "a");
    (void) take(2, "a", .wait = 60000);
    (void) take(3, "a", .wait = 60000);
    person_end(&z, &p[2], 60000);
    (void) told();
    (void) drop(1, "a", 0);
    is_str(told(), "a=3: (unlocked)", "one who lingers is passed over");
    (void) take(1, "a", .wait = 60000);
    is_int(person_resume(&z, &p[2]), OK, "he is back");
    (void) person_sit(&z, &c, &p[2]);
    (void) drop(3, "a", 0);
    is_str(told(), "a=2: (unlocked)", "and has kept his place");

    person_end(&z, &p[2], 60000);
    is_int(take(2, "a", .anywhere = 1), OK, "he renews while he lingers");
    ok(lock_renewed, "by his secret");
    is_int(take(2, "b", .anywhere = 1), NOTFOUND, "but gets no other");
    is_int(person_resume(&z, &p[2]), OK, "he resumes");
    is_int(take(2, "a", .anywhere = 1), OK, "the lock is his");

    is_int(take(2, "b", .anywhere = 1), OK, "and gets one by his secret");
    p[2].ref = 0;
    is_int(lock_drop(&z, &c, &p[2], "b", 0), OK, "and drops it");

    stop("who is passed over");
}


static void
test_api(void)
{
    uint64_t   token;
    channel_t  other;

    start(2);

    other = view(&z, "other", &policy);
    is_int(lock_drop(&z, &other, NULL, "x", 0), NOTFOUND, "no channel");
    is_int(lock_take(&z, &other, &(ask_t) { .name = "x", .user = "back" }),
           OK, "the API takes a lock");
    token = lock_was.token;
    checked("a channel with nothing but a lock");
    (void) sweep_all(&z);
    fanout_test_seconds += 25;
    (void) sweep_all(&z);
    is_int(lock_take(&z, &other, &(ask_t) { .name = "x" }), LOCKED,
           "it is locked for others");
    is_int(lock_take(&z, &other, &(ask_t) { .name = "x", .token = token }),
           OK, "it renews it with the token");
    ok(lock_renewed && lock_was.user.len == 4, "the user stays");
    is_int(lock_drop(&z, &other, NULL, "x", token + 1), CONFLICT,
           "not with another");
    is_int(lock_drop(&z, &other, NULL, "x", token), OK, "it is dropped");

    (void) take(1, "a");
    token = lock_was.token;
    (void) take(2, "a", .wait = 1000);
    (void) told();
    is_int(drop(0, "a", token + 1), CONFLICT, "a break by another token");
    is_int(drop(0, "a", token), OK, "a break");
    is_str(told(), "a=2: (broken)", "the next has it");
    is_int(drop(0, "none", 0), NOTFOUND, "there is none of that name");
    (void) take(0, "b");
    (void) told();
    (void) drop(0, "b", 0);
    is_str(told(), "b=- (unlocked)", "the API unlocks its own");

    stop("the API");
}


static void
test_limits(void)
{
    char      name[32];
    unsigned  i, n, calls;

    start(70);

    for (i = 1; i <= 65; i++) {
        n = take(i, "a", .wait = 1000);
        ok(n == (unsigned) (i == 1 ? OK : AGAIN), "client %u", i);
    }

    is_int(take(66, "a", .wait = 1000), MANY, "64 wait for a lock");
    is_int(lock_limit, FANOUT_LOCK_WAITERS, "which is the limit");
    checked("many who wait");

    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "w%u", i);
        (void) take(67 + i / 20, name);
    }

    for (i = n = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "w%u", i);
        n += take(66, name, .wait = 1000) == AGAIN;
    }

    is_int(n, 16, "a seat waits for 16 locks");
    is_int(lock_limit, FANOUT_LOCK_WAITS, "which is the limit");

    for (i = n = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "x%u", i);
        n += take(66, name) == OK;
    }

    is_int(n, 16, "and 32 in all");
    is_int(lock_limit, FANOUT_LOCK_SEAT, "which is the limit");
    is_int(take(66, "x3"), OK, "it may renew");
    (void) told();

    ok(strlen(lock_all(&z, &c, 5, &calls)) == strlen(all()),
       "lists in parts and at once are alike");
    ok(calls >= 10, "in %u parts", calls);

    policy.locks_max = 58;
    is_int(take(69, "y"), OK, "one more on the channel");
    is_int(take(69, "z"), MANY, "but no other");
    is_int(lock_limit, FANOUT_LOCK_CHANNEL, "for the limit of the channel");

    fanout_seat_close(&z, &c, p[66].ref, &p[66].id, FANOUT_LEFT_INTENTIONAL);
    checked("after a seat with 32 claims");
    ok(fanout_test_work < 2 * FANOUT_WORK, "no section is long: %u",
       fanout_test_work);
    is_int(z.shm->heap.overflows, 0, "the journal did not overflow");

    stop("limits");
}


static void
fill(void)
{
    unsigned  i;

    for (i = 0; i < 2; i++) {
        (void) fanout_enter(&z);

        while (z.shm->heap.nfree) {
            (void) fanout_alloc(&z, 1, FANOUT_STAGED, NULL);
        }

        fanout_leave(&z);
    }
}


/* A zone without a block: locks end, and subscribers learn of a gap. */

static void
test_full(void)
{
    int       rc;
    char      name[16];
    unsigned  i;

    start(8);

    (void) take(1, "a", .ttl = 5000);
    (void) take(2, "a", .wait = 90000);
    (void) take(1, "b");
    (void) told();

    fill();
    is_int(drop(1, "b", 0), OK, "a lock is dropped without a block");
    is_int(lock_wait(&z, &c, &p[2], "a", 0), AGAIN, "two waits");

    rc = OK;

    for (i = 0; i < 10 && rc == OK; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        rc = take(3, name);
    }

    is_int(rc, FULL, "no lock can be made");
    is_int(take(3, "a"), LOCKED, "but one is told that it is locked");
    later(6000);
    fill();
    (void) sweep_all(&z);
    is_int(lock_wait(&z, &c, &p[2], "a", 0), OK, "a grant needs no block");
    is_str(told(), "GAP", "there is a gap");
    arena_done(&arena);
    munmap(mem, SIZE);
}


static void
test_rebuild(void)
{
    pid_t     pid;
    uint64_t  token;

    start(1);

    (void) take(1, "a");
    token = lock_was.token + 1000000000;
    z.shm->token = token;

    pid = fork();

    if (pid == 0) {
        (void) fanout_enter(&z);
        z.shm->heap.njournal = FANOUT_JOURNAL + 1;
        _exit(0);
    }

    (void) waitpid(pid, NULL, 0);
    (void) fanout_enter(&z);
    fanout_leave(&z);
    ok(z.shm->token >= token, "a rebuild keeps the last token");
    is_int(take(1, "a"), STALE, "but nothing else");
    is_int(lock_wait(&z, &c, &p[1], "a", 0), NOTFOUND, "nor a wait");
    is_int(take(0, "a"), OK, "a lock after it");
    ok(lock_was.token > token, "has a token above all before");

    stop("a rebuild");
}


#define set(i, t, b, ...)                                                     \
    record_set(&z, &c, &(set_t) { .id = i, .text = t, .base = b, __VA_ARGS__ })


static void
test_token(void)
{
    uint64_t           token, field;
    fanout_zone_set_t  del;

    start(3);

    (void) take(1, "r");
    token = lock_was.token;
    (void) take(1, "r.a");
    field = lock_was.token;
    (void) told();

    is_int(set("r", "a=1", -1, .client = 2), OK, "locks alone guard nothing");
    is_int(set("r", "a=2", -1, .client = 1, .token = token), OK,
           "a set with the token of the record's lock");
    is_int(set("r", "a=2", -1, .client = 2, .token = token), NOTHOLDER,
           "by its holder: others can calculate it");
    is_int(set("r", "a=2", -1, .client = 2, .token = token, .release = "r"),
           NOTHOLDER, "to release it, too");
    is_int(set("r", "a=3", -1, .token = field), OK,
           "or of the field's, by the backend");
    is_int(set("r", "b=3", -1, .token = field), NOTHOLDER,
           "but not of another field's");
    is_int(set("r", "a=4 b=4", -1, .token = field), NOTHOLDER,
           "nor of one of two fields");
    is_int(set("r", "a=4", -1, .token = token + 5), NOTHOLDER,
           "nor of none");
    is_int(set("q", "a=4", -1, .token = token), NOTHOLDER,
           "nor of another record's");
    is_int(set("r", "a=4", 1, .token = token + 5, .reject = 1), NOTHOLDER,
           "this comes before a conflict");

    is_int(set("r", "a=5", -1, .client = 1, .key = "k"), OK, "with a key");
    (void) told();
    is_int(set("r", "a=6", -1, .client = 1, .release = "r.a"), OK,
           "a set that releases");
    is_str(told(), "r.a=- (released)", "ends the lock");
    is_int(set("r", "a=7", -1, .client = 1, .release = "r.a"), NOTHOLDER,
           "it can't release it again");
    is_int(set("r", "a=5", -1, .key = "k", .token = 99, .release = "r.a"), OK,
           "a known key comes before the lock");

    is_int(set("r", "a=7", -1, .client = 2, .release = "r"), NOTHOLDER,
           "nor somebody else another");
    is_int(set("r", "a=7", -1, .client = 1, .release = "r",
               .token = token + 1), NOTHOLDER, "nor by another token");
    (void) take(2, "r", .wait = 9000);
    is_int(set("r", "a=6", -1, .client = 1, .release = "r", .token = token),
           OK, "a set that changes nothing");
    ok(was.unchanged, "does not");
    is_str(told(), "r=2: (released)", "but releases");
    is_int(granted(), 2, "to the next");

    memset(&del, 0, sizeof(del));
    del.id = zstr("r", 1);
    del.backend = 1;
    del.token = token;
    is_int(fanout_record_delete(&z, &c, &del, &was), NOTHOLDER,
           "a delete with an old token");
    (void) lock_wait(&z, &c, &p[2], "r", 0);
    del.token = lock_was.token;
    later(40000);
    is_int(fanout_record_delete(&z, &c, &del, &was), NOTHOLDER,
           "or when the lock is over");
    (void) take(2, "r");
    del.token = lock_was.token;
    is_int(fanout_record_delete(&z, &c, &del, &was), OK,
           "a delete with the token");

    stop("tokens");
}


static void
test_guard(void)
{
    uint64_t           token;
    fanout_zone_set_t  del;

    start(3);
    policy.guard = 1;

    is_int(set("r", "a=1 b=1", -1, .client = 2), OK, "without locks");
    (void) take(1, "r.a", .user = "ann");
    token = lock_was.token;
    is_int(set("r", "a=2", -1, .client = 2), LOCKED, "a field is guarded");
    is_int(was.lock_client, 1, "by its holder");
    is_mem((char *) was.lock_user.data, was.lock_user.len, "ann", 3,
           "who is named");
    is_mem((char *) was.lock_name.data, was.lock_name.len, "r.a", 3,
           "whose lock is named");
    is_int(set("r", "a=2 b=2", 0, .client = 2), LOCKED,
           "a set of two fields, before its conflict");
    is_int(set("r", "b=2", -1, .client = 2), OK, "another field is not");
    is_int(set("r", "b=3", -1, .client = 2, .whole = 1), LOCKED,
           "a set of the whole record");
    is_int(set("r", "a=3", -1, .client = 1), OK, "the holder may");
    is_int(set("r", "a=3", -1), LOCKED, "one without a client may not");
    is_int(set("r", "a=4", -1, .guard_off = 1), OK, "but above the guard");
    is_int(set("r", "a=5", -1, .token = token), OK, "or with the token");

    memset(&del, 0, sizeof(del));
    del.id = zstr("r", 1);
    del.client = 2;
    is_int(fanout_record_delete(&z, &c, &del, &was), LOCKED, "a delete");
    (void) drop(1, "r.a", 0);

    (void) take(0, "new");
    is_int(set("new", "a=5", -1, .client = 2), LOCKED,
           "a record that is not there");
    is_int(was.lock_client, 0, "guarded by the API");
    later(40000);
    is_int(set("new", "a=5", -1, .client = 2), OK, "when it is over");
    is_int(fanout_record_delete(&z, &c, &del, &was), OK, "and a delete");

    stop("guard");
}


static void
test_large(void)
{
    char       name[8], *text, *at;
    unsigned   i;

    start(2);
    policy.guard = 1;
    policy.record = 65536;

    text = malloc(70000);
    at = text;

    for (i = 0; i < 60; i++) {
        at += sprintf(at, "%sf%u=", i ? " " : "", i);
        memset(at, '7', 900);
        at += 900;
    }

    *at = '\0';

    for (i = 0; i < 30; i++) {
        sprintf(name, "r.f%u", i * 2);
        (void) take(1, name);
    }

    (void) take(1, "r");
    (void) told();
    is_int(set("r", text, -1, .client = 2), LOCKED, "a large set is guarded");
    is_int(set("r", text, -1, .client = 1, .release = "r"), OK,
           "that of the holder is staged");
    is_str(told(), "r=- (released)", "and releases");
    is_int(set("r", text, -1, .client = 1, .release = "r.f0"), OK,
           "one that changes nothing");
    is_str(told(), "r.f0=- (released)", "releases, too");

    free(text);
    stop("large sets");
}


int
main(void)
{
    test_life();
    test_text();
    test_line();
    test_time();
    test_seats();
    test_over();
    test_api();
    test_limits();
    test_full();
    test_rebuild();
    test_token();
    test_guard();
    test_large();

    return done_testing();
}
