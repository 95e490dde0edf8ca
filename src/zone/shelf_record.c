
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records on a shelf: found by id or by slot, and in the wheel of those that
 * expire.
 */


#include "heap/hash.h"
#include "heap/wheel.h"
#include "zone/share.h"
#include "zone/shelf.h"


#define FANOUT_SALT_RECORD   10         /* of fanout_hash() */


static uint64_t record_hash(fanout_zone_t *z, fanout_ref_t channel,
    const uint8_t *id, size_t len);
static int record_named(fanout_zone_t *z, const fanout_record_block_t *rec,
    const fanout_zstr_t *id);
static fanout_tree_t records_of(fanout_shelf_t *shelf);


static const fanout_hash_t  record_table = {
    .links.next = offsetof(fanout_record_block_t, hash_next),
    .table = offsetof(fanout_shm_t, record_hash),
    .mask = offsetof(fanout_shm_t, record_mask)
};

static const fanout_wheel_t  due_wheel = {
    .links.next = offsetof(fanout_record_block_t, due_next),
    .links.prev = offsetof(fanout_record_block_t, due_prev),
    .places = FANOUT_RECORDS_WHEEL
};


static uint64_t
record_hash(fanout_zone_t *z, fanout_ref_t channel, const uint8_t *id,
    size_t len)
{
    return fanout_hash_short(z, &channel, sizeof(channel), id, len,
                             FANOUT_SALT_RECORD);
}


fanout_ref_t
fanout_record_find(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zstr_t *id)
{
    fanout_ref_t            ref, shelf;
    fanout_record_block_t  *rec;

    shelf = fanout_shelf_of(z, channel);

    if (shelf == 0) {
        return 0;
    }

    ref = *fanout_hash_bucket(z, &record_table,
                              record_hash(z, channel, id->data, id->len));

    while (ref) {
        rec = fanout_record(z, ref);

        if (rec->shelf == shelf && rec->id_len == id->len) {
            __builtin_prefetch(fanout_block(z, rec->index));

            if (record_named(z, rec, id)) {
                return ref;
            }
        }

        ref = rec->hash_next;
    }

    return 0;
}


static int
record_named(fanout_zone_t *z, const fanout_record_block_t *rec,
    const fanout_zstr_t *id)
{
    uint8_t  buf[255];

    return memcmp(buf, id->data, fanout_record_id(z, rec, buf)) == 0;
}


uint8_t
fanout_record_id(fanout_zone_t *z, const fanout_record_block_t *rec,
    uint8_t *buf)
{
    fanout_chain_cursor_t  pen;

    pen.z = z;
    pen.ref = rec->chain;
    pen.pos = FANOUT_RECORD_ID;
    pen.left = 5;
    (void) fanout_copy(&pen, buf, rec->id_len);

    return rec->id_len;
}


static fanout_tree_t
records_of(fanout_shelf_t *shelf)
{
    fanout_tree_t  t;

    t.root = &shelf->root;
    t.depth = &shelf->depth;
    t.kind = FANOUT_RECORDS;

    return t;
}


fanout_ref_t
fanout_record_make(fanout_zone_t *z, fanout_ref_t shelf,
    const fanout_zstr_t *id, unsigned holder)
{
    uint32_t                n;
    unsigned                made;
    fanout_ref_t            ref;
    fanout_tree_t           tree;
    fanout_shelf_t         *s;
    fanout_chain_cursor_t   pen;
    fanout_record_block_t  *rec;

    s = fanout_shelf(z, shelf);
    n = fanout_record_chain(id->len);

    ref = fanout_alloc(z, n, FANOUT_RECORDS, NULL);
    rec = fanout_record(z, ref);

    memset((uint8_t *) rec + 4, 0, sizeof(fanout_record_block_t) - 4);

    rec->shelf = shelf;
    rec->version = s->floor;
    rec->floor = s->floor;
    rec->id_len = id->len;
    fanout_record_rest(z, ref)->holder = holder;

    pen.z = z;
    pen.ref = rec->chain;
    pen.pos = FANOUT_RECORD_ID;
    fanout_write(&pen, id->data, id->len);

    fanout_hash_add(z, &record_table,
                    record_hash(z, s->channel, id->data, id->len), ref,
                    FANOUT_NEW_RECORD);

    tree = records_of(s);
    rec->slot = fanout_tree_take(z, &tree, ref, &made);

    fanout_set(z, s->records, s->records + 1);
    fanout_set(z, z->shm->nrecords, z->shm->nrecords + 1);
    fanout_shelf_add(z, shelf, n + made);
    fanout_holder_add(z, FANOUT_SHARE_records, holder,
                      fanout_record_own(id->len));

    return ref;
}


