
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Blocks: taking, freeing, and making room when there are none left.
 */


#include "zone/log.h"
#include "zone/mail.h"


#define FANOUT_EVICT_STEP     16        /* entries evicted in a step */
#define FANOUT_EVICT_SMALL    4         /* bucket of histories below 8 blocks */
#define FANOUT_ENSURE_STEPS   8         /* steps in a section of the lock */
#define FANOUT_ENSURE_TURNS   1024      /* sections, at most */


static int ensure(fanout_zone_t *z, uint32_t class, uint32_t n);
static int full(fanout_zone_t *z, uint32_t class, uint32_t n);
static int yield(fanout_zone_t *z);
static int over(const fanout_shm_t *shm, uint32_t class, uint32_t n);
static int make_room(fanout_zone_t *z, uint32_t class, uint32_t n);
static int sweep(fanout_zone_t *z);
static int evict_class(fanout_zone_t *z, uint32_t class);


/* blocks */

int
fanout_ensure(fanout_zone_t *z, uint32_t n)
{
    return z->shm->nfree >= n ? FANOUT_ZONE_OK
                              : ensure(z, FANOUT_CLASSES, n);
}


int
fanout_ensure_history(fanout_zone_t *z, uint32_t class, uint32_t n)
{
    return z->shm->nfree >= n && !over(z->shm, class, n)
           ? FANOUT_ZONE_OK : ensure(z, class, n);
}


/* whether a class would have more than it may */

static int
over(const fanout_shm_t *shm, uint32_t class, uint32_t n)
{
    return class != FANOUT_CLASSES
           && shm->classes[class].max < shm->nblocks
           && shm->classes[class].blocks + n > shm->classes[class].max;
}


static int
ensure(fanout_zone_t *z, uint32_t class, uint32_t n)
{
    int            rc;
    unsigned       step, turn;
    fanout_shm_t  *shm;

    shm = z->shm;
    step = turn = 0;

    /* what can't be had is not worth what would be evicted for it */

    if (n > fanout_share_attainable(shm, class)
        || fanout_class_exceeds(shm, class, n))
    {
        return full(z, class, n);
    }

    while (shm->nfree < n || over(shm, class, n)) {

        if (over(shm, class, n) ? !evict_class(z, class)
                                : !make_room(z, class, n))
        {
            return full(z, class, n);
        }

        fanout_commit(z);

        if (++step < FANOUT_ENSURE_STEPS && fanout_section_room(z)) {
            continue;
        }

        step = 0;
        rc = ++turn == FANOUT_ENSURE_TURNS ? full(z, class, n) : yield(z);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }
    }

    return FANOUT_ZONE_OK;
}


static int
full(fanout_zone_t *z, uint32_t class, uint32_t n)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    z->full = fanout_class_exceeds(shm, class, n) ? FANOUT_FULL_CLASS
                                                  : FANOUT_FULL_ZONE;
    fanout_set(z, shm->full, shm->full + 1);

    return FANOUT_ZONE_FULL;
}


/* Others have their turn. */

static int
yield(fanout_zone_t *z)
{
    fanout_leave(z);

    return fanout_enter(z);
}


int
fanout_ensure_spare(fanout_zone_t *z, uint32_t n)
{
    uint32_t       i, class;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (shm->nfree < n && shm->nlimbo) {
        fanout_commit(z);
    }

    /* each step frees a block at least, or takes one from what is in use */

    for (i = 0; shm->nfree < n && i < n; i++) {

        if (!fanout_doomed_free(z) && !fanout_seen_evict(z)) {
            class = fanout_class_worst(shm, FANOUT_CLASSES, 0);

            if (class == FANOUT_CLASSES || !evict_class(z, class)) {
                break;
            }
        }

        fanout_commit(z);
    }

    return shm->nfree >= n;
}


/* the order under pressure; one step, one transaction */

static int
make_room(fanout_zone_t *z, uint32_t class, uint32_t n)
{
    uint32_t       worst;
    fanout_shm_t  *shm;

    shm = z->shm;

    if (fanout_doomed_free(z) || sweep(z)) {
        return 1;
    }

    if (fanout_share_excess(shm, FANOUT_SHARE_signals)
        && fanout_signal_evict(z))
    {
        return 1;
    }

    if (shm->held > shm->held_max && fanout_stream_drop(z)) {
        return 1;
    }

    if (fanout_seen_evict(z)) {
        return 1;
    }

    if (fanout_share_excess(shm, FANOUT_SHARE_sessions)
        && fanout_identity_evict(z, FANOUT_RANK_UNHEARD + 1))
    {
        return 1;
    }

    worst = fanout_class_worst(shm, class, n);

    if (worst != FANOUT_CLASSES && evict_class(z, worst)) {
        return 1;
    }

    if (fanout_share_excess(shm, FANOUT_SHARE_mail)
        && fanout_mail_evict(z))
    {
        return 1;
    }

    if (fanout_share_excess(shm, FANOUT_SHARE_sessions)
        && fanout_identity_evict(z, FANOUT_RANKS))
    {
        return 1;
    }

    return fanout_stream_drop(z);
}


/* Lets go of what nobody may expect any more; whether there was any. */

