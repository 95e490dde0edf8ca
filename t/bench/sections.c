/*
 * The longest section of the zone's lock, by what is done: each kind of
 * operation at a size that no configuration is likely to have.
 *
 *     sections [ROUNDS]
 *
 * Counted is the CPU time of the thread from the lock to the unlock; sections
 * within which the kernel has run something else are left out, as their time
 * includes the switch and the cold caches.  Of several rounds the best one
 * counts, as an interrupt is in one of them only.  The zone has the shares
 * that it has by default.
 *
 * Prints one line of JSON, times in us; page faults of each longest section
 * that had some go to stderr.
 */

#define _GNU_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sections.h"


#define ENTER  (FANOUT_PUT_ENTER|FANOUT_PUT_DATA)
#define NET    FANOUT_LEFT_NETWORK


typedef fanout_identity_t      identity_t;

typedef struct {
    identity_t   id;
    uint32_t     ref;
} person_t;

int __real_pthread_mutex_trylock(pthread_mutex_t *m);
int __real_pthread_mutex_unlock(pthread_mutex_t *m);


uint32_t  fanout_test_seconds, fanout_test_msec;
uint32_t  fanout_test_journal, fanout_test_work;
zone_t    za, zb;
double    longest;
uint8_t  *text;

static void                     *mem;
static size_t                    size;
static double                    locked_at;
static long                      faults;        /* in the longest */
static struct rusage             usage_at;
static fanout_arena_t   arena;

static policy_t  seen_here = {
    .presence = FANOUT_PRESENCE_ON, .linger = 5, .keys = 128,
    .seen = 10
};


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}


int
__wrap_pthread_mutex_trylock(pthread_mutex_t *m)
{
    int  rc;

    rc = __real_pthread_mutex_trylock(m);

    if (rc == 0 && za.shm && m == &za.shm->heap.lock) {
        getrusage(RUSAGE_THREAD, &usage_at);
        locked_at = now();
    }

    return rc;
}


int
__wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    double         t;
    struct rusage  usage;

    if (za.shm && m == &za.shm->heap.lock) {
        t = now() - locked_at;

        if (t > longest) {
            getrusage(RUSAGE_THREAD, &usage);

            if (usage.ru_nivcsw == usage_at.ru_nivcsw) {
                longest = t;
                faults = usage.ru_minflt - usage_at.ru_minflt;
            }
        }
    }

    return __real_pthread_mutex_unlock(m);
}


void
need(int rc, const char *what)
{
    if (rc) {
        fprintf(stderr, "%s: %d\n", what, rc);
        exit(1);
    }
}


/* as of fanout_zone, in the order of FANOUT_SHARES */

static void
bound(void)
{
    unsigned              i;
    fanout_zone_shares_t  s;

    static const uint32_t  percent[FANOUT_NSHARES][2] = {
        { 5, 60 }, { 2, 10 }, { 5, 60 }, { 10, 60 }, { 1, 25 }, { 1, 5 },
        { 1, 25 }
    };

    memset(&s, 0, sizeof(s));

    for (i = 0; i < FANOUT_NSHARES; i++) {
        s.kinds[i].min = percent[i][0] * (FANOUT_ZONE_WHOLE / 100);
        s.kinds[i].max = percent[i][1] * (FANOUT_ZONE_WHOLE / 100);
    }

    s.accounts[0].min = 25 * (FANOUT_ZONE_WHOLE / 100);
    s.accounts[0].max = FANOUT_ZONE_WHOLE;

    fanout_zone_bound(&za, &s);
}


void
begin(size_t bytes)
{
    fanout_zone_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.slots = 4;
    size = bytes;
    fanout_test_seconds = 100;
    fanout_test_msec = 0;

    mem = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
               -1, 0);
    need(mem == MAP_FAILED, "mmap");
    need(fanout_zone_create(mem, size, &conf, NULL), "create");
    need(fanout_zone_attach(&za, mem, size), "attach");
    need(fanout_zone_attach(&zb, mem, size), "attach");
    need(fanout_slot_claim(&za, 1), "claim");
    need(fanout_slot_claim(&zb, 2), "claim");
    bound();
}


