
#define _GNU_SOURCE

#include "wire.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>


#define EVENTS    512
#define IN_START  (256 * 1024)


/* The example of RFC 6455, section 1.3: the answer to it is known. */

#define KEY     "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT  "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


static int                 epfd;
static char               *in;
static size_t              in_cap;
static uint64_t            rnd = 0x9e3779b97f4a7c15;
static struct sockaddr_in  to;
static int                 deflate_on;
static z_stream            inflater;


static void
give_up(const char *what)
{
    perror(what);
    exit(2);
}


uint64_t
wire_random(void)
{
    rnd ^= rnd << 13;
    rnd ^= rnd >> 7;
    rnd ^= rnd << 17;

    return rnd;
}


void
wire_deflate(void)
{
    deflate_on = 1;

    if (inflateInit2(&inflater, -15) != Z_OK) {
        give_up("inflateInit2");
    }
}


void
wire_seed(uint64_t seed)
{
    rnd = (seed + 1) * 0x9e3779b97f4a7c15;
}


void
wire_init(int port)
{
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    in_cap = IN_START;
    in = malloc(in_cap);
    epfd = epoll_create1(EPOLL_CLOEXEC);

    if (epfd < 0 || in == NULL) {
        give_up("wire_init");
    }
}


static void
watch(wire_t *w, int how, uint32_t events)
{
    struct epoll_event  ev;

    ev.events = events;
    ev.data.ptr = w;

    if (epoll_ctl(epfd, how, w->fd, &ev) < 0) {
        give_up("epoll_ctl");
    }
}


static int
dial(wire_t *w, const wire_calls_t *calls)
{
    int  one;

    one = 1;

    w->calls = calls;
    w->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (w->fd < 0) {
        return -1;
    }

    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    if (connect(w->fd, (struct sockaddr *) &to, sizeof(to)) < 0
        && errno != EINPROGRESS)
    {
        close(w->fd);
        return -1;
    }

    w->state = WIRE_CONNECTING;
    w->armed = 1;
    watch(w, EPOLL_CTL_ADD, EPOLLIN|EPOLLOUT);

    return 0;
}


int
wire_open_http(wire_t *w, const wire_calls_t *calls)
{
    w->http = 1;
    w->events = 0;

    return dial(w, calls);
}


int
wire_open_events(wire_t *w, const wire_calls_t *calls, const char *path)
{
    int   n;
    char  text[8192];

    w->http = 0;
    w->events = 1;
    w->chunk = 0;
    w->size = 0;

    if (dial(w, calls) < 0) {
        return -1;
    }

    n = snprintf(text, sizeof(text),
                 "GET %s HTTP/1.1\r\n"
                 "Host: 127.0.0.1:%d\r\n"
                 "Accept: text/event-stream\r\n\r\n",
                 path, ntohs(to.sin_port));

    if (n < 0 || (size_t) n >= sizeof(text)) {
        errno = ENAMETOOLONG;
        give_up("wire_open_events");
    }

    wire_bytes(w, text, n);

    return 0;
}


int
wire_open(wire_t *w, const wire_calls_t *calls, const char *path,
    const char *protocols)
{
    int   n;
    char  text[1024];

    w->http = 0;
    w->events = 0;

    if (dial(w, calls) < 0) {
        return -1;
    }

    n = snprintf(text, sizeof(text),
                 "GET %s HTTP/1.1\r\n"
                 "Host: 127.0.0.1:%d\r\n"
                 "Connection: Upgrade\r\n"
                 "Upgrade: websocket\r\n"
                 "Sec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: " KEY "\r\n"
                 "%s%s%s%s\r\n",
                 path, ntohs(to.sin_port),
                 deflate_on ? "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                            : "",
                 protocols ? "Sec-WebSocket-Protocol: " : "",
                 protocols ? protocols : "", protocols ? "\r\n" : "");

    if (n < 0 || (size_t) n >= sizeof(text)) {
        errno = ENAMETOOLONG;
        give_up("wire_open");
    }

    wire_bytes(w, text, n);

    return 0;
}


void
wire_close(wire_t *w, int reset)
{
    struct linger  l;

    if (w->state == WIRE_DOWN) {
        return;
    }

    if (reset) {
        l.l_onoff = 1;
        l.l_linger = 0;
        setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    }

    close(w->fd);

    free(w->keep);
    free(w->part);
    free(w->out);

    w->state = WIRE_DOWN;
    w->fd = -1;
    w->keep = w->part = w->out = NULL;
    w->nkeep = w->npart = w->nout = w->pos = w->cap = 0;
    w->armed = w->paused = 0;
}


