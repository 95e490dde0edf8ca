
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Commands "lock" that wait.  They don't hold up the commands behind them: each
 * has a reply of its own when the lock was granted, when its time is over, and
 * when the session leaves the channel or closes.
 *
 * The zone has the line of clients, in the order of asking, and tells the
 * worker of a grant.  What is here is which command has to be answered.
 */


#include "hub/locks.h"
#include "dialect/native.h"


typedef struct {
    ngx_queue_t       queue;                    /* waits->list */
    ngx_msec_t        deadline;
    ngx_uint_t        at;                       /* in an array */
    fanout_json_t     id;
    ngx_str_t         channel;
    fanout_zstr_t     name;
} wait_t;

/* of a session, from its first wait on */

struct fanout_native_waits_s {
    ngx_queue_t       list;                     /* oldest first */
    ngx_uint_t        n;
    ngx_event_t       timer;                    /* to the first deadline */
    fanout_session_t  *session;
};

/* whether the command has got its reply */

typedef ngx_uint_t (*wait_over_pt)(fanout_native_waits_t *w, wait_t *wait,
    void *data);


static fanout_native_waits_t *waits_of(fanout_session_t *s);
static void waits_add(fanout_native_waits_t *w, fanout_command_t *cmd,
    wait_t *wait);
static void waits_timer(fanout_native_waits_t *w);
static void waits_handler(ngx_event_t *ev);
static ngx_uint_t wait_late(fanout_native_waits_t *w, wait_t *wait,
    void *data);
static ngx_uint_t waits_end(fanout_native_waits_t *w, wait_over_pt over,
    void *data);
static ngx_uint_t waits_shared(fanout_native_waits_t *w, wait_t *wait);
static ngx_uint_t waits_for(wait_t *wait, ngx_str_t *channel,
    fanout_zstr_t *name);
static ngx_uint_t wait_look(fanout_session_t *s, wait_t *wait,
    ngx_uint_t give_up);
static void wait_error(fanout_session_t *s, wait_t *wait, fanout_error_e rc,
    const char *text);
static void wait_remove(fanout_native_waits_t *w, wait_t *wait);
static fanout_native_batch_t *batch_aside(fanout_session_t *s,
    fanout_native_batch_t *b);
static ngx_uint_t wait_granted(fanout_native_waits_t *w, wait_t *wait,
    void *data);
static ngx_uint_t wait_withdrawn(fanout_native_waits_t *w, wait_t *wait,
    void *data);
static ngx_uint_t wait_left(fanout_native_waits_t *w, wait_t *wait,
    void *data);


