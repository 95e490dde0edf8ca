
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"


/* no wanted member has a longer name */

#define JSON_NAME_MAX  64


/* walking over a valid text */


const uint8_t *
fanout_json_skip_string(const uint8_t *p, const uint8_t *end)
{
    uint64_t  w;

    p++;

    while (p < end) {

        if (end - p >= 8) {
            memcpy(&w, p, sizeof(w));
            w = json_bytes(w, '"') | json_bytes(w, '\\');

            if (w == 0) {
                p += 8;
                continue;
            }

            p += json_first(w);
        }

        if (*p == '"') {
            return p + 1;
        }

        if (*p == '\\' && ++p == end) {
            break;
        }

        p++;
    }

    return NULL;
}


/* Returns the end of the value that begins with a bracket at p; NULL if it has
 * no end.  *deepest is the number of its levels. */

static const uint8_t *
skip_nested(const uint8_t *p, const uint8_t *end, unsigned *deepest)
{
    unsigned  level;

    level = 0;
    *deepest = 0;

    while (p && p < end) {

        switch (*p) {

        case '"':
            p = fanout_json_skip_string(p, end);
            continue;

        case '{':
        case '[':
            level++;
            *deepest = level > *deepest ? level : *deepest;
            break;

        case '}':
        case ']':
            if (--level == 0) {
                return p + 1;
            }

            break;
        }

        p++;
    }

    return NULL;
}


unsigned
fanout_json_depth(const fanout_json_t *value)
{
    unsigned        deepest;
    const uint8_t  *p, *end;

    p = value->data;
    end = p + value->len;
    deepest = 0;

    while (p < end && is_space(*p)) {
        p++;
    }

    if (p < end && (*p == '{' || *p == '[')) {
        (void) skip_nested(p, end, &deepest);
    }

    return deepest;
}


static const uint8_t *
skip_scalar(const uint8_t *p, const uint8_t *end)
{
    const uint8_t  *start;

    for (start = p; p < end; p++) {
        if (is_space(*p) || *p == ',' || *p == '}' || *p == ']') {
            break;
        }
    }

    return p > start ? p : NULL;
}


static const uint8_t *
skip_value(const uint8_t *p, const uint8_t *end)
{
    unsigned  deepest;

    if (p == end) {
        return NULL;
    }

    switch (*p) {

    case '"':
        return fanout_json_skip_string(p, end);

    case '{':
    case '[':
        return skip_nested(p, end, &deepest);

    default:
        return skip_scalar(p, end);
    }
}


/* reads the name and the colon behind it */

static const uint8_t *
read_key(const uint8_t *p, const uint8_t *end, fanout_json_t *key)
{
    key->data = p;

    if (p == end || *p != '"') {
        return NULL;
    }

    p = fanout_json_skip_string(p, end);

    if (p == NULL) {
        return NULL;
    }

    key->len = p - key->data;

    p = skip_space(p, end);

    if (p == end || *p != ':') {
        return NULL;
    }

    return skip_space(p + 1, end);
}


int
fanout_json_iter(fanout_json_iter_t *it, const fanout_json_t *value)
{
    if (value->len == 0 || (value->data[0] != '{' && value->data[0] != '[')) {
        return FANOUT_JSON_TYPE;
    }

    it->pos = value->data + 1;
    it->end = value->data + value->len;
    it->close = value->data[0] == '{' ? '}' : ']';
    it->started = 0;

    return FANOUT_JSON_OK;
}


int
fanout_json_next(fanout_json_iter_t *it, fanout_json_t *key,
    fanout_json_t *value)
{
    const uint8_t   *p;
    fanout_json_t    name;

    name.data = NULL;
    name.len = 0;

    p = skip_space(it->pos, it->end);

    if (p == it->end) {
        return FANOUT_JSON_INVALID;
    }

    if (*p == it->close) {
        it->pos = p;
        return 0;
    }

    if (it->started) {
        if (*p != ',') {
            return FANOUT_JSON_INVALID;
        }

        p = skip_space(p + 1, it->end);
    }

    if (it->close == '}') {
        p = read_key(p, it->end, &name);

        if (p == NULL) {
            return FANOUT_JSON_INVALID;
        }
    }

    value->data = p;

    p = skip_value(p, it->end);

    if (p == NULL) {
        return FANOUT_JSON_INVALID;
    }

    value->len = p - value->data;

    if (key) {
        *key = name;
    }

    it->pos = p;
    it->started = 1;

    return 1;
}


