
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The native protocol as server-sent events, and as polls of these: the
 * objects are those of the WebSocket, each an event.  What is joined, and
 * from where, is in the query of the request.
 */


#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_native.h"
#include "ngx_http_fanout_position.h"
#include "ngx_http_fanout_roster.h"
#include "ngx_http_fanout_transport.h"


/* a channel of the query while it is joined */

typedef struct {
    ngx_str_t                       *channel;
    ngx_str_t                       *join;      /* len 0: none */
    ngx_http_fanout_zone_join_t      j;
    ngx_http_fanout_subscription_t  *sub;
    ngx_uint_t                       since;     /* SINCE_* */
    uint64_t                         epoch;     /* of since, or incarnation */
    uint64_t                         offset;    /* or seq */
    ngx_uint_t                       history;
    uint64_t                         known;     /* of members, by a poll */
    unsigned                         lists:1;   /* is told all members */
} joined_t;


static const char *stream_accept(ngx_http_request_t *r,
    ngx_http_fanout_loc_conf_t *conf, ngx_uint_t *status);
static void stream_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r);
static void poll_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r);
static void stream_receive(ngx_http_fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len);
static ngx_uint_t stream_match(ngx_http_fanout_subscription_t *sub,
    ngx_http_fanout_entry_t *e);
static ngx_int_t stream_encode(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_entry_t *e,
    ngx_http_fanout_frame_t *f);
static void stream_close(ngx_http_fanout_session_t *s);
static void stream_parted(ngx_http_fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t reason);
static void stream_closing(ngx_http_fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);
static void stream_heartbeat(ngx_http_fanout_session_t *s);
static void poll_closing(ngx_http_fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);
static void poll_heartbeat(ngx_http_fanout_session_t *s);

static ngx_int_t join(ngx_http_fanout_session_t *s,
    ngx_http_fanout_query_t *q);
static ngx_int_t join_one(ngx_http_fanout_session_t *s,
    ngx_http_fanout_query_t *q, joined_t *o);
static ngx_uint_t join_mail(ngx_http_fanout_session_t *s, joined_t *o);
static ngx_uint_t join_read(ngx_http_fanout_session_t *s,
    ngx_http_fanout_query_t *q, joined_t *o, fanout_command_t *cmd,
    fanout_presence_t *p);
static ngx_int_t join_failed(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, ngx_http_fanout_error_e rc);
static ngx_http_fanout_error_e join_member(
    ngx_http_fanout_subscription_t *sub, fanout_presence_t *p);
static void join_changes(ngx_http_fanout_query_t *q, joined_t *o);
static ngx_int_t list_members(ngx_http_fanout_session_t *s,
    ngx_http_fanout_query_t *q, joined_t *o);
static ngx_int_t told(ngx_http_fanout_session_t *s,
    ngx_http_fanout_query_t *q, joined_t *o);
static void where(ngx_http_fanout_session_t *s);
static ngx_msec_t retry(ngx_http_fanout_session_t *s);


const ngx_http_fanout_dialect_t  ngx_http_fanout_native_stream = {
    ngx_string("native"),
    NGX_HTTP_FANOUT_NATIVE_SSE,
    0,
    stream_accept,
    stream_open,
    stream_receive,
    stream_match,
    stream_encode,
    ngx_http_fanout_native_work,
    stream_close,
    stream_closing,
    stream_heartbeat,
    NULL,
    NULL,
    stream_parted
};


const ngx_http_fanout_dialect_t  ngx_http_fanout_native_poll = {
    ngx_string("native"),
    NGX_HTTP_FANOUT_NATIVE_SSE,
    0,
    stream_accept,
    poll_open,
    stream_receive,
    stream_match,
    stream_encode,
    ngx_http_fanout_native_work,
    stream_close,
    poll_closing,
    poll_heartbeat,
    NULL,
    NULL,
    stream_parted
};


