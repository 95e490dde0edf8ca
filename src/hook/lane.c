
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Which approvals go together in a call: those of one sender, so that what one
 * client publishes never decides about what another does.
 *
 *   {"zone":"app","publishes":[
 *     {"id":"…","channel":"room:1","messages":[{"event":…,"data":…,
 *                                               "from":{…}}]}]}
 *
 * The answer has as many members, in the same order, or no body at all, which
 * lets all through as they are:
 *
 *   {"publishes":[{},{"allow":false,"message":"…","details":{…}},
 *                 {"messages":[{"event":…,"data":…}]}]}
 */


#include "hook/body.h"
#include "hook/lane.h"
#include "hub/entry_json.h"
#include "session/session.h"


#define FANOUT_APPROVAL_BYTES   262144          /* of a call, but for one of a
                                                   single approval */
#define FANOUT_APPROVAL_DEPTH   (FANOUT_JSON_DEPTH + 4)


typedef struct {
    ngx_queue_t     queue;                  /* of its lane */
    fanout_lane_t  *lane;
    ngx_queue_t     approvals;
    ngx_uint_t      n;                      /* of them */
    fanout_call_t  *call;                   /* NULL: not under way */
    ngx_uint_t      status;                 /* of the answer */
    ngx_str_t       body;                   /* of it, or why there is none */
    u_char         *copy;                   /* of the body, owned */
    unsigned        answered:1;
    unsigned        again:1;                /* after a call that failed */
} batch_t;


static void lane_work_handler(ngx_event_t *ev);
static batch_t *batch_create(fanout_lane_t *lane, ngx_queue_t *approval,
    ngx_queue_t *after);
static void lane_batch_start(batch_t *b);
static void batch_free(batch_t *b);
static ngx_int_t lane_compose(batch_t *b, ngx_str_t *body);
static ngx_int_t compose_more(batch_t *b, fanout_outbuf_t *f);
static ngx_int_t compose_approval(fanout_approval_t *approval,
    fanout_outbuf_t *f);
static fanout_approval_t *first(ngx_queue_t *queue);
static ngx_uint_t one_sender(fanout_approval_t *a, fanout_approval_t *b);
static void answered(void *data, ngx_uint_t status, ngx_str_t *body);
static ngx_uint_t lane_settle(batch_t *b);
static const char *read_verdicts(batch_t *b, fanout_json_t *verdicts);
static ngx_uint_t unanswered(batch_t *b);
static ngx_uint_t split(batch_t *b);


static const fanout_json_field_t  answer_fields[] = {
    { "publishes", sizeof("publishes") - 1, 0 }
};


void
fanout_lane_init(fanout_lane_t *lane, fanout_approver_t *a, ngx_log_t *log)
{
    lane->approver = a;

    ngx_queue_init(&lane->waiting);
    ngx_queue_init(&lane->batches);

    lane->work.handler = lane_work_handler;
    lane->work.data = lane;
    lane->work.log = log;
    lane->work.cancelable = 1;
}


void
fanout_lane_put(fanout_lane_t *lane, fanout_approval_t *approval)
{
    ngx_queue_insert_tail(&lane->waiting, &approval->queue);
    ngx_post_event(&lane->work, &ngx_posted_events);
}


static void
lane_work_handler(ngx_event_t *ev)
{
    batch_t        *b;
    ngx_queue_t    *q, *next;
    fanout_lane_t  *lane;

    lane = ev->data;

    while (!ngx_queue_empty(&lane->batches)) {
        b = ngx_queue_data(ngx_queue_head(&lane->batches), batch_t, queue);

        if (!b->answered || !lane_settle(b)) {
            break;
        }
    }

    for (q = ngx_queue_head(&lane->batches);
         q != ngx_queue_sentinel(&lane->batches)
         && lane->calls < lane->approver->hook->calls;
         q = next)
    {
        next = ngx_queue_next(q);
        b = ngx_queue_data(q, batch_t, queue);

        if (b->call == NULL && !b->answered) {
            lane_batch_start(b);
        }
    }

    while (lane->calls < lane->approver->hook->calls
           && !ngx_queue_empty(&lane->waiting))
    {
        b = batch_create(lane, ngx_queue_head(&lane->waiting),
                         ngx_queue_last(&lane->batches));

        if (b == NULL) {
            /* on lack of memory approvals are tried again later */
            ngx_add_timer(ev, 100);
            return;
        }

        lane_batch_start(b);
    }
}


/* makes a batch of an approval, which is removed from its queue */

static batch_t *
batch_create(fanout_lane_t *lane, ngx_queue_t *approval, ngx_queue_t *after)
{
    batch_t  *b;

    b = ngx_calloc(sizeof(batch_t), ngx_cycle->log);
    if (b == NULL) {
        return NULL;
    }

    b->lane = lane;
    b->n = 1;

    ngx_queue_init(&b->approvals);
    ngx_queue_remove(approval);
    ngx_queue_insert_tail(&b->approvals, approval);
    ngx_queue_insert_after(after, &b->queue);

    return b;
}


