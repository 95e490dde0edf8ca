
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Clients: identities, orders about them, seats on channels, members.  The
 * rules of zone/zone.h hold.
 */


#ifndef FANOUT_ZONE_CLIENT_H
#define FANOUT_ZONE_CLIENT_H


#include "zone/zone.h"


/*
 * Identities: who may come back.  An identity has a seat on each channel that
 * its session joined; members of the channel sit on it.
 */

typedef struct {
    uint64_t                    client;     /* not 0 */
    uint64_t                    user;       /* hash of the user's name, 0:
                                               without */
    uint8_t                     secret[16];
    uint64_t                    address;    /* hash of whose it counts as, 0:
                                               nobody's */
} fanout_identity_t;

#define FANOUT_ZONE_INFO  4096              /* most bytes of info */

/* a bit of the client's number: any page may have begun it in the name of its
 * user, so that it takes no place of the user's other clients */
#define FANOUT_CLIENT_FOREIGN  0x8000000000000000ULL

/* Registers a live session; user (at most 255 bytes) and info may be empty.
 * FULL; MANY if its address holds too much; CONFLICT if the user has max
 * clients already (0: any) that are FOREIGN as this one is, or not. */
int fanout_identity_add(fanout_zone_t *z, const fanout_identity_t *id,
    const fanout_zstr_t *user, const fanout_zstr_t *info, uint32_t max,
    uint32_t *ref);

/* Gives a live session of this worker another info.  If it is another, members
 * that are told with it are told as updated, each when its channel tells of
 * changes.  FULL: the info stays as it was.  STALE. */
int fanout_identity_renew(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *info);

/* Takes a session back: the secret and the user must match an identity that
 * lingers, or one that is still live, whose worker is ordered to replace it.
 * The identity then is this worker's, with the secret that is put into next
 * (16 bytes); its seats linger no more.  Until that secret is proved to have
 * arrived the one before it is good again: for six more resumes, each taking
 * over from the last.  With keep the secret stays if it is the last one, which
 * proves it.  NOTFOUND otherwise; FULL only without a slot: it takes no
 * room. */
int fanout_identity_resume(fanout_zone_t *z, const fanout_identity_t *id,
    int keep, uint8_t *next, uint32_t *ref);

/* The client has the secret: no other is good any more.  Nothing if the
 * session was taken over. */
void fanout_identity_confirm(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id);

/* The session ended: kept for linger ms more, or gone at once with 0.  Its
 * seats then linger as their channels have it, or are given up for the reason.
 * heard says whether the client showed a sign of life: under pressure those
 * that did not go first.  Several transactions.  Nothing if it was taken over:
 * the secret then is another. */
void fanout_identity_end(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, uint32_t linger, int heard, uint8_t reason);

/* The same of a client that was told to come back after so many ms: it, and its
 * seats, linger from then on. */
void fanout_identity_disconnected(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, uint32_t linger, uint32_t after, int heard,
    uint8_t reason);

/* Who lingers says that it will not come back: gone at once, its seats given
 * up for the reason.  Several transactions.  Nothing if it is live, or the
 * secret is another. */
void fanout_identity_leave(fanout_zone_t *z, const fanout_identity_t *id,
    uint8_t reason);

/* Whether an identity registered by this worker is not its own any more: 0,
 * or by what order (REPLACED, DISCONNECT). */
int fanout_identity_lost(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id);

/* Whether a secret and a user are those of an identity, live or lingering: 1,
 * which proves the secret, or 0. */
int fanout_identity_known(fanout_zone_t *z, const fanout_identity_t *id);

/* The same of a secret that was not shown by the client: it proves nothing. */
int fanout_identity_stays(fanout_zone_t *z, const fanout_identity_t *id);


/* orders: what others want of sessions of this worker */

#define FANOUT_ORDER_REPLACED    1          /* the client is elsewhere now */
#define FANOUT_ORDER_DISCONNECT  2          /* close it with .code */
#define FANOUT_ORDER_REMOVE      3          /* its seat on the channel .local
                                               is gone, for .reason; with 0 as
                                               .client: all subscribers are to
                                               go */
#define FANOUT_ORDER_LOOK        4          /* there was no room for an order:
                                               identity_lost(), seat_lost()
                                               tell of each what it was */

typedef struct {
    uint64_t                    client;
    uint32_t                    local;
    uint16_t                    code;
    uint8_t                     op;
    uint8_t                     reason;
} fanout_order_t;

