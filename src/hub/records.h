
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on records.
 */


#ifndef FANOUT_HUB_RECORDS_H
#define FANOUT_HUB_RECORDS_H


#include "hub/hub.h"
#include "zone/record.h"


/* limits that a change goes beyond: a name, and its directive's parameter; see
 * fanout_records_limit() */

typedef struct {
    const char               *name;
    const char               *directive;
    ngx_uint_t                max;
} fanout_records_limit_t;


/* Whether the policy of a channel has records. */
ngx_uint_t fanout_records_served(fanout_hub_t *hub, ngx_str_t *channel);

/*
 * Changes a record; see fanout_record_set().  conflicts gets the fields in
 * conflict, of a partial success too: .n is 0 if there are none.  It is valid
 * until the next call of these functions.
 *
 * NONE, CONFLICT, NOT_FOUND, TOO_LARGE, TOO_MANY (see fanout_records_limit()),
 * and as fanout_hub_publish() ZONE_FULL, RATE_LIMITED, ADDRESS_FULL, INTERNAL.
 */
fanout_error_e fanout_records_set(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_set_t *set, fanout_zone_set_result_t *r,
    fanout_records_t **conflicts);

/* Deletes a record; the same errors. */
fanout_error_e fanout_records_delete(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_set_t *set, fanout_zone_set_result_t *r);

/* The limit that a set was refused for with TOO_LARGE or TOO_MANY. */
void fanout_records_limit(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_error_e error, const fanout_zone_set_result_t *r,
    fanout_records_limit_t *limit);

/* Reads a record: NONE, NOT_FOUND.  *to is valid until the next call. */
fanout_error_e fanout_records_get(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zstr_t *id, fanout_records_t **to);

/* Reads a section of the records whose ids begin with prefix, at most max, from
 * *cursor on, which is 0 at the beginning and the end, up to the slot last, 0:
 * all.  *to is valid until the next call. */
void fanout_records_list(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zstr_t *prefix, uint64_t *cursor, uint64_t last, ngx_uint_t max,
    fanout_records_t **to);

/* Digests the records from the slot first up to last (0: the end), with the
 * epoch of the channel: both are those of a list as long as nothing has
 * changed.  *to is valid until the next call. */
void fanout_records_digest(fanout_hub_t *hub, ngx_str_t *channel,
    uint64_t first, uint64_t last, fanout_records_t **to);

/* Reads a section of the history of a record into hub->pages; see
 * fanout_record_history(), whose result it returns.  *left is how many entries
 * the caller still looks at, at first FANOUT_RECORDS_LOOK: with 0 it goes on
 * another time. */
#define FANOUT_RECORDS_LOOK  4096

int fanout_records_history(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zstr_t *id, uint64_t epoch, uint64_t *before, ngx_uint_t max,
    ngx_uint_t *left);

/* Deletes a step of a channel's records without telling it: purge the channel
 * afterwards.  FANOUT_ZONE_OK, or AGAIN if there are more. */
int fanout_records_clear(fanout_hub_t *hub, ngx_str_t *channel);


#endif /* FANOUT_HUB_RECORDS_H */
