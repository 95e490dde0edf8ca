
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Signals: messages that matter only now.  Signals that some worker has not
 * read are in the list of their presence set, by seq, and are found by a hash
 * of sender, recipient, event and tag: a newer signal replaces the older one.
 * A worker's cursor is the seq of its interest, which it has for entries
 * anyway.
 */


#include "heap/hash.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


#define FANOUT_SIGNAL_DATA    16384
#define FANOUT_SIGNAL_STEP    32
#define FANOUT_SIGNAL_EVICT   4


static int too_large(const fanout_zone_message_t *m,
    const fanout_zone_channel_t *c);
static int put_locked(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m);
static int signal_claim(fanout_zone_t *z, fanout_ref_t channel, uint32_t n);
static int anybody(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m);
static int there(fanout_zone_t *z, fanout_ref_t channel, uint64_t client,
    const fanout_zone_message_t *m);
static void signal_hash_of(fanout_zone_t *z, fanout_ref_t presence,
    const fanout_zone_message_t *m, uint64_t hash[2]);
static fanout_ref_t signal_find(fanout_zone_t *z, const uint64_t hash[2]);
static void signal_append(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t presence, const uint64_t hash[2],
    const fanout_zone_message_t *m);
static void link_signal(fanout_zone_t *z, fanout_ref_t ref);
static void unlink_signal(fanout_zone_t *z, fanout_ref_t ref);
static void take_out(fanout_zone_t *z, fanout_ref_t ref);
static uint64_t min_seq(fanout_zone_t *z, fanout_channel_block_t *ch);


static const fanout_hash_t  signal_table = {
    .links.next = offsetof(fanout_signal_t, hash_next),
    .table = offsetof(fanout_shm_t, signal_hash),
    .mask = offsetof(fanout_shm_t, signal_mask)
};

static const fanout_links_t  presence_links = {
    .next = offsetof(fanout_signal_t, next),
    .prev = offsetof(fanout_signal_t, prev)
};

static const fanout_links_t  all_links = {
    .next = offsetof(fanout_signal_t, all_next),
    .prev = offsetof(fanout_signal_t, all_prev)
};


/* sending */

int
fanout_signal_put(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m)
{
    int                    rc;
    fanout_zone_message_t  copy;

    if (too_large(m, c)) {
        return FANOUT_ZONE_LARGE;
    }

    copy = *m;
    copy.meta.len = 0;

    (void) fanout_enter(z);
    rc = put_locked(z, c, &copy);
    fanout_leave(z);

    return rc;
}


static int
too_large(const fanout_zone_message_t *m, const fanout_zone_channel_t *c)
{
    return m->data.len > FANOUT_SIGNAL_DATA || m->event.len > 255
           || m->key.len > 255 || m->user.len > 255 || c->name.len > 255;
}


static int
put_locked(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m)
{
    uint32_t                  n;
    uint64_t                  hash[2];
    fanout_ref_t              channel, presence, old;
    fanout_presence_block_t  *rm;

    n = fanout_message_blocks(m) + 1;

    /* lookups are repeated after making room, which may drop the lock */

    for ( ;; ) {
        channel = fanout_channel_find(z, c);

        if (channel == 0 || !anybody(z, channel, m)) {
            return m->to_client || m->to_user ? FANOUT_ZONE_NOTFOUND
                                              : FANOUT_ZONE_OK;
        }

        if (z->shm->heap.nfree >= n + FANOUT_PRESENCE_BLOCKS) {
            break;
        }

        if (fanout_ensure(z, n + FANOUT_PRESENCE_BLOCKS)
            == FANOUT_ZONE_FULL)
        {
            return FANOUT_ZONE_FULL;
        }
    }

    /* The channel has interests, so it is not freed; its presence set and its
     * signals may be. */

    if (!signal_claim(z, channel, n)) {
        return FANOUT_ZONE_FULL;
    }

    fanout_channel_renew(z, channel, c);
    presence = fanout_presence_make(z, channel, c->policy);
    rm = fanout_presence(z, presence);

    signal_hash_of(z, presence, m, hash);
    old = signal_find(z, hash);

    if (old) {
        take_out(z, old);
        fanout_set(z, z->shm->conflated, z->shm->conflated + 1);

    } else if (rm->nsignals >= FANOUT_SIGNALS_ROOM) {
        take_out(z, rm->signal_head);
        fanout_set(z, z->shm->signals_dropped, z->shm->signals_dropped + 1);
    }

    signal_append(z, channel, presence, hash, m);

    return FANOUT_ZONE_OK;
}


