/* sources: src/base/json*.c */
/* libs: -lyajl */

/*
 * The shallow reader against a small validator of RFC 8259 that is written
 * without it and without yajl: what one takes the other takes, for the same
 * reason.  Of what is taken every value at every level is a text of its own,
 * minifying changes no token and nothing the second time, strings come back
 * from unescaping and escaping.  Whatever is refused goes to the functions
 * for valid values as well: they may answer nonsense but must stay inside.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"


#define DEPTH      8

#define must(cond)  do { if (!(cond)) abort(); } while (0)


typedef fanout_json_t  json_t;

typedef struct {
    const uint8_t  *p;
    const uint8_t  *end;
    int             deep;
} text_t;

typedef struct {
    json_t          a;
    json_t          op;
    json_t          data;
} wanted_t;


static const fanout_json_field_t  fields[] = {
    fanout_json_field("a", wanted_t, a),
    fanout_json_field("op", wanted_t, op),
    fanout_json_field("data", wanted_t, data)
};


/* the reference */


static int ref_value(text_t *t, int level);


/* RFC 3629, section 4, by arithmetic; a NULL for what it is not */

static const uint8_t *
ref_utf8(const uint8_t *p, const uint8_t *end)
{
    int       i, n;
    uint32_t  c;

    static const uint32_t  least[] = { 0, 0x80, 0x800, 0x10000 };

    n = *p < 0x80 ? 0 : *p < 0xc0 ? -1 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2
        : *p < 0xf8 ? 3 : -1;

    if (n < 0 || end - p < n + 1) {
        return NULL;
    }

    c = n ? *p & (0x3f >> n) : *p;

    for (i = 1; i <= n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return NULL;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        return NULL;
    }

    return p + n + 1;
}


static int
ref_is_utf8(const uint8_t *p, size_t len)
{
    const uint8_t  *end;

    for (end = p + len; p && p < end; p = ref_utf8(p, end)) { /* void */ }

    return p != NULL;
}


static int
peek(const text_t *t)
{
    return t->p < t->end ? *t->p : -1;
}


static int
take(text_t *t, int c)
{
    if (peek(t) != c) {
        return 0;
    }

    t->p++;

    return 1;
}


static void
ref_space(text_t *t)
{
    while (take(t, ' ') || take(t, '\t') || take(t, '\n') || take(t, '\r')) {
        /* void */
    }
}


static int
ref_digits(text_t *t)
{
    const uint8_t  *start;

    start = t->p;

    while (peek(t) >= '0' && peek(t) <= '9') {
        t->p++;
    }

    return t->p > start;
}


static int
ref_number(text_t *t)
{
    take(t, '-');

    if (!take(t, '0') && !ref_digits(t)) {
        return 0;
    }

    if (take(t, '.') && !ref_digits(t)) {
        return 0;
    }

    if (take(t, 'e') || take(t, 'E')) {
        (void) (take(t, '+') || take(t, '-'));
        return ref_digits(t);
    }

    return 1;
}


static int
ref_escape(text_t *t)
{
    int  i, c;

    c = peek(t);

    if (c <= 0 || strchr("\"\\/bfnrtu", c) == NULL) {
        return 0;
    }

    t->p++;

    for (i = 0; c == 'u' && i < 4; i++) {
        if (peek(t) <= 0
            || strchr("0123456789abcdefABCDEF", peek(t)) == NULL)
        {
            return 0;
        }

        t->p++;
    }

    return 1;
}


static int
ref_string(text_t *t)
{
    if (!take(t, '"')) {
        return 0;
    }

    while (!take(t, '"')) {

        if (peek(t) < 0x20) {
            return 0;
        }

        if (take(t, '\\')) {
            if (!ref_escape(t)) {
                return 0;
            }

            continue;
        }

        t->p++;
    }

    return 1;
}


static int
ref_word(text_t *t, const char *word)
{
    while (*word) {
        if (!take(t, *word++)) {
            return 0;
        }
    }

    return 1;
}


