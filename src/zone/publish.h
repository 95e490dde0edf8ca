
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Internals of publishing: messages that are not appended yet.
 */


#ifndef FANOUT_ZONE_PUBLISH_H
#define FANOUT_ZONE_PUBLISH_H


#include "zone/slot.h"
#include "zone/message.h"


/* A message as an entry that is not linked: a chain of blocks. */

typedef struct {
    fanout_ref_t  first;
    fanout_ref_t  last;
    uint32_t      blocks;
    unsigned      staged:1;             /* allocated and filled by
                                           fanout_stage() */
} fanout_draft_t;


/* Allocates the blocks of n messages (total is their sum) for an account, lists
 * them in the slot and fills them, in sections of its own: the lock must not be
 * held.  OK; FULL with z->full; STALE if the zone was rebuilt.  After an error
 * nothing is staged. */
int fanout_stage(fanout_zone_t *z, fanout_slot_t *slot, uint32_t account,
    const fanout_zone_message_t *m, unsigned n, fanout_draft_t *d,
    uint32_t total);

/* Allocates the blocks of draft i, whose first and last are 0, and lists them
 * in the slot, in sections of its own.  OK, FULL, STALE. */
int fanout_stage_blocks(fanout_zone_t *z, fanout_slot_t *slot,
    uint32_t account, fanout_draft_t *d, unsigned i, uint32_t blocks);

/* Appends a message that is staged, or that will be: its blocks must be
 * ensured.  The lock must be held. */
void fanout_draft_append(fanout_zone_t *z, fanout_ref_t channel,
    fanout_draft_t *d, const fanout_zone_message_t *m, uint8_t type);

/* The same at a time: Unix ms, and s of the zone's clock. */
void fanout_draft_link(fanout_zone_t *z, fanout_ref_t channel,
    fanout_draft_t *d, const fanout_zone_message_t *m, uint8_t type,
    uint64_t time, uint32_t now);

/* Frees the blocks that are listed in the slot.  The lock must be held. */
void fanout_unstage(fanout_zone_t *z, fanout_slot_t *slot);

/* Writes a message into its blocks, in sections of its own: the lock must not
 * be held.  OK; STALE if the zone was rebuilt. */
int fanout_draft_fill(fanout_zone_t *z, const fanout_draft_t *d,
    const fanout_zone_message_t *m);


/* The part of a message that is still to be written. */

typedef struct {
    fanout_chain_cursor_t  pen;
    fanout_zstr_t          left[5];
} fanout_fill_t;

/* Whether a message is to one client or user. */
static inline int
fanout_message_direct(const fanout_zone_message_t *m)
{
    return m->to_client || m->to_user;
}

/* The bytes of a message in an entry, without the entry's head. */
static inline uint32_t
fanout_message_size(const fanout_zone_message_t *m)
{
    return m->event.len + m->key.len + m->user.len + m->meta.len
           + m->data.len + (m->client ? 8 : 0) + (m->meta.len ? 2 : 0)
           + (fanout_message_direct(m) ? 16 : 0);
}

/* Writes the head of an entry into the blocks of a draft; f has the rest, which
 * fanout_message_fill() writes. The lock must be held. */
void fanout_message_compose(fanout_zone_t *z, const fanout_draft_t *d, const
    fanout_zone_message_t *m, fanout_fill_t *f);

/* Writes at most n bytes of what is left of a message; returns whether there is
 * more. The lock must be held. */
int fanout_message_fill(fanout_fill_t *f, size_t n);


#endif /* FANOUT_ZONE_PUBLISH_H */