void
fanout_record_free(fanout_zone_t *z, fanout_ref_t ref)
{
    uint8_t                 id[255];
    uint32_t                n, freed;
    fanout_ref_t            shelf;
    fanout_tree_t           tree;
    fanout_shelf_t         *s;
    fanout_record_block_t  *rec;

    rec = fanout_record(z, ref);
    shelf = rec->shelf;
    s = fanout_shelf(z, shelf);

    (void) fanout_record_id(z, rec, id);
    fanout_hash_remove(z, &record_table,
                       record_hash(z, s->channel, id, rec->id_len), ref);

    if (rec->due) {
        fanout_record_due(z, ref, 0);
    }

    if (rec->version > s->floor) {
        fanout_set(z, s->floor, rec->version);
    }

    fanout_set(z, s->bytes, s->bytes - rec->size);
    fanout_set(z, s->records, s->records - 1);
    fanout_set(z, z->shm->nrecords, z->shm->nrecords - 1);
    fanout_set(z, z->shm->record_bytes, z->shm->record_bytes - rec->size);

    tree = records_of(s);
    n = fanout_record_chain(rec->id_len);
    freed = n + fanout_fields_free(z, ref)
            + fanout_tree_return(z, &tree, rec->slot);

    fanout_holder_add(z, FANOUT_SHARE_records,
                      fanout_record_rest(z, ref)->holder,
                      -(int32_t) fanout_record_own(rec->id_len));
    fanout_free(z, ref, fanout_chain_last(z, ref), n, FANOUT_RECORDS);
    fanout_shelf_add(z, shelf, -(int32_t) freed);
    fanout_shelf_settle(z, shelf);
}


void
fanout_record_changed(fanout_zone_t *z, fanout_ref_t ref, uint64_t version,
    uint64_t offset, uint32_t ttl)
{
    fanout_record_block_t  *rec;

    rec = fanout_record(z, ref);

    fanout_set(z, rec->version, version);
    fanout_set(z, rec->offset, offset);

    if (version > z->shm->version_max) {
        fanout_set(z, z->shm->version_max, version);
    }

    fanout_shelf_stamp(z, rec->shelf, rec->slot, offset);

    if (ttl || rec->due) {
        fanout_record_due(z, ref,
                          ttl ? fanout_seconds(z) + ttl + 1 : 0);
    }
}


/* A record that is due beyond a turn of the wheel is moved on once a turn; the
 * wheel has then not turned to now. */

void
fanout_record_due(fanout_zone_t *z, fanout_ref_t ref, uint32_t due)
{
    int                     moved;
    fanout_shm_t           *shm;
    fanout_record_block_t  *rec;

    shm = z->shm;
    rec = fanout_record(z, ref);
    moved = rec->due != 0;

    if (moved) {
        fanout_wheel_remove(z, &due_wheel, shm->records_due, rec->place, ref);
        fanout_set(z, shm->nrecords_due, shm->nrecords_due - 1);
    }

    fanout_set(z, rec->due, due);

    if (due == 0) {
        return;
    }

    if (!moved && shm->nrecords_due == 0) {
        fanout_set(z, shm->records_at, fanout_seconds(z));
    }

    fanout_set(z, shm->nrecords_due, shm->nrecords_due + 1);
    fanout_set(z, rec->place,
               fanout_wheel_place(&due_wheel, due, shm->records_at));
    fanout_wheel_add(z, &due_wheel, shm->records_due, rec->place, ref,
                     FANOUT_OLD_RECORD);
}


fanout_ref_t
fanout_record_over(fanout_zone_t *z)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    return shm->nrecords_due ? fanout_wheel_turn(z, &due_wheel,
                                                 shm->records_due,
                                                 &shm->records_at,
                                                 fanout_seconds(z))
                             : 0;
}
