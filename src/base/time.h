
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#ifndef FANOUT_BASE_TIME_H
#define FANOUT_BASE_TIME_H


#include <ngx_config.h>
#include <ngx_core.h>


/* Returns the time of the worker's clock, Unix ms. */
uint64_t fanout_time(void);


#endif /* FANOUT_BASE_TIME_H */
