
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_parse.h>

#include "ngx_http_fanout_json.h"


/* what yajl takes for one text is about 500 bytes, so malloc() is not asked */

#define JSON_ARENA     1024

/* no wanted member has a longer name */

#define JSON_NAME_MAX  64

#define JSON_ONES      0x0101010101010101ULL


typedef struct {
    size_t                used;
    _Alignas(16) uint8_t  mem[JSON_ARENA];
} json_arena_t;


typedef struct {
    _Alignas(16) size_t   size;
} json_block_t;


typedef struct {
    unsigned              left;
    unsigned              too_deep;
} json_depth_t;


typedef struct {
    uint8_t              *dst;
    size_t                len;
    size_t                size;
} json_sink_t;


static void *arena_malloc(void *ctx, size_t size);
static void *arena_realloc(void *ctx, void *p, size_t size);
static void arena_free(void *ctx, void *p);
static int json_open(void *ctx);
static int json_close(void *ctx);


static const yajl_callbacks  json_callbacks = {
    .yajl_start_map = json_open,
    .yajl_end_map = json_close,
    .yajl_start_array = json_open,
    .yajl_end_array = json_close
};


/* memory for yajl */


static int
arena_has(json_arena_t *arena, const void *p)
{
    uintptr_t  at, start;

    at = (uintptr_t) p;
    start = (uintptr_t) arena->mem;

    return at >= start && at < start + JSON_ARENA;
}


static void *
arena_malloc(void *ctx, size_t size)
{
    size_t         need;
    json_arena_t  *arena = ctx;
    json_block_t  *block;

    if (size > JSON_ARENA) {
        return malloc(size);
    }

    need = sizeof(json_block_t) + ((size + 15) & ~(size_t) 15);

    if (need > JSON_ARENA - arena->used) {
        return malloc(size);
    }

    block = (json_block_t *) (void *) (arena->mem + arena->used);
    block->size = size;
    arena->used += need;

    return block + 1;
}


static void *
arena_realloc(void *ctx, void *p, size_t size)
{
    void          *new;
    size_t         old;
    json_arena_t  *arena = ctx;

    if (p == NULL) {
        return arena_malloc(arena, size);
    }

    if (!arena_has(arena, p)) {
        return realloc(p, size);
    }

    old = ((json_block_t *) p - 1)->size;

    new = arena_malloc(arena, size);

    if (new) {
        memcpy(new, p, old < size ? old : size);
    }

    return new;
}


static void
arena_free(void *ctx, void *p)
{
    if (p && !arena_has(ctx, p)) {
        free(p);
    }
}


/* bytes */


static int
is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}


static const uint8_t *
skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_space(*p)) {
        p++;
    }

    return p;
}


/* length of the character at p, or minus that of the maximal subpart */

static int
utf8_char(const uint8_t *p, const uint8_t *end)
{
    int      i, n;
    uint8_t  c, lo, hi;

    c = *p;

    if (c < 0x80) {
        return 1;
    }

    if (c < 0xc2 || c > 0xf4) {
        return -1;
    }

    n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;

    for (i = 1; i < n; i++) {
        if (p + i == end || p[i] < lo || p[i] > hi) {
            return -i;
        }

        lo = 0x80;
        hi = 0xbf;
    }

    return n;
}


/* eight bytes, all of them 0x20 to 0x7f; may be wrong to the safe side only */

static int
is_plain_word(const uint8_t *p)
{
    uint64_t  w;

    memcpy(&w, p, sizeof(w));

    return ((w | (w - JSON_ONES * 0x20)) & (JSON_ONES * 0x80)) == 0;
}


/*
 * yajl takes overlong forms and surrogates for UTF-8, and \v and \f for
 * whitespace; so its own check is off, and this comes first.  A control
 * character other than \t \n \r is legal nowhere in a text.
 */

