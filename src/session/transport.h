
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The calls of sessions to their transport: a table that a transport fills in,
 * beside that of the dialect.
 */


#ifndef FANOUT_SESSION_TRANSPORT_H
#define FANOUT_SESSION_TRANSPORT_H


#include "session/framing.h"
#include "session/session.h"


struct fanout_transport_s {
    ngx_str_t    name;
    ngx_uint_t   bit;           /* of fanout_transports */
    unsigned     two_way:1;     /* the client can send commands by it, too */
    unsigned     once:1;        /* the first output is the last: the client
                                   asks again, from a position */
    unsigned     commands:1;    /* of a client that is connected elsewhere, or
                                   not at all: the session joins nothing */
    unsigned     gone:1;        /* the client has gone: its input is processed,
                                   nothing can be sent to it */

    /* Bytes that it keeps of each session: s->transport_part, zeroed. */
    size_t                     part;

    /* of all output */
    const fanout_framing_t    *framing;

    /* Takes over when the client has gone while a publish of it waits for the
     * backend. */
    const fanout_transport_t  *away;

    /* Frees what s->transport_part owns; NULL: nothing. */
    void       (*free)(fanout_session_t *s);

    /* Processes received bytes, which may be changed; stops when a job begins
     * and keeps the rest. */
    void       (*input)(fanout_session_t *s, u_char *data,
                   size_t len);

    /* Sends the close of a session that is CLOSING now.  May end the
     * session. */
    void       (*close)(fanout_session_t *s, ngx_uint_t code,
                   const char *reason);

    /* Sends a ping; NULL: there is no answer to wait for. */
    void       (*ping)(fanout_session_t *s);

    /* Sends output: returns the bytes taken, NGX_AGAIN, or NGX_ERROR;
     * NGX_DECLINED if nothing is to be done.  May end the session.  NULL: the
     * output is sent to the socket unchanged. */
    ssize_t    (*send)(fanout_session_t *s);

    /* Pushes shared entries to a session with several channels that is not in
     * the order of the zone.  NULL: unchanged. */
    void       (*place)(fanout_subscription_t *sub,
                   fanout_outbuf_t *f, uint32_t start, uint32_t end);

    /* Continues the job of an OPEN session; may end the session.  NULL: the
     * job continues with the output of the next turn. */
    void       (*resume)(fanout_session_t *s);

    /* Answers the request that a session has kept, after the session was freed:
     * data is its s->answer.  Returns the code to finalize the request with.
     * NULL, or if s->finish was not set: the request is cut. */
    ngx_int_t  (*answer)(ngx_http_request_t *r, void *data);
};


#endif /* FANOUT_SESSION_TRANSPORT_H */
