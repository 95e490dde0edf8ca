
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A transactional heap in shared memory.  It knows nothing of what lives in
 * it: that is its owner's, see fanout_owner_t.
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


#ifndef FANOUT_HEAP_HEAP_H
#define FANOUT_HEAP_HEAP_H


#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "heap/handle.h"


#define FANOUT_MAGIC          0x74756f6e61665f6eULL
#define FANOUT_BLOCK          FANOUT_ZONE_BLOCK
#define FANOUT_PAYLOAD        (FANOUT_BLOCK - 4)
#define FANOUT_KINDS          16        /* of used blocks, the owner's */
#define FANOUT_JOURNAL        8192
#define FANOUT_JOURNAL_ROOM   4096      /* left for one bounded step */
#define FANOUT_WORK           768       /* work after which a loop leaves the
                                           rest to another section */

#define FANOUT_READY          1
#define FANOUT_REBUILDING     2


/* a chain of blocks: the first four bytes of each number the next */

typedef struct {
    fanout_ref_t         next;
    uint8_t              data[FANOUT_PAYLOAD];
} fanout_block_t;


/* where: offset in the zone << 8 | size of the store */

typedef struct {
    uint64_t             where;
    uint64_t             old;
} fanout_undo_t;


/*
 * The start of the mapping, the first member of what the owner has there.
 * Magic, layout, sizes and size are its stamp.
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
    uint64_t             wall;          /* last time told, Unix ms */
    uint64_t             start;         /* monotonic s at the format */
    uint64_t             seed[2];
    uint64_t             random[2];     /* of epochs */

    uint64_t             journal;       /* offsets in the mapping */
    uint64_t             blocks;

    uint32_t             nblocks;       /* block 0 included */
    uint32_t             fresh;         /* blocks from here never used */
    uint32_t             nfree;         /* in the free list or fresh */
    fanout_ref_t         free;
    fanout_ref_t         limbo;
    fanout_ref_t         limbo_tail;
    uint32_t             nlimbo;
    uint32_t             unused;
    uint32_t             used[FANOUT_KINDS];

    uint64_t             rollbacks;
    uint64_t             overflows;
};


/* What the heap knows of a process by its slot: in the owner's table of
 * slots.  notified is outside of transactions. */

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
 * A build for the crash harness has a point before and after every store;
 * others have nothing.
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


/* the life of a heap; nobody else may know the mapping, or the lock is held */

/* Seeds and the lock.  ERROR with errno. */
int fanout_heap_create(fanout_heap_shm_t *shm);

/* A mutex for processes, that tells the death of its holder.  0 or errno. */
int fanout_mutex_init(pthread_mutex_t *m);

/* Gives it the blocks from an offset on, after .journal and .size were set.
 * SMALL. */
int fanout_heap_place(fanout_heap_shm_t *shm, uint64_t at);

/* Makes all blocks free, in another incarnation: the heap is ready. */
void fanout_heap_format(fanout_heap_shm_t *shm);

/* Attaches a handle; processes is the one of slot 0, the others follow at
 * distances of size. */
void fanout_heap_attach(fanout_zone_t *z, fanout_heap_shm_t *shm,
    const fanout_owner_t *owner, fanout_process_t *processes, size_t size,
    unsigned n);


/* lock and transactions; but for enter, the lock must be held */

/* Takes a robust mutex of the zone, however many that wait for it are killed:
 * 0, or EOWNERDEAD. */
int fanout_take(pthread_mutex_t *lock);

/* Takes the lock, rolls back what a dead holder left, joins the limbo to
 * the free list.  STALE if the zone was rebuilt since this handle last
 * entered (the lock is held all the same). */
int fanout_enter(fanout_zone_t *z);

/* Commits, unlocks, wakes. */
void fanout_leave(fanout_zone_t *z);

/* What was stored since the last commit stands, the limbo is free. */
void fanout_commit(fanout_zone_t *z);

/* Whether a loop may take one more bounded step in this transaction. */
static inline int
fanout_journal_room(fanout_zone_t *z)
{
    return fanout_heap(z)->shm->njournal < FANOUT_JOURNAL - FANOUT_JOURNAL_ROOM;
}

/*
 * Whether a loop may take one more step in this section of the lock.  What is
 * counted is the work that was done in it, over all of its transactions: a
 * store is one, and so is a block that was taken, copied, or looked at in a
 * long chain.  That is about 5 ns for what is in the cache, and 50 for what is
 * not.
 */
static inline int
fanout_section_room(fanout_zone_t *z)
{
    return fanout_heap(z)->work + fanout_heap(z)->shm->njournal < FANOUT_WORK;
}

