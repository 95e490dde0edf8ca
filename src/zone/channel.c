
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Channels: finding, making, listing, their interests, and the lists they
 * wait in to expire.
 */


#include "heap/hash.h"
#include "heap/wheel.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/presence.h"
#include "zone/share.h"
#include "zone/slot.h"


static int named(fanout_zone_t *z, fanout_channel_block_t *ch,
    const fanout_zone_channel_t *c);
static void set_class(fanout_zone_t *z, fanout_ref_t ref, uint32_t class);
static void use(fanout_zone_t *z, fanout_ref_t ref,
    unsigned holder);
static void set_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy);
static int channel_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, unsigned holder);
static void interest_add(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t ref, uint32_t local, unsigned holder);
static void channel_describe(fanout_zone_t *z, fanout_ref_t ref,
    fanout_zone_info_t *info);
static uint64_t channel_due(fanout_zone_t *z, fanout_channel_block_t *ch);
static void wheel_add(fanout_zone_t *z, fanout_ref_t ref, uint32_t now);
static void idle_add(fanout_zone_t *z, fanout_ref_t ref);
static int wheel_turn(fanout_zone_t *z, uint32_t now,
    unsigned *n);


static const fanout_hash_t  channel_table = {
    .links.next = offsetof(fanout_channel_block_t, hash_next),
    .table = offsetof(fanout_shm_t, channel_hash),
    .mask = offsetof(fanout_shm_t, channel_mask)
};

static const fanout_links_t  idle_links = {
    .next = offsetof(fanout_name_t, list_next),
    .prev = offsetof(fanout_name_t, list_prev),
    .part = offsetof(fanout_channel_block_t, name)
};

static const fanout_wheel_t  ttl_wheel = {
    .links.next = offsetof(fanout_name_t, list_next),
    .links.prev = offsetof(fanout_name_t, list_prev),
    .links.part = offsetof(fanout_channel_block_t, name),
    .places = FANOUT_WHEEL
};

static const fanout_links_t  interest_links = {
    .next = offsetof(fanout_interest_t, next),
    .prev = offsetof(fanout_interest_t, prev)
};

static const fanout_links_t  slot_links = {
    .next = offsetof(fanout_interest_t, slot_next),
    .prev = offsetof(fanout_interest_t, slot_prev)
};


uint32_t
fanout_channel_blocks(size_t name_len)
{
    uint32_t  n;

    n = 3;      /* hot, cold, first of the name */

    if (name_len > FANOUT_NAME_FIRST) {
        n += (name_len - FANOUT_NAME_FIRST + FANOUT_PAYLOAD - 1)
             / FANOUT_PAYLOAD;
    }

    return n;
}


fanout_ref_t
fanout_channel_find(fanout_zone_t *z, const fanout_zone_channel_t *c)
{
    fanout_ref_t             ref;
    fanout_channel_block_t  *ch;

    if (fanout_channel_opened(z, c)) {
        return c->ref;
    }

    ref = *fanout_hash_bucket(z, &channel_table, c->hash);

    while (ref) {
        ch = fanout_channel(z, ref);

        if (ch->hash == c->hash && named(z, ch, c)) {
            return ref;
        }

        ref = ch->hash_next;
    }

    return 0;
}


static int
named(fanout_zone_t *z, fanout_channel_block_t *ch,
    const fanout_zone_channel_t *c)
{
    size_t           len, n;
    fanout_ref_t     ref;
    const uint8_t   *p;
    fanout_name_t   *name;
    fanout_block_t  *b;

    len = c->name.len;
    p = c->name.data;

    if (ch->name_len != len) {
        return 0;
    }

    name = fanout_name(z, ch);
    n = len < FANOUT_NAME_FIRST ? len : FANOUT_NAME_FIRST;

    if (memcmp(name->name, p, n) != 0) {
        return 0;
    }

    for (ref = name->chain; len > n; ref = b->next) {
        len -= n;
        p += n;
        b = fanout_block(z, ref);
        n = len < FANOUT_PAYLOAD ? len : FANOUT_PAYLOAD;

        if (memcmp(b->data, p, n) != 0) {
            return 0;
        }
    }

    return 1;
}


/* blocks must be ensured */

