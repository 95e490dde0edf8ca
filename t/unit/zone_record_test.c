
/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_record.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, a set overwrites what its base did not know of, refuses what
 * nobody else changed, or a version is used twice.
 */


#include "tap.h"
#include "zone_record.h"


static void      *mem;
static zone_t     z;
static policy_t   policy;
static channel_t  c;
static arena_t    arena;


static void
start(void)
{
    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    memset(&policy, 0, sizeof(policy_t));
    policy.history = 1000;
    policy.records = FANOUT_RECORDS_ON;
    mem = zone_make(4 * MB, 300, 120);
    (void) fanout_zone_attach(&z, mem, 4 * MB);
    (void) fanout_slot_claim(&z, 1);
    c = view(&z, "table", &policy);
    arena_init(&arena);
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
    arena_done(&arena);
    munmap(mem, 4 * MB);
}


#define set(i, t, b, ...)                                                     \
    record_set(&z, &c, &(set_t) { .id = i, .text = t, .base = b, __VA_ARGS__ })
#define get(id)   record_get(&z, &c, id)


/* the last entry of the channel as text */

static const char *
told(void)
{
    uint64_t         lost;
    join_t           j;
    const uint8_t   *p;
    fanout_record_t  r;

    static char  text[65536];

    arena_reset(&arena);
    (void) fanout_log_seek(&z, &c, 0, 1, &j);
    (void) fanout_log_read(&z, &c, j.epoch, j.after, j.offset, &arena, &lost);

    if (arena.n != 1 || arena.entries[0].type != FANOUT_RECORD) {
        return "no record";
    }

    p = arena.entries[0].data.data;

    if (fanout_record_next(&p, p + arena.entries[0].data.len, &r) != 1) {
        return "BROKEN";
    }

    record_text(&r, text, sizeof(text));

    return text;
}


static void
test_life(void)
{
    start();

    is_str(get("r"), NULL, "there is no record at first");
    is_int(set("r", "a=1 b=\"x\"", -1, .user = "ann"), OK, "a set makes it");
    is_int(was.version, 1, "its version is 1");
    ok(was.created && was.log.offset == 1, "it was created at offset 1");
    is_str(get("r"), "r:1 a=1(1 ann) b=\"x\"(1 ann)", "it has both fields");
    is_str(told(), "r:1 a=1 b=\"x\"", "the entry has them");

    is_int(set("r", "b=\"y\" -a c=3", 1, .user = "bob"),
           OK, "a set changes it");
    is_int(was.version, 2, "its version is 2");
    is_str(get("r"), "r:2 b=\"y\"(2 bob) c=3(2 bob)", "it is changed");
    is_str(told(), "r:2 b=\"y\" -a c=3", "the entry has the changes");

    is_int(set("r", "b=\"y\" -a", 2), OK, "a set of what it has");
    ok(was.unchanged && was.version == 2, "changes nothing");
    is_str(told(), "r:2 b=\"y\" -a c=3", "and there is no entry");

    is_int(set("e", "", -1), OK, "a record without fields");
    is_str(get("e"), "e:1", "is there");
    is_int(set("none", "-a", -1), OK, "an unset of what is not there");
    ok(was.unchanged && was.version == 0, "makes no record");

    is_int(record_delete(&z, &c, "r", -1), OK, "the record is deleted");
    is_int(was.version, 3, "which is version 3");
    is_str(get("r"), NULL, "it is not there any more");
    is_int(record_delete(&z, &c, "r", -1), NOTFOUND, "nor to be deleted");

    is_int(set("r", "a=9", -1), OK, "it is made again");
    is_int(was.version, 4, "its version goes on");

    checked("a life");
    is_int(record_delete(&z, &c, "r", 3), CONFLICT, "a delete of version 3");
    is_int(record_delete(&z, &c, "r", 4), OK, "a delete of version 4");
    is_int(record_delete(&z, &c, "e", -1), OK, "and of the other one");

    is_int(set("r", "a=9", -1), OK, "made again after the last is gone");
    is_int(was.version, 6, "its version goes on");

    stop("a life");
}


