
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A session is one client connection.  It begins attached to the request of
 * its handshake and, where that may be freed, goes on detached from it:
 * then it has the connection and this memory, nothing else.
 *
 *   OPEN ──────► CLOSING ──────► ENDED ──────► released by the reaper
 *     │  close sent, awaiting  ▲               at the end of the turn
 *     └────────────────────────┘ cut, refused, or the close answered
 *
 * What it has is released in one place, see "Life and end" in
 * docs/architecture.md.
 */


#ifndef FANOUT_SESSION_SESSION_H
#define FANOUT_SESSION_SESSION_H


#include "hub/hub.h"
#include "hub/roster.h"
#include "session/conf.h"
#include "session/log.h"
#include "session/meter.h"


/* why a session ended, which says whether it may come back */

#define FANOUT_END_CLEAN    0                   /* 1000 or 1005: gone */
#define FANOUT_END_CUT      1                   /* lingers */
#define FANOUT_END_REPLACED 2                   /* somebody else has it */


typedef enum {
    FANOUT_OPEN = 0,
    FANOUT_CLOSING,
    FANOUT_ENDED
} fanout_state_e;


/* a piece of output: bytes of a frame that others may send as well */

typedef struct {
    fanout_outbuf_t         *outbuf;
    uint32_t                 start;
    uint32_t                 end;
} fanout_segment_t;


/* Entries that wait for the replies of an array of commands. */

typedef struct {
    size_t                    bytes;
    uint32_t                  n;
    uint32_t                  max;
    fanout_segment_t          segments[];
} fanout_withheld_t;


/* What a session has begun to answer, and goes on with as the socket takes
 * it; commands that follow wait.  A dialect makes it, as the first member of
 * what it needs for it. */

typedef struct fanout_job_s  fanout_job_t;

typedef struct {
    /* Goes on with the session's job within its output limit.  OK when it is
     * done, and was freed by fanout_session_job_done(); AGAIN if there is one
     * still. */
    ngx_int_t             (*step)(fanout_session_t *s);

    /* Frees it and what it has, but for its snapshot. */
    void                  (*free)(fanout_job_t *job);
} fanout_job_ops_t;

struct fanout_job_s {
    const fanout_job_ops_t  *ops;
    fanout_session_t        *session;
    fanout_subscription_t   *sub;               /* of a join, or NULL */
    fanout_snapshot_t       *snapshot;          /* members, or NULL */
    fanout_waiter_t          waiter;            /* for a roster */
    unsigned                 waits:1;           /* for the roster, or a
                                                   backend */
    unsigned                 asks:1;            /* a backend */
    unsigned                 removed:1;         /* sub has ended meanwhile */
};


/* waits until the request can be let go; of neither pool */

typedef struct {
    ngx_event_t             event;
    fanout_session_t       *session;
} fanout_detach_t;


#define FANOUT_TLS_RECORD 16384             /* bytes in one, at most */


/* finds a subscription by its channel, see subs.c */

typedef struct fanout_subs_s  fanout_subs_t;


/* output through the filters of a request, see attached.c; of its pool */

typedef struct fanout_filtered_s  fanout_filtered_t;


struct fanout_session_s {
    ngx_queue_t              queue;             /* hub->sessions */
    ngx_queue_t              flush;             /* hub->flush */
    ngx_queue_t              work;              /* hub->work */
    ngx_queue_t              ended;             /* hub->ended */
    ngx_queue_t              stuck;             /* hub->stuck */
    uint64_t                 worked;            /* the last turn that it
                                                   worked in */
    ngx_connection_t        *connection;        /* NULL: the connection has
                                                   gone with its request */
    ngx_http_request_t      *request;           /* NULL: detached */
    fanout_hub_t            *hub;
    fanout_loc_conf_t       *conf;
    const fanout_dialect_t  *dialect;
    const fanout_transport_t  *transport;
    fanout_permissions_t    *access;

    fanout_segment_t        *out;               /* ring of nout_max pieces */
    uint32_t                 out_head;
    uint32_t                 nout;
    uint32_t                 nout_max;
    uint32_t                 retry;             /* bytes of a TLS write that
                                                   must be repeated */
    size_t                   pending;           /* bytes of all pieces */
    size_t                   owed;              /* bytes pending at owed_at,
                                                   0: none were counted */
    fanout_withheld_t       *withheld;          /* NULL: no entries wait */
    fanout_segment_t         few[2];            /* a small ring for out */
    uint32_t                 chunk;             /* size of the HTTP chunk being
                                                   sent, 0: none */
    uint32_t                 chunk_sent;        /* bytes sent of it, with its
                                                   framing */

