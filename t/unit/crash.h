/*
 * An operation on a zone, and a process that is killed in the middle of it: at
 * every crash point, before and after each store, or at a sample of them, and
 * again as it recovers.  A survivor then looks at the zone, says what it finds
 * as text, and goes on.
 *
 * ZONE_KILLS says how many kills an operation gets, 0: one at every point;
 * ZONE_STEP=1 kills at every instruction of the short ones, too; ZONE_OP=name
 * does one alone.
 */


#ifndef _CRASH_H_INCLUDED_
#define _CRASH_H_INCLUDED_


#include "zone_util.h"


#define CRASH_TEXT  (256 * 1024)
#define SERIES      1                   /* more than one transaction */

typedef struct {
    const char  *name;
    void       (*setup)(void);          /* by the survivor, before all */
    void       (*prepare)(void);        /* by the killed, not killed yet */
    int        (*run)(void);            /* by the killed */
    unsigned     flags;
} op_t;

typedef struct {
    size_t       size;                  /* of the zone */
    unsigned     kills;                 /* of an operation */

    /* The survivor makes the world before the operation.  mem is what it was
     * when crash_begin() was called. */

    void       (*world)(const op_t *op);

    /* the killed: attaches as own, and prepares */

    void       (*begin)(const op_t *op);

    /* The survivor: 0 if the zone is sound before and after it recovers, all
     * that is found is in shared->text, and all goes on; otherwise -1, by
     * crash_fail(). */

    int        (*survive)(void);

    /* who recovers, after the dead is reaped; may be NULL */

    void       (*recovered)(void);
} crash_t;

typedef struct {
    volatile long      points;          /* of an operation that lived */
    volatile int       acked;
    volatile int       rc;
    char               text[CRASH_TEXT];  /* what the survivor found */
    char               error[512];
} shared_t;


extern void      *mem;                  /* the zone, shared by all */
extern zone_t     survivor, own;
extern zone_t    *z;                    /* that of this process */
extern arena_t    arena;                /* of this process */
extern shared_t  *shared;


/* Maps what is shared, and makes the zone, where an empty channel and a key are
 * kept for so many seconds.  Then the test makes what all operations have, and
 * calls crash_begin(), which remembers it. */

void crash_init(const crash_t *test, uint32_t idle, uint32_t dedupe);
void crash_begin(void);

/* tests those of the operations that ZONE_OP names, or all */

void crash_ops(const op_t *ops, unsigned n);

/* whether ZONE_OP names it, or nothing */

int crash_wanted(const char *name);

/* Kills this process at that crash point from now on, counted from 1; -1 only
 * counts them in shared->points, when it is disarmed. */

void crash_arm(long at);
void crash_disarm(void);

/* writes shared->error, returns -1 */

int crash_fail(const char *fmt, ...);

/* The survivor: 0 if the zone is whole, and no journal was too short. */

int crash_sound(const char *when);

/* The survivor: the dead is reaped, and the zone was sound before.  -1 if it
 * was not, or was made anew. */

int crash_recover(void);

/* appends to shared->text, of n bytes so far; returns how long it is then */

size_t crash_say(size_t n, const char *fmt, ...);


#endif /* _CRASH_H_INCLUDED_ */
