
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_log: which lines are logged for sessions, and when.
 */


#include "session/session.h"
#include "session/dialect.h"
#include "http/http.h"
#include "session/transport.h"


static fanout_session_log_record_t *ending(
    fanout_session_t *s, ngx_uint_t by, ngx_uint_t code);
static void log_refused(fanout_session_t *s, const char *op,
    ngx_str_t *channel, ngx_uint_t status, const char *why);
static void log_gather(fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line);
static void log_text(ngx_str_t *to, const char *text);
static void log_rule(fanout_session_log_line_t *line);
static ngx_uint_t log_wants(fanout_session_t *s, ngx_uint_t event);
static void log_describe(fanout_session_t *s, fanout_session_log_line_t *line,
    ngx_uint_t event);
static ngx_uint_t is_poll(fanout_session_t *s);
static void poll_channel(fanout_session_log_record_t *rec, ngx_str_t *channel);
static ngx_uint_t log_sample(fanout_session_log_t *log, ngx_uint_t event);


static ngx_str_t  whose[] = {
    ngx_string("network"),
    ngx_string("client"),
    ngx_string("server")
};


size_t
fanout_session_log_size(fanout_loc_conf_t *conf, ngx_connection_t *c)
{
    return conf->logs ? sizeof(fanout_session_log_record_t)
                        + c->addr_text.len
                      : 0;
}


void
fanout_session_log_open(fanout_session_t *s, ngx_connection_t *c)
{
    fanout_session_log_record_t  *rec;

    if (s->conf->logs == NULL) {
        return;
    }

    s->logged = 1;

    rec = fanout_session_log_record(s);

    rec->start = ngx_current_msec;
    rec->connection = c->number;
    rec->addr.data = (u_char *) (rec + 1);
    rec->addr.len = c->addr_text.len;
    ngx_memcpy(rec->addr.data, c->addr_text.data, c->addr_text.len);
}


void
fanout_session_log_connect(fanout_session_t *s)
{
    fanout_session_log_line_t     line;
    fanout_session_log_record_t  *rec;

    if (!s->logged) {
        return;
    }

    rec = fanout_session_log_record(s);

    if (rec->connected) {
        return;
    }

    rec->connected = 1;
    rec->client = s->identity.client;

    if (is_poll(s)) {
        return;
    }

    log_describe(s, &line, FANOUT_LOG_CONNECT);

    line.resumed = s->resumed;

    fanout_session_log_put(s->conf, &line);
}


void
fanout_session_log_join(fanout_session_t *s, ngx_str_t *channel)
{
    fanout_session_log_line_t  line;

    if (!s->logged) {
        return;
    }

    fanout_session_log_connect(s);

    if (is_poll(s)) {
        poll_channel(fanout_session_log_record(s), channel);
        return;
    }

    log_describe(s, &line, FANOUT_LOG_JOIN);

    line.channel = *channel;

    fanout_session_log_put(s->conf, &line);
}


/* Polls are frequent: each has a single line. */

static ngx_uint_t
is_poll(fanout_session_t *s)
{
    return s->transport->once;
}


static void
poll_channel(fanout_session_log_record_t *rec, ngx_str_t *channel)
{
    if (rec->channel.data) {
        return;
    }

    rec->channel.data = ngx_alloc(channel->len, ngx_cycle->log);

    if (rec->channel.data) {
        ngx_memcpy(rec->channel.data, channel->data, channel->len);
        rec->channel.len = channel->len;
    }
}


void
fanout_session_log_leave(fanout_session_t *s, ngx_str_t *channel)
{
    fanout_session_log_line_t  line;

    if (!s->logged || is_poll(s)) {
        return;
    }

    log_describe(s, &line, FANOUT_LOG_LEAVE);

    line.channel = *channel;

    fanout_session_log_put(s->conf, &line);
}