    ngx_queue_t              subs;              /* by .in_session */
    fanout_subs_t           *table;             /* index of many, or NULL */
    uint32_t                 nsubs;
    uint32_t                 waiting;           /* number of subscriptions that
                                                   wait for signals */
    ngx_rbtree_node_t        by_client;         /* hub->clients */
    ngx_rbtree_node_t        by_user;           /* hub->users */
    fanout_meter_t           meter;

    void                    *transport_part;    /* of the transport */
    void                    *dialect_part;      /* of the dialect */
    u_char                  *input;             /* received while a job ran */
    size_t                   input_len;
    fanout_job_t            *job;
    fanout_detach_t         *detach;

    fanout_identity_t        identity;
    uint32_t                 identity_ref;
    ngx_str_t                user;

    ngx_msec_t               received_at;
    ngx_msec_t               frame_at;          /* start of an incomplete
                                                   frame, 0: none */
    ngx_msec_t               close_at;          /* CLOSING: time to cut it;
                                                   OPEN: time to drain it */
    uint16_t                 close_code;
    uint32_t                 back_in;           /* ms until the client was told
                                                   to come back */
    ngx_msec_t               beat_at;           /* time of the next heartbeat */
    ngx_msec_t               sent_at;           /* last progress of pending
                                                   output, 0: none */
    ngx_msec_t               owed_at;
    ngx_int_t                unacked;           /* bytes in the socket at
                                                   owed_at */
    uint8_t                  state;
    uint8_t                  format;
    unsigned                 queued:1;          /* in hub->flush */
    unsigned                 works:1;           /* in hub->work */
    unsigned                 unread:1;          /* the socket may have more
                                                   input */
    unsigned                 blocked:1;         /* no output can be sent: the
                                                   socket is full, the session
                                                   has not begun or has ended */
    unsigned                 sticks:1;          /* in hub->stuck */
    unsigned                 behind:1;          /* a subscription is BEHIND */
    unsigned                 pinged:1;          /* a ping is not answered */
    unsigned                 draining:1;
    unsigned                 resumed:1;
    unsigned                 unconfirmed:1;     /* resumed, but the welcome
                                                   may be lost */
    unsigned                 listed:1;          /* in hub->ended */
    unsigned                 keeps_request:1;   /* has to finalize the
                                                   request */
    unsigned                 heard:1;           /* the client has sent a sign
                                                   of life */
    unsigned                 heartbeat:1;       /* the timer beat_at is on */
    unsigned                 batched:1;         /* an array of commands runs;
                                                   its end sends the replies */
    unsigned                 paused:1;          /* input waits until all
                                                   output is sent */
    unsigned                 indexed:1;         /* in hub->clients */
    unsigned                 owned:1;           /* in hub->users */
    unsigned                 close_after:2;     /* 1 + how to end when all
                                                   output is sent, 0: go on */
    unsigned                 chunk_last:1;      /* the chunk ends the body */
    unsigned                 started:1;         /* the timer is set */
    unsigned                 deaf:1;            /* the client can't receive */
    unsigned                 lingers:1;         /* the client may still send:
                                                   close its connection late */
    unsigned                 alive:1;           /* alive_at is set */
    unsigned                 idles:1;           /* a member is idle because of
                                                   silence */
    unsigned                 returned:1;        /* resumed, and may have seats
                                                   that it does not join */
    unsigned                 finish:1;          /* ENDED: the request that is
                                                   kept gets its answer */
    unsigned                 logged:1;          /* a log record follows */
    uint8_t                  reason;            /* FANOUT_LEFT_* of members,
                                                   0: by how the session ends */
    uint8_t                  refused;           /* fanout_error_e of the start
                                                   or of the last reply */
    ngx_str_t                info;              /* the profile, JSON */
    ngx_msec_t               active_at;         /* time of the last command */
    ngx_msec_t               alive_at;          /* next check for silence */
    ngx_msec_t               returned_at;       /* time of the resume */
    const char              *why;               /* text of .refused, NULL: the
                                                   usual one */
    fanout_outbuf_t         *error;             /* error object of a session
                                                   that could not begin, NULL:
                                                   only .refused is known */
    ngx_msec_t               again;             /* ms until the client may try
                                                   again, 0: it may not */
    ngx_http_cleanup_t      *cleanup;           /* handler in the request */
    fanout_filtered_t       *stream;            /* output by request filters */
    void                    *answer;            /* data of transport->answer,
                                                   in the request's pool */
};


