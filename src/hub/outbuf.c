
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Outbufs: bytes that many outboxes share.
 */


#include "hub/hub.h"
#include "base/id.h"
#include "base/json.h"


fanout_outbuf_t *
fanout_outbuf_create(fanout_hub_t *hub, size_t size)
{
    fanout_outbuf_t  *f;

    f = ngx_alloc(sizeof(fanout_outbuf_t), ngx_cycle->log);
    if (f == NULL) {
        return NULL;
    }

    f->data = ngx_alloc(size, ngx_cycle->log);
    if (f->data == NULL) {
        ngx_free(f);
        return NULL;
    }

    f->refs = 1;
    f->size = size;
    f->used = 0;
    f->local = 0;
    f->list = 0;

    hub->output_bytes += size;

    return f;
}


ngx_int_t
fanout_outbuf_reserve(fanout_hub_t *hub, fanout_outbuf_t *f, size_t n)
{
    size_t   size;
    u_char  *p;

    if (f->size - f->used >= n) {
        return NGX_OK;
    }

    size = ngx_max((size_t) f->size * 2, (size_t) f->used + n);

    if (size > 0x7fffffff) {
        return NGX_ERROR;
    }

    p = realloc(f->data, size);
    if (p == NULL) {
        ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, ngx_errno,
                      "realloc(%uz) failed", size);
        return NGX_ERROR;
    }

    hub->output_bytes += size - f->size;

    if (f->list) {
        hub->lists += size - f->size;
    }

    f->data = p;
    f->size = size;

    return NGX_OK;
}


ngx_int_t
fanout_outbuf_append(fanout_hub_t *hub, fanout_outbuf_t *f, const void *data,
    size_t len)
{
    if (len == 0) {
        return NGX_OK;
    }

    if (fanout_outbuf_reserve(hub, f, len) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(f->data + f->used, data, len);
    f->used += len;

    return NGX_OK;
}


ngx_int_t
fanout_outbuf_printf(fanout_hub_t *hub, fanout_outbuf_t *f, size_t size,
    const char *fmt, ...)
{
    u_char   *p, *last;
    va_list   args;

    if (fanout_outbuf_reserve(hub, f, size) != NGX_OK) {
        return NGX_ERROR;
    }

    p = f->data + f->used;

    va_start(args, fmt);
    last = ngx_vslprintf(p, p + size, fmt, args);
    va_end(args);

    f->used += last - p;

    return NGX_OK;
}


ngx_int_t
fanout_outbuf_count(fanout_hub_t *hub, fanout_outbuf_t *f, uint64_t n)
{
    if (fanout_outbuf_reserve(hub, f, NGX_INT64_LEN) != NGX_OK) {
        return NGX_ERROR;
    }

    f->used = fanout_count_format(f->data + f->used, n) - f->data;

    return NGX_OK;
}


ngx_int_t
fanout_outbuf_string(fanout_hub_t *hub, fanout_outbuf_t *f, const void *data,
    size_t len)
{
    size_t   size;
    u_char  *p;

    size = (len ? fanout_json_escape_len(data, len) : 0) + 2;

    if (fanout_outbuf_reserve(hub, f, size) != NGX_OK) {
        return NGX_ERROR;
    }

    p = f->data + f->used;

    *p++ = '"';

    if (len) {
        p = fanout_json_escape(p, data, len);
    }

    *p++ = '"';

    f->used = p - f->data;

    return NGX_OK;
}


void
fanout_outbuf_entries(fanout_outbuf_t *f, fanout_channel_t *ch,
    uint64_t after, uint64_t seq)
{
    f->local = ch->local + 1;
    f->epoch = ch->epoch;
    f->after = after;
    f->seq = seq;
}


void
fanout_outbuf_release(fanout_hub_t *hub, fanout_outbuf_t *f)
{
    if (--f->refs == 0) {
        hub->output_bytes -= f->size;

        if (f->list) {
            hub->lists -= f->size;
        }

        ngx_free(f->data);
        ngx_free(f);
    }
}
