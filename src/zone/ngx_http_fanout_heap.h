
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of the zone room: the transactional heap and the layout of all
 * that lives in it.
 *
 * A zone is one mapping:
 *
 *   +------------------+ 0
 *   | shm: stamp, lock,|   fixed part, fanout_shm_t
 *   | accounts, slots  |
 *   +------------------+ shm->journal
 *   | undo journal     |   FANOUT_JOURNAL records of 16 bytes
 *   +------------------+ shm->channel_hash
 *   | hash buckets     |   channels, keys, identities: u32 block numbers
 *   +------------------+ shm->blocks
 *   | blocks of 64 B   |   block 0 is never used: 0 is "none"
 *   +------------------+ shm->size
 *
 * One block size for everything: a freed block serves any need, so there
 * is no fragmentation, freeing old history always makes room, and the
 * accounts are exact.  Long things are chains of blocks.
 *
 * Every store to linked state goes through fanout_set(), which first
 * writes {where, old value} to the journal.  fanout_commit() empties the
 * journal; a rollback stores the old values back, newest first, and may
 * itself be killed and done again.  A process dies by SIGKILL at an
 * instruction, and its stores up to there are seen by all, in program
 * order: so barriers for the compiler are enough.
 *
 * Blocks taken from the free list may be written without the journal until
 * they are linked: their old content does not matter, but for the first
 * word, the link of the free list, which is only changed by fanout_set().
 * For the same reason a block freed in a transaction may not be reused in
 * it: it goes to the limbo list, which joins the free list when the next
 * transaction begins.
 */


#ifndef _NGX_HTTP_FANOUT_HEAP_H_INCLUDED_
#define _NGX_HTTP_FANOUT_HEAP_H_INCLUDED_


#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "ngx_http_fanout_zone.h"


#define FANOUT_MAGIC          0x74756f6e61665f6eULL
#define FANOUT_LAYOUT         4
#define FANOUT_BLOCK          NGX_HTTP_FANOUT_ZONE_BLOCK
#define FANOUT_PAYLOAD        (FANOUT_BLOCK - 4)
#define FANOUT_JOURNAL        8192
#define FANOUT_JOURNAL_ROOM   4096      /* left for one bounded step */
#define FANOUT_WORK           768       /* work after which a loop leaves the
                                           rest to another section */
#define FANOUT_WHEEL          1024
#define FANOUT_SEATS_WHEEL    256
#define FANOUT_ROOMS_WHEEL    4096
#define FANOUT_ROOMS_TICK     4         /* ms of a place in it */
#define FANOUT_ROOMS_RIM      ((FANOUT_ROOMS_WHEEL - 1) * FANOUT_ROOMS_TICK)
#define FANOUT_BUCKETS        32
#define FANOUT_STEP           64        /* things done in one transaction */
#define FANOUT_SLICE          256       /* blocks staged in one */
#define FANOUT_FEW            16        /* are in a page that is met already */
#define FANOUT_CLASSES        NGX_HTTP_FANOUT_ZONE_CLASSES
#define FANOUT_PARTS          3         /* shares that classes divide, the
                                           first ones */

typedef uint32_t  fanout_ref_t;


/* who a used block belongs to, for the accounts */

typedef enum {
    FANOUT_MESSAGES = 0,
    FANOUT_INDEX,
    FANOUT_CHANNELS,
    FANOUT_INTERESTS,
    FANOUT_KEYS,
    FANOUT_IDENTITIES,                  /* users, their names, info too */
    FANOUT_STAGED,
    FANOUT_ROOMS,
    FANOUT_SEATS,
    FANOUT_MEMBERS,
    FANOUT_MAIL,
    FANOUT_SIGNALS,
    FANOUT_SEEN,
    FANOUT_EVENTS,
    FANOUT_ADDRESSES,
    FANOUT_NKINDS
} fanout_kind_e;


/* a chain of blocks: the first four bytes of each number the next */

typedef struct {
    fanout_ref_t         next;
    uint8_t              data[FANOUT_PAYLOAD];
} fanout_block_t;


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

#define FANOUT_RANK_UNHEARD   0         /* never showed a sign of life */
#define FANOUT_RANK_NAMELESS  1         /* without a user */
#define FANOUT_RANK_NAMED     2
#define FANOUT_RANKS          3

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
} fanout_identity_t;


