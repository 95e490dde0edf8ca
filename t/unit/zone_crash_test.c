/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* cflags: -DFANOUT_CRASH=1 -DFANOUT_TEST=1 -D_GNU_SOURCE */

/*
 * If this fails, a killed worker can lose a publish that was acknowledged,
 * leave half of one, leak memory of the zone, or stop all other workers.
 *
 * Real processes over one mapping are killed by SIGKILL:
 *  - at every crash point of every operation (before and after each store);
 *  - at points of the rollback of those, and while they reap;
 *  - at instructions of a publish and a drain, by single steps;
 *  - at random, while several run random operations.
 *
 * ZONE_SEED replays what is random, ZONE_CRASH_SECONDS (20) says how long that
 * part takes, ZONE_STEP=1 steps through every instruction, not a sample, and
 * ZONE_OP=name does one operation alone, or one of "instructions", "rebuild",
 * "stranded" and "random".
 */


#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_util.h"


#if (defined(__SANITIZE_ADDRESS__))
#define SLOW  1
#elif (defined(__has_feature))
#if (__has_feature(address_sanitizer))
#define SLOW  1
#endif
#endif

#ifndef SLOW
#define SLOW  0
#endif


#define SIZE       MB
#define STATE_MAX  (256 * 1024)

#define SERIES     1                    /* more than one transaction */
#define AS_PARENT  2                    /* done with the parent's slot */


typedef struct {
    const char  *name;
    void       (*setup)(zone_t *z);     /* in the parent, before all */
    void       (*prepare)(zone_t *z);   /* in the child, not killed */
    int        (*run)(zone_t *z);       /* in the child, killed */
    unsigned     flags;
} op_t;

typedef struct {
    volatile long      points;          /* of an operation that lived */
    volatile int       acked;
    volatile int       rc;
} ack_t;


static char       *before, *after, *state;
static void       *mem, *image, *virgin;
static zone_t      parent;
static channel_t   rooms[4];
static arena_t     arena;
static ack_t      *ack;
static uint64_t    seed;

static volatile int   armed;
static volatile long  points, crash_at;

static identity_t  heard[12];          /* of direct messages */
static uint32_t    heard_ref[12];

static policy_t    keep = { .history = 100, .ttl = 60, .linger = 60 };
static policy_t    few = { .history = 10, .bytes = 0, .ttl = 0 };
static policy_t    none = { .history = 0, .bytes = 0, .ttl = 0 };
static policy_t    bytes = { .history = 1000, .bytes = 2000, .ttl = 0 };


void
fanout_crash_point(void)
{
    if (armed && ++points == crash_at) {
        (void) kill(getpid(), SIGKILL);
    }
}


static void
arm(long at)
{
    points = 0;
    crash_at = at;
    armed = 1;
}


/* the state that a user can see, as text */

static size_t
say(char *s, size_t n, const char *fmt, ...)
{
    int      rc;
    va_list  ap;

    va_start(ap, fmt);
    rc = vsnprintf(s + n, STATE_MAX - n, fmt, ap);
    va_end(ap);

    return n + rc < STATE_MAX ? n + rc : STATE_MAX - 1;
}


static size_t
say_entry(char *s, size_t n, const char *what, entry_t *e)
{
    uint32_t  i, h;

    h = 2166136261;

    for (i = 0; i < e->data.len; i++) {
        h = (h ^ e->data.data[i]) * 16777619;
    }

    return say(s, n, "%s %u.%u %llx/%llu from %llu seq %llu %u:%08x%s\n",
               what, e->local, e->type, (unsigned long long) e->epoch,
               (unsigned long long) e->offset, (unsigned long long) e->from,
               (unsigned long long) e->seq, e->data.len, h,
               e->type == FANOUT_MESSAGE
               && !data_whole(e->data.data, e->data.len) ? " HALF" : "");
}


static size_t
say_drained(char *s, size_t n, zone_t *z)
{
    int       rc;
    uint32_t  i;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(z, &arena);

        for (i = 0; i < arena.n; i++) {
            n = say_entry(s, n, "drained", &arena.entries[i]);
        }

    } while (rc == AGAIN);

    return say(s, n, "drain %d\n", rc);
}


static size_t
say_channel(char *s, size_t n, zone_t *z, info_t *info)
{
    int        rc;
    uint32_t   i;
    uint64_t   at, lost;
    channel_t  c;

    n = say(s, n, "channel %.*s %llx/%llu messages %u bytes %llu blocks %u "
            "subscribers %u workers %u class %u\n", (int) info->len,
            (char *) info->name, (unsigned long long) info->epoch,
            (unsigned long long) info->offset, info->messages,
            (unsigned long long) info->bytes, info->blocks,
            info->subscribers, info->workers, info->class);

    info->name[info->len] = '\0';
    c = view(z, (char *) info->name, NULL);
    at = 0;

    do {
        arena_reset(&arena);
        rc = fanout_log_read(z, &c, info->epoch, at, UINT64_MAX, &arena,
                             &lost);

        for (i = 0; i < arena.n; i++) {
            n = say_entry(s, n, "kept", &arena.entries[i]);
            at = arena.entries[i].offset;
        }

    } while (rc == AGAIN);

    return say(s, n, "read %d lost %llu\n", rc, (unsigned long long) lost);
}


