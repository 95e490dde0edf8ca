
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Reading records as pages, which all who join a channel in this worker share.
 */


#ifndef FANOUT_HUB_RECORD_PAGE_H
#define FANOUT_HUB_RECORD_PAGE_H


#include "hub/hub.h"


/*
 * Reads the records of a channel from *cursor on, which is 0 at the beginning
 * and the end.  *page gets them as the members of an object, without braces,
 * and a reference for the caller; it is empty if there are none.  A page is
 * used again as long as no record in it has changed.  NGX_ERROR on lack of
 * memory.
 */
ngx_int_t fanout_record_page(fanout_hub_t *hub, ngx_str_t *channel,
    uint64_t *cursor, fanout_outbuf_t **page);


#endif /* FANOUT_HUB_RECORD_PAGE_H */
