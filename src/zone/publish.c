
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Publishing.  Large messages are staged in transactions of their own before
 * the one that appends them.
 */


#include "zone/log.h"
#include "zone/mail.h"
#include "zone/pressure.h"
#include "zone/publish.h"
#include "zone/share.h"
#include "zone/slot.h"


static void publish_clear(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, const fanout_zone_publish_t *opts);
static int publish_large(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_draft_t *d, uint32_t total,
    fanout_zone_result_t *r);
static int publish_all(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_draft_t *d, uint32_t total,
    fanout_zone_result_t *r);
static int publish_measure(fanout_zone_t *z, const fanout_zone_message_t *m,
    unsigned n, fanout_draft_t *d, uint32_t *total);
static int publish_locked(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_draft_t *d,
    fanout_zone_result_t *r);
static unsigned publish_sender(fanout_zone_t *z,
    const fanout_zone_publish_t *opts);
static void prefetch(fanout_zone_t *z, const fanout_channel_block_t *ch);
static int publish_conflict(fanout_zone_t *z,
    const fanout_zone_publish_t *opts, fanout_channel_block_t *ch);
static int publish_full(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r);


int
fanout_log_publish(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r)
{
    int             rc;
    uint32_t        total;
    fanout_draft_t  drafts[FANOUT_ZONE_BATCH];

    if (n == 0 || n > FANOUT_ZONE_BATCH || c->name.len > 255
        || (fanout_message_direct(m) && n > 1))
    {
        return FANOUT_ZONE_LARGE;
    }

    rc = publish_measure(z, m, n, drafts, &total);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    r->duplicate = 0;
    r->delivered = r->pending = 0;

    if (m->to_user) {
        publish_clear(z, c, m, opts);
    }

    if (total > FANOUT_SLICE) {
        rc = publish_large(z, c, m, n, opts, drafts, total, r);

    } else {
        if (total > FANOUT_FEW) {
            fanout_touch_fresh(z, total);
        }

        (void) fanout_enter(z);
        rc = publish_all(z, c, m, n, opts, drafts, total, r);
        fanout_leave(z);
    }

    fanout_held_trim(z);

    if (fanout_message_direct(m)) {
        (void) fanout_enter(z);
        (void) fanout_mail_sweep(z);
        fanout_leave(z);
    }

    return rc;
}


/* Makes room in the mailboxes of a crowd before the section that fills them,
 * unless the publish is refused or a duplicate: then no client loses a
 * message. */

static void
publish_clear(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, const fanout_zone_publish_t *opts)
{
    int                   more;
    uint64_t              hash[2];
    unsigned              n;
    fanout_ref_t          ref;
    fanout_zone_result_t  r;

    n = 0;
    r.duplicate = 0;

    do {
        (void) fanout_enter(z);

        ref = fanout_mail_crowd(z, m) ? fanout_channel_find(z, c) : 0;

        more = ref && !publish_conflict(z, opts, fanout_channel(z, ref))
               && (opts == NULL || opts->key.len == 0
                   || (fanout_key_claim(z, c, ref, opts, hash, &r)
                       == FANOUT_ZONE_OK && !r.duplicate))
               && fanout_mail_clear(z, ref, m, opts && opts->live,
                                    publish_sender(z, opts), n);

        fanout_leave(z);

        n += FANOUT_MAIL_STEP;

    } while (more);
}


/* Stages large messages in sections of its own, and then publishes them. */

static int
publish_large(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_draft_t *d, uint32_t total,
    fanout_zone_result_t *r)
{
    int             rc;
    uint32_t        account;
    fanout_slot_t  *slot;

    /* no history is evicted for a publish that will be refused */

    if (opts && opts->key.len) {
        rc = fanout_log_key(z, c, opts, r);

        if (rc != FANOUT_ZONE_OK || r->duplicate) {
            return rc;
        }
    }

    account = c->policy ? c->policy->account : 0;
    slot = fanout_staging_take(z);
    rc = fanout_stage(z, slot, account, m, n, d, total);

    (void) fanout_enter(z);

    if (rc == FANOUT_ZONE_FULL) {
        rc = publish_full(z, c, opts, r);

    } else if (rc == FANOUT_ZONE_OK) {

        if (slot->nstaged == n) {
            rc = publish_all(z, c, m, n, opts, d, 0, r);

        } else {
            /* the zone was rebuilt in between */
            rc = FANOUT_ZONE_STALE;
        }

        if (rc != FANOUT_ZONE_OK || r->duplicate) {
            /* after a rebuild nothing is staged any more */
            fanout_unstage(z, slot);

        } else {
            fanout_set(z, slot->nstaged, 0);
        }
    }

    fanout_leave(z);

    fanout_staging_return(z, slot);

    return rc;
}


/* Publishes in one transaction; total is the number of blocks still to be
 * allocated. */

static int
publish_all(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_draft_t *d, uint32_t total,
    fanout_zone_result_t *r)
{
    int       rc;
    uint32_t  account, mail;

    account = c->policy ? c->policy->account : 0;

    /* the channel, at most one index block per entry, a key */
    total += fanout_channel_blocks(c->name.len) + n + 1;

    if (opts && opts->key.len) {
        fanout_key_room(z, c, opts);
    }

    do {
        mail = fanout_message_direct(m) ? fanout_mail_blocks(z, m) : 0;
        rc = fanout_ensure_history(z, account, total + mail);

        /* the user may have got more clients while room was made */

    } while (rc == FANOUT_ZONE_OK && fanout_message_direct(m)
             && fanout_mail_blocks(z, m) > mail);

    if (rc == FANOUT_ZONE_OK) {
        return publish_locked(z, c, m, n, opts, d, r);
    }

    return rc == FANOUT_ZONE_FULL ? publish_full(z, c, opts, r) : rc;
}


