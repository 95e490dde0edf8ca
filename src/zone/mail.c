
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Direct messages.  A direct message is in the unread list like other entries,
 * so that live clients get it in order, and in the mailbox of each recipient's
 * seat, in case the client is cut before it was read.  The mailboxes share the
 * entry, so a message to many clients of a user is stored once:
 *
 *   seat --mail--> piece --next--> piece        by seq
 *                         |
 *                       entry <----- piece of another seat
 *                                    (a ring of pieces; the last frees it)
 *
 * All pieces of the zone are in one list by age, because they all live equally
 * long, and in a list of their sender, see zone/mail_sender.c.  A seat stores
 * the highest offset that it has lost, with as many bits of the epoch as purges
 * change.
 */


#include "zone/identity.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/seat.h"
#include "zone/share.h"


#define FANOUT_LOST_BITS      48
#define FANOUT_MAIL_EVICT     4


static void consider(fanout_zone_t *z, fanout_ref_t channel, uint64_t client,
    const fanout_zone_message_t *m, int live, fanout_recipients_t *to,
    fanout_zone_result_t *r);
static fanout_ref_t mail_recipient(fanout_zone_t *z, fanout_ref_t channel,
    uint64_t client, const fanout_zone_message_t *m, int live);
static void make_place(fanout_zone_t *z, fanout_ref_t ref, unsigned sender);
static void mail_displace(fanout_zone_t *z, fanout_ref_t ref, unsigned sender);
static void deliver(fanout_zone_t *z, fanout_ref_t ref, fanout_seat_t *seat);
static void mail_chain(fanout_zone_t *z, fanout_ref_t ref,
    fanout_posted_t *posted);
static void mail_append(fanout_zone_t *z, const fanout_posted_t *posted);
static void mail_drop(fanout_zone_t *z, fanout_ref_t ref);
static void mail_lose(fanout_zone_t *z, fanout_ref_t ref);
static void raise_lost(fanout_zone_t *z, fanout_seat_t *seat, uint64_t epoch,
    uint64_t offset);
static int aged(fanout_zone_t *z, fanout_ref_t ref);
static fanout_ref_t mail_own_seat(fanout_zone_t *z,
    const fanout_zone_channel_t *c, const fanout_identity_t *id);
static int mail_read_large(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_identity_t *id, fanout_ref_t entry, uint64_t seq,
    uint64_t epoch, fanout_arena_t *a);


static const fanout_links_t  mail_links = {
    .next = offsetof(fanout_mail_t, next),
    .prev = offsetof(fanout_mail_t, prev)
};

static const fanout_links_t  all_links = {
    .next = offsetof(fanout_mail_t, all_next),
    .prev = offsetof(fanout_mail_t, all_prev)
};

static const fanout_links_t  ring_links = {
    .next = offsetof(fanout_mail_t, ring_next),
    .prev = offsetof(fanout_mail_t, ring_prev)
};


/* sending */

uint32_t
fanout_mail_blocks(fanout_zone_t *z, const fanout_zone_message_t *m)
{
    uint32_t      n;
    fanout_ref_t  user;

    if (m->to_client) {
        return 1;
    }

    user = fanout_user_find(z, m->to_user);
    n = user ? fanout_user(z, user)->n : 0;

    return n < FANOUT_RECIPIENTS ? n : FANOUT_RECIPIENTS;
}


int
fanout_mail_address(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, int live, unsigned sender,
    fanout_recipients_t *to, fanout_zone_result_t *r)
{
    fanout_ref_t              ref;
    fanout_user_t            *user;
    fanout_identity_block_t  *id;

    to->n = 0;
    to->sender = sender;
    to->crowd = 0;
    r->delivered = r->pending = 0;

    if (m->to_client) {
        consider(z, channel, m->to_client, m, live, to, r);

    } else {
        ref = fanout_user_find(z, m->to_user);

        if (ref == 0) {
            return FANOUT_ZONE_NOTFOUND;
        }

        user = fanout_user(z, ref);

        if (user->n > FANOUT_RECIPIENTS) {
            return FANOUT_ZONE_MANY;
        }

        to->crowd = user->n > FANOUT_MAIL_STEP;

        for (ref = user->identities; ref; ref = id->user_next) {
            id = fanout_identity(z, ref);
            consider(z, channel, id->client, m, live, to, r);
        }
    }

    if (r->delivered + r->pending) {
        return FANOUT_ZONE_OK;
    }

    return to->n ? FANOUT_ZONE_MANY : FANOUT_ZONE_NOTFOUND;
}


