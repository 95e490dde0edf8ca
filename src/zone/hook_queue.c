
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Events for a backend: a queue in the order of the operations, which write
 * their events in their own transactions.  One worker at a time reads the
 * queue; events are freed when the backend has taken them.
 *
 *   done            first … last                offset
 *   lost, if any |  in the queue, with holes |  of the newest event
 *
 * An event that can't be kept, because there are no blocks or the queue is at
 * its limit, still uses an offset, so the reader can count the lost ones.  The
 * limit is the one asked for, and a quarter of the zone: a backend that does
 * not answer must not take the blocks that the service needs.
 */


#include "heap/list.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"

#include <stddef.h>


#define FANOUT_LEAD_AGE     10          /* s until another takes the lead */
#define FANOUT_EVENT_DROPS  FANOUT_EVENT_BLOCKS   /* most that are dropped for
                                                     one */


static fanout_presence_block_t *hooked_room(fanout_zone_t *z,
    const fanout_seat_t *s);
static unsigned of_user(fanout_zone_t *z, const fanout_seat_t *s,
    unsigned event);
static void event_add(fanout_zone_t *z, unsigned events,
    fanout_ref_t identity, fanout_ref_t channel, uint8_t reason,
    uint8_t flags);
static int over(fanout_zone_t *z, uint32_t blocks);
static void drop_first(fanout_zone_t *z);
static void events_lose(fanout_zone_t *z);
static void epoch_begin(fanout_zone_t *z);
static uint32_t blocks_of(size_t strings);
static uint32_t limit(const fanout_shm_t *shm);
static int done_step(fanout_zone_t *z, uint64_t epoch, uint64_t offset);
static int alone(fanout_zone_t *z, fanout_ref_t identity,
    fanout_ref_t channel);


static const fanout_links_t  event_links = {
    .next = offsetof(fanout_event_block_t, next)
};


/* writing */

void
fanout_hook_event_room(fanout_zone_t *z, uint32_t n)
{
    if (z->shm->event_mask) {
        fanout_ensure_spare(z, n + FANOUT_EVENTS_ROOM);
    }
}


void
fanout_hook_event_client(fanout_zone_t *z, fanout_ref_t identity,
    unsigned events, uint8_t reason, uint8_t flags)
{
    event_add(z, events, identity, 0, reason, flags);
}


void
fanout_hook_event_joined(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t            *s;
    fanout_presence_block_t  *presence;

    s = fanout_seat(z, ref);
    presence = hooked_room(z, s);

    if (presence) {
        event_add(z, FANOUT_EVENT_JOIN
                     | (presence->seats == 1 ? FANOUT_EVENT_OCCUPIED : 0)
                     | of_user(z, s, FANOUT_EVENT_FIRST_IN),
                  s->identity, s->channel, 0, 0);
    }
}


void
fanout_hook_event_left(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    fanout_seat_t            *s;
    fanout_presence_block_t  *presence;

    s = fanout_seat(z, ref);
    presence = hooked_room(z, s);

    if (presence) {
        event_add(z, FANOUT_EVENT_LEAVE
                     | (presence->seats == 0 ? FANOUT_EVENT_VACATED : 0)
                     | of_user(z, s, FANOUT_EVENT_LAST_OUT),
                  s->identity, s->channel, reason, 0);
    }
}


/* the presence set of a seat, or NULL if its events are not wanted */

static fanout_presence_block_t *
hooked_room(fanout_zone_t *z, const fanout_seat_t *s)
{
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, fanout_presence_of(z, s->channel));

    return presence->flags & FANOUT_PRESENCE_HOOKS ? presence : NULL;
}


/* the event, if it is wanted and no other client of the user has a seat */

static unsigned
of_user(fanout_zone_t *z, const fanout_seat_t *s, unsigned event)
{
    return (z->shm->event_mask & event) && alone(z, s->identity, s->channel)
           ? event : 0;
}


/* Returns 1 if no other client of the identity's user has a seat on the
 * channel; 0 also for a user with too many clients to look at. */

static int
alone(fanout_zone_t *z, fanout_ref_t identity, fanout_ref_t channel)
{
    unsigned                  n;
    fanout_ref_t              ref, seat;
    fanout_identity_block_t  *e;

    e = fanout_identity(z, identity);

    if (e->user == 0) {
        return 0;
    }

    n = 0;

    for (ref = fanout_user(z, e->user)->identities; ref; ref = e->user_next) {
        e = fanout_identity(z, ref);

        if (ref == identity) {
            continue;
        }

        if (++n == FANOUT_RECIPIENTS) {
            return 0;
        }

        seat = fanout_seat_find(z, channel, e->client);

        if (seat && fanout_seat(z, seat)->state != FANOUT_SEAT_GONE) {
            return 0;
        }
    }

    return 1;
}


/* Takes no block that was ensured for the operation itself: beyond its own need
 * a transaction allocates at most an order or so. */

