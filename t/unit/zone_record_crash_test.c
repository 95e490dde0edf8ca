/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/crash.c */
/* sources: t/unit/zone_record.c */
/* cflags: -DFANOUT_CRASH=1 -DFANOUT_TEST=1 */

/*
 * If this fails, a worker killed in the middle of a change of a record leaves a
 * part of the change, or leaves the zone broken for all.
 *
 * A process is killed by SIGKILL at every crash point of an operation, before
 * and after each store, or at a sample of them.  A survivor then finds a sound
 * zone, with the records, entries and blocks of before or of after; and goes
 * on.
 *
 * ZONE_KILLS (60), ZONE_STEP and ZONE_OP are explained in crash.h.
 */


#include "tap.h"
#include "crash.h"
#include "zone_record.h"


#define SIZE  (2 * MB)


static channel_t       ca, co, *c;      /* "table": survivor's, killed's */
static channel_t       na, no, *cn;     /* "new" */
static policy_t        policy;
static char            large[FANOUT_ZONE_RECORD + 64];


/* operations */

#define set(i, t, b, ...)                                                     \
    record_set(z, c, &(set_t) { .id = i, .text = t, .base = b,                \
                                .address = 1 + sizeof(t) % 2, __VA_ARGS__ })


/* "p=111..." of n bytes */

static const char *
bytes_of(const char *prefix, size_t n)
{
    memset(large, '1', sizeof(large));
    memcpy(large, prefix, strlen(prefix));
    large[n] = '\0';

    return large;
}


/* "a0=1 a1=1 ..." */

static const char *
fields(const char *fmt, unsigned n)
{
    char      *p;
    unsigned   i;

    for (i = 0, p = large; i < n; i++) {
        p += sprintf(p, i ? " " : "");
        p += sprintf(p, fmt, i);
    }

    return large;
}


static void
setup_some(void)
{
    (void) set("r", "a=1 b=\"x\" c=[1] d=[]", -1, .user = "ann");
    (void) set("s", bytes_of("v=", 500), -1, .user = "bob");
}


static void
setup_one(void)
{
    (void) set("r", "a=1 b=2", -1, .user = "ann");
    (void) set("r", "-a", -1, .user = "ann");
}


static void
setup_unset(void)
{
    setup_some();
    (void) set("r", fields("f%u=1", 40), -1);
    (void) set("r", fields("-f%u", 30), -1);
}


static void
setup_many(void)
{
    setup_some();
    (void) set("r", fields("f%u=1", 100), -1, .user = "somebody");
}


static void
setup_array(void)
{
    setup_some();
    (void) set("s", bytes_of("l+", 10000), -1, .user = "bob");
}


static void
setup_table(void)
{
    char      id[8];
    unsigned  i;

    for (i = 0; i < FANOUT_TABLE_REFS; i++) {
        (void) sprintf(id, "%u", i);
        (void) set(id, "a=1", -1);
    }
}


static void
setup_key(void)
{
    (void) set("r", "a=1", -1, .key = "k");
}


static void
setup_ttl(void)
{
    policy.records_ttl = 5;
    setup_table();
    (void) set("long", "a=1", -1);
    policy.records_ttl = 0;
    (void) set("stays", "a=1", -1);
    fanout_test_seconds += 20;
}


static void
setup_ttl_all(void)
{
    policy.records_ttl = 5;
    setup_table();
    fanout_test_seconds += 20;
}


static void
setup_far(void)
{
    policy.records_ttl = 2000;
    setup_one();
    fanout_test_seconds += 1000;
}


static void
setup_old(void)
{
    policy.records |= FANOUT_RECORDS_OLD | FANOUT_RECORDS_WHOLE;
    setup_some();
}


static int
run_large(void)
{
    return set("r", bytes_of("a=", 40000), -1);
}


static void
setup_old_large(void)
{
    setup_old();
    (void) run_large();
}


static void
setup_full(void)
{
    unsigned   i;
    result_t   r;
    channel_t  filler;

    static policy_t  much = { .history = 100000 };

    setup_some();
    filler = view(z, "filler", &much);

    for (i = 0; i < 5000 && free_blocks(z) > 100; i++) {
        (void) put(z, &filler, 1, 3000, 0, NULL, &r);
    }
}