/* A build for tests can set the zone's clock, unless this is 0, and the ms
 * beside it; and is told the most records of a transaction and the most work
 * of a section so far. */
#if (FANOUT_TEST)
extern uint32_t  fanout_test_seconds;
extern uint32_t  fanout_test_msec;
extern uint32_t  fanout_test_journal;
extern uint32_t  fanout_test_work;
#endif

uint32_t fanout_seconds(fanout_zone_t *z);              /* the zone's clock */
uint32_t fanout_msec(fanout_zone_t *z);                 /* runs over */
uint64_t fanout_wall(fanout_zone_t *z);                 /* clamped, Unix ms */
uint64_t fanout_zone_random(fanout_zone_t *z);          /* never 0 */
void fanout_hash(fanout_zone_t *z, const void *a, size_t alen, const void *b,
    size_t blen, uint64_t salt, uint64_t out[2]);


/*
 * The owner of a heap: it knows what lives in the blocks, and so what may be
 * evicted when none is free.  A table in the memory of each process, given at
 * the attach.  The lock is held when these are called.
 */

#define FANOUT_NO_ACCOUNT     UINT32_MAX

typedef struct {
    uint32_t             n;             /* blocks */
    uint32_t             account;       /* whose they will be; the owner may
                                           bound what an account has */
} fanout_need_t;

typedef struct {
    const char          *name;          /* NULL ends a table */

    /* Frees a block at least, or what holds one.  One transaction, without the
     * commit.  Whether there was any. */
    int                (*evict)(fanout_zone_t *z, const fanout_need_t *need);

    unsigned             spare:1;       /* also goes for what may be lost */
} fanout_reclaimer_t;

struct fanout_owner_s {
    const fanout_reclaimer_t  *reclaimers;              /* the first goes
                                                           first */

    /* Whether so many blocks could be had by evicting all that may be. */
    int                (*attainable)(fanout_zone_t *z,
                                     const fanout_need_t *need);

    /* Whether the account would have more than it may; then relieve() evicts
     * of it, as a reclaimer does. */
    int                (*exceeds)(fanout_zone_t *z, const fanout_need_t *need);
    int                (*relieve)(fanout_zone_t *z, const fanout_need_t *need);

    /* The need can't be met: for the counters. */
    void               (*full)(fanout_zone_t *z, const fanout_need_t *need);

    /* Makes the zone empty after it was found to be broken.  May be killed and
     * done again. */
    void               (*format)(fanout_zone_t *z);
};


/* blocks */

/*
 * Makes n blocks allocatable, evicting in transactions of its own: to be
 * called at the start of one.  The lock may be dropped and taken again in
 * between, so all that was looked up before is to be looked up again.
 *
 * FULL; STALE if the zone was rebuilt meanwhile.
 */
int fanout_ensure(fanout_zone_t *z, uint32_t n);

/* The same, for an account of the owner. */
int fanout_ensure_need(fanout_zone_t *z, const fanout_need_t *need);

/* Tries to have n blocks, a few hundred at most, for what may be lost: at the
 * expense of what is spare alone.  The lock is kept.  To be called at the start
 * of a transaction.  Whether there are so many. */
int fanout_ensure_spare(fanout_zone_t *z, uint32_t n);

/* Takes a chain of n blocks, ended by 0; ensured before. */
fanout_ref_t fanout_alloc(fanout_zone_t *z, uint32_t n, unsigned kind,
    fanout_ref_t *last);

/* The last block of a chain. */
fanout_ref_t fanout_chain_last(fanout_zone_t *z, fanout_ref_t ref);

/* Frees a chain by its ends; it becomes usable by the next transaction. */
void fanout_free(fanout_zone_t *z, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, unsigned kind);


/* reading and writing along a chain */

typedef struct {
    fanout_zone_t  *z;
    fanout_ref_t    ref;
    uint32_t        pos;                /* in the block */
    uint32_t        left;               /* blocks, ends a chain torn by a
                                           race */
} fanout_chain_cursor_t;

void fanout_write(fanout_chain_cursor_t *pen, const void *src, size_t n);
int fanout_copy(fanout_chain_cursor_t *pen, void *dst, size_t n);


/* notify: see heap/notify.c */

/* Has a slot woken at the unlock.  Outside of transactions: at worst a worker
 * is woken for nothing. */
void fanout_notify(fanout_zone_t *z, unsigned slot);

/* The same for all live slots, whatever they were told before. */
void fanout_notify_all(fanout_zone_t *z);

/* Wakes those that are to be, after the unlock. */
void fanout_wake(fanout_zone_t *z);


#endif /* FANOUT_HEAP_HEAP_H */
