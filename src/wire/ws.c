#include <string.h>

#include "wire/ws.h"


/* this bit is set in control frames (section 5.5) */
#define ws_is_control(frame)  ((frame) & 0x08)
#define ws_opcode(frame)      ((frame) & 0x0f)
#define ws_rsv(frame)         ((frame) & 0x70)

/* in parser->message, beside the opcode and RSV1: a piece was returned */
#define WS_TOLD               0x80

/* a step without an event: continue with the next one */
#define WS_NEXT               -1


/*
 * One state per place in a frame.  parser->count is, in WS_LEN_16 and
 * WS_LEN_64, the bytes of the length still to come; in WS_MASK those of the
 * mask that are there; in WS_PAYLOAD those in parser->control; in WS_FAILED the
 * index of the error.
 */

typedef enum {
    WS_FIRST = 0,
    WS_SECOND,
    WS_LEN_16,
    WS_LEN_64,
    WS_MASK,
    WS_PAYLOAD,
    WS_CLOSED,
    WS_FAILED
} ws_state_e;


typedef enum {
    WS_ERR_RSV = 0,
    WS_ERR_OPCODE,
    WS_ERR_CONTROL_FRAGMENT,
    WS_ERR_CONTROL_LEN,
    WS_ERR_CONTINUATION,
    WS_ERR_INTERLEAVED,
    WS_ERR_UNMASKED,
    WS_ERR_LEN_FORM,
    WS_ERR_LEN_BIT,
    WS_ERR_CLOSE_LEN,
    WS_ERR_CLOSE_CODE,
    WS_ERR_CLOSE_UTF8,
    WS_ERR_UTF8,
    WS_ERR_SIZE,
    WS_ERR_FRAMES
} ws_err_e;


typedef struct {
    uint16_t     code;
    const char  *text;
} ws_error_t;


static int header_byte(fanout_ws_parser_t *p, unsigned char c);
static int first_byte(fanout_ws_parser_t *p, unsigned char c);
static int begin_message(fanout_ws_parser_t *p, unsigned char c);
static int second_byte(fanout_ws_parser_t *p, unsigned char c);
static int length_byte(fanout_ws_parser_t *p, unsigned char c);
static int length_done(fanout_ws_parser_t *p);
static int mask_byte(fanout_ws_parser_t *p, unsigned char c);
static int data_payload(fanout_ws_parser_t *p, unsigned char **pos,
    unsigned char *last, fanout_ws_event_t *ev);
static int ws_check_text(fanout_ws_parser_t *p, const unsigned char *s,
    size_t len, unsigned end);
static int control_payload(fanout_ws_parser_t *p, unsigned char **pos,
    unsigned char *last, fanout_ws_event_t *ev);
static int control_done(fanout_ws_parser_t *p, unsigned char *s, size_t len,
    fanout_ws_event_t *ev);
static int close_done(fanout_ws_parser_t *p, unsigned char *s, size_t len,
    fanout_ws_event_t *ev);
static int fail(fanout_ws_parser_t *p, ws_err_e err);
static int ws_failed(const fanout_ws_parser_t *p, fanout_ws_event_t *ev);
static int base64_char(unsigned char c);


static const ws_error_t  ws_errors[] = {

    [WS_ERR_RSV] = { FANOUT_WS_PROTOCOL,
        "reserved bit set" },
    [WS_ERR_OPCODE] = { FANOUT_WS_PROTOCOL,
        "reserved opcode" },
    [WS_ERR_CONTROL_FRAGMENT] = { FANOUT_WS_PROTOCOL,
        "fragmented control frame" },
    [WS_ERR_CONTROL_LEN] = { FANOUT_WS_PROTOCOL,
        "control frame over 125 bytes" },
    [WS_ERR_CONTINUATION] = { FANOUT_WS_PROTOCOL,
        "continuation without a message" },
    [WS_ERR_INTERLEAVED] = { FANOUT_WS_PROTOCOL,
        "new message within a message" },
    [WS_ERR_UNMASKED] = { FANOUT_WS_PROTOCOL,
        "frame not masked" },
    [WS_ERR_LEN_FORM] = { FANOUT_WS_PROTOCOL,
        "length not in its shortest form" },
    [WS_ERR_LEN_BIT] = { FANOUT_WS_PROTOCOL,
        "length over 63 bits" },
    [WS_ERR_CLOSE_LEN] = { FANOUT_WS_PROTOCOL,
        "close payload of one byte" },
    [WS_ERR_CLOSE_CODE] = { FANOUT_WS_PROTOCOL,
        "close code not allowed" },
    [WS_ERR_CLOSE_UTF8] = { FANOUT_WS_NOT_UTF8,
        "close reason is not UTF-8" },
    [WS_ERR_UTF8] = { FANOUT_WS_NOT_UTF8,
        "text message is not UTF-8" },
    [WS_ERR_SIZE] = { FANOUT_WS_TOO_BIG,
        "message too big" },
    [WS_ERR_FRAMES] = { FANOUT_WS_TOO_BIG,
        "message in too many frames" }
};


