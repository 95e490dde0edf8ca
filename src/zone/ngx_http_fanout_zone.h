
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


#ifndef _NGX_HTTP_FANOUT_ZONE_H_INCLUDED_
#define _NGX_HTTP_FANOUT_ZONE_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* results */

#define NGX_HTTP_FANOUT_ZONE_OK         0
#define NGX_HTTP_FANOUT_ZONE_AGAIN      1   /* done in part, call again */
#define NGX_HTTP_FANOUT_ZONE_FULL      -1   /* no block can be freed */
#define NGX_HTTP_FANOUT_ZONE_STALE     -2   /* the zone was rebuilt */
#define NGX_HTTP_FANOUT_ZONE_NOTFOUND  -3
#define NGX_HTTP_FANOUT_ZONE_CONFLICT  -4   /* an "if" did not hold */
#define NGX_HTTP_FANOUT_ZONE_LARGE     -5   /* more than an entry can hold */
#define NGX_HTTP_FANOUT_ZONE_LAYOUT    -6   /* made by another build */
#define NGX_HTTP_FANOUT_ZONE_SMALL     -7   /* mapping too small */
#define NGX_HTTP_FANOUT_ZONE_ERROR     -8   /* errno of a system call */


#define NGX_HTTP_FANOUT_ZONE_SLOTS      64  /* most workers at a time */
#define NGX_HTTP_FANOUT_ZONE_CLASSES    32  /* most channel policies */
#define NGX_HTTP_FANOUT_ZONE_BATCH      64  /* most messages a publish */
#define NGX_HTTP_FANOUT_ZONE_DATA       (16 * 1024 * 1024 - 1)
#define NGX_HTTP_FANOUT_ZONE_MIN        (1024 * 1024)

/* a section of the lock copies no more than this out of the zone or in */
#define NGX_HTTP_FANOUT_ZONE_ENTRIES    64
#define NGX_HTTP_FANOUT_ZONE_COPY       16384


/*
 * Counters of a worker, one writer each, summed by the status.  The list
 * is the single source of their names.
 */

#define NGX_HTTP_FANOUT_COUNTERS(_)                                           \
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
    _(gaps,            "gaps told to sessions")                               \
    _(resets,          "resets told to sessions")                             \
    _(errors,          "error replies")                                       \
    _(protocol_errors, "connections closed for breaking the protocol")        \
    _(timeouts,        "connections closed for silence")                      \
    _(rate_limited,    "connections or commands refused for their rate")      \
    _(forbidden,       "commands refused for lack of permission")             \
    _(zone_full,       "operations refused because the zone was full")        \
    _(wakes,           "times this worker was woken by another")              \
    _(turns,           "delivery turns")                                      \
    _(encoded,         "entries encoded for a dialect")                       \
    _(api_requests,    "HTTP API requests")

typedef enum {
#define NGX_HTTP_FANOUT_COUNTER(name, text)  NGX_HTTP_FANOUT_N_##name,
    NGX_HTTP_FANOUT_COUNTERS(NGX_HTTP_FANOUT_COUNTER)
#undef NGX_HTTP_FANOUT_COUNTER
    NGX_HTTP_FANOUT_NCOUNTERS
} ngx_http_fanout_counter_e;


typedef struct ngx_http_fanout_shm_s  ngx_http_fanout_shm_t;


/* what a configuration asks of a zone; zero means the default */

typedef struct {
    uint32_t                    slots;      /* 32, at most SLOTS */
    uint32_t                    held;       /* percent of blocks that stalled
                                               workers may hold, 12 */
    uint32_t                    idle;       /* s an empty channel is kept,
                                               300 */
    uint32_t                    dedupe;     /* s a key is remembered, 120 */
} ngx_http_fanout_zone_conf_t;


/* a process's handle of a zone; private memory, one a process and zone */

typedef struct {
    ngx_http_fanout_shm_t      *shm;
    uint8_t                    *base;
    uint64_t                    incarnation;  /* as last seen under lock */
    uint64_t                    told;       /* the one that drains know of */
    uint64_t                    wake;       /* slots to wake at the unlock */
    uint64_t                    recoveries; /* rollbacks done here */
    int                         slot;       /* own, -1 without one */
    unsigned                    self_woken:1;  /* own slot has work */
} ngx_http_fanout_zone_t;


typedef struct {
    const uint8_t              *data;
    uint32_t                    len;
} ngx_http_fanout_zstr_t;


/* channel policy, all zero: nothing kept */

typedef struct {
    uint32_t                    history;    /* entries kept */
    uint32_t                    bytes;      /* of payload kept, 0: any */
    uint32_t                    ttl;        /* s, 0: for ever */
    uint32_t                    class;      /* index of a registered class */
} ngx_http_fanout_zone_policy_t;


