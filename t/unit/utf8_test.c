/* sources: src/base/utf8.c */

/*
 * If this fails, text that is not UTF-8 reaches other people's browsers, which
 * then close their connections, or good text in some language is refused, or
 * is refused only when the network cuts it at an unlucky byte.
 */

#include <stdlib.h>

#include "tap.h"
#include "base/utf8.h"


#define OK         FANOUT_UTF8_OK
#define INVALID    FANOUT_UTF8_INVALID
#define TRUNCATED  FANOUT_UTF8_TRUNCATED

#define check(s)   fanout_utf8_check((const unsigned char *) s,               \
                                              sizeof(s) - 1)
#define name(s, f) fanout_name_valid((const unsigned char *) s,               \
                                     sizeof(s) - 1, f)


static uint32_t  seed = 1;


static uint32_t
rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed;
}


static size_t
encode(unsigned char *d, uint32_t c)
{
    if (c < 0x80) {
        d[0] = c;
        return 1;
    }

    if (c < 0x800) {
        d[0] = 0xc0 | c >> 6;
        d[1] = 0x80 | (c & 0x3f);
        return 2;
    }

    if (c < 0x10000) {
        d[0] = 0xe0 | c >> 12;
        d[1] = 0x80 | (c >> 6 & 0x3f);
        d[2] = 0x80 | (c & 0x3f);
        return 3;
    }

    d[0] = 0xf0 | c >> 18;
    d[1] = 0x80 | (c >> 12 & 0x3f);
    d[2] = 0x80 | (c >> 6 & 0x3f);
    d[3] = 0x80 | (c & 0x3f);
    return 4;
}


/*
 * The reference decodes by arithmetic and compares with the shortest form,
 * which has nothing in common with byte ranges.  Length of the character at
 * "s", 0 if there is none.
 */

static size_t
ref_char(const unsigned char *s, size_t len)
{
    size_t         i, n;
    uint32_t       c;
    unsigned char  again[4];

    if (s[0] < 0x80) {
        return 1;
    }

    n = (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3
        : (s[0] & 0xf8) == 0xf0 ? 4 : 0;

    if (n == 0 || n > len) {
        return 0;
    }

    c = s[0] & (0x7f >> n);

    for (i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = c << 6 | (s[i] & 0x3f);
    }

    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }

    return (encode(again, c) == n) ? n : 0;
}


static int
ref_valid(const unsigned char *s, size_t len)
{
    size_t  i, n;

    for (i = 0; i < len; i += n) {
        n = ref_char(s + i, len - i);

        if (n == 0) {
            return 0;
        }
    }

    return 1;
}


/*
 * Some text begins with these bytes, if a tail of up to three completes them.
 * Only the second byte of a character has more than one range, so the tails
 * differ in their first byte.
 */

static int
ref_prefix(const unsigned char *s, size_t len)
{
    size_t         i, n, k;
    unsigned char  t[8];

    static const unsigned char  tails[] = { 0x80, 0x8f, 0x90, 0x9f, 0xa0 };

    for (i = 0; i < len; i += n) {
        n = ref_char(s + i, len - i);

        if (n == 0) {
            break;
        }
    }

    k = len - i;

    if (k == 0 || k > 3) {
        return k == 0;
    }

    memcpy(t, s + i, k);
    memset(t + k, 0x80, 3);

    for (i = 0; i < sizeof(tails); i++) {
        t[k] = tails[i];

        /* more than k: the tail is used up as part of the character */

        if (ref_char(t, k + 3) > k) {
            return 1;
        }
    }

    return 0;
}


/* fed in one, at every split and by byte: the same end, as early as can be */

static int
agrees(const unsigned char *s, size_t len)
{
    int            rc, want;
    size_t         i;
    fanout_utf8_t  u;

    want = ref_valid(s, len) ? OK : ref_prefix(s, len) ? TRUNCATED : INVALID;

    for (i = 0; i <= len; i++) {
        fanout_utf8_init(&u);
        rc = fanout_utf8_feed(&u, s, i);

        if (rc != (ref_prefix(s, i) ? OK : INVALID)) {
            return 0;
        }

        rc = fanout_utf8_feed(&u, s + i, len - i);

        if (rc != (want == INVALID ? INVALID : OK)
            || fanout_utf8_finish(&u) != want)
        {
            return 0;
        }
    }

    return fanout_utf8_check(s, len) == want;
}


