
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The hub: the operations on channels, for sessions of any dialect and for
 * HTTP.  Each worker has one hub per zone, with its handle of the zone, the
 * channels that it reads, and their subscribers in this worker.
 *
 * All memory is local to the worker, and used by its one thread.
 */


#ifndef FANOUT_HUB_HUB_H
#define FANOUT_HUB_HUB_H


#include "hub/error.h"
#include "hub/policy.h"
#include "zone/denial.h"
#include "zone/message.h"
#include "zone/stat.h"


/* formats: what bytes an entry becomes */
#define FANOUT_BASES     8

/* this bit of a format: without users, for subscribers that may not see them */
#define FANOUT_UNNAMED   4

/* each of them plain and in two ways to deflate, see format.h */
#define FANOUT_FORMATS   (3 * FANOUT_BASES)


/* bytes shared by all outboxes that send them */

typedef struct {
    uint32_t                         refs;
    uint32_t                         size;
    uint32_t                         used;
    uint32_t                         local;     /* index of the channel + 1, if
                                                   the bytes are entries as they
                                                   were drained; or 0 */
    u_char                          *data;
    uint64_t                         epoch;     /* of the entries */
    uint64_t                         after;     /* offset before the
                                                   first entry */
    uint64_t                         seq;       /* of the first entry */
    unsigned                         list:1;    /* a list of members, see
                                                   hub->lists */
} fanout_outbuf_t;


typedef struct fanout_session_s       fanout_session_t;
typedef struct fanout_channel_s       fanout_channel_t;
typedef struct fanout_subscription_s  fanout_subscription_t;
typedef struct fanout_roster_s        fanout_roster_t;


/* a channel that this worker has subscribers on */

struct fanout_channel_s {
    ngx_rbtree_node_t       node;               /* key: hash of the name */
    ngx_str_t               name;
    fanout_policy_t        *policy;
    fanout_zone_channel_t   zc;
    ngx_queue_t             subs;               /* by .in_channel */
    ngx_queue_t             counted;            /* hub->counted: nsubs is to be
                                                   reported to the zone */
    uint32_t                nsubs;
    uint32_t                formats[FANOUT_FORMATS];
    uint32_t                local;              /* index in hub->channels */
    uint64_t                epoch;
    uint64_t                offset;             /* last delivered here */
    uint8_t                 vain;               /* messages in a row that did
                                                   not shrink */
    uint8_t                 skip;               /* messages still to be sent
                                                   plain, untried */
    unsigned                reported:1;         /* the zone knows nsubs */
    uint64_t                seq;                /* of the last entry delivered,
                                                   or of the opening */
    uint64_t                opened;             /* entries up to this seq came
                                                   before */
    fanout_roster_t        *roster;             /* NULL: no subscriber wanted
                                                   it */
    ngx_rbtree_t            pages;              /* of records, see
                                                   record_pages.h; no root:
                                                   there was none yet */
    ngx_rbtree_node_t       no_page;
    uint32_t                watchers[FANOUT_FORMATS];
                                       /* subs that want presence */
    uint32_t                keepers[FANOUT_FORMATS];
                                       /* subs that want records */
    uint32_t                lockers[FANOUT_FORMATS];
                                       /* subs that want locks */
    uint64_t                locked;             /* offset of the last change of
                                                   a lock; at first, of the
                                                   opening */

    ngx_queue_t             signals;            /* kept, by seq */
    uint32_t                nsignals;
    uint32_t                waiting;            /* subs that signals wait for */
};


/* names of events a subscriber wants; one block of memory */

typedef struct {
    ngx_uint_t                       n;
    ngx_str_t                        names[];
} fanout_events_t;


/* what a subscriber wants; PRESENCE only if it is permitted and the channel has
 * it, RECORDS and LOCKS only if the channel has any */

#define FANOUT_WANT_MESSAGES  0x01
#define FANOUT_WANT_SIGNALS   0x02
#define FANOUT_WANT_PRESENCE  0x04
#define FANOUT_WANT_RECORDS   0x08
#define FANOUT_WANT_LOCKS     0x10
#define FANOUT_WANT_ALL       0x1f


