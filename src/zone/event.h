
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Events for a backend.  The rules of zone/zone.h apply.
 */


#ifndef FANOUT_ZONE_EVENT_H
#define FANOUT_ZONE_EVENT_H


#include "zone/zone.h"


/*
 * Events that a backend asked for are in a queue.  An operation writes its
 * event in its own transaction; the one worker that leads reads the queue; an
 * event is freed when the backend has taken it.  The queue is never evicted,
 * but takes no more than a quarter of the zone.  An operation never fails for
 * lack of room for its event: the event is lost and counted, and its offset is
 * missing.
 */

#define FANOUT_EVENT_CONNECT     0x01           /* or resumed */
#define FANOUT_EVENT_DISCONNECT  0x02           /* lingering or not */
#define FANOUT_EVENT_JOIN        0x04           /* a seat is taken */
#define FANOUT_EVENT_LEAVE       0x08           /* it is given up */
#define FANOUT_EVENT_FIRST_IN    0x10           /* with JOIN: the first seat of
                                                   its user; not for a user with
                                                   more than 256 clients */
#define FANOUT_EVENT_LAST_OUT    0x20           /* with LEAVE: the last of its
                                                   user */
#define FANOUT_EVENT_OCCUPIED    0x40           /* with JOIN: the first of
                                                   all */
#define FANOUT_EVENT_VACATED     0x80           /* with LEAVE: the last of
                                                   all */

#define FANOUT_ZONE_EVENTS       64             /* most in a read */

typedef struct {
    uint64_t           offset;              /* grows by one, except for lost
                                               events */
    uint64_t           time;                /* Unix ms */
    uint64_t           client;
    fanout_zstr_t      channel;             /* empty: an event of the
                                               connection */
    fanout_zstr_t      user;                /* empty: none */
    uint8_t            events;              /* only those asked for */
    uint8_t            reason;              /* DISCONNECT, LEAVE */
    unsigned           resumed:1;           /* CONNECT */
} fanout_event_t;

/* Only the events of mask are queued from now on, up to max: more evict the
 * oldest, which are lost.  Does nothing if a newer configuration is in force.
 * With a mask or a max of 0 no event is wanted, and the queued ones are
 * freed, but not counted as lost.  The last call decides, for all workers.
 * Every worker calls this when it starts; a rebuild keeps the setting, and
 * begins an epoch.  Several transactions: if the process dies in between, the
 * next call removes what is beyond max. */
void fanout_hook_queue_filter(fanout_zone_t *z, uint8_t mask, uint32_t max);

/* Returns 1 if this worker has to deliver.  The worker takes the lead if no
 * worker has it, or the leader is dead or has not renewed for 10 s.  Call it
 * every second.  The leader is woken when an event comes into the empty
 * queue. */
int fanout_hook_queue_lead(fanout_zone_t *z);

/* Gives up the lead, if this worker has it, and notifies the others if the
 * queue is not empty.  The death of a worker has the same effect when it is
 * reaped. */
void fanout_hook_queue_yield(fanout_zone_t *z);

/* Return 1 if the queue may have events, and if a worker may lead: hints, read
 * without the lock. */
int fanout_hook_queue_any(fanout_zone_t *z);
int fanout_hook_queue_led(fanout_zone_t *z);

/* Copies the oldest events; *n is their number: up to max and ZONE_EVENTS, as
 * buf of size (at least 510) bytes holds their strings, and as a section may
 * copy.  The strings point into buf.  *lost is the number of events missing
 * between the last that was done and the last of these.  Any process may read,
 * and gets the same events again until they are done; only the leader should.
 * OK; AGAIN if there are more. */
int fanout_hook_queue_read(fanout_zone_t *z, fanout_event_t *events,
    unsigned max, uint8_t *buf, size_t size, unsigned *n, uint64_t *epoch,
    uint64_t *lost);

/* The backend has taken the events up to an offset that was read: frees them.
 * Does nothing if the epoch differs, or they are gone already.  One transaction
 * for every 64: if the process dies in between, the rest is read again. */
void fanout_hook_queue_done(fanout_zone_t *z, uint64_t epoch, uint64_t offset);


#endif /* FANOUT_ZONE_EVENT_H */
