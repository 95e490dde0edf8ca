
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The log of a channel: appending, the stream that workers drain, the
 * history that joiners read.
 *
 * An entry is appended to the stream if some worker has an interest in the
 * channel, and to the history if the policy keeps any.  It leaves the
 * stream when every cursor has passed it, and the history when the policy
 * says so; out of both, it is freed.  Cursors compare by the zone's seq,
 * which never goes back, as offsets do when a channel is purged.
 */


#include <stdlib.h>

#include "ngx_http_fanout_heap.h"


typedef struct {
    fanout_ref_t  first;
    fanout_ref_t  last;
    uint32_t      blocks;
    unsigned      staged:1;
} draft_t;


/* what of a message is still to be written */

typedef struct {
    fanout_pen_t            pen;
    ngx_http_fanout_zstr_t  left[5];
} fill_t;


static uint32_t message_size(const ngx_http_fanout_zone_message_t *m);
static uint32_t size_blocks(uint32_t size);
static int stage(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_zone_message_t *m, unsigned n, draft_t *d);
static int stage_blocks(ngx_http_fanout_zone_t *z, draft_t *d,
    unsigned n, uint32_t blocks);
static int stage_fill(ngx_http_fanout_zone_t *z, const draft_t *d,
    const ngx_http_fanout_zone_message_t *m);
static void unstage(ngx_http_fanout_zone_t *z);
static int publish_locked(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_message_t *m, unsigned n,
    const ngx_http_fanout_zone_publish_t *opts, draft_t *d,
    ngx_http_fanout_zone_result_t *r);
static void compose(ngx_http_fanout_zone_t *z, const draft_t *d,
    const ngx_http_fanout_zone_message_t *m, fill_t *f);
static int fill(fill_t *f, size_t n);
static void append(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    const draft_t *d, const ngx_http_fanout_zone_message_t *m, uint8_t type,
    uint64_t time, uint32_t now);
static void stream_push(ngx_http_fanout_zone_t *z, fanout_channel_t *ch,
    fanout_ref_t ref);
static void history_push(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint32_t size, uint32_t blocks);
static void history_limit(ngx_http_fanout_zone_t *z, fanout_ref_t channel);
static fanout_ref_t index_append(ngx_http_fanout_zone_t *z,
    fanout_channel_t *ch);
