
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Joins of the channels that the query of a request names, for events and for
 * polls.  A channel that can't be joined refuses the request.
 */


#include "hub/entry_json.h"
#include "hub/roster.h"
#include "session/join.h"
#include "session/members.h"
#include "session/forbid.h"
#include "session/position.h"
#include "dialect/native.h"


/* a channel of the query while it is joined */

typedef struct {
    ngx_str_t              *channel;
    ngx_str_t              *join;               /* len 0: none */
    fanout_zone_join_t      j;
    fanout_subscription_t  *sub;
    ngx_uint_t              since;              /* SINCE_* */
    uint64_t                epoch;              /* of since, or incarnation */
    uint64_t                offset;             /* or seq */
    ngx_uint_t              history;
    uint64_t                known;              /* of members, by a poll */
    unsigned                lists:1;            /* is told all members */
    unsigned                records:1;          /* is told all records */
    unsigned                locks:1;            /* is told all locks */
} joined_t;


static ngx_int_t join_one(fanout_session_t *s, fanout_query_t *q,
    joined_t *o);
static ngx_uint_t join_mail(fanout_session_t *s, joined_t *o);
static fanout_error_e join_read(fanout_session_t *s, fanout_query_t *q,
    joined_t *o, fanout_command_t *cmd);
static fanout_error_e join_may(fanout_session_t *s, fanout_query_t *q,
    joined_t *o, fanout_command_t *cmd);
static ngx_int_t join_failed(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc);
static fanout_error_e join_member(
    fanout_subscription_t *sub, fanout_join_cmd_t *c);
static void join_changes(fanout_query_t *q, joined_t *o);
static void join_locks(fanout_query_t *q, joined_t *o);
static void join_list(fanout_session_t *s, fanout_query_t *q,
    joined_t *o);
static u_char *list_command(u_char *p, const char *op, ngx_str_t *channel);
static ngx_int_t join_reply(fanout_session_t *s, fanout_query_t *q,
    joined_t *o);
static void join_position(fanout_session_t *s);


void
fanout_native_query_join(fanout_session_t *s, fanout_query_t *q)
{
    joined_t             *o;
    ngx_int_t             rc;
    ngx_uint_t            i;
    fanout_meter_mark_t   mark;

    o = ngx_calloc(q->n * sizeof(joined_t), ngx_cycle->log);
    if (o == NULL) {
        s->refused = FANOUT_E_INTERNAL;
        fanout_session_end(s, FANOUT_END_CLEAN);
        return;
    }

    rc = NGX_OK;

    /* the first one was paid for when it was admitted */
    fanout_meter_charge(s, (q->n - 1) * FANOUT_COST);

    /* all are joined before any reply, as the position depends on all */

    fanout_native_part(s)->begins = 1;

    for (i = 0; i < q->n && rc == NGX_OK; i++) {
        o[i].channel = &q->channels[i];
        o[i].join = &q->joins[i];

        /* the cost of this one may be too much for the next one */

        fanout_meter_mark(s, &mark);
        rc = join_one(s, q, &o[i]);
        fanout_meter_account(s, &mark);
    }

    fanout_native_part(s)->begins = 0;

    if (rc != NGX_OK) {
        fanout_session_refuse(s);
    }

    for (i = 0; i < q->n && rc == NGX_OK; i++) {

        if (q->polls && q->position && o[i].j.recovered) {
            join_changes(q, &o[i]);
            join_locks(q, &o[i]);
            continue;
        }

        if (!q->polls && i + 1 == q->n) {
            join_position(s);
        }

        rc = join_reply(s, q, &o[i]);

        if (rc != NGX_OK) {
            s->refused = FANOUT_E_INTERNAL;
            fanout_session_end(s, FANOUT_END_CLEAN);
        }
    }

    if (rc == NGX_OK) {
        join_list(s, q, o);
    }

    ngx_free(o);
}


/* Missed entries are read from the log, as for a session that is behind. */

