
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A ticket: the operations on one channel that a subscription token grants,
 * and until when.
 */


#ifndef FANOUT_SESSION_TICKET_H
#define FANOUT_SESSION_TICKET_H


#include "hub/hub.h"


typedef struct {
    ngx_str_t     channel;                      /* .data is name */
    ngx_uint_t    ops;                          /* FANOUT_MAY_* */
    uint64_t      until;                        /* ms of the epoch, 0: no end */
    uint64_t      token;                        /* hash of its jti, 0: none */
    uint32_t      issued;                       /* Unix s, 0: it does not say */
    u_char        name[FANOUT_NAME];
} fanout_ticket_t;


/* The last ticket of n on a channel that is still valid, or NULL. */
const fanout_ticket_t *fanout_ticket_on(const fanout_ticket_t *tickets,
    ngx_uint_t n, ngx_str_t *channel);

/* The ops that it grants, 0 without one. */
ngx_uint_t fanout_ticket_ops(const fanout_ticket_t *tickets, ngx_uint_t n,
    ngx_str_t *channel);

/* Whether the token of a ticket was revoked, or its user is shut out. */
ngx_uint_t fanout_ticket_denied(fanout_hub_t *hub, ngx_str_t *user,
    const fanout_ticket_t *ticket);


#endif /* FANOUT_SESSION_TICKET_H */
