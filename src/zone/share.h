
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Shares of the zone: how much each kind of objects in use may take, and how
 * much of the histories an account of channels is guaranteed.  The lock must be
 * held for all functions.
 */


#ifndef FANOUT_ZONE_SHARE_H
#define FANOUT_ZONE_SHARE_H


#include "zone/layout.h"


/*
 * The objects that the clients of an address hold: live sessions with their
 * live seats, members, keys, channels that they brought into use, and records
 * and locks.
 * Addresses with the same holder are counted as one; holder 0 is for clients
 * without an address, and has no limit.  See zone/holder.c.
 */

typedef struct {
    uint32_t             sessions;      /* blocks */
    uint32_t             members;
    uint32_t             keys;
    fanout_ref_t         key_last;      /* by age, a ring */
    uint32_t             channels;
    uint32_t             records;       /* and locks */
} fanout_holder_t;


/*
 * The objects that a user holds, or the clients of an address that have no
 * user; else as a holder.  A sender that has mail is in a list with senders
 * that have about as much, except for sender 0.  See zone/mail_sender.c.
 */

typedef struct {
    uint32_t             keys;          /* blocks */
    uint32_t             mail;
    fanout_ref_t         mail_first;    /* by age */
    fanout_ref_t         mail_last;
    uint16_t             next;          /* number of a sender in the list, 0:
                                           none */
    uint16_t             prev;
    fanout_ref_t         key_last;      /* as of a holder */
} fanout_sender_t;


#define FANOUT_SHARE_ALPHA    4         /* an account may have so many times
                                           what is left of a share */


/* Adds to the blocks of an account that can be evicted; n may be negative. */
static inline void
fanout_account_add(fanout_zone_t *z, uint32_t account, int32_t n)
{
    fanout_set(z, z->shm->accounts[account].blocks,
               z->shm->accounts[account].blocks + n);
}

/* Adds to the blocks of an account within a share (channels, keys, members). */
static inline void
fanout_part_add(fanout_zone_t *z, unsigned share, uint32_t account, int32_t n)
{
    fanout_set(z, z->shm->part[share][account],
               z->shm->part[share][account] + n);
}

/* Moves the blocks of a channel in use in these shares to another account; call
 * it before the channel's account changes.  The presence set has the account of
 * the blocks of members. */
void fanout_part_move(fanout_zone_t *z, fanout_ref_t channel, uint32_t account);

/* Returns the blocks that a share has in use. */
uint32_t fanout_share_used(fanout_shm_t *shm, unsigned share);

/* Removes lingering clients, n at most, if their blocks prevent n more for a
 * share.  In transactions of its own: call it at the start of one. */
void fanout_share_room(fanout_zone_t *z, unsigned share, uint32_t n);

/* Returns 1 if n more blocks may not come into use.  fanout_share_claim()
 * counts the refusal too. */
int fanout_share_blocked(fanout_shm_t *shm, unsigned share, uint32_t account,
    uint32_t n);

/* Returns the blocks that an account may still take of a share, as far as
 * limits allow. */
uint32_t fanout_share_left(fanout_shm_t *shm, unsigned share, uint32_t account);

/* Returns the blocks that may come into use for a share, as far as the
 * guarantees of others allow, if all lingering objects are removed for them. */
uint32_t fanout_share_spare(fanout_shm_t *shm, unsigned share);

/* Checks whether n more blocks may come into use: OK, or FULL, which is
 * counted.  account is that of the channel where accounts divide the share, or
 * 0.  No block is taken: they must be ensured as well. */
int fanout_share_claim(fanout_zone_t *z, unsigned share, uint32_t account,
    uint32_t n);

/* Returns the holder for clients with this hash of an address (0: none). */
unsigned fanout_holder(fanout_zone_t *z, uint64_t address);

/* Adds n blocks of channels, sessions, members, keys or records to a holder; n
 * may be negative. */
void fanout_holder_add(fanout_zone_t *z, unsigned share, unsigned holder,
    int32_t n);

/* Checks whether a holder may have n more blocks of sessions, or of channels,
 * members, keys or records of an account: OK, or MANY.  OK also if the holder
 * has none, or if nobody may have n: then fanout_share_claim() refuses them. */
int fanout_holder_claim(fanout_zone_t *z, unsigned share, uint32_t account,
    unsigned holder, uint32_t n);

/* The same for n blocks for which fanout_share_claim() said OK, or which count
 * for another holder now: more than are left are MANY, too. */
int fanout_holder_take(fanout_zone_t *z, unsigned share, uint32_t account,
    unsigned holder, uint32_t n);

/* As fanout_holder_claim(), for an interest in a channel of an account that is
 * in use. */
int fanout_holder_join(fanout_zone_t *z, uint32_t account, unsigned holder);

/* The same for a sender (a number as of a holder), and keys. */
void fanout_sender_add(fanout_zone_t *z, unsigned sender, int32_t n);
int fanout_sender_claim(fanout_zone_t *z, uint32_t account, unsigned sender,
    uint32_t n);

static inline fanout_holder_t *
fanout_holder_at(fanout_zone_t *z, unsigned holder)
{
    return (fanout_holder_t *) ((uint8_t *) z->shm + z->shm->holders)
           + holder;
}

static inline fanout_sender_t *
fanout_sender(fanout_zone_t *z, unsigned sender)
{
    return (fanout_sender_t *) ((uint8_t *) z->shm + z->shm->senders)
           + sender;
}

/* Returns the blocks of a share above its guarantee. */
uint32_t fanout_share_excess(fanout_shm_t *shm, unsigned share);

/* Returns the most blocks that are possible for a history of an account, or for
 * anything else (ACCOUNTS), by evicting everything that can be evicted. */
uint32_t fanout_share_attainable(fanout_shm_t *shm, uint32_t account);

/* Returns 1 if n blocks are more than an account (ACCOUNTS: none) may ever
 * have. */
static inline int
fanout_account_exceeds(const fanout_shm_t *shm, uint32_t account, uint32_t n)
{
    return account < FANOUT_ACCOUNTS && n > shm->accounts[account].max;
}

/* Returns the account furthest above its guarantee that has something to evict,
 * with n more blocks in the given account (ACCOUNTS: in none); ACCOUNTS if
 * there is none. */
uint32_t fanout_account_worst(fanout_shm_t *shm, uint32_t account, uint32_t n);

/* Whether n more blocks are beyond what the share, or the account in it, may
 * have. */
int fanout_share_bounded(fanout_shm_t *shm, unsigned share, uint32_t account,
    uint32_t n);

/* Whether n more blocks would take what is guaranteed to other shares. */
int fanout_share_promised(fanout_shm_t *shm, unsigned share, uint32_t n);


#endif /* FANOUT_ZONE_SHARE_H */