/*
 * A seat: a client's subscription to a channel.  While it lingers it is in
 * the wheel of seats, at the second when it is to be given up.  A seat that is
 * GONE waits until the leaves of its members were told.  Its mail is a list of
 * entries by their next.
 */

#define FANOUT_SEAT_LIVE      1
#define FANOUT_SEAT_LINGERS   2
#define FANOUT_SEAT_GONE      3

/* flags: a member of a room that only counts; lingers, and its client has said
 * goodbye; its members were told with another info of the identity */

#define FANOUT_SEAT_COUNTED   1
#define FANOUT_SEAT_INTENT    2
#define FANOUT_SEAT_RENEWED   4

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         channel;
    uint64_t             client;
    fanout_ref_t         identity;
    fanout_ref_t         id_next;       /* of the identity, the gone last */
    fanout_ref_t         id_prev;       /* of its first: the last */
    fanout_ref_t         members;
    fanout_ref_t         mail_head;
    fanout_ref_t         mail_tail;
    uint64_t             mail_lost;     /* highest offset let go of, and in
                                           the upper 16 bits those of its
                                           epoch that change */
    uint8_t              nmail;
    uint8_t              state;
    uint8_t              flags;
    uint8_t              due_at;        /* place in the wheel */
    uint32_t             due;           /* lingering: s of the zone's clock;
                                           live: as expires of an identity */
    fanout_ref_t         due_next;
    fanout_ref_t         due_prev;
} fanout_seat_t;


/*
 * A member.  Key and data are in it if they are short, else in a chain.  While
 * a change is to be told it is in the pending list of its room.
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
} fanout_member_t;


/*
 * A room: what of a channel has to do with who is there.  It is there as long
 * as the channel has seats or signals.  root leads to the members by slot: a
 * tree of tables, depth levels of them.
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
    fanout_ref_t         due_next;      /* of rooms with something pending */
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
} fanout_room_t;

#define FANOUT_ROOM_COUNT     0x01      /* SUMMARY: the number is pending */
#define FANOUT_ROOM_HOOKS     0x02      /* its seats write events */
#define FANOUT_ROOM_WANTED    0x04      /* times the mode of the policy */

#define FANOUT_ROOM_LISTED    0x10      /* in the wheel of rooms */

#define fanout_room_wanted(room)  ((room)->flags / FANOUT_ROOM_WANTED & 3)


/* A table of a room's tree: leaves hold members, others tables.  A bit of full
 * says that nothing is free below. */

#define FANOUT_ROOM_BLOCKS    1
#define FANOUT_DEPTH          7         /* of tables, at most */
#define FANOUT_TABLE_REFS     14
#define FANOUT_TABLE_FULL     ((1 << FANOUT_TABLE_REFS) - 1)

typedef struct {
    fanout_ref_t         refs[FANOUT_TABLE_REFS];
    uint16_t             full;
    uint16_t             n;             /* refs that are not 0 */
    uint32_t             unused;
} fanout_table_t;


/* When a user was last seen on a channel, in the list of all. */

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         next;
    fanout_ref_t         prev;
    uint32_t             expires;       /* s of the zone's clock */
    uint64_t             hash[2];       /* of the two names */
    uint64_t             time;          /* Unix ms */
    uint64_t             unused[3];
} fanout_seen_t;


/* The sessions of an address on one worker, in the list of its slot. */

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         slot_next;
    fanout_ref_t         slot_prev;
    uint32_t             n;             /* never 0 */
    uint64_t             address;       /* hash */
    uint8_t              slot;
    uint8_t              unused[39];
} fanout_address_t;


/*
 * What the clients of an address hold: live sessions with their live seats,
 * members, keys, and channels that they brought into use.  Addresses that share
 * a holder are taken for one; holder 0 is of those without an address, and has
 * no limit.  See ngx_http_fanout_holder.c.
 */

typedef struct {
    uint32_t             sessions;      /* blocks */
    uint32_t             members;
    uint32_t             keys;
    fanout_ref_t         key_last;      /* by age, a ring */
    uint32_t             channels;
} fanout_holder_t;


/*
 * What a user holds, or the clients of an address that have none; else as a
 * holder.  One that has mail is in a list with those that have about as much,
 * but for sender 0.  See ngx_http_fanout_mail_sender.c.
 */

