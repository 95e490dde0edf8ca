
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Slots: the workers, what each has to read, and the orders to them.
 */


#include "heap/list.h"
#include "zone/log.h"
#include "zone/share.h"
#include "zone/slot.h"


static int slot_claim(fanout_zone_t *z, unsigned n, uint32_t pid);
static void dirty_link(fanout_zone_t *z, fanout_ref_t ref);


static uint64_t  private_counters[FANOUT_NCOUNTERS];

static const fanout_links_t  dirty_links = {
    .next = offsetof(fanout_interest_t, dirty_next),
    .prev = offsetof(fanout_interest_t, dirty_prev)
};

static const fanout_links_t  order_links = {
    .next = offsetof(fanout_order_block_t, next)
};


int
fanout_slot_claim(fanout_zone_t *z, uint32_t pid)
{
    unsigned  n;

    for (n = 0; n < z->shm->nslots; n++) {
        if (z->shm->slots[n].process.state == FANOUT_SLOT_FREE
            && slot_claim(z, n, pid))
        {
            return FANOUT_ZONE_OK;
        }
    }

    return FANOUT_ZONE_FULL;
}


static int
slot_claim(fanout_zone_t *z, unsigned n, uint32_t pid)
{
    int             rc;
    fanout_slot_t  *slot;

    slot = &z->shm->slots[n];

    rc = pthread_mutex_trylock(&slot->life);

    if (rc == EOWNERDEAD) {
        (void) pthread_mutex_consistent(&slot->life);
        rc = 0;
    }

    if (rc != 0) {
        return 0;
    }

    (void) fanout_enter(z);

    if (slot->process.state != FANOUT_SLOT_FREE) {
        fanout_leave(z);
        (void) pthread_mutex_unlock(&slot->life);
        return 0;
    }

    fanout_set(z, slot->process.state, FANOUT_SLOT_LIVE);
    fanout_set(z, slot->pid, pid);
    fanout_set(z, slot->generation, z->generation);
    slot->process.notified = 0;
    z->heap.slot = n;

    fanout_leave(z);

    return 1;
}


void
fanout_spare_free(fanout_zone_t *z)
{
    (void) fanout_enter(z);

    while (z->shm->spare.nstaged) {
        fanout_slot_unstage(z, &z->shm->spare);
    }

    fanout_leave(z);
}


fanout_slot_t *
fanout_staging_take(fanout_zone_t *z)
{
    fanout_slot_t  *spare;

    if (z->heap.slot != -1) {
        return &z->shm->slots[z->heap.slot];
    }

    spare = &z->shm->spare;

    if (fanout_take(&spare->life) == EOWNERDEAD) {
        (void) pthread_mutex_consistent(&spare->life);
        fanout_spare_free(z);
    }

    return spare;
}


void
fanout_staging_return(fanout_zone_t *z, fanout_slot_t *slot)
{
    if (slot == &z->shm->spare) {
        (void) pthread_mutex_unlock(&slot->life);
    }
}


void
fanout_slot_unstage(fanout_zone_t *z, fanout_slot_t *slot)
{
    fanout_stage_t  *st;

    st = &slot->staged[slot->nstaged - 1];

    fanout_free(z, st->head, st->tail, st->n, FANOUT_STAGED);
    fanout_set(z, slot->nstaged, slot->nstaged - 1);
}


int
fanout_slot_eventfd(fanout_zone_t *z)
{
    return z->heap.slot == -1 ? -1 : z->shm->slots[z->heap.slot].process.efd;
}


uint64_t *
fanout_slot_counters(fanout_zone_t *z)
{
    return z->heap.slot == -1 ? private_counters
                         : z->shm->slots[z->heap.slot].counters;
}


void
fanout_slot_sessions(fanout_zone_t *z, uint64_t n)
{
    if (z->heap.slot != -1) {
        z->shm->slots[z->heap.slot].sessions = n;
    }
}


void
fanout_slot_vitals(fanout_zone_t *z, const fanout_zone_vitals_t *vitals)
{
    if (z->heap.slot != -1) {
        z->shm->slots[z->heap.slot].vitals = *vitals;
    }
}