fanout_ref_t
fanout_channel_make(fanout_zone_t *z, const fanout_zone_channel_t *c)
{
    uint32_t                 class;
    fanout_ref_t             ref;
    fanout_cold_t           *cold;
    fanout_name_t           *name;
    fanout_chain_cursor_t    pen;
    fanout_channel_block_t  *ch;

    z->made++;

    ref = fanout_alloc(z, 1, FANOUT_CHANNELS, NULL);
    ch = fanout_channel(z, ref);

    memset((uint8_t *) ch + 4, 0, sizeof(fanout_channel_block_t) - 4);

    ch->cold = fanout_alloc(z, 1, FANOUT_CHANNELS, NULL);
    ch->name = fanout_alloc(z, fanout_channel_blocks(c->name.len) - 2,
                            FANOUT_CHANNELS, NULL);

    cold = fanout_cold(z, ch);
    fanout_set(z, *(fanout_ref_t *) cold, 0);
    memset((uint8_t *) cold + 4, 0, sizeof(fanout_cold_t) - 4);

    name = fanout_name(z, ch);
    name->list_next = name->list_prev = name->presence = 0;
    name->lost_seq = z->shm->seq;

    pen.z = z;
    pen.ref = ch->name;
    pen.pos = offsetof(fanout_name_t, name);
    fanout_write(&pen, c->name.data, c->name.len);

    class = c->policy ? c->policy->class : 0;

    ch->hash = c->hash;
    ch->name_len = c->name.len;
    ch->class = class;
    fanout_class_add(z, class, fanout_channel_blocks(c->name.len));
    ch->epoch = fanout_zone_random(z);
    cold->touched = fanout_seconds(z);

    fanout_hash_add(z, &channel_table, c->hash, ref, FANOUT_NEW_RECORD);
    fanout_set(z, z->shm->nchannels, z->shm->nchannels + 1);
    fanout_set(z, z->shm->classes[class].channels,
               z->shm->classes[class].channels + 1);

    name->generation = z->generation;
    set_policy(z, ref, c->policy);

    return ref;
}


void
fanout_channel_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_channel_t *c)
{
    fanout_name_t  *name;

    name = fanout_name(z, fanout_channel(z, ref));

    if (!fanout_newest(z)
        || (z->generation && name->generation == z->generation))
    {
        return;
    }

    if (name->generation != z->generation) {
        fanout_set(z, name->generation, z->generation);
    }

    set_policy(z, ref, c->policy);
    fanout_channel_free_unused(z, ref);
}


static void
set_policy(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zone_policy_t *policy)
{
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    if (policy == NULL) {
        return;
    }

    if (fanout_presence_of(z, ref)) {
        fanout_presence_policy(z, fanout_presence_of(z, ref), policy);
    }

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    if (cold->policy_history != policy->history) {
        fanout_set(z, cold->policy_history, policy->history);
    }

    if (cold->policy_bytes != policy->bytes) {
        fanout_set(z, cold->policy_bytes, policy->bytes);
    }

    if (cold->policy_ttl != policy->ttl) {
        /* due at another time: the caller settles it again */
        fanout_channel_unlist(z, ref);
        fanout_set(z, cold->policy_ttl, policy->ttl);
    }

    if (ch->class != policy->class) {
        set_class(z, ref, policy->class);
    }
}


/* The caller settles it again. */

static void
set_class(fanout_zone_t *z, fanout_ref_t ref, uint32_t class)
{
    uint32_t                 n;
    fanout_cold_t           *cold;
    fanout_zone_class_t     *from, *to;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);
    from = &z->shm->classes[ch->class];
    to = &z->shm->classes[class];

    fanout_channel_unlist(z, ref);
    fanout_bucket_leave(z, ref);

    fanout_set(z, from->channels, from->channels - 1);
    fanout_set(z, to->channels, to->channels + 1);

    n = cold->blocks + fanout_index_blocks(z, ch);

    if (cold->wheel & FANOUT_IN_USE) {
        fanout_part_move(z, ref, class);

    } else {
        n += fanout_channel_blocks(ch->name_len);
    }

    fanout_class_add(z, ch->class, -(int32_t) n);
    fanout_class_add(z, class, n);

    fanout_set(z, ch->class, class);
    fanout_bucket_move(z, ref);
}


/* nothing may hold it any more */

