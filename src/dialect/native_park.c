
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Commands that wait for an authorization by the backend.  They hold up those
 * behind them on the same channel, and no others; each has a reply of its own,
 * also if it was in an array.
 *
 * A command that lacks a permission has done nothing yet: its text is kept, and
 * it is run once more with the answer in hand, which may lead to the next
 * question.
 */


#include "dialect/native.h"
#include "session/forbid.h"
#include "session/transport.h"


#define FANOUT_PARKED  256                      /* of a session, at most */


typedef struct {
    ngx_queue_t          queue;                 /* park->list */
    fanout_asker_t       asker;
    fanout_session_t    *session;
    fanout_grant_t      *grants[FANOUT_MAY_N];  /* answers so far */
    ngx_uint_t           n;                     /* of them */
    ngx_uint_t           at;                    /* in an array */
    ngx_uint_t           deep;
    ngx_str_t            channel;
    ngx_str_t            id;                    /* raw JSON, len 0: none */
    ngx_str_t            op;
    u_char              *text;                  /* of ngx_alloc() */
    size_t               len;
} parked_t;

struct fanout_native_park_s {
    ngx_queue_t          list;                  /* oldest first */
    size_t               bytes;
    fanout_native_run_pt  run;
    parked_t            *running;               /* or NULL */
};


static fanout_native_park_t *park_of(fanout_session_t *s);
static ngx_uint_t park_full(fanout_session_t *s, size_t len);
static parked_t *parked_on(fanout_native_park_t *park, ngx_str_t *channel,
    parked_t *before);
static parked_t *parked_create(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e parked_ask(fanout_session_t *s, fanout_command_t *cmd,
    parked_t *e);
static void parked_answered(fanout_asker_t *asker);
static void parked_run(fanout_session_t *s, parked_t *e);
static void parked_free(fanout_session_t *s, parked_t *e);


ngx_uint_t
fanout_native_behind(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_native_park_t  *park;

    park = fanout_native_part(s)->park;

    return park && park->running == NULL && s->parked && cmd->channel.len
           && parked_on(park, &cmd->channel, NULL) != NULL;
}


fanout_error_e
fanout_native_park(fanout_session_t *s, fanout_command_t *cmd,
    fanout_native_run_pt run)
{
    u_char                *text;
    parked_t              *e;
    fanout_error_e         rc;
    fanout_native_park_t  *park;

    park = park_of(s);

    if (park == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    if (park->running) {
        /* its text was changed; what is told of it is there until the end */
        e = park->running;
        text = e->text;
        e->text = cmd->copy.data;
        cmd->copy.data = text;

        return parked_ask(s, cmd, e);
    }

    park->run = run;

    if (park_full(s, cmd->copy.len)) {
        return fanout_native_unavailable(cmd, "too many commands of this "
                                              "session wait for the backend");
    }

    e = parked_create(s, cmd);

    if (e == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    rc = cmd->ask ? parked_ask(s, cmd, e) : FANOUT_E_PARKED;

    if (rc != FANOUT_E_PARKED) {
        parked_free(s, e);
    }

    return rc;
}


static fanout_native_park_t *
park_of(fanout_session_t *s)
{
    fanout_native_part_t  *part;

    part = fanout_native_part(s);

    if (part->park == NULL) {
        part->park = ngx_calloc(sizeof(fanout_native_park_t), ngx_cycle->log);

        if (part->park) {
            ngx_queue_init(&part->park->list);
        }
    }

    return part->park;
}


static ngx_uint_t
park_full(fanout_session_t *s, size_t len)
{
    fanout_native_park_t  *park;

    park = fanout_native_part(s)->park;

    return s->parked >= FANOUT_PARKED
           || (s->parked && park->bytes + len > s->conf->buffer);
}


/* The first command on a channel, of those before another. */

static parked_t *
parked_on(fanout_native_park_t *park, ngx_str_t *channel, parked_t *before)
{
    parked_t     *e;
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&park->list);
         q != ngx_queue_sentinel(&park->list);
         q = ngx_queue_next(q))
    {
        e = ngx_queue_data(q, parked_t, queue);

        if (e == before) {
            break;
        }

        if (e->channel.len == channel->len
            && ngx_memcmp(e->channel.data, channel->data, channel->len) == 0)
        {
            return e;
        }
    }

    return NULL;
}


/* Takes the copy of the command. */

static parked_t *
parked_create(fanout_session_t *s, fanout_command_t *cmd)
{
    u_char                *p;
    parked_t              *e;
    fanout_native_park_t  *park;

    e = ngx_calloc(sizeof(parked_t) + cmd->channel.len + cmd->id.len
                   + cmd->op.len, ngx_cycle->log);
    if (e == NULL) {
        return NULL;
    }

    e->session = s;
    e->asker.answered = parked_answered;
    e->at = cmd->at;
    e->deep = cmd->deep;

    p = (u_char *) (e + 1);

    e->channel.data = p;
    e->channel.len = cmd->channel.len;
    p = ngx_cpymem(p, cmd->channel.data, cmd->channel.len);

    e->op.data = p;
    e->op.len = cmd->op.len;
    p = ngx_cpymem(p, cmd->op.data, cmd->op.len);

    e->id.data = p;
    e->id.len = cmd->id.len;

    if (cmd->id.len) {
        ngx_memcpy(p, cmd->id.data, cmd->id.len);
    }

    e->text = cmd->copy.data;
    e->len = cmd->copy.len;
    cmd->copy.data = NULL;

    park = fanout_native_part(s)->park;
    park->bytes += e->len;
    s->parked++;

    ngx_queue_insert_tail(&park->list, &e->queue);

    return e;
}


static fanout_error_e
parked_ask(fanout_session_t *s, fanout_command_t *cmd, parked_t *e)
{
    fanout_error_e      rc;
    fanout_question_t   q;

    if (e->n == FANOUT_MAY_N) {
        return fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
                                  "the backend's answers end at once");
    }

    if (s->handshake == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_TOO_LARGE,
                   "the backend can't be asked: the request had more headers "
                   "than \"fanout_authorize headers=\"");
    }

    ngx_memzero(&q, sizeof(fanout_question_t));

    q.conf = s->conf;
    q.op = cmd->ask;
    q.channel = e->channel;
    q.transport = s->transport->name;
    q.info = s->info;
    q.connection = s->connection;
    q.handshake = s->handshake;
    fanout_session_grantee(s, &q.who);

    rc = fanout_authorize(&e->asker, &q);

    if (rc == FANOUT_E_UNAVAILABLE) {
        return fanout_native_unavailable(cmd, "too many questions wait for "
                                              "the backend");
    }

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    if (e->asker.grant->answered) {
        /* it was just looked up, and is not permitted */
        rc = fanout_native_grant_refused(cmd, e->asker.grant);
        fanout_authorize_forget(&e->asker);
        return rc;
    }

    fanout_meter_charge(s, FANOUT_COST);

    return FANOUT_E_PARKED;
}