static int
ref_items(text_t *t, int level, int close)
{
    t->p++;

    if (level == DEPTH) {
        t->deep = 1;
        return 0;
    }

    ref_space(t);

    if (take(t, close)) {
        return 1;
    }

    do {
        ref_space(t);

        if (close == '}') {

            if (!ref_string(t)) {
                return 0;
            }

            ref_space(t);

            if (!take(t, ':')) {
                return 0;
            }
        }

        if (!ref_value(t, level + 1)) {
            return 0;
        }

    } while (take(t, ','));

    return take(t, close);
}


static int
ref_value(text_t *t, int level)
{
    int  rc;

    ref_space(t);

    switch (peek(t)) {

    case '{':
        rc = ref_items(t, level, '}');
        break;

    case '[':
        rc = ref_items(t, level, ']');
        break;

    case '"':
        rc = ref_string(t);
        break;

    case 't':
        rc = ref_word(t, "true");
        break;

    case 'f':
        rc = ref_word(t, "false");
        break;

    case 'n':
        rc = ref_word(t, "null");
        break;

    default:
        rc = ref_number(t);
    }

    ref_space(t);

    return rc;
}


/* OK or what the reader has to say */

static int
reference(const uint8_t *data, size_t size)
{
    text_t  t;

    t.p = data;
    t.end = data + size;
    t.deep = 0;

    if (ref_value(&t, 0) && t.p == t.end) {
        return FANOUT_JSON_OK;
    }

    return t.deep ? FANOUT_JSON_DEPTH_MAX
                  : FANOUT_JSON_INVALID;
}


/* a control character is found before the grammar is looked at */

static int
has_control(const uint8_t *p, size_t len)
{
    while (len--) {
        if (p[len] < 0x20 && (p[len] == 0 || !strchr("\t\n\r", p[len]))) {
            return 1;
        }
    }

    return 0;
}


static void *
alloc(size_t size)
{
    void  *p;

    p = malloc(size ? size : 1);
    must(p);

    return p;
}


/* what must hold of a value */


static void
string_holds(const json_t *v)
{
    int      rc;
    json_t   again, text;
    size_t   n, m;
    uint8_t  *buf, *raw, *end;

    buf = alloc(v->len);
    rc = fanout_json_string(v, buf, v->len - 2, &n);

    must(fanout_json_string(v, NULL, v->len - 2, &m) == rc);
    must(m == n);

    if (rc != FANOUT_JSON_OK) {
        must(rc == FANOUT_JSON_SURROGATE);
        must(memchr(v->data, '\\', v->len));
        free(buf);
        return;
    }

    must(ref_is_utf8(buf, n));

    if (n) {
        must(fanout_json_string(v, buf, n - 1, &m)
             == FANOUT_JSON_TOO_LONG);
        must(fanout_json_string(v, buf, n, &m) == 0);
    }

    raw = alloc(v->len);
    must(fanout_json_text(v, raw, n, &text) == 0);
    must(text.len == n && memcmp(text.data, buf, n) == 0);
    free(raw);

    m = fanout_json_escape_len(buf, n);
    raw = alloc(m + 2);
    raw[0] = '"';
    end = fanout_json_escape(raw + 1, buf, n);
    must(end == raw + 1 + m);
    *end = '"';

    must(fanout_json_check(raw, m + 2, 0, &again, NULL)
         == FANOUT_JSON_STRING);

    /* in place */

    must(fanout_json_text(&again, raw, n, &text) == 0);
    must(text.len == n && memcmp(text.data, buf, n) == 0);

    free(raw);
    free(buf);
}


/* small integers by another way */

static void
number_holds(const json_t *v)
{
    int      rc;
    size_t   i;
    int64_t  n, want;

    n = 0;
    rc = fanout_json_int(v, &n);

    must(rc == FANOUT_JSON_OK || rc == FANOUT_JSON_RANGE);

    i = v->data[0] == '-';

    if (v->len > 18) {
        return;
    }

    for (want = 0; i < v->len; i++) {

        if (v->data[i] < '0' || v->data[i] > '9') {
            return;
        }

        want = want * 10 + (v->data[i] - '0');
    }

    must(rc == FANOUT_JSON_OK);
    must(n == (v->data[0] == '-' ? -want : want));
}