/* a member that a session made; the zone has its data */

typedef struct fanout_own_member_s  fanout_own_member_t;

struct fanout_own_member_s {
    fanout_own_member_t           *next;
    unsigned                       idle:1;
    unsigned                       timed:1;     /* idle by silence, not by a
                                                   command */
    unsigned                       anonymous:1;
    unsigned                       unlisted:1;  /* new, and not seen in the
                                                   roster yet */
    uint8_t                        len;
    uint64_t                       version;     /* unlisted: of the roster when
                                                   it was made */
    u_char                         key[];
};


#define FANOUT_SUB_LIVE     0
#define FANOUT_SUB_BEHIND   1                   /* reads from the log */
#define FANOUT_SUB_JOINING  2                   /* its reply is being sent */

struct fanout_subscription_s {
    ngx_queue_t                in_channel;
    ngx_queue_t                in_session;
    fanout_channel_t          *channel;
    fanout_session_t          *session;
    uint64_t                   seq;             /* entries up to this seq are
                                                   skipped */
    uint64_t                   offset;          /* unless live: the last sent */
    uint64_t                   floor;           /* offset at the join */
    fanout_events_t           *events;          /* NULL: all */
    uint8_t                    state;
    uint8_t                    format;
    unsigned                   no_echo:1;
    unsigned                   no_messages:1;
    unsigned                   no_records:1;    /* the channel has some */
    unsigned                   reset:1;         /* a reset is to be sent to it,
                                                   while it is behind */
    unsigned                   seat:1;          /* the session has a seat */
    unsigned                   anonymous:1;     /* as it joined */
    uint8_t                    want;            /* FANOUT_WANT_* */
    uint64_t                   known;           /* changes of members up to this
                                                   offset were in a reply */
    uint64_t                   lock_known;      /* the same of locks */
    fanout_own_member_t       *own;             /* its members */

    ngx_queue_t                in_every;        /* hub->every */
    uint64_t                   signal_seq;      /* signals up to this seq were
                                                   sent */
    ngx_msec_t                 signal_at;       /* signals were sent last */
    uint32_t                   every;           /* least ms between signals, 0:
                                                   none */
    unsigned                   waiting:1;       /* kept signals wait for it */
    unsigned                   timed:1;         /* in hub->every */
    unsigned                   mail:1;          /* its mailbox may have
                                                   messages */
    uint64_t                   sent;            /* unless live: seq up to
                                                   which all was sent */
    uint64_t                   granted_until;   /* ms of the epoch, 0: the
                                                   join holds */
    uint8_t                    granted;         /* FANOUT_MAY_* by the grant
                                                   that it joined with */
    uint32_t                   granted_warn;    /* ms before its end that the
                                                   client is told, 0: not */
    unsigned                   granted_check:1; /* it may lack what the join
                                                   needs */
    unsigned                   ticket:1;        /* this is that of a token, */
    uint32_t                   issued;          /* as in fanout_ticket_t */
    uint64_t                   token;
    struct fanout_grant_s     *grant;           /* by which its members have
                                                   their data; or NULL */
};


/* The bit of want that an entry of this type needs, 0: none.  Of messages, the
 * dialect decides. */
static inline ngx_uint_t
fanout_entry_wants(ngx_uint_t type)
{
    return type == FANOUT_PRESENCE ? FANOUT_WANT_PRESENCE
           : type == FANOUT_RECORD ? FANOUT_WANT_RECORDS
           : type == FANOUT_LOCK ? FANOUT_WANT_LOCKS : 0;
}

/* Whether a subscription wants no entries of this type. */
static inline ngx_uint_t
fanout_sub_skips(fanout_subscription_t *sub, ngx_uint_t type)
{
    ngx_uint_t  bit;

    bit = fanout_entry_wants(type);

    return bit && !(sub->want & bit);
}


/* receives every entry, but its own with FANOUT_NOECHO */
#define fanout_sub_plain(sub)                                                 \
    (!((sub)->no_echo || (sub)->no_messages || (sub)->no_records              \
       || (sub)->events))


/* a section of a log as bytes, see replay.h */