static void
test_conflicts(void)
{
    start();

    (void) set("r", "a=1 b=1 c=1", -1, .user = "ann");
    (void) set("r", "b=2", 1, .user = "bob");
    (void) set("r", "-c", 2, .user = "cid");

    is_int(set("r", "a=5 b=5", 1, .user = "dan"), OK,
           "merge applies what it may");
    ok(was.partial && was.version == 4, "and tells that it is partial");
    is_str(conflict, "r:3 b=2(2 bob)", "with what others set");
    is_str(get("r"), "r:4 a=5(4 dan) b=2(2 bob)", "nothing else changed");

    is_int(set("r", "c=7 -b", 1), CONFLICT, "all in conflict");
    is_int(was.version, 4, "the version is told");
    is_str(conflict, "r:4 -c(3 cid) b=2(2 bob)", "with both fields");
    is_int(set("r", "b=2 -c", 1), OK, "the same values are no conflict");
    ok(was.unchanged, "and change nothing");

    is_int(set("r", "d=1 b=9", 1, .reject = 1), CONFLICT, "reject: all");
    is_str(get("r"), "r:4 a=5(4 dan) b=2(2 bob)", "or nothing");
    is_int(set("r", "d=1", 1, .reject = 1), OK, "what nobody changed");

    is_int(set("r", "b=9 c=9", -1), OK, "overwrite knows no conflict");
    ok(!was.partial && was.version == 6, "it is not partial");

    is_int(set("r", "a=1", 99), CONFLICT, "a base from the future");
    ok(was.unknown && was.version == 6, "is unknown");
    is_int(set("x", "a=1", 2), CONFLICT, "a base of what is not there");
    ok(was.deleted && was.version == 0, "was deleted");
    is_int(set("x", "a=1", 0), OK, "base 0 makes a record");
    is_int(set("x", "a=2 b=2", 0), OK, "base 0 of one that is there");
    is_str(conflict, "x:1 a=1(1)", "conflicts where it has a field");

    is_int(set("r", "a=1", -1, .create = 1), CONFLICT, "create only");
    is_int(set("y", "a=1", -1, .create = 1), OK, "creates only");
    is_int(set("r", "z=1", 5, .exact = 1), CONFLICT, "not the version");
    is_int(set("r", "z=1", 6, .exact = 1), OK, "the version");

    is_int(set("r", "a=5 q=1", 7, .whole = 1), OK, "a set of the whole");
    is_str(get("r"), "r:8 a=5(4 dan) q=1(8)", "unsets all others");
    is_str(told(), "r:8 q=1 -b -c -d -z", "which is told");

    stop("conflicts");
}


static void
test_append(void)
{
    unsigned  i, bad;
    char      text[64], want[8192], *p;

    start();

    is_int(set("r", "l+1", -1, .user = "ann"), OK, "append makes an array");
    is_str(get("r"), "r:1 l=[1](1 ann)", "with the element");
    is_int(set("r", "l+2,3", 0, .user = "bo"), OK, "whatever the base");
    is_str(get("r"), "r:2 l=[1,2,3](2 bo)", "elements follow");
    is_str(told(), "r:2 l+2,3", "the entry has them alone");

    is_int(set("r", "n=5 s=[]", -1), OK, "other values");
    is_int(set("r", "s+\"x\"", -1), OK, "append to an empty array");
    is_int(set("r", "n+1 s+2", -1), OK, "append to a number");
    is_str(conflict, "r:4 n=5(no array)(3)", "is in conflict");
    is_str(get("r"), "r:5 l=[1,2,3](2 bo) n=5(3) s=[\"x\",2](5)", "as told");
    is_int(set("r", "n+1 l+1", -1, .reject = 1), OK, "overwrite again");

    is_int(set("r", "-l", -1), OK, "unset the array");
    is_int(set("r", "l+1", -1), OK, "append to what was unset");
    checked("append");

    p = want + sprintf(want, "a:400 l=[");
    bad = 0;

    for (i = 0; i < 400; i++) {
        (void) snprintf(text, sizeof(text), "l+%u", i * 7919);
        bad += set("a", text, -1,
                   .user = i % 3 ? "a-user-with-a-name" : "me") != OK;
        p += sprintf(p, "%s%u", i ? "," : "", i * 7919);

        if (i % 50 == 7) {
            char  t[256];

            bad += fanout_zone_verify(&z, t, sizeof(t)) != 0;
        }
    }

    (void) sprintf(p, "](400 me)");
    is_int(bad, 0, "400 appends of users with long and short names");
    is_str(get("a"), want, "all elements are there");

    stop("append");
}