/*
 * Makes a session for a handshake that is to be accepted, attached to the
 * request.  It is ended with the request at the latest, unless it is detached
 * before.  The meter is that with which it was admitted.  NULL: nothing was
 * changed.
 */
fanout_session_t *fanout_session_create(
    ngx_http_request_t *r, fanout_hub_t *hub,
    fanout_loc_conf_t *conf, const fanout_dialect_t *dialect,
    const fanout_transport_t *transport, ngx_str_t *user,
    fanout_meter_t *meter);

/* The dialect greets and subscribes; what it says waits for the start.  If the
 * session ends within, the caller takes its request back, by
 * fanout_session_return_request(), and refuses it. */
void fanout_session_begin(fanout_session_t *s);

/* A dialect can't begin the session, for .refused and .error: nothing is done
 * for it any more. */
void fanout_session_refuse(fanout_session_t *s);

/* The session holds its request from here on: the content handler returns
 * NGX_DONE, and the end of the session finalizes the request. */
void fanout_session_keep_request(fanout_session_t *s);

/* The handshake was answered and flushed: output goes, input is read, the
 * request is let go. */
void fanout_session_start(fanout_session_t *s);

/* The same for one that stays attached: its request is answered in time, or
 * its output goes through the filters as a stream. */
void fanout_session_attach(fanout_session_t *s);

/* A content handler takes the request back from a session that does not hold
 * it, to refuse it, and ends the session. */
void fanout_session_return_request(fanout_session_t *s);

/* The subscription of a session on a channel, NULL. */
fanout_subscription_t *fanout_session_sub(
    fanout_session_t *s, ngx_str_t *channel);

/* Puts a subscription among those of its session; takes it out. */
void fanout_session_sub_add(fanout_subscription_t *sub);
void fanout_session_sub_remove(fanout_subscription_t *sub);

/* Appends output; the frame gets a reference.  A reply is always taken, an
 * entry only through deliver.  Sent at the end of the turn. */
void fanout_session_push(fanout_session_t *s, fanout_outbuf_t *f,
    uint32_t start, uint32_t end);

/* Appends entries of a subscription, which many may share: as they are, or
 * placed by the transport where the session is not in their order. */
void fanout_session_give(fanout_subscription_t *sub, fanout_outbuf_t *f,
    uint32_t start, uint32_t end);

/* Whether entries of so many bytes are more than it may be given now. */
#define fanout_session_full(s, size)                                         \
    ((s)->withheld                                                           \
     ? fanout_session_most(s, (s)->withheld->bytes, size)                    \
     : (s)->pending                                                          \
       && fanout_session_most(s, (s)->pending, size))

#define fanout_session_most(s, held, size)                                   \
    ((held) + (size) > (s)->conf->buffer                                     \
     || (fanout_output_full((s)->hub)                                        \
         && (held) > fanout_output_share((s)->hub)))

/* Sends a payload of its own as one text or binary message. */
void fanout_session_send(fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len);

/* Sends bytes that are framed already. */
void fanout_session_bytes(fanout_session_t *s,
    u_char *data, size_t len);

/* Whether commands have to wait: for a job, or because the client does not
 * read what it is sent. */
ngx_uint_t fanout_session_busy(fanout_session_t *s);

/* Starts or ends the deadline of a message that is received in part, if there
 * is one. */
void fanout_session_deadline(fanout_session_t *s, ngx_uint_t within);

/* Sends the output of all sessions that have some; ends the turn. */
void fanout_session_flush(fanout_hub_t *hub);

/*
 * Work, see turn.c.  Puts the session at the end of the queue of those that
 * have some: it is read from, goes on with its array of commands and its job,
 * and catches up, a step at a time.
 */
void fanout_session_work(fanout_session_t *s);

