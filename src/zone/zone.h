
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The zone: shared memory with channels as logs, the workers that read them,
 * the identities of sessions, and the keys of idempotent publishes.  Other
 * rooms include only this header, and the headers of its topics: stat.h,
 * message.h, client.h, event.h, limit.h and denial.h.
 *
 * The room does not use NGINX: it needs a mapping shared by forked processes,
 * and POSIX.  docs/architecture.md draws every shared struct.
 *
 * Rules for every function of these headers, unless its comment says otherwise:
 *  - it takes and releases the zone lock itself; the caller must not hold one;
 *  - it is one transaction, or a documented series of them: if the process is
 *    killed, all of a transaction is done, or nothing of it;
 *  - after the unlock it wakes the workers that have something to read;
 *  - it reads the memory of pointers only during the call; results are written
 *    to memory of the caller.
 */


#ifndef FANOUT_ZONE_ZONE_H
#define FANOUT_ZONE_ZONE_H


#include "heap/handle.h"


#define FANOUT_ZONE_SLOTS      64           /* most workers at a time */
#define FANOUT_ZONE_ACCOUNTS    32          /* most channel policies */
#define FANOUT_ZONE_BATCH      64           /* most messages a publish */
#define FANOUT_ZONE_WHOLE      10000            /* the parts of a whole that
                                                   shares are given in */
#define FANOUT_ZONE_DATA       (16 * 1024 * 1024 - 1)
#define FANOUT_ZONE_MIN        (1024 * 1024)

/* most entries and bytes that a section of the lock copies from or to the
 * zone */
#define FANOUT_ZONE_ENTRIES    64
#define FANOUT_ZONE_COPY       16384


typedef struct fanout_shm_s  fanout_shm_t;


/* the configuration of a zone; zero means the default */

typedef struct {
    uint32_t                    slots;      /* 32, at most SLOTS */
    uint32_t                    held;       /* percent of blocks that stalled
                                               workers may hold, 12 */
    uint32_t                    idle;       /* s an empty channel is kept,
                                               300 */
    uint32_t                    dedupe;     /* s a key is remembered, 120 */
    uint32_t                    denials;    /* at most, 10000 */
} fanout_zone_conf_t;


/*
 * Shares of the zone for objects in use: a name, and what is counted.  In the
 * first four shares, each account of channels has its part.
 */

#define FANOUT_SHARES(_)                                                      \
    _(channels, "channels in use and subscriptions of workers")               \
    _(keys,     "idempotence keys")                                           \
    _(members,  "members and rooms")                                          \
    _(records,  "records and locks")                                          \
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

/* reason of the last FULL, if it was not a share */

#define FANOUT_FULL_ZONE   FANOUT_NSHARES
#define FANOUT_FULL_ACCOUNT  (FANOUT_NSHARES + 1)

/* guaranteed blocks, and the limit, in parts of WHOLE */

typedef struct {
    uint32_t                    min;
    uint32_t                    max;
} fanout_zone_share_t;

typedef struct {
    fanout_zone_share_t  kinds[FANOUT_NSHARES];
    fanout_zone_share_t  accounts[FANOUT_ZONE_ACCOUNTS];
                                   /* of histories */
    uint32_t             address;           /* limit of what others leave, 0:
                                               none */
    uint32_t             user;              /* the same */
} fanout_zone_shares_t;


/* a process's handle of a zone; private memory, one a process and zone */

struct fanout_zone_s {
    fanout_heap_t               heap;
    fanout_shm_t               *shm;        /* start of the mapping, too */
    uint64_t                    drained;    /* incarnation that drains have
                                               seen */
    uint64_t                    made;       /* channels made, ever */
    uint32_t                    generation; /* of this process's configuration,
                                               0: unknown */
    uint32_t                    full;       /* share of the last FULL, or
                                               FULL_* */
    uint64_t                    touched;    /* bytes of the zone, from the
                                               start */
};


typedef struct {
    const uint8_t              *data;
    uint32_t                    len;
} fanout_zstr_t;


/* channel policy; all zero: no history */