/* Takes up to max of them, oldest first. */
unsigned fanout_slot_orders(fanout_zone_t *z, fanout_order_t *orders,
    unsigned max);


/*
 * Seats and members.  A seat is a client's subscription to a channel, a
 * member (client, key) sits on it.  Changes of members reach subscribers as
 * entries of type PRESENCE: the first goes at once, later ones are gathered
 * for the channel's batch time.  Until the entry is appended the change is
 * pending; what nets to nothing meanwhile is never told.
 */

#define FANOUT_ZONE_MEMBER  8192            /* most bytes of data */

/* why a member left */
#define FANOUT_LEFT_INTENTIONAL  1
#define FANOUT_LEFT_NETWORK      2
#define FANOUT_LEFT_TIMEOUT      3
#define FANOUT_LEFT_KICKED       4
#define FANOUT_LEFT_EXPIRED      5
#define FANOUT_LEFT_REPLACED     6          /* of a DISCONNECT event alone */

/* what a change is */
#define FANOUT_JOINED            1
#define FANOUT_UPDATED           2
#define FANOUT_LEFT              3
#define FANOUT_COUNTED           4          /* summary: .count are there */

typedef struct {
    uint64_t           client;
    uint64_t           joined_at;           /* Unix ms */
    uint64_t           seen;                /* Unix ms, as of the change; put:
                                               0 is now */
    fanout_zstr_t      key;                 /* at most 255 bytes */
    fanout_zstr_t      user;                /* empty if anonymous */
    fanout_zstr_t      info;                /* empty if anonymous */
    fanout_zstr_t      data;                /* JSON, may be empty */
    fanout_zstr_t      was;                 /* put: see PUT_IF */
    uint32_t           slot;                /* from 0 */
    uint32_t           count;               /* COUNTED */
    uint8_t            change;              /* in an entry */
    uint8_t            reason;              /* LEFT */
    unsigned           idle:1;
    unsigned           timed:1;             /* idle by the clock, not asked;
                                               not in an entry */
    unsigned           anonymous:1;
    unsigned           lingers:1;           /* room_read() alone */
} fanout_member_t;

/* Takes the next change out of the data of a PRESENCE entry: 1, 0 at the
 * end, -1 if it is none.  The strings point into the data. */
int fanout_change_next(const uint8_t **p, const uint8_t *last,
    fanout_member_t *m);

/* A client of this worker sits down on an opened channel, or does so again:
 * its seat lingers no more.  FULL; STALE if the channel or the identity is
 * not this worker's. */
int fanout_seat_open(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id);

/* Whether a client of this worker has no seat any more on an opened channel: 1
 * or 0. */
int fanout_seat_lost(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id);

/* Whether a client has a member on a channel, or is counted there, opened by
 * this worker or not: 1 or 0. */
int fanout_seat_peopled(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client);

/* Gives the seat of a client of this worker up, on a channel that is opened or
 * not: its members leave for the reason.  Nothing if there is none. */
void fanout_seat_close(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, uint8_t reason);

/* what of a member is put */
#define FANOUT_PUT_DATA   0x01
#define FANOUT_PUT_STATE  0x02              /* .idle, .timed */
#define FANOUT_PUT_ENTER  0x04              /* make it if it is missing, with
                                               .anonymous */
#define FANOUT_PUT_AS_IS  0x08              /* .anonymous is of one that is
                                               made, and not less than of
                                               another one of the seat */
#define FANOUT_PUT_IF     0x10              /* only if its data is .was, which
                                               is empty where there is none */

typedef struct {
    uint32_t                    slot;
    unsigned                    created:1;  /* or back from a pending leave */
    unsigned                    changed:1;  /* a change is or was pending */
    unsigned                    idle:1;     /* as it is now */
    unsigned                    timed:1;
    unsigned                    anonymous:1;
} fanout_put_t;

/* Makes or changes the member m->key of the seat.  With the same data and
 * state nothing is told.  On a channel of the mode SUMMARY the seat counts,
 * and nothing else is kept.
 *
 * With 0 as ref the identity is found by its secret, whose worker it is, and
 * the channel by its name.
 *
 * FULL; CONFLICT if the channel has all members it may; LARGE; AGAIN if PUT_IF
 * does not hold; NOTFOUND without a seat, or without a member unless it is to
 * enter. */
