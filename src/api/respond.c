
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How a request is answered: the errors that its operations report, the results
 * that they have written, and the steps in which they write many.
 */


#include "api/api.h"


static ngx_int_t api_wait_for(fanout_api_t *api);
static void api_go_on(void *data);
static void cleanup(void *data);


ngx_int_t
fanout_api_respond(fanout_api_t *api, fanout_error_e error)
{
    if (error == FANOUT_E_NONE && api->step) {

        if (api->cleanup || api_wait_for(api) == NGX_OK) {
            fanout_task_add(api->hub, &api->task);
            return NGX_DONE;
        }

        error = FANOUT_E_INTERNAL;
    }

    if (error == FANOUT_E_NONE) {
        error = fanout_api_done(
                    fanout_outbuf_literal(api->hub, api->out, "\n"));
    }

    if (error == FANOUT_E_NONE) {
        return fanout_http_send_outbuf(api->request, api->hub, api->status,
                                       &fanout_type_json, api->out);
    }

    fanout_outbuf_release(api->hub, api->out);

    return fanout_api_respond_error(api, error);
}


/* Holds the request.  A client that closes does not wait for the answer. */

static ngx_int_t
api_wait_for(fanout_api_t *api)
{
    ngx_http_request_t  *r;

    r = api->request;

    api->cleanup = ngx_http_cleanup_add(r, 0);
    if (api->cleanup == NULL) {
        return NGX_ERROR;
    }

    api->cleanup->handler = cleanup;
    api->cleanup->data = api;

    api->task.handler = api_go_on;
    api->task.data = api;

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;

    return NGX_OK;
}


static void
api_go_on(void *data)
{
    ngx_int_t            rc;
    fanout_api_t        *api;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    api = data;
    r = api->request;
    c = r->connection;

    rc = fanout_api_respond(api, api->step(api));

    if (rc == NGX_DONE) {
        return;
    }

    api->cleanup->handler = NULL;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


/* the request ends before it is answered */

static void
cleanup(void *data)
{
    fanout_api_t  *api;

    api = data;

    fanout_task_remove(&api->task);
    fanout_outbuf_release(api->hub, api->out);
}


ngx_int_t
fanout_api_respond_error(fanout_api_t *api, fanout_error_e error)
{
    return fanout_api_respond_status(api, error,
                                     api->refusal
                                     ? api->refusal
                                     : fanout_errors[error].status);
}


ngx_int_t
fanout_api_respond_status(fanout_api_t *api, fanout_error_e error,
    ngx_uint_t status)
{
    size_t           len;
    u_char          *p;
    ngx_str_t        text;
    fanout_error_t  *e;

    e = &fanout_errors[error];

    if (!api->conf->sync) {
        return fanout_http_send_error(api->request, status, &e->code,
                                      api->message.len ? &api->message
                                                       : &e->text,
                                      &api->data);
    }

    if (fanout_api_error_text(api, error, &text) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = sizeof(FANOUT_API_SYNC_FAILURE "}\n") - 1 + text.len;

    p = ngx_pnalloc(api->request->pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_sprintf(p, FANOUT_API_SYNC_FAILURE "%V}\n", &text);

    return fanout_http_send(api->request, status, &fanout_type_json, p, len);
}


ngx_int_t
fanout_api_error_text(fanout_api_t *api, fanout_error_e error, ngx_str_t *text)
{
    ngx_int_t        rc;
    fanout_error_t  *e;

    e = &fanout_errors[error];

    rc = fanout_http_error_text(api->request, &e->code,
                                api->message.len ? &api->message : &e->text,
                                &api->data, text);

    ngx_str_null(&api->message);
    ngx_str_null(&api->data);

    return rc;
}


fanout_error_e
fanout_api_fail(fanout_api_t *api, fanout_error_e error, const char *fmt, ...)
{
    u_char   *p, *last;
    va_list   args;

    ngx_str_null(&api->data);
    ngx_str_null(&api->message);

    p = ngx_pnalloc(api->request->pool, FANOUT_API_MESSAGE);
    if (p == NULL) {
        return error;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(p, p + FANOUT_API_MESSAGE, fmt, args);
    va_end(args);

    api->message.data = p;
    api->message.len = last - p;

    return error;
}


fanout_error_e
fanout_api_exceed(fanout_api_t *api, fanout_error_e error, const char *limit,
    size_t max)
{
    u_char  *p;
    size_t   size;

    error = fanout_api_fail(api, error,
                            "over the limit \"%s\" of %uz", limit,
                            max);

    size = sizeof("{\"limit\":\"\",\"max\":}") + ngx_strlen(limit)
           + NGX_SIZE_T_LEN;

    p = ngx_pnalloc(api->request->pool, size);
    if (p == NULL) {
        return error;
    }

    api->data.data = p;
    api->data.len = ngx_sprintf(p, "{\"limit\":\"%s\",\"max\":%uz}", limit,
                                max)
                    - p;

    return error;
}


fanout_error_e
fanout_api_data(fanout_api_t *api, fanout_error_e error, const u_char *data,
    size_t len)
{
    api->data.data = ngx_pnalloc(api->request->pool, len);
    if (api->data.data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    ngx_memcpy(api->data.data, data, len);
    api->data.len = len;

    return error;
}
