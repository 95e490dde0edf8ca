
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Channels are made, and take the policy of the newest configuration.
 */


#include "heap/hash.h"
#include "zone/log.h"
#include "zone/presence.h"
#include "zone/share.h"


static void set_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy);
static void set_account(fanout_zone_t *z, fanout_ref_t ref, uint32_t account);


/* the blocks must be ensured */

fanout_ref_t
fanout_channel_make(fanout_zone_t *z, const fanout_zone_channel_t *c)
{
    uint32_t                 account;
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
    name->list_next = name->list_prev = 0;
    name->presence = name->shelf = 0;
    name->lost_seq = z->shm->seq;

    pen.z = z;
    pen.ref = ch->name;
    pen.pos = offsetof(fanout_name_t, name);
    fanout_write(&pen, c->name.data, c->name.len);

    account = c->policy ? c->policy->account : 0;

    ch->hash = c->hash;
    ch->name_len = c->name.len;
    ch->account = account;
    fanout_account_add(z, account, fanout_channel_blocks(c->name.len));
    ch->epoch = fanout_zone_random(z);
    cold->touched = fanout_seconds(z);

    fanout_hash_add(z, &fanout_channel_table, c->hash, ref, FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->nchannels, z->shm->nchannels + 1);
    fanout_set(z, z->shm->accounts[account].channels,
               z->shm->accounts[account].channels + 1);

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

    if (ch->account != policy->account) {
        set_account(z, ref, policy->account);
    }
}


/* The caller then calls fanout_channel_free_unused(). */

static void
set_account(fanout_zone_t *z, fanout_ref_t ref, uint32_t account)
{
    uint32_t                 n;
    fanout_cold_t           *cold;
    fanout_zone_account_t   *from, *to;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);
    from = &z->shm->accounts[ch->account];
    to = &z->shm->accounts[account];

    fanout_channel_unlist(z, ref);
    fanout_bucket_leave(z, ref);

    fanout_set(z, from->channels, from->channels - 1);
    fanout_set(z, to->channels, to->channels + 1);

    n = cold->blocks + fanout_index_blocks(z, ch);

    if (cold->wheel & FANOUT_IN_USE) {
        fanout_part_move(z, ref, account);

    } else {
        n += fanout_channel_blocks(ch->name_len);
    }

    fanout_account_add(z, ch->account, -(int32_t) n);
    fanout_account_add(z, account, n);

    fanout_set(z, ch->account, account);
    fanout_bucket_move(z, ref);
}
