
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The arguments of a query, read one by one.
 */


#include "api/api.h"


fanout_error_e
fanout_api_text_arg(fanout_api_t *api, const char *name, ngx_str_t *value)
{
    return fanout_http_arg(api->request, name, value) == NGX_ERROR
           ? FANOUT_E_INTERNAL : FANOUT_E_NONE;
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


fanout_error_e
fanout_api_flag_arg(fanout_api_t *api, const char *name, ngx_uint_t *flag)
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


fanout_error_e
fanout_api_position_arg(fanout_api_t *api, const char *name,
    fanout_api_op_t *op)
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
fanout_api_meta_arg(fanout_api_t *api, fanout_api_op_t *op)
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


fanout_error_e
fanout_api_key_arg(fanout_api_t *api, fanout_api_op_t *op)
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


fanout_error_e
fanout_api_to_args(fanout_api_t *api, fanout_api_op_t *op)
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
