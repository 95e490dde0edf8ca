
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Shares of the zone.  See "Pressure" in docs/architecture.md.
 */


#include "zone/log.h"
#include "zone/share.h"
#include "zone/shelf.h"


static uint64_t bound(fanout_shm_t *shm, unsigned share);
static uint32_t lingering(fanout_shm_t *shm, unsigned share);
static uint32_t evictable(fanout_shm_t *shm, unsigned share);
static void bounds_of(const fanout_shm_t *shm,
    const fanout_zone_share_t *share, uint32_t *min, uint32_t *max);
static int has_any(fanout_shm_t *shm, uint32_t account);


void
fanout_part_move(fanout_zone_t *z, fanout_ref_t channel, uint32_t account)
{
    int32_t                  n;
    fanout_ref_t             ref;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);
    n = fanout_channel_blocks(ch->name_len);

    for (ref = ch->interests; ref; ref = fanout_interest(z, ref)->next) {
        n++;
    }

    fanout_part_add(z, FANOUT_SHARE_channels, ch->account, -n);
    fanout_part_add(z, FANOUT_SHARE_channels, account, n);

    if (cold->keys) {
        n = cold->keys;
        fanout_part_add(z, FANOUT_SHARE_keys, ch->account, -n);
        fanout_part_add(z, FANOUT_SHARE_keys, account, n);
    }

    if (fanout_shelf_of(z, channel)) {
        fanout_shelf_account(z, fanout_shelf_of(z, channel), account);
    }
}


uint32_t
fanout_share_used(fanout_shm_t *shm, unsigned share)
{
    switch (share) {

    case FANOUT_SHARE_channels:
        return shm->in_use + shm->heap.used[FANOUT_INTERESTS];

    case FANOUT_SHARE_keys:
        return shm->heap.used[FANOUT_KEYS];

    case FANOUT_SHARE_members:
        return shm->heap.used[FANOUT_PRESENCE_SET]
               + shm->heap.used[FANOUT_MEMBERS];

    case FANOUT_SHARE_records:
        return shm->heap.used[FANOUT_RECORDS] + shm->heap.used[FANOUT_LOCKS];

    case FANOUT_SHARE_sessions:
        return shm->heap.used[FANOUT_IDENTITIES] + shm->heap.used[FANOUT_SEATS]
               + shm->heap.used[FANOUT_ADDRESSES];

    case FANOUT_SHARE_mail:
        return shm->heap.used[FANOUT_MAIL] + shm->mail_blocks;

    case FANOUT_SHARE_signals:
        return shm->heap.used[FANOUT_SIGNALS];

    default: /* FANOUT_SHARE_events */
        return shm->heap.used[FANOUT_EVENTS];
    }
}


uint32_t
fanout_share_excess(fanout_shm_t *shm, unsigned share)
{
    uint32_t  used;

    used = fanout_share_used(shm, share);

    return used > shm->shares[share].min ? used - shm->shares[share].min : 0;
}


int
fanout_share_blocked(fanout_shm_t *shm, unsigned share, uint32_t account,
    uint32_t n)
{
    return fanout_share_bounded(shm, share, account,
                                n) || fanout_share_promised(shm, share, n);
}


int
fanout_share_claim(fanout_zone_t *z, unsigned share, uint32_t account,
    uint32_t n)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    if (!fanout_share_blocked(shm, share, account, n)) {
        return FANOUT_ZONE_OK;
    }

    fanout_set(z, shm->refused[share], shm->refused[share] + 1);
    z->full = share;

    return FANOUT_ZONE_FULL;
}


int
fanout_share_bounded(fanout_shm_t *shm, unsigned share, uint32_t account,
    uint32_t n)
{
    return n > fanout_share_left(shm, share, account);
}


/* An account may have FANOUT_SHARE_ALPHA times what is left when it has n
 * more. */

uint32_t
fanout_share_left(fanout_shm_t *shm, unsigned share, uint32_t account)
{
    uint64_t  left, part;

    left = fanout_share_used(shm, share);

    if (left >= shm->shares[share].max) {
        return 0;
    }

    left = shm->shares[share].max - left;

    if (share < FANOUT_PARTS && shm->shares[share].max < shm->heap.nblocks) {
        left *= FANOUT_SHARE_ALPHA;
        part = shm->part[share][account];
        left = left > part ? (left - part) / (FANOUT_SHARE_ALPHA + 1) : 0;
    }

    return left;
}


int
fanout_share_promised(fanout_shm_t *shm, unsigned share, uint32_t n)
{
    if (fanout_share_used(shm, share) + n <= shm->shares[share].min) {
        return 0;
    }

    return bound(shm, share) + n >= shm->heap.nblocks;
}


/* Returns the blocks in use, without histories and channels not in use, and
 * those guaranteed to other shares and histories. */

static uint64_t
bound(fanout_shm_t *shm, unsigned share)
{
    uint32_t  used, min;
    uint64_t  sum;
    unsigned  i;

    sum = (uint64_t) shm->held + shm->heap.used[FANOUT_STAGED]
          + shm->heap.used[FANOUT_DENIALS] + shm->kept_min;

    for (i = 0; i < FANOUT_NSHARES; i++) {
        used = fanout_share_used(shm, i);
        min = i == share ? 0 : shm->shares[i].min;
        sum += used > min ? used : min;
    }

    return sum;
}


