/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, members are shown who are not there, or are there and not
 * shown; one sits in another's place; who was cut flickers, or stays for ever;
 * or a kicked client is not told; or a backend is told what did not happen, or
 * not what did.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence.h"


static void      *zmem;
static zone_t     za, zb;
static arena_t    arena;
static mirror_t   mirrors[2];           /* of za, zb: the channel "room" */
static channel_t  ca, cb;
static uint8_t    buf[SECTION];

/* the changes of the last drain() */
static member_t   seen[4096];
static unsigned   nseen;
static uint64_t   last_offset;
static int        gaps, presences;

static policy_t   presence = {
    .history = 10, .presence = FANOUT_PRESENCE_ON, .linger = 5,
    .batch = 100
};


static void
checked(zone_t *z, const char *what)
{
    int     rc;
    char    text[256];
    stat_t  st;

    rc = fanout_zone_verify(z, text, sizeof(text));
    ok(rc == 0, "%s: %s", what, rc ? text : "all invariants hold");

    fanout_zone_stat(z, &st);
    is_int(st.overflows, 0, "%s: the journal holds all", what);
}


static void
start_as(size_t size, const policy_t *p)
{
    static policy_t  own;

    own = *p;
    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    zmem = zone_make(size, 300, 120);
    (void) fanout_zone_attach(&za, zmem, size);
    (void) fanout_zone_attach(&zb, zmem, size);
    (void) fanout_slot_claim(&za, 1);
    (void) fanout_slot_claim(&zb, 2);

    ca = view(&za, "room", &own);
    cb = view(&zb, "room", &own);
    (void) fanout_channel_open(&za, &ca, 7);
    (void) fanout_channel_open(&zb, &cb, 8);

    mirror_init(&mirrors[0]);
    mirror_init(&mirrors[1]);
    (void) mirror_read(&mirrors[0], &za, &ca);
    (void) mirror_read(&mirrors[1], &zb, &cb);
}


static void
start(size_t size)
{
    start_as(size, &presence);
}


static void
stop(size_t size, const char *what)
{
    checked(&za, what);
    fanout_slot_release(&za);
    fanout_slot_release(&zb);
    (void) flush_all(&za);
    mirror_done(&mirrors[0]);
    mirror_done(&mirrors[1]);
    munmap(zmem, size);
}


/* into the mirror of the handle; -1 if it could not be */

static int
drain(zone_t *z)
{
    int             rc, bad;
    entry_t        *e;
    uint32_t        i;
    mirror_t       *m;
    const uint8_t  *p;

    m = &mirrors[z == &zb];
    bad = gaps = presences = 0;
    nseen = 0;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(z, &arena);

        for (i = 0; i < arena.n; i++) {
            e = &arena.entries[i];

            if (e->local != (z == &zb ? 8 : 7)) {
                continue;
            }

            gaps += e->type == FANOUT_GAP;
            last_offset = e->offset;

            if (!bad && mirror_entry(m, e) != 0) {
                diag("%s", m->error);
                bad = 1;
            }

            if (e->type != FANOUT_PRESENCE) {
                continue;
            }

            presences++;
            p = e->data.data;

            while (nseen < 4096
                   && fanout_change_next(&p, e->data.data
                                         + e->data.len,
                                         &seen[nseen]) == 1)
            {
                nseen++;
            }
        }

    } while (rc == AGAIN);

    return bad ? -1 : rc;
}


static int
settled(zone_t *z)
{
    int        rc;
    mirror_t  *m, now;

    m = &mirrors[z == &zb];
    (void) flush_all(z);

    if (drain(z) != OK) {
        return 0;
    }

    if (m->state == MIRROR_LOST && mirror_read(m, z, &ca) != 0) {
        return 0;
    }

    mirror_init(&now);
    rc = mirror_read(&now, z, &ca) == 0 && mirror_same(m, &now, 1) == 0;

    if (!rc) {
        diag("%s", m->error);
    }

    mirror_done(&now);

    return rc;
}


