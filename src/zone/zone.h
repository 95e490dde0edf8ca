
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The zone: shared memory that holds channels as logs, the workers that
 * read them, the identities of sessions and the keys of idempotent
 * publishes.  This header is all that other rooms know of it.
 *
 * The room knows nothing of NGINX: it needs a mapping shared by forked
 * processes, and POSIX.  docs/architecture.md draws every shared struct.
 *
 * Rules that hold for every function here, unless it says otherwise:
 *  - it takes and drops the zone lock itself; none may be held before;
 *  - it is one transaction, or a documented series of them: a process
 *    killed at any instruction leaves all of it or nothing of it;
 *  - it wakes, after the unlock, the workers it gave something to read;
 *  - pointers passed in are only read during the call; what it hands out
 *    is written to memory of the caller.
 */


#ifndef FANOUT_ZONE_ZONE_H
#define FANOUT_ZONE_ZONE_H


#include "heap/handle.h"


#define FANOUT_ZONE_SLOTS      64           /* most workers at a time */
#define FANOUT_ZONE_CLASSES    32           /* most channel policies */
#define FANOUT_ZONE_BATCH      64           /* most messages a publish */
#define FANOUT_ZONE_WHOLE      10000            /* parts that shares count in */
#define FANOUT_ZONE_DATA       (16 * 1024 * 1024 - 1)
#define FANOUT_ZONE_MIN        (1024 * 1024)

/* a section of the lock copies no more than this out of the zone or in */
#define FANOUT_ZONE_ENTRIES    64
#define FANOUT_ZONE_COPY       16384


/*
 * Counters of a worker, one writer each, summed by the status.  The list
 * is the single source of their names.
 */

#define FANOUT_COUNTERS(_)                                                    \
    _(connects,        "sessions begun, by any transport")                    \
    _(rejects,         "handshakes refused")                                  \
    _(disconnects,     "sessions ended")                                      \
    _(resumes,         "sessions resumed with their identity")                \
    _(resume_failures, "resumes refused: unknown, expired or other user")     \
    _(joins,           "channel joins")                                       \
    _(leaves,          "channel leaves, ends of sessions included")           \
    _(recoveries,      "joins that got exactly what they missed")             \
    _(recovery_failures, "joins told recovered:false")                        \
    _(received,        "messages received from clients")                      \
    _(received_bytes,  "payload bytes of messages received")                  \
    _(published,       "entries appended by clients")                         \
    _(api_published,   "entries appended by the HTTP API")                    \
    _(duplicates,      "publishes answered from their idempotence key")       \
    _(delivered,       "entries handed to a session's output")                \
    _(sent_bytes,      "bytes given to the kernel by sessions")               \
    _(sends,           "send calls of sessions")                              \
    _(lags,            "sessions that fell behind their output limit")        \
    _(sheds,           "sessions made to read output again later: frames=")   \
    _(shed_cuts,       "connections closed for the output they held: frames=") \
    _(gaps,            "gaps told to sessions")                               \
    _(resets,          "resets told to sessions")                             \
    _(errors,          "error replies")                                       \
    _(protocol_errors, "connections closed for breaking the protocol")        \
    _(timeouts,        "connections closed for silence")                      \
    _(send_timeouts,   "connections closed as they took no output")           \
    _(rate_limited,    "connections or commands refused for their rate")      \
    _(limited_commands, "of them because of commands and what they cost")    \
    _(limited_bytes,   "of them because of bytes written to the zone")        \
    _(limited_channels, "of them because of channels made")                   \
    _(limited_answers, "of them because of bytes of answers")                 \
    _(limited_sessions, "of them because of sessions begun")                  \
    _(limited_publishes, "of them because of publishes that wait for a hook") \
    _(limited_keys,    "of them because of idempotence keys held")           \
    _(limited_session, "of them by the limits of their session")              \
    _(limited_user,    "of them by the limits of their user")                 \
    _(limited_address, "of them by the limits of their address")              \
    _(address_full,    "handshakes refused: fanout_sessions_per_address")     \
    _(address_held,    "operations refused: address= of fanout_zone")         \
    _(log_gathered,    "fanout_log lines that were counted, not written")      \
    _(forbidden,       "commands refused for lack of permission")             \
    _(zone_full,       "operations refused because the zone was full")        \
    _(direct_delivered, "direct messages handed to a session's output")       \
    _(direct_offline,  "direct messages and signals, no recipient online")    \
    _(signals,         "signals accepted from clients and the HTTP API")      \
    _(signals_told,    "signals handed to a session's output")                \
    _(signals_conflated, "signals replaced by a newer one while kept")        \
    _(signals_dropped, "signals kept for slow sessions and let go of")        \
    _(wakes,           "times this worker was woken by another")              \
    _(turns,           "delivery turns")                                      \
    _(encoded,         "entries encoded for a dialect")                       \
    _(api_requests,    "HTTP API requests")                                   \
    _(presence_joins,  "members made by sessions")                            \
    _(presence_updates, "members changed by sessions")                        \
    _(presence_leaves, "members that left while their session lives")         \
    _(deflate_connects, "handshakes that agreed on permessage-deflate")       \
    _(deflated,        "messages deflated, each once for all who get it")     \
    _(deflated_in,     "bytes of them before")                                \
    _(deflated_out,    "bytes of them after")                                 \
    _(deflate_vain,    "messages that did not shrink and went as they are")   \
    _(inflated,        "messages of clients inflated")                        \
    _(inflated_in,     "bytes of them as received")                           \
    _(inflated_out,    "bytes of them after")                                 \
    _(inflate_charged, "bytes of them beyond the ratio, which were charged")  \
    _(inflate_errors,  "compressed messages refused: broken, or too big")     \
    _(broadcasts,      "entries appended for responses")                      \
    _(broadcast_failures, "responses that could not be published")            \
    _(broadcast_skipped, "responses published without their body")            \
    _(hook_calls,      "requests to hooks")                                   \
    _(hook_failures,   "of them that failed")                                 \
    _(hook_events,     "events that a hook has taken")                        \
    _(hook_asks,       "publishes that a hook was asked for")                 \
    _(hook_refusals,   "of them that it refused")                             \
    _(hook_changes,    "of them that it changed")

typedef enum {
#define FANOUT_COUNTER(name, text)  FANOUT_N_##name,
    FANOUT_COUNTERS(FANOUT_COUNTER)
#undef FANOUT_COUNTER
    FANOUT_NCOUNTERS
} fanout_counter_e;


/*
 * What the zone keeps the last hour of.  RATES are counters from the list
 * above, kept as so many a second.  GAUGES are taken as they are: a name and
 * what it is, in terms of the zone's inside.
 */

