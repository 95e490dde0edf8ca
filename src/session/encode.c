
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Entries are encoded once for each format that has subscribers.
 */


#include "session/session.h"
#include "session/compress.h"
#include "session/dialect.h"
#include "session/encode.h"


/* bytes for the framing of the last entry */
#define FANOUT_ROOM  128


static ngx_int_t encode(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, ngx_uint_t n, ngx_uint_t format, fanout_run_t *run);


ngx_uint_t
fanout_wanted(fanout_subscription_t *sub, fanout_entry_t *e)
{
    if (e->type != FANOUT_MESSAGE && e->type != FANOUT_RECORD) {
        return 1;
    }

    if (e->client && e->client == sub->session->identity.client
        && (sub->no_echo || (e->flags & FANOUT_NOECHO)))
    {
        return 0;
    }

    return sub->session->dialect->match(sub, e);
}


void
fanout_encode_run(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e,
    ngx_uint_t n, ngx_uint_t format, fanout_run_t *runs)
{
    ngx_uint_t     base;
    fanout_run_t  *plain;

    base = fanout_base_of(format);
    plain = &runs[base];

    if (plain->outbuf == NULL
        && encode(hub, ch, e, n, base, plain) != NGX_OK
        && plain->outbuf)
    {
        fanout_outbuf_release(hub, plain->outbuf);
        plain->outbuf = NULL;
    }

    if (base != format && plain->outbuf
        && fanout_compress_run(hub, ch, format, plain->outbuf, plain->ends, n,
                               &runs[format].outbuf, runs[format].ends)
           != NGX_OK)
    {
        runs[format].outbuf = NULL;
    }
}


static ngx_int_t
encode(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e,
    ngx_uint_t n, ngx_uint_t format, fanout_run_t *run)
{
    size_t      size;
    ngx_uint_t  i;

    size = FANOUT_ROOM;

    for (i = 0; i < n; i++) {
        size += e[i].data.len + e[i].event.len + e[i].user.len + 192
                + ch->name.len;
    }

    run->outbuf = fanout_outbuf_create(hub, size);
    if (run->outbuf == NULL) {
        return NGX_ERROR;
    }

    if (e->type == FANOUT_MESSAGE || e->type == FANOUT_PRESENCE
        || e->type == FANOUT_RECORD || e->type == FANOUT_LOCK)
    {
        fanout_outbuf_entries(run->outbuf, ch, ch->offset, e->seq);
    }

    for (i = 0; i < n; i++) {
        if (fanout_format_entry(format, hub, ch, &e[i], run->outbuf)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        run->ends[i] = run->outbuf->used;
    }

    fanout_add(hub, encoded, n);

    return NGX_OK;
}


fanout_outbuf_t *
fanout_encode(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e,
    ngx_uint_t format)
{
    static fanout_run_t  run;

    run.outbuf = NULL;

    if (encode(hub, ch, e, 1, fanout_base_of(format), &run)
        != NGX_OK)
    {
        if (run.outbuf) {
            fanout_outbuf_release(hub, run.outbuf);
        }

        return NULL;
    }

    fanout_compress_frame(hub, format, &run.outbuf);

    return run.outbuf;
}
