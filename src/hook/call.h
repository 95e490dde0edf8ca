
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A call: a request to a location of this NGINX that no client asked for.
 *
 * It is a request like any other: what the location says of upstreams,
 * timeouts, headers, limits and logs holds for it.  Its client is one end of a
 * pair of sockets, on which nothing is ever sent: the response is taken by a
 * filter.
 */


#ifndef FANOUT_HOOK_CALL_H
#define FANOUT_HOOK_CALL_H


#include "session/conf.h"


typedef struct fanout_call_s  fanout_call_t;

/*
 * The end of a call: the status and the body of a response that was received
 * as a whole; or status 0 and in body a text that says why there is none.
 * body is valid during the call back only.
 */
typedef void (*fanout_call_pt)(void *data, ngx_uint_t status,
    ngx_str_t *body);


/* The text of a response above the limit; compared by its address. */
extern const char  fanout_call_too_large[];


/* the target of calls */

typedef struct {
    ngx_http_conf_ctx_t             *ctx;       /* of the server */
    ngx_str_t                        uri;
    ngx_str_t                        args;
    ngx_str_t                        what;      /* for the log: "hook ..." */
    ngx_msec_t                       timeout;   /* of a call as a whole */
    size_t                           limit;     /* bytes of a response, 0: they
                                                   are not kept */
} fanout_callee_t;


/* How the request of a call is made.  The first two get "as" of fanout_call(),
 * the last one its data. */

typedef struct {
    /* Sets the addresses of the connection, "unix:" before.  NGX_ERROR on lack
     * of memory.  NULL: they stay. */
    ngx_int_t  (*connect)(ngx_connection_t *c, void *data);

    /* Fills in the request.  NGX_OK; NGX_DONE: NGINX has ended it; NGX_ERROR on
     * lack of memory. */
    ngx_int_t  (*request)(ngx_http_request_t *r, void *data);

    /* The response begins, or there is none: takes back what the connection has
     * of others, which would be closed with it.  May be called again.  NULL: it
     * has nothing. */
    void       (*decided)(ngx_connection_t *c, void *data);
} fanout_caller_t;


/*
 * Starts a call; to outlives it.  done is called once, later, never from
 * within; what it is called by may be the end of the process's events, so it is
 * not called when the process exits at once.
 *
 * NULL on lack of memory, sockets or connections: done is not called.
 */
fanout_call_t *fanout_call(fanout_callee_t *to, const fanout_caller_t *caller,
    void *as, fanout_call_pt done, void *data);

/* The same for a POST of JSON by NGINX itself.  body was made by ngx_alloc(),
 * and is owned by the call from now on, also if it fails. */
fanout_call_t *fanout_call_post(fanout_callee_t *to, ngx_str_t *body,
    fanout_call_pt done, void *data);

/* The same, and another caller adds to the connection and the request; either
 * of its functions may be NULL, "decided" is not called. */
fanout_call_t *fanout_call_post_as(fanout_callee_t *to, ngx_str_t *body,
    const fanout_caller_t *more, void *as, fanout_call_pt done, void *data);

/* The data of a request, or of its subrequests, if it is a call of this caller;
 * else NULL. */
void *fanout_call_data(ngx_http_request_t *r, const fanout_caller_t *caller);

/* Adds a header to the request of a call; name and value outlive it.  NULL on
 * lack of memory. */
ngx_table_elt_t *fanout_call_header(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *value);


/* The connection of a call to a server, and the other end of its sockets in
 * *peer, which is set also on failure; NULL on lack of memory, sockets or
 * connections. */
ngx_connection_t *fanout_call_connect(ngx_http_conf_ctx_t *ctx,
    ngx_socket_t *peer);

/* Closes a connection that has no request. */
void fanout_call_disconnect(ngx_connection_t *c);

/* Whether a connection is that of a call. */
ngx_uint_t fanout_call_connected(ngx_connection_t *c);


/* Whether worker_shutdown_timeout has ended the calls of this worker: none
 * should be started any more. */
ngx_uint_t fanout_calls_over(void);


extern ngx_module_t  ngx_http_fanout_call_filter_module;


#endif /* FANOUT_HOOK_CALL_H */
