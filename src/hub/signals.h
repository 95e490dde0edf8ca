
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Signals that a channel keeps for subscribers which can't take them now: the
 * latest for each (client, event, tag), up to FANOUT_SIGNALS_KEPT, for
 * FANOUT_KEPT ms at most.
 */


#ifndef FANOUT_HUB_SIGNALS_H
#define FANOUT_HUB_SIGNALS_H


#include "hub/hub.h"


#define FANOUT_SIGNALS_KEPT    256          /* kept for a channel */
#define FANOUT_KEPT            15000        /* ms; more than "every" */


/* a kept signal; its strings follow it */

typedef struct {
    ngx_queue_t         queue;
    ngx_msec_t          at;
    size_t              size;
    fanout_entry_t      entry;
    fanout_outbuf_t    *outbufs[FANOUT_FORMATS];
} fanout_kept_t;


/* Keeps a copy of a signal, in place of the previous one with its client,
 * event, tag and recipient.  If there is no room, older signals are dropped, or
 * this one; that is counted. */
void fanout_signals_keep(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e);

/* Drops all that a channel keeps. */
void fanout_signals_clear(fanout_hub_t *hub, fanout_channel_t *ch);


#endif /* FANOUT_HUB_SIGNALS_H */
