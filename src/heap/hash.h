
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Hash tables of records under the journal: an array of buckets in the mapping;
 * each bucket is the first record of a chain.  The zone lock must be held.
 * Each function is all or nothing if the process dies, see heap/list.h.
 */


#ifndef FANOUT_HEAP_HASH_H
#define FANOUT_HEAP_HASH_H


#include "heap/list.h"


typedef struct {
    fanout_links_t       links;         /* singly linked */
    uint32_t             table;         /* offset in the mapping of the offset
                                           (64 bits) of the buckets */
    uint32_t             mask;          /* offset in the mapping of the number
                                           of buckets less one (32 bits); the
                                           number is a power of two */
} fanout_hash_t;


/* Returns the bucket of a hash. */
static fanout_inline fanout_ref_t *
fanout_hash_bucket(fanout_zone_t *z, const fanout_hash_t *h, uint64_t hash)
{
    uint8_t       *shm;
    fanout_ref_t  *buckets;

    shm = (uint8_t *) fanout_heap(z)->shm;
    buckets = (fanout_ref_t *) (shm + *(uint64_t *) (shm + h->table));

    return &buckets[hash & *(uint32_t *) (shm + h->mask)];
}


/* Adds a record. */
static fanout_inline void
fanout_hash_add(fanout_zone_t *z, const fanout_hash_t *h, uint64_t hash,
    fanout_ref_t ref, fanout_record_e record)
{
    fanout_list_push(z, &h->links, fanout_hash_bucket(z, h, hash), ref, record);
}


/* Removes a record, which must be in the table. */
static fanout_inline void
fanout_hash_remove(fanout_zone_t *z, const fanout_hash_t *h, uint64_t hash,
    fanout_ref_t ref)
{
    fanout_list_remove_single(z, &h->links, fanout_hash_bucket(z, h, hash),
                              ref);
}


#endif /* FANOUT_HEAP_HASH_H */