static void
test_limits(void)
{
    unsigned  i, bad;
    char      text[FANOUT_ZONE_RECORD + 64], name[32];

    start();

    policy.fields = 4;
    policy.record = 1000;
    policy.records_max = 3;

    is_int(set("r", "a=1 b=1 c=1 d=1", -1), OK, "as many fields as allowed");
    is_int(set("r", "e=1", -1), MANY, "one more");
    is_int(was.limit, FANOUT_SET_FIELDS, "is one too many");
    is_int(set("r", "e=1 -a", -1), OK, "in the place of another");

    memset(text, '1', sizeof(text));
    memcpy(text, "e=", 2);
    text[1003 - 7] = '\0';
    is_int(set("r", text, -1), LARGE, "too many bytes");
    text[1002 - 7] = '\0';
    is_int(set("r", text, -1), OK, "as many as allowed");

    is_int(set("s", "a=1", -1), OK, "a second record");
    is_int(set("t", "a=1", -1), OK, "a third");
    is_int(set("u", "a=1", -1), MANY, "a fourth");
    is_int(was.limit, FANOUT_SET_RECORDS, "is too many");

    memset(&policy, 0, sizeof(policy_t));
    policy.history = 10;
    policy.records = FANOUT_RECORDS_ON;

    memset(text, '1', sizeof(text));
    memcpy(text, "e=", 2);
    text[FANOUT_ZONE_RECORD + 1] = '\0';
    is_int(set("u", text, -1), OK, "the largest record");
    checked("large");
    is_int(set("u", "f=1", -1), LARGE, "and not a field more");
    is_int(set("u", text, -1, .whole = 1), OK, "the same again");
    ok(was.unchanged, "is no change");

    bad = 0;

    for (i = 0; i < FANOUT_ZONE_FIELDS; i++) {
        (void) snprintf(name, sizeof(name), "field-%u=%u", i, i);
        bad += set("v", name, -1) != OK;
    }

    is_int(bad, 0, "as many fields as possible");
    is_int(set("v", "x=1", -1), MANY, "and not one more");

    for (i = 0; i < FANOUT_ZONE_FIELDS; i++) {
        (void) snprintf(name, sizeof(name), "-field-%u", i);
        bad += set("v", name, -1) != OK;
    }

    is_int(bad, 0, "all are unset");
    is_int(set("v", "field-5=1", was.version - 99), CONFLICT,
           "one that was forgotten is in conflict");
    is_int(set("v", "field-5=1", was.version), OK, "unless it is known");

    stop("limits");
}


/* 128 fields "p0=1 p1=1 ..." */

static const char *
many(const char *prefix)
{
    char      *p;
    unsigned   i;

    static char  text[4096];

    for (i = 0, p = text; i < FANOUT_ZONE_FIELDS; i++) {
        p += sprintf(p, "%s%s%u=1", i ? " " : "", prefix, i);
    }

    return text;
}


/* More fields come than the index of a record has places. */

static void
test_many(void)
{
    unsigned  i;

    start();

    for (i = 0; i < 6; i++) {
        is_int(set("r", many(i & 1 ? "odd" : "even"), -1, .whole = 1), OK,
               "all fields are others, time %u", i);
    }

    is_int(set("r", "even0=1", 5), CONFLICT, "what went since is in conflict");
    checked("many");

    is_int(set("r", "", -1, .whole = 1), OK, "all are unset");
    is_str(get("r"), "r:7", "there is none");
    is_int(set("r", "even0=1", 99, .exact = 1), CONFLICT, "not the version");
    ok(was.unknown, "it is unknown");
    is_int(set("x", "a=1", 9, .exact = 1), CONFLICT, "nor of what is absent");
    ok(was.deleted, "it is deleted");

    stop("many");
}


