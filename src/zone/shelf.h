
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Shelves and records, internal to the zone.  The lock must be held for all
 * functions.
 */


#ifndef FANOUT_ZONE_SHELF_H
#define FANOUT_ZONE_SHELF_H


#include "heap/tree.h"
#include "zone/log.h"
#include "zone/record.h"


/*
 * The shelf of a channel has its records and its locks, by slot.  It exists
 * while there are any.  The stamp of a table is the low half of the offset of
 * the last change of its records.
 */

typedef struct {
    fanout_ref_t         chain;         /* not used */
    fanout_ref_t         channel;
    fanout_ref_t         root;
    uint32_t             records;
    uint64_t             floor;         /* highest version of a record that was
                                           deleted */
    uint64_t             bytes;         /* of the records */
    uint32_t             blocks;        /* of all that belongs to the shelf, and
                                           its own */
    uint8_t              depth;
    uint8_t              account;       /* of the channel, for the accounts */
    uint8_t              lock_depth;
    uint8_t              spare;
    fanout_ref_t         lock_root;
    uint32_t             locks;         /* that are held or waited for */
    uint32_t             unused[4];
} fanout_shelf_t;


/*
 * A record.  Its holder and its id are in the rest of its chain.  Fields that
 * were unset stay for a while, without a value, for the conflicts of others
 * that don't know of it; when one is forgotten, floor takes its version.
 */

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         hash_next;
    fanout_ref_t         shelf;
    uint32_t             slot;
    uint64_t             version;
    uint64_t             offset;        /* of the last entry */
    uint64_t             floor;         /* highest version of a field that was
                                           forgotten */
    fanout_ref_t         index;         /* fanout_fields_t */
    uint32_t             size;          /* bytes of names and values */
    fanout_ref_t         due_next;
    fanout_ref_t         due_prev;
    uint32_t             due;           /* s of the zone's clock, when it
                                           expires; 0: never */
    uint8_t              fields;        /* that are set */
    uint8_t              unset;         /* that are kept as unset; FORGOT */
    uint8_t              id_len;
    uint8_t              place;         /* in the wheel, if it expires */
} fanout_record_block_t;

/* the first block of the rest; the id continues through the chain */

typedef struct {
    fanout_ref_t         chain;
    uint16_t             holder;        /* that the record without its fields
                                           counts for */
    uint8_t              id[58];
} fanout_record_rest_t;

#define FANOUT_RECORD_ID         offsetof(fanout_record_rest_t, id)

#define FANOUT_RECORD_FORGOT     0x80   /* a field was forgotten */

#define FANOUT_UNSET_KEPT        32     /* fields kept as unset */


/* The fields of a record, with 16 bits of a hash of their names; a ref of 0 is
 * free. */

#define FANOUT_FIELDS_REFS       10
#define FANOUT_FIELDS_MOST       (FANOUT_ZONE_FIELDS + FANOUT_UNSET_KEPT)

typedef struct {
    fanout_ref_t         next;
    fanout_ref_t         refs[FANOUT_FIELDS_REFS];
    uint16_t             hash[FANOUT_FIELDS_REFS];
} fanout_fields_t;


/*
 * A field: name, value and the user who changed it last run through the chain
 * from byte 24 on.  tail is the block with the last byte of the value: an
 * append goes on there.  The block that is first may be the tail.
 */

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         tail;
    uint64_t             version;
    uint32_t             size;          /* of the value, 0: it is unset */
    uint8_t              name;
    uint8_t              user;
    uint16_t             holder;        /* that it counts for */
    uint8_t              data[40];
} fanout_field_block_t;

#define FANOUT_FIELD_HEAD        24


#define fanout_shelf(z, ref)   ((fanout_shelf_t *) fanout_at(z, ref))
#define fanout_record(z, ref)  ((fanout_record_block_t *) fanout_at(z, ref))
#define fanout_record_rest(z, ref)                                            \
    ((fanout_record_rest_t *) fanout_at(z, fanout_record(z, ref)->chain))
#define fanout_fields(z, ref)  ((fanout_fields_t *) fanout_at(z, ref))
#define fanout_field(z, ref)   ((fanout_field_block_t *) fanout_at(z, ref))


/* shelves: see zone/shelf.c */

/* Finds the shelf of a channel; 0: none. */
static inline fanout_ref_t
fanout_shelf_of(fanout_zone_t *z, fanout_ref_t channel)
{
    return fanout_name(z, fanout_channel(z, channel))->shelf;
}

/* The same, and makes it if there is none; 1 block must be ensured. */
fanout_ref_t fanout_shelf_make(fanout_zone_t *z, fanout_ref_t channel);