static void
say_state(char *s, zone_t *z)
{
    int                  i, rc;
    size_t               n;
    stat_t               st;
    info_t               infos[8];
    uint64_t             cursor, lost, clients[16];
    fanout_zone_class_t  class;

    n = say_drained(s, 0, z);
    cursor = 0;

    do {
        rc = fanout_channel_list(z, &cursor, infos, 8);

        for (i = 0; i < rc; i++) {
            n = say_channel(s, n, z, &infos[i]);
        }

    } while (cursor);

    rc = util_orders(z, clients, 16);

    for (i = 0; i < rc; i++) {
        n = say(s, n, "replaced %llu\n", (unsigned long long) clients[i]);
    }

    for (i = 0; fanout_zone_get_class(z, i, &class) == OK; i++) {
        n = say(s, n, "class %d: %.*s %llu %llu %llu\n", i,
                (int) class.len, class.pattern,
                (unsigned long long) class.channels,
                (unsigned long long) class.messages,
                (unsigned long long) class.bytes);
    }

    for (cursor = 0; ; cursor = arena.entries[arena.n - 1].offset) {
        arena_reset(&arena);
        rc = fanout_mail_read(z, &rooms[0], &heard[0], cursor, UINT64_MAX,
                              &arena, &lost);

        for (i = 0; i < (int) arena.n; i++) {
            n = say_entry(s, n, "mail", &arena.entries[i]);
        }

        if (rc != AGAIN || arena.n == 0) {
            break;
        }
    }

    fanout_zone_stat(z, &st);
    n = say(s, n, "mail %llu lost %llu dropped %llu signals %llu %llu "
            "%llu\n", (unsigned long long) st.mail,
            (unsigned long long) lost, (unsigned long long) st.mail_dropped,
            (unsigned long long) st.signals,
            (unsigned long long) st.conflated,
            (unsigned long long) st.signals_dropped);
    n = say(s, n, "keys %llu identities %llu %llu seq %llu staged %llu "
            "live %u evicted %llu expired %llu dropped %llu generation %llu "
            "idle %u dedupe %u held %llu\n",
            (unsigned long long) st.nkeys,
            (unsigned long long) st.nidentities,
            (unsigned long long) st.lingering, (unsigned long long) st.seq,
            (unsigned long long) st.staged, st.live,
            (unsigned long long) st.evicted,
            (unsigned long long) st.expired,
            (unsigned long long) st.dropped,
            (unsigned long long) st.generation, st.idle, st.dedupe,
            (unsigned long long) st.held_max);
    (void) say(s, n, "addresses %llu\n", (unsigned long long) st.naddresses);
}


/* operations */

/* the block of an address of this worker, 0 */

static uint32_t
address_ref(zone_t *z, uint64_t address)
{
    uint32_t  ref;

    ref = z->shm->slots[z->heap.slot].addresses;

    while (ref && fanout_address(z, ref)->address != address) {
        ref = fanout_address(z, ref)->slot_next;
    }

    return ref;
}


static void
fill_rooms(zone_t *z, unsigned n)
{
    unsigned  i;
    result_t  r;

    for (i = 0; i < n; i++) {
        (void) put(z, &rooms[i & 1], i, 8 + i % 200, 0, NULL, &r);
    }
}


static void
setup_some(zone_t *z)
{
    fill_rooms(z, 40);
}


static void
setup_few(zone_t *z)
{
    fill_rooms(z, 3);
}


static void
setup_drained(zone_t *z)
{
    fill_rooms(z, 40);
    (void) say_drained(state, 0, z);
}


static void
prepare_slot(zone_t *z)
{
    (void) fanout_zone_attach(z, mem, SIZE);
    (void) fanout_slot_claim(z, getpid());
}


static void
prepare_readers(zone_t *z)
{
    unsigned  i;

    prepare_slot(z);

    for (i = 0; i < 3; i++) {
        rooms[i] = view(z, (char *) rooms[i].name.data, rooms[i].policy);
        (void) fanout_channel_open(z, &rooms[i], i);
    }

    fanout_channel_subscribers(z, &rooms[0], 7);
}


static void
prepare_pending(zone_t *z)
{
    prepare_readers(z);
    fill_rooms(z, 90);
}


static int
publish_to(zone_t *z, const char *name, policy_t *p, uint32_t len,
    uint8_t flags, const char *key)
{
    result_t   r;
    channel_t  c;
    publish_t  opts;

    c = view(z, name, p);
    memset(&opts, 0, sizeof(opts));

    if (key) {
        opts.key = zstr(key, strlen(key));
        opts.address = 7;
        opts.sender = 8;
    }

    return put(z, &c, 12345, len, flags, &opts, &r);
}


static int
run_publish(zone_t *z)
{
    return publish_to(z, "a", &keep, 128, 0, NULL);
}


static int
run_publish_several(zone_t *z)
{
    unsigned    i;
    uint8_t     data[64][256];
    result_t    r;
    channel_t   c;
    message_t   m[64];

    c = view(z, "a", &keep);
    memset(m, 0, sizeof(m));

    for (i = 0; i < 64; i++) {
        data_fill(data[i], i, 8 + i * 3);
        m[i].data = zstr(data[i], 8 + i * 3);
        m[i].flags = i % 5 == 0 ? FANOUT_TRANSIENT : 0;
    }

    return fanout_log_publish(z, &c, m, 64, NULL, &r);
}


static int
run_publish_large(zone_t *z)
{
    return publish_to(z, "a", &keep, 40000, 0, NULL);
}


static int
run_publish_large_batch(zone_t *z)
{
    unsigned    i;
    uint8_t    *data[3];
    result_t    r;
    channel_t   c;
    message_t   m[3];

    c = view(z, "new", &few);
    memset(m, 0, sizeof(m));

    for (i = 0; i < 3; i++) {
        data[i] = malloc(9000);
        data_fill(data[i], i, 9000);
        m[i].data = zstr(data[i], 9000);
    }

    return fanout_log_publish(z, &c, m, 3, NULL, &r);
}


static int
run_publish_duplicate(zone_t *z)
{
    return publish_to(z, "b", &keep, 40000, 0, "key");
}


static void
setup_key(zone_t *z)
{
    setup_some(z);
    (void) publish_to(z, "b", &keep, 10, 0, "key");
}


static int
run_publish_key(zone_t *z)
{
    return publish_to(z, "b", &keep, 50, 0, "key");
}


static int
run_publish_transient(zone_t *z)
{
    return publish_to(z, "a", &keep, 500, FANOUT_TRANSIENT, NULL);
}


static int
run_publish_new(zone_t *z)
{
    return publish_to(z, "a new channel with a name that takes more blocks "
                      "than one, so that there is a chain of them", &keep,
                      1000, 0, "key");
}


static int
run_publish_nothing_kept(zone_t *z)
{
    return publish_to(z, "none", &none, 100, 0, NULL);
}


static int
run_publish_limit(zone_t *z)
{
    return publish_to(z, "few", &few, 700, 0, NULL);
}


static void
setup_limits(zone_t *z)
{
    unsigned  i;

    setup_some(z);

    for (i = 0; i < 30; i++) {
        (void) publish_to(z, "few", &few, 60 + i * 9, 0, NULL);
        (void) publish_to(z, "bytes", &bytes, 60, 0, NULL);
    }
}


static int
run_publish_bytes(zone_t *z)
{
    return publish_to(z, "bytes", &bytes, 1900, 0, NULL);
}


/* fills the zone to the last block */

