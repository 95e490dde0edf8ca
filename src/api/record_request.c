
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Requests for records: the conditions in their headers, and the ETag of what
 * they are answered.  The ETag of a record is its version, that of a page the
 * channel's position.
 */


#include "api/api.h"
#include "http/headers.h"


typedef fanout_error_e (*record_pt)(fanout_api_t *api, fanout_api_op_t *op);


/* "epoch:offset", the longest */
#define RECORD_ETAG  64

/* most records of a page */
#define RECORD_LIMIT  1000


static fanout_error_e record_change(fanout_api_t *api, fanout_api_op_t *op,
    record_pt run);
static fanout_error_e record_conditions(fanout_api_t *api,
    fanout_api_op_t *op);
static fanout_error_e record_token(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e record_match(fanout_api_t *api, fanout_api_op_t *op,
    ngx_str_t *value);
static fanout_error_e record_body(fanout_api_t *api, fanout_json_t *value);
static fanout_error_e record_etag(fanout_api_t *api, fanout_error_e error,
    const char *fmt, ...);


/* reading */

fanout_error_e
fanout_api_records_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_error_e    error;
    fanout_api_op_t  *op;

    op = &args->op;
    op->limit = ngx_max(1, ngx_min(args->limit, RECORD_LIMIT));
    op->versions = args->versions;

    error = fanout_api_records(api, op);

    return error == FANOUT_E_NONE
           ? record_etag(api, error, "\"%016xL:%uL\"", op->epoch, op->offset)
           : error;
}


fanout_error_e
fanout_api_record_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_error_e    error;
    fanout_api_op_t  *op;

    op = &args->op;
    op->versions = args->versions;

    error = fanout_api_record(api, op);

    return error == FANOUT_E_NONE
           ? record_etag(api, error, "\"%uL\"", op->version) : error;
}


/* changing */

fanout_error_e
fanout_api_record_patch_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_json_t             value;
    fanout_error_e            error;
    fanout_api_op_t           sent;
    const fanout_api_verb_t  *verb;

    verb = &fanout_api_verb_patch;

    if ((error = record_body(api, &value))
        || (error = fanout_api_decode(api, &value, &verb, &sent)))
    {
        return error;
    }

    args->op.set = sent.set;
    args->op.unset = sent.unset;
    args->op.append = sent.append;

    return record_change(api, &args->op, fanout_api_set);
}


fanout_error_e
fanout_api_record_put_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    ngx_str_t       body;
    fanout_json_t   value;
    fanout_error_e  error;

    error = record_body(api, &value);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (fanout_json_type(&value) != FANOUT_JSON_OBJECT) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "the body is an object: all fields of the "
                               "record");
    }

    if (api->deep && fanout_json_depth(&value) > FANOUT_JSON_DEPTH + 1) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "a field nests more than %d arrays and "
                               "objects", FANOUT_JSON_DEPTH);
    }

    body.data = (u_char *) value.data;
    body.len = value.len;

    args->op.set.data = ngx_pstrdup(api->request->pool, &body);
    args->op.set.len = body.len;

    if (args->op.set.data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    args->op.whole = 1;

    return record_change(api, &args->op, fanout_api_set);
}


fanout_error_e
fanout_api_record_delete_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    return record_change(api, &args->op, fanout_api_delete);
}


/* An error has the ETag of the record, too, if it says what that is. */

static fanout_error_e
record_change(fanout_api_t *api, fanout_api_op_t *op, record_pt run)
{
    fanout_error_e  error;

    error = record_conditions(api, op);

    if (error == FANOUT_E_NONE) {
        error = record_token(api, op);
    }

    if (error == FANOUT_E_NONE) {
        error = run(api, op);
    }

    return op->version ? record_etag(api, error, "\"%uL\"", op->version)
                       : error;
}


/* That of a lock. */

static fanout_error_e
record_token(fanout_api_t *api, fanout_api_op_t *op)
{
    ngx_str_t  value;

    switch (fanout_header(api->request, "fanout-token", &value)) {

    case 0:
        return FANOUT_E_NONE;

    case 1:
        if (fanout_offset_parse(&value, &op->token) == NGX_OK && op->token) {
            return FANOUT_E_NONE;
        }
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "Fanout-Token is the number that a lock had");
}


static fanout_error_e
record_conditions(fanout_api_t *api, fanout_api_op_t *op)
{
    ngx_str_t   match, none;
    ngx_uint_t  matches, nones;

    matches = fanout_header(api->request, "if-match", &match);
    nones = fanout_header(api->request, "if-none-match", &none);

    if (matches + nones == 0) {
        return FANOUT_E_NONE;
    }

    if (matches + nones > 1) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "two conditions: one If-Match or one "
                               "If-None-Match is enough");
    }

    if (op->based || op->mode) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"base\" and \"mode\" exclude If-Match and "
                               "If-None-Match");
    }

    if (matches) {
        return record_match(api, op, &match);
    }

    if (none.len != 1 || none.data[0] != '*'
        || api->request->method == NGX_HTTP_DELETE)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "If-None-Match is \"*\", of PUT and PATCH "
                               "only");
    }

    op->create = 1;

    return FANOUT_E_NONE;
}


/* "*" or a version as its ETag.  A proxy that compresses makes it a weak one,
 * which means the same version. */

static fanout_error_e
record_match(fanout_api_t *api, fanout_api_op_t *op, ngx_str_t *value)
{
    ngx_str_t  tag;

    tag = *value;

    if (tag.len == 1 && tag.data[0] == '*') {
        op->exist = 1;
        return FANOUT_E_NONE;
    }

    if (tag.len > 2 && ngx_strncmp(tag.data, "W/", 2) == 0) {
        tag.data += 2;
        tag.len -= 2;
    }

    if (tag.len > 2 && tag.data[0] == '"' && tag.data[tag.len - 1] == '"') {
        tag.data++;
        tag.len -= 2;

        if (fanout_offset_parse(&tag, &op->base) == NGX_OK && op->base) {
            op->based = 1;
            op->exact = 1;
            return FANOUT_E_NONE;
        }
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "If-Match is \"*\" or one version in quotes");
}


static fanout_error_e
record_body(fanout_api_t *api, fanout_json_t *value)
{
    if (fanout_http_body_size(api->request) > (off_t) api->conf->message_size)
    {
        return fanout_api_exceed(api, FANOUT_E_TOO_LARGE, "message",
                                 api->conf->message_size);
    }

    return fanout_api_body(api, value);
}


/* Returns the error, or INTERNAL. */

static fanout_error_e
record_etag(fanout_api_t *api, fanout_error_e error, const char *fmt, ...)
{
    va_list    args;
    ngx_str_t  value;

    value.data = ngx_pnalloc(api->request->pool, RECORD_ETAG);
    if (value.data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    va_start(args, fmt);
    value.len = ngx_vslprintf(value.data, value.data + RECORD_ETAG, fmt, args)
                - value.data;
    va_end(args);

    return fanout_http_add(api->request, "ETag", &value) == NGX_OK
           ? error : FANOUT_E_INTERNAL;
}
