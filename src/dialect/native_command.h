
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The commands of the native protocol.  A command is a table of its members,
 * a struct that they are decoded into, and a function that does it.
 *
 * fanout_native_split() finds the members of a command by the table,
 * fanout_native_read() decodes them, in the order of the table.  Then it is
 * checked what the whole command needs (FANOUT_NATIVE_* and a permission), and
 * the function runs.  Each step returns NONE, or why the command is refused,
 * once it was told by one of fanout_native_fail*(): whoever has called the
 * steps sends the one reply.
 *
 * Strings are unescaped, and JSON is minified, where they were sent: what is
 * decoded points into the text of the command and is valid as long as it.
 */


#ifndef FANOUT_DIALECT_NATIVE_COMMAND_H
#define FANOUT_DIALECT_NATIVE_COMMAND_H


#include "session/session.h"
#include "base/json.h"
#include "base/json_table.h"


#define FANOUT_NATIVE_MEMBERS   16              /* most of a command */
#define FANOUT_NATIVE_EVENTS    64              /* most of a filter */


typedef struct fanout_command_s        fanout_command_t;
typedef struct fanout_native_member_s  fanout_native_member_t;


/* the most that a member may be: the least of both, each 0 if there is none */

typedef struct {
    const char                    *name;        /* as an error tells it */
    const char                    *directive;
    size_t                         conf;        /* offset in the location's
                                                   configuration */
    size_t                         max;
} fanout_native_limit_t;


/* Decodes the value of a member into the struct at base.  The value is NONE if
 * it is required and not there. */

typedef fanout_error_e (*fanout_native_read_pt)(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);


struct fanout_native_member_s {
    fanout_json_field_t            field;       /* offset in the struct */
    fanout_native_read_pt          read;
    const fanout_native_limit_t   *limit;
    ngx_int_t                      absent;      /* of a number or a flag that
                                                   is not there */
    unsigned                       required:1;
    unsigned                       levels:2;    /* that it may nest beyond
                                                   FANOUT_JSON_DEPTH */
};

/* a member that is read into a struct; other designators may follow */
#define fanout_native_field(text, reader, type, what)                         \
    .field = fanout_json_field(text, type, what), .read = reader

/* where a reader puts what it has read */
#define fanout_native_dst(base, m)                                           \
    ((void *) ((u_char *) (base) + (m)->field.offset))

/* the first member of all that name a channel */
#define FANOUT_NATIVE_CHANNEL                                                 \
    { fanout_native_field("channel", fanout_native_read_channel,              \
                          fanout_command_t, channel), .required = 1 }


/* what a command needs */

#define FANOUT_NATIVE_STAYS     0x01    /* a session that stays: not by POST */
#define FANOUT_NATIVE_PROVED    0x02    /* by POST, the token of its client */
#define FANOUT_NATIVE_WRITES    0x04    /* the budgets of what it writes */
#define FANOUT_NATIVE_ANSWERS   0x08    /* that of long answers */


typedef struct {
    ngx_str_t                      name;
    fanout_error_e               (*run)(fanout_session_t *s,
                                     fanout_command_t *cmd);
    fanout_error_e               (*prepare)(fanout_session_t *s,
                                     fanout_command_t *cmd);
                                                /* before its permission is
                                                   checked; or NULL */
    const fanout_native_member_t  *members;
    ngx_uint_t                     n;
    size_t                         size;        /* of its struct, to be zeroed
                                                   before members are read */
    ngx_uint_t                     cost;
    ngx_uint_t                     may;         /* FANOUT_MAY_*, 0: none */
    ngx_uint_t                     needs;       /* FANOUT_NATIVE_* */
} fanout_native_op_t;


/* values of members */

typedef struct {
    uint64_t                       epoch;       /* 0: none of ours */
    uint64_t                       offset;
    ngx_uint_t                     set;
} fanout_native_position_t;

