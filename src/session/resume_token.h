
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The resume token: "r_", the id of a client and its secret, both in hex.
 */


#ifndef FANOUT_SESSION_RESUME_TOKEN_H
#define FANOUT_SESSION_RESUME_TOKEN_H


#include "hub/hub.h"


#define FANOUT_TOKEN_LEN  (2 + 16 + 32)


/* The token of a request, in the header Fanout-Resume or behind
 * "fanout.resume." among the subprotocols: 1, or 0 if there is none. */
ngx_uint_t fanout_token_read(ngx_http_request_t *r, fanout_identity_t *id);

/* Writes FANOUT_TOKEN_LEN bytes; returns the end. */
u_char *fanout_token_write(u_char *p, fanout_identity_t *id);


#endif /* FANOUT_SESSION_RESUME_TOKEN_H */
