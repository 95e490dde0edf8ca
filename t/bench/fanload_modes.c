
/* What fanload measures, and how it is printed. */

#define _GNU_SOURCE

#include "fanload.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>


/* Results */

static int
by_size(const void *a, const void *b)
{
    uint32_t  x, y;

    x = *(const uint32_t *) a;
    y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}


static double
percentile(uint32_t *list, size_t n, double p)
{
    size_t  at;

    if (n == 0) {
        return 0;
    }

    at = n * p / 100;

    return list[at < n ? at : n - 1] / 1000.0;
}


static void
print_delays(const char *name, uint32_t *list, size_t n)
{
    qsort(list, n, sizeof(uint32_t), by_size);

    printf(",\"%s_us\":{\"n\":%zu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
           "\"max\":%.1f}", name, n, percentile(list, n, 50),
           percentile(list, n, 90), percentile(list, n, 99),
           percentile(list, n, 100));
}


static double
own_cpu(void)
{
    struct rusage  u;

    getrusage(RUSAGE_SELF, &u);

    return u.ru_utime.tv_sec + u.ru_stime.tv_sec
           + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}


static void
print_start(void)
{
    printf("{\"label\":\"%s\",\"mode\":\"%s\",\"subs\":%d,\"messages\":%ld,"
           "\"window\":%d,\"size\":%d", conf.label, conf.mode, conf.subs,
           conf.messages, conf.window, conf.size);
}


static void
print_end(int ok)
{
    printf(",\"own_cpu_s\":%.3f,\"ok\":%s}\n", own_cpu(),
           ok ? "true" : "false");
    fflush(stdout);
}


static void
print_mem(const proc_mem_t *a, const proc_mem_t *b, double per)
{
    printf(",\"bytes_each\":%.1f,\"shmem_each\":%.1f,\"rss_each\":%.1f,"
           "\"system_slab_each\":%.1f,\"system_tcp_each\":%.1f,"
           "\"pss_each\":%.1f,\"own_before\":%lld,\"own_after\":%lld",
           (b->own - a->own) / per, (b->shmem - a->shmem) / per,
           (b->rss - a->rss) / per, (b->slab - a->slab) / per,
           (b->sockmem - a->sockmem) / per,
           (b->pss - a->pss) / per, (long long) a->own,
           (long long) b->own);
}


static void
look_at_procs(void)
{
    if (conf.master) {
        proc_family(conf.master, &run.procs);
    }
}


/* Modes */

static void
send_all(uint64_t count)
{
    if (conf.lobby) {
        load_lobby(count);

    } else {
        load_fan(count);
    }
}


static int
mode_fan(void)
{
    int       ok;
    size_t    total;
    uint64_t  cpu, begin, counted;

    total = conf.warm + conf.messages;
    run.max_delays = conf.messages * conf.subs;
    run.lacks = load_need(total, sizeof(uint32_t));
    run.sent_at = load_need(total, sizeof(uint64_t));
    run.delays = load_need(run.max_delays, sizeof(uint32_t));
    run.lasts = load_need(conf.messages, sizeof(uint32_t));

    load_open_subs();
    load_open_publisher();
    load_rest(conf.settle_ms);

    send_all(conf.warm);
    look_at_procs();

    run.counting = 1;
    counted = run.deliveries;
    cpu = proc_cpu_all(&run.procs);
    begin = proc_now();

    send_all(conf.messages);

    begin = proc_now() - begin;
    cpu = proc_cpu_all(&run.procs) - cpu;
    run.counting = 0;

    /* whatever comes run.now is too much */
    load_rest(50);

    counted = run.deliveries - counted;
    ok = (run.wrong == 0 && counted == (uint64_t) conf.messages * conf.subs);

    print_start();
    printf(",\"deliveries\":%llu,\"wrong\":%llu,\"wall_s\":%.6f,"
           "\"cpu_s\":%.6f,\"cpu_us_per_delivery\":%.4f,"
           "\"deliveries_per_s\":%.0f",
           (unsigned long long) counted, (unsigned long long) run.wrong,
           begin / 1e9, cpu / 1e9, cpu / 1e3 / counted,
           counted / (begin / 1e9));
    printf(",\"change_bytes\":%zu", run.change);
    print_delays("delivery", run.delays, run.ndelays);
    print_delays("last", run.lasts, run.nlasts);
    print_end(ok);

    return ok;
}


static int
mode_idle(void)
{
    int         all;
    proc_mem_t  before, after;

    /* one first, so that what is made once is not counted */
    all = conf.subs;
    conf.subs = 1;
    load_open_subs();
    load_rest(conf.settle_ms);
    wire_close(&run.subs[0].wire, 1);
    load_rest(conf.settle_ms);
    conf.subs = all;

    look_at_procs();
    proc_mem(&run.procs, &before);
    load_open_subs();
    load_rest(conf.settle_ms);
    proc_mem(&run.procs, &after);

    print_start();
    print_mem(&before, &after, conf.subs);
    print_end(1);

    return 1;
}


