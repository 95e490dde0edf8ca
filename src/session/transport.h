
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What sessions call of the way that their bytes travel: a table, which a
 * transport fills.  It is beside the one of the dialect.
 */


#ifndef FANOUT_SESSION_TRANSPORT_H
#define FANOUT_SESSION_TRANSPORT_H


#include "session/framing.h"
#include "session/session.h"


struct fanout_transport_s {
    ngx_str_t    name;
    ngx_uint_t   bit;           /* of fanout_transports */
    unsigned     two_way:1;     /* commands come by it as well */
    unsigned     once:1;        /* the first output is the last: the client
                                   asks again, from a position */
    unsigned     commands:1;    /* of a client that is elsewhere, or nowhere:
                                   it joins nothing */
    unsigned     gone:1;        /* the client has gone: what it has sent is
                                   done, nothing can be sent to it */

    /* Bytes that it keeps of each session: s->transport_part, zeroed. */
    size_t                     part;

    /* of all that a session is sent */
    const fanout_framing_t    *framing;

    /* Takes over when the client has gone while the backend is asked about a
     * publish of it. */
    const fanout_transport_t  *away;

    /* Frees what s->transport_part owns; NULL: nothing. */
    void       (*free)(fanout_session_t *s);

    /* Received bytes, which may be changed; stops when a job begins and keeps
     * the rest. */
    void       (*input)(fanout_session_t *s, u_char *data,
                   size_t len);

    /* Says goodbye to a session that is CLOSING now.  It may end it. */
    void       (*close)(fanout_session_t *s, ngx_uint_t code,
                   const char *reason);

    /* Asks for a sign of life; NULL: there is no answer to wait for. */
    void       (*ping)(fanout_session_t *s);

    /* Sends what it can of the output: how much, AGAIN, or ERROR; it may end
     * the session.  NULL: to the socket, as it is. */
    ssize_t    (*send)(fanout_session_t *s);

    /* Pushes shared entries to a session with several channels that is not
     * in the order of the zone.  NULL: as they are. */
    void       (*place)(fanout_subscription_t *sub,
                   fanout_outbuf_t *f, uint32_t start, uint32_t end);

    /* Goes on with the job, for which a backend was asked; it may end the
     * session.  NULL: with the output of the next turn. */
    void       (*resume)(fanout_session_t *s);

    /* Answers the request that an ended session has held, which is no more:
     * data is its s->answer.  Returns what finalizes the request.  NULL, or
     * when s->finish was not set: the request is cut. */
    ngx_int_t  (*answer)(ngx_http_request_t *r, void *data);
};


#endif /* FANOUT_SESSION_TRANSPORT_H */
