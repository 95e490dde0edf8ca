
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A call: a POST of JSON to a location of this NGINX that no client asked for.
 *
 * It is a request like any other: what the location says of upstreams,
 * timeouts, headers, limits and logs holds for it.  Its client is one end of a
 * pair of sockets ("unix:" as an address), on which nothing is ever sent: the
 * response is taken by a filter.
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
    size_t                           limit;     /* bytes of a response */
} fanout_callee_t;


/*
 * Starts a call.  body was made by ngx_alloc() and is owned by the call from
 * now on, also if it fails; to outlives it.  done is called once, later, never
 * from within; what it is called by may be the end of the process's events,
 * so it is not called when the process exits at once.
 *
 * NULL on lack of memory, sockets or connections: done is not called.
 */
fanout_call_t *fanout_call_start(
    fanout_callee_t *to, ngx_str_t *body,
    fanout_call_pt done, void *data);


/* Whether worker_shutdown_timeout has ended the calls of this worker: none
 * should be started any more. */
ngx_uint_t fanout_calls_over(void);


extern ngx_module_t  ngx_http_fanout_call_filter_module;


#endif /* FANOUT_HOOK_CALL_H */
