
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Makes room for a share: lingering sessions give up what others were promised.
 */


#include "zone/identity.h"
#include "zone/share.h"


void
fanout_share_room(fanout_zone_t *z, unsigned share, uint32_t n)
{
    uint32_t       i;
    fanout_shm_t  *shm;

    shm = z->shm;

    /* each eviction frees at least one block, now or when its leaves are
     * reported */

    for (i = 0; i < n; i++) {

        if (!(share == FANOUT_SHARE_sessions
              && fanout_share_bounded(shm, share, 0, n))
            && !(fanout_share_promised(shm, share, n)
                 && fanout_share_excess(shm,
                                        FANOUT_SHARE_sessions)))
        {
            return;
        }

        if (!fanout_identity_evict(z, FANOUT_RANKS)) {
            return;
        }

        fanout_commit(z);
    }
}