static void
event_add(fanout_zone_t *z, unsigned events, fanout_ref_t identity,
    fanout_ref_t channel, uint8_t reason, uint8_t flags)
{
    size_t                    clen, ulen;
    uint8_t                   strings[2 * 255];
    uint32_t                  n;
    unsigned                  i;
    fanout_shm_t             *shm;
    fanout_ref_t              ref, last;
    fanout_event_block_t     *e;
    fanout_chain_cursor_t     pen;
    fanout_identity_block_t  *id;

    shm = z->shm;
    events &= shm->event_mask;

    if (events == 0) {
        return;
    }

    epoch_begin(z);
    fanout_set(z, shm->event_offset, shm->event_offset + 1);

    id = fanout_identity(z, identity);
    clen = channel ? fanout_channel_name(z, channel, strings) : 0;
    ulen = fanout_user_name(z, id->user, strings + clen);
    n = blocks_of(clen + ulen);

    for (i = 0; over(z, n) && i < FANOUT_EVENT_DROPS; i++) {
        drop_first(z);
        events_lose(z);
    }

    if (over(z, n) || shm->heap.nfree < n + FANOUT_EVENT_SPARE) {
        events_lose(z);
        return;
    }

    ref = fanout_alloc(z, n, FANOUT_EVENTS, &last);
    e = fanout_event(z, ref);

    e->last = last;
    e->blocks = n;
    e->events = events;
    e->reason = reason;
    e->flags = flags;
    e->channel = clen;
    e->user = ulen;
    e->unused[0] = 0;
    e->offset = shm->event_offset;
    e->time = fanout_wall(z);
    e->client = id->client;

    pen.z = z;
    pen.ref = ref;
    pen.pos = offsetof(fanout_event_block_t, data);
    fanout_write(&pen, strings, clen + ulen);

    if (shm->event_last == 0 && shm->event_lead) {
        fanout_notify(z, shm->event_lead - 1);
    }

    fanout_list_append(z, &event_links, &shm->event_first, &shm->event_last,
                       ref, FANOUT_NEW_RECORD);
    fanout_set(z, shm->nevents, shm->nevents + 1);
    fanout_set(z, shm->events_told, shm->events_told + 1);
}


/* Returns 1 if one more event of so many blocks would exceed the queue's limit;
 * an empty queue takes any event. */

static int
over(fanout_zone_t *z, uint32_t blocks)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    return shm->nevents
           && (shm->nevents >= shm->event_max
               || shm->heap.used[FANOUT_EVENTS] + blocks
                  > FANOUT_EVENT_SHARE(shm));
}


static void
events_lose(fanout_zone_t *z)
{
    fanout_set(z, z->shm->events_lost, z->shm->events_lost + 1);
}


/* Begins an epoch: after a rebuild, offsets start again. */

static void
epoch_begin(fanout_zone_t *z)
{
    if (z->shm->event_epoch == 0) {
        fanout_set(z, z->shm->event_epoch, fanout_zone_random(z));
    }
}


static uint32_t
blocks_of(size_t strings)
{
    if (strings <= FANOUT_EVENT_FIRST) {
        return 1;
    }

    return 1 + (strings - FANOUT_EVENT_FIRST + FANOUT_PAYLOAD - 1)
               / FANOUT_PAYLOAD;
}


static void
drop_first(fanout_zone_t *z)
{
    fanout_shm_t          *shm;
    fanout_ref_t           ref;
    fanout_event_block_t  *e;

    shm = z->shm;
    ref = shm->event_first;
    e = fanout_event(z, ref);

    fanout_list_cut(z, &shm->event_first, &shm->event_last, e->next);

    fanout_set(z, shm->nevents, shm->nevents - 1);
    fanout_free(z, ref, e->last, e->blocks, FANOUT_EVENTS);
}


/* the worker that delivers */

void
fanout_hook_queue_filter(fanout_zone_t *z, uint8_t mask, uint32_t max)
{
    unsigned       n;
    fanout_shm_t  *shm;

    if (max == 0) {
        mask = 0;
    }

    (void) fanout_enter(z);

    shm = z->shm;

    if (!fanout_newest(z)) {
        fanout_leave(z);
        return;
    }

    epoch_begin(z);

    if (shm->event_mask != mask || shm->event_max != max) {
        fanout_set(z, shm->event_mask, mask);
        fanout_set(z, shm->event_max, max);
    }

    /* an event that is no longer wanted is not counted as lost */

    for (n = 1; shm->nevents > limit(shm); n++) {

        if (shm->event_mask) {
            events_lose(z);

        } else {
            fanout_set(z, shm->event_done,
                       fanout_event(z, shm->event_first)->offset);
        }

        drop_first(z);

        if (n % FANOUT_STEP == 0) {
            fanout_leave(z);
            (void) fanout_enter(z);
        }
    }

    if (shm->event_mask == 0) {
        fanout_set(z, shm->event_done, shm->event_offset);
        fanout_set(z, shm->event_lead, 0);
    }

    fanout_leave(z);
}


/* by the last request, perhaps one of another worker in between */

static uint32_t
limit(const fanout_shm_t *shm)
{
    return shm->event_mask ? shm->event_max : 0;
}