static int
check_bytes(const uint8_t *text, size_t len, size_t *at)
{
    int             n;
    const uint8_t  *p, *end;

    p = text;
    end = text + len;

    while (p < end) {

        if (*p < 0x80 && end - p >= 8 && is_plain_word(p)) {
            p += 8;
            continue;
        }

        n = utf8_char(p, end);

        if (n < 0 || (*p < 0x20 && !is_space(*p))) {
            *at = p - text;
            return n < 0 ? NGX_HTTP_FANOUT_JSON_UTF8
                         : NGX_HTTP_FANOUT_JSON_INVALID;
        }

        p += n;
    }

    return NGX_HTTP_FANOUT_JSON_OK;
}


/* validation */


static int
fail(ngx_http_fanout_json_error_t *err, int code, size_t at,
    const char *reason)
{
    if (err) {
        err->at = at;
        (void) snprintf(err->reason, sizeof(err->reason), "%.56s at byte %zu",
                        reason, at);
    }

    return code;
}


/* yajl says "parse error: REASON\n", often with a full stop */

static int
fail_yajl(ngx_http_fanout_json_error_t *err, yajl_handle yajl, size_t at)
{
    char           *reason, *colon;
    size_t          n;
    unsigned char  *text;

    if (err == NULL) {
        return NGX_HTTP_FANOUT_JSON_INVALID;
    }

    text = yajl_get_error(yajl, 0, NULL, 0);

    if (text == NULL) {
        return fail(err, NGX_HTTP_FANOUT_JSON_INVALID, at, "invalid JSON");
    }

    reason = (char *) text;
    colon = strstr(reason, ": ");

    if (colon) {
        reason = colon + 2;
    }

    n = strlen(reason);

    while (n && (reason[n - 1] == '\n' || reason[n - 1] == '.')) {
        reason[--n] = '\0';
    }

    (void) fail(err, NGX_HTTP_FANOUT_JSON_INVALID, at, reason);

    yajl_free_error(yajl, text);

    return NGX_HTTP_FANOUT_JSON_INVALID;
}


static int
json_open(void *ctx)
{
    json_depth_t  *depth = ctx;

    if (depth->left == 0) {
        depth->too_deep = 1;
        return 0;
    }

    depth->left--;

    return 1;
}


static int
json_close(void *ctx)
{
    json_depth_t  *depth = ctx;

    depth->left++;

    return 1;
}


/*
 * yajl forgets about a string that was begun behind the value and has no end:
 * {} "x.  A newline, legal in no string, brings it out.
 */

static int
check_grammar(yajl_handle yajl, json_depth_t *depth, const uint8_t *text,
    size_t len, ngx_http_fanout_json_error_t *err)
{
    size_t       at;
    yajl_status  status;

    (void) yajl_config(yajl, yajl_dont_validate_strings, 1);

    status = yajl_parse(yajl, text, len);

    if (status != yajl_status_ok) {

        at = yajl_get_bytes_consumed(yajl);
        at = at ? at - 1 : 0;

        if (depth->too_deep) {
            return fail(err, NGX_HTTP_FANOUT_JSON_DEPTH_MAX, at,
                        "nested too deeply");
        }

        return fail_yajl(err, yajl, at);
    }

    if (yajl_parse(yajl, (const uint8_t *) "\n", 1) != yajl_status_ok) {
        return fail(err, NGX_HTTP_FANOUT_JSON_INVALID, len,
                    "incomplete or trailing token");
    }

    if (yajl_complete_parse(yajl) != yajl_status_ok) {
        return fail_yajl(err, yajl, len);
    }

    return NGX_HTTP_FANOUT_JSON_OK;
}


static int
check_yajl(const uint8_t *text, size_t len, unsigned max,
    ngx_http_fanout_json_error_t *err)
{
    int               rc;
    yajl_handle       yajl;
    json_depth_t      depth;
    json_arena_t      arena;
    yajl_alloc_funcs  memory;

    arena.used = 0;

    memory.malloc = arena_malloc;
    memory.realloc = arena_realloc;
    memory.free = arena_free;
    memory.ctx = &arena;

    depth.left = max;
    depth.too_deep = 0;

    yajl = yajl_alloc(&json_callbacks, &memory, &depth);

    if (yajl == NULL) {
        return fail(err, NGX_HTTP_FANOUT_JSON_NO_MEMORY, 0, "no memory");
    }

    rc = check_grammar(yajl, &depth, text, len, err);

    yajl_free(yajl);

    return rc;
}