/* Frees a shelf that has no record and no lock. */
void fanout_shelf_settle(fanout_zone_t *z, fanout_ref_t shelf);

/* Adds to the blocks of a shelf; n may be negative. */
void fanout_shelf_add(fanout_zone_t *z, fanout_ref_t shelf, int32_t n);

/* Stores the offset of a change of the record in a slot into its table, unless
 * the table is gone with the record. */
void fanout_shelf_stamp(fanout_zone_t *z, fanout_ref_t shelf, uint32_t slot,
    uint64_t offset);

/* Begins to load the table that fanout_shelf_stamp() writes to, which is rarely
 * in a cache if there are many records. */
void fanout_shelf_fetch(fanout_zone_t *z, fanout_ref_t shelf, uint32_t slot);

/* Checks whether a channel may take n blocks of the share of records: OK; FULL,
 * which is counted; ADDRESS.  A channel with a shelf is in use: it counts for
 * the address (hash, 0: none) that made it so. */
int fanout_shelf_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, uint64_t address, uint32_t n);

/* Checks whether a holder may have n more blocks of records and locks of a
 * channel, if n > 0: OK, or ADDRESS.  Those that no other holder has were
 * claimed before. */
int fanout_shelf_own(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, unsigned holder, int32_t n);

/* Returns the account of a channel that may be missing (0). */
uint32_t fanout_shelf_account_of(fanout_zone_t *z,
    const fanout_zone_channel_t *c, fanout_ref_t channel);

/* Moves the blocks of a shelf to another account. */
void fanout_shelf_account(fanout_zone_t *z, fanout_ref_t shelf,
    uint32_t account);


/* records: see zone/shelf_record.c */

/* Finds a record of a channel; 0: none. */
fanout_ref_t fanout_record_find(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zstr_t *id);

/* Returns the blocks of a record without fields and their index. */
static inline uint32_t
fanout_record_chain(size_t id_len)
{
    return 1 + (FANOUT_RECORD_ID + id_len - sizeof(fanout_ref_t)
                + FANOUT_PAYLOAD - 1)
               / FANOUT_PAYLOAD;
}

/* The same, with tables of the shelf. */
static inline uint32_t
fanout_record_blocks(size_t id_len)
{
    return fanout_record_chain(id_len) + FANOUT_TREE_DEPTH + 1;
}

/* The same, as the holder of the record has them: one more for the index. */
static inline uint32_t
fanout_record_own(size_t id_len)
{
    return fanout_record_chain(id_len) + 1;
}

/* Makes a record without fields, whose version is the shelf's floor, and which
 * counts for a holder. */
fanout_ref_t fanout_record_make(fanout_zone_t *z, fanout_ref_t shelf,
    const fanout_zstr_t *id, unsigned holder);

/* Frees a record with its fields, and the shelf after its last record: the
 * caller then calls fanout_channel_free_unused(). */
void fanout_record_free(fanout_zone_t *z, fanout_ref_t record);

/* Stores the version and the offset of a change, and when the record expires
 * (ttl s, 0: never). */
void fanout_record_changed(fanout_zone_t *z, fanout_ref_t record,
    uint64_t version, uint64_t offset, uint32_t ttl);

/* Sets when a record expires (s of the zone's clock, 0: never): puts it into
 * the wheel. */
void fanout_record_due(fanout_zone_t *z, fanout_ref_t record, uint32_t due);

/* Turns the wheel towards now.  Returns a record of the second after
 * records_at, which is due then or after a turn of the wheel; 0 when it has
 * turned to now. */
fanout_ref_t fanout_record_over(fanout_zone_t *z);

/* Copies the id to buf of 255 bytes.  Returns its length. */
uint8_t fanout_record_id(fanout_zone_t *z, const fanout_record_block_t *rec,
    uint8_t *buf);


/* fields: see zone/shelf_field.c */

/* A copy of a record's index in private memory. */

typedef struct {
    unsigned             n;             /* places */
    fanout_ref_t         refs[FANOUT_FIELDS_MOST + FANOUT_FIELDS_REFS];
    uint16_t             hash[FANOUT_FIELDS_MOST + FANOUT_FIELDS_REFS];
} fanout_field_index_t;

void fanout_field_load(fanout_zone_t *z, fanout_ref_t record,
    fanout_field_index_t *ix);

/* Returns the place of a field, also one that is unset; ix->n: there is
 * none. */
unsigned fanout_field_find(fanout_zone_t *z, const fanout_field_index_t *ix,
    const fanout_zstr_t *name, uint16_t hash);

