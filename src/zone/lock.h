
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks: names of a channel that one holder has at a time.  The rules of
 * zone/zone.h apply.
 *
 * A lock ends when its holder unlocks it, when its time is over, with the seat
 * of its holder, when it is broken, or with a set that releases it.  The next
 * in line, the first that requested it, has it in the same transaction.  A seat
 * that lingers keeps its locks, and its place in a line, but is not granted
 * any.
 * fanout_zone_sweep() ends what is over.
 *
 * Each grant has a token above all that were given before in the zone: the
 * greater of the last one + 1 and the Unix time in ms x 1024.  A rebuild keeps
 * the last token, and loses the locks.
 */


#ifndef FANOUT_ZONE_LOCK_H
#define FANOUT_ZONE_LOCK_H


#include "zone/message.h"


#define FANOUT_ZONE_LOCK_DATA   1024    /* most bytes that are told with a
                                           lock */
#define FANOUT_ZONE_LOCKS       32      /* most that a seat holds or waits
                                           for */
#define FANOUT_ZONE_WAITERS     64      /* most that wait for a lock */
#define FANOUT_ZONE_WAITS       16      /* most locks that a seat waits for */
#define FANOUT_ZONE_LOCK_TIME   86400000        /* most ms of .ttl and .wait */

/* why a lock ended */

#define FANOUT_LOCK_UNLOCKED  1
#define FANOUT_LOCK_RELEASED  2         /* by a set */
#define FANOUT_LOCK_LEFT      3         /* with the seat of its holder */
#define FANOUT_LOCK_EXPIRED   4
#define FANOUT_LOCK_KICKED    5         /* with the seat, which was kicked */
#define FANOUT_LOCK_BROKEN    6


/*
 * A lock as it is; in an entry with the type LOCK: as it is now.  One entry
 * tells of the end of a lock and of the next grant: then the lock is held, and
 * .reason is why the last one ended.  Renewals have entries, too.
 */

typedef struct {
    fanout_zstr_t        name;
    fanout_zstr_t        user;          /* of the holder */
    fanout_zstr_t        data;          /* JSON, may be empty */
    uint64_t             client;        /* the holder; 0: the API, or nobody */
    uint64_t             token;         /* 0 in an entry */
    uint64_t             expires;       /* Unix ms */
    uint32_t             waiting;       /* in line; 0 in an entry */
    uint8_t              reason;        /* in an entry: FANOUT_LOCK_*, if one
                                           ended; else 0 */
    unsigned             held:1;
} fanout_lock_t;

#define FANOUT_ZONE_LOCK_BUF  (2 * 255 + FANOUT_ZONE_LOCK_DATA)
                                        /* most bytes of the strings of one */

/* Reads the data of a LOCK entry; the strings point into it.  Returns 1; -1:
 * the data is broken. */
int fanout_lock_parse(const fanout_zstr_t *data, fanout_lock_t *lock);


/* a request for a lock */

typedef struct {
    fanout_zstr_t        name;          /* 1 to 255 bytes */
    fanout_zstr_t        user;          /* at most 255 bytes */
    fanout_zstr_t        data;          /* at most LOCK_DATA bytes; not there
                                           (NULL): of a renewal, it stays */
    uint64_t             client;        /* 0: the API */
    uint64_t             address;       /* hash of the address that a new claim
                                           counts for, and a new channel; 0:
                                           none */
    uint32_t             ttl;           /* ms from the grant on */
    uint32_t             wait;          /* ms; 0: does not wait.  The zone ends
                                           the wait a second later */
} fanout_zone_lock_t;

/* what MANY is about */

#define FANOUT_LOCK_SEAT      1         /* ZONE_LOCKS of the seat */
#define FANOUT_LOCK_CHANNEL   2         /* locks_max= */
#define FANOUT_LOCK_WAITERS   3         /* ZONE_WAITERS of the lock */
#define FANOUT_LOCK_WAITS     4         /* ZONE_WAITS of the seat */

/*
 * The claimant is a client of this worker, with its ref and id; a client that
 * is found by its secret, in any worker, with ref 0; or the API, with id NULL.
 *
 * Takes a lock for a client with a live seat on the channel, or for the API;
 * renews it if the client holds it, also if its seat lingers (the API: with
 * the token): same token, ttl from now.  An expired lock that the sweep has not
 * seen ends first.
 *
 * lock is filled in after OK, LOCKED and AGAIN: the strings are in buf
 * (LOCK_BUF bytes), .token only if the client holds it.
 *
 * OK: the client holds it, with *renewed; LOCKED: somebody else does; AGAIN:
 * the same, and the client is in line now, or was (its data and ttl are
 * replaced, and a shorter wait): ORDER_GRANTED comes, but see
 * fanout_lock_wait(); NOTFOUND: the client has no seat; MANY with *limit; FULL
 * with z->full; LARGE; ADDRESS; STALE: the channel or the identity does not
 * belong to this worker.
 *
 * A client that is in line stays there after a call with wait 0.  The API does
 * not wait.
 */
int fanout_lock_take(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id, const fanout_zone_lock_t *req,
    uint64_t token, fanout_lock_t *lock, uint8_t *buf, unsigned *renewed,
    unsigned *limit);

/* What came of the wait of a client: OK: it holds the lock; AGAIN: it is in
 * line; NOTFOUND: neither (a rebuild, its wait is over, or the lock was granted
 * and has ended).  With give_up it leaves the line if it is there, and the
 * result is LOCKED.  lock as above, also after LOCKED. */
int fanout_lock_wait(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *name, int give_up,
    fanout_lock_t *lock, uint8_t *buf);

/* Ends a lock of a client; token 0: whatever token it has.  For the API:
 * whoever holds it, which is BROKEN, unless the API holds it.  OK; CONFLICT:
 * the lock is not held by the client, or has another token; NOTFOUND: the API,
 * and there is none. */
int fanout_lock_drop(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *name, uint64_t token);

/* Copies the locks of a channel from *cursor (0 at first) on: at most max, with
 * strings in buf, as many as fit into size (at least LOCK_BUF) and as a section
 * may copy.  *cursor is 0 after the last one.  r gets the position of the
 * channel.  The locks have their tokens.  OK; NOTFOUND: no channel.
 *
 * To read all locks in several calls while they change: apply the LOCK entries
 * after the position of the first call to what was read; each is the whole
 * state of its lock. */
int fanout_lock_list(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t *cursor, fanout_lock_t *locks, unsigned max, uint8_t *buf,
    size_t size, unsigned *n, fanout_zone_result_t *r);


#endif /* FANOUT_ZONE_LOCK_H */