typedef struct {
    uint32_t                    history;    /* entries kept */
    uint32_t                    bytes;      /* payload kept, 0: no limit */
    uint32_t                    ttl;        /* s, 0: no limit */
    uint32_t                    account;    /* index of a registered one */
    uint32_t                    members;    /* limit, 0: none */
    uint16_t                    linger;     /* s that a cut seat is kept */
    uint16_t                    batch;      /* ms that changes are gathered */
    uint16_t                    seen;       /* min that a leave is remembered */
    uint8_t                     presence;   /* FANOUT_PRESENCE_* */
    uint8_t                     hooks;      /* its seats write events */
    uint8_t                     keys;       /* limit per client, 0: ZONE_KEYS */
    uint8_t                     records;    /* FANOUT_RECORDS_* */
    uint8_t                     fields;     /* limit, 0: ZONE_FIELDS */
    uint32_t                    record;     /* limit of bytes, 0: ZONE_RECORD */
    uint32_t                    records_max;    /* limit, 0: none */
    uint32_t                    records_ttl;    /* s, 0: for ever */
    uint32_t                    locks;      /* ms, the longest time, 0: off */
    uint32_t                    locks_max;  /* limit, 0: none */
    uint8_t                     guard;      /* locks guard records */
} fanout_zone_policy_t;

/* Limit for a seat: all of its members leave in one transaction, whose journal
 * has room for so many. */
#define FANOUT_ZONE_KEYS         32
#define FANOUT_ZONE_KEYS_MAX     128

#define FANOUT_RECORDS_ON        0x01
#define FANOUT_RECORDS_OLD       0x02           /* entries tell what was
                                                   before */
#define FANOUT_RECORDS_WHOLE     0x04           /* and the whole record */

#define FANOUT_PRESENCE_OFF      0
#define FANOUT_PRESENCE_ON       1
#define FANOUT_PRESENCE_SUMMARY  2              /* only the number */


/*
 * A process's view of a channel.  With an interest (opened) the channel is
 * never removed, except by a rebuild, and ref is constant.  Without an interest
 * ref is 0, and every call looks up the name.
 */

typedef struct {
    fanout_zstr_t      name;
    fanout_zone_policy_t  *policy;          /* not owned */
    uint64_t           incarnation;
    uint64_t           address;             /* hash of the address that opens
                                               the channel; 0: not limited */
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
    uint32_t                    blocks;     /* blocks of them */
    uint32_t                    subscribers;
    uint32_t                    workers;    /* with subscribers */
    uint32_t                    account;
    uint8_t                     name[256];
    uint32_t                    len;
} fanout_zone_info_t;


typedef struct {
    uint64_t                    channels;   /* now */
    uint64_t                    messages;   /* ever appended */
    uint64_t                    bytes;      /* of payload ever appended */
    uint64_t                    evicted;    /* entries, by pressure, ever */
    uint64_t                    blocks;     /* of histories and channels not in
                                               use: these can be evicted */
    uint64_t                    min;        /* of them guaranteed */
    uint64_t                    max;        /* and their limit */
    uint8_t                     pattern[64];
    uint32_t                    len;
    uint32_t                    generation; /* newest that has this account */
} fanout_zone_account_t;


/* life of a zone */

/*
 * Formats a mapping.  efds has conf->slots eventfds (or -1), which every
 * process forked later knows by the same number.  Takes no lock: no other
 * process may know the mapping yet.  OK; SMALL; ERROR with errno.
 */
int fanout_zone_create(void *mem, size_t size, const fanout_zone_conf_t *conf,
    const int *efds);

/* Checks the stamp, without writing.  OK; LAYOUT if another build made the
 * zone. */
int fanout_zone_check_layout(const void *mem, size_t size);

/* Attaches this process to a formatted mapping.  OK, LAYOUT. */
int fanout_zone_attach(fanout_zone_t *z, void *mem, size_t size);

/* Returns the number of slots, and so of eventfds, for a configured number. */
uint32_t fanout_zone_slots(uint32_t configured);

/* Returns the number of slots of a formatted mapping. */
uint32_t fanout_zone_has_slots(const void *mem);

