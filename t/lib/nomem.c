/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Preloaded into an NGINX by t/nomem.t: the n-th allocation that the module
 * asks for, itself or through NGINX, fails once.  The file that
 * FANOUT_TEST_NOMEM names is mapped by all of its processes; it begins with
 * the number n, 0 for none, then how many there were since, and how many have
 * failed.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


#define FRAMES  8       /* between the module and malloc(), at most */


typedef struct {
    volatile uint64_t  at;
    volatile uint64_t  count;
    volatile uint64_t  failed;
} control_t;


void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);


static control_t        *control;
static uintptr_t         from, to;      /* the module */
static __thread int      within;


static int
find_module(struct dl_phdr_info *info, size_t size, void *data)
{
    int        i;
    uintptr_t  start;

    if (strstr(info->dlpi_name, "ngx_http_fanout_module") == NULL) {
        return 0;
    }

    for (i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD
            && info->dlpi_phdr[i].p_flags & PF_X)
        {
            start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            from = start;
            to = start + info->dlpi_phdr[i].p_memsz;
        }
    }

    return 1;
}


static void __attribute__((constructor))
init(void)
{
    int          fd;
    void        *p, *frames[2];
    const char  *name;

    name = getenv("FANOUT_TEST_NOMEM");

    if (name == NULL || (fd = open(name, O_RDWR)) == -1) {
        return;
    }

    p = mmap(NULL, sizeof(control_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd,
             0);
    close(fd);

    if (p == MAP_FAILED) {
        return;
    }

    /* it allocates, the first time */
    (void) backtrace(frames, 2);

    control = p;
}


static int
fails(void)
{
    int    i, n;
    void  *frames[FRAMES];

    if (control == NULL || control->at == 0 || within) {
        return 0;
    }

    within = 1;

    if (from == 0) {
        (void) dl_iterate_phdr(find_module, NULL);
    }

    n = backtrace(frames, FRAMES);
    within = 0;

    for (i = 0; i < n; i++) {
        if ((uintptr_t) frames[i] >= from && (uintptr_t) frames[i] < to) {
            break;
        }
    }

    if (i == n || ++control->count != control->at) {
        return 0;
    }

    control->failed++;
    errno = ENOMEM;

    return 1;
}


void *
malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    return fails() ? NULL : __libc_realloc(p, size);
}


int
posix_memalign(void **p, size_t align, size_t size)
{
    if (fails()) {
        return ENOMEM;
    }

    *p = __libc_memalign(align, size);

    return *p ? 0 : ENOMEM;
}
