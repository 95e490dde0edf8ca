
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Most texts are short, flat and right: these are accepted in one pass.  yajl
 * decides about all others, and says what is wrong with them.
 */


#include "base/json_text.h"


#define QUICK_LEVELS   64               /* bits of a word */


typedef struct {
    const uint8_t  *p;
    const uint8_t  *end;
    unsigned        level;
    unsigned        deepest;
    unsigned        max;
    uint64_t        arrays;             /* of each open level a bit, 1: an
                                           array; the lowest is the innermost */
} quick_t;


static int quick_value(quick_t *q);
static int quick_open(quick_t *q);
static int quick_key(quick_t *q);
static int quick_close(quick_t *q);
static int quick_string(quick_t *q);
static uint64_t quick_special(uint64_t w);
static int quick_escape(quick_t *q);
static int quick_word(quick_t *q, const char *word, size_t len);
static int quick_number(quick_t *q);
static int quick_digits(quick_t *q);


int
fanout_json_quick(const uint8_t *text, size_t len, unsigned max,
    unsigned *levels, const uint8_t **last)
{
    int      more;
    quick_t  q;

    q.p = text;
    q.end = text + len;
    q.level = 0;
    q.deepest = 0;
    q.max = max < QUICK_LEVELS ? max : QUICK_LEVELS;
    q.arrays = 0;

    do {
        if (!quick_value(&q)) {
            return 0;
        }

        more = quick_close(&q);

    } while (more > 0);

    *last = q.p;
    *levels = q.deepest;

    return more == 0 && skip_space(q.p, q.end) == q.end;
}


/* A scalar, or brackets up to the first scalar or an end in them. */

static int
quick_value(quick_t *q)
{
    while (q->p < q->end) {

        switch (*q->p) {

        case '"':
            return quick_string(q);

        case '{':
        case '[':
            if (!quick_open(q)) {
                return 0;
            }

            if (q->p < q->end && (*q->p == '}' || *q->p == ']')) {
                return 1;
            }

            if (!(q->arrays & 1) && !quick_key(q)) {
                return 0;
            }

            break;

        case 't':
            return quick_word(q, "true", 4);

        case 'f':
            return quick_word(q, "false", 5);

        case 'n':
            return quick_word(q, "null", 4);

        default:
            return quick_number(q);
        }
    }

    return 0;
}


static int
quick_open(quick_t *q)
{
    if (q->level == q->max) {
        return 0;
    }

    q->level++;
    q->arrays = q->arrays << 1 | (*q->p == '[');

    if (q->deepest < q->level) {
        q->deepest = q->level;
    }

    q->p = skip_space(q->p + 1, q->end);

    return 1;
}


static int
quick_key(quick_t *q)
{
    if (q->p == q->end || *q->p != '"' || !quick_string(q)) {
        return 0;
    }

    q->p = skip_space(q->p, q->end);

    if (q->p == q->end || *q->p != ':') {
        return 0;
    }

    q->p = skip_space(q->p + 1, q->end);

    return 1;
}


/* Closes the levels that end here.  1 if another value follows, 0 if that was
 * all, or -1. */

static int
quick_close(quick_t *q)
{
    uint8_t         close;
    const uint8_t  *p;

    while (q->level) {
        p = skip_space(q->p, q->end);

        if (p == q->end) {
            return -1;
        }

        if (*p == ',') {
            q->p = skip_space(p + 1, q->end);
            return q->arrays & 1 || quick_key(q) ? 1 : -1;
        }

        close = q->arrays & 1 ? ']' : '}';

        if (*p != close) {
            return -1;
        }

        q->p = p + 1;
        q->arrays >>= 1;
        q->level--;
    }

    return 0;
}


static int
quick_string(quick_t *q)
{
    int             n;
    uint64_t        w;
    const uint8_t  *p;

    p = q->p + 1;

    for ( ;; ) {

        if (q->end - p >= 8) {
            memcpy(&w, p, sizeof(w));
            w = quick_special(w);

            if (w == 0) {
                p += 8;
                continue;
            }

            p += json_first(w);
        }

        if (p == q->end || *p < 0x20) {
            return 0;
        }

        if (*p == '"') {
            q->p = p + 1;
            return 1;
        }

        if (*p == '\\') {
            q->p = p + 1;

            if (!quick_escape(q)) {
                return 0;
            }

            p = q->p;
            continue;
        }

        n = utf8_char(p, q->end);

        if (n < 0) {
            return 0;
        }

        p += n;
    }
}


/* the highest bit of each byte that is a quote, a backslash, a control
 * character or no ASCII; bytes behind the first of these may be wrong */

static uint64_t
quick_special(uint64_t w)
{
    return (json_bytes(w, '"') | json_bytes(w, '\\')
            | ((w - JSON_ONES * 0x20) & ~w) | w)
           & (JSON_ONES * 0x80);
}


static int
quick_escape(quick_t *q)
{
    int  i;

    if (q->p == q->end) {
        return 0;
    }

    switch (*q->p++) {

    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 1;

    case 'u':

        for (i = 0; i < 4; i++, q->p++) {
            if (q->p == q->end
                || !((*q->p >= '0' && *q->p <= '9')
                     || ((*q->p | 0x20) >= 'a' && (*q->p | 0x20) <= 'f')))
            {
                return 0;
            }
        }

        return 1;

    default:
        return 0;
    }
}


static int
quick_word(quick_t *q, const char *word, size_t len)
{
    if ((size_t) (q->end - q->p) < len || memcmp(q->p, word, len) != 0) {
        return 0;
    }

    q->p += len;

    return 1;
}


static int
quick_number(quick_t *q)
{
    if (*q->p == '-') {
        q->p++;
    }

    if (q->p < q->end && *q->p == '0') {
        q->p++;

    } else if (!quick_digits(q)) {
        return 0;
    }

    if (q->p < q->end && *q->p == '.') {
        q->p++;

        if (!quick_digits(q)) {
            return 0;
        }
    }

    if (q->p == q->end || (*q->p | 0x20) != 'e') {
        return 1;
    }

    q->p++;

    if (q->p < q->end && (*q->p == '+' || *q->p == '-')) {
        q->p++;
    }

    return quick_digits(q);
}


static int
quick_digits(quick_t *q)
{
    const uint8_t  *start;

    for (start = q->p;
         q->p < q->end && *q->p >= '0' && *q->p <= '9';
         q->p++)
    {
        /* void */
    }

    return q->p > start;
}
