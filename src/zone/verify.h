
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Internals of the check of a zone, shared by its files.
 */


#ifndef FANOUT_ZONE_VERIFY_H
#define FANOUT_ZONE_VERIFY_H


#include "zone/share.h"


/* the kinds that a block was met as */

#define SEEN_FREE        1
#define SEEN_CHANNEL     2
#define SEEN_REST        3              /* not the first of its chain */
#define SEEN_INDEX       4
#define SEEN_ENTRY       5
#define SEEN_INTEREST    6
#define SEEN_KEY         7
#define SEEN_IDENTITY    8
#define SEEN_STAGED      9
#define SEEN_ORDER       10
#define SEEN_USER        11
#define SEEN_SEAT        12
#define SEEN_MEMBER      13
#define SEEN_ROOM        14
#define SEEN_TABLE       15
#define SEEN_MAIL        16
#define SEEN_SIGNAL      17
#define SEEN_SEEN        18
#define SEEN_EVENT       19
#define SEEN_ADDRESS     20
#define SEEN_SHELF       21
#define SEEN_RECORD      22
#define SEEN_FIELD       23
#define SEEN_LOCK        24
#define SEEN_CLAIM       25
#define SEEN_DENIAL      26


typedef struct {
    uint8_t                 seen;
    uint8_t                 unread;     /* entry: met in an unread list */
    uint8_t                 listed;     /* met in a list beside the owner's */
    uint32_t                owner;      /* channel */
    uint32_t                n;          /* channel: keys; presence: members */
    uint32_t                leaving;    /* presence: of them */
    uint32_t                pending;    /* presence: of them */
    uint32_t                seats;      /* room */
    uint32_t                counted;    /* presence set: seats that count */
    uint64_t                before;     /* entry: seq of its predecessor */
} mark_t;

typedef struct {
    fanout_zone_t    *z;
    fanout_shm_t     *shm;
    mark_t           *marks;
    fanout_holder_t  *holders;          /* sums of what was met */
    fanout_sender_t  *senders;
    char             *text;
    size_t            len;
    int               line;
    uint32_t          used[FANOUT_NKINDS];
    uint32_t          channels;
    uint32_t          identities;
    uint32_t          users;
    uint32_t          seats;
    uint32_t          lingering;        /* seats */
    uint32_t          members;
    uint32_t          listed;           /* presence sets */
    uint32_t          mail;
    uint32_t          signals;
    uint32_t          records;
    uint32_t          records_due;
    uint64_t          record_bytes;
    uint32_t          locks;            /* held */
    uint32_t          waiters;
    uint32_t          seated;           /* claims of seats */
    uint32_t          unseated;
    uint64_t          held;
    uint64_t          nheld;
    uint64_t          nbuckets;
    uint64_t          nwheel;
    uint64_t          nidle;
    uint64_t          account[FANOUT_ZONE_ACCOUNTS];
    uint32_t          blocks[FANOUT_ACCOUNTS];
    uint32_t          part[FANOUT_PARTS][FANOUT_ACCOUNTS];
    uint32_t          in_use;
    uint32_t          interests[FANOUT_ZONE_SLOTS];
    uint32_t          dirty[FANOUT_ZONE_SLOTS];
} walk_t;


/* the number of an invariant is its line */

#define must(w, cond)                                                         \
    if (!(cond)) {                                                            \
        return fanout_verify_broken(w, __LINE__, #cond, 0);                    \
    }

#define must_of(w, ref, cond)                                                 \
    if (!(cond)) {                                                            \
        return fanout_verify_broken(w, __LINE__, #cond, ref);                  \
    }

#define try(call)                                                             \
    if (call) {                                                               \
        return w->line;                                                       \
    }


#define meet       fanout_verify_meet
#define met        fanout_verify_met
#define meet_rest  fanout_verify_meet_rest


/* Describes the invariant that does not hold.  Returns its line. */
int fanout_verify_broken(walk_t *w, int line, const char *text,
    fanout_ref_t ref);

/* Marks a block, which must not have been met before; fanout_verify_met()
 * returns 1 if it was met as this kind. */
int fanout_verify_meet(walk_t *w, fanout_ref_t ref, uint8_t as,
    fanout_ref_t owner);
int fanout_verify_met(walk_t *w, fanout_ref_t ref, uint8_t as);

/* Marks the rest of a chain of n blocks from first to last (0: any), whose
 * first block was met. */
int fanout_verify_meet_rest(walk_t *w, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, fanout_kind_e kind);

/* Walks a tree of slots with depth levels, whose blocks are of a kind; visit is
 * called for each record with its slot.  *tables gets the number of tables
 * more. */
typedef int (*fanout_verify_slot_pt)(walk_t *w, fanout_ref_t ref,
    uint32_t slot, void *data);

int fanout_verify_tree(walk_t *w, fanout_ref_t ref, unsigned depth,
    uint32_t base, fanout_kind_e kind, fanout_verify_slot_pt visit, void *data,
    uint32_t *tables);

/* Channels with their histories, and purged histories; after mail, the unread
 * lists and interests; and keys. */
int fanout_verify_channels(walk_t *w);
int fanout_verify_unread(walk_t *w);
int fanout_verify_keys(walk_t *w);

/* Marks an entry, and computes its blocks. */
int fanout_verify_entry(walk_t *w, fanout_ref_t ref, fanout_ref_t channel,
    uint32_t *blocks);

/* Mail, before the unread lists that share its entries; after seats and
 * presence sets, the mailboxes and signals. */
int fanout_verify_mail(walk_t *w);
int fanout_verify_mailboxes(walk_t *w);
int fanout_verify_signals(walk_t *w);

/* Identities and users, seats with their members, presence sets. */
int fanout_verify_identities(walk_t *w);
int fanout_verify_seats(walk_t *w);
int fanout_verify_presence(walk_t *w);
int fanout_verify_seen(walk_t *w);

/* The records of a channel; after all channels, what the zone counts. */
int fanout_verify_shelf(walk_t *w, fanout_ref_t channel);
int fanout_verify_records(walk_t *w);

/* The locks of a shelf, whose blocks are added; after seats, what is listed
 * elsewhere. */
int fanout_verify_shelf_locks(walk_t *w, fanout_ref_t shelf,
    uint32_t *blocks);
int fanout_verify_locks(walk_t *w);

/* The claims of a seat. */
int fanout_verify_claims(walk_t *w, fanout_ref_t seat);

/* Denials, and the wheel of what ends. */
int fanout_verify_denials(walk_t *w);

/* The queue of events for a backend. */
int fanout_verify_events(walk_t *w);

/* Sessions of addresses, and the table of budgets; after identities and seats,
 * the table of holders. */
int fanout_verify_addresses(walk_t *w);
int fanout_verify_budgets(walk_t *w);
int fanout_verify_holders(walk_t *w);

/* Counts a key for its holder and its sender: called for all keys by age,
 * before holders. */
int fanout_verify_key_owners(walk_t *w, fanout_ref_t ref);


#endif /* FANOUT_ZONE_VERIFY_H */
