
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Large sets of records: the entry and the fields are written in sections of
 * their own, before the section that links them.
 */


#ifndef FANOUT_ZONE_RECORD_STAGE_H
#define FANOUT_ZONE_RECORD_STAGE_H


#include "zone/publish.h"
#include "zone/record_plan.h"


#define FANOUT_STAGED_ENTRY   0         /* the drafts of a slot */
#define FANOUT_STAGED_FIELDS  1
#define FANOUT_STAGED_PARTS   2

typedef struct {
    fanout_slot_t       *slot;
    fanout_draft_t       drafts[FANOUT_STAGED_PARTS];
    unsigned             parts;         /* without new fields, there is only
                                           the entry */

    /* of each change with a field of its own */

    fanout_ref_t         first[FANOUT_ZONE_FIELDS];
    fanout_ref_t         last[FANOUT_ZONE_FIELDS];

    /* what the plan is based on */

    fanout_ref_t         record;
    uint32_t             records;       /* of the channel */
    uint64_t             version;
} fanout_record_stage_t;


/* The field that a change makes. */
void fanout_plan_text(const fanout_plan_t *plan, unsigned i,
    fanout_field_text_t *text);

/* Returns 1 if a change makes a new field. */
static inline int
fanout_plan_makes(const fanout_plan_t *plan, unsigned i)
{
    return plan->steps[i].step == FANOUT_STEP_APPLY
           && !plan->steps[i].in_place;
}

/* Returns the blocks of all new fields. */
uint32_t fanout_plan_new(const fanout_plan_t *plan);

/* Writes the entry and the new fields of a plan, in sections of its own: the
 * lock must not be held.  OK, FULL, STALE; after an error nothing is staged. */
int fanout_record_stage(fanout_zone_t *z, uint32_t account,
    const fanout_plan_t *plan, const fanout_zone_message_t *m,
    fanout_record_stage_t *s);

/* Remembers what a plan is based on; compares it.  The lock must be held. */
void fanout_record_based(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_stage_t *s);
int fanout_record_same(fanout_zone_t *z, const fanout_plan_t *plan,
    const fanout_record_stage_t *s);

/* Takes the field of a change out of what is staged.  The lock must be held. */
fanout_ref_t fanout_record_staged(fanout_zone_t *z, fanout_record_stage_t *s,
    unsigned i);

/* Takes the rest out, and lists nothing in the slot any more. */
void fanout_record_unlist(fanout_zone_t *z, fanout_record_stage_t *s);


#endif /* FANOUT_ZONE_RECORD_STAGE_H */
