
#include "proc.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


uint64_t
proc_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


static uint64_t
task_cpu(pid_t pid, const char *task)
{
    char                 path[300];
    FILE                *f;
    unsigned long long   ns;

    snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, task);

    f = fopen(path, "r");
    if (f == NULL) {
        return 0;
    }

    if (fscanf(f, "%llu", &ns) != 1) {
        ns = 0;
    }

    fclose(f);

    return ns;
}


uint64_t
proc_cpu(pid_t pid)
{
    DIR            *d;
    char            path[64];
    uint64_t        ns;
    struct dirent  *e;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);

    d = opendir(path);
    if (d == NULL) {
        return 0;
    }

    ns = 0;

    while ((e = readdir(d)) != NULL) {
        if (isdigit((unsigned char) e->d_name[0])) {
            ns += task_cpu(pid, e->d_name);
        }
    }

    closedir(d);

    return ns;
}


uint64_t
proc_cpu_all(const proc_set_t *set)
{
    int       i;
    uint64_t  ns;

    ns = 0;

    for (i = 0; i < set->n; i++) {
        ns += proc_cpu(set->pid[i]);
    }

    return ns;
}


/* Adds "Name:  123 kB" lines of a file to what they are named for. */

static void
add_kilobytes(const char *path, const char *name, int64_t *sum)
{
    char       line[256];
    FILE      *f;
    size_t     n;
    long long  kb;

    f = fopen(path, "r");
    if (f == NULL) {
        return;
    }

    n = strlen(name);

    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, name, n) == 0
            && sscanf(line + n, "%lld", &kb) == 1)
        {
            *sum += kb * 1024;
        }
    }

    fclose(f);
}


static void
add_sockets(int64_t *sum)
{
    char   line[256], *at;
    FILE  *f;

    f = fopen("/proc/net/sockstat", "r");
    if (f == NULL) {
        return;
    }

    while (fgets(line, sizeof(line), f)) {
        at = strstr(line, " mem ");

        if (strncmp(line, "TCP:", 4) == 0 && at) {
            *sum += atoll(at + 5) * 4096;
        }
    }

    fclose(f);
}


void
proc_mem(const proc_set_t *set, proc_mem_t *mem)
{
    int   i;
    char  path[64];

    memset(mem, 0, sizeof(proc_mem_t));

    for (i = 0; i < set->n; i++) {
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", set->pid[i]);
        add_kilobytes(path, "Pss:", &mem->pss);
        add_kilobytes(path, "Pss_Anon:", &mem->own);
        add_kilobytes(path, "Pss_Shmem:", &mem->own);
        add_kilobytes(path, "Pss_Shmem:", &mem->shmem);
        add_kilobytes(path, "Rss:", &mem->rss);
    }

    add_kilobytes("/proc/meminfo", "Slab:", &mem->slab);
    add_sockets(&mem->sockmem);
}


int
proc_list(const char *text, proc_set_t *set)
{
    char  *end;

    set->n = 0;

    while (*text && set->n < PROC_MAX) {
        set->pid[set->n] = strtol(text, &end, 10);

        if (end == text || set->pid[set->n] <= 0) {
            return -1;
        }

        set->n++;
        text = (*end == ',') ? end + 1 : end;
    }

    return *text ? -1 : 0;
}


static pid_t
parent_of(const char *name)
{
    int    parent;
    char   path[300], line[512], *at;
    FILE  *f;

    snprintf(path, sizeof(path), "/proc/%s/stat", name);

    f = fopen(path, "r");
    if (f == NULL) {
        return -1;
    }

    at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
    fclose(f);

    return (at && sscanf(at, ") %*c %d", &parent) == 1) ? parent : -1;
}


void
proc_family(pid_t master, proc_set_t *set)
{
    DIR            *d;
    struct dirent  *e;

    set->n = 1;
    set->pid[0] = master;

    d = opendir("/proc");
    if (d == NULL) {
        return;
    }

    while ((e = readdir(d)) != NULL && set->n < PROC_MAX) {
        if (isdigit((unsigned char) e->d_name[0])
            && parent_of(e->d_name) == master)
        {
            set->pid[set->n++] = atoi(e->d_name);
        }
    }

    closedir(d);
}


void
proc_without(proc_set_t *set, const proc_set_t *other)
{
    int  i, j, n;

    n = 0;

    for (i = 0; i < set->n; i++) {
        for (j = 0; j < other->n && other->pid[j] != set->pid[i]; j++) {
            /* void */
        }

        if (j == other->n) {
            set->pid[n++] = set->pid[i];
        }
    }

    set->n = n;
}
