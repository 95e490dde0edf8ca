/*
 * A witness: what a backend knows by the events that it is told, and nothing
 * else.  Joins and leaves of a client on a channel alternate, and so do its
 * connects and disconnects; the first and the last are told to be it; nothing
 * is told twice after it was taken, and what is told again is the same.  Once
 * all was told, what it knows is what is.
 *
 * After a loss it believes what it is told, until it learns anew.
 */


#ifndef _ZONE_EVENTS_H_INCLUDED_
#define _ZONE_EVENTS_H_INCLUDED_


#include <stdarg.h>

#include "zone/event.h"
#include "zone_util.h"


typedef fanout_event_t  event_t;

#define E_CONNECT     FANOUT_EVENT_CONNECT
#define E_DISCONNECT  FANOUT_EVENT_DISCONNECT
#define E_JOIN        FANOUT_EVENT_JOIN
#define E_LEAVE       FANOUT_EVENT_LEAVE
#define E_FIRST_IN    FANOUT_EVENT_FIRST_IN
#define E_LAST_OUT    FANOUT_EVENT_LAST_OUT
#define E_OCCUPIED    FANOUT_EVENT_OCCUPIED
#define E_VACATED     FANOUT_EVENT_VACATED
#define E_ALL         0xff
#define E_KINDS       (E_CONNECT|E_DISCONNECT|E_JOIN|E_LEAVE)

#define W_CHANNELS    128
#define W_USERS       16
#define W_RING        4096              /* events that are known again */

typedef struct {
    uint64_t             client;        /* 0: none */
    uint64_t             joined[W_CHANNELS / 64];
    uint8_t              user;
    uint8_t              connected;
} w_client_t;

typedef struct {
    w_client_t          *cl;            /* by a hash */
    uint32_t             max;           /* a power of two */
    uint32_t             n;
    uint8_t              names[W_CHANNELS][256];    /* [0]: the length */
    uint8_t              users[W_USERS][256];
    unsigned             nnames;
    unsigned             nusers;
    uint32_t             seats[W_CHANNELS][W_USERS];
    uint8_t              mask;
    const char          *quiet;         /* a channel without hooks */
    int                  soft;          /* there was a loss */
    uint64_t             epoch;
    uint64_t             last;          /* offset read */
    uint64_t             done;
    uint64_t             read;          /* events, each once */
    uint64_t             lost;          /* offsets left out before the last */
    uint64_t             replaced;      /* client that is to connect now */
    uint32_t             ring[W_RING];
    uint32_t             sum;           /* of all */
    char                 error[256];
} witness_t;


int w_fail(witness_t *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void w_init(witness_t *w, uint8_t mask, const char *quiet);
void w_free(witness_t *w);

/* all of it but the time */

uint32_t w_event_sum(const event_t *e);

/* the next one, or one that was told before */

int w_event(witness_t *w, const event_t *e);

/* One read, taken or not.  The answer of the read, or -2. */

int w_read(witness_t *w, zone_t *z, unsigned max, size_t size, int take);

/* All there are; then each offset was read or lost. */

int w_read_all(witness_t *w, zone_t *z);
int w_true(witness_t *w, zone_t *z);

/* After a loss: forgets all, and looks at those it is to know. */

void w_forget(witness_t *w);
void w_learn(witness_t *w, zone_t *z, uint64_t client);


#endif /* _ZONE_EVENTS_H_INCLUDED_ */