int
ngx_http_fanout_json_check(const uint8_t *text, size_t len, unsigned depth,
    ngx_http_fanout_json_t *value, ngx_http_fanout_json_error_t *err)
{
    int             rc;
    size_t          at;
    const uint8_t  *p, *end;

    value->data = NULL;
    value->len = 0;

    rc = check_bytes(text, len, &at);

    if (rc != NGX_HTTP_FANOUT_JSON_OK) {
        return fail(err, rc, at, rc == NGX_HTTP_FANOUT_JSON_UTF8
                                 ? "invalid UTF-8" : "control character");
    }

    end = text + len;
    p = skip_space(text, end);

    if (p == end) {
        return fail(err, NGX_HTTP_FANOUT_JSON_INVALID, len, "empty text");
    }

    rc = check_yajl(text, len, depth, err);

    if (rc != NGX_HTTP_FANOUT_JSON_OK) {
        return rc;
    }

    while (is_space(end[-1])) {
        end--;
    }

    value->data = p;
    value->len = end - p;

    return ngx_http_fanout_json_type(value);
}


/* walking over what is valid */


/* eight bytes without a quote or a backslash; wrong to the safe side only */

static int
is_quiet_word(const uint8_t *p)
{
    uint64_t  w, quote, slash;

    memcpy(&w, p, sizeof(w));

    quote = w ^ (JSON_ONES * '"');
    slash = w ^ (JSON_ONES * '\\');

    quote = (quote - JSON_ONES) & ~quote;
    slash = (slash - JSON_ONES) & ~slash;

    return ((quote | slash) & (JSON_ONES * 0x80)) == 0;
}


static const uint8_t *
skip_string(const uint8_t *p, const uint8_t *end)
{
    const uint8_t  *quiet;

    for (quiet = ++p; p < end; p++) {

        /* words do not pay for the short strings that most are */

        while (p - quiet >= 16 && end - p > 8 && is_quiet_word(p)) {
            p += 8;
        }

        if (*p == '"') {
            return p + 1;
        }

        if (*p == '\\') {
            quiet = ++p;

            if (p == end) {
                break;
            }
        }
    }

    return NULL;
}


static const uint8_t *
skip_nested(const uint8_t *p, const uint8_t *end)
{
    size_t  level;

    level = 0;

    while (p && p < end) {

        switch (*p) {

        case '"':
            p = skip_string(p, end);
            continue;

        case '{':
        case '[':
            level++;
            break;

        case '}':
        case ']':
            if (--level == 0) {
                return p + 1;
            }

            break;
        }

        p++;
    }

    return NULL;
}


static const uint8_t *
skip_scalar(const uint8_t *p, const uint8_t *end)
{
    const uint8_t  *start;

    for (start = p; p < end; p++) {
        if (is_space(*p) || *p == ',' || *p == '}' || *p == ']') {
            break;
        }
    }

    return p > start ? p : NULL;
}


static const uint8_t *
skip_value(const uint8_t *p, const uint8_t *end)
{
    if (p == end) {
        return NULL;
    }

    switch (*p) {

    case '"':
        return skip_string(p, end);

    case '{':
    case '[':
        return skip_nested(p, end);

    default:
        return skip_scalar(p, end);
    }
}


/* takes the name and the colon behind it */

static const uint8_t *
read_key(const uint8_t *p, const uint8_t *end, ngx_http_fanout_json_t *key)
{
    key->data = p;

    if (p == end || *p != '"') {
        return NULL;
    }

    p = skip_string(p, end);

    if (p == NULL) {
        return NULL;
    }

    key->len = p - key->data;

    p = skip_space(p, end);

    if (p == end || *p != ':') {
        return NULL;
    }

    return skip_space(p + 1, end);
}