static void
lane_batch_start(batch_t *b)
{
    ngx_str_t       body;
    fanout_lane_t  *lane;

    lane = b->lane;

    if (fanout_calls_over()) {
        b->answered = 1;
        ngx_str_set(&b->body, "worker_shutdown_timeout is over");
        ngx_post_event(&lane->work, &ngx_posted_events);
        return;
    }

    fanout_count(lane->approver->hub, hook_calls);

    if (lane_compose(b, &body) == NGX_OK) {
        b->call = fanout_call_post(&lane->approver->hook->callee, &body,
                                    answered, b);
    }

    if (b->call) {
        lane->calls++;
        return;
    }

    b->answered = 1;
    ngx_str_set(&b->body, "out of memory or connections");
    ngx_post_event(&lane->work, &ngx_posted_events);
}


static void
batch_free(batch_t *b)
{
    if (b->copy) {
        ngx_free(b->copy);
    }

    ngx_queue_remove(&b->queue);
    ngx_free(b);
}


/* composing */

static ngx_int_t
lane_compose(batch_t *b, ngx_str_t *body)
{
    ngx_int_t         rc;
    fanout_hub_t     *hub;
    fanout_outbuf_t  *f;

    hub = b->lane->approver->hub;

    f = fanout_outbuf_create(hub, 4096);
    if (f == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (fanout_outbuf_literal(hub, f, "{\"zone\":") == NGX_OK
        && fanout_outbuf_string(hub, f, hub->app->name.data,
                                hub->app->name.len)
           == NGX_OK
        && fanout_outbuf_literal(hub, f, ",\"publishes\":[") == NGX_OK
        && compose_approval(first(&b->approvals), f) == NGX_OK
        && compose_more(b, f) == NGX_OK)
    {
        rc = fanout_body_end(hub, f, body);
    }

    fanout_outbuf_release(hub, f);

    return rc;
}


/* Adds waiting approvals that may share a call with the first of a batch. */

static ngx_int_t
compose_more(batch_t *b, fanout_outbuf_t *f)
{
    uint32_t            used;
    fanout_lane_t      *lane;
    fanout_approval_t  *approval;

    lane = b->lane;

    if (b->again) {
        return NGX_OK;
    }

    while (b->n < lane->approver->hook->batch
           && !ngx_queue_empty(&lane->waiting))
    {
        approval = first(&lane->waiting);

        if (!one_sender(first(&b->approvals), approval)) {
            break;
        }

        used = f->used;

        if (compose_approval(approval, f) != NGX_OK) {
            return NGX_ERROR;
        }

        if (f->used > FANOUT_APPROVAL_BYTES) {
            f->used = used;
            break;
        }

        ngx_queue_remove(&approval->queue);
        ngx_queue_insert_tail(&b->approvals, &approval->queue);
        b->n++;
    }

    return NGX_OK;
}


static fanout_approval_t *
first(ngx_queue_t *queue)
{
    return ngx_queue_data(ngx_queue_head(queue), fanout_approval_t, queue);
}


/* the same user, or the same client if there is none */

static ngx_uint_t
one_sender(fanout_approval_t *a, fanout_approval_t *b)
{
    fanout_zone_message_t  *m, *o;

    m = &a->messages[0];
    o = &b->messages[0];

    if (m->user.len || o->user.len) {
        return m->user.len == o->user.len
               && ngx_memcmp(m->user.data, o->user.data, m->user.len) == 0;
    }

    return m->client && m->client == o->client;
}


static ngx_int_t
compose_approval(fanout_approval_t *approval, fanout_outbuf_t *f)
{
    ngx_uint_t              i;
    fanout_hub_t           *hub;
    fanout_entry_t          e;
    fanout_zone_message_t  *m;

    hub = approval->hub;

    if (fanout_outbuf_printf(hub, f, 64, "{\"id\":\"%xL\",", approval->id)
        != NGX_OK
        || fanout_outbuf_literal(hub, f, "\"channel\":") != NGX_OK
        || fanout_outbuf_string(hub, f, approval->channel.data,
                                approval->channel.len)
           != NGX_OK
        || fanout_outbuf_literal(hub, f, ",\"messages\":[") != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < approval->n; i++) {
        m = &approval->messages[i];

        ngx_memzero(&e, sizeof(fanout_entry_t));

        e.type = FANOUT_MESSAGE;
        e.kind = m->kind;
        e.flags = m->flags & FANOUT_ANONYMOUS;
        e.client = m->client;
        e.event = m->event;
        e.key = m->key;
        e.user = m->user;
        e.meta = m->meta;
        e.data = m->data;
        e.to_client = m->to_client;
        e.to_user = m->to_user;
        e.to = approval->to;

        if (fanout_outbuf_literal(hub, f, "{") != NGX_OK
            || fanout_message_json(hub, &e, f) != NGX_OK
            || fanout_outbuf_literal(hub, f, "},") != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    f->used--;

    return fanout_outbuf_literal(hub, f, "]},");
}


/* the answer */

static void
answered(void *data, ngx_uint_t status, ngx_str_t *body)
{
    batch_t        *b;
    fanout_lane_t  *lane;

    b = data;
    lane = b->lane;

    lane->calls--;

    b->call = NULL;
    b->answered = 1;
    b->status = status;
    b->body = *body;

    /* the text of a failure is static */

    if (status && body->len) {
        b->copy = ngx_alloc(body->len, ngx_cycle->log);

        if (b->copy == NULL) {
            b->status = 0;
            ngx_str_set(&b->body, "out of memory");

        } else {
            ngx_memcpy(b->copy, body->data, body->len);
            b->body.data = b->copy;
        }
    }

    ngx_post_event(&lane->work, &ngx_posted_events);
}


/* Whether the batch is settled; if not, its approvals are sent one by one. */

static ngx_uint_t
lane_settle(batch_t *b)
{
    ngx_uint_t          i, pass;
    const char         *failure, *wrong;
    ngx_queue_t        *q;
    fanout_lane_t      *lane;
    fanout_json_t       verdicts[FANOUT_HOOK_BATCH];
    fanout_approval_t  *approval;
    fanout_approver_t  *a;

    lane = b->lane;
    a = lane->approver;
    failure = read_verdicts(b, verdicts);

    if (failure) {
        fanout_count(a->hub, hook_failures);
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "%V failed for %ui publishes in zone \"%V\": status "
                      "%ui, %s", &a->hook->callee.what, b->n,
                      &a->hub->app->name, b->status, failure);

        if (b->n > 1 && !unanswered(b) && split(b)) {
            return 0;
        }
    }

    /* an answer that can't be read may have been a refusal */

    pass = a->hook->pass && unanswered(b);

    for (i = 0; !ngx_queue_empty(&b->approvals); i++) {
        q = ngx_queue_head(&b->approvals);
        ngx_queue_remove(q);
        approval = ngx_queue_data(q, fanout_approval_t, queue);

        if (failure) {
            fanout_approval_fail(approval, pass);

        } else {
            wrong = fanout_approval_follow(approval, &verdicts[i]);

            if (wrong) {
                ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                              "%V answered to a publish on channel \"%V\" "
                              "with an invalid answer: %s",
                              &a->hook->callee.what, &approval->channel, wrong);
                fanout_count(a->hub, hook_failures);
                fanout_approval_fail(approval, 0);
            }
        }

        fanout_approval_finish(approval);
    }

    batch_free(b);

    return 1;
}


/* Whether there is no verdict at all: the backend is down, too slow, or has
 * failed.  A status about the request, even that it is too large, depends on
 * its content. */

static ngx_uint_t
unanswered(batch_t *b)
{
    return b->status >= 500
           || (b->status == 0
               && b->body.data
                  != (u_char *) fanout_call_too_large);
}


/* Puts each approval into a batch of its own, in place of the one that failed.
 * 0 on lack of memory. */

static ngx_uint_t
split(batch_t *b)
{
    batch_t      *one;
    ngx_queue_t  *q;

    while (b->n > 1) {
        q = ngx_queue_last(&b->approvals);
        one = batch_create(b->lane, q, &b->queue);

        if (one == NULL) {
            return 0;
        }

        one->again = 1;
        b->n--;
    }

    if (b->copy) {
        ngx_free(b->copy);
        b->copy = NULL;
    }

    b->again = 1;
    b->answered = 0;

    return 1;
}


/* NULL if there is a verdict for each approval; len 0 approves it.  Otherwise
 * why the answer is invalid. */

static const char *
read_verdicts(batch_t *b, fanout_json_t *verdicts)
{
    int                  rc;
    size_t               n, len;
    const u_char        *text;
    fanout_json_t        array;
    fanout_json_error_t  err;

    if (b->status == 0) {
        return (const char *) b->body.data;
    }

    if (b->status < 200 || b->status >= 300) {
        return "which is not a success";
    }

    if (b->body.len == 0) {
        ngx_memzero(verdicts, b->n * sizeof(fanout_json_t));
        return NULL;
    }

    text = b->body.data;
    len = b->body.len;

    fanout_json_skip_mark(&text, &len);

    rc = fanout_json_object(text, len,
                            FANOUT_APPROVAL_DEPTH, answer_fields,
                            1, &array, &err);

    if (rc != FANOUT_JSON_OK) {
        return fanout_approval_wrong(rc, &err,
                                     "the response is not a JSON object");
    }

    if (fanout_json_array(&array, verdicts, b->n, &n)
        != FANOUT_JSON_OK
        || n != b->n)
    {
        return "\"publishes\" of the response is not an array with as many "
               "members as that of the request";
    }

    return NULL;
}
