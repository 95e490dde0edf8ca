
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The fields of a record: each is a chain of its own, so that a change costs
 * what it changes.  The index of a record has their refs.
 *
 *   record --index--> fields{refs, hash} --> fields{...}
 *                       |
 *                     field: version, name, value, user
 */


#include "zone/share.h"
#include "zone/shelf.h"


#define FANOUT_SALT_FIELD    11         /* of fanout_hash() */
#define FANOUT_CHUNK         256        /* bytes compared at once */


/* where a field is read or written */

typedef struct {
    fanout_chain_cursor_t  pen;
    fanout_ref_t           tail;        /* block of the last byte of the
                                           value */
} text_t;


/* What an append writes, in this order: a comma, the elements, a bracket, the
 * user. */

#define FANOUT_PARTS         4
#define FANOUT_PART_END      2          /* the bracket */

typedef struct {
    fanout_zstr_t          parts[FANOUT_PARTS];
    fanout_ref_t           tail;        /* that is new; 0: as it was */
} append_t;


static fanout_chain_cursor_t field_at(fanout_zone_t *z, fanout_ref_t field,
    size_t skip);
static void write_tail(text_t *t, const fanout_field_text_t *text);
static uint32_t tail_at(const fanout_field_block_t *f);
static void overwrite(fanout_zone_t *z, fanout_ref_t block, uint32_t at,
    const uint8_t *p, uint32_t n);
static void append_begin(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_field_text_t *text, append_t *a);
static void append_tail(fanout_zone_t *z, const fanout_field_block_t *f,
    append_t *a);
static void free_rest(fanout_zone_t *z, fanout_ref_t tail);
static fanout_ref_t append_rest(fanout_zone_t *z, append_t *a);
static void unset_versions(fanout_zone_t *z, const fanout_field_index_t *ix,
    uint64_t *version);
static unsigned oldest_unset(const fanout_field_index_t *ix,
    const uint64_t *version);
static uint32_t field_drop(fanout_zone_t *z, fanout_ref_t record,
    fanout_field_index_t *ix, unsigned place);
static void field_count(fanout_zone_t *z, const fanout_field_block_t *f,
    int more);
static uint32_t field_free(fanout_zone_t *z, fanout_ref_t ref);
static fanout_ref_t *place_of(fanout_zone_t *z, fanout_ref_t record,
    unsigned place, uint16_t **hash);


uint16_t
fanout_field_hash(fanout_zone_t *z, const fanout_zstr_t *name)
{
    return fanout_hash_short(z, name->data, name->len, NULL, 0,
                             FANOUT_SALT_FIELD);
}


/* the index */

void
fanout_field_load(fanout_zone_t *z, fanout_ref_t record,
    fanout_field_index_t *ix)
{
    fanout_ref_t      ref;
    fanout_fields_t  *f;

    ix->n = 0;

    if (record == 0) {
        return;
    }

    for (ref = fanout_record(z, record)->index; ref; ref = f->next) {
        f = fanout_fields(z, ref);

        memcpy(&ix->refs[ix->n], f->refs, sizeof(f->refs));
        memcpy(&ix->hash[ix->n], f->hash, sizeof(f->hash));
        ix->n += FANOUT_FIELDS_REFS;
    }
}


unsigned
fanout_field_find(fanout_zone_t *z, const fanout_field_index_t *ix,
    const fanout_zstr_t *name, uint16_t hash)
{
    uint8_t                buf[255];
    unsigned               i;
    fanout_field_block_t  *f;

    for (i = 0; i < ix->n; i++) {

        if (ix->hash[i] != hash || ix->refs[i] == 0) {
            continue;
        }

        f = fanout_field(z, ix->refs[i]);

        if (f->name != name->len) {
            continue;
        }

        __builtin_prefetch(fanout_block(z, f->chain));
        __builtin_prefetch(fanout_block(z, f->tail));

        fanout_field_name(z, ix->refs[i], buf);

        if (memcmp(buf, name->data, name->len) == 0) {
            return i;
        }
    }

    return ix->n;
}


