/*
 * What the tests of rooms share: clients with their seats, and mirrors.
 *
 * A mirror is what a worker knows of a channel's members: read once by
 * room_read(), in sections between which anything may happen, then kept by the
 * drained entries alone.  It takes no delta that cannot be, no offset that is
 * left out without a word, and must in the end be what room_read() says.
 */


#ifndef _ZONE_ROOM_H_INCLUDED_
#define _ZONE_ROOM_H_INCLUDED_


#include <stdarg.h>

#include "zone_events.h"


typedef fanout_member_t       member_t;
typedef fanout_put_t          put_t;
typedef fanout_presence_info_t         presence_t;
typedef fanout_order_t        order_t;
typedef fanout_zone_client_t  client_t;

#define ENTER    FANOUT_PUT_ENTER
#define DATA     FANOUT_PUT_DATA
#define STATE    FANOUT_PUT_STATE

#define JOINED   FANOUT_JOINED
#define UPDATED  FANOUT_UPDATED
#define LEFT     FANOUT_LEFT
#define COUNTED  FANOUT_COUNTED

#define SECTION  (2 * FANOUT_ZONE_MEMBER_BUF)


/* clients */

typedef struct {
    identity_t             id;
    uint32_t               ref;
} person_t;


/* what of a member has to be the same in every mirror */

typedef struct {
    uint64_t               client;
    uint64_t               joined_at;
    uint32_t               key;         /* sums */
    uint32_t               user;
    uint32_t               info;
    uint32_t               data;
    uint8_t                there;
    uint8_t                idle;
    uint8_t                anonymous;
} face_t;

typedef struct held_s  held_t;

struct held_s {
    held_t                *next;
    uint64_t               offset;
    uint32_t               len;
    uint8_t                data[];
};

#define MIRROR_LOST        0            /* to be read */
#define MIRROR_LOADING     1
#define MIRROR_KNOWN       2

typedef struct {
    face_t                *faces;       /* by slot */
    uint32_t               max;
    uint32_t               n;
    uint32_t               count;       /* as told, or read */
    int                    state;
    uint32_t               slot;        /* LOADING: on from here */
    uint64_t               epoch;
    uint64_t               offset;      /* of the state */
    uint64_t               soft;        /* up to here the state may have
                                           what is told already */
    held_t                *held;        /* LOADING: entries that came */
    held_t               **held_last;
    uint64_t               at_epoch;    /* of the log */
    uint64_t               at;
    int                    follows;     /* at is known */
    uint32_t               gaps;
    uint32_t               loads;
    uint32_t               sections;
    uint32_t               changes;
    char                   error[256];
} mirror_t;


int person_add(zone_t *z, person_t *p, uint64_t client, const char *user,
    const char *info, uint32_t max);
int person_sit(zone_t *z, channel_t *c, person_t *p);
int person_put(zone_t *z, channel_t *c, person_t *p, const char *key,
    const char *data, unsigned what, put_t *r);
int person_drop(zone_t *z, channel_t *c, person_t *p, const char *key);
void person_end(zone_t *z, person_t *p, uint32_t linger);

/* goes on purpose, and may come back */

void person_goes(zone_t *z, person_t *p, uint32_t linger);
int person_renew(zone_t *z, person_t *p, const char *info);
int person_resume(zone_t *z, person_t *p);
uint32_t sum(fanout_zstr_t s);
void mirror_forget(mirror_t *m);
void mirror_init(mirror_t *m);
void mirror_done(mirror_t *m);
int mirror_entry(mirror_t *m, const entry_t *e);

/* One section; 1 when it is the last, 0, or -1. */

int mirror_load(mirror_t *m, zone_t *z, channel_t *c, unsigned max);

/* all of it at once */

int mirror_read(mirror_t *m, zone_t *z, channel_t *c);

/* Whether both show the same; with exact data and state as well. */

int mirror_same(mirror_t *m, mirror_t *o, int exact);

/* appends all that is due, and goes on to when the rest is */

int flush_all(zone_t *z);


#endif /* _ZONE_ROOM_H_INCLUDED_ */