int fanout_member_put(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, const fanout_member_t *m,
    unsigned what, fanout_put_t *r);

/* The member leaves, the seat stays; ref as above.  NOTFOUND. */
int fanout_member_drop(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, const fanout_zstr_t *key,
    uint8_t reason);

/* Whether it has a seat, with a member; ref as above: 1 or 0. */
int fanout_member_any(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, int *member);

/* Copies the nth member of the seat that is not about to leave, from 0 on, as
 * below; of a seat that only counts there is one without a key.  NOTFOUND. */
int fanout_member_nth(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, unsigned nth,
    fanout_member_t *m, uint8_t *buf);

/* Copies a member as it is now into buf of at least 2 * 255 + INFO + MEMBER
 * bytes.  NOTFOUND. */
#define FANOUT_ZONE_MEMBER_BUF                                                \
    (2 * 255 + FANOUT_ZONE_INFO + FANOUT_ZONE_MEMBER)

int fanout_member_get(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client, const fanout_zstr_t *key, fanout_member_t *m,
    uint8_t *buf);

typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* of the channel's last entry */
    uint32_t                    members;    /* listed now, pending joins too */
    uint32_t                    seats;
    uint8_t                     presence;   /* the mode */
} fanout_presence_info_t;

/*
 * Copies members of a channel as they were told to its subscribers, so that
 * this is the state at room->offset: pending joins are left out, pending
 * leaves are in; of a pending update the new data may be there already.
 * Ordered by slot, from *slot on, as many as fit into max and size (at least
 * MEMBER_BUF) and a section of the lock may copy; *n are filled.  *slot is
 * UINT32_MAX after the last.
 *
 * To read all of it in several calls while it changes: the PRESENCE entries
 * from the offset of the first call on up to that of the last, put upon what
 * was read (joined and updated: as it is told, left: gone), make it the state
 * at the offset of the last.
 *
 * NOTFOUND without such a channel.
 */
int fanout_presence_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t *slot, fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size, unsigned *n, fanout_presence_info_t *presence);

/* When a user, who is not there now, was last seen on a channel, by both
 * names: Unix ms.  NOTFOUND if it is not remembered. */
int fanout_seen_get(fanout_zone_t *z, const fanout_zstr_t *channel,
    const fanout_zstr_t *user, uint64_t *time);

/* Appends the entries of pending changes that are due, of any channel, as many
 * as a turn of a worker may take.  To be called after each operation on seats
 * and members, and when the ms that it returns have passed: 0 if more is due
 * now, UINT32_MAX if nothing is pending. */
uint32_t fanout_presence_flush(fanout_zone_t *z);

/* Takes a client's seat on a channel away; its worker is ordered to PART.
 * NOTFOUND. */
int fanout_seat_kick(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client, uint8_t reason);


/* clients and users, for who asks from outside */

typedef struct {
    uint64_t           client;
    fanout_zstr_t      user;                /* into the buf of the call */
    fanout_zstr_t      info;
    uint32_t           pid;                 /* of its worker, 0: lingers */
    uint32_t           seats;
} fanout_zone_client_t;

/* Describes a client; buf has room for 255 + INFO bytes.  NOTFOUND. */
int fanout_client_get(fanout_zone_t *z, uint64_t client,
    fanout_zone_client_t *info, uint8_t *buf);

/* Names of the channels that a client sits on: skips the first *cursor,
 * copies up to max (255 bytes each, lens beside); *cursor is 0 at the end.
 * NOTFOUND. */
int fanout_client_channels(fanout_zone_t *z, uint64_t client,
    uint32_t *cursor, uint8_t names[][256], uint8_t *lens, unsigned max,
    unsigned *n);

/* Clients of a user (its hash), lingering ones too: up to max of those after
 * the client *cursor (0: from the first); *cursor is 0 at the end.
 * NOTFOUND. */
int fanout_user_clients(fanout_zone_t *z, uint64_t user, uint64_t *cursor,
    uint64_t *clients, unsigned max, unsigned *n);

/* Ends a client's session for the reason KICKED: it can't come back, and its
 * worker, if it lives, is ordered to DISCONNECT it with the close code.
 * NOTFOUND. */
int fanout_client_disconnect(fanout_zone_t *z, uint64_t client,
    uint16_t code);


#endif /* FANOUT_ZONE_CLIENT_H */
