/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, who fills the zone with one kind of data, or with channels of
 * one account, takes the place of others: their history, their sessions that
 * wait for a resume, or their publishes.
 */


#include "tap.h"
#include "zone_presence.h"


#define MANY  FANOUT_ZONE_MANY
#define HELD  FANOUT_ZONE_HELD


static void   *zmem;
static zone_t  za, zb;


static void
start(size_t size)
{
    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    zmem = zone_make(size, 300, 120);
    (void) fanout_zone_attach(&za, zmem, size);
    (void) fanout_zone_attach(&zb, zmem, size);
    (void) fanout_slot_claim(&za, 1);
    (void) fanout_slot_claim(&zb, 2);
}


static void
checked(zone_t *z, const char *what)
{
    int   rc;
    char  text[256];

    rc = fanout_zone_verify(z, text, sizeof(text));
    ok(rc == 0, "%s: %s", what, rc ? text : "all invariants hold");
}


/* after which nobody has anything in it but keys and histories */

static void
stop(size_t size, const char *what)
{
    checked(&za, what);
    fanout_slot_release(&za);
    fanout_slot_release(&zb);
    (void) flush_all(&za);
    checked(&za, "released");
    munmap(zmem, size);
}


/* the session ends: its client was heard of, or not */

static void
person_cut(zone_t *z, person_t *p, uint32_t linger, int heard)
{
    fanout_identity_end(z, p->ref, &p->id, linger, heard,
                        FANOUT_LEFT_NETWORK);
}


typedef fanout_zone_shares_t  shares_t;
typedef fanout_zone_account_t   account_t;


static policy_t  victim = { .history = 100, .account = 1 };
static policy_t  attacker = { .history = 100, .account = 2, .presence = 1,
                                .linger = 60 };


/* as by default, with an even part of history for three accounts */

static void
bounded(size_t size)
{
    shares_t  s;
    unsigned  i;

    static const fanout_zone_share_t  kinds[] = {
        { 500, 6000 }, { 200, 1000 }, { 500, 6000 }, { 1000, 6000 },
        { 100, 2500 }, { 100, 500 }, { 100, 2500 }
    };

    start(size);
    memset(&s, 0, sizeof(s));
    memcpy(s.kinds, kinds, sizeof(kinds));

    for (i = 0; i < 3; i++) {
        s.accounts[i].min = 2500 / 3;
        s.accounts[i].max = 10000;
    }

    (void) fanout_zone_account(&za, (uint8_t *) "none", 4);
    (void) fanout_zone_account(&za, (uint8_t *) "victim", 6);
    (void) fanout_zone_account(&za, (uint8_t *) "attacker", 8);
    fanout_zone_bound(&za, &s);
}


