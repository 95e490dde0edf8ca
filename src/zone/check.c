
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What must hold of a zone between two transactions, all of it, by a walk
 * over everything.  For tests: it holds the lock all the while.
 *
 * Every block below shm->heap.fresh must be met exactly once by the walk that
 * owns it; the other lists may only lead to blocks met so.
 */


#include <stdio.h>
#include <stdlib.h>

#include "zone/check.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/presence.h"
#include "zone/share.h"
#include "zone/slot.h"


int
fanout_check_broken(walk_t *w, int line, const char *text, fanout_ref_t ref)
{
    w->line = line;

    if (w->len) {
        snprintf(w->text, w->len, "line %d, block %u: %s", line, ref, text);
    }

    return line;
}


int
fanout_check_meet(walk_t *w, fanout_ref_t ref, uint8_t as, fanout_ref_t owner)
{
    must_of(w, ref, ref != 0 && ref < w->shm->heap.fresh);
    must_of(w, ref, w->marks[ref].seen == 0);

    w->marks[ref].seen = as;
    w->marks[ref].owner = owner;

    return 0;
}


int
fanout_check_met(walk_t *w, fanout_ref_t ref, uint8_t as)
{
    return ref != 0 && ref < w->shm->heap.fresh && w->marks[ref].seen == as;
}


/* a chain of n blocks from first to last, of which the first is met */

int
fanout_check_meet_rest(walk_t *w, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, fanout_kind_e kind)
{
    uint32_t      i;
    fanout_ref_t  ref;

    ref = first;

    for (i = 1; i < n; i++) {
        ref = fanout_block(w->z, ref)->next;
        try (meet(w, ref, SEEN_REST, first));
    }

    must_of(w, first, last == 0 || ref == last);

    if (kind == FANOUT_MESSAGES || kind == FANOUT_STAGED || n > 1) {
        must_of(w, first, fanout_block(w->z, ref)->next == 0);
    }

    w->used[kind] += n;

    return 0;
}


static int
check_free(walk_t *w)
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


/* an entry of a history; the unread list is compared later */

int
fanout_check_entry(walk_t *w, fanout_ref_t ref, fanout_ref_t channel,
    uint32_t *blocks)
{
    uint32_t               n;
    fanout_ref_t           last;
    fanout_entry_block_t  *e;
    fanout_chain_cursor_t  pen;

    try (meet(w, ref, SEEN_ENTRY, channel));

    e = fanout_entry(w->z, ref);
    n = fanout_entry_blocks(w->z, e);
    last = 0;

    must_of(w, ref, n < w->shm->heap.nblocks);
    must_of(w, ref, (e->flags & FANOUT_LONG) == 0
                    || n > FANOUT_LONG_BLOCKS);
    must_of(w, ref, (e->flags & FANOUT_LONG) || n <= FANOUT_LONG_BLOCKS);
    must_of(w, ref, e->seq != 0 && e->seq <= w->shm->seq);
    must_of(w, ref, (e->type & 0x0f) == FANOUT_MESSAGE
                    || (e->type & 0x0f) == FANOUT_RESET
                    || (e->type & 0x0f) == FANOUT_PRESENCE);
    must_of(w, ref, (e->flags & FANOUT_HAS_RECIPIENT) == 0
                    || (e->type & 0x0f) == FANOUT_MESSAGE);

    if (e->flags & FANOUT_LONG) {
        pen.z = w->z;
        pen.ref = ref;
        pen.pos = FANOUT_ENTRY_HEAD;
        pen.left = 1;
        (void) fanout_copy(&pen, &last, sizeof(fanout_ref_t));
        must_of(w, ref, last != 0);
    }

    *blocks = n;

    return meet_rest(w, ref, last, n, FANOUT_MESSAGES);
}


static int
check_index(walk_t *w, fanout_ref_t channel, fanout_channel_block_t *ch,
    fanout_ref_t ref, fanout_ref_t prev)
{
    fanout_index_t  *ix, *first;

    try (meet(w, ref, SEEN_INDEX, channel));

    w->used[FANOUT_INDEX]++;
    ix = fanout_index(w->z, ref);
    first = fanout_index(w->z, ch->index_first);

    if (prev) {
        must_of(w, ref, ix->prev == prev);
        must_of(w, ref, ix->ord == fanout_index(w->z, prev)->ord + 1);
        must_of(w, ref, ix->jump != 0 && ix->jump_ord < ix->ord);
    }

    if (ix->jump && ix->jump_ord >= first->ord) {
        must_of(w, ref, met(w, ix->jump, SEEN_INDEX));
        must_of(w, ref, w->marks[ix->jump].owner == channel);
        must_of(w, ref, fanout_index(w->z, ix->jump)->ord == ix->jump_ord);
    }

    return 0;
}


