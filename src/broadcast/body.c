
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The bodies that a broadcast publishes: the one of the request, and a copy of
 * the one of the response, up to a limit.
 */


#include "broadcast/broadcast.h"


/* bytes of the first copy of a response of unknown length */
#define FANOUT_BROADCAST_COPY  4096


static ngx_uint_t body_is_encoded(ngx_str_t *coding);
static void body_copy(fanout_broadcast_t *b, ngx_buf_t *buf);
static ngx_int_t body_make_room(fanout_broadcast_t *b, size_t size);


void
fanout_broadcast_take_request(fanout_broadcast_t *b)
{
    ngx_str_t                 coding;
    ngx_http_request_t       *r;
    fanout_broadcast_body_t  *body;

    r = b->request;
    body = &b->bodies[FANOUT_BROADCAST_REQUEST];

    if (!body->wanted) {
        return;
    }

    coding = fanout_http_header(r, "content-encoding");
    body->type = fanout_http_header(r, "content-type");

    if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked) {
        return;
    }

    if (r->request_body == NULL || r->request_body_no_buffering) {
        body->omitted = "unbuffered";

    } else if (body_is_encoded(&coding)) {
        body->omitted = "encoded";

    } else if (fanout_http_body_size(r) > (off_t) b->limit) {
        body->omitted = "large";

    } else if (fanout_http_body(r, &body->body) != NGX_OK) {
        body->omitted = "failed";
    }
}


void
fanout_broadcast_expect_response(fanout_broadcast_t *b)
{
    ngx_http_request_t       *r;
    fanout_broadcast_body_t  *body;

    r = b->request;
    b->expected = r->headers_out.content_length_n;

    body = &b->bodies[FANOUT_BROADCAST_RESPONSE];

    if (!body->wanted || fanout_broadcast_without_body(r)) {
        return;
    }

    body->type = r->headers_out.content_type;

    if (r->headers_out.content_encoding
        && body_is_encoded(&r->headers_out.content_encoding->value))
    {
        body->omitted = "encoded";

    } else if (b->status == NGX_HTTP_PARTIAL_CONTENT) {
        body->omitted = "partial";

    } else if (b->expected > (off_t) b->limit) {
        body->omitted = "large";

    } else {
        b->copying = 1;
        r->filter_need_in_memory = 1;
    }
}


static ngx_uint_t
body_is_encoded(ngx_str_t *coding)
{
    return coding->len
           && (coding->len != sizeof("identity") - 1
               || ngx_strncasecmp(coding->data, (u_char *) "identity",
                                  coding->len)
                  != 0);
}


ngx_uint_t
fanout_broadcast_without_body(ngx_http_request_t *r)
{
    return r->header_only
           || r->method == NGX_HTTP_HEAD
           || r->headers_out.status == NGX_HTTP_NO_CONTENT
           || r->headers_out.status == NGX_HTTP_NOT_MODIFIED
           || r->headers_out.content_length_n == 0;
}


/* NGINX may announce the end in a later call, when the client already has the
 * last byte: so bytes are counted as well. */

ngx_uint_t
fanout_broadcast_collect(fanout_broadcast_t *b, ngx_chain_t *in)
{
    ngx_uint_t  last;

    last = 0;

    for ( /* void */ ; in; in = in->next) {

        if (b->copying) {
            body_copy(b, in->buf);
        }

        b->seen += ngx_buf_size(in->buf);
        last |= in->buf->last_buf;
    }

    if (b->expected >= 0 && b->seen >= b->expected) {
        return 1;
    }

    /* the first slice */

    if (last && b->expected >= 0) {
        b->copying = 0;
        b->bodies[FANOUT_BROADCAST_RESPONSE].omitted = "partial";
    }

    return last;
}


static void
body_copy(fanout_broadcast_t *b, ngx_buf_t *buf)
{
    size_t                    size;
    fanout_broadcast_body_t  *body;

    size = ngx_buf_size(buf);

    if (size == 0) {
        return;
    }

    body = &b->bodies[FANOUT_BROADCAST_RESPONSE];

    if (b->expected >= 0
        && (off_t) (body->body.len + size) > b->expected)
    {
        /* more than the header has announced, and than there is room for */
        body->omitted = "partial";
        b->copying = 0;
        return;
    }

    if (size > b->limit - body->body.len) {
        body->omitted = "large";
        b->copying = 0;
        return;
    }

    if (!ngx_buf_in_memory(buf)
        || body_make_room(b, body->body.len + size) != NGX_OK)
    {
        body->omitted = "failed";
        b->copying = 0;
        return;
    }

    ngx_memcpy(body->body.data + body->body.len, buf->pos, size);
    body->body.len += size;
}


static ngx_int_t
body_make_room(fanout_broadcast_t *b, size_t size)
{
    size_t      room;
    u_char     *p;
    ngx_str_t  *body;

    if (size <= b->room) {
        return NGX_OK;
    }

    body = &b->bodies[FANOUT_BROADCAST_RESPONSE].body;

    if (b->expected > 0) {
        room = b->expected;

    } else {
        room = ngx_max(2 * b->room, FANOUT_BROADCAST_COPY);
        room = ngx_min(ngx_max(room, size), b->limit);
    }

    p = ngx_pnalloc(b->request->pool, room);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (body->len) {
        ngx_memcpy(p, body->data, body->len);
        (void) ngx_pfree(b->request->pool, body->data);
    }

    body->data = p;
    b->room = room;

    return NGX_OK;
}
