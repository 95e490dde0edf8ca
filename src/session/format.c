
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The registry of formats.
 */


#include "session/format.h"
#include "hub/entry_json.h"
#include "wire/ws.h"


typedef struct {
    fanout_encode_pt         encode;
    const fanout_framing_t  *framing;
} format_t;


static format_t  formats[FANOUT_UNNAMED];


void
fanout_format_set(ngx_uint_t format, fanout_encode_pt encode,
    const fanout_framing_t *framing)
{
    formats[format].encode = encode;
    formats[format].framing = framing;
}


ngx_int_t
fanout_format_entry(ngx_uint_t format, fanout_hub_t *hub,
    fanout_channel_t *ch, fanout_entry_t *e, fanout_outbuf_t *f)
{
    uint32_t                 start;
    ngx_uint_t               opcode;
    fanout_entry_t           hidden;
    const format_t          *fmt;
    const fanout_framing_t  *framing;

    fmt = &formats[format % FANOUT_UNNAMED];
    framing = fmt->framing;
    e = fanout_entry_told(e, format & FANOUT_UNNAMED, &hidden);
    opcode = FANOUT_WS_TEXT;

    if (framing->position && framing->position(hub, e, f) != NGX_OK) {
        return NGX_ERROR;
    }

    if (framing->begin(hub, f, &start) != NGX_OK
        || fmt->encode(hub, ch, e, f, &opcode) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return framing->end(hub, f, start, opcode);
}
