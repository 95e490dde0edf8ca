
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The check of a zone: shelves with their records and fields, and the wheel of
 * those that expire.
 */


#include "zone/shelf.h"
#include "zone/verify.h"


/* what was met of a shelf */

typedef struct {
    fanout_ref_t         shelf;
    uint32_t             records;
    uint32_t             blocks;
    uint64_t             bytes;
} sum_t;


static int verify_record(walk_t *w, fanout_ref_t ref, uint32_t slot,
    void *data);
static int verify_fields(walk_t *w, fanout_ref_t record, sum_t *sum);
static int verify_field(walk_t *w, fanout_ref_t ref, uint16_t hash,
    fanout_record_block_t *rec, sum_t *sum);


int
fanout_verify_shelf(walk_t *w, fanout_ref_t channel)
{
    sum_t            sum;
    fanout_ref_t     ref;
    fanout_shelf_t  *s;

    ref = fanout_shelf_of(w->z, channel);

    if (ref == 0) {
        return 0;
    }

    try (meet(w, ref, SEEN_SHELF, channel));
    w->used[FANOUT_RECORDS]++;

    s = fanout_shelf(w->z, ref);

    must_of(w, ref, s->channel == channel);
    must_of(w, ref, s->account == fanout_channel(w->z, channel)->account);
    must_of(w, ref, s->records || s->locks);
    must_of(w, ref, (s->root != 0) == (s->records != 0));
    must_of(w, ref, s->floor <= w->shm->version_max);

    memset(&sum, 0, sizeof(sum_t));
    sum.shelf = ref;
    sum.blocks = 1;

    if (s->root) {
        try (fanout_verify_tree(w, s->root, s->depth, 0, FANOUT_RECORDS,
                                verify_record, &sum, &sum.blocks));
    }

    try (fanout_verify_shelf_locks(w, ref, &sum.blocks));

    must_of(w, ref, sum.records == s->records);
    must_of(w, ref, sum.bytes == s->bytes);
    must_of(w, ref, sum.blocks == s->blocks);

    w->part[FANOUT_SHARE_records][s->account] += sum.blocks;
    w->records += sum.records;
    w->record_bytes += sum.bytes;

    return 0;
}


static int
verify_record(walk_t *w, fanout_ref_t ref, uint32_t slot, void *data)
{
    sum_t                  *sum;
    uint8_t                 id[255];
    uint32_t                n, holder;
    fanout_zstr_t           name;
    fanout_record_block_t  *rec;

    sum = data;

    try (meet(w, ref, SEEN_RECORD, sum->shelf));

    rec = fanout_record(w->z, ref);
    n = fanout_record_chain(rec->id_len);

    must_of(w, ref, rec->id_len);
    try (meet_rest(w, ref, 0, n, FANOUT_RECORDS));

    holder = fanout_record_rest(w->z, ref)->holder;
    must_of(w, ref, holder <= w->shm->holder_mask);
    w->holders[holder].records += fanout_record_own(rec->id_len);

    must_of(w, ref, rec->shelf == sum->shelf && rec->slot == slot);
    must_of(w, ref, rec->version >= rec->floor
                    && rec->version <= w->shm->version_max);

    name.data = id;
    name.len = fanout_record_id(w->z, rec, id);

    must_of(w, ref, fanout_record_find(w->z,
                                       fanout_shelf(w->z, sum->shelf)
                                       ->channel,
                                       &name)
                    == ref);

    sum->records++;
    sum->blocks += n;
    sum->bytes += rec->size;
    w->records_due += rec->due != 0;

    return verify_fields(w, ref, sum);
}


static int
verify_fields(walk_t *w, fanout_ref_t record, sum_t *sum)
{
    uint32_t                n, unset, size;
    unsigned                i;
    fanout_ref_t            ref;
    fanout_fields_t        *f;
    fanout_record_block_t  *rec;

    rec = fanout_record(w->z, record);
    n = unset = 0;
    size = sum->bytes;

    for (ref = rec->index; ref; ref = f->next) {
        try (meet(w, ref, SEEN_REST, record));
        w->used[FANOUT_RECORDS]++;
        sum->blocks++;

        f = fanout_fields(w->z, ref);

        for (i = 0; i < FANOUT_FIELDS_REFS; i++) {
            if (f->refs[i]) {
                try (verify_field(w, f->refs[i], f->hash[i], rec, sum));
                n++;
                unset += fanout_field(w->z, f->refs[i])->size == 0;
            }
        }
    }

    /* verify_field() took the bytes off the sum */

    must_of(w, record, size - (uint32_t) sum->bytes == rec->size);
    sum->bytes += rec->size;

    must_of(w, record, n - unset == rec->fields);
    must_of(w, record, unset == (rec->unset & ~FANOUT_RECORD_FORGOT));
    must_of(w, record, unset <= FANOUT_UNSET_KEPT);

    return 0;
}


static int
verify_field(walk_t *w, fanout_ref_t ref, uint16_t hash,
    fanout_record_block_t *rec, sum_t *sum)
{
    uint8_t                name[255];
    uint32_t               n;
    fanout_ref_t           tail, last;
    fanout_zstr_t          text;
    fanout_field_block_t  *f;

    try (meet(w, ref, SEEN_FIELD, 0));

    f = fanout_field(w->z, ref);
    n = fanout_field_size(f);

    try (meet_rest(w, ref, 0, n, FANOUT_RECORDS));

    must_of(w, ref, f->name && f->holder <= w->shm->holder_mask);
    must_of(w, ref, f->version && f->version <= rec->version);

    tail = fanout_field_tail(w->z, ref);
    must_of(w, ref, f->size == 0 || tail == f->tail);

    last = fanout_chain_last(w->z, f->tail);
    must_of(w, ref, last == fanout_chain_last(w->z, ref));

    text.data = name;
    text.len = f->name;
    fanout_field_name(w->z, ref, name);
    must_of(w, ref, fanout_field_hash(w->z, &text) == hash);

    sum->blocks += n;
    w->holders[f->holder].records += n;

    if (f->size) {
        sum->bytes -= f->name + f->size;
    }

    return 0;
}


int
fanout_verify_records(walk_t *w)
{
    uint32_t                i, n;
    fanout_ref_t            ref, prev;
    fanout_record_block_t  *rec;

    must(w, w->records == w->shm->nrecords);
    must(w, w->record_bytes == w->shm->record_bytes);
    must(w, w->records_due == w->shm->nrecords_due);
    must(w, w->shm->records_floor <= w->shm->version_max);

    n = 0;

    for (i = 0; i < FANOUT_RECORDS_WHEEL; i++) {
        prev = 0;

        for (ref = w->shm->records_due[i]; ref; ref = rec->due_next) {
            must_of(w, ref, met(w, ref, SEEN_RECORD) && n++ < w->records_due);
            rec = fanout_record(w->z, ref);
            must_of(w, ref, rec->due && rec->place == i
                            && rec->due_prev == prev);
            prev = ref;
        }
    }

    must(w, n == w->records_due);

    return 0;
}
