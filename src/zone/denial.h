
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Denials: users, clients, addresses and tokens that are shut out for a time.
 * The rules of zone/zone.h apply.
 *
 * The zone numbers its denials as they are made.  A worker remembers the number
 * up to which it has ended its sessions.  Whoever reads an entry that was
 * published after a denial, and compares the numbers then, sees that there is a
 * denial to apply.  A rebuild loses the denials, but not the number.
 */


#ifndef FANOUT_ZONE_DENIAL_H
#define FANOUT_ZONE_DENIAL_H


#include "zone/zone.h"


#define FANOUT_ZONE_DENIALS      10000  /* limit unless denials= says
                                           otherwise */
#define FANOUT_ZONE_DENIALS_MAX  1000000
#define FANOUT_ZONE_DENIED_FOR   (366 * 24 * 3600)          /* s, at most */

/* kinds */

#define FANOUT_DENY_USER     0
#define FANOUT_DENY_CLIENT   1
#define FANOUT_DENY_ADDRESS  2
#define FANOUT_DENY_TOKEN    3          /* by its jti */
#define FANOUT_DENY_ISSUED   4          /* tokens of a user, issued before a
                                           time */
#define FANOUT_DENY_RENEW    5          /* authorizations of a user that are
                                           older: they have to be renewed */
#define FANOUT_NDENIALS      6


typedef struct {
    fanout_zstr_t        name;          /* as it was written, 1 to 255 bytes */
    uint64_t             key;           /* hash of it, or the client */
    uint64_t             until;         /* Unix ms; of a put: set */
    uint64_t             change;        /* its number; of a put: set */
    uint32_t             left;          /* s until it ends, at least 1 */
    uint32_t             value;         /* ISSUED: Unix s; RENEW: ms */
    uint8_t              kind;          /* FANOUT_DENY_* */
} fanout_denial_t;

/* whom a denial may concern; 0 of each: none */

typedef struct {
    uint64_t             user;          /* hashes */
    uint64_t             address;
    uint64_t             token;         /* of its jti */
    uint64_t             client;
    uint64_t             change;        /* number of the zone when the session
                                           was authorized */
    uint32_t             issued;        /* Unix s, 0: the token does not say */
    uint8_t              tokened;       /* there is a token */
} fanout_subject_t;


/* The number of the last denial, without the lock. */
uint64_t fanout_denial_last(fanout_zone_t *z);

/* Makes a denial for d->left seconds, or renews it: of ISSUED the later time
 * stays.  All workers are woken.  OK; MANY: there are as many as there may be;
 * FULL. */
int fanout_denial_put(fanout_zone_t *z, fanout_denial_t *d);

/* Ends a denial.  OK, NOTFOUND. */
int fanout_denial_drop(fanout_zone_t *z, unsigned kind, uint64_t key);

/* Whether a denial but RENEW concerns the subject: 1, and d without the name;
 * or 0.  Without denials it takes no lock. */
int fanout_denial_check(fanout_zone_t *z, const fanout_subject_t *who,
    fanout_denial_t *d);

/* The same for RENEW. */
int fanout_denial_stale(fanout_zone_t *z, const fanout_subject_t *who,
    fanout_denial_t *d);

/* Whether a denial of any kind concerns the subject. */
int fanout_denial_concerns(const fanout_denial_t *d,
    const fanout_subject_t *who);

/* Copies the denials after a number, newest first, without names.  Returns how
 * many; -1: there are more than max.  *last gets the number of the last one. */
int fanout_denial_since(fanout_zone_t *z, uint64_t after, fanout_denial_t *d,
    unsigned max, uint64_t *last);

/* Finds a denial; its name is in buf, of 255 bytes.  OK, NOTFOUND. */
int fanout_denial_get(fanout_zone_t *z, unsigned kind, uint64_t key,
    fanout_denial_t *d, uint8_t *buf);

/* Copies denials, but not RENEW, from *cursor (0 at first) on: at most max
 * (64), with names in buf, of max * 255 bytes.  Returns how many; *cursor is 0
 * at the end.  A denial that exists all the while is seen once. */
unsigned fanout_denial_list(fanout_zone_t *z, uint64_t *cursor,
    fanout_denial_t *d, unsigned max, uint8_t *buf);


#endif /* FANOUT_ZONE_DENIAL_H */
