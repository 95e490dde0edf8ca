
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Identities and their users.  The lock must be held for all of it.
 */


#ifndef FANOUT_ZONE_IDENTITY_H
#define FANOUT_ZONE_IDENTITY_H


#include "zone/client.h"
#include "zone/layout.h"


/*
 * A user who has clients; lives as long as one of them.  The name runs on
 * through the chain.
 */

#define FANOUT_USER_FIRST     39

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         hash_next;
    fanout_ref_t         identities;
    uint32_t             n;             /* of them */
    uint64_t             hash;
    uint8_t              name_len;
    uint8_t              name[FANOUT_USER_FIRST];
} fanout_user_t;


/*
 * An identity: live in the list of its slot, or lingering in a wheel as that
 * of seats, by when it is too old.  There is a wheel for each rank: under
 * pressure lower ones go first.  One that ENDED is nobody's any more, but
 * members that left are still to be told: it goes with its last seat.
 */

#define FANOUT_ID_LIVE        1
#define FANOUT_ID_ENDED       2
#define FANOUT_ID_LINGERS     3         /* and the rank */

#define fanout_lingers(e)     ((e)->state >= FANOUT_ID_LINGERS)

/*
 * Beside the length of the info: how many resumes with one secret there were
 * whose answer the client was not seen to have.  0: the secret that was given
 * last is the only one.  Else the one before it is good once more, and is
 * known by what the last was made of: it, and this number.
 */

#define FANOUT_ID_INFO        0x1fff
#define FANOUT_ID_TRY         0x2000
#define FANOUT_ID_TRIES       7

#define fanout_info_len(e)    ((e)->info_tries & FANOUT_ID_INFO)
#define fanout_tries(e)       ((e)->info_tries / FANOUT_ID_TRY)
#define fanout_info_blocks(len)                                              \
    (((len) + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD)

#define FANOUT_SALT_SECRET    6         /* of fanout_hash() */
#define FANOUT_SALT_ABSENT    7

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         next;
    fanout_ref_t         prev;
    uint32_t             expires;       /* lingering: s of the zone's clock;
                                           live: the holder that it counts
                                           for */
    uint64_t             client;
    uint64_t             secret[2];
    fanout_ref_t         user;          /* 0: none */
    fanout_ref_t         user_next;
    fanout_ref_t         user_prev;
    fanout_ref_t         seats;
    fanout_ref_t         info;          /* chain, 0: none */
    uint8_t              slot;          /* lingering: place in the wheel */
    uint8_t              state;
    uint16_t             info_tries;    /* length, FANOUT_ID_TRY */
} fanout_identity_block_t;


#define fanout_identity(z, ref)  ((fanout_identity_block_t *) fanout_at(z, ref))
#define fanout_user(z, ref)      ((fanout_user_t *) fanout_at(z, ref))


/* identities */

/* Where a walk over the seats of an identity has got to; all zero at first.
 * It holds nothing: what is gone by the next section is not found. */

typedef struct {
    fanout_ref_t             channel;
    fanout_ref_t             seat;
} fanout_seats_walk_t;

int fanout_identity_sweep(fanout_zone_t *z);

/* Ends the one with the least time left of those that linger in the lowest of
 * so many ranks, or a step of its seats; whether there was one. */
int fanout_identity_evict(fanout_zone_t *z, unsigned ranks);

/* Of any state; 0. */
fanout_ref_t fanout_identity_find(fanout_zone_t *z,
    uint64_t client);

/* Whether it is live, this worker's, and not taken over since. */
int fanout_identity_own(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_identity_t *id);

/* The identity with that secret and user, live or lingering; 0. */
fanout_ref_t fanout_identity_live(fanout_zone_t *z,
    const fanout_identity_t *id);

/* The list of the live of a slot: the identity is put into it, in the state
 * LIVE, and counts for the holder in .expires; or it is taken out, and counts
 * no more, with .state as it was. */
void fanout_identity_link_live(fanout_zone_t *z, fanout_ref_t ref,
    unsigned slot);
void fanout_identity_unlink_live(fanout_zone_t *z, fanout_ref_t ref);

/* Takes a lingering one out of the wheel; .state stays as it was. */
void fanout_identity_unlink_lingering(fanout_zone_t *z, fanout_ref_t ref);

/* Frees one that has ended, after its last seat. */
void fanout_identity_free_unused(fanout_zone_t *z, fanout_ref_t ref);

/* Copies its info into buf; the length. */
size_t fanout_identity_info(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf);

/* Takes up to a step of the identities of a dead slot; whether there are
 * more.  at is of the one that it is at. */
int fanout_identity_orphan(fanout_zone_t *z, unsigned slot, uint32_t linger,
    fanout_seats_walk_t *at);


/* users */

fanout_ref_t fanout_user_find(fanout_zone_t *z, uint64_t hash);
uint32_t fanout_user_blocks(size_t name_len);

/* Makes an identity one of the user's, and takes it from him; user_blocks()
 * must be ensured for the first. */
void fanout_user_join(fanout_zone_t *z, fanout_ref_t identity, uint64_t hash,
    const fanout_zstr_t *name);
void fanout_user_leave(fanout_zone_t *z, fanout_ref_t identity);

/* How many clients the user has that are FOREIGN as client is, or not, without
 * those that ended; at most max, and if it has fewer than max of both kinds,
 * of both. */
uint32_t fanout_user_count(fanout_zone_t *z, fanout_ref_t ref,
    uint64_t client, uint32_t max);

/* Copies the name into buf of 255 bytes; the length, 0 for no user. */
size_t fanout_user_name(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf);


#endif /* FANOUT_ZONE_IDENTITY_H */
