/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_steps.c */
/* sources: t/unit/zone_model*.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, subscribers miss messages or get some twice, history is kept
 * too long or too short, or a zone that was once full never recovers.
 */


#include "tap.h"
#include "zone_model.h"
#include "heap/siphash.h"


static uint64_t  seed;


static void
checked(zone_t *z, const char *what)
{
    char  text[256];

    text[0] = '\0';
    ok(fanout_zone_verify(z, text, sizeof(text)) == 0, "%s: %s",
       what, text[0] ? text : "all invariants hold");
}


static void
random_history(size_t size, unsigned steps, int pressure, unsigned n)
{
    int        rc;
    void      *mem;
    uint64_t   start, own;
    model_t   *m;

    own = seed + n * 1000003ULL;
    mem = zone_make(size, 30, 20);
    m = calloc(1, sizeof(model_t));
    m->s.next = from_seed;
    m->s.data = &own;
    m->pressure = pressure;
    m_init(m, mem, size, 20);
    start = free_blocks(&m->z[0]);

    rc = 0;

    while (m->s.n < steps && rc == 0) {
        rc = m_step(m);

        if (rc == 0 && m->s.n % 64 == 0) {
            rc = m_check(m);
        }
    }

    if (rc == 0) {
        rc = m_empty(m, start);
    }

    if (rc || n < 2) {
        ok(rc == 0, "%u random operations, %u gaps, %u refused: %s",
           m->s.n, m->gaps, m->fulls, rc ? m->s.error : "as modelled");
    }

    if (rc) {
        diag("ZONE_SEED=%llu (history %u)", (unsigned long long) seed, n);
    }

    m_done(m);
    free(m);
    munmap(mem, size);
}


/* deterministic tests */

static void    *zmem;
static zone_t   za, zb;
static arena_t  arena;


static void
start(size_t size)
{
    fanout_test_seconds = 10;
    zmem = zone_make(size, 300, 120);
    (void) fanout_zone_attach(&za, zmem, size);
    (void) fanout_zone_attach(&zb, zmem, size);
    (void) fanout_slot_claim(&za, 1);
    (void) fanout_slot_claim(&zb, 2);
}


static void
stop(size_t size, const char *what)
{
    checked(&za, what);
    fanout_slot_release(&za);
    fanout_slot_release(&zb);
    munmap(zmem, size);
}


static int
drain(zone_t *z)
{
    arena_reset(&arena);

    return fanout_log_drain(z, &arena);
}


static void
life(void)
{
    int       efd[16], i;
    void     *mem;
    zone_t    z[3];
    conf_t    conf;
    stat_t    st;

    fanout_zone_worker_t  w;

    memset(&conf, 0, sizeof(conf));
    mem = map(MB);

    is_int(fanout_zone_create(mem, MB / 2, &conf, NULL), SMALL,
           "half a megabyte is too small");
    is_int(fanout_zone_slots(0), 32, "slots by default");
    is_int(fanout_zone_slots(1000), FANOUT_ZONE_SLOTS,
           "no more slots than there can be");

    conf.slots = 2;

    for (i = 0; i < 16; i++) {
        efd[i] = 100 + i;
    }

    is_int(fanout_zone_create(mem, MB, &conf, efd), OK, "create");
    is_int(fanout_zone_check_layout(mem, MB), OK, "layout");
    is_int(fanout_zone_check_layout(mem, 2 * MB), LAYOUT,
           "another size");

    ((fanout_shm_t *) mem)->heap.layout++;
    is_int(fanout_zone_check_layout(mem, MB), LAYOUT,
           "another layout");
    is_int(fanout_zone_attach(&z[0], mem, MB), LAYOUT,
           "attach to another layout");
    ((fanout_shm_t *) mem)->heap.layout--;
    ((fanout_shm_t *) mem)->heap.sizes++;
    is_int(fanout_zone_attach(&z[0], mem, MB), LAYOUT,
           "attach to other structs");
    ((fanout_shm_t *) mem)->heap.sizes--;

    for (i = 0; i < 3; i++) {
        is_int(fanout_zone_attach(&z[i], mem, MB), OK, "attach");
        is_int(fanout_slot_claim(&z[i], 7 + i),
               i < 2 ? OK : FULL, "claim");
    }

    is_int(fanout_slot_eventfd(&z[1]), 101, "eventfd");
    is_int(fanout_slot_eventfd(&z[2]), -1, "no slot, no eventfd");
    fanout_slot_counters(&z[0])[0] = 42;
    fanout_slot_sessions(&z[0], 3);
    ok(fanout_slot_get(&z[1], 0, &w) == OK && w.pid == 7
       && w.sessions == 3 && w.counters[0] == 42 && w.state == 1,
       "what others see of a slot");
    is_int(fanout_slot_get(&z[1], 2, &w), NOTFOUND, "no such slot");

    fanout_slot_release(&z[0]);
    is_int(fanout_slot_claim(&z[2], 9), OK, "a released slot");
    fanout_zone_stat(&z[2], &st);
    ok(st.retired[0] == 42 && st.live == 2 && st.slots == 2,
       "its counters live on");

    fanout_slot_release(&z[1]);
    fanout_slot_release(&z[2]);
    munmap(mem, MB);
}


