
/*
 * Subscribers of swarm.  A seat is a subscriber's place on one channel; it
 * is kept over cuts, and the next join continues from it with "since".
 */

#define _GNU_SOURCE

#include "json.h"
#include "ledger.h"
#include "proc.h"
#include "swarm.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


typedef enum {
    SEAT_OUT = 0,
    SEAT_JOINING,
    SEAT_IN,
    SEAT_LEAVING
} seat_state_e;


/* Entries in a reply, before it is known what they continue. */

typedef struct {
    uint32_t      n;
    uint64_t      first;
    uint64_t      last;
} batch_t;


typedef struct {
    int           channel;
    int           book;
    int           wanted;        /* not left on purpose */
    int           open;          /* a span is open */
    int           since;         /* the join asked for it */
    int           after_gap;
    seat_state_e  state;
    uint32_t      count;         /* entries in the span */
    uint64_t      start;
    uint64_t      last;          /* where it stands */
    uint64_t      time;          /* of the last entry, ms */
    uint64_t      gap_to;
    uint64_t      id;            /* of the command not yet answered */
    uint64_t      back_at;       /* joins again then */
    char          epoch[64];
    batch_t       batch;
} seat_t;


typedef struct {
    wire_t        wire;
    int           no;
    int           welcomed;
    int           offered;       /* came with a resume token */
    int           was_in;
    int           nseats;
    int           stalled;
    uint64_t      next_id;
    uint64_t      cut_at;
    uint64_t      retry_at;
    uint64_t      dialled_at;
    uint64_t      stall_until;
    uint64_t      after_ms;      /* what "closing" asked for */
    char          resume[80];
    seat_t       *seats;
} sub_t;


static sub_t    *subs;
static char      expected[DATA_MAX];
static uint64_t  stall_at;


static void
end_span(sub_t *s, seat_t *t)
{
    if (t->open) {
        ledger_span(s->no, t->book, t->start, t->last, t->count);
        t->open = 0;
    }
}


static void
begin_span(seat_t *t, uint64_t start)
{
    t->open = 1;
    t->start = start;
    t->last = start;
    t->count = 0;
    t->time = 0;
    t->after_gap = 0;
}


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


/* Entries */

typedef struct {
    json_t    channel;
    json_t    data;
    json_t    gap;
    json_t    reset;
    uint64_t  offset;
    uint64_t  time;
    int       p;
    uint32_t  n;
} entry_t;


static void
read_entry(entry_t *e, json_t o)
{
    json_t       key, v;
    json_walk_t  w;

    memset(e, 0, sizeof(entry_t));
    e->p = -1;
    json_walk(&w, o);

    while (json_member(&w, &key, &v)) {
        if (json_key(key, "channel")) {
            e->channel = v;

        } else if (json_key(key, "offset")) {
            e->offset = json_number(v);

        } else if (json_key(key, "time")) {
            e->time = json_number(v);

        } else if (json_key(key, "data")) {
            e->data = v;

        } else if (json_key(key, "gap")) {
            e->gap = v;

        } else if (json_key(key, "reset")) {
            e->reset = v;
        }
    }

    if (w.bad) {
        violation("not JSON: %.*s", (int) (o.n > 150 ? 150 : o.n), o.s);
    }

    if (json_get(e->data, "p", &v)) {
        e->p = json_number(v);
    }

    if (json_get(e->data, "n", &v)) {
        e->n = json_number(v);
    }
}


static int
check_data(sub_t *s, seat_t *t, entry_t *e)
{
    size_t  n;

    if (ledger_sent_at(e->p, t->channel, e->n) == 0) {
        violation("subscriber %d, channel %d offset %llu: nobody sent this:"
                  " %.*s", s->no, t->channel,
                  (unsigned long long) e->offset,
                  (int) (e->data.n > 100 ? 100 : e->data.n), e->data.s);
        return 0;
    }

    if (conf.check_data) {
        n = swarm_data(expected, e->p, t->channel, e->n);

        if (n != e->data.n || memcmp(expected, e->data.s, n) != 0) {
            violation("channel %d offset %llu: the data changed: %.*s",
                      t->channel, (unsigned long long) e->offset,
                      (int) (e->data.n > 100 ? 100 : e->data.n), e->data.s);
        }
    }

    return 1;
}