const fanout_json_field_t *
fanout_json_field_find(const fanout_json_field_t *fields, unsigned n,
    const fanout_json_t *key)
{
    uint8_t         buf[JSON_NAME_MAX];
    unsigned        i;
    fanout_json_t   name;

    if (fanout_json_text(key, buf, sizeof(buf), &name)
        != FANOUT_JSON_OK)
    {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        if (fields[i].len == name.len
            && memcmp(fields[i].name, name.data, name.len) == 0)
        {
            return &fields[i];
        }
    }

    return NULL;
}


static fanout_json_t *
field_slot(const fanout_json_field_t *field, void *dst)
{
    return (fanout_json_t *) (void *)
           ((uint8_t *) dst + field->offset);
}


int
fanout_json_fail_member(fanout_json_error_t *err, int rc, size_t at,
    const fanout_json_t *key)
{
    int     n;
    char    reason[JSON_NAME_MAX];
    size_t  i;

    /* the key is quoted; the name is shown as ASCII */

    n = key->len - 2 < 32 ? (int) key->len - 2 : 32;

    (void) snprintf(reason, sizeof(reason), "%s member '%.*s'",
                    rc == FANOUT_JSON_DUPLICATE ? "duplicate"
                                                : "unknown",
                    n, (const char *) key->data + 1);

    for (i = 0; reason[i]; i++) {
        if (reason[i] < 0x20 || reason[i] > 0x7e) {
            reason[i] = '?';
        }
    }

    return fanout_json_fail(err, rc, at, reason);
}


int
fanout_json_members(const fanout_json_t *object,
    const fanout_json_field_t *fields, unsigned n, void *dst,
    fanout_json_error_t *err)
{
    int                         rc, bad;
    unsigned                    i;
    fanout_json_t               key, value, *slot;
    fanout_json_iter_t          it;
    const fanout_json_field_t  *field;

    for (i = 0; i < n; i++) {
        slot = field_slot(&fields[i], dst);
        slot->data = NULL;
        slot->len = 0;
    }

    if (fanout_json_type(object) != FANOUT_JSON_OBJECT) {
        return fanout_json_fail(err, FANOUT_JSON_TYPE, 0,
                                "an object is needed");
    }

    (void) fanout_json_iter(&it, object);
    bad = FANOUT_JSON_OK;

    while ((rc = fanout_json_next(&it, &key, &value)) == 1) {

        field = fanout_json_field_find(fields, n, &key);
        slot = field ? field_slot(field, dst) : NULL;

        if (slot && slot->len == 0) {
            *slot = value;
            continue;
        }

        if (bad == FANOUT_JSON_OK) {
            bad = fanout_json_fail_member(err,
                                          slot ? FANOUT_JSON_DUPLICATE
                                               : FANOUT_JSON_UNKNOWN,
                                          key.data - object->data, &key);
        }
    }

    return rc == 0 ? bad
                   : fanout_json_fail(err, rc, it.pos - object->data,
                                      "invalid object");
}


int
fanout_json_object(const uint8_t *text, size_t len, unsigned depth,
    const fanout_json_field_t *fields, unsigned n, void *dst,
    fanout_json_error_t *err)
{
    int            rc;
    fanout_json_t  value;

    rc = fanout_json_check(text, len, depth, &value, err);

    if (rc < 0) {
        return rc;
    }

    return fanout_json_members(&value, fields, n, dst, err);
}


int
fanout_json_array(const fanout_json_t *array, fanout_json_t *items,
    size_t max, size_t *n)
{
    int                 rc;
    fanout_json_t       value;
    fanout_json_iter_t  it;

    *n = 0;

    if (fanout_json_type(array) != FANOUT_JSON_ARRAY) {
        return FANOUT_JSON_TYPE;
    }

    (void) fanout_json_iter(&it, array);

    while ((rc = fanout_json_next(&it, NULL, &value)) == 1) {

        if (*n == max) {
            return FANOUT_JSON_TOO_MANY;
        }

        if (items) {
            items[*n] = value;
        }

        (*n)++;
    }

    return rc;
}
