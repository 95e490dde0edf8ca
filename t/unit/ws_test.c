/* sources: src/wire/ws.c src/base/utf8.c */

/*
 * If this fails, browsers are cut off for frames that are right, or a hostile
 * client gets frames through that are not: text that breaks other clients,
 * sizes nobody can hold, or a stream that is read differently by the server
 * than by a proxy before it.  Numbers in names are sections of RFC 6455.
 */

#include "tap.h"
#include "ws_trace.h"


#define MORE    FANOUT_WS_EV_MORE
#define DATA    FANOUT_WS_EV_DATA
#define PING    FANOUT_WS_EV_PING
#define PONG    FANOUT_WS_EV_PONG
#define CLOSE   FANOUT_WS_EV_CLOSE
#define BUFFER  FANOUT_WS_EV_BUFFER
#define ERROR   FANOUT_WS_EV_ERROR

#define FIN     0x80
#define RSV1    0x40
#define CONT    0x0
#define TEXT    0x1
#define BINARY  0x2

/* with literals, NULs included */
#define frame(b, first, s)   put(b, first, s, sizeof(s) - 1)
#define raw(b, s)            trace_put(b, s, sizeof(s) - 1)


static const fanout_ws_opts_t  plain = { 1 << 20, 0, 0 };
static const fanout_ws_opts_t  deflate = { 1 << 20, 0, 1 };
static const fanout_ws_opts_t  small = { 100, 3, 0 };

static uint32_t                         seed = 1;


static uint32_t
rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed;
}


/* a client's frame; the length is announced in "form" bytes, 0: as it should */

static void
put_as(trace_buf_t *b, unsigned first, const void *s, size_t len, int form)
{
    int            i;
    size_t         at;
    uint32_t       key;
    unsigned char  h[14];

    if (form == 0) {
        form = (len < 126) ? 1 : (len < 65536) ? 2 : 8;
    }

    h[0] = first;
    h[1] = 0x80 | ((form == 1) ? len : (form == 2) ? 126 : 127);

    for (i = 0; form > 1 && i < form; i++) {
        h[2 + i] = (uint64_t) len >> (8 * (form - 1 - i));
    }

    i = 2 + ((form > 1) ? form : 0);
    key = rnd();
    memcpy(h + i, &key, 4);

    trace_put(b, h, i + 4);
    at = b->len;
    trace_put(b, s, len);

    fanout_ws_unmask(b->s + at, len, h + i);
}


static void
put(trace_buf_t *b, unsigned first, const void *s, size_t len)
{
    put_as(b, first, s, len, 0);
}


static void
run(trace_t *t, const fanout_ws_opts_t *opts, const trace_buf_t *b,
    size_t one, size_t two)
{
    trace_begin(t, opts);
    trace_feed(t, b->s, one);
    trace_feed(t, b->s + one, two - one);
    trace_feed(t, b->s + two, b->len - two);
}


/* 1 if however the bytes are cut, the same is told as in one piece */

static int
splits_agree(const fanout_ws_opts_t *opts, const trace_buf_t *b)
{
    int      same;
    size_t   i, j, step;
    trace_t  whole, cut;

    run(&whole, opts, b, b->len, b->len);
    same = whole.broken == NULL;

    /* all pairs while that is cheap, then every byte, then some bytes */
    step = 1 + b->len / 2000;

    for (i = 0; same && i <= b->len; i += step) {
        for (j = i; same && j <= b->len; j++) {
            run(&cut, opts, b, i, j);
            same = cut.broken == NULL && trace_same(&whole, &cut);

            if (!same) {
                diag("  cut at %zu and %zu of %zu: %s", i, j, b->len,
                     cut.broken ? cut.broken : "differs");
            }

            trace_end(&cut);

            if (b->len > 160) {
                break;
            }
        }
    }

    trace_begin(&cut, opts);

    for (i = 0; i < b->len; i++) {
        trace_feed(&cut, b->s + i, 1);
    }

    same = same && cut.broken == NULL && trace_same(&whole, &cut);
    trace_end(&cut);

    if (whole.broken) {
        diag("  broken: %s", whole.broken);
    }

    trace_end(&whole);

    return same;
}


/* what is told, and that it does not depend on cuts; empties "b" */

