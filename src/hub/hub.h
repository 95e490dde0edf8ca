
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The hub: what can be done with channels, for sessions of any dialect and
 * for HTTP.  One hub per zone and worker process; it has the worker's handle
 * of the zone, the channels it reads, and their subscribers here.
 *
 * All of it is worker-local memory, touched by the worker's one thread.
 */


#ifndef FANOUT_HUB_HUB_H
#define FANOUT_HUB_HUB_H


#include "hub/error.h"
#include "hub/policy.h"
#include "zone/message.h"
#include "zone/stat.h"


/* formats: what bytes an entry becomes */
#define FANOUT_BASES     4

/* each of them plain and in two ways to deflate, see format.h */
#define FANOUT_FORMATS   (3 * FANOUT_BASES)


/* bytes shared by all outboxes that send them */

typedef struct {
    uint32_t                         refs;
    uint32_t                         size;
    uint32_t                         used;
    uint32_t                         local;     /* of the channel, + 1, if it
                                                   is entries as they were
                                                   drained; 0 */
    u_char                          *data;
    uint64_t                         epoch;     /* of these, */
    uint64_t                         after;     /* the offset before them, */
    uint64_t                         seq;       /* and that of the first */
    unsigned                         list:1;    /* members, see hub->lists */
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
    ngx_queue_t             counted;            /* hub->counted: the zone has
                                                   to be told nsubs */
    uint32_t                nsubs;
    uint32_t                formats[FANOUT_FORMATS];
    uint32_t                local;              /* index in hub->channels */
    uint64_t                epoch;
    uint64_t                offset;             /* last delivered here */
    uint8_t                 vain;               /* in a row: did not shrink */
    uint8_t                 skip;               /* not tried: so many more */
    unsigned                reported:1;         /* not in counted */
    uint64_t                seq;                /* of what came last, or of
                                                   the opening */
    uint64_t                opened;             /* entries up to it came
                                                   before */
    fanout_roster_t        *roster;             /* NULL: nobody asked yet */
    uint32_t                watchers[FANOUT_FORMATS];
                                       /* subs that want presence */

    ngx_queue_t             signals;            /* kept, by seq */
    uint32_t                nsignals;
    uint32_t                waiting;            /* subs that are to be told */
};


/* names of events a subscriber wants; one block of memory */

typedef struct {
    ngx_uint_t                       n;
    ngx_str_t                        names[];
} fanout_events_t;


/* what a subscriber wants; PRESENCE only if it may and there is some */

#define FANOUT_WANT_MESSAGES  0x01
#define FANOUT_WANT_SIGNALS   0x02
#define FANOUT_WANT_PRESENCE  0x04
#define FANOUT_WANT_ALL       0x1f


/* a member that a session put; the zone has its data */

typedef struct fanout_own_member_s  fanout_own_member_t;

struct fanout_own_member_s {
    fanout_own_member_t           *next;
    unsigned                       idle:1;
    unsigned                       timed:1;     /* for silence, not asked */
    unsigned                       anonymous:1;
    unsigned                       unlisted:1;  /* made, and not seen in the
                                                   roster yet */
    uint8_t                        len;
    uint64_t                       version;     /* unlisted: of the roster when
                                                   it was made */
    u_char                         key[];
};


#define FANOUT_SUB_LIVE     0
#define FANOUT_SUB_BEHIND   1                   /* reads the log itself */
#define FANOUT_SUB_JOINING  2                   /* its reply is being sent */

struct fanout_subscription_s {
    ngx_queue_t                in_channel;
    ngx_queue_t                in_session;
    fanout_channel_t          *channel;
    fanout_session_t          *session;
    uint64_t                   seq;             /* entries up to it: skipped */
    uint64_t                   offset;          /* unless live: last sent */
    uint64_t                   floor;           /* had up to it at the join */
    fanout_events_t           *events;          /* NULL: all */
    uint8_t                    state;
    uint8_t                    format;
    unsigned                   no_echo:1;
    unsigned                   no_messages:1;
    unsigned                   reset:1;         /* to be told while behind */
    unsigned                   seat:1;          /* it has one in the zone */
    unsigned                   anonymous:1;     /* as it joined */
    uint8_t                    want;            /* FANOUT_WANT_* */
    uint64_t                   known;           /* changes of members up to it
                                                   were told in a reply */
    fanout_own_member_t       *own;             /* its members */

