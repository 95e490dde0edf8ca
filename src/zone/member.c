
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Members: who of those on a channel wants to be seen there, and as what.
 *
 *              put                    told
 *   (none) ──────────► pending JOIN ─────────► listed ──► pending UPDATE
 *      ▲                    │                    │ ▲            │
 *      │ leave: never told  │            leave   │ │ put again, │ leave
 *      ├────────────────────┘                    ▼ │ the same   ▼
 *      └─────────────────────── told ────────── pending LEAVE ◄─┘
 */


#include "heap/list.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/seen.h"
#include "zone/share.h"


static fanout_ref_t member_find(fanout_zone_t *z, fanout_ref_t seat,
    const fanout_zstr_t *key);
static fanout_ref_t member_own_seat(fanout_zone_t *z,
    fanout_zone_channel_t *c, fanout_ref_t identity,
    const fanout_identity_t *id);
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
static uint32_t text_blocks(size_t len);
static fanout_ref_t text_write(fanout_zone_t *z, const fanout_zstr_t *key,
    const fanout_zstr_t *data, uint64_t words[2]);
static void text_free(fanout_zone_t *z, const fanout_member_block_t *m);
static void text_copy(fanout_zone_t *z, const fanout_member_block_t *m,
    size_t skip, uint8_t *buf, size_t n);


static const fanout_links_t  member_links = {
    .next = offsetof(fanout_member_block_t, next)
};


/* finding */

static fanout_ref_t
member_find(fanout_zone_t *z, fanout_ref_t seat, const fanout_zstr_t *key)
{
    uint8_t                 buf[255];
    fanout_ref_t            ref;
    fanout_member_block_t  *m;

    for (ref = fanout_seat(z, seat)->members; ref; ref = m->next) {
        m = fanout_member(z, ref);

        if (m->key_len == key->len
            && (key->len == 0
                || memcmp(buf, key->data, fanout_member_key(z, m, buf)) == 0))
        {
            break;
        }
    }

    return ref;
}


static fanout_ref_t
member_own_seat(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_ref_t identity, const fanout_identity_t *id)
{
    fanout_ref_t  ref, channel;

    if (identity == 0) {
        /* who has the secret, on whichever worker */

        channel = fanout_channel_find(z, c);

        if (channel == 0 || !fanout_identity_live(z, id)) {
            return 0;
        }

        ref = fanout_seat_find(z, channel, id->client);

        return ref && fanout_seat(z, ref)->state != FANOUT_SEAT_GONE ? ref : 0;
    }

    if (!fanout_channel_opened(z, c) || !fanout_identity_own(z, identity, id))
    {
        return 0;
    }

    ref = fanout_seat_find(z, c->ref, id->client);

    return ref && fanout_seat(z, ref)->state == FANOUT_SEAT_LIVE ? ref : 0;
}


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
        /* in a zone that was rebuilt there is no seat */
        seat = member_own_seat(z, c, identity, id);
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

    ref = member_find(z, seat, &m->key);
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
    blocks = 1 + text_blocks(m->key.len + m->data.len);
    n = 0;

    for (ref = s->members; ref; ref = fanout_member(z, ref)->next) {
        n++;
    }

    if (n >= (keys ? keys : FANOUT_ZONE_KEYS)) {
        return FANOUT_ZONE_LARGE;
    }

    fanout_part_add(z, FANOUT_SHARE_members,
                    fanout_presence(z, presence)->class, blocks);
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

    fanout_list_push(z, &member_links, &s->members, ref, FANOUT_NEW_RECORD);
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


/* It was about to be told that it had left; what it is now, is as of one that
 * comes. */

static int
member_again(fanout_zone_t *z, fanout_ref_t ref, const fanout_member_t *m,
    unsigned what, fanout_put_t *r)
{
    fanout_member_t          as;
    fanout_member_block_t   *e;

    e = fanout_member(z, ref);

    if (e->flags & FANOUT_MEMBER_UNTOLD) {
        fanout_set(z, e->flags, e->flags & ~FANOUT_MEMBER_UNTOLD);
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
                            fanout_presence(z, presence)->class, more);
            fanout_holder_add(z, FANOUT_SHARE_members, e->holder, more);
        }

        chain = text_write(z, &m->key, &m->data, words);
        text_free(z, e);

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


/* blocks that a member takes more with a key and data */

static int32_t
grows(const fanout_member_block_t *e, const fanout_member_t *m)
{
    return (int32_t) text_blocks(m->key.len + m->data.len)
           - (int32_t) text_blocks(e->key_len + e->data_len);
}


/* for a change, before any of it is made; e is 0 if there is no such member */

static int
member_claim(fanout_zone_t *z, fanout_ref_t seat, fanout_ref_t e,
    const fanout_member_t *m, unsigned what)
{
    int             rc;
    int32_t         n;
    uint32_t        class;
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

    class = fanout_presence(z, fanout_presence_of(z, s->channel))->class;
    rc = fanout_share_claim(z, FANOUT_SHARE_members, class, n);

    return rc == FANOUT_ZONE_OK
           ? fanout_holder_claim(z, FANOUT_SHARE_members, class, holder, n)
           : rc;
}


