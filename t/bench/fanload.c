
/*
 * The load generator of "make bench": one process, one epoll loop.
 * See usage() for what it does; it prints one line of JSON.
 */

#define _GNU_SOURCE

#include "json.h"
#include "proc.h"
#include "wire.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>


#define MARK       "\"b:"
#define MARK_LEN   3
#define SEQ_LEN    16


typedef struct {
    wire_t      wire;
    uint64_t    next;        /* sequence number expected */
    uint64_t    offset;      /* last one seen, for "since" */
    char        epoch[48];
    char        resume[72];
    unsigned    ready:1;     /* may count on being delivered to */
    unsigned    gone:1;      /* was closed by the server */
    unsigned    recovered:1;
    unsigned    resumed:1;
} sub_t;


typedef enum {
    VIA_NATIVE = 0,          /* publish commands over a WebSocket */
    VIA_RAW,                 /* bare frames over a WebSocket */
    VIA_HTTP                 /* POST */
} via_e;


typedef struct {
    int          port;
    int          native;
    int          reload;
    via_e        via;
    int          subs;
    int          window;
    int          warm;
    int          size;
    int          channels;
    int          spread;
    int          connects;       /* handshakes at a time */
    int          gap_us;
    int          settle_ms;
    int          missed;
    int          limit_s;
    int          spin;
    long         messages;
    pid_t        master;
    const char  *mode;
    const char  *channel;
    const char  *sub_path;
    const char  *pub_path;
    const char  *label;
} conf_t;


static conf_t  conf = {
    .window = 1,
    .warm = 20,
    .size = 128,
    .subs = 1000,
    .messages = 200,
    .channels = 1,
    .connects = 256,
    .settle_ms = 300,
    .limit_s = 120,
    .mode = "fan",
    .channel = "bench",
    .sub_path = "/sub",
    .pub_path = "/pub",
    .label = "",
};


static sub_t        *subs;
static wire_t        pub;
static int           pub_open;
static int           nready, nopening, ngone, opened;
static int           rejoining;          /* resume: second connections */
static uint64_t      now, started;
static uint64_t      sent, completed, acked;
static uint32_t     *lacks;              /* deliveries a message lacks */
static uint64_t     *sent_at;
static uint32_t     *delays, *lasts;     /* ns */
static size_t        ndelays, nlasts, max_delays;
static uint64_t      deliveries, wrong, replayed;
static int           counting;
static proc_set_t    procs;


