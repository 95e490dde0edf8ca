/* sources: src/wire/deflate.c src/base/utf8.c */
/* libs: -lz */

/*
 * If this fails, browsers refuse the handshake or get messages they can't
 * inflate, or a few bytes of a hostile client become all of a worker's memory.
 * Numbers in names are sections of RFC 7692.
 */

#include <stdlib.h>
#include <zlib.h>

#include "tap.h"
#include "wire/deflate.h"


#define LARGE    FANOUT_DEFLATE_LARGE
#define SMALL    FANOUT_DEFLATE_SMALL

#define OK       FANOUT_INFLATE_OK
#define BROKEN   FANOUT_INFLATE_BROKEN
#define NOT_UTF8 FANOUT_INFLATE_NOT_UTF8
#define SIZE     FANOUT_INFLATE_SIZE

#define ANY      ((size_t) 1 << 30)


static uint32_t  seed = 1;


static uint32_t
rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed;
}


/* "server client takeovers", or "no" */

static const char *
negotiated(const char *s)
{
    unsigned char          *copy;
    static char             text[64];
    fanout_deflate_offer_t  o;

    /* exactly as long, for the sanitizers */

    copy = malloc(strlen(s) + 1);
    memcpy(copy, s, strlen(s));
    copy = realloc(copy, strlen(s) ? strlen(s) : 1);

    if (fanout_deflate_offered(copy, strlen(s), &o)) {
        snprintf(text, sizeof(text), "%u %u%s%s", o.server_bits,
                 o.client_bits, o.server_takeover ? " s" : "",
                 o.client_takeover ? " c" : "");
    } else {
        strcpy(text, "no");
    }

    free(copy);

    return text;
}


static void
offers(void)
{
    size_t  i;

#define PMD "permessage-deflate"

    static const char  *const  table[][2] = {
        { PMD, "0 0 s c" },
        { "  " PMD "\t ", "0 0 s c" },
        { ",, ," PMD ",", "0 0 s c" },
        { "PerMessage-DEFLATE; Server_Max_Window_Bits=10", "10 0 s c" },
        { PMD ";server_no_context_takeover", "0 0 c" },
        { PMD "; client_no_context_takeover", "0 0 s" },
        { PMD " ; client_no_context_takeover ;\tserver_no_context_takeover",
          "0 0" },
        { PMD "; client_max_window_bits", "0 15 s c" },
        { PMD "; client_max_window_bits=8", "0 8 s c" },
        { PMD "; client_max_window_bits=\"9\"", "0 9 s c" },
        { PMD "; client_max_window_bits = 12 ", "0 12 s c" },
        { PMD "; server_max_window_bits=\"1\\5\"", "15 0 s c" },
        { PMD "; server_max_window_bits=8; client_max_window_bits",
          "8 15 s c" },
        { "x-webkit-deflate-frame, " PMD, "0 0 s c" },
        { "x; a=1; b=\"2\"; c, " PMD "; server_max_window_bits=9", "9 0 s c" },

        /* values they may not have: this offer is declined */
        { PMD "; server_no_context_takeover=1", "no" },
        { PMD "; client_no_context_takeover=true", "no" },
        { PMD "; server_no_context_takeover=\"\\a\"", "no" },
        { PMD "; server_max_window_bits", "no" },
        { PMD "; server_max_window_bits=7", "no" },
        { PMD "; server_max_window_bits=16", "no" },
        { PMD "; server_max_window_bits=08", "no" },
        { PMD "; server_max_window_bits=+9", "no" },
        { PMD "; server_max_window_bits=8.0", "no" },
        { PMD "; server_max_window_bits=0xf", "no" },
        { PMD "; server_max_window_bits=1", "no" },
        { PMD "; server_max_window_bits=19", "no" },
        { PMD "; server_max_window_bits=115", "no" },
        { PMD "; server_max_window_bits=4294967304", "no" },
        { PMD "; client_max_window_bits=0", "no" },
        { PMD "; client_max_window_bits=16", "no" },
        { PMD "; client_max_window_bits=\"010\"", "no" },

        /* twice, and unknown */
        { PMD "; server_no_context_takeover; server_no_context_takeover",
          "no" },
        { PMD "; client_max_window_bits; client_max_window_bits=10", "no" },
        { PMD "; server_max_window_bits=10; server_max_window_bits=10", "no" },
        { PMD "; memory", "no" },
        { PMD "; server_max_window_bits_=10", "no" },
        { PMD "; server_max_window_bits=100000000000000000000000000000000000",
          "no" },
        { "permessage-deflatex", "no" },
        { "permessage-bzip2", "no" },
        { "deflate", "no" },

        /* by preference */
        { PMD "; server_max_window_bits=10, " PMD, "10 0 s c" },
        { PMD "; memory, " PMD "; server_max_window_bits=11", "11 0 s c" },
        { PMD "; server_max_window_bits=7, " PMD "; client_max_window_bits, "
          PMD, "0 15 s c" },
        { PMD "; memory=\"7\", " PMD, "0 0 s c" },

        /* no list of extensions: what is before counts */
        { PMD ", ;", "0 0 s c" },
        { ";, " PMD, "no" },
        { "x y, " PMD, "no" },
        { PMD ";", "no" },
        { PMD "; ;", "no" },
        { PMD "; =8", "no" },
        { PMD "; client_max_window_bits=", "no" },
        { PMD "; client_max_window_bits=\"\"", "no" },
        { PMD "; client_max_window_bits=\"9", "no" },
        { PMD "; client_max_window_bits=\"9\\", "no" },
        { PMD "; client_max_window_bits=\"9\" x", "no" },
        { PMD "; client_max_window_bits=\"9,\"", "no" },
        { PMD " x", "no" },
        { "=, " PMD, "no" },
        { "\"" PMD "\"", "no" },
        { "", "no" },
        { ",", "no" },
    };

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        is_str(negotiated(table[i][0]), table[i][1], "%s", table[i][0]);
    }
}