/* "bytes per entry" of the documentation */

static void
sizes_promised(void)
{
    uint32_t   i, n;
    uint64_t   used;
    stat_t     st;
    policy_t   p = { .history = 10000, .bytes = 0, .ttl = 0 };
    result_t   r;
    channel_t  c;

    start(8 * MB);

    is_int(FANOUT_ENTRY_HEAD, 42, "head of an entry");
    is_int(offsetof(fanout_entry_block_t, data), 42, "as it is laid out");

    c = view(&za, "sizes", &p);
    (void) put(&za, &c, 0, 128, 0, NULL, &r);
    fanout_zone_stat(&za, &st);
    is_int(st.messages, 3, "blocks of a message of 128 bytes");
    is_int(st.channels, 3, "blocks of a channel");
    used = st.free;
    n = 5000;

    for (i = 0; i < n; i++) {
        (void) put(&za, &c, i, 128, 0, NULL, &r);
    }

    used -= free_blocks(&za);
    ok(used * FANOUT_BLOCK <= (uint64_t) n * (128 + 80),
       "%llu bytes for each of 128", (unsigned long long) used
       * FANOUT_BLOCK / n);

    used = free_blocks(&za);
    (void) fanout_channel_open(&za, &c, 0);
    is_int(used - free_blocks(&za), 1, "blocks of an interest");

    stop(8 * MB, "sizes");
}


static void
large(void)
{
    static const uint32_t  lens[] = {
        0, 1, 22, 23, 82, 83, 16383, 16384, 16385, 65536, 1000000, 3000000
    };

    int        rc, good, i;
    policy_t   p = { .history = 100, .bytes = 0, .ttl = 0 };
    result_t   r;
    uint64_t   lost;
    uint32_t  *used;
    channel_t  c, d;

    start(16 * MB);

    c = view(&za, "large", &p);
    d = view(&zb, "large", &p);
    (void) fanout_channel_open(&zb, &d, 5);
    good = 1;

    for (i = 0; i < 12; i++) {
        good &= put(&za, &c, i, lens[i], 0, NULL, &r) == OK;
    }

    ok(good, "published 0 B to 3 MB");

    for (i = 0; i < 12; ) {
        rc = drain(&zb);

        for (uint32_t k = 0; k < arena.n; k++, i++) {
            good &= data_is(arena.entries[k].data.data,
                            arena.entries[k].data.len, i, lens[i])
                    && arena.entries[k].local == 5;
        }

        if (rc != AGAIN) {
            break;
        }
    }

    ok(good && i == 12, "drained");

    for (i = 0; i < 12; ) {
        arena_reset(&arena);
        rc = fanout_log_read(&za, &c, r.epoch, i, UINT64_MAX, &arena, &lost);

        for (uint32_t k = 0; k < arena.n; k++, i++) {
            good &= data_is(arena.entries[k].data.data,
                            arena.entries[k].data.len, i, lens[i]);
        }

        if (rc != AGAIN) {
            break;
        }
    }

    ok(good && i == 12, "read");
    is_int(put(&za, &c, 1, 9000000, 0, NULL, &r), LARGE,
           "more than half of the zone is refused");
    used = za.shm->heap.used;
    is_int(free_blocks(&za) + used[FANOUT_STAGED] + used[FANOUT_MESSAGES]
           + used[FANOUT_INDEX] + used[FANOUT_CHANNELS]
           + used[FANOUT_INTERESTS],
           za.shm->heap.nblocks - 1, "and nothing of it is left");

    stop(16 * MB, "large");
}