static int
check_history(walk_t *w, fanout_ref_t channel)
{
    uint32_t                 n, blocks, sum, from, to, i;
    uint64_t                 bytes, seq, offset, first;
    fanout_ref_t             ref, prev;
    fanout_cold_t           *cold;
    fanout_index_t          *ix;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(w->z, channel);
    cold = fanout_cold(w->z, ch);

    n = sum = 0;
    bytes = seq = offset = first = 0;
    prev = 0;

    must_of(w, channel, (ch->index_first == 0) == (ch->index_last == 0));
    must_of(w, channel, (ch->index_first == 0) == (ch->history == 0));

    for (ref = ch->index_first; ref; ref = ix->next) {
        try (check_index(w, channel, ch, ref, prev));

        ix = fanout_index(w->z, ref);
        from = ref == ch->index_first ? ch->skip : 0;
        to = ref == ch->index_last ? ch->fill : FANOUT_INDEX_REFS;

        must_of(w, ref, from < to && to <= FANOUT_INDEX_REFS);
        must_of(w, ref, (ref == ch->index_last) == (ix->next == 0));

        for (i = 0; i < FANOUT_INDEX_REFS; i++) {
            if (i < from || i >= to) {
                must_of(w, ref, ix->refs[i] == 0);
                continue;
            }

            try (fanout_check_entry(w, ix->refs[i], channel, &blocks));

            e = fanout_entry(w->z, ix->refs[i]);

            must_of(w, ref, e->flags & FANOUT_IN_HISTORY);
            must_of(w, ref, e->offset > offset && e->seq > seq);
            must_of(w, ref, e->offset <= ch->offset);
            must_of(w, ref, (e->flags & (FANOUT_TRANSIENT
                                         |FANOUT_HAS_RECIPIENT)) == 0);

            offset = e->offset;
            seq = e->seq;
            first = first ? first : seq;
            bytes += fanout_entry_size(e);
            sum += blocks;
            n++;
        }

        w->blocks[ch->class]++;
        prev = ref;
    }

    w->blocks[ch->class] += sum;

    must_of(w, channel, n == ch->history);
    must_of(w, channel, bytes == cold->bytes);
    must_of(w, channel, sum == cold->blocks);
    must_of(w, channel, cold->lost <= ch->offset);
    must_of(w, channel, fanout_name(w->z, ch)->lost_seq <= w->z->shm->seq);
    must_of(w, channel, w->z->shm->forgotten <= w->z->shm->seq);
    must_of(w, channel, first == 0
                        || fanout_name(w->z, ch)->lost_seq < first);
    must_of(w, channel, cold->bucket
                        == (sum ? 32 - __builtin_clz(sum) : 0));

    return 0;
}


static int
check_channel(walk_t *w, fanout_ref_t ref)
{
    uint8_t                  want;
    uint32_t                 n;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    try (meet(w, ref, SEEN_CHANNEL, ref));

    ch = fanout_channel(w->z, ref);

    try (meet(w, ch->cold, SEEN_REST, ref));
    try (meet(w, ch->name, SEEN_REST, ref));

    n = fanout_channel_blocks(ch->name_len) - 2;
    w->used[FANOUT_CHANNELS] += 2;

    try (meet_rest(w, ch->name, 0, n, FANOUT_CHANNELS));

    must_of(w, ref, ch->epoch != 0);
    must_of(w, ref, ch->class < FANOUT_ZONE_CLASSES);
    must_of(w, ref, fanout_name(w->z, ch)->generation <= w->shm->configured);

    w->channels++;
    w->class[ch->class]++;

    try (check_history(w, ref));

    cold = fanout_cold(w->z, ch);

    if (ch->history) {
        want = cold->policy_ttl ? FANOUT_LIST_WHEEL : FANOUT_LIST_NONE;

    } else if (ch->interests || ch->unread_head || cold->keys
               || fanout_presence_of(w->z, ref))
    {
        want = FANOUT_LIST_NONE;

    } else {
        want = FANOUT_LIST_IDLE;
    }

    must_of(w, ref, cold->list == want);

    if (ch->interests || ch->unread_head || cold->keys
        || fanout_presence_of(w->z, ref))
    {
        must_of(w, ref, cold->wheel & FANOUT_IN_USE);
        w->in_use += n + 2;
        w->part[FANOUT_SHARE_channels][ch->class] += n + 2;
        must_of(w, ref, cold->touched <= w->shm->holder_mask);
        w->holders[cold->touched].channels += n + 2;

    } else {
        must_of(w, ref, (cold->wheel & FANOUT_IN_USE) == 0);
        w->blocks[ch->class] += n + 2;
    }

    w->nheld += (cold->held != 0);
    w->held += cold->held;
    w->nbuckets += (cold->bucket != 0);
    w->nwheel += (cold->list == FANOUT_LIST_WHEEL);
    w->nidle += (cold->list == FANOUT_LIST_IDLE);

    return 0;
}


