
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Changes of a record as clients and the HTTP API send them: "set", "unset",
 * "append", "base" and "mode".
 */


#ifndef FANOUT_HUB_RECORD_DECODE_H
#define FANOUT_HUB_RECORD_DECODE_H


#include "hub/hub.h"
#include "base/json.h"
#include "zone/record.h"


/*
 * Decodes changes of one kind (FANOUT_FIELD_SET and APPEND: an object, UNSET:
 * an array of names) behind the *n that are there, of FANOUT_ZONE_FIELDS.  The
 * bytes of the value are overwritten, and the changes point into them.
 *
 * NONE; BAD_REQUEST: why says what is wrong until the next call; TOO_MANY:
 * there are more than FANOUT_ZONE_FIELDS.
 */
fanout_error_e fanout_record_decode(fanout_zone_change_t *changes,
    ngx_uint_t *n, uint8_t op, fanout_json_t *value, ngx_str_t *why);

/* Checks that no field is named twice.  NONE, BAD_REQUEST with why. */
fanout_error_e fanout_record_once(const fanout_zone_change_t *changes,
    ngx_uint_t n, ngx_str_t *why);

/* The mode (FANOUT_MERGE, …) of this name.  NONE, BAD_REQUEST with why. */
fanout_error_e fanout_record_mode(const ngx_str_t *name, ngx_uint_t *mode,
    ngx_str_t *why);

/* Sets base and mode of a set; base is NULL and mode too if they are not
 * given.  NONE, BAD_REQUEST with why. */
fanout_error_e fanout_record_base(fanout_zone_set_t *set,
    const uint64_t *base, const ngx_uint_t *mode, ngx_str_t *why);


#endif /* FANOUT_HUB_RECORD_DECODE_H */
