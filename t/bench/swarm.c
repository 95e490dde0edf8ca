
/*
 * The correctness client: many subscribers and publishers of the native
 * dialect, that reconnect and resume through whatever is done to the server
 * meanwhile, and compare notes at the end.  See usage().
 */

#define _GNU_SOURCE

#include "ledger.h"
#include "proc.h"
#include "swarm.h"
#include "wire.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>


#define MS       ((uint64_t) 1000000)
#define BUCKETS  512


swarm_conf_t  conf = {
    .subs = 100,
    .channels = 4,
    .per_sub = 1,
    .pubs = 2,
    .window = 8,
    .size = 128,
    .messages = 1000,
    .limit_s = 60,
    .settle_ms = 10000,
    .connect_ms = 5000,
    .retry_ms = 20,
    .seed = 1,
    .check_data = 1,
    .path = "/rt",
    .api = "/fanout",
    .prefix = "swarm",
};


swarm_counts_t                count;
uint64_t                      now;
char                          swarm_failure[64];


static uint64_t               began, ends;
static uint64_t               delays[BUCKETS];
static volatile sig_atomic_t  told_to_stop;


/* Eight buckets for each doubling. */

static int
bucket(uint64_t us)
{
    int  log;

    if (us < 8) {
        return us;
    }

    log = 63 - __builtin_clzll(us);

    return (log - 2) * 8 + ((us >> (log - 3)) & 7);
}


static uint64_t
bucket_us(int i)
{
    return i < 8 ? (uint64_t) i : (uint64_t) (8 + i % 8) << (i / 8 - 1);
}


void
swarm_delay(uint64_t ns)
{
    int  i;

    i = bucket(ns / 1000);
    delays[i < BUCKETS ? i : BUCKETS - 1]++;
}


static double
delay_ms(double p)
{
    int       i;
    uint64_t  seen, all;

    for (all = 0, i = 0; i < BUCKETS; i++) {
        all += delays[i];
    }

    for (seen = 0, i = 0; i < BUCKETS - 1; i++) {
        seen += delays[i];

        if (seen > all * p / 100) {
            break;
        }
    }

    return all ? bucket_us(i) / 1000.0 : 0;
}


size_t
swarm_data(char *buf, int p, int channel, uint32_t n)
{
    int       len;
    size_t    size;
    uint32_t  h;

    h = (p * 31u + channel) * 2654435761u ^ n * 40503u;
    size = conf.size;

    if (conf.size_to > conf.size) {
        size += (h >> 8) % (conf.size_to - conf.size + 1);
    }

    len = sprintf(buf, "{\"p\":%d,\"n\":%u,\"t\":[\"\\\"},{\",\"\xe2\x80\xa8\","
                       "{\"offset\":7,\"a\":[]}],\"x\":\"", p, n);

    if ((size_t) len + 2 < size) {
        memset(buf + len, 'a' + h % 26, size - len - 2);
        len = size - 2;
    }

    buf[len++] = '"';
    buf[len++] = '}';

    return len;
}


int
swarm_channel(const char *name)
{
    char    *end;
    long     n;
    size_t   len;

    len = strlen(conf.prefix);

    if (strncmp(name, conf.prefix, len) != 0) {
        return -1;
    }

    n = strtol(name + len, &end, 10);

    return *end || n < 0 || n >= conf.channels ? -1 : (int) n;
}


uint64_t
swarm_retry_at(void)
{
    return now + conf.retry_ms * MS
           + wire_random() % (conf.retry_ms * MS + 1);
}


static void
on_signal(int sig)
{
    (void) sig;

    told_to_stop = 1;
}


static int
out_of_time(void)
{
    return now - began > (uint64_t) conf.limit_s * 1000 * MS;
}


static void
progress(void)
{
    static uint64_t  next;

    if (conf.progress_ms == 0 || now < next) {
        return;
    }

    next = now + conf.progress_ms * MS;
    printf("{\"progress\":{\"sent\":%llu,\"acked\":%llu,\"delivered\":%llu,"
           "\"cuts\":%llu}}\n",
           (unsigned long long) count.sent, (unsigned long long) count.acked,
           (unsigned long long) count.delivered,
           (unsigned long long) count.cuts);
    fflush(stdout);
}


static void
turn(int act, long more)
{
    wire_poll(more ? 1 : 2);
    now = proc_now();

    pubs_turn(more);
    subs_turn(act);
    progress();
}


/* Acts due since the last turn, and one more to say that it has begun. */

static int
acts_due(uint64_t from)
{
    int              due;
    static uint64_t  done;

    due = (now - from) / MS * conf.churn / 1000 - done;
    done += due;

    return due + 1;
}


