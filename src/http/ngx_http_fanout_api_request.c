
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a request for one channel says in its query, headers and body.
 */


#include "ngx_http_fanout_api.h"
#include "ngx_http_fanout_utf8.h"


static ngx_http_fanout_error_e read_data(ngx_http_fanout_api_t *api,
    ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e guess_data(ngx_http_fanout_api_t *api,
    ngx_http_fanout_api_op_t *op, ngx_str_t *body);
static ngx_http_fanout_error_e key_arg(ngx_http_fanout_api_t *api,
    ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e to_args(ngx_http_fanout_api_t *api,
    ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e flag_arg(ngx_http_fanout_api_t *api,
    const char *name, ngx_uint_t *flag);
static ngx_http_fanout_error_e meta_arg(ngx_http_fanout_api_t *api,
    ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e position_arg(ngx_http_fanout_api_t *api,
    const char *name, ngx_http_fanout_api_op_t *op);


/* handlers of one channel */

ngx_http_fanout_error_e
ngx_http_fanout_api_publish_handler(ngx_http_fanout_api_t *api)
{
    ngx_uint_t                store, live;
    ngx_http_fanout_error_e   error;
    ngx_http_fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(ngx_http_fanout_api_op_t));

    store = 1;
    live = 0;
    op.channel = api->words[1];

    if ((error = key_arg(api, &op))
        || (error = ngx_http_fanout_api_text_arg(api, "event", &op.event))
        || (error = ngx_http_fanout_api_text_arg(api, "user", &op.user))
        || (error = flag_arg(api, "store", &store))
        || (error = flag_arg(api, "live", &live))
        || (error = to_args(api, &op))
        || (error = meta_arg(api, &op))
        || (error = position_arg(api, "if", &op))
        || (error = read_data(api, &op)))
    {
        return error;
    }

    op.transient = !store;
    op.live = live;

    return ngx_http_fanout_api_publish(api, &op);
}


ngx_http_fanout_error_e
ngx_http_fanout_api_signal_handler(ngx_http_fanout_api_t *api)
{
    ngx_http_fanout_error_e   error;
    ngx_http_fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(ngx_http_fanout_api_op_t));

    op.channel = api->words[1];

    if ((error = ngx_http_fanout_api_text_arg(api, "event", &op.event))
        || (error = ngx_http_fanout_api_text_arg(api, "tag", &op.tag))
        || (error = ngx_http_fanout_api_text_arg(api, "user", &op.user))
        || (error = to_args(api, &op))
        || (error = read_data(api, &op)))
    {
        return error;
    }

    return ngx_http_fanout_api_signal(api, &op);
}


ngx_http_fanout_error_e
ngx_http_fanout_api_history_handler(ngx_http_fanout_api_t *api)
{
    uint64_t                  limit;
    ngx_http_fanout_error_e   error;
    ngx_http_fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(ngx_http_fanout_api_op_t));

    op.channel = api->words[1];
    limit = NGX_HTTP_FANOUT_API_LIMIT;

    if ((error = position_arg(api, "since", &op))
        || (error = ngx_http_fanout_api_number_arg(api, "before", &op.before))
        || (error = ngx_http_fanout_api_number_arg(api, "limit", &limit)))
    {
        return error;
    }

    op.limit = ngx_min(limit, api->conf->history);

    return ngx_http_fanout_api_history(api, &op);
}


ngx_http_fanout_error_e
ngx_http_fanout_api_info_handler(ngx_http_fanout_api_t *api)
{
    ngx_http_fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(ngx_http_fanout_api_op_t));

    op.channel = api->words[1];

    return ngx_http_fanout_api_info(api, &op);
}


ngx_http_fanout_error_e
ngx_http_fanout_api_purge_handler(ngx_http_fanout_api_t *api)
{
    uint64_t                  closes;
    ngx_http_fanout_error_e   error;
    ngx_http_fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(ngx_http_fanout_api_op_t));

    op.channel = api->words[1];
    closes = 0;

    if ((error = ngx_http_fanout_api_text_arg(api, "reason", &op.reason))
        || (error = ngx_http_fanout_api_number_arg(api, "close", &closes)))
    {
        return error;
    }

    op.close = (closes != 0);

    return ngx_http_fanout_api_purge(api, &op);
}