/*
 * Returns the generation of a configuration that is about to use a formatted
 * mapping: above all earlier ones, from 1 on.  Only the master may call this,
 * or a process that is alone: it takes no lock.  A number that is never used
 * does no harm.
 */
uint32_t fanout_zone_next(void *mem);

/*
 * Registers the configuration of this process.  If no worker has started with a
 * newer one, held, idle and dedupe of conf are in force from now on.  Call it
 * right after the attach.
 */
void fanout_zone_configure(fanout_zone_t *z, uint32_t generation,
    const fanout_zone_conf_t *conf);

/* Registers an account of channels by its pattern.  Returns its index, which is
 * stable while a configuration or a channel has the account.  Patterns beyond
 * ACCOUNTS share the last index. */
int fanout_zone_account(fanout_zone_t *z, const uint8_t *pattern, size_t len);

int fanout_zone_get_account(fanout_zone_t *z, unsigned n,
    fanout_zone_account_t *c);

/* Sets the limits of the shares, for all workers.  Objects beyond a new limit
 * stay as long as their owner needs them.  Before the call, and with a max of
 * 0, there is no limit. */
void fanout_zone_bound(fanout_zone_t *z, const fanout_zone_shares_t *shares);


/* slots: the workers */

/* Claims a slot for this process.  OK; FULL if no slot is free: the process
 * then has to poll, and opens no channel. */
int fanout_slot_claim(fanout_zone_t *z, uint32_t pid);

/* Releases the slot and everything that it holds.  Several transactions. */
void fanout_slot_release(fanout_zone_t *z);

/* Finds dead workers and releases what they held: drops interests, frees staged
 * blocks, makes identities linger (ms).  Returns the number of workers that
 * were reaped.  Many short transactions: one call does as much as a turn of a
 * worker may take, and sets *more if there is more to do; with NULL, it does
 * everything. */
int fanout_slot_reap(fanout_zone_t *z, uint32_t linger, int *more);

/* Touches the pages of the zone that are in use, and the next ones, without the
 * lock: a page fault in a section of the lock would delay all workers.  One
 * call touches some of them; OK; AGAIN if there are more. */
int fanout_zone_touch(fanout_zone_t *z);

/* Returns the eventfd of the own slot, -1 without a slot. */
int fanout_slot_eventfd(fanout_zone_t *z);


/* channels */

/* Opens a channel for this worker: finds or makes it, applies c->policy if this
 * process has the newest configuration, and registers an interest that starts
 * at the channel's end.  Every drained entry has local.  If the channel is open
 * already, only policy and local are set.  OK; FULL, also without a slot; MANY
 * if the address holds its maximum; LARGE for a name above 255 bytes. */
int fanout_channel_open(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t local);

/* Drops the interest. */
void fanout_channel_close(fanout_zone_t *z, fanout_zone_channel_t *c);

/* Sets the number of subscribers that this worker has on an opened channel. */
void fanout_channel_subscribers(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t n);

/* Describes a channel.  OK, NOTFOUND. */
int fanout_channel_info(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_info_t *info);

/* Walks the channels: copies up to max infos from *cursor (0 at first) on, and
 * returns their number; *cursor is 0 at the end.  A channel that exists all the
 * while is seen once. */
int fanout_channel_list(fanout_zone_t *z,
    uint64_t *cursor, fanout_zone_info_t *infos, unsigned max);


/* housekeeping */

/* Handles expired history, keys, seats, identities, mail, signals, idle
 * channels and purged history: of each as much as fits in a short section.  OK;
 * AGAIN if there is more.  Call it several times a second, and repeat it for
 * some ms. */
int fanout_zone_sweep(fanout_zone_t *z);

/* Returns the keyed 64-bit hash of the zone (SipHash-2-4). */
uint64_t fanout_zone_hash(fanout_zone_t *z, const void *data, size_t len);

/* For tests: walks everything and compares it with the accounts.  Returns 0, or
 * the number of a violated invariant, described in text.  Holds the lock all
 * the time. */
int fanout_zone_verify(fanout_zone_t *z, char *text, size_t len);


#endif /* FANOUT_ZONE_ZONE_H */
