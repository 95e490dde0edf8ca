
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Messages: publishing, joining, reading, direct messages, signals.  The rules
 * of zone/zone.h hold.
 */


#ifndef FANOUT_ZONE_MESSAGE_H
#define FANOUT_ZONE_MESSAGE_H


#include "zone/client.h"
#include "zone/zone.h"


/* entry types */

#define FANOUT_MESSAGE   1
#define FANOUT_RESET     2                  /* data: the reason.  It takes the
                                               place of a GAP before it, so
                                               members have to be read again */
#define FANOUT_GAP       3                  /* made by a drain, not stored:
                                               entries after .from up to
                                               .offset are lost; .from is
                                               0 and .epoch another when a
                                               RESET was among them */
#define FANOUT_PRESENCE  4                  /* data: changes of members, see
                                               change_next(); never kept in
                                               the history */
#define FANOUT_SIGNAL    5                  /* key: the tag; offset: that of
                                               the entry before it */

/* payload kinds */

#define FANOUT_JSON      0
#define FANOUT_TEXT      1
#define FANOUT_BINARY    2

/* entry flags given by the publisher */

#define FANOUT_NOECHO    0x04               /* not to the client itself */
#define FANOUT_TRANSIENT 0x08               /* ordered, not kept */


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
    fanout_zstr_t      scope;               /* the user the key belongs to */
    uint64_t           address;             /* hash, whose clients hold the
                                               key, 0: none */
    uint64_t           sender;              /* hash of the user, of the address
                                               of one without, 0: who is not
                                               limited */
    uint64_t           if_epoch;            /* with if_set: the channel's */
    uint64_t           if_offset;           /* last offset must be this */
    unsigned           if_set:1;
    unsigned           live:1;              /* a direct message: not for those
                                               who linger */
} fanout_zone_publish_t;


typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* of the last entry */
    uint64_t                    time;       /* Unix ms */
    uint32_t                    delivered;  /* direct: seats that live */
    uint32_t                    pending;    /* direct: seats that linger */
    uint32_t                    subscribers;    /* of the channel, all
                                               workers */
    uint32_t                    wait;       /* HELD: ms until its first key
                                               expires */
    unsigned                    duplicate:1;
    unsigned                    by_sender:1;    /* HELD: not by the address */
} fanout_zone_result_t;


/* an entry copied out; the strings point into the arena of the call */

typedef struct {
    uint64_t           offset;
    uint64_t           seq;
    uint64_t           time;                /* Unix ms */
    uint64_t           client;              /* 0: none */
    uint64_t           epoch;               /* that it was appended in */
    uint64_t           from;                /* GAP: last offset consumed */
    uint64_t           to_client;           /* only for this client */
    uint64_t           to_user;             /* only for this user: hash */
    fanout_zstr_t      event;
    fanout_zstr_t      key;
    fanout_zstr_t      user;
    fanout_zstr_t      meta;
    fanout_zstr_t      data;
    fanout_zstr_t      to;                  /* name of the user it is for: not
                                               known here, for who delivers */
    uint32_t           local;               /* given at open */
    uint8_t            type;
    uint8_t            kind;
    uint8_t            flags;
} fanout_entry_t;


/*
 * Where a call copies entries to.  Owned by the caller: the zone fills
 * it and grows bytes through grow() when one entry alone needs more, so a
 * small arena serves any entry.  Entries point into bytes, so nothing that
 * was filled moves: growth happens only when the arena is empty.
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
                                            /* 0, or -1: a read ends with
                                               FULL, a drain puts a GAP in
                                               the entry's place */
};


typedef struct {
    uint64_t                    epoch;
    uint64_t                    offset;     /* last assigned */
    uint64_t                    after;      /* read from here, exclusive */
    uint64_t                    missed;     /* kept entries in between */
    uint64_t                    seq;        /* a subscriber skips up to it */
    uint64_t                    from;       /* .after as a seq: all of the
                                               channel up to it is known */
    unsigned                    recovered:1;
    unsigned                    older:1;    /* kept before .after: seek */
} fanout_zone_join_t;


/* the log */