#define FANOUT_REPLAYS   64

typedef struct {
    fanout_outbuf_t        *outbuf;             /* NULL: none */
    fanout_channel_t       *channel;
    uint64_t                epoch;
    uint64_t                after;
    uint64_t                last;               /* offset of its last entry */
    ngx_msec_t              at;
    uint32_t                n;                  /* entries */
    uint32_t                format;
    uint64_t                seq;                /* of its last entry */
} fanout_replay_t;


/* work that belongs to no session, see turn.c; its adder owns it */

typedef struct {
    ngx_queue_t                      queue;     /* hub->tasks */
    void                           (*handler)(void *data);
    void                            *data;
    unsigned                         queued:1;
} fanout_task_t;


/* a part of replies, plain and deflated, see compress.h */

#define FANOUT_SHARED     16

typedef struct {
    fanout_outbuf_t         *plain;             /* NULL: none */
    fanout_outbuf_t         *deflated;          /* NULL: it did not shrink */
    ngx_uint_t               how;
    ngx_msec_t               at;
} fanout_shared_t;


/* calls of the hub to the rooms above; set by the worker */

typedef struct {
    /* Delivers the entries of a turn, in any order.  The hub owns them. */
    void                  (*deliver)(fanout_hub_t *hub,
                                fanout_entry_t *entries, ngx_uint_t n);

    /* The zone was rebuilt: registers this worker's channels and sessions
     * again. */
    void                  (*rebuilt)(fanout_hub_t *hub);

    /* Whether a refusal with this static text is to be logged now: many with
     * one text are gathered. */
    ngx_uint_t            (*logs)(fanout_hub_t *hub, const char *text);

    /* There are denials after hub->denials: applies them to all sessions, and
     * sets it. */
    void                  (*deny)(fanout_hub_t *hub);
} fanout_sink_t;


/* when denials were applied, for some time back */

#define FANOUT_DENIED_AT    64

typedef struct {
    ngx_msec_t              at;
    uint64_t                before;             /* number before that */
} fanout_denied_at_t;


struct fanout_hub_s {
    fanout_zone_t           zone;
    fanout_app_t           *app;
    fanout_sink_t           sink;
    uint64_t                incarnation;
    uint64_t                denials;            /* number of the last that was
                                                   applied to sessions */
    fanout_denied_at_t      denied[FANOUT_DENIED_AT];
    ngx_uint_t              ndenied;            /* of them, as a ring */
    uint64_t               *counters;

    ngx_rbtree_t            names;
    ngx_rbtree_node_t       sentinel;
    fanout_channel_t      **channels;           /* by .local, some NULL */
    uint32_t                nchannels;          /* size of it */
    uint32_t                used;               /* those not NULL */
    uint32_t                next;               /* search a free one from
                                                   here */
    ngx_queue_t             counted;

    ngx_queue_t             sessions;
    ngx_uint_t              nsessions;          /* that have not ended */
    ngx_queue_t             flush;              /* sessions with output */
    ngx_queue_t             ended;              /* sessions to release */
    ngx_event_t             reaper;             /* posted: releases them */
    ngx_queue_t             work;               /* sessions with work */
    ngx_queue_t             tasks;              /* other work */
    ngx_event_t             turn;               /* continues the work */
    uint64_t                spent;              /* cost of all work, ever */
    uint64_t                turn_end;           /* limit of .spent for this
                                                   turn */
    uint64_t                step_end;           /* and for this step */
    uint32_t                turns;              /* that had work */
    uint64_t                metered_taken;
    uint64_t                metered_made;
                                       /* part of zone.taken and .made that was
                                        * charged to sessions */
    ngx_rbtree_t            clients;            /* sessions by client */
    ngx_rbtree_t            users;              /* sessions by user's hash */

    fanout_arena_t          arena;              /* of drains */
    fanout_arena_t          pages;              /* of reads for a session */
    fanout_arena_t          direct;             /* one direct message */
    fanout_replay_t         replay[FANOUT_REPLAYS];
    fanout_shared_t         shared[FANOUT_SHARED];

