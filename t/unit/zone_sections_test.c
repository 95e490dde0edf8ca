/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, one client or channel can make a section of the zone's lock
 * long for all workers, what is due at once is not done in time, or a
 * transaction is more than the journal can undo.
 *
 * What is counted is the work of a section (see fanout_section_room()), and the
 * records of a transaction: the same on any machine.
 */


#include <sys/resource.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence.h"


/* the most work of a section, and records of a transaction */
#define MOST     4000
#define RECORDS  FANOUT_JOURNAL_ROOM


static void      *zmem;
static size_t     zsize;
static zone_t     za, zb;
static arena_t    arena;


static void
start(size_t size, unsigned hooks)
{
    fanout_test_seconds = 100;
    fanout_test_msec = 0;

    zsize = size;
    zmem = zone_make(size, 30, 20);
    fanout_zone_attach(&za, zmem, size);
    fanout_zone_attach(&zb, zmem, size);
    fanout_slot_claim(&za, 1);
    fanout_slot_claim(&zb, 2);

    if (hooks) {
        fanout_hook_queue_filter(&za, 0xff, 100);
    }

    fanout_test_work = fanout_test_journal = 0;
}


static void
stop(void)
{
    fanout_slot_release(&za);
    fanout_slot_release(&zb);
    munmap(zmem, zsize);
}


/* since the last time */

static void
bounded(const char *what)
{
    stat_t  st;

    ok(fanout_test_work <= MOST, "%s: the most work of a section: %u", what,
       fanout_test_work);
    ok(fanout_test_journal <= RECORDS,
       "%s: the most records of a transaction: %u", what,
       fanout_test_journal);

    fanout_zone_stat(&za, &st);
    is_int(st.overflows, 0, "%s: the journal holds all", what);

    fanout_test_work = fanout_test_journal = 0;
}


static void
sound(const char *what)
{
    int   rc;
    char  text[256];

    rc = fanout_zone_verify(&za, text, sizeof(text));
    ok(rc == 0, "%s: %s", what, rc ? text : "all invariants hold");

    fanout_test_work = fanout_test_journal = 0;
}


static channel_t
opened(zone_t *z, const char *name, policy_t *p, uint32_t local)
{
    channel_t  c;

    c = view(z, strdup(name), p);

    if (fanout_channel_open(z, &c, local) != OK) {
        ok(0, "%s is opened", name);
    }

    return c;
}


static void
read_all(zone_t *z)
{
    int  rc;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(z, &arena);
    } while (rc == AGAIN);
}


static void
tell_all(zone_t *z)
{
    uint32_t  ms;

    do {
        ms = fanout_presence_flush(z);

        if (ms != 0 && ms != UINT32_MAX) {
            fanout_test_msec += ms;
        }

        read_all(&za);
        read_all(&zb);

    } while (ms != UINT32_MAX);
}


/* Members of one client, who come among so many of others that each is alone
 * in tables of its own when the others go. */