#define FANOUT_RATES(_)                                                       \
    _(published)                                                              \
    _(api_published)                                                          \
    _(delivered)                                                              \
    _(received_bytes)                                                         \
    _(sent_bytes)                                                             \
    _(connects)                                                               \
    _(disconnects)                                                            \
    _(rejects)                                                                \
    _(recovery_failures)                                                      \
    _(lags)                                                                   \
    _(gaps)                                                                   \
    _(resets)                                                                 \
    _(errors)                                                                 \
    _(protocol_errors)                                                        \
    _(timeouts)                                                               \
    _(rate_limited)                                                           \
    _(zone_full)

#define FANOUT_GAUGES(_)                                                      \
    _(sessions,  fanout_slots_sum(shm, sessions))                             \
    _(channels,  shm->nchannels)                                              \
    _(members,   shm->nmembers)                                               \
    _(used,      shm->heap.nblocks - 1 - shm->heap.nfree                      \
                 - shm->heap.nlimbo)                                          \
    _(held,      shm->held)                                                   \
    _(memory,    fanout_slots_sum(shm, vitals.memory))                        \
    _(lag,       fanout_slots_max(shm, vitals.lag))

typedef enum {
#define FANOUT_RATE(name)          FANOUT_S_##name,
#define FANOUT_GAUGE(name, value)  FANOUT_S_##name,
    FANOUT_RATES(FANOUT_RATE)
    FANOUT_NRATES,
    FANOUT_BEFORE_GAUGES = FANOUT_NRATES - 1,
    FANOUT_GAUGES(FANOUT_GAUGE)
    FANOUT_NSERIES
#undef FANOUT_GAUGE
#undef FANOUT_RATE
} fanout_series_e;

/*
 * What goes wrong: counters of workers, and numbers of the zone by a name of
 * their own, each with how bad it is when it has grown in the last minute.
 */

#define FANOUT_FAILURES(_)                                                    \
    _(hook_failures,      FAILURE)                                            \
    _(broadcast_failures, FAILURE)                                            \
    _(broadcast_skipped,  WARNING)                                            \
    _(gaps,               WARNING)                                            \
    _(recovery_failures,  WARNING)                                            \
    _(lags,               NOTE)                                               \
    _(rejects,            NOTE)                                               \
    _(rate_limited,       NOTE)                                               \
    _(protocol_errors,    NOTE)                                               \
    _(timeouts,           NOTE)                                               \
    _(send_timeouts,      NOTE)                                               \
    _(inflate_errors,     NOTE)                                               \
    _(signals_dropped,    NOTE)

#define FANOUT_LOSSES(_)                                                      \
    _(zone_refused,         FAILURE, shm->full)                               \
    _(events_lost,          FAILURE, shm->events_lost)                        \
    _(share_refused,        WARNING, refused(shm))                            \
    _(zone_dropped,         WARNING, shm->dropped)                            \
    _(mail_dropped,         WARNING, shm->mail_dropped)                       \
    _(worker_died,          WARNING, shm->reaped)                             \
    _(zone_evicted,         NOTE,    shm->evicted)                            \
    _(zone_signals_dropped, NOTE,    shm->signals_dropped)                    \
    _(budgets_lost,         NOTE,    shm->budgets_lost)

typedef enum {
#define FANOUT_FAILURE(name, level)      FANOUT_F_##name,
#define FANOUT_LOSS(name, level, value)  FANOUT_F_##name,
    FANOUT_FAILURES(FANOUT_FAILURE)
    FANOUT_LOSSES(FANOUT_LOSS)
    FANOUT_NFAILURES
#undef FANOUT_LOSS
#undef FANOUT_FAILURE
} fanout_failure_e;


#define FANOUT_SAMPLES         360              /* kept */
#define FANOUT_INTERVAL        10               /* s from one to the next */

typedef struct {
    uint64_t                    time;       /* Unix ms */
    float                       value[FANOUT_NSERIES];
} fanout_zone_sample_t;


/*
 * Upper bounds, in ms, of the classes of latency: how long it took from the
 * append of an entry until a worker had read it for its subscribers.  One class
 * more takes what is above the last bound.
 */

#define FANOUT_LATENCIES(_)                                                   \
    _(1) _(2) _(5) _(10) _(25) _(50) _(100) _(250) _(500) _(1000) _(2500)     \
    _(5000) _(10000)

#define FANOUT_NLATENCIES      13


/* what a worker tells of itself */

typedef struct {
    uint64_t                    memory;     /* private and resident, bytes */
    uint64_t                    base;       /* the same before it served */
    uint64_t                    lag;        /* ms, of the last second: the
                                               age of what it read */
    uint64_t                    watchers;   /* who look at the status */
    uint64_t                    latencies[FANOUT_NLATENCIES + 1];
                                            /* entries read, by class */
    uint64_t                    latency;    /* ms, sum of all of them */
} fanout_zone_vitals_t;


typedef struct fanout_shm_s  fanout_shm_t;


/* what a configuration asks of a zone; zero means the default */

typedef struct {
    uint32_t                    slots;      /* 32, at most SLOTS */
    uint32_t                    held;       /* percent of blocks that stalled
                                               workers may hold, 12 */
    uint32_t                    idle;       /* s an empty channel is kept,
                                               300 */
    uint32_t                    dedupe;     /* s a key is remembered, 120 */
} fanout_zone_conf_t;


/*
 * Shares of a zone, of what is in use: a name, and what is counted.  In the
 * first three each class of channels has its part.
 */

#define FANOUT_SHARES(_)                                                      \
    _(channels, "channels in use and subscriptions of workers")               \
    _(keys,     "idempotence keys")                                           \
    _(members,  "members and rooms")                                          \
    _(sessions, "identities and seats")                                       \
    _(mail,     "direct messages kept for clients")                           \
    _(signals,  "signals not read yet")                                       \
    _(events,   "the queue of hooks")

typedef enum {
#define FANOUT_SHARE(name, text)  FANOUT_SHARE_##name,
    FANOUT_SHARES(FANOUT_SHARE)
#undef FANOUT_SHARE
    FANOUT_NSHARES
} fanout_share_e;

/* what the last FULL was for, beside these */

#define FANOUT_FULL_ZONE   FANOUT_NSHARES
#define FANOUT_FULL_CLASS  (FANOUT_NSHARES + 1)

/* guaranteed, and at most: in parts of WHOLE */

typedef struct {
    uint32_t                    min;
    uint32_t                    max;
} fanout_zone_share_t;

typedef struct {
    fanout_zone_share_t  kinds[FANOUT_NSHARES];
    fanout_zone_share_t  classes[FANOUT_ZONE_CLASSES];
                                   /* of histories */
    uint32_t             address;           /* most of what others leave, 0:
                                               all of it */
    uint32_t             user;              /* the same */
} fanout_zone_shares_t;


/* a process's handle of a zone; private memory, one a process and zone */

