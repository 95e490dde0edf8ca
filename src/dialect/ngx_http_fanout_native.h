
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of the native dialect: its frames and its commands.
 */


#ifndef _NGX_HTTP_FANOUT_NATIVE_H_INCLUDED_
#define _NGX_HTTP_FANOUT_NATIVE_H_INCLUDED_


#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_json.h"


/* an array of commands being worked off; owned by the session */

typedef struct {
    ngx_http_fanout_hub_t    *hub;
    ngx_http_fanout_json_t   *items;
    ngx_uint_t                n;
    ngx_uint_t                i;        /* next */
    ngx_http_fanout_frame_t  *frame;    /* replies so far, NULL: none */
    uint32_t                  start;    /* of the message in it */
} ngx_http_fanout_native_batch_t;


/* Runs a command, at is its index in an array.  Replies, or starts a job. */
void ngx_http_fanout_native_command(ngx_http_fanout_session_t *s,
    ngx_http_fanout_json_t *object, ngx_uint_t at);

/* Replies with an error; op and at are told when there is no id.  data is raw
 * JSON or NULL, text NULL for the usual one. */
void ngx_http_fanout_native_error(ngx_http_fanout_session_t *s,
    ngx_http_fanout_json_t *id, ngx_http_fanout_json_t *op, ngx_uint_t at,
    ngx_http_fanout_error_e code, ngx_str_t *text, ngx_str_t *data);

/* The dialect's work(): goes on with a join or a history. */
ngx_int_t ngx_http_fanout_native_work(ngx_http_fanout_session_t *s);

/* After a job: the rest of the array it was in. */
void ngx_http_fanout_native_continue(ngx_http_fanout_session_t *s);

/* Unix ms. */
uint64_t ngx_http_fanout_native_time(void);


#endif /* _NGX_HTTP_FANOUT_NATIVE_H_INCLUDED_ */