static int
no_grow(arena_t *a, size_t n)
{
    return -1;
}


static void
no_memory(void)
{
    int        rc;
    policy_t   p = { .history = 100, .bytes = 0, .ttl = 0 };
    result_t   r;
    channel_t  c;

    start(MB);

    c = view(&za, "x", &p);
    (void) fanout_channel_open(&za, &c, 0);
    (void) put(&zb, &c, 1, 10, 0, NULL, &r);
    (void) put(&zb, &c, 2, 100000, 0, NULL, &r);
    (void) put(&zb, &c, 3, 10, 0, NULL, &r);

    arena.grow = no_grow;
    arena.size = 16384;
    rc = drain(&za);
    ok(rc == AGAIN && arena.n == 1 && arena.entries[0].offset == 1, "first");
    rc = drain(&za);
    ok(arena.n == 1 && arena.entries[0].type == FANOUT_GAP
       && arena.entries[0].from == 1 && arena.entries[0].offset == 2,
       "a gap where no memory can be had");
    rc = drain(&za);
    ok(rc == OK && arena.n == 1 && arena.entries[0].offset == 3, "the next");
    arena.grow = arena_grow;

    stop(MB, "no memory");
}


static uint64_t
kept(channel_t *c)
{
    info_t  info;

    return fanout_channel_info(&za, c, &info) == OK
           ? info.messages : UINT64_MAX;
}


/* the order in which room is made */

static void
full(void)
{
    int          rc;
    stat_t       st;
    policy_t     kept_for_ever = { .history = 1000000 };
    policy_t     ttl = { .history = 1000, .ttl = 5 };
    policy_t     none = { .history = 0 };
    result_t     r;
    uint64_t     first;
    uint32_t     i, ref;
    channel_t    big, small, old, idle, stalled;
    identity_t   id;

    start(MB);
    first = free_blocks(&za);

    old = view(&za, "old", &ttl);
    idle = view(&za, "idle", &none);
    small = view(&za, "small", &kept_for_ever);
    big = view(&za, "big", &kept_for_ever);
    stalled = view(&zb, "stalled", &none);

    memset(&id, 0, sizeof(id));
    id.client = 5;
    (void) util_add(&za, &id, &ref);
    fanout_identity_end(&za, ref, &id, 1000000,
                                     1, FANOUT_LEFT_INTENTIONAL);

    (void) put(&za, &idle, 1, 1, 0, NULL, &r);

    for (i = 0; i < 20; i++) {
        (void) put(&za, &old, i, 100, 0, NULL, &r);
        (void) put(&za, &small, i, 100, 0, NULL, &r);
    }

    fanout_test_seconds += 7;

    /* what expired goes before anything that did not */

    for (i = 0; ; i++) {
        fanout_zone_stat(&za, &st);

        if (st.expired || st.evicted || i == 20000) {
            break;
        }

        (void) put(&za, &big, i, 100, 0, NULL, &r);
    }

    ok(st.expired == 20 && st.evicted == 0, "expired history goes first");

    for (i = 0; i < 20000; i++) {
        rc = put(&za, &big, i, 100, 0, NULL, &r);

        if (rc != OK) {
            break;
        }
    }

    is_int(rc, OK, "publishing goes on in a full zone");
    is_int(kept(&small), 20, "small channels keep their history");
    is_int(kept(&idle), 0, "idle ones stay");
    ok(kept(&big) < 5000 && kept(&big) > 1000, "the largest lost its oldest");
    fanout_zone_stat(&za, &st);
    ok(st.lingering == 1 && st.full == 0, "nothing else went");

    /* now channels that can't be evicted take all */

    for (i = 0; i < 100000; i++) {
        char       name[16];
        channel_t  c;

        snprintf(name, sizeof(name), "n%u", i);
        c = view(&za, name, &none);
        rc = fanout_channel_open(&za, &c, i);

        if (rc != OK) {
            break;
        }

        if (i == 10) {
            (void) fanout_channel_open(&zb, &stalled, 0);
        }

        if (i >= 10 && i < 20) {
            (void) put(&za, &stalled, i, 100, 0, NULL, &r);
        }
    }

    is_int(rc, FULL, "then it is full");
    fanout_zone_stat(&za, &st);
    is_int(kept(&big), UINT64_MAX, "history and idle channels went");
    is_int(st.lingering, 0, "and lingering identities");
    ok(st.dropped > 0 && st.held == 0, "and what a stalled worker held");
    ok(st.full > 0, "a refusal is counted");

    (void) drain(&zb);
    ok(arena.n == 1 && arena.entries[0].type == FANOUT_GAP
       && arena.entries[0].from == 0 && arena.entries[0].offset == 10,
       "which is told of the gap");
    checked(&za, "full");

    fanout_slot_release(&za);
    (void) fanout_slot_claim(&za, 1);
    is_int(put(&za, &big, 1, 50000, 0, NULL, &r), OK, "full recovery");
    fanout_slot_release(&zb);
    (void) fanout_channel_purge(&za, &big, NULL, 0, &r);
    fanout_test_seconds += 1000;
    (void) sweep_all(&za);
    is_int(free_blocks(&za), first, "and as many free blocks as at first");

    stop(MB, "recovered");
}


