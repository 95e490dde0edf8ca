
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Clients: identities, orders about them, seats on channels, members.  The
 * rules of zone/zone.h apply.
 */


#ifndef FANOUT_ZONE_CLIENT_H
#define FANOUT_ZONE_CLIENT_H


#include "zone/zone.h"


/*
 * Identities: clients that may come back.  An identity has a seat on each
 * channel that its session joined; the members of the channel belong to a seat.
 */

typedef struct {
    uint64_t                    client;     /* not 0 */
    uint64_t                    user;       /* hash of the user's name, 0:
                                               none */
    uint8_t                     secret[16];
    uint64_t                    address;    /* hash of the address that the
                                               client counts for, 0: none */
} fanout_identity_t;

#define FANOUT_ZONE_INFO  4096              /* most bytes */

/* A bit of the client's number: any page may have started the session in the
 * name of its user, so the session does not count among the user's other
 * clients. */
#define FANOUT_CLIENT_FOREIGN  0x8000000000000000ULL

/* Registers a live session; user (at most 255 bytes) and info may be empty.
 * OK; LARGE; FULL; MANY if its address holds too much; CONFLICT if the user
 * already has max clients (0: no limit) with the same FOREIGN bit. */
int fanout_identity_add(fanout_zone_t *z, const fanout_identity_t *id,
    const fanout_zstr_t *user, const fanout_zstr_t *info, uint32_t max,
    uint32_t *ref);

/* Sets the info of a live session of this worker.  If the info differs, members
 * that show it are reported as updated, each with the next changes of its
 * channel.  OK; LARGE; STALE; FULL: the info stays as it was. */
int fanout_identity_renew(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *info);

/* Resumes a session: the secret and the user must match an identity that
 * lingers, or a live one, whose worker is ordered to replace it.  The identity
 * then belongs to this worker, with the secret that is written to next (16
 * bytes), and its seats no longer linger.  Until the client confirms that
 * secret, the previous secret stays valid, for six more resumes, each taking
 * over from the last.  With keep the secret stays if it is the newest one,
 * which confirms it.  OK; NOTFOUND; FULL only without a slot, because a resume
 * needs no blocks. */
int fanout_identity_resume(fanout_zone_t *z, const fanout_identity_t *id,
    int keep, uint8_t *next, uint32_t *ref);

/* The client has shown the newest secret: no other is valid any more.  Does
 * nothing if the session was taken over. */
void fanout_identity_confirm(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id);

/* Ends the session: the identity is kept for linger ms more, or removed at once
 * if linger is 0.  Its seats then linger as their channels' policies say, or
 * are given up for the reason.  heard is 1 if the client showed a sign of life;
 * under pressure, the others are removed first.  Several transactions.  Does
 * nothing if the session was taken over: the secret then differs. */
void fanout_identity_end(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, uint32_t linger, int heard, uint8_t reason);

/* The same for a client that was asked to come back after so many ms: the
 * identity and its seats linger from then on. */
void fanout_identity_disconnected(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, uint32_t linger, uint32_t after, int heard,
    uint8_t reason);

/* A lingering client announces that it will not come back: the identity is
 * removed at once, and its seats are given up for the reason.  Several
 * transactions.  Does nothing if the client is live, or the secret differs. */
void fanout_identity_leave(fanout_zone_t *z, const fanout_identity_t *id,
    uint8_t reason);

/* Returns 0 if an identity registered by this worker still belongs to it, else
 * the order that took it away (REPLACED, DISCONNECT). */
int fanout_identity_lost(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id);

/* Returns 1 if a secret and a user are those of an identity, live or lingering;
 * this confirms the secret. */
int fanout_identity_known(fanout_zone_t *z, const fanout_identity_t *id);

/* The same for a secret that the client did not show: it confirms nothing. */
int fanout_identity_stays(fanout_zone_t *z, const fanout_identity_t *id);


/* orders to this worker about its sessions */

#define FANOUT_ORDER_REPLACED    1          /* another worker has the client
                                               now */
#define FANOUT_ORDER_DISCONNECT  2          /* close the connection with
                                               .code */
#define FANOUT_ORDER_REMOVE      3          /* its seat on the channel .local is
                                               gone, for .reason; if .client is
                                               0: remove all subscribers */
#define FANOUT_ORDER_LOOK        4          /* there was no block for an order:
                                               check each session with
                                               identity_lost(), seat_lost(),
                                               lock_wait() */
#define FANOUT_ORDER_GRANTED     5          /* .client got a lock on the channel
                                               .local: look at its waits with
                                               lock_wait() */

