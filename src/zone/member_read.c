
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Finding members, and reading them.
 */


#include "zone/identity.h"
#include "zone/log.h"
#include "zone/member.h"
#include "zone/seat.h"


static void text_copy(fanout_zone_t *z, const fanout_member_block_t *m,
    size_t skip, uint8_t *buf, size_t n);


fanout_ref_t
fanout_member_find(fanout_zone_t *z, fanout_ref_t seat,
    const fanout_zstr_t *key)
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


fanout_ref_t
fanout_member_seat(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_ref_t identity, const fanout_identity_t *id)
{
    fanout_ref_t  ref, channel;

    if (identity == 0) {
        /* the identity with the secret, on any worker */

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


int
fanout_member_any(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t identity, const fanout_identity_t *id, int *member)
{
    fanout_ref_t    seat, ref;
    fanout_seat_t  *s;

    *member = 0;

    (void) fanout_enter(z);

    seat = fanout_member_seat(z, c, identity, id);

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
fanout_member_hidden(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_identity_t *id)
{
    int                     hidden;
    fanout_ref_t            seat, ref;
    fanout_member_block_t  *m;

    hidden = 0;

    (void) fanout_enter(z);

    seat = fanout_member_seat(z, c, 0, id);

    for (ref = seat ? fanout_seat(z, seat)->members : 0; ref && !hidden;
         ref = m->next)
    {
        m = fanout_member(z, ref);
        hidden = (m->flags & FANOUT_MEMBER_ANONYMOUS)
                 && m->pending != FANOUT_PENDING_LEAVE;
    }

    fanout_leave(z);

    return hidden;
}


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
    ref = seat ? fanout_member_find(z, seat, key) : 0;

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

    seat = fanout_member_seat(z, c, identity, id);

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
    pen.left = fanout_member_blocks(m->key_len + m->data_len);

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