static int
sweep(fanout_zone_t *z)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    if (fanout_channel_sweep(z) == FANOUT_ZONE_AGAIN || shm->nlimbo)
    {
        return 1;
    }

    /* the turn of the wheel may have filled the journal */
    fanout_commit(z);

    if (fanout_key_sweep(z) == FANOUT_ZONE_AGAIN
        || fanout_identity_sweep(z) == FANOUT_ZONE_AGAIN
        || shm->nlimbo)
    {
        return 1;
    }

    fanout_commit(z);

    return fanout_mail_sweep(z) == FANOUT_ZONE_AGAIN
           || fanout_signal_sweep(z) == FANOUT_ZONE_AGAIN
           || shm->nlimbo;
}


/* The oldest of the largest history, or what is longest out of use if all are
 * small; whether there was any. */

static int
evict_class(fanout_zone_t *z, uint32_t class)
{
    uint32_t              i, n;
    fanout_ref_t          ref;
    fanout_shm_t         *shm;
    fanout_zone_class_t  *c;

    shm = z->shm;

    for (i = FANOUT_BUCKETS; i > 0; i--) {

        if (i < FANOUT_EVICT_SMALL && shm->idle_first[class]) {
            break;
        }

        ref = shm->bucket[class][i - 1];

        if (ref == 0) {
            continue;
        }

        n = fanout_channel(z, ref)->history;

        if (n > FANOUT_EVICT_STEP) {
            n = FANOUT_EVICT_STEP;
        }

        c = &shm->classes[class];
        fanout_set(z, c->evicted, c->evicted + n);
        fanout_set(z, shm->evicted, shm->evicted + n);
        fanout_history_drop(z, ref, n);

        return 1;
    }

    if (shm->idle_first[class] == 0) {
        return 0;
    }

    fanout_channel_evict_idle(z, class);

    return 1;
}


fanout_ref_t
fanout_alloc(fanout_zone_t *z, uint32_t n, fanout_kind_e kind,
    fanout_ref_t *last)
{
    uint32_t       left;
    fanout_ref_t   first, prev, ref;
    fanout_shm_t  *shm;

    shm = z->shm;
    first = ref = shm->free;
    prev = 0;
    left = n;
    z->work += n;

    while (left && ref) {
        prev = ref;
        ref = fanout_block(z, ref)->next;
        left--;
    }

    if (prev) {
        fanout_set(z, shm->free, ref);
        fanout_set(z, fanout_block(z, prev)->next, left ? shm->fresh : 0);
    }

    if (left) {
        ref = shm->fresh;

        if (prev == 0) {
            first = ref;
        }

        fanout_set(z, shm->fresh, ref + left);

        /* never used before: no content worth a journal */

        for ( /* void */ ; left > 1; left--, ref++) {
            fanout_block(z, ref)->next = ref + 1;
        }

        fanout_block(z, ref)->next = 0;
        prev = ref;
    }

    z->taken += n;

    fanout_set(z, shm->nfree, shm->nfree - n);
    fanout_set(z, shm->used[kind], shm->used[kind] + n);

    if (last) {
        *last = prev;
    }

    return first;
}


fanout_ref_t
fanout_chain_last(fanout_zone_t *z, fanout_ref_t ref)
{
    while (fanout_block(z, ref)->next) {
        ref = fanout_block(z, ref)->next;
        z->work++;
    }

    return ref;
}


void
fanout_free(fanout_zone_t *z, fanout_ref_t first, fanout_ref_t last,
    uint32_t n, fanout_kind_e kind)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    fanout_set(z, fanout_block(z, last)->next, shm->limbo);

    if (shm->limbo == 0) {
        fanout_set(z, shm->limbo_tail, last);
    }

    fanout_set(z, shm->limbo, first);
    fanout_set(z, shm->nlimbo, shm->nlimbo + n);
    fanout_set(z, shm->used[kind], shm->used[kind] - n);
}


void
fanout_write(fanout_pen_t *pen, const void *src, size_t n)
{
    size_t           part;
    const uint8_t   *p;
    fanout_block_t  *b;

    p = src;

    while (n) {
        if (pen->pos == FANOUT_BLOCK) {
            pen->ref = fanout_block(pen->z, pen->ref)->next;
            pen->pos = sizeof(fanout_ref_t);
            pen->z->work++;
        }

        b = fanout_block(pen->z, pen->ref);

        part = FANOUT_BLOCK - pen->pos;
        if (part > n) {
            part = n;
        }

        memcpy((uint8_t *) b + pen->pos, p, part);

        pen->pos += part;
        p += part;
        n -= part;
    }
}


/* -1 if the chain is not one: only without the lock, in a lost race */

int
fanout_copy(fanout_pen_t *pen, void *dst, size_t n)
{
    size_t           part;
    uint8_t         *p;
    fanout_block_t  *b;

    p = dst;

    while (n) {
        if (pen->pos == FANOUT_BLOCK) {
            pen->ref = *(volatile fanout_ref_t *)
                           &fanout_block(pen->z, pen->ref)->next;
            pen->pos = sizeof(fanout_ref_t);
            pen->z->work++;

            if (pen->left-- == 0) {
                return -1;
            }
        }

        if (pen->ref == 0 || pen->ref >= pen->z->shm->nblocks) {
            return -1;
        }

        b = fanout_block(pen->z, pen->ref);

        part = FANOUT_BLOCK - pen->pos;
        if (part > n) {
            part = n;
        }

        if (p) {
            memcpy(p, (uint8_t *) b + pen->pos, part);
            p += part;
        }

        pen->pos += part;
        n -= part;
    }

    return 0;
}
