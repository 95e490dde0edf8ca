
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Invariants of identities, users, seats, members and presence sets.
 */


#include "zone/verify.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/seen.h"


/* members that were met in a presence set */

typedef struct {
    fanout_ref_t         channel;
    uint32_t             n;
} set_t;


static int verify_lingering(walk_t *w, unsigned rank, uint32_t *n);
static int verify_identity(walk_t *w, fanout_ref_t ref);
static int verify_users(walk_t *w);
static int presence_verify_user(walk_t *w, fanout_ref_t ref);
static int verify_seat(walk_t *w, fanout_ref_t ref);
static void count_part(walk_t *w, fanout_ref_t presence, uint32_t n);
static int verify_member(walk_t *w, fanout_ref_t ref, fanout_ref_t seat);
static int verify_seats_of(walk_t *w);
static int verify_wheel(walk_t *w);
static int presence_verify_set(walk_t *w, fanout_ref_t channel);
static int verify_slot_member(walk_t *w, fanout_ref_t ref, uint32_t slot,
    void *data);
static int verify_pending(walk_t *w, fanout_ref_t ref);
static int verify_listed(walk_t *w);


int
fanout_verify_identities(walk_t *w)
{
    uint32_t                  n;
    uint64_t                  i;
    fanout_ref_t              ref;
    fanout_identity_block_t  *id;

    for (n = 0, i = 0; i < FANOUT_RANKS; i++) {
        try (verify_lingering(w, i, &n));
    }

    must(w, n == w->shm->nlingering);

    for (n = 0, i = 0; i <= w->shm->identity_mask; i++) {
        ref = fanout_hash_table(w->z, identity_hash)[i];

        for ( /* void */ ; ref; ref = id->hash_next) {
            id = fanout_identity(w->z, ref);

            if (id->state == FANOUT_ID_ENDED) {
                try (meet(w, ref, SEEN_IDENTITY, 0));
                must_of(w, ref, id->seats);
                w->used[FANOUT_IDENTITIES]++;
                w->identities++;
            }

            must_of(w, ref, met(w, ref, SEEN_IDENTITY));
            must_of(w, ref, !w->marks[ref].listed);
            w->marks[ref].listed = 1;
            must_of(w, ref, (id->client & w->shm->identity_mask) == i);
            try (verify_identity(w, ref));
            n++;
        }
    }

    must(w, n == w->identities && n == w->shm->nidentities);

    return verify_users(w);
}


static int
verify_lingering(walk_t *w, unsigned rank, uint32_t *n)
{
    uint32_t                  i, early;
    fanout_ref_t              ref, prev;
    fanout_identity_block_t  *id;

    for (i = 0; i < FANOUT_SEATS_WHEEL; i++) {
        early = (i - w->shm->lingering_at) % FANOUT_SEATS_WHEEL;
        prev = 0;

        for (ref = w->shm->lingering[rank][i]; ref; ref = id->next) {
            try (meet(w, ref, SEEN_IDENTITY, 0));
            id = fanout_identity(w->z, ref);
            must_of(w, ref, id->state == FANOUT_ID_LINGERS + rank
                            && id->prev == prev && id->slot == i);
            must_of(w, ref, rank == FANOUT_RANK_UNHEARD
                            || (rank == FANOUT_RANK_NAMED)
                               == (id->user != 0));
            must_of(w, ref, early == 1 || (early && id->expires
                                           >= w->shm->lingering_at + early
                                              - 1));
            w->used[FANOUT_IDENTITIES]++;
            w->identities++;
            prev = ref;
            (*n)++;
        }
    }

    return 0;
}