int
ngx_http_fanout_json_iter(ngx_http_fanout_json_iter_t *it,
    const ngx_http_fanout_json_t *value)
{
    int  type;

    type = ngx_http_fanout_json_type(value);

    if (type != NGX_HTTP_FANOUT_JSON_OBJECT
        && type != NGX_HTTP_FANOUT_JSON_ARRAY)
    {
        return NGX_HTTP_FANOUT_JSON_TYPE;
    }

    it->pos = value->data + 1;
    it->end = value->data + value->len;
    it->close = type == NGX_HTTP_FANOUT_JSON_OBJECT ? '}' : ']';
    it->started = 0;

    return NGX_HTTP_FANOUT_JSON_OK;
}


int
ngx_http_fanout_json_next(ngx_http_fanout_json_iter_t *it,
    ngx_http_fanout_json_t *key, ngx_http_fanout_json_t *value)
{
    const uint8_t           *p;
    ngx_http_fanout_json_t   name;

    name.data = NULL;
    name.len = 0;

    p = skip_space(it->pos, it->end);

    if (p == it->end) {
        return NGX_HTTP_FANOUT_JSON_INVALID;
    }

    if (*p == it->close) {
        it->pos = p;
        return 0;
    }

    if (it->started) {
        if (*p != ',') {
            return NGX_HTTP_FANOUT_JSON_INVALID;
        }

        p = skip_space(p + 1, it->end);
    }

    if (it->close == '}') {
        p = read_key(p, it->end, &name);

        if (p == NULL) {
            return NGX_HTTP_FANOUT_JSON_INVALID;
        }
    }

    value->data = p;

    p = skip_value(p, it->end);

    if (p == NULL) {
        return NGX_HTTP_FANOUT_JSON_INVALID;
    }

    value->len = p - value->data;

    if (key) {
        *key = name;
    }

    it->pos = p;
    it->started = 1;

    return 1;
}


static const ngx_http_fanout_json_field_t *
find_field(const ngx_http_fanout_json_field_t *fields, unsigned n,
    const ngx_http_fanout_json_t *key)
{
    uint8_t                  buf[JSON_NAME_MAX];
    unsigned                 i;
    ngx_http_fanout_json_t   name;

    if (ngx_http_fanout_json_text(key, buf, sizeof(buf), &name)
        != NGX_HTTP_FANOUT_JSON_OK)
    {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        if (fields[i].len == name.len
            && memcmp(fields[i].name, name.data, name.len) == 0)
        {
            return &fields[i];
        }
    }

    return NULL;
}


static ngx_http_fanout_json_t *
field_slot(const ngx_http_fanout_json_field_t *field, void *dst)
{
    return (ngx_http_fanout_json_t *) (void *)
           ((uint8_t *) dst + field->offset);
}


static int
fail_duplicate(ngx_http_fanout_json_error_t *err, size_t at, const char *name)
{
    char  reason[JSON_NAME_MAX];

    (void) snprintf(reason, sizeof(reason), "duplicate member '%.32s'", name);

    return fail(err, NGX_HTTP_FANOUT_JSON_DUPLICATE, at, reason);
}


int
ngx_http_fanout_json_members(const ngx_http_fanout_json_t *object,
    const ngx_http_fanout_json_field_t *fields, unsigned n, void *dst,
    ngx_http_fanout_json_error_t *err)
{
    int                                  rc;
    unsigned                             i;
    ngx_http_fanout_json_t               key, value, *slot;
    ngx_http_fanout_json_iter_t          it;
    const ngx_http_fanout_json_field_t  *field;

    for (i = 0; i < n; i++) {
        slot = field_slot(&fields[i], dst);
        slot->data = NULL;
        slot->len = 0;
    }

    if (ngx_http_fanout_json_type(object) != NGX_HTTP_FANOUT_JSON_OBJECT) {
        return fail(err, NGX_HTTP_FANOUT_JSON_TYPE, 0, "an object is needed");
    }

    (void) ngx_http_fanout_json_iter(&it, object);

    while ((rc = ngx_http_fanout_json_next(&it, &key, &value)) == 1) {

        field = find_field(fields, n, &key);

        if (field == NULL) {
            continue;
        }

        slot = field_slot(field, dst);

        if (slot->len) {
            return fail_duplicate(err, key.data - object->data, field->name);
        }

        *slot = value;
    }

    return rc == 0 ? NGX_HTTP_FANOUT_JSON_OK
                   : fail(err, rc, it.pos - object->data, "invalid object");
}