/* One worker never reads; another does, on a channel that is never still. */

static void
stalled_worker(void)
{
    int        gaps, rc;
    stat_t     st;
    uint64_t   max, at;
    uint32_t   i, k, lost;
    policy_t   none = { .history = 0, .bytes = 0, .ttl = 0 };
    result_t   r;
    channel_t  busy, shared, mine;

    start(4 * MB);

    busy = view(&za, "busy", &none);
    mine = view(&za, "shared", &none);
    shared = view(&zb, "shared", &none);
    (void) fanout_channel_open(&za, &busy, 0);
    (void) fanout_channel_open(&za, &mine, 1);
    (void) fanout_channel_open(&zb, &shared, 2);

    max = lost = 0;

    for (i = 0; i < 30000; i++) {
        (void) put(&za, &busy, i, 100, 0, NULL, &r);
        (void) put(&za, &mine, i, 200, 0, NULL, &r);

        /* always a little behind, so that both streams are never empty */

        if (i >= 50) {
            arena.max = 2;
            (void) drain(&za);
            arena.max = ARENA_N;

            for (k = 0; k < arena.n; k++) {
                lost += arena.entries[k].type == FANOUT_GAP;
            }
        }

        if (i % 100 == 0) {
            (void) sweep_all(&za);
        }

        fanout_zone_stat(&za, &st);
        max = st.held > max ? st.held : max;
    }

    ok(max <= st.held_max + 1000, "held %llu of at most %llu",
       (unsigned long long) max, (unsigned long long) st.held_max);
    is_int(lost, 0, "who reads loses nothing");

    gaps = 0;
    at = 0;

    do {
        rc = drain(&zb);

        for (k = 0; k < arena.n; k++) {
            if (arena.entries[k].type == FANOUT_GAP) {
                gaps++;

            } else if (at && arena.entries[k].offset != at + 1) {
                gaps += 1000;
            }

            at = arena.entries[k].offset;
        }

    } while (rc == AGAIN);

    is_int(gaps, 1, "who did not is told of one gap");
    is_int(at, 30000, "and goes on to the end");

    stop(4 * MB, "stalled");
}


/* marks of the policy of before */

static void
policies(void)
{
    uint32_t   i;
    policy_t   p = { .history = 100, .bytes = 0, .ttl = 0 };
    result_t   r;
    join_t     j;
    channel_t  c;

    start(MB);

    c = view(&za, "p", &p);
    (void) fanout_channel_open(&za, &c, 0);

    for (i = 0; i < 100; i++) {
        (void) put(&za, &c, i, 10, 0, NULL, &r);
    }

    p.history = 0;
    (void) fanout_channel_open(&za, &c, 0);
    (void) put(&za, &c, i, 10, 0, NULL, &r);
    is_int(kept(&c), 0, "history=0 drops all");

    (void) fanout_log_join(&za, &c, 1, r.epoch, 100, 0, &j);
    ok(!j.recovered, "the one that was not kept is missed");
    (void) fanout_log_join(&za, &c, 1, r.epoch, 101, 0, &j);
    ok(j.recovered, "none is missed at the end");

    p.history = 1000;
    p.ttl = 2000;
    (void) fanout_channel_open(&za, &c, 0);

    for (i = 0; i < 300; i++) {
        (void) put(&za, &c, i, 10, 0, NULL, &r);
    }

    p.ttl = 5;
    (void) fanout_channel_open(&za, &c, 0);
    fanout_test_seconds += 8;
    (void) sweep_all(&za);
    is_int(za.shm->heap.used[FANOUT_INDEX], 0, "a shorter ttl holds at once");

    stop(MB, "policies");
}