static void
tells(const fanout_ws_opts_t *opts, trace_buf_t *b, const void *log,
    size_t len, const char *name)
{
    trace_t  t;

    run(&t, opts, b, b->len, b->len);

    is_mem(t.log.s, t.log.len, log, len, "%s", name);
    ok(splits_agree(opts, b), "%s, cut anywhere", name);

    trace_end(&t);
    b->len = 0;
}

#define tells(opts, b, log, name)  tells(opts, b, log, sizeof(log) - 1, name)


static void
fails(const fanout_ws_opts_t *opts, trace_buf_t *b, int code,
    const char *name)
{
    trace_t  t;

    run(&t, opts, b, b->len, b->len);

    is_int(t.code, code, "%s", name);
    ok(splits_agree(opts, b), "%s, cut anywhere", name);

    trace_end(&t);
    b->len = 0;
}


/* fails on the last byte of "b" and not one sooner; empties "b" */

static void
fails_at_last(const fanout_ws_opts_t *opts, trace_buf_t *b, int code,
    const char *name)
{
    trace_t  t;

    trace_begin(&t, opts);

    trace_feed(&t, b->s, b->len - 1);
    is_int(t.code, 0, "%s: not sooner", name);

    trace_feed(&t, b->s + b->len - 1, 1);
    is_int(t.code, code, "%s: at once", name);

    trace_end(&t);
    fails(opts, b, code, name);
}