static long
messages_due(uint64_t from)
{
    long  due, rest;

    due = conf.rate ? (long) ((now - from) / 1000 * conf.rate / 1000000)
                      - (long) count.sent
                    : 1000;

    rest = conf.duration_ms ? due : conf.messages - (long) count.sent;

    due = due < rest ? due : rest;

    return due > 0 ? due : 0;
}


static int
published(uint64_t from)
{
    if (told_to_stop || out_of_time()) {
        return 1;
    }

    if (conf.duration_ms) {
        return now - from > conf.duration_ms * MS;
    }

    return (long) count.sent >= conf.messages;
}


static int
wait_until_ready(void)
{
    while (!subs_ready() || !pubs_ready()) {
        turn(0, 0);

        if (out_of_time() || told_to_stop) {
            violation("not all connected and joined at the start");
            return 0;
        }
    }

    printf("{\"ready\":true}\n");
    fflush(stdout);

    return 1;
}


static void
settle(void)
{
    uint64_t  until;

    until = now + conf.settle_ms * MS;

    while ((pubs_pending() || !subs_complete()) && now < until
           && !out_of_time())
    {
        turn(1, 0);
    }

    if (pubs_pending()) {
        violation("%ld messages were not answered", pubs_pending());
    }

    /* a moment for what must not come */
    until = now + 100 * MS;

    while (now < until) {
        turn(1, 0);
    }
}


static void
run(void)
{
    uint64_t  from;

    if (!wait_until_ready()) {
        return;
    }

    from = now;

    while (!published(from)) {
        turn(acts_due(from), messages_due(from));
    }

    ends = now;
    settle();
}


static void
print_failure(void)
{
    char  *p;

    for (p = swarm_failure; *p; p++) {
        if (*p < ' ' || *p == '"' || *p == '\\') {
            *p = '?';
        }
    }

    printf(",\"last_failure\":\"%s\"", swarm_failure);
}


