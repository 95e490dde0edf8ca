
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The history of a channel: the entries that its policy keeps, found by offset
 * or by number through a list of index blocks.
 */


#include "heap/list.h"
#include "zone/log.h"
#include "zone/share.h"


static fanout_ref_t index_append(fanout_zone_t *z,
    fanout_channel_block_t *ch);
static uint64_t head_of(fanout_zone_t *z, fanout_channel_block_t *ch,
    fanout_ref_t ref, int by_seq);
static fanout_ref_t index_find(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t after, int by_seq, unsigned *pos);


static const fanout_links_t  index_links = {
    .next = offsetof(fanout_index_t, next),
    .prev = offsetof(fanout_index_t, prev)
};

static const fanout_links_t  bucket_links = {
    .next = offsetof(fanout_cold_t, bucket_next),
    .prev = offsetof(fanout_cold_t, bucket_prev),
    .part = offsetof(fanout_channel_block_t, cold)
};


void
fanout_history_push(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t ref,
    uint32_t size, uint32_t blocks)
{
    fanout_cold_t           *cold;
    fanout_index_t          *ix;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);

    if (ch->index_last == 0 || ch->fill == FANOUT_INDEX_REFS) {
        ix = fanout_index(z, index_append(z, ch));

    } else {
        ix = fanout_index(z, ch->index_last);
    }

    fanout_set(z, ix->refs[ch->fill], ref);
    fanout_set(z, ch->fill, ch->fill + 1);
    fanout_set(z, ch->history, ch->history + 1);
    fanout_set(z, cold->bytes, cold->bytes + size);
    fanout_set(z, cold->blocks, cold->blocks + blocks);
    fanout_account_add(z, ch->account, blocks + (ch->fill == 1));
}


static fanout_ref_t
index_append(fanout_zone_t *z, fanout_channel_block_t *ch)
{
    fanout_ref_t     ref;
    fanout_index_t  *ix, *prev, *jump, *far;

    ref = fanout_alloc(z, 1, FANOUT_INDEX, NULL);
    ix = fanout_index(z, ref);

    memset((uint8_t *) ix + 4, 0, sizeof(fanout_index_t) - 4);

    if (ch->index_last == 0) {
        ix->ord = 1;
        fanout_set(z, ch->skip, 0);

    } else {
        prev = fanout_index(z, ch->index_last);

        ix->ord = prev->ord + 1;
        ix->jump = ch->index_last;
        ix->jump_ord = prev->ord;

        far = fanout_index(z, ch->index_first);

        if (prev->jump && prev->jump_ord >= far->ord) {
            jump = fanout_index(z, prev->jump);

            if (jump->jump && jump->jump_ord >= far->ord
                && prev->ord - prev->jump_ord
                   == prev->jump_ord - jump->jump_ord)
            {
                ix->jump = jump->jump;
                ix->jump_ord = jump->jump_ord;
            }
        }
    }

    fanout_list_append(z, &index_links, &ch->index_first, &ch->index_last, ref,
                       FANOUT_NEW_RECORD);
    fanout_set(z, ch->fill, 0);

    return ref;
}


uint32_t
fanout_index_blocks(fanout_zone_t *z, const fanout_channel_block_t *ch)
{
    if (ch->index_first == 0) {
        return 0;
    }

    return fanout_index(z, ch->index_last)->ord
           - fanout_index(z, ch->index_first)->ord + 1;
}


void
fanout_history_limit(fanout_zone_t *z, fanout_ref_t channel)
{
    uint32_t                 n;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);

    n = 0;

    if (ch->history > cold->policy_history) {
        n = ch->history - cold->policy_history;
    }

    if (n) {
        /* more only after the policy shrank: the rest is removed by later
         * calls */
        fanout_history_drop(z, channel, n < 2 * FANOUT_STEP ? n
                                                            : 2 * FANOUT_STEP);
    }

    for (n = 0;
         cold->policy_bytes && cold->bytes > cold->policy_bytes
         && ch->history && n < 2 * FANOUT_STEP && fanout_journal_room(z);
         n++)
    {
        fanout_history_drop(z, channel, 1);
    }

    if (fanout_journal_room(z)) {
        (void) fanout_history_expire(z, channel);
    }

    fanout_bucket_move(z, channel);
}