static int
is_str_of(fanout_zstr_t s, const char *want)
{
    return s.len == strlen(want) && memcmp(s.data, want, s.len) == 0;
}


static uint32_t
members_now(zone_t *z, uint32_t *seats)
{
    uint32_t    slot;
    unsigned    n;
    member_t    m[1];
    presence_t  r;

    slot = 0;
    (void) fanout_presence_read(z, &ca, &slot, m, 1, buf, SECTION, &n, &r);
    if (seats) {
        *seats = r.seats;
    }

    return r.members;
}


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


static void
summary(void)
{
    put_t     r;
    policy_t  p = presence;
    person_t  who[5];
    uint32_t  seats;
    unsigned  i;

    p.presence = FANOUT_PRESENCE_SUMMARY;
    p.members = 4;
    start_as(2 * MB, &p);

    for (i = 0; i < 5; i++) {
        (void) person_add(&za, &who[i], 100 + i, "", "", 0);
        (void) person_sit(&za, &ca, &who[i]);
    }

    is_int(person_put(&za, &ca, &who[0], "", "", DATA, &r), NOTFOUND,
           "not counted unless it enters");

    for (i = 0; i < 5; i++) {
        is_int(person_put(&za, &ca, &who[i], "k", "data", ENTER|DATA, &r),
               i < 4 ? OK : CONFLICT, "number %u", i);
    }

    ok(person_put(&za, &ca, &who[0], "", "", ENTER, &r) == OK && !r.created,
       "a seat counts once");
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].change == COUNTED
       && seen[0].count == 4 && presences == 1, "the number is told, once");
    is_int(members_now(&zb, &seats), 4, "and read");
    is_int(seats, 5, "of the seats");

    is_int(person_drop(&za, &ca, &who[1], ""), OK, "one leaves");
    is_int(person_drop(&za, &ca, &who[1], ""), NOTFOUND, "once");
    person_end(&za, &who[2], 0);
    person_end(&za, &who[3], 100000);
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].count == 2,
       "one that lingers counts");
    fanout_test_seconds += 7;
    (void) sweep_all(&za);
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].count == 1,
       "until it is due");
    is_int(person_put(&za, &ca, &who[4], "", "", ENTER, &r), OK,
           "room for another");
    checked(&za, "summary");

    /* the mode is another once all have left */

    p.presence = FANOUT_PRESENCE_ON;
    ca.policy->presence = FANOUT_PRESENCE_ON;
    (void) fanout_channel_open(&za, &ca, 7);
    is_int(person_put(&za, &ca, &who[1], "", "", ENTER, &r), OK, "counted");
    (void) person_drop(&za, &ca, &who[0], "");
    (void) person_drop(&za, &ca, &who[1], "");
    (void) person_drop(&za, &ca, &who[4], "");
    (void) fanout_channel_open(&za, &ca, 7);
    ok(person_put(&za, &ca, &who[0], "", "", ENTER, &r) == OK, "listed");
    (void) flush_all(&za);
    (void) mirror_read(&mirrors[0], &za, &ca);
    is_int(mirrors[0].n, 1, "a member in the new mode");

    stop(2 * MB, "modes");
}


