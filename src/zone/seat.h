
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Seats.  The lock must be held for all of it.
 */


#ifndef FANOUT_ZONE_SEAT_H
#define FANOUT_ZONE_SEAT_H


#include "zone/identity.h"


/*
 * A seat: a client's subscription to a channel.  While it lingers it is in
 * the wheel of seats, at the second when it is to be given up.  A seat that is
 * GONE waits until the leaves of its members were told.  Its mail is a list of
 * entries by their next.
 */

#define FANOUT_SEAT_LIVE      1
#define FANOUT_SEAT_LINGERS   2
#define FANOUT_SEAT_GONE      3

/* flags: a member of a presence set that only counts; lingers, and its client
 * has said goodbye; its members were told with another info of the identity */

#define FANOUT_SEAT_COUNTED   1
#define FANOUT_SEAT_INTENT    2
#define FANOUT_SEAT_RENEWED   4

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         channel;
    uint64_t             client;
    fanout_ref_t         identity;
    fanout_ref_t         id_next;       /* of the identity, the gone last */
    fanout_ref_t         id_prev;       /* of its first: the last */
    fanout_ref_t         members;
    fanout_ref_t         mail_head;
    fanout_ref_t         mail_tail;
    uint64_t             mail_lost;     /* highest offset let go of, and in
                                           the upper 16 bits those of its
                                           epoch that change */
    uint8_t              nmail;
    uint8_t              state;
    uint8_t              flags;
    uint8_t              due_at;        /* place in the wheel */
    uint32_t             due;           /* lingering: s of the zone's clock;
                                           live: as expires of an identity */
    fanout_ref_t         due_next;
    fanout_ref_t         due_prev;
} fanout_seat_t;


#define fanout_seat(z, ref)  ((fanout_seat_t *) fanout_at(z, ref))


/* one seat: see zone/seat.c */

unsigned fanout_seat_bucket(fanout_zone_t *z, fanout_ref_t channel,
    uint64_t client);

/* Of any state; 0. */
fanout_ref_t fanout_seat_find(fanout_zone_t *z,
    fanout_ref_t channel, uint64_t client);

/* Frees one that is gone, after its last member. */
void fanout_seat_free_unused(fanout_zone_t *z, fanout_ref_t ref);

/* Gives one up, unless it is GONE: its mail is freed, its members leave, and it
 * is freed too if none of these waits to be told.  Whether there is more to do
 * first, in another transaction: then it is as it was, but for members that
 * nobody was told of. */
int fanout_seat_give_up(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason);


/* seats that linger: see zone/seat_linger.c */

/* Makes one LIVE that is new or GONE: it counts for the holder that its
 * identity counts for. */
void fanout_seat_go_live(fanout_zone_t *z, fanout_ref_t ref);

/* Makes one LIVE that LINGERS: it leaves the wheel. */
void fanout_seat_revive(fanout_zone_t *z, fanout_ref_t ref);

/* What becomes of an identity's seats, as many as a section may take, and of
 * those given up at most max; whether there are more.  They linger from after s
 * on. */
int fanout_seats_linger(fanout_zone_t *z, fanout_ref_t identity, unsigned max,
    uint8_t reason, uint32_t after, fanout_seats_walk_t *at);
int fanout_seats_revive(fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at);

/* Marks a step of the seats as RENEWED: revive or linger tells of their
 * members.  Whether there are more. */
int fanout_seats_mark(fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at);

int fanout_seats_give_up(fanout_zone_t *z, fanout_ref_t identity,
    unsigned max, uint8_t reason);

/* Gives up those that lingered long enough, up to a step; AGAIN. */
int fanout_seat_sweep(fanout_zone_t *z);


#endif /* FANOUT_ZONE_SEAT_H */
