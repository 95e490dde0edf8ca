/*
 * Cuts, resumes, takeovers.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence_suite.h"


#define NETWORK      FANOUT_LEFT_NETWORK


static int
lingers(person_t *p)
{
    int         there;
    uint32_t    slot;
    unsigned    n, i;
    member_t    m[64];
    presence_t  r;

    slot = 0;
    there = -1;

    do {
        (void) fanout_presence_read(&za, &ca, &slot, m, 64, buf, SECTION, &n,
                                    &r);

        for (i = 0; i < n; i++) {
            if (m[i].client == p->id.client) {
                there = m[i].lingers;
            }
        }

    } while (slot != UINT32_MAX);

    return there;
}


void
pass_by(uint32_t seconds)
{
    fanout_test_seconds += seconds;
    (void) sweep_all(&za);
    (void) flush_all(&za);
}


/* n clients of za, each a member; they are told */

void
people(person_t *p, unsigned n)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        (void) person_add(&za, &p[i], 100 + i, "user", "", 0);
        (void) person_sit(&za, &ca, &p[i]);
        (void) person_put(&za, &ca, &p[i], "", "data", ENTER|DATA, NULL);
    }

    (void) flush_all(&za);
    (void) drain(&za);
    (void) drain(&zb);
}


/* within the linger nobody is told of a cut */

static void
cuts(void)
{
    stat_t    st;
    person_t  p[3];

    start(2 * MB);
    people(p, 3);

    person_end(&za, &p[0], 120000);
    is_int(fanout_presence_flush(&za), UINT32_MAX,
           "nothing to tell of a cut");
    is_int(lingers(&p[0]), 1, "its member lingers");
    is_int(lingers(&p[1]), 0, "another does not");
    fanout_zone_stat(&za, &st);
    is_int(st.seats_lingering, 1, "a seat lingers");

    pass_by(5);
    is_int(lingers(&p[0]), 1, "for the whole of its time");
    pass_by(1);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].change == LEFT
       && seen[0].client == 100 && seen[0].reason == NETWORK,
       "and then it has left");
    fanout_zone_stat(&za, &st);
    ok(st.nseats == 2 && st.seats_lingering == 0 && st.lingering == 1
       && st.nidentities == 3, "the identity may still come back");

    is_int(person_resume(&zb, &p[0]), OK, "it does");
    is_int(person_put(&zb, &cb, &p[0], "", "", ENTER, NULL), NOTFOUND,
           "without a seat");

    /* the identity is kept for less than the seat */

    person_end(&za, &p[1], 2000);
    pass_by(2);
    is_int(lingers(&p[1]), 1, "a cut");
    pass_by(1);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].client == 101
       && seen[0].reason == NETWORK, "without an identity there is no seat");
    is_int(person_resume(&za, &p[1]), NOTFOUND, "nor a way back");

    /* at once */

    person_end(&za, &p[2], 0);
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].client == 102
       && seen[0].reason == INTENTIONAL, "an end is told at once");

    ok(settled(&za) && settled(&zb) && mirrors[0].n == 0, "all have left");
    stop(2 * MB, "cuts");
}


static void
goes(void)
{
    person_t  p[3];

    start(2 * MB);
    people(p, 3);

    person_goes(&za, &p[0], 120000);
    person_goes(&za, &p[1], 120000);
    is_int(fanout_presence_flush(&za), UINT32_MAX,
           "nothing to tell of one who goes and may come back");

    is_int(person_resume(&zb, &p[1]), OK, "one does");
    pass_by(6);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].change == LEFT
       && seen[0].client == 100 && seen[0].reason == INTENTIONAL,
       "the other has left on purpose");

    person_end(&zb, &p[1], 120000);
    pass_by(6);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].client == 101
       && seen[0].reason == NETWORK, "one that came back and was cut has not");

    /* the identity is kept for less than the seat */

    person_goes(&za, &p[2], 2000);
    pass_by(3);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].client == 102
       && seen[0].reason == INTENTIONAL,
       "nor is the reason lost with the identity");

    ok(settled(&za) && settled(&zb), "all have left");
    stop(2 * MB, "goes");
}


static void
no_linger(void)
{
    policy_t  p = presence;
    person_t  who[2];

    p.linger = 0;
    start_as(2 * MB, &p);
    people(who, 2);

    person_end(&za, &who[0], 120000);
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].reason == NETWORK,
       "a cut is told at once");
    is_int(person_resume(&za, &who[0]), OK, "the identity is kept");
    ok(settled(&zb) && mirrors[1].n == 1, "one is there");

    stop(2 * MB, "no linger");
}


/* due beyond the rim of the wheel, and each at its own second */

