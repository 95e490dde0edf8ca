
/*
 * Subscribers of swarm: connections, commands, what they do at random.
 */

#define _GNU_SOURCE

#include "json.h"
#include "ledger.h"
#include "proc.h"
#include "swarm.h"
#include "swarm_seat.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


typedef struct {
    wire_t        wire;
    int           no;
    int           welcomed;
    int           offered;       /* came with a resume token */
    int           was_in;
    int           nseats;
    int           stalled;
    int           nback;         /* seats that may have to join again */
    uint64_t      next_id;
    uint64_t      cut_at;
    uint64_t      retry_at;
    uint64_t      dialled_at;
    uint64_t      stall_until;
    uint64_t      after_ms;      /* what "closing" asked for */
    char          resume[80];
    char          last_id[2100]; /* of an event */
    seat_t       *seats;
} sub_t;


static sub_t    *subs;


static seat_t *
seat_named(sub_t *s, json_t name)
{
    int   i, channel;
    char  text[300];

    if (json_text(name, text, sizeof(text)) < 0) {
        return NULL;
    }

    channel = swarm_channel(text);

    for (i = 0; i < s->nseats; i++) {
        if (s->seats[i].channel == channel) {
            return &s->seats[i];
        }
    }

    return NULL;
}


static seat_t *
seat_by_id(sub_t *s, uint64_t id)
{
    int  i;

    for (i = 0; i < s->nseats; i++) {
        if (s->seats[i].id && s->seats[i].id == id) {
            return &s->seats[i];
        }
    }

    return NULL;
}


static void
pushed(sub_t *s, json_t channel, json_t o)
{
    seat_t  *t;

    t = seat_named(s, channel);

    if (t == NULL) {
        violation("subscriber %d got, where it never was: %.*s", s->no,
                  (int) (o.n > 120 ? 120 : o.n), o.s);
        return;
    }

    seat_push(s->no, t, o);

    if (t->back_at) {
        s->nback++;
    }
}


static void
note_back(sub_t *s)
{
    int  i;

    for (i = 0; i < s->nseats; i++) {
        if (s->seats[i].wanted && s->seats[i].state != SEAT_IN) {
            return;
        }
    }

    if (s->was_in && s->cut_at && now - s->cut_at > count.rejoin_max) {
        count.rejoin_max = now - s->cut_at;
    }

    s->was_in = 1;
    s->cut_at = 0;
}


static void
replied(sub_t *s, uint64_t id, json_t o)
{
    seat_t  *t;

    t = seat_by_id(s, id);

    if (t == NULL) {
        violation("subscriber %d: a reply to nothing: %.*s", s->no,
                  (int) (o.n > 150 ? 150 : o.n), o.s);
        return;
    }

    seat_reply(s->no, t, o);

    if (t->state == SEAT_IN) {
        note_back(s);
    }
}


/* Commands */

static void
send_text(sub_t *s, const char *text)
{
    wire_frame(&s->wire, WIRE_TEXT, text, strlen(text));
}


/* All seats, each by a frame or all by one array. */

static void
join_all(sub_t *s)
{
    int     i, one, n;
    char    text[512];
    char   *all;
    size_t  size, at;

    one = wire_random() % 2;
    size = s->nseats * sizeof(text) + 3;
    all = malloc(size);
    at = 0;
    n = 0;

    for (i = 0; all && i < s->nseats; i++) {
        if (!s->seats[i].wanted) {
            continue;
        }

        seat_join(&s->seats[i], ++s->next_id, 0, text, sizeof(text));

        if (one) {
            at += snprintf(all + at, size - at, "%c%s", n ? ',' : '[', text);
            n++;

        } else {
            send_text(s, text);
        }
    }

    if (n) {
        snprintf(all + at, size - at, "]");
        send_text(s, all);
    }

    free(all);
    wire_flush(&s->wire);
}


