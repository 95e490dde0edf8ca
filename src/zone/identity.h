
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Identities and their users.  The lock must be held for all functions.
 */


#ifndef FANOUT_ZONE_IDENTITY_H
#define FANOUT_ZONE_IDENTITY_H


#include "heap/hash.h"
#include "zone/client.h"
#include "zone/layout.h"


/*
 * A user who has clients; freed with the last of them.  The name continues
 * through the chain.
 */

#define FANOUT_USER_FIRST     39

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         hash_next;
    fanout_ref_t         identities;
    uint32_t             n;             /* number of identities */
    uint64_t             hash;
    uint8_t              name_len;
    uint8_t              name[FANOUT_USER_FIRST];
} fanout_user_t;


/*
 * An identity is live, in the list of its slot, or it lingers, in a wheel, by
 * when it expires.  There is a wheel for each rank: under pressure, identities
 * of lower ranks are evicted first.  An identity that ENDED has no client any
 * more, but some of its members' leaves are not reported yet: it is freed with
 * its last seat.
 */

#define FANOUT_ID_LIVE        1
#define FANOUT_ID_ENDED       2
#define FANOUT_ID_LINGERS     3         /* plus the rank */

#define fanout_lingers(e)     ((e)->state >= FANOUT_ID_LINGERS)

/*
 * The bits above the length of the info count the resumes with one secret whose
 * answer the client may not have received.  0: the newest secret is the only
 * valid one.  Else the previous secret is valid too.  It is recognized without
 * being stored: the newest secret was derived from it and this number.
 */

#define FANOUT_ID_INFO        0x0fff    /* length of the info - 1, if any */
#define FANOUT_ID_RENEWED     0x1000    /* the info has been another before */
#define FANOUT_ID_TRY         0x2000
#define FANOUT_ID_TRIES       7

_Static_assert(FANOUT_ZONE_INFO <= FANOUT_ID_INFO + 1, "length of an info");

#define fanout_info_len(e)                                                    \
    ((e)->info ? ((e)->info_tries & FANOUT_ID_INFO) + 1 : 0)
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
                                           live: the holder that the identity
                                           counts for */
    uint64_t             client;
    uint64_t             secret[2];
    fanout_ref_t         user;          /* 0: none */
    fanout_ref_t         user_next;
    fanout_ref_t         user_prev;
    fanout_ref_t         seats;
    fanout_ref_t         info;          /* chain, 0: none */
    uint8_t              slot;          /* lingering: place in the wheel */
    uint8_t              state;
    uint16_t             info_tries;    /* FANOUT_ID_* */
} fanout_identity_block_t;


#define fanout_identity(z, ref)  ((fanout_identity_block_t *) fanout_at(z, ref))
#define fanout_user(z, ref)      ((fanout_user_t *) fanout_at(z, ref))


/* identities */

/* The state of a walk over the seats of an identity; all zero at first.  It
 * keeps nothing in use: if its objects are freed by the next section, they are
 * not found. */

typedef struct {
    fanout_ref_t             channel;
    fanout_ref_t             seat;
} fanout_seats_walk_t;

int fanout_identity_sweep(fanout_zone_t *z);

/* Ends the lingering identity with the least time left in the lowest of so many
 * ranks, or a step of its seats.  Returns 1 if there was one. */
int fanout_identity_evict(fanout_zone_t *z, unsigned ranks);

/* Finds an identity in any state; 0: none. */
fanout_ref_t fanout_identity_find(fanout_zone_t *z,
    uint64_t client);

/* Returns 1 if the identity is live, belongs to this worker, and was not taken
 * over since. */
int fanout_identity_own(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_identity_t *id);

/* Finds the identity with that secret and user, live or lingering; 0: none. */
fanout_ref_t fanout_identity_live(fanout_zone_t *z,
    const fanout_identity_t *id);

/* fanout_identity_link_live() puts the identity into the list of a slot, in the
 * state LIVE, counted for the holder in .expires.
 * fanout_identity_unlink_live() removes it, also from the count; .state stays
 * as it was. */
void fanout_identity_link_live(fanout_zone_t *z, fanout_ref_t ref,
    unsigned slot);
void fanout_identity_unlink_live(fanout_zone_t *z, fanout_ref_t ref);

/* Removes a lingering identity from its wheel; .state stays as it was. */
void fanout_identity_unlink_lingering(fanout_zone_t *z, fanout_ref_t ref);

/* Frees an identity that has ended, after its last seat. */
void fanout_identity_free_unused(fanout_zone_t *z, fanout_ref_t ref);

/* Copies the info into buf.  Returns its length. */
size_t fanout_identity_info(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf);

/* Removes or makes linger up to a step of the identities of a dead slot.
 * Returns 1 if there are more.  at is the walk of the current one. */
int fanout_identity_orphan(fanout_zone_t *z, unsigned slot, uint32_t linger,
    fanout_seats_walk_t *at);


/* users */

fanout_ref_t fanout_user_find(fanout_zone_t *z, uint64_t hash);
uint32_t fanout_user_blocks(size_t name_len);

/* Adds an identity to its user, and removes it; fanout_user_blocks() must be
 * ensured for the former. */
void fanout_user_join(fanout_zone_t *z, fanout_ref_t identity, uint64_t hash,
    const fanout_zstr_t *name);
void fanout_user_leave(fanout_zone_t *z, fanout_ref_t identity);

/* Returns the number of the user's clients with the same FOREIGN bit as client,
 * without those that ended; at most max.  If the user has fewer than max
 * clients of both kinds together, returns the number of both. */
uint32_t fanout_user_count(fanout_zone_t *z, fanout_ref_t ref,
    uint64_t client, uint32_t max);

/* Copies the name into buf of 255 bytes.  Returns its length, 0 without a
 * user. */
size_t fanout_user_name(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf);

/* The hash of identities by client. */
extern const fanout_hash_t  fanout_identity_table;

/* The identity of that client and user which has not ended, whatever its
 * secret; 0: none. The lock must be held. */
fanout_ref_t fanout_identity_candidate(fanout_zone_t *z, const fanout_identity_t
    *id);

/* Compares two secrets in constant time: 0 if they are equal. */
unsigned fanout_secret_differs(const void *a, const void *b);


#endif /* FANOUT_ZONE_IDENTITY_H */
