
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of the API: a request in work, and the operations that single
 * requests and batches have in common.
 *
 * An operation appends its result, one JSON object, to api->out.  On an
 * error what it has written is to be taken back, and api->message and
 * api->data say more.
 */


#ifndef FANOUT_API_API_H
#define FANOUT_API_API_H


#include "http/http.h"
#include "session/conf.h"
#include "hub/entry_json.h"
#include "base/json.h"
#include "base/pattern.h"


/* bytes of a page of history; an entry larger than that is a page alone */
#define FANOUT_API_PAGE      1048576

/* entries and channels of a page unless "limit" says otherwise */
#define FANOUT_API_LIMIT     100

/* most channels of a page and of a broadcast */
#define FANOUT_API_CHANNELS  1000

/* bytes of an error's message */
#define FANOUT_API_MESSAGE   256

/* channels/NAME/records/ID, and one more to tell what is too long */
#define FANOUT_API_WORDS     5


/* The content handler of locations with "fanout_api". */
ngx_int_t fanout_api_handler(ngx_http_request_t *r);


typedef struct fanout_api_s         fanout_api_t;
typedef struct fanout_api_method_s  fanout_api_method_t;
typedef struct fanout_api_route_s   fanout_api_route_t;

typedef fanout_error_e (*fanout_api_pt)(
    fanout_api_t *api);


struct fanout_api_s {
    ngx_http_request_t         *request;
    fanout_hub_t               *hub;
    fanout_loc_conf_t          *conf;
    fanout_outbuf_t            *out;
    const fanout_api_route_t   *routes;
    const fanout_api_method_t  *method;         /* awaits the body */
    fanout_api_pt               step;           /* goes on, NULL: it is done */
    void                       *many;           /* of that */
    fanout_task_t               task;
    ngx_http_cleanup_t         *cleanup;        /* NULL: it never waited */

    ngx_str_t                   words[FANOUT_API_WORDS];
    ngx_uint_t                  nwords;

    ngx_uint_t                  status;         /* of success */
    ngx_uint_t                  refusal;        /* status of an error, 0: as it
                                                   has it */
    ngx_str_t                   message;        /* of an error */
    ngx_str_t                   data;           /* and its raw JSON */
    unsigned                    deep:1;         /* what was sent nests more
                                                   than data may */
};


typedef struct {
    ngx_str_t                      channel;
    ngx_str_t                      event;
    ngx_str_t                      key;
    ngx_str_t                      user;
    ngx_str_t                      meta;
    ngx_str_t                      data;
    ngx_str_t                      reason;      /* purge */
    ngx_str_t                      to_client;
    ngx_str_t                      to_user;
    ngx_str_t                      tag;         /* signal */
    ngx_str_t                      record;      /* its id */
    ngx_str_t                      prefix;      /* of ids */
    ngx_str_t                      lock;        /* its name */
    ngx_str_t                      release;     /* set: a lock that ends */
    ngx_str_t                      who;         /* is denied: "user:ann" */
    ngx_str_t                      set;         /* JSON, in memory that may be
                                                   written to */
    ngx_str_t                      unset;
    ngx_str_t                      append;
    fanout_json_t                  channels;    /* broadcast: as sent */
    uint64_t                       epoch;       /* of "if" and "since" */
    uint64_t                       offset;
    uint64_t                       before;      /* history, 0: none */
    uint64_t                       base;        /* of a record's change */
    uint64_t                       cursor;      /* records, locks */
    uint64_t                       token;       /* of a lock, 0: none */
    uint64_t                       ttl;         /* of a lock, ms, if timed */
    uint64_t                       seconds;     /* of a denial, 0: it does not
                                                   say */
    uint64_t                       within;      /* ms, to renew an
                                                   authorization; 0: it does
                                                   not say */
    uint64_t                       version;     /* the record's in the end, 0:
                                                   there is none */
    ngx_uint_t                     mode;        /* FANOUT_MERGE … + 1; 0: it
                                                   does not say */
    ngx_uint_t                     limit;       /* history */
    ngx_uint_t                     kind;
    unsigned                       positioned:1;  /* epoch, offset given */
    unsigned                       transient:1;
    unsigned                       close:1;     /* purge: and let go of all */
    unsigned                       live:1;
    unsigned                       based:1;     /* base given */
    unsigned                       exact:1;     /* base has to be the version */
    unsigned                       exist:1;     /* the record has to exist */
    unsigned                       create:1;    /* or must not */
    unsigned                       whole:1;     /* set has all fields */
    unsigned                       versions:1;  /* of fields */
    unsigned                       timed:1;     /* ttl given */
} fanout_api_op_t;


