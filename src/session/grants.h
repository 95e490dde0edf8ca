
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Grants: what a backend has answered on an operation of a user, or of a client
 * without one, on a channel.
 *
 * A worker keeps the answers of a fanout_authorize for as long as they say, the
 * least recently used go first.  A user, or an address of clients without
 * users, holds at most a share of them, and of the questions that are open.
 */


#ifndef FANOUT_SESSION_GRANTS_H
#define FANOUT_SESSION_GRANTS_H


#include "hub/hub.h"


typedef struct fanout_grants_s         fanout_grants_t;
typedef struct fanout_grant_s          fanout_grant_t;
typedef struct fanout_grants_holder_s  fanout_grants_holder_t;
typedef struct fanout_connect_s        fanout_connect_t;


/* who is granted something; the strings are the caller's */

typedef struct {
    ngx_str_t                user;              /* len 0: none, but */
    uint64_t                 client;            /* 0: none */
    uint64_t                 holder;            /* hash of whom it counts for */
    const void              *place;             /* where: the zone; the location
                                                   of who connects */
    const ngx_connection_t  *connection;        /* whose grants in hand hold */
} fanout_grantee_t;


struct fanout_grant_s {
    ngx_str_node_t           node;              /* grants->tree; the key */
    ngx_queue_t              age;               /* grants->ages, if listed */
    ngx_queue_t              own;               /* holder->grants */
    ngx_queue_t              askers;            /* see transport/authorize.h */
    fanout_grants_t         *grants;
    fanout_grants_holder_t  *holder;
    const void              *place;             /* of the grantee */
    uint64_t                 expires;           /* joins by it end, in ms of the
                                                   epoch; 0: they don't */
    ngx_msec_t               until;             /* it is an answer for others */
    ngx_uint_t               refs;
    ngx_uint_t               op;                /* that was asked for: one of
                                                   FANOUT_MAY_*, or
                                                   FANOUT_ASK_CONNECT */
    ngx_uint_t               ops;               /* granted */
    fanout_error_e           rc;                /* NONE: granted */
    ngx_str_t                text;              /* of an error; len 0: the usual
                                                   one; of ngx_alloc() */
    fanout_connect_t        *connect;           /* of ngx_alloc(), or NULL */
    ngx_str_t                presence;          /* data of members, JSON, of
                                                   ngx_alloc(), .data NULL:
                                                   theirs */
    size_t                   presence_max;      /* bytes of it */
    unsigned                 answered:1;
    unsigned                 listed:1;          /* in the tree */
};


/* a user or an address with grants */

struct fanout_grants_holder_s {
    ngx_rbtree_node_t        node;              /* key: hash */
    ngx_queue_t              grants;            /* listed, by .own, oldest
                                                   first */
    ngx_uint_t               n;                 /* of these */
    ngx_uint_t               open;              /* not answered */
    ngx_uint_t               refs;              /* all grants */
};


/* of one fanout_authorize, in this worker */

struct fanout_grants_s {
    ngx_uint_t               max;               /* answers */
    ngx_uint_t               queue;             /* questions */
    ngx_uint_t               n;                 /* listed */
    ngx_uint_t               open;
    ngx_rbtree_t             tree;
    ngx_rbtree_node_t        sentinel;
    ngx_rbtree_t             holders;
    ngx_rbtree_node_t        no_holder;
    ngx_queue_t              ages;              /* least recently used first */
};


/* most bytes of the text of a refusal */
#define FANOUT_GRANT_TEXT  255

/* questions that a holder may have in any case */
#define FANOUT_GRANT_SHARE  8

/* of the answers that are kept, a holder has one in so many at most */
#define FANOUT_GRANT_PART  16


/* Once, before any other. */
void fanout_grants_init(fanout_grants_t *g);

/* The grant of an op on a channel that is known or asked for, with a reference
 * for the caller; NULL: none. */
fanout_grant_t *fanout_grants_find(fanout_grants_t *g,
    const fanout_grantee_t *who, ngx_uint_t op, ngx_str_t *channel);

/* A grant that is to be asked for, with a reference for the caller.  NULL and
 * *rc: RATE_LIMITED, the holder has its share of the questions; UNAVAILABLE,
 * there are as many as may be; INTERNAL on lack of memory. */
fanout_grant_t *fanout_grants_open(fanout_grants_t *g,
    const fanout_grantee_t *who, ngx_uint_t op, ngx_str_t *channel,
    fanout_error_e *rc);

/* It is answered, and serves others for so many ms, 0: only those that hold
 * it. */
void fanout_grant_close(fanout_grant_t *grant, ngx_msec_t ttl);

/* Drops a reference. */
void fanout_grant_release(fanout_grant_t *grant);

/* The ops on the channel of the grant that it grants now. */
ngx_uint_t fanout_grant_ops(const fanout_grant_t *grant);

/* The channel of a grant. */
void fanout_grant_channel(const fanout_grant_t *grant, ngx_str_t *channel);


/*
 * Grants in hand: those that a command or a request of this connection has
 * waited for.  They hold for it while it runs, however short they are kept.
 * The caller has the references, and takes them out of hand before it returns
 * to the event loop.
 */
void fanout_grants_take(const ngx_connection_t *c, fanout_grant_t **grants,
    ngx_uint_t n);
void fanout_grants_put(void);

/* What was answered for an op on a channel, of these of a connection, or
 * NULL. */
fanout_grant_t *fanout_grants_in_hand(const ngx_connection_t *c,
    ngx_uint_t op, ngx_str_t *channel);

/* The ops of these that are granted on a channel by what is in hand or known;
 * asked NULL: in hand. */
ngx_uint_t fanout_grants_check(fanout_grants_t *const *asked,
    const fanout_grantee_t *who, ngx_uint_t ops, ngx_str_t *channel);

/* What was answered for an op on a channel, in hand or known; NULL: it was not
 * asked for.  Valid until the caller returns to the event loop. */
fanout_grant_t *fanout_grants_answered(fanout_grants_t *const *asked,
    const fanout_grantee_t *who, ngx_uint_t op, ngx_str_t *channel);


#endif /* FANOUT_SESSION_GRANTS_H */