static void
parked_answered(fanout_asker_t *asker)
{
    parked_t          *e;
    fanout_session_t  *s;

    e = ngx_queue_data(asker, parked_t, asker);
    s = e->session;

    /* the reference goes along */
    e->grants[e->n++] = asker->grant;
    asker->grant = NULL;

    if (s->state != FANOUT_OPEN) {
        return;
    }

    fanout_native_unpark(s);

    if (s->state == FANOUT_OPEN && s->transport->resume) {
        s->transport->resume(s);
        return;
    }

    fanout_outbox_queue(s);
    ngx_post_event(&s->hub->drain, &ngx_posted_events);
}


/* Runs the commands that are answered, unless another job comes first: then
 * once that is done. */

void
fanout_native_unpark(fanout_session_t *s)
{
    parked_t              *e;
    ngx_queue_t           *q, *next;
    fanout_native_park_t  *park;

    park = fanout_native_part(s)->park;

    if (park == NULL || park->running) {
        return;
    }

    /* who was shut out meanwhile does nothing more */
    fanout_hub_denials(s->hub);

    for (q = ngx_queue_head(&park->list);
         q != ngx_queue_sentinel(&park->list);
         q = next)
    {
        if (s->state != FANOUT_OPEN || s->job || s->batched) {
            return;
        }

        next = ngx_queue_next(q);
        e = ngx_queue_data(q, parked_t, queue);

        if (e->asker.grant == NULL
            && parked_on(park, &e->channel, e) == NULL)
        {
            parked_run(s, e);
        }
    }
}


static void
parked_run(fanout_session_t *s, parked_t *e)
{
    ngx_uint_t             again;
    fanout_json_t          object;
    fanout_native_park_t  *park;

    park = fanout_native_part(s)->park;

    object.data = e->text;
    object.len = e->len;

    park->running = e;
    fanout_grants_take(s->connection, e->grants, e->n);

    again = park->run(s, &object, e->at, e->deep);

    fanout_grants_put();
    park->running = NULL;

    if (!again) {
        parked_free(s, e);
    }
}


static void
parked_free(fanout_session_t *s, parked_t *e)
{
    fanout_authorize_forget(&e->asker);

    while (e->n) {
        fanout_grant_release(e->grants[--e->n]);
    }

    ngx_queue_remove(&e->queue);
    fanout_native_part(s)->park->bytes -= e->len;
    s->parked--;

    ngx_free(e->text);
    ngx_free(e);
}


void
fanout_native_park_flush(fanout_session_t *s)
{
    parked_t              *e;
    ngx_queue_t           *q;
    fanout_command_t       cmd;
    fanout_native_park_t  *park;

    park = fanout_native_part(s)->park;

    if (park == NULL || park->running) {
        return;
    }

    while (!ngx_queue_empty(&park->list)) {
        q = ngx_queue_head(&park->list);
        e = ngx_queue_data(q, parked_t, queue);

        fanout_native_blank(&cmd);
        cmd.at = e->at;
        cmd.id.data = e->id.data;
        cmd.id.len = e->id.len;
        cmd.op.data = e->op.data;
        cmd.op.len = e->op.len;

        fanout_native_refuse(s, &cmd,
            fanout_native_unavailable(&cmd, "the session ends before the "
                                            "backend has answered"));
        parked_free(s, e);
    }
}


void
fanout_native_park_free(fanout_session_t *s)
{
    fanout_native_part_t  *part;

    part = fanout_native_part(s);

    if (part->park == NULL) {
        return;
    }

    while (!ngx_queue_empty(&part->park->list)) {
        parked_free(s, ngx_queue_data(ngx_queue_head(&part->park->list),
                                      parked_t, queue));
    }

    ngx_free(part->park);
    part->park = NULL;
}