static const char *
stream_accept(ngx_http_request_t *r, ngx_http_fanout_loc_conf_t *conf,
    ngx_uint_t *status)
{
    const char               *why;
    ngx_http_fanout_query_t   q;

    why = ngx_http_fanout_query(r, conf, &q, status);

    return why ? why : ngx_http_fanout_native.accept(r, conf, status);
}


/* opening; what can't begin is told to who asked by s->refused */

static void
stream_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    u_char                   *p, buf[sizeof("retry: \n") + NGX_INT64_LEN];
    ngx_uint_t                status;
    ngx_http_fanout_query_t   q;

    if (ngx_http_fanout_query(r, s->conf, &q, &status) != NULL) {
        s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return;
    }

    p = ngx_sprintf(buf, "retry: %M\n", retry(s));
    ngx_http_fanout_session_bytes(s, buf, p - buf);

    if (s->state != NGX_HTTP_FANOUT_OPEN) {
        return;
    }

    ngx_http_fanout_native.open(s, r);

    if (s->state != NGX_HTTP_FANOUT_OPEN) {
        return;
    }

    s->heartbeat = s->conf->ping != 0;
    s->beat_at = ngx_current_msec + s->conf->ping;

    (void) join(s, &q);
}


/* Without a position, or when something can't be recovered, there is
 * something to tell at once. */

static void
poll_open(ngx_http_fanout_session_t *s, ngx_http_request_t *r)
{
    ngx_uint_t                  status;
    ngx_http_fanout_query_t     q;
    ngx_http_fanout_identity_t  id;

    if (ngx_http_fanout_query(r, s->conf, &q, &status) != NULL) {
        s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return;
    }

    if (q.session || ngx_http_fanout_native_token(r, &id)) {
        ngx_http_fanout_native.open(s, r);

        if (s->state != NGX_HTTP_FANOUT_OPEN) {
            return;
        }
    }

    s->heartbeat = 1;
    s->beat_at = ngx_current_msec
                 + (q.timed ? ngx_min(q.timeout * 1000, s->conf->poll_timeout)
                            : s->conf->poll_timeout);

    (void) join(s, &q);
}


static ngx_int_t
join(ngx_http_fanout_session_t *s, ngx_http_fanout_query_t *q)
{
    joined_t                      *o;
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_fanout_meter_mark_t   mark;

    o = ngx_calloc(q->n * sizeof(joined_t), ngx_cycle->log);
    if (o == NULL) {
        s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return NGX_ERROR;
    }

    rc = NGX_OK;

    /* the first one was paid for when it was admitted */
    ngx_http_fanout_meter_charge(s, (q->n - 1) * NGX_HTTP_FANOUT_COST);

    /* all before any is told: where the session is depends on all */

    for (i = 0; i < q->n && rc == NGX_OK; i++) {
        o[i].channel = &q->channels[i];
        o[i].join = &q->joins[i];

        /* what this one takes may be too much for the next one */

        ngx_http_fanout_meter_mark(s, &mark);
        rc = join_one(s, q, &o[i]);
        ngx_http_fanout_meter_account(s, &mark);
    }

    for (i = 0; i < q->n && rc == NGX_OK; i++) {

        if (q->polls && q->position && o[i].j.recovered) {
            join_changes(q, &o[i]);
            continue;
        }

        if (!q->polls && i + 1 == q->n) {
            where(s);
        }

        rc = told(s, q, &o[i]);

        if (rc != NGX_OK) {
            s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
            ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        }
    }

    if (rc == NGX_OK) {
        rc = list_members(s, q, o);
    }

    ngx_free(o);

    return rc;
}


/* What it has missed is read from the log, as by who has fallen behind. */

