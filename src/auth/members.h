
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Members of the JSON objects of tokens and keys.  All functions take values
 * that fanout_json_check() validated.
 */


#ifndef FANOUT_AUTH_MEMBERS_H
#define FANOUT_AUTH_MEMBERS_H


#include "base/json.h"


#define FANOUT_AUTH_DEPTH  32           /* levels of a header, claims, a set */
#define FANOUT_AUTH_TEXT   1024         /* bytes of a text that is compared */


/*
 * Reads members as fanout_json_members(), and ignores others: OK, TYPE,
 * DUPLICATE or INVALID.
 */
int fanout_auth_members(const fanout_json_t *object,
    const fanout_json_field_t *fields, unsigned n, void *dst);

/* Compares a value with a text: 1 if it is this string, unescaped, and has at
 * most FANOUT_AUTH_TEXT bytes. */
int fanout_auth_equals(const fanout_json_t *value, const fanout_json_t *text);

/*
 * Reads a number in any spelling, rounded down: OK, TYPE, or RANGE (beyond
 * 2^53, from where on common parsers of JSON round).
 */
int fanout_auth_seconds(const fanout_json_t *value, int64_t *n);


#endif /* FANOUT_AUTH_MEMBERS_H */
