/*
 * Cuts, resumes, takeovers, kicks, and what of it happens when the zone is
 * full: part of zone_presence_test.c.
 */


#define NETWORK      FANOUT_LEFT_NETWORK
#define KICKED       FANOUT_LEFT_KICKED
#define INTENTIONAL  FANOUT_LEFT_INTENTIONAL


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


static void
pass_by(uint32_t seconds)
{
    fanout_test_seconds += seconds;
    (void) sweep_all(&za);
    (void) flush_all(&za);
}


/* n clients of za, each a member; they are told */

static void
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

    fanout_seat_close(&zb, &cb, old.ref, &old.id, INTENTIONAL);
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


static void
kicks(void)
{
    order_t   o[8];
    stat_t    st;
    policy_t  none = { .history = 0 };
    person_t  p[4];
    channel_t c;

    start(2 * MB);
    people(p, 4);

    is_int(fanout_seat_kick(&zb, &cb, 100, KICKED), OK, "a kick");
    ok(fanout_slot_orders(&za, o, 8) == 1
       && o[0].op == FANOUT_ORDER_REMOVE && o[0].client == 100
       && o[0].local == 7 && o[0].reason == KICKED, "is an order");
    is_int(fanout_seat_kick(&zb, &cb, 100, KICKED), NOTFOUND,
           "once");
    is_int(person_put(&za, &ca, &p[0], "", "", ENTER, NULL), NOTFOUND,
           "the seat is gone");
    (void) flush_all(&zb);
    ok(drain(&zb) == OK && nseen == 1 && seen[0].change == LEFT
       && seen[0].reason == KICKED, "and all are told");

    person_end(&za, &p[1], 120000);
    is_int(fanout_seat_kick(&zb, &cb, 101, KICKED), OK,
           "one that lingers");
    is_int(fanout_slot_orders(&za, o, 8), 0, "needs no order");
    is_int(person_resume(&za, &p[1]), OK, "and comes back");
    is_int(person_put(&za, &ca, &p[1], "", "", ENTER, NULL), NOTFOUND,
           "without its seat");

    c = view(&zb, "no such", &none);
    is_int(fanout_seat_kick(&zb, &c, 101, KICKED), NOTFOUND,
           "no such channel");
    is_int(fanout_seat_kick(&zb, &cb, 999, KICKED), NOTFOUND,
           "no such client");

    is_int(fanout_client_disconnect(&zb, 102, 4003), OK,
           "a client is sent away");
    ok(fanout_slot_orders(&za, o, 8) == 1
       && o[0].op == FANOUT_ORDER_DISCONNECT && o[0].client == 102
       && o[0].code == 4003, "by an order");
    is_int(person_resume(&za, &p[2]), NOTFOUND, "and can't come back");

    person_end(&za, &p[3], 120000);
    is_int(fanout_client_disconnect(&zb, 103, 4003), OK,
           "one that lingers");
    is_int(person_resume(&za, &p[3]), NOTFOUND, "is forgotten");
    is_int(fanout_client_disconnect(&zb, 103, 4003), NOTFOUND,
           "once");
    (void) flush_all(&zb);
    ok(drain(&zb) == OK && nseen == 3 && seen[1].client == 102
       && seen[2].client == 103 && seen[2].reason == KICKED, "both have left");
    is_int(fanout_client_disconnect(&zb, 999, 4003), NOTFOUND,
           "no such client to send away");

    fanout_zone_stat(&za, &st);
    ok(settled(&zb) && mirrors[1].n == 0 && st.nseats == 0, "nobody is left");
    stop(2 * MB, "kicks");
}