static void
sparse(int told)
{
    char        key[16];
    size_t      i, n, all, every;
    person_t    victim, *p;
    unsigned    rc;
    channel_t   c;

    static policy_t  room = {
        .presence = FANOUT_PRESENCE_ON, .linger = 5, .keys = 128
    };

    start(128 * MB, 0);
    c = opened(&za, "room", &room, 0);

    all = 14 * 14 * 14 * 14 * 14 + 1000;
    every = all / FANOUT_ZONE_KEYS_MAX;
    p = calloc(all / 100 + 2, sizeof(person_t));

    rc = person_add(&za, &victim, 1, "victim", "", 0);
    rc |= person_sit(&za, &c, &victim);

    for (i = n = 0; i < all; i++) {
        snprintf(key, sizeof(key), "%zu", i);

        if (i % every == every - 1) {
            rc |= person_put(&za, &c, &victim, key, "", ENTER | DATA, NULL);
            continue;
        }

        if (n % 100 == 0) {
            rc |= person_add(&za, &p[n / 100], 2 + n, "", "", 0);
            rc |= person_sit(&za, &c, &p[n / 100]);
        }

        rc |= person_put(&za, &c, &p[n / 100], key, "", ENTER | DATA, NULL);
        n++;
    }

    is_int(rc, 0, "%zu members, the tree is %u deep", all,
           fanout_presence(&za, fanout_presence_of(&za, c.ref))->depth);
    bounded("members enter");

    if (told) {
        tell_all(&za);
        bounded("they are told");
    }

    for (i = 0; i <= (n - 1) / 100; i++) {
        person_end(&za, &p[i], 0);
    }

    bounded(told ? "they leave" : "they leave untold");

    if (told) {
        tell_all(&za);
        bounded("their leaves are told");
    }

    person_end(&za, &victim, 0);
    bounded(told ? "one leaves sparse tables" : "untold, of sparse tables");

    tell_all(&za);
    bounded("it is told");
    sound("empty");

    is_int(za.shm->nmembers, 0, "nobody is left");

    free(p);
    stop();
}


/* the most that one seat can have: members with a change to tell, who are
 * remembered; mail; an event, in a queue that is full */

static void
fullest_seat(void)
{
    char       key[32];
    unsigned   i, rc;
    person_t   p, q[300];
    result_t   r;
    message_t  m;
    channel_t  c;

    static policy_t  room = {
        .presence = FANOUT_PRESENCE_ON, .linger = 5, .keys = 128,
        .seen = 10, .hooks = 1
    };

    start(64 * MB, 1);
    c = opened(&za, "room", &room, 0);

    rc = person_add(&za, &p, 1, "user", "", 0);
    rc |= person_sit(&za, &c, &p);

    for (i = 0; i < 128; i++) {
        snprintf(key, sizeof(key), "a key that is long %u", i);
        rc |= person_put(&za, &c, &p, key, "1", ENTER | DATA, NULL);
    }

    tell_all(&za);

    for (i = 0; i < 128; i++) {
        snprintf(key, sizeof(key), "a key that is long %u", i);
        rc |= person_put(&za, &c, &p, key, "2", DATA, NULL);
    }

    for (i = 0; i < 300; i++) {
        rc |= person_add(&za, &q[i], 1000 + i, "", "", 0);
        person_end(&za, &q[i], 0);
    }

    fanout_identity_end(&za, p.ref, &p.id, 100000, 1, FANOUT_LEFT_NETWORK);
    bounded("the fullest seat lingers");

    memset(&m, 0, sizeof(m));
    m.to_client = 1;
    m.data = zstr("a message", 9);

    for (i = 0; i < FANOUT_ZONE_MAIL; i++) {
        rc |= fanout_log_publish(&za, &c, &m, 1, NULL, &r);
    }

    is_int(rc, 0, "128 members, 64 pieces of mail");
    bounded("mail");

    fanout_test_seconds += 10;
    is_int(sweep_all(&zb) >= 0, 1, "swept");
    bounded("the fullest seat is given up");

    tell_all(&za);
    bounded("its leaves are told");
    sound("the fullest seat");

    stop();
}


/* a message to a user with the most clients, whose mailboxes are full:
 * of the backend, and of one client after another */

static void
full_mailboxes(void)
{
    int        rc;
    unsigned   i;
    person_t   p;
    result_t   r;
    message_t  m;
    channel_t  c;
    publish_t  opts;

    static policy_t  policy = { .presence = FANOUT_PRESENCE_ON };

    start(64 * MB, 1);
    c = opened(&za, "channel", &policy, 0);

    for (rc = 0, i = 0; i < 256; i++) {
        rc |= person_add(&za, &p, 1 + i, "user", "", 0);
        rc |= person_sit(&za, &c, &p);
    }

    memset(&m, 0, sizeof(m));
    m.to_user = p.id.user;
    m.data = zstr("a message", 9);

    memset(&opts, 0, sizeof(opts));

    for (i = 0; i < 4 * FANOUT_ZONE_MAIL; i++) {
        opts.sender = i / FANOUT_ZONE_MAIL;
        rc |= fanout_log_publish(&za, &c, &m, 1, &opts, &r);
        rc |= r.delivered != 256;
    }

    is_int(rc, 0, "256 full mailboxes");
    bounded("full mailboxes");
    sound("full mailboxes");

    stop();
}


