
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Trees under the journal: numbers ("slots") for records.  A record gets the
 * smallest free slot and keeps it, so a walk by slot meets a record that exists
 * all the while exactly once.  The zone lock must be held.  Each function is
 * all or nothing if the process dies, see heap/list.h.
 *
 * A tree consists of tables, each one block.  The leaves have records, other
 * tables have tables.  The owner keeps the root and the number of levels in the
 * mapping; both are 0 while the tree is empty.
 */


#ifndef FANOUT_HEAP_TREE_H
#define FANOUT_HEAP_TREE_H


#include "heap/heap.h"


#define FANOUT_TREE_DEPTH     7         /* limit of levels: more slots than a
                                           zone has blocks */
#define FANOUT_TABLE_REFS     14
#define FANOUT_TABLE_FULL     ((1 << FANOUT_TABLE_REFS) - 1)

/* A bit in full means that no slot is free below that ref. */

typedef struct {
    fanout_ref_t         refs[FANOUT_TABLE_REFS];
    uint16_t             full;
    uint16_t             n;             /* refs that are not 0 */
    uint32_t             stamp;         /* of the owner, 0 at first */
} fanout_table_t;

#define fanout_table(z, ref)  ((fanout_table_t *) fanout_at(z, ref))

/* The place of a tree in the mapping, and the kind of its blocks. */

typedef struct {
    fanout_ref_t        *root;
    uint8_t             *depth;
    unsigned             kind;
} fanout_tree_t;


/* Gives the smallest free slot to a record.  TREE_DEPTH + 1 blocks must be
 * ensured; *made gets the number that was taken. */
uint32_t fanout_tree_take(fanout_zone_t *z, const fanout_tree_t *t,
    fanout_ref_t record, unsigned *made);

/* Frees a slot, which must be taken.  Returns the number of tables that were
 * freed. */
unsigned fanout_tree_return(fanout_zone_t *z, const fanout_tree_t *t,
    uint32_t slot);

/* Returns the table of a slot, 0 if there is none.  It is not read. */
fanout_ref_t fanout_tree_leaf(fanout_zone_t *z, fanout_ref_t root,
    unsigned depth, uint32_t slot);

/* Finds the first record at or above *slot, and sets *slot to its slot; 0: no
 * record is there.  *leaf gets the table with the record; leaf may be NULL. */
fanout_ref_t fanout_tree_next(fanout_zone_t *z, fanout_ref_t root,
    unsigned depth, uint32_t *slot, fanout_ref_t *leaf);


#endif /* FANOUT_HEAP_TREE_H */