static void
setup_full(zone_t *z)
{
    stat_t    st;
    result_t  r;
    unsigned  i;

    for (i = 0; i < 100000; i++) {
        fanout_zone_stat(z, &st);

        if (st.free < 60) {
            break;
        }

        (void) put(z, &rooms[2 + i % 2], i, 300, 0, NULL, &r);

        if (i % 50 == 0) {
            (void) say_drained(state, 0, z);
        }
    }

    (void) say_drained(state, 0, z);
}


static int
run_publish_evicting(zone_t *z)
{
    return publish_to(z, "a", &keep, 5000, 0, NULL);
}


static int
run_publish_large_evicting(zone_t *z)
{
    return publish_to(z, "a", &keep, 50000, 0, NULL);
}


static int
run_purge(zone_t *z)
{
    result_t  r;

    return fanout_channel_purge(z, &rooms[0], (uint8_t *) "why", 3,
                                &r);
}


/* of a channel that nobody reads: no entry tells of it */

static int
run_purge_unread(zone_t *z)
{
    result_t   r;
    channel_t  c;

    c = view(z, "few", &few);

    return fanout_channel_purge(z, &c, (uint8_t *) "why", 3, &r);
}


static void
setup_purged(zone_t *z)
{
    setup_some(z);
    (void) run_purge(z);
    (void) say_drained(state, 0, z);
}


static int
run_sweep(zone_t *z)
{
    return sweep_all(z);
}


static int
run_sweep_later(zone_t *z)
{
    fanout_test_seconds += 5000;

    return sweep_all(z);
}


static void
setup_old(zone_t *z)
{
    unsigned    i;
    char        name[16];
    uint32_t    ref;
    identity_t  id;

    setup_drained(z);

    for (i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "old%u", i);
        (void) publish_to(z, name, i & 1 ? &none : &keep, 20, 0,
                          i % 3 ? name : NULL);

        memset(&id, 0, sizeof(id));
        id.client = i + 1;
        (void) util_add(z, &id, &ref);
        fanout_identity_end(z, ref, &id, 10000,
                            1, FANOUT_LEFT_INTENTIONAL);
    }
}


static int
run_open(zone_t *z)
{
    channel_t  c;

    c = view(z, "opened", &keep);

    return fanout_channel_open(z, &c, 9);
}


static int
run_open_existing(zone_t *z)
{
    channel_t  c;

    c = view(z, "a", &few);

    return fanout_channel_open(z, &c, 9);
}


static int
run_close(zone_t *z)
{
    fanout_channel_close(z, &rooms[0]);
    fanout_channel_close(z, &rooms[1]);

    return 0;
}


static int
run_subscribers(zone_t *z)
{
    fanout_channel_subscribers(z, &rooms[1], 3);

    return 0;
}


static int
run_drain(zone_t *z)
{
    int  rc;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(z, &arena);
    } while (rc == AGAIN);

    return rc;
}


static void
setup_large(zone_t *z)
{
    setup_drained(z);
    (void) publish_to(z, "a", &none, 60000, FANOUT_TRANSIENT, NULL);
    (void) publish_to(z, "a", &none, 20, 0, NULL);
}


static int
run_join(zone_t *z)
{
    join_t  j;

    fanout_test_seconds += 5000;

    return fanout_log_join(z, &rooms[0], 0, 0, 0, 50, &j);
}


static int
run_read(zone_t *z)
{
    uint64_t   lost;
    channel_t  c;
    info_t     info;

    c = view(z, "a", &keep);
    (void) fanout_channel_info(z, &c, &info);
    arena_reset(&arena);

    return fanout_log_read(z, &c, info.epoch, 0, 1000, &arena, &lost);
}


static void
setup_large_kept(zone_t *z)
{
    (void) publish_to(z, "a", &keep, 60000, 0, NULL);
    (void) say_drained(state, 0, z);
}


static identity_t  someone = { 77, 5, "0123456789abcde", 3 };
static identity_t  heir;
static uint32_t    someone_ref;


static int
run_identity_add(zone_t *z)
{
    uint32_t  ref;

    return util_add(z, &someone, &ref);
}


static void
setup_identity(zone_t *z)
{
    (void) util_add(z, &someone, &someone_ref);
}


static void
setup_lingering(zone_t *z)
{
    setup_identity(z);
    fanout_identity_end(z, someone_ref, &someone, 5000,
                                     1, FANOUT_LEFT_INTENTIONAL);
}


static int
run_identity_resume(zone_t *z)
{
    uint8_t   next[16];
    uint32_t  ref;

    return fanout_identity_resume(z, &someone, 0, next, &ref);
}


/* once more by the same secret */

static void
setup_again(zone_t *z)
{
    setup_identity(z);
    (void) run_identity_resume(z);
}


/* as who was given the last */

static void
setup_unproved(zone_t *z)
{
    heir = someone;
    setup_identity(z);
    (void) fanout_identity_resume(z, &someone, 0, heir.secret, &someone_ref);
}


static int
run_identity_prove(zone_t *z)
{
    fanout_identity_confirm(z, someone_ref, &heir);

    return 0;
}


static int
run_identity_known(zone_t *z)
{
    return fanout_identity_known(z, &heir);
}


static int
run_identity_keep(zone_t *z)
{
    uint8_t   next[16];
    uint32_t  ref;

    return fanout_identity_resume(z, &heir, 1, next, &ref);
}


static int
run_identity_end(zone_t *z)
{
    fanout_identity_end(z, someone_ref, &someone, 0,
                                     1, FANOUT_LEFT_INTENTIONAL);

    return 0;
}


static int
run_identity_linger(zone_t *z)
{
    fanout_identity_end(z, someone_ref, &someone, 5000,
                                     1, FANOUT_LEFT_INTENTIONAL);

    return 0;
}


static int
run_identity_leave(zone_t *z)
{
    fanout_identity_leave(z, &someone, FANOUT_LEFT_INTENTIONAL);

    return 0;
}


static void
setup_replaced(zone_t *z)
{
    pid_t   pid;
    zone_t  own;

    setup_identity(z);

    pid = fork();

    if (pid == 0) {
        prepare_slot(&own);
        (void) run_identity_resume(&own);
        _exit(0);
    }

    (void) waitpid(pid, NULL, 0);
}


static int
run_identity_replaced(zone_t *z)
{
    uint64_t  clients[8];

    return util_orders(z, clients, 8);
}


static void
prepare_attached(zone_t *z)
{
    (void) fanout_zone_attach(z, mem, SIZE);
}


static int
run_claim(zone_t *z)
{
    return fanout_slot_claim(z, 1);
}


