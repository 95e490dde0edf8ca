
/*
 * A crowd of members for the tests of presence: thousands of clients of the
 * native dialect in one process, told by lines on its input what to do.  Some
 * of them see: those keep the list of who is there, check each change against
 * it, and count what it cost them.  See usage().
 */

#define _GNU_SOURCE

#include "json.h"
#include "proc.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>


#define OPENING  256                /* handshakes at a time */
#define MS       ((uint64_t) 1000000)


typedef enum {
    REASON_INTENTIONAL = 0,
    REASON_NETWORK,
    REASON_TIMEOUT,
    REASON_KICKED,
    REASON_EXPIRED,
    REASONS
} reason_e;


/* what one that sees has seen since "zero" */

typedef struct {
    uint64_t    frames;
    uint64_t    bytes;
    uint64_t    changes;        /* messages about presence */
    uint64_t    joined;
    uint64_t    updated;
    uint64_t    left[REASONS];
    uint64_t    gaps;
    uint64_t    parts;          /* of the last list */
    uint64_t    largest;        /* frame */
    uint64_t    wrong;
} seen_t;


typedef struct {
    wire_t      wire;
    int         n;
    uint64_t    id;             /* the number in its name */
    char        name[40];
    char        resume[72];
    char        epoch[48];
    uint64_t    offset;
    uint64_t    messages;
    unsigned    member:1;
    unsigned    sees:1;
    unsigned    narrow:1;
    unsigned    lost:1;         /* has to read who is there again */
    unsigned    slow:1;         /* does not read until it is woken */
    unsigned    up:1;           /* welcomed */
    unsigned    in:1;           /* its join was answered */
    unsigned    busy:1;         /* counted in waiting */
    unsigned    bye:1;          /* it is to be closed */
    unsigned    resumed:1;
    unsigned    recovered:1;
    uint8_t    *list;           /* by number of client: is there */
    uint32_t    listed;
    seen_t      seen;
} client_t;


static struct {
    int          port;
    int          clients;
    int          limit_s;
    const char  *path;
    const char  *channel;
} conf = {
    .clients = 1000,
    .limit_s = 120,
    .path = "/rt",
    .channel = "crowd",
};


static client_t   *clients;
static client_t  **by_id;       /* a hash, open */
static size_t      id_mask;
static int         waiting;
static uint64_t    oks, errors, limited, downs;
static char        why[256];    /* the first fault */


static const char *const  reasons[] = {
    "intentional", "network", "timeout", "kicked", "expired"
};


static void
fault(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static void
fault(const char *fmt, ...)
{
    char     *p;
    va_list   ap;

    if (why[0]) {
        return;
    }

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);

    for (p = why; *p; p++) {
        if (*p < ' ' || *p == '"' || *p == '\\') {
            *p = '\'';
        }
    }
}


/* who is who */

static uint64_t
id_of(const char *s, size_t n)
{
    size_t    i;
    uint64_t  h;

    for (h = 14695981039346656037UL, i = 0; i < n; i++) {
        h = (h ^ (uint8_t) s[i]) * 1099511628211UL;
    }

    return h ? h : 1;
}


static client_t *
known(json_t text)
{
    size_t    i;
    uint64_t  id;

    if (text.n < 2) {
        return NULL;
    }

    id = id_of(text.s + 1, text.n - 2);

    for (i = id & id_mask; by_id[i]; i = (i + 1) & id_mask) {
        if (by_id[i]->id == id) {
            return by_id[i];
        }
    }

    return NULL;
}


static void
know(client_t *c, json_t text)
{
    size_t    i;
    client_t *is;

    is = known(text);

    if (is) {
        if (is != c) {
            fault("client %d is called as %d", c->n, is->n);
        }

        return;
    }

    if (c->id && c->resume[0]) {
        fault("client %d has another name", c->n);
        return;
    }

    c->id = id_of(text.s + 1, text.n - 2);
    json_text(text, c->name, sizeof(c->name));

    for (i = c->id & id_mask; by_id[i]; i = (i + 1) & id_mask) { /* void */ }

    by_id[i] = c;
}


/* what is seen */