uint32_t
fanout_share_spare(fanout_shm_t *shm, unsigned share)
{
    uint32_t  used, left;
    uint64_t  sum;

    sum = bound(shm, share) - lingering(shm, share);
    left = sum < shm->heap.nblocks ? shm->heap.nblocks - 1 - sum : 0;

    used = fanout_share_used(shm, share);

    return used + left < shm->shares[share].min
           ? shm->shares[share].min - used : left;
}


/* Returns the blocks of sessions that fanout_share_room() may evict for a
 * share. */

static uint32_t
lingering(fanout_shm_t *shm, unsigned share)
{
    uint32_t  n, excess;

    n = shm->heap.used[FANOUT_IDENTITIES] + shm->heap.used[FANOUT_SEATS]
        - shm->holding;
    excess = fanout_share_excess(shm, FANOUT_SHARE_sessions);

    return share == FANOUT_SHARE_sessions || n < excess ? n : excess;
}


uint32_t
fanout_share_attainable(fanout_shm_t *shm, uint32_t account)
{
    uint32_t                      i;
    uint64_t                      sum;
    const fanout_zone_account_t  *c;

    sum = shm->heap.used[FANOUT_STAGED] + shm->heap.used[FANOUT_DENIALS];

    for (i = 0; i < FANOUT_NSHARES; i++) {
        sum += fanout_share_used(shm, i) - evictable(shm, i);
    }

    for (i = 0; i < FANOUT_ACCOUNTS; i++) {
        c = &shm->accounts[i];

        if (i != account) {
            sum += c->blocks < c->min ? c->blocks : c->min;
        }
    }

    return sum < shm->heap.nblocks - 1 ? shm->heap.nblocks - 1 - sum : 0;
}


/* An upper limit: the blocks of lingering clients are not counted by share. */

static uint32_t
evictable(fanout_shm_t *shm, unsigned share)
{
    switch (share) {

    case FANOUT_SHARE_mail:
    case FANOUT_SHARE_signals:
        return fanout_share_excess(shm, share);

    case FANOUT_SHARE_members:
    case FANOUT_SHARE_sessions:
    case FANOUT_SHARE_channels:
        return shm->nlingering ? fanout_share_excess(shm, share) : 0;

    default:
        return 0;
    }
}


uint32_t
fanout_account_worst(fanout_shm_t *shm, uint32_t account, uint32_t n)
{
    int64_t                       most, above;
    uint32_t                      i, worst;
    const fanout_zone_account_t  *c;

    most = 0;
    worst = FANOUT_ACCOUNTS;

    for (i = 0; i < FANOUT_ACCOUNTS; i++) {
        c = &shm->accounts[i];

        if (c->blocks == 0) {
            continue;
        }

        above = (int64_t) (c->blocks - c->min + (i == account ? n : 0));

        if (above > most && has_any(shm, i)) {
            most = above;
            worst = i;
        }
    }

    return worst;
}


static int
has_any(fanout_shm_t *shm, uint32_t account)
{
    unsigned  i;

    if (shm->idle_first[account]) {
        return 1;
    }

    for (i = 0; i < FANOUT_BUCKETS; i++) {
        if (shm->bucket[account][i]) {
            return 1;
        }
    }

    return 0;
}


void
fanout_zone_bound(fanout_zone_t *z, const fanout_zone_shares_t *shares)
{
    uint32_t                i, min, max;
    fanout_shm_t           *shm;
    fanout_zone_account_t  *c;

    (void) fanout_enter(z);

    shm = z->shm;

    if (!fanout_newest(z)) {
        /* an old worker: the limits of the newer configuration stay */
        fanout_leave(z);
        return;
    }

    for (i = 0; i < FANOUT_NSHARES; i++) {
        bounds_of(shm, &shares->kinds[i], &min, &max);
        fanout_set(z, shm->shares[i].min, min);
        fanout_set(z, shm->shares[i].max, max);
    }

    fanout_set(z, shm->address_max, shares->address
                                    ? shares->address
                                    : FANOUT_ZONE_WHOLE);
    fanout_set(z, shm->user_max, shares->user ? shares->user
                                              : FANOUT_ZONE_WHOLE);
    fanout_set(z, shm->kept_min, 0);

    for (i = 0; i < FANOUT_ACCOUNTS; i++) {
        bounds_of(shm, &shares->accounts[i], &min, &max);
        c = &shm->accounts[i];
        fanout_set(z, c->min, min);
        fanout_set(z, c->max, max);
        fanout_set(z, shm->kept_min, shm->kept_min + min);
    }

    fanout_leave(z);
}


/* in blocks; without a limit the maximum is the whole zone */

static void
bounds_of(const fanout_shm_t *shm, const fanout_zone_share_t *share,
    uint32_t *min, uint32_t *max)
{
    uint64_t  whole;

    whole = shm->heap.nblocks;

    *min = whole * share->min / FANOUT_ZONE_WHOLE;
    *max = share->max ? whole * share->max / FANOUT_ZONE_WHOLE
                      : whole;
}