void
fanout_channel_free(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t                 n;
    fanout_channel_block_t  *ch;

    fanout_channel_unlist(z, ref);

    ch = fanout_channel(z, ref);

    fanout_hash_remove(z, &channel_table, ch->hash, ref);

    if (fanout_name(z, ch)->lost_seq > z->shm->forgotten) {
        fanout_set(z, z->shm->forgotten, fanout_name(z, ch)->lost_seq);
    }

    fanout_set(z, z->shm->nchannels, z->shm->nchannels - 1);
    fanout_set(z, z->shm->classes[ch->class].channels,
               z->shm->classes[ch->class].channels - 1);

    n = fanout_channel_blocks(ch->name_len) - 2;
    fanout_class_add(z, ch->class, -(int32_t) (n + 2));

    fanout_free(z, ch->name, fanout_chain_last(z, ch->name), n,
                FANOUT_CHANNELS);
    fanout_free(z, ch->cold, ch->cold, 1, FANOUT_CHANNELS);
    fanout_free(z, ref, ref, 1, FANOUT_CHANNELS);
}


int
fanout_channel_open(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t local)
{
    int           rc;
    unsigned      holder, again;
    fanout_ref_t  channel, ref;

    channel = 0;

    if (z->heap.slot == -1) {
        z->full = FANOUT_FULL_ZONE;
        return FANOUT_ZONE_FULL;
    }

    if (c->name.len > 255) {
        return FANOUT_ZONE_LARGE;
    }

    (void) fanout_enter(z);

    if (fanout_channel_opened(z, c)) {
        fanout_channel_policy(z, c->ref, c);
        fanout_set(z, fanout_interest(z, c->interest)->local, local);
        fanout_leave(z);
        return FANOUT_ZONE_OK;
    }

    /* after a rebuild it may have what it had */

    holder = fanout_holder(z, c->address);
    again = (c->ref != 0);
    c->ref = 0;

    fanout_share_room(z, FANOUT_SHARE_channels,
                      fanout_channel_blocks(c->name.len) + 1);

    do {
        rc = fanout_ensure(z, fanout_channel_blocks(c->name.len) + 1);
    } while (rc == FANOUT_ZONE_STALE);

    if (rc == FANOUT_ZONE_OK) {
        channel = fanout_channel_find(z, c);
        rc = channel_claim(z, c, channel, again ? 0 : holder);
    }

    if (rc != FANOUT_ZONE_OK) {
        fanout_leave(z);
        return rc;
    }

    if (channel == 0) {
        channel = fanout_channel_make(z, c);

    } else {
        fanout_channel_policy(z, channel, c);
    }

    fanout_channel_use(z, channel, holder);

    ref = fanout_alloc(z, 1, FANOUT_INTERESTS, NULL);
    interest_add(z, channel, ref, local, holder);
    fanout_channel_free_unused(z, channel);

    c->ref = channel;
    c->interest = ref;
    c->incarnation = z->heap.incarnation;

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


/* For an interest, and a channel that comes into use by it. */

static int
channel_claim(fanout_zone_t *z, const fanout_zone_channel_t *c,
    fanout_ref_t channel, unsigned holder)
{
    int             rc, in_use;
    uint32_t        n, class;
    fanout_cold_t  *cold;

    in_use = 0;
    n = 1 + fanout_channel_blocks(c->name.len);
    class = c->policy ? c->policy->class : 0;

    if (channel) {
        cold = fanout_cold(z, fanout_channel(z, channel));

        if (cold->wheel & FANOUT_IN_USE) {
            in_use = 1;
            n = 1;
        }
    }

    rc = fanout_share_claim(z, FANOUT_SHARE_channels, class, n);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    return in_use ? fanout_holder_join(z, class, holder)
                  : fanout_holder_claim(z, FANOUT_SHARE_channels, class,
                                        holder, n);
}


static void
interest_add(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t ref,
    uint32_t local, unsigned holder)
{
    fanout_slot_t           *slot;
    fanout_interest_t       *in;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    slot = &z->shm->slots[z->heap.slot];
    in = fanout_interest(z, ref);

    memset((uint8_t *) in + 4, 0, sizeof(fanout_interest_t) - 4);

    in->seq = z->shm->seq;
    in->offset = ch->offset;
    in->local = local;
    in->slot = z->heap.slot;
    in->holder = holder;

    fanout_set(z, in->channel, channel);

    fanout_part_add(z, FANOUT_SHARE_channels, ch->class, 1);
    fanout_holder_add(z, FANOUT_SHARE_channels, holder, 1);

    fanout_list_push(z, &interest_links, &ch->interests, ref,
                     FANOUT_NEW_RECORD);
    fanout_list_push(z, &slot_links, &slot->interests, ref,
                     FANOUT_NEW_RECORD);
    fanout_set(z, slot->ninterests, slot->ninterests + 1);
}


void
fanout_interest_drop(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_slot_t           *slot;
    fanout_interest_t       *in;
    fanout_channel_block_t  *ch;

    in = fanout_interest(z, ref);
    ch = fanout_channel(z, in->channel);
    slot = &z->shm->slots[in->slot];

    fanout_clean(z, ref);

    fanout_list_remove(z, &interest_links, &ch->interests, NULL, ref);
    fanout_list_remove(z, &slot_links, &slot->interests, NULL, ref);

    fanout_set(z, slot->ninterests, slot->ninterests - 1);
    fanout_set(z, ch->subscribers, ch->subscribers - in->subscribers);
    fanout_part_add(z, FANOUT_SHARE_channels, ch->class, -1);
    fanout_holder_add(z, FANOUT_SHARE_channels, in->holder, -1);

    (void) fanout_unread_trim(z, in->channel);
    fanout_signal_trim(z, in->channel);
    fanout_channel_free_unused(z, in->channel);

    fanout_free(z, ref, ref, 1, FANOUT_INTERESTS);
}


void
fanout_channel_close(fanout_zone_t *z, fanout_zone_channel_t *c)
{
    (void) fanout_enter(z);

    if (fanout_channel_opened(z, c)) {
        /* what of a long unread list is left after this, the sweep takes */
        fanout_interest_drop(z, c->interest);
    }

    c->ref = 0;
    c->interest = 0;

    fanout_leave(z);
}


void
fanout_channel_subscribers(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t n)
{
    fanout_interest_t       *in;
    fanout_channel_block_t  *ch;

    (void) fanout_enter(z);

    if (fanout_channel_opened(z, c)) {
        ch = fanout_channel(z, c->ref);
        in = fanout_interest(z, c->interest);

        fanout_set(z, ch->subscribers,
                   ch->subscribers - in->subscribers + n);
        fanout_set(z, in->subscribers, n);
    }

    fanout_leave(z);
}


int
fanout_channel_info(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_info_t *info)
{
    int           rc;
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_NOTFOUND;
    ref = fanout_channel_find(z, c);

    if (ref) {
        (void) fanout_history_expire(z, ref);
        channel_describe(z, ref, info);
        rc = FANOUT_ZONE_OK;
    }

    fanout_leave(z);

    return rc;
}


static void
channel_describe(fanout_zone_t *z, fanout_ref_t ref, fanout_zone_info_t *info)
{
    fanout_ref_t              in;
    fanout_cold_t            *cold;
    fanout_index_t           *ix;
    fanout_channel_block_t   *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    memset(info, 0, sizeof(fanout_zone_info_t));

    info->epoch = ch->epoch;
    info->offset = ch->offset;
    info->messages = ch->history;
    info->bytes = cold->bytes;
    info->blocks = cold->blocks;
    info->subscribers = ch->subscribers;
    info->class = ch->class;
    info->len = fanout_channel_name(z, ref, info->name);

    if (ch->history) {
        ix = fanout_index(z, ch->index_first);
        info->first = fanout_entry(z, ix->refs[ch->skip])->offset;
    }

    for (in = ch->interests; in; in = fanout_interest(z, in)->next) {
        info->workers++;
    }
}


uint8_t
fanout_channel_name(fanout_zone_t *z, fanout_ref_t ref,
    uint8_t *buf)
{
    fanout_chain_cursor_t    pen;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);

    pen.z = z;
    pen.ref = ch->name;
    pen.pos = offsetof(fanout_name_t, name);
    pen.left = fanout_channel_blocks(ch->name_len);
    (void) fanout_copy(&pen, buf, ch->name_len);

    return ch->name_len;
}


