
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A session begins: it gets an identity.
 */


#include "heap/hash.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/share.h"


static int identity_add(fanout_zone_t *z, const fanout_identity_t *id,
    const fanout_zstr_t *user, const fanout_zstr_t *info, uint32_t max,
    fanout_ref_t *refp);
static int too_many(fanout_zone_t *z, const fanout_identity_t *id,
    uint32_t max);


int
fanout_identity_add(fanout_zone_t *z, const fanout_identity_t *id,
    const fanout_zstr_t *user, const fanout_zstr_t *info, uint32_t max,
    uint32_t *refp)
{
    int  rc;

    *refp = 0;

    if (z->heap.slot == -1) {
        z->full = FANOUT_FULL_ZONE;
        return FANOUT_ZONE_FULL;
    }

    if (user->len > 255 || info->len > FANOUT_ZONE_INFO) {
        return FANOUT_ZONE_LARGE;
    }

    (void) fanout_enter(z);
    rc = identity_add(z, id, user, info, max, refp);
    fanout_leave(z);

    return rc;
}


static int
identity_add(fanout_zone_t *z, const fanout_identity_t *id,
             const fanout_zstr_t *user, const fanout_zstr_t *info,
             uint32_t max, fanout_ref_t *refp)
{
    uint32_t                  n;
    unsigned                  holder;
    fanout_ref_t              ref;
    fanout_chain_cursor_t     pen;
    fanout_identity_block_t  *e;

    n = 1 + fanout_user_blocks(user->len) + fanout_info_blocks(info->len);

    fanout_hook_event_room(z, n);

    if (too_many(z, id, max)) {
        return FANOUT_ZONE_CONFLICT;
    }

    fanout_share_room(z, FANOUT_SHARE_sessions, n);

    if (fanout_ensure(z, n) != FANOUT_ZONE_OK
        || fanout_share_claim(z, FANOUT_SHARE_sessions, 0, n)
           != FANOUT_ZONE_OK)
    {
        return FANOUT_ZONE_FULL;
    }

    if (too_many(z, id, max)) {
        return FANOUT_ZONE_CONFLICT;
    }

    holder = fanout_holder(z, id->address);

    if (fanout_holder_claim(z, FANOUT_SHARE_sessions, 0, holder,
                            1 + fanout_info_blocks(info->len))
        != FANOUT_ZONE_OK)
    {
        return FANOUT_ZONE_MANY;
    }

    ref = fanout_alloc(z, 1, FANOUT_IDENTITIES, NULL);
    e = fanout_identity(z, ref);

    memset((uint8_t *) e + 4, 0, sizeof(fanout_identity_block_t) - 4);

    e->expires = holder;
    e->client = id->client;
    memcpy(e->secret, id->secret, sizeof(e->secret));

    if (info->len) {
        e->info_tries = info->len - 1;
        e->info = fanout_alloc(z, fanout_info_blocks(info->len),
                               FANOUT_IDENTITIES, NULL);
        pen.z = z;
        pen.ref = e->info;
        pen.pos = sizeof(fanout_ref_t);
        fanout_write(&pen, info->data, info->len);
    }

    fanout_hash_add(z, &fanout_identity_table, id->client, ref,
                    FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->nidentities, z->shm->nidentities + 1);

    if (user->len) {
        fanout_user_join(z, ref, id->user, user);
    }

    fanout_identity_link_live(z, ref, z->heap.slot);
    fanout_hook_event_client(z, ref, FANOUT_EVENT_CONNECT, 0, 0);

    *refp = ref;

    return FANOUT_ZONE_OK;
}


/* the user has the maximum of clients */

static int
too_many(fanout_zone_t *z, const fanout_identity_t *id, uint32_t max)
{
    fanout_ref_t  ref;

    if (max == 0 || id->user == 0) {
        return 0;
    }

    ref = fanout_user_find(z, id->user);

    return ref && fanout_user_count(z, ref, id->client, max) == max;
}
