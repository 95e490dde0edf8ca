
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Formats: what bytes an entry becomes.  A format is a small number; it has an
 * encoder of a dialect and a framing.  Each is with the users that entries
 * name, or without (FANOUT_UNNAMED); and plain or deflated in one of two ways,
 * with a large window and with a small one.  An entry is encoded once for all
 * subscribers of a format.
 */


#ifndef FANOUT_SESSION_FORMAT_H
#define FANOUT_SESSION_FORMAT_H


#include "session/framing.h"


/* FANOUT_DEFLATE_* of a format, and the plain one of it */
#define fanout_deflate_of(format)                                             \
    ((format) / FANOUT_BASES)
#define fanout_base_of(format)                                                \
    ((format) % FANOUT_BASES)


/* Appends the payload of an entry, without framing: messages, signals, gaps
 * and resets; changes of members where there are subscribers that want them.
 * *opcode is FANOUT_WS_TEXT, and may be set to another.  NGX_ERROR on lack of
 * memory. */
typedef ngx_int_t (*fanout_encode_pt)(fanout_hub_t *hub,
    fanout_channel_t *ch, fanout_entry_t *e, fanout_outbuf_t *f,
    ngx_uint_t *opcode);


/* Registers a plain format, below FANOUT_UNNAMED, and the same without users;
 * when a process starts. */
void fanout_format_set(ngx_uint_t format, fanout_encode_pt encode,
    const fanout_framing_t *framing);

/* Appends an entry as whole frames of the plain format of one.  NGX_ERROR on
 * lack of memory. */
ngx_int_t fanout_format_entry(ngx_uint_t format, fanout_hub_t *hub,
    fanout_channel_t *ch, fanout_entry_t *e, fanout_outbuf_t *f);


#endif /* FANOUT_SESSION_FORMAT_H */