/* there may be hundreds of thousands of idle connections */
_Static_assert(sizeof(void *) != 8
               || sizeof(fanout_ws_parser_t) == 48,
               "a parser is 48 bytes");


void
fanout_ws_init(fanout_ws_parser_t *p, const fanout_ws_opts_t *opts)
{
    memset(p, 0, sizeof(fanout_ws_parser_t));

    p->opts = opts;
}


int
fanout_ws_parse(fanout_ws_parser_t *p, unsigned char **pos,
    unsigned char *last, fanout_ws_event_t *ev)
{
    int  rc;

    memset(ev, 0, sizeof(fanout_ws_event_t));

    do {
        switch (p->state) {

        case WS_FAILED:
            return ws_failed(p, ev);

        case WS_CLOSED:
            *pos = last;
            return FANOUT_WS_EV_MORE;

        case WS_PAYLOAD:
            rc = ws_is_control(p->frame) ? control_payload(p, pos, last, ev)
                                         : data_payload(p, pos, last, ev);
            break;

        default:
            if (*pos == last) {
                return FANOUT_WS_EV_MORE;
            }

            rc = header_byte(p, *(*pos)++);
        }

    } while (rc == WS_NEXT);

    return rc;
}


int
fanout_ws_within_frame(const fanout_ws_parser_t *p)
{
    return p->state != WS_FIRST && p->state < WS_CLOSED;
}


int
fanout_ws_within_message(const fanout_ws_parser_t *p)
{
    return p->message != 0 && p->state < WS_CLOSED;
}


size_t
fanout_ws_header(unsigned char *dst, unsigned opcode, unsigned fin,
    size_t len)
{
    int       i;
    uint64_t  n;

    dst[0] = (unsigned char) (opcode | (fin ? FANOUT_WS_FIN : 0));

    if (len < 126) {
        dst[1] = (unsigned char) len;
        return 2;
    }

    if (len < 65536) {
        dst[1] = 126;
        dst[2] = (unsigned char) (len >> 8);
        dst[3] = (unsigned char) len;
        return 4;
    }

    dst[1] = 127;

    for (n = len, i = 9; i > 1; i--, n >>= 8) {
        dst[i] = (unsigned char) n;
    }

    return 10;
}