static int
publish(const char *name, policy_t *policy, unsigned i, size_t len,
    const char *key)
{
    result_t     r;
    publish_t    opts;
    message_t    m;
    channel_t    c;
    static char  data[20000];

    memset(&m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    snprintf(data, 16, "%u", i);
    m.data = zstr(data, len);
    opts.key = zstr(key, strlen(key));
    c = view(&za, name, policy);

    return fanout_log_publish(&za, &c, &m, 1, &opts, &r);
}


static uint64_t
kept(const char *name)
{
    info_t     info;
    channel_t  c;

    c = view(&zb, name, NULL);

    return fanout_channel_info(&zb, &c, &info) == OK
           ? info.messages : 0;
}


static fanout_share_stat_t
share(unsigned share)
{
    stat_t  st;

    fanout_zone_stat(&zb, &st);

    return st.shares[share];
}


/* whose history is 100 messages, of a bit less than is guaranteed */

static void
settle(void)
{
    unsigned  i;

    for (i = 0; i < 100; i++) {
        (void) publish("victim", &victim, i, 200, "");
    }
}


static void
unharmed(const char *what)
{
    person_t  late;

    is_int(kept("victim"), 100, "%s: the other's history is whole", what);
    is_int(publish("victim", &victim, 1, 200, ""), OK,
           "%s: he publishes", what);
    is_int(publish("victim", &victim, 1, 200, what), OK,
           "%s: with a key", what);
    is_int(publish("another", &victim, 1, 200, ""), OK,
           "%s: on a new channel", what);
    is_int(person_add(&zb, &late, 99, "user", "", 0), OK,
           "%s: and clients come", what);
    person_end(&zb, &late, 0);
}


static void
fill_keys(void)
{
    char      key[16];
    uint64_t  used;
    unsigned  i, refused;

    bounded(4 * MB);
    settle();

    for (i = refused = 0; i < 40000; i++) {
        snprintf(key, sizeof(key), "%u", i);
        refused += publish("attack", &attacker, i, 1, key) == FULL;
    }

    used = share(FANOUT_SHARE_keys).used;
    ok(refused > 0 && used < share(FANOUT_SHARE_keys).max,
       "keys: %u of 40000 were refused", refused);
    is_int(share(FANOUT_SHARE_keys).refused, refused,
           "keys: which is counted");
    is_int(publish("attack", &attacker, 0, 1, "0"), OK,
           "keys: those taken are known, and none was forgotten");
    is_int(share(FANOUT_SHARE_keys).used, used, "keys: one less");
    is_int(publish("attack", &attacker, 0, 1, ""), OK,
           "keys: without one it may publish");
    unharmed("keys");
    checked(&za, "keys");

    /* each on a channel of its own, which it keeps */

    fanout_test_seconds += 1000;
    (void) sweep_all(&za);

    for (i = refused = 0; i < 40000; i++) {
        snprintf(key, sizeof(key), "%u", i);
        refused += publish(key, &attacker, i, 1, key) == FULL;
    }

    ok(refused > 0, "keys and channels: %u were refused", refused);
    unharmed("keys and channels");
    checked(&za, "keys and channels");

    fanout_test_seconds += 1000;
    stop(4 * MB, "keys and channels");
}


static void
fill_channels(void)
{
    char       name[16];
    unsigned   i, refused;
    account_t  account;
    channel_t  c;

    bounded(4 * MB);
    settle();

    for (i = refused = 0; i < 60000; i++) {
        snprintf(name, sizeof(name), "one %u", i);
        refused += publish(name, &attacker, i, 1, "") != OK;
    }

    is_int(refused, 0, "channels: one message each goes on for ever");
    unharmed("channels");
    (void) fanout_zone_get_account(&za, 2, &account);
    ok(account.evicted > 0, "channels: it loses its own");
    checked(&za, "channels");

    for (i = refused = 0; i < 30000; i++) {
        snprintf(name, sizeof(name), "sub %u", i);
        c = view(&za, name, &attacker);
        refused += fanout_channel_open(&za, &c, i) == FULL;
    }

    ok(refused > 0, "subscriptions: %u were refused", refused);
    unharmed("subscriptions");
    checked(&za, "subscriptions");

    for (i = 0; i < 3000; i++) {
        (void) publish("large", &attacker, i, 20000, "");
    }

    unharmed("large messages");
    checked(&za, "large messages");
    stop(4 * MB, "channels");
}


static void
fill_members(void)
{
    char       name[16], key[16], data[4001];
    put_t      r;
    person_t   p;
    unsigned   i, k, refused;
    channel_t  c, v;

    bounded(4 * MB);
    settle();
    (void) person_add(&za, &p, 1, "", "", 0);
    memset(data, 'd', sizeof(data));
    data[4000] = '\0';

    for (i = refused = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "room %u", i);
        c = view(&za, name, &attacker);
        (void) fanout_channel_open(&za, &c, i);
        (void) person_sit(&za, &c, &p);

        for (k = 0; k < 32; k++) {
            snprintf(key, sizeof(key), "%u", k);
            refused += person_put(&za, &c, &p, key, data, ENTER|DATA, &r)
                       == FULL;
        }
    }

    ok(refused > 0, "members: %u of 1600 were refused", refused);
    ok(share(FANOUT_SHARE_members).used
       <= share(FANOUT_SHARE_members).max * 8 / 10 + 100,
       "members: they have four fifths");
    unharmed("members");
    checked(&za, "members");

    /* others have the last fifth */

    victim.presence = 1;
    v = view(&zb, "theirs", &victim);
    (void) fanout_channel_open(&zb, &v, 0);
    (void) person_add(&zb, &p, 2, "", "", 0);
    is_int(person_sit(&zb, &v, &p), OK, "members: another sits down");
    is_int(person_put(&zb, &v, &p, "", data, ENTER|DATA, &r), OK,
           "members: and is present");
    is_int(person_put(&zb, &v, &p, "", "new", DATA, &r), OK,
           "members: and changes");
    victim.presence = 0;
    checked(&za, "members of others");
    stop(4 * MB, "members");
}


