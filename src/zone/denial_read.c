
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Denials: whom they concern, and lists of them.
 */


#include "zone/denial_block.h"


/* buckets that a section looks at */
#define FANOUT_DENIAL_LOOKS  4096


static int denial_of(fanout_zone_t *z, unsigned kind, uint64_t key,
    const fanout_subject_t *who, fanout_denial_t *d);
static int denial_copy(fanout_zone_t *z, fanout_ref_t ref,
    fanout_denial_t *d);
static void denial_name(fanout_zone_t *z, fanout_ref_t ref,
    fanout_denial_t *d, uint8_t *buf);


int
fanout_denial_check(fanout_zone_t *z, const fanout_subject_t *who,
    fanout_denial_t *d)
{
    int  denied;

    if (__atomic_load_n(&z->shm->ndenials, __ATOMIC_SEQ_CST) == 0) {
        return 0;
    }

    (void) fanout_enter(z);

    denied = denial_of(z, FANOUT_DENY_ADDRESS, who->address, who, d)
             || denial_of(z, FANOUT_DENY_USER, who->user, who, d)
             || denial_of(z, FANOUT_DENY_CLIENT, who->client, who, d)
             || denial_of(z, FANOUT_DENY_TOKEN, who->token, who, d)
             || denial_of(z, FANOUT_DENY_ISSUED, who->user, who, d);

    fanout_leave(z);

    return denied;
}


int
fanout_denial_stale(fanout_zone_t *z, const fanout_subject_t *who,
    fanout_denial_t *d)
{
    int  stale;

    if (__atomic_load_n(&z->shm->ndenials, __ATOMIC_SEQ_CST) == 0) {
        return 0;
    }

    (void) fanout_enter(z);
    stale = denial_of(z, FANOUT_DENY_RENEW, who->user, who, d);
    fanout_leave(z);

    return stale;
}


static int
denial_of(fanout_zone_t *z, unsigned kind, uint64_t key,
    const fanout_subject_t *who, fanout_denial_t *d)
{
    fanout_ref_t  ref;

    ref = key ? fanout_denial_find(z, kind, key) : 0;

    return ref && denial_copy(z, ref, d) && fanout_denial_concerns(d, who);
}


int
fanout_denial_concerns(const fanout_denial_t *d, const fanout_subject_t *who)
{
    switch (d->kind) {

    case FANOUT_DENY_USER:
        return d->key == who->user;

    case FANOUT_DENY_CLIENT:
        return d->key == who->client;

    case FANOUT_DENY_ADDRESS:
        return d->key == who->address;

    case FANOUT_DENY_TOKEN:
        return d->key == who->token;

    case FANOUT_DENY_ISSUED:
        return d->key == who->user && who->tokened && who->issued < d->value;

    default: /* FANOUT_DENY_RENEW */
        return d->key == who->user && who->change < d->change;
    }
}


/* 0: its time is over */

static int
denial_copy(fanout_zone_t *z, fanout_ref_t ref, fanout_denial_t *d)
{
    uint32_t                now;
    fanout_denial_block_t  *b;

    now = fanout_seconds(z);
    b = fanout_denial(z, ref);

    memset(d, 0, sizeof(fanout_denial_t));

    d->key = b->key;
    d->until = b->until;
    d->change = b->change;
    d->value = b->value;
    d->kind = b->kind;
    d->left = b->due > now ? b->due - now : 0;

    return d->left != 0;
}


int
fanout_denial_since(fanout_zone_t *z, uint64_t after, fanout_denial_t *d,
    unsigned max, uint64_t *last)
{
    unsigned       n, looked;
    fanout_ref_t   ref;

    (void) fanout_enter(z);

    *last = z->shm->denial_change;
    n = looked = 0;
    ref = z->shm->denial_last;

    while (ref && fanout_denial(z, ref)->change > after && looked < max) {
        n += denial_copy(z, ref, &d[n]);
        ref = fanout_denial(z, ref)->prev;
        looked++;
    }

    fanout_leave(z);

    return looked == max ? -1 : (int) n;
}


int
fanout_denial_get(fanout_zone_t *z, unsigned kind, uint64_t key,
    fanout_denial_t *d, uint8_t *buf)
{
    int           rc;
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_NOTFOUND;
    ref = fanout_denial_find(z, kind, key);

    if (ref && denial_copy(z, ref, d)) {
        denial_name(z, ref, d, buf);
        rc = FANOUT_ZONE_OK;
    }

    fanout_leave(z);

    return rc;
}


static void
denial_name(fanout_zone_t *z, fanout_ref_t ref, fanout_denial_t *d,
    uint8_t *buf)
{
    fanout_chain_cursor_t   pen;
    fanout_denial_block_t  *b;

    b = fanout_denial(z, ref);

    pen.z = z;
    pen.ref = b->name;
    pen.pos = sizeof(fanout_ref_t);
    pen.left = fanout_denial_blocks(b->name_len);
    (void) fanout_copy(&pen, buf, b->name_len);

    d->name.data = buf;
    d->name.len = b->name_len;
}


/* The cursor is the next bucket, which is listed whole: what a bucket has
 * beyond max is left out. */

unsigned
fanout_denial_list(fanout_zone_t *z, uint64_t *cursor, fanout_denial_t *d,
    unsigned max, uint8_t *buf)
{
    unsigned      n, before, looked;
    uint64_t      i;
    fanout_ref_t  ref;

    (void) fanout_enter(z);

    n = 0;
    i = *cursor;

    for (looked = 0; i <= z->shm->denial_mask
                     && looked < FANOUT_DENIAL_LOOKS; looked++)
    {
        before = n;
        ref = fanout_hash_table(z, denial_hash)[i];

        for ( /* void */ ; ref && n < max;
             ref = fanout_denial(z, ref)->hash_next)
        {
            if (denial_copy(z, ref, &d[n]) && d[n].kind != FANOUT_DENY_RENEW) {
                denial_name(z, ref, &d[n], buf + n * 255);
                n++;
            }
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

    *cursor = i > z->shm->denial_mask ? 0 : i;

    fanout_leave(z);

    return n;
}