static void
check_time(sub_t *s, seat_t *t, entry_t *e)
{
    if (e->time == 0 || e->time < t->time) {
        violation("subscriber %d, channel %d offset %llu: time %llu after"
                  " %llu", s->no, t->channel,
                  (unsigned long long) e->offset,
                  (unsigned long long) e->time,
                  (unsigned long long) t->time);
    }

    t->time = e->time;
}


static void
close_gap(seat_t *t, uint64_t offset)
{
    uint64_t  start;

    /* whether "to" is lost as well is not for us to say */
    start = (offset <= t->gap_to) ? offset - 1 : t->gap_to;
    begin_span(t, start);
}


static void
live_entry(sub_t *s, seat_t *t, entry_t *e)
{
    uint64_t  hole, sent, ns;

    if (t->after_gap) {
        close_gap(t, e->offset);
    }

    if (e->offset <= t->last) {
        violation("subscriber %d, channel %d: offset %llu after %llu",
                  s->no, t->channel, (unsigned long long) e->offset,
                  (unsigned long long) t->last);
        return;
    }

    if (e->offset > t->last + 1
        && ledger_between(t->book, t->last, e->offset, &hole))
    {
        violation("subscriber %d, channel %d: from offset %llu to %llu,"
                  " but there is %llu", s->no, t->channel,
                  (unsigned long long) t->last,
                  (unsigned long long) e->offset,
                  (unsigned long long) hole);
    }

    check_time(s, t, e);

    if (!check_data(s, t, e)) {
        return;
    }

    ledger_entry(t->book, e->offset, e->p, e->n, 0);

    t->last = e->offset;
    t->count++;
    count.delivered++;

    sent = ledger_sent_at(e->p, t->channel, e->n);
    ns = now > sent ? now - sent : 0;
    swarm_delay(ns);

    if (ns > count.live_max) {
        count.live_max = ns;
    }
}


static void
gap(sub_t *s, seat_t *t, json_t v)
{
    json_t  to;

    count.gaps++;

    if (!conf.allow_gap) {
        violation("subscriber %d, channel %d: gap %.*s", s->no, t->channel,
                  (int) v.n, v.s);
    }

    if (!json_get(v, "to", &to)) {
        violation("a gap without \"to\": %.*s", (int) v.n, v.s);
        return;
    }

    end_span(s, t);
    t->gap_to = json_number(to);
    t->after_gap = 1;
}


static void
reset(sub_t *s, seat_t *t, json_t v)
{
    count.resets++;

    if (!conf.allow_reset) {
        violation("subscriber %d, channel %d: reset %.*s", s->no,
                  t->channel, (int) v.n, v.s);
    }

    end_span(s, t);
    t->epoch[0] = '\0';
    t->state = SEAT_OUT;
    t->id = 0;
    t->back_at = now;
}


static void
pushed(sub_t *s, json_t o)
{
    seat_t   *t;
    entry_t   e;

    read_entry(&e, o);

    if (e.channel.n == 0) {
        return;
    }

    t = seat_named(s, e.channel);

    if (t == NULL || (t->state != SEAT_IN && t->state != SEAT_LEAVING)) {
        violation("subscriber %d got, where it is not in: %.*s", s->no,
                  (int) (o.n > 120 ? 120 : o.n), o.s);

    } else if (e.gap.n) {
        gap(s, t, e.gap);

    } else if (e.reset.n) {
        reset(s, t, e.reset);

    } else if (e.data.n) {
        live_entry(s, t, &e);
    }
}


/* Replies to join and leave */

static void
batch_entry(sub_t *s, seat_t *t, json_t o)
{
    batch_t   *b;
    entry_t    e;
    uint64_t   sent;

    b = &t->batch;
    read_entry(&e, o);

    if (e.offset == 0 || (b->n && e.offset <= b->last)) {
        violation("subscriber %d, channel %d: messages[] has %llu after"
                  " %llu", s->no, t->channel,
                  (unsigned long long) e.offset,
                  (unsigned long long) b->last);
        return;
    }

    if (b->n == 0) {
        b->first = e.offset;
    }

    b->n++;
    b->last = e.offset;

    if (!check_data(s, t, &e)) {
        return;
    }

    ledger_entry(t->book, e.offset, e.p, e.n, 0);
    count.replayed++;

    sent = ledger_sent_at(e.p, t->channel, e.n);

    if (t->since && now - sent > count.replay_max) {
        count.replay_max = now - sent;
    }
}


