
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Identities: sessions that are live or may come back.  A live identity is in
 * the list of its worker's slot; when its connection is lost, the identity
 * lingers in a wheel, until it is resumed or expires.
 */


#include "heap/hash.h"
#include "zone/identity.h"
#include "zone/share.h"


static void identity_free(fanout_zone_t *z, fanout_ref_t ref);


const fanout_hash_t  fanout_identity_table = {
    .links.next = offsetof(fanout_identity_block_t, hash_next),
    .table = offsetof(fanout_shm_t, identity_hash),
    .mask = offsetof(fanout_shm_t, identity_mask)
};


fanout_ref_t
fanout_identity_find(fanout_zone_t *z, uint64_t client)
{
    fanout_ref_t  ref;

    ref = *fanout_hash_bucket(z, &fanout_identity_table, client);

    while (ref && fanout_identity(z, ref)->client != client) {
        ref = fanout_identity(z, ref)->hash_next;
    }

    return ref;
}


/* 0 if the identity was taken over, or the zone rebuilt */

int
fanout_identity_own(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_identity_t *id)
{
    fanout_identity_block_t  *e;

    if (ref == 0 || fanout_identity_find(z, id->client) != ref) {
        return 0;
    }

    e = fanout_identity(z, ref);

    return e->state == FANOUT_ID_LIVE && (int) e->slot == z->heap.slot
           && memcmp(e->secret, id->secret, sizeof(e->secret)) == 0;
}


int
fanout_identity_lost(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id)
{
    int  lost;

    (void) fanout_enter(z);
    lost = 0;

    if (!fanout_identity_own(z, ref, id)) {
        ref = fanout_identity_find(z, id->client);
        lost = ref && fanout_identity(z, ref)->state != FANOUT_ID_ENDED
               ? FANOUT_ORDER_REPLACED
               : FANOUT_ORDER_DISCONNECT;
    }

    fanout_leave(z);

    return lost;
}


/* Finds the identity with that secret and user, 0: none.  Compares in constant
 * time. */

fanout_ref_t
fanout_identity_live(fanout_zone_t *z, const fanout_identity_t *id)
{
    fanout_ref_t  ref;

    ref = fanout_identity_candidate(z, id);

    if (ref == 0 || fanout_secret_differs(fanout_identity(z, ref)->secret,
                                          id->secret)) {
        return 0;
    }

    return ref;
}


fanout_ref_t
fanout_identity_candidate(fanout_zone_t *z, const fanout_identity_t *id)
{
    uint64_t                  user;
    fanout_ref_t              ref;
    fanout_identity_block_t  *e;

    ref = fanout_identity_find(z, id->client);

    if (ref == 0) {
        return 0;
    }

    e = fanout_identity(z, ref);
    user = e->user ? fanout_user(z, e->user)->hash : 0;

    if (user != id->user || e->state == FANOUT_ID_ENDED
        || (fanout_lingers(e) && e->expires < fanout_seconds(z)))
    {
        return 0;
    }

    return ref;
}


unsigned
fanout_secret_differs(const void *a, const void *b)
{
    unsigned        i, differ;
    const uint8_t  *p, *q;

    p = a;
    q = b;
    differ = 0;

    for (i = 0; i < sizeof(((fanout_identity_t *) 0)->secret); i++) {
        differ |= p[i] ^ q[i];
    }

    return differ;
}


void
fanout_identity_free_unused(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    if (e->state == FANOUT_ID_ENDED && e->seats == 0) {
        identity_free(z, ref);
    }
}


static void
identity_free(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    fanout_user_leave(z, ref);

    if (e->info) {
        fanout_free(z, e->info, fanout_chain_last(z, e->info),
                    fanout_info_blocks(fanout_info_len(e)), FANOUT_IDENTITIES);
    }

    fanout_hash_remove(z, &fanout_identity_table, e->client, ref);
    fanout_set(z, z->shm->nidentities, z->shm->nidentities - 1);
    fanout_free(z, ref, ref, 1, FANOUT_IDENTITIES);
}


size_t
fanout_identity_info(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf)
{
    fanout_chain_cursor_t     pen;
    fanout_identity_block_t  *e;

    e = fanout_identity(z, ref);

    if (e->info == 0) {
        return 0;
    }

    pen.z = z;
    pen.ref = e->info;
    pen.pos = sizeof(fanout_ref_t);
    pen.left = fanout_info_blocks(fanout_info_len(e));
    (void) fanout_copy(&pen, buf, fanout_info_len(e));

    return fanout_info_len(e);
}
