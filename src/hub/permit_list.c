
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Lists of patterns in the value of a variable (fanout_permit list:$variable):
 * a JSON array of strings, as a claim is, or text with commas or spaces
 * between, as a header is.
 */


#include "hub/permit_list.h"
#include "base/json.h"
#include "base/pattern.h"


static u_char *list_json(u_char *p, ngx_uint_t ops, const u_char *data,
    size_t len);
static u_char *list_text(u_char *p, ngx_uint_t ops, const u_char *data,
    size_t len);
static u_char *list_rule(u_char *p, ngx_uint_t ops, const u_char *text,
    size_t len);


size_t
fanout_permit_list_size(size_t len)
{
    return ngx_min(len, FANOUT_PERMIT_LIST) * FANOUT_RULE_HEAD + len;
}


u_char *
fanout_permit_list(u_char *p, ngx_uint_t ops, const u_char *data, size_t len)
{
    while (len && (*data == ' ' || *data == '\t')) {
        data++;
        len--;
    }

    return len && *data == '[' ? list_json(p, ops, data, len)
                               : list_text(p, ops, data, len);
}


static u_char *
list_json(u_char *p, ngx_uint_t ops, const u_char *data, size_t len)
{
    size_t         i, n, text_len;
    u_char         text[FANOUT_NAME];
    fanout_json_t  array, items[FANOUT_PERMIT_LIST];

    if (fanout_json_check(data, len, 1, &array, NULL) != FANOUT_JSON_ARRAY
        || fanout_json_array(&array, items, FANOUT_PERMIT_LIST, &n)
           != FANOUT_JSON_OK)
    {
        return NULL;
    }

    for (i = 0; i < n && p; i++) {

        if (fanout_json_string(&items[i], text, sizeof(text), &text_len)
            != FANOUT_JSON_OK)
        {
            return NULL;
        }

        p = list_rule(p, ops, text, text_len);
    }

    return p;
}


static u_char *
list_text(u_char *p, ngx_uint_t ops, const u_char *data, size_t len)
{
    ngx_uint_t     n;
    const u_char  *start, *end, *last;

    n = 0;
    last = data + len;

    for (start = data; start < last && p; start = end + 1) {

        for (end = start; end < last; end++) {
            if (*end == ',' || *end == ' ' || *end == '\t') {
                break;
            }
        }

        if (end == start) {
            continue;
        }

        if (++n > FANOUT_PERMIT_LIST) {
            return NULL;
        }

        p = list_rule(p, ops, start, end - start);
    }

    return p;
}


static u_char *
list_rule(u_char *p, ngx_uint_t ops, const u_char *text, size_t len)
{
    fanout_pattern_t  pattern;

    if (len == 0) {
        return p;
    }

    pattern.data = p + FANOUT_RULE_HEAD;
    pattern.len = 0;
    pattern.size = len;

    if (len > FANOUT_NAME
        || fanout_pattern_append_text(&pattern, text, len)
           != FANOUT_PATTERN_OK)
    {
        return NULL;
    }

    return fanout_rule(p, ops, pattern.len);
}
