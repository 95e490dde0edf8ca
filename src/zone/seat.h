
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Seats.  The lock must be held for all functions.
 */


#ifndef FANOUT_ZONE_SEAT_H
#define FANOUT_ZONE_SEAT_H


#include "zone/identity.h"


/*
 * A seat: a client's subscription to a channel.  While it lingers, it is in the
 * wheel of seats, at the second when it is to be given up.  A seat that is GONE
 * waits until the leaves of its members are reported.  Its mail is a list of
 * entries.
 */

#define FANOUT_SEAT_LIVE      1
#define FANOUT_SEAT_LINGERS   2
#define FANOUT_SEAT_GONE      3

/* flags: counted in a presence set that only counts; lingering, and its client
 * announced that it leaves; the info of the identity has changed since its
 * members were reported; how often in doubt since it was opened */

#define FANOUT_SEAT_COUNTED   1
#define FANOUT_SEAT_INTENT    2
#define FANOUT_SEAT_RENEWED   4
#define FANOUT_SEAT_DOUBT     8
#define FANOUT_SEAT_DOUBTS    (3 * FANOUT_SEAT_DOUBT)

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         channel;
    uint64_t             client;
    fanout_ref_t         identity;
    fanout_ref_t         id_next;       /* of the identity, those that are GONE
                                           last */
    fanout_ref_t         id_prev;       /* of the identity's first seat: the
                                           last one */
    fanout_ref_t         members;
    fanout_ref_t         mail;          /* first by age, whose prev is the
                                           last */
    fanout_ref_t         claims;        /* to locks */
    uint64_t             mail_lost;     /* highest offset that was removed, with
                                           the changing bits of its epoch in the
                                           upper 16 bits */
    uint8_t              nmail;
    uint8_t              state;
    uint8_t              flags;
    uint8_t              due_at;        /* place in the wheel */
    uint32_t             due;           /* lingering: s of the zone's clock;
                                           live: the holder that the seat counts
                                           for */
    fanout_ref_t         due_next;
    fanout_ref_t         due_prev;
} fanout_seat_t;


#define fanout_seat(z, ref)  ((fanout_seat_t *) fanout_at(z, ref))


/* one seat: see zone/seat.c */

unsigned fanout_seat_bucket(fanout_zone_t *z, fanout_ref_t channel,
    uint64_t client);

/* Finds a seat in any state; 0: none. */
fanout_ref_t fanout_seat_find(fanout_zone_t *z,
    fanout_ref_t channel, uint64_t client);

/* Frees a seat that is GONE, after its last member. */
void fanout_seat_free_unused(fanout_zone_t *z, fanout_ref_t ref);

/* Gives up a seat, unless it is GONE: ends its locks, frees its mail, makes its
 * members leave, and frees the seat if no leave is pending.  May commit.
 * Returns 1 if more has to be done first, in another transaction: then the seat
 * is as it was, but locks, and members whose join was never reported, may be
 * gone. */
int fanout_seat_give_up(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);


/* seats that linger: see zone/seat_linger.c */

/* Makes a seat LIVE that is new or GONE: it counts for the holder of its
 * identity. */
void fanout_seat_go_live(fanout_zone_t *z, fanout_ref_t ref);

/* Makes a seat LIVE that LINGERS: it leaves the wheel. */
void fanout_seat_revive(fanout_zone_t *z, fanout_ref_t ref);

/* Make an identity's seats linger, or live again: as many as a section may
 * take, of which at most max are given up.  Return 1 if there are more.  The
 * seats linger from after s on. */
int fanout_seats_linger(fanout_zone_t *z, fanout_ref_t identity, unsigned max,
    uint8_t reason, uint32_t after, fanout_seats_walk_t *at);
int fanout_seats_revive(fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at);

/* Marks a step of the seats as RENEWED: when they are revived or linger, their
 * members are reported.  Returns 1 if there are more. */
int fanout_seats_mark(fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at);

int fanout_seats_give_up(fanout_zone_t *z, fanout_ref_t identity,
    unsigned max, uint8_t reason);

/* Gives up seats that lingered long enough, up to a step; AGAIN if there are
 * more. */
int fanout_seat_sweep(fanout_zone_t *z);

/* A new seat, which is GONE until it is made live; the block was ensured. The
 * lock must be held. */
fanout_ref_t fanout_seat_make(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t identity, uint64_t client);

/* Moves a seat to the end of its identity's seats, or to their front: those
 * that are gone come last. The first has the last as its id_prev. The lock
 * must be held. */
void fanout_seat_move(fanout_zone_t *z, fanout_ref_t ref, int last);

/* All members of a seat leave; none of them is pending JOIN. The lock must be
 * held. */
void fanout_seat_members_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t
    reason);

/* Frees the members whose join nobody has been sent. A seat may have many,
 * each with tables and text, so this may take several transactions, before the
 * one that gives up the seat: returns 1 if there are more. The lock must be
 * held. */
int fanout_seat_unreported_free(fanout_zone_t *z, fanout_ref_t ref, uint8_t
    reason);

/* A live seat lingers, for the linger of its channel and after seconds more.
 * The lock must be held. */
void fanout_seat_linger(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason,
    uint32_t after);

/* The members of a seat that was marked by fanout_seats_mark() are announced as
 * updated. The lock must be held. */
void fanout_seat_renewed(fanout_zone_t *z, fanout_ref_t ref);

/* The wheel of lingering seats: deadlines beyond one turn are filed again when
 * they are reached. The lock must be held. */
void fanout_seat_due_link(fanout_zone_t *z, fanout_ref_t ref);

void fanout_seat_due_unlink(fanout_zone_t *z, fanout_ref_t ref);


#endif /* FANOUT_ZONE_SEAT_H */
