
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records expire.
 */


#ifndef FANOUT_ZONE_RECORD_SWEEP_H
#define FANOUT_ZONE_RECORD_SWEEP_H


#include "zone/layout.h"


/* Deletes records whose time is over, up to a step; AGAIN if there are more.
 * The lock must be held; commits. */
int fanout_record_sweep(fanout_zone_t *z);


#endif /* FANOUT_ZONE_RECORD_SWEEP_H */
