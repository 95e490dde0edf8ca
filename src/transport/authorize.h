
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Authorization by a backend (fanout_authorize): what the rules of a location
 * don't permit is asked for, by a request to a location of this NGINX that has
 * the headers of the client's.
 */


#ifndef FANOUT_TRANSPORT_AUTHORIZE_H
#define FANOUT_TRANSPORT_AUTHORIZE_H


#include "hook/call.h"
#include "session/grants.h"
#include "transport/kept_handshake.h"


/* a fanout_authorize */

struct fanout_authorizer_s {
    fanout_grants_t          grants;
    fanout_callee_t          callee;
    ngx_uint_t               ops;           /* FANOUT_MAY_* */
    ngx_uint_t               calls;         /* at a time */
    ngx_msec_t               cache;         /* ttl of an answer that has none */
    size_t                   headers;       /* bytes that are kept, at most */

    /* of a worker */
    ngx_uint_t               active;        /* calls */
    ngx_queue_t              waiting;       /* questions without a call */
    time_t                   logged;        /* its last failure */
};

/* most of an answer, in bytes */
#define FANOUT_AUTHORIZE_ANSWER  65536

/* ms that a client waits at least, when there is no answer */
#define FANOUT_AUTHORIZE_RETRY   1000


/* a question */

typedef struct {
    fanout_loc_conf_t       *conf;
    fanout_grantee_t         who;
    ngx_uint_t               op;            /* one FANOUT_MAY_* */
    ngx_str_t                channel;
    ngx_str_t                transport;     /* its name */
    ngx_str_t                info;          /* the profile, JSON, or len 0 */
    ngx_connection_t        *connection;
    fanout_handshake_t      *handshake;     /* NULL: too large */
} fanout_question_t;


/* who waits for the answer; a part of the caller's */

typedef struct fanout_asker_s  fanout_asker_t;

struct fanout_asker_s {
    ngx_queue_t              queue;         /* grant->askers */
    fanout_grant_t          *grant;         /* NULL: it did not ask */

    /* The grant is answered.  Called later, never from within; may ask
     * again, with the same asker once it has forgotten this answer. */
    void                   (*answered)(fanout_asker_t *asker);
};


/* Asks, or takes what is known: NONE, and .grant is set, which is answered or
 * .answered will be called.  UNAVAILABLE: there are too many questions;
 * INTERNAL. */
fanout_error_e fanout_authorize(fanout_asker_t *asker,
    const fanout_question_t *question);

/* The name of what is asked for. */
void fanout_authorize_name(ngx_uint_t op, ngx_str_t *name);

/* Ends the waiting, and releases the grant; nothing if it did not ask. */
void fanout_authorize_forget(fanout_asker_t *asker);

/* Runs the handler of a request, once it may connect, and all is answered that
 * the channels of a stream or a poll have to be asked for, with these answers
 * in hand.  Returns what a content handler does. */
ngx_int_t fanout_authorize_request(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_http_handler_pt handler);


#endif /* FANOUT_TRANSPORT_AUTHORIZE_H */