static void
batch(sub_t *s, seat_t *t, json_t v)
{
    json_t       list, o;
    json_walk_t  w;

    if (!json_get(v, "messages", &list)) {
        return;
    }

    json_walk(&w, list);

    while (json_element(&w, &o)) {
        batch_entry(s, t, o);
    }
}


/*
 * A part carries no epoch.  With "since" it can only be the one asked for,
 * otherwise the newest known: it is looked at again with the final reply.
 */

static void
part(sub_t *s, seat_t *t, json_t v)
{
    int  book;

    count.parts++;

    if (t->since) {
        t->book = ledger_book(t->channel, t->epoch);

    } else {
        ledger_last_acked(t->channel, &book);

        if (book < 0) {
            return;
        }

        t->book = book;
    }

    batch(s, t, v);
}


static void
continued(sub_t *s, seat_t *t, json_t ok, uint64_t offset)
{
    json_t  v;

    count.recovered++;

    if (t->batch.n && t->batch.first <= t->last) {
        violation("subscriber %d, channel %d: asked since %llu, got %llu",
                  s->no, t->channel, (unsigned long long) t->last,
                  (unsigned long long) t->batch.first);
    }

    if (json_get(ok, "missed", &v) && json_number(v) != t->batch.n) {
        violation("subscriber %d, channel %d: missed %.*s, but %u messages",
                  s->no, t->channel, (int) v.n, v.s, t->batch.n);
    }

    if (offset < t->last || offset < t->batch.last) {
        violation("subscriber %d, channel %d: joined at %llu, but had %llu",
                  s->no, t->channel, (unsigned long long) offset,
                  (unsigned long long) t->last);
        return;
    }

    t->count += t->batch.n;
    t->last = offset;
}


static void
begun(sub_t *s, seat_t *t, uint64_t offset)
{
    if (t->since) {
        count.unrecovered++;

        if (!conf.allow_unrecovered) {
            violation("subscriber %d, channel %d: not recovered since %llu",
                      s->no, t->channel, (unsigned long long) t->last);
        }
    }

    end_span(s, t);
    begin_span(t, t->batch.n ? t->batch.first - 1 : offset);
    t->count = t->batch.n;
    t->last = offset;
}


static void
joined(sub_t *s, seat_t *t, json_t ok)
{
    int       book, recovered;
    char      epoch[64];
    json_t    v;
    uint64_t  offset;

    if (!json_get(ok, "epoch", &v) || json_text(v, epoch, sizeof(epoch)) < 0
        || !json_get(ok, "offset", &v))
    {
        violation("a join without epoch or offset: %.*s", (int) ok.n, ok.s);
        return;
    }

    offset = json_number(v);
    book = ledger_book(t->channel, epoch);
    recovered = json_get(ok, "recovered", &v) && json_is(v, "true");

    if (t->since && v.n == 0) {
        violation("a join with since without \"recovered\": %.*s",
                  (int) (ok.n > 150 ? 150 : ok.n), ok.s);
    }

    if (recovered && (!t->since || strcmp(epoch, t->epoch) != 0)) {
        violation("subscriber %d, channel %d: recovered in another epoch",
                  s->no, t->channel);
        recovered = 0;
    }

    if (!recovered) {
        end_span(s, t);
    }

    t->book = book;
    batch(s, t, ok);

    if (recovered) {
        continued(s, t, ok, offset);

    } else {
        begun(s, t, offset);
    }

    strcpy(t->epoch, epoch);
    t->state = SEAT_IN;
    t->id = 0;
    count.joins++;
}


static void
left(seat_t *t)
{
    t->state = SEAT_OUT;
    t->id = 0;
    count.leaves++;
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
    json_t   v;
    seat_t  *t;

    t = seat_by_id(s, id);

    if (t == NULL) {
        violation("subscriber %d: a reply to nothing: %.*s", s->no,
                  (int) (o.n > 150 ? 150 : o.n), o.s);

    } else if (json_get(o, "part", &v)) {
        part(s, t, v);

    } else if (!json_get(o, "ok", &v)) {
        violation("subscriber %d: %.*s", s->no, (int) o.n, o.s);

    } else if (t->state == SEAT_LEAVING) {
        left(t);

    } else {
        joined(s, t, v);
        note_back(s);
    }
}


