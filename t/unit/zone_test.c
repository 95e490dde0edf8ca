/* sources: src/zone/ngx_http_fanout_zone.c src/zone/ngx_http_fanout_channel.c src/zone/ngx_http_fanout_log.c src/zone/ngx_http_fanout_slot.c src/zone/ngx_http_fanout_key.c src/zone/ngx_http_fanout_identity.c src/zone/ngx_http_fanout_check.c */
/* cflags: -DNGX_HTTP_FANOUT_TEST=1 */

/*
 * If this fails, subscribers miss messages or get some twice, history is kept
 * too long or too short, or a zone that was once full never recovers.
 */


#include "tap.h"
#include "zone_model.h"


static uint64_t  seed;


static void
checked(zone_t *z, const char *what)
{
    char  text[256];

    text[0] = '\0';
    ok(ngx_http_fanout_zone_check(z, text, sizeof(text)) == 0, "%s: %s",
       what, text[0] ? text : "all invariants hold");
}


static uint32_t
from_seed(void *data)
{
    return rnd(data) >> 32;
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
    m->next = from_seed;
    m->data = &own;
    m->pressure = pressure;
    m_init(m, mem, size, 20);
    start = free_blocks(&m->z[0]);

    rc = 0;

    while (m->steps < steps && rc == 0) {
        rc = m_step(m);

        if (rc == 0 && m->steps % 64 == 0) {
            rc = m_check(m);
        }
    }

    if (rc == 0) {
        rc = m_empty(m, start);
    }

    if (rc || n < 2) {
        ok(rc == 0, "%u random operations, %u gaps, %u refused: %s",
           m->steps, m->gaps, m->fulls, rc ? m->error : "as modelled");
    }

    if (rc) {
        diag("ZONE_SEED=%llu (history %u)", (unsigned long long) seed, n);
    }

    m_done(m);
    free(m);
    munmap(mem, size);
}


int
main(int argc, char **argv)
{
    unsigned  i;

    seed = seed_of_run();
    (void) checked;

    for (i = 0; i < 40 && !tap_failed; i++) {
        if (i & 1) {
            random_history(MB, 3000, 1, i);

        } else {
            random_history(32 * MB, 2000, 0, i);
        }
    }

    return done_testing();
}
