
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Channels expire: the history of those whose ttl is due, and the channels that
 * were idle for long.
 */


#include "zone/log.h"
#include "zone/share.h"


static int wheel_turn(fanout_zone_t *z, uint32_t now, unsigned *n);


int
fanout_channel_sweep(fanout_zone_t *z)
{
    uint32_t        i, now;
    unsigned        n;
    fanout_ref_t    ref;
    fanout_cold_t  *cold;

    now = fanout_seconds(z);
    n = 0;

    if (wheel_turn(z, now, &n)) {
        return FANOUT_ZONE_AGAIN;
    }

    for (i = 0; i < FANOUT_ACCOUNTS; i++) {

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


/* Expires some channels, and counts them in *n.  Returns 1 if there are
 * more. */

static int
wheel_turn(fanout_zone_t *z, uint32_t now, unsigned *n)
{
    uint32_t       empty;
    fanout_ref_t   ref;
    fanout_shm_t  *shm;

    shm = z->shm;
    empty = 0;

    if (now - shm->wheel_at > FANOUT_WHEEL && now > shm->wheel_at) {
        /* no sweep for a turn or more: each place once is enough */
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
            fanout_channel_wheel_add(z, ref, now);
            fanout_set(z, shm->wheel_at, shm->wheel_at - 1);

        } else {
            fanout_channel_free_unused(z, ref);
        }
    }

    return 0;
}


void
fanout_channel_evict_idle(fanout_zone_t *z, uint32_t account)
{
    fanout_channel_free(z, z->shm->idle_first[account]);
}