void
fanout_history_drop(fanout_zone_t *z, fanout_ref_t channel, uint32_t n)
{
    uint32_t                 size, blocks, index;
    uint64_t                 lost, seq;
    fanout_ref_t             ref, first;
    fanout_cold_t           *cold;
    fanout_name_t           *name;
    fanout_index_t          *ix;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);

    if (n > ch->history) {
        n = ch->history;
    }

    if (n == 0) {
        return;
    }

    fanout_set(z, ch->history, ch->history - n);

    size = blocks = index = 0;
    lost = cold->lost;
    name = fanout_name(z, ch);
    seq = name->lost_seq;

    while (n--) {
        first = ch->index_first;
        ix = fanout_index(z, first);
        ref = ix->refs[ch->skip];
        e = fanout_entry(z, ref);

        size += fanout_entry_size(e);
        blocks += fanout_entry_blocks(z, e);

        if (lost < e->offset) {
            lost = e->offset;
        }

        if (seq < e->seq) {
            seq = e->seq;
        }

        fanout_set(z, ix->refs[ch->skip], 0);
        fanout_set(z, ch->skip, ch->skip + 1);

        fanout_entry_release(z, channel, ref, FANOUT_IN_HISTORY);

        if (first == ch->index_last && ch->skip == ch->fill) {
            fanout_list_cut(z, &ch->index_first, &ch->index_last, 0);
            fanout_free(z, first, first, 1, FANOUT_INDEX);
            index++;

        } else if (ch->skip == FANOUT_INDEX_REFS) {
            fanout_list_cut(z, &ch->index_first, &ch->index_last, ix->next);
            fanout_set(z, ch->skip, 0);
            fanout_free(z, first, first, 1, FANOUT_INDEX);
            index++;
        }
    }

    fanout_set(z, cold->bytes, cold->bytes - size);
    fanout_set(z, cold->blocks, cold->blocks - blocks);
    fanout_account_add(z, ch->account, -(int32_t) (blocks + index));
    fanout_set(z, cold->lost, lost);
    fanout_set(z, name->lost_seq, seq);

    fanout_bucket_move(z, channel);
    fanout_channel_free_unused(z, channel);
}


int
fanout_history_expire(fanout_zone_t *z, fanout_ref_t channel)
{
    uint32_t                 n, now, ttl;
    unsigned                 pos;
    fanout_ref_t             ref;
    fanout_index_t          *ix;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    ttl = fanout_cold(z, ch)->policy_ttl;

    if (ttl == 0 || ch->history == 0) {
        return 0;
    }

    now = fanout_seconds(z);
    ref = ch->index_first;
    pos = ch->skip;

    for (n = 0; n < ch->history && n < FANOUT_STEP; n++) {
        ix = fanout_index(z, ref);
        e = fanout_entry(z, ix->refs[pos]);

        if (now - e->mono <= ttl) {
            break;
        }

        if (++pos == FANOUT_INDEX_REFS) {
            pos = 0;
            ref = ix->next;
        }
    }

    if (n) {
        fanout_set(z, z->shm->expired, z->shm->expired + n);
        fanout_history_drop(z, channel, n);
    }

    return n == FANOUT_STEP && ch->history;
}


/* Channels with history are in lists by the power of two of its blocks, so that
 * a large history is found at once. */

void
fanout_bucket_move(fanout_zone_t *z, fanout_ref_t channel)
{
    uint8_t                  want;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);

    want = cold->blocks ? 32 - __builtin_clz(cold->blocks) : 0;

    if (want == cold->bucket) {
        return;
    }

    fanout_bucket_leave(z, channel);
    fanout_set(z, cold->bucket, want);

    if (want) {
        fanout_list_push(z, &bucket_links,
                         &z->shm->bucket[ch->account][want - 1], channel,
                         FANOUT_OLD_RECORD);
    }
}


void
fanout_bucket_leave(fanout_zone_t *z, fanout_ref_t channel)
{
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);

    if (cold->bucket) {
        fanout_list_remove(z, &bucket_links,
                           &z->shm->bucket[ch->account][cold->bucket - 1], NULL,
                           channel);
        fanout_set(z, cold->bucket, 0);
    }
}