static ngx_int_t
join_one(fanout_session_t *s, fanout_query_t *q, joined_t *o)
{
    fanout_error_e          rc;
    fanout_command_t        cmd;
    fanout_limited_t        limited;
    fanout_zone_join_t     *j;
    fanout_subscription_t  *sub;

    o->history = q->history;

    if (!fanout_meter_writes(s, o->channel, &limited)) {
        fanout_native_blank(&cmd);
        fanout_native_refuse(s, &cmd,
                             fanout_native_limited(s, &cmd, &limited));
        return NGX_ERROR;
    }

    if (o->join->len) {
        rc = join_read(s, q, o, &cmd);

        if (rc != FANOUT_E_NONE) {
            fanout_native_refuse(s, &cmd, rc);
            return NGX_ERROR;
        }
    }

    if (q->position) {
        o->since = FANOUT_SINCE_SEQ;
        fanout_position_of(s->hub, q->position, o->channel, &o->epoch,
                           &o->offset);
    }

    j = &o->j;
    rc = fanout_session_join(s, o->channel, o->since, o->epoch, o->offset,
                             o->history, &sub, j);

    if (rc != FANOUT_E_NONE) {
        s->refused = rc;
        fanout_session_end(s, FANOUT_END_CLEAN);
        return NGX_ERROR;
    }

    o->sub = sub;
    fanout_session_granted(sub);

    if (!q->polls) {
        sub->want |= FANOUT_WANT_SIGNALS;
    }

    if (s->identity_ref) {
        fanout_session_seat_again(sub);
        rc = fanout_session_seat(sub);

        if (rc != FANOUT_E_NONE) {
            return join_failed(s, o->join->len ? &cmd : NULL, rc);
        }
    }

    if (o->join->len) {

        if (q->polls) {
            /* members are current, but a poll is not */
            cmd.u.join.want &= ~FANOUT_WANT_SIGNALS;
        }

        rc = fanout_native_join_options(sub, &cmd.u.join);

        if (rc == FANOUT_E_NONE && fanout_native_enters(&cmd.u.join)) {
            rc = fanout_native_presence_data(s, &cmd, sub,
                                             &cmd.u.join.presence.data);
        }

        if (rc == FANOUT_E_NONE && fanout_native_enters(&cmd.u.join)) {
            rc = join_member(sub, &cmd.u.join);
        }

        if (rc != FANOUT_E_NONE) {
            return join_failed(s, &cmd, rc);
        }

        /* the list that follows is later than this */

        sub->known = j->offset;
        o->lists = (sub->want & FANOUT_WANT_PRESENCE) != 0;
        o->records = (sub->want & FANOUT_WANT_RECORDS) && !j->recovered;
        o->locks = (sub->want & FANOUT_WANT_LOCKS) != 0;
        sub->lock_known = j->offset;
    }

    sub->mail = s->resumed && j->recovered && join_mail(s, o);

    if (j->missed || sub->mail) {
        sub->state = FANOUT_SUB_BEHIND;
        sub->offset = j->after;
        sub->sent = j->from;
        s->behind = 1;
    }

    return NGX_OK;
}


/* Whether the client has mail on the channel.  Mail is in no history, so it
 * may begin before the entries that were missed. */

static ngx_uint_t
join_mail(fanout_session_t *s, joined_t *o)
{
    uint64_t         after;
    fanout_entry_t  *e;

    after = o->since == FANOUT_SINCE_SEQ ? 0 : o->offset;

    for ( ;; ) {
        e = fanout_mail_next(s, o->channel, o->j.epoch, after, o->j.offset);

        if (e == NULL) {
            return o->j.missed != 0;
        }

        if (e->type != FANOUT_GAP
            && (o->since != FANOUT_SINCE_SEQ
                || e->seq > o->offset))
        {
            o->j.after = ngx_min(o->j.after, e->offset - 1);
            o->j.from = ngx_min(o->j.from, e->seq - 1);
            return 1;
        }

        after = e->offset;
    }
}


/* Decodes the members of a join, as those of the command. */

static fanout_error_e
join_read(fanout_session_t *s, fanout_query_t *q, joined_t *o,
    fanout_command_t *cmd)
{
    fanout_json_t       object;
    fanout_error_e      rc;
    fanout_join_cmd_t  *c;

    object.data = o->join->data;
    object.len = o->join->len;
    c = &cmd->u.join;

    fanout_native_blank(cmd);

    rc = fanout_native_split(cmd, &object, &fanout_native_op_join, 1);

    cmd->id.len = 0;
    cmd->op.len = 0;
    cmd->channel = *o->channel;

    if (cmd->misplaced) {
        rc = fanout_native_fail(cmd, rc,
                 "\"%s\" is not a member of a join, or nests too many levels",
                 cmd->misplaced);
    }

    if (rc == FANOUT_E_NONE) {
        rc = fanout_native_decode(s, cmd);
    }

    if (rc == FANOUT_E_NONE && c->token.len) {
        rc = fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                 "a token is a secret: it goes into the header "
                 "Fanout-Join-Token, or into the argument \"join_token\", "
                 "which no log has");
    }

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    if (c->since.set) {
        o->since = FANOUT_SINCE_OFFSET;
        o->epoch = c->since.epoch;
        o->offset = c->since.offset;
    }

    if (c->history >= 0) {
        o->history = c->history;
    }

    return join_may(s, q, o, cmd);
}


