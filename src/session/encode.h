
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Runs: consecutive entries of a channel, encoded for one format.
 */


#ifndef FANOUT_SESSION_ENCODE_H
#define FANOUT_SESSION_ENCODE_H


#include "hub/hub.h"


#define FANOUT_SPAN  256                        /* entries of a run, at most */

typedef struct {
    fanout_outbuf_t  *outbuf;                   /* NULL: not encoded, or no
                                                   memory */
    uint32_t          ends[FANOUT_SPAN];         /* of each entry, in outbuf */
} fanout_run_t;


/* Encodes n entries into runs[format].  A deflated run is made from the plain
 * one, runs[base of format], which is made if its outbuf is NULL.  On lack of
 * memory the outbuf of the run is NULL. */
void fanout_encode_run(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, ngx_uint_t n, ngx_uint_t format, fanout_run_t *runs);


#endif /* FANOUT_SESSION_ENCODE_H */