typedef struct {
    uint32_t             keys;          /* blocks */
    uint32_t             mail;
    fanout_ref_t         mail_first;    /* by age */
    fanout_ref_t         mail_last;
    uint16_t             next;          /* number in the list, 0 */
    uint16_t             prev;
    fanout_ref_t         key_last;      /* as of a holder */
} fanout_sender_t;


/*
 * What is owed to a budget: it grows by what is taken and shrinks with time.
 * Outside of the journal: see ngx_http_fanout_budget.c.
 */

typedef struct {
    uint64_t             key;           /* 0: never used */
    uint64_t             owed[NGX_HTTP_FANOUT_BUDGETS];     /* 1/1000 */
    uint32_t             at;            /* ms of the zone's clock */
    uint32_t             full_at;       /* ms, nothing is owed from then on */
    uint64_t             unused[1];
} fanout_budget_t;

#define FANOUT_BUDGET_WAYS    4         /* entries of a set */


/* An order to a worker: see ngx_http_fanout_order_t. */

typedef struct {
    fanout_ref_t         next;
    uint32_t             local;
    uint64_t             client;
    uint16_t             code;
    uint8_t              op;
    uint8_t              reason;
    uint8_t              unused[44];
} fanout_order_t;


/*
 * A slot: a worker.  life is held by it for as long as it lives.  notified
 * and the counters are its own or hints, outside of transactions.
 */

typedef struct {
    fanout_ref_t         head;
    fanout_ref_t         tail;
    uint32_t             n;
} fanout_stage_t;

#define FANOUT_SLOT_FREE      0
#define FANOUT_SLOT_LIVE      1
#define FANOUT_SLOT_DEAD      2

typedef struct {
    pthread_mutex_t      life;
    int                  efd;
    uint32_t             state;
    uint32_t             pid;
    uint32_t             notified;
    fanout_ref_t         dirty_head;
    fanout_ref_t         dirty_tail;
    fanout_ref_t         interests;
    uint32_t             ninterests;
    fanout_ref_t         identities;
    fanout_ref_t         order_first;   /* what others want of it */
    fanout_ref_t         order_last;
    uint32_t             look;          /* there was no block for one */
    fanout_ref_t         addresses;
    uint32_t             nstaged;
    uint32_t             generation;    /* of its configuration */
    fanout_stage_t       staged[NGX_HTTP_FANOUT_ZONE_BATCH];
    uint64_t             sessions;
    uint64_t             counters[NGX_HTTP_FANOUT_NCOUNTERS];
    ngx_http_fanout_zone_vitals_t  vitals;
} fanout_slot_t;


/* where: offset in the zone << 8 | size of the store */

typedef struct {
    uint64_t             where;
    uint64_t             old;
} fanout_undo_t;


/* what a share of the zone is bounded by, in blocks */

typedef struct {
    uint32_t             min;           /* guaranteed */
    uint32_t             max;
} fanout_bounds_t;


#define FANOUT_READY          1
#define FANOUT_REBUILDING     2

/* The counts of failures when a sample was taken.  One place more than are
 * read: see sample.c. */

#define FANOUT_MARKS          8

typedef struct {
    uint64_t             at;            /* s of the zone's clock */
    uint64_t             counts[NGX_HTTP_FANOUT_NFAILURES];
} fanout_mark_t;


struct ngx_http_fanout_shm_s {
    uint64_t             magic;
    uint32_t             layout;
    uint32_t             sizes;         /* hash of the struct sizes */
    uint64_t             size;

    pthread_mutex_t      lock;
    uint32_t             state;
    uint32_t             njournal;      /* records that count */

    uint64_t             incarnation;
    uint64_t             seq;
    uint64_t             forgotten;     /* highest seq that a channel which
                                           was freed had let go of */
    uint64_t             wall;          /* last time told, Unix ms */
    uint64_t             start;         /* monotonic s at the format */
    uint64_t             seed[2];
    uint64_t             random[2];     /* of epochs */

    uint64_t             journal;       /* offsets in the mapping */
    uint64_t             channel_hash;
    uint64_t             key_hash;
    uint64_t             identity_hash;
    uint64_t             user_hash;
    uint64_t             seat_hash;
    uint64_t             signal_hash;
    uint64_t             seen_hash;
    uint64_t             address_hash;
    uint64_t             budgets;
    uint64_t             holders;
    uint64_t             senders;
    uint64_t             blocks;
    uint32_t             channel_mask;
    uint32_t             key_mask;
    uint32_t             identity_mask; /* of users, too */
    uint32_t             seat_mask;
    uint32_t             signal_mask;
    uint32_t             seen_mask;
    uint32_t             address_mask;
    uint32_t             budget_mask;   /* of sets */
    uint32_t             holder_mask;   /* at most 65535; of senders, too */

