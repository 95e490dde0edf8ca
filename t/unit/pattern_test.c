/* sources: src/base/pattern.c */

/*
 * If this fails, permissions are not what the configuration says: a rule for
 * user:$fanout_user:* lets a user called "*" or "" read everybody's channels,
 * or one long name keeps a worker busy.
 */


#include <stdlib.h>

#include "tap.h"
#include "base/pattern.h"


#define c(text)  text, sizeof(text) - 1

#define EMPTY    FANOUT_PATTERN_EMPTY
#define CONTROL  FANOUT_PATTERN_CONTROL
#define NO_ROOM  FANOUT_PATTERN_NO_ROOM


static uint8_t                    room[256];
static fanout_pattern_t  pattern;


static void
reset(size_t size)
{
    pattern.data = room;
    pattern.len = 0;
    pattern.size = size;
}


static int
text(const char *s, size_t len)
{
    return fanout_pattern_append_text(&pattern, (const uint8_t *) s, len);
}


static int
literal(const char *s, size_t len)
{
    return fanout_pattern_append_literal(&pattern, (const uint8_t *) s, len);
}


static int
match(const char *name)
{
    return fanout_pattern_match(pattern.data, pattern.len,
                                (const uint8_t *) name, strlen(name));
}


static const struct {
    const char  *pattern;
    const char  *name;
    int          want;
} cases[] = {
    { "", "", 1 },
    { "", "a", 0 },
    { "a", "", 0 },
    { "*", "", 1 },
    { "*", "anything at all", 1 },
    { "**", "x", 1 },
    { "lobby", "lobby", 1 },
    { "lobby", "Lobby", 0 },
    { "lobby", "lobby2", 0 },
    { "lobby", "lobb", 0 },
    { "room:*", "room:1", 1 },
    { "room:*", "room:", 1 },
    { "room:*", "room", 0 },
    { "room:*", "a room:1", 0 },
    { "*:1", "room:1", 1 },
    { "*:1", "room:11", 0 },
    { "*:1", "room:1:1", 1 },
    { "user:*:in", "user:ann:in", 1 },
    { "user:*:in", "user::in", 1 },
    { "user:*:in", "user:in", 0 },
    { "a*b*c", "abc", 1 },
    { "a*b*c", "a--b--c", 1 },
    { "a*b*c", "a--c--b", 0 },
    { "a*b*c", "abcbc", 1 },
    { "*aab", "aaab", 1 },
    { "*ab*ab", "ab", 0 },
    { "*ab*ab", "abab", 1 },
    { "*a*", "bbb", 0 },
    { "a.c", "abc", 0 },
    { "a?c", "abc", 0 },
    { "[ab]", "a", 0 },
    { "caf\xc3\xa9:*", "caf\xc3\xa9:1", 1 }
};


static void
test_match(void)
{
    size_t  i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reset(sizeof(room));
        text(cases[i].pattern, strlen(cases[i].pattern));

        is_int(match(cases[i].name), cases[i].want, "'%s' and '%s'",
               cases[i].pattern, cases[i].name);
    }
}


static void
test_literal(void)
{
    reset(sizeof(room));
    is_int(text(c("user:")), 0, "text");
    is_int(literal(c("*")), 0, "a user called *");
    is_int(text(c(":*")), 0, "text behind");

    ok(match("user:*:inbox"), "has his own channels");
    ok(!match("user:ann:inbox"), "and nobody else's");
    ok(!match("user::inbox"), "not even of nobody");

    reset(sizeof(room));
    text(c("*"));
    is_int(literal(c("**")), 0, "stars behind a wildcard");
    text(c("**"));
    ok(match("x**y"), "stay literal");
    ok(!match("x*y"), "both of them");
}


