
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Events for a backend.  The rules of zone/zone.h hold.
 */


#ifndef FANOUT_ZONE_EVENT_H
#define FANOUT_ZONE_EVENT_H


#include "zone/zone.h"


/*
 * Events: what a backend is to be told of.  A queue that is written in the
 * transactions of what happens, read by the one worker that leads, and freed
 * when the backend has taken it.  It is never evicted, but takes no more than
 * a quarter of the zone.  What happens never fails for lack of room for its
 * event: the event is lost, counted, and leaves a hole in the offsets.
 */

#define FANOUT_EVENT_CONNECT     0x01           /* or resumed */
#define FANOUT_EVENT_DISCONNECT  0x02           /* lingering or not */
#define FANOUT_EVENT_JOIN        0x04           /* a seat is taken */
#define FANOUT_EVENT_LEAVE       0x08           /* it is given up */
#define FANOUT_EVENT_FIRST_IN    0x10           /* with JOIN: of its user; not
                                                   of one with more than 256
                                                   clients */
#define FANOUT_EVENT_LAST_OUT    0x20           /* with LEAVE: the last one */
#define FANOUT_EVENT_OCCUPIED    0x40           /* with JOIN: of all */
#define FANOUT_EVENT_VACATED     0x80           /* with LEAVE: the last */

#define FANOUT_ZONE_EVENTS       64             /* most in a read */

typedef struct {
    uint64_t           offset;              /* grows by one, but for those
                                               lost */
    uint64_t           time;                /* Unix ms */
    uint64_t           client;
    fanout_zstr_t      channel;             /* empty: of the connection */
    fanout_zstr_t      user;                /* empty: none */
    uint8_t            events;              /* those asked for alone */
    uint8_t            reason;              /* DISCONNECT, LEAVE */
    unsigned           resumed:1;           /* CONNECT */
} fanout_event_t;

/* Asks for the events of mask from now on, of which up to max are queued: the
 * oldest give way, and are lost.  Nothing if a newer configuration is in
 * force.  0 as one of them: for none, and what is
 * queued is freed, and not lost.  What was asked for last counts, for all
 * workers.  To be called by every worker at its start; a rebuild leaves it as
 * it is, and begins an epoch.  Several transactions: who dies in between leaves
 * some of what is beyond max to the next call. */
void fanout_hook_queue_ask(fanout_zone_t *z, uint8_t mask, uint32_t max);

/* Whether this worker is to deliver: 1 or 0.  It takes the lead if nobody has
 * it, or who has it is dead or was not heard of for 10 s.  To be called every
 * second; who leads is woken when an event comes into the empty queue. */
int fanout_hook_queue_lead(fanout_zone_t *z);

/* Gives the lead up, if it has it: the others are woken if there is
 * something to deliver.  The death of a worker does the same, once it is
 * reaped. */
void fanout_hook_queue_yield(fanout_zone_t *z);

/* Whether there may be some, and whether somebody may lead: 1 or 0.  Hints,
 * read without the lock. */
int fanout_hook_queue_any(fanout_zone_t *z);
int fanout_hook_queue_led(fanout_zone_t *z);

/* Copies the oldest, *n of them: up to max and ZONE_EVENTS, to what buf of size
 * (at least 510) holds of their strings, and to what a section copies.  They
 * point into buf.  *lost is how many came between the last that was done and
 * the last of these and are not there.  Whoever asks gets them, and again until
 * they are done: who leads should.  OK; AGAIN if there are more. */
int fanout_hook_queue_read(fanout_zone_t *z, fanout_event_t *events,
    unsigned max, uint8_t *buf, size_t size, unsigned *n, uint64_t *epoch,
    uint64_t *lost);

/* They were taken, up to an offset that was read: they are freed.  Nothing if
 * the epoch is another, or they are gone already.  A transaction for every 64:
 * who dies in between has the rest read again. */
void fanout_hook_queue_done(fanout_zone_t *z, uint64_t epoch, uint64_t offset);


#endif /* FANOUT_ZONE_EVENT_H */