/* The cursor is the next bucket: a bucket is always seen whole, so it may
 * hold more than max only if names collide beyond it; then the rest of the
 * bucket is left out, as it would be for a chain that long anyway. */

int
fanout_channel_list(fanout_zone_t *z, uint64_t *cursor,
    fanout_zone_info_t *infos, unsigned max)
{
    unsigned       n, before, looked;
    uint64_t       i;
    fanout_ref_t   ref;

    (void) fanout_enter(z);

    n = 0;
    i = *cursor;

    for (looked = 0; i <= z->shm->channel_mask && looked < 4096; looked++) {
        before = n;
        ref = fanout_hash_table(z, channel_hash)[i];

        for ( /* void */ ; ref; ref = fanout_channel(z, ref)->hash_next) {
            if (n == max) {
                break;
            }

            channel_describe(z, ref, &infos[n++]);
        }

        if (ref && before) {
            n = before;
            break;
        }

        i++;

        if (n == max) {
            break;
        }
    }

    *cursor = i > z->shm->channel_mask ? 0 : i;

    fanout_leave(z);

    return n;
}


/*
 * Lists.  A channel with history and a ttl is in the wheel, in the slot of
 * the second when its oldest entry is due (or the farthest slot); one with
 * nothing at all is in the idle list.
 */