static ngx_int_t
join_one(ngx_http_fanout_session_t *s, ngx_http_fanout_query_t *q,
    joined_t *o)
{
    fanout_command_t                 cmd;
    fanout_presence_t                p;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_limited_t        limited;
    ngx_http_fanout_zone_join_t     *j;
    ngx_http_fanout_subscription_t  *sub;

    o->history = q->history;

    if (!ngx_http_fanout_meter_writes(s, o->channel, &limited)) {
        ngx_memzero(&cmd, offsetof(fanout_command_t, buf));
        s->refused = NGX_HTTP_FANOUT_E_RATE_LIMITED;
        fanout_native_limited(s, &cmd, &limited);
        s->state = NGX_HTTP_FANOUT_CLOSING;
        return NGX_ERROR;
    }

    if (o->join->len && !join_read(s, q, o, &cmd, &p)) {
        s->state = NGX_HTTP_FANOUT_CLOSING;
        return NGX_ERROR;
    }

    if (q->position) {
        o->since = NGX_HTTP_FANOUT_SINCE_SEQ;
        ngx_http_fanout_position_of(s->hub, q->position, o->channel,
                                    &o->epoch, &o->offset);
    }

    j = &o->j;

    rc = ngx_http_fanout_hub_join(s, o->channel, o->since, o->epoch,
                                  o->offset, o->history, &sub, j);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        s->refused = rc;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return NGX_ERROR;
    }

    o->sub = sub;

    if (!q->polls) {
        sub->want |= NGX_HTTP_FANOUT_WANT_SIGNALS;
    }

    if (s->identity_ref) {
        rc = ngx_http_fanout_hub_seat(sub);

        if (rc != NGX_HTTP_FANOUT_E_NONE) {
            return join_failed(s, o->join->len ? &cmd : NULL, rc);
        }
    }

    if (o->join->len) {
        (void) fanout_native_join_options(s, &cmd, sub);

        if (q->polls) {
            /* they are of now, and a poll is not */
            p.want &= ~NGX_HTTP_FANOUT_WANT_SIGNALS;
        }

        rc = ngx_http_fanout_hub_want(sub, p.want) == NGX_OK
             ? NGX_HTTP_FANOUT_E_NONE : NGX_HTTP_FANOUT_E_INTERNAL;

        if (rc == NGX_HTTP_FANOUT_E_NONE && p.member) {
            rc = join_member(sub, &p);
        }

        if (rc != NGX_HTTP_FANOUT_E_NONE) {
            return join_failed(s, &cmd, rc);
        }

        /* the list that follows is later than this */

        sub->known = j->offset;
        o->lists = (sub->want & NGX_HTTP_FANOUT_WANT_PRESENCE) != 0;
    }

    sub->mail = s->resumed && j->recovered && join_mail(s, o);

    if (j->missed || sub->mail) {
        sub->state = NGX_HTTP_FANOUT_SUB_BEHIND;
        sub->offset = j->after;
        sub->sent = j->from;
        s->behind = 1;
    }

    return NGX_OK;
}


/* What was addressed to it while it was away is in no history, so that it may
 * begin before what is missed of that.  Whether there is any. */

static ngx_uint_t
join_mail(ngx_http_fanout_session_t *s, joined_t *o)
{
    uint64_t                  after;
    ngx_http_fanout_entry_t  *e;

    after = o->since == NGX_HTTP_FANOUT_SINCE_SEQ ? 0 : o->offset;

    for ( ;; ) {
        e = ngx_http_fanout_letter(s, o->channel, o->j.epoch, after,
                                   o->j.offset);

        if (e == NULL) {
            return o->j.missed != 0;
        }

        if (e->type != NGX_HTTP_FANOUT_GAP
            && (o->since != NGX_HTTP_FANOUT_SINCE_SEQ
                || e->seq > o->offset))
        {
            o->j.after = ngx_min(o->j.after, e->offset - 1);
            o->j.from = ngx_min(o->j.from, e->seq - 1);
            return 1;
        }

        after = e->offset;
    }
}


/* As of the command; an error is left in the output for who asked. */