static fanout_ref_t *
place_of(fanout_zone_t *z, fanout_ref_t record, unsigned place,
    uint16_t **hash)
{
    fanout_ref_t      ref;
    fanout_fields_t  *f;

    f = fanout_fields(z, fanout_record(z, record)->index);

    for ( /* void */ ; place >= FANOUT_FIELDS_REFS;
         place -= FANOUT_FIELDS_REFS)
    {
        ref = f->next;
        f = fanout_fields(z, ref);
    }

    *hash = &f->hash[place];

    return &f->refs[place];
}


int32_t
fanout_field_put(fanout_zone_t *z, fanout_ref_t record,
    fanout_field_index_t *ix, unsigned place, fanout_ref_t field,
    uint16_t hash)
{
    int32_t           n;
    uint16_t         *h;
    fanout_ref_t     *ref, block;
    fanout_fields_t  *f;

    n = 0;

    if (place == ix->n) {

        for (place = 0; place < ix->n && ix->refs[place]; place++) {
            /* void */
        }
    }

    if (place == ix->n) {
        block = fanout_alloc(z, 1, FANOUT_RECORDS, NULL);
        f = fanout_fields(z, block);
        memset((uint8_t *) f + 4, 0, sizeof(fanout_fields_t) - 4);

        if (place == 0) {
            fanout_set(z, fanout_record(z, record)->index, block);

        } else {
            ref = place_of(z, record, place - FANOUT_FIELDS_REFS, &h);
            f = fanout_fields(z, ((uint8_t *) ref - z->heap.base)
                                 / FANOUT_BLOCK);
            fanout_set(z, f->next, block);
        }

        memset(&ix->refs[place], 0, FANOUT_FIELDS_REFS * sizeof(fanout_ref_t));
        ix->n += FANOUT_FIELDS_REFS;
        n = 1;
    }

    ref = place_of(z, record, place, &h);

    if (*ref) {
        n -= field_free(z, *ref);
    }

    fanout_set(z, *ref, field);
    field_count(z, fanout_field(z, field), 1);

    if (*h != hash) {
        fanout_set(z, *h, hash);
    }

    ix->refs[place] = field;
    ix->hash[place] = hash;

    return n;
}


int32_t
fanout_field_forget(fanout_zone_t *z, fanout_ref_t record,
    fanout_field_index_t *ix, int32_t more)
{
    int32_t                 n, unset;
    uint64_t                version[FANOUT_FIELDS_MOST + FANOUT_FIELDS_REFS];
    uint64_t                floor;
    unsigned                oldest;
    fanout_record_block_t  *rec;

    rec = fanout_record(z, record);
    unset = (rec->unset & ~FANOUT_RECORD_FORGOT) + more;

    if (unset <= FANOUT_UNSET_KEPT) {

        if (more) {
            fanout_set(z, rec->unset, rec->unset + more);
        }

        return 0;
    }

    unset_versions(z, ix, version);
    floor = rec->floor;

    for (n = 0; unset > FANOUT_UNSET_KEPT; unset--) {
        oldest = oldest_unset(ix, version);

        if (version[oldest] > floor) {
            floor = version[oldest];
        }

        version[oldest] = 0;
        n -= field_drop(z, record, ix, oldest);
    }

    fanout_set(z, rec->floor, floor);
    fanout_set(z, rec->unset, unset | FANOUT_RECORD_FORGOT);

    return n;
}


/* Of each place, the version of a field that is unset, or 0. */

static void
unset_versions(fanout_zone_t *z, const fanout_field_index_t *ix,
    uint64_t *version)
{
    unsigned               i;
    fanout_field_block_t  *f;

    for (i = 0; i < ix->n; i++) {
        version[i] = 0;

        if (ix->refs[i]) {
            f = fanout_field(z, ix->refs[i]);
            version[i] = f->size ? 0 : f->version;
        }
    }
}


