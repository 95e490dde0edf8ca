
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Signals: what matters only now.  Those that some worker has not read are in
 * the list of their room by seq, and found by the hash of who says what to
 * whom: a newer one takes the place of the older.  A worker's cursor is the
 * seq of its interest, which it has for entries anyway.
 */


#include "ngx_http_fanout_log.h"
#include "ngx_http_fanout_mail.h"


#define FANOUT_SIGNAL_DATA    16384
#define FANOUT_SIGNAL_STEP    32
#define FANOUT_SIGNAL_EVICT   4


static int too_large(const ngx_http_fanout_zone_message_t *m,
    const ngx_http_fanout_zone_channel_t *c);
static int put_locked(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_message_t *m);
static int claim(ngx_http_fanout_zone_t *z, fanout_ref_t channel, uint32_t n);
static int anybody(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    const ngx_http_fanout_zone_message_t *m);
static int there(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    uint64_t client, const ngx_http_fanout_zone_message_t *m);
static void hash_of(ngx_http_fanout_zone_t *z, fanout_ref_t room,
    const ngx_http_fanout_zone_message_t *m, uint64_t hash[2]);
static fanout_ref_t find(ngx_http_fanout_zone_t *z, const uint64_t hash[2]);
static void append(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t room, const uint64_t hash[2],
    const ngx_http_fanout_zone_message_t *m);
