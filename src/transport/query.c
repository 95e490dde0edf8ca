
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The arguments of a URL that the protocols define, and the query of a stream
 * or a poll.  Other arguments are the application's.
 */


#include "session/dialect.h"
#include "session/connect.h"
#include "http/http.h"
#include "base/json.h"
#include "session/grants.h"
#include "session/position.h"
#include "transport/ticket.h"
#include "transport/transport.h"


#define ARG_MANY  1                        /* may be repeated */
#define ARG_FLAG  2                        /* 0 or 1 */
#define ARG_RAW   4                        /* of the raw dialect, too */


typedef struct {
    u_char      *pos;
    u_char      *last;
} args_t;


typedef struct {
    ngx_str_t    name;
    ngx_uint_t   flags;
    const char  *twice;
    const char  *word;                     /* of a flag */
} arg_t;


static const arg_t *find_arg(ngx_str_t *name);
static ngx_uint_t next_arg(args_t *args, ngx_str_t *name, ngx_str_t *value);
static ngx_int_t query_places(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_query_t *q, ngx_uint_t n);
static uint32_t *query_place(fanout_query_t *q, ngx_str_t *channel);
static const char *query_arg(ngx_http_request_t *r, fanout_query_t *q,
    ngx_str_t *name, ngx_str_t *value);
static const char *query_channel(fanout_query_t *q, ngx_str_t *channel,
    ngx_str_t *join);
static const char *query_join(ngx_http_request_t *r, fanout_query_t *q,
    ngx_str_t *join);
static const char *query_autojoin(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, fanout_query_t *q);
static ngx_int_t query_member(ngx_http_request_t *r, fanout_query_t *q,
    ngx_str_t *presence, ngx_str_t *join);
static const char *query_permits(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, fanout_query_t *q, ngx_uint_t *status);
static ngx_uint_t query_may(ngx_http_request_t *r,
    fanout_permissions_t *access, ngx_uint_t op, ngx_str_t *channel);
static const char *query_denied(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_uint_t op, ngx_str_t *channel,
    ngx_uint_t *status);
static const char *query_position(ngx_http_request_t *r, fanout_query_t *q);


#define arg_twice(name)                                                       \
    "the argument \"" name "\" is there twice"
#define arg_once(name, flags)                                                 \
    { ngx_string(name), flags, arg_twice(name), NULL }
#define arg_flag(name)                                                        \
    { ngx_string(name), ARG_FLAG, arg_twice(name),                            \
      "the argument \"" name "\" must be \"0\" or \"1\"" }

static const arg_t  known_args[] = {
    arg_once("channel", ARG_MANY|ARG_RAW),
    arg_once("join", ARG_MANY),
    arg_once("history", 0),
    arg_once("since", ARG_RAW),
    arg_once("lastEventId", 0),
    arg_once("timeout", 0),
    arg_once("resume", 0),
    arg_flag("poll"),
    arg_flag("session"),
    arg_flag("heartbeat")
};


/* the case of a name does not matter, as in $arg_NAME */

#define named(s, text)                                                        \
    ((s)->len == sizeof(text) - 1                                             \
     && ngx_strncasecmp((s)->data, (u_char *) text, sizeof(text) - 1) == 0)

#define NARGS  (sizeof(known_args) / sizeof(known_args[0]))


const char *
fanout_query_check(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    args_t        args;
    ngx_str_t     name, value;
    ngx_uint_t    seen, bit, raw;
    const arg_t  *arg;

    seen = 0;
    raw = (conf->dialect->stream == NULL);

    args.pos = r->args.data;
    args.last = args.pos + r->args.len;

    while (next_arg(&args, &name, &value)) {
        arg = find_arg(&name);

        if (arg == NULL || (raw && !(arg->flags & ARG_RAW))) {
            continue;
        }

        if ((arg->flags & ARG_FLAG)
            && (value.len != 1
                || (value.data[0] != '0' && value.data[0] != '1')))
        {
            return arg->word;
        }

        bit = (ngx_uint_t) 1 << (arg - known_args);

        if ((seen & bit) && (raw || !(arg->flags & ARG_MANY))) {
            return arg->twice;
        }

        seen |= bit;

        if (named(&name, "resume")) {
            return "a resume token is a secret: it goes into the header "
                   "Fanout-Resume, or for a WebSocket into a subprotocol, "
                   "never into a URL";
        }
    }

    return NULL;
}


