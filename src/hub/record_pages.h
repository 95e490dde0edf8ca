
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Pages of records that a worker keeps: the JSON of sections of a channel's
 * records, for all who join the channel.
 *
 * The pages of all channels are part of the output: at most an eighth of
 * frames=.  Those that were not used for longest go first.
 */


#ifndef FANOUT_HUB_RECORD_PAGES_H
#define FANOUT_HUB_RECORD_PAGES_H


#include "hub/hub.h"


typedef struct {
    ngx_rbtree_node_t   node;           /* key: slot of its first record */
    ngx_queue_t         queue;          /* hub->paged */
    fanout_channel_t   *channel;
    uint64_t            last;           /* slot behind it, 0: the end */
    uint64_t            epoch;
    uint64_t            digest;         /* see fanout_records_digest() */
    ngx_msec_t          at;             /* it was used last */
    fanout_outbuf_t    *outbuf;
} fanout_record_page_t;


/* Finds the page that begins with a slot, or NULL; *next is where the next page
 * behind that slot begins, 0: there is none. */
fanout_record_page_t *fanout_record_pages_find(fanout_channel_t *ch,
    uint64_t first, uint64_t *next);

/* Marks a page as used. */
void fanout_record_pages_used(fanout_hub_t *hub, fanout_record_page_t *page);

/* Keeps a copy of a page, with a reference to its outbuf, if there is room. */
void fanout_record_pages_keep(fanout_hub_t *hub, fanout_channel_t *ch,
    const fanout_record_page_t *page);

void fanout_record_pages_drop(fanout_hub_t *hub, fanout_record_page_t *page);

/* Drops the pages of a channel. */
void fanout_record_pages_forget(fanout_hub_t *hub, fanout_channel_t *ch);

/* Drops the pages that nobody used for a while; called every second. */
void fanout_record_pages_expire(fanout_hub_t *hub);


#endif /* FANOUT_HUB_RECORD_PAGES_H */