/* Evicts the oldest signals if their share is used up. */

static int
signal_claim(fanout_zone_t *z, fanout_ref_t channel, uint32_t n)
{
    while (fanout_share_blocked(z->shm, FANOUT_SHARE_signals, 0, n)
           && fanout_signal_evict(z))
    {
        fanout_commit(z);
    }

    return fanout_share_claim(z, FANOUT_SHARE_signals, 0, n)
           == FANOUT_ZONE_OK
           && (fanout_presence_of(z, channel)
               || fanout_share_claim(z, FANOUT_SHARE_members,
                                     fanout_channel(z, channel)->account,
                                     FANOUT_PRESENCE_BLOCKS)
                  == FANOUT_ZONE_OK);
}


/* Returns 1 if a signal has a recipient: an open channel, or a live client. */

static int
anybody(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m)
{
    unsigned                  n;
    fanout_ref_t              ref;
    fanout_identity_block_t  *id;

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

    for (n = 0; ref && n < FANOUT_RECIPIENTS; n++) {
        id = fanout_identity(z, ref);

        if (there(z, channel, id->client, m)) {
            return 1;
        }

        ref = id->user_next;
    }

    return 0;
}


static int
there(fanout_zone_t *z, fanout_ref_t channel, uint64_t client,
    const fanout_zone_message_t *m)
{
    fanout_ref_t  ref;

    if (client == m->client) {
        /* a client does not get its own signals */
        return 0;
    }

    ref = fanout_seat_find(z, channel, client);

    return ref && fanout_seat(z, ref)->state == FANOUT_SEAT_LIVE;
}


/* The recipient is part of the key; a sender without a client is its user. */

