
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records are read: one, or the next ones of a channel by slot.
 */


#include "zone/record_log.h"
#include "zone/shelf.h"


#define RECORD_MIX  0x9e3779b97f4a7c15ULL       /* odd: a step of a digest */


static void copy(fanout_zone_t *z, fanout_ref_t record, fanout_records_t *to);
static fanout_shelf_t *shelf_find(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_records_t *to);
static void digest(fanout_zone_t *z, uint32_t slot, fanout_ref_t leaf,
    fanout_records_t *to);
static int record_fits(const fanout_record_block_t *rec,
    const fanout_records_t *to);
static int begins(fanout_zone_t *z, const fanout_record_block_t *rec,
    const fanout_zstr_t *prefix);
static void position(fanout_zone_t *z, fanout_ref_t channel,
    fanout_records_t *to);


int
fanout_record_get(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zstr_t *id, fanout_records_t *to)
{
    fanout_ref_t  channel, record;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    record = channel ? fanout_record_find(z, channel, id) : 0;

    position(z, channel, to);

    if (record) {
        copy(z, record, to);
    }

    fanout_leave(z);

    return record ? FANOUT_ZONE_OK : FANOUT_ZONE_NOTFOUND;
}


int
fanout_record_list(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zstr_t *prefix, uint64_t *cursor, uint64_t last, unsigned max,
    fanout_records_t *to)
{
    int                     rc;
    size_t                  start;
    uint32_t                slot;
    fanout_ref_t            ref, leaf, met;
    fanout_shelf_t         *s;
    fanout_record_block_t  *rec;

    (void) fanout_enter(z);

    s = shelf_find(z, c, to);
    s = *cursor <= UINT32_MAX ? s : NULL;
    start = to->used;
    met = 0;
    rc = FANOUT_ZONE_OK;

    for (slot = *cursor; s; slot++) {
        ref = fanout_tree_next(z, s->root, s->depth, &slot, &leaf);

        if (ref == 0) {
            break;
        }

        rec = fanout_record(z, ref);

        if (last && slot >= last) {
            slot = last;
            rc = FANOUT_ZONE_AGAIN;
            break;
        }

        if (to->n == max || to->used - start >= FANOUT_ZONE_COPY
            || !record_fits(rec, to) || !fanout_section_room(z))
        {
            rc = FANOUT_ZONE_AGAIN;
            break;
        }

        if (leaf != met) {
            digest(z, slot, leaf, to);
            met = leaf;
        }

        z->heap.work += 2;
        to->seen++;

        if (begins(z, rec, prefix)) {
            copy(z, ref, to);
        }
    }

    *cursor = rc == FANOUT_ZONE_AGAIN ? slot : 0;

    fanout_leave(z);

    return rc;
}


void
fanout_record_digest(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t first, uint64_t last, fanout_records_t *to)
{
    uint32_t         slot;
    fanout_ref_t     leaf;
    fanout_shelf_t  *s;

    (void) fanout_enter(z);

    s = shelf_find(z, c, to);

    for (slot = first; s; slot += FANOUT_TABLE_REFS - slot % FANOUT_TABLE_REFS)
    {
        if (fanout_tree_next(z, s->root, s->depth, &slot, &leaf) == 0
            || (last && slot >= last))
        {
            break;
        }

        digest(z, slot, leaf, to);
    }

    fanout_leave(z);
}


/* Finds the shelf of a channel, NULL: it has none; to gets the position. */

static fanout_shelf_t *
shelf_find(fanout_zone_t *z, fanout_zone_channel_t *c, fanout_records_t *to)
{
    fanout_ref_t  channel, shelf;

    channel = fanout_channel_find(z, c);
    shelf = channel ? fanout_shelf_of(z, channel) : 0;

    position(z, channel, to);

    return shelf ? fanout_shelf(z, shelf) : NULL;
}


/* A change stores another stamp into its table.  Records that are cleared
 * without that leave fewer, and a table that is made again has a new stamp. */

static void
digest(fanout_zone_t *z, uint32_t slot, fanout_ref_t leaf,
    fanout_records_t *to)
{
    uint64_t         h;
    fanout_table_t  *t;

    t = fanout_table(z, leaf);
    h = to->digest;

    h = (h ^ (slot / FANOUT_TABLE_REFS)) * RECORD_MIX;
    h = (h ^ h >> 32 ^ t->n) * RECORD_MIX;
    h = (h ^ h >> 32 ^ t->stamp) * RECORD_MIX;

    to->digest = h ^ h >> 32;
}


static int
record_fits(const fanout_record_block_t *rec, const fanout_records_t *to)
{
    return to->used == 0
           || to->used + rec->size + FANOUT_ZONE_RECORD_SIZE
              - FANOUT_ZONE_RECORD
              <= to->size;
}


static int
begins(fanout_zone_t *z, const fanout_record_block_t *rec,
    const fanout_zstr_t *prefix)
{
    uint8_t  id[255];

    if (prefix->len == 0) {
        return 1;
    }

    return prefix->len <= rec->id_len
           && fanout_record_id(z, rec, id) >= prefix->len
           && memcmp(id, prefix->data, prefix->len) == 0;
}


static void
copy(fanout_zone_t *z, fanout_ref_t record, fanout_records_t *to)
{
    uint8_t                 id[255];
    unsigned                i;
    fanout_record_pen_t     pen;
    fanout_field_index_t    ix;
    fanout_record_block_t  *rec;

    rec = fanout_record(z, record);

    fanout_record_begin(&pen, to, id, fanout_record_id(z, rec, id));
    fanout_field_load(z, record, &ix);

    for (i = 0; i < ix.n; i++) {
        if (ix.refs[i] && fanout_field(z, ix.refs[i])->size) {
            fanout_record_field(z, &pen, ix.refs[i], 0);
        }
    }

    fanout_record_end(&pen, rec->version, rec->offset, 0, 0);
}


static void
position(fanout_zone_t *z, fanout_ref_t channel, fanout_records_t *to)
{
    fanout_zone_result_t  r;

    fanout_record_position(z, channel, &r);

    to->epoch = r.epoch;
    to->offset = r.offset;
}
