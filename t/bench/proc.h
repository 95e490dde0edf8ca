
/* What the kernel says about the processes of a server. */

#ifndef BENCH_PROC_H
#define BENCH_PROC_H


#include <stdint.h>
#include <sys/types.h>


#define PROC_MAX  64


typedef struct {
    int    n;
    pid_t  pid[PROC_MAX];
} proc_set_t;


/* Bytes; a page that several of the processes share is counted once. */

typedef struct {
    int64_t  own;            /* anonymous and shared memory: what grows */
    int64_t  shmem;          /* the part that is shared memory */
    int64_t  pss;            /* with files, which others may map as well */
    int64_t  rss;            /* as it is without that care */
    int64_t  slab;           /* of the whole system: both ends of a socket */
    int64_t  sockmem;        /* the same, pages of TCP buffers */
} proc_mem_t;


/* CPU time in ns, user and system, over all tasks; 0 if it is gone. */
uint64_t proc_cpu(pid_t pid);
uint64_t proc_cpu_all(const proc_set_t *set);

/* Memory of all of them. */
void proc_mem(const proc_set_t *set, proc_mem_t *mem);

/* Reads "1,2,3": 0, or -1 if it is no such list. */
int proc_list(const char *text, proc_set_t *set);

/* The master and its children as they are now. */
void proc_family(pid_t master, proc_set_t *set);

/* Takes away those of "other". */
void proc_without(proc_set_t *set, const proc_set_t *other);

/* Monotonic time in ns. */
uint64_t proc_now(void);


#endif /* BENCH_PROC_H */
