
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Calls: see the header.
 *
 * A call lives until its request is gone and done was called; the request's
 * cleanup notices its end, whatever the cause.
 */


#include "hook/call.h"
#include "base/version.h"


#define FANOUT_CALL_RESPONSE  1024              /* bytes at first */


struct fanout_call_s {
    fanout_callee_t     *to;
    ngx_http_request_t  *request;           /* NULL: gone */
    ngx_socket_t         peer;              /* the client's end */
    ngx_event_t          timer;
    ngx_event_t          ended;             /* posted */
    u_char              *body;              /* until the request has it */
    size_t               body_len;
    u_char              *response;
    size_t               len;
    size_t               size;
    ngx_uint_t           status;
    const char          *failure;
    unsigned             complete:1;
    fanout_call_pt       done;
    void                *data;
};


static ngx_int_t call_init(ngx_conf_t *cf);
static ngx_int_t call_header_filter(ngx_http_request_t *r);
static ngx_int_t call_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static fanout_call_t *call_find(ngx_http_request_t *r);
static ngx_int_t call_take(fanout_call_t *call, ngx_buf_t *b);
static ngx_connection_t *connect_client(fanout_call_t *call);
static ngx_int_t prepare_connection(fanout_call_t *call, ngx_connection_t *c);
static void close_client(ngx_connection_t *c);
static ngx_http_request_t *create_request(fanout_call_t *call,
    ngx_connection_t *c);
static ngx_int_t call_set_headers(ngx_http_request_t *r, fanout_call_t *call);
static ngx_table_elt_t *call_add_header(ngx_http_request_t *r,
    const char *name, u_char *value, size_t len);
static ngx_int_t call_set_body(ngx_http_request_t *r, fanout_call_t *call);
static void body_free(void *data);
static void close_peer(fanout_call_t *call);
static void request_gone(void *data);
static void timed_out(ngx_event_t *ev);
static void ended(ngx_event_t *ev);
static const char *failure_of(fanout_call_t *call);
static void call_free(fanout_call_t *call);
static u_char *log_error(ngx_log_t *log, u_char *buf, size_t len);


/* worker_shutdown_timeout is over */
static ngx_uint_t  over;

static ngx_http_output_header_filter_pt  next_header_filter;
static ngx_http_output_body_filter_pt    next_body_filter;


/* Distinguishes the connection of a call from others. */

static ngx_listening_t  listening;

static struct sockaddr_un  address;
static ngx_str_t           address_text = ngx_string("unix:");


const char  fanout_call_too_large[] = "the response is too large";


static ngx_http_module_t  module_ctx = {
    NULL,                                  /* preconfiguration */
    call_init,                             /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_fanout_call_filter_module = {
    NGX_MODULE_V1,
    &module_ctx,                           /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
call_init(ngx_conf_t *cf)
{
    fanout_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);

    if (!mcf->hooks) {
        return NGX_OK;
    }

    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = call_header_filter;

    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = call_body_filter;

    return NGX_OK;
}


/* the response */

static ngx_int_t
call_header_filter(ngx_http_request_t *r)
{
    fanout_call_t  *call;

    if (r->connection->listening != &listening) {
        return next_header_filter(r);
    }

    r->header_sent = 1;
    call = call_find(r);

    if (call) {
        call->status = r->headers_out.status;

        if (r->header_only) {
            call->complete = 1;
            close_peer(call);
        }
    }

    return NGX_OK;
}


/* The response ends here: what the call does not take is discarded. */

static ngx_int_t
call_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t      *b;
    fanout_call_t  *call;

    if (r->connection->listening != &listening) {
        return next_body_filter(r, in);
    }

    if (r->subrequest_in_memory) {
        return next_body_filter(r, in);
    }

    call = call_find(r);

    for ( /* void */ ; in; in = in->next) {
        b = in->buf;

        if (call && !call->complete && call_take(call, b) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ngx_buf_in_memory(b)) {
            b->pos = b->last;
        }

        b->file_pos = b->file_last;

        if (call && b->last_buf) {
            call->complete = 1;

            /* the call has its response: the client closes */
            close_peer(call);
        }
    }

    return NGX_OK;
}


/* Contexts of a request do not survive its redirects. */

static fanout_call_t *
call_find(ngx_http_request_t *r)
{
    ngx_http_cleanup_t  *cln;

    if (r != r->main) {
        return NULL;
    }

    for (cln = r->cleanup; cln; cln = cln->next) {
        if (cln->handler == request_gone) {
            return cln->data;
        }
    }

    return NULL;
}


