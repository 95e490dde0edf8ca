
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Mail: direct messages that a seat keeps for a while.
 */


#include "ngx_http_fanout_heap.h"


void
fanout_mail_free(ngx_http_fanout_zone_t *z, fanout_ref_t seat)
{
    (void) z;
    (void) seat;
}