static void
prepare_much(zone_t *z)
{
    unsigned    i;
    uint32_t    ref;
    identity_t  id;

    prepare_pending(z);

    for (i = 0; i < 5; i++) {
        memset(&id, 0, sizeof(id));
        id.client = 1000 + i;
        id.address = 5;
        (void) util_add(z, &id, &ref);
        (void) fanout_address_add(z, 7 + i / 2, 0, &ref);
    }

    fanout_slot_counters(z)[3] = 5;
}


static int
run_release(zone_t *z)
{
    fanout_slot_release(z);

    return 0;
}


/* a worker that died with all that a worker can have */

static void
setup_dead(zone_t *z)
{
    pid_t    pid;
    zone_t   own;

    pid = fork();

    if (pid == 0) {
        prepare_much(&own);
        arm(2000);
        (void) publish_to(&own, "a", &keep, 100000, 0, NULL);
        _exit(0);
    }

    (void) waitpid(pid, NULL, 0);
}


static int
run_reap(zone_t *z)
{
    return fanout_slot_reap(z, 1000, NULL);
}


/* sessions of addresses, and budgets */

static void
prepare_addresses(zone_t *z)
{
    uint32_t  ref;

    prepare_slot(z);

    (void) fanout_address_add(z, 7, 0, &ref);
    (void) fanout_address_add(z, 8, 0, &ref);
    (void) fanout_address_add(z, 8, 0, &ref);
    (void) fanout_address_add(z, 9, 0, &ref);
}


static int
run_address_add(zone_t *z)
{
    uint32_t  ref;

    return fanout_address_add(z, 7, 9, &ref);
}


static int
run_address_drop(zone_t *z)
{
    fanout_address_drop(z, 8, address_ref(z, 8));

    return 0;
}


static int
run_address_last(zone_t *z)
{
    fanout_address_drop(z, 7, address_ref(z, 7));

    return 0;
}


static int
run_budget(zone_t *z)
{
    uint64_t              amounts[] = { 1000, 2000, 3000, 4000,
                                        5000 };
    fanout_zone_drawn_t   drawn;
    fanout_zone_budget_t  b[2];

    static const fanout_zone_limit_t  limits[] = {
        { 1, 1000, 9 }, { 1, 1000, 9 }, { 1, 1000, 9 }, { 1, 1000, 9 },
        { 1, 1000, 9 }
    };

    b[0].key = 7;
    b[0].limits = limits;
    b[1].key = 8;
    b[1].limits = limits;

    return fanout_budget_draw(z, b, 2, amounts, 0, &drawn);
}


/* more than stalled workers may hold */

static void
setup_stalled(zone_t *z)
{
    stat_t    st;
    result_t  r;
    unsigned  i;

    for (i = 0; i < 10000; i++) {
        fanout_zone_stat(z, &st);

        if (st.held > st.held_max + 50) {
            break;
        }

        (void) put(z, &rooms[i % 3], i, 200, i & 1 ? FANOUT_TRANSIENT : 0,
                   NULL, &r);
    }
}


/* direct messages and signals: a client of the parent, one that lingers, and
 * more of its user */

