
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The request of a call that posts JSON.
 */


#include "hook/call.h"
#include "base/version.h"


typedef struct {
    fanout_callee_t  *to;
    ngx_str_t        *body;                 /* data NULL: the request has it */
    const fanout_caller_t  *more;           /* NULL: nothing is added */
    void             *as;
} post_t;


static ngx_int_t post_connect(ngx_connection_t *c, void *data);
static ngx_int_t post_request(ngx_http_request_t *r, void *data);
static ngx_int_t post_headers(ngx_http_request_t *r, size_t len);
static ngx_table_elt_t *post_header(ngx_http_request_t *r, const char *name,
    u_char *value, size_t len);
static ngx_int_t post_body(ngx_http_request_t *r, ngx_str_t *body);
static void body_free(void *data);


static const fanout_caller_t  poster = {
    post_connect,
    post_request,
    NULL
};


fanout_call_t *
fanout_call_post(fanout_callee_t *to, ngx_str_t *body, fanout_call_pt done,
    void *data)
{
    return fanout_call_post_as(to, body, NULL, NULL, done, data);
}


fanout_call_t *
fanout_call_post_as(fanout_callee_t *to, ngx_str_t *body,
    const fanout_caller_t *more, void *as, fanout_call_pt done, void *data)
{
    post_t          post;
    fanout_call_t  *call;

    post.to = to;
    post.body = body;
    post.more = more;
    post.as = as;

    call = fanout_call(to, &poster, &post, done, data);

    if (body->data) {
        ngx_free(body->data);
    }

    return call;
}


static ngx_int_t
post_connect(ngx_connection_t *c, void *data)
{
    post_t  *post = data;

    return post->more && post->more->connect
           ? post->more->connect(c, post->as) : NGX_OK;
}


static ngx_int_t
post_request(ngx_http_request_t *r, void *data)
{
    post_t  *post = data;

    u_char           *p;
    fanout_callee_t  *to;

    static ngx_str_t  method = ngx_string("POST");

    to = post->to;

    r->method = NGX_HTTP_POST;
    r->method_name = method;
    r->uri = to->uri;
    r->args = to->args;
    r->valid_unparsed_uri = 1;
    r->internal = 1;

    r->unparsed_uri.len = to->uri.len + (to->args.len ? 1 + to->args.len : 0);
    r->request_line.len = method.len + 1 + r->unparsed_uri.len + 1
                          + r->http_protocol.len;

    p = ngx_pnalloc(r->pool, r->request_line.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    r->request_line.data = p;
    r->unparsed_uri.data = p + method.len + 1;

    (void) ngx_sprintf(p, "%V %V%s%V %V", &method, &to->uri,
                       to->args.len ? "?" : "", &to->args, &r->http_protocol);

    ngx_http_set_exten(r);

    if (post_headers(r, post->body->len) != NGX_OK
        || post_body(r, post->body) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return post->more && post->more->request
           ? post->more->request(r, post->as) : NGX_OK;
}


static ngx_int_t
post_headers(ngx_http_request_t *r, size_t len)
{
    u_char  *p;

    static const char  json[] = "application/json";
    static const char  agent[] = "nginx-fanout/" FANOUT_VERSION;

    p = ngx_pnalloc(r->pool, NGX_SIZE_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    r->headers_in.content_length_n = len;

    r->headers_in.content_length = post_header(r, "Content-Length", p,
                                               ngx_sprintf(p, "%uz", len) - p);
    r->headers_in.content_type = post_header(r, "Content-Type",
                                             (u_char *) json, sizeof(json) - 1);
    r->headers_in.user_agent = post_header(r, "User-Agent", (u_char *) agent,
                                           sizeof(agent) - 1);

    return r->headers_in.content_length && r->headers_in.content_type
           && r->headers_in.user_agent
           ? NGX_OK : NGX_ERROR;
}


static ngx_table_elt_t *
post_header(ngx_http_request_t *r, const char *name, u_char *value, size_t len)
{
    ngx_str_t  key, text;

    key.data = (u_char *) name;
    key.len = ngx_strlen(name);
    text.data = value;
    text.len = len;

    return fanout_call_header(r, &key, &text);
}


static ngx_int_t
post_body(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_buf_t                *b;
    ngx_chain_t              *cl;
    ngx_pool_cleanup_t       *cln;
    ngx_http_request_body_t  *rb;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    rb = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    b = ngx_calloc_buf(r->pool);
    cl = ngx_alloc_chain_link(r->pool);

    if (cln == NULL || rb == NULL || b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->start = body->data;
    b->pos = body->data;
    b->last = body->data + body->len;
    b->end = b->last;
    b->temporary = 1;
    b->last_buf = 1;

    cl->buf = b;
    cl->next = NULL;

    rb->bufs = cl;
    rb->buf = b;
    r->request_body = rb;

    cln->handler = body_free;
    cln->data = body->data;
    body->data = NULL;

    return NGX_OK;
}


static void
body_free(void *data)
{
    ngx_free(data);
}
