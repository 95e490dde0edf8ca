
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Many operations in one request.
 *
 * batch: an array of {"op":"publish","channel":…}, with the members that the
 * native protocol has: publish takes "data", "event", "key", "user", "store",
 * "if" {"epoch","offset"}, "enc":"base64", "meta"; history takes "since"
 * {"epoch","offset"}, "before", "limit", "record"; purge takes "reason"; info
 * nothing; set, delete, get, lock and unlock what they take in the native
 * protocol, with "user".
 * Each runs on its own, an error doesn't stop the rest.  The answer is an
 * array in the same order of {"ok":{…}} and {"error":{…}}.
 *
 * broadcast: {"channels":["a","b"],"data":…}, with all that publish takes but
 * "if".  The answer is {"results":[{"channel":"a","ok":{…}},…]}, in order.
 */


#include "api/api.h"


static fanout_error_e split_array(fanout_api_t *api, fanout_json_t *array,
    const char *limit, size_t max, fanout_json_t **items, size_t *n);
static fanout_error_e run_many(fanout_api_t *api);
static ngx_int_t end_batch(fanout_api_t *api);
static ngx_int_t end_broadcast(fanout_api_t *api);
static ngx_int_t run_item(fanout_api_t *api, fanout_json_t *value,
    fanout_api_op_t *op);
static ngx_int_t run_channel(fanout_api_t *api, fanout_json_t *name,
    fanout_api_op_t *op);
static ngx_int_t end_result(fanout_api_t *api, size_t start,
    fanout_error_e error);


fanout_error_e
fanout_api_batch_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_json_t       value;
    fanout_error_e      error;
    fanout_api_many_t  *many;

    many = ngx_pcalloc(api->request->pool, sizeof(fanout_api_many_t));
    if (many == NULL) {
        return FANOUT_E_INTERNAL;
    }

    many->run = run_item;
    many->end = end_batch;

    error = fanout_api_body(api, &value);

    return error == FANOUT_E_NONE
           ? fanout_api_many(api, many, &value, "batch", api->conf->batch, "[")
           : error;
}


fanout_error_e
fanout_api_broadcast_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_json_t             value;
    fanout_error_e            error;
    fanout_api_many_t        *many;
    const fanout_api_verb_t  *verb;

    many = ngx_pcalloc(api->request->pool, sizeof(fanout_api_many_t));
    if (many == NULL) {
        return FANOUT_E_INTERNAL;
    }

    verb = &fanout_api_verb_broadcast;
    many->run = run_channel;
    many->end = end_broadcast;

    if ((error = fanout_api_body(api, &value))
        || (error = fanout_api_decode(api, &value, &verb, &many->op)))
    {
        return error;
    }

    return fanout_api_many(api, many, &many->op.channels, "channels",
                           FANOUT_API_CHANNELS, "{\"results\":[");
}


fanout_error_e
fanout_api_many(fanout_api_t *api, fanout_api_many_t *many,
    fanout_json_t *array, const char *limit, size_t max, const char *text)
{
    fanout_error_e  error;

    error = split_array(api, array, limit, max, &many->items, &many->n);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    api->many = many;
    api->step = run_many;

    if (fanout_outbuf_append(api->hub, api->out, text, ngx_strlen(text))
        != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    return run_many(api);
}


/* Runs one operation at least, and as many as fit in the step. */

static fanout_error_e
run_many(fanout_api_t *api)
{
    fanout_json_t      *item;
    fanout_api_many_t  *many;

    many = api->many;

    while (many->i < many->n) {

        if (many->i
            && fanout_outbuf_literal(api->hub, api->out, ",")
               != NGX_OK)
        {
            return FANOUT_E_INTERNAL;
        }

        item = &many->items[many->i++];

        fanout_spend(api->hub, FANOUT_WORK_COMMAND
                                    + item->len * FANOUT_WORK_PARSE);

        if (many->run(api, item, &many->op) != NGX_OK) {
            return FANOUT_E_INTERNAL;
        }

        if (many->i < many->n && fanout_spent(api->hub)) {
            return FANOUT_E_NONE;
        }
    }

    api->step = NULL;
    api->status = NGX_HTTP_OK;

    return fanout_api_done(many->end(api));
}


static fanout_error_e
split_array(fanout_api_t *api, fanout_json_t *array, const char *limit,
    size_t max, fanout_json_t **items, size_t *n)
{
    int  rc;

    *items = ngx_palloc(api->request->pool, max * sizeof(fanout_json_t));
    if (*items == NULL) {
        return FANOUT_E_INTERNAL;
    }

    rc = fanout_json_array(array, *items, max, n);

    switch (rc) {

    case FANOUT_JSON_OK:
        return FANOUT_E_NONE;

    case FANOUT_JSON_TOO_MANY:
        return fanout_api_exceed(api, FANOUT_E_TOO_MANY, limit, max);

    default:
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\" is not an array", limit);
    }
}


static ngx_int_t
end_batch(fanout_api_t *api)
{
    return fanout_outbuf_literal(api->hub, api->out, "]");
}


static ngx_int_t
end_broadcast(fanout_api_t *api)
{
    return fanout_outbuf_literal(api->hub, api->out, "]}");
}


/* results */

static ngx_int_t
run_item(fanout_api_t *api, fanout_json_t *value, fanout_api_op_t *op)
{
    size_t                    start;
    fanout_error_e            error;
    const fanout_api_verb_t  *verb;

    if (fanout_outbuf_literal(api->hub, api->out, "{") != NGX_OK) {
        return NGX_ERROR;
    }

    start = api->out->used;

    if (fanout_outbuf_literal(api->hub, api->out, "\"ok\":")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    verb = NULL;
    error = fanout_api_decode(api, value, &verb, op);

    if (error == FANOUT_E_NONE) {
        error = verb->run(api, op);
    }

    return end_result(api, start, error);
}


/* The name as it was sent comes first, so that it is there on errors. */

static ngx_int_t
run_channel(fanout_api_t *api, fanout_json_t *name, fanout_api_op_t *op)
{
    size_t           start;
    fanout_error_e   error;

    if (fanout_outbuf_literal(api->hub, api->out, "{\"channel\":")
        != NGX_OK
        || fanout_outbuf_append(api->hub, api->out, name->data, name->len)
           != NGX_OK
        || fanout_outbuf_literal(api->hub, api->out, ",") != NGX_OK)
    {
        return NGX_ERROR;
    }

    start = api->out->used;

    if (fanout_outbuf_literal(api->hub, api->out, "\"ok\":")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    error = fanout_api_read_text(api, "channels", name, &op->channel);

    if (error == FANOUT_E_NONE) {
        error = fanout_api_publish(api, op);
    }

    return end_result(api, start, error);
}


static ngx_int_t
end_result(fanout_api_t *api, size_t start, fanout_error_e error)
{
    ngx_str_t  text;

    if (error != FANOUT_E_NONE) {
        api->out->used = start;

        if (fanout_api_error_text(api, error, &text) != NGX_OK
            || fanout_outbuf_literal(api->hub, api->out, "\"error\":")
               != NGX_OK
            || fanout_outbuf_append(api->hub, api->out, text.data, text.len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return fanout_outbuf_literal(api->hub, api->out, "}");
}
