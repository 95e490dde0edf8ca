
/*
 * The load generator of "make bench": one process, one epoll loop.
 * See usage() for what it does; it prints one line of JSON.
 */

#define _GNU_SOURCE

#include "fanload.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>


load_conf_t  conf = {
    .window = 1,
    .warm = 20,
    .size = 128,
    .subs = 1000,
    .messages = 200,
    .channels = 1,
    .connects = 256,
    .settle_ms = 300,
    .limit_s = 120,
    .batch_ms = 80,
    .mode = "fan",
    .channel = "bench",
    .sub_path = "/sub",
    .pub_path = "/pub",
    .label = "",
};


load_run_t  run;


/* The command line */

static void
usage(void)
{
    fputs(
"fanload --port=N --mode=MODE [options]\n"
"\n"
"  --mode=fan       publish to all subscribers, count each delivery\n"
"  --mode=lobby     one comes and goes, seen by the subscribers, all members\n"
"                   (native dialect; batch= of the channel is below --batch)\n"
"  --mode=idle      memory of the server per idle subscriber\n"
"  --mode=publish   publish without subscribers, each acknowledged\n"
"  --mode=storm     upgrades, no join\n"
"  --mode=resume    join, reload, resume all at once (native dialect)\n"
"\n"
"  --native         subscribers join by the native dialect, otherwise the\n"
"                   path alone subscribes\n"
"  --events         subscribers take server-sent events\n"
"  --sub-path=P     path of subscribers, %s is the channel\n"
"  --pub-path=P     path of the publisher, likewise\n"
"  --via=native|raw|http   how messages are published\n"
"  --channel=NAME   default bench; with --mode=publish a number follows\n"
"  --subs=N --messages=N --size=BYTES\n"
"  --window=N       messages in flight, 1\n"
"  --gap=US         pause after each\n"
"  --warm=N         messages before those that count\n"
"  --channels=N --spread   with --mode=publish\n"
"  --batch=MS       with --mode=lobby: pause before each change, 80\n"
"  --missed=N       with --mode=resume: published while all are away\n"
"  --connects=N     handshakes at a time\n"
"  --settle=MS      pause between phases\n"
"  --pids=A,B       processes of the server, or\n"
"  --master=PID     the master process and its children\n"
"  --spin           never sleeps: no send pays for waking the receiver\n"
"  --limit=S        gives up after that\n"
"  --text           payloads like JSON, instead of a letter repeated\n"
"  --deflate        subscribers and publisher agree on permessage-deflate\n"
"  --label=TEXT     comes back in the output\n", stderr);

    exit(2);
}


enum {
    O_PORT = 1, O_MODE, O_NATIVE, O_SUB, O_PUB, O_VIA, O_CHANNEL, O_SUBS,
    O_MESSAGES, O_SIZE, O_WINDOW, O_GAP, O_WARM, O_CHANNELS, O_SPREAD,
    O_MISSED, O_CONNECTS, O_SETTLE, O_PIDS, O_MASTER, O_LIMIT, O_LABEL, O_SPIN,
    O_EVENTS, O_DEFLATE, O_TEXT, O_BATCH
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
    { "events", 0, NULL, O_EVENTS },
    { "deflate", 0, NULL, O_DEFLATE },
    { "text", 0, NULL, O_TEXT },
    { "batch", 1, NULL, O_BATCH },
    { "help", 0, NULL, 0 },
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
    case O_BATCH:     return &conf.batch_ms;
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

    case O_EVENTS:
        conf.events = 1;
        return;

    case O_TEXT:
        conf.text = 1;
        return;

    case O_DEFLATE:
        wire_deflate();
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
        if (proc_list(optarg, &run.procs) == 0) {
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

    conf.lobby = (strcmp(conf.mode, "lobby") == 0);

    if ((conf.reload && (conf.master == 0 || !conf.native))
        || (conf.lobby && (!conf.native || conf.size > 200)))
    {
        usage();
    }
}


static void
check_files(void)
{
    struct rlimit  r;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0) {
        load_die("getrlimit: %s", strerror(errno));
    }

    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);

    if (r.rlim_cur < (rlim_t) conf.subs + 64) {
        load_die("%d subscribers, but only %llu open files allowed", conf.subs,
            (unsigned long long) r.rlim_cur);
    }
}


static void
close_all(void)
{
    int  i;

    for (i = 0; i < conf.subs; i++) {
        wire_close(&run.subs[i].wire, 1);
    }

    wire_close(&run.pub, 1);
}


int
main(int argc, char **argv)
{
    int  ok;

    read_options(argc, argv);
    check_files();
    wire_init(conf.port);

    run.subs = load_need(conf.subs, sizeof(sub_t));
    run.started = run.now = proc_now();

    ok = load_mode();

    if (ok < 0) {
        usage();
    }

    close_all();

    return ok ? 0 : 1;
}
