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
 * Sets, deletes, locks, lists and histories of records drawn from the input, on
 * a small zone, against the model of the unit test: whatever the order, no
 * change is lost without a word, locks guard, and of a worker that dies at any
 * store all is there, or nothing.
 */


#include "zone_record_steps.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int       way;
    void     *mem;
    input_t   in;

    mem = zone_of_input(4);

    in.p = data;
    in.last = data + size;
    way = from_input(&in);

    records_begin(mem, MB, way & 1, way & 2, from_input, &in);

    while (in.p < in.last && run.m.s.n < 500) {
        demand(&run.m.s, records_step());

        if (run.m.s.n % 16 == 0) {
            demand(&run.m.s, records_sound());
        }
    }

    demand(&run.m.s, records_check());
    demand(&run.m.s, records_sound());

    records_end();

    return 0;
}
