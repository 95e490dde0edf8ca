/*
 * A model of the locks of a channel, with the random operations of two workers
 * on both.
 */


#ifndef _ZONE_LOCK_MODEL_H_INCLUDED_
#define _ZONE_LOCK_MODEL_H_INCLUDED_


#include "zone_lock.h"
#include "zone_steps.h"


typedef struct {
    steps_t    s;
    unsigned   pressure:1;              /* the zone is full at times */

    uint32_t   grants, passes, renewals, conflicts, expired, timeouts, revived,
               gaps, full;
} lock_model_t;

extern lock_model_t  lm;

/* Begins with an empty zone; .s.next and .data must be set. */
void lm_init(void *mem, size_t size);

/* One operation: 0, -1 with .s.error. */
int lm_step(void);

/* Compares the zone with the model, and what was told about it; the invariants
 * now and then, or always. */
int lm_check(int invariants);

/* All ends, and nothing is left. */
int lm_done(void);


#endif /* _ZONE_LOCK_MODEL_H_INCLUDED_ */
