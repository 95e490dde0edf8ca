
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Messages: publishing, joining, reading, direct messages, signals.  The rules
 * of zone/zone.h apply.
 */


#ifndef FANOUT_ZONE_MESSAGE_H
#define FANOUT_ZONE_MESSAGE_H


#include "zone/client.h"
#include "zone/zone.h"


/* entry types */

#define FANOUT_MESSAGE   1
#define FANOUT_RESET     2                  /* data: the reason.  A reset
                                               replaces a GAP before it, so
                                               members have to be read again */
#define FANOUT_GAP       3                  /* made by a drain, not stored:
                                               entries after .from up to .offset
                                               are lost; if a RESET was among
                                               them, .from is 0 and .epoch
                                               differs */
#define FANOUT_PRESENCE  4                  /* data: changes of members, see
                                               fanout_change_next(); never in
                                               the history */
#define FANOUT_SIGNAL    5                  /* key: the tag; offset: the offset
                                               of the entry before it */
#define FANOUT_RECORD    6                  /* data: a change of a record, see
                                               fanout_record_next() */
#define FANOUT_LOCK      7                  /* data: a lock as it is now, see
                                               fanout_lock_parse(); never in the
                                               history */

/* payload kinds */

#define FANOUT_JSON      0
#define FANOUT_TEXT      1
#define FANOUT_BINARY    2

/* entry flags given by the publisher */

#define FANOUT_NOECHO    0x04               /* not to the publishing client */
#define FANOUT_TRANSIENT 0x08               /* ordered, not kept */
#define FANOUT_ANONYMOUS 0x10               /* its user is not for clients */


/* a message to append; all strings may be empty */

typedef struct {
    uint64_t           client;              /* 0: none */
    fanout_zstr_t      event;               /* at most 255 bytes */
    fanout_zstr_t      key;                 /* at most 255 bytes */
    fanout_zstr_t      user;                /* at most 255 bytes */
    fanout_zstr_t      meta;                /* at most 65535 bytes */
    fanout_zstr_t      data;                /* at most DATA bytes */
    uint64_t           to_client;           /* 0: not for one client */
    uint64_t           to_user;             /* hash, 0: not for one user */
    uint8_t            kind;
    uint8_t            flags;
} fanout_zone_message_t;


typedef struct {
    fanout_zstr_t      key;                 /* of the whole publish */
    fanout_zstr_t      scope;               /* the user that the key belongs
                                               to */
    uint64_t           address;             /* hash of the address that the key
                                               counts for, 0: none */
    uint64_t           sender;              /* hash of the user, or of the
                                               address of a client without a
                                               user, 0: not limited */
    uint64_t           if_epoch;            /* with if_set: the channel's
                                               epoch */
    uint64_t           if_offset;           /* and last offset must be these */
    unsigned           if_set:1;
    unsigned           live:1;              /* a direct message: not for
                                               lingering clients */
    unsigned           record:1;            /* the key is of a change of a
                                               record */
} fanout_zone_publish_t;


typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* of the last entry */
    uint64_t                    time;       /* Unix ms */
    uint32_t                    delivered;  /* direct: live seats */
    uint32_t                    pending;    /* direct: lingering seats */
    uint32_t                    subscribers;    /* of the channel, in all
                                                   workers */
    uint32_t                    wait;       /* HELD: ms until the oldest key
                                               expires */
    unsigned                    duplicate:1;
    unsigned                    by_sender:1;    /* HELD: the sender's limit, not
                                                   the address's */
} fanout_zone_result_t;


/* a copy of an entry; the strings point into the arena of the call */

typedef struct {
    uint64_t           offset;
    uint64_t           seq;
    uint64_t           time;                /* Unix ms */
    uint64_t           client;              /* 0: none */
    uint64_t           epoch;               /* in which it was appended */
    uint64_t           from;                /* GAP: last offset consumed */
    uint64_t           to_client;           /* only for this client */
    uint64_t           to_user;             /* only for this user: hash */
    fanout_zstr_t      event;
    fanout_zstr_t      key;
    fanout_zstr_t      user;
    fanout_zstr_t      meta;
    fanout_zstr_t      data;
    fanout_zstr_t      to;                  /* name of the recipient user:
                                               empty here, the deliverer
                                               fills it in */
    uint32_t           local;               /* the number given at open */
    uint8_t            type;
    uint8_t            kind;
    uint8_t            flags;
} fanout_entry_t;


/*
 * The destination of copied entries.  The caller owns it; the zone fills it,
 * and grows bytes through grow() when one entry alone needs more, so that a
 * small arena serves any entry.  Entries point into bytes, so growth happens
 * only when the arena is empty: filled entries never move.
 */

typedef struct fanout_arena_s  fanout_arena_t;

struct fanout_arena_s {
    fanout_entry_t    *entries;
    uint32_t           n;                   /* filled */
    uint32_t           max;                 /* room */
    uint8_t           *bytes;
    size_t             used;
    size_t             size;
    int                       (*grow)(fanout_arena_t *a, size_t n);
                                            /* 0, or -1: then a read ends with
                                             * FULL, and a drain puts a GAP in
                                             * the entry's place */
};


typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* last assigned */
    uint64_t                    after;      /* read from here, exclusive */
    uint64_t                    missed;     /* kept entries between the
                                               requested position and .after */
    uint64_t                    seq;        /* the subscriber skips entries up
                                               to it */
    uint64_t                    from;       /* .after as a seq: the reader knows
                                               all of the channel up to it */
    unsigned                    recovered:1;
    unsigned                    older:1;    /* entries before .after are kept:
                                               seek */
} fanout_zone_join_t;


/* the log */

/* Appends n messages (1 to BATCH), all or none.  Makes the channel if it is
 * missing, else applies a newer policy.  Large messages are staged first, in
 * transactions of their own.  OK, FULL, CONFLICT (r has the channel's
 * position), HELD (r->wait, r->by_sender), ADDRESS, LARGE, STALE; NOTFOUND and
 * MANY for a direct message. */
int fanout_log_publish(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/* Checks whether a publish with a key would be refused now because of the key.
 * OK, also if the key is known; HELD (r->wait, r->by_sender); ADDRESS; FULL,
 * which is counted. */
int fanout_log_key(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/* the kinds of positions to join from */

#define FANOUT_SINCE_NONE    0
#define FANOUT_SINCE_OFFSET  1                  /* epoch and offset */
#define FANOUT_SINCE_SEQ     2                  /* of the zone: incarnation and
                                                   seq in the place of epoch and
                                                   offset */

/* Joins an opened channel: j gets the reply, and the position from which the
 * joiner reads its history.  With since, the joiner gets exactly the entries
 * that it missed, or recovered is 0.  OK, STALE. */
int fanout_log_join(fanout_zone_t *z, fanout_zone_channel_t *c, int since,
    uint64_t epoch, uint64_t offset, uint32_t history, fanout_zone_join_t *j);

/* Copies kept entries with after < offset <= upto, oldest first, as many as a
 * section may copy and the arena holds.  *lost is the highest offset that was
 * removed from the log.  OK at the end; AGAIN if there are more; NOTFOUND;
 * STALE, also if the epoch differs; FULL if the arena can't grow. */
int fanout_log_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t after, uint64_t upto, fanout_arena_t *a,
    uint64_t *lost);

/* Finds the offset after which the last n kept entries below before (0: all)
 * are, with epoch and last offset.  NOTFOUND: then the epoch is that of a
 * position with offset 0 on a channel that does not exist. */
int fanout_log_seek(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t before, uint32_t n, fanout_zone_join_t *j);

/* Returns 1 if a position belongs to the channel as it is (to its epoch, or to
 * the time before the channel existed), and no entry after it is lost. */
int fanout_log_holds(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t offset);

/* Copies entries of all channels that this worker has not read, within the
 * bounds of a section.  OK; AGAIN if there are more; STALE, once, if the zone
 * was rebuilt: every channel has to be opened again (open does nothing for a
 * channel that was opened since). */
int fanout_log_drain(fanout_zone_t *z, fanout_arena_t *a);


/* Removes all history, begins a new epoch, and appends a RESET entry with the
 * reason (at most 1024 bytes of it) for subscribers.  OK, NOTFOUND, FULL. */
int fanout_channel_purge(fanout_zone_t *z, fanout_zone_channel_t *c,
    const uint8_t *reason, size_t len, fanout_zone_result_t *r);

/* The same, and ends the channel's subscriptions: workers are ordered to REMOVE
 * all subscribers (.client is 0).  OK, NOTFOUND, FULL. */
int fanout_channel_end(fanout_zone_t *z, fanout_zone_channel_t *c,
    const uint8_t *reason, size_t len, fanout_zone_result_t *r);


/*
 * Direct messages: fanout_log_publish() of a message with to_client or to_user
 * (one of them, n is 1) appends an entry that only its recipients see.  The
 * history never keeps the entry; each recipient's seat keeps a copy for a
 * while, in case the client is cut before it has read the message.
 * r->delivered is the number of live seats, r->pending the number of lingering
 * ones.  NOTFOUND (nothing is appended) if there is none, or with opts->live no
 * live one.
 */

#define FANOUT_ZONE_MAIL  64                /* most kept for a seat */

/* Copies direct messages to the client on the channel after an offset, oldest
 * first, with the results of fanout_log_read().  *lost is the highest offset
 * that the client's mailbox has lost. */
int fanout_mail_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_identity_t *id, uint64_t after, uint64_t upto,
    fanout_arena_t *a, uint64_t *lost);

/*
 * Signals are not stored: they have no offset, and no place in the history.  In
 * the zone, a signal replaces an older one of the same client, recipient, event
 * and tag that some worker has not read; fanout_log_drain() delivers signals in
 * the order of seq among the entries.  Signals are the first to be evicted when
 * the zone is full.  to_client or to_user name one recipient.  m->key is the
 * tag.
 *
 * OK, FULL, LARGE (data beyond 16384 bytes); NOTFOUND if there is no recipient.
 */
int fanout_signal_put(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m);


#endif /* FANOUT_ZONE_MESSAGE_H */
