
/*
 * Patterns of channel names.  A compiled pattern is bytes: 0x00 stands for
 * any run of bytes, the empty one included, everything else for itself.
 * Names hold no control characters, so 0x00 is free; a '*' that came out of
 * a variable is a literal byte and grants nothing more.
 *
 * A pattern is built by appending: text of the configuration, in which '*'
 * is the wildcard, and values of variables, taken literally.  A failed append
 * leaves a pattern that must not be used: the rule grants nothing.
 *
 * No state, no locks, nothing of NGINX; the bytes are the caller's.
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
 * Appends text of the configuration; adjacent wildcards become one, and the
 * empty text adds nothing.  Needs at most "len" bytes of room.
 *
 * OK or CONTROL (a byte below 0x20, or 0x7f), NO_ROOM.
 */
int fanout_pattern_append_text(fanout_pattern_t *pattern, const uint8_t *text,
    size_t len);

/*
 * Appends the value of a variable, '*' included as itself.  Needs "len" bytes
 * of room.
 *
 * OK or EMPTY, CONTROL, NO_ROOM.
 */
int fanout_pattern_append_literal(fanout_pattern_t *pattern,
    const uint8_t *value, size_t len);

/*
 * Whether the pattern covers the whole name: 1 or 0.  Takes constant memory
 * and at most plen * nlen steps, about nlen for patterns as they are written.
 * The empty pattern matches only the empty name.
 */
int fanout_pattern_match(const uint8_t *pattern, size_t plen,
    const uint8_t *name, size_t nlen);


#endif /* FANOUT_BASE_PATTERN_H */
