
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Limits of a user or an address: budgets, and sessions.  The rules of
 * zone/zone.h apply.
 */


#ifndef FANOUT_ZONE_LIMIT_H
#define FANOUT_ZONE_LIMIT_H


#include "zone/zone.h"


/*
 * Budgets: how much one address or one user may request in a time, over all
 * workers.  See zone/budget.c.
 */

#define FANOUT_BUDGET_COMMANDS   0
#define FANOUT_BUDGET_BYTES      1              /* of blocks taken */
#define FANOUT_BUDGET_CHANNELS   2              /* made */
#define FANOUT_BUDGET_ANSWERS    3              /* bytes of replies */
#define FANOUT_BUDGET_SESSIONS   4              /* begun */
#define FANOUT_BUDGETS           5

/* all amounts are in thousandths */

typedef struct {
    uint64_t                    rate;       /* per ms, 0: unlimited */
    uint64_t                    burst;
    uint64_t                    debt;       /* limit of what is owed beyond the
                                               burst */
} fanout_zone_limit_t;

typedef struct {
    uint64_t                    key;        /* hash of the address or user, and
                                               of the limits */
    const fanout_zone_limit_t  *limits;     /* BUDGETS of them */
} fanout_zone_budget_t;

typedef struct {
    uint32_t                    wait[FANOUT_BUDGETS];
                                            /* ms until it is within its burst
                                             * again, 0: it is */
    uint8_t                     budget[FANOUT_BUDGETS];
                                            /* index of the budget with this
                                             * wait */
    uint8_t                     over;       /* a bit for each resource above its
                                               burst */
} fanout_zone_drawn_t;

/*
 * Draws amounts (BUDGETS of them) from n budgets, at most 3, the narrowest
 * first.  check has a bit for each resource that must have room for its amount
 * in all budgets: if one has no room, nothing is drawn, drawn describes these
 * resources, and AGAIN is returned.  Otherwise all is drawn, drawn describes
 * the resources above their burst now, and OK is returned.  An amount above the
 * burst of a budget is owed to that budget alone, up to the debt of its limit:
 * the budgets behind it are not charged for it.
 */
int fanout_budget_draw(fanout_zone_t *z, const fanout_zone_budget_t *budgets,
    unsigned n, const uint64_t *amounts, unsigned check,
    fanout_zone_drawn_t *drawn);


/*
 * Sessions of an address (a hash), over all workers.  If a worker dies, its
 * sessions are no longer counted.
 */

/* Counts one more session, unless there are max (0: no limit).  *ref is for
 * fanout_address_drop().  OK; MANY; FULL; STALE without a slot. */
int fanout_address_add(fanout_zone_t *z, uint64_t address, uint32_t max,
    uint32_t *ref);

/* Counts one session less.  Does nothing if the zone was rebuilt since. */
void fanout_address_drop(fanout_zone_t *z, uint64_t address, uint32_t ref);


#endif /* FANOUT_ZONE_LIMIT_H */
