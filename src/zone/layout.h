
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The layout of the fixed part of a zone, and the kinds of blocks.
 */


#ifndef FANOUT_ZONE_LAYOUT_H
#define FANOUT_ZONE_LAYOUT_H


#include "heap/heap.h"
#include "zone/slot.h"
#include "zone/stat.h"
#include "zone/zone.h"


#define FANOUT_LAYOUT            9
#define FANOUT_WHEEL             1024
#define FANOUT_SEATS_WHEEL       256
#define FANOUT_RECORDS_WHEEL     256
#define FANOUT_LOCKS_WHEEL       1024
#define FANOUT_LOCKS_TICK        128    /* ms of a place in the wheel */
#define FANOUT_DENIALS_WHEEL     256
#define FANOUT_PRESENCE_WHEEL    4096
#define FANOUT_PRESENCE_TICK     4      /* ms of a place in the wheel */
#define FANOUT_PRESENCE_RIM                                                   \
    ((FANOUT_PRESENCE_WHEEL - 1) * FANOUT_PRESENCE_TICK)
#define FANOUT_BUCKETS           32
#define FANOUT_STEP              64     /* items handled in one transaction */
#define FANOUT_SLICE             256    /* blocks staged in one section */
#define FANOUT_FEW               16     /* blocks whose pages the process has
                                           probably touched */
#define FANOUT_ACCOUNTS           FANOUT_ZONE_ACCOUNTS
#define FANOUT_PARTS             4      /* the first shares, which accounts
                                           divide */


/* the kinds of used blocks, for the accounts */

typedef enum {
    FANOUT_MESSAGES = 0,
    FANOUT_INDEX,
    FANOUT_CHANNELS,
    FANOUT_INTERESTS,
    FANOUT_KEYS,
    FANOUT_IDENTITIES,                  /* users, names and info too */
    FANOUT_STAGED,
    FANOUT_PRESENCE_SET,
    FANOUT_SEATS,
    FANOUT_MEMBERS,
    FANOUT_MAIL,
    FANOUT_SIGNALS,
    FANOUT_SEEN,
    FANOUT_EVENTS,
    FANOUT_ADDRESSES,
    FANOUT_RECORDS,                     /* shelves, fields too */
    FANOUT_LOCKS,                       /* claims too */
    FANOUT_DENIALS,
    FANOUT_NKINDS
} fanout_kind_e;


/* ranks of lingering identities: under pressure, lower ones are evicted
 * first */

#define FANOUT_RANK_UNHEARD   0         /* the client never showed a sign of
                                           life */
#define FANOUT_RANK_NAMELESS  1         /* without a user */
#define FANOUT_RANK_NAMED     2
#define FANOUT_RANKS          3


/* limits of a share of the zone, in blocks */

typedef struct {
    uint32_t             min;           /* guaranteed */
    uint32_t             max;
} fanout_bounds_t;


/* The counts of failures when a sample was taken.  One mark more than are read,
 * see sample.c. */

#define FANOUT_MARKS          8

typedef struct {
    uint64_t             at;            /* s of the zone's clock */
    uint64_t             counts[FANOUT_NFAILURES];
} fanout_mark_t;


struct fanout_shm_s {
    fanout_heap_shm_t    heap;

    uint64_t             seq;
    uint64_t             forgotten;     /* highest seq that a freed channel had
                                           lost */

    uint64_t             channel_hash;
    uint64_t             key_hash;
    uint64_t             identity_hash;
    uint64_t             user_hash;
    uint64_t             seat_hash;
    uint64_t             signal_hash;
    uint64_t             seen_hash;
    uint64_t             address_hash;
    uint64_t             record_hash;
    uint64_t             lock_hash;
    uint64_t             denial_hash;
    uint64_t             budgets;
    uint64_t             holders;
    uint64_t             senders;
    uint32_t             channel_mask;
    uint32_t             key_mask;
    uint32_t             identity_mask; /* of users, too */
    uint32_t             seat_mask;
    uint32_t             signal_mask;
    uint32_t             seen_mask;
    uint32_t             address_mask;
    uint32_t             record_mask;
    uint32_t             lock_mask;
    uint32_t             denial_mask;
    uint32_t             budget_mask;   /* of sets */
    uint32_t             holder_mask;   /* at most 65535; of senders, too */

