
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Holders: how much of the zone the clients of an address hold, so that one
 * address can't lock out all others.  Budgets only limit how fast it gets
 * there.
 *
 * An address may have a part of what the others leave of a share: with a part
 * of a half it gets at most half of an empty share, two such addresses get a
 * third each, and there is always something left for an address that holds
 * little.  The rest of a share is limited to what the channel's account may
 * have, and to what the zone has, because the maxima of all shares may add up
 * to more than the zone: addresses alone fill neither an account nor the zone.
 * Lingering sessions are not counted, because they are evicted when others need
 * their blocks.
 *
 * A channel in use counts for the holder that brought it into use, until it is
 * not in use any more, whoever has joined it meanwhile.  An interest in it
 * counts for the holder of the first client that joined it on that worker.  A
 * holder at its limit can still join channels in use, up to half of the rest:
 * its clients may come back on another worker, which has no interest yet.
 *
 * Of a record, its head counts for the holder that made it, and each field for
 * the one that changed it last: so nobody's blocks are made by others.  A claim
 * to a lock counts with the blocks of the lock, held or in line, for the holder
 * that asked, until it ends.  Their tables are not counted.
 *
 * Keys are also counted by sender: the user, or the clients of an address
 * without a user.  So a user is limited across addresses, and can't use up the
 * limit of other users of the same address.
 *
 * Counts are in a table that is indexed by the hash of the address: two
 * addresses share a place now and then.  The table is linked state: it must be
 * right as long as the zone exists.
 */


#include "zone/share.h"


static int holder_claim(fanout_zone_t *z, unsigned share, uint32_t account,
    unsigned holder, uint32_t part, uint32_t n);
static uint32_t holder_left(fanout_zone_t *z, unsigned share, uint32_t account);
static inline uint32_t least(uint32_t a, uint32_t b);
static int within(uint64_t own, uint64_t left, uint32_t part, uint32_t n);
static uint32_t *holder_blocks(fanout_zone_t *z, unsigned share,
    unsigned holder);


unsigned
fanout_holder(fanout_zone_t *z, uint64_t address)
{
    unsigned  n;

    n = address & z->shm->holder_mask;

    return address && n == 0 ? 1 : n;
}


void
fanout_holder_add(fanout_zone_t *z, unsigned share, unsigned holder,
    int32_t n)
{
    uint32_t  *blocks;

    blocks = holder_blocks(z, share, holder);

    fanout_set(z, *blocks, *blocks + n);

    if (share == FANOUT_SHARE_sessions) {
        fanout_set(z, z->shm->holding, z->shm->holding + n);
    }
}


int
fanout_holder_claim(fanout_zone_t *z, unsigned share, uint32_t account,
    unsigned holder, uint32_t n)
{
    return holder_claim(z, share, account, holder, z->shm->address_max, n);
}


int
fanout_holder_join(fanout_zone_t *z, uint32_t account,
    unsigned holder)
{
    uint32_t  part;

    part = z->shm->address_max;
    part += (FANOUT_ZONE_WHOLE - part) / 2;

    return holder_claim(z, FANOUT_SHARE_channels, account, holder, part, 1);
}


/* part: of what the others leave */

static int
holder_claim(fanout_zone_t *z, unsigned share, uint32_t account,
    unsigned holder, uint32_t part, uint32_t n)
{
    return holder == 0
           || within(*holder_blocks(z, share, holder),
                     holder_left(z, share, account), part, n)
           ? FANOUT_ZONE_OK : FANOUT_ZONE_MANY;
}


/* Returns the blocks that are left for all. */

static uint32_t
holder_left(fanout_zone_t *z, unsigned share, uint32_t account)
{
    uint32_t       left;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (share != FANOUT_SHARE_sessions) {
        left = fanout_share_left(shm, share, account);

    } else {
        left = shm->shares[share].max > shm->holding
               ? shm->shares[share].max - shm->holding : 0;
    }

    return least(left, fanout_share_spare(shm, share));
}


/* Blocks that the holder takes from another may be more than are left: they are
 * then too many. */

int
fanout_holder_take(fanout_zone_t *z, unsigned share, uint32_t account,
    unsigned holder, uint32_t n)
{
    n = least(n, holder_left(z, share, account));

    return fanout_holder_claim(z, share, account, holder, n);
}


void
fanout_sender_add(fanout_zone_t *z, unsigned sender, int32_t n)
{
    fanout_sender_t  *s;

    s = fanout_sender(z, sender);

    fanout_set(z, s->keys, s->keys + n);
}


int
fanout_sender_claim(fanout_zone_t *z, uint32_t account, unsigned sender,
    uint32_t n)
{
    uint32_t       left;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (sender == 0) {
        return FANOUT_ZONE_OK;
    }

    left = least(fanout_share_left(shm, FANOUT_SHARE_keys, account),
                 fanout_share_spare(shm, FANOUT_SHARE_keys));

    return within(fanout_sender(z, sender)->keys, left, shm->user_max, n)
           ? FANOUT_ZONE_OK : FANOUT_ZONE_MANY;
}


static inline uint32_t
least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}


/* Returns 1 if n more are within a part of what others leave.  What others
 * leave is what this one has, and what is left for all. */

static int
within(uint64_t own, uint64_t left, uint32_t part, uint32_t n)
{
    return part >= FANOUT_ZONE_WHOLE
           || own == 0 || n > left
           || (own + n) * FANOUT_ZONE_WHOLE <= (own + left) * part;
}


static uint32_t *
holder_blocks(fanout_zone_t *z, unsigned share, unsigned holder)
{
    fanout_holder_t  *h;

    h = fanout_holder_at(z, holder);

    switch (share) {

    case FANOUT_SHARE_channels:
        return &h->channels;

    case FANOUT_SHARE_sessions:
        return &h->sessions;

    case FANOUT_SHARE_members:
        return &h->members;

    case FANOUT_SHARE_records:
        return &h->records;

    default: /* FANOUT_SHARE_keys */
        return &h->keys;
    }
}
