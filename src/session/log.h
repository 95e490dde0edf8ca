
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_log: a line for each event in the life of a session.  It is of this
 * room because the events are: what a request has to say is said by the
 * access log, and ends with the handshake.
 *
 * A session whose location has a log carries a record behind its structure,
 * told by its bit "logged"; others have neither.
 */


#ifndef FANOUT_SESSION_LOG_H
#define FANOUT_SESSION_LOG_H


#include "hub/hub.h"
#include "session/conf.h"


#define FANOUT_LOG_CONNECT  0x01
#define FANOUT_LOG_DENY     0x02
#define FANOUT_LOG_JOIN     0x04
#define FANOUT_LOG_LEAVE    0x08
#define FANOUT_LOG_CLOSE    0x10
#define FANOUT_LOG_AUTH     0x20
#define FANOUT_LOG_CONFLICT 0x40
#define FANOUT_LOG_KICK     0x80
#define FANOUT_LOG_PUBLISH  0x100
#define FANOUT_LOG_CHANGE   0x200
#define FANOUT_LOG_BLOCK    0x400
#define FANOUT_LOG_REVOKE   0x800
#define FANOUT_LOG_ALL      0xfff

/* those that are logged if none are named: a line for each session and channel,
 * but none for each message */
#define FANOUT_LOG_DEFAULT                                                    \
    (FANOUT_LOG_ALL & ~(FANOUT_LOG_PUBLISH|FANOUT_LOG_CHANGE))

/* how many events there may be */
#define FANOUT_LOG_EVENTS   16

/* severities of events, as syslog has them; lower ones are more severe */
#define FANOUT_LOG_WARN     4
#define FANOUT_LOG_NOTICE   5
#define FANOUT_LOG_INFO     6


/* of a text that comes from elsewhere; what is longer is cut */
#define FANOUT_LOG_TEXT     255

/* of a line, and what a value takes of it at most: a byte is 6 if escaped */
#define FANOUT_LOG_LINE     65536
#define FANOUT_LOG_VALUE    (FANOUT_LOG_TEXT * 6 + 2)


/* who ended a session */

#define FANOUT_BY_NETWORK   0                   /* no close came or was sent */
#define FANOUT_BY_CLIENT    1
#define FANOUT_BY_SERVER    2


/* a part of a format: text, or the value of a field */

typedef struct {
    ngx_str_t                        text;
    ngx_int_t                        field;     /* -1: text */
} fanout_session_log_part_t;


/* a fanout_log directive */

typedef struct {
    ngx_open_file_t                 *file;      /* NULL: to syslog */
    ngx_syslog_peer_t               *syslog;
    ngx_array_t                     *parts;     /* NULL: JSON */
    ngx_uint_t                       events;
    ngx_uint_t                       severity;  /* least of a line */
    uint32_t                         every[FANOUT_LOG_EVENTS];
                                       /* one of so many is written; 0: all */
    uint32_t                         passed[FANOUT_LOG_EVENTS];
                                       /* since the last one */
    time_t                           pause;     /* s after a failed send */
    time_t                           resume;    /* nothing is sent before */
    ngx_uint_t                       lost;      /* lines, since the last word
                                                   about them */
    time_t                           disk_full_time;
    time_t                           error_log_time;
    ngx_uint_t                       torn;      /* the last line, in part */
} fanout_session_log_t;


/* the data of a session's lines; the address follows it.  A poll has one line,
 * at its end. */

typedef struct {
    ngx_msec_t                       start;
    uint64_t                         client;
    uint64_t                         connection;
    uint64_t                         messages_in;
    uint64_t                         messages_out;
    uint64_t                         bytes_in;
    uint64_t                         bytes_out;
    ngx_str_t                        addr;
    ngx_str_t                        reason;    /* of the end */
    ngx_str_t                        channel;   /* of a poll: its first */
    uint16_t                         code;      /* 0: not known yet */
    unsigned                         by:2;
    unsigned                         copied:1;  /* reason is to be freed */
    unsigned                         connected:1;   /* is logged */
} fanout_session_log_record_t;


