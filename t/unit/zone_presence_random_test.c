/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* sources: t/unit/zone_presence_model.c t/unit/zone_presence_orders.c */
/* sources: t/unit/zone_presence_steps.c t/unit/zone_steps.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, two workers show different members of one channel, or some
 * who are not there, or a backend is told what is not so, after some order of
 * joins, leaves, cuts, resumes, deaths and a full zone.
 *
 * ZONE_SEED replays what failed; ZONE_HISTORIES (60) says how many are tried.
 */


#include "tap.h"
#include "zone_presence_model.h"


static uint64_t  seed;
static uint32_t  steps, changes, gaps, full, kills, settled,
                 told, lost, repeated, known;


static void
history(size_t size, unsigned most, int pressure, unsigned n)
{
    int        rc;
    void      *mem;
    unsigned   h, i;
    uint64_t   start, own;
    rmodel_t  *m;

    own = seed + n * 1000003ULL;
    mem = zone_make(size, 30, 20);
    m = calloc(1, sizeof(rmodel_t));
    m->s.next = from_seed;
    m->s.data = &own;
    m->pressure = pressure;
    r_init(m, mem, size);
    start = free_blocks(&m->h[0].z);
    rc = 0;

    while (m->s.n < most && rc == 0) {
        rc = r_step(m);

        if (rc == 0 && m->s.n % 64 == 0) {
            rc = r_check(m);
        }
    }

    for (h = 0; rc == 0 && h < R_HANDLES; h++) {
        m->h[h].stopped = 0;
    }

    rc = rc ? rc : r_settle(m);
    rc = rc ? rc : r_empty(m, start);

    steps += m->s.n;
    gaps += m->gaps;
    full += m->full;
    kills += m->kills;
    settled += m->settled;
    told += m->w.read;
    lost += m->w.lost;
    repeated += m->repeated;
    known += m->known;

    for (h = 0; h < R_HANDLES; h++) {
        for (i = 0; i < R_CHANNELS; i++) {
            changes += m->h[h].mirror[i].changes;
        }
    }

    if (rc) {
        ok(0, "history %u: %s", n, m->s.error);
        diag("ZONE_SEED=%llu (history %u)", (unsigned long long) seed, n);
    }

    r_done(m);
    free(m);
    munmap(mem, size);
}


int
main(int argc, char **argv)
{
    char      *s;
    unsigned   i, n;

    seed = seed_of_run();
    s = getenv("ZONE_HISTORIES");
    n = s ? atoi(s) : 60;

    for (i = 0; i < n && !tap_failed; i++) {
        history(i & 1 ? MB : 16 * MB, 3000, i & 1, i);
    }

    ok(!tap_failed, "%u random operations, %u workers died, %u changes told, "
       "%u gaps, %u refused, %u times all agreed", steps, kills, changes,
       gaps, full, settled);
    ok(changes > 0 && gaps > 0 && full > 0 && kills > 0 && settled > 0,
       "all of it was met");
    ok(told > 0 && lost > 0 && repeated > 0 && known > 0, "%u events, %u lost,"
       " %u reads to be repeated, %u times all was known by them", told, lost,
       repeated, known);

    return done_testing();
}