/* It has no work any more. */
void fanout_session_rest(fanout_session_t *s);

/* The job is done: frees it. */
void fanout_session_job_done(fanout_session_t *s);

/* Goes on with the job, which may end, and the session with it: AGAIN if there
 * is one still. */
ngx_int_t fanout_session_go_on(fanout_session_t *s);

/* Says goodbye with a close code and ends the session when the client
 * answers, or after a while. */
void fanout_session_close(fanout_session_t *s, ngx_uint_t code,
    const char *reason);

/* A close frame was sent by other means: nothing may follow it. */
void fanout_session_closing(fanout_session_t *s);

/* Marks it as ENDED, for good: nothing is sent or received any more, no event
 * of it is handled.  It may be called from anywhere: the reaper releases it
 * and what it has at the end of the turn. */
void fanout_session_end(fanout_session_t *s, ngx_uint_t how);

/* The client of a session with an identity is gone, but what it has sent is
 * not all done: its seats linger from now on. */
void fanout_session_disconnected(fanout_session_t *s);

/* Of a worker that drains, a ms for each: so a thousand a second come back. */
#define FANOUT_RETURN       1

/* Says goodbye to all within the drain time; the worker is shutting down. */
void fanout_session_drain(fanout_hub_t *hub);

/* Keeps a worker that is shutting down for so many ms more, and the time that a
 * close takes, unless its last session ends before. */
void fanout_session_stay(fanout_hub_t *hub, ngx_msec_t time);

/* A session that begins in a worker that is shutting down: "closing", and a
 * close with 1012. */
void fanout_session_turn_away(fanout_session_t *s);

/* Marks a session that can't take more entries: its subscriptions read the
 * log when the socket has drained. */
void fanout_session_lag(fanout_session_t *s);

/* Keeps entries from a session until replies have been sent: its
 * subscriptions are JOINING until they are settled. */
void fanout_session_defer(fanout_session_t *s);

/* Lets entries wait until replies have been sent, as far as the output limit
 * allows: they are told behind these, also what no log keeps. */
void fanout_session_withhold(fanout_session_t *s);

/* Sends what was withheld, and makes subscriptions that are JOINING live, or
 * lets them read what they have not been given meanwhile. */
void fanout_session_settle(fanout_session_t *s);

/* The same for one, where no other can be JOINING. */
void fanout_session_settle_one(fanout_subscription_t *sub);

/* Goes on with the job and with what is behind, as far as the output limit
 * allows. */
void fanout_session_catch_up(fanout_session_t *s);


/* for sessions alone */

/* The reaper, posted by ends: hub->reaper. */
void fanout_session_reap(ngx_event_t *ev);

/* Parts a session from its request, which knows nothing of it any more. */
void fanout_session_release_request(fanout_session_t *s);

/* A cleanup handler: the request ends while the session is attached to it. */
void fanout_session_cleanup(void *data);

/* Handlers of a detached connection. */
void fanout_session_read_handler(ngx_event_t *rev);
void fanout_session_write_handler(ngx_event_t *wev);

/* What they do, attached or not. */
void fanout_session_read(fanout_session_t *s);
void fanout_session_write(fanout_session_t *s);
void fanout_session_tick(fanout_session_t *s);

/* Reads what was received before and had to wait; within a handler. */
void fanout_session_input(fanout_session_t *s);

/* The worker wants to exit. */
void fanout_session_shutdown(fanout_session_t *s);

/* What the policies of its channels say to its silence: members become idle,
 * or leave; and to places of a client that came back and does not join them.
 * Sets alive_at. */
void fanout_session_alive(fanout_session_t *s);

/* It was heard of: members that were idle for its silence are active. */
void fanout_session_active(fanout_session_t *s);

/* stalled.c: the socket took some of the output now, or nothing, and can take
 * no more. */
void fanout_session_blocked(fanout_session_t *s, ngx_uint_t some);

/* Output may be taken again; nothing is to be any more. */
void fanout_session_unblocked(fanout_session_t *s);

/* All of it has been taken. */
void fanout_session_drained(fanout_session_t *s);

/* Whether a session has to be cut as its client does not take what it is sent,
 * see fanout_send_timeout.  Looks for what the peer has acknowledged. */
ngx_uint_t fanout_session_stalled(fanout_session_t *s);