#define fanout_session_log_record(s)                                          \
    ((fanout_session_log_record_t *) ((s) + 1))

/* Adds to a counter of the record, if there is a log. */
#define fanout_session_log_add(s, name, n)                                    \
    if ((s)->logged) {                                                        \
        fanout_session_log_record(s)->name += (n);                            \
    }


/* Bytes after a session for its record: 0 if nothing is logged. */
size_t fanout_session_log_size(fanout_loc_conf_t *conf, ngx_connection_t *c);

/* Fills in the record, with a copy of the address, while the connection still
 * has that of the client. */
void fanout_session_log_open(fanout_session_t *s, ngx_connection_t *c);

/* The events; all but deny do nothing for a session that is not logged.
 * connect is logged once, before the first join. */
void fanout_session_log_connect(fanout_session_t *s);
void fanout_session_log_join(fanout_session_t *s, ngx_str_t *channel);
void fanout_session_log_leave(fanout_session_t *s, ngx_str_t *channel);
void fanout_session_log_close(fanout_session_t *s);

/* The session has renewed its token. */
void fanout_session_log_auth(fanout_session_t *s);

/* A handshake of a transport is refused, with a status and a text.  The user
 * may be empty, and need not be a name. */
void fanout_session_log_deny(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *transport, ngx_str_t *user, ngx_uint_t status,
    const char *why);

/* A command is refused for lack of permission: "forbidden", or the parameter
 * of the channel that refuses it.  op and why are static. */
void fanout_session_log_forbidden(fanout_session_t *s, const char *op,
    ngx_str_t *channel, const char *why);

/* Logs that the subscription token of a join was refused. */
void fanout_session_log_ticket(fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t status, const char *why);

/* A command was in conflict with what others do: a publish with "if", a change
 * of the record "name", a lock of that name.  op and why are static; name may
 * be NULL. */
void fanout_session_log_conflict(fanout_session_t *s, const char *op,
    ngx_str_t *channel, fanout_zstr_t *name, const char *why);

/* The session was disconnected, or taken from a channel (NULL: from all), by a
 * backend. */
void fanout_session_log_kick(fanout_session_t *s, ngx_str_t *channel);

/* The session was ended, or (channel) taken from a channel, as it is shut out,
 * or its token was revoked: event is LOG_BLOCK or LOG_REVOKE. */
void fanout_session_log_denied(fanout_session_t *s, ngx_uint_t event,
    ngx_str_t *channel);

/* The HTTP API of a location has made ("put") or ended ("delete") a denial of
 * "user:ann" for so many ms, 0: without a time.  op is static. */
void fanout_session_log_denial(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t event, const char *op, ngx_str_t *name, uint64_t ms);

/* A publish (name NULL), or a change of the record "name", has this offset;
 * op is static. */
void fanout_session_log_done(fanout_session_t *s, const char *op,
    ngx_str_t *channel, fanout_zstr_t *name, uint64_t offset);

/* A new token is not taken, with the status of the error. */
void fanout_session_log_unauthorized(fanout_session_t *s, ngx_uint_t status,
    const char *why);

/* Records why the session ends, for its line "close": the first call counts.
 * By the server, with a static reason; by the client, with a reason that is
 * copied. */
void fanout_session_log_ended(fanout_session_t *s, ngx_uint_t code,
    const char *reason);
void fanout_session_log_left(fanout_session_t *s, ngx_uint_t code,
    u_char *reason, size_t len);

/* The same by the server, in a dialect that closes at a gap or a reset:
 * FANOUT_GAP or FANOUT_RESET. */
void fanout_session_log_broken(fanout_session_t *s, ngx_uint_t type);

/*
 * Refusals are gathered by address and reason: the first in ten seconds are
 * written, then they are counted, see session/log_gather.c.
 *
 * Whether a line is to be written now: of a deny, or of the error log, for
 * which text is static or lives as long as the call.
 */