    ngx_connection_t       *wake;               /* the eventfd */
    ngx_event_t             drain;              /* posted */
    ngx_event_t             tick;               /* every 250 ms */
    ngx_event_t             sweep;              /* posted: continues a sweep */
    ngx_event_t             leave;              /* keeps a draining worker */
    ngx_msec_t              drain_at;           /* the drain began */
    ngx_msec_t              return_in;          /* ms in which all come back */
    ngx_uint_t              ticks;
    ngx_event_t             presence;           /* flushes due changes */
    ngx_queue_t             rosters;            /* all */
    ngx_queue_t             active;             /* rosters with work to do */
    size_t                  output_bytes;       /* of outbufs, and of the
                                                   backlogs of rosters */
    size_t                  lists;              /* part of it for lists of
                                                   members */
    ngx_queue_t             paged;              /* pages of records, used last
                                                   at the end */
    size_t                  paged_bytes;        /* part of .output_bytes for
                                                   them */
    ngx_queue_t             stuck;              /* sessions with output whose
                                                   socket is full */
    ngx_uint_t              nstuck;
    ngx_msec_t              full_at;            /* see .full */
    ngx_msec_t              shed_at;            /* no shedding before */
    size_t                  kept;               /* bytes of kept signals */
    ngx_queue_t             every;              /* subs that wait for .every */
    ngx_event_t             pace;               /* timer for these */
    ngx_uint_t              calls;              /* to backends, active or
                                                   waiting */
    unsigned                draining:1;
    unsigned                reap:1;             /* look for dead workers */
    unsigned                in_turn:1;          /* a turn runs: it ends with a
                                                   flush */
    unsigned                in_work:1;          /* work of sessions runs */
    unsigned                full:1;             /* output is full, since
                                                   full_at */

    uint64_t                high;               /* highest seq delivered */
    uint64_t                safe;               /* all up to it was delivered */
    unsigned                whole:1;            /* the last drain read
                                                   everything */
    unsigned                ordered:1;          /* entries in delivery follow
                                                   all delivered before */

    fanout_zone_vitals_t    vitals;
    uint64_t                lag;                /* ms, most of this second */
    void                   *watch;              /* of the status, see
                                                   status/watch.c */

    ngx_event_t            *after;              /* posted after a turn, or
                                                   NULL */
    void                   *dispatcher;         /* sends events to the backend,
                                                   see hook/events.c */
    void                   *approver;              /* see hook/publish.c */
};


