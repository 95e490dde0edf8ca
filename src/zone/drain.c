
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Draining: a worker reads the entries and signals of its dirty interests into
 * its arena, in the order of seq.  An entry that is too large to be copied
 * under the lock is copied without it.
 */


#include "zone/log.h"
#include "zone/mail.h"
#include "zone/slot.h"


/* how far a worker has read a channel */

typedef struct {
    uint64_t      seq;
    uint64_t      offset;
    uint64_t      epoch;
    uint32_t      resets;       /* still to come */
    fanout_ref_t  cursor;       /* the next entry, 0: none */
    fanout_ref_t  signal;       /* the next signal, 0: none */
} place_t;


static int unread_bounded(fanout_arena_t *a, uint32_t n, size_t start);
static int drain_channel(fanout_zone_t *z, fanout_ref_t ref,
    fanout_arena_t *a, uint32_t n, size_t start, fanout_ref_t *large);
static int signal_first(fanout_zone_t *z, const place_t *at);
static int drain_signal(fanout_zone_t *z, fanout_interest_t *in, place_t *at,
    fanout_arena_t *a);
static int drain_entry(fanout_zone_t *z, fanout_interest_t *in, place_t *at,
    fanout_arena_t *a, fanout_ref_t *large);
static void unread_place(fanout_zone_t *z, fanout_interest_t *in, place_t *at);
static void unread_passed(place_t *at, const fanout_entry_block_t *e);
static void consumed(fanout_zone_t *z, fanout_interest_t *in,
    const place_t *at);
static void put_lost_gap(fanout_zone_t *z, fanout_interest_t *in,
    fanout_arena_t *a);
static void put_gap(fanout_arena_t *a, fanout_interest_t *in, uint64_t epoch,
    uint64_t offset, uint64_t seq);
static int drain_large(fanout_zone_t *z, fanout_ref_t ref, fanout_ref_t entry,
    fanout_arena_t *a);


int
fanout_log_drain(fanout_zone_t *z, fanout_arena_t *a)
{
    int             rc;
    size_t          start;
    uint32_t        n;
    fanout_ref_t    in, large;
    fanout_slot_t  *slot;

    if (z->heap.slot == -1) {
        return FANOUT_ZONE_OK;
    }

    slot = &z->shm->slots[z->heap.slot];

    __atomic_store_n(&slot->process.notified, 0, __ATOMIC_SEQ_CST);

    (void) fanout_enter(z);

    if (z->drained != z->heap.incarnation) {
        z->drained = z->heap.incarnation;
        fanout_leave(z);
        return FANOUT_ZONE_STALE;
    }

    n = a->n;
    start = a->used;
    rc = FANOUT_ZONE_OK;

    while (rc == FANOUT_ZONE_OK && (in = slot->dirty_head) != 0) {

        if (unread_bounded(a, n, start) || !fanout_section_room(z)) {
            rc = FANOUT_ZONE_AGAIN;
            break;
        }

        large = 0;
        rc = drain_channel(z, in, a, n, start, &large);

        if (large) {
            fanout_leave(z);
            return drain_large(z, in, large, a);
        }
    }

    fanout_leave(z);

    return rc;
}


static int
unread_bounded(fanout_arena_t *a, uint32_t n, size_t start)
{
    return a->n - n >= FANOUT_ZONE_ENTRIES || a->n == a->max
           || a->used - start > FANOUT_ZONE_COPY;
}


/* Entries and signals in the order of seq. */

