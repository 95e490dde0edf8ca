
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Invariants of mail and of signals.
 */


#include "zone/verify.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/share.h"


static int verify_piece(walk_t *w, fanout_ref_t ref, uint64_t *blocks);
static int verify_ring(walk_t *w, fanout_ref_t ref);
static int verify_senders(walk_t *w);
static int verify_sent(walk_t *w, uint32_t sender, uint32_t *n);
static int verify_mail_list(walk_t *w, uint32_t bucket, uint32_t *left);
static int verify_mailbox(walk_t *w, fanout_ref_t ref);
static int verify_signal(walk_t *w, fanout_ref_t ref);
static int verify_signals_of(walk_t *w, fanout_ref_t ref);
static int verify_signal_hash(walk_t *w);


/* mail; a piece is counted in the mark of its entry */

int
fanout_verify_mail(walk_t *w)
{
    uint64_t        blocks, seq;
    fanout_ref_t    ref, prev;
    fanout_mail_t  *mail;

    blocks = seq = 0;
    prev = 0;

    for (ref = w->shm->mail_first; ref; ref = mail->all_next) {
        try (meet(w, ref, SEEN_MAIL, 0));
        mail = fanout_mail(w->z, ref);

        w->used[FANOUT_MAIL]++;
        w->mail++;

        must_of(w, ref, mail->all_prev == prev);
        try (verify_piece(w, ref, &blocks));
        must_of(w, ref, fanout_entry(w->z, mail->entry)->seq >= seq);

        seq = fanout_entry(w->z, mail->entry)->seq;
        prev = ref;
    }

    must(w, prev == w->shm->mail_last);
    must(w, blocks == w->shm->mail_blocks);

    for (ref = w->shm->mail_first; ref; ref = mail->all_next) {
        mail = fanout_mail(w->z, ref);
        try (verify_ring(w, ref));
    }

    return verify_senders(w);
}


/* Each sender must have its pieces by age, and be in the right list. */

static int
verify_senders(walk_t *w)
{
    uint32_t          i, n, lists;
    fanout_sender_t  *s;

    n = lists = 0;

    for (i = 0; i <= w->shm->holder_mask; i++) {
        s = fanout_sender(w->z, i);

        must_of(w, i, s->mail == w->senders[i].mail);
        try (verify_sent(w, i, &n));
        lists += (i && s->mail);
    }

    must(w, n == w->mail);

    for (i = 0; i < FANOUT_BUCKETS; i++) {
        try (verify_mail_list(w, i, &lists));
    }

    must(w, lists == 0);

    return 0;
}


static int
verify_sent(walk_t *w, uint32_t sender, uint32_t *n)
{
    uint64_t          seq;
    fanout_ref_t      i, prev;
    fanout_mail_t    *mail;
    fanout_sender_t  *s;

    s = fanout_sender(w->z, sender);
    seq = 0;
    prev = 0;

    for (i = s->mail_first; i; i = mail->sent_next) {
        must_of(w, i, met(w, i, SEEN_MAIL) && (*n)++ < w->mail);
        mail = fanout_mail(w->z, i);

        must_of(w, i, mail->sender == sender && mail->sent_prev == prev);
        must_of(w, i, fanout_entry(w->z, mail->entry)->seq >= seq);

        seq = fanout_entry(w->z, mail->entry)->seq;
        prev = i;
    }

    must_of(w, sender, prev == s->mail_last);

    return 0;
}


static int
verify_mail_list(walk_t *w, uint32_t bucket, uint32_t *left)
{
    uint32_t          n, prev;
    fanout_sender_t  *s;

    prev = 0;

    for (n = w->shm->mail_senders[bucket]; n; n = s->next) {
        must_of(w, n, n <= w->shm->holder_mask && (*left)-- > 0);
        s = fanout_sender(w->z, n);

        must_of(w, n, s->mail && fanout_mail_bucket(s->mail) == bucket);
        must_of(w, n, s->prev == prev);

        prev = n;
    }

    return 0;
}