    uint32_t             nblocks;       /* block 0 included */
    uint32_t             fresh;         /* blocks from here never used */
    uint32_t             nfree;         /* in the free list or fresh */
    fanout_ref_t         free;
    fanout_ref_t         limbo;
    fanout_ref_t         limbo_tail;
    uint32_t             nlimbo;
    uint32_t             used[FANOUT_NKINDS];

    uint32_t             nchannels;
    uint32_t             nkeys;
    uint32_t             nidentities;
    uint32_t             nlingering;
    uint32_t             nusers;
    uint32_t             nseats;        /* those that are gone, too */
    uint32_t             nseats_lingering;
    uint32_t             nmembers;      /* pending leaves, too */
    uint32_t             nsignals;
    uint32_t             nseen;
    uint32_t             naddresses;
    uint32_t             nbudgets;      /* entries that were used */
    uint32_t             held;
    uint32_t             held_max;
    fanout_ref_t         held_first;    /* channels, longest unmoved first */
    fanout_ref_t         held_last;
    fanout_ref_t         key_first;     /* by age */
    fanout_ref_t         key_last;
    fanout_ref_t         doomed;        /* purged histories: fanout_index_t */
    uint32_t             nrooms;        /* with something pending */
    uint32_t             rooms_at;      /* ms their wheel has turned to */
    fanout_ref_t         mail_first;    /* of all seats, by age */
    fanout_ref_t         mail_last;
    uint32_t             mail_blocks;   /* of entries that mail keeps */
    uint16_t             mail_senders[FANOUT_BUCKETS];
                                        /* first, by the power of two of
                                           blocks */
    fanout_ref_t         signal_first;  /* of all rooms, by seq */
    fanout_ref_t         signal_last;
    fanout_ref_t         seen_first;
    fanout_ref_t         seen_last;
    fanout_ref_t         event_first;
    fanout_ref_t         event_last;
    uint32_t             nevents;
    uint32_t             event_max;
    uint32_t             event_mask;    /* asked for, 0: none */
    uint32_t             event_lead;    /* slot + 1 of who delivers, 0 */
    uint32_t             event_lead_at; /* s, when it last said so */
    uint32_t             wheel_at;      /* s the wheel has turned to */
    uint32_t             seats_at;      /* s that of seats has turned to */
    uint32_t             lingering_at;  /* s that of identities has */
    uint32_t             in_use;        /* blocks of channels in use */
    uint32_t             kept_min;      /* blocks guaranteed to histories */
    uint32_t             address_max;   /* of what others leave, in parts of
                                           WHOLE */
    uint32_t             user_max;      /* the same */
    uint32_t             holding;       /* blocks of sessions, of all
                                           holders */
    fanout_bounds_t      shares[NGX_HTTP_FANOUT_NSHARES];
    uint32_t             part[FANOUT_PARTS][FANOUT_CLASSES];
                                        /* blocks of a share by class */
    fanout_ref_t         bucket[FANOUT_CLASSES][FANOUT_BUCKETS];
    fanout_ref_t         idle_first[FANOUT_CLASSES];
    fanout_ref_t         idle_last[FANOUT_CLASSES];
                                        /* channels, longest first */
    fanout_ref_t         wheel[FANOUT_WHEEL];
    fanout_ref_t         seats[FANOUT_SEATS_WHEEL];
    fanout_ref_t         lingering[FANOUT_RANKS][FANOUT_SEATS_WHEEL];
    fanout_ref_t         rooms[FANOUT_ROOMS_WHEEL];
    uint64_t             rooms_map[FANOUT_ROOMS_WHEEL / 64];
    uint64_t             rooms_top;

    uint32_t             idle;          /* configuration */
    uint32_t             dedupe;
    uint32_t             nslots;
    uint32_t             nclasses;
    uint32_t             generation;    /* last given, by the master alone */
    uint32_t             configured;    /* newest that a worker began with */