int
ngx_http_fanout_json_object(const uint8_t *text, size_t len, unsigned depth,
    const ngx_http_fanout_json_field_t *fields, unsigned n, void *dst,
    ngx_http_fanout_json_error_t *err)
{
    int                     rc;
    ngx_http_fanout_json_t  value;

    rc = ngx_http_fanout_json_check(text, len, depth, &value, err);

    if (rc < 0) {
        return rc;
    }

    return ngx_http_fanout_json_members(&value, fields, n, dst, err);
}


int
ngx_http_fanout_json_array(const ngx_http_fanout_json_t *array,
    ngx_http_fanout_json_t *items, size_t max, size_t *n)
{
    int                          rc;
    ngx_http_fanout_json_t       value;
    ngx_http_fanout_json_iter_t  it;

    *n = 0;

    if (ngx_http_fanout_json_type(array) != NGX_HTTP_FANOUT_JSON_ARRAY) {
        return NGX_HTTP_FANOUT_JSON_TYPE;
    }

    (void) ngx_http_fanout_json_iter(&it, array);

    while ((rc = ngx_http_fanout_json_next(&it, NULL, &value)) == 1) {

        if (*n == max) {
            return NGX_HTTP_FANOUT_JSON_TOO_MANY;
        }

        if (items) {
            items[*n] = value;
        }

        (*n)++;
    }

    return rc;
}


/* scalars */


int
ngx_http_fanout_json_type(const ngx_http_fanout_json_t *value)
{
    if (value->len == 0) {
        return NGX_HTTP_FANOUT_JSON_NONE;
    }

    switch (value->data[0]) {

    case '{':
        return NGX_HTTP_FANOUT_JSON_OBJECT;

    case '[':
        return NGX_HTTP_FANOUT_JSON_ARRAY;

    case '"':
        return NGX_HTTP_FANOUT_JSON_STRING;

    case 't':
        return NGX_HTTP_FANOUT_JSON_TRUE;

    case 'f':
        return NGX_HTTP_FANOUT_JSON_FALSE;

    case 'n':
        return NGX_HTTP_FANOUT_JSON_NULL;

    default:
        return NGX_HTTP_FANOUT_JSON_NUMBER;
    }
}


static int
put(json_sink_t *sink, const uint8_t *data, size_t len)
{
    if (len > sink->size - sink->len) {
        return NGX_HTTP_FANOUT_JSON_TOO_LONG;
    }

    if (sink->dst && len) {
        memmove(sink->dst + sink->len, data, len);
    }

    sink->len += len;

    return NGX_HTTP_FANOUT_JSON_OK;
}


static int
put_char(json_sink_t *sink, uint32_t c)
{
    size_t   n;
    uint8_t  buf[4];

    if (c < 0x80) {
        buf[0] = c;
        n = 1;

    } else if (c < 0x800) {
        buf[0] = 0xc0 | (c >> 6);
        buf[1] = 0x80 | (c & 0x3f);
        n = 2;

    } else if (c < 0x10000) {
        buf[0] = 0xe0 | (c >> 12);
        buf[1] = 0x80 | ((c >> 6) & 0x3f);
        buf[2] = 0x80 | (c & 0x3f);
        n = 3;

    } else {
        buf[0] = 0xf0 | (c >> 18);
        buf[1] = 0x80 | ((c >> 12) & 0x3f);
        buf[2] = 0x80 | ((c >> 6) & 0x3f);
        buf[3] = 0x80 | (c & 0x3f);
        n = 4;
    }

    return put(sink, buf, n);
}


/* the four digits behind "\u", or -1 */

static int32_t
read_hex(const uint8_t *p, const uint8_t *end)
{
    int      i;
    uint8_t  c;
    int32_t  n;

    if (end - p < 4) {
        return -1;
    }

    for (n = 0, i = 0; i < 4; i++) {
        c = p[i] | 0x20;

        if (p[i] >= '0' && p[i] <= '9') {
            n = n * 16 + (p[i] - '0');

        } else if (c >= 'a' && c <= 'f') {
            n = n * 16 + (c - 'a' + 10);

        } else {
            return -1;
        }
    }

    return n;
}