static void
wrong(client_t *c, const char *what, json_t v)
{
    c->seen.wrong++;
    fault("client %d: %s: %.*s", c->n, what, v.n > 120 ? 120 : (int) v.n, v.s);
}


/* The member, whose data has to be that client's number. */

static client_t *
member_of(client_t *c, json_t member)
{
    json_t     v, data;
    client_t  *m;

    m = json_get(member, "client", &v) ? known(v) : NULL;

    if (m == NULL) {
        wrong(c, "nobody knows", member);
        return NULL;
    }

    if (!json_get(member, "data", &data) || !json_get(data, "n", &v)
        || json_number(v) != (uint64_t) m->n)
    {
        wrong(c, "the data of another", member);
    }

    return m;
}


static void
enters(client_t *c, json_t member, int again)
{
    client_t  *m;

    m = member_of(c, member);

    if (m == NULL) {
        return;
    }

    if (c->list[m->n] != again) {
        wrong(c, again ? "updated, but was not there" : "there twice", member);
        return;
    }

    c->list[m->n] = 1;
    c->listed += !again;
}


static void
leaves(client_t *c, json_t member)
{
    int        i;
    json_t     v;
    client_t  *m;

    m = member_of(c, member);

    if (m == NULL) {
        return;
    }

    if (!c->list[m->n]) {
        wrong(c, "left, but was not there", member);
        return;
    }

    c->list[m->n] = 0;
    c->listed--;

    if (json_get(member, "reason", &v)) {
        for (i = 0; i < REASONS; i++) {
            if (v.n == strlen(reasons[i]) + 2
                && memcmp(v.s + 1, reasons[i], v.n - 2) == 0)
            {
                c->seen.left[i]++;
                return;
            }
        }
    }

    wrong(c, "no such reason", member);
}


static void
changes(client_t *c, json_t p)
{
    json_t       v, list;
    json_walk_t  walk;

    c->seen.changes++;

    if (c->lost) {
        return;
    }

    if (json_get(p, "left", &list)) {
        json_walk(&walk, list);

        while (json_element(&walk, &v)) {
            leaves(c, v);
        }
    }

    if (json_get(p, "joined", &list)) {
        json_walk(&walk, list);

        while (json_element(&walk, &v)) {
            c->seen.joined++;
            enters(c, v, 0);
        }
    }

    if (json_get(p, "updated", &list)) {
        json_walk(&walk, list);

        while (json_element(&walk, &v)) {
            c->seen.updated++;
            enters(c, v, 1);
        }
    }
}


static void
lists(client_t *c, json_t o)
{
    json_t       list, v;
    json_walk_t  walk;

    if (!json_get(o, "members", &list)) {
        return;
    }

    if (!c->sees) {
        wrong(c, "a list it did not want", o);
        return;
    }

    if (c->lost) {
        c->lost = 0;
        c->listed = 0;
        memset(c->list, 0, conf.clients);
    }

    json_walk(&walk, list);

    while (json_element(&walk, &v)) {
        enters(c, v, 0);
    }
}


/* commands */

static void
answered(client_t *c)
{
    if (c->busy) {
        c->busy = 0;
        waiting--;
    }
}


static void
expect(client_t *c)
{
    if (!c->busy) {
        c->busy = 1;
        waiting++;
    }
}