static int
check_channels(walk_t *w, visit_pt visit)
{
    uint64_t                 i;
    fanout_ref_t             ref;
    fanout_channel_block_t  *ch;

    for (i = 0; i <= w->shm->channel_mask; i++) {
        ref = fanout_hash_table(w->z, channel_hash)[i];

        for ( /* void */ ; ref; ref = ch->hash_next) {
            must_of(w, ref, ref < w->shm->heap.fresh);
            ch = fanout_channel(w->z, ref);
            must_of(w, ref, (ch->hash & w->shm->channel_mask) == i);
            try (visit(w, ref));
        }
    }

    return 0;
}


static int
check_doomed(walk_t *w)
{
    uint32_t               i, blocks;
    fanout_ref_t           first, ref;
    fanout_index_t        *ix;
    fanout_entry_block_t  *e;

    for (first = w->shm->purged_list; first;
         first = fanout_index(w->z, first)->jump)
    {
        must(w, first < w->shm->heap.fresh);

        for (ref = first; ref; ref = ix->next) {
            try (meet(w, ref, SEEN_INDEX, 0));

            w->used[FANOUT_INDEX]++;
            ix = fanout_index(w->z, ref);

            for (i = 0; i < FANOUT_INDEX_REFS; i++) {
                if (ix->refs[i] == 0) {
                    continue;
                }

                try (fanout_check_entry(w, ix->refs[i],
                                 fanout_index(w->z, first)->prev, &blocks));

                e = fanout_entry(w->z, ix->refs[i]);
                must_of(w, ix->refs[i], e->flags & FANOUT_IN_HISTORY);
                must_of(w, ix->refs[i],
                        (e->flags & FANOUT_IN_UNREAD) == 0
                        || met(w, fanout_index(w->z, first)->prev,
                               SEEN_CHANNEL));
            }
        }
    }

    return 0;
}


static int
check_unread(walk_t *w, fanout_ref_t channel)
{
    uint32_t                 blocks, held;
    uint64_t                 seq;
    fanout_ref_t             ref, last;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(w->z, channel);
    held = 0;
    seq = 0;
    last = 0;

    for (ref = ch->unread_head; ref; ref = e->next) {
        must_of(w, channel, ref < w->shm->heap.fresh);
        e = fanout_entry(w->z, ref);

        must_of(w, ref, e->flags & FANOUT_IN_UNREAD);
        must_of(w, ref, e->seq > seq);

        if (e->flags & FANOUT_IN_HISTORY) {
            must_of(w, ref, met(w, ref, SEEN_ENTRY));
            must_of(w, ref, w->marks[ref].owner == channel);

        } else {
            try (fanout_check_entry(w, ref, channel, &blocks));
            held += blocks;
        }

        must_of(w, ref, !w->marks[ref].unread);

        w->marks[ref].unread = 1;
        w->marks[ref].before = seq;
        seq = e->seq;
        last = ref;
    }

    must_of(w, channel, last == ch->unread_tail);
    must_of(w, channel, held == fanout_cold(w->z, ch)->held);

    return 0;
}


