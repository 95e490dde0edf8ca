
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Limits of an address or a user, over all workers: budgets for requests in a
 * time, and a number of sessions.
 *
 * A budget is a token bucket that is stored as the amount owed: the amount
 * grows by what is drawn and shrinks at the rate of the limit, so 0 is a full
 * bucket, and a missing entry is a full bucket.  Entries are in a table of
 * fixed size, in sets of FANOUT_BUDGET_WAYS by the key.  A new key replaces the
 * entry of its set that is full again first: most often one that has been full
 * for longest, because an address owes something for seconds only.
 *
 * The table is outside of the journal.  Nothing in the zone refers to it, and
 * each store is of one aligned word.  A process that dies between two stores
 * leaves at worst a key that owes nothing yet, or an amount that was drawn but
 * not used: time corrects both.  The journal would cost ten records for a draw.
 *
 * Sessions are counted exactly, with one block for each address and worker, so
 * that the sessions of a dead worker can be subtracted.  This is linked state,
 * and uses the journal.
 */


#include "heap/hash.h"
#include "zone/budget.h"
#include "zone/share.h"
#include "zone/slot.h"


static fanout_budget_t *budget_entry(fanout_zone_t *z, uint64_t key,
    uint32_t now, fanout_budget_t **taken, unsigned n);
static void budget_decay(fanout_budget_t *e,
    const fanout_zone_limit_t *limits, uint32_t now);
static int budget_room(const fanout_budget_t *e,
    const fanout_zone_limit_t *limits, const uint64_t *amounts,
    unsigned which, unsigned n, fanout_zone_drawn_t *drawn);
static void budget_take(fanout_budget_t *e, const fanout_zone_limit_t *limits,
    uint64_t *amounts, uint32_t now);
static fanout_ref_t address_find(fanout_zone_t *z, uint64_t address,
    uint64_t *n);
static int address_room(fanout_zone_t *z, uint64_t address, uint32_t max);
static void address_free(fanout_zone_t *z, fanout_ref_t ref);


static const fanout_hash_t  address_table = {
    .links.next = offsetof(fanout_address_t, hash_next),
    .table = offsetof(fanout_shm_t, address_hash),
    .mask = offsetof(fanout_shm_t, address_mask)
};

static const fanout_links_t  address_links = {
    .next = offsetof(fanout_address_t, slot_next),
    .prev = offsetof(fanout_address_t, slot_prev)
};


/* budgets */

int
fanout_budget_draw(fanout_zone_t *z, const fanout_zone_budget_t *budgets,
    unsigned n, const uint64_t *amounts, unsigned check,
    fanout_zone_drawn_t *drawn)
{
    int                     rc;
    uint32_t                now;
    unsigned                i;
    uint64_t                left[FANOUT_BUDGETS];
    fanout_budget_t        *e[FANOUT_BUDGET_WAYS - 1];
    static const uint64_t   none[FANOUT_BUDGETS];

    memset(drawn, 0, sizeof(fanout_zone_drawn_t));
    memcpy(left, amounts, sizeof(left));

    (void) fanout_enter(z);

    now = fanout_msec(z);
    rc = FANOUT_ZONE_OK;

    for (i = 0; i < n; i++) {
        e[i] = budget_entry(z, budgets[i].key, now, e, i);
        budget_decay(e[i], budgets[i].limits, now);

        if (!budget_room(e[i], budgets[i].limits, amounts, check, i, drawn)) {
            rc = FANOUT_ZONE_AGAIN;
        }
    }

    for (i = 0; i < n && rc == FANOUT_ZONE_OK; i++) {
        budget_take(e[i], budgets[i].limits, left, now);
        (void) budget_room(e[i], budgets[i].limits, none, ~0U, i, drawn);
    }

    fanout_leave(z);

    return rc;
}


/* Returns the entry of the key; if there is none, replaces an entry that is not
 * among the n that this call has already taken. */

