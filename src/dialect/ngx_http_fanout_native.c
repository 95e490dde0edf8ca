
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The native protocol, version 1 (docs/protocol.md): text frames with a JSON
 * object or an array of them.
 *
 * An array is worked off as a batch: its replies are gathered and sent as
 * one array.  A join or a history with much to tell becomes the job of the
 * session: it sends parts as the socket takes them, and the commands behind
 * it wait.
 */


#include "ngx_http_fanout_compress.h"
#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_http.h"
#include "ngx_http_fanout_json.h"
#include "ngx_http_fanout_native.h"
#include "ngx_http_fanout_random.h"
#include "ngx_http_fanout_transport.h"
#include "ngx_http_fanout_websocket.h"


#define NGX_HTTP_FANOUT_TOKEN_LEN  (2 + 16 + 32)
#define NGX_HTTP_FANOUT_SEATS      64           /* names read at once */

/* An array has others wait for so much work, half of a turn. */
#define NGX_HTTP_FANOUT_ARRAY      524288


static const char *native_accept(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf, ngx_uint_t *status);
static void native_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r);
static void native_receive(ngx_http_fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len);
static ngx_uint_t native_match(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_entry_t *e);
static ngx_int_t native_encode(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_entry_t *e,
    ngx_http_fanout_frame_t *f);
static void native_close(ngx_http_fanout_session_t *s);
static void give_up(ngx_http_fanout_session_t *s, ngx_http_fanout_error_e error,
    const char *reason);
static void native_closing(ngx_http_fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);
static void native_heartbeat(ngx_http_fanout_session_t *s);
static void native_parted(ngx_http_fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t reason);

static ngx_uint_t take_up(ngx_http_fanout_session_t *s,
    ngx_http_fanout_identity_t *id);
static void add(ngx_http_fanout_session_t *s);
static void identify(ngx_http_fanout_session_t *s, ngx_http_request_t *r);
static void refuse_full(ngx_http_fanout_session_t *s, int rc);
static void leave_forbidden(ngx_http_fanout_session_t *s);
static void renew_info(ngx_http_fanout_session_t *s);
static ngx_int_t take_info(ngx_http_fanout_session_t *s,
    ngx_http_request_t *r);
static ngx_uint_t read_token(ngx_str_t *token,
    ngx_http_fanout_identity_t *id);
static void welcome(ngx_http_fanout_session_t *s);
static void autojoin(ngx_http_fanout_session_t *s, ngx_http_request_t *r);
static void refuse_frame(ngx_http_fanout_session_t *s,
    ngx_http_fanout_error_e code, ngx_str_t *text, ngx_str_t *data);
static ngx_uint_t insists(ngx_http_fanout_session_t *s);
static void stop_insistent(ngx_http_fanout_session_t *s);
static void batch_run(ngx_http_fanout_session_t *s);
static ngx_uint_t batch_pause(ngx_http_fanout_session_t *s);
static ngx_int_t batch_reply(ngx_http_fanout_session_t *s);
static void batch_start(ngx_http_fanout_session_t *s,
    ngx_http_fanout_json_t *array, ngx_uint_t max, ngx_uint_t deep);
static void send_printf(ngx_http_fanout_session_t *s, const char *fmt, ...);


const ngx_http_fanout_dialect_t  ngx_http_fanout_native = {
    ngx_string("native"),
    NGX_HTTP_FANOUT_NATIVE_WS,
    0,
    native_accept,
    native_open,
    native_receive,
    native_match,
    native_encode,
    ngx_http_fanout_native_work,
    native_close,
    native_closing,
    native_heartbeat,
    &ngx_http_fanout_native_stream,
    &ngx_http_fanout_native_poll,
    native_parted
};