/* shed.c: if the worker holds more than it may, those of its sessions that do
 * not take what they are sent let go of it, or are cut.  Once a turn. */
void fanout_session_shed(fanout_hub_t *hub);

/* Sets the one timer to what is due first. */
void fanout_session_timer(fanout_session_t *s);

/* Sends what fits of the pieces through the filters of the request: how much
 * was taken, AGAIN, or ERROR. */
ssize_t fanout_filtered_send(fanout_session_t *s);

/* Copies up to size bytes of output; nothing is taken off.  How many. */
size_t fanout_outbox_copy(fanout_session_t *s, u_char *p, size_t size);

/* Writes to the connection: how much was taken, AGAIN, or ERROR.  By TLS what
 * was not taken has to be written again as it was, from the same address: at
 * most a record at a time. */
ssize_t fanout_outbox_write(fanout_session_t *s, u_char *p, size_t len);

/* Sends what the socket takes.  When that is all, what waits for it goes on:
 * the end of the session, input, work. */
void fanout_outbox_send(fanout_session_t *s);

/* Puts it among those whose output goes at the end of the turn. */
void fanout_outbox_queue(fanout_session_t *s);

/* Drops all output but what is withheld. */
void fanout_outbox_clear(fanout_session_t *s);

/* What is withheld becomes output, or is dropped if the session has ended. */
void fanout_outbox_join(fanout_session_t *s);


/* turn.c */

void fanout_turn_init(fanout_hub_t *hub, ngx_log_t *log);

/* Does what work there is, as far as this turn has room for it. */
void fanout_turn_run(fanout_hub_t *hub);

/* Around what a session does: from here on it may spend a step's share.  The
 * end has what was spent before. */
void fanout_step_begin(fanout_session_t *s);
void fanout_step_end(fanout_session_t *s, uint64_t before);

/* Whether it is too early to read from the session: the turn is spent, and it
 * had its share not long ago. */
ngx_uint_t fanout_session_early(fanout_session_t *s);

/* Reads from the socket, early or not. */
void fanout_session_read_now(fanout_session_t *s);


/* direct.c: who is addressed, and what waits for them */

/* Makes a session found by its identity, once that is known; and no more. */
void fanout_session_index(fanout_session_t *s);
void fanout_session_unindex(fanout_session_t *s);

/* Calls back for each session here that is this client; each may end within. */
typedef void (*fanout_session_pt)(fanout_session_t *s, void *data);
void fanout_session_of(fanout_hub_t *hub, uint64_t client,
    fanout_session_pt handler, void *data);

/* Closes the session here that is this client, who lives on with another. */
void fanout_session_replace(fanout_hub_t *hub, uint64_t client);

/* Calls back for each subscriber of the channel here that an entry is
 * addressed to. */
typedef void (*fanout_recipients_pt)(
    fanout_subscription_t *sub, void *data);
void fanout_addressed(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, fanout_recipients_pt handler, void *data);

/* A direct message of the log: only for those. */
void fanout_direct(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e);

/*
 * The next piece of a client's mail on a channel after an offset, in
 * hub->letter until the next call; or a GAP of one offset where some is lost.
 * NULL: there is none up to upto, or the memory for it is missing.
 */
fanout_entry_t *fanout_mail_next(fanout_session_t *s, ngx_str_t *channel,
    uint64_t epoch, uint64_t after, uint64_t upto);


/* signals.c: those of the log, and those kept for who could not be told */

void fanout_signal(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e);

/* The session can take output: tells what its subscriptions wait for. */
void fanout_signals_deliver(fanout_session_t *s);

/* The subscription waits for signals no longer: those that only it waited for
 * are dropped. */
void fanout_signals_forget(fanout_subscription_t *sub);

void fanout_signals_handler(ngx_event_t *ev);


/* delivery.c: whether a subscriber wants a message, its own echo included */

ngx_uint_t fanout_wanted(fanout_subscription_t *sub, fanout_entry_t *e);

/* Encodes one entry for a format; NULL. */
fanout_outbuf_t *fanout_encode(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, ngx_uint_t format);


/* delivery.c: hands drained entries to subscribers */

void fanout_deliver(fanout_hub_t *hub, fanout_entry_t *entries, ngx_uint_t n);


#endif /* FANOUT_SESSION_SESSION_H */
