/*
 * Channels of a zone and who is on them, for the test of rosters: as they are,
 * and as each entry tells it.  Members come and go at random.
 */


#ifndef _ROSTER_ROOMS_H_INCLUDED_
#define _ROSTER_ROOMS_H_INCLUDED_


#include "hub/roster.h"
#include "random.h"


#define ROOMS     3
#define SEATS     40
#define CLIENTS   12
#define KEYS      4
#define LOG       4096
#define CHANGES   4                     /* in an entry */
#define TEXT      (SEATS * 2048)        /* all members as JSON, at most */


typedef struct {
    uint8_t            there;
    uint8_t            client;
    uint8_t            key;
    uint8_t            idle;
    uint16_t           data;
} seat_t;

typedef struct {
    uint8_t            change;
    uint8_t            slot;
    seat_t             seat;
    uint32_t           count;
} change_t;

typedef struct {
    uint32_t           n;
    seat_t             seats[SEATS];
} state_t;

typedef struct {
    fanout_entry_t     e;
    change_t           changes[CHANGES];
    ngx_uint_t         nchanges;
    ngx_msec_t         at;              /* it was delivered */
    state_t            after;
} told_t;

typedef struct {
    fanout_channel_t   ch;
    fanout_policy_t    policy;
    state_t            zone;
    state_t            here;            /* as of ch.offset */
    uint64_t           epoch;
    uint64_t           offset;
    told_t             log[LOG];
    ngx_uint_t         nlog;
    ngx_uint_t         delivered;       /* of the log */
    ngx_uint_t         first;           /* of these the roster may have */
} room_t;


extern room_t       rooms[ROOMS];
extern const char  *room_keys[KEYS];

/* the state of the generator */
extern uint64_t     own;

/* calls of fanout_presence_read(), and those that left something for later */
extern unsigned     reads, parts;

/* the first thing that was wrong, "" */
extern char         error[256];


unsigned draw(unsigned n);

/* Notes what is wrong; -1. */
int wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t client_of(const seat_t *s);

/* A member as JSON, and all of them by slot with commas: the length. */
size_t say(char *text, uint64_t client, uint32_t slot, uint64_t data,
    int unnamed);
size_t say_all(char *text, const state_t *s, int unnamed);

/* Up to four members join, are updated or leave, which is told by one entry; or
 * what has nothing to do with members is appended: a message, a reset.  Nothing
 * if the log is full. */
void room_change(room_t *room);
void room_append(room_t *room, uint8_t type);

/* Whether a list is this text, in chunks with a comma in between: 0, -1. */
int list_is(fanout_snapshot_t *sn, const char *text);

/* Whether the roster keeps what it has to of the entries that were delivered:
 * the newest, in order, all behind its .lost; unless memory is scarce all that
 * there is room for.  0, -1. */
int room_backlog(room_t *room, int scarce);


#endif /* _ROSTER_ROOMS_H_INCLUDED_ */