/* one position of the zone for many channels */

static void
by_seq(void)
{
    uint32_t   i;
    uint64_t   one, inc;
    policy_t   p = { .history = 100 }, few = { .history = 3 };
    policy_t   none = { .history = 0 };
    result_t   r;
    join_t     j;
    channel_t  a, b, n, later;

    start(MB);

    a = view(&za, "a", &p);
    b = view(&za, "b", &few);
    n = view(&za, "n", &none);
    (void) fanout_channel_open(&za, &a, 0);
    (void) fanout_channel_open(&za, &b, 1);
    (void) fanout_channel_open(&za, &n, 2);
    inc = za.heap.incarnation;

    for (i = 0; i < 40; i++) {
        (void) put(&za, &a, i, 10, 0, NULL, &r);
        (void) put(&za, &b, i, 10, 0, NULL, &r);
    }

#define join_seq(c, at)                                                       \
    (void) fanout_log_join(&za, c, FANOUT_SINCE_SEQ, inc,                     \
                           at, 0, &j)

    join_seq(&a, 21);
    ok(j.recovered && j.missed == 29 && j.after == 11 && j.from == 21,
       "what one channel has behind a position of the zone");
    join_seq(&a, 0);
    ok(j.recovered && j.missed == 40 && j.after == 0, "all of it");
    join_seq(&a, 80);
    ok(j.recovered && j.missed == 0 && j.after == 40, "none of it");
    join_seq(&a, 81);
    ok(!j.recovered && j.missed == 0, "no position that is still to come");

    one = inc;
    inc++;
    join_seq(&a, 80);
    ok(!j.recovered, "nor one of another life of the zone");
    inc = one;

    join_seq(&b, 73);
    ok(!j.recovered, "one that was let go of is told");
    join_seq(&b, 74);
    ok(j.recovered && j.missed == 3 && j.after == 37,
       "the last of them is not");

    (void) put(&za, &n, 1, 10, 0, NULL, &r);
    join_seq(&n, 80);
    ok(!j.recovered, "what is not kept is missed");
    join_seq(&n, 81);
    ok(j.recovered, "by who was not told");

    later = view(&za, "later", &p);
    (void) fanout_channel_open(&za, &later, 3);
    join_seq(&later, 80);
    ok(!j.recovered, "nobody knows what a channel of that name had before");
    join_seq(&later, 81);
    ok(j.recovered, "from its making on it is known");

    (void) fanout_channel_close(&za, &a);
    a = view(&za, "a", &p);
    (void) fanout_channel_purge(&za, &a, NULL, 0, &r);
    (void) fanout_channel_open(&za, &a, 0);
    join_seq(&a, 81);
    ok(!j.recovered, "a purge is told, though nobody read the channel");
    join_seq(&a, 82);
    ok(j.recovered, "once");

#undef join_seq

    stop(MB, "by seq");
}


/* the position of a channel that does not exist */

static uint64_t
nowhere(channel_t *c)
{
    join_t  j;

    ok(fanout_log_seek(&za, c, 0, 0, &j) == NOTFOUND
       && j.epoch != 0 && j.offset == 0,
       "a channel that is not there has a position");

    return j.epoch;
}