/* the data of a publish */

static ngx_http_fanout_error_e
read_data(ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op)
{
    size_t      max;
    ngx_str_t   body, type;

    max = api->conf->message_size;

    if (ngx_http_fanout_http_body_size(api->request) > (off_t) max) {
        return ngx_http_fanout_api_exceed(api, NGX_HTTP_FANOUT_E_TOO_LARGE,
                                          "message", max);
    }

    if (ngx_http_fanout_http_body(api->request, &body) != NGX_OK) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    if (body.len == 0) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "the body is empty");
    }

    type = ngx_http_fanout_http_header(api->request, "content-type");
    op->kind = ngx_http_fanout_http_kind(&type);

    switch (op->kind) {

    case NGX_HTTP_FANOUT_JSON:
        return ngx_http_fanout_api_json(api, "body", &body, &op->data);

    case NGX_HTTP_FANOUT_TEXT:

        if (ngx_http_fanout_utf8_check(body.data, body.len)
            != NGX_HTTP_FANOUT_UTF8_OK)
        {
            return ngx_http_fanout_api_fail(api,
                                            NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                            "body is text, but not UTF-8");
        }

        /* fall through */

    case NGX_HTTP_FANOUT_BINARY:
        op->data = body;
        return NGX_HTTP_FANOUT_E_NONE;

    default:
        return guess_data(api, op, &body);
    }
}


/* JSON if it is, otherwise text if it may be, otherwise bytes */

static ngx_http_fanout_error_e
guess_data(ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op,
    ngx_str_t *body)
{
    ngx_http_fanout_error_e  error;

    op->kind = NGX_HTTP_FANOUT_JSON;

    error = ngx_http_fanout_api_json(api, "body", body, &op->data);

    if (error != NGX_HTTP_FANOUT_E_BAD_REQUEST || api->deep) {
        return error;
    }

    op->data = *body;
    op->kind = ngx_http_fanout_utf8_check(body->data, body->len)
               == NGX_HTTP_FANOUT_UTF8_OK
               ? NGX_HTTP_FANOUT_TEXT : NGX_HTTP_FANOUT_BINARY;

    ngx_str_null(&api->message);

    return NGX_HTTP_FANOUT_E_NONE;
}


ngx_http_fanout_error_e
ngx_http_fanout_api_json(ngx_http_fanout_api_t *api, const char *what,
    ngx_str_t *text, ngx_str_t *value)
{
    int                           type;
    ngx_http_fanout_json_t        json;
    ngx_http_fanout_json_error_t  err;

    type = ngx_http_fanout_json_check(text->data, text->len,
                                      NGX_HTTP_FANOUT_JSON_DEPTH, &json,
                                      &err);

    if (type == NGX_HTTP_FANOUT_JSON_NO_MEMORY) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    if (type == NGX_HTTP_FANOUT_JSON_DEPTH_MAX) {
        api->deep = 1;
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "%s nests more than %d arrays and "
                                        "objects", what,
                                        NGX_HTTP_FANOUT_JSON_DEPTH);
    }

    if (type < 0) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "%s is not JSON: %s", what,
                                        err.reason);
    }

    value->data = ngx_pnalloc(api->request->pool, json.len);
    if (value->data == NULL) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    value->len = ngx_http_fanout_json_minify(value->data, json.data,
                                             json.len);

    return NGX_HTTP_FANOUT_E_NONE;
}


/* arguments */

ngx_http_fanout_error_e
ngx_http_fanout_api_text_arg(ngx_http_fanout_api_t *api, const char *name,
    ngx_str_t *value)
{
    return ngx_http_fanout_http_arg(api->request, name, value) == NGX_ERROR
           ? NGX_HTTP_FANOUT_E_INTERNAL : NGX_HTTP_FANOUT_E_NONE;
}


/* The key of idempotence has three names; what they say must be the same. */

