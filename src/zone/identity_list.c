
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Reading about identities.
 */


#include "zone/identity.h"
#include "zone/log.h"
#include "zone/seat.h"


int
fanout_client_get(fanout_zone_t *z, uint64_t client,
    fanout_zone_client_t *info, uint8_t *buf)
{
    fanout_ref_t              ref, seat;
    fanout_identity_block_t  *e;

    (void) fanout_enter(z);

    ref = fanout_identity_find(z, client);

    if (ref == 0 || fanout_identity(z, ref)->state == FANOUT_ID_ENDED) {
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    e = fanout_identity(z, ref);

    info->client = client;
    info->user.data = buf;
    info->user.len = fanout_user_name(z, e->user, buf);
    info->info.data = buf + info->user.len;
    info->info.len = fanout_identity_info(z, ref, buf + info->user.len);
    info->pid = e->state == FANOUT_ID_LIVE ? z->shm->slots[e->slot].pid : 0;
    info->seats = 0;

    for (seat = e->seats; seat; seat = fanout_seat(z, seat)->id_next) {
        info->seats += fanout_seat(z, seat)->state != FANOUT_SEAT_GONE;
    }

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


int
fanout_client_channels(fanout_zone_t *z, uint64_t client, uint32_t *cursor,
    uint8_t names[][256], uint8_t *lens, unsigned max, unsigned *n)
{
    uint32_t            i;
    fanout_ref_t        ref, seat;
    fanout_seat_t      *s;

    *n = 0;

    (void) fanout_enter(z);

    ref = fanout_identity_find(z, client);

    if (ref == 0 || fanout_identity(z, ref)->state == FANOUT_ID_ENDED) {
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    i = 0;

    for (seat = fanout_identity(z, ref)->seats; seat; seat = s->id_next) {
        s = fanout_seat(z, seat);

        if (s->state == FANOUT_SEAT_GONE || i++ < *cursor) {
            continue;
        }

        if (*n == max) {
            break;
        }

        lens[*n] = fanout_channel_name(z, s->channel, names[*n]);
        (*n)++;
    }

    *cursor = seat ? *cursor + *n : 0;

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}


int
fanout_user_clients(fanout_zone_t *z, uint64_t user, uint64_t *cursor,
    uint64_t *clients, unsigned max, unsigned *n)
{
    unsigned                  looked;
    fanout_ref_t              ref, from;
    fanout_user_t            *u;
    fanout_identity_block_t  *e;

    *n = 0;

    (void) fanout_enter(z);

    ref = user ? fanout_user_find(z, user) : 0;

    if (ref == 0) {
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    u = fanout_user(z, ref);
    from = *cursor ? fanout_identity_find(z, *cursor) : 0;

    /* the client at the cursor is gone: start again */

    ref = (from && fanout_identity(z, from)->user == ref)
          ? fanout_identity(z, from)->user_next : u->identities;

    *cursor = 0;

    for (looked = 0; ref && looked < 256; looked++) {
        e = fanout_identity(z, ref);

        if (e->state != FANOUT_ID_ENDED) {
            if (*n == max) {
                break;
            }

            clients[(*n)++] = e->client;
        }

        *cursor = e->client;
        ref = e->user_next;
    }

    if (ref == 0) {
        *cursor = 0;
    }

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}