static int
run_new(void)
{
    return record_set(z, cn, &(set_t) { .id = "r", .text = "a=1 b=2",
                                        .base = -1, .user = "ann" });
}


static int
run_make(void)
{
    return set("a record with an id that is longer than a block is, so that "
               "there are two of them", "a=1 b=2", -1, .user = "ann");
}


static int
run_some(void)
{
    return set("r", "a=2 -b e=5 c+2", 1, .user = "somebody else");
}


static int
run_forget(void)
{
    return set("r", "-f35 -f36 -f37 f1=1 g=1 -f38", -1);
}


static int
run_append(void)
{
    return set("r", "c+2", -1, .user = "ann");
}


static int
run_append_blocks(void)
{
    return set("r", bytes_of("c+", 400), -1, .user = "ann");
}


static int
run_append_user(void)
{
    return set("s", "l+2", -1, .user = "a user with a name that is longer "
               "than what is left of a block, and another one");
}


static int
run_append_absent(void)
{
    return set("r", "e+1 d+1", -1);
}


static int
run_append_large(void)
{
    return set("s", bytes_of("l+", 30000), -1);
}


static int
run_whole(void)
{
    return set("r", fields("g%u=1", 128), -1, .whole = 1);
}


static int
run_large_new(void)
{
    return record_set(z, cn, &(set_t) { .id = "r", .base = -1, .key = "k",
                                        .text = bytes_of("a=", 40000) });
}


static int
run_key(void)
{
    return set("r", "a=2", 1, .key = "q");
}


static int
run_duplicate(void)
{
    return set("r", "a=2", 1, .key = "k");
}


static int
run_conflict(void)
{
    (void) set("r", "a=5", 0);

    return 0;
}


static int
run_delete(void)
{
    return record_delete(z, c, "r", -1);
}


static int
run_sweep(void)
{
    return sweep_all(z);
}


static int
run_clear(void)
{
    while (fanout_record_clear(z, c) == AGAIN) { /* void */ }

    return 0;
}


static int
run_far(void)
{
    policy.records_ttl = 10;

    return set("r", "b=3", -1);
}


static const op_t  ops[] = {
    { "new channel", setup_some, NULL, run_new, 0 },
    { "new record", setup_some, NULL, run_make, 0 },
    { "first record", NULL, NULL, run_make, 0 },
    { "new table", setup_table, NULL, run_make, 0 },
    { "some fields", setup_some, NULL, run_some, 0 },
    { "some fields, told in whole", setup_old, NULL, run_some, 0 },
    { "forget", setup_unset, NULL, run_forget, 0 },
    { "append", setup_some, NULL, run_append, 0 },
    { "append blocks", setup_some, NULL, run_append_blocks, 0 },
    { "append by another user", setup_array, NULL, run_append_user, 0 },
    { "append to nothing", setup_some, NULL, run_append_absent, 0 },
    { "append much", setup_array, NULL, run_append_large, 0 },
    { "whole", setup_many, NULL, run_whole, 0 },
    { "large", setup_some, NULL, run_large, 0 },
    { "large in a new channel", setup_some, NULL, run_large_new, 0 },
    { "key", setup_key, NULL, run_key, 0 },
    { "duplicate", setup_key, NULL, run_duplicate, 0 },
    { "conflict", setup_some, NULL, run_conflict, 0 },
    { "full", setup_full, NULL, run_large, SERIES },
    { "delete", setup_many, NULL, run_delete, 0 },
    { "delete the last", setup_one, NULL, run_delete, 0 },
    { "delete, told in whole", setup_old, NULL, run_delete, 0 },
    { "delete a large one, told in whole", setup_old_large, NULL, run_delete,
      0 },
    { "expire", setup_ttl, NULL, run_sweep, SERIES },
    { "expire the last", setup_ttl_all, NULL, run_sweep, SERIES },
    { "turn of the wheel", setup_far, NULL, run_sweep, SERIES },
    { "another time", setup_far, NULL, run_far, 0 },
    { "clear", setup_table, NULL, run_clear, SERIES }
};


