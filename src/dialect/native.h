
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of the native dialect: its frames, replies and jobs.
 */


#ifndef FANOUT_DIALECT_NATIVE_H
#define FANOUT_DIALECT_NATIVE_H


#include "dialect/dialect.h"
#include "dialect/native_command.h"
#include "hub/locks.h"
#include "transport/authorize.h"
#include "transport/transport.h"


/* an array of commands being worked off; owned by the session */

typedef struct {
    fanout_hub_t     *hub;
    fanout_json_t    *items;
    ngx_uint_t        n;
    ngx_uint_t        i;                /* next */
    fanout_outbuf_t  *outbuf;           /* replies so far, NULL: none */
    uint32_t          start;            /* of the message in it */
    ngx_uint_t        deep;             /* some may nest too deeply */
} fanout_native_batch_t;


/* commands "lock" that wait, see native_wait.c */

typedef struct fanout_native_waits_s  fanout_native_waits_t;


/* commands that wait for an authorization, see native_park.c */

typedef struct fanout_native_park_s  fanout_native_park_t;

typedef ngx_uint_t (*fanout_native_run_pt)(fanout_session_t *s,
    fanout_json_t *object, ngx_uint_t at, ngx_uint_t deep);


/* native's part of a session */

typedef struct {
    fanout_native_batch_t  *batch;      /* array in work, or NULL */
    fanout_native_waits_t  *waits;      /* or NULL */
    fanout_identity_t      *resumes;    /* of ngx_alloc(): the session resumes
                                           it when its token has come; or
                                           NULL */
    fanout_native_park_t   *park;       /* or NULL */
    unsigned                autojoin:1; /* the array is of fanout_autojoin */
    unsigned                begins:1;   /* an error is left in s->error */
} fanout_native_part_t;

#define fanout_native_part(s)  ((fanout_native_part_t *) (s)->dialect_part)


/* a reply being written: into the batch or a frame of its own */

typedef struct {
    fanout_session_t        *s;
    fanout_native_batch_t   *batch;
    fanout_outbuf_t         *f;
    const fanout_framing_t  *framing;
    uint32_t                 start;
    uint32_t                 part;              /* from here to .part_end */
    uint32_t                 part_end;          /* others may be told the
                                                   same; 0: nothing */
    ngx_int_t                rc;
} fanout_reply_t;


/* a reply with messages of a log, which are read from after up to upto, or
 * with members: of a join, of history, of "members" */

typedef struct {
    fanout_job_t             base;
    ngx_str_t                id;                /* raw JSON, len 0: none */
    ngx_str_t                channel;
    uint64_t                 epoch;
    uint64_t                 offset;            /* of the reply */
    uint64_t                 after;
    uint64_t                 upto;
    uint64_t                 missed;
    uint64_t                 first;             /* offset of the first told */
    uint64_t                 next;              /* history: page on here */
    uint64_t                 sent;              /* last offset in a part */
    uint64_t                 hole;              /* behind told up to here is
                                                   lost, 0: nothing */
    ngx_uint_t               left;              /* entries still to send */
    fanout_outbuf_t         *messages;          /* gathered for a part */
    uint64_t                 since_epoch;
    uint64_t                 since_offset;
    ngx_uint_t               history;
    ngx_msec_t               deadline;          /* of waiting */
    ngx_uint_t               chunk;             /* next to send */
    uint32_t                 count;             /* of a summary */
    uint32_t                 slot;              /* direct: next to read */
    unsigned                 since:1;
    unsigned                 recovered:1;
    unsigned                 mail:1;            /* there may be some */
    unsigned                 newest:1;          /* history: pages backwards */
    unsigned                 older:1;           /* and there is more */
    unsigned                 again:1;           /* was subscribed before */
    unsigned                 who:1;             /* tells who is there: */
    unsigned                 members:1;         /* all of them */
    unsigned                 counts:1;          /* only how many */
    unsigned                 direct:1;          /* read without a roster */
    unsigned                 records:1;         /* tells the records */
    unsigned                 recorded:1;        /* all of them are read */
    unsigned                 changes:1;         /* of a record, newest first:
                                                   there may be more */
    unsigned                 locks:1;           /* tells the locks */
    unsigned                 locked:1;          /* all of them are read */
    unsigned                 unnamed:1;         /* users are not told */
    fanout_outbuf_t         *state;             /* records for the reply */
    uint64_t                 cursor;            /* next to read */
    fanout_outbuf_t         *held;              /* locks for a part */
    uint64_t                 lock_cursor;       /* next to read */
    fanout_zstr_t            record;            /* owned */
    ngx_uint_t               look;              /* entries still to look at */
} fanout_native_job_t;


