
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "session/may.h"
#include "base/time.h"


ngx_uint_t
fanout_session_may(fanout_session_t *s, ngx_uint_t ops, ngx_str_t *channel)
{
    fanout_grantee_t        who;
    fanout_subscription_t  *sub;

    if (fanout_permissions_check(s->permissions, ops, channel)) {
        return 1;
    }

    if (s->conf->asks == 0) {
        return 0;
    }

    sub = fanout_session_sub(s, channel);

    if (sub && (sub->granted & ops)
        && (sub->granted_until == 0 || sub->granted_until > fanout_time()))
    {
        return 1;
    }

    fanout_session_grantee(s, &who);

    return fanout_grants_check(s->conf->asked, &who, ops, channel) != 0;
}


void
fanout_session_grantee(fanout_session_t *s, fanout_grantee_t *who)
{
    who->user = s->user;
    who->client = s->identity.client;
    who->place = s->conf->app;
    who->connection = s->connection;
    who->holder = s->meter.user ? s->meter.user
                  : s->meter.address ? s->meter.address : 1;
}
