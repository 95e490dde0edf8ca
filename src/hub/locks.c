
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on locks.
 */


#include "hub/locks.h"


/* bytes of strings in a list: what a section copies */
#define LOCKS_BYTES  32768


static ngx_uint_t locks_again(fanout_hub_t *hub, int rc);


/* strings of the last lock, and of the last list */

static u_char              locks_buf[FANOUT_ZONE_LOCK_BUF];
static u_char              locks_bytes[LOCKS_BYTES];
static fanout_lock_list_t  locks_listed;


uint32_t
fanout_locks_served(fanout_hub_t *hub, ngx_str_t *channel)
{
    return fanout_policy(hub->app, channel)->keep.locks;
}


uint32_t
fanout_locks_ttl(fanout_hub_t *hub, ngx_str_t *channel)
{
    uint32_t  longest;

    longest = fanout_locks_served(hub, channel);

    return ngx_min(longest, FANOUT_LOCK_TTL);
}


/* the zone may have been rebuilt in the meantime */

static ngx_uint_t
locks_again(fanout_hub_t *hub, int rc)
{
    if (rc != FANOUT_ZONE_STALE
        || hub->zone.heap.incarnation == hub->incarnation)
    {
        return 0;
    }

    hub->sink.rebuilt(hub);

    return 1;
}


fanout_error_e
fanout_locks_take(fanout_hub_t *hub, ngx_str_t *channel, uint32_t ref,
    const fanout_identity_t *id, const fanout_zone_lock_t *req,
    uint64_t token, fanout_locked_t *to)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    ngx_memzero(to, sizeof(fanout_locked_t));

    fanout_spend(hub, FANOUT_WORK_MESSAGE);
    fanout_hub_view(hub, channel, &zc);

    rc = fanout_lock_take(&hub->zone, &zc, ref, id, req, token, &to->lock,
                          locks_buf, &to->renewed, &to->limit);

    if (locks_again(hub, rc)) {
        fanout_hub_view(hub, channel, &zc);

        rc = fanout_lock_take(&hub->zone, &zc, ref, id, req, token, &to->lock,
                              locks_buf, &to->renewed, &to->limit);
    }

    fanout_hub_kick(hub);

    switch (rc) {

    case FANOUT_ZONE_AGAIN:
        to->waits = 1;
        return FANOUT_E_LOCKED;

    case FANOUT_ZONE_NOTFOUND:
        return FANOUT_E_NOT_JOINED;

    default:
        return fanout_error_of(hub, rc);
    }
}


fanout_error_e
fanout_locks_wait(fanout_hub_t *hub, ngx_str_t *channel, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *name,
    ngx_uint_t give_up, fanout_locked_t *to)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    ngx_memzero(to, sizeof(fanout_locked_t));

    fanout_spend(hub, FANOUT_WORK_SECTION);
    fanout_hub_view(hub, channel, &zc);

    rc = fanout_lock_wait(&hub->zone, &zc, ref, id, name, give_up, &to->lock,
                          locks_buf);

    switch (rc) {

    case FANOUT_ZONE_OK:
        return FANOUT_E_NONE;

    case FANOUT_ZONE_AGAIN:
        to->waits = 1;
        return FANOUT_E_LOCKED;

    case FANOUT_ZONE_LOCKED:
        return FANOUT_E_LOCKED;

    default:
        return FANOUT_E_NOT_HOLDER;
    }
}


fanout_error_e
fanout_locks_drop(fanout_hub_t *hub, ngx_str_t *channel, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *name, uint64_t token)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    fanout_spend(hub, FANOUT_WORK_MESSAGE);
    fanout_hub_view(hub, channel, &zc);

    rc = fanout_lock_drop(&hub->zone, &zc, ref, id, name, token);

    fanout_hub_kick(hub);

    switch (rc) {

    case FANOUT_ZONE_OK:
        return FANOUT_E_NONE;

    case FANOUT_ZONE_NOTFOUND:
        return id ? FANOUT_E_NOT_HOLDER : FANOUT_E_NOT_FOUND;

    case FANOUT_ZONE_CONFLICT:
    case FANOUT_ZONE_STALE:
        return FANOUT_E_NOT_HOLDER;

    default:
        return fanout_error_of(hub, rc);
    }
}


fanout_lock_list_t *
fanout_locks_list(fanout_hub_t *hub, ngx_str_t *channel, uint64_t *cursor,
    ngx_uint_t max)
{
    ngx_uint_t             i;
    fanout_lock_list_t    *to;
    fanout_zone_result_t   r;
    fanout_zone_channel_t  zc;

    to = &locks_listed;
    to->n = 0;
    to->bytes = 0;

    ngx_memzero(&r, sizeof(fanout_zone_result_t));

    fanout_hub_view(hub, channel, &zc);

    if (fanout_lock_list(&hub->zone, &zc, cursor, to->locks,
                         ngx_min(max, FANOUT_LOCK_LIST), locks_bytes,
                         sizeof(locks_bytes), &to->n, &r)
        != FANOUT_ZONE_OK)
    {
        to->n = 0;
        *cursor = 0;
    }

    to->epoch = r.epoch;
    to->offset = r.offset;

    for (i = 0; i < to->n; i++) {
        to->bytes += to->locks[i].name.len + to->locks[i].user.len
                     + to->locks[i].data.len;
    }

    fanout_spend(hub, FANOUT_WORK_SECTION + to->bytes
                      + to->n * FANOUT_WORK_ENTRY);

    return to;
}


void
fanout_locks_limit(fanout_hub_t *hub, ngx_str_t *channel, unsigned limit,
    fanout_records_limit_t *to)
{
    switch (limit) {

    case FANOUT_LOCK_CHANNEL:
        to->name = "locks";
        to->directive = "fanout_channel locks_max=";
        to->max = fanout_policy(hub->app, channel)->keep.locks_max;
        break;

    case FANOUT_LOCK_WAITERS:
        to->name = "waiters";
        to->directive = "clients that wait for a lock";
        to->max = FANOUT_ZONE_WAITERS;
        break;

    case FANOUT_LOCK_WAITS:
        to->name = "waits";
        to->directive = "locks that a client waits for on a channel";
        to->max = FANOUT_ZONE_WAITS;
        break;

    default:
        to->name = "held";
        to->directive = "locks that a client holds or waits for on a channel";
        to->max = FANOUT_ZONE_LOCKS;
    }
}