typedef struct {
    int                            type;        /* FANOUT_JSON_* */
    fanout_zstr_t                  data;        /* minified; empty for {} */
} fanout_native_data_t;

typedef struct {
    fanout_zstr_t                  client;      /* or */
    fanout_zstr_t                  user;        /* both empty: not there */
} fanout_native_to_t;


/* what the commands decode into */

typedef struct {
    fanout_native_position_t       since;
    ngx_int_t                      history;     /* -1: it does not say */
    ngx_int_t                      want;        /* FANOUT_WANT_*, -1: it does
                                                   not say */
    ngx_flag_t                     echo;
    ngx_flag_t                     anonymous;
    ngx_uint_t                     every;       /* ms */
    fanout_zstr_t                  key;
    fanout_native_data_t           presence;
    fanout_json_t                  token;       /* as sent, len 0: none */
    ngx_uint_t                     filters;     /* events are named, */
    ngx_uint_t                     nevents;     /* so many */
    fanout_zstr_t                  events[FANOUT_NATIVE_EVENTS];
                                                /* not zeroed */
} fanout_join_cmd_t;

/* the members of a message */

enum {
    FANOUT_MESSAGE_EVENT = 0,
    FANOUT_MESSAGE_KEY,
    FANOUT_MESSAGE_META,
    FANOUT_MESSAGE_ENC,
    FANOUT_MESSAGE_DATA,
    FANOUT_MESSAGE_MEMBERS
};

typedef struct {
    ngx_flag_t                     echo;
    ngx_flag_t                     store;
    ngx_flag_t                     live;
    fanout_zstr_t                  key;         /* of the whole publish */
    fanout_native_position_t       condition;
    fanout_native_to_t             to;
    fanout_json_t                  messages;    /* or one: */
    fanout_json_t                  message[FANOUT_MESSAGE_MEMBERS];
} fanout_publish_cmd_t;

typedef struct {
    fanout_zstr_t                  event;
    fanout_zstr_t                  tag;
    fanout_zstr_t                  data;
    fanout_native_to_t             to;
} fanout_signal_cmd_t;

typedef struct {
    fanout_native_position_t       since;
    ngx_uint_t                     before;      /* offset, 0: the newest */
    ngx_int_t                      limit;       /* -1: it does not say */
    fanout_zstr_t                  record;      /* len 0: all */
} fanout_history_cmd_t;

typedef struct {
    fanout_native_data_t           data;
    fanout_zstr_t                  key;
    ngx_flag_t                     merge;
    ngx_flag_t                     anonymous;   /* -1: as it is */
    ngx_uint_t                     state;       /* FANOUT_PUT_STATE, or 0 */
    ngx_uint_t                     idle;        /* that state */
} fanout_presence_cmd_t;


typedef struct {
    fanout_zstr_t                  id;
    fanout_zstr_t                  key;
    ngx_int_t                      base;        /* -1: it does not say */
    ngx_flag_t                     create;
    ngx_uint_t                     mode;        /* FANOUT_MERGE … + 1; 0: it
                                                   does not say */
    ngx_uint_t                     n;           /* changes */
    ngx_uint_t                     token;       /* 0: it does not say */
    fanout_zstr_t                  release;     /* len 0: likewise */
} fanout_record_cmd_t;

typedef struct {
    fanout_zstr_t                  id;          /* len 0: all, */
    fanout_zstr_t                  prefix;      /* with this prefix */
    ngx_uint_t                     cursor;
    ngx_flag_t                     versions;
    ngx_flag_t                     all;         /* in parts */
    ngx_flag_t                     locks;       /* the locks, likewise */
} fanout_get_cmd_t;

typedef struct {
    fanout_zstr_t                  name;
    fanout_zstr_t                  data;        /* .data NULL: it does not
                                                   say */
    ngx_uint_t                     ttl;         /* ms, 0: it does not say */
    ngx_uint_t                     wait;        /* ms */
    ngx_uint_t                     token;       /* 0: it does not say */
} fanout_lock_cmd_t;