static void
choices(void)
{
    int                     how, bits, window, bad;
    unsigned                said;
    fanout_deflate_offer_t  o;

    memset(&o, 0, sizeof(o));
    bad = 0;

    for (window = 9; window <= 15; window++) {
        fanout_deflate_configure(1, window);

        for (bits = 8; bits <= 15; bits++) {
            o.server_bits = bits;
            how = fanout_deflate_choose(&o, &said);

            bad += said < 8 || said > (unsigned) bits
                   || how != (bits >= window ? LARGE : SMALL);
        }
    }

    ok(bad == 0, "7.1.2.1: what is answered is as offered or less");

    o.server_bits = 0;
    fanout_deflate_configure(1, 15);
    how = fanout_deflate_choose(&o, &said);
    ok(how == LARGE && said == 0, "nothing is said where nothing was asked");
}


/* text like that of messages, of "kind" 0, or with runs and noise in it */

static void
fill(unsigned char *s, size_t len, unsigned kind)
{
    size_t  i, back;

    for (i = 0; i < len; i++) {
        switch (kind) {

        case 0:
            s[i] = "{\"channel\":\"room:1\",\"data\":{\"x\":1234}}"[i % 39];
            s[i] = rnd() % 9 ? s[i] : '0' + rnd() % 10;
            break;

        case 1:
            back = 1 + rnd() % 400;
            s[i] = (rnd() % 8 && i >= back) ? s[i - back] : 'a' + rnd() % 26;
            break;

        case 2:
            s[i] = rnd();
            break;

        default:
            s[i] = 'a';
        }
    }
}


/* what a client with so small a window makes of it: every byte of output is
 * asked for alone, so that zlib has nothing but its window to refer to */

static int
client_inflates(const unsigned char *s, size_t len, int bits,
    const unsigned char *want, size_t wantlen)
{
    int             rc;
    size_t          n;
    z_stream        z;
    unsigned char  *in, c;

    in = malloc(len + 4);
    memcpy(in, s, len);
    memcpy(in + len, "\0\0\377\377", 4);

    memset(&z, 0, sizeof(z));
    inflateInit2(&z, -bits);

    z.next_in = in;
    z.avail_in = len + 4;

    for (n = 0; n <= wantlen; n++) {
        z.next_out = &c;
        z.avail_out = 1;
        rc = inflate(&z, Z_SYNC_FLUSH);

        if (z.avail_out || (rc != Z_OK && rc != Z_BUF_ERROR)
            || n == wantlen || c != want[n])
        {
            break;
        }
    }

    rc = n == wantlen && z.avail_out && z.avail_in == 0;

    inflateEnd(&z);
    free(in);

    return rc;
}


