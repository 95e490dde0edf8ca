
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Rooms: who is there, by slot, and what of it has not been told yet.
 *
 * A member's change is pending from the transaction that made it until the one
 * that appends an entry about it to the channel's log.  So what subscribers
 * were told, up to the last entry, are the members without a pending join: a
 * pending leave is kept, with all that is to be told of it, until then.
 */


#include "ngx_http_fanout_heap.h"


#define FANOUT_DELTA_CHANGES  48        /* in an entry */
#define FANOUT_DELTA_SIZE     16000     /* bytes of it */
#define FANOUT_DELTA_TURN     4         /* entries in a section of the lock */
#define FANOUT_ROOMS_TURN     256       /* rooms looked at in one */
#define FANOUT_CHANGE_HEAD    sizeof(change_t)


/* the head of a change in the data of an entry; key, user, info and data
 * follow it */

typedef struct {
    uint8_t   change;
    uint8_t   reason;
    uint8_t   flags;                    /* FANOUT_MEMBER_* */
    uint8_t   key_len;
    uint8_t   user_len;
    uint8_t   unused[3];
    uint16_t  info_len;
    uint16_t  data_len;
    uint32_t  slot;                     /* COUNTED: the number */
    uint64_t  client;
    uint64_t  joined_at;
    uint64_t  seen;
} change_t;


static fanout_ref_t table_make(ngx_http_fanout_zone_t *z, fanout_ref_t first,
    unsigned full);