struct fanout_command_s {
    fanout_json_t                  id;          /* as sent, len 0: none */
    fanout_json_t                  op;          /* likewise */
    ngx_uint_t                     at;          /* in an array */
    const fanout_native_op_t      *def;         /* NULL: there is no such op */
    ngx_str_t                      channel;
    ngx_str_t                      copy;        /* of its text, of ngx_alloc(),
                                                   data NULL: it can't wait */
    ngx_uint_t                     deep;        /* it may nest too deeply */
    ngx_uint_t                     ask;         /* PARKED: the op to ask for,
                                                   0: it is behind others */

    /* why it is refused */

    const char                    *misplaced;   /* member that it does not have
                                                   or that nests too deeply */
    ngx_str_t                      text;        /* len 0: the usual one */
    ngx_str_t                      data;        /* raw JSON, len 0: none */

    u_char                         text_buf[256];
    u_char                         data_buf[128];

    fanout_json_t                  members[FANOUT_NATIVE_MEMBERS];
                                                /* in the order of the table */

    union {
        fanout_join_cmd_t          join;
        fanout_publish_cmd_t       publish;
        fanout_signal_cmd_t        signal;
        fanout_history_cmd_t       history;
        fanout_presence_cmd_t      presence;
        fanout_record_cmd_t        record;
        fanout_get_cmd_t           get;
        fanout_lock_cmd_t          lock;
        fanout_json_t              token;       /* of "auth", as sent */
    } u;
};


extern const fanout_native_op_t  fanout_native_op_publish;
extern const fanout_native_op_t  fanout_native_op_join;
extern const fanout_native_op_t  fanout_native_op_signal;
extern const fanout_native_op_t  fanout_native_op_history;
extern const fanout_native_op_t  fanout_native_op_presence;
extern const fanout_native_op_t  fanout_native_op_members;
extern const fanout_native_op_t  fanout_native_op_set;
extern const fanout_native_op_t  fanout_native_op_delete;
extern const fanout_native_op_t  fanout_native_op_get;
extern const fanout_native_op_t  fanout_native_op_lock;
extern const fanout_native_op_t  fanout_native_op_unlock;
extern const fanout_native_op_t  fanout_native_op_auth;


/* Runs a command, at is its index in an array; deep: it may nest more levels
 * than data can have.  Replies, or starts a job. */
void fanout_native_command(fanout_session_t *s, fanout_json_t *object,
    ngx_uint_t at, ngx_uint_t deep);

/* Clears a command. */
void fanout_native_blank(fanout_command_t *cmd);


/* decoding; see native_decode.c */

/* Finds the members of a command of the op def, NULL: of the one that it names.
 * BAD_REQUEST, UNKNOWN_OP. */
fanout_error_e fanout_native_split(fanout_command_t *cmd,
    fanout_json_t *object, const fanout_native_op_t *def, ngx_uint_t deep);

/* Decodes the members that were found into cmd->u. */
fanout_error_e fanout_native_decode(fanout_session_t *s,
    fanout_command_t *cmd);

/* The same for another object: finds its members, into spans in the order of
 * the table, 0 if it is none, or has others or one twice; decodes them. */
ngx_uint_t fanout_native_find(const fanout_native_member_t *members,
    ngx_uint_t n, fanout_json_t *object, fanout_json_t *spans);
fanout_error_e fanout_native_read(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *members, ngx_uint_t n,
    fanout_json_t *spans, void *base);

/* The op of a name as it was sent, or NULL; that of a number from 0 on, or
 * NULL. */
const fanout_native_op_t *fanout_native_op(fanout_json_t *name);
const fanout_native_op_t *fanout_native_op_at(ngx_uint_t i);


/* values of members: what they are read into is in brackets */

