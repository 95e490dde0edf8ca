
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Channels and their logs: the entries, the history that is kept, the unread
 * list that workers have to read, the interests of these, and the keys that
 * were published with.  The lock must be held where nothing else is said.
 */


#ifndef FANOUT_ZONE_LOG_H
#define FANOUT_ZONE_LOG_H


#include "zone/layout.h"
#include "zone/message.h"


/*
 * An entry of a log, at the start of the first block of its chain.  It is
 * in the unread list (to be read by workers), in the history, or in both; when
 * it is in neither it is freed.
 *
 *   0     4     8        16       24      28   30 31 32   36    39 40 41 42
 *   |chain|next |offset  |seq     |time   |time|ev|ky|mono|size |us|ty|fl|
 *
 * From byte 42 on, running through the chain: last block (4 bytes, if
 * LONG), client (8 bytes, if CLIENT), length of meta (2 bytes, if META),
 * target (16 bytes, if TARGET), event, key, user, meta, data.
 *
 * Written before it is linked, then constant but for next and flags.
 */

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         next;          /* in the unread list */
    uint64_t             offset;
    uint64_t             seq;
    uint32_t             time_low;
    uint16_t             time_high;
    uint8_t              event;
    uint8_t              key;
    uint32_t             mono;          /* s of the zone's clock */
    uint16_t             size_low;
    uint8_t              size_high;
    uint8_t              user;
    uint8_t              type;          /* type | kind << 4 */
    uint8_t              flags;
    uint8_t              data[22];
} fanout_entry_block_t;

#define FANOUT_ENTRY_HEAD     42
#define FANOUT_LONG_BLOCKS    8         /* chains beyond are LONG */

#define FANOUT_IN_UNREAD      0x01
#define FANOUT_IN_HISTORY     0x02
/* FANOUT_NOECHO     0x04
   FANOUT_TRANSIENT  0x08 */
#define FANOUT_HAS_CLIENT        0x10
#define FANOUT_HAS_META          0x20
#define FANOUT_LONG              0x40
#define FANOUT_HAS_RECIPIENT     0x80   /* 16 bytes: client, user's hash */

/* the same bit: one with a target is kept by mail, never by the history */
#define FANOUT_IN_MAIL        FANOUT_IN_HISTORY


/*
 * An index block: eleven entries of a channel's history.  The blocks are a
 * list with ordinals that grow by one; jump leads back to an older one as
 * in a skew-binary list, so any entry is found in O(log n).  A jump may lead
 * to a block that is gone: its ordinal is then below that of the first.
 */

#define FANOUT_INDEX_REFS     11

/* A purged history waits to be freed: the first block of its index then
 * has the channel as prev, and as jump the next purged history. */

typedef struct {
    fanout_ref_t         next;
    fanout_ref_t         prev;
    fanout_ref_t         jump;
    uint32_t             ord;
    uint32_t             jump_ord;
    fanout_ref_t         refs[FANOUT_INDEX_REFS];
} fanout_index_t;


/*
 * A channel: the first block is what a publish touches.  The lock guards
 * all of it.
 */

typedef struct {
    fanout_ref_t         hash_next;
    uint32_t             hash;
    uint64_t             epoch;
    uint64_t             offset;        /* last assigned */
    fanout_ref_t         unread_head;   /* oldest some worker has to read */
    fanout_ref_t         unread_tail;
    fanout_ref_t         interests;
    fanout_ref_t         cold;
    fanout_ref_t         index_first;
    fanout_ref_t         index_last;
    uint32_t             history;       /* entries in it */
    uint8_t              skip;          /* refs gone in index_first */
    uint8_t              fill;          /* refs used in index_last */
    uint8_t              class;
    uint8_t              name_len;
    fanout_ref_t         name;
    uint32_t             subscribers;
} fanout_channel_block_t;


typedef struct {
    uint64_t             lost;          /* highest offset let go of */
    uint64_t             bytes;         /* payload in the history */
    uint32_t             blocks;        /* of the history's entries */
    fanout_ref_t         bucket_next;   /* channels of about that many */
    fanout_ref_t         bucket_prev;
    uint32_t             held;          /* blocks only the unread list holds */
    fanout_ref_t         held_next;
    fanout_ref_t         held_prev;
    uint32_t             keys;          /* remembered for it */
    uint32_t             touched;       /* s of the zone's clock; in use: the
                                           holder that it counts for */
    uint32_t             policy_history;
    uint32_t             policy_bytes;
    uint32_t             policy_ttl;
    uint8_t              bucket;        /* index + 1, 0: in none */
    uint8_t              list;          /* FANOUT_LIST_* */
    uint16_t             wheel;         /* place in it, FANOUT_IN_USE,
                                           FANOUT_PURGED */
} fanout_cold_t;


