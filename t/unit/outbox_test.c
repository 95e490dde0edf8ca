/* sources: src/session/outbox.c src/session/stalled.c src/session/shed.c */
/* sources: src/session/turn.c src/session/work.c */
/* sources: src/base/id.c src/hub/outbuf.c src/base/json*.c */
/* sources: t/unit/outbox_client.c */
/* sources: t/unit/nginx.c t/unit/memory.c t/unit/random.c */
/* libs: -lyajl -Wl,--wrap=free -Wl,--wrap=realloc */
/* cflags: @nginx@ */

/*
 * If this fails, a client gets bytes twice, in another order or not at all, or
 * its output stays where it is though its socket could take it; or memory of
 * output that many share is lost, or freed while it is still to be sent.
 *
 * Random output to several sessions by connections that take any part of it,
 * against the bytes that each of them has to get.
 *
 * ZONE_SEED replays what failed.
 */


#include "memory.h"
#include "outbox_client.h"
#include "tap.h"


#define SESSIONS  6
#define OUTBUFS   8


static fanout_app_t        app;
static fanout_outbuf_t    *outbufs[OUTBUFS];
static client_t            clients[SESSIONS];
static uint64_t            counters[256];
static uint64_t            run, seq;
static unsigned            shared;


static int
room_for(client_t *cl, size_t n)
{
    if (cl->sent == cl->given) {
        cl->sent = cl->given = 0;
        cl->npieces = 0;
    }

    return cl->given + cl->nheld + n < STREAM / 2
           && cl->npieces + cl->nheld_pieces < PIECES / 2;
}


static fanout_outbuf_t *
outbuf(void)
{
    unsigned          i, n, k;
    fanout_outbuf_t  *f;

    i = draw(OUTBUFS);

    if (outbufs[i] && draw(4)) {
        return outbufs[i];
    }

    if (outbufs[i]) {
        fanout_outbuf_release(&hub, outbufs[i]);
        outbufs[i] = NULL;
    }

    n = draw(4) ? 1 + draw(300) : 1 + draw(20000);
    f = fanout_outbuf_create(&hub, n);
    if (f == NULL) {
        return NULL;
    }

    for (k = 0; k < n; k++) {
        f->data[k] = rnd(&own) >> 40;
    }

    f->used = n;
    seq += 10;

    if (draw(4)) {
        fanout_outbuf_entries(f, &channel, seq * 2, seq);
    }

    outbufs[i] = f;

    return f;
}


/* One outbuf to some sessions, all of it or a part; or the next part of what
 * was given last. */

static void
push(void)
{
    uint32_t          start, end;
    unsigned          i, n, lagged;
    client_t         *cl;
    fanout_outbuf_t  *f;

    f = outbuf();
    if (f == NULL) {
        return;
    }

    start = draw(3) ? 0 : draw(f->used + 1);
    end = draw(3) ? f->used : start + draw(f->used - start + 1);
    n = 1 + draw(SESSIONS);
    shared += n > 1;

    for (i = draw(SESSIONS); n; n--, i = (i + 1) % SESSIONS) {
        cl = &clients[i];

        if (!room_for(cl, f->used)) {
            continue;
        }

        lagged = cl->lagged;

        if (draw(2)) {
            fanout_session_enqueue(&cl->sub, f, start, end);

        } else {
            fanout_session_push(&cl->s, f, start, end);

            if (cl->lagged == lagged) {
                given(cl, f, start, end);
            }

            continue;
        }

        if (cl->lagged != lagged) {
            continue;
        }

        if (cl->s.withheld == NULL) {
            given(cl, f, start, end);

        } else {
            withheld(cl, f, start, end);
        }
    }
}


static void
own_bytes(client_t *cl)
{
    u_char           text[300];
    unsigned         i, n;
    fanout_outbuf_t  f;

    if (!room_for(cl, sizeof(text)) || memory_refuse) {
        return;
    }

    n = draw(sizeof(text) - 2);

    for (i = 0; i < n; i++) {
        text[i + 1] = rnd(&own) >> 40;
    }

    text[0] = '<';
    text[n + 1] = '>';
    memset(&f, 0, sizeof(f));
    f.data = text;

    if (draw(2)) {
        fanout_session_send(&cl->s, 1, text + 1, n);

        if (cl->s.state == FANOUT_OPEN) {
            given(cl, &f, 0, n + 2);
        }

    } else {
        fanout_session_bytes(&cl->s, text, n);
        given(cl, &f, 0, n);
    }
}