static void
die(const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    fprintf(stderr, "fanload: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);

    exit(1);
}


static void *
need(size_t n, size_t size)
{
    void  *p;

    p = calloc(n ? n : 1, size);

    if (p == NULL) {
        die("no memory");
    }

    return p;
}


static uint32_t
clamp32(uint64_t ns)
{
    return ns > UINT32_MAX ? UINT32_MAX : ns;
}


/* Receiving */

static void
delivered(sub_t *s, uint64_t seq)
{
    if (seq != s->next || seq >= sent) {
        wrong++;
        return;
    }

    s->next++;
    deliveries++;

    if (counting && ndelays < max_delays) {
        delays[ndelays++] = clamp32(now - sent_at[seq]);
    }

    if (--lacks[seq] == 0) {
        completed++;

        if (counting) {
            lasts[nlasts++] = clamp32(now - sent_at[seq]);
        }
    }
}


static uint64_t
hex16(const char *p)
{
    int       i;
    uint64_t  n;

    for (n = 0, i = 0; i < SEQ_LEN; i++) {
        n = n << 4 | (p[i] <= '9' ? p[i] - '0' : p[i] - 'a' + 10);
    }

    return n;
}


/* Every payload starts with a mark that nothing else in a frame holds. */

static int
find_payloads(sub_t *s, char *data, size_t n)
{
    int    found;
    char  *p, *end;

    p = data;
    end = data + n;
    found = 0;

    while ((p = memmem(p, end - p, MARK, MARK_LEN)) != NULL
           && end - p >= MARK_LEN + SEQ_LEN)
    {
        delivered(s, hex16(p + MARK_LEN));
        p += conf.size;
        found++;

        if (p >= end) {
            break;
        }
    }

    return found;
}


static void
sub_is_ready(sub_t *s)
{
    if (!s->ready) {
        s->ready = 1;
        nready++;
        nopening--;
    }
}


static void
send_join(sub_t *s)
{
    int   n;
    char  text[512], since[160];

    since[0] = '\0';

    if (rejoining) {
        snprintf(since, sizeof(since),
                 ",\"since\":{\"epoch\":\"%s\",\"offset\":%llu}",
                 s->epoch, (unsigned long long) s->offset);
    }

    n = snprintf(text, sizeof(text),
                 "{\"id\":1,\"op\":\"join\",\"channel\":\"%s\"%s}",
                 conf.channel, since);

    wire_frame(&s->wire, WIRE_TEXT, text, n);
    wire_flush(&s->wire);
}


static void
welcomed(sub_t *s, json_t welcome)
{
    json_t  v;

    if (json_get(welcome, "resumed", &v)) {
        s->resumed = json_is(v, "true");
    }

    if (json_get(welcome, "resume", &v)) {
        json_text(v, s->resume, sizeof(s->resume));
    }

    if (strcmp(conf.mode, "storm") == 0) {
        sub_is_ready(s);
        return;
    }

    send_join(s);
}


static void
joined(sub_t *s, json_t ok)
{
    json_t  v;

    if (json_get(ok, "recovered", &v)) {
        s->recovered = json_is(v, "true");
    }

    if (json_get(ok, "offset", &v)) {
        s->offset = json_number(v);
    }

    if (json_get(ok, "epoch", &v)) {
        json_text(v, s->epoch, sizeof(s->epoch));
    }

    if (json_get(ok, "messages", &v)) {
        replayed += find_payloads(s, (char *) v.s, v.n);
    }

    sub_is_ready(s);
}


static void
sub_object(sub_t *s, json_t o)
{
    json_t  v;

    if (json_get(o, "welcome", &v)) {
        welcomed(s, v);

    } else if (json_get(o, "part", &v)) {
        replayed += find_payloads(s, (char *) v.s, v.n);

    } else if (json_get(o, "ok", &v)) {
        joined(s, v);

    } else if (json_get(o, "error", &v)) {
        die("the join was refused: %.*s", (int) o.n, o.s);

    } else {
        find_payloads(s, (char *) o.s, o.n);
    }
}


static void
sub_frame(wire_t *w, int op, char *data, size_t n)
{
    sub_t        *s;
    json_t        v, element;
    json_walk_t   walk;

    s = (sub_t *) w;
    now = proc_now();

    if (op == WIRE_CLOSE) {
        wire_frame(w, WIRE_CLOSE, data, n < 2 ? n : 2);
        wire_flush(w);
        return;
    }

    if (op > WIRE_BINARY) {
        return;
    }

    if (!conf.native || s->ready) {
        find_payloads(s, data, n);
        return;
    }

    v = json_slice(data, n);

    if (v.n == 0 || v.s[0] != '[') {
        sub_object(s, v);
        return;
    }

    json_walk(&walk, v);

    while (json_element(&walk, &element)) {
        sub_object(s, element);
    }
}


static void
sub_open(wire_t *w)
{
    if (!conf.native) {
        sub_is_ready((sub_t *) w);
    }
}


static void
sub_down(wire_t *w, const char *why)
{
    sub_t  *s;

    s = (sub_t *) w;

    if (!conf.reload || !s->ready || rejoining) {
        die("a subscriber was cut off: %s", why);
    }

    s->gone = 1;
    ngone++;
}


static const wire_calls_t  sub_calls = { sub_open, sub_frame, sub_down, NULL };


/* Publishing */

static void
pub_is_open(wire_t *w)
{
    (void) w;

    pub_open = 1;
}


static void
pub_frame(wire_t *w, int op, char *data, size_t n)
{
    char  *p, *end;

    (void) w;

    if (op != WIRE_TEXT || conf.via != VIA_NATIVE) {
        return;
    }

    if (memmem(data, n, "\"error\":", 8)) {
        die("a publish was refused: %.*s", (int) n, data);
    }

    end = data + n;

    for (p = data; (p = memmem(p, end - p, "\"ok\":", 5)) != NULL; p += 5) {
        acked++;
    }
}


static void
pub_down(wire_t *w, const char *why)
{
    (void) w;

    if (!conf.reload) {
        die("the publisher was cut off: %s", why);
    }

    pub_open = 0;
}


static void
pub_response(wire_t *w, int status, char *body, size_t n)
{
    (void) w;

    if (status < 200 || status > 299) {
        die("a publish was answered %d: %.*s", status, (int) n, body);
    }

    acked++;
}


static const wire_calls_t  pub_calls = {
    pub_is_open, pub_frame, pub_down, pub_response
};


static size_t
make_payload(char *buf, uint64_t seq)
{
    snprintf(buf, conf.size, MARK "%016llx:", (unsigned long long) seq);
    memset(buf + MARK_LEN + SEQ_LEN + 1, 'x',
           conf.size - MARK_LEN - SEQ_LEN - 2);
    buf[conf.size - 1] = '"';

    return conf.size;
}


/* %s of a path becomes the channel. */

static void
fill_path(char *to, size_t size, const char *path, const char *channel)
{
    const char  *at;

    at = strstr(path, "%s");

    if (at == NULL) {
        snprintf(to, size, "%s", path);
        return;
    }

    snprintf(to, size, "%.*s%s%s", (int) (at - path), path, channel, at + 2);
}


static void
publish(const char *channel, uint64_t seq, int with_id)
{
    int          n;
    size_t       len;
    char         path[256];
    static char  data[65536], text[66000];

    len = make_payload(data, seq);

    switch (conf.via) {

    case VIA_RAW:
        wire_frame(&pub, WIRE_TEXT, data, len);
        return;

    case VIA_NATIVE:
        n = with_id ? snprintf(text, sizeof(text), "{\"id\":%llu,",
                               (unsigned long long) seq)
                    : snprintf(text, sizeof(text), "{");
        n += snprintf(text + n, sizeof(text) - n,
                      "\"op\":\"publish\",\"channel\":\"%s\",\"data\":%.*s}",
                      channel, (int) len, data);
        wire_frame(&pub, WIRE_TEXT, text, n);
        return;

    case VIA_HTTP:
        fill_path(path, sizeof(path), conf.pub_path, channel);
        n = snprintf(text, sizeof(text),
                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "Content-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%.*s",
                     path, len, (int) len, data);
        wire_bytes(&pub, text, n);
        return;
    }
}


/* Phases */

static void
step(int ms)
{
    wire_poll(conf.spin ? 0 : ms);
    now = proc_now();

    if (now - started > (uint64_t) conf.limit_s * 1000000000) {
        die("not done after %d s: %d of %d ready, %d gone, %llu sent,"
            " %llu complete, %llu acked, %llu deliveries",
            conf.limit_s, nready, conf.subs, ngone,
            (unsigned long long) sent, (unsigned long long) completed,
            (unsigned long long) acked, (unsigned long long) deliveries);
    }
}


static void
rest_ms(int ms)
{
    uint64_t  until;

    now = proc_now();
    until = now + (uint64_t) ms * 1000000;

    while (now < until) {
        step((until - now) / 1000000 + 1);
    }
}


static void
open_publisher(void)
{
    int   rc;
    char  path[256];

    fill_path(path, sizeof(path), conf.pub_path, conf.channel);

    rc = conf.via == VIA_HTTP ? wire_open_http(&pub, &pub_calls)
                              : wire_open(&pub, &pub_calls, path, NULL);

    if (rc < 0) {
        die("connect: %s", strerror(errno));
    }

    while (!pub_open) {
        step(100);
    }
}


static void
open_sub(sub_t *s)
{
    char  path[256], protocols[160];

    fill_path(path, sizeof(path), conf.sub_path, conf.channel);
    snprintf(protocols, sizeof(protocols), "fanout.v1, fanout.resume.%s",
             s->resume);

    s->ready = 0;
    nopening++;

    if (wire_open(&s->wire, &sub_calls, path, rejoining ? protocols : NULL)
        < 0)
    {
        die("connect: %s", strerror(errno));
    }
}


static void
open_subs(void)
{
    opened = 0;
    nready = 0;

    while (nready < conf.subs) {
        while (opened < conf.subs && nopening < conf.connects) {
            open_sub(&subs[opened++]);
        }

        step(100);
    }
}


static void
publish_next(uint64_t end)
{
    while (sent < end && sent - completed < (uint64_t) conf.window) {
        sent_at[sent] = proc_now();
        lacks[sent] = conf.subs;
        publish(conf.channel, sent++, 0);
    }

    wire_flush(&pub);
}


/* To all subscribers: until each has received all. */

static void
fan(uint64_t count)
{
    uint64_t  end, before;

    end = sent + count;

    while (completed < end) {
        publish_next(end);
        before = completed;

        while (completed == before) {
            step(1000);
        }

        if (conf.gap_us) {
            rest_ms(conf.gap_us / 1000);
        }
    }
}


/* To nobody: until each was acknowledged. */

static void
publish_acked(uint64_t count, int spread)
{
    char      name[64];
    uint64_t  end, at;

    end = sent + count;

    while (acked < end) {
        while (sent < end && sent - acked < (uint64_t) conf.window) {
            /* a large prime: neighbours are not neighbours in memory */
            at = spread ? sent * 2654435761 % conf.channels : 0;
            snprintf(name, sizeof(name), "%s%llu", conf.channel,
                     (unsigned long long) at);
            publish(name, sent++, 1);
        }

        wire_flush(&pub);
        step(1000);
    }
}


static void
create_channels(void)
{
    int       window;
    char      name[64];
    uint64_t  i;

    window = conf.window;
    conf.window = 64;

    for (i = 0; i < (uint64_t) conf.channels; i++) {
        snprintf(name, sizeof(name), "%s%llu", conf.channel,
                 (unsigned long long) i);
        publish(name, sent++, 1);
        wire_flush(&pub);

        while (sent - acked >= (uint64_t) conf.window) {
            step(1000);
        }
    }

    while (acked < sent) {
        step(1000);
    }

    conf.window = window;
}


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
           "\"pss_before\":%lld,\"pss_after\":%lld",
           (b->pss - a->pss) / per, (b->shmem - a->shmem) / per,
           (b->rss - a->rss) / per, (b->slab - a->slab) / per,
           (b->sockmem - a->sockmem) / per,
           (long long) a->pss, (long long) b->pss);
}


