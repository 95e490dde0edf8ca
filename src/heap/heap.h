
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A transactional heap in shared memory.  The heap does not know what its
 * blocks contain: its owner does, see fanout_owner_t.
 *
 * A zone is one mapping:
 *
 *   +------------------+ 0
 *   | stamp, lock, free|   fanout_heap_shm_t, the first member of what the
 *   | list, accounts   |   owner has here
 *   +------------------+ shm->journal
 *   | undo journal     |   FANOUT_JOURNAL records of 16 bytes
 *   +------------------+
 *   | tables           |   of the owner
 *   +------------------+ shm->blocks
 *   | blocks of 64 B   |   block 0 is never used: 0 is "none"
 *   +------------------+ shm->size
 *
 * All blocks have one size: a freed block serves any need, so there is no
 * fragmentation, freeing old history always makes room, and the accounts are
 * exact.  A longer object is a chain of blocks.
 *
 * Every store to linked state goes through fanout_set(), which first writes
 * {where, old value} to the journal.  fanout_commit() empties the journal; a
 * rollback stores the old values back, newest first.  A rollback that is killed
 * is done again.  SIGKILL ends a process between two instructions, and other
 * processes see all its stores up to there, in program order: barriers for the
 * compiler are enough.
 *
 * A block from the free list may be written without the journal until it is
 * linked, because its old content does not matter.  The exception is the first
 * word, the link of the free list: only fanout_set() changes it.  For the same
 * reason a block that is freed in a transaction can't be reused in the same
 * transaction: it goes to the limbo list, which joins the free list when the
 * next transaction begins.
 */


#ifndef FANOUT_HEAP_HEAP_H
#define FANOUT_HEAP_HEAP_H


#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "heap/handle.h"


#define FANOUT_MAGIC          0x74756f6e61665f6eULL
#define FANOUT_BLOCK          FANOUT_ZONE_BLOCK
#define FANOUT_PAYLOAD        (FANOUT_BLOCK - 4)
#define FANOUT_KINDS          24        /* of used blocks, the owner's */
#define FANOUT_JOURNAL        8192
#define FANOUT_JOURNAL_ROOM   4096      /* left for one bounded step */
#define FANOUT_WORK           768       /* work units after which a loop leaves
                                           the rest to another section */

#define FANOUT_READY          1
#define FANOUT_REBUILDING     2


/* a block of a chain: the first four bytes are the number of the next block */

typedef struct {
    fanout_ref_t         next;
    uint8_t              data[FANOUT_PAYLOAD];
} fanout_block_t;


/* the journal entry of one store; where: offset in the zone << 8 | size of the
 * store in bytes */

typedef struct {
    uint64_t             where;
    uint64_t             old;
} fanout_undo_t;


/*
 * The start of the mapping, the first member of the owner's struct there.
 * Magic, layout, sizes and size identify the format of the zone.
 */

struct fanout_heap_shm_s {
    uint64_t             magic;
    uint32_t             layout;
    uint32_t             sizes;         /* hash of the struct sizes */
    uint64_t             size;

    pthread_mutex_t      lock;
    uint32_t             state;
    uint32_t             njournal;      /* records that count */

    uint64_t             incarnation;
    uint64_t             wall;          /* last fanout_wall(), Unix ms */
    uint64_t             start;         /* monotonic s at the first format */
    uint64_t             seed[2];
    uint64_t             random[2];     /* the state of fanout_zone_random() */

    uint64_t             journal;       /* offsets in the mapping */
    uint64_t             blocks;

    uint32_t             nblocks;       /* block 0 included */
    uint32_t             fresh;         /* blocks from here on were never
                                           used */
    uint32_t             nfree;         /* in the free list, or never used */
    fanout_ref_t         free;
    fanout_ref_t         limbo;
    fanout_ref_t         limbo_tail;
    uint32_t             nlimbo;
    uint32_t             unused;
    uint32_t             used[FANOUT_KINDS];

    uint64_t             rollbacks;
    uint64_t             overflows;
};


/* The state of a process that the heap needs, in the owner's table of slots.
 * notified is changed outside of transactions. */

#define FANOUT_SLOT_FREE      0
#define FANOUT_SLOT_LIVE      1
#define FANOUT_SLOT_DEAD      2

typedef struct {
    int                  efd;           /* eventfd, -1: none */
    uint32_t             state;
    uint32_t             notified;
} fanout_process_t;


/* the heap of an owner's handle */

static inline fanout_heap_t *
fanout_heap(fanout_zone_t *z)
{
    return (fanout_heap_t *) z;
}


/*
 * A build for the crash harness has a point before and after every store; in
 * other builds the macro is empty.
 */