struct fanout_zone_s {
    fanout_heap_t               heap;
    fanout_shm_t               *shm;        /* start of the mapping, too */
    uint64_t                    told;       /* the incarnation that drains know
                                               of */
    uint64_t                    made;       /* channels, ever */
    uint32_t                    generation; /* of this process's configuration,
                                               0: unknown */
    uint32_t                    full;       /* the share that the last FULL was
                                               for, or FULL_* */
    uint64_t                    touched;    /* bytes, from the start */
};


typedef struct {
    const uint8_t              *data;
    uint32_t                    len;
} fanout_zstr_t;


/* channel policy, all zero: nothing kept */

typedef struct {
    uint32_t                    history;    /* entries kept */
    uint32_t                    bytes;      /* of payload kept, 0: any */
    uint32_t                    ttl;        /* s, 0: for ever */
    uint32_t                    class;      /* index of a registered class */
    uint32_t                    members;    /* most of them, 0: any */
    uint16_t                    linger;     /* s a cut seat is kept */
    uint16_t                    batch;      /* ms deltas are gathered */
    uint16_t                    seen;       /* min a leave is remembered */
    uint8_t                     presence;   /* FANOUT_PRESENCE_* */
    uint8_t                     hooks;      /* its seats write events */
    uint8_t                     keys;       /* most members of a client, 0:
                                               ZONE_KEYS */
} fanout_zone_policy_t;

/* Of a seat: all of them leave in one transaction, whose journal has room for
 * so many. */
#define FANOUT_ZONE_KEYS         32
#define FANOUT_ZONE_KEYS_MAX     128

#define FANOUT_PRESENCE_OFF      0
#define FANOUT_PRESENCE_ON       1
#define FANOUT_PRESENCE_SUMMARY  2              /* only how many */


/*
 * A process's view of a channel.  With an interest (opened) the channel
 * can't go away but by a rebuild, and ref stays; without, ref is 0 and
 * every call looks the name up.
 */

typedef struct {
    fanout_zstr_t      name;
    fanout_zone_policy_t  *policy;          /* not owned */
    uint64_t           incarnation;
    uint64_t           address;             /* hash, of who opens it; 0: it is
                                               not limited */
    uint32_t           ref;
    uint32_t           interest;
    uint32_t           hash;
} fanout_zone_channel_t;


/* entry types */

#define FANOUT_MESSAGE   1
#define FANOUT_RESET     2                  /* data: the reason.  It takes the
                                               place of a GAP before it, so
                                               members have to be read again */
#define FANOUT_GAP       3                  /* made by a drain, not stored:
                                               entries after .from up to
                                               .offset are lost; .from is
                                               0 and .epoch another when a
                                               RESET was among them */
#define FANOUT_PRESENCE  4                  /* data: changes of members, see
                                               change_next(); never kept in
                                               the history */
#define FANOUT_SIGNAL    5                  /* key: the tag; offset: that of
                                               the entry before it */

/* payload kinds */

#define FANOUT_JSON      0
#define FANOUT_TEXT      1
#define FANOUT_BINARY    2

/* entry flags given by the publisher */

#define FANOUT_NOECHO    0x04               /* not to the client itself */
#define FANOUT_TRANSIENT 0x08               /* ordered, not kept */


/* a message to append; all strings may be empty */

typedef struct {
    uint64_t           client;              /* 0: none */
    fanout_zstr_t      event;               /* at most 255 bytes */
    fanout_zstr_t      key;                 /* at most 255 bytes */
    fanout_zstr_t      user;                /* at most 255 bytes */
    fanout_zstr_t      meta;                /* at most 65535 bytes */
    fanout_zstr_t      data;                /* at most DATA bytes */
    uint64_t           to_client;           /* 0: not for one client */
    uint64_t           to_user;             /* hash, 0: not for one user */
    uint8_t            kind;
    uint8_t            flags;
} fanout_zone_message_t;


typedef struct {
    fanout_zstr_t      key;                 /* of the whole publish */
    fanout_zstr_t      scope;               /* the user the key belongs to */
    uint64_t           address;             /* hash, whose clients hold the
                                               key, 0: none */
    uint64_t           sender;              /* hash of the user, of the address
                                               of one without, 0: who is not
                                               limited */
    uint64_t           if_epoch;            /* with if_set: the channel's */
    uint64_t           if_offset;           /* last offset must be this */
    unsigned           if_set:1;
    unsigned           live:1;              /* a direct message: not for those
                                               who linger */
} fanout_zone_publish_t;


typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* of the last entry */
    uint64_t                    time;       /* Unix ms */
    uint32_t                    delivered;  /* direct: seats that live */
    uint32_t                    pending;    /* direct: seats that linger */
    uint32_t                    subscribers;    /* of the channel, all
                                               workers */
    uint32_t                    wait;       /* HELD: ms until its first key
                                               expires */
    unsigned                    duplicate:1;
    unsigned                    by_sender:1;    /* HELD: not by the address */
} fanout_zone_result_t;


/* an entry copied out; the strings point into the arena of the call */

typedef struct {
    uint64_t           offset;
    uint64_t           seq;
    uint64_t           time;                /* Unix ms */
    uint64_t           client;              /* 0: none */
    uint64_t           epoch;               /* that it was appended in */
    uint64_t           from;                /* GAP: last offset consumed */
    uint64_t           to_client;           /* only for this client */
    uint64_t           to_user;             /* only for this user: hash */
    fanout_zstr_t      event;
    fanout_zstr_t      key;
    fanout_zstr_t      user;
    fanout_zstr_t      meta;
    fanout_zstr_t      data;
    fanout_zstr_t      to;                  /* name of the user it is for: not
                                               known here, for who delivers */
    uint32_t           local;               /* given at open */
    uint8_t            type;
    uint8_t            kind;
    uint8_t            flags;
} fanout_entry_t;


/*
 * Where a call copies entries to.  Owned by the caller: the zone fills
 * it and grows bytes through grow() when one entry alone needs more, so a
 * small arena serves any entry.  Entries point into bytes, so nothing that
 * was filled moves: growth happens only when the arena is empty.
 */

typedef struct fanout_arena_s  fanout_arena_t;

struct fanout_arena_s {
    fanout_entry_t    *entries;
    uint32_t           n;                   /* filled */
    uint32_t           max;                 /* room */
    uint8_t           *bytes;
    size_t             used;
    size_t             size;
    int                       (*grow)(fanout_arena_t *a, size_t n);
                                            /* 0, or -1: a read ends with
                                               FULL, a drain puts a GAP in
                                               the entry's place */
};


typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* last assigned */
    uint64_t                    after;      /* read from here, exclusive */
    uint64_t                    missed;     /* kept entries in between */
    uint64_t                    seq;        /* a subscriber skips up to it */
    uint64_t                    from;       /* .after as a seq: all of the
                                               channel up to it is known */
    unsigned                    recovered:1;
    unsigned                    older:1;    /* kept before .after: seek */
} fanout_zone_join_t;


typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;
    uint64_t                    first;      /* oldest kept, 0: none */
    uint64_t                    bytes;      /* payload kept */
    uint32_t                    messages;   /* kept */
    uint32_t                    blocks;     /* of the kept */
    uint32_t                    subscribers;
    uint32_t                    workers;    /* with subscribers */
    uint32_t                    class;
    uint8_t                     name[256];
    uint32_t                    len;
} fanout_zone_info_t;


typedef struct {
    uint64_t                    channels;   /* now */
    uint64_t                    messages;   /* ever appended */
    uint64_t                    bytes;      /* of payload ever appended */
    uint64_t                    evicted;    /* entries, by pressure, ever */
    uint64_t                    blocks;     /* that can be evicted: histories
                                               and channels not in use */
    uint64_t                    min;        /* of them guaranteed */
    uint64_t                    max;        /* and at most */
    uint8_t                     pattern[64];
    uint32_t                    len;
    uint32_t                    generation; /* newest that has it */
} fanout_zone_class_t;


/* a share of the zone */

typedef struct {
    uint64_t                    used;       /* blocks */
    uint64_t                    min;
    uint64_t                    max;
    uint64_t                    refused;    /* ever */
} fanout_share_stat_t;


typedef struct {
    uint64_t                    blocks;
    uint64_t                    free;
    uint64_t                    messages;   /* blocks in use by what */
    uint64_t                    index;
    uint64_t                    channels;
    uint64_t                    interests;
    uint64_t                    keys;
    uint64_t                    identities;
    uint64_t                    rooms;
    uint64_t                    seats;
    uint64_t                    members;
    uint64_t                    mail;
    uint64_t                    signals;
    uint64_t                    seen;
    uint64_t                    staged;
    uint64_t                    held;       /* by stalled workers, part of
                                               messages */
    uint64_t                    held_max;
    uint64_t                    nchannels;
    uint64_t                    nkeys;
    uint64_t                    nidentities;
    uint64_t                    nusers;
    uint64_t                    nseats;
    uint64_t                    nmembers;
    uint64_t                    nseen;      /* records of users who left */
    uint64_t                    addresses;  /* blocks in use by those with
                                               sessions */
    uint64_t                    naddresses; /* for each worker */
    uint64_t                    budgets;    /* entries in use */
    uint64_t                    budgets_max;
    uint64_t                    budgets_lost;   /* reused before they were
                                                   full again */
    uint64_t                    address_max;    /* percent of what others
                                                   leave */
    uint64_t                    user_max;
    uint64_t                    events;     /* blocks in use by the queue */
    uint64_t                    nevents;    /* in the queue */
    uint64_t                    events_max;
    uint64_t                    events_lag; /* ms, age of the oldest */
    uint64_t                    events_told;    /* ever put into it */
    uint64_t                    events_lost;    /* ever, never taken */
    uint32_t                    events_leader;  /* pid, 0: nobody */
    uint64_t                    lingering;
    uint64_t                    seats_lingering;
    uint64_t                    deltas;     /* PRESENCE entries, ever */
    uint64_t                    changes;    /* told in them */
    uint64_t                    cancelled;  /* netted to nothing */
    uint64_t                    conflated;  /* signals replaced unread */
    uint64_t                    signals_dropped;
    uint64_t                    mail_dropped;   /* by pressure */
    uint64_t                    seq;
    uint64_t                    incarnation;
    uint64_t                    evicted;    /* entries, by pressure */
    uint64_t                    expired;    /* entries, by ttl */
    uint64_t                    dropped;    /* cursors moved */
    uint64_t                    full;       /* operations refused */
    uint64_t                    rollbacks;
    uint64_t                    reaped;     /* workers */
    uint64_t                    overflows;  /* of the journal, always 0 */
    uint32_t                    slots;
    uint32_t                    live;       /* slots in use */
    uint32_t                    idle;       /* s, as in force */
    uint32_t                    dedupe;
    uint64_t                    generation; /* of the configuration in force */
    uint32_t                    block_size;
    uint64_t                    retired[FANOUT_NCOUNTERS];
    uint64_t                    samples;    /* ever taken */
    fanout_share_stat_t  shares[FANOUT_NSHARES];
} fanout_zone_stat_t;


typedef struct {
    uint32_t                    pid;
    uint32_t                    state;      /* 0 free, 1 live, 2 dead */
    uint64_t                    generation; /* of its configuration */
    uint64_t                    sessions;
    uint64_t                    interests;
    uint64_t                    counters[FANOUT_NCOUNTERS];
    fanout_zone_vitals_t  vitals;
} fanout_zone_worker_t;


/* life of a zone */

/*
 * Formats a mapping; efds holds conf->slots eventfds (or -1) that every
 * process forked later knows by the same number.  No lock: nobody else may
 * know the mapping yet.  SMALL, or ERROR with errno.
 */
int fanout_zone_create(void *mem, size_t size, const fanout_zone_conf_t *conf,
    const int *efds);

/* Checks the stamp, reads only.  LAYOUT if another build made it. */
int fanout_zone_check_layout(const void *mem, size_t size);

/* Attaches this process to a formatted mapping.  LAYOUT. */
int fanout_zone_attach(fanout_zone_t *z, void *mem, size_t size);

/* Slots of a formatted zone, for who has to make as many eventfds. */
uint32_t fanout_zone_slots(uint32_t configured);

/* The same, as a mapping has them. */
uint32_t fanout_zone_has_slots(const void *mem);

/*
 * The generation of a configuration that is about to use a formatted mapping:
 * above all that were given before, from 1 on.  Only the master may call this,
 * or whoever is alone; it takes no lock, and a number that is never used does
 * no harm.
 */
uint32_t fanout_zone_next(void *mem);

/*
 * This process works by the configuration of a generation.  If no worker has
 * begun with a newer one, held, idle and dedupe of conf are in force from now
 * on.  Before anything but attach.
 */
void fanout_zone_configure(fanout_zone_t *z, uint32_t generation,
    const fanout_zone_conf_t *conf);

/* Registers a class of channels by its pattern; its index, stable as long as
 * a configuration or a channel has it; patterns beyond CLASSES share the last
 * one. */
int fanout_zone_class(fanout_zone_t *z, const uint8_t *pattern, size_t len);

int fanout_zone_get_class(fanout_zone_t *z, unsigned n,
    fanout_zone_class_t *c);

/* Bounds the shares of the zone, for all workers; what is beyond a bound
 * already stays as long as its owner needs it.  Without it, and with a max of
 * 0, nothing is bounded. */
void fanout_zone_bound(fanout_zone_t *z, const fanout_zone_shares_t *shares);


/* slots: the workers */

