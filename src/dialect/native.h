
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of the native dialect: its frames and its commands.
 */


#ifndef FANOUT_DIALECT_NATIVE_H
#define FANOUT_DIALECT_NATIVE_H


#include "dialect/dialect.h"
#include "base/json.h"


/* an array of commands being worked off; owned by the session */

typedef struct {
    fanout_hub_t    *hub;
    fanout_json_t   *items;
    ngx_uint_t       n;
    ngx_uint_t       i;                 /* next */
    fanout_frame_t  *frame;             /* replies so far, NULL: none */
    uint32_t         start;             /* of the message in it */
    ngx_uint_t       deep;              /* some may nest too deeply */
} fanout_native_batch_t;


/* a command as it was sent; members that are not there have len 0 */

typedef struct {
    fanout_json_t    id;
    fanout_json_t    op;
    fanout_json_t    channel;
    fanout_json_t    since;
    fanout_json_t    history;
    fanout_json_t    want;
    fanout_json_t    events;
    fanout_json_t    echo;
    fanout_json_t    event;
    fanout_json_t    data;
    fanout_json_t    messages;
    fanout_json_t    key;
    fanout_json_t    to;
    fanout_json_t    store;
    fanout_json_t    condition;
    fanout_json_t    enc;
    fanout_json_t    meta;
    fanout_json_t    before;
    fanout_json_t    limit;
    fanout_json_t    presence;
    fanout_json_t    anonymous;
    fanout_json_t    merge;
    fanout_json_t    state;
    fanout_json_t    tag;
    fanout_json_t    live;
    fanout_json_t    every;

    ngx_uint_t       at;                /* in an array */
    ngx_str_t        name;              /* of the channel */
    u_char           buf[FANOUT_NAME];
} fanout_command_t;


/* a reply being written: into the batch or a frame of its own */

typedef struct {
    fanout_session_t       *s;
    fanout_native_batch_t  *batch;
    fanout_frame_t         *f;
    const fanout_framing_t *framing;
    uint32_t                start;
    uint32_t                part;               /* from here to .part_end */
    uint32_t                part_end;           /* others may be told the
                                                   same; 0: nothing */
    ngx_int_t               rc;
} fanout_reply_t;


/* a reply with messages of a log, which are read from after up to upto, or
 * with members: of a join, of history, of "members" */

typedef struct {
    fanout_job_t            base;
    ngx_str_t               id;                 /* raw JSON, len 0: none */
    ngx_str_t               channel;
    uint64_t                epoch;
    uint64_t                offset;             /* of the reply */
    uint64_t                after;
    uint64_t                upto;
    uint64_t                missed;
    uint64_t                first;              /* offset of the first told */
    uint64_t                next;               /* history: page on here */
    uint64_t                told;               /* last offset in a part */
    uint64_t                hole;               /* behind told up to here is
                                                   lost, 0: nothing */
    ngx_uint_t              left;               /* entries still to send */
    fanout_frame_t         *messages;           /* gathered for a part */
    uint64_t                since_epoch;
    uint64_t                since_offset;
    ngx_uint_t              history;
    ngx_msec_t              deadline;           /* of waiting */
    ngx_uint_t              chunk;              /* next to send */
    uint32_t                count;              /* of a summary */
    uint32_t                slot;               /* direct: next to read */
    unsigned                since:1;
    unsigned                recovered:1;
    unsigned                mail:1;             /* there may be some */
    unsigned                newest:1;           /* history: pages backwards */
    unsigned                older:1;            /* and there is more */
    unsigned                again:1;            /* was subscribed before */
    unsigned                who:1;              /* tells who is there: */
    unsigned                members:1;          /* all of them */
    unsigned                counts:1;           /* only how many */
    unsigned                direct:1;           /* read without a roster */
} fanout_native_job_t;


/* what a join says of presence */

typedef struct {
    fanout_zstr_t           key;
    fanout_zstr_t           data;
    ngx_uint_t              want;               /* FANOUT_WANT_* */
    int                     anonymous;
    unsigned                member:1;           /* it is to be one */
    u_char                  buf[FANOUT_KEY];
} fanout_presence_t;


