
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Secret random numbers, from the kernel, fetched a page at a time.
 */


#ifndef FANOUT_BASE_RANDOM_H
#define FANOUT_BASE_RANDOM_H


#include <ngx_config.h>
#include <ngx_core.h>


/* Returns a random number that can't be guessed, never 0. */
uint64_t fanout_random(void);


#endif /* FANOUT_BASE_RANDOM_H */