static uint32_t power14(unsigned n);
static void list(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static uint32_t left(const fanout_room_t *room, uint32_t now);
static void unlist(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static int flush(ngx_http_fanout_zone_t *z, uint32_t *next);
static fanout_ref_t first_due(ngx_http_fanout_zone_t *z, uint32_t *next);
static uint32_t delta_blocks(ngx_http_fanout_zone_t *z, fanout_room_t *room);
static void tell(ngx_http_fanout_zone_t *z, fanout_ref_t ref, int loss);
static void told(ngx_http_fanout_zone_t *z, fanout_room_t *room, unsigned n);
static unsigned gather(ngx_http_fanout_zone_t *z, fanout_room_t *room,
    uint8_t *buf, uint32_t *size);
static size_t change_size(ngx_http_fanout_zone_t *z,
    const fanout_member_t *m);
static uint8_t *change_write(ngx_http_fanout_zone_t *z,
    const fanout_member_t *m, uint8_t *p);
static uint8_t *count_write(fanout_room_t *room, uint8_t *p);
static void describe(const fanout_room_t *room,
    ngx_http_fanout_room_t *info);
static unsigned read_section(ngx_http_fanout_zone_t *z, fanout_room_t *room,
    uint32_t *slot, ngx_http_fanout_member_t *members, unsigned max,
    uint8_t *buf, size_t size);


static uint8_t  delta[FANOUT_DELTA_SIZE];


/* life */

fanout_ref_t
fanout_room_of(ngx_http_fanout_zone_t *z, fanout_ref_t channel)
{
    return fanout_name(z, fanout_channel(z, channel))->room;
}


fanout_ref_t
fanout_room_make(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    const ngx_http_fanout_zone_policy_t *policy)
{
    fanout_ref_t    ref;
    fanout_name_t  *name;
    fanout_room_t  *room;

    name = fanout_name(z, fanout_channel(z, channel));

    if (name->room) {
        return name->room;
    }

    ref = fanout_alloc(z, FANOUT_ROOM_BLOCKS, FANOUT_ROOMS, NULL);
    room = fanout_room(z, ref);

    memset((uint8_t *) room + 4, 0, sizeof(fanout_room_t) - 4);
    fanout_set(z, room->nsignals, 0);
    fanout_set(z, room->seen, 0);

    room->channel = channel;
    room->last = fanout_msec(z) - (1 << 30);

    fanout_set(z, name->room, ref);
    fanout_room_policy(z, channel, policy);
    fanout_channel_settle(z, channel);

    return ref;
}


/* How many are there is not known of those who came before it was asked for:
 * the mode is that of the first, until all have left. */

void
fanout_room_policy(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    const ngx_http_fanout_zone_policy_t *policy)
{
    fanout_ref_t    ref;
    fanout_room_t  *room;

    ref = fanout_room_of(z, channel);

    if (ref == 0 || policy == NULL) {
        return;
    }

    room = fanout_room(z, ref);

    if (room->linger != policy->linger) {
        fanout_set(z, room->linger, policy->linger);
    }

    if (room->batch != policy->batch) {
        fanout_set(z, room->batch, policy->batch);
    }

    if (room->seen != policy->seen) {
        fanout_set(z, room->seen, policy->seen);
    }

    if (room->max != policy->members) {
        fanout_set(z, room->max, policy->members);
    }

    if (room->mode != policy->presence && room->members == 0
        && room->root == 0)
    {
        fanout_set(z, room->mode, policy->presence);
    }
}


/* Frees a room that holds nothing. */

void
fanout_room_settle(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_ref_t    channel;
    fanout_room_t  *room;

    room = fanout_room(z, ref);

    if (room->seats || room->root || room->listed || room->nsignals) {
        return;
    }

    channel = room->channel;

    fanout_set(z, fanout_name(z, fanout_channel(z, channel))->room, 0);
    fanout_set(z, fanout_cold(z, fanout_channel(z, channel))->touched,
               fanout_seconds(z));
    fanout_free(z, ref, ref, FANOUT_ROOM_BLOCKS, FANOUT_ROOMS);

    fanout_channel_settle(z, channel);
}


/* the tree of slots */

static uint32_t
power14(unsigned n)
{
    uint32_t  p;

    for (p = 1; n; n--) {
        p *= FANOUT_TABLE_REFS;
    }

    return p;
}


static fanout_ref_t
table_make(ngx_http_fanout_zone_t *z, fanout_ref_t first, unsigned full)
{
    fanout_ref_t     ref;
    fanout_table_t  *t;

    ref = fanout_alloc(z, 1, FANOUT_ROOMS, NULL);
    t = fanout_table(z, ref);

    memset((uint8_t *) t + 4, 0, sizeof(fanout_table_t) - 4);
    fanout_set(z, t->refs[0], first);
    t->n = first ? 1 : 0;
    t->full = full;

    return ref;
}


/* Puts a member into the smallest free slot; FANOUT_DEPTH + 1 blocks must be
 * ensured. */

uint32_t
fanout_slot_take(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    fanout_ref_t member)
{
    uint32_t         slot;
    unsigned         d, i;
    fanout_ref_t     path[FANOUT_DEPTH];
    fanout_room_t   *room;
    fanout_table_t  *t;

    room = fanout_room(z, ref);

    if (room->root == 0) {
        fanout_set(z, room->root, table_make(z, 0, 0));
        fanout_set(z, room->depth, 1);

    } else if (fanout_table(z, room->root)->full == FANOUT_TABLE_FULL) {
        fanout_set(z, room->root, table_make(z, room->root, 1));
        fanout_set(z, room->depth, room->depth + 1);
    }

    path[0] = room->root;
    slot = 0;

    for (d = 0; /* void */ ; d++) {
        t = fanout_table(z, path[d]);
        i = __builtin_ctz(~t->full);
        slot = slot * FANOUT_TABLE_REFS + i;

        if (d + 1 == room->depth) {
            break;
        }

        if (t->refs[i] == 0) {
            fanout_set(z, t->refs[i], table_make(z, 0, 0));
            fanout_set(z, t->n, t->n + 1);
        }

        path[d + 1] = t->refs[i];
    }

    fanout_set(z, t->refs[i], member);
    fanout_set(z, t->n, t->n + 1);
    fanout_set(z, t->full, t->full | 1 << i);

    for (i = slot; d && t->full == FANOUT_TABLE_FULL; d--) {
        i /= FANOUT_TABLE_REFS;
        t = fanout_table(z, path[d - 1]);
        fanout_set(z, t->full, t->full | 1 << i % FANOUT_TABLE_REFS);
    }

    return slot;
}


void
fanout_slot_give(ngx_http_fanout_zone_t *z, fanout_ref_t ref, uint32_t slot)
{
    unsigned         d, i;
    uint32_t         left;
    fanout_ref_t     path[FANOUT_DEPTH], gone;
    fanout_room_t   *room;
    fanout_table_t  *t;

    room = fanout_room(z, ref);
    path[0] = room->root;
    left = slot;

    for (d = 0; d + 1 < room->depth; d++) {
        i = left / power14(room->depth - d - 1);
        left %= power14(room->depth - d - 1);
        path[d + 1] = fanout_table(z, path[d])->refs[i];
    }

    /* upwards: an empty table goes, nothing is full any more */

    gone = 1;

    for (d = room->depth; d; d--) {
        t = fanout_table(z, path[d - 1]);
        i = slot % FANOUT_TABLE_REFS;
        slot /= FANOUT_TABLE_REFS;

        if (gone) {
            fanout_set(z, t->refs[i], 0);
            fanout_set(z, t->n, t->n - 1);
        }

        if (t->full & 1 << i) {
            fanout_set(z, t->full, t->full & ~(1 << i));
        }

        gone = (t->n == 0);

        if (gone) {
            fanout_free(z, path[d - 1], path[d - 1], 1, FANOUT_ROOMS);
        }
    }

    if (gone) {
        fanout_set(z, room->root, 0);
        fanout_set(z, room->depth, 0);
    }
}


/* The first member at or above a slot, which becomes its own; 0. */

fanout_ref_t
fanout_slot_next(ngx_http_fanout_zone_t *z, const fanout_room_t *room,
    uint32_t *slot)
{
    unsigned         d, i;
    uint32_t         base, span;
    fanout_ref_t     ref;
    fanout_table_t  *t;

    base = *slot;

again:

    if (room->root == 0 || base >= power14(room->depth)) {
        return 0;
    }

    ref = room->root;

    for (d = room->depth; d; d--) {
        t = fanout_table(z, ref);
        span = power14(d - 1);
        i = base / span % FANOUT_TABLE_REFS;

        if (t->refs[i] == 0) {

            /* on to the next that is there, or up */

            for (base -= base % span; i < FANOUT_TABLE_REFS; i++) {
                if (t->refs[i]) {
                    break;
                }

                base += span;
            }

            if (i == FANOUT_TABLE_REFS) {
                goto again;
            }
        }

        ref = t->refs[i];
    }

    *slot = base;

    return ref;
}


/* what is pending */

/* In the order in which rooms are due, as far as a step goes. */

static void
list(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t        now;
    unsigned        n;
    fanout_shm_t   *shm;
    fanout_ref_t    prev, next;
    fanout_room_t  *room, *before;

    shm = z->shm;
    room = fanout_room(z, ref);

    if (room->listed) {
        return;
    }

    now = fanout_msec(z);
    prev = shm->room_last;

    for (n = 0; prev && n < FANOUT_ROOMS_TURN; n++) {
        before = fanout_room(z, prev);

        if (left(before, now) <= left(room, now)) {
            break;
        }

        prev = before->due_prev;
    }

    next = prev ? fanout_room(z, prev)->due_next : shm->room_first;

    fanout_set(z, room->listed, 1);
    fanout_set(z, room->due_next, next);
    fanout_set(z, room->due_prev, prev);

    if (prev) {
        fanout_set(z, fanout_room(z, prev)->due_next, ref);

    } else {
        fanout_set(z, shm->room_first, ref);
    }

    if (next) {
        fanout_set(z, fanout_room(z, next)->due_prev, ref);

    } else {
        fanout_set(z, shm->room_last, ref);
    }
}


/* ms until a room is due, 0 if it is */

static uint32_t
left(const fanout_room_t *room, uint32_t now)
{
    uint32_t  passed;

    passed = now - room->last;

    return passed < room->batch ? room->batch - passed : 0;
}


static void
unlist(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t   *shm;
    fanout_room_t  *room;

    shm = z->shm;
    room = fanout_room(z, ref);

    if (!room->listed || room->pend_head || room->count) {
        return;
    }

    fanout_set(z, room->listed, 0);

    if (room->due_next) {
        fanout_set(z, fanout_room(z, room->due_next)->due_prev,
                   room->due_prev);

    } else {
        fanout_set(z, shm->room_last, room->due_prev);
    }

    if (room->due_prev) {
        fanout_set(z, fanout_room(z, room->due_prev)->due_next,
                   room->due_next);

    } else {
        fanout_set(z, shm->room_first, room->due_next);
    }
}


void
fanout_pending_set(ngx_http_fanout_zone_t *z, fanout_ref_t member,
    uint8_t pending)
{
    fanout_ref_t      ref;
    fanout_room_t    *room;
    fanout_member_t  *m;

    m = fanout_member(z, member);

    if (m->pending == 0) {
        ref = fanout_room_of(z, fanout_seat(z, m->seat)->channel);
        room = fanout_room(z, ref);

        fanout_set(z, m->pend_next, 0);
        fanout_set(z, m->pend_prev, room->pend_tail);

        if (room->pend_tail) {
            fanout_set(z, fanout_member(z, room->pend_tail)->pend_next,
                       member);

        } else {
            fanout_set(z, room->pend_head, member);
        }

        fanout_set(z, room->pend_tail, member);
        fanout_set(z, room->npending, room->npending + 1);
        list(z, ref);
    }

    fanout_set(z, m->pending, pending);
}


void
fanout_pending_clear(ngx_http_fanout_zone_t *z, fanout_ref_t member)
{
    fanout_ref_t      ref;
    fanout_room_t    *room;
    fanout_member_t  *m;

    m = fanout_member(z, member);
    ref = fanout_room_of(z, fanout_seat(z, m->seat)->channel);
    room = fanout_room(z, ref);

    if (m->pend_next) {
        fanout_set(z, fanout_member(z, m->pend_next)->pend_prev,
                   m->pend_prev);

    } else {
        fanout_set(z, room->pend_tail, m->pend_prev);
    }

    if (m->pend_prev) {
        fanout_set(z, fanout_member(z, m->pend_prev)->pend_next,
                   m->pend_next);

    } else {
        fanout_set(z, room->pend_head, m->pend_next);
    }

    fanout_set(z, room->npending, room->npending - 1);
    fanout_set(z, m->pending, 0);

    unlist(z, ref);
}


void
fanout_room_count(ngx_http_fanout_zone_t *z, fanout_ref_t ref, int n)
{
    fanout_room_t  *room;

    room = fanout_room(z, ref);

    fanout_set(z, room->members, room->members + n);

    if (!room->count) {
        fanout_set(z, room->count, 1);
        list(z, ref);
    }
}


/* telling */

uint32_t
ngx_http_fanout_presence_flush(ngx_http_fanout_zone_t *z)
{
    int       again;
    uint32_t  next;

    do {
        /* a look without the lock: what others add they flush as well */

        if (*(volatile fanout_ref_t *) &z->shm->room_first == 0) {
            return UINT32_MAX;
        }

        (void) fanout_enter(z);
        again = flush(z, &next);
        fanout_leave(z);

    } while (again);

    return next;
}


/* Some entries, each a transaction; whether more is due. */

static int
flush(ngx_http_fanout_zone_t *z, uint32_t *next)
{
    int             full;
    uint32_t        blocks;
    unsigned        n;
    fanout_ref_t    ref;

    full = 0;

    for (n = 0; n < FANOUT_DELTA_TURN; n++) {
        ref = first_due(z, next);

        if (ref == 0) {
            return 0;
        }

        blocks = delta_blocks(z, fanout_room(z, ref));

        if (blocks > z->shm->nfree && !full) {
            /* what is due may be another thing after this */
            full = (fanout_ensure(z, blocks) != NGX_HTTP_FANOUT_ZONE_OK);
            continue;
        }

        tell(z, ref, blocks > z->shm->nfree);
        fanout_commit(z);

        fanout_held_cap(z);
        fanout_commit(z);
    }

    return 1;
}


static fanout_ref_t
first_due(ngx_http_fanout_zone_t *z, uint32_t *next)
{
    uint32_t        now, wait;
    unsigned        n;
    fanout_ref_t    ref;
    fanout_room_t  *room;

    now = fanout_msec(z);
    *next = UINT32_MAX;
    ref = z->shm->room_first;

    for (n = 0; ref && n < FANOUT_ROOMS_TURN; n++) {
        room = fanout_room(z, ref);
        wait = left(room, now);

        if (wait == 0) {
            return ref;
        }

        if (wait < *next) {
            *next = wait;
        }

        ref = room->due_next;
    }

    return 0;
}


/* Of the entry about what is pending, or the first part of it. */

static uint32_t
delta_blocks(ngx_http_fanout_zone_t *z, fanout_room_t *room)
{
    ngx_http_fanout_zone_message_t  m;

    memset(&m, 0, sizeof(ngx_http_fanout_zone_message_t));
    (void) gather(z, room, NULL, &m.data.len);

    return fanout_message_blocks(&m);
}


/* What is not told by an entry, for there is no block to be had for it, is
 * told as a loss: who reads the channel then reads the members again. */

static void
tell(ngx_http_fanout_zone_t *z, fanout_ref_t ref, int loss)
{
    unsigned                         n;
    fanout_ref_t                     channel;
    fanout_room_t                   *room;
    ngx_http_fanout_zone_message_t   m;

    room = fanout_room(z, ref);
    channel = room->channel;

    if (loss) {
        n = gather(z, room, NULL, NULL);
        fanout_stream_lose(z, channel);

    } else {
        memset(&m, 0, sizeof(ngx_http_fanout_zone_message_t));
        m.kind = NGX_HTTP_FANOUT_BINARY;
        m.flags = NGX_HTTP_FANOUT_TRANSIENT;
        m.data.data = delta;
        n = gather(z, room, delta, &m.data.len);

        fanout_log_append(z, channel, &m, NGX_HTTP_FANOUT_PRESENCE);
    }

    fanout_set(z, z->shm->deltas, z->shm->deltas + 1);
    fanout_set(z, z->shm->changes, z->shm->changes + n);
    fanout_set(z, room->count, 0);

    if (n == room->npending) {
        /* what did not fit follows at once */
        fanout_set(z, room->last, fanout_msec(z));
    }

    told(z, room, n);

    /* with its last seat the room may have gone */

    if (fanout_room_of(z, channel) == ref) {
        unlist(z, ref);
        fanout_room_settle(z, ref);
    }
}


/* The first n that are pending are no more. */

static void
told(ngx_http_fanout_zone_t *z, fanout_room_t *room, unsigned n)
{
    uint8_t           was;
    fanout_ref_t      ref, next, seat;
    fanout_member_t  *m;

    for (ref = room->pend_head; n; ref = next, n--) {
        m = fanout_member(z, ref);
        next = m->pend_next;
        seat = m->seat;
        was = m->pending;

        fanout_pending_clear(z, ref);

        if (was == FANOUT_PENDING_LEAVE) {
            fanout_member_free(z, ref);
            fanout_seat_settle(z, seat);
        }
    }
}


/* Writes what is pending as far as it goes into an entry; buf and size may be
 * NULL.  The number of members. */

static unsigned
gather(ngx_http_fanout_zone_t *z, fanout_room_t *room, uint8_t *buf,
    uint32_t *size)
{
    size_t            left, need;
    unsigned          n;
    fanout_ref_t      ref;
    fanout_member_t  *m;

    left = FANOUT_DELTA_SIZE;
    n = 0;

    if (room->count) {
        buf = buf ? count_write(room, buf) : NULL;
        left -= FANOUT_CHANGE_HEAD;
    }

    for (ref = room->pend_head; ref; ref = m->pend_next) {
        m = fanout_member(z, ref);
        need = change_size(z, m);

        if (n == FANOUT_DELTA_CHANGES || need > left) {
            break;
        }

        buf = buf ? change_write(z, m, buf) : NULL;
        left -= need;
        n++;
    }

    if (size) {
        *size = FANOUT_DELTA_SIZE - left;
    }

    return n;
}


/* changes as bytes */

static size_t
change_size(ngx_http_fanout_zone_t *z, const fanout_member_t *m)
{
    size_t              size;
    fanout_identity_t  *e;

    size = FANOUT_CHANGE_HEAD + m->key_len + m->data_len;

    if (m->flags & FANOUT_MEMBER_ANONYMOUS) {
        return size;
    }

    e = fanout_identity(z, fanout_seat(z, m->seat)->identity);

    if (e->user) {
        size += fanout_user(z, e->user)->name_len;
    }

    return m->pending == FANOUT_PENDING_LEAVE ? size : size + e->info_len;
}


static uint8_t *
change_write(ngx_http_fanout_zone_t *z, const fanout_member_t *m, uint8_t *p)
{
    change_t                  *c;
    change_t                   head;
    uint8_t                   *start;
    fanout_seat_t             *s;
    fanout_identity_t         *e;

    static const uint8_t  changes[] = {
        0, NGX_HTTP_FANOUT_JOINED, NGX_HTTP_FANOUT_UPDATED,
        NGX_HTTP_FANOUT_LEFT
    };

    s = fanout_seat(z, m->seat);
    e = fanout_identity(z, s->identity);
    c = &head;

    memset(c, 0, sizeof(change_t));

    c->change = changes[m->pending];
    c->reason = m->reason;
    c->flags = m->flags;
    c->slot = m->slot;
    c->client = s->client;
    c->joined_at = m->joined_at;
    c->seen = m->seen;

    start = p;
    p += sizeof(change_t);

    c->key_len = m->key_len;
    c->data_len = m->data_len;
    p += fanout_member_key(z, m, p);

    if (!(m->flags & FANOUT_MEMBER_ANONYMOUS)) {
        c->user_len = fanout_user_name(z, e->user, p);
        p += c->user_len;

        if (m->pending != FANOUT_PENDING_LEAVE) {
            c->info_len = fanout_identity_info(z, s->identity, p);
            p += c->info_len;
        }
    }

    p += fanout_member_data(z, m, p);

    memcpy(start, c, sizeof(change_t));

    return p;
}


static uint8_t *
count_write(fanout_room_t *room, uint8_t *p)
{
    change_t  c;

    memset(&c, 0, sizeof(change_t));

    c.change = NGX_HTTP_FANOUT_COUNTED;
    c.slot = room->members;

    memcpy(p, &c, sizeof(change_t));

    return p + sizeof(change_t);
}


int
ngx_http_fanout_change_next(const uint8_t **p, const uint8_t *last,
    ngx_http_fanout_member_t *m)
{
    size_t    left;
    change_t  c;

    left = last - *p;

    if (left == 0) {
        return 0;
    }

    if (left < sizeof(change_t)) {
        return -1;
    }

    memcpy(&c, *p, sizeof(change_t));
    left -= sizeof(change_t);

    if ((size_t) c.key_len + c.user_len + c.info_len + c.data_len > left
        || c.change < NGX_HTTP_FANOUT_JOINED
        || c.change > NGX_HTTP_FANOUT_COUNTED)
    {
        return -1;
    }

    memset(m, 0, sizeof(ngx_http_fanout_member_t));

    m->change = c.change;
    m->reason = c.reason;
    m->idle = (c.flags & FANOUT_MEMBER_IDLE) != 0;
    m->anonymous = (c.flags & FANOUT_MEMBER_ANONYMOUS) != 0;
    m->client = c.client;
    m->joined_at = c.joined_at;
    m->seen = c.seen;

    if (c.change == NGX_HTTP_FANOUT_COUNTED) {
        m->count = c.slot;

    } else {
        m->slot = c.slot;
    }

    m->key.data = *p + sizeof(change_t);
    m->key.len = c.key_len;
    m->user.data = m->key.data + m->key.len;
    m->user.len = c.user_len;
    m->info.data = m->user.data + m->user.len;
    m->info.len = c.info_len;
    m->data.data = m->info.data + m->info.len;
    m->data.len = c.data_len;

    *p = m->data.data + m->data.len;

    return 1;
}


/* reading */

int
ngx_http_fanout_room_read(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c, uint32_t *slot,
    ngx_http_fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size, unsigned *n, ngx_http_fanout_room_t *info)
{
    int                rc;
    fanout_ref_t       channel, ref;
    fanout_channel_t  *ch;

    *n = 0;
    memset(info, 0, sizeof(ngx_http_fanout_room_t));

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    rc = NGX_HTTP_FANOUT_ZONE_NOTFOUND;

    if (channel) {
        rc = NGX_HTTP_FANOUT_ZONE_OK;
        ch = fanout_channel(z, channel);
        info->epoch = ch->epoch;
        info->offset = ch->offset;
        ref = fanout_room_of(z, channel);

        if (ref) {
            describe(fanout_room(z, ref), info);
            *n = read_section(z, fanout_room(z, ref), slot, members, max, buf,
                              size);

        } else {
            *slot = UINT32_MAX;
        }
    }

    fanout_leave(z);

    return rc;
}


static void
describe(const fanout_room_t *room, ngx_http_fanout_room_t *info)
{
    info->members = room->members;
    info->seats = room->seats;
    info->presence = room->mode;
}


static unsigned
read_section(ngx_http_fanout_zone_t *z, fanout_room_t *room, uint32_t *slot,
    ngx_http_fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size)
{
    size_t            used;
    unsigned          n, looked;
    fanout_ref_t      ref;
    fanout_member_t  *m;

    n = 0;
    used = 0;

    for (looked = 0; /* void */ ; looked++) {
        ref = fanout_slot_next(z, room, slot);

        if (ref == 0) {
            *slot = UINT32_MAX;
            return n;
        }

        m = fanout_member(z, ref);

        if (looked == 4 * NGX_HTTP_FANOUT_ZONE_ENTRIES) {
            return n;
        }

        if (m->pending != FANOUT_PENDING_JOIN) {

            if (n == max || n == NGX_HTTP_FANOUT_ZONE_ENTRIES
                || size - used < NGX_HTTP_FANOUT_ZONE_MEMBER_BUF
                || used > NGX_HTTP_FANOUT_ZONE_COPY)
            {
                return n;
            }

            used += fanout_member_copy(z, ref, &members[n++], buf + used);
        }

        (*slot)++;
    }
}
