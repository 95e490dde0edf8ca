/*
 * What the models of a zone share.
 */


#include <stdarg.h>

#include "zone_steps.h"


void
steps_fail(steps_t *s, int line, const char *cond, const char *fmt, ...)
{
    int      n;
    va_list  ap;

    n = snprintf(s->error, sizeof(s->error), "step %u, line %d: %s: ",
                 s->n, line, cond);
    va_start(ap, fmt);
    vsnprintf(s->error + n, sizeof(s->error) - n, fmt, ap);
    va_end(ap);
}


uint32_t
from_seed(void *data)
{
    return rnd(data) >> 32;
}


uint32_t
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


void
demand(steps_t *s, int rc)
{
    if (rc) {
        fprintf(stderr, "%s\n", s->error);
        abort();
    }
}


void *
zone_of_input(uint32_t slots)
{
    static void  *mem;

    conf_t  conf;

    if (mem == NULL) {
        mem = map(MB);
    }

    memset(&conf, 0, sizeof(conf));
    conf.slots = slots;
    conf.idle = 30;
    conf.dedupe = 20;

    if (fanout_zone_create(mem, MB, &conf, NULL) != OK) {
        abort();
    }

    return mem;
}


int
steps_check(steps_t *s, zone_t *z)
{
    int   rc;
    char  text[256];

    rc = fanout_zone_verify(z, text, sizeof(text));

    if (rc) {
        steps_fail(s, __LINE__, "sound", "%s", text);
        return -1;
    }

    return 0;
}


int
steps_free(steps_t *s, zone_t *z, uint64_t blocks)
{
    uint64_t  n;

    n = free_blocks(z);

    if (n != blocks) {
        steps_fail(s, __LINE__, "all is given back",
                   "%llu blocks free, not %llu", (unsigned long long) n,
                   (unsigned long long) blocks);
        return -1;
    }

    return 0;
}