static void
test_exhaustive(void)
{
    uint32_t       i, bad;
    unsigned char  s[4];

    for (bad = 0, i = 0; i < 0x100; i++) {
        s[0] = i;
        bad += !agrees(s, 1);
    }

    is_int(bad, 0, "all sequences of one byte");

    for (bad = 0, i = 0; i < 0x10000; i++) {
        s[0] = i >> 8;
        s[1] = i;
        bad += !agrees(s, 2);
    }

    is_int(bad, 0, "all sequences of two bytes");

    for (bad = 0, i = 0; i < 0x1000000; i++) {
        s[0] = i >> 16;
        s[1] = i >> 8;
        s[2] = i;

        bad += (fanout_utf8_check(s, 3) == OK) != ref_valid(s, 3);

        /* the splits, where they differ from those of two bytes */

        if (s[0] >= 0xe0) {
            bad += !agrees(s, 3);
        }
    }

    is_int(bad, 0, "all sequences of three bytes");
}


static void
test_four(void)
{
    uint32_t       i, c, bad;
    unsigned char  s[4];

    for (bad = 0, i = 0; i < 300000; i++) {
        c = rnd();
        s[0] = 0xf0 | (c & 7);
        s[1] = (c & 0x700) ? 0x80 | (c >> 11 & 0x3f) : c >> 11;
        s[2] = (c & 0x70000) ? 0x80 | (c >> 19 & 0x3f) : c >> 19;
        c = rnd();
        s[3] = (c & 7) ? 0x80 | (c >> 3 & 0x3f) : c >> 3;
        bad += !agrees(s, 4);
    }

    is_int(bad, 0, "sequences of four bytes, sampled");

    for (bad = 0, c = 0x10000; c <= 0x10ffff; c++) {
        bad += encode(s, c) != 4
               || fanout_utf8_check(s, 4) != OK;
    }

    is_int(bad, 0, "all characters from U+10000 to U+10FFFF");
}


static void
test_long(void)
{
    size_t         len, n;
    uint32_t       i, c, bad;
    unsigned char  *exact, s[64];

    for (bad = 0, i = 0; i < 20000; i++) {
        n = rnd() % 50;
        len = 0;

        while (len < n) {
            c = rnd();

            if (c % 4) {
                s[len++] = c >> 8 & 0x7f;
                continue;
            }

            c = (c >> 2) % 0x110000;

            if (c >= 0xd800 && c <= 0xdfff) {
                c = 0x2028;
            }

            len += encode(s + len, c);
        }

        if (len && i % 2) {
            s[rnd() % len] = rnd();
        }

        /* its exact size, so that a sanitizer sees a byte read too far */
        exact = malloc(len ? len : 1);
        memcpy(exact, s, len);
        bad += !agrees(exact, len);
        free(exact);
    }

    is_int(bad, 0, "texts of up to 53 bytes, half of them damaged, all splits");

    for (bad = 0, len = 0; len < sizeof(s); len++) {
        for (n = 0; n < len; n++) {
            memset(s, 'a', len);
            s[n] = 0xff;
            bad += fanout_utf8_check(s, len) != INVALID;
        }

        memset(s, 'a', len);
        bad += fanout_utf8_check(s, len) != OK;
    }

    is_int(bad, 0, "one wrong byte anywhere in ASCII of any length");
}


