
#include <string.h>

#include "base/json_text.h"


typedef struct {
    uint8_t              *dst;
    size_t                len;
    size_t                size;
} json_sink_t;


int
fanout_json_type(const fanout_json_t *value)
{
    if (value->len == 0) {
        return FANOUT_JSON_NONE;
    }

    switch (value->data[0]) {

    case '{':
        return FANOUT_JSON_OBJECT;

    case '[':
        return FANOUT_JSON_ARRAY;

    case '"':
        return FANOUT_JSON_STRING;

    case 't':
        return FANOUT_JSON_TRUE;

    case 'f':
        return FANOUT_JSON_FALSE;

    case 'n':
        return FANOUT_JSON_NULL;

    default:
        return FANOUT_JSON_NUMBER;
    }
}


static int
json_value_put(json_sink_t *sink, const uint8_t *data, size_t len)
{
    if (len > sink->size - sink->len) {
        return FANOUT_JSON_TOO_LONG;
    }

    if (sink->dst && len) {
        memmove(sink->dst + sink->len, data, len);
    }

    sink->len += len;

    return FANOUT_JSON_OK;
}


static int
put_char(json_sink_t *sink, uint32_t c)
{
    size_t   n;
    uint8_t  buf[4];

    if (c < 0x80) {
        buf[0] = c;
        n = 1;

    } else if (c < 0x800) {
        buf[0] = 0xc0 | (c >> 6);
        buf[1] = 0x80 | (c & 0x3f);
        n = 2;

    } else if (c < 0x10000) {
        buf[0] = 0xe0 | (c >> 12);
        buf[1] = 0x80 | ((c >> 6) & 0x3f);
        buf[2] = 0x80 | (c & 0x3f);
        n = 3;

    } else {
        buf[0] = 0xf0 | (c >> 18);
        buf[1] = 0x80 | ((c >> 12) & 0x3f);
        buf[2] = 0x80 | ((c >> 6) & 0x3f);
        buf[3] = 0x80 | (c & 0x3f);
        n = 4;
    }

    return json_value_put(sink, buf, n);
}


/* the four digits behind "\u", or -1 */

static int32_t
read_hex(const uint8_t *p, const uint8_t *end)
{
    int      i;
    uint8_t  c;
    int32_t  n;

    if (end - p < 4) {
        return -1;
    }

    for (n = 0, i = 0; i < 4; i++) {
        c = p[i] | 0x20;

        if (p[i] >= '0' && p[i] <= '9') {
            n = n * 16 + (p[i] - '0');

        } else if (c >= 'a' && c <= 'f') {
            n = n * 16 + (c - 'a' + 10);

        } else {
            return -1;
        }
    }

    return n;
}


/* p is behind "\u"; returns the bytes taken, or an error */

static int
put_unicode(json_sink_t *sink, const uint8_t *p, const uint8_t *end)
{
    int      rc;
    int32_t  c, low;

    c = read_hex(p, end);

    if (c < 0) {
        return FANOUT_JSON_INVALID;
    }

    if (c < 0xd800 || c > 0xdfff) {
        rc = put_char(sink, c);
        return rc < 0 ? rc : 4;
    }

    low = -1;

    if (c < 0xdc00 && end - p >= 10 && p[4] == '\\' && p[5] == 'u') {
        low = read_hex(p + 6, end);
    }

    if (low < 0xdc00 || low > 0xdfff) {
        return FANOUT_JSON_SURROGATE;
    }

    rc = put_char(sink, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));

    return rc < 0 ? rc : 10;
}


/* p is behind the backslash; returns the bytes taken, or an error */

static int
put_escape(json_sink_t *sink, const uint8_t *p, const uint8_t *end)
{
    int                   rc;
    const char           *found;
    static const char     from[] = "\"\\/bfnrt";
    static const uint8_t  to[] = "\"\\/\b\f\n\r\t";

    if (p == end || *p == '\0') {
        return FANOUT_JSON_INVALID;
    }

    if (*p == 'u') {
        rc = put_unicode(sink, p + 1, end);
        return rc < 0 ? rc : rc + 1;
    }

    found = strchr(from, *p);

    if (found == NULL) {
        return FANOUT_JSON_INVALID;
    }

    rc = json_value_put(sink, &to[found - from], 1);

    return rc < 0 ? rc : 1;
}


static int
unescape(json_sink_t *sink, const uint8_t *p, const uint8_t *end)
{
    int             rc;
    const uint8_t  *stop;

    while (p < end) {

        stop = memchr(p, '\\', end - p);

        if (stop == NULL) {
            return json_value_put(sink, p, end - p);
        }

        rc = json_value_put(sink, p, stop - p);

        if (rc != FANOUT_JSON_OK) {
            return rc;
        }

        rc = put_escape(sink, stop + 1, end);

        if (rc < 0) {
            return rc;
        }

        p = stop + 1 + rc;
    }

    return FANOUT_JSON_OK;
}


/* the bytes between the quotes */

