/*
 * Members: what is told of them, and what is not.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence_suite.h"


/* what a change tells, and when */

static void
telling(void)
{
    put_t     r;
    stat_t    st;
    person_t  a, b;
    member_t  m;

    start(2 * MB);

    is_int(person_add(&za, &a, 11, "ann", "{\"name\":\"Ann\"}", 0), OK,
           "an identity");
    (void) person_add(&zb, &b, 12, "", "", 0);

    is_int(person_put(&za, &ca, &a, "", "1", ENTER|DATA, &r), NOTFOUND,
           "no member without a seat");
    is_int(person_sit(&za, &ca, &a), OK, "a seat");
    is_int(person_sit(&za, &ca, &a), OK, "and again");
    (void) person_sit(&zb, &cb, &b);
    is_int(person_put(&za, &ca, &a, "", "1", DATA, &r), NOTFOUND,
           "no member unless it is to enter");
    is_int(fanout_presence_flush(&za), UINT32_MAX,
           "nothing to tell of seats");

    ok(person_put(&za, &ca, &a, "", "{\"x\":1}", ENTER|DATA, &r) == OK
       && r.created && r.changed && r.slot == 0, "a member");
    ok(drain(&zb) == OK && nseen == 0, "not told before the flush");
    (void) mirror_read(&mirrors[1], &zb, &cb);
    is_int(mirrors[1].n, 0, "not read before it is told");
    is_int(members_now(&za, NULL), 1, "but counted");

    is_int(fanout_presence_flush(&zb), UINT32_MAX, "flushed");
    ok(drain(&zb) == OK && nseen == 1 && presences == 1, "one delta, at once");
    ok(seen[0].change == JOINED && seen[0].client == 11
       && seen[0].slot == 0 && is_str_of(seen[0].data, "{\"x\":1}")
       && is_str_of(seen[0].user, "ann")
       && is_str_of(seen[0].info, "{\"name\":\"Ann\"}")
       && seen[0].key.len == 0 && seen[0].joined_at
       && seen[0].seen == seen[0].joined_at && !seen[0].idle
       && !seen[0].anonymous, "and all that is in it");

    /* later ones are gathered */

    ok(person_put(&zb, &cb, &b, "k", "2", ENTER|DATA, &r) == OK
       && r.slot == 1, "another member");
    is_int(fanout_presence_flush(&zb), 100, "waits for the batch");
    ok(person_put(&za, &ca, &a, "", "3", DATA, &r) == OK && !r.created
       && r.changed, "an update in the meantime");
    fanout_test_msec = 99;
    is_int(fanout_presence_flush(&zb), 1, "and waits");
    ok(drain(&za) == OK && nseen == 1, "still");
    fanout_test_msec = 100;
    is_int(fanout_presence_flush(&zb), UINT32_MAX, "until then");
    ok(drain(&za) == OK && presences == 1 && nseen == 2
       && seen[0].change == JOINED && seen[0].client == 12
       && is_str_of(seen[0].key, "k") && seen[0].user.len == 0
       && seen[1].change == UPDATED && is_str_of(seen[1].data, "3")
       && seen[1].joined_at, "both in one delta");

    ok(person_put(&za, &ca, &a, "", "3", DATA, &r) == OK && !r.changed,
       "the same data changes nothing");
    ok(person_put(&za, &ca, &a, "", "9", ENTER, &r) == OK && !r.changed,
       "nor is data put that is not asked for");
    is_int(fanout_presence_flush(&za), UINT32_MAX,
           "and is not told");

    /* state */

    memset(&m, 0, sizeof(m));
    m.idle = 1;
    m.seen = 4242;
    ok(fanout_member_put(&za, &ca, a.ref, &a.id, &m, STATE, &r)
       == OK && r.changed, "idle");
    ok(fanout_member_put(&za, &ca, a.ref, &a.id, &m, STATE, &r)
       == OK && r.changed, "twice: pending still");
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 3 && seen[2].change == UPDATED
       && seen[2].idle && seen[2].seen == 4242
       && is_str_of(seen[2].data, "3"), "is told once, with the data");

    /* leaving */

    is_int(person_drop(&zb, &cb, &b, "none"), NOTFOUND, "no such member");
    is_int(person_drop(&zb, &cb, &b, "k"), OK, "a member leaves");
    is_int(person_drop(&zb, &cb, &b, "k"), NOTFOUND, "once");
    is_int(fanout_member_get(&za, &ca, 12,
                               &(fanout_zstr_t) { (uint8_t *) "k", 1 },
                               &m, buf), NOTFOUND, "and can't be found");
    fanout_zone_stat(&za, &st);
    is_int(st.nmembers, 2, "but is kept until told");
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].change == LEFT
       && seen[0].reason == FANOUT_LEFT_INTENTIONAL
       && seen[0].slot == 1 && is_str_of(seen[0].key, "k"), "as it is");

    fanout_zone_stat(&za, &st);
    is_int(st.nmembers, 1, "members");
    is_int(st.nseats, 2, "seats");
    is_int(st.changes, 5, "changes told");

    fanout_seat_close(&za, &ca, a.ref, &a.id, FANOUT_LEFT_EXPIRED);
    is_int(person_put(&za, &ca, &a, "", "1", ENTER|DATA, &r), NOTFOUND,
           "the seat is given up");
    (void) flush_all(&zb);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].change == LEFT
       && seen[0].reason == FANOUT_LEFT_EXPIRED, "and the reason");
    ok(settled(&za) && settled(&zb) && mirrors[0].n == 0,
       "who keeps up knows who is there");

    fanout_zone_stat(&za, &st);
    ok(st.nseats == 1 && st.rooms == 1 && st.nmembers == 0, "one seat left");
    person_end(&zb, &b, 0);
    fanout_zone_stat(&za, &st);
    ok(st.nseats == 0 && st.rooms == 0 && st.nidentities == 1,
       "and then no room");

    stop(2 * MB, "telling");
}


