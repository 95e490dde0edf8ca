
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The check of a zone: locks, the claims to them, and the wheel of claims.
 */


#include "zone/lock_block.h"
#include "zone/verify.h"


/* what was met of a shelf */

typedef struct {
    fanout_ref_t         shelf;
    uint32_t             locks;
    uint32_t             blocks;
} lock_sum_t;


static int verify_lock(walk_t *w, fanout_ref_t ref, uint32_t slot,
    void *data);
static int verify_line(walk_t *w, fanout_ref_t ref, lock_sum_t *sum);
static int verify_claim(walk_t *w, fanout_ref_t ref, fanout_ref_t lock,
    int held, lock_sum_t *sum);


int
fanout_verify_shelf_locks(walk_t *w, fanout_ref_t shelf, uint32_t *blocks)
{
    lock_sum_t       sum;
    fanout_shelf_t  *s;

    s = fanout_shelf(w->z, shelf);

    must_of(w, shelf, (s->lock_root != 0) == (s->locks != 0));

    memset(&sum, 0, sizeof(lock_sum_t));
    sum.shelf = shelf;

    if (s->lock_root) {
        try (fanout_verify_tree(w, s->lock_root, s->lock_depth, 0,
                                FANOUT_LOCKS, verify_lock, &sum,
                                &sum.blocks));
    }

    must_of(w, shelf, sum.locks == s->locks);

    *blocks += sum.blocks;

    return 0;
}


static int
verify_lock(walk_t *w, fanout_ref_t ref, uint32_t slot, void *data)
{
    uint8_t               buf[255];
    uint32_t              n;
    lock_sum_t           *sum;
    fanout_zstr_t         name;
    fanout_lock_block_t  *lock;

    sum = data;

    try (meet(w, ref, SEEN_LOCK, sum->shelf));

    lock = fanout_lock(w->z, ref);
    n = fanout_lock_blocks(lock->name_len);

    must_of(w, ref, lock->name_len);
    try (meet_rest(w, ref, 0, n, FANOUT_LOCKS));

    must_of(w, ref, lock->shelf == sum->shelf && lock->slot == slot);
    must_of(w, ref, lock->holder || lock->first);
    must_of(w, ref, lock->token <= w->shm->token);

    name.data = buf;
    name.len = fanout_lock_name(w->z, lock, buf);

    must_of(w, ref, fanout_lock_find(w->z, fanout_lock_channel(w->z, ref),
                                     &name)
                    == ref);

    sum->locks++;
    sum->blocks += n;

    if (lock->holder) {
        w->locks++;
        try (verify_claim(w, lock->holder, ref, 1, sum));
    }

    return verify_line(w, ref, sum);
}


/* A lock that nobody holds has a line of seats that linger, or of waits that
 * are over. */

static int
verify_line(walk_t *w, fanout_ref_t ref, lock_sum_t *sum)
{
    unsigned              n;
    fanout_ref_t          i, last;
    fanout_claim_t       *claim;
    fanout_lock_block_t  *lock;

    lock = fanout_lock(w->z, ref);
    n = last = 0;

    for (i = lock->first; i; i = claim->next) {
        must_of(w, ref, n++ < FANOUT_ZONE_WAITERS);
        try (verify_claim(w, i, ref, 0, sum));

        claim = fanout_claim(w->z, i);

        must_of(w, i, claim->prev == last && claim->seat);
        must_of(w, i, lock->holder
                      || fanout_seat(w->z, claim->seat)->state
                         == FANOUT_SEAT_LINGERS
                      || fanout_claim_over(w->z, i));
        last = i;
    }

    must_of(w, ref, n == lock->waiting && last == lock->last);
    w->waiters += n;

    return 0;
}


static int
verify_claim(walk_t *w, fanout_ref_t ref, fanout_ref_t lock, int held,
    lock_sum_t *sum)
{
    uint32_t         n;
    fanout_claim_t  *claim;

    try (meet(w, ref, SEEN_CLAIM, lock));

    claim = fanout_claim(w->z, ref);
    n = fanout_claim_blocks(claim->user_len + claim->data_len);

    try (meet_rest(w, ref, 0, n, FANOUT_LOCKS));

    must_of(w, ref, claim->lock == lock && claim->held == held);
    must_of(w, ref, claim->place);
    must_of(w, ref, claim->seat == 0
                    || fanout_seat(w->z, claim->seat)->channel
                       == fanout_lock_channel(w->z, lock));

    must_of(w, ref, claim->holder <= w->shm->holder_mask);

    w->holders[claim->holder].records +=
        fanout_claim_own(fanout_lock(w->z, lock)->name_len,
                         claim->user_len + claim->data_len);
    w->unseated += claim->seat == 0;
    sum->blocks += n;

    return 0;
}


int
fanout_verify_claims(walk_t *w, fanout_ref_t seat)
{
    unsigned         n;
    fanout_ref_t     ref, prev;
    fanout_seat_t   *s;
    fanout_claim_t  *claim;

    s = fanout_seat(w->z, seat);
    n = prev = 0;

    must_of(w, seat, s->claims == 0 || s->state != FANOUT_SEAT_GONE);

    for (ref = s->claims; ref; ref = claim->seat_next) {
        must_of(w, ref, met(w, ref, SEEN_CLAIM));
        must_of(w, seat, n++ < FANOUT_ZONE_LOCKS);
        claim = fanout_claim(w->z, ref);
        must_of(w, ref, claim->seat == seat && claim->seat_prev == prev);
        prev = ref;
    }

    w->seated += n;

    return 0;
}


int
fanout_verify_locks(walk_t *w)
{
    uint32_t         i, n;
    fanout_ref_t     ref, prev;
    fanout_claim_t  *claim;

    must(w, w->locks == w->shm->nlocks);
    must(w, w->waiters == w->shm->nwaiters);
    must(w, w->locks + w->waiters == w->shm->nclaims);
    must(w, w->seated + w->unseated == w->shm->nclaims);

    n = 0;

    for (i = 0; i < FANOUT_LOCKS_WHEEL; i++) {
        prev = 0;

        for (ref = w->shm->locks_due[i]; ref; ref = claim->due_next) {
            must_of(w, ref, met(w, ref, SEEN_CLAIM)
                            && n++ < w->shm->nclaims);
            claim = fanout_claim(w->z, ref);
            must_of(w, ref, claim->place == i + 1
                            && claim->due_prev == prev);
            prev = ref;
        }
    }

    must(w, n == w->shm->nclaims);

    return 0;
}
