/*
 * Sessions without a worker, their connections, and what the files of
 * src/session use of others.
 */


#include "hub/replay.h"
#include "outbox_client.h"
#include "session/compress.h"
#include "session/socket.h"


ngx_uint_t           ngx_event_flags;
ngx_rbtree_t         ngx_event_timer_rbtree;

fanout_hub_t         hub;
fanout_loc_conf_t    conf;
fanout_transport_t   transport;
fanout_channel_t     channel;
uint64_t             own;
unsigned             errors;
int                  willing;
unsigned             most;
unsigned             sends, partial, again, retried, shed, cut, lags;
char                 error[256];

static u_char        all[STREAM];


unsigned
draw(unsigned n)
{
    return (rnd(&own) >> 32) % n;
}


int
wrong(const char *fmt, ...)
{
    va_list  args;

    if (error[0] == '\0') {
        va_start(args, fmt);
        vsnprintf(error, sizeof(error), fmt, args);
        va_end(args);
    }

    return -1;
}


static client_t *
client_of(fanout_session_t *s)
{
    return (client_t *) s;
}


/* what the files of src/session use of others */

ngx_uint_t
fanout_socket_tls(ngx_connection_t *c)
{
    return ((client_t *) c->data)->tls;
}


ngx_int_t
fanout_socket_unacked(ngx_connection_t *c)
{
    return -1;
}


ngx_int_t
ngx_handle_write_event(ngx_event_t *wev, size_t lowat)
{
    return NGX_OK;
}


void
fanout_session_end(fanout_session_t *s, ngx_uint_t how)
{
    client_t  *cl;

    cl = client_of(s);

    if (s->state == FANOUT_ENDED) {
        return;
    }

    s->state = FANOUT_ENDED;
    cl->ended = 1;
    cl->how = how;

    if (s->queued) {
        ngx_queue_remove(&s->flush);
        s->queued = 0;
    }

    fanout_session_rest(s);
    fanout_session_unblocked(s);
    s->blocked = 1;
}


void
fanout_session_lag(fanout_session_t *s)
{
    client_of(s)->lagged++;
    lags++;
}


void
fanout_session_catch_up(fanout_session_t *s)
{
    client_of(s)->worked++;
}


void
fanout_session_input(fanout_session_t *s)
{
}


void
fanout_session_read_now(fanout_session_t *s)
{
}


uint64_t
fanout_denial_last(fanout_zone_t *z)
{
    return 0;
}


void
fanout_replay_clear(fanout_hub_t *h)
{
}


void
fanout_compress_expire(fanout_hub_t *h, ngx_uint_t some)
{
}


void
fanout_session_log_ended(fanout_session_t *s, ngx_uint_t code,
    const char *reason)
{
    cut++;
}


static ngx_int_t
frame_begin(fanout_hub_t *h, fanout_outbuf_t *f, uint32_t *start)
{
    *start = f->used;

    return fanout_outbuf_literal(h, f, "<");
}


static ngx_int_t
frame_end(fanout_hub_t *h, fanout_outbuf_t *f, uint32_t start,
    ngx_uint_t opcode)
{
    return fanout_outbuf_literal(h, f, ">");
}


const fanout_framing_t  framing = {
    .begin = frame_begin, .end = frame_end
};


/* A connection: takes all, some or nothing; by TLS a record or nothing, which
 * has to be given again as it was. */

static ssize_t
fake_send(ngx_connection_t *c, u_char *p, size_t len)
{
    size_t     n;
    client_t  *cl;

    cl = c->data;
    sends++;

    if (cl->s.blocked || cl->s.state == FANOUT_ENDED) {
        return wrong("a send to a socket that is full or closed");
    }

    if (len == 0 || len > cl->given - cl->sent
        || memcmp(p, cl->want + cl->sent, len) != 0)
    {
        return wrong("other bytes than were given, %zu at %zu", len, cl->sent);
    }

    if (cl->tls && len > FANOUT_TLS_RECORD) {
        return wrong("%zu bytes in a record", len);
    }

    if (cl->again) {
        if (p != cl->again || len != cl->again_len) {
            return wrong("a TLS write is not repeated as it was");
        }

        retried++;
        cl->again = NULL;
    }

    if (errors && draw(errors) == 0) {
        return NGX_ERROR;
    }

    n = len;

    if (most) {
        n = len < most ? len : most;
        cl->write.ready = 0;

    } else if (!willing) {
        switch (draw(8)) {

        case 0:
        case 1:
            cl->write.ready = 0;
            again++;

            if (cl->tls) {
                cl->again = p;
                cl->again_len = len;
            }

            return NGX_AGAIN;

        case 2:
        case 3:
        case 4:
            if (!cl->tls) {
                n = 1 + draw(len);
                partial += n < len;
                cl->write.ready = n == len;
            }
        }
    }

    cl->sent += n;

    return n;
}


/* a piece of an outbuf behind n bytes of others */

