
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Sessions: how they begin, and how the reaper releases them.
 */


#include "session/session.h"
#include "session/connect.h"
#include "session/join.h"
#include "session/dialect.h"
#include "hub/roster.h"
#include "session/socket.h"
#include "session/transport.h"


/* channels that are left in a run of the reaper, and by one session in it */
#define FANOUT_LEAVES     128
#define FANOUT_LEAVES_ONE 64


static ngx_uint_t session_forget(fanout_session_t *s, ngx_uint_t max);
static void release(fanout_session_t *s);
static void finalize(ngx_http_request_t *r,
    const fanout_transport_t *transport, void *answer);
static void session_free(fanout_session_t *s);


fanout_session_t *
fanout_session_create(ngx_http_request_t *r, fanout_hub_t *hub,
    fanout_loc_conf_t *conf, const fanout_dialect_t *dialect,
    const fanout_transport_t *transport, ngx_str_t *user,
    fanout_meter_t *meter)
{
    size_t               log, size, dialect_part;
    fanout_session_t    *s;
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    log = fanout_session_log_size(conf, r->connection);
    size = ngx_align(sizeof(fanout_session_t) + log + user->len,
                     NGX_ALIGNMENT);
    dialect_part = ngx_align(dialect->part, NGX_ALIGNMENT);

    s = ngx_calloc(size + dialect_part + transport->part, r->connection->log);
    if (s == NULL) {
        return NULL;
    }

    s->permissions = fanout_connect_permissions(r, conf);
    if (s->permissions == NULL) {
        ngx_free(s);
        return NULL;
    }

    s->connection = r->connection;
    s->request = r;
    s->hub = hub;
    s->conf = conf;
    s->dialect = dialect;
    s->transport = transport;
    s->dialect_part = (u_char *) s + size;
    s->transport_part = (u_char *) s->dialect_part + dialect_part;
    s->format = dialect->format;
    s->out = s->few;
    s->nout_max = 2;
    s->received_at = ngx_current_msec;
    s->meter = *meter;
    s->active_at = ngx_current_msec;
    s->end_at = ngx_current_msec + conf->session_max;

    s->user.data = (u_char *) (s + 1) + log;
    s->user.len = user->len;

    if (user->len) {
        ngx_memcpy(s->user.data, user->data, user->len);
    }

    fanout_session_log_open(s, r->connection);

    ngx_queue_init(&s->subs);
    ngx_queue_insert_tail(&hub->sessions, &s->queue);
    hub->nsessions++;

    cln->handler = fanout_session_cleanup;
    cln->data = s;

    s->cleanup = cln;

    return s;
}


/* The session is closing; it ends when the caller has returned its request. */

void
fanout_session_refuse(fanout_session_t *s)
{
    if (s->state == FANOUT_OPEN) {
        s->state = FANOUT_CLOSING;
    }
}


/* A session with thousands of channels leaves them in several turns. */

void
fanout_session_reap(ngx_event_t *ev)
{
    ngx_uint_t         left;
    ngx_queue_t       *q;
    fanout_hub_t      *hub;
    fanout_session_t  *s;

    hub = ev->data;
    left = FANOUT_LEAVES;

    while (!ngx_queue_empty(&hub->ended)) {

        if (left == 0) {
            ngx_post_event(ev, &ngx_posted_next_events);

            if (!ev->timer_set) {
                /* keeps a worker that is shutting down */
                ngx_add_timer(ev, FANOUT_CLOSE_WAIT);
            }

            return;
        }

        q = ngx_queue_head(&hub->ended);
        s = ngx_queue_data(q, fanout_session_t, ended);

        ngx_queue_remove(q);

        left -= session_forget(s, ngx_min(left, FANOUT_LEAVES_ONE));

        if (!ngx_queue_empty(&s->subs)) {
            ngx_queue_insert_tail(&hub->ended, q);
            continue;
        }

        s->listed = 0;

        if (s->state == FANOUT_ENDED) {
            release(s);
        }
    }

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    if (hub->nsessions == 0 && hub->leave.timer_set) {
        ngx_del_timer(&hub->leave);
    }
}


/* Ends the job, unless the session is still open, and up to max subscriptions.
 * Returns how many. */

static ngx_uint_t
session_forget(fanout_session_t *s, ngx_uint_t max)
{
    ngx_uint_t  n;

    if (s->state != FANOUT_OPEN) {
        fanout_session_job_done(s);
    }

    s->alive = 0;
    s->behind = 0;

    for (n = 0; n < max && !ngx_queue_empty(&s->subs); n++) {
        fanout_session_leave(ngx_queue_data(ngx_queue_head(&s->subs),
                              fanout_subscription_t, in_session), 0);
    }

    return n;
}


/* Frees the session first, then finalizes or closes, which may run any code. */

static void
release(fanout_session_t *s)
{
    void                      *answer;
    ngx_uint_t                 lingers, unfinished;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;
    const fanout_transport_t  *transport;

    fanout_session_log_close(s);
    fanout_session_unindex(s);
    fanout_outbox_join(s);
    fanout_outbox_clear(s);

    if (s->error) {
        fanout_outbuf_release(s->hub, s->error);
    }

    ngx_queue_remove(&s->queue);

    c = s->connection;
    r = s->request;
    unfinished = (s->retry != 0);

    if (r) {
        c->error |= unfinished;

        fanout_session_release_request(s);
        r = s->keeps_request ? r : NULL;
        c = NULL;
    }

    lingers = c && s->finish
              && (s->lingers || s->input_len || c->read->ready);

    transport = s->finish ? s->transport : NULL;
    answer = s->answer;
    clcf = s->conf->core;

    session_free(s);

    if (r) {
        finalize(r, transport, answer);

    } else if (lingers) {
        fanout_socket_linger(c, clcf);

    } else if (c) {
        fanout_socket_close(c, unfinished);
    }
}


static void
finalize(ngx_http_request_t *r, const fanout_transport_t *transport,
    void *answer)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = r->connection;

    rc = transport && transport->answer ? transport->answer(r, answer)
                                        : NGX_ERROR;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
session_free(fanout_session_t *s)
{
    fanout_permissions_release(s->permissions);
    fanout_session_log_free(s);

    if (s->input) {
        ngx_free(s->input);
    }

    if (s->transport->free) {
        s->transport->free(s);
    }

    if (s->dialect->free) {
        s->dialect->free(s);
    }

    if (s->info.data) {
        ngx_free(s->info.data);
    }

    if (s->handshake) {
        ngx_free(s->handshake);
    }

    if (s->owns_user) {
        ngx_free(s->user.data);
    }

    ngx_free(s);
}