/* a command whose answer comes from elsewhere; commands behind it wait */

typedef struct {
    fanout_job_t             base;
    ngx_uint_t               at;                /* in an array */
    ngx_str_t                id;                /* raw JSON, len 0: none */
} fanout_native_ask_t;


/* bytes that are copied into a reply: more are shared with others */
#define FANOUT_COPIED       1024

/* ms to wait for a list of members, beyond the batch time */
#define FANOUT_NATIVE_WAIT  2000

/* most ms that a "lock" waits, and most that wait of a session */
#define FANOUT_NATIVE_LOCK_WAIT   300000
#define FANOUT_NATIVE_LOCK_WAITS  16


/* Replies with an error; op and at are told when there is no id.  data is raw
 * JSON or NULL, text NULL for the usual one.  Of a session that begins it is
 * kept in s->error and not sent. */
void fanout_native_error(fanout_session_t *s, fanout_json_t *id,
    fanout_json_t *op, ngx_uint_t at, fanout_error_e code, ngx_str_t *text,
    ngx_str_t *data);

/* Tells the client that its session ends in so many ms. */
void fanout_native_expiring(fanout_session_t *s, ngx_str_t *channel,
    ngx_msec_t left);

/* A job is done: the rest of the array that it was in follows. */
void fanout_native_job_done(fanout_session_t *s);

/* Appends an entry as the object that the protocol shows it as.  NGX_ERROR on
 * lack of memory. */
ngx_int_t fanout_native_object(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, fanout_outbuf_t *f);


/* Presence in a join, and members in a reply; see native_join.c,
 * native_members.c and native_handshake.c. */

/* Whether what a join says of presence is permitted: else FORBIDDEN.  It may
 * want less then. */
fanout_error_e fanout_native_join_presence(fanout_session_t *s,
    fanout_command_t *cmd);

/* Sets the options of a join on its subscription.  INTERNAL. */
fanout_error_e fanout_native_join_options(fanout_subscription_t *sub,
    fanout_join_cmd_t *c);

/* Whether the join makes a member. */
#define fanout_native_enters(c)                                               \
    ((c)->presence.type != FANOUT_JSON_NONE                                   \
     && (c)->presence.type != FANOUT_JSON_NULL)

/* The limits of a member. */
extern const fanout_native_limit_t  fanout_native_presence_size;

/* The data that a member gets: the backend's, if it gives any; else as it was
 * read.  TOO_LARGE. */
fanout_error_e fanout_native_presence_data(fanout_session_t *s,
    fanout_command_t *cmd, fanout_subscription_t *sub, fanout_zstr_t *data);

/* Merges m->data into what the member has, see native_merge.c; the result is
 * static.  BAD_REQUEST, TOO_LARGE. */
fanout_error_e fanout_native_presence_merge(fanout_session_t *s,
    fanout_command_t *cmd, fanout_member_t *m);

/* Whether the job can begin: the roster is ready and has its member; then it
 * is registered.  NGX_OK; NGX_AGAIN; NGX_BUSY if the worker has held all the
 * output it may for too long; NGX_ERROR. */
ngx_int_t fanout_native_ready(fanout_session_t *s, fanout_native_job_t *job);

/* Sends members in parts, all but the last; NGX_AGAIN for more. */
ngx_int_t fanout_native_members_part(fanout_session_t *s,
    fanout_native_job_t *job);

/* Whether all members go at once, as they must into the answer of a poll:
 * they are within fanout_buffer, or there is but one that is not. */
ngx_uint_t fanout_native_members_fit(fanout_session_t *s,
    fanout_native_job_t *job);

/* Appends ,"members":[…] or ,"summary":{…} to the reply of a job. */
void fanout_native_members_reply(fanout_reply_t *rp, fanout_native_job_t *job);

/* Reads a section of the records that a join tells, and sends them in parts.
 * NGX_OK when all are read; NGX_AGAIN; NGX_DECLINED if they are more than the
 * answer of a poll may have; NGX_ERROR if the session has ended. */
ngx_int_t fanout_native_records_part(fanout_session_t *s,
    fanout_native_job_t *job);

