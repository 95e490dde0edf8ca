
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The hub: what can be done with channels, for sessions of any dialect and
 * for HTTP.  One hub per zone and worker process; it has the worker's handle
 * of the zone, the channels it reads, and their subscribers here.
 *
 * All of it is worker-local memory, touched by the worker's one thread.
 */


#ifndef _NGX_HTTP_FANOUT_HUB_H_INCLUDED_
#define _NGX_HTTP_FANOUT_HUB_H_INCLUDED_


#include "ngx_http_fanout_module.h"


/* dialect and transport together: what bytes an entry becomes */
#define NGX_HTTP_FANOUT_BASES     4

#define NGX_HTTP_FANOUT_NATIVE_WS 0
#define NGX_HTTP_FANOUT_RAW_WS    1
#define NGX_HTTP_FANOUT_NATIVE_SSE  2

/* each of them plain and in the ways to deflate, see compress.h */
#define NGX_HTTP_FANOUT_FORMATS   (3 * NGX_HTTP_FANOUT_BASES)

/* no format of a session: items of a native reply's "messages" */
#define NGX_HTTP_FANOUT_NATIVE_ITEMS  NGX_HTTP_FANOUT_FORMATS


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
} ngx_http_fanout_frame_t;


typedef struct ngx_http_fanout_channel_s       ngx_http_fanout_channel_t;
typedef struct ngx_http_fanout_subscription_s  ngx_http_fanout_subscription_t;
typedef struct ngx_http_fanout_roster_s        ngx_http_fanout_roster_t;


/* a channel that this worker has subscribers on */

struct ngx_http_fanout_channel_s {
    ngx_rbtree_node_t                node;      /* key: hash of the name */
    ngx_str_t                        name;
    ngx_http_fanout_policy_t        *policy;
    ngx_http_fanout_zone_channel_t   zc;
    ngx_queue_t                      subs;      /* by .in_channel */
    ngx_queue_t                      counted;   /* hub->counted: the zone has
                                                   to be told nsubs */
    uint32_t                         nsubs;
    uint32_t                         formats[NGX_HTTP_FANOUT_FORMATS];
    uint32_t                         local;     /* index in hub->channels */
    uint64_t                         epoch;
    uint64_t                         offset;    /* last delivered here */
    uint8_t                          vain;      /* in a row: did not shrink */
    uint8_t                          skip;      /* not tried: so many more */
    unsigned                         told:1;    /* not in counted */
    uint64_t                         seq;       /* of what came last, or of
                                                   the opening */
    uint64_t                         opened;    /* entries up to it came
                                                   before */
    ngx_http_fanout_roster_t        *roster;    /* NULL: nobody asked yet */
    uint32_t                         watchers[NGX_HTTP_FANOUT_FORMATS];
                                                /* subs that want presence */

    ngx_queue_t                      signals;   /* kept, by seq */
    uint32_t                         nsignals;
    uint32_t                         waiting;   /* subs that are to be told */
};


/* names of events a subscriber wants; one block of memory */

typedef struct {
    ngx_uint_t                       n;
    ngx_str_t                        names[];
} ngx_http_fanout_events_t;


/* what a subscriber wants; PRESENCE only if it may and there is some */

#define NGX_HTTP_FANOUT_WANT_MESSAGES  0x01
#define NGX_HTTP_FANOUT_WANT_SIGNALS   0x02
#define NGX_HTTP_FANOUT_WANT_PRESENCE  0x04
#define NGX_HTTP_FANOUT_WANT_ALL       0x1f


/* a member that a session put; the zone has its data */

typedef struct ngx_http_fanout_own_s  ngx_http_fanout_own_t;

struct ngx_http_fanout_own_s {
    ngx_http_fanout_own_t           *next;
    unsigned                         idle:1;
    unsigned                         timed:1;   /* for silence, not asked */
    unsigned                         anonymous:1;
    unsigned                         untold:1;  /* made, and not seen in the
                                                   roster yet */
    uint8_t                          len;
    uint64_t                         version;   /* untold: of the roster when
                                                   it was made */
    u_char                           key[];
};


