
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks are read: one, all of a channel, or as the bytes of an entry, in the
 * byte order of the processor.
 */


#include "zone/lock_block.h"
#include "zone/record_log.h"


/* the head of the data of an entry; name, user and data follow */

typedef struct {
    uint64_t  client;
    uint64_t  expires;
    uint16_t  data_len;
    uint8_t   name_len;
    uint8_t   user_len;
    uint8_t   reason;
    uint8_t   held;
    uint8_t   unused[2];
} lock_head_t;


static int lock_fits(const fanout_lock_block_t *lock, size_t left);


void
fanout_lock_fill(fanout_zone_t *z, fanout_ref_t ref, fanout_lock_t *lock,
    uint8_t *buf)
{
    fanout_claim_t       *claim;
    fanout_lock_block_t  *b;

    memset(lock, 0, sizeof(fanout_lock_t));

    b = fanout_lock(z, ref);

    lock->name.data = buf;
    lock->name.len = fanout_lock_name(z, b, buf);
    lock->waiting = b->waiting;

    if (b->holder == 0) {
        return;
    }

    claim = fanout_claim(z, b->holder);
    buf += lock->name.len;

    lock->held = 1;
    lock->client = claim->seat ? fanout_seat(z, claim->seat)->client : 0;
    lock->token = b->token;
    lock->expires = b->expires;

    fanout_claim_text(z, claim, buf);

    lock->user.data = buf;
    lock->user.len = claim->user_len;
    lock->data.data = buf + claim->user_len;
    lock->data.len = claim->data_len;
}


uint32_t
fanout_lock_write(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason,
    uint8_t *buf)
{
    lock_head_t    head;
    fanout_lock_t  lock;

    fanout_lock_fill(z, ref, &lock, buf + sizeof(lock_head_t));

    memset(&head, 0, sizeof(lock_head_t));

    head.client = lock.client;
    head.expires = lock.expires;
    head.data_len = lock.data.len;
    head.name_len = lock.name.len;
    head.user_len = lock.user.len;
    head.reason = reason;
    head.held = lock.held;

    memcpy(buf, &head, sizeof(lock_head_t));

    return sizeof(lock_head_t) + lock.name.len + lock.user.len + lock.data.len;
}


int
fanout_lock_parse(const fanout_zstr_t *data, fanout_lock_t *lock)
{
    lock_head_t     head;
    const uint8_t  *p;

    if (data->len < sizeof(lock_head_t)) {
        return -1;
    }

    memcpy(&head, data->data, sizeof(lock_head_t));

    if (data->len != sizeof(lock_head_t) + head.name_len + head.user_len
                     + head.data_len
        || head.name_len == 0 || head.reason > FANOUT_LOCK_BROKEN)
    {
        return -1;
    }

    memset(lock, 0, sizeof(fanout_lock_t));

    p = data->data + sizeof(lock_head_t);

    lock->name.data = p;
    lock->name.len = head.name_len;
    lock->user.data = p + head.name_len;
    lock->user.len = head.user_len;
    lock->data.data = lock->user.data + head.user_len;
    lock->data.len = head.data_len;
    lock->client = head.client;
    lock->expires = head.expires;
    lock->reason = head.reason;
    lock->held = head.held;

    return 1;
}


/* The cursor is the slot of the next lock. */

int
fanout_lock_list(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t *cursor,
    fanout_lock_t *locks, unsigned max, uint8_t *buf, size_t size,
    unsigned *n, fanout_zone_result_t *r)
{
    size_t           used;
    uint32_t         slot;
    fanout_ref_t     channel, shelf, ref;
    fanout_shelf_t  *s;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    shelf = channel ? fanout_shelf_of(z, channel) : 0;
    s = shelf ? fanout_shelf(z, shelf) : NULL;
    used = 0;
    *n = 0;

    memset(r, 0, sizeof(fanout_zone_result_t));
    fanout_record_position(z, channel, r);

    for (slot = *cursor; s; slot++) {
        ref = fanout_tree_next(z, s->lock_root, s->lock_depth, &slot, NULL);

        if (ref == 0) {
            break;
        }

        if (*n == max || !lock_fits(fanout_lock(z, ref), size - used)
            || used >= FANOUT_ZONE_COPY || !fanout_section_room(z))
        {
            *cursor = slot;
            fanout_leave(z);
            return FANOUT_ZONE_OK;
        }

        z->heap.work += 2;

        if (fanout_lock(z, ref)->holder) {
            fanout_lock_fill(z, ref, &locks[*n], buf + used);
            used += locks[*n].name.len + locks[*n].user.len
                    + locks[*n].data.len;
            (*n)++;
        }
    }

    *cursor = 0;

    fanout_leave(z);

    return channel ? FANOUT_ZONE_OK : FANOUT_ZONE_NOTFOUND;
}


static int
lock_fits(const fanout_lock_block_t *lock, size_t left)
{
    return left >= FANOUT_ZONE_LOCK_BUF - 255u + lock->name_len;
}


void
fanout_lock_stat(fanout_zone_t *z, fanout_zone_stat_t *st)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    st->nlocks = shm->nlocks;
    st->nwaiters = shm->nwaiters;
    st->lock_grants = shm->lock_grants;
    st->lock_waits = shm->lock_waits;
    st->lock_timeouts = shm->lock_timeouts;
    st->lock_conflicts = shm->lock_conflicts;
    st->locks_expired = shm->locks_expired;
    st->locks_broken = shm->locks_broken;
}
