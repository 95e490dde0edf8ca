
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Staging: the blocks of large messages are allocated in slices, each in a
 * transaction that lists them in a slot, and filled in slices.  No other
 * process reads them until they are linked; if this process dies, they are
 * freed with its slot.
 */


#include "zone/pressure.h"
#include "zone/publish.h"
#include "zone/share.h"


static int too_much(fanout_zone_t *z, uint32_t account, uint32_t total);


int
fanout_stage(fanout_zone_t *z, fanout_slot_t *slot, uint32_t account,
    const fanout_zone_message_t *m, unsigned n, fanout_draft_t *d,
    uint32_t total)
{
    int       rc;
    unsigned  i;

    if (too_much(z, account, total)) {
        return FANOUT_ZONE_FULL;
    }

    for (i = 0; i < n; i++) {
        d[i].staged = 1;
        d[i].first = d[i].last = 0;

        rc = fanout_stage_blocks(z, slot, account, d, i, d[i].blocks);

        if (rc == FANOUT_ZONE_OK) {
            rc = fanout_draft_fill(z, &d[i], &m[i]);
        }

        if (rc != FANOUT_ZONE_OK) {
            (void) fanout_enter(z);
            fanout_unstage(z, slot);
            fanout_leave(z);
            return rc;
        }
    }

    return FANOUT_ZONE_OK;
}


/* Nothing is evicted for a publish that does not fit as a whole. */

static int
too_much(fanout_zone_t *z, uint32_t account, uint32_t total)
{
    int  much, exceeds;

    (void) fanout_enter(z);

    exceeds = fanout_account_exceeds(z->shm, account, total);
    much = exceeds || total > fanout_share_attainable(z->shm, account);

    if (much) {
        z->full = exceeds ? FANOUT_FULL_ACCOUNT
                          : FANOUT_FULL_ZONE;
    }

    fanout_leave(z);

    return much;
}


int
fanout_stage_blocks(fanout_zone_t *z, fanout_slot_t *slot, uint32_t account,
    fanout_draft_t *d, unsigned i, uint32_t blocks)
{
    int              rc;
    uint32_t         n;
    uint64_t         incarnation;
    fanout_ref_t     first, last;
    fanout_stage_t  *st;

    st = &slot->staged[i];
    incarnation = z->heap.incarnation;

    while (blocks) {
        n = blocks < FANOUT_SLICE ? blocks : FANOUT_SLICE;

        fanout_touch_fresh(z, n);
        (void) fanout_enter(z);

        if (incarnation != z->heap.incarnation) {
            fanout_leave(z);
            return FANOUT_ZONE_STALE;
        }

        rc = fanout_ensure_history(z, account, n);

        if (rc != FANOUT_ZONE_OK) {
            fanout_leave(z);
            return rc;
        }

        first = fanout_alloc(z, n, FANOUT_STAGED, &last);

        if (d[i].first == 0) {
            d[i].first = first;
            fanout_set(z, st->head, first);
            fanout_set(z, st->n, n);
            fanout_set(z, slot->nstaged, i + 1);

        } else {
            fanout_set(z, fanout_block(z, d[i].last)->next, first);
            fanout_set(z, st->n, st->n + n);
        }

        fanout_set(z, st->tail, last);
        d[i].last = last;
        blocks -= n;

        fanout_leave(z);
    }

    return FANOUT_ZONE_OK;
}


void
fanout_unstage(fanout_zone_t *z, fanout_slot_t *slot)
{
    unsigned  i;

    for (i = 0; i < slot->nstaged; i++) {
        fanout_free(z, slot->staged[i].head, slot->staged[i].tail,
                    slot->staged[i].n, FANOUT_STAGED);
    }

    fanout_set(z, slot->nstaged, 0);
}
