
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
#include "session/ticket.h"


/* why a session ended, which says whether it may come back */

#define FANOUT_END_CLEAN    0                   /* 1000 or 1005: gone */
#define FANOUT_END_CUT      1                   /* lingers */
#define FANOUT_END_REPLACED 2                   /* another session has the
                                                   client */


typedef enum {
    FANOUT_OPEN = 0,
    FANOUT_CLOSING,
    FANOUT_ENDED
} fanout_state_e;


/* a segment of output: bytes of an outbuf that others may send as well */

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


/* A command that the session has begun to answer, and continues as the socket
 * takes output; further commands wait.  A dialect makes a job, as the first
 * member of a struct of its own. */

typedef struct fanout_job_s  fanout_job_t;
typedef struct fanout_handshake_s  fanout_handshake_t;

typedef struct {
    /* Continues the session's job within its output limit.  NGX_OK when the job
     * is done, and was freed by fanout_session_job_done(); NGX_AGAIN if the
     * session still has a job. */
    ngx_int_t             (*step)(fanout_session_t *s);

    /* Frees the job and what it owns, except for its snapshot. */
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


/* waits until the request can be released; belongs to no pool */

typedef struct {
    ngx_event_t             event;
    fanout_session_t       *session;
} fanout_detach_t;


#define FANOUT_TLS_RECORD 16384             /* bytes in one, at most */

#define FANOUT_CLOSE_WAIT 2000              /* ms, for an answer to a close */

#define FANOUT_RESTED     4                 /* turns without work after which a
                                               session is read at once */


/* finds a subscription by its channel, see subs.c */

typedef struct fanout_subs_s  fanout_subs_t;


/* output through the filters of a request, see attached.c; of its pool */

typedef struct fanout_filtered_s  fanout_filtered_t;


struct fanout_session_s {
    ngx_queue_t              queue;             /* hub->sessions */
    fanout_subject_t         who;               /* near the queue: walks over
                                                   all sessions look at it */
    ngx_queue_t              flush;             /* hub->flush */
    ngx_queue_t              work;              /* hub->work */
    ngx_queue_t              ended;             /* hub->ended */
    ngx_queue_t              stuck;             /* hub->stuck */
    ngx_connection_t        *connection;        /* NULL: the connection has
                                                   gone with its request */
    ngx_http_request_t      *request;           /* NULL: detached */
    fanout_hub_t            *hub;
    fanout_loc_conf_t       *conf;
    const fanout_dialect_t  *dialect;
    const fanout_transport_t  *transport;
    fanout_permissions_t    *permissions;

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

    fanout_handshake_t      *handshake;         /* kept to be asked again, of
                                                   ngx_alloc(), or NULL */
    void                    *transport_part;    /* of the transport */
    void                    *dialect_part;      /* of the dialect */
    u_char                  *input;             /* received while a job ran */
    uint32_t                 input_len;
    uint32_t                 worked;            /* the last turn that it
                                                   worked in */
    fanout_job_t            *job;
    fanout_detach_t         *detach;

    fanout_identity_t        identity;
    uint32_t                 identity_ref;
    uint32_t                 parked;            /* commands that wait for an
                                                   authorization */
    ngx_str_t                user;

    ngx_msec_t               received_at;
    ngx_msec_t               frame_at;          /* start of an incomplete
                                                   frame, 0: none */
    ngx_msec_t               close_at;          /* CLOSING: time to cut it;
                                                   OPEN: time to drain it */
    ngx_msec_t               beat_at;           /* time of the next heartbeat */
    ngx_msec_t               sent_at;           /* last progress of pending
                                                   output, 0: none */
    ngx_msec_t               owed_at;
    int32_t                  unacked;           /* bytes in the socket at
                                                   owed_at */
    uint32_t                 ntickets;
    const fanout_ticket_t   *tickets;           /* of the request, or of the
                                                   join under way */
    uint32_t                 back_in;           /* ms until the client was told
                                                   to come back */
    uint16_t                 close_code;
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
    unsigned                 expires:1;         /* at expire_at */
    unsigned                 renews:1;          /* its handshake can be asked
                                                   again, with another token */
    unsigned                 anonymous:1;       /* it is, or was, on some
                                                   channel */
    unsigned                 warned:1;          /* and the client was told */
    unsigned                 awaited:1;         /* its token: nobody is there
                                                   yet */
    unsigned                 owns_user:1;       /* .user is of ngx_alloc() */
    unsigned                 ticketed:1;        /* it has tickets, or a
                                                   subscription has, or had,
                                                   the grant of one */
    unsigned                 denied:1;          /* closed by a denial */
    unsigned                 sealed:1;          /* and takes no more output */
    uint8_t                  reason;            /* FANOUT_LEFT_* of members,
                                                   0: by how the session ends */
    uint8_t                  refused;           /* fanout_error_e of the start
                                                   or of the last reply */
    ngx_str_t                info;              /* the profile, JSON */
    ngx_msec_t               active_at;         /* time of the last command */
    ngx_msec_t               alive_at;          /* next check for silence */
    uint64_t                 granted_at;        /* ms of the epoch: a grant of
                                                   a join ends, or its end is
                                                   told; 0: none */
    ngx_msec_t               expire_at;         /* the end of its token, or of
                                                   fanout_session_max */
    uint32_t                 notice;            /* ms before expire_at, to
                                                   tell the client */
    uint32_t                 again;             /* ms until the client may try
                                                   again, 0: it may not */
    ngx_msec_t               end_at;            /* of fanout_session_max */
    ngx_msec_t               returned_at;       /* time of the resume */
    const char              *why;               /* text of .refused, NULL: the
                                                   usual one */
    fanout_outbuf_t         *error;             /* error object of a session
                                                   that could not begin, NULL:
                                                   only .refused is known */
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

/* The dialect greets and subscribes; its output waits for the start.  If the
 * session ends within, the caller takes the request back with
 * fanout_session_return_request(), and refuses it. */
void fanout_session_begin(fanout_session_t *s);

/* A dialect can't begin the session; .refused and .error say why.  The session
 * does nothing more. */
void fanout_session_refuse(fanout_session_t *s);

/* The session keeps its request from here on: the content handler returns
 * NGX_DONE, and the end of the session finalizes the request. */
void fanout_session_keep_request(fanout_session_t *s);

/* The handshake was answered and flushed: sends output, reads input, and
 * releases the request as soon as nothing else needs it. */
void fanout_session_start(fanout_session_t *s);

/* The same for a session that stays attached: its request is answered later, or
 * its output is streamed through the filters. */
void fanout_session_attach(fanout_session_t *s);

/* The session ends in ms with 4401, as its token does; 0: it does not.  It ends
 * by fanout_session_max in any case. */
void fanout_session_expire(fanout_session_t *s, ngx_msec_t ms);

/* The session ends in ms, unless its token comes before. */
void fanout_session_await(fanout_session_t *s, ngx_msec_t ms);

/* ms until a session that expires ends. */
ngx_msec_t fanout_session_left(fanout_session_t *s);

/* A content handler takes the request back from a session that does not keep
 * it, to refuse it.  Ends the session. */
void fanout_session_return_request(fanout_session_t *s);

/* The subscription of a session on a channel, or NULL. */
fanout_subscription_t *fanout_session_sub(
    fanout_session_t *s, ngx_str_t *channel);

/* Adds a subscription to its session; removes it. */
void fanout_session_sub_add(fanout_subscription_t *sub);
void fanout_session_sub_remove(fanout_subscription_t *sub);

/* Appends output, with a reference to the outbuf; it is sent at the end of the
 * turn.  There is no limit for replies; entries are limited by
 * fanout_deliver(). */
void fanout_session_push(fanout_session_t *s, fanout_outbuf_t *f,
    uint32_t start, uint32_t end);

/* Appends entries of a subscription, in an outbuf that may be shared:
 * unchanged, or by the transport's place() where the session is not in their
 * order. */
void fanout_session_enqueue(fanout_subscription_t *sub, fanout_outbuf_t *f,
    uint32_t start, uint32_t end);

/* Whether entries of so many bytes exceed the output limit now. */
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

/* Whether commands have to wait: for a job, or because the client does not read
 * its output. */
ngx_uint_t fanout_session_busy(fanout_session_t *s);

/* Starts the deadline of a message if one was received in part, or ends it. */
void fanout_session_frame_deadline(fanout_session_t *s, ngx_uint_t within);

/* Sends the output of all sessions that have some; ends the turn. */
void fanout_session_flush(fanout_hub_t *hub);

/*
 * Work, see turn.c.  Appends the session to the queue of those with work: a
 * step at a time, it reads, continues its array of commands and its job, and
 * catches up.
 */
void fanout_session_work(fanout_session_t *s);

/* Removes the session from the queue. */
void fanout_session_rest(fanout_session_t *s);

/* Continues the session's job; when it is done, the dialect continues the
 * message that started it, perhaps with another job.  NGX_AGAIN if there is a
 * job, else NGX_OK. */
ngx_int_t fanout_session_job_step(fanout_session_t *s);

/* The job is done: frees it. */
void fanout_session_job_done(fanout_session_t *s);

/* Continues the job, which may end, as may the session: NGX_AGAIN if there is
 * still a job. */
ngx_int_t fanout_session_go_on(fanout_session_t *s);

/* A backend has answered what the job waits for: continues with it, which may
 * end the session.  If the session is closing or has ended, the reaper frees
 * the job. */
void fanout_session_answered(fanout_session_t *s);

/* Sends the replies of commands that are done, then a close with a code and a
 * reason; ends the session when the client answers, or after a while. */
void fanout_session_close(fanout_session_t *s, ngx_uint_t code,
    const char *reason);

/* A close frame was sent by other means: nothing may follow it, and the session
 * is CLOSING. */
void fanout_session_closing(fanout_session_t *s);

/* Marks a session as ENDED, for good: nothing more is sent or received, and
 * none of its events is handled.  May be called from anywhere: the reaper
 * releases the session at the end of the turn. */
void fanout_session_end(fanout_session_t *s, ngx_uint_t how);

/* The client closes for good: it leaves the zone before its close is answered.
 * The session is OPEN, and to be closed. */
void fanout_session_goodbye(fanout_session_t *s);

/* Applies denials that are new; whether the session is denied, and has to do
 * nothing more. */
static inline ngx_uint_t
fanout_session_denied(fanout_session_t *s)
{
    fanout_hub_denials(s->hub);

    return s->denied;
}

/* The session is to be closed, and its client is gone for others at once:
 * nothing lingers. */
void fanout_session_leave_zone(fanout_session_t *s);

/* The client of a session with an identity is gone, but its input is not all
 * processed: its seats linger from now on. */
void fanout_session_disconnected(fanout_session_t *s);

/* ms for each session of a worker that drains: a thousand a second come back */
#define FANOUT_RETURN       1

/* Closes all sessions within the drain time; the worker is shutting down. */
void fanout_session_drain(fanout_hub_t *hub);

/* Keeps a worker that is shutting down for that many ms, and the time of a
 * close, unless its last session ends before. */
void fanout_session_stay(fanout_hub_t *hub, ngx_msec_t time);

/* Turns away a session that begins in a worker that is shutting down:
 * "closing", and a close with 1012. */
void fanout_session_turn_away(fanout_session_t *s);

/* Marks a session that can't take more entries: its subscriptions read the
 * log when the socket has drained. */
void fanout_session_lag(fanout_session_t *s);

/* Defers entries until replies were sent: the subscriptions of the session are
 * JOINING until they are settled, and then read what they missed from the
 * log. */
void fanout_session_defer(fanout_session_t *s);

/* Withholds entries until replies were sent, as far as the output limit allows:
 * they follow the replies, also those that no log keeps. */
void fanout_session_withhold(fanout_session_t *s);

/* Sends withheld entries, and makes JOINING subscriptions live, or lets them
 * read what they missed. */
void fanout_session_settle(fanout_session_t *s);

/* The same for one subscription, where no other can be JOINING. */
void fanout_session_settle_one(fanout_subscription_t *sub);

/* Continues the job, and lets subscriptions that are behind read on, as far as
 * the output limit allows. */
void fanout_session_catch_up(fanout_session_t *s);


/* for sessions alone */

/* The reaper, posted by ends: hub->reaper. */
void fanout_session_reap(ngx_event_t *ev);

/* Separates a session from its request, which no longer refers to it. */
void fanout_session_release_request(fanout_session_t *s);

/* A cleanup handler: the request ends while the session is attached to it. */
void fanout_session_cleanup(void *data);

/* Handlers of a detached connection. */
void fanout_session_read_handler(ngx_event_t *rev);
void fanout_session_write_handler(ngx_event_t *wev);

/* What these handlers do, attached or not. */
void fanout_session_read(fanout_session_t *s);
void fanout_session_write(fanout_session_t *s);
void fanout_session_tick(fanout_session_t *s);

/* Processes input that was received before and had to wait; within a
 * handler. */
void fanout_session_input(fanout_session_t *s);

/* The worker wants to exit. */
void fanout_session_shutdown(fanout_session_t *s);

/* Applies the policies of its channels to the silence of a session: its members
 * become idle, or leave.  Gives up seats of a client that came back and does
 * not join them again.  Sets alive_at. */
void fanout_session_alive(fanout_session_t *s);

/* The client sent a command: members that were idle by silence become
 * active. */
void fanout_session_active(fanout_session_t *s);

/* stalled.c: the socket can take no more output; "some": it took some of it
 * now. */
void fanout_session_blocked(fanout_session_t *s, ngx_uint_t some);

/* The socket may take output again, or the session ends. */
void fanout_session_unblocked(fanout_session_t *s);

/* All output was taken. */
void fanout_session_drained(fanout_session_t *s);

/* Whether a session has to be cut because its client does not take its output,
 * see fanout_send_timeout.  Checks what the peer has acknowledged. */
ngx_uint_t fanout_session_stalled(fanout_session_t *s);

/* shed.c: if the output of the worker is above its limit, sessions that do not
 * take their output drop it, or are cut.  Called once a turn. */
void fanout_session_shed(fanout_hub_t *hub);

/* Sets the session's timer to the earliest deadline. */
void fanout_session_timer(fanout_session_t *s);

/* Sends output through the filters of the request.  Returns the bytes taken,
 * NGX_AGAIN, or NGX_ERROR. */
ssize_t fanout_filtered_send(fanout_session_t *s);

/* Copies up to size bytes of output, which stays in the outbox.  Returns the
 * bytes copied. */
size_t fanout_outbox_copy(fanout_session_t *s, u_char *p, size_t size);

/* Writes to the connection.  Returns the bytes taken, NGX_AGAIN, or NGX_ERROR.
 * With TLS, after NGX_AGAIN the same bytes have to be written again, from the
 * same address: at most a record at a time. */
ssize_t fanout_outbox_write(fanout_session_t *s, u_char *p, size_t len);

/* Sends what the socket takes; the caller has just applied denials.  When all
 * was sent, continues what waits for that: the end of the session, input,
 * work. */
void fanout_outbox_send(fanout_session_t *s);

/* Queues the session: its output is sent at the end of the turn. */
void fanout_outbox_queue(fanout_session_t *s);

/* Drops all output, except for withheld entries. */
void fanout_outbox_clear(fanout_session_t *s);

/* Withheld entries become output, or are dropped if the session has ended. */
void fanout_outbox_join(fanout_session_t *s);


/* turn.c */

void fanout_turn_init(fanout_hub_t *hub, ngx_log_t *log);

/* Does work, until the limit of the turn. */
void fanout_turn_run(fanout_hub_t *hub);

/* Begin and end a step of a session, which may spend a step's share.  "before"
 * is hub->spent at the begin. */
void fanout_step_begin(fanout_session_t *s);
void fanout_step_end(fanout_session_t *s, uint64_t before);

/* Whether it is too early to read from the session: the turn is used up, and
 * the session worked not long ago. */
ngx_uint_t fanout_session_early(fanout_session_t *s);

/* Reads from the socket, early or not. */
void fanout_session_read_now(fanout_session_t *s);


/* direct.c: recipients, and direct messages that wait for them */

/* Adds a session to the indexes by client and user, once its identity is known;
 * removes it. */
void fanout_session_index(fanout_session_t *s);
void fanout_session_unindex(fanout_session_t *s);

/* Calls the handler for each session of the client in this worker; the handler
 * may end it. */
typedef void (*fanout_session_pt)(fanout_session_t *s, void *data);
void fanout_session_of(fanout_hub_t *hub, uint64_t client,
    fanout_session_pt handler, void *data);

/* Closes the sessions of a client in this worker: the client has another
 * session. */
void fanout_session_replace(fanout_hub_t *hub, uint64_t client);

/* Calls the handler for each subscriber of the channel in this worker that an
 * entry is addressed to. */
typedef void (*fanout_recipients_pt)(
    fanout_subscription_t *sub, void *data);
void fanout_addressed(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, fanout_recipients_pt handler, void *data);

/* Delivers a direct message of the log to its recipients. */
void fanout_direct(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e);

/*
 * The next direct message in a client's mailbox, on a channel after an offset;
 * valid in hub->direct until the next call.  A GAP of one offset where some are
 * lost.  NULL if there is none up to upto, or on lack of memory.
 */
fanout_entry_t *fanout_mail_next(fanout_session_t *s, ngx_str_t *channel,
    uint64_t epoch, uint64_t after, uint64_t upto);


/* signals.c: signals of the log, and those kept for slow subscribers */

void fanout_signal(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e);

/* The session can take output: delivers signals that its subscriptions wait
 * for. */
void fanout_signals_deliver(fanout_session_t *s);

/* The subscription no longer waits for signals: those that only it waited for
 * are dropped. */
void fanout_signals_forget(fanout_subscription_t *sub);

void fanout_signals_handler(ngx_event_t *ev);


/* encode.c: whether a subscriber wants a message, its own echo included */

ngx_uint_t fanout_wanted(fanout_subscription_t *sub, fanout_entry_t *e);

/* Encodes one entry for a format; NULL on lack of memory. */
fanout_outbuf_t *fanout_encode(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, ngx_uint_t format);


/* delivery.c: hands drained entries to subscribers */

void fanout_deliver(fanout_hub_t *hub, fanout_entry_t *entries, ngx_uint_t n);


#endif /* FANOUT_SESSION_SESSION_H */