static int
verify_piece(walk_t *w, fanout_ref_t ref, uint64_t *blocks)
{
    uint32_t               n;
    fanout_mail_t         *mail;
    fanout_seat_t         *seat;
    fanout_entry_block_t  *e;

    mail = fanout_mail(w->z, ref);

    must_of(w, ref, mail->sender <= w->shm->holder_mask);
    w->senders[mail->sender].mail++;

    must_of(w, ref, mail->seat != 0 && mail->seat < w->shm->heap.fresh);
    seat = fanout_seat(w->z, mail->seat);

    must_of(w, ref, met(w, seat->channel, SEEN_CHANNEL));
    must_of(w, ref, mail->entry != 0 && mail->entry < w->shm->heap.fresh);

    if (w->marks[mail->entry].seen == 0) {
        try (fanout_verify_entry(w, mail->entry, seat->channel, &n));
        must_of(w, ref, n == mail->blocks);
        *blocks += n;
        w->senders[mail->sender].mail += n;
    }

    must_of(w, ref, met(w, mail->entry, SEEN_ENTRY));
    must_of(w, ref, w->marks[mail->entry].owner == seat->channel);

    e = fanout_entry(w->z, mail->entry);

    must_of(w, ref, e->flags & FANOUT_HAS_RECIPIENT);
    must_of(w, ref, e->flags & FANOUT_IN_MAIL);
    must_of(w, ref, mail->epoch
                    <= fanout_channel(w->z, seat->channel)->epoch);

    w->marks[mail->entry].n++;

    return 0;
}


static int
verify_ring(walk_t *w, fanout_ref_t ref)
{
    uint32_t        n;
    fanout_ref_t    i;
    fanout_mail_t  *mail, *next;

    mail = fanout_mail(w->z, ref);
    i = ref;
    n = 0;

    do {
        must_of(w, i, met(w, i, SEEN_MAIL));
        must_of(w, i, fanout_mail(w->z, i)->entry == mail->entry);
        must_of(w, i, fanout_mail(w->z, i)->sender == mail->sender);
        must_of(w, i, n++ < w->marks[mail->entry].n);

        next = fanout_mail(w->z, fanout_mail(w->z, i)->ring_next);
        must_of(w, i, next->ring_prev == i);

        i = fanout_mail(w->z, i)->ring_next;
    } while (i != ref);

    must_of(w, ref, n == w->marks[mail->entry].n);

    return 0;
}


int
fanout_verify_mailboxes(walk_t *w)
{
    uint64_t        i;
    fanout_ref_t    ref;
    fanout_seat_t  *seat;

    for (i = 0; i <= w->shm->seat_mask; i++) {
        ref = fanout_hash_table(w->z, seat_hash)[i];

        for ( /* void */ ; ref; ref = seat->hash_next) {
            try (verify_mailbox(w, ref));
            seat = fanout_seat(w->z, ref);
        }
    }

    must(w, w->mail == 0);

    return 0;
}


static int
verify_mailbox(walk_t *w, fanout_ref_t ref)
{
    uint32_t        n;
    uint64_t        seq;
    fanout_ref_t    i, last;
    fanout_mail_t  *mail;
    fanout_seat_t  *seat;

    seat = fanout_seat(w->z, ref);
    seq = 0;
    n = last = 0;

    for (i = seat->mail; i; i = mail->next) {
        must_of(w, i, met(w, i, SEEN_MAIL) && n++ < seat->nmail);
        mail = fanout_mail(w->z, i);

        must_of(w, i, mail->seat == ref);
        must_of(w, i, last == 0 || mail->prev == last);
        must_of(w, i, fanout_entry(w->z, mail->entry)->seq > seq);

        seq = fanout_entry(w->z, mail->entry)->seq;
        last = i;
        w->mail--;
    }

    must_of(w, ref, n == seat->nmail);
    must_of(w, ref, n == 0 || fanout_mail(w->z, seat->mail)->prev == last);
    must_of(w, ref, n <= FANOUT_ZONE_MAIL);

    return 0;
}


