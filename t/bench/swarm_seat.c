
#define _GNU_SOURCE

#include "swarm_seat.h"

#include "ledger.h"
#include "swarm.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>


static char  expected[DATA_MAX];


static void
end_span(int who, seat_t *t)
{
    if (t->open) {
        ledger_span(who, t->book, t->start, t->last, t->count);
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
check_data(int who, seat_t *t, entry_t *e)
{
    size_t  n;

    if (ledger_sent_at(e->p, t->channel, e->n) == 0) {
        violation("subscriber %d, channel %d offset %llu: nobody sent this:"
                  " %.*s", who, t->channel,
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
check_time(int who, seat_t *t, entry_t *e)
{
    if (e->time == 0 || e->time < t->time) {
        violation("subscriber %d, channel %d offset %llu: time %llu after"
                  " %llu", who, t->channel,
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
live_entry(int who, seat_t *t, entry_t *e)
{
    uint64_t  hole, sent, ns;

    if (t->after_gap) {
        close_gap(t, e->offset);
    }

    if (e->offset <= t->last) {
        violation("subscriber %d, channel %d: offset %llu after %llu",
                  who, t->channel, (unsigned long long) e->offset,
                  (unsigned long long) t->last);
        return;
    }

    if (e->offset > t->last + 1
        && ledger_between(t->book, t->last, e->offset, &hole))
    {
        violation("subscriber %d, channel %d: from offset %llu to %llu,"
                  " but there is %llu", who, t->channel,
                  (unsigned long long) t->last,
                  (unsigned long long) e->offset,
                  (unsigned long long) hole);
    }

    check_time(who, t, e);

    if (!check_data(who, t, e)) {
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
gap(int who, seat_t *t, json_t v)
{
    json_t  to;

    count.gaps++;

    if (!conf.allow_gap) {
        violation("subscriber %d, channel %d: gap %.*s", who, t->channel,
                  (int) v.n, v.s);
    }

    if (!json_get(v, "to", &to)) {
        violation("a gap without \"to\": %.*s", (int) v.n, v.s);
        return;
    }

    end_span(who, t);
    t->gap_to = json_number(to);
    t->after_gap = 1;
}


static void
reset(int who, seat_t *t, json_t v)
{
    count.resets++;

    if (!conf.allow_reset) {
        violation("subscriber %d, channel %d: reset %.*s", who,
                  t->channel, (int) v.n, v.s);
    }

    end_span(who, t);
    t->epoch[0] = '\0';
    t->state = SEAT_OUT;
    t->id = 0;
    t->back_at = now;
}


/* Replies to join and leave */

static void
batch_entry(int who, seat_t *t, json_t o)
{
    entry_t        e;
    uint64_t       sent;
    seat_batch_t  *b;

    b = &t->batch;
    read_entry(&e, o);

    if (e.offset == 0 || (b->n && e.offset <= b->last)) {
        violation("subscriber %d, channel %d: messages[] has %llu after"
                  " %llu", who, t->channel,
                  (unsigned long long) e.offset,
                  (unsigned long long) b->last);
        return;
    }

    if (e.time < b->time) {
        violation("subscriber %d, channel %d: messages[] goes back from"
                  " time %llu to %llu", who, t->channel,
                  (unsigned long long) b->time,
                  (unsigned long long) e.time);
    }

    if (b->n == 0) {
        b->first = e.offset;
    }

    b->time = e.time;

    b->n++;
    b->last = e.offset;

    if (!check_data(who, t, &e)) {
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
batch(int who, seat_t *t, json_t v)
{
    json_t       list, o;
    json_walk_t  w;

    if (!json_get(v, "messages", &list)) {
        return;
    }

    json_walk(&w, list);

    while (json_element(&w, &o)) {
        batch_entry(who, t, o);
    }
}


/*
 * A part carries no epoch.  With "since" it can only be the one asked for,
 * otherwise it is taken for the newest one known.
 */

static void
part(int who, seat_t *t, json_t v)
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

        end_span(who, t);
        t->book = book;
    }

    batch(who, t, v);
}


static void
continued(int who, seat_t *t, json_t ok, uint64_t offset)
{
    json_t  v;

    count.recovered++;

    if (t->batch.n && t->batch.first <= t->last) {
        violation("subscriber %d, channel %d: asked since %llu, got %llu",
                  who, t->channel, (unsigned long long) t->last,
                  (unsigned long long) t->batch.first);
    }

    /* of events, what was missed comes behind */

    if (!conf.events && json_get(ok, "missed", &v)
        && json_number(v) != t->batch.n)
    {
        violation("subscriber %d, channel %d: missed %.*s, but %u messages",
                  who, t->channel, (int) v.n, v.s, t->batch.n);
    }

    if (offset < t->last || offset < t->batch.last) {
        violation("subscriber %d, channel %d: joined at %llu, but had %llu",
                  who, t->channel, (unsigned long long) offset,
                  (unsigned long long) t->last);
        return;
    }

    t->count += t->batch.n;
    t->last = offset;
    t->time = t->batch.n ? t->batch.time : t->time;
}


static void
begun(int who, seat_t *t, uint64_t offset)
{
    if (t->since) {
        count.unrecovered++;

        if (!conf.allow_unrecovered) {
            violation("subscriber %d, channel %d: not recovered since %llu",
                      who, t->channel, (unsigned long long) t->last);
        }
    }

    end_span(who, t);

    if (t->since) {
        /* what is lost may have gone while the reply was on its way, so it
         * can be missing anywhere in it */
        begin_span(t, offset);
        t->count = 0;

    } else {
        begin_span(t, t->batch.n ? t->batch.first - 1 : offset);
        t->count = t->batch.n;
    }

    t->last = offset;
    t->time = t->batch.time;
}


static void
joined(int who, seat_t *t, json_t ok)
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
                  who, t->channel);
        recovered = 0;
    }

    if (!recovered) {
        end_span(who, t);
    }

    t->book = book;
    batch(who, t, ok);

    if (recovered) {
        continued(who, t, ok, offset);

    } else {
        begun(who, t, offset);
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


void
seat_push(int who, seat_t *t, json_t o)
{
    entry_t  e;

    read_entry(&e, o);

    if (t->state != SEAT_IN && t->state != SEAT_LEAVING) {
        violation("subscriber %d got, where it is not in: %.*s", who,
                  (int) (o.n > 120 ? 120 : o.n), o.s);

    } else if (e.gap.n) {
        gap(who, t, e.gap);

    } else if (e.reset.n) {
        reset(who, t, e.reset);

    } else if (e.data.n) {
        live_entry(who, t, &e);
    }
}


void
seat_reply(int who, seat_t *t, json_t o)
{
    json_t  v;

    if (json_get(o, "part", &v)) {
        part(who, t, v);

    } else if (!json_get(o, "ok", &v)) {
        violation("subscriber %d: %.*s", who, (int) o.n, o.s);

    } else if (t->state == SEAT_LEAVING) {
        left(t);

    } else {
        joined(who, t, v);
    }
}


void
seat_begin(seat_t *t, int placed)
{
    t->since = (placed && t->epoch[0]);
    t->state = SEAT_JOINING;
    memset(&t->batch, 0, sizeof(seat_batch_t));
}


void
seat_join(seat_t *t, uint64_t id, int fresh, char *text, size_t size)
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

    t->id = id;
    t->state = SEAT_JOINING;
    memset(&t->batch, 0, sizeof(seat_batch_t));

    snprintf(text, size,
             "{\"id\":%llu,\"op\":\"join\",\"channel\":\"%s%d\"%s}",
             (unsigned long long) id, conf.prefix, t->channel, more);
}


void
seat_cut(seat_t *t)
{
    if (t->after_gap) {
        /* nothing came since: the place is behind the gap */
        begin_span(t, t->gap_to);
    }

    t->state = SEAT_OUT;
    t->id = 0;
}


int
seat_complete(seat_t *t)
{
    int       book;
    uint64_t  acked;

    acked = ledger_last_acked(t->channel, &book);

    return acked == 0 || (book == t->book
                          && (t->last >= acked
                              || (t->after_gap && t->gap_to >= acked)));
}


void
seat_finish(int who, seat_t *t)
{
    int       book;
    uint64_t  acked;

    acked = ledger_last_acked(t->channel, &book);

    if (t->state != SEAT_IN) {
        violation("subscriber %d, channel %d: not back at the end (%s)",
                  who, t->channel, swarm_failure);

    } else if (!seat_complete(t)) {
        violation("subscriber %d, channel %d: stands at offset %llu, but"
                  " %llu was acknowledged", who, t->channel,
                  (unsigned long long) t->last,
                  (unsigned long long) acked);
    }

    end_span(who, t);
}
