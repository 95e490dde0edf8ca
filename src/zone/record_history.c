
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The changes of one record, which the history of its channel keeps.
 *
 * Each names the one before, so the record's are found without those of others.
 * Only what a record's last change does not tell is searched for, entry by
 * entry: the changes of a record that was deleted, and where to begin if the
 * caller names any offset.
 */


#include "zone/shelf.h"


/* work units of an entry that is looked at, and of one that is found by its
 * offset */
#define HISTORY_LOOK  3
#define HISTORY_FIND  16


typedef struct {
    fanout_zone_t           *z;
    const fanout_zstr_t     *id;
    fanout_channel_block_t  *ch;
    fanout_index_t          *ix;        /* NULL: there is no older entry */
    fanout_ref_t             index;
    fanout_ref_t             entry;
    unsigned                 pos;
} place_t;


static void place_find(place_t *p, uint64_t before);
static void place_back(place_t *p);
static void place_at(place_t *p, fanout_ref_t index, unsigned pos);
static uint64_t place_newest(place_t *p, fanout_ref_t channel,
    uint64_t before);
static int place_tells(place_t *p, uint64_t *prev);
static uint64_t place_next(uint64_t offset, uint64_t prev);
static void place_older(place_t *p, uint64_t offset, uint64_t prev);


int
fanout_record_history(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zstr_t *id, uint64_t epoch, uint64_t *before, uint32_t max,
    fanout_arena_t *a, uint32_t *seen)
{
    int           rc;
    size_t        start;
    place_t       p;
    uint32_t      n;
    uint64_t      prev, next, seq;
    fanout_ref_t  channel;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    *seen = 0;

    if (channel == 0 || fanout_channel(z, channel)->epoch != epoch) {
        fanout_leave(z);
        return channel ? FANOUT_ZONE_STALE : FANOUT_ZONE_NOTFOUND;
    }

    p.z = z;
    p.id = id;
    p.ch = fanout_channel(z, channel);
    start = a->used;
    n = 0;
    rc = FANOUT_ZONE_OK;

    *before = place_newest(&p, channel, *before);

    for (place_find(&p, *before); p.ix; /* void */ ) {

        if (!fanout_section_room(z)) {
            rc = FANOUT_ZONE_AGAIN;
            break;
        }

        next = fanout_entry(z, p.entry)->offset;
        z->heap.work += HISTORY_LOOK;
        (*seen)++;

        if (!place_tells(&p, &prev)) {
            *before = next;
            place_back(&p);
            continue;
        }

        if (n == max) {
            rc = FANOUT_ZONE_AGAIN;
            break;
        }

        seq = fanout_entry(z, p.entry)->seq;
        rc = fanout_entry_read(z, p.entry, epoch, n, start, a);

        if (rc == FANOUT_ZONE_LARGE) {
            fanout_leave(z);
            rc = fanout_entry_read_large(z, c, epoch, next - 1, p.entry, seq,
                                         a);
            *before = a->n ? place_next(next, prev) : *before;
            return rc;
        }

        if (rc != FANOUT_ZONE_OK) {
            break;
        }

        n++;
        *before = place_next(next, prev);
        place_older(&p, next, prev);
    }

    *before = rc == FANOUT_ZONE_OK ? 0 : *before;

    fanout_leave(z);

    return rc;
}


/* The last kept entry below an offset. */

static void
place_find(place_t *p, uint64_t before)
{
    unsigned      pos;
    fanout_ref_t  index;

    p->ix = NULL;

    if (p->ch->history == 0 || before == 0) {
        return;
    }

    p->z->heap.work += HISTORY_FIND;
    index = fanout_index_seek(p->z, p->ch, before - 1, &pos);

    if (index == 0) {
        place_at(p, p->ch->index_last, p->ch->fill - 1);
        return;
    }

    p->ix = fanout_index(p->z, index);
    p->index = index;
    p->pos = pos;

    place_back(p);
}


static void
place_at(place_t *p, fanout_ref_t index, unsigned pos)
{
    p->ix = fanout_index(p->z, index);
    p->index = index;
    p->pos = pos;
    p->entry = p->ix->refs[pos];
}


static void
place_back(place_t *p)
{
    if (p->index == p->ch->index_first && p->pos == p->ch->skip) {
        p->ix = NULL;

    } else if (p->pos) {
        place_at(p, p->index, p->pos - 1);

    } else {
        place_at(p, p->ix->prev, FANOUT_INDEX_REFS - 1);
    }
}


/* Where to begin: nothing behind the last change of a record that exists is
 * about it. */

static uint64_t
place_newest(place_t *p, fanout_ref_t channel, uint64_t before)
{
    uint64_t      last;
    fanout_ref_t  record;

    if (before == 0 || before > p->ch->offset) {
        before = p->ch->offset + 1;
    }

    record = fanout_record_find(p->z, channel, p->id);

    if (record) {
        last = fanout_record(p->z, record)->offset;
        before = last < before ? last + 1 : before;
    }

    return before;
}


/* Whether the entry is a change of the record; *prev is the offset of the one
 * before then, 0: it made the record. */

static int
place_tells(place_t *p, uint64_t *prev)
{
    uint8_t                 head[FANOUT_RECORD_HEAD], id[255];
    fanout_entry_block_t   *e;
    fanout_chain_cursor_t   pen;

    e = fanout_entry(p->z, p->entry);

    return (e->type & 0x0f) == FANOUT_RECORD
           && fanout_entry_data(p->z, p->entry, &pen) == 0
           && fanout_copy(&pen, head, sizeof(head)) == 0
           && fanout_record_head(head, prev) == p->id->len
           && fanout_copy(&pen, id, p->id->len) == 0
           && memcmp(id, p->id->data, p->id->len) == 0;
}


/* Where the caller goes on after a change.  An offset that is not below that of
 * the change is of an epoch before. */

static uint64_t
place_next(uint64_t offset, uint64_t prev)
{
    return prev && prev < offset ? prev + 1 : offset;
}


/* If the change before is not kept, nothing that is older is. */

static void
place_older(place_t *p, uint64_t offset, uint64_t prev)
{
    if (prev == 0) {
        place_back(p);
        return;
    }

    p->ix = NULL;

    if (prev < offset) {
        place_find(p, prev + 1);
    }

    if (p->ix && fanout_entry(p->z, p->entry)->offset != prev) {
        p->ix = NULL;
    }
}
