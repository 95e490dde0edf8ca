
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Channels: finding, making and freeing them, their names and policies.
 */


#include "heap/hash.h"
#include "zone/log.h"
#include "zone/presence.h"
#include "zone/share.h"


static int named(fanout_zone_t *z, fanout_channel_block_t *ch,
    const fanout_zone_channel_t *c);
static void set_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy);
static void set_class(fanout_zone_t *z, fanout_ref_t ref, uint32_t class);


static const fanout_hash_t  channel_table = {
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

    ref = *fanout_hash_bucket(z, &channel_table, c->hash);

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


/* the blocks must be ensured */

fanout_ref_t
fanout_channel_make(fanout_zone_t *z, const fanout_zone_channel_t *c)
{
    uint32_t                 class;
    fanout_ref_t             ref;
    fanout_cold_t           *cold;
    fanout_name_t           *name;
    fanout_chain_cursor_t    pen;
    fanout_channel_block_t  *ch;

    z->made++;

    ref = fanout_alloc(z, 1, FANOUT_CHANNELS, NULL);
    ch = fanout_channel(z, ref);

    memset((uint8_t *) ch + 4, 0, sizeof(fanout_channel_block_t) - 4);

    ch->cold = fanout_alloc(z, 1, FANOUT_CHANNELS, NULL);
    ch->name = fanout_alloc(z, fanout_channel_blocks(c->name.len) - 2,
                            FANOUT_CHANNELS, NULL);

    cold = fanout_cold(z, ch);
    fanout_set(z, *(fanout_ref_t *) cold, 0);
    memset((uint8_t *) cold + 4, 0, sizeof(fanout_cold_t) - 4);

    name = fanout_name(z, ch);
    name->list_next = name->list_prev = name->presence = 0;
    name->lost_seq = z->shm->seq;

    pen.z = z;
    pen.ref = ch->name;
    pen.pos = offsetof(fanout_name_t, name);
    fanout_write(&pen, c->name.data, c->name.len);

    class = c->policy ? c->policy->class : 0;

    ch->hash = c->hash;
    ch->name_len = c->name.len;
    ch->class = class;
    fanout_class_add(z, class, fanout_channel_blocks(c->name.len));
    ch->epoch = fanout_zone_random(z);
    cold->touched = fanout_seconds(z);

    fanout_hash_add(z, &channel_table, c->hash, ref, FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->nchannels, z->shm->nchannels + 1);
    fanout_set(z, z->shm->classes[class].channels,
               z->shm->classes[class].channels + 1);

    name->generation = z->generation;
    set_policy(z, ref, c->policy);

    return ref;
}


void
fanout_channel_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_channel_t *c)
{
    fanout_name_t  *name;

    name = fanout_name(z, fanout_channel(z, ref));

    if (!fanout_newest(z)
        || (z->generation && name->generation == z->generation))
    {
        return;
    }

    if (name->generation != z->generation) {
        fanout_set(z, name->generation, z->generation);
    }

    set_policy(z, ref, c->policy);
    fanout_channel_free_unused(z, ref);
}


static void
set_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy)
{
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    if (policy == NULL) {
        return;
    }

    if (fanout_presence_of(z, ref)) {
        fanout_presence_policy(z, fanout_presence_of(z, ref), policy);
    }

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    if (cold->policy_history != policy->history) {
        fanout_set(z, cold->policy_history, policy->history);
    }

    if (cold->policy_bytes != policy->bytes) {
        fanout_set(z, cold->policy_bytes, policy->bytes);
    }

    if (cold->policy_ttl != policy->ttl) {
        /* due at another time: the caller puts it back into a list */
        fanout_channel_unlist(z, ref);
        fanout_set(z, cold->policy_ttl, policy->ttl);
    }

    if (ch->class != policy->class) {
        set_class(z, ref, policy->class);
    }
}


/* The caller then calls fanout_channel_free_unused(). */

static void
set_class(fanout_zone_t *z, fanout_ref_t ref, uint32_t class)
{
    uint32_t                 n;
    fanout_cold_t           *cold;
    fanout_zone_class_t     *from, *to;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);
    from = &z->shm->classes[ch->class];
    to = &z->shm->classes[class];

    fanout_channel_unlist(z, ref);
    fanout_bucket_leave(z, ref);

    fanout_set(z, from->channels, from->channels - 1);
    fanout_set(z, to->channels, to->channels + 1);

    n = cold->blocks + fanout_index_blocks(z, ch);

    if (cold->wheel & FANOUT_IN_USE) {
        fanout_part_move(z, ref, class);

    } else {
        n += fanout_channel_blocks(ch->name_len);
    }

    fanout_class_add(z, ch->class, -(int32_t) n);
    fanout_class_add(z, class, n);

    fanout_set(z, ch->class, class);
    fanout_bucket_move(z, ref);
}


/* the channel must not be in use, and must have no history */

void
fanout_channel_free(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t                 n;
    fanout_channel_block_t  *ch;

    fanout_channel_unlist(z, ref);

    ch = fanout_channel(z, ref);

    fanout_hash_remove(z, &channel_table, ch->hash, ref);

    if (fanout_name(z, ch)->lost_seq > z->shm->forgotten) {
        fanout_set(z, z->shm->forgotten, fanout_name(z, ch)->lost_seq);
    }

    fanout_set(z, z->shm->nchannels, z->shm->nchannels - 1);
    fanout_set(z, z->shm->classes[ch->class].channels,
               z->shm->classes[ch->class].channels - 1);

    n = fanout_channel_blocks(ch->name_len) - 2;
    fanout_class_add(z, ch->class, -(int32_t) (n + 2));

    fanout_free(z, ch->name, fanout_chain_last(z, ch->name), n,
                FANOUT_CHANNELS);
    fanout_free(z, ch->cold, ch->cold, 1, FANOUT_CHANNELS);
    fanout_free(z, ref, ref, 1, FANOUT_CHANNELS);
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
