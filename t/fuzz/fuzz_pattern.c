/* sources: src/base/pattern.c */

/*
 * Channel patterns: appending piece by piece and matching must end as a
 * recursive matcher says that works on the rule as it was written.
 *
 * An input is lines, ended by 0xff: the last is the name, each of the others
 * a piece of the rule: text of the configuration, or after a '$' the value of
 * a variable.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pattern.h"


#define RULE_MAX   48
#define NAME_SIZE  64
#define ANY        0x100


typedef struct {
    uint16_t          rule[RULE_MAX];
    size_t            len;
    fanout_pattern_t  pattern;
} rule_t;


/* steps are bounded by remembering what has failed already */

static int
reference(const rule_t *r, size_t i, const uint8_t *name, size_t n, size_t j,
    uint8_t seen[RULE_MAX + 1][NAME_SIZE + 1])
{
    if (seen[i][j]) {
        return 0;
    }

    seen[i][j] = 1;

    if (i == r->len) {
        return j == n;
    }

    if (r->rule[i] == ANY) {
        return reference(r, i + 1, name, n, j, seen)
               || (j < n && reference(r, i, name, n, j + 1, seen));
    }

    return j < n && r->rule[i] == name[j]
           && reference(r, i + 1, name, n, j + 1, seen);
}


static int
has_control(const uint8_t *s, size_t n)
{
    while (n--) {
        if (s[n] < 0x20 || s[n] == 0x7f) {
            return 1;
        }
    }

    return 0;
}


/* 0 if the rule is over */

static int
add_piece(rule_t *r, const uint8_t *s, size_t n)
{
    int     rc, literal;
    size_t  i;

    literal = n && *s == '$';
    s += literal;
    n -= literal;

    rc = literal ? fanout_pattern_append_literal(&r->pattern, s, n)
                 : fanout_pattern_append_text(&r->pattern, s, n);

    if (literal && n == 0) {
        if (rc != FANOUT_PATTERN_EMPTY) {
            abort();
        }

        return 0;
    }

    if (has_control(s, n)) {
        if (rc == FANOUT_PATTERN_OK) {
            abort();
        }

        return 0;
    }

    if (rc != FANOUT_PATTERN_OK) {
        if (rc != FANOUT_PATTERN_NO_ROOM) {
            abort();
        }

        return 0;
    }

    for (i = 0; i < n; i++) {

        if (!literal && s[i] == '*' && r->len && r->rule[r->len - 1] == ANY) {
            continue;
        }

        if (r->len == RULE_MAX) {
            abort();
        }

        r->rule[r->len++] = !literal && s[i] == '*' ? ANY : s[i];
    }

    return 1;
}


static void
compare(const rule_t *r, const uint8_t *name, size_t n)
{
    int      want;
    uint8_t  seen[RULE_MAX + 1][NAME_SIZE + 1];

    if (n > NAME_SIZE) {
        return;
    }

    memset(seen, 0, sizeof(seen));
    want = reference(r, 0, name, n, 0, seen);

    if (fanout_pattern_match(r->pattern.data, r->pattern.len, name, n)
        != want)
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rule_t          r;
    size_t          i;
    const uint8_t  *p, *end, *stop;

    r.len = 0;
    r.pattern.len = 0;
    r.pattern.size = RULE_MAX;
    r.pattern.data = malloc(RULE_MAX);

    if (r.pattern.data == NULL) {
        return 0;
    }

    p = data;
    end = data + size;

    while (p < end && (stop = memchr(p, 0xff, end - p)) != NULL) {

        if (!add_piece(&r, p, stop - p)) {
            free(r.pattern.data);
            return 0;
        }

        p = stop + 1;
    }

    if (r.pattern.len != r.len) {
        abort();
    }

    for (i = 0; i < r.len; i++) {
        if (r.pattern.data[i] != (uint8_t) r.rule[i]) {
            abort();
        }
    }

    if (size) {
        compare(&r, p, end - p);
    }

    free(r.pattern.data);

    return 0;
}