/* the channel's name, unless that is known already [ngx_str_t] */
fanout_error_e fanout_native_read_channel(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* as it was sent [fanout_json_t] */
fanout_error_e fanout_native_read_raw(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* true or false [ngx_flag_t] */
fanout_error_e fanout_native_read_flag(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* a number from 0 to the limit, TOO_MANY [ngx_uint_t] */
fanout_error_e fanout_native_read_count(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* a name of 1 to FANOUT_KEY bytes [fanout_zstr_t] */
fanout_error_e fanout_native_read_label(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* the name of a lock [fanout_zstr_t] */
fanout_error_e fanout_native_read_lock(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* the token of a lock [ngx_uint_t] */
fanout_error_e fanout_native_read_token(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* {epoch,offset} [fanout_native_position_t] */
fanout_error_e fanout_native_read_position(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* JSON that has to be within the limit as it was sent, TOO_LARGE
 * [fanout_zstr_t] */
fanout_error_e fanout_native_read_json(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* the recipient [fanout_native_to_t] */
fanout_error_e fanout_native_read_to(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* the data of a member [fanout_native_data_t] */
fanout_error_e fanout_native_read_presence(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);

/* The value of a limit in the location of the session. */
size_t fanout_native_most(fanout_session_t *s,
    const fanout_native_limit_t *limit);

/* TOO_LARGE, with what the limit is, if so many bytes are beyond it. */
fanout_error_e fanout_native_within(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_limit_t *limit, size_t len);


/* refusals: each says why, and returns the error */

/* The text is a format of at most 255 bytes. */
fanout_error_e fanout_native_fail(fanout_command_t *cmd, fanout_error_e code,
    const char *fmt, ...);

/* A limit, which is named with its maximum in the data. */
fanout_error_e fanout_native_fail_limit(fanout_command_t *cmd,
    fanout_error_e code, const char *limit, ngx_uint_t max,
    const char *directive);

/* An error of seats and members. */
fanout_error_e fanout_native_fail_member(fanout_session_t *s,
    fanout_command_t *cmd, fanout_error_e rc);

/* One of a direct message or signal. */
fanout_error_e fanout_native_fail_direct(fanout_command_t *cmd,
    fanout_error_e rc);

/* RATE_LIMITED. */
fanout_error_e fanout_native_limited(fanout_session_t *s,
    fanout_command_t *cmd, fanout_limited_t *limited);

/* Sends the error as the reply. */
void fanout_native_refuse(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e code);

/* Replies {} to a command with an id. */
void fanout_native_ok(fanout_session_t *s, fanout_command_t *cmd);


/* checks */

/* The text of a token, where it was sent.  BAD_REQUEST, TOO_LARGE. */
fanout_error_e fanout_native_token(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, ngx_str_t *token);

/* Verifies the subscription token of a join, if it has one: the session has its
 * ticket until the command ends, or fanout_native_ticket_end().  UNAUTHORIZED,
 * FORBIDDEN, and those of a token. */
fanout_error_e fanout_native_ticket(fanout_session_t *s,
    fanout_command_t *cmd);
void fanout_native_ticket_end(fanout_session_t *s);

/* FORBIDDEN unless an operation on the channel is permitted, or one of
 * several. */
fanout_error_e fanout_native_may(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t op);

/* RATE_LIMITED if the budgets don't let it ask for what may be a long
 * answer. */
fanout_error_e fanout_native_answers(fanout_session_t *s,
    fanout_command_t *cmd);

/* FORBIDDEN if the channel has no presence. */
fanout_error_e fanout_native_served(fanout_session_t *s,
    fanout_command_t *cmd);

/* FORBIDDEN if the channel has no records. */
fanout_error_e fanout_native_recorded(fanout_session_t *s,
    fanout_command_t *cmd);

/* FORBIDDEN if the channel has no locks. */
fanout_error_e fanout_native_lockable(fanout_session_t *s,
    fanout_command_t *cmd);

/* The table of n members, for base/json_table.h. */
fanout_json_table_t fanout_native_table(const fanout_native_member_t *members,
    ngx_uint_t n);


#endif /* FANOUT_DIALECT_NATIVE_COMMAND_H */
