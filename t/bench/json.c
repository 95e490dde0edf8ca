
#include "json.h"

#include <string.h>


static int
blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}


static const char *
skip_blanks(const char *p, const char *end)
{
    while (p < end && blank(*p)) {
        p++;
    }

    return p;
}


static const char *
skip_string(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '\\') {
            p++;

        } else if (*p == '"') {
            return p + 1;
        }
    }

    return NULL;
}


static const char *
skip_nested(const char *p, const char *end)
{
    int  depth;

    depth = 0;

    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);

            if (p == NULL) {
                return NULL;
            }

            continue;
        }

        if (*p == '{' || *p == '[') {
            depth++;

        } else if (*p == '}' || *p == ']') {
            if (--depth == 0) {
                return p + 1;
            }
        }

        p++;
    }

    return NULL;
}


static const char *
skip_value(const char *p, const char *end)
{
    const char  *start;

    if (p >= end) {
        return NULL;
    }

    if (*p == '"') {
        return skip_string(p, end);
    }

    if (*p == '{' || *p == '[') {
        return skip_nested(p, end);
    }

    start = p;

    while (p < end && !blank(*p) && *p != ',' && *p != '}' && *p != ']') {
        p++;
    }

    return p == start ? NULL : p;
}


json_t
json_slice(const char *s, size_t n)
{
    json_t       v;
    const char  *end;

    end = s + n;
    v.s = skip_blanks(s, end);

    while (end > v.s && blank(end[-1])) {
        end--;
    }

    v.n = end - v.s;

    return v;
}


void
json_walk(json_walk_t *w, json_t v)
{
    w->bad = (v.n < 2 || (v.s[0] != '{' && v.s[0] != '['));
    w->p = w->bad ? v.s : v.s + 1;
    w->end = v.s + v.n;
}


/* A value at w->p and the comma or bracket behind it. */

static int
walk_value(json_walk_t *w, json_t *value)
{
    const char  *after;

    after = skip_value(w->p, w->end);

    if (after == NULL) {
        w->bad = 1;
        return 0;
    }

    value->s = w->p;
    value->n = after - w->p;

    w->p = skip_blanks(after, w->end);

    if (w->p >= w->end) {
        w->bad = 1;
        return 0;
    }

    if (*w->p == ',') {
        w->p = skip_blanks(w->p + 1, w->end);
    }

    return 1;
}


static int
walk_more(json_walk_t *w)
{
    if (w->bad) {
        return 0;
    }

    w->p = skip_blanks(w->p, w->end);

    if (w->p >= w->end) {
        w->bad = 1;
        return 0;
    }

    return *w->p != '}' && *w->p != ']';
}


int
json_element(json_walk_t *w, json_t *value)
{
    return walk_more(w) && walk_value(w, value);
}


int
json_member(json_walk_t *w, json_t *key, json_t *value)
{
    const char  *after;

    if (!walk_more(w)) {
        return 0;
    }

    after = (*w->p == '"') ? skip_string(w->p, w->end) : NULL;

    if (after == NULL) {
        w->bad = 1;
        return 0;
    }

    key->s = w->p;
    key->n = after - w->p;

    w->p = skip_blanks(after, w->end);

    if (w->p >= w->end || *w->p != ':') {
        w->bad = 1;
        return 0;
    }

    w->p = skip_blanks(w->p + 1, w->end);

    return walk_value(w, value);
}


int
json_get(json_t object, const char *name, json_t *value)
{
    json_t       key;
    json_walk_t  w;

    json_walk(&w, object);

    while (json_member(&w, &key, value)) {
        if (json_key(key, name)) {
            return 1;
        }
    }

    value->s = NULL;
    value->n = 0;

    return 0;
}


int
json_is(json_t v, const char *text)
{
    return v.n == strlen(text) && memcmp(v.s, text, v.n) == 0;
}


int
json_key(json_t key, const char *name)
{
    size_t  n;

    n = strlen(name);

    return key.n == n + 2 && memcmp(key.s + 1, name, n) == 0;
}


uint64_t
json_number(json_t v)
{
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < v.n; i++) {
        if (v.s[i] < '0' || v.s[i] > '9') {
            return 0;
        }

        n = n * 10 + (v.s[i] - '0');
    }

    return n;
}


static unsigned
hex4(const char *p)
{
    int       i;
    unsigned  n;

    n = 0;

    for (i = 0; i < 4; i++) {
        n = n * 16 + (p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    }

    return n;
}


static char *
put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = c;

    } else if (c < 0x800) {
        *out++ = 0xc0 | (c >> 6);
        *out++ = 0x80 | (c & 63);

    } else {
        *out++ = 0xe0 | (c >> 12);
        *out++ = 0x80 | ((c >> 6) & 63);
        *out++ = 0x80 | (c & 63);
    }

    return out;
}


int
json_text(json_t v, char *buf, size_t size)
{
    char        *out;
    const char  *p, *end, *at;

    static const char  names[] = "bfnrt", values[] = "\b\f\n\r\t";

    if (v.n < 2 || v.s[0] != '"' || v.n - 1 > size) {
        return -1;
    }

    out = buf;
    end = v.s + v.n - 1;

    for (p = v.s + 1; p < end; p++) {
        if (*p != '\\') {
            *out++ = *p;
            continue;
        }

        if (++p < end && *p == 'u' && end - p > 4) {
            out = put_utf8(out, hex4(p + 1));
            p += 4;
            continue;
        }

        at = strchr(names, *p);
        *out++ = (at && *at) ? values[at - names] : *p;
    }

    *out = '\0';

    return out - buf;
}