static int
put_to(zone_t *z, uint64_t client, uint64_t user, uint32_t len,
    const char *key)
{
    int        rc;
    uint8_t   *data;
    result_t   r;
    message_t  m;
    publish_t  opts;

    memset(&m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    data = malloc(len);
    data_fill(data, len, len);
    m.data = zstr(data, len);
    m.client = 5;
    m.to_client = client;
    m.to_user = user;
    opts.sender = len % 5;

    if (key) {
        opts.key = zstr(key, strlen(key));
    }

    rc = fanout_log_publish(z, &rooms[0], &m, 1, &opts, &r);
    free(data);

    return rc;
}


static int
signal_of(zone_t *z, const char *event, unsigned tag, uint32_t len)
{
    int        rc;
    char       text[16];
    uint8_t   *data;
    message_t  m;

    memset(&m, 0, sizeof(m));
    data = malloc(len);
    data_fill(data, tag, len);
    snprintf(text, sizeof(text), "t%u", tag);
    m.event = zstr(event, strlen(event));
    m.key = zstr(text, strlen(text));
    m.data = zstr(data, len);
    m.client = 5;
    rc = fanout_signal_put(z, &rooms[0], &m);
    free(data);

    return rc;
}


static void
setup_heard(zone_t *z)
{
    unsigned  i;

    setup_few(z);

    for (i = 0; i < 12; i++) {
        memset(&heard[i], 0, sizeof(identity_t));
        heard[i].client = 500 + i;
        heard[i].user = 99;
        heard[i].address = 1 + i % 3;
        (void) util_add(z, &heard[i], &heard_ref[i]);
        (void) fanout_seat_open(z, &rooms[0], heard_ref[i], &heard[i]);
    }

    fanout_identity_end(z, heard_ref[1], &heard[1], 100000,
                        1, FANOUT_LEFT_NETWORK);
}


static void
setup_mail(zone_t *z)
{
    unsigned  i;

    setup_heard(z);

    for (i = 0; i < 64; i++) {
        (void) put_to(z, i % 2 ? 0 : 500, i % 2 ? 99 : 0, 8 + i * 3, NULL);
        (void) put_to(z, 502, 0, 8 + i, NULL);
    }

    (void) put_to(z, 500, 0, 40000, NULL);
    (void) say_drained(state, 0, z);
}


static void
setup_mail_key(zone_t *z)
{
    setup_heard(z);
    (void) put_to(z, 0, 99, 50, "key");
}


static int
run_direct(zone_t *z)
{
    return put_to(z, 503, 0, 100, "key");
}


static int
run_direct_user(zone_t *z)
{
    return put_to(z, 0, 99, 1000, "key");
}


static int
run_direct_large(zone_t *z)
{
    return put_to(z, 0, 99, 40000, NULL);
}


static int
run_mail_read(zone_t *z)
{
    int       rc;
    uint64_t  lost, after;

    after = 0;

    do {
        arena_reset(&arena);
        rc = fanout_mail_read(z, &rooms[0], &heard[0], after, UINT64_MAX,
                              &arena, &lost);

        if (arena.n) {
            after = arena.entries[arena.n - 1].offset;
        }

    } while (rc == AGAIN);

    return rc;
}


static int
run_seat_close(zone_t *z)
{
    fanout_seat_close(z, &rooms[0], heard_ref[2], &heard[2],
                      FANOUT_LEFT_INTENTIONAL);

    return 0;
}


static void
setup_signals(zone_t *z)
{
    unsigned  i;

    setup_heard(z);

    for (i = 0; i < 20; i++) {
        (void) signal_of(z, "cursor", i, 8 + i * 20);
        (void) put(z, &rooms[0], i, 20, 0, NULL, &(result_t) { 0 });
    }
}


static void
setup_signals_full(zone_t *z)
{
    unsigned  i;

    setup_heard(z);

    for (i = 0; i < 260; i++) {
        (void) signal_of(z, "cursor", i, 8);
    }
}


static void
setup_full_of_mail(zone_t *z)
{
    setup_mail(z);
    (void) signal_of(z, "typing", 1, 5000);
    setup_full(z);
    (void) signal_of(z, "typing", 2, 300);
}


static int
run_signal(zone_t *z)
{
    return signal_of(z, "cursor", 3, 500);
}


static int
run_signal_new(zone_t *z)
{
    return signal_of(z, "other", 3, 16000);
}


static void
setup_classes(zone_t *z)
{
    char      pattern[8];
    unsigned  i;

    setup_some(z);

    for (i = 0; i < FANOUT_ZONE_CLASSES; i++) {
        snprintf(pattern, sizeof(pattern), "%u", i);
        (void) fanout_zone_class(z, (uint8_t *) pattern, strlen(pattern));
    }
}


/* a worker of a newer configuration than all channels are of */

static void
prepare_newer(zone_t *z)
{
    conf_t  conf = { .dedupe = 77 };

    (void) fanout_zone_attach(z, mem, SIZE);
    fanout_zone_configure(z, 1, &conf);
    (void) fanout_slot_claim(z, getpid());
}


static int
run_configure(zone_t *z)
{
    conf_t  conf = { .idle = 5, .dedupe = 6, .held = 7 };

    fanout_zone_configure(z, 2, &conf);

    return 0;
}


static int
run_publish_newer(zone_t *z)
{
    static policy_t  newer = { .history = 20, .bytes = 5000, .ttl = 9,
                               .class = 1 };

    return publish_to(z, "a", &newer, 128, 0, "key");
}


static int
run_class(zone_t *z)
{
    return fanout_zone_class(z, (uint8_t *) "user:*", 6);
}


static int
run_info(zone_t *z)
{
    info_t     info;
    channel_t  c;

    fanout_test_seconds += 5000;
    c = view(z, "a", &keep);

    return fanout_channel_info(z, &c, &info);
}


static const op_t  ops[] = {
    { "publish", setup_some, prepare_slot, run_publish, 0 },
    { "publish without a slot", setup_some, prepare_attached, run_publish,
      0 },
    { "publish with own interest", setup_some, prepare_pending, run_publish,
      0 },
    { "publish several", setup_some, prepare_slot, run_publish_several, 0 },
    { "publish large", setup_some, prepare_slot, run_publish_large, 0 },
    { "publish large batch", setup_some, prepare_slot,
      run_publish_large_batch, 0 },
    { "publish large duplicate", setup_key, prepare_slot,
      run_publish_duplicate, 0 },
    { "publish with a key", setup_some, prepare_slot, run_publish_key, 0 },
    { "publish a duplicate", setup_key, prepare_slot, run_publish_key, 0 },
    { "publish transient", setup_some, prepare_slot, run_publish_transient,
      0 },
    { "publish to a new channel", setup_some, prepare_slot, run_publish_new,
      0 },
    { "publish where nothing is kept", setup_some, prepare_slot,
      run_publish_nothing_kept, 0 },
    { "publish past the history", setup_limits, prepare_slot,
      run_publish_limit, 0 },
    { "publish past the bytes", setup_limits, prepare_slot,
      run_publish_bytes, 0 },
    { "publish evicting", setup_full, prepare_slot, run_publish_evicting,
      SERIES },
    { "publish large evicting", setup_full, prepare_slot,
      run_publish_large_evicting, SERIES },
    { "publish past stalled", setup_stalled, prepare_slot,
      run_publish_several, SERIES },
    { "configure", setup_some, prepare_slot, run_configure, 0 },
    { "publish by a newer policy", setup_some, prepare_newer,
      run_publish_newer, 0 },
    { "open by a newer policy", setup_some, prepare_newer,
      run_open_existing, 0 },
    { "a class in the place of another", setup_classes, prepare_newer,
      run_class, 0 },
    { "purge", setup_some, prepare_slot, run_purge, 0 },
    { "purge drained", setup_drained, prepare_slot, run_purge, 0 },
    { "purge unread", setup_limits, prepare_slot, run_purge_unread, 0 },
    { "free a purged history", setup_purged, prepare_slot, run_sweep, 0 },
    { "sweep", setup_old, prepare_slot, run_sweep_later, SERIES },
    { "sweep stalled", setup_stalled, prepare_slot, run_sweep, SERIES },
    { "open", setup_some, prepare_slot, run_open, 0 },
    { "open existing", setup_some, prepare_slot, run_open_existing, 0 },
    { "close", setup_some, prepare_pending, run_close, SERIES },
    { "subscribers", setup_some, prepare_readers, run_subscribers, 0 },
    { "drain", setup_some, prepare_pending, run_drain, 0 },
    { "drain as the parent", setup_some, NULL, run_drain,
      SERIES|AS_PARENT },
    { "drain a few", setup_few, NULL, run_drain, AS_PARENT },
    { "drain a reset", setup_purged, NULL, run_drain, SERIES|AS_PARENT },
    { "drain large", setup_large, NULL, run_drain, SERIES|AS_PARENT },
    { "drain a gap", setup_stalled, NULL, run_drain, SERIES|AS_PARENT },
    { "join", setup_some, prepare_pending, run_join, SERIES },
    { "info", setup_some, prepare_slot, run_info, 0 },
    { "read", setup_some, prepare_slot, run_read, 0 },
    { "read large", setup_large_kept, prepare_slot, run_read, 0 },
    { "add an identity", setup_some, prepare_slot, run_identity_add, 0 },
    { "resume a lingering identity", setup_lingering, prepare_slot,
      run_identity_resume, 0 },
    { "resume a live identity", setup_identity, prepare_slot,
      run_identity_resume, 0 },
    { "resume an identity again", setup_again, prepare_slot,
      run_identity_resume, 0 },
    { "resume an identity that keeps its secret", setup_unproved,
      prepare_slot, run_identity_keep, 0 },
    { "prove an identity", setup_unproved, NULL, run_identity_prove,
      AS_PARENT },
    { "prove an identity by its secret", setup_unproved, prepare_slot,
      run_identity_known, 0 },
    { "end an identity", setup_identity, NULL, run_identity_end,
      AS_PARENT },
    { "end an identity that lingers", setup_identity, NULL,
      run_identity_linger, AS_PARENT },
    { "give up a lingering identity", setup_lingering, prepare_slot,
      run_identity_leave, 0 },
    { "replaced identities", setup_replaced, NULL, run_identity_replaced,
      AS_PARENT },
    { "claim a slot", setup_some, prepare_attached, run_claim, 0 },
    { "release a slot", setup_some, prepare_much, run_release, SERIES },
    { "reap", setup_dead, prepare_slot, run_reap, SERIES },
    { "direct message", setup_heard, prepare_slot, run_direct, 0 },
    { "direct message to a user", setup_heard, prepare_slot,
      run_direct_user, 0 },
    { "direct message to full mailboxes", setup_mail, prepare_slot,
      run_direct_user, SERIES },
    { "direct message, large", setup_heard, prepare_slot, run_direct_large,
      0 },
    { "direct message, a duplicate", setup_mail_key, prepare_slot,
      run_direct_user, 0 },
    { "direct message evicting", setup_full_of_mail, prepare_slot,
      run_direct_large, SERIES },
    { "read mail", setup_mail, NULL, run_mail_read, SERIES|AS_PARENT },
    { "drain mail", setup_mail_key, NULL, run_drain, AS_PARENT },
    { "free mail with a seat", setup_mail, NULL, run_seat_close,
      SERIES|AS_PARENT },
    { "free old mail", setup_mail, prepare_slot, run_sweep_later, SERIES },
    { "signal", setup_signals, prepare_slot, run_signal, 0 },
    { "signal, a new one", setup_signals, prepare_slot, run_signal_new, 0 },
    { "signal past the most", setup_signals_full, prepare_slot,
      run_signal_new, 0 },
    { "signal evicting", setup_full_of_mail, prepare_slot, run_signal_new,
      SERIES },
    { "drain signals", setup_signals, NULL, run_drain, AS_PARENT },
    { "drain many signals", setup_signals_full, NULL, run_drain,
      SERIES|AS_PARENT },
    { "close with signals", setup_signals_full, NULL, run_close,
      SERIES|AS_PARENT },
    { "free old signals", setup_signals_full, prepare_slot,
      run_sweep_later, SERIES },
    { "class", setup_some, prepare_slot, run_class, 0 },
    { "count a session of an address", setup_some, prepare_slot,
      run_address_add, 0 },
    { "count another one", setup_some, prepare_addresses, run_address_add, 0 },
    { "drop one of two", setup_some, prepare_addresses, run_address_drop, 0 },
    { "drop the last one", setup_some, prepare_addresses, run_address_last,
      0 },
    { "draw from budgets", setup_some, prepare_slot, run_budget, 0 }
};


/* one trial */

static void
hung(int sig)
{
    static const char  text[] = "Bail out! a survivor hangs\n";

    (void) !write(STDOUT_FILENO, text, sizeof(text) - 1);
    _exit(3);
}


static void
child(const op_t *op, long at)
{
    zone_t  own, *z;

    z = &own;

    if (op->flags & AS_PARENT) {
        z = &parent;

    } else {
        op->prepare(z);
    }

    if (at == 0) {
        (void) kill(getpid(), SIGKILL);
    }

    arm(at);
    ack->rc = op->run(z);
    armed = 0;

    ack->points = points;
    ack->acked = 1;

    (void) kill(getpid(), SIGKILL);
}


/* Runs and kills it; what a survivor then finds is told in text. */

static int
trial(const op_t *op, long at, long second, char *text)
{
    int     rc, status;
    char    why[256];
    pid_t   pid;
    zone_t  own, saved;

    memcpy(mem, image, SIZE);
    ack->acked = 0;
    saved = parent;

    pid = fork();

    if (pid == 0) {
        (void) alarm(20);
        child(op, at);
    }

    (void) waitpid(pid, &status, 0);

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        diag("%s: status %x at %ld", op->name, status, at);
        return -1;
    }

    if (second) {
        /* who recovers is killed as well */

        pid = fork();

        if (pid == 0) {
            (void) alarm(20);
            prepare_attached(&own);
            arm(second);
            (void) free_blocks(&own);
            (void) fanout_slot_reap(&own, 1000, NULL);
            armed = 0;
            ack->points = points;
            (void) kill(getpid(), SIGKILL);
        }

        (void) waitpid(pid, &status, 0);
    }

    (void) alarm(10);

    rc = fanout_zone_verify(&parent, why, sizeof(why));

    if (rc == 0) {
        (void) fanout_slot_reap(&parent, 1000, NULL);
        rc = fanout_zone_verify(&parent, why, sizeof(why));
    }

    if (rc) {
        diag("%s, killed at %ld/%ld: %s", op->name, at, second, why);

    } else if (parent.heap.incarnation != saved.heap.incarnation) {
        diag("%s, killed at %ld/%ld: rebuilt", op->name, at, second);
        rc = -1;

    } else {
        say_state(text, &parent);
        rc = fanout_zone_verify(&parent, why, sizeof(why));

        if (rc) {
            diag("%s, killed at %ld/%ld, then read: %s", op->name, at,
                 second, why);
        }

        if (strstr(text, "HALF")) {
            diag("%s, killed at %ld/%ld: half a message", op->name, at,
                 second);
            rc = -1;
        }
    }

    (void) alarm(0);

    saved.heap.recoveries = parent.heap.recoveries;
    parent = saved;

    return rc;
}