/*
 * A process's view of a channel.  With an interest (opened) the channel
 * can't go away but by a rebuild, and ref stays; without, ref is 0 and
 * every call looks the name up.
 */

typedef struct {
    ngx_http_fanout_zstr_t      name;
    ngx_http_fanout_zone_policy_t  *policy; /* not owned */
    uint64_t                    incarnation;
    uint32_t                    ref;
    uint32_t                    interest;
    uint32_t                    hash;
} ngx_http_fanout_zone_channel_t;


/* entry types */

#define NGX_HTTP_FANOUT_MESSAGE   1
#define NGX_HTTP_FANOUT_RESET     2         /* data: the reason */
#define NGX_HTTP_FANOUT_GAP       3         /* made by a drain, not stored:
                                               entries after .from up to
                                               .offset are lost; .from is
                                               0 and .epoch another when a
                                               RESET was among them */

/* payload kinds */

#define NGX_HTTP_FANOUT_JSON      0
#define NGX_HTTP_FANOUT_TEXT      1
#define NGX_HTTP_FANOUT_BINARY    2

/* entry flags given by the publisher */

#define NGX_HTTP_FANOUT_NOECHO    0x04      /* not to the client itself */
#define NGX_HTTP_FANOUT_TRANSIENT 0x08      /* ordered, not kept */


/* a message to append; all strings may be empty */

typedef struct {
    uint64_t                    client;     /* 0: none */
    ngx_http_fanout_zstr_t      event;      /* at most 255 bytes */
    ngx_http_fanout_zstr_t      key;        /* at most 255 bytes */
    ngx_http_fanout_zstr_t      user;       /* at most 255 bytes */
    ngx_http_fanout_zstr_t      meta;       /* at most 65535 bytes */
    ngx_http_fanout_zstr_t      data;       /* at most DATA bytes */
    uint8_t                     kind;
    uint8_t                     flags;
} ngx_http_fanout_zone_message_t;


typedef struct {
    ngx_http_fanout_zstr_t      key;        /* of the whole publish */
    ngx_http_fanout_zstr_t      scope;      /* the user the key belongs to */
    uint64_t                    if_epoch;   /* with if_set: the channel's */
    uint64_t                    if_offset;  /* last offset must be this */
    unsigned                    if_set:1;
} ngx_http_fanout_zone_publish_t;


typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* of the last entry */
    uint64_t                    time;       /* Unix ms */
    unsigned                    duplicate:1;
} ngx_http_fanout_zone_result_t;


/* an entry copied out; the strings point into the arena of the call */

typedef struct {
    uint64_t                    offset;
    uint64_t                    seq;
    uint64_t                    time;       /* Unix ms */
    uint64_t                    client;     /* 0: none */
    uint64_t                    epoch;      /* that it was appended in */
    uint64_t                    from;       /* GAP: last offset consumed */
    ngx_http_fanout_zstr_t      event;
    ngx_http_fanout_zstr_t      key;
    ngx_http_fanout_zstr_t      user;
    ngx_http_fanout_zstr_t      meta;
    ngx_http_fanout_zstr_t      data;
    uint32_t                    local;      /* given at open */
    uint8_t                     type;
    uint8_t                     kind;
    uint8_t                     flags;
} ngx_http_fanout_entry_t;


/*
 * Where a call copies entries to.  Owned by the caller: the zone fills
 * it and grows bytes through grow() when one entry alone needs more, so a
 * small arena serves any entry.  Entries point into bytes, so nothing that
 * was filled moves: growth happens only when the arena is empty.
 */

typedef struct ngx_http_fanout_arena_s  ngx_http_fanout_arena_t;

struct ngx_http_fanout_arena_s {
    ngx_http_fanout_entry_t    *entries;
    uint32_t                    n;          /* filled */
    uint32_t                    max;        /* room */
    uint8_t                    *bytes;
    size_t                      used;
    size_t                      size;
    int                       (*grow)(ngx_http_fanout_arena_t *a, size_t n);
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
} ngx_http_fanout_zone_join_t;


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
} ngx_http_fanout_zone_info_t;


typedef struct {
    uint64_t                    channels;   /* now */
    uint64_t                    messages;   /* ever appended */
    uint64_t                    bytes;      /* of payload ever appended */
    uint8_t                     pattern[64];
    uint32_t                    len;
} ngx_http_fanout_zone_class_t;