int
fanout_purged_free(fanout_zone_t *z)
{
    unsigned         i, n;
    fanout_ref_t     ref, channel;
    fanout_shm_t    *shm;
    fanout_index_t  *ix, *next;

    shm = z->shm;

    for (n = 0; shm->purged_list && n < FANOUT_STEP; n += FANOUT_INDEX_REFS) {
        ref = shm->purged_list;
        ix = fanout_index(z, ref);
        channel = ix->prev;

        for (i = 0; i < FANOUT_INDEX_REFS; i++) {
            if (ix->refs[i]) {
                fanout_entry_release(z, channel, ix->refs[i],
                              FANOUT_IN_HISTORY);
            }
        }

        if (ix->next) {
            next = fanout_index(z, ix->next);
            fanout_set(z, next->prev, channel);
            fanout_set(z, next->jump, ix->jump);
            fanout_set(z, shm->purged_list, ix->next);

        } else {
            fanout_set(z, shm->purged_list, ix->jump);
        }

        fanout_free(z, ref, ref, 1, FANOUT_INDEX);
    }

    return n != 0;
}


/* finding in the history */

/* Finds the first kept entry with an offset above after: its index block, with
 * the position in *pos; 0 if there is none. */

fanout_ref_t
fanout_index_seek(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t after, unsigned *pos)
{
    return index_find(z, ch, after, 0, pos);
}


/* The same by the seq of the zone, which also grows along a history. */

fanout_ref_t
fanout_index_seek_seq(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t after, unsigned *pos)
{
    return index_find(z, ch, after, 1, pos);
}


#define place_of(e, by_seq)  ((by_seq) ? (e)->seq : (e)->offset)


static uint64_t
head_of(fanout_zone_t *z, fanout_channel_block_t *ch, fanout_ref_t ref,
    int by_seq)
{
    fanout_entry_block_t  *e;

    e = fanout_entry(z, fanout_index(z, ref)->refs[ref == ch->index_first
                                                   ? ch->skip : 0]);

    return place_of(e, by_seq);
}


static fanout_ref_t
index_find(fanout_zone_t *z, fanout_channel_block_t *ch, uint64_t after,
    int by_seq, unsigned *pos)
{
    unsigned         i, end;
    uint32_t         first;
    fanout_ref_t     ref;
    fanout_index_t  *ix;

    if (ch->history == 0) {
        return 0;
    }

    ref = ch->index_last;
    first = fanout_index(z, ch->index_first)->ord;

    /* back to the last block that starts at after or below */

    while (ref != ch->index_first && head_of(z, ch, ref, by_seq) > after) {
        ix = fanout_index(z, ref);

        if (ix->jump && ix->jump_ord >= first
            && head_of(z, ch, ix->jump, by_seq) > after)
        {
            ref = ix->jump;

        } else {
            ref = ix->prev;
        }
    }

    for ( /* void */ ; ref; ref = ix->next) {
        ix = fanout_index(z, ref);

        i = ref == ch->index_first ? ch->skip : 0;
        end = ref == ch->index_last ? ch->fill : FANOUT_INDEX_REFS;

        for ( /* void */ ; i < end; i++) {
            if (place_of(fanout_entry(z, ix->refs[i]), by_seq) > after) {
                *pos = i;
                return ref;
            }
        }
    }

    return 0;
}


/* The number of an entry counted from the oldest kept, which is 0. */

uint64_t
fanout_index_position(fanout_channel_block_t *ch, fanout_index_t *ix,
    unsigned pos, fanout_zone_t *z)
{
    uint32_t  first;

    first = fanout_index(z, ch->index_first)->ord;

    return (uint64_t) (ix->ord - first) * FANOUT_INDEX_REFS + pos - ch->skip;
}


fanout_ref_t
fanout_index_nth(fanout_zone_t *z, fanout_channel_block_t *ch, uint64_t nth,
    unsigned *pos)
{
    uint32_t         ord, first;
    fanout_ref_t     ref;
    fanout_index_t  *ix;

    first = fanout_index(z, ch->index_first)->ord;
    nth += ch->skip;
    ord = first + nth / FANOUT_INDEX_REFS;
    *pos = nth % FANOUT_INDEX_REFS;

    ref = ch->index_last;
    ix = fanout_index(z, ref);

    while (ix->ord != ord) {
        ref = (ix->jump && ix->jump_ord >= ord) ? ix->jump : ix->prev;
        ix = fanout_index(z, ref);
    }

    return ref;
}
