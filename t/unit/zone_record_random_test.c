/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_events.c */
/* sources: t/unit/zone_presence.c t/unit/zone_lock.c t/unit/zone_record.c */
/* sources: t/unit/zone_record_model.c t/unit/zone_record_fold.c */
/* sources: t/unit/zone_record_draw.c t/unit/zone_record_locks.c */
/* sources: t/unit/zone_record_steps.c t/unit/zone_record_reads.c */
/* sources: t/unit/zone_record_locks_steps.c t/unit/zone_steps.c */
/* sources: t/unit/zone_record_around.c t/unit/zone_kill.c */
/* cflags: -DFANOUT_TEST=1 -DFANOUT_CRASH=1 */

/*
 * If this fails, a set changes what it should not, refuses what nobody else
 * changed, a version is used twice, a lock does not guard, or who follows the
 * entries knows another state than who reads the records, after some order of
 * sets, appends, deletes, locks, clears, purges and expiries by two workers. In
 * each second history, the zone is full at times; in each third one, workers
 * die in the middle of an operation.
 *
 * ZONE_SEED replays what failed; ZONE_HISTORIES (30) says how many are tried,
 * ZONE_STEPS (3000) how long each is.
 */


#include "tap.h"
#include "zone_record_steps.h"


static uint64_t  seed;


static unsigned
history(unsigned n, unsigned steps)
{
    int        rc;
    void      *mem;
    size_t     size;
    uint64_t   own;
    unsigned   i;

    size = n & 1 ? MB : 32 * MB;
    mem = zone_make(size, 300, 20);
    own = seed + n * 1000003ULL;
    records_begin(mem, size, n & 1, n % 3 == 2, from_seed, &own);
    rc = 0;

    for (i = 1; i <= steps && rc == 0; i++) {
        rc = records_step();

        if (rc == 0 && i % 64 == 0) {
            rc = records_sound();
        }

        if (rc == 0 && i % 1000 == 0) {
            rc = records_check();
        }
    }

    if (rc) {
        ok(0, "history %u, step %u: %s", n, i - 1, run.m.s.error);
        diag("ZONE_SEED=%llu (history %u)", (unsigned long long) seed, n);
    }

    records_end();
    munmap(mem, size);

    return i - 1;
}


int
main(void)
{
    char      *s;
    unsigned   i, n, steps, total;

    seed = seed_of_run();
    s = getenv("ZONE_HISTORIES");
    n = s ? atoi(s) : SLOW ? 6 : 30;
    s = getenv("ZONE_STEPS");
    steps = s ? atoi(s) : 3000;
    total = 0;

    for (i = 0; i < n && !tap_failed; i++) {
        total += history(i, steps);
    }

    ok(!tap_failed, "%u random operations: %u sets, %u in conflict, %u "
       "partial, %u of no change, %u refused, %u deletes, %u repeated",
       total, met.sets, met.conflicts, met.partial, met.unchanged,
       met.refused, met.deletes, met.duplicates);
    ok(met.conflicts && met.partial && met.unchanged && met.refused
       && met.duplicates, "all of it was met");
    ok(met.grants && met.locked && met.lists && met.histories, "%u locks were "
       "granted, %u changes refused for them; %u lists, %u histories of a "
       "record", met.grants, met.locked, met.lists, met.histories);
    ok(met.died && met.survived && met.survived < met.died, "%u deaths, after "
       "%u of them the change was there", met.died, met.survived);
    ok(met.entries && met.olds && met.gaps && met.full, "%u entries read, %u "
       "old values, %u gaps, a full zone %u times, %u times the state was the "
       "same", met.entries, met.olds, met.gaps, met.full, met.folded);

    arena_done(&run.arena);

    return done_testing();
}
