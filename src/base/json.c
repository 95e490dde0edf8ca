
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_parse.h>

#include "base/json_text.h"


/* yajl needs about 500 bytes for a text, so malloc() is not called */

#define JSON_ARENA     1024


typedef struct json_block_s  json_block_t;

struct json_block_s {
    _Alignas(16) size_t   size;
    json_block_t         *next;         /* outside the arena */
};


/* yajl does not check the result of malloc(), so its allocator does not return
 * without memory: it jumps out of yajl, which has no other state */

typedef struct {
    size_t                used;
    json_block_t         *outside;
    jmp_buf               no_memory;
    _Alignas(16) uint8_t  mem[JSON_ARENA];
} json_arena_t;


typedef struct {
    unsigned              level;
    unsigned              deepest;
    unsigned              max;
    unsigned              too_deep;
} json_depth_t;


static void *arena_malloc(void *ctx, size_t size);
static void *arena_realloc(void *ctx, void *p, size_t size);
static void arena_free(void *ctx, void *p);
static void arena_clear(json_arena_t *arena);
static int json_open(void *ctx);
static int json_close(void *ctx);
static int json_check_text(const uint8_t *text, size_t len, unsigned max,
    fanout_json_t *value, unsigned *levels, fanout_json_error_t *err);


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

    if (size <= JSON_ARENA) {
        need = sizeof(json_block_t) + ((size + 15) & ~(size_t) 15);

        if (need <= JSON_ARENA - arena->used) {
            block = (json_block_t *) (void *) (arena->mem + arena->used);
            block->size = size;
            arena->used += need;

            return block + 1;
        }
    }

    block = malloc(sizeof(json_block_t) + size);
    if (block == NULL) {
        longjmp(arena->no_memory, 1);
    }

    block->size = size;
    block->next = arena->outside;
    arena->outside = block;

    return block + 1;
}


static void *
arena_realloc(void *ctx, void *p, size_t size)
{
    void    *new;
    size_t   old;

    new = arena_malloc(ctx, size);

    if (p) {
        old = ((json_block_t *) p - 1)->size;
        memcpy(new, p, old < size ? old : size);
        arena_free(ctx, p);
    }

    return new;
}


static void
arena_free(void *ctx, void *p)
{
    json_arena_t   *arena = ctx;
    json_block_t   *block, **at;

    if (p == NULL || arena_has(arena, p)) {
        return;
    }

    block = (json_block_t *) p - 1;

    for (at = &arena->outside; *at != block; at = &(*at)->next) {
        /* void */
    }

    *at = block->next;
    free(block);
}


static void
arena_clear(json_arena_t *arena)
{
    json_block_t  *block;

    while (arena->outside) {
        block = arena->outside;
        arena->outside = block->next;
        free(block);
    }
}


/* true only for eight bytes of 0x20 to 0x7f, but not for all such */

static int
is_plain_word(const uint8_t *p)
{
    uint64_t  w;

    memcpy(&w, p, sizeof(w));

    return ((w | (w - JSON_ONES * 0x20)) & (JSON_ONES * 0x80)) == 0;
}


/*
 * yajl accepts overlong forms and surrogates as UTF-8, and \v and \f as
 * whitespace, so its own check is off, and this check comes first.  A control
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
            return n < 0 ? FANOUT_JSON_UTF8
                         : FANOUT_JSON_INVALID;
        }

        p += n;
    }

    return FANOUT_JSON_OK;
}


/* validation */


int
fanout_json_fail(fanout_json_error_t *err, int code, size_t at,
    const char *reason)
{
    if (err) {
        err->at = at;
        (void) snprintf(err->reason, sizeof(err->reason), "%.56s at byte %zu",
                        reason, at);
    }

    return code;
}


/* yajl reports "parse error: REASON\n", often with a full stop */