/* what a worker does before it needs the pages */

void
touch(zone_t *z)
{
    while (fanout_zone_touch(z) == FANOUT_ZONE_AGAIN) {
        /* void */
    }
}


static void
end(void)
{
    fanout_slot_release(&za);
    fanout_slot_release(&zb);
    za.shm = NULL;
    munmap(mem, size);
}


static channel_t
named(zone_t *z, const char *name, unsigned n, policy_t *p)
{
    char       buf[32];
    channel_t  c;

    memset(&c, 0, sizeof(c));
    c.name.len = snprintf(buf, sizeof(buf), "%s %u", name, n);
    c.name.data = (uint8_t *) strdup(buf);
    c.hash = fanout_zone_hash(z, buf, c.name.len);
    c.policy = p;

    return c;
}


channel_t
opened(zone_t *z, const char *name, unsigned n, policy_t *p)
{
    channel_t  c;

    c = named(z, name, n, p);
    need(fanout_channel_open(z, &c, n), "open");

    return c;
}


static int
publish(zone_t *z, channel_t *c, size_t len, unsigned n, uint64_t to)
{
    unsigned               i;
    fanout_zone_result_t   r;
    fanout_zone_message_t  m[FANOUT_ZONE_BATCH];

    memset(m, 0, sizeof(m));

    for (i = 0; i < n; i++) {
        m[i].data.data = text;
        m[i].data.len = len;
        m[i].to_user = to;
    }

    return fanout_log_publish(z, c, m, n, NULL, &r);
}


void
drain(zone_t *z)
{
    int  rc;

    do {
        arena.n = arena.used = 0;
        rc = fanout_log_drain(z, &arena);
    } while (rc == FANOUT_ZONE_AGAIN);
}


static void
flush(zone_t *z)
{
    uint32_t  ms;

    do {
        ms = fanout_presence_flush(z);
        fanout_test_msec += ms == UINT32_MAX ? 0 : ms;
        drain(&za);
    } while (ms != UINT32_MAX);
}


static void
sweep(zone_t *z)
{
    while (fanout_zone_sweep(z) == FANOUT_ZONE_AGAIN) {
        /* void */
    }
}


static person_t
person(zone_t *z, unsigned n, const char *name)
{
    person_t       p;
    fanout_zstr_t  user, info;

    memset(&p, 0, sizeof(p));
    memset(&info, 0, sizeof(info));
    p.id.client = (n + 1) * 0x9e3779b97f4a7c15ULL;
    user.data = (const uint8_t *) name;
    user.len = strlen(name);
    p.id.user = user.len ? fanout_zone_hash(z, name, user.len) : 0;

    need(fanout_identity_add(z, &p.id, &user, &info, 0, &p.ref),
         "identity");

    return p;
}


static void
sit(zone_t *z, channel_t *c, person_t *p, unsigned members, size_t len)
{
    char             key[16];
    unsigned         i;
    fanout_put_t     r;
    fanout_member_t  m;

    need(fanout_seat_open(z, c, p->ref, &p->id), "seat");

    for (i = 0; i < members; i++) {
        memset(&m, 0, sizeof(m));
        m.key.data = (uint8_t *) key;
        m.key.len = snprintf(key, sizeof(key), "%u", i);
        m.data.data = text;
        m.data.len = len;
        need(fanout_member_put(z, c, p->ref, &p->id, &m, ENTER, &r),
             "member");
    }
}


/* what is measured: each leaves the zone to end() */

static void
batch(void)
{
    unsigned   i;
    policy_t   p = { .history = 1000, .bytes = 64000 };
    channel_t  c;

    begin(64 * MB);
    c = opened(&za, "channel", 0, &p);
    (void) opened(&zb, "channel", 0, &p);

    longest = 0;

    for (i = 0; i < 200; i++) {
        need(publish(&za, &c, 180, FANOUT_ZONE_BATCH, 0), "publish");
        drain(&za);
        drain(&zb);
    }
}


