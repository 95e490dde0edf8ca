
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The numbers of a zone and its workers: counters, failures, samples, and the
 * status.  The rules of zone/zone.h apply.
 */


#ifndef FANOUT_ZONE_STAT_H
#define FANOUT_ZONE_STAT_H


#include "zone/zone.h"


/*
 * Counters of a worker, one writer each, summed by the status.  The list
 * is the single source of their names.
 */

#define FANOUT_COUNTERS(_)                                                    \
    _(connects,        "sessions begun, by any transport")                    \
    _(rejects,         "handshakes refused, but not for a rate")              \
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
    _(timeouts,        "connections closed for silence or without a token")   \
    _(send_timeouts,   "connections closed as they took no output")           \
    _(rate_limited,    "handshakes or commands refused for their rate")       \
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
    _(limited_dry_run, "not refused, only counted: fanout_limit_dry_run")     \
    _(address_full,    "handshakes refused: fanout_sessions_per_address")     \
    _(address_held,    "operations refused: address= of fanout_zone")         \
    _(log_gathered,    "fanout_log lines that were counted, not written")      \
    _(forbidden,       "commands refused for lack of permission")             \
    _(tokens,          "tokens that were verified: fanout_jwt")                \
    _(tokens_expired,  "tokens refused because they have expired")            \
    _(tokens_refused,  "tokens refused for another reason")                   \
    _(tokens_renewed,  "tokens that took the place of an older one")          \
    _(denied,          "sessions ended because they were shut out")           \
    _(denied_handshakes, "handshakes refused likewise")                       \
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
    _(hook_changes,    "of them that it changed")                             \
    _(authorize_calls, "questions to a backend: fanout_authorize")            \
    _(authorize_denied, "of them that it denied")                             \
    _(authorize_failures, "of them without a valid answer")

typedef enum {
#define FANOUT_COUNTER(name, text)  FANOUT_N_##name,
    FANOUT_COUNTERS(FANOUT_COUNTER)
#undef FANOUT_COUNTER
    FANOUT_NCOUNTERS
} fanout_counter_e;


/*
 * Series of which the zone keeps the last hour.  RATES are counters from the
 * list above, as numbers per second, and ZONE_RATES those of a zone.  GAUGES
 * are stored as they are: a name, and an expression for the current value.
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

#define FANOUT_ZONE_RATES(_)                                                  \
    _(record_sets,      shm->sets)                                            \
    _(record_conflicts, shm->conflicts)

#define FANOUT_GAUGES(_)                                                      \
    _(sessions,  fanout_slots_sum(shm, sessions))                             \
    _(channels,  shm->nchannels)                                              \
    _(members,   shm->nmembers)                                               \
    _(records,   shm->nrecords)                                               \
    _(locks,     shm->nlocks)                                                 \
    _(lock_waiters, shm->nwaiters)                                            \
    _(used,      shm->heap.nblocks - 1 - shm->heap.nfree                      \
                 - shm->heap.nlimbo)                                          \
    _(held,      shm->held)                                                   \
    _(memory,    fanout_slots_sum(shm, vitals.memory))                        \
    _(lag,       fanout_slots_max(shm, vitals.lag))

typedef enum {
#define FANOUT_RATE(name)          FANOUT_S_##name,
#define FANOUT_GAUGE(name, value)  FANOUT_S_##name,
    FANOUT_RATES(FANOUT_RATE)
    FANOUT_ZONE_RATES(FANOUT_GAUGE)
    FANOUT_NRATES,
    FANOUT_BEFORE_GAUGES = FANOUT_NRATES - 1,
    FANOUT_GAUGES(FANOUT_GAUGE)
    FANOUT_NSERIES
#undef FANOUT_GAUGE
#undef FANOUT_RATE
} fanout_series_e;

/*
 * Failures: counters of workers, and numbers of the zone with names of their
 * own, each with its severity if it has grown in the last minute.
 */

#define FANOUT_FAILURES(_)                                                    \
    _(hook_failures,      FAILURE)                                            \
    _(authorize_failures, FAILURE)                                            \
    _(broadcast_failures, FAILURE)                                            \
    _(broadcast_skipped,  WARNING)                                            \
    _(gaps,               WARNING)                                            \
    _(recovery_failures,  WARNING)                                            \
    _(lags,               NOTE)                                               \
    _(rejects,            NOTE)                                               \
    _(rate_limited,       NOTE)                                               \
    _(tokens_refused,     NOTE)                                               \
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
 * Upper bounds, in ms, of the buckets of latency: the time from the append of
 * an entry until a worker has read it for its subscribers.  One more bucket is
 * for latencies above the last bound.
 */