/* entries wait for replies; then they follow these */

static void
hold(client_t *cl)
{
    if (cl->s.withheld == NULL) {
        if (!cl->ended) {
            cl->s.withheld = ngx_calloc(sizeof(fanout_withheld_t), NULL);
        }

        return;
    }

    if (memory_refuse || !room_for(cl, 0)) {
        return;
    }

    fanout_outbox_join(&cl->s);
    settled(cl);
}


/* a socket can take more */

static void
writable(client_t *cl)
{
    if (cl->ended) {
        return;
    }

    cl->write.ready = 1;

    if (cl->s.blocked) {
        fanout_session_unblocked(&cl->s);
    }

    fanout_outbox_queue(&cl->s);
}


static int
flush(void)
{
    unsigned  i;

    hub.in_turn = 1;
    hub.drain.posted = 0;
    fanout_session_flush(&hub);
    hub.in_turn = 0;

    for (i = 0; i < SESSIONS; i++) {
        if (!clients[i].ended && dropped(&clients[i]) != 0) {
            return -1;
        }
    }

    return error[0] ? -1 : 0;
}


static int
check(void)
{
    uint32_t           refs;
    unsigned           i, k, n, stuck;
    fanout_session_t  *s;

    for (stuck = 0, i = 0; i < SESSIONS; i++) {
        stuck += clients[i].s.sticks;

        if (check_client(&clients[i]) != 0) {
            return -1;
        }
    }

    if (stuck != hub.nstuck) {
        return wrong("%u are stuck, not %u", (unsigned) hub.nstuck, stuck);
    }

    if (!ngx_queue_empty(&hub.flush) && !hub.drain.posted) {
        return wrong("there is output, and no turn comes");
    }

    for (k = 0; k < OUTBUFS; k++) {
        for (refs = outbufs[k] != NULL, i = 0; i < SESSIONS; i++) {
            s = &clients[i].s;

            for (n = 0; n < s->nout; n++) {
                refs += s->out[(s->out_head + n) & (s->nout_max - 1)].outbuf
                        == outbufs[k];
            }

            for (n = 0; s->withheld && n < s->withheld->n; n++) {
                refs += s->withheld->segments[n].outbuf == outbufs[k];
            }
        }

        if (outbufs[k] && outbufs[k]->refs != refs) {
            return wrong("%u references, not %u", outbufs[k]->refs, refs);
        }
    }

    return 0;
}


static int
step(void)
{
    unsigned   op;
    client_t  *cl;

    ngx_current_msec += draw(50);
    cl = &clients[draw(SESSIONS)];
    op = draw(100);

    if (op < 35) {
        push();

    } else if (op < 42) {
        own_bytes(cl);

    } else if (op < 48) {
        hold(cl);

    } else if (op < 75) {
        return flush();

    } else if (op < 97) {
        writable(cl);

    } else if (cl->ended) {
        if (release(cl) != 0) {
            return -1;
        }

        open_client(cl);

    } else if (op == 99 && draw(8) == 0) {
        fanout_session_end(&cl->s, FANOUT_END_CLEAN);
    }

    return 0;
}


static void
begin(size_t frames)
{
    unsigned  i;

    memset(&hub, 0, sizeof(hub));
    memset(&app, 0, sizeof(app));
    memset(&transport, 0, sizeof(transport));

    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);
    ngx_queue_init(&hub.flush);
    ngx_queue_init(&hub.stuck);

    fanout_turn_init(&hub, ngx_cycle->log);

    hub.app = &app;
    hub.counters = counters;
    hub.drain.log = ngx_cycle->log;
    hub.in_work = 1;
    app.frames = frames;
    conf.send_timeout = 60000;
    transport.framing = &framing;
    channel.epoch = 5;
    memory_blocks = 0;
    memory_refuse = 0;
    errors = 0;
    willing = 0;
    error[0] = '\0';

    for (i = 0; i < SESSIONS; i++) {
        open_client(&clients[i]);
    }
}


/* all sockets take all: each has got what it was given */