/* Claims a slot for this process.  FULL if none is free: the process then
 * has to poll, and opens no channel. */
int fanout_slot_claim(fanout_zone_t *z, uint32_t pid);

/* Gives the slot back with all it holds.  Several transactions. */
void fanout_slot_release(fanout_zone_t *z);

/* Looks for dead workers and takes from them what they held: interests are
 * dropped, staged blocks freed, identities put on linger (ms).  Returns how
 * many were reaped.  Many short transactions: of each as many as a turn of a
 * worker may take, *more then says that there is more to do; with NULL, all. */
int fanout_slot_reap(fanout_zone_t *z, uint32_t linger, int *more);

/* Has this process meet the pages of the zone that are in use, and those that
 * are next, without the lock: a page fault within would have all wait for it.
 * A part of them; AGAIN: there are more. */
int fanout_zone_touch(fanout_zone_t *z);

/* The eventfd of the own slot, -1 without. */
int fanout_slot_eventfd(fanout_zone_t *z);

/* Own counters, for direct increments by this process alone; a private
 * array when there is no slot. */
uint64_t *fanout_slot_counters(fanout_zone_t *z);

/* Tells the number of live sessions for the status. */
void fanout_slot_sessions(fanout_zone_t *z, uint64_t n);

/* Tells the worker's vitals for the status; no lock. */
void fanout_slot_vitals(fanout_zone_t *z, const fanout_zone_vitals_t *vitals);

/* Copies what the status shows of slot n; NOTFOUND past the last. */
int fanout_slot_get(fanout_zone_t *z, unsigned n, fanout_zone_worker_t *w);


/* channels */

/* Opens a channel for this worker: finds or makes it, applies c->policy if
 * this process has the newest configuration (configure()), registers an
 * interest that starts at the channel's end.  local comes back with every
 * drained entry.  If it is open, policy and local are set.  FULL, also without
 * a slot; MANY if the address has as much as it may; LARGE for a name of more
 * than 255 bytes. */
int fanout_channel_open(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t local);

/* Drops the interest. */
void fanout_channel_close(fanout_zone_t *z, fanout_zone_channel_t *c);

/* Sets the number of subscribers this worker has on an opened channel. */
void fanout_channel_subscribers(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t n);

/* Describes a channel.  NOTFOUND. */
int fanout_channel_info(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_info_t *info);

/* Walks the channels: up to max infos from *cursor (0 at first) on; *cursor
 * is 0 at the end.  A channel that lives all the while is seen once. */
int fanout_channel_list(fanout_zone_t *z,
    uint64_t *cursor, fanout_zone_info_t *infos, unsigned max);

/* Drops all history, gives a new epoch, appends a RESET entry with the
 * reason (at most 1024 bytes of it) for who reads now.  NOTFOUND, FULL. */
int fanout_channel_purge(fanout_zone_t *z, fanout_zone_channel_t *c,
    const uint8_t *reason, size_t len, fanout_zone_result_t *r);

/* The same, and its subscribers are let go: workers are ordered to PART all of
 * them (.client is 0).  NOTFOUND, FULL. */
int fanout_channel_end(fanout_zone_t *z, fanout_zone_channel_t *c,
    const uint8_t *reason, size_t len, fanout_zone_result_t *r);


/* the log */

/* Appends n messages (1 to BATCH), all or none.  Makes the channel where it
 * is missing, and applies a newer policy where it is not.  Large messages are
 * staged first, in transactions of their own.  FULL, CONFLICT (r holds what the
 * channel has), HELD (r->wait, r->by_sender), ADDRESS, LARGE, STALE. */