static int
mode_publish(void)
{
    int         ok;
    uint64_t    cpu, begin;
    proc_mem_t  before, after;

    load_open_publisher();
    load_create_channels();
    load_publish_acked(conf.warm, conf.spread);
    look_at_procs();

    proc_mem(&run.procs, &before);
    cpu = proc_cpu_all(&run.procs);
    begin = proc_now();

    load_publish_acked(conf.messages, conf.spread);

    begin = proc_now() - begin;
    cpu = proc_cpu_all(&run.procs) - cpu;
    proc_mem(&run.procs, &after);

    ok = (run.acked == run.sent);

    print_start();
    printf(",\"channels\":%d,\"spread\":%d,\"wall_s\":%.6f,\"cpu_s\":%.6f,"
           "\"cpu_us_per_publish\":%.4f", conf.channels, conf.spread,
           begin / 1e9, cpu / 1e9, cpu / 1e3 / conf.messages);
    print_mem(&before, &after, conf.messages);
    print_end(ok);

    return ok;
}


static int
mode_storm(void)
{
    uint64_t  cpu, begin;

    look_at_procs();

    cpu = proc_cpu_all(&run.procs);
    begin = proc_now();

    load_open_subs();

    begin = proc_now() - begin;
    load_rest(50);
    cpu = proc_cpu_all(&run.procs) - cpu;

    print_start();
    printf(",\"wall_s\":%.6f,\"cpu_s\":%.6f,\"cpu_us_each\":%.3f",
           begin / 1e9, cpu / 1e9, cpu / 1e3 / conf.subs);
    print_end(1);

    return 1;
}


static uint64_t
wait_for_all_gone(const proc_set_t *old)
{
    uint64_t  cpu, last;

    /* what the old ones have used when last seen, before they exit */
    last = 0;

    while (run.ngone < conf.subs) {
        load_step(5);
        cpu = proc_cpu_all(old);
        last = cpu > last ? cpu : last;
    }

    return last;
}


static int
resume_counts(int *resumed, int *complete)
{
    int  i, recovered;

    recovered = *resumed = *complete = 0;

    for (i = 0; i < conf.subs; i++) {
        recovered += run.subs[i].recovered;
        *resumed += run.subs[i].resumed;
        *complete += (run.subs[i].next == run.sent);
    }

    return recovered;
}


static void
publish_missed(void)
{
    int  i;

    wire_close(&run.pub, 0);
    run.pub_open = 0;
    load_open_publisher();

    for (i = 0; i < conf.missed; i++) {
        run.sent_at[run.sent] = proc_now();
        run.lacks[run.sent] = conf.subs;
        load_publish(conf.channel, run.sent++, 1);
    }

    wire_flush(&run.pub);

    while (run.acked < run.sent) {
        load_step(1000);
    }
}


static int
mode_resume(void)
{
    int         recovered, resumed, complete;
    uint64_t    cpu, begin, drain, drain_time;
    proc_set_t  old, master;

    run.lacks = load_need(conf.missed, sizeof(uint32_t));
    run.sent_at = load_need(conf.missed, sizeof(uint64_t));

    load_open_subs();
    load_open_publisher();
    load_rest(conf.settle_ms);

    proc_family(conf.master, &old);
    master.n = 1;
    master.pid[0] = conf.master;
    proc_without(&old, &master);

    drain = proc_cpu_all(&old);
    drain_time = proc_now();
    kill(conf.master, SIGHUP);
    drain = wait_for_all_gone(&old) - drain;
    drain_time = proc_now() - drain_time;

    /* everything from here on is for the new workers */
    publish_missed();
    load_rest(conf.settle_ms);
    proc_family(conf.master, &run.procs);
    proc_without(&run.procs, &old);
    proc_without(&run.procs, &master);

    run.rejoining = 1;
    cpu = proc_cpu_all(&run.procs);
    begin = proc_now();
    load_open_subs();
    begin = proc_now() - begin;
    load_rest(50);
    cpu = proc_cpu_all(&run.procs) - cpu;

    recovered = resume_counts(&resumed, &complete);

    print_start();
    printf(",\"wall_s\":%.6f,\"cpu_s\":%.6f,\"cpu_us_each\":%.3f,"
           "\"recovered\":%d,\"resumed\":%d,\"complete\":%d,\"missed\":%d,"
           "\"replayed\":%llu,\"drain_cpu_us_each\":%.3f,"
           "\"drain_wall_s\":%.3f",
           begin / 1e9, cpu / 1e9, cpu / 1e3 / conf.subs, recovered,
           resumed, complete, conf.missed, (unsigned long long) run.replayed,
           drain / 1e3 / conf.subs, drain_time / 1e9);
    print_end(recovered == conf.subs && complete == conf.subs);

    return recovered == conf.subs && complete == conf.subs;
}


int
load_mode(void)
{
    size_t  i;

    static const struct {
        const char  *name;
        int        (*run)(void);
    } modes[] = {
        { "fan", mode_fan },
        { "lobby", mode_fan },
        { "idle", mode_idle },
        { "publish", mode_publish },
        { "storm", mode_storm },
        { "resume", mode_resume },
    };

    for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(conf.mode, modes[i].name) == 0) {
            return modes[i].run();
        }
    }

    return -1;
}
