
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Members.  The lock must be held for all of it.
 */


#ifndef FANOUT_ZONE_MEMBER_H
#define FANOUT_ZONE_MEMBER_H


#include "zone/client.h"
#include "zone/layout.h"


/*
 * A member.  Key and data are in it if they are short, else in a chain.  While
 * a change is to be told it is in the pending list of its presence set.
 */

#define FANOUT_PENDING_JOIN   1
#define FANOUT_PENDING_UPDATE 2
#define FANOUT_PENDING_LEAVE  3

#define FANOUT_MEMBER_IDLE       0x01
#define FANOUT_MEMBER_ANONYMOUS  0x02
#define FANOUT_MEMBER_UNTOLD     0x04   /* left with an update pending */
#define FANOUT_MEMBER_TIMED      0x08   /* idle by the clock: is not told */

#define FANOUT_MEMBER_SHORT   16

typedef struct {
    fanout_ref_t         next;          /* of the seat */
    fanout_ref_t         seat;
    uint32_t             slot;
    fanout_ref_t         chain;         /* 0: key and data are below */
    uint64_t             joined_at;     /* Unix ms */
    uint64_t             seen;          /* Unix ms */
    fanout_ref_t         pend_next;
    fanout_ref_t         pend_prev;
    uint16_t             data_len;
    uint8_t              key_len;
    uint8_t              pending;
    uint8_t              flags;
    uint8_t              reason;
    uint16_t             holder;
    uint64_t             words[FANOUT_MEMBER_SHORT / 8];
} fanout_member_block_t;


#define fanout_member(z, ref)  ((fanout_member_block_t *) fanout_at(z, ref))


/* members: see zone/member.c */

/* All of a seat that others know by name are told as updated. */
void fanout_members_renew(fanout_zone_t *z, fanout_ref_t seat);

/* It leaves: to be told, or freed if it was never told that it had come.  The
 * caller settles the seat. */
void fanout_member_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);

/* Frees one with nothing pending. */
void fanout_member_free(fanout_zone_t *z, fanout_ref_t ref);

/* Blocks of the chain of a key and data of that length, together. */
static inline uint32_t
fanout_member_blocks(size_t len)
{
    return len <= FANOUT_MEMBER_SHORT
           ? 0 : (len + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
}


/* reading them: see zone/member_read.c */

/* The one of a seat with a key, of which it may be told that it left; 0. */
fanout_ref_t fanout_member_find(fanout_zone_t *z, fanout_ref_t seat,
    const fanout_zstr_t *key);

/* The seat on a channel of a client that this worker serves, if it is LIVE; of
 * any worker with identity 0, if it is not GONE; 0. */
fanout_ref_t fanout_member_seat(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_ref_t identity, const fanout_identity_t *id);

/* Copies key or data; the length. */
size_t fanout_member_key(fanout_zone_t *z, const fanout_member_block_t *m,
    uint8_t *buf);
size_t fanout_member_data(fanout_zone_t *z,
    const fanout_member_block_t *m, uint8_t *buf);

/* Copies a member into buf; how much of it was used. */
size_t fanout_member_copy(fanout_zone_t *z, fanout_ref_t ref,
    fanout_member_t *to, uint8_t *buf);


#endif /* FANOUT_ZONE_MEMBER_H */