static int
publish_on(const char *name, uint64_t address, uint64_t sender, unsigned i,
    result_t *r)
{
    char       key[16];
    message_t  m;
    channel_t  c;
    publish_t  opts;

    memset(&m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    snprintf(key, sizeof(key), "%u", i);
    m.data = zstr("1", 1);
    opts.key = zstr(key, strlen(key));
    opts.scope = opts.key;
    opts.address = address;
    opts.sender = sender;
    c = view(&za, name, &attacker);

    return fanout_log_publish(&za, &c, &m, 1, &opts, r);
}


static int
publish_by(uint64_t address, uint64_t sender, unsigned i, result_t *r)
{
    return publish_on("keys", address, sender, i, r);
}


/* keys until no more are given */

static unsigned
keys_by(uint64_t address, uint64_t sender, unsigned from, result_t *r)
{
    unsigned  n;

    for (n = 0; n < 20000; n++) {
        if (publish_by(address, sender, from + n, r) != OK) {
            break;
        }
    }

    return n;
}


/* Who publishes with as many keys as there are: a user from one address, from
 * another, others of the same address, and who is not limited. */

static void
fill_keys_of_one(void)
{
    unsigned  max, n, used;
    shares_t  shares;
    result_t  r;

    start(4 * MB);
    memset(&shares, 0, sizeof(shares));
    shares.kinds[FANOUT_SHARE_keys].max = 1000;
    shares.address = 5000;
    shares.user = 2500;
    fanout_zone_bound(&za, &shares);
    max = share(FANOUT_SHARE_keys).max;

    n = keys_by(3, 5, 0, &r);
    is_int(n, max / 5,
           "keys of one: a user has a quarter of what an account may");
    is_int(publish_by(3, 5, 99999, &r), HELD, "keys of one: and no more");
    ok(r.by_sender, "keys of one: for himself, not for his address");
    is_int(r.wait, 121000, "keys of one: until the first expires");
    is_int(share(FANOUT_SHARE_keys).refused, 0,
           "keys of one: the share has not refused any");
    is_int(publish_by(4, 5, 99999, &r), HELD,
           "keys of one: nor from another address");
    is_int(publish_by(3, 5, 0, &r), OK, "keys of one: what he sent is known");
    is_int(r.duplicate, 1, "keys of one: as a duplicate");
    is_int(publish("keys", &attacker, 1, 1, ""), OK,
           "keys of one: without a key he may");
    checked(&za, "keys of one");

    n += keys_by(3, 6, 20000, &r);
    ok(n > max / 3 && n <= max * 2 / 5, "keys of one: another of the address");
    n += keys_by(3, 7, 40000, &r);
    ok(n <= max * 2 / 5, "keys of one: three have at most half of that");
    ok(!r.by_sender, "keys of one: the third for the address");

    is_int(publish_by(4, 9, 1, &r), OK, "keys of one: another address may");
    is_int(publish_by(0, 0, 1, &r), OK, "keys of one: so may the backend");
    used = share(FANOUT_SHARE_keys).used;
    is_int(keys_by(0, 0, 60000, &r), max * 4 / 5 - used,
           "keys of one: who is not limited has all that its account may");
    checked(&za, "keys of one: full");

    is_int(publish_by(3, 5, 99999, &r), FULL,
           "keys of one: then it is the share that is full");
    is_int(publish_by(5, 10, 99999, &r), FULL, "keys of one: for all");

    fanout_test_seconds += 122;
    (void) sweep_all(&za);
    checked(&za, "keys of one: expired");
    is_int(keys_by(3, 5, 80000, &r), max / 5, "keys of one: has them again");

    shares.user = 0;
    fanout_zone_bound(&za, &shares);
    is_int(publish_by(3, 5, 99999, &r), OK, "keys of one: if it is bounded");
    fanout_test_seconds += 1000;
    stop(4 * MB, "keys of one");
}


/* Many addresses, each with all the keys that it may have, never take those of
 * others of the account. */

static void
fill_keys_of_many(void)
{
    unsigned  a, max;
    shares_t  shares;
    result_t  r;

    start(4 * MB);
    memset(&shares, 0, sizeof(shares));
    shares.kinds[FANOUT_SHARE_keys].max = 1000;
    shares.address = 5000;
    fanout_zone_bound(&za, &shares);
    max = share(FANOUT_SHARE_keys).max;

    for (a = 1; a <= 6; a++) {
        (void) keys_by(a, a, a * 20000, &r);
        is_int(publish_by(a, a, a * 20000 - 1, &r), HELD,
               "keys of many: one has its part");
        ok(!r.by_sender, "keys of many: of what others leave");
        is_int(publish_by(10 + a, 10 + a, a, &r), OK,
               "keys of many: another has room");
    }

    ok(share(FANOUT_SHARE_keys).used > max * 3 / 4,
       "keys of many: they have most");
    is_int(share(FANOUT_SHARE_keys).refused, 0,
           "keys of many: the share has not refused any");
    checked(&za, "keys of many");
    fanout_test_seconds += 1000;
    stop(4 * MB, "keys of many");
}


/* How long who has no more keys is to wait: for the first of his own, or of his
 * address, however many of others expire before. */

static void
wait_for_keys(void)
{
    unsigned  i;
    shares_t  shares;
    result_t  r;

    start(4 * MB);
    memset(&shares, 0, sizeof(shares));
    shares.kinds[FANOUT_SHARE_keys].max = 1000;
    shares.address = 5000;
    shares.user = 2500;
    fanout_zone_bound(&za, &shares);

    for (i = 0; i < 100; i++) {
        is_int(publish_by(i % 2, i % 3, i, &r), OK, "wait for keys: others");
    }

    fanout_test_seconds += 50;
    (void) keys_by(3, 5, 1000, &r);
    ok(r.by_sender, "wait for keys: a user has all his");
    is_int(r.wait, 121000, "wait for keys: until the first of his expires");

    fanout_test_seconds += 10;
    (void) keys_by(3, 6, 2000, &r);
    ok(r.by_sender, "wait for keys: another of the address");
    is_int(r.wait, 121000, "wait for keys: until the first of his does");
    is_int(publish_by(4, 5, 9999, &r), HELD, "wait for keys: the first again");
    is_int(r.wait, 111000, "wait for keys: whose are older");

    (void) keys_by(3, 7, 3000, &r);
    ok(!r.by_sender, "wait for keys: the address has all its");
    is_int(r.wait, 111000, "wait for keys: until the first of any of it does");
    checked(&za, "wait for keys");

    fanout_test_seconds += 62;
    (void) sweep_all(&za);
    checked(&za, "wait for keys: others expired");
    (void) keys_by(3, 5, 4000, &r);
    is_int(r.wait, 49000, "wait for keys: the first is the first still");

    fanout_test_seconds += 49;
    (void) sweep_all(&za);
    checked(&za, "wait for keys: his expired");
    (void) keys_by(3, 5, 6000, &r);
    is_int(r.wait, 121000, "wait for keys: he has new ones");
    (void) keys_by(3, 8, 8000, &r);
    ok(!r.by_sender, "wait for keys: the address has all its again");
    is_int(r.wait, 10000, "wait for keys: until the next of it expires");

    fanout_test_seconds += 1000;
    (void) sweep_all(&za);
    checked(&za, "wait for keys: all expired");
    stop(4 * MB, "wait for keys");
}


/* Who has many sessions, seats and members, all from one address. */

static void
fill_address(void)
{
    int        rc;
    char       name[16], key[16], data[4001];
    put_t      r;
    person_t   p, q[4], v, *few;
    unsigned   a, i, k, n;
    shares_t   shares;
    channel_t  c[40], d, e;

    start(4 * MB);
    memset(&shares, 0, sizeof(shares));
    shares.kinds[FANOUT_SHARE_sessions].max = 2000;
    shares.kinds[FANOUT_SHARE_members].max = 5000;
    shares.address = 5000;
    fanout_zone_bound(&za, &shares);

    victim.presence = 1;
    few = calloc(20000, sizeof(person_t));
    memset(data, 'd', sizeof(data));
    data[4000] = '\0';

    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "room %u", i);
        c[i] = view(&za, name, &attacker);
        (void) fanout_channel_open(&za, &c[i], i);
    }

    /* clients are of the address that is left of a division by 8 */

    for (n = 0, rc = OK; rc == OK && n < 20000; n++) {
        rc = person_add(&za, &few[n], 3 + 8 * n, "", "", 0);

        for (i = 0; rc == OK && i < 40; i++) {
            rc = person_sit(&za, &c[i], &few[n]);
        }
    }

    is_int(rc, MANY, "address: sessions and seats come to an end");
    ok(share(FANOUT_SHARE_sessions).used
       <= share(FANOUT_SHARE_sessions).max / 2 + 8,
       "address: with half of the share");
    checked(&za, "address: full");

    d = view(&zb, "theirs", &victim);
    (void) fanout_channel_open(&zb, &d, 0);
    is_int(person_add(&zb, &v, 4, "", "", 0), OK, "address: another begins");
    is_int(person_sit(&zb, &d, &v), OK, "address: and joins");

    /* what lingers can be evicted, and does not count */

    for (i = 0; i < n; i++) {
        if (few[i].ref) {
            person_cut(&za, &few[i], 60000, 1);
        }
    }

    checked(&za, "address: lingering");
    is_int(person_add(&zb, &p, 800003, "", "", 0), OK,
           "address: has room again");
    is_int(person_sit(&zb, &d, &p), OK, "address: and sits");

    for (i = 0, rc = OK; rc == OK && i < n && few[i].ref; i++) {
        rc = person_resume(&zb, &few[i]);
    }

    ok(rc == OK || rc == NOTFOUND, "address: and comes back");
    checked(&za, "address: resumed");

    for (i = 0; i < n; i++) {
        if (few[i].ref) {
            person_cut(&zb, &few[i], 0, 1);
        }
    }

    /* members */

    for (a = 0; a < 4; a++) {
        (void) person_add(&za, &q[a], 800011 + 2 * a, "", "", 0);

        for (i = 0, rc = OK; rc == OK && i < 40; i++) {
            (void) person_sit(&za, &c[i], &q[a]);

            for (k = 0; rc == OK && k < 32; k++) {
                snprintf(key, sizeof(key), "%u", k);
                rc = person_put(&za, &c[i], &q[a], key, data, ENTER|DATA, &r);
            }
        }

        is_int(rc, MANY, "address: members come to an end");

        if (a) {
            continue;
        }

        ok(share(FANOUT_SHARE_members).used
           <= share(FANOUT_SHARE_members).max * 2 / 5 + 200,
           "address: with half of what an account may have");
    }

    is_int(person_put(&zb, &d, &v, "", data, ENTER|DATA, &r), OK,
           "address: another is present");

    e = view(&zb, "room 0", &attacker);
    (void) fanout_channel_open(&zb, &e, 0);
    is_int(person_sit(&zb, &e, &v), OK, "address: joins where they are");
    is_int(person_put(&zb, &e, &v, "", data, ENTER|DATA, &r), OK,
           "address: and is present there");
    checked(&za, "address: members");

    /* which are given back */

    for (a = 0; a < 4; a++) {
        person_cut(&za, &q[a], 0, 1);
    }

    (void) flush_all(&za);
    is_int(person_put(&zb, &d, &p, "", data, ENTER|DATA, &r), OK,
           "address: is present again");

    victim.presence = 0;
    free(few);
    stop(4 * MB, "address");
}