void
fanout_session_log_close(fanout_session_t *s)
{
    fanout_session_log_line_t     line;
    fanout_session_log_record_t  *rec;

    if (!s->logged) {
        return;
    }

    rec = fanout_session_log_record(s);

    if (!rec->connected) {
        /* the handshake was not answered, and not logged */
        return;
    }

    log_describe(s, &line, FANOUT_LOG_CLOSE);

    line.channel = rec->channel;
    line.code = rec->code ? rec->code : 1006;
    line.reason = rec->reason;
    line.by = whose[rec->by];
    line.duration = ngx_current_msec - rec->start;
    line.messages_in = rec->messages_in;
    line.messages_out = rec->messages_out;
    line.bytes_in = rec->bytes_in;
    line.bytes_out = rec->bytes_out;

    fanout_session_log_put(s->conf, &line);

    rec->connected = 0;
}


void
fanout_session_log_deny(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *transport, ngx_str_t *user, ngx_uint_t status, const char *why)
{
    fanout_session_log_line_t  line;

    if (conf->logs == NULL) {
        return;
    }

    ngx_memzero(&line, sizeof(fanout_session_log_line_t));

    line.kind = FANOUT_LOG_DENY;
    line.zone = conf->app->name;
    line.dialect = conf->dialect->name;
    line.transport = *transport;
    line.pid = ngx_pid;
    line.connection = r->connection->number;
    line.addr = r->connection->addr_text;
    line.user = *user;
    line.origin = fanout_http_header(r, "origin");
    line.status = status;
    line.reason.data = (u_char *) why;
    line.reason.len = ngx_strlen(why);

    (void) fanout_http_arg(r, "channel", &line.channel);

    log_gather(conf, &line);
}


/* Writes a line, or counts it with others of its kind. */

static void
log_gather(fanout_loc_conf_t *conf, fanout_session_log_line_t *line)
{
    if (fanout_session_log_gather(conf, line)) {
        fanout_session_log_put(conf, line);

    } else if (conf->app->hub) {
        fanout_count(conf->app->hub, log_gathered);
    }
}


void
fanout_session_log_forbidden(fanout_session_t *s, const char *op,
    ngx_str_t *channel, const char *why)
{
    log_refused(s, op, channel, NGX_HTTP_FORBIDDEN, why);
}


void
fanout_session_log_unauthorized(fanout_session_t *s, ngx_uint_t status,
    const char *why)
{
    ngx_str_t  none;

    ngx_str_null(&none);
    log_refused(s, "auth", &none, status, why);
}


void
fanout_session_log_ticket(fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t status, const char *why)
{
    log_refused(s, "join", channel, status, why);
}


static void
log_refused(fanout_session_t *s, const char *op, ngx_str_t *channel,
    ngx_uint_t status, const char *why)
{
    fanout_session_log_line_t  line;

    if (!s->logged) {
        return;
    }

    log_describe(s, &line, FANOUT_LOG_DENY);

    line.status = status;
    log_text(&line.op, op);
    log_text(&line.reason, why);
    line.channel = *channel;

    log_gather(s->conf, &line);
}


static void
log_text(ngx_str_t *to, const char *text)
{
    to->data = (u_char *) text;
    to->len = ngx_strlen(text);
}


void
fanout_session_log_conflict(fanout_session_t *s, const char *op,
    ngx_str_t *channel, fanout_zstr_t *name, const char *why)
{
    fanout_session_log_line_t  line;

    if (!s->logged) {
        return;
    }

    log_describe(s, &line, FANOUT_LOG_CONFLICT);
    log_text(&line.op, op);
    log_text(&line.reason, why);

    line.status = NGX_HTTP_CONFLICT;
    line.channel = *channel;

    if (name) {
        line.name.data = (u_char *) name->data;
        line.name.len = name->len;
    }

    log_gather(s->conf, &line);
}


void
fanout_session_log_kick(fanout_session_t *s, ngx_str_t *channel)
{
    fanout_session_log_line_t  line;

    if (!s->logged) {
        return;
    }

    log_describe(s, &line, FANOUT_LOG_KICK);
    log_text(&line.op, channel ? "leave" : "disconnect");

    if (channel) {
        line.channel = *channel;
    }

    fanout_session_log_put(s->conf, &line);
}