/* The first block of the name also holds the links of the list that the
 * channel waits in: the wheel, as long as it has history with a ttl, or
 * the idle list, when it has nothing; and lost as a seq of the zone, for who
 * comes back with one position for many channels.  Of a channel that is made
 * it is the last seq there was: nobody knows what one of its name had. */

#define FANOUT_IN_USE         0x8000    /* it can't be evicted */
#define FANOUT_PURGED         0x4000    /* it has another epoch than first */

#define FANOUT_LIST_NONE      0
#define FANOUT_LIST_WHEEL     1
#define FANOUT_LIST_IDLE      2

#define FANOUT_NAME_FIRST     36

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         list_next;
    fanout_ref_t         list_prev;
    fanout_ref_t         presence;      /* 0: nobody ever sat down */
    uint64_t             lost_seq;      /* highest seq let go of */
    uint32_t             generation;    /* oldest of the policies in force */
    uint8_t              name[FANOUT_NAME_FIRST];
} fanout_name_t;


/*
 * An interest: one worker reads one channel.  It belongs to a slot; only
 * the worker of that slot moves the cursor, but for the drop of a stalled
 * one, which sets lost.  A purge adds one to the epoch, so the epoch of what
 * is at the cursor is the channel's less the resets still to be read.
 */

typedef struct {
    fanout_ref_t         channel;
    fanout_ref_t         next;          /* of the channel */
    fanout_ref_t         prev;
    fanout_ref_t         slot_next;     /* of the slot */
    fanout_ref_t         slot_prev;
    fanout_ref_t         dirty_next;    /* of the slot's dirty list */
    fanout_ref_t         dirty_prev;
    fanout_ref_t         cursor;        /* next entry to read, 0: at end */
    uint64_t             seq;           /* of the last entry consumed */
    uint64_t             offset;        /* of the same */
    uint32_t             local;
    uint32_t             subscribers;
    uint8_t              slot;
    uint8_t              flags;         /* FANOUT_DIRTY, FANOUT_LOST_* */
    uint16_t             holder;        /* for whom it counts */
    uint32_t             resets;        /* from the cursor on */
} fanout_interest_t;

#define FANOUT_LOST_BEFORE    1         /* the cursor was moved */
#define FANOUT_LOST_BEHIND    2         /* after the last of the unread list */
#define FANOUT_LOST           3         /* either */
#define FANOUT_DIRTY          4         /* in the list of its slot */


/* A remembered idempotence key, in the list of all by age, and in those of its
 * holder and of its sender. */

#define FANOUT_BY_HOLDER      0
#define FANOUT_BY_SENDER      1

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         next;
    fanout_ref_t         channel;
    uint32_t             expires;       /* s of the zone's clock */
    uint64_t             hash[2];       /* of epoch, scope and key */
    uint64_t             offset;
    uint64_t             time;
    uint16_t             delivered;     /* of a direct message, at most
                                           FANOUT_RECIPIENTS */
    uint16_t             pending;
    uint16_t             holder;        /* that it counts for */
    uint16_t             sender;
    fanout_ref_t         own_next[2];   /* of them; of the last: the first */
} fanout_key_t;


#define fanout_channel(z, ref)   ((fanout_channel_block_t *) fanout_at(z, ref))
#define fanout_cold(z, ch)       ((fanout_cold_t *) fanout_at(z, (ch)->cold))
#define fanout_name(z, ch)       ((fanout_name_t *) fanout_at(z, (ch)->name))
#define fanout_entry(z, ref)     ((fanout_entry_block_t *) fanout_at(z, ref))
#define fanout_index(z, ref)     ((fanout_index_t *) fanout_at(z, ref))
#define fanout_interest(z, ref)  ((fanout_interest_t *) fanout_at(z, ref))
#define fanout_key(z, ref)       ((fanout_key_t *) fanout_at(z, ref))


/* channels */

fanout_ref_t fanout_channel_find(fanout_zone_t *z,
    const fanout_zone_channel_t *c);
fanout_ref_t fanout_channel_make(fanout_zone_t *z,
    const fanout_zone_channel_t *c);
void fanout_channel_free(fanout_zone_t *z, fanout_ref_t ref);
uint32_t fanout_channel_blocks(size_t name_len);