static void
asking(void)
{
    int       rc, good, rounds;
    char      name[300];
    uint8_t   names[7][256], lens[7], text[255 + FANOUT_ZONE_INFO];
    uint32_t  at, found;
    uint64_t  cursor, user, clients[7], bits[4];
    unsigned  i, n;
    client_t  c;
    person_t  p, all[200];
    channel_t channel_of[20];

    start(4 * MB);

    is_int(person_add(&za, &p, 5, "ann", "some info", 2), OK, "a client");
    ok(fanout_client_get(&zb, 5, &c, text) == OK
       && c.client == 5 && is_str_of(c.user, "ann")
       && is_str_of(c.info, "some info") && c.pid == 1 && c.seats == 0,
       "and what is known of it");
    is_int(fanout_client_get(&zb, 6, &c, text), NOTFOUND,
           "another is not known");
    at = 0;
    ok(fanout_client_channels(&zb, 5, &at, names, lens, 7, &n) == OK
       && n == 0 && at == 0, "no channels");
    is_int(fanout_client_channels(&zb, 6, &at, names, lens, 7, &n),
           NOTFOUND, "of nobody");

    for (i = 0; i < 20; i++) {
        memset(name, 'x', sizeof(name));
        name[sprintf(name, "%02u", i)] = 'x';
        name[i == 19 ? 255 : 10 + i * 11] = '\0';
        channel_of[i] = view(&za, strdup(name), ca.policy);
        (void) fanout_channel_open(&za, &channel_of[i], i);
        (void) person_sit(&za, &channel_of[i], &p);
    }

    for (at = 0, found = 0, rounds = 0, good = 1; rounds < 10; rounds++) {
        rc = fanout_client_channels(&zb, 5, &at, names, lens, 7, &n);
        good &= rc == OK;

        for (i = 0; i < n; i++) {
            rc = names[i][0] * 10 + names[i][1] - '0' * 11;
            good &= (found & 1U << rc) == 0
                    && lens[i] == channel_of[rc].name.len
                    && memcmp(names[i], channel_of[rc].name.data, lens[i])
                       == 0;
            found |= 1U << rc;
        }

        if (at == 0) {
            break;
        }
    }

    ok(good && found == 0xfffff && rounds == 2, "twenty channels, by seven");
    (void) fanout_client_get(&zb, 5, &c, text);
    is_int(c.seats, 20, "seats");

    /* clients of a user */

    is_int(person_add(&za, &all[0], 1000, "ann", "", 2), OK, "two may be");
    is_int(person_add(&za, &all[1], 1001, "ann", "", 2), CONFLICT,
           "three may not");
    person_end(&za, &all[0], 50000);
    is_int(person_add(&za, &all[1], 1001, "ann", "", 2), CONFLICT,
           "who lingers counts");
    (void) fanout_client_get(&zb, 1000, &c, text);
    is_int(c.pid, 0, "and has no worker");
    (void) fanout_client_disconnect(&za, 1000, 1);

    (void) person_sit(&za, &ca, &p);
    (void) person_put(&za, &ca, &p, "", "", ENTER, NULL);
    (void) flush_all(&za);
    is_int(person_add(&za, &all[0], 1000, "ann", "", 2), OK, "two again");
    (void) person_sit(&za, &ca, &all[0]);
    (void) person_put(&za, &ca, &all[0], "", "", ENTER, NULL);
    (void) flush_all(&za);
    person_end(&za, &all[0], 0);
    is_int(fanout_client_get(&zb, 1000, &c, text), NOTFOUND,
           "one has ended, and is to be told");
    is_int(person_add(&za, &all[0], 1002, "ann", "", 2), OK,
           "it counts no more");
    is_int(person_add(&za, &all[1], 1003, "ann", "", 2), CONFLICT, "three");

    for (i = 0; i < 200; i++) {
        (void) person_add(i & 1 ? &za : &zb, &all[i], 5000 + i, "bob", "", 0);
    }

    user = all[0].id.user;
    cursor = 0;
    good = 1;
    rounds = 0;
    memset(bits, 0, sizeof(bits));

    do {
        good &= fanout_user_clients(&zb, user, &cursor, clients, 7,
                                    &n) == OK && n <= 7;

        for (i = 0; i < n; i++) {
            clients[i] -= 5000;
            good &= clients[i] < 200
                    && (bits[clients[i] / 64] & 1ULL << clients[i] % 64) == 0;
            bits[clients[i] / 64] |= 1ULL << clients[i] % 64;
        }

    } while (cursor && ++rounds < 100);

    ok(good && bits[0] == ~0ULL && bits[2] == ~0ULL && bits[3] == 0xff
       && rounds == 28, "200 clients, by seven");

    for (i = 0; i < 200; i++) {
        person_end(i & 1 ? &za : &zb, &all[i], i % 3 ? 0 : 1000);
    }

    cursor = 0;
    ok(fanout_user_clients(&zb, user, &cursor, clients, 7, &n) == OK
       && n == 7, "those that linger are left");
    pass_by(3);
    cursor = 0;
    is_int(fanout_user_clients(&zb, user, &cursor, clients, 7, &n),
           NOTFOUND, "and then none");
    is_int(fanout_user_clients(&zb, 0, &cursor, clients, 7, &n),
           NOTFOUND, "nobody has no name");

    person_end(&za, &p, 0);

    for (i = 0; i < 20; i++) {
        fanout_channel_close(&za, &channel_of[i]);
        free((void *) channel_of[i].name.data);
    }

    stop(4 * MB, "asking");
}


