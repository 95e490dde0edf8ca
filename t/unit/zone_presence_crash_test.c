/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/crash.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* sources: t/unit/zone_presence_crash_setup.c */
/* sources: t/unit/zone_presence_crash_ops.c */
/* sources: t/unit/zone_presence_crash_chaos.c */
/* cflags: -DFANOUT_CRASH=1 -DFANOUT_TEST=1 */

/*
 * If this fails, a worker killed in the middle of a join, a leave or a cleanup
 * leaves a ghost among the members, loses one who is there, has a backend told
 * what did not happen or not told what did, or leaves the zone broken for all.
 *
 * A process is killed by SIGKILL at every crash point of an operation on seats
 * and members, before and after each store, or at a sample of them.  A
 * survivor then goes on, with a mirror of the members that it had from before:
 * the zone is sound, the mirror agrees with the presence set when all is told,
 * and when time has passed nobody is there whose session is not.  What a
 * witness knows by the events is what is.
 *
 * Then several processes do random things, and some of them die.
 *
 * ZONE_KILLS (80), ZONE_STEP and ZONE_OP, which may be "random", are explained
 * in crash.h; of the random ones there are ZONE_HISTORIES (40), replayed by
 * ZONE_SEED.
 */


#include "tap.h"
#include "zone_presence_crash.h"


channel_t             ca, co, *c;       /* "room" */
channel_t             sa, so, *cs;      /* "summary" */
channel_t             rooms[SEATS];     /* of the killed */
person_t              people[200], p;   /* people of the survivor */
mirror_t              mirror;
static witness_t      witness;
char                  names[SEATS][8];

policy_t  presence = {
    .history = 10, .presence = FANOUT_PRESENCE_ON, .linger = 5,
    .batch = 100, .hooks = 1
};


/* the survivor: all is told, and the mirror takes it */

int
drain(void)
{
    int       rc;
    uint32_t  i;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(&survivor, &arena);

        for (i = 0; i < arena.n; i++) {
            if (arena.entries[i].local == 7
                && mirror_entry(&mirror, &arena.entries[i]) != 0)
            {
                return crash_fail("%s", mirror.error);
            }
        }

    } while (rc == AGAIN);

    return rc == OK ? 0 : crash_fail("drain: %d", rc);
}


int
settle(void)
{
    int       n, rc;
    uint32_t  ms;
    mirror_t  now;

    for (n = 0; n < 10000; n++) {
        ms = fanout_presence_flush(&survivor);

        if (drain() != 0) {
            return -1;
        }

        if (ms == UINT32_MAX) {
            break;
        }

        fanout_test_msec += ms;
        fanout_test_seconds += fanout_test_msec / 1000;
        fanout_test_msec %= 1000;
    }

    if (n == 10000) {
        return crash_fail("endless");
    }

    if (mirror.state == MIRROR_LOST
        && mirror_read(&mirror, &survivor, &ca) != 0)
    {
        return crash_fail("%s", mirror.error);
    }

    mirror_init(&now);
    rc = mirror_read(&now, &survivor, &ca) == 0
         ? mirror_same(&mirror, &now, 1) : -1;
    mirror_done(&now);

    return rc ? crash_fail("mirror: %s", mirror.error) : 0;
}


/* all events are told, and are what is */

static int
heed(void)
{
    return w_read_all(&witness, &survivor) != 0
           || w_true(&witness, &survivor) != 0
           ? crash_fail("events: %s", witness.error) : 0;
}


/* what others can see, as text */

static size_t
say_state(size_t n)
{
    face_t      *f;
    stat_t       st;
    order_t      o[64];
    presence_t   r;
    unsigned     i, k;
    uint32_t     slot;
    member_t     m[1];

    static uint8_t  buf[SECTION];

    for (i = 0; i < mirror.max && n < CRASH_TEXT / 2; i++) {
        f = &mirror.faces[i];

        if (f->there) {
            n = crash_say(n, "%u: %llu %x %x %x %x %u\n", i,
                    (unsigned long long) f->client, f->key, f->user, f->info,
                    f->data, f->idle);
        }
    }

    slot = 0;
    memset(&r, 0, sizeof(r));
    (void) fanout_presence_read(&survivor, &sa, &slot, m, 1, buf, SECTION, &k,
                                &r);

    fanout_zone_stat(&survivor, &st);
    n = crash_say(n, "members %u counted %u identities %llu %llu users %llu "
                  "seats %llu %llu members %llu evicted %llu gaps %u\n",
                  mirror.n, r.members,
                  (unsigned long long) st.nidentities,
                  (unsigned long long) st.lingering,
                  (unsigned long long) st.nusers,
                  (unsigned long long) st.nseats,
                  (unsigned long long) st.seats_lingering,
                  (unsigned long long) st.nmembers,
                  (unsigned long long) st.evicted, mirror.gaps);

    n = crash_say(n, "events %llu of %llu sum %x, lost %llu, asked for %llu, "
                  "leader %u\n", (unsigned long long) witness.read,
                  (unsigned long long) survivor.shm->event_offset,
                  witness.sum, (unsigned long long) st.events_lost,
                  (unsigned long long) st.events_max, st.events_leader);

    while ((k = fanout_slot_orders(&survivor, o, 64)) != 0) {
        for (i = 0; i < k; i++) {
            n = crash_say(n, "order %u %llu %u %u\n", o[i].op,
                          (unsigned long long) o[i].client, o[i].code,
                          o[i].reason);
        }
    }

    return n;
}