static ngx_http_fanout_error_e
key_arg(ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op)
{
    ngx_str_t                keys[3], *key;
    ngx_uint_t               i;
    ngx_http_fanout_error_e  error;

    error = ngx_http_fanout_api_text_arg(api, "key", &keys[0]);

    if (error != NGX_HTTP_FANOUT_E_NONE) {
        return error;
    }

    keys[1] = ngx_http_fanout_http_header(api->request, "idempotency-key");
    keys[2] = ngx_http_fanout_http_header(api->request, "fanout-key");

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
            return ngx_http_fanout_api_fail(api,
                                       NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                       "two keys: of \"key\", "
                                       "Idempotency-Key and Fanout-Key one "
                                       "is enough");
        }
    }

    return NGX_HTTP_FANOUT_E_NONE;
}


/* "to" is "client:ID" or "user:NAME"; to_client and to_user name one each. */

static ngx_http_fanout_error_e
to_args(ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op)
{
    size_t                   n;
    ngx_str_t                to, *of;
    ngx_http_fanout_error_e  error;

    if ((error = ngx_http_fanout_api_text_arg(api, "to_client",
                                              &op->to_client))
        || (error = ngx_http_fanout_api_text_arg(api, "to_user",
                                                 &op->to_user))
        || (error = ngx_http_fanout_api_text_arg(api, "to", &to)))
    {
        return error;
    }

    if (to.len == 0) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    if (op->to_client.len || op->to_user.len) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
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
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "argument \"to\" is neither "
                                        "\"client:ID\" nor \"user:NAME\"");
    }

    of->data = to.data + n;
    of->len = to.len - n;

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_http_fanout_error_e
flag_arg(ngx_http_fanout_api_t *api, const char *name, ngx_uint_t *flag)
{
    ngx_str_t                value;
    ngx_http_fanout_error_e  error;

    error = ngx_http_fanout_api_text_arg(api, name, &value);

    if (error != NGX_HTTP_FANOUT_E_NONE || value.len == 0) {
        return error;
    }

    if (value.len != 1 || (value.data[0] != '0' && value.data[0] != '1')) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "argument \"%s\" is not 0 or 1",
                                        name);
    }

    *flag = (value.data[0] == '1');

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_http_fanout_error_e
meta_arg(ngx_http_fanout_api_t *api, ngx_http_fanout_api_op_t *op)
{
    ngx_str_t                value;
    ngx_http_fanout_error_e  error;

    error = ngx_http_fanout_api_text_arg(api, "meta", &value);

    if (error != NGX_HTTP_FANOUT_E_NONE || value.len == 0) {
        return error;
    }

    return ngx_http_fanout_api_json(api, "argument \"meta\"", &value,
                                    &op->meta);
}


static ngx_http_fanout_error_e
position_arg(ngx_http_fanout_api_t *api, const char *name,
    ngx_http_fanout_api_op_t *op)
{
    ngx_str_t                value;
    ngx_http_fanout_error_e  error;

    error = ngx_http_fanout_api_text_arg(api, name, &value);

    if (error != NGX_HTTP_FANOUT_E_NONE || value.len == 0) {
        return error;
    }

    if (ngx_http_fanout_position_parse(&value, &op->epoch, &op->offset)
        != NGX_OK)
    {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "argument \"%s\" is not epoch:offset",
                                        name);
    }

    op->positioned = 1;

    return NGX_HTTP_FANOUT_E_NONE;
}


ngx_http_fanout_error_e
ngx_http_fanout_api_number_arg(ngx_http_fanout_api_t *api,
    const char *name, uint64_t *n)
{
    ngx_str_t                value;
    ngx_http_fanout_error_e  error;

    error = ngx_http_fanout_api_text_arg(api, name, &value);

    if (error != NGX_HTTP_FANOUT_E_NONE || value.len == 0) {
        return error;
    }

    if (ngx_http_fanout_offset_parse(&value, n) != NGX_OK) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "argument \"%s\" is not a number",
                                        name);
    }

    return NGX_HTTP_FANOUT_E_NONE;
}