/* Appends ,"records":{…} to the reply of a job, if it tells them. */
void fanout_native_records_reply(fanout_reply_t *rp,
    fanout_native_job_t *job);

/* The same for the locks; they are the last that is read. */
ngx_int_t fanout_native_locks_part(fanout_session_t *s,
    fanout_native_job_t *job);
void fanout_native_locks_reply(fanout_reply_t *rp, fanout_native_job_t *job);


/* Whether the session may not see users on a channel. */
ngx_uint_t fanout_native_unnamed(fanout_session_t *s, ngx_str_t *channel);


/* Locks; see native_lock.c and native_wait.c. */

/* Takes the user from a lock that is told, unless the session may see it. */
void fanout_native_hide(fanout_session_t *s, ngx_str_t *channel,
    fanout_lock_t *lock);

/* Replies to a "lock" that has succeeded, or was refused with LOCKED. */
void fanout_native_locked(fanout_session_t *s, fanout_json_t *id,
    fanout_locked_t *to);
void fanout_native_unlucky(fanout_session_t *s, fanout_json_t *id,
    fanout_json_t *op, ngx_uint_t at, fanout_locked_t *to);

/* Whether the session may wait for one more lock: BAD_REQUEST, TOO_MANY. */
fanout_error_e fanout_native_may_wait(fanout_session_t *s,
    fanout_command_t *cmd);

/* The client is in line: the command is answered later.  INTERNAL. */
fanout_error_e fanout_native_wait(fanout_session_t *s,
    fanout_command_t *cmd);

/* Looks what came of all waits, and replies to those that are over. */
void fanout_native_granted(fanout_session_t *s);

/* Replies to the waits of a channel that was left; to all of a session that is
 * about to close: they give up. */
void fanout_native_waits_left(fanout_session_t *s, ngx_str_t *channel);
void fanout_native_waits_flush(fanout_session_t *s);

/* Ends the waits for the lock that "unlock" names, with a reply to each.
 * Returns their number. */
ngx_uint_t fanout_native_unwait(fanout_session_t *s, fanout_command_t *cmd);

/* Frees them without a reply. */
void fanout_native_waits_free(fanout_session_t *s);


/* Authorization by a backend; see native_park.c. */

/* Whether an op on the channel of a command is permitted: NONE; FORBIDDEN or
 * UNAVAILABLE, which was told; PARKED: the backend has to be asked, and the
 * command returns that before it does anything. */
fanout_error_e fanout_native_wants(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t op);

/* Whether commands on the channel wait, so that this one has to wait, too. */
ngx_uint_t fanout_native_behind(fanout_session_t *s, fanout_command_t *cmd);

/* Keeps a command that has to wait.  PARKED; or it is refused: UNAVAILABLE,
 * FORBIDDEN, TOO_LARGE, INTERNAL.  Later, "run" runs it again, and returns 1
 * if it has to wait once more. */
fanout_error_e fanout_native_park(fanout_session_t *s, fanout_command_t *cmd,
    fanout_native_run_pt run);

/* Runs commands that have waited, now that the session has no job. */
void fanout_native_unpark(fanout_session_t *s);

/* Refuses those of a session that is about to close; frees them without a
 * reply. */
void fanout_native_park_flush(fanout_session_t *s);
void fanout_native_park_free(fanout_session_t *s);

/* FORBIDDEN or UNAVAILABLE, as the backend has answered. */
fanout_error_e fanout_native_grant_refused(fanout_command_t *cmd,
    fanout_grant_t *grant);

/* UNAVAILABLE, with the time after which to try again. */
fanout_error_e fanout_native_unavailable(fanout_command_t *cmd,
    const char *text);


/* The profile of who sends a request, see the table of a dialect. */
ngx_int_t fanout_native_user_info(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *info);

/* Gives it to a session that begins; it outlives the request.  NGX_ERROR. */
ngx_int_t fanout_native_take_info(fanout_session_t *s, ngx_http_request_t *r);

/* Gives another one, of ngx_alloc(), to a session that has begun, and takes it
 * from *info. */
void fanout_native_renew_info(fanout_session_t *s, ngx_str_t *info);

/* The members of the session's client get its profile. */
void fanout_native_tell_info(fanout_session_t *s);

/* The commands that join what fanout_autojoin says, as an array; len 0:
 * none. */
ngx_int_t fanout_native_autojoin(fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *text);

/* Whether a subscription wants an entry; for a dialect. */
ngx_uint_t fanout_native_match(fanout_subscription_t *sub,
    fanout_entry_t *e);