static void
test_entries(void)
{
    start();

    policy.records |= FANOUT_RECORDS_OLD;

    (void) set("r", "a=1 b=[2]", -1, .user = "ann");
    is_str(told(), "r:1 a=1 b=[2]", "old: nothing was before");
    (void) set("r", "a=5 b+3 c=1", -1, .user = "ann");
    is_str(told(), "r:2 a=5(was 1) b+3 c=1", "old: what was before");
    (void) set("r", "-a", -1);
    is_str(told(), "r:3 -a(was 5)", "old: of an unset");

    policy.records |= FANOUT_RECORDS_WHOLE;
    (void) set("r", "b+4 d=1 -c", -1);
    is_str(told(), "r:4 b+4 d=1 -c(was 1) | b=[2,3,4] d=1", "the whole");

    (void) record_delete(&z, &c, "r", -1);
    is_str(told(), "r:5 -b(was [2,3,4]) -d(was 1)", "a delete");

    stop("entries");
}


/* Entries that are large because of what was before, or of the whole record:
 * sections are as long as those of small ones. */

static void
test_large_entries(void)
{
    size_t        n;
    unsigned      i;

    static char   most[FANOUT_ZONE_RECORD];
    static char   want[2 * FANOUT_ZONE_RECORD];

    start();

    for (i = 0, n = 0; i < 50; i++) {
        n += sprintf(most + n, "%sf%u=%0999d", i ? " " : "", i, i);
    }

    is_int(set("r", most, -1), OK, "a record of 50 KB");

    policy.records |= FANOUT_RECORDS_WHOLE;
    fanout_test_work = 0;
    is_int(set("r", "g=1", 1), OK, "a field more");
    ok(fanout_test_work < 4 * FANOUT_SLICE, "the whole: work of %u",
       fanout_test_work);
    (void) sprintf(want, "r:2 g=1 | g=1 %s", most);
    ok(strcmp(told(), want) == 0, "all of it is told");

    policy.records = FANOUT_RECORDS_ON | FANOUT_RECORDS_OLD;
    (void) sprintf(want, "big=%050000d", 1);
    is_int(set("old", want, -1), OK, "a field of 50 KB");
    fanout_test_work = 0;
    is_int(set("old", "big=1", -1, .key = "k"), OK, "it becomes short");
    ok(fanout_test_work < 4 * FANOUT_SLICE, "what was before: work of %u",
       fanout_test_work);
    (void) sprintf(want, "old:2 big=1(was %050000d)", 1);
    ok(strcmp(told(), want) == 0, "and is told");

    is_int(set("old", "big=1", -1, .key = "k"), OK, "it is repeated");
    ok(was.log.duplicate && was.version == 2, "and known");

    (void) sprintf(want, "big=%050000d", 2);
    is_int(set("gone", want, -1), OK, "another one");
    (void) told();
    fanout_test_work = 0;
    is_int(record_delete(&z, &c, "gone", 7), CONFLICT, "not from the future");
    is_int(record_delete(&z, &c, "gone", 1), OK, "is deleted");
    ok(fanout_test_work < 4 * FANOUT_SLICE, "work of %u", fanout_test_work);
    (void) sprintf(want, "gone:2 -big(was %050000d)", 2);
    ok(strcmp(told(), want) == 0, "and what it was is told");
    is_int(record_delete(&z, &c, "gone", 2), NOTFOUND, "it is not there");

    stop("large entries");
}


/* of the first table of the channel */

static uint64_t
stamp(void)
{
    uint32_t         slot;
    fanout_ref_t     leaf;
    fanout_shelf_t  *s;

    slot = 0;
    s = fanout_shelf(&z, fanout_shelf_of(&z, fanout_channel_find(&z, &c)));
    (void) fanout_tree_next(&z, s->root, s->depth, &slot, &leaf);

    return fanout_table(&z, leaf)->stamp;
}


