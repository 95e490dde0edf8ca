
/*
 * What the tests of records share: sets written as text, and records as text.
 */


#ifndef _ZONE_RECORD_H_INCLUDED_
#define _ZONE_RECORD_H_INCLUDED_


#include "zone_util.h"
#include "zone/record.h"
#include "zone/shelf.h"


#define HELD     FANOUT_ZONE_HELD
#define MANY     FANOUT_ZONE_MANY


/* A set: "a=1 b=2 -c d+3" sets a and b, unsets c, and appends 3 to d. */

typedef struct {
    const char                *id;
    const char                *text;
    long                       base;    /* -1: none, OVERWRITE */
    const char                *user;
    const char                *key;
    const char                *release;
    uint64_t                   client;
    uint64_t                   token;
    uint64_t                   address;
    unsigned                   guard_off:1;
    unsigned                   reject:1;
    unsigned                   create:1;
    unsigned                   exact:1;
    unsigned                   whole:1;
} set_t;

/* The result of the last one: the fields in conflict as text. */

extern fanout_zone_set_result_t  was;
extern char                      conflict[];

int record_set(fanout_zone_t *z, fanout_zone_channel_t *c, const set_t *s);
int record_delete(fanout_zone_t *z, fanout_zone_channel_t *c, const char *id,
    long base);

/* A record as "a=1 b=2", in the order of its fields; NULL: there is none.  The
 * text is valid until the next call. */
const char *record_get(fanout_zone_t *z, fanout_zone_channel_t *c,
    const char *id);

/* of the last call of record_ids() */
extern uint32_t                  record_seen;

/* The ids and versions of all records whose ids begin so: "r1:3 r2:1". */
const char *record_ids(fanout_zone_t *z, fanout_zone_channel_t *c,
    const char *prefix, unsigned max, unsigned *reads);

/* A record of bytes as text: "r1:3 a=1 b=2", with (was V), (absent), (no
 * array), (by U) behind fields. */
void record_text(const fanout_record_t *r, char *buf, size_t size);


#endif /* _ZONE_RECORD_H_INCLUDED_ */
