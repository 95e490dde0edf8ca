/*
 * Sections of the zone's lock: the median and the 99th percentile of an
 * append and of a drain, each with the lock's cost in it, for a message of
 * 128 bytes on one of some channels with history=100 and two workers
 * interested.  One process, both slots: what is measured is the work done
 * under the lock, not the wait for it.
 *
 *     zone [CHANNELS [ROUNDS]]
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

#include "ngx_http_fanout_zone.h"


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


int
main(int argc, char **argv)
{
    int                              rc;
    void                            *mem;
    size_t                           i, k, n, rounds;
    uint8_t                          data[128];
    uint64_t                         start, *append, *drain, *clock;
    ngx_http_fanout_zone_t           z[2];
    ngx_http_fanout_arena_t          a;
    ngx_http_fanout_zone_conf_t      conf;
    ngx_http_fanout_zone_policy_t    policy;
    ngx_http_fanout_zone_result_t    r;
    ngx_http_fanout_zone_channel_t  *c[2];
    ngx_http_fanout_zone_message_t   m;

    n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 200000;

    memset(&conf, 0, sizeof(conf));
    memset(&policy, 0, sizeof(policy));
    memset(&m, 0, sizeof(m));
    memset(&a, 0, sizeof(a));
    memset(data, 'x', sizeof(data));

    policy.history = 100;
    m.data.data = data;
    m.data.len = sizeof(data);
    a.max = 1024;
    a.entries = malloc(a.max * sizeof(ngx_http_fanout_entry_t));
    a.size = 256 * 1024;
    a.bytes = malloc(a.size);
    append = malloc(rounds * sizeof(uint64_t));
    drain = malloc(rounds * sizeof(uint64_t));
    clock = malloc(rounds * sizeof(uint64_t));
    c[0] = calloc(n, sizeof(ngx_http_fanout_zone_channel_t));
    c[1] = calloc(n, sizeof(ngx_http_fanout_zone_channel_t));

    mem = mmap(NULL, SIZE, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
               -1, 0);

    rc = ngx_http_fanout_zone_create(mem, SIZE, &conf, NULL);
    if (rc != 0) {
        return fail("create", rc);
    }

    for (k = 0; k < 2; k++) {
        rc = ngx_http_fanout_zone_attach(&z[k], mem, SIZE);
        if (rc != 0) {
            return fail("attach", rc);
        }

        rc = ngx_http_fanout_slot_claim(&z[k], k + 1);
        if (rc != 0) {
            return fail("claim", rc);
        }

        for (i = 0; i < n; i++) {
            char  *name = malloc(32);

            c[k][i].name.len = snprintf(name, 32, "channel:%zu", i);
            c[k][i].name.data = (uint8_t *) name;
            c[k][i].hash = ngx_http_fanout_zone_hash(&z[k], name,
                                                     c[k][i].name.len);
            c[k][i].policy = &policy;

            rc = ngx_http_fanout_channel_open(&z[k], &c[k][i], i);
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
        rc = ngx_http_fanout_log_publish(&z[0], &c[0][k], &m, 1, NULL, &r);
        append[i] = now() - start;

        if (rc != 0) {
            return fail("publish", rc);
        }

        a.n = a.used = 0;
        (void) ngx_http_fanout_log_drain(&z[0], &a);

        a.n = a.used = 0;
        start = now();
        rc = ngx_http_fanout_log_drain(&z[1], &a);
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