static int
verify_identity(walk_t *w, fanout_ref_t ref)
{
    fanout_identity_block_t  *id;

    id = fanout_identity(w->z, ref);

    must_of(w, ref, (id->info == 0) == (fanout_info_len(id) == 0));

    if (id->state == FANOUT_ID_LIVE) {
        must_of(w, ref, id->expires <= w->shm->holder_mask);
        w->holders[id->expires].sessions +=
            1 + (fanout_info_len(id) + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD;
    }

    if (id->info) {
        try (meet(w, id->info, SEEN_REST, ref));
        try (meet_rest(w, id->info, 0,
                       (fanout_info_len(id) + FANOUT_PAYLOAD - 1)
                       / FANOUT_PAYLOAD,
                       FANOUT_IDENTITIES));
    }

    w->users += (id->user != 0);

    return 0;
}


static int
verify_users(walk_t *w)
{
    uint32_t        n;
    uint64_t        i;
    fanout_ref_t    ref;
    fanout_user_t  *u;

    for (n = 0, i = 0; i <= w->shm->identity_mask; i++) {
        ref = fanout_hash_table(w->z, user_hash)[i];

        for ( /* void */ ; ref; ref = u->hash_next) {
            try (meet(w, ref, SEEN_USER, 0));
            u = fanout_user(w->z, ref);
            must_of(w, ref, (u->hash & w->shm->identity_mask) == i);
            try (meet_rest(w, ref, 0, fanout_user_blocks(u->name_len),
                           FANOUT_IDENTITIES));
            try (presence_verify_user(w, ref));
            n++;
        }
    }

    must(w, n == w->shm->nusers);
    must(w, w->users == 0);

    return 0;
}


static int
presence_verify_user(walk_t *w, fanout_ref_t ref)
{
    uint32_t                  n;
    fanout_ref_t              i, prev;
    fanout_identity_block_t  *id;

    n = prev = 0;

    for (i = fanout_user(w->z, ref)->identities; i; i = id->user_next) {
        must_of(w, i, met(w, i, SEEN_IDENTITY));
        id = fanout_identity(w->z, i);
        must_of(w, i, id->user == ref && id->user_prev == prev);
        prev = i;
        n++;
        w->users--;
    }

    must_of(w, ref, n && n == fanout_user(w->z, ref)->n);

    return 0;
}


/* seats */

int
fanout_verify_seats(walk_t *w)
{
    uint64_t        i;
    fanout_ref_t    ref;
    fanout_seat_t  *s;

    for (i = 0; i <= w->shm->seat_mask; i++) {
        ref = fanout_hash_table(w->z, seat_hash)[i];

        for ( /* void */ ; ref; ref = s->hash_next) {
            try (meet(w, ref, SEEN_SEAT, 0));
            w->used[FANOUT_SEATS]++;
            w->seats++;
            s = fanout_seat(w->z, ref);
            must_of(w, ref, fanout_seat_bucket(w->z, s->channel, s->client)
                            == i);
            try (verify_seat(w, ref));
        }
    }

    must(w, w->seats == w->shm->nseats);
    must(w, w->lingering == w->shm->nseats_lingering);
    must(w, w->members == w->shm->nmembers);

    try (verify_seats_of(w));

    return verify_wheel(w);
}


static int
verify_seat(walk_t *w, fanout_ref_t ref)
{
    fanout_ref_t    m, presence;
    fanout_seat_t  *s;

    s = fanout_seat(w->z, ref);

    try (fanout_verify_claims(w, ref));

    must_of(w, ref, met(w, s->channel, SEEN_CHANNEL));
    must_of(w, ref, met(w, s->identity, SEEN_IDENTITY));
    must_of(w, ref, fanout_identity(w->z, s->identity)->client == s->client);

    presence = fanout_presence_of(w->z, s->channel);
    must_of(w, ref, presence && presence < w->shm->heap.fresh);

    must_of(w, ref, s->state >= FANOUT_SEAT_LIVE
                    && s->state <= FANOUT_SEAT_GONE);
    must_of(w, ref, s->state != FANOUT_SEAT_GONE
                    || (s->members && !(s->flags & FANOUT_SEAT_COUNTED)
                        && s->nmail == 0));
    must_of(w, ref, fanout_identity(w->z, s->identity)->state
                    != FANOUT_ID_ENDED
                    || s->state == FANOUT_SEAT_GONE);

    w->marks[presence].seats += (s->state != FANOUT_SEAT_GONE);
    w->marks[presence].counted += s->flags & FANOUT_SEAT_COUNTED;

    must_of(w, ref, s->flags <= (FANOUT_SEAT_COUNTED|FANOUT_SEAT_INTENT
                                 |FANOUT_SEAT_RENEWED|FANOUT_SEAT_DOUBTS)
                    && (!(s->flags & FANOUT_SEAT_INTENT)
                        || s->state == FANOUT_SEAT_LINGERS));
    w->lingering += (s->state == FANOUT_SEAT_LINGERS);

    if (s->state == FANOUT_SEAT_LIVE) {
        must_of(w, ref, s->due <= w->shm->holder_mask);
        w->holders[s->due].sessions++;
    }

    for (m = s->members; m; m = fanout_member(w->z, m)->next) {
        try (verify_member(w, m, ref));
    }

    return 0;
}


/* in the account that the presence set counts in */

static void
count_part(walk_t *w, fanout_ref_t presence, uint32_t n)
{
    w->part[FANOUT_SHARE_members]
           [fanout_presence(w->z, presence)->account] += n;
}


static int
verify_member(walk_t *w, fanout_ref_t ref, fanout_ref_t seat)
{
    size_t                  len;
    uint32_t                n;
    fanout_ref_t            presence;
    fanout_seat_t          *s;
    fanout_member_block_t  *m;

    try (meet(w, ref, SEEN_MEMBER, seat));

    m = fanout_member(w->z, ref);
    s = fanout_seat(w->z, seat);
    presence = fanout_presence_of(w->z, s->channel);
    len = m->key_len + m->data_len;

    w->used[FANOUT_MEMBERS]++;
    w->members++;

    must_of(w, ref, m->seat == seat && m->pending <= FANOUT_PENDING_LEAVE);
    must_of(w, ref, s->state != FANOUT_SEAT_GONE
                    || m->pending == FANOUT_PENDING_LEAVE);
    must_of(w, ref, (m->chain != 0) == (len > FANOUT_MEMBER_SHORT));

    if (m->chain) {
        try (meet(w, m->chain, SEEN_REST, ref));
        try (meet_rest(w, m->chain, 0,
                       (len + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD,
                       FANOUT_MEMBERS));
    }

    n = 1 + (m->chain ? (len + FANOUT_PAYLOAD - 1) / FANOUT_PAYLOAD : 0);
    count_part(w, presence, n);

    must_of(w, ref, m->holder <= w->shm->holder_mask);
    w->holders[m->holder].members += n;

    w->marks[presence].n++;
    w->marks[presence].pending += (m->pending != 0);
    w->marks[presence].leaving += (m->pending == FANOUT_PENDING_LEAVE);

    return 0;
}


/* by identity */

static int
verify_seats_of(walk_t *w)
{
    uint32_t                  n;
    uint64_t                  i;
    unsigned                  gone;
    fanout_ref_t              ref, seat, prev;
    fanout_seat_t            *s;
    fanout_identity_block_t  *id;

    for (n = 0, i = 0; i <= w->shm->identity_mask; i++) {
        ref = fanout_hash_table(w->z, identity_hash)[i];

        for ( /* void */ ; ref; ref = id->hash_next) {
            id = fanout_identity(w->z, ref);
            prev = gone = 0;

            for (seat = id->seats; seat; seat = s->id_next) {
                must_of(w, seat, met(w, seat, SEEN_SEAT));
                s = fanout_seat(w->z, seat);
                must_of(w, seat, s->identity == ref);
                must_of(w, seat, prev == 0 || s->id_prev == prev);
                must_of(w, seat, !gone || s->state == FANOUT_SEAT_GONE);
                gone = (s->state == FANOUT_SEAT_GONE);
                prev = seat;
                must(w, n++ < w->seats);
            }

            must_of(w, ref, prev == 0
                            || fanout_seat(w->z, id->seats)->id_prev == prev);
        }
    }

    must(w, n == w->seats);

    return 0;
}


static int
verify_wheel(walk_t *w)
{
    uint32_t        n;
    unsigned        i;
    fanout_ref_t    ref, prev;
    fanout_seat_t  *s;

    for (n = 0, i = 0; i < FANOUT_SEATS_WHEEL; i++) {
        prev = 0;

        for (ref = w->shm->seats[i]; ref; ref = s->due_next) {
            must_of(w, ref, met(w, ref, SEEN_SEAT) && n++ < w->lingering);
            s = fanout_seat(w->z, ref);
            must_of(w, ref, s->state == FANOUT_SEAT_LINGERS);
            must_of(w, ref, s->due_prev == prev && s->due_at == i);
            prev = ref;
        }
    }

    must(w, n == w->lingering);

    return 0;
}


/* presence sets */

int
fanout_verify_presence(walk_t *w)
{
    uint64_t                 i;
    fanout_ref_t             ref;
    fanout_channel_block_t  *ch;

    for (i = 0; i <= w->shm->channel_mask; i++) {
        ref = fanout_hash_table(w->z, channel_hash)[i];

        for ( /* void */ ; ref; ref = ch->hash_next) {
            ch = fanout_channel(w->z, ref);

            if (fanout_name(w->z, ch)->presence) {
                try (presence_verify_set(w, ref));
            }
        }
    }

    return verify_listed(w);
}


static int
presence_verify_set(walk_t *w, fanout_ref_t channel)
{
    set_t                     set;
    mark_t                   *mark;
    uint32_t                  tables, listed;
    fanout_ref_t              ref;
    fanout_presence_block_t  *presence;

    ref = fanout_presence_of(w->z, channel);
    presence = fanout_presence(w->z, ref);
    listed = (presence->flags & FANOUT_PRESENCE_LISTED) != 0;
    mark = &w->marks[ref];

    try (meet(w, ref, SEEN_ROOM, channel));
    w->used[FANOUT_PRESENCE_SET]++;
    count_part(w, ref, 1);

    must_of(w, ref, presence->channel == channel);
    must_of(w, ref, presence->seats || presence->root || listed
                    || presence->nsignals);
    must_of(w, ref, presence->seats == mark->seats);
    must_of(w, ref, presence->members
                    == mark->n - mark->leaving + mark->counted);
    must_of(w, ref, presence->npending == mark->pending);
    must_of(w, ref, (presence->root == 0) == (presence->depth == 0));
    must_of(w, ref, listed == (presence->pend_head
                               || (presence->flags & FANOUT_PRESENCE_COUNT)));

    set.channel = channel;
    set.n = tables = 0;

    if (presence->root) {
        try (fanout_verify_tree(w, presence->root, presence->depth, 0,
                                FANOUT_PRESENCE_SET, verify_slot_member, &set,
                                &tables));
        count_part(w, ref, tables);
        must_of(w, ref, set.n);
    }

    must_of(w, ref, set.n == mark->n);
    w->listed += listed;

    return verify_pending(w, ref);
}


static int
verify_slot_member(walk_t *w, fanout_ref_t ref, uint32_t slot, void *data)
{
    set_t                  *set;
    fanout_member_block_t  *m;

    set = data;

    must_of(w, ref, met(w, ref, SEEN_MEMBER));

    m = fanout_member(w->z, ref);

    must_of(w, ref, m->slot == slot);
    must_of(w, ref, fanout_seat(w->z, m->seat)->channel == set->channel);

    set->n++;

    return 0;
}


static int
verify_pending(walk_t *w, fanout_ref_t ref)
{
    uint32_t                  n;
    fanout_ref_t              i, prev;
    fanout_member_block_t    *m;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(w->z, ref);
    n = prev = 0;

    for (i = presence->pend_head; i; i = m->pend_next) {
        must_of(w, i, met(w, i, SEEN_MEMBER) && n++ < presence->npending);
        m = fanout_member(w->z, i);
        must_of(w, i, m->pending && m->pend_prev == prev);
        must_of(w, i, fanout_seat(w->z, m->seat)->channel == presence->channel);
        prev = i;
    }

    must_of(w, ref, n == presence->npending && prev == presence->pend_tail);

    return 0;
}


static int
verify_listed(walk_t *w)
{
    int                       some;
    uint32_t                  i, n, at;
    fanout_ref_t              ref, prev;
    fanout_presence_block_t  *presence;

    n = 0;

    for (i = 0; i < FANOUT_PRESENCE_WHEEL; i++) {
        prev = 0;
        at = i * FANOUT_PRESENCE_TICK;

        for (ref = w->shm->presences[i]; ref; ref = presence->due_next) {
            must_of(w, ref, met(w, ref, SEEN_ROOM) && n++ < w->listed);
            presence = fanout_presence(w->z, ref);
            must_of(w, ref, (presence->flags & FANOUT_PRESENCE_LISTED)
                            && presence->due_prev == prev);
            must_of(w, ref, (presence->due - at)
                            % (FANOUT_PRESENCE_WHEEL * FANOUT_PRESENCE_TICK)
                            < FANOUT_PRESENCE_TICK);
            must_of(w, ref, presence->due - w->shm->presences_at
                            < FANOUT_PRESENCE_WHEEL * FANOUT_PRESENCE_TICK);
            prev = ref;
        }

        some = (w->shm->presences_map[i / 64] >> i % 64) & 1;
        must(w, some == (w->shm->presences[i] != 0));

        some = (w->shm->presences_top >> i / 64) & 1;
        must(w, some == (w->shm->presences_map[i / 64] != 0));
    }

    must(w, n == w->listed && n == w->shm->npresences);

    return 0;
}


/* records of users who left */

int
fanout_verify_seen(walk_t *w)
{
    uint32_t        n;
    uint64_t        i;
    fanout_ref_t    ref, prev;
    fanout_seen_t  *e;

    n = prev = 0;

    for (ref = w->shm->seen_first; ref; ref = e->next) {
        try (meet(w, ref, SEEN_SEEN, 0));
        w->used[FANOUT_SEEN]++;
        e = fanout_seen(w->z, ref);
        must_of(w, ref, e->prev == prev);
        prev = ref;
        n++;
    }

    must(w, n == w->shm->nseen && prev == w->shm->seen_last);

    for (i = 0; i <= w->shm->seen_mask; i++) {
        ref = fanout_hash_table(w->z, seen_hash)[i];

        for ( /* void */ ; ref; ref = e->hash_next) {
            must_of(w, ref, met(w, ref, SEEN_SEEN) && !w->marks[ref].listed);
            w->marks[ref].listed = 1;
            e = fanout_seen(w->z, ref);
            must_of(w, ref, (e->hash[1] & w->shm->seen_mask) == i);
            n--;
        }
    }

    must(w, n == 0);

    return 0;
}


/* events for a backend */

int
fanout_verify_events(walk_t *w)
{
    uint32_t               n;
    uint64_t               offset;
    fanout_ref_t           ref, prev;
    fanout_event_block_t  *e;

    n = prev = 0;
    offset = w->shm->event_done;

    for (ref = w->shm->event_first; ref; ref = e->next) {
        try (meet(w, ref, SEEN_EVENT, 0));
        e = fanout_event(w->z, ref);
        try (meet_rest(w, ref, e->last, e->blocks, FANOUT_EVENTS));
        must_of(w, ref, e->offset > offset && e->events != 0);
        offset = e->offset;
        prev = ref;
        n++;
    }

    must(w, offset <= w->shm->event_offset);
    must(w, n == w->shm->nevents && prev == w->shm->event_last);
    must(w, w->shm->heap.used[FANOUT_EVENTS] <= FANOUT_EVENT_SHARE(w->shm));
    must(w, n == 0 || w->shm->event_epoch != 0);
    must(w, w->shm->event_lead <= w->shm->nslots);
    must(w, w->shm->event_lead == 0
            || w->shm->slots[w->shm->event_lead - 1].process.state
               != FANOUT_SLOT_FREE);

    return 0;
}