int fanout_log_publish(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/* Whether a publish with a key would be refused for it as of now: OK, also if
 * the key is known; HELD (r->wait, r->by_sender), ADDRESS, FULL, which is
 * counted. */
int fanout_log_key(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/* what the position of a joiner is */

#define FANOUT_SINCE_NONE    0
#define FANOUT_SINCE_OFFSET  1                  /* epoch and offset */
#define FANOUT_SINCE_SEQ     2                  /* of the zone: incarnation
                                                   and seq in their place */

/* Joins an opened channel: what the joiner is told, and where it has to read
 * from to get its history.  With since: exactly what it missed, or
 * recovered 0.  STALE. */
int fanout_log_join(fanout_zone_t *z, fanout_zone_channel_t *c, int since,
    uint64_t epoch, uint64_t offset, uint32_t history, fanout_zone_join_t *j);

/* Copies kept entries with after < offset <= upto, oldest first, as many as
 * a section may and the arena holds.  *lost is the highest offset the log
 * has let go of.  OK at the end, AGAIN when there is more, NOTFOUND, STALE
 * also when the epoch is another, FULL if the arena can't grow. */
int fanout_log_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t after, uint64_t upto, fanout_arena_t *a,
    uint64_t *lost);

/* The offset after which the last n kept entries below before (0: all)
 * stand, together with epoch and last offset.  NOTFOUND: the epoch says that
 * there was no channel, as a position with offset 0. */
int fanout_log_seek(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t before, uint32_t n, fanout_zone_join_t *j);

/* Whether a position is one of the channel as it is: of its epoch, or of when
 * there was no channel, and nothing that came after is lost. */
int fanout_log_holds(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t offset);

/* Copies what this worker has not read of all its channels, within the
 * bounds of a section.  AGAIN when there is more, STALE, once, when the zone
 * was rebuilt: every channel has to be opened again (open does nothing for
 * one that was since). */
int fanout_log_drain(fanout_zone_t *z, fanout_arena_t *a);


/*
 * Identities: who may come back.  An identity has a seat on each channel that
 * its session joined; members of the channel sit on it.
 */

typedef struct {
    uint64_t                    client;     /* not 0 */
    uint64_t                    user;       /* hash of the user's name, 0:
                                               without */
    uint8_t                     secret[16];
    uint64_t                    address;    /* hash of whose it counts as, 0:
                                               nobody's */
} fanout_identity_t;

#define FANOUT_ZONE_INFO  4096              /* most bytes of info */

/* a bit of the client's number: any page may have begun it in the name of its
 * user, so that it takes no place of the user's other clients */
#define FANOUT_CLIENT_FOREIGN  0x8000000000000000ULL

/* Registers a live session; user (at most 255 bytes) and info may be empty.
 * FULL; MANY if its address holds too much; CONFLICT if the user has max
 * clients already (0: any) that are FOREIGN as this one is, or not. */
int fanout_identity_add(fanout_zone_t *z, const fanout_identity_t *id,
    const fanout_zstr_t *user, const fanout_zstr_t *info, uint32_t max,
    uint32_t *ref);

/* Gives a live session of this worker another info.  If it is another, members
 * that are told with it are told as updated, each when its channel tells of
 * changes.  FULL: the info stays as it was.  STALE. */
int fanout_identity_renew(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *info);

/* Takes a session back: the secret and the user must match an identity that
 * lingers, or one that is still live, whose worker is ordered to replace it.
 * The identity then is this worker's, with the secret that is put into next
 * (16 bytes); its seats linger no more.  Until that secret is proved to have
 * arrived the one before it is good again: for six more resumes, each taking
 * over from the last.  With keep the secret stays if it is the last one, which
 * proves it.  NOTFOUND otherwise; FULL only without a slot: it takes no
 * room. */
int fanout_identity_resume(fanout_zone_t *z, const fanout_identity_t *id,
    int keep, uint8_t *next, uint32_t *ref);

/* The client has the secret: no other is good any more.  Nothing if the
 * session was taken over. */
void fanout_identity_confirm(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id);

/* The session ended: kept for linger ms more, or gone at once with 0.  Its
 * seats then linger as their channels have it, or are given up for the reason.
 * heard says whether the client showed a sign of life: under pressure those
 * that did not go first.  Several transactions.  Nothing if it was taken over:
 * the secret then is another. */
void fanout_identity_end(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, uint32_t linger, int heard, uint8_t reason);

/* The same of a client that was told to come back after so many ms: it, and its
 * seats, linger from then on. */
void fanout_identity_disconnected(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, uint32_t linger, uint32_t after, int heard,
    uint8_t reason);

/* Who lingers says that it will not come back: gone at once, its seats given
 * up for the reason.  Several transactions.  Nothing if it is live, or the
 * secret is another. */
void fanout_identity_leave(fanout_zone_t *z, const fanout_identity_t *id,
    uint8_t reason);

/* Whether an identity registered by this worker is not its own any more: 0,
 * or by what order (REPLACED, DISCONNECT). */
int fanout_identity_lost(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id);

/* Whether a secret and a user are those of an identity, live or lingering: 1,
 * which proves the secret, or 0. */
int fanout_identity_known(fanout_zone_t *z, const fanout_identity_t *id);

/* The same of a secret that was not shown by the client: it proves nothing. */
int fanout_identity_stays(fanout_zone_t *z, const fanout_identity_t *id);


/* orders: what others want of sessions of this worker */

#define FANOUT_ORDER_REPLACED    1          /* the client is elsewhere now */
#define FANOUT_ORDER_DISCONNECT  2          /* close it with .code */
#define FANOUT_ORDER_REMOVE      3          /* its seat on the channel .local
                                               is gone, for .reason; with 0 as
                                               .client: all subscribers are to
                                               go */
#define FANOUT_ORDER_LOOK        4          /* there was no room for an order:
                                               identity_lost(), seat_lost()
                                               tell of each what it was */

typedef struct {
    uint64_t                    client;
    uint32_t                    local;
    uint16_t                    code;
    uint8_t                     op;
    uint8_t                     reason;
} fanout_order_t;

/* Takes up to max of them, oldest first. */
unsigned fanout_slot_orders(fanout_zone_t *z, fanout_order_t *orders,
    unsigned max);


/*
 * Seats and members.  A seat is a client's subscription to a channel, a
 * member (client, key) sits on it.  Changes of members reach subscribers as
 * entries of type PRESENCE: the first goes at once, later ones are gathered
 * for the channel's batch time.  Until the entry is appended the change is
 * pending; what nets to nothing meanwhile is never told.
 */

#define FANOUT_ZONE_MEMBER  8192            /* most bytes of data */

/* why a member left */
#define FANOUT_LEFT_INTENTIONAL  1
#define FANOUT_LEFT_NETWORK      2
#define FANOUT_LEFT_TIMEOUT      3
#define FANOUT_LEFT_KICKED       4
#define FANOUT_LEFT_EXPIRED      5
#define FANOUT_LEFT_REPLACED     6          /* of a DISCONNECT event alone */

/* what a change is */
#define FANOUT_JOINED            1
#define FANOUT_UPDATED           2
#define FANOUT_LEFT              3
#define FANOUT_COUNTED           4          /* summary: .count are there */

typedef struct {
    uint64_t           client;
    uint64_t           joined_at;           /* Unix ms */
    uint64_t           seen;                /* Unix ms, as of the change; put:
                                               0 is now */
    fanout_zstr_t      key;                 /* at most 255 bytes */
    fanout_zstr_t      user;                /* empty if anonymous */
    fanout_zstr_t      info;                /* empty if anonymous */
    fanout_zstr_t      data;                /* JSON, may be empty */
    fanout_zstr_t      was;                 /* put: see PUT_IF */
    uint32_t           slot;                /* from 0 */
    uint32_t           count;               /* COUNTED */
    uint8_t            change;              /* in an entry */
    uint8_t            reason;              /* LEFT */
    unsigned           idle:1;
    unsigned           timed:1;             /* idle by the clock, not asked;
                                               not in an entry */
    unsigned           anonymous:1;
    unsigned           lingers:1;           /* room_read() alone */
} fanout_member_t;

/* Takes the next change out of the data of a PRESENCE entry: 1, 0 at the
 * end, -1 if it is none.  The strings point into the data. */
int fanout_change_next(const uint8_t **p, const uint8_t *last,
    fanout_member_t *m);

/* A client of this worker sits down on an opened channel, or does so again:
 * its seat lingers no more.  FULL; STALE if the channel or the identity is
 * not this worker's. */
int fanout_seat_open(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id);

/* Whether a client of this worker has no seat any more on an opened channel: 1
 * or 0. */
int fanout_seat_lost(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id);

/* Whether a client has a member on a channel, or is counted there, opened by
 * this worker or not: 1 or 0. */
int fanout_seat_peopled(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client);

/* Gives the seat of a client of this worker up, on a channel that is opened or
 * not: its members leave for the reason.  Nothing if there is none. */
void fanout_seat_close(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, uint8_t reason);

/* what of a member is put */
#define FANOUT_PUT_DATA   0x01
#define FANOUT_PUT_STATE  0x02              /* .idle, .timed */
#define FANOUT_PUT_ENTER  0x04              /* make it if it is missing, with
                                               .anonymous */
#define FANOUT_PUT_AS_IS  0x08              /* .anonymous is of one that is
                                               made, and not less than of
                                               another one of the seat */
#define FANOUT_PUT_IF     0x10              /* only if its data is .was, which
                                               is empty where there is none */

typedef struct {
    uint32_t                    slot;
    unsigned                    created:1;  /* or back from a pending leave */
    unsigned                    changed:1;  /* a change is or was pending */
    unsigned                    idle:1;     /* as it is now */
    unsigned                    timed:1;
    unsigned                    anonymous:1;
} fanout_put_t;

/* Makes or changes the member m->key of the seat.  With the same data and
 * state nothing is told.  On a channel of the mode SUMMARY the seat counts,
 * and nothing else is kept.
 *
 * With 0 as ref the identity is found by its secret, whose worker it is, and
 * the channel by its name.
 *
 * FULL; CONFLICT if the channel has all members it may; LARGE; AGAIN if PUT_IF
 * does not hold; NOTFOUND without a seat, or without a member unless it is to
 * enter. */
int fanout_member_put(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, const fanout_member_t *m,
    unsigned what, fanout_put_t *r);

/* The member leaves, the seat stays; ref as above.  NOTFOUND. */
int fanout_member_drop(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, const fanout_zstr_t *key,
    uint8_t reason);

/* Whether it has a seat, with a member; ref as above: 1 or 0. */
int fanout_member_any(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, int *member);

/* Copies the nth member of the seat that is not about to leave, from 0 on, as
 * below; of a seat that only counts there is one without a key.  NOTFOUND. */
int fanout_member_nth(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, unsigned nth,
    fanout_member_t *m, uint8_t *buf);

/* Copies a member as it is now into buf of at least 2 * 255 + INFO + MEMBER
 * bytes.  NOTFOUND. */
#define FANOUT_ZONE_MEMBER_BUF                                                \
    (2 * 255 + FANOUT_ZONE_INFO + FANOUT_ZONE_MEMBER)

int fanout_member_get(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client, const fanout_zstr_t *key, fanout_member_t *m,
    uint8_t *buf);

typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* of the channel's last entry */
    uint32_t                    members;    /* listed now, pending joins too */
    uint32_t                    seats;
    uint8_t                     presence;   /* the mode */
} fanout_presence_info_t;

