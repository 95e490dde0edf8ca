
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks on a shelf, found by name, and the claims to them.
 */


#include "heap/hash.h"
#include "zone/lock_block.h"
#include "zone/share.h"


#define FANOUT_SALT_LOCK     12         /* of fanout_hash() */


static uint64_t lock_hash(fanout_zone_t *z, fanout_ref_t channel,
    const uint8_t *name, size_t len);
static int lock_named(fanout_zone_t *z, const fanout_lock_block_t *lock,
    const fanout_zstr_t *name);
static fanout_tree_t locks_of(fanout_shelf_t *shelf);
static void claim_count(fanout_zone_t *z, const fanout_claim_t *claim,
    int more);
static void claim_write(fanout_zone_t *z, fanout_ref_t chain,
    const fanout_zstr_t *user, const fanout_zstr_t *data);


static const fanout_hash_t  lock_table = {
    .links.next = offsetof(fanout_lock_block_t, hash_next),
    .table = offsetof(fanout_shm_t, lock_hash),
    .mask = offsetof(fanout_shm_t, lock_mask)
};

static const fanout_links_t  seat_links = {
    .next = offsetof(fanout_claim_t, seat_next),
    .prev = offsetof(fanout_claim_t, seat_prev)
};


static uint64_t
lock_hash(fanout_zone_t *z, fanout_ref_t channel, const uint8_t *name,
    size_t len)
{
    return fanout_hash_short(z, &channel, sizeof(channel), name, len,
                             FANOUT_SALT_LOCK);
}


fanout_ref_t
fanout_lock_find(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zstr_t *name)
{
    fanout_ref_t          ref, shelf;
    fanout_lock_block_t  *lock;

    shelf = fanout_shelf_of(z, channel);

    if (shelf == 0 || fanout_shelf(z, shelf)->locks == 0) {
        return 0;
    }

    ref = *fanout_hash_bucket(z, &lock_table,
                              lock_hash(z, channel, name->data, name->len));

    while (ref) {
        lock = fanout_lock(z, ref);

        if (lock->shelf == shelf && lock_named(z, lock, name)) {
            return ref;
        }

        ref = lock->hash_next;
    }

    return 0;
}


static int
lock_named(fanout_zone_t *z, const fanout_lock_block_t *lock,
    const fanout_zstr_t *name)
{
    uint8_t  buf[255];

    return lock->name_len == name->len
           && memcmp(buf, name->data, fanout_lock_name(z, lock, buf)) == 0;
}


uint8_t
fanout_lock_name(fanout_zone_t *z, const fanout_lock_block_t *lock,
    uint8_t *buf)
{
    uint8_t                first;
    fanout_chain_cursor_t  pen;

    first = lock->name_len < FANOUT_LOCK_FIRST ? lock->name_len
                                               : FANOUT_LOCK_FIRST;
    memcpy(buf, lock->name, first);

    pen.z = z;
    pen.ref = lock->chain;
    pen.pos = sizeof(fanout_ref_t);
    pen.left = 5;
    (void) fanout_copy(&pen, buf + first, lock->name_len - first);

    return lock->name_len;
}


static fanout_tree_t
locks_of(fanout_shelf_t *shelf)
{
    fanout_tree_t  t;

    t.root = &shelf->lock_root;
    t.depth = &shelf->lock_depth;
    t.kind = FANOUT_LOCKS;

    return t;
}


fanout_ref_t
fanout_lock_make(fanout_zone_t *z, fanout_ref_t shelf,
    const fanout_zstr_t *name)
{
    uint8_t                first;
    uint32_t               n;
    unsigned               made;
    fanout_ref_t           ref;
    fanout_tree_t          tree;
    fanout_shelf_t        *s;
    fanout_lock_block_t   *lock;
    fanout_chain_cursor_t  pen;

    s = fanout_shelf(z, shelf);
    n = fanout_lock_blocks(name->len);

    ref = fanout_alloc(z, n, FANOUT_LOCKS, NULL);
    lock = fanout_lock(z, ref);

    memset((uint8_t *) lock + 4, 0, sizeof(fanout_lock_block_t) - 4);

    lock->shelf = shelf;
    lock->name_len = name->len;
    first = name->len < FANOUT_LOCK_FIRST ? name->len : FANOUT_LOCK_FIRST;
    memcpy(lock->name, name->data, first);

    pen.z = z;
    pen.ref = lock->chain;
    pen.pos = sizeof(fanout_ref_t);
    fanout_write(&pen, name->data + first, name->len - first);

    fanout_hash_add(z, &lock_table,
                    lock_hash(z, s->channel, name->data, name->len), ref,
                    FANOUT_NEW_RECORD);

    tree = locks_of(s);
    lock->slot = fanout_tree_take(z, &tree, ref, &made);

    fanout_set(z, s->locks, s->locks + 1);
    fanout_shelf_add(z, shelf, n + made);

    return ref;
}


