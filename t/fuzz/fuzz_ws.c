/* sources: src/wire/ws.c src/base/utf8.c */

/*
 * WebSocket frames: the same bytes whole, by byte, and cut where the input
 * says must tell the same; and that must be what a decoder says that has all
 * of them before it and no state.
 *
 * The first three bytes of an input are options, then come frames:
 *   0  bit 0: RSV1 in use; bit 1: the mask of every frame is made zero, so that
 *      text is within a mutation's reach; bits 2-4: frames a message may have
 *   1  size a message may have
 *   2  seed of the cuts
 */

#include "../unit/ws_trace.h"


typedef struct {
    trace_t                 *t;
    const fanout_ws_opts_t  *opts;
    const uint8_t           *s;
    size_t                   len;
    int                      message;           /* first byte, -1: none */
    uint32_t                 frames;
    uint64_t                 size;
} ref_t;


static void
must(int cond, const char *what)
{
    if (!cond) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}


static int
ref_fail(ref_t *r, int code)
{
    r->t->code = code;

    return 0;
}


/* the part of a header that is there, in the order the bytes come; 1: good */

static int
ref_begin(ref_t *r, uint8_t c)
{
    int  op;

    op = c & 15;

    if ((c & 0x30) || ((c & 0x40) && !(r->opts->rsv1 && (op == 1 || op == 2)))
        || (op > 2 && op < 8) || op > 10 || (op > 7 && !(c & 0x80))
        || (op == 0 && r->message < 0)
        || ((op == 1 || op == 2) && r->message >= 0))
    {
        return ref_fail(r, 1002);
    }

    if (op > 7) {
        return 1;
    }

    if (op) {
        r->message = c;
        r->frames = 0;
        r->size = 0;
    }

    if (++r->frames > r->opts->frames && r->opts->frames) {
        return ref_fail(r, 1009);
    }

    return 1;
}


static int
ref_close(ref_t *r, const uint8_t *s, size_t len)
{
    int  code;

    if (len == 0) {
        trace_record(r->t, "close", 1005, s, 0);
        return 0;
    }

    code = s[0] * 256 + s[1];

    if (code < 1000 || (code > 1003 && code < 1007)
        || (code > 1014 && code < 3000) || code > 4999)
    {
        return ref_fail(r, 1002);
    }

    if (fanout_utf8_check(s + 2, len - 2) != 0) {
        return ref_fail(r, 1007);
    }

    trace_record(r->t, "close", code, s + 2, len - 2);

    return 0;
}


static int
ref_data(ref_t *r, int fin, const uint8_t *s, size_t len, int whole)
{
    int  rc, text;

    trace_put(&r->t->part, s, len);

    text = (r->message & 0x4f) == 1;
    rc = text ? fanout_utf8_check(r->t->part.s, r->t->part.len) : 0;

    if (rc == FANOUT_UTF8_INVALID || (rc && fin && whole)) {
        return ref_fail(r, 1007);
    }

    if (!fin || !whole) {
        return whole;
    }

    trace_record(r->t, (r->message & 0x40) ? "rsv1" : "message",
                 r->message & 15, r->t->part.s, r->t->part.len);
    r->t->part.len = 0;
    r->message = -1;

    return 1;
}


/* one frame; 0: the input or the connection ends within or with it */

static int
ref_frame(ref_t *r)
{
    int             op, wide, whole, rc;
    size_t          i, n;
    uint8_t         c, *body;
    uint64_t        len;
    const uint8_t  *s;

    s = r->s;

    if (r->len < 1 || !ref_begin(r, s[0]) || r->len < 2) {
        return 0;
    }

    op = s[0] & 15;
    c = s[1] & 127;

    if (!(s[1] & 128) || (op > 7 && c > 125) || (op == 8 && c == 1)) {
        return ref_fail(r, 1002);
    }

    wide = (c == 126) ? 2 : (c == 127) ? 8 : 0;

    if (wide == 8 && r->len > 2 && s[2] > 127) {
        return ref_fail(r, 1002);
    }

    if (r->len < 2u + wide) {
        return 0;
    }

    for (len = wide ? 0 : c, i = 0; i < (size_t) wide; i++) {
        len = len << 8 | s[2 + i];
    }

    if ((wide == 2 && len < 126) || (wide == 8 && len < 65536)) {
        return ref_fail(r, 1002);
    }

    if (op < 8) {
        r->size += len;

        if (r->size > r->opts->size) {
            return ref_fail(r, 1009);
        }
    }

    s += 2 + wide;
    n = r->len - 2 - wide;

    if (n < 4) {
        return 0;
    }

    n -= 4;
    whole = n >= len;
    n = whole ? (size_t) len : n;

    r->s = s + 4 + n;
    r->len -= 2 + wide + 4 + n;

    body = malloc(n + 1);

    for (i = 0; i < n; i++) {
        body[i] = s[4 + i] ^ s[i % 4];
    }

    if (op < 8) {
        rc = ref_data(r, s[-2 - wide] & 128, body, n, whole);

    } else if (!whole) {
        rc = 0;

    } else if (op == 8) {
        rc = ref_close(r, body, n);

    } else {
        trace_record(r->t, (op == 9) ? "ping" : "pong", 0, body, n);
        rc = 1;
    }

    free(body);

    return rc;
}