static void link_signal(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static void unlink_signal(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static void take_out(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static uint64_t min_seq(ngx_http_fanout_zone_t *z, fanout_channel_t *ch);


/* sending */

int
ngx_http_fanout_signal_put(ngx_http_fanout_zone_t *z,
    ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_message_t *m)
{
    int                             rc;
    ngx_http_fanout_zone_message_t  copy;

    if (too_large(m, c)) {
        return NGX_HTTP_FANOUT_ZONE_LARGE;
    }

    copy = *m;
    copy.meta.len = 0;

    (void) fanout_enter(z);
    rc = put_locked(z, c, &copy);
    fanout_leave(z);

    return rc;
}


static int
too_large(const ngx_http_fanout_zone_message_t *m,
    const ngx_http_fanout_zone_channel_t *c)
{
    return m->data.len > FANOUT_SIGNAL_DATA || m->event.len > 255
           || m->key.len > 255 || m->user.len > 255 || c->name.len > 255;
}


static int
put_locked(ngx_http_fanout_zone_t *z, ngx_http_fanout_zone_channel_t *c,
    const ngx_http_fanout_zone_message_t *m)
{
    uint32_t       n;
    uint64_t       hash[2];
    fanout_ref_t   channel, room, old;
    fanout_room_t *rm;

    n = fanout_message_blocks(m) + 1;

    /* what was looked up before room was made is looked up again */

    for ( ;; ) {
        channel = fanout_channel_find(z, c);

        if (channel == 0 || !anybody(z, channel, m)) {
            return m->to_client || m->to_user ? NGX_HTTP_FANOUT_ZONE_NOTFOUND
                                              : NGX_HTTP_FANOUT_ZONE_OK;
        }

        if (z->shm->nfree >= n + FANOUT_ROOM_BLOCKS) {
            break;
        }

        if (fanout_ensure(z, n + FANOUT_ROOM_BLOCKS)
            == NGX_HTTP_FANOUT_ZONE_FULL)
        {
            return NGX_HTTP_FANOUT_ZONE_FULL;
        }
    }

    /* one with interests can't go; its room and its signals can */

    if (!claim(z, channel, n)) {
        return NGX_HTTP_FANOUT_ZONE_FULL;
    }

    fanout_channel_renew(z, channel, c);
    room = fanout_room_make(z, channel, c->policy);
    rm = fanout_room(z, room);

    hash_of(z, room, m, hash);
    old = find(z, hash);

    if (old) {
        take_out(z, old);
        fanout_set(z, z->shm->conflated, z->shm->conflated + 1);

    } else if (rm->nsignals >= FANOUT_SIGNALS_ROOM) {
        take_out(z, rm->signal_head);
        fanout_set(z, z->shm->signals_dropped, z->shm->signals_dropped + 1);
    }

    append(z, channel, room, hash, m);

    return NGX_HTTP_FANOUT_ZONE_OK;
}


/* The oldest make way if signals have all they may. */

static int
claim(ngx_http_fanout_zone_t *z, fanout_ref_t channel, uint32_t n)
{
    while (fanout_share_blocked(z->shm, NGX_HTTP_FANOUT_SHARE_signals, 0, n)
           && fanout_signal_evict(z))
    {
        fanout_commit(z);
    }

    return fanout_share_claim(z, NGX_HTTP_FANOUT_SHARE_signals, 0, n)
           == NGX_HTTP_FANOUT_ZONE_OK
           && (fanout_room_of(z, channel)
               || fanout_share_claim(z, NGX_HTTP_FANOUT_SHARE_members,
                                     fanout_channel(z, channel)->class,
                                     FANOUT_ROOM_BLOCKS)
                  == NGX_HTTP_FANOUT_ZONE_OK);
}


/* Whether there is who would hear it; who has left a moment ago is not. */

static int
anybody(ngx_http_fanout_zone_t *z, fanout_ref_t channel,
    const ngx_http_fanout_zone_message_t *m)
{
    unsigned            n;
    fanout_ref_t        ref;
    fanout_identity_t  *id;

    if (fanout_channel(z, channel)->interests == 0) {
        return 0;
    }

    if (m->to_client) {
        return there(z, channel, m->to_client, m);
    }

    if (m->to_user == 0) {
        return 1;
    }

    ref = fanout_user_find(z, m->to_user);
    ref = ref ? fanout_user(z, ref)->identities : 0;

    for (n = 0; ref && n < FANOUT_ADDRESSED; n++) {
        id = fanout_identity(z, ref);

        if (there(z, channel, id->client, m)) {
            return 1;
        }

        ref = id->user_next;
    }

    return 0;
}


static int
there(ngx_http_fanout_zone_t *z, fanout_ref_t channel, uint64_t client,
    const ngx_http_fanout_zone_message_t *m)
{
    fanout_ref_t  ref;

    if (client == m->client) {
        /* nobody hears itself */
        return 0;
    }

    ref = fanout_seat_find(z, channel, client);

    return ref && fanout_seat(z, ref)->state == FANOUT_SEAT_LIVE;
}


/* Signals to others are others; without a client the user is who says it. */

static void
hash_of(ngx_http_fanout_zone_t *z, fanout_ref_t room,
    const ngx_http_fanout_zone_message_t *m, uint64_t hash[2])
{
    uint8_t   names[3 * 255];
    uint64_t  head[6];

    head[0] = room;
    head[1] = m->client;
    head[2] = m->to_client;
    head[3] = m->to_user;
    head[4] = m->event.len;
    head[5] = m->key.len;

    if (m->event.len) {
        memcpy(names, m->event.data, m->event.len);
    }

    if (m->key.len) {
        memcpy(names + m->event.len, m->key.data, m->key.len);
    }

    if (m->user.len) {
        memcpy(names + m->event.len + m->key.len, m->user.data, m->user.len);
    }

    fanout_hash(z, head, sizeof(head), names,
                m->event.len + m->key.len + m->user.len, 5, hash);
}


static fanout_ref_t
find(ngx_http_fanout_zone_t *z, const uint64_t hash[2])
{
    fanout_ref_t      ref;
    fanout_signal_t  *s;

    ref = fanout_hash_table(z, signal_hash)[hash[1] & z->shm->signal_mask];

    for ( /* void */ ; ref; ref = s->hash_next) {
        s = fanout_signal(z, ref);

        if (s->hash[0] == hash[0] && s->hash[1] == hash[1]) {
            return ref;
        }
    }

    return 0;
}


static void
append(ngx_http_fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t room,
    const uint64_t hash[2], const ngx_http_fanout_zone_message_t *m)
{
    uint64_t            time;
    fanout_ref_t        ref, last, i;
    fanout_entry_t     *e;
    fanout_signal_t    *s;
    fanout_interest_t  *in;

    ref = fanout_alloc(z, 1, FANOUT_SIGNALS, NULL);
    s = fanout_signal(z, ref);

    s->room = room;
    s->blocks = fanout_message_blocks(m);
    s->entry = fanout_message_write(z, m, s->blocks, FANOUT_SIGNALS, &last);
    s->hash[0] = hash[0];
    s->hash[1] = hash[1];

    fanout_set(z, z->shm->seq, z->shm->seq + 1);
    s->seq = z->shm->seq;

    e = fanout_entry(z, s->entry);
    time = fanout_wall(z);

    e->offset = 0;
    e->seq = s->seq;
    e->time_low = time & 0xffffffff;
    e->time_high = time >> 32;
    e->mono = fanout_seconds(z);
    e->type = NGX_HTTP_FANOUT_SIGNAL | m->kind << 4;

    link_signal(z, ref);

    for (i = fanout_channel(z, channel)->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        if (!(in->flags & FANOUT_DIRTY)) {
            fanout_dirty(z, i);
        }
    }
}


/* lists */

static void
link_signal(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t     *shm;
    fanout_ref_t     *bucket;
    fanout_room_t    *room;
    fanout_signal_t  *s;

    shm = z->shm;
    s = fanout_signal(z, ref);
    room = fanout_room(z, s->room);

    s->next = 0;
    s->prev = room->signal_tail;

    if (room->signal_tail) {
        fanout_set(z, fanout_signal(z, room->signal_tail)->next, ref);

    } else {
        fanout_set(z, room->signal_head, ref);
    }

    fanout_set(z, room->signal_tail, ref);
    fanout_set(z, room->nsignals, room->nsignals + 1);

    s->all_next = 0;
    s->all_prev = shm->signal_last;

    if (shm->signal_last) {
        fanout_set(z, fanout_signal(z, shm->signal_last)->all_next, ref);

    } else {
        fanout_set(z, shm->signal_first, ref);
    }

    fanout_set(z, shm->signal_last, ref);
    fanout_set(z, shm->nsignals, shm->nsignals + 1);

    bucket = &fanout_hash_table(z, signal_hash)[s->hash[1]
                                                & shm->signal_mask];
    fanout_set(z, s->hash_next, *bucket);
    fanout_set(z, *bucket, ref);
}


static void
unlink_signal(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t     *shm;
    fanout_ref_t     *link;
    fanout_room_t    *room;
    fanout_signal_t  *s;

    shm = z->shm;
    s = fanout_signal(z, ref);
    room = fanout_room(z, s->room);

    if (s->next) {
        fanout_set(z, fanout_signal(z, s->next)->prev, s->prev);

    } else {
        fanout_set(z, room->signal_tail, s->prev);
    }

    if (s->prev) {
        fanout_set(z, fanout_signal(z, s->prev)->next, s->next);

    } else {
        fanout_set(z, room->signal_head, s->next);
    }

    fanout_set(z, room->nsignals, room->nsignals - 1);

    if (s->all_next) {
        fanout_set(z, fanout_signal(z, s->all_next)->all_prev, s->all_prev);

    } else {
        fanout_set(z, shm->signal_last, s->all_prev);
    }

    if (s->all_prev) {
        fanout_set(z, fanout_signal(z, s->all_prev)->all_next, s->all_next);

    } else {
        fanout_set(z, shm->signal_first, s->all_next);
    }

    fanout_set(z, shm->nsignals, shm->nsignals - 1);

    link = &fanout_hash_table(z, signal_hash)[s->hash[1] & shm->signal_mask];

    while (*link != ref) {
        link = &fanout_signal(z, *link)->hash_next;
    }

    fanout_set(z, *link, s->hash_next);
}


static void
take_out(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    unlink_signal(z, ref);
    fanout_entry_free(z, fanout_signal(z, ref)->entry, FANOUT_SIGNALS);
    fanout_free(z, ref, ref, 1, FANOUT_SIGNALS);
}


/* reading */

fanout_ref_t
fanout_signal_after(ngx_http_fanout_zone_t *z, fanout_channel_t *ch,
    uint64_t seq)
{
    fanout_ref_t      ref;
    fanout_signal_t  *s;

    if (z->shm->nsignals == 0) {
        /* most often: no cold memory is met for nothing */
        return 0;
    }

    ref = fanout_name(z, ch)->room;

    if (ref == 0) {
        return 0;
    }

    for (ref = fanout_room(z, ref)->signal_head; ref; ref = s->next) {
        s = fanout_signal(z, ref);

        if (s->seq > seq) {
            return ref;
        }
    }

    return 0;
}


/* letting go */

static uint64_t
min_seq(ngx_http_fanout_zone_t *z, fanout_channel_t *ch)
{
    uint64_t            min;
    fanout_ref_t        i;
    fanout_interest_t  *in;

    min = UINT64_MAX;

    for (i = ch->interests; i; i = in->next) {
        in = fanout_interest(z, i);

        if (in->seq < min) {
            min = in->seq;
        }
    }

    return min;
}


void
fanout_signal_trim(ngx_http_fanout_zone_t *z, fanout_ref_t channel)
{
    uint64_t           min;
    unsigned           n;
    fanout_ref_t       ref;
    fanout_room_t     *room;
    fanout_channel_t  *ch;

    if (z->shm->nsignals == 0) {
        return;
    }

    ch = fanout_channel(z, channel);
    ref = fanout_name(z, ch)->room;

    if (ref == 0) {
        return;
    }

    room = fanout_room(z, ref);

    if (room->signal_head == 0) {
        return;
    }

    min = min_seq(z, ch);

    for (n = 0; room->signal_head && n < FANOUT_SIGNAL_STEP; n++) {

        if (fanout_signal(z, room->signal_head)->seq > min) {
            return;
        }

        take_out(z, room->signal_head);
    }

    if (room->signal_head == 0) {
        fanout_room_settle(z, ref);
    }
}


/* Most are taken out by who reads them; this is for what a last reader left,
 * and for a reader that stands still. */

int
fanout_signal_sweep(ngx_http_fanout_zone_t *z)
{
    uint32_t           now;
    unsigned           n, unread;
    fanout_ref_t       ref, room;
    fanout_shm_t      *shm;
    fanout_signal_t   *s;
    fanout_channel_t  *ch;

    shm = z->shm;
    now = fanout_seconds(z);

    for (n = 0; (ref = shm->signal_first) != 0; n++) {
        s = fanout_signal(z, ref);
        room = s->room;
        ch = fanout_channel(z, fanout_room(z, room)->channel);

        unread = s->seq > min_seq(z, ch);

        if (unread
            && now - fanout_entry(z, s->entry)->mono <= FANOUT_SIGNAL_AGE)
        {
            break;
        }

        if (n && (n == FANOUT_SIGNAL_STEP || !fanout_section_room(z))) {
            return NGX_HTTP_FANOUT_ZONE_AGAIN;
        }

        fanout_set(z, shm->signals_dropped, shm->signals_dropped + unread);
        take_out(z, ref);

        if (fanout_room(z, room)->signal_head == 0) {
            fanout_room_settle(z, room);
        }
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


int
fanout_signal_evict(ngx_http_fanout_zone_t *z)
{
    unsigned       n;
    fanout_ref_t   ref, room;
    fanout_shm_t  *shm;

    shm = z->shm;

    for (n = 0; n < FANOUT_SIGNAL_EVICT && shm->signal_first; n++) {
        ref = shm->signal_first;
        room = fanout_signal(z, ref)->room;

        take_out(z, ref);

        if (fanout_room(z, room)->signal_head == 0) {
            fanout_room_settle(z, room);
        }
    }

    fanout_set(z, shm->signals_dropped, shm->signals_dropped + n);

    return n != 0;
}
