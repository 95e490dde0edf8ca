
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The invariants of a zone between two transactions, checked by a walk over
 * everything.  For tests: the lock is held all the time.
 *
 * Every block below shm->heap.fresh must be met exactly once by the walk that
 * owns it; the other lists may only lead to blocks met so.
 */


#include <stdio.h>
#include <stdlib.h>

#include "zone/verify.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/share.h"
#include "zone/slot.h"


static int
verify_free(walk_t *w)
{
    uint32_t       n;
    fanout_ref_t   ref, last;
    fanout_shm_t  *shm;

    shm = w->shm;
    n = shm->heap.nblocks - shm->heap.fresh;

    for (ref = shm->heap.free; ref; ref = fanout_block(w->z, ref)->next) {
        try (meet(w, ref, SEEN_FREE, 0));
        n++;
    }

    must(w, n == shm->heap.nfree);

    n = last = 0;

    for (ref = shm->heap.limbo; n < shm->heap.nlimbo;
         ref = fanout_block(w->z, ref)->next)
    {
        try (meet(w, ref, SEEN_FREE, 0));
        last = ref;
        n++;
    }

    must(w, n == 0 || last == shm->heap.limbo_tail);
    must(w, n != 0 || shm->heap.limbo == 0);

    return 0;
}


static int
verify_slot_interests(walk_t *w, unsigned n)
{
    uint32_t            i;
    fanout_ref_t        ref, prev;
    fanout_slot_t      *slot;
    fanout_interest_t  *in;

    slot = &w->shm->slots[n];
    i = prev = 0;

    for (ref = slot->interests; ref; ref = in->slot_next) {
        must_of(w, ref, met(w, ref, SEEN_INTEREST));
        must_of(w, ref, i++ < w->shm->heap.nblocks);
        in = fanout_interest(w->z, ref);
        must_of(w, ref, in->slot == n && in->slot_prev == prev);
        prev = ref;
    }

    must(w, i == slot->ninterests && i == w->interests[n]);

    i = prev = 0;

    for (ref = slot->dirty_head; ref; ref = in->dirty_next) {
        must_of(w, ref, met(w, ref, SEEN_INTEREST));
        must_of(w, ref, i++ < w->shm->heap.nblocks);
        in = fanout_interest(w->z, ref);
        must_of(w, ref, in->slot == n && in->dirty_prev == prev);
        must_of(w, ref, in->flags & FANOUT_DIRTY);
        prev = ref;
    }

    must(w, i == w->dirty[n] && prev == slot->dirty_tail);

    return 0;
}


static int
verify_staged(walk_t *w, const fanout_slot_t *slot)
{
    uint32_t  i;

    must(w, slot->nstaged <= FANOUT_ZONE_BATCH);

    for (i = 0; i < slot->nstaged; i++) {
        try (meet(w, slot->staged[i].head, SEEN_STAGED, 0));
        try (meet_rest(w, slot->staged[i].head, slot->staged[i].tail,
                       slot->staged[i].n, FANOUT_STAGED));
    }

    return 0;
}


static int
verify_slot(walk_t *w, unsigned n)
{
    fanout_ref_t              ref, prev;
    fanout_slot_t            *slot;
    fanout_identity_block_t  *id;

    slot = &w->shm->slots[n];

    try (verify_slot_interests(w, n));

    prev = 0;

    for (ref = slot->identities; ref; ref = id->next) {
        try (meet(w, ref, SEEN_IDENTITY, 0));
        id = fanout_identity(w->z, ref);
        must_of(w, ref, id->state == FANOUT_ID_LIVE && id->slot == n);
        must_of(w, ref, id->prev == prev);
        w->used[FANOUT_IDENTITIES]++;
        w->identities++;
        prev = ref;
    }

    prev = 0;

    for (ref = slot->order_first; ref; ref = fanout_order(w->z, ref)->next) {
        try (meet(w, ref, SEEN_ORDER, 0));
        w->used[FANOUT_IDENTITIES]++;
        prev = ref;
    }

    must(w, prev == slot->order_last);

    try (verify_staged(w, slot));

    must(w, slot->process.state <= FANOUT_SLOT_DEAD);
    must(w, slot->process.state != FANOUT_SLOT_FREE
            || (slot->interests == 0 && slot->identities == 0
                && slot->order_first == 0 && slot->nstaged == 0
                && slot->addresses == 0));

    return 0;
}


/* the channels with blocks that only the unread list keeps */

static int
verify_held(walk_t *w)
{
    uint64_t        n;
    fanout_ref_t    ref, prev;
    fanout_cold_t  *cold;

    n = prev = 0;

    for (ref = w->shm->held_first; ref; ref = cold->held_next) {
        must_of(w, ref, met(w, ref, SEEN_CHANNEL) && n++ < w->nheld);
        cold = fanout_cold(w->z, fanout_channel(w->z, ref));
        must_of(w, ref, cold->held && cold->held_prev == prev);
        prev = ref;
    }

    must(w, n == w->nheld && prev == w->shm->held_last);
    must(w, w->held == w->shm->held);

    return 0;
}


static int
verify_buckets(walk_t *w)
{
    uint32_t                 i, account, bucket;
    uint64_t                 n;
    fanout_ref_t             ref, prev;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    for (n = 0, i = 0; i < FANOUT_ACCOUNTS * FANOUT_BUCKETS; i++) {
        account = i / FANOUT_BUCKETS;
        bucket = i % FANOUT_BUCKETS;
        prev = 0;

        for (ref = w->shm->bucket[account][bucket]; ref;
             ref = cold->bucket_next)
        {
            must_of(w, ref, met(w, ref, SEEN_CHANNEL) && n++ < w->nbuckets);
            ch = fanout_channel(w->z, ref);
            cold = fanout_cold(w->z, ch);
            must_of(w, ref, ch->account == account
                            && cold->bucket == bucket + 1);
            must_of(w, ref, cold->bucket_prev == prev);
            prev = ref;
        }
    }

    must(w, n == w->nbuckets);

    return 0;
}


