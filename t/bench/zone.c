/*
 * Sections of the zone's lock: the median and the 99th percentile of an
 * append and of a drain, each with the lock's cost in it, for a message of
 * 128 bytes on one of some channels with history=100 and two workers
 * interested.  One process, both slots: what is measured is the work done
 * under the lock, not the wait for it.
 *
 *     zone [CHANNELS [ROUNDS]]
 *     zone members [MEMBERS [ROUNDS]]
 *
 * The second: those for a member who comes ("enter") to one channel that has
 * so many and goes ("leave"), for telling it ("flush"), and for reading up to
 * 64 of them ("read"), somewhere in the list.
 *
 * Prints one line of JSON, times in ns; "clock" is the cost of reading the
 * clock, which every figure contains once.
 */

#define _GNU_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "zone/message.h"
#include "zone/zone.h"


#define SIZE  (512UL * 1024 * 1024)


static uint64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


static int
by_value(const void *a, const void *b)
{
    uint64_t  x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}


static void
print(const char *name, uint64_t *t, size_t n)
{
    qsort(t, n, sizeof(uint64_t), by_value);
    printf("\"%s\":{\"p50\":%lu,\"p99\":%lu}", name, t[n / 2],
           t[n * 99 / 100]);
}


static int
fail(const char *what, int rc)
{
    fprintf(stderr, "%s: %d\n", what, rc);
    return 1;
}


static int
channels(size_t n, size_t rounds)
{
    int                     rc;
    void                   *mem;
    size_t                  i, k;
    uint8_t                 data[128];
    uint64_t                start, *append, *drain, *clock;
    fanout_zone_t           z[2];
    fanout_arena_t          a;
    fanout_zone_conf_t      conf;
    fanout_zone_policy_t    policy;
    fanout_zone_result_t    r;
    fanout_zone_channel_t  *c[2];
    fanout_zone_message_t   m;

    memset(&conf, 0, sizeof(conf));
    memset(&policy, 0, sizeof(policy));
    memset(&m, 0, sizeof(m));
    memset(&a, 0, sizeof(a));
    memset(data, 'x', sizeof(data));

    policy.history = 100;
    m.data.data = data;
    m.data.len = sizeof(data);
    a.max = 1024;
    a.entries = malloc(a.max * sizeof(fanout_entry_t));
    a.size = 256 * 1024;
    a.bytes = malloc(a.size);
    append = malloc(rounds * sizeof(uint64_t));
    drain = malloc(rounds * sizeof(uint64_t));
    clock = malloc(rounds * sizeof(uint64_t));
    c[0] = calloc(n, sizeof(fanout_zone_channel_t));
    c[1] = calloc(n, sizeof(fanout_zone_channel_t));

    mem = mmap(NULL, SIZE, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
               -1, 0);

    rc = fanout_zone_create(mem, SIZE, &conf, NULL);
    if (rc != 0) {
        return fail("create", rc);
    }

    for (k = 0; k < 2; k++) {
        rc = fanout_zone_attach(&z[k], mem, SIZE);
        if (rc != 0) {
            return fail("attach", rc);
        }

        rc = fanout_slot_claim(&z[k], k + 1);
        if (rc != 0) {
            return fail("claim", rc);
        }

        for (i = 0; i < n; i++) {
            char  *name = malloc(32);

            c[k][i].name.len = snprintf(name, 32, "channel:%zu", i);
            c[k][i].name.data = (uint8_t *) name;
            c[k][i].hash = fanout_zone_hash(&z[k], name, c[k][i].name.len);
            c[k][i].policy = &policy;

            rc = fanout_channel_open(&z[k], &c[k][i], i);
            if (rc != 0) {
                return fail("open", rc);
            }
        }
    }

    srandom(1);

    for (i = 0; i < rounds; i++) {
        k = random() % n;

        start = now();
        clock[i] = now() - start;

        start = now();
        rc = fanout_log_publish(&z[0], &c[0][k], &m, 1, NULL, &r);
        append[i] = now() - start;

        if (rc != 0) {
            return fail("publish", rc);
        }

        a.n = a.used = 0;
        (void) fanout_log_drain(&z[0], &a);

        a.n = a.used = 0;
        start = now();
        rc = fanout_log_drain(&z[1], &a);
        drain[i] = now() - start;

        if (rc != 0 || a.n != 1) {
            return fail("drain", rc);
        }
    }

    printf("{\"channels\":%zu,", n);
    print("append", append, rounds);
    printf(",");
    print("drain", drain, rounds);
    printf(",");
    print("clock", clock, rounds);
    printf("}\n");

    return 0;
}


/* Members, each on a seat of his own. */

static fanout_zone_t          z;
static fanout_zone_channel_t  c;
static fanout_arena_t         arena;


static int
enter(fanout_identity_t *id, uint32_t ref)
{
    fanout_put_t     r;
    fanout_member_t  m;

    memset(&m, 0, sizeof(m));
    m.data.data = (const uint8_t *) "{\"n\":1234}";
    m.data.len = 10;

    return fanout_member_put(&z, &c, ref, id, &m,
                             FANOUT_PUT_ENTER
                             |FANOUT_PUT_DATA, &r);
}


