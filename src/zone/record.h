
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records: the state that a channel holds.  A record has an id, a version and
 * fields with JSON values; every change of a record is an entry of the channel.
 * The rules of zone/zone.h apply.
 *
 * Records are state: nothing evicts them, and a channel that has any is never
 * forgotten.  A rebuild of the zone loses them.
 *
 * A version of a record id is never used again: not after the record was
 * deleted, nor after a purge or a rebuild.  The version of a field is the
 * record's when the field was changed last.
 */


#ifndef FANOUT_ZONE_RECORD_H
#define FANOUT_ZONE_RECORD_H


#include "zone/message.h"


#define FANOUT_ZONE_FIELDS   128        /* most fields of a record, and most
                                           changes in a set */
#define FANOUT_ZONE_RECORD   65536      /* most bytes of a record: names and
                                           values of its fields */


/* what a set does to a field */

#define FANOUT_FIELD_SET     1
#define FANOUT_FIELD_UNSET   2
#define FANOUT_FIELD_APPEND  3

typedef struct {
    fanout_zstr_t        name;          /* 1 to 255 bytes */
    fanout_zstr_t        value;         /* JSON without needless blanks: two
                                           values are equal if their bytes are.
                                           APPEND: the elements, with commas
                                           between, without brackets */
    uint8_t              op;
} fanout_zone_change_t;


/*
 * A field that was changed after the version base is in conflict, unless the
 * change would give it the value that it has.  MERGE applies what is not in
 * conflict; REJECT applies all or nothing; OVERWRITE knows no conflict.
 */

#define FANOUT_OVERWRITE     0
#define FANOUT_MERGE         1
#define FANOUT_REJECT        2

typedef struct {
    fanout_zstr_t        id;            /* 1 to 255 bytes */
    const fanout_zone_change_t  *changes;
                                        /* each name once */
    unsigned             n;             /* at most FIELDS */
    uint64_t             base;          /* 0: the record did not exist */
    uint64_t             client;        /* 0: none */
    fanout_zstr_t        user;          /* at most 255 bytes */
    const fanout_zone_publish_t  *opts; /* key, scope, address, sender, with
                                           .record set; may be NULL */
    uint64_t             token;         /* of a lock that must be held, 0:
                                           none */
    fanout_zstr_t        release;       /* name of a lock that ends with the
                                           set, len 0: none */
    unsigned             mode:2;
    unsigned             create:1;      /* the record must not exist */
    unsigned             exist:1;       /* the record must exist */
    unsigned             exact:1;       /* base must be the version */
    unsigned             whole:1;       /* fields that are not named are
                                           unset */
    unsigned             expired:1;     /* of a delete: by its ttl */
    unsigned             guard_off:1;   /* of a backend: above guard=, and
                                           counts for no address */
    unsigned             backend:1;     /* token may be of anybody's lock; else
                                           only of the client's own */
} fanout_zone_set_t;


/* what a set was refused for, beside the result codes */

#define FANOUT_SET_FIELDS    1          /* MANY: fields= */
#define FANOUT_SET_RECORDS   2          /* MANY: records_max= */

typedef struct {
    fanout_zone_result_t  log;          /* epoch, offset, subscribers,
                                           duplicate; HELD: wait, by_sender */
    uint64_t             version;       /* the record's now; 0: there is
                                           none */
    uint32_t             blocks;        /* that were written */
    fanout_zstr_t        lock_name;     /* LOCKED: in static memory */
    fanout_zstr_t        lock_user;     /* likewise: of its holder, or empty */
    uint64_t             lock_client;   /* LOCKED: who holds it, 0: the API */
    unsigned             limit:2;       /* FANOUT_SET_* */
    unsigned             partial:1;     /* changes were rejected */
    unsigned             unchanged:1;   /* there was nothing to do */
    unsigned             created:1;
    unsigned             deleted:1;     /* CONFLICT: the record is not there any
                                           more */
    unsigned             unknown:1;     /* CONFLICT: the base is above the
                                           version */
} fanout_zone_set_result_t;


/*
 * Records as bytes: a head, the id and the items, one behind the other.  The
 * items of a record are its fields; those of an entry with the type RECORD are
 * changes; those of a conflict are the fields as they are.
 *
 * A reader gets strings that point into the bytes.
 */

#define FANOUT_RECORD_CREATED  0x01
#define FANOUT_RECORD_DELETED  0x02
#define FANOUT_RECORD_EXPIRED  0x04     /* DELETED by its ttl */
#define FANOUT_RECORD_WHOLE    0x08     /* the record follows, as it is now */
#define FANOUT_RECORD_OLD      0x10     /* items have what was before */

#define FANOUT_FIELD_ABSENT    0x01     /* UNSET: in a conflict, the field is
                                           not there any more */
#define FANOUT_FIELD_WAS       0x02     /* .old is what was before */
#define FANOUT_FIELD_NO_ARRAY  0x04     /* the conflict of an APPEND */