static void
lost(wire_t *w, const char *why)
{
    wire_close(w, 0);
    w->calls->down(w, why);
}


static char *
room(wire_t *w, size_t n)
{
    char  *p;

    if (w->nout + n > w->cap) {
        w->cap = (w->nout + n) * 2;
        w->out = realloc(w->out, w->cap);

        if (w->out == NULL) {
            give_up("realloc");
        }
    }

    p = w->out + w->nout;
    w->nout += n;

    return p;
}


void
wire_bytes(wire_t *w, const char *data, size_t n)
{
    memcpy(room(w, n), data, n);
}


void
wire_frame(wire_t *w, int op, const char *data, size_t n)
{
    char     *p, mask[4];
    size_t    i, head;
    uint32_t  m;

    head = n < 126 ? 2 : n < 65536 ? 4 : 10;
    p = room(w, head + 4 + n);

    p[0] = 0x80 | op;
    p[1] = 0x80 | (n < 126 ? n : n < 65536 ? 126 : 127);

    for (i = 2; i < head; i++) {
        p[i] = (uint64_t) n >> (8 * (head - 1 - i));
    }

    m = wire_random();
    memcpy(mask, &m, 4);
    memcpy(p + head, mask, 4);
    p += head + 4;

    for (i = 0; i < n; i++) {
        p[i] = data[i] ^ mask[i & 3];
    }
}


static void
interest(wire_t *w)
{
    watch(w, EPOLL_CTL_MOD,
          (w->paused ? 0 : EPOLLIN) | (w->armed ? EPOLLOUT : 0));
}


static void
arm(wire_t *w, int on)
{
    if (w->armed != on) {
        w->armed = on;
        interest(w);
    }
}


void
wire_pause(wire_t *w, int paused)
{
    if (w->state == WIRE_OPEN || w->state == WIRE_EVENTS) {
        w->paused = paused;
        interest(w);
    }
}


void
wire_flush(wire_t *w)
{
    ssize_t  n;

    if (w->state == WIRE_DOWN || w->state == WIRE_CONNECTING) {
        return;
    }

    while (w->pos < w->nout) {
        n = send(w->fd, w->out + w->pos, w->nout - w->pos, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n < 0) {
            /* if the connection is broken, reading will tell */
            arm(w, errno == EAGAIN);
            return;
        }

        w->pos += n;
    }

    w->pos = w->nout = 0;
    arm(w, 0);
}


static void *
append(char *to_, size_t have, const char *data, size_t n)
{
    to_ = realloc(to_, have + n + 1);

    if (to_ == NULL) {
        give_up("realloc");
    }

    memcpy(to_ + have, data, n);

    return to_;
}


static void
message(wire_t *w, int fin, int op, char *data, size_t n)
{
    char  *whole;

    if (fin && op && w->part == NULL) {
        w->calls->frame(w, op, data, n);
        return;
    }

    if (op) {
        w->part_op = op;
    }

    w->part = append(w->part, w->npart, data, n);
    w->npart += n;

    if (fin) {
        whole = w->part;
        n = w->npart;
        w->part = NULL;
        w->npart = 0;
        w->calls->frame(w, w->part_op, whole, n);
        free(whole);
    }
}


/*
 * Inflates a message.  All subscribers are sent the same bytes, so what was
 * inflated last mostly is what comes next.
 */

static char *
inflated(const char *data, size_t *n)
{
    static char    last[65536], text[262144], result[262144];
    static size_t  nlast, nresult;

    if (*n != nlast || memcmp(data, last, *n) != 0) {

        if (*n + 4 > sizeof(last)) {
            return NULL;
        }

        memcpy(last, data, *n);
        memcpy(last + *n, "\0\0\377\377", 4);
        nlast = *n;

        inflateReset(&inflater);
        inflater.next_in = (unsigned char *) last;
        inflater.avail_in = *n + 4;
        inflater.next_out = (unsigned char *) result;
        inflater.avail_out = sizeof(result);

        if (inflate(&inflater, Z_SYNC_FLUSH) != Z_OK || inflater.avail_in) {
            nlast = 0;
            return NULL;
        }

        nresult = sizeof(result) - inflater.avail_out;
    }

    /* who gets it may write into it */

    memcpy(text, result, nresult);
    *n = nresult;

    return text;
}


/* One frame at p: its whole length, 0 if it is not all there, -1 if bad. */