/* Takes all blocks that can be had, by what nothing can evict. */

static person_t  *stones;
static unsigned   nstones;

static void
fill_zone(zone_t *z)
{
    char      info[4000];
    unsigned  len;

    stones = calloc(40000, sizeof(person_t));
    nstones = 0;
    memset(info, 'i', sizeof(info));

    for (len = 3900; ; len = len > 200 ? len / 2 : 0) {
        info[len] = '\0';

        while (person_add(z, &stones[nstones], 1000000 + nstones, "", info, 0)
               == OK)
        {
            nstones++;
        }

        if (len == 0) {
            break;
        }

        info[len] = 'i';
    }

    /* to the last one */

    while (free_blocks(z)
           && fanout_identity_resume(z, &stones[0].id, 1, stones[0].id.secret,
                                     &stones[0].ref)
              == OK) { /* void */ }
}


static void
empty_zone(zone_t *z)
{
    order_t  o[64];

    while (fanout_slot_orders(z, o, 64)) { /* void */ }

    while (nstones) {
        person_end(z, &stones[--nstones], 0);
    }

    free(stones);
}


/* a message of za to the channel, to have something between */

static int
say(const char *text)
{
    result_t   r;
    message_t  m;

    memset(&m, 0, sizeof(m));
    m.data = zstr(text, strlen(text));
    m.flags = FANOUT_TRANSIENT;

    return fanout_log_publish(&za, &ca, &m, 1, NULL, &r);
}


static void
full_zone(void)
{
    put_t     r;
    stat_t    st;
    person_t  p[6], late;

    start(MB);
    people(p, 6);

    fill_zone(&zb);
    fanout_zone_stat(&za, &st);
    is_int(st.free, 0, "not a block is free");

    is_int(person_put(&za, &ca, &p[0], "k", "", ENTER, &r), FULL,
           "no member comes");
    is_int(person_put(&za, &ca, &p[0], "", "0123456789abcdef", DATA, &r), FULL,
           "none changes");
    is_int(person_add(&za, &late, 7, "", "", 0), FULL, "no client either");

    is_int(person_drop(&za, &ca, &p[0], ""), OK, "but one leaves");
    (void) flush_all(&za);
    ok(drain(&zb) == OK && nseen == 0 && gaps == 1,
       "what no entry tells is a gap");
    ok(drain(&za) == OK && gaps == 1, "to all who read");
    is_int(members_now(&za, NULL), 5, "it has left");
    ok(settled(&za) && settled(&zb) && mirrors[1].n == 5,
       "and they read it");

    fanout_zone_stat(&za, &st);
    ok(st.free > 0, "what it had is free");
    (void) say("x");
    fanout_zone_stat(&za, &st);

    /* several go, with their seats, by all the ways there are */

    empty_zone(&zb);
    fill_zone(&zb);
    person_end(&za, &p[1], 0);
    is_int(fanout_seat_kick(&zb, &cb, 102, KICKED), OK,
           "a kick needs no block");
    fanout_seat_close(&za, &ca, p[2].ref, &p[2].id, INTENTIONAL);
    (void) flush_all(&zb);
    ok(drain(&zb) == OK && gaps == 1, "again a gap");
    ok(settled(&za) && settled(&zb) && mirrors[1].n == 3, "three are left");

    /* lost behind what is unread, and followed by more: in its place */

    empty_zone(&zb);
    ok(say("before") == OK, "a message");
    fill_zone(&zb);
    (void) person_drop(&za, &ca, &p[3], "");
    (void) flush_all(&za);
    empty_zone(&zb);
    ok(person_put(&za, &ca, &p[3], "", "again", ENTER|DATA, &r) == OK,
       "back again");
    (void) flush_all(&za);
    ok(say("after") == OK, "another message");
    ok(drain(&zb) == OK && gaps == 1 && nseen == 1,
       "the gap comes where it belongs");
    ok(drain(&za) == OK && gaps == 1, "for each");
    ok(settled(&za) && settled(&zb) && mirrors[1].n == 3, "three again");

    /* lost with nothing unread, and then a message */

    fill_zone(&zb);
    (void) person_drop(&za, &ca, &p[3], "");
    (void) flush_all(&za);
    empty_zone(&zb);
    (void) person_put(&za, &ca, &p[3], "", "again", ENTER|DATA, &r);
    (void) flush_all(&za);
    ok(drain(&zb) == OK && gaps == 1 && nseen == 1, "the gap comes first");
    ok(arena.n == 0 || arena.entries[arena.n - 1].type
                       != FANOUT_GAP, "and not again");
    ok(settled(&za) && settled(&zb) && mirrors[1].n == 3, "three still");

    /* lost, and then all is purged */

    fill_zone(&zb);
    (void) person_drop(&za, &ca, &p[3], "");
    (void) flush_all(&za);
    empty_zone(&zb);
    (void) fanout_channel_purge(&za, &ca, NULL, 0, &(result_t) { 0 });
    (void) person_put(&za, &ca, &p[3], "", "again", ENTER|DATA, &r);
    (void) flush_all(&za);
    (void) drain(&zb);
    (void) mirror_read(&mirrors[0], &za, &ca);
    (void) mirror_read(&mirrors[1], &zb, &cb);
    ok(settled(&za) && settled(&zb) && mirrors[1].n == 3, "and three");

    stop(MB, "a full zone");
}


