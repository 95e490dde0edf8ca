
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Values of members: texts, numbers, and those of records.
 */


#include "api/decode.h"


ngx_uint_t
fanout_api_is_null(fanout_json_t *value)
{
    return value->len == 0 || fanout_json_type(value) == FANOUT_JSON_NULL;
}


fanout_error_e
fanout_api_read_text(fanout_api_t *api, const char *name, fanout_json_t *value,
    ngx_str_t *text)
{
    int             rc;
    u_char         *buf;
    fanout_json_t   span;

    ngx_str_null(text);

    if (fanout_api_is_null(value)) {
        return FANOUT_E_NONE;
    }

    buf = ngx_pnalloc(api->request->pool, value->len);
    if (buf == NULL) {
        return FANOUT_E_INTERNAL;
    }

    rc = fanout_json_text(value, buf, value->len, &span);

    if (rc == FANOUT_JSON_TYPE) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\" is not a string", name);
    }

    if (rc != FANOUT_JSON_OK) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\": %s", name,
                               fanout_json_strerror(rc));
    }

    text->data = (u_char *) span.data;
    text->len = span.len;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_api_read_number(fanout_api_t *api, const char *name,
    fanout_json_t *value, uint64_t *n)
{
    int64_t  number;

    if (fanout_json_int(value, &number) != FANOUT_JSON_OK
        || number < 0)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\" is not a number from 0 on",
                               name);
    }

    *n = number;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_api_read_bool(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, int *flag)
{
    *flag = 0;

    return fanout_json_bool(value, flag) == FANOUT_JSON_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"%s\" is not a boolean", m->field.name);
}


/* of records */

fanout_error_e
fanout_api_read_base(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    op->based = 1;

    return fanout_api_read_number(api, m->field.name, value, &op->base);
}


fanout_error_e
fanout_api_read_mode(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    ngx_str_t       name;
    fanout_error_e  error;

    error = fanout_api_read_text(api, m->field.name, value, &name);

    return error == FANOUT_E_NONE ? fanout_api_mode(api, &name, &op->mode)
                                  : error;
}


/* An empty id must not become all records. */

fanout_error_e
fanout_api_read_record(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    fanout_error_e  error;

    error = fanout_api_read_text(api, m->field.name, value, &op->record);

    return error == FANOUT_E_NONE ? fanout_api_record_check(api, &op->record)
                                  : error;
}


fanout_error_e
fanout_api_read_cursor(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    ngx_str_t       text;
    fanout_error_e  error;

    error = fanout_api_read_text(api, m->field.name, value, &text);

    if (error != FANOUT_E_NONE
        || fanout_offset_parse(&text, &op->cursor) == NGX_OK)
    {
        return error;
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "\"cursor\" is the string that an answer had");
}


fanout_error_e
fanout_api_read_versions(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    int             versions;
    fanout_error_e  error;

    error = fanout_api_read_bool(api, m, value, &versions);
    op->versions = versions;

    return error;
}


fanout_error_e
fanout_api_read_copy(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    ngx_str_t  *text, src;

    text = (ngx_str_t *) ((u_char *) op + m->field.offset);

    src.data = (u_char *) value->data;
    src.len = value->len;

    text->data = ngx_pstrdup(api->request->pool, &src);
    text->len = value->len;

    return text->data ? FANOUT_E_NONE : FANOUT_E_INTERNAL;
}


/* of locks */

fanout_error_e
fanout_api_read_token(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    fanout_error_e  error;

    error = fanout_api_read_number(api, m->field.name, value, &op->token);

    return error != FANOUT_E_NONE || op->token
           ? error : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                                     "\"%s\" is not a token", m->field.name);
}


fanout_error_e
fanout_api_read_ttl(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    op->timed = 1;

    return fanout_api_read_number(api, m->field.name, value, &op->ttl);
}


/* What is not there, is left as it is by a renewal. */

fanout_error_e
fanout_api_read_lock_data(fanout_api_t *api, const fanout_api_member_t *m,
    fanout_json_t *value, fanout_api_op_t *op)
{
    if (value->len == 0) {
        return FANOUT_E_NONE;
    }

    if (fanout_json_type(value) == FANOUT_JSON_NULL) {
        op->data.data = (u_char *) "";
        op->data.len = 0;
        return FANOUT_E_NONE;
    }

    op->data.data = ngx_pnalloc(api->request->pool, value->len);
    if (op->data.data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    op->data.len = fanout_json_minify(op->data.data, value->data, value->len);

    return FANOUT_E_NONE;
}
