
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A session that can't take more output lags: it catches up from the log later.
 */


#include "session/session.h"
#include "session/position.h"


void
fanout_session_lag(fanout_session_t *s)
{
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    if (s->state != FANOUT_OPEN) {
        return;
    }

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub->state == FANOUT_SUB_LIVE) {
            fanout_position_mark(sub);
            sub->state = FANOUT_SUB_BEHIND;
            sub->offset = ngx_max(sub->channel->offset, sub->floor);
        }
    }

    if (!s->behind) {
        fanout_count(s->hub, lags);
    }

    s->behind = 1;

    fanout_outbox_queue(s);
}


void
fanout_position_mark(fanout_subscription_t *sub)
{
    sub->sent = fanout_position_sent(sub);
}


uint64_t
fanout_position_sent(fanout_subscription_t *sub)
{
    uint64_t  seq;

    if (sub->state != FANOUT_SUB_LIVE) {
        return sub->sent;
    }

    seq = ngx_max(sub->seq, sub->channel->seq);

    return ngx_max(seq, sub->session->hub->safe);
}