static void
signal_hash_of(fanout_zone_t *z, fanout_ref_t presence,
    const fanout_zone_message_t *m, uint64_t hash[2])
{
    uint8_t   names[3 * 255];
    uint64_t  head[6];

    head[0] = presence;
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
signal_find(fanout_zone_t *z, const uint64_t hash[2])
{
    fanout_ref_t      ref;
    fanout_signal_t  *s;

    ref = *fanout_hash_bucket(z, &signal_table, hash[1]);

    for ( /* void */ ; ref; ref = s->hash_next) {
        s = fanout_signal(z, ref);

        if (s->hash[0] == hash[0] && s->hash[1] == hash[1]) {
            return ref;
        }
    }

    return 0;
}


static void
signal_append(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t presence,
    const uint64_t hash[2], const fanout_zone_message_t *m)
{
    uint64_t               time;
    fanout_ref_t           ref, last, i;
    fanout_signal_t       *s;
    fanout_interest_t     *in;
    fanout_entry_block_t  *e;

    ref = fanout_alloc(z, 1, FANOUT_SIGNALS, NULL);
    s = fanout_signal(z, ref);

    s->presence = presence;
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
    e->type = fanout_type_of(FANOUT_SIGNAL, m);

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
link_signal(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t  *shm;

    fanout_signal_t          *s;
    fanout_presence_block_t  *presence;

    shm = z->shm;
    s = fanout_signal(z, ref);
    presence = fanout_presence(z, s->presence);

    fanout_list_append(z, &presence_links, &presence->signal_head,
                       &presence->signal_tail, ref, FANOUT_NEW_RECORD);
    fanout_set(z, presence->nsignals, presence->nsignals + 1);

    fanout_list_append(z, &all_links, &shm->signal_first, &shm->signal_last,
                       ref, FANOUT_NEW_RECORD);
    fanout_set(z, shm->nsignals, shm->nsignals + 1);

    fanout_hash_add(z, &signal_table, s->hash[1], ref, FANOUT_NEW_RECORD);
}


static void
unlink_signal(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t  *shm;

    fanout_signal_t          *s;
    fanout_presence_block_t  *presence;

    shm = z->shm;
    s = fanout_signal(z, ref);
    presence = fanout_presence(z, s->presence);

    fanout_list_remove(z, &presence_links, &presence->signal_head,
                       &presence->signal_tail, ref);
    fanout_set(z, presence->nsignals, presence->nsignals - 1);

    fanout_list_remove(z, &all_links, &shm->signal_first, &shm->signal_last,
                       ref);
    fanout_set(z, shm->nsignals, shm->nsignals - 1);

    fanout_hash_remove(z, &signal_table, s->hash[1], ref);
}


static void
take_out(fanout_zone_t *z, fanout_ref_t ref)
{
    unlink_signal(z, ref);
    fanout_entry_free(z, fanout_signal(z, ref)->entry, FANOUT_SIGNALS);
    fanout_free(z, ref, ref, 1, FANOUT_SIGNALS);
}


/* reading */

fanout_ref_t
fanout_signal_after(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t seq)
{
    fanout_ref_t      ref;
    fanout_signal_t  *s;

    if (z->shm->nsignals == 0) {
        /* the common case: avoids reading memory that is not cached */
        return 0;
    }

    ref = fanout_name(z, ch)->presence;

    if (ref == 0) {
        return 0;
    }

    for (ref = fanout_presence(z, ref)->signal_head; ref; ref = s->next) {
        s = fanout_signal(z, ref);

        if (s->seq > seq) {
            return ref;
        }
    }

    return 0;
}


/* letting go */

static uint64_t
min_seq(fanout_zone_t *z, fanout_channel_block_t *ch)
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
fanout_signal_trim(fanout_zone_t *z, fanout_ref_t channel)
{
    uint64_t                  min;
    unsigned                  n;
    fanout_ref_t              ref;
    fanout_channel_block_t   *ch;
    fanout_presence_block_t  *presence;

    if (z->shm->nsignals == 0) {
        return;
    }

    ch = fanout_channel(z, channel);
    ref = fanout_name(z, ch)->presence;

    if (ref == 0) {
        return;
    }

    presence = fanout_presence(z, ref);

    if (presence->signal_head == 0) {
        return;
    }

    min = min_seq(z, ch);

    for (n = 0; presence->signal_head && n < FANOUT_SIGNAL_STEP; n++) {

        if (fanout_signal(z, presence->signal_head)->seq > min) {
            return;
        }

        take_out(z, presence->signal_head);
    }

    if (presence->signal_head == 0) {
        fanout_presence_settle(z, ref);
    }
}


/* Usually a worker removes signals when it has read them; this is for signals
 * left by the last reader, and for stalled readers. */

int
fanout_signal_sweep(fanout_zone_t *z)
{
    uint32_t                 now;
    unsigned                 n, unread;
    fanout_ref_t             ref, presence;
    fanout_shm_t            *shm;
    fanout_signal_t         *s;
    fanout_channel_block_t  *ch;

    shm = z->shm;
    now = fanout_seconds(z);

    for (n = 0; (ref = shm->signal_first) != 0; n++) {
        s = fanout_signal(z, ref);
        presence = s->presence;
        ch = fanout_channel(z, fanout_presence(z, presence)->channel);

        unread = s->seq > min_seq(z, ch);

        if (unread
            && now - fanout_entry(z, s->entry)->mono <= FANOUT_SIGNAL_AGE)
        {
            break;
        }

        if (n && (n == FANOUT_SIGNAL_STEP || !fanout_section_room(z))) {
            return FANOUT_ZONE_AGAIN;
        }

        fanout_set(z, shm->signals_dropped, shm->signals_dropped + unread);
        take_out(z, ref);

        if (fanout_presence(z, presence)->signal_head == 0) {
            fanout_presence_settle(z, presence);
        }
    }

    return FANOUT_ZONE_OK;
}


int
fanout_signal_evict(fanout_zone_t *z)
{
    unsigned       n;
    fanout_ref_t   ref, presence;
    fanout_shm_t  *shm;

    shm = z->shm;

    for (n = 0; n < FANOUT_SIGNAL_EVICT && shm->signal_first; n++) {
        ref = shm->signal_first;
        presence = fanout_signal(z, ref)->presence;

        take_out(z, ref);

        if (fanout_presence(z, presence)->signal_head == 0) {
            fanout_presence_settle(z, presence);
        }
    }

    fanout_set(z, shm->signals_dropped, shm->signals_dropped + n);

    return n != 0;
}
