/*
 * A heap of a toy owner, for heap_test: its records are in lists, a hash table
 * and a timer wheel.  A model in private memory says what each of them holds.
 */


#ifndef _HEAP_TOY_H_INCLUDED_
#define _HEAP_TOY_H_INCLUDED_


#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "heap/hash.h"
#include "heap/list.h"
#include "heap/wheel.h"


#define RECORDS  10
#define PLACES   8
#define BUCKETS  4
#define SIZE     (512 * 1024)


/* What is linked.  The places of the wheel and the buckets are lists, too. */

enum {
    STACK = 0,
    LIST,
    QUEUE,
    SINGLE,
    DEQUE,
    RING,
    CIRCLE,
    WHEEL,
    HASH = WHEEL + PLACES,
    LISTS = HASH + BUCKETS
};

enum {
    PUSH = 0,
    APPEND,
    REMOVE,
    CUT,                                /* all before the record */
    CLEAR,                              /* all */
    FREE,                               /* the record, which is in no list */
    CHAIN,                              /* new records, from an id on */
    VERBS
};

typedef struct {
    unsigned             list;
    unsigned             verb;
    unsigned             id;
    unsigned             n;             /* of a chain */
    fanout_record_e      record;
} step_t;


/* a record: links of all lists but one, which has its links in a second
 * block */

typedef struct {
    fanout_ref_t         queue_next;
    fanout_ref_t         part;
    fanout_ref_t         stack_next;
    fanout_ref_t         stack_prev;
    fanout_ref_t         hash_next;
    fanout_ref_t         single_next;
    fanout_ref_t         deque_next;
    fanout_ref_t         deque_prev;
    fanout_ref_t         ring_next;
    fanout_ref_t         ring_prev;
    fanout_ref_t         circle_next;
    fanout_ref_t         wheel_next;
    fanout_ref_t         wheel_prev;
    uint32_t             id;
} record_t;

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         list_next;
    fanout_ref_t         list_prev;
} part_t;

typedef struct {
    fanout_heap_shm_t    heap;
    fanout_process_t     process;
    uint64_t             hash;
    uint32_t             mask;
    fanout_ref_t         refs[RECORDS];         /* by id, 0: none */
    fanout_ref_t         stack;
    fanout_ref_t         list_first;
    fanout_ref_t         list_last;
    fanout_ref_t         queue_first;
    fanout_ref_t         queue_last;
    fanout_ref_t         single;
    fanout_ref_t         deque;
    fanout_ref_t         ring;                  /* one of it */
    fanout_ref_t         circle;
    fanout_ref_t         wheel[PLACES];
    fanout_ref_t         buckets[BUCKETS];
} shm_t;

struct fanout_zone_s {
    fanout_heap_t        heap;
    shm_t               *shm;
};


/* ids in order, + 1 */

typedef struct {
    uint8_t              ids[LISTS][RECORDS + 1];
    uint8_t              alive[RECORDS];
} model_t;


extern const fanout_wheel_t  toy_wheel;


/* Maps and formats an empty one. */
void toy_setup(fanout_zone_t *z);

/* Makes a record, in a transaction. */
fanout_ref_t toy_make(fanout_zone_t *z, unsigned id);

/* Does a step of a transaction, which must be possible.  Makes the record if
 * there is none. */
void toy_do(fanout_zone_t *z, const step_t *s);

/* Whether links, records and the accounts of the heap are as a model says. */
int toy_holds(fanout_zone_t *z, const model_t *want);


#endif /* _HEAP_TOY_H_INCLUDED_ */