/* Returns the blocks of a field. */
static inline uint32_t
fanout_field_blocks(size_t name, size_t size, size_t user)
{
    size_t  n;

    n = FANOUT_FIELD_HEAD + name + size + user;

    return n <= FANOUT_BLOCK
           ? 1 : 1 + (n - FANOUT_BLOCK + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
}

static inline uint32_t
fanout_field_size(const fanout_field_block_t *f)
{
    return fanout_field_blocks(f->name, f->size, f->user);
}

/* Returns the block with the last byte of the value, by a walk. */
fanout_ref_t fanout_field_tail(fanout_zone_t *z, fanout_ref_t field);

/* Copies parts of a field. */
void fanout_field_name(fanout_zone_t *z, fanout_ref_t field, uint8_t *buf);
void fanout_field_value(fanout_zone_t *z, fanout_ref_t field, uint8_t *buf);
void fanout_field_user(fanout_zone_t *z, fanout_ref_t field, uint8_t *buf);

/* Returns 1 if the value of a field has these bytes. */
int fanout_field_equals(fanout_zone_t *z, fanout_ref_t field,
    const fanout_zstr_t *value);

/* Returns 1 if the value is an array; *empty: without elements. */
int fanout_field_array(fanout_zone_t *z, fanout_ref_t field, int *empty);

/* Writes a new field, which is not linked; with unset, there is no value.  The
 * value is put between open and close. */

typedef struct {
    fanout_zstr_t        name;
    fanout_zstr_t        value;
    fanout_zstr_t        user;
    uint64_t             version;
    uint16_t             holder;
    unsigned             brackets:1;    /* put around the value */
    unsigned             unset:1;
} fanout_field_text_t;

fanout_ref_t fanout_field_write(fanout_zone_t *z,
    const fanout_field_text_t *text);

/* Returns the bytes of the value, and the blocks, of a field with this text. */
static inline uint32_t
fanout_text_size(const fanout_field_text_t *text)
{
    return text->unset ? 0 : text->value.len + (text->brackets ? 2 : 0);
}

static inline uint32_t
fanout_text_blocks(const fanout_field_text_t *text)
{
    return fanout_field_blocks(text->name.len, fanout_text_size(text),
                               text->user.len);
}

/* Writes a field into blocks, as many as it needs or more, that are not
 * linked. */
void fanout_field_fill(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_field_text_t *text);

/* Appends elements to the array in a field, which then counts for the holder of
 * the text.  Returns the blocks that the field got more. */
int32_t fanout_field_append(fanout_zone_t *z, fanout_ref_t field,
    const fanout_field_text_t *text);

/* Puts a field into a place and counts it for its holder; there it takes the
 * place of another, which is freed; or into a new place (n), which must be
 * ensured.  Returns the blocks that the record got more. */
int32_t fanout_field_put(fanout_zone_t *z, fanout_ref_t record,
    fanout_field_index_t *ix, unsigned place, fanout_ref_t field,
    uint16_t hash);

/* Counts more fields that are unset, and forgets those that were unset first,
 * so that UNSET_KEPT are left.  Returns the blocks that the record got more:
 * none or a negative number. */
int32_t fanout_field_forget(fanout_zone_t *z, fanout_ref_t record,
    fanout_field_index_t *ix, int32_t more);

/* Frees all fields of a record.  Returns their blocks, with the index. */
uint32_t fanout_fields_free(fanout_zone_t *z, fanout_ref_t record);

/* The 16 bits of a name that the index has. */
uint16_t fanout_field_hash(fanout_zone_t *z, const fanout_zstr_t *name);


/* bytes: see zone/record_bytes.c */

#define FANOUT_RECORD_HEAD  32          /* bytes before the id */

/* Reads so many bytes of a record.  Returns the length of the id. */
size_t fanout_record_head(const uint8_t *bytes, uint64_t *prev);

typedef struct {
    fanout_records_t    *to;
    size_t               head;          /* where the record begins */
    uint32_t             n;             /* items so far */
} fanout_record_pen_t;

void fanout_record_begin(fanout_record_pen_t *pen, fanout_records_t *to,
    const uint8_t *id, size_t id_len);

/* Adds an item.  The bytes of value and old are copied by the caller to the
 * places that are returned: value first, then old. */
uint8_t *fanout_record_item(fanout_record_pen_t *pen, const fanout_field_t *f);

/* Adds a field of a record as it is. */
void fanout_record_field(fanout_zone_t *z, fanout_record_pen_t *pen,
    fanout_ref_t field, uint8_t flags);

void fanout_record_end(fanout_record_pen_t *pen, uint64_t version,
    uint64_t prev, uint32_t nwhole, uint8_t flags);


#endif /* FANOUT_ZONE_SHELF_H */