    ngx_queue_t                in_every;        /* hub->every */
    uint64_t                   signal_seq;      /* told up to it */
    ngx_msec_t                 signal_at;       /* last told */
    uint32_t                   every;           /* ms between, 0: any */
    unsigned                   waiting:1;       /* there are signals for it */
    unsigned                   timed:1;         /* in hub->every */
    unsigned                   mail:1;          /* it has not read its mail */
    uint64_t                   sent;            /* unless live: seq up to
                                                   which all was sent */
};


/* takes every entry, but for a publisher's wish not to hear itself */
#define fanout_sub_plain(sub)                                                 \
    (!((sub)->no_echo || (sub)->no_messages || (sub)->events))


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


/* work that is no session's; owned by who adds it, see turn.c */

typedef struct {
    ngx_queue_t                      queue;     /* hub->tasks */
    void                           (*handler)(void *data);
    void                            *data;
    unsigned                         queued:1;
} fanout_task_t;


/* part of a reply, as it is and deflated, see compress.h */

#define FANOUT_SHARED     16

typedef struct {
    fanout_outbuf_t         *plain;             /* NULL: none */
    fanout_outbuf_t         *deflated;          /* NULL: it did not shrink */
    ngx_uint_t               how;
    ngx_msec_t               at;
} fanout_shared_t;


/* what a hub calls above it; filled by the worker */

typedef struct {
    /* A turn's entries, in any order; they are the hub's. */
    void                  (*deliver)(fanout_hub_t *hub,
                                fanout_entry_t *entries, ngx_uint_t n);

    /* The zone was rebuilt: what lives in this worker registers again. */
    void                  (*rebuilt)(fanout_hub_t *hub);

    /* Whether a refusal, with a static text, is to be logged now: many of one
     * kind are gathered. */
    ngx_uint_t            (*logs)(fanout_hub_t *hub, const char *text);
} fanout_sink_t;


struct fanout_hub_s {
    fanout_zone_t           zone;
    fanout_app_t           *app;
    fanout_sink_t           sink;
    uint64_t                incarnation;
    uint64_t               *counters;

    ngx_rbtree_t            names;
    ngx_rbtree_node_t       sentinel;
    fanout_channel_t      **channels;           /* by local, some NULL */
    uint32_t                nchannels;          /* size of it */
    uint32_t                used;               /* not NULL */
    uint32_t                next;               /* look for a NULL from here */
    ngx_queue_t             counted;

    ngx_queue_t             sessions;
    ngx_uint_t              nsessions;          /* that have not ended */
    ngx_queue_t             flush;              /* sessions with output */
    ngx_queue_t             ended;              /* sessions to release */
    ngx_event_t             reaper;             /* posted: releases them */
    ngx_queue_t             work;               /* sessions with some */
    ngx_queue_t             tasks;              /* and others */
    ngx_event_t             turn;               /* goes on with it */
    uint64_t                spent;              /* on work, ever: WORK_* */
    uint64_t                turn_end;           /* of spent, for this turn */
    uint64_t                step_end;           /* and this session */
    uint64_t                turns;              /* that had work */
    uint64_t                metered_taken;
    uint64_t                metered_made;
                                       /* of zone.taken and .made:
                                                   accounted to sessions */
    ngx_rbtree_t            clients;            /* sessions by client */
    ngx_rbtree_t            users;              /* sessions by user's hash */

    fanout_arena_t          arena;              /* of drains */
    fanout_arena_t          pages;              /* of reads for a session */
    fanout_arena_t          letter;             /* one piece of mail */
    fanout_replay_t         replay[FANOUT_REPLAYS];
    fanout_shared_t         shared[FANOUT_SHARED];

    ngx_connection_t       *wake;               /* the eventfd */
    ngx_event_t             drain;              /* posted */
    ngx_event_t             tick;               /* every 250 ms */
    ngx_event_t             sweep;              /* posted: goes on with it */
    ngx_event_t             leave;              /* holds a draining worker */
    ngx_msec_t              drain_at;           /* the drain began */
    ngx_msec_t              return_in;          /* they may come back */
    ngx_uint_t              ticks;
    ngx_event_t             presence;           /* changes are due */
    ngx_queue_t             rosters;            /* all */
    ngx_queue_t             active;             /* rosters with work to do */
    size_t                  output_bytes;       /* bytes of all frames */
    size_t                  lists;              /* of them, of those that are
                                                   lists of members */
    ngx_queue_t             stuck;              /* sessions with output whose
                                                   socket is full */
    ngx_uint_t              nstuck;
    ngx_msec_t              full_at;            /* see .full */
    ngx_msec_t              shed_at;            /* not before that */
    size_t                  kept;               /* of signals */
    ngx_queue_t             every;              /* subs that wait for time */
    ngx_event_t             pace;               /* then */
    ngx_uint_t              calls;              /* under way, or waiting, to
                                                   backends */
    unsigned                draining:1;
    unsigned                reap:1;             /* look for dead workers */
    unsigned                in_turn:1;          /* it ends with a flush */
    unsigned                in_work:1;          /* of sessions */
    unsigned                full:1;             /* of output, since full_at */