static int
end(void)
{
    unsigned  i;

    memory_refuse = 0;
    errors = 0;
    willing = 1;
    app.frames = 1000000000;

    for (i = 0; i < SESSIONS; i++) {
        writable(&clients[i]);
    }

    if (flush() != 0 || check() != 0) {
        return -1;
    }

    for (i = 0; i < SESSIONS; i++) {
        if (!clients[i].ended && clients[i].sent != clients[i].given) {
            return wrong("session %u does not get its output", i);
        }

        if (release(&clients[i]) != 0) {
            return -1;
        }
    }

    for (i = 0; i < OUTBUFS; i++) {
        if (outbufs[i]) {
            fanout_outbuf_release(&hub, outbufs[i]);
            outbufs[i] = NULL;
        }
    }

    return hub.output_bytes || memory_blocks
           ? wrong("%zu bytes and %ld blocks are left", hub.output_bytes,
                   memory_blocks)
           : 0;
}


static void
history(unsigned n, size_t frames, unsigned fails, unsigned refuse)
{
    int       rc;
    unsigned  i;

    own = run + n * 1000003ULL;
    begin(frames);
    errors = fails;
    memory_seed = own;
    memory_refuse = refuse;

    for (rc = 0, i = 0; i < 3000 && rc == 0; i++) {
        rc = step();
        rc = rc ? rc : check();
    }

    rc = rc ? rc : end();

    if (rc) {
        ok(0, "history %u, step %u: %s", n, i, error);
        diag("ZONE_SEED=%llu (history %u)", (unsigned long long) run, n);
    }
}


/* one thing after the other */

static client_t *
alone(const char *text)
{
    client_t         *cl;
    fanout_outbuf_t   f;

    own = 1;
    begin(1000000000);
    cl = &clients[0];
    cl->tls = 0;

    memset(&f, 0, sizeof(f));
    f.data = (u_char *) text;
    given(cl, &f, 0, strlen(text));
    fanout_session_bytes(&cl->s, (u_char *) text, strlen(text));

    return cl;
}


static void
limits(void)
{
    client_t         *cl;
    fanout_outbuf_t  *f;

    cl = alone("");
    conf.buffer = 100;

    ok(!fanout_session_full(&cl->s, 1000), "who has nothing pending gets it");

    cl = alone("sixty bytes, sixty bytes, sixty bytes, sixty bytes, sixty by");
    ok(!fanout_session_full(&cl->s, 40), "up to fanout_buffer");
    ok(fanout_session_full(&cl->s, 41), "and no more");

    cl->s.withheld = ngx_calloc(sizeof(fanout_withheld_t), NULL);
    ok(!fanout_session_full(&cl->s, 100), "what is withheld is apart");
    f = fanout_outbuf_create(&hub, 60);
    f->used = 60;
    fanout_session_enqueue(&cl->sub, f, 0, 60);
    ok(fanout_session_full(&cl->s, 41), "and has the same limit");
    is_int(cl->s.pending, 60, "none of it is pending");
    is_int(f->refs, 2, "it is held");
    cl->ended = 1;
    fanout_outbuf_release(&hub, f);
    (void) release(cl);

    cl = alone("sixty bytes, sixty bytes, sixty bytes, sixty bytes, sixty by");
    hub.app->frames = 40;
    ok(fanout_session_full(&cl->s, 1),
       "in a worker that is full, who holds more than its share gets nothing");
    ok(end() == 0, "nothing is left: %s", error);
}


static unsigned  placed;

static void
place(fanout_subscription_t *sub, fanout_outbuf_t *f, uint32_t start,
    uint32_t end)
{
    placed++;
}


