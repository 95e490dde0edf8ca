/*
 * A model of the records of some channels, in plain C: what the contract of
 * zone/record.h says, without blocks, sections or a lock.  And a reader who
 * knows the records by the entries of the log alone.
 */


#ifndef _ZONE_RECORD_MODEL_H_INCLUDED_
#define _ZONE_RECORD_MODEL_H_INCLUDED_


#include "zone_lock.h"
#include "zone_steps.h"


#define M_CHANNELS  3
#define M_READ      2                   /* channels that the reader reads */
#define M_RECORDS   7                   /* ids of a channel */
#define M_NAMES     300                 /* of fields */
#define M_USERS     4
#define M_KEYS      4096
#define M_LOCKED    3                   /* records with locks, and the fields
                                           of them that have one each */
#define M_API       0                   /* holders */
#define M_NOBODY    -1
#define M_PLACES    (FANOUT_FIELDS_MOST + FANOUT_FIELDS_REFS)

typedef struct {
    uint8_t             *data;          /* NULL: unset */
    uint32_t             len;
    uint32_t             user;
    uint64_t             version;
    int                  name;          /* -1: the place is free */
} m_field_t;

typedef struct {
    m_field_t            places[M_PLACES];
    uint64_t             version;
    uint64_t             offset;        /* of the last entry */
    uint64_t             floor;
    uint64_t             most;          /* highest version so far */
    uint32_t             due;
    uint32_t             lives;         /* how often it was made */
    int                  there;
    int                  forgot;
} m_record_t;

typedef struct {
    int                  holder;        /* a client, M_API, M_NOBODY */
    uint64_t             token;
    uint64_t             ends;          /* ms */
} m_locked_t;

typedef struct {
    m_record_t           records[M_RECORDS];
    m_locked_t           locks[M_LOCKED][M_LOCKED + 1];
                                        /* the last one: of the record */
    uint64_t             floor;
    unsigned             n;             /* records that are there */
    unsigned             shelf;         /* records or locks are there */
} m_channel_t;

typedef struct {
    char                 key[8];
    unsigned             channel;
    uint32_t             expires;
    uint64_t             epoch;
    uint64_t             version;
    uint64_t             offset;
    unsigned             partial;
} m_key_t;

/* what the entries tell: no places, no versions of fields */

typedef struct {
    uint8_t             *value[M_NAMES];
    uint32_t             len[M_NAMES];
    uint64_t             version;       /* known, also of one that is gone */
    uint64_t             offset;
    int                  there;
} m_folded_t;

typedef struct {
    m_folded_t           records[M_RECORDS];
    int                  lost;          /* all has to be read again */
} m_fold_t;

typedef struct {
    steps_t              s;
    m_channel_t          channels[M_CHANNELS];
    m_fold_t             folds[M_READ];
    m_key_t              keys[M_KEYS];
    unsigned             nkeys;         /* ever */
    uint64_t             floor;         /* of shelves that went */
    uint64_t             token;         /* the last one */
    policy_t             policy;
    fanout_zstr_t        names[M_NAMES];
    fanout_zstr_t        ids[M_RECORDS];
    fanout_zstr_t        users[M_USERS];
    int                  pressure;      /* what fits is not known */
    uint32_t             entries;       /* that the reader has read */
    uint32_t             olds;          /* old values that were compared */
    uint32_t             gaps;
} m_t;

/* one change of a set, with numbers for names */

typedef struct {
    unsigned             name;
    uint8_t              op;
    uint8_t              step;          /* 0: nothing, 1: apply, 2: conflict */
    int                  place;         /* -1: none */
} m_change_t;

typedef struct {
    unsigned             channel;
    unsigned             record;
    unsigned             user;
    unsigned             n;
    m_locked_t          *release;       /* NULL: none */
    m_change_t           changes[FANOUT_ZONE_FIELDS];
    fanout_zone_change_t  given[FANOUT_ZONE_FIELDS];
    fanout_zone_set_t    set;
} m_set_t;

/* what is expected */

typedef struct {
    int                  rc;
    uint64_t             version;
    unsigned             partial:1;
    unsigned             unchanged:1;
    unsigned             created:1;
    unsigned             deleted:1;
    unsigned             unknown:1;
    unsigned             limit;
} m_result_t;


int m_fail(m_t *m, const char *fmt, ...);
void m_init(m_t *m, uint32_t (*next)(void *data), void *data);
void m_done(m_t *m);
unsigned m_rnd(m_t *m, unsigned n);

/* Draws a set; its values are valid until the next one. */
void m_draw(m_t *m, m_set_t *s);

/* Draws a base: of the past, of now, of the future, none. */
uint64_t m_base(m_t *m, const m_record_t *rec);

/* Draws a token and a lock to be released. */
void m_draw_locks(m_t *m, m_set_t *s);

/* The lock of a record (field M_LOCKED) or of a field, NULL: it has none; its
 * name, valid until the next call; whether it is held now. */
m_locked_t *m_lock_of(m_t *m, unsigned channel, unsigned record, int field);
const char *m_lock_name(m_t *m, unsigned record, unsigned field);
int m_held(const m_locked_t *lock);

/* What locks say to a change: OK, LOCKED, NOTHOLDER; all: of all fields. */
int m_guard(m_t *m, const m_set_t *s, int all);

/* A channel has a shelf, or none: versions go on from there. */
void m_shelf(m_t *m, unsigned channel, unsigned there);

/* Decides what a set does, without doing it; s->changes get their steps. */
void m_decide(m_t *m, m_set_t *s, m_result_t *r);

/* Does what was decided, if the result is OK and not unchanged. */
void m_apply(m_t *m, m_set_t *s, const m_result_t *r);

void m_delete_decide(m_t *m, m_set_t *s, m_result_t *r);
void m_delete(m_t *m, unsigned channel, unsigned record, uint64_t version);
void m_clear(m_t *m, unsigned channel);
void m_expire(m_t *m);

/* Compares the fields in conflict, and a record, with bytes of the zone. */
int m_conflicts(m_t *m, const m_set_t *s, const fanout_records_t *to);
int m_same(m_t *m, unsigned channel, unsigned record,
    const fanout_record_t *r);

/* The number of a name, of an id; -1: unknown. */
int m_name(const m_t *m, const fanout_zstr_t *s);
int m_id(const m_t *m, const fanout_zstr_t *s);

/* The reader: takes an entry; compares all it knows with the model. */
int m_fold_entry(m_t *m, const entry_t *e);
int m_fold_listed(m_t *m, unsigned channel, const fanout_records_t *to);
int m_fold_same(m_t *m, unsigned channel);


#endif /* _ZONE_RECORD_MODEL_H_INCLUDED_ */