/* Appends n messages (1 to BATCH), all or none.  Makes the channel where it
 * is missing, and applies a newer policy where it is not.  Large messages are
 * staged first, in transactions of their own.  FULL, CONFLICT (r holds what the
 * channel has), HELD (r->wait, r->by_sender), ADDRESS, LARGE, STALE. */
int fanout_log_publish(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, unsigned n,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/* Whether a publish with a key would be refused for it as of now: OK, also if
 * the key is known; HELD (r->wait, r->by_sender), ADDRESS, FULL, which is
 * counted. */
int fanout_log_key(fanout_zone_t *z, const fanout_zone_channel_t *c,
    const fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/* what the position of a joiner is */

#define FANOUT_SINCE_NONE    0
#define FANOUT_SINCE_OFFSET  1                  /* epoch and offset */
#define FANOUT_SINCE_SEQ     2                  /* of the zone: incarnation
                                                   and seq in their place */

/* Joins an opened channel: what the joiner is told, and where it has to read
 * from to get its history.  With since: exactly what it missed, or
 * recovered 0.  STALE. */
int fanout_log_join(fanout_zone_t *z, fanout_zone_channel_t *c, int since,
    uint64_t epoch, uint64_t offset, uint32_t history, fanout_zone_join_t *j);

/* Copies kept entries with after < offset <= upto, oldest first, as many as
 * a section may and the arena holds.  *lost is the highest offset the log
 * has let go of.  OK at the end, AGAIN when there is more, NOTFOUND, STALE
 * also when the epoch is another, FULL if the arena can't grow. */
int fanout_log_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t after, uint64_t upto, fanout_arena_t *a,
    uint64_t *lost);

/* The offset after which the last n kept entries below before (0: all)
 * stand, together with epoch and last offset.  NOTFOUND: the epoch says that
 * there was no channel, as a position with offset 0. */
int fanout_log_seek(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t before, uint32_t n, fanout_zone_join_t *j);

/* Whether a position is one of the channel as it is: of its epoch, or of when
 * there was no channel, and nothing that came after is lost. */
int fanout_log_holds(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint64_t epoch, uint64_t offset);

/* Copies what this worker has not read of all its channels, within the
 * bounds of a section.  AGAIN when there is more, STALE, once, when the zone
 * was rebuilt: every channel has to be opened again (open does nothing for
 * one that was since). */
int fanout_log_drain(fanout_zone_t *z, fanout_arena_t *a);


/* Drops all history, gives a new epoch, appends a RESET entry with the
 * reason (at most 1024 bytes of it) for who reads now.  NOTFOUND, FULL. */
int fanout_channel_purge(fanout_zone_t *z, fanout_zone_channel_t *c,
    const uint8_t *reason, size_t len, fanout_zone_result_t *r);

/* The same, and its subscribers are let go: workers are ordered to PART all of
 * them (.client is 0).  NOTFOUND, FULL. */
int fanout_channel_end(fanout_zone_t *z, fanout_zone_channel_t *c,
    const uint8_t *reason, size_t len, fanout_zone_result_t *r);


/*
 * Direct messages: log_publish() of a message with to_client or to_user (one
 * of them, n is 1) appends an entry that only the addressed are to see: it is
 * never kept in the history, and each addressed seat keeps a copy for a
 * while, for who is cut before it has read it.  r->delivered seats are live,
 * r->pending linger; NOTFOUND (nothing is appended) if there is none, or with
 * opts->live no live one.
 */

#define FANOUT_ZONE_MAIL  64                /* most kept for a seat */

/* Copies what was addressed to the client on the channel after an offset,
 * oldest first, as log_read() does.  *lost is the highest offset of those it
 * does not have any more. */
int fanout_mail_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_identity_t *id, uint64_t after, uint64_t upto,
    fanout_arena_t *a, uint64_t *lost);

/*
 * Signals: not stored, no offset, no place in the history.  In the zone the
 * latest of (client, event, tag) replaces the one before it that some worker
 * has not read; log_drain() hands them out in the order of seq among the
 * entries.  They are the first to go when the zone is full.  To one client or
 * user by to_client, to_user.  m->key is the tag.
 *
 * OK, FULL, LARGE (data beyond 16384 bytes); NOTFOUND if it is addressed and
 * nobody is there.
 */
int fanout_signal_put(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m);


#endif /* FANOUT_ZONE_MESSAGE_H */
