/*
 * Kicks, mail, and what of a session happens when the zone is full.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence_suite.h"


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


void
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


void
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


/* a direct message by a sender, 0: the backend */

static int
mail_from(uint64_t sender, const person_t *p, int to_user, result_t *r)
{
    message_t  m;
    publish_t  opts;

    memset(&m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    m.data = zstr("psst", 4);
    m.to_client = to_user ? 0 : p->id.client;
    m.to_user = to_user ? p->id.user : 0;
    opts.sender = sender;

    return fanout_log_publish(&zb, &cb, &m, 1, &opts, r);
}


/* how many of n messages of a sender a client's mailbox takes, one by one */

static unsigned
mail_taken(uint64_t sender, const person_t *p, unsigned n)
{
    result_t  r;
    unsigned  taken;

    for (taken = 0; n; n--) {
        taken += mail_from(sender, p, 0, &r) == OK && r.pending == 1;
    }

    return taken;
}


static uint64_t
mail_dropped(void)
{
    stat_t  st;

    fanout_zone_stat(&zb, &st);

    return st.mail_dropped;
}


/* One sender fills the mailbox of a client that is away, and others share
 * it. */

static void
fair_mail(void)
{
    uint64_t  lost;
    person_t  p[2];
    policy_t  long_linger = presence;
    result_t  r, first;

    long_linger.linger = 1000;
    start_as(2 * MB, &long_linger);
    people(p, 2);
    person_end(&za, &p[0], 1000000);

    (void) mail_from(3, &p[0], 0, &first);
    is_int(mail_taken(3, &p[0], 200), FANOUT_ZONE_MAIL - 1,
           "one sender fills a mailbox");
    is_int(mail_from(3, &p[0], 0, &r), FANOUT_ZONE_MANY,
           "and displaces nothing of its own");
    is_int(mail_dropped(), 0, "nothing is dropped");

    is_int(mail_from(5, &p[0], 0, &r), OK, "another sends to it");
    ok(r.delivered == 0 && r.pending == 1, "which is pending");
    is_int(mail_dropped(), 1, "in the place of one");

    arena_reset(&arena);
    (void) fanout_mail_read(&zb, &cb, &p[0].id, 0, UINT64_MAX, &arena, &lost);
    ok(arena.n == FANOUT_ZONE_MAIL && lost == first.offset
       && arena.entries[0].offset == first.offset + 1
       && arena.entries[arena.n - 1].offset == r.offset,
       "the oldest, which is told to be lost");
    checked(&za, "one is displaced");

    is_int(mail_taken(3, &p[0], 5), 0, "the first is refused");
    is_int(mail_taken(5, &p[0], 100), FANOUT_ZONE_MAIL / 2 - 1,
           "the other gets a half");
    is_int(mail_taken(3, &p[0], 5) + mail_taken(5, &p[0], 5), 0,
           "then both are refused");
    is_int(mail_taken(7, &p[0], 100), FANOUT_ZONE_MAIL / 3,
           "a third one gets a third");
    is_int(mail_taken(3, &p[0], 5) + mail_taken(5, &p[0], 5), 0,
           "which both leave to it");

    is_int(mail_taken(0, &p[0], 100), FANOUT_ZONE_MAIL,
           "the backend gets all");
    is_int(mail_taken(3, &p[0], 5) + mail_taken(9, &p[0], 5), 0,
           "and is not displaced");
    checked(&za, "a mailbox is shared");

    is_int(person_resume(&za, &p[0]), OK, "the client is back");
    is_int(mail_from(3, &p[0], 0, &r), OK, "and gets the newest");
    is_int(r.delivered, 1, "of any sender");

    stop(2 * MB, "fair mail");
}


/* how many messages wait for a client, and the first of them */

static unsigned
mail_waits(const person_t *p, uint64_t *first)
{
    uint64_t  lost;

    arena_reset(&arena);
    (void) fanout_mail_read(&zb, &cb, &p->id, 0, UINT64_MAX, &arena, &lost);
    *first = arena.n ? arena.entries[0].offset : 0;

    return arena.n;
}


/* A client seems live, but is cut already: one that sends much displaces its
 * own, not what others sent before. */

static void
live_mail(void)
{
    uint64_t  at;
    person_t  p[2];
    result_t  r, first, last;

    start(2 * MB);
    people(p, 2);

    (void) mail_from(5, &p[0], 0, &first);

    (void) mail_taken(3, &p[0], 3 * FANOUT_ZONE_MAIL);
    (void) mail_from(3, &p[0], 0, &r);
    ok(mail_waits(&p[0], &at) == FANOUT_ZONE_MAIL && at == first.offset,
       "a live client keeps what another sent before");
    is_int(arena.entries[arena.n - 1].offset, r.offset, "and the newest");

    (void) mail_from(7, &p[0], 0, &last);
    ok(mail_waits(&p[0], &at) == FANOUT_ZONE_MAIL && at == first.offset,
       "nor does a third one displace it");
    checked(&za, "live mail");

    (void) mail_taken(0, &p[0], FANOUT_ZONE_MAIL - 1);
    (void) mail_waits(&p[0], &at);
    is_int(at, last.offset, "the backend displaces the oldest");

    (void) mail_from(3, &p[0], 0, &r);
    (void) mail_waits(&p[0], &at);
    ok(at > last.offset, "also by one that has none there");

    stop(2 * MB, "live mail");
}


/* The same for many clients of a user, and only before the section that fills
 * their mailboxes. */

static void
fair_crowd(unsigned n, const char *what)
{
    int                   rc;
    unsigned              i;
    uint64_t              lost;
    policy_t              long_linger = presence;
    person_t              p[100];
    result_t              r;
    message_t             m;
    fanout_recipients_t  to;

    long_linger.linger = 1000;
    start_as(16 * MB, &long_linger);

    for (rc = 0, i = 0; i < n; i++) {
        rc |= person_add(&za, &p[i], 1000 + i, "crowd", "", 0);
        rc |= person_sit(&za, &ca, &p[i]);
        person_end(&za, &p[i], 1000000);
    }

    for (i = 0; i < FANOUT_ZONE_MAIL; i++) {
        rc |= mail_from(3, &p[0], 1, &r);
        rc |= r.pending != n;
    }

    is_int(rc, 0, "%s: %u full mailboxes", what, n);
    is_int(mail_from(3, &p[0], 1, &r), FANOUT_ZONE_MANY, "%s: of one", what);

    if (n > FANOUT_MAIL_STEP) {
        memset(&m, 0, sizeof(m));
        m.to_user = p[0].id.user;
        (void) fanout_enter(&za);
        is_int(fanout_mail_address(&za, fanout_channel_find(&za, &ca), &m, 0,
                                   5, &to, &r),
               FANOUT_ZONE_MANY, "%s: too many for one section", what);
        fanout_leave(&za);
    }

    is_int(mail_dropped(), 0, "%s: nothing is dropped", what);
    is_int(mail_from(5, &p[0], 1, &r), OK, "%s: another sends", what);
    is_int(r.pending, n, "%s: to all", what);
    is_int(mail_dropped(), n, "%s: one of each is dropped", what);

    for (i = rc = 0; i < n; i++) {
        arena_reset(&arena);
        (void) fanout_mail_read(&za, &ca, &p[i].id, 0, UINT64_MAX, &arena,
                                &lost);
        rc += arena.n == FANOUT_ZONE_MAIL && lost != 0;
    }

    is_int(rc, n, "%s: which all are told", what);

    stop(16 * MB, what);
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


void
full_lives(void)
{
    lost_mail();
    crowd_mail();
    fair_mail();
    live_mail();
    fair_crowd(FANOUT_MAIL_STEP, "fair mail of some");
    fair_crowd(100, "fair mail of a crowd");
    kicks();
    asking();
    full_zone();
    no_orders();
    gap_seq();
}