/* the text of members that nobody was told of is in long chains */

static void
long_texts(void)
{
    char       key[16], *data;
    unsigned   i, rc;
    person_t   p;
    channel_t  c;

    static policy_t  room = {
        .presence = FANOUT_PRESENCE_ON, .keys = 128
    };

    start(64 * MB, 0);
    c = opened(&za, "room", &room, 0);

    data = calloc(1, FANOUT_ZONE_MEMBER - 15);
    memset(data, 'x', FANOUT_ZONE_MEMBER - 16);

    rc = person_add(&za, &p, 1, "user", "", 0);
    rc |= person_sit(&za, &c, &p);

    for (i = 0; i < 128; i++) {
        snprintf(key, sizeof(key), "%u", i);
        rc |= person_put(&za, &c, &p, key, data, ENTER | DATA, NULL);
    }

    is_int(rc, 0, "128 members with long data");

    fanout_seat_close(&za, &c, p.ref, &p.id, FANOUT_LEFT_INTENTIONAL);
    bounded("long texts");
    is_int(za.shm->nmembers, 0, "all have left");
    sound("long texts");

    free(data);
    stop();
}


/* a client with very many channels: cut, back, taken over, thrown out */

static void
many_seats(void)
{
    char       name[32];
    unsigned   i, n, rc;
    person_t   p;
    channel_t  c;

    static policy_t  room = {
        .presence = FANOUT_PRESENCE_ON, .linger = 60
    };

    n = 10000;
    start(64 * MB, 0);
    rc = person_add(&za, &p, 1, "user", "", 0);

    for (i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "channel %u", i);
        c = opened(&za, name, &room, i);
        rc |= person_sit(&za, &c, &p);
        rc |= person_put(&za, &c, &p, "", "1", ENTER | DATA, NULL);
    }

    tell_all(&za);
    is_int(rc, 0, "%u channels", n);
    bounded("many seats");

    fanout_identity_end(&za, p.ref, &p.id, 100000, 1, FANOUT_LEFT_NETWORK);
    bounded("they linger");
    is_int(za.shm->nseats_lingering, n, "all");

    is_int(person_resume(&zb, &p), OK, "it is back");
    bounded("a resume");
    is_int(za.shm->nseats_lingering, 0, "all live");

    is_int(person_resume(&za, &p), OK, "taken over");
    bounded("a resume of one that lives");
    sound("many seats");

    is_int(fanout_client_disconnect(&zb, 1, 4403), OK, "thrown out");
    bounded("a disconnect");
    sound("many seats that are gone");

    tell_all(&za);
    bounded("leaves of many channels");
    is_int(za.shm->nseats, 0, "all seats are gone");

    stop();
}


/* A seat that was met is taken away between two sections: nothing is left
 * out. */