static void
limits(void)
{
    int            good;
    char           key[16];
    put_t          r;
    policy_t       p = presence;
    uint8_t       *big;
    unsigned       i;
    member_t       m, got;
    person_t       a, b, c;
    fanout_zstr_t  k;

    p.members = 40;
    start_as(2 * MB, &p);
    (void) person_add(&za, &a, 1, "ann", "", 0);
    (void) person_add(&za, &b, 2, "ann", "", 0);
    (void) person_sit(&za, &ca, &a);
    (void) person_sit(&za, &ca, &b);

    good = 1;

    for (i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        good &= person_put(&za, &ca, i < 32 ? &a : &b, key, "", ENTER, &r)
                == OK;
    }

    ok(good, "32 members on a seat");
    is_int(person_put(&za, &ca, &b, "more", "", ENTER, &r), CONFLICT,
           "41 are too many");
    (void) flush_all(&za);
    (void) person_drop(&za, &ca, &b, "key39");
    is_int(person_put(&za, &ca, &a, "more", "", ENTER, &r), LARGE,
           "33 on a seat are too many");
    is_int(person_put(&za, &ca, &b, "more", "", ENTER, &r), OK,
           "one comes for one that left");
    is_int(person_put(&za, &ca, &b, "key39", "", ENTER, &r), CONFLICT,
           "who then can't come back");
    ok(settled(&za) && mirrors[0].n == 40, "40 members");
    checked(&za, "40 members");
    person_end(&za, &a, 0);
    (void) person_drop(&za, &ca, &b, "more");

    /* data and keys of all lengths */

    big = malloc(10000);
    data_fill(big, 7, 10000);
    memset(&m, 0, sizeof(m));
    good = 1;

    for (i = 0; i <= 8192; i += i < 300 ? 1 : 263) {
        m.key = zstr(big + 1, i % 256);
        m.data = zstr(big, i);
        k = m.key;

        if (fanout_member_put(&za, &ca, b.ref, &b.id, &m, ENTER|DATA,
                              &r) != OK
            || fanout_member_get(&zb, &cb, 2, &k, &got, buf) != OK
            || got.data.len != i || memcmp(got.data.data, big, i) != 0
            || got.key.len != k.len || memcmp(got.key.data, k.data, k.len) != 0
            || !is_str_of(got.user, "ann"))
        {
            diag("length %u", i);
            good = 0;
        }

        /* shorter and longer, in the same place */

        m.data = zstr(big + 3, i / 3 + (i % 5 ? 0 : 4000));

        if (fanout_member_put(&za, &ca, b.ref, &b.id, &m, DATA, &r)
            != OK
            || fanout_member_get(&zb, &cb, 2, &k, &got, buf) != OK
            || got.data.len != m.data.len
            || memcmp(got.data.data, big + 3, got.data.len) != 0)
        {
            diag("length %u, then %u", i, m.data.len);
            good = 0;
        }

        if (i % 2) {
            (void) flush_all(&za);
        }

        good &= fanout_member_drop(&za, &ca, b.ref, &b.id, &k, 1)
                == OK;
        (void) flush_all(&za);
        good &= drain(&za) == OK;
    }

    ok(good, "keys up to 255 and data up to 8192 bytes");

    m.data = zstr(big, 8192);
    m.key = zstr(big, 255);
    is_int(fanout_member_put(&za, &ca, b.ref, &b.id, &m, ENTER|DATA,
                             &r), OK, "the largest");
    m.data.len = 8193;
    is_int(fanout_member_put(&za, &ca, b.ref, &b.id, &m, ENTER|DATA,
                             &r), LARGE, "more data");
    m.data.len = 1;
    m.key.len = 256;
    is_int(fanout_member_put(&za, &ca, b.ref, &b.id, &m, ENTER|DATA,
                             &r), LARGE, "a longer key");
    ok(settled(&za) && settled(&zb), "all told as they are");

    /* with all that can be: 4096 bytes of info, a user of 255 */

    memset(big, 'i', 4097);
    big[4096] = '\0';
    memset(buf, 'u', 255);
    buf[255] = '\0';
    is_int(person_add(&za, &c, 3, (char *) buf, (char *) big, 0), OK,
           "the largest identity");
    (void) person_sit(&za, &ca, &c);
    m.data.len = 8192;
    m.key.len = 255;
    is_int(fanout_member_put(&za, &ca, c.ref, &c.id, &m, ENTER|DATA,
                             &r), OK, "the largest member");
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 1 && seen[0].info.len == 4096
       && seen[0].user.len == 255 && seen[0].key.len == 255
       && seen[0].data.len == 8192, "is told");
    ok(settled(&zb), "and read");

    memset(big, 'x', 300);
    big[300] = '\0';
    is_int(person_add(&za, &a, 4, (char *) big, "", 0), LARGE,
           "a user of 300 bytes");

    free(big);
    stop(2 * MB, "limits");
}