typedef struct {
    uint64_t                    client;
    uint32_t                    local;
    uint16_t                    code;
    uint8_t                     op;
    uint8_t                     reason;
} fanout_order_t;

/* Takes up to max orders, oldest first.  Returns their number. */
unsigned fanout_slot_orders(fanout_zone_t *z, fanout_order_t *orders,
    unsigned max);


/*
 * Seats and members.  A seat is a client's subscription to a channel; a member
 * (client, key) belongs to a seat.  Changes of members reach subscribers as
 * entries of type PRESENCE: the first change at once, later ones are gathered
 * for the channel's batch time.  A change is pending until its entry is
 * appended; changes that cancel each other meanwhile are never reported.
 */

#define FANOUT_ZONE_MEMBER  8192            /* most bytes of data */

/* why a member left */
#define FANOUT_LEFT_INTENTIONAL  1
#define FANOUT_LEFT_NETWORK      2
#define FANOUT_LEFT_TIMEOUT      3
#define FANOUT_LEFT_KICKED       4
#define FANOUT_LEFT_EXPIRED      5
#define FANOUT_LEFT_REPLACED     6          /* only of a DISCONNECT event */
#define FANOUT_LEFT_FORBIDDEN    7          /* it lost its permission */

/* kinds of changes */
#define FANOUT_JOINED            1
#define FANOUT_UPDATED           2
#define FANOUT_LEFT              3
#define FANOUT_COUNTED           4          /* summary: .count members are
                                               there */

typedef struct {
    uint64_t           client;
    uint64_t           joined_at;           /* Unix ms */
    uint64_t           seen;                /* Unix ms, as of the change; put: 0
                                               is now */
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
    unsigned           timed:1;             /* idle by timeout, not by request;
                                               not in an entry */
    unsigned           anonymous:1;
    unsigned           lingers:1;           /* only presence_read() */
} fanout_member_t;

/* Takes the next change from the data of a PRESENCE entry: 1; 0 at the end; -1
 * if the data is broken.  The strings point into the data. */
int fanout_change_next(const uint8_t **p, const uint8_t *last,
    fanout_member_t *m);

/* Opens a seat for a client of this worker on an opened channel, or revives its
 * seat: the seat no longer lingers.  OK; FULL; STALE if the channel or the
 * identity does not belong to this worker. */
int fanout_seat_open(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id);

/* Returns 1 if a client of this worker no longer has a seat on an opened
 * channel. */
int fanout_seat_lost(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id);

/* What a client holds on a channel, whether or not this worker opened the
 * channel: a member, or it is counted; locks, or it waits for some. */

#define FANOUT_HOLDS_MEMBERS     0x01
#define FANOUT_HOLDS_LOCKS       0x02

unsigned fanout_seat_holds(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client);

/* A client of this worker came back, and nothing permits what it holds on a
 * channel until it joins again: 1, and that is counted; or 0, it has done so
 * too often. */
int fanout_seat_doubt(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id);

/* Gives up the seat of a client of this worker, on a channel that is opened or
 * not: its members leave for the reason.  Does nothing if there is no seat. */
void fanout_seat_close(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, uint8_t reason);

/* the parts of a member to set */
#define FANOUT_PUT_DATA   0x01
#define FANOUT_PUT_STATE  0x02              /* .idle, .timed */
#define FANOUT_PUT_ENTER  0x04              /* make the member if it is missing,
                                               with .anonymous */
#define FANOUT_PUT_AS_IS  0x08              /* .anonymous applies only to a new
                                               member, which is anonymous too if
                                               another member of the seat is */
#define FANOUT_PUT_IF     0x10              /* only if its data equals .was,
                                               which is empty if there is no
                                               member */

typedef struct {
    uint32_t                    slot;
    unsigned                    created:1;  /* or back from a pending leave */
    unsigned                    changed:1;  /* a change is or was pending */
    unsigned                    idle:1;     /* state now */
    unsigned                    timed:1;
    unsigned                    anonymous:1;
} fanout_put_t;

/* Makes or changes the member m->key of the seat.  If data and state are the
 * same, nothing is reported.  On a channel in SUMMARY mode the seat is counted,
 * and nothing else is kept.
 *
 * If ref is 0, the identity is found by its secret, in any worker, and the
 * channel by its name.
 *
 * OK; FULL; CONFLICT if the channel has its maximum of members; LARGE; AGAIN if
 * PUT_IF does not hold; NOTFOUND without a seat, or without a member and
 * PUT_ENTER. */
int fanout_member_put(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, const fanout_member_t *m,
    unsigned what, fanout_put_t *r);

