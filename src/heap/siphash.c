
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Hashes and random numbers from the secret seeds of the zone.
 */


#include "heap/heap.h"
#include "heap/siphash.h"


static uint64_t hash_half(fanout_zone_t *z, const void *a, size_t alen,
    const void *b, size_t blen, uint64_t salt);


uint64_t
fanout_zone_random(fanout_zone_t *z)
{
    uint64_t            h[2];
    fanout_heap_shm_t  *shm;

    shm = fanout_heap(z)->shm;

    fanout_set(z, shm->random[0], shm->random[0] + 1);
    fanout_hash(z, shm->random, sizeof(shm->random), NULL, 0, 2, h);

    return h[0] ? h[0] : 1;
}


void
fanout_hash(fanout_zone_t *z, const void *a, size_t alen, const void *b,
    size_t blen, uint64_t salt, uint64_t out[2])
{
    out[0] = hash_half(z, a, alen, b, blen, salt << 1);
    out[1] = hash_half(z, a, alen, b, blen, salt << 1 | 1);
}


uint64_t
fanout_hash_short(fanout_zone_t *z, const void *a, size_t alen, const void *b,
    size_t blen, uint64_t salt)
{
    return hash_half(z, a, alen, b, blen, salt << 1);
}


static uint64_t
hash_half(fanout_zone_t *z, const void *a, size_t alen, const void *b,
    size_t blen, uint64_t salt)
{
    uint64_t          n;
    fanout_siphash_t  s;

    n = salt << 32 | alen;

    fanout_siphash_init(&s, fanout_heap(z)->shm->seed);
    fanout_siphash_update(&s, &n, sizeof(n));
    fanout_siphash_update(&s, a, alen);
    fanout_siphash_update(&s, b, blen);

    return fanout_siphash_final(&s);
}


uint64_t
fanout_zone_hash(fanout_zone_t *z, const void *data, size_t len)
{
    fanout_siphash_t  s;

    fanout_siphash_init(&s, fanout_heap(z)->shm->seed);
    fanout_siphash_update(&s, data, len);

    return fanout_siphash_final(&s);
}
