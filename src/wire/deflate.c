
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "wire/deflate.h"
#include "base/utf8.h"


#define DEFLATE_MEMORY    6     /* memLevel of zlib: blocks of 8k symbols */
#define DEFLATE_MEMORY_S  5
#define DEFLATE_MAX       0x7fffffff

/* zlib reserves 262 bytes of its window, so with 512 bytes it refers back at
 * most 250 bytes.  This fits the window of 256 bytes, which zlib can't
 * create. */
#define DEFLATE_BITS_S    9

#define INFLATE_FIRST     1024  /* initial size */


/* the rest of a list of extensions (RFC 6455 9.1) */

typedef struct {
    const unsigned char  *pos;
    const unsigned char  *last;
} list_t;


/* a token, or an unescaped quoted string; the first bytes are enough */

typedef struct {
    unsigned char  data[32];
    size_t         len;         /* 0: none */
} word_t;


/* the destination of inflated bytes */

typedef struct {
    unsigned char   *data;
    size_t           len;
    size_t           size;
    size_t           max;
    fanout_utf8_t    utf8;
    unsigned         text:1;
    unsigned         ended:1;           /* the input ended with a block with
                                           BFINAL set */
    unsigned         lasts;
} sink_t;


static int element(list_t *l, fanout_deflate_offer_t *offer);
static int parameter(fanout_deflate_offer_t *offer, unsigned *seen,
    const word_t *name, const word_t *value, int valued);
static unsigned window_bits(const word_t *value);
static int flag(const word_t *name, const char *text);
static void space(list_t *l);
static int next_is(list_t *l, unsigned char c);
static int token(list_t *l, word_t *w);
static int quoted(list_t *l, word_t *w);
static void deflate_add(word_t *w, unsigned char c);
static int token_char(unsigned char c);

static z_stream *deflater(int how);
static z_stream *inflater(void);
static fanout_inflate_e feed(z_stream *z, const unsigned char *s, size_t len,
    int flush, sink_t *sink);
static fanout_inflate_e room(z_stream *z, sink_t *sink, unsigned char *probe);
static fanout_inflate_e took(z_stream *z, sink_t *sink);


static int       level = 1;
static int       large_bits = 15;
static z_stream  deflaters[3];
static z_stream  inflate_stream;


/* negotiation */

int
fanout_deflate_offered(const unsigned char *s, size_t len,
    fanout_deflate_offer_t *offer)
{
    int     rc;
    list_t  l;

    l.pos = s;
    l.last = s + len;

    for ( ;; ) {

        do {
            space(&l);
        } while (next_is(&l, ','));

        if (l.pos == l.last) {
            return 0;
        }

        rc = element(&l, offer);

        if (rc) {
            return rc > 0;
        }
    }
}


/* 1: accepted, 0: declined, -1: the list is broken */

static int
element(list_t *l, fanout_deflate_offer_t *offer)
{
    int       good, valued;
    word_t    name, value;
    unsigned  seen;

    if (!token(l, &name)) {
        return -1;
    }

    good = flag(&name, "permessage-deflate");
    seen = 0;

    memset(offer, 0, sizeof(fanout_deflate_offer_t));
    offer->server_takeover = 1;
    offer->client_takeover = 1;

    for (space(l); next_is(l, ';'); space(l)) {

        space(l);

        if (!token(l, &name)) {
            return -1;
        }

        space(l);
        value.len = 0;
        valued = next_is(l, '=');

        if (valued) {
            space(l);

            if (!token(l, &value) && !quoted(l, &value)) {
                return -1;
            }
        }

        good &= parameter(offer, &seen, &name, &value, valued);
    }

    return (l->pos == l->last || *l->pos == ',') ? good : -1;
}


static int
parameter(fanout_deflate_offer_t *offer, unsigned *seen, const word_t *name,
    const word_t *value, int valued)
{
    unsigned  bit;

    if (flag(name, "server_no_context_takeover") && !valued) {
        bit = 1;
        offer->server_takeover = 0;

    } else if (flag(name, "client_no_context_takeover") && !valued) {
        bit = 2;
        offer->client_takeover = 0;

    } else if (flag(name, "server_max_window_bits") && window_bits(value)) {
        bit = 4;
        offer->server_bits = window_bits(value);

    } else if (flag(name, "client_max_window_bits")
               && (!valued || window_bits(value)))
    {
        bit = 8;
        offer->client_bits = valued ? window_bits(value) : 15;

    } else {
        return 0;
    }

    if (*seen & bit) {
        return 0;
    }

    *seen |= bit;

    return 1;
}


/* 8 to 15 in decimal without leading zeros (7.1.2), or 0 */

