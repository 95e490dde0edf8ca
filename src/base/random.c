
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "base/random.h"

#include <sys/random.h>


uint64_t
fanout_random(void)
{
    ssize_t            n;
    uint64_t           r;

    static uint64_t    pool[128];
    static ngx_uint_t  left;
    static ngx_pid_t   owner;

    do {
        if (left == 0 || owner != ngx_pid) {

            do {
                n = getrandom(pool, sizeof(pool), 0);
            } while (n != sizeof(pool));

            left = sizeof(pool) / sizeof(pool[0]);
            owner = ngx_pid;
        }

        r = pool[--left];
        pool[left] = 0;

    } while (r == 0);

    return r;
}