int
fanout_slot_get(fanout_zone_t *z, unsigned n, fanout_zone_worker_t *w)
{
    fanout_slot_t  *slot;

    if (n >= z->shm->nslots) {
        return FANOUT_ZONE_NOTFOUND;
    }

    (void) fanout_enter(z);

    slot = &z->shm->slots[n];

    w->pid = slot->pid;
    w->state = slot->process.state;
    w->generation = slot->generation;
    w->sessions = slot->sessions;
    w->interests = slot->ninterests;
    memcpy(w->counters, slot->counters, sizeof(w->counters));
    w->vitals = slot->vitals;

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


/* orders */

/* Evicts no lingering client for an order. */

void
fanout_order_room(fanout_zone_t *z)
{
    fanout_ensure_spare(z, 1);
}


void
fanout_order_send(fanout_zone_t *z, unsigned n, uint8_t op, uint64_t client,
    uint32_t local, uint16_t code, uint8_t reason)
{
    fanout_ref_t           ref;
    fanout_slot_t         *slot;
    fanout_order_block_t  *o;

    slot = &z->shm->slots[n];

    if (z->shm->heap.nfree == 0) {
        fanout_set(z, slot->look, 1);
        fanout_notify(z, n);
        return;
    }

    ref = fanout_alloc(z, 1, FANOUT_IDENTITIES, NULL);
    o = fanout_order(z, ref);

    memset((uint8_t *) o + 4, 0, sizeof(fanout_order_block_t) - 4);

    o->op = op;
    o->client = client;
    o->local = local;
    o->code = code;
    o->reason = reason;

    fanout_list_append(z, &order_links, &slot->order_first, &slot->order_last,
                       ref, FANOUT_NEW_RECORD);
    fanout_notify(z, n);
}


unsigned
fanout_slot_orders(fanout_zone_t *z, fanout_order_t *orders, unsigned max)
{
    unsigned               n;
    fanout_ref_t           ref;
    fanout_slot_t         *slot;
    fanout_order_block_t  *o;

    if (z->heap.slot == -1) {
        return 0;
    }

    slot = &z->shm->slots[z->heap.slot];

    if (slot->order_first == 0 && slot->look == 0) {
        return 0;
    }

    (void) fanout_enter(z);

    n = 0;

    if (slot->look) {
        memset(&orders[0], 0, sizeof(fanout_order_t));
        orders[n++].op = FANOUT_ORDER_LOOK;
        fanout_set(z, slot->look, 0);
    }

    for ( /* void */ ; n < max && n < FANOUT_STEP && slot->order_first; n++) {
        ref = slot->order_first;
        o = fanout_order(z, ref);

        orders[n].client = o->client;
        orders[n].local = o->local;
        orders[n].code = o->code;
        orders[n].op = o->op;
        orders[n].reason = o->reason;

        fanout_list_cut(z, &slot->order_first, &slot->order_last, o->next);
        fanout_free(z, ref, ref, 1, FANOUT_IDENTITIES);
    }

    fanout_leave(z);

    return n;
}


/* interests with entries to read */

void
fanout_dirty(fanout_zone_t *z, fanout_ref_t ref)
{
    dirty_link(z, ref);
    fanout_notify(z, fanout_interest(z, ref)->slot);
}


void
fanout_dirty_last(fanout_zone_t *z, fanout_ref_t ref)
{
    if (fanout_interest(z, ref)->dirty_next) {
        fanout_clean(z, ref);
        dirty_link(z, ref);
    }
}


static void
dirty_link(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_slot_t      *slot;
    fanout_interest_t  *in;

    in = fanout_interest(z, ref);
    slot = &z->shm->slots[in->slot];

    fanout_list_append(z, &dirty_links, &slot->dirty_head, &slot->dirty_tail,
                       ref, FANOUT_OLD_RECORD);
    fanout_set(z, in->flags, in->flags | FANOUT_DIRTY);
}


void
fanout_clean(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_slot_t      *slot;
    fanout_interest_t  *in;

    in = fanout_interest(z, ref);

    if (!(in->flags & FANOUT_DIRTY)) {
        return;
    }

    slot = &z->shm->slots[in->slot];

    fanout_list_remove(z, &dirty_links, &slot->dirty_head, &slot->dirty_tail,
                       ref);
    fanout_set(z, in->flags, in->flags & ~FANOUT_DIRTY);
}