/* what a request says in its path and query */

typedef struct {
    fanout_api_op_t                op;
    ngx_str_t                      to;          /* "client:ID", "user:NAME" */
    ngx_str_t                      channel;     /* presence, of clients */
    ngx_str_t                      user;        /* presence: only of this */
    fanout_pattern_t               pattern;     /* list; len 0: all */
    uint64_t                       client;
    uint64_t                       user_hash;
    uint64_t                       cursor;
    uint64_t                       limit;
    uint64_t                       summary;
    uint64_t                       close;       /* purge */
    ngx_uint_t                     records;
    ngx_uint_t                     versions;
    ngx_uint_t                     store;       /* publish: 1 unless it is 0 */
    ngx_uint_t                     live;
} fanout_api_args_t;

/* a row of a table, which ends with one whose name is NULL */

typedef struct fanout_api_arg_s  fanout_api_arg_t;

struct fanout_api_arg_s {
    const char       *name;             /* "": a word of the path */
    fanout_error_e  (*read)(fanout_api_t *api, const fanout_api_arg_t *arg,
                          ngx_str_t *value, fanout_api_args_t *args);
    size_t            offset;           /* in the arguments */
    unsigned          always:1;         /* read as well if it is empty */
    unsigned          word:3;           /* of the path, from 0 */
};

struct fanout_api_method_s {
    fanout_error_e          (*run)(fanout_api_t *api, fanout_api_args_t *args);
    const fanout_api_arg_t   *args;     /* NULL: none */
};

#define FANOUT_API_NONE  { NULL, NULL }

struct fanout_api_route_s {
    ngx_str_t            first;
    ngx_uint_t           nwords;        /* 0: the end of a table */
    ngx_str_t            last;          /* the third word, if there is one */
    fanout_api_method_t  get;
    fanout_api_method_t  post;
    fanout_api_method_t  put;
    fanout_api_method_t  patch;
    fanout_api_method_t  delete;
    ngx_str_t            allow;
};

#define FANOUT_API_ROUTES_END                                                 \
    { ngx_null_string, 0, ngx_null_string, FANOUT_API_NONE, FANOUT_API_NONE,  \
      FANOUT_API_NONE, FANOUT_API_NONE, FANOUT_API_NONE, ngx_null_string }

/* of style=sync */

extern const fanout_api_route_t  fanout_api_sync_routes[];

/* how its failures begin; the error follows, and "}" */
#define FANOUT_API_SYNC_FAILURE  "{\"success\":false,\"error\":"


/* Operations of an array that are done one by one, in steps.  The caller
 * allocates it in the request's pool with zeros, and sets run and end. */

typedef struct {
    fanout_json_t    *items;
    size_t            n;
    size_t            i;                /* next */
    size_t            failed;           /* for the caller's use */
    ngx_int_t       (*run)(fanout_api_t *api, fanout_json_t *item,
                          fanout_api_op_t *op);
    ngx_int_t       (*end)(fanout_api_t *api);
                                        /* appends the end of the answer */
    fanout_api_op_t   op;               /* the message of a broadcast */
} fanout_api_many_t;


/* an operation of a batch: its members, see decode.c */

typedef struct {
    ngx_str_t                          name;
    const struct fanout_api_member_s  *members;
    ngx_uint_t                         n;
    fanout_error_e                   (*run)(fanout_api_t *api,
                                         fanout_api_op_t *op);
} fanout_api_verb_t;

extern const fanout_api_verb_t  fanout_api_verb_broadcast;
extern const fanout_api_verb_t  fanout_api_verb_patch;
extern const fanout_api_verb_t  fanout_api_verb_take;


