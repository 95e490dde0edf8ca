
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The dialects: what clients speak.
 */


#ifndef FANOUT_DIALECT_DIALECT_H
#define FANOUT_DIALECT_DIALECT_H


#include "session/dialect.h"
#include "session/format.h"


/* formats, below FANOUT_UNNAMED */
#define FANOUT_NATIVE_WS   0
#define FANOUT_RAW_WS      1
#define FANOUT_NATIVE_SSE  2
#define FANOUT_NATIVE_POLL 3

/* no format of a session: items of a native reply's "messages", with users
 * and, + FANOUT_UNNAMED, without */
#define FANOUT_NATIVE_ITEMS  FANOUT_FORMATS


extern const fanout_dialect_t  fanout_native;
extern const fanout_dialect_t  fanout_raw;
extern const fanout_dialect_t  fanout_native_sse;
extern const fanout_dialect_t  fanout_native_poll;

/* Registers the formats of all; when a process starts. */
void fanout_dialect_init(void);

/* The dialect of a name, NULL. */
const fanout_dialect_t *fanout_dialect_named(ngx_str_t *name);


/* encoders of formats, see format.h */

ngx_int_t fanout_native_encode(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, fanout_outbuf_t *f, ngx_uint_t *opcode);
ngx_int_t fanout_raw_encode(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, fanout_outbuf_t *f, ngx_uint_t *opcode);


#endif /* FANOUT_DIALECT_DIALECT_H */