/* All members of the fullest seat leave in one transaction: untold, and
 * told. */

static void
fullest(void)
{
    int              round, good;
    char             key[256], *data;
    put_t            r;
    unsigned         i;
    person_t         a;
    fanout_zone_policy_t  p;

    memset(&p, 0, sizeof(p));
    p.presence = FANOUT_PRESENCE_ON;
    p.keys = FANOUT_ZONE_KEYS_MAX;
    p.seen = 60;
    p.linger = 5;
    start_as(8 * MB, &p);

    data = calloc(1, 4096);
    memset(data, 'd', 4000);

    for (round = 0; round < 3; round++) {
        (void) person_add(&za, &a, 1, "ann", "", 0);
        (void) person_sit(&za, &ca, &a);

        good = 1;

        for (i = 0; i < FANOUT_ZONE_KEYS_MAX; i++) {
            memset(key, 'k', 250);
            snprintf(key, sizeof(key), "%03u", i);
            key[3] = 'k';
            good &= person_put(&za, &ca, &a, key, data, ENTER|DATA, &r) == OK;
        }

        ok(good, "as many members as a seat may have");
        is_int(person_put(&za, &ca, &a, "more", "", ENTER, &r), LARGE,
               "and no more");

        if (round) {
            (void) flush_all(&za);
        }

        person_end(&za, &a, round == 2 ? 1 : 0);

        if (round == 2) {
            checked(&za, "they linger");
            (void) person_resume(&za, &a);
            person_end(&za, &a, 0);
        }

        (void) flush_all(&za);
        checked(&za, "they leave at once");
    }

    free(data);
    stop(8 * MB, "the fullest seat");
}


/* what is put on what was read before */

static void
put_if(void)
{
    put_t     r;
    member_t  m;
    person_t  a;

    start(2 * MB);
    (void) person_add(&za, &a, 1, "ann", "", 0);
    (void) person_sit(&za, &ca, &a);

    memset(&m, 0, sizeof(m));
    m.data = zstr("[1]", 3);
    m.was = zstr("[0]", 3);

#define PUT_IF  (ENTER | FANOUT_PUT_DATA | FANOUT_PUT_IF)

    is_int(fanout_member_put(&za, &ca, a.ref, &a.id, &m, PUT_IF, &r),
           AGAIN, "a member that has left is not changed");
    m.was.len = 0;
    is_int(fanout_member_put(&za, &ca, a.ref, &a.id, &m, PUT_IF, &r),
           OK, "there is none: it enters");
    is_int(fanout_member_put(&za, &ca, a.ref, &a.id, &m, PUT_IF, &r),
           AGAIN, "one that came meanwhile is not overwritten");
    m.was = zstr("[1]", 3);
    m.data = zstr("[2]", 3);
    is_int(fanout_member_put(&za, &ca, a.ref, &a.id, &m, PUT_IF, &r),
           OK, "data that is as it was is changed");
    is_int(fanout_member_put(&za, &ca, a.ref, &a.id, &m, PUT_IF, &r),
           AGAIN, "and other data is not");

    m.was = zstr("[2]", 3);
    (void) flush_all(&za);
    (void) person_drop(&za, &ca, &a, "");
    is_int(fanout_member_put(&za, &ca, a.ref, &a.id, &m, PUT_IF, &r),
           AGAIN, "nor that of one who is about to leave");

    stop(2 * MB, "put if");
}


/* anonymous members, and two who write one channel */

