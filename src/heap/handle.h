
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A process's handle of a heap in shared memory.  The owner of the heap defines
 * the rest of the handle, see heap/heap.h.
 */


#ifndef FANOUT_HEAP_HANDLE_H
#define FANOUT_HEAP_HANDLE_H


#include <stddef.h>
#include <stdint.h>


/* results */

#define FANOUT_ZONE_OK         0
#define FANOUT_ZONE_AGAIN      1            /* done partly, call again */
#define FANOUT_ZONE_FULL      -1            /* no block can be freed */
#define FANOUT_ZONE_STALE     -2            /* the zone was rebuilt */
#define FANOUT_ZONE_NOTFOUND  -3
#define FANOUT_ZONE_CONFLICT  -4            /* a condition ("if") did not
                                               hold */
#define FANOUT_ZONE_LARGE     -5            /* more than an entry can hold */
#define FANOUT_ZONE_LAYOUT    -6            /* the zone was made by another
                                               build */
#define FANOUT_ZONE_SMALL     -7            /* mapping too small */
#define FANOUT_ZONE_ERROR     -8            /* a system call failed, see
                                               errno */
#define FANOUT_ZONE_MANY      -9            /* a mailbox is full, too many
                                               clients are addressed, or an
                                               address holds its maximum */
#define FANOUT_ZONE_HELD     -10            /* a user or an address holds its
                                               maximum of keys */
#define FANOUT_ZONE_ADDRESS  -11            /* an address holds its maximum of
                                               channels, in a publish */
#define FANOUT_ZONE_LOCKED   -12            /* somebody else holds the lock */
#define FANOUT_ZONE_NOTHOLDER  -13          /* a token, or a client, is not that
                                               of the lock's holder */


#define FANOUT_ZONE_BLOCK      64

typedef uint32_t  fanout_ref_t;             /* number of a block; 0: none */

typedef struct fanout_zone_s      fanout_zone_t;
typedef struct fanout_owner_s     fanout_owner_t;
typedef struct fanout_heap_shm_s  fanout_heap_shm_t;


/* private memory, the first member of the owner's handle */

typedef struct {
    fanout_heap_shm_t     *shm;             /* start of the mapping */
    uint8_t               *base;            /* block 0 */
    const fanout_owner_t  *owner;
    uint8_t               *processes;       /* fanout_process_t of slot 0 */
    size_t                 process_size;    /* distance of two, bytes */
    unsigned               nprocesses;
    int                    slot;            /* of this process, -1: none */
    uint64_t               incarnation;     /* that this process saw last under
                                               the lock */
    uint64_t               wake;            /* slots to wake at the unlock */
    uint64_t               recoveries;      /* rollbacks done here */
    uint64_t               taken;           /* blocks allocated by this
                                               process, ever */
    uint32_t               work;            /* units done in this section */
    unsigned               self_woken:1;    /* own slot was notified */
} fanout_heap_t;


#endif /* FANOUT_HEAP_HANDLE_H */
