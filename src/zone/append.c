
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Appending to a channel's log.
 *
 * An entry is put into the unread list if some worker has an interest in the
 * channel, and into the history if the policy keeps any; an entry that is in
 * neither is freed.
 */


#include "zone/log.h"
#include "zone/publish.h"
#include "zone/share.h"


static void append_finish(fanout_zone_t *z, fanout_draft_t *d,
    const fanout_zone_message_t *m);


/* Allocates and writes an entry, unless it was staged: then only the kind of
 * its blocks changes. */

static void
append_finish(fanout_zone_t *z, fanout_draft_t *d,
    const fanout_zone_message_t *m)
{
    fanout_fill_t  f;

    if (d->blocks && !d->staged) {
        d->first = fanout_alloc(z, d->blocks, FANOUT_MESSAGES, &d->last);
        fanout_message_compose(z, d, m, &f);
        (void) fanout_message_fill(&f, SIZE_MAX);
        return;
    }

    fanout_set(z, z->shm->heap.used[FANOUT_STAGED],
               z->shm->heap.used[FANOUT_STAGED] - d->blocks);
    fanout_set(z, z->shm->heap.used[FANOUT_MESSAGES],
               z->shm->heap.used[FANOUT_MESSAGES] + d->blocks);
}


void
fanout_draft_link(fanout_zone_t *z, fanout_ref_t channel, fanout_draft_t *d,
    const fanout_zone_message_t *m, uint8_t type, uint64_t time, uint32_t now)
{
    fanout_shm_t            *shm;
    fanout_cold_t           *cold;
    fanout_entry_block_t    *e;
    fanout_zone_account_t   *account;
    fanout_channel_block_t  *ch;

    append_finish(z, d, m);

    shm = z->shm;
    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);
    e = fanout_entry(z, d->first);

    fanout_set(z, ch->offset, ch->offset + 1);
    fanout_set(z, shm->seq, shm->seq + 1);

    e->offset = ch->offset;
    e->seq = shm->seq;
    e->time_low = time & 0xffffffff;
    e->time_high = time >> 32;
    e->mono = now;
    e->type = fanout_type_of(type, m);

    if (type == FANOUT_MESSAGE) {
        account = &shm->accounts[ch->account];
        fanout_set(z, account->messages, account->messages + 1);
        fanout_set(z, account->bytes, account->bytes + m->data.len);
    }

    if (ch->interests) {
        e->flags |= FANOUT_IN_UNREAD;
        fanout_unread_push(z, ch, d->first);
    }

    if (e->flags & FANOUT_HAS_RECIPIENT) {
        e->flags |= FANOUT_IN_MAIL;
        return;
    }

    if (!(e->flags & FANOUT_TRANSIENT)) {
        if (cold->policy_history) {
            e->flags |= FANOUT_IN_HISTORY;
            fanout_history_push(z, channel, d->first, m->data.len, d->blocks);
            return;
        }

        fanout_set(z, cold->lost, ch->offset);
        fanout_set(z, fanout_name(z, ch)->lost_seq, shm->seq);
    }

    if (e->flags & FANOUT_IN_UNREAD) {
        fanout_held_add(z, channel, d->blocks);

    } else {
        fanout_free(z, d->first, d->last, d->blocks, FANOUT_MESSAGES);
    }
}


void
fanout_log_append(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, uint8_t type)
{
    fanout_draft_t  d;

    d.staged = 0;
    d.blocks = fanout_message_blocks(m);

    fanout_draft_append(z, channel, &d, m, type);
}


void
fanout_draft_append(fanout_zone_t *z, fanout_ref_t channel,
    fanout_draft_t *d, const fanout_zone_message_t *m, uint8_t type)
{
    fanout_draft_link(z, channel, d, m, type, fanout_wall(z),
                      fanout_seconds(z));
}