    uint64_t             evicted;
    uint64_t             expired;
    uint64_t             dropped;
    uint64_t             full;
    uint64_t             rollbacks;
    uint64_t             reaped;
    uint64_t             overflows;
    uint64_t             deltas;
    uint64_t             changes;
    uint64_t             cancelled;
    uint64_t             conflated;
    uint64_t             signals_dropped;
    uint64_t             mail_dropped;
    uint64_t             event_epoch;
    uint64_t             event_offset;  /* last given */
    uint64_t             event_done;    /* taken up to it */
    uint64_t             events_told;
    uint64_t             events_lost;
    uint64_t             budgets_lost;

    uint64_t             refused[NGX_HTTP_FANOUT_NSHARES];

    ngx_http_fanout_zone_class_t  classes[FANOUT_CLASSES];
    uint64_t             retired[NGX_HTTP_FANOUT_NCOUNTERS];
    fanout_slot_t        slots[NGX_HTTP_FANOUT_ZONE_SLOTS];
    fanout_slot_t        spare;         /* where those without a slot stage, in
                                           turns: life is held meanwhile */

    uint64_t             nsamples;      /* ever */
    uint64_t             sampled[NGX_HTTP_FANOUT_NRATES];
                                        /* counters at the last one */
    uint32_t             sampled_at;    /* s of the zone's clock, 0: never */
    ngx_http_fanout_zone_sample_t  samples[NGX_HTTP_FANOUT_SAMPLES + 1];
    uint64_t             nmarks;        /* ever */
    fanout_mark_t        marks[FANOUT_MARKS];
};

typedef ngx_http_fanout_shm_t  fanout_shm_t;


/*
 * A build for the crash harness has a point before and after every store;
 * others have nothing.
 */

#if (NGX_HTTP_FANOUT_CRASH)
extern void fanout_crash_point(void);
#else
#define fanout_crash_point()
#endif

#define fanout_barrier()   __asm__ __volatile__ ("" ::: "memory")


static inline void
fanout_undo(fanout_shm_t *shm, void *p, unsigned size)
{
    uint32_t        n;
    uint64_t        old;
    fanout_undo_t  *u;

    n = shm->njournal;

    if (__builtin_expect(n >= FANOUT_JOURNAL, 0)) {
        /* a bug, told by the status: who dies before the commit leaves what
         * can't be undone, and so a zone that is made anew */
        shm->overflows++;
        shm->njournal = FANOUT_JOURNAL + 1;
        fanout_barrier();
        return;
    }

    switch (size) {
    case 8:  old = *(uint64_t *) p; break;
    case 4:  old = *(uint32_t *) p; break;
    case 2:  old = *(uint16_t *) p; break;
    default: old = *(uint8_t *) p;
    }

    u = (fanout_undo_t *) ((uint8_t *) shm + shm->journal) + n;
    u->where = (uint64_t) ((uint8_t *) p - (uint8_t *) shm) << 8 | size;
    u->old = old;

    fanout_barrier();
    fanout_crash_point();

    shm->njournal = n + 1;

    fanout_barrier();
    fanout_crash_point();
}


/* the one way to change linked state; the zone lock must be held */

#define fanout_set(z, lvalue, value)                                          \
    do {                                                                      \
        __typeof__(lvalue)  fanout_v_ = (value);                              \
        fanout_undo((z)->shm, &(lvalue), sizeof(lvalue));                     \
        (lvalue) = fanout_v_;                                                 \
        fanout_barrier();                                                     \
        fanout_crash_point();                                                 \
    } while (0)


static inline void *
fanout_at(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    return z->base + (uint64_t) ref * FANOUT_BLOCK;
}

#define fanout_identity(z, ref)  ((fanout_identity_t *) fanout_at(z, ref))
#define fanout_user(z, ref)      ((fanout_user_t *) fanout_at(z, ref))
#define fanout_seat(z, ref)      ((fanout_seat_t *) fanout_at(z, ref))
#define fanout_member(z, ref)    ((fanout_member_t *) fanout_at(z, ref))
#define fanout_room(z, ref)      ((fanout_room_t *) fanout_at(z, ref))
#define fanout_table(z, ref)     ((fanout_table_t *) fanout_at(z, ref))
#define fanout_seen(z, ref)      ((fanout_seen_t *) fanout_at(z, ref))
#define fanout_address(z, ref)   ((fanout_address_t *) fanout_at(z, ref))
#define fanout_order(z, ref)     ((fanout_order_t *) fanout_at(z, ref))
#define fanout_block(z, ref)     ((fanout_block_t *) fanout_at(z, ref))

