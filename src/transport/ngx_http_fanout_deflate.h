
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * permessage-deflate (RFC 7692), the server's side: what a client offers, and
 * single messages deflated and inflated, without NGINX or I/O.
 *
 * No context is taken over in either direction, so no message needs what came
 * before it: a message is deflated once for all who get it, and nothing is
 * kept for a connection.  What zlib needs is kept once a process, from the
 * first use on: some 165 kB to deflate (less with a smaller window), 25 kB for
 * small windows, 40 kB to inflate.
 */


#ifndef _NGX_HTTP_FANOUT_DEFLATE_H_INCLUDED_
#define _NGX_HTTP_FANOUT_DEFLATE_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* how messages are deflated; an index */
#define NGX_HTTP_FANOUT_DEFLATE_NONE   0
#define NGX_HTTP_FANOUT_DEFLATE_LARGE  1    /* the window as configured */
#define NGX_HTTP_FANOUT_DEFLATE_SMALL  2    /* for a window of 256 bytes */

#define NGX_HTTP_FANOUT_DEFLATE_TAIL   4    /* room beside the message */

/* blocks that call themselves the last, in one message */
#define NGX_HTTP_FANOUT_INFLATE_LASTS  64


typedef struct {
    uint8_t  server_bits;       /* server_max_window_bits, 0: not said */
    uint8_t  client_bits;       /* client_max_window_bits, 0: not said, 15 if
                                   without a value */
    uint8_t  server_takeover;   /* 0: server_no_context_takeover was said */
    uint8_t  client_takeover;   /* 0: client_no_context_takeover was said */
} ngx_http_fanout_deflate_offer_t;


typedef enum {
    NGX_HTTP_FANOUT_INFLATE_OK = 0,
    NGX_HTTP_FANOUT_INFLATE_BROKEN,     /* no DEFLATE, or cut off: 1007 */
    NGX_HTTP_FANOUT_INFLATE_NOT_UTF8,   /* 1007 */
    NGX_HTTP_FANOUT_INFLATE_SIZE,       /* over the size: 1009 */
    NGX_HTTP_FANOUT_INFLATE_MEMORY
} ngx_http_fanout_inflate_e;


/*
 * Finds the first offer of permessage-deflate that can be accepted in the
 * value of a Sec-WebSocket-Extensions header (RFC 6455 9.1, RFC 7692 5 and
 * 7.1).  An offer with a parameter that is unknown, there twice, or has a
 * value it may not have is declined and the next one looked at; so are other
 * extensions.  At what is no list of extensions the search ends.
 *
 * Returns 1 and fills in "offer", or 0.
 */

int ngx_http_fanout_deflate_offered(const unsigned char *s, size_t len,
    ngx_http_fanout_deflate_offer_t *offer);

/*
 * Sets how messages are deflated from now on: the level of zlib, 1 to 9, and
 * the bits of the large window, 9 to 15.  Frees what an earlier setting held.
 */

void ngx_http_fanout_deflate_configure(int level, int bits);

/*
 * Chooses how to deflate for an offer and the server_max_window_bits to answer
 * with, 0 for none: as offered or less (7.1.2.1).
 */

int ngx_http_fanout_deflate_choose(const ngx_http_fanout_deflate_offer_t *offer,
    unsigned *bits);

/*
 * Deflates a message as 7.2.1 says: "how" is LARGE or SMALL, "dst" has room
 * for len + NGX_HTTP_FANOUT_DEFLATE_TAIL bytes.
 *
 * Returns the length of the payload, which is less than "len"; 0 if it would
 * not be, or for lack of memory: then the message goes as it is.
 */

size_t ngx_http_fanout_deflate(int how, const unsigned char *s, size_t len,
    unsigned char *dst);

/*
 * Inflates the payload of a message, all frames together (7.2.2), to at most
 * "size" bytes.  With "text" it must be UTF-8.  Memory is taken as it is
 * filled.  An empty payload is an empty message.
 *
 * Blocks with BFINAL set may come anywhere (7.2.3.4, 7.2.3.5), but those after
 * one don't refer to what is before it.
 *
 * OK: "*out" is to be freed with free(); it may be NULL if "*outlen" is 0.
 * Otherwise it is NULL, and "*outlen" is the number of bytes that were inflated
 * before the error was found.
 */

ngx_http_fanout_inflate_e ngx_http_fanout_inflate(const unsigned char *s,
    size_t len, size_t size, unsigned text, unsigned char **out,
    size_t *outlen);


#endif /* _NGX_HTTP_FANOUT_DEFLATE_H_INCLUDED_ */