static ngx_uint_t
join_read(ngx_http_fanout_session_t *s, ngx_http_fanout_query_t *q,
    joined_t *o, fanout_command_t *cmd, fanout_presence_t *p)
{
    const char                   *name;
    ngx_http_fanout_json_t        object;
    ngx_http_fanout_json_error_t  err;

    object.data = o->join->data;
    object.len = o->join->len;

    if (fanout_native_parse(&object, cmd, &err) != NGX_HTTP_FANOUT_JSON_OK) {
        ngx_memzero(cmd, sizeof(fanout_command_t));
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST, "%s",
                             err.reason);
        return 0;
    }

    name = fanout_native_not_of_join(cmd);

    cmd->at = 0;
    cmd->id.len = 0;
    cmd->op.len = 0;
    cmd->name = *o->channel;

    if (name) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                             "\"%s\" is not a member of a join, or nests too "
                             "many levels", name);
        return 0;
    }

    if (cmd->since.len) {
        o->since = NGX_HTTP_FANOUT_SINCE_OFFSET;

        if (!fanout_native_position(s, cmd, &cmd->since, "since", &o->epoch,
                                    &o->offset))
        {
            return 0;
        }
    }

    if (!fanout_native_count(s, cmd, &cmd->history, "history",
                             s->conf->history, &o->history)
        || (cmd->history.len && o->history && cmd->since.len == 0
            && q->position == NULL
            && !fanout_native_channel(s, cmd, NGX_HTTP_FANOUT_MAY_HISTORY)))
    {
        return 0;
    }

    cmd->name = *o->channel;

    if (!fanout_native_join_options(s, cmd, NULL)
        || !fanout_native_presence_options(s, cmd, p))
    {
        return 0;
    }

    if (p->member && s->identity_ref == 0) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                             "a poll that makes a member needs \"session=1\", "
                             "and then the header Fanout-Resume");
        return 0;
    }

    return 1;
}


static ngx_int_t
join_failed(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_error_e rc)
{
    s->refused = rc;

    if (cmd) {
        fanout_native_refuse_member(s, cmd, rc);

    } else if (rc == NGX_HTTP_FANOUT_E_ADDRESS_FULL) {
        ngx_http_fanout_meter_full(s);
    }

    s->state = NGX_HTTP_FANOUT_CLOSING;

    return NGX_ERROR;
}


/* Who has come back by the URL it began with has the member it has: that may
 * have been changed since. */

static ngx_http_fanout_error_e
join_member(ngx_http_fanout_subscription_t *sub, fanout_presence_t *p)
{
    ngx_http_fanout_put_t       put;
    ngx_http_fanout_error_e     rc;
    ngx_http_fanout_member_t    m;
    ngx_http_fanout_session_t  *s;

    static u_char  buf[NGX_HTTP_FANOUT_ZONE_MEMBER_BUF];

    s = sub->session;

    if (s->resumed
        && ngx_http_fanout_member_get(&s->hub->zone, &sub->channel->zc,
                                      s->identity.client, &p->key, &m, buf)
           == NGX_HTTP_FANOUT_ZONE_OK)
    {
        return ngx_http_fanout_hub_member_own(sub, &m) == NGX_OK
               ? NGX_HTTP_FANOUT_E_NONE : NGX_HTTP_FANOUT_E_INTERNAL;
    }

    ngx_memzero(&m, sizeof(ngx_http_fanout_member_t));

    m.client = s->identity.client;
    m.key = p->key;
    m.data = p->data;
    m.anonymous = p->anonymous;

    rc = ngx_http_fanout_hub_member_put(sub, &m, NGX_HTTP_FANOUT_PUT_ENTER
                                                 |NGX_HTTP_FANOUT_PUT_DATA
                                                 |NGX_HTTP_FANOUT_PUT_STATE,
                                        0, &put);

    if (rc == NGX_HTTP_FANOUT_E_NONE) {
        ngx_http_fanout_session_alive(s);
    }

    return rc;
}


/* A poll goes on with the members: the changes since, or a gap for those that
 * this worker can't tell. */