static void
test_rfc_examples(trace_buf_t *b)
{
    raw(b, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    tells(&plain, b, "message 1 5:Hello\n", "5.7: a masked text message");

    raw(b, "\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    tells(&plain, b, "ping 0 5:Hello\n", "5.7: a masked ping");

    raw(b, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    tells(&plain, b, "pong 0 5:Hello\n", "5.5.3: an unsolicited pong");

    raw(b, "\x81\x05\x48\x65\x6c\x6c\x6f");
    fails(&plain, b, 1002, "5.7: an unmasked text message");
}


static void
test_lengths(trace_buf_t *b)
{
    size_t   i, n;
    trace_t  t;

    static unsigned char  s[70000];
    static const size_t   lens[] = { 0, 1, 7, 8, 124, 125, 126, 127, 65535,
                                     65536, 70000 };

    for (i = 0; i < sizeof(s); i++) {
        s[i] = 'a' + i % 26;
    }

    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        n = lens[i];
        put(b, FIN | TEXT, s, n);
        put(b, FIN | BINARY, "x", 1);

        run(&t, &plain, b, b->len, b->len);
        is_int(t.events, 2, "5.2: %zu bytes come as one event", n);
        is_mem(t.log.s + t.log.len - n - 1 - 14, n, s, n,
               "5.2: %zu bytes are right", n);
        ok(splits_agree(&plain, b), "5.2: %zu bytes cut anywhere", n);

        trace_end(&t);
        b->len = 0;
    }
}


static void
test_length_forms(trace_buf_t *b)
{
    unsigned char  s[128];

    memset(s, 'a', sizeof(s));

    raw(b, "\x81\xfe\x00\x7d");
    fails_at_last(&plain, b, 1002, "5.2: 125 in two bytes");

    raw(b, "\x81\xfe\x00\x00");
    fails_at_last(&plain, b, 1002, "5.2: nothing in two bytes");

    raw(b, "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff");
    fails_at_last(&plain, b, 1002, "5.2: 65535 in eight bytes");

    raw(b, "\x82\xff\x00\x00\x00\x00\x00\x00\x00\x01");
    fails_at_last(&plain, b, 1002, "5.2: 1 in eight bytes");

    raw(b, "\x82\xff\x80");
    fails_at_last(&plain, b, 1002, "5.2: top bit of the length");

    put_as(b, FIN | TEXT, s, 126, 2);
    put_as(b, FIN | 9, s, 0, 1);
    fails(&plain, b, 0, "5.2: 126 in two bytes is right");
}


static void
test_first_byte(trace_buf_t *b)
{
    unsigned       op, bit;
    char           name[64];
    unsigned char  c;

    for (op = 3; op < 16; op++) {
        if (op >= 8 && op <= 10) {
            continue;
        }

        c = FIN | op;
        trace_put(b, &c, 1);
        snprintf(name, sizeof(name), "5.2: reserved opcode %u", op);
        fails_at_last(&plain, b, 1002, name);
    }

    for (op = 0; op < 11; op++) {
        for (bit = 0x10; bit <= 0x40; bit <<= 1) {

            if (op == 3) {
                op = 8;
            }

            if (op == 0) {
                frame(b, TEXT, "a");
            }

            c = FIN | op | bit;
            trace_put(b, &c, 1);
            snprintf(name, sizeof(name), "5.2: bit %#x with opcode %u", bit,
                     op);
            fails_at_last(&plain, b, 1002, name);
        }
    }
}


static void
test_rsv1(trace_buf_t *b)
{
    frame(b, FIN | RSV1 | TEXT, "\xff\xfe");
    frame(b, FIN | TEXT, "a");
    tells(&deflate, b, "rsv1 1 2:\xff\xfe\nmessage 1 1:a\n",
          "RFC 7692 6: RSV1 on a message, its bytes are not text yet");

    frame(b, RSV1 | BINARY, "a");
    frame(b, FIN | 9, "");
    frame(b, CONT, "b");
    frame(b, FIN | CONT, "c");
    tells(&deflate, b, "ping 0 0:\nrsv1 2 3:abc\n",
          "RFC 7692 6.1: RSV1 on the first of several frames");

    frame(b, RSV1 | BINARY, "a");
    raw(b, "\xc0");
    fails_at_last(&deflate, b, 1002, "RFC 7692 6.1: RSV1 on a continuation");

    raw(b, "\xc9");
    fails_at_last(&deflate, b, 1002, "RFC 7692 6.1: RSV1 on a ping");

    raw(b, "\xa1");
    fails_at_last(&deflate, b, 1002, "5.2: RSV2 where RSV1 is in use");

    frame(b, FIN | TEXT, "\xff");
    fails_at_last(&deflate, b, 1007, "8.1: not compressed is text at once");
}


static void
test_masking(trace_buf_t *b)
{
    size_t         i, len, at, bad;
    unsigned       op;
    char           name[64];
    unsigned char  c, key[4], mask[4], s[64], want[64];

    for (op = 0; op < 11; op++) {
        op = (op == 3) ? 8 : op;

        if (op == 0) {
            frame(b, TEXT, "a");
        }

        c = FIN | op;
        trace_put(b, &c, 1);
        trace_put(b, "\x01", 1);
        snprintf(name, sizeof(name), "5.1: unmasked frame, opcode %u", op);
        fails_at_last(&plain, b, 1002, name);
    }

    raw(b, "\x81\x7f");
    fails_at_last(&plain, b, 1002, "5.1: unmasked, long");

    raw(b, "\x81\x82\x00\x00\x00\x00hi\x81\x81\x00\x00\x00\x01h");
    tells(&plain, b, "message 1 2:hi\nmessage 1 1:h\n",
          "5.3: a mask of zeroes");

    for (bad = 0, len = 0; len < 40; len++) {
        for (at = 0; at <= len; at++) {
            for (i = 0; i < 4; i++) {
                key[i] = mask[i] = rnd();
            }

            for (i = 0; i < len; i++) {
                s[i + at % 8] = i;
                want[i] = i ^ key[i % 4];
            }

            fanout_ws_unmask(s + at % 8, at, mask);
            fanout_ws_unmask(s + at % 8 + at, len - at, mask);
            bad += memcmp(s + at % 8, want, len) != 0;
        }
    }

    is_int(bad, 0, "5.3: unmasking at any length, cut and alignment");
}


static void
test_fragments(trace_buf_t *b)
{
    frame(b, TEXT, "Hel");
    frame(b, FIN | CONT, "lo");
    tells(&plain, b, "message 1 5:Hello\n", "5.7: a fragmented text message");

    frame(b, BINARY, "a");
    frame(b, CONT, "b");
    frame(b, FIN | 9, "one");
    frame(b, CONT, "c");
    frame(b, FIN | 10, "two");
    frame(b, FIN | CONT, "d");
    frame(b, FIN | TEXT, "e");
    tells(&plain, b,
          "ping 0 3:one\npong 0 3:two\nmessage 2 4:abcd\nmessage 1 1:e\n",
          "5.4: control frames between fragments");

    frame(b, TEXT, "");
    frame(b, CONT, "");
    frame(b, CONT, "a");
    frame(b, CONT, "");
    frame(b, FIN | CONT, "");
    tells(&plain, b, "message 1 1:a\n", "5.4: empty fragments");

    frame(b, BINARY, "");
    frame(b, FIN | CONT, "");
    tells(&plain, b, "message 2 0:\n", "5.4: nothing but empty fragments");

    frame(b, TEXT, "a");
    frame(b, FIN | 8, "\x03\xe8");
    frame(b, FIN | CONT, "b");
    tells(&plain, b, "close 1000 0:\n", "5.4: a close between fragments");

    raw(b, "\x80");
    fails_at_last(&plain, b, 1002, "5.4: continuation of nothing");

    frame(b, FIN | TEXT, "a");
    raw(b, "\x00");
    fails_at_last(&plain, b, 1002, "5.4: continuation of an ended message");

    frame(b, TEXT, "a");
    raw(b, "\x81");
    fails_at_last(&plain, b, 1002, "5.4: text within a message");

    frame(b, BINARY, "");
    frame(b, FIN | 9, "");
    raw(b, "\x02");
    fails_at_last(&plain, b, 1002, "5.4: binary within a message");
}


static void
test_control(trace_buf_t *b)
{
    char           name[64];
    unsigned       op;
    unsigned char  c, s[125];
    trace_t        t;

    memset(s, 'p', sizeof(s));

    put(b, FIN | 9, s, 125);
    frame(b, FIN | 9, "");
    put(b, FIN | 10, s, 125);
    run(&t, &plain, b, b->len, b->len);
    is_int(t.events, 3, "5.5: control frames of 0 and 125 bytes");
    ok(splits_agree(&plain, b), "5.5: 125 bytes, cut anywhere");
    trace_end(&t);
    b->len = 0;

    for (op = 8; op < 11; op++) {
        c = FIN | op;
        trace_put(b, &c, 1);
        trace_put(b, "\xfe", 1);
        snprintf(name, sizeof(name), "5.5: over 125 bytes, opcode %u", op);
        fails_at_last(&plain, b, 1002, name);

        c = FIN | op;
        trace_put(b, &c, 1);
        trace_put(b, "\xff", 1);
        fails_at_last(&plain, b, 1002, name);

        c = op;
        trace_put(b, &c, 1);
        snprintf(name, sizeof(name), "5.5: fragmented, opcode %u", op);
        fails_at_last(&plain, b, 1002, name);
    }
}


/* where the caller has to lend memory, and that it gets it back */

static void
test_control_buffer(trace_buf_t *b)
{
    unsigned char       lent[125], *pos, *end;
    fanout_ws_event_t   ev;
    fanout_ws_parser_t  p;

    fanout_ws_init(&p, &plain);
    frame(b, FIN | 9, "whole");
    pos = b->s;
    end = b->s + b->len;

    is_int(fanout_ws_parse(&p, &pos, end, &ev), PING, "whole ping");
    ok(ev.data == end - 5, "it lies in the input");

    b->len = 0;
    frame(b, FIN | 9, "parted");
    pos = b->s;
    end = b->s + b->len;

    is_int(fanout_ws_parse(&p, &pos, b->s + 6, &ev), MORE,
           "cut before the payload");
    ok(fanout_ws_within_frame(&p), "within a frame");
    is_int(fanout_ws_parse(&p, &pos, b->s + 8, &ev), BUFFER,
           "cut within the payload");
    ok(pos == b->s + 6, "nothing was consumed");
    is_int(fanout_ws_parse(&p, &pos, b->s + 8, &ev), BUFFER,
           "asked for again");

    p.control = lent;
    is_int(fanout_ws_parse(&p, &pos, b->s + 8, &ev), MORE, "lent");
    is_int(fanout_ws_parse(&p, &pos, end, &ev), PING, "the rest");
    ok(ev.data == lent, "it lies in the lent memory");
    is_mem(ev.data, ev.len, "parted", 6, "payload");
    p.control = NULL;

    b->len = 0;
    frame(b, FIN | 9, "again");
    pos = b->s;
    end = b->s + b->len;

    is_int(fanout_ws_parse(&p, &pos, end, &ev), PING, "taken back");
    is_mem(ev.data, ev.len, "again", 5, "payload of the next");
    ok(!fanout_ws_within_frame(&p), "not within a frame");

    b->len = 0;
}


static void
test_close(trace_buf_t *b)
{
    char           name[64];
    trace_t        t;
    unsigned       code, bad, allowed;
    unsigned char  s[125];

    frame(b, FIN | 8, "");
    tells(&plain, b, "close 1005 0:\n", "5.5.1: close without a code");

    frame(b, FIN | 8, "\x03\xe9going");
    tells(&plain, b, "close 1001 5:going\n", "5.5.1: close with a reason");

    frame(b, FIN | 8, "\x03\xe8");
    frame(b, FIN | TEXT, "more");
    raw(b, "\xff\xff\xff");
    tells(&plain, b, "close 1000 0:\n", "1.4: what follows is ignored");

    raw(b, "\x88\x81");
    fails_at_last(&plain, b, 1002, "5.5.1: payload of one byte");

    frame(b, FIN | 8, "\x03\xe8\xc3\xa4\xff");
    fails(&plain, b, 1007, "5.5.1: reason with a wrong byte");

    frame(b, FIN | 8, "\x03\xe8\xe2\x82");
    fails(&plain, b, 1007, "5.5.1: reason cut within a character");

    frame(b, TEXT, "\xe2");
    frame(b, FIN | 8, "\x03\xe8\x82\xac");
    fails(&plain, b, 1007, "5.5.1: reason is a text of its own");

    memset(s, 'r', sizeof(s));
    s[0] = 0x0f;
    s[1] = 0xa0;
    put(b, FIN | 8, s, 125);
    run(&t, &plain, b, b->len, b->len);
    is_mem(t.log.s, 15, "close 4000 123:", 15, "5.5.1: longest reason");
    trace_end(&t);
    b->len = 0;

    for (bad = 0, code = 0; code < 65536; code++) {
        s[0] = code >> 8;
        s[1] = code;
        put(b, FIN | 8, s, 2);
        run(&t, &plain, b, b->len, b->len);

        allowed = code >= 1000 && code < 5000
                  && !(code >= 1015 && code < 3000)
                  && code != 1004 && code != 1005 && code != 1006;

        if (t.closed != (int) allowed || t.code != (allowed ? 0 : 1002)) {
            bad++;
            snprintf(name, sizeof(name), "%u", code);
        }

        trace_end(&t);
        b->len = 0;
    }

    ok(bad == 0, "7.4: every close code %s", bad ? name : "");
}


static void
test_text(trace_buf_t *b)
{
    frame(b, FIN | TEXT, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    tells(&plain, b, "message 1 9:\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n",
          "8.1: characters of two, three and four bytes");

    frame(b, TEXT, "\xf0\x9f");
    frame(b, FIN | 9, "\xff");
    frame(b, CONT, "");
    frame(b, CONT, "\x98");
    frame(b, FIN | CONT, "\x80");
    tells(&plain, b, "ping 0 1:\xff\nmessage 1 4:\xf0\x9f\x98\x80\n",
          "5.6: a character over several frames");

    frame(b, FIN | BINARY, "\xff\xc0\x80");
    frame(b, BINARY, "\xff");
    frame(b, FIN | CONT, "\xff");
    tells(&plain, b, "message 2 3:\xff\xc0\x80\nmessage 2 2:\xff\xff\n",
          "5.6: binary is anything");

    frame(b, FIN | TEXT, "a\0b\xe2\x80\xa8");
    tells(&plain, b, "message 1 6:a\0b\xe2\x80\xa8\n",
          "8.1: NUL and U+2028 are text");

    frame(b, TEXT, "abc\xff");
    fails_at_last(&plain, b, 1007, "8.1: wrong byte");

    frame(b, TEXT, "good");
    frame(b, CONT, "\xed\xa0");
    fails_at_last(&plain, b, 1007, "8.1: surrogate in a continuation");

    frame(b, TEXT, "\xf4");
    frame(b, CONT, "\x90");
    fails_at_last(&plain, b, 1007, "8.1: past U+10FFFF over two frames");

    frame(b, FIN | TEXT, "\xe2\x82");
    fails_at_last(&plain, b, 1007, "8.1: message ends within a character");

    frame(b, TEXT, "\xe2\x82");
    frame(b, FIN | CONT, "");
    fails_at_last(&plain, b, 1007, "8.1: and with an empty last frame");

    frame(b, FIN | BINARY, "\xe2\x82");
    frame(b, FIN | TEXT, "\xac");
    fails_at_last(&plain, b, 1007, "8.1: a text of its own after binary");

    /* a large frame of which only the beginning is there */
    frame(b, TEXT, "");
    raw(b, "\x00\xff\x00\x00\x00\x00\x00\x0f\x00\x00\x00\x00\x00\x00" "ab\xc0");
    fails_at_last(&plain, b, 1007, "8.1: long before the frame ends");
}


static void
test_limits(trace_buf_t *b)
{
    unsigned char  s[101];
    trace_t        t;

    static const fanout_ws_opts_t  any = { UINT64_MAX, 0, 0 };
    static const fanout_ws_opts_t  none = { 0, 0, 0 };
    static const fanout_ws_opts_t  one = { 100, 1, 0 };

    memset(s, 'a', sizeof(s));

    put(b, FIN | TEXT, s, 100);
    put(b, BINARY, s, 50);
    put(b, CONT, s, 50);
    put(b, FIN | CONT, s, 0);
    run(&t, &small, b, b->len, b->len);
    is_int(t.code, 0, "10.4: messages of just the limit");
    ok(splits_agree(&small, b), "10.4: the same cut anywhere");
    trace_end(&t);
    b->len = 0;

    raw(b, "\x81\xe5");
    fails_at_last(&small, b, 1009, "10.4: one byte more, said at the header");

    put(b, TEXT, s, 60);
    raw(b, "\x80\xa9");
    fails_at_last(&small, b, 1009, "10.4: one byte more over two frames");

    raw(b, "\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00");
    fails_at_last(&plain, b, 1009, "10.4: 4 GiB announced");

    raw(b, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff");
    fails_at_last(&plain, b, 1009, "10.4: 2^63 - 1 announced");

    put(b, TEXT, s, 10);
    raw(b, "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff");
    fails_at_last(&small, b, 1009, "10.4: 2^63 - 1 announced by a fragment");

    put(b, BINARY, s, 100);
    put(b, FIN | 9, s, 101);
    put(b, FIN | CONT, s, 0);
    run(&t, &small, b, b->len, b->len);
    is_int(t.code, 0, "10.4: control frames do not count");
    trace_end(&t);
    b->len = 0;

    raw(b, "\x02\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00" "abc");
    fails(&any, b, 0, "10.4: no limit");

    frame(b, FIN | TEXT, "");
    tells(&none, b, "message 1 0:\n", "10.4: a limit of nothing");

    raw(b, "\x81\x81");
    fails_at_last(&none, b, 1009, "10.4: and one byte");

    frame(b, TEXT, "");
    frame(b, CONT, "");
    frame(b, FIN | CONT, "");
    frame(b, TEXT, "");
    frame(b, CONT, "");
    frame(b, FIN | 9, "");
    frame(b, CONT, "");
    raw(b, "\x80");
    fails_at_last(&small, b, 1009, "5.4: a fourth frame where three may be");

    frame(b, FIN | TEXT, "a");
    frame(b, TEXT, "a");
    raw(b, "\x80");
    fails_at_last(&one, b, 1009, "5.4: where no fragments may be");
}


/* what the caller needs to hold a message in one piece, or not at all */

static void
test_pieces(trace_buf_t *b)
{
    unsigned char      *pos, *end, *was;
    fanout_ws_event_t   ev;
    fanout_ws_parser_t  p;

    fanout_ws_init(&p, &plain);

    frame(b, FIN | TEXT, "whole");
    pos = b->s;
    end = b->s + b->len;

    is_int(fanout_ws_parse(&p, &pos, end, &ev), DATA, "a message");
    ok(ev.first && ev.last && ev.data == b->s + 6, "in one, in place");
    is_int(ev.opcode, TEXT, "its opcode");
    ok(pos == end, "consumed");
    is_int(fanout_ws_parse(&p, &pos, end, &ev), MORE, "no more");

    b->len = 0;
    frame(b, BINARY, "abcdef");
    frame(b, FIN | CONT, "ghi");
    pos = b->s;

    is_int(fanout_ws_parse(&p, &pos, b->s + 8, &ev), DATA, "a piece");
    ok(ev.first && !ev.last, "the first");
    is_mem(ev.data, ev.len, "ab", 2, "its bytes");
    is_int(ev.rest, 4, "bytes of the frame to come");
    is_int(ev.size, 6, "bytes of the message announced");
    is_int(fanout_ws_parse(&p, &pos, b->s + 8, &ev), MORE, "no more");
    ok(fanout_ws_within_frame(&p), "within a frame");

    is_int(fanout_ws_parse(&p, &pos, b->s + 12, &ev), DATA, "next");
    ok(!ev.first && !ev.last && ev.rest == 0, "the frame ends");
    ok(!fanout_ws_within_frame(&p), "between frames");
    ok(fanout_ws_within_message(&p), "within a message");

    end = b->s + b->len;
    is_int(fanout_ws_parse(&p, &pos, end, &ev), DATA, "last");
    ok(!ev.first && ev.last && ev.size == 9, "the last piece");
    is_int(ev.opcode, BINARY, "the message's opcode");
    is_mem(ev.data, ev.len, "ghi", 3, "the last bytes");
    ok(!fanout_ws_within_message(&p), "between messages");

    b->len = 0;
    frame(b, TEXT, "ok");
    raw(b, "\x81xyz");
    pos = b->s;
    end = b->s + b->len;

    is_int(fanout_ws_parse(&p, &pos, end, &ev), DATA, "before");
    is_int(fanout_ws_parse(&p, &pos, end, &ev), ERROR, "error");
    is_int(ev.code, 1002, "its code");
    is_str(ev.text, "new message within a message", "its text");
    ok(ev.data == NULL && ev.len == 0, "no data with it");
    was = pos;
    is_int(fanout_ws_parse(&p, &pos, end, &ev), ERROR, "still");
    ok(pos == was && ev.code == 1002, "7.1.7: nothing is read any more");
    ok(!fanout_ws_within_frame(&p)
       && !fanout_ws_within_message(&p), "nothing is owed");

    b->len = 0;
    frame(b, TEXT, "");
    frame(b, FIN | 8, "");
    pos = b->s;
    end = b->s + b->len;

    fanout_ws_init(&p, &plain);
    is_int(fanout_ws_parse(&p, &pos, end, &ev), CLOSE, "a close");
    ok(!fanout_ws_within_frame(&p)
       && !fanout_ws_within_message(&p), "nothing is owed after it");

    ok(sizeof(p) <= 48, "a parser is small");
    b->len = 0;
}


static void
test_header(void)
{
    unsigned char  d[FANOUT_WS_HEADER_MAX];

    is_mem(d, fanout_ws_header(d, TEXT, 1, 0), "\x81\x00", 2,
           "5.2: header of nothing");
    is_mem(d, fanout_ws_header(d, TEXT, 0, 125), "\x01\x7d", 2,
           "5.2: 125, not final");
    is_mem(d, fanout_ws_header(d, BINARY, 1, 126),
           "\x82\x7e\x00\x7e", 4, "5.2: 126");
    is_mem(d, fanout_ws_header(d, TEXT | RSV1, 1, 65535),
           "\xc1\x7e\xff\xff", 4, "5.2: 65535, with RSV1");
    is_mem(d, fanout_ws_header(d, CONT, 1, 65536),
           "\x80\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10, "5.2: 65536");
    is_mem(d, fanout_ws_header(d, BINARY, 1, (size_t) 0x01020304),
           "\x82\x7f\x00\x00\x00\x00\x01\x02\x03\x04", 10, "5.2: large");
}


static void
test_close_payload(void)
{
    int            i;
    char           s[200];
    size_t         n;
    unsigned char  d[FANOUT_WS_CONTROL_MAX];

    is_mem(d, fanout_ws_close_payload(d, 1002, "bad", 3),
           "\x03\xea" "bad", 5, "5.5.1: code and reason");
    is_mem(d, fanout_ws_close_payload(d, 4401, NULL, 0),
           "\x11\x31", 2, "5.5.1: code alone");
    is_int(fanout_ws_close_payload(d, 1005, "x", 1), 0,
           "7.4.1: 1005 is never sent");
    is_int(fanout_ws_close_payload(d, 1006, "x", 1), 0,
           "7.4.1: nor is 1006");
    is_int(fanout_ws_close_payload(d, 0, "x", 1), 0, "nor is 0");

    memset(s, 'a', sizeof(s));
    is_int(fanout_ws_close_payload(d, 1000, s, 123), 125,
           "5.5: longest reason");
    is_int(fanout_ws_close_payload(d, 1000, s, 124), 125,
           "5.5: longer is cut");

    for (i = 0; i < 4; i++) {
        memcpy(s + 120 + i, "\xf0\x9f\x98\x80", 4);
        n = fanout_ws_close_payload(d, 1000, s, 130);
        is_int(n, 122 + i, "5.5.1: cut before a character, %d", i);
        is_int(fanout_utf8_check(d + 2, n - 2), 0, "is UTF-8");
        memset(s, 'a', sizeof(s));
    }

    memset(s, 0x80, sizeof(s));
    is_int(fanout_ws_close_payload(d, 1000, s, 130), 2,
           "5.5.1: cut down to nothing");
}


static void
test_key(void)
{
    int                   i, bad;
    unsigned char         s[24];

    static const char     good[] = "dGhlIHNhbXBsZSBub25jZQ==";
    static const char     last[] = "AQgw";
    static const char     alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "abcdefghijklmnopqrstuvwxyz"
                                       "0123456789+/";

#define key(s)  fanout_ws_key_valid((const unsigned char *) s,                \
                                             sizeof(s) - 1)

    is_int(key("dGhlIHNhbXBsZSBub25jZQ=="), 1, "1.3: the key of the RFC");
    is_int(key("x3JJHMbDL1EzLkh9GBhXDw=="), 1, "4.2.1: another key");
    is_int(key("++++++//////++++++///w=="), 1, "4.2.1: plus and slash");
    is_int(key(""), 0, "4.2.1: empty");
    is_int(key("dGhlIHNhbXBsZSBub25jZQ="), 0, "4.2.1: a character short");
    is_int(key("dGhlIHNhbXBsZSBub25jZQ==="), 0, "4.2.1: a character long");
    is_int(key("dGhlIHNhbXBsZSBub25jZQAA"), 0, "4.2.1: 18 bytes");
    is_int(key("dGhlIHNhbXBsZSBub25jZQA="), 0, "4.2.1: 17 bytes");
    is_int(key("dGhlIHNhbXBsZSBub25j===="), 0, "4.2.1: 15 bytes");
    is_int(key("dGhlIHNhbXBsZSBub25jZR=="), 0, "RFC 4648 3.5: not canonical");
    is_int(key("dGhlIHNhbXBsZSBub25-_Q=="), 0, "4.2.1: the other alphabet");

    for (bad = 0, i = 0; i < 256; i++) {
        memcpy(s, good, 24);
        s[21] = i;
        bad += fanout_ws_key_valid(s, 24)
               != (i != 0 && strchr(last, i) != NULL);
    }

    is_int(bad, 0, "4.2.1: every byte as the last");

    for (bad = 0, i = 0; i < 256; i++) {
        memcpy(s, good, 24);
        s[20] = i;
        bad += fanout_ws_key_valid(s, 24)
               != (i != 0 && strchr(alphabet, i) != NULL);
    }

    is_int(bad, 0, "4.2.1: every byte before the last");

    for (bad = 0, i = 0; i < 24; i++) {
        memcpy(s, good, 24);
        s[i] = '.';
        bad += fanout_ws_key_valid(s, 24);
    }

    is_int(bad, 0, "4.2.1: a wrong byte at every place");
}


/* streams of random good frames, cut at random */

static void
test_random(trace_buf_t *b)
{
    int            i, k, bad, op;
    size_t         at, n;
    trace_t        whole, cut;
    unsigned char  s[300];

    memset(s, 'z', sizeof(s));

    for (bad = 0, i = 0; i < 3000; i++) {

        for (b->len = 0, op = 0, k = rnd() % 20; k > 0; k--) {
            if (rnd() % 4 == 0) {
                put(b, FIN | (9 + rnd() % 2), s, rnd() % 126);
                continue;
            }

            n = rnd() % 300;
            at = rnd() % 3;
            put(b, (at ? 0 : FIN) | (op ? CONT : 1 + rnd() % 2), s, n);
            op = at != 0;
        }

        run(&whole, &plain, b, b->len, b->len);
        trace_begin(&cut, &plain);

        for (at = 0; at < b->len; at += n) {
            n = 1 + rnd() % ((i % 2) ? 8 : 200);
            n = (n > b->len - at) ? b->len - at : n;
            trace_feed(&cut, b->s + at, n);
        }

        bad += whole.broken || cut.broken || whole.code
               || !trace_same(&whole, &cut);
        trace_end(&whole);
        trace_end(&cut);
    }

    is_int(bad, 0, "3000 random streams, cut at random");
    b->len = 0;
}


int
main(void)
{
    trace_buf_t  b;

    memset(&b, 0, sizeof(b));
    raw(&b, "x");
    b.len = 0;

    test_rfc_examples(&b);
    test_lengths(&b);
    test_length_forms(&b);
    test_first_byte(&b);
    test_rsv1(&b);
    test_masking(&b);
    test_fragments(&b);
    test_control(&b);
    test_control_buffer(&b);
    test_close(&b);
    test_text(&b);
    test_limits(&b);
    test_pieces(&b);
    test_random(&b);

    free(b.s);

    test_header();
    test_close_payload();
    test_key();

    return done_testing();
}