/*
 * Policies belong to a generation of the configuration.  A channel takes over
 * the policy of a worker whose generation is the newest in the zone; workers of
 * an earlier one, which are shutting down, change no policy.  Without a
 * generation (tests) every policy that is opened with is the newest.
 */

/* Whether this process has the newest configuration. */
static inline int
fanout_newest(fanout_zone_t *z)
{
    return z->generation >= z->shm->configured;
}

/* The channel takes over c->policy, if that is newer; it is settled. */
void fanout_channel_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_channel_t *c);

/* Whether c holds an interest of this process in this incarnation. */
static inline int
fanout_channel_opened(fanout_zone_t *z, const fanout_zone_channel_t *c)
{
    return c->ref && z->heap.slot != -1
           && c->incarnation == z->heap.incarnation;
}

/* policy() for a channel that was found by its name: one that this worker has
 * opened took over the policy then. */
static inline void
fanout_channel_renew(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_channel_t *c)
{
    if (z->generation && !fanout_channel_opened(z, c)) {
        fanout_channel_policy(z, ref, c);
    }
}

/* Puts the channel into the list it belongs to after a change: idle, wheel
 * or none. */
void fanout_channel_free_unused(fanout_zone_t *z, fanout_ref_t ref);
void fanout_channel_unlist(fanout_zone_t *z, fanout_ref_t ref);

/* It comes into use, for a holder, unless it is in use already; the caller
 * gives it what it is in use by, and settles it. */
void fanout_channel_use(fanout_zone_t *z, fanout_ref_t ref, unsigned holder);

void fanout_channel_touch(fanout_zone_t *z, fanout_ref_t ref, uint32_t now);
void fanout_interest_drop(fanout_zone_t *z, fanout_ref_t ref);

/* Turns the wheel and removes idle channels; AGAIN when more is due. */
int fanout_channel_sweep(fanout_zone_t *z);
void fanout_channel_evict_idle(fanout_zone_t *z, uint32_t class);


/* Copies the name, which ends no text; its length. */
uint8_t fanout_channel_name(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf);


/* the log: entries */