static void
absent(void)
{
    uint64_t   at, old;
    policy_t   p = { .history = 3 }, none = { .history = 0 };
    result_t   r;
    join_t     j;
    publish_t  opts;
    channel_t  a, b, c;

    start(MB);

    a = view(&za, "a", &p);
    b = view(&za, "b", &none);
    c = view(&za, "c", &p);

#define holds(c, at)  fanout_log_holds(&za, c, at, 0)

    at = nowhere(&a);
    ok(holds(&a, at), "which is where it is");
    ok(!fanout_log_holds(&za, &a, at, 1), "at no other offset");
    ok(!holds(&a, at ^ (1ULL << 63)) && !holds(&a, 0), "and no other epoch");

    (void) put(&za, &b, 1, 10, 0, NULL, &r);
    ok(holds(&a, at), "others may be made");
    ok(!holds(&b, at), "but not without a history");

    (void) put(&za, &a, 1, 10, 0, NULL, &r);
    (void) put(&za, &a, 2, 10, 0, NULL, &r);
    ok(holds(&a, at), "it is the start of one that is made since");

    (void) fanout_channel_open(&za, &a, 0);
    (void) fanout_log_join(&za, &a, 1, at, 0, 0, &j);
    ok(j.recovered && j.missed == 2 && j.after == 0 && j.epoch == r.epoch,
       "a join from there misses all of it");

    (void) put(&za, &a, 3, 10, 0, NULL, &r);
    ok(holds(&a, at), "as long as all is kept");
    (void) put(&za, &a, 4, 10, 0, NULL, &r);
    (void) fanout_log_join(&za, &a, 1, at, 0, 0, &j);
    ok(!holds(&a, at) && !j.recovered, "and no longer");

    /* "if" */

    memset(&opts, 0, sizeof(opts));
    opts.if_set = 1;
    opts.if_epoch = 1;
    ok(put(&za, &c, 1, 10, 0, &opts, &r) == CONFLICT && r.offset == 0
       && holds(&c, r.epoch), "a conflict tells it");
    opts.if_epoch = at = r.epoch;
    ok(put(&za, &c, 1, 10, 0, &opts, &r) == OK, "if there is none");
    ok(put(&za, &c, 1, 10, 0, &opts, &r) == CONFLICT, "now there is");

    /* purged */

    ok(holds(&c, at), "before a purge");
    (void) fanout_channel_purge(&za, &c, NULL, 0, &r);
    ok(!holds(&c, at), "a purge is told");
    (void) fanout_channel_open(&za, &c, 1);
    (void) fanout_channel_purge(&za, &c, NULL, 0, &r);
    fanout_test_seconds += 5;
    (void) put(&za, &c, 1, 10, 0, NULL, &r);
    ok(!holds(&c, at), "and remembered");

    /* forgotten: b has lost an entry */

    c = view(&za, "d", &p);
    at = nowhere(&c);
    fanout_test_seconds += 3600;
    (void) sweep_all(&za);
    old = nowhere(&b);
    ok(holds(&c, at), "an old one may be forgotten");

    (void) put(&za, &b, 1, 10, 0, NULL, &r);
    fanout_test_seconds += 3600;
    (void) sweep_all(&za);
    ok(nowhere(&b) != old && !holds(&b, old),
       "one that was there meanwhile is missed");
    ok(!holds(&c, at), "whichever it was");
    at = nowhere(&c);
    ok(holds(&c, at) && holds(&b, at), "from now on it is known");

#undef holds

    stop(MB, "absent");
}


static void
idempotence(void)
{
    policy_t   p = { .history = 10, .bytes = 0, .ttl = 0 };
    result_t   r, again;
    publish_t  opts;
    channel_t  c;

    start(MB);

    c = view(&za, "k", &p);
    memset(&opts, 0, sizeof(opts));
    opts.key = zstr("key", 3);
    (void) put(&za, &c, 1, 10, 0, &opts, &r);

    fanout_test_seconds += 120;
    ok(put(&zb, &c, 1, 10, 0, &opts, &again) == OK && again.duplicate
       && again.offset == r.offset && again.time == r.time,
       "the first result for as long as it is remembered");

    opts.scope = zstr("user", 4);
    ok(put(&zb, &c, 1, 10, 0, &opts, &again) == OK && !again.duplicate,
       "a key of another user is another");
    opts.scope = zstr(NULL, 0);

    fanout_test_seconds += 1;
    ok(put(&zb, &c, 1, 10, 0, &opts, &again) == OK && !again.duplicate
       && again.offset == 3, "and no longer");

    (void) fanout_channel_purge(&za, &c, NULL, 0, &r);
    ok(put(&zb, &c, 1, 10, 0, &opts, &again) == OK && !again.duplicate,
       "nor over a purge");

    memset(&opts, 0, sizeof(opts));
    opts.if_set = 1;
    opts.if_offset = 7;
    ok(put(&za, &c, 1, 10, 0, &opts, &r) == CONFLICT && r.offset == 1
       && r.epoch == again.epoch, "a conflict tells what there is");
    opts.if_offset = 1;
    ok(put(&za, &c, 1, 40000, 0, &opts, &r) == OK && r.offset == 2,
       "none with the right offset, large");
    opts.if_epoch = 1;
    opts.if_offset = 2;
    is_int(put(&za, &c, 1, 40000, 0, &opts, &r), CONFLICT,
           "a wrong epoch, large");

    stop(MB, "idempotence");
}


