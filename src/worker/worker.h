
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A worker's turn: it wakes, reads the log, delivers and sends.  It drives one
 * hub; each zone has its own.
 */


#ifndef FANOUT_WORKER_WORKER_H
#define FANOUT_WORKER_WORKER_H


#include "hub/hub.h"


/* Called in the worker, see the module's process hooks. */

/* Makes the hub of a zone, claims a slot, starts reading.  NGX_ERROR. */
ngx_int_t fanout_worker_init(fanout_app_t *app, ngx_cycle_t *cycle);

/* Gives the slot back; the process is about to exit. */
void fanout_worker_exit(fanout_app_t *app);


/* for the worker alone */

/* Sets the handlers of the hub's events, starts its clock, and listens to the
 * eventfd of its slot.  NGX_ERROR. */
ngx_int_t fanout_loop_init(fanout_hub_t *hub, ngx_cycle_t *cycle);

/* Executes orders of other workers, and of the API, for sessions of this
 * worker. */
void fanout_worker_orders(fanout_hub_t *hub);

/* The zone was rebuilt empty: registers the channels, sessions and members of
 * this worker again, and resets the subscribers. */
void fanout_worker_rebuilt(fanout_hub_t *hub);


#endif /* FANOUT_WORKER_WORKER_H */