static fanout_budget_t *
budget_entry(fanout_zone_t *z, uint64_t key, uint32_t now,
    fanout_budget_t **taken, unsigned n)
{
    unsigned          i, k;
    fanout_budget_t  *set, *e;

    key = key ? key : 1;
    set = (fanout_budget_t *) ((uint8_t *) z->shm + z->shm->budgets)
          + (key & z->shm->budget_mask) * FANOUT_BUDGET_WAYS;
    e = NULL;

    for (i = 0; i < FANOUT_BUDGET_WAYS; i++) {

        if (set[i].key == key) {
            return &set[i];
        }

        if (set[i].key == 0) {
            e = &set[i];
            z->shm->nbudgets++;
            goto found;
        }

        for (k = 0; k < n && taken[k] != &set[i]; k++) { /* void */ }

        if (k == n
            && (e == NULL || (int32_t) (set[i].full_at - e->full_at) < 0))
        {
            e = &set[i];
        }
    }

    if ((int32_t) (e->full_at - now) > 0) {
        z->shm->budgets_lost++;
    }

found:

    memset(e->owed, 0, sizeof(e->owed));
    e->at = now;
    e->full_at = now;
    fanout_barrier();
    e->key = key;

    return e;
}


static void
budget_decay(fanout_budget_t *e, const fanout_zone_limit_t *limits,
    uint32_t now)
{
    uint64_t  back;
    unsigned  i;

    for (i = 0; i < FANOUT_BUDGETS; i++) {
        back = (uint64_t) (now - e->at) * limits[i].rate;
        e->owed[i] = limits[i].rate && e->owed[i] > back ? e->owed[i] - back
                                                         : 0;
    }

    e->at = now;
}


/* Returns 1 if there is room for the amounts of the resources in which.  If
 * not, sets in drawn how long that takes, if it is the longest wait so far. */

static int
budget_room(const fanout_budget_t *e, const fanout_zone_limit_t *limits,
    const uint64_t *amounts, unsigned which, unsigned n,
    fanout_zone_drawn_t *drawn)
{
    int       room;
    uint64_t  above, wait, max;
    unsigned  i;

    room = 1;

    for (i = 0; i < FANOUT_BUDGETS; i++) {

        if (limits[i].rate == 0 || !(which & (1 << i))) {
            continue;
        }

        /* an amount above the burst may pass when nothing is owed */
        max = limits[i].burst > amounts[i] ? limits[i].burst - amounts[i] : 0;

        if (e->owed[i] <= max) {
            continue;
        }

        above = e->owed[i] - max;
        wait = (above + limits[i].rate - 1) / limits[i].rate;

        room = 0;
        drawn->over |= 1 << i;

        if (wait > drawn->wait[i]) {
            drawn->wait[i] = wait < UINT32_MAX ? wait : UINT32_MAX;
            drawn->budget[i] = n;
        }
    }

    return room;
}


/* Adds the amounts to the entry; removes from them what is above the burst. */

static void
budget_take(fanout_budget_t *e, const fanout_zone_limit_t *limits,
    uint64_t *amounts, uint32_t now)
{
    uint64_t  max, ms, longest, room;
    unsigned  i;

    longest = 1;

    for (i = 0; i < FANOUT_BUDGETS; i++) {

        if (limits[i].rate == 0) {
            continue;
        }

        max = limits[i].burst + limits[i].debt;
        room = limits[i].burst > e->owed[i] ? limits[i].burst - e->owed[i] : 0;

        e->owed[i] = amounts[i] < max - e->owed[i] || e->owed[i] > max
                     ? e->owed[i] + amounts[i] : max;
        e->owed[i] = e->owed[i] < max ? e->owed[i] : max;
        amounts[i] = amounts[i] < room ? amounts[i] : room;

        ms = (e->owed[i] + limits[i].rate - 1) / limits[i].rate;
        longest = longest > ms ? longest : ms;
    }

    e->full_at = now + (longest < INT32_MAX ? longest : INT32_MAX);
}


/* sessions of addresses */