/* p is behind "\u"; returns the bytes taken, or an error */

static int
put_unicode(json_sink_t *sink, const uint8_t *p, const uint8_t *end)
{
    int      rc;
    int32_t  c, low;

    c = read_hex(p, end);

    if (c < 0) {
        return NGX_HTTP_FANOUT_JSON_INVALID;
    }

    if (c < 0xd800 || c > 0xdfff) {
        rc = put_char(sink, c);
        return rc < 0 ? rc : 4;
    }

    low = -1;

    if (c < 0xdc00 && end - p >= 10 && p[4] == '\\' && p[5] == 'u') {
        low = read_hex(p + 6, end);
    }

    if (low < 0xdc00 || low > 0xdfff) {
        return NGX_HTTP_FANOUT_JSON_SURROGATE;
    }

    rc = put_char(sink, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));

    return rc < 0 ? rc : 10;
}


/* p is behind the backslash; returns the bytes taken, or an error */

static int
put_escape(json_sink_t *sink, const uint8_t *p, const uint8_t *end)
{
    int                   rc;
    const char           *found;
    static const char     from[] = "\"\\/bfnrt";
    static const uint8_t  to[] = "\"\\/\b\f\n\r\t";

    if (p == end || *p == '\0') {
        return NGX_HTTP_FANOUT_JSON_INVALID;
    }

    if (*p == 'u') {
        rc = put_unicode(sink, p + 1, end);
        return rc < 0 ? rc : rc + 1;
    }

    found = strchr(from, *p);

    if (found == NULL) {
        return NGX_HTTP_FANOUT_JSON_INVALID;
    }

    rc = put(sink, &to[found - from], 1);

    return rc < 0 ? rc : 1;
}


static int
unescape(json_sink_t *sink, const uint8_t *p, const uint8_t *end)
{
    int             rc;
    const uint8_t  *stop;

    while (p < end) {

        stop = memchr(p, '\\', end - p);

        if (stop == NULL) {
            return put(sink, p, end - p);
        }

        rc = put(sink, p, stop - p);

        if (rc != NGX_HTTP_FANOUT_JSON_OK) {
            return rc;
        }

        rc = put_escape(sink, stop + 1, end);

        if (rc < 0) {
            return rc;
        }

        p = stop + 1 + rc;
    }

    return NGX_HTTP_FANOUT_JSON_OK;
}


/* the bytes between the quotes */

static int
inside(const ngx_http_fanout_json_t *value, ngx_http_fanout_json_t *text)
{
    if (ngx_http_fanout_json_type(value) != NGX_HTTP_FANOUT_JSON_STRING) {
        return NGX_HTTP_FANOUT_JSON_TYPE;
    }

    if (value->len < 2 || value->data[value->len - 1] != '"') {
        return NGX_HTTP_FANOUT_JSON_INVALID;
    }

    text->data = value->data + 1;
    text->len = value->len - 2;

    return NGX_HTTP_FANOUT_JSON_OK;
}


int
ngx_http_fanout_json_string(const ngx_http_fanout_json_t *value, uint8_t *dst,
    size_t size, size_t *len)
{
    int                     rc;
    json_sink_t             sink;
    ngx_http_fanout_json_t  text;

    *len = 0;

    rc = inside(value, &text);

    if (rc != NGX_HTTP_FANOUT_JSON_OK) {
        return rc;
    }

    sink.dst = dst;
    sink.len = 0;
    sink.size = size;

    rc = unescape(&sink, text.data, text.data + text.len);

    if (rc == NGX_HTTP_FANOUT_JSON_OK) {
        *len = sink.len;
    }

    return rc;
}


