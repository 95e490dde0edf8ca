
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The body of a call.
 */


#ifndef FANOUT_HOOK_BODY_H
#define FANOUT_HOOK_BODY_H


#include "hub/hub.h"


/* Ends the list in f, behind its last comma, and the object around it.  body is
 * a copy of f, to be freed by ngx_free().  NGX_ERROR on lack of memory. */
ngx_int_t fanout_body_end(fanout_hub_t *hub, fanout_outbuf_t *f,
    ngx_str_t *body);


#endif /* FANOUT_HOOK_BODY_H */