static void
test_edges(void)
{
    fanout_utf8_t  u;

    is_int(check(""), OK, "empty");
    is_int(check("\0"), OK, "NUL is a character");
    is_int(check("\xc2\x80"), OK, "U+0080");
    is_int(check("\xdf\xbf"), OK, "U+07FF");
    is_int(check("\xe0\xa0\x80"), OK, "U+0800");
    is_int(check("\xe2\x80\xa8"), OK, "U+2028");
    is_int(check("\xed\x9f\xbf"), OK, "U+D7FF");
    is_int(check("\xee\x80\x80"), OK, "U+E000");
    is_int(check("\xef\xbb\xbf"), OK, "U+FEFF, a byte order mark");
    is_int(check("\xef\xbf\xbf"), OK, "U+FFFF");
    is_int(check("\xf0\x90\x80\x80"), OK, "U+10000");
    is_int(check("\xf4\x8f\xbf\xbf"), OK, "U+10FFFF");

    is_int(check("\xc0\x80"), INVALID, "overlong NUL");
    is_int(check("\xc1\xbf"), INVALID, "overlong U+007F");
    is_int(check("\xe0\x9f\xbf"), INVALID, "overlong U+07FF");
    is_int(check("\xf0\x8f\xbf\xbf"), INVALID, "overlong U+FFFF");
    is_int(check("\xed\xa0\x80"), INVALID, "surrogate U+D800");
    is_int(check("\xed\xbf\xbf"), INVALID, "surrogate U+DFFF");
    is_int(check("\xed\xa0\xbd\xed\xb8\x80"), INVALID, "surrogate pair");
    is_int(check("\xf4\x90\x80\x80"), INVALID, "U+110000");
    is_int(check("\xf8\x88\x80\x80\x80"), INVALID, "five bytes");
    is_int(check("\xff"), INVALID, "0xff");
    is_int(check("\x80"), INVALID, "continuation alone");

    is_int(check("a\xe2\x82"), TRUNCATED, "cut within a character");
    is_int(check("\xf4\x90"), INVALID, "cut, but wrong already");

    fanout_utf8_init(&u);
    is_int(fanout_utf8_feed(&u, (unsigned char *) "\xf4", 1), OK,
           "first byte of U+10FFFF or more");
    is_int(fanout_utf8_feed(&u, (unsigned char *) "\x90", 1), INVALID,
           "the second tells");
    is_int(fanout_utf8_feed(&u, (unsigned char *) "a", 1), INVALID,
           "it stays wrong");
    is_int(fanout_utf8_feed(&u, (unsigned char *) "", 0), INVALID,
           "it stays wrong with no bytes");
    is_int(fanout_utf8_finish(&u), INVALID, "and at the end");

    fanout_utf8_init(&u);
    is_int(fanout_utf8_finish(&u), OK, "it begins anew");

    ok(sizeof(u) <= 8, "the state is small");
}


static void
test_names(void)
{
    uint32_t       c, bad;
    unsigned char  s[260];

    is_int(name("room:1", 0), 1, "a name");
    is_int(name("r\xc3\xa4um:\xf0\x9f\x98\x80", 0), 1, "a name in UTF-8");
    is_int(name("", 0), 0, "no empty name");
    is_int(name("a b", 0), 1, "space is no control character");
    is_int(name("a\xe2\x80\xa8" "b", 0), 1, "nor is U+2028");
    is_int(name("a\0b", 0), 0, "no NUL");
    is_int(name("a\nb", 0), 0, "no line feed");
    is_int(name("a\x7f", 0), 0, "no DEL");
    is_int(name("a\xc2", 0), 0, "no cut character");
    is_int(name("a\xff", 0), 0, "no wrong byte");
    is_int(name("a*", 0), 1, "a star is fine in a name");
    is_int(name("a*", FANOUT_NAME_CHANNEL), 0, "not in a channel");
    is_int(name("a:b", FANOUT_NAME_CHANNEL), 1, "a channel");

    memset(s, 'a', sizeof(s));
    is_int(fanout_name_valid(s, 255, 0), 1, "255 bytes");
    is_int(fanout_name_valid(s, 256, 0), 0, "256 bytes");

    for (bad = 0, c = 0; c < 0x3000; c++) {
        if (c >= 0xd800 && c <= 0xdfff) {
            continue;
        }

        bad += fanout_name_valid(s, encode(s, c), 0)
               != !(c < 0x20 || (c >= 0x7f && c < 0xa0));
    }

    is_int(bad, 0, "all characters below U+3000");

    /* the bytes of C1 within other characters are harmless */
    is_int(name("\xe0\xa8\x82\xe2\x82\x80", 0), 1, "0x82 as a third byte");
    is_int(name("\xc3\x82\xc2\xa0", 0), 1, "0x82 after 0xc3");
}


int
main(void)
{
    test_edges();
    test_exhaustive();
    test_four();
    test_long();
    test_names();

    return done_testing();
}
