
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Members: what the clients on a channel show of themselves.
 *
 *              put                  appended
 *   (none) ──────────► pending JOIN ─────────► listed ──► pending UPDATE
 *      ▲                    │                    │ ▲            │
 *      │ leave: no entry    │            leave   │ │ put again, │ leave
 *      ├────────────────────┘                    ▼ │ the same   ▼
 *      └───────────────────── appended ──────── pending LEAVE ◄─┘
 */


#include "heap/list.h"
#include "zone/identity.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


static int member_put(fanout_zone_t *z, fanout_ref_t seat,
    const fanout_member_t *m, unsigned what, unsigned keys, fanout_put_t *r);
static int member_count(fanout_zone_t *z, fanout_ref_t seat,
    unsigned what, fanout_put_t *r);
static int enter(fanout_zone_t *z, fanout_ref_t seat,
    const fanout_member_t *m, unsigned what, unsigned keys, fanout_put_t *r);
static int member_again(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_member_t *m, unsigned what, fanout_put_t *r);
static int update(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_member_t *m, unsigned what, fanout_put_t *r);
static int32_t grows(const fanout_member_block_t *e,
    const fanout_member_t *m);
static int member_claim(fanout_zone_t *z, fanout_ref_t seat, fanout_ref_t e,
    const fanout_member_t *m, unsigned what);
static unsigned holder_of(const fanout_seat_t *s);
static uint32_t put_blocks(const fanout_member_t *m);
static uint8_t flags_of(const fanout_member_t *m, unsigned what,
    uint8_t flags);
static int member_same(fanout_zone_t *z, const fanout_member_block_t *e,
    const fanout_zstr_t *data);
static fanout_ref_t text_write(fanout_zone_t *z, const fanout_zstr_t *key,
    const fanout_zstr_t *data, uint64_t words[2]);


/* putting */

int
fanout_member_put(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id, const fanout_member_t *m,
    unsigned what, fanout_put_t *r)
{
    int           rc;
    fanout_ref_t  seat;

    memset(r, 0, sizeof(fanout_put_t));

    if (m->key.len > 255 || m->data.len > FANOUT_ZONE_MEMBER) {
        return FANOUT_ZONE_LARGE;
    }

    (void) fanout_enter(z);

    fanout_share_room(z, FANOUT_SHARE_members, put_blocks(m));
    rc = fanout_ensure(z, put_blocks(m));

    if (rc != FANOUT_ZONE_FULL) {
        /* a zone that was rebuilt has no seats */
        seat = fanout_member_seat(z, c, identity, id);
        rc = seat ? member_put(z, seat, m, what, c->policy->keys, r)
                  : FANOUT_ZONE_NOTFOUND;
    }

    fanout_leave(z);

    return rc;
}


static int
member_put(fanout_zone_t *z, fanout_ref_t seat, const fanout_member_t *m,
           unsigned what, unsigned keys, fanout_put_t *r)
{
    int                       rc;
    unsigned                  there;
    fanout_ref_t              ref, presence_ref;
    fanout_presence_block_t  *presence;

    presence_ref = fanout_presence_of(z, fanout_seat(z, seat)->channel);
    presence = fanout_presence(z, presence_ref);

    if (presence->mode == FANOUT_PRESENCE_SUMMARY) {
        return member_count(z, seat, what, r);
    }

    ref = fanout_member_find(z, seat, &m->key);
    there = ref && fanout_member(z, ref)->pending != FANOUT_PENDING_LEAVE;

    if ((what & FANOUT_PUT_IF)
        && !(there ? member_same(z, fanout_member(z, ref), &m->was)
                   : m->was.len == 0))
    {
        return FANOUT_ZONE_AGAIN;
    }

    if (there) {
        rc = member_claim(z, seat, ref, m, what);

        return rc == FANOUT_ZONE_OK ? update(z, ref, m, what, r)
                                    : rc;
    }

    if (!(what & FANOUT_PUT_ENTER)
        || presence->mode == FANOUT_PRESENCE_OFF)
    {
        return FANOUT_ZONE_NOTFOUND;
    }

    if (presence->max && presence->members >= presence->max) {
        return FANOUT_ZONE_CONFLICT;
    }

    rc = member_claim(z, seat, ref, m, what | FANOUT_PUT_DATA);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    r->created = 1;

    if (ref == 0) {
        return enter(z, seat, m, what, keys, r);
    }

    fanout_set(z, presence->members, presence->members + 1);

    return member_again(z, ref, m, what, r);
}


