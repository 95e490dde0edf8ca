
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Framing: what stands around a payload in a frame, so that the client finds
 * its bounds: the head of a WebSocket's message, the lines of an event, the
 * comma of an array.
 */


#ifndef FANOUT_SESSION_FRAMING_H
#define FANOUT_SESSION_FRAMING_H


#include "hub/hub.h"


typedef struct {
    /* Opens a payload in a frame and closes it; start is theirs.  The opcode
     * is one of WebSocket.  NGX_ERROR on lack of memory. */
    ngx_int_t  (*begin)(fanout_hub_t *hub, fanout_outbuf_t *f,
                   uint32_t *start);
    ngx_int_t  (*end)(fanout_hub_t *hub, fanout_outbuf_t *f, uint32_t start,
                   ngx_uint_t opcode);

    /* Appends the position of an entry, ahead of its payload.  NGX_ERROR on
     * lack of memory.  NULL: nothing is said of it. */
    ngx_int_t  (*position)(fanout_hub_t *hub, fanout_entry_t *e,
                   fanout_outbuf_t *f);
} fanout_framing_t;


extern const fanout_framing_t  fanout_framing_websocket;
extern const fanout_framing_t  fanout_framing_events;
extern const fanout_framing_t  fanout_framing_items;    /* of an array */
extern const fanout_framing_t  fanout_framing_none;     /* as it is */


/* Opens a message of WebSocket: returns where it starts.  NGX_ERROR from
 * either on lack of memory. */
ngx_int_t fanout_frame_begin(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint32_t *start);

/* Closes it: all that was appended since is its payload. */
ngx_int_t fanout_frame_end(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint32_t start, ngx_uint_t opcode);

/* The same for a message whose payload goes on with "more" bytes of another
 * frame: they belong behind *split.  What was appended behind *split, which
 * may move, follows them. */
ngx_int_t fanout_frame_end_around(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint32_t start, ngx_uint_t opcode, size_t more, uint32_t *split);


#endif /* FANOUT_SESSION_FRAMING_H */
