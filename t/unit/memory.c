/*
 * Memory of code under test, counted and refused.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "memory.h"


long      memory_blocks;
unsigned  memory_refuse;
unsigned  memory_refused;
unsigned  memory_seed;


void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __real_free(void *p);
void __wrap_free(void *p);


static int
refused(void)
{
    if (memory_refuse == 0) {
        return 0;
    }

    memory_seed = memory_seed * 1664525 + 1013904223;

    if ((memory_seed >> 8) % memory_refuse) {
        return 0;
    }

    memory_refused++;

    return 1;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    void  *p;

    p = refused() ? NULL : malloc(size ? size : 1);
    memory_blocks += p != NULL;

    return p;
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    void  *p;

    p = ngx_alloc(size, log);

    if (p) {
        ngx_memzero(p, size);
    }

    return p;
}


void *
__wrap_realloc(void *p, size_t size)
{
    void  *q;

    q = refused() ? NULL : __real_realloc(p, size);
    memory_blocks += p == NULL && q != NULL;

    return q;
}


void
__wrap_free(void *p)
{
    memory_blocks -= p != NULL;
    __real_free(p);
}