/* Opens channels of such names for an address, until one is refused: how many
 * were opened. */

static unsigned
open_by(zone_t *z, uint64_t address, const char *what, unsigned max, int *rc)
{
    char       name[32];
    unsigned   n;
    channel_t  c;

    for (n = 0; n < max; n++) {
        snprintf(name, sizeof(name), "%s %u", what, n);
        c = view(z, name, &attacker);
        c.address = address;
        *rc = fanout_channel_open(z, &c, n);

        if (*rc != OK) {
            break;
        }
    }

    return n;
}


/* Who brings channels into use, all from one address. */

static void
fill_channels_of_one(void)
{
    int       rc;
    unsigned  max, n;
    shares_t  shares;
    result_t  r;

    start(4 * MB);
    memset(&shares, 0, sizeof(shares));
    shares.kinds[FANOUT_SHARE_channels].max = 4000;
    shares.kinds[FANOUT_SHARE_keys].max = 4000;
    shares.address = 5000;
    shares.user = 10000;
    fanout_zone_bound(&za, &shares);
    max = share(FANOUT_SHARE_channels).max;

    n = open_by(&za, 3, "one", 60000, &rc);
    is_int(rc, MANY, "channels of one: come to an end");
    ok(n * 4 > max / 3 && n * 4 <= max / 2,
       "channels of one: with half of what its account may have");
    is_int(share(FANOUT_SHARE_channels).refused, 0,
           "channels of one: the share has not refused any");
    checked(&za, "channels of one: full");

    /* what others use it may join; of its own that is more */

    is_int(open_by(&zb, 4, "two", 1, &rc), 1, "channels of one: another may");
    is_int(open_by(&za, 3, "two", 1, &rc), 1,
           "channels of one: which can be joined");
    is_int(open_by(&zb, 3, "one", max, &rc), n,
           "channels of one: on another worker it may join all of its own");
    is_int(rc, MANY, "channels of one: but has no more");
    is_int(open_by(&zb, 4, "one", n / 8, &rc), n / 8,
           "channels of one: others join them");
    is_int(open_by(&za, 0, "backend", 50, &rc), 50,
           "channels of one: who has no address is not limited");
    checked(&za, "channels of one: others");

    /* nor can it keep them by keys, or use those with a history */

    (void) publish("kept 0", &attacker, 1, 1, "");
    is_int(open_by(&za, 3, "kept", 1, &rc), 0,
           "channels of one: it brings none into use");

    is_int(publish_on("mine", 3, 5, 1, &r), FANOUT_ZONE_ADDRESS,
           "channels of one: nor does it keep any by a key");
    is_int(publish_on("two 0", 3, 5, 1, &r), OK,
           "channels of one: one in use it may");
    is_int(publish_on("theirs", 4, 5, 1, &r), OK,
           "channels of one: another keeps one by a key");
    checked(&za, "channels of one: keys");

    /* what is not in use any more does not count */

    fanout_slot_release(&za);
    fanout_slot_release(&zb);
    fanout_test_seconds += 1000;
    (void) sweep_all(&za);
    checked(&za, "channels of one: released");
    (void) fanout_slot_claim(&za, 1);
    (void) fanout_slot_claim(&zb, 2);
    is_int(open_by(&za, 3, "again", 60000, &rc), n,
           "channels of one: it has them again");
    stop(4 * MB, "channels of one");
}


