
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Hash tables of records under the journal: an array of buckets in the
 * mapping, each the first record of a chain.  The zone lock must be held.  As
 * for lists, see heap/list.h, a process that dies in one of these leaves the
 * table as it was before.
 */


#ifndef FANOUT_HEAP_HASH_H
#define FANOUT_HEAP_HASH_H


#include "heap/list.h"


typedef struct {
    fanout_links_t       links;         /* singly linked */
    uint32_t             table;         /* in the mapping: where the offset of
                                           the buckets is, 64 bits */
    uint32_t             mask;          /* and their number, a power of two,
                                           less one, 32 bits */
} fanout_hash_t;


/* The bucket of a hash. */
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


/* Removes a record that is in the table. */
static fanout_inline void
fanout_hash_remove(fanout_zone_t *z, const fanout_hash_t *h, uint64_t hash,
    fanout_ref_t ref)
{
    fanout_list_remove_single(z, &h->links, fanout_hash_bucket(z, h, hash),
                              ref);
}


#endif /* FANOUT_HEAP_HASH_H */