int
ngx_http_fanout_json_text(const ngx_http_fanout_json_t *value, uint8_t *buf,
    size_t size, ngx_http_fanout_json_t *text)
{
    int                     rc;
    ngx_http_fanout_json_t  raw;

    text->data = NULL;
    text->len = 0;

    rc = inside(value, &raw);

    if (rc != NGX_HTTP_FANOUT_JSON_OK) {
        return rc;
    }

    if (memchr(raw.data, '\\', raw.len) == NULL) {

        if (raw.len > size) {
            return NGX_HTTP_FANOUT_JSON_TOO_LONG;
        }

        *text = raw;

        return NGX_HTTP_FANOUT_JSON_OK;
    }

    rc = ngx_http_fanout_json_string(value, buf, size, &text->len);

    if (rc == NGX_HTTP_FANOUT_JSON_OK) {
        text->data = buf;
    }

    return rc;
}


/* n = n * 10^zeros + add, 0 if it fits */

static int
shift_decimal(uint64_t *n, int64_t zeros, unsigned add)
{
    if (*n) {
        for ( /* void */ ; zeros > 0; zeros--) {
            if (__builtin_mul_overflow(*n, 10, n)) {
                return -1;
            }
        }
    }

    return __builtin_add_overflow(*n, add, n) ? -1 : 0;
}


/* the power of ten behind "e"; what saturates is out of range anyway */

static const uint8_t *
read_exponent(const uint8_t *p, const uint8_t *end, int64_t *exp)
{
    int      minus;
    int64_t  n;

    minus = p < end && *p == '-';

    if (p < end && (*p == '-' || *p == '+')) {
        p++;
    }

    for (n = 0; p < end && *p >= '0' && *p <= '9'; p++) {
        if (n < INT64_MAX / 1000) {
            n = n * 10 + (*p - '0');
        }
    }

    *exp = minus ? -n : n;

    return p;
}


/*
 * All digits, those of the fraction too, as one number of which the trailing
 * zeros are held back in "zeros"; "exp" is the power of ten it misses.
 */

static const uint8_t *
read_digits(const uint8_t *p, const uint8_t *end, uint64_t *n, int64_t *exp)
{
    int      point;
    int64_t  zeros;

    *n = 0;
    *exp = 0;
    zeros = 0;

    for (point = 0; p < end; p++) {

        if (*p == '.') {
            point = 1;
            continue;
        }

        if (*p < '0' || *p > '9') {
            break;
        }

        *exp -= point;

        if (*p == '0') {
            zeros++;
            continue;
        }

        if (shift_decimal(n, zeros + 1, *p - '0')) {
            return NULL;
        }

        zeros = 0;
    }

    *exp += zeros;

    return p;
}


static int
sign_integer(uint64_t n, int minus, int64_t *out)
{
    if (n > (uint64_t) INT64_MAX + minus) {
        return NGX_HTTP_FANOUT_JSON_RANGE;
    }

    *out = minus ? (int64_t) (0 - n) : (int64_t) n;

    return NGX_HTTP_FANOUT_JSON_OK;
}


int
ngx_http_fanout_json_int(const ngx_http_fanout_json_t *value, int64_t *out)
{
    int             minus;
    int64_t         exp, power;
    uint64_t        n;
    const uint8_t  *p, *end;

    if (ngx_http_fanout_json_type(value) != NGX_HTTP_FANOUT_JSON_NUMBER) {
        return NGX_HTTP_FANOUT_JSON_TYPE;
    }

    p = value->data;
    end = p + value->len;

    minus = *p == '-';
    p += minus;

    p = read_digits(p, end, &n, &exp);

    if (p == NULL) {
        return NGX_HTTP_FANOUT_JSON_RANGE;
    }

    if (p < end && (*p == 'e' || *p == 'E')) {
        p = read_exponent(p + 1, end, &power);
        exp += power;
    }

    if (p < end) {
        return NGX_HTTP_FANOUT_JSON_INVALID;
    }

    if (n && (exp < 0 || shift_decimal(&n, exp, 0))) {
        return NGX_HTTP_FANOUT_JSON_RANGE;
    }

    return sign_integer(n, minus, out);
}


int
ngx_http_fanout_json_bool(const ngx_http_fanout_json_t *value, int *flag)
{
    int  type;

    type = ngx_http_fanout_json_type(value);

    if (type != NGX_HTTP_FANOUT_JSON_TRUE
        && type != NGX_HTTP_FANOUT_JSON_FALSE)
    {
        return NGX_HTTP_FANOUT_JSON_TYPE;
    }

    *flag = type == NGX_HTTP_FANOUT_JSON_TRUE;

    return NGX_HTTP_FANOUT_JSON_OK;
}