static void
test_list(void)
{
    unsigned  i, reads;
    char      id[32], want[65536], *p;

    start();

    for (i = 0; i < 100; i++) {
        (void) snprintf(id, sizeof(id), "%s%u", i % 2 ? "odd-" : "even-", i);
        (void) set(id, "a=1", -1);
    }

    for (i = 0; i < 100; i += 3) {
        (void) snprintf(id, sizeof(id), "%s%u", i % 2 ? "odd-" : "even-", i);
        (void) record_delete(&z, &c, id, -1);
    }

    p = want;

    for (i = 0; i < 100; i++) {
        if (i % 3) {
            p += sprintf(p, "%s%s%u:1", p == want ? "" : " ",
                         i % 2 ? "odd-" : "even-", i);
        }
    }

    is_str(record_ids(&z, &c, "", 1000, &reads), want, "all records");
    is_int(reads, 1, "in one section");
    is_str(record_ids(&z, &c, "", 7, &reads), want, "in pages of seven");
    is_int(reads, 10, "in ten sections");

    p = want;

    for (i = 1; i < 100; i += 2) {
        if (i % 3) {
            p += sprintf(p, "%sodd-%u:1", p == want ? "" : " ", i);
        }
    }

    is_str(record_ids(&z, &c, "odd-", 1000, &reads), want, "by prefix");
    is_int(record_seen, 66, "for which all are looked at");

    (void) set("z", "a=1", -1);
    (void) set("y", "a=1", -1);
    (void) record_delete(&z, &c, "even-2", -1);
    is_int(stamp(), was.log.offset, "the table of a deleted record tells it");

    stop("list");
}


static void
test_keys(void)
{
    start();

    is_int(set("r", "a=1", -1, .key = "k"), OK, "a set with a key");
    is_int(set("r", "a=2", -1, .key = "k"), OK, "again");
    ok(was.log.duplicate && was.version == 1 && was.log.offset == 1,
       "is answered as then");
    is_str(get("r"), "r:1 a=1(1)", "and does nothing");

    (void) set("r", "a=2", 1);
    (void) set("r", "a=3 b=3", 1, .key = "p");
    (void) set("r", "a=3 b=3", 1, .key = "p");
    ok(was.log.duplicate && was.partial && was.version == 3,
       "a partial success is remembered");

    is_int(set("r", "a=3", 1, .key = "q"), CONFLICT, "a refusal");
    is_int(set("r", "a=3", 3, .key = "q"), OK, "keeps no key");
    ok(!was.log.duplicate, "so the key can be used");

    stop("keys");
}


static void
test_ttl(void)
{
    unsigned  reads;

    start();
    policy.records_ttl = 10;

    (void) set("a", "x=1", -1);
    fanout_test_seconds += 5;
    (void) set("b", "x=1", -1);
    (void) set("a", "x=1", -1);
    policy.records_ttl = 2000;
    (void) set("c", "x=1", -1);

    fanout_test_seconds += 7;
    (void) sweep_all(&z);
    is_str(record_ids(&z, &c, "", 9, &reads), "b:1 c:1", "one is over");
    is_str(told(), "a:2", "which is told");

    fanout_test_seconds += 5;
    (void) sweep_all(&z);
    is_str(record_ids(&z, &c, "", 9, &reads), "c:1", "then the second");

    fanout_test_seconds += 1900;
    (void) sweep_all(&z);
    is_str(record_ids(&z, &c, "", 9, &reads), "c:1", "the third is there");
    checked("waiting");

    fanout_test_seconds += 100;
    (void) sweep_all(&z);
    is_str(record_ids(&z, &c, "", 9, &reads), "", "and goes");

    (void) set("d", "x=1", -1);
    fanout_test_seconds += 1999;
    ok(sweep_all(&z) != -1, "one record beyond a turn of the wheel");
    fanout_test_seconds++;
    ok(sweep_all(&z) != -1, "is not met again and again");

    stop("ttl");
}


static void
test_channel(void)
{
    unsigned  reads;
    result_t  r;

    start();
    policy.history = 0;

    (void) set("a", "x=1", -1);
    (void) set("b", "x=1", -1);
    fanout_test_seconds += 1000;
    (void) sweep_all(&z);
    is_str(record_ids(&z, &c, "", 9, &reads), "a:1 b:1",
           "a channel with records is not idle");

    is_int(fanout_channel_purge(&z, &c, NULL, 0, &r), OK, "a purge");
    is_str(record_ids(&z, &c, "", 9, &reads), "a:1 b:1", "keeps records");
    (void) set("a", "x=2", 1);
    is_int(was.version, 2, "and versions");

    is_int(fanout_record_clear(&z, &c), OK, "a clear");
    is_str(record_ids(&z, &c, "", 9, &reads), "", "removes them");
    (void) set("a", "x=2", -1);
    is_int(was.version, 3, "and no version is used again");
    (void) fanout_record_clear(&z, &c);

    fanout_test_seconds += 1000;
    (void) sweep_all(&z);
    ok(fanout_channel_info(&z, &c, &(info_t) { 0 }) == NOTFOUND,
       "without records the channel is forgotten");

    stop("channel");
}