/* what nets to nothing, and what must not */

static void
netting(void)
{
    put_t     r;
    stat_t    st;
    person_t  a, b;

    start(2 * MB);
    (void) person_add(&za, &a, 11, "ann", "", 0);
    (void) person_add(&za, &b, 12, "bob", "", 0);
    (void) person_sit(&za, &ca, &a);
    (void) person_sit(&za, &ca, &b);
    (void) person_put(&za, &ca, &b, "", "b", ENTER|DATA, &r);
    (void) flush_all(&za);
    (void) drain(&za);

    (void) person_put(&za, &ca, &a, "", "1", ENTER|DATA, &r);
    is_int(fanout_presence_flush(&za), 100, "it waits");
    is_int(person_drop(&za, &ca, &a, ""), OK, "joined and left");
    is_int(fanout_presence_flush(&za), UINT32_MAX, "is nothing");
    fanout_zone_stat(&za, &st);
    ok(st.cancelled == 1 && st.nmembers == 1, "cancelled");

    ok(person_put(&za, &ca, &a, "", "1", ENTER|DATA, &r) == OK && r.slot == 1,
       "its place is free again");
    (void) flush_all(&za);
    (void) drain(&za);

    (void) person_drop(&za, &ca, &a, "");
    ok(person_put(&za, &ca, &a, "", "1", ENTER|DATA, &r) == OK && r.created
       && r.slot == 1, "left and back");
    is_int(fanout_presence_flush(&za), UINT32_MAX, "is nothing");
    ok(drain(&za) == OK && nseen == 0, "and not told");

    (void) person_drop(&za, &ca, &a, "");
    ok(person_put(&za, &ca, &a, "", "2", ENTER|DATA, &r) == OK && r.created
       && r.changed, "left and back with other data");
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 1 && seen[0].change == UPDATED
       && is_str_of(seen[0].data, "2"), "is an update");

    (void) person_put(&za, &ca, &a, "", "3", DATA, &r);
    (void) person_drop(&za, &ca, &a, "");
    ok(person_put(&za, &ca, &a, "", "3", ENTER|DATA, &r) == OK && r.changed,
       "changed, left and back");
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 1 && seen[0].change == UPDATED
       && is_str_of(seen[0].data, "3"), "is the update that was pending");

    (void) person_drop(&za, &ca, &a, "");
    ok(person_put(&za, &ca, &a, "", "", ENTER, &r) == OK && r.created,
       "back without data");
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 1 && seen[0].data.len == 0,
       "has no longer that of before");

    /* a seat given up and taken again */

    fanout_seat_close(&za, &ca, a.ref, &a.id, FANOUT_LEFT_INTENTIONAL);
    fanout_zone_stat(&za, &st);
    is_int(st.nseats, 2, "a seat waits for what is to be told");
    is_int(person_sit(&za, &ca, &a), OK, "and is taken again");
    (void) person_put(&za, &ca, &a, "", "", ENTER, &r);
    is_int(fanout_presence_flush(&za), UINT32_MAX, "for nothing");
    ok(settled(&za) && mirrors[0].n == 2, "both are there");

    stop(2 * MB, "netting");
}


/* slots, read in sections */

#define MANY  10000