void
fanout_session_log_denied(fanout_session_t *s, ngx_uint_t event,
    ngx_str_t *channel)
{
    fanout_session_log_line_t  line;

    if (!s->logged) {
        return;
    }

    log_describe(s, &line, event);
    log_text(&line.op, channel ? "leave" : "disconnect");

    line.duration = ngx_current_msec - fanout_session_log_record(s)->start;

    if (channel) {
        line.channel = *channel;
    }

    fanout_session_log_put(s->conf, &line);
}


void
fanout_session_log_denial(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t event, const char *op, ngx_str_t *name, uint64_t ms)
{
    fanout_session_log_line_t  line;

    if (conf->logs == NULL) {
        return;
    }

    ngx_memzero(&line, sizeof(fanout_session_log_line_t));

    line.kind = event;
    line.zone = conf->api->name;
    line.pid = ngx_pid;
    line.connection = r->connection->number;
    line.addr = r->connection->addr_text;
    line.name = *name;
    line.duration = ms;
    log_text(&line.op, op);

    fanout_session_log_put(conf, &line);
}


void
fanout_session_log_done(fanout_session_t *s, const char *op,
    ngx_str_t *channel, fanout_zstr_t *name, uint64_t offset)
{
    ngx_uint_t                 event;
    fanout_session_log_line_t  line;

    event = name ? FANOUT_LOG_CHANGE : FANOUT_LOG_PUBLISH;

    if (!s->logged || !log_wants(s, event)) {
        return;
    }

    log_describe(s, &line, event);
    log_text(&line.op, op);

    line.channel = *channel;
    line.offset = offset;

    if (name) {
        line.name.data = (u_char *) name->data;
        line.name.len = name->len;
    }

    fanout_session_log_put(s->conf, &line);
}


/* Whether a log has the event: most have none of messages. */

static ngx_uint_t
log_wants(fanout_session_t *s, ngx_uint_t event)
{
    ngx_uint_t             i;
    fanout_session_log_t  *log;

    log = s->conf->logs->elts;

    for (i = 0; i < s->conf->logs->nelts && !(log[i].events & event); i++) {
        /* void */
    }

    return i < s->conf->logs->nelts;
}


void
fanout_session_log_auth(fanout_session_t *s)
{
    fanout_session_log_line_t  line;

    if (s->logged) {
        log_describe(s, &line, FANOUT_LOG_AUTH);
        fanout_session_log_put(s->conf, &line);
    }
}


void
fanout_session_log_ended(fanout_session_t *s, ngx_uint_t code,
    const char *reason)
{
    fanout_session_log_record_t  *rec;

    rec = ending(s, FANOUT_BY_SERVER, code);

    if (rec) {
        rec->reason.data = (u_char *) reason;
        rec->reason.len = ngx_strlen(reason);
    }
}


void
fanout_session_log_left(fanout_session_t *s, ngx_uint_t code, u_char *reason,
    size_t len)
{
    fanout_session_log_record_t  *rec;

    rec = ending(s, FANOUT_BY_CLIENT, code);

    if (rec == NULL || len == 0) {
        return;
    }

    rec->reason.data = ngx_alloc(len, ngx_cycle->log);

    if (rec->reason.data) {
        ngx_memcpy(rec->reason.data, reason, len);
        rec->reason.len = len;
        rec->copied = 1;
    }
}


static fanout_session_log_record_t *
ending(fanout_session_t *s, ngx_uint_t by, ngx_uint_t code)
{
    fanout_session_log_record_t  *rec;

    if (!s->logged) {
        return NULL;
    }

    rec = fanout_session_log_record(s);

    if (rec->code) {
        return NULL;
    }

    rec->code = code;
    rec->by = by;

    return rec;
}


void
fanout_session_log_broken(fanout_session_t *s, ngx_uint_t type)
{
    if (type == FANOUT_GAP) {
        fanout_session_log_ended(s, 1013, "gap");
        return;
    }

    fanout_session_log_ended(s, 1012, "reset");
}