static void
test_refused(void)
{
    reset(sizeof(room));
    is_int(literal(c("")), EMPTY, "no value grants nothing");
    is_int(literal(c("a\0b")), CONTROL, "NUL in a value is no wildcard");
    is_int(literal(c("\0")), CONTROL, "nor alone");
    is_int(literal(c("a\nb")), CONTROL, "newline");
    is_int(literal(c("\x1f")), CONTROL, "U+001F");
    is_int(literal(c("\x7f")), CONTROL, "DEL");
    is_int(text(c("a\tb")), CONTROL, "tab in the configuration");
    is_int(text(c("\0")), CONTROL, "NUL in the configuration");

    reset(sizeof(room));
    is_int(literal(c(" ~\x80\xff")), 0, "all else is taken");
}


static void
test_build(void)
{
    reset(sizeof(room));
    text(c("a*"));
    text(c("**b***"));
    text(c(""));
    is_mem(room, pattern.len, "a\0b\0", 4, "adjacent wildcards are one");

    reset(4);
    is_int(text(c("a**b*")), 0, "fits to the last byte");
    is_int(text(c("*")), 0, "and a wildcard that adds nothing");
    is_int(text(c("x")), NO_ROOM, "one byte more");
    is_int(literal(c("x")), NO_ROOM, "or of a value");

    reset(4);
    is_int(literal(c("12345")), NO_ROOM, "a value over the size");
    is_int(pattern.len, 0, "is not begun");
}


/* names are bytes to the matcher: what it is given can't make it misread */

static void
test_zero_in_name(void)
{
    reset(sizeof(room));
    text(c("a*b"));

    is_int(fanout_pattern_match(pattern.data, pattern.len,
                                (const uint8_t *) "a\0\0b", 4), 1,
           "zero bytes under a wildcard");

    reset(sizeof(room));
    text(c("ab"));

    is_int(fanout_pattern_match(pattern.data, pattern.len,
                                (const uint8_t *) "a\0b", 3), 0,
           "a zero byte in the name is no wildcard");
}


static int
naive(const uint8_t *p, size_t plen, const uint8_t *n, size_t nlen)
{
    if (plen == 0) {
        return nlen == 0;
    }

    if (*p == 0) {
        return naive(p + 1, plen - 1, n, nlen)
               || (nlen && naive(p, plen, n + 1, nlen - 1));
    }

    return nlen && *p == *n && naive(p + 1, plen - 1, n + 1, nlen - 1);
}


static uint32_t
next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;

    return *state >> 33;
}


static void
test_random(void)
{
    int       i, bad, hits;
    size_t    j, plen, nlen;
    uint8_t   p[10], n[14];
    uint64_t  state;

    state = 1;
    bad = 0;
    hits = 0;

    for (i = 0; i < 500000; i++) {
        plen = next_random(&state) % (sizeof(p) + 1);
        nlen = next_random(&state) % (sizeof(n) + 1);

        for (j = 0; j < plen; j++) {
            p[j] = "\0ab"[next_random(&state) % 3];
        }

        for (j = 0; j < nlen; j++) {
            n[j] = "ab"[next_random(&state) % 2];
        }

        hits += naive(p, plen, n, nlen);
        bad += fanout_pattern_match(p, plen, n, nlen)
               != naive(p, plen, n, nlen);
    }

    is_int(bad, 0, "as the naive matcher, 500,000 times");
    ok(hits > 50000 && hits < 450000, "%d of them were matches", hits);
}


/* what is exponential for a matcher that recurses would not end here */

static void
test_hostile(void)
{
    size_t   i;
    uint8_t  name[255];

    reset(sizeof(room));

    for (i = 0; i < 80; i++) {
        text(c("*a"));
    }

    text(c("*b"));
    memset(name, 'a', sizeof(name));

    is_int(fanout_pattern_match(pattern.data, pattern.len, name,
                                sizeof(name)), 0,
           "80 wildcards and a name of 255 bytes");

    name[254] = 'b';
    is_int(fanout_pattern_match(pattern.data, pattern.len, name,
                                sizeof(name)), 1,
           "the same, matching");
}


int
main(void)
{
    test_match();
    test_literal();
    test_refused();
    test_build();
    test_zero_in_name();
    test_random();
    test_hostile();

    return done_testing();
}