static const json_t *
slot_of(const wanted_t *w, const json_t *key)
{
    json_t   name;
    uint8_t  buf[4];

    if (fanout_json_text(key, buf, 4, &name) != 0) {
        return NULL;
    }

    return name.len == 1 && memcmp(name.data, "a", 1) == 0 ? &w->a
           : name.len == 2 && memcmp(name.data, "op", 2) == 0 ? &w->op
           : name.len == 4 && memcmp(name.data, "data", 4) == 0 ? &w->data
           : NULL;
}


static void
object_holds(const json_t *v)
{
    int                  rc, bad;
    json_t               key, value, seen[3];
    wanted_t             w;
    const json_t        *slot;
    fanout_json_iter_t   it;
    fanout_json_error_t  err;

    rc = fanout_json_members(v, fields, 3, &w, &err);

    memset(seen, 0, sizeof(seen));
    bad = 0;

    must(fanout_json_iter(&it, v) == 0);

    while (fanout_json_next(&it, &key, &value) == 1) {
        slot = slot_of(&w, &key);

        if (slot && seen[slot - &w.a].len == 0) {
            seen[slot - &w.a] = value;

        } else if (bad == 0) {
            bad = slot ? FANOUT_JSON_DUPLICATE
                       : FANOUT_JSON_UNKNOWN;
        }
    }

    must(rc == bad);
    must(memcmp(seen, &w, sizeof(w)) == 0);
    must(!bad || (err.at < v->len && v->data[err.at] == '"'));
}


static void value_holds(const json_t *v, unsigned depth);


static void
nested_holds(const json_t *v, unsigned depth)
{
    int                 rc;
    json_t              key, value;
    size_t              n, m;
    fanout_json_iter_t  it;

    n = 0;
    must(fanout_json_iter(&it, v) == 0);

    while ((rc = fanout_json_next(&it, &key, &value)) == 1) {
        n++;
        value_holds(&value, depth - 1);

        if (key.len) {
            value_holds(&key, 0);
        }
    }

    must(rc == 0 && it.pos == it.end - 1);

    if (v->data[0] == '{') {
        object_holds(v);
        return;
    }

    must(fanout_json_array(v, NULL, n, &m) == 0 && m == n);
    must(n == 0 || fanout_json_array(v, NULL, n - 1, &m)
                   == FANOUT_JSON_TOO_MANY);
}


static void
value_holds(const json_t *v, unsigned depth)
{
    int      type;
    json_t   again;
    uint8_t  *copy;

    /* in memory of its own, for the sanitizer to see the bounds */

    copy = alloc(v->len);
    memcpy(copy, v->data, v->len);

    type = fanout_json_check(copy, v->len, depth, &again, NULL);

    must(type == fanout_json_type(v));
    must(again.data == copy && again.len == v->len);

    if (type == FANOUT_JSON_STRING) {
        string_holds(&again);

    } else if (type == FANOUT_JSON_NUMBER) {
        number_holds(&again);

    } else if (type <= FANOUT_JSON_ARRAY) {
        nested_holds(&again, depth);
    }

    free(copy);
}


/* what an escape of four digits says, -1 if it is none */

static long
escaped(const uint8_t *p, const uint8_t *end)
{
    char  hex[5];

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') {
        return -1;
    }

    memcpy(hex, p + 2, 4);
    hex[4] = '\0';

    return strtol(hex, NULL, 16);
}


/* whether it is half of a pair; a whole one has twice the length */

static int
half(const uint8_t *p, const uint8_t *end, size_t *len)
{
    long  first, second;

    first = escaped(p, end);
    second = first < 0 ? -1 : escaped(p + 6, end);
    *len = 2;

    if (first < 0xd800 || first > 0xdfff) {
        return 0;
    }

    *len = 6;

    if (first < 0xdc00 && second >= 0xdc00 && second <= 0xdfff) {
        *len = 12;
        return 0;
    }

    return 1;
}


/* the same bytes but for whitespace outside of strings, and for halves of pairs
 * in them */

static void
same_tokens(const uint8_t *p, const uint8_t *end, const uint8_t *q,
    const uint8_t *qend)
{
    int     in;
    size_t  len;

    for (in = 0; p < end; p++) {

        if (!in && strchr(" \t\n\r", *p)) {
            continue;
        }

        if (in && *p == '\\') {
            if (half(p, end, &len)) {
                must(qend - q >= 6 && memcmp(q, "\\ufffd", 6) == 0);

            } else {
                must((size_t) (qend - q) >= len && memcmp(p, q, len) == 0);
            }

            q += len;
            p += len - 1;
            continue;
        }

        must(q < qend && *p == *q);
        q++;

        in ^= *p == '"';
    }

    must(q == qend);
}


