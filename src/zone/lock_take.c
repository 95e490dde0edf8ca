
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks are taken, renewed and dropped.
 */


#include "zone/identity.h"
#include "zone/lock_block.h"
#include "zone/share.h"


#define FANOUT_LOCK_ROUNDS   16         /* in which others took what was
                                           ensured */


/* what a take does */

typedef enum {
    FANOUT_TAKE_REFUSE = 0,
    FANOUT_TAKE_RENEW,
    FANOUT_TAKE_GRANT,
    FANOUT_TAKE_WAIT,                   /* joins the line */
    FANOUT_TAKE_STAY                    /* is in line */
} fanout_take_e;

typedef struct {
    fanout_zone_channel_t     *c;
    const fanout_zone_lock_t  *req;
    uint64_t                   token;
    fanout_claimant_t          a;
    unsigned                  *limit;   /* of the call */
} take_t;


static int take_valid(const fanout_zone_channel_t *c,
    const fanout_zone_lock_t *req);
static int take_ready(fanout_zone_t *z, take_t *t, uint32_t ref,
    const fanout_identity_t *id, fanout_take_e *what);
static fanout_take_e take_what(fanout_zone_t *z, const take_t *t);
static int take_limits(fanout_zone_t *z, const take_t *t, fanout_take_e what);
static unsigned take_count(fanout_zone_t *z, const take_t *t,
    unsigned *waits);
static uint32_t take_blocks(fanout_zone_t *z, const take_t *t,
    fanout_take_e what);
static int take_claim(fanout_zone_t *z, const take_t *t, fanout_take_e what,
    uint32_t n);
static int32_t take_own(fanout_zone_t *z, const take_t *t, fanout_take_e what,
    unsigned *holder);
static int take_do(fanout_zone_t *z, take_t *t, fanout_take_e what);
static void take_grant(fanout_zone_t *z, take_t *t);
static void take_renew(fanout_zone_t *z, const take_t *t);


int
fanout_lock_take(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id, const fanout_zone_lock_t *req,
    uint64_t token, fanout_lock_t *lock, uint8_t *buf, unsigned *renewed,
    unsigned *limit)
{
    int            rc;
    take_t         t;
    fanout_take_e  what;

    memset(lock, 0, sizeof(fanout_lock_t));
    *renewed = 0;
    *limit = 0;

    if (!take_valid(c, req)) {
        return FANOUT_ZONE_LARGE;
    }

    t.c = c;
    t.req = req;
    t.token = token;
    t.limit = limit;

    (void) fanout_enter(z);

    fanout_share_room(z, FANOUT_SHARE_records, FANOUT_FEW);

    rc = take_ready(z, &t, ref, id, &what);

    if (rc == FANOUT_ZONE_OK) {
        rc = take_do(z, &t, what);
        *renewed = what == FANOUT_TAKE_RENEW;

        fanout_lock_fill(z, t.a.lock, lock, buf);
        lock->token = rc == FANOUT_ZONE_OK ? lock->token : 0;
    }

    fanout_leave(z);
    fanout_held_trim(z);

    return rc;
}


static int
take_valid(const fanout_zone_channel_t *c, const fanout_zone_lock_t *req)
{
    return c->name.len <= 255 && req->name.len && req->name.len <= 255
           && req->user.len <= 255 && req->data.len <= FANOUT_ZONE_LOCK_DATA
           && req->ttl <= FANOUT_ZONE_LOCK_TIME
           && req->wait <= FANOUT_ZONE_LOCK_TIME;
}


int
fanout_lock_claimant(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *name,
    fanout_claimant_t *a)
{
    memset(a, 0, sizeof(fanout_claimant_t));

    if (ref && (!fanout_channel_opened(z, c)
                || !fanout_identity_own(z, ref, id)))
    {
        return FANOUT_ZONE_STALE;
    }

    a->channel = fanout_channel_find(z, c);

    if (id) {
        if (a->channel && (ref || fanout_identity_live(z, id))) {
            a->seat = fanout_seat_find(z, a->channel, id->client);
        }

        if (a->seat == 0
            || fanout_seat(z, a->seat)->state == FANOUT_SEAT_GONE)
        {
            return FANOUT_ZONE_NOTFOUND;
        }
    }

    if (a->channel) {
        a->lock = fanout_lock_find(z, a->channel, name);
    }

    if (a->lock && a->seat) {
        a->claim = fanout_claim_find(z, a->seat, a->lock);
    }

    return FANOUT_ZONE_OK;
}


/* Finds out what a take does, and ensures the blocks for it; looks again if
 * something was evicted for them, or a lock that was over has ended. */

