/*
 * What the tests of locks share: clients that ask for locks, and locks as
 * text.
 */


#ifndef _ZONE_LOCK_H_INCLUDED_
#define _ZONE_LOCK_H_INCLUDED_


#include "zone_presence.h"
#include "zone_record.h"
#include "zone/lock.h"
#include "zone/lock_block.h"


#define LOCKED     FANOUT_ZONE_LOCKED
#define NOTHOLDER  FANOUT_ZONE_NOTHOLDER


typedef fanout_lock_t  lock_t;

/* who is NULL: the API */

typedef struct {
    person_t              *who;
    const char            *name;
    const char            *user;
    const char            *data;        /* NULL: none is given */
    uint32_t               ttl;
    uint32_t               wait;
    uint64_t               token;
    uint64_t               address;
    unsigned               anywhere:1;  /* found by the secret */
} ask_t;


/* of the last call */

extern lock_t    lock_was;
extern unsigned  lock_renewed;
extern unsigned  lock_limit;

int lock_take(zone_t *z, channel_t *c, const ask_t *ask);
int lock_wait(zone_t *z, channel_t *c, person_t *who, const char *name,
    int give_up);
int lock_drop(zone_t *z, channel_t *c, person_t *who, const char *name,
    uint64_t token);

/* A lock as "doc=7:ann [data] (left)": the client and the user of the holder,
 * its data, and why the last one ended; "doc=-" if nobody holds it. */

void lock_text(const lock_t *lock, char *buf, size_t size);

/* The LOCK entries that this worker has not read, with ", " between; of very
 * many, the first ones.  A gap is "GAP". */

const char *lock_told(zone_t *z, arena_t *a);

/* The locks of a channel, read in parts of max; *calls are counted. */

const char *lock_all(zone_t *z, channel_t *c, unsigned max, unsigned *calls);


#endif /* _ZONE_LOCK_H_INCLUDED_ */