static void
look_at_procs(void)
{
    if (conf.master) {
        proc_family(conf.master, &procs);
    }
}


/* Modes */

static int
mode_fan(void)
{
    int       ok;
    size_t    total;
    uint64_t  cpu, begin, counted;

    total = conf.warm + conf.messages;
    max_delays = conf.messages * conf.subs;
    lacks = need(total, sizeof(uint32_t));
    sent_at = need(total, sizeof(uint64_t));
    delays = need(max_delays, sizeof(uint32_t));
    lasts = need(conf.messages, sizeof(uint32_t));

    open_subs();
    open_publisher();
    rest_ms(conf.settle_ms);

    fan(conf.warm);
    look_at_procs();

    counting = 1;
    counted = deliveries;
    cpu = proc_cpu_all(&procs);
    begin = proc_now();

    fan(conf.messages);

    begin = proc_now() - begin;
    cpu = proc_cpu_all(&procs) - cpu;
    counting = 0;

    /* whatever comes now is too much */
    rest_ms(50);

    counted = deliveries - counted;
    ok = (wrong == 0 && counted == (uint64_t) conf.messages * conf.subs);

    print_start();
    printf(",\"deliveries\":%llu,\"wrong\":%llu,\"wall_s\":%.6f,"
           "\"cpu_s\":%.6f,\"cpu_us_per_delivery\":%.4f,"
           "\"deliveries_per_s\":%.0f",
           (unsigned long long) counted, (unsigned long long) wrong,
           begin / 1e9, cpu / 1e9, cpu / 1e3 / counted,
           counted / (begin / 1e9));
    print_delays("delivery", delays, ndelays);
    print_delays("last", lasts, nlasts);
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
    open_subs();
    rest_ms(conf.settle_ms);
    wire_close(&subs[0].wire, 1);
    rest_ms(conf.settle_ms);
    conf.subs = all;

    look_at_procs();
    proc_mem(&procs, &before);
    open_subs();
    rest_ms(conf.settle_ms);
    proc_mem(&procs, &after);

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

    open_publisher();
    create_channels();
    publish_acked(conf.warm, conf.spread);
    look_at_procs();

    proc_mem(&procs, &before);
    cpu = proc_cpu_all(&procs);
    begin = proc_now();

    publish_acked(conf.messages, conf.spread);

    begin = proc_now() - begin;
    cpu = proc_cpu_all(&procs) - cpu;
    proc_mem(&procs, &after);

    ok = (acked == sent);

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

    cpu = proc_cpu_all(&procs);
    begin = proc_now();

    open_subs();

    begin = proc_now() - begin;
    rest_ms(50);
    cpu = proc_cpu_all(&procs) - cpu;

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

    while (ngone < conf.subs) {
        step(5);
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
        recovered += subs[i].recovered;
        *resumed += subs[i].resumed;
        *complete += (subs[i].next == sent);
    }

    return recovered;
}


