
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Denials: made, ended, and when they end by themselves.
 */


#include "heap/hash.h"
#include "heap/wheel.h"
#include "zone/denial_block.h"
#include "zone/log.h"


#define FANOUT_DENIAL_MIX  0x9e3779b97f4a7c15ULL


static int denial_room(fanout_zone_t *z, const fanout_denial_t *d);
static fanout_ref_t denial_make(fanout_zone_t *z, const fanout_denial_t *d);
static void denial_file(fanout_zone_t *z, fanout_ref_t ref);
static void denial_free(fanout_zone_t *z, fanout_ref_t ref);


static const fanout_hash_t  denial_table = {
    .links.next = offsetof(fanout_denial_block_t, hash_next),
    .table = offsetof(fanout_shm_t, denial_hash),
    .mask = offsetof(fanout_shm_t, denial_mask)
};

static const fanout_links_t  denial_links = {
    .next = offsetof(fanout_denial_block_t, next),
    .prev = offsetof(fanout_denial_block_t, prev)
};

static const fanout_wheel_t  denial_wheel = {
    .links.next = offsetof(fanout_denial_block_t, due_next),
    .links.prev = offsetof(fanout_denial_block_t, due_prev),
    .places = FANOUT_DENIALS_WHEEL
};

#define denial_bucket(kind, key)                                              \
    ((key) + ((uint64_t) (kind) + 1) * FANOUT_DENIAL_MIX)


uint64_t
fanout_denial_last(fanout_zone_t *z)
{
    return __atomic_load_n(&z->shm->denial_change, __ATOMIC_SEQ_CST);
}