static fanout_error_e
join_may(fanout_session_t *s, fanout_query_t *q, joined_t *o,
    fanout_command_t *cmd)
{
    fanout_error_e      rc;
    fanout_join_cmd_t  *c;

    c = &cmd->u.join;
    rc = FANOUT_E_NONE;

    if (q->polls && c->want > 0 && (c->want & FANOUT_WANT_SIGNALS)) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"want\" of a poll has no \"signals\": polls get none");
    }

    if (c->history > 0 && !c->since.set && q->position == NULL) {
        rc = fanout_native_may(s, cmd, FANOUT_MAY_HISTORY);
    }

    if (rc == FANOUT_E_NONE && c->want > 0
        && (c->want & FANOUT_WANT_RECORDS))
    {
        rc = fanout_native_recorded(s, cmd);
    }

    if (rc == FANOUT_E_NONE && c->want > 0 && (c->want & FANOUT_WANT_LOCKS)) {
        rc = fanout_native_lockable(s, cmd);
    }

    if (rc == FANOUT_E_NONE) {
        rc = fanout_native_join_presence(s, cmd);
    }

    if (rc == FANOUT_E_NONE && fanout_native_enters(c)
        && s->identity_ref == 0)
    {
        rc = fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                 "a poll that makes a member needs \"session=1\", and then "
                 "the header Fanout-Resume");
    }

    return rc;
}


static ngx_int_t
join_failed(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc)
{
    s->refused = rc;

    if (cmd) {
        fanout_native_refuse(s, cmd, fanout_native_fail_member(s, cmd, rc));

    } else if (rc == FANOUT_E_ADDRESS_FULL) {
        fanout_meter_full(s);
    }

    return NGX_ERROR;
}


/* A client that reconnects by its first URL keeps its member, which may have
 * changed since. */

static fanout_error_e
join_member(fanout_subscription_t *sub, fanout_join_cmd_t *c)
{
    fanout_put_t       put;
    fanout_error_e     rc;
    fanout_member_t    m;
    fanout_session_t  *s;

    static u_char  buf[FANOUT_ZONE_MEMBER_BUF];

    s = sub->session;

    if (s->resumed
        && fanout_member_get(&s->hub->zone, &sub->channel->zc,
                             s->identity.client, &c->key, &m, buf)
           == FANOUT_ZONE_OK)
    {
        return fanout_session_member_own(sub, &m) == NGX_OK
               ? FANOUT_E_NONE : FANOUT_E_INTERNAL;
    }

    ngx_memzero(&m, sizeof(fanout_member_t));

    m.client = s->identity.client;
    m.key = c->key;
    m.data = c->presence.data;
    m.anonymous = c->anonymous;

    rc = fanout_session_member_put(sub, &m, FANOUT_PUT_ENTER
                                        |FANOUT_PUT_DATA
                                        |FANOUT_PUT_STATE,
                                   0, &put);

    if (rc == FANOUT_E_NONE) {
        fanout_session_alive(s);
    }

    return rc;
}


/* A poll goes on with the members: the changes since, or a gap for those that
 * this worker can't tell. */

static void
join_changes(fanout_query_t *q, joined_t *o)
{
    uint64_t                    known;
    fanout_entry_t              e;
    fanout_outbuf_t            *f;
    fanout_roster_t            *r;
    fanout_session_t           *s;
    fanout_subscription_t      *sub;
    fanout_presence_backlog_t  *recent;

    sub = o->sub;
    s = sub->session;
    r = sub->channel->roster;

    if (!o->lists || r == NULL
        || !fanout_position_members(s->hub, q->position, o->channel,
                                    &known))
    {
        return;
    }

    o->lists = 0;

    if (known >= o->j.offset) {
        return;
    }

    if (r->lost > known) {
        ngx_memzero(&e, sizeof(fanout_entry_t));

        e.type = FANOUT_GAP;
        e.epoch = sub->channel->epoch;
        e.from = known;
        e.offset = r->lost;
        e.event.data = (u_char *) "presence";
        e.event.len = sizeof("presence") - 1;

        f = fanout_encode(s->hub, sub->channel, &e, sub->format);

        if (f) {
            fanout_session_push(s, f, 0, f->used);
            fanout_outbuf_release(s->hub, f);
        }

        known = r->lost;
    }

    for (recent = fanout_roster_backlog(r, known);
         recent;
         recent = fanout_roster_later(r, recent))
    {
        known = recent->entry.offset;

        f = fanout_encode(s->hub, sub->channel, &recent->entry, sub->format);

        if (f) {
            fanout_session_push(s, f, 0, f->used);
            fanout_outbuf_release(s->hub, f);
        }
    }

    /* entries that are not here yet follow as for all subscribers */

    sub->known = known;
}


/* A poll goes on with the locks as they are, unless none has changed. */