/* A job of that size, which begins with fanout_native_ask_t, that knows the id
 * of the command.  The caller makes it the session's.  NULL if there is no
 * memory. */
void *fanout_native_ask(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_job_ops_t *ops, size_t size);

/* The answer is here: the command that it is of, as text.  The literal in op
 * has its quotes. */
void fanout_native_asked(fanout_native_ask_t *ask, fanout_command_t *cmd,
    const char *op);

/* Refuses the command if rc says so, and ends the session's job. */
void fanout_native_answered(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc);

/* The job of a join, of history, or of members. */
fanout_native_job_t *fanout_native_job(fanout_session_t *s,
    fanout_command_t *cmd);

/* The messages of a job: makes room for them; adds an entry.  NGX_ERROR on lack
 * of memory. */
ngx_int_t fanout_native_messages_begin(fanout_hub_t *hub,
    fanout_native_job_t *job);
ngx_int_t fanout_native_messages_add(fanout_session_t *s,
    fanout_native_job_t *job, fanout_entry_t *e);

/* Sends them in a part; the second only if there is enough for one, and more
 * follows. */
ngx_int_t fanout_native_messages_part(fanout_session_t *s,
    fanout_native_job_t *job);
ngx_int_t fanout_native_messages_full(fanout_session_t *s,
    fanout_native_job_t *job, ngx_uint_t more);

/* Appends ,"messages":[…] to the reply of a job, with a hole before them. */
void fanout_native_messages_reply(fanout_reply_t *rp,
    fanout_native_job_t *job);

/* Reads a section of the changes of a record into the messages.  NGX_OK when
 * all are read, NGX_AGAIN; NGX_ERROR if the session has ended. */
ngx_int_t fanout_native_changes_part(fanout_session_t *s,
    fanout_native_job_t *job);

/* Makes it the session's, which owns it from here on, and begins with it. */
void fanout_native_run(fanout_session_t *s, fanout_native_job_t *job);

/* Puts the recipient into the message.  FORBIDDEN, RECIPIENT_OFFLINE. */
fanout_error_e fanout_native_address(fanout_session_t *s,
    fanout_command_t *cmd, fanout_native_to_t *to, fanout_zone_message_t *m);

/* Whether a join on the channel is answered with the members there. */
ngx_uint_t fanout_native_lists(fanout_session_t *s, ngx_str_t *channel);


/* Runs an array of commands of ours, which answer without an id. */
void fanout_native_batch(fanout_session_t *s, ngx_str_t *text);

/* Joins the channels of a query, with all replies, and charges its cost.  On an
 * error the session ends; s->refused and s->error say why. */
void fanout_native_query_join(fanout_session_t *s, fanout_query_t *q);

/* of the dialect's table */
void fanout_native_receive(fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len);
void fanout_native_free(fanout_session_t *s);
void fanout_native_flush(fanout_session_t *s);


/* Replies: open, write, end; a lack of memory ends the session at the end. */

void fanout_native_open(fanout_reply_t *rp, fanout_session_t *s, u_char *id,
    size_t len);
/* Opens a part of the reply of a job, up to its channel: always a message of
 * its own, also of a command in an array, which is returned for the end. */
fanout_native_batch_t *fanout_native_part_open(fanout_reply_t *rp,
    fanout_session_t *s, fanout_native_job_t *job);
void fanout_native_part_end(fanout_reply_t *rp, fanout_native_batch_t *b);

void fanout_native_text(fanout_reply_t *rp, const void *data, size_t len);
/* Like text(), for bytes that other replies may share; once a reply. */
void fanout_native_shared(fanout_reply_t *rp, const void *data, size_t len);

void fanout_native_printf(fanout_reply_t *rp, const char *fmt, ...);
void fanout_native_count(fanout_reply_t *rp, uint64_t n);
void fanout_native_string(fanout_reply_t *rp, const void *data, size_t len);
void fanout_native_end(fanout_reply_t *rp);

/* The end of a reply around bytes of another frame, which belong at "split"
 * of the reply's; never of one in an array. */
void fanout_native_end_around(fanout_reply_t *rp,
    fanout_outbuf_t *f, uint32_t start, uint32_t end, uint32_t split);

#define fanout_native_literal(rp, text)                              \
    fanout_native_text(rp, text, sizeof(text) - 1)


#endif /* FANOUT_DIALECT_NATIVE_H */