#define fanout_count(hub, name)                                               \
    (hub)->counters[FANOUT_N_##name]++

#define fanout_add(hub, name, n)                                              \
    (hub)->counters[FANOUT_N_##name] += (n)


/*
 * Limits of a worker's output (frames=): a quarter is for lists of members, so
 * that other output does not keep them from being sent, the rest for other
 * output.  While that is full, a session may hold an equal share of a quarter.
 */

#define fanout_lists_max(hub)   ((hub)->app->frames / 4)
#define fanout_output_max(hub)                                                \
    ((hub)->app->frames - fanout_lists_max(hub))

#define fanout_paged_max(hub)   ((hub)->app->frames / 8)

#define fanout_lists_full(hub)                                                \
    ((hub)->lists > fanout_lists_max(hub))
#define fanout_output_full(hub)                                               \
    ((hub)->output_bytes - (hub)->lists > fanout_output_max(hub))

#define fanout_output_share(hub)                                              \
    ((hub)->app->frames / 4 / ((hub)->nstuck + 1))


/* Costs of work.  The unit is about the time to compose and copy a byte: some 2
 * ns. */

#define FANOUT_WORK_COMMAND   1024              /* a command, beside its
                                                   bytes */
#define FANOUT_WORK_MESSAGE   512               /* a message published */
#define FANOUT_WORK_TOKEN     49152             /* a token verified */
#define FANOUT_WORK_CHANNEL   3072              /* a channel joined or left */
#define FANOUT_WORK_SECTION   1024              /* a section of the log, or of
                                                   members */
#define FANOUT_WORK_ENTRY     128               /* an entry of a section */
#define FANOUT_WORK_MEMBER    512
#define FANOUT_WORK_DEFLATE   12                /* a byte */
#define FANOUT_WORK_INFLATE   2                 /* a byte of output */
#define FANOUT_WORK_PARSE     2                 /* a byte of JSON */

#define fanout_spend(hub, cost)  ((hub)->spent += (cost))

/* Whether the current step, or the turn, is used up: others go first. */
#define fanout_spent(hub)                                                     \
    ((hub)->spent >= (hub)->step_end || (hub)->spent >= (hub)->turn_end)


/* Adds work to be done in steps, in turn with the work of sessions; may be
 * called from any handler.  Each call of task->handler is a step: it may spend
 * until fanout_spent(), and adds the task again if there is more to do. */
void fanout_task_add(fanout_hub_t *hub, fanout_task_t *task);
void fanout_task_remove(fanout_task_t *task);

/* Begins the first step of such work, before it is added as a task. */
void fanout_step(fanout_hub_t *hub);


/* Applies denials that are new, see session/denial.h. */
static inline void
fanout_hub_denials(fanout_hub_t *hub)
{
    if (hub->denials != fanout_denial_last(&hub->zone)) {
        hub->sink.deny(hub);
    }
}


/* life */

/* Attaches to the zone.  The worker has no slot yet, and reads nothing.  NULL
 * if the zone has another layout, or on lack of memory; the reason is
 * logged. */
fanout_hub_t *fanout_hub_create(fanout_app_t *app, const fanout_sink_t *sink,
    ngx_log_t *log);

/* Claims a slot, unless the worker has one: a worker that is shutting down has
 * returned its own.  1, or 0 if none is free. */
ngx_uint_t fanout_hub_slot(fanout_hub_t *hub);

/* Posts a drain if an operation woke this worker itself.  Must be called after
 * every operation of the zone that may append. */
void fanout_hub_kick(fanout_hub_t *hub);


/* Reads and delivers unread entries, as many as fit into a turn.  Returns
 * FANOUT_ZONE_AGAIN if there are more. */
int fanout_hub_drain(fanout_hub_t *hub);

/* Writes the vitals of this worker for the status, and takes a sample if one is
 * due.  Called every second. */
void fanout_hub_vitals(fanout_hub_t *hub);

/* operations; names must have been validated */

/*
 * Appends n messages to a channel under its policy, all or none.  The strings
 * are only read during the call.  r->duplicate is set if the key was known and
 * nothing was appended.  On CONFLICT r has the epoch and the offset of the
 * channel.
 *
 * A direct message (n is 1, to_client or to_user is set) is for recipients that
 * have joined: r->delivered of them are connected, r->pending may come back.
 *
 * NONE, TOO_LARGE, CONFLICT, ZONE_FULL, INTERNAL; RECIPIENT_OFFLINE if there is
 * no such recipient, TOO_MANY if a mailbox is full; RATE_LIMITED if the sender
 * holds all the keys it may, see fanout_meter_keys(); ADDRESS_FULL if the
 * clients of its address hold all the channels they may, and the key would
 * bring this one into use.
 */
fanout_error_e fanout_hub_publish(
    fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_message_t *m, ngx_uint_t n,
    fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/*
 * Checks whether a publish with these options would be refused now because of
 * its key: NONE, also without a key or with a known one; ZONE_FULL,
 * RATE_LIMITED, ADDRESS_FULL as above.
 */
fanout_error_e fanout_hub_key(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/*
 * Sends a signal; m->key is its tag.  It reaches clients that are on the
 * channel now, and no others.
 *
 * NONE, TOO_LARGE, ZONE_FULL, INTERNAL; RECIPIENT_OFFLINE if it has a
 * recipient, which is not there.
 */
fanout_error_e fanout_hub_signal(
    fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_message_t *m);

/* Fills in the zone's view of a channel, for calls of the zone.  If this worker
 * has the channel open, it is a copy of that view.  name must outlive zc. */
void fanout_hub_view(fanout_hub_t *hub, ngx_str_t *name,
    fanout_zone_channel_t *zc);

/* The channel if this worker has it open, or NULL. */
fanout_channel_t *fanout_hub_find(
    fanout_hub_t *hub, ngx_str_t *name);

/*
 * Opens a channel that is not open yet, for a client of the address.  The
 * caller adds a subscriber, or closes it again.
 *
 * NONE, ADDRESS_FULL, ZONE_FULL.
 */
fanout_error_e fanout_hub_open(fanout_hub_t *hub, ngx_str_t *name,
    uint64_t address, fanout_channel_t **chp);

/* Closes a channel without subscribers, and frees it. */
void fanout_hub_close(fanout_hub_t *hub, fanout_channel_t *ch);

/* The number of subscribers in this worker has changed: reports it to the zone
 * at the end of the turn. */
void fanout_hub_counted(fanout_hub_t *hub, fanout_channel_t *ch);

/* Posts the flush of changes of members, which appends those that are due.
 * Must be called after every operation on seats and members. */
void fanout_hub_presence(fanout_hub_t *hub);

/* outbufs: output that many outboxes share.  Appending may move f->data, and is
 * allowed only until the outbuf is shared.  After NGX_ERROR, what was appended
 * before remains. */

/* An outbuf with room for size bytes and one reference; NULL on lack of
 * memory. */
fanout_outbuf_t *fanout_outbuf_create(fanout_hub_t *hub, size_t size);

/* Makes room for n more bytes.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_outbuf_reserve(fanout_hub_t *hub, fanout_outbuf_t *f,
    size_t n);

/* Appends bytes as they are.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_outbuf_append(fanout_hub_t *hub, fanout_outbuf_t *f,
    const void *data, size_t len);

#define fanout_outbuf_literal(hub, f, text)                                   \
    fanout_outbuf_append(hub, f, text, sizeof(text) - 1)

/* Appends what ngx_sprintf() makes of the format, cut at size bytes. */
ngx_int_t fanout_outbuf_printf(fanout_hub_t *hub, fanout_outbuf_t *f,
    size_t size, const char *fmt, ...);

/* Appends a decimal number. */
ngx_int_t fanout_outbuf_count(fanout_hub_t *hub, fanout_outbuf_t *f,
    uint64_t n);

/* Appends bytes as a JSON string, quotes included. */
ngx_int_t fanout_outbuf_string(fanout_hub_t *hub, fanout_outbuf_t *f,
    const void *data, size_t len);

/* Records that the outbuf has all entries of a channel after the offset
 * "after", and the seq of the first: a session that drops the outbuf from its
 * outbox can read them from the log again. */
void fanout_outbuf_entries(fanout_outbuf_t *f, fanout_channel_t *ch,
    uint64_t after, uint64_t seq);

/* Drops a reference; the last one frees the outbuf. */
void fanout_outbuf_release(fanout_hub_t *hub, fanout_outbuf_t *f);


/* permissions: evaluated at the handshake, interned per worker */

typedef struct {
    ngx_str_node_t                   node;      /* the packed rules */
    ngx_uint_t                       refs;
} fanout_permissions_t;

/* Evaluates the rules of a location for a request, and adds more, which are
 * packed, NULL for none.  NULL on lack of memory.  A rule with an empty
 * variable, or one with a control character in it, grants nothing. */
fanout_permissions_t *fanout_permissions_create(ngx_http_request_t *r,
    ngx_array_t *permits, ngx_str_t *more);

/* Evaluates a pattern without wildcards for a request.  The name is of the
 * request's pool; len is 0 if it is not a valid name of a channel.  NGX_ERROR
 * on lack of memory. */
ngx_int_t fanout_permissions_name(ngx_http_request_t *r,
    fanout_permit_t *pattern, ngx_str_t *name);

void fanout_permissions_release(fanout_permissions_t *a);

/* Whether op (one of MAY_*) is permitted on the channel: 1 or 0. */
/* The operation of a name, 0: there is none; the name of one. */
ngx_uint_t fanout_permission(const u_char *name, size_t len);
void fanout_permission_name(ngx_uint_t op, ngx_str_t *name);

ngx_uint_t fanout_permissions_match(fanout_permissions_t *a, ngx_uint_t op,
    ngx_str_t *channel);


#endif /* FANOUT_HUB_HUB_H */
