
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The zone: shared memory that holds channels as logs, the workers that
 * read them, the identities of sessions and the keys of idempotent
 * publishes.  Other rooms include only this header, and of its topics stat.h,
 * message.h, client.h, event.h and limit.h.
 *
 * The room knows nothing of NGINX: it needs a mapping shared by forked
 * processes, and POSIX.  docs/architecture.md draws every shared struct.
 *
 * Rules that hold for every function of these, unless it says otherwise:
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


/* housekeeping */

/* Takes a short section's worth of each of what is due: expired history, keys,
 * seats, identities, mail, signals, idle channels, purged history.  AGAIN when
 * there is more.  To be called several times a second, and on for some ms. */
int fanout_zone_sweep(fanout_zone_t *z);

/* Random bytes from the zone's own generator are not for secrets; this is
 * the keyed 64-bit hash of the zone (SipHash-2-4). */
uint64_t fanout_zone_hash(fanout_zone_t *z, const void *data, size_t len);

/* Walks everything and compares it with the accounts: for tests.  0, or the
 * number of a violated invariant, described in text.  Holds the lock all
 * the while. */
int fanout_zone_check(fanout_zone_t *z, char *text, size_t len);


#endif /* FANOUT_ZONE_ZONE_H */