static const arg_t *
find_arg(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < NARGS; i++) {
        if (known_args[i].name.len == name->len
            && ngx_strncasecmp(known_args[i].name.data, name->data,
                               name->len)
               == 0)
        {
            return &known_args[i];
        }
    }

    return NULL;
}


static const char  too_many[] =
    "too many channels: fanout_channels_per_session";


const char *
fanout_query(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_query_t *q, ngx_uint_t *status)
{
    const char  *why;

    why = fanout_query_read(r, conf, q, status);

    if (why == NULL) {
        why = query_permits(r, conf, q, status);
    }

    if (why == NULL) {
        why = query_autojoin(r, conf, q);
    }

    if (why) {
        return why;
    }

    if (q->n == 0) {
        return "the argument \"channel\" is missing";
    }

    return q->n > q->max ? too_many : NULL;
}


const char *
fanout_query_read(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, fanout_query_t *q,
    ngx_uint_t *status)
{
    args_t       args;
    ngx_str_t    name, value;
    ngx_uint_t   n;
    const char  *why;

    ngx_memzero(q, sizeof(fanout_query_t));

    args.pos = r->args.data;
    args.last = args.pos + r->args.len;

    for (n = 0; next_arg(&args, &name, &value); /* void */ ) {
        n += named(&name, "channel") || named(&name, "join");
    }

    *status = NGX_HTTP_BAD_REQUEST;

    n += fanout_connect_njoins(r, conf);

    if (n == 0) {
        return "the argument \"channel\" is missing";
    }

    q->channels = ngx_pcalloc(r->pool, 2 * n * sizeof(ngx_str_t));
    if (q->channels == NULL) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    q->joins = q->channels + n;
    q->max = conf->channels;

    if (query_places(r, conf, q, n) != NGX_OK) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    args.pos = r->args.data;

    while (next_arg(&args, &name, &value)) {
        why = query_arg(r, q, &name, &value);

        if (why) {
            return why;
        }
    }

    if (q->history > conf->history) {
        return "the argument \"history\" is above fanout_history";
    }

    if ((q->session || (q->member && !q->polls))
        && !fanout_origin_proved(r, &conf->origins))
    {
        *status = NGX_HTTP_FORBIDDEN;
        return "a GET with \"session=1\", or with \"presence\" in a "
               "\"join\", needs the header X-Requested-With, as any page "
               "can send one without";
    }

    return query_position(r, q);
}


/* Clients choose the names of channels, so the hash is keyed. */

static ngx_int_t
query_places(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_query_t *q, ngx_uint_t n)
{
    size_t  size;

    for (size = 4; size < 2 * n; size *= 2) { /* void */ }

    q->places = ngx_pcalloc(r->pool, size * sizeof(uint32_t));
    q->mask = size - 1;
    q->zone = &conf->app->hub->zone;

    return q->places ? NGX_OK : NGX_ERROR;
}


/* the place of a channel's index, or a free one for it */

static uint32_t *
query_place(fanout_query_t *q, ngx_str_t *channel)
{
    uint32_t   i;
    ngx_str_t  *other;

    i = (uint32_t) fanout_zone_hash(q->zone, channel->data, channel->len)
        & q->mask;

    for ( /* void */ ; q->places[i]; i = (i + 1) & q->mask) {
        other = &q->channels[q->places[i] - 1];

        if (other->len == channel->len
            && ngx_memcmp(other->data, channel->data, channel->len) == 0)
        {
            break;
        }
    }

    return &q->places[i];
}


static ngx_uint_t
next_arg(args_t *args, ngx_str_t *name, ngx_str_t *value)
{
    u_char  *end, *eq;

    if (args->pos >= args->last) {
        return 0;
    }

    end = ngx_strlchr(args->pos, args->last, '&');
    end = end ? end : args->last;

    eq = ngx_strlchr(args->pos, end, '=');
    eq = eq ? eq : end;

    name->data = args->pos;
    name->len = eq - args->pos;

    value->data = eq < end ? eq + 1 : end;
    value->len = end - value->data;

    args->pos = end + 1;

    return 1;
}