/* Holders a and b have all that they may, then all the interests that they may
 * in what is in use, at each worker: one that comes then has room. */

static void
fill_interests(uint64_t a, uint64_t b)
{
    int       rc;
    char      what[32];
    zone_t    z[16];
    shares_t  shares;
    unsigned  i, n, w, before;

    snprintf(what, sizeof(what), "interests of %u and %u", (unsigned) a,
             (unsigned) b);
    start(4 * MB);
    z[0] = za;
    z[1] = zb;

    for (w = 2; w < 16; w++) {
        (void) fanout_zone_attach(&z[w], zmem, 4 * MB);
        (void) fanout_slot_claim(&z[w], w + 1);
    }

    memset(&shares, 0, sizeof(shares));
    shares.kinds[FANOUT_SHARE_channels].max = 4000;
    shares.address = 5000;
    fanout_zone_bound(&za, &shares);

    n = open_by(&z[0], a, "a", 60000, &rc);
    is_int(open_by(&z[1], a, "a", n / 8, &rc), n / 8,
           "%s: who holds what it may joins its own elsewhere", what);
    (void) open_by(&z[0], b, "b", 60000, &rc);
    before = fanout_holder_at(&za, a)->channels;

    for (w = 1; w < 16; w++) {
        (void) open_by(&z[w], b, "a", n, &rc);

        if (rc != OK) {
            is_int(rc, MANY, "%s: come to an end", what);
            break;
        }
    }

    ok(a == b || fanout_holder_at(&za, a)->channels == before,
       "%s: those of one don't count for the other", what);

    for (w = 1; w < 16; w++) {
        (void) open_by(&z[w], a, "a", n, &rc);
    }

    is_int(rc, MANY, "%s: and is refused in the end", what);
    is_int(share(FANOUT_SHARE_channels).refused, 0,
           "%s: the share has not refused any", what);
    is_int(open_by(&z[0], 7, "new", 10, &rc), 10,
           "%s: another brings channels into use", what);
    is_int(open_by(&z[15], 7, "a", 10, &rc), 10,
           "%s: and joins others' at any worker", what);
    checked(&za, what);

    for (i = 2; i < 16; i++) {
        fanout_slot_release(&z[i]);
    }

    checked(&za, what);
    stop(4 * MB, what);
}