static void
prepare_image(const op_t *op)
{
    fanout_test_seconds = 100;

    memcpy(mem, virgin, SIZE);
    op->setup(&parent);
    memcpy(image, mem, SIZE);
}


/* Whether a state may be: from before to after, never back. */

static int
lawful(const op_t *op, long at)
{
    static char  last[STATE_MAX];

    if (ack->acked) {
        return strcmp(state, after) == 0;
    }

    if ((op->flags & SERIES) == 0) {
        return strcmp(state, before) == 0 || strcmp(state, after) == 0;
    }

    if (at == 1) {
        strcpy(last, before);
    }

    if (strcmp(state, last) == 0) {
        return 1;
    }

    if (strcmp(state, before) == 0 || strcmp(last, after) == 0) {
        return 0;
    }

    strcpy(last, state);

    return 1;
}


static void
show_difference(const char *what, const char *a)
{
    size_t       n, m;
    const char  *b;

    b = state;

    while (*a && *b) {
        n = strcspn(a, "\n");
        m = strcspn(b, "\n");

        if (n != m || memcmp(a, b, n) != 0) {
            break;
        }

        a += n + (a[n] == '\n');
        b += m + (b[m] == '\n');
    }

    diag("%s: %.*s", what, (int) strcspn(a, "\n"), a);
    diag("found: %.*s", (int) strcspn(b, "\n"), b);
}


