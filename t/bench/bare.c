
/*
 * The floor.  One epoll loop; each message of the publisher (GET /pub) goes
 * to every subscriber (any other path) as one prepared frame by one send()
 * each.  Nothing else is done for it: no names, no history, no state.  With
 * several messages in flight it does the same for each of them.
 *
 *     bare [port]          prints the port it listens on
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>


#define EVENTS  512
#define IN      65536


typedef struct {
    int     fd;
    int     open;
    int     publisher;
    int     at;              /* place among the subscribers */
    char   *rest;            /* what a socket did not take: rare */
    size_t  nrest;
    char   *keep;            /* publisher: part of a frame */
    size_t  nkeep;
} client_t;


static int         epfd;
static int         nsubs, capsubs;
static client_t  **subs;
static char        in[IN * 2];
static char        frame[IN + 16];


static const char  upgrade[] =
    "HTTP/1.1 101 Switching Protocols\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";


static void
give_up(const char *what)
{
    perror(what);
    exit(2);
}


static void
watch(client_t *c, int how, uint32_t events)
{
    struct epoll_event  ev;

    ev.events = events;
    ev.data.ptr = c;

    if (epoll_ctl(epfd, how, c->fd, &ev) < 0) {
        give_up("epoll_ctl");
    }
}


static void
drop(client_t *c)
{
    if (c->open && !c->publisher) {
        subs[c->at] = subs[--nsubs];
        subs[c->at]->at = c->at;
    }

    close(c->fd);
    free(c->rest);
    free(c->keep);
    free(c);
}


static void
subscribe(client_t *c)
{
    if (nsubs == capsubs) {
        capsubs = capsubs ? capsubs * 2 : 1024;
        subs = realloc(subs, capsubs * sizeof(client_t *));

        if (subs == NULL) {
            give_up("realloc");
        }
    }

    c->at = nsubs;
    subs[nsubs++] = c;
}


static void
hold(client_t *c, const char *data, size_t n)
{
    if (c->nrest == 0) {
        watch(c, EPOLL_CTL_MOD, EPOLLIN|EPOLLOUT);
    }

    c->rest = realloc(c->rest, c->nrest + n);

    if (c->rest == NULL) {
        give_up("realloc");
    }

    memcpy(c->rest + c->nrest, data, n);
    c->nrest += n;
}


static void
to_all(const char *data, size_t n)
{
    int        i;
    ssize_t    sent;
    client_t  *c;

    for (i = 0; i < nsubs; i++) {
        c = subs[i];

        if (c->nrest) {
            hold(c, data, n);
            continue;
        }

        sent = send(c->fd, data, n, MSG_NOSIGNAL);

        if (sent != (ssize_t) n) {
            sent = sent < 0 ? 0 : sent;
            hold(c, data + sent, n - sent);
        }
    }
}


/* One masked frame at p: its length, or 0 if it is not all there. */

static size_t
publish(const unsigned char *p, size_t have)
{
    size_t                i, n, head;
    char                 *out;
    const unsigned char  *mask;

    if (have < 2) {
        return 0;
    }

    n = p[1] & 127;
    head = 2;

    if (n == 126) {
        if (have < 4) {
            return 0;
        }

        n = p[2] << 8 | p[3];
        head = 4;
    }

    if (have < head + 4 + n) {
        return 0;
    }

    if ((p[0] & 15) < 8) {
        memcpy(frame, p, head);
        frame[1] &= 127;

        mask = p + head;
        out = frame + head;

        for (i = 0; i < n; i++) {
            out[i] = p[head + 4 + i] ^ mask[i & 3];
        }

        to_all(frame, head + n);
    }

    return head + 4 + n;
}


static void
published(client_t *c, size_t n)
{
    size_t  at, used;

    at = 0;

    while ((used = publish((unsigned char *) in + at, n - at)) > 0) {
        at += used;
    }

    c->nkeep = n - at;
    c->keep = realloc(c->keep, c->nkeep + 1);

    if (c->keep == NULL) {
        give_up("realloc");
    }

    memcpy(c->keep, in + at, c->nkeep);
}


static void
handshake(client_t *c, ssize_t n)
{
    in[n] = '\0';

    if (strstr(in, "\r\n\r\n") == NULL) {
        drop(c);
        return;
    }

    c->open = 1;
    c->publisher = (strncmp(in, "GET /pub", 8) == 0);

    if (!c->publisher) {
        subscribe(c);
    }

    if (send(c->fd, upgrade, sizeof(upgrade) - 1, MSG_NOSIGNAL) < 0) {
        drop(c);
    }
}


static void
input(client_t *c)
{
    ssize_t  n;

    if (c->nkeep) {
        memcpy(in, c->keep, c->nkeep);
    }

    n = recv(c->fd, in + c->nkeep, IN, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        drop(c);

    } else if (!c->open) {
        handshake(c, n);

    } else if (c->publisher) {
        published(c, c->nkeep + n);
    }
}


static void
output(client_t *c)
{
    ssize_t  n;

    n = send(c->fd, c->rest, c->nrest, MSG_NOSIGNAL);

    if (n <= 0) {
        return;
    }

    memmove(c->rest, c->rest + n, c->nrest - n);
    c->nrest -= n;

    if (c->nrest == 0) {
        free(c->rest);
        c->rest = NULL;
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
}


static void
accept_all(int s)
{
    int        fd, one;
    client_t  *c;

    one = 1;

    while ((fd = accept4(s, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC)) >= 0) {
        c = calloc(1, sizeof(client_t));

        if (c == NULL) {
            give_up("calloc");
        }

        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}


static int
listen_on(int port)
{
    int                 s, one;
    socklen_t           len;
    struct sockaddr_in  a;

    one = 1;
    len = sizeof(a);

    memset(&a, 0, sizeof(a));
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    s = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s < 0
        || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0
        || bind(s, (struct sockaddr *) &a, sizeof(a)) < 0
        || listen(s, 4096) < 0
        || getsockname(s, (struct sockaddr *) &a, &len) < 0)
    {
        give_up("listen");
    }

    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);

    return s;
}


static void
more_files(void)
{
    struct rlimit  r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}


int
main(int argc, char **argv)
{
    int                 i, n, s;
    client_t           *c, listener;
    struct epoll_event  list[EVENTS];

    more_files();

    epfd = epoll_create1(EPOLL_CLOEXEC);
    s = listen_on(argc > 1 ? atoi(argv[1]) : 0);

    memset(&listener, 0, sizeof(listener));
    listener.fd = s;
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);

    for ( ;; ) {
        n = epoll_wait(epfd, list, EVENTS, -1);

        for (i = 0; i < n; i++) {
            c = list[i].data.ptr;

            if (c == &listener) {
                accept_all(s);
                continue;
            }

            if (c->nrest && list[i].events & EPOLLOUT) {
                output(c);
            }

            if (list[i].events & (EPOLLIN|EPOLLHUP|EPOLLERR)) {
                input(c);
            }
        }
    }
}
