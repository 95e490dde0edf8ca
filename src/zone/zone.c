
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The life of a zone: creation, configuration, housekeeping, accounts.
 */


#include "zone/budget.h"
#include "zone/denial_block.h"
#include "zone/format.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/lock_block.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/pressure.h"
#include "zone/record_sweep.h"
#include "zone/seat.h"
#include "zone/seen.h"
#include "zone/share.h"
#include "zone/shelf.h"
#include "zone/slot.h"


/* defaults of the configuration */
#define FANOUT_IDLE    300
#define FANOUT_DEDUPE  120
#define FANOUT_HELD    12

_Static_assert(FANOUT_NKINDS <= FANOUT_KINDS, "kinds of blocks");
_Static_assert(sizeof(fanout_name_t) == FANOUT_BLOCK
               && sizeof(fanout_shelf_t) == FANOUT_BLOCK
               && sizeof(fanout_record_block_t) == FANOUT_BLOCK
               && sizeof(fanout_fields_t) == FANOUT_BLOCK
               && sizeof(fanout_field_block_t) == FANOUT_BLOCK
               && sizeof(fanout_lock_block_t) == FANOUT_BLOCK
               && sizeof(fanout_claim_t) == FANOUT_BLOCK
               && sizeof(fanout_denial_block_t) == FANOUT_BLOCK
               && sizeof(fanout_seat_t) == FANOUT_BLOCK
               && sizeof(fanout_table_t) == FANOUT_BLOCK, "a block each");


static uint32_t held_max(const fanout_shm_t *shm,
    const fanout_zone_conf_t *conf);
static void account_set(fanout_zone_t *z, fanout_zone_account_t *c,
    const uint8_t *pattern, size_t len);
static void unbounded(fanout_shm_t *shm);
static uint32_t sizes(void);


uint32_t
fanout_zone_slots(uint32_t configured)
{
    if (configured == 0) {
        return 32;
    }

    return configured < FANOUT_ZONE_SLOTS
           ? configured : FANOUT_ZONE_SLOTS;
}


int
fanout_zone_create(void *mem, size_t size, const fanout_zone_conf_t *conf,
    const int *efds)
{
    uint32_t       i;
    fanout_shm_t  *shm;

    if (size < FANOUT_ZONE_MIN) {
        return FANOUT_ZONE_SMALL;
    }

    shm = mem;
    memset(shm, 0, sizeof(fanout_shm_t));

    shm->heap.size = size;
    shm->nslots = fanout_zone_slots(conf->slots);

    if (fanout_zone_layout(shm) != FANOUT_ZONE_OK) {
        return FANOUT_ZONE_SMALL;
    }

    shm->idle = conf->idle ? conf->idle : FANOUT_IDLE;
    shm->dedupe = conf->dedupe ? conf->dedupe : FANOUT_DEDUPE;
    shm->denials_max = conf->denials ? conf->denials : FANOUT_ZONE_DENIALS;
    shm->held_max = held_max(shm, conf);
    unbounded(shm);

    if (fanout_heap_create(&shm->heap) != FANOUT_ZONE_OK
        || fanout_mutex_init(&shm->spare.life) != 0)
    {
        return FANOUT_ZONE_ERROR;
    }

    for (i = 0; i < shm->nslots; i++) {
        shm->slots[i].process.efd = efds ? efds[i] : -1;

        if (fanout_mutex_init(&shm->slots[i].life) != 0) {
            return FANOUT_ZONE_ERROR;
        }
    }

    fanout_zone_format(shm);

    shm->heap.layout = FANOUT_LAYOUT;
    shm->heap.sizes = sizes();
    shm->heap.magic = FANOUT_MAGIC;

    return FANOUT_ZONE_OK;
}


uint32_t
fanout_zone_has_slots(const void *mem)
{
    const fanout_shm_t  *shm;

    shm = mem;

    return shm->nslots;
}


/* No transaction changes the generation, so it needs no journal. */

