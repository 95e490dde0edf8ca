
/*
 * JSON as spans: a text is validated once, and then every value is its range of
 * bytes in the text.  No trees, no conversion of numbers before they are read,
 * no memory that grows with the text.
 *
 * fanout_json_check() is the only function for untrusted bytes; it requires
 * exactly one value of RFC 8259 in strict UTF-8 (RFC 3629).  All other
 * functions take values from there, whole or nested, and need no second
 * validation; with any other input their result is undefined, but they stay
 * within the span.  Escapes of lone surrogates ("\ud800") are legal in JSON,
 * but many parsers refuse a text with one: they become "\ufffd" when a value is
 * minified, and decoding such a string fails.
 *
 * No state, no locks, nothing of NGINX.  A span points into the text from which
 * it was read; nothing is owned.
 */


#ifndef FANOUT_BASE_JSON_H
#define FANOUT_BASE_JSON_H


#include <stddef.h>
#include <stdint.h>


/*
 * Levels of arrays and objects that data may nest.  The messages around it add
 * up to five, and the strictest of common parsers takes 128.
 */

#define FANOUT_JSON_DEPTH      120


/* type of a value, > 0; NONE is a member that is missing */

#define FANOUT_JSON_NONE        0
#define FANOUT_JSON_OBJECT      1
#define FANOUT_JSON_ARRAY       2
#define FANOUT_JSON_STRING      3
#define FANOUT_JSON_NUMBER      4
#define FANOUT_JSON_TRUE        5
#define FANOUT_JSON_FALSE       6
#define FANOUT_JSON_NULL        7


/* errors, < 0 */

#define FANOUT_JSON_OK          0
#define FANOUT_JSON_INVALID    -1             /* not one JSON value */
#define FANOUT_JSON_UTF8       -2             /* not UTF-8 */
#define FANOUT_JSON_DEPTH_MAX  -3             /* nested too deeply */
#define FANOUT_JSON_TYPE       -4             /* the value has another type */
#define FANOUT_JSON_DUPLICATE  -5             /* a wanted member is there
                                                 twice */
#define FANOUT_JSON_TOO_MANY   -6             /* more items than allowed */
#define FANOUT_JSON_TOO_LONG   -7             /* a string over its limit */
#define FANOUT_JSON_SURROGATE  -8             /* half a surrogate pair */
#define FANOUT_JSON_RANGE      -9             /* not an integer of 64 bits */
#define FANOUT_JSON_NO_MEMORY  -10
#define FANOUT_JSON_UNKNOWN    -11            /* a member that is not wanted */


/* a value as it was sent, without whitespace around it; len 0 is NONE */

typedef struct {
    const uint8_t  *data;
    size_t          len;
} fanout_json_t;


/* why a text was refused; set on errors only */

typedef struct {
    size_t          at;           /* byte of the text, from 0 */
    char            reason[88];   /* ASCII, ends with NUL, has the position */
} fanout_json_error_t;


/* a wanted member: its name (plain ASCII), and the place for its value */

typedef struct {
    const char     *name;
    size_t          len;
    size_t          offset;       /* of a fanout_json_t in the caller's
                                     struct */
} fanout_json_field_t;

#define fanout_json_field(name, type, member)                                 \
    { name, sizeof(name) - 1, offsetof(type, member) }

/* the rows of a table */

#define fanout_nelts(a)  (sizeof(a) / sizeof((a)[0]))


typedef struct {
    const uint8_t  *pos;
    const uint8_t  *end;
    uint8_t         close;        /* the closing byte: ']' or '}' */
    uint8_t         started;
} fanout_json_iter_t;


/*
 * Validates a text, and returns its type (> 0) or an error.  "value" gets the
 * text without the whitespace around it.  "depth" is the number of levels
 * allowed (a scalar has 0), "err" may be NULL.
 *
 * Errors: INVALID, UTF8, DEPTH_MAX, NO_MEMORY.
 */
int fanout_json_check(const uint8_t *text, size_t len, unsigned depth,
    fanout_json_t *value, fanout_json_error_t *err);

/*
 * The same for any number of levels, which "levels" gets: a scalar has 0.
 * Memory for yajl grows by a byte for each.
 *
 * Errors: INVALID, UTF8, NO_MEMORY.
 */
int fanout_json_levels(const uint8_t *text, size_t len, fanout_json_t *value,
    unsigned *levels, fanout_json_error_t *err);

/* Returns the levels of a value. */
unsigned fanout_json_depth(const fanout_json_t *value);

/*
 * Reads the wanted members of an object into the fanout_json_t's at their
 * offsets in "dst".  Missing members become NONE.  Names are compared after
 * unescaping.
 *
 * OK or TYPE (not an object), DUPLICATE, UNKNOWN, INVALID.  With DUPLICATE and
 * UNKNOWN, whose reason names the member, all known members have been read.
 * "err" may be NULL; its position counts from the start of the object.
 */
