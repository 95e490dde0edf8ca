
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Pages of the history of a channel.
 *
 *   history  {"epoch","offset","messages":[…],"recovered"?,"next"?}
 *
 * A page of history is in ascending order.  With "since" it begins after
 * that offset, "recovered" says whether nothing in between is missing (if so
 * it begins with the oldest that is kept), and "next" is the offset to go on
 * from, with the epoch, as "since".  Without, it is the last ones, and "next"
 * is what to give as "before" for those that precede them.
 */


#include "api/api.h"


/* a page of history in work */

typedef struct {
    fanout_zone_channel_t   zc;
    uint64_t                epoch;
    uint64_t                offset;             /* the channel's */
    uint64_t                first;              /* kept at the start, or 0 */
    uint64_t                start;              /* read after it */
    uint64_t                after;              /* read up to here */
    uint64_t                upto;
    ngx_uint_t              limit;
    ngx_uint_t              n;                  /* written */
    size_t                  body;               /* of out: its entries */
    size_t                  end;                /* of out, not to pass with
                                                   more than one entry */
    unsigned                recovered:1;
    unsigned                more:1;             /* between after and upto */
} page_t;


static int seek_page(fanout_api_t *api,
    fanout_api_op_t *op, page_t *page);
static int read_page(fanout_api_t *api,
    fanout_api_op_t *op, page_t *page);
static ngx_uint_t page_lose(fanout_api_t *api, fanout_api_op_t *op,
    page_t *page, uint64_t lost);
static ngx_int_t write_entries(fanout_api_t *api, page_t *page);
static ngx_int_t write_page_end(fanout_api_t *api, fanout_api_op_t *op,
    page_t *page);


fanout_error_e
fanout_api_history(fanout_api_t *api, fanout_api_op_t *op)
{
    int             rc;
    size_t          start;
    page_t          page;
    ngx_uint_t      tries;
    fanout_error_e  error;

    if (op->record.len) {
        return fanout_api_record_history(api, op);
    }

    error = fanout_api_channel(api, &op->channel);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    ngx_memzero(&page, sizeof(page_t));

    fanout_hub_view(api->hub, &op->channel, &page.zc);

    /* pages of a batch share the room of one, but none is left without */

    start = api->out->used;
    page.end = ngx_max(FANOUT_API_PAGE, start + FANOUT_API_PAGE / 16);
    page.limit = op->limit;
    tries = 0;

    for ( ;; ) {
        api->out->used = start;

        rc = seek_page(api, op, &page);

        if (rc == FANOUT_ZONE_OK) {
            rc = read_page(api, op, &page);
        }

        if (rc == FANOUT_ZONE_STALE && tries++ < 3) {
            /* purged or rebuilt in between */
            page.zc.ref = 0;
            continue;
        }

        if (rc != FANOUT_ZONE_OK) {
            return fanout_api_zone_error(api, &op->channel, rc);
        }

        if (!page.more || op->positioned || page.limit <= 1) {
            break;
        }

        /* The last entries have too many bytes: read fewer of them, at most
         * half, as the large ones may be the last. */

        page.limit = ngx_max(1, ngx_min(page.n, page.limit / 2));
    }

    return fanout_api_done(write_page_end(api, op, &page));
}


static int
seek_page(fanout_api_t *api, fanout_api_op_t *op, page_t *page)
{
    int                  rc;
    ngx_uint_t           n;
    fanout_zone_join_t   j;
    fanout_zone_info_t   info;

    rc = fanout_channel_info(&api->hub->zone, &page->zc, &info);
    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    n = op->positioned ? 0 : page->limit;

    rc = fanout_log_seek(&api->hub->zone, &page->zc, op->before, n, &j);
    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    page->epoch = j.epoch;
    page->offset = j.offset;
    page->first = info.first;
    page->start = j.after;
    page->upto = j.offset;
    page->n = 0;
    page->more = 0;

    if (op->before && op->before <= j.offset) {
        page->upto = op->before - 1;
    }

    if (op->positioned) {
        page->recovered = op->epoch
                          && fanout_log_holds(&api->hub->zone, &page->zc,
                                              op->epoch, op->offset);
        page->start = page->recovered ? op->offset : 0;
    }

    page->after = page->start;

    if (fanout_outbuf_printf(api->hub, api->out, 128,
                             "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                             "\"messages\":[",
                             page->epoch, page->offset)
        != NGX_OK)
    {
        return FANOUT_ZONE_ERROR;
    }

    page->body = api->out->used;

    return FANOUT_ZONE_OK;
}