static int
take_ready(fanout_zone_t *z, take_t *t, uint32_t ref,
    const fanout_identity_t *id, fanout_take_e *what)
{
    int       rc;
    uint32_t  n;
    unsigned  round;

    for (round = 0; round < FANOUT_LOCK_ROUNDS; round++) {
        rc = fanout_lock_claimant(z, t->c, ref, id, &t->req->name, &t->a);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }

        if (t->a.lock && fanout_lock_over(z, fanout_lock(z, t->a.lock))) {
            fanout_lock_room(z, 1);
            fanout_lock_end(z, t->a.lock, FANOUT_LOCK_EXPIRED);
            fanout_commit(z);
            continue;
        }

        *what = take_what(z, t);
        rc = take_limits(z, t, *what);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }

        n = take_blocks(z, t, *what);

        if (n == 0) {
            return FANOUT_ZONE_OK;
        }

        if (z->shm->heap.nfree >= n + FANOUT_LOCK_ROOM) {
            return take_claim(z, t, *what, n);
        }

        rc = fanout_ensure(z, n + FANOUT_LOCK_ROOM);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }
    }

    z->full = FANOUT_FULL_ZONE;

    return FANOUT_ZONE_FULL;
}


static fanout_take_e
take_what(fanout_zone_t *z, const take_t *t)
{
    fanout_claim_t       *holder;
    fanout_lock_block_t  *lock;

    lock = t->a.lock ? fanout_lock(z, t->a.lock) : NULL;

    if (lock == NULL || lock->holder == 0) {
        return FANOUT_TAKE_GRANT;
    }

    holder = fanout_claim(z, lock->holder);

    if (t->a.seat ? holder->seat == t->a.seat
                  : holder->seat == 0 && lock->token == t->token)
    {
        return FANOUT_TAKE_RENEW;
    }

    if (t->a.seat == 0 || t->req->wait == 0) {
        return FANOUT_TAKE_REFUSE;
    }

    return t->a.claim ? FANOUT_TAKE_STAY : FANOUT_TAKE_WAIT;
}


/* OK; MANY; NOTFOUND for a seat that lingers. */

static int
take_limits(fanout_zone_t *z, const take_t *t, fanout_take_e what)
{
    uint32_t      most;
    unsigned      n, waits;
    fanout_ref_t  shelf;

    if (what != FANOUT_TAKE_GRANT && what != FANOUT_TAKE_WAIT) {
        return FANOUT_ZONE_OK;
    }

    if (t->a.seat
        && fanout_seat(z, t->a.seat)->state != FANOUT_SEAT_LIVE)
    {
        return FANOUT_ZONE_NOTFOUND;
    }

    n = take_count(z, t, &waits);
    most = t->c->policy ? t->c->policy->locks_max : 0;
    shelf = t->a.channel ? fanout_shelf_of(z, t->a.channel) : 0;

    *t->limit = n >= FANOUT_ZONE_LOCKS ? FANOUT_LOCK_SEAT
                : what == FANOUT_TAKE_WAIT && waits >= FANOUT_ZONE_WAITS
                ? FANOUT_LOCK_WAITS
                : what == FANOUT_TAKE_WAIT
                  && fanout_lock(z, t->a.lock)->waiting >= FANOUT_ZONE_WAITERS
                ? FANOUT_LOCK_WAITERS
                : t->a.lock == 0 && most && shelf
                  && fanout_shelf(z, shelf)->locks >= most
                ? FANOUT_LOCK_CHANNEL : 0;

    return *t->limit ? FANOUT_ZONE_MANY : FANOUT_ZONE_OK;
}


/* the other claims of the seat, and those of them that are in line */

static unsigned
take_count(fanout_zone_t *z, const take_t *t, unsigned *waits)
{
    unsigned         n;
    fanout_ref_t     ref;
    fanout_claim_t  *claim;

    n = *waits = 0;

    for (ref = t->a.seat ? fanout_seat(z, t->a.seat)->claims : 0; ref;
         ref = claim->seat_next)
    {
        claim = fanout_claim(z, ref);
        z->heap.work++;

        if (ref != t->a.claim) {
            n++;
            *waits += !claim->held;
        }
    }

    return n;
}


/* Returns the most blocks that a take needs of its share. */

static uint32_t
take_blocks(fanout_zone_t *z, const take_t *t, fanout_take_e what)
{
    uint32_t  n;

    n = fanout_claim_blocks(255 + t->req->data.len);

    switch (what) {

    case FANOUT_TAKE_REFUSE:
        return 0;

    case FANOUT_TAKE_RENEW:
    case FANOUT_TAKE_STAY:
        return t->req->data.data ? n : 0;

    case FANOUT_TAKE_GRANT:
        n += fanout_channel_blocks(t->c->name.len);

        /* fall through */

    default:
        return n + 1 + fanout_lock_blocks(t->req->name.len)
               + FANOUT_TREE_DEPTH + 1;
    }
}


static int
take_claim(fanout_zone_t *z, const take_t *t, fanout_take_e what, uint32_t n)
{
    int       rc;
    int32_t   own;
    unsigned  holder;

    rc = fanout_shelf_claim(z, t->c, t->a.channel, t->req->address, n);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    own = take_own(z, t, what, &holder);

    return fanout_shelf_own(z, t->c, t->a.channel, holder, own);
}


/* Returns the blocks that a holder gets more.  A claim stays with its holder
 * when its data change. */

