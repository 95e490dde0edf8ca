
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Shares of the zone: how much each kind of what is in use may take, and how
 * much of the histories a class of channels is guaranteed.  The lock must be
 * held for all of it.
 */


#ifndef FANOUT_ZONE_SHARE_H
#define FANOUT_ZONE_SHARE_H


#include "zone/layout.h"


/*
 * What the clients of an address hold: live sessions with their live seats,
 * members, keys, and channels that they brought into use.  Addresses that share
 * a holder are taken for one; holder 0 is of those without an address, and has
 * no limit.  See zone/holder.c.
 */

typedef struct {
    uint32_t             sessions;      /* blocks */
    uint32_t             members;
    uint32_t             keys;
    fanout_ref_t         key_last;      /* by age, a ring */
    uint32_t             channels;
} fanout_holder_t;


/*
 * What a user holds, or the clients of an address that have none; else as a
 * holder.  One that has mail is in a list with those that have about as much,
 * but for sender 0.  See zone/mail_sender.c.
 */

typedef struct {
    uint32_t             keys;          /* blocks */
    uint32_t             mail;
    fanout_ref_t         mail_first;    /* by age */
    fanout_ref_t         mail_last;
    uint16_t             next;          /* number in the list, 0 */
    uint16_t             prev;
    fanout_ref_t         key_last;      /* as of a holder */
} fanout_sender_t;


#define FANOUT_SHARE_ALPHA    4         /* a class may have so many times what
                                           is left of a share */


/* Blocks of a class that can be evicted: more, or less. */
static inline void
fanout_class_add(fanout_zone_t *z, uint32_t class, int32_t n)
{
    fanout_set(z, z->shm->classes[class].blocks,
               z->shm->classes[class].blocks + n);
}

/* Blocks of a class within a share (channels, keys, members). */
static inline void
fanout_part_add(fanout_zone_t *z, unsigned share, uint32_t class, int32_t n)
{
    fanout_set(z, z->shm->part[share][class], z->shm->part[share][class] + n);
}

/* What a channel in use has of the shares becomes another class's, before it
 * does; what of members, its presence set knows. */
void fanout_part_move(fanout_zone_t *z, fanout_ref_t channel, uint32_t class);

/* Blocks that a share has in use. */
uint32_t fanout_share_used(fanout_shm_t *shm, unsigned share);

/* Gives up clients that linger, n at most, if their blocks stand in the way
 * of n more for a share.  In transactions of its own: to be called at the
 * start of one. */
void fanout_share_room(fanout_zone_t *z, unsigned share, uint32_t n);

/* Whether n blocks more may not come into use; the same, counted, below. */
int fanout_share_blocked(fanout_shm_t *shm, unsigned share, uint32_t class,
    uint32_t n);

/* Blocks that a class may still take of a share, as far as maxima go. */
uint32_t fanout_share_left(fanout_shm_t *shm, unsigned share, uint32_t class);

/* Blocks that may come into use for a share, as far as the guarantees of others
 * go, if all is given up for it that lingers. */
uint32_t fanout_share_spare(fanout_shm_t *shm, unsigned share);

/* Whether n blocks more may come into use: OK, or FULL, which is counted.
 * class is that of the channel, where classes divide the share, else 0.  It
 * takes none: they must be ensured as well. */
int fanout_share_claim(fanout_zone_t *z, unsigned share, uint32_t class,
    uint32_t n);

/* What clients with this hash of an address (0: none) hold counts for. */
unsigned fanout_holder(fanout_zone_t *z, uint64_t address);

/* A holder has n blocks more, or less, of channels, sessions, members or
 * keys. */
void fanout_holder_add(fanout_zone_t *z, unsigned share, unsigned holder,
    int32_t n);

/* Whether a holder may have n blocks more of sessions, or of channels, members
 * or keys of a class: OK, or MANY.  OK also if it has none, or if nobody may
 * have n: that is for fanout_share_claim() to say. */
int fanout_holder_claim(fanout_zone_t *z, unsigned share, uint32_t class,
    unsigned holder, uint32_t n);

/* The same for an interest in a channel of a class that is in use. */
int fanout_holder_join(fanout_zone_t *z, uint32_t class, unsigned holder);

/* The same for a sender, by the same number, of keys. */
void fanout_sender_add(fanout_zone_t *z, unsigned sender, int32_t n);
int fanout_sender_claim(fanout_zone_t *z, uint32_t class, unsigned sender,
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

/* Blocks that a share is above its guarantee. */
uint32_t fanout_share_excess(fanout_shm_t *shm, unsigned share);

/* Most blocks that can be had for a history of a class, or for anything else
 * (CLASSES), by evicting all that may be. */
uint32_t fanout_share_attainable(fanout_shm_t *shm, uint32_t class);

/* Whether n blocks are more than a class (CLASSES: none) may ever have. */
static inline int
fanout_class_exceeds(const fanout_shm_t *shm, uint32_t class, uint32_t n)
{
    return class < FANOUT_CLASSES && n > shm->classes[class].max;
}

/* The class furthest above its guarantee that has something to evict, with n
 * blocks more in one of them (CLASSES: in none); CLASSES if there is none. */
uint32_t fanout_class_worst(fanout_shm_t *shm, uint32_t class, uint32_t n);


#endif /* FANOUT_ZONE_SHARE_H */