static ngx_int_t
call_take(fanout_call_t *call, ngx_buf_t *b)
{
    size_t   n, size;
    u_char  *p;

    if (!ngx_buf_in_memory(b) || b->last == b->pos) {
        return NGX_OK;
    }

    n = b->last - b->pos;

    if (n > call->to->limit - call->len) {
        call->failure = fanout_call_too_large;
        return NGX_ERROR;
    }

    if (n > call->size - call->len) {
        size = ngx_max(call->size, FANOUT_CALL_RESPONSE);

        while (size - call->len < n) {
            size *= 2;
        }

        p = ngx_alloc(size, ngx_cycle->log);
        if (p == NULL) {
            call->failure = "out of memory";
            return NGX_ERROR;
        }

        if (call->response) {
            ngx_memcpy(p, call->response, call->len);
            ngx_free(call->response);
        }

        call->response = p;
        call->size = size;
    }

    ngx_memcpy(call->response + call->len, b->pos, n);
    call->len += n;

    return NGX_OK;
}


/* the request */

fanout_call_t *
fanout_call_start(fanout_callee_t *to, ngx_str_t *body, fanout_call_pt done,
    void *data)
{
    fanout_call_t       *call;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    call = ngx_calloc(sizeof(fanout_call_t), ngx_cycle->log);
    if (call == NULL) {
        ngx_free(body->data);
        return NULL;
    }

    call->to = to;
    call->done = done;
    call->data = data;
    call->body = body->data;
    call->body_len = body->len;
    call->peer = (ngx_socket_t) -1;

    call->ended.handler = ended;
    call->ended.data = call;
    call->ended.log = ngx_cycle->log;

    call->timer.handler = timed_out;
    call->timer.data = call;
    call->timer.log = ngx_cycle->log;

    c = connect_client(call);
    if (c == NULL) {
        goto failed;
    }

    r = create_request(call, c);
    if (r == NULL) {
        close_client(c);
        goto failed;
    }

    c->data = r;
    call->request = r;

    ngx_add_timer(&call->timer, to->timeout);

    ngx_http_process_request(r);
    ngx_http_run_posted_requests(c);

    return call;

failed:

    ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                  "could not start a request for %V", &to->what);

    close_peer(call);
    call_free(call);

    return NULL;
}


static ngx_connection_t *
connect_client(fanout_call_t *call)
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

    call->peer = fds[1];

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

    if (c->pool == NULL || prepare_connection(call, c) != NGX_OK) {
        close_client(c);
        return NULL;
    }

    return c;
}


/* as a listening socket and ngx_http_init_connection() do it */

static ngx_int_t
prepare_connection(fanout_call_t *call, ngx_connection_t *c)
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

    hc->conf_ctx = call->to->ctx;
    hc->addr_conf = &addr->conf;
    hc->addr_conf->default_server = ngx_http_get_module_srv_conf(hc->conf_ctx,
                                                        ngx_http_core_module);
    c->data = hc;

    return NGX_OK;
}


static void
close_client(ngx_connection_t *c)
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


static ngx_http_request_t *
create_request(fanout_call_t *call, ngx_connection_t *c)
{
    u_char              *p;
    fanout_callee_t     *to;
    ngx_http_request_t  *r;
    ngx_http_cleanup_t  *cln;

    static ngx_str_t  method = ngx_string("POST");
    static ngx_str_t  protocol = ngx_string("HTTP/1.1");
    static ngx_str_t  schema = ngx_string("http");

    to = call->to;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NULL;
    }

    r->method = NGX_HTTP_POST;
    r->method_name = method;
    r->http_protocol = protocol;
    r->http_version = NGX_HTTP_VERSION_11;
    r->schema = schema;
    r->uri = to->uri;
    r->args = to->args;
    r->valid_unparsed_uri = 1;
    r->internal = 1;
    r->filter_need_in_memory = 1;
    r->main_filter_need_in_memory = 1;

    r->unparsed_uri.len = to->uri.len + (to->args.len ? 1 + to->args.len : 0);
    r->request_line.len = method.len + 1 + r->unparsed_uri.len + 1
                          + protocol.len;

    p = ngx_pnalloc(r->pool, r->request_line.len);
    cln = ngx_http_cleanup_add(r, 0);

    if (p == NULL || cln == NULL) {
        goto failed;
    }

    r->request_line.data = p;
    r->unparsed_uri.data = p + method.len + 1;

    (void) ngx_sprintf(p, "%V %V%s%V %V", &method, &to->uri,
                       to->args.len ? "?" : "", &to->args, &protocol);

    ngx_http_set_exten(r);

    if (call_set_headers(r, call) != NGX_OK
        || call_set_body(r, call) != NGX_OK)
    {
        goto failed;
    }

    cln->handler = request_gone;
    cln->data = call;

    return r;

failed:

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
#endif

    ngx_destroy_pool(r->pool);

    return NULL;
}