static int
member_count(fanout_zone_t *z, fanout_ref_t seat, unsigned what,
    fanout_put_t *r)
{
    fanout_ref_t    presence;
    fanout_seat_t  *s;

    s = fanout_seat(z, seat);
    presence = fanout_presence_of(z, s->channel);

    if (s->flags & FANOUT_SEAT_COUNTED) {
        return FANOUT_ZONE_OK;
    }

    if (!(what & FANOUT_PUT_ENTER)) {
        return FANOUT_ZONE_NOTFOUND;
    }

    if (fanout_presence(z, presence)->max
        && fanout_presence(z, presence)->members
           >= fanout_presence(z, presence)->max)
    {
        return FANOUT_ZONE_CONFLICT;
    }

    fanout_set(z, s->flags, s->flags | FANOUT_SEAT_COUNTED);
    fanout_presence_count(z, presence, 1);

    r->created = 1;
    r->changed = 1;

    return FANOUT_ZONE_OK;
}


static int
enter(fanout_zone_t *z, fanout_ref_t seat, const fanout_member_t *m,
    unsigned what, unsigned keys, fanout_put_t *r)
{
    unsigned                n, holder;
    uint32_t                blocks;
    fanout_ref_t            ref, presence;
    fanout_seat_t          *s;
    fanout_member_block_t  *e;

    s = fanout_seat(z, seat);
    presence = fanout_presence_of(z, s->channel);
    holder = holder_of(s);
    blocks = 1 + fanout_member_blocks(m->key.len + m->data.len);
    n = 0;

    for (ref = s->members; ref; ref = fanout_member(z, ref)->next) {
        n++;
    }

    if (n >= (keys ? keys : FANOUT_ZONE_KEYS)) {
        return FANOUT_ZONE_LARGE;
    }

    fanout_part_add(z, FANOUT_SHARE_members,
                    fanout_presence(z, presence)->account, blocks);
    fanout_holder_add(z, FANOUT_SHARE_members, holder, blocks);

    ref = fanout_alloc(z, 1, FANOUT_MEMBERS, NULL);
    e = fanout_member(z, ref);

    memset((uint8_t *) e + 4, 0, sizeof(fanout_member_block_t) - 4);

    e->seat = seat;
    e->holder = holder;
    e->joined_at = fanout_wall(z);
    e->seen = e->joined_at;
    e->key_len = m->key.len;
    e->data_len = m->data.len;
    e->flags = flags_of(m, what & ~FANOUT_PUT_AS_IS, 0);
    e->chain = text_write(z, &m->key, &m->data, e->words);
    e->slot = fanout_slot_take(z, presence, ref);

    if ((what & FANOUT_PUT_AS_IS) && s->members) {
        e->flags |= fanout_member(z, s->members)->flags
                    & FANOUT_MEMBER_ANONYMOUS;
    }

    fanout_list_push(z, &fanout_member_links, &s->members, ref,
                     FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->nmembers, z->shm->nmembers + 1);
    fanout_set(z, fanout_presence(z, presence)->members,
               fanout_presence(z, presence)->members + 1);

    fanout_pending_set(z, ref, FANOUT_PENDING_JOIN);

    r->slot = e->slot;
    r->changed = 1;
    r->idle = (e->flags & FANOUT_MEMBER_IDLE) != 0;
    r->timed = (e->flags & FANOUT_MEMBER_TIMED) != 0;
    r->anonymous = (e->flags & FANOUT_MEMBER_ANONYMOUS) != 0;

    return FANOUT_ZONE_OK;
}


/* The member had a pending leave.  Its new state is that of a member that
 * joins. */

