
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks as they are read, and as the bytes of an entry, in the byte order of
 * the processor.
 */


#include "zone/lock_block.h"


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