static void
minify_holds(const json_t *v, int type)
{
    json_t   again;
    size_t   n;
    uint8_t  *out, *place;

    out = alloc(v->len);
    n = fanout_json_minify(out, v->data, v->len);

    must(n <= v->len);
    must(fanout_json_check(out, n, DEPTH, &again, NULL) == type);
    must(again.len == n);
    same_tokens(v->data, v->data + v->len, out, out + n);

    place = alloc(v->len);
    memcpy(place, v->data, v->len);
    must(fanout_json_minify(place, place, v->len) == n);
    must(memcmp(place, out, n) == 0);
    must(fanout_json_minify(place, place, n) == n);
    must(memcmp(place, out, n) == 0);

    free(place);
    free(out);
}


/* bytes that nobody validated */

static void
garbage_holds(const uint8_t *data, size_t size)
{
    int                 flag;
    json_t              v, key, value, text;
    size_t              n, steps;
    int64_t             i;
    uint8_t            *buf;
    wanted_t            w;
    fanout_json_iter_t  it;

    buf = alloc(size);

    v.data = data;
    v.len = size;

    (void) fanout_json_members(&v, fields, 3, &w, NULL);
    (void) fanout_json_array(&v, NULL, size, &n);
    (void) fanout_json_string(&v, buf, size, &n);
    (void) fanout_json_text(&v, buf, size, &text);
    (void) fanout_json_int(&v, &i);
    (void) fanout_json_bool(&v, &flag);

    if (fanout_json_iter(&it, &v) == 0) {
        steps = 0;

        while (fanout_json_next(&it, &key, &value) == 1) {
            must(value.len && value.data >= data);
            must(value.data + value.len <= data + size);
            must(++steps <= size);
        }
    }

    must(fanout_json_minify(buf, data, size) <= size);

    free(buf);
}


/* any bytes become a string that is valid, and none of them ends a line */

static void
escape_holds(const uint8_t *data, size_t size)
{
    json_t   v;
    size_t   n, m, i;
    uint8_t  *raw, *out;

    n = fanout_json_escape_len(data, size);
    raw = alloc(n + 2);

    raw[0] = '"';
    must(fanout_json_escape(raw + 1, data, size) == raw + 1 + n);
    raw[n + 1] = '"';

    must(reference(raw, n + 2) == 0 && ref_is_utf8(raw, n + 2));
    must(fanout_json_check(raw, n + 2, 0, &v, NULL)
         == FANOUT_JSON_STRING);

    for (i = 0; i + 2 < n; i++) {
        must(memcmp(raw + i, "\xe2\x80\xa8", 3) != 0);
        must(memcmp(raw + i, "\xe2\x80\xa9", 3) != 0);
    }

    out = alloc(n);
    must(fanout_json_string(&v, out, n, &m) == 0);

    if (ref_is_utf8(data, size)) {
        must(m == size && (m == 0 || memcmp(out, data, m) == 0));
    }

    free(out);
    free(raw);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                  type, want;
    json_t               v;
    fanout_json_error_t  err;

    if (size == 0) {
        return 0;
    }

    memset(&err, 0, sizeof(err));
    type = fanout_json_check(data, size, DEPTH, &v, &err);
    want = reference(data, size);

    if (!ref_is_utf8(data, size)) {
        must(type == FANOUT_JSON_UTF8
             || (type == FANOUT_JSON_INVALID
                 && has_control(data, size)));

    } else if (has_control(data, size)) {
        must(type == FANOUT_JSON_INVALID);

    } else if (want < 0) {
        must(type == want);
    }

    escape_holds(data, size);

    if (type < 0) {
        must(err.at <= size && strstr(err.reason, " at byte "));
        must(v.len == 0);
        garbage_holds(data, size);
        return 0;
    }

    must(want == FANOUT_JSON_OK && type > 0);

    value_holds(&v, DEPTH);
    minify_holds(&v, type);

    return 0;
}