    uint64_t                high;               /* highest seq delivered */
    uint64_t                safe;               /* all up to it was */
    unsigned                whole:1;            /* a drain read all there is */
    unsigned                ordered:1;          /* what is being delivered
                                                   comes after all that was */

    fanout_zone_vitals_t    vitals;
    uint64_t                lag;                /* ms, of this second */
    void                   *watch;              /* of the status, see
                                                   status/watch.c */

    ngx_event_t            *after;              /* posted after a turn, NULL:
                                                   nobody asked for it */
    void                   *dispatcher;         /* of events to the backend,
                                                   see hook/events.c */
    void                   *asker;              /* see hook/publish.c */
};


#define fanout_count(hub, name)                                               \
    (hub)->counters[FANOUT_N_##name]++

#define fanout_add(hub, name, n)                                              \
    (hub)->counters[FANOUT_N_##name] += (n)


/*
 * What a worker may hold (frames=): a quarter of it lists of members, so that
 * these are told whatever else there is, and the rest output.  What a session
 * may hold of the output when that is full is a share of the room that is left
 * free for it.
 */

#define fanout_lists_max(hub)   ((hub)->app->frames / 4)
#define fanout_output_max(hub)                                                \
    ((hub)->app->frames - fanout_lists_max(hub))

#define fanout_lists_full(hub)                                                \
    ((hub)->lists > fanout_lists_max(hub))
#define fanout_output_full(hub)                                               \
    ((hub)->output_bytes - (hub)->lists > fanout_output_max(hub))

#define fanout_output_share(hub)                                              \
    ((hub)->app->frames / 4 / ((hub)->nstuck + 1))


/* What work costs, in units of about the time that a byte takes to be copied
 * and composed: some 2 ns. */

#define FANOUT_WORK_COMMAND   1024              /* each, beside its bytes */
#define FANOUT_WORK_MESSAGE   512               /* that is published */
#define FANOUT_WORK_CHANNEL   3072              /* that is joined, or left */
#define FANOUT_WORK_SECTION   1024              /* of the log, or members */
#define FANOUT_WORK_ENTRY     128               /* in it */
#define FANOUT_WORK_MEMBER    512
#define FANOUT_WORK_DEFLATE   12                /* a byte */
#define FANOUT_WORK_INFLATE   2                 /* a byte that came out */
#define FANOUT_WORK_PARSE     2                 /* a byte of JSON */

#define fanout_spend(hub, cost)  ((hub)->spent += (cost))

/* Whether the session at work has to let others go first. */
#define fanout_spent(hub)                                                     \
    ((hub)->spent >= (hub)->step_end || (hub)->spent >= (hub)->turn_end)


/* Work that may be added within a handler of anything: it is done in steps, in
 * turn with that of sessions.  Each call of task->handler is one; it may spend
 * until fanout_spent(), and adds the task again if there is more. */
void fanout_task_add(fanout_hub_t *hub, fanout_task_t *task);
void fanout_task_remove(fanout_task_t *task);

/* The first step of it, before it is a task. */
void fanout_step(fanout_hub_t *hub);


/* life */

/* Attaches to the zone.  The worker has no slot yet, and nothing is read.  NULL
 * if the zone has another layout, or on lack of memory; it is logged. */
fanout_hub_t *fanout_hub_create(fanout_app_t *app, const fanout_sink_t *sink,
    ngx_log_t *log);

/* Claims a slot again in a worker that is shutting down and has given its own
 * back: 1, or 0 if none is free. */
ngx_uint_t fanout_hub_slot(fanout_hub_t *hub);

/* Posts a drain if an operation left work for this worker itself; to be
 * called after every zone operation that may append. */
void fanout_hub_kick(fanout_hub_t *hub);


/* Delivers what this worker has not read, within the bounds of a turn; AGAIN
 * (of the zone) when there is more. */
int fanout_hub_drain(fanout_hub_t *hub);

/* Tells the status how this worker is, and takes a sample if one is due; every
 * second. */
void fanout_hub_vitals(fanout_hub_t *hub);

/* operations; names must have been validated */

/*
 * Appends n messages to a channel under its policy, all or none.  The
 * strings are only read during the call.  r->duplicate tells that the key
 * was known and nothing was appended.  On CONFLICT r has epoch and offset
 * that the channel has.
 *
 * A direct message (one, with to_client or to_user) is for those who have
 * joined: r->delivered of them are there, r->pending may come back.
 *
 * NONE, TOO_LARGE, CONFLICT, ZONE_FULL, INTERNAL; RECIPIENT_OFFLINE if nobody
 * it is addressed to is there, TOO_MANY if a mailbox is full; RATE_LIMITED if
 * the sender holds all the keys it may: see fanout_meter_keys(); ADDRESS_FULL
 * if the clients of its address hold all the channels they may, and a key would
 * bring this one into use.
 */
fanout_error_e fanout_hub_publish(
    fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_message_t *m, ngx_uint_t n,
    fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/*
 * Whether a publish with these options would be refused for its key as of now:
 * NONE, also without a key or with a known one; ZONE_FULL, RATE_LIMITED,
 * ADDRESS_FULL as above.
 */
fanout_error_e fanout_hub_key(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_publish_t *opts, fanout_zone_result_t *r);

/*
 * Sends a signal: m->key is its tag.  Who has joined and can hear it now does,
 * and nobody else.
 *
 * NONE, TOO_LARGE, ZONE_FULL, INTERNAL; RECIPIENT_OFFLINE if it is addressed
 * and nobody is there.
 */
fanout_error_e fanout_hub_signal(
    fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_message_t *m);

/* Fills a zone's view of a channel by name, for calls of the zone; uses the
 * open interest where this worker has one.  name must outlive zc. */
void fanout_hub_view(fanout_hub_t *hub, ngx_str_t *name,
    fanout_zone_channel_t *zc);

/* The channel as this worker has it open, NULL if it has not. */
fanout_channel_t *fanout_hub_find(
    fanout_hub_t *hub, ngx_str_t *name);

/*
 * Opens a channel that is not open yet, for a client of the address.  Who opens
 * it adds a subscriber, or closes it again.
 *
 * NONE, ADDRESS_FULL, ZONE_FULL.
 */
fanout_error_e fanout_hub_open(fanout_hub_t *hub, ngx_str_t *name,
    uint64_t address, fanout_channel_t **chp);

/* Closes a channel without subscribers, and frees it. */
void fanout_hub_close(fanout_hub_t *hub, fanout_channel_t *ch);

/* The number of subscribers here has changed; the zone learns of it at the end
 * of the turn. */
void fanout_hub_counted(fanout_hub_t *hub, fanout_channel_t *ch);

/* Changes of members may be pending: they are appended when they are due.  To
 * be called after every operation on seats and members. */
void fanout_hub_presence(fanout_hub_t *hub);

/* outbufs: output that many outboxes share, see hub/outbuf.c.  Appends may move
 * f->data, and are allowed only until it is sent.  What was written before an
 * NGX_ERROR stays. */

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

/* Appends bytes as a JSON string, quotes included. */
ngx_int_t fanout_outbuf_string(fanout_hub_t *hub, fanout_outbuf_t *f,
    const void *data, size_t len);

/* Says that the outbuf has all entries of a channel behind the offset "after",
 * the first of which has this seq: an outbox that drops it can read them from
 * the log again. */
void fanout_outbuf_entries(fanout_outbuf_t *f, fanout_channel_t *ch,
    uint64_t after, uint64_t seq);

/* Drops a reference. */
void fanout_outbuf_release(fanout_hub_t *hub, fanout_outbuf_t *f);


/* permissions: evaluated at the handshake, interned per worker */

typedef struct {
    ngx_str_node_t                   node;      /* the packed rules */
    ngx_uint_t                       refs;
} fanout_permissions_t;

/* Evaluates the rules of a location for a request.  NULL on lack of
 * memory.  A rule with an empty variable, or one with a control character
 * in it, grants nothing. */
fanout_permissions_t *fanout_permissions_create(
    ngx_http_request_t *r, ngx_array_t *permits);

/* What a pattern without wildcards becomes for a request, from its pool; len 0
 * if it is no channel's name.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_permissions_name(ngx_http_request_t *r,
    fanout_permit_t *pattern, ngx_str_t *name);

void fanout_permissions_release(fanout_permissions_t *a);

/* Whether op (one of MAY_*) is permitted on the channel: 1 or 0. */
ngx_uint_t fanout_permissions_check(fanout_permissions_t *a, ngx_uint_t op,
    ngx_str_t *channel);


#endif /* FANOUT_HUB_HUB_H */