    uint32_t             nchannels;
    uint32_t             nkeys;
    uint32_t             nidentities;
    uint32_t             nlingering;
    uint32_t             nusers;
    uint32_t             nseats;        /* seats that are GONE too */
    uint32_t             nseats_lingering;
    uint32_t             nmembers;      /* pending leaves, too */
    uint32_t             nsignals;
    uint32_t             nseen;
    uint32_t             naddresses;
    uint32_t             nbudgets;      /* entries that were used */
    uint32_t             nrecords;
    uint32_t             nrecords_due;  /* that expire */
    uint32_t             records_at;    /* s that their wheel has turned to */
    uint32_t             nlocks;        /* that are held */
    uint32_t             nwaiters;      /* in line */
    uint32_t             nclaims;       /* in the wheel of locks */
    uint32_t             locks_at;      /* ms that it has turned to */
    uint32_t             ndenials;
    uint32_t             denials_max;
    uint32_t             denials_at;    /* s that their wheel has turned to */
    fanout_ref_t         denial_first;  /* by their numbers */
    fanout_ref_t         denial_last;
    uint32_t             held;
    uint32_t             held_max;
    fanout_ref_t         held_first;    /* channels, longest unchanged first */
    fanout_ref_t         held_last;
    fanout_ref_t         key_first;     /* by age */
    fanout_ref_t         key_last;
    fanout_ref_t         purged_list;   /* purged histories: fanout_index_t */
    uint32_t             npresences;    /* with changes pending */
    uint32_t             presences_at;  /* ms that their wheel has turned to */
    fanout_ref_t         mail_first;    /* of all seats, by age */
    fanout_ref_t         mail_last;
    uint32_t             mail_blocks;   /* of entries that mail keeps */
    uint16_t             mail_senders[FANOUT_BUCKETS];
                                        /* first of a list, by the power of two
                                         * of blocks */
    fanout_ref_t         signal_first;  /* of all presence sets, by seq */
    fanout_ref_t         signal_last;
    fanout_ref_t         seen_first;
    fanout_ref_t         seen_last;
    fanout_ref_t         event_first;
    fanout_ref_t         event_last;
    uint32_t             nevents;
    uint32_t             event_max;
    uint32_t             event_mask;    /* asked for by a hook, 0: none */
    uint32_t             event_lead;    /* slot + 1 of the delivering worker, 0:
                                           none */
    uint32_t             event_lead_at; /* s, when the leader last renewed */
    uint32_t             wheel_at;      /* s that the wheel has turned to */
    uint32_t             seats_at;      /* s that the wheel of seats has turned
                                           to */
    uint32_t             lingering_at;  /* s that the wheels of identities have
                                           turned to */
    uint32_t             in_use;        /* blocks of channels in use */
    uint32_t             kept_min;      /* blocks guaranteed to histories */
    uint32_t             address_max;   /* limit of what others leave, in parts
                                           of WHOLE */
    uint32_t             user_max;      /* the same */
    uint32_t             holding;       /* blocks of sessions, of all
                                           holders */
    fanout_bounds_t      shares[FANOUT_NSHARES];
    uint32_t             part[FANOUT_PARTS][FANOUT_ACCOUNTS];
                                        /* blocks of a share by account */
    fanout_ref_t         bucket[FANOUT_ACCOUNTS][FANOUT_BUCKETS];
    fanout_ref_t         idle_first[FANOUT_ACCOUNTS];
    fanout_ref_t         idle_last[FANOUT_ACCOUNTS];
                                        /* channels, longest first */
    fanout_ref_t         wheel[FANOUT_WHEEL];
    fanout_ref_t         seats[FANOUT_SEATS_WHEEL];
    fanout_ref_t         records_due[FANOUT_RECORDS_WHEEL];
    fanout_ref_t         locks_due[FANOUT_LOCKS_WHEEL];
    fanout_ref_t         denials_due[FANOUT_DENIALS_WHEEL];
    fanout_ref_t         lingering[FANOUT_RANKS][FANOUT_SEATS_WHEEL];
    fanout_ref_t         presences[FANOUT_PRESENCE_WHEEL];
    uint64_t             presences_map[FANOUT_PRESENCE_WHEEL / 64];
    uint64_t             presences_top;

    uint32_t             idle;          /* configuration */
    uint32_t             dedupe;
    uint32_t             nslots;
    uint32_t             naccounts;
    uint32_t             generation;    /* last assigned, by the master alone */
    uint32_t             configured;    /* newest that a worker started with */

    uint64_t             evicted;
    uint64_t             expired;
    uint64_t             dropped;
    uint64_t             full;
    uint64_t             reaped;
    uint64_t             deltas;
    uint64_t             changes;
    uint64_t             cancelled;
    uint64_t             conflated;
    uint64_t             signals_dropped;
    uint64_t             mail_dropped;
    uint64_t             event_epoch;
    uint64_t             event_offset;  /* last assigned */
    uint64_t             event_done;    /* delivered up to it */
    uint64_t             events_told;
    uint64_t             events_lost;
    uint64_t             budgets_lost;
    uint64_t             record_bytes;
    uint64_t             sets;
    uint64_t             conflicts;
    uint64_t             rejected;      /* fields */
    uint64_t             records_expired;
    uint64_t             records_floor; /* highest version of what was on
                                           shelves that are gone */
    uint64_t             version_max;   /* highest ever given; a rebuild keeps
                                           it */
    uint64_t             token;         /* of the last grant of a lock; a
                                           rebuild keeps it */
    uint64_t             lock_grants;
    uint64_t             lock_waits;    /* begun */
    uint64_t             lock_timeouts; /* of them */
    uint64_t             lock_conflicts;
    uint64_t             locks_expired;
    uint64_t             locks_broken;
    uint64_t             denial_change; /* number of the last denial; a rebuild
                                           keeps it */

    uint64_t             refused[FANOUT_NSHARES];

    fanout_zone_account_t  accounts[FANOUT_ACCOUNTS];
    uint64_t             retired[FANOUT_NCOUNTERS];
    fanout_slot_t        slots[FANOUT_ZONE_SLOTS];
    fanout_slot_t        spare;         /* staging place of processes without a
                                           slot, one at a time, which then holds
                                           life */

    uint64_t             nsamples;      /* ever */
    uint64_t             sampled[FANOUT_NRATES];
                                        /* counters at the last one */
    uint32_t             sampled_at;    /* s of the zone's clock, 0: never */
    fanout_zone_sample_t  samples[FANOUT_SAMPLES + 1];
    uint64_t             nmarks;        /* ever */
    fanout_mark_t        marks[FANOUT_MARKS];
};


#define fanout_hash_table(z, which)                                           \
    ((fanout_ref_t *) ((uint8_t *) (z)->shm + (z)->shm->which))


#endif /* FANOUT_ZONE_LAYOUT_H */