static int32_t
take_own(fanout_zone_t *z, const take_t *t, fanout_take_e what,
    unsigned *holder)
{
    int32_t          n;
    fanout_ref_t     ref;
    fanout_claim_t  *claim;

    ref = what == FANOUT_TAKE_RENEW ? fanout_lock(z, t->a.lock)->holder
                                    : t->a.claim;
    claim = ref ? fanout_claim(z, ref) : NULL;

    if (what == FANOUT_TAKE_RENEW || what == FANOUT_TAKE_STAY) {
        *holder = claim->holder;

        return (int32_t) fanout_claim_blocks(claim->user_len
                                             + t->req->data.len)
               - (int32_t) fanout_claim_blocks(claim->user_len
                                               + claim->data_len);
    }

    *holder = fanout_holder(z, t->req->address);
    n = fanout_claim_own(t->req->name.len,
                         t->req->user.len + t->req->data.len);

    if (claim && claim->holder == *holder) {
        n -= fanout_claim_own(t->req->name.len,
                              claim->user_len + claim->data_len);
    }

    return n;
}


static int
take_do(fanout_zone_t *z, take_t *t, fanout_take_e what)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    switch (what) {

    case FANOUT_TAKE_GRANT:
        take_grant(z, t);
        return FANOUT_ZONE_OK;

    case FANOUT_TAKE_RENEW:
        take_renew(z, t);
        return FANOUT_ZONE_OK;

    case FANOUT_TAKE_REFUSE:
        fanout_set(z, shm->lock_conflicts, shm->lock_conflicts + 1);
        return FANOUT_ZONE_LOCKED;

    case FANOUT_TAKE_WAIT:
        t->a.claim = fanout_claim_make(z, t->a.lock, t->a.seat, t->req);
        fanout_line_join(z, t->a.claim);
        break;

    default: /* FANOUT_TAKE_STAY */
        fanout_claim_change(z, t->a.claim, t->req);

        if (fanout_claim_left(z, t->a.claim) >= t->req->wait
                                                + FANOUT_WAIT_SPARE)
        {
            /* the command before it waits for longer */
            return FANOUT_ZONE_AGAIN;
        }
    }

    fanout_claim_due(z, t->a.claim, t->req->wait + FANOUT_WAIT_SPARE);

    return FANOUT_ZONE_AGAIN;
}


/* The lock may have a line, of seats that linger. */

static void
take_grant(fanout_zone_t *z, take_t *t)
{
    fanout_ref_t  shelf;

    if (t->a.channel == 0) {
        t->a.channel = fanout_channel_make(z, t->c);
    }

    fanout_channel_renew(z, t->a.channel, t->c);
    fanout_channel_use(z, t->a.channel, fanout_holder(z, t->req->address));

    if (t->a.lock == 0) {
        shelf = fanout_shelf_make(z, t->a.channel);
        t->a.lock = fanout_lock_make(z, shelf, &t->req->name);
    }

    if (t->a.claim) {
        fanout_line_leave(z, t->a.claim);
        fanout_claim_free(z, t->a.claim);
    }

    t->a.claim = fanout_claim_make(z, t->a.lock, t->a.seat, t->req);
    fanout_lock_grant(z, t->a.lock, t->a.claim);
    fanout_lock_tell(z, t->a.lock, 0);
    fanout_channel_free_unused(z, t->a.channel);
}


static void
take_renew(fanout_zone_t *z, const take_t *t)
{
    fanout_ref_t          claim;
    fanout_lock_block_t  *lock;

    lock = fanout_lock(z, t->a.lock);
    claim = lock->holder;

    fanout_claim_change(z, claim, t->req);
    fanout_claim_due(z, claim, t->req->ttl);
    fanout_set(z, lock->expires, fanout_wall(z) + t->req->ttl);
    fanout_lock_tell(z, t->a.lock, 0);
}


int
fanout_lock_drop(fanout_zone_t *z, fanout_zone_channel_t *c, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *name, uint64_t token)
{
    int                   rc;
    uint8_t               reason;
    fanout_claimant_t     a;
    fanout_lock_block_t  *lock;

    (void) fanout_enter(z);

    fanout_lock_room(z, 1);

    rc = fanout_lock_claimant(z, c, ref, id, name, &a);
    lock = a.lock ? fanout_lock(z, a.lock) : NULL;

    if (id == NULL && (lock == NULL || lock->holder == 0)) {
        rc = FANOUT_ZONE_NOTFOUND;

    } else if (rc != FANOUT_ZONE_OK || lock == NULL || lock->holder == 0
               || (id && fanout_claim(z, lock->holder)->seat != a.seat)
               || (token && lock->token != token))
    {
        rc = FANOUT_ZONE_CONFLICT;

    } else {
        reason = id || fanout_claim(z, lock->holder)->seat == 0
                 ? FANOUT_LOCK_UNLOCKED : FANOUT_LOCK_BROKEN;
        fanout_lock_end(z, a.lock, reason);
    }

    fanout_leave(z);
    fanout_held_trim(z);

    return rc;
}