static void
anonymous(void)
{
    put_t     r;
    member_t  m;
    person_t  a;

    start(2 * MB);
    (void) person_add(&za, &a, 1, "ann", "info", 0);
    (void) person_sit(&za, &ca, &a);

    memset(&m, 0, sizeof(m));
    m.anonymous = 1;
    (void) fanout_member_put(&za, &ca, a.ref, &a.id, &m, ENTER, &r);
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].anonymous
       && seen[0].user.len == 0 && seen[0].info.len == 0 && seen[0].client == 1,
       "neither user nor info is told");
    (void) mirror_read(&mirrors[0], &za, &ca);
    ok(mirrors[0].faces[0].anonymous
       && mirrors[0].faces[0].user == sum(zstr("", 0)), "nor read");

    m.anonymous = 0;
    ok(fanout_member_put(&za, &ca, a.ref, &a.id, &m,
                         ENTER | FANOUT_PUT_AS_IS, &r) == OK
       && !r.changed && r.anonymous, "left as it is");
    ok(fanout_member_put(&za, &ca, a.ref, &a.id, &m, ENTER, &r) == OK
       && r.changed, "named");
    ok(settled(&zb) && nseen == 1 && seen[0].change == UPDATED
       && is_str_of(seen[0].user, "ann") && is_str_of(seen[0].info, "info"),
       "is an update with both");

    (void) person_drop(&za, &ca, &a, "");
    ok(settled(&zb) && nseen == 1 && is_str_of(seen[0].user, "ann")
       && seen[0].info.len == 0, "who leaves has a name, and no info");

    /* off */

    ca.policy->presence = FANOUT_PRESENCE_OFF;
    (void) fanout_channel_open(&za, &ca, 7);
    is_int(fanout_member_put(&za, &ca, a.ref, &a.id, &m, ENTER, &r),
           NOTFOUND, "nobody enters where presence is off");

    stop(2 * MB, "anonymous");
}


/* told to come back after a while: it lingers from then on */

static void
away(void)
{
    uint8_t   next[16];
    uint32_t  ref, seats;
    person_t  a, b;
    policy_t  p = presence;

    p.linger = 2;
    start_as(2 * MB, &p);
    (void) person_add(&za, &a, 1, "ann", "", 0);
    (void) person_add(&za, &b, 2, "bob", "", 0);
    (void) person_sit(&za, &ca, &a);
    (void) person_sit(&za, &ca, &b);
    (void) person_put(&za, &ca, &a, "", "", ENTER, NULL);
    (void) person_put(&za, &ca, &b, "", "", ENTER, NULL);
    (void) flush_all(&za);

    fanout_identity_disconnected(&za, a.ref, &a.id, 3000, 9001,
                                 1, FANOUT_LEFT_NETWORK);
    fanout_identity_disconnected(&za, b.ref, &b.id, 3000, 0,
                                 1, FANOUT_LEFT_NETWORK);

    fanout_test_seconds += 11;
    (void) sweep_all(&za);
    (void) flush_all(&za);
    is_int(members_now(&za, &seats), 1, "one was told to stay away so long");
    is_int(fanout_identity_resume(&za, &a.id, 0, next, &ref), OK,
           "and may come back");
    memcpy(a.id.secret, next, sizeof(next));
    is_int(fanout_identity_resume(&za, &b.id, 0, next, &ref),
           NOTFOUND, "another may not any more");

    fanout_identity_disconnected(&za, a.ref, &a.id, 3000, 9001,
                                 1, FANOUT_LEFT_NETWORK);
    fanout_test_seconds += 15;
    (void) sweep_all(&za);
    (void) flush_all(&za);
    is_int(members_now(&za, &seats), 0, "it leaves when that is over");

    stop(2 * MB, "away");
}


/* who has the secret, on a worker that has not the session */

