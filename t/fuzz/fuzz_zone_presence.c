/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* sources: t/unit/zone_presence_model.c t/unit/zone_presence_steps.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * Joins, leaves, cuts, resumes and deaths drawn from the input, on a small
 * zone, against the model of the unit test: whatever the order, all workers see
 * the same members, and only those who are there.
 */


#include "zone_presence_model.h"


typedef struct {
    const uint8_t  *p;
    const uint8_t  *last;
} input_t;


/* two bytes a number; what follows from the last ones is zero */

static uint32_t
from_input(void *data)
{
    uint32_t  n;
    input_t  *in;

    in = data;
    n = 0;

    if (in->p < in->last) {
        n = *in->p++;
    }

    if (in->p < in->last) {
        n |= *in->p++ << 8;
    }

    return n;
}


static void
demand(rmodel_t *m, int rc)
{
    if (rc) {
        fprintf(stderr, "%s\n", m->error);
        abort();
    }
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void  *mem;

    conf_t     conf;
    input_t    in;
    rmodel_t  *m;
    uint64_t   start;
    unsigned   h;

    if (mem == NULL) {
        mem = map(MB);
    }

    memset(&conf, 0, sizeof(conf));
    conf.slots = 8;
    conf.idle = 30;
    conf.dedupe = 20;

    if (fanout_zone_create(mem, MB, &conf, NULL) != OK) {
        abort();
    }

    in.p = data;
    in.last = data + size;

    m = calloc(1, sizeof(rmodel_t));
    m->next = from_input;
    m->data = &in;
    m->pressure = 1;
    r_init(m, mem, MB);
    zone_shares(&m->h[0].z);
    start = free_blocks(&m->h[0].z);

    while (in.p < in.last && m->steps < 500) {
        demand(m, r_step(m));

        if (m->steps % 32 == 0) {
            demand(m, r_check(m));
        }
    }

    for (h = 0; h < R_HANDLES; h++) {
        m->h[h].stopped = 0;
    }

    demand(m, r_settle(m));
    demand(m, r_empty(m, start));

    r_done(m);
    free(m);

    return 0;
}