static void
large(int slot)
{
    zone_t     z;
    policy_t   p = { .history = 3 };
    channel_t  c;

    begin(128 * MB);
    need(fanout_zone_attach(&z, mem, size), "attach");
    c = named(&za, "channel", 0, &p);
    longest = 0;
    need(publish(slot ? &za : &z, &c, 15 * MB, 1, 0), "publish");
    need(publish(slot ? &za : &z, &c, 15 * MB, 1, 0), "publish");
}


static void
large_publish(void)
{
    large(1);
}


static void
large_slotless(void)
{
    large(0);
}


static void
stalled(void)
{
    unsigned   i;
    policy_t   p = { .history = 100000 };
    channel_t  c;

    begin(32 * MB);
    (void) opened(&za, "channel", 0, &p);
    c = named(&zb, "channel", 0, &p);
    longest = 0;

    for (i = 0; i < 400000; i++) {
        (void) publish(&zb, &c, 1, 1, 0);
    }
}


static person_t
sits_on(unsigned n)
{
    unsigned   i;
    person_t   p;
    channel_t  c;

    p = person(&za, 1, "user");

    for (i = 0; i < n; i++) {
        c = opened(&za, "channel", i, &seen_here);
        sit(&za, &c, &p, 1, 10);
    }

    flush(&za);

    return p;
}


static void
cut_10000(void)
{
    person_t  p;

    begin(64 * MB);
    p = sits_on(10000);
    longest = 0;
    fanout_identity_end(&za, p.ref, &p.id, 60000, 1, NET);
}


static void
resume_10000(void)
{
    uint8_t   next[16];
    person_t  p;

    begin(64 * MB);
    p = sits_on(10000);
    fanout_identity_end(&za, p.ref, &p.id, 60000, 1, NET);
    longest = 0;
    need(fanout_identity_resume(&zb, &p.id, 0, next, &p.ref),
         "resume");
}


static void
disconnect_10000(void)
{
    person_t  p;

    begin(64 * MB);
    p = sits_on(10000);
    longest = 0;
    need(fanout_client_disconnect(&zb, p.id.client, 4403),
         "disconnect");
    flush(&zb);
}


static void
seat_of_128(size_t len, int told)
{
    person_t   p;
    channel_t  c;

    begin(64 * MB);
    c = opened(&za, "channel", 0, &seen_here);
    p = person(&za, 1, "user");
    sit(&za, &c, &p, 128, len);

    if (told) {
        flush(&za);
    }

    longest = 0;
    fanout_seat_close(&za, &c, p.ref, &p.id, NET);
    flush(&za);
}


static void
leave_told(void)
{
    seat_of_128(100, 1);
}


static void
leave_untold(void)
{
    seat_of_128(FANOUT_ZONE_MEMBER - 16, 0);
}


static void
crowd(zone_t *z, unsigned n, unsigned each)
{
    unsigned    i, k;
    person_t    p;
    channel_t  *c;

    c = calloc(1000, sizeof(channel_t));

    for (i = 0; i < 1000; i++) {
        c[i] = opened(z, "channel", i, &seen_here);
    }

    for (i = 0; i < n; i++) {
        p = person(z, i, "");

        for (k = 0; k < each; k++) {
            sit(z, &c[(i * each + k) % 1000], &p, 1, 10);
        }

        if (i % 100 == 0) {
            flush(z);
        }

        if (z == &za) {
            fanout_identity_end(z, p.ref, &p.id, 60000, 1, NET);
        }
    }

    flush(z);
    free(c);
}


static void
mass_cut(void)
{
    begin(512 * MB);
    crowd(&za, 50000, 5);
    fanout_test_seconds += 20;
    longest = 0;
    sweep(&zb);
    flush(&zb);
}


static void
expiry(void)
{
    unsigned   i, k;
    policy_t   p = { .history = 100000, .ttl = 10 };
    channel_t  c;

    begin(512 * MB);

    for (i = 0; i < 5000; i++) {
        c = named(&za, "channel", i, &p);

        for (k = 0; k < 63; k++) {
            need(publish(&za, &c, 10, 1, 0), "publish");
        }
    }

    fanout_test_seconds += 1000;
    longest = 0;
    sweep(&zb);
}


