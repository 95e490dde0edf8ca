
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Budgets of users and addresses, and the sessions of an address.  The lock
 * must be held for all functions.
 */


#ifndef FANOUT_ZONE_BUDGET_H
#define FANOUT_ZONE_BUDGET_H


#include "zone/layout.h"
#include "zone/limit.h"


/* The sessions of an address on one worker, in the list of its slot. */

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         slot_next;
    fanout_ref_t         slot_prev;
    uint32_t             n;             /* never 0 */
    uint64_t             address;       /* hash */
    uint8_t              slot;
    uint8_t              unused[39];
} fanout_address_t;


/*
 * A budget is stored as the amount owed: it grows by what is drawn and shrinks
 * with time.  Outside of the journal, see zone/budget.c.
 */

typedef struct {
    uint64_t             key;           /* 0: never used */
    uint64_t             owed[FANOUT_BUDGETS];              /* 1/1000 */
    uint32_t             at;            /* ms of the zone's clock */
    uint32_t             full_at;       /* ms, nothing is owed from then on */
    uint64_t             unused[1];
} fanout_budget_t;

#define FANOUT_BUDGET_WAYS    4         /* entries of a set */


#define fanout_address(z, ref)  ((fanout_address_t *) fanout_at(z, ref))


/* addresses: see zone/budget.c */

/* Frees up to a step of the records of a dead slot.  Returns 1 if there are
 * more. */
int fanout_address_orphan(fanout_zone_t *z, unsigned slot);


#endif /* FANOUT_ZONE_BUDGET_H */