static const char *
native_accept(ngx_http_request_t *r, ngx_http_fanout_loc_conf_t *conf,
    ngx_uint_t *status)
{
    ngx_str_t  info;

    switch (fanout_native_user_info(r, conf, &info)) {

    case NGX_OK:
        return NULL;

    case NGX_DECLINED:
        *status = NGX_HTTP_BAD_REQUEST;
        return "the profile has more than 4096 bytes: fanout_user_info";

    default:
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "the profile could not be made";
    }
}


/* opening */

static void
native_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_str_t  value;

    identify(s, r);
    ngx_http_fanout_session_index(s);

    if (ngx_http_arg(r, (u_char *) "heartbeat", 9, &value) == NGX_OK
        && value.len == 1 && value.data[0] == '1' && s->conf->ping)
    {
        s->heartbeat = 1;
        s->beat_at = ngx_current_msec + s->conf->ping;
    }

    /* a poll that goes on is answered when there is something */

    if (s->transport != &ngx_http_fanout_poll || !s->resumed || s->unproved
        || ngx_http_arg(r, (u_char *) "since", 5, &value) != NGX_OK)
    {
        welcome(s);
    }

    /* The answer tells that the welcome has come: frames do not, as they may
     * have been sent before. */

    if (s->unproved && s->transport->ping) {
        s->transport->ping(s);
    }

    if (!s->resumed) {
        autojoin(s, r);
    }
}


/* Commands of the configuration: what they answer comes without an id. */

static void
autojoin(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_str_t  text;

    if (s->conf->autojoin == NULL
        || s->transport != &ngx_http_fanout_websocket
        || s->state != NGX_HTTP_FANOUT_OPEN)
    {
        return;
    }

    if (fanout_native_autojoin(s, r, &text) != NGX_OK) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    fanout_native_batch(s, &text);
}


void
fanout_native_batch(ngx_http_fanout_session_t *s, ngx_str_t *text)
{
    ngx_http_fanout_json_t  value;

    if (text->len
        && ngx_http_fanout_json_check(text->data, text->len,
                                      NGX_HTTP_FANOUT_JSON_DEPTH, &value,
                                      NULL)
           == NGX_HTTP_FANOUT_JSON_ARRAY)
    {
        s->autojoin = 1;
        batch_start(s, &value, s->conf->channels, 0);
    }
}


static void
identify(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_http_fanout_hub_t       *hub;
    ngx_http_fanout_identity_t   id;

    hub = s->hub;

    if (take_info(s, r) != NGX_OK) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    s->identity.address = s->meter.address;
    s->identity.user = s->user.len
                       ? ngx_http_fanout_zone_hash(&hub->zone, s->user.data,
                                                   s->user.len)
                       : 0;

    if (s->conf->resume && ngx_http_fanout_native_token(r, &id)
        && take_up(s, &id))
    {
        return;
    }

    add(s);
}


/* Goes on as the client of the token; 0 if the token is known no more. */

static ngx_uint_t
take_up(ngx_http_fanout_session_t *s, ngx_http_fanout_identity_t *id)
{
    ngx_uint_t              keep;
    ngx_http_fanout_hub_t  *hub;

    hub = s->hub;
    id->user = s->identity.user;
    id->address = s->identity.address;
    keep = s->transport == &ngx_http_fanout_poll;

    if (keep && ngx_http_fanout_identity_known(&hub->zone, id)) {
        /* An answer may get lost, so the token stays; and a poll that still
         * waits must not end what goes on here. */
        ngx_http_fanout_session_replace(hub, id->client);
    }

    switch (ngx_http_fanout_identity_resume(&hub->zone, id, keep,
                                            s->identity.secret,
                                            &s->identity_ref))
    {
    case NGX_HTTP_FANOUT_ZONE_OK:
        s->identity.client = id->client;
        s->resumed = 1;
        s->unproved = ngx_memcmp(s->identity.secret, id->secret,
                                 sizeof(id->secret))
                      != 0;
        s->returned = 1;
        s->returned_at = ngx_current_msec;
        ngx_http_fanout_session_alive(s);

        ngx_http_fanout_count(hub, resumes);
        leave_forbidden(s);
        renew_info(s);
        ngx_http_fanout_hub_kick(hub);
        return 1;

    case NGX_HTTP_FANOUT_ZONE_FULL:
        refuse_full(s, NGX_HTTP_FANOUT_ZONE_FULL);
        return 1;

    default:
        ngx_http_fanout_count(hub, resume_failures);
        return 0;
    }
}


