
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The history of a record: its changes alone, newest first.
 *
 *   {"epoch","offset","messages":[…],"next"?}
 *
 * "next" is what to give as "before" for those that precede them.
 */


#include "api/api.h"
#include "hub/entry_json.h"
#include "hub/records.h"


/* a page in work */

typedef struct {
    uint64_t      epoch;
    uint64_t      before;
    ngx_uint_t    n;                    /* written */
    ngx_uint_t    look;                 /* entries still to look at */
} changes_t;


static int changes_page(fanout_api_t *api, fanout_api_op_t *op,
    changes_t *page);
static int changes_begin(fanout_api_t *api, fanout_api_op_t *op,
    changes_t *page);
static ngx_int_t changes_write(fanout_api_t *api, changes_t *page);


fanout_error_e
fanout_api_record_history(fanout_api_t *api, fanout_api_op_t *op)
{
    int             rc;
    size_t          start;
    changes_t       page;
    ngx_uint_t      tries;
    fanout_error_e  error;

    if ((error = fanout_api_channel(api, &op->channel))
        || (error = fanout_api_record_check(api, &op->record)))
    {
        return error;
    }

    if (op->positioned) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"record\" excludes \"since\"");
    }

    if (!fanout_records_served(api->hub, &op->channel)) {
        return fanout_api_no_records(api);
    }

    start = api->out->used;
    tries = 0;

    /* again if it was purged or rebuilt in between */

    do {
        api->out->used = start;
        rc = changes_page(api, op, &page);

    } while (rc == FANOUT_ZONE_STALE && tries++ < 3);

    if (rc != FANOUT_ZONE_OK) {
        return fanout_api_zone_error(api, &op->channel, rc);
    }

    return fanout_api_done(page.before
                           ? fanout_outbuf_printf(api->hub, api->out, 64,
                                                  "],\"next\":%uL}",
                                                  page.before)
                           : fanout_outbuf_literal(api->hub, api->out, "]}"));
}


static int
changes_page(fanout_api_t *api, fanout_api_op_t *op, changes_t *page)
{
    int            rc;
    size_t         end;
    fanout_zstr_t  id;

    rc = changes_begin(api, op, page);

    if (rc != FANOUT_ZONE_OK || op->limit == 0) {
        return rc;
    }

    id.data = op->record.data;
    id.len = op->record.len;

    page->before = op->before;

    /* pages of a batch share the room of one, but none is left without */

    end = ngx_max(FANOUT_API_PAGE, api->out->used + FANOUT_API_PAGE / 16);

    do {
        rc = fanout_records_history(api->hub, &op->channel, &id, page->epoch,
                                    &page->before, op->limit - page->n,
                                    &page->look);

        if (rc != FANOUT_ZONE_OK && rc != FANOUT_ZONE_AGAIN) {
            return rc;
        }

        if (changes_write(api, page) != NGX_OK) {
            return FANOUT_ZONE_ERROR;
        }

    } while (rc == FANOUT_ZONE_AGAIN && page->n < op->limit && page->look
             && api->out->used < end);

    return FANOUT_ZONE_OK;
}


static int
changes_begin(fanout_api_t *api, fanout_api_op_t *op, changes_t *page)
{
    int                    rc;
    fanout_zone_join_t     j;
    fanout_zone_channel_t  zc;

    fanout_hub_view(api->hub, &op->channel, &zc);

    rc = fanout_log_seek(&api->hub->zone, &zc, 0, 0, &j);
    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    page->epoch = j.epoch;
    page->before = 0;
    page->n = 0;
    page->look = FANOUT_RECORDS_LOOK;

    return fanout_outbuf_printf(api->hub, api->out, 128,
                                "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                                "\"messages\":[",
                                j.epoch, j.offset)
           == NGX_OK ? FANOUT_ZONE_OK : FANOUT_ZONE_ERROR;
}


static ngx_int_t
changes_write(fanout_api_t *api, changes_t *page)
{
    uint32_t          i;
    fanout_arena_t   *arena;
    fanout_outbuf_t  *out;

    out = api->out;
    arena = &api->hub->pages;

    for (i = 0; i < arena->n; i++) {
        if (fanout_outbuf_printf(api->hub, out, 2, page->n++ ? ",{" : "{")
            != NGX_OK
            || fanout_entry_json(api->hub, &arena->entries[i], out) != NGX_OK
            || fanout_outbuf_literal(api->hub, out, "}") != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
