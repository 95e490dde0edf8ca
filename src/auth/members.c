
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <string.h>

#include "auth/members.h"


#define MEMBERS_SECONDS  ((int64_t) 1 << 53)


/* digits with a point before the one at "point", from 0; it may be far off */

typedef struct {
    int64_t         point;
    const uint8_t  *digits;
    const uint8_t  *end;
} members_number_t;


int
fanout_auth_equals(const fanout_json_t *value, const fanout_json_t *text)
{
    uint8_t        buf[FANOUT_AUTH_TEXT];
    fanout_json_t  got;

    return fanout_json_text(value, buf, sizeof(buf), &got) == FANOUT_JSON_OK
           && got.len == text->len
           && (got.len == 0 || memcmp(got.data, text->data, got.len) == 0);
}


int
fanout_auth_members(const fanout_json_t *object,
    const fanout_json_field_t *fields, unsigned n, void *dst)
{
    int                         rc;
    unsigned                    i;
    fanout_json_t               key, value, *slot;
    fanout_json_iter_t          it;
    const fanout_json_field_t  *field;

    for (i = 0; i < n; i++) {
        memset((uint8_t *) dst + fields[i].offset, 0, sizeof(fanout_json_t));
    }

    if (fanout_json_type(object) != FANOUT_JSON_OBJECT) {
        return FANOUT_JSON_TYPE;
    }

    (void) fanout_json_iter(&it, object);

    while ((rc = fanout_json_next(&it, &key, &value)) == 1) {
        field = fanout_json_field_find(fields, n, &key);

        if (field == NULL) {
            continue;
        }

        slot = (fanout_json_t *) (void *) ((uint8_t *) dst + field->offset);

        if (slot->len) {
            return FANOUT_JSON_DUPLICATE;
        }

        *slot = value;
    }

    return rc;
}


/* the power of ten behind "e"; one that is too long is out of range anyway */

static int64_t
members_exponent(const uint8_t *p, const uint8_t *end)
{
    int      minus;
    int64_t  n;

    minus = p < end && *p == '-';

    if (p < end && (*p == '-' || *p == '+')) {
        p++;
    }

    for (n = 0; p < end; p++) {
        if (n < INT32_MAX) {
            n = n * 10 + (*p - '0');
        }
    }

    return minus ? -n : n;
}


static void
members_number(const uint8_t *p, const uint8_t *end, members_number_t *number)
{
    const uint8_t  *point;

    number->digits = p;
    point = NULL;

    for ( /* void */ ; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            point = p;
        }
    }

    number->end = p;
    number->point = (point ? point : p) - number->digits;

    if (p < end) {
        number->point += members_exponent(p + 1, end);
    }
}


/* the number before the point, once it is over the limit any that is; rest: a
 * digit behind it is not 0 */

static int64_t
members_whole(const members_number_t *number, int64_t limit, int *rest)
{
    int64_t         n, at;
    const uint8_t  *p;

    n = 0;
    at = 0;
    *rest = 0;

    for (p = number->digits; p < number->end; p++) {

        if (*p == '.') {
            continue;
        }

        if (at++ >= number->point) {
            *rest |= *p != '0';

        } else if (n <= limit) {
            n = n * 10 + (*p - '0');
        }
    }

    for ( /* void */ ; n && n <= limit && at < number->point; at++) {
        n *= 10;
    }

    return n;
}


int
fanout_auth_seconds(const fanout_json_t *value, int64_t *n)
{
    int               minus, rest;
    int64_t           whole;
    members_number_t  number;

    if (fanout_json_type(value) != FANOUT_JSON_NUMBER) {
        return FANOUT_JSON_TYPE;
    }

    minus = value->data[0] == '-';
    members_number(value->data + minus, value->data + value->len, &number);
    whole = members_whole(&number, MEMBERS_SECONDS, &rest);

    if (whole > MEMBERS_SECONDS) {
        return FANOUT_JSON_RANGE;
    }

    *n = minus ? -whole - rest : whole;

    return FANOUT_JSON_OK;
}