typedef struct {
    fanout_zstr_t        id;
    uint64_t             version;
    uint64_t             prev;          /* offset of the record's entry before,
                                           0: none; of a record: of its last
                                           entry */
    const uint8_t       *items;
    const uint8_t       *last;          /* end of all items */
    uint32_t             n;             /* items */
    uint32_t             nwhole;        /* items of the whole record, after
                                           those */
    uint8_t              flags;
} fanout_record_t;

typedef struct {
    fanout_zstr_t        name;
    fanout_zstr_t        value;
    fanout_zstr_t        old;
    fanout_zstr_t        user;          /* who changed it last; only in a record
                                           and a conflict */
    uint64_t             version;
    uint8_t              op;            /* FANOUT_FIELD_* */
    uint8_t              flags;
} fanout_field_t;

/* Reads the next record from *p on; 0 at the end; -1: the bytes are broken. */
int fanout_record_next(const uint8_t **p, const uint8_t *last,
    fanout_record_t *r);

/* Reads the next item of a record from *p, r->items at first; as
 * fanout_record_next(). */
int fanout_field_next(const uint8_t **p, const fanout_record_t *r,
    fanout_field_t *f);


/* The destination of records that are read; the caller owns the bytes. */

#define FANOUT_ZONE_RECORD_SIZE                                               \
    (FANOUT_ZONE_RECORD + 1024 + 288 * FANOUT_ZONE_FIELDS)
                                        /* most that one record takes */

typedef struct {
    uint8_t             *bytes;
    size_t               used;
    size_t               size;
    uint32_t             n;             /* records */
    uint32_t             seen;          /* that were looked at, by a list */
    uint64_t             digest;        /* of the tables that a list met */
    uint64_t             epoch;         /* of the channel, when they were
                                           read */
    uint64_t             offset;
    unsigned             unnamed:1;     /* users of fields are not told */
} fanout_records_t;


/*
 * Changes a record, makes it if it is missing, and appends the change.  to gets
 * one record: of a partial success or a CONFLICT, the fields in conflict; it
 * needs RECORD_SIZE bytes.
 *
 * OK; CONFLICT (r->version, .deleted, .unknown), nothing was changed; LARGE:
 * more than record= or an entry can hold; MANY with r->limit; FULL with
 * z->full; HELD, ADDRESS as fanout_log_publish(); STALE.
 *
 * LOCKED: with guard=, somebody else holds the lock of the record (its id), or
 * of a field that is named ("id.field"); NOTHOLDER: the token is not that of a
 * lock that is held now: of .release, or, without it, of the lock of the
 * record, or of all fields that are named; or .release is not held by the
 * client, which needs no token.  Both are decided before conflicts, and after a
 * known key.
 */
int fanout_record_set(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_set_t *set, fanout_records_t *to,
    fanout_zone_set_result_t *r);

/* Deletes a record; with a base, if it is the record's version.  OK;
 * NOTFOUND; CONFLICT; FULL, HELD, ADDRESS, STALE; LOCKED, NOTHOLDER as a set of
 * all fields; .release does not count. */
int fanout_record_delete(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_set_t *set, fanout_zone_set_result_t *r);

/* Reads a record.  OK; NOTFOUND: no record, to has the channel's position. */
int fanout_record_get(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zstr_t *id, fanout_records_t *to);

/* Reads the records whose ids begin with prefix, from *cursor (0 at first) on,
 * up to the slot last (0: all): at most max, and as many as a section may copy.
 * A record that exists all the while is read once.  OK at the end; AGAIN if
 * there may be more, with *cursor set. */
int fanout_record_list(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zstr_t *prefix, uint64_t *cursor, uint64_t last, unsigned max,
    fanout_records_t *to);

/* Digests the tables with records from the slot first up to last (0: the end),
 * as a list from one cursor to the next does: the digest, with the epoch, is
 * the same as long as no record there has changed. */
void fanout_record_digest(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t first, uint64_t last, fanout_records_t *to);

/*
 * Copies kept changes of a record, newest first, from the last one below
 * *before (0 at first: all) on: at most max, and as many as a section may look
 * at and copy.  *before becomes where to go on, 0 at the end; *seen the number
 * of entries that were looked at.
 *
 * OK at the end; AGAIN if there may be more, with no entry too; NOTFOUND: no
 * channel; STALE, also if the epoch differs; FULL if the arena can't grow.
 */
int fanout_record_history(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zstr_t *id, uint64_t epoch, uint64_t *before, uint32_t max,
    fanout_arena_t *a, uint32_t *seen);

/* Deletes all records of a channel without telling it: purge the channel
 * afterwards.  One call does a step; OK at the end, AGAIN if there are more. */
int fanout_record_clear(fanout_zone_t *z, fanout_zone_channel_t *c);


#endif /* FANOUT_ZONE_RECORD_H */
