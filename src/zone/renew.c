
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Setting another info for a live identity, and reporting its members as
 * updated.
 *
 * Seats are marked before the info is changed, in as many sections as that
 * takes, and their members are reported after it.  If this process dies in
 * between, the process that cleans up meets all its seats, and reports the
 * members that are left.  Members that are leaving are not reported: if they
 * are put again before their leave is appended, FANOUT_ID_RENEWED tells that
 * subscribers may know another info.
 */


#include "zone/identity.h"
#include "zone/seat.h"
#include "zone/share.h"


typedef int (*walk_pt)(fanout_zone_t *z, fanout_ref_t identity,
    fanout_seats_walk_t *at);


static int renew_same(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_zstr_t *info);
static void walk_seats(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_identity_t *id, walk_pt walk);
static int renew(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *info);
static int renew_room(fanout_zone_t *z, fanout_ref_t ref,
    const fanout_identity_t *id, uint32_t n);


int
fanout_identity_renew(fanout_zone_t *z, uint32_t ref,
    const fanout_identity_t *id, const fanout_zstr_t *info)
{
    int  rc;

    if (info->len > FANOUT_ZONE_INFO) {
        return FANOUT_ZONE_LARGE;
    }

    (void) fanout_enter(z);

    rc = FANOUT_ZONE_STALE;

    if (fanout_identity_own(z, ref, id)) {
        rc = renew_same(z, ref, info) ? FANOUT_ZONE_OK
                                      : FANOUT_ZONE_AGAIN;
    }

    fanout_leave(z);

    if (rc != FANOUT_ZONE_AGAIN) {
        return rc;
    }

    /* members are not reported if the renewal can't succeed */

    (void) fanout_enter(z);
    rc = renew_room(z, ref, id, fanout_info_blocks(info->len));
    fanout_leave(z);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    walk_seats(z, ref, id, fanout_seats_mark);

    (void) fanout_enter(z);
    rc = renew(z, ref, id, info);
    fanout_leave(z);

    walk_seats(z, ref, id, fanout_seats_revive);

    return rc;
}


static int
renew_same(fanout_zone_t *z, fanout_ref_t ref, const fanout_zstr_t *info)
{
    uint8_t  buf[FANOUT_ZONE_INFO];

    return fanout_identity_info(z, ref, buf) == info->len
           && (info->len == 0 || memcmp(buf, info->data, info->len) == 0);
}


/* A worker that takes the identity over meanwhile continues with the seats. */

static void
walk_seats(fanout_zone_t *z, fanout_ref_t ref, const fanout_identity_t *id,
    walk_pt walk)
{
    int                  more;
    fanout_seats_walk_t  at;

    memset(&at, 0, sizeof(fanout_seats_walk_t));

    do {
        (void) fanout_enter(z);
        more = fanout_identity_own(z, ref, id) && walk(z, ref, &at);
        fanout_leave(z);

    } while (more);
}


static int
renew(fanout_zone_t *z, fanout_ref_t ref, const fanout_identity_t *id,
    const fanout_zstr_t *info)
{
    int                       rc;
    uint32_t                  n;
    fanout_ref_t              chain;
    fanout_chain_cursor_t     pen;
    fanout_identity_block_t  *e;

    n = fanout_info_blocks(info->len);
    chain = 0;

    if (n) {
        rc = renew_room(z, ref, id, n);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }

        chain = fanout_alloc(z, n, FANOUT_IDENTITIES, NULL);

        pen.z = z;
        pen.ref = chain;
        pen.pos = sizeof(fanout_ref_t);
        fanout_write(&pen, info->data, info->len);
    }

    if (!fanout_identity_own(z, ref, id)) {
        /* only if the new info is empty */
        return FANOUT_ZONE_STALE;
    }

    e = fanout_identity(z, ref);

    fanout_holder_add(z, FANOUT_SHARE_sessions, e->expires,
                      (int32_t) n
                      - (int32_t) fanout_info_blocks(fanout_info_len(e)));

    if (e->info) {
        fanout_free(z, e->info, fanout_chain_last(z, e->info),
                    fanout_info_blocks(fanout_info_len(e)),
                    FANOUT_IDENTITIES);
    }

    fanout_set(z, e->info, chain);
    fanout_set(z, e->info_tries,
               (info->len ? info->len - 1 : 0) + FANOUT_ID_RENEWED
               + fanout_tries(e) * FANOUT_ID_TRY);

    return FANOUT_ZONE_OK;
}


/* Checks again after making room, which may drop the lock. */

static int
renew_room(fanout_zone_t *z, fanout_ref_t ref, const fanout_identity_t *id,
    uint32_t n)
{
    uint32_t  had;

    had = fanout_identity_own(z, ref, id)
          ? fanout_info_blocks(fanout_info_len(fanout_identity(z, ref))) : 0;

    fanout_share_room(z, FANOUT_SHARE_sessions, n);

    if (fanout_ensure(z, n) != FANOUT_ZONE_OK
        || (n > had
            && fanout_share_claim(z, FANOUT_SHARE_sessions, 0, n - had)
               != FANOUT_ZONE_OK))
    {
        return FANOUT_ZONE_FULL;
    }

    return fanout_identity_own(z, ref, id) ? FANOUT_ZONE_OK
                                           : FANOUT_ZONE_STALE;
}
