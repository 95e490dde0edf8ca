
#include <string.h>

#include "ngx_http_fanout_pattern.h"


static int
is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}


static int
append(ngx_http_fanout_pattern_t *pattern, uint8_t c)
{
    if (pattern->len == pattern->size) {
        return NGX_HTTP_FANOUT_PATTERN_NO_ROOM;
    }

    pattern->data[pattern->len++] = c;

    return NGX_HTTP_FANOUT_PATTERN_OK;
}


static int
append_any(ngx_http_fanout_pattern_t *pattern)
{
    if (pattern->len
        && pattern->data[pattern->len - 1] == NGX_HTTP_FANOUT_PATTERN_ANY)
    {
        return NGX_HTTP_FANOUT_PATTERN_OK;
    }

    return append(pattern, NGX_HTTP_FANOUT_PATTERN_ANY);
}


int
ngx_http_fanout_pattern_append_text(ngx_http_fanout_pattern_t *pattern,
    const uint8_t *text, size_t len)
{
    int     rc;
    size_t  i;

    for (i = 0; i < len; i++) {

        if (is_control(text[i])) {
            return NGX_HTTP_FANOUT_PATTERN_CONTROL;
        }

        rc = text[i] == '*' ? append_any(pattern) : append(pattern, text[i]);

        if (rc != NGX_HTTP_FANOUT_PATTERN_OK) {
            return rc;
        }
    }

    return NGX_HTTP_FANOUT_PATTERN_OK;
}


int
ngx_http_fanout_pattern_append_literal(ngx_http_fanout_pattern_t *pattern,
    const uint8_t *value, size_t len)
{
    size_t  i;

    if (len == 0) {
        return NGX_HTTP_FANOUT_PATTERN_EMPTY;
    }

    for (i = 0; i < len; i++) {
        if (is_control(value[i])) {
            return NGX_HTTP_FANOUT_PATTERN_CONTROL;
        }
    }

    if (len > pattern->size - pattern->len) {
        return NGX_HTTP_FANOUT_PATTERN_NO_ROOM;
    }

    if (len) {
        memcpy(pattern->data + pattern->len, value, len);
        pattern->len += len;
    }

    return NGX_HTTP_FANOUT_PATTERN_OK;
}


/*
 * Only the last wildcard is ever tried again: what an earlier one could take
 * in addition, the last one can take as well.
 */

int
ngx_http_fanout_pattern_match(const uint8_t *pattern, size_t plen,
    const uint8_t *name, size_t nlen)
{
    int     any;
    size_t  p, n, retry, taken;

    p = 0;
    n = 0;
    any = 0;
    retry = 0;
    taken = 0;

    while (n < nlen) {

        if (p < plen && pattern[p] == NGX_HTTP_FANOUT_PATTERN_ANY) {
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

    while (p < plen && pattern[p] == NGX_HTTP_FANOUT_PATTERN_ANY) {
        p++;
    }

    return p == plen;
}