size_t
fanout_ws_close_payload(unsigned char *dst, unsigned code, const char *reason,
    size_t len)
{
    if (!fanout_ws_code_valid(code)) {
        return 0;
    }

    if (len > FANOUT_WS_REASON_MAX) {
        len = FANOUT_WS_REASON_MAX;

        while (len > 0 && (reason[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    dst[0] = (unsigned char) (code >> 8);
    dst[1] = (unsigned char) code;

    if (len) {
        memcpy(dst + 2, reason, len);
    }

    return 2 + len;
}


int
fanout_ws_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003)
           || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}


int
fanout_ws_key_valid(const unsigned char *s, size_t len)
{
    size_t  i;

    if (len != FANOUT_WS_KEY_LEN || s[22] != '=' || s[23] != '=') {
        return 0;
    }

    for (i = 0; i < 22; i++) {
        if (base64_char(s[i]) < 0) {
            return 0;
        }
    }

    /* 22 characters are 132 bits: the last four are padding */
    return (base64_char(s[21]) & 0x0f) == 0;
}


void
fanout_ws_unmask(unsigned char *s, size_t len, unsigned char mask[4])
{
    size_t         i;
    uint64_t       w, m;
    unsigned char  twice[8];

    memcpy(twice, mask, 4);
    memcpy(twice + 4, mask, 4);
    memcpy(&m, twice, 8);

    if (m == 0) {
        return;
    }

    for (i = 0; len - i >= 8; i += 8) {
        memcpy(&w, s + i, 8);
        w ^= m;
        memcpy(s + i, &w, 8);
    }

    for ( /* void */ ; i < len; i++) {
        s[i] ^= twice[i & 3];
    }

    memcpy(mask, twice + (len & 3), 4);
}


static int
header_byte(fanout_ws_parser_t *p, unsigned char c)
{
    switch (p->state) {

    case WS_FIRST:
        return first_byte(p, c);

    case WS_SECOND:
        return second_byte(p, c);

    case WS_MASK:
        return mask_byte(p, c);

    default: /* WS_LEN_16, WS_LEN_64 */
        return length_byte(p, c);
    }
}


static int
first_byte(fanout_ws_parser_t *p, unsigned char c)
{
    unsigned  allowed;

    allowed = 0;

    if (p->opts->rsv1 && (ws_opcode(c) == FANOUT_WS_TEXT
                          || ws_opcode(c) == FANOUT_WS_BINARY))
    {
        allowed = FANOUT_WS_RSV1;
    }

    if (ws_rsv(c) & ~allowed) {
        return fail(p, WS_ERR_RSV);
    }

    p->frame = c;
    p->state = WS_SECOND;

    switch (ws_opcode(c)) {

    case FANOUT_WS_CLOSE:
    case FANOUT_WS_PING:
    case FANOUT_WS_PONG:
        return (c & FANOUT_WS_FIN) ? WS_NEXT
                                   : fail(p, WS_ERR_CONTROL_FRAGMENT);

    case FANOUT_WS_CONTINUATION:
    case FANOUT_WS_TEXT:
    case FANOUT_WS_BINARY:
        return begin_message(p, c);

    default:
        return fail(p, WS_ERR_OPCODE);
    }
}


static int
begin_message(fanout_ws_parser_t *p, unsigned char c)
{
    if (ws_opcode(c) == FANOUT_WS_CONTINUATION) {

        if (p->message == 0) {
            return fail(p, WS_ERR_CONTINUATION);
        }

    } else {

        if (p->message) {
            return fail(p, WS_ERR_INTERLEAVED);
        }

        p->message = c & (0x0f | FANOUT_WS_RSV1);
        p->size = 0;
        p->frames = 0;
        fanout_utf8_init(&p->utf8);
    }

    if (p->opts->frames && p->frames == p->opts->frames) {
        return fail(p, WS_ERR_FRAMES);
    }

    p->frames++;

    return WS_NEXT;
}


static int
second_byte(fanout_ws_parser_t *p, unsigned char c)
{
    if (!(c & 0x80)) {
        return fail(p, WS_ERR_UNMASKED);
    }

    p->rest = c & 0x7f;

    if (p->rest < 126) {
        return length_done(p);
    }

    if (ws_is_control(p->frame)) {
        return fail(p, WS_ERR_CONTROL_LEN);
    }

    p->state = (p->rest == 126) ? WS_LEN_16 : WS_LEN_64;
    p->count = (p->rest == 126) ? 2 : 8;
    p->rest = 0;

    return WS_NEXT;
}


static int
length_byte(fanout_ws_parser_t *p, unsigned char c)
{
    if (p->state == WS_LEN_64 && p->count == 8 && (c & 0x80)) {
        return fail(p, WS_ERR_LEN_BIT);
    }

    p->rest = (p->rest << 8) | c;

    if (--p->count) {
        return WS_NEXT;
    }

    if (p->rest < (p->state == WS_LEN_16 ? 126 : 65536)) {
        return fail(p, WS_ERR_LEN_FORM);
    }

    return length_done(p);
}


static int
length_done(fanout_ws_parser_t *p)
{
    p->state = WS_MASK;
    p->count = 0;

    if (ws_is_control(p->frame)) {

        if (ws_opcode(p->frame) == FANOUT_WS_CLOSE && p->rest == 1) {
            return fail(p, WS_ERR_CLOSE_LEN);
        }

        return WS_NEXT;
    }

    /* p->size is never above the limit, so this can't wrap */

    if (p->rest > p->opts->size - p->size) {
        return fail(p, WS_ERR_SIZE);
    }

    p->size += p->rest;

    return WS_NEXT;
}


static int
mask_byte(fanout_ws_parser_t *p, unsigned char c)
{
    p->mask[p->count++] = c;

    if (p->count == 4) {
        p->state = WS_PAYLOAD;
        p->count = 0;
    }

    return WS_NEXT;
}


static int
data_payload(fanout_ws_parser_t *p, unsigned char **pos, unsigned char *last,
    fanout_ws_event_t *ev)
{
    size_t    n;
    unsigned  end;

    n = (size_t) (last - *pos);

    if (n == 0 && p->rest) {
        return FANOUT_WS_EV_MORE;
    }

    if (n > p->rest) {
        n = (size_t) p->rest;
    }

    ev->data = *pos;
    ev->len = n;
    *pos += n;
    p->rest -= n;

    fanout_ws_unmask(ev->data, n, p->mask);

    end = p->rest == 0 && (p->frame & FANOUT_WS_FIN);

    if (ws_check_text(p, ev->data, n, end) != FANOUT_UTF8_OK) {
        return fail(p, WS_ERR_UTF8);
    }

    ev->rest = p->rest;
    ev->size = p->size;
    ev->opcode = ws_opcode(p->message);
    ev->rsv1 = (p->message & FANOUT_WS_RSV1) != 0;
    ev->first = (p->message & WS_TOLD) == 0;
    ev->last = end;

    if (p->rest == 0) {
        p->state = WS_FIRST;
    }

    if (end) {
        p->message = 0;
        return FANOUT_WS_EV_DATA;
    }

    if (n == 0) {
        memset(ev, 0, sizeof(fanout_ws_event_t));
        return WS_NEXT;
    }

    p->message |= WS_TOLD;

    return FANOUT_WS_EV_DATA;
}


static int
ws_check_text(fanout_ws_parser_t *p, const unsigned char *s, size_t len,
    unsigned end)
{
    int  rc;

    /* binary or compressed: only the caller can check the text */

    if ((p->message & (0x0f | FANOUT_WS_RSV1))
        != FANOUT_WS_TEXT)
    {
        return FANOUT_UTF8_OK;
    }

    rc = fanout_utf8_feed(&p->utf8, s, len);

    return end ? fanout_utf8_finish(&p->utf8) : rc;
}


static int
control_payload(fanout_ws_parser_t *p, unsigned char **pos,
    unsigned char *last, fanout_ws_event_t *ev)
{
    size_t          n;
    unsigned char  *s;

    n = (size_t) (last - *pos);

    if (n == 0 && p->rest) {
        return FANOUT_WS_EV_MORE;
    }

    if (n > p->rest) {
        n = (size_t) p->rest;
    }

    s = *pos;

    if (n < p->rest || p->count) {

        if (p->control == NULL) {
            return FANOUT_WS_EV_BUFFER;
        }

        s = p->control + p->count;
        memcpy(s, *pos, n);
    }

    fanout_ws_unmask(s, n, p->mask);

    *pos += n;
    p->rest -= n;

    if (p->rest) {
        p->count += n;
        return WS_NEXT;
    }

    return control_done(p, s - p->count, n + p->count, ev);
}


static int
control_done(fanout_ws_parser_t *p, unsigned char *s, size_t len,
    fanout_ws_event_t *ev)
{
    p->state = WS_FIRST;

    if (ws_opcode(p->frame) == FANOUT_WS_CLOSE) {
        return close_done(p, s, len, ev);
    }

    ev->data = s;
    ev->len = len;

    return ws_opcode(p->frame) == FANOUT_WS_PING
           ? FANOUT_WS_EV_PING : FANOUT_WS_EV_PONG;
}


static int
close_done(fanout_ws_parser_t *p, unsigned char *s, size_t len,
    fanout_ws_event_t *ev)
{
    unsigned  code;

    p->state = WS_CLOSED;

    if (len == 0) {
        ev->code = FANOUT_WS_NO_CODE;
        return FANOUT_WS_EV_CLOSE;
    }

    code = ((unsigned) s[0] << 8) | s[1];

    if (!fanout_ws_code_valid(code)) {
        return fail(p, WS_ERR_CLOSE_CODE);
    }

    if (fanout_utf8_check(s + 2, len - 2) != FANOUT_UTF8_OK) {
        return fail(p, WS_ERR_CLOSE_UTF8);
    }

    ev->code = (uint16_t) code;
    ev->data = s + 2;
    ev->len = len - 2;

    return FANOUT_WS_EV_CLOSE;
}


static int
fail(fanout_ws_parser_t *p, ws_err_e err)
{
    p->state = WS_FAILED;
    p->count = (uint8_t) err;

    return WS_NEXT;
}


static int
ws_failed(const fanout_ws_parser_t *p, fanout_ws_event_t *ev)
{
    memset(ev, 0, sizeof(fanout_ws_event_t));

    ev->code = ws_errors[p->count].code;
    ev->text = ws_errors[p->count].text;

    return FANOUT_WS_EV_ERROR;
}


static int
base64_char(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    if (c == '+') {
        return 62;
    }

    return (c == '/') ? 63 : -1;
}