static int
check_interest(walk_t *w, fanout_ref_t channel, fanout_ref_t ref)
{
    uint32_t            resets;
    fanout_ref_t        i;
    fanout_interest_t  *in;

    in = fanout_interest(w->z, ref);

    must_of(w, ref, in->channel == channel);
    must_of(w, ref, in->slot < w->shm->nslots);
    must_of(w, ref, w->shm->slots[in->slot].process.state != FANOUT_SLOT_FREE);
    must_of(w, ref, in->seq <= w->shm->seq);
    must_of(w, ref, (in->flags & FANOUT_DIRTY)
                    || !(in->cursor || (in->flags & FANOUT_LOST)));

    /* what a signal marked may be gone before it is read, and a dead worker's
     * interests are cleaned first */
    must_of(w, ref, (in->flags & FANOUT_DIRTY)
                    || w->shm->slots[in->slot].process.state == FANOUT_SLOT_DEAD
                    || fanout_signal_after(w->z,
                                           fanout_channel(w->z, channel),
                                           in->seq)
                       == 0);

    if (in->cursor) {
        must_of(w, ref, met(w, in->cursor, SEEN_ENTRY));
        must_of(w, ref, w->marks[in->cursor].owner == channel);
        must_of(w, ref, w->marks[in->cursor].unread);
        must_of(w, ref, fanout_entry(w->z, in->cursor)->seq > in->seq);
        must_of(w, ref, w->marks[in->cursor].before <= in->seq);
    }

    resets = 0;

    for (i = in->cursor; i; i = fanout_entry(w->z, i)->next) {
        resets += (fanout_entry(w->z, i)->type & 0x0f)
                  == FANOUT_RESET;
    }

    must_of(w, ref, resets == in->resets);

    w->interests[in->slot]++;
    w->dirty[in->slot] += (in->flags & FANOUT_DIRTY) != 0;

    return 0;
}


static int
check_interests(walk_t *w, fanout_ref_t channel)
{
    uint32_t                 subscribers;
    fanout_ref_t             ref, prev;
    fanout_interest_t       *in;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(w->z, channel);
    subscribers = 0;
    prev = 0;

    for (ref = ch->interests; ref; ref = in->next) {
        try (meet(w, ref, SEEN_INTEREST, channel));

        w->used[FANOUT_INTERESTS]++;
        w->part[FANOUT_SHARE_channels][ch->class]++;
        in = fanout_interest(w->z, ref);
        must_of(w, ref, in->holder <= w->shm->holder_mask);
        w->holders[in->holder].channels++;

        must_of(w, ref, in->prev == prev);
        try (check_interest(w, channel, ref));

        subscribers += in->subscribers;
        prev = ref;
    }

    must_of(w, channel, subscribers == ch->subscribers);

    return 0;
}


static int
check_slot_interests(walk_t *w, unsigned n)
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
check_staged(walk_t *w, const fanout_slot_t *slot)
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
check_slot(walk_t *w, unsigned n)
{
    fanout_ref_t              ref, prev;
    fanout_slot_t            *slot;
    fanout_identity_block_t  *id;

    slot = &w->shm->slots[n];

    try (check_slot_interests(w, n));

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

    try (check_staged(w, slot));

    must(w, slot->process.state <= FANOUT_SLOT_DEAD);
    must(w, slot->process.state != FANOUT_SLOT_FREE
            || (slot->interests == 0 && slot->identities == 0
                && slot->order_first == 0 && slot->nstaged == 0
                && slot->addresses == 0));

    return 0;
}


static int
check_keys(walk_t *w)
{
    uint32_t       n, expires;
    uint64_t       i;
    fanout_ref_t   ref, last;
    fanout_key_t  *key;

    n = expires = 0;
    last = 0;

    for (ref = w->shm->key_first; ref; ref = key->next) {
        try (meet(w, ref, SEEN_KEY, 0));

        w->used[FANOUT_KEYS]++;
        key = fanout_key(w->z, ref);

        must_of(w, ref, met(w, key->channel, SEEN_CHANNEL));
        w->part[FANOUT_SHARE_keys]
               [fanout_channel(w->z, key->channel)->class]++;
        must_of(w, ref, key->expires >= expires);

        expires = key->expires;
        w->marks[key->channel].n++;

        try (fanout_check_key_owners(w, ref));
        last = ref;
        n++;
    }

    must(w, n == w->shm->nkeys && last == w->shm->key_last);

    for (i = 0; i <= w->shm->key_mask; i++) {
        ref = fanout_hash_table(w->z, key_hash)[i];

        for ( /* void */ ; ref; ref = key->hash_next) {
            must_of(w, ref, met(w, ref, SEEN_KEY));
            must_of(w, ref, !w->marks[ref].listed);
            w->marks[ref].listed = 1;
            key = fanout_key(w->z, ref);
            must_of(w, ref, (key->hash[1] & w->shm->key_mask) == i);
            n--;
        }
    }

    must(w, n == 0);

    return 0;
}


