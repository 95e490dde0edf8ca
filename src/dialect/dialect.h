
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The seam between sessions and what clients speak.  A dialect is a table;
 * neither hub nor zone knows which there are.
 */


#ifndef FANOUT_DIALECT_DIALECT_H
#define FANOUT_DIALECT_DIALECT_H


#include "session/framing.h"
#include "session/session.h"


struct fanout_dialect_s {
    ngx_str_t    name;
    ngx_uint_t   format;        /* of entries over WebSocket */
    ngx_uint_t   closes;        /* 1: a gap and a reset are close frames */

    /* The handshake: checks what is particular (arguments, subprotocols).
     * NULL, or why it is refused, static, and the status. */
    const char  *(*accept)(ngx_http_request_t *r,
                   fanout_loc_conf_t *conf, ngx_uint_t *status);

    /* The session is there: greets. */
    void       (*open)(fanout_session_t *s, ngx_http_request_t *r);

    /* One whole message of the client, text or binary; data may be changed
     * during the call.  May start a job: then no more is given until it is
     * done. */
    void       (*receive)(fanout_session_t *s, ngx_uint_t opcode,
                   u_char *data, size_t len);

    /* Whether a subscription wants an entry; only asked for those that are
     * not plain. */
    ngx_uint_t (*match)(fanout_subscription_t *sub,
                   fanout_entry_t *e);

    /* Appends an entry as whole frames.  Messages, gaps and resets; changes of
     * members where there are subscribers that want them.
     * NGX_ERROR on lack of memory. */
    ngx_int_t  (*encode)(fanout_hub_t *hub,
                   fanout_channel_t *ch,
                   fanout_entry_t *e, fanout_frame_t *f);

    /* Goes on with the session's job within its output limit; NGX_AGAIN if
     * the limit was reached, NGX_OK when done. */
    ngx_int_t  (*work)(fanout_session_t *s);

    /* Frees what the dialect put into s->batch. */
    void       (*close)(fanout_session_t *s);

    /* What is said before a close: code and, for a restart, when to come
     * back (ms). */
    void       (*closing)(fanout_session_t *s, ngx_uint_t code,
                   ngx_msec_t after);

    /* A sign of life for clients that can't see pings; may be NULL. */
    void       (*heartbeat)(fanout_session_t *s);

    /* The same as a stream of events and as polls; NULL: WebSocket only. */
    const fanout_dialect_t  *stream;
    const fanout_dialect_t  *poll;

    /* Its subscription to a channel was ended by others, for the reason
     * (FANOUT_LEFT_*); NULL where sessions have no seats. */
    void       (*parted)(fanout_session_t *s, ngx_str_t *channel,
                   ngx_uint_t reason);
};


extern const fanout_dialect_t  fanout_native;
extern const fanout_dialect_t  fanout_raw;
extern const fanout_dialect_t  fanout_native_stream;
extern const fanout_dialect_t  fanout_native_poll;

/* The dialect of a format, and the one of a name; NULL. */
const fanout_dialect_t *fanout_dialect(ngx_uint_t format);
const fanout_dialect_t *fanout_dialect_named(
    ngx_str_t *name);


#endif /* FANOUT_DIALECT_DIALECT_H */
