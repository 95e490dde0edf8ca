/*
 * A model of who is on which channel, and random operations on it and a zone
 * by several workers in one process.  Each has a mirror of the members of each
 * channel it reads, kept by what it drains alone; a witness knows what events
 * tell.  A seed, or the input of a fuzzer, replays all of it.
 *
 * In a small zone lingering clients may be evicted: the model then asks.
 */


#ifndef _ZONE_ROOM_MODEL_H_INCLUDED_
#define _ZONE_ROOM_MODEL_H_INCLUDED_


#include "zone_presence.h"
#include "zone_steps.h"


#define R_HANDLES    5
#define R_CHANNELS   6
#define R_SUMMARY    5                  /* the channel that only counts */
#define R_QUIET      2                  /* the channel without hooks */
#define R_CLIENTS    24
#define R_USERS      4
#define R_KEYS       4
#define R_ORDERS     256
#define R_STONES     2000

/* where a client is, if not at a handle */
#define R_NONE       -1
#define R_LINGERS    -2
#define R_ORPHAN     -3                 /* its worker died */

#define R_LIVE       1
#define R_CUT        2

typedef struct {
    uint32_t             data;          /* seed */
    uint32_t             len;
    uint8_t              there;
    uint8_t              idle;
    uint8_t              anonymous;
} r_member_t;

typedef struct {
    uint8_t              state;         /* 0, R_LIVE, R_CUT */
    uint8_t              counted;
    uint32_t             due;
    r_member_t           m[R_KEYS];
} r_seat_t;

typedef struct {
    person_t             p;
    int                  where;
    unsigned             user;
    unsigned             info;
    uint32_t             expires;
    r_seat_t             seat[R_CHANNELS];
    person_t             old;           /* as somebody had it before */
    int                  old_at;        /* his handle + 1 */
    person_t             before;        /* what the last was resumed with */
    unsigned             tries;         /* since it was proved */
} r_client_t;

typedef struct {
    zone_t               z;
    int                  alive;
    int                  stopped;
    channel_t            c[R_CHANNELS];
    mirror_t             mirror[R_CHANNELS];
    order_t              orders[R_ORDERS];
    uint32_t             norders;
} r_handle_t;

typedef struct {
    steps_t              s;
    r_handle_t           h[R_HANDLES];
    r_client_t           cl[R_CLIENTS];
    policy_t             policy[R_CHANNELS];
    char                 names[R_CHANNELS][300];
    uint64_t             clients;
    uint32_t             seeds;
    uint32_t             full;          /* answers */
    uint32_t             gaps;
    uint32_t             looks;         /* for want of an order */
    uint32_t             changes;
    uint32_t             kills;
    uint32_t             settled;
    zone_t               stone;         /* a worker who fills the zone */
    person_t             stones[R_STONES];
    uint32_t             nstones;
    int                  pressure;
    witness_t            w;
    uint32_t             events;        /* most queued */
    unsigned             lead;          /* slot + 1, 0 */
    uint32_t             lead_at;
    uint64_t             dead;          /* slots, not reaped */
    uint32_t             repeated;      /* reads */
    uint32_t             known;         /* times all was known of events */
    uint32_t             linger;        /* ms, of all identities */
    void                *mem;
    size_t               size;
    arena_t              a;
} rmodel_t;


extern const char  *r_users[R_USERS];

#define R_INFOS  4

extern const char  *r_infos[R_INFOS];

extern const char  *r_keys[R_KEYS];


/* workers */

void r_attach(rmodel_t *m, unsigned h);
int r_claim(rmodel_t *m, unsigned h);
void r_init(rmodel_t *m, void *mem, size_t size);
void r_done(rmodel_t *m);

/* one that is alive; there always is one */

unsigned r_worker(rmodel_t *m);

/* clients in the model */

void r_gone(r_client_t *cl);
void r_cut(rmodel_t *m, r_client_t *cl, uint32_t linger);
uint32_t r_members(rmodel_t *m, unsigned i);

/* What pressure has taken, the model did not see. */

int r_ask(rmodel_t *m);

/* operations */

int r_add(rmodel_t *m, r_client_t *cl);
int r_open(rmodel_t *m, unsigned h, unsigned i);
int r_put(rmodel_t *m, r_client_t *cl);
int r_sit(rmodel_t *m, r_client_t *cl);
int r_drop(rmodel_t *m, r_client_t *cl);
void r_close_seat(rmodel_t *m, r_client_t *cl, unsigned i);
int r_end(rmodel_t *m, r_client_t *cl);
int r_resume(rmodel_t *m, r_client_t *cl);

/* it has its secret, as an answer shows or that it uses it */

int r_renew(rmodel_t *m, r_client_t *cl);
int r_prove(rmodel_t *m, r_client_t *cl);

/* who had the session before changes nothing */

int r_stale(rmodel_t *m, r_client_t *cl);
int r_kick(rmodel_t *m, r_client_t *cl);
int r_disconnect(rmodel_t *m, r_client_t *cl);
int r_settle(rmodel_t *m);
int r_check(rmodel_t *m);
int r_step(rmodel_t *m);

/* one is expected of a worker */

void r_order(rmodel_t *m, int h, uint8_t op, uint64_t client, uint32_t local);

/* what others want of sessions; a worker dies, and is reaped */

int r_orders(rmodel_t *m, unsigned h);
int r_kill(rmodel_t *m);
int r_reap(rmodel_t *m);

/* Everything is given back: the zone must be as empty as it was. */

int r_empty(rmodel_t *m, uint64_t start);


#endif /* _ZONE_ROOM_MODEL_H_INCLUDED_ */
