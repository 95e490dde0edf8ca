
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Reading the history: for joins, pages and subscribers that fell behind.
 */


#include "zone/identity.h"
#include "zone/log.h"


static fanout_ref_t enter_fresh(fanout_zone_t *z, fanout_zone_channel_t *c);
static int recoverable(fanout_zone_t *z, fanout_channel_block_t *ch,
    int since, uint64_t epoch, uint64_t offset);
static int absent_since(fanout_zone_t *z, uint64_t epoch);
static uint64_t absent_mask(fanout_zone_t *z);
static uint64_t missed(fanout_zone_t *z, fanout_channel_block_t *ch,
    fanout_ref_t ref, unsigned pos);
static int entry_open(fanout_zone_t *z, fanout_ref_t ref,
    fanout_chain_cursor_t *pen, fanout_entry_t *to);
static void copy_fixed(const fanout_entry_block_t *e, fanout_entry_t *to);
static int copy_optional(fanout_chain_cursor_t *pen, uint8_t flags,
    fanout_entry_t *to);
static int fits(fanout_arena_t *a, uint32_t size);


/* Enters, and finds the channel, with nothing expired in its history; a long
 * history is expired in many short sections. */

static fanout_ref_t
enter_fresh(fanout_zone_t *z, fanout_zone_channel_t *c)
{
    fanout_ref_t  ref;

    for ( ;; ) {
        (void) fanout_enter(z);

        ref = fanout_channel_find(z, c);

        if (ref == 0 || !fanout_history_expire(z, ref)) {
            return ref;
        }

        fanout_leave(z);
    }
}