static void
walk(void)
{
    char                  name[16];
    unsigned              i;
    person_t              p;
    channel_t             c[40];
    fanout_ref_t          id;
    fanout_seats_walk_t   at;

    static policy_t  room = {
        .presence = FANOUT_PRESENCE_ON, .linger = 60
    };

    start(4 * MB, 0);
    (void) person_add(&za, &p, 1, "user", "", 0);

    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "%u", i);
        c[i] = opened(&za, name, &room, i);
        (void) person_sit(&za, &c[i], &p);
        (void) person_put(&za, &c[i], &p, "", "1", ENTER | DATA, NULL);
    }

    tell_all(&za);

    memset(&at, 0, sizeof(at));
    id = p.ref;

    for (i = 0; i < 100; i++) {
        int  more;

        (void) fanout_enter(&za);

        /* little room is left for it */
        za.heap.work = FANOUT_WORK - 20;
        more = fanout_seats_linger(&za, id, 16,
                                   FANOUT_LEFT_NETWORK, 0, &at);
        fanout_leave(&za);

        if (!more) {
            break;
        }

        if (i % 3 == 1) {
            uint64_t  channel = at.channel;

            /* the one it stands at goes, and waits to be told */

            for (unsigned k = 0; k < 40; k++) {
                if (c[k].ref == channel) {
                    (void) fanout_seat_kick(&zb, &c[k], 1,
                                                FANOUT_LEFT_KICKED);
                }
            }
        }
    }

    ok(i > 5 && i < 100, "in %u sections", i);

    i = 0;

    for (fanout_ref_t ref = fanout_identity(&za, id)->seats; ref;
         ref = fanout_seat(&za, ref)->id_next)
    {
        i += fanout_seat(&za, ref)->state == FANOUT_SEAT_LIVE;
    }

    is_int(i, 0, "none lives");
    sound("a walk");
    stop();
}


/* Who is back is not given up, though its seats were not revived yet. */

static void
back_in_time(void)
{
    person_t   p;
    channel_t  c;

    static policy_t  room = {
        .presence = FANOUT_PRESENCE_ON, .linger = 2
    };

    start(4 * MB, 0);
    c = opened(&za, "room", &room, 0);
    (void) person_add(&za, &p, 1, "user", "", 0);
    (void) person_sit(&za, &c, &p);
    (void) person_put(&za, &c, &p, "", "1", ENTER | DATA, NULL);
    tell_all(&za);

    /* the first section of an end of more seats than a section takes */

    {
        fanout_seats_walk_t  at = { 0, 0 };

        (void) fanout_enter(&za);
        (void) fanout_seats_linger(&za, p.ref, 16, FANOUT_LEFT_NETWORK, 0,
                                   &at);
        fanout_leave(&za);
    }

    is_int(za.shm->nseats_lingering, 1, "its seat lingers");

    fanout_test_seconds += 10;
    (void) sweep_all(&zb);

    is_int(za.shm->nseats_lingering, 0, "no more");
    is_int(fanout_presence(&za, fanout_presence_of(&za, c.ref))->members, 1,
           "it is still there");
    sound("back in time");
    stop();
}


/* All that can be due, at once. */

static void
due_at_once(void)
{
    char       name[32], key[16];
    int        n;
    unsigned   i, k, rc;
    person_t   p;
    result_t   r;
    publish_t  opts;
    channel_t  c, all;

    static policy_t  pol = {
        .history = 1000, .ttl = 10, .seen = 1,
        .presence = FANOUT_PRESENCE_ON, .linger = 1, .keys = 128
    };

    start(256 * MB, 0);
    rc = 0;

    for (i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "channel %u", i);
        c = view(&za, name, &pol);

        for (k = 0; k < 63; k++) {
            rc |= put(&za, &c, i, 10, 0, NULL, &r);
        }

        memset(&opts, 0, sizeof(opts));
        opts.key = zstr(name, strlen(name));
        rc |= put(&za, &c, i, 10, 0, &opts, &r);
    }

    c = view(&za, "long", &(policy_t) { .history = 1000000, .ttl = 10 });

    for (i = 0; i < 100000; i++) {
        rc |= put(&za, &c, i, 10, 0, NULL, &r);
    }

    all = opened(&za, "room", &pol, 0);

    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "user %u", i);
        rc |= person_add(&za, &p, i + 1, name, "", 0);
        rc |= person_sit(&za, &all, &p);

        for (k = 0; k < 128; k++) {
            snprintf(key, sizeof(key), "%u", k);
            rc |= person_put(&za, &all, &p, key, "1", ENTER | DATA, NULL);
        }

        tell_all(&za);
        fanout_identity_end(&za, p.ref, &p.id, 5000, 1, FANOUT_LEFT_NETWORK);
    }

    is_int(rc, 0, "all is put");
    bounded("before it is due");

    fanout_test_seconds += 700;
    n = sweep_all(&zb);
    ok(n > 0, "%d sweeps", n);
    bounded("sweeps of what is due at once");

    tell_all(&zb);
    bounded("38,400 leaves");
    (void) sweep_all(&zb);

    is_int(za.shm->nkeys + za.shm->nseats + za.shm->nidentities, 0,
           "nothing is left");
    sound("due at once");
    stop();
}