void
fanout_channel_free_unused(fanout_zone_t *z, fanout_ref_t ref)
{
    uint8_t                  want;
    uint16_t                 used;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    used = ch->interests || ch->unread_head || cold->keys
           || fanout_presence_of(z, ref) ? FANOUT_IN_USE : 0;

    if (used != (cold->wheel & FANOUT_IN_USE)) {
        use(z, ref, 0);
    }

    if (ch->history) {
        want = cold->policy_ttl ? FANOUT_LIST_WHEEL : FANOUT_LIST_NONE;

    } else {
        want = used ? FANOUT_LIST_NONE : FANOUT_LIST_IDLE;
    }

    if (want == cold->list) {
        return;
    }

    fanout_channel_unlist(z, ref);

    if (want == FANOUT_LIST_WHEEL) {
        wheel_add(z, ref, fanout_seconds(z));

    } else if (want == FANOUT_LIST_IDLE) {
        idle_add(z, ref);
    }
}


void
fanout_channel_use(fanout_zone_t *z, fanout_ref_t ref, unsigned holder)
{
    fanout_cold_t  *cold;

    cold = fanout_cold(z, fanout_channel(z, ref));

    if ((cold->wheel & FANOUT_IN_USE) == 0) {
        use(z, ref, holder);
    }
}


/* It comes into use, or is not in use any more. */

static void
use(fanout_zone_t *z, fanout_ref_t ref, unsigned holder)
{
    int32_t                  n;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);
    n = fanout_channel_blocks(ch->name_len);

    if (cold->wheel & FANOUT_IN_USE) {
        n = -n;
        holder = cold->touched;

    } else {
        fanout_set(z, cold->touched, holder);
    }

    fanout_set(z, cold->wheel, cold->wheel ^ FANOUT_IN_USE);
    fanout_set(z, z->shm->in_use, z->shm->in_use + n);
    fanout_part_add(z, FANOUT_SHARE_channels, ch->class, n);
    fanout_holder_add(z, FANOUT_SHARE_channels, holder, n);
    fanout_class_add(z, ch->class, -n);
}


static uint64_t
channel_due(fanout_zone_t *z, fanout_channel_block_t *ch)
{
    fanout_index_t  *ix;

    ix = fanout_index(z, ch->index_first);

    return (uint64_t) fanout_entry(z, ix->refs[ch->skip])->mono
           + fanout_cold(z, ch)->policy_ttl;
}


static void
wheel_add(fanout_zone_t *z, fanout_ref_t ref, uint32_t now)
{
    uint64_t                 at;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    at = channel_due(z, ch) + 1;

    if (at < now + 1ULL) {
        at = now + 1ULL;
    }

    at = fanout_wheel_place(&ttl_wheel, at, z->shm->wheel_at);

    fanout_wheel_add(z, &ttl_wheel, z->shm->wheel, at, ref, FANOUT_OLD_RECORD);
    fanout_set(z, cold->wheel,
               (cold->wheel & (FANOUT_IN_USE|FANOUT_PURGED)) | at);
    fanout_set(z, cold->list, FANOUT_LIST_WHEEL);
}