/* the survivor */

static size_t
say_record(size_t n, const fanout_record_t *r)
{
    uint32_t  sum;
    size_t    i, len;

    static char  text[2 * FANOUT_ZONE_RECORD_SIZE];

    record_text(r, text, sizeof(text));
    len = strlen(text);

    for (i = 0, sum = 0; i < len; i++) {
        sum = sum * 31 + (uint8_t) text[i];
    }

    return crash_say(n, "%.1000s %u %x\n", text, (unsigned) len, sum);
}


static size_t
say_channel(size_t n, channel_t *ch)
{
    uint64_t           cursor;
    const uint8_t     *p;
    fanout_zstr_t      all;
    fanout_record_t    r;
    fanout_records_t   to;

    static uint8_t  bytes[8 * FANOUT_ZONE_RECORD_SIZE];

    cursor = 0;
    all = zstr("", 0);
    memset(&to, 0, sizeof(fanout_records_t));
    to.bytes = bytes;
    to.size = sizeof(bytes);

    while (fanout_record_list(&survivor, ch, &all, &cursor, 0, 1000,
                              &to)
           == AGAIN) { /* void */ }

    n = crash_say(n, "at %llu of %llx\n", (unsigned long long) to.offset,
                  (unsigned long long) to.epoch);
    p = bytes;

    while (fanout_record_next(&p, bytes + to.used, &r) == 1) {
        n = say_record(n, &r);
    }

    return n;
}


static size_t
say_entries(size_t n)
{
    int               rc;
    uint32_t          i;
    const uint8_t    *p;
    fanout_record_t   r;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(&survivor, &arena);

        for (i = 0; i < arena.n; i++) {
            p = arena.entries[i].data.data;
            n = crash_say(n, "entry %d ", arena.entries[i].type);

            if (arena.entries[i].type == FANOUT_RECORD
                && fanout_record_next(&p, p + arena.entries[i].data.len, &r)
                   == 1)
            {
                n = say_record(n, &r);
            }
        }

    } while (rc == AGAIN);

    return n;
}


static void
say_state(void)
{
    size_t         n;
    fanout_shm_t  *shm;

    shm = survivor.shm;
    n = say_channel(say_channel(say_entries(0), &ca), &na);

    (void) crash_say(n, "%llu free, records %u due %u bytes %llu floor %llu "
                     "most %llu sets %llu\n",
                     (unsigned long long) free_blocks(&survivor),
                     (unsigned) shm->nrecords, (unsigned) shm->nrecords_due,
                     (unsigned long long) shm->record_bytes,
                     (unsigned long long) shm->records_floor,
                     (unsigned long long) shm->version_max,
                     (unsigned long long) shm->sets);
}


static int
goes_on(void)
{
    int       rc;
    uint64_t  most;

    c = &ca;
    most = survivor.shm->records_floor;
    rc = set("late", "a=1 b=[1]", -1);

    if (rc != FULL && (rc != OK || was.version <= most)) {
        return crash_fail("later: no record can be made");
    }

    if (rc == OK && (set("late", "b+2 -a", 1) == FULL
                     || record_delete(z, c, "late", -1) != OK))
    {
        return crash_fail("later: no record can be changed");
    }

    while (fanout_record_clear(z, c) == AGAIN) { /* void */ }
    while (fanout_record_clear(z, &na) == AGAIN) { /* void */ }

    return survivor.shm->nrecords || survivor.shm->record_bytes
           ? crash_fail("later: records are left") : crash_sound("later");
}


static int
survive(void)
{
    if (crash_recover() != 0 || crash_sound("reaped") != 0) {
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
}


static void
world(const op_t *op)
{
    memset(&policy, 0, sizeof(policy_t));
    policy.history = 100;
    policy.records = FANOUT_RECORDS_ON;
    c = &ca;
    cn = &na;

    if (op->setup) {
        op->setup();
    }

    do {
        arena_reset(&arena);
    } while (fanout_log_drain(&survivor, &arena) == AGAIN);
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