/* as a new client */

static void
add(ngx_http_fanout_session_t *s)
{
    int                      rc;
    uint64_t                 secret[2];
    ngx_http_fanout_hub_t   *hub;
    ngx_http_fanout_zstr_t   user, info;

    hub = s->hub;

    secret[0] = ngx_http_fanout_random();
    secret[1] = ngx_http_fanout_random();

    s->identity.client = ngx_http_fanout_random()
                         & ~NGX_HTTP_FANOUT_CLIENT_FOREIGN;

    if (s->meter.foreign) {
        s->identity.client |= NGX_HTTP_FANOUT_CLIENT_FOREIGN;
    }

    ngx_memcpy(s->identity.secret, secret, sizeof(secret));

    user.data = s->user.data;
    user.len = s->user.len;
    info.data = s->info.data;
    info.len = s->info.len;

    rc = ngx_http_fanout_identity_add(&hub->zone, &s->identity, &user, &info,
                                      s->conf->per_user, &s->identity_ref);

    switch (rc) {

    case NGX_HTTP_FANOUT_ZONE_OK:
        return;

    case NGX_HTTP_FANOUT_ZONE_CONFLICT:
        ngx_http_fanout_count(hub, rate_limited);

        if (ngx_http_fanout_eventlog_gather_error(NGX_LOG_INFO,
                                                  &s->connection->addr_text,
                                                  "fanout_sessions_per_user"))
        {
            ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                          "limit of %ui sessions of a user is reached: "
                          "fanout_sessions_per_user", s->conf->per_user);
        }

        s->identity_ref = 0;
        give_up(s, NGX_HTTP_FANOUT_E_TOO_MANY, "fanout_sessions_per_user");
        return;

    case NGX_HTTP_FANOUT_ZONE_MANY:
        ngx_http_fanout_count(hub, address_held);
        ngx_http_fanout_meter_full(s);

        s->identity_ref = 0;
        give_up(s, NGX_HTTP_FANOUT_E_TOO_MANY, "fanout_zone address=");
        return;

    default:
        refuse_full(s, rc);
    }
}


/*
 * The location that it has come back to may permit less than the one before,
 * and nobody must be told that it is where it can't be.
 */

static void
leave_forbidden(ngx_http_fanout_session_t *s)
{
    uint32_t                        cursor;
    unsigned                        n, i, left, more;
    ngx_str_t                       name;
    ngx_http_fanout_zone_t         *z;
    ngx_http_fanout_zone_channel_t  c;

    static uint8_t  lens[NGX_HTTP_FANOUT_SEATS];
    static uint8_t  names[NGX_HTTP_FANOUT_SEATS][256];

    z = &s->hub->zone;
    cursor = 0;

    do {
        if (ngx_http_fanout_client_channels(z, s->identity.client, &cursor,
                                            names, lens,
                                            NGX_HTTP_FANOUT_SEATS, &n)
            != NGX_HTTP_FANOUT_ZONE_OK)
        {
            return;
        }

        left = 0;

        for (i = 0; i < n; i++) {
            name.data = names[i];
            name.len = lens[i];

            ngx_http_fanout_hub_view(s->hub, &name, &c);

            if (ngx_http_fanout_access_check(s->access,
                                             NGX_HTTP_FANOUT_MAY_JOIN, &name)
                && (ngx_http_fanout_access_check(s->access,
                                                 NGX_HTTP_FANOUT_MAY_PRESENCE,
                                                 &name)
                    || !ngx_http_fanout_seat_peopled(z, &c,
                                                     s->identity.client)))
            {
                continue;
            }

            ngx_http_fanout_seat_close(z, &c, s->identity_ref, &s->identity,
                                       NGX_HTTP_FANOUT_LEFT_KICKED);
            left++;
        }

        more = (cursor != 0);

        if (more) {
            /* those that were left are not counted any more */
            cursor -= left;
        }

    } while (more);
}