/* writing */


size_t
ngx_http_fanout_json_minify(uint8_t *dst, const uint8_t *src, size_t len)
{
    size_t          n;
    uint8_t        *start;
    const uint8_t  *p, *end, *next;

    p = src;
    end = src + len;
    start = dst;

    while (p < end) {

        next = skip_space(p, end);

        for (p = next; next < end && !is_space(*next); /* void */ ) {

            if (*next != '"') {
                next++;
                continue;
            }

            next = skip_string(next, end);

            if (next == NULL) {
                next = end;
            }
        }

        n = next - p;

        if (dst != p) {
            memmove(dst, p, n);
        }

        dst += n;
        p = next;
    }

    return dst - start;
}


static int
is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}


static size_t
escape_ascii(uint8_t *out, uint8_t c)
{
    const char           *found;
    static const char     from[] = "\b\f\n\r\t\"\\";
    static const char     to[] = "bfnrt\"\\";
    static const uint8_t  hex[] = "0123456789abcdef";

    found = c ? strchr(from, c) : NULL;

    out[0] = '\\';

    if (found) {
        out[1] = to[found - from];
        return 2;
    }

    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 0x0f];

    return 6;
}


/* one character that is_plain() is not true for: at most 6 bytes to out */

static size_t
escape_char(uint8_t *out, const uint8_t **src, const uint8_t *end)
{
    int             n;
    const uint8_t  *p;

    p = *src;

    if (*p < 0x80) {
        *src = p + 1;
        return escape_ascii(out, *p);
    }

    n = utf8_char(p, end);

    if (n < 0) {
        *src = p - n;
        memcpy(out, "\xef\xbf\xbd", 3);
        return 3;
    }

    *src = p + n;

    if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8) {
        memcpy(out, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
        return 6;
    }

    memcpy(out, p, n);

    return n;
}


static const uint8_t *
skip_plain(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_plain(*p)) {
        p++;
    }

    return p;
}


size_t
ngx_http_fanout_json_escape_len(const uint8_t *src, size_t len)
{
    size_t          n;
    uint8_t         out[6];
    const uint8_t  *p, *end, *next;

    n = 0;
    end = src + len;

    for (p = src; p < end; p = next) {

        next = skip_plain(p, end);

        if (next > p) {
            n += next - p;
            continue;
        }

        n += escape_char(out, &next, end);
    }

    return n;
}


uint8_t *
ngx_http_fanout_json_escape(uint8_t *dst, const uint8_t *src, size_t len)
{
    const uint8_t  *p, *end, *next;

    end = src + len;

    for (p = src; p < end; p = next) {

        next = skip_plain(p, end);

        if (next > p) {
            memcpy(dst, p, next - p);
            dst += next - p;
            continue;
        }

        dst += escape_char(dst, &next, end);
    }

    return dst;
}


const char *
ngx_http_fanout_json_strerror(int code)
{
    switch (code) {

    case NGX_HTTP_FANOUT_JSON_INVALID:
        return "not valid JSON";

    case NGX_HTTP_FANOUT_JSON_UTF8:
        return "not valid UTF-8";

    case NGX_HTTP_FANOUT_JSON_DEPTH_MAX:
        return "nested too deeply";

    case NGX_HTTP_FANOUT_JSON_TYPE:
        return "wrong type";

    case NGX_HTTP_FANOUT_JSON_DUPLICATE:
        return "duplicate member";

    case NGX_HTTP_FANOUT_JSON_TOO_MANY:
        return "too many items";

    case NGX_HTTP_FANOUT_JSON_TOO_LONG:
        return "too long";

    case NGX_HTTP_FANOUT_JSON_SURROGATE:
        return "half a surrogate pair";

    case NGX_HTTP_FANOUT_JSON_RANGE:
        return "not a 64-bit integer";

    case NGX_HTTP_FANOUT_JSON_NO_MEMORY:
        return "no memory";

    default:
        return "no error";
    }
}