/* the reference knows no texts of errors */

static int
ref_same(const trace_t *t, const trace_t *ref)
{
    size_t  n;

    n = ref->log.len;

    return t->code == ref->code
           && t->log.len >= n
           && (t->code != 0 || t->log.len == n)
           && (n == 0 || memcmp(t->log.s, ref->log.s, n) == 0)
           && (t->code == 0
               || memcmp(t->log.s + n, "error", 5) == 0)
           && t->part.len <= ref->part.len
           && (t->closed || t->code || t->part.len == ref->part.len)
           && (t->part.len == 0
               || memcmp(t->part.s, ref->part.s, t->part.len) == 0);
}


/* zeroes masks; it may lose its way in wrong frames, which is fine */

static void
zero_masks(uint8_t *s, size_t len)
{
    size_t  i, at, wide, body;

    for (at = 0; at + 2 <= len; at += body) {
        body = s[at + 1] & 127;
        wide = (body == 126) ? 2 : (body == 127) ? 8 : 0;
        at += 2;

        if (len - at < wide + 4) {
            return;
        }

        for (body = wide ? 0 : body, i = 0; i < wide; i++) {
            body = body << 8 | s[at + i];
        }

        at += wide;
        memset(s + at, 0, 4);
        at += 4;

        if (body > len - at) {
            return;
        }
    }
}


static void
feed_cut(trace_t *t, const uint8_t *s, size_t len, uint32_t seed)
{
    size_t  i, n;

    for (i = 0; i < len; i += n) {
        seed = seed * 1103515245 + 12345;
        n = (seed >> 16) % ((seed & 0x8000) ? 4 : 40);
        n = (n > len - i) ? len - i : n;

        if (!trace_feed(t, s + i, n)) {
            return;
        }
    }
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i, len;
    ref_t              r;
    uint8_t           *s;
    trace_t            whole, bytes, cut, ref;
    fanout_ws_opts_t   opts;

    if (size < 3 || size > 8192) {
        return 0;
    }

    opts.rsv1 = data[0] & 1;
    opts.frames = (data[0] >> 2) & 7;
    opts.size = (data[1] < 128) ? data[1] : (uint64_t) data[1] << 8;

    if (data[1] == 255) {
        opts.size = UINT64_MAX;
    }

    len = size - 3;
    s = malloc(len + 1);
    memcpy(s, data + 3, len);

    if (data[0] & 2) {
        zero_masks(s, len);
    }

    trace_begin(&whole, &opts);
    trace_begin(&bytes, &opts);
    trace_begin(&cut, &opts);
    trace_begin(&ref, &opts);

    trace_feed(&whole, s, len);
    feed_cut(&cut, s, len, data[2]);

    for (i = 0; i < len && trace_feed(&bytes, s + i, 1); i++) {
        /* void */
    }

    r = (ref_t) { &ref, &opts, s, len, -1, 0, 0 };

    while (ref_frame(&r)) {
        /* void */
    }

    must(whole.broken == NULL, whole.broken);
    must(bytes.broken == NULL, bytes.broken);
    must(cut.broken == NULL, cut.broken);
    must(trace_same(&whole, &bytes), "by byte as in one");
    must(trace_same(&whole, &cut), "cut as in one");
    must(ref_same(&whole, &ref), "as the reference");

    trace_end(&whole);
    trace_end(&bytes);
    trace_end(&cut);
    trace_end(&ref);
    free(s);

    return 0;
}
