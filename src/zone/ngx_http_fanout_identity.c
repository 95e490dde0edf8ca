
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Identities: sessions that live or may come back.  A live one is in the
 * list of its worker's slot; when its connection is lost it lingers in the
 * list of all that do, until it is resumed or too old.
 *
 * When a resume takes a client over from a worker where it is still live,
 * that worker is told by a block of state REPLACED in its slot's list.
 */


#include "ngx_http_fanout_heap.h"


static int own(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    const ngx_http_fanout_identity_t *id);
static fanout_ref_t find(ngx_http_fanout_zone_t *z, uint64_t client);
static void hash_remove(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static void link_live(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    unsigned slot);
static void unlink_live(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static void link_lingering(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    uint32_t linger);
static void unlink_lingering(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static void forget(ngx_http_fanout_zone_t *z, fanout_ref_t ref);
static void replace(ngx_http_fanout_zone_t *z,
    unsigned slot, uint64_t client);


int
ngx_http_fanout_identity_add(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_identity_t *id, uint32_t *refp)
{
    fanout_ref_t        ref, *bucket;
    fanout_identity_t  *e;

    *refp = 0;

    if (z->slot == -1) {
        return NGX_HTTP_FANOUT_ZONE_FULL;
    }

    (void) fanout_enter(z);

    if (fanout_ensure(z, 1) != NGX_HTTP_FANOUT_ZONE_OK) {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_FULL;
    }

    ref = fanout_alloc(z, 1, FANOUT_IDENTITIES, NULL);
    e = fanout_identity(z, ref);

    memset((uint8_t *) e + 4, 0, sizeof(fanout_identity_t) - 4);

    e->client = id->client;
    e->user = id->user;
    memcpy(e->secret, id->secret, sizeof(e->secret));

    bucket = &fanout_table(z, identity_hash)[id->client
                                             & z->shm->identity_mask];
    fanout_set(z, e->hash_next, *bucket);
    fanout_set(z, *bucket, ref);
    fanout_set(z, z->shm->nidentities, z->shm->nidentities + 1);

    link_live(z, ref, z->slot);

    fanout_leave(z);

    *refp = ref;

    return NGX_HTTP_FANOUT_ZONE_OK;
}


int
ngx_http_fanout_identity_resume(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_identity_t *id, const uint8_t *next,
    uint32_t *refp)
{
    unsigned            i, differ;
    uint64_t            secret[2];
    fanout_ref_t        ref;
    const uint8_t      *a;
    fanout_identity_t  *e;

    *refp = 0;

    if (z->slot == -1) {
        return NGX_HTTP_FANOUT_ZONE_NOTFOUND;
    }

    (void) fanout_enter(z);

    ref = find(z, id->client);

    if (ref == 0) {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_NOTFOUND;
    }

    e = fanout_identity(z, ref);

    /* to tell the other worker; a live one is not taken to make room */

    if (e->state == FANOUT_ID_LIVE
        && fanout_ensure(z, 1) != NGX_HTTP_FANOUT_ZONE_OK)
    {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_FULL;
    }

    /* in constant time */

    a = (const uint8_t *) e->secret;
    differ = (e->user != id->user);

    for (i = 0; i < sizeof(e->secret); i++) {
        differ |= a[i] ^ id->secret[i];
    }

    if (differ || (e->state == FANOUT_ID_LINGERS
                   && e->expires < fanout_seconds(z)))
    {
        fanout_leave(z);
        return NGX_HTTP_FANOUT_ZONE_NOTFOUND;
    }

    if (e->state == FANOUT_ID_LIVE) {
        if (z->shm->slots[e->slot].state == FANOUT_SLOT_LIVE) {
            replace(z, e->slot, e->client);
        }

        unlink_live(z, ref);

    } else {
        unlink_lingering(z, ref);
    }

    memcpy(secret, next, sizeof(secret));
    fanout_set(z, e->secret[0], secret[0]);
    fanout_set(z, e->secret[1], secret[1]);

    link_live(z, ref, z->slot);

    fanout_leave(z);

    *refp = ref;

    return NGX_HTTP_FANOUT_ZONE_OK;
}


void
ngx_http_fanout_identity_end(ngx_http_fanout_zone_t *z, uint32_t ref,
    const ngx_http_fanout_identity_t *id, uint32_t linger)
{
    (void) fanout_enter(z);

    if (own(z, ref, id)) {
        unlink_live(z, ref);

        if (linger) {
            link_lingering(z, ref, linger);

        } else {
            forget(z, ref);
        }
    }

    fanout_leave(z);
}


int
ngx_http_fanout_identity_lost(ngx_http_fanout_zone_t *z, uint32_t ref,
    const ngx_http_fanout_identity_t *id)
{
    int  lost;

    (void) fanout_enter(z);
    lost = !own(z, ref, id);
    fanout_leave(z);

    return lost;
}


/* not if it was taken over, or the zone rebuilt */

static int
own(ngx_http_fanout_zone_t *z, fanout_ref_t ref,
    const ngx_http_fanout_identity_t *id)
{
    fanout_identity_t  *e;

    if (ref == 0 || find(z, id->client) != ref) {
        return 0;
    }

    e = fanout_identity(z, ref);

    return e->state == FANOUT_ID_LIVE && (int) e->slot == z->slot
           && memcmp(e->secret, id->secret, sizeof(e->secret)) == 0;
}


unsigned
ngx_http_fanout_identity_replaced(ngx_http_fanout_zone_t *z,
    uint64_t *clients, unsigned max)
{
    unsigned            n;
    fanout_ref_t        ref;
    fanout_slot_t      *slot;
    fanout_identity_t  *e;

    if (z->slot == -1) {
        return 0;
    }

    slot = &z->shm->slots[z->slot];

    if (slot->replaced == 0) {
        return 0;
    }

    (void) fanout_enter(z);

    for (n = 0; n < max && n < FANOUT_STEP && slot->replaced; n++) {
        ref = slot->replaced;
        e = fanout_identity(z, ref);
        clients[n] = e->client;

        fanout_set(z, slot->replaced, e->next);
        fanout_free(z, ref, ref, 1, FANOUT_IDENTITIES);
    }

    fanout_leave(z);

    return n;
}


int
fanout_identity_orphan(ngx_http_fanout_zone_t *z, unsigned n,
    uint32_t linger)
{
    unsigned            i;
    fanout_ref_t        ref;
    fanout_slot_t      *slot;

    slot = &z->shm->slots[n];

    for (i = 0; slot->identities && i < FANOUT_STEP; i++) {
        ref = slot->identities;
        unlink_live(z, ref);

        if (linger) {
            link_lingering(z, ref, linger);

        } else {
            forget(z, ref);
        }
    }

    for ( /* void */ ; slot->replaced && i < FANOUT_STEP; i++) {
        ref = slot->replaced;
        fanout_set(z, slot->replaced, fanout_identity(z, ref)->next);
        fanout_free(z, ref, ref, 1, FANOUT_IDENTITIES);
    }

    return slot->identities || slot->replaced;
}


int
fanout_identity_sweep(ngx_http_fanout_zone_t *z)
{
    uint32_t       now;
    unsigned       n;
    fanout_ref_t   ref;

    now = fanout_seconds(z);

    for (n = 0; (ref = z->shm->lingering_first) != 0; n++) {
        if (fanout_identity(z, ref)->expires >= now) {
            break;
        }

        if (n == FANOUT_STEP) {
            return NGX_HTTP_FANOUT_ZONE_AGAIN;
        }

        unlink_lingering(z, ref);
        forget(z, ref);
    }

    return NGX_HTTP_FANOUT_ZONE_OK;
}


int
fanout_identity_evict(ngx_http_fanout_zone_t *z)
{
    fanout_ref_t  ref;

    ref = z->shm->lingering_first;

    if (ref == 0) {
        return 0;
    }

    unlink_lingering(z, ref);
    forget(z, ref);

    return 1;
}


static fanout_ref_t
find(ngx_http_fanout_zone_t *z, uint64_t client)
{
    fanout_ref_t  ref;

    ref = fanout_table(z, identity_hash)[client & z->shm->identity_mask];

    while (ref && fanout_identity(z, ref)->client != client) {
        ref = fanout_identity(z, ref)->hash_next;
    }

    return ref;
}


static void
hash_remove(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_ref_t       *link;
    fanout_identity_t  *e;

    e = fanout_identity(z, ref);
    link = &fanout_table(z, identity_hash)[e->client
                                           & z->shm->identity_mask];

    while (*link != ref) {
        link = &fanout_identity(z, *link)->hash_next;
    }

    fanout_set(z, *link, e->hash_next);
}


static void
forget(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    hash_remove(z, ref);
    fanout_set(z, z->shm->nidentities, z->shm->nidentities - 1);
    fanout_free(z, ref, ref, 1, FANOUT_IDENTITIES);
}


static void
link_live(ngx_http_fanout_zone_t *z, fanout_ref_t ref, unsigned slot)
{
    fanout_ref_t       *head;
    fanout_identity_t  *e;

    e = fanout_identity(z, ref);
    head = &z->shm->slots[slot].identities;

    fanout_set(z, e->next, *head);
    fanout_set(z, e->prev, 0);

    if (*head) {
        fanout_set(z, fanout_identity(z, *head)->prev, ref);
    }

    fanout_set(z, *head, ref);
    fanout_set(z, e->slot, slot);
    fanout_set(z, e->state, FANOUT_ID_LIVE);
}


static void
unlink_live(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_identity_t  *e;

    e = fanout_identity(z, ref);

    if (e->next) {
        fanout_set(z, fanout_identity(z, e->next)->prev, e->prev);
    }

    if (e->prev) {
        fanout_set(z, fanout_identity(z, e->prev)->next, e->next);

    } else {
        fanout_set(z, z->shm->slots[e->slot].identities, e->next);
    }
}


static void
link_lingering(ngx_http_fanout_zone_t *z, fanout_ref_t ref, uint32_t linger)
{
    fanout_shm_t       *shm;
    fanout_identity_t  *e;

    shm = z->shm;
    e = fanout_identity(z, ref);

    fanout_set(z, e->next, 0);
    fanout_set(z, e->prev, shm->lingering_last);

    if (shm->lingering_last) {
        fanout_set(z, fanout_identity(z, shm->lingering_last)->next, ref);

    } else {
        fanout_set(z, shm->lingering_first, ref);
    }

    fanout_set(z, shm->lingering_last, ref);
    fanout_set(z, shm->nlingering, shm->nlingering + 1);
    fanout_set(z, e->expires, fanout_seconds(z) + (linger + 999) / 1000);
    fanout_set(z, e->state, FANOUT_ID_LINGERS);
}


static void
unlink_lingering(ngx_http_fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t       *shm;
    fanout_identity_t  *e;

    shm = z->shm;
    e = fanout_identity(z, ref);

    if (e->next) {
        fanout_set(z, fanout_identity(z, e->next)->prev, e->prev);

    } else {
        fanout_set(z, shm->lingering_last, e->prev);
    }

    if (e->prev) {
        fanout_set(z, fanout_identity(z, e->prev)->next, e->next);

    } else {
        fanout_set(z, shm->lingering_first, e->next);
    }

    fanout_set(z, shm->nlingering, shm->nlingering - 1);
}


static void
replace(ngx_http_fanout_zone_t *z, unsigned slot, uint64_t client)
{
    fanout_ref_t        ref;
    fanout_slot_t      *s;
    fanout_identity_t  *e;

    s = &z->shm->slots[slot];
    ref = fanout_alloc(z, 1, FANOUT_IDENTITIES, NULL);
    e = fanout_identity(z, ref);

    memset((uint8_t *) e + 4, 0, sizeof(fanout_identity_t) - 4);

    fanout_set(z, e->hash_next, 0);
    e->client = client;
    e->slot = slot;
    e->state = FANOUT_ID_REPLACED;
    e->next = s->replaced;

    fanout_set(z, s->replaced, ref);
    fanout_notify(z, slot);
}


int
ngx_http_fanout_identity_known(ngx_http_fanout_zone_t *z,
    const ngx_http_fanout_identity_t *id)
{
    unsigned            i, differ;
    fanout_ref_t        ref;
    const uint8_t      *a;
    fanout_identity_t  *e;

    (void) fanout_enter(z);

    differ = 1;
    ref = find(z, id->client);

    if (ref) {
        e = fanout_identity(z, ref);
        a = (const uint8_t *) e->secret;

        differ = (e->user != id->user)
                 || (e->state == FANOUT_ID_LINGERS
                     && e->expires < fanout_seconds(z));

        /* in constant time */

        for (i = 0; i < sizeof(e->secret); i++) {
            differ |= a[i] ^ id->secret[i];
        }
    }

    fanout_leave(z);

    return !differ;
}