/* Members that were cut at once: given up and told by two workers that do a
 * bounded step in turns, and in the order in which they are due. */

static void
mass_cut(void)
{
    char       name[32];
    unsigned   i, k, n, turns, rc;
    person_t  *p;
    channel_t  c[20];

    static policy_t  room = {
        .presence = FANOUT_PRESENCE_ON, .linger = 2
    };

    n = 2000;
    start(64 * MB, 0);
    p = calloc(n, sizeof(person_t));
    rc = 0;

    for (k = 0; k < 20; k++) {
        snprintf(name, sizeof(name), "room %u", k);
        c[k] = opened(&za, name, &room, k);
    }

    for (i = 0; i < n; i++) {
        rc |= person_add(&za, &p[i], i + 1, "", "", 0);

        for (k = 0; k < 20; k++) {
            rc |= person_sit(&za, &c[k], &p[i]);
            rc |= person_put(&za, &c[k], &p[i], "", "1", ENTER | DATA, NULL);
        }
    }

    tell_all(&za);
    is_int(rc, 0, "%u members", za.shm->nmembers);

    for (i = 0; i < n; i++) {
        fanout_identity_end(&za, p[i].ref, &p[i].id, 100000, 1,
                            FANOUT_LEFT_NETWORK);
    }

    bounded("a mass cut");

    fanout_test_seconds += 2;
    is_int(sweep_all(&za), 0, "nobody leaves before the linger is over");

    fanout_test_seconds += 1;

    for (turns = 0; za.shm->nmembers && turns < 4 * n; turns++) {
        (void) fanout_zone_sweep(turns % 2 ? &za : &zb);
        (void) fanout_presence_flush(turns % 2 ? &za : &zb);
        read_all(&za);
    }

    is_int(za.shm->nmembers, 0, "all left in the same second, in %u turns",
           turns);
    bounded("its end");
    sound("a mass cut");

    free(p);
    stop();
}


/* a worker that dies */

static void
reaped(void)
{
    int        more;
    char       name[32];
    unsigned   i, k, n, turns;
    pid_t      pid;
    zone_t     z;
    person_t   p;
    channel_t *c;
    result_t   r;

    static policy_t  room = {
        .presence = FANOUT_PRESENCE_ON, .linger = 5
    };

    start(128 * MB, 0);
    n = 5000;
    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        fanout_zone_attach(&z, zmem, zsize);
        fanout_slot_claim(&z, 3);
        c = calloc(1000, sizeof(channel_t));

        for (i = 0; i < 1000; i++) {
            snprintf(name, sizeof(name), "channel %u", i);
            c[i] = opened(&z, name, &room, i);
        }

        for (i = 0; i < n; i++) {
            (void) person_add(&z, &p, i + 1, "", "", 0);

            for (k = 0; k < 5; k++) {
                (void) person_sit(&z, &c[(i + k) % 1000], &p);
                (void) person_put(&z, &c[(i + k) % 1000], &p, "", "1",
                                  ENTER | DATA, NULL);
            }
        }

        while (fanout_presence_flush(&z) == 0) { /* void */ }

        for (i = 0; i < 1000; i++) {
            for (k = 0; k < 60; k++) {
                (void) put(&z, &c[i], i, 10, 0, NULL, &r);
            }
        }

        kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, NULL, 0);
    fanout_test_work = fanout_test_journal = 0;

    for (turns = 1; turns < 1000; turns++) {
        i = fanout_slot_reap(&za, 5000, &more);

        if (!more) {
            break;
        }

        is_int(i, 0, "it is not done yet");
    }

    is_int(i, 1, "reaped in %u turns", turns);
    ok(turns > 1, "more than one");
    bounded("a worker that has died");
    is_int(za.shm->nseats_lingering, 5 * n, "all linger");

    fanout_test_seconds += 10;
    (void) sweep_all(&za);
    tell_all(&za);
    is_int(za.shm->nmembers, 0, "and leave");
    bounded("its members");
    sound("a worker that has died");
    stop();
}