static void
leave(sub_t *s, seat_t *t)
{
    char  text[256];

    t->id = ++s->next_id;
    t->state = SEAT_LEAVING;
    t->wanted = 0;
    t->back_at = now + (wire_random() % 300) * 1000000;
    s->nback++;

    snprintf(text, sizeof(text),
             "{\"id\":%llu,\"op\":\"leave\",\"channel\":\"%s%d\"}",
             (unsigned long long) t->id, conf.prefix, t->channel);
    send_text(s, text);
    wire_flush(&s->wire);
}


static void
join_again(sub_t *s, seat_t *t)
{
    char  text[512];

    t->wanted = 1;
    t->back_at = 0;
    seat_join(t, ++s->next_id, wire_random() % 3 == 0, text, sizeof(text));
    send_text(s, text);
    wire_flush(&s->wire);
}


/* The connection */

static void
welcome(sub_t *s, json_t v)
{
    int     resumed;
    json_t  w;

    resumed = json_get(v, "resumed", &w) && json_is(w, "true");

    if (s->offered) {
        count.resumed += resumed;
        count.not_resumed += !resumed;

        if (!resumed && conf.need_resumed) {
            violation("subscriber %d: the session was not resumed", s->no);
        }
    }

    if (!json_get(v, "resume", &w)
        || json_text(w, s->resume, sizeof(s->resume)) < 0)
    {
        s->resume[0] = '\0';
    }

    s->welcomed = 1;

    if (!conf.events) {
        join_all(s);
    }
}


/* Of a stream of events: what its URL has joined. */

static void
began(sub_t *s, json_t ok, json_t o)
{
    json_t   v;
    seat_t  *t;

    if (!json_get(ok, "channel", &v) || (t = seat_named(s, v)) == NULL) {
        violation("subscriber %d: joined to %.*s", s->no, (int) o.n, o.s);
        return;
    }

    seat_begin(t, s->last_id[0] != '\0');
    seat_reply(s->no, t, o);

    if (t->state == SEAT_IN) {
        note_back(s);
    }
}


static void
object(sub_t *s, json_t o)
{
    json_t  v, after;

    if (json_get(o, "id", &v)) {
        replied(s, json_number(v), o);

    } else if (json_get(o, "channel", &v)) {
        pushed(s, v, o);

    } else if (json_get(o, "welcome", &v)) {
        welcome(s, v);

    } else if (conf.events && json_get(o, "ok", &v)) {
        began(s, v, o);

    } else if (json_get(o, "closing", &v)) {
        count.closings++;
        s->after_ms = json_get(v, "after", &after) ? json_number(after) : 0;

    } else if (!json_get(o, "ping", &v)) {
        violation("subscriber %d: what is this: %.*s", s->no,
                  (int) (o.n > 150 ? 150 : o.n), o.s);
    }
}


static void
closed_by_server(sub_t *s, char *data, size_t n)
{
    int  code;

    code = n >= 2 ? (unsigned char) data[0] << 8 | (unsigned char) data[1]
                  : 0;

    if (code == 1012) {
        count.close_1012++;

    } else if (code == 1001) {
        count.close_1001++;

    } else if (code != 1000) {
        count.close_other++;

        if (code != 1013) {
            violation("subscriber %d: closed with %d %.*s", s->no, code,
                      n > 2 ? (int) n - 2 : 0, data + 2);
        }
    }

    wire_frame(&s->wire, WIRE_CLOSE, data, n < 2 ? n : 2);
    wire_flush(&s->wire);
}


static void
sub_frame(wire_t *w, int op, char *data, size_t n)
{
    sub_t        *s;
    json_t        v, o;
    json_walk_t   walk;

    s = (sub_t *) w;

    if (op == WIRE_CLOSE) {
        closed_by_server(s, data, n);
        return;
    }

    if (op != WIRE_TEXT) {
        return;
    }

    now = proc_now();
    v = json_slice(data, n);

    if (v.n == 0 || v.s[0] != '[') {
        object(s, v);
        return;
    }

    count.arrays++;
    json_walk(&walk, v);

    while (json_element(&walk, &o)) {
        object(s, o);
    }

    if (walk.bad) {
        violation("subscriber %d: a broken array", s->no);
    }
}


