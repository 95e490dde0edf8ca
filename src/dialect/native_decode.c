
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How commands of the native protocol are decoded by the tables of their
 * members.
 */


#include "base/id.h"
#include "base/json_table.h"
#include "dialect/native.h"


typedef struct {
    fanout_json_t   epoch;
    fanout_json_t   offset;
} position_t;


static int decode_text(fanout_json_t *value, size_t max, ngx_str_t *text);


static const fanout_json_field_t  position_fields[] = {
    fanout_json_field("epoch", position_t, epoch),
    fanout_json_field("offset", position_t, offset)
};


fanout_json_table_t
fanout_native_table(const fanout_native_member_t *members, ngx_uint_t n)
{
    fanout_json_table_t  table;

    table.fields = (const fanout_json_field_t *) members;
    table.size = sizeof(fanout_native_member_t);
    table.n = n;

    return table;
}


ngx_uint_t
fanout_native_find(const fanout_native_member_t *members, ngx_uint_t n,
    fanout_json_t *object, fanout_json_t *spans)
{
    fanout_json_table_t  table;

    table = fanout_native_table(members, n);

    return fanout_json_values(object, &table, spans);
}


/* decoding them */

fanout_error_e
fanout_native_decode(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_memzero(&cmd->u, cmd->def->size);

    return fanout_native_read(s, cmd, cmd->def->members, cmd->def->n,
                              cmd->members, cmd);
}


fanout_error_e
fanout_native_read(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *members, ngx_uint_t n, fanout_json_t *spans,
    void *base)
{
    ngx_uint_t                     i;
    fanout_error_e                 rc;
    const fanout_native_member_t  *m;

    rc = FANOUT_E_NONE;

    for (i = 0; i < n && rc == FANOUT_E_NONE; i++) {
        m = &members[i];

        if (spans[i].len || m->required) {
            rc = m->read(s, cmd, m, &spans[i], base);

        } else if (m->absent) {
            *(ngx_int_t *) fanout_native_dst(base, m) = m->absent;
        }
    }

    return rc;
}


/* The unescaped text overwrites the string that was received. */

static int
decode_text(fanout_json_t *value, size_t max, ngx_str_t *text)
{
    int            rc;
    fanout_json_t  raw;

    rc = fanout_json_text(value, (u_char *) value->data, max, &raw);

    text->data = (u_char *) raw.data;
    text->len = raw.len;

    return rc;
}


fanout_error_e
fanout_native_read_channel(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    ngx_str_t  *name;

    name = fanout_native_dst(base, m);

    if (name->len
        || (decode_text(value, FANOUT_NAME, name) == FANOUT_JSON_OK
            && fanout_name_check(name) == NGX_OK))
    {
        return FANOUT_E_NONE;
    }

    return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
               "\"channel\" is a name: a string of 1 to 255 bytes of UTF-8 "
               "without control characters and \"*\"");
}


fanout_error_e
fanout_native_read_raw(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    *(fanout_json_t *) fanout_native_dst(base, m) = *value;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_read_flag(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    int  flag;

    if (fanout_json_bool(value, &flag) != FANOUT_JSON_OK) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"%s\" is true or false", m->field.name);
    }

    *(ngx_flag_t *) fanout_native_dst(base, m) = flag;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_read_count(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    size_t   max;
    int64_t  i;

    if (fanout_json_int(value, &i) != FANOUT_JSON_OK || i < 0) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"%s\" is a number from 0 on",
                                  m->field.name);
    }

    max = m->limit ? fanout_native_most(s, m->limit) : NGX_MAX_INT_T_VALUE;

    if ((uint64_t) i > max) {
        return fanout_native_fail_limit(cmd, FANOUT_E_TOO_MANY, m->field.name,
                                        max, "fanout_history");
    }

    *(ngx_uint_t *) fanout_native_dst(base, m) = i;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_read_label(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    ngx_str_t       text;
    fanout_zstr_t  *label;

    if (value->len == 0) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"%s\" is missing", m->field.name);
    }

    if (decode_text(value, FANOUT_KEY, &text) != FANOUT_JSON_OK
        || fanout_label_check(&text, FANOUT_KEY) != NGX_OK)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"%s\" is a string of 1 to 128 bytes of UTF-8 without "
                   "control characters", m->field.name);
    }

    label = fanout_native_dst(base, m);
    label->data = text.data;
    label->len = text.len;

    return FANOUT_E_NONE;
}


/* An epoch that is not valid is treated as one that has expired. */

fanout_error_e
fanout_native_read_position(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    int64_t                    n;
    ngx_str_t                  epoch;
    position_t                 p;
    fanout_native_position_t  *position;

    if (fanout_json_members(value, position_fields,
                            fanout_nelts(position_fields), &p, NULL)
        != FANOUT_JSON_OK
        || fanout_json_int(&p.offset, &n) != FANOUT_JSON_OK
        || n < 0
        || decode_text(&p.epoch, FANOUT_KEY, &epoch) != FANOUT_JSON_OK)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"%s\" is {\"epoch\":string,\"offset\":number}",
                   m->field.name);
    }

    position = fanout_native_dst(base, m);

    if (fanout_epoch_parse(&epoch, &position->epoch) != NGX_OK) {
        position->epoch = 0;
    }

    position->offset = n;
    position->set = 1;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_read_json(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    fanout_zstr_t   *text;
    fanout_error_e   rc;

    /* blanks count: there are not many in what is small */

    rc = fanout_native_within(s, cmd, m->limit, value->len);

    if (rc == FANOUT_E_NONE) {
        text = fanout_native_dst(base, m);
        text->data = value->data;
        text->len = fanout_json_minify((u_char *) value->data, value->data,
                                       value->len);
    }

    return rc;
}


/* limits */

size_t
fanout_native_most(fanout_session_t *s, const fanout_native_limit_t *limit)
{
    size_t  max;

    max = limit->max ? limit->max : NGX_MAX_SIZE_T_VALUE;

    if (limit->conf) {
        max = ngx_min(max, *(size_t *) ((u_char *) s->conf + limit->conf));
    }

    return max;
}


fanout_error_e
fanout_native_within(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_limit_t *limit, size_t len)
{
    size_t  max;

    max = fanout_native_most(s, limit);

    return len <= max ? FANOUT_E_NONE
                      : fanout_native_fail_limit(cmd, FANOUT_E_TOO_LARGE,
                                                 limit->name, max,
                                                 limit->directive);
}