static void
round_trips(void)
{
    int             how, bits, level, bad, vain, kind;
    size_t          i, n, len;
    unsigned char  *s, *d;

    static const size_t  sizes[] = { 1, 2, 20, 100, 255, 256, 257, 300, 511,
                                     512, 513, 1000, 4096, 40000, 70000 };

    s = malloc(70000);
    d = malloc(70000 + FANOUT_DEFLATE_TAIL);

    for (level = 1; level <= 9; level += 4) {
        for (bits = 9; bits <= 15; bits++) {
            fanout_deflate_configure(level, bits);
            bad = 0;
            vain = 0;

            for (how = LARGE; how <= SMALL; how++) {
                for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                    for (kind = 0; kind < 4; kind++) {
                        len = sizes[i];
                        fill(s, len, kind);
                        n = fanout_deflate(how, s, len, d);

                        if (n == 0) {
                            vain++;
                            bad += len > 300 && kind != 2;
                            continue;
                        }

                        bad += n >= len
                               || !client_inflates(d, n, how == SMALL ? 8
                                                                      : bits,
                                                   s, len);
                    }
                }
            }

            ok(bad == 0, "level %d, window %d, and 8: clients inflate it",
               level, bits);
            ok(vain >= 30 && vain < 60, "noise goes as it is: %d", vain);
        }
    }

    is_int(fanout_deflate(LARGE, s, 0, d), 0, "nothing stays so");

    free(s);
    free(d);
}


/* as a client deflates */

static size_t
client_deflates(const unsigned char *s, size_t len, unsigned char *d,
    size_t size, int bits, int flush, int strategy)
{
    size_t    n;
    z_stream  z;

    memset(&z, 0, sizeof(z));
    deflateInit2(&z, 6, Z_DEFLATED, -bits, 8, strategy);

    z.next_in = (unsigned char *) s;
    z.avail_in = len;
    z.next_out = d;
    z.avail_out = size;

    deflate(&z, flush);
    n = size - z.avail_out;
    deflateEnd(&z);

    if (flush == Z_FINISH) {
        d[n++] = 0;
        return n;
    }

    return n - 4;
}


static int
inflates(const void *s, size_t len, size_t size, int text, const void *want,
    size_t wantlen)
{
    int             rc;
    size_t          outlen;
    unsigned char  *out, *copy;

    copy = malloc(len ? len : 1);

    if (len) {
        memcpy(copy, s, len);
    }

    rc = fanout_inflate(copy, len, size, text, &out, &outlen);

    free(copy);

    if (rc == OK
        && (outlen != wantlen || (outlen && memcmp(out, want, outlen) != 0)))
    {
        diag("  %zu bytes, not %zu", outlen, wantlen);
        rc = -1;
    }

    if (rc != OK && (out || outlen > size)) {
        rc = -2;
    }

    free(out);

    return rc;
}


#define hello(bytes)                                                          \
    inflates(bytes, sizeof(bytes) - 1, 100, 1, "Hello", 5)