uint32_t
fanout_zone_next(void *mem)
{
    fanout_shm_t  *shm;

    shm = mem;

    return __atomic_add_fetch(&shm->generation, 1, __ATOMIC_SEQ_CST);
}


void
fanout_zone_configure(fanout_zone_t *z, uint32_t generation,
    const fanout_zone_conf_t *conf)
{
    fanout_shm_t  *shm;

    z->generation = generation;

    (void) fanout_enter(z);

    shm = z->shm;

    if (generation > shm->configured) {
        fanout_set(z, shm->idle, conf->idle ? conf->idle : FANOUT_IDLE);
        fanout_set(z, shm->dedupe, conf->dedupe ? conf->dedupe
                                                : FANOUT_DEDUPE);
        fanout_set(z, shm->denials_max, conf->denials ? conf->denials
                                                      : FANOUT_ZONE_DENIALS);
        fanout_set(z, shm->held_max, held_max(shm, conf));
        fanout_set(z, shm->configured, generation);
    }

    fanout_leave(z);
}


static uint32_t
held_max(const fanout_shm_t *shm, const fanout_zone_conf_t *conf)
{
    return (uint64_t) shm->heap.nblocks
           * (conf->held ? conf->held : FANOUT_HELD) / 100;
}


static void
unbounded(fanout_shm_t *shm)
{
    unsigned  i;

    for (i = 0; i < FANOUT_NSHARES; i++) {
        shm->shares[i].max = shm->heap.nblocks;
    }

    for (i = 0; i < FANOUT_ACCOUNTS; i++) {
        shm->accounts[i].max = shm->heap.nblocks;
    }

    shm->address_max = FANOUT_ZONE_WHOLE;
    shm->user_max = FANOUT_ZONE_WHOLE;

    /* mail and events, which may be dropped, never get the whole zone */
    shm->shares[FANOUT_SHARE_mail].max = shm->heap.nblocks / 4;
    shm->shares[FANOUT_SHARE_events].max = shm->heap.nblocks / 4;
}


static uint32_t
sizes(void)
{
    uint32_t  h, i;

    const uint32_t  size[] = {
        sizeof(fanout_shm_t), sizeof(fanout_slot_t), sizeof(fanout_undo_t),
        sizeof(fanout_entry_block_t), sizeof(fanout_index_t),
        sizeof(fanout_channel_block_t), sizeof(fanout_cold_t),
        sizeof(fanout_name_t), sizeof(fanout_interest_t),
        sizeof(fanout_key_t), sizeof(fanout_identity_block_t),
        sizeof(fanout_user_t), sizeof(fanout_seat_t),
        sizeof(fanout_member_block_t), sizeof(fanout_presence_block_t),
        sizeof(fanout_table_t), sizeof(fanout_signal_t),
        sizeof(fanout_order_block_t), sizeof(fanout_mail_t),
        sizeof(fanout_seen_t), sizeof(fanout_event_block_t),
        sizeof(fanout_address_t), sizeof(fanout_budget_t),
        sizeof(fanout_holder_t), sizeof(fanout_sender_t),
        sizeof(fanout_shelf_t), sizeof(fanout_record_block_t),
        sizeof(fanout_fields_t), sizeof(fanout_field_block_t),
        sizeof(fanout_lock_block_t), sizeof(fanout_claim_t),
        sizeof(fanout_denial_block_t),
        sizeof(pthread_mutex_t), FANOUT_NCOUNTERS,
        FANOUT_NSERIES
    };

    h = 2166136261;

    for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        h = (h ^ size[i]) * 16777619;
    }

    return h;
}


int
fanout_zone_check_layout(const void *mem, size_t size)
{
    const fanout_shm_t  *shm;

    shm = mem;

    if (shm->heap.magic != FANOUT_MAGIC || shm->heap.layout != FANOUT_LAYOUT
        || shm->heap.sizes != sizes() || shm->heap.size != size)
    {
        return FANOUT_ZONE_LAYOUT;
    }

    return FANOUT_ZONE_OK;
}