static unsigned
window_bits(const word_t *value)
{
    const unsigned char  *d;

    d = value->data;

    if (value->len == 1 && (d[0] == '8' || d[0] == '9')) {
        return d[0] - '0';
    }

    if (value->len == 2 && d[0] == '1' && d[1] >= '0' && d[1] <= '5') {
        return 10 + d[1] - '0';
    }

    return 0;
}


static int
flag(const word_t *name, const char *text)
{
    size_t         i;
    unsigned char  c;

    if (name->len != strlen(text) || name->len > sizeof(name->data)) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];
        c |= (c >= 'A' && c <= 'Z') ? 0x20 : 0;

        if (c != (unsigned char) text[i]) {
            return 0;
        }
    }

    return 1;
}


static void
space(list_t *l)
{
    while (l->pos < l->last && (*l->pos == ' ' || *l->pos == '\t')) {
        l->pos++;
    }
}


static int
next_is(list_t *l, unsigned char c)
{
    if (l->pos == l->last || *l->pos != c) {
        return 0;
    }

    l->pos++;

    return 1;
}


static int
token(list_t *l, word_t *w)
{
    w->len = 0;

    while (l->pos < l->last && token_char(*l->pos)) {
        deflate_add(w, *l->pos++);
    }

    return w->len > 0;
}


/* after unescaping it must be a token (RFC 6455 9.1) */

static int
quoted(list_t *l, word_t *w)
{
    w->len = 0;

    if (!next_is(l, '"')) {
        return 0;
    }

    while (l->pos < l->last && *l->pos != '"') {

        if (*l->pos == '\\' && ++l->pos == l->last) {
            return 0;
        }

        if (!token_char(*l->pos)) {
            return 0;
        }

        deflate_add(w, *l->pos++);
    }

    return next_is(l, '"') && w->len > 0;
}


static void
deflate_add(word_t *w, unsigned char c)
{
    if (w->len < sizeof(w->data)) {
        w->data[w->len] = c;
    }

    w->len++;
}


static int
token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || (c && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}


int
fanout_deflate_choose(const fanout_deflate_offer_t *offer, unsigned *bits)
{
    if (offer->server_bits == 0) {
        *bits = 0;
        return FANOUT_DEFLATE_LARGE;
    }

    if (offer->server_bits >= large_bits) {
        *bits = large_bits;
        return FANOUT_DEFLATE_LARGE;
    }

    *bits = (offer->server_bits == 8) ? 8 : DEFLATE_BITS_S;

    return FANOUT_DEFLATE_SMALL;
}


/* deflating */

void
fanout_deflate_configure(int lev, int bits)
{
    int  i;

    level = lev;
    large_bits = bits;

    for (i = 0; i < 3; i++) {
        if (deflaters[i].state) {
            (void) deflateEnd(&deflaters[i]);
        }
    }
}


size_t
fanout_deflate(int how, const unsigned char *s, size_t len,
    unsigned char *dst)
{
    size_t     n;
    z_stream  *z;

    static const unsigned char  tail[] = { 0x00, 0x00, 0xff, 0xff };

    if (len == 0 || len > DEFLATE_MAX) {
        return 0;
    }

    z = deflater(how);
    if (z == NULL) {
        return 0;
    }

    z->next_in = (unsigned char *) s;
    z->avail_in = (uInt) len;
    z->next_out = dst;
    z->avail_out = (uInt) (len + FANOUT_DEFLATE_TAIL);

    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_out == 0) {
        return 0;
    }

    n = z->next_out - dst;

    if (n < sizeof(tail) || memcmp(z->next_out - sizeof(tail), tail,
                                   sizeof(tail)) != 0)
    {
        return 0;
    }

    n -= sizeof(tail);

    return n;
}


static z_stream *
deflater(int how)
{
    int        rc;
    z_stream  *z;

    z = &deflaters[how];

    if (z->state) {
        return deflateReset(z) == Z_OK ? z : NULL;
    }

    rc = (how == FANOUT_DEFLATE_LARGE)
         ? deflateInit2(z, level, Z_DEFLATED, -large_bits, DEFLATE_MEMORY,
                        Z_DEFAULT_STRATEGY)
         : deflateInit2(z, level, Z_DEFLATED, -DEFLATE_BITS_S,
                        DEFLATE_MEMORY_S, Z_DEFAULT_STRATEGY);

    if (rc != Z_OK) {
        z->state = NULL;
        return NULL;
    }

    return z;
}


/* inflating */

