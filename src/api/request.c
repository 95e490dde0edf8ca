
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
static fanout_error_e key_arg(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e to_args(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e flag_arg(fanout_api_t *api, const char *name,
    ngx_uint_t *flag);
static fanout_error_e meta_arg(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e position_arg(fanout_api_t *api, const char *name,
    fanout_api_op_t *op);


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

    if ((error = key_arg(api, &op))
        || (error = fanout_api_text_arg(api, "event", &op.event))
        || (error = fanout_api_text_arg(api, "user", &op.user))
        || (error = flag_arg(api, "store", &store))
        || (error = flag_arg(api, "live", &live))
        || (error = to_args(api, &op))
        || (error = meta_arg(api, &op))
        || (error = position_arg(api, "if", &op))
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
        || (error = to_args(api, &op))
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

    if ((error = position_arg(api, "since", &op))
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


fanout_error_e
fanout_api_json(fanout_api_t *api, const char *what, ngx_str_t *text,
    ngx_str_t *value)
{
    int                  type;
    fanout_json_t        json;
    fanout_json_error_t  err;

    type = fanout_json_check(text->data, text->len, FANOUT_JSON_DEPTH, &json,
                             &err);

    if (type == FANOUT_JSON_NO_MEMORY) {
        return FANOUT_E_INTERNAL;
    }

    if (type == FANOUT_JSON_DEPTH_MAX) {
        api->deep = 1;
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "%s nests more than %d arrays and "
                               "objects", what,
                               FANOUT_JSON_DEPTH);
    }

    if (type < 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "%s is not JSON: %s", what,
                               err.reason);
    }

    value->data = ngx_pnalloc(api->request->pool, json.len);
    if (value->data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    value->len = fanout_json_minify(value->data, json.data, json.len);

    return FANOUT_E_NONE;
}


/* arguments */

fanout_error_e
fanout_api_text_arg(fanout_api_t *api, const char *name, ngx_str_t *value)
{
    return fanout_http_arg(api->request, name, value) == NGX_ERROR
           ? FANOUT_E_INTERNAL : FANOUT_E_NONE;
}


/* The key of idempotence has three names, whose values must be the same. */

static fanout_error_e
key_arg(fanout_api_t *api, fanout_api_op_t *op)
{
    ngx_str_t       keys[3], *key;
    ngx_uint_t      i;
    fanout_error_e  error;

    error = fanout_api_text_arg(api, "key", &keys[0]);

    if (error != FANOUT_E_NONE) {
        return error;
    }

    keys[1] = fanout_http_header(api->request, "idempotency-key");
    keys[2] = fanout_http_header(api->request, "fanout-key");

    key = &op->key;

    for (i = 0; i < 3; i++) {

        if (keys[i].len == 0) {
            continue;
        }

        if (key->len == 0) {
            *key = keys[i];

        } else if (key->len != keys[i].len
                   || ngx_memcmp(key->data, keys[i].data, key->len) != 0)
        {
            return fanout_api_fail(api,
                                       FANOUT_E_BAD_REQUEST,
                                       "two keys: of \"key\", "
                                       "Idempotency-Key and Fanout-Key one "
                                       "is enough");
        }
    }

    return FANOUT_E_NONE;
}


/* "to" is "client:ID" or "user:NAME"; to_client and to_user name one each. */

static fanout_error_e
to_args(fanout_api_t *api, fanout_api_op_t *op)
{
    size_t               n;
    ngx_str_t            to, *of;
    fanout_error_e       error;
    ngx_http_request_t  *r;

    r = api->request;

    if ((error = fanout_api_text_arg(api, "to_client",
                                     &op->to_client))
        || (error = fanout_api_text_arg(api, "to_user",
                                        &op->to_user))
        || (error = fanout_api_text_arg(api, "to", &to)))
    {
        return error;
    }

    /* who names a recipient must not publish to all */

    if ((op->to_client.len == 0 && fanout_http_arg_named(r, "to_client"))
        || (op->to_user.len == 0 && fanout_http_arg_named(r, "to_user"))
        || (to.len == 0 && fanout_http_arg_named(r, "to")))
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "the recipient in \"to\", \"to_client\" or "
                               "\"to_user\" is empty");
    }

    if (to.len == 0) {
        return FANOUT_E_NONE;
    }

    if (op->to_client.len || op->to_user.len) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"to\" beside \"to_client\" or "
                               "\"to_user\"");
    }

    if (to.len > 7 && ngx_strncmp(to.data, "client:", 7) == 0) {
        of = &op->to_client;
        n = 7;

    } else if (to.len > 5 && ngx_strncmp(to.data, "user:", 5) == 0) {
        of = &op->to_user;
        n = 5;

    } else {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "argument \"to\" is neither "
                               "\"client:ID\" nor \"user:NAME\"");
    }

    of->data = to.data + n;
    of->len = to.len - n;

    return FANOUT_E_NONE;
}


static fanout_error_e
flag_arg(fanout_api_t *api, const char *name, ngx_uint_t *flag)
{
    ngx_str_t       value;
    fanout_error_e  error;

    error = fanout_api_text_arg(api, name, &value);

    if (error != FANOUT_E_NONE || value.len == 0) {
        return error;
    }

    if (value.len != 1 || (value.data[0] != '0' && value.data[0] != '1')) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "argument \"%s\" is not 0 or 1",
                               name);
    }

    *flag = (value.data[0] == '1');

    return FANOUT_E_NONE;
}


static fanout_error_e
meta_arg(fanout_api_t *api, fanout_api_op_t *op)
{
    ngx_str_t       value;
    fanout_error_e  error;

    error = fanout_api_text_arg(api, "meta", &value);

    if (error != FANOUT_E_NONE || value.len == 0) {
        return error;
    }

    return fanout_api_json(api, "argument \"meta\"", &value,
                           &op->meta);
}


static fanout_error_e
position_arg(fanout_api_t *api, const char *name, fanout_api_op_t *op)
{
    ngx_str_t       value;
    fanout_error_e  error;

    error = fanout_api_text_arg(api, name, &value);

    if (error != FANOUT_E_NONE || value.len == 0) {
        return error;
    }

    if (fanout_position_parse(&value, &op->epoch, &op->offset)
        != NGX_OK)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "argument \"%s\" is not epoch:offset",
                               name);
    }

    op->positioned = 1;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_api_number_arg(fanout_api_t *api,
    const char *name, uint64_t *n)
{
    ngx_str_t       value;
    fanout_error_e  error;

    error = fanout_api_text_arg(api, name, &value);

    if (error != FANOUT_E_NONE || value.len == 0) {
        return error;
    }

    if (fanout_offset_parse(&value, n) != NGX_OK) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "argument \"%s\" is not a number",
                               name);
    }

    return FANOUT_E_NONE;
}