static void
consider(fanout_zone_t *z, fanout_ref_t channel, uint64_t client,
    const fanout_zone_message_t *m, int live,
    fanout_recipients_t *to, fanout_zone_result_t *r)
{
    fanout_ref_t    ref;
    fanout_seat_t  *seat;

    ref = mail_recipient(z, channel, client, m, live);

    if (ref == 0) {
        return;
    }

    seat = fanout_seat(z, ref);
    make_place(z, ref, to->crowd ? 0 : to->sender);

    if (!to->crowd) {
        mail_displace(z, ref, to->sender);
    }

    to->seats[to->n++] = ref;

    if (seat->state == FANOUT_SEAT_LIVE) {
        r->delivered++;

    } else if (seat->nmail < FANOUT_ZONE_MAIL) {
        r->pending++;
    }
}


/* Returns the seat through which a client gets a message; 0 if it does not get
 * it. */

static fanout_ref_t
mail_recipient(fanout_zone_t *z, fanout_ref_t channel, uint64_t client,
    const fanout_zone_message_t *m, int live)
{
    uint8_t       state;
    fanout_ref_t  ref;

    if ((m->flags & FANOUT_NOECHO) && client == m->client) {
        return 0;
    }

    ref = fanout_seat_find(z, channel, client);

    if (ref == 0) {
        return 0;
    }

    state = fanout_seat(z, ref)->state;

    return state == FANOUT_SEAT_GONE
           || (state == FANOUT_SEAT_LINGERS && live) ? 0 : ref;
}


int
fanout_mail_crowd(fanout_zone_t *z, const fanout_zone_message_t *m)
{
    uint32_t      n;
    fanout_ref_t  user;

    user = fanout_user_find(z, m->to_user);
    n = user ? fanout_user(z, user)->n : 0;

    return n > FANOUT_MAIL_STEP && n <= FANOUT_RECIPIENTS;
}


int
fanout_mail_clear(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, int live, unsigned sender, unsigned from)
{
    unsigned                  i;
    fanout_ref_t              ref, seat;
    fanout_identity_block_t  *id;

    ref = fanout_user(z, fanout_user_find(z, m->to_user))->identities;

    for (i = 0; ref && i < from + FANOUT_MAIL_STEP; i++) {
        id = fanout_identity(z, ref);
        ref = id->user_next;

        if (i < from) {
            continue;
        }

        seat = mail_recipient(z, channel, id->client, m, live);

        if (seat) {
            make_place(z, seat, sender);
            mail_displace(z, seat, sender);
        }
    }

    return ref != 0;
}


/* A live client has most likely read its oldest message; a lingering one has
 * not, see mail_displace().  But it may be cut and not know it: a sender that
 * fills its mailbox loses its own.  sender 0: the oldest of all. */

static void
make_place(fanout_zone_t *z, fanout_ref_t ref, unsigned sender)
{
    fanout_ref_t    piece;
    fanout_seat_t  *seat;

    seat = fanout_seat(z, ref);

    while (seat->mail
           && (aged(z, seat->mail)
               || (seat->state == FANOUT_SEAT_LIVE
                   && seat->nmail >= FANOUT_ZONE_MAIL)))
    {
        piece = sender && !aged(z, seat->mail)
                ? fanout_mail_displaced(z, ref, sender) : 0;
        mail_lose(z, piece ? piece : seat->mail);

        if (!fanout_journal_room(z)) {
            fanout_commit(z);
        }
    }
}


/* In the full mailbox of a lingering client, a message displaces one of the
 * sender that has most there. */

static void
mail_displace(fanout_zone_t *z, fanout_ref_t ref, unsigned sender)
{
    fanout_seat_t  *seat;

    seat = fanout_seat(z, ref);

    if (seat->state != FANOUT_SEAT_LINGERS || seat->nmail < FANOUT_ZONE_MAIL) {
        return;
    }

    ref = fanout_mail_displaced(z, ref, sender);

    if (ref == 0) {
        return;
    }

    fanout_set(z, z->shm->mail_dropped, z->shm->mail_dropped + 1);
    mail_lose(z, ref);

    if (!fanout_journal_room(z)) {
        fanout_commit(z);
    }
}