static void
join_changes(ngx_http_fanout_query_t *q, joined_t *o)
{
    uint64_t                         known;
    ngx_http_fanout_entry_t          e;
    ngx_http_fanout_frame_t         *f;
    ngx_http_fanout_recent_t        *recent;
    ngx_http_fanout_roster_t        *r;
    ngx_http_fanout_session_t       *s;
    ngx_http_fanout_subscription_t  *sub;

    sub = o->sub;
    s = sub->session;
    r = sub->channel->roster;

    if (!o->lists || r == NULL
        || !ngx_http_fanout_position_members(s->hub, q->position, o->channel,
                                             &known))
    {
        return;
    }

    o->lists = 0;

    if (known >= o->j.offset) {
        return;
    }

    if (r->lost > known) {
        ngx_memzero(&e, sizeof(ngx_http_fanout_entry_t));

        e.type = NGX_HTTP_FANOUT_GAP;
        e.epoch = sub->channel->epoch;
        e.from = known;
        e.offset = r->lost;
        e.event.data = (u_char *) "presence";
        e.event.len = sizeof("presence") - 1;

        f = ngx_http_fanout_encode(s->hub, sub->channel, &e, s->format);

        if (f) {
            ngx_http_fanout_session_push(s, f, 0, f->used);
            ngx_http_fanout_frame_release(s->hub, f);
        }

        known = r->lost;
    }

    for (recent = ngx_http_fanout_roster_recent(r, known);
         recent;
         recent = ngx_http_fanout_roster_later(r, recent))
    {
        known = recent->entry.offset;

        f = ngx_http_fanout_encode(s->hub, sub->channel, &recent->entry,
                                   s->format);

        if (f) {
            ngx_http_fanout_session_push(s, f, 0, f->used);
            ngx_http_fanout_frame_release(s->hub, f);
        }
    }

    /* what is not yet here comes as it does for all */

    sub->known = known;
}


/* Who is there, as by commands that ask for it, behind all that is said of the
 * joins. */

static ngx_int_t
list_members(ngx_http_fanout_session_t *s, ngx_http_fanout_query_t *q,
    joined_t *o)
{
    u_char      *p;
    size_t       size;
    ngx_str_t    text;
    ngx_uint_t   i;

    static const char  head[] = "{\"op\":\"members\",\"channel\":\"";

    size = sizeof("[]");

    for (i = 0; i < q->n; i++) {
        if (o[i].lists) {
            size += sizeof(head) + sizeof("\"},") + o[i].channel->len
                    + ngx_http_fanout_json_escape_len(o[i].channel->data,
                                                      o[i].channel->len);
        }
    }

    if (size == sizeof("[]")) {
        return NGX_OK;
    }

    text.data = ngx_alloc(size, ngx_cycle->log);
    if (text.data == NULL) {
        s->refused = NGX_HTTP_FANOUT_E_INTERNAL;
        ngx_http_fanout_session_end(s, NGX_HTTP_FANOUT_END_CLEAN);
        return NGX_ERROR;
    }

    p = text.data;
    *p++ = '[';

    for (i = 0; i < q->n; i++) {
        if (!o[i].lists) {
            continue;
        }

        if (p[-1] != '[') {
            *p++ = ',';
        }

        p = ngx_cpymem(p, head, sizeof(head) - 1);
        p = ngx_http_fanout_json_escape(p, o[i].channel->data,
                                        o[i].channel->len);
        *p++ = '"';
        *p++ = '}';
    }

    *p++ = ']';
    text.len = p - text.data;

    fanout_native_batch(s, &text);

    ngx_free(text.data);

    return s->state == NGX_HTTP_FANOUT_ENDED ? NGX_ERROR : NGX_OK;
}


/* The reply of a join, as of one that was sent: entries after its offset come
 * as events of their own. */

