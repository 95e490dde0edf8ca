
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Reading records: a page of a channel's, or one.
 *
 *   page  {"epoch","offset","records":{id:{"version","fields","versions"?}},
 *          "cursor"?}
 *   one   {"record","version","fields","versions"?,"epoch","offset"}
 *
 * A page is read in sections, between which records may change: its position is
 * that of the first, so the entries after it have all that the page lacks.
 *
 * Records that a channel has left after "records=off" can be read.
 */


#include "api/api.h"
#include "hub/record_json.h"
#include "hub/records.h"


/* sections of the lock that a page may take */
#define RECORD_SECTIONS  128


static fanout_error_e record_page(fanout_api_t *api, fanout_api_op_t *op);
static ngx_int_t page_begin(fanout_api_t *api, fanout_api_op_t *op,
    fanout_records_t *records);


/* An operation of a batch: it has the members of the native protocol. */

fanout_error_e
fanout_api_get(fanout_api_t *api, fanout_api_op_t *op)
{
    op->limit = FANOUT_API_LIMIT;

    if (op->record.len && (op->prefix.len || op->cursor)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"record\" excludes \"prefix\" and "
                               "\"cursor\"");
    }

    return fanout_api_records(api, op);
}


fanout_error_e
fanout_api_records(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_zstr_t      id;
    fanout_error_e     error;
    fanout_records_t  *to;

    if ((error = fanout_api_channel(api, &op->channel))
        || (error = fanout_api_label(api, "prefix", &op->prefix, FANOUT_KEY)))
    {
        return error;
    }

    if (op->record.len == 0) {
        return record_page(api, op);
    }

    id.data = op->record.data;
    id.len = op->record.len;

    error = fanout_records_get(api->hub, &op->channel, &id, &to);

    if (error != FANOUT_E_NONE
        && !fanout_records_served(api->hub, &op->channel))
    {
        return fanout_api_no_records(api);
    }

    if (page_begin(api, op, to) != NGX_OK
        || fanout_records_json(api->hub, to, op->versions, api->out) != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    return fanout_api_done(fanout_outbuf_literal(api->hub, api->out, "}}"));
}


static fanout_error_e
record_page(fanout_api_t *api, fanout_api_op_t *op)
{
    size_t             end;
    ngx_uint_t         i, n;
    fanout_zstr_t      prefix;
    fanout_records_t  *to;

    prefix.data = op->prefix.data;
    prefix.len = op->prefix.len;

    /* pages of a batch share the room of one, but none is left without */

    end = ngx_max(FANOUT_API_PAGE, api->out->used + FANOUT_API_PAGE / 16);
    n = 0;

    for (i = 0; i < RECORD_SECTIONS; i++) {
        fanout_records_list(api->hub, &op->channel, &prefix, &op->cursor, 0,
                            op->limit - n, &to);

        if ((i == 0 && page_begin(api, op, to) != NGX_OK)
            || (n && to->n
                && fanout_outbuf_literal(api->hub, api->out, ",") != NGX_OK)
            || fanout_records_json(api->hub, to, op->versions, api->out)
               != NGX_OK)
        {
            return FANOUT_E_INTERNAL;
        }

        n += to->n;

        if (op->cursor == 0 || n >= op->limit || api->out->used >= end) {
            break;
        }
    }

    if (op->cursor) {
        return fanout_api_done(
                   fanout_outbuf_printf(api->hub, api->out, 64,
                                        "},\"cursor\":\"%uL\"}", op->cursor));
    }

    if (n == 0 && !fanout_records_served(api->hub, &op->channel)) {
        return fanout_api_no_records(api);
    }

    return fanout_api_done(fanout_outbuf_literal(api->hub, api->out, "}}"));
}


static ngx_int_t
page_begin(fanout_api_t *api, fanout_api_op_t *op, fanout_records_t *records)
{
    op->epoch = records->epoch;
    op->offset = records->offset;

    return fanout_outbuf_printf(api->hub, api->out, 96,
                                "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                                "\"records\":{",
                                records->epoch, records->offset);
}


fanout_error_e
fanout_api_record(fanout_api_t *api, fanout_api_op_t *op)
{
    const uint8_t     *p;
    fanout_zstr_t      id;
    fanout_error_e     error;
    fanout_outbuf_t   *out;
    fanout_record_t    record;
    fanout_records_t  *to;

    if ((error = fanout_api_channel(api, &op->channel))
        || (error = fanout_api_record_check(api, &op->record)))
    {
        return error;
    }

    id.data = op->record.data;
    id.len = op->record.len;

    error = fanout_records_get(api->hub, &op->channel, &id, &to);
    p = to->bytes;

    if (error != FANOUT_E_NONE
        || fanout_record_next(&p, p + to->used, &record) != 1)
    {
        return fanout_records_served(api->hub, &op->channel)
               ? fanout_api_record_absent(api, op, FANOUT_E_NOT_FOUND)
               : fanout_api_no_records(api);
    }

    op->version = record.version;
    out = api->out;

    if (fanout_outbuf_literal(api->hub, out, "{\"record\":") != NGX_OK
        || fanout_outbuf_string(api->hub, out, id.data, id.len) != NGX_OK
        || fanout_outbuf_literal(api->hub, out, ",") != NGX_OK
        || fanout_record_members_json(api->hub, &record, op->versions, out)
           != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    return fanout_api_done(
               fanout_outbuf_printf(api->hub, out, 96,
                                    ",\"epoch\":\"%016xL\",\"offset\":%uL}",
                                    to->epoch, to->offset));
}