static void
note(piece_t *p, size_t n, fanout_outbuf_t *f, uint32_t start, uint32_t end)
{
    p->at = n;
    p->len = end - start;
    p->start = start;
    p->after = f->after;
    p->entries = f->local != 0;
}


/* what a session is given, at once or when it settles */

void
given(client_t *cl, fanout_outbuf_t *f, uint32_t start, uint32_t end)
{
    if (cl->ended || start == end) {
        return;
    }

    note(&cl->pieces[cl->npieces++], cl->given, f, start, end);
    memcpy(cl->want + cl->given, f->data + start, end - start);
    cl->given += end - start;
    cl->dropped = 0;
}


void
withheld(client_t *cl, fanout_outbuf_t *f, uint32_t start, uint32_t end)
{
    note(&cl->held_pieces[cl->nheld_pieces++], cl->nheld, f, start, end);
    memcpy(cl->held + cl->nheld, f->data + start, end - start);
    cl->nheld += end - start;
}


void
settled(client_t *cl)
{
    piece_t     *p;
    ngx_uint_t   i;

    for (i = 0; i < cl->nheld_pieces && !cl->ended; i++) {
        p = &cl->held_pieces[i];

        if (p->len) {
            cl->pieces[cl->npieces] = *p;
            cl->pieces[cl->npieces++].at = cl->given + p->at;
        }
    }

    memcpy(cl->want + cl->given, cl->held, cl->nheld);
    cl->given += cl->nheld;
    cl->nheld = cl->nheld_pieces = 0;
}


int
dropped(client_t *cl)
{
    size_t    left;
    piece_t  *p;

    if (cl->s.deaf) {
        cl->given = cl->sent = 0;
        return 0;
    }

    left = cl->sent + cl->s.pending;
    p = NULL;

    while (left < cl->given) {
        p = &cl->pieces[--cl->npieces];

        if (!p->entries || p->at < left || p->at < cl->sent) {
            return wrong("output was dropped that is nowhere else");
        }

        cl->given -= p->len;
    }

    if (p == NULL) {
        return 0;
    }

    shed++;
    cl->dropped = 1;

    return p->start == 0 && cl->sub.state == FANOUT_SUB_BEHIND
           && cl->sub.offset == p->after && cl->s.behind
           ? 0 : wrong("entries after %llu are lost",
                       (unsigned long long) p->after);
}


void
open_client(client_t *cl)
{
    fanout_session_t  *s;

    memset(cl, 0, sizeof(client_t));

    s = &cl->s;
    s->hub = &hub;
    s->conf = &conf;
    s->transport = &transport;
    s->connection = &cl->c;
    s->logged = 1;
    s->out = s->few;
    s->nout_max = 2;
    ngx_queue_init(&s->subs);

    cl->tls = draw(3) == 0;
    cl->c.data = cl;
    cl->c.send = fake_send;
    cl->c.read = &cl->read;
    cl->c.write = &cl->write;
    cl->c.log = cl->read.log = cl->write.log = ngx_cycle->log;
    cl->write.ready = 1;
    cl->read.timer_set = 1;
    cl->read.timer.key = ngx_current_msec;

    cl->sub.session = s;
    cl->sub.channel = &channel;
    cl->sub.state = FANOUT_SUB_LIVE;
    ngx_queue_insert_tail(&s->subs, &cl->sub.in_session);
}


/* as the reaper does */

int
release(client_t *cl)
{
    fanout_session_end(&cl->s, FANOUT_END_CUT);
    fanout_outbox_join(&cl->s);
    fanout_outbox_clear(&cl->s);

    return cl->s.out == cl->s.few && cl->s.nout == 0 && cl->s.withheld == NULL
           ? 0 : wrong("output of who has ended");
}


int
check_client(client_t *cl)
{
    size_t             n;
    fanout_session_t  *s;

    s = &cl->s;

    if (cl->ended) {
        return s->queued || s->sticks ? wrong("an ended one is queued") : 0;
    }

    if (s->pending != cl->given - cl->sent) {
        return wrong("%zu bytes pending, not %zu", s->pending,
                     cl->given - cl->sent);
    }

    n = fanout_outbox_copy(s, all, STREAM);

    if (n != s->pending || memcmp(all, cl->want + cl->sent, n) != 0) {
        return wrong("other bytes are pending than were given");
    }

    if (s->withheld && s->withheld->bytes != cl->nheld) {
        return wrong("%zu bytes withheld, not %zu", s->withheld->bytes,
                     cl->nheld);
    }

    if (s->pending && !s->blocked && !s->queued) {
        return wrong("output that nobody sends");
    }

    if (s->blocked && cl->write.ready) {
        return wrong("blocked, though the socket can take more");
    }

    if (s->nout > s->nout_max || (s->pending && s->owed > s->pending)
        || (s->nout == 0 && (s->pending || (s->out != s->few && !cl->dropped))))
    {
        return wrong("%u pieces of %u", s->nout, s->nout_max);
    }

    return 0;
}
