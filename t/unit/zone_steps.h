/*
 * What the models of a zone share: the numbers that their operations are drawn
 * from, how many were done, and what was wrong first.
 */


#ifndef _ZONE_STEPS_H_INCLUDED_
#define _ZONE_STEPS_H_INCLUDED_


#include "zone_util.h"


typedef struct {
    uint32_t           (*next)(void *data);
    void                *data;
    uint32_t             n;             /* done */
    char                 error[512];
} steps_t;

/* the input of a fuzzer, as .data */

typedef struct {
    const uint8_t       *p;
    const uint8_t       *last;
} input_t;


/* Of a model with its steps as .s: a number below n; what has to be, or the
 * function returns -1; a call that returns 0, likewise. */

#define draw(m, n)  ((m)->s.next((m)->s.data) % (n))

#define want(m, cond, ...)                                                    \
    if (!(cond)) {                                                            \
        steps_fail(&(m)->s, __LINE__, #cond, __VA_ARGS__);                    \
        return -1;                                                            \
    }

#define pass(call)                                                            \
    if (call) {                                                               \
        return -1;                                                            \
    }


void steps_fail(steps_t *s, int line, const char *cond, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* .next of a seed, an uint64_t, and of an input: two bytes a number; what
 * follows from the last ones is zero */
uint32_t from_seed(void *data);
uint32_t from_input(void *data);

/* Ends a fuzzer if something was wrong. */
void demand(steps_t *s, int rc);

/* Makes a zone of 1 MB for a run of a fuzzer. */
void *zone_of_input(uint32_t slots);

/* Whether the zone is sound; whether as many blocks are free: 0, -1. */
int steps_check(steps_t *s, zone_t *z);
int steps_free(steps_t *s, zone_t *z, uint64_t blocks);


#endif /* _ZONE_STEPS_H_INCLUDED_ */
