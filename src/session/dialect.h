
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The calls of sessions to the protocol that their client speaks: a table that
 * a dialect fills in.
 */


#ifndef FANOUT_SESSION_DIALECT_H
#define FANOUT_SESSION_DIALECT_H


#include "session/session.h"


struct fanout_dialect_s {
    ngx_str_t    name;
    ngx_uint_t   format;        /* of entries, plain; see format.h */
    ngx_uint_t   closes;        /* 1: a gap and a reset are close frames */
    ngx_uint_t   names;         /* 1: entries name users, in a format without
                                   FANOUT_UNNAMED */

    /* Bytes that it keeps of each session: s->dialect_part, zeroed. */
    size_t       part;

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

    /* A job is done, and the session has none: goes on with the message that
     * started it.  NULL: nothing is left of it. */
    void       (*job_done)(fanout_session_t *s);

    /* Whether a subscription wants an entry; only asked for those that are
     * not plain. */
    ngx_uint_t (*match)(fanout_subscription_t *sub,
                   fanout_entry_t *e);

    /* Frees what s->dialect_part owns; NULL: nothing. */
    void       (*free)(fanout_session_t *s);

    /* Sends the replies of commands that are done, and entries that wait for
     * them: the session is about to close.  May end the session; frees nothing
     * that a command or job in progress needs.  NULL: replies never wait. */
    void       (*flush)(fanout_session_t *s);

    /* Announces a close, after the replies: its code and, for a restart, after
     * how many ms to come back. */
    void       (*closing)(fanout_session_t *s, ngx_uint_t code,
                   ngx_msec_t after);

    /* A sign of life for clients that can't see pings; may be NULL. */
    void       (*heartbeat)(fanout_session_t *s);

    /* The same as a stream of events and as polls; NULL: WebSocket only. */
    const fanout_dialect_t  *stream;
    const fanout_dialect_t  *poll;

    /* Its subscription to a channel was ended by others, for the reason
     * (FANOUT_LEFT_*); NULL where sessions have no seats. */
    void       (*removed)(fanout_session_t *s, ngx_str_t *channel,
                   ngx_uint_t reason);

    /* Its client may have got a lock that it waits for, or have lost its place
     * in the line; NULL where commands don't wait. */
    void       (*granted)(fanout_session_t *s);

    /* The profile of who sends a request, JSON of its pool, empty for none.
     * NGX_OK; NGX_DECLINED: it is too large; NGX_ERROR.  NULL: there is
     * none. */
    ngx_int_t  (*info)(ngx_http_request_t *r, fanout_loc_conf_t *conf,
                   ngx_str_t *info);

    /* The token of a session came that was awaited: it has its user, profile
     * and permissions now.  Greets.  NULL where tokens are not awaited. */
    void       (*proved)(fanout_session_t *s);

    /* The session ends in so many ms, or its join of a channel does; NULL: the
     * client is not told. */
    void       (*expiring)(fanout_session_t *s, ngx_str_t *channel,
                   ngx_msec_t left);
};


#endif /* FANOUT_SESSION_DIALECT_H */
