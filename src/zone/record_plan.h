
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The plan of a set: all decisions are made before anything is written.  The
 * lock must be held for all functions.
 */


#ifndef FANOUT_ZONE_RECORD_PLAN_H
#define FANOUT_ZONE_RECORD_PLAN_H


#include "zone/shelf.h"


typedef enum {
    FANOUT_STEP_NOTHING = 0,            /* the field is like that already */
    FANOUT_STEP_APPLY,
    FANOUT_STEP_CONFLICT
} fanout_step_e;

/* one change of a set */

typedef struct {
    fanout_ref_t         field;         /* 0: there is none */
    unsigned             place;         /* of the field in the index */
    uint16_t             hash;          /* of the name */
    uint8_t              step;          /* fanout_step_e */
    uint8_t              in_place;      /* an append to an array that is
                                           there */
    uint8_t              flags;         /* FANOUT_FIELD_*, of a conflict */
} fanout_plan_step_t;

typedef struct {
    const fanout_zone_set_t     *set;
    const fanout_zone_policy_t  *policy;
    unsigned             holder;        /* that the change counts for */
    fanout_records_t            *to;    /* gets the fields in conflict */

    fanout_ref_t         channel;       /* 0: there is none */
    fanout_ref_t         shelf;         /* 0: there is none */
    fanout_ref_t         record;        /* 0: there is none */
    uint64_t             version;       /* that the change makes */
    unsigned             applied;
    unsigned             conflicts;

    int32_t              size;          /* bytes that the record gets more */
    int32_t              fields;        /* fields that it gets more */
    int32_t              unset;         /* fields kept as unset that it gets
                                           more; counted as it is applied */
    uint32_t             blocks;        /* most that the record gets more */
    int32_t              own;           /* that the holder gets more */

    fanout_plan_step_t   steps[FANOUT_ZONE_FIELDS];
    uint8_t              gone[FANOUT_FIELDS_MOST];
                                        /* whole: places to be unset */
    unsigned             ngone;
    fanout_field_index_t index;
} fanout_plan_t;


/*
 * Decides for each change.  OK: something is to be applied; AGAIN: there is
 * nothing to do; CONFLICT, with r->deleted or .unknown; NOTFOUND: the record
 * must exist; LARGE, or MANY with r->limit: the change goes beyond the policy.
 * After OK and CONFLICT to has the fields in conflict; r->version is the
 * record's.
 */
int fanout_plan_make(fanout_zone_t *z, fanout_plan_t *plan,
    fanout_records_t *to, fanout_zone_set_result_t *r);

/* Makes the message of the change: it is in static memory until the next
 * call. */
void fanout_plan_message(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_zone_message_t *m);

/* The same of a delete of plan->record. */
void fanout_plan_deleted(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_zone_message_t *m);


#endif /* FANOUT_ZONE_RECORD_PLAN_H */