static unsigned
oldest_unset(const fanout_field_index_t *ix, const uint64_t *version)
{
    unsigned  i, oldest;

    for (i = 0, oldest = ix->n; i < ix->n; i++) {
        if (version[i]
            && (oldest == ix->n || version[i] < version[oldest]))
        {
            oldest = i;
        }
    }

    return oldest;
}


/* Frees the field in a place.  Returns its blocks. */

static uint32_t
field_drop(fanout_zone_t *z, fanout_ref_t record, fanout_field_index_t *ix,
    unsigned place)
{
    uint32_t       n;
    uint16_t      *h;
    fanout_ref_t  *ref;

    ref = place_of(z, record, place, &h);
    n = field_free(z, *ref);

    fanout_set(z, *ref, 0);
    ix->refs[place] = 0;

    return n;
}


uint32_t
fanout_fields_free(fanout_zone_t *z, fanout_ref_t record)
{
    uint32_t          n, blocks;
    unsigned          i;
    fanout_ref_t      ref, last;
    fanout_fields_t  *f;

    n = blocks = 0;
    last = 0;

    for (ref = fanout_record(z, record)->index; ref; ref = f->next) {
        f = fanout_fields(z, ref);

        for (i = 0; i < FANOUT_FIELDS_REFS; i++) {
            if (f->refs[i]) {
                n += field_free(z, f->refs[i]);
            }
        }

        last = ref;
        blocks++;
    }

    if (last) {
        fanout_free(z, fanout_record(z, record)->index, last, blocks,
                    FANOUT_RECORDS);
    }

    return n + blocks;
}


static void
field_count(fanout_zone_t *z, const fanout_field_block_t *f, int more)
{
    fanout_holder_add(z, FANOUT_SHARE_records, f->holder,
                      more * (int32_t) fanout_field_size(f));
}


static uint32_t
field_free(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t               n;
    fanout_field_block_t  *f;

    f = fanout_field(z, ref);
    n = fanout_field_size(f);
    field_count(z, f, -1);

    /* the user's name may follow the tail */

    fanout_free(z, ref, fanout_chain_last(z, f->tail), n, FANOUT_RECORDS);

    return n;
}


/* reading */

static fanout_chain_cursor_t
field_at(fanout_zone_t *z, fanout_ref_t field, size_t skip)
{
    fanout_chain_cursor_t  pen;

    pen.z = z;
    pen.ref = field;
    pen.pos = FANOUT_FIELD_HEAD;
    pen.left = FANOUT_ZONE_RECORD;
    (void) fanout_copy(&pen, NULL, skip);

    return pen;
}


fanout_ref_t
fanout_field_tail(fanout_zone_t *z, fanout_ref_t field)
{
    fanout_field_block_t  *f;

    f = fanout_field(z, field);

    return field_at(z, field, f->name + f->size).ref;
}


void
fanout_field_name(fanout_zone_t *z, fanout_ref_t field, uint8_t *buf)
{
    fanout_chain_cursor_t  pen;

    pen = field_at(z, field, 0);
    (void) fanout_copy(&pen, buf, fanout_field(z, field)->name);
}


void
fanout_field_value(fanout_zone_t *z, fanout_ref_t field, uint8_t *buf)
{
    fanout_chain_cursor_t  pen;

    pen = field_at(z, field, fanout_field(z, field)->name);
    (void) fanout_copy(&pen, buf, fanout_field(z, field)->size);
}


void
fanout_field_user(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf)
{
    fanout_field_block_t   *f;
    fanout_chain_cursor_t   pen;

    f = fanout_field(z, ref);

    if (f->size) {
        /* behind the tail, which is found without a walk */
        pen.z = z;
        pen.ref = f->tail;
        pen.pos = tail_at(f) + 1;
        pen.left = FANOUT_ZONE_RECORD;

    } else {
        pen = field_at(z, ref, f->name);
    }

    (void) fanout_copy(&pen, buf, f->user);
}