/* Removes a member, the seat stays; ref as above.  OK, NOTFOUND. */
int fanout_member_drop(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, const fanout_zstr_t *key,
    uint8_t reason);

/* Returns 1 if the identity has a seat, and sets *member if it has a member;
 * ref as above. */
int fanout_member_any(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, int *member);

/* Returns 1 if the client with the secret has an anonymous member on a
 * channel, in any worker. */
int fanout_member_hidden(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_identity_t *id);

/* Copies the nth member (from 0 on) of the seat, without those with a pending
 * leave, as fanout_member_get().  A seat that is only counted has one member
 * without a key.  OK, NOTFOUND. */
int fanout_member_nth(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t ref, const fanout_identity_t *id, unsigned nth,
    fanout_member_t *m, uint8_t *buf);

/* Copies a member as it is now into buf of at least MEMBER_BUF (2 * 255 + INFO
 * + MEMBER) bytes.  OK, NOTFOUND. */
#define FANOUT_ZONE_MEMBER_BUF                                                \
    (2 * 255 + FANOUT_ZONE_INFO + FANOUT_ZONE_MEMBER)

int fanout_member_get(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client, const fanout_zstr_t *key, fanout_member_t *m,
    uint8_t *buf);

typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* of the channel's last entry */
    uint32_t                    members;    /* pending joins included */
    uint32_t                    seats;
    uint8_t                     presence;   /* the mode */
} fanout_presence_info_t;

/*
 * Copies members of a channel as they were reported to its subscribers: this is
 * the state at presence->offset.  Pending joins are not included, pending
 * leaves are; of a pending update the new data may be included already.  The
 * members are ordered by slot, from *slot on: as many as fit into max and size
 * (at least MEMBER_BUF), and as a section of the lock may copy; *n is their
 * number.  *slot is UINT32_MAX after the last one.
 *
 * To read all members in several calls while they change: apply the PRESENCE
 * entries from the offset of the first call up to that of the last one to the
 * members that were read (joined and updated: as reported, left: removed).  The
 * result is the state at the offset of the last call.
 *
 * OK; NOTFOUND without such a channel.
 */
int fanout_presence_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t *slot, fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size, unsigned *n, fanout_presence_info_t *presence);

/* Finds when a user, who is not on a channel now, was last seen there, by both
 * names: Unix ms.  OK; NOTFOUND if that is not remembered. */
int fanout_seen_get(fanout_zone_t *z, const fanout_zstr_t *channel,
    const fanout_zstr_t *user, uint64_t *time);

/* Appends the entries of pending changes that are due, of any channel, as many
 * as a turn of a worker may take.  Call it after each operation on seats and
 * members, and again after the returned ms: 0 if more is due now, UINT32_MAX if
 * nothing is pending. */
uint32_t fanout_presence_flush(fanout_zone_t *z);

/* Removes a client's seat on a channel; its worker is ordered to REMOVE it.
 * OK, NOTFOUND. */
int fanout_seat_kick(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t client, uint8_t reason);


/* clients and users, for requests from outside */

typedef struct {
    uint64_t           client;
    fanout_zstr_t      user;                /* into the buf of the call */
    fanout_zstr_t      info;
    uint32_t           pid;                 /* of its worker, 0: lingering */
    uint32_t           seats;
} fanout_zone_client_t;

/* Describes a client; buf has room for 255 + INFO bytes.  OK, NOTFOUND. */
int fanout_client_get(fanout_zone_t *z, uint64_t client,
    fanout_zone_client_t *info, uint8_t *buf);

/* Copies the names of the channels on which a client has seats: skips the first
 * *cursor, copies up to max (255 bytes each, with lens); *cursor is 0 at the
 * end.  OK, NOTFOUND. */
int fanout_client_channels(fanout_zone_t *z, uint64_t client,
    uint32_t *cursor, uint8_t names[][256], uint8_t *lens, unsigned max,
    unsigned *n);

/* Copies the clients of a user (a hash), lingering ones too: up to max of those
 * after the client *cursor (0: from the first); *cursor is 0 at the end.  OK,
 * NOTFOUND. */
int fanout_user_clients(fanout_zone_t *z, uint64_t user, uint64_t *cursor,
    uint64_t *clients, unsigned max, unsigned *n);

/* Ends a client's session for the reason KICKED: the client can't resume it,
 * and its worker, if any, is ordered to DISCONNECT it with the close code.  OK,
 * NOTFOUND. */
int fanout_client_disconnect(fanout_zone_t *z, uint64_t client,
    uint16_t code);


#endif /* FANOUT_ZONE_CLIENT_H */