static void
publish_missed(void)
{
    int  i;

    wire_close(&pub, 0);
    pub_open = 0;
    open_publisher();

    for (i = 0; i < conf.missed; i++) {
        sent_at[sent] = proc_now();
        lacks[sent] = conf.subs;
        publish(conf.channel, sent++, 1);
    }

    wire_flush(&pub);

    while (acked < sent) {
        step(1000);
    }
}


static int
mode_resume(void)
{
    int         recovered, resumed, complete;
    uint64_t    cpu, begin, drain, drain_time;
    proc_set_t  old, master;

    lacks = need(conf.missed, sizeof(uint32_t));
    sent_at = need(conf.missed, sizeof(uint64_t));

    open_subs();
    open_publisher();
    rest_ms(conf.settle_ms);

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
    rest_ms(conf.settle_ms);
    proc_family(conf.master, &procs);
    proc_without(&procs, &old);
    proc_without(&procs, &master);

    rejoining = 1;
    cpu = proc_cpu_all(&procs);
    begin = proc_now();
    open_subs();
    begin = proc_now() - begin;
    rest_ms(50);
    cpu = proc_cpu_all(&procs) - cpu;

    recovered = resume_counts(&resumed, &complete);

    print_start();
    printf(",\"wall_s\":%.6f,\"cpu_s\":%.6f,\"cpu_us_each\":%.3f,"
           "\"recovered\":%d,\"resumed\":%d,\"complete\":%d,\"missed\":%d,"
           "\"replayed\":%llu,\"drain_cpu_us_each\":%.3f,"
           "\"drain_wall_s\":%.3f",
           begin / 1e9, cpu / 1e9, cpu / 1e3 / conf.subs, recovered,
           resumed, complete, conf.missed, (unsigned long long) replayed,
           drain / 1e3 / conf.subs, drain_time / 1e9);
    print_end(recovered == conf.subs && complete == conf.subs);

    return recovered == conf.subs && complete == conf.subs;
}