static const char *
query_arg(ngx_http_request_t *r, fanout_query_t *q, ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_int_t  n;
    ngx_str_t  text;

    if (named(name, "channel")) {
        return fanout_http_decode(r, value, &text) == NGX_OK
               ? query_channel(q, &text, NULL) : "out of memory";
    }

    if (named(name, "join")) {
        return fanout_http_decode(r, value, &text) == NGX_OK
               ? query_join(r, q, &text) : "out of memory";
    }

    if (named(name, "history")) {
        n = ngx_atoi(value->data, value->len);

        if (n == NGX_ERROR) {
            return "the argument \"history\" must be a number";
        }

        q->history = n;

    } else if (named(name, "timeout")) {
        n = ngx_atoi(value->data, value->len);

        if (n == NGX_ERROR || n > 86400) {
            return "the argument \"timeout\" must be a number of seconds, at "
                   "most 86400";
        }

        q->timeout = n;
        q->timed = 1;

    } else if (named(name, "poll")) {
        q->polls = (value->data[0] == '1');

    } else if (named(name, "session")) {
        q->session = (value->data[0] == '1');

    } else if (named(name, "since") || named(name, "lastEventId")) {
        q->since = *value;
    }

    return NULL;
}


static const char *
query_channel(fanout_query_t *q, ngx_str_t *channel, ngx_str_t *join)
{
    uint32_t  *place;

    if (fanout_name_check(channel) != NGX_OK) {
        return "the argument \"channel\" is not a name: 1 to 255 bytes of "
               "UTF-8 without control characters and \"*\"";
    }

    place = query_place(q, channel);

    if (*place) {
        return join ? "the channel of an argument \"join\" is there twice"
                    : NULL;
    }

    if (q->n > q->max) {
        /* one above the limit is enough to be refused */
        return too_many;
    }

    if (join) {
        q->joins[q->n] = *join;
    }

    q->channels[q->n++] = *channel;
    *place = q->n;

    return NULL;
}


/* Takes what the command "join" takes.  The dialect reads the other members. */

static const char *
query_join(ngx_http_request_t *r, fanout_query_t *q, ngx_str_t *join)
{
    int            rc;
    ngx_str_t      channel;
    fanout_json_t  object, text, member[2];

    static const fanout_json_field_t  fields[] = {
        { "channel", sizeof("channel") - 1, 0 },
        { "presence", sizeof("presence") - 1,
          sizeof(fanout_json_t) }
    };

    channel.data = ngx_pnalloc(r->pool, FANOUT_NAME);

    if (channel.data == NULL) {
        return "out of memory";
    }

    if (fanout_json_check(join->data, join->len,
                          FANOUT_JSON_DEPTH + 1, &object,
                          NULL)
        != FANOUT_JSON_OBJECT)
    {
        return "the argument \"join\" is not a JSON object";
    }

    /* the dialect reads all members */

    rc = fanout_json_members(&object, fields, 2, member, NULL);

    if (rc != FANOUT_JSON_OK && rc != FANOUT_JSON_UNKNOWN) {
        return "the argument \"join\" has a member twice";
    }

    q->member |= (member[1].len != 0);

    if (fanout_json_text(&member[0], channel.data,
                         FANOUT_NAME, &text)
        != FANOUT_JSON_OK)
    {
        return "the argument \"join\" has no \"channel\" that is a name";
    }

    channel.data = (u_char *) text.data;
    channel.len = text.len;

    join->data = (u_char *) object.data;
    join->len = object.len;

    return query_channel(q, &channel, join);
}


/* As over a WebSocket, channels that are not permitted are left out. */

