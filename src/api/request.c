
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Requests for one channel, and the data in their bodies.
 */


#include "api/api.h"
#include "base/utf8.h"
#include "hub/records.h"


static fanout_error_e purge_records(fanout_api_t *api);
static fanout_error_e request_read_data(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e guess_data(fanout_api_t *api, fanout_api_op_t *op,
    ngx_str_t *body);


/* handlers of one channel */

fanout_error_e
fanout_api_publish_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_error_e    error;
    fanout_api_op_t  *op;

    op = &args->op;
    op->transient = !args->store;
    op->live = args->live;

    error = request_read_data(api, op);

    return error == FANOUT_E_NONE ? fanout_api_publish(api, op) : error;
}


fanout_error_e
fanout_api_signal_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_error_e  error;

    error = request_read_data(api, &args->op);

    return error == FANOUT_E_NONE ? fanout_api_signal(api, &args->op) : error;
}


fanout_error_e
fanout_api_history_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    args->op.limit = ngx_min(args->limit, api->conf->history);

    return fanout_api_history(api, &args->op);
}


fanout_error_e
fanout_api_info_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    return fanout_api_info(api, &args->op);
}


fanout_error_e
fanout_api_purge_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_api_op_t  *op;

    op = &args->op;
    op->close = (args->close != 0);

    if (!args->records) {
        return fanout_api_purge(api, op);
    }

    api->many = ngx_palloc(api->request->pool, sizeof(fanout_api_op_t));
    if (api->many == NULL) {
        return FANOUT_E_INTERNAL;
    }

    *(fanout_api_op_t *) api->many = *op;

    return purge_records(api);
}


/* Deletes records in steps; the purge at the end tells subscribers. */

static fanout_error_e
purge_records(fanout_api_t *api)
{
    int               rc;
    fanout_error_e    error;
    fanout_api_op_t  *op;

    op = api->many;

    error = fanout_api_purge_check(api, op);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    do {
        rc = fanout_records_clear(api->hub, &op->channel);
    } while (rc == FANOUT_ZONE_AGAIN && !fanout_spent(api->hub));

    if (rc == FANOUT_ZONE_AGAIN) {
        api->step = purge_records;
        return FANOUT_E_NONE;
    }

    api->step = NULL;

    return fanout_api_purge(api, op);
}


/* the data of a publish */

static fanout_error_e
request_read_data(fanout_api_t *api, fanout_api_op_t *op)
{
    size_t      max;
    ngx_str_t   body, type;

    max = api->conf->message_size;

    if (fanout_http_body_size(api->request) > (off_t) max) {
        return fanout_api_exceed(api, FANOUT_E_TOO_LARGE,
                                 "message", max);
    }

    if (fanout_http_body(api->request, &body) != NGX_OK) {
        return FANOUT_E_INTERNAL;
    }

    if (body.len == 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "the body is empty");
    }

    type = fanout_http_header(api->request, "content-type");
    op->kind = fanout_http_kind(&type);

    switch (op->kind) {

    case FANOUT_JSON:
        return fanout_api_json(api, "body", &body, &op->data);

    case FANOUT_TEXT:

        if (fanout_utf8_check(body.data, body.len)
            != FANOUT_UTF8_OK)
        {
            return fanout_api_fail(api,
                                   FANOUT_E_BAD_REQUEST,
                                   "body is text, but not UTF-8");
        }

        /* fall through */

    case FANOUT_BINARY:
        op->data = body;
        return FANOUT_E_NONE;

    default:
        return guess_data(api, op, &body);
    }
}


/* JSON if it is valid, otherwise text if it is UTF-8, otherwise bytes */

static fanout_error_e
guess_data(fanout_api_t *api, fanout_api_op_t *op, ngx_str_t *body)
{
    fanout_error_e  error;

    op->kind = FANOUT_JSON;

    error = fanout_api_json(api, "body", body, &op->data);

    if (error != FANOUT_E_BAD_REQUEST || api->deep) {
        return error;
    }

    op->data = *body;
    op->kind = fanout_utf8_check(body->data, body->len)
               == FANOUT_UTF8_OK
               ? FANOUT_TEXT : FANOUT_BINARY;

    ngx_str_null(&api->message);

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_api_lock_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_json_t             value;
    fanout_error_e            error;
    fanout_api_op_t           sent;
    const fanout_api_verb_t  *verb;

    verb = &fanout_api_verb_take;

    if (fanout_http_body_size(api->request)) {
        if (fanout_http_body_size(api->request)
            > (off_t) api->conf->message_size)
        {
            return fanout_api_exceed(api, FANOUT_E_TOO_LARGE, "message",
                                     api->conf->message_size);
        }

        if ((error = fanout_api_body(api, &value))
            || (error = fanout_api_decode(api, &value, &verb, &sent)))
        {
            return error;
        }

        args->op.ttl = sent.ttl;
        args->op.timed = sent.timed;
        args->op.data = sent.data;
    }

    return fanout_api_lock(api, &args->op);
}


fanout_error_e
fanout_api_lock_delete_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    return fanout_api_unlock(api, &args->op);
}


fanout_error_e
fanout_api_body(fanout_api_t *api, fanout_json_t *value)
{
    int                  type;
    unsigned             levels;
    ngx_str_t            body;
    fanout_json_error_t  err;

    if (fanout_http_body(api->request, &body) != NGX_OK) {
        return FANOUT_E_INTERNAL;
    }

    if (body.len == 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "the body is empty");
    }

    type = fanout_json_levels(body.data, body.len, value, &levels, &err);

    if (type == FANOUT_JSON_NO_MEMORY) {
        return FANOUT_E_INTERNAL;
    }

    if (type < 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "body is not JSON: %s", err.reason);
    }

    api->deep = (levels > FANOUT_JSON_DEPTH);

    return FANOUT_E_NONE;
}