static int
member_again(fanout_zone_t *z, fanout_ref_t ref, const fanout_member_t *m,
    unsigned what, fanout_put_t *r)
{
    fanout_member_t           as;
    fanout_member_block_t    *e;
    fanout_identity_block_t  *id;

    e = fanout_member(z, ref);
    id = fanout_identity(z, fanout_seat(z, e->seat)->identity);

    if ((e->flags & FANOUT_MEMBER_UNREPORTED)
        || (id->info_tries & FANOUT_ID_RENEWED))
    {
        fanout_set(z, e->flags, e->flags & ~FANOUT_MEMBER_UNREPORTED);
        fanout_pending_set(z, ref, FANOUT_PENDING_UPDATE);

    } else {
        fanout_set(z, z->shm->cancelled, z->shm->cancelled + 1);
        fanout_pending_clear(z, ref);
    }

    as = *m;

    if (!(what & FANOUT_PUT_STATE)) {
        as.idle = 0;
        as.timed = 0;
    }

    what &= ~FANOUT_PUT_AS_IS;

    return update(z, ref, &as, what | FANOUT_PUT_DATA
                                    | FANOUT_PUT_STATE, r);
}


static int
update(fanout_zone_t *z, fanout_ref_t ref, const fanout_member_t *m,
    unsigned what, fanout_put_t *r)
{
    int32_t                 more;
    uint8_t                 flags;
    uint64_t                words[2];
    fanout_ref_t            chain, presence;
    fanout_member_block_t  *e;

    e = fanout_member(z, ref);
    flags = flags_of(m, what, e->flags);

    r->slot = e->slot;

    if ((what & FANOUT_PUT_DATA) && !member_same(z, e, &m->data)) {
        more = grows(e, m);

        if (more) {
            presence = fanout_presence_of(z, fanout_seat(z, e->seat)->channel);
            fanout_part_add(z, FANOUT_SHARE_members,
                            fanout_presence(z, presence)->account, more);
            fanout_holder_add(z, FANOUT_SHARE_members, e->holder, more);
        }

        chain = text_write(z, &m->key, &m->data, words);
        fanout_member_text_free(z, e);

        fanout_set(z, e->chain, chain);
        fanout_set(z, e->data_len, m->data.len);

        if (chain == 0) {
            fanout_set(z, e->words[0], words[0]);
            fanout_set(z, e->words[1], words[1]);
        }

        r->changed = 1;
    }

    r->idle = (flags & FANOUT_MEMBER_IDLE) != 0;
    r->timed = (flags & FANOUT_MEMBER_TIMED) != 0;
    r->anonymous = (flags & FANOUT_MEMBER_ANONYMOUS) != 0;

    if (flags != e->flags) {
        r->changed |= ((flags ^ e->flags) & ~FANOUT_MEMBER_TIMED) != 0;
        fanout_set(z, e->flags, flags);
    }

    if (r->changed) {
        fanout_set(z, e->seen, m->seen ? m->seen : fanout_wall(z));

        if (e->pending == 0) {
            fanout_pending_set(z, ref, FANOUT_PENDING_UPDATE);
        }
    }

    r->changed = (e->pending != 0);

    return FANOUT_ZONE_OK;
}


/* blocks that a member needs more for a key and data */

static int32_t
grows(const fanout_member_block_t *e, const fanout_member_t *m)
{
    return (int32_t) fanout_member_blocks(m->key.len + m->data.len)
           - (int32_t) fanout_member_blocks(e->key_len + e->data_len);
}


/* checks a change before it is made; e is 0 if there is no such member */

