#include <string.h>

#include "base/utf8.h"


#define utf8_high_bits  UINT64_C(0x8080808080808080)


static size_t ascii_run(const unsigned char *s, size_t len);
static int lead_byte(fanout_utf8_t *u, unsigned char c);


void
fanout_utf8_init(fanout_utf8_t *u)
{
    memset(u, 0, sizeof(fanout_utf8_t));
}


int
fanout_utf8_feed(fanout_utf8_t *u, const unsigned char *s, size_t len)
{
    size_t         i;
    fanout_utf8_t  n;

    /* the compiler keeps a local copy in registers: "s" may alias anything */
    n = *u;

    for (i = 0; i < len && !n.invalid; i++) {

        if (n.need) {
            n.invalid = s[i] < n.low || s[i] > n.high;
            n.low = 0x80;
            n.high = 0xbf;
            n.need--;
            continue;
        }

        if (s[i] < 0x80) {
            i += ascii_run(s + i + 1, len - i - 1);
            continue;
        }

        n.invalid = !lead_byte(&n, s[i]);
    }

    *u = n;

    return n.invalid ? FANOUT_UTF8_INVALID : FANOUT_UTF8_OK;
}


int
fanout_utf8_finish(const fanout_utf8_t *u)
{
    if (u->invalid) {
        return FANOUT_UTF8_INVALID;
    }

    return u->need ? FANOUT_UTF8_TRUNCATED : FANOUT_UTF8_OK;
}


int
fanout_utf8_check(const unsigned char *s, size_t len)
{
    fanout_utf8_t  u;

    fanout_utf8_init(&u);

    (void) fanout_utf8_feed(&u, s, len);

    return fanout_utf8_finish(&u);
}


int
fanout_name_valid(const unsigned char *s, size_t len, unsigned flags)
{
    size_t  i;

    if (len == 0 || len > FANOUT_NAME_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {

        if (s[i] < 0x20 || s[i] == 0x7f) {
            return 0;
        }

        /* U+0080 to U+009F; in valid text 0xc2 is always a lead byte */
        if (s[i] == 0xc2 && i + 1 < len && s[i + 1] < 0xa0) {
            return 0;
        }

        if (s[i] == '*' && (flags & FANOUT_NAME_CHANNEL)) {
            return 0;
        }
    }

    return fanout_utf8_check(s, len) == FANOUT_UTF8_OK;
}


static size_t
ascii_run(const unsigned char *s, size_t len)
{
    size_t    i;
    uint64_t  w;

    for (i = 0; len - i >= sizeof(w); i += sizeof(w)) {
        memcpy(&w, s + i, sizeof(w));

        if (w & utf8_high_bits) {
            break;
        }
    }

    while (i < len && s[i] < 0x80) {
        i++;
    }

    return i;
}


/*
 * The second byte alone shows overlong forms (after E0, F0), surrogates (ED)
 * and characters above U+10FFFF (F4).
 */

static int
lead_byte(fanout_utf8_t *u, unsigned char c)
{
    u->low = 0x80;
    u->high = 0xbf;

    if (c < 0xc2 || c > 0xf4) {
        return 0;
    }

    if (c < 0xe0) {
        u->need = 1;
        return 1;
    }

    if (c < 0xf0) {
        u->need = 2;
        u->low = (c == 0xe0) ? 0xa0 : 0x80;
        u->high = (c == 0xed) ? 0x9f : 0xbf;
        return 1;
    }

    u->need = 3;
    u->low = (c == 0xf0) ? 0x90 : 0x80;
    u->high = (c == 0xf4) ? 0x8f : 0xbf;

    return 1;
}