void
fanout_mail_post(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_recipients_t *to, fanout_ref_t entry, uint32_t blocks)
{
    unsigned                 i;
    fanout_ref_t             ref;
    fanout_mail_t           *mail;
    fanout_seat_t           *seat;
    fanout_posted_t          posted;
    fanout_channel_block_t  *ch;

    ch = fanout_channel(z, channel);
    memset(&posted, 0, sizeof(fanout_posted_t));

    for (i = 0; i < to->n; i++) {
        seat = fanout_seat(z, to->seats[i]);

        if (seat->nmail >= FANOUT_ZONE_MAIL) {
            raise_lost(z, seat, ch->epoch, ch->offset);
            continue;
        }

        ref = fanout_alloc(z, 1, FANOUT_MAIL, NULL);
        mail = fanout_mail(z, ref);

        mail->seat = to->seats[i];
        mail->entry = entry;
        mail->blocks = blocks;
        mail->epoch = ch->epoch;
        mail->sender = to->sender;

        deliver(z, ref, seat);
        mail_chain(z, ref, &posted);
    }

    if (posted.n == 0) {
        return;
    }

    mail_append(z, &posted);
    fanout_mail_sent(z, &posted, to->sender, blocks);

    fanout_set(z, z->shm->mail_blocks, z->shm->mail_blocks + blocks);
}


static void
deliver(fanout_zone_t *z, fanout_ref_t ref, fanout_seat_t *seat)
{
    fanout_deque_append(z, &mail_links, &seat->mail, ref, FANOUT_NEW_RECORD);
    fanout_set(z, seat->nmail, seat->nmail + 1);
}


/* Links the pieces of a message with each other, without the journal, because a
 * rollback frees them; mail_append() then links the whole chain. */

static void
mail_chain(fanout_zone_t *z, fanout_ref_t ref, fanout_posted_t *posted)
{
    fanout_list_chain(z, &all_links, posted->last, ref);
    fanout_list_chain(z, &fanout_sent_links, posted->last, ref);
    fanout_list_chain(z, &ring_links, posted->last, ref);

    if (posted->last == 0) {
        posted->first = ref;
    }

    posted->last = ref;
    posted->n++;
}


static void
mail_append(fanout_zone_t *z, const fanout_posted_t *posted)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    fanout_ring_close(z, &ring_links, posted->first, posted->last);
    fanout_list_append_chain(z, &all_links, &shm->mail_first, &shm->mail_last,
                             posted->first, posted->last);
}


/* letting go */

static void
mail_drop(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t   *shm;
    fanout_mail_t  *mail;
    fanout_seat_t  *seat;

    shm = z->shm;
    mail = fanout_mail(z, ref);
    seat = fanout_seat(z, mail->seat);

    fanout_set(z, seat->nmail, seat->nmail - 1);

    fanout_deque_remove(z, &mail_links, &seat->mail, ref);
    fanout_list_remove(z, &all_links, &shm->mail_first, &shm->mail_last, ref);

    fanout_mail_unsent(z, ref, mail->ring_next == ref ? mail->blocks : 0);

    if (mail->ring_next == ref) {
        fanout_set(z, shm->mail_blocks, shm->mail_blocks - mail->blocks);
        fanout_entry_release(z, seat->channel, mail->entry, FANOUT_IN_MAIL);

    } else {
        fanout_ring_remove(z, &ring_links, ref);
    }

    fanout_free(z, ref, ref, 1, FANOUT_MAIL);
}


static void
mail_lose(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_mail_t  *mail;

    mail = fanout_mail(z, ref);

    raise_lost(z, fanout_seat(z, mail->seat), mail->epoch,
               fanout_entry(z, mail->entry)->offset);
    mail_drop(z, ref);
}


static void
raise_lost(fanout_zone_t *z, fanout_seat_t *seat, uint64_t epoch,
    uint64_t offset)
{
    uint64_t  lost;

    if (epoch != fanout_channel(z, seat->channel)->epoch) {
        /* the reset implies the loss */
        return;
    }

    lost = epoch << FANOUT_LOST_BITS
           | (offset & ((1ULL << FANOUT_LOST_BITS) - 1));

    if ((seat->mail_lost ^ lost) >> FANOUT_LOST_BITS == 0
        && seat->mail_lost >= lost)
    {
        /* a message that a full mailbox refused is newer than those it
         * removes */
        return;
    }

    fanout_set(z, seat->mail_lost, lost);
}


static int
aged(fanout_zone_t *z, fanout_ref_t ref)
{
    return fanout_seconds(z)
           - fanout_entry(z, fanout_mail(z, ref)->entry)->mono
           > FANOUT_MAIL_AGE;
}


void
fanout_mail_free(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_seat_t  *seat;

    seat = fanout_seat(z, ref);

    while (seat->mail) {
        mail_drop(z, seat->mail);
    }
}