static ngx_int_t
told(ngx_http_fanout_session_t *s, ngx_http_fanout_query_t *q, joined_t *o)
{
    u_char                        epoch[NGX_HTTP_FANOUT_EPOCH_LEN];
    ngx_int_t                     rc;
    ngx_str_t                    *channel;
    ngx_http_fanout_hub_t        *hub;
    ngx_http_fanout_frame_t      *f;
    ngx_http_fanout_zone_join_t  *j;

    hub = s->hub;
    channel = o->channel;
    j = &o->j;

    f = ngx_http_fanout_frame_create(hub, 512);
    if (f == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_http_fanout_epoch_format(epoch, j->epoch);

    rc = ngx_http_fanout_frame_literal(hub, f, "data: {\"ok\":{\"channel\":");

    if (rc == NGX_OK) {
        rc = ngx_http_fanout_frame_string(hub, f, channel->data,
                                          channel->len);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_fanout_frame_printf(hub, f, 128,
                                          ",\"epoch\":\"%*s\",\"offset\":%uL",
                                          sizeof(epoch), epoch, j->after);
    }

    if (rc == NGX_OK && o->since) {
        rc = ngx_http_fanout_frame_printf(hub, f, 64,
                                      ",\"recovered\":%s,\"missed\":%uL",
                                      j->recovered ? "true" : "false",
                                      j->missed);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_fanout_frame_literal(hub, f, ",\"messages\":[]}}\n\n");
    }

    if (rc == NGX_OK) {
        ngx_http_fanout_session_push(s, f, 0, f->used);
    }

    ngx_http_fanout_frame_release(hub, f);

    return rc;
}


/* The id of the last reply: where the client comes back to if it is cut before
 * there is an entry, once it was told what could not be recovered. */

static void
where(ngx_http_fanout_session_t *s)
{
    u_char  *p, buf[NGX_HTTP_FANOUT_POSITION_LEN + 16];

    p = ngx_cpymem(buf, "id: ", 4);
    p = ngx_http_fanout_position_write(s, p);
    *p++ = '\n';

    ngx_http_fanout_session_bytes(s, buf, p - buf);
}


/* not all at the same moment */

static ngx_msec_t
retry(ngx_http_fanout_session_t *s)
{
    ngx_msec_t  ms;

    ms = s->conf->retry;

    return ms + (ms > 1 ? (ngx_msec_t) ngx_random() % (ms / 2) : 0);
}


/* commands come by other requests */

static void
stream_receive(ngx_http_fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    /* void */
}


/* sending */

static ngx_uint_t
stream_match(ngx_http_fanout_subscription_t *sub, ngx_http_fanout_entry_t *e)
{
    return ngx_http_fanout_native.match(sub, e);
}


static ngx_int_t
stream_encode(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch,
    ngx_http_fanout_entry_t *e, ngx_http_fanout_frame_t *f)
{
    /* a signal has no place in the order */

    if (e->seq && e->seq != UINT64_MAX && e->type != NGX_HTTP_FANOUT_SIGNAL
        && ngx_http_fanout_position_id(hub, e->seq, f) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_fanout_frame_literal(hub, f, "data: ") != NGX_OK
        || ngx_http_fanout_native_object(hub, ch, e, f) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_fanout_frame_literal(hub, f, "\n\n");
}


static void
stream_close(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_native.close(s);
}


static void
stream_parted(ngx_http_fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t reason)
{
    ngx_http_fanout_native.parted(s, channel, reason);
}


static void
stream_closing(ngx_http_fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after)
{
    u_char    *p, buf[sizeof("retry: \n") + NGX_INT64_LEN];
    uint32_t   ms;

    if (code != 1012) {
        ngx_http_fanout_native.closing(s, code, after);
        return;
    }

    ms = retry(s) + after;
    p = ngx_sprintf(buf, "retry: %uD\n", ms);

    ngx_http_fanout_session_bytes(s, buf, p - buf);
    ngx_http_fanout_native.closing(s, code, after);

    s->back_in = ms;
}


/* A comment: nothing that a page sees.  No blank line ends it: many parsers
 * make an event without data of one. */

static void
stream_heartbeat(ngx_http_fanout_session_t *s)
{
    static u_char  comment[] = ":\n";

    ngx_http_fanout_session_bytes(s, comment, sizeof(comment) - 1);
}


static void
poll_closing(ngx_http_fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    (void) s->transport->send(s);
}


/* it is time: with what there is, which is nothing */

static void
poll_heartbeat(ngx_http_fanout_session_t *s)
{
    (void) s->transport->send(s);
}
