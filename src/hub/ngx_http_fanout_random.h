
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Secret random numbers, from the kernel, fetched a page at a time.
 */


#ifndef _NGX_HTTP_FANOUT_RANDOM_H_INCLUDED_
#define _NGX_HTTP_FANOUT_RANDOM_H_INCLUDED_


#include "ngx_http_fanout_module.h"


/* A random number that can't be guessed, never 0. */
uint64_t ngx_http_fanout_random(void);


#endif /* _NGX_HTTP_FANOUT_RANDOM_H_INCLUDED_ */
