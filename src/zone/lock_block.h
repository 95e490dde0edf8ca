
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks, internal to the zone: the locks of a channel, and the claims of those
 * who hold them or wait for them.  The lock of the zone must be held for all
 * functions.
 */


#ifndef FANOUT_ZONE_LOCK_BLOCK_H
#define FANOUT_ZONE_LOCK_BLOCK_H


#include "zone/lock.h"
#include "zone/seat.h"
#include "zone/shelf.h"


/*
 * A lock, on the shelf of its channel, by slot.  It exists while somebody holds
 * it or waits for it.  Nobody holds it while all that wait linger, or their
 * time is over.  The name continues through the chain.
 */

#define FANOUT_LOCK_FIRST     18

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         hash_next;
    fanout_ref_t         shelf;
    uint32_t             slot;
    uint64_t             token;         /* of the last grant */
    uint64_t             expires;       /* of the holder, Unix ms */
    fanout_ref_t         holder;        /* claim, 0: nobody */
    fanout_ref_t         first;         /* claims in line */
    fanout_ref_t         last;
    uint8_t              waiting;       /* in line */
    uint8_t              name_len;
    uint8_t              name[FANOUT_LOCK_FIRST];
} fanout_lock_block_t;


/*
 * A claim: somebody holds a lock, or waits for it.  A grant makes the first
 * claim in line the holder's.  User and data are in the rest of the chain.
 */

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         lock;
    fanout_ref_t         next;          /* in line */
    fanout_ref_t         prev;
    fanout_ref_t         seat;          /* 0: the API */
    fanout_ref_t         seat_next;     /* of the seat */
    fanout_ref_t         seat_prev;
    fanout_ref_t         due_next;
    fanout_ref_t         due_prev;
    uint32_t             due;           /* ms of the zone's clock, when the lock
                                           or the wait is over */
    uint32_t             ttl;           /* ms from the grant on */
    uint16_t             place;         /* in the wheel */
    uint16_t             data_len;
    uint8_t              user_len;
    uint8_t              held;
    uint16_t             holder;        /* that it counts for */
    uint8_t              unused[12];
} fanout_claim_t;


#define fanout_lock(z, ref)   ((fanout_lock_block_t *) fanout_at(z, ref))
#define fanout_claim(z, ref)  ((fanout_claim_t *) fanout_at(z, ref))


/* locks and claims: see zone/lock_block.c */

/* Finds a lock of a channel; 0: none. */
fanout_ref_t fanout_lock_find(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zstr_t *name);

/* Returns the blocks of a lock that nobody holds, tables of the shelf
 * included. */
