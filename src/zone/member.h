
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Members.  The lock must be held for all functions.
 */


#ifndef FANOUT_ZONE_MEMBER_H
#define FANOUT_ZONE_MEMBER_H


#include "heap/list.h"
#include "zone/client.h"
#include "zone/layout.h"


/*
 * A member.  Key and data are in the block if they are short, else in a chain.
 * While a change is pending, the member is in the pending list of its presence
 * set.
 */

#define FANOUT_PENDING_JOIN   1
#define FANOUT_PENDING_UPDATE 2
#define FANOUT_PENDING_LEAVE  3

#define FANOUT_MEMBER_IDLE        0x01
#define FANOUT_MEMBER_ANONYMOUS   0x02
#define FANOUT_MEMBER_UNREPORTED  0x04   /* left with an update pending */
#define FANOUT_MEMBER_TIMED       0x08   /* idle by timeout; not reported */

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


/* members: see zone/member.c, member_read.c and
 * member_leave.c */

/* Marks all members of a seat that are not anonymous as updated. */
void fanout_members_renew(fanout_zone_t *z, fanout_ref_t seat);

/* The member leaves: the leave becomes pending, or the member is freed if its
 * join was never reported.  The caller then calls fanout_seat_free_unused(). */
void fanout_member_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);

/* Frees a member with nothing pending. */
void fanout_member_free(fanout_zone_t *z, fanout_ref_t ref);

/* Returns the blocks of the chain for a key and data of that length
 * together. */
static inline uint32_t
fanout_member_blocks(size_t len)
{
    return len <= FANOUT_MEMBER_SHORT
           ? 0 : (len + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
}


/* reading them: see zone/member_read.c */

/* Finds the member of a seat with a key, also one with a pending leave; 0:
 * none. */
fanout_ref_t fanout_member_find(fanout_zone_t *z, fanout_ref_t seat,
    const fanout_zstr_t *key);

/* Finds the seat on a channel of a client that this worker serves, if the seat
 * is LIVE; with identity 0, of a client of any worker, if the seat is not GONE.
 * 0: none. */
fanout_ref_t fanout_member_seat(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_ref_t identity, const fanout_identity_t *id);

/* Copies key or data.  Returns the length. */
size_t fanout_member_key(fanout_zone_t *z, const fanout_member_block_t *m,
    uint8_t *buf);
size_t fanout_member_data(fanout_zone_t *z,
    const fanout_member_block_t *m, uint8_t *buf);

/* Copies a member, with its strings in buf.  Returns the bytes used in buf. */
size_t fanout_member_copy(fanout_zone_t *z, fanout_ref_t ref,
    fanout_member_t *to, uint8_t *buf);

/* The members of a seat. */
extern const fanout_links_t  fanout_member_links;

/* Frees the chain of a member's key and data, if it has one. The lock must be
 * held. */
void fanout_member_text_free(fanout_zone_t *z, const fanout_member_block_t *m);


#endif /* FANOUT_ZONE_MEMBER_H */
