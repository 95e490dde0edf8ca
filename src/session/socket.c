
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "session/socket.h"

#include <poll.h>

#if (NGX_LINUX)
#include <sys/ioctl.h>
#include <linux/sockios.h>
#endif


#define FANOUT_DISCARD       16384
#define FANOUT_DISCARDS      4                  /* in a turn */


/* of the connection's pool */

typedef struct {
    ngx_msec_t  timeout;        /* without a byte */
    ngx_msec_t  until;          /* the latest end */
    size_t      left;           /* bytes still to be read at most */
} linger_t;


/* NGINX has these functions if it was built with TLS; its headers hide them
 * from a module that was built without. */

ssize_t ngx_ssl_recv(ngx_connection_t *c, u_char *buf, size_t size);
ngx_int_t ngx_ssl_shutdown(ngx_connection_t *c);
void ngx_ssl_free_buffer(ngx_connection_t *c);

#pragma weak ngx_ssl_recv
#pragma weak ngx_ssl_shutdown
#pragma weak ngx_ssl_free_buffer


static ngx_int_t half_close(ngx_connection_t *c);
static void linger_handler(ngx_event_t *rev);
static void linger_wait(ngx_connection_t *c, linger_t *l);


static u_char  discarded[FANOUT_DISCARD];


ngx_uint_t
fanout_socket_tls(ngx_connection_t *c)
{
    return ngx_ssl_recv && c->recv == ngx_ssl_recv;
}


void
fanout_socket_shrink(ngx_connection_t *c)
{
    if (fanout_socket_tls(c)) {
        ngx_ssl_free_buffer(c);
    }
}


ngx_int_t
fanout_socket_unacked(ngx_connection_t *c)
{
#ifdef SIOCOUTQ
    int  n;

    return ioctl(c->fd, SIOCOUTQ, &n) == 0 ? n : -1;
#else
    return -1;
#endif
}


void
fanout_socket_close(ngx_connection_t *c, ngx_uint_t unfinished)
{
    if (unfinished) {
        /* a close_notify alert would be within a record */
        c->error = 1;
    }

    /* if the alert does not fit into the socket, its timer keeps the worker
     * until that is over */
    c->read->cancelable = 0;

    ngx_http_close_connection(c);
}


void
fanout_socket_linger(ngx_connection_t *c, ngx_http_core_loc_conf_t *clcf)
{
    linger_t     *l;
    ngx_event_t  *wev;

    l = ngx_palloc(c->pool, sizeof(linger_t));

    if (l == NULL || clcf->lingering_close == NGX_HTTP_LINGERING_OFF
        || c->read->eof || c->read->error || half_close(c) != NGX_OK)
    {
        fanout_socket_close(c, 0);
        return;
    }

    l->timeout = clcf->lingering_timeout;
    l->until = ngx_current_msec + clcf->lingering_time;
    l->left = FANOUT_LINGER_BYTES;

    wev = c->write;

    c->data = l;
    c->close = 0;
    c->idle = 1;
    c->read->handler = linger_handler;
    c->read->cancelable = 0;
    wev->handler = ngx_http_empty_handler;

    if (wev->active && (ngx_event_flags & NGX_USE_LEVEL_EVENT)
        && ngx_del_event(wev, NGX_WRITE_EVENT, 0) != NGX_OK)
    {
        fanout_socket_close(c, 0);
        return;
    }

    ngx_reusable_connection(c, 1);

    linger_wait(c, l);
}


/* The peer learns that nothing more comes, and closes. */

static ngx_int_t
half_close(ngx_connection_t *c)
{
    struct pollfd  pfd;

    if (fanout_socket_tls(c)) {
        pfd.fd = c->fd;
        pfd.events = POLLOUT;

        if (poll(&pfd, 1, 0) != 1 || pfd.revents != POLLOUT) {
            /* an alert may not fit now, nor later without a handler of the
             * TLS layer: the peer has to close by itself */
            return NGX_OK;
        }

        if (ngx_ssl_shutdown(c) != NGX_OK) {
            return NGX_ERROR;
        }

        c->send = ngx_send;
    }

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_connection_error(c, ngx_socket_errno,
                             ngx_shutdown_socket_n " failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
linger_handler(ngx_event_t *rev)
{
    ssize_t            n;
    linger_t          *l;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = rev->data;
    l = c->data;

    if (rev->timedout || c->close) {
        fanout_socket_close(c, 0);
        return;
    }

    for (i = 0; i < FANOUT_DISCARDS && rev->ready; i++) {

        n = c->recv(c, discarded, ngx_min(l->left, sizeof(discarded)));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0 || (size_t) n == l->left) {
            fanout_socket_close(c, 0);
            return;
        }

        l->left -= n;
    }

    linger_wait(c, l);
}


static void
linger_wait(ngx_connection_t *c, linger_t *l)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (l->until - ngx_current_msec);

    if (left <= 0 || ngx_handle_read_event(c->read, 0) != NGX_OK) {
        fanout_socket_close(c, 0);
        return;
    }

    if (c->read->ready) {
        /* others first */
        ngx_post_event(c->read, &ngx_posted_next_events);
    }

    ngx_add_timer(c->read, ngx_min((ngx_msec_t) left, l->timeout));
}
