
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "http/http.h"
#include "base/json.h"


typedef struct {
    fanout_hub_t     *hub;
    fanout_outbuf_t  *outbuf;
} fanout_http_frame_t;


static ngx_int_t copy_body(ngx_http_request_t *r, u_char *p);
static ngx_uint_t http_is_json(ngx_str_t *type);
static void release_frame(void *data);


ngx_str_t  fanout_type_json = ngx_string("application/json");
ngx_str_t  fanout_type_text = ngx_string("text/plain");


ngx_int_t
fanout_http_arg(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_str_t  raw;

    ngx_str_null(value);

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK
        || raw.len == 0)
    {
        return NGX_DECLINED;
    }

    return fanout_http_decode(r, &raw, value);
}


ngx_int_t
fanout_http_decode(ngx_http_request_t *r, ngx_str_t *raw, ngx_str_t *value)
{
    u_char  *dst, *src;
    size_t   i;

    src = ngx_pnalloc(r->pool, raw->len + 1);
    if (src == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < raw->len; i++) {
        src[i] = raw->data[i] == '+' ? ' ' : raw->data[i];
    }

    /* decoding never makes it longer */

    value->data = src;
    dst = src;
    ngx_unescape_uri(&dst, &src, raw->len, 0);
    value->len = dst - value->data;

    return NGX_OK;
}


ngx_str_t
fanout_http_header(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_str_t         value;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);
    ngx_str_null(&value);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                return h[i].value;
            }
        }
    }

    return value;
}


off_t
fanout_http_body_size(ngx_http_request_t *r)
{
    off_t         size;
    ngx_chain_t  *cl;

    if (r->request_body == NULL) {
        return 0;
    }

    size = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    return size;
}


ngx_int_t
fanout_http_body(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_chain_t  *cl;

    ngx_str_null(body);

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL && ngx_buf_in_memory(cl->buf)) {
        body->data = cl->buf->pos;
        body->len = cl->buf->last - cl->buf->pos;
        return NGX_OK;
    }

    body->len = fanout_http_body_size(r);

    if (body->len == 0) {
        return NGX_OK;
    }

    body->data = ngx_pnalloc(r->pool, body->len);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    return copy_body(r, body->data);
}


static ngx_int_t
copy_body(ngx_http_request_t *r, u_char *p)
{
    size_t        size;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);
            continue;
        }

        if (!b->in_file) {
            continue;
        }

        size = b->file_last - b->file_pos;
        n = ngx_read_file(b->file, p, size, b->file_pos);

        if (n != (ssize_t) size) {
            return NGX_ERROR;
        }

        p += size;
    }

    return NGX_OK;
}


/* The type that curl sends for -d shows nothing, so the kind is guessed too. */

ngx_uint_t
fanout_http_kind(ngx_str_t *type)
{
    u_char     *p, *last;
    ngx_str_t   media;

    static ngx_str_t  form = ngx_string("application/x-www-form-urlencoded");

    media.data = type->data;
    last = type->data + type->len;

    for (p = type->data; p < last && *p != ';' && *p != ' '; p++) {
        /* void */
    }

    media.len = p - media.data;

    if (media.len == 0
        || (media.len == form.len
            && ngx_strncasecmp(media.data, form.data, form.len) == 0))
    {
        return FANOUT_GUESS;
    }

    if (http_is_json(&media)) {
        return FANOUT_JSON;
    }

    if (media.len > 5
        && ngx_strncasecmp(media.data, (u_char *) "text/", 5) == 0)
    {
        return FANOUT_TEXT;
    }

    return FANOUT_BINARY;
}


/* application/json, text/json, and all types that end in +json: RFC 6839 */

static ngx_uint_t
http_is_json(ngx_str_t *type)
{
    u_char  *p;

    if (type->len < 6) {
        return 0;
    }

    p = type->data + type->len - 5;

    return ngx_strncasecmp(p, (u_char *) "+json", 5) == 0
           || ngx_strncasecmp(p, (u_char *) "/json", 5) == 0;
}


ngx_int_t
fanout_http_add(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* newer versions of NGINX have a link to the next header of the same
     * name */

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
fanout_http_send(ngx_http_request_t *r, ngx_uint_t status, ngx_str_t *type,
    u_char *data, size_t len)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = len;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = data;
    b->last = data + len;
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
fanout_http_send_outbuf(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_uint_t status, ngx_str_t *type, fanout_outbuf_t *f)
{
    ngx_pool_cleanup_t   *cln;
    fanout_http_frame_t  *hf;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(fanout_http_frame_t));
    if (cln == NULL) {
        fanout_outbuf_release(hub, f);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    hf = cln->data;
    hf->hub = hub;
    hf->outbuf = f;
    cln->handler = release_frame;

    return fanout_http_send(r, status, type, f->data, f->used);
}


static void
release_frame(void *data)
{
    fanout_http_frame_t  *hf = data;

    fanout_outbuf_release(hf->hub, hf->outbuf);
}


ngx_int_t
fanout_http_error_text(ngx_http_request_t *r, ngx_str_t *code,
    ngx_str_t *message, ngx_str_t *data, ngx_str_t *text)
{
    size_t   size;
    u_char  *p;

    size = sizeof("{\"code\":\"\",\"message\":\"\",\"data\":}") - 1
           + code->len + data->len
           + fanout_json_escape_len(message->data, message->len);

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    p = ngx_sprintf(p, "{\"code\":\"%V\",\"message\":\"", code);
    p = fanout_json_escape(p, message->data, message->len);
    *p++ = '"';

    if (data->len) {
        p = ngx_sprintf(p, ",\"data\":%V", data);
    }

    *p++ = '}';

    text->len = p - text->data;

    return NGX_OK;
}


ngx_int_t
fanout_http_send_error(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *code, ngx_str_t *message, ngx_str_t *data)
{
    size_t     len;
    u_char    *p;
    ngx_str_t  text;

    if (fanout_http_error_text(r, code, message, data, &text)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = sizeof("{\"error\":}\n") - 1 + text.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_sprintf(p, "{\"error\":%V}\n", &text);

    return fanout_http_send(r, status, &fanout_type_json,
                            p, len);
}


ngx_int_t
fanout_http_send_not_allowed(ngx_http_request_t *r,
    ngx_str_t *allow)
{
    u_char     text[64];
    ngx_str_t  data, message;

    static ngx_str_t  code = ngx_string("method_not_allowed");

    if (fanout_http_add(r, "Allow", allow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_null(&data);
    message.data = text;
    message.len = ngx_snprintf(text, sizeof(text), "allowed here: %V", allow)
                  - text;

    return fanout_http_send_error(r, NGX_HTTP_NOT_ALLOWED, &code, &message,
                                  &data);
}


ngx_int_t
fanout_http_send_unavailable(ngx_http_request_t *r)
{
    ngx_str_t  none = ngx_null_string;

    static ngx_str_t  code = ngx_string("unavailable");
    static ngx_str_t  message = ngx_string("this worker has no zone");

    return fanout_http_send_error(r, NGX_HTTP_SERVICE_UNAVAILABLE, &code,
                                  &message, &none);
}
