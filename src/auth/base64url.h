
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#ifndef FANOUT_AUTH_BASE64URL_H
#define FANOUT_AUTH_BASE64URL_H


#include <stddef.h>
#include <stdint.h>


/* bytes that len characters decode to */

#define fanout_base64url_size(len)  ((len) / 4 * 3 + (len) % 4 * 3 / 4)


/*
 * Decodes base64url (RFC 4648, section 5) as RFC 7515 has it: without padding,
 * whitespace or other characters, and with spare bits that are zero, so that no
 * two texts are the same bytes.  dst has room for fanout_base64url_size(len)
 * bytes, which it gets; it may be src.  0; -1: the text is not base64url.
 */
int fanout_base64url_decode(uint8_t *dst, const uint8_t *src, size_t len);


#endif /* FANOUT_AUTH_BASE64URL_H */