/* signals */

int
fanout_verify_signals(walk_t *w)
{
    uint64_t                 seq, i;
    fanout_ref_t             ref, prev;
    fanout_signal_t         *s;
    fanout_channel_block_t  *ch;

    seq = 0;
    prev = 0;

    for (ref = w->shm->signal_first; ref; ref = s->all_next) {
        try (meet(w, ref, SEEN_SIGNAL, 0));
        s = fanout_signal(w->z, ref);

        must_of(w, ref, s->all_prev == prev);
        must_of(w, ref, s->seq > seq);
        try (verify_signal(w, ref));

        seq = s->seq;
        prev = ref;
    }

    must(w, prev == w->shm->signal_last);
    must(w, w->signals == w->shm->nsignals);

    for (i = 0; i <= w->shm->channel_mask; i++) {
        ref = fanout_hash_table(w->z, channel_hash)[i];

        for ( /* void */ ; ref; ref = ch->hash_next) {
            ch = fanout_channel(w->z, ref);

            if (fanout_name(w->z, ch)->presence) {
                try (verify_signals_of(w, fanout_name(w->z, ch)->presence));
            }
        }
    }

    must(w, w->signals == 0);

    return verify_signal_hash(w);
}


static int
verify_signal(walk_t *w, fanout_ref_t ref)
{
    fanout_signal_t       *s;
    fanout_entry_block_t  *e;

    s = fanout_signal(w->z, ref);

    must_of(w, ref, met(w, s->presence, SEEN_ROOM));
    try (meet(w, s->entry, SEEN_REST, ref));

    e = fanout_entry(w->z, s->entry);

    must_of(w, ref, e->seq == s->seq);
    must_of(w, ref, (e->type & 0x0f) == FANOUT_SIGNAL);
    must_of(w, ref, (e->flags & (FANOUT_IN_UNREAD|FANOUT_IN_HISTORY)) == 0);
    must_of(w, ref, fanout_entry_blocks(w->z, e) == s->blocks);

    w->used[FANOUT_SIGNALS]++;
    w->signals++;

    return meet_rest(w, s->entry, 0, s->blocks, FANOUT_SIGNALS);
}


static int
verify_signals_of(walk_t *w, fanout_ref_t ref)
{
    uint32_t                  n;
    uint64_t                  seq;
    fanout_ref_t              i, prev;
    fanout_signal_t          *s;
    fanout_presence_block_t  *presence;

    presence = fanout_presence(w->z, ref);
    seq = 0;
    n = prev = 0;

    for (i = presence->signal_head; i; i = s->next) {
        must_of(w, i, met(w, i, SEEN_SIGNAL) && n++ < presence->nsignals);
        s = fanout_signal(w->z, i);

        must_of(w, i, s->presence == ref && s->prev == prev && s->seq > seq);

        seq = s->seq;
        prev = i;
        w->signals--;
    }

    must_of(w, ref, n == presence->nsignals && prev == presence->signal_tail);
    must_of(w, ref, n <= FANOUT_SIGNALS_ROOM);

    return 0;
}


static int
verify_signal_hash(walk_t *w)
{
    uint32_t          n;
    uint64_t          i;
    fanout_ref_t      ref;
    fanout_signal_t  *s;

    for (n = 0, i = 0; i <= w->shm->signal_mask; i++) {
        ref = fanout_hash_table(w->z, signal_hash)[i];

        for ( /* void */ ; ref; ref = s->hash_next) {
            must_of(w, ref, met(w, ref, SEEN_SIGNAL));
            must_of(w, ref, !w->marks[ref].listed);
            w->marks[ref].listed = 1;
            s = fanout_signal(w->z, ref);
            must_of(w, ref, (s->hash[1] & w->shm->signal_mask) == i);
            n++;
        }
    }

    must(w, n == w->shm->nsignals);

    return 0;
}
