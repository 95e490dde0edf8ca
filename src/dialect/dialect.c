
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The table of dialects, and what they share.
 */


#include "dialect/dialect.h"


#define FANOUT_HEAD  4              /* of most frames: 126 to 65535 bytes */


static const fanout_dialect_t  *dialects[] = {
    &fanout_native,
    &fanout_raw,
    &fanout_native_stream,
    NULL
};


const fanout_dialect_t *
fanout_dialect(ngx_uint_t format)
{
    ngx_uint_t  i;

    format %= FANOUT_BASES;

    for (i = 0; dialects[i]; i++) {
        if (dialects[i]->format == format) {
            break;
        }
    }

    return dialects[i];
}


const fanout_dialect_t *
fanout_dialect_named(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; dialects[i]; i++) {
        if (dialects[i]->name.len == name->len
            && ngx_strncmp(dialects[i]->name.data, name->data, name->len)
               == 0)
        {
            break;
        }
    }

    return dialects[i];
}


ngx_int_t
fanout_frame_begin(fanout_hub_t *hub, fanout_frame_t *f, uint32_t *start)
{
    if (fanout_frame_reserve(hub, f, FANOUT_HEAD)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    *start = f->used;
    f->used += FANOUT_HEAD;

    return NGX_OK;
}


ngx_int_t
fanout_frame_end(fanout_hub_t *hub, fanout_frame_t *f, uint32_t start,
    ngx_uint_t opcode)
{
    uint32_t  split;

    split = f->used;

    return fanout_frame_end_around(hub, f, start, opcode, 0, &split);
}


ngx_int_t
fanout_frame_end_around(fanout_hub_t *hub, fanout_frame_t *f, uint32_t start,
    ngx_uint_t opcode, size_t more, uint32_t *split)
{
    u_char  head[FANOUT_WS_HEADER_MAX];
    size_t  len, n;

    len = f->used - start - FANOUT_HEAD;
    n = fanout_ws_header(head, opcode, 1, len + more);

    if (n != FANOUT_HEAD) {
        if (fanout_frame_reserve(hub, f,
                                 FANOUT_WS_HEADER_MAX)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_memmove(f->data + start + n, f->data + start + FANOUT_HEAD, len);
    }

    *split = *split - FANOUT_HEAD + n;
    ngx_memcpy(f->data + start, head, n);
    f->used = start + n + len;

    return NGX_OK;
}