static ssize_t
take_frame(wire_t *w, char *p, size_t have)
{
    int            op, fin;
    char           *text;
    size_t         i, head, n, plain;
    unsigned char  *u;

    u = (unsigned char *) p;

    if (have < 2) {
        return 0;
    }

    if (u[0] & (deflate_on ? 0x30 : 0x70) || u[1] & 0x80) {
        return -1;
    }

    n = u[1];
    head = n < 126 ? 2 : n == 126 ? 4 : 10;

    if (have < head) {
        return 0;
    }

    if (head > 2) {
        for (n = 0, i = 2; i < head; i++) {
            n = n << 8 | u[i];
        }
    }

    if (have - head < n) {
        return 0;
    }

    op = u[0] & 15;
    fin = u[0] >> 7;

    if (u[0] & 0x40) {
        plain = n;
        text = fin ? inflated(p + head, &plain) : NULL;

        if (text == NULL) {
            return -1;
        }

        message(w, fin, op, text, plain);

        return head + n;
    }

    if (op == WIRE_PING) {
        wire_frame(w, WIRE_PONG, p + head, n);
        wire_flush(w);
    }

    if (op >= WIRE_CLOSE) {
        w->calls->frame(w, op, p + head, n);

    } else {
        message(w, fin, op, p + head, n);
    }

    return head + n;
}


static char *
header(char *head, const char *name)
{
    char  *p;

    p = strcasestr(head, name);

    return p ? p + strlen(name) : NULL;
}


static ssize_t
take_upgrade(wire_t *w, char *p, size_t have)
{
    char    *end, *accept;
    size_t   n;

    end = memmem(p, have, "\r\n\r\n", 4);

    if (end == NULL) {
        return have > 16384 ? -1 : 0;
    }

    n = end + 4 - p;
    end[2] = '\0';

    if (w->events) {
        if (strncmp(p, "HTTP/1.1 200", 12) != 0
            || header(p, "\r\nContent-Type: text/event-stream") == NULL)
        {
            return -1;
        }

        w->chunked = header(p, "\r\nTransfer-Encoding: chunked") != NULL;
        w->state = WIRE_EVENTS;
        w->calls->open(w);

        return n;
    }

    if (strncmp(p, "HTTP/1.1 101", 12) != 0) {
        return -1;
    }

    accept = header(p, "\r\nSec-WebSocket-Accept: ");

    if (accept == NULL || strncmp(accept, ACCEPT, sizeof(ACCEPT) - 1) != 0) {
        return -1;
    }

    if (deflate_on
        && header(p, "\r\nSec-WebSocket-Extensions: permessage-deflate")
           == NULL)
    {
        return -1;
    }

    w->state = WIRE_OPEN;
    w->calls->open(w);

    return n;
}


/* Takes the framing of chunks out of what came of a stream: what is left. */

static size_t
dechunk(wire_t *w, char *p, size_t n)
{
    char    *to, *end;
    size_t   some;

    to = p;
    end = p + n;

    while (p < end) {
        if (w->chunk) {
            some = (size_t) (end - p) < w->chunk ? (size_t) (end - p)
                                                 : w->chunk;
            memmove(to, p, some);
            w->chunk -= some;
            to += some;
            p += some;
            continue;
        }

        /* the line that ends a chunk is empty: of size 0 */

        if (isxdigit((unsigned char) *p)) {
            w->size = w->size * 16 + (isdigit((unsigned char) *p)
                                      ? *p - '0' : (*p | 0x20) - 'a' + 10);

        } else if (*p == '\n') {
            w->chunk = w->size;
            w->size = 0;
        }

        p++;
    }

    return n - (end - to);
}


/* One event: its length, 0 if it is not all there. */

static ssize_t
take_event(wire_t *w, char *p, size_t have)
{
    char    *end, *line, *next, *data, *id;
    size_t   ndata, nid;

    end = memmem(p, have, "\n\n", 2);

    if (end == NULL) {
        return 0;
    }

    data = NULL;
    id = NULL;
    ndata = 0;
    nid = 0;

    for (line = p; line <= end; line = next + 1) {
        next = memchr(line, '\n', end + 1 - line);

        if (strncmp(line, "data: ", 6) == 0) {
            data = line + 6;
            ndata = next - data;

        } else if (strncmp(line, "id: ", 4) == 0) {
            id = line + 4;
            nid = next - id;
        }
    }

    if (data) {
        w->calls->frame(w, WIRE_TEXT, data, ndata);
    }

    if (id && w->calls->id && w->state != WIRE_DOWN) {
        w->calls->id(w, id, nid);
    }

    return end + 2 - p;
}


/* Moves the chunks together: the length of all, 0 if not all there yet. */