static int
drain_channel(fanout_zone_t *z, fanout_ref_t ref,
    fanout_arena_t *a, uint32_t n, size_t start,
    fanout_ref_t *large)
{
    int                 rc, moved;
    place_t             at;
    fanout_interest_t  *in;

    in = fanout_interest(z, ref);

    if ((in->flags & FANOUT_LOST_BEFORE)
        || ((in->flags & FANOUT_LOST) && in->cursor == 0))
    {
        put_lost_gap(z, in, a);
    }

    unread_place(z, in, &at);
    at.signal = fanout_signal_after(z, fanout_channel(z, in->channel), at.seq);
    rc = FANOUT_ZONE_OK;

    while (rc == FANOUT_ZONE_OK && *large == 0
           && (at.cursor || at.signal))
    {
        if (unread_bounded(a, n, start)) {
            rc = FANOUT_ZONE_AGAIN;

        } else if (signal_first(z, &at)) {
            rc = drain_signal(z, in, &at, a);

        } else {
            rc = drain_entry(z, in, &at, a, large);
        }
    }

    moved = (at.seq != in->seq);

    if (moved) {
        consumed(z, in, &at);
    }

    if (at.cursor == 0 && at.signal == 0 && (in->flags & FANOUT_LOST) == 0) {
        fanout_clean(z, ref);

    } else if (moved) {
        /* let the other channels have their turn */
        fanout_dirty_last(z, ref);
    }

    return rc;
}


static int
signal_first(fanout_zone_t *z, const place_t *at)
{
    return at->signal
           && (at->cursor == 0 || fanout_signal(z, at->signal)->seq
                                  < fanout_entry(z, at->cursor)->seq);
}


/* A signal is skipped if there is no memory for it. */

static int
drain_signal(fanout_zone_t *z, fanout_interest_t *in, place_t *at,
    fanout_arena_t *a)
{
    int               rc;
    fanout_entry_t   *to;
    fanout_signal_t  *signal;

    to = &a->entries[a->n];
    signal = fanout_signal(z, at->signal);
    rc = fanout_entry_copy(z, signal->entry, a);

    if (rc == FANOUT_ZONE_AGAIN) {
        return rc;
    }

    if (rc == FANOUT_ZONE_OK) {
        to->local = in->local;
        to->epoch = at->epoch;
        to->offset = at->offset;
    }

    at->seq = signal->seq;
    at->signal = signal->next;

    return FANOUT_ZONE_OK;
}


/* Copies an entry, or reports a gap if the entry is lost, or there is no memory
 * for it.  If the entry has to be copied without the lock, only sets *large. */

static int
drain_entry(fanout_zone_t *z, fanout_interest_t *in, place_t *at,
    fanout_arena_t *a, fanout_ref_t *large)
{
    int                    rc;
    fanout_entry_t        *to;
    fanout_entry_block_t  *e;

    e = fanout_entry(z, at->cursor);

    if ((in->flags & FANOUT_LOST) && e->offset > at->offset + 1) {

        /* entries were lost between the previous entry and this one */

        fanout_set(z, in->offset, at->offset);
        put_gap(a, in, at->epoch, e->offset - 1, e->seq - 1);
        at->offset = e->offset - 1;
        fanout_set(z, in->offset, at->offset);

        return FANOUT_ZONE_OK;
    }

    if (fanout_entry_large(z, e)) {
        if (a->n) {
            return FANOUT_ZONE_AGAIN;
        }

        *large = at->cursor;
        return FANOUT_ZONE_OK;
    }

    to = &a->entries[a->n];
    rc = fanout_entry_copy(z, at->cursor, a);

    if (rc == FANOUT_ZONE_AGAIN) {
        return rc;
    }

    if ((e->type & 0x0f) == FANOUT_RESET) {
        at->resets--;
        at->epoch++;
    }

    if (rc == FANOUT_ZONE_OK) {
        to->local = in->local;
        to->epoch = at->epoch;

    } else {
        put_gap(a, in, at->epoch, e->offset, e->seq);
    }

    unread_passed(at, e);

    return FANOUT_ZONE_OK;
}


static void
unread_place(fanout_zone_t *z, fanout_interest_t *in, place_t *at)
{
    at->seq = in->seq;
    at->offset = in->offset;
    at->epoch = fanout_channel(z, in->channel)->epoch - in->resets;
    at->resets = in->resets;
    at->cursor = in->cursor;
}


static void
unread_passed(place_t *at, const fanout_entry_block_t *e)
{
    at->seq = e->seq;
    at->offset = e->offset;
    at->cursor = e->next;
}