static inline uint32_t
fanout_lock_blocks(size_t name_len)
{
    size_t  rest;

    rest = name_len > FANOUT_LOCK_FIRST ? name_len - FANOUT_LOCK_FIRST : 0;

    return 1 + (rest + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
}

/* Makes a lock that nobody holds; its blocks, and TREE_DEPTH + 1 more, must be
 * ensured. */
fanout_ref_t fanout_lock_make(fanout_zone_t *z, fanout_ref_t shelf,
    const fanout_zstr_t *name);

/* Frees a lock that nobody holds or waits for, and the shelf after its last
 * lock and record. */
void fanout_lock_settle(fanout_zone_t *z, fanout_ref_t lock);

/* Copies the name to buf of 255 bytes.  Returns its length. */
uint8_t fanout_lock_name(fanout_zone_t *z, const fanout_lock_block_t *lock,
    uint8_t *buf);

/* The channel of a lock. */
static inline fanout_ref_t
fanout_lock_channel(fanout_zone_t *z, fanout_ref_t lock)
{
    return fanout_shelf(z, fanout_lock(z, lock)->shelf)->channel;
}

static inline uint32_t
fanout_claim_blocks(size_t text_len)
{
    return 1 + (text_len + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
}

/* Returns the blocks that count for the holder of a claim: the lock's too. */
static inline uint32_t
fanout_claim_own(size_t name_len, size_t text_len)
{
    return fanout_lock_blocks(name_len) + fanout_claim_blocks(text_len);
}

/* Makes a claim of a seat (0: the API) with user, data and ttl of req; it is
 * not in line, nor in the wheel.  Its blocks must be ensured. */
fanout_ref_t fanout_claim_make(fanout_zone_t *z, fanout_ref_t lock,
    fanout_ref_t seat, const fanout_zone_lock_t *req);

/* Gives a claim the ttl of req, and its data if there are any; the blocks of
 * a claim must be ensured for those. */
void fanout_claim_change(fanout_zone_t *z, fanout_ref_t claim,
    const fanout_zone_lock_t *req);

/* Frees a claim, which must not be in line. */
void fanout_claim_free(fanout_zone_t *z, fanout_ref_t claim);

/* Copies user and data to buf. */
void fanout_claim_text(fanout_zone_t *z, const fanout_claim_t *claim,
    uint8_t *buf);

/* Finds the claim of a seat to a lock; 0: none. */
fanout_ref_t fanout_claim_find(fanout_zone_t *z, fanout_ref_t seat,
    fanout_ref_t lock);


/* the line: see zone/lock_line.c */

/* Puts a claim at the end of the line, and takes it out. */
void fanout_line_join(fanout_zone_t *z, fanout_ref_t claim);
void fanout_line_leave(fanout_zone_t *z, fanout_ref_t claim);

/* Frees a claim in line, and the lock if nobody else wants it. */
void fanout_line_drop(fanout_zone_t *z, fanout_ref_t claim);

/* The same for a wait that is over. */
void fanout_wait_over(fanout_zone_t *z, fanout_ref_t claim);


/* time: see zone/lock_due.c */

#define FANOUT_WAIT_SPARE     1000      /* ms that the zone waits longer than
                                           the worker */

/* Puts a claim into the wheel, or moves it there; it is due in so many ms. */
void fanout_claim_due(fanout_zone_t *z, fanout_ref_t claim, uint32_t ms);
void fanout_claim_undue(fanout_zone_t *z, fanout_ref_t claim);

/* Puts a claim that the wheel has reached too early where it belongs. */
void fanout_claim_refile(fanout_zone_t *z, fanout_ref_t claim);

/* Whether the time of a claim is over. */
int fanout_claim_over(fanout_zone_t *z, fanout_ref_t claim);

/* The ms until then. */
uint32_t fanout_claim_left(fanout_zone_t *z, fanout_ref_t claim);

/* The same of the holder; nobody may hold it. */
int fanout_lock_over(fanout_zone_t *z, const fanout_lock_block_t *lock);

/* Ends what is over, up to a step; AGAIN if there is more.  May commit.  See
 * zone/lock_expire.c. */
int fanout_lock_sweep(fanout_zone_t *z);


/* grants: see zone/lock_grant.c */

/* Tries to free blocks for the entries of n changes of locks, and their orders:
 * they may be lost.  May commit, but keeps the lock of the zone. */
void fanout_lock_room(fanout_zone_t *z, unsigned n);

/* Most blocks of one. */
#define FANOUT_LOCK_ROOM      (2 + (FANOUT_LOCK_ENTRY + FANOUT_ENTRY_HEAD)    \
                                   / FANOUT_PAYLOAD)

/* A claim that is not in line gets the lock; the entry is still to be
 * appended. */
void fanout_lock_grant(fanout_zone_t *z, fanout_ref_t lock,
    fanout_ref_t claim);

/* The first in line whose seat is live, and whose wait is not over; 0: none. */
fanout_ref_t fanout_lock_next(fanout_zone_t *z, fanout_ref_t lock);

/* A claim in line gets a lock that nobody holds, and its worker an order; the
 * entry is still to be appended. */
void fanout_lock_give(fanout_zone_t *z, fanout_ref_t lock,
    fanout_ref_t claim);


/* ends: see zone/lock_end.c */

/* Ends a lock that is held, for a reason (FANOUT_LOCK_*): the next in line gets
 * it, and an entry is appended.  The lock may be freed. */
void fanout_lock_end(fanout_zone_t *z, fanout_ref_t lock, uint8_t reason);

/* Appends an entry about a lock as it is, or reports a loss if there is no
 * block for it. */
void fanout_lock_tell(fanout_zone_t *z, fanout_ref_t lock, uint8_t reason);


/* the locks of a seat: see zone/lock_seat.c */

/* Ends the claims of a seat, as many as a section may take.  Returns 1 if there
 * are more, or no time is left. */
int fanout_locks_leave(fanout_zone_t *z, fanout_ref_t seat, uint8_t reason);

/* Makes a seat live that lingers: it gets the locks that it waits for and
 * nobody holds.  May commit before. */
void fanout_locks_revive(fanout_zone_t *z, fanout_ref_t seat);


/* reading: see zone/lock_bytes.c */

#define FANOUT_LOCK_ENTRY     (24 + FANOUT_ZONE_LOCK_BUF)
                                        /* most bytes of an entry's data */

/* Describes a lock as it is; the strings are in buf. */
void fanout_lock_fill(fanout_zone_t *z, fanout_ref_t ref, fanout_lock_t *lock,
    uint8_t *buf);

/* Writes the data of an entry: at most LOCK_ENTRY bytes.  Returns their
 * number. */
uint32_t fanout_lock_write(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason,
    uint8_t *buf);


/* The numbers of locks of the zone: see zone/lock_read.c. */
void fanout_lock_stat(fanout_zone_t *z, fanout_zone_stat_t *st);


/* the claimant of a lock: see fanout_lock_take() */

typedef struct {
    fanout_ref_t         channel;       /* 0: none, only of the API */
    fanout_ref_t         seat;          /* 0: the API */
    fanout_ref_t         lock;          /* 0: none */
    fanout_ref_t         claim;         /* of the seat to it, 0: none */
} fanout_claimant_t;

/* OK, NOTFOUND, STALE. */
int fanout_lock_claimant(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, const fanout_zstr_t *name,
    fanout_claimant_t *a);


#endif /* FANOUT_ZONE_LOCK_BLOCK_H */
