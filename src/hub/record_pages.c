
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Pages of records that a worker keeps.
 */


#include "hub/record_pages.h"


#define PAGE_AGE  30000                 /* ms for which nobody used it */


fanout_record_page_t *
fanout_record_pages_find(fanout_channel_t *ch, uint64_t first, uint64_t *next)
{
    ngx_rbtree_node_t     *node;
    fanout_record_page_t  *found;

    *next = 0;
    found = NULL;
    node = ch->pages.root;

    while (node && node != &ch->no_page) {

        if (node->key <= first) {
            if (node->key == first) {
                found = (fanout_record_page_t *) node;
            }

            node = node->right;

        } else {
            *next = node->key;
            node = node->left;
        }
    }

    return found;
}


void
fanout_record_pages_used(fanout_hub_t *hub, fanout_record_page_t *page)
{
    page->at = ngx_current_msec;

    ngx_queue_remove(&page->queue);
    ngx_queue_insert_tail(&hub->paged, &page->queue);
}


void
fanout_record_pages_keep(fanout_hub_t *hub, fanout_channel_t *ch,
    const fanout_record_page_t *page)
{
    ngx_queue_t           *q;
    fanout_record_page_t  *kept, *oldest;

    kept = page->outbuf->size <= fanout_paged_max(hub)
           ? ngx_alloc(sizeof(fanout_record_page_t), ngx_cycle->log)
           : NULL;

    if (kept == NULL) {
        return;
    }

    if (ch->pages.root == NULL) {
        ngx_rbtree_init(&ch->pages, &ch->no_page, ngx_rbtree_insert_value);
    }

    *kept = *page;
    kept->channel = ch;
    kept->at = ngx_current_msec;
    kept->outbuf->refs++;

    ngx_rbtree_insert(&ch->pages, &kept->node);
    ngx_queue_insert_tail(&hub->paged, &kept->queue);
    hub->paged_bytes += sizeof(fanout_record_page_t) + kept->outbuf->size;
    hub->output_bytes += sizeof(fanout_record_page_t);

    while (hub->paged_bytes > fanout_paged_max(hub)) {
        q = ngx_queue_head(&hub->paged);
        oldest = ngx_queue_data(q, fanout_record_page_t, queue);
        fanout_record_pages_drop(hub, oldest);
    }
}


void
fanout_record_pages_drop(fanout_hub_t *hub, fanout_record_page_t *page)
{
    hub->paged_bytes -= sizeof(fanout_record_page_t) + page->outbuf->size;
    hub->output_bytes -= sizeof(fanout_record_page_t);

    ngx_rbtree_delete(&page->channel->pages, &page->node);
    ngx_queue_remove(&page->queue);
    fanout_outbuf_release(hub, page->outbuf);
    ngx_free(page);
}


void
fanout_record_pages_forget(fanout_hub_t *hub, fanout_channel_t *ch)
{
    while (ch->pages.root && ch->pages.root != &ch->no_page) {
        fanout_record_pages_drop(hub,
                                 (fanout_record_page_t *) ch->pages.root);
    }
}


void
fanout_record_pages_expire(fanout_hub_t *hub)
{
    ngx_queue_t           *q;
    fanout_record_page_t  *page;

    while (!ngx_queue_empty(&hub->paged)) {
        q = ngx_queue_head(&hub->paged);
        page = ngx_queue_data(q, fanout_record_page_t, queue);

        if (ngx_current_msec - page->at < PAGE_AGE
            && !fanout_output_full(hub))
        {
            break;
        }

        fanout_record_pages_drop(hub, page);
    }
}
