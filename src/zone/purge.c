
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Purging a channel, and ending its subscriptions.
 */


#include "zone/log.h"
#include "zone/share.h"
#include "zone/slot.h"


static int purge(fanout_zone_t *z,
    fanout_zone_channel_t *c, const uint8_t *reason, size_t len,
    uint32_t more, fanout_zone_result_t *r, fanout_ref_t *channel);
static void purge_history(fanout_zone_t *z, fanout_ref_t ref);
static void reset(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_message_t *m);


int
fanout_channel_purge(fanout_zone_t *z, fanout_zone_channel_t *c,
    const uint8_t *reason, size_t len, fanout_zone_result_t *r)
{
    int           rc;
    fanout_ref_t  ref;

    (void) fanout_enter(z);
    rc = purge(z, c, reason, len, 0, r, &ref);
    fanout_leave(z);

    return rc;
}


/* The workers with subscribers get an order to remove them: a stalled worker
 * may lose the reset, but not the order. */

int
fanout_channel_end(fanout_zone_t *z, fanout_zone_channel_t *c,
    const uint8_t *reason, size_t len, fanout_zone_result_t *r)
{
    int                 rc;
    fanout_ref_t        ref, i;
    fanout_interest_t  *in;

    (void) fanout_enter(z);

    rc = purge(z, c, reason, len, FANOUT_ZONE_SLOTS, r, &ref);

    if (rc == FANOUT_ZONE_OK) {
        for (i = fanout_channel(z, ref)->interests; i; i = in->next) {
            in = fanout_interest(z, i);
            fanout_order_send(z, in->slot, FANOUT_ORDER_REMOVE, 0, in->local,
                              0, FANOUT_LEFT_KICKED);
        }
    }

    fanout_leave(z);

    return rc;
}


static int
purge(fanout_zone_t *z, fanout_zone_channel_t *c, const uint8_t *reason,
    size_t len, uint32_t more, fanout_zone_result_t *r, fanout_ref_t *channel)
{
    fanout_ref_t             ref;
    fanout_zone_message_t    m;
    fanout_channel_block_t  *ch;

    memset(&m, 0, sizeof(fanout_zone_message_t));
    m.data.data = reason;
    m.data.len = len < 1024 ? len : 1024;
    m.kind = FANOUT_TEXT;
    m.flags = FANOUT_TRANSIENT;

    if (fanout_channel_find(z, c) == 0) {
        return FANOUT_ZONE_NOTFOUND;
    }

    if (fanout_ensure(z, fanout_message_blocks(&m) + more)
        == FANOUT_ZONE_FULL)
    {
        return FANOUT_ZONE_FULL;
    }

    /* the channel may have been evicted to make room */

    ref = fanout_channel_find(z, c);

    if (ref == 0) {
        return FANOUT_ZONE_NOTFOUND;
    }

    *channel = ref;
    ch = fanout_channel(z, ref);

    purge_history(z, ref);

    fanout_set(z, ch->epoch, ch->epoch + 1);
    fanout_set(z, ch->offset, 0);
    fanout_set(z, fanout_cold(z, ch)->lost, 0);
    fanout_set(z, fanout_cold(z, ch)->wheel,
               fanout_cold(z, ch)->wheel | FANOUT_PURGED);

    r->epoch = ch->epoch;
    r->offset = 0;
    r->duplicate = 0;
    r->time = fanout_wall(z);

    reset(z, ref, &m);

    fanout_set(z, fanout_name(z, ch)->lost_seq, z->shm->seq);
    fanout_channel_free_unused(z, ref);

    return FANOUT_ZONE_OK;
}


/* The history is freed later, in steps. */

static void
purge_history(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_cold_t           *cold;
    fanout_index_t          *ix;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    if (ch->index_first == 0) {
        return;
    }

    fanout_account_add(z, ch->account,
                       -(int32_t) (cold->blocks + fanout_index_blocks(z, ch)));

    ix = fanout_index(z, ch->index_first);
    fanout_set(z, ix->prev, ref);
    fanout_set(z, ix->jump, z->shm->purged_list);
    fanout_set(z, z->shm->purged_list, ch->index_first);

    fanout_set(z, ch->index_first, 0);
    fanout_set(z, ch->index_last, 0);
    fanout_set(z, ch->history, 0);
    fanout_set(z, cold->bytes, 0);
    fanout_set(z, cold->blocks, 0);
    fanout_bucket_move(z, ref);
}


/* A reset starts the epoch: it takes no offset, but always a seq: a client that
 * has only seen the seq before it has missed the reset. */

static void
reset(fanout_zone_t *z, fanout_ref_t ref, const fanout_zone_message_t *m)
{
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);

    if (ch->interests == 0) {
        fanout_set(z, z->shm->seq, z->shm->seq + 1);
        return;
    }

    fanout_log_append(z, ref, m, FANOUT_RESET);

    fanout_set(z, ch->offset, 0);
    fanout_entry(z, ch->unread_tail)->offset = 0;
}