static void
elsewhere(void)
{
    int         member;
    put_t       r;
    person_t    a, other;
    channel_t   c;

    start(2 * MB);
    (void) person_add(&za, &a, 1, "ann", "info", 0);
    other = a;
    other.ref = 0;

    ok(!fanout_member_any(&zb, &cb, 0, &other.id, &member),
       "who is not there has no seat");
    is_int(person_put(&zb, &cb, &other, "", "1", ENTER|DATA, &r), NOTFOUND,
           "and makes no member");

    (void) person_sit(&za, &ca, &a);
    ok(fanout_member_any(&zb, &cb, 0, &other.id, &member)
       && !member, "then a seat");
    is_int(person_put(&zb, &cb, &other, "", "1", ENTER|DATA, &r), OK,
           "a member is made from elsewhere");
    ok(r.created && fanout_member_any(&zb, &cb, 0, &other.id,
                                      &member) && member,
       "and is there");
    ok(settled(&zb) && nseen == 1 && is_str_of(seen[0].data, "1"),
       "as all are told");

    /* by the channel's name alone */

    memset(&c, 0, sizeof(c));
    c.name = cb.name;
    c.hash = cb.hash;
    c.policy = cb.policy;
    is_int(person_put(&zb, &c, &other, "", "2", DATA, &r), OK,
           "where the channel is not open");

    other.id.secret[15] ^= 1;
    is_int(person_put(&zb, &cb, &other, "", "3", DATA, &r), NOTFOUND,
           "not by another secret");
    is_int(person_drop(&zb, &cb, &other, ""), NOTFOUND, "neither goes it");
    other.id.secret[15] ^= 1;
    other.id.user++;
    is_int(person_put(&zb, &cb, &other, "", "3", DATA, &r), NOTFOUND,
           "not as another user");
    other.id.user--;

    person_end(&za, &a, 60000);
    is_int(person_put(&zb, &cb, &other, "k", "4", ENTER|DATA, &r), OK,
           "also while it lingers");
    checked(&zb, "elsewhere");
    ok(settled(&zb), "which is told");
    is_int(person_drop(&zb, &cb, &other, ""), OK, "and dropped");
    ok(settled(&zb) && nseen == 1 && seen[0].change == LEFT, "is gone");

    fanout_test_seconds += 7;
    (void) sweep_all(&zb);
    (void) flush_all(&zb);
    is_int(person_put(&zb, &cb, &other, "k", "5", DATA, &r), NOTFOUND,
           "not when the seat was given up");

    stop(2 * MB, "elsewhere");
}


/* broken bytes are no changes */

static void
bytes(void)
{
    int             rc, turns;
    put_t           r;
    uint8_t         copy[512];
    uint32_t        len, i;
    uint64_t        s;
    member_t        m;
    person_t        a;
    const uint8_t  *p;

    start(2 * MB);
    (void) person_add(&za, &a, 1, "ann", "info", 0);
    (void) person_sit(&za, &ca, &a);
    (void) person_put(&za, &ca, &a, "key", "data", ENTER|DATA, &r);
    (void) flush_all(&za);
    arena_reset(&arena);
    (void) fanout_log_drain(&za, &arena);
    len = arena.entries[0].data.len;
    memcpy(copy, arena.entries[0].data.data, len);

    p = copy;
    is_int(fanout_change_next(&p, copy + len, &m), 1, "whole");
    is_int(fanout_change_next(&p, copy + len, &m), 0, "the end");

    rc = 0;

    for (i = 1; i < len; i++) {
        p = copy;
        rc |= fanout_change_next(&p, copy + i, &m) != -1;
    }

    ok(rc == 0, "cut anywhere");

    s = 3;
    turns = 0;

    for (i = 0; i < 20000; i++) {
        memcpy(copy, arena.entries[0].data.data, len);
        copy[rnd(&s) % len] = rnd(&s);
        p = copy;

        while (fanout_change_next(&p, copy + len, &m) == 1) {
            turns += m.data.data + m.data.len <= copy + len;
        }
    }

    ok(turns > 0, "no byte makes it read on");

    stop(2 * MB, "bytes");
}


#include "zone_presence_life.h"
#include "zone_presence_events.h"


int
main(int argc, char **argv)
{
    arena_init(&arena);

    telling();
    netting();
    many();
    unseen();
    long_quiet();
    summary();
    limits();
    fullest();
    put_if();
    anonymous();
    away();
    elsewhere();
    bytes();

    lives();
    events();

    return done_testing();
}