static void
wheel(void)
{
    int        good;
    policy_t   p = presence;
    unsigned   i, t;
    stat_t     st;
    person_t   who[12];
    uint32_t   due[12];

    static const uint16_t  linger[12] = {
        1, 2, 254, 255, 256, 257, 300, 511, 512, 513, 1000, 65535
    };

    start_as(2 * MB, &p);
    people(who, 12);

    for (i = 0; i < 12; i++) {
        ca.policy->linger = linger[i];
        (void) fanout_channel_open(&za, &ca, 7);
        person_end(&za, &who[i], 100000000);
        due[i] = fanout_test_seconds + linger[i] + 1;
        fanout_test_seconds += i % 3;
    }

    good = 1;

    for (t = 0; t < 1100; t++) {
        pass_by(1);

        for (i = 0; i < 12; i++) {
            if ((lingers(&who[i]) == 1) != (fanout_test_seconds < due[i])) {
                diag("%u at %u of %u", linger[i], fanout_test_seconds,
                     due[i]);
                good = 0;
            }
        }

        if (t % 37 == 0) {
            good &= fanout_zone_verify(&za, (char *) buf, 256) == 0;
        }
    }

    ok(good, "each has left when it was due");

    /* some come back halfway, and the wheel stood still for long */

    fanout_test_seconds += 30000;
    (void) sweep_all(&za);
    fanout_zone_stat(&za, &st);
    ok(st.seats_lingering == 1 && lingers(&who[11]) == 1, "one is left");
    is_int(person_resume(&zb, &who[11]), OK, "and resumed");
    is_int(lingers(&who[11]), 0, "lingers no more");
    pass_by(60000);
    ok(settled(&zb) && mirrors[1].n == 1, "and stays");

    /* a wheel that was empty starts from now */

    ca.policy->linger = 3;
    (void) fanout_channel_open(&zb, &cb, 8);
    ((policy_t *) cb.policy)->linger = 3;
    person_end(&zb, &who[11], 100000000);
    pass_by(3);
    is_int(lingers(&who[11]), 1, "a short time");
    pass_by(1);
    is_int(lingers(&who[11]), -1, "is short");

    stop(2 * MB, "wheel");
}


/* sessions that come back: elsewhere, while they live, and often */

static void
resumes(void)
{
    order_t   o[8];
    put_t     r;
    stat_t    st;
    member_t  m;
    person_t  p[2], old;
    unsigned  i, n;
    char      name[16];
    channel_t more[20];

    start(4 * MB);
    people(p, 2);

    for (i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "more%u", i);
        more[i] = view(&za, strdup(name), ca.policy);
        (void) fanout_channel_open(&za, &more[i], 100 + i);
        (void) person_sit(&za, &more[i], &p[0]);
    }

    person_end(&za, &p[0], 120000);
    fanout_zone_stat(&za, &st);
    is_int(st.seats_lingering, 21, "all of its seats linger");

    old = p[0];
    is_int(person_resume(&zb, &p[0]), OK, "resumed by another worker");
    fanout_zone_stat(&za, &st);
    is_int(st.seats_lingering, 0, "with its seats");
    is_int(lingers(&p[0]), 0, "and its member");
    is_int(fanout_presence_flush(&za), UINT32_MAX, "untold");
    fanout_identity_confirm(&zb, p[0].ref, &p[0].id);
    is_int(person_resume(&zb, &old), NOTFOUND, "the old secret is void");
    ok(fanout_identity_lost(&za, old.ref, &old.id)
       && !fanout_identity_lost(&zb, p[0].ref, &p[0].id),
       "both can tell");

    is_int(person_sit(&za, &ca, &p[0]), STALE, "not of this worker");
    is_int(person_sit(&zb, &cb, &p[0]), OK, "but of that");
    ok(person_put(&zb, &cb, &p[0], "", "new", DATA, &r) == OK && r.slot == 0,
       "it goes on");
    (void) flush_all(&zb);
    (void) drain(&za);
    pass_by(100);
    ok(drain(&za) == OK && nseen == 0 && lingers(&p[0]) == 0,
       "no time counts for it any more");

    /* a takeover: live, from zb to za */

    old = p[0];
    is_int(person_resume(&za, &p[0]), OK, "a live one is taken over");
    n = fanout_slot_orders(&zb, o, 8);
    ok(n == 1 && o[0].op == FANOUT_ORDER_REPLACED
       && o[0].client == 100, "and its worker ordered");
    is_int(fanout_slot_orders(&zb, o, 8), 0, "once");

    fanout_seat_close(&zb, &cb, old.ref, &old.id, FANOUT_LEFT_INTENTIONAL);
    person_end(&zb, &old, 0);
    is_int(person_put(&zb, &cb, &old, "", "x", DATA, &r), NOTFOUND,
           "who lost it changes nothing");
    is_int(person_drop(&zb, &cb, &old, ""), NOTFOUND, "at all");
    ok(fanout_member_get(&zb, &cb, 100, &(fanout_zstr_t)
                         { NULL, 0 }, &m, buf) == OK
       && is_str_of(m.data, "new") && !m.lingers, "the member is as it was");

    is_int(person_resume(&za, &p[0]), OK, "the same worker");
    ok(fanout_slot_orders(&za, o, 8) == 1 && o[0].client == 100,
       "tells itself");

    for (i = 0; i < 100; i++) {
        (void) person_resume(i % 2 ? &za : &zb, &p[0]);
        person_end(i % 2 ? &za : &zb, &p[0], 1000);
        n = fanout_slot_orders(i % 2 ? &zb : &za, o, 8);
    }

    is_int(n, 0, "none for one that had ended");
    ok(settled(&zb) && mirrors[1].n == 2, "nobody saw anything of it");
    checked(&za, "after many resumes");

    /* a worker that goes leaves nobody behind */

    is_int(person_resume(&zb, &p[0]), OK, "once more");
    fanout_slot_release(&zb);
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 1 && seen[0].client == 100,
       "its clients leave with a worker");

    for (i = 0; i < 20; i++) {
        fanout_channel_close(&za, &more[i]);
        free((void *) more[i].name.data);
    }

    stop(4 * MB, "resumes");
}