static void
join_locks(fanout_query_t *q, joined_t *o)
{
    uint64_t           known;
    fanout_session_t  *s;

    s = o->sub->session;

    if (o->locks
        && fanout_position_members(s->hub, q->position, o->channel, &known)
        && (known >= o->j.offset || known >= o->sub->channel->locked))
    {
        o->locks = 0;
    }
}


/* Tells members, records and locks, as the commands do, after the replies of
 * all joins. */

static void
join_list(fanout_session_t *s, fanout_query_t *q, joined_t *o)
{
    u_char      *p;
    size_t       size;
    ngx_str_t    text;
    ngx_uint_t   i;

    size = sizeof("[]");

    for (i = 0; i < q->n; i++) {
        size += (o[i].lists + (o[i].records || o[i].locks))
                * (sizeof("{\"op\":\"members\",\"all\":true,\"locks\":true,"
                          "\"channel\":\"\"},")
                   + fanout_json_escape_len(o[i].channel->data,
                                            o[i].channel->len));
    }

    if (size == sizeof("[]")) {
        return;
    }

    text.data = ngx_alloc(size, ngx_cycle->log);
    if (text.data == NULL) {
        s->refused = FANOUT_E_INTERNAL;
        fanout_session_end(s, FANOUT_END_CLEAN);
        return;
    }

    p = text.data;
    *p++ = '[';

    for (i = 0; i < q->n; i++) {

        if (o[i].lists) {
            p = list_command(p, "\"members\"", o[i].channel);
        }

        if (o[i].records || o[i].locks) {
            p = list_command(p, !o[i].locks ? "\"get\",\"all\":true"
                                : !o[i].records ? "\"get\",\"locks\":true"
                                : "\"get\",\"all\":true,\"locks\":true",
                             o[i].channel);
        }
    }

    p[-1] = ']';
    text.len = p - text.data;

    fanout_native_batch(s, &text);

    ngx_free(text.data);
}


static u_char *
list_command(u_char *p, const char *op, ngx_str_t *channel)
{
    p = ngx_sprintf(p, "{\"op\":%s,\"channel\":\"", op);
    p = fanout_json_escape(p, channel->data, channel->len);

    return ngx_cpymem(p, "\"},", 3);
}


/* Replies to a join as to the command; entries after its offset are events of
 * their own. */

static ngx_int_t
join_reply(fanout_session_t *s, fanout_query_t *q, joined_t *o)
{
    u_char                   epoch[FANOUT_EPOCH_LEN];
    uint32_t                 start;
    ngx_int_t                rc;
    ngx_str_t               *channel;
    fanout_hub_t            *hub;
    fanout_outbuf_t         *f;
    fanout_zone_join_t      *j;
    const fanout_framing_t  *framing;

    hub = s->hub;
    framing = s->transport->framing;
    channel = o->channel;
    j = &o->j;

    f = fanout_outbuf_create(hub, 512);
    if (f == NULL) {
        return NGX_ERROR;
    }

    (void) fanout_epoch_format(epoch, j->epoch);

    rc = framing->begin(hub, f, &start);

    if (rc == NGX_OK) {
        rc = fanout_outbuf_literal(hub, f, "{\"ok\":{\"channel\":");
    }

    if (rc == NGX_OK) {
        rc = fanout_outbuf_string(hub, f, channel->data, channel->len);
    }

    if (rc == NGX_OK) {
        rc = fanout_outbuf_printf(hub, f, 128,
                                  ",\"epoch\":\"%*s\",\"offset\":%uL",
                                  sizeof(epoch), epoch, j->after);
    }

    if (rc == NGX_OK && o->sub->granted_until) {
        rc = fanout_outbuf_printf(hub, f, 64, ",\"expires\":%uL",
                                  o->sub->granted_until);
    }

    if (rc == NGX_OK && o->since) {
        rc = fanout_outbuf_printf(hub, f, 64,
                                       ",\"recovered\":%s,\"missed\":%uL",
                                       j->recovered ? "true" : "false",
                                       j->missed);
    }

    if (rc == NGX_OK) {
        rc = fanout_outbuf_literal(hub, f, ",\"messages\":[]}}");
    }

    if (rc == NGX_OK) {
        rc = framing->end(hub, f, start, FANOUT_WS_TEXT);
    }

    if (rc == NGX_OK) {
        fanout_session_push(s, f, 0, f->used);
    }

    fanout_outbuf_release(hub, f);

    return rc;
}


/* The id of the last reply is the position of a client that is cut before it
 * gets an entry, once it has the replies. */

static void
join_position(fanout_session_t *s)
{
    u_char  *p, buf[FANOUT_POSITION_LEN + 16];

    p = ngx_cpymem(buf, "id: ", 4);
    p = fanout_position_write(s, p);
    *p++ = '\n';

    fanout_session_bytes(s, buf, p - buf);
}