#define fanout_nelts(a)  (sizeof(a) / sizeof((a)[0]))


/* Runs a command, at is its index in an array; deep: it may nest more levels
 * than data can have.  Replies, or starts a job. */
void fanout_native_command(fanout_session_t *s, fanout_json_t *object,
    ngx_uint_t at, ngx_uint_t deep);

/* Replies with an error; op and at are told when there is no id.  data is raw
 * JSON or NULL, text NULL for the usual one.  Of a session that begins it is
 * no output, but why it can't: s->error. */
void fanout_native_error(fanout_session_t *s, fanout_json_t *id,
    fanout_json_t *op, ngx_uint_t at, fanout_error_e code, ngx_str_t *text,
    ngx_str_t *data);

/* The end of a step of a job that came to rc: with OK the rest of the array it
 * was in follows.  What the step returns. */
ngx_int_t fanout_native_stepped(fanout_session_t *s, ngx_int_t rc);

/* Appends an entry as the object that the protocol shows it as.  NGX_ERROR on
 * lack of memory. */
ngx_int_t fanout_native_object(fanout_hub_t *hub, fanout_channel_t *ch,
    fanout_entry_t *e, fanout_frame_t *f);


/* the commands; each replies, or starts a job */

void fanout_native_join(fanout_session_t *s, fanout_command_t *cmd);
void fanout_native_publish(fanout_session_t *s, fanout_command_t *cmd);
void fanout_native_history(fanout_session_t *s, fanout_command_t *cmd);
void fanout_native_presence(fanout_session_t *s, fanout_command_t *cmd);
void fanout_native_members(fanout_session_t *s, fanout_command_t *cmd);



/* Presence in a join, and members in a reply; see native_presence.c,
 * native_members.c and native_handshake.c. */

/* Reads what the join says, 0 after an error was replied.  cmd->name is
 * set. */
ngx_uint_t fanout_native_presence_options(fanout_session_t *s,
    fanout_command_t *cmd, fanout_presence_t *p);

/* The subscription takes its seat, and its member is put; then the job is to
 * wait, if there is anything to wait for.  An error is the reply. */
fanout_error_e fanout_native_enter(fanout_session_t *s,
    fanout_native_job_t *job, fanout_presence_t *p);

/* Merges m->data into what the member has, see native_merge.c; the result is
 * static.  0 after an error was replied. */
ngx_uint_t fanout_native_presence_merge(fanout_session_t *s,
    fanout_command_t *cmd, fanout_member_t *m);

/* Replies with an error of seats and members. */
void fanout_native_refuse_member(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc);

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

/* What the session's profile is to be.  NGX_DECLINED if it is too large. */
ngx_int_t fanout_native_user_info(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *info);

/* The commands that join what fanout_autojoin says, as an array; len 0:
 * none. */
ngx_int_t fanout_native_autojoin(fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *text);

/* The job of a join, of history, or of members. */
fanout_native_job_t *fanout_native_job(fanout_session_t *s,
    fanout_command_t *cmd);

/* Makes it the session's, which owns it from here on, and begins with it. */
void fanout_native_run(fanout_session_t *s, fanout_native_job_t *job);

void fanout_native_signal(fanout_session_t *s, fanout_command_t *cmd);


/* Whom "to" names, into the message: 0 after an error was replied.  to, which
 * may be NULL, gets the name of a user. */

typedef struct {
    fanout_zstr_t           name;               /* len 0: it is a client */
    u_char                  buf[FANOUT_NAME];
} fanout_native_to_t;

ngx_uint_t fanout_native_to(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_message_t *m, fanout_native_to_t *to);

/* How often it wants to be told of signals, ms: 0 after an error. */
ngx_uint_t fanout_native_every(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t *every);

/* The text of an error of a direct message or signal. */
void fanout_native_unreached(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc);


/* Whether the session stays after the command, as those need that join: 1, or
 * 0 after an error was replied. */
ngx_uint_t fanout_native_stays(fanout_session_t *s, fanout_command_t *cmd);

/* Whether the command is of a client that is elsewhere, and has proved it by
 * its token; without a proof an error is replied and it is 0 as well. */
