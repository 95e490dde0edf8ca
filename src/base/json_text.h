
/*
 * Internals of json.h: the bytes of a text, as json.c validates them,
 * json_walk.c walks over them and json_write.c writes them.  No state, no
 * locks; nothing is owned.
 */


#ifndef FANOUT_BASE_JSON_TEXT_H
#define FANOUT_BASE_JSON_TEXT_H


#include <string.h>

#include "base/json.h"


/* eight bytes, each of them 1 */

#define JSON_ONES      0x0101010101010101ULL


/* The highest bit of each byte of a word that is c.  Bytes behind the first of
 * these may be wrong. */

static inline uint64_t
json_bytes(uint64_t w, uint8_t c)
{
    w ^= JSON_ONES * c;

    return (w - JSON_ONES) & ~w & (JSON_ONES * 0x80);
}


/* Returns bytes of a word before the first that is marked, or fewer: 0 is
 * always right, and what follows is then looked at byte by byte. */

static inline unsigned
json_first(uint64_t marks)
{
#if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
    return (unsigned) __builtin_ctzll(marks) / 8;
#else
    return 0;
#endif
}


static inline int
is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}


static inline const uint8_t *
skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_space(*p)) {
        p++;
    }

    return p;
}


/* Returns the length of the character at p, or minus that of the maximal
 * subpart. */

static inline int
utf8_char(const uint8_t *p, const uint8_t *end)
{
    int      i, n;
    uint8_t  c, lo, hi;

    c = *p;

    if (c < 0x80) {
        return 1;
    }

    if (c < 0xc2 || c > 0xf4) {
        return -1;
    }

    n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;

    for (i = 1; i < n; i++) {
        if (p + i == end || p[i] < lo || p[i] > hi) {
            return -i;
        }

        lo = 0x80;
        hi = 0xbf;
    }

    return n;
}


/*
 * Sets err, which may be NULL, and returns the code.  "at" is a byte of the
 * text; the reason is cut to 56 bytes.
 */
int fanout_json_fail(fanout_json_error_t *err, int code, size_t at,
    const char *reason);

/*
 * Returns the end of the string whose opening quote is at p, in a valid text;
 * NULL if it has no end before "end".
 */
const uint8_t *fanout_json_skip_string(const uint8_t *p, const uint8_t *end);


#endif /* FANOUT_BASE_JSON_TEXT_H */