ngx_uint_t fanout_session_log_gather_error(ngx_uint_t level, ngx_str_t *addr,
    const char *text);

/* Writes refusals that were counted for ten seconds, or all; called every
 * second, and at the exit. */
void fanout_session_log_gathered(ngx_uint_t all);

/* Writes all buffers; the process is about to exit. */
void fanout_session_log_flush(ngx_cycle_t *cycle);

/* Frees the strings of the record. */
void fanout_session_log_free(fanout_session_t *s);


/* inside: formats */

/* the values of a line, for all events */

typedef struct {
    ngx_uint_t                       kind;      /* one of LOG_* */
    ngx_str_t                        event;
    ngx_str_t                        zone;
    ngx_str_t                        dialect;
    ngx_str_t                        transport;
    ngx_str_t                        addr;
    ngx_str_t                        user;
    ngx_str_t                        origin;
    ngx_str_t                        channel;
    ngx_str_t                        op;
    ngx_str_t                        rule;      /* see put() */
    ngx_str_t                        name;
    ngx_str_t                        reason;
    ngx_str_t                        by;
    uint64_t                         pid;
    uint64_t                         client;
    uint64_t                         connection;
    uint64_t                         status;
    uint64_t                         repeated;
    uint64_t                         code;
    uint64_t                         resumed;
    uint64_t                         duration;  /* ms */
    uint64_t                         messages_in;
    uint64_t                         messages_out;
    uint64_t                         bytes_in;
    uint64_t                         bytes_out;
    uint64_t                         offset;
    uint64_t                         sample;    /* stands for so many */
} fanout_session_log_line_t;

/* The same for a deny.  Writes a line to all logs that want its event. */
ngx_uint_t fanout_session_log_gather(fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line);
void fanout_session_log_put(fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line);

/* Splits a format.  NULL, or what is wrong with it: static text, and the part
 * in question. */
const char *fanout_session_log_compile(ngx_conf_t *cf, ngx_str_t *format,
    fanout_session_log_t *log, ngx_str_t *part);

/* Writes a line, the end of line included; p has LOG_LINE bytes. */
u_char *fanout_session_log_format(u_char *p, fanout_session_log_t *log,
    fanout_session_log_line_t *line);

/* The index of an event by its name, NFOUND: there is none; and by its bit. */
#define FANOUT_LOG_NFOUND  FANOUT_LOG_EVENTS
ngx_uint_t fanout_session_log_named(ngx_str_t *name);
ngx_uint_t fanout_session_log_index(ngx_uint_t event);

/* Of an event by its index: the severity, whether it may be sampled. */
ngx_uint_t fanout_session_log_severity(ngx_uint_t i);
ngx_uint_t fanout_session_log_sampled(ngx_uint_t i);

/* The name of an event that a log leaves out, by its index; NULL: it does
 * not. */
const ngx_str_t *fanout_session_log_without(fanout_session_log_t *log,
    ngx_uint_t i);

/* The set of events by their names, separated by commas; 0 if one is none,
 * which is left in *list then. */
ngx_uint_t fanout_session_log_events(ngx_str_t *list);

/* Writes a line to its file, or to the file's buffer. */
void fanout_session_log_write(fanout_session_log_t *log, u_char *line,
    size_t len);

/* Sends a line without its end to syslog, never waiting: what can't be sent is
 * lost, and the error log says so once a minute.  Before the line are
 * FANOUT_LOG_HEAD bytes for the header. */
#define FANOUT_LOG_HEAD  512
void fanout_session_log_send(fanout_session_log_t *log, ngx_uint_t severity,
    u_char *line, size_t len);

/* Buffers lines of the log's file: size bytes, for flush ms at most, 0: without
 * a limit.  Logs of one file share its buffer.  NGX_CONF_ERROR. */
char *fanout_session_log_buffer(ngx_conf_t *cf, fanout_session_log_t *log,
    size_t size, ngx_msec_t flush);


#endif /* FANOUT_SESSION_LOG_H */
