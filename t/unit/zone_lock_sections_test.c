/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_events.c */
/* sources: t/unit/zone_presence.c t/unit/zone_lock.c t/unit/zone_record.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, one client can make a section of the zone's lock long for all
 * workers by what it does with locks, or a transaction is more than the journal
 * can undo.
 *
 * What is counted is the work of a section (see fanout_section_room()), and the
 * records of a transaction: the same on any machine.
 */


#include "tap.h"
#include "zone_lock.h"


#define SIZE   (32 * MB)
#define CROWD  66

/* the most work of a section, 16 grants to a seat that is back, and records of
 * a transaction */
#define MOST     2000
#define RECORDS  1200


static void      *mem;
static zone_t     z;
static policy_t   policy;
static channel_t  c;
static arena_t    arena;
static person_t   p[1100];
static char       data[FANOUT_ZONE_LOCK_DATA + 1];
static char       user[256];


static void
start(unsigned n)
{
    unsigned  i;

    fanout_test_seconds = 100;
    fanout_test_msec = 0;
    memset(data, '7', FANOUT_ZONE_LOCK_DATA);
    memset(user, 'u', 255);
    memset(&policy, 0, sizeof(policy_t));
    policy.linger = 60;
    policy.locks = 60000;
    policy.records = FANOUT_RECORDS_ON;
    policy.guard = 1;
    mem = zone_make(SIZE, 300, 120);
    (void) fanout_zone_attach(&z, mem, SIZE);
    (void) fanout_slot_claim(&z, 1);
    c = view(&z, "table", &policy);
    arena_init(&arena);
    (void) fanout_channel_open(&z, &c, 7);

    for (i = 1; i <= n; i++) {
        (void) person_add(&z, &p[i], i, "", "", 0);
        (void) person_sit(&z, &c, &p[i]);
    }

    fanout_test_work = fanout_test_journal = 0;
}


static void
bounded(const char *what)
{
    stat_t  st;

    ok(fanout_test_work <= MOST, "%s: the most work of a section: %u", what,
       fanout_test_work);
    ok(fanout_test_journal <= RECORDS,
       "%s: the most records of a transaction: %u", what,
       fanout_test_journal);

    fanout_zone_stat(&z, &st);
    is_int(st.overflows, 0, "%s: the journal holds all", what);

    (void) lock_told(&z, &arena);
    fanout_test_work = fanout_test_journal = 0;
}


static void
stop(const char *what)
{
    int   rc;
    char  text[256];

    rc = fanout_zone_verify(&z, text, sizeof(text));
    ok(rc == 0, "%s: %s", what, rc ? text : "all invariants hold");
    fanout_slot_release(&z);
    arena_done(&arena);
    munmap(mem, SIZE);
}


#define take(i, n, ...)                                                       \
    lock_take(&z, &c, &(ask_t) { .who = &p[i], .name = n, .user = user,       \
                                 .data = data, __VA_ARGS__ })


/* one who has as many locks as can be, which many wait for */

static void
test_seat(void)
{
    char      name[256];
    unsigned  i, k;

    start(CROWD + 32 * 4);

    memset(name, 'n', 255);
    name[255] = '\0';

    for (i = 0; i < 32; i++) {
        snprintf(name + 250, 6, "%05u", i);
        (void) take(1, name);

        for (k = 0; k < 4; k++) {
            (void) take(CROWD + i * 4 + k, name, .wait = 90000);
        }
    }

    bounded("takes");
    (void) fanout_seat_kick(&z, &c, 1, FANOUT_LEFT_KICKED);
    bounded("a kick");
    is_int(z.shm->nlocks, 32, "all are granted");

    person_end(&z, &p[CROWD], 0);
    bounded("an end");

    stop("a seat");
}


/* a line of which nobody can be served */

static void
test_line(void)
{
    unsigned  i;

    start(CROWD);

    (void) take(1, "a", .ttl = 80000000);

    for (i = 2; i < CROWD; i++) {
        (void) take(i, "a", .wait = 80000000);
    }

    is_int(z.shm->nwaiters, 64, "a line");
    bounded("asking");

    for (i = 2; i < CROWD; i++) {
        person_end(&z, &p[i], 600000);
    }

    fanout_test_work = fanout_test_journal = 0;
    is_int(lock_drop(&z, &c, &p[1], "a", 0), OK, "an unlock");
    bounded("nobody is there");

    fanout_test_seconds += 100;
    (void) sweep_all(&z);
    is_int(z.shm->nwaiters, 0, "the seats are over");
    bounded("their end");

    stop("a line");
}


static void
test_revive(void)
{
    char      name[16];
    unsigned  i;

    start(4);

    for (i = 0; i < 16; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        (void) take(1, name);
        (void) take(2, name, .wait = 90000);
    }

    person_end(&z, &p[2], 60000);
    (void) fanout_seat_kick(&z, &c, 1, FANOUT_LEFT_KICKED);
    is_int(z.shm->nlocks, 0, "nobody has 16 locks");
    bounded("a kick");
    is_int(person_resume(&z, &p[2]), OK, "a client is back");
    (void) person_sit(&z, &c, &p[2]);
    is_int(z.shm->nlocks, 16, "and has them all");
    bounded("a resume");

    stop("a resume");
}


static void
test_sweep(void)
{
    char      name[16];
    unsigned  i;

    start(1000);

    for (i = 0; i < 6000; i++) {
        snprintf(name, sizeof(name), "n%u", i % 5000);
        (void) take(1 + i % 1000, name, .ttl = 5000, .wait = 90000);
    }

    bounded("many locks");
    is_int(z.shm->nlocks, 5000, "5,000");
    fanout_test_seconds += 6;
    i = sweep_all(&z);
    is_int(z.shm->nlocks, 0, "they are over at once");
    ok(i > 50, "swept in %u sections", i);
    bounded("a sweep");

    fanout_test_seconds += 100;
    (void) sweep_all(&z);
    bounded("and what is left");
    is_int(z.shm->heap.used[FANOUT_LOCKS], 0, "nothing is left");

    stop("a sweep");
}


/* a change of as many fields as can be, each of which is locked */

static void
test_guard(void)
{
    char       name[16], text[4096], *at;
    unsigned   i;

    start(8);

    for (i = 0, at = text; i < 128; i++) {
        snprintf(name, sizeof(name), "r.%u", i);
        at += sprintf(at, "%s%u=1", i ? " " : "", i);
        (void) take(1 + i / 32, name);
    }

    fanout_test_work = fanout_test_journal = 0;

    is_int(record_set(&z, &c, &(set_t) { .id = "r", .text = text, .base = -1,
                                         .guard_off = 1, .token = 99 }),
           NOTHOLDER, "a token of none of 128 locks");
    bounded("the search");
    is_int(record_set(&z, &c, &(set_t) { .id = "r", .text = text,
                                         .base = -1, .client = 1 }),
           FANOUT_ZONE_LOCKED, "the last ones are guarded");
    bounded("the guard");

    stop("a guard");
}


int
main(void)
{
    test_seat();
    test_line();
    test_revive();
    test_sweep();
    test_guard();

    return done_testing();
}
