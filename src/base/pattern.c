
#include <string.h>

#include "base/pattern.h"


static int
is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}


static int
pattern_append(fanout_pattern_t *pattern, uint8_t c)
{
    if (pattern->len == pattern->size) {
        return FANOUT_PATTERN_NO_ROOM;
    }

    pattern->data[pattern->len++] = c;

    return FANOUT_PATTERN_OK;
}


static int
append_any(fanout_pattern_t *pattern)
{
    if (pattern->len
        && pattern->data[pattern->len - 1] == FANOUT_PATTERN_ANY)
    {
        return FANOUT_PATTERN_OK;
    }

    return pattern_append(pattern, FANOUT_PATTERN_ANY);
}


int
fanout_pattern_append_text(fanout_pattern_t *pattern, const uint8_t *text,
    size_t len)
{
    int     rc;
    size_t  i;

    for (i = 0; i < len; i++) {

        if (is_control(text[i])) {
            return FANOUT_PATTERN_CONTROL;
        }

        rc = text[i] == '*' ? append_any(pattern)
                            : pattern_append(pattern, text[i]);

        if (rc != FANOUT_PATTERN_OK) {
            return rc;
        }
    }

    return FANOUT_PATTERN_OK;
}


int
fanout_pattern_append_literal(fanout_pattern_t *pattern, const uint8_t *value,
    size_t len)
{
    size_t  i;

    if (len == 0) {
        return FANOUT_PATTERN_EMPTY;
    }

    for (i = 0; i < len; i++) {
        if (is_control(value[i])) {
            return FANOUT_PATTERN_CONTROL;
        }
    }

    if (len > pattern->size - pattern->len) {
        return FANOUT_PATTERN_NO_ROOM;
    }

    if (len) {
        memcpy(pattern->data + pattern->len, value, len);
        pattern->len += len;
    }

    return FANOUT_PATTERN_OK;
}


/*
 * Only the last wildcard is tried again: the bytes that an earlier one could
 * also match, the last one can match as well.
 */

int
fanout_pattern_match(const uint8_t *pattern, size_t plen, const uint8_t *name,
    size_t nlen)
{
    int     any;
    size_t  p, n, retry, taken;

    p = 0;
    n = 0;
    any = 0;
    retry = 0;
    taken = 0;

    while (n < nlen) {

        if (p < plen && pattern[p] == FANOUT_PATTERN_ANY) {
            any = 1;
            retry = ++p;
            taken = n;

            if (p == plen) {
                return 1;
            }

            continue;
        }

        if (p < plen && pattern[p] == name[n]) {
            p++;
            n++;
            continue;
        }

        if (!any) {
            return 0;
        }

        p = retry;
        n = ++taken;
    }

    while (p < plen && pattern[p] == FANOUT_PATTERN_ANY) {
        p++;
    }

    return p == plen;
}