/* Blocks of an entry with so many bytes behind its head. */
static inline uint32_t
fanout_size_blocks(uint32_t size)
{
    uint32_t  n;

    size += FANOUT_ENTRY_HEAD;

    if (size <= FANOUT_BLOCK) {
        return 1;
    }

    n = 1 + (size - FANOUT_BLOCK + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;

    if (n > FANOUT_LONG_BLOCKS) {
        size += 4;
        n = 1 + (size - FANOUT_BLOCK + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
    }

    return n;
}

/* Blocks that a message takes as an entry. */
uint32_t fanout_message_blocks(const fanout_zone_message_t *m);

/* Takes so many and writes a message into them; it is not linked, and has no
 * place in an order yet.  Ensured before. */
fanout_ref_t fanout_message_write(fanout_zone_t *z,
    const fanout_zone_message_t *m, uint32_t blocks, fanout_kind_e kind,
    fanout_ref_t *last);

void fanout_entry_free(fanout_zone_t *z, fanout_ref_t ref,
    fanout_kind_e kind);

/* Appends one; its blocks must be ensured. */
void fanout_log_append(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, uint8_t type);

uint32_t fanout_entry_size(const fanout_entry_block_t *e); /* of the data */
uint32_t fanout_entry_blocks(fanout_zone_t *z, const fanout_entry_block_t *e);

/* Whether an entry is too large to be copied under the lock. */
int fanout_entry_large(fanout_zone_t *z, fanout_entry_block_t *e);

/*
 * Copies an entry into the arena; without the lock only if the caller looks
 * afterwards whether it was there all the while.  AGAIN if the arena has to
 * be emptied first, FULL if it can't grow, STALE if it is no entry (a lost
 * race).
 */
int fanout_entry_copy(fanout_zone_t *z, fanout_ref_t ref, fanout_arena_t *a);

/* Takes an entry out of the unread list or the history: the flag says which.
 * It is freed when it is in neither. */
void fanout_entry_release(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint8_t flag);


/* the log: history */

void fanout_history_push(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint32_t size, uint32_t blocks);

/* Lets go of what the policy does not keep, up to a step. */
void fanout_history_limit(fanout_zone_t *z, fanout_ref_t channel);

/* Frees up to a step of purged history; whether there was any. */
int fanout_purged_free(fanout_zone_t *z);

/* Puts the channel into the bucket of its class and size, or into none. */
void fanout_bucket_move(fanout_zone_t *z, fanout_ref_t channel);
void fanout_bucket_leave(fanout_zone_t *z, fanout_ref_t channel);

/* Blocks of its index. */
uint32_t fanout_index_blocks(fanout_zone_t *z,
    const fanout_channel_block_t *ch);

/* The first kept entry above an offset, as its index block and the position
 * in it; 0 if there is none. */
fanout_ref_t fanout_index_seek(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t after, unsigned *pos);
fanout_ref_t fanout_index_seek_seq(fanout_zone_t *z,
    fanout_channel_block_t *ch, uint64_t after, unsigned *pos);

/* The number of an entry counted from the oldest kept, which is 0, and the
 * entry of a number, which must be below ch->history. */
uint64_t fanout_index_position(fanout_channel_block_t *ch, fanout_index_t *ix,
    unsigned pos, fanout_zone_t *z);
fanout_ref_t fanout_index_nth(fanout_zone_t *z,
    fanout_channel_block_t *ch, uint64_t nth, unsigned *pos);

/* Lets go of the n oldest kept entries. */
void fanout_history_drop(fanout_zone_t *z, fanout_ref_t ref, uint32_t n);

/* Lets go of what is too old, up to a step.  Whether there is more. */
int fanout_history_expire(fanout_zone_t *z, fanout_ref_t ref);


/* the log: unread list */

/* Links an entry at the end, and marks those with an interest dirty. */
void fanout_unread_push(fanout_zone_t *z, fanout_channel_block_t *ch,
    fanout_ref_t ref);

/* An offset goes by without an entry: those who read are told of a gap. */
void fanout_unread_lose(fanout_zone_t *z, fanout_ref_t channel);

/* Accounts for blocks that only the unread list holds (negative: no more). */
void fanout_held_add(fanout_zone_t *z, fanout_ref_t channel, int blocks);

/* Takes from the unread list what all have read, up to a step.  Whether there
 * is more. */
int fanout_unread_trim(fanout_zone_t *z, fanout_ref_t ref);

/* Moves the slowest cursor forward on the channel whose unread list has not
 * moved for longest: to the oldest kept entry, or to the end.  Whether there
 * was one. */
int fanout_unread_drop(fanout_zone_t *z);

/* Drops a step of what stalled workers hold beyond their share; whether there
 * was any.  The same in sections of its own, without the lock, to be called
 * after an append. */
int fanout_held_cap(fanout_zone_t *z);
void fanout_held_trim(fanout_zone_t *z);

/* Takes from a few unread lists what all have read; whether there was any. */
int fanout_held_sweep(fanout_zone_t *z);


/* the log: who has to read */

/* Marks an interest dirty and its slot to be woken. */
void fanout_dirty(fanout_zone_t *z, fanout_ref_t interest);
void fanout_clean(fanout_zone_t *z, fanout_ref_t interest);

/* Puts a dirty interest behind the others of its slot. */
void fanout_dirty_last(fanout_zone_t *z, fanout_ref_t interest);


/* keys */

/* The hash of a key on a channel. */
void fanout_key_hash(fanout_zone_t *z, const fanout_channel_block_t *ch,
    const fanout_zone_publish_t *opts, uint64_t hash[2]);

/* Whether it is remembered: then r is what it answered.  Sets hash. */
int fanout_key_known(fanout_zone_t *z, const fanout_channel_block_t *ch,
    const fanout_zone_publish_t *opts, uint64_t hash[2],
    fanout_zone_result_t *r);

/* Gives up clients that linger if a key needs their blocks, unless its sender
 * may have none; see fanout_share_room(). */
void fanout_key_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts);

/* Whether a key may be added for a channel, or for one to be made (0): OK, and
 * r->duplicate if it is known; HELD, with r->wait and r->by_sender; FULL, as
 * fanout_share_claim().  Sets hash if there is a channel. */
int fanout_key_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, const fanout_zone_publish_t *opts, uint64_t hash[2],
    fanout_zone_result_t *r);

/* Adds one, whose hash this is, with the answer in r. */
void fanout_key_add(fanout_zone_t *z, fanout_ref_t channel,
    const uint64_t hash[2], const fanout_zone_publish_t *opts,
    const fanout_zone_result_t *r);
int fanout_key_sweep(fanout_zone_t *z);


/* Positions of when there was no channel: offset 0 under an epoch of the
 * moment, made of the zone's seq.  That epoch as of now. */
uint64_t fanout_absent(fanout_zone_t *z);

/* Whether a position is one of the channel as it is, or NULL: is not; what
 * came after it may be lost, but for one of when there was none. */
int fanout_log_has(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t epoch, uint64_t offset);


#endif /* FANOUT_ZONE_LOG_H */
