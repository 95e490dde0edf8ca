
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The owner of the heap: what is evicted when no block is free.  See "Pressure"
 * in docs/architecture.md.
 */


#ifndef FANOUT_ZONE_PRESSURE_H
#define FANOUT_ZONE_PRESSURE_H


#include "zone/layout.h"


/* Passed to the heap at the attach.  The account of a need is that of the
 * channels whose history needs the blocks. */
extern const fanout_owner_t  fanout_zone_owner;


/* The same as fanout_ensure(), for the history of an account of channels. */
int fanout_ensure_history(fanout_zone_t *z, uint32_t account, uint32_t n);

/* Returns 1 if n blocks can be taken as it is, without evicting anything. */
int fanout_history_fits(fanout_zone_t *z, uint32_t account, uint32_t n);


#endif /* FANOUT_ZONE_PRESSURE_H */
