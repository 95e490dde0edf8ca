
#include <string.h>

#include "base/json_text.h"


static void mend_surrogates(uint8_t *p, uint8_t *end);
static unsigned surrogate(const uint8_t *p, const uint8_t *end);


size_t
fanout_json_minify(uint8_t *dst, const uint8_t *src, size_t len)
{
    size_t          n;
    uint8_t        *start;
    const uint8_t  *p, *end, *next;

    p = src;
    end = src + len;
    start = dst;

    while (p < end) {

        next = skip_space(p, end);

        for (p = next; next < end && !is_space(*next); /* void */ ) {

            if (*next != '"') {
                next++;
                continue;
            }

            next = fanout_json_skip_string(next, end);

            if (next == NULL) {
                next = end;
            }
        }

        n = next - p;

        if (dst != p) {
            memmove(dst, p, n);
        }

        dst += n;
        p = next;
    }

    mend_surrogates(start, dst);

    return dst - start;
}


/* The same as USVString of the web platform (Web IDL, section 3.2.12). */

static void
mend_surrogates(uint8_t *p, uint8_t *end)
{
    unsigned  c;

    while ((p = memchr(p, '\\', end - p)) && end - p > 1) {

        c = surrogate(p, end);

        if (c == 0) {
            p += 2;

        } else if (c < 0xdc && surrogate(p + 6, end) >= 0xdc) {
            p += 12;

        } else {
            memcpy(p, "\\ufffd", 6);
            p += 6;
        }
    }
}


/* the upper byte of an escaped surrogate, 0xd8 to 0xdf, or 0 */

static unsigned
surrogate(const uint8_t *p, const uint8_t *end)
{
    unsigned  c;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u' || (p[2] | 0x20) != 'd') {
        return 0;
    }

    c = p[3] | 0x20;

    switch (c) {

    case '8':
    case '9':
        return 0xd0 + (p[3] - '0');

    case 'a':
    case 'b':
    case 'c':
    case 'd':
    case 'e':
    case 'f':
        return 0xd0 + (c - 'a') + 10;

    default:
        return 0;
    }
}


static int
is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}


static size_t
escape_ascii(uint8_t *out, uint8_t c)
{
    const char           *found;
    static const char     from[] = "\b\f\n\r\t\"\\";
    static const char     to[] = "bfnrt\"\\";
    static const uint8_t  hex[] = "0123456789abcdef";

    found = c ? strchr(from, c) : NULL;

    out[0] = '\\';

    if (found) {
        out[1] = to[found - from];
        return 2;
    }

    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 0x0f];

    return 6;
}


/* one character that is not plain: at most 6 bytes to out */

static size_t
escape_char(uint8_t *out, const uint8_t **src, const uint8_t *end)
{
    int             n;
    const uint8_t  *p;

    p = *src;

    if (*p < 0x80) {
        *src = p + 1;
        return escape_ascii(out, *p);
    }

    n = utf8_char(p, end);

    if (n < 0) {
        *src = p - n;
        memcpy(out, "\xef\xbf\xbd", 3);
        return 3;
    }

    *src = p + n;

    if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8) {
        memcpy(out, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
        return 6;
    }

    memcpy(out, p, n);

    return n;
}


static const uint8_t *
skip_plain(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_plain(*p)) {
        p++;
    }

    return p;
}


size_t
fanout_json_escape_len(const uint8_t *src, size_t len)
{
    size_t          n;
    uint8_t         out[6];
    const uint8_t  *p, *end, *next;

    n = 0;
    end = src + len;

    for (p = src; p < end; p = next) {

        next = skip_plain(p, end);

        if (next > p) {
            n += next - p;
            continue;
        }

        n += escape_char(out, &next, end);
    }

    return n;
}


uint8_t *
fanout_json_escape(uint8_t *dst, const uint8_t *src, size_t len)
{
    const uint8_t  *p, *end, *next;

    end = src + len;

    for (p = src; p < end; p = next) {

        next = skip_plain(p, end);

        if (next > p) {
            memcpy(dst, p, next - p);
            dst += next - p;
            continue;
        }

        dst += escape_char(dst, &next, end);
    }

    return dst;
}