/* A broadcast gives one key to many channels: they may not share a bucket. */

static void
one_key(void)
{
    char       name[16];
    uint32_t   i, n, most;
    policy_t   none = { .history = 0, .bytes = 0, .ttl = 0 };
    result_t   r;
    publish_t  opts;
    channel_t  c;

    start(16 * MB);

    memset(&opts, 0, sizeof(opts));
    opts.key = zstr("key", 3);

    for (i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        c = view(&za, name, &none);
        (void) put(&za, &c, i, 8, 0, &opts, &r);
    }

    most = 0;

    for (i = 0; i <= za.shm->key_mask; i++) {
        fanout_ref_t  ref;

        ref = fanout_hash_table(&za, key_hash)[i];

        for (n = 0; ref; ref = fanout_key(&za, ref)->hash_next) {
            n++;
        }

        most = n > most ? n : most;
    }

    ok(most < 20, "one key on 5000 channels: at most %u in a bucket", most);

    stop(16 * MB, "one key");
}


/* Finding in a history whose beginning has moved takes few jumps. */

static unsigned
jumps(zone_t *z, fanout_channel_block_t *ch, uint32_t ord)
{
    unsigned         n;
    fanout_index_t  *ix;

    ix = fanout_index(z, ch->index_last);

    for (n = 0; ix->ord != ord; n++) {
        ix = fanout_index(z, ix->jump_ord >= ord ? ix->jump : ix->prev);
    }

    return n;
}


static void
finding(void)
{
    uint32_t                 i, n, most;
    result_t                 r;
    policy_t                 p = { .history = 20000, .bytes = 0, .ttl = 0 };
    channel_t                c;
    fanout_channel_block_t  *ch;

    start(16 * MB);

    c = view(&za, "long", &p);
    (void) fanout_channel_open(&za, &c, 0);

    for (i = 0; i < 60000; i++) {
        (void) put(&za, &c, i, 8, 0, NULL, &r);

        if (i % 1000 == 0) {
            while (drain(&za) == AGAIN) { /* void */ }
        }
    }

    n = 0;

    for (i = 40001; i <= 60000; i++) {
        join_t  j;

        (void) fanout_log_seek(&za, &c, i + 1, 1, &j);
        n += j.after == i - 1 && j.missed == 1;
    }

    is_int(n, 20000, "all of a long history are found by offset");

    ch = fanout_channel(&za, c.ref);
    most = 0;

    for (i = fanout_index(&za, ch->index_first)->ord;
         i <= fanout_index(&za, ch->index_last)->ord;
         i++)
    {
        n = jumps(&za, ch, i);
        most = n > most ? n : most;
    }

    ok(most <= 40, "in at most %u jumps over 1819 blocks", most);

    stop(16 * MB, "finding");
}


/* what stores most in one transaction still can be undone */