static int
inside(const fanout_json_t *value, fanout_json_t *text)
{
    if (value->len == 0 || value->data[0] != '"') {
        return FANOUT_JSON_TYPE;
    }

    if (value->len < 2 || value->data[value->len - 1] != '"') {
        return FANOUT_JSON_INVALID;
    }

    text->data = value->data + 1;
    text->len = value->len - 2;

    return FANOUT_JSON_OK;
}


int
fanout_json_string(const fanout_json_t *value, uint8_t *dst, size_t size,
    size_t *len)
{
    int            rc;
    json_sink_t    sink;
    fanout_json_t  text;

    *len = 0;

    rc = inside(value, &text);

    if (rc != FANOUT_JSON_OK) {
        return rc;
    }

    sink.dst = dst;
    sink.len = 0;
    sink.size = size;

    rc = unescape(&sink, text.data, text.data + text.len);

    if (rc == FANOUT_JSON_OK) {
        *len = sink.len;
    }

    return rc;
}


int
fanout_json_text(const fanout_json_t *value, uint8_t *buf, size_t size,
    fanout_json_t *text)
{
    int            rc;
    fanout_json_t  raw;

    text->data = NULL;
    text->len = 0;

    rc = inside(value, &raw);

    if (rc != FANOUT_JSON_OK) {
        return rc;
    }

    if (memchr(raw.data, '\\', raw.len) == NULL) {

        if (raw.len > size) {
            return FANOUT_JSON_TOO_LONG;
        }

        *text = raw;

        return FANOUT_JSON_OK;
    }

    rc = fanout_json_string(value, buf, size, &text->len);

    if (rc == FANOUT_JSON_OK) {
        text->data = buf;
    }

    return rc;
}


/* n = n * 10^zeros + add, 0 if it fits */

static int
shift_decimal(uint64_t *n, int64_t zeros, unsigned add)
{
    if (*n) {
        for ( /* void */ ; zeros > 0; zeros--) {
            if (__builtin_mul_overflow(*n, 10, n)) {
                return -1;
            }
        }
    }

    return __builtin_add_overflow(*n, add, n) ? -1 : 0;
}


/* the power of ten behind "e"; a saturated one is out of range anyway */

static const uint8_t *
read_exponent(const uint8_t *p, const uint8_t *end, int64_t *exp)
{
    int      minus;
    int64_t  n;

    minus = p < end && *p == '-';

    if (p < end && (*p == '-' || *p == '+')) {
        p++;
    }

    for (n = 0; p < end && *p >= '0' && *p <= '9'; p++) {
        if (n < INT64_MAX / 1000) {
            n = n * 10 + (*p - '0');
        }
    }

    *exp = minus ? -n : n;

    return p;
}


/*
 * Reads all digits, with those of the fraction, as one number without its
 * trailing zeros, which are counted in "zeros"; "exp" is the missing power of
 * ten.
 */

static const uint8_t *
read_digits(const uint8_t *p, const uint8_t *end, uint64_t *n, int64_t *exp)
{
    int      point;
    int64_t  zeros;

    *n = 0;
    *exp = 0;
    zeros = 0;

    for (point = 0; p < end; p++) {

        if (*p == '.') {
            point = 1;
            continue;
        }

        if (*p < '0' || *p > '9') {
            break;
        }

        *exp -= point;

        if (*p == '0') {
            zeros++;
            continue;
        }

        if (shift_decimal(n, zeros + 1, *p - '0')) {
            return NULL;
        }

        zeros = 0;
    }

    *exp += zeros;

    return p;
}


static int
sign_integer(uint64_t n, int minus, int64_t *out)
{
    if (n > (uint64_t) INT64_MAX + minus) {
        return FANOUT_JSON_RANGE;
    }

    *out = minus ? (int64_t) (0 - n) : (int64_t) n;

    return FANOUT_JSON_OK;
}


int
fanout_json_int(const fanout_json_t *value, int64_t *out)
{
    int             minus;
    int64_t         exp, power;
    uint64_t        n;
    const uint8_t  *p, *end;

    if (fanout_json_type(value) != FANOUT_JSON_NUMBER) {
        return FANOUT_JSON_TYPE;
    }

    p = value->data;
    end = p + value->len;

    minus = *p == '-';
    p += minus;

    p = read_digits(p, end, &n, &exp);

    if (p == NULL) {
        return FANOUT_JSON_RANGE;
    }

    if (p < end && (*p == 'e' || *p == 'E')) {
        p = read_exponent(p + 1, end, &power);
        exp += power;
    }

    if (p < end) {
        return FANOUT_JSON_INVALID;
    }

    if (n && (exp < 0 || shift_decimal(&n, exp, 0))) {
        return FANOUT_JSON_RANGE;
    }

    return sign_integer(n, minus, out);
}


int
fanout_json_bool(const fanout_json_t *value, int *flag)
{
    int  type;

    type = fanout_json_type(value);

    if (type != FANOUT_JSON_TRUE
        && type != FANOUT_JSON_FALSE)
    {
        return FANOUT_JSON_TYPE;
    }

    *flag = type == FANOUT_JSON_TRUE;

    return FANOUT_JSON_OK;
}