static const char *
query_autojoin(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_query_t *q)
{
    ngx_str_t              join;
    ngx_uint_t             i, n;
    fanout_autojoin_t     *joins;
    fanout_permissions_t  *access;

    if (fanout_connect_joins(r, conf, &joins, &n) != NGX_OK) {
        return "out of memory";
    }

    if (n == 0) {
        return NULL;
    }

    access = fanout_connect_permissions(r, conf);

    if (access == NULL) {
        return "out of memory";
    }

    for (i = 0; i < n; i++) {

        if (joins[i].channel.len == 0) {
            continue;
        }

        if (!query_may(r, access, FANOUT_MAY_JOIN, &joins[i].channel)) {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "fanout_autojoin: no \"fanout_permit join\" allows "
                          "\"%V\"", &joins[i].channel);
            continue;
        }

        if (query_member(r, q, &joins[i].presence, &join) != NGX_OK) {
            fanout_permissions_release(access);
            return "out of memory";
        }

        /* the query comes first */
        (void) query_channel(q, &joins[i].channel, &join);
    }

    fanout_permissions_release(access);

    return NULL;
}


/* The join, with the data of a member if there is some.  A poll without a
 * session is no member. */

static ngx_int_t
query_member(ngx_http_request_t *r, fanout_query_t *q, ngx_str_t *presence,
    ngx_str_t *join)
{
    ngx_str_set(join, "{}");

    if (presence->len == 0 || (q->polls && !q->session)) {
        return NGX_OK;
    }

    q->member = 1;

    join->len = sizeof("{\"presence\":}") - 1 + presence->len;
    join->data = ngx_pnalloc(r->pool, join->len);

    if (join->data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(join->data, "{\"presence\":%V}", presence);

    return NGX_OK;
}


/* A browser sends the header when it reconnects by itself, so the header is
 * newer than the position in the URL. */

static const char *
query_position(ngx_http_request_t *r, fanout_query_t *q)
{
    ngx_str_t  value;

    value = fanout_http_header(r, "last-event-id");

    if (value.len && !q->polls) {
        q->since = value;
    }

    if (q->since.len == 0) {
        return NULL;
    }

    q->position = fanout_position_read(&q->since, r->pool);

    if (q->position == NULL) {
        return "unknown position in Last-Event-ID, \"lastEventId\" or "
               "\"since\"";
    }

    return NULL;
}


static const char *
query_permits(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_query_t *q, ngx_uint_t *status)
{
    ngx_uint_t             i;
    const char            *why;
    fanout_permissions_t  *access;

    access = fanout_connect_permissions(r, conf);

    if (access == NULL) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    why = NULL;

    for (i = 0; i < q->n && why == NULL; i++) {

        if (!query_may(r, access, FANOUT_MAY_JOIN, &q->channels[i])) {
            why = query_denied(r, conf, FANOUT_MAY_JOIN, &q->channels[i],
                               status);

        } else if (q->history && q->position == NULL
                   && !query_may(r, access, FANOUT_MAY_HISTORY,
                                 &q->channels[i]))
        {
            why = query_denied(r, conf, FANOUT_MAY_HISTORY, &q->channels[i],
                               status);
        }
    }

    fanout_permissions_release(access);

    if (why) {
        if (conf->app->hub) {
            fanout_count(conf->app->hub, forbidden);
        }
    }

    return why;
}


/* By the rules of the location, by a ticket of the request, or by an answer of
 * the backend that is in hand. */

static ngx_uint_t
query_may(ngx_http_request_t *r, fanout_permissions_t *access, ngx_uint_t op,
    ngx_str_t *channel)
{
    fanout_grantee_t  who;

    ngx_memzero(&who, sizeof(fanout_grantee_t));
    who.connection = r->connection;

    return fanout_permissions_match(access, op, channel)
           || (fanout_tickets_ops(r, channel) & op)
           || fanout_grants_check(NULL, &who, op, channel);
}


static const char *
query_denied(ngx_http_request_t *r, fanout_loc_conf_t *conf, ngx_uint_t op,
    ngx_str_t *channel, ngx_uint_t *status)
{
    fanout_grant_t  *grant;

    grant = conf->asks & op ? fanout_grants_in_hand(r->connection, op,
                                                       channel) : NULL;

    if (grant && grant->rc == FANOUT_E_UNAVAILABLE) {
        *status = NGX_HTTP_SERVICE_UNAVAILABLE;
        return "the backend gives no valid answer: fanout_authorize";
    }

    *status = NGX_HTTP_FORBIDDEN;

    return grant ? "the backend does not permit this channel: fanout_authorize"
           : op == FANOUT_MAY_JOIN
             ? "no \"fanout_permit join\" allows this channel"
             : "no \"fanout_permit history\" allows this channel";
}