static int
check_channel_keys(walk_t *w, fanout_ref_t ref)
{
    must_of(w, ref, fanout_cold(w->z, fanout_channel(w->z, ref))->keys
                    == w->marks[ref].n);

    return 0;
}


/* the lists of channels */

static int
check_held(walk_t *w)
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
check_buckets(walk_t *w)
{
    uint32_t                 i, class, bucket;
    uint64_t                 n;
    fanout_ref_t             ref, prev;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    for (n = 0, i = 0; i < FANOUT_CLASSES * FANOUT_BUCKETS; i++) {
        class = i / FANOUT_BUCKETS;
        bucket = i % FANOUT_BUCKETS;
        prev = 0;

        for (ref = w->shm->bucket[class][bucket]; ref;
             ref = cold->bucket_next)
        {
            must_of(w, ref, met(w, ref, SEEN_CHANNEL) && n++ < w->nbuckets);
            ch = fanout_channel(w->z, ref);
            cold = fanout_cold(w->z, ch);
            must_of(w, ref, ch->class == class
                            && cold->bucket == bucket + 1);
            must_of(w, ref, cold->bucket_prev == prev);
            prev = ref;
        }
    }

    must(w, n == w->nbuckets);

    return 0;
}


static int
check_list(walk_t *w, fanout_ref_t ref, uint8_t list, uint32_t at,
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
            must_of(w, ref, ch->class == at);
            must_of(w, ref, cold->touched >= touched);
            touched = cold->touched;
        }

        prev = ref;
    }

    *last = prev;

    return 0;
}


static int
check_lists(walk_t *w)
{
    uint32_t      i;
    uint64_t      n;
    fanout_ref_t  last;

    for (n = 0, i = 0; i < FANOUT_CLASSES; i++) {
        try (check_list(w, w->shm->idle_first[i], FANOUT_LIST_IDLE, i, &last,
                        &n));
        must_of(w, i, last == w->shm->idle_last[i]);
    }

    must(w, n == w->nidle);

    for (n = 0, i = 0; i < FANOUT_WHEEL; i++) {
        try (check_list(w, w->shm->wheel[i], FANOUT_LIST_WHEEL, i, &last,
                        &n));
    }

    must(w, n == w->nwheel);

    return 0;
}


static int
check_accounts(walk_t *w)
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

    for (i = 0; i < FANOUT_ZONE_CLASSES; i++) {
        must_of(w, i, w->class[i] == shm->classes[i].channels);
        must_of(w, i, w->blocks[i] == shm->classes[i].blocks);

        for (n = 0; n < FANOUT_PARTS; n++) {
            must_of(w, i, w->part[n][i] == shm->part[n][i]);
        }
    }

    must(w, w->in_use == shm->in_use);

    return 0;
}


static int
zone_check_all(walk_t *w)
{
    unsigned  i;

    must(w, w->shm->heap.state == FANOUT_READY);
    must(w, w->shm->heap.fresh != 0
            && w->shm->heap.fresh <= w->shm->heap.nblocks);

    try (check_free(w));
    try (check_channels(w, check_channel));
    try (check_doomed(w));
    try (fanout_check_mail(w));
    try (check_channels(w, check_unread));
    try (check_channels(w, check_interests));

    for (i = 0; i < w->shm->nslots; i++) {
        try (check_slot(w, i));
    }

    try (check_staged(w, &w->shm->spare));

    try (check_keys(w));
    try (check_channels(w, check_channel_keys));
    try (fanout_check_identities(w));
    try (fanout_check_seats(w));
    try (fanout_check_mailboxes(w));
    try (fanout_check_presence(w));
    try (fanout_check_signals(w));
    try (fanout_check_seen(w));
    try (fanout_check_events(w));
    try (fanout_check_addresses(w));
    try (fanout_check_budgets(w));
    try (fanout_check_holders(w));
    try (check_held(w));
    try (check_buckets(w));
    try (check_lists(w));

    return check_accounts(w);
}


int
fanout_zone_check(fanout_zone_t *z, char *text, size_t len)
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
        rc = zone_check_all(w);
        fanout_leave(z);
    }

    free(w->senders);
    free(w->holders);
    free(w->marks);
    free(w);

    return rc;
}