/* a full mailbox lost the newest, and then the oldest */

static void
lost_mail(void)
{
    unsigned   i;
    uint64_t   lost;
    policy_t   long_linger = presence;
    person_t   p[2];
    result_t   r;
    message_t  m;

    long_linger.linger = 1000;
    start_as(2 * MB, &long_linger);
    people(p, 2);
    person_end(&za, &p[0], 1000000);

    memset(&m, 0, sizeof(m));
    m.data = zstr("psst", 4);
    m.to_user = p[0].id.user;
    r.offset = 0;

    for (i = 0; i <= FANOUT_ZONE_MAIL; i++) {
        (void) fanout_log_publish(&zb, &cb, &m, 1, NULL, &r);
        fanout_test_seconds += i == 0 ? 2 : 0;
    }

    ok(r.delivered == 1 && r.pending == 0, "a mailbox is full");

    for (i = 0; i < 2; i++) {
        arena_reset(&arena);
        (void) fanout_mail_read(&zb, &cb, &p[0].id, r.offset - 1, UINT64_MAX,
                                &arena, &lost);
        ok(lost == r.offset && arena.n == 0, "what it did not take is lost%s",
           i ? ", also when what is older goes" : "");
        pass_by(299);
    }

    stop(2 * MB, "lost mail");
}


/* Mailboxes of a crowd are cleared before the section that fills them; but for
 * a publish that is refused or a duplicate nobody loses a message. */