#define fanout_hash_table(z, which)                                           \
    ((fanout_ref_t *) ((uint8_t *) (z)->shm + (z)->shm->which))


/* zone: its regions by its size, SMALL if they don't fit; and an empty heap,
 * which may be killed and done again.  For who holds the lock, or is alone. */
int fanout_layout(fanout_shm_t *shm);
void fanout_format(fanout_shm_t *shm);


/* zone: lock and transactions; but for enter, the lock must be held */

/* Takes a robust mutex of the zone, however many that wait for it are killed:
 * 0, or EOWNERDEAD. */
int fanout_take(pthread_mutex_t *lock);

/* Takes the lock, rolls back what a dead holder left, joins the limbo to
 * the free list.  STALE if the zone was rebuilt since this handle last
 * entered (the lock is held all the same). */
int fanout_enter(ngx_http_fanout_zone_t *z);

/* Commits, unlocks, wakes. */
void fanout_leave(ngx_http_fanout_zone_t *z);

/* What was stored since the last commit stands, the limbo is free. */
void fanout_commit(ngx_http_fanout_zone_t *z);

/* Whether a loop may take one more bounded step in this transaction. */
static inline int
fanout_journal_room(ngx_http_fanout_zone_t *z)
{
    return z->shm->njournal < FANOUT_JOURNAL - FANOUT_JOURNAL_ROOM;
}

/*
 * Whether a loop may take one more step in this section of the lock.  What is
 * counted is the work that was done in it, over all of its transactions: a
 * store is one, and so is a block that was taken, copied, or looked at in a
 * long chain.  That is about 5 ns for what is in the cache, and 50 for what is
 * not.
 */
static inline int
fanout_section_room(ngx_http_fanout_zone_t *z)
{
    return z->work + z->shm->njournal < FANOUT_WORK;
}

/* A build for tests can set the zone's clock, unless this is 0, and the ms
 * beside it; and is told the most records of a transaction and the most work
 * of a section so far. */
#if (NGX_HTTP_FANOUT_TEST)
extern uint32_t  fanout_test_seconds;
extern uint32_t  fanout_test_msec;
extern uint32_t  fanout_test_journal;
extern uint32_t  fanout_test_work;
#endif

uint32_t fanout_seconds(ngx_http_fanout_zone_t *z);     /* the zone's clock */
uint32_t fanout_msec(ngx_http_fanout_zone_t *z);        /* runs over */
uint64_t fanout_wall(ngx_http_fanout_zone_t *z);        /* clamped, Unix ms */
uint64_t fanout_random(ngx_http_fanout_zone_t *z);      /* never 0 */
void fanout_hash(ngx_http_fanout_zone_t *z, const void *a, size_t alen,
    const void *b, size_t blen, uint64_t salt, uint64_t out[2]);


/* blocks */

/*
 * Makes n blocks allocatable, evicting in transactions of its own: to be
 * called at the start of one.  The lock may be dropped and taken again in
 * between, so all that was looked up before is to be looked up again.
 *
 * FULL; STALE if the zone was rebuilt meanwhile.
 */
int fanout_ensure(ngx_http_fanout_zone_t *z, uint32_t n);

/* The same for the history of a class of channels. */
int fanout_ensure_history(ngx_http_fanout_zone_t *z, uint32_t class,
    uint32_t n);

/* Tries to have n blocks, a few hundred at most, for what may be lost: at the
 * expense of history and of what is remembered alone.  The lock is kept.  To
 * be called at the start of a transaction.  Whether there are so many. */
int fanout_ensure_spare(ngx_http_fanout_zone_t *z, uint32_t n);

/* Takes a chain of n blocks, ended by 0; ensured before. */
fanout_ref_t fanout_alloc(ngx_http_fanout_zone_t *z, uint32_t n,
    fanout_kind_e kind, fanout_ref_t *last);

/* The last block of a chain. */
fanout_ref_t fanout_chain_last(ngx_http_fanout_zone_t *z, fanout_ref_t ref);

/* Frees a chain by its ends; it becomes usable by the next transaction. */
void fanout_free(ngx_http_fanout_zone_t *z, fanout_ref_t first,
    fanout_ref_t last, uint32_t n, fanout_kind_e kind);


/* reading and writing along a chain */

typedef struct {
    ngx_http_fanout_zone_t  *z;
    fanout_ref_t             ref;
    uint32_t                 pos;       /* in the block */
    uint32_t                 left;      /* blocks, ends a chain torn by a
                                           race */
} fanout_pen_t;