void
fanout_lock_settle(fanout_zone_t *z, fanout_ref_t ref)
{
    uint8_t               name[255];
    uint32_t              n;
    fanout_ref_t          shelf, channel;
    fanout_tree_t         tree;
    fanout_shelf_t       *s;
    fanout_lock_block_t  *lock;

    lock = fanout_lock(z, ref);

    if (lock->holder || lock->first) {
        return;
    }

    shelf = lock->shelf;
    s = fanout_shelf(z, shelf);
    channel = s->channel;

    (void) fanout_lock_name(z, lock, name);
    fanout_hash_remove(z, &lock_table,
                       lock_hash(z, channel, name, lock->name_len), ref);

    tree = locks_of(s);
    n = fanout_lock_blocks(lock->name_len);
    fanout_shelf_add(z, shelf,
                     -(int32_t) (n + fanout_tree_return(z, &tree,
                                                        lock->slot)));
    fanout_free(z, ref, fanout_chain_last(z, ref), n, FANOUT_LOCKS);
    fanout_set(z, s->locks, s->locks - 1);

    fanout_shelf_settle(z, shelf);
    fanout_channel_free_unused(z, channel);
}


fanout_ref_t
fanout_claim_make(fanout_zone_t *z, fanout_ref_t lock, fanout_ref_t seat,
    const fanout_zone_lock_t *req)
{
    uint32_t         n;
    fanout_ref_t     ref;
    fanout_claim_t  *claim;

    n = fanout_claim_blocks(req->user.len + req->data.len);
    ref = fanout_alloc(z, n, FANOUT_LOCKS, NULL);
    claim = fanout_claim(z, ref);

    memset((uint8_t *) claim + 4, 0, sizeof(fanout_claim_t) - 4);

    claim->lock = lock;
    claim->seat = seat;
    claim->ttl = req->ttl;
    claim->user_len = req->user.len;
    claim->data_len = req->data.len;
    claim->holder = fanout_holder(z, req->address);

    claim_write(z, claim->chain, &req->user, &req->data);

    if (seat) {
        fanout_list_push(z, &seat_links, &fanout_seat(z, seat)->claims, ref,
                         FANOUT_NEW_RECORD);
    }

    fanout_shelf_add(z, fanout_lock(z, lock)->shelf, n);
    claim_count(z, claim, 1);

    return ref;
}


static void
claim_count(fanout_zone_t *z, const fanout_claim_t *claim, int more)
{
    uint32_t  n;

    n = fanout_claim_own(fanout_lock(z, claim->lock)->name_len,
                         claim->user_len + claim->data_len);

    fanout_holder_add(z, FANOUT_SHARE_records, claim->holder,
                      more * (int32_t) n);
}


static void
claim_write(fanout_zone_t *z, fanout_ref_t chain, const fanout_zstr_t *user,
    const fanout_zstr_t *data)
{
    fanout_chain_cursor_t  pen;

    pen.z = z;
    pen.ref = chain;
    pen.pos = sizeof(fanout_ref_t);
    fanout_write(&pen, user->data, user->len);
    fanout_write(&pen, data->data, data->len);
}


void
fanout_claim_change(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_lock_t *req)
{
    uint8_t          old[255 + FANOUT_ZONE_LOCK_DATA];
    uint32_t         n, had;
    fanout_ref_t     chain;
    fanout_zstr_t    user;
    fanout_claim_t  *claim;

    claim = fanout_claim(z, ref);

    fanout_set(z, claim->ttl, req->ttl);

    if (req->data.data == NULL) {
        return;
    }

    fanout_claim_text(z, claim, old);
    user.data = old;
    user.len = claim->user_len;

    had = fanout_claim_blocks(claim->user_len + claim->data_len) - 1;
    n = fanout_claim_blocks(claim->user_len + req->data.len) - 1;
    chain = n ? fanout_alloc(z, n, FANOUT_LOCKS, NULL) : 0;
    claim_write(z, chain, &user, &req->data);

    if (had) {
        fanout_free(z, claim->chain, fanout_chain_last(z, claim->chain), had,
                    FANOUT_LOCKS);
    }

    claim_count(z, claim, -1);
    fanout_set(z, claim->chain, chain);
    fanout_set(z, claim->data_len, req->data.len);
    claim_count(z, claim, 1);
    fanout_shelf_add(z, fanout_lock(z, claim->lock)->shelf,
                     (int32_t) n - (int32_t) had);
}


void
fanout_claim_free(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t         n;
    fanout_claim_t  *claim;

    claim = fanout_claim(z, ref);
    n = fanout_claim_blocks(claim->user_len + claim->data_len);

    fanout_claim_undue(z, ref);

    if (claim->seat) {
        fanout_list_remove(z, &seat_links,
                           &fanout_seat(z, claim->seat)->claims, NULL, ref);
    }

    claim_count(z, claim, -1);
    fanout_shelf_add(z, fanout_lock(z, claim->lock)->shelf, -(int32_t) n);
    fanout_free(z, ref, fanout_chain_last(z, ref), n, FANOUT_LOCKS);
}


void
fanout_claim_text(fanout_zone_t *z, const fanout_claim_t *claim, uint8_t *buf)
{
    fanout_chain_cursor_t  pen;

    pen.z = z;
    pen.ref = claim->chain;
    pen.pos = sizeof(fanout_ref_t);
    pen.left = fanout_claim_blocks(claim->user_len + claim->data_len);
    (void) fanout_copy(&pen, buf, claim->user_len + claim->data_len);
}


fanout_ref_t
fanout_claim_find(fanout_zone_t *z, fanout_ref_t seat, fanout_ref_t lock)
{
    fanout_ref_t  ref;

    for (ref = fanout_seat(z, seat)->claims; ref;
         ref = fanout_claim(z, ref)->seat_next)
    {
        z->heap.work++;

        if (fanout_claim(z, ref)->lock == lock) {
            break;
        }
    }

    return ref;
}
