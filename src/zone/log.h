
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Channels and their logs: the entries, the history, the unread list, the
 * interests of workers, and the idempotence keys.  The lock must be held unless
 * the comment of a function says otherwise.
 */


#ifndef FANOUT_ZONE_LOG_H
#define FANOUT_ZONE_LOG_H


#include "heap/hash.h"
#include "zone/layout.h"
#include "zone/message.h"


/*
 * An entry of a log, at the start of the first block of its chain.  The entry
 * is in the unread list (to be read by workers), in the history, or in both; it
 * is freed when it is in neither.
 *
 *   0     4     8        16       24      28   30 31 32   36    39 40 41 42
 *   |chain|next |offset  |seq     |time   |time|ev|ky|mono|size |us|ty|fl|
 *
 * From byte 42 on, running through the chain: last block (4 bytes, if
 * LONG), client (8 bytes, if CLIENT), length of meta (2 bytes, if META),
 * target (16 bytes, if TARGET), event, key, user, meta, data.
 *
 * Written before the entry is linked, then constant except for next and flags.
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
    uint8_t              type;          /* FANOUT_TYPE_* */
    uint8_t              flags;
    uint8_t              data[22];
} fanout_entry_block_t;

#define FANOUT_TYPE_KIND         4      /* shift: above the type */
#define FANOUT_TYPE_ANONYMOUS    0x80

/* the type of an entry of a message */
#define fanout_type_of(t, m)                                                  \
    ((t) | (m)->kind << FANOUT_TYPE_KIND                                      \
     | ((m)->flags & FANOUT_ANONYMOUS ? FANOUT_TYPE_ANONYMOUS : 0))

#define FANOUT_ENTRY_HEAD     42
#define FANOUT_LONG_BLOCKS    8         /* longer chains are LONG */

#define FANOUT_IN_UNREAD      0x01
#define FANOUT_IN_HISTORY     0x02
/* FANOUT_NOECHO     0x04
   FANOUT_TRANSIENT  0x08 */
#define FANOUT_HAS_CLIENT        0x10
#define FANOUT_HAS_META          0x20
#define FANOUT_LONG              0x40
#define FANOUT_HAS_RECIPIENT     0x80   /* 16 bytes: client, user's hash */

/* the same bit: mail keeps an entry with a target, the history never does */
#define FANOUT_IN_MAIL        FANOUT_IN_HISTORY


/*
 * An index block: eleven entries of a channel's history.  The blocks are a list
 * with ordinals that grow by one; jump leads back to an older block as in a
 * skew-binary list, so any entry is found in O(log n).  A jump may lead to a
 * freed block: its jump_ord is then below the ordinal of the first block.
 */

#define FANOUT_INDEX_REFS     11

/* A purged history waits to be freed: in the first block of its index, prev is
 * the channel, and jump is the next purged history. */

typedef struct {
    fanout_ref_t         next;
    fanout_ref_t         prev;
    fanout_ref_t         jump;
    uint32_t             ord;
    uint32_t             jump_ord;
    fanout_ref_t         refs[FANOUT_INDEX_REFS];
} fanout_index_t;


/*
 * A channel: the first block has the fields that a publish needs.  The lock
 * guards all of it.
 */

typedef struct {
    fanout_ref_t         hash_next;
    uint32_t             hash;
    uint64_t             epoch;
    uint64_t             offset;        /* last assigned */
    fanout_ref_t         unread_head;   /* oldest that some worker has to
                                           read */
    fanout_ref_t         unread_tail;
    fanout_ref_t         interests;
    fanout_ref_t         cold;
    fanout_ref_t         index_first;
    fanout_ref_t         index_last;
    uint32_t             history;       /* entries in the history */
    uint8_t              skip;          /* refs gone in index_first */
    uint8_t              fill;          /* refs used in index_last */
    uint8_t              account;
    uint8_t              name_len;
    fanout_ref_t         name;
    uint32_t             subscribers;
} fanout_channel_block_t;