int
fanout_field_equals(fanout_zone_t *z, fanout_ref_t field,
    const fanout_zstr_t *value)
{
    size_t                  n, part;
    uint8_t                 buf[FANOUT_CHUNK];
    fanout_field_block_t   *f;
    fanout_chain_cursor_t   pen;

    f = fanout_field(z, field);

    if (f->size == 0 || f->size != value->len) {
        return 0;
    }

    pen = field_at(z, field, f->name);

    for (n = 0; n < value->len; n += part) {
        part = value->len - n < FANOUT_CHUNK ? value->len - n : FANOUT_CHUNK;
        (void) fanout_copy(&pen, buf, part);

        if (memcmp(buf, value->data + n, part) != 0) {
            return 0;
        }
    }

    return 1;
}


int
fanout_field_array(fanout_zone_t *z, fanout_ref_t field, int *empty)
{
    uint8_t                 first;
    fanout_field_block_t   *f;
    fanout_chain_cursor_t   pen;

    f = fanout_field(z, field);
    pen = field_at(z, field, f->name);
    (void) fanout_copy(&pen, &first, 1);

    *empty = f->size == 2;

    return first == '[';
}


/* writing */

fanout_ref_t
fanout_field_write(fanout_zone_t *z, const fanout_field_text_t *text)
{
    fanout_ref_t  ref;

    ref = fanout_alloc(z, fanout_text_blocks(text), FANOUT_RECORDS, NULL);
    fanout_field_fill(z, ref, text);

    return ref;
}


void
fanout_field_fill(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_field_text_t *text)
{
    text_t                 t;
    uint32_t               size;
    fanout_field_block_t  *f;

    size = fanout_text_size(text);
    f = fanout_field(z, ref);

    f->version = text->version;
    f->size = size;
    f->name = text->name.len;
    f->user = text->user.len;
    f->holder = text->holder;

    t.pen.z = z;
    t.pen.ref = ref;
    t.pen.pos = FANOUT_FIELD_HEAD;

    fanout_write(&t.pen, text->name.data, text->name.len);
    t.tail = t.pen.ref;

    if (text->brackets) {
        fanout_write(&t.pen, "[", 1);
    }

    if (!text->unset) {
        write_tail(&t, text);

    } else {
        fanout_write(&t.pen, text->user.data, text->user.len);
    }

    f->tail = t.tail;
}


/* Writes the rest of a field, from the value on. */

static void
write_tail(text_t *t, const fanout_field_text_t *text)
{
    fanout_write(&t->pen, text->value.data, text->value.len);

    if (text->brackets) {
        fanout_write(&t->pen, "]", 1);
    }

    t->tail = t->pen.ref;

    fanout_write(&t->pen, text->user.data, text->user.len);
}


/* Returns where in its block the last byte of the value is. */

static uint32_t
tail_at(const fanout_field_block_t *f)
{
    uint32_t  n;

    n = FANOUT_FIELD_HEAD + f->name + f->size - 1;

    return n < FANOUT_BLOCK
           ? n : sizeof(fanout_ref_t) + (n - FANOUT_BLOCK) % FANOUT_PAYLOAD;
}


/* Stores bytes into a block that is linked, in words. */

static void
overwrite(fanout_zone_t *z, fanout_ref_t block, uint32_t at, const uint8_t *p,
    uint32_t n)
{
    uint8_t    buf[FANOUT_BLOCK];
    uint32_t   i, word, *words;

    memcpy(buf, fanout_block(z, block), FANOUT_BLOCK);
    memcpy(buf + at, p, n);
    words = (uint32_t *) fanout_block(z, block);

    for (i = at / 4; i < (at + n + 3) / 4; i++) {
        memcpy(&word, buf + 4 * i, 4);

        if (words[i] != word) {
            fanout_set(z, words[i], word);
        }
    }
}