static void
journal(void)
{
    char        name[16], names[40][16];
    uint32_t    i, k, ref;
    uint8_t     data[8];
    policy_t    none = { .history = 0 }, ttl = { .history = 1000, .ttl = 5 },
                some = { .history = 1000 };
    result_t    r;
    message_t   m[64];
    channel_t   c[40], d;
    publish_t   opts;
    identity_t  id;

    start(8 * MB);

    memset(m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    memset(data, 7, sizeof(data));

    for (i = 0; i < 64; i++) {
        m[i].data = zstr(data, 8);
    }

    /* a slot with many streams that only it held */

    for (i = 0; i < 40; i++) {
        snprintf(names[i], sizeof(names[i]), "c%u", i);
        c[i] = view(&za, names[i], &none);
        (void) fanout_channel_open(&za, &c[i], i);
        (void) fanout_log_publish(&za, &c[i], m, 63, NULL, &r);
    }

    fanout_slot_release(&za);
    (void) fanout_slot_claim(&za, 1);
    checked(&za, "a slot with 40 streams of 63");

    /* a stream left behind, and batches on top of a history to be cut */

    d = view(&za, "d", &some);
    (void) fanout_channel_open(&za, &d, 0);

    for (i = 0; i < 64; i++) {
        m[i].flags = FANOUT_TRANSIENT;
    }

    for (i = 0; i < 70; i++) {
        (void) fanout_log_publish(&zb, &d, m, 64, NULL, &r);
    }

    for (i = 0; i < 64; i++) {
        m[i].flags = 0;
    }

    fanout_channel_close(&za, &d);
    some.history = 300;
    some.bytes = 100;
    (void) fanout_channel_open(&za, &d, 0);
    fanout_channel_close(&za, &d);

    for (i = 0; i < 12; i++) {
        opts.key = zstr(&i, sizeof(i));
        (void) fanout_log_publish(&zb, &d, m, 64, &opts, &r);
    }

    checked(&za, "batches over a left stream and a history cut by bytes");

    /* all that waits comes due at once, when there is no room */

    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "t%u", i);
        d = view(&za, name, &ttl);
        opts.key = zstr(name, strlen(name));

        for (k = 0; k < 2; k++) {
            opts.scope = zstr("ab", k);
            (void) fanout_log_publish(&zb, &d, m, 64, &opts, &r);
        }

        memset(&id, 0, sizeof(id));
        id.client = i + 1;
        (void) util_add(&za, &id, &ref);
        fanout_identity_end(&za, ref, &id, 1000,
                            1, FANOUT_LEFT_INTENTIONAL);
    }

    fanout_test_seconds += 3000;
    some.history = 1000000;
    some.bytes = 0;
    d = view(&za, "d", &some);
    (void) fanout_channel_open(&za, &d, 0);

    for (i = 0; i < 4; i++) {
        (void) put(&zb, &d, i, 1500000, 0, NULL, &r);
    }

    checked(&za, "all due at once in a full zone");

    stop(8 * MB, "journal");
}


/* the example of the paper's appendix A, in two pieces */

static void
hash(void)
{
    uint8_t           data[16];
    unsigned          i;
    uint64_t          key[2];
    fanout_siphash_t  s;

    for (i = 0; i < 16; i++) {
        data[i] = i;
    }

    memcpy(key, data, 16);
    fanout_siphash_init(&s, key);
    fanout_siphash_update(&s, data, 4);
    fanout_siphash_update(&s, NULL, 0);
    fanout_siphash_update(&s, data + 4, 11);

    ok(fanout_siphash_final(&s) == 0xa129ca6149be45e5ULL, "SipHash-2-4");
}


/* lost wake-ups: a dead worker may have marked a slot and not written */

static void
wakes(void)
{
    policy_t   p = { .history = 10, .bytes = 0, .ttl = 0 };
    result_t   r;
    channel_t  c;

    start(MB);

    c = view(&za, "w", &p);
    (void) fanout_channel_open(&za, &c, 0);
    za.heap.self_woken = 0;
    (void) put(&zb, &c, 1, 1, 0, NULL, &r);
    is_int(za.shm->slots[za.heap.slot].process.notified, 1,
           "a reader is notified");
    (void) drain(&za);
    is_int(za.shm->slots[za.heap.slot].process.notified, 0,
           "and no more when it drains");
    (void) put(&za, &c, 1, 1, 0, NULL, &r);
    ok(za.heap.self_woken, "who publishes to itself is told without a write");

    (void) fanout_enter(&zb);
    fanout_notify_all(&zb);
    ok(zb.heap.wake & 1ULL << za.heap.slot,
       "notified again whatever it was told");
    fanout_leave(&zb);

    stop(MB, "wakes");
}


int
main(int argc, char **argv)
{
    unsigned  i;

    seed = seed_of_run();
    arena_init(&arena);

    hash();
    life();
    sizes_promised();
    large();
    no_memory();
    full();
    stalled_worker();
    policies();
    by_seq();
    absent();
    idempotence();
    one_key();
    finding();
    wakes();
    journal();

    for (i = 0; i < 40 && !tap_failed; i++) {
        if (i & 1) {
            random_history(MB, 3000, 1, i);

        } else {
            random_history(32 * MB, 2000, 0, i);
        }
    }

    return done_testing();
}