static ssize_t
take_chunks(char *body, size_t have, size_t *n)
{
    char    *p, *end, *eol;
    size_t   size;

    p = body;
    end = body + have;
    *n = 0;

    for ( ;; ) {
        eol = memmem(p, end - p, "\r\n", 2);

        if (eol == NULL) {
            return 0;
        }

        size = strtoul(p, NULL, 16);
        p = eol + 2;

        if ((size_t) (end - p) < size + 2) {
            return 0;
        }

        if (size == 0) {
            return p + 2 - body;
        }

        /* the text in front must not change before all of it has come */
        if (memmem(p + size, end - p - size, "\r\n0\r\n\r\n", 7) == NULL) {
            return 0;
        }

        memmove(body + *n, p, size);
        *n += size;
        p += size + 2;
    }
}


static ssize_t
take_response(wire_t *w, char *p, size_t have)
{
    int      status;
    char    *end, *length, *id;
    size_t   head, n, nid;
    ssize_t  all;

    end = memmem(p, have, "\r\n\r\n", 4);

    if (end == NULL) {
        return 0;
    }

    if (sscanf(p, "HTTP/1.%*d %d", &status) != 1) {
        return -1;
    }

    head = end + 4 - p;

    end[2] = '\0';
    length = header(p, "\r\nContent-Length:");
    n = length ? strtoul(length, NULL, 10) : 0;
    all = n;
    id = header(p, "\r\nFanout-Position: ");
    nid = id ? strcspn(id, "\r") : 0;

    if (header(p, "\r\nTransfer-Encoding: chunked")) {
        all = take_chunks(p + head, have - head, &n);

        if (all == 0) {
            end[2] = '\r';
            return 0;
        }
    }

    end[2] = '\r';

    if (have - head < (size_t) all) {
        return 0;
    }

    if (id && w->calls->id) {
        w->calls->id(w, id, nid);
    }

    w->calls->response(w, status, p + head, n);

    return head + all;
}


static ssize_t
take(wire_t *w, char *p, size_t have)
{
    switch (w->state) {

    case WIRE_UPGRADING:
        return take_upgrade(w, p, have);

    case WIRE_OPEN:
        return take_frame(w, p, have);

    case WIRE_EVENTS:
        return take_event(w, p, have);

    default:
        return take_response(w, p, have);
    }
}


static void
understand(wire_t *w, size_t n)
{
    char          refused[64];
    size_t        at;
    ssize_t       used;
    wire_state_e  was;

    at = 0;

    while (at < n) {
        was = w->state;
        used = take(w, in + at, n - at);

        if (w->state == WIRE_DOWN) {
            return;
        }

        if (used < 0) {
            snprintf(refused, sizeof(refused), "answered %.12s", in + at);
            lost(w, w->state == WIRE_OPEN ? WIRE_BAD_FRAME : refused);
            return;
        }

        if (used == 0) {
            break;
        }

        at += used;

        if (was == WIRE_UPGRADING && w->state == WIRE_EVENTS && w->chunked) {
            n = at + dechunk(w, in + at, n - at);
        }
    }

    free(w->keep);
    w->keep = at < n ? append(NULL, 0, in + at, n - at) : NULL;
    w->nkeep = n - at;
}


static void
input(wire_t *w)
{
    ssize_t  n;

    if (w->nkeep > in_cap / 2) {
        in_cap = w->nkeep * 4;
        in = realloc(in, in_cap);

        if (in == NULL) {
            give_up("realloc");
        }
    }

    n = recv(w->fd, in + w->nkeep, in_cap - w->nkeep - 1, 0);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            lost(w, strerror(errno));
        }

        return;
    }

    if (n == 0) {
        lost(w, "end of stream");
        return;
    }

    if (w->state == WIRE_EVENTS && w->chunked) {
        n = dechunk(w, in + w->nkeep, n);
    }

    if (w->nkeep) {
        memcpy(in, w->keep, w->nkeep);
        n += w->nkeep;
    }

    understand(w, n);
}


static void
connected(wire_t *w)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(err);

    getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &err, &len);

    if (err) {
        lost(w, strerror(err));
        return;
    }

    w->state = w->http ? WIRE_HTTP : WIRE_UPGRADING;

    if (w->http) {
        w->calls->open(w);
    }

    wire_flush(w);
}


static void
event(wire_t *w, uint32_t events)
{
    if (w->state == WIRE_DOWN) {
        return;
    }

    if (w->state == WIRE_CONNECTING) {
        connected(w);
        return;
    }

    if (events & EPOLLOUT) {
        wire_flush(w);
    }

    if (events & (EPOLLIN|EPOLLHUP|EPOLLERR)) {
        input(w);
    }
}


int
wire_poll(int ms)
{
    int                 i, n;
    struct epoll_event  list[EVENTS];

    n = epoll_wait(epfd, list, EVENTS, ms);

    for (i = 0; i < n; i++) {
        event(list[i].data.ptr, list[i].events);
    }

    return n;
}