/* One takes what it may of all shares, which together are more than there
 * is. */

static void
fill_all_of_one(void)
{
    int                rc, rc2, i;
    char               key[16];
    unsigned           n;
    uint32_t           ref;
    shares_t           shares;
    result_t           r;
    channel_t          c;
    fanout_zstr_t      user, info;
    fanout_identity_t  id;

    static char  data[500];

    bounded(4 * MB);
    memset(&shares, 0, sizeof(shares));
    memset(&id, 0, sizeof(id));
    shares.address = 5000;
    shares.user = 5000;

    for (i = 0; i < FANOUT_NSHARES; i++) {
        shares.kinds[i].max = 9000;
    }

    shares.kinds[FANOUT_SHARE_sessions].min = 1000;
    shares.accounts[1].min = 2500;
    fanout_zone_bound(&za, &shares);

    user = zstr("", 0);
    info = zstr(data, sizeof(data));

    for (n = 0, rc = rc2 = OK; rc == OK || rc2 == OK; n++) {
        snprintf(key, sizeof(key), "all %u", n);
        c = view(&za, key, &attacker);
        c.address = 3;
        rc = fanout_channel_open(&za, &c, n);
        id.client = n + 1;
        id.address = 3;
        id.secret[0] = n;
        rc2 = fanout_identity_add(&za, &id, &user, &info, 0, &ref);
    }

    is_int(rc, MANY, "all of one: it has no more channels");
    is_int(rc2, MANY, "all of one: nor sessions");

    for (n = 0, rc = OK; rc == OK && n < 60000; n++) {
        rc = publish_on("all 0", 3, 3, n, &r);
    }

    is_int(rc, HELD, "all of one: nor keys");

    for (n = 0, rc = OK; rc == OK && n < 60000; n++) {
        rc = publish_on("all 0", 64 + n % 32, 5, n, &r);
    }

    is_int(rc, HELD, "all of one: nor has a user");
    ok(r.by_sender, "all of one: of whatever address");

    id.client = 1000000;
    id.address = 4;
    is_int(fanout_identity_add(&zb, &id, &user, &info, 0, &ref), OK,
           "all of one: a client of another address comes");
    is_int(open_by(&zb, 4, "new", 20, &rc), 20,
           "all of one: and brings channels into use");
    is_int(publish_on("new 0", 4, 4, 1, &r), OK, "all of one: and has keys");
    checked(&za, "all of one");
    fanout_slot_release(&za);
    fanout_slot_release(&zb);
    munmap(zmem, 4 * MB);
}


