
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "hub/policy.h"
#include "base/pattern.h"



#define PERCENT  (FANOUT_ZONE_WHOLE / 100)


fanout_policy_t *
fanout_policy(fanout_app_t *app, ngx_str_t *channel)
{
    ngx_uint_t        i;
    fanout_policy_t  *policy;

    policy = app->policies.elts;

    for (i = 0; i < app->policies.nelts; i++) {
        if (fanout_pattern_match(policy[i].pattern.data,
                                 policy[i].pattern.len, channel->data,
                                 channel->len))
        {
            return &policy[i];
        }
    }

    return &app->none;
}


/* The guaranteed part of the history that no policy claims is divided evenly
 * between the policies without share=; the last of them is app->none. */

void
fanout_shares(fanout_app_t *app, fanout_zone_shares_t *shares)
{
    uint32_t              even;
    ngx_uint_t            i, n;
    fanout_policy_t      *policy;
    fanout_zone_share_t  *s;

    ngx_memzero(shares, sizeof(fanout_zone_shares_t));

    for (i = 0; i < FANOUT_NSHARES; i++) {
        shares->kinds[i].min = app->shares[i].min * PERCENT;
        shares->kinds[i].max = app->shares[i].max * PERCENT;
    }

    shares->address = app->address_max * PERCENT;
    shares->user = app->user_max * PERCENT;

    policy = app->policies.elts;
    n = 1;

    for (i = 0; i < app->policies.nelts; i++) {
        n += !policy[i].shares;
    }

    even = (app->history_min - app->history_said) * PERCENT / n;

    /* policies beyond the number of accounts share the last account */

    for (i = 0; i <= app->policies.nelts; i++) {
        policy = i < app->policies.nelts
                 ? (fanout_policy_t *) app->policies.elts + i
                 : &app->none;

        s = &shares->accounts[policy->keep.account];

        if (policy->shares) {
            s->min += policy->share.min * PERCENT;
            s->max = ngx_max(s->max, policy->share.max * PERCENT);

        } else {
            s->min += even;
            s->max = FANOUT_ZONE_WHOLE;
        }
    }
}