int
fanout_zone_attach(fanout_zone_t *z, void *mem, size_t size)
{
    fanout_shm_t  *shm;

    if (fanout_zone_check_layout(mem, size)
        != FANOUT_ZONE_OK)
    {
        return FANOUT_ZONE_LAYOUT;
    }

    memset(z, 0, sizeof(fanout_zone_t));

    shm = mem;

    z->shm = shm;
    fanout_heap_attach(z, &shm->heap, &fanout_zone_owner,
                       &shm->slots[0].process, sizeof(fanout_slot_t),
                       shm->nslots);
    z->drained = z->heap.incarnation;

    return FANOUT_ZONE_OK;
}


int
fanout_zone_account(fanout_zone_t *z, const uint8_t *pattern, size_t len)
{
    uint32_t                i, spare;
    fanout_shm_t           *shm;
    fanout_zone_account_t  *c;

    if (len > sizeof(c->pattern)) {
        len = sizeof(c->pattern);
    }

    (void) fanout_enter(z);

    shm = z->shm;
    spare = FANOUT_ZONE_ACCOUNTS;

    for (i = 0; i < shm->naccounts; i++) {
        c = &shm->accounts[i];

        if (c->len == len && memcmp(c->pattern, pattern, len) == 0) {
            goto done;
        }

        if (c->channels == 0 && c->generation < z->generation) {
            spare = i;
        }
    }

    if (i < FANOUT_ZONE_ACCOUNTS) {
        fanout_set(z, shm->naccounts, i + 1);

    } else if (spare < FANOUT_ZONE_ACCOUNTS && fanout_newest(z)) {
        /* an account of an earlier configuration */
        i = spare;

    } else {
        fanout_leave(z);
        return FANOUT_ZONE_ACCOUNTS - 1;
    }

    account_set(z, &shm->accounts[i], pattern, len);

done:

    if (shm->accounts[i].generation < z->generation) {
        fanout_set(z, shm->accounts[i].generation, z->generation);
    }

    fanout_leave(z);

    return i;
}


static void
account_set(fanout_zone_t *z, fanout_zone_account_t *c, const uint8_t *pattern,
    size_t len)
{
    unsigned  i;
    uint64_t  words[sizeof(c->pattern) / sizeof(uint64_t)], *to;

    memset(words, 0, sizeof(words));
    memcpy(words, pattern, len);
    to = (uint64_t *) c->pattern;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        fanout_set(z, to[i], words[i]);
    }

    fanout_set(z, c->len, len);
    fanout_set(z, c->messages, 0);
    fanout_set(z, c->bytes, 0);
    fanout_set(z, c->evicted, 0);
}


int
fanout_zone_get_account(fanout_zone_t *z, unsigned n, fanout_zone_account_t *c)
{
    int  rc;

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_NOTFOUND;

    if (n < z->shm->naccounts) {
        *c = z->shm->accounts[n];
        rc = FANOUT_ZONE_OK;
    }

    fanout_leave(z);

    return rc;
}


/* housekeeping */

/* Each task has a section of its own. */

int
fanout_zone_sweep(fanout_zone_t *z)
{
    int       more;
    unsigned  i;

    static int (*const part[])(fanout_zone_t *z) = {
        fanout_held_cap,
        fanout_held_sweep,
        fanout_purged_free,
        fanout_channel_sweep,
        fanout_key_sweep,
        fanout_seat_sweep,
        fanout_identity_sweep,
        fanout_mail_sweep,
        fanout_signal_sweep,
        fanout_seen_sweep,
        fanout_record_sweep,
        fanout_lock_sweep,
        fanout_denial_sweep
    };

    more = 0;

    for (i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        (void) fanout_enter(z);

        if (part[i](z)) {
            more = 1;
        }

        fanout_leave(z);
    }

    return more ? FANOUT_ZONE_AGAIN : FANOUT_ZONE_OK;
}


