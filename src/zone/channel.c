
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Channels: finding them, their names and sizes.
 */


#include "heap/hash.h"
#include "zone/log.h"


static int named(fanout_zone_t *z, fanout_channel_block_t *ch,
    const fanout_zone_channel_t *c);


const fanout_hash_t  fanout_channel_table = {
    .links.next = offsetof(fanout_channel_block_t, hash_next),
    .table = offsetof(fanout_shm_t, channel_hash),
    .mask = offsetof(fanout_shm_t, channel_mask)
};


uint32_t
fanout_channel_blocks(size_t name_len)
{
    uint32_t  n;

    n = 3;      /* hot, cold, first of the name */

    if (name_len > FANOUT_NAME_FIRST) {
        n += (name_len - FANOUT_NAME_FIRST + FANOUT_PAYLOAD - 1)
             / FANOUT_PAYLOAD;
    }

    return n;
}


fanout_ref_t
fanout_channel_find(fanout_zone_t *z, const fanout_zone_channel_t *c)
{
    fanout_ref_t             ref;
    fanout_channel_block_t  *ch;

    if (fanout_channel_opened(z, c)) {
        return c->ref;
    }

    ref = *fanout_hash_bucket(z, &fanout_channel_table, c->hash);

    while (ref) {
        ch = fanout_channel(z, ref);

        if (ch->hash == c->hash && named(z, ch, c)) {
            return ref;
        }

        ref = ch->hash_next;
    }

    return 0;
}


static int
named(fanout_zone_t *z, fanout_channel_block_t *ch,
    const fanout_zone_channel_t *c)
{
    size_t           len, n;
    fanout_ref_t     ref;
    const uint8_t   *p;
    fanout_name_t   *name;
    fanout_block_t  *b;

    len = c->name.len;
    p = c->name.data;

    if (ch->name_len != len) {
        return 0;
    }

    name = fanout_name(z, ch);
    n = len < FANOUT_NAME_FIRST ? len : FANOUT_NAME_FIRST;

    if (memcmp(name->name, p, n) != 0) {
        return 0;
    }

    for (ref = name->chain; len > n; ref = b->next) {
        len -= n;
        p += n;
        b = fanout_block(z, ref);
        n = len < FANOUT_PAYLOAD ? len : FANOUT_PAYLOAD;

        if (memcmp(b->data, p, n) != 0) {
            return 0;
        }
    }

    return 1;
}


uint8_t
fanout_channel_name(fanout_zone_t *z, fanout_ref_t ref,
    uint8_t *buf)
{
    fanout_chain_cursor_t    pen;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);

    pen.z = z;
    pen.ref = ch->name;
    pen.pos = offsetof(fanout_name_t, name);
    pen.left = fanout_channel_blocks(ch->name_len);
    (void) fanout_copy(&pen, buf, ch->name_len);

    return ch->name_len;
}