/* a member whose session is not this process's is one of nobody's */

static int
ghosts(void)
{
    uint32_t   i;
    stat_t     st;
    client_t   info;
    uint8_t    buf[255 + FANOUT_ZONE_INFO];

    for (i = 0; i < mirror.max; i++) {
        if (!mirror.faces[i].there) {
            continue;
        }

        if (fanout_client_get(&survivor, mirror.faces[i].client, &info,
                              buf) != OK || info.pid != 1)
        {
            return crash_fail("a ghost: %llu in slot %u", (unsigned long long)
                        mirror.faces[i].client, i);
        }
    }

    fanout_zone_stat(&survivor, &st);

    if (st.lingering || st.seats_lingering || st.live != 1) {
        return crash_fail("lingering: %llu, seats %llu, %u live",
                    (unsigned long long) st.lingering,
                    (unsigned long long) st.seats_lingering, st.live);
    }

    return 0;
}


static int
goes_on(void)
{
    int       rc;
    uint32_t  n;
    person_t  a;

    n = mirror.n;
    rc = person_add(&survivor, &a, 77777, "late", "", 0);

    if (rc == OK) {
        rc = person_sit(&survivor, &ca, &a);
    }

    if (rc == OK) {
        rc = person_put(&survivor, &ca, &a, "", "x", ENTER|DATA, NULL);
        n += rc == OK;
    }

    if (settle() != 0) {
        return -1;
    }

    if ((rc != OK && rc != FULL) || mirror.n != n) {
        return crash_fail("nobody can join any more: %d", rc);
    }

    person_end(&survivor, &a, 0);

    if (settle() != 0) {
        return -1;
    }

    return mirror.n != n - (rc == OK)
           ? crash_fail("nobody can leave any more") : 0;
}


static int
survive(void)
{
    size_t  n;

    if (crash_recover() != 0) {
        return -1;
    }

    w_init(&witness, E_ALL, NULL);

    /* what was taken it was not told */

    witness.last = witness.done = witness.read = survivor.shm->event_done;
    witness.soft = witness.done != 0;

    if (crash_sound("reaped") != 0 || settle() != 0 || heed() != 0
        || crash_sound("told") != 0)
    {
        return -1;
    }

    n = say_state(0);

    fanout_test_seconds += 60;

    if (sweep_all(&survivor) == -1) {
        return crash_fail("an endless sweep");
    }

    if (settle() != 0 || heed() != 0 || crash_sound("swept") != 0
        || ghosts() != 0 || goes_on() != 0 || heed() != 0)
    {
        return -1;
    }

    (void) say_state(crash_say(n, "later\n"));

    return 0;
}


static void
begin(const op_t *op)
{
    c = &co;
    cs = &so;
    op->prepare();
}


static void
world(const op_t *op)
{
    c = &ca;
    cs = &sa;

    (void) mirror_read(&mirror, &survivor, &ca);
    mirror.at_epoch = mirror.epoch;
    mirror.at = mirror.offset;
    mirror.follows = 1;

    if (op->setup) {
        op->setup();
    }
}


static void
recovered(void)
{
    (void) fanout_presence_flush(&own);
}


int
main(int argc, char **argv)
{
    static const crash_t  test = {
        SIZE, 80, world, begin, survive, recovered
    };

    crash_init(&test, 30, 20);
    mirror_init(&mirror);
    inhabit();
    crash_begin();

    crash_ops(ops, nops);

    if (crash_wanted("random")) {
        chaos();
    }

    return done_testing();
}