static void
ends(void)
{
    client_t         *cl;
    fanout_outbuf_t  *f;

    cl = alone("goodbye");
    cl->s.close_after = 1 + FANOUT_END_CLEAN;
    cl->s.blocked = 1;
    (void) flush();
    ok(!cl->ended, "a session that is to end has to send first");
    willing = 1;
    writable(cl);
    (void) flush();
    ok(cl->ended && cl->s.finish, "it ends when all is sent");
    is_int(cl->how, FANOUT_END_CLEAN, "as it is to");
    is_int(cl->sent, 7, "which it is");
    ok(end() == 0, "nothing is left: %s", error);

    cl = alone("goodbye");
    cl->s.close_after = 1 + FANOUT_END_CLEAN;
    most = 3;
    (void) flush();
    ok(!cl->ended && cl->sent == 3, "nor does it end by a part of it");
    ok(cl->s.blocked && cl->s.sent_at, "it waits for its socket");
    most = 0;
    willing = 1;
    writable(cl);
    (void) flush();
    ok(cl->ended, "and ends behind the rest");
    ok(end() == 0, "nothing is left: %s", error);

    cl = alone("later");
    most = 3;
    (void) flush();
    most = 0;
    willing = 1;
    writable(cl);
    (void) flush();
    ok(!cl->ended && cl->s.sent_at == 0 && cl->s.owed == 0,
       "with all sent no progress is waited for");
    fanout_session_end(&cl->s, FANOUT_END_CUT);
    f = fanout_outbuf_create(&hub, 10);
    f->used = 10;
    fanout_session_push(&cl->s, f, 0, 10);
    is_int(cl->s.pending + cl->s.nout, 0, "an ended session is given nothing");
    is_int(f->refs, 1, "and holds none of it");
    fanout_outbox_queue(&cl->s);
    ok(!cl->s.queued, "nor does it wait to send");
    fanout_outbuf_release(&hub, f);
    ok(end() == 0, "nothing is left: %s", error);

    cl = alone("lost");
    errors = 1;
    (void) flush();
    ok(cl->ended && cl->how == FANOUT_END_CUT, "an error of a socket cuts it");
    ok(end() == 0, "nothing is left: %s", error);

    cl = alone("to nobody");
    errors = 1;
    transport.gone = 1;
    (void) flush();
    ok(!cl->ended && cl->s.nout == 0, "who has gone gets nothing, and goes on");
    errors = 0;
    sends = 0;
    fanout_session_bytes(&cl->s, (u_char *) "more", 4);
    (void) flush();
    is_int(sends + cl->s.nout, 0, "nothing is sent to it again");
    ok(end() == 0, "nothing is left: %s", error);

    cl = alone("held");
    cl->s.paused = 1;
    willing = 1;
    (void) flush();
    ok(cl->read.posted && !cl->s.paused, "its input goes on when all is sent");
    ok(end() == 0, "nothing is left: %s", error);

    cl = alone("slow");
    cl->s.behind = 1;
    hub.in_work = 0;
    (void) flush();
    writable(cl);
    willing = 1;
    (void) flush();
    ok(cl->worked > 0, "and its work");
    ok(end() == 0, "nothing is left: %s", error);

    cl = alone("");
    f = fanout_outbuf_create(&hub, 10);
    f->used = 10;
    transport.place = place;
    cl->s.nsubs = 2;
    fanout_session_enqueue(&cl->sub, f, 0, 10);
    is_int(placed, 1, "out of the zone's order the transport places entries");
    hub.ordered = 1;
    fanout_session_enqueue(&cl->sub, f, 0, 10);
    is_int(placed, 1, "in it they are pushed as they are");
    given(cl, f, 0, 10);
    fanout_outbuf_release(&hub, f);
    ok(end() == 0, "nothing is left: %s", error);
}


static void
stalls(void)
{
    client_t  *cl;

    ngx_current_msec = 100000;
    cl = alone("a client that does not read");
    fanout_session_blocked(&cl->s, 0);
    cl->write.ready = 0;
    is_int(hub.nstuck, 1, "a full socket is counted");
    fanout_session_blocked(&cl->s, 0);
    is_int(hub.nstuck, 1, "once");

    ngx_current_msec += conf.send_timeout - 1;
    ok(!fanout_session_stalled(&cl->s), "it has fanout_send_timeout");
    ngx_current_msec++;
    ok(fanout_session_stalled(&cl->s), "and then it is stalled");

    fanout_session_blocked(&cl->s, 1);
    ok(!fanout_session_stalled(&cl->s), "any progress is good");

    ngx_current_msec += 15 * conf.send_timeout;
    fanout_session_blocked(&cl->s, 1);
    ok(fanout_session_stalled(&cl->s), "but not a byte at a time for ever");

    ok(end() == 0, "nothing is left: %s", error);
}


int
main(void)
{
    unsigned  i;

    limits();
    ends();
    stalls();

    run = seed_of_run();

    for (i = 0; i < 40 && !tap_failed; i++) {
        history(i, i % 2 ? 40000 : 1000000000, i % 5 == 1 ? 300 : 0,
                i % 4 == 3 ? 40 : 0);
    }

    ok(!tap_failed, "%u sends, %u in part, %u of nothing, %u repeated; "
       "%u outbufs shared; %u times the end was let go, %u cut, %u lagged",
       sends, partial, again, retried, shared, shed, cut, lags);
    ok(partial && again && retried && shared && shed && cut && lags,
       "all of it was met");

    return done_testing();
}