int
fanout_address_add(fanout_zone_t *z, uint64_t address, uint32_t max,
    uint32_t *refp)
{
    int                rc;
    uint64_t           n;
    fanout_ref_t       ref;
    fanout_slot_t     *slot;
    fanout_address_t  *a;

    *refp = 0;

    if (z->heap.slot == -1) {
        return FANOUT_ZONE_STALE;
    }

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_MANY;
    ref = address_find(z, address, &n);

    if (max && n >= max) {
        goto done;
    }

    rc = FANOUT_ZONE_OK;

    if (ref) {
        a = fanout_address(z, ref);
        fanout_set(z, a->n, a->n + 1);
        *refp = ref;
        goto done;
    }

    rc = address_room(z, address, max);

    if (rc != FANOUT_ZONE_OK) {
        goto done;
    }

    slot = &z->shm->slots[z->heap.slot];
    ref = fanout_alloc(z, 1, FANOUT_ADDRESSES, NULL);
    a = fanout_address(z, ref);

    a->n = 1;
    a->address = address;
    a->slot = z->heap.slot;
    memset(a->unused, 0, sizeof(a->unused));

    fanout_hash_add(z, &address_table, address, ref, FANOUT_NEW_RECORD);
    fanout_list_push(z, &address_links, &slot->addresses, ref,
                     FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->naddresses, z->shm->naddresses + 1);

    *refp = ref;

done:

    fanout_leave(z);

    return rc;
}


/* Makes room for the first session of an address on this worker, and then
 * counts again: other workers may have added sessions meanwhile. */

static int
address_room(fanout_zone_t *z, uint64_t address, uint32_t max)
{
    int       rc;
    uint64_t  n;

    fanout_share_room(z, FANOUT_SHARE_sessions, 1);

    do {
        rc = fanout_ensure(z, 1);
    } while (rc == FANOUT_ZONE_STALE);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    (void) address_find(z, address, &n);

    if (max && n >= max) {
        return FANOUT_ZONE_MANY;
    }

    return fanout_share_claim(z, FANOUT_SHARE_sessions, 0, 1);
}


void
fanout_address_drop(fanout_zone_t *z, uint64_t address, uint32_t ref)
{
    uint64_t           n;
    fanout_address_t  *a;

    if (z->heap.slot == -1 || ref == 0) {
        return;
    }

    (void) fanout_enter(z);

    /* the entry differs if the zone was rebuilt */

    if (address_find(z, address, &n) == ref) {
        a = fanout_address(z, ref);

        if (a->n > 1) {
            fanout_set(z, a->n, a->n - 1);

        } else {
            address_free(z, ref);
        }
    }

    fanout_leave(z);
}


/* Returns the record of this worker, 0: none; *n is the number of sessions on
 * all workers. */

static fanout_ref_t
address_find(fanout_zone_t *z, uint64_t address, uint64_t *n)
{
    fanout_ref_t       ref, own;
    fanout_address_t  *a;

    *n = 0;
    own = 0;
    ref = *fanout_hash_bucket(z, &address_table, address);

    for ( /* void */ ; ref; ref = a->hash_next) {
        a = fanout_address(z, ref);

        if (a->address != address) {
            continue;
        }

        *n += a->n;

        if (a->slot == z->heap.slot) {
            own = ref;
        }
    }

    return own;
}


static void
address_free(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_address_t  *a;

    a = fanout_address(z, ref);

    fanout_hash_remove(z, &address_table, a->address, ref);
    fanout_list_remove(z, &address_links, &z->shm->slots[a->slot].addresses,
                       NULL, ref);

    fanout_set(z, z->shm->naddresses, z->shm->naddresses - 1);
    fanout_free(z, ref, ref, 1, FANOUT_ADDRESSES);
}


int
fanout_address_orphan(fanout_zone_t *z, unsigned n)
{
    unsigned        i;
    fanout_slot_t  *slot;

    slot = &z->shm->slots[n];

    for (i = 0; slot->addresses && i < FANOUT_STEP; i++) {
        address_free(z, slot->addresses);
    }

    return slot->addresses != 0;
}