/* another info for one who goes on */

static void
renews(void)
{
    put_t     r;
    person_t  p[3];

    start(4 * MB);
    people(p, 3);

    (void) person_put(&za, &ca, &p[0], "k", "x", ENTER | DATA, &r);
    (void) flush_all(&za);
    (void) drain(&za);

    is_int(person_renew(&za, &p[0], "is another"), OK, "another info");
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 2
       && seen[0].change == FANOUT_UPDATED
       && seen[1].change == FANOUT_UPDATED
       && seen[0].client == p[0].id.client
       && seen[0].info.len == strlen("is another"),
       "each of its members is told, with it");

    is_int(person_renew(&za, &p[0], "is another"), OK, "the same");
    ok(drain(&za) == OK && nseen == 0
       && fanout_presence_flush(&za) == UINT32_MAX,
       "is nothing to be told");

    is_int(person_renew(&zb, &p[0], "x"), STALE, "not by another worker");

    is_int(person_renew(&za, &p[0], ""), OK, "none");
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 2 && seen[0].info.len == 0, "is told");

    person_end(&za, &p[0], 120000);
    is_int(person_resume(&zb, &p[0]), OK, "resumed by another worker");
    is_int(person_renew(&zb, &p[0], "back"), OK, "with another");
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 2
       && seen[0].info.len == strlen("back"), "is told");
    is_int(person_renew(&zb, &p[0], "back"), OK, "and again");
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 0, "once");

    /* who was away when it changed, and is back before the leave is told */

    is_int(person_drop(&zb, &cb, &p[0], "k"), OK, "a member leaves");
    is_int(person_renew(&zb, &p[0], "meanwhile"), OK, "another info");
    (void) person_put(&zb, &cb, &p[0], "k", "x", ENTER | DATA, &r);
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 2
       && seen[0].change == FANOUT_UPDATED && seen[0].key.len == 1
       && seen[0].info.len == strlen("meanwhile"),
       "is told of the member that left and came back before");

    fanout_seat_close(&zb, &cb, p[0].ref, &p[0].id, FANOUT_LEFT_INTENTIONAL);
    is_int(person_renew(&zb, &p[0], "and off"), OK, "off the channel");
    is_int(person_sit(&zb, &cb, &p[0]), OK, "and on it again");
    (void) person_put(&zb, &cb, &p[0], "k", "x", ENTER | DATA, &r);
    (void) flush_all(&za);
    ok(drain(&za) == OK && nseen == 2
       && seen[0].change == FANOUT_UPDATED && seen[0].key.len == 1
       && seen[0].info.len == strlen("and off"), "is told as well");

    checked(&za, "after that");

    stop(4 * MB, "renews");
}


/* each for its own time, whoever was cut before */