fanout_inflate_e
fanout_inflate(const unsigned char *s, size_t len, size_t size, unsigned text,
    unsigned char **out, size_t *outlen)
{
    sink_t                      sink;
    z_stream                   *z;
    fanout_inflate_e            rc;

    static const unsigned char  tail[] = { 0x00, 0x00, 0xff, 0xff };

    *out = NULL;
    *outlen = 0;

    if (len == 0) {
        return FANOUT_INFLATE_OK;
    }

    z = inflater();

    if (z == NULL) {
        return FANOUT_INFLATE_MEMORY;
    }

    memset(&sink, 0, sizeof(sink_t));
    sink.max = size;
    sink.size = len < INFLATE_FIRST / 4 ? INFLATE_FIRST / 4 : len;
    sink.text = text != 0;

    rc = feed(z, s, len, Z_SYNC_FLUSH, &sink);

    if (rc == FANOUT_INFLATE_OK && !sink.ended) {
        rc = feed(z, tail, sizeof(tail), Z_BLOCK, &sink);

        /* 128: all blocks are complete */

        if (rc == FANOUT_INFLATE_OK && !sink.ended
            && !(z->data_type & 128))
        {
            rc = FANOUT_INFLATE_BROKEN;
        }
    }

    if (rc == FANOUT_INFLATE_OK && text
        && fanout_utf8_finish(&sink.utf8) != FANOUT_UTF8_OK)
    {
        rc = FANOUT_INFLATE_NOT_UTF8;
    }

    *outlen = sink.len;

    if (rc == FANOUT_INFLATE_OK) {
        *out = sink.data;
        return rc;
    }

    free(sink.data);

    return rc;
}


/* for any window that a client may choose */

static z_stream *
inflater(void)
{
    if (inflate_stream.state) {
        return inflateReset(&inflate_stream) == Z_OK ? &inflate_stream : NULL;
    }

    if (inflateInit2(&inflate_stream, -15) != Z_OK) {
        inflate_stream.state = NULL;
        return NULL;
    }

    return &inflate_stream;
}


static fanout_inflate_e
feed(z_stream *z, const unsigned char *s, size_t len, int flush, sink_t *sink)
{
    int                rc;
    unsigned char      probe[1];
    fanout_inflate_e   full;

    if (len > DEFLATE_MAX) {
        return FANOUT_INFLATE_SIZE;
    }

    z->next_in = (unsigned char *) s;
    z->avail_in = (uInt) len;

    for ( ;; ) {
        full = room(z, sink, probe);

        if (full != FANOUT_INFLATE_OK) {
            return full;
        }

        rc = inflate(z, flush);

        full = took(z, sink);

        if (full != FANOUT_INFLATE_OK) {
            return full;
        }

        switch (rc) {

        case Z_STREAM_END:
            sink->ended = (z->avail_in == 0);

            if (sink->ended) {
                return FANOUT_INFLATE_OK;
            }

            if (++sink->lasts == FANOUT_INFLATE_LASTS
                || inflateReset(z) != Z_OK)
            {
                return FANOUT_INFLATE_BROKEN;
            }

            break;

        case Z_OK:
        case Z_BUF_ERROR:
            if (z->avail_in == 0 && z->avail_out) {
                return FANOUT_INFLATE_OK;
            }

            if (rc == Z_BUF_ERROR && z->avail_out) {
                return FANOUT_INFLATE_BROKEN;
            }

            break;

        case Z_MEM_ERROR:
            return FANOUT_INFLATE_MEMORY;

        default:
            return FANOUT_INFLATE_BROKEN;
        }
    }
}


/* At the limit, room for one more byte shows whether the message is too
 * long. */

static fanout_inflate_e
room(z_stream *z, sink_t *sink, unsigned char *probe)
{
    size_t          n;
    unsigned char  *p;

    if (sink->len == sink->max) {
        z->next_out = probe;
        z->avail_out = 1;
        return FANOUT_INFLATE_OK;
    }

    if (sink->data == NULL || sink->len == sink->size) {
        n = sink->size > sink->max / 4 ? sink->max : sink->size * 4;

        p = realloc(sink->data, n);
        if (p == NULL) {
            return FANOUT_INFLATE_MEMORY;
        }

        sink->data = p;
        sink->size = n;
    }

    n = sink->size - sink->len;

    z->next_out = sink->data + sink->len;
    z->avail_out = (uInt) (n < DEFLATE_MAX ? n : DEFLATE_MAX);

    return FANOUT_INFLATE_OK;
}


static fanout_inflate_e
took(z_stream *z, sink_t *sink)
{
    size_t                n;
    const unsigned char  *from;

    if (sink->len == sink->max) {
        return z->avail_out ? FANOUT_INFLATE_OK
                            : FANOUT_INFLATE_SIZE;
    }

    from = sink->data + sink->len;
    n = z->next_out - from;
    sink->len += n;

    if (sink->text
        && fanout_utf8_feed(&sink->utf8, from, n)
           != FANOUT_UTF8_OK)
    {
        return FANOUT_INFLATE_NOT_UTF8;
    }

    return FANOUT_INFLATE_OK;
}