#if (FANOUT_CRASH)
extern void fanout_crash_point(void);
#else
#define fanout_crash_point()
#endif

#define fanout_barrier()   __asm__ __volatile__ ("" ::: "memory")


static inline void
fanout_undo(fanout_heap_shm_t *shm, void *p, unsigned size)
{
    uint32_t        n;
    uint64_t        old;
    fanout_undo_t  *u;

    n = shm->njournal;

    if (__builtin_expect(n >= FANOUT_JOURNAL, 0)) {
        /* A bug; the status counts overflows.  If the process dies before the
         * commit, the transaction can't be undone, and the zone is rebuilt. */
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


/* the only way to change linked state; the zone lock must be held */

#define fanout_set(z, lvalue, value)                                          \
    do {                                                                      \
        __typeof__(lvalue)  fanout_v_ = (value);                              \
        fanout_undo(fanout_heap(z)->shm, &(lvalue), sizeof(lvalue));          \
        (lvalue) = fanout_v_;                                                 \
        fanout_barrier();                                                     \
        fanout_crash_point();                                                 \
    } while (0)


static inline void *
fanout_at(fanout_zone_t *z, fanout_ref_t ref)
{
    return fanout_heap(z)->base + (uint64_t) ref * FANOUT_BLOCK;
}

#define fanout_block(z, ref)  ((fanout_block_t *) fanout_at(z, ref))


/* the life of a heap: no other process knows the mapping, or the lock is
 * held */

/* Makes the seeds and the lock.  OK, or ERROR with errno. */
int fanout_heap_create(fanout_heap_shm_t *shm);

/* Initializes a robust mutex for several processes: the next holder gets
 * EOWNERDEAD if the holder dies.  0, or an error number, which errno gets
 * too. */
int fanout_mutex_init(pthread_mutex_t *m);

/* Places the blocks at the offset at, rounded up to a block; .size must be set.
 * OK, or SMALL. */
int fanout_heap_place(fanout_heap_shm_t *shm, uint64_t at);

/* Makes all blocks free, and begins a new incarnation; the heap is ready
 * then. */
void fanout_heap_format(fanout_heap_shm_t *shm);

/* Attaches a handle.  processes is the entry of slot 0; the entries of the n
 * slots are size bytes apart.  The handle has no slot yet. */
void fanout_heap_attach(fanout_zone_t *z, fanout_heap_shm_t *shm,
    const fanout_owner_t *owner, fanout_process_t *processes, size_t size,
    unsigned n);


/* lock and transactions: the lock must be held, but for fanout_take() and
 * fanout_enter() */

/* Takes a robust mutex of the zone.  Killed waiters can't make others wait for
 * ever.  0, or EOWNERDEAD: the mutex is held, and the last holder died. */
int fanout_take(pthread_mutex_t *lock);

/* Takes the lock, rolls back the transaction of a dead holder, and joins the
 * limbo to the free list.  OK, or STALE if the zone was rebuilt since this
 * handle last entered; the lock is held in both cases. */
int fanout_enter(fanout_zone_t *z);

/* Commits, unlocks, and wakes the slots that were notified. */
void fanout_leave(fanout_zone_t *z);

/* Commits the stores since the last commit, and joins the limbo to the free
 * list. */
void fanout_commit(fanout_zone_t *z);

/* Returns 1 if a loop may take one more bounded step in this transaction. */
static inline int
fanout_journal_room(fanout_zone_t *z)
{
    return fanout_heap(z)->shm->njournal < FANOUT_JOURNAL - FANOUT_JOURNAL_ROOM;
}

/*
 * Returns 1 if a loop may take one more step in this section of the lock.  The
 * units are the work done in the section, over all of its transactions: a store
 * is one unit, and so is a block that was taken, copied, or looked at in a long
 * chain.  A unit takes about 5 ns for memory in the cache, and 50 ns for other
 * memory.
 */
static inline int
fanout_section_room(fanout_zone_t *z)
{
    return fanout_heap(z)->work + fanout_heap(z)->shm->njournal < FANOUT_WORK;
}

/* Only in test builds: if fanout_test_seconds is not 0, it is the zone's clock,
 * with fanout_test_msec as its milliseconds.  fanout_test_journal and
 * fanout_test_work are the most records of a transaction and the most work of a
 * section so far. */
#if (FANOUT_TEST)
extern uint32_t  fanout_test_seconds;
extern uint32_t  fanout_test_msec;
extern uint32_t  fanout_test_journal;
extern uint32_t  fanout_test_work;
#endif

uint32_t fanout_seconds(fanout_zone_t *z);              /* since the start, s */
uint32_t fanout_msec(fanout_zone_t *z);                 /* monotonic, ms, wraps
                                                           around */
uint64_t fanout_wall(fanout_zone_t *z);                 /* Unix ms, never goes
                                                           back */
uint64_t fanout_zone_random(fanout_zone_t *z);          /* never 0 */
void fanout_hash(fanout_zone_t *z, const void *a, size_t alen, const void *b,
    size_t blen, uint64_t salt, uint64_t out[2]);
uint64_t fanout_hash_short(fanout_zone_t *z, const void *a, size_t alen,
    const void *b, size_t blen, uint64_t salt);         /* out[0] alone */


/*
 * The owner of a heap knows what the blocks contain, and so what can be evicted
 * when no block is free.  Each process has this table in its own memory, and
 * passes it at the attach.  The functions are called with the lock held.
 */

#define FANOUT_NO_ACCOUNT     UINT32_MAX

typedef struct {
    uint32_t             n;             /* blocks */
    uint32_t             account;       /* that gets the blocks; the owner may
                                           limit an account */
} fanout_need_t;

typedef struct {
    const char          *name;          /* NULL ends a table */

    /* Frees at least one block, or an object that keeps blocks in use.  The
     * caller commits.  Returns 0 if there was nothing to evict. */
    int                (*evict)(fanout_zone_t *z, const fanout_need_t *need);

    unsigned             spare:1;       /* fanout_ensure_spare() uses it too */
} fanout_reclaimer_t;

struct fanout_owner_s {
    const fanout_reclaimer_t  *reclaimers;              /* in the order of
                                                           use */

    /* Returns 1 if evicting everything that can be evicted would free the
     * blocks. */
    int                (*attainable)(fanout_zone_t *z,
                                     const fanout_need_t *need);

    /* exceeds() returns 1 if the account would be above its limit; then
     * relieve() evicts from the account, as a reclaimer does. */
    int                (*exceeds)(fanout_zone_t *z, const fanout_need_t *need);
    int                (*relieve)(fanout_zone_t *z, const fanout_need_t *need);

    /* Counts a need that can't be met. */
    void               (*full)(fanout_zone_t *z, const fanout_need_t *need);

    /* Makes the zone empty after it was found to be broken.  If the process is
     * killed, another one does it again. */
    void               (*format)(fanout_zone_t *z);
};


/* blocks */

/*
 * Makes n blocks allocatable, evicting in transactions of its own: call it at
 * the start of a transaction.  The lock may be dropped and taken again in
 * between, so the caller has to repeat its earlier lookups.
 *
 * OK; FULL; STALE if the zone was rebuilt meanwhile.
 */
int fanout_ensure(fanout_zone_t *z, uint32_t n);

/* The same with an account of the owner. */
int fanout_ensure_need(fanout_zone_t *z, const fanout_need_t *need);

/* Tries to make n blocks (a few hundred at most) allocatable for an object that
 * may be lost: evicts with spare reclaimers only.  Keeps the lock.  Call it at
 * the start of a transaction.  Returns 1 if n blocks are free. */
int fanout_ensure_spare(fanout_zone_t *z, uint32_t n);

/* Takes n blocks as a chain, whose last link is 0.  The caller has ensured the
 * blocks.  *last gets the last block; last may be NULL. */
fanout_ref_t fanout_alloc(fanout_zone_t *z, uint32_t n, unsigned kind,
    fanout_ref_t *last);

/* Returns the last block of a chain. */
fanout_ref_t fanout_chain_last(fanout_zone_t *z, fanout_ref_t ref);

/* Frees a chain of n blocks, given its first and last block.  The next
 * transaction can use the blocks. */
void fanout_free(fanout_zone_t *z, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, unsigned kind);


/* reading and writing along a chain; fanout_copy() skips n bytes if dst is
 * NULL, and returns -1 if it read a broken chain: without the lock, the chain
 * may change meanwhile */

typedef struct {
    fanout_zone_t  *z;
    fanout_ref_t    ref;
    uint32_t        pos;                /* in the block */
    uint32_t        left;               /* limit of blocks, if a race makes the
                                           chain endless */
} fanout_chain_cursor_t;

void fanout_write(fanout_chain_cursor_t *pen, const void *src, size_t n);
int fanout_copy(fanout_chain_cursor_t *pen, void *dst, size_t n);


/* notify: see heap/notify.c */

/* Wakes a slot after the unlock.  This is not undone by a rollback: a worker
 * may then be woken for nothing. */
void fanout_notify(fanout_zone_t *z, unsigned slot);

/* The same for all live slots, even those that were notified before. */
void fanout_notify_all(fanout_zone_t *z);

/* Writes to the eventfds of the notified slots; call it after the unlock. */
void fanout_wake(fanout_zone_t *z);


#endif /* FANOUT_HEAP_HEAP_H */
