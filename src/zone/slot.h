
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Slots: the workers, what each has to read, and orders to them.  The lock must
 * be held unless the comment of a function says otherwise.
 */


#ifndef FANOUT_ZONE_SLOT_H
#define FANOUT_ZONE_SLOT_H


#include "heap/heap.h"
#include "zone/stat.h"
#include "zone/zone.h"


/* An order to a worker: see fanout_order_t. */

typedef struct {
    fanout_ref_t         next;
    uint32_t             local;
    uint64_t             client;
    uint16_t             code;
    uint8_t              op;
    uint8_t              reason;
    uint8_t              unused[44];
} fanout_order_block_t;


/*
 * A slot: a worker, which holds life as long as it lives.  Only the worker
 * itself writes its counters, outside of transactions.
 */

typedef struct {
    fanout_ref_t         head;
    fanout_ref_t         tail;
    uint32_t             n;
} fanout_stage_t;

typedef struct {
    pthread_mutex_t      life;
    fanout_process_t     process;
    uint32_t             pid;
    fanout_ref_t         dirty_head;
    fanout_ref_t         dirty_tail;
    fanout_ref_t         interests;
    uint32_t             ninterests;
    fanout_ref_t         identities;
    fanout_ref_t         order_first;   /* from others */
    fanout_ref_t         order_last;
    uint32_t             look;          /* set if there was no block for an
                                           order */
    fanout_ref_t         addresses;
    uint32_t             nstaged;
    uint32_t             generation;    /* of its configuration */
    fanout_stage_t       staged[FANOUT_ZONE_BATCH];
    uint64_t             sessions;
    uint64_t             counters[FANOUT_NCOUNTERS];
    fanout_zone_vitals_t  vitals;
} fanout_slot_t;


#define fanout_order(z, ref)  ((fanout_order_block_t *) fanout_at(z, ref))


/* slots */

/* Takes the place where this process stages the blocks of a large publish: its
 * slot, or the spare one, for which it may have to wait.  Return it when
 * nothing is staged any more.  The lock must not be held. */
fanout_slot_t *fanout_staging_take(fanout_zone_t *z);
void fanout_staging_return(fanout_zone_t *z, fanout_slot_t *slot);

/* Touches the pages of the next n blocks that were never used.  The lock must
 * not be held. */
void fanout_touch_fresh(fanout_zone_t *z, uint32_t n);

/* Sends an order to a worker.  fanout_order_room(), at the start of the
 * transaction, frees a block for it.  Without a block, the worker checks all
 * its sessions. */
void fanout_order_room(fanout_zone_t *z);
void fanout_order_send(fanout_zone_t *z, unsigned slot, uint8_t op,
    uint64_t client, uint32_t local, uint16_t code, uint8_t reason);

/* Frees the last message that is staged in a slot. The lock must be held. */
void fanout_slot_unstage(fanout_zone_t *z, fanout_slot_t *slot);

/* Frees what is staged in the slot that workers without one share. The lock
 * must not be held. */
void fanout_spare_free(fanout_zone_t *z);


#endif /* FANOUT_ZONE_SLOT_H */
