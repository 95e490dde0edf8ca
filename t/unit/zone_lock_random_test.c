/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_events.c */
/* sources: t/unit/zone_presence.c t/unit/zone_lock.c t/unit/zone_record.c */
/* sources: t/unit/zone_lock_model.c t/unit/zone_steps.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, after some order of takes, drops, waits, ends of seats and of
 * time by two workers a lock has another holder than the first who asked and
 * can have it, a token is not above all before it, somebody is not told of a
 * grant, or who follows the entries knows other holders than who reads them.
 * In each second history, the zone is full at times.
 *
 * ZONE_SEED replays what failed; ZONE_HISTORIES (20) says how many are tried,
 * ZONE_STEPS (4000) how long each is.
 */


#include "tap.h"
#include "zone_lock_model.h"


static int
history(uint64_t seed, unsigned steps)
{
    int    rc;
    void  *mem;

    mem = zone_make(MB, 300, 120);

    lm.s.next = from_seed;
    lm.s.data = &seed;
    lm.pressure = seed & 1;
    lm_init(mem, MB);
    rc = 0;

    while (lm.s.n < steps && rc == 0) {
        rc = lm_step() != 0 || lm_check(0) != 0;
    }

    rc = rc || lm_done() != 0;
    munmap(mem, MB);

    return rc;
}


int
main(void)
{
    char      *s;
    uint64_t   seed;
    uint32_t   total;
    unsigned   i, n, steps, bad;

    s = getenv("ZONE_HISTORIES");
    n = s ? atoi(s) : getenv("ZONE_SEED") ? 1 : SLOW ? 10 : 100;
    s = getenv("ZONE_STEPS");
    steps = s ? atoi(s) : 4000;
    seed = seed_of_run();
    total = 0;

    for (i = 0, bad = 0; i < n && !bad; i++) {
        bad = history(seed + i, steps);
        total += lm.s.n;

        if (bad) {
            diag("ZONE_SEED=%llu, step %u: %s",
                 (unsigned long long) (seed + i), lm.s.n, lm.s.error);
        }
    }

    ok(bad == 0, "%u steps are as expected", total);
    ok(n == 1 || (lm.grants > total / 20 && lm.passes && lm.expired
                  && lm.timeouts && lm.revived && lm.renewals && lm.full
                  && lm.gaps),
       "%u grants, %u of them to a line, %u to who came back; %u renewals, %u "
       "conflicts, %u expired, %u waits over; %u refused by a full zone, %u "
       "gaps", lm.grants, lm.passes, lm.revived, lm.renewals, lm.conflicts,
       lm.expired, lm.timeouts, lm.full, lm.gaps);

    return done_testing();
}
