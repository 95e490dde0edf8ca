
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * An entry of a channel as the native protocol tells it.
 */


#include "dialect/native.h"
#include "hub/entry_json.h"


ngx_uint_t
fanout_native_match(fanout_subscription_t *sub, fanout_entry_t *e)
{
    ngx_str_t   *event;
    ngx_uint_t   i;

    if (e->type == FANOUT_RECORD) {
        return (sub->want & FANOUT_WANT_RECORDS) != 0;
    }

    if (sub->no_messages && e->type == FANOUT_MESSAGE) {
        return 0;
    }

    if (sub->events == NULL) {
        return 1;
    }

    event = sub->events->names;

    for (i = 0; i < sub->events->n; i++) {
        if (event[i].len == e->event.len
            && ngx_memcmp(event[i].data, e->event.data, e->event.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
fanout_native_encode(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, fanout_outbuf_t *f, ngx_uint_t *opcode)
{
    return fanout_native_object(hub, ch, e, f);
}


ngx_int_t
fanout_native_object(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, fanout_outbuf_t *f)
{
    u_char     epoch[FANOUT_EPOCH_LEN];
    ngx_int_t  rc;

    if (fanout_outbuf_literal(hub, f, "{\"channel\":") != NGX_OK
        || fanout_outbuf_string(hub, f, ch->name.data, ch->name.len)
           != NGX_OK
        || fanout_outbuf_literal(hub, f, ",") != NGX_OK)
    {
        return NGX_ERROR;
    }

    switch (e->type) {

    case FANOUT_GAP:
        rc = fanout_outbuf_printf(hub, f, 128,
                 "\"gap\":{\"from\":%uL,\"to\":%uL", e->from + 1, e->offset);

        if (rc == NGX_OK && e->event.len) {
            rc = fanout_outbuf_printf(hub, f, 64, ",\"of\":\"%*s\"",
                                      e->event.len, e->event.data);
        }

        if (rc == NGX_OK) {
            rc = fanout_outbuf_literal(hub, f, "}");
        }

        break;

    case FANOUT_PRESENCE:
        rc = fanout_outbuf_printf(hub, f, 96,
                 "\"offset\":%uL,\"time\":%uL,\"presence\":{", e->offset,
                 e->time);

        if (rc == NGX_OK) {
            rc = fanout_changes_json(hub, e, f);
        }

        if (rc == NGX_OK) {
            rc = fanout_outbuf_literal(hub, f, "}");
        }

        break;

    case FANOUT_RESET:
        (void) fanout_epoch_format(epoch, e->epoch);

        rc = fanout_outbuf_printf(hub, f, 96,
                 "\"reset\":{\"epoch\":\"%*s\",\"offset\":0,\"reason\":",
                 sizeof(epoch), epoch);

        if (rc == NGX_OK) {
            rc = fanout_outbuf_string(hub, f, e->data.data, e->data.len);
        }

        if (rc == NGX_OK) {
            rc = fanout_outbuf_literal(hub, f, "}");
        }

        break;

    case FANOUT_SIGNAL:
        rc = fanout_signal_json(hub, e, f);
        break;

    default:
        rc = fanout_entry_json(hub, e, f);
    }

    return rc == NGX_OK ? fanout_outbuf_literal(hub, f, "}") : rc;
}
