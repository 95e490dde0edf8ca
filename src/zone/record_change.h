
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How a set or a delete is done: in one section of the lock, or, if what it
 * writes is more than a section should, staged in several.
 */


#ifndef FANOUT_ZONE_RECORD_CHANGE_H
#define FANOUT_ZONE_RECORD_CHANGE_H


#include "zone/record_log.h"
#include "zone/record_stage.h"


typedef struct {

    /* Looks all up, and says what is to be done: OK; AGAIN if there is nothing
     * to do, or an error. */
    int           (*decide)(fanout_zone_t *z, fanout_zone_channel_t *c,
                      fanout_zone_set_result_t *r);

    /* Looks all up again after what was decided is staged: OK, with
     * r->log.duplicate if it was done meanwhile, or an error. */
    int           (*find)(fanout_zone_t *z, fanout_zone_channel_t *c,
                      fanout_zone_set_result_t *r);

    /* makes the message of the entry */
    void          (*message)(fanout_zone_t *z, const fanout_plan_t *plan,
                      fanout_zone_message_t *m);

    /* Does it, with what is staged, or without (NULL): OK; FULL, ADDRESS if a
     * share has not what it needs, and nothing is done. */
    int           (*link)(fanout_zone_t *z, fanout_zone_channel_t *c,
                      const fanout_zone_message_t *m,
                      fanout_record_stage_t *staged,
                      fanout_zone_set_result_t *r);

    uint32_t        few;                /* blocks to make room for at first */
} fanout_change_t;


/* Makes a change of the plan; large: its entry is surely long.  The lock must
 * not be held.  OK; FULL, STALE, or what the functions return. */
int fanout_record_change(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change, int large,
    fanout_zone_set_result_t *r);


#endif /* FANOUT_ZONE_RECORD_CHANGE_H */