static void
every_point(const op_t *op)
{
    long  at, n, trials, step, k, second;

    prepare_image(op);

    if (trial(op, 0, 0, before) || trial(op, -1, 0, after)) {
        ok(0, "%s: not killed", op->name);
        return;
    }

    n = ack->points;
    ok(n > 0 && ack->rc >= 0, "%s: %ld points, result %d", op->name, n,
       ack->rc);

    step = n / (SLOW ? 60 : 600) + 1;
    trials = 0;

    for (at = 1; at <= n; at += step) {
        if (trial(op, at, 0, state)) {
            ok(0, "%s", op->name);
            return;
        }

        trials++;

        if (!lawful(op, at)) {
            show_difference("before", before);
            show_difference("after", after);
            ok(0, "%s: killed at %ld of %ld%s: neither before nor after",
               op->name, at, n, ack->acked ? ", acknowledged" : "");
            return;
        }
    }

    /* who recovers is killed too */

    step = n / (SLOW ? 2 : 10) + 1;

    for (at = n / 20 + 1; at <= n; at += step) {
        ack->points = 0;

        if (trial(op, at, LONG_MAX, state)) {
            ok(0, "%s", op->name);
            return;
        }

        k = ack->points;

        for (second = 1; second <= k; second += k / (SLOW ? 4 : 12) + 1) {
            if (trial(op, at, second, state)) {
                ok(0, "%s, twice", op->name);
                return;
            }

            trials++;

            if ((op->flags & SERIES) == 0 && strcmp(state, before) != 0
                && strcmp(state, after) != 0)
            {
                show_difference("before", before);
                ok(0, "%s: killed at %ld, then at %ld", op->name, at,
                   second);
                return;
            }
        }
    }

    ok(1, "%s: %ld kills", op->name, trials);
}


static void
all_points(void)
{
    char     *only;
    unsigned  i;

    only = getenv("ZONE_OP");

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (only == NULL || strcmp(only, ops[i].name) == 0) {
            every_point(&ops[i]);
        }
    }
}


/* by instructions */

static void
step_child(const op_t *op)
{
    zone_t  own, *z;

    z = &own;

    if (op->flags & AS_PARENT) {
        z = &parent;

    } else {
        op->prepare(z);
    }

    (void) ptrace(PTRACE_TRACEME, 0, 0, 0);
    (void) raise(SIGSTOP);

    ack->rc = op->run(z);
    ack->acked = 1;

    (void) kill(getpid(), SIGKILL);
}


/* Kills it after *n instructions, or fewer if it was done before; -1 if it
 * cannot be traced, -2 if the zone is broken. */

static int
step_trial(const op_t *op, long *n, char *why, size_t len)
{
    int     rc, status;
    long    i;
    pid_t   pid;
    zone_t  saved;

    memcpy(mem, image, SIZE);
    ack->acked = 0;
    saved = parent;

    pid = fork();

    if (pid == 0) {
        step_child(op);
    }

    (void) waitpid(pid, &status, 0);

    if (!WIFSTOPPED(status)) {
        return -1;
    }

    for (i = 0; i < *n; i++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == -1) {
            break;
        }

        (void) waitpid(pid, &status, 0);

        if (!WIFSTOPPED(status)) {
            break;
        }
    }

    if (WIFSTOPPED(status)) {
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, &status, 0);
    }

    (void) alarm(10);
    rc = fanout_zone_verify(&parent, why, len);

    if (rc == 0) {
        (void) fanout_slot_reap(&parent, 1000, NULL);
        say_state(state, &parent);
        rc = fanout_zone_verify(&parent, why, len);
    }

    (void) alarm(0);
    saved.heap.recoveries = parent.heap.recoveries;
    parent = saved;

    *n = i;

    return rc ? -2 : 0;
}


static void
every_instruction(const op_t *op)
{
    int   rc;
    long  n, at, stride, total, trials;
    char  why[256];

    prepare_image(op);

    if (trial(op, 0, 0, before) || trial(op, -1, 0, after)) {
        ok(0, "%s", op->name);
        return;
    }

    /* all of it once, to know how many there are */

    n = LONG_MAX;
    rc = step_trial(op, &n, why, sizeof(why));

    if (rc == -1) {
        diag("this machine does not let processes be traced");
        ok(1, "%s by instructions # SKIP", op->name);
        return;
    }

    stride = getenv("ZONE_STEP") ? 1 : n / (SLOW ? 4 : 30) + 1;
    total = n;
    trials = 0;

    for (at = 1 + seed % stride; at <= total; at += stride) {
        n = at;
        rc = step_trial(op, &n, why, sizeof(why));

        if (rc == -2) {
            ok(0, "%s: killed after %ld instructions: %s", op->name, at,
               why);
            return;
        }

        if ((op->flags & SERIES) == 0
            && strcmp(state, before) != 0 && strcmp(state, after) != 0)
        {
            show_difference("before", before);
            show_difference("after", after);
            ok(0, "%s: killed after %ld instructions", op->name, at);
            return;
        }

        trials++;
    }

    ok(trials > 0, "%s: %ld kills between %ld instructions", op->name,
       trials, total);
}


static void
instructions(void)
{
    unsigned     i;
    const char  *name;

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        name = ops[i].name;

        if (strcmp(name, "publish") == 0 || strcmp(name, "purge") == 0
            || strcmp(name, "drain a few") == 0
            || strcmp(name, "resume a live identity") == 0)
        {
            every_instruction(&ops[i]);
        }
    }
}


/* a zone that cannot be repaired is made anew */