static void
command(client_t *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
command(client_t *c, const char *fmt, ...)
{
    int          n;
    va_list      ap;
    static char  text[4096];

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    wire_frame(&c->wire, WIRE_TEXT, text, n);
}


static void
join(client_t *c)
{
    char  since[128], member[64];

    since[0] = '\0';
    member[0] = '\0';

    if (c->epoch[0]) {
        snprintf(since, sizeof(since),
                 ",\"since\":{\"epoch\":\"%s\",\"offset\":%llu}", c->epoch,
                 (unsigned long long) c->offset);
    }

    if (c->member) {
        snprintf(member, sizeof(member), ",\"presence\":{\"n\":%d}", c->n);
    }

    if (c->sees) {
        c->lost = 1;
        c->seen.parts = 0;
    }

    command(c, "{\"id\":1,\"op\":\"join\",\"channel\":\"%s\"%s%s%s}",
            conf.channel, c->sees ? "" : ",\"want\":[\"messages\"]", since,
            member);
    wire_flush(&c->wire);

    if (c->slow) {
        wire_pause(&c->wire, 1);
        answered(c);
    }
}


/* what comes */

static void
welcomed(client_t *c, json_t welcome)
{
    json_t  v;

    if (json_get(welcome, "client", &v)) {
        know(c, v);
    }

    c->resumed = json_get(welcome, "resumed", &v) && json_is(v, "true");

    if (json_get(welcome, "resume", &v)) {
        json_text(v, c->resume, sizeof(c->resume));
    }

    c->up = 1;
    join(c);
}


static void
replied(client_t *c, json_t id, json_t ok)
{
    json_t  v;

    oks++;

    if (!json_is(id, "1")) {
        if (json_is(id, "2")) {
            c->in = 0;
        }

        if (json_is(id, "5")) {
            lists(c, ok);

        } else if (!json_is(id, "4")) {
            answered(c);
        }

        return;
    }

    lists(c, ok);
    c->in = 1;
    c->recovered = json_get(ok, "recovered", &v) && json_is(v, "true");

    if (json_get(ok, "offset", &v)) {
        c->offset = json_number(v);
    }

    if (json_get(ok, "epoch", &v)) {
        json_text(v, c->epoch, sizeof(c->epoch));
    }

    answered(c);
}


static void
refused(client_t *c, json_t id, json_t error)
{
    json_t  v;

    errors++;

    if (json_get(error, "code", &v) && v.n == 14
        && memcmp(v.s, "\"rate_limited\"", 14) == 0)
    {
        limited++;

    } else {
        fault("client %d: %.*s", c->n, (int) error.n, error.s);
    }

    if (!json_is(id, "4")) {
        answered(c);
    }
}


static void
pushed(client_t *c, json_t o)
{
    json_t  v;

    if (json_get(o, "offset", &v)) {
        if (json_number(v) <= c->offset) {
            wrong(c, "out of order", o);
        }

        c->offset = json_number(v);
    }

    if (json_get(o, "presence", &v)) {
        if (c->sees) {
            changes(c, v);

        } else {
            wrong(c, "a change it did not want", o);
        }

    } else if (json_get(o, "gap", &v)) {
        c->seen.gaps++;

        if (c->sees) {
            c->lost = 1;
            command(c, "{\"id\":5,\"op\":\"members\",\"channel\":\"%s\"}",
                    conf.channel);
            wire_flush(&c->wire);
        }

    } else if (json_get(o, "data", &v)) {
        c->messages++;

    } else {
        wrong(c, "unexpected", o);
    }
}


static void
object(client_t *c, json_t o)
{
    json_t  v, id;

    if (json_get(o, "id", &id)) {
        if (json_get(o, "ok", &v)) {
            replied(c, id, v);

        } else if (json_get(o, "part", &v)) {
            c->seen.parts++;
            lists(c, v);

        } else if (json_get(o, "error", &v)) {
            refused(c, id, v);
        }

        return;
    }

    if (json_get(o, "welcome", &v)) {
        welcomed(c, v);

    } else {
        pushed(c, o);
    }
}


static void
on_frame(wire_t *w, int op, char *data, size_t n)
{
    json_t        v, element;
    client_t     *c;
    json_walk_t   walk;

    c = (client_t *) w;

    if (op == WIRE_CLOSE && !c->bye) {
        wire_frame(w, WIRE_CLOSE, data, n < 2 ? n : 2);
        wire_flush(w);
    }

    if (op != WIRE_TEXT) {
        return;
    }

    c->seen.frames++;
    c->seen.bytes += n;
    c->seen.largest = n > c->seen.largest ? n : c->seen.largest;

    v = json_slice(data, n);

    if (v.n == 0 || v.s[0] != '[') {
        object(c, v);
        return;
    }

    json_walk(&walk, v);

    while (json_element(&walk, &element)) {
        object(c, element);
    }
}


static void
on_open(wire_t *w)
{
    (void) w;
}


static void
on_down(wire_t *w, const char *reason)
{
    client_t  *c;

    c = (client_t *) w;

    if (c->busy && !c->bye) {
        fault("client %d was cut off: %s", c->n, reason);
    }

    answered(c);
    c->up = c->in = c->bye = 0;
    downs++;
}


static const wire_calls_t  calls = {
    on_open, on_frame, on_down, NULL, NULL
};


/* acts */

static int
out_of_time(uint64_t from)
{
    return proc_now() - from > (uint64_t) conf.limit_s * 1000 * MS;
}


static int
settle(uint64_t from, int most)
{
    while (waiting > most) {
        wire_poll(100);

        if (out_of_time(from)) {
            fault("%d wait in vain", waiting);
            return 0;
        }
    }

    return 1;
}


static void
open_one(client_t *c, int resume)
{
    char  path[256], protocols[160];

    snprintf(path, sizeof(path), "%s%s?user=u%d", conf.path,
             c->narrow ? "/narrow" : "", c->n);
    snprintf(protocols, sizeof(protocols), "fanout.v1, fanout.resume.%s",
             c->resume);

    wire_close(&c->wire, 1);
    c->up = c->in = 0;
    expect(c);

    if (wire_open(&c->wire, &calls, path, resume ? protocols : NULL) < 0) {
        fault("client %d: connect: %s", c->n, strerror(errno));
        answered(c);
    }
}


static void
act_open(int from, int to, const char *how)
{
    int        i, resume;
    uint64_t   start;
    client_t  *c;

    resume = (strcmp(how, "resume") == 0);
    start = proc_now();

    for (i = from; i < to; i++) {
        c = &clients[i];

        if (resume && c->in) {
            continue;
        }

        if (!resume) {
            c->member = (strstr(how, "member") != NULL);
            c->sees = (strstr(how, "sees") != NULL);
            c->narrow = (strstr(how, "narrow") != NULL);
            c->slow = (strstr(how, "slow") != NULL);
            c->resume[0] = c->epoch[0] = '\0';
        }

        if (c->sees && c->list == NULL) {
            c->list = calloc(conf.clients, 1);
        }

        open_one(c, resume);

        if (!settle(start, OPENING - 1)) {
            return;
        }

        wire_poll(0);
    }

    settle(start, 0);
}


static void
act_ask(int from, int to, const char *what)
{
    int        i;
    uint64_t   start;
    client_t  *c;

    start = proc_now();

    for (i = from; i < to; i++) {
        c = &clients[i];
        expect(c);

        if (strcmp(what, "enter") == 0) {
            c->member = 1;
            command(c, "{\"id\":3,\"op\":\"presence\",\"channel\":\"%s\","
                       "\"data\":{\"n\":%d}}", conf.channel, i);

        } else if (strcmp(what, "leave") == 0) {
            command(c, "{\"id\":2,\"op\":\"leave\",\"channel\":\"%s\"}",
                    conf.channel);

        } else {
            command(c, "{\"id\":3,\"op\":\"ping\"}");
        }

        wire_flush(&c->wire);

        if (i % 64 == 63) {
            wire_poll(0);
        }
    }

    settle(start, 0);
}


static void
act_wake(int from, int to)
{
    int       i;
    uint64_t  start;

    start = proc_now();

    for (i = from; i < to; i++) {
        clients[i].slow = 0;
        wire_pause(&clients[i].wire, 0);

        if (!clients[i].in) {
            expect(&clients[i]);
        }
    }

    settle(start, 0);
}


/* Many changes of one member, as fast as they are taken.  They are as long as
 * refusals: a session whose refusals are much longer is closed. */

static void
act_storm(int n, int times)
{
    int        i;
    uint64_t   start;
    client_t  *c;

    c = &clients[n];
    start = proc_now();

    for (i = 0; i < times; i++) {
        command(c, "{\"id\":4,\"op\":\"presence\",\"channel\":\"%s\","
                   "\"data\":{\"n\":%d,\"x\":%d}%120s}",
                conf.channel, n, i, "");

        if (i % 64 == 63) {
            wire_flush(&c->wire);
            wire_poll(0);
        }
    }

    expect(c);
    command(c, "{\"id\":3,\"op\":\"ping\"}");
    wire_flush(&c->wire);
    settle(start, 0);
}


static void
act_close(int from, int to)
{
    int  i;

    for (i = from; i < to; i++) {
        wire_close(&clients[i].wire, 1);
        clients[i].up = clients[i].in = 0;
    }
}


static void
act_bye(int from, int to)
{
    int        i;
    uint64_t   start;
    client_t  *c;

    start = proc_now();

    for (i = from; i < to; i++) {
        c = &clients[i];

        if (c->up) {
            c->bye = 1;
            expect(c);
            wire_frame(&c->wire, WIRE_CLOSE, "\x03\xe8", 2);
            wire_flush(&c->wire);
        }
    }

    settle(start, 0);
}


static void
act_zero(void)
{
    int       i;
    uint64_t  parts;

    for (i = 0; i < conf.clients; i++) {
        parts = clients[i].seen.parts;
        memset(&clients[i].seen, 0, sizeof(seen_t));
        clients[i].seen.parts = parts;
        clients[i].messages = 0;
    }

    oks = errors = limited = downs = 0;
}


/* what is told */

static void
tell_seen(client_t *c)
{
    int  i;

    printf("{\"n\":%d,\"listed\":%u,\"frames\":%llu,\"bytes\":%llu,"
           "\"changes\":%llu,\"joined\":%llu,\"updated\":%llu,\"gaps\":%llu,"
           "\"parts\":%llu,\"largest\":%llu,\"messages\":%llu,"
           "\"offset\":%llu,\"left\":{",
           c->n, c->listed, (unsigned long long) c->seen.frames,
           (unsigned long long) c->seen.bytes,
           (unsigned long long) c->seen.changes,
           (unsigned long long) c->seen.joined,
           (unsigned long long) c->seen.updated,
           (unsigned long long) c->seen.gaps,
           (unsigned long long) c->seen.parts,
           (unsigned long long) c->seen.largest,
           (unsigned long long) c->messages,
           (unsigned long long) c->offset);

    for (i = 0; i < REASONS; i++) {
        printf("%s\"%s\":%llu", i ? "," : "", reasons[i],
               (unsigned long long) c->seen.left[i]);
    }

    printf("}}");
}


static void
tell(void)
{
    int        i, n, up, in, resumed, recovered;
    uint64_t   messages, wrongs;
    client_t  *c;

    n = up = in = resumed = recovered = 0;
    messages = wrongs = 0;

    printf("{\"seers\":[");

    for (i = 0; i < conf.clients; i++) {
        c = &clients[i];
        up += c->up;
        in += c->in;
        resumed += c->resumed;
        recovered += c->recovered;
        messages += c->messages;
        wrongs += c->seen.wrong;

        if (c->sees && c->in) {
            printf("%s", n++ ? "," : "");
            tell_seen(c);
        }
    }

    printf("],\"up\":%d,\"in\":%d,\"resumed\":%d,\"recovered\":%d,"
           "\"messages\":%llu,\"wrong\":%llu,\"oks\":%llu,\"errors\":%llu,"
           "\"limited\":%llu,\"downs\":%llu,\"ok\":%s,\"why\":\"%s\"}\n",
           up, in, resumed, recovered, (unsigned long long) messages,
           (unsigned long long) wrongs, (unsigned long long) oks,
           (unsigned long long) errors, (unsigned long long) limited,
           (unsigned long long) downs, why[0] ? "false" : "true", why);
    fflush(stdout);
}


static void
obey(char *line)
{
    int   from, to;
    char  verb[16], how[32];

    from = to = 0;
    how[0] = '\0';

    if (sscanf(line, "%15s %d %d %31s", verb, &from, &to, how) < 1) {
        return;
    }

    if (strcmp(verb, "storm") != 0
        && (from < 0 || to > conf.clients || from > to))
    {
        fault("no such clients");

    } else if (strcmp(verb, "open") == 0) {
        act_open(from, to, how);

    } else if (strcmp(verb, "resume") == 0) {
        act_open(from, to, "resume");

    } else if (strcmp(verb, "leave") == 0 || strcmp(verb, "ping") == 0
               || strcmp(verb, "enter") == 0)
    {
        act_ask(from, to, verb);

    } else if (strcmp(verb, "wake") == 0) {
        act_wake(from, to);

    } else if (strcmp(verb, "storm") == 0) {
        act_storm(from, to);

    } else if (strcmp(verb, "close") == 0) {
        act_close(from, to);

    } else if (strcmp(verb, "bye") == 0) {
        act_bye(from, to);

    } else if (strcmp(verb, "zero") == 0) {
        act_zero();

    } else if (strcmp(verb, "tell") != 0) {
        fault("no such act: %s", verb);
    }

    tell();
}


/* 0 at the end of the input */

static int
listen_to(void)
{
    char           *end;
    ssize_t         n;
    static char     text[4096];
    static size_t   len;

    n = read(0, text + len, sizeof(text) - 1 - len);

    if (n == 0) {
        return 0;
    }

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }

    len += n;
    text[len] = '\0';

    while ((end = strchr(text, '\n')) != NULL) {
        *end++ = '\0';
        obey(text);
        len -= end - text;
        memmove(text, end, len + 1);
    }

    return len < sizeof(text) - 1;
}