typedef struct {
    uint64_t             lost;          /* highest offset that was removed */
    uint64_t             bytes;         /* payload in the history */
    uint32_t             blocks;        /* of the history's entries */
    fanout_ref_t         bucket_next;   /* channels with about as many blocks */
    fanout_ref_t         bucket_prev;
    uint32_t             held;          /* blocks that only the unread list
                                           keeps */
    fanout_ref_t         held_next;
    fanout_ref_t         held_prev;
    uint32_t             keys;          /* remembered for this channel */
    uint32_t             touched;       /* s of the zone's clock; in use: the
                                           holder that the channel counts for */
    uint32_t             policy_history;
    uint32_t             policy_bytes;
    uint32_t             policy_ttl;
    uint8_t              bucket;        /* index + 1, 0: in none */
    uint8_t              list;          /* FANOUT_LIST_* */
    uint16_t             wheel;         /* place in the wheel, FANOUT_IN_USE,
                                           FANOUT_PURGED */
} fanout_cold_t;


/* The first block of the name also has the links of the list that the channel
 * is in: of the wheel while it has history with a ttl, or of the idle list when
 * it has nothing.  lost_seq serves clients that come back with one position for
 * many channels.  A new channel begins with the zone's seq: an earlier channel
 * of the same name may have had any of the entries up to it. */

#define FANOUT_IN_USE         0x8000    /* the channel can't be evicted */
#define FANOUT_PURGED         0x4000    /* the epoch is not the channel's
                                           first */

#define FANOUT_LIST_NONE      0
#define FANOUT_LIST_WHEEL     1
#define FANOUT_LIST_IDLE      2

#define FANOUT_NAME_FIRST     32

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         list_next;
    fanout_ref_t         list_prev;
    fanout_ref_t         presence;      /* 0: there was no seat yet */
    uint64_t             lost_seq;      /* highest seq that was removed */
    uint32_t             generation;    /* oldest policy in force */
    fanout_ref_t         shelf;         /* 0: no record, no lock */
    uint8_t              name[FANOUT_NAME_FIRST];
} fanout_name_t;


/*
 * An interest: one worker reads one channel.  The interest belongs to a slot.
 * Only the worker of the slot moves the cursor; the exception is
 * fanout_unread_drop() for a stalled worker, which sets FANOUT_LOST_*.  A purge
 * adds one to the epoch, so the epoch at the cursor is the channel's less the
 * resets still to be read.
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
    uint64_t             offset;        /* of the last entry consumed */
    uint32_t             local;
    uint32_t             subscribers;
    uint8_t              slot;
    uint8_t              flags;         /* FANOUT_DIRTY, FANOUT_LOST_* */
    uint16_t             holder;        /* that the interest counts for */
    uint32_t             resets;        /* from the cursor on */
} fanout_interest_t;

#define FANOUT_LOST_BEFORE    1         /* entries before the cursor */
#define FANOUT_LOST_BEHIND    2         /* entries after the last of the unread
                                           list */
#define FANOUT_LOST           3         /* either */
#define FANOUT_DIRTY          4         /* in the list of its slot */


/* A remembered idempotence key.  It is in the list of all keys by age, and in
 * the lists of its holder and of its sender. */

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
    uint16_t             holder;        /* that the key counts for */
    uint16_t             sender;
    fanout_ref_t         own_next[2];   /* BY_HOLDER, BY_SENDER; of the last
                                           one: the first */
} fanout_key_t;


#define fanout_channel(z, ref)   ((fanout_channel_block_t *) fanout_at(z, ref))
#define fanout_cold(z, ch)       ((fanout_cold_t *) fanout_at(z, (ch)->cold))
#define fanout_name(z, ch)       ((fanout_name_t *) fanout_at(z, (ch)->name))
#define fanout_entry(z, ref)     ((fanout_entry_block_t *) fanout_at(z, ref))
#define fanout_index(z, ref)     ((fanout_index_t *) fanout_at(z, ref))
#define fanout_interest(z, ref)  ((fanout_interest_t *) fanout_at(z, ref))
#define fanout_key(z, ref)       ((fanout_key_t *) fanout_at(z, ref))