/* The bracket at the end gives way to the elements; what is behind it in the
 * tail is written again, and the blocks after the tail are replaced. */

int32_t
fanout_field_append(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_field_text_t *text)
{
    size_t                 before, after, size;
    append_t               a;
    fanout_ref_t           rest;
    fanout_field_block_t  *f;

    f = fanout_field(z, ref);

    append_begin(z, ref, text, &a);

    before = fanout_field_size(f);
    field_count(z, f, -1);
    size = f->size + a.parts[0].len + text->value.len;
    after = fanout_field_blocks(f->name, size, text->user.len);

    append_tail(z, f, &a);
    free_rest(z, f->tail);
    rest = append_rest(z, &a);

    if (fanout_block(z, f->tail)->next != rest) {
        fanout_set(z, fanout_block(z, f->tail)->next, rest);
    }

    if (a.tail) {
        fanout_set(z, f->tail, a.tail);
    }

    fanout_set(z, f->size, size);
    fanout_set(z, f->user, text->user.len);
    fanout_set(z, f->version, text->version);

    if (f->holder != text->holder) {
        fanout_set(z, f->holder, text->holder);
    }

    field_count(z, f, 1);

    return (int32_t) after - (int32_t) before;
}


static void
append_begin(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_field_text_t *text, append_t *a)
{
    int  empty;

    (void) fanout_field_array(z, ref, &empty);

    a->parts[0].data = (const uint8_t *) ",";
    a->parts[0].len = !empty;
    a->parts[1] = text->value;
    a->parts[FANOUT_PART_END].data = (const uint8_t *) "]";
    a->parts[FANOUT_PART_END].len = 1;
    a->parts[3] = text->user;
    a->tail = 0;
}


/* Writes what fits into the tail, from the bracket on. */

static void
append_tail(fanout_zone_t *z, const fanout_field_block_t *f, append_t *a)
{
    size_t          n, used, room;
    uint8_t         buf[FANOUT_BLOCK];
    unsigned        i;
    fanout_zstr_t  *part;

    room = FANOUT_BLOCK - tail_at(f);

    for (i = 0, used = 0; i < FANOUT_PARTS && used < room; i++) {
        part = &a->parts[i];
        n = part->len < room - used ? part->len : room - used;

        if (n) {
            memcpy(buf + used, part->data, n);
        }

        used += n;
        part->data += n;
        part->len -= n;
    }

    overwrite(z, f->tail, tail_at(f), buf, used);
}


static void
free_rest(fanout_zone_t *z, fanout_ref_t tail)
{
    uint32_t      n;
    fanout_ref_t  ref, rest, last;

    rest = fanout_block(z, tail)->next;
    last = 0;

    for (n = 0, ref = rest; ref; ref = fanout_block(z, ref)->next) {
        last = ref;
        n++;
    }

    if (n) {
        fanout_free(z, rest, last, n, FANOUT_RECORDS);
    }
}


/* Writes what is left into new blocks, and returns the first; 0: there is
 * none. */

static fanout_ref_t
append_rest(fanout_zone_t *z, append_t *a)
{
    size_t                 left;
    unsigned               i;
    fanout_ref_t           rest;
    fanout_chain_cursor_t  pen;

    for (i = 0, left = 0; i < FANOUT_PARTS; i++) {
        left += a->parts[i].len;
    }

    if (left == 0) {
        return 0;
    }

    rest = fanout_alloc(z, (left + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD,
                        FANOUT_RECORDS, NULL);
    pen.z = z;
    pen.ref = rest;
    pen.pos = sizeof(fanout_ref_t);

    for (i = 0; i < FANOUT_PARTS; i++) {
        fanout_write(&pen, a->parts[i].data, a->parts[i].len);

        if (i == FANOUT_PART_END && a->parts[i].len) {
            a->tail = pen.ref;
        }
    }

    return rest;
}