static int
verify_list(walk_t *w, fanout_ref_t ref, uint8_t list, uint32_t at,
    fanout_ref_t *last, uint64_t *n)
{
    uint32_t                 touched;
    fanout_ref_t             prev;
    fanout_cold_t           *cold;
    fanout_name_t           *name;
    fanout_channel_block_t  *ch;

    touched = 0;

    for (prev = 0; ref; ref = name->list_next) {
        must_of(w, ref, met(w, ref, SEEN_CHANNEL));
        must_of(w, ref, (*n)++ < w->channels);

        ch = fanout_channel(w->z, ref);
        cold = fanout_cold(w->z, ch);
        name = fanout_name(w->z, ch);

        must_of(w, ref, cold->list == list && name->list_prev == prev);
        must_of(w, ref, list != FANOUT_LIST_WHEEL
                        || cold->wheel % FANOUT_WHEEL == at);

        if (list == FANOUT_LIST_IDLE) {
            must_of(w, ref, ch->account == at);
            must_of(w, ref, cold->touched >= touched);
            touched = cold->touched;
        }

        prev = ref;
    }

    *last = prev;

    return 0;
}


static int
verify_lists(walk_t *w)
{
    uint32_t      i;
    uint64_t      n;
    fanout_ref_t  last;

    for (n = 0, i = 0; i < FANOUT_ACCOUNTS; i++) {
        try (verify_list(w, w->shm->idle_first[i], FANOUT_LIST_IDLE, i, &last,
                         &n));
        must_of(w, i, last == w->shm->idle_last[i]);
    }

    must(w, n == w->nidle);

    for (n = 0, i = 0; i < FANOUT_WHEEL; i++) {
        try (verify_list(w, w->shm->wheel[i], FANOUT_LIST_WHEEL, i, &last,
                         &n));
    }

    must(w, n == w->nwheel);

    return 0;
}


static int
verify_accounts(walk_t *w)
{
    uint32_t       i, n;
    fanout_shm_t  *shm;

    shm = w->shm;

    for (i = 1; i < shm->heap.fresh; i++) {
        must_of(w, i, w->marks[i].seen);

        if (w->marks[i].seen == SEEN_ENTRY) {
            must_of(w, i, w->marks[i].unread
                          == ((fanout_entry(w->z, i)->flags
                               & FANOUT_IN_UNREAD) != 0));
        }
    }

    for (i = 0; i < FANOUT_NKINDS; i++) {
        must_of(w, i, w->used[i] == shm->heap.used[i]);
    }

    must(w, w->channels == shm->nchannels);
    must(w, shm->heap.overflows == 0);

    for (i = 0; i < FANOUT_ZONE_ACCOUNTS; i++) {
        must_of(w, i, w->account[i] == shm->accounts[i].channels);
        must_of(w, i, w->blocks[i] == shm->accounts[i].blocks);

        for (n = 0; n < FANOUT_PARTS; n++) {
            must_of(w, i, w->part[n][i] == shm->part[n][i]);
        }
    }

    must(w, w->in_use == shm->in_use);

    return 0;
}


static int
zone_verify_all(walk_t *w)
{
    unsigned  i;

    must(w, w->shm->heap.state == FANOUT_READY);
    must(w, w->shm->heap.fresh != 0
            && w->shm->heap.fresh <= w->shm->heap.nblocks);

    try (verify_free(w));
    try (fanout_verify_channels(w));
    try (fanout_verify_records(w));
    try (fanout_verify_mail(w));
    try (fanout_verify_unread(w));

    for (i = 0; i < w->shm->nslots; i++) {
        try (verify_slot(w, i));
    }

    try (verify_staged(w, &w->shm->spare));

    try (fanout_verify_keys(w));
    try (fanout_verify_identities(w));
    try (fanout_verify_seats(w));
    try (fanout_verify_locks(w));
    try (fanout_verify_denials(w));
    try (fanout_verify_mailboxes(w));
    try (fanout_verify_presence(w));
    try (fanout_verify_signals(w));
    try (fanout_verify_seen(w));
    try (fanout_verify_events(w));
    try (fanout_verify_addresses(w));
    try (fanout_verify_budgets(w));
    try (fanout_verify_holders(w));
    try (verify_held(w));
    try (verify_buckets(w));
    try (verify_lists(w));

    return verify_accounts(w);
}


int
fanout_zone_verify(fanout_zone_t *z, char *text, size_t len)
{
    int      rc;
    walk_t  *w;

    w = calloc(1, sizeof(walk_t));
    if (w == NULL) {
        return -1;
    }

    w->z = z;
    w->shm = z->shm;
    w->text = text;
    w->len = len;
    w->marks = calloc(z->shm->heap.nblocks, sizeof(mark_t));
    w->holders = calloc(z->shm->holder_mask + 1, sizeof(fanout_holder_t));
    w->senders = calloc(z->shm->holder_mask + 1, sizeof(fanout_sender_t));
    rc = -1;

    if (w->marks && w->holders && w->senders) {
        (void) fanout_enter(z);
        rc = zone_verify_all(w);
        fanout_leave(z);
    }

    free(w->senders);
    free(w->holders);
    free(w->marks);
    free(w);

    return rc;
}
