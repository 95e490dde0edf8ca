
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A member leaves, and is freed when its leave was announced.
 */


#include "heap/list.h"
#include "zone/identity.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/seen.h"
#include "zone/share.h"


const fanout_links_t  fanout_member_links = {
    .next = offsetof(fanout_member_block_t, next)
};


void
fanout_member_leave(fanout_zone_t *z, fanout_ref_t ref, uint8_t reason)
{
    fanout_ref_t              user;
    fanout_seat_t            *s;
    fanout_member_block_t    *m;
    fanout_presence_block_t  *presence;

    m = fanout_member(z, ref);

    if (m->pending == FANOUT_PENDING_LEAVE) {
        return;
    }

    s = fanout_seat(z, m->seat);
    user = fanout_identity(z, s->identity)->user;
    presence = fanout_presence(z, fanout_presence_of(z, s->channel));

    fanout_set(z, presence->members, presence->members - 1);

    if (m->pending == FANOUT_PENDING_JOIN) {
        fanout_set(z, z->shm->cancelled, z->shm->cancelled + 1);
        fanout_pending_clear(z, ref);
        fanout_member_free(z, ref);
        return;
    }

    if (m->pending == FANOUT_PENDING_UPDATE) {
        fanout_set(z, m->flags, m->flags | FANOUT_MEMBER_UNREPORTED);
    }

    if (reason == FANOUT_LEFT_INTENTIONAL) {
        fanout_set(z, m->seen, fanout_wall(z));
    }

    if (presence->seen && user && !(m->flags & FANOUT_MEMBER_ANONYMOUS)) {
        fanout_seen_put(z, s->channel, user, m->seen, presence->seen * 60);
    }

    fanout_set(z, m->reason, reason);
    fanout_pending_set(z, ref, FANOUT_PENDING_LEAVE);
}


/* The info that others see with all members of the seat has changed. */

void
fanout_members_renew(fanout_zone_t *z, fanout_ref_t seat)
{
    uint64_t                wall;
    fanout_ref_t            ref;
    fanout_member_block_t  *m;

    wall = fanout_wall(z);

    for (ref = fanout_seat(z, seat)->members; ref; ref = m->next) {
        m = fanout_member(z, ref);

        if (m->pending || (m->flags & FANOUT_MEMBER_ANONYMOUS)) {
            continue;
        }

        fanout_set(z, m->seen, wall);
        fanout_pending_set(z, ref, FANOUT_PENDING_UPDATE);
    }
}


void
fanout_member_free(fanout_zone_t *z, fanout_ref_t ref)
{
    int32_t                 blocks;
    fanout_ref_t            presence;
    fanout_seat_t          *s;
    fanout_member_block_t  *m;

    m = fanout_member(z, ref);
    s = fanout_seat(z, m->seat);
    blocks = 1 + fanout_member_blocks(m->key_len + m->data_len);

    fanout_list_remove_single(z, &fanout_member_links, &s->members, ref);
    fanout_set(z, z->shm->nmembers, z->shm->nmembers - 1);

    presence = fanout_presence_of(z, s->channel);
    fanout_slot_return(z, presence, m->slot);
    fanout_part_add(z, FANOUT_SHARE_members,
                    fanout_presence(z, presence)->account, -blocks);
    fanout_holder_add(z, FANOUT_SHARE_members, m->holder, -blocks);

    fanout_member_text_free(z, m);
    fanout_free(z, ref, ref, 1, FANOUT_MEMBERS);
}


void
fanout_member_text_free(fanout_zone_t *z, const fanout_member_block_t *m)
{
    if (m->chain) {
        fanout_free(z, m->chain, fanout_chain_last(z, m->chain),
                    fanout_member_blocks(m->key_len + m->data_len),
                    FANOUT_MEMBERS);
    }
}
