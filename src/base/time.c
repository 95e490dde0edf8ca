
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "base/time.h"


uint64_t
fanout_time(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}
