
/* Connections of fanload: what is received and what is published. */

#define _GNU_SOURCE

#include "fanload.h"

#include "json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define MARK       "\"b:"
#define MARK_LEN   3
#define SEQ_LEN    16


void
load_die(const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    fprintf(stderr, "fanload: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);

    exit(1);
}


void *
load_need(size_t n, size_t size)
{
    void  *p;

    p = calloc(n ? n : 1, size);

    if (p == NULL) {
        load_die("no memory");
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
    if (seq != s->next || seq >= run.sent) {
        run.wrong++;
        return;
    }

    s->next++;
    run.deliveries++;

    if (run.counting && run.ndelays < run.max_delays) {
        run.delays[run.ndelays++] = clamp32(run.now - run.sent_at[seq]);
    }

    if (--run.lacks[seq] == 0) {
        run.completed++;

        if (run.counting) {
            run.lasts[run.nlasts++] = clamp32(run.now - run.sent_at[seq]);
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
        run.nready++;
        run.nopening--;
    }
}


static void
send_join(sub_t *s)
{
    int   n;
    char  text[512], since[160];

    since[0] = '\0';

    if (run.rejoining) {
        snprintf(since, sizeof(since),
                 ",\"since\":{\"epoch\":\"%s\",\"offset\":%llu}",
                 s->epoch, (unsigned long long) s->offset);
    }

    n = snprintf(text, sizeof(text),
                 "{\"id\":1,\"op\":\"join\",\"channel\":\"%s\"%s%s}",
                 conf.channel, since,
                 conf.lobby ? ",\"presence\":{}" : "");

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
        run.replayed += find_payloads(s, (char *) v.s, v.n);
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
        run.replayed += find_payloads(s, (char *) v.s, v.n);

    } else if (json_get(o, "ok", &v)) {
        joined(s, v);

    } else if (json_get(o, "error", &v)) {
        load_die("the join was refused: %.*s", (int) o.n, o.s);

    } else {
        find_payloads(s, (char *) o.s, o.n);
    }
}


/* The last data is told of one who leaves as well. */

static void
lobby_frame(sub_t *s, char *data, size_t n)
{
    if (memmem(data, n, "\"left\":", 7)) {
        run.left++;

    } else if (find_payloads(s, data, n)) {
        run.change = n;
    }
}


static void
sub_frame(wire_t *w, int op, char *data, size_t n)
{
    sub_t        *s;
    json_t        v, element;
    json_walk_t   walk;

    s = (sub_t *) w;
    run.now = proc_now();

    if (op == WIRE_CLOSE) {
        wire_frame(w, WIRE_CLOSE, data, n < 2 ? n : 2);
        wire_flush(w);
        return;
    }

    if (op > WIRE_BINARY) {
        return;
    }

    if (conf.lobby && s->ready) {
        lobby_frame(s, data, n);
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

    if (!conf.reload || !s->ready || run.rejoining) {
        load_die("a subscriber was cut off: %s", why);
    }

    s->gone = 1;
    run.ngone++;
}


static const wire_calls_t  sub_calls = {
    sub_open, sub_frame, sub_down, NULL, NULL
};


/* Publishing */

static void
pub_is_open(wire_t *w)
{
    (void) w;

    run.pub_open = 1;
}


static void
pub_frame(wire_t *w, int op, char *data, size_t n)
{
    char  *p, *end;

    (void) w;

    if (op != WIRE_TEXT || conf.via != VIA_NATIVE) {
        return;
    }

    if (conf.lobby && memmem(data, n, "\"part\":", 7)) {
        return;
    }

    if (memmem(data, n, "\"error\":", 8)) {
        load_die("a publish was refused: %.*s", (int) n, data);
    }

    end = data + n;

    for (p = data; (p = memmem(p, end - p, "\"ok\":", 5)) != NULL; p += 5) {
        run.acked++;
    }
}


static void
pub_down(wire_t *w, const char *why)
{
    (void) w;

    if (!conf.reload) {
        load_die("the publisher was cut off: %s", why);
    }

    run.pub_open = 0;
}


static void
pub_response(wire_t *w, int status, char *body, size_t n)
{
    (void) w;

    if (status < 200 || status > 299) {
        load_die("a publish was answered %d: %.*s", status, (int) n, body);
    }

    run.acked++;
}


static const wire_calls_t  pub_calls = {
    pub_is_open, pub_frame, pub_down, pub_response, NULL
};


/* Something like JSON in a string: names that repeat, numbers that don't. */

static void
fill_text(char *buf, size_t len)
{
    size_t                    i, n;
    char                      item[64];
    static const char *const  words[] = { "id", "name", "status", "lat" };

    for (i = 0; i < len; i += n) {
        n = snprintf(item, sizeof(item), "%s:%llu,", words[wire_random() & 3],
                     (unsigned long long) (wire_random() & 0xffffff));
        n = n > len - i ? len - i : n;
        memcpy(buf + i, item, n);
    }
}


static size_t
make_payload(char *buf, uint64_t seq)
{
    snprintf(buf, conf.size, MARK "%016llx:", (unsigned long long) seq);

    if (conf.text) {
        fill_text(buf + MARK_LEN + SEQ_LEN + 1,
                  conf.size - MARK_LEN - SEQ_LEN - 2);
    } else {
        memset(buf + MARK_LEN + SEQ_LEN + 1, 'x',
               conf.size - MARK_LEN - SEQ_LEN - 2);
    }

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


void
load_publish(const char *channel, uint64_t seq, int with_id)
{
    int          n;
    size_t       len;
    char         path[256];
    static char  data[65536], text[66000];

    len = make_payload(data, seq);

    switch (conf.via) {

    case VIA_RAW:
        wire_frame(&run.pub, WIRE_TEXT, data, len);
        return;

    case VIA_NATIVE:
        n = with_id ? snprintf(text, sizeof(text), "{\"id\":%llu,",
                               (unsigned long long) seq)
                    : snprintf(text, sizeof(text), "{");
        n += snprintf(text + n, sizeof(text) - n,
                      "\"op\":\"publish\",\"channel\":\"%s\",\"data\":%.*s}",
                      channel, (int) len, data);
        wire_frame(&run.pub, WIRE_TEXT, text, n);
        return;

    case VIA_HTTP:
        fill_path(path, sizeof(path), conf.pub_path, channel);
        n = snprintf(text, sizeof(text),
                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "Content-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%.*s",
                     path, len, (int) len, data);
        wire_bytes(&run.pub, text, n);
        return;
    }
}


/* Phases */

void
load_step(int ms)
{
    wire_poll(conf.spin ? 0 : ms);
    run.now = proc_now();

    if (run.now - run.started > (uint64_t) conf.limit_s * 1000000000) {
        load_die("not done after %d s: %d of %d ready, %d gone, %llu sent,"
                 " %llu complete, %llu acked, %llu deliveries",
                 conf.limit_s, run.nready, conf.subs, run.ngone,
                 (unsigned long long) run.sent,
                 (unsigned long long) run.completed,
                 (unsigned long long) run.acked,
                 (unsigned long long) run.deliveries);
    }
}


void
load_rest(int ms)
{
    uint64_t  until;

    run.now = proc_now();
    until = run.now + (uint64_t) ms * 1000000;

    while (run.now < until) {
        load_step((until - run.now) / 1000000 + 1);
    }
}


void
load_open_publisher(void)
{
    int   rc;
    char  path[256];

    fill_path(path, sizeof(path), conf.pub_path, conf.channel);

    rc = conf.via == VIA_HTTP
         ? wire_open_http(&run.pub, &pub_calls)
         : wire_open(&run.pub, &pub_calls, path, NULL);

    if (rc < 0) {
        load_die("connect: %s", strerror(errno));
    }

    while (!run.pub_open) {
        load_step(100);
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
    run.nopening++;

    if ((conf.events
         ? wire_open_events(&s->wire, &sub_calls, path)
         : wire_open(&s->wire, &sub_calls, path,
                     run.rejoining ? protocols : NULL))
        < 0)
    {
        load_die("connect: %s", strerror(errno));
    }
}


void
load_open_subs(void)
{
    run.opened = 0;
    run.nready = 0;

    while (run.nready < conf.subs) {
        while (run.opened < conf.subs && run.nopening < conf.connects) {
            open_sub(&run.subs[run.opened++]);
        }

        load_step(100);
    }
}


static void
publish_next(uint64_t end)
{
    while (run.sent < end
           && run.sent - run.completed < (uint64_t) conf.window)
    {
        run.sent_at[run.sent] = proc_now();
        run.lacks[run.sent] = conf.subs;
        load_publish(conf.channel, run.sent++, 0);
    }

    wire_flush(&run.pub);
}


/* To all subscribers: until each has received all. */

void
load_fan(uint64_t count)
{
    uint64_t  end, before;

    end = run.sent + count;

    while (run.completed < end) {
        publish_next(end);
        before = run.completed;

        while (run.completed == before) {
            load_step(1000);
        }

        if (conf.gap_us) {
            load_rest(conf.gap_us / 1000);
        }
    }
}


/* What is done to the lobby, and answered. */

static void
visit(const char *op, const char *more)
{
    int   n;
    char  text[1024];

    run.acked = 0;
    n = snprintf(text, sizeof(text),
                 "{\"id\":1,\"op\":\"%s\",\"channel\":\"%s\"%s}", op,
                 conf.channel, more);
    wire_frame(&run.pub, WIRE_TEXT, text, n);
    wire_flush(&run.pub);
}


void
load_lobby(uint64_t count)
{
    char      data[256], more[512];
    uint64_t  end;

    for (end = run.sent + count; run.sent < end; ) {
        snprintf(more, sizeof(more), ",\"presence\":%.*s",
                 (int) make_payload(data, run.sent), data);

        run.left = 0;
        run.lacks[run.sent] = conf.subs;
        run.sent_at[run.sent] = proc_now();
        run.sent++;
        visit("join", more);

        while (run.completed < run.sent || run.acked == 0) {
            load_step(1000);
        }

        /* neither this change nor the next one waits to be gathered */

        load_rest(conf.batch_ms);
        visit("leave", "");

        while (run.left < (uint64_t) conf.subs || run.acked == 0) {
            load_step(1000);
        }

        load_rest(conf.batch_ms);
    }
}


/* To nobody: until each was acknowledged. */

void
load_publish_acked(uint64_t count, int spread)
{
    char      name[64];
    uint64_t  end, at;

    end = run.sent + count;

    while (run.acked < end) {
        while (run.sent < end
               && run.sent - run.acked < (uint64_t) conf.window)
        {
            /* a large prime: neighbours are not neighbours in memory */
            at = spread ? run.sent * 2654435761 % conf.channels : 0;
            snprintf(name, sizeof(name), "%s%llu", conf.channel,
                     (unsigned long long) at);
            load_publish(name, run.sent++, 1);
        }

        wire_flush(&run.pub);
        load_step(1000);
    }
}


void
load_create_channels(void)
{
    int       window;
    char      name[64];
    uint64_t  i;

    window = conf.window;
    conf.window = 64;

    for (i = 0; i < (uint64_t) conf.channels; i++) {
        snprintf(name, sizeof(name), "%s%llu", conf.channel,
                 (unsigned long long) i);
        load_publish(name, run.sent++, 1);
        wire_flush(&run.pub);

        while (run.sent - run.acked >= (uint64_t) conf.window) {
            load_step(1000);
        }
    }

    while (run.acked < run.sent) {
        load_step(1000);
    }

    conf.window = window;
}
