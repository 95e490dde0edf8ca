/*
 * WebSocket frames (RFC 6455), the server's side: an incremental parser of
 * what a client sends and an encoder of what a server sends, without NGINX,
 * I/O or allocation.
 */


#ifndef FANOUT_WIRE_WS_H
#define FANOUT_WIRE_WS_H


#include <stddef.h>
#include <stdint.h>

#include "base/utf8.h"


/* opcodes (section 5.2) */
#define FANOUT_WS_CONTINUATION  0x0
#define FANOUT_WS_TEXT          0x1
#define FANOUT_WS_BINARY        0x2
#define FANOUT_WS_CLOSE         0x8
#define FANOUT_WS_PING          0x9
#define FANOUT_WS_PONG          0xa

/* bits beside the opcode in the first byte of a frame */
#define FANOUT_WS_FIN           0x80
#define FANOUT_WS_RSV1          0x40

/* close codes (section 7.4.1) that this layer uses */
#define FANOUT_WS_PROTOCOL      1002
#define FANOUT_WS_GOING_AWAY    1001
#define FANOUT_WS_NO_CODE       1005
#define FANOUT_WS_NOT_UTF8      1007
#define FANOUT_WS_TOO_BIG       1009

#define FANOUT_WS_HEADER_MAX    10              /* of an unmasked frame */
#define FANOUT_WS_CONTROL_MAX   125             /* payload of a control frame */
#define FANOUT_WS_REASON_MAX    123             /* of it, after a close code */
#define FANOUT_WS_KEY_LEN       24


typedef enum {
    FANOUT_WS_EV_MORE = 0,              /* all input is used up */
    FANOUT_WS_EV_DATA,                  /* a piece of a message */
    FANOUT_WS_EV_PING,
    FANOUT_WS_EV_PONG,
    FANOUT_WS_EV_CLOSE,
    FANOUT_WS_EV_BUFFER,                /* the caller sets a buffer and calls
                                           again */
    FANOUT_WS_EV_ERROR                  /* fail the connection (7.1.7) */
} fanout_ws_ev_e;


/* shared by any number of parsers, which must not outlive it */

typedef struct {
    uint64_t        size;       /* limit of a message, all frames, bytes */
    uint32_t        frames;     /* limit of frames in a message, 0: none */
    uint32_t        rsv1;       /* 1: an extension uses RSV1 (RFC 7692) */
} fanout_ws_opts_t;


/*
 * 48 bytes.  The caller sets only "control": it is NULL until an EV_BUFFER asks
 * for FANOUT_WS_CONTROL_MAX bytes, because the end of the input cuts the
 * payload of a control frame.  The caller owns the buffer.  It may free it, and
 * set NULL, from the event of that frame on, or keep it for the next frame.
 */

typedef struct {
    const fanout_ws_opts_t  *opts;
    unsigned char           *control;

    uint64_t                 rest;              /* of this frame's payload */
    uint64_t                 size;              /* of the message, announced */
    uint32_t                 frames;            /* of the message */

    unsigned char            mask[4];           /* rotated to the next byte */
    fanout_utf8_t            utf8;              /* of the message */

    uint8_t                  state;
    uint8_t                  frame;             /* first byte of the frame */
    uint8_t                  message;           /* opcode and flags, 0: none */
    uint8_t                  count;             /* meaning depends on state */
} fanout_ws_parser_t;


/* "data" points into the input or into "control"; it is already unmasked */

typedef struct {
    unsigned char  *data;       /* DATA, PING, PONG; CLOSE: the reason */
    size_t          len;

    uint64_t        rest;       /* DATA: bytes of this frame still to come */
    uint64_t        size;       /* DATA: bytes of the message in all frames
                                   begun so far: what to reserve */
    const char     *text;       /* ERROR: the reason, static, ASCII */

    uint16_t        code;       /* CLOSE: 1005 if none was sent; ERROR */
    uint8_t         opcode;     /* DATA: TEXT or BINARY */

    unsigned        first:1;    /* DATA: first piece of the message */
    unsigned        last:1;     /* DATA: last piece of the message */
    unsigned        rsv1:1;     /* DATA: the message's first frame had RSV1 */
} fanout_ws_event_t;