/* The profile is that of the request that it has come back by. */

static void
renew_info(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_zstr_t  info;

    info.data = s->info.data;
    info.len = s->info.len;

    if (ngx_http_fanout_identity_renew(&s->hub->zone, s->identity_ref,
                                       &s->identity, &info)
        == NGX_HTTP_FANOUT_ZONE_FULL)
    {
        (void) ngx_http_fanout_hub_full(s->hub);
        ngx_log_error(NGX_LOG_WARN, s->connection->log, 0,
                      "fanout_user_info of a session that was resumed stays "
                      "as it was: the zone is full");
    }

    ngx_http_fanout_hub_presence(s->hub);
}


/* There is no place for it now: it may try again, but not at once, nor with all
 * others. */

static void
give_up(ngx_http_fanout_session_t *s, ngx_http_fanout_error_e error,
    const char *reason)
{
    ngx_msec_t  ms;
    ngx_uint_t  code;

    ms = s->conf->retry;
    ms += (ngx_msec_t) ngx_random() % (ms / 2 + 1);

    s->again = ms;
    s->refused = error;
    code = 1013;

    if (error == NGX_HTTP_FANOUT_E_TOO_MANY) {
        code = 4429;
        s->why = reason;
    }

    if (s->transport == &ngx_http_fanout_websocket) {
        native_closing(s, code, ms);
    }

    ngx_http_fanout_session_close(s, code, reason);
}


static void
refuse_full(ngx_http_fanout_session_t *s, int rc)
{
    ngx_http_fanout_error_e  error;

    if (rc != NGX_HTTP_FANOUT_ZONE_FULL) {
        s->hub->zone.full = NGX_HTTP_FANOUT_FULL_ZONE;
    }

    error = ngx_http_fanout_hub_full(s->hub);

    s->identity_ref = 0;
    give_up(s, error, (char *) ngx_http_fanout_errors[error].text.data);
}


/* The profile outlives the request. */

