
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A worker's turn: it wakes, reads the log, delivers and sends.  One hub is
 * driven by it; of several zones each has its own.
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

/* Does what others want of sessions of this worker. */
void fanout_worker_orders(fanout_hub_t *hub);

/* The zone lost everything: registers again what lives here, and resets the
 * subscribers. */
void fanout_worker_rebuilt(fanout_hub_t *hub);


#endif /* FANOUT_WORKER_WORKER_H */
