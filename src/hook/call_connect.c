
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The connection of a call: one end of a pair of sockets.
 */


#include "hook/call.h"


static ngx_int_t prepare(ngx_connection_t *c, ngx_http_conf_ctx_t *conf);
static u_char *log_error(ngx_log_t *log, u_char *buf, size_t len);


/* Distinguishes the connection of a call from others. */

static ngx_listening_t  listening;

static struct sockaddr_un  address;
static ngx_str_t           address_text = ngx_string("unix:");


ngx_uint_t
fanout_call_connected(ngx_connection_t *c)
{
    return c->listening == &listening;
}


ngx_connection_t *
fanout_call_connect(ngx_http_conf_ctx_t *ctx, ngx_socket_t *peer)
{
    ngx_log_t         *log;
    ngx_socket_t       fds[2];
    ngx_connection_t  *c;

    log = ngx_cycle->log;

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, fds) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      "socketpair() failed");
        return NULL;
    }

    *peer = fds[1];

    if (ngx_nonblocking(fds[0]) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_nonblocking_n " failed");
        (void) ngx_close_socket(fds[0]);
        return NULL;
    }

    c = ngx_get_connection(fds[0], log);
    if (c == NULL) {
        (void) ngx_close_socket(fds[0]);
        return NULL;
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    c->pool = ngx_create_pool(1024, log);

    if (c->pool == NULL || prepare(c, ctx) != NGX_OK) {
        fanout_call_disconnect(c);
        return NULL;
    }

    return c;
}


/* as a listening socket and ngx_http_init_connection() do it */

static ngx_int_t
prepare(ngx_connection_t *c, ngx_http_conf_ctx_t *conf)
{
    ngx_log_t              *log;
    ngx_http_in_addr_t     *addr;
    ngx_http_log_ctx_t     *ctx;
    ngx_http_connection_t  *hc;

    log = ngx_palloc(c->pool, sizeof(ngx_log_t));
    ctx = ngx_pcalloc(c->pool, sizeof(ngx_http_log_ctx_t));
    hc = ngx_pcalloc(c->pool, sizeof(ngx_http_connection_t));
    addr = ngx_pcalloc(c->pool, sizeof(ngx_http_in_addr_t));

    /* there is no input, but NGINX needs the buffer */
    c->buffer = ngx_create_temp_buf(c->pool, 1);

    if (log == NULL || ctx == NULL || hc == NULL || addr == NULL
        || c->buffer == NULL)
    {
        return NGX_ERROR;
    }

    *log = *ngx_cycle->log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

    ctx->connection = c;

    log->connection = c->number;
    log->handler = log_error;
    log->data = ctx;
    log->action = "calling a hook";

    c->log = log;
    c->log_error = NGX_ERROR_INFO;
    c->pool->log = log;
    c->read->log = log;
    c->write->log = log;
    c->write->ready = 1;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;

    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;

    address.sun_family = AF_UNIX;

    c->listening = &listening;
    c->type = SOCK_STREAM;
    c->sockaddr = (struct sockaddr *) &address;
    c->socklen = offsetof(struct sockaddr_un, sun_path);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;
    c->addr_text = address_text;

    hc->conf_ctx = conf;
    hc->addr_conf = &addr->conf;
    hc->addr_conf->default_server = ngx_http_get_module_srv_conf(hc->conf_ctx,
                                                        ngx_http_core_module);
    c->data = hc;

    return NGX_OK;
}


void
fanout_call_disconnect(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    pool = c->pool;
    c->destroyed = 1;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


static u_char *
log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char              *p;
    ngx_http_request_t  *r;
    ngx_http_log_ctx_t  *ctx;

    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
    }

    ctx = log->data;
    r = ctx->request;

    return r ? r->log_handler(r, ctx->current_request, p, len) : p;
}
