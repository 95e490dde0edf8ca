
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Direct messages, which are kept for clients, and signals, which are not.  The
 * lock must be held for all functions.
 */


#ifndef FANOUT_ZONE_MAIL_H
#define FANOUT_ZONE_MAIL_H


#include "heap/list.h"
#include "zone/log.h"


/* A signal that some worker has not read, in the list of its presence set, by
 * seq. */

typedef struct {
    fanout_ref_t         hash_next;
    fanout_ref_t         next;
    fanout_ref_t         prev;
    fanout_ref_t         presence;
    fanout_ref_t         entry;
    uint32_t             blocks;        /* of the entry */
    uint64_t             hash[2];       /* of presence, client, target, event,
                                           tag */
    uint64_t             seq;
    fanout_ref_t         all_next;      /* of all, by seq */
    fanout_ref_t         all_prev;
    uint64_t             unused;
} fanout_signal_t;


/*
 * A piece of mail: an entry with a target that a seat keeps.  All seats of the
 * recipients share the entry; their pieces are a ring, and the last one
 * releases the entry.
 */

typedef struct {
    fanout_ref_t         next;          /* of the seat, by seq */
    fanout_ref_t         seat;
    fanout_ref_t         entry;
    uint32_t             blocks;        /* of the entry */
    fanout_ref_t         ring_next;
    fanout_ref_t         ring_prev;
    fanout_ref_t         all_next;      /* of all, by age */
    fanout_ref_t         all_prev;
    uint64_t             epoch;         /* of the offset */
    fanout_ref_t         prev;          /* of the seat; of the first: the
                                           last */
    fanout_ref_t         sent_next;     /* of the sender, by age */
    fanout_ref_t         sent_prev;
    uint16_t             sender;
    uint16_t             unused[5];
} fanout_mail_t;


static const fanout_links_t  fanout_sent_links = {
    .next = offsetof(fanout_mail_t, sent_next),
    .prev = offsetof(fanout_mail_t, sent_prev)
};


#define fanout_signal(z, ref)    ((fanout_signal_t *) fanout_at(z, ref))
#define fanout_mail(z, ref)      ((fanout_mail_t *) fanout_at(z, ref))


/* direct messages */

#define FANOUT_RECIPIENTS      256      /* most clients of a user */
#define FANOUT_MAIL_STEP       16       /* mailboxes of a section that makes
                                           room in them */
#define FANOUT_MAIL_AGE        300      /* s that mail is kept */

typedef struct {
    fanout_ref_t         seats[FANOUT_RECIPIENTS];
    unsigned             n;
    unsigned             sender;        /* number of the sender, 0: backend */
    unsigned             crowd;         /* room was made before */
} fanout_recipients_t;

/* the pieces of a message, a chain */

typedef struct {
    fanout_ref_t         first;
    fanout_ref_t         last;
    uint32_t             n;
} fanout_posted_t;

/* Returns the blocks that the mail of a message may take. */
uint32_t fanout_mail_blocks(fanout_zone_t *z, const fanout_zone_message_t *m);

/* Returns 1 if the recipient is a user with more than FANOUT_MAIL_STEP
 * clients: their mailboxes are cleared in sections of their own.  0 if the user
 * has more clients than a message may have. */
int fanout_mail_crowd(fanout_zone_t *z, const fanout_zone_message_t *m);

/* Makes room for a message of a sender in the full mailboxes of a crowd: of
 * FANOUT_MAIL_STEP clients, from number from on.  May commit.  Returns 1 if
 * more clients follow. */
int fanout_mail_clear(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, int live, unsigned sender, unsigned from);

/* Finds the recipients of a message of a sender, makes room in their mailboxes,
 * and counts them in r.  In those of disconnected clients of a crowd, room is
 * made by fanout_mail_clear() only.  May commit.  OK; NOTFOUND; MANY if no
 * mailbox takes the message, or the user has too many clients. */
int fanout_mail_address(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, int live, unsigned sender,
    fanout_recipients_t *to, fanout_zone_result_t *r);

/* Puts an appended entry into the recipients' mailboxes. */
void fanout_mail_post(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_recipients_t *to, fanout_ref_t entry, uint32_t blocks);

/* Removes all mail of a seat: a bounded step. */
void fanout_mail_free(fanout_zone_t *z, fanout_ref_t seat);

/* Removes mail that is too old, or beyond its share of the zone, up to a step;
 * AGAIN if there is more. */
int fanout_mail_sweep(fanout_zone_t *z);

/* Removes the oldest mail of the sender that has most.  Returns 1 if there was
 * any. */
int fanout_mail_evict(fanout_zone_t *z);


/* the mail of senders: see zone/mail_sender.c */

/* Returns the list of a sender with so many blocks of mail, at least one. */
static inline unsigned
fanout_mail_bucket(uint32_t blocks)
{
    return 31 - __builtin_clz(blocks);
}

/* fanout_mail_sent() adds the pieces of a message to those of its sender, as
 * the newest; fanout_mail_unsent() removes one.  blocks are those of the entry,
 * which count once for all pieces. */
void fanout_mail_sent(fanout_zone_t *z, const fanout_posted_t *posted,
    unsigned sender, uint32_t blocks);
void fanout_mail_unsent(fanout_zone_t *z, fanout_ref_t ref, uint32_t blocks);

/* Returns the oldest piece of the sender that has most; 0 if there is no
 * mail. */
fanout_ref_t fanout_mail_fullest(fanout_zone_t *z);

/* Returns the piece of a seat's full mailbox that gives way to a message of a
 * sender; 0: none does, or of a live client the oldest. */
fanout_ref_t fanout_mail_displaced(fanout_zone_t *z, fanout_ref_t seat,
    unsigned sender);


/* signals */

#define FANOUT_SIGNALS_ROOM   256       /* most pending on a channel */
#define FANOUT_SIGNAL_AGE     60        /* s that a signal is kept for a worker
                                           that does not read */

/* Returns the first signal after a seq on a channel; 0: none. */
fanout_ref_t fanout_signal_after(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t seq);

/* Frees signals that all workers have read, up to a step. */
void fanout_signal_trim(fanout_zone_t *z, fanout_ref_t channel);

/* Frees signals that no worker will read, up to a step; AGAIN if there are
 * more. */
int fanout_signal_sweep(fanout_zone_t *z);

/* Frees a step of the oldest signals.  Returns 1 if there were any. */
int fanout_signal_evict(fanout_zone_t *z);


#endif /* FANOUT_ZONE_MAIL_H */
