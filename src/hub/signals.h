
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Signals that a channel keeps for subscribers which can't take them now: the
 * latest of each (client, event, tag), a few, for a short while.
 */


#ifndef FANOUT_HUB_SIGNALS_H
#define FANOUT_HUB_SIGNALS_H


#include "hub/hub.h"


#define FANOUT_SIGNALS_KEPT    256          /* kept for a channel */
#define FANOUT_KEPT            15000        /* ms; more than "every" */


/* one that is kept; its strings follow it */

typedef struct {
    ngx_queue_t         queue;
    ngx_msec_t          at;
    size_t              size;
    fanout_entry_t      entry;
    fanout_outbuf_t    *outbufs[FANOUT_FORMATS];
} fanout_kept_t;


/* Keeps a signal, a copy of it, instead of the one that it follows.  Older ones
 * are dropped where room is missing, or it is itself: this is counted. */
void fanout_signals_keep(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e);

/* Drops all that a channel keeps. */
void fanout_signals_clear(fanout_hub_t *hub, fanout_channel_t *ch);


#endif /* FANOUT_HUB_SIGNALS_H */