int
fanout_denial_put(fanout_zone_t *z, fanout_denial_t *d)
{
    int                     rc;
    fanout_ref_t            ref;
    fanout_shm_t           *shm;
    fanout_denial_block_t  *b;

    (void) fanout_enter(z);

    rc = denial_room(z, d);

    if (rc != FANOUT_ZONE_OK) {
        fanout_leave(z);
        return rc;
    }

    shm = z->shm;
    ref = fanout_denial_find(z, d->kind, d->key);

    if (ref) {
        b = fanout_denial(z, ref);
        fanout_wheel_remove(z, &denial_wheel, shm->denials_due, b->place, ref);
        fanout_list_remove(z, &denial_links, &shm->denial_first,
                           &shm->denial_last, ref);

    } else {
        ref = denial_make(z, d);
        b = fanout_denial(z, ref);
    }

    if (d->kind != FANOUT_DENY_ISSUED || d->value > b->value) {
        fanout_set(z, b->value, d->value);
    }

    d->until = fanout_wall(z) + d->left * 1000ULL;
    d->change = shm->denial_change + 1;
    d->value = b->value;

    /* the current second has begun */
    fanout_set(z, b->due, fanout_seconds(z) + d->left + 1);
    fanout_set(z, b->until, d->until);
    fanout_set(z, b->change, d->change);

    fanout_list_append(z, &denial_links, &shm->denial_first,
                       &shm->denial_last, ref, FANOUT_OLD_RECORD);
    denial_file(z, ref);
    fanout_set(z, shm->denial_change, d->change);

    fanout_notify_all(z);
    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


/* Expired ones that the sweep has not met yet make room. */

static int
denial_room(fanout_zone_t *z, const fanout_denial_t *d)
{
    int  rc;

    if (fanout_denial_find(z, d->kind, d->key)) {
        return FANOUT_ZONE_OK;
    }

    if (z->shm->ndenials >= z->shm->denials_max) {
        (void) fanout_denial_sweep(z);
        fanout_commit(z);
    }

    do {
        rc = fanout_ensure(z, fanout_denial_blocks(d->name.len));
    } while (rc == FANOUT_ZONE_STALE);

    if (rc != FANOUT_ZONE_OK) {
        z->full = FANOUT_FULL_ZONE;
        return rc;
    }

    return fanout_denial_find(z, d->kind, d->key)
           || z->shm->ndenials < z->shm->denials_max
           ? FANOUT_ZONE_OK : FANOUT_ZONE_MANY;
}


static fanout_ref_t
denial_make(fanout_zone_t *z, const fanout_denial_t *d)
{
    fanout_ref_t            ref;
    fanout_chain_cursor_t   pen;
    fanout_denial_block_t  *b;

    ref = fanout_alloc(z, 1, FANOUT_DENIALS, NULL);
    b = fanout_denial(z, ref);

    memset((uint8_t *) b + sizeof(fanout_ref_t), 0,
           sizeof(fanout_denial_block_t) - sizeof(fanout_ref_t));

    b->key = d->key;
    b->kind = d->kind;
    b->value = d->value;
    b->name_len = d->name.len;
    b->name = fanout_alloc(z, fanout_denial_blocks(d->name.len) - 1,
                           FANOUT_DENIALS, NULL);

    pen.z = z;
    pen.ref = b->name;
    pen.pos = sizeof(fanout_ref_t);
    fanout_write(&pen, d->name.data, d->name.len);

    fanout_hash_add(z, &denial_table, denial_bucket(d->kind, d->key), ref,
                    FANOUT_NEW_RECORD);

    if (z->shm->ndenials == 0) {
        fanout_set(z, z->shm->denials_at, fanout_seconds(z));
    }

    fanout_set(z, z->shm->ndenials, z->shm->ndenials + 1);

    return ref;
}


static void
denial_file(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t                place;
    fanout_denial_block_t  *b;

    b = fanout_denial(z, ref);
    place = fanout_wheel_place(&denial_wheel, b->due, z->shm->denials_at);

    fanout_set(z, b->place, place);
    fanout_wheel_add(z, &denial_wheel, z->shm->denials_due, place, ref,
                     FANOUT_OLD_RECORD);
}


int
fanout_denial_drop(fanout_zone_t *z, unsigned kind, uint64_t key)
{
    int           rc;
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_NOTFOUND;
    ref = fanout_denial_find(z, kind, key);

    if (ref) {
        if (fanout_denial(z, ref)->due > fanout_seconds(z)) {
            rc = FANOUT_ZONE_OK;
        }

        denial_free(z, ref);
    }

    fanout_leave(z);

    return rc;
}


fanout_ref_t
fanout_denial_find(fanout_zone_t *z, unsigned kind, uint64_t key)
{
    fanout_ref_t            ref;
    fanout_denial_block_t  *b;

    ref = *fanout_hash_bucket(z, &denial_table, denial_bucket(kind, key));

    for ( /* void */ ; ref; ref = b->hash_next) {
        b = fanout_denial(z, ref);
        z->heap.work++;

        if (b->key == key && b->kind == kind) {
            break;
        }
    }

    return ref;
}


static void
denial_free(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t           *shm;
    fanout_denial_block_t  *b;

    shm = z->shm;
    b = fanout_denial(z, ref);

    fanout_hash_remove(z, &denial_table, denial_bucket(b->kind, b->key), ref);
    fanout_wheel_remove(z, &denial_wheel, shm->denials_due, b->place, ref);
    fanout_list_remove(z, &denial_links, &shm->denial_first,
                       &shm->denial_last, ref);

    fanout_free(z, b->name, fanout_chain_last(z, b->name),
                fanout_denial_blocks(b->name_len) - 1, FANOUT_DENIALS);
    fanout_free(z, ref, ref, 1, FANOUT_DENIALS);
    fanout_set(z, shm->ndenials, shm->ndenials - 1);
}


int
fanout_denial_sweep(fanout_zone_t *z)
{
    uint32_t       now;
    unsigned       n;
    fanout_ref_t   ref;
    fanout_shm_t  *shm;

    shm = z->shm;
    now = fanout_seconds(z);
    n = 0;

    while (shm->ndenials
           && (ref = fanout_wheel_turn(z, &denial_wheel, shm->denials_due,
                                       &shm->denials_at, now)) != 0)
    {
        if (n++ == FANOUT_STEP || !fanout_section_room(z)) {
            return FANOUT_ZONE_AGAIN;
        }

        if (fanout_denial(z, ref)->due > shm->denials_at + 1) {
            fanout_wheel_remove(z, &denial_wheel, shm->denials_due,
                                fanout_denial(z, ref)->place, ref);
            denial_file(z, ref);

        } else {
            denial_free(z, ref);
        }
    }

    return FANOUT_ZONE_OK;
}