/* Computes the blocks of each message, and their sum. */

static int
publish_measure(fanout_zone_t *z, const fanout_zone_message_t *m, unsigned n,
    fanout_draft_t *d, uint32_t *total)
{
    unsigned  i;

    *total = 0;

    for (i = 0; i < n; i++) {
        if (m[i].data.len > FANOUT_ZONE_DATA
            || m[i].event.len > 255 || m[i].key.len > 255
            || m[i].user.len > 255 || m[i].meta.len > 65535)
        {
            return FANOUT_ZONE_LARGE;
        }

        d[i].blocks = fanout_size_blocks(fanout_message_size(&m[i]));
        d[i].staged = 0;
        *total += d[i].blocks;

        if (*total > z->shm->heap.nblocks / 2) {
            return FANOUT_ZONE_LARGE;
        }
    }

    return FANOUT_ZONE_OK;
}


static int
publish_locked(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_draft_t *d,
    fanout_zone_result_t *r)
{
    int                      rc;
    uint32_t                 now;
    uint64_t                 hash[2];
    unsigned                 i;
    fanout_ref_t             ref;
    fanout_recipients_t      to;
    fanout_channel_block_t  *ch;

    ref = fanout_channel_find(z, c);

    if (opts && opts->key.len) {

        rc = fanout_key_claim(z, c, ref, opts, hash, r);

        if (rc != FANOUT_ZONE_OK || r->duplicate) {
            return rc;
        }
    }

    if (ref == 0) {
        if (publish_conflict(z, opts, NULL)) {
            memset(r, 0, sizeof(fanout_zone_result_t));
            r->epoch = fanout_absent(z);
            return FANOUT_ZONE_CONFLICT;
        }

        if (fanout_message_direct(m)) {
            return FANOUT_ZONE_NOTFOUND;
        }

        ref = fanout_channel_make(z, c);

        if (opts && opts->key.len) {
            fanout_key_hash(z, fanout_channel(z, ref), opts, hash);
        }
    }

    ch = fanout_channel(z, ref);
    prefetch(z, ch);
    fanout_channel_renew(z, ref, c);

    r->epoch = ch->epoch;
    r->subscribers = ch->subscribers;

    if (publish_conflict(z, opts, ch)) {
        r->offset = ch->offset;
        r->time = 0;
        return FANOUT_ZONE_CONFLICT;
    }

    if (fanout_message_direct(m)) {
        rc = fanout_mail_address(z, ref, m, opts && opts->live,
                                 publish_sender(z, opts), &to, r);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }
    }

    now = fanout_seconds(z);
    r->time = fanout_wall(z);

    if (ch->interests == 0) {
        fanout_channel_touch(z, ref, now);
        (void) fanout_unread_trim(z, ref);
    }

    for (i = 0; i < n; i++) {
        fanout_draft_link(z, ref, &d[i], &m[i], FANOUT_MESSAGE, r->time, now);
    }

    if (fanout_message_direct(m)) {
        fanout_mail_post(z, ref, &to, d[0].first, d[0].blocks);
    }

    fanout_history_limit(z, ref);

    r->offset = ch->offset;

    if (opts && opts->key.len) {
        fanout_key_add(z, ref, hash, opts, r);
    }

    fanout_channel_free_unused(z, ref);

    return FANOUT_ZONE_OK;
}


static unsigned
publish_sender(fanout_zone_t *z, const fanout_zone_publish_t *opts)
{
    return opts ? fanout_holder(z, opts->sender) : 0;
}


/* far apart in memory, and all needed soon */

static void
prefetch(fanout_zone_t *z, const fanout_channel_block_t *ch)
{
    __builtin_prefetch(fanout_at(z, ch->cold));
    __builtin_prefetch(fanout_at(z, ch->interests));
    __builtin_prefetch(fanout_at(z, ch->index_first));
    __builtin_prefetch(fanout_at(z, ch->index_last));
    __builtin_prefetch(fanout_at(z, z->shm->heap.free));
}


/* Returns 1 if the condition "if" does not hold.  Without a channel, only
 * offset 0 satisfies it. */

static int
publish_conflict(fanout_zone_t *z, const fanout_zone_publish_t *opts,
    fanout_channel_block_t *ch)
{
    if (opts == NULL || !opts->if_set) {
        return 0;
    }

    return opts->if_offset != (ch ? ch->offset : 0)
           || (opts->if_epoch
               && !fanout_log_has(z, ch, opts->if_epoch, opts->if_offset));
}


/* A full zone still answers a known key. */

static int
publish_full(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r)
{
    uint64_t      hash[2];
    fanout_ref_t  ref;

    ref = fanout_channel_find(z, c);

    if (ref && opts && opts->key.len
        && fanout_key_known(z, fanout_channel(z, ref), opts, hash, r))
    {
        return FANOUT_ZONE_OK;
    }

    return FANOUT_ZONE_FULL;
}
