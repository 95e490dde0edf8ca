
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Budgets of users and addresses, and the sessions of an address.  The lock
 * must be held for all of it.
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
 * What is owed to a budget: it grows by what is taken and shrinks with time.
 * Outside of the journal: see zone/budget.c.
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

/* Forgets up to a step of those of a dead slot; whether there are more. */
int fanout_address_orphan(fanout_zone_t *z, unsigned slot);


#endif /* FANOUT_ZONE_BUDGET_H */