/* Rooms that wait for a long batch delay nobody. */

static void
rooms(void)
{
    char       name[32];
    unsigned   i, n, rc;
    uint32_t   ms;
    uint64_t   deltas;
    person_t  *p;
    channel_t *c;

    static policy_t  slow = {
        .presence = FANOUT_PRESENCE_ON, .linger = 5, .batch = 10000
    };
    static policy_t  fast = {
        .presence = FANOUT_PRESENCE_ON, .linger = 5, .batch = 50
    };

    n = 3000;
    start(64 * MB, 0);
    p = calloc(n + 1, sizeof(person_t));
    c = calloc(n + 1, sizeof(channel_t));
    rc = 0;

    for (i = 0; i <= n; i++) {
        snprintf(name, sizeof(name), "room %u", i);
        c[i] = opened(&za, name, i < n ? &slow : &fast, i);
        rc |= person_add(&za, &p[i], i + 1, "", "", 0);
        rc |= person_sit(&za, &c[i], &p[i]);

        if (i < n) {
            rc |= person_put(&za, &c[i], &p[i], "", "1", ENTER | DATA, NULL);
        }
    }

    is_int(fanout_presence_flush(&za) == 0
           ? fanout_presence_flush(&za) : UINT32_MAX,
           UINT32_MAX, "the first changes are told at once");

    fanout_test_seconds += 1;

    for (i = 0; i < n; i++) {
        rc |= person_put(&za, &c[i], &p[i], "", "2", DATA, NULL);
    }

    is_int(rc, 0, "%u rooms wait", n);
    is_int(fanout_presence_flush(&za), 9000, "for 9 s");

    deltas = za.shm->deltas;
    (void) person_put(&za, &c[n], &p[n], "", "1", ENTER | DATA, NULL);
    is_int(fanout_presence_flush(&za), 9000, "one more is due");
    is_int(za.shm->deltas, deltas + 1, "and told");

    (void) person_put(&za, &c[n], &p[n], "", "2", DATA, NULL);
    ms = fanout_presence_flush(&za);
    ok(ms >= 50 && ms < 50 + FANOUT_PRESENCE_TICK, "the next within its batch: "
       "%u", ms);
    fanout_test_msec += ms;
    is_int(fanout_presence_flush(&za), 9000 - ms, "it is over");
    is_int(za.shm->deltas, deltas + 2, "and told");

    bounded("rooms that wait");
    sound("rooms that wait");

    fanout_test_seconds += 8;
    is_int(fanout_presence_flush(&za), 1000 - ms, "the others wait");

    fanout_test_seconds += 1;
    tell_all(&za);
    is_int(za.shm->deltas, deltas + 2 + n, "all were told");
    sound("told");

    /* nobody looks for longer than the wheel is round */

    for (i = 0; i < n; i++) {
        rc |= person_put(&za, &c[i], &p[i], "", "3", DATA, NULL);
    }

    fanout_test_seconds += 100;
    rc |= person_put(&za, &c[n], &p[n], "", "3", DATA, NULL);
    sound("after a long time");
    tell_all(&za);
    is_int(za.shm->deltas, deltas + 3 + 2 * n, "all were told again");
    bounded("told late");

    free(p);
    free(c);
    stop();
}