/* Returns the number that a worker gave a channel when it opened it; UINT32_MAX
 * if it did not. */
static inline uint32_t
fanout_interest_local(fanout_zone_t *z, fanout_ref_t channel, unsigned slot)
{
    fanout_ref_t        ref;
    fanout_interest_t  *in;

    for (ref = fanout_channel(z, channel)->interests; ref; ref = in->next) {
        in = fanout_interest(z, ref);

        if (in->slot == slot) {
            return in->local;
        }
    }

    return UINT32_MAX;
}


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
 * an older one, which are shutting down, change no policy.  Without a
 * generation (in tests) every policy that a channel is opened with is the
 * newest.
 */

/* Returns 1 if this process has the newest configuration. */
static inline int
fanout_newest(fanout_zone_t *z)
{
    return z->generation >= z->shm->configured;
}

/* Gives c->policy to the channel if the policy is newer; then removes what it
 * does not keep, and calls fanout_channel_free_unused(). */
void fanout_channel_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_channel_t *c);

/* Returns 1 if c holds an interest of this process in this incarnation. */
static inline int
fanout_channel_opened(fanout_zone_t *z, const fanout_zone_channel_t *c)
{
    return c->ref && z->heap.slot != -1
           && c->incarnation == z->heap.incarnation;
}

/* The same for a channel that was found by its name.  An opened channel took
 * over the policy when this worker opened it. */
static inline void
fanout_channel_renew(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_channel_t *c)
{
    if (z->generation && !fanout_channel_opened(z, c)) {
        fanout_channel_policy(z, ref, c);
    }
}

/* Puts the channel into the list where it belongs after a change: idle, wheel
 * or none. */
void fanout_channel_free_unused(fanout_zone_t *z, fanout_ref_t ref);
void fanout_channel_unlist(fanout_zone_t *z, fanout_ref_t ref);

/* Marks the channel as in use, counted for a holder, unless it is in use
 * already.  The caller then links what uses the channel, and calls
 * fanout_channel_free_unused(). */
void fanout_channel_use(fanout_zone_t *z, fanout_ref_t ref, unsigned holder);

void fanout_channel_touch(fanout_zone_t *z, fanout_ref_t ref, uint32_t now);
void fanout_interest_drop(fanout_zone_t *z, fanout_ref_t ref);

/* Turns the wheel and removes idle channels; AGAIN if more is due. */
int fanout_channel_sweep(fanout_zone_t *z);
void fanout_channel_evict_idle(fanout_zone_t *z, uint32_t account);


/* Copies the name, not terminated, to buf of 255 bytes.  Returns its length. */
uint8_t fanout_channel_name(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf);


/* the log: entries */

/* Returns the blocks of an entry with size bytes behind its head. */
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

/* Returns the blocks that a message takes as an entry. */
uint32_t fanout_message_blocks(const fanout_zone_message_t *m);

/* Takes the blocks, which must be ensured, and writes a message into them.  The
 * entry is not linked, and has no offset and seq yet. */
fanout_ref_t fanout_message_write(fanout_zone_t *z,
    const fanout_zone_message_t *m, uint32_t blocks, fanout_kind_e kind,
    fanout_ref_t *last);

void fanout_entry_free(fanout_zone_t *z, fanout_ref_t ref,
    fanout_kind_e kind);

/* Appends a message; its blocks must be ensured. */
void fanout_log_append(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, uint8_t type);

/* The bytes of an entry's data. */
static inline uint32_t
fanout_entry_size(const fanout_entry_block_t *e)
{
    return (uint32_t) e->size_high << 16 | e->size_low;
}

uint32_t fanout_entry_blocks(fanout_zone_t *z, const fanout_entry_block_t *e);