static void
went_down(sub_t *s)
{
    int  i;

    s->welcomed = 0;
    s->stalled = 0;
    s->retry_at = swarm_retry_at();

    if (conf.obey_after) {
        s->retry_at += s->after_ms * 1000000;
    }

    s->after_ms = 0;

    if (s->cut_at == 0) {
        s->cut_at = now;
    }

    if (conf.polls) {
        /* what a poll continues is not told: the seats go on as they were */
        return;
    }

    for (i = 0; i < s->nseats; i++) {
        seat_cut(&s->seats[i]);
    }
}


static void
sub_down(wire_t *w, const char *why)
{
    sub_t  *s;

    s = (sub_t *) w;

    if (s->welcomed) {
        count.cuts++;

    } else {
        count.failed_connects++;
        snprintf(swarm_failure, sizeof(swarm_failure), "%s", why);
    }

    if (strcmp(why, WIRE_BAD_FRAME) == 0) {
        violation("subscriber %d: %s", s->no, why);
    }

    went_down(s);
}


static void
sub_id(wire_t *w, const char *id, size_t n)
{
    sub_t  *s;

    s = (sub_t *) w;

    if (n < sizeof(s->last_id)) {
        memcpy(s->last_id, id, n);
        s->last_id[n] = '\0';
    }
}


static void
url(sub_t *s, char *path, size_t size)
{
    int  i, n;

    n = snprintf(path, size, "%s", conf.path);

    for (i = 0; i < s->nseats && n < 1800; i++) {
        n += snprintf(path + n, size - n, "%cchannel=%s%d", i ? '&' : '?',
                      conf.prefix, s->seats[i].channel);
    }

    if (s->last_id[0]) {
        n += snprintf(path + n, size - n, "&%s=%s",
                      conf.polls ? "since" : "lastEventId", s->last_id);
    }

    snprintf(path + n, size - n, "%s", conf.polls ? "&poll=1" : "");
}


static void
ask(sub_t *s)
{
    int   n;
    char  path[4096], text[4400];

    url(s, path, sizeof(path));
    n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n"
                                     "Host: 127.0.0.1\r\n\r\n", path);
    wire_bytes(&s->wire, text, n);
    wire_flush(&s->wire);
}


static void
sub_open(wire_t *w)
{
    sub_t  *s;

    s = (sub_t *) w;
    count.connects++;

    if (!conf.polls) {
        return;
    }

    if (s->last_id[0]) {
        /* of what can't be recovered it is told */
        s->welcomed = 1;
        count.recovered++;
    }

    ask(s);
}


static void
sub_response(wire_t *w, int status, char *body, size_t n)
{
    char    text[32];
    sub_t  *s;

    s = (sub_t *) w;

    if (status != 200) {
        snprintf(text, sizeof(text), "answered %d", status);
        wire_close(w, 1);
        sub_down(w, text);
        return;
    }

    s->welcomed = 1;
    sub_frame(w, WIRE_TEXT, body, n);
    note_back(s);
    ask(s);
}


static const wire_calls_t  calls = {
    sub_open, sub_frame, sub_down, sub_response, sub_id
};


static void
dial_events(sub_t *s)
{
    int   rc;
    char  path[4096];

    url(s, path, sizeof(path));

    rc = conf.polls ? wire_open_http(&s->wire, &calls)
                    : wire_open_events(&s->wire, &calls, path);

    if (rc < 0) {
        count.failed_connects++;
        s->retry_at = swarm_retry_at();
    }
}


static void
dial(sub_t *s)
{
    char  protocols[128];

    s->dialled_at = now;

    if (conf.events) {
        dial_events(s);
        return;
    }

    s->offered = (s->resume[0] != '\0');

    snprintf(protocols, sizeof(protocols), "fanout.v1%s%s",
             s->offered ? ", fanout.resume." : "", s->resume);

    if (wire_open(&s->wire, &calls, conf.path, protocols) < 0) {
        count.failed_connects++;
        s->retry_at = swarm_retry_at();
    }
}


