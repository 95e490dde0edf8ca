
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Grants of locks: to who asks, to the next in line, to who is back.
 */


#include "zone/identity.h"
#include "zone/lock_block.h"
#include "zone/slot.h"


static void lock_order(fanout_zone_t *z, fanout_ref_t seat);


void
fanout_lock_room(fanout_zone_t *z, unsigned n)
{
    if (z->shm->heap.nfree < n * FANOUT_LOCK_ROOM) {
        fanout_commit(z);
        (void) fanout_ensure_spare(z, n * FANOUT_LOCK_ROOM);
    }
}


void
fanout_lock_grant(fanout_zone_t *z, fanout_ref_t ref, fanout_ref_t claim)
{
    uint64_t              wall, token;
    fanout_shm_t         *shm;
    fanout_claim_t       *c;
    fanout_lock_block_t  *lock;

    shm = z->shm;
    lock = fanout_lock(z, ref);
    c = fanout_claim(z, claim);

    wall = fanout_wall(z);
    token = wall * 1024 > shm->token ? wall * 1024 : shm->token + 1;

    fanout_set(z, shm->token, token);
    fanout_set(z, lock->token, token);
    fanout_set(z, lock->expires, wall + c->ttl);
    fanout_set(z, lock->holder, claim);
    fanout_set(z, c->held, 1);
    fanout_claim_due(z, claim, c->ttl);

    fanout_set(z, shm->nlocks, shm->nlocks + 1);
    fanout_set(z, shm->lock_grants, shm->lock_grants + 1);
}


fanout_ref_t
fanout_lock_next(fanout_zone_t *z, fanout_ref_t lock)
{
    fanout_ref_t     ref;
    fanout_claim_t  *claim;

    for (ref = fanout_lock(z, lock)->first; ref; ref = claim->next) {
        claim = fanout_claim(z, ref);
        z->heap.work++;

        if (fanout_seat(z, claim->seat)->state == FANOUT_SEAT_LIVE
            && !fanout_claim_over(z, ref))
        {
            break;
        }
    }

    return ref;
}


void
fanout_lock_give(fanout_zone_t *z, fanout_ref_t lock, fanout_ref_t claim)
{
    fanout_line_leave(z, claim);
    fanout_lock_grant(z, lock, claim);
    lock_order(z, fanout_claim(z, claim)->seat);
}


/* A worker that does not read the channel has no command that waits. */

static void
lock_order(fanout_zone_t *z, fanout_ref_t seat)
{
    uint32_t                  local;
    fanout_seat_t            *s;
    fanout_identity_block_t  *e;

    s = fanout_seat(z, seat);
    e = fanout_identity(z, s->identity);

    if (e->state != FANOUT_ID_LIVE) {
        return;
    }

    local = fanout_interest_local(z, s->channel, e->slot);

    if (local != UINT32_MAX) {
        fanout_order_send(z, e->slot, FANOUT_ORDER_GRANTED, s->client, local,
                          0, 0);
    }
}