static void
examples(void)
{
    is_int(hello("\xf2\x48\xcd\xc9\xc9\x07\x00"), OK,
           "7.2.3.1: one block");
    is_int(hello("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), OK,
           "7.2.3.3: a block that is not compressed");
    is_int(hello("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), OK,
           "7.2.3.4: a block with BFINAL");
    is_int(hello("\xf3\x48\xcd\xc9\xc9\x07\x00"), OK,
           "and nothing behind it");
    is_int(hello("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), OK,
           "7.2.3.5: two blocks");
    is_int(inflates("\x00", 1, 100, 1, "", 0), OK,
           "7.2.3.6: an empty message");
    is_int(inflates("", 0, 100, 1, "", 0), OK, "and no byte at all");
    is_int(inflates("\x02\x00", 2, 100, 1, "", 0), OK,
           "an empty block of another kind");
    is_int(inflates("\x03\x00", 2, 100, 1, "", 0), OK, "with BFINAL");
    is_int(inflates("\x01\x00\x00\xff\xff", 5, 100, 1, "", 0), OK,
           "an empty stored block with BFINAL");
    is_int(inflates("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00"
                    "\xf2\x48\xcd\xc9\xc9\x07\x00", 21, 100, 1,
                    "HelloHelloHello", 15), OK, "blocks after one with BFINAL");
    is_int(hello("\xf2\x00\x11\x00\x00"), BROKEN,
           "7.2.3.2: what takes over a context is refused");
}


static void
garbage(void)
{
    int            bad;
    size_t         i, n;
    unsigned char  s[400], d[500], noise[400];

    is_int(inflates("\xff\xff\xff", 3, 100, 0, "", 0), BROKEN, "no DEFLATE");
    is_int(inflates("\x07", 1, 100, 0, "", 0), BROKEN, "block type 3");
    is_int(inflates("\x00\x05\x00\xfa\xfe", 5, 100, 0, "", 0), BROKEN,
           "a wrong length");
    is_int(inflates("\x78\x9c\xf2\x48\xcd\xc9\xc9\x07\x00", 9, 100, 0, "",
                    0), BROKEN, "a zlib header");

    fill(s, sizeof(s), 1);
    n = client_deflates(s, sizeof(s), d, sizeof(d), 15, Z_SYNC_FLUSH,
                        Z_DEFAULT_STRATEGY);
    bad = 0;

    for (i = 1; i < n; i++) {
        bad += inflates(d, i, ANY, 0, s, sizeof(s)) != BROKEN;
    }

    ok(bad == 0, "a message cut off anywhere: %d", bad);
    is_int(inflates(d, n, ANY, 0, s, sizeof(s)), OK, "but whole it is good");

    for (i = 0; i < 2000; i++) {
        fill(noise, 1 + i % 300, 2);
        (void) inflates(noise, 1 + i % 300, 1000, i & 1, "", 0);
    }

    is_int(inflates(d, n, 1000, 0, s, sizeof(s)), OK,
           "nothing stays of garbage");

    for (i = 0; i < 2 * FANOUT_INFLATE_LASTS; i += 2) {
        memcpy(s + i, "\x03\x00", 2);
    }

    is_int(inflates(s, i - 2, 100, 0, "", 0), OK, "many last blocks");
    is_int(inflates(s, i + 2, 100, 0, "", 0), BROKEN, "too many of them");
}


static void
windows(void)
{
    int             bits, flush, kind, strategy, bad;
    size_t          n;
    unsigned char  *s, *d;

    s = malloc(100000);
    d = malloc(120000);

    for (bits = 9; bits <= 15; bits++) {
        bad = 0;

        for (kind = 0; kind < 4; kind++) {
            for (flush = 0; flush < 2; flush++) {
                for (strategy = 0; strategy <= Z_FIXED; strategy++) {
                    fill(s, 100000, kind);
                    n = client_deflates(s, 100000, d, 120000, bits,
                                        flush ? Z_FINISH : Z_SYNC_FLUSH,
                                        strategy);
                    bad += inflates(d, n, 100000, 0, s, 100000) != OK;
                }
            }
        }

        ok(bad == 0, "what a client deflates with a window of %d bits", bits);
    }

    free(s);
    free(d);
}


static void
bombs(void)
{
    size_t          n, outlen;
    unsigned char  *s, *d, *out;

    s = calloc(1, 1 << 20);
    d = malloc(1 << 20);
    memset(s, 'a', 1 << 20);

    n = client_deflates(s, 1 << 20, d, 1 << 20, 15, Z_SYNC_FLUSH,
                        Z_DEFAULT_STRATEGY);

    is_int(inflates(d, n, 1 << 20, 1, s, 1 << 20), OK, "to the limit");
    is_int(inflates(d, n, (1 << 20) - 1, 1, s, 0), SIZE, "over it");
    is_int(inflates(d, n, 1, 1, s, 0), SIZE, "far over it");

    is_int(fanout_inflate(d, n, 5000, 1, &out, &outlen), SIZE,
           "over it, and how far it came:");
    ok(out == NULL && outlen == 5000, "up to the limit");

    d[n / 2] ^= 0xff;

    is_int(fanout_inflate(d, n, 1 << 20, 1, &out, &outlen) == OK, 0,
           "broken in the middle");
    ok(out == NULL && outlen > 100000, "what it has cost is told: %zu", outlen);

    n = client_deflates(s, 1000, d, 1 << 20, 15, Z_FINISH,
                        Z_DEFAULT_STRATEGY);

    is_int(inflates(d, n, 1000, 1, s, 1000), OK, "to the limit, BFINAL");
    is_int(inflates(d, n, 999, 1, s, 1000), SIZE, "over it, BFINAL");

    free(s);
    free(d);
}


static void
text(void)
{
    size_t         i, n;
    unsigned char  d[4096], s[2003];

    for (i = 0; i < 2001; i += 3) {
        memcpy(s + i, "\xe2\x82\xac", 3);
    }

    n = client_deflates(s, 2001, d, sizeof(d), 15, Z_SYNC_FLUSH,
                        Z_DEFAULT_STRATEGY);
    is_int(inflates(d, n, ANY, 1, s, 2001), OK, "text");

    n = client_deflates(s, 2000, d, sizeof(d), 15, Z_SYNC_FLUSH,
                        Z_DEFAULT_STRATEGY);
    is_int(inflates(d, n, ANY, 1, s, 2000), NOT_UTF8, "cut off");
    is_int(inflates(d, n, ANY, 0, s, 2000), OK, "which binary may be");

    s[1500] = 0xff;
    n = client_deflates(s, 2001, d, sizeof(d), 15, Z_SYNC_FLUSH,
                        Z_DEFAULT_STRATEGY);
    is_int(inflates(d, n, ANY, 1, s, 2001), NOT_UTF8, "wrong within");
}


int
main(void)
{
    offers();
    choices();
    round_trips();
    examples();
    garbage();
    windows();
    bombs();
    text();

    return done_testing();
}