/* The command line */

static void
usage(void)
{
    fputs(
"fanload --port=N --mode=MODE [options]\n"
"\n"
"  --mode=fan       publish to all subscribers, count each delivery\n"
"  --mode=idle      memory of the server per idle subscriber\n"
"  --mode=publish   publish without subscribers, each acknowledged\n"
"  --mode=storm     upgrades, no join\n"
"  --mode=resume    join, reload, resume all at once (native dialect)\n"
"\n"
"  --native         subscribers join by the native dialect, otherwise the\n"
"                   path alone subscribes\n"
"  --sub-path=P     path of subscribers, %s is the channel\n"
"  --pub-path=P     path of the publisher, likewise\n"
"  --via=native|raw|http   how messages are published\n"
"  --channel=NAME   default bench; with --mode=publish a number follows\n"
"  --subs=N --messages=N --size=BYTES\n"
"  --window=N       messages in flight, 1\n"
"  --gap=US         pause after each\n"
"  --warm=N         messages before those that count\n"
"  --channels=N --spread   with --mode=publish\n"
"  --missed=N       with --mode=resume: published while all are away\n"
"  --connects=N     handshakes at a time\n"
"  --settle=MS      pause between phases\n"
"  --pids=A,B       processes of the server, or\n"
"  --master=PID     the master process and its children\n"
"  --spin           never sleeps: no send pays for waking the receiver\n"
"  --limit=S        gives up after that\n"
"  --label=TEXT     comes back in the output\n", stderr);

    exit(2);
}


enum {
    O_PORT = 1, O_MODE, O_NATIVE, O_SUB, O_PUB, O_VIA, O_CHANNEL, O_SUBS,
    O_MESSAGES, O_SIZE, O_WINDOW, O_GAP, O_WARM, O_CHANNELS, O_SPREAD,
    O_MISSED, O_CONNECTS, O_SETTLE, O_PIDS, O_MASTER, O_LIMIT, O_LABEL, O_SPIN
};