/* FORBIDDEN if the host or the origin of the request is not allowed. */
fanout_error_e fanout_api_guard(fanout_api_t *api);

/* Answers with what api->out has, or with an error.  Returns NGX_DONE if a step
 * of the request is still to follow. */
ngx_int_t fanout_api_respond(fanout_api_t *api, fanout_error_e error);

/* Answers with an error, by its own status or by another one. */
ngx_int_t fanout_api_respond_error(fanout_api_t *api, fanout_error_e error);
ngx_int_t fanout_api_respond_status(fanout_api_t *api, fanout_error_e error,
    ngx_uint_t status);

/* Sets the message of the error; returns the error. */
fanout_error_e fanout_api_fail(fanout_api_t *api, fanout_error_e error,
    const char *fmt, ...);

/* The same for a limit by the name that the welcome gives it. */
fanout_error_e fanout_api_exceed(
    fanout_api_t *api, fanout_error_e error,
    const char *limit, size_t max);

/* Makes JSON of an error, its message and its data, which are unset then.
 * NGX_OK, NGX_ERROR. */
ngx_int_t fanout_api_error_text(fanout_api_t *api, fanout_error_e error,
    ngx_str_t *text);

/* INTERNAL, or NONE if an append has succeeded. */
#define fanout_api_done(rc)                                                   \
    ((rc) == NGX_OK ? FANOUT_E_NONE : FANOUT_E_INTERNAL)

/* Validates a channel's name.  BAD_REQUEST. */
fanout_error_e fanout_api_channel(
    fanout_api_t *api, ngx_str_t *name);

/* Validates a label of at most max bytes, which may be empty; what names it in
 * an error.  BAD_REQUEST. */
fanout_error_e fanout_api_label(fanout_api_t *api, const char *what,
    ngx_str_t *label, size_t max);

/* Validates the id of a record.  BAD_REQUEST. */
fanout_error_e fanout_api_record_check(fanout_api_t *api, ngx_str_t *id);

/* The errors for a channel without "records=", FORBIDDEN, and for a record that
 * is not there: the error that is given. */
fanout_error_e fanout_api_no_records(fanout_api_t *api);
fanout_error_e fanout_api_record_absent(fanout_api_t *api,
    fanout_api_op_t *op, fanout_error_e error);

/* The same for a channel without "locks=". */
fanout_error_e fanout_api_no_locks(fanout_api_t *api);

/* Sets the data of an error to a copy of raw JSON.  Returns the error, or
 * INTERNAL. */
fanout_error_e fanout_api_data(fanout_api_t *api, fanout_error_e error,
    const u_char *data, size_t len);

/* The mode of a record's change by its name, as fanout_api_op_t has it.
 * BAD_REQUEST. */
fanout_error_e fanout_api_mode(fanout_api_t *api, ngx_str_t *name,
    ngx_uint_t *mode);

/* Makes one validated, minified JSON value of a text in the request's
 * pool; what names it in an error.  BAD_REQUEST, INTERNAL. */
fanout_error_e fanout_api_json(fanout_api_t *api, const char *what,
    ngx_str_t *text, ngx_str_t *value);


/* Decodes an object by the members of *verb, or of the one that it names if
 * that is NULL; names and labels are not validated yet.  BAD_REQUEST,
 * UNKNOWN_OP, INTERNAL. */
fanout_error_e fanout_api_decode(fanout_api_t *api, fanout_json_t *object,
    const fanout_api_verb_t **verb, fanout_api_op_t *op);

/* Reads the body, which is one JSON value; it may nest any number of levels,
 * and api->deep is set if they are more than data may.  BAD_REQUEST,
 * INTERNAL. */
fanout_error_e fanout_api_body(fanout_api_t *api, fanout_json_t *value);

/* A string, empty for null; what names it in an error.  BAD_REQUEST,
 * INTERNAL. */
fanout_error_e fanout_api_read_text(fanout_api_t *api, const char *name,
    fanout_json_t *value, ngx_str_t *text);


/* Begins the operations of an array of at most max items, whose limit has that
 * name, and an answer with text.  BAD_REQUEST, TOO_MANY, INTERNAL. */
