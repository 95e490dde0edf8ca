
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Changes of members that no entry of the channel's log has announced yet.
 *
 * A member's change is pending from the transaction that made it until the one
 * that appends an entry about it to the channel's log.  So subscribers know,
 * after the last entry, the members without a pending join.  A member with a
 * pending leave is kept until the leave is appended, with everything that its
 * entry needs.
 */


#include "heap/list.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


static void presence_flush_settle(fanout_zone_t *z, fanout_ref_t ref);


static const fanout_links_t  pending_links = {
    .next = offsetof(fanout_member_block_t, pend_next),
    .prev = offsetof(fanout_member_block_t, pend_prev)
};


void
fanout_pending_set(fanout_zone_t *z, fanout_ref_t member, uint8_t pending)
{
    fanout_ref_t              ref;
    fanout_member_block_t    *m;
    fanout_presence_block_t  *presence;

    m = fanout_member(z, member);

    if (m->pending == 0) {
        ref = fanout_presence_of(z, fanout_seat(z, m->seat)->channel);
        presence = fanout_presence(z, ref);

        fanout_list_append(z, &pending_links, &presence->pend_head,
                           &presence->pend_tail, member, FANOUT_OLD_RECORD);
        fanout_set(z, presence->npending, presence->npending + 1);
        fanout_presence_list(z, ref);
    }

    fanout_set(z, m->pending, pending);
}


void
fanout_pending_clear(fanout_zone_t *z, fanout_ref_t member)
{
    fanout_ref_t              ref;
    fanout_member_block_t    *m;
    fanout_presence_block_t  *presence;

    m = fanout_member(z, member);
    ref = fanout_presence_of(z, fanout_seat(z, m->seat)->channel);
    presence = fanout_presence(z, ref);

    fanout_list_remove(z, &pending_links, &presence->pend_head,
                       &presence->pend_tail, member);
    fanout_set(z, presence->npending, presence->npending - 1);
    fanout_set(z, m->pending, 0);

    presence_flush_settle(z, ref);
}


/* Removes the presence set from the wheel if nothing is pending. */

static void
presence_flush_settle(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);

    if (presence->pend_head == 0
        && !(presence->flags & FANOUT_PRESENCE_COUNT))
    {
        fanout_presence_unlist(z, ref);
    }
}


void
fanout_presence_count(fanout_zone_t *z, fanout_ref_t ref, int n)
{
    fanout_presence_block_t  *presence;

    presence = fanout_presence(z, ref);

    fanout_set(z, presence->members, presence->members + n);

    if (!(presence->flags & FANOUT_PRESENCE_COUNT)) {
        fanout_set(z, presence->flags, presence->flags | FANOUT_PRESENCE_COUNT);
        fanout_presence_list(z, ref);
    }
}