/* a batch of messages to a channel that is full, read by 16 workers */

static void
publishes(void)
{
    zone_t     z[14];
    unsigned   i, n;
    result_t   r;
    message_t  m[FANOUT_ZONE_BATCH];
    channel_t  c, own;

    static uint8_t   data[200];
    static policy_t  pol = { .history = 200, .bytes = 6400 };

    start(64 * MB, 0);
    c = opened(&za, "channel", &pol, 0);

    for (i = 0; i < 14; i++) {
        fanout_zone_attach(&z[i], zmem, zsize);
        fanout_slot_claim(&z[i], 10 + i);
        (void) opened(&z[i], "channel", &pol, 0);
    }

    memset(m, 0, sizeof(m));

    for (n = 0; n < 20; n++) {
        for (i = 0; i < FANOUT_ZONE_BATCH; i++) {
            m[i].data = zstr(data, n % 2 ? 180 : 1);
        }

        if (fanout_log_publish(&za, &c, m, FANOUT_ZONE_BATCH,
                               NULL, &r)
            != OK)
        {
            ok(0, "published");
        }
    }

    bounded("batches");

    for (i = 0; i < 14; i++) {
        read_all(&z[i]);
    }

    read_all(&za);
    bounded("drains");

    own = view(&za, "channel", &pol);
    (void) fanout_channel_purge(&zb, &own, NULL, 0, &r);
    bounded("a purge");

    (void) sweep_all(&za);
    bounded("what was purged");
    sound("publishes");

    for (i = 0; i < 14; i++) {
        fanout_slot_release(&z[i]);
    }

    stop();
}


/* workers that read nothing */

static void
stalled(void)
{
    unsigned   i, rc;
    result_t   r;
    channel_t  c;

    static policy_t  pol = { .history = 100000 };

    start(8 * MB, 0);
    (void) opened(&za, "channel", &pol, 0);
    c = view(&zb, "channel", &pol);
    rc = 0;

    for (i = 0; i < 200000; i++) {
        rc |= put(&zb, &c, i, 1, 0, NULL, &r);
    }

    is_int(rc, 0, "published");
    ok(za.shm->dropped > 0, "its cursor was moved %u times",
       (unsigned) za.shm->dropped);
    bounded("a worker that reads nothing");
    sound("a worker that reads nothing");
    stop();
}


/* a worker without a slot, and one that dies in the middle of it */

static void
without_slot(void)
{
    int        rc;
    pid_t      pid;
    size_t     len;
    zone_t     z;
    uint8_t   *data;
    result_t   r;
    message_t  m;
    channel_t  c;

    static policy_t  pol = { .history = 10 };

    start(128 * MB, 0);
    fanout_zone_attach(&z, zmem, zsize);
    c = view(&z, "channel", &pol);

    len = 15 * MB;
    data = malloc(len);
    data_fill(data, 7, len);
    memset(&m, 0, sizeof(m));
    m.data = zstr(data, len);

    is_int(fanout_log_publish(&z, &c, &m, 1, NULL, &r), OK,
           "a large message without a slot");
    bounded("a large message without a slot");
    is_int(za.shm->heap.used[FANOUT_STAGED], 0, "nothing is staged");

    arena_reset(&arena);
    rc = AGAIN;

    while (rc == AGAIN && arena.n == 0) {
        uint64_t  lost;

        rc = fanout_log_read(&z, &c, r.epoch, 0, r.offset, &arena, &lost);
    }

    ok(arena.n == 1 && data_is(arena.entries[0].data.data,
                               arena.entries[0].data.len, 7, len),
       "it is whole");

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        (void) fanout_staging_take(&z);

        (void) fanout_enter(&z);
        fanout_set(&z, z.shm->spare.staged[0].head,
                   fanout_alloc(&z, 10, FANOUT_STAGED,
                                &z.shm->spare.staged[0].tail));
        fanout_set(&z, z.shm->spare.staged[0].n, 10);
        fanout_set(&z, z.shm->spare.nstaged, 1);
        fanout_leave(&z);

        kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, NULL, 0);

    is_int(za.shm->heap.used[FANOUT_STAGED], 10,
           "it has died with some staged");
    sound("staged by one that has died");

    (void) fanout_slot_reap(&za, 0, NULL);
    is_int(za.shm->heap.used[FANOUT_STAGED], 0, "they are freed");
    is_int(fanout_log_publish(&z, &c, &m, 1, NULL, &r), OK,
           "the next takes its turn");
    sound("without a slot");

    free(data);
    stop();
}