/*
 * Copies members of a channel as they were told to its subscribers, so that
 * this is the state at room->offset: pending joins are left out, pending
 * leaves are in; of a pending update the new data may be there already.
 * Ordered by slot, from *slot on, as many as fit into max and size (at least
 * MEMBER_BUF) and a section of the lock may copy; *n are filled.  *slot is
 * UINT32_MAX after the last.
 *
 * To read all of it in several calls while it changes: the PRESENCE entries
 * from the offset of the first call on up to that of the last, put upon what
 * was read (joined and updated: as it is told, left: gone), make it the state
 * at the offset of the last.
 *
 * NOTFOUND without such a channel.
 */
int fanout_presence_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t *slot, fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size, unsigned *n, fanout_presence_info_t *presence);

/* When a user, who is not there now, was last seen on a channel, by both
 * names: Unix ms.  NOTFOUND if it is not remembered. */
int fanout_seen_get(fanout_zone_t *z, const fanout_zstr_t *channel,
    const fanout_zstr_t *user, uint64_t *time);

/* Appends the entries of pending changes that are due, of any channel, as many
 * as a turn of a worker may take.  To be called after each operation on seats
 * and members, and when the ms that it returns have passed: 0 if more is due
 * now, UINT32_MAX if nothing is pending. */
uint32_t fanout_presence_flush(fanout_zone_t *z);

/* Takes a client's seat on a channel away; its worker is ordered to PART.
 * NOTFOUND. */
int fanout_seat_kick(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client, uint8_t reason);


/* clients and users, for who asks from outside */

typedef struct {
    uint64_t           client;
    fanout_zstr_t      user;                /* into the buf of the call */
    fanout_zstr_t      info;
    uint32_t           pid;                 /* of its worker, 0: lingers */
    uint32_t           seats;
} fanout_zone_client_t;

/* Describes a client; buf has room for 255 + INFO bytes.  NOTFOUND. */
int fanout_client_get(fanout_zone_t *z, uint64_t client,
    fanout_zone_client_t *info, uint8_t *buf);

/* Names of the channels that a client sits on: skips the first *cursor,
 * copies up to max (255 bytes each, lens beside); *cursor is 0 at the end.
 * NOTFOUND. */
int fanout_client_channels(fanout_zone_t *z, uint64_t client,
    uint32_t *cursor, uint8_t names[][256], uint8_t *lens, unsigned max,
    unsigned *n);

/* Clients of a user (its hash), lingering ones too: up to max of those after
 * the client *cursor (0: from the first); *cursor is 0 at the end.
 * NOTFOUND. */
int fanout_user_clients(fanout_zone_t *z, uint64_t user, uint64_t *cursor,
    uint64_t *clients, unsigned max, unsigned *n);

/* Ends a client's session for the reason KICKED: it can't come back, and its
 * worker, if it lives, is ordered to DISCONNECT it with the close code.
 * NOTFOUND. */
int fanout_client_disconnect(fanout_zone_t *z, uint64_t client,
    uint16_t code);


/*
 * Direct messages: log_publish() of a message with to_client or to_user (one
 * of them, n is 1) appends an entry that only the addressed are to see: it is
 * never kept in the history, and each addressed seat keeps a copy for a
 * while, for who is cut before it has read it.  r->delivered seats are live,
 * r->pending linger; NOTFOUND (nothing is appended) if there is none, or with
 * opts->live no live one.
 */

#define FANOUT_ZONE_MAIL  64                /* most kept for a seat */

/* Copies what was addressed to the client on the channel after an offset,
 * oldest first, as log_read() does.  *lost is the highest offset of those it
 * does not have any more. */
int fanout_mail_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_identity_t *id, uint64_t after, uint64_t upto,
    fanout_arena_t *a, uint64_t *lost);

/*
 * Signals: not stored, no offset, no place in the history.  In the zone the
 * latest of (client, event, tag) replaces the one before it that some worker
 * has not read; log_drain() hands them out in the order of seq among the
 * entries.  They are the first to go when the zone is full.  To one client or
 * user by to_client, to_user.  m->key is the tag.
 *
 * OK, FULL, LARGE (data beyond 16384 bytes); NOTFOUND if it is addressed and
 * nobody is there.
 */
int fanout_signal_put(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m);


/*
 * Events: what a backend is to be told of.  A queue that is written in the
 * transactions of what happens, read by the one worker that leads, and freed
 * when the backend has taken it.  It is never evicted, but takes no more than
 * a quarter of the zone.  What happens never fails for lack of room for its
 * event: the event is lost, counted, and leaves a hole in the offsets.
 */

#define FANOUT_EVENT_CONNECT     0x01           /* or resumed */
#define FANOUT_EVENT_DISCONNECT  0x02           /* lingering or not */
#define FANOUT_EVENT_JOIN        0x04           /* a seat is taken */
#define FANOUT_EVENT_LEAVE       0x08           /* it is given up */
#define FANOUT_EVENT_FIRST_IN    0x10           /* with JOIN: of its user; not
                                                   of one with more than 256
                                                   clients */
#define FANOUT_EVENT_LAST_OUT    0x20           /* with LEAVE: the last one */
#define FANOUT_EVENT_OCCUPIED    0x40           /* with JOIN: of all */
#define FANOUT_EVENT_VACATED     0x80           /* with LEAVE: the last */

