
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Calls: see the header.
 *
 * A call lives until its request is gone and done was called; the request's
 * cleanup notices its end, whatever the cause.
 */


#include "hook/call.h"
#include "http/filter.h"


#define FANOUT_CALL_RESPONSE  1024              /* bytes at first */


struct fanout_call_s {
    fanout_callee_t     *to;
    ngx_http_request_t  *request;           /* NULL: gone */
    ngx_socket_t         peer;              /* the client's end */
    ngx_event_t          timer;
    ngx_event_t          ended;             /* posted */
    u_char              *response;
    size_t               len;
    size_t               size;
    ngx_uint_t           status;
    const char          *failure;
    unsigned             complete:1;
    const fanout_caller_t  *caller;
    fanout_call_pt       done;
    void                *data;
};


static ngx_int_t call_init(ngx_conf_t *cf);
static ngx_int_t call_header_filter(ngx_http_request_t *r);
static void call_decided(fanout_call_t *call, ngx_connection_t *c);
static ngx_int_t call_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static fanout_call_t *call_find(ngx_http_request_t *r);
static ngx_int_t call_take(fanout_call_t *call, ngx_buf_t *b);
static void log_failed(fanout_callee_t *to);
static ngx_http_request_t *create_request(fanout_call_t *call,
    ngx_connection_t *c);
static void close_peer(fanout_call_t *call);
static void request_gone(void *data);
static void timed_out(ngx_event_t *ev);
static void ended(ngx_event_t *ev);
static const char *failure_of(fanout_call_t *call);
static void call_free(fanout_call_t *call);


/* worker_shutdown_timeout is over */
static ngx_uint_t  over;

static ngx_http_output_header_filter_pt  next_header_filter;
static ngx_http_output_body_filter_pt    next_body_filter;


const char  fanout_call_too_large[] = "the response is too large";


fanout_filter_module(ngx_http_fanout_call_filter_module, call_init);


static ngx_int_t
call_init(ngx_conf_t *cf)
{
    fanout_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);

    if (mcf->calls) {
        fanout_filter_add(call_header_filter, call_body_filter,
                          &next_header_filter, &next_body_filter);
    }

    return NGX_OK;
}


/* the response */

static ngx_int_t
call_header_filter(ngx_http_request_t *r)
{
    fanout_call_t  *call;

    if (!fanout_call_connected(r->connection)) {
        return next_header_filter(r);
    }

    r->header_sent = 1;
    call = call_find(r);

    if (call) {
        call->status = r->headers_out.status;
        call_decided(call, r->connection);

        if (r->header_only) {
            call->complete = 1;
            close_peer(call);
        }
    }

    return NGX_OK;
}


static void
call_decided(fanout_call_t *call, ngx_connection_t *c)
{
    if (call->caller->decided) {
        call->caller->decided(c, call->data);
    }
}


/* The response ends here: what the call does not take is discarded. */

static ngx_int_t
call_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t      *b;
    fanout_call_t  *call;

    if (!fanout_call_connected(r->connection)) {
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

    if (!ngx_buf_in_memory(b) || b->last == b->pos || call->to->limit == 0) {
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
fanout_call(fanout_callee_t *to, const fanout_caller_t *caller, void *as,
    fanout_call_pt done, void *data)
{
    fanout_call_t       *call;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    call = ngx_calloc(sizeof(fanout_call_t), ngx_cycle->log);
    if (call == NULL) {
        return NULL;
    }

    call->to = to;
    call->caller = caller;
    call->done = done;
    call->data = data;
    call->peer = (ngx_socket_t) -1;

    call->ended.handler = ended;
    call->ended.data = call;
    call->ended.log = ngx_cycle->log;

    call->timer.handler = timed_out;
    call->timer.data = call;
    call->timer.log = ngx_cycle->log;

    c = fanout_call_connect(to->ctx, &call->peer);
    if (c == NULL) {
        goto failed;
    }

    if (caller->connect && caller->connect(c, as) != NGX_OK) {
        fanout_call_disconnect(c);
        goto failed;
    }

    r = create_request(call, c);
    if (r == NULL) {
        fanout_call_disconnect(c);
        goto failed;
    }

    ngx_add_timer(&call->timer, to->timeout);

    switch (caller->request(r, as)) {

    case NGX_OK:
        ngx_http_process_request(r);
        /* fall through */

    case NGX_DONE:
        ngx_http_run_posted_requests(c);
        return call;
    }

    ngx_del_timer(&call->timer);

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
#endif

    ngx_destroy_pool(r->pool);
    fanout_call_disconnect(c);

failed:

    log_failed(to);
    close_peer(call);
    ngx_free(call);

    return NULL;
}


/* At most once a second: a client may lead here. */

static void
log_failed(fanout_callee_t *to)
{
    static time_t  last;

    if (last == ngx_time()) {
        return;
    }

    last = ngx_time();

    ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                  "could not start a request for %V", &to->what);
}


static ngx_http_request_t *
create_request(fanout_call_t *call, ngx_connection_t *c)
{
    ngx_http_request_t  *r;
    ngx_http_cleanup_t  *cln;

    static ngx_str_t  protocol = ngx_string("HTTP/1.1");
    static ngx_str_t  schema = ngx_string("http");

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NULL;
    }

    r->http_protocol = protocol;
    r->http_version = NGX_HTTP_VERSION_11;
    r->schema = schema;
    r->filter_need_in_memory = 1;
    r->main_filter_need_in_memory = 1;

    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL
        || ngx_list_init(&r->headers_in.headers, r->pool, 4,
                         sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
#if (NGX_STAT_STUB)
        (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
#endif
        ngx_destroy_pool(r->pool);
        return NULL;
    }

    cln->handler = request_gone;
    cln->data = call;

    c->data = r;
    call->request = r;

    return r;
}


void *
fanout_call_data(ngx_http_request_t *r, const fanout_caller_t *caller)
{
    fanout_call_t  *call;

    call = fanout_call_connected(r->connection) ? call_find(r->main) : NULL;

    return call && call->caller == caller ? call->data : NULL;
}


ngx_table_elt_t *
fanout_call_header(ngx_http_request_t *r, ngx_str_t *name, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NULL;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->key = *name;
    h->value = *value;

    h->lowcase_key = ngx_pnalloc(r->pool, h->key.len);
    if (h->lowcase_key == NULL) {
        return NULL;
    }

    h->hash = ngx_hash_strlow(h->lowcase_key, h->key.data, h->key.len);

    return h;
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

    call_decided(call, c);

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

    ngx_free(call);
}