static void
many(void)
{
    int        good;
    char       key[16];
    put_t      r;
    uint32_t   i, smallest, t;
    mirror_t   part;
    uint64_t   s;
    uint8_t   *taken;
    uint16_t  *owner;
    person_t  *p;

    start(32 * MB);
    p = calloc(MANY / 25, sizeof(person_t));
    taken = calloc(MANY + 1, 1);
    owner = calloc(MANY + 1, sizeof(uint16_t));
    good = 1;

    for (i = 0; i < MANY / 25; i++) {
        good &= person_add(&za, &p[i], 1000 + i, "user", "", 0) == OK
                && person_sit(&za, &ca, &p[i]) == OK;
    }

    for (i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "%u", i);
        good &= person_put(&za, &ca, &p[i / 25], key, "12345678901", ENTER|DATA,
                           &r) == OK && r.slot == i;
        owner[i] = i / 25;
        taken[i] = 1;

        if (i % 1000 == 0) {
            (void) flush_all(&za);
            good &= drain(&za) == OK;
        }
    }

    ok(good, "%u members have the slots from 0 on", MANY);
    ok(settled(&za) && mirrors[0].n == MANY, "told");
    checked(&za, "a tree of four levels");

    /* some leave, some come: always the smallest */

    s = 5;
    good = 1;

    for (i = 0; i < 3000; i++) {
        t = rnd(&s) % MANY;

        if (taken[t] == 1) {
            snprintf(key, sizeof(key), "%u", t);
            good &= person_drop(&za, &ca, &p[owner[t]], key) == OK;
            taken[t] = 0;
        }
    }

    (void) flush_all(&za);

    /* read in sections while it goes on */

    mirror_init(&part);
    mirrors[1].state = MIRROR_LOST;

    smallest = 0;

    for (i = 0; i < 2000; i++) {
        while (taken[smallest]) {
            smallest++;
        }

        snprintf(key, sizeof(key), "n%u", i);
        good &= person_put(&za, &ca, &p[owner[smallest]], key, "1", ENTER|DATA,
                           &r) == OK && r.slot == smallest;
        taken[smallest] = 2;

        if (i % 8 == 0) {
            fanout_test_msec += 100;
            (void) fanout_presence_flush(&za);
        }

        if (i % 7 == 0 && mirrors[1].state != MIRROR_KNOWN) {
            good &= mirror_load(&mirrors[1], &zb, &cb, 1 + i % 64) >= 0;
        }

        if (i % 50 == 0) {
            good &= drain(&zb) == OK;
        }
    }

    ok(good, "the smallest free slot each time");
    ok(mirrors[1].state == MIRROR_KNOWN && mirrors[1].sections > 100,
       "read in %u sections", mirrors[1].sections);
    ok(settled(&za) && settled(&zb), "and exact with what was told meanwhile");
    mirror_done(&part);
    checked(&za, "holes in the tree");

    for (i = 0; i < MANY / 25; i++) {
        person_end(&za, &p[i], 0);
    }

    ok(settled(&zb) && mirrors[1].n == 0, "all leave");

    ok(person_add(&za, &p[0], 9, "", "", 0) == OK
       && person_sit(&za, &ca, &p[0]) == OK
       && person_put(&za, &ca, &p[0], "", "", ENTER, &r) == OK && r.slot == 0,
       "the next is the first again");

    free(p);
    free(taken);
    free(owner);
    stop(32 * MB, "many");
}


/* those who are still to be told of take their part of a section */

static void
unseen(void)
{
    int        calls;
    char       key[16];
    stat_t     st;
    unsigned   i;
    person_t   p[25];
    mirror_t   m;

    start(4 * MB);

    for (i = 0; i < 800; i++) {
        if (i % 32 == 0) {
            (void) person_add(&za, &p[i / 32], 100 + i / 32, "user", "", 0);
            (void) person_sit(&za, &ca, &p[i / 32]);
        }

        snprintf(key, sizeof(key), "%u", i);
        (void) person_put(&za, &ca, &p[i / 32], key, "", ENTER, NULL);

        if (i == 0) {
            (void) fanout_presence_flush(&za);
        }
    }

    mirror_init(&m);
    calls = 1;

    while (mirror_load(&m, &zb, &cb, 64) == 0) {
        calls++;
    }

    ok(calls == 4 && m.n == 1, "one of 800, in %d sections", calls);
    is_int(fanout_presence_flush(&za), 100, "the others wait");
    mirror_done(&m);

    /* more than an entry can tell */

    fanout_test_msec += 100;
    is_int(fanout_presence_flush(&za), UINT32_MAX,
           "then all of them go at once");

    ok(drain(&zb) == OK && nseen == 800 && presences > 2, "799 in %d entries",
       presences - 1);
    fanout_zone_stat(&za, &st);
    ok(st.deltas == (uint64_t) presences && st.changes == 800, "as counted");
    ok(settled(&zb) && mirrors[1].n == 800, "and all are there");

    for (i = 0; i < 25; i++) {
        person_end(&za, &p[i], 0);
    }

    ok(settled(&zb) && mirrors[1].n == 0, "and gone");
    stop(4 * MB, "unseen");
}


/* not told of a clock that ran over: 25 and 50 days of nothing */

static void
long_quiet(void)
{
    unsigned  i;
    person_t  a;
    char      key[16];

    start(2 * MB);
    (void) person_add(&za, &a, 1, "", "", 0);
    (void) person_sit(&za, &ca, &a);

    for (i = 0; i < 5; i++) {
        snprintf(key, sizeof(key), "%u", i);
        (void) person_put(&za, &ca, &a, key, "", ENTER, NULL);
        is_int(fanout_presence_flush(&za), UINT32_MAX,
               "told at once after %u days", i * 13);
        fanout_test_seconds += i * 13 * 86400;
        fanout_test_seconds += 13 * 86400;
    }

    stop(2 * MB, "after a long time");
}


void
members(void)
{
    telling();
    netting();
    many();
    unseen();
    long_quiet();
}