/* a direct message by a sender, 0: the backend */

static int
mail_by(uint64_t sender, const person_t *p, size_t len)
{
    result_t     r;
    message_t    m;
    channel_t    c;
    publish_t    opts;
    static char  data[20000];

    memset(&m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    m.data = zstr(data, len);
    m.to_client = p->id.client;
    opts.sender = sender;
    c = view(&za, "mail", &attacker);

    return fanout_log_publish(&za, &c, &m, 1, &opts, &r);
}


/* the messages that wait for a client, and 1000 if any are lost */

static unsigned
mail_of(const person_t *p)
{
    arena_t    a;
    uint64_t   lost;
    unsigned   n;
    channel_t  c;

    c = view(&za, "mail", &attacker);
    arena_init(&a);
    (void) fanout_mail_read(&za, &c, &p->id, 0, UINT64_MAX, &a, &lost);
    n = a.n + (lost ? 1000 : 0);
    arena_done(&a);

    return n;
}


#define M_OWN  100                      /* clients of each that sends much */

/* Clients are cut, and a user mails his own until there is no more room. */

static void
fill_mail(void)
{
    stat_t     st;
    unsigned   i, k, n, max;
    person_t   p[8], own[2][M_OWN];
    channel_t  c;

    bounded(4 * MB);
    max = share(FANOUT_SHARE_mail).max;
    c = view(&za, "mail", &attacker);
    (void) fanout_channel_open(&za, &c, 0);

    for (i = 0; i < 8; i++) {
        (void) person_add(&za, &p[i], 1 + i, "", "", 0);
        (void) person_sit(&za, &c, &p[i]);
        person_cut(&za, &p[i], 600000, 1);
        is_int(mail_by(20 + i % 2, &p[i], 100), OK, "mail: of a user");
        is_int(mail_by(0, &p[i], 100), OK, "mail: of the backend");
    }

    for (k = 0; k < 2; k++) {
        for (i = 0; i < M_OWN; i++) {
            (void) person_add(&za, &own[k][i], 1000 + k * M_OWN + i, "", "", 0);
            (void) person_sit(&za, &c, &own[k][i]);
            person_cut(&za, &own[k][i], 600000, 1);
        }
    }

    for (n = 0; n < 60 * M_OWN; n++) {
        (void) mail_by(30, &own[0][n % M_OWN], 150);
    }

    fanout_zone_stat(&za, &st);
    ok(st.mail_dropped > n / 4, "mail: %llu of %u are dropped",
       (unsigned long long) st.mail_dropped, n);
    ok(share(FANOUT_SHARE_mail).used <= max, "mail: within the share");
    checked(&za, "mail: one floods");

    for (i = n = 0; i < 8; i++) {
        n += mail_of(&p[i]);
    }

    is_int(n, 16, "mail: none of others is lost");

    /* another does the same: they have equal parts */

    for (n = 0; n < 60 * M_OWN; n++) {
        (void) mail_by(31, &own[1][n % M_OWN], 150);
    }

    ok(fanout_sender(&za, 30)->mail > max / 4
       && fanout_sender(&za, 31)->mail > max / 4, "mail: two share it");
    checked(&za, "mail: two flood");

    /* the zone is full: what is above the guarantee goes */

    (void) fanout_enter(&za);

    while (fanout_share_used(za.shm, FANOUT_SHARE_mail) > max / 5) {
        (void) fanout_mail_evict(&za);
        fanout_commit(&za);
    }

    fanout_leave(&za);
    checked(&za, "mail: evicted");

    for (i = n = 0; i < 8; i++) {
        n += mail_of(&p[i]);
    }

    is_int(n, 16, "mail: and still none of others is lost");

    /* the backend has what it sends until that is more than a half */

    n = fanout_sender(&za, 30)->mail + fanout_sender(&za, 31)->mail;

    for (i = 0; i < 40 * M_OWN; i++) {
        (void) mail_by(0, &own[0][i % M_OWN], 150);
    }

    ok(fanout_sender(&za, 0)->mail > n, "mail: the backend has most");
    ok(fanout_sender(&za, 30)->mail + fanout_sender(&za, 31)->mail >= n / 2,
       "mail: and leaves some to others");
    checked(&za, "mail: of the backend");

    for (i = n = 0; i < 8; i++) {
        n += mail_of(&p[i]) % 1000;
    }

    ok(n >= 8, "mail: a user that sends little loses none to it");

    fanout_test_seconds += 400;
    (void) sweep_all(&za);
    is_int(share(FANOUT_SHARE_mail).used, 0, "mail: is too old");
    stop(4 * MB, "mail");
}


/* Many that come and are cut: unheard, or heard. */

static void
fill_sessions(void)
{
    stat_t     st;
    result_t   r;
    unsigned   i, full;
    person_t   named, nameless, p;
    channel_t  v;

    bounded(4 * MB);
    settle();

    v = view(&za, "victim", &victim);
    (void) fanout_channel_open(&za, &v, 0);
    (void) person_add(&za, &named, 1, "user", "", 0);
    (void) person_sit(&za, &v, &named);
    (void) person_add(&za, &nameless, 2, "", "", 0);
    person_cut(&za, &named, 30000, 1);
    person_cut(&za, &nameless, 30000, 1);

    for (i = full = 0; i < 100000; i++) {
        full += person_add(&za, &p, 10 + i, "", "", 0) != OK;
        person_cut(&za, &p, 60000, 0);
    }

    is_int(full, 0, "sessions: the unheard give way to the unheard");
    ok(person_resume(&zb, &nameless) == OK && person_resume(&zb, &named) == OK,
       "sessions: who was heard comes back");
    person_cut(&zb, &named, 30000, 1);
    person_cut(&zb, &nameless, 30000, 1);
    unharmed("sessions");

    /* a publish needs room: the unheard go before any history */

    fanout_zone_stat(&za, &st);
    i = st.lingering;
    (void) fanout_channel_purge(&za, &v, NULL, 0, &r);

    for (full = 0; full < 20000; full++) {
        (void) publish("large", &attacker, full, 100, "");
        (void) publish("larger", &attacker, full, 20000, "");
        fanout_zone_stat(&za, &st);

        if (st.lingering < i) {
            break;
        }
    }

    is_int(st.evicted, 0, "sessions: no history was evicted before");
    ok(person_resume(&zb, &nameless) == OK && person_resume(&zb, &named) == OK,
       "sessions: who was heard is there");
    checked(&za, "sessions");
    person_cut(&zb, &named, 30000, 1);
    person_cut(&zb, &nameless, 30000, 1);

    /* of the heard those with a user go last */

    for (i = full = 0; i < 100000; i++) {
        full += person_add(&za, &p, 200000 + i, "", "", 0) != OK;
        person_cut(&za, &p, 60000, 1);
    }

    is_int(full, 0, "sessions: the nameless give way to the nameless");
    is_int(person_resume(&zb, &nameless), NOTFOUND,
           "sessions: by the time that is left");
    is_int(person_resume(&zb, &named), OK, "sessions: and not the named");
    checked(&za, "sessions of the nameless");
    stop(4 * MB, "sessions");
}


/* What a flush needs, nobody is given up for. */

static void
fill_flush(void)
{
    char       data[8001];
    put_t      r;
    stat_t     st;
    unsigned   i, n;
    person_t   p, *stones;
    channel_t  c;

    start(MB);
    memset(data, 'd', sizeof(data));
    data[8000] = '\0';
    stones = calloc(20000, sizeof(person_t));

    c = view(&za, "room", &attacker);
    (void) fanout_channel_open(&za, &c, 0);
    (void) person_add(&za, &p, 1, "user", "", 0);
    (void) person_sit(&za, &c, &p);
    (void) person_put(&za, &c, &p, "", data, ENTER|DATA, &r);
    (void) flush_all(&za);

    for (n = 0; person_add(&za, &stones[n], 10 + n, "", "", 0) == OK; n++) {
        /* void */
    }

    ok(free_blocks(&za) < 2, "flush: hardly a block is free");

    for (i = 0; i < 500; i++) {
        person_cut(&za, &stones[i], 60000, i % 2);
    }

    (void) person_drop(&za, &c, &p, "");
    (void) flush_all(&za);

    fanout_zone_stat(&za, &st);
    is_int(st.lingering, 500, "flush: nobody is given up for it");
    is_int(st.nmembers, 0, "flush: the member has left");
    checked(&za, "flush");

    free(stones);
    stop(MB, "flush");
}


int
main(void)
{
    fill_keys();
    fill_channels();
    fill_members();
    fill_keys_of_one();
    fill_keys_of_many();
    wait_for_keys();
    fill_address();
    fill_channels_of_one();
    fill_interests(3, 4);
    fill_interests(3, 3);
    fill_all_of_one();
    fill_mail();
    fill_sessions();
    fill_flush();

    return done_testing();
}