static void
death(void)
{
    pid_t   pid;
    zone_t  z;

    begin(512 * MB);
    pid = fork();

    if (pid == 0) {
        need(fanout_zone_attach(&z, mem, size), "attach");
        need(fanout_slot_claim(&z, 3), "claim");
        crowd(&z, 50000, 5);
        kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, NULL, 0);
    touch(&za);
    longest = 0;
    need(fanout_slot_reap(&za, 5000, NULL) != 1, "reap");
}


/* A zone full of history, and of clients that linger, as far as their share
 * lets them; then it needs space for messages, members and other clients. */

static void
pressure(void)
{
    unsigned   i, n;
    policy_t   p = { .history = 1000000 };
    person_t   who;
    channel_t  c, room;

    begin(96 * MB);
    c = opened(&za, "history", 0, &p);
    room = opened(&za, "room", 0, &seen_here);

    for (n = 0; n < 100000; n++) {
        who = person(&za, n, "");

        if (n % 4 == 0) {
            need(fanout_seat_open(&za, &room, who.ref, &who.id),
                 "seat");
        }

        fanout_identity_end(&za, who.ref, &who.id, 3600000, 1, NET);
    }

    longest = 0;

    for (i = 0; i < 20000; i++) {
        need(publish(&za, &c, 12000, 1, 0), "publish");
        drain(&za);

        if (i % 100 == 0) {
            touch(&za);
        }
    }

    for (i = 0; i < 30000; i++) {
        who = person(&za, n + i, "");
        sit(&za, &room, &who, 1, 200);

        if (i % 300 == 299) {
            flush(&za);
        }
    }

    for (i = 0; i < 20; i++) {
        need(publish(&za, &c, 2 * MB, 1, 0), "publish");
        drain(&za);
    }
}


/* a message to a user with the most clients, whose mailboxes are full */

static void
mail(void)
{
    unsigned   i;
    uint64_t   user;
    person_t   p;
    channel_t  c;

    begin(64 * MB);
    c = opened(&za, "channel", 0, &seen_here);
    user = fanout_zone_hash(&za, "user", 4);

    for (i = 0; i < 256; i++) {
        p = person(&za, i, "user");
        sit(&za, &c, &p, 0, 0);
    }

    longest = 0;

    for (i = 0; i < 2 * FANOUT_ZONE_MAIL; i++) {
        need(publish(&za, &c, 10, 1, user), "publish");
    }

    for (i = 0; i < 256; i++) {
        publish(&za, &c, 10, 1, 0);
    }
}


/* a message of another sender to n clients of a user, away or not, whose
 * mailboxes one sender has filled */