static void
cut(sub_t *s)
{
    count.own_cuts++;

    /* half of the time politely */
    if (!conf.events && wire_random() % 2) {
        wire_frame(&s->wire, WIRE_CLOSE, "\x03\xe9", 2);
        wire_flush(&s->wire);
        wire_close(&s->wire, 0);

    } else {
        wire_close(&s->wire, 1);
    }

    went_down(s);
}


static void
act_at_random(void)
{
    sub_t   *s;
    seat_t  *t;

    s = &subs[wire_random() % conf.subs];

    if (!s->welcomed || s->stalled) {
        return;
    }

    if (conf.events || wire_random() % 2) {
        cut(s);
        return;
    }

    t = &s->seats[wire_random() % s->nseats];

    if (t->state == SEAT_IN) {
        leave(s, t);
    }
}


static void
stall(sub_t *s)
{
    if (s->stalled && now >= s->stall_until) {
        s->stalled = 0;
        wire_pause(&s->wire, 0);

    } else if (!s->stalled && s->stall_until == 0 && s->welcomed) {
        s->stalled = 1;
        s->stall_until = now + (uint64_t) conf.stall_ms * 1000000;
        wire_pause(&s->wire, 1);
    }
}


static void
seats_turn(sub_t *s)
{
    int      i;
    seat_t  *t;

    if (s->nback == 0) {
        return;
    }

    s->nback = 0;

    for (i = 0; i < s->nseats; i++) {
        t = &s->seats[i];

        if (t->state == SEAT_OUT && t->back_at && now >= t->back_at) {
            join_again(s, t);
        }

        s->nback += (t->back_at != 0);
    }
}


void
subs_turn(int act)
{
    int       i;
    sub_t    *s;
    uint64_t  patience;

    patience = (uint64_t) conf.connect_ms * 1000000;

    for (i = 0; i < conf.subs; i++) {
        s = &subs[i];

        if (s->wire.state == WIRE_DOWN) {
            if (now >= s->retry_at) {
                dial(s);
            }

        } else if (!s->welcomed && now - s->dialled_at > patience) {
            count.failed_connects++;
            wire_close(&s->wire, 1);
            went_down(s);

        } else if (s->welcomed) {
            seats_turn(s);
        }

        if (act && i < conf.stalled) {
            stall(s);
        }
    }

    while (act-- > 1) {
        act_at_random();
    }
}


static void
take_seats(sub_t *s)
{
    int  i;

    s->nseats = conf.per_sub;
    s->seats = calloc(s->nseats, sizeof(seat_t));

    for (i = 0; s->seats && i < s->nseats; i++) {
        s->seats[i].channel = (s->no + i) % conf.channels;
        s->seats[i].wanted = 1;
    }
}


void
subs_init(void)
{
    int  i;

    subs = calloc(conf.subs ? conf.subs : 1, sizeof(sub_t));

    for (i = 0; subs && i < conf.subs; i++) {
        subs[i].no = i;
        subs[i].retry_at = now + (uint64_t) i * 200000;
        take_seats(&subs[i]);
    }

    if (subs == NULL || (conf.subs && subs[conf.subs - 1].seats == NULL)) {
        perror("calloc");
        exit(2);
    }
}


static int
seat_ready(sub_t *s, seat_t *t)
{
    return s->welcomed && !s->stalled && t->state == SEAT_IN;
}


static int
all_seats(int complete)
{
    int      i, k;
    seat_t  *t;

    for (i = 0; i < conf.subs; i++) {
        for (k = 0; k < subs[i].nseats; k++) {
            t = &subs[i].seats[k];

            if (!seat_ready(&subs[i], t)
                || (complete && !seat_complete(t)))
            {
                return 0;
            }
        }
    }

    return 1;
}


int
subs_ready(void)
{
    return all_seats(0);
}


int
subs_complete(void)
{
    return all_seats(1);
}


void
subs_finish(void)
{
    int  i, k;

    for (i = 0; i < conf.subs; i++) {
        for (k = 0; k < subs[i].nseats; k++) {
            seat_finish(i, &subs[i].seats[k]);
        }

        wire_close(&subs[i].wire, 1);
    }
}
