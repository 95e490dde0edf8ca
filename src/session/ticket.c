
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "session/ticket.h"
#include "base/time.h"
#include "zone/denial.h"


const fanout_ticket_t *
fanout_ticket_on(const fanout_ticket_t *tickets, ngx_uint_t n,
    ngx_str_t *channel)
{
    const fanout_ticket_t  *t;

    while (n--) {
        t = &tickets[n];

        if (t->channel.len == channel->len
            && ngx_memcmp(t->name, channel->data, channel->len) == 0
            && (t->until == 0 || t->until > fanout_time()))
        {
            return t;
        }
    }

    return NULL;
}


ngx_uint_t
fanout_ticket_ops(const fanout_ticket_t *tickets, ngx_uint_t n,
    ngx_str_t *channel)
{
    const fanout_ticket_t  *t;

    t = fanout_ticket_on(tickets, n, channel);

    return t ? t->ops : 0;
}


ngx_uint_t
fanout_ticket_denied(fanout_hub_t *hub, ngx_str_t *user,
    const fanout_ticket_t *ticket)
{
    fanout_denial_t   d;
    fanout_subject_t  who;

    ngx_memzero(&who, sizeof(fanout_subject_t));

    who.tokened = 1;
    who.token = ticket->token;
    who.issued = ticket->issued;

    if (user->len) {
        who.user = fanout_zone_hash(&hub->zone, user->data, user->len);
    }

    return fanout_denial_check(&hub->zone, &who, &d);
}