/* whose the members of a seat are; one that lingers is put for by others */

static unsigned
holder_of(const fanout_seat_t *s)
{
    return s->state == FANOUT_SEAT_LIVE ? s->due : 0;
}


/* most that a put takes */

static uint32_t
put_blocks(const fanout_member_t *m)
{
    return 1 + FANOUT_DEPTH + 1 + text_blocks(m->key.len + m->data.len);
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
fanout_member_any(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id, int *member)
{
    fanout_ref_t    seat, ref;
    fanout_seat_t  *s;

    *member = 0;

    (void) fanout_enter(z);

    seat = member_own_seat(z, c, identity, id);

    if (seat) {
        s = fanout_seat(z, seat);
        *member = (s->flags & FANOUT_SEAT_COUNTED) != 0;

        for (ref = s->members; ref && !*member;
             ref = fanout_member(z, ref)->next)
        {
            *member = fanout_member(z, ref)->pending != FANOUT_PENDING_LEAVE;
        }
    }

    fanout_leave(z);

    return seat != 0;
}


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
    seat = member_own_seat(z, c, identity, id);

    if (seat) {
        s = fanout_seat(z, seat);
        ref = member_find(z, seat, key);

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


/* What others are told with all of them is another. */

void
fanout_members_renew(fanout_zone_t *z, fanout_ref_t seat)
{
    uint64_t                wall;
    fanout_ref_t            ref;
    fanout_member_block_t  *m;

    wall = fanout_wall(z);

    for (ref = fanout_seat(z, seat)->members; ref; ref = m->next) {
        m = fanout_member(z, ref);

        if (m->pending || (m->flags & FANOUT_MEMBER_ANONYMOUS)) {
            continue;
        }

        fanout_set(z, m->seen, wall);
        fanout_pending_set(z, ref, FANOUT_PENDING_UPDATE);
    }
}


void
fanout_member_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    fanout_ref_t              user;
    fanout_seat_t            *s;
    fanout_member_block_t    *m;
    fanout_presence_block_t  *presence;

    m = fanout_member(z, ref);

    if (m->pending == FANOUT_PENDING_LEAVE) {
        return;
    }

    s = fanout_seat(z, m->seat);
    user = fanout_identity(z, s->identity)->user;
    presence = fanout_presence(z, fanout_presence_of(z, s->channel));

    fanout_set(z, presence->members, presence->members - 1);

    if (m->pending == FANOUT_PENDING_JOIN) {
        fanout_set(z, z->shm->cancelled, z->shm->cancelled + 1);
        fanout_pending_clear(z, ref);
        fanout_member_free(z, ref);
        return;
    }

    if (m->pending == FANOUT_PENDING_UPDATE) {
        fanout_set(z, m->flags, m->flags | FANOUT_MEMBER_UNTOLD);
    }

    if (reason == FANOUT_LEFT_INTENTIONAL) {
        fanout_set(z, m->seen, fanout_wall(z));
    }

    if (presence->seen && user && !(m->flags & FANOUT_MEMBER_ANONYMOUS)) {
        fanout_seen_put(z, s->channel, user, m->seen, presence->seen * 60);
    }

    fanout_set(z, m->reason, reason);
    fanout_pending_set(z, ref, FANOUT_PENDING_LEAVE);
}


void
fanout_member_free(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_ref_t            presence;
    fanout_seat_t          *s;
    fanout_member_block_t  *m;

    m = fanout_member(z, ref);
    s = fanout_seat(z, m->seat);

    fanout_list_remove_single(z, &member_links, &s->members, ref);
    fanout_set(z, z->shm->nmembers, z->shm->nmembers - 1);

    presence = fanout_presence_of(z, s->channel);
    fanout_slot_return(z, presence, m->slot);
    fanout_part_add(z, FANOUT_SHARE_members,
                    fanout_presence(z, presence)->class,
                    -(int32_t) (1 + text_blocks(m->key_len + m->data_len)));
    fanout_holder_add(z, FANOUT_SHARE_members, m->holder,
                      -(int32_t) (1 + text_blocks(m->key_len + m->data_len)));

    text_free(z, m);
    fanout_free(z, ref, ref, 1, FANOUT_MEMBERS);
}


/* reading */

int
fanout_member_get(fanout_zone_t *z, fanout_zone_channel_t *c, uint64_t client,
    const fanout_zstr_t *key, fanout_member_t *m, uint8_t *buf)
{
    int           rc;
    fanout_ref_t  channel, seat, ref;

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_NOTFOUND;
    channel = fanout_channel_find(z, c);
    seat = channel ? fanout_seat_find(z, channel, client) : 0;
    ref = seat ? member_find(z, seat, key) : 0;

    if (ref && fanout_member(z, ref)->pending != FANOUT_PENDING_LEAVE) {
        (void) fanout_member_copy(z, ref, m, buf);
        rc = FANOUT_ZONE_OK;
    }

    fanout_leave(z);

    return rc;
}


int
fanout_member_nth(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id, unsigned nth,
    fanout_member_t *m, uint8_t *buf)
{
    int            rc;
    fanout_ref_t   seat, ref;

    rc = FANOUT_ZONE_NOTFOUND;

    (void) fanout_enter(z);

    seat = member_own_seat(z, c, identity, id);

    if (seat && (fanout_seat(z, seat)->flags & FANOUT_SEAT_COUNTED)
        && nth-- == 0)
    {
        memset(m, 0, sizeof(fanout_member_t));
        m->client = id->client;
        rc = FANOUT_ZONE_OK;
    }

    ref = seat && rc != FANOUT_ZONE_OK
          ? fanout_seat(z, seat)->members : 0;

    for ( /* void */ ; ref; ref = fanout_member(z, ref)->next) {

        if (fanout_member(z, ref)->pending != FANOUT_PENDING_LEAVE
            && nth-- == 0)
        {
            (void) fanout_member_copy(z, ref, m, buf);
            rc = FANOUT_ZONE_OK;
            break;
        }
    }

    fanout_leave(z);

    return rc;
}


size_t
fanout_member_copy(fanout_zone_t *z, fanout_ref_t ref, fanout_member_t *to,
    uint8_t *buf)
{
    uint8_t                  *p;
    fanout_seat_t            *s;
    fanout_member_block_t    *m;

    m = fanout_member(z, ref);
    s = fanout_seat(z, m->seat);

    memset(to, 0, sizeof(fanout_member_t));

    to->client = s->client;
    to->joined_at = m->joined_at;
    to->seen = m->seen;
    to->slot = m->slot;
    to->idle = (m->flags & FANOUT_MEMBER_IDLE) != 0;
    to->timed = (m->flags & FANOUT_MEMBER_TIMED) != 0;
    to->anonymous = (m->flags & FANOUT_MEMBER_ANONYMOUS) != 0;
    to->lingers = (s->state == FANOUT_SEAT_LINGERS);

    p = buf;

    to->key.data = p;
    to->key.len = fanout_member_key(z, m, p);
    p += to->key.len;

    to->user.data = p;
    to->info.data = p;

    if (!to->anonymous) {
        to->user.len = fanout_user_name(z,
                                   fanout_identity(z, s->identity)->user, p);
        p += to->user.len;

        to->info.data = p;
        to->info.len = fanout_identity_info(z, s->identity, p);
        p += to->info.len;
    }

    to->data.data = p;
    to->data.len = fanout_member_data(z, m, p);
    p += to->data.len;

    return p - buf;
}


/* key and data: short ones are in the member, others in a chain */

static uint32_t
text_blocks(size_t len)
{
    return len <= FANOUT_MEMBER_SHORT
           ? 0 : (len + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
}


/* The chain, or 0 and the words. */

static fanout_ref_t
text_write(fanout_zone_t *z, const fanout_zstr_t *key,
    const fanout_zstr_t *data, uint64_t words[2])
{
    uint32_t                n;
    fanout_ref_t            ref;
    fanout_chain_cursor_t   pen;

    n = text_blocks(key->len + data->len);

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


static void
text_free(fanout_zone_t *z, const fanout_member_block_t *m)
{
    if (m->chain) {
        fanout_free(z, m->chain, fanout_chain_last(z, m->chain),
                    text_blocks(m->key_len + m->data_len), FANOUT_MEMBERS);
    }
}


static void
text_copy(fanout_zone_t *z, const fanout_member_block_t *m, size_t skip,
    uint8_t *buf, size_t n)
{
    fanout_chain_cursor_t  pen;

    if (m->chain == 0) {
        memcpy(buf, (const uint8_t *) m->words + skip, n);
        return;
    }

    pen.z = z;
    pen.ref = m->chain;
    pen.pos = sizeof(fanout_ref_t);
    pen.left = text_blocks(m->key_len + m->data_len);

    (void) fanout_copy(&pen, NULL, skip);
    (void) fanout_copy(&pen, buf, n);
}


size_t
fanout_member_key(fanout_zone_t *z, const fanout_member_block_t *m,
    uint8_t *buf)
{
    text_copy(z, m, 0, buf, m->key_len);

    return m->key_len;
}


size_t
fanout_member_data(fanout_zone_t *z, const fanout_member_block_t *m,
    uint8_t *buf)
{
    text_copy(z, m, m->key_len, buf, m->data_len);

    return m->data_len;
}


static int
member_same(fanout_zone_t *z, const fanout_member_block_t *e,
    const fanout_zstr_t *data)
{
    static uint8_t  buf[FANOUT_ZONE_MEMBER];

    return e->data_len == data->len
           && memcmp(buf, data->data, fanout_member_data(z, e, buf)) == 0;
}
