
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Timer wheels under the journal: an array of places in the mapping, one for
 * each tick of a turn; each place is the first record of a list.  The zone lock
 * must be held.  Each function is all or nothing if the process dies, see
 * heap/list.h.
 *
 * The owner has the tick that the wheel has turned to, and stores the place of
 * each record.
 */


#ifndef FANOUT_HEAP_WHEEL_H
#define FANOUT_HEAP_WHEEL_H


#include "heap/list.h"


typedef struct {
    fanout_links_t       links;         /* doubly linked */
    uint32_t             places;
} fanout_wheel_t;


/* Returns the place of a record that is due at the tick due, when the wheel has
 * turned to the tick turned; it is at least one tick ahead.  A record that is
 * due beyond one turn gets the farthest place; the owner adds it again when the
 * wheel reaches it. */
static fanout_inline uint32_t
fanout_wheel_place(const fanout_wheel_t *w, uint64_t due, uint64_t turned)
{
    if (due <= turned) {
        due = turned + 1;

    } else if (due - turned >= w->places) {
        due = turned + w->places - 1;
    }

    return due % w->places;
}


/* Adds a record to a place. */
static fanout_inline void
fanout_wheel_add(fanout_zone_t *z, const fanout_wheel_t *w,
    fanout_ref_t *wheel, uint32_t place, fanout_ref_t ref,
    fanout_record_e record)
{
    fanout_list_push(z, &w->links, &wheel[place], ref, record);
}


/* Removes a record from its place. */
static fanout_inline void
fanout_wheel_remove(fanout_zone_t *z, const fanout_wheel_t *w,
    fanout_ref_t *wheel, uint32_t place, fanout_ref_t ref)
{
    fanout_list_remove(z, &w->links, &wheel[place], NULL, ref);
}


/* Turns the wheel, from the tick *turned towards now, to the first record that
 * is met.  Returns the record, or 0 when *turned is now.  The owner removes it,
 * or adds it again if it is due later, and goes on. */
static fanout_inline fanout_ref_t
fanout_wheel_turn(fanout_zone_t *z, const fanout_wheel_t *w,
    const fanout_ref_t *wheel, uint32_t *turned, uint32_t now)
{
    uint32_t      at;
    fanout_ref_t  ref;

    at = *turned;
    ref = 0;

    /* a turn meets all */

    if (now > at && now - at > w->places) {
        at = now - w->places;
    }

    while (at < now && (ref = wheel[(at + 1) % w->places]) == 0) {
        at++;
    }

    if (at != *turned) {
        fanout_set(z, *turned, at);
    }

    return ref;
}


#endif /* FANOUT_HEAP_WHEEL_H */