fanout_error_e fanout_api_many(fanout_api_t *api, fanout_api_many_t *many,
    fanout_json_t *array, const char *limit, size_t max, const char *text);


/* operations; the names and labels of op are validated here */

/* NOT_FOUND.  The data of the error is a position before the first entry that
 * the channel will have. */
fanout_error_e fanout_api_absent(
    fanout_api_t *api, ngx_str_t *channel);

/* The error for rc, not FANOUT_ZONE_OK, of a read of the channel. */
fanout_error_e fanout_api_zone_error(fanout_api_t *api, ngx_str_t *channel,
    int rc);

fanout_error_e fanout_api_publish(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_signal(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_history(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_record_history(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_info(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_purge(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_purge_check(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_set(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_delete(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_get(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_lock(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_unlock(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_block(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_unblock(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_revoke(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_reauthorize(
    fanout_api_t *api, fanout_api_op_t *op);

/* A page, or a record as a page; op gets the position.  A record alone. */
fanout_error_e fanout_api_records(
    fanout_api_t *api, fanout_api_op_t *op);
fanout_error_e fanout_api_record(
    fanout_api_t *api, fanout_api_op_t *op);


/* arguments */

/* Checks that each argument of the query is in the table, which may be NULL, or
 * is used by the configuration, and is there once.  BAD_REQUEST. */
fanout_error_e fanout_api_args_check(fanout_api_t *api,
    const fanout_api_arg_t *arg);

/* Reads the arguments of a table into *args, in the request's pool; they are
 * validated as far as their readers do.  BAD_REQUEST, INTERNAL. */
fanout_error_e fanout_api_args_read(fanout_api_t *api,
    const fanout_api_arg_t *arg, fanout_api_args_t *args);

extern const fanout_api_arg_t  fanout_api_list_args[];
extern const fanout_api_arg_t  fanout_api_info_args[];
extern const fanout_api_arg_t  fanout_api_purge_args[];
extern const fanout_api_arg_t  fanout_api_history_args[];
extern const fanout_api_arg_t  fanout_api_publish_args[];
extern const fanout_api_arg_t  fanout_api_signal_args[];
extern const fanout_api_arg_t  fanout_api_presence_args[];
extern const fanout_api_arg_t  fanout_api_client_args[];
extern const fanout_api_arg_t  fanout_api_client_delete_args[];
extern const fanout_api_arg_t  fanout_api_user_args[];
extern const fanout_api_arg_t  fanout_api_user_delete_args[];
extern const fanout_api_arg_t  fanout_api_records_args[];
extern const fanout_api_arg_t  fanout_api_record_args[];
extern const fanout_api_arg_t  fanout_api_record_put_args[];
extern const fanout_api_arg_t  fanout_api_record_patch_args[];
extern const fanout_api_arg_t  fanout_api_record_delete_args[];
extern const fanout_api_arg_t  fanout_api_locks_args[];
extern const fanout_api_arg_t  fanout_api_lock_args[];
extern const fanout_api_arg_t  fanout_api_lock_delete_args[];
extern const fanout_api_arg_t  fanout_api_denials_args[];
extern const fanout_api_arg_t  fanout_api_denial_args[];
extern const fanout_api_arg_t  fanout_api_denial_put_args[];
extern const fanout_api_arg_t  fanout_api_denial_delete_args[];
extern const fanout_api_arg_t  fanout_api_revoke_args[];
extern const fanout_api_arg_t  fanout_api_reauthorize_args[];


/* handlers of routes */

fanout_error_e fanout_api_denials_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_denial_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_denial_put_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_denial_delete_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_revoke_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_reauthorize_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_publish_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_signal_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_history_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_info_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_purge_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_list_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_batch_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_broadcast_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_presence_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_client_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_client_delete_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_user_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_user_delete_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_records_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_record_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_record_put_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_record_patch_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_record_delete_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_locks_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_lock_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_lock_delete_handler(fanout_api_t *api,
    fanout_api_args_t *args);
fanout_error_e fanout_api_cleanup_handler(fanout_api_t *api,
    fanout_api_args_t *args);


#endif /* FANOUT_API_API_H */
