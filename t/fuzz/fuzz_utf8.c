/* sources: src/base/utf8.c */

/*
 * UTF-8: whole, cut at places the input chooses, and by byte must end alike,
 * and as a decoder that works by arithmetic says.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"


/* length of the character at "s", 0: none, -1: cut by the end */

static int
ref_char(const uint8_t *s, size_t len)
{
    int       i, n;
    uint32_t  c;

    static const uint32_t  least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    if (s[0] < 0x80) {
        return 1;
    }

    n = (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3
        : (s[0] & 0xf8) == 0xf0 ? 4 : 0;

    c = s[0] & (0x7f >> n);

    for (i = 1; i < n; i++) {
        if ((size_t) i == len) {
            return -1;
        }

        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = c << 6 | (s[i] & 0x3f);
    }

    return (n && c >= least[n] && c <= 0x10ffff && c >> 11 != 0x1b) ? n : 0;
}


static int
ref_check(const uint8_t *s, size_t len)
{
    int     n;
    size_t  i;

    for (i = 0; i < len; i += n) {
        n = ref_char(s + i, len - i);

        if (n <= 0) {
            return n ? FANOUT_UTF8_TRUNCATED
                     : FANOUT_UTF8_INVALID;
        }
    }

    return FANOUT_UTF8_OK;
}


static int
ref_name(const uint8_t *s, size_t len, unsigned flags)
{
    size_t    i;
    uint32_t  c;

    if (len == 0 || len > 255 || ref_check(s, len) != 0) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        c = s[i];

        if (c >> 5 == 6) {
            c = (c & 0x1f) << 6 | (s[++i] & 0x3f);

        } else if (c >= 0x80) {
            continue;
        }

        if (c < 0x20 || (c >= 0x7f && c <= 0x9f)
            || (flags && c == '*'))
        {
            return 0;
        }
    }

    return 1;
}


static void
must(int cond)
{
    if (!cond) {
        abort();
    }
}


int LLVMFuzzerTestOneInput(const uint8_t *s, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *s, size_t len)
{
    int            want, rc, told;
    size_t         i, n, step;
    fanout_utf8_t  u;

    if (len == 0) {
        return 0;
    }

    step = 1 + s[0] % 19;
    s++;
    len--;

    want = ref_check(s, len);
    rc = fanout_utf8_check(s, len);

    /* a cut character may be wrong by its second byte already */
    must(rc == want || (want == FANOUT_UTF8_TRUNCATED
                        && rc == FANOUT_UTF8_INVALID));

    fanout_utf8_init(&u);
    told = FANOUT_UTF8_OK;

    for (i = 0; i < len; i += n) {
        n = (len - i < step) ? len - i : step;
        told = fanout_utf8_feed(&u, s + i, n);
        must(told == fanout_utf8_feed(&u, s, 0));
        must(told == (ref_check(s, i + n) == FANOUT_UTF8_INVALID
                      ? FANOUT_UTF8_INVALID : told));
    }

    must(fanout_utf8_finish(&u) == rc);
    must(told == (rc == FANOUT_UTF8_INVALID ? rc : 0));

    must(fanout_name_valid(s, len, 0) == ref_name(s, len, 0));
    must(fanout_name_valid(s, len, FANOUT_NAME_CHANNEL)
         == ref_name(s, len, 1));

    return 0;
}
