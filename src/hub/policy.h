
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Policies of channels.
 */


#ifndef FANOUT_HUB_POLICY_H
#define FANOUT_HUB_POLICY_H


#include "hub/app.h"


/* The policy of a channel: the first whose pattern matches, or app->none. */
fanout_policy_t *fanout_policy(fanout_app_t *app, ngx_str_t *channel);

/* Fills in the shares of the zone as configured, once all policies have their
 * keep.account. */
void fanout_shares(fanout_app_t *app, fanout_zone_shares_t *shares);


#endif /* FANOUT_HUB_POLICY_H */