/* Returns 1 if an entry is too large to be copied under the lock. */
int fanout_entry_large(fanout_zone_t *z, fanout_entry_block_t *e);

/*
 * Copies an entry into the arena.  Without the lock, the caller must check
 * afterwards that the entry was not freed meanwhile.  OK; AGAIN if the arena
 * has to be emptied first; FULL if it can't grow; STALE if there is no entry (a
 * lost race).
 */
int fanout_entry_copy(fanout_zone_t *z, fanout_ref_t ref, fanout_arena_t *a);

/* The same for the next entry of a section that has read n entries, since the
 * arena had start bytes.  AGAIN if the section has read enough; LARGE if the
 * entry is to be copied without the lock, as the first of all. */
int fanout_entry_read(fanout_zone_t *z, fanout_ref_t ref, uint64_t epoch,
    uint32_t n, size_t start, fanout_arena_t *a);

/* Copies such an entry: the lock must not be held.  The entry has seq, and was
 * the first kept one after an offset.  AGAIN, without an entry if it was freed
 * meanwhile; FULL if the arena can't grow. */
int fanout_entry_read_large(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t after, fanout_ref_t entry, uint64_t seq,
    fanout_arena_t *a);

/* Puts a cursor on the data of an entry; nonzero if the chain is broken. */
int fanout_entry_data(fanout_zone_t *z, fanout_ref_t ref,
    fanout_chain_cursor_t *pen);

/* Takes an entry out of the unread list or the history, as flag says.  Frees
 * the entry when it is in neither. */
void fanout_entry_release(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint8_t flag);


/* the log: history */

void fanout_history_push(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint32_t size, uint32_t blocks);

/* Removes the history that the policy does not keep, up to a step. */
void fanout_history_limit(fanout_zone_t *z, fanout_ref_t channel);

/* Frees up to a step of purged history.  Returns 1 if there was any. */
int fanout_purged_free(fanout_zone_t *z);

/* fanout_bucket_move() puts the channel into the bucket of its account and
 * size, or into none. */
void fanout_bucket_move(fanout_zone_t *z, fanout_ref_t channel);
void fanout_bucket_leave(fanout_zone_t *z, fanout_ref_t channel);

/* Returns the blocks of the channel's index. */
uint32_t fanout_index_blocks(fanout_zone_t *z,
    const fanout_channel_block_t *ch);

/* Finds the first kept entry above an offset, or above a seq: its index block,
 * with the position in *pos; 0 if there is none. */
fanout_ref_t fanout_index_seek(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t after, unsigned *pos);
fanout_ref_t fanout_index_seek_seq(fanout_zone_t *z,
    fanout_channel_block_t *ch, uint64_t after, unsigned *pos);

/* fanout_index_position() returns the number of an entry, counted from the
 * oldest kept, which is 0.  fanout_index_nth() finds the entry with the number
 * nth, which must be below ch->history. */
uint64_t fanout_index_position(fanout_channel_block_t *ch, fanout_index_t *ix,
    unsigned pos, fanout_zone_t *z);
fanout_ref_t fanout_index_nth(fanout_zone_t *z,
    fanout_channel_block_t *ch, uint64_t nth, unsigned *pos);

/* Removes the n oldest kept entries. */
void fanout_history_drop(fanout_zone_t *z, fanout_ref_t ref, uint32_t n);

/* Removes entries that are older than the ttl, up to a step.  Returns 1 if
 * there are more. */
int fanout_history_expire(fanout_zone_t *z, fanout_ref_t ref);


/* the log: unread list */

/* Links an entry at the end, and marks the interests of the channel dirty. */
void fanout_unread_push(fanout_zone_t *z, fanout_channel_block_t *ch,
    fanout_ref_t ref);

/* Skips an offset that has no entry: readers of the channel report a gap. */
void fanout_unread_lose(fanout_zone_t *z, fanout_ref_t channel);

