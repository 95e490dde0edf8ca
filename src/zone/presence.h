
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence sets, internal to the zone: members by slot, pending changes, and
 * changes as the bytes of an entry, in the byte order of the processor, because
 * they never leave the machine.  The lock must be held for all functions.
 */


#ifndef FANOUT_ZONE_PRESENCE_H
#define FANOUT_ZONE_PRESENCE_H


#include "heap/tree.h"
#include "zone/log.h"
#include "zone/member.h"


/*
 * A presence set: the part of a channel for presence and signals.  It exists
 * while the channel has seats or signals.  root leads to the members by slot: a
 * tree of tables with depth levels.
 */

typedef struct {
    uint16_t             nsignals;
    uint16_t             seen;          /* min a leave is remembered */
    fanout_ref_t         channel;
    uint32_t             members;       /* without those with a pending leave;
                                           in SUMMARY: seats that count */
    uint32_t             seats;         /* without those that are GONE */
    fanout_ref_t         root;
    fanout_ref_t         pend_head;
    fanout_ref_t         pend_tail;
    uint32_t             npending;
    fanout_ref_t         due_next;      /* of the presence sets with changes
                                           pending */
    fanout_ref_t         due_prev;
    uint32_t             due;           /* ms, when the next delta may be
                                           appended; LISTED: its place in the
                                           wheel */
    fanout_ref_t         signal_head;
    fanout_ref_t         signal_tail;
    uint16_t             linger;        /* s */
    uint16_t             batch;         /* ms */
    uint32_t             max;           /* limit of members, 0: none */
    uint8_t              mode;
    uint8_t              depth;
    uint8_t              account;       /* of the channel, for the accounts */
    uint8_t              flags;         /* FANOUT_ROOM_* */
} fanout_presence_block_t;

#define FANOUT_PRESENCE_COUNT     0x01  /* SUMMARY: the number is pending */
#define FANOUT_PRESENCE_HOOKS     0x02  /* its seats write events */
#define FANOUT_PRESENCE_WANTED    0x04  /* the mode of the policy times this */

#define FANOUT_PRESENCE_LISTED    0x10  /* in the wheel */

#define fanout_presence_wanted(presence)                                      \
    ((presence)->flags / FANOUT_PRESENCE_WANTED & 3)


#define FANOUT_PRESENCE_BLOCKS    1


#define fanout_presence(z, ref)  ((fanout_presence_block_t *) fanout_at(z, ref))


/* presence sets: see zone/presence.c and presence_*.c */

/* Finds the presence set of a channel; 0: none.  The lock must be held. */
static inline fanout_ref_t
fanout_presence_of(fanout_zone_t *z, fanout_ref_t channel)
{
    return fanout_name(z, fanout_channel(z, channel))->presence;
}

/* The same, and makes it if there is none; PRESENCE_BLOCKS must be ensured;
 * policy may be NULL. */
fanout_ref_t fanout_presence_make(fanout_zone_t *z,
    fanout_ref_t channel, const fanout_zone_policy_t *policy);

/* Sets the fields of a presence set from a policy; the mode only when the set
 * is empty. */
void fanout_presence_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy);

/* Sets the mode that the policy wants if the presence set is empty. */
void fanout_presence_mode(fanout_zone_t *z, fanout_ref_t ref);

/* Frees a presence set that holds nothing. */
void fanout_presence_settle(fanout_zone_t *z, fanout_ref_t ref);

/* Puts a presence set with pending changes into the wheel, if it is not there,
 * by when they are due; removes it. */
void fanout_presence_list(fanout_zone_t *z, fanout_ref_t ref);
void fanout_presence_unlist(fanout_zone_t *z, fanout_ref_t ref);

/* Returns a presence set that is due; or 0, with the ms until the next one in
 * *wait: UINT32_MAX for none. */
fanout_ref_t fanout_presence_due(fanout_zone_t *z, uint32_t *wait);

/* Adds n to the seats of a presence set that only counts. */
void fanout_presence_count(fanout_zone_t *z, fanout_ref_t ref, int n);

/* Slots.  fanout_slot_take() assigns the smallest free slot to a member
 * (TREE_DEPTH + 1 blocks must be ensured); fanout_slot_return() frees it;
 * fanout_slot_next() finds the first member in *slot or above, and sets *slot
 * to its slot. */
uint32_t fanout_slot_take(fanout_zone_t *z, fanout_ref_t ref,
    fanout_ref_t member);
void fanout_slot_return(fanout_zone_t *z, fanout_ref_t ref, uint32_t slot);
fanout_ref_t fanout_slot_next(fanout_zone_t *z,
    const fanout_presence_block_t *presence, uint32_t *slot);

/* Sets the pending change of a member, or clears it. */
void fanout_pending_set(fanout_zone_t *z, fanout_ref_t member,
    uint8_t pending);
void fanout_pending_clear(fanout_zone_t *z, fanout_ref_t member);


/* the head of a change in the data of an entry; key, user, info and data
 * follow */

typedef struct {
    uint8_t   change;
    uint8_t   reason;
    uint8_t   flags;                    /* FANOUT_MEMBER_* */
    uint8_t   key_len;
    uint8_t   user_len;
    uint8_t   unused[3];
    uint16_t  info_len;
    uint16_t  data_len;
    uint32_t  slot;                     /* COUNTED: the number */
    uint64_t  client;
    uint64_t  joined_at;
    uint64_t  seen;
} change_t;

#define FANOUT_CHANGE_HEAD    sizeof(change_t)


/* Returns the bytes of a member's pending change. */
size_t fanout_change_size(fanout_zone_t *z, const fanout_member_block_t *m);

/* Writes a member's pending change: at most fanout_change_size() bytes.
 * Returns their end. */
uint8_t *fanout_change_write(fanout_zone_t *z, const fanout_member_block_t *m,
    uint8_t *p);

/* Writes the number of seats of a presence set that only counts: CHANGE_HEAD
 * bytes.  Returns their end. */
uint8_t *fanout_count_write(fanout_presence_block_t *presence, uint8_t *p);


#endif /* FANOUT_ZONE_PRESENCE_H */