typedef struct {
    uint64_t                    blocks;
    uint64_t                    free;
    uint64_t                    messages;   /* blocks in use by what */
    uint64_t                    index;
    uint64_t                    channels;
    uint64_t                    interests;
    uint64_t                    keys;
    uint64_t                    identities;
    uint64_t                    staged;
    uint64_t                    held;       /* by stalled workers, part of
                                               messages */
    uint64_t                    held_max;
    uint64_t                    nchannels;
    uint64_t                    nkeys;
    uint64_t                    nidentities;
    uint64_t                    lingering;
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
    uint32_t                    block_size;
    uint64_t                    retired[NGX_HTTP_FANOUT_NCOUNTERS];
} ngx_http_fanout_zone_stat_t;


typedef struct {
    uint32_t                    pid;
    uint32_t                    state;      /* 0 free, 1 live, 2 dead */
    uint64_t                    sessions;
    uint64_t                    interests;
    uint64_t                    counters[NGX_HTTP_FANOUT_NCOUNTERS];
} ngx_http_fanout_zone_worker_t;


/* life of a zone */

/*
 * Formats a mapping; efds holds conf->slots eventfds (or -1) that every
 * process forked later knows by the same number.  No lock: nobody else may
 * know the mapping yet.  SMALL, or ERROR with errno.
 */
int ngx_http_fanout_zone_create(void *mem, size_t size,
    const ngx_http_fanout_zone_conf_t *conf, const int *efds);

/* Checks the stamp, reads only.  LAYOUT if another build made it. */
int ngx_http_fanout_zone_check_layout(const void *mem, size_t size);

/* Attaches this process to a formatted mapping.  LAYOUT. */
int ngx_http_fanout_zone_attach(ngx_http_fanout_zone_t *z, void *mem,
    size_t size);

/* Slots of a formatted zone, for who has to make as many eventfds. */
uint32_t ngx_http_fanout_zone_slots(uint32_t configured);

/* Registers a class of channels by its pattern; its index, stable over
 * reloads; patterns beyond CLASSES share the last one. */
int ngx_http_fanout_zone_class(ngx_http_fanout_zone_t *z,
    const uint8_t *pattern, size_t len);

int ngx_http_fanout_zone_get_class(ngx_http_fanout_zone_t *z, unsigned n,
    ngx_http_fanout_zone_class_t *c);


/* slots: the workers */

/* Claims a slot for this process.  FULL if none is free: the process then
 * has to poll, and opens no channel. */
int ngx_http_fanout_slot_claim(ngx_http_fanout_zone_t *z, uint32_t pid);

/* Gives the slot back with all it holds.  Several transactions. */
void ngx_http_fanout_slot_release(ngx_http_fanout_zone_t *z);

/* Looks for dead workers and takes from them what they held: interests are
 * dropped, staged blocks freed, identities put on linger (ms).  Returns how
 * many were reaped.  Many short transactions. */
int ngx_http_fanout_slot_reap(ngx_http_fanout_zone_t *z, uint32_t linger);

/* The eventfd of the own slot, -1 without. */
int ngx_http_fanout_slot_eventfd(ngx_http_fanout_zone_t *z);

/* Own counters, for direct increments by this process alone; a private
 * array when there is no slot. */
uint64_t *ngx_http_fanout_slot_counters(ngx_http_fanout_zone_t *z);

/* Tells the number of live sessions for the status. */
void ngx_http_fanout_slot_sessions(ngx_http_fanout_zone_t *z, uint64_t n);

/* Copies what the status shows of slot n; NOTFOUND past the last. */
int ngx_http_fanout_slot_get(ngx_http_fanout_zone_t *z, unsigned n,
    ngx_http_fanout_zone_worker_t *w);


/* channels */

/* Opens a channel for this worker: finds or makes it, applies c->policy,
 * registers an interest that starts at the channel's end.  local comes back
 * with every drained entry.  If it is open, policy and local are set.  FULL,
 * or FULL without a slot; LARGE for a name of more than 255 bytes. */
int ngx_http_fanout_channel_open(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, uint32_t local);

/* Drops the interest. */
void ngx_http_fanout_channel_close(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c);

/* Sets the number of subscribers this worker has on an opened channel. */
void ngx_http_fanout_channel_subscribers(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, uint32_t n);

/* Describes a channel.  NOTFOUND. */
int ngx_http_fanout_channel_info(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, ngx_http_fanout_zone_info_t *info);

/* Walks the channels: up to max infos from *cursor (0 at first) on; *cursor
 * is 0 at the end.  A channel that lives all the while is seen once. */
int ngx_http_fanout_channel_list(ngx_http_fanout_zone_t *z,
    uint64_t *cursor, ngx_http_fanout_zone_info_t *infos, unsigned max);

/* Drops all history, gives a new epoch, appends a RESET entry with the
 * reason (at most 1024 bytes of it) for who reads now.  NOTFOUND, FULL. */
