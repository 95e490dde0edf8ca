
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Pressure: what is evicted, and in which order, when the heap has no free
 * block.
 */


#include "zone/format.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/pressure.h"
#include "zone/seen.h"
#include "zone/share.h"


#define FANOUT_EVICT_STEP     16        /* entries evicted in a step */
#define FANOUT_EVICT_SMALL    4         /* bucket of histories below 8 blocks */


static int pressure_attainable(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_exceeds(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_relieve(fanout_zone_t *z, const fanout_need_t *need);
static void pressure_full(fanout_zone_t *z, const fanout_need_t *need);

static int pressure_purged(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_expired(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_signals(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_stalled(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_seen(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_unheard(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_history(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_mail(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_lingering(fanout_zone_t *z, const fanout_need_t *need);
static int pressure_unread(fanout_zone_t *z, const fanout_need_t *need);

static int pressure_sessions(fanout_zone_t *z, unsigned ranks);
static int pressure_account(fanout_zone_t *z, uint32_t account);


/* in the order of eviction */

static const fanout_reclaimer_t  pressure_order[] = {
    { "purged history",      pressure_purged,    1 },
    { "expired",             pressure_expired,   0 },
    { "signals",             pressure_signals,   0 },
    { "stalled streams",     pressure_stalled,   0 },
    { "seen",                pressure_seen,      1 },
    { "unheard sessions",    pressure_unheard,   0 },
    { "history",             pressure_history,   1 },
    { "mail",                pressure_mail,      0 },
    { "lingering sessions",  pressure_lingering, 0 },
    { "streams",             pressure_unread,   0 },
    { NULL,                  NULL,               0 }
};


const fanout_owner_t  fanout_zone_owner = {
    pressure_order,
    pressure_attainable,
    pressure_exceeds,
    pressure_relieve,
    pressure_full,
    fanout_zone_reformat
};


int
fanout_history_fits(fanout_zone_t *z, uint32_t account, uint32_t n)
{
    fanout_need_t  need;

    need.n = n;
    need.account = account;

    return z->shm->heap.nfree >= n && !pressure_exceeds(z, &need);
}


int
fanout_ensure_history(fanout_zone_t *z, uint32_t account, uint32_t n)
{
    fanout_need_t  need;

    need.n = n;
    need.account = account;

    return fanout_history_fits(z, account, n) ? FANOUT_ZONE_OK
                                            : fanout_ensure_need(z, &need);
}


static int
pressure_attainable(fanout_zone_t *z, const fanout_need_t *need)
{
    return need->n <= fanout_share_attainable(z->shm, need->account)
           && !fanout_account_exceeds(z->shm, need->account, need->n);
}


/* the account would be above its limit */

static int
pressure_exceeds(fanout_zone_t *z, const fanout_need_t *need)
{
    fanout_shm_t           *shm;
    fanout_zone_account_t  *c;

    if (need->account >= FANOUT_ACCOUNTS) {
        return 0;
    }

    shm = z->shm;
    c = &shm->accounts[need->account];

    return c->max < shm->heap.nblocks && c->blocks + need->n > c->max;
}


static int
pressure_relieve(fanout_zone_t *z, const fanout_need_t *need)
{
    return pressure_account(z, need->account);
}


static void
pressure_full(fanout_zone_t *z, const fanout_need_t *need)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    z->full = fanout_account_exceeds(shm, need->account, need->n)
              ? FANOUT_FULL_ACCOUNT : FANOUT_FULL_ZONE;
    fanout_set(z, shm->full, shm->full + 1);
}


/* the reclaimers: each evicts a step, and returns 1 if there was any */

static int
pressure_purged(fanout_zone_t *z, const fanout_need_t *need)
{
    return fanout_purged_free(z);
}


static int
pressure_expired(fanout_zone_t *z, const fanout_need_t *need)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    if (fanout_channel_sweep(z) == FANOUT_ZONE_AGAIN || shm->heap.nlimbo) {
        return 1;
    }

    /* the sweep may have filled the journal */
    fanout_commit(z);

    if (fanout_key_sweep(z) == FANOUT_ZONE_AGAIN
        || fanout_identity_sweep(z) == FANOUT_ZONE_AGAIN
        || shm->heap.nlimbo)
    {
        return 1;
    }

    fanout_commit(z);

    return fanout_mail_sweep(z) == FANOUT_ZONE_AGAIN
           || fanout_signal_sweep(z) == FANOUT_ZONE_AGAIN
           || shm->heap.nlimbo;
}


static int
pressure_signals(fanout_zone_t *z, const fanout_need_t *need)
{
    return fanout_share_excess(z->shm, FANOUT_SHARE_signals)
           && fanout_signal_evict(z);
}


static int
pressure_stalled(fanout_zone_t *z, const fanout_need_t *need)
{
    return z->shm->held > z->shm->held_max && fanout_unread_drop(z);
}


static int
pressure_seen(fanout_zone_t *z, const fanout_need_t *need)
{
    return fanout_seen_evict(z);
}


static int
pressure_unheard(fanout_zone_t *z, const fanout_need_t *need)
{
    return pressure_sessions(z, FANOUT_RANK_UNHEARD + 1);
}


static int
pressure_history(fanout_zone_t *z, const fanout_need_t *need)
{
    uint32_t  account;

    account = fanout_account_worst(z->shm, need->account, need->n);

    return account != FANOUT_ACCOUNTS && pressure_account(z, account);
}


static int
pressure_mail(fanout_zone_t *z, const fanout_need_t *need)
{
    return fanout_share_excess(z->shm, FANOUT_SHARE_mail)
           && fanout_mail_evict(z);
}


static int
pressure_lingering(fanout_zone_t *z, const fanout_need_t *need)
{
    return pressure_sessions(z, FANOUT_RANKS);
}


static int
pressure_unread(fanout_zone_t *z, const fanout_need_t *need)
{
    return fanout_unread_drop(z);
}


static int
pressure_sessions(fanout_zone_t *z, unsigned ranks)
{
    return fanout_share_excess(z->shm, FANOUT_SHARE_sessions)
           && fanout_identity_evict(z, ranks);
}


/* Evicts the oldest entries of the largest history of an account, or, if all
 * histories are small, the channel that has been idle for longest. */

static int
pressure_account(fanout_zone_t *z, uint32_t account)
{
    uint32_t                i, n;
    fanout_ref_t            ref;
    fanout_shm_t           *shm;
    fanout_zone_account_t  *c;

    shm = z->shm;

    for (i = FANOUT_BUCKETS; i > 0; i--) {

        if (i < FANOUT_EVICT_SMALL && shm->idle_first[account]) {
            break;
        }

        ref = shm->bucket[account][i - 1];

        if (ref == 0) {
            continue;
        }

        n = fanout_channel(z, ref)->history;

        if (n > FANOUT_EVICT_STEP) {
            n = FANOUT_EVICT_STEP;
        }

        c = &shm->accounts[account];
        fanout_set(z, c->evicted, c->evicted + n);
        fanout_set(z, shm->evicted, shm->evicted + n);
        fanout_history_drop(z, ref, n);

        return 1;
    }

    if (shm->idle_first[account] == 0) {
        return 0;
    }

    fanout_channel_evict_idle(z, account);

    return 1;
}