/* Commands */

static void
join_command(sub_t *s, seat_t *t, char *text, size_t size, int fresh)
{
    char  more[192];

    more[0] = '\0';
    t->since = (t->epoch[0] && !fresh);

    if (t->since) {
        snprintf(more, sizeof(more),
                 ",\"since\":{\"epoch\":\"%s\",\"offset\":%llu}",
                 t->epoch, (unsigned long long) t->last);

    } else if (wire_random() % 2) {
        snprintf(more, sizeof(more), ",\"history\":%d",
                 (int) (wire_random() % 20));
    }

    t->id = ++s->next_id;
    t->state = SEAT_JOINING;
    memset(&t->batch, 0, sizeof(batch_t));

    snprintf(text, size,
             "{\"id\":%llu,\"op\":\"join\",\"channel\":\"%s%d\"%s}",
             (unsigned long long) t->id, conf.prefix, t->channel, more);
}


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

        join_command(s, &s->seats[i], text, sizeof(text), 0);

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
    join_command(s, t, text, sizeof(text), wire_random() % 3 == 0);
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
    join_all(s);
}


static void
object(sub_t *s, json_t o)
{
    json_t  v, after;

    if (json_get(o, "id", &v)) {
        replied(s, json_number(v), o);

    } else if (json_get(o, "channel", &v)) {
        pushed(s, o);

    } else if (json_get(o, "welcome", &v)) {
        welcome(s, v);

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
    int      i;
    seat_t  *t;

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

    for (i = 0; i < s->nseats; i++) {
        t = &s->seats[i];

        if (t->after_gap) {
            /* nothing came since: the place is behind the gap */
            begin_span(t, t->gap_to);
        }

        t->state = SEAT_OUT;
        t->id = 0;
    }
}


static void
sub_down(wire_t *w, const char *why)
{
    sub_t  *s;

    (void) why;

    s = (sub_t *) w;

    if (s->welcomed) {
        count.cuts++;

    } else {
        count.failed_connects++;
    }

    went_down(s);
}


static void
sub_open(wire_t *w)
{
    (void) w;

    count.connects++;
}


static const wire_calls_t  calls = { sub_open, sub_frame, sub_down, NULL };


static void
dial(sub_t *s)
{
    char  protocols[128];

    s->offered = (s->resume[0] != '\0');
    s->dialled_at = now;

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
    if (wire_random() % 2) {
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

    if (wire_random() % 2) {
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

    for (i = 0; i < s->nseats; i++) {
        t = &s->seats[i];

        if (t->state == SEAT_OUT && t->back_at && now >= t->back_at) {
            join_again(s, t);
        }
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

        if (act && i < conf.stalled && stall_at) {
            stall(s);
        }
    }

    if (act && stall_at == 0) {
        stall_at = now;
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
seat_complete(seat_t *t)
{
    int       book;
    uint64_t  acked;

    acked = ledger_last_acked(t->channel, &book);

    return acked == 0 || (book == t->book
                          && (t->last >= acked
                              || (t->after_gap && t->gap_to >= acked)));
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


static void
finish_seat(sub_t *s, seat_t *t)
{
    int       book;
    uint64_t  acked;

    acked = ledger_last_acked(t->channel, &book);

    if (!seat_ready(s, t)) {
        violation("subscriber %d, channel %d: not back at the end (%s)",
                  s->no, t->channel,
                  s->welcomed ? "no join" : "no welcome");

    } else if (!seat_complete(t)) {
        violation("subscriber %d, channel %d: stands at offset %llu, but"
                  " %llu was acknowledged", s->no, t->channel,
                  (unsigned long long) t->last,
                  (unsigned long long) acked);
    }

    end_span(s, t);
}


void
subs_finish(void)
{
    int  i, k;

    for (i = 0; i < conf.subs; i++) {
        for (k = 0; k < subs[i].nseats; k++) {
            finish_seat(&subs[i], &subs[i].seats[k]);
        }

        wire_close(&subs[i].wire, 1);
    }
}
