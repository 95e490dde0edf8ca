
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The query, headers and body of a request for one channel.
 */


#include "api/api.h"
#include "base/utf8.h"


static fanout_error_e request_read_data(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e guess_data(fanout_api_t *api, fanout_api_op_t *op,
    ngx_str_t *body);


/* handlers of one channel */

fanout_error_e
fanout_api_publish_handler(fanout_api_t *api)
{
    ngx_uint_t       store, live;
    fanout_error_e   error;
    fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(fanout_api_op_t));

    store = 1;
    live = 0;
    op.channel = api->words[1];

    if ((error = fanout_api_key_arg(api, &op))
        || (error = fanout_api_text_arg(api, "event", &op.event))
        || (error = fanout_api_text_arg(api, "user", &op.user))
        || (error = fanout_api_flag_arg(api, "store", &store))
        || (error = fanout_api_flag_arg(api, "live", &live))
        || (error = fanout_api_to_args(api, &op))
        || (error = fanout_api_meta_arg(api, &op))
        || (error = fanout_api_position_arg(api, "if", &op))
        || (error = request_read_data(api, &op)))
    {
        return error;
    }

    op.transient = !store;
    op.live = live;

    return fanout_api_publish(api, &op);
}


fanout_error_e
fanout_api_signal_handler(fanout_api_t *api)
{
    fanout_error_e   error;
    fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(fanout_api_op_t));

    op.channel = api->words[1];

    if ((error = fanout_api_text_arg(api, "event", &op.event))
        || (error = fanout_api_text_arg(api, "tag", &op.tag))
        || (error = fanout_api_text_arg(api, "user", &op.user))
        || (error = fanout_api_to_args(api, &op))
        || (error = request_read_data(api, &op)))
    {
        return error;
    }

    return fanout_api_signal(api, &op);
}


fanout_error_e
fanout_api_history_handler(fanout_api_t *api)
{
    uint64_t         limit;
    fanout_error_e   error;
    fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(fanout_api_op_t));

    op.channel = api->words[1];
    limit = FANOUT_API_LIMIT;

    if ((error = fanout_api_position_arg(api, "since", &op))
        || (error = fanout_api_number_arg(api, "before", &op.before))
        || (error = fanout_api_number_arg(api, "limit", &limit)))
    {
        return error;
    }

    op.limit = ngx_min(limit, api->conf->history);

    return fanout_api_history(api, &op);
}


fanout_error_e
fanout_api_info_handler(fanout_api_t *api)
{
    fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(fanout_api_op_t));

    op.channel = api->words[1];

    return fanout_api_info(api, &op);
}


fanout_error_e
fanout_api_purge_handler(fanout_api_t *api)
{
    uint64_t         closes;
    fanout_error_e   error;
    fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(fanout_api_op_t));

    op.channel = api->words[1];
    closes = 0;

    if ((error = fanout_api_text_arg(api, "reason", &op.reason))
        || (error = fanout_api_number_arg(api, "close", &closes)))
    {
        return error;
    }

    op.close = (closes != 0);

    return fanout_api_purge(api, &op);
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