ngx_uint_t fanout_native_proved(fanout_session_t *s, fanout_command_t *cmd);

/* Reads the members of a command: FANOUT_JSON_OK, or an error. */
int fanout_native_parse(fanout_json_t *object,
    fanout_command_t *cmd, fanout_json_error_t *err);

/* The name of a member that a join does not have, or that nests too many
 * levels; NULL: there is none. */
const char *fanout_native_not_of_join(fanout_command_t *cmd);

/* Checks the options of a join, or sets them on its subscription: 0 after an
 * error was replied. */
ngx_uint_t fanout_native_join_options(fanout_session_t *s,
    fanout_command_t *cmd, fanout_subscription_t *sub);

/* Runs an array of commands of ours, which answer without an id. */
void fanout_native_batch(fanout_session_t *s, ngx_str_t *text);

/* Replies to what was done of an array that lets others go first. */
void fanout_native_batch_closing(fanout_session_t *s);

/* of the dialect's table */
void fanout_native_receive(fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len);
void fanout_native_close(fanout_session_t *s);


/* Members of a command: 1, or 0 after an error was replied.  Those that are
 * not there leave what is given, labels become empty. */

/* The channel's name into cmd->name; with op, whether it is permitted. */
ngx_uint_t fanout_native_channel(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t op);

/* Whether an operation on cmd->name is permitted, or one of several. */
ngx_uint_t fanout_native_may(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t op);

/* A number from 0 to max. */
ngx_uint_t fanout_native_count(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, const char *name, ngx_uint_t max, ngx_uint_t *n);

ngx_uint_t fanout_native_flag(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, const char *name, int *flag);

/* {epoch,offset}; an epoch that can't be ours becomes 0. */
ngx_uint_t fanout_native_position(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, const char *name, uint64_t *epoch,
    uint64_t *offset);

/* A name of at most KEY bytes; buf has room for them, label may point into
 * the command instead. */
ngx_uint_t fanout_native_label(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, const char *name, u_char *buf,
    fanout_zstr_t *label);


/* Replies: open, write, end; a lack of memory ends the session at the end. */

void fanout_native_open(fanout_reply_t *rp, fanout_session_t *s, u_char *id,
    size_t len);
void fanout_native_text(fanout_reply_t *rp, const void *data, size_t len);
/* As text(), of what others may be told in the same bytes; once a reply. */
void fanout_native_shared(fanout_reply_t *rp, const void *data, size_t len);

void fanout_native_printf(fanout_reply_t *rp, const char *fmt, ...);
void fanout_native_string(fanout_reply_t *rp, const void *data, size_t len);
void fanout_native_end(fanout_reply_t *rp);

/* The end of a reply around bytes of another frame, which belong at "split"
 * of the reply's; never of one in an array. */
void fanout_native_end_around(fanout_reply_t *rp,
    fanout_frame_t *f, uint32_t start, uint32_t end, uint32_t split);

#define fanout_native_literal(rp, text)                              \
    fanout_native_text(rp, text, sizeof(text) - 1)

/* Replies with an error to a command; the text is a format of at most 255
 * bytes. */
void fanout_native_refuse(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e code, const char *fmt, ...);

/* The same for one that is refused for a time. */
void fanout_native_limited(fanout_session_t *s, fanout_command_t *cmd,
    fanout_limited_t *limited);

/* Whether the budgets let it ask for what may be a long answer: 1, or 0 after
 * an error was replied. */
ngx_uint_t fanout_native_answers(fanout_session_t *s, fanout_command_t *cmd);

/* Whether a join on the channel is answered with the members there. */
ngx_uint_t fanout_native_lists(fanout_session_t *s, ngx_str_t *channel);

/* Whether the budgets let it write, on the channel of the command, which may
 * have to be made: 1, or 0 after an error was replied. */
ngx_uint_t fanout_native_writes(fanout_session_t *s, fanout_command_t *cmd);

/* The same for a limit, which is named with its maximum in the data. */
void fanout_native_refuse_limit(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e code, const char *limit, ngx_uint_t max,
    const char *directive);


#endif /* FANOUT_DIALECT_NATIVE_H */