void fanout_write(fanout_pen_t *pen, const void *src, size_t n);
int fanout_copy(fanout_pen_t *pen, void *dst, size_t n);


/* identities */

/* Where a walk over the seats of an identity has got to; all zero at first.
 * It holds nothing: what is gone by the next section is not found. */

typedef struct {
    fanout_ref_t             channel;
    fanout_ref_t             seat;
} fanout_seats_walk_t;

int fanout_identity_sweep(ngx_http_fanout_zone_t *z);

/* Ends the one with the least time left of those that linger in the lowest of
 * so many ranks, or a step of its seats; whether there was one. */
int fanout_identity_evict(ngx_http_fanout_zone_t *z, unsigned ranks);

/* Of any state; 0. */
fanout_ref_t fanout_identity_find(ngx_http_fanout_zone_t *z,
    uint64_t client);

/* Whether it is live, this worker's, and not taken over since. */
int fanout_identity_own(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    const ngx_http_fanout_identity_t *id);

/* The identity with that secret and user, live or lingering; 0. */
fanout_ref_t fanout_identity_known(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_identity_t *id);

/* Frees one that has ended, after its last seat. */
void fanout_identity_settle(ngx_http_fanout_zone_t *z, fanout_ref_t ref);

/* Copies its info into buf; the length. */
size_t fanout_identity_info(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    uint8_t *buf);

/* Takes up to a step of the identities of a dead slot; whether there are
 * more.  at is of the one that it is at. */
int fanout_identity_orphan(ngx_http_fanout_zone_t *z, unsigned slot,
    uint32_t linger, fanout_seats_walk_t *at);


/* users */

fanout_ref_t fanout_user_find(ngx_http_fanout_zone_t *z, uint64_t hash);
uint32_t fanout_user_blocks(size_t name_len);

/* Makes an identity one of the user's, and takes it from him; user_blocks()
 * must be ensured for the first. */
void fanout_user_join(ngx_http_fanout_zone_t *z, fanout_ref_t identity,
    uint64_t hash, const ngx_http_fanout_zstr_t *name);
void fanout_user_part(ngx_http_fanout_zone_t *z, fanout_ref_t identity);

/* How many clients the user has that are FOREIGN as client is, or not, without
 * those that ended; at most max, and if it has fewer than max of both kinds,
 * of both. */
uint32_t fanout_user_clients(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    uint64_t client, uint32_t max);

/* Copies the name into buf of 255 bytes; the length, 0 for no user. */
size_t fanout_user_name(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    uint8_t *buf);


/* seats: see ngx_http_fanout_seat.c */

unsigned fanout_seat_bucket(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    uint64_t client);

/* Of any state; 0. */
fanout_ref_t fanout_seat_find(ngx_http_fanout_zone_t *z,
    fanout_ref_t channel, uint64_t client);

/* Frees one that is gone, after its last member. */
void fanout_seat_settle(ngx_http_fanout_zone_t *z, fanout_ref_t ref);

/* What becomes of an identity's seats, as many as a section may take, and of
 * those given up at most max; whether there are more.  They linger from after s
 * on. */
int fanout_seats_linger(ngx_http_fanout_zone_t *z, fanout_ref_t identity,
    unsigned max, uint8_t reason, uint32_t after, fanout_seats_walk_t *at);
int fanout_seats_revive(ngx_http_fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at);

/* Marks a step of the seats as RENEWED: revive or linger tells of their
 * members.  Whether there are more. */
int fanout_seats_mark(ngx_http_fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at);

int fanout_seats_give_up(ngx_http_fanout_zone_t *z, fanout_ref_t identity,
    unsigned max, uint8_t reason);

/* Gives up those that lingered long enough, up to a step; AGAIN. */
int fanout_seat_sweep(ngx_http_fanout_zone_t *z);


/* rooms: see ngx_http_fanout_room.c, room_due.c, room_slot.c and room_tell.c */

/* The room of a channel, 0; the same, made if there is none, ROOM_BLOCKS must
 * be ensured (policy may be NULL). */
fanout_ref_t fanout_room_of(ngx_http_fanout_zone_t *z, fanout_ref_t channel);
fanout_ref_t fanout_room_make(ngx_http_fanout_zone_t *z,
    fanout_ref_t channel, const ngx_http_fanout_zone_policy_t *policy);