static void
lingers_apart(void)
{
    stat_t    st;
    person_t  p[4], back;
    unsigned  i;

    static const uint32_t  linger[] = { 1000, 300, 5, 600 };
    static const uint32_t  at[] = { 5, 4, 291, 4, 296, 4, 391, 9 };
    static const unsigned  left[] = { 4, 3, 3, 2, 2, 1, 1, 0 };

    start(2 * MB);
    people(p, 4);

    for (i = 0; i < 4; i++) {
        person_end(&za, &p[i], linger[i] * 1000);
    }

    for (i = 0; i < 8; i++) {
        fanout_test_seconds += at[i];
        (void) sweep_all(&za);
        (void) flush_all(&za);
        fanout_zone_stat(&za, &st);
        ok(st.lingering == left[i] && st.nidentities == left[i],
           "%u of four after so long", left[i]);
        checked(&za, "lingers apart");

        if (i == 5) {
            back = p[0];
            is_int(person_resume(&zb, &back), OK, "it may still come back");
            person_end(&zb, &back, 396 * 1000);
        }
    }

    (void) settled(&za);
    stop(2 * MB, "lingers apart");
}


/* an answer that was lost: the same secret once more, and again */

static void
lost_answers(void)
{
    order_t   o[8];
    zone_t   *z;
    person_t  p[1], was, last, void_one;
    unsigned  i, n;

    start(2 * MB);
    people(p, 1);
    (void) drain(&zb);
    was = last = p[0];

    for (i = 0; i < 7; i++) {
        z = i & 1 ? &za : &zb;
        p[0] = was;

        is_int(person_resume(z, &p[0]), OK, "try %u", i + 1);
        ok(memcmp(p[0].id.secret, was.id.secret, 16) != 0
           && memcmp(p[0].id.secret, last.id.secret, 16) != 0,
           "has another secret");
        n = fanout_slot_orders(i & 1 ? &zb : &za, o, 8);
        ok(i == 4 ? n == 0
                  : n == 1 && o[0].op == FANOUT_ORDER_REPLACED,
           "takes over from the one before");
        ok(i == 0 || fanout_identity_lost(i & 1 ? &zb : &za,
                                          last.ref, &last.id),
           "which is told so");
        ok(!fanout_identity_known(z, &was.id),
           "nobody may speak by the secret before");
        ok(fanout_identity_stays(z, &p[0].id)
           && !fanout_identity_stays(z, &was.id),
           "to ask whether it is there proves nothing");

        if (i) {
            /* nor prove anything */
            fanout_identity_confirm(i & 1 ? &zb : &za, last.ref, &last.id);
        }

        if (i == 3) {
            /* cut before it was told */
            person_end(z, &p[0], 5000);
        }

        last = p[0];
    }

    p[0] = was;
    is_int(person_resume(&za, &p[0]), NOTFOUND, "that was the last try");
    ok(settled(&za) && nseen == 0, "nobody saw anything of it");

    /* the last that was given goes on, and is a first one itself */

    p[0] = last;
    is_int(person_resume(&za, &p[0]), OK, "the last secret is good");
    is_int(person_resume(&za, &was), NOTFOUND, "the first is not");
    was = last;
    last = p[0];
    p[0] = was;
    is_int(person_resume(&zb, &p[0]), OK, "it may be tried again");
    void_one = last;
    is_int(person_resume(&za, &void_one), NOTFOUND,
           "what the try before was given is void");

    fanout_identity_confirm(&zb, p[0].ref, &p[0].id);
    void_one = was;
    is_int(person_resume(&za, &void_one), NOTFOUND, "until it is proved");

    /* by its use */

    was = p[0];
    is_int(person_resume(&zb, &p[0]), OK, "once more");
    ok(fanout_identity_known(&za, &p[0].id), "known");
    void_one = was;
    is_int(person_resume(&za, &void_one), NOTFOUND, "is proved");

    /* kept */

    was = p[0];
    is_int(fanout_identity_resume(&za, &p[0].id, 1, p[0].id.secret,
                                  &p[0].ref), OK, "to be kept");
    ok(memcmp(p[0].id.secret, was.id.secret, 16) == 0, "it is the same");
    is_int(person_resume(&zb, &p[0]), OK, "then another");
    p[0] = was;
    is_int(fanout_identity_resume(&za, &p[0].id, 1, p[0].id.secret,
                                  &p[0].ref), OK,
           "who keeps one that is not the last");
    ok(memcmp(p[0].id.secret, was.id.secret, 16) != 0, "gets another");

    /* of one that is too old neither is good */

    person_end(&za, &p[0], 5000);
    fanout_test_seconds += 7;
    is_int(person_resume(&za, &was), NOTFOUND, "not when it is too old");
    checked(&za, "lost answers");
    fanout_test_seconds += 100;
    (void) sweep_all(&za);
    (void) settled(&za);

    stop(2 * MB, "lost answers");
}


void
lives(void)
{
    cuts();
    goes();
    no_linger();
    wheel();
    resumes();
    renews();
    lost_answers();
    lingers_apart();
}
