/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_events.c */
/* sources: t/unit/zone_presence.c t/unit/zone_lock.c t/unit/zone_record.c */
/* sources: t/unit/zone_lock_model.c t/unit/zone_steps.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * Takes, drops, waits and ends drawn from the input, on a small zone, against
 * the model of the unit test: whatever the order, a lock has one holder, who is
 * the first that can have it.
 */


#include "zone_lock_model.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void     *mem;
    input_t   in;

    mem = zone_of_input(4);

    in.p = data;
    in.last = data + size;

    lm.s.next = from_input;
    lm.s.data = &in;
    lm.pressure = 1;
    lm_init(mem, MB);

    while (in.p < in.last && lm.s.n < 500) {
        demand(&lm.s, lm_step());
        demand(&lm.s, lm_check(0));
    }

    demand(&lm.s, lm_done());

    return 0;
}
