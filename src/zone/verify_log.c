
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The check of a zone: channels with their entries, histories, unread lists,
 * interests and keys.
 */


#include "zone/verify.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/presence.h"
#include "zone/share.h"
#include "zone/shelf.h"


typedef int (*visit_pt)(walk_t *w, fanout_ref_t ref);


static int each_channel(walk_t *w, visit_pt visit);
static int verify_channel(walk_t *w, fanout_ref_t ref);
static int verify_history(walk_t *w, fanout_ref_t channel);
static int verify_index(walk_t *w, fanout_ref_t channel,
    fanout_channel_block_t *ch, fanout_ref_t ref, fanout_ref_t prev);
static int verify_purged(walk_t *w);
static int verify_unread(walk_t *w, fanout_ref_t channel);
static int verify_interests(walk_t *w, fanout_ref_t channel);
static int verify_interest(walk_t *w, fanout_ref_t channel, fanout_ref_t ref);
static int verify_keys(walk_t *w);
static int verify_channel_keys(walk_t *w, fanout_ref_t ref);


int
fanout_verify_channels(walk_t *w)
{
    try  (each_channel(w, verify_channel));

    return verify_purged(w);
}


int
fanout_verify_unread(walk_t *w)
{
    try  (each_channel(w, verify_unread));

    return each_channel(w, verify_interests);
}


int
fanout_verify_keys(walk_t *w)
{
    try  (verify_keys(w));

    return each_channel(w, verify_channel_keys);
}


/* an entry of a history; compared with the unread list later */

int
fanout_verify_entry(walk_t *w, fanout_ref_t ref, fanout_ref_t channel,
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
                    || (e->type & 0x0f) == FANOUT_PRESENCE
                    || (e->type & 0x0f) == FANOUT_RECORD
                    || (e->type & 0x0f) == FANOUT_LOCK);
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
verify_index(walk_t *w, fanout_ref_t channel, fanout_channel_block_t *ch,
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
verify_history(walk_t *w, fanout_ref_t channel)
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
        try (verify_index(w, channel, ch, ref, prev));

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

            try (fanout_verify_entry(w, ix->refs[i], channel, &blocks));

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

        w->blocks[ch->account]++;
        prev = ref;
    }

    w->blocks[ch->account] += sum;

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
verify_channel(walk_t *w, fanout_ref_t ref)
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
    must_of(w, ref, ch->account < FANOUT_ZONE_ACCOUNTS);
    must_of(w, ref, fanout_name(w->z, ch)->generation <= w->shm->configured);

    w->channels++;
    w->account[ch->account]++;

    try (verify_history(w, ref));
    try (fanout_verify_shelf(w, ref));

    cold = fanout_cold(w->z, ch);

    if (ch->history) {
        want = cold->policy_ttl ? FANOUT_LIST_WHEEL : FANOUT_LIST_NONE;

    } else if (ch->interests || ch->unread_head || cold->keys
               || fanout_presence_of(w->z, ref)
               || fanout_shelf_of(w->z, ref))
    {
        want = FANOUT_LIST_NONE;

    } else {
        want = FANOUT_LIST_IDLE;
    }

    must_of(w, ref, cold->list == want);

    if (ch->interests || ch->unread_head || cold->keys
        || fanout_presence_of(w->z, ref) || fanout_shelf_of(w->z, ref))
    {
        must_of(w, ref, cold->wheel & FANOUT_IN_USE);
        w->in_use += n + 2;
        w->part[FANOUT_SHARE_channels][ch->account] += n + 2;
        must_of(w, ref, cold->touched <= w->shm->holder_mask);
        w->holders[cold->touched].channels += n + 2;

    } else {
        must_of(w, ref, (cold->wheel & FANOUT_IN_USE) == 0);
        w->blocks[ch->account] += n + 2;
    }

    w->nheld += (cold->held != 0);
    w->held += cold->held;
    w->nbuckets += (cold->bucket != 0);
    w->nwheel += (cold->list == FANOUT_LIST_WHEEL);
    w->nidle += (cold->list == FANOUT_LIST_IDLE);

    return 0;
}


static int
each_channel(walk_t *w, visit_pt visit)
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
verify_purged(walk_t *w)
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

                try (fanout_verify_entry(w, ix->refs[i],
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
verify_unread(walk_t *w, fanout_ref_t channel)
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
            try (fanout_verify_entry(w, ref, channel, &blocks));
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
verify_interest(walk_t *w, fanout_ref_t channel, fanout_ref_t ref)
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

    /* A signal may be gone before its reader gets there, and the interests of a
     * dead worker are cleaned first. */
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
verify_interests(walk_t *w, fanout_ref_t channel)
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
        w->part[FANOUT_SHARE_channels][ch->account]++;
        in = fanout_interest(w->z, ref);
        must_of(w, ref, in->holder <= w->shm->holder_mask);
        w->holders[in->holder].channels++;

        must_of(w, ref, in->prev == prev);
        try (verify_interest(w, channel, ref));

        subscribers += in->subscribers;
        prev = ref;
    }

    must_of(w, channel, subscribers == ch->subscribers);

    return 0;
}


static int
verify_keys(walk_t *w)
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
               [fanout_channel(w->z, key->channel)->account]++;
        must_of(w, ref, key->expires >= expires);

        expires = key->expires;
        w->marks[key->channel].n++;

        try (fanout_verify_key_owners(w, ref));
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
verify_channel_keys(walk_t *w, fanout_ref_t ref)
{
    must_of(w, ref, fanout_cold(w->z, fanout_channel(w->z, ref))->keys
                    == w->marks[ref].n);

    return 0;
}
