
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Framing: messages of WebSocket (RFC 6455), server-sent events (HTML, section
 * 9.2), items of an array of JSON, and payloads as they are.
 */


#include "session/framing.h"
#include "hub/entry_json.h"
#include "session/position.h"
#include "wire/ws.h"


#define FANOUT_HEAD  4              /* of most frames: 126 to 65535 bytes */


static ngx_int_t event_begin(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint32_t *start);
static ngx_int_t event_end(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint32_t start, ngx_uint_t opcode);
static ngx_int_t event_position(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);
static ngx_int_t item_end(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint32_t start, ngx_uint_t opcode);
static ngx_int_t none_begin(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint32_t *start);
static ngx_int_t none_end(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint32_t start, ngx_uint_t opcode);


const fanout_framing_t  fanout_framing_websocket = {
    fanout_frame_begin,
    fanout_frame_end,
    NULL
};


const fanout_framing_t  fanout_framing_events = {
    event_begin,
    event_end,
    event_position
};


const fanout_framing_t  fanout_framing_items = {
    none_begin,
    item_end,
    NULL
};


const fanout_framing_t  fanout_framing_none = {
    none_begin,
    none_end,
    NULL
};


ngx_int_t
fanout_frame_begin(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t *start)
{
    if (fanout_outbuf_reserve(hub, f, FANOUT_HEAD)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    *start = f->used;
    f->used += FANOUT_HEAD;

    return NGX_OK;
}


ngx_int_t
fanout_frame_end(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t start,
    ngx_uint_t opcode)
{
    uint32_t  split;

    split = f->used;

    return fanout_frame_end_around(hub, f, start, opcode, 0, &split);
}


ngx_int_t
fanout_frame_end_around(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t start,
    ngx_uint_t opcode, size_t more, uint32_t *split)
{
    u_char  head[FANOUT_WS_HEADER_MAX];
    size_t  len, n;

    len = f->used - start - FANOUT_HEAD;
    n = fanout_ws_header(head, opcode, 1, len + more);

    if (n != FANOUT_HEAD) {
        if (fanout_outbuf_reserve(hub, f,
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


static ngx_int_t
event_begin(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t *start)
{
    if (fanout_outbuf_reserve(hub, f, sizeof("data: ") - 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    *start = f->used;
    ngx_memcpy(f->data + f->used, "data: ", sizeof("data: ") - 1);
    f->used += sizeof("data: ") - 1;

    return NGX_OK;
}


/* JSON has no line feeds between its tokens here, and none in strings */

static ngx_int_t
event_end(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t start,
    ngx_uint_t opcode)
{
    if (fanout_outbuf_reserve(hub, f, 2) != NGX_OK) {
        return NGX_ERROR;
    }

    f->data[f->used++] = '\n';
    f->data[f->used++] = '\n';

    return NGX_OK;
}


/* A signal has no place in the order. */

static ngx_int_t
event_position(fanout_hub_t *hub, fanout_entry_t *e, fanout_outbuf_t *f)
{
    if (e->seq == 0 || e->seq == UINT64_MAX || e->type == FANOUT_SIGNAL) {
        return NGX_OK;
    }

    return fanout_position_id(hub, e->seq, f);
}


static ngx_int_t
item_end(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t start,
    ngx_uint_t opcode)
{
    return fanout_outbuf_literal(hub, f, ",");
}


static ngx_int_t
none_begin(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t *start)
{
    *start = f->used;

    return NGX_OK;
}


static ngx_int_t
none_end(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t start,
    ngx_uint_t opcode)
{
    return NGX_OK;
}
