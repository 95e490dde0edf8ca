/*
 * A worker that is killed in the middle of an operation: a thread with a slot
 * of its own, which ends at a store as if it had been killed there.  Its robust
 * mutexes show the death to others.
 */


#ifndef _ZONE_KILL_H_INCLUDED_
#define _ZONE_KILL_H_INCLUDED_


#include "zone_util.h"


/* Does an operation as another worker, which dies at the crash point with that
 * number; then z cleans up after it.  1: it died, 0: it ended before. */
int killed_at(zone_t *z, void *mem, size_t size, unsigned at,
    void (*run)(zone_t *z, void *data), void *data);


#endif /* _ZONE_KILL_H_INCLUDED_ */