/* Stores how far the worker has read. */

static void
consumed(fanout_zone_t *z, fanout_interest_t *in,
    const place_t *at)
{
    fanout_set(z, in->seq, at->seq);

    if (at->cursor != in->cursor) {
        fanout_set(z, in->cursor, at->cursor);
        fanout_set(z, in->offset, at->offset);
    }

    if (at->resets != in->resets) {
        fanout_set(z, in->resets, at->resets);
    }

    (void) fanout_unread_trim(z, in->channel);
    fanout_signal_trim(z, in->channel);
}


/* The cursor was moved, or entries after the last one were lost.  Reports no
 * gap if the next entry is a reset, which implies all of the loss, or if a gap
 * before later entries has reported it already. */

static void
put_lost_gap(fanout_zone_t *z, fanout_interest_t *in, fanout_arena_t *a)
{
    uint8_t                  lost;
    uint64_t                 offset, seq;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, in->channel);
    offset = ch->offset;
    seq = z->shm->seq;
    lost = in->flags & FANOUT_LOST;

    fanout_set(z, in->flags, in->flags & ~(in->cursor ? FANOUT_LOST_BEFORE
                                                      : FANOUT_LOST));

    if (in->cursor) {
        e = fanout_entry(z, in->cursor);
        seq = in->seq;

        if ((e->type & 0x0f) == FANOUT_RESET) {
            return;
        }

        offset = e->offset - 1;

    } else if (!(lost & FANOUT_LOST_BEFORE) && in->offset == offset) {
        return;
    }

    put_gap(a, in, ch->epoch - in->resets, offset, seq);
    fanout_set(z, in->offset, offset);
}


static void
put_gap(fanout_arena_t *a, fanout_interest_t *in, uint64_t epoch,
    uint64_t offset, uint64_t seq)
{
    fanout_entry_t  *gap;

    gap = &a->entries[a->n++];
    memset(gap, 0, sizeof(fanout_entry_t));

    gap->type = FANOUT_GAP;
    gap->local = in->local;
    gap->epoch = epoch;
    gap->from = in->offset;
    gap->offset = offset;
    gap->seq = seq;
}


/* The worker's own cursor keeps the entry while it is copied without the lock,
 * unless the cursor is moved because the zone is full. */

static int
drain_large(fanout_zone_t *z, fanout_ref_t ref, fanout_ref_t entry,
    fanout_arena_t *a)
{
    int                    rc;
    place_t                at;
    fanout_interest_t     *in;
    fanout_entry_block_t  *e;

    /* a is empty */

    rc = fanout_entry_copy(z, entry, a);

    (void) fanout_enter(z);

    if (z->drained != z->heap.incarnation) {
        z->drained = z->heap.incarnation;
        a->n = a->used = 0;
        fanout_leave(z);
        return FANOUT_ZONE_STALE;
    }

    in = fanout_interest(z, ref);

    if (in->cursor != entry || (in->flags & FANOUT_LOST_BEFORE)
        || rc == FANOUT_ZONE_STALE)
    {
        a->n = a->used = 0;
        fanout_leave(z);
        return FANOUT_ZONE_AGAIN;
    }

    unread_place(z, in, &at);
    e = fanout_entry(z, entry);

    if (rc == FANOUT_ZONE_OK) {
        a->entries[a->n - 1].local = in->local;
        a->entries[a->n - 1].epoch = at.epoch;

    } else {
        put_gap(a, in, at.epoch, e->offset, e->seq);
    }

    unread_passed(&at, e);
    consumed(z, in, &at);

    at.signal = fanout_signal_after(z, fanout_channel(z, in->channel), at.seq);

    if (at.cursor == 0 && at.signal == 0 && (in->flags & FANOUT_LOST) == 0) {
        fanout_clean(z, ref);

    } else {
        fanout_dirty_last(z, ref);
    }

    fanout_leave(z);

    return FANOUT_ZONE_AGAIN;
}