static ngx_int_t
call_set_headers(ngx_http_request_t *r, fanout_call_t *call)
{
    u_char     *p;
    ngx_str_t   agent;

    static ngx_str_t  json = ngx_string("application/json");

    if (ngx_list_init(&r->headers_in.headers, r->pool, 4,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, NGX_SIZE_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&agent, "nginx-fanout/" FANOUT_VERSION);

    r->headers_in.content_length_n = call->body_len;

    r->headers_in.content_length = call_add_header(r, "Content-Length", p,
                                 ngx_sprintf(p, "%uz", call->body_len) - p);
    r->headers_in.content_type = call_add_header(r, "Content-Type", json.data,
                                                 json.len);
    r->headers_in.user_agent = call_add_header(r, "User-Agent", agent.data,
                                               agent.len);

    return r->headers_in.content_length && r->headers_in.content_type
           && r->headers_in.user_agent
           ? NGX_OK : NGX_ERROR;
}


static ngx_table_elt_t *
call_add_header(ngx_http_request_t *r, const char *name, u_char *value,
    size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NULL;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = value;
    h->value.len = len;

    h->lowcase_key = ngx_pnalloc(r->pool, h->key.len);
    if (h->lowcase_key == NULL) {
        return NULL;
    }

    h->hash = ngx_hash_strlow(h->lowcase_key, h->key.data, h->key.len);

    return h;
}


static ngx_int_t
call_set_body(ngx_http_request_t *r, fanout_call_t *call)
{
    ngx_buf_t                *b;
    ngx_chain_t              *cl;
    ngx_pool_cleanup_t       *cln;
    ngx_http_request_body_t  *rb;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = body_free;
    cln->data = call->body;

    rb = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    b = ngx_calloc_buf(r->pool);
    cl = ngx_alloc_chain_link(r->pool);

    if (rb == NULL || b == NULL || cl == NULL) {
        call->body = NULL;
        return NGX_ERROR;
    }

    b->start = call->body;
    b->pos = call->body;
    b->last = call->body + call->body_len;
    b->end = b->last;
    b->temporary = 1;
    b->last_buf = 1;

    cl->buf = b;
    cl->next = NULL;

    rb->bufs = cl;
    rb->buf = b;
    r->request_body = rb;

    call->body = NULL;

    return NGX_OK;
}


static void
body_free(void *data)
{
    ngx_free(data);
}


/* the end */

static void
close_peer(fanout_call_t *call)
{
    if (call->peer != (ngx_socket_t) -1) {
        (void) ngx_close_socket(call->peer);
        call->peer = (ngx_socket_t) -1;
    }
}


static void
request_gone(void *data)
{
    fanout_call_t  *call = data;

    ngx_connection_t  *c;

    c = call->request->connection;

    if (ngx_exiting && c->close && call->failure == NULL) {
        /* NGINX has closed all connections, once for all */
        over = 1;
        call->failure = "worker_shutdown_timeout is over";
    }

    call->request = NULL;
    close_peer(call);

    if (call->timer.timer_set) {
        ngx_del_timer(&call->timer);
    }

    ngx_post_event(&call->ended, &ngx_posted_events);
}


ngx_uint_t
fanout_calls_over(void)
{
    return over;
}


static void
timed_out(ngx_event_t *ev)
{
    fanout_call_t       *call;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    call = ev->data;
    r = call->request;
    c = r->connection;

    call->failure = "it took too long";

    if (r->headers_out.status == 0) {
        r->headers_out.status = NGX_HTTP_REQUEST_TIME_OUT;
    }

    /* Ends the connection as NGINX does on exit: a finalize would free the
     * request while its cleanups run, if an upstream is one of them. */

    c->close = 1;
    c->read->handler(c->read);
}


static void
ended(ngx_event_t *ev)
{
    ngx_str_t       body;
    ngx_uint_t      status;
    fanout_call_t  *call;

    call = ev->data;
    status = call->complete && call->failure == NULL ? call->status : 0;

    if (status) {
        body.data = call->response;
        body.len = call->len;

    } else {
        body.data = (u_char *) failure_of(call);
        body.len = ngx_strlen(body.data);
    }

    call->done(call->data, status, &body);

    call_free(call);
}


/* A static text.  NGINX takes an answer without a status line for one of
 * HTTP/0.9. */

static const char *
failure_of(fanout_call_t *call)
{
    return call->failure ? call->failure
           : call->complete ? "the response has no status"
                            : "the response is cut off";
}


static void
call_free(fanout_call_t *call)
{
    if (call->response) {
        ngx_free(call->response);
    }

    if (call->body) {
        ngx_free(call->body);
    }

    ngx_free(call);
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