static ngx_int_t
take_info(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_str_t  info;

    if (fanout_native_user_info(r, s->conf, &info) != NGX_OK) {
        return NGX_ERROR;
    }

    if (info.len == 0) {
        return NGX_OK;
    }

    s->info.data = ngx_alloc(info.len, ngx_cycle->log);
    if (s->info.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(s->info.data, info.data, info.len);
    s->info.len = info.len;

    return NGX_OK;
}


/* "r_" client secret, both in hex, in a header, or behind "fanout.resume."
 * among the subprotocols */

ngx_uint_t
ngx_http_fanout_native_token(ngx_http_request_t *r,
    ngx_http_fanout_identity_t *id)
{
    ngx_str_t                  list, token;
    ngx_http_fanout_headers_t  h;

    static const char  prefix[] = "fanout.resume.";

    if (ngx_http_fanout_header(r, "fanout-resume", &token) == 1) {
        return read_token(&token, id);
    }

    ngx_memzero(&h, sizeof(ngx_http_fanout_headers_t));

    while (ngx_http_fanout_next_header(r, "sec-websocket-protocol", &h,
                                       &list))
    {
        while (ngx_http_fanout_next_token(&list, &token)) {

            if (token.len == sizeof(prefix) - 1 + NGX_HTTP_FANOUT_TOKEN_LEN
                && ngx_strncmp(token.data, prefix, sizeof(prefix) - 1) == 0)
            {
                token.data += sizeof(prefix) - 1;
                token.len -= sizeof(prefix) - 1;

                return read_token(&token, id);
            }
        }
    }

    return 0;
}


static ngx_uint_t
read_token(ngx_str_t *token, ngx_http_fanout_identity_t *id)
{
    u_char     *p;
    ngx_int_t   n;
    ngx_uint_t  i;

    p = token->data;

    if (token->len != NGX_HTTP_FANOUT_TOKEN_LEN || p[0] != 'r' || p[1] != '_')
    {
        return 0;
    }

    id->client = 0;

    for (i = 0; i < 8; i++) {
        n = ngx_hextoi(p + 2 + i * 2, 2);
        if (n == NGX_ERROR) {
            return 0;
        }

        id->client = id->client << 8 | n;
    }

    for (i = 0; i < 16; i++) {
        n = ngx_hextoi(p + 18 + i * 2, 2);
        if (n == NGX_ERROR) {
            return 0;
        }

        id->secret[i] = n;
    }

    return id->client != 0;
}


static void
welcome(ngx_http_fanout_session_t *s)
{
    u_char                       client[NGX_HTTP_FANOUT_CLIENT_LEN];
    u_char                       secret[32];
    uint32_t                     start;
    ngx_http_fanout_hub_t       *hub;
    ngx_http_fanout_frame_t     *f;
    ngx_http_fanout_loc_conf_t  *conf;

    hub = s->hub;
    conf = s->conf;

    if (s->state != NGX_HTTP_FANOUT_OPEN) {
        return;
    }

    f = ngx_http_fanout_frame_create(hub, 512);
    if (f == NULL) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    (void) ngx_http_fanout_client_format(client, s->identity.client);
    ngx_hex_dump(secret, s->identity.secret, 16);

    if (s->transport->begin(hub, f, &start) != NGX_OK
        || ngx_http_fanout_frame_printf(hub, f, 256,
               "{\"welcome\":{\"client\":\"%*s\",\"resume\":\"r_%*s%*s\","
               "\"resumed\":%s",
               sizeof(client), client, (size_t) 16, client + 2,
               sizeof(secret), secret, s->resumed ? "true" : "false")
           != NGX_OK
        || (s->user.len
            && (ngx_http_fanout_frame_literal(hub, f, ",\"user\":") != NGX_OK
                || ngx_http_fanout_frame_string(hub, f, s->user.data,
                                                s->user.len)
                   != NGX_OK))
        || ngx_http_fanout_frame_printf(hub, f, 256,
               ",\"ping\":%M,\"time\":%uL,\"limits\":{\"message\":%uz,"
               "\"batch\":%ui,\"channels\":%ui,\"history\":%ui}}}",
               conf->ping, ngx_http_fanout_native_time(), conf->message_size,
               conf->batch, conf->channels, conf->history)
           != NGX_OK
        || s->transport->end(hub, f, start, NGX_HTTP_FANOUT_WS_TEXT)
           != NGX_OK)
    {
        ngx_http_fanout_frame_release(hub, f);
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    ngx_http_fanout_session_push(s, f, 0, f->used);
    ngx_http_fanout_frame_release(hub, f);
}


/* receiving */

static void
native_receive(ngx_http_fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    int                           type;
    unsigned                      levels;
    ngx_str_t                     text;
    ngx_uint_t                    deep;
    ngx_http_fanout_json_t        value;
    ngx_http_fanout_json_error_t  err;

    if (opcode != NGX_HTTP_FANOUT_WS_TEXT) {
        ngx_http_fanout_count(s->hub, protocol_errors);
        ngx_http_fanout_session_close(s, 1003, "text frames are needed");
        return;
    }

    type = ngx_http_fanout_json_levels(data, len, &value, &levels, &err);
    deep = type > 0 && levels > NGX_HTTP_FANOUT_JSON_DEPTH;

    switch (type) {

    case NGX_HTTP_FANOUT_JSON_OBJECT:
        ngx_http_fanout_native_command(s, &value, 0, deep);
        break;

    case NGX_HTTP_FANOUT_JSON_ARRAY:
        batch_start(s, &value, s->conf->batch, deep);
        break;

    default:
        if (type > 0) {
            ngx_str_set(&text, "a frame is an object or an array of them");

        } else {
            text.data = (u_char *) err.reason;
            text.len = ngx_strlen(err.reason);
        }

        refuse_frame(s, NGX_HTTP_FANOUT_E_BAD_REQUEST, &text, NULL);
    }

    stop_insistent(s);
}


/* A frame without commands costs as much as a command. */

static void
refuse_frame(ngx_http_fanout_session_t *s, ngx_http_fanout_error_e code,
    ngx_str_t *text, ngx_str_t *data)
{
    fanout_command_t           cmd;
    ngx_http_fanout_limited_t  limited;

    if (!ngx_http_fanout_meter_take(s, NGX_HTTP_FANOUT_COST, &limited)) {
        ngx_memzero(&cmd, offsetof(fanout_command_t, buf));
        fanout_native_limited(s, &cmd, &limited);
        return;
    }

    ngx_http_fanout_native_error(s, NULL, NULL, 0, code, text, data);
}


/* Whether it goes on to send commands above its rate.  A POST is answered as a
 * whole, and is the last of its session. */

static ngx_uint_t
insists(ngx_http_fanout_session_t *s)
{
    return s->transport->bit == NGX_HTTP_FANOUT_WEBSOCKET
           && ngx_http_fanout_meter_insists(s);
}


static void
stop_insistent(ngx_http_fanout_session_t *s)
{
    if (s->state == NGX_HTTP_FANOUT_OPEN && s->batch == NULL && insists(s)) {
        ngx_http_fanout_count(s->hub, rate_limited);
        ngx_http_fanout_session_close(s, 4429,
                                      "too many refused commands: "
                                      "fanout_rate, fanout_budget");
    }
}


static void
batch_start(ngx_http_fanout_session_t *s, ngx_http_fanout_json_t *array,
    ngx_uint_t max, ngx_uint_t deep)
{
    size_t                          i, n;
    u_char                         *copy, data[64];
    ngx_str_t                       text, more;
    ngx_http_fanout_native_batch_t *b;

    if (ngx_http_fanout_json_array(array, NULL, max, &n)
        != NGX_HTTP_FANOUT_JSON_OK)
    {
        ngx_str_set(&text, "too many commands in an array: fanout_batch");
        more.data = data;
        more.len = ngx_sprintf(data, "{\"limit\":\"batch\",\"max\":%ui}",
                               s->conf->batch)
                   - data;

        refuse_frame(s, NGX_HTTP_FANOUT_E_TOO_MANY, &text, &more);
        return;
    }

    if (n == 0) {
        return;
    }

    /* a job may hold it for longer than the input lives */

    b = ngx_calloc(sizeof(ngx_http_fanout_native_batch_t)
                   + n * sizeof(ngx_http_fanout_json_t) + array->len,
                   ngx_cycle->log);
    if (b == NULL) {
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return;
    }

    s->batch = b;
    b->hub = s->hub;
    b->n = n;
    b->deep = deep;
    b->items = (ngx_http_fanout_json_t *) (b + 1);

    (void) ngx_http_fanout_json_array(array, b->items, n, &n);

    copy = (u_char *) (b->items + b->n);
    ngx_memcpy(copy, array->data, array->len);

    for (i = 0; i < b->n; i++) {
        b->items[i].data = copy + (b->items[i].data - array->data);
    }

    batch_run(s);
}


/* Goes on with the commands of the array until one becomes a job, or others
 * have waited for long, then sends the replies. */

static void
batch_run(ngx_http_fanout_session_t *s)
{
    uint64_t                        end;
    ngx_uint_t                      at;
    ngx_http_fanout_native_batch_t *b;

    b = s->batch;
    end = s->hub->spent + NGX_HTTP_FANOUT_ARRAY;

    while (b->i < b->n && !insists(s)) {

        if (s->hub->spent >= end && batch_pause(s)) {
            return;
        }

        at = b->i++;
        ngx_http_fanout_native_command(s, &b->items[at], at, b->deep);

        if (s->state != NGX_HTTP_FANOUT_OPEN) {
            native_close(s);
            return;
        }

        if (s->job) {
            /* nothing may come before the replies; a list of members is of
             * one moment, but a backend takes its time */

            if (s->job->ask) {
                ngx_http_fanout_session_withhold(s);

            } else {
                ngx_http_fanout_session_hold(s);
            }

            return;
        }
    }

    if (batch_reply(s) != NGX_OK) {
        return;
    }

    native_close(s);
    s->autojoin = 0;
    ngx_http_fanout_session_settle(s);
    stop_insistent(s);
}


/* The rest of the array is for another step; nothing may come before the
 * replies.  0: it can't be. */

static ngx_uint_t
batch_pause(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_job_t  *job;

    if (s->transport->bit & (NGX_HTTP_FANOUT_SSE|NGX_HTTP_FANOUT_POLL)) {
        /* lists of members, each of which has its steps */
        return 0;
    }

    job = ngx_calloc(sizeof(ngx_http_fanout_job_t), ngx_cycle->log);
    if (job == NULL) {
        return 0;
    }

    job->session = s;
    job->paused = 1;
    s->job = job;

    ngx_http_fanout_session_withhold(s);
    ngx_http_fanout_session_work(s);

    return 1;
}


/* Sends the replies there are; ERROR: the session has ended. */

static ngx_int_t
batch_reply(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_native_batch_t *b;

    b = s->batch;

    if (b->frame == NULL) {
        return NGX_OK;
    }

    if (ngx_http_fanout_frame_literal(s->hub, b->frame, "]") != NGX_OK
        || s->transport->end(s->hub, b->frame, b->start,
                             NGX_HTTP_FANOUT_WS_TEXT)
           != NGX_OK)
    {
        native_close(s);
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CUT);
        return NGX_ERROR;
    }

    ngx_http_fanout_meter_reply(s, b->frame->used);
    ngx_http_fanout_compress_frame(s->hub, s->format, &b->frame);
    ngx_http_fanout_session_push(s, b->frame, 0, b->frame->used);
    ngx_http_fanout_frame_release(s->hub, b->frame);
    b->frame = NULL;

    return NGX_OK;
}


void
ngx_http_fanout_native_continue(ngx_http_fanout_session_t *s)
{
    if (s->batch && s->job == NULL && s->state == NGX_HTTP_FANOUT_OPEN) {
        batch_run(s);
    }
}


static void
native_close(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_native_batch_t  *b;

    b = s->batch;

    if (b == NULL) {
        return;
    }

    s->batch = NULL;

    if (b->frame) {
        ngx_http_fanout_frame_release(b->hub, b->frame);
    }

    ngx_free(b);
}


/* sending */

static ngx_uint_t
native_match(ngx_http_fanout_subscription_t *sub, ngx_http_fanout_entry_t *e)
{
    ngx_uint_t   i;
    ngx_str_t   *event;

    if (sub->no_messages && e->type == NGX_HTTP_FANOUT_MESSAGE) {
        return 0;
    }

    if (sub->events == NULL) {
        return 1;
    }

    event = sub->events->names;

    for (i = 0; i < sub->events->n; i++) {
        if (event[i].len == e->event.len
            && ngx_memcmp(event[i].data, e->event.data, e->event.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
native_encode(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch,
    ngx_http_fanout_entry_t *e, ngx_http_fanout_frame_t *f)
{
    uint32_t  start;

    if (ngx_http_fanout_frame_begin(hub, f, &start) != NGX_OK
        || ngx_http_fanout_native_object(hub, ch, e, f) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_fanout_frame_end(hub, f, start, NGX_HTTP_FANOUT_WS_TEXT);
}


ngx_int_t
ngx_http_fanout_native_object(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_entry_t *e,
    ngx_http_fanout_frame_t *f)
{
    u_char     epoch[NGX_HTTP_FANOUT_EPOCH_LEN];
    ngx_int_t  rc;

    if (ngx_http_fanout_frame_literal(hub, f, "{\"channel\":") != NGX_OK
        || ngx_http_fanout_frame_string(hub, f, ch->name.data, ch->name.len)
           != NGX_OK
        || ngx_http_fanout_frame_literal(hub, f, ",") != NGX_OK)
    {
        return NGX_ERROR;
    }

    switch (e->type) {

    case NGX_HTTP_FANOUT_GAP:
        rc = ngx_http_fanout_frame_printf(hub, f, 128,
                 "\"gap\":{\"from\":%uL,\"to\":%uL%s}", e->from + 1, e->offset,
                 e->event.len ? ",\"of\":\"presence\"" : "");
        break;

    case NGX_HTTP_FANOUT_PRESENCE:
        rc = ngx_http_fanout_frame_printf(hub, f, 96,
                 "\"offset\":%uL,\"time\":%uL,\"presence\":{", e->offset,
                 e->time);

        if (rc == NGX_OK) {
            rc = ngx_http_fanout_changes_json(hub, e, f);
        }

        if (rc == NGX_OK) {
            rc = ngx_http_fanout_frame_literal(hub, f, "}");
        }

        break;

    case NGX_HTTP_FANOUT_RESET:
        (void) ngx_http_fanout_epoch_format(epoch, e->epoch);

        rc = ngx_http_fanout_frame_printf(hub, f, 96,
                 "\"reset\":{\"epoch\":\"%*s\",\"offset\":0,\"reason\":",
                 sizeof(epoch), epoch);

        if (rc == NGX_OK) {
            rc = ngx_http_fanout_frame_string(hub, f, e->data.data,
                                              e->data.len);
        }

        if (rc == NGX_OK) {
            rc = ngx_http_fanout_frame_literal(hub, f, "}");
        }

        break;

    case NGX_HTTP_FANOUT_SIGNAL:
        rc = ngx_http_fanout_signal_json(hub, e, f);
        break;

    default:
        rc = ngx_http_fanout_entry_json(hub, e, f);
    }

    return rc == NGX_OK ? ngx_http_fanout_frame_literal(hub, f, "}") : rc;
}


static void
native_closing(ngx_http_fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    s->back_in = after;

    if (s->batch && s->job && s->job->paused) {
        /* what was done of an array is answered */
        (void) batch_reply(s);
        ngx_http_fanout_session_settle(s);
    }

    send_printf(s, "{\"closing\":{\"code\":\"%s\",\"reconnect\":true,"
                   "\"after\":%M}}",
                code == 1012 ? "drain"
                : code == 4429 ? "too_many" : "zone_full", after);
}


static void
native_heartbeat(ngx_http_fanout_session_t *s)
{
    send_printf(s, "{\"ping\":%uL}", ngx_http_fanout_native_time());
}


static void
native_parted(ngx_http_fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t reason)
{
    fanout_reply_t                   rp;
    ngx_http_fanout_native_batch_t  *b;

    /* it is no reply: not into the array of some */

    b = s->batch;
    s->batch = NULL;

    fanout_native_open(&rp, s, NULL, 0);
    fanout_native_literal(&rp, "\"channel\":");
    fanout_native_string(&rp, channel->data, channel->len);
    fanout_native_printf(&rp, ",\"left\":{\"reason\":\"%s\"}",
                         ngx_http_fanout_left_reason(reason));
    fanout_native_end(&rp);

    s->batch = b;
}


static void
send_printf(ngx_http_fanout_session_t *s, const char *fmt, ...)
{
    u_char   buf[256], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    ngx_http_fanout_session_send(s, NGX_HTTP_FANOUT_WS_TEXT, buf, p - buf);
}


uint64_t
ngx_http_fanout_native_time(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}
