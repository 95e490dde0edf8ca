
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Limits of a user or an address: budgets, and sessions.  The rules of
 * zone/zone.h hold.
 */


#ifndef FANOUT_ZONE_LIMIT_H
#define FANOUT_ZONE_LIMIT_H


#include "zone/zone.h"


/*
 * Budgets: what one address or one user may ask for in a time, over all
 * workers.  See zone/budget.c.
 */

#define FANOUT_BUDGET_COMMANDS   0
#define FANOUT_BUDGET_BYTES      1              /* of blocks taken */
#define FANOUT_BUDGET_CHANNELS   2              /* made */
#define FANOUT_BUDGET_ANSWERS    3              /* bytes told */
#define FANOUT_BUDGET_SESSIONS   4              /* begun */
#define FANOUT_BUDGETS           5

/* all amounts are in thousandths of one */

typedef struct {
    uint64_t                    rate;       /* per ms, 0: unlimited */
    uint64_t                    burst;
    uint64_t                    debt;       /* beyond the burst, at most */
} fanout_zone_limit_t;

typedef struct {
    uint64_t                    key;        /* hash of who, and which limits */
    const fanout_zone_limit_t  *limits;     /* BUDGETS of them */
} fanout_zone_budget_t;

typedef struct {
    uint32_t                    wait[FANOUT_BUDGETS];
                                            /* ms until it is not above its
                                               burst, 0: it is not */
    uint8_t                     budget[FANOUT_BUDGETS];
                                            /* index of that with this wait */
    uint8_t                     over;       /* bit for each that is above */
} fanout_zone_drawn_t;

/*
 * Takes amounts (BUDGETS of them) from n budgets, at most 3, the narrowest
 * first.  check has a bit for each resource that must have room for its amount
 * in all of them: if one has none, nothing is taken, drawn tells of these, and
 * AGAIN is returned.  Otherwise OK: all is taken, and drawn tells what is above
 * its burst now.  What is above the burst of a budget is owed to it alone, up
 * to the debt of its limit: it is not taken from the budgets behind it.
 */
int fanout_budget_draw(fanout_zone_t *z, const fanout_zone_budget_t *budgets,
    unsigned n, const uint64_t *amounts, unsigned check,
    fanout_zone_drawn_t *drawn);


/*
 * Sessions of an address, a hash, over all workers.  A worker that dies takes
 * its own with it.
 */

/* Counts one more, unless there are max (0: any).  *ref is for the drop.  MANY;
 * FULL; STALE without a slot. */
int fanout_address_add(fanout_zone_t *z, uint64_t address, uint32_t max,
    uint32_t *ref);

/* One less.  Nothing if the zone was rebuilt since. */
void fanout_address_drop(fanout_zone_t *z, uint64_t address, uint32_t ref);


#endif /* FANOUT_ZONE_LIMIT_H */