void
fanout_session_log_free(fanout_session_t *s)
{
    fanout_session_log_record_t  *rec;

    if (!s->logged) {
        return;
    }

    rec = fanout_session_log_record(s);

    if (rec->copied) {
        ngx_free(rec->reason.data);
    }

    if (rec->channel.data) {
        ngx_free(rec->channel.data);
    }
}


/* what all lines of a session have */

static void
log_describe(fanout_session_t *s, fanout_session_log_line_t *line,
    ngx_uint_t event)
{
    fanout_session_log_record_t  *rec;

    rec = fanout_session_log_record(s);

    ngx_memzero(line, sizeof(fanout_session_log_line_t));

    line->kind = event;
    line->zone = s->hub->app->name;
    line->dialect = s->dialect->name;
    line->transport = s->transport->name;
    line->pid = ngx_pid;
    line->connection = rec->connection;
    line->addr = rec->addr;
    line->client = rec->client;
    line->user = s->user;
}


void
fanout_session_log_put(fanout_loc_conf_t *conf, fanout_session_log_line_t *line)
{
    u_char                *p, *last;
    ngx_uint_t             i, event;
    fanout_session_log_t  *log;

    static u_char  text[FANOUT_LOG_HEAD + FANOUT_LOG_LINE];

    log = conf->logs->elts;
    event = fanout_session_log_index(line->kind);
    p = text + FANOUT_LOG_HEAD;

    if (line->kind == FANOUT_LOG_DENY) {
        log_rule(line);
    }

    for (i = 0; i < conf->logs->nelts; i++) {

        if (!(log[i].events & line->kind)
            || fanout_session_log_severity(event) > log[i].severity
            || !log_sample(&log[i], event))
        {
            continue;
        }

        line->sample = log[i].every[event] > 1 ? log[i].every[event] : 0;
        last = fanout_session_log_format(p, &log[i], line);

        if (log[i].syslog) {
            fanout_session_log_send(&log[i],
                                    fanout_session_log_severity(event), p,
                                    last - 1 - p);

        } else {
            fanout_session_log_write(&log[i], p, last - p);
        }
    }
}


/* The directive that has refused it, with the parameter, as far as the reason
 * names one. */

static void
log_rule(fanout_session_log_line_t *line)
{
    u_char  *p, *last;

    static u_char  text[64];

    line->rule.data = text;
    line->rule.len = 0;

    if (line->reason.len == 9
        && ngx_strncmp(line->reason.data, "forbidden", 9) == 0)
    {
        last = ngx_snprintf(text, sizeof(text), "fanout_permit %V", &line->op);
        line->rule.len = last - text;
        return;
    }

    p = ngx_strlcasestrn(line->reason.data,
                         line->reason.data + line->reason.len,
                         (u_char *) "fanout_", 7 - 1);

    if (p == NULL) {
        if (line->status == NGX_HTTP_UNAUTHORIZED) {
            ngx_str_set(&line->rule, "fanout_jwt");
        }

        return;
    }

    last = line->reason.data + line->reason.len;
    line->rule.data = p;

    while (p < last && ((*p >= 'a' && *p <= 'z') || *p == '_')) {
        p++;
    }

    line->rule.len = p - line->rule.data;

    for (p++; p < last && *p >= 'a' && *p <= 'z'; p++) { /* void */ }

    if (p < last && *p == '=') {
        while (p < last && *p != ' ' && *p != ',') {
            p++;
        }

        line->rule.len = p - line->rule.data;
    }
}


/* Whether this event is one of those that are written: the first, and then one
 * of so many. */

static ngx_uint_t
log_sample(fanout_session_log_t *log, ngx_uint_t event)
{
    if (log->every[event] < 2) {
        return 1;
    }

    if (log->passed[event]) {
        log->passed[event]--;
        return 0;
    }

    log->passed[event] = log->every[event] - 1;

    return 1;
}