#define FANOUT_LATENCIES(_)                                                   \
    _(1) _(2) _(5) _(10) _(25) _(50) _(100) _(250) _(500) _(1000) _(2500)     \
    _(5000) _(10000)

#define FANOUT_NLATENCIES      13


/* vitals that a worker reports */

typedef struct {
    uint64_t                    memory;     /* private and resident, bytes */
    uint64_t                    base;       /* the same, before the first
                                               session */
    uint64_t                    lag;        /* ms, of the last second: the age
                                               of the entries read */
    uint64_t                    watchers;   /* clients that watch the status */
    uint64_t                    latencies[FANOUT_NLATENCIES + 1];
                                            /* entries read, by bucket */
    uint64_t                    latency;    /* ms, sum of all of them */
} fanout_zone_vitals_t;


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
    uint64_t                    messages;   /* blocks in use, by kind */
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
    uint64_t                    records;
    uint64_t                    locks;
    uint64_t                    staged;
    uint64_t                    denials;
    uint64_t                    held;       /* by stalled workers, part of
                                               messages */
    uint64_t                    held_max;
    uint64_t                    nchannels;
    uint64_t                    nkeys;
    uint64_t                    nidentities;
    uint64_t                    nusers;
    uint64_t                    nseats;
    uint64_t                    nmembers;
    uint64_t                    nrecords;
    uint64_t                    record_bytes;
    uint64_t                    record_sets;    /* and deletes, ever */
    uint64_t                    record_conflicts;
    uint64_t                    record_rejected;    /* fields */
    uint64_t                    record_expired;
    uint64_t                    nlocks;     /* held */
    uint64_t                    nwaiters;   /* in line for one */
    uint64_t                    lock_grants;    /* ever, as those below */
    uint64_t                    lock_waits; /* begun */
    uint64_t                    lock_timeouts;  /* of them, without the lock */
    uint64_t                    lock_conflicts; /* refused at once */
    uint64_t                    locks_expired;
    uint64_t                    locks_broken;
    uint64_t                    ndenials;
    uint64_t                    denials_max;
    uint64_t                    nseen;      /* of users who left */
    uint64_t                    addresses;  /* blocks of addresses with
                                               sessions */
    uint64_t                    naddresses; /* one for each address and
                                               worker */
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
    uint64_t                    events_told;    /* queued, ever */
    uint64_t                    events_lost;    /* never delivered, ever */
    uint32_t                    events_leader;  /* pid, 0: none */
    uint64_t                    lingering;
    uint64_t                    seats_lingering;
    uint64_t                    deltas;     /* PRESENCE entries, ever */
    uint64_t                    changes;    /* reported in them */
    uint64_t                    cancelled;  /* cancelled each other */
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


/* the zone */

void fanout_zone_stat(fanout_zone_t *z, fanout_zone_stat_t *st);


/* workers */

/* Returns the own counters, for direct increments by this process alone; a
 * private array without a slot. */
uint64_t *fanout_slot_counters(fanout_zone_t *z);

/* Sets the number of live sessions for the status. */
void fanout_slot_sessions(fanout_zone_t *z, uint64_t n);

/* Sets the worker's vitals for the status.  Takes no lock. */
void fanout_slot_vitals(fanout_zone_t *z, const fanout_zone_vitals_t *vitals);

/* Copies the status of slot n.  OK; NOTFOUND past the last. */
int fanout_slot_get(fanout_zone_t *z, unsigned n, fanout_zone_worker_t *w);


/* samples */

/* Takes a sample if one is due: one of all workers that call does it.  Call it
 * every second. */
void fanout_sample_take(fanout_zone_t *z);

/* Copies samples, oldest first, from number *next (of all that were ever taken,
 * 0 at first) on, as many as a section may copy.  Returns their number; *next
 * is moved past them, and past samples that are no longer kept. */
unsigned fanout_sample_read(fanout_zone_t *z, uint64_t *next,
    fanout_zone_sample_t *samples, unsigned max);

/* Sets in grown, which has FANOUT_NFAILURES places, by how much each failure
 * has grown since a time 60 to 70 s ago.  Returns that time in seconds; less
 * than 60 in a younger zone. */
uint32_t fanout_sample_recent(fanout_zone_t *z, uint64_t *grown);


#endif /* FANOUT_ZONE_STAT_H */
