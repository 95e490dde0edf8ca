
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The queue of events for a backend.  The lock must be held for all functions.
 */


#ifndef FANOUT_ZONE_HOOK_QUEUE_H
#define FANOUT_ZONE_HOOK_QUEUE_H


#include "zone/event.h"
#include "zone/layout.h"


/* An event for a backend, in the queue.  The names of the channel and the user
 * continue through the chain. */

#define FANOUT_EVENT_RESUMED  0x01

#define FANOUT_EVENT_FIRST    20
#define FANOUT_EVENT_BLOCKS   10        /* of the largest */

typedef struct {
    fanout_ref_t         chain;
    fanout_ref_t         next;
    fanout_ref_t         last;          /* block of the chain */
    uint16_t             blocks;
    uint8_t              events;        /* FANOUT_EVENT_* */
    uint8_t              reason;
    uint64_t             offset;
    uint64_t             time;          /* Unix ms */
    uint64_t             client;
    uint8_t              channel;       /* lengths */
    uint8_t              user;
    uint8_t              flags;
    uint8_t              unused[1];
    uint8_t              data[FANOUT_EVENT_FIRST];
} fanout_event_block_t;


#define fanout_event(z, ref)     ((fanout_event_block_t *) fanout_at(z, ref))


/* events: see zone/hook_queue.c */

#define FANOUT_EVENT_SPARE    8         /* blocks left to other needs */
#define FANOUT_EVENT_STEP     17        /* events of a step of seats and their
                                           client */
#define FANOUT_EVENTS_ROOM                                                    \
    (FANOUT_EVENT_STEP * FANOUT_EVENT_BLOCKS + FANOUT_EVENT_SPARE)

/* blocks that the queue may take */
#define FANOUT_EVENT_SHARE(shm)                                               \
    ((shm)->shares[FANOUT_SHARE_events].max)

/* Tries to ensure n blocks and those for a step of events; call it at the start
 * of a transaction. */
void fanout_hook_event_room(fanout_zone_t *z, uint32_t n);

/* Returns 1 if there is room for the events of one more step in this
 * transaction. */
static inline int
fanout_event_fits(fanout_zone_t *z)
{
    return z->shm->event_mask == 0 || z->shm->heap.nfree >= FANOUT_EVENTS_ROOM;
}

/* Queues an event of a client that connected or disconnected (FANOUT_EVENT_*).
 * Does nothing if the event is not asked for.  If there is no block, the event
 * is lost and counted. */
void fanout_hook_event_client(fanout_zone_t *z, fanout_ref_t identity,
    unsigned events, uint8_t reason, uint8_t flags);

/* The same for a seat that was taken, or given up; the presence set has counted
 * it already. */
void fanout_hook_event_joined(fanout_zone_t *z, fanout_ref_t seat);
void fanout_hook_event_left(fanout_zone_t *z, fanout_ref_t seat,
    uint8_t reason);

/* Takes the lead from a slot, if it has it. */
void fanout_hook_event_unlead(fanout_zone_t *z, unsigned slot);

void fanout_hook_event_stat(fanout_zone_t *z, fanout_zone_stat_t *st);


#endif /* FANOUT_ZONE_HOOK_QUEUE_H */
