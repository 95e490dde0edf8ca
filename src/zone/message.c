
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A message is written into the blocks of an entry.
 */


#include "zone/log.h"
#include "zone/publish.h"


uint32_t
fanout_message_blocks(const fanout_zone_message_t *m)
{
    return fanout_size_blocks(fanout_message_size(m));
}


void
fanout_message_compose(fanout_zone_t *z, const fanout_draft_t *d,
    const fanout_zone_message_t *m, fanout_fill_t *f)
{
    uint16_t                len;
    fanout_entry_block_t   *e;
    fanout_chain_cursor_t  *pen;

    e = fanout_entry(z, d->first);

    e->next = 0;
    e->event = m->event.len;
    e->key = m->key.len;
    e->user = m->user.len;
    e->size_low = m->data.len & 0xffff;
    e->size_high = m->data.len >> 16;
    e->flags = m->flags & (FANOUT_NOECHO|FANOUT_TRANSIENT);

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

    if (fanout_message_direct(m)) {
        e->flags |= FANOUT_HAS_RECIPIENT;
        fanout_write(pen, &m->to_client, sizeof(uint64_t));
        fanout_write(pen, &m->to_user, sizeof(uint64_t));
    }

    f->left[0] = m->event;
    f->left[1] = m->key;
    f->left[2] = m->user;
    f->left[3] = m->meta;
    f->left[4] = m->data;
}


int
fanout_message_fill(fanout_fill_t *f, size_t n)
{
    size_t          part;
    unsigned        i;
    fanout_zstr_t  *s;

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


fanout_ref_t
fanout_message_write(fanout_zone_t *z, const fanout_zone_message_t *m,
    uint32_t blocks, fanout_kind_e kind, fanout_ref_t *last)
{
    fanout_fill_t   f;
    fanout_draft_t  d;

    d.blocks = blocks;
    d.first = fanout_alloc(z, blocks, kind, &d.last);
    fanout_message_compose(z, &d, m, &f);
    (void) fanout_message_fill(&f, SIZE_MAX);

    *last = d.last;

    return d.first;
}


int
fanout_draft_fill(fanout_zone_t *z, const fanout_draft_t *d,
    const fanout_zone_message_t *m)
{
    int            more;
    uint64_t       incarnation;
    fanout_fill_t  f;

    incarnation = z->heap.incarnation;
    more = -1;

    while (more) {
        (void) fanout_enter(z);

        if (incarnation != z->heap.incarnation) {
            fanout_leave(z);
            return FANOUT_ZONE_STALE;
        }

        if (more == -1) {
            fanout_message_compose(z, d, m, &f);
        }

        more = fanout_message_fill(&f, FANOUT_ZONE_COPY);

        fanout_leave(z);
    }

    return FANOUT_ZONE_OK;
}