#define NGX_HTTP_FANOUT_SUB_LIVE     0
#define NGX_HTTP_FANOUT_SUB_BEHIND   1          /* reads the log itself */
#define NGX_HTTP_FANOUT_SUB_JOINING  2          /* its reply is being sent */

struct ngx_http_fanout_subscription_s {
    ngx_queue_t                      in_channel;
    ngx_queue_t                      in_session;
    ngx_http_fanout_channel_t       *channel;
    ngx_http_fanout_session_t       *session;
    uint64_t                         seq;       /* entries up to it: skipped */
    uint64_t                         offset;    /* unless live: last sent */
    uint64_t                         floor;     /* had up to it at the join */
    ngx_http_fanout_events_t        *events;    /* NULL: all */
    uint8_t                          state;
    uint8_t                          format;
    unsigned                         no_echo:1;
    unsigned                         no_messages:1;
    unsigned                         reset:1;   /* to be told while behind */
    unsigned                         seat:1;    /* it has one in the zone */
    unsigned                         anonymous:1;   /* as it joined */
    uint8_t                          want;      /* NGX_HTTP_FANOUT_WANT_* */
    uint64_t                         known;     /* changes of members up to it
                                                   were told in a reply */
    ngx_http_fanout_own_t           *own;       /* its members */

    ngx_queue_t                      in_every;  /* hub->every */
    uint64_t                         signal_seq;    /* told up to it */
    ngx_msec_t                       signal_at; /* last told */
    uint32_t                         every;     /* ms between, 0: any */
    unsigned                         waiting:1; /* there are signals for it */
    unsigned                         timed:1;   /* in hub->every */
    unsigned                         mail:1;    /* it has not read its mail */
    uint64_t                         sent;      /* unless live: seq up to
                                                   which all was sent */
};


/* takes every entry, but for a publisher's wish not to hear itself */
#define ngx_http_fanout_sub_plain(sub)                                        \
    (!((sub)->no_echo || (sub)->no_messages || (sub)->events))


/* a section of a log as bytes, see replay.h */

#define NGX_HTTP_FANOUT_REPLAYS   64

typedef struct {
    ngx_http_fanout_frame_t         *frame;     /* NULL: none */
    ngx_http_fanout_channel_t       *channel;
    uint64_t                         epoch;
    uint64_t                         after;
    uint64_t                         last;      /* offset of its last entry */
    ngx_msec_t                       at;
    uint32_t                         n;         /* entries */
    uint32_t                         format;
    uint64_t                         seq;       /* of its last entry */
} ngx_http_fanout_replay_t;


/* work that is no session's; owned by who adds it, see turn.c */

typedef struct {
    ngx_queue_t                      queue;     /* hub->tasks */
    void                           (*handler)(void *data);
    void                            *data;
    unsigned                         queued:1;
} ngx_http_fanout_task_t;


/* part of a reply, as it is and deflated, see compress.h */

#define NGX_HTTP_FANOUT_SHARED     16

typedef struct {
    ngx_http_fanout_frame_t         *plain;     /* NULL: none */
    ngx_http_fanout_frame_t         *deflated;  /* NULL: it did not shrink */
    ngx_uint_t                       how;
    ngx_msec_t                       at;
} ngx_http_fanout_shared_t;


struct ngx_http_fanout_hub_s {
    ngx_http_fanout_zone_t           zone;
    ngx_http_fanout_app_t           *app;
    uint64_t                         incarnation;
    uint64_t                        *counters;

    ngx_rbtree_t                     names;
    ngx_rbtree_node_t                sentinel;
    ngx_http_fanout_channel_t      **channels;  /* by local, some NULL */
    uint32_t                         nchannels; /* size of it */
    uint32_t                         used;      /* not NULL */
    uint32_t                         next;      /* look for a NULL from here */
    ngx_queue_t                      counted;