/* A transaction that is more than the journal holds is a bug.  It must not
 * become half a transaction when its worker dies. */

static void
overflow(void)
{
    pid_t      pid;
    stat_t     st;
    uint64_t   was;
    unsigned   i;
    result_t   r;
    channel_t  c;

    static policy_t  pol = { .history = 10 };

    start(4 * MB, 0);
    c = view(&za, "channel", &pol);
    (void) put(&za, &c, 1, 10, 0, NULL, &r);
    was = za.shm->heap.incarnation;

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        (void) fanout_enter(&zb);

        for (i = 0; i < FANOUT_JOURNAL + 10; i++) {
            fanout_set(&zb, zb.shm->nkeys, zb.shm->nkeys + 1);
        }

        kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, NULL, 0);

    fanout_zone_stat(&za, &st);
    ok(st.incarnation != was, "the zone was made anew");
    ok(st.nkeys == 0 && st.nchannels == 0, "and is empty");
    ok(st.overflows > 0, "it is told");

    za.shm->heap.overflows = 0;
    sound("after an overflow");
    stop();
}


/* Pages that another process has filled are met without the lock. */

static void
met(void)
{
    int               rc, status;
    pid_t             pid;
    zone_t            z;
    size_t            i, used;
    unsigned          n;
    result_t          r;
    channel_t         c;
    struct rusage     before, after;
    volatile uint8_t  sum;

    static policy_t  kept = { .history = 100000 };

    start(64 * MB, 0);

    pid = fork();

    if (pid == 0) {
        memset(&z, 0, sizeof(zone_t));

        if (fanout_zone_attach(&z, zmem, zsize) != OK) {
            _exit(1);
        }

        c = view(&z, "filled", &kept);

        for (n = 0; n < 3000; n++) {
            if (put(&z, &c, n, 10000, 0, NULL, &r) != OK) {
                _exit(2);
            }
        }

        _exit(0);
    }

    (void) waitpid(pid, &status, 0);
    is_int(status, 0, "another process fills 30 MB");

    for (n = 0; n < 1000; n++) {
        rc = fanout_zone_touch(&za);

        if (rc == OK) {
            break;
        }
    }

    is_int(rc, OK, "they are met, in parts");
    ok(n >= 20 && n < 100, "which are small: %u", n);

    used = za.shm->heap.blocks + (size_t) za.shm->heap.fresh * 64;
    sum = 0;

    getrusage(RUSAGE_SELF, &before);

    for (i = 0; i < used; i += 4096) {
        sum ^= ((volatile uint8_t *) zmem)[i];
    }

    getrusage(RUSAGE_SELF, &after);

    ok(after.ru_minflt - before.ru_minflt < 16,
       "then %zu pages have no page fault: %ld", used / 4096,
       after.ru_minflt - before.ru_minflt);

    is_int(fanout_zone_touch(&za), OK, "there is no more");
    stop();
}


int
main(int argc, char **argv)
{
    arena_init(&arena);

    sparse(0);
    sparse(1);
    fullest_seat();
    full_mailboxes();
    long_texts();
    many_seats();
    walk();
    back_in_time();
    due_at_once();
    mass_cut();
    reaped();
    rooms();
    publishes();
    stalled();
    without_slot();
    overflow();
    met();

    return done_testing();
}
