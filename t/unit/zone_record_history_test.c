/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_record.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, the history of a record lacks a change, has one of another
 * record, has one twice, or does not end; or a section of it is not short.
 *
 * ZONE_SEED replays what failed; ZONE_STEPS (3000) says how long it is tried.
 */


#include "tap.h"
#include "zone_record.h"


#define SIZE   (4 * MB)
#define PAGES  100000                   /* sections, before it has no end */


static void      *mem;
static zone_t     z;
static policy_t   policy;
static channel_t  c;
static arena_t    arena;
static uint64_t   seed;
static uint64_t   epoch;
static unsigned   sections;             /* of the last history */
static uint32_t   most_seen;            /* of one of them */
static char       want[65536];
static char       text[65536];


#define set(i, t)                                                             \
    record_set(&z, &c, &(set_t) { .id = i, .text = t, .base = -1 })


static void
start(unsigned history)
{
    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    fanout_test_work = 0;

    memset(&policy, 0, sizeof(policy_t));
    policy.history = history;
    policy.records = FANOUT_RECORDS_ON | FANOUT_RECORDS_OLD;

    mem = zone_make(SIZE, 300, 120);
    (void) fanout_zone_attach(&z, mem, SIZE);
    (void) fanout_slot_claim(&z, 1);
    c = view(&z, "table", &policy);
    arena_init(&arena);
}


static void
stop(const char *what)
{
    int   rc;
    char  why[256];

    rc = fanout_zone_verify(&z, why, sizeof(why));
    ok(rc == 0, "%s: %s", what, rc ? why : "all invariants hold");

    fanout_slot_release(&z);
    arena_done(&arena);
    munmap(mem, SIZE);
}


static uint64_t
now_epoch(void)
{
    join_t  j;

    (void) fanout_log_seek(&z, &c, 0, 0, &j);

    return j.epoch;
}


/* Appends "offset:version " if the entry is a change of the record, "BROKEN" if
 * it is something else but was asked for. */

static void
add(char *to, size_t size, const entry_t *e, const char *id, int asked)
{
    size_t           n;
    const uint8_t   *p;
    fanout_record_t  r;

    n = strlen(to);
    p = e->data.data;

    if (e->type != FANOUT_RECORD
        || fanout_record_next(&p, p + e->data.len, &r) != 1
        || r.id.len != strlen(id) || memcmp(r.id.data, id, r.id.len) != 0)
    {
        if (asked) {
            (void) snprintf(to + n, size - n, "BROKEN ");
        }

        return;
    }

    (void) snprintf(to + n, size - n, "%d:%d ", (int) e->offset,
                    (int) r.version);
}


/* what is told of a record below an offset, so many in a call */

static const char *
told(const char *id, uint64_t before, uint32_t max)
{
    int            rc;
    uint32_t       i, seen;
    fanout_zstr_t  name;

    name = zstr(id, strlen(id));
    text[0] = '\0';
    most_seen = 0;
    sections = 0;

    do {
        arena_reset(&arena);
        rc = fanout_record_history(&z, &c, &name, epoch, &before, max, &arena,
                                   &seen);
        most_seen = seen > most_seen ? seen : most_seen;

        if (arena.n > max) {
            return "TOO MANY";
        }

        for (i = 0; i < arena.n; i++) {
            add(text, sizeof(text), &arena.entries[i], id, 1);
        }

    } while (rc == AGAIN && ++sections < PAGES);

    return rc == NOTFOUND ? ""
           : rc == OK && before == 0 ? text : "NO END";
}


/* the same by the whole history */

static const char *
kept(const char *id, uint64_t before)
{
    int       rc;
    char     *p;
    size_t    n;
    join_t    j;
    uint32_t  i;
    uint64_t  lost, after;

    static char  one[64];
    static char  all[65536];

    p = all + sizeof(all) - 1;
    *p = '\0';
    after = 0;

    (void) fanout_log_seek(&z, &c, 0, 0, &j);

    do {
        arena_reset(&arena);
        rc = fanout_log_read(&z, &c, j.epoch, after,
                             before ? before - 1 : j.offset, &arena, &lost);

        for (i = 0; i < arena.n; i++) {
            one[0] = '\0';
            add(one, sizeof(one), &arena.entries[i], id, 0);
            n = strlen(one);
            p -= n;
            memcpy(p, one, n);
            after = arena.entries[i].offset;
        }

    } while (rc == AGAIN);

    return strcpy(want, p);
}


static void
test_rules(void)
{
    start(100);

    epoch = now_epoch();
    is_str(told("r", 0, 10), "", "without a channel there is nothing");

    (void) set("r", "a=1");
    (void) set("q", "a=1");
    (void) set("r", "a=2");
    (void) put(&z, &c, 1, 100, 0, NULL, &(result_t) { 0 });
    (void) set("rr", "a=1");
    (void) set("r", "a=3");
    epoch = now_epoch();

    is_str(told("r", 0, 10), "6:3 3:2 1:1 ", "newest first, nobody else's");
    is_str(told("r", 0, 1), "6:3 3:2 1:1 ", "one by one");
    is_int(sections, 2, "the last one is known to be the last");
    is_str(told("r", 6, 10), "3:2 1:1 ", "below an offset");
    is_str(told("r", 5, 10), "3:2 1:1 ", "below that of another entry");
    is_str(told("r", 1, 10), "", "below all");
    is_str(told("r", 1000, 10), "6:3 3:2 1:1 ", "below one to come");
    is_str(told("x", 0, 10), "", "of a record that never was");

    (void) record_delete(&z, &c, "r", -1);
    is_str(told("r", 0, 10), "7:4 6:3 3:2 1:1 ", "of a deleted record");
    (void) set("r", "a=1");
    is_str(told("r", 0, 10), "8:5 7:4 6:3 3:2 1:1 ", "that was made again");

    epoch++;
    is_str(told("r", 0, 10), "NO END", "nothing of another epoch");

    stop("rules");
}