fanout_error_e
fanout_native_may_wait(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_native_waits_t  *w;

    if (s->transport->commands) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "a POST can't \"wait\": ask again when the lock is told to "
                   "be free");
    }

    w = fanout_native_part(s)->waits;

    if (w && w->n >= FANOUT_NATIVE_LOCK_WAITS) {
        return fanout_native_fail_limit(cmd, FANOUT_E_TOO_MANY, "waits",
                                        FANOUT_NATIVE_LOCK_WAITS,
                                        "locks that a session waits for");
    }

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_wait(fanout_session_t *s, fanout_command_t *cmd)
{
    wait_t                 *wait;
    fanout_native_waits_t  *w;

    w = waits_of(s);

    wait = w ? ngx_alloc(sizeof(wait_t) + cmd->id.len + cmd->channel.len
                         + cmd->u.lock.name.len, ngx_cycle->log)
             : NULL;

    if (wait == NULL) {
        /* the zone gives up by itself */
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    waits_add(w, cmd, wait);
    waits_timer(w);

    return FANOUT_E_NONE;
}


static fanout_native_waits_t *
waits_of(fanout_session_t *s)
{
    fanout_native_waits_t  *w;

    w = fanout_native_part(s)->waits;

    if (w) {
        return w;
    }

    w = ngx_calloc(sizeof(fanout_native_waits_t), ngx_cycle->log);

    if (w) {
        ngx_queue_init(&w->list);

        w->session = s;
        w->timer.handler = waits_handler;
        w->timer.data = w;
        w->timer.log = ngx_cycle->log;
        w->timer.cancelable = 1;

        fanout_native_part(s)->waits = w;
    }

    return w;
}


static void
waits_add(fanout_native_waits_t *w, fanout_command_t *cmd, wait_t *wait)
{
    u_char  *p;

    p = (u_char *) (wait + 1);

    wait->at = cmd->at;
    wait->deadline = ngx_current_msec + cmd->u.lock.wait;

    wait->id.data = p;
    wait->id.len = cmd->id.len;

    if (cmd->id.len) {
        p = ngx_cpymem(p, cmd->id.data, cmd->id.len);
    }

    wait->channel.data = p;
    wait->channel.len = cmd->channel.len;
    p = ngx_cpymem(p, cmd->channel.data, cmd->channel.len);

    wait->name.data = p;
    wait->name.len = cmd->u.lock.name.len;
    ngx_memcpy(p, cmd->u.lock.name.data, wait->name.len);

    ngx_queue_insert_tail(&w->list, &wait->queue);
    w->n++;
}


static void
waits_timer(fanout_native_waits_t *w)
{
    wait_t          *wait;
    ngx_queue_t     *q;
    ngx_msec_int_t   left, least;

    if (w->timer.timer_set) {
        ngx_del_timer(&w->timer);
    }

    if (w->n == 0) {
        return;
    }

    least = FANOUT_NATIVE_LOCK_WAIT;

    for (q = ngx_queue_head(&w->list);
         q != ngx_queue_sentinel(&w->list);
         q = ngx_queue_next(q))
    {
        wait = ngx_queue_data(q, wait_t, queue);
        left = (ngx_msec_int_t) (wait->deadline - ngx_current_msec);
        least = ngx_min(least, left);
    }

    ngx_add_timer(&w->timer, (ngx_msec_t) ngx_max(least, 0));
}


static void
waits_handler(ngx_event_t *ev)
{
    fanout_native_waits_t  *w;

    w = ev->data;

    (void) waits_end(w, wait_late, NULL);

    /* sends the replies, and what they have caused */
    ngx_post_event(&w->session->hub->drain, &ngx_posted_events);
}


/* Those whose time is over give up, unless they were granted just now. */

static ngx_uint_t
wait_late(fanout_native_waits_t *w, wait_t *wait, void *data)
{
    return (ngx_msec_int_t) (wait->deadline - ngx_current_msec) <= 0
           && wait_look(w->session, wait, !waits_shared(w, wait));
}


/* Ends the waits that over() has replied to.  Returns how many. */

static ngx_uint_t
waits_end(fanout_native_waits_t *w, wait_over_pt over, void *data)
{
    wait_t       *wait;
    ngx_uint_t    n;
    ngx_queue_t  *q, *next;

    n = 0;

    if (w == NULL) {
        return 0;
    }

    for (q = ngx_queue_head(&w->list);
         q != ngx_queue_sentinel(&w->list)
         && w->session->state == FANOUT_OPEN;
         q = next)
    {
        next = ngx_queue_next(q);
        wait = ngx_queue_data(q, wait_t, queue);

        if (over(w, wait, data)) {
            wait_remove(w, wait);
            n++;
        }
    }

    if (w->session->state == FANOUT_OPEN) {
        waits_timer(w);
    }

    return n;
}


/* Whether another command waits for the same lock, and goes on waiting. */

static ngx_uint_t
waits_shared(fanout_native_waits_t *w, wait_t *wait)
{
    wait_t       *other;
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&w->list);
         q != ngx_queue_sentinel(&w->list);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, wait_t, queue);

        if (other != wait && waits_for(other, &wait->channel, &wait->name)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
waits_for(wait_t *wait, ngx_str_t *channel, fanout_zstr_t *name)
{
    return wait->name.len == name->len
           && wait->channel.len == channel->len
           && ngx_memcmp(wait->name.data, name->data, name->len) == 0
           && ngx_memcmp(wait->channel.data, channel->data, channel->len) == 0;
}


/* Replies if there is something to say: with give_up there always is.  Returns
 * whether it has replied. */

static ngx_uint_t
wait_look(fanout_session_t *s, wait_t *wait, ngx_uint_t give_up)
{
    ngx_uint_t              over;
    fanout_json_t           op;
    fanout_error_e          rc;
    fanout_locked_t         to;
    fanout_native_batch_t  *b;

    rc = FANOUT_E_NOT_HOLDER;
    over = (ngx_msec_int_t) (wait->deadline - ngx_current_msec) <= 0;

    if (s->identity_ref && s->identity.client) {
        rc = fanout_locks_wait(s->hub, &wait->channel, s->identity_ref,
                               &s->identity, &wait->name, give_up, &to);
    }

    if (rc == FANOUT_E_LOCKED && !give_up && !over) {
        return 0;
    }

    if (rc == FANOUT_E_NOT_HOLDER) {
        wait_error(s, wait, rc, "the lock was lost while the command waited "
                                "for it: ask again");
        return 1;
    }

    b = batch_aside(s, NULL);

    if (rc == FANOUT_E_NONE) {
        fanout_native_locked(s, &wait->id, &to);

    } else {
        op.data = (u_char *) "\"lock\"";
        op.len = sizeof("\"lock\"") - 1;

        fanout_native_hide(s, &wait->channel, &to.lock);
        fanout_native_unlucky(s, &wait->id, &op, wait->at, &to);
    }

    (void) batch_aside(s, b);

    return 1;
}


static void
wait_error(fanout_session_t *s, wait_t *wait, fanout_error_e rc,
    const char *text)
{
    ngx_str_t               message;
    fanout_json_t           op;
    fanout_native_batch_t  *b;

    op.data = (u_char *) "\"lock\"";
    op.len = sizeof("\"lock\"") - 1;

    message.data = (u_char *) text;
    message.len = ngx_strlen(text);

    b = batch_aside(s, NULL);
    fanout_native_error(s, &wait->id, &op, wait->at, rc, &message, NULL);
    (void) batch_aside(s, b);
}


/* The reply does not go into an array of replies. */

static fanout_native_batch_t *
batch_aside(fanout_session_t *s, fanout_native_batch_t *b)
{
    fanout_native_part_t   *part;
    fanout_native_batch_t  *before;

    part = fanout_native_part(s);
    before = part->batch;
    part->batch = b;

    return before;
}


static void
wait_remove(fanout_native_waits_t *w, wait_t *wait)
{
    ngx_queue_remove(&wait->queue);
    w->n--;

    ngx_free(wait);
}


void
fanout_native_granted(fanout_session_t *s)
{
    (void) waits_end(fanout_native_part(s)->waits, wait_granted, NULL);
}


static ngx_uint_t
wait_granted(fanout_native_waits_t *w, wait_t *wait, void *data)
{
    return wait_look(w->session, wait, 0);
}


ngx_uint_t
fanout_native_unwait(fanout_session_t *s, fanout_command_t *cmd)
{
    return waits_end(fanout_native_part(s)->waits, wait_withdrawn, cmd);
}


static ngx_uint_t
wait_withdrawn(fanout_native_waits_t *w, wait_t *wait, void *data)
{
    fanout_command_t  *cmd = data;

    if (!waits_for(wait, &cmd->channel, &cmd->u.lock.name)) {
        return 0;
    }

    wait->deadline = ngx_current_msec;

    return wait_look(w->session, wait, !waits_shared(w, wait));
}


void
fanout_native_waits_left(fanout_session_t *s, ngx_str_t *channel)
{
    (void) waits_end(fanout_native_part(s)->waits, wait_left, channel);
}


static ngx_uint_t
wait_left(fanout_native_waits_t *w, wait_t *wait, void *data)
{
    ngx_str_t  *channel = data;

    if (wait->channel.len != channel->len
        || ngx_memcmp(wait->channel.data, channel->data, channel->len) != 0)
    {
        return 0;
    }

    wait_error(w->session, wait, FANOUT_E_NOT_JOINED,
               "the channel was left while the command waited");

    return 1;
}


void
fanout_native_waits_flush(fanout_session_t *s)
{
    wait_t                 *wait;
    fanout_native_waits_t  *w;

    w = fanout_native_part(s)->waits;

    while (w && w->n && s->state == FANOUT_OPEN) {
        wait = ngx_queue_data(ngx_queue_head(&w->list), wait_t, queue);

        (void) wait_look(s, wait, 1);
        wait_remove(w, wait);
    }
}


void
fanout_native_waits_free(fanout_session_t *s)
{
    fanout_native_waits_t  *w;

    w = fanout_native_part(s)->waits;

    if (w == NULL) {
        return;
    }

    fanout_native_part(s)->waits = NULL;

    while (w->n) {
        wait_remove(w, ngx_queue_data(ngx_queue_head(&w->list), wait_t,
                                      queue));
    }

    if (w->timer.timer_set) {
        ngx_del_timer(&w->timer);
    }

    ngx_free(w);
}