static void
idle_add(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t            *shm;
    fanout_channel_block_t  *ch;

    shm = z->shm;
    ch = fanout_channel(z, ref);

    fanout_list_append(z, &idle_links, &shm->idle_first[ch->class],
                       &shm->idle_last[ch->class], ref, FANOUT_OLD_RECORD);
    fanout_set(z, fanout_cold(z, ch)->touched, fanout_seconds(z));
    fanout_set(z, fanout_cold(z, ch)->list, FANOUT_LIST_IDLE);
}


/* An empty channel that is published to is not idle. */

void
fanout_channel_touch(fanout_zone_t *z, fanout_ref_t ref, uint32_t now)
{
    fanout_cold_t  *cold;

    cold = fanout_cold(z, fanout_channel(z, ref));

    if (cold->list == FANOUT_LIST_IDLE && cold->touched != now) {
        fanout_channel_unlist(z, ref);
    }
}


void
fanout_channel_unlist(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t            *shm;
    fanout_cold_t           *cold;
    fanout_channel_block_t  *ch;

    shm = z->shm;
    ch = fanout_channel(z, ref);
    cold = fanout_cold(z, ch);

    if (cold->list == FANOUT_LIST_NONE) {
        return;
    }

    if (cold->list == FANOUT_LIST_IDLE) {
        fanout_list_remove(z, &idle_links, &shm->idle_first[ch->class],
                           &shm->idle_last[ch->class], ref);

    } else {
        fanout_wheel_remove(z, &ttl_wheel, shm->wheel,
                            cold->wheel % FANOUT_WHEEL, ref);
    }

    fanout_set(z, cold->list, FANOUT_LIST_NONE);
}


int
fanout_channel_sweep(fanout_zone_t *z)
{
    uint32_t           i, now;
    unsigned           n;
    fanout_cold_t     *cold;
    fanout_ref_t       ref;

    now = fanout_seconds(z);
    n = 0;

    if (wheel_turn(z, now, &n)) {
        return FANOUT_ZONE_AGAIN;
    }

    for (i = 0; i < FANOUT_CLASSES; i++) {

        while ((ref = z->shm->idle_first[i]) != 0) {
            cold = fanout_cold(z, fanout_channel(z, ref));

            if (now - cold->touched < z->shm->idle) {
                break;
            }

            if (n && (n == FANOUT_STEP || !fanout_section_room(z))) {
                return FANOUT_ZONE_AGAIN;
            }

            n++;

            fanout_channel_free(z, ref);
        }
    }

    return FANOUT_ZONE_OK;
}


/* Expires some channels, which *n counts; whether there is more. */

static int
wheel_turn(fanout_zone_t *z, uint32_t now, unsigned *n)
{
    uint32_t        empty;
    fanout_ref_t    ref;
    fanout_shm_t   *shm;

    shm = z->shm;
    empty = 0;

    if (now - shm->wheel_at > FANOUT_WHEEL && now > shm->wheel_at) {
        /* nobody swept for a turn or more: each slot once is enough */
        fanout_set(z, shm->wheel_at, now - FANOUT_WHEEL);
    }

    while (shm->wheel_at < now) {
        ref = shm->wheel[(shm->wheel_at + 1) % FANOUT_WHEEL];

        if (ref == 0) {
            fanout_set(z, shm->wheel_at, shm->wheel_at + 1);

            if (++empty == FANOUT_WHEEL) {
                break;
            }

            continue;
        }

        if (*n && (*n == FANOUT_STEP || !fanout_section_room(z))) {
            return 1;
        }

        (*n)++;

        if (fanout_history_expire(z, ref)) {
            return 1;
        }

        if (fanout_channel(z, ref)->history) {
            fanout_channel_unlist(z, ref);
            fanout_set(z, shm->wheel_at, shm->wheel_at + 1);
            wheel_add(z, ref, now);
            fanout_set(z, shm->wheel_at, shm->wheel_at - 1);

        } else {
            fanout_channel_free_unused(z, ref);
        }
    }

    return 0;
}


void
fanout_channel_evict_idle(fanout_zone_t *z, uint32_t class)
{
    fanout_channel_free(z, z->shm->idle_first[class]);
}
