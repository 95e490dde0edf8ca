
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Denials, internal to the zone.  The lock must be held.
 */


#ifndef FANOUT_ZONE_DENIAL_BLOCK_H
#define FANOUT_ZONE_DENIAL_BLOCK_H


#include "zone/denial.h"
#include "zone/layout.h"


/* In the order of the numbers, in the table by kind and key, and in the wheel
 * of what ends. */

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         name;          /* a chain */
    fanout_ref_t         due_next;
    fanout_ref_t         due_prev;
    fanout_ref_t         next;
    fanout_ref_t         prev;
    uint64_t             key;
    uint64_t             until;         /* Unix ms, to be shown */
    uint64_t             change;
    uint32_t             due;           /* s of the zone's clock */
    uint32_t             value;
    uint16_t             place;         /* in the wheel */
    uint8_t              kind;
    uint8_t              name_len;
    uint32_t             unused;
} fanout_denial_block_t;

#define fanout_denial(z, ref)  ((fanout_denial_block_t *) fanout_at(z, ref))

/* the blocks of a denial */
#define fanout_denial_blocks(len)                                             \
    (1 + ((len) + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD)


/* Finds a denial, also one that is over: 0 if there is none. */
fanout_ref_t fanout_denial_find(fanout_zone_t *z, unsigned kind, uint64_t key);

/* Ends denials whose time is over, up to a step; AGAIN if there are more. */
int fanout_denial_sweep(fanout_zone_t *z);


#endif /* FANOUT_ZONE_DENIAL_BLOCK_H */
