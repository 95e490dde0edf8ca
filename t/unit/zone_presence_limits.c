/*
 * Members: channels that only count, limits, who may change whom.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence_suite.h"


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


void
member_limits(void)
{
    summary();
    limits();
    fullest();
    put_if();
    anonymous();
    away();
    elsewhere();
    bytes();
}