int
fanout_log_join(fanout_zone_t *z, fanout_zone_channel_t *c, int since,
    uint64_t epoch, uint64_t offset, uint32_t history, fanout_zone_join_t *j)
{
    unsigned                 pos;
    fanout_ref_t             ref;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    (void) enter_fresh(z, c);

    if (!fanout_channel_opened(z, c)) {
        fanout_leave(z);
        return FANOUT_ZONE_STALE;
    }

    ch = fanout_channel(z, c->ref);

    j->epoch = ch->epoch;
    j->offset = ch->offset;
    j->after = ch->offset;
    j->seq = z->shm->seq;
    j->from = z->shm->seq;
    j->missed = 0;
    j->recovered = 0;

    if (since && recoverable(z, ch, since, epoch, offset)) {
        j->recovered = 1;

        if (since == FANOUT_SINCE_SEQ) {
            ref = fanout_index_seek_seq(z, ch, offset, &pos);

        } else {
            j->after = offset;
            ref = fanout_index_seek(z, ch, offset, &pos);
        }

        if (ref) {
            e = fanout_entry(z, fanout_index(z, ref)->refs[pos]);

            j->missed = missed(z, ch, ref, pos);
            j->from = e->seq - 1;

            if (since == FANOUT_SINCE_SEQ) {
                j->after = e->offset - 1;
                j->from = offset;
            }
        }

    } else if (!since && history && ch->history) {
        if (history > ch->history) {
            history = ch->history;
        }

        ref = fanout_index_nth(z, ch, ch->history - history, &pos);
        e = fanout_entry(z, fanout_index(z, ref)->refs[pos]);

        j->after = e->offset - 1;
        j->from = e->seq - 1;
        j->missed = history;
    }

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


/* Returns 1 if the log still has all entries after a position. */

static int
recoverable(fanout_zone_t *z, fanout_channel_block_t *ch, int since,
    uint64_t epoch, uint64_t offset)
{
    if (since == FANOUT_SINCE_SEQ) {
        return epoch == z->heap.incarnation && offset <= z->shm->seq
               && offset >= fanout_name(z, ch)->lost_seq;
    }

    return fanout_log_has(z, ch, epoch, offset)
           && offset >= fanout_cold(z, ch)->lost;
}


int
fanout_log_has(fanout_zone_t *z, fanout_channel_block_t *ch, uint64_t epoch,
    uint64_t offset)
{
    fanout_cold_t  *cold;

    if (ch == NULL) {
        return offset == 0 && absent_since(z, epoch);
    }

    if (epoch == ch->epoch) {
        return offset <= ch->offset;
    }

    /* made since then: it must not have lost anything */

    cold = fanout_cold(z, ch);

    return offset == 0 && cold->lost == 0 && !(cold->wheel & FANOUT_PURGED)
           && absent_since(z, epoch);
}


uint64_t
fanout_absent(fanout_zone_t *z)
{
    return absent_mask(z) ^ z->shm->seq;
}


/* Returns 1 if no channel that was freed since then has lost entries from after
 * that time. */

static int
absent_since(fanout_zone_t *z, uint64_t epoch)
{
    uint64_t  seq;

    seq = absent_mask(z) ^ epoch;

    return seq <= z->shm->seq && seq >= z->shm->forgotten;
}


static uint64_t
absent_mask(fanout_zone_t *z)
{
    uint64_t            h[2];
    fanout_heap_shm_t  *heap;

    heap = &z->shm->heap;

    fanout_hash(z, &heap->incarnation, sizeof(heap->incarnation), NULL, 0,
                FANOUT_SALT_ABSENT, h);

    return h[0];
}


int
fanout_log_holds(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t epoch,
    uint64_t offset)
{
    int           holds;
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    ref = fanout_channel_find(z, c);
    holds = fanout_log_has(z, ref ? fanout_channel(z, ref) : NULL, epoch,
                           offset);

    fanout_leave(z);

    return holds;
}


static uint64_t
missed(fanout_zone_t *z, fanout_channel_block_t *ch, fanout_ref_t ref,
    unsigned pos)
{
    return ch->history
           - fanout_index_position(ch, fanout_index(z, ref), pos, z);
}


int
fanout_log_seek(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t before,
    uint32_t n, fanout_zone_join_t *j)
{
    unsigned                 pos;
    uint64_t                 end;
    fanout_ref_t             ref;
    fanout_channel_block_t  *ch;

    ref = enter_fresh(z, c);

    memset(j, 0, sizeof(fanout_zone_join_t));
    j->seq = z->shm->seq;

    if (ref == 0) {
        j->epoch = fanout_absent(z);
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    ch = fanout_channel(z, ref);

    j->epoch = ch->epoch;
    j->offset = ch->offset;
    j->after = ch->offset;

    end = ch->history;

    if (before) {
        ref = fanout_index_seek(z, ch, before - 1, &pos);

        if (ref) {
            end = fanout_index_position(ch, fanout_index(z, ref), pos, z);
        }
    }

    if (n > end) {
        n = end;
    }

    if (n) {
        j->older = end > n;
        ref = fanout_index_nth(z, ch, end - n, &pos);
        j->after = fanout_entry(z, fanout_index(z, ref)->refs[pos])->offset
                   - 1;
        j->missed = n;
    }

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


/* reading */

/* Copies an entry into the arena.  FULL if the arena can't grow; AGAIN if it
 * has to be emptied first; STALE if the chain is broken: only without the lock,
 * in a lost race. */

int
fanout_entry_copy(fanout_zone_t *z, fanout_ref_t ref, fanout_arena_t *a)
{
    uint32_t               size;
    fanout_entry_t        *to;
    fanout_chain_cursor_t  pen;

    to = &a->entries[a->n];

    if (entry_open(z, ref, &pen, to) != 0) {
        return FANOUT_ZONE_STALE;
    }

    size = to->event.len + to->key.len + to->user.len + to->meta.len
           + to->data.len;

    if (!fits(a, size)) {
        if (a->n) {
            return FANOUT_ZONE_AGAIN;
        }

        if (a->grow == NULL || a->grow(a, size) != 0) {
            return FANOUT_ZONE_FULL;
        }
    }

    to->event.data = a->bytes + a->used;
    to->key.data = to->event.data + to->event.len;
    to->user.data = to->key.data + to->key.len;
    to->meta.data = to->user.data + to->user.len;
    to->data.data = to->meta.data + to->meta.len;

    if (fanout_copy(&pen, a->bytes + a->used, size) != 0) {
        return FANOUT_ZONE_STALE;
    }

    a->used += size;
    a->n++;

    return FANOUT_ZONE_OK;
}


int
fanout_entry_data(fanout_zone_t *z, fanout_ref_t ref,
    fanout_chain_cursor_t *pen)
{
    fanout_entry_t  e;

    return entry_open(z, ref, pen, &e) == 0
           ? fanout_copy(pen, NULL, e.event.len + e.key.len + e.user.len
                                    + e.meta.len)
           : -1;
}


/* Reads all before the strings, where the cursor is left; nonzero if the chain
 * is broken. */

static int
entry_open(fanout_zone_t *z, fanout_ref_t ref, fanout_chain_cursor_t *pen,
    fanout_entry_t *to)
{
    fanout_entry_block_t  *e;

    e = fanout_entry(z, ref);

    copy_fixed(e, to);

    pen->z = z;
    pen->ref = ref;
    pen->pos = FANOUT_ENTRY_HEAD;
    pen->left = (to->event.len + to->key.len + to->user.len + to->data.len)
                / FANOUT_PAYLOAD + 65536 / FANOUT_PAYLOAD + 4;

    return copy_optional(pen, e->flags, to);
}


/* the fields of every entry, and the lengths of the strings */

static void
copy_fixed(const fanout_entry_block_t *e, fanout_entry_t *to)
{
    memset(to, 0, sizeof(fanout_entry_t));

    to->offset = e->offset;
    to->seq = e->seq;
    to->time = (uint64_t) e->time_high << 32 | e->time_low;
    to->type = e->type & 0x0f;
    to->kind = (e->type & ~FANOUT_TYPE_ANONYMOUS) >> FANOUT_TYPE_KIND;
    to->flags = e->flags
                & (FANOUT_NOECHO|FANOUT_TRANSIENT);

    if (e->type & FANOUT_TYPE_ANONYMOUS) {
        to->flags |= FANOUT_ANONYMOUS;
    }

    to->event.len = e->event;
    to->key.len = e->key;
    to->user.len = e->user;
    to->data.len = fanout_entry_size(e);
}


/* the optional fields before the strings; nonzero if the chain is broken */

static int
copy_optional(fanout_chain_cursor_t *pen, uint8_t flags, fanout_entry_t *to)
{
    uint16_t  meta;

    if (flags & FANOUT_LONG) {
        (void) fanout_copy(pen, NULL, 4);
    }

    if (flags & FANOUT_HAS_CLIENT && fanout_copy(pen, &to->client, 8) != 0) {
        return -1;
    }

    if (flags & FANOUT_HAS_META) {
        if (fanout_copy(pen, &meta, 2) != 0) {
            return -1;
        }

        to->meta.len = meta;
    }

    if (flags & FANOUT_HAS_RECIPIENT
        && (fanout_copy(pen, &to->to_client, 8) != 0
            || fanout_copy(pen, &to->to_user, 8) != 0))
    {
        return -1;
    }

    return 0;
}


static int
fits(fanout_arena_t *a, uint32_t size)
{
    return a->used + size <= a->size;
}


int
fanout_entry_read(fanout_zone_t *z, fanout_ref_t ref, uint64_t epoch,
    uint32_t n, size_t start, fanout_arena_t *a)
{
    int  rc;

    if (n == FANOUT_ZONE_ENTRIES || a->n == a->max
        || a->used - start > FANOUT_ZONE_COPY)
    {
        return FANOUT_ZONE_AGAIN;
    }

    if (fanout_entry_large(z, fanout_entry(z, ref))) {
        return n || a->n ? FANOUT_ZONE_AGAIN : FANOUT_ZONE_LARGE;
    }

    rc = fanout_entry_copy(z, ref, a);

    if (rc == FANOUT_ZONE_OK) {
        a->entries[a->n - 1].epoch = epoch;
    }

    return rc;
}


int
fanout_log_read(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t epoch,
    uint64_t after, uint64_t upto, fanout_arena_t *a, uint64_t *lost)
{
    int                      rc;
    size_t                   start;
    uint32_t                 n;
    uint64_t                 seq;
    unsigned                 pos;
    fanout_ref_t             channel, ref, entry;
    fanout_index_t          *ix;
    fanout_entry_block_t    *e;
    fanout_channel_block_t  *ch;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);

    if (channel == 0) {
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    ch = fanout_channel(z, channel);

    if (ch->epoch != epoch
        || (c->ref && c->incarnation != z->heap.incarnation))
    {
        fanout_leave(z);
        return FANOUT_ZONE_STALE;
    }

    *lost = fanout_cold(z, ch)->lost;
    ref = fanout_index_seek(z, ch, after, &pos);
    start = a->used;
    rc = FANOUT_ZONE_OK;

    for (n = 0; ref; n++) {
        ix = fanout_index(z, ref);
        entry = ix->refs[pos];
        e = fanout_entry(z, entry);

        if (e->offset > upto) {
            break;
        }

        rc = fanout_entry_read(z, entry, epoch, n, start, a);

        if (rc == FANOUT_ZONE_LARGE) {
            seq = e->seq;
            fanout_leave(z);
            return fanout_entry_read_large(z, c, epoch, after, entry, seq, a);
        }

        if (rc != FANOUT_ZONE_OK) {
            break;
        }

        if (ref == ch->index_last && pos + 1 == ch->fill) {
            break;
        }

        if (++pos == FANOUT_INDEX_REFS) {
            pos = 0;
            ref = ix->next;
        }
    }

    fanout_leave(z);

    return rc;
}


int
fanout_entry_read_large(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t after, fanout_ref_t entry, uint64_t seq,
    fanout_arena_t *a)
{
    int                      rc;
    size_t                   used;
    uint32_t                 n;
    unsigned                 pos, valid;
    fanout_ref_t             channel, ref;
    fanout_channel_block_t  *ch;

    n = a->n;
    used = a->used;

    rc = fanout_entry_copy(z, entry, a);

    (void) fanout_enter(z);

    valid = 0;
    channel = fanout_channel_find(z, c);

    if (channel) {
        ch = fanout_channel(z, channel);

        if (ch->epoch == epoch) {
            ref = fanout_index_seek(z, ch, after, &pos);

            valid = ref && fanout_index(z, ref)->refs[pos] == entry
                    && fanout_entry(z, entry)->seq == seq;
        }
    }

    fanout_leave(z);

    if (!valid) {
        a->n = n;
        a->used = used;
        return FANOUT_ZONE_AGAIN;
    }

    if (rc == FANOUT_ZONE_OK) {
        a->entries[a->n - 1].epoch = epoch;
        return FANOUT_ZONE_AGAIN;
    }

    return rc;
}
