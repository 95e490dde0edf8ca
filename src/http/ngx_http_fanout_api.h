
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of the API: a request in work, and the operations that single
 * requests and batches have in common.
 *
 * An operation appends its result, one JSON object, to api->out.  On an
 * error what it has written is to be taken back, and api->message and
 * api->data say more.
 */


#ifndef _NGX_HTTP_FANOUT_API_H_INCLUDED_
#define _NGX_HTTP_FANOUT_API_H_INCLUDED_


#include "ngx_http_fanout_http.h"
#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_json.h"


/* bytes of a page of history; an entry larger than that is a page alone */
#define NGX_HTTP_FANOUT_API_PAGE      1048576

/* entries and channels of a page unless "limit" says otherwise */
#define NGX_HTTP_FANOUT_API_LIMIT     100

/* most channels of a page and of a broadcast */
#define NGX_HTTP_FANOUT_API_CHANNELS  1000

/* bytes of an error's message */
#define NGX_HTTP_FANOUT_API_MESSAGE   256

/* channels/NAME/messages, and one more to tell what is too long */
#define NGX_HTTP_FANOUT_API_WORDS     4


typedef struct ngx_http_fanout_api_s  ngx_http_fanout_api_t;

typedef ngx_http_fanout_error_e (*ngx_http_fanout_api_pt)(
    ngx_http_fanout_api_t *api);


struct ngx_http_fanout_api_s {
    ngx_http_request_t            *request;
    ngx_http_fanout_hub_t         *hub;
    ngx_http_fanout_loc_conf_t    *conf;
    ngx_http_fanout_frame_t       *out;
    ngx_http_fanout_api_pt         handler;     /* awaits the body */
    ngx_http_fanout_api_pt         step;        /* goes on, NULL: it is done */
    void                          *many;        /* of that */
    ngx_http_fanout_task_t         task;
    ngx_http_cleanup_t            *cleanup;     /* NULL: it never waited */

    ngx_str_t                      words[NGX_HTTP_FANOUT_API_WORDS];
    ngx_uint_t                     nwords;

    ngx_uint_t                     status;      /* of success */
    ngx_str_t                      message;     /* of an error */
    ngx_str_t                      data;        /* and its raw JSON */
    unsigned                       deep:1;      /* what was sent nests more
                                                   than data may */
};


typedef struct {
    ngx_str_t                      channel;
    ngx_str_t                      event;
    ngx_str_t                      key;
    ngx_str_t                      user;
    ngx_str_t                      meta;
    ngx_str_t                      data;
    ngx_str_t                      reason;      /* purge */
    ngx_str_t                      to_client;
    ngx_str_t                      to_user;
    ngx_str_t                      tag;         /* signal */
    uint64_t                       epoch;       /* of "if" and "since" */
    uint64_t                       offset;
    uint64_t                       before;      /* history, 0: none */
    ngx_uint_t                     limit;       /* history */
    ngx_uint_t                     kind;
    unsigned                       positioned:1;  /* epoch, offset given */
    unsigned                       transient:1;
    unsigned                       close:1;     /* purge: and let go of all */
    unsigned                       live:1;
} ngx_http_fanout_api_op_t;


/* Whether no page has sent the request that may not: FORBIDDEN. */
ngx_http_fanout_error_e ngx_http_fanout_api_guard(ngx_http_fanout_api_t *api);

/* Says what was wrong; returns the error. */
ngx_http_fanout_error_e ngx_http_fanout_api_fail(ngx_http_fanout_api_t *api,
    ngx_http_fanout_error_e error, const char *fmt, ...);

/* The same for a limit by the name that the welcome gives it. */
ngx_http_fanout_error_e ngx_http_fanout_api_exceed(
    ngx_http_fanout_api_t *api, ngx_http_fanout_error_e error,
    const char *limit, size_t max);

/* INTERNAL, or NONE if an append has succeeded. */
#define ngx_http_fanout_api_done(rc)                                          \
    ((rc) == NGX_OK ? NGX_HTTP_FANOUT_E_NONE : NGX_HTTP_FANOUT_E_INTERNAL)

/* Validates a channel's name.  BAD_REQUEST. */
ngx_http_fanout_error_e ngx_http_fanout_api_channel(
    ngx_http_fanout_api_t *api, ngx_str_t *name);

/* Makes one validated, minified JSON value of a text in the request's
 * pool; what names it in an error.  BAD_REQUEST, INTERNAL. */
ngx_http_fanout_error_e ngx_http_fanout_api_json(ngx_http_fanout_api_t *api,
    const char *what, ngx_str_t *text, ngx_str_t *value);


/* operations; the names and labels of op are validated here */

/* There is no such channel: the data of the error is a position, from which all
 * that is published on it later can be had. */
ngx_http_fanout_error_e ngx_http_fanout_api_absent(
    ngx_http_fanout_api_t *api, ngx_str_t *channel);

ngx_http_fanout_error_e ngx_http_fanout_api_publish(
    ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op);
ngx_http_fanout_error_e ngx_http_fanout_api_signal(
    ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op);
ngx_http_fanout_error_e ngx_http_fanout_api_history(
    ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op);
ngx_http_fanout_error_e ngx_http_fanout_api_info(
    ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op);
ngx_http_fanout_error_e ngx_http_fanout_api_purge(
    ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op);


/* arguments of the query; value is empty, n as it was, without one */

/* INTERNAL. */
ngx_http_fanout_error_e ngx_http_fanout_api_text_arg(
    ngx_http_fanout_api_t *api, const char *name, ngx_str_t *value);

/* BAD_REQUEST if it is no number, INTERNAL. */
ngx_http_fanout_error_e ngx_http_fanout_api_number_arg(
    ngx_http_fanout_api_t *api, const char *name, uint64_t *n);


/* handlers of routes */

ngx_http_fanout_error_e ngx_http_fanout_api_publish_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_signal_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_history_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_info_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_purge_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_list_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_batch_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_broadcast_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_presence_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_client_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_client_delete_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_user_handler(
    ngx_http_fanout_api_t *api);
ngx_http_fanout_error_e ngx_http_fanout_api_user_delete_handler(
    ngx_http_fanout_api_t *api);


#endif /* _NGX_HTTP_FANOUT_API_H_INCLUDED_ */