static void
usage(void)
{
    fputs(
"crowd --port=N [--clients=N] [--path=P] [--channel=NAME] [--limit=S]\n"
"\n"
"Does what lines on its input say, each of which it answers by one of JSON\n"
"when that is done: who is up and in, and of those who see what they have\n"
"seen.  The clients have numbers, which are the data of their members; A B\n"
"are those from A up to, and without, B.\n"
"\n"
"  open A B HOW     connects and joins; HOW is some of member,sees,slow and\n"
"                   narrow, which is at PATH/narrow\n"
"  resume A B       those that are not in, with what they had and from where\n"
"                   they were\n"
"  enter A B        those that have joined become members\n"
"  leave A B\n"
"  ping A B         a reply of each, behind all that came before\n"
"  wake A B         those that are slow read, and get their reply\n"
"  storm N TIMES    one member changes its data, without a pause\n"
"  close A B        cuts the connections\n"
"  bye A B          closes them with 1000\n"
"  zero             counts from here on\n"
"  tell             only answers\n", stderr);

    exit(2);
}


static void
read_options(int argc, char **argv)
{
    int  c;

    static const struct option  options[] = {
        { "port", 1, NULL, 'p' },
        { "clients", 1, NULL, 'n' },
        { "path", 1, NULL, 'u' },
        { "channel", 1, NULL, 'c' },
        { "limit", 1, NULL, 'l' },
        { "help", 0, NULL, '?' },
        { NULL, 0, NULL, 0 }
    };

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'p':  conf.port = atoi(optarg);     break;
        case 'n':  conf.clients = atoi(optarg);  break;
        case 'l':  conf.limit_s = atoi(optarg);  break;
        case 'u':  conf.path = optarg;           break;
        case 'c':  conf.channel = optarg;        break;
        default:   usage();
        }
    }

    if (conf.port <= 0 || conf.clients < 1 || optind < argc) {
        usage();
    }
}


int
main(int argc, char **argv)
{
    int            i;
    struct rlimit  r;

    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);

    if ((rlim_t) conf.clients + 32 > r.rlim_cur) {
        fprintf(stderr, "crowd: only %llu open files are allowed\n",
                (unsigned long long) r.rlim_cur);
        return 2;
    }

    wire_seed(1);
    wire_init(conf.port);

    for (id_mask = 1; id_mask < 4 * (size_t) conf.clients; id_mask <<= 1) {
        /* void */
    }

    by_id = calloc(id_mask, sizeof(client_t *));
    clients = calloc(conf.clients, sizeof(client_t));

    if (by_id == NULL || clients == NULL) {
        fputs("crowd: no memory\n", stderr);
        return 2;
    }

    id_mask--;

    for (i = 0; i < conf.clients; i++) {
        clients[i].n = i;
    }

    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    tell();

    while (listen_to()) {
        wire_poll(5);
    }

    return 0;
}