int ngx_http_fanout_channel_purge(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, const uint8_t *reason, size_t len,
    ngx_http_fanout_zone_result_t *r);


/* the log */

/* Appends n messages (1 to BATCH), all or none.  Makes the channel where it
 * is missing.  Large messages are staged first, in transactions of their
 * own.  FULL, CONFLICT (r holds what the channel has), LARGE, STALE. */
int ngx_http_fanout_log_publish(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_message_t *m, unsigned n,
    const ngx_http_fanout_zone_publish_t *opts,
    ngx_http_fanout_zone_result_t *r);

/* what the position of a joiner is */

#define NGX_HTTP_FANOUT_SINCE_NONE    0
#define NGX_HTTP_FANOUT_SINCE_OFFSET  1         /* epoch and offset */
#define NGX_HTTP_FANOUT_SINCE_SEQ     2         /* of the zone: incarnation
                                                   and seq in their place */

/* Joins an opened channel: what the joiner is told, and where it has to read
 * from to get its history.  With since: exactly what it missed, or
 * recovered 0.  STALE. */
int ngx_http_fanout_log_join(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, int since, uint64_t epoch,
    uint64_t offset, uint32_t history, ngx_http_fanout_zone_join_t *j);

/* Copies kept entries with after < offset <= upto, oldest first, as many as
 * a section may and the arena holds.  *lost is the highest offset the log
 * has let go of.  OK at the end, AGAIN when there is more, NOTFOUND, STALE
 * also when the epoch is another, FULL if the arena can't grow. */
int ngx_http_fanout_log_read(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, uint64_t epoch, uint64_t after,
    uint64_t upto, ngx_http_fanout_arena_t *a, uint64_t *lost);

/* The offset after which the last n kept entries below before (0: all)
 * stand, together with epoch and last offset.  NOTFOUND. */
int ngx_http_fanout_log_seek(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, uint64_t before, uint32_t n,
    ngx_http_fanout_zone_join_t *j);

/* Copies what this worker has not read of all its channels, within the
 * bounds of a section.  AGAIN when there is more, STALE, once, when the zone
 * was rebuilt: every channel has to be opened again (open does nothing for
 * one that was since). */
int ngx_http_fanout_log_drain(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_arena_t *a);


/* identities: who may come back */

typedef struct {
    uint64_t                    client;     /* not 0 */
    uint64_t                    user;       /* hash of the user's name */
    uint8_t                     secret[16];
} ngx_http_fanout_identity_t;

/* Registers a live session.  FULL. */
int ngx_http_fanout_identity_add(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_identity_t *id, uint32_t *ref);

/* Takes a session back: the secret and the user must match an identity that
 * lingers, or one that is still live, whose worker is told to replace it.
 * The identity then is this worker's, with the secret given as next.
 * NOTFOUND otherwise. */
int ngx_http_fanout_identity_resume(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_identity_t *id, const uint8_t *next,
    uint32_t *ref);

/* The session ended: kept for linger ms more, or gone at once with 0.
 * Nothing if it was taken over: the secret then is another. */
void ngx_http_fanout_identity_end(ngx_http_fanout_zone_t *z, uint32_t ref,
    const ngx_http_fanout_identity_t *id, uint32_t linger);

/* Whether an identity registered by this worker is not its own any more: 1
 * or 0. */
int ngx_http_fanout_identity_lost(ngx_http_fanout_zone_t *z, uint32_t ref,
    const ngx_http_fanout_identity_t *id);

/* Whether a secret and a user are those of an identity, live or lingering: 1
 * or 0. */
int ngx_http_fanout_identity_known(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_identity_t *id);

/* Clients of this worker that were taken over elsewhere; up to max. */
unsigned ngx_http_fanout_identity_replaced(ngx_http_fanout_zone_t *z,
    uint64_t *clients, unsigned max);


/* housekeeping */

/* Expires history, keys, identities and idle channels, at most a bounded
 * amount; AGAIN when more is due.  Call every second. */
int ngx_http_fanout_zone_sweep(ngx_http_fanout_zone_t *z);

void ngx_http_fanout_zone_stat(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_stat_t *st);

/* Random bytes from the zone's own generator are not for secrets; this is
 * the keyed 64-bit hash of the zone (SipHash-2-4). */
uint64_t ngx_http_fanout_zone_hash(ngx_http_fanout_zone_t *z,
    const void *data, size_t len);

/* Walks everything and compares it with the accounts: for tests.  0, or the
 * number of a violated invariant, described in text.  Holds the lock all
 * the while. */
int ngx_http_fanout_zone_check(ngx_http_fanout_zone_t *z, char *text,
    size_t len);


#endif /* _NGX_HTTP_FANOUT_ZONE_H_INCLUDED_ */
