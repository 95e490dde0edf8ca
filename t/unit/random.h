/*
 * Random numbers that a seed replays.
 */


#ifndef _RANDOM_H_INCLUDED_
#define _RANDOM_H_INCLUDED_


#include <stdint.h>


/* the next one after a state, which it moves on */
uint64_t rnd(uint64_t *s);

/* the seed that ZONE_SEED says, or one of this run's own */
uint64_t seed_of_run(void);


#endif /* _RANDOM_H_INCLUDED_ */