int
fanout_hook_queue_lead(fanout_zone_t *z)
{
    uint32_t       now;
    unsigned       n;
    fanout_shm_t  *shm;

    if (z->heap.slot == -1) {
        return 0;
    }

    (void) fanout_enter(z);

    shm = z->shm;
    now = fanout_seconds(z);
    n = shm->event_lead;

    if (n && n != (unsigned) z->heap.slot + 1
        && shm->slots[n - 1].process.state == FANOUT_SLOT_LIVE
        && now - shm->event_lead_at <= FANOUT_LEAD_AGE)
    {
        fanout_leave(z);
        return 0;
    }

    fanout_set(z, shm->event_lead, z->heap.slot + 1);
    fanout_set(z, shm->event_lead_at, now);

    fanout_leave(z);

    return 1;
}


void
fanout_hook_queue_yield(fanout_zone_t *z)
{
    (void) fanout_enter(z);

    if (z->heap.slot != -1) {
        fanout_hook_event_unlead(z, z->heap.slot);
    }

    fanout_leave(z);
}


void
fanout_hook_event_unlead(fanout_zone_t *z, unsigned slot)
{
    if (z->shm->event_lead == slot + 1) {
        fanout_set(z, z->shm->event_lead, 0);

        if (z->shm->nevents) {
            fanout_notify_all(z);
        }
    }
}


int
fanout_hook_queue_any(fanout_zone_t *z)
{
    return *(volatile uint32_t *) &z->shm->nevents != 0;
}


int
fanout_hook_queue_led(fanout_zone_t *z)
{
    return *(volatile uint32_t *) &z->shm->event_lead != 0;
}


int
fanout_hook_queue_read(fanout_zone_t *z, fanout_event_t *events, unsigned max,
    uint8_t *buf, size_t size, unsigned *n, uint64_t *epoch, uint64_t *lost)
{
    size_t                 len, used;
    fanout_ref_t           ref;
    fanout_event_t        *to;
    fanout_event_block_t  *e;
    fanout_chain_cursor_t  pen;

    (void) fanout_enter(z);

    if (max > FANOUT_ZONE_EVENTS) {
        max = FANOUT_ZONE_EVENTS;
    }

    *n = 0;
    *epoch = z->shm->event_epoch;
    *lost = 0;
    used = 0;

    for (ref = z->shm->event_first; ref && *n < max; ref = e->next) {
        e = fanout_event(z, ref);
        len = e->channel + e->user;

        if (len > size - used || used > FANOUT_ZONE_COPY) {
            break;
        }

        pen.z = z;
        pen.ref = ref;
        pen.pos = offsetof(fanout_event_block_t, data);
        pen.left = e->blocks;
        (void) fanout_copy(&pen, buf + used, len);

        to = &events[(*n)++];
        to->offset = e->offset;
        to->time = e->time;
        to->client = e->client;
        to->events = e->events;
        to->reason = e->reason;
        to->resumed = (e->flags & FANOUT_EVENT_RESUMED) != 0;
        to->channel.data = buf + used;
        to->channel.len = e->channel;
        to->user.data = buf + used + e->channel;
        to->user.len = e->user;

        used += len;
    }

    if (*n) {
        *lost = events[*n - 1].offset - z->shm->event_done - *n;
    }

    fanout_leave(z);

    return ref ? FANOUT_ZONE_AGAIN : FANOUT_ZONE_OK;
}


void
fanout_hook_queue_done(fanout_zone_t *z, uint64_t epoch, uint64_t offset)
{
    int  more;

    do {
        (void) fanout_enter(z);
        more = done_step(z, epoch, offset);
        fanout_leave(z);

    } while (more);
}


/* Returns 1 if there is more. */

static int
done_step(fanout_zone_t *z, uint64_t epoch, uint64_t offset)
{
    unsigned               n;
    fanout_shm_t          *shm;
    fanout_event_block_t  *e;

    shm = z->shm;

    if (shm->event_epoch != epoch || offset > shm->event_offset
        || offset <= shm->event_done)
    {
        return 0;
    }

    for (n = 0; shm->event_first; n++) {
        e = fanout_event(z, shm->event_first);

        if (e->offset > offset) {
            break;
        }

        if (n == FANOUT_STEP) {
            return 1;
        }

        fanout_set(z, shm->event_done, e->offset);
        drop_first(z);
    }

    fanout_set(z, shm->event_done, offset);

    return 0;
}


/* for the status */

void
fanout_hook_event_stat(fanout_zone_t *z, fanout_zone_stat_t *st)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    st->events = shm->heap.used[FANOUT_EVENTS];
    st->nevents = shm->nevents;
    st->events_max = shm->event_mask ? shm->event_max : 0;
    st->events_told = shm->events_told;
    st->events_lost = shm->events_lost;

    if (shm->event_first) {
        st->events_lag = fanout_wall(z)
                         - fanout_event(z, shm->event_first)->time;
    }

    if (shm->event_lead) {
        st->events_leader = shm->slots[shm->event_lead - 1].pid;
    }
}
