
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "ngx_http_fanout_replay.h"


#define NGX_HTTP_FANOUT_REPLAY_AGE  1500    /* ms */
#define NGX_HTTP_FANOUT_REPLAY_SIZE 262144  /* of one, all: 16 MB */


static ngx_http_fanout_replay_t *place(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_uint_t format, uint64_t after);
static void drop(ngx_http_fanout_hub_t *hub, ngx_http_fanout_replay_t *r);


ngx_http_fanout_replay_t *
ngx_http_fanout_replay_find(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_uint_t format, uint64_t epoch,
    uint64_t after, uint64_t upto)
{
    ngx_http_fanout_replay_t  *r;

    r = place(hub, ch, format, after);

    return r->frame && r->channel == ch && r->format == format
           && r->epoch == epoch && r->after == after && r->last <= upto
           ? r : NULL;
}


void
ngx_http_fanout_replay_add(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_uint_t format, uint64_t epoch,
    uint64_t after, ngx_http_fanout_entry_t *e, ngx_uint_t n,
    ngx_http_fanout_frame_t *f)
{
    ngx_uint_t                 i;
    ngx_http_fanout_replay_t  *r;

    if (f->size > NGX_HTTP_FANOUT_REPLAY_SIZE) {
        return;
    }

    for (i = 0; i < n; i++) {
        if (e[i].flags & NGX_HTTP_FANOUT_NOECHO) {
            return;
        }
    }

    r = place(hub, ch, format, after);

    drop(hub, r);

    r->frame = f;
    r->channel = ch;
    r->format = format;
    r->epoch = epoch;
    r->after = after;
    r->last = e[n - 1].offset;
    r->seq = e[n - 1].seq;
    r->n = n;
    r->at = ngx_current_msec;

    f->refs++;
}


void
ngx_http_fanout_replay_expire(ngx_http_fanout_hub_t *hub)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_FANOUT_REPLAYS; i++) {
        if (ngx_current_msec - hub->replay[i].at
            > NGX_HTTP_FANOUT_REPLAY_AGE)
        {
            drop(hub, &hub->replay[i]);
        }
    }
}


void
ngx_http_fanout_replay_clear(ngx_http_fanout_hub_t *hub)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_FANOUT_REPLAYS; i++) {
        drop(hub, &hub->replay[i]);
    }
}


void
ngx_http_fanout_replay_forget(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_FANOUT_REPLAYS; i++) {
        if (hub->replay[i].channel == ch) {
            drop(hub, &hub->replay[i]);
        }
    }
}


static ngx_http_fanout_replay_t *
place(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch,
    ngx_uint_t format, uint64_t after)
{
    uint64_t  h;

    h = (after * 31 + format) * 0x9e3779b97f4a7c15ULL ^ ch->node.key;
    h ^= h >> 29;

    return &hub->replay[h % NGX_HTTP_FANOUT_REPLAYS];
}


static void
drop(ngx_http_fanout_hub_t *hub, ngx_http_fanout_replay_t *r)
{
    if (r->frame) {
        ngx_http_fanout_frame_release(hub, r->frame);
        r->frame = NULL;
        r->channel = NULL;
    }
}