    ngx_queue_t                      sessions;
    ngx_uint_t                       nsessions; /* that have not ended */
    ngx_queue_t                      flush;     /* sessions with output */
    ngx_queue_t                      ended;     /* sessions to release */
    ngx_event_t                      reaper;    /* posted: releases them */
    ngx_queue_t                      work;      /* sessions with some */
    ngx_queue_t                      tasks;     /* and others */
    ngx_event_t                      turn;      /* goes on with it */
    uint64_t                         spent;     /* on work, ever: WORK_* */
    uint64_t                         turn_end;  /* of spent, for this turn */
    uint64_t                         step_end;  /* and this session */
    uint64_t                         turns;     /* that had work */
    uint64_t                         metered_taken;
    uint64_t                         metered_made;
                                                /* of zone.taken and .made:
                                                   accounted to sessions */
    ngx_rbtree_t                     clients;   /* sessions by client */
    ngx_rbtree_t                     users;     /* sessions by user's hash */

    ngx_http_fanout_arena_t          arena;     /* of drains */
    ngx_http_fanout_arena_t          pages;     /* of reads for a session */
    ngx_http_fanout_arena_t          letter;    /* one piece of mail */
    ngx_http_fanout_replay_t         replay[NGX_HTTP_FANOUT_REPLAYS];
    ngx_http_fanout_shared_t         shared[NGX_HTTP_FANOUT_SHARED];

    ngx_connection_t                *wake;      /* the eventfd */
    ngx_event_t                      drain;     /* posted */
    ngx_event_t                      tick;      /* every 250 ms */
    ngx_event_t                      sweep;     /* posted: goes on with it */
    ngx_event_t                      leave;     /* holds a draining worker */
    ngx_msec_t                       drain_at;  /* the drain began */
    ngx_msec_t                       return_in; /* they may come back */
    ngx_uint_t                       ticks;
    ngx_event_t                      presence;  /* changes are due */
    ngx_queue_t                      rosters;   /* all */
    ngx_queue_t                      active;    /* rosters with work to do */
    size_t                           frames;    /* bytes of all frames */
    size_t                           lists;     /* of them, of those that are
                                                   lists of members */
    ngx_queue_t                      stuck;     /* sessions with output whose
                                                   socket is full */
    ngx_uint_t                       nstuck;
    ngx_msec_t                       full_at;   /* see .full */
    ngx_msec_t                       shed_at;   /* not before that */
    size_t                           kept;      /* of signals */
    ngx_queue_t                      every;     /* subs that wait for time */
    ngx_event_t                      pace;      /* then */
    ngx_uint_t                       calls;     /* under way, or waiting, to
                                                   backends */
    unsigned                         draining:1;
    unsigned                         reap:1;    /* look for dead workers */
    unsigned                         in_turn:1; /* it ends with a flush */
    unsigned                         in_work:1; /* of sessions */
    unsigned                         full:1;    /* of output, since full_at */

    uint64_t                         high;      /* highest seq delivered */
    uint64_t                         safe;      /* all up to it was */
    unsigned                         whole:1;   /* a drain read all there is */
    unsigned                         ordered:1; /* what is being delivered
                                                   comes after all that was */

    ngx_http_fanout_zone_vitals_t    vitals;
    uint64_t                         lag;       /* ms, of this second */
    void                            *watch;     /* of the status, see
                                                   status_watch.c */

    ngx_event_t                     *after;     /* posted after a turn, NULL:
                                                   nobody asked for it */
    void                            *teller;    /* of events to the backend,
                                                   see hook_events.c */
    void                            *asker;     /* see hook_publish.c */
};


