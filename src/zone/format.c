
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The layout of a zone's memory, and formatting it.
 */


#include "zone/budget.h"
#include "zone/format.h"
#include "zone/log.h"
#include "zone/pressure.h"
#include "zone/share.h"


static uint32_t power(uint64_t n);


int
fanout_zone_layout(fanout_shm_t *shm)
{
    uint64_t  at, n;

    n = shm->heap.size / FANOUT_BLOCK;

    shm->channel_mask = power(n / 8) - 1;
    shm->key_mask = power(n / 16) - 1;
    shm->identity_mask = power(n / 32) - 1;
    shm->seat_mask = power(n / 16) - 1;
    shm->signal_mask = power(n / 64) - 1;
    shm->seen_mask = power(n / 64) - 1;
    shm->address_mask = power(n / 32) - 1;
    shm->record_mask = power(n / 16) - 1;
    shm->lock_mask = power(n / 64) - 1;
    shm->denial_mask = power(n / 64) - 1;
    shm->budget_mask = power(n / 128 / FANOUT_BUDGET_WAYS) - 1;
    shm->holder_mask = power(n / 64 < 65536 ? n / 64 : 65536) - 1;

    at = (sizeof(fanout_shm_t) + FANOUT_BLOCK - 1) & ~(FANOUT_BLOCK - 1ULL);

    shm->heap.journal = at;
    at += FANOUT_JOURNAL * sizeof(fanout_undo_t);

    shm->channel_hash = at;
    at += (shm->channel_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->key_hash = at;
    at += (shm->key_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->identity_hash = at;
    at += (shm->identity_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->user_hash = at;
    at += (shm->identity_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->seat_hash = at;
    at += (shm->seat_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->signal_hash = at;
    at += (shm->signal_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->seen_hash = at;
    at += (shm->seen_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->address_hash = at;
    at += (shm->address_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->record_hash = at;
    at += (shm->record_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->lock_hash = at;
    at += (shm->lock_mask + 1ULL) * sizeof(fanout_ref_t);

    shm->denial_hash = at;
    at += (shm->denial_mask + 1ULL) * sizeof(fanout_ref_t);

    at = (at + FANOUT_BLOCK - 1) & ~(FANOUT_BLOCK - 1ULL);

    shm->budgets = at;
    at += (shm->budget_mask + 1ULL) * FANOUT_BUDGET_WAYS
          * sizeof(fanout_budget_t);

    shm->holders = at;
    at += (shm->holder_mask + 1ULL) * sizeof(fanout_holder_t);

    shm->senders = at;
    at += (shm->holder_mask + 1ULL) * sizeof(fanout_sender_t);

    return fanout_heap_place(&shm->heap, at);
}


static uint32_t
power(uint64_t n)
{
    uint32_t  p;

    for (p = 1; p < n / 2 + 1 && p < 1U << 30; p <<= 1) { /* void */ }

    return p;
}


void
fanout_zone_reformat(fanout_zone_t *z)
{
    if (fanout_zone_layout(z->shm) == FANOUT_ZONE_OK) {
        fanout_zone_format(z->shm);
    }
}


void
fanout_zone_format(fanout_shm_t *shm)
{
    uint32_t  i;

    memset((uint8_t *) shm + shm->channel_hash, 0,
           shm->heap.blocks - shm->channel_hash);

    shm->nchannels = shm->nkeys = shm->nidentities = shm->nlingering = 0;
    shm->nusers = shm->nseats = shm->nseats_lingering = 0;
    shm->nmembers = shm->nsignals = shm->nseen = 0;
    shm->naddresses = shm->nbudgets = 0;
    shm->nrecords = shm->nrecords_due = 0;
    shm->record_bytes = 0;
    shm->nlocks = shm->nwaiters = shm->nclaims = 0;
    shm->ndenials = shm->denial_first = shm->denial_last = 0;
    shm->records_floor = shm->version_max;
    shm->held = 0;
    shm->held_first = shm->held_last = 0;
    shm->in_use = 0;
    shm->holding = 0;
    memset(shm->part, 0, sizeof(shm->part));
    shm->key_first = shm->key_last = 0;
    shm->npresences = shm->presences_top = 0;
    shm->seen_first = shm->seen_last = 0;
    shm->event_first = shm->event_last = shm->nevents = 0;
    shm->event_lead = 0;
    shm->event_epoch = shm->event_offset = shm->event_done = 0;
    shm->purged_list = 0;
    shm->forgotten = shm->seq;
    shm->mail_first = shm->mail_last = shm->mail_blocks = 0;
    memset(shm->mail_senders, 0, sizeof(shm->mail_senders));
    shm->signal_first = shm->signal_last = 0;
    memset(shm->bucket, 0, sizeof(shm->bucket));
    memset(shm->idle_first, 0, sizeof(shm->idle_first));
    memset(shm->idle_last, 0, sizeof(shm->idle_last));
    memset(shm->wheel, 0, sizeof(shm->wheel));
    memset(shm->seats, 0, sizeof(shm->seats));
    memset(shm->records_due, 0, sizeof(shm->records_due));
    memset(shm->locks_due, 0, sizeof(shm->locks_due));
    memset(shm->denials_due, 0, sizeof(shm->denials_due));
    memset(shm->lingering, 0, sizeof(shm->lingering));
    memset(shm->presences, 0, sizeof(shm->presences));
    memset(shm->presences_map, 0, sizeof(shm->presences_map));

    for (i = 0; i < FANOUT_ZONE_ACCOUNTS; i++) {
        shm->accounts[i].channels = 0;
        shm->accounts[i].blocks = 0;
    }

    for (i = 0; i < shm->nslots; i++) {
        shm->slots[i].dirty_head = shm->slots[i].dirty_tail = 0;
        shm->slots[i].interests = shm->slots[i].ninterests = 0;
        shm->slots[i].identities = 0;
        shm->slots[i].order_first = shm->slots[i].order_last = 0;
        shm->slots[i].look = 0;
        shm->slots[i].addresses = 0;
        shm->slots[i].nstaged = 0;
    }

    shm->spare.nstaged = 0;

    shm->nsamples = 0;
    shm->sampled_at = 0;
    shm->nmarks = 0;

    fanout_heap_format(&shm->heap);
}