#define FANOUT_ZONE_EVENTS       64             /* most in a read */

typedef struct {
    uint64_t           offset;              /* grows by one, but for those
                                               lost */
    uint64_t           time;                /* Unix ms */
    uint64_t           client;
    fanout_zstr_t      channel;             /* empty: of the connection */
    fanout_zstr_t      user;                /* empty: none */
    uint8_t            events;              /* those asked for alone */
    uint8_t            reason;              /* DISCONNECT, LEAVE */
    unsigned           resumed:1;           /* CONNECT */
} fanout_event_t;

/* Asks for the events of mask from now on, of which up to max are queued: the
 * oldest give way, and are lost.  Nothing if a newer configuration is in
 * force.  0 as one of them: for none, and what is
 * queued is freed, and not lost.  What was asked for last counts, for all
 * workers.  To be called by every worker at its start; a rebuild leaves it as
 * it is, and begins an epoch.  Several transactions: who dies in between leaves
 * some of what is beyond max to the next call. */
void fanout_hook_queue_ask(fanout_zone_t *z, uint8_t mask, uint32_t max);

/* Whether this worker is to deliver: 1 or 0.  It takes the lead if nobody has
 * it, or who has it is dead or was not heard of for 10 s.  To be called every
 * second; who leads is woken when an event comes into the empty queue. */
int fanout_hook_queue_lead(fanout_zone_t *z);

/* Gives the lead up, if it has it: the others are woken if there is
 * something to deliver.  The death of a worker does the same, once it is
 * reaped. */
void fanout_hook_queue_yield(fanout_zone_t *z);

/* Whether there may be some, and whether somebody may lead: 1 or 0.  Hints,
 * read without the lock. */
int fanout_hook_queue_any(fanout_zone_t *z);
int fanout_hook_queue_led(fanout_zone_t *z);

/* Copies the oldest, *n of them: up to max and ZONE_EVENTS, to what buf of size
 * (at least 510) holds of their strings, and to what a section copies.  They
 * point into buf.  *lost is how many came between the last that was done and
 * the last of these and are not there.  Whoever asks gets them, and again until
 * they are done: who leads should.  OK; AGAIN if there are more. */
int fanout_hook_queue_read(fanout_zone_t *z, fanout_event_t *events,
    unsigned max, uint8_t *buf, size_t size, unsigned *n, uint64_t *epoch,
    uint64_t *lost);

/* They were taken, up to an offset that was read: they are freed.  Nothing if
 * the epoch is another, or they are gone already.  A transaction for every 64:
 * who dies in between has the rest read again. */
void fanout_hook_queue_done(fanout_zone_t *z, uint64_t epoch, uint64_t offset);


/*
 * Budgets: what one address or one user may ask for in a time, over all
 * workers.  See zone/budget.c.
 */

#define FANOUT_BUDGET_COMMANDS   0
#define FANOUT_BUDGET_BYTES      1              /* of blocks taken */
#define FANOUT_BUDGET_CHANNELS   2              /* made */
#define FANOUT_BUDGET_ANSWERS    3              /* bytes told */
#define FANOUT_BUDGET_SESSIONS   4              /* begun */
#define FANOUT_BUDGETS           5

/* all amounts are in thousandths of one */

typedef struct {
    uint64_t                    rate;       /* per ms, 0: unlimited */
    uint64_t                    burst;
    uint64_t                    debt;       /* beyond the burst, at most */
} fanout_zone_limit_t;

typedef struct {
    uint64_t                    key;        /* hash of who, and which limits */
    const fanout_zone_limit_t  *limits;     /* BUDGETS of them */
} fanout_zone_budget_t;

typedef struct {
    uint32_t                    wait[FANOUT_BUDGETS];
                                            /* ms until it is not above its
                                               burst, 0: it is not */
    uint8_t                     budget[FANOUT_BUDGETS];
                                            /* index of that with this wait */
    uint8_t                     over;       /* bit for each that is above */
} fanout_zone_drawn_t;

/*
 * Takes amounts (BUDGETS of them) from n budgets, at most 3, the narrowest
 * first.  check has a bit for each resource that must have room for its amount
 * in all of them: if one has none, nothing is taken, drawn tells of these, and
 * AGAIN is returned.  Otherwise OK: all is taken, and drawn tells what is above
 * its burst now.  What is above the burst of a budget is owed to it alone, up
 * to the debt of its limit: it is not taken from the budgets behind it.
 */
int fanout_budget_draw(fanout_zone_t *z, const fanout_zone_budget_t *budgets,
    unsigned n, const uint64_t *amounts, unsigned check,
    fanout_zone_drawn_t *drawn);


/*
 * Sessions of an address, a hash, over all workers.  A worker that dies takes
 * its own with it.
 */

/* Counts one more, unless there are max (0: any).  *ref is for the drop.  MANY;
 * FULL; STALE without a slot. */
int fanout_address_add(fanout_zone_t *z, uint64_t address, uint32_t max,
    uint32_t *ref);

/* One less.  Nothing if the zone was rebuilt since. */
void fanout_address_drop(fanout_zone_t *z, uint64_t address, uint32_t ref);


/* housekeeping */

/* Takes a short section's worth of each of what is due: expired history, keys,
 * seats, identities, mail, signals, idle channels, purged history.  AGAIN when
 * there is more.  To be called several times a second, and on for some ms. */
int fanout_zone_sweep(fanout_zone_t *z);

void fanout_zone_stat(fanout_zone_t *z, fanout_zone_stat_t *st);

/* Takes a sample if one is due: of all workers that ask, one does it.  Call
 * every second. */
void fanout_sample_take(fanout_zone_t *z);

/* Copies samples, oldest first, from number *next (of all that were ever
 * taken, 0 at first) on, as many as a section may.  How many; *next is moved
 * past them, also past those that are no longer kept. */
unsigned fanout_sample_read(fanout_zone_t *z, uint64_t *next,
    fanout_zone_sample_t *samples, unsigned max);

/* By how much each failure has grown in the last minute, which is the time from
 * 60 to 70 s ago on: grown has a place for each of FANOUT_NFAILURES.
 * Over how many seconds; less than 60 in a zone that is younger. */
uint32_t fanout_sample_recent(fanout_zone_t *z, uint64_t *grown);

/* Random bytes from the zone's own generator are not for secrets; this is
 * the keyed 64-bit hash of the zone (SipHash-2-4). */
uint64_t fanout_zone_hash(fanout_zone_t *z, const void *data, size_t len);

/* Walks everything and compares it with the accounts: for tests.  0, or the
 * number of a violated invariant, described in text.  Holds the lock all
 * the while. */
int fanout_zone_check(fanout_zone_t *z, char *text, size_t len);


#endif /* FANOUT_ZONE_ZONE_H */
