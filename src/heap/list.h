
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Lists of records under the journal.  The zone lock must be held.
 *
 * A record is named by the ref of its first block.  Its links are in that
 * block, or in another one that the first block refers to; a constant
 * descriptor says where.  The owner keeps the ends of a list as refs in the
 * mapping; they are 0 when the list is empty.
 *
 * Every store is journalled, except for the links of a record that was
 * allocated in the same transaction: a rollback frees its blocks, whatever they
 * contain.  The first word of a block is always journalled, see heap.h.  If a
 * process dies in one of these functions, the rollback restores the list.
 *
 * The functions are inline, so that a descriptor costs nothing.
 */


#ifndef FANOUT_HEAP_LIST_H
#define FANOUT_HEAP_LIST_H


#include "heap/heap.h"


/* Offsets within a block. */

typedef struct {
    uint8_t              next;
    uint8_t              prev;          /* 0: singly linked */
    uint8_t              part;          /* of the ref to the block with the
                                           links, 0: the first block has them */
} fanout_links_t;

/* Whether the record was allocated in this transaction. */

typedef enum {
    FANOUT_OLD_RECORD = 0,
    FANOUT_NEW_RECORD
} fanout_record_e;


#define fanout_inline  inline __attribute__((always_inline))


/* the block of a record that has the links */

static fanout_inline uint8_t *
fanout_linked(fanout_zone_t *z, const fanout_links_t *l, fanout_ref_t ref)
{
    uint8_t  *block;

    block = fanout_at(z, ref);

    return l->part ? fanout_at(z, *(fanout_ref_t *) (block + l->part)) : block;
}


static fanout_inline fanout_ref_t *
fanout_link(uint8_t *block, uint8_t offset)
{
    return (fanout_ref_t *) (block + offset);
}


#define fanout_next(z, l, ref)  fanout_link(fanout_linked(z, l, ref), (l)->next)
#define fanout_prev(z, l, ref)  fanout_link(fanout_linked(z, l, ref), (l)->prev)


static fanout_inline void
fanout_link_set(fanout_zone_t *z, uint8_t *block, uint8_t offset,
    fanout_ref_t to, fanout_record_e record)
{
    if (record == FANOUT_NEW_RECORD && offset) {
        *fanout_link(block, offset) = to;

    } else {
        fanout_set(z, *fanout_link(block, offset), to);
    }
}


static fanout_inline void
fanout_links_set(fanout_zone_t *z, const fanout_links_t *l, fanout_ref_t ref,
    fanout_ref_t next, fanout_ref_t prev, fanout_record_e record)
{
    uint8_t  *block;

    block = fanout_linked(z, l, ref);

    fanout_link_set(z, block, l->next, next, record);

    if (l->prev) {
        fanout_link_set(z, block, l->prev, prev, record);
    }
}


/*
 * Lists whose owner keeps one end (the first record) or both.
 */

/* Adds a record as the first one, to a list with one end. */
static fanout_inline void
fanout_list_push(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *first, fanout_ref_t ref, fanout_record_e record)
{
    fanout_links_set(z, l, ref, *first, 0, record);

    if (l->prev && *first) {
        fanout_set(z, *fanout_prev(z, l, *first), ref);
    }

    fanout_set(z, *first, ref);
}


/* Adds a record as the last one. */
static fanout_inline void
fanout_list_append(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *first, fanout_ref_t *last, fanout_ref_t ref,
    fanout_record_e record)
{
    fanout_links_set(z, l, ref, 0, *last, record);

    if (*last) {
        fanout_set(z, *fanout_next(z, l, *last), ref);

    } else {
        fanout_set(z, *first, ref);
    }

    fanout_set(z, *last, ref);
}


/* Links a record behind prev, or begins a chain with it if prev is 0.  Both
 * records were allocated in this transaction and are in no list, so their links
 * are not journalled.  The links must not be in the first word of a block. */
static fanout_inline void
fanout_list_chain(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t prev, fanout_ref_t ref)
{
    fanout_links_set(z, l, ref, 0, prev, FANOUT_NEW_RECORD);

    if (prev) {
        *fanout_next(z, l, prev) = ref;
    }
}


/* Appends a chain made by fanout_list_chain(), with the ends from and to, to a
 * doubly linked list. */
static fanout_inline void
fanout_list_append_chain(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *first, fanout_ref_t *last, fanout_ref_t from,
    fanout_ref_t to)
{
    *fanout_prev(z, l, from) = *last;

    if (*last) {
        fanout_set(z, *fanout_next(z, l, *last), from);

    } else {
        fanout_set(z, *first, from);
    }

    fanout_set(z, *last, to);
}


/* Removes a record of a doubly linked list; the record's own links stay as they
 * are.  last is NULL if the list has one end. */
