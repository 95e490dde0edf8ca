
/*
 * Objects that are decoded by tables of the members that they may have.
 *
 * fanout_json_split() finds the members of an object and those of an envelope,
 * which says by what table the others are decoded.  fanout_json_match() puts
 * their values in the order of that table.  An object that does not match is
 * looked at again by fanout_json_find() and fanout_json_split_check(), for what
 * is wrong with it.
 *
 * The object is valid JSON, see json.h, and unchanged as long as its split is
 * used.  No state, no locks; nothing is owned.
 */


#ifndef FANOUT_BASE_JSON_TABLE_H
#define FANOUT_BASE_JSON_TABLE_H


#include "base/json.h"


/* Members that a split keeps: more than a table and an envelope can have, so
 * that one of these is wrong if there are still others. */

#define FANOUT_JSON_PAIRS  32

/* bytes of the longest name in a table */

#define FANOUT_JSON_NAME   32


/* Rows of any struct that begins with a fanout_json_field_t, whose offset is
 * for the caller alone. */

typedef struct {
    const fanout_json_field_t  *fields;         /* of the first row */
    size_t                      size;           /* of a row, in bytes */
    unsigned                    n;
} fanout_json_table_t;

typedef struct {
    fanout_json_t               key;            /* as sent, with the quotes */
    fanout_json_t               name;           /* unescaped, or len 0 if it is
                                                   longer than any */
    fanout_json_t               value;
    unsigned                    enveloped;      /* it is of the envelope */
} fanout_json_pair_t;

typedef struct {
    const fanout_json_t        *object;
    unsigned                    n;
    unsigned                    repeated;       /* a member of the envelope is
                                                   there twice */
    fanout_json_pair_t          pairs[FANOUT_JSON_PAIRS];
    uint8_t                     names[FANOUT_JSON_PAIRS + 1][FANOUT_JSON_NAME];
} fanout_json_split_t;


/*
 * Finds the members of an object.  "values" gets those of the envelope in the
 * order of its table, NONE if they are not there; they are found also behind
 * the last member that is kept.
 */
void fanout_json_split(fanout_json_split_t *split, const fanout_json_t *object,
    const fanout_json_table_t *envelope, fanout_json_t *values);

/*
 * Puts the values of all members but the envelope's in the order of a table,
 * NONE for those that are not there.  Returns 1, or 0 if the object has a
 * member that the table does not have, or one twice.
 */
int fanout_json_match(const fanout_json_split_t *split,
    const fanout_json_table_t *table, fanout_json_t *values);

/*
 * Both in one for an object without an envelope, of which nobody asks what is
 * wrong with it.  Returns 0 also if it is no object.
 */
int fanout_json_values(const fanout_json_t *object,
    const fanout_json_table_t *table, fanout_json_t *values);

/*
 * The row of a name, or table->n.
 */
unsigned fanout_json_find(const fanout_json_table_t *table,
    const fanout_json_t *name);

/*
 * Reports the first member that is not known by its name to the caller, or is
 * there twice.  OK, or UNKNOWN or DUPLICATE with the reason in err.
 */
int fanout_json_split_check(const fanout_json_split_t *split,
    int (*known)(const fanout_json_t *name), fanout_json_error_t *err);


#endif /* FANOUT_BASE_JSON_TABLE_H */