#define ngx_http_fanout_count(hub, name)                                      \
    (hub)->counters[NGX_HTTP_FANOUT_N_##name]++

#define ngx_http_fanout_add(hub, name, n)                                     \
    (hub)->counters[NGX_HTTP_FANOUT_N_##name] += (n)


/*
 * What a worker may hold (frames=): a quarter of it lists of members, so that
 * these are told whatever else there is, and the rest output.  What a session
 * may hold of the output when that is full is a share of the room that is left
 * free for it.
 */

#define ngx_http_fanout_lists_max(hub)   ((hub)->app->frames / 4)
#define ngx_http_fanout_output_max(hub)                                       \
    ((hub)->app->frames - ngx_http_fanout_lists_max(hub))

#define ngx_http_fanout_lists_full(hub)                                       \
    ((hub)->lists > ngx_http_fanout_lists_max(hub))
#define ngx_http_fanout_output_full(hub)                                      \
    ((hub)->frames - (hub)->lists > ngx_http_fanout_output_max(hub))

#define ngx_http_fanout_output_share(hub)                                     \
    ((hub)->app->frames / 4 / ((hub)->nstuck + 1))


/* What work costs, in units of about the time that a byte takes to be copied
 * and composed: some 2 ns. */

#define NGX_HTTP_FANOUT_WORK_COMMAND   1024     /* each, beside its bytes */
#define NGX_HTTP_FANOUT_WORK_MESSAGE   512      /* that is published */
#define NGX_HTTP_FANOUT_WORK_CHANNEL   3072     /* that is joined, or left */
#define NGX_HTTP_FANOUT_WORK_SECTION   1024     /* of the log, or members */
#define NGX_HTTP_FANOUT_WORK_ENTRY     128      /* in it */
#define NGX_HTTP_FANOUT_WORK_MEMBER    512
#define NGX_HTTP_FANOUT_WORK_DEFLATE   12       /* a byte */
#define NGX_HTTP_FANOUT_WORK_INFLATE   2        /* a byte that came out */
#define NGX_HTTP_FANOUT_WORK_PARSE     2        /* a byte of JSON */

#define ngx_http_fanout_spend(hub, cost)  ((hub)->spent += (cost))

/* Whether the session at work has to let others go first. */
#define ngx_http_fanout_spent(hub)                                            \
    ((hub)->spent >= (hub)->step_end || (hub)->spent >= (hub)->turn_end)


/* Work that may be added within a handler of anything: it is done in steps, in
 * turn with that of sessions.  Each call of task->handler is one; it may spend
 * until ngx_http_fanout_spent(), and adds the task again if there is more. */
void ngx_http_fanout_task_add(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_task_t *task);
void ngx_http_fanout_task_remove(ngx_http_fanout_task_t *task);

/* The first step of it, before it is a task. */
void ngx_http_fanout_step(ngx_http_fanout_hub_t *hub);


/* errors of operations, as the native protocol and the API name them */

typedef enum {
    NGX_HTTP_FANOUT_E_NONE = 0,
    NGX_HTTP_FANOUT_E_BAD_REQUEST,
    NGX_HTTP_FANOUT_E_UNKNOWN_OP,
    NGX_HTTP_FANOUT_E_TOO_LARGE,
    NGX_HTTP_FANOUT_E_TOO_MANY,
    NGX_HTTP_FANOUT_E_FORBIDDEN,
    NGX_HTTP_FANOUT_E_NOT_JOINED,
    NGX_HTTP_FANOUT_E_NOT_FOUND,
    NGX_HTTP_FANOUT_E_CONFLICT,
    NGX_HTTP_FANOUT_E_RATE_LIMITED,
    NGX_HTTP_FANOUT_E_ZONE_FULL,
    NGX_HTTP_FANOUT_E_INTERNAL,
    NGX_HTTP_FANOUT_E_CHANNEL_FULL,
    NGX_HTTP_FANOUT_E_RECIPIENT_OFFLINE,
    NGX_HTTP_FANOUT_E_REFUSED,
    NGX_HTTP_FANOUT_E_HOOK_FAILED,
    NGX_HTTP_FANOUT_E_BUSY,
    NGX_HTTP_FANOUT_E_ADDRESS_FULL,

    /* as ZONE_FULL, of a share of the zone, by its number, and of what a class
     * of channels may have of it */

#define NGX_HTTP_FANOUT_SHARE(name, text)  NGX_HTTP_FANOUT_E_FULL_##name,
    NGX_HTTP_FANOUT_SHARES(NGX_HTTP_FANOUT_SHARE)
#undef NGX_HTTP_FANOUT_SHARE
    NGX_HTTP_FANOUT_E_FULL_CLASS
} ngx_http_fanout_error_e;

typedef struct {
    ngx_str_t                        code;      /* "bad_request" */
    ngx_uint_t                       status;    /* of HTTP */
    ngx_str_t                        text;      /* when nothing better */
} ngx_http_fanout_error_t;

extern ngx_http_fanout_error_t  ngx_http_fanout_errors[];

/* Whether an error is zone_full. */
#define ngx_http_fanout_full(error)                                           \
    ((error) == NGX_HTTP_FANOUT_E_ZONE_FULL                                   \
     || (error) > NGX_HTTP_FANOUT_E_ADDRESS_FULL)


/* life: called in the worker, see the module's process hooks */

/* Attaches to the zone, claims a slot, starts reading.  NGX_ERROR. */
ngx_int_t ngx_http_fanout_hub_init(ngx_http_fanout_app_t *app,
    ngx_cycle_t *cycle);

/* Gives the slot back; the process is about to exit. */
void ngx_http_fanout_hub_exit(ngx_http_fanout_app_t *app);

/* Claims a slot again in a worker that is shutting down and has given its own
 * back: 1, or 0 if none is free. */
ngx_uint_t ngx_http_fanout_hub_slot(ngx_http_fanout_hub_t *hub);

/* Posts a drain if an operation left work for this worker itself; to be
 * called after every zone operation that may append. */
void ngx_http_fanout_hub_kick(ngx_http_fanout_hub_t *hub);


/* inside of the room */

/* Delivers what this worker has not read, within the bounds of a turn; AGAIN
 * (of the zone) when there is more. */
int ngx_http_fanout_hub_drain(ngx_http_fanout_hub_t *hub);

/* The zone lost everything: registers again what lives here, tells the
 * subscribers. */
void ngx_http_fanout_hub_rebuilt(ngx_http_fanout_hub_t *hub);

/* Tells the status how this worker is, and takes a sample if one is due; every
 * second. */
void ngx_http_fanout_hub_vitals(ngx_http_fanout_hub_t *hub);

/* The zone has to be told how many subscribers a channel has here. */
void ngx_http_fanout_hub_counted(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch);


/* operations; names must have been validated */

/* The error of the zone's last FULL, by the share that it was for; counted, and
 * logged. */
ngx_http_fanout_error_e ngx_http_fanout_hub_full(ngx_http_fanout_hub_t *hub);

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
 * the sender holds all the keys it may: see meter_keys(); ADDRESS_FULL if the
 * clients of its address hold all the channels they may, and a key would bring
 * this one into use.
 */
ngx_http_fanout_error_e ngx_http_fanout_hub_publish(
    ngx_http_fanout_hub_t *hub, ngx_str_t *channel,
    ngx_http_fanout_zone_message_t *m, ngx_uint_t n,
    ngx_http_fanout_zone_publish_t *opts, ngx_http_fanout_zone_result_t *r);

/*
 * Whether a publish with these options would be refused for its key as of now:
 * NONE, also without a key or with a known one; ZONE_FULL, RATE_LIMITED,
 * ADDRESS_FULL as above.
 */
ngx_http_fanout_error_e ngx_http_fanout_hub_key(ngx_http_fanout_hub_t *hub,
    ngx_str_t *channel, ngx_http_fanout_zone_publish_t *opts,
    ngx_http_fanout_zone_result_t *r);

/*
 * Sends a signal: m->key is its tag.  Who has joined and can hear it now does,
 * and nobody else.
 *
 * NONE, TOO_LARGE, ZONE_FULL, INTERNAL; RECIPIENT_OFFLINE if it is addressed
 * and nobody is there.
 */
ngx_http_fanout_error_e ngx_http_fanout_hub_signal(
    ngx_http_fanout_hub_t *hub, ngx_str_t *channel,
    ngx_http_fanout_zone_message_t *m);

/* Fills a zone's view of a channel by name, for calls of the zone; uses the
 * open interest where this worker has one.  name must outlive zc. */
void ngx_http_fanout_hub_view(ngx_http_fanout_hub_t *hub, ngx_str_t *name,
    ngx_http_fanout_zone_channel_t *zc);

/* Whether a text is a channel's name: NGX_OK, NGX_DECLINED. */
ngx_int_t ngx_http_fanout_hub_name(ngx_str_t *name);

/* Whether a text is a name of an event or key of at most max bytes. */
ngx_int_t ngx_http_fanout_hub_label(ngx_str_t *name, size_t max);

/* The channel as this worker has it open, NULL if it has not. */
ngx_http_fanout_channel_t *ngx_http_fanout_hub_find(
    ngx_http_fanout_hub_t *hub, ngx_str_t *name);

/*
 * Subscribes a session: opens the channel if need be and registers at its
 * end; since is one of SINCE_* and says what epoch and offset are.  Entries
 * with a seq above the one in j are delivered from then on, if the state is
 * LIVE.  *subp is the existing one after a second join.  Owned by the session.
 *
 * NONE, TOO_MANY, ZONE_FULL, INTERNAL.
 */
ngx_http_fanout_error_e ngx_http_fanout_hub_join(
    ngx_http_fanout_session_t *s, ngx_str_t *channel, ngx_uint_t since,
    uint64_t epoch, uint64_t offset, ngx_uint_t history,
    ngx_http_fanout_subscription_t **subp, ngx_http_fanout_zone_join_t *j);

/*
 * The join of a subscriber that is told who is there: registers it again, at
 * what this worker has delivered by now, so that all it is told is the state
 * at one offset.  One that was subscribed before and did not say since when
 * stays where it is.
 *
 * NGX_OK; NGX_AGAIN: a reset is on its way, or the zone was rebuilt; NGX_ERROR.
 */
ngx_int_t ngx_http_fanout_hub_register(ngx_http_fanout_subscription_t *sub,
    ngx_uint_t again, ngx_uint_t since, uint64_t epoch, uint64_t offset,
    ngx_uint_t history, ngx_http_fanout_zone_join_t *j);

/* Ends a subscription; closes the channel with the last.  Its seat is given
 * up for the reason (NGX_HTTP_FANOUT_LEFT_*), or with 0 stays as it is. */
void ngx_http_fanout_hub_leave(ngx_http_fanout_subscription_t *sub,
    ngx_uint_t reason);


/* presence, see presence.c */

/* Sets what a subscriber is told of; PRESENCE makes the channel's roster.
 * NGX_ERROR on lack of memory. */
ngx_int_t ngx_http_fanout_hub_want(ngx_http_fanout_subscription_t *sub,
    ngx_uint_t want);

/* The subscriber takes its seat, or takes it again.  NONE, ZONE_FULL,
 * INTERNAL. */
ngx_http_fanout_error_e ngx_http_fanout_hub_seat(
    ngx_http_fanout_subscription_t *sub);

/*
 * Puts what of a member of the subscriber's (NGX_HTTP_FANOUT_PUT_*); data is
 * minified JSON, empty for none.  timed: the state is the clock's doing.
 *
 * NONE, CHANNEL_FULL, TOO_LARGE, NOT_FOUND (no such member, and not to enter),
 * ZONE_FULL, INTERNAL.
 */
ngx_http_fanout_error_e ngx_http_fanout_hub_member_put(
    ngx_http_fanout_subscription_t *sub, ngx_http_fanout_member_t *m,
    ngx_uint_t what, ngx_uint_t timed, ngx_http_fanout_put_t *put);

/* The member leaves.  NONE, NOT_FOUND. */
ngx_http_fanout_error_e ngx_http_fanout_hub_member_drop(
    ngx_http_fanout_subscription_t *sub, ngx_http_fanout_zstr_t *key,
    ngx_uint_t reason);

/* Notes a member that the subscriber has already, since it was resumed. */
ngx_int_t ngx_http_fanout_hub_member_own(ngx_http_fanout_subscription_t *sub,
    const ngx_http_fanout_member_t *m);

/* Whether the channel, which has a roster, was told of all members that the
 * session has made; with late it is not asked again of these. */
ngx_uint_t ngx_http_fanout_hub_member_told(
    ngx_http_fanout_subscription_t *sub, ngx_uint_t late);

/* Changes of members may be pending: they are appended when they are due.  To
 * be called after every operation on seats and members. */
void ngx_http_fanout_hub_presence(ngx_http_fanout_hub_t *hub);

/*
 * The same for a session that has proved to be a client which is somewhere
 * else, maybe on another worker: its identity is known by the secret.  With m
 * NULL the member of that key leaves.  As above, and NOT_JOINED without a seat
 * on the channel.
 */
ngx_http_fanout_error_e ngx_http_fanout_hub_member_as(
    ngx_http_fanout_session_t *s, ngx_str_t *channel,
    ngx_http_fanout_zstr_t *key, ngx_http_fanout_member_t *m,
    ngx_uint_t what);

/* It leaves the channel, its own worker is ordered to part it. */
ngx_http_fanout_error_e ngx_http_fanout_hub_leave_as(
    ngx_http_fanout_session_t *s, ngx_str_t *channel);

/* Whether the policy lets this session publish there: 1 or 0. */
ngx_uint_t ngx_http_fanout_hub_may_publish(ngx_http_fanout_session_t *s,
    ngx_str_t *channel);

/* Registers a session and all it has anew, after the zone was rebuilt.  With
 * members it is the turn of its seats: the channels are open again by then. */
void ngx_http_fanout_hub_restore(ngx_http_fanout_session_t *s,
    ngx_uint_t members);

/* Does what others want of sessions of this worker. */
void ngx_http_fanout_hub_orders(ngx_http_fanout_hub_t *hub);

void ngx_http_fanout_hub_presence_handler(ngx_event_t *ev);


/* Lets go of all signals kept for a channel, or, when a subscriber goes, of
 * what only it was waiting for. */
void ngx_http_fanout_signals_clear(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch);
void ngx_http_fanout_signals_forget(ngx_http_fanout_subscription_t *sub);



/* frames */

/* A frame with room for size bytes, one reference; NULL. */
ngx_http_fanout_frame_t *ngx_http_fanout_frame_create(
    ngx_http_fanout_hub_t *hub, size_t size);

/* Makes room for n more bytes; only while it has not been sent.  NGX_ERROR. */
ngx_int_t ngx_http_fanout_frame_reserve(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_frame_t *f, size_t n);

/* The frame is entries of a channel, all that it has behind the offset "after";
 * seq is that of the first.  Who lets go of it can read them again. */
void ngx_http_fanout_frame_entries(ngx_http_fanout_frame_t *f,
    ngx_http_fanout_channel_t *ch, uint64_t after, uint64_t seq);

void ngx_http_fanout_frame_release(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_frame_t *f);


/* permissions: evaluated at the handshake, interned per worker */

typedef struct {
    ngx_str_node_t                   node;      /* the packed rules */
    ngx_uint_t                       refs;
} ngx_http_fanout_access_t;

/* Evaluates the rules of a location for a request.  NULL on lack of
 * memory.  A rule with an empty variable, or one with a control character
 * in it, grants nothing. */
ngx_http_fanout_access_t *ngx_http_fanout_access_create(
    ngx_http_request_t *r, ngx_array_t *permits);

/* What a pattern without wildcards becomes for a request, from its pool; len 0
 * if it is no channel's name.  NGX_ERROR on lack of memory. */
ngx_int_t ngx_http_fanout_access_name(ngx_http_request_t *r,
    ngx_http_fanout_permit_t *pattern, ngx_str_t *name);

void ngx_http_fanout_access_release(ngx_http_fanout_access_t *a);

/* Whether op (one of MAY_*) is permitted on the channel: 1 or 0. */
ngx_uint_t ngx_http_fanout_access_check(ngx_http_fanout_access_t *a,
    ngx_uint_t op, ngx_str_t *channel);


#endif /* _NGX_HTTP_FANOUT_HUB_H_INCLUDED_ */