static void bucket_move(ngx_http_fanout_zone_t *z, fanout_ref_t channel);
static void entry_release(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint8_t flag);
static void entry_free(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static void held_add(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    int blocks);
static void held_link(ngx_http_fanout_zone_t *z, fanout_ref_t channel);
static void held_unlink(ngx_http_fanout_zone_t *z, fanout_ref_t channel);
static uint64_t stream_min(ngx_http_fanout_zone_t *z, fanout_channel_t *ch);
static fanout_ref_t index_seek(ngx_http_fanout_zone_t *z,
    fanout_channel_t *ch, uint64_t after, unsigned *pos);
static fanout_ref_t index_nth(ngx_http_fanout_zone_t *z,
    fanout_channel_t *ch, uint64_t nth, unsigned *pos);
static uint64_t index_position(fanout_channel_t *ch, fanout_index_t *ix,
    unsigned pos, ngx_http_fanout_zone_t *z);
static fanout_ref_t enter_fresh(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c);
static int copy_entry(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    ngx_http_fanout_arena_t *a);
static int drain_channel(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    ngx_http_fanout_arena_t *a, uint32_t n, size_t start,
    fanout_ref_t *large);
static void tell_lost(ngx_http_fanout_zone_t *z, fanout_interest_t *in,
    ngx_http_fanout_arena_t *a);
static void put_gap(ngx_http_fanout_arena_t *a, fanout_interest_t *in,
    uint64_t epoch, uint64_t offset, uint64_t seq);
static int bounded(ngx_http_fanout_arena_t *a, uint32_t n, size_t start);
static int drain_large(ngx_http_fanout_zone_t *z, fanout_ref_t in,
    fanout_ref_t ref, ngx_http_fanout_arena_t *a);
static int read_large(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, uint64_t epoch, uint64_t after,
    fanout_ref_t entry, uint64_t seq, ngx_http_fanout_arena_t *a);
static int is_large(ngx_http_fanout_zone_t *z, fanout_entry_t *e);
static int fits(ngx_http_fanout_arena_t *a, uint32_t size);


/* sizes */

static uint32_t
message_size(const ngx_http_fanout_zone_message_t *m)
{
    return m->event.len + m->key.len + m->user.len + m->meta.len
           + m->data.len + (m->client ? 8 : 0) + (m->meta.len ? 2 : 0);
}


static uint32_t
size_blocks(uint32_t size)
{
    uint32_t  n;

    size += FANOUT_ENTRY_HEAD;

    if (size <= FANOUT_BLOCK) {
        return 1;
    }

    n = 1 + (size - FANOUT_BLOCK + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;

    if (n > FANOUT_LONG_BLOCKS) {
        size += 4;
        n = 1 + (size - FANOUT_BLOCK + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
    }

    return n;
}


uint32_t
fanout_entry_size(const fanout_entry_t *e)
{
    return (uint32_t) e->size_high << 16 | e->size_low;
}


uint32_t
fanout_entry_blocks(ngx_http_fanout_zone_t *z, const fanout_entry_t *e)
{
    uint32_t        size;
    uint16_t        meta;
    fanout_pen_t    pen;

    size = fanout_entry_size(e) + e->event + e->key + e->user;

    if (e->flags & FANOUT_HAS_CLIENT) {
        size += 8;
    }

    if (e->flags & FANOUT_HAS_META) {
        pen.z = z;
        pen.ref = ((const uint8_t *) e - z->base) / FANOUT_BLOCK;
        pen.pos = FANOUT_ENTRY_HEAD;
        pen.left = 1;

        (void) fanout_copy(&pen, NULL,
                           (e->flags & FANOUT_LONG ? 4 : 0)
                           + (e->flags & FANOUT_HAS_CLIENT ? 8 : 0));
        (void) fanout_copy(&pen, &meta, 2);

        size += 2 + meta;
    }

    return size_blocks(size);
}


/* publishing */

int
ngx_http_fanout_log_publish(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_message_t *m, unsigned n,
    const ngx_http_fanout_zone_publish_t *opts,
    ngx_http_fanout_zone_result_t *r)
{
    int       rc;
    draft_t   drafts[NGX_HTTP_FANOUT_ZONE_BATCH];
    uint32_t  total;
    unsigned  i, large;

    if (n == 0 || n > NGX_HTTP_FANOUT_ZONE_BATCH || c->name.len > 255) {
        return NGX_HTTP_FANOUT_ZONE_LARGE;
    }

    total = 0;

    for (i = 0; i < n; i++) {
        if (m[i].data.len > NGX_HTTP_FANOUT_ZONE_DATA
            || m[i].event.len > 255 || m[i].key.len > 255
            || m[i].user.len > 255 || m[i].meta.len > 65535)
        {
            return NGX_HTTP_FANOUT_ZONE_LARGE;
        }

        drafts[i].blocks = size_blocks(message_size(&m[i]));
        drafts[i].staged = 0;
        total += drafts[i].blocks;

        if (total > z->shm->nblocks / 2) {
            return NGX_HTTP_FANOUT_ZONE_LARGE;
        }
    }

    large = total > FANOUT_SLICE && z->slot != -1;

    if (large) {
        rc = stage(z, m, n, drafts);
        if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
            return rc;
        }

        total = 0;
    }

    (void) fanout_enter(z);

    if (large && z->shm->slots[z->slot].nstaged != n) {
        /* rebuilt in between */
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_STALE;
    }

    /* the channel, an index block an entry at most, a key */
    total += fanout_channel_blocks(c->name.len) + n + 1;

    rc = fanout_ensure(z, total);

    if (rc == NGX_HTTP_FANOUT_ZONE_OK) {
        rc = publish_locked(z, c, m, n, opts, drafts, r);
    }

    if (large && (rc != NGX_HTTP_FANOUT_ZONE_OK || r->duplicate)) {
        unstage(z);
    }

    fanout_leave(z);

    return rc;
}


static int
publish_locked(ngx_http_fanout_zone_t *z, ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_message_t *m, unsigned n,
    const ngx_http_fanout_zone_publish_t *opts, draft_t *d,
    ngx_http_fanout_zone_result_t *r)
{
    uint32_t           now;
    uint64_t           hash[2], scoped;
    fill_t             f;
    unsigned           i;
    fanout_key_t      *key;
    fanout_ref_t       ref;
    fanout_channel_t  *ch;

    ref = fanout_channel_find(z, c);

    if (ref == 0) {
        if (opts && opts->if_set && (opts->if_epoch || opts->if_offset)) {
            memset(r, 0, sizeof(ngx_http_fanout_zone_result_t));
            return NGX_HTTP_FANOUT_ZONE_CONFLICT;
        }

        ref = fanout_channel_make(z, c);
    }

    ch = fanout_channel(z, ref);

    r->epoch = ch->epoch;
    r->duplicate = 0;

    if (opts && opts->key.len) {
        scoped = ch->epoch ^ (opts->scope.len ? ~0ULL : 0);
        fanout_hash(z, opts->scope.data, opts->scope.len, opts->key.data,
                    opts->key.len, 4, hash);
        hash[0] ^= scoped;
        hash[1] ^= ch->epoch;       /* one key on many channels */

        i = fanout_key_find(z, hash);

        if (i) {
            key = fanout_key(z, i);
            r->offset = key->offset;
            r->time = key->time;
            r->duplicate = 1;
            return NGX_HTTP_FANOUT_ZONE_OK;
        }
    }

    if (opts && opts->if_set
        && (opts->if_offset != ch->offset
            || (opts->if_epoch && opts->if_epoch != ch->epoch)))
    {
        r->offset = ch->offset;
        r->time = 0;
        return NGX_HTTP_FANOUT_ZONE_CONFLICT;
    }

    now = fanout_seconds(z);
    r->time = fanout_wall(z);

    if (ch->interests == 0) {
        fanout_channel_touch(z, ref, now);
        (void) fanout_stream_trim(z, ref);
    }

    for (i = 0; i < n; i++) {
        if (d[i].blocks && !d[i].staged) {
            d[i].first = fanout_alloc(z, d[i].blocks, FANOUT_MESSAGES,
                                      &d[i].last);
            compose(z, &d[i], &m[i], &f);
            (void) fill(&f, SIZE_MAX);

        } else {
            fanout_set(z, z->shm->used[FANOUT_STAGED],
                       z->shm->used[FANOUT_STAGED] - d[i].blocks);
            fanout_set(z, z->shm->used[FANOUT_MESSAGES],
                       z->shm->used[FANOUT_MESSAGES] + d[i].blocks);
        }

        append(z, ref, &d[i], &m[i], NGX_HTTP_FANOUT_MESSAGE, r->time, now);
    }

    if (d[0].staged) {
        fanout_set(z, z->shm->slots[z->slot].nstaged, 0);
    }

    history_limit(z, ref);

    r->offset = ch->offset;

    if (opts && opts->key.len) {
        fanout_key_add(z, ref, hash, r->offset, r->time);
    }

    fanout_channel_settle(z, ref);

    return NGX_HTTP_FANOUT_ZONE_OK;
}


/* Takes the blocks in slices, each a transaction that lists them in the
 * slot, and fills them in slices: until they are linked nobody else looks at
 * them, and if this process dies they are freed with its slot. */

static int
stage(ngx_http_fanout_zone_t *z, const ngx_http_fanout_zone_message_t *m,
    unsigned n, draft_t *d)
{
    int       rc;
    unsigned  i;

    for (i = 0; i < n; i++) {
        d[i].staged = 1;
        d[i].first = d[i].last = 0;

        rc = stage_blocks(z, d, i, d[i].blocks);

        if (rc == NGX_HTTP_FANOUT_ZONE_OK) {
            rc = stage_fill(z, &d[i], &m[i]);
        }

        if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
            (void) fanout_enter(z);
            unstage(z);
            fanout_leave(z);
            return rc;
        }
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


static int
stage_fill(ngx_http_fanout_zone_t *z, const draft_t *d,
    const ngx_http_fanout_zone_message_t *m)
{
    int       more;
    fill_t    f;
    uint64_t  incarnation;

    incarnation = z->incarnation;
    more = -1;

    while (more) {
        (void) fanout_enter(z);

        if (incarnation != z->incarnation) {
            fanout_leave(z);
            return NGX_HTTP_FANOUT_ZONE_STALE;
        }

        if (more == -1) {
            compose(z, d, m, &f);
        }

        more = fill(&f, NGX_HTTP_FANOUT_ZONE_COPY);

        fanout_leave(z);
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


static int
stage_blocks(ngx_http_fanout_zone_t *z, draft_t *d, unsigned i,
    uint32_t blocks)
{
    uint32_t         n;
    uint64_t         incarnation;
    fanout_ref_t     first, last;
    fanout_slot_t   *slot;
    fanout_stage_t  *st;

    slot = &z->shm->slots[z->slot];
    st = &slot->staged[i];
    incarnation = z->incarnation;

    while (blocks) {
        n = blocks < FANOUT_SLICE ? blocks : FANOUT_SLICE;

        (void) fanout_enter(z);

        if (incarnation != z->incarnation) {
            fanout_leave(z);
            return NGX_HTTP_FANOUT_ZONE_STALE;
        }

        if (fanout_ensure(z, n) != NGX_HTTP_FANOUT_ZONE_OK) {
            fanout_leave(z);
            return NGX_HTTP_FANOUT_ZONE_FULL;
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

    return NGX_HTTP_FANOUT_ZONE_OK;
}


static void
unstage(ngx_http_fanout_zone_t *z)
{
    unsigned        i;
    fanout_slot_t  *slot;

    slot = &z->shm->slots[z->slot];

    for (i = 0; i < slot->nstaged; i++) {
        fanout_free(z, slot->staged[i].head, slot->staged[i].tail,
                    slot->staged[i].n, FANOUT_STAGED);
    }

    fanout_set(z, slot->nstaged, 0);
}


/* Writes the head of an entry that is not linked, and says what is to be
 * filled in behind it; the block numbers of the chain stay. */

static void
compose(ngx_http_fanout_zone_t *z, const draft_t *d,
    const ngx_http_fanout_zone_message_t *m, fill_t *f)
{
    uint16_t         len;
    fanout_pen_t    *pen;
    fanout_entry_t  *e;

    e = fanout_entry(z, d->first);

    e->next = 0;
    e->event = m->event.len;
    e->key = m->key.len;
    e->user = m->user.len;
    e->size_low = m->data.len & 0xffff;
    e->size_high = m->data.len >> 16;
    e->flags = m->flags & (NGX_HTTP_FANOUT_NOECHO|NGX_HTTP_FANOUT_TRANSIENT);

    pen = &f->pen;
    pen->z = z;
    pen->ref = d->first;
    pen->pos = FANOUT_ENTRY_HEAD;

    if (d->blocks > FANOUT_LONG_BLOCKS) {
        e->flags |= FANOUT_LONG;
        fanout_write(pen, &d->last, sizeof(fanout_ref_t));
    }

    if (m->client) {
        e->flags |= FANOUT_HAS_CLIENT;
        fanout_write(pen, &m->client, sizeof(uint64_t));
    }

    if (m->meta.len) {
        e->flags |= FANOUT_HAS_META;
        len = m->meta.len;
        fanout_write(pen, &len, sizeof(uint16_t));
    }

    f->left[0] = m->event;
    f->left[1] = m->key;
    f->left[2] = m->user;
    f->left[3] = m->meta;
    f->left[4] = m->data;
}


/* Writes at most n bytes of it; whether there is more. */

static int
fill(fill_t *f, size_t n)
{
    size_t                   part;
    unsigned                 i;
    ngx_http_fanout_zstr_t  *s;

    for (i = 0; i < 5; i++) {
        s = &f->left[i];
        part = s->len < n ? s->len : n;

        if (s->len == 0) {
            continue;
        }

        fanout_write(&f->pen, s->data, part);

        s->data += part;
        s->len -= part;
        n -= part;

        if (s->len) {
            return 1;
        }
    }

    return 0;
}


static void
append(ngx_http_fanout_zone_t *z, fanout_ref_t channel, const draft_t *d,
    const ngx_http_fanout_zone_message_t *m, uint8_t type, uint64_t time,
    uint32_t now)
{
    fanout_shm_t                  *shm;
    fanout_cold_t                 *cold;
    fanout_entry_t                *e;
    fanout_channel_t              *ch;
    ngx_http_fanout_zone_class_t  *class;

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
    e->type = type | m->kind << 4;

    class = &shm->classes[ch->class];
    fanout_set(z, class->messages, class->messages + 1);
    fanout_set(z, class->bytes, class->bytes + m->data.len);

    if (ch->interests) {
        e->flags |= FANOUT_IN_STREAM;
        stream_push(z, ch, d->first);
    }

    if (!(e->flags & NGX_HTTP_FANOUT_TRANSIENT)) {
        if (cold->policy_history) {
            e->flags |= FANOUT_IN_HISTORY;
            history_push(z, channel, d->first, m->data.len, d->blocks);
            return;
        }

        fanout_set(z, cold->lost, ch->offset);
    }

    if (e->flags & FANOUT_IN_STREAM) {
        held_add(z, channel, d->blocks);

    } else {
        fanout_free(z, d->first, d->last, d->blocks, FANOUT_MESSAGES);
    }
}


static void
stream_push(ngx_http_fanout_zone_t *z, fanout_channel_t *ch, fanout_ref_t ref)
{
    unsigned            reset;
    fanout_ref_t        i;
    fanout_interest_t  *in;

    reset = (fanout_entry(z, ref)->type & 0x0f) == NGX_HTTP_FANOUT_RESET;

    if (ch->stream_head == 0) {
        fanout_set(z, ch->stream_head, ref);

    } else {
        fanout_set(z, fanout_entry(z, ch->stream_tail)->next, ref);
    }

    fanout_set(z, ch->stream_tail, ref);

    for (i = ch->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        if (in->cursor == 0) {
            fanout_set(z, in->cursor, ref);
        }

        if (reset) {
            fanout_set(z, in->resets, in->resets + 1);
        }

        if (!in->dirty) {
            fanout_dirty(z, i);
        }
    }
}


static void
history_push(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint32_t size, uint32_t blocks)
{
    fanout_cold_t     *cold;
    fanout_index_t    *ix;
    fanout_channel_t  *ch;

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
}


static fanout_ref_t
index_append(ngx_http_fanout_zone_t *z, fanout_channel_t *ch)
{
    fanout_ref_t     ref;
    fanout_index_t  *ix, *prev, *jump, *far;

    ref = fanout_alloc(z, 1, FANOUT_INDEX, NULL);
    ix = fanout_index(z, ref);

    memset((uint8_t *) ix + 4, 0, sizeof(fanout_index_t) - 4);
    fanout_set(z, ix->next, 0);

    if (ch->index_last == 0) {
        ix->ord = 1;
        fanout_set(z, ch->index_first, ref);
        fanout_set(z, ch->skip, 0);

    } else {
        prev = fanout_index(z, ch->index_last);

        ix->ord = prev->ord + 1;
        ix->prev = ch->index_last;
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

        fanout_set(z, prev->next, ref);
    }

    fanout_set(z, ch->index_last, ref);
    fanout_set(z, ch->fill, 0);

    return ref;
}


static void
history_limit(ngx_http_fanout_zone_t *z, fanout_ref_t channel)
{
    uint32_t           n;
    fanout_cold_t     *cold;
    fanout_channel_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);

    n = 0;

    if (ch->history > cold->policy_history) {
        n = ch->history - cold->policy_history;
    }

    if (n) {
        /* more only after the policy shrank: the rest goes by and by */
        fanout_history_drop(z, channel, n < 2 * FANOUT_STEP ? n
                                                            : 2 * FANOUT_STEP);
    }

    for (n = 0;
         cold->policy_bytes && cold->bytes > cold->policy_bytes
         && ch->history && n < 2 * FANOUT_STEP && fanout_room(z);
         n++)
    {
        fanout_history_drop(z, channel, 1);
    }

    if (fanout_room(z)) {
        (void) fanout_history_expire(z, channel);
    }

    bucket_move(z, channel);
}


void
fanout_history_drop(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    uint32_t n)
{
    uint32_t           size, blocks;
    uint64_t           lost;
    fanout_ref_t       ref, first;
    fanout_cold_t     *cold;
    fanout_entry_t    *e;
    fanout_index_t    *ix;
    fanout_channel_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);

    if (n > ch->history) {
        n = ch->history;
    }

    if (n == 0) {
        return;
    }

    fanout_set(z, ch->history, ch->history - n);

    size = blocks = 0;
    lost = cold->lost;

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

        fanout_set(z, ix->refs[ch->skip], 0);
        fanout_set(z, ch->skip, ch->skip + 1);

        entry_release(z, channel, ref, FANOUT_IN_HISTORY);

        if (first == ch->index_last && ch->skip == ch->fill) {
            fanout_set(z, ch->index_first, 0);
            fanout_set(z, ch->index_last, 0);
            fanout_free(z, first, first, 1, FANOUT_INDEX);

        } else if (ch->skip == FANOUT_INDEX_REFS) {
            fanout_set(z, ch->index_first, ix->next);
            fanout_set(z, ch->skip, 0);
            fanout_free(z, first, first, 1, FANOUT_INDEX);
        }
    }

    fanout_set(z, cold->bytes, cold->bytes - size);
    fanout_set(z, cold->blocks, cold->blocks - blocks);
    fanout_set(z, cold->lost, lost);

    bucket_move(z, channel);
    fanout_channel_settle(z, channel);
}


int
fanout_history_expire(ngx_http_fanout_zone_t *z, fanout_ref_t channel)
{
    uint32_t           n, now, ttl;
    unsigned           pos;
    fanout_ref_t       ref;
    fanout_entry_t    *e;
    fanout_index_t    *ix;
    fanout_channel_t  *ch;

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


/* Channels with history are in lists by the power of two of its blocks, so
 * that a large one is found at once. */

static void
bucket_move(ngx_http_fanout_zone_t *z, fanout_ref_t channel)
{
    uint8_t            want;
    fanout_ref_t      *head;
    fanout_cold_t     *cold;
    fanout_channel_t  *ch;

    ch = fanout_channel(z, channel);
    cold = fanout_cold(z, ch);

    want = cold->blocks ? 32 - __builtin_clz(cold->blocks) : 0;

    if (want == cold->bucket) {
        return;
    }

    if (cold->bucket) {
        if (cold->bucket_next) {
            fanout_set(z, fanout_cold(z,
                       fanout_channel(z, cold->bucket_next))->bucket_prev,
                       cold->bucket_prev);
        }

        if (cold->bucket_prev) {
            fanout_set(z, fanout_cold(z,
                       fanout_channel(z, cold->bucket_prev))->bucket_next,
                       cold->bucket_next);

        } else {
            fanout_set(z, z->shm->bucket[cold->bucket - 1],
                       cold->bucket_next);
        }
    }

    fanout_set(z, cold->bucket, want);

    if (want) {
        head = &z->shm->bucket[want - 1];

        fanout_set(z, cold->bucket_next, *head);
        fanout_set(z, cold->bucket_prev, 0);

        if (*head) {
            fanout_set(z, fanout_cold(z,
                       fanout_channel(z, *head))->bucket_prev, channel);
        }

        fanout_set(z, *head, channel);
    }
}


/* Takes an entry out of the stream or the history. */

static void
entry_release(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint8_t flag)
{
    uint32_t         blocks;
    fanout_entry_t  *e;

    e = fanout_entry(z, ref);

    if (flag == FANOUT_IN_HISTORY && (e->flags & FANOUT_IN_STREAM)) {
        fanout_set(z, e->flags, e->flags & ~flag);
        held_add(z, channel, fanout_entry_blocks(z, e));
        return;
    }

    if (flag == FANOUT_IN_STREAM) {
        if (e->flags & FANOUT_IN_HISTORY) {
            fanout_set(z, e->flags, e->flags & ~flag);
            return;
        }

        blocks = fanout_entry_blocks(z, e);
        held_add(z, channel, -(int) blocks);
    }

    entry_free(z, ref);
}


static void
entry_free(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t         n;
    fanout_pen_t     pen;
    fanout_ref_t     last;
    fanout_entry_t  *e;

    e = fanout_entry(z, ref);
    n = fanout_entry_blocks(z, e);

    if (e->flags & FANOUT_LONG) {
        pen.z = z;
        pen.ref = ref;
        pen.pos = FANOUT_ENTRY_HEAD;
        pen.left = 1;
        (void) fanout_copy(&pen, &last, sizeof(fanout_ref_t));

    } else {
        for (last = ref;
             fanout_block(z, last)->next;
             last = fanout_block(z, last)->next) { /* void */ }
    }

    fanout_free(z, ref, last, n, FANOUT_MESSAGES);
}


/* Accounts for blocks that only the stream holds, and keeps the list of
 * channels that have such. */

static void
held_add(ngx_http_fanout_zone_t *z, fanout_ref_t channel, int blocks)
{
    uint32_t           was;
    fanout_shm_t      *shm;
    fanout_cold_t     *cold;

    shm = z->shm;
    cold = fanout_cold(z, fanout_channel(z, channel));
    was = cold->held;

    fanout_set(z, cold->held, was + blocks);
    fanout_set(z, shm->held, shm->held + blocks);

    if (was == 0 && cold->held) {
        held_link(z, channel);

    } else if (was && cold->held == 0) {
        held_unlink(z, channel);
    }
}


static void
held_link(ngx_http_fanout_zone_t *z, fanout_ref_t channel)
{
    fanout_shm_t   *shm;
    fanout_cold_t  *cold;

    shm = z->shm;
    cold = fanout_cold(z, fanout_channel(z, channel));

    fanout_set(z, cold->held_next, 0);
    fanout_set(z, cold->held_prev, shm->held_last);

    if (shm->held_last) {
        fanout_set(z, fanout_cold(z,
                   fanout_channel(z, shm->held_last))->held_next, channel);

    } else {
        fanout_set(z, shm->held_first, channel);
    }

    fanout_set(z, shm->held_last, channel);
}


static void
held_unlink(ngx_http_fanout_zone_t *z, fanout_ref_t channel)
{
    fanout_shm_t   *shm;
    fanout_cold_t  *cold;

    shm = z->shm;
    cold = fanout_cold(z, fanout_channel(z, channel));

    if (cold->held_next) {
        fanout_set(z, fanout_cold(z,
                   fanout_channel(z, cold->held_next))->held_prev,
                   cold->held_prev);

    } else {
        fanout_set(z, shm->held_last, cold->held_prev);
    }

    if (cold->held_prev) {
        fanout_set(z, fanout_cold(z,
                   fanout_channel(z, cold->held_prev))->held_next,
                   cold->held_next);

    } else {
        fanout_set(z, shm->held_first, cold->held_next);
    }
}


/* the stream */

static uint64_t
stream_min(ngx_http_fanout_zone_t *z, fanout_channel_t *ch)
{
    uint64_t            min;
    fanout_ref_t        i;
    fanout_interest_t  *in;

    min = UINT64_MAX;

    for (i = ch->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        if (in->cursor && in->seq < min) {
            min = in->seq;
        }
    }

    return min;
}


int
fanout_stream_trim(ngx_http_fanout_zone_t *z, fanout_ref_t channel)
{
    uint64_t           min;
    unsigned           n;
    fanout_ref_t       ref, next;
    fanout_cold_t     *cold;
    fanout_entry_t    *e;
    fanout_channel_t  *ch;

    ch = fanout_channel(z, channel);

    if (ch->stream_head == 0) {
        return 0;
    }

    min = stream_min(z, ch);
    ref = ch->stream_head;

    for (n = 0; ref && n < FANOUT_STEP; n++) {
        e = fanout_entry(z, ref);

        if (e->seq > min) {
            break;
        }

        next = e->next;
        entry_release(z, channel, ref, FANOUT_IN_STREAM);
        ref = next;
    }

    if (n) {
        fanout_set(z, ch->stream_head, ref);

        if (ref == 0) {
            fanout_set(z, ch->stream_tail, 0);
            fanout_channel_settle(z, channel);
        }

        /* it moves: those that do not come first when one is to be dropped */

        cold = fanout_cold(z, ch);

        if (cold->held && cold->held_next) {
            held_unlink(z, channel);
            held_link(z, channel);
        }
    }

    return n == FANOUT_STEP && ref;
}


int
fanout_stream_drop(ngx_http_fanout_zone_t *z)
{
    uint64_t            min;
    fanout_ref_t        i, head, channel, target;
    fanout_entry_t     *e;
    fanout_channel_t   *ch;
    fanout_interest_t  *in;

    channel = z->shm->held_first;

    if (channel == 0) {
        return 0;
    }

    ch = fanout_channel(z, channel);
    head = ch->stream_head;

    (void) fanout_stream_trim(z, channel);

    if (head != ch->stream_head) {
        return 1;
    }

    min = stream_min(z, ch);
    target = 0;

    if (ch->history) {
        target = fanout_index(z, ch->index_first)->refs[ch->skip];
        e = fanout_entry(z, target);

        if (!(e->flags & FANOUT_IN_STREAM) || e->seq <= min + 1) {
            target = 0;
        }
    }

    for (i = ch->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        if (in->cursor == 0 || in->seq != min) {
            continue;
        }

        if (target == in->cursor) {
            target = 0;
        }

        if (in->resets) {
            fanout_set(z, in->resets, 0);
            fanout_set(z, in->offset, 0);
        }

        fanout_set(z, in->cursor, target);
        fanout_set(z, in->lost, 1);
        fanout_set(z, in->seq, target ? fanout_entry(z, target)->seq - 1
                                      : z->shm->seq);

        if (!in->dirty) {
            fanout_dirty(z, i);
        }
    }

    fanout_set(z, z->shm->dropped, z->shm->dropped + 1);
    (void) fanout_stream_trim(z, channel);

    return 1;
}


/* Streams are trimmed by those who read them; this is for one whose last
 * reader died halfway. */

int
fanout_held_sweep(ngx_http_fanout_zone_t *z)
{
    int            more;
    unsigned       n;
    fanout_ref_t   channel, next;

    more = 0;
    channel = z->shm->held_first;

    for (n = 0; channel && n < 8; n++) {
        next = fanout_cold(z, fanout_channel(z, channel))->held_next;
        more |= fanout_stream_trim(z, channel);
        channel = next;
    }

    return more;
}


/* purging */

int
ngx_http_fanout_channel_purge(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, const uint8_t *reason, size_t len,
    ngx_http_fanout_zone_result_t *r)
{
    fill_t                           f;
    draft_t                          d;
    fanout_ref_t                     ref;
    fanout_cold_t                   *cold;
    fanout_index_t                  *ix;
    fanout_channel_t                *ch;
    ngx_http_fanout_zone_message_t   m;

    memset(&m, 0, sizeof(ngx_http_fanout_zone_message_t));
    m.data.data = reason;
    m.data.len = len < 1024 ? len : 1024;
    m.kind = NGX_HTTP_FANOUT_TEXT;
    m.flags = NGX_HTTP_FANOUT_TRANSIENT;

    d.blocks = size_blocks(message_size(&m));

    (void) fanout_enter(z);

    ref = fanout_channel_find(z, c);

    if (ref == 0) {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_NOTFOUND;
    }

    if (fanout_ensure(z, d.blocks) != NGX_HTTP_FANOUT_ZONE_OK) {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_FULL;
    }

    /* making room may have taken the channel */

    ref = fanout_channel_find(z, c);

    if (ref == 0) {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_NOTFOUND;
    }

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    if (ch->index_first) {
        ix = fanout_index(z, ch->index_first);
        fanout_set(z, ix->prev, ref);
        fanout_set(z, ix->jump, z->shm->doomed);
        fanout_set(z, z->shm->doomed, ch->index_first);

        fanout_set(z, ch->index_first, 0);
        fanout_set(z, ch->index_last, 0);
        fanout_set(z, ch->history, 0);
        fanout_set(z, cold->bytes, 0);
        fanout_set(z, cold->blocks, 0);
        bucket_move(z, ref);
    }

    fanout_set(z, ch->epoch, ch->epoch + 1);
    fanout_set(z, ch->offset, 0);
    fanout_set(z, cold->lost, 0);

    r->epoch = ch->epoch;
    r->offset = 0;
    r->duplicate = 0;
    r->time = fanout_wall(z);

    if (ch->interests) {
        d.first = fanout_alloc(z, d.blocks, FANOUT_MESSAGES, &d.last);
        compose(z, &d, &m, &f);
        (void) fill(&f, SIZE_MAX);
        append(z, ref, &d, &m, NGX_HTTP_FANOUT_RESET, r->time,
               fanout_seconds(z));

        /* a reset is the start of the epoch: it takes no offset */
        fanout_set(z, ch->offset, 0);
        fanout_entry(z, d.first)->offset = 0;
    }

    fanout_channel_settle(z, ref);
    fanout_leave(z);

    return NGX_HTTP_FANOUT_ZONE_OK;
}


int
fanout_doomed_free(ngx_http_fanout_zone_t *z)
{
    unsigned         i, n;
    fanout_ref_t     ref, channel;
    fanout_shm_t    *shm;
    fanout_index_t  *ix, *next;

    shm = z->shm;

    for (n = 0; shm->doomed && n < FANOUT_STEP; n += FANOUT_INDEX_REFS) {
        ref = shm->doomed;
        ix = fanout_index(z, ref);
        channel = ix->prev;

        for (i = 0; i < FANOUT_INDEX_REFS; i++) {
            if (ix->refs[i]) {
                entry_release(z, channel, ix->refs[i],
                              FANOUT_IN_HISTORY);
            }
        }

        if (ix->next) {
            next = fanout_index(z, ix->next);
            fanout_set(z, next->prev, channel);
            fanout_set(z, next->jump, ix->jump);
            fanout_set(z, shm->doomed, ix->next);

        } else {
            fanout_set(z, shm->doomed, ix->jump);
        }

        fanout_free(z, ref, ref, 1, FANOUT_INDEX);
    }

    return n != 0;
}


/* finding in the history */

/* The first kept entry with an offset above after: its index block and the
 * position in it; 0 if there is none. */

static fanout_ref_t
index_seek(ngx_http_fanout_zone_t *z, fanout_channel_t *ch, uint64_t after,
    unsigned *pos)
{
    unsigned         i, end;
    uint32_t         first;
    fanout_ref_t     ref;
    fanout_index_t  *ix;

#define head_offset(r)                                                        \
    fanout_entry(z, fanout_index(z, r)->refs[(r) == ch->index_first           \
                                             ? ch->skip : 0])->offset

    if (ch->history == 0) {
        return 0;
    }

    ref = ch->index_last;
    first = fanout_index(z, ch->index_first)->ord;

    /* back to the last block that starts at or below */

    while (ref != ch->index_first && head_offset(ref) > after) {
        ix = fanout_index(z, ref);

        if (ix->jump && ix->jump_ord >= first
            && head_offset(ix->jump) > after)
        {
            ref = ix->jump;

        } else {
            ref = ix->prev;
        }
    }

#undef head_offset

    for ( /* void */ ; ref; ref = ix->next) {
        ix = fanout_index(z, ref);

        i = ref == ch->index_first ? ch->skip : 0;
        end = ref == ch->index_last ? ch->fill : FANOUT_INDEX_REFS;

        for ( /* void */ ; i < end; i++) {
            if (fanout_entry(z, ix->refs[i])->offset > after) {
                *pos = i;
                return ref;
            }
        }
    }

    return 0;
}


/* The position of an entry counted from the oldest kept, which is 0. */

static uint64_t
index_position(fanout_channel_t *ch, fanout_index_t *ix, unsigned pos,
    ngx_http_fanout_zone_t *z)
{
    uint32_t  first;

    first = fanout_index(z, ch->index_first)->ord;

    return (uint64_t) (ix->ord - first) * FANOUT_INDEX_REFS + pos - ch->skip;
}


static fanout_ref_t
index_nth(ngx_http_fanout_zone_t *z, fanout_channel_t *ch, uint64_t nth,
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


/* Enters with the channel found and nothing too old in its history; a long
 * one is expired in many short sections. */

static fanout_ref_t
enter_fresh(ngx_http_fanout_zone_t *z, ngx_http_fanout_zone_channel_t *c)
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
ngx_http_fanout_log_join(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, int since, uint64_t epoch,
    uint64_t offset, uint32_t history, ngx_http_fanout_zone_join_t *j)
{
    unsigned           pos;
    fanout_ref_t       ref;
    fanout_channel_t  *ch;

    (void) enter_fresh(z, c);

    if (!fanout_channel_opened(z, c)) {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_STALE;
    }

    ch = fanout_channel(z, c->ref);

    j->epoch = ch->epoch;
    j->offset = ch->offset;
    j->after = ch->offset;
    j->seq = z->shm->seq;
    j->missed = 0;
    j->recovered = 0;

    if (since && epoch == ch->epoch && offset <= ch->offset
        && offset >= fanout_cold(z, ch)->lost)
    {
        j->recovered = 1;
        j->after = offset;
        ref = index_seek(z, ch, offset, &pos);

        if (ref) {
            j->missed = ch->history
                        - index_position(ch, fanout_index(z, ref), pos, z);
        }

    } else if (!since && history && ch->history) {
        if (history > ch->history) {
            history = ch->history;
        }

        ref = index_nth(z, ch, ch->history - history, &pos);
        j->after = fanout_entry(z, fanout_index(z, ref)->refs[pos])->offset
                   - 1;
        j->missed = history;
    }

    fanout_leave(z);

    return NGX_HTTP_FANOUT_ZONE_OK;
}


int
ngx_http_fanout_log_seek(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, uint64_t before, uint32_t n,
    ngx_http_fanout_zone_join_t *j)
{
    unsigned           pos;
    uint64_t           end;
    fanout_ref_t       ref;
    fanout_channel_t  *ch;

    ref = enter_fresh(z, c);

    if (ref == 0) {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_NOTFOUND;
    }

    ch = fanout_channel(z, ref);

    j->epoch = ch->epoch;
    j->offset = ch->offset;
    j->after = ch->offset;
    j->seq = z->shm->seq;
    j->missed = 0;
    j->recovered = 0;
    j->older = 0;

    end = ch->history;

    if (before) {
        ref = index_seek(z, ch, before - 1, &pos);

        if (ref) {
            end = index_position(ch, fanout_index(z, ref), pos, z);
        }
    }

    if (n > end) {
        n = end;
    }

    if (n) {
        j->older = end > n;
        ref = index_nth(z, ch, end - n, &pos);
        j->after = fanout_entry(z, fanout_index(z, ref)->refs[pos])->offset
                   - 1;
        j->missed = n;
    }

    fanout_leave(z);

    return NGX_HTTP_FANOUT_ZONE_OK;
}


/* reading */

/* Copies an entry into the arena.  FULL if the arena can't grow, AGAIN if it
 * has to be emptied first, STALE if the entry is none: only without the lock,
 * in a lost race. */

static int
copy_entry(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    ngx_http_fanout_arena_t *a)
{
    uint8_t                  *p;
    uint16_t                  meta;
    uint32_t                  size, head;
    fanout_pen_t              pen;
    fanout_entry_t           *e;
    ngx_http_fanout_entry_t  *to;

    e = fanout_entry(z, ref);
    to = &a->entries[a->n];
    memset(to, 0, sizeof(ngx_http_fanout_entry_t));

    to->offset = e->offset;
    to->seq = e->seq;
    to->time = (uint64_t) e->time_high << 32 | e->time_low;
    to->type = e->type & 0x0f;
    to->kind = e->type >> 4;
    to->flags = e->flags
                & (NGX_HTTP_FANOUT_NOECHO|NGX_HTTP_FANOUT_TRANSIENT);

    meta = 0;
    head = fanout_entry_size(e) + e->event + e->key + e->user;

    pen.z = z;
    pen.ref = ref;
    pen.pos = FANOUT_ENTRY_HEAD;
    pen.left = head / FANOUT_PAYLOAD + 65536 / FANOUT_PAYLOAD + 4;

    to->event.len = e->event;
    to->key.len = e->key;
    to->user.len = e->user;
    to->data.len = fanout_entry_size(e);

    if (e->flags & FANOUT_LONG) {
        (void) fanout_copy(&pen, NULL, 4);
    }

    if (e->flags & FANOUT_HAS_CLIENT) {
        if (fanout_copy(&pen, &to->client, 8) != 0) {
            return NGX_HTTP_FANOUT_ZONE_STALE;
        }
    }

    if (e->flags & FANOUT_HAS_META) {
        if (fanout_copy(&pen, &meta, 2) != 0) {
            return NGX_HTTP_FANOUT_ZONE_STALE;
        }
    }

    to->meta.len = meta;
    size = to->event.len + to->key.len + to->user.len + meta + to->data.len;

    if (!fits(a, size)) {
        if (a->n) {
            return NGX_HTTP_FANOUT_ZONE_AGAIN;
        }

        if (a->grow == NULL || a->grow(a, size) != 0) {
            return NGX_HTTP_FANOUT_ZONE_FULL;
        }
    }

    p = a->bytes + a->used;

    to->event.data = p;
    to->key.data = to->event.data + to->event.len;
    to->user.data = to->key.data + to->key.len;
    to->meta.data = to->user.data + to->user.len;
    to->data.data = to->meta.data + meta;

    if (fanout_copy(&pen, p, size) != 0) {
        return NGX_HTTP_FANOUT_ZONE_STALE;
    }

    a->used += size;
    a->n++;

    return NGX_HTTP_FANOUT_ZONE_OK;
}


static int
fits(ngx_http_fanout_arena_t *a, uint32_t size)
{
    return a->used + size <= a->size;
}


int
ngx_http_fanout_log_read(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, uint64_t epoch, uint64_t after,
    uint64_t upto, ngx_http_fanout_arena_t *a, uint64_t *lost)
{
    int                rc;
    size_t             start;
    uint32_t           n;
    uint64_t           seq;
    unsigned           pos;
    fanout_ref_t       channel, ref, entry;
    fanout_entry_t    *e;
    fanout_index_t    *ix;
    fanout_channel_t  *ch;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);

    if (channel == 0) {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_NOTFOUND;
    }

    ch = fanout_channel(z, channel);

    if (ch->epoch != epoch
        || (c->ref && c->incarnation != z->incarnation))
    {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_STALE;
    }

    *lost = fanout_cold(z, ch)->lost;
    ref = index_seek(z, ch, after, &pos);
    start = a->used;
    rc = NGX_HTTP_FANOUT_ZONE_OK;

    for (n = 0; ref; n++) {
        ix = fanout_index(z, ref);
        entry = ix->refs[pos];
        e = fanout_entry(z, entry);

        if (e->offset > upto) {
            break;
        }

        if (n == NGX_HTTP_FANOUT_ZONE_ENTRIES || a->n == a->max
            || a->used - start > NGX_HTTP_FANOUT_ZONE_COPY)
        {
            rc = NGX_HTTP_FANOUT_ZONE_AGAIN;
            break;
        }

        if (is_large(z, e)) {
            if (n || a->n) {
                rc = NGX_HTTP_FANOUT_ZONE_AGAIN;
                break;
            }

            seq = e->seq;
            fanout_leave(z);
            return read_large(z, c, epoch, after, entry, seq, a);
        }

        rc = copy_entry(z, entry, a);
        if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
            break;
        }

        a->entries[a->n - 1].epoch = epoch;

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


/* Copies without the lock and looks afterwards whether the entry was there
 * all the while. */

static int
read_large(ngx_http_fanout_zone_t *z, ngx_http_fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t after, fanout_ref_t entry, uint64_t seq,
    ngx_http_fanout_arena_t *a)
{
    int                rc;
    size_t             used;
    uint32_t           n;
    unsigned           pos, valid;
    fanout_ref_t       channel, ref;
    fanout_channel_t  *ch;

    n = a->n;
    used = a->used;

    rc = copy_entry(z, entry, a);

    (void) fanout_enter(z);

    valid = 0;
    channel = fanout_channel_find(z, c);

    if (channel) {
        ch = fanout_channel(z, channel);

        if (ch->epoch == epoch) {
            ref = index_seek(z, ch, after, &pos);

            valid = ref && fanout_index(z, ref)->refs[pos] == entry
                    && fanout_entry(z, entry)->seq == seq;
        }
    }

    fanout_leave(z);

    if (!valid) {
        a->n = n;
        a->used = used;
        return NGX_HTTP_FANOUT_ZONE_AGAIN;
    }

    if (rc == NGX_HTTP_FANOUT_ZONE_OK) {
        a->entries[a->n - 1].epoch = epoch;
        return NGX_HTTP_FANOUT_ZONE_AGAIN;
    }

    return rc;
}


int
ngx_http_fanout_log_drain(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_arena_t *a)
{
    int             rc;
    size_t          start;
    uint32_t        n;
    fanout_ref_t    in, large;
    fanout_slot_t  *slot;

    if (z->slot == -1) {
        return NGX_HTTP_FANOUT_ZONE_OK;
    }

    slot = &z->shm->slots[z->slot];

    __atomic_store_n(&slot->notified, 0, __ATOMIC_SEQ_CST);

    (void) fanout_enter(z);

    if (z->told != z->incarnation) {
        z->told = z->incarnation;
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_STALE;
    }

    n = a->n;
    start = a->used;
    rc = NGX_HTTP_FANOUT_ZONE_OK;

    while (rc == NGX_HTTP_FANOUT_ZONE_OK && (in = slot->dirty_head) != 0) {

        if (bounded(a, n, start) || !fanout_room(z)) {
            rc = NGX_HTTP_FANOUT_ZONE_AGAIN;
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
bounded(ngx_http_fanout_arena_t *a, uint32_t n, size_t start)
{
    return a->n - n >= NGX_HTTP_FANOUT_ZONE_ENTRIES || a->n == a->max
           || a->used - start > NGX_HTTP_FANOUT_ZONE_COPY;
}


/* too much to be copied under the lock */

static int
is_large(ngx_http_fanout_zone_t *z, fanout_entry_t *e)
{
    return fanout_entry_size(e) > NGX_HTTP_FANOUT_ZONE_COPY
           || (e->flags & FANOUT_HAS_META
               && fanout_entry_blocks(z, e)
                  > NGX_HTTP_FANOUT_ZONE_COPY / FANOUT_PAYLOAD);
}


static int
drain_channel(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    ngx_http_fanout_arena_t *a, uint32_t n, size_t start,
    fanout_ref_t *large)
{
    int                       rc;
    uint32_t                  resets;
    uint64_t                  epoch;
    fanout_ref_t              cursor;
    fanout_entry_t           *e, *last;
    fanout_channel_t         *ch;
    fanout_interest_t        *in;
    ngx_http_fanout_entry_t  *to;

    in = fanout_interest(z, ref);
    ch = fanout_channel(z, in->channel);

    if (in->lost) {
        tell_lost(z, in, a);
    }

    rc = NGX_HTTP_FANOUT_ZONE_OK;
    resets = in->resets;
    last = NULL;

    for (cursor = in->cursor; cursor; cursor = e->next) {
        e = fanout_entry(z, cursor);

        if (bounded(a, n, start) || (is_large(z, e) && a->n)) {
            rc = NGX_HTTP_FANOUT_ZONE_AGAIN;
            break;
        }

        if (is_large(z, e)) {
            *large = cursor;
            break;
        }

        to = &a->entries[a->n];
        rc = copy_entry(z, cursor, a);

        if (rc == NGX_HTTP_FANOUT_ZONE_AGAIN) {
            break;
        }

        if ((e->type & 0x0f) == NGX_HTTP_FANOUT_RESET) {
            resets--;
        }

        epoch = ch->epoch - resets;

        if (rc == NGX_HTTP_FANOUT_ZONE_OK) {
            to->local = in->local;
            to->epoch = epoch;

        } else {
            /* no memory could be had for it */
            put_gap(a, in, epoch, e->offset, e->seq);
            rc = NGX_HTTP_FANOUT_ZONE_OK;
        }

        last = e;
    }

    if (last) {
        fanout_set(z, in->cursor, cursor);
        fanout_set(z, in->seq, last->seq);
        fanout_set(z, in->offset, last->offset);

        if (resets != in->resets) {
            fanout_set(z, in->resets, resets);
        }

        (void) fanout_stream_trim(z, in->channel);
    }

    if (cursor == 0) {
        fanout_clean(z, ref);

    } else if (last) {
        /* let the other channels have their turn */
        fanout_dirty_last(z, ref);
    }

    return rc;
}


/* The cursor was moved.  Nothing to tell if all that was lost is told by the
 * reset that comes next. */

static void
tell_lost(ngx_http_fanout_zone_t *z, fanout_interest_t *in,
    ngx_http_fanout_arena_t *a)
{
    uint64_t           offset;
    fanout_entry_t    *e;
    fanout_channel_t  *ch;

    ch = fanout_channel(z, in->channel);
    offset = ch->offset;

    fanout_set(z, in->lost, 0);

    if (in->cursor) {
        e = fanout_entry(z, in->cursor);

        if ((e->type & 0x0f) == NGX_HTTP_FANOUT_RESET) {
            return;
        }

        offset = e->offset - 1;
    }

    put_gap(a, in, ch->epoch - in->resets, offset, in->seq);
    fanout_set(z, in->offset, offset);
}


static void
put_gap(ngx_http_fanout_arena_t *a, fanout_interest_t *in, uint64_t epoch,
    uint64_t offset, uint64_t seq)
{
    ngx_http_fanout_entry_t  *gap;

    gap = &a->entries[a->n++];
    memset(gap, 0, sizeof(ngx_http_fanout_entry_t));

    gap->type = NGX_HTTP_FANOUT_GAP;
    gap->local = in->local;
    gap->epoch = epoch;
    gap->from = in->offset;
    gap->offset = offset;
    gap->seq = seq;
}


/* The own cursor pins the entry while it is copied without the lock, unless
 * the cursor is moved because the zone is full. */

static int
drain_large(ngx_http_fanout_zone_t *z, fanout_ref_t ref, fanout_ref_t entry,
    ngx_http_fanout_arena_t *a)
{
    int                 rc;
    fanout_entry_t     *e;
    fanout_channel_t   *ch;
    fanout_interest_t  *in;

    /* a is empty */

    rc = copy_entry(z, entry, a);

    (void) fanout_enter(z);

    if (z->told != z->incarnation) {
        z->told = z->incarnation;
        a->n = a->used = 0;
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_STALE;
    }

    in = fanout_interest(z, ref);

    if (in->cursor != entry || in->lost || rc == NGX_HTTP_FANOUT_ZONE_STALE) {
        a->n = a->used = 0;
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_AGAIN;
    }

    ch = fanout_channel(z, in->channel);
    e = fanout_entry(z, entry);

    if (rc == NGX_HTTP_FANOUT_ZONE_OK) {
        a->entries[a->n - 1].local = in->local;
        a->entries[a->n - 1].epoch = ch->epoch - in->resets;

    } else {
        put_gap(a, in, ch->epoch - in->resets, e->offset, e->seq);
    }

    fanout_set(z, in->cursor, e->next);
    fanout_set(z, in->seq, e->seq);
    fanout_set(z, in->offset, e->offset);

    (void) fanout_stream_trim(z, in->channel);

    if (in->cursor == 0) {
        fanout_clean(z, ref);

    } else {
        fanout_dirty_last(z, ref);
    }

    fanout_leave(z);

    return NGX_HTTP_FANOUT_ZONE_AGAIN;
}
