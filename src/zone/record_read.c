
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records are read: one, or the next ones of a channel by slot.
 */


#include "zone/record_log.h"
#include "zone/shelf.h"


static void copy(fanout_zone_t *z, fanout_ref_t record, fanout_records_t *to);
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
    const fanout_zstr_t *prefix, uint64_t *cursor, unsigned max,
    fanout_records_t *to)
{
    int                     rc;
    size_t                  start;
    uint32_t                slot;
    fanout_ref_t            channel, shelf, ref;
    fanout_shelf_t         *s;
    fanout_record_block_t  *rec;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    shelf = channel ? fanout_shelf_of(z, channel) : 0;
    s = shelf ? fanout_shelf(z, shelf) : NULL;
    start = to->used;
    rc = FANOUT_ZONE_OK;

    position(z, channel, to);

    for (slot = *cursor; s; slot++) {
        ref = fanout_tree_next(z, s->root, s->depth, &slot, NULL);

        if (ref == 0) {
            break;
        }

        rec = fanout_record(z, ref);

        if (to->n == max || to->used - start >= FANOUT_ZONE_COPY
            || !record_fits(rec, to) || !fanout_section_room(z))
        {
            rc = FANOUT_ZONE_AGAIN;
            break;
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
        if (ix.refs[i] && !fanout_field(z, ix.refs[i])->unset) {
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
