
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The channels that this worker reads.
 */


#include "hub/hub.h"
#include "hub/policy.h"
#include "hub/record_pages.h"
#include "hub/replay.h"
#include "hub/roster.h"
#include "hub/signals.h"


static ngx_int_t channel_place(fanout_hub_t *hub, fanout_channel_t *ch);


fanout_channel_t *
fanout_hub_find(fanout_hub_t *hub, ngx_str_t *name)
{
    uint32_t  hash;

    hash = ngx_murmur_hash2(name->data, name->len);

    return (fanout_channel_t *)
               ngx_str_rbtree_lookup(&hub->names, name, hash);
}


void
fanout_hub_view(fanout_hub_t *hub, ngx_str_t *name, fanout_zone_channel_t *zc)
{
    fanout_channel_t  *ch;

    ch = fanout_hub_find(hub, name);

    if (ch) {
        *zc = ch->zc;
        return;
    }

    ngx_memzero(zc, sizeof(fanout_zone_channel_t));

    zc->name.data = name->data;
    zc->name.len = name->len;
    zc->hash = fanout_zone_hash(&hub->zone, name->data, name->len);
    zc->policy = &fanout_policy(hub->app, name)->keep;
}


fanout_error_e
fanout_hub_open(fanout_hub_t *hub, ngx_str_t *name, uint64_t address,
    fanout_channel_t **chp)
{
    int                  rc;
    fanout_channel_t    *ch;
    fanout_zone_join_t   j;

    hub->zone.full = FANOUT_FULL_ZONE;

    ch = ngx_calloc(sizeof(fanout_channel_t) + name->len, ngx_cycle->log);
    if (ch == NULL) {
        return fanout_hub_full(hub);
    }

    ch->name.len = name->len;
    ch->name.data = (u_char *) (ch + 1);
    ngx_memcpy(ch->name.data, name->data, name->len);

    fanout_hub_view(hub, &ch->name, &ch->zc);
    ch->zc.address = address;

    ch->policy = fanout_policy(hub->app, &ch->name);
    ch->node.key = ngx_murmur_hash2(name->data, name->len);
    ch->reported = 1;

    ngx_queue_init(&ch->subs);
    ngx_queue_init(&ch->signals);

    if (channel_place(hub, ch) != NGX_OK) {
        ngx_free(ch);
        return fanout_hub_full(hub);
    }

    rc = fanout_channel_open(&hub->zone, &ch->zc, ch->local);

    if (rc != FANOUT_ZONE_OK
        || fanout_log_join(&hub->zone, &ch->zc, 0, 0, 0, 0, &j)
           != FANOUT_ZONE_OK)
    {
        hub->channels[ch->local] = NULL;
        hub->used--;
        ngx_free(ch);

        return fanout_error_of(hub, rc == FANOUT_ZONE_MANY
                                    ? FANOUT_ZONE_ADDRESS : FANOUT_ZONE_FULL);
    }

    /* the drain also brings entries appended since the opening: they are
     * skipped */

    ch->epoch = j.epoch;
    ch->offset = j.offset;
    ch->seq = j.seq;
    ch->opened = j.seq;
    ch->locked = j.offset;

    ngx_rbtree_insert(&hub->names, &ch->node);

    *chp = ch;

    return FANOUT_E_NONE;
}


static ngx_int_t
channel_place(fanout_hub_t *hub, fanout_channel_t *ch)
{
    uint32_t            i, n;
    fanout_channel_t  **channels;

    if (hub->used == hub->nchannels) {
        n = hub->nchannels ? hub->nchannels * 2 : 64;

        channels = ngx_calloc(n * sizeof(fanout_channel_t *), ngx_cycle->log);
        if (channels == NULL) {
            return NGX_ERROR;
        }

        if (hub->channels) {
            ngx_memcpy(channels, hub->channels,
                       hub->nchannels * sizeof(fanout_channel_t *));
            ngx_free(hub->channels);
        }

        hub->channels = channels;
        hub->next = hub->nchannels;
        hub->nchannels = n;
    }

    for (i = hub->next; hub->channels[i]; i = (i + 1) % hub->nchannels) {
        /* void */
    }

    hub->channels[i] = ch;
    hub->next = (i + 1) % hub->nchannels;
    hub->used++;
    ch->local = i;

    return NGX_OK;
}


void
fanout_hub_close(fanout_hub_t *hub, fanout_channel_t *ch)
{
    fanout_channel_close(&hub->zone, &ch->zc);

    if (!ch->reported) {
        ngx_queue_remove(&ch->counted);
    }

    fanout_replay_forget(hub, ch);
    fanout_signals_clear(hub, ch);
    fanout_record_pages_forget(hub, ch);

    if (ch->roster) {
        fanout_roster_free(hub, ch->roster);
    }

    ngx_rbtree_delete(&hub->names, &ch->node);
    hub->channels[ch->local] = NULL;
    hub->used--;

    ngx_free(ch);
}


void
fanout_hub_counted(fanout_hub_t *hub, fanout_channel_t *ch)
{
    if (ch->reported) {
        ch->reported = 0;
        ngx_queue_insert_tail(&hub->counted, &ch->counted);
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }
}


void
fanout_hub_presence(fanout_hub_t *hub)
{
    /* once for all operations of a turn */
    ngx_post_event(&hub->presence, &ngx_posted_events);
}
