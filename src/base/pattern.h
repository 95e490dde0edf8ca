
/*
 * Patterns of channel names.  A compiled pattern is bytes: 0x00 stands for any
 * run of bytes, also an empty one, and every other byte for itself.  Names have
 * no control characters, so 0x00 is free; a '*' from a variable is a literal
 * byte and grants nothing more.
 *
 * A pattern is built by appending: text of the configuration, in which '*'
 * is the wildcard, and values of variables, taken literally.  A failed append
 * leaves a pattern that must not be used: the rule grants nothing.
 *
 * No state, no locks, nothing of NGINX; the caller owns the bytes.
 */


#ifndef FANOUT_BASE_PATTERN_H
#define FANOUT_BASE_PATTERN_H


#include <stddef.h>
#include <stdint.h>


#define FANOUT_PATTERN_ANY       0x00


#define FANOUT_PATTERN_OK        0
#define FANOUT_PATTERN_EMPTY    -1             /* a variable without a value */
#define FANOUT_PATTERN_CONTROL  -2             /* a control character */
#define FANOUT_PATTERN_NO_ROOM  -3             /* over "size" */


typedef struct {
    uint8_t  *data;
    size_t    len;
    size_t    size;    /* bytes that data has room for */
} fanout_pattern_t;


/*
 * Appends text of the configuration.  Adjacent wildcards become one, and an
 * empty text adds nothing.  Needs at most "len" bytes of room.
 *
 * OK or CONTROL (a byte below 0x20, or 0x7f), NO_ROOM.
 */
int fanout_pattern_append_text(fanout_pattern_t *pattern, const uint8_t *text,
    size_t len);

/*
 * Appends the value of a variable; a '*' stands for itself.  Needs "len" bytes
 * of room.
 *
 * OK or EMPTY, CONTROL, NO_ROOM.
 */
int fanout_pattern_append_literal(fanout_pattern_t *pattern,
    const uint8_t *value, size_t len);

/*
 * Returns 1 if the pattern matches the whole name, else 0.  Takes constant
 * memory and at most plen * nlen steps, about nlen for usual patterns.  The
 * empty pattern matches only the empty name.
 */
int fanout_pattern_match(const uint8_t *pattern, size_t plen,
    const uint8_t *name, size_t nlen);


#endif /* FANOUT_BASE_PATTERN_H */
