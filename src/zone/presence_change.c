
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Changes of members as the bytes of an entry.
 */


#include "zone/identity.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"


size_t
fanout_change_size(fanout_zone_t *z, const fanout_member_block_t *m)
{
    size_t                    size;
    fanout_identity_block_t  *e;

    size = FANOUT_CHANGE_HEAD + m->key_len + m->data_len;

    if (m->flags & FANOUT_MEMBER_ANONYMOUS) {
        return size;
    }

    e = fanout_identity(z, fanout_seat(z, m->seat)->identity);

    if (e->user) {
        size += fanout_user(z, e->user)->name_len;
    }

    return m->pending == FANOUT_PENDING_LEAVE ? size
                                              : size + fanout_info_len(e);
}


uint8_t *
fanout_change_write(fanout_zone_t *z, const fanout_member_block_t *m,
    uint8_t *p)
{
    change_t                        *c;
    change_t                         head;
    uint8_t                         *start;
    fanout_seat_t                   *s;
    fanout_identity_block_t         *e;

    static const uint8_t  changes[] = {
        0, FANOUT_JOINED, FANOUT_UPDATED,
        FANOUT_LEFT
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


uint8_t *
fanout_count_write(fanout_presence_block_t *presence, uint8_t *p)
{
    change_t  c;

    memset(&c, 0, sizeof(change_t));

    c.change = FANOUT_COUNTED;
    c.slot = presence->members;

    memcpy(p, &c, sizeof(change_t));

    return p + sizeof(change_t);
}


int
fanout_change_next(const uint8_t **p, const uint8_t *last, fanout_member_t *m)
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
        || c.change < FANOUT_JOINED
        || c.change > FANOUT_COUNTED)
    {
        return -1;
    }

    memset(m, 0, sizeof(fanout_member_t));

    m->change = c.change;
    m->reason = c.reason;
    m->idle = (c.flags & FANOUT_MEMBER_IDLE) != 0;
    m->timed = (c.flags & FANOUT_MEMBER_TIMED) != 0;
    m->anonymous = (c.flags & FANOUT_MEMBER_ANONYMOUS) != 0;
    m->client = c.client;
    m->joined_at = c.joined_at;
    m->seen = c.seen;

    if (c.change == FANOUT_COUNTED) {
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