/*
 * Prepares a parser for the first byte after the handshake.  "opts" must live
 * as long as the parser.
 */

void fanout_ws_init(fanout_ws_parser_t *p, const fanout_ws_opts_t *opts);

/*
 * Consumes input from "*pos" up to "last" until there is an event, moves "*pos"
 * past it, and returns the event, with its fields in "ev" (the others are
 * zero).  Call it again until it returns EV_MORE; then all input has been
 * consumed, an unfinished event is kept as state, and the memory of the input
 * may be reused.  Payload is unmasked in place.
 *
 * EV_DATA    A message that lies wholly in the input comes as one event with
 *            "first" and "last" set.  Otherwise it comes in pieces, of at least
 *            one byte each but for the last.  Text is valid UTF-8 so far,
 *            except with "rsv1", where only the caller can know.
 * EV_PING    Always the whole payload, at most 125 bytes; may come between the
 * EV_PONG    pieces of a message.
 * EV_CLOSE   Once, with a code that may be echoed (7.4).  Everything after it
 *            is consumed and ignored (1.4).
 * EV_BUFFER  "control" is to be set; nothing of the payload was consumed.
 * EV_ERROR   Every later call returns it again and consumes nothing.
 *
 * Errors, "code" and cause (sections of RFC 6455):
 *
 * 1002  frame not masked (5.1), RSV bit not negotiated or not on a message's
 *       first frame (5.2, RFC 7692 6), reserved opcode (5.2), length not in
 *       its shortest form or with its top bit set (5.2), control frame
 *       fragmented or over 125 bytes (5.5), continuation of nothing or new
 *       message within another (5.4), close payload of one byte (5.5.1), close
 *       code that must not be sent (7.4)
 * 1007  text message or close reason not UTF-8 (8.1, 5.5.1): returned at the
 *       end of the input that has the first wrong byte, or at the message's end
 * 1009  message over opts->size or opts->frames: returned when the header is
 *       read, before any payload of that frame
 */

int fanout_ws_parse(fanout_ws_parser_t *p, unsigned char **pos,
    unsigned char *last, fanout_ws_event_t *ev);

/*
 * Returns 1 within a frame, header included: the client has to send more bytes.
 * Returns 0 between frames, also between those of one message, and after a
 * close or an error.  For a deadline on partial frames.
 */

int fanout_ws_within_frame(const fanout_ws_parser_t *p);

/* Returns 1 if a message has begun and not ended, else 0. */

int fanout_ws_within_message(const fanout_ws_parser_t *p);

/*
 * Writes the header of a server's frame, which is never masked (5.1).  "dst"
 * has room for FANOUT_WS_HEADER_MAX bytes, "opcode" may have
 * FANOUT_WS_RSV1 added, "fin" is 0 or 1, "len" is the length of the
 * payload in bytes.
 *
 * Returns the length of the header: 2, 4 or 10.
 */

size_t fanout_ws_header(unsigned char *dst, unsigned opcode, unsigned fin,
    size_t len);

/*
 * Writes the payload of a close frame (5.5.1): the code and as much of the
 * reason, UTF-8 of "len" bytes, as fits without cutting a character.  "dst"
 * has room for FANOUT_WS_CONTROL_MAX bytes.  With the code 1005, or
 * any other that must not be sent, the payload is empty.
 *
 * Returns the length of the payload: 0 or 2 to 125.
 */

size_t fanout_ws_close_payload(unsigned char *dst, unsigned code,
    const char *reason, size_t len);

/* Returns 1 if a close code may be sent (7.4, IANA), else 0. */

int fanout_ws_code_valid(unsigned code);

/*
 * Returns 1 if a Sec-WebSocket-Key is 16 bytes in canonical base64 (4.2.1, RFC
 * 4648 3.5), else 0.
 */

int fanout_ws_key_valid(const unsigned char *s, size_t len);

/*
 * Masks or unmasks "len" bytes in place (5.3), and rotates "mask" so that the
 * next call continues where this one ended.
 */

void fanout_ws_unmask(unsigned char *s, size_t len, unsigned char mask[4]);


#endif /* FANOUT_WIRE_WS_H */
