
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Pending changes of a presence set are appended to the log.
 */


#include "heap/list.h"
#include "zone/log.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


#define FANOUT_DELTA_CHANGES  48        /* in an entry */
#define FANOUT_DELTA_SIZE     16000     /* bytes of it */
#define FANOUT_DELTA_TURN     128       /* sections in a turn of a worker */


static uint32_t flush(fanout_zone_t *z);
static uint32_t delta_blocks(fanout_zone_t *z,
    fanout_presence_block_t *presence);
static void presence_flush_set(fanout_zone_t *z, fanout_ref_t ref, int loss);
static void presence_flush_done(fanout_zone_t *z,
    fanout_presence_block_t *presence, unsigned n);
static unsigned presence_flush_gather(fanout_zone_t *z,
    fanout_presence_block_t *presence, uint8_t *buf, uint32_t *size);


static uint8_t  delta[FANOUT_DELTA_SIZE];


/* appending */

uint32_t
fanout_presence_flush(fanout_zone_t *z)
{
    uint32_t  wait;
    uint64_t  taken;
    unsigned  n;

    /* this process may append changes of others, which its client does not pay
     * for */
    taken = z->heap.taken;
    wait = 0;

    for (n = 0; wait == 0 && n < FANOUT_DELTA_TURN; n++) {

        /* checked without the lock: a process that adds a change flushes it
         * too */

        if (*(volatile uint32_t *) &z->shm->npresences == 0) {
            return UINT32_MAX;
        }

        (void) fanout_enter(z);
        wait = flush(z);
        fanout_leave(z);

        z->heap.taken = taken;

        fanout_held_trim(z);
    }

    return wait;
}


/* Appends some entries, each in a transaction.  Returns the ms until more is
 * due. */

static uint32_t
flush(fanout_zone_t *z)
{
    int           full;
    uint32_t      blocks, wait;
    fanout_ref_t  ref;

    full = 0;

    do {
        ref = fanout_presence_due(z, &wait);

        if (ref == 0) {
            return wait;
        }

        blocks = delta_blocks(z, fanout_presence(z, ref));

        if (blocks > z->shm->heap.nfree && !full) {
            /* No client is evicted for it: reporting leaves frees their blocks.
             * After this, another set may be due. */
            full = !fanout_ensure_spare(z, blocks);
            continue;
        }

        presence_flush_set(z, ref, blocks > z->shm->heap.nfree);
        fanout_commit(z);
        full = 0;

    } while (full || fanout_section_room(z));

    return 0;
}


/* Returns the blocks of an entry about the pending changes, or about as many of
 * them as fit. */

static uint32_t
delta_blocks(fanout_zone_t *z, fanout_presence_block_t *presence)
{
    fanout_zone_message_t  m;

    memset(&m, 0, sizeof(fanout_zone_message_t));
    (void) presence_flush_gather(z, presence, NULL, &m.data.len);

    return fanout_message_blocks(&m);
}


/* If there is no block for the entry, reports a loss instead: subscribers of
 * the channel then read the members again. */

static void
presence_flush_set(fanout_zone_t *z, fanout_ref_t ref, int loss)
{
    unsigned                  n, more;
    fanout_ref_t              channel;
    fanout_zone_message_t     m;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);
    channel = presence->channel;

    if (loss) {
        n = presence_flush_gather(z, presence, NULL, NULL);
        fanout_unread_lose(z, channel);

    } else {
        memset(&m, 0, sizeof(fanout_zone_message_t));
        m.kind = FANOUT_BINARY;
        m.flags = FANOUT_TRANSIENT;
        m.data.data = delta;
        n = presence_flush_gather(z, presence, delta, &m.data.len);

        fanout_log_append(z, channel, &m, FANOUT_PRESENCE);
    }

    fanout_set(z, z->shm->deltas, z->shm->deltas + 1);
    fanout_set(z, z->shm->changes, z->shm->changes + n);
    fanout_set(z, presence->flags, presence->flags & ~FANOUT_PRESENCE_COUNT);

    more = presence->npending - n;
    presence_flush_done(z, presence, n);

    /* the presence set may have been freed with its last seat */

    if (fanout_presence_of(z, channel) != ref) {
        return;
    }

    fanout_presence_unlist(z, ref);

    if (more) {
        /* the changes that did not fit follow after the other sets that are
         * due */
        fanout_set(z, presence->due, fanout_msec(z));
        fanout_presence_list(z, ref);

    } else {
        fanout_set(z, presence->due, fanout_msec(z) + presence->batch);
        fanout_presence_settle(z, ref);
    }
}


/* The first n pending changes are no longer pending. */

static void
presence_flush_done(fanout_zone_t *z, fanout_presence_block_t *presence,
    unsigned n)
{
    uint8_t                 was;
    fanout_ref_t            ref, next, seat;
    fanout_member_block_t  *m;

    for (ref = presence->pend_head; n; ref = next, n--) {
        m = fanout_member(z, ref);
        next = m->pend_next;
        seat = m->seat;
        was = m->pending;

        fanout_pending_clear(z, ref);

        if (was == FANOUT_PENDING_LEAVE) {
            fanout_member_free(z, ref);
            fanout_seat_free_unused(z, seat);
        }
    }
}


/* Writes the pending changes that fit into an entry; buf and size may be NULL.
 * Returns the number of members. */

static unsigned
presence_flush_gather(fanout_zone_t *z, fanout_presence_block_t *presence,
    uint8_t *buf, uint32_t *size)
{
    size_t                  left, need;
    unsigned                n;
    fanout_ref_t            ref;
    fanout_member_block_t  *m;

    left = FANOUT_DELTA_SIZE;
    n = 0;

    if (presence->flags & FANOUT_PRESENCE_COUNT) {
        buf = buf ? fanout_count_write(presence, buf) : NULL;
        left -= FANOUT_CHANGE_HEAD;
    }

    for (ref = presence->pend_head; ref; ref = m->pend_next) {
        m = fanout_member(z, ref);
        need = fanout_change_size(z, m);

        if (n == FANOUT_DELTA_CHANGES || need > left) {
            break;
        }

        buf = buf ? fanout_change_write(z, m, buf) : NULL;
        left -= need;
        n++;
    }

    if (size) {
        *size = FANOUT_DELTA_SIZE - left;
    }

    return n;
}
