
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "hub/replay.h"


#define FANOUT_REPLAY_AGE  1500             /* ms */
#define FANOUT_REPLAY_SIZE 262144           /* bytes of one; of all 16 MB */


static fanout_replay_t *replay_place(fanout_hub_t *hub, fanout_channel_t *ch,
    ngx_uint_t format, uint64_t after);
static void replay_drop(fanout_hub_t *hub, fanout_replay_t *r);


fanout_replay_t *
fanout_replay_find(fanout_hub_t *hub, fanout_channel_t *ch, ngx_uint_t format,
    uint64_t epoch, uint64_t after, uint64_t upto)
{
    fanout_replay_t  *r;

    r = replay_place(hub, ch, format, after);

    return r->outbuf && r->channel == ch && r->format == format
           && r->epoch == epoch && r->after == after && r->last <= upto
           ? r : NULL;
}


void
fanout_replay_add(fanout_hub_t *hub, fanout_channel_t *ch, ngx_uint_t format,
    uint64_t epoch, uint64_t after, fanout_entry_t *e, ngx_uint_t n,
    fanout_outbuf_t *f)
{
    ngx_uint_t        i;
    fanout_replay_t  *r;

    if (f->size > FANOUT_REPLAY_SIZE) {
        return;
    }

    for (i = 0; i < n; i++) {
        if (e[i].flags & FANOUT_NOECHO) {
            return;
        }
    }

    r = replay_place(hub, ch, format, after);

    replay_drop(hub, r);

    r->outbuf = f;
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
fanout_replay_expire(fanout_hub_t *hub)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_REPLAYS; i++) {
        if (ngx_current_msec - hub->replay[i].at
            > FANOUT_REPLAY_AGE)
        {
            replay_drop(hub, &hub->replay[i]);
        }
    }
}


void
fanout_replay_clear(fanout_hub_t *hub)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_REPLAYS; i++) {
        replay_drop(hub, &hub->replay[i]);
    }
}


void
fanout_replay_forget(fanout_hub_t *hub, fanout_channel_t *ch)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_REPLAYS; i++) {
        if (hub->replay[i].channel == ch) {
            replay_drop(hub, &hub->replay[i]);
        }
    }
}


static fanout_replay_t *
replay_place(fanout_hub_t *hub, fanout_channel_t *ch, ngx_uint_t format,
    uint64_t after)
{
    uint64_t  h;

    h = (after * 31 + format) * 0x9e3779b97f4a7c15ULL ^ ch->node.key;
    h ^= h >> 29;

    return &hub->replay[h % FANOUT_REPLAYS];
}


static void
replay_drop(fanout_hub_t *hub, fanout_replay_t *r)
{
    if (r->outbuf) {
        fanout_outbuf_release(hub, r->outbuf);
        r->outbuf = NULL;
        r->channel = NULL;
    }
}
