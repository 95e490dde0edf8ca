
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Sets and deletes of records: keys, shares and log entries of both.  The lock
 * must be held for all functions.
 */


#ifndef FANOUT_ZONE_RECORD_LOG_H
#define FANOUT_ZONE_RECORD_LOG_H


#include "zone/publish.h"
#include "zone/record_plan.h"


/* Makes room for a key, and for n blocks of records.  May commit: call it at
 * the start of a transaction. */
void fanout_record_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts, uint32_t n);

/* Looks up the key of a change.  OK, with r->log.duplicate and the result of
 * then if it is known; HELD, ADDRESS, FULL. */
int fanout_record_key(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, const fanout_zone_publish_t *opts,
    fanout_zone_set_result_t *r);

/* Checks whether a change may take what it needs of the shares: OK; FULL, which
 * is counted; ADDRESS. */
int fanout_record_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_plan_t *plan);

/* Ensures n blocks, and those of what every change may need.  OK; AGAIN if
 * something was evicted, and all has to be looked up again; FULL, STALE. */
int fanout_record_ensure(fanout_zone_t *z, const fanout_zone_channel_t *c,
    uint32_t n);

/* Appends the entry, which d has if it is staged (d may be NULL).  r gets the
 * position. */
void fanout_record_append(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, fanout_draft_t *d,
    fanout_zone_set_result_t *r);

/* Stores the key of a change with its result. */
void fanout_record_keep_key(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_publish_t *opts, const fanout_zone_set_result_t *r);

/* Gives r the position of a channel, which may be missing. */
void fanout_record_position(fanout_zone_t *z, fanout_ref_t channel,
    fanout_zone_result_t *r);


#endif /* FANOUT_ZONE_RECORD_LOG_H */
