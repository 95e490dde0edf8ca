/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_model.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * Operations on a small zone, drawn from the input, against the model of the
 * unit test: whatever the order, no message is lost without a word, none comes
 * twice, and the accounts are right.
 */


#include "zone_model.h"


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
demand(model_t *m, int rc)
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

    input_t   in;
    model_t  *m;
    conf_t    conf;
    uint64_t  start;

    if (mem == NULL) {
        mem = map(MB);
    }

    memset(&conf, 0, sizeof(conf));
    conf.slots = 4;
    conf.idle = 30;
    conf.dedupe = 20;

    if (fanout_zone_create(mem, MB, &conf, NULL) != OK) {
        abort();
    }

    in.p = data;
    in.last = data + size;

    m = calloc(1, sizeof(model_t));
    m->next = from_input;
    m->data = &in;
    m->pressure = 1;
    m_init(m, mem, MB, 20);
    zone_shares(&m->z[0]);
    start = free_blocks(&m->z[0]);

    while (in.p < in.last && m->steps < 500) {
        demand(m, m_step(m));

        if (m->steps % 32 == 0) {
            demand(m, m_check(m));
        }
    }

    demand(m, m_check(m));
    demand(m, m_empty(m, start));

    m_done(m);
    free(m);

    return 0;
}