static int
leave(fanout_identity_t *id, uint32_t ref)
{
    fanout_zstr_t  key;

    memset(&key, 0, sizeof(key));

    return fanout_member_drop(&z, &c, ref, id, &key, FANOUT_LEFT_INTENTIONAL);
}


static uint64_t
flush(void)
{
    uint64_t  start;

    start = now();
    (void) fanout_presence_flush(&z);
    start = now() - start;

    arena.n = arena.used = 0;
    (void) fanout_log_drain(&z, &arena);

    return start;
}


static int
read_some(uint32_t slot, uint64_t *t)
{
    int                     rc;
    unsigned                got;
    uint64_t                start;
    fanout_presence_info_t  room;

    static uint8_t          buf[FANOUT_ZONE_MEMBER_BUF
                                + FANOUT_ZONE_COPY];
    static fanout_member_t  members[FANOUT_ZONE_ENTRIES];

    start = now();
    rc = fanout_presence_read(&z, &c, &slot, members, FANOUT_ZONE_ENTRIES,
                              buf, sizeof(buf), &got, &room);
    *t = now() - start;

    return rc == 0 && got ? 0 : -1;
}


static int
sit_down(fanout_identity_t *id, uint32_t *ref, size_t i)
{
    int            rc;
    char           name[32];
    fanout_zstr_t  user, info;

    memset(&info, 0, sizeof(info));
    user.len = snprintf(name, sizeof(name), "user%zu", i);
    user.data = (uint8_t *) name;

    id->client = (uint64_t) (i + 1) * 0x9e3779b97f4a7c15;
    id->user = fanout_zone_hash(&z, name, user.len);

    rc = fanout_identity_add(&z, id, &user, &info, 0, ref);

    return rc ? rc : fanout_seat_open(&z, &c, *ref, id);
}


static int
open_room(void)
{
    int                          rc;
    void                        *mem;
    fanout_zone_conf_t           conf;
    static fanout_zone_policy_t  policy;

    memset(&conf, 0, sizeof(conf));
    policy.presence = FANOUT_PRESENCE_ON;

    arena.max = 1024;
    arena.entries = malloc(arena.max * sizeof(fanout_entry_t));
    arena.size = 256 * 1024;
    arena.bytes = malloc(arena.size);

    mem = mmap(NULL, SIZE, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
               -1, 0);

    if ((rc = fanout_zone_create(mem, SIZE, &conf, NULL)) != 0
        || (rc = fanout_zone_attach(&z, mem, SIZE)) != 0
        || (rc = fanout_slot_claim(&z, 1)) != 0)
    {
        return fail("zone", rc);
    }

    c.name.data = (const uint8_t *) "lobby";
    c.name.len = 5;
    c.hash = fanout_zone_hash(&z, "lobby", 5);
    c.policy = &policy;

    rc = fanout_channel_open(&z, &c, 0);

    return rc ? fail("open", rc) : 0;
}


static int
members(size_t n, size_t rounds)
{
    int                 rc;
    size_t              i, k;
    uint32_t           *ref;
    uint64_t           *t[5], start;
    fanout_identity_t  *id;

    static const char *const     names[] = {
        "enter", "leave", "flush", "read", "clock"
    };

    id = calloc(n, sizeof(fanout_identity_t));
    ref = calloc(n, sizeof(uint32_t));

    for (i = 0; i < 5; i++) {
        t[i] = malloc(rounds * sizeof(uint64_t));
    }

    if (open_room() != 0) {
        return 1;
    }

    for (i = 0; i < n; i++) {
        if ((rc = sit_down(&id[i], &ref[i], i)) != 0
            || (rc = enter(&id[i], ref[i])) != 0)
        {
            return fail("member", rc);
        }

        if (i % 48 == 47 || i == n - 1) {
            (void) flush();
        }
    }

    srandom(1);

    for (i = 0; i < rounds; i++) {
        k = random() % n;

        start = now();
        t[4][i] = now() - start;

        start = now();
        rc = leave(&id[k], ref[k]);
        t[1][i] = now() - start;

        (void) flush();

        start = now();
        rc |= enter(&id[k], ref[k]);
        t[0][i] = now() - start;

        t[2][i] = flush();
        rc |= read_some(random() % n, &t[3][i]);

        if (rc != 0) {
            return fail("round", rc);
        }
    }

    printf("{\"members\":%zu", n);

    for (i = 0; i < 5; i++) {
        printf(",");
        print(names[i], t[i], rounds);
    }

    printf("}\n");

    return 0;
}


int
main(int argc, char **argv)
{
    int     of_members;
    size_t  n, rounds;

    of_members = (argc > 1 && strcmp(argv[1], "members") == 0);
    argc -= of_members;
    argv += of_members;

    n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 200000;

    if (n == 0 || rounds == 0) {
        fputs("zone [members] [N [ROUNDS]]\n", stderr);
        return 2;
    }

    return of_members ? members(n, rounds) : channels(n, rounds);
}
