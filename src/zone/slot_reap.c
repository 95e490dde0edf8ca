
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a worker that died, or stopped, has left in the zone.
 *
 * A worker holds the robust mutex "life" of its slot as long as it lives, so
 * trylock shows another worker whether it is alive, whatever became of its pid.
 * The worker that finds a dead one holds the dead one's "life" while it cleans
 * up, in steps; if it dies as well, the next one continues.
 */


#include "heap/list.h"
#include "zone/budget.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/share.h"
#include "zone/slot.h"


#define FANOUT_REAP_TURN   128          /* sections in a turn of a worker */


static int abandoned(fanout_slot_t *slot);
static int reap(fanout_zone_t *z, unsigned n, uint32_t linger, int all);
static int reap_step(fanout_zone_t *z, unsigned n,
    uint32_t linger, fanout_seats_walk_t *at);
static void reap_spare(fanout_zone_t *z);
static void reap_orders(fanout_zone_t *z, fanout_slot_t *slot);
static void retire(fanout_zone_t *z, fanout_slot_t *slot);


void
fanout_slot_release(fanout_zone_t *z)
{
    unsigned  n;

    if (z->heap.slot == -1) {
        return;
    }

    n = z->heap.slot;

    (void) fanout_enter(z);
    fanout_set(z, z->shm->slots[n].process.state, FANOUT_SLOT_DEAD);
    fanout_leave(z);

    z->heap.slot = -1;

    (void) reap(z, n, 0, 1);

    (void) pthread_mutex_unlock(&z->shm->slots[n].life);
}


int
fanout_slot_reap(fanout_zone_t *z, uint32_t linger, int *more)
{
    int             reaped;
    unsigned        n;
    fanout_slot_t  *slot;

    reaped = 0;

    if (more) {
        *more = 0;
    }

    reap_spare(z);

    for (n = 0; n < z->shm->nslots; n++) {
        slot = &z->shm->slots[n];

        if ((int) n == z->heap.slot || slot->process.state == FANOUT_SLOT_FREE
            || !abandoned(slot))
        {
            continue;
        }

        (void) fanout_enter(z);

        if (slot->process.state == FANOUT_SLOT_FREE) {
            fanout_leave(z);
            (void) pthread_mutex_unlock(&slot->life);
            continue;
        }

        if (slot->process.state == FANOUT_SLOT_LIVE) {
            fanout_set(z, z->shm->reaped, z->shm->reaped + 1);
        }

        fanout_set(z, slot->process.state, FANOUT_SLOT_DEAD);
        fanout_leave(z);

        if (reap(z, n, linger, more == NULL)) {
            *more = 1;

        } else {
            reaped++;
        }

        (void) pthread_mutex_unlock(&slot->life);
    }

    return reaped;
}


static int
abandoned(fanout_slot_t *slot)
{
    int  rc;

    rc = pthread_mutex_trylock(&slot->life);

    if (rc == EOWNERDEAD) {
        (void) pthread_mutex_consistent(&slot->life);
        rc = 0;
    }

    return rc == 0;
}


/* Returns 1 if there is more. */

static int
reap(fanout_zone_t *z, unsigned n, uint32_t linger, int all)
{
    int                  more;
    unsigned             i;
    fanout_seats_walk_t  at;

    memset(&at, 0, sizeof(fanout_seats_walk_t));

    for (i = 0, more = 1; more; i++) {

        if (i == FANOUT_REAP_TURN && !all) {
            return 1;
        }

        (void) fanout_enter(z);
        more = reap_step(z, n, linger, &at);
        fanout_leave(z);
    }

    /* all workers check for work: the dead one may have marked some without
     * waking them */

    (void) fanout_enter(z);
    fanout_notify_all(z);
    fanout_leave(z);

    return 0;
}


static int
reap_step(fanout_zone_t *z, unsigned n, uint32_t linger,
    fanout_seats_walk_t *at)
{
    unsigned            i;
    fanout_slot_t      *slot;
    fanout_interest_t  *in;

    slot = &z->shm->slots[n];

    if (slot->nstaged) {
        fanout_slot_unstage(z, slot);
        return 1;
    }

    /* first release the cursor that kept a long unread list, then trim the
     * unread list step by step, then drop the interest */

    for (i = 0; slot->interests && (i == 0 || fanout_section_room(z)); i++) {
        in = fanout_interest(z, slot->interests);

        if (in->cursor) {
            fanout_clean(z, slot->interests);
            fanout_set(z, in->cursor, 0);
            fanout_set(z, in->flags, in->flags & ~FANOUT_LOST);
            fanout_set(z, in->resets, 0);
        }

        if (fanout_unread_trim(z, in->channel)) {
            return 1;
        }

        fanout_interest_drop(z, slot->interests);
    }

    if (slot->interests || !fanout_section_room(z)
        || fanout_identity_orphan(z, n, linger, at))
    {
        return 1;
    }

    if (fanout_address_orphan(z, n)) {
        return 1;
    }

    if (slot->order_first) {
        reap_orders(z, slot);
        return 1;
    }

    retire(z, slot);

    return 0;
}


/* Frees what a process without a slot had staged when it died. */

static void
reap_spare(fanout_zone_t *z)
{
    fanout_slot_t  *spare;

    spare = &z->shm->spare;

    if (*(volatile uint32_t *) &spare->nstaged == 0 || !abandoned(spare)) {
        return;
    }

    fanout_spare_free(z);

    (void) pthread_mutex_unlock(&spare->life);
}


static void
reap_orders(fanout_zone_t *z, fanout_slot_t *slot)
{
    unsigned      n;
    fanout_ref_t  ref;

    for (n = 0; slot->order_first && n < FANOUT_STEP; n++) {
        ref = slot->order_first;
        fanout_list_cut(z, &slot->order_first, &slot->order_last,
                        fanout_order(z, ref)->next);
        fanout_free(z, ref, ref, 1, FANOUT_IDENTITIES);
    }
}


static void
retire(fanout_zone_t *z, fanout_slot_t *slot)
{
    unsigned  i;

    for (i = 0; i < FANOUT_NCOUNTERS; i++) {
        if (slot->counters[i]) {
            fanout_set(z, z->shm->retired[i],
                       z->shm->retired[i] + slot->counters[i]);
            fanout_set(z, slot->counters[i], 0);
        }
    }

    memset(&slot->vitals, 0, sizeof(slot->vitals));

    fanout_hook_event_unlead(z, slot - z->shm->slots);

    fanout_set(z, slot->sessions, 0);
    fanout_set(z, slot->pid, 0);
    fanout_set(z, slot->look, 0);
    fanout_set(z, slot->process.state, FANOUT_SLOT_FREE);
}