static void
crowd_mail(void)
{
    int         rc;
    unsigned    i, n;
    uint64_t    lost;
    person_t    p[100];
    result_t    r;
    publish_t   opts;
    message_t   m;

    start(16 * MB);
    rc = 0;

    for (i = 0; i < 100; i++) {
        rc |= person_add(&za, &p[i], 1000 + i, "crowd", "", 0);
        rc |= person_sit(&za, &ca, &p[i]);
    }

    memset(&m, 0, sizeof(m));
    m.data = zstr("psst", 4);
    m.to_user = p[0].id.user;
    memset(&opts, 0, sizeof(opts));
    opts.key = zstr("key", 3);

    for (i = 0; i < FANOUT_ZONE_MAIL; i++) {
        rc |= fanout_log_publish(&zb, &cb, &m, 1, i == 0 ? &opts : NULL, &r);
        rc |= r.delivered != 100;
    }

    is_int(rc, 0, "100 clients of a user with full mailboxes");

    is_int(fanout_log_publish(&zb, &cb, &m, 1, &opts, &r), OK, "a duplicate");
    ok(r.duplicate, "is one");

    memset(&opts, 0, sizeof(opts));
    opts.if_set = 1;
    opts.if_offset = 999999;
    is_int(fanout_log_publish(&zb, &cb, &m, 1, &opts, &r), CONFLICT,
           "a conflict");

    for (n = 0, i = 0; i < 100; i++) {
        arena_reset(&arena);
        (void) fanout_mail_read(&za, &ca, &p[i].id, 0, UINT64_MAX, &arena,
                                &lost);
        n += arena.n == FANOUT_ZONE_MAIL && lost == 0;
    }

    is_int(n, 100, "took nothing from any of them");

    is_int(fanout_log_publish(&zb, &cb, &m, 1, NULL, &r), OK, "another one");
    is_int(r.delivered, 100, "gets to all");

    for (n = 0, i = 0; i < 100; i++) {
        arena_reset(&arena);
        (void) fanout_mail_read(&za, &ca, &p[i].id, 0, UINT64_MAX, &arena,
                                &lost);
        n += arena.n == FANOUT_ZONE_MAIL && lost != 0;
    }

    is_int(n, 100, "in the place of the oldest");

    stop(16 * MB, "mail of a crowd");
}


/* who is replaced, disconnected, kicked when there is no block to say so */

static void
no_orders(void)
{
    order_t   o[8];
    person_t  p[4], was;

    start(MB);
    people(p, 4);
    fill_zone(&zb);
    (void) fanout_slot_orders(&za, o, 8);
    (void) say("x");

    was = p[0];
    is_int(free_blocks(&za), 0, "nothing is free");
    is_int(person_resume(&zb, &p[0]), OK, "a live one is resumed");
    is_int(fanout_client_disconnect(&zb, 101, 4444), OK,
           "another disconnected");
    fill_zone(&zb);
    is_int(fanout_seat_kick(&zb, &cb, 102, KICKED), OK,
           "a third one kicked");
    ok(fanout_slot_orders(&za, o, 8) >= 1
       && o[0].op == FANOUT_ORDER_LOOK, "their worker is to look");
    is_int(fanout_identity_lost(&za, was.ref, &was.id),
           FANOUT_ORDER_REPLACED, "at who was replaced");
    is_int(fanout_identity_lost(&za, p[1].ref, &p[1].id),
           FANOUT_ORDER_DISCONNECT, "who was disconnected");
    is_int(fanout_identity_lost(&za, p[2].ref, &p[2].id), 0,
           "who was not");
    is_int(fanout_seat_lost(&za, &ca, p[2].ref, &p[2].id), 1,
           "but has no seat any more");
    is_int(fanout_seat_lost(&za, &ca, p[3].ref, &p[3].id), 0,
           "and who still has one");
    is_int(fanout_slot_orders(&za, o, 8), 0, "once");
    is_int(person_sit(&zb, &cb, &p[0]), OK, "who came back sits down");
    is_int(person_resume(&za, &p[1]), NOTFOUND, "who was sent away can't");
    empty_zone(&zb);
    checked(&za, "no orders");
    ok(settled(&za) && settled(&zb) && mirrors[1].n == 2, "two are left");

    stop(MB, "no orders");
}


/* a subscriber leaves out what is not above the seq of its join */

static void
gap_seq(void)
{
    join_t    j;
    person_t  p[2];
    channel_t other;

    start(MB);
    people(p, 2);
    other = view(&za, "other", ca.policy);
    (void) put(&za, &other, 1, 10, 0, NULL, &(result_t) { 0 });
    (void) put(&za, &other, 1, 10, 0, NULL, &(result_t) { 0 });
    (void) fanout_log_join(&zb, &cb, 0, 0, 0, 0, &j);

    fill_zone(&za);
    (void) person_drop(&za, &ca, &p[1], "");
    (void) flush_all(&za);
    arena_reset(&arena);
    (void) fanout_log_drain(&zb, &arena);
    ok(arena.n == 1 && arena.entries[0].type == FANOUT_GAP
       && arena.entries[0].seq > j.seq,
       "a gap is later than the joins before it");
    empty_zone(&za);

    stop(MB, "the seq of a gap");
}


static void
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
    lost_mail();
    crowd_mail();
    kicks();
    asking();
    full_zone();
    no_orders();
    gap_seq();
}