int
fanout_mail_sweep(fanout_zone_t *z)
{
    unsigned       n, much;
    fanout_shm_t  *shm;

    shm = z->shm;

    for (n = 0; shm->mail_first; n++) {
        much = !aged(z, shm->mail_first);

        if (much && fanout_share_used(shm, FANOUT_SHARE_mail)
                    <= shm->shares[FANOUT_SHARE_mail].max)
        {
            break;
        }

        if (n && (n == FANOUT_STEP || !fanout_section_room(z))) {
            return FANOUT_ZONE_AGAIN;
        }

        fanout_set(z, shm->mail_dropped, shm->mail_dropped + much);
        mail_lose(z, much ? fanout_mail_fullest(z) : shm->mail_first);
    }

    return FANOUT_ZONE_OK;
}


int
fanout_mail_evict(fanout_zone_t *z)
{
    unsigned      n;
    fanout_ref_t  ref;

    for (n = 0; n < FANOUT_MAIL_EVICT; n++) {
        ref = fanout_mail_fullest(z);

        if (ref == 0) {
            break;
        }

        mail_lose(z, ref);
    }

    fanout_set(z, z->shm->mail_dropped, z->shm->mail_dropped + n);

    return n != 0;
}


/* reading */

static fanout_ref_t
mail_own_seat(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_identity_t *id)
{
    fanout_ref_t    channel, ref;
    fanout_seat_t  *seat;

    channel = fanout_channel_find(z, c);

    if (channel == 0) {
        return 0;
    }

    ref = fanout_seat_find(z, channel, id->client);

    if (ref == 0) {
        return 0;
    }

    seat = fanout_seat(z, ref);

    if (seat->state == FANOUT_SEAT_GONE
        || memcmp(fanout_identity(z, seat->identity)->secret, id->secret,
                  sizeof(id->secret))
           != 0)
    {
        return 0;
    }

    return ref;
}


int
fanout_mail_read(fanout_zone_t *z,
    fanout_zone_channel_t *c, const fanout_identity_t *id,
    uint64_t after, uint64_t upto, fanout_arena_t *a,
    uint64_t *lost)
{
    int                      rc;
    size_t                   start;
    uint32_t                 n;
    uint64_t                 seq, epoch;
    fanout_ref_t             ref, entry;
    fanout_mail_t           *mail;
    fanout_seat_t           *seat;
    fanout_entry_block_t    *e;

    *lost = 0;

    (void) fanout_enter(z);

    ref = mail_own_seat(z, c, id);

    if (ref == 0) {
        fanout_leave(z);
        return FANOUT_ZONE_NOTFOUND;
    }

    seat = fanout_seat(z, ref);
    epoch = fanout_channel(z, seat->channel)->epoch;

    if (seat->mail_lost >> FANOUT_LOST_BITS
        == (epoch << FANOUT_LOST_BITS) >> FANOUT_LOST_BITS)
    {
        *lost = seat->mail_lost & ((1ULL << FANOUT_LOST_BITS) - 1);
    }

    start = a->used;
    rc = FANOUT_ZONE_OK;
    n = 0;

    for (ref = seat->mail; ref; ref = mail->next) {
        mail = fanout_mail(z, ref);
        entry = mail->entry;
        e = fanout_entry(z, entry);

        if (mail->epoch != epoch || e->offset <= after) {
            continue;
        }

        if (e->offset > upto) {
            break;
        }

        rc = fanout_entry_read(z, entry, epoch, n, start, a);

        if (rc == FANOUT_ZONE_LARGE) {
            seq = e->seq;
            fanout_leave(z);
            return mail_read_large(z, c, id, entry, seq, epoch, a);
        }

        if (rc != FANOUT_ZONE_OK) {
            break;
        }

        n++;
    }

    fanout_leave(z);

    return rc;
}


/* the same as zone_read_large() of the history */

static int
mail_read_large(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_identity_t *id, fanout_ref_t entry, uint64_t seq,
    uint64_t epoch, fanout_arena_t *a)
{
    int             rc;
    unsigned        valid;
    fanout_ref_t    ref;
    fanout_mail_t  *mail;

    rc = fanout_entry_copy(z, entry, a);

    (void) fanout_enter(z);

    valid = 0;
    ref = mail_own_seat(z, c, id);

    for (ref = ref ? fanout_seat(z, ref)->mail : 0;
         ref;
         ref = mail->next)
    {
        mail = fanout_mail(z, ref);

        if (mail->entry == entry && mail->epoch == epoch
            && fanout_entry(z, entry)->seq == seq)
        {
            valid = 1;
            break;
        }
    }

    fanout_leave(z);

    if (!valid) {
        /* the arena was empty before */
        a->n = 0;
        a->used = 0;
        return FANOUT_ZONE_AGAIN;
    }

    if (rc == FANOUT_ZONE_OK) {
        a->entries[a->n - 1].epoch = epoch;
        return FANOUT_ZONE_AGAIN;
    }

    return rc;
}