static const struct option  options[] = {
    { "port", 1, NULL, O_PORT },
    { "mode", 1, NULL, O_MODE },
    { "native", 0, NULL, O_NATIVE },
    { "sub-path", 1, NULL, O_SUB },
    { "pub-path", 1, NULL, O_PUB },
    { "via", 1, NULL, O_VIA },
    { "channel", 1, NULL, O_CHANNEL },
    { "subs", 1, NULL, O_SUBS },
    { "messages", 1, NULL, O_MESSAGES },
    { "size", 1, NULL, O_SIZE },
    { "window", 1, NULL, O_WINDOW },
    { "gap", 1, NULL, O_GAP },
    { "warm", 1, NULL, O_WARM },
    { "channels", 1, NULL, O_CHANNELS },
    { "spread", 0, NULL, O_SPREAD },
    { "missed", 1, NULL, O_MISSED },
    { "connects", 1, NULL, O_CONNECTS },
    { "settle", 1, NULL, O_SETTLE },
    { "pids", 1, NULL, O_PIDS },
    { "master", 1, NULL, O_MASTER },
    { "limit", 1, NULL, O_LIMIT },
    { "label", 1, NULL, O_LABEL },
    { "spin", 0, NULL, O_SPIN },
    { NULL, 0, NULL, 0 }
};


static void
set_via(const char *name)
{
    static const char *const  names[] = { "native", "raw", "http" };

    for (conf.via = VIA_NATIVE; strcmp(name, names[conf.via]) != 0; ) {
        if (++conf.via > VIA_HTTP) {
            usage();
        }
    }
}


static int *
number_option(int option)
{
    switch (option) {
    case O_PORT:      return &conf.port;
    case O_SUBS:      return &conf.subs;
    case O_SIZE:      return &conf.size;
    case O_WINDOW:    return &conf.window;
    case O_GAP:       return &conf.gap_us;
    case O_WARM:      return &conf.warm;
    case O_CHANNELS:  return &conf.channels;
    case O_MISSED:    return &conf.missed;
    case O_CONNECTS:  return &conf.connects;
    case O_SETTLE:    return &conf.settle_ms;
    case O_LIMIT:     return &conf.limit_s;
    case O_MASTER:    return &conf.master;
    default:          return NULL;
    }
}


static const char **
text_option(int option)
{
    switch (option) {
    case O_MODE:     return &conf.mode;
    case O_SUB:      return &conf.sub_path;
    case O_PUB:      return &conf.pub_path;
    case O_CHANNEL:  return &conf.channel;
    case O_LABEL:    return &conf.label;
    default:         return NULL;
    }
}


static void
set_option(int option)
{
    if (number_option(option)) {
        *number_option(option) = atoi(optarg);
        return;
    }

    if (text_option(option)) {
        *text_option(option) = optarg;
        return;
    }

    switch (option) {

    case O_NATIVE:
        conf.native = 1;
        return;

    case O_SPIN:
        conf.spin = 1;
        return;

    case O_SPREAD:
        conf.spread = 1;
        return;

    case O_MESSAGES:
        conf.messages = atol(optarg);
        return;

    case O_VIA:
        set_via(optarg);
        return;

    case O_PIDS:
        if (proc_list(optarg, &procs) == 0) {
            return;
        }

        /* fall through */

    default:
        usage();
    }
}


static void
read_options(int argc, char **argv)
{
    int  option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        set_option(option);
    }

    if (conf.port <= 0 || conf.subs < 0 || conf.size < 24
        || conf.size > 65000 || conf.window < 1 || conf.channels < 1
        || conf.messages < 1)
    {
        usage();
    }

    conf.reload = (strcmp(conf.mode, "resume") == 0);

    if (conf.reload && (conf.master == 0 || !conf.native)) {
        usage();
    }
}


static void
check_files(void)
{
    struct rlimit  r;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0) {
        die("getrlimit: %s", strerror(errno));
    }

    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);

    if (r.rlim_cur < (rlim_t) conf.subs + 64) {
        die("%d subscribers, but only %llu open files allowed", conf.subs,
            (unsigned long long) r.rlim_cur);
    }
}


static int
run_mode(void)
{
    size_t  i;

    static const struct {
        const char  *name;
        int        (*run)(void);
    } modes[] = {
        { "fan", mode_fan },
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

    usage();

    return 0;
}


static void
close_all(void)
{
    int  i;

    for (i = 0; i < conf.subs; i++) {
        wire_close(&subs[i].wire, 1);
    }

    wire_close(&pub, 1);
}


int
main(int argc, char **argv)
{
    int  ok;

    read_options(argc, argv);
    check_files();
    wire_init(conf.port);

    subs = need(conf.subs, sizeof(sub_t));
    started = now = proc_now();

    ok = run_mode();
    close_all();

    return ok ? 0 : 1;
}
