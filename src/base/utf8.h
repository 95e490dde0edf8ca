/*
 * UTF-8 checks (RFC 3629): incremental, without NGINX, I/O or allocation.
 */


#ifndef FANOUT_BASE_UTF8_H
#define FANOUT_BASE_UTF8_H


#include <stddef.h>
#include <stdint.h>


#define FANOUT_UTF8_OK         0
#define FANOUT_UTF8_INVALID    -1
#define FANOUT_UTF8_TRUNCATED  -2

#define FANOUT_NAME_MAX        255

/* flags of fanout_name_valid() */
#define FANOUT_NAME_CHANNEL    0x01


/* all zeroes is the state between two characters */

typedef struct {
    uint8_t  need;          /* continuation bytes still to come */
    uint8_t  low;           /* the next one is within low .. high */
    uint8_t  high;
    uint8_t  invalid;
} fanout_utf8_t;


/* Begins a new text. */

void fanout_utf8_init(fanout_utf8_t *u);

/*
 * Checks the next "len" bytes of a text; a character may be split between calls
 * at any byte.
 *
 * Overlong forms, surrogates and anything above U+10FFFF are found at the first
 * byte that no valid text can have at its place (RFC 3629, section 4).
 *
 * Returns FANOUT_UTF8_OK: the bytes so far begin a valid text;
 * FANOUT_UTF8_INVALID: they do not, and further calls return the same.
 */

int fanout_utf8_feed(fanout_utf8_t *u, const unsigned char *s, size_t len);

/*
 * Ends a text; changes nothing.
 *
 * Returns FANOUT_UTF8_OK; FANOUT_UTF8_TRUNCATED: the text ends within a
 * character; FANOUT_UTF8_INVALID: a feed returned this.
 */

int fanout_utf8_finish(const fanout_utf8_t *u);

/* Checks a whole text: feed and finish in one call, with the errors of both. */

int fanout_utf8_check(const unsigned char *s, size_t len);

/*
 * Checks a name (of a channel, event, record, lock or key; native protocol): 1
 * to 255 bytes of UTF-8 without control characters, that is C0, DEL and C1
 * (U+0000 to U+001F, U+007F to U+009F).  With FANOUT_NAME_CHANNEL in "flags",
 * "*" is not allowed either.
 *
 * Returns 1 if the name is valid, else 0.
 */

int fanout_name_valid(const unsigned char *s, size_t len, unsigned flags);


#endif /* FANOUT_BASE_UTF8_H */