static fanout_inline void
fanout_list_remove(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *first, fanout_ref_t *last, fanout_ref_t ref)
{
    uint8_t       *block;
    fanout_ref_t   next, prev;

    block = fanout_linked(z, l, ref);
    next = *fanout_link(block, l->next);
    prev = *fanout_link(block, l->prev);

    if (next) {
        fanout_set(z, *fanout_prev(z, l, next), prev);

    } else if (last) {
        fanout_set(z, *last, prev);
    }

    if (prev) {
        fanout_set(z, *fanout_next(z, l, prev), next);

    } else {
        fanout_set(z, *first, next);
    }
}


/* Removes a record of a singly linked list with one end.  Walks the list to
 * find the link. */
static fanout_inline void
fanout_list_remove_single(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *first, fanout_ref_t ref)
{
    fanout_ref_t  *link;

    for (link = first; *link != ref; link = fanout_next(z, l, *link)) {
        /* void */
    }

    fanout_set(z, *link, *fanout_next(z, l, ref));
}


/* Removes the first records of a singly linked list with two ends, up to ref,
 * which stays; all of them if ref is 0. */
static fanout_inline void
fanout_list_cut(fanout_zone_t *z, fanout_ref_t *first, fanout_ref_t *last,
    fanout_ref_t ref)
{
    fanout_set(z, *first, ref);

    if (ref == 0) {
        fanout_set(z, *last, 0);
    }
}


/*
 * A deque: the owner keeps only the first record, whose prev is the last one.
 */

/* Adds a record as the first one. */
static fanout_inline void
fanout_deque_push(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *first, fanout_ref_t ref, fanout_record_e record)
{
    fanout_ref_t  last;

    last = *first ? *fanout_prev(z, l, *first) : ref;

    fanout_links_set(z, l, ref, *first, last, record);

    if (*first) {
        fanout_set(z, *fanout_prev(z, l, *first), ref);
    }

    fanout_set(z, *first, ref);
}


/* Adds a record as the last one. */
static fanout_inline void
fanout_deque_append(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *first, fanout_ref_t ref, fanout_record_e record)
{
    fanout_ref_t  last;

    if (*first == 0) {
        fanout_links_set(z, l, ref, 0, ref, record);
        fanout_set(z, *first, ref);
        return;
    }

    last = *fanout_prev(z, l, *first);

    fanout_links_set(z, l, ref, 0, last, record);
    fanout_set(z, *fanout_prev(z, l, *first), ref);
    fanout_set(z, *fanout_next(z, l, last), ref);
}


/* Removes a record; its own links stay as they are. */
static fanout_inline void
fanout_deque_remove(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *first, fanout_ref_t ref)
{
    uint8_t       *block;
    fanout_ref_t   next, prev;

    block = fanout_linked(z, l, ref);
    next = *fanout_link(block, l->next);
    prev = *fanout_link(block, l->prev);

    if (next) {
        fanout_set(z, *fanout_prev(z, l, next), prev);

    } else if (*first != ref) {
        fanout_set(z, *fanout_prev(z, l, *first), prev);
    }

    if (*first == ref) {
        fanout_set(z, *first, next);

    } else {
        fanout_set(z, *fanout_next(z, l, prev), next);
    }
}


/*
 * A ring: a doubly linked circle without ends; a walk can start at any record.
 */

/* Makes a ring of a chain of fanout_list_chain(), with the ends from and to. */
static fanout_inline void
fanout_ring_close(fanout_zone_t *z, const fanout_links_t *l, fanout_ref_t from,
    fanout_ref_t to)
{
    *fanout_prev(z, l, from) = to;
    *fanout_next(z, l, to) = from;
}


/* Removes a record, which must not be the only one. */
static fanout_inline void
fanout_ring_remove(fanout_zone_t *z, const fanout_links_t *l, fanout_ref_t ref)
{
    uint8_t       *block;
    fanout_ref_t   next, prev;

    block = fanout_linked(z, l, ref);
    next = *fanout_link(block, l->next);
    prev = *fanout_link(block, l->prev);

    fanout_set(z, *fanout_prev(z, l, next), prev);
    fanout_set(z, *fanout_next(z, l, prev), next);
}


/*
 * A circle: a singly linked queue whose owner keeps only the last record, whose
 * next is the first one.
 */

/* Adds a record as the last one. */
static fanout_inline void
fanout_circle_append(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *last, fanout_ref_t ref, fanout_record_e record)
{
    fanout_links_set(z, l, ref, *last ? *fanout_next(z, l, *last) : ref, 0,
                     record);

    if (*last) {
        fanout_set(z, *fanout_next(z, l, *last), ref);
    }

    fanout_set(z, *last, ref);
}


/* Removes the first record. */
static fanout_inline void
fanout_circle_shift(fanout_zone_t *z, const fanout_links_t *l,
    fanout_ref_t *last)
{
    fanout_ref_t  first;

    first = *fanout_next(z, l, *last);

    if (first == *last) {
        fanout_set(z, *last, 0);

    } else {
        fanout_set(z, *fanout_next(z, l, *last), *fanout_next(z, l, first));
    }
}


#endif /* FANOUT_HEAP_LIST_H */