static void
report(void)
{
    printf("{\"ok\":%s,\"violations\":%u,\"first\":",
           violations() ? "false" : "true", violations());
    violations_print();

#define SWARM_PRINT(name)                                                     \
    printf(",\"" #name "\":%llu", (unsigned long long) count.name);

    SWARM_COUNTS(SWARM_PRINT)

    printf(",\"subs\":%d,\"channels\":%d,\"epochs\":%d", conf.subs,
           conf.channels, ledger_books());
    print_failure();
    printf(",\"live_p50_ms\":%.3f,\"live_p99_ms\":%.3f,\"live_max_ms\":%.3f,"
           "\"replay_max_ms\":%.3f,\"rejoin_max_ms\":%.3f",
           delay_ms(50), delay_ms(99), count.live_max / 1e6,
           count.replay_max / 1e6, count.rejoin_max / 1e6);
    printf(",\"publish_s\":%.3f,\"elapsed_s\":%.3f}\n",
           ends ? (ends - began) / 1e9 : 0, (now - began) / 1e9);
    fflush(stdout);
}


static void
usage(void)
{
    fputs(
"swarm --port=N [options]\n"
"\n"
"Subscribes, publishes, survives, and checks that every subscriber saw, on\n"
"each channel, the same payload at the same offset, in order, without a gap\n"
"and without a duplicate, everything acknowledged included.  Prints\n"
"{\"ready\":true} when all have joined and publishing begins, and a report at\n"
"the end; exits 0, or 1 if anything was wrong.  SIGTERM ends the publishing.\n"
"\n"
"  --subs=N           subscribers, 100\n"
"  --channels=N       channels, 4, named PREFIX0 and so on\n"
"  --prefix=TEXT      swarm\n"
"  --per-sub=N        channels each subscriber joins, 1\n"
"  --pubs=N           publishers over WebSocket, 2\n"
"  --api-pubs=N       publishers by HTTP POST, 0\n"
"  --post-pubs=N      publishers by commands that are POSTed, 0\n"
"  --window=N         unanswered publishes of one over WebSocket, 8\n"
"  --rate=N           publishes a second of all together, 0: flat out\n"
"  --messages=N       publishes, 1000, or\n"
"  --duration=MS      publishes for that long\n"
"  --size=N           bytes of a payload, 128\n"
"  --size-to=N        payloads of different sizes up to that\n"
"  --churn=N          random acts a second: leave and join again, with and\n"
"                     without since, cut and resume\n"
"  --stalled=N        the first N subscribers stop reading\n"
"  --stall=MS         for that long, beginning with the publishing\n"
"  --path=/rt  --pub-path=/rt  --api=/fanout\n"
"  --limit=S          ends after that in any case, 60\n"
"  --settle=MS        patience at the end, 10000\n"
"  --connect=MS       patience with one attempt to connect, 5000\n"
"  --retry=MS         pause before the next one: up to twice that, 20\n"
"  --events           subscribers take server-sent events, and join by URL\n"
"  --polls            subscribers take long polls\n"
"  --obey-after       waits as long as \"closing\" says, in addition\n"
"  --progress=MS      prints {\"progress\":...} lines\n"
"  --seed=N           of what is random\n"
"  --drop-refused     does not repeat what zone_full refused\n"
"  --allow-gap --allow-unrecovered --allow-reset\n"
"                     these are counted only, otherwise they are violations\n"
"  --need-resumed     welcome must say resumed:true after a cut\n"
"  --no-data-check    data need not be the same bytes\n", stderr);

    exit(2);
}


#define INT(name, field)   { name, 'i', &conf.field }
#define FLAG(name, field)  { name, 'f', &conf.field }
#define TEXT(name, field)  { name, 's', &conf.field }


static const struct {
    const char  *name;
    char         kind;
    void        *to;
} table[] = {
    INT("port", port), INT("subs", subs), INT("channels", channels),
    INT("per-sub", per_sub), INT("pubs", pubs), INT("api-pubs", api_pubs),
    INT("post-pubs", post_pubs), INT("window", window), INT("rate", rate),
    INT("duration", duration_ms),
    INT("size", size), INT("size-to", size_to), INT("churn", churn),
    INT("stalled", stalled), INT("stall", stall_ms), INT("limit", limit_s),
    INT("settle", settle_ms), INT("connect", connect_ms),
    INT("retry", retry_ms), INT("progress", progress_ms),
    INT("seed", seed),
    FLAG("events", events), FLAG("polls", polls),
    FLAG("obey-after", obey_after),
    FLAG("drop-refused", drop_refused),
    FLAG("allow-gap", allow_gap), FLAG("allow-reset", allow_reset),
    FLAG("allow-unrecovered", allow_unrecovered),
    FLAG("need-resumed", need_resumed),
    TEXT("path", path), TEXT("pub-path", pub_path), TEXT("api", api),
    TEXT("prefix", prefix),
};


#define OPTIONS  (sizeof(table) / sizeof(table[0]))


static void
set_option(int i)
{
    if (table[i].kind == 'i') {
        *(int *) table[i].to = atoi(optarg);

    } else if (table[i].kind == 'f') {
        *(int *) table[i].to = 1;

    } else {
        *(const char **) table[i].to = optarg;
    }
}


static void
read_options(int argc, char **argv)
{
    int            c;
    size_t         i;
    struct option  list[OPTIONS + 4];

    memset(list, 0, sizeof(list));

    for (i = 0; i < OPTIONS; i++) {
        list[i].name = table[i].name;
        list[i].has_arg = (table[i].kind != 'f');
        list[i].val = i;
    }

    list[i].name = "messages";
    list[i].has_arg = 1;
    list[i].val = OPTIONS;
    list[i + 1].name = "no-data-check";
    list[i + 1].val = OPTIONS + 1;
    list[i + 2].name = "help";
    list[i + 2].val = '?';

    while ((c = getopt_long(argc, argv, "", list, NULL)) != -1) {
        if (c == '?') {
            usage();

        } else if (c == (int) OPTIONS) {
            conf.messages = atol(optarg);

        } else if (c == (int) OPTIONS + 1) {
            conf.check_data = 0;

        } else {
            set_option(c);
        }
    }
}


static void
check_options(void)
{
    struct rlimit  r;

    conf.events |= conf.polls;

    if (conf.pub_path == NULL) {
        conf.pub_path = conf.path;
    }

    if (conf.port <= 0 || conf.subs < 0 || conf.channels < 1
        || conf.per_sub < 1 || conf.per_sub > conf.channels
        || conf.window < 1 || conf.size > DATA_MAX - 256
        || conf.size_to > DATA_MAX - 256 || conf.limit_s < 1
        || strlen(conf.prefix) > 100)
    {
        usage();
    }

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);

    if ((rlim_t) conf.subs + conf.pubs + conf.api_pubs + conf.post_pubs + 32
        > r.rlim_cur)
    {
        fprintf(stderr, "swarm: only %llu open files are allowed\n",
                (unsigned long long) r.rlim_cur);
        exit(2);
    }
}


int
main(int argc, char **argv)
{
    read_options(argc, argv);
    check_options();

    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGPIPE, SIG_IGN);

    now = began = proc_now();

    wire_seed(conf.seed);
    wire_init(conf.port);
    ledger_init(conf.channels,
                conf.pubs + conf.api_pubs + conf.post_pubs);
    subs_init();
    pubs_init();

    run();

    subs_finish();
    ledger_check(count.refused == 0 || conf.window == 1);
    report();

    return violations() ? 1 : 0;
}