static void
displace(unsigned n, unsigned away)
{
    unsigned   i;
    person_t   p;
    channel_t  c;

    fanout_zone_result_t   r;
    fanout_zone_message_t  m;
    fanout_zone_publish_t  opts;

    begin(64 * MB);
    c = opened(&za, "channel", 0, &seen_here);

    for (i = 0; i < n; i++) {
        p = person(&za, i, "user");
        sit(&za, &c, &p, 0, 0);

        if (away) {
            fanout_identity_end(&za, p.ref, &p.id, 3600000, 1, NET);
        }
    }

    memset(&m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    m.to_user = fanout_zone_hash(&za, "user", 4);

    for (i = 0; i < FANOUT_ZONE_MAIL + 8; i++) {
        opts.sender = i < FANOUT_ZONE_MAIL ? 1 : 2;

        if (i == FANOUT_ZONE_MAIL) {
            longest = 0;
        }

        /* what is in the caches goes */
        memset(text, i, 16 * MB);
        need(fanout_log_publish(&za, &c, &m, 1, &opts, &r), "publish");
    }
}


static void
displace_16(void)
{
    displace(16, 1);
}


static void
displace_256(void)
{
    displace(256, 1);
}


static void
displace_live_16(void)
{
    displace(16, 0);
}


static void
displace_live_256(void)
{
    displace(256, 0);
}


/* a join where all of a long history is too old, and a purge of one */

static void
history(void)
{
    unsigned              i;
    policy_t              p = { .history = 1000000, .ttl = 10 };
    channel_t             c;
    fanout_zone_join_t    j;
    fanout_zone_result_t  r;

    begin(128 * MB);
    c = opened(&za, "channel", 0, &p);

    for (i = 0; i < 300000; i++) {
        need(publish(&za, &c, 10, 1, 0), "publish");

        if (i % 64 == 63) {
            drain(&za);
        }
    }

    longest = 0;
    need(fanout_log_join(&za, &c, 0, 0, 0, 100000, &j), "join");
    need(fanout_channel_purge(&zb, &c, NULL, 0, &r), "purge");
    sweep(&zb);

    for (i = 0; i < 100000; i++) {
        need(publish(&za, &c, 10, 1, 0), "publish");

        if (i % 64 == 63) {
            drain(&za);
        }
    }

    fanout_test_seconds += 100;
    need(fanout_log_join(&za, &c, 0, 0, 0, 100, &j), "join");
}


/* rooms that wait, and one that is due */

static void
rooms(void)
{
    unsigned   i;
    policy_t   slow = { .presence = FANOUT_PRESENCE_ON,
                        .linger = 5, .batch = 10000 };
    person_t   p;
    channel_t  c;

    begin(128 * MB);
    longest = 0;

    for (i = 0; i < 20000; i++) {
        c = opened(&za, "channel", i, &slow);
        p = person(&za, i, "");
        sit(&za, &c, &p, 1, 10);
        (void) fanout_presence_flush(&za);
        sit(&za, &c, &p, 2, 10);
        (void) fanout_presence_flush(&za);
    }

    flush(&za);
}


static const struct {
    const char  *name;
    void       (*run)(void);
} kinds[] = {
    { "publish_64", batch },
    { "publish_15m", large_publish },
    { "publish_15m_without_slot", large_slotless },
    { "publish_to_stalled", stalled },
    { "publish_to_256_mailboxes", mail },
    { "displace_in_16_mailboxes", displace_16 },
    { "displace_in_256_mailboxes", displace_256 },
    { "displace_in_16_live_mailboxes", displace_live_16 },
    { "displace_in_256_live_mailboxes", displace_live_256 },
    { "history", history },
    { "cut_10000_channels", cut_10000 },
    { "resume_10000_channels", resume_10000 },
    { "disconnect_10000_channels", disconnect_10000 },
    { "leave_128_members", leave_told },
    { "leave_128_untold", leave_untold },
    { "sweep_250000_seats", mass_cut },
    { "sweep_315000_entries", expiry },
    { "reap_50000_sessions", death },
    { "full_100000_lingering", pressure },
    { "rooms_20000", rooms },
    { "record_1_field", record_1_field },
    { "record_128_fields", record_128_fields },
    { "record_all_others", record_whole },
    { "record_64k", record_64k },
    { "record_old_64k", record_old_64k },
    { "record_full_1_field", record_full_1_field },
    { "record_full_128_fields", record_full_128_fields },
    { "record_append_to_64k", record_append },
    { "record_delete_64k", record_delete },
    { "record_delete_old_64k", record_delete_old_64k },
    { "record_clear", record_clear },
    { "record_list", record_list }
};


int
main(int argc, char **argv)
{
    long    met;
    double  best;
    size_t  i, k, rounds, shown;

    shown = 0;
    rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 3;

    if (rounds == 0) {
        fputs("sections [ROUNDS [NAME]]\n", stderr);
        return 2;
    }

    text = malloc(16 * MB);
    memset(text, 'x', 16 * MB);
    arena.max = 1024;
    arena.entries = malloc(arena.max * sizeof(fanout_entry_t));
    arena.size = 256 * 1024;
    arena.bytes = malloc(arena.size);

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (argc > 2 && strcmp(argv[2], kinds[i].name) != 0) {
            continue;
        }

        best = 0;
        met = 0;

        for (k = 0; k < rounds; k++) {
            kinds[i].run();

            if (k == 0 || longest < best) {
                best = longest;
                met = faults;
            }

            end();
        }

        printf("%s\"%s\":%.1f", shown++ ? "," : "{", kinds[i].name, best);
        fflush(stdout);

        if (met) {
            fprintf(stderr, "%s: %ld page faults\n", kinds[i].name, met);
        }
    }

    puts(shown ? "}" : "{}");

    return shown == 0;
}