int fanout_json_members(const fanout_json_t *object,
    const fanout_json_field_t *fields, unsigned n, void *dst,
    fanout_json_error_t *err);

/* Finds the field of a member's name, which is compared after unescaping; NULL:
 * none has it. */
const fanout_json_field_t *fanout_json_field_find(
    const fanout_json_field_t *fields, unsigned n, const fanout_json_t *key);

/*
 * Sets err for a member that is UNKNOWN or a DUPLICATE, as rc says, and returns
 * rc: key is its name with the quotes, at its byte of the text.
 */
int fanout_json_fail_member(fanout_json_error_t *err, int rc, size_t at,
    const fanout_json_t *key);

/*
 * Skips a byte order mark at the start of a text, where it is an error
 * otherwise: for the output of backends, many of which write one (RFC 8259,
 * section 8.1, lets a reader ignore it).
 */
void fanout_json_skip_mark(const uint8_t **text, size_t *len);

/*
 * fanout_json_check() and fanout_json_members() for a text that has to be an
 * object.  Any error of either.
 */
int fanout_json_object(const uint8_t *text, size_t len, unsigned depth,
    const fanout_json_field_t *fields, unsigned n, void *dst,
    fanout_json_error_t *err);

/*
 * Splits an array into its items, at most "max"; "items" may be NULL to count
 * only.  "n" gets their number, which is "max" with TOO_MANY.
 *
 * OK or TYPE (not an array), TOO_MANY, INVALID.
 */
int fanout_json_array(const fanout_json_t *array, fanout_json_t *items,
    size_t max, size_t *n);

/*
 * Starts a walk over an object or an array.  OK or TYPE.
 */
int fanout_json_iter(fanout_json_iter_t *it, const fanout_json_t *value);

/*
 * Reads the next item: 1, or 0 at the end, or INVALID.  "key" gets the member's
 * name as a string value, with quotes and escapes; NONE in an array; it may be
 * NULL.
 */
int fanout_json_next(fanout_json_iter_t *it, fanout_json_t *key,
    fanout_json_t *value);

/*
 * Returns the type of a value, by its first byte.
 */
int fanout_json_type(const fanout_json_t *value);

/*
 * Unescapes a string into "dst" of "size" bytes.  "len" gets its length in
 * bytes of UTF-8.  No NUL is added; NULs may be inside.  With dst NULL the
 * string is only measured, still limited to "size".  The result is never longer
 * than value->len - 2, and "dst" may be the bytes of the value themselves, from
 * their start or from behind the quote; the value is overwritten then.
 *
 * OK or TYPE (not a string), TOO_LONG (over size), SURROGATE, INVALID.
 */
int fanout_json_string(const fanout_json_t *value, uint8_t *dst, size_t size,
    size_t *len);

/*
 * The same without a copy where none is needed: "text" is the bytes between the
 * quotes if nothing is escaped, else the string unescaped to "buf".  It is
 * limited to "size" in both cases.  Errors as above.  An empty string has len 0
 * and data set.
 */
int fanout_json_text(const fanout_json_t *value, uint8_t *buf, size_t size,
    fanout_json_t *text);

/*
 * Reads an integer, in any spelling: 12, 12.0 and 1.2e1 are the same.
 *
 * OK or TYPE (not a number), RANGE (a fraction, or over 64 bits), INVALID.
 */
int fanout_json_int(const fanout_json_t *value, int64_t *n);

/*
 * Reads true and false as 1 and 0.  OK or TYPE.
 */
int fanout_json_bool(const fanout_json_t *value, int *flag);

/*
 * Removes the whitespace between the tokens of a value, and writes "\ufffd" for
 * each half of a surrogate pair ("\ud800"); everything else is kept byte for
 * byte.  "dst" has room for "len" bytes and may be "src".  Returns the number
 * of bytes written.
 */
size_t fanout_json_minify(uint8_t *dst, const uint8_t *src, size_t len);

/*
 * Returns the number of bytes that fanout_json_escape() writes.
 */
size_t fanout_json_escape_len(const uint8_t *src, size_t len);

/*
 * Writes bytes as the inside of a JSON string, without the quotes, and returns
 * their end.  Bytes that are not UTF-8 become U+FFFD, one for each maximal
 * subpart (Unicode 15, section 3.9); U+2028 and U+2029 are escaped, because
 * they end a line in older JavaScript.
 */
uint8_t *fanout_json_escape(uint8_t *dst, const uint8_t *src, size_t len);

/*
 * Returns a short description of an error code; static.
 */
const char *fanout_json_strerror(int code);


#endif /* FANOUT_BASE_JSON_H */