static void
test_large(void)
{
    int   i;
    char  big[40000];

    start(100);

    for (i = 1; i <= 3; i++) {
        memset(big, '0' + i, sizeof(big));
        memcpy(big, "a=", 2);
        big[sizeof(big) - 1] = '\0';
        (void) set("r", big);
        (void) set("r", "b=1");
        (void) set("r", "-b");
    }

    epoch = now_epoch();
    is_str(told("r", 0, 10), "9:9 8:8 7:7 6:6 5:5 4:4 3:3 2:2 1:1 ",
           "changes that are copied without the lock");
    is_str(told("r", 0, 1), "9:9 8:8 7:7 6:6 5:5 4:4 3:3 2:2 1:1 ",
           "one by one");

    stop("large");
}


/* offsets of two epochs that look as if they belonged together */

static void
test_purge(void)
{
    int       i;
    result_t  r;

    start(100);

    for (i = 0; i < 5; i++) {
        (void) set("r", i & 1 ? "a=1" : "a=2");
    }

    (void) fanout_channel_purge(&z, &c, (const uint8_t *) "x", 1, &r);
    epoch = now_epoch();
    is_str(told("r", 0, 10), "", "a purge takes the history");

    (void) set("r", "a=3");
    epoch = now_epoch();
    is_str(told("r", 0, 10), kept("r", 0), "one after it: %s", want);

    for (i = 0; i < 9; i++) {
        (void) set("q", i & 1 ? "a=1" : "a=2");
    }

    (void) set("r", "a=4");
    is_str(told("r", 0, 10), kept("r", 0), "two: %s", want);
    is_str(told("r", 5, 10), kept("r", 5), "the first one: %s", want);

    stop("purge");
}


/* Others' changes cost little of a record that exists, and an offset that is
 * named, or a record that does not exist, are found in short sections. */

static void
test_sections(void)
{
    int   i;
    char  name[16], value[16];

    start(10000);

    for (i = 0; i < 5000; i++) {
        (void) snprintf(name, sizeof(name), "q%d", i % 50);
        (void) snprintf(value, sizeof(value), "a=%d", i);
        (void) set(name, value);

        if (i % 1000 == 0) {
            (void) set("r", value);
        }
    }

    epoch = now_epoch();
    fanout_test_work = 0;

    is_str(told("r", 0, 10), kept("r", 0), "five of 5,000: %s", want);
    ok(sections < 12, "in %u sections", sections + 1);

    is_str(told("r", 4000, 10), kept("r", 4000), "below an offset: %s", want);
    is_str(told("x", 0, 10), "", "there is none of this");
    ok(most_seen >= 100 && most_seen < 300, "a section has looked at %u",
       most_seen);
    ok(sections >= 15, "of all, in %u sections", sections + 1);
    ok(fanout_test_work < 1024, "the most work of a section: %u",
       fanout_test_work);

    stop("sections");
}


static void
random_step(char *big)
{
    char      id[2];
    unsigned  n;
    result_t  r;

    id[0] = 'a' + rnd(&seed) % 4;
    id[1] = '\0';

    switch (rnd(&seed) % 40) {

    case 0:
        (void) fanout_channel_purge(&z, &c, (const uint8_t *) "x", 1, &r);
        return;

    case 1:
        policy.history = 1 + rnd(&seed) % 300;
        return;

    case 2: case 3: case 4:
        (void) record_delete(&z, &c, id, -1);
        return;

    case 5: case 6: case 7: case 8:
        (void) put(&z, &c, 1, 100, 0, NULL, &r);
        return;

    case 9:
        (void) set(id, big);
        return;

    default:
        n = rnd(&seed);
        (void) snprintf(text, sizeof(text), "f%u=%u", n % 5, n % 1000);
        (void) set(id, text);
    }
}


static void
test_random(void)
{
    char         id[2], *s, big[20000];
    unsigned     i, bad, steps, compared;
    uint64_t     before;
    const char  *got;

    s = getenv("ZONE_STEPS");
    steps = s ? atoi(s) : SLOW ? 300 : 3000;
    seed = seed_of_run();
    bad = compared = 0;
    id[1] = '\0';

    memset(big, '7', sizeof(big));
    memcpy(big, "a=", 2);
    big[sizeof(big) - 1] = '\0';

    start(100);

    for (i = 0; i < steps && bad < 5; i++) {
        random_step(big);
        epoch = now_epoch();

        for (id[0] = 'a'; id[0] <= 'e'; id[0]++) {
            before = rnd(&seed) % 3 ? 0 : rnd(&seed) % (i + 2);
            (void) kept(id, before);
            compared += *want != '\0';

            got = told(id, before, 1 + rnd(&seed) % 20);

            if (strcmp(got, want) != 0) {
                bad++;
                diag("step %u, \"%s\" below %d: \"%s\", not \"%s\"", i, id,
                     (int) before, got, want);
            }
        }
    }

    ok(bad == 0, "%u histories are as the whole one says", compared);
    ok(compared > steps, "most have something");

    stop("random");
}


int
main(void)
{
    test_rules();
    test_large();
    test_purge();
    test_sections();
    test_random();

    return done_testing();
}