static int
fail_yajl(fanout_json_error_t *err, yajl_handle yajl, size_t at)
{
    char           *reason, *colon;
    size_t          n;
    unsigned char  *text;

    if (err == NULL) {
        return FANOUT_JSON_INVALID;
    }

    text = yajl_get_error(yajl, 0, NULL, 0);

    if (text == NULL) {
        return fanout_json_fail(err, FANOUT_JSON_INVALID, at,
                                "invalid JSON");
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

    (void) fanout_json_fail(err, FANOUT_JSON_INVALID, at, reason);

    yajl_free_error(yajl, text);

    return FANOUT_JSON_INVALID;
}


static int
json_open(void *ctx)
{
    json_depth_t  *depth = ctx;

    if (depth->level == depth->max) {
        depth->too_deep = 1;
        return 0;
    }

    depth->level++;

    if (depth->deepest < depth->level) {
        depth->deepest = depth->level;
    }

    return 1;
}


static int
json_close(void *ctx)
{
    json_depth_t  *depth = ctx;

    depth->level--;

    return 1;
}


/*
 * yajl reports no error for a string without an end behind the value: {} "x.  A
 * newline, which is illegal in a string, causes the error.
 */

static int
check_grammar(yajl_handle yajl, json_depth_t *depth, const uint8_t *text,
    size_t len, fanout_json_error_t *err)
{
    size_t       at;
    yajl_status  status;

    (void) yajl_config(yajl, yajl_dont_validate_strings, 1);

    status = yajl_parse(yajl, text, len);

    if (status != yajl_status_ok) {

        at = yajl_get_bytes_consumed(yajl);
        at = at ? at - 1 : 0;

        if (depth->too_deep) {
            return fanout_json_fail(err, FANOUT_JSON_DEPTH_MAX, at,
                                    "nested too deeply");
        }

        return fail_yajl(err, yajl, at);
    }

    if (yajl_parse(yajl, (const uint8_t *) "\n", 1) != yajl_status_ok) {
        return fanout_json_fail(err, FANOUT_JSON_INVALID, len,
                                "incomplete or trailing token");
    }

    if (yajl_complete_parse(yajl) != yajl_status_ok) {
        return fail_yajl(err, yajl, len);
    }

    return FANOUT_JSON_OK;
}


static int
check_yajl(json_arena_t *arena, const uint8_t *text, size_t len, unsigned max,
    unsigned *levels, fanout_json_error_t *err)
{
    int               rc;
    yajl_handle       yajl;
    json_depth_t      depth;
    yajl_alloc_funcs  memory;

    memory.malloc = arena_malloc;
    memory.realloc = arena_realloc;
    memory.free = arena_free;
    memory.ctx = arena;

    depth.level = 0;
    depth.deepest = 0;
    depth.max = max;
    depth.too_deep = 0;

    yajl = yajl_alloc(&json_callbacks, &memory, &depth);

    rc = check_grammar(yajl, &depth, text, len, err);

    yajl_free(yajl);

    *levels = depth.deepest;

    return rc;
}


static int
check_in_arena(const uint8_t *text, size_t len, unsigned max,
    unsigned *levels, fanout_json_error_t *err)
{
    json_arena_t  arena;

    arena.used = 0;
    arena.outside = NULL;

    if (_setjmp(arena.no_memory)) {
        arena_clear(&arena);
        return fanout_json_fail(err, FANOUT_JSON_NO_MEMORY, 0,
                                "no memory");
    }

    return check_yajl(&arena, text, len, max, levels, err);
}


int
fanout_json_check(const uint8_t *text, size_t len, unsigned depth,
    fanout_json_t *value, fanout_json_error_t *err)
{
    unsigned  levels;

    return json_check_text(text, len, depth, value, &levels, err);
}


int
fanout_json_levels(const uint8_t *text, size_t len, fanout_json_t *value,
    unsigned *levels, fanout_json_error_t *err)
{
    return json_check_text(text, len, UINT_MAX, value, levels, err);
}


void
fanout_json_skip_mark(const uint8_t **text, size_t *len)
{
    if (*len >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
        *text += 3;
        *len -= 3;
    }
}


static int
json_check_text(const uint8_t *text, size_t len, unsigned max,
    fanout_json_t *value, unsigned *levels, fanout_json_error_t *err)
{
    int             rc;
    size_t          at;
    const uint8_t  *p, *end;

    value->data = NULL;
    value->len = 0;

    rc = check_bytes(text, len, &at);

    if (rc != FANOUT_JSON_OK) {
        return fanout_json_fail(err, rc, at, rc == FANOUT_JSON_UTF8
                                 ? "invalid UTF-8" : "control character");
    }

    end = text + len;
    p = skip_space(text, end);

    if (p == end) {
        return fanout_json_fail(err, FANOUT_JSON_INVALID, len,
                                "empty text");
    }

    rc = check_in_arena(text, len, max, levels, err);

    if (rc != FANOUT_JSON_OK) {
        return rc;
    }

    while (is_space(end[-1])) {
        end--;
    }

    value->data = p;
    value->len = end - p;

    return fanout_json_type(value);
}


const char *
fanout_json_strerror(int code)
{
    switch (code) {

    case FANOUT_JSON_INVALID:
        return "not valid JSON";

    case FANOUT_JSON_UTF8:
        return "not valid UTF-8";

    case FANOUT_JSON_DEPTH_MAX:
        return "nested too deeply";

    case FANOUT_JSON_TYPE:
        return "wrong type";

    case FANOUT_JSON_DUPLICATE:
        return "duplicate member";

    case FANOUT_JSON_TOO_MANY:
        return "too many items";

    case FANOUT_JSON_TOO_LONG:
        return "too long";

    case FANOUT_JSON_SURROGATE:
        return "half a surrogate pair";

    case FANOUT_JSON_RANGE:
        return "not a 64-bit integer";

    case FANOUT_JSON_NO_MEMORY:
        return "no memory";

    case FANOUT_JSON_UNKNOWN:
        return "unknown member";

    default:
        return "no error";
    }
}
