/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_steps.c */
/* sources: t/unit/zone_model*.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * Operations on a small zone, drawn from the input, against the model of the
 * unit test: whatever the order, no message is lost without a word, none comes
 * twice, and the accounts are right.
 */


#include "zone_model.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void     *mem;
    input_t   in;
    model_t  *m;
    uint64_t  start;

    mem = zone_of_input(4);

    in.p = data;
    in.last = data + size;

    m = calloc(1, sizeof(model_t));
    m->s.next = from_input;
    m->s.data = &in;
    m->pressure = 1;
    m_init(m, mem, MB, 20);
    zone_shares(&m->z[0]);
    start = free_blocks(&m->z[0]);

    while (in.p < in.last && m->s.n < 500) {
        demand(&m->s, m_step(m));

        if (m->s.n % 32 == 0) {
            demand(&m->s, m_check(m));
        }
    }

    demand(&m->s, m_check(m));
    demand(&m->s, m_empty(m, start));

    m_done(m);
    free(m);

    return 0;
}