static int
member_claim(fanout_zone_t *z, fanout_ref_t seat, fanout_ref_t e,
    const fanout_member_t *m, unsigned what)
{
    int             rc;
    int32_t         n;
    uint32_t        account;
    unsigned        holder;
    fanout_seat_t  *s;

    s = fanout_seat(z, seat);

    if (e == 0) {
        n = put_blocks(m);
        holder = holder_of(s);

    } else {
        holder = fanout_member(z, e)->holder;
        n = what & FANOUT_PUT_DATA ? grows(fanout_member(z, e), m)
                                   : 0;
    }

    if (n <= 0) {
        return FANOUT_ZONE_OK;
    }

    account = fanout_presence(z, fanout_presence_of(z, s->channel))->account;
    rc = fanout_share_claim(z, FANOUT_SHARE_members, account, n);

    return rc == FANOUT_ZONE_OK
           ? fanout_holder_claim(z, FANOUT_SHARE_members, account, holder, n)
           : rc;
}


/* the holder of the members of a seat; for a lingering seat, others put
 * members */

static unsigned
holder_of(const fanout_seat_t *s)
{
    return s->state == FANOUT_SEAT_LIVE ? s->due : 0;
}


/* the most blocks that a put allocates */

static uint32_t
put_blocks(const fanout_member_t *m)
{
    return 1 + FANOUT_TREE_DEPTH + 1
           + fanout_member_blocks(m->key.len + m->data.len);
}


static uint8_t
flags_of(const fanout_member_t *m, unsigned what, uint8_t flags)
{
    if (what & FANOUT_PUT_STATE) {
        flags = m->idle ? flags | FANOUT_MEMBER_IDLE
                        : flags & ~FANOUT_MEMBER_IDLE;
        flags = m->idle && m->timed ? flags | FANOUT_MEMBER_TIMED
                                    : flags & ~FANOUT_MEMBER_TIMED;
    }

    if ((what & FANOUT_PUT_ENTER)
        && !(what & FANOUT_PUT_AS_IS))
    {
        flags = m->anonymous ? flags | FANOUT_MEMBER_ANONYMOUS
                             : flags & ~FANOUT_MEMBER_ANONYMOUS;
    }

    return flags;
}


/* leaving */

int
fanout_member_drop(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id, const fanout_zstr_t *key,
    uint8_t reason)
{
    int             rc;
    fanout_ref_t    seat, ref;
    fanout_seat_t  *s;

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_NOTFOUND;
    seat = fanout_member_seat(z, c, identity, id);

    if (seat) {
        s = fanout_seat(z, seat);
        ref = fanout_member_find(z, seat, key);

        if (s->flags & FANOUT_SEAT_COUNTED) {
            fanout_set(z, s->flags, s->flags & ~FANOUT_SEAT_COUNTED);
            fanout_presence_count(z, fanout_presence_of(z, s->channel), -1);
            rc = FANOUT_ZONE_OK;
        }

        if (ref && fanout_member(z, ref)->pending != FANOUT_PENDING_LEAVE) {
            fanout_member_leave(z, ref, reason);
            rc = FANOUT_ZONE_OK;
        }
    }

    fanout_leave(z);

    return rc;
}


/* Writes key and data: short ones to words, and returns 0; others to a chain,
 * and returns it. */

static fanout_ref_t
text_write(fanout_zone_t *z, const fanout_zstr_t *key,
    const fanout_zstr_t *data, uint64_t words[2])
{
    uint32_t               n;
    fanout_ref_t           ref;
    fanout_chain_cursor_t  pen;

    n = fanout_member_blocks(key->len + data->len);

    if (n == 0) {
        words[0] = words[1] = 0;

        if (key->len) {
            memcpy(words, key->data, key->len);
        }

        if (data->len) {
            memcpy((uint8_t *) words + key->len, data->data, data->len);
        }

        return 0;
    }

    ref = fanout_alloc(z, n, FANOUT_MEMBERS, NULL);

    pen.z = z;
    pen.ref = ref;
    pen.pos = sizeof(fanout_ref_t);
    fanout_write(&pen, key->data, key->len);
    fanout_write(&pen, data->data, data->len);

    return ref;
}


static int
member_same(fanout_zone_t *z, const fanout_member_block_t *e,
    const fanout_zstr_t *data)
{
    static uint8_t  buf[FANOUT_ZONE_MEMBER];

    return e->data_len == data->len
           && memcmp(buf, data->data, fanout_member_data(z, e, buf)) == 0;
}
