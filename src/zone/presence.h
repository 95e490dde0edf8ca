
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence sets, for the zone alone: changes of members as the bytes of an
 * entry.  All of it is called under the zone's lock and reads the zone only;
 * the bytes are as the processor has them, for they never leave the machine.
 */


#ifndef FANOUT_ZONE_PRESENCE_H
#define FANOUT_ZONE_PRESENCE_H


#include "zone/member.h"


/*
 * A presence set: what of a channel has to do with who is there.  It is there
 * as long as the channel has seats or signals.  root leads to the members by
 * slot: a tree of tables, depth levels of them.
 */

typedef struct {
    uint16_t             nsignals;
    uint16_t             seen;          /* min a leave is remembered */
    fanout_ref_t         channel;
    uint32_t             members;       /* but for those with a pending leave;
                                           in SUMMARY: seats that count */
    uint32_t             seats;         /* but for those that are gone */
    fanout_ref_t         root;
    fanout_ref_t         pend_head;
    fanout_ref_t         pend_tail;
    uint32_t             npending;
    fanout_ref_t         due_next;      /* of those with something pending */
    fanout_ref_t         due_prev;
    uint32_t             due;           /* ms, when the next delta may come;
                                           listed: in its place of the wheel */
    fanout_ref_t         signal_head;
    fanout_ref_t         signal_tail;
    uint16_t             linger;        /* s */
    uint16_t             batch;         /* ms */
    uint32_t             max;           /* members, 0: any */
    uint8_t              mode;
    uint8_t              depth;
    uint8_t              class;         /* that its blocks are counted in */
    uint8_t              flags;         /* FANOUT_ROOM_* */
} fanout_presence_block_t;

#define FANOUT_PRESENCE_COUNT     0x01  /* SUMMARY: the number is pending */
#define FANOUT_PRESENCE_HOOKS     0x02  /* its seats write events */
#define FANOUT_PRESENCE_WANTED    0x04  /* times the mode of the policy */

#define FANOUT_PRESENCE_LISTED    0x10  /* in the wheel */

#define fanout_presence_wanted(presence)                                      \
    ((presence)->flags / FANOUT_PRESENCE_WANTED & 3)


/* A table of a presence set's tree: leaves hold members, others tables.  A bit
 * of full says that nothing is free below. */

#define FANOUT_PRESENCE_BLOCKS    1
#define FANOUT_DEPTH              7     /* of tables, at most */
#define FANOUT_TABLE_REFS         14
#define FANOUT_TABLE_FULL         ((1 << FANOUT_TABLE_REFS) - 1)

typedef struct {
    fanout_ref_t         refs[FANOUT_TABLE_REFS];
    uint16_t             full;
    uint16_t             n;             /* refs that are not 0 */
    uint32_t             unused;
} fanout_table_t;


#define fanout_presence(z, ref)  ((fanout_presence_block_t *) fanout_at(z, ref))
#define fanout_table(z, ref)     ((fanout_table_t *) fanout_at(z, ref))


/* presence sets: see zone/presence.c, presence_due.c, presence_slot.c and
 * presence_flush.c */

/* The presence set of a channel, 0; the same, made if there is none,
 * PRESENCE_BLOCKS must be ensured (policy may be NULL). */
fanout_ref_t fanout_presence_of(fanout_zone_t *z, fanout_ref_t channel);
fanout_ref_t fanout_presence_make(fanout_zone_t *z,
    fanout_ref_t channel, const fanout_zone_policy_t *policy);

/* The presence set takes over its part of a policy; the mode only when it is
 * empty. */
void fanout_presence_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy);

/* A presence set that is empty takes over the mode that its policy wants. */
void fanout_presence_mode(fanout_zone_t *z, fanout_ref_t ref);

/* Frees one that holds nothing. */
void fanout_presence_settle(fanout_zone_t *z, fanout_ref_t ref);

/* Puts a presence set into the wheel of those with something to tell, if it is
 * not there, by when it may be told; takes it out. */
void fanout_presence_list(fanout_zone_t *z, fanout_ref_t ref);
void fanout_presence_unlist(fanout_zone_t *z, fanout_ref_t ref);

/* One that is due; or 0, and the ms until the next is: UINT32_MAX for none. */
fanout_ref_t fanout_presence_due(fanout_zone_t *z, uint32_t *wait);

/* A seat more or less in a presence set that only counts. */
void fanout_presence_count(fanout_zone_t *z, fanout_ref_t ref, int n);

/* Slots: the smallest free one for a member (DEPTH + 1 blocks must be
 * ensured); back; the first member at or above one, which *slot becomes. */
uint32_t fanout_slot_take(fanout_zone_t *z, fanout_ref_t ref,
    fanout_ref_t member);
void fanout_slot_return(fanout_zone_t *z, fanout_ref_t ref, uint32_t slot);
fanout_ref_t fanout_slot_next(fanout_zone_t *z,
    const fanout_presence_block_t *presence, uint32_t *slot);

/* A member's change is to be told, or not any more. */
void fanout_pending_set(fanout_zone_t *z, fanout_ref_t member,
    uint8_t pending);
void fanout_pending_clear(fanout_zone_t *z, fanout_ref_t member);


/* the head of a change in the data of an entry; key, user, info and data
 * follow it */

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


/* The bytes that a member's pending change takes. */
size_t fanout_change_size(fanout_zone_t *z, const fanout_member_block_t *m);

/* Writes it, as many bytes as that at most; the end of what is written. */
uint8_t *fanout_change_write(fanout_zone_t *z, const fanout_member_block_t *m,
    uint8_t *p);

/* Writes how many there are in a presence set that only counts: CHANGE_HEAD
 * bytes; their end. */
uint8_t *fanout_count_write(fanout_presence_block_t *presence, uint8_t *p);


#endif /* FANOUT_ZONE_PRESENCE_H */
