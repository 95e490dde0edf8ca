
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Users: the common name of clients, and the list of these.  A user exists as
 * long as one of its clients.
 */


#include "heap/hash.h"
#include "zone/identity.h"
#include "zone/share.h"


static fanout_ref_t make(fanout_zone_t *z, uint64_t hash,
    const fanout_zstr_t *name);


static const fanout_hash_t  user_table = {
    .links.next = offsetof(fanout_user_t, hash_next),
    .table = offsetof(fanout_shm_t, user_hash),
    .mask = offsetof(fanout_shm_t, identity_mask)
};

static const fanout_links_t  user_links = {
    .next = offsetof(fanout_identity_block_t, user_next),
    .prev = offsetof(fanout_identity_block_t, user_prev)
};


uint32_t
fanout_user_blocks(size_t name_len)
{
    if (name_len <= FANOUT_USER_FIRST) {
        return 1;
    }

    return 1 + (name_len - FANOUT_USER_FIRST + FANOUT_PAYLOAD - 1)
               / FANOUT_PAYLOAD;
}


fanout_ref_t
fanout_user_find(fanout_zone_t *z, uint64_t hash)
{
    fanout_ref_t  ref;

    ref = *fanout_hash_bucket(z, &user_table, hash);

    while (ref && fanout_user(z, ref)->hash != hash) {
        ref = fanout_user(z, ref)->hash_next;
    }

    return ref;
}


/* two names with the same hash are not expected: the hash is keyed and has 64
 * bits */

void
fanout_user_join(fanout_zone_t *z, fanout_ref_t identity, uint64_t hash,
    const fanout_zstr_t *name)
{
    fanout_ref_t              ref;
    fanout_user_t            *u;
    fanout_identity_block_t  *e;

    e = fanout_identity(z, identity);
    ref = fanout_user_find(z, hash);

    if (ref == 0) {
        ref = make(z, hash, name);
    }

    u = fanout_user(z, ref);

    fanout_set(z, e->user, ref);
    fanout_list_push(z, &user_links, &u->identities, identity,
                     FANOUT_OLD_RECORD);
    fanout_set(z, u->n, u->n + 1);
}


static fanout_ref_t
make(fanout_zone_t *z, uint64_t hash, const fanout_zstr_t *name)
{
    fanout_ref_t           ref;
    fanout_user_t         *u;
    fanout_chain_cursor_t  pen;

    ref = fanout_alloc(z, fanout_user_blocks(name->len), FANOUT_IDENTITIES,
                       NULL);
    u = fanout_user(z, ref);

    u->identities = 0;
    u->n = 0;
    u->hash = hash;
    u->name_len = name->len;

    pen.z = z;
    pen.ref = ref;
    pen.pos = offsetof(fanout_user_t, name);
    fanout_write(&pen, name->data, name->len);

    fanout_hash_add(z, &user_table, hash, ref, FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->nusers, z->shm->nusers + 1);

    return ref;
}


void
fanout_user_leave(fanout_zone_t *z, fanout_ref_t identity)
{
    fanout_ref_t              ref;
    fanout_user_t            *u;
    fanout_identity_block_t  *e;

    e = fanout_identity(z, identity);
    ref = e->user;

    if (ref == 0) {
        return;
    }

    u = fanout_user(z, ref);

    fanout_list_remove(z, &user_links, &u->identities, NULL, identity);

    fanout_set(z, e->user, 0);
    fanout_set(z, u->n, u->n - 1);

    if (u->n) {
        return;
    }

    fanout_hash_remove(z, &user_table, u->hash, ref);
    fanout_set(z, z->shm->nusers, z->shm->nusers - 1);

    fanout_free(z, ref, fanout_chain_last(z, ref),
                fanout_user_blocks(u->name_len), FANOUT_IDENTITIES);
}


uint32_t
fanout_user_count(fanout_zone_t *z, fanout_ref_t ref, uint64_t client,
    uint32_t max)
{
    uint32_t                  n;
    fanout_user_t            *u;
    fanout_identity_block_t  *e;

    u = fanout_user(z, ref);

    if (u->n < max) {
        return u->n;
    }

    n = 0;

    for (ref = u->identities; ref && n < max; ref = e->user_next) {
        e = fanout_identity(z, ref);
        n += e->state != FANOUT_ID_ENDED
             && ((e->client ^ client) & FANOUT_CLIENT_FOREIGN) == 0;
    }

    return n;
}


size_t
fanout_user_name(fanout_zone_t *z, fanout_ref_t ref, uint8_t *buf)
{
    fanout_user_t         *u;
    fanout_chain_cursor_t  pen;

    if (ref == 0) {
        return 0;
    }

    u = fanout_user(z, ref);

    pen.z = z;
    pen.ref = ref;
    pen.pos = offsetof(fanout_user_t, name);
    pen.left = fanout_user_blocks(u->name_len);
    (void) fanout_copy(&pen, buf, u->name_len);

    return u->name_len;
}
