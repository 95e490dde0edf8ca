
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * permessage-deflate (RFC 7692), the server's side: offers of clients, and
 * single messages deflated and inflated, without NGINX or I/O.
 *
 * No context is taken over in either direction, so a message is independent of
 * those before it: it is deflated once for all recipients, and a connection
 * needs no memory.  Each process keeps the memory of zlib from its first use
 * on: some 165 kB to deflate (less with a smaller window), 25 kB for small
 * windows, 40 kB to inflate.
 */


#ifndef FANOUT_WIRE_DEFLATE_H
#define FANOUT_WIRE_DEFLATE_H


#include <stddef.h>
#include <stdint.h>


/* how messages are deflated: an index */
#define FANOUT_DEFLATE_NONE   0
#define FANOUT_DEFLATE_LARGE  1             /* the window as configured */
#define FANOUT_DEFLATE_SMALL  2             /* for a window of 256 bytes */

#define FANOUT_DEFLATE_TAIL   4             /* bytes needed beyond the
                                               message */

/* limit of blocks with BFINAL set in one message */
#define FANOUT_INFLATE_LASTS  64


typedef struct {
    uint8_t  server_bits;       /* server_max_window_bits, 0: none */
    uint8_t  client_bits;       /* client_max_window_bits, 0: none, 15 if
                                   without a value */
    uint8_t  server_takeover;   /* 0: with server_no_context_takeover */
    uint8_t  client_takeover;   /* 0: with client_no_context_takeover */
} fanout_deflate_offer_t;


typedef enum {
    FANOUT_INFLATE_OK = 0,
    FANOUT_INFLATE_BROKEN,              /* not DEFLATE, or cut off: 1007 */
    FANOUT_INFLATE_NOT_UTF8,            /* 1007 */
    FANOUT_INFLATE_SIZE,                /* over the size: 1009 */
    FANOUT_INFLATE_MEMORY
} fanout_inflate_e;


/*
 * Finds the first offer of permessage-deflate that can be accepted in the value
 * of a Sec-WebSocket-Extensions header (RFC 6455 9.1, RFC 7692 5 and 7.1).  An
 * offer with a parameter that is unknown, repeated, or has an invalid value is
 * declined, and the next one is tried; other extensions are skipped.  The
 * search ends where the value is not a list of extensions.
 *
 * Returns 1 and sets "offer", or returns 0.
 */

int fanout_deflate_offered(const unsigned char *s, size_t len,
    fanout_deflate_offer_t *offer);

/*
 * Sets how messages are deflated from now on: the level of zlib, 1 to 9, and
 * the bits of the large window, 9 to 15.  Frees the memory of an earlier
 * setting.
 */

void fanout_deflate_configure(int level, int bits);

/*
 * Chooses how to deflate for an offer, and the server_max_window_bits of the
 * reply, 0 for none: as offered or less (7.1.2.1).
 */

int fanout_deflate_choose(const fanout_deflate_offer_t *offer,
    unsigned *bits);

/*
 * Deflates a message (7.2.1): "how" is LARGE or SMALL, "dst" has room for len +
 * FANOUT_DEFLATE_TAIL bytes.
 *
 * Returns the length of the payload, which is less than "len"; 0 if it would
 * not be less, or without memory: then the message is sent as it is.
 */

size_t fanout_deflate(int how, const unsigned char *s, size_t len,
    unsigned char *dst);

/*
 * Inflates the payload of a message, all frames together (7.2.2), to at most
 * "size" bytes.  With "text" it must be UTF-8.  Memory is allocated as it is
 * filled.  An empty payload is an empty message.
 *
 * Blocks with BFINAL set may come anywhere (7.2.3.4, 7.2.3.5); later blocks
 * don't refer to bytes before them.
 *
 * OK: the caller frees "*out" with free(); it may be NULL if "*outlen" is 0.
 * Otherwise it is NULL, and "*outlen" is the number of bytes that were inflated
 * before the error was found.
 */

fanout_inflate_e fanout_inflate(const unsigned char *s, size_t len,
    size_t size, unsigned text, unsigned char **out, size_t *outlen);


#endif /* FANOUT_WIRE_DEFLATE_H */
