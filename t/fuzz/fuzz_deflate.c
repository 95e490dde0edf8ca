/* sources: src/wire/deflate.c src/base/utf8.c */
/* libs: -lz */

/*
 * permessage-deflate: offers, payloads to inflate, messages to deflate.
 *
 * The first byte of an input says what the rest is:
 *   0  a Sec-WebSocket-Extensions header: its offer again in canonical form
 *      must be understood the same
 *   1  a payload; the next three bytes are the size, in 16 and in 4096, and
 *      text.  What comes of it must be what zlib alone says, within the limit
 *   2  a message; the next byte is level and window.  Both ways to deflate it
 *      must inflate to it, the small one with a window of 256 bytes
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "wire/deflate.h"
#include "base/utf8.h"


#define MOST  (1 << 20)


static void
must(int cond, const char *what)
{
    if (!cond) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}


static void
offer(const uint8_t *s, size_t len)
{
    int                     rc, how;
    char                    text[256], *p;
    unsigned                bits;
    fanout_deflate_offer_t  o, again;

    if (!fanout_deflate_offered(s, len, &o)) {
        return;
    }

    must(o.server_bits == 0 || (o.server_bits >= 8 && o.server_bits <= 15),
         "bits of the server");
    must(o.client_bits == 0 || (o.client_bits >= 8 && o.client_bits <= 15),
         "bits of the client");

    how = fanout_deflate_choose(&o, &bits);

    must(how == FANOUT_DEFLATE_LARGE
         || how == FANOUT_DEFLATE_SMALL, "a way to deflate");
    must(o.server_bits ? bits >= 8 && bits <= o.server_bits : bits == 0,
         "bits to answer");

    p = text + sprintf(text, "permessage-deflate%s%s",
                       o.server_takeover ? "" : "; server_no_context_takeover",
                       o.client_takeover ? "" : "; client_no_context_takeover");

    if (o.server_bits) {
        p += sprintf(p, "; server_max_window_bits=%u", o.server_bits);
    }

    if (o.client_bits) {
        p += sprintf(p, "; client_max_window_bits=\"%u\"", o.client_bits);
    }

    rc = fanout_deflate_offered((unsigned char *) text, p - text, &again);

    must(rc && memcmp(&o, &again, sizeof(o)) == 0, "understood the same");
}


/* zlib alone, with room for "step" bytes at a time, so that it can refer to
 * no more than its window; the length, or -1: it is broken, or has a last
 * block, which zlib does not go on after */

static long
reference(const uint8_t *s, size_t len, unsigned char *dst, size_t size,
    int bits, size_t step)
{
    int       rc;
    size_t    n;
    z_stream  z;

    memset(&z, 0, sizeof(z));
    inflateInit2(&z, -bits);

    z.next_in = (unsigned char *) s;
    z.avail_in = len;
    z.next_out = dst;

    for (n = 0; n < size; n += step) {
        z.avail_out = step;
        rc = inflate(&z, Z_SYNC_FLUSH);

        if (z.avail_out || (rc != Z_OK && rc != Z_BUF_ERROR)) {
            break;
        }
    }

    inflateEnd(&z);

    return (rc == Z_OK || rc == Z_BUF_ERROR) && z.avail_in == 0
           ? (long) (z.next_out - dst) : -1;
}


static void
payload(const uint8_t *s, size_t len)
{
    int                    text;
    long                   n;
    size_t                 outlen, size;
    unsigned char         *out, *in;
    fanout_inflate_e       rc;
    static unsigned char   want[MOST];

    if (len < 3) {
        return;
    }

    size = 1 + 16 * s[0] + 4096 * s[1];
    text = s[2] & 1;
    s += 3;
    len -= 3;

    in = malloc(len + 4);
    memcpy(in, s, len);
    memcpy(in + len, "\0\0\377\377", 4);

    n = reference(in, len + 4, want, MOST, 15, MOST);

    rc = fanout_inflate(s, len, size, text, &out, &outlen);

    if (rc == FANOUT_INFLATE_OK) {
        must(outlen <= size, "within the limit");
        must(n < 0 || len == 0
             || (outlen == (size_t) n && memcmp(out, want, n) == 0),
             "as zlib says");
        must(!text || fanout_utf8_check(out, outlen)
                      == FANOUT_UTF8_OK, "text is UTF-8");

    } else {
        must(out == NULL && outlen <= size, "nothing is left");
    }

    if (rc == FANOUT_INFLATE_SIZE) {
        must(n < 0 || (size_t) n > size, "not over the size");
    }

    must(rc != FANOUT_INFLATE_MEMORY, "memory");

    free(in);
    free(out);
}


static void
message(const uint8_t *s, size_t len)
{
    int                         how, bits;
    long                        n;
    size_t                      got, outlen;
    unsigned char              *dst, *out;
    static unsigned char        again[MOST];

    if (len < 1) {
        return;
    }

    bits = 9 + s[0] % 7;
    fanout_deflate_configure(1 + s[0] / 7 % 9, bits);
    s++;
    len--;

    for (how = FANOUT_DEFLATE_LARGE;
         how <= FANOUT_DEFLATE_SMALL;
         how++)
    {
        dst = malloc(len + FANOUT_DEFLATE_TAIL);
        got = fanout_deflate(how, s, len, dst);

        if (got) {
            must(got < len, "shorter");

            memcpy(dst + got, "\0\0\377\377", 4);
            n = reference(dst, got + 4, again, MOST,
                          how == FANOUT_DEFLATE_SMALL ? 8 : bits,
                          1);
            must(n == (long) len && memcmp(again, s, len) == 0,
                 "inflates to the message");

            must(fanout_inflate(dst, got, len, 0, &out, &outlen)
                 == FANOUT_INFLATE_OK
                 && outlen == len && memcmp(out, s, len) == 0,
                 "and so it does here");
            free(out);
        }

        free(dst);
    }
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 900) {
        return 0;
    }

    switch (data[0] % 3) {

    case 0:
        offer(data + 1, size - 1);
        break;

    case 1:
        payload(data + 1, size - 1);
        break;

    default:
        message(data + 1, size - 1);
    }

    return 0;
}