static void
test_full(void)
{
    unsigned   i, refused;
    char       id[32], text[2100];
    channel_t  other;

    start();

    memset(text, '1', sizeof(text));
    memcpy(text, "a=", 2);
    text[2000] = '\0';
    refused = 0;

    for (i = 0; i < 4000; i++) {
        (void) snprintf(id, sizeof(id), "r%u", i);
        refused += set(id, text, -1) == FULL;
    }

    ok(refused > 1000, "a full zone refuses");
    is_int(set("r1", text, -1), OK, "a set of the same");
    is_int(record_delete(&z, &c, "r1", -1), OK, "a delete is possible");
    checked("full");

    other = view(&z, "other", &policy);
    ok(fanout_channel_info(&z, &other, &(info_t) { 0 }) == NOTFOUND, "other");

    stop("full");
}


/* docs/operations.md says what a record takes, and the status what there is. */

static void
test_stat(void)
{
    char                id[256], text[2048], *p;
    unsigned            i, k, n, blocks;
    fanout_zone_stat_t  st;

    static const struct {
        unsigned  id, fields, value;
    } of[] = {
        { 1, 0, 0 }, { 1, 1, 37 }, { 60, 1, 38 }, { 61, 10, 97 },
        { 255, 11, 98 }
    };

    for (i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        start();

        memset(id, 'i', of[i].id);
        id[of[i].id] = '\0';

        for (p = text, k = 0; k < of[i].fields; k++) {
            p += snprintf(p, 8, "%sf%c=", k ? " " : "", 'a' + k);
            memset(p, '1', of[i].value);
            p += of[i].value;
        }

        *p = '\0';

        is_int(set(id, text, -1, .user = "u"), OK, "a set");
        fanout_zone_stat(&z, &st);

        n = 3 + of[i].value;
        blocks = 1 + 1
                 + 1 + (of[i].id + 61) / 60 + (of[i].fields + 9) / 10
                 + of[i].fields * (n <= 40 ? 1 : 1 + (n - 40 + 59) / 60);

        is_int(st.records, blocks, "shelf, slots and record take their blocks");
        is_int(st.shares[FANOUT_SHARE_records].used, blocks, "of their share");
        is_int(st.nrecords, 1, "there is one");
        is_int(st.record_bytes, of[i].fields * (2 + of[i].value),
               "with so many bytes");

        stop("stat");
    }

    start();
    policy.records_ttl = 5;

    (void) set("r", "a=1 b=1", -1);
    (void) set("r", "a=2", 1);
    (void) set("r", "a=3 b=3", 1);
    (void) set("r", "a=4", 1);
    (void) set("r", "a=5 b=5", 1, .reject = 1);
    (void) set("q", "a=1", -1);
    (void) record_delete(&z, &c, "q", 9);
    (void) record_delete(&z, &c, "q", -1);
    fanout_zone_stat(&z, &st);

    is_int(st.record_sets, 5, "changes are counted, deletes too");
    is_int(st.record_conflicts, 3, "and conflicts");
    is_int(st.record_rejected, 4, "and the fields in conflict");
    is_int(st.record_expired, 0, "none has expired");

    fanout_test_seconds += 7;

    while (fanout_zone_sweep(&z) == FANOUT_ZONE_AGAIN) {
        /* void */
    }

    fanout_zone_stat(&z, &st);

    is_int(st.record_expired, 1, "until one has");
    is_int(st.nrecords + st.records + st.record_bytes, 0, "nothing is left");

    stop("counters");
}


int
main(void)
{
    test_life();
    test_conflicts();
    test_append();
    test_limits();
    test_many();
    test_entries();
    test_large_entries();
    test_list();
    test_keys();
    test_ttl();
    test_channel();
    test_full();
    test_stat();

    return done_testing();
}