/* Adds to the blocks that only the unread list keeps; blocks may be
 * negative. */
void fanout_held_add(fanout_zone_t *z, fanout_ref_t channel, int blocks);

/* Removes entries that all workers have read from the unread list, up to a
 * step.  Returns 1 if there are more. */
int fanout_unread_trim(fanout_zone_t *z, fanout_ref_t ref);

/* Takes the channel whose unread list has not moved for longest, and moves its
 * slowest cursor forward: to the oldest kept entry, or to the end.  Returns 1
 * if there was such a channel. */
int fanout_unread_drop(fanout_zone_t *z);

/* fanout_held_cap() removes a step of the entries that stalled workers hold
 * beyond their share, and returns 1 if there were any.  fanout_held_trim()
 * does this in sections of its own, without the lock held; call it after an
 * append. */
int fanout_held_cap(fanout_zone_t *z);
void fanout_held_trim(fanout_zone_t *z);

/* Removes entries that all workers have read from a few unread lists.  Returns
 * 1 if there were any. */
int fanout_held_sweep(fanout_zone_t *z);


/* the log: workers that have to read */

/* Marks an interest dirty, and notifies its slot. */
void fanout_dirty(fanout_zone_t *z, fanout_ref_t interest);
void fanout_clean(fanout_zone_t *z, fanout_ref_t interest);

/* Moves a dirty interest behind the others of its slot. */
void fanout_dirty_last(fanout_zone_t *z, fanout_ref_t interest);


/* keys */

/* Computes the hash of a key on a channel. */
void fanout_key_hash(fanout_zone_t *z, const fanout_channel_block_t *ch,
    const fanout_zone_publish_t *opts, uint64_t hash[2]);

/* Returns 1 if the key is remembered, with the stored result in r.  Sets
 * hash. */
int fanout_key_known(fanout_zone_t *z, const fanout_channel_block_t *ch,
    const fanout_zone_publish_t *opts, uint64_t hash[2],
    fanout_zone_result_t *r);

/* Removes lingering clients if a key needs their blocks, unless its sender may
 * not have more keys; see fanout_share_room(). */
void fanout_key_room(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts);

/* Checks whether a key may be added for a channel, or for a channel that will
 * be made (0).  OK, with r->duplicate if the key is known; HELD, with r->wait
 * and r->by_sender; FULL, as fanout_share_claim().  Sets hash if there is a
 * channel. */
int fanout_key_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, const fanout_zone_publish_t *opts, uint64_t hash[2],
    fanout_zone_result_t *r);

/* Adds a key with this hash and the result in r. */
void fanout_key_add(fanout_zone_t *z, fanout_ref_t channel,
    const uint64_t hash[2], const fanout_zone_publish_t *opts,
    const fanout_zone_result_t *r);
int fanout_key_sweep(fanout_zone_t *z);


/* Returns the epoch for a position on a channel that does not exist: it is made
 * of the zone's current seq.  The offset of such a position is 0. */
uint64_t fanout_absent(fanout_zone_t *z);

/* Returns 1 if a position belongs to the channel as it is, or, with ch NULL, to
 * a channel that does not exist.  For a position of its epoch, entries after it
 * may be lost; for a position from before the channel existed, they may not. */
int fanout_log_has(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t epoch, uint64_t offset);

/* The hash of channels by name. */
extern const fanout_hash_t  fanout_channel_table;

/* Puts a channel that has history and a ttl into the wheel, for the second
 * after now at the earliest. The lock must be held; the channel is in no
 * list. */
void fanout_channel_wheel_add(fanout_zone_t *z, fanout_ref_t ref, uint32_t now);

/* Puts a channel at the end of the list of those that hold blocks for their
 * readers, and takes it out. The lock must be held. */
void fanout_held_link(fanout_zone_t *z, fanout_ref_t channel);

void fanout_held_unlink(fanout_zone_t *z, fanout_ref_t channel);


#endif /* FANOUT_ZONE_LOG_H */