void
fanout_zone_stat(fanout_zone_t *z, fanout_zone_stat_t *st)
{
    uint32_t       i;
    fanout_shm_t  *shm;

    (void) fanout_enter(z);

    shm = z->shm;
    memset(st, 0, sizeof(fanout_zone_stat_t));

    st->blocks = shm->heap.nblocks - 1;
    st->free = (uint64_t) shm->heap.nfree + shm->heap.nlimbo;
    st->messages = shm->heap.used[FANOUT_MESSAGES];
    st->index = shm->heap.used[FANOUT_INDEX];
    st->channels = shm->heap.used[FANOUT_CHANNELS];
    st->interests = shm->heap.used[FANOUT_INTERESTS];
    st->keys = shm->heap.used[FANOUT_KEYS];
    st->identities = shm->heap.used[FANOUT_IDENTITIES];
    st->rooms = shm->heap.used[FANOUT_PRESENCE_SET];
    st->seats = shm->heap.used[FANOUT_SEATS];
    st->members = shm->heap.used[FANOUT_MEMBERS];
    st->mail = shm->heap.used[FANOUT_MAIL];
    st->signals = shm->heap.used[FANOUT_SIGNALS];
    st->seen = shm->heap.used[FANOUT_SEEN];
    st->records = shm->heap.used[FANOUT_RECORDS];
    st->locks = shm->heap.used[FANOUT_LOCKS];
    st->staged = shm->heap.used[FANOUT_STAGED];
    st->denials = shm->heap.used[FANOUT_DENIALS];
    st->ndenials = shm->ndenials;
    st->denials_max = shm->denials_max;
    st->held = shm->held;
    st->held_max = shm->held_max;
    st->nchannels = shm->nchannels;
    st->nkeys = shm->nkeys;
    st->nidentities = shm->nidentities;
    st->nusers = shm->nusers;
    st->nseats = shm->nseats;
    st->nmembers = shm->nmembers;
    st->nrecords = shm->nrecords;
    st->record_bytes = shm->record_bytes;
    st->record_sets = shm->sets;
    st->record_conflicts = shm->conflicts;
    st->record_rejected = shm->rejected;
    st->record_expired = shm->records_expired;
    fanout_lock_stat(z, st);
    st->nseen = shm->nseen;
    st->addresses = shm->heap.used[FANOUT_ADDRESSES];
    st->naddresses = shm->naddresses;
    st->budgets = shm->nbudgets;
    st->address_max = shm->address_max * 100 / FANOUT_ZONE_WHOLE;
    st->user_max = shm->user_max * 100 / FANOUT_ZONE_WHOLE;
    st->budgets_max = (shm->budget_mask + 1ULL) * FANOUT_BUDGET_WAYS;
    st->budgets_lost = shm->budgets_lost;
    st->lingering = shm->nlingering;
    st->seats_lingering = shm->nseats_lingering;
    st->deltas = shm->deltas;
    st->changes = shm->changes;
    st->cancelled = shm->cancelled;
    st->conflated = shm->conflated;
    st->signals_dropped = shm->signals_dropped;
    st->mail_dropped = shm->mail_dropped;
    st->seq = shm->seq;
    st->incarnation = shm->heap.incarnation;
    st->evicted = shm->evicted;
    st->expired = shm->expired;
    st->dropped = shm->dropped;
    st->full = shm->full;
    st->rollbacks = shm->heap.rollbacks;
    st->reaped = shm->reaped;
    st->overflows = shm->heap.overflows;
    st->slots = shm->nslots;
    st->idle = shm->idle;
    st->dedupe = shm->dedupe;
    st->generation = shm->configured;
    st->block_size = FANOUT_BLOCK;
    memcpy(st->retired, shm->retired, sizeof(st->retired));
    st->samples = shm->nsamples;
    fanout_hook_event_stat(z, st);

    for (i = 0; i < FANOUT_NSHARES; i++) {
        st->shares[i].used = fanout_share_used(shm, i);
        st->shares[i].min = shm->shares[i].min;
        st->shares[i].max = shm->shares[i].max;
        st->shares[i].refused = shm->refused[i];
    }

    for (i = 0; i < shm->nslots; i++) {
        st->live += (shm->slots[i].process.state == FANOUT_SLOT_LIVE);
    }

    fanout_leave(z);
}
