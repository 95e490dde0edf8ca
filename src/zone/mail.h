
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What is addressed: mail that waits for clients, and signals, which go by.
 * The lock must be held for all of it.
 */


#ifndef FANOUT_ZONE_MAIL_H
#define FANOUT_ZONE_MAIL_H


#include "heap/list.h"
#include "zone/log.h"


/* A signal that some worker has not read, by seq in the list of its presence
 * set. */

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
 * A piece of mail: an entry with a target that a seat keeps.  All seats that
 * it was addressed to share the entry; their pieces are a ring, and the last
 * one lets go of it.
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
    uint64_t             epoch;         /* that the offset is of */
    fanout_ref_t         prev;          /* of the seat */
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
#define FANOUT_MAIL_AGE        300      /* s that mail is kept */

typedef struct {
    fanout_ref_t         seats[FANOUT_RECIPIENTS];
    unsigned             n;
} fanout_recipients_t;

/* the pieces of a message, a chain */

typedef struct {
    fanout_ref_t         first;
    fanout_ref_t         last;
    uint32_t             n;
} fanout_posted_t;

/* Blocks that mail of a message may take. */
uint32_t fanout_mail_blocks(fanout_zone_t *z, const fanout_zone_message_t *m);

/* Whether a message is for so many clients of a user, more than FANOUT_STEP,
 * that their mailboxes are cleared in sections of their own; not if there are
 * more than it may have. */
int fanout_mail_crowd(fanout_zone_t *z, const fanout_zone_message_t *m);

/* Removes the oldest message from the full mailboxes of a crowd: of FANOUT_STEP
 * clients, from that number on.  May commit.  Whether more clients follow. */
int fanout_mail_clear(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, int live, unsigned from);

/* Finds who a message is for, and makes room in their mailboxes; counts them
 * in r.  May commit.  NOTFOUND; MANY if no mailbox takes it, or a user has too
 * many clients. */
int fanout_mail_address(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zone_message_t *m, int live,
    fanout_recipients_t *to, fanout_zone_result_t *r);

/* Puts an entry of a sender that was appended into their mailboxes. */
void fanout_mail_post(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_recipients_t *to, fanout_ref_t entry, uint32_t blocks,
    unsigned sender);

/* Lets go of all mail of a seat: a bounded step. */
void fanout_mail_free(fanout_zone_t *z, fanout_ref_t seat);

/* Lets go of mail that is too old, or that takes more than its share of the
 * zone, up to a step; AGAIN when there is more. */
int fanout_mail_sweep(fanout_zone_t *z);

/* Lets go of the oldest of the sender that has most; whether there was any. */
int fanout_mail_evict(fanout_zone_t *z);


/* what senders have of it: see zone/mail_sender.c */

/* The list of a sender that has so many blocks of mail, at least one. */
static inline unsigned
fanout_mail_bucket(uint32_t blocks)
{
    return 31 - __builtin_clz(blocks);
}

/* Adds the pieces of a message to those of its sender, as the newest, or
 * removes one; with so many blocks of the entry, which count once for all. */
void fanout_mail_sent(fanout_zone_t *z, const fanout_posted_t *posted,
    unsigned sender, uint32_t blocks);
void fanout_mail_unsent(fanout_zone_t *z, fanout_ref_t ref, uint32_t blocks);

/* The oldest piece of the sender that has most; 0 if there is no mail. */
fanout_ref_t fanout_mail_fullest(fanout_zone_t *z);


/* signals */

#define FANOUT_SIGNALS_ROOM   256       /* most pending on a channel */
#define FANOUT_SIGNAL_AGE     60        /* s that one is kept for a worker
                                           that does not read */

/* The first one after a seq on a channel, 0. */
fanout_ref_t fanout_signal_after(fanout_zone_t *z, fanout_channel_block_t *ch,
    uint64_t seq);

/* Frees those that all workers have read, up to a step. */
void fanout_signal_trim(fanout_zone_t *z, fanout_ref_t channel);

/* Frees those that nobody reads any more, up to a step; AGAIN when there is
 * more. */
int fanout_signal_sweep(fanout_zone_t *z);

/* Frees a step of the oldest; whether there were any. */
int fanout_signal_evict(fanout_zone_t *z);


#endif /* FANOUT_ZONE_MAIL_H */
