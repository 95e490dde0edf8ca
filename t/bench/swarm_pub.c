
/* Publishers of swarm: over a WebSocket, by the HTTP API, by commands that
 * are POSTed. */

#define _GNU_SOURCE

#include "json.h"
#include "ledger.h"
#include "proc.h"
#include "swarm.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


typedef struct {
    int        channel;
    uint32_t   n;
    uint64_t   id;
    uint64_t   again_at;     /* refused, to be sent again then */
} item_t;


typedef struct {
    wire_t     wire;
    int        no;
    int        api;
    int        post;         /* a command, to where WebSockets go */
    int        http;         /* one of both */
    int        up;
    int        window;
    int        nitems;
    uint64_t   next_id;
    uint64_t   retry_at;
    uint64_t   dialled_at;
    uint32_t  *next;         /* of each channel */
    item_t    *items;        /* not answered, oldest first */
} pub_t;


static int     npubs;
static pub_t  *pubs;
static char    data[DATA_MAX], text[DATA_MAX + 1024];


static void
send_command(pub_t *p, item_t *it, size_t len)
{
    int   n, h;
    char  head[512];

    n = snprintf(text, sizeof(text),
                 "{\"id\":%llu,\"op\":\"publish\",\"channel\":\"%s%d\","
                 "\"key\":\"%d-%d-%u\",\"data\":",
                 (unsigned long long) it->id, conf.prefix, it->channel,
                 p->no, it->channel, it->n);
    memcpy(text + n, data, len);
    text[n + len] = '}';

    if (!p->post) {
        wire_frame(&p->wire, WIRE_TEXT, text, n + len + 1);
        return;
    }

    h = snprintf(head, sizeof(head),
                 "POST %s HTTP/1.1\r\n"
                 "Host: 127.0.0.1\r\n"
                 "Content-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 conf.pub_path, n + len + 1);
    wire_bytes(&p->wire, head, h);
    wire_bytes(&p->wire, text, n + len + 1);
}


static void
send_post(pub_t *p, item_t *it, size_t len)
{
    int  n;

    n = snprintf(text, sizeof(text),
                 "POST %s/channels/%s%d/messages HTTP/1.1\r\n"
                 "Host: 127.0.0.1\r\n"
                 "Content-Type: application/json\r\n"
                 "Fanout-Key: %d-%d-%u\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 conf.api, conf.prefix, it->channel, p->no, it->channel,
                 it->n, len);
    wire_bytes(&p->wire, text, n);
    wire_bytes(&p->wire, data, len);
}


static void
send_item(pub_t *p, item_t *it)
{
    size_t  len;

    it->again_at = 0;
    it->id = ++p->next_id;
    len = swarm_data(data, p->no, it->channel, it->n);

    if (p->api) {
        send_post(p, it, len);

    } else {
        send_command(p, it, len);
    }
}


static void
drop_item(pub_t *p, int i)
{
    p->nitems--;
    memmove(&p->items[i], &p->items[i + 1],
            (p->nitems - i) * sizeof(item_t));
}


static void
acknowledged(pub_t *p, int i, json_t ok)
{
    int      book;
    char     epoch[64];
    json_t   v;
    item_t  *it;

    it = &p->items[i];

    if (!json_get(ok, "epoch", &v)
        || json_text(v, epoch, sizeof(epoch)) < 0
        || !json_get(ok, "offset", &v))
    {
        violation("publisher %d: an ack without epoch and offset: %.*s",
                  p->no, (int) ok.n, ok.s);
        drop_item(p, i);
        return;
    }

    book = ledger_book(it->channel, epoch);
    ledger_entry(book, json_number(v), p->no, it->n, 1);
    count.acked++;

    if (json_get(ok, "duplicate", &v) && json_is(v, "true")) {
        count.duplicates++;
    }

    drop_item(p, i);
}


static void
refused(pub_t *p, int i)
{
    count.refused++;

    if (conf.drop_refused) {
        count.dropped++;
        drop_item(p, i);
        return;
    }

    p->items[i].again_at = now + 50000000;
}


static int
may_pass(json_t error)
{
    json_t  code;

    return json_get(error, "code", &code)
           && (json_is(code, "\"zone_full\"")
               || json_is(code, "\"rate_limited\""));
}


static int
item_by_id(pub_t *p, json_t o)
{
    int       i;
    json_t    v;
    uint64_t  id;

    id = json_get(o, "id", &v) ? json_number(v) : 0;

    for (i = 0; i < p->nitems; i++) {
        if (p->items[i].id == id) {
            return i;
        }
    }

    return -1;
}


static void
reply(pub_t *p, json_t o)
{
    int     i;
    json_t  v;

    if (json_get(o, "welcome", &v)) {
        p->up = 1;
        return;
    }

    if (json_get(o, "closing", &v) || json_get(o, "ping", &v)) {
        return;
    }

    i = item_by_id(p, o);

    if (i < 0) {
        violation("publisher %d: a reply to nothing: %.*s", p->no,
                  (int) o.n, o.s);

    } else if (json_get(o, "ok", &v)) {
        acknowledged(p, i, v);

    } else if (json_get(o, "error", &v) && may_pass(v)) {
        refused(p, i);

    } else {
        violation("publisher %d: %.*s", p->no, (int) o.n, o.s);
        drop_item(p, i);
    }
}


static void
pub_frame(wire_t *w, int op, char *bytes, size_t n)
{
    json_t        v, o;
    json_walk_t   walk;

    if (op == WIRE_CLOSE) {
        wire_frame(w, WIRE_CLOSE, bytes, n < 2 ? n : 2);
        wire_flush(w);
        return;
    }

    if (op != WIRE_TEXT) {
        return;
    }

    v = json_slice(bytes, n);

    if (v.n == 0 || v.s[0] != '[') {
        reply((pub_t *) w, v);
        return;
    }

    json_walk(&walk, v);

    while (json_element(&walk, &o)) {
        reply((pub_t *) w, o);
    }
}


static void
pub_open(wire_t *w)
{
    pub_t  *p;

    p = (pub_t *) w;

    /* over a WebSocket the welcome comes first */
    p->up = p->http;
}


static void
pub_down(wire_t *w, const char *why)
{
    pub_t  *p;

    (void) why;

    p = (pub_t *) w;
    p->up = 0;
    p->retry_at = swarm_retry_at();
    count.publisher_cuts++;
}


static void
pub_response(wire_t *w, int status, char *body, size_t n)
{
    pub_t  *p;

    p = (pub_t *) w;

    if (p->nitems == 0) {
        violation("publisher %d: HTTP %d to nothing", p->no, status);

    } else if (p->post && body[0] == '{') {
        reply(p, json_slice(body, n));

    } else if (status >= 200 && status < 300) {
        acknowledged(p, 0, json_slice(body, n));

    } else if (status == 507 || status == 429 || status == 503) {
        refused(p, 0);

    } else {
        violation("publisher %d: HTTP %d: %.*s", p->no, status, (int) n,
                  body);
        drop_item(p, 0);
    }
}


static const wire_calls_t  calls = {
    pub_open, pub_frame, pub_down, pub_response, NULL
};


void
pubs_init(void)
{
    int     i;
    pub_t  *p;

    npubs = conf.pubs + conf.api_pubs + conf.post_pubs;
    pubs = calloc(npubs ? npubs : 1, sizeof(pub_t));

    for (i = 0; pubs && i < npubs; i++) {
        p = &pubs[i];
        p->no = i;
        p->http = (i >= conf.pubs);
        p->post = (i >= conf.pubs + conf.api_pubs);
        p->api = p->http && !p->post;
        p->window = p->http ? 1 : conf.window;
        p->next = calloc(conf.channels, sizeof(uint32_t));
        p->items = calloc(p->window, sizeof(item_t));

        if (p->next == NULL || p->items == NULL) {
            pubs = NULL;
        }
    }

    if (pubs == NULL) {
        perror("calloc");
        exit(2);
    }
}


static void
dial(pub_t *p)
{
    int  rc;

    if (now < p->retry_at) {
        return;
    }

    p->dialled_at = now;
    rc = p->http ? wire_open_http(&p->wire, &calls)
                 : wire_open(&p->wire, &calls, conf.pub_path, "fanout.v1");

    if (rc < 0) {
        count.failed_connects++;
        p->retry_at = swarm_retry_at();
    }
}


/* What was not answered before the cut, in the same order and by its key. */

static void
send_again(pub_t *p, int all)
{
    int  i;

    for (i = 0; i < p->nitems; i++) {
        if (all || (p->items[i].again_at && now >= p->items[i].again_at)) {
            send_item(p, &p->items[i]);
        }
    }
}


static void
send_new(pub_t *p)
{
    item_t  *it;

    it = &p->items[p->nitems++];
    it->channel = wire_random() % conf.channels;
    it->n = p->next[it->channel]++;

    ledger_sent(p->no, it->channel, it->n, now);
    send_item(p, it);
    count.sent++;
}


static void
keep_up(pub_t *p)
{
    uint64_t  patience;

    patience = (uint64_t) conf.connect_ms * 1000000;

    if (p->wire.state == WIRE_DOWN) {
        dial(p);
        return;
    }

    if (!p->up && now - p->dialled_at > patience) {
        wire_close(&p->wire, 1);
        count.failed_connects++;
        return;
    }

    if (p->up == 1) {
        p->up = 2;
        send_again(p, 1);

    } else if (p->up) {
        send_again(p, 0);
    }
}


long
pubs_turn(long more)
{
    int          i, busy;
    long         done;
    static int   first;

    done = 0;

    for (i = 0; i < npubs; i++) {
        keep_up(&pubs[i]);
    }

    /* one message each in turn, beginning with another one every time */
    do {
        busy = 0;

        for (i = 0; i < npubs && done < more; i++) {
            pub_t  *p = &pubs[(first + i) % npubs];

            if (p->up == 2 && p->nitems < p->window) {
                send_new(p);
                done++;
                busy = 1;
            }
        }

    } while (busy);

    first++;

    for (i = 0; i < npubs; i++) {
        wire_flush(&pubs[i].wire);
    }

    return done;
}


int
pubs_ready(void)
{
    int  i;

    for (i = 0; i < npubs; i++) {
        if (pubs[i].up != 2) {
            return 0;
        }
    }

    return 1;
}


long
pubs_pending(void)
{
    int   i;
    long  n;

    for (n = 0, i = 0; i < npubs; i++) {
        n += pubs[i].nitems;
    }

    return n;
}
