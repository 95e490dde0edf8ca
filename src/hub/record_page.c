
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Reading records as pages.
 */


#include "hub/record_json.h"
#include "hub/record_page.h"
#include "hub/record_pages.h"
#include "hub/records.h"


#define PAGE_RECORDS  256               /* most of a page */


static ngx_uint_t page_holds(fanout_hub_t *hub, fanout_record_page_t *page);
static ngx_int_t page_read(fanout_hub_t *hub, ngx_str_t *channel,
    uint64_t *cursor, uint64_t last, fanout_record_page_t *page);


ngx_int_t
fanout_record_page(fanout_hub_t *hub, ngx_str_t *channel, uint64_t *cursor,
    fanout_outbuf_t **outbuf)
{
    uint64_t               next;
    fanout_channel_t      *ch;
    fanout_record_page_t   page, *kept;

    ch = fanout_hub_find(hub, channel);
    next = 0;
    kept = ch ? fanout_record_pages_find(ch, *cursor, &next) : NULL;

    if (kept && page_holds(hub, kept)) {
        kept->outbuf->refs++;
        *outbuf = kept->outbuf;
        *cursor = kept->last;
        return NGX_OK;
    }

    if (kept) {
        fanout_record_pages_drop(hub, kept);
    }

    if (page_read(hub, channel, cursor, next, &page) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ch) {
        fanout_record_pages_keep(hub, ch, &page);
    }

    *outbuf = page.outbuf;

    return NGX_OK;
}


static ngx_uint_t
page_holds(fanout_hub_t *hub, fanout_record_page_t *page)
{
    fanout_records_t  *now;

    fanout_records_digest(hub, &page->channel->name, page->node.key,
                          page->last, &now);

    if (now->epoch != page->epoch || now->digest != page->digest) {
        return 0;
    }

    fanout_record_pages_used(hub, page);

    return 1;
}


static ngx_int_t
page_read(fanout_hub_t *hub, ngx_str_t *channel, uint64_t *cursor,
    uint64_t last, fanout_record_page_t *page)
{
    fanout_zstr_t      all;
    fanout_records_t  *now;

    ngx_memzero(&all, sizeof(fanout_zstr_t));

    page->node.key = *cursor;

    fanout_records_list(hub, channel, &all, cursor, last, PAGE_RECORDS, &now);

    page->last = *cursor;
    page->epoch = now->epoch;
    page->digest = now->digest;
    page->outbuf = fanout_outbuf_create(hub, now->used + 1);

    if (page->outbuf == NULL) {
        return NGX_ERROR;
    }

    if (fanout_records_json(hub, now, 0, page->outbuf) != NGX_OK) {
        fanout_outbuf_release(hub, page->outbuf);
        return NGX_ERROR;
    }

    return NGX_OK;
}