static int
read_page(fanout_api_t *api, fanout_api_op_t *op, page_t *page)
{
    int              rc;
    uint64_t         lost;
    fanout_arena_t  *arena;

    arena = &api->hub->pages;

    do {
        arena->n = 0;
        arena->used = 0;
        lost = 0;

        rc = fanout_log_read(&api->hub->zone, &page->zc,
                             page->epoch, page->after, page->upto,
                             arena, &lost);

        fanout_spend(api->hub, FANOUT_WORK_SECTION
                               + arena->used
                               + arena->n
                                 * FANOUT_WORK_ENTRY);

        if (rc != FANOUT_ZONE_OK && rc != FANOUT_ZONE_AGAIN)
        {
            return rc;
        }

        if (lost > page->after && !page_lose(api, op, page, lost)) {
            break;
        }

        if (write_entries(api, page) != NGX_OK) {
            return FANOUT_ZONE_ERROR;
        }

        if (rc == FANOUT_ZONE_AGAIN && page->n == page->limit) {
            page->more = 1;
        }

    } while (rc == FANOUT_ZONE_AGAIN && !page->more);

    return FANOUT_ZONE_OK;
}


/* The log has lost the entries that come next.  A page has no gap: it ends
 * before them, and the next page reports it, or it begins behind them.
 * Returns 0 if the page ends here. */

static ngx_uint_t
page_lose(fanout_api_t *api, fanout_api_op_t *op, page_t *page,
    uint64_t lost)
{
    if (op->positioned && page->n) {
        page->more = 1;
        return 0;
    }

    api->out->used = page->body;

    page->recovered = 0;
    page->first = 0;
    page->n = 0;
    page->after = ngx_min(lost, page->upto);

    return 1;
}


static ngx_int_t
write_entries(fanout_api_t *api, page_t *page)
{
    uint32_t          i;
    fanout_entry_t   *e;
    fanout_outbuf_t  *out;

    out = api->out;

    for (i = 0; i < api->hub->pages.n; i++) {
        e = &api->hub->pages.entries[i];

        if (page->n == page->limit
            || (page->n && out->used + e->data.len > page->end))
        {
            page->more = 1;
            break;
        }

        if (fanout_outbuf_printf(api->hub, out, 2,
                                 page->n ? ",{" : "{")
            != NGX_OK
            || fanout_entry_json(api->hub, e, out) != NGX_OK
            || fanout_outbuf_append(api->hub, out, "}", 1) != NGX_OK)
        {
            return NGX_ERROR;
        }

        page->n++;
        page->after = e->offset;
    }

    return NGX_OK;
}


static ngx_int_t
write_page_end(fanout_api_t *api, fanout_api_op_t *op, page_t *page)
{
    uint64_t  next;

    next = 0;

    if (op->positioned) {
        if (page->more) {
            next = page->after;
        }

    } else if (page->n && page->first && page->first <= page->start) {
        next = page->start + 1;
    }

    if (fanout_outbuf_literal(api->hub, api->out, "]") != NGX_OK) {
        return NGX_ERROR;
    }

    if (op->positioned
        && fanout_outbuf_printf(api->hub, api->out, 32,
                                ",\"recovered\":%s",
                                page->recovered ? "true" : "false")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (next
        && fanout_outbuf_printf(api->hub, api->out, 64,
                                ",\"next\":%uL", next)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return fanout_outbuf_literal(api->hub, api->out, "}");
}