static void
die_with_lock(int rebuilding)
{
    pid_t   pid;
    zone_t  own;

    pid = fork();

    if (pid == 0) {
        prepare_attached(&own);
        (void) fanout_enter(&own);

        if (rebuilding) {
            own.shm->heap.state = FANOUT_REBUILDING;
            own.shm->heap.nfree = 0;
            memset((uint8_t *) own.shm + own.shm->heap.blocks, 0xff, 65536);

        } else {
            own.shm->heap.used[FANOUT_MESSAGES] += 3;
        }

        (void) kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, NULL, 0);
}


static void
rebuilt(int rebuilding)
{
    int        rc;
    char       why[256];
    zone_t     other;
    stat_t     st;
    uint64_t   was, seq, epoch;
    join_t     j;
    info_t     info;
    result_t   r;
    channel_t  c;

    memcpy(mem, virgin, SIZE);
    setup_drained(&parent);

    prepare_slot(&other);
    c = view(&other, "a", &keep);
    (void) fanout_channel_open(&other, &c, 0);
    (void) fanout_channel_info(&other, &c, &info);
    epoch = info.epoch;
    fanout_zone_stat(&parent, &st);
    was = st.incarnation;
    seq = st.seq;

    die_with_lock(rebuilding);

    (void) alarm(10);

    is_int(put(&parent, &rooms[0], 1, 20, 0, NULL, &r), OK,
           "a publish goes on over a rebuild");
    ok(r.epoch != epoch && r.offset == 1, "in a new epoch");

    fanout_zone_stat(&parent, &st);
    ok(st.incarnation == was + 1, "the incarnation grew by one");
    ok(st.seq > seq, "seq never goes back");
    ok(fanout_zone_verify(&parent, why, sizeof(why)) == 0,
       "the new zone is sound");

    fanout_zone_stat(&other, &st);
    is_int(fanout_log_join(&other, &c, 0, 0, 0, 1, &j), STALE,
           "a join in the old zone is told");
    arena_reset(&arena);
    is_int(fanout_log_drain(&other, &arena), STALE,
           "and so is a drain, whatever was called before it");
    is_int(fanout_log_drain(&other, &arena), OK, "once");
    is_int(fanout_log_drain(&parent, &arena), STALE,
           "who rebuilt it is told as well");

    is_int(fanout_channel_open(&other, &c, 0), OK, "opened again");
    is_int(put(&parent, &rooms[0], 2, 20, 0, NULL, &r), OK, "published");
    arena_reset(&arena);
    rc = fanout_log_drain(&other, &arena);
    ok(rc == OK && arena.n == 1 && arena.entries[0].offset == 2,
       "and read");

    fanout_slot_release(&other);
    ok(fanout_zone_verify(&parent, why, sizeof(why)) == 0,
       "and sound");
    (void) alarm(0);

    /* the parent's view is that of the virgin zone */
    parent.heap.incarnation = parent.drained = was;
}


#include "zone_chaos.h"


/*
 * An unlock wakes the first of two that wait; it is killed before it runs, and
 * the lock has been taken again meanwhile.  All are on one processor and the
 * first runs only when that is idle, so it is killed in time.
 */

static int
sleeps(pid_t pid)
{
    int    n;
    char   name[64], state;
    FILE  *f;

    snprintf(name, sizeof(name), "/proc/%d/stat", (int) pid);
    f = fopen(name, "r");

    n = f ? fscanf(f, "%*d (%*[^)]) %c", &state) : 0;

    if (f) {
        fclose(f);
    }

    return n == 1 && state == 'S';
}


static pid_t
waiter(int policy)
{
    pid_t               pid;
    zone_t              own;
    struct sched_param  param = { 0 };

    ack->acked = 0;
    pid = fork();

    if (pid == 0) {
        own = parent;
        ack->acked = 1;
        (void) fanout_enter(&own);
        fanout_leave(&own);
        _exit(0);
    }

    while (!ack->acked || !sleeps(pid)) {
        (void) usleep(1000);
    }

    (void) sched_setscheduler(pid, policy, &param);

    return pid;
}


static void
stranded(void)
{
    int        status;
    long       i, n;
    pid_t      first, second;
    cpu_set_t  all, one;

    memcpy(mem, virgin, SIZE);

    (void) sched_getaffinity(0, sizeof(all), &all);

    for (i = 0; !CPU_ISSET(i, &all); i++) { /* void */ }

    CPU_ZERO(&one);
    CPU_SET(i, &one);
    (void) sched_setaffinity(0, sizeof(one), &one);
    (void) alarm(60);

    for (i = n = 0; i < 5; i++) {
        (void) fanout_enter(&parent);

        first = waiter(SCHED_IDLE);
        second = waiter(SCHED_OTHER);

        fanout_leave(&parent);
        (void) fanout_enter(&parent);
        (void) kill(first, SIGKILL);
        (void) waitpid(first, &status, 0);
        fanout_leave(&parent);

        n += WIFSIGNALED(status);
        (void) waitpid(second, &status, 0);
    }

    (void) alarm(0);
    (void) sched_setaffinity(0, sizeof(all), &all);

    ok(n > 0, "%ld of 5 killed as they were woken: who waits with them"
       " gets the lock", n);
}


static int
part(const char *name)
{
    char  *only;

    only = getenv("ZONE_OP");

    return only == NULL || strcmp(only, name) == 0;
}


int
main(int argc, char **argv)
{
    unsigned  i;

    (void) signal(SIGALRM, hung);

    seed = seed_of_run();
    before = malloc(STATE_MAX);
    after = malloc(STATE_MAX);
    state = malloc(STATE_MAX);
    image = malloc(SIZE);
    virgin = malloc(SIZE);
    ack = map(4096);
    arena_init(&arena);

    fanout_test_seconds = 100;
    mem = zone_make(SIZE, 30, 20);
    prepare_slot(&parent);

    for (i = 0; i < 4; i++) {
        static const char  *names[] = { "a", "b", "c", "few" };

        rooms[i] = view(&parent, names[i], i == 2 ? &none : &keep);
        rooms[i].policy = i == 2 ? &bytes : i == 3 ? &few : &keep;

        if (i < 3) {
            (void) fanout_channel_open(&parent, &rooms[i], i);
        }
    }

    memcpy(virgin, mem, SIZE);

    all_points();

    if (part("instructions")) {
        instructions();
    }

    if (part("rebuild")) {
        rebuilt(0);
        rebuilt(1);
    }

    if (part("stranded")) {
        stranded();
    }

    if (part("random")) {
        chaos();
    }

    if (tap_failed) {
        diag("ZONE_SEED=%llu", (unsigned long long) seed);
    }

    return done_testing();
}
