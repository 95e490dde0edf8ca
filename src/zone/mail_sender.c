
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Mail by sender.  When mail takes too much, the sender that has most loses its
 * oldest mail: a client that fills mailboxes, even those of its own clients,
 * displaces its own mail, and a sender that has less than half of what the
 * fullest has loses nothing.
 *
 *   mail_senders[n] --> sender <--> sender           2^n blocks or more
 *                         |
 *                       piece --sent_next--> piece   by age
 *
 * A sender is in the list for the power of two of its blocks, so that it seldom
 * moves.  The fullest sender is in the last list that is not empty; of the
 * first few there, the fullest is taken.  Sender 0 is the backend.  It is in no
 * list, because it may send more than any client: it loses its own mail only
 * while it has more than all others together.
 *
 * A mailbox is shared in the same way: when it is full, a sender that has less
 * in it displaces the oldest piece of the one that has most.
 */


#include "zone/mail.h"
#include "zone/seat.h"
#include "zone/share.h"


#define FANOUT_MAIL_LOOK  8             /* senders to compare */
#define FANOUT_MAIL_PARTS  128          /* at least half of them stay free */


/* what a sender has in a mailbox */

typedef struct {
    fanout_ref_t  first;                /* the oldest */
    uint16_t      sender;
    uint16_t      n;                    /* 0: this one is free */
} mail_part_t;


static void resize(fanout_zone_t *z, unsigned n, int32_t blocks);
static void enlist(fanout_zone_t *z, unsigned n, unsigned bucket);
static void delist(fanout_zone_t *z, unsigned n, unsigned bucket);
static fanout_sender_t *fullest(fanout_zone_t *z);
static mail_part_t *mail_part(mail_part_t *parts, unsigned sender);


void
fanout_mail_sent(fanout_zone_t *z, const fanout_posted_t *posted,
    unsigned sender, uint32_t blocks)
{
    fanout_sender_t  *s;

    s = fanout_sender(z, sender);

    fanout_list_append_chain(z, &fanout_sent_links, &s->mail_first,
                             &s->mail_last, posted->first, posted->last);
    resize(z, sender, posted->n + blocks);
}


void
fanout_mail_unsent(fanout_zone_t *z, fanout_ref_t ref, uint32_t blocks)
{
    fanout_mail_t    *mail;
    fanout_sender_t  *s;

    mail = fanout_mail(z, ref);
    s = fanout_sender(z, mail->sender);

    fanout_list_remove(z, &fanout_sent_links, &s->mail_first, &s->mail_last,
                       ref);
    resize(z, mail->sender, -1 - (int32_t) blocks);
}


static void
resize(fanout_zone_t *z, unsigned n, int32_t blocks)
{
    uint32_t          before, now;
    fanout_sender_t  *s;

    s = fanout_sender(z, n);
    before = s->mail;
    now = before + blocks;

    fanout_set(z, s->mail, now);

    if (n == 0
        || (before && now
            && fanout_mail_bucket(before) == fanout_mail_bucket(now)))
    {
        return;
    }

    if (before) {
        delist(z, n, fanout_mail_bucket(before));
    }

    if (now) {
        enlist(z, n, fanout_mail_bucket(now));
    }
}


static void
enlist(fanout_zone_t *z, unsigned n, unsigned bucket)
{
    uint16_t         *head;
    fanout_sender_t  *s;

    head = &z->shm->mail_senders[bucket];
    s = fanout_sender(z, n);

    fanout_set(z, s->prev, 0);
    fanout_set(z, s->next, *head);

    if (*head) {
        fanout_set(z, fanout_sender(z, *head)->prev, n);
    }

    fanout_set(z, *head, n);
}


static void
delist(fanout_zone_t *z, unsigned n, unsigned bucket)
{
    fanout_sender_t  *s;

    s = fanout_sender(z, n);

    if (s->next) {
        fanout_set(z, fanout_sender(z, s->next)->prev, s->prev);
    }

    if (s->prev) {
        fanout_set(z, fanout_sender(z, s->prev)->next, s->next);

    } else {
        fanout_set(z, z->shm->mail_senders[bucket], s->next);
    }
}


fanout_ref_t
fanout_mail_fullest(fanout_zone_t *z)
{
    uint32_t          used;
    fanout_sender_t  *backend;

    used = fanout_share_used(z->shm, FANOUT_SHARE_mail);
    backend = fanout_sender(z, 0);

    if (backend->mail > used - backend->mail) {
        return backend->mail_first;
    }

    return used ? fullest(z)->mail_first : 0;
}


/* of the senders in lists, of which there must be at least one */

static fanout_sender_t *
fullest(fanout_zone_t *z)
{
    unsigned          i;
    uint32_t          n;
    fanout_sender_t  *s, *most;

    for (i = FANOUT_BUCKETS - 1; z->shm->mail_senders[i] == 0; i--) {
        /* void */
    }

    n = z->shm->mail_senders[i];
    most = fanout_sender(z, n);

    for (i = 0; n && i < FANOUT_MAIL_LOOK; i++, n = s->next) {
        s = fanout_sender(z, n);
        most = s->mail > most->mail ? s : most;
    }

    return most;
}


/* A client's message displaces only what is more than one above its own, so
 * that two do not displace each other for ever.  The backend's is never
 * displaced, and displaces any.  A sender displaces its own for a live client
 * only: from a lingering one it takes back nothing that it promised. */

fanout_ref_t
fanout_mail_displaced(fanout_zone_t *z, fanout_ref_t seat, unsigned sender)
{
    unsigned        own;
    mail_part_t    *part, *most, parts[FANOUT_MAIL_PARTS];
    fanout_ref_t    ref, first;
    fanout_mail_t  *mail;

    memset(parts, 0, sizeof(parts));
    most = NULL;
    first = 0;
    own = 0;

    for (ref = fanout_seat(z, seat)->mail; ref; ref = mail->next) {
        mail = fanout_mail(z, ref);

        if (mail->sender == 0) {
            continue;
        }

        if (mail->sender == sender) {
            first = own++ ? first : ref;
            continue;
        }

        part = mail_part(parts, mail->sender);

        if (part->n++ == 0) {
            part->sender = mail->sender;
            part->first = ref;
        }

        if (most == NULL || part->n > most->n) {
            most = part;
        }
    }

    if (most && (sender == 0 || most->n > own + 1)) {
        return most->first;
    }

    return own > 1 && fanout_seat(z, seat)->state == FANOUT_SEAT_LIVE ? first
                                                                      : 0;
}


static mail_part_t *
mail_part(mail_part_t *parts, unsigned sender)
{
    unsigned  i;

    i = sender % FANOUT_MAIL_PARTS;

    while (parts[i].n && parts[i].sender != sender) {
        i = (i + 1) % FANOUT_MAIL_PARTS;
    }

    return &parts[i];
}