/* The room takes over its part of a policy; the mode only when it is empty. */
void fanout_room_policy(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    const ngx_http_fanout_zone_policy_t *policy);

/* A room that is empty takes over the mode that its policy wants. */
void fanout_room_mode(ngx_http_fanout_zone_t *z, fanout_ref_t ref);

/* Frees one that holds nothing. */
void fanout_room_settle(ngx_http_fanout_zone_t *z, fanout_ref_t ref);

/* Puts a room into the wheel of those with something to tell, if it is not
 * there, by when it may be told; takes it out. */
void fanout_room_list(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
void fanout_room_unlist(ngx_http_fanout_zone_t *z, fanout_ref_t ref);

/* One that is due; or 0, and the ms until the next is: UINT32_MAX for none. */
fanout_ref_t fanout_room_due(ngx_http_fanout_zone_t *z, uint32_t *wait);

/* A seat more or less in a room that only counts. */
void fanout_room_count(ngx_http_fanout_zone_t *z, fanout_ref_t ref, int n);

/* Slots: the smallest free one for a member (DEPTH + 1 blocks must be
 * ensured); back; the first member at or above one, which *slot becomes. */
uint32_t fanout_slot_take(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    fanout_ref_t member);
void fanout_slot_give(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    uint32_t slot);
fanout_ref_t fanout_slot_next(ngx_http_fanout_zone_t *z,
    const fanout_room_t *room, uint32_t *slot);

/* A member's change is to be told, or not any more. */
void fanout_pending_set(ngx_http_fanout_zone_t *z, fanout_ref_t member,
    uint8_t pending);
void fanout_pending_clear(ngx_http_fanout_zone_t *z, fanout_ref_t member);


/* members: see ngx_http_fanout_member.c */

/* It leaves: to be told, or freed if it was never told that it had come.  The
 * caller settles the seat. */
/* All of a seat that others know by name are told as updated. */
void fanout_members_renew(ngx_http_fanout_zone_t *z, fanout_ref_t seat);

void fanout_member_leave(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    uint8_t reason);

/* Frees one with nothing pending. */
void fanout_member_free(ngx_http_fanout_zone_t *z, fanout_ref_t ref);

/* Copies key or data; the length. */
size_t fanout_member_key(ngx_http_fanout_zone_t *z, const fanout_member_t *m,
    uint8_t *buf);
size_t fanout_member_data(ngx_http_fanout_zone_t *z,
    const fanout_member_t *m, uint8_t *buf);

/* Copies a member into buf; how much of it was used. */
size_t fanout_member_copy(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    ngx_http_fanout_member_t *to, uint8_t *buf);


/* what is remembered: see ngx_http_fanout_seen.c */

/* A user has left a channel; kept for so many s, if there is plenty of
 * room. */
void fanout_seen_put(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t user, uint64_t time, uint32_t keep);
int fanout_seen_sweep(ngx_http_fanout_zone_t *z);
int fanout_seen_evict(ngx_http_fanout_zone_t *z);


/* addresses: see ngx_http_fanout_budget.c */

/* Forgets up to a step of those of a dead slot; whether there are more. */
int fanout_address_orphan(ngx_http_fanout_zone_t *z, unsigned slot);


/* slots */

/* Where this process stages the blocks of a large publish: its slot, or the
 * spare one, which it may have to wait for.  Given back when nothing is staged
 * any more.  Without the lock. */
fanout_slot_t *fanout_staging_take(ngx_http_fanout_zone_t *z);
void fanout_staging_give(ngx_http_fanout_zone_t *z, fanout_slot_t *slot);

/* Meets the pages of the next n blocks that were never used, without the
 * lock. */
void fanout_touch_fresh(ngx_http_fanout_zone_t *z, uint32_t n);

/* Gives an order to a worker; one is freed for it by order_room(), at the start
 * of a transaction.  Without a block the worker looks for itself. */
void fanout_order_room(ngx_http_fanout_zone_t *z);
void fanout_order_give(ngx_http_fanout_zone_t *z, unsigned slot, uint8_t op,
    uint64_t client, uint32_t local, uint16_t code, uint8_t reason);

void fanout_notify(ngx_http_fanout_zone_t *z, unsigned slot);

/* Wakes all live slots, whatever they were told before. */
void fanout_notify_all(ngx_http_fanout_zone_t *z);


#endif /* _NGX_HTTP_FANOUT_HEAP_H_INCLUDED_ */
