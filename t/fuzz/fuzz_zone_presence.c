/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* sources: t/unit/zone_presence_model.c t/unit/zone_presence_orders.c */
/* sources: t/unit/zone_presence_steps.c t/unit/zone_steps.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * Joins, leaves, cuts, resumes and deaths drawn from the input, on a small
 * zone, against the model of the unit test: whatever the order, all workers see
 * the same members, and only those who are there.
 */


#include "zone_presence_model.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void      *mem;
    input_t    in;
    rmodel_t  *m;
    uint64_t   start;
    unsigned   h;

    mem = zone_of_input(8);

    in.p = data;
    in.last = data + size;

    m = calloc(1, sizeof(rmodel_t));
    m->s.next = from_input;
    m->s.data = &in;
    m->pressure = 1;
    r_init(m, mem, MB);
    zone_shares(&m->h[0].z);
    start = free_blocks(&m->h[0].z);

    while (in.p < in.last && m->s.n < 500) {
        demand(&m->s, r_step(m));

        if (m->s.n % 32 == 0) {
            demand(&m->s, r_check(m));
        }
    }

    for (h = 0; h < R_HANDLES; h++) {
        m->h[h].stopped = 0;
    }

    demand(&m->s, r_settle(m));
    demand(&m->s, r_empty(m, start));

    r_done(m);
    free(m);

    return 0;
}
